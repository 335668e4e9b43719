"""What may be left out of a cover problem, and the proofs that fewer insertions cannot do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import rotation
from made_matrices import fewest

from needleplan.coverage.bound import SweptZones, bound_insertions
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.reduction import idle_rows, reduce_cover
from needleplan.coverage.set_cover import Budget, CoverDemands, cheapest_cover
from needleplan.coverage.time_limits import searches_ended_by_time
from needleplan.errors import OptionError


def random_problem(seed):
    rng = np.random.default_rng(seed)
    paths, points = int(rng.integers(1, 9)), int(rng.integers(1, 40))
    covers = rng.uniform(size=(paths, points)) < rng.uniform(0.1, 0.8)
    cost = np.round(rng.uniform(0.1, 2.0, paths), 1)
    count = rng.integers(0, 3, paths).astype(float)
    conflicts = np.triu(rng.uniform(size=(paths, paths)) < rng.uniform(0.0, 0.5), 1)
    return covers, cost, count, conflicts | conflicts.T


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_left_out_has_a_reason_and_the_optimum_stays(seed):
    covers, cost, count, conflicts = random_problem(seed)
    kept = reduce_cover(covers, cost, count, conflicts)
    for path, reason in enumerate(kept.column_reason):
        assert reason in kept.columns and (reason == path) == (path in kept.columns)
        assert not (covers[path] & ~covers[reason]).any()
        assert cost[reason] <= cost[path] and count[reason] <= count[path]
        assert not (conflicts[reason] & ~conflicts[path]).any()
    left = covers[kept.columns]
    for point, reason in enumerate(kept.row_reason):
        if reason < 0:
            assert not covers[:, point].any()
            continue
        assert reason in kept.rows and (reason == point) == (point in kept.rows)
        assert not (left[:, reason] & ~left[:, point]).any()
    whole = fewest(covers, cost, count, conflicts)
    part = fewest(
        covers[np.ix_(kept.columns, kept.rows)],
        cost[kept.columns],
        count[kept.columns],
        conflicts[np.ix_(kept.columns, kept.columns)],
    )
    assert part == pytest.approx(whole)


def test_an_exclusion_keeps_a_dominated_path():
    covers = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    conflicts = np.zeros((3, 3), dtype=bool)
    assert reduce_cover(covers, np.ones(3), np.ones(3), conflicts).columns.tolist() == [0, 2]
    conflicts[0, 2] = conflicts[2, 0] = True
    assert reduce_cover(covers, np.ones(3), np.ones(3), conflicts).columns.tolist() == [0, 1, 2]


def test_rows_alone_leave_every_path():
    covers = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    rows, reason = idle_rows(covers)
    # Point 1 is destroyed by all that destroy point 2; point 0 and point 2 decide.
    assert rows.tolist() == [0, 2] and reason.tolist() == [0, 2, 2]


def test_nodes_end_a_program_at_the_same_place_with_a_bound_that_holds():
    rng = np.random.default_rng(0)
    covers = rng.uniform(size=(110, 100)) < 0.06
    wanted, cost = np.flatnonzero(covers.any(axis=0)), np.ones(110)
    demands = CoverDemands(budgets=(Budget(np.ones(110), 110.0),))
    whole = cheapest_cover(covers, wanted, cost, 60.0, demands)
    with searches_ended_by_time() as ended:
        answers = [cheapest_cover(covers, wanted, cost, 60.0, demands, most_nodes=1) for _ in range(2)]
    assert not ended and whole.proven
    for answer in answers:
        assert not answer.proven and answer.bound < whole.bound - 0.5
        assert (answer.chosen, answer.bound) == (answers[0].chosen, answers[0].bound)
    with pytest.raises(OptionError, match="one node"):
        CoverageOptions(most_nodes=0)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_program_keeps_budgets_and_owners(seed):
    rng = np.random.default_rng(seed)
    columns, points, owners = 8, 12, 4
    covers = rng.uniform(size=(columns, points)) < 0.4
    owner = np.sort(rng.integers(0, owners, columns))
    owner[-1] = owners - 1
    wanted = np.flatnonzero(covers.any(axis=0))
    cost = np.round(rng.uniform(0.5, 2.0, columns), 2)
    budget = Budget(rng.integers(1, 4, columns).astype(float), float(rng.integers(2, 9)))
    most = float(rng.integers(1, 4))
    demands = CoverDemands(owner=owner, owner_budgets=(Budget(np.ones(owners), most),), budgets=(budget,))
    answer = cheapest_cover(covers, wanted, cost, 10.0, demands)
    best = np.inf
    for choice in range(1 << columns):
        taken = [k for k in range(columns) if choice >> k & 1]
        if len(set(owner[taken].tolist())) <= most and budget.weight[taken].sum() <= budget.limit:
            if covers[taken].any(axis=0)[wanted].all():
                best = min(best, cost[taken].sum())
    if np.isinf(best):
        assert answer.chosen is None and answer.impossible
    else:
        assert answer.proven and cost[list(answer.chosen)].sum() == pytest.approx(best)
        assert answer.bound <= best + 1e-6


def swept_balls(middles, radius=10.0, length=0.0, seed=1):
    count = len(middles)
    direction = np.tile(rotation(seed)[:, 2], (count, 1))
    return SweptZones(np.asarray(middles, float), direction, np.full(count, length), radius, radius)


def test_far_points_need_a_zone_each_and_the_weights_prove_it():
    rng = np.random.default_rng(0)
    places = np.array([[0, 0, 0], [50, 0, 0], [0, 60, 0], [0, 0, 70.0]])
    points = (places[:, None] + rng.uniform(-4, 4, (4, 20, 3))).reshape(-1, 3)
    swept = swept_balls(np.concatenate([places, places + 1.0]))
    bound = bound_insertions(swept, points, 9, 20.0)
    assert bound.value == 4 and bound.method == "weights"
    # Checked in whole numbers: no path destroys points of more than the unit.
    whole = np.floor(bound.weights * 10**9).astype(object)
    reach = swept.reaching(bound.points_mm)
    assert max(int(whole[row].sum()) for row in reach) <= 10**9 + len(whole)
    assert -(-int(whole.sum()) // 10**9) >= 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_bound_is_never_above_the_fewest(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-15, 15, (60, 3))
    swept = swept_balls(rng.uniform(-15, 15, (9, 3)), float(rng.uniform(8, 18)), float(rng.uniform(0, 10)), seed)
    covers = swept.reaching(points)
    count, _ = fewest(covers, np.ones(len(covers)))
    bound = bound_insertions(swept, points, 99, 10.0)
    assert bound.value <= count
    # Few points and paths leave the integer program no excuse.
    assert bound.value == count


def test_swept_zones_are_the_union_of_the_zones_along_them():
    rng = np.random.default_rng(2)
    direction = rotation(4)[:, 0]
    swept = SweptZones(np.array([[3.0, -2, 5]]), direction[None], np.array([18.0]), 14.0, 9.0)
    points = rng.uniform(-40, 40, (20_000, 3))
    expected = np.zeros(len(points), dtype=bool)
    for back in np.linspace(0, 18, 721):
        offset = points - (swept.deepest_mm[0] - back * direction)
        along = offset @ direction
        across = (offset**2).sum(axis=1) - along**2
        expected |= (along / 14.0) ** 2 + across / 81.0 <= 1.0
    found = swept.reaching(points)[0]
    assert not (expected & ~found).any()
    # Between two of the sampled places lies at most a sliver.
    assert (found & ~expected).sum() < 0.002 * found.sum()


def test_more_paths_never_need_more():
    rng = np.random.default_rng(5)
    points = rng.uniform(-20, 20, (200, 3))
    middles = rng.uniform(-20, 20, (40, 3))
    values = []
    for count in (15, 25, 40):
        swept = swept_balls(middles[:count], 16.0)
        reach = swept.reaching(points).any(axis=0)
        assert reach.any()
        values.append(
            bound_insertions(
                swept, points[swept_balls(middles[:15], 16.0).reaching(points).any(axis=0)], 99, 20.0
            ).value
        )
    assert values == sorted(values, reverse=True)
