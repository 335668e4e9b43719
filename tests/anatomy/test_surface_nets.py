"""Surfaces of voxel masks on turned, stretched and mirrored grids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import rotation

from needleplan.anatomy.surface_nets import surface_from_mask
from needleplan.anatomy.surface_points import surface_points
from needleplan.grid import Grid, VoxelMask


def grid(shape, mirrored=False, sheared=False):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(7) * [0.8, -1.1 if mirrored else 1.1, 2.5]
    if sheared:
        matrix[:3, 2] += 0.6 * matrix[:3, 0]
    matrix[:3, 3] = [100.0, -30.0, 12.0]
    return Grid(shape, matrix)


def distance_to_boundary(mask: VoxelMask, points: np.ndarray) -> np.ndarray:
    """Distance of points to the faces between voxels inside and outside, each face as dense points of it."""
    padded = np.pad(mask.inside, 1)
    steps = np.linspace(-0.5, 0.5, 9)
    u, v = (a.ravel() for a in np.meshgrid(steps, steps))
    cloud = []
    for axis in range(3):
        here = np.argwhere(np.diff(padded.astype(int), axis=axis) != 0) - 1.0
        patch = np.zeros((81, 3))
        patch[:, axis] = 0.5
        patch[:, (axis + 1) % 3], patch[:, (axis + 2) % 3] = u, v
        cloud.append((here[:, None, :] + patch[None]).reshape(-1, 3))
    from scipy.spatial import cKDTree

    return cKDTree(mask.grid.to_patient(np.concatenate(cloud))).query(points)[0]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.02, 0.3, 0.6, 1.0]),
    mirrored=st.booleans(),
    smooth=st.booleans(),
)
def test_random_voxels_have_a_closed_surface_near_their_boundary(seed, share, mirrored, smooth):
    rng = np.random.default_rng(seed)
    inside = rng.uniform(size=tuple(rng.integers(1, 7, 3))) < share
    inside.flat[0] = True
    mask = VoxelMask(grid(inside.shape, mirrored), inside)
    mesh, cut, bound = surface_from_mask(mask, smooth)
    assert mesh.is_watertight
    if smooth:
        assert bound == pytest.approx(mask.grid.half_diagonal_mm)
    else:
        assert bound == 0.0
        assert mesh.volume_mm3 == pytest.approx(mask.volume_mm3)
    points, _ = surface_points(mesh, 0.4)
    # 0.3 mm: the boundary is known by points of its faces only.
    assert distance_to_boundary(mask, points).max() <= bound + 0.3
    assert not cut.any()


def test_a_checkerboard_of_voxels_that_touch_at_edges_only_is_closed():
    inside = np.indices((4, 4, 4)).sum(axis=0) % 2 == 0
    mesh, _, _ = surface_from_mask(VoxelMask(grid((4, 4, 4)), inside))
    assert mesh.is_watertight


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("sheared", [False, True])
def test_volume_is_that_of_the_ball_it_came_from(mirrored, sheared):
    image = grid((60, 50, 24), mirrored, sheared)
    middle = image.to_patient(np.array([30, 25, 12.0]))
    inside = np.linalg.norm(image.centres_mm() - middle, axis=1).reshape(image.shape) < 18
    mesh, _, bound = surface_from_mask(VoxelMask(image, inside))
    assert mesh.volume_mm3 == pytest.approx(4 / 3 * np.pi * 18**3, rel=0.04)
    radius = np.linalg.norm(mesh.vertices_mm - middle, axis=1)
    assert radius.min() > 18 - 2 * bound and radius.max() < 18 + 2 * bound
    outward = np.einsum("ij,ij->i", mesh.face_normals, mesh.face_centres_mm - middle)
    assert (outward > 0).mean() > 0.999


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("high", [False, True])
def test_only_the_cut_side_is_marked(axis, high):
    image = grid((14, 15, 16), mirrored=True)
    inside = np.zeros(image.shape, dtype=bool)
    window = [slice(4, 9)] * 3
    window[axis] = slice(7, None) if high else slice(0, 7)
    inside[tuple(window)] = True
    mask = VoxelMask.cropped(image, inside)
    expected = [[False, False] for _ in range(3)]
    expected[axis][int(high)] = True
    assert [list(pair) for pair in mask.cut_sides] == expected
    mesh, cut, _ = surface_from_mask(mask)
    index = image.to_index(mesh.face_centres_mm[cut])
    # The image ends half a voxel beyond its outer centres; smoothing leaves a vertex within half a voxel of that.
    edge = image.shape[axis] - 0.5 if high else -0.5
    assert np.abs(index[:, axis] - edge).max() <= 0.5 + 1e-9
    area = np.linalg.norm(mesh.area_vectors_mm2, axis=1)
    size = np.delete(image.spacing_mm, axis)
    # Smoothing rounds the rim of the patch of 5 x 5 voxels off, by less than one of them all around.
    assert 9 * size[0] * size[1] < area[cut].sum() <= 25 * size[0] * size[1] * 1.05
    assert 0 < cut.mean() < 0.5


def test_a_mask_that_ends_before_the_edge_has_no_cut_face():
    image = grid((14, 15, 16))
    inside = np.zeros(image.shape, dtype=bool)
    inside[1:13, 1:14, 1:15] = True
    mask = VoxelMask.cropped(image, inside)
    assert not np.any(mask.cut_sides)
    assert not surface_from_mask(mask)[1].any()
