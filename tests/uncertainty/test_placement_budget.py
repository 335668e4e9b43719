"""Budgets from the errors that are expected of each needle."""

import numpy as np
import pytest
from made_cases import ball, made_case, queries_of
from made_plans import model, needle

from needleplan.errors import OptionError
from needleplan.plan import vector3
from needleplan.uncertainty.likelihoods import ErrorOptions, likelihoods, likelihoods_under
from needleplan.uncertainty.placement_budget import placement_budget
from needleplan.uncertainty.placement_error import ErrorOrigin, ErrorShare, ExpectedError
from needleplan.uncertainty.presets import preset_budget

NONE = preset_budget("robot").scaled(0.0)


def made_error(rng, scale=1.0, order=1):
    """A needle whose shares have every correlation; its axis errs across itself only."""
    tip = rng.normal(0, 80, 3)
    direction = rng.normal(0, 1, 3)
    direction /= np.linalg.norm(direction)
    entry = tip - rng.uniform(40, 160) * direction
    across = np.eye(3) - np.outer(direction, direction)
    shares = []
    for origin in ErrorOrigin:
        root = scale * rng.normal(0, 1, (6, 6)) * np.repeat([0.5, 0.006], 3)[:, None]
        root[3:] = across @ root[3:]
        shares.append(ErrorShare(origin, root @ root.T))
    return ExpectedError(order, vector3(entry), vector3(tip), tuple(shares))


@pytest.fixture
def rng():
    return np.random.default_rng(61)


def test_figures_of_an_error_are_its_covariance_across_and_along_the_needle(rng):
    error = made_error(rng)
    lateral, depth = error.lateral_rms_mm**2, error.depth_std_mm**2
    assert lateral + depth == pytest.approx(np.trace(error.tip_covariance_mm2))
    assert error.lateral_std_mm[0] >= error.lateral_std_mm[1]
    assert np.radians(error.angle_rms_deg) ** 2 == pytest.approx(np.trace(error.covariance[3:, 3:]))
    parts = sum(error.part(origin).covariance for origin in ErrorOrigin)
    np.testing.assert_allclose(parts, error.covariance)
    np.testing.assert_allclose(error.covariance_at(error.depth_mm), error.tip_covariance_mm2)
    # A straight needle: its point at a depth is its tip's place less what is left of it along its axis.
    draws = rng.multivariate_normal(np.zeros(6), error.covariance, 40_000)
    points = draws[:, :3] - (error.depth_mm - 20.0) * draws[:, 3:]
    np.testing.assert_allclose(points.T @ points / 40_000, error.covariance_at(20.0), atol=0.03 * lateral)


def test_a_budget_holds_every_correlation_of_many_needles(rng):
    errors = [made_error(rng, scale, k + 1) for k, scale in enumerate(rng.uniform(0.3, 2.0, 12))]
    whole = placement_budget(errors, NONE)
    for error in errors:
        # One needle's own budget has no slack from the others'; and of origins by themselves none from each other.
        for part in (error, *(error.part(origin) for origin in ErrorOrigin)):
            for budget in (whole, placement_budget([part], NONE)):
                for depth in np.linspace(0.0, error.depth_mm, 23):
                    more = budget.covariance_mm2(error.direction, depth, np.eye(3)) - part.covariance_at(depth)
                    assert np.linalg.eigvalsh(more)[0] > -1e-3 * np.trace(more)


def test_nothing_is_counted_twice_and_the_rest_comes_from_the_preset(rng):
    error, preset = made_error(rng), preset_budget("robot")
    whole = placement_budget([error], preset)
    own = tuple(share for share in error.shares if not share.origin.common)
    without = placement_budget([ExpectedError(1, error.entry_mm, error.tip_mm, own)], preset)
    assert without.registration_mm.std == 0.0
    assert (without.lateral_mm, without.depth_mm, without.angle_deg) == (
        whole.lateral_mm,
        whole.depth_mm,
        whole.angle_deg,
    )
    only = placement_budget([error.part(ErrorOrigin.REGISTRATION)], preset)
    assert only.registration_mm == whole.registration_mm
    assert only.lateral_mm.std == only.depth_mm.std == only.angle_deg.std == 0.0
    assert (whole.breathing_mm, whole.deflection_mm) == (preset.breathing_mm, preset.deflection_mm)
    with pytest.raises(OptionError, match="at least one insertion"):
        placement_budget([], preset)
    with pytest.raises(OptionError, match="6x6"):
        ErrorShare(ErrorOrigin.TOOL, np.eye(3))


def test_chances_of_a_plan_fall_as_the_robot_gets_worse(rng):
    """The whole way: expected errors, budget, chance of coverage; and the same words as of a preset."""
    middle, radius = (4.0, -9.0, 15.0), 10.0
    queries = queries_of(made_case(ball(middle, radius, 3), ball(middle, 140.0, 2)))
    planned = needle(middle, (0.4, -0.7, 0.35), radius + 2.5)
    covered = []
    for scale in (0.2, 1.0, 3.0):
        share = ErrorShare(ErrorOrigin.JOINTS, np.diag([scale**2] * 3 + [0.0] * 3))
        error = ExpectedError(1, planned.entry_mm, planned.tip_mm, (share,))
        budget = placement_budget([error], NONE)
        chances = likelihoods_under(budget, queries, [planned], model(), 300, 0.0, 7)
        assert chances[0].event == "the target is covered"
        covered.append(chances[0].probability)
    assert covered[0] == 1.0 and covered[0] > covered[1] > covered[2]
    options = ErrorOptions("robot", 200)
    assert likelihoods(queries, [planned], model(), options, 0.0, 7) == likelihoods_under(
        preset_budget("robot"), queries, [planned], model(), 200, 0.0, 7
    )
