"""Surfaces made light enough for a page: fewer triangles, with the distance from the surface measured and kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role
from needleplan.viz.offscreen import polydata

#: How far a drawn surface may lie from the true one, by role; what needles must be seen to pass by is finest.
BOUND_MM = {
    Role.TARGET: 0.08,
    Role.VESSEL: 0.35,
    Role.AIRWAY: 0.35,
    Role.CRITICAL: 0.3,
    Role.BOWEL: 0.35,
    Role.ORGAN: 0.35,
    Role.BONE: 0.7,
    Role.LUNG: 0.4,
    Role.SKIN: 0.5,
}
#: Of everything else.
OTHER_BOUND_MM = 0.3
#: The numbers of faces that are tried, the largest first; the finest are reached by bones of rough scans alone.
FACE_COUNTS = (60_000, 40_000, 20_000, 10_000, 6_000, 3_500, 2_000, 1_000, 500)
#: Meshes of more faces are first clustered to about so many, which takes a twentieth of the time; to the next
#: number where that misses the bound, but by no more than a finer start can mend.
_CLUSTERED_FACES, _MENDED = (100_000, 250_000), 2.0
#: Cells of this many times the squared edge take one face; a surface crosses more of them than it fills.
_CELL_SHARE = 1.75
#: Vertices are first moved by up to this, or the equal costs of flat parts would all be paid at one vertex, whose
#: faces grow so many that the time goes with their square.
_LOOSENED_MM = 1e-3
#: The distance is measured at no more points than this of either surface.
_MEASURED_POINTS = 8_000
#: Share of the measured points that must lie within the bound; the farthest of all is told beside it.
WITHIN_SHARE = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class LightMesh:
    """A surface of few triangles and how far it lies from the one that it stands for.

    Attributes:
        mesh: the surface.
        usual_mm: 99.9 % of the points measured on either surface lie within this of the other.
        farthest_mm: all of them do.
    """

    mesh: SurfaceMesh
    usual_mm: float
    farthest_mm: float


def bound_mm(surface: StructureSurface) -> float:
    """How far the drawn surface of a structure may lie from the true one."""
    return BOUND_MM.get(surface.role, OTHER_BOUND_MM)


def lightened(mesh: SurfaceMesh, within_mm: float) -> LightMesh:
    """``mesh`` with as few faces as keep 99.9 % of its surface within ``within_mm`` (VTK's quadric decimation).

    Where even the largest number of ``FACE_COUNTS`` does not, a mesh that has no more stays as it is, and of one
    that has more that number is kept; the result says how far it lies. Garland and Heckbert, Surface simplification
    using quadric error metrics, SIGGRAPH 1997; of large meshes the vertices of each cell are first put together
    where their quadrics say: Lindstrom, Out-of-core simplification of large polygonal models, SIGGRAPH 2000.
    """
    there = SurfaceDistance(mesh)
    starts = [count for count in _CLUSTERED_FACES if _CELL_SHARE * count < len(mesh.faces)]
    found = None
    for count in starts:
        found = _lightest(mesh, there, _loosened(_clustered(mesh, count)), within_mm)
        if found is not None and not within_mm < found.usual_mm <= _MENDED * within_mm:
            return found
    if not starts:
        found = _lightest(mesh, there, _loosened(mesh), within_mm)
    return LightMesh(_ordered(mesh), 0.0, 0.0) if found is None else found


def apart_mm(drawn: SurfaceMesh, measured: SurfaceMesh) -> float:
    """Greatest distance in mm, both ways, between a drawn surface and the one that figures are measured on.

    Asked at every vertex of either and in the middle of every drawn face, so that of a drawn face no more can be
    missed than what lies between its corners and its middle.
    """
    points = np.concatenate([drawn.vertices_mm, drawn.face_centres_mm])
    there, back = (
        SurfaceDistance(measured).distance_mm(points),
        SurfaceDistance(drawn).distance_mm(measured.vertices_mm),
    )
    return float(max(there.max(), back.max()))


def without_cavities(mesh: SurfaceMesh) -> SurfaceMesh:
    """The mesh without those of its closed pieces that face inwards, which nobody sees from outside."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces, count = mesh.faces, len(mesh.vertices_mm)
    edges = (faces[:, :2].T.ravel(), faces[:, 1:].T.ravel())
    links = coo_matrix((np.ones(2 * len(faces), dtype=np.bool_), edges), shape=(count, count))
    pieces, of_vertex = connected_components(links, directed=False)
    if pieces == 1:
        return mesh
    of_face = of_vertex[faces[:, 0]]
    way = mesh.face_centres_mm - mesh.bounds_mm.mean(axis=0)
    volumes = np.bincount(of_face, np.einsum("ij,ij->i", way, mesh.area_vectors_mm2), minlength=pieces)
    seen = volumes[of_face] > 0
    used, place = np.unique(faces[seen], return_inverse=True)
    return SurfaceMesh(mesh.vertices_mm[used], place.reshape(-1, 3).astype(np.int32))


def _lightest(mesh: SurfaceMesh, there: SurfaceDistance, data: Any, within_mm: float) -> LightMesh | None:
    """The lightest of ``data`` that lies within the bound of ``mesh``; None where ``mesh`` itself is to be kept."""
    points = _some(mesh.vertices_mm)
    best = None
    for count in (count for count in FACE_COUNTS if count < 0.8 * len(mesh.faces)):
        if data.GetNumberOfPolys() > count:
            data = _decimated(data, count)
        light = _mesh_of(data)
        off = np.concatenate(
            [_apart_mm(SurfaceDistance(light), points), _apart_mm(there, _some(light.vertices_mm))]
        )
        found = LightMesh(light, float(np.quantile(off, WITHIN_SHARE)), float(off.max()))
        if found.usual_mm > within_mm:
            # Thin ends are lost first: a mesh that is light enough as it is keeps them.
            if best is None and len(mesh.faces) > FACE_COUNTS[0]:
                best = found
            break
        best = found
    return None if best is None else LightMesh(_ordered(best.mesh), best.usual_mm, best.farthest_mm)


def _apart_mm(surface: SurfaceDistance, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(surface.closest_points_mm(points) - points, axis=1))


def _some(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points[:: max(1, -(-len(points) // _MEASURED_POINTS))]


def _clustered(mesh: SurfaceMesh, count: int) -> SurfaceMesh:
    from vtkmodules.vtkFiltersCore import vtkQuadricClustering

    cell_mm = np.sqrt(_CELL_SHARE * mesh.area_mm2 / count)
    low, high = mesh.bounds_mm
    clustering = vtkQuadricClustering()
    clustering.SetInputData(polydata(mesh))
    clustering.AutoAdjustNumberOfDivisionsOff()
    clustering.SetNumberOfDivisions(*(int(n) for n in np.maximum(2, np.ceil((high - low) / cell_mm))))
    clustering.Update()
    return _mesh_of(clustering.GetOutput())


def _loosened(mesh: SurfaceMesh) -> Any:
    away = np.random.default_rng(0).uniform(-_LOOSENED_MM, _LOOSENED_MM, mesh.vertices_mm.shape)
    return polydata(SurfaceMesh(mesh.vertices_mm + away, mesh.faces))


def _decimated(data: Any, count: int) -> Any:
    from vtkmodules.vtkFiltersCore import vtkQuadricDecimation

    decimation = vtkQuadricDecimation()
    decimation.SetInputData(data)
    decimation.SetTargetReduction(1.0 - count / data.GetNumberOfPolys())
    decimation.VolumePreservationOn()
    decimation.Update()
    return decimation.GetOutput()


def _mesh_of(data: Any) -> SurfaceMesh:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    vertices = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return SurfaceMesh(vertices, faces.astype(np.int32))


def _ordered(mesh: SurfaceMesh) -> SurfaceMesh:
    """The same surface with neighbours beside each other in its arrays, and without vertices that no face names.

    Sorted so, its bytes compress to less.
    """
    centre = mesh.triangles_mm.mean(axis=1)
    low, high = centre.min(axis=0), centre.max(axis=0)
    cell = np.clip((centre - low) / np.maximum(high - low, 1e-9) * 31.0, 0, 31).astype(np.int64)
    key = np.zeros(len(centre), dtype=np.int64)
    for bit in range(5):
        for axis in range(3):
            key |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    faces = np.asarray(mesh.faces)[np.argsort(key, kind="stable")]
    used, first = np.unique(faces, return_index=True)
    order = used[np.argsort(first, kind="stable")]
    place = np.zeros(len(mesh.vertices_mm), dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return SurfaceMesh(mesh.vertices_mm[order], place[faces])
