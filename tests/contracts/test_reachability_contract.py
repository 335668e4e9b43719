"""What every answer to "can the robot do it" promises the planner."""

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import ball, made_case, motion

from needleplan.anatomy.build import build_anatomy
from needleplan.trajectory.contract import Reachability
from robots.arm_settings import Mount
from robots.catalogue import list_robots, load_robot
from robots.clearance import Surroundings
from robots.frames import base_pose, place_anatomy
from robots.path_reach import PathReach

MIDDLE = np.array([10.0, -30.0, 500.0])
CARRY = motion(33)


def path_reach(robot, moved=False):
    """An arm beside a body on the table."""
    case = made_case(ball(MIDDLE, 12.0), ball(MIDDLE, 1.0, 3, (170.0, 110.0, 220.0)))
    anatomy = build_anatomy(case.moved(CARRY) if moved else case)
    placement = place_anatomy(anatomy)
    model = load_robot(robot)
    # On the floor beside the table, or on the rail along its edge.
    where = (0.5, 0.15, 0.0) if model.mount is Mount.FLOOR else (placement.table.half_width_m, 0.0, 0.0)
    return PathReach(
        model,
        placement,
        base_pose(where, np.pi),
        Surroundings(placement, anatomy.entry.mesh),
    )


MAKERS = {
    f"PathReach of {name}": (lambda moved=False, name=name: path_reach(name, moved)) for name in list_robots()
}


def made_paths():
    """(entries, tips) from all around the body, one from below the table and one out of every arm's reach."""
    rng = np.random.default_rng(5)
    out = rng.normal(size=(16, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    out[:, 1] = -np.abs(out[:, 1])
    out[-2] = (0.1, 0.99, 0.1)
    entries = MIDDLE + out * [170.0, 110.0, 220.0]
    tips = (
        entries + 0.75 * (MIDDLE - entries) * (110.0 / np.linalg.norm(MIDDLE - entries, axis=1).clip(110))[:, None]
    )
    entries[-1] += (0.0, 0.0, 3000.0)
    tips[-1] += (0.0, 0.0, 3000.0)
    return entries, tips


@pytest.fixture(scope="module", params=MAKERS)
def made(request):
    reach = MAKERS[request.param]
    return reach, reach(), made_paths()


def test_every_reachability_of_the_packages_is_held_to_its_contract():
    assert {type(make()) for make in MAKERS.values()} == implementations(Reachability)


def test_one_decision_a_path(made):
    _, reach, (entries, tips) = made
    answer = reach.reachable(entries, tips)
    assert answer.shape == (16,) and answer.dtype == np.bool_
    assert answer.any() and not answer[-2:].any()
    assert reach.reachable(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


def test_other_paths_change_nothing(made):
    _, reach, (entries, tips) = made
    together = reach.reachable(entries, tips)
    order = np.random.default_rng(1).permutation(16)
    np.testing.assert_array_equal(reach.reachable(entries[order], tips[order]), together[order])
    for k in (0, 5, 14, 15):
        assert reach.reachable(entries[k : k + 1], tips[k : k + 1])[0] == together[k]


def test_a_moved_patient_laid_on_the_table_again_gives_the_same_answers(made):
    make, reach, (entries, tips) = made
    turn, shift = CARRY[:3, :3], CARRY[:3, 3]
    moved = make(moved=True).reachable(entries @ turn.T + shift, tips @ turn.T + shift)
    np.testing.assert_array_equal(moved, reach.reachable(entries, tips))


def test_manipulability_is_a_share_and_nothing_where_out_of_reach(made):
    make, reach, (entries, tips) = made
    found = make().manipulability(entries, tips)
    if found is None:
        assert reach.manipulability(entries, tips) is None
        return
    reached = reach.reachable(entries, tips)
    assert found.shape == (16,) and (found >= 0).all() and (found <= 1).all()
    assert (found[~reached] == 0).all() and found[reached].max() > 0.05 and np.ptp(found[reached]) > 0.01
    assert reach.manipulability(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)
    # Asked for in another order, alone, and after reach was decided, it is the same.
    np.testing.assert_array_equal(reach.manipulability(entries[::-1], tips[::-1])[::-1], found)
    for k in (0, 5, 15):
        assert make().manipulability(entries[k : k + 1], tips[k : k + 1])[0] == found[k]


def test_a_moved_patient_is_reached_as_freely(made):
    make, reach, (entries, tips) = made
    turn, shift = CARRY[:3, :3], CARRY[:3, 3]
    moved = make(moved=True).manipulability(entries @ turn.T + shift, tips @ turn.T + shift)
    here = reach.manipulability(entries, tips)
    assert (moved is None) == (here is None)
    if here is not None:
        np.testing.assert_allclose(moved, here, atol=1e-3)
