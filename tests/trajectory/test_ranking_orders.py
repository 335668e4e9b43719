"""Pareto front, weighted and lexicographic order, and sensitivity to the weights, on tables of given costs."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.errors import GeometryError, OptionError
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.orders import Level, LexicographicOrder, WeightedOrder
from needleplan.trajectory.pareto import pareto_front
from needleplan.trajectory.ranking import rank
from needleplan.trajectory.sensitivity import weight_sensitivity
from needleplan.trajectory.table import ConstraintColumn, ObjectiveColumn, TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
NAMES = "abcdefgh"


class Given(TrajectoryObjective):
    """An objective whose costs are given row by row."""

    def __init__(self, name, cost, weight):
        self._name, self.cost, self.weight = name, np.asarray(cost, dtype=float), float(weight)

    @property
    def name(self):
        return self._name

    def evaluate(self, paths):
        return ObjectiveColumn(self._name, "", self.cost, self.cost, self.weight)


def table_of(count, feasible=None):
    rng = np.random.default_rng(count)
    entry, tip = rng.uniform(50, 100, (count, 3)), rng.uniform(-10, 10, (count, 3))
    passed = np.ones(count) if feasible is None else np.asarray(feasible, dtype=float)
    column = ConstraintColumn("given", "", passed, 1.0, True, "as given")
    return TrajectoryTable(APPLICATOR, entry, entry, tip, tip, constraints=(column,))


def ranked(costs, weights, feasible=None, order=None):
    costs = np.asarray(costs, dtype=float)
    objectives = [Given(NAMES[k], costs[:, k], weights[k]) for k in range(costs.shape[1])]
    return rank(table_of(len(costs), feasible), None, objectives, order=order)


def brute_front(costs):
    no_worse = (costs[:, None] <= costs[None]).all(axis=2)
    better = (costs[:, None] < costs[None]).any(axis=2)
    return ~(no_worse & better).any(axis=0)


@pytest.mark.parametrize("columns", [1, 2, 3, 5, 8, 20, 63])
@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_front_is_that_of_all_pairs_with_ties_and_doubles(columns, decimals):
    rng = np.random.default_rng(columns)
    costs = np.round(rng.uniform(size=(500, columns)) + rng.normal(size=(500, 1)), decimals)
    costs = np.concatenate([costs, costs[::7]])
    np.testing.assert_array_equal(pareto_front(costs), brute_front(costs))


def test_sums_that_rounding_makes_equal_hide_no_domination():
    # The second row is worse by less than the sum can show.
    costs = np.array([[1e16, 1.5, 0.2], [1e16, 1.0, 0.2], [1e16, 1.0, 0.2], [1e16, 1.0, 0.1]])
    assert len(set(costs.sum(axis=1))) < 4
    np.testing.assert_array_equal(pareto_front(costs), [False, False, False, True])


def test_front_of_infinite_costs_and_of_nothing():
    np.testing.assert_array_equal(pareto_front(np.array([[np.inf, 0.0], [1.0, 0.0], [0.5, 1.0]])), [0, 1, 1])
    assert pareto_front(np.empty((0, 4))).shape == (0,)
    with pytest.raises(OptionError, match="not a number"):
        pareto_front(np.array([[np.nan, 1.0]]))
    with pytest.raises(OptionError, match="1 to 63 columns"):
        pareto_front(np.zeros((3, 64)))


def test_front_of_a_large_table_is_that_of_all_pairs_in_a_sample():
    costs = np.random.default_rng(0).uniform(size=(100_000, 8))
    front = pareto_front(costs)
    some = np.random.default_rng(1).choice(100_000, 200, replace=False)
    beaten = [((costs <= costs[i]).all(axis=1) & (costs < costs[i]).any(axis=1)).any() for i in some]
    np.testing.assert_array_equal(front[some], ~np.array(beaten))
    assert 0 < np.count_nonzero(beaten) < 200


@pytest.mark.parametrize("order", [None, LexicographicOrder((Level("b", 0.1), Level("a", 0.2)))])
def test_permuting_rows_permutes_the_answer(order):
    rng = np.random.default_rng(5)
    costs, feasible = rng.uniform(size=(300, 3)), rng.uniform(size=300) < 0.7
    here = ranked(costs, (1, 0.5, 2), feasible, order)
    mix = rng.permutation(300)
    there = ranked(costs[mix], (1, 0.5, 2), feasible[mix], order)
    np.testing.assert_array_equal(there.front, here.front[mix])
    np.testing.assert_allclose(there.cost, here.cost[mix], rtol=1e-12)
    np.testing.assert_array_equal(mix[there.order()], here.order())


def test_scaling_the_weights_changes_nothing():
    rng = np.random.default_rng(6)
    costs = rng.uniform(size=(400, 4))
    one, many = ranked(costs, (1, 0.3, 0, 2)), ranked(costs, (7, 2.1, 0, 14))
    np.testing.assert_array_equal(one.order(), many.order())
    np.testing.assert_array_equal(one.front, many.front)
    few = weight_sensitivity(one, np.random.default_rng(0))
    lot = weight_sensitivity(many, np.random.default_rng(0))
    assert few.first == lot.first and few.share == lot.share
    for a, b in zip(few.intervals, lot.intervals, strict=True):
        assert (a.overtaken_below, a.overtaken_above) == (b.overtaken_below, b.overtaken_above)
        np.testing.assert_allclose([b.least, b.most], [7 * a.least, 7 * a.most])


def test_a_dominated_row_is_never_first():
    rng = np.random.default_rng(7)
    for _ in range(60):
        costs = np.round(rng.uniform(size=(120, 3)), 1)
        feasible = rng.uniform(size=120) < 0.6
        weights = rng.uniform(0.01, 3, 3)
        levels = tuple(
            Level(NAMES[k], float(rng.uniform(0, 0.4))) for k in rng.permutation(3)[: rng.integers(1, 4)]
        )
        for order in (None, WeightedOrder(), LexicographicOrder(levels)):
            table = ranked(costs, weights, feasible, order)
            assert table.front[table.order()[0]]
            np.testing.assert_array_equal(table.front[feasible], brute_front(costs[feasible]))
            assert not table.front[~feasible].any() and np.isinf(table.cost[~feasible]).all()


def test_raising_a_weight_never_worsens_the_winner_in_that_objective():
    rng = np.random.default_rng(8)
    costs = rng.uniform(size=(500, 4))
    for k in range(4):
        found = []
        for weight in (0.0, 0.2, 0.5, 1.0, 3.0, 30.0):
            weights = [1.0, 0.7, 0.4, 1.3]
            weights[k] = weight
            found.append(costs[ranked(costs, weights).order()[0], k])
        assert all(b <= a + 1e-12 for a, b in pairwise(found)) and found[-1] < found[0]


def test_lexicographic_order_without_tolerance_is_that_of_tuples():
    rng = np.random.default_rng(9)
    costs = np.round(rng.uniform(size=(300, 3)), 1)
    weights = np.array([1.0, 2.0, 0.5])
    table = ranked(costs, weights, order=LexicographicOrder((Level("c"), Level("a"))))
    keys = [(*costs[i, [2, 0]], round(float(costs[i] @ weights), 9), i) for i in range(300)]
    assert table.order().tolist() == sorted(range(300), key=keys.__getitem__)
    assert table.cost.min() == 0.0 and table.cost.max() < 1.0


def test_within_the_tolerance_the_next_level_decides():
    costs = np.array([[0.52, 0.9], [0.56, 0.1], [0.58, 0.0], [0.64, 0.0]])
    order = LexicographicOrder((Level("a", 0.05), Level("b")))
    # 0.56 is within 0.05 of the best, 0.58 is not and leads the next step.
    assert ranked(costs, (1, 1), order=order).order().tolist() == [1, 0, 2, 3]
    strict = LexicographicOrder((Level("a"), Level("b")))
    assert ranked(costs, (1, 1), order=strict).order().tolist() == [0, 1, 2, 3]
    # The second level's steps count from the best of those still equal, not from the best of all.
    costs = np.array([[0.0, 0.56, 0.0], [0.0, 0.52, 0.5], [1.0, 0.0, 0.0]])
    order = LexicographicOrder((Level("a", 0.1), Level("b", 0.05), Level("c")))
    assert ranked(costs, (1, 1, 1), order=order).order().tolist() == [0, 1, 2]


def test_a_wide_tolerance_leaves_the_order_to_the_next_level():
    costs = np.random.default_rng(10).uniform(size=(200, 3))
    wide = ranked(costs, (1, 1, 1), order=LexicographicOrder((Level("a", 5.0), Level("b"))))
    assert wide.order().tolist() == np.argsort(costs[:, 1]).tolist()


def test_impossible_orders_are_refused():
    with pytest.raises(OptionError, match="zero or more"):
        Level("a", -0.1)
    with pytest.raises(OptionError, match="zero or more"):
        Level("a", float("nan"))
    with pytest.raises(OptionError, match="different objectives"):
        LexicographicOrder(())
    with pytest.raises(OptionError, match="different objectives"):
        LexicographicOrder((Level("a"), Level("a", 0.1)))
    with pytest.raises(OptionError, match="no objective is named 'z': there are a, b"):
        ranked(np.zeros((3, 2)), (1, 1), order=LexicographicOrder((Level("z"),)))
    with pytest.raises(OptionError, match="different names"):
        rank(table_of(2), None, [Given("a", [0, 1], 1), Given("a", [0, 1], 1)])
    with pytest.raises(OptionError, match="one or more objectives"):
        rank(table_of(2), None, [])


def reweighted(table, k, weight):
    columns = list(table.objectives)
    columns[k] = dataclasses.replace(columns[k], weight=weight)
    costs = np.stack([c.cost for c in columns], axis=1)
    return ranked(costs, [c.weight for c in columns], table.feasible)


def cheapest(table, k, weight):
    """The cheapest feasible row where weight ``k`` is another one, without any rounding of costs."""
    return int(np.argmin(reweighted(table, k, weight).cost))


@pytest.mark.parametrize("seed", range(12))
def test_ends_of_the_intervals_are_where_another_row_takes_over(seed):
    rng = np.random.default_rng(seed)
    costs, feasible = rng.uniform(size=(200, 4)) ** 2, rng.uniform(size=200) < 0.8
    weights = rng.uniform(0.1, 2, 4) * (rng.uniform(size=4) < 0.8)
    weights[0] = 1.0
    table = ranked(costs, weights, feasible)
    found = weight_sensitivity(table, np.random.default_rng(0))
    assert found.first == table.order()[0] and len(found.intervals) == 4
    overtaken = 0
    for k, interval in enumerate(found.intervals):
        assert interval.objective == NAMES[k] and interval.weight == weights[k]
        assert 0 <= interval.least < interval.most and interval.least <= interval.weight <= interval.most
        hair = 1e-7 * (interval.most - interval.least) if np.isfinite(interval.most) else 1e-7
        assert cheapest(table, k, interval.least + hair) == found.first
        assert cheapest(table, k, min(interval.most - hair, 1e4)) == found.first
        if np.isfinite(interval.most):
            assert cheapest(table, k, interval.most + hair) == interval.overtaken_above != found.first
            overtaken += 1
        else:
            assert interval.overtaken_above is None
        if interval.least > 0:
            assert cheapest(table, k, interval.least - hair) == interval.overtaken_below != found.first
            overtaken += 1
        else:
            assert interval.overtaken_below is None
    assert overtaken > 0


def test_share_of_two_objectives_is_exact():
    # First wins where s 0.2 + (1-s) 0.6 is least: against (0, 1) for s < 2/3, against (1, 0) for s > 3/7.
    costs = np.array([[0.2, 0.6], [0.0, 1.0], [1.0, 0.0], [0.5, 0.9]])
    found = weight_sensitivity(ranked(costs, (1, 1)), np.random.default_rng(0))
    assert found.first == 0 and found.share_error == 0.0
    np.testing.assert_allclose(found.share, 2 / 3 - 3 / 7)
    # An objective that is equal everywhere takes no share.
    idle = weight_sensitivity(
        ranked(np.column_stack([costs, np.full(4, 0.7)]), (1, 1, 1)), np.random.default_rng(0)
    )
    assert (idle.first, idle.share, idle.share_error) == (0, found.share, 0.0)
    one = weight_sensitivity(ranked(costs, (1, 0)), np.random.default_rng(0))
    assert (one.first, one.share, one.share_error) == (1, 1.0, 0.0)


def test_shares_of_all_possible_first_choices_add_up():
    rng = np.random.default_rng(3)
    costs = rng.uniform(size=(60, 3))
    seen, total, error = set(), 0.0, 0.0
    for weights in rng.dirichlet(np.ones(3), 400):
        table = ranked(costs, weights)
        if table.order()[0] not in seen:
            seen.add(table.order()[0])
            found = weight_sensitivity(table, np.random.default_rng(len(seen)))
            total, error = total + found.share, error + found.share_error
    assert len(seen) > 3 and abs(total - 1.0) < 3 * error + 0.01
    # Three corners of a cube share the simplex evenly.
    corners = weight_sensitivity(ranked(np.eye(3), (0.2, 1, 1)), np.random.default_rng(1), 9000)
    assert abs(corners.share - 1 / 3) < 4 * corners.share_error and 0 < corners.share_error < 0.01


def test_doubles_of_the_first_choice_overtake_nobody():
    costs = np.array([[0.1, 0.2, 0.3]] * 3 + [[0.9, 0.1, 0.9]])
    found = weight_sensitivity(ranked(costs, (1, 1, 1)), np.random.default_rng(0))
    assert found.first == 0
    assert found.intervals[1].overtaken_above == 3 and found.intervals[0].overtaken_above is None
    assert found.intervals[0].overtaken_below is None
    noise = 1e-15 * np.random.default_rng(0).normal(size=costs.shape)
    shaken = weight_sensitivity(ranked(costs + noise, (1, 1, 1)), np.random.default_rng(0))
    for a, b in zip(shaken.intervals, found.intervals, strict=True):
        assert (a.overtaken_below, a.overtaken_above) == (b.overtaken_below, b.overtaken_above)
        np.testing.assert_allclose([a.least, a.most], [b.least, b.most], atol=1e-9)


def test_of_two_that_draw_level_at_once_the_one_that_is_cheaper_beyond_overtakes():
    # At the weight 1 of b both rivals cost 0.8 like the first; above it the second rival is the cheapest.
    costs = np.array([[0.2, 0.6], [0.4, 0.4], [0.5, 0.3]])
    found = weight_sensitivity(ranked(costs, (1, 0.5)), np.random.default_rng(0)).intervals[1]
    np.testing.assert_allclose(found.most, 1.0)
    assert found.overtaken_above == 2
    below = weight_sensitivity(ranked(costs, (1, 2)), np.random.default_rng(0))
    assert below.first == 2 and below.intervals[1].overtaken_below == 0


def test_sensitivity_demands_a_weighted_order_and_a_first_choice():
    costs = np.random.default_rng(0).uniform(size=(50, 3))
    with pytest.raises(GeometryError, match="rank it first"):
        weight_sensitivity(table_of(50), np.random.default_rng(0))
    with pytest.raises(GeometryError, match="no path is feasible"):
        weight_sensitivity(ranked(costs, (1, 1, 1), np.zeros(50)), np.random.default_rng(0))
    other = ranked(costs, (1, 1, 1), order=LexicographicOrder((Level("c"),)))
    with pytest.raises(OptionError, match="weighted sum"):
        weight_sensitivity(other, np.random.default_rng(0))
    with pytest.raises(OptionError, match="1 or more"):
        weight_sensitivity(ranked(costs, (1, 1, 1)), np.random.default_rng(0), samples=0)


def test_sensitivity_of_a_wide_front_is_repeatable():
    costs = np.random.default_rng(2).uniform(size=(20_000, 6))
    table = ranked(costs, (1, 1, 0.3, 0.5, 0.2, 1))
    assert table.front.sum() > 500
    first = weight_sensitivity(table, np.random.default_rng(4))
    assert weight_sensitivity(table, np.random.default_rng(4)) == first
    other = weight_sensitivity(table, np.random.default_rng(5))
    assert other.intervals == first.intervals and abs(other.share - first.share) < 6 * first.share_error + 1e-3
