"""The anatomy that planning works on: a surface for each structure, and where a needle may enter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import Case, Role
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, perpendicular_axes, read_only


@dataclass(frozen=True, slots=True, eq=False)
class StructureSurface:
    """The surface of one structure.

    Attributes:
        name: the structure's name.
        role: its role.
        mesh: its closed surface, patient LPS mm.
        clearance_mm: own least distance from a needle's surface; None takes the default of the role.
        cut_faces: (m,) True for faces that only the edge of the image made; they are not anatomy.
        surface_error_mm: bound on the distance between this surface and the boundary of the segmentation.
        smooth: the same faces with smoothed vertices, for drawing; None where ``mesh`` is to be drawn.
    """

    name: str
    role: Role
    mesh: SurfaceMesh
    clearance_mm: float | None
    cut_faces: NDArray[np.bool_]
    surface_error_mm: float
    smooth: SurfaceMesh | None = None

    def __post_init__(self) -> None:
        cut = read_only(self.cut_faces, np.bool_)
        if cut.shape != (len(self.mesh.faces),):
            raise GeometryError(f"{self.name}: cut_faces must have one value a face")
        if self.smooth is not None and len(self.smooth.vertices_mm) != len(self.mesh.vertices_mm):
            raise GeometryError(f"{self.name}: the smooth surface must have the vertices of the exact one")
        object.__setattr__(self, "cut_faces", cut)

    @property
    def drawn_mesh(self) -> SurfaceMesh:
        """The surface to draw: vertex by vertex that of ``mesh``, smoothed where a smooth one is known."""
        return self.mesh if self.smooth is None else self.smooth


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """All surfaces of a case.

    Attributes:
        case: the case it was built from.
        surfaces: one for each structure, in the case's order.
        entry: surface that a needle enters through: the skin, or its stated substitute.
        entry_faces: (m,) True for the faces of ``entry`` where an entry may be.
    """

    case: Case
    surfaces: tuple[StructureSurface, ...]
    entry: StructureSurface
    entry_faces: NDArray[np.bool_]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_faces", read_only(self.entry_faces, np.bool_))

    def surface(self, name: str) -> StructureSurface:
        """The surface of that name; raises GeometryError with the names there are."""
        for surface in self.surfaces:
            if surface.name == name:
                return surface
        raise GeometryError(f"no structure is named {name!r}: there are {', '.join(s.name for s in self.surfaces)}")

    @property
    def target(self) -> StructureSurface:
        """The surface of the target."""
        return next(s for s in self.surfaces if s.role is Role.TARGET)

    @property
    def obstacles(self) -> tuple[StructureSurface, ...]:
        """Surfaces that a needle must keep its distance from."""
        return tuple(s for s in self.surfaces if s.role.is_obstacle)

    def with_role(self, *roles: Role) -> tuple[StructureSurface, ...]:
        """All surfaces of the given roles."""
        return tuple(s for s in self.surfaces if s.role in roles)

    @property
    def axes(self) -> FloatArray:
        """(3, 3) columns: lateral, up, cranial of the patient on the table, an orthonormal frame.

        Samples are laid out along these axes and not along the world's, so a plan moves with a moved case.
        """
        up = np.asarray(self.case.up)
        cranial = self.case.cranial - (self.case.cranial @ up) * up
        if np.linalg.norm(cranial) < 1e-6:
            cranial = perpendicular_axes(up)[0]
        cranial = cranial / np.linalg.norm(cranial)
        return read_only(np.stack([np.cross(up, cranial), up, cranial], axis=1))
