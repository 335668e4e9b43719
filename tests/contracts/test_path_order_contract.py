"""What every order of paths promises."""

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import OptionError
from needleplan.trajectory.orders import Level, LexicographicOrder, PathOrder, WeightedOrder
from needleplan.trajectory.pareto import pareto_front
from needleplan.trajectory.table import ObjectiveColumn

ORDERS = {
    "LexicographicOrder with tolerances": LexicographicOrder((Level("b", 0.15), Level("c", 0.3))),
    "LexicographicOrder without": LexicographicOrder((Level("c"), Level("a"))),
    "WeightedOrder": WeightedOrder(),
}
every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
WEIGHTS = (1.0, 0.4, 2.0)


def columns(costs):
    return [
        ObjectiveColumn(name, "", cost, cost, w)
        for name, cost, w in zip("abc", np.transpose(costs), WEIGHTS, strict=True)
    ]


def some_costs(seed, count=150, decimals=1):
    return np.round(np.random.default_rng(seed).uniform(size=(count, 3)), decimals)


def test_every_order_of_the_packages_is_held_to_its_contract():
    assert {type(order) for order in ORDERS.values()} == implementations(PathOrder)


@every_order
def test_one_finite_cost_a_row_and_none_for_none(order):
    found = order.cost(columns(some_costs(0)), np.arange(150))
    assert found.shape == (150,) and np.isfinite(found).all() and np.ptp(found) > 0
    assert order.cost(columns(some_costs(0)), np.arange(0)).shape == (0,)


@every_order
def test_only_the_given_rows_are_looked_at(order):
    costs = some_costs(1)
    rows = np.random.default_rng(2).permutation(150)[:60]
    here = order.cost(columns(costs), rows)
    costs[np.setdiff1d(np.arange(150), rows)] = -5.0
    np.testing.assert_array_equal(order.cost(columns(costs), rows), here)


@every_order
def test_rows_in_another_sequence_keep_their_costs(order):
    costs = some_costs(3)
    here = order.cost(columns(costs), np.arange(150))
    mix = np.random.default_rng(4).permutation(150)
    np.testing.assert_allclose(order.cost(columns(costs[mix]), np.arange(150)), here[mix], rtol=1e-12)


@every_order
def test_equal_rows_cost_the_same_and_a_dominated_row_costs_more(order):
    costs = some_costs(5)
    costs[75:] = costs[:75]
    found = order.cost(columns(costs), np.arange(150))
    np.testing.assert_array_equal(found[75:], found[:75])
    for seed in range(30):
        costs = some_costs(seed)
        found = order.cost(columns(costs), np.arange(150))
        assert pareto_front(costs)[found == found.min()].all()
        no_worse = (costs[:, None] <= costs[None]).all(axis=2)
        strict = no_worse & (costs[:, None] < costs[None]).any(axis=2)
        better, worse = np.nonzero(strict)
        assert (found[better] < found[worse]).all()


@every_order
def test_rounding_of_a_moved_case_changes_no_sequence(order):
    costs = some_costs(6)
    shaken = costs + np.random.default_rng(7).uniform(-1e-12, 1e-12, costs.shape)
    here, there = (np.round(order.cost(columns(c), np.arange(150)), 9) for c in (costs, shaken))
    np.testing.assert_array_equal(np.argsort(here, kind="stable"), np.argsort(there, kind="stable"))


def test_an_objective_that_is_missing_is_named():
    for order in ORDERS.values():
        if isinstance(order, LexicographicOrder):
            with pytest.raises(OptionError, match="no objective is named 'c': there are a, b"):
                order.cost(columns(some_costs(8))[:2], np.arange(150))
