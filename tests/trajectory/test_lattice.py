"""Nested points on the skin and in the target: what each stands for, and how far one can be from all of them."""

import numpy as np
import pytest
from made_cases import ball, box, made_case, motion, queries_of, rotation
from made_path_tables import MOTION, made_queries
from scipy.spatial import cKDTree

from needleplan.trajectory.lattice import EntryCloud, NestedLattice
from needleplan.trajectory.sampling import SamplingOptions, aim_lattice, entry_and_aim_lattices

LEVELS = 3


def entries_of(queries, spacing_mm=36.0, levels=LEVELS):
    return EntryCloud(queries, spacing_mm / 2 ** (levels - 1)).lattice(spacing_mm, levels)


def aims_of(queries, count=5, levels=LEVELS):
    return aim_lattice(queries, count, levels)


def flat_and_thin():
    """An oblique, uneven target in a box-like body with large faces, near one side of it."""
    turn = rotation(8)
    target = ball((0, 0, 0), 1.0, 3, (22.0, 6.0, 3.0))
    target = type(target)(target.vertices_mm @ turn.T + (25.0, -38.0, 4.0), target.faces)
    return queries_of(made_case(target, box((-60, -70, -55), (75, 50, 80))))


@pytest.fixture(scope="module", params=["body", "flat"])
def queries(request):
    return made_queries() if request.param == "body" else flat_and_thin()


@pytest.fixture(scope="module", params=["entries", "aims"])
def lattice(request, queries) -> NestedLattice:
    return entries_of(queries) if request.param == "entries" else aims_of(queries)


def ancestors(lattice: NestedLattice) -> list[np.ndarray]:
    """For each level, coarsest first, the node that stands for each finest point."""
    finest = lattice.levels[-1]
    node = np.empty(len(lattice.points_mm), dtype=np.int64)
    node[finest.point] = np.arange(len(finest.point))
    found = [node]
    for level in reversed(lattice.levels[1:]):
        node = level.parent[node]
        found.insert(0, node)
    return found


def test_every_level_is_among_the_finest_and_each_coarser_one_has_fewer(lattice):
    assert len(lattice.levels) == LEVELS
    counts = [len(level.point) for level in lattice.levels]
    assert counts == sorted(counts) and counts[0] < counts[-1] == len(lattice.points_mm)
    for coarse, fine in zip(lattice.levels, lattice.levels[1:], strict=False):
        assert len(coarse.point) <= len(fine.point) == len(set(fine.point))
        assert fine.point.min() >= 0 and fine.point.max() < len(lattice.points_mm)
    assert len(np.unique(np.round(lattice.points_mm, 9), axis=0)) == len(lattice.points_mm)


def test_each_finest_point_has_one_ancestor_a_level_which_stands_for_itself(lattice):
    for level, node in zip(lattice.levels, ancestors(lattice), strict=True):
        assert set(node) == set(range(len(level.point)))
        np.testing.assert_array_equal(node[level.point], np.arange(len(level.point)))
    first = lattice.levels[0]
    np.testing.assert_array_equal(first.parent, np.arange(len(first.point)))


def test_children_are_the_inverse_of_parents_in_the_order_asked_for(lattice):
    rng = np.random.default_rng(1)
    for k, (coarse, fine) in enumerate(zip(lattice.levels, lattice.levels[1:], strict=False)):
        asked = np.concatenate([rng.permutation(len(coarse.point)), [0, 0]])
        place, part = lattice.children(k, asked)
        assert (np.diff(place) >= 0).all()
        np.testing.assert_array_equal(fine.parent[part], asked[place])
        assert sorted(part[place < len(coarse.point)]) == list(range(len(fine.point)))
    place, part = lattice.children(0, np.zeros(0, dtype=np.int64))
    assert len(place) == len(part) == 0


def test_radius_and_spread_bound_what_a_point_stands_for_and_are_reached(lattice):
    normals = lattice.normals
    reached = []
    for level, node in zip(lattice.levels, ancestors(lattice), strict=True):
        own = level.point[node]
        distance = np.linalg.norm(lattice.points_mm - lattice.points_mm[own], axis=1)
        cosine = np.clip((normals * normals[own]).sum(axis=1), -1.0, 1.0)
        angle = np.degrees(np.arccos(cosine)) if normals.any() else np.zeros(len(own))
        for bound, value in ((level.radius_mm, distance), (level.spread_deg, angle)):
            # An angle near 0 is known to the square root of the rounding error.
            assert (value <= bound[node] + 1e-5).all()
            most = np.zeros(len(level.point))
            np.maximum.at(most, node, value)
            reached.append(most)
    # Each is reached by a point that it stands for, or is that of a part of it.
    for place in range(len(lattice.levels) - 2, -1, -1):
        for k in (0, 1):
            np.maximum.at(reached[2 * place + k], lattice.levels[place + 1].parent, reached[2 * place + 2 + k])
    for place, level in enumerate(lattice.levels):
        np.testing.assert_allclose(reached[2 * place], level.radius_mm, atol=1e-5)
        np.testing.assert_allclose(reached[2 * place + 1], level.spread_deg, atol=1e-5)
    # The finest points stand for themselves, up to the rounding of an angle of nothing.
    assert not lattice.levels[-1].radius_mm.any() and lattice.levels[-1].spread_deg.max() < 1e-4


def random_points_of_skin(queries, count, rng):
    mesh = queries.anatomy.entry.mesh
    corners = mesh.triangles_mm[queries.anatomy.entry_faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = rng.choice(len(corners), count, p=area / area.sum())
    return np.einsum("nk,nkx->nx", rng.dirichlet((1.0, 1.0, 1.0), count), corners[chosen])


@pytest.mark.parametrize(("spacing_mm", "levels"), [(36.0, 3), (60.0, 1), (13.0, 1)])
def test_no_place_of_the_skin_is_farther_from_an_entry_than_stated(queries, spacing_mm, levels):
    lattice = entries_of(queries, spacing_mm, levels)
    points = random_points_of_skin(queries, 40_000, np.random.default_rng(2))
    farthest = cKDTree(lattice.points_mm).query(points)[0].max()
    assert farthest <= lattice.cover_mm
    # A bound that is always true is none: the finest cube's edge times sqrt(3) would be met at worst, and the gap
    # of the cloud within it.
    finest = spacing_mm / 2 ** (levels - 1)
    assert lattice.cover_mm < 2.1 * finest and farthest > 0.3 * lattice.cover_mm


@pytest.mark.parametrize(("count", "levels"), [(1, 1), (5, 3), (60, 1)])
def test_no_place_of_the_target_is_farther_from_an_aim_than_stated(queries, count, levels):
    lattice = aims_of(queries, count, levels)
    rng = np.random.default_rng(3)
    target = queries.anatomy.target
    low, high = target.mesh.bounds_mm
    cloud = rng.uniform(low, high, (60_000, 3))
    cloud = cloud[queries.tree(target).contains(cloud)]
    corners = target.mesh.triangles_mm[rng.integers(len(target.mesh.faces), size=5000)]
    edge = np.einsum("nk,nkx->nx", rng.dirichlet((1.0, 1.0, 1.0), 5000), corners)
    farthest = cKDTree(lattice.points_mm).query(np.concatenate([cloud, edge, target.mesh.vertices_mm]))[0].max()
    assert farthest <= lattice.cover_mm and farthest > 0.3 * lattice.cover_mm
    assert queries.tree(target).contains(lattice.points_mm).all()


def test_entries_lie_on_allowed_skin_with_unit_normals_that_look_out_of_it(queries):
    lattice = entries_of(queries, 30.0, 2)
    mesh = queries.anatomy.entry.mesh
    distance = queries.tree(queries.anatomy.entry).segment_distance_mm(lattice.points_mm, lattice.points_mm)
    assert distance.max() < 1e-9
    np.testing.assert_allclose(np.linalg.norm(lattice.normals, axis=1), 1.0, atol=1e-12)
    outside = lattice.points_mm + 4.0 * lattice.normals
    assert not queries.tree(queries.anatomy.entry).contains(outside).any()
    assert mesh.bounds_mm.shape == (2, 3)


def test_a_moved_case_has_the_moved_points_with_the_same_levels():
    turn, shift = MOTION[:3, :3], MOTION[:3, 3]
    for make in (entries_of, aims_of):
        here, there = make(made_queries()), make(made_queries(moved=True))
        np.testing.assert_allclose(there.points_mm, here.points_mm @ turn.T + shift, atol=1e-6)
        np.testing.assert_allclose(there.normals, here.normals @ turn.T, atol=1e-6)
        assert there.cover_mm == pytest.approx(here.cover_mm, abs=1e-6)
        for a, b in zip(here.levels, there.levels, strict=True):
            np.testing.assert_array_equal(a.point, b.point)
            np.testing.assert_array_equal(a.parent, b.parent)
            np.testing.assert_allclose(a.radius_mm, b.radius_mm, atol=1e-6)


def test_a_case_shifted_by_no_whole_number_of_cubes_has_the_shifted_points():
    case = made_case(ball((1, 2, 3), 8.0, 2), ball((0, 0, 0), 70.0, 3))
    there = entries_of(queries_of(case.moved(motion(4))), 20.0, 2)
    here = entries_of(queries_of(case), 20.0, 2)
    np.testing.assert_allclose(there.points_mm, here.points_mm @ motion(4)[:3, :3].T + motion(4)[:3, 3], atol=1e-6)


def test_the_number_of_entries_asked_for_is_that_of_the_coarsest_level(queries):
    cloud = EntryCloud(queries, 10.0)
    for spacing in (20.0, 35.0, 90.0):
        assert cloud.count(spacing, 1) == len(cloud.lattice(spacing, 1).points_mm)
        assert cloud.count(spacing, 2) == len(cloud.lattice(spacing, 2).levels[0].point)


@pytest.mark.parametrize("most", [1, 40, 700, 5000])
def test_the_coarsest_pairs_stay_within_the_number_allowed(queries, most):
    entries, aims = entry_and_aim_lattices(queries, SamplingOptions(12.0, 6, most), 2, 2)
    pairs = len(entries.levels[0].point) * len(aims.levels[0].point)
    # One entry is the least there can be.
    assert pairs <= most or len(entries.levels[0].point) == 1
