"""How others screen needle paths: one ray a path against the obstacles, hit or no hit.

No peer here knows the needle's width, a clearance or which structure was hit. needleplan's clearances are exact
distances to every obstacle apart. Each function builds its search structure and returns a function of entries
(n, 3) and tips (n, 3) that tells which paths (n,) hit.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray

Hits = Callable[[FloatArray, FloatArray], NDArray[np.bool_]]


def joined(meshes: Sequence[SurfaceMesh]) -> tuple[FloatArray, FloatArray]:
    """Vertices (n, 3) and faces (m, 3) of all meshes together."""
    starts = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return np.concatenate([mesh.vertices_mm for mesh in meshes]), np.concatenate(faces)


def vtk_loop(meshes: Sequence[SurfaceMesh]) -> Hits:
    """A loop over paths with one ``vtkOBBTree.IntersectWithLine`` each, as planning extensions of viewers do."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersGeneral import vtkOBBTree

    vertices, faces = joined(meshes)
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(vertices), deep=True))
    cells = vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces, dtype=np.int64).ravel(), deep=True))
    surface = vtkPolyData()
    surface.SetPoints(points)
    surface.SetPolys(cells)
    tree = vtkOBBTree()
    tree.SetDataSet(surface)
    tree.BuildLocator()

    def hits(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        met = vtkPoints()
        pairs = zip(entry_mm.tolist(), tip_mm.tolist(), strict=True)
        return np.array([tree.IntersectWithLine(entry, tip, met, None) != 0 for entry, tip in pairs], dtype=bool)

    return hits


def open3d_rays(meshes: Sequence[SurfaceMesh]) -> Hits:
    """All paths at once as occlusion rays of Open3D's Embree scene, on all cores."""
    import open3d

    vertices, faces = joined(meshes)
    centre = vertices.mean(axis=0)
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor((vertices - centre).astype(np.float32)), open3d.core.Tensor(faces.astype(np.uint32))
    )

    def hits(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        # The direction has the path's length, so a hit beyond parameter 1 lies behind the tip.
        rays = np.concatenate([entry_mm - centre, tip_mm - entry_mm], axis=1).astype(np.float32)
        occluded = scene.test_occlusions(open3d.core.Tensor(rays), tnear=0.0, tfar=1.0)
        return np.asarray(occluded.numpy(), dtype=bool)

    hits(np.zeros((1, 3)), np.ones((1, 3)))  # Embree builds its tree at the first call
    return hits


def embree_rays(meshes: Sequence[SurfaceMesh]) -> Hits:
    """All paths at once as rays of trimesh with embreex, by trimesh's public calls.

    Raises:
        ImportError: embreex is not installed.
    """
    import embreex  # noqa: F401
    import trimesh

    vertices, faces = joined(meshes)
    mesh = trimesh.Trimesh(vertices, faces, process=False, validate=False)

    def hits(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        path = tip_mm - entry_mm
        # Rays have no end, so the place of the first hit tells whether it lies before the tip.
        place, ray, _ = mesh.ray.intersects_location(entry_mm, path, multiple_hits=False)
        before = ((place - entry_mm[ray]) * path[ray]).sum(axis=1) <= (path[ray] ** 2).sum(axis=1)
        result = np.zeros(len(path), dtype=bool)
        result[ray[before]] = True
        return result

    hits(np.zeros((1, 3)), np.ones((1, 3)))  # trimesh builds its scene at the first call
    return hits
