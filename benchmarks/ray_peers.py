"""How others screen needle paths: one ray a path against the obstacles, hit or no hit.

Neither peer knows the needle's width, a clearance or which structure was hit. needleplan's clearances are exact
distances to every obstacle apart.
"""

from collections.abc import Callable, Sequence

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray


def joined(meshes: Sequence[SurfaceMesh]) -> tuple[FloatArray, FloatArray]:
    """Vertices (n, 3) and faces (m, 3) of all meshes together."""
    starts = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return np.concatenate([mesh.vertices_mm for mesh in meshes]), np.concatenate(faces)


def vtk_loop(meshes: Sequence[SurfaceMesh]) -> Callable[[FloatArray, FloatArray], int]:
    """A loop over paths with one ``vtkOBBTree.IntersectWithLine`` each, as planning extensions of viewers do.

    Returns:
        A function of entries (n, 3) and tips (n, 3) that counts the paths that hit; its tree is built already.
    """
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

    def count(entry_mm: FloatArray, tip_mm: FloatArray) -> int:
        hit = vtkPoints()
        hits = 0
        for entry, tip in zip(entry_mm.tolist(), tip_mm.tolist(), strict=True):
            hits += tree.IntersectWithLine(entry, tip, hit, None) != 0
        return hits

    return count


def open3d_rays(meshes: Sequence[SurfaceMesh]) -> Callable[[FloatArray, FloatArray], int]:
    """All paths at once as occlusion rays of Open3D's Embree scene, on all cores.

    Returns:
        As ``vtk_loop``.
    """
    import open3d

    vertices, faces = joined(meshes)
    centre = vertices.mean(axis=0)
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor((vertices - centre).astype(np.float32)), open3d.core.Tensor(faces.astype(np.uint32))
    )

    def count(entry_mm: FloatArray, tip_mm: FloatArray) -> int:
        # The direction has the path's length, so a hit beyond parameter 1 lies behind the tip.
        rays = np.concatenate([entry_mm - centre, tip_mm - entry_mm], axis=1).astype(np.float32)
        occluded = scene.test_occlusions(open3d.core.Tensor(rays), tnear=0.0, tfar=1.0)
        return int(occluded.numpy().sum())

    return count
