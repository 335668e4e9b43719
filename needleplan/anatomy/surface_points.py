"""Points spread over a surface so densely that every point of it has one near."""

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray


def surface_points(mesh: SurfaceMesh, spacing_mm: float) -> tuple[FloatArray, float]:
    """Corners of the faces, each split into equal triangles with sides of at most ``spacing_mm``.

    No point of a triangle is farther from its nearest corner than its longest side over sqrt(3): that is the
    circumradius of an acute triangle at worst, and an obtuse one stays below half its longest side.

    Returns:
        Points (n, 3) in mm (corners shared by split faces appear once a face), and the distance within which every
        point of the surface has one of them.
    """
    corners = mesh.triangles_mm
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    # A side of a whole number of spacings must not be split once more because a moved mesh rounds otherwise.
    splits = np.maximum(1, np.ceil(longest / spacing_mm - 1e-9)).astype(int)
    points = []
    small = splits == 1
    if small.any():
        points.append(mesh.vertices_mm[np.unique(mesh.faces[small])])
    for count in np.unique(splits[~small]):
        steps = [(i, j, count - i - j) for i in range(count + 1) for j in range(count + 1 - i)]
        part = corners[splits == count]
        points.append(np.einsum("wk,fkx->fwx", np.array(steps) / count, part).reshape(-1, 3))
    return np.concatenate(points), float((longest / splits).max() / np.sqrt(3.0))
