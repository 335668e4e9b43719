"""RAS of the wire and LPS of the plan: oblique, anisotropic, and never mirrored."""

import numpy as np
import pytest
from made_messages import MATRIX, ROTATION

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import NetworkError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.grid import Grid
from needleplan.io.frame import FileFrame
from needleplan.io.openigtlink.coordinates import (
    image_from_wire,
    image_to_wire,
    point_to_wire,
    points_from_wire,
    points_to_wire,
    pose_from_wire,
    pose_to_wire,
    surface_from_wire,
    surface_to_wire,
)
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.polydata_body import Cells, PolyData
from needleplan.io.openigtlink.pose_bodies import Position, TrackedTool, Transform

P, N, T, R = Frame.PATIENT, Frame.NEEDLE, Frame.TRACKER, Frame.REFERENCE
POSE = RigidTransform.from_parts(P, N, ROTATION, [12.5, -30.25, 47.125])


def test_the_tip_and_axis_of_a_needle_are_those_of_the_plan():
    body = pose_to_wire(POSE)
    # The needle's own axes stay its own: only where it is, and where its z points, is told in RAS.
    np.testing.assert_allclose(body.matrix[:3, 3], points_to_wire(POSE.translation))
    np.testing.assert_allclose(body.matrix[:3, 2], points_to_wire(POSE.rotation[:, 2]), atol=1e-6)
    assert body.fault is None
    again = pose_from_wire(body, P, N)
    np.testing.assert_allclose(again.matrix, POSE.matrix, atol=1e-5)
    assert (again.parent, again.child) == (P, N)


@pytest.mark.parametrize(("parent", "child"), [(P, N), (N, P), (T, N), (T, R), (P, T), (T, P), (P, P)])
def test_each_pair_of_frames_comes_back_and_carries_points(parent, child):
    pose = RigidTransform(parent, child, POSE.matrix)
    body = pose_to_wire(pose)
    np.testing.assert_allclose(pose_from_wire(body, parent, child).matrix, pose.matrix, atol=1e-5)
    inside = np.array([3.0, -7.0, 11.0])

    def wire(points, frame):
        return points_to_wire(points) if frame is P else np.asarray(points)

    moved = body.matrix.astype(float) @ np.append(wire(inside, child), 1.0)
    np.testing.assert_allclose(moved[:3], wire(pose.apply(inside), parent), atol=1e-4)


def test_metres_become_millimetres():
    np.testing.assert_allclose(pose_to_wire(POSE.in_unit(LengthUnit.METRE)).matrix, pose_to_wire(POSE).matrix)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (Transform(np.diag([2.0, 2.0, 2.0, 1.0])), "scaled"),
        (Transform(np.diag([1.0, -1.0, 1.0, 1.0])), "mirrors"),
        (Position([1, 2, 3]), "no orientation"),
        (TrackedTool("Needle", np.diag([1.0, 1.0, -1.0, 1.0])), "mirrors"),
    ],
)
def test_what_is_no_pose_never_becomes_one(body, words):
    with pytest.raises(NetworkError, match=words):
        pose_from_wire(body, T, N)


def test_a_pose_that_is_not_finite_never_becomes_one():
    for place in ((0, 0), (2, 3)):
        matrix = MATRIX.copy()
        matrix[place] = np.nan
        with pytest.raises(NetworkError, match="not finite"):
            pose_from_wire(Transform(matrix), T, N)


def test_a_rotation_of_single_precision_is_made_proper():
    rough = MATRIX.copy()
    rough[:3, :3] *= 1.0 + 2e-4
    pose = pose_from_wire(Transform(rough), T, N)
    np.testing.assert_allclose(pose.rotation.T @ pose.rotation, np.eye(3), atol=1e-12)


def test_points_turn_and_come_back():
    points = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, -6.0]])
    np.testing.assert_array_equal(points_to_wire(points), [[-1, -2, 3], [4, -5, -6]])
    np.testing.assert_array_equal(points_from_wire(points_to_wire(points)), points)
    assert point_to_wire([1, 2, 3]) == (-1.0, -2.0, 3.0)
    with pytest.raises(NetworkError, match="not finite"):
        points_from_wire([[np.inf, 0, 0]])


def test_a_surface_stays_outside_out():
    mesh = SurfaceMesh(
        np.array([[0, 0, 0], [15.0, 1, 0], [2, 25.0, 0], [1, 3, 35.0]]),
        np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
    )
    again = surface_from_wire(surface_to_wire(mesh))
    np.testing.assert_allclose(again.vertices_mm, mesh.vertices_mm, atol=1e-5)
    assert again.volume_mm3 == pytest.approx(mesh.volume_mm3) and mesh.volume_mm3 > 0
    with pytest.raises(NetworkError, match="not all triangles"):
        surface_from_wire(PolyData(np.zeros((4, 3)), polygons=Cells.of([[0, 1, 2, 3]])))
    with pytest.raises(NetworkError, match="not finite"):
        surface_from_wire(PolyData(np.full((3, 3), np.nan), polygons=Cells.of([[0, 1, 2]])))


def test_a_voxel_stays_where_it_was():
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION * [0.7, 1.3, 2.9]
    matrix[:3, 3] = -100.5, 40.25, 900.0
    grid = Grid((4, 5, 6), matrix)
    values = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    body = image_to_wire(values, grid)
    assert body.size == (4, 5, 6) and body.frame is FileFrame.RAS
    place = body.voxel_to_world @ [1, 2, 3, 1]
    np.testing.assert_allclose(place[:3], points_to_wire(grid.to_patient([1, 2, 3])))
    decoded = Image.decode("IMAGE", memoryview(body.encode()))
    again, where = image_from_wire(decoded)
    np.testing.assert_array_equal(again, values)
    np.testing.assert_allclose(where.T_PV, grid.T_PV, atol=1e-4)
    with pytest.raises(NetworkError, match="do not fit"):
        image_to_wire(values, Grid((5, 4, 6), matrix))


def test_a_part_of_an_image_lies_where_it_belongs():
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION * [0.7, 1.3, 2.9]
    whole = Grid((6, 7, 8), matrix)
    values = np.zeros((2, 3, 4), np.uint8)
    part = Image(values, matrix, FileFrame.LPS, (6, 7, 8), (2, 1, 5))
    _, grid = image_from_wire(part)
    assert grid.shape == (4, 3, 2)
    np.testing.assert_allclose(grid.to_patient([0, 0, 0]), whole.to_patient([2, 1, 5]))
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    for wrong, words in ((flat, "flat"), (np.diag([np.nan, 1, 1, 1]), "not finite")):
        with pytest.raises(NetworkError, match=words):
            image_from_wire(Image(values, wrong))
    with pytest.raises(NetworkError, match="3 components"):
        image_from_wire(Image(np.zeros((2, 2, 2, 3), np.uint8), np.eye(4)))
