from itertools import pairwise

import numpy as np
import pytest

from needleplan.errors import OptionError
from robots.detours import DetourStatus, find_detour

JOINTS = 5
STEP = np.array([0.03, 0.03, 0.01, 0.03, 0.03])
LOW, HIGH = np.array([-2.9, -2.5, -0.8, -2.9, -2.0]), np.array([2.9, 2.7, 0.9, 2.8, 2.2])
START, GOAL = np.array([-1.1, 0.2, 0.0, 0.3, 0.1]), np.array([1.2, -0.1, 0.1, 0.0, -0.2])


def wall(q):
    """A slanted wall between start and goal that is open beyond |q1 - 0.3| = 2."""
    return ~((np.abs(q[:, 0] + 0.2 * q[:, 3]) < 0.4) & (np.abs(q[:, 1] - 0.3) < 2.0))


def search(clear=wall, seed=0, iterations=2000, start=START, goal=GOAL):
    return find_detour(start, goal, LOW, HIGH, STEP, clear, seed, iterations)


def fine(stops, step):
    parts = [stops[:1]]
    for first, last in pairwise(stops):
        count = int(np.ceil((np.abs(last - first) / step).max()))
        parts.append(first + np.arange(1, count + 1)[:, None] / count * (last - first))
    return np.concatenate(parts)


@pytest.mark.parametrize("seed", range(5))
def test_a_way_round_a_wall_is_clear_inside_the_limits_and_short(seed):
    found = search(seed=seed)
    assert found.found and not found.reason and len(found.stops) >= 3
    np.testing.assert_array_equal(found.stops[[0, -1]], [START, GOAL])
    assert (found.stops >= LOW - 1e-12).all() and (found.stops <= HIGH + 1e-12).all()
    assert (
        wall(fine(found.stops, STEP / 4)).mean() > 0.999
    )  # between checks a corner may be cut by less than a step
    assert wall(fine(found.stops, STEP)).all()
    length = np.linalg.norm(np.diff(found.stops / STEP, axis=0), axis=1).sum()
    # No way is shorter than one round the nearest edge of the wall alone.
    edge = 2 * np.hypot(2.3 / 2, 1.7) / 0.03
    assert 0.8 * edge < length < 3.0 * edge


def test_the_same_seed_finds_the_same_way_and_another_another():
    first, again, other = search(seed=3), search(seed=3), search(seed=4)
    np.testing.assert_array_equal(first.stops, again.stops)
    assert (first.iterations, first.postures) == (again.iterations, again.postures)
    assert first.stops.shape != other.stops.shape or not np.allclose(first.stops, other.stops)


def test_the_draws_of_others_change_nothing():
    np.random.seed(1)
    first = search(seed=2).stops
    np.random.seed(2)
    np.random.random(100)
    np.testing.assert_array_equal(first, search(seed=2).stops)


def test_with_nothing_in_the_way_it_is_the_straight_line():
    found = search(lambda q: np.ones(len(q), dtype=bool))
    assert found.found and len(found.stops) == 2 and found.iterations == 1


def test_every_posture_is_asked_in_whole_edges():
    sizes = []

    def counted(q):
        sizes.append(len(q))
        return wall(q)

    found = search(counted)
    assert sum(sizes) == found.postures and np.mean(sizes) > 8


def test_a_closed_wall_ends_in_a_status_after_its_iterations():
    found = search(lambda q: np.abs(q[:, 0]) > 0.4, iterations=50)
    assert found.status is DetourStatus.NONE_FOUND and not len(found.stops) and found.iterations == 50
    assert "50 samples" in found.reason


@pytest.mark.parametrize(("name", "sign"), [("start", -1), ("goal", 1)])
def test_a_blocked_end_is_named(name, sign):
    found = search(lambda q: sign * q[:, 0] < 1.0)
    assert found.status is DetourStatus.BLOCKED_END and found.reason == f"the {name} itself is not clear"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"start": START[:4]}, "one value for each joint"),
        ({"start": np.full(JOINTS, np.nan)}, "inside the joint limits"),
        ({"goal": GOAL + 9.0}, "inside the joint limits"),
        ({"seed": -1}, "seed"),
        ({"iterations": 0}, "iteration"),
    ],
)
def test_a_question_without_sense_is_refused(changes, match):
    with pytest.raises(OptionError, match=match):
        search(**changes)
    with pytest.raises(OptionError, match="step"):
        find_detour(START, GOAL, LOW, HIGH, 0.0 * STEP, wall)


def test_ompl_finds_no_way_where_this_search_finds_none():
    """The same walls with OMPL's RRT-connect: both find a way round each."""
    base, geometric, util = (pytest.importorskip(f"ompl.{name}") for name in ("base", "geometric", "util"))
    util.setLogLevel(util.LogLevel.LOG_NONE)
    for seed in range(3):
        space = base.RealVectorStateSpace(JOINTS)
        bounds = base.RealVectorBounds(JOINTS)
        for joint in range(JOINTS):
            bounds.setLow(joint, LOW[joint])
            bounds.setHigh(joint, HIGH[joint])
        space.setBounds(bounds)
        util.RNG.setSeed(seed + 1)
        setup = geometric.SimpleSetup(space)
        setup.setStateValidityChecker(lambda s: bool(wall(np.array([[s[k] for k in range(JOINTS)]]))[0]))
        ends = [space.allocState(), space.allocState()]
        for state, values in zip(ends, (START, GOAL), strict=True):
            for joint in range(JOINTS):
                state[joint] = float(values[joint])
        setup.setStartAndGoalStates(*ends)
        setup.setPlanner(geometric.RRTConnect(setup.getSpaceInformation()))
        setup.solve(5.0)
        assert setup.haveExactSolutionPath() == search(seed=seed).found
