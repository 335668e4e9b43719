"""Outward normals of the skin, averaged over its surroundings."""

import numpy as np
import pytest
from made_cases import ball, box, motion

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.skin_normals import NORMAL_RADIUS_MM, SkinNormals, cube_keys


def normals_of(mesh, axes=None, origin=(0.0, 0.0, 0.0)):
    return SkinNormals(mesh, np.eye(3) if axes is None else axes, np.asarray(origin, dtype=float))


def sphere_points(radius, count=300, seed=0):
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return radius * directions, directions


def degrees_between(first, second):
    return np.degrees(np.arccos(np.clip((first * second).sum(axis=1), -1.0, 1.0)))


def test_normals_of_a_ball_point_from_its_centre():
    centre = np.array([12.0, -7.0, 33.0])
    points, outward = sphere_points(90.0)
    found = normals_of(ball(centre, 90.0, 5), origin=(3.3, 1.1, -2.2)).at(points + centre)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-12)
    # Faces of 3 mm gathered in cubes of 2 mm about a point of a ball of 90 mm: a degree or so.
    assert degrees_between(found, outward).max() < 2.0


def test_steps_of_a_voxel_surface_are_smoothed_away():
    # A plane that rises by one voxel of 1 mm every 4 mm, as boxes side by side.
    heights = np.arange(20)
    parts = [box((4.0 * k, -40.0, -30.0), (4.0 * k + 4.0, 40.0, float(k))) for k in heights]
    corners = np.concatenate([part.vertices_mm for part in parts])
    faces = np.concatenate([part.faces + 8 * k for k, part in enumerate(parts)])
    # Walls between two boxes are met from both sides and cancel, but for the steps.
    mesh = split(SurfaceMesh(corners, faces), 4)
    found = normals_of(mesh).at(np.array([[38.0, 0.0, 9.0], [42.0, 3.0, 10.0]]))
    slope = np.array([-1.0, 0.0, 4.0]) / np.sqrt(17.0)
    assert degrees_between(found, slope[None, :]).max() < 8.0


def split(mesh, times):
    for _ in range(times):
        corner = mesh.triangles_mm
        middle = 0.5 * (corner + np.roll(corner, -1, axis=1))
        a, b, c = (corner[:, k] for k in range(3))
        ab, bc, ca = (middle[:, k] for k in range(3))
        points = np.concatenate(
            [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
        mesh = SurfaceMesh(points.reshape(-1, 3), np.arange(3 * len(points)).reshape(-1, 3))
    return mesh


def test_normals_move_with_the_patient():
    matrix = motion(6)
    turn, shift = matrix[:3, :3], matrix[:3, 3]
    mesh = ball((5, -3, 8), 1.0, 4, (60.0, 45.0, 80.0))
    points = mesh.vertices_mm[::7]
    here = normals_of(mesh, origin=(1.0, 2.0, 3.0)).at(points)
    moved = SurfaceMesh(mesh.vertices_mm @ turn.T + shift, mesh.faces)
    there = normals_of(moved, turn, turn @ np.array([1.0, 2.0, 3.0]) + shift)
    np.testing.assert_allclose(there.at(points @ turn.T + shift), here @ turn.T, atol=1e-6)


def test_a_finer_mesh_of_the_same_surface_has_nearly_the_same_normals():
    mesh = ball((0, 0, 0), 1.0, 4, (60.0, 45.0, 80.0))
    points = mesh.vertices_mm[::11]
    assert degrees_between(normals_of(mesh).at(points), normals_of(split(mesh, 2)).at(points)).max() < 1.5


def test_large_faces_have_their_normals_all_over():
    mesh = box((-100, -90, -80), (100, 110, 60))
    # Near an edge of two faces, far from the middle of either; on the edge, half of both.
    places = np.array([[100.0, 85.0, -60.0], [-100.0, -70.0, 45.0], [20.0, 110.0, 5.0], [100.0, 110.0, 10.0]])
    found = normals_of(mesh).at(places)
    half = np.sqrt(0.5)
    expected = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [half, half, 0]]
    assert degrees_between(found, np.array(expected)).max() < 1e-5


def test_a_point_far_from_every_face_takes_the_nearest():
    found = normals_of(box((-100, -100, -100), (100, 100, 100))).at(np.array([[130.0, 20.0, -30.0]]))
    np.testing.assert_allclose(found, [[1, 0, 0]], atol=1e-12)
    assert NORMAL_RADIUS_MM < 30.0


def test_each_point_is_measured_by_itself_and_none_is_measured_as_none():
    normals = normals_of(ball((0, 0, 0), 50.0, 4))
    points, _ = sphere_points(50.0, 40)
    np.testing.assert_array_equal(normals.at(points)[[7, 3]], normals.at(points[[7, 3]]))
    assert normals.at(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("seed", range(3))
def test_cubes_have_the_same_number_only_where_they_are_the_same(seed):
    rng = np.random.default_rng(seed)
    cubes = rng.integers(-(1 << 20), 1 << 20, (500, 3))
    steps = np.array([[0, 0, 0], [0, 0, 1], [0, 1, -1]])
    cubes = np.concatenate([cubes, *(cubes[:50] + step for step in steps)])
    cubes = np.clip(cubes, -(1 << 20), (1 << 20) - 1)
    distinct = len(np.unique(cubes, axis=0))
    assert len(np.unique(cube_keys(cubes))) == distinct
