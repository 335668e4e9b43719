"""A point is inside by its exact signed distance: no ray grazes an edge and leaves a stray voxel behind."""

import numpy as np
import pytest
from made_cases import joined, motion, tube
from scipy.ndimage import label

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray


def voxels_of(mesh: SurfaceMesh, step_mm: float) -> tuple[np.ndarray, FloatArray]:
    """Inside or not, on a lattice through the vertices, where rays would graze edges."""
    low, high = mesh.bounds_mm
    axes = [np.arange(a - 3 * step_mm, b + 3 * step_mm, step_mm) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    inside = SurfaceDistance(mesh).contains(points.reshape(-1, 3)).reshape(points.shape[:3])
    return inside, points


@pytest.mark.parametrize("turned", [False, True], ids=["along an axis", "oblique"])
def test_a_tube_becomes_one_piece_of_its_own_points(turned):
    start, end = np.array([0.0, 0.0, 0.0]), np.array([0.0, 0.0, 60.0])
    if turned:
        matrix = motion()
        start, end = matrix[:3, :3] @ start + matrix[:3, 3], matrix[:3, :3] @ end + matrix[:3, 3]
    mesh = tube(start, end, 6.0, sections=24)
    inside, points = voxels_of(mesh, 1.0)
    _, pieces = label(inside, np.ones((3, 3, 3)))
    assert pieces == 1
    axis = (end - start) / np.linalg.norm(end - start)
    along = (points - start) @ axis
    aside = np.linalg.norm(points - start - along[..., None] * axis, axis=-1)
    # The prism of 24 sides lies between its inner and its outer cylinder.
    assert inside[(aside < 6.0 * np.cos(np.pi / 24) - 1e-9) & (along > 1e-9) & (along < 60 - 1e-9)].all()
    assert not inside[(aside > 6.0 + 1e-9) | (along < -1e-9) | (along > 60 + 1e-9)].any()


def test_a_stray_point_would_be_a_second_piece():
    apart = joined(tube((0, 0, 0), (0, 0, 40), 6.0), tube((20, 0, 0), (20, 0, 2), 1.5))
    assert label(voxels_of(apart, 1.0)[0], np.ones((3, 3, 3)))[1] == 2
