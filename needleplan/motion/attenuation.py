"""How the other structures follow the breathing of the target's organ, each as one rigid piece.

A breathing model says how the target's organ moves. Every other structure gets a share of that displacement from
the table of organ motion, with its source; what nobody measured is an assumption and is called one. Structures
move rigidly, which is what proofs over a whole breath rest on; only the skin has a share that varies over its
surface. :class:`needleplan.motion.body_motion.BodyMotion` deforms the body by the same table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.organ_motion import organ_motion

if TYPE_CHECKING:
    from needleplan.anatomy.tree import MeshTree

#: Millimetres by which the upper side of the abdominal wall rises for one millimetre of the target to inferior.
SKIN_RISE = organ_motion("skin", Role.SKIN).anterior_ratio

#: A structure with at least this share of its surface inside the target's organ or against it (a gallbladder, or
#: vessels that an exclusive label map has cut out of the organ) moves with the organ.
INSIDE_SHARE = 0.5

#: Vertices of a structure that are tested for lying inside the target's organ.
_TESTED_VERTICES = 400


@dataclass(frozen=True, slots=True)
class MotionShare:
    """The share of the target's displacement that a structure takes.

    Attributes:
        fraction: 0 fixed to the table, 1 with the target's organ.
        source: where the figure is from.
    """

    fraction: float
    source: str


TARGET_SHARE = MotionShare(1.0, "by definition: the breathing model is that of the target and its organ")
INSIDE_ORGAN_SHARE = MotionShare(1.0, "assumption: what lies in the target's organ, or against it, moves with it")
SKIN_SHARE = MotionShare(SKIN_RISE, "assumption: the upper wall rises by this share, the lower rests")
BONE_SHARE = MotionShare(0.0, "assumption: the spine rests on the table, the rise of the ribs is left out")
REGION_SHARE = MotionShare(0.0, "a region in space, not tissue")
HELD_SOURCE = "assumption: what lies in an organ moves with it"

#: Roles of solids that carry along what lies in them.
_HOLDING_ROLES = (Role.ORGAN, Role.CRITICAL, Role.LUNG)

_WITHOUT_TABLE = {
    Role.TARGET: TARGET_SHARE,
    Role.BONE: BONE_SHARE,
    Role.SKIN: SKIN_SHARE,
    Role.ENTRY_REGION: REGION_SHARE,
    Role.NO_GO: REGION_SHARE,
    Role.ALLOWED: REGION_SHARE,
}


class TissueMotion:
    """Displacement of every structure of an anatomy under one breathing model."""

    def __init__(self, anatomy: Anatomy, motion: RespiratoryMotion) -> None:
        """Settle each structure's share: by whether it lies inside the target's organ, by name, by role."""
        self._motion = motion
        self._up = np.asarray(anatomy.case.up)
        self._cranial = np.asarray(anatomy.case.cranial)
        height = anatomy.entry.mesh.vertices_mm @ self._up
        self._middle_mm = float(0.5 * (height.min() + height.max()))
        self._half_mm = float(0.5 * (height.max() - height.min()))
        trees = _Trees()
        organ = _holder(anatomy.target, anatomy.with_role(Role.ORGAN), trees)
        self._organ = None if organ is None else organ.name
        self._shares = {surface.name: _share(surface, organ, trees) for surface in anatomy.surfaces}
        self._holders: dict[str, str] = {}
        for surface in anatomy.with_role(Role.ALLOWED):
            holder = _holder(surface, anatomy.with_role(*_HOLDING_ROLES), trees)
            if holder is not None:
                self._holders[surface.name] = holder.name
                self._shares[surface.name] = MotionShare(self._shares[holder.name].fraction, HELD_SOURCE)
        self._shares.setdefault(anatomy.entry.name, SKIN_SHARE)

    @property
    def motion(self) -> RespiratoryMotion:
        """The breathing model of the target."""
        return self._motion

    @property
    def target_organ(self) -> str | None:
        """Name of the structure of role organ that encloses the target; None where there is none."""
        return self._organ

    @property
    def holders(self) -> dict[str, str]:
        """Name of the organ by name of each structure of role allowed that lies in one, as a second tumour does."""
        return dict(self._holders)

    @property
    def shares(self) -> dict[str, MotionShare]:
        """Share of each structure by name."""
        return dict(self._shares)

    def target_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) of the target from end-exhale at ``time_s`` (...,)."""
        return self._motion.displacement_mm(time_s)

    def structure_mm(self, name: str, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) of a structure other than the skin at ``time_s`` (...,)."""
        return self._shares[name].fraction * self._motion.displacement_mm(time_s)

    def skin_share(self, points_mm: ArrayLike) -> FloatArray:
        """(...,) 0 on the lower half of the body to 1 at its highest, for points (..., 3), growing linearly."""
        height = np.asarray(points_mm, dtype=np.float64) @ self._up
        return np.asarray(np.clip((height - self._middle_mm) / self._half_mm, 0.0, 1.0))

    def skin_mm(self, points_mm: ArrayLike, target_mm: ArrayLike) -> FloatArray:
        """Displacement (..., 3) of skin points (..., 3) while the target is displaced by ``target_mm`` (3,).

        The wall rises away from the table by ``SKIN_RISE`` times the target's way to inferior times
        :meth:`skin_share`.
        """
        sinking = -float(np.asarray(target_mm, dtype=np.float64) @ self._cranial)
        return SKIN_RISE * sinking * self.skin_share(points_mm)[..., None] * self._up


class _Trees:
    """The tree of each surface that is asked for: most structures are asked about the same organ."""

    def __init__(self) -> None:
        self._trees: dict[int, MeshTree] = {}

    def of(self, surface: StructureSurface) -> "MeshTree":
        """The tree of a surface's mesh, made once."""
        from needleplan.anatomy.tree import MeshTree

        key = id(surface.mesh)
        if key not in self._trees:
            self._trees[key] = MeshTree(surface.mesh)
        return self._trees[key]


def _holder(held: StructureSurface, organs: Iterable[StructureSurface], trees: _Trees) -> StructureSurface | None:
    """The first of the organs that hold or touch the greatest share of a surface, ``INSIDE_SHARE`` or more."""
    points = _sample(held)
    best: tuple[float, StructureSurface] | None = None
    for surface in organs:
        low, high = surface.mesh.bounds_mm
        if (points.mean(axis=0) < low - 5.0).any() or (points.mean(axis=0) > high + 5.0).any():
            continue
        tree = trees.of(surface)
        # A tumour may be cut out of its organ's label: then it touches the organ from within a hole.
        near = tree.segment_distance_mm(points, points + 1e-3, cap_mm=5.0) < 5.0
        share = float(np.mean(near | tree.contains(points)))
        if share >= INSIDE_SHARE and (best is None or share > best[0]):
            best = (share, surface)
    return None if best is None else best[1]


def _share(surface: StructureSurface, organ: StructureSurface | None, trees: _Trees) -> MotionShare:
    if organ is not None and surface.name == organ.name:
        return TARGET_SHARE
    if organ is not None and surface.role in (Role.VESSEL, Role.AIRWAY, Role.CRITICAL, Role.ORGAN):
        points = _sample(surface)
        low, high = organ.mesh.bounds_mm
        # A look at the organ's box first: most structures lie elsewhere, and a tree takes time to build.
        boxed = ((points > low) & (points < high)).all(axis=1)
        if boxed.mean() >= INSIDE_SHARE:
            tree = trees.of(organ)
            near = tree.segment_distance_mm(points, points + 1e-3, cap_mm=3.0) < 3.0
            if np.mean(near | tree.contains(points)) >= INSIDE_SHARE:
                return INSIDE_ORGAN_SHARE
    if surface.role in _WITHOUT_TABLE:
        return _WITHOUT_TABLE[surface.role]
    row = organ_motion(surface.name, surface.role)
    return MotionShare(row.cranial_ratio, row.source)


def _sample(surface: StructureSurface) -> FloatArray:
    vertices = surface.mesh.vertices_mm
    return np.asarray(vertices[:: max(1, len(vertices) // _TESTED_VERTICES)])
