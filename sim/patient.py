"""The patient's surfaces as the simulation uses them: fewer faces, in pieces that follow the breathing body.

Rigid bodies cannot bend, so each piece takes the pose that brings some of its points nearest to where the tissue
carries them: the least squares of Kabsch (Acta Crystallographica A 1976;32:922). What is left over is given with
the pose.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray, read_only
from needleplan.motion.body_motion import BodyState
from needleplan.motion.tabulated_body import TabulatedBody

#: Roles that are regions in space and not tissue: the simulation leaves them away.
REGION_ROLES = frozenset({Role.ENTRY_REGION, Role.NO_GO, Role.ALLOWED})
#: Points of each piece by which it is posed.
LANDMARKS = 40
#: A share of the landmarks' spread by which a pose clings to no turn: points in a row leave the turn about it open.
_CLING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class PatientPart:
    """One moving piece of the patient.

    Attributes:
        name: the structure's name; the skin comes in several parts.
        surface: the structure it was made from.
        mesh: its simplified surface, patient LPS mm, at end-exhale.
        landmarks_mm: (``LANDMARKS``, 3) vertices of the mesh, spread over it, that the tissue carries.
        inside: True where the structure slides within the chest wall.
    """

    name: str
    surface: StructureSurface
    mesh: SurfaceMesh
    landmarks_mm: FloatArray
    inside: bool

    def pose(self, state: BodyState) -> tuple[FloatArray, float]:
        """Pose (4, 4) in patient LPS mm that it takes from end-exhale, and the greatest distance left, in mm."""
        poses, misfit = _poses(self.landmarks_mm[None], np.full(len(self.landmarks_mm), self.inside), state)
        return np.asarray(poses[0]), float(misfit[0])


@dataclass(frozen=True, slots=True, eq=False)
class PatientSurfaces:
    """The patient as the simulation and its films use it.

    Attributes:
        parts: rigid pieces.
        skin: the simplified entry surface in one piece, which a film bends.
        body: how the body follows the breathing.
    """

    parts: tuple[PatientPart, ...]
    skin: SurfaceMesh
    body: TabulatedBody
    _landmarks: FloatArray = field(init=False, repr=False)
    _inside: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        landmarks = np.array([part.landmarks_mm for part in self.parts]).reshape(len(self.parts), LANDMARKS, 3)
        object.__setattr__(self, "_landmarks", read_only(landmarks))
        inside = np.repeat([part.inside for part in self.parts], LANDMARKS)
        object.__setattr__(self, "_inside", read_only(inside, np.bool_))

    def poses(self, state: BodyState) -> tuple[FloatArray, FloatArray]:
        """How the parts lie.

        Args:
            state: the body at one moment of the breath.

        Returns:
            Poses (n, 4, 4) in patient LPS mm that the parts take from end-exhale, and (n,) the greatest distance in
            mm between a landmark so posed and where the tissue has carried it.
        """
        return _poses(self._landmarks, self._inside, state)


def _poses(landmarks: FloatArray, inside: NDArray[np.bool_], state: BodyState) -> tuple[FloatArray, FloatArray]:
    """Poses (n, 4, 4) and greatest distances left (n,) of n pieces with landmarks (n, k, 3)."""
    n = len(landmarks)
    poses = np.tile(np.eye(4), (n, 1, 1))
    if not (n and state.drive.any()):
        return poses, np.zeros(n)
    carried = state.carry(landmarks.reshape(-1, 3), inside).reshape(landmarks.shape)
    before, after = landmarks.mean(axis=1), carried.mean(axis=1)
    spread = landmarks - before[:, None]
    covariance = (carried - after[:, None]).transpose(0, 2, 1) @ spread
    covariance += _CLING * (spread**2).sum(axis=(1, 2))[:, None, None] * np.eye(3)
    u, _, vt = np.linalg.svd(covariance)
    # A best fit that mirrors is turned into the best that does not, at the cost of the smallest direction.
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    rotation = u @ vt
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = after - (rotation @ before[:, :, None])[:, :, 0]
    left = spread @ rotation.transpose(0, 2, 1) + after[:, None] - carried
    return poses, np.sqrt((left**2).sum(axis=2).max(axis=1))


#: Meshes of more faces are binned before they are decimated, in bins of this size.
FINE_FACES = 40_000
BIN_MM = 2.5


def simplified(mesh: SurfaceMesh, faces: int) -> SurfaceMesh:
    """``mesh`` with about ``faces`` faces by quadric decimation (VTK); the mesh itself where it has no more.

    Vertices of very fine meshes are first drawn together in bins of ``BIN_MM``, which takes a hundredth of the time
    and is well below what the simulation shows.
    """
    if len(mesh.faces) <= faces:
        return mesh
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersCore import vtkBinnedDecimation, vtkQuadricDecimation

    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices_mm), deep=True))
    count = len(mesh.faces)
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.arange(0, 3 * count + 1, 3, dtype=np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(mesh.faces, dtype=np.int64).ravel(), deep=True),
    )
    data.SetPoints(points)
    data.SetPolys(cells)
    if count > FINE_FACES:
        low, high = mesh.bounds_mm
        bins = vtkBinnedDecimation()
        bins.SetInputData(data)
        bins.AutoAdjustNumberOfDivisionsOff()
        bins.SetNumberOfDivisions(*(int(n) for n in np.maximum(2, np.ceil((high - low) / BIN_MM))))
        bins.Update()
        data = bins.GetOutput()
        count = data.GetNumberOfPolys()
    decimation = vtkQuadricDecimation()
    decimation.SetInputData(data)
    decimation.SetTargetReduction(max(0.0, 1.0 - faces / count))
    decimation.VolumePreservationOn()
    decimation.Update()
    output = decimation.GetOutput()
    vertices = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return SurfaceMesh(vertices, triangles.astype(np.int32))


def spread_points(points_mm: FloatArray, count: int) -> FloatArray:
    """(count, 3) of points (n, 3), each the farthest from those before it; again from the first where n is less."""
    centre = points_mm.mean(axis=0)
    chosen = [int(np.argmax(((points_mm - centre) ** 2).sum(axis=1)))]
    nearest = ((points_mm - points_mm[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(min(count, len(points_mm)) - 1):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((points_mm - points_mm[chosen[-1]]) ** 2).sum(axis=1))
    return points_mm[np.resize(chosen, count)]


def patient_surfaces(anatomy: Anatomy, body: TabulatedBody, faces_per_structure: int = 3000) -> PatientSurfaces:
    """The pieces of the patient that the simulation moves.

    The skin is cut at mid height: its front rises with the breath and its back rests. At 15 mm of a liver it is
    then posed to 0.9 mm (root mean square; 1.5 mm in one piece) and in places to 3 mm; four pieces leave 0.8 mm.

    Args:
        anatomy: the patient; its entry surface takes part also where it only stands in for a skin.
        body: how the body follows the breathing.
        faces_per_structure: largest number of faces of one structure; vessels of many branches need the most.
    """

    def part(name: str, surface: StructureSurface, mesh: SurfaceMesh) -> PatientPart:
        landmarks = read_only(spread_points(mesh.vertices_mm, LANDMARKS))
        return PatientPart(name, surface, mesh, landmarks, body.body.slides(surface))

    surfaces = [s for s in anatomy.surfaces if s.role not in REGION_ROLES and s.role is not Role.SKIN]
    parts = [part(s.name, s, simplified(s.drawn_mesh, faces_per_structure)) for s in surfaces]
    skin = simplified(anatomy.entry.mesh, faces_per_structure)
    height = skin.vertices_mm @ np.asarray(anatomy.case.up)
    upper = height[skin.faces].mean(axis=1) > 0.5 * (height.min() + height.max())
    for label, chosen in (("upper", upper), ("lower", ~upper)):
        if chosen.any():
            used, faces = np.unique(skin.faces[chosen], return_inverse=True)
            mesh = SurfaceMesh(skin.vertices_mm[used], faces.reshape(-1, 3))
            parts.append(part(f"{anatomy.entry.name}, {label} part", anatomy.entry, mesh))
    return PatientSurfaces(tuple(parts), skin, body)
