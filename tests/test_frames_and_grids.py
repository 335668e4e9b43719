"""Frames, rigid poses, voxel grids, masks and fields."""

import numpy as np
import pytest
from made_cases import ball, motion, rotation

from needleplan.anatomy.distance import SurfaceDistance, signed_distance_field
from needleplan.errors import FrameError, GeometryError
from needleplan.frames import Frame, LengthUnit, RigidTransform, perpendicular_axes, unit_vector
from needleplan.grid import Grid, ScalarField, VoxelMask


def pose(parent, child, seed):
    return RigidTransform.from_parts(parent, child, rotation(seed), [1.0 * seed, -20, 30])


def test_poses_compose_by_their_letters():
    x_bp, x_pn = pose(Frame.ROBOT_BASE, Frame.PATIENT, 1), pose(Frame.PATIENT, Frame.NEEDLE, 2)
    x_bn = x_bp @ x_pn
    assert (x_bn.parent, x_bn.child) == (Frame.ROBOT_BASE, Frame.NEEDLE)
    points = np.random.default_rng(0).normal(size=(5, 2, 3))
    np.testing.assert_allclose(x_bn.apply(points), x_bp.apply(x_pn.apply(points)), atol=1e-12)
    np.testing.assert_allclose(x_bn.rotate(points), x_bn.apply(points) - x_bn.translation, atol=1e-12)
    np.testing.assert_allclose((x_bn @ x_bn.inverse()).matrix, np.eye(4), atol=1e-12)
    assert x_bn.inverse().parent is Frame.NEEDLE
    with pytest.raises(FrameError, match="inner frames differ"):
        x_pn @ x_bp
    with pytest.raises(FrameError, match="convert one"):
        x_bp @ x_pn.in_unit(LengthUnit.METRE)
    np.testing.assert_allclose(x_bp.in_unit(LengthUnit.METRE).translation, x_bp.translation / 1000)
    np.testing.assert_allclose(x_bp.in_unit(LengthUnit.METRE).in_unit(LengthUnit.MILLIMETRE).matrix, x_bp.matrix)
    with pytest.raises(ValueError, match="read-only"):
        x_bp.matrix[0, 0] = 2


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([1, 1, -1, 1.0]), "mirrors"),
        (np.diag([2, 2, 2, 1.0]), "scaled or sheared"),
        (np.diag([1, 1, 1, 2.0]), "row 0 0 0 1"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4x4"),
    ],
)
def test_matrices_that_are_no_pose_are_refused(matrix, message):
    with pytest.raises(FrameError, match=message):
        RigidTransform(Frame.PATIENT, Frame.NEEDLE, matrix)


def test_axes_about_a_direction_are_right_handed():
    for seed in range(20):
        direction = rotation(seed)[:, 0] * (seed + 0.1)
        x, y = perpendicular_axes(direction)
        np.testing.assert_allclose(np.linalg.det(np.stack([x, y, unit_vector(direction)], axis=1)), 1.0)
    for bad in ((0, 0, 0), (np.nan, 0, 1), (1, 2)):
        with pytest.raises(FrameError):
            unit_vector(bad)


def oblique(shape=(9, 11, 7)):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(4) * [1.5, -2.0, 3.5]
    matrix[:3, 3] = [40, -200, 900]
    return Grid(shape, matrix)


def test_grid_indices_and_points_are_inverse():
    grid = oblique()
    index = np.random.default_rng(0).uniform(-5, 15, (100, 3))
    np.testing.assert_allclose(grid.to_index(grid.to_patient(index)), index, atol=1e-10)
    np.testing.assert_allclose(grid.spacing_mm, [1.5, 2.0, 3.5])
    assert grid.voxel_volume_mm3 == pytest.approx(10.5)
    assert grid.half_diagonal_mm == pytest.approx(0.5 * np.linalg.norm([1.5, 2, 3.5]))
    np.testing.assert_allclose(
        grid.cropped((2, 3, 1), (2, 2, 2)).centres_mm()[0], grid.to_patient([2, 3, 1]), atol=1e-10
    )
    moved = grid.moved(motion())
    np.testing.assert_allclose(
        moved.centres_mm(), grid.centres_mm() @ motion()[:3, :3].T + motion()[:3, 3], atol=1e-9
    )


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 3), (2000, 2000, 2000)])
def test_impossible_grids_are_refused(shape):
    with pytest.raises(GeometryError):
        Grid(shape, np.eye(4))


def test_singular_affines_are_refused():
    with pytest.raises(GeometryError, match="singular"):
        Grid((3, 3, 3), np.diag([1, 1, 0, 1.0]))
    flat = np.eye(4)
    flat[:3, 2] = [1, 0, 1e-5]
    with pytest.raises(GeometryError, match="singular"):
        Grid((3, 3, 3), flat)


def test_cropped_mask_is_the_same_set():
    grid = oblique()
    inside = np.zeros(grid.shape, dtype=bool)
    inside[3:5, 0:4, 5:7] = True
    inside[4, 3, 5] = False
    mask = VoxelMask.cropped(grid, inside)
    assert mask.grid.shape == (2, 4, 2)
    assert mask.cut_sides == ((False, False), (True, False), (False, True))
    np.testing.assert_array_equal(mask.contains(grid.centres_mm()), inside.ravel())
    jitter = np.random.default_rng(0).uniform(-0.49, 0.49, (inside.size, 3))
    points = grid.to_patient(np.indices(grid.shape).reshape(3, -1).T + jitter)
    np.testing.assert_array_equal(mask.contains(points), inside.ravel())
    assert mask.volume_mm3 == pytest.approx(inside.sum() * 10.5)
    assert not mask.contains(np.array([[1e30, 0, 0], [0, 0, 0]])).any()


def test_field_is_linear_between_centres_and_has_values_at_the_outermost():
    grid = oblique()
    slope = np.array([0.3, -0.2, 0.05])
    field = ScalarField(grid, (grid.centres_mm() @ slope).reshape(grid.shape).astype(np.float32), 0.0)
    index = np.random.default_rng(0).uniform(0, 1, (200, 3)) * (np.array(grid.shape) - 1)
    points = grid.to_patient(index)
    np.testing.assert_allclose(field.sample(points), points @ slope, atol=1e-4)
    assert np.isfinite(field.sample(grid.centres_mm())).all()
    assert np.isnan(field.sample(grid.to_patient([[-0.01, 0, 0], [0, 10.01, 0]]))).all()
    assert (field.sample(grid.to_patient([[-1, 0, 0]]), outside=7.0) == 7.0).all()


def test_signed_distance_field_keeps_its_bound():
    mesh = ball((30, -190, 905), 8.0, 2, (1.0, 0.6, 1.3))
    grid = oblique((14, 14, 10))
    field = signed_distance_field(mesh, grid)
    index = np.random.default_rng(1).uniform(0, 1, (4000, 3)) * (np.array(grid.shape) - 1)
    points = grid.to_patient(index)
    error = np.abs(field.sample(points) - SurfaceDistance(mesh).signed_distance_mm(points))
    assert error.max() <= field.error_bound
    # The bound is no empty one: half of it is reached.
    assert error.max() > 0.2 * field.error_bound
    assert field.error_bound == pytest.approx(grid.half_diagonal_mm, abs=0.01)


def test_signed_distance_of_a_ball_is_the_closed_form():
    mesh = ball((5, 6, 700), 20.0, 5)
    points = np.random.default_rng(2).normal(size=(2000, 3)) * 20 + [5, 6, 700]
    distance = SurfaceDistance(mesh)
    exact = np.linalg.norm(points - [5, 6, 700], axis=1) - 20
    np.testing.assert_allclose(distance.signed_distance_mm(points), exact, atol=0.02)
    clear = np.abs(exact) > 0.02
    np.testing.assert_array_equal(distance.contains(points)[clear], exact[clear] < 0)
    nearest = distance.closest_points_mm(points)
    np.testing.assert_allclose(np.linalg.norm(nearest - points, axis=1), np.abs(exact), atol=0.03)
