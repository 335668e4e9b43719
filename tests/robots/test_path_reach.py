import numpy as np
import pytest

from needleplan.trajectory.contract import Reachability
from robots.clearance import Surroundings
from robots.frames import base_pose
from robots.insertion import plan_insertions
from robots.path_reach import PathReach

BASE = base_pose([0.5, 0.15, 0.0], np.pi)


@pytest.fixture(scope="module")
def reach(arm, placement, torso) -> Reachability:
    return PathReach(arm, placement, BASE, Surroundings(placement, torso))


def test_reachable_paths_are_carried_out_and_impossible_ones_are_not(reach, arm, placement, torso, insertions):
    from needleplan.plan import Insertion

    below = ((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0))
    deep = ((10.0, -140.0, 500.0), (10.0, 79.0, 500.0))
    beyond_reach = ((-60.0, -130.0, 2900.0), (-62.0, -38.0, 2900.0))
    paths = [(path.entry_mm, path.tip_mm) for path in insertions] + [below, deep, beyond_reach]
    entries, tips = (np.array([path[k] for path in paths]) for k in range(2))
    reached = reach.reachable(entries, tips)
    assert reached.dtype == np.bool_ and reached.tolist() == [True, True, True, False, False, False]
    planned = [Insertion(tuple(entry), tuple(tip), "probe", ()) for entry, tip in zip(entries, tips, strict=True)]
    route = plan_insertions(planned, arm, placement, BASE, torso, np.random.default_rng(1))
    assert route.reached.tolist() == reached.tolist()


def test_a_path_is_decided_by_itself(reach, insertions):
    entries = np.array([path.entry_mm for path in insertions])
    tips = np.array([path.tip_mm for path in insertions])
    together = reach.reachable(entries, tips)
    backwards = reach.reachable(entries[::-1], tips[::-1])[::-1]
    alone = [reach.reachable(entries[k : k + 1], tips[k : k + 1])[0] for k in range(len(insertions))]
    assert together.tolist() == backwards.tolist() == alone
    assert reach.reachable(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)
