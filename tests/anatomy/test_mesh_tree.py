"""Exact segment queries against brute force over all triangles, two independent engines, and closed forms."""

import fcl
import numba
import numpy as np
import pytest
from brute_force import distances_mm
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import ball, box, joined, motion, surface
from made_meshes import NASTY_KINDS, NEARLY_PARALLEL, nasty_mesh, nasty_segments

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.errors import GeometryError


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(NASTY_KINDS))
def test_segment_distance_is_that_of_all_triangles(seed, kind):
    rng = np.random.default_rng(seed)
    mesh = nasty_mesh(rng, kind)
    start, end = nasty_segments(rng, mesh)
    found = MeshTree(mesh).segment_distance_mm(start, end)
    loose = 1e-4 if kind in NEARLY_PARALLEL else 1e-8
    np.testing.assert_allclose(found, distances_mm(mesh, start, end), rtol=1e-9, atol=loose)


def bumpy(subdivisions=3):
    """A closed surface without symmetry, away from the origin."""
    mesh = ball(radius=30, subdivisions=subdivisions)
    v = mesh.vertices_mm
    size = 1 + 0.25 * np.sin(v[:, :1] / 6) * np.cos(v[:, 1:2] / 9)
    return SurfaceMesh(v * size * [1.0, 0.6, 1.4], mesh.faces).moved(motion())


def segments(mesh, count, seed=1):
    rng = np.random.default_rng(seed)
    low, high = mesh.bounds_mm
    middle, half = 0.5 * (low + high), 0.9 * (high - low)
    return middle + half * rng.uniform(-1, 1, (count, 3)), middle + half * rng.uniform(-1, 1, (count, 3))


def fcl_distances(mesh, start, end, radius=1e-3):
    """Distance of segments to a surface by FCL, the segment being a capsule of small radius."""
    model = fcl.BVHModel()
    model.beginModel(len(mesh.vertices_mm), len(mesh.faces))
    model.addSubModel(np.asarray(mesh.vertices_mm), np.asarray(mesh.faces, dtype=np.int64))
    model.endModel()
    anatomy = fcl.CollisionObject(model)
    result = []
    for p, q in zip(start, end, strict=True):
        # A triangle with two corners in one place is a segment, so only FCL's own triangle code is used.
        needle = fcl.BVHModel()
        needle.beginModel(3, 1)
        needle.addSubModel(np.array([p, q, q]), np.array([[0, 1, 2]]))
        needle.endModel()
        answer = fcl.DistanceResult()
        fcl.distance(fcl.CollisionObject(needle), anatomy, fcl.DistanceRequest(), answer)
        touching = fcl.collide(fcl.CollisionObject(needle), anatomy, fcl.CollisionRequest(), fcl.CollisionResult())
        result.append(0.0 if touching else max(0.0, answer.min_distance))
    return np.array(result)


def test_segment_distance_agrees_with_fcl():
    mesh = bumpy()
    start, end = segments(mesh, 150)
    found = MeshTree(mesh).segment_distance_mm(start, end)
    np.testing.assert_allclose(found, fcl_distances(mesh, start, end), atol=1e-6)
    assert 20 < np.count_nonzero(found > 0) < 150


def test_point_distance_and_inside_agree_with_open3d():
    mesh = bumpy()
    points, _ = segments(mesh, 4000, seed=2)
    tree, other = MeshTree(mesh), SurfaceDistance(mesh)
    signed = other.signed_distance_mm(points)
    np.testing.assert_allclose(tree.segment_distance_mm(points, points), np.abs(signed), atol=2e-4)
    clear = np.abs(signed) > 1e-3
    np.testing.assert_array_equal(tree.contains(points)[clear], signed[clear] < 0)
    assert 100 < np.count_nonzero(signed < 0) < 3900


def test_inside_agrees_where_shells_are_nested_and_touch():
    mesh = joined(ball(radius=20), ball(radius=8).flipped(), ball((40.0, 0, 0), 20.0))
    points = np.random.default_rng(0).uniform(-22, 62, size=(3000, 3))
    inner, outer = np.linalg.norm(points, axis=1), np.linalg.norm(points - [40, 0, 0], axis=1)
    clear = (np.abs(inner - 20) > 0.3) & (np.abs(inner - 8) > 0.2) & (np.abs(outer - 20) > 0.3)
    expected = ((inner < 20) & (inner > 8)) | (outer < 20)
    np.testing.assert_array_equal(MeshTree(mesh).contains(points)[clear], expected[clear])


def test_many_points_inside_need_little_memory():
    import resource

    tree = MeshTree(ball(radius=20, subdivisions=2))
    points = np.random.default_rng(0).uniform(-14, 14, size=(600_000, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inside = tree.contains(points)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert inside[np.linalg.norm(points, axis=1) < 19].all()
    assert grown_mb < 400


def test_distance_beyond_the_cap_is_the_cap():
    tree = MeshTree(ball(radius=10))
    start = np.array([[0.0, 0, 40], [0, 0, 14], [0, 0, 13.0], [0, 0, 0]])
    end = start + np.array([5.0, 0, 0])
    free = tree.segment_distance_mm(start, end)
    capped = tree.segment_distance_mm(start, end, 4.0)
    np.testing.assert_array_equal(capped, np.minimum(free, 4.0))
    assert capped[0] == 4.0 and capped[2] == free[2] < 4.0


def test_sphere_is_crossed_where_the_closed_form_says():
    mesh = ball(radius=50, subdivisions=5)
    rng = np.random.default_rng(4)
    start, end = 80 * rng.normal(size=(2, 500, 3))
    crossings = MeshTree(mesh).crossings(start, end)
    u = end - start
    b, c = (start * u).sum(1) / (u * u).sum(1), ((start * start).sum(1) - 2500) / (u * u).sum(1)
    disc = b * b - c
    for row in range(500):
        roots = [] if disc[row] < 0 else [-b[row] - np.sqrt(disc[row]), -b[row] + np.sqrt(disc[row])]
        if any(abs(root) < 0.01 or abs(root - 1) < 0.01 for root in roots) or abs(disc[row]) < 1e-2:
            continue
        roots = [root for root in roots if 0 <= root <= 1]
        assert crossings.count[row] == len(roots)
        np.testing.assert_allclose(crossings.parameter[row, : len(roots)], roots, atol=5e-3)
        leaving = (start[row] + np.outer(roots, u[row])) @ u[row] > 0
        np.testing.assert_array_equal(crossings.outward[row, : len(roots)], leaving)
        assert (crossings.face[row, : len(roots)] >= 0).all() and (crossings.face[row, len(roots) :] == -1).all()


def test_box_is_crossed_once_through_edges_diagonals_and_corners():
    tree = MeshTree(box((-10, -20, -30), (10, 20, 30)))
    inside = np.array([1.0, 2.0, 3.0])
    points = [[10, 20, 5], [10, -20, 0], [-10, 20, 30], [10, 20, 30], [-10, -20, -30], [10, 0, 0], [0, 0, 30]]
    for point in np.array(points, dtype=float):
        crossings = tree.crossings(inside[None, :], (inside + 2.0 * (point - inside))[None, :])
        assert crossings.count[0] == 1, point
        assert crossings.outward[0, 0] and crossings.parameter[0, 0] == pytest.approx(0.5)
        back = tree.crossings((inside + 2.0 * (point - inside))[None, :], inside[None, :])
        assert back.count[0] == 1 and not back.outward[0, 0]


def test_paths_through_edges_and_vertices_of_a_turned_surface_never_slip_through():
    mesh = bumpy(4)
    tree = MeshTree(mesh)
    middle = mesh.vertices_mm.mean(axis=0)
    assert tree.contains(middle[None, :])[0]
    rng = np.random.default_rng(5)
    a, b = mesh.vertices_mm[mesh.faces[:, 0]], mesh.vertices_mm[mesh.faces[:, 1]]
    share = rng.uniform(0, 1, size=(len(a), 1))
    through = np.concatenate([mesh.vertices_mm, a + share * (b - a)])
    end = middle + 20.0 * (through - middle)
    crossings = tree.crossings(np.broadcast_to(middle, end.shape), end)
    # The end lies far outside, so the number of crossings is odd; the path is met at the vertex or edge itself.
    assert (crossings.count % 2 == 1).all()
    assert (np.abs(crossings.parameter - 1 / 20).min(axis=1) < 1e-9).all()
    assert (tree.segment_distance_mm(np.broadcast_to(middle, end.shape), end) == 0).all()


def test_thin_faces_let_no_path_through_their_edges():
    mesh = SurfaceMesh(ball(radius=30, subdivisions=3).vertices_mm * [1.0, 1e-3, 1.0], ball(subdivisions=3).faces)
    tree = MeshTree(mesh)
    rng = np.random.default_rng(6)
    a, b = mesh.vertices_mm[mesh.faces[:, 0]], mesh.vertices_mm[mesh.faces[:, 1]]
    through = a + rng.uniform(0, 1, size=(len(a), 1)) * (b - a)
    start = through + rng.normal(size=through.shape) * [0.1, 30, 0.1] + [0, 100, 0]
    end = through - (start - through) * 2.0
    counts = tree.crossings(start, end).count
    assert (counts % 2 == 0).all() and (counts > 0).mean() > 0.9


def test_a_path_with_many_crossings_is_counted_whole():
    plates = joined(*[box((-5, -5, k), (5, 5, k + 0.5)) for k in range(60)])
    crossings = MeshTree(plates).crossings(np.array([[0.3, 1.0, -1.0]]), np.array([[0.3, 1.0, 70.0]]))
    assert crossings.count[0] == 120
    assert (np.diff(crossings.parameter[0]) > 0).all()
    assert crossings.outward[0].tolist() == [False, True] * 60


def test_open_and_single_faces_have_distances():
    mesh = SurfaceMesh([[0, 0, 0], [10, 0, 0], [0, 10, 0]], [[0, 1, 2]])
    found = MeshTree(mesh).segment_distance_mm(
        [[2, 2, 5], [2, 2, 5], [20, 0, 3]], [[2, 2, 1], [2, 2, -1], [30, 0, 4.0]]
    )
    np.testing.assert_allclose(found, [1.0, 0.0, np.hypot(10, 3)])


def test_coplanar_segment_inside_a_face_touches_it():
    mesh = SurfaceMesh([[0, 0, 0], [10, 0, 0], [0, 10, 0]], [[0, 1, 2]])
    found = MeshTree(mesh).segment_distance_mm(
        [[1, 1, 0.0], [-5, 3, 0], [-5, 3, 0]], [[2, 2, 0.0], [20, 3, 0], [-1, 3, 0]]
    )
    np.testing.assert_allclose(found, [0.0, 0.0, 1.0], atol=1e-12)


def test_threads_do_not_change_the_answer():
    mesh = bumpy()
    start, end = segments(mesh, 2000, seed=8)
    tree = MeshTree(mesh)
    used = numba.get_num_threads()
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    both = tree.segment_distance_mm(start, end), tree.crossings(start, end)
    try:
        numba.set_num_threads(1)
        alone = tree.segment_distance_mm(start, end), tree.crossings(start, end)
    finally:
        numba.set_num_threads(used)
    np.testing.assert_array_equal(both[0], alone[0])
    np.testing.assert_array_equal(both[1].parameter, alone[1].parameter)
    np.testing.assert_array_equal(both[1].face, alone[1].face)


def test_points_of_another_shape_are_refused():
    with pytest.raises(GeometryError, match="shape"):
        MeshTree(surface(__import__("trimesh").creation.box())).segment_distance_mm([0, 0, 0], [1, 1, 1])
