"""The segmented patient as plain values: structures with roles, in patient LPS millimetres."""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.grid import VoxelMask


class Role(StrEnum):
    """What a structure means to a needle."""

    TARGET = "target"
    ORGAN = "organ"
    VESSEL = "vessel"
    AIRWAY = "airway"
    BONE = "bone"
    LUNG = "lung"
    BOWEL = "bowel"
    CRITICAL = "critical"
    SKIN = "skin"
    ENTRY_REGION = "entry_region"
    NO_GO = "no_go"
    ALLOWED = "allowed"

    @property
    def is_obstacle(self) -> bool:
        """True where a needle must keep its distance from structures of this role."""
        return self in OBSTACLE_ROLES


OBSTACLE_ROLES = frozenset({Role.VESSEL, Role.AIRWAY, Role.BONE, Role.LUNG, Role.BOWEL, Role.CRITICAL, Role.NO_GO})


class PatientPosition(StrEnum):
    """How the patient lies on the table; ``left`` means that the left side is down."""

    SUPINE = "supine"
    PRONE = "prone"
    LEFT = "left"
    RIGHT = "right"

    @property
    def up(self) -> FloatArray:
        """(3,) unit vector in patient LPS that points away from the table."""
        directions = {"supine": (0, -1, 0), "prone": (0, 1, 0), "left": (-1, 0, 0), "right": (1, 0, 0)}
        return read_only(directions[self.value])


class Severity(StrEnum):
    """What a finding means for planning."""

    REFUSED = "refused"
    MENDED = "mended"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation of the checks before planning.

    Attributes:
        severity: whether planning is refused, the fault was mended, or it goes on with a warning.
        code: short fixed name of the kind of finding, for programs.
        structure: name of the structure, or "" where it concerns the whole case.
        message: one sentence that says what is wrong and where.
        remedy: one sentence that says what to do.
    """

    severity: Severity
    code: str
    structure: str
    message: str
    remedy: str


class EntryShape(StrEnum):
    """How a surface is made that stands in for a skin that the segmentation lacks."""

    GROWN = "grown"  #: the union of the named structures, grown outward
    HULL = "hull"  #: the convex hull of the named structures, grown outward


@dataclass(frozen=True, slots=True)
class EntrySubstitute:
    """The stated surface for entries where the case has no skin.

    Attributes:
        shape: how it is made.
        structures: names of the structures that it encloses.
        grow_mm: distance by which it lies outside them; also the tissue that a needle is assumed to cross.
    """

    shape: EntryShape
    structures: tuple[str, ...]
    grow_mm: float

    @property
    def note(self) -> str:
        """The sentence that every plan of such a case carries."""
        what = "the convex hull of" if self.shape is EntryShape.HULL else "the surface of"
        names = ", ".join(self.structures)
        return (
            f"This case has no skin: entries lie on {what} {names} grown outward by {self.grow_mm:g} mm, "
            "and bones, bowel and other organs that were not segmented are not avoided."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One segmented structure.

    Attributes:
        name: unique within the case.
        role: what it means to a needle.
        geometry: voxel mask or closed surface, in patient LPS mm.
        clearance_mm: own least distance from a needle's surface; None takes the default of the role.
    """

    name: str
    role: Role
    geometry: VoxelMask | SurfaceMesh
    clearance_mm: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One segmented patient, checked.

    Attributes:
        name: identifier of the case.
        structures: unique names; exactly one target.
        position: how the patient lies.
        content_hash: SHA-256 (hex) of everything that the plan depends on.
        entry_substitute: stated entry surface where the case has no skin; None where it has one.
        findings: what the checks found and did not refuse.
        up: (3,) unit vector away from the table, from ``position`` unless the case was moved.
        cranial: (3,) unit vector towards the head, the normal of axial planes.
    """

    name: str
    structures: tuple[Structure, ...]
    position: PatientPosition
    content_hash: str
    entry_substitute: EntrySubstitute | None = None
    findings: tuple[Finding, ...] = ()
    up: FloatArray = dataclasses.field(default_factory=lambda: read_only((0.0, -1.0, 0.0)))
    cranial: FloatArray = dataclasses.field(default_factory=lambda: read_only((0.0, 0.0, 1.0)))

    def __post_init__(self) -> None:
        names = [structure.name for structure in self.structures]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise CaseError(f"case {self.name}: the structure name {doubled[0]!r} is used twice")
        targets = [s.name for s in self.structures if s.role is Role.TARGET]
        if len(targets) != 1:
            raise CaseError(
                f"case {self.name}: exactly one structure must have the role target, not {len(targets)}"
            )
        object.__setattr__(self, "up", read_only(unit_vector(self.up)))
        object.__setattr__(self, "cranial", read_only(unit_vector(self.cranial)))

    @property
    def target(self) -> Structure:
        """The structure to be ablated."""
        return next(s for s in self.structures if s.role is Role.TARGET)

    def with_role(self, *roles: Role) -> tuple[Structure, ...]:
        """All structures of the given roles, in the case's order."""
        return tuple(s for s in self.structures if s.role in roles)

    def moved(self, matrix: ArrayLike) -> "Case":
        """The whole case, table included, carried along by a rigid (4, 4) motion in mm."""
        motion = np.asarray(matrix, dtype=np.float64)
        structures = []
        for structure in self.structures:
            geometry = structure.geometry
            moved: VoxelMask | SurfaceMesh
            if isinstance(geometry, VoxelMask):
                moved = dataclasses.replace(geometry, grid=geometry.grid.moved(motion))
            else:
                moved = geometry.moved(motion)
            structures.append(dataclasses.replace(structure, geometry=moved))
        return dataclasses.replace(
            self,
            structures=tuple(structures),
            up=motion[:3, :3] @ self.up,
            cranial=motion[:3, :3] @ self.cranial,
        )
