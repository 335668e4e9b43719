import numpy as np
import pytest

from needleplan.frames import RigidTransform
from needleplan.plan import Insertion
from robots.axis_solver import AxisSolver
from robots.catalogue import load_robot
from robots.clearance import Surroundings, posture_clearances
from robots.frames import base_pose, in_base
from robots.insertion import plan_insertions
from robots.kinematics import axis_errors
from robots.path_reach import PathReach
from robots.route_options import RouteOptions

BASE = base_pose([0.5, 0.15, 0.0], np.pi)


@pytest.fixture(scope="module")
def around(placement, torso) -> Surroundings:
    return Surroundings(placement, torso)


@pytest.fixture(scope="module")
def reach(arm, placement, around) -> PathReach:
    return PathReach(arm, placement, BASE, around)


@pytest.fixture(scope="module")
def candidates() -> tuple[np.ndarray, np.ndarray]:
    """Oblique paths from all over the torso to about the target."""
    rng = np.random.default_rng(4)
    angle, z = rng.uniform(-np.pi, np.pi, 400), rng.uniform(380.0, 640.0, 400)
    entries = np.stack([10.0 + 170.0 * np.cos(angle), -30.0 + 110.0 * np.sin(angle), z], axis=1)
    return entries, np.array([-62.0, -38.0, 523.0]) + rng.uniform(-10, 10, (400, 3))


def test_reachable_paths_are_carried_out_and_impossible_ones_are_not(reach, arm, placement, torso, insertions):
    below = ((-60.0, 79.0, 520.0), (-60.0, 0.0, 520.0))
    deep = ((10.0, -140.0, 500.0), (10.0, 79.0, 500.0))
    beyond_reach = ((-60.0, -130.0, 2900.0), (-62.0, -38.0, 2900.0))
    nowhere = ((-60.0, -130.0, 500.0), (-60.0, -130.0, 500.0))
    paths = [(path.entry_mm, path.tip_mm) for path in insertions] + [below, deep, beyond_reach, nowhere]
    entries, tips = (np.array([path[k] for path in paths]) for k in range(2))
    reached = reach.reachable(entries, tips)
    assert reached.dtype == np.bool_ and reached.tolist() == [True, True, True, False, False, False, False]
    planned = [Insertion(tuple(e), tuple(t), "probe", ()) for e, t in zip(entries[:6], tips[:6], strict=True)]
    route = plan_insertions(planned, arm, placement, BASE, torso)
    assert route.reached.tolist() == reached[:6].tolist()


def test_a_path_is_decided_by_itself(reach, candidates):
    entries, tips = candidates
    together = reach.measure(entries, tips)
    backwards = reach.measure(entries[::-1], tips[::-1])
    np.testing.assert_array_equal(together.reached, backwards.reached[::-1])
    np.testing.assert_array_equal(together.q, backwards.q[::-1])
    np.testing.assert_array_equal(together.reached, reach.reachable(entries, tips))
    for k in (0, 57, 311):
        alone = reach.measure(entries[k : k + 1], tips[k : k + 1])
        np.testing.assert_array_equal(alone.q[0], together.q[k])
    assert reach.reachable(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


def test_what_is_said_of_a_reached_path_is_true_of_its_posture(reach, arm, placement, around, candidates):
    entries, tips = candidates
    table, options = reach.measure(entries, tips), RouteOptions()
    assert 0.1 < table.reached.mean() < 0.9
    solver = AxisSolver(arm)
    for k in np.flatnonzero(table.reached)[::7]:
        insertion = Insertion(tuple(entries[k]), tuple(tips[k]), "probe", ())
        goal = in_base(BASE, placement.guide_pose(insertion, float(table.stand_off_m[k])))
        assert max(axis_errors(arm, table.q[k], goal)) < 1e-6
        assert table.stand_off_m[k] + insertion.depth_mm * 1e-3 <= arm.driver_stroke_m + 1e-9
        found = posture_clearances(arm, BASE, table.q[k][None], around)
        assert found.keeps(options.clearance_m, options.self_clearance_m)[0]
        assert table.clearance_m[k] == pytest.approx(min(found.patient_m[0], found.table_m[0]))
        measure, margin = solver.scores(table.q[k])
        assert table.manipulability[k] == pytest.approx(min(measure[0] / solver.best_manipulability, 1.0))
        assert table.limit_margin[k] == pytest.approx(margin[0]) and 0 < table.score[k] <= 1
    lost = ~table.reached
    assert np.isnan(table.q[lost]).all() and (table.manipulability[lost] == 0).all()
    assert np.isnan(table.clearance_m[lost]).all() and (table.score[lost] == 0).all()


def test_measuring_finds_better_postures_than_deciding(reach, candidates):
    entries, tips = candidates
    best, first = reach.measure(entries, tips), reach._each_block(entries, tips, False)
    np.testing.assert_array_equal(best.reached, first.reached)
    assert (best.score >= first.score * (1 - 1e-9)).all()
    assert best.score[best.reached].mean() > 1.2 * first.score[first.reached].mean()


def test_more_obstacles_or_more_clearance_never_add_a_path(arm, placement, torso, candidates):
    entries, tips = candidates
    free = PathReach(arm, placement, BASE, Surroundings(placement, None)).reachable(entries, tips)
    clear = PathReach(arm, placement, BASE, Surroundings(placement, torso)).reachable(entries, tips)
    strict = RouteOptions(clearance_m=0.05)
    wide = PathReach(arm, placement, BASE, Surroundings(placement, torso), strict).reachable(entries, tips)
    assert not (clear & ~free).any() and not (wide & ~clear).any()
    assert free.sum() >= clear.sum() > wide.sum() > 0


def test_a_turned_world_gives_the_same_answer(arm, torso, placement, candidates):
    """The patient turned on the table by half a turn, and the base with him: the same paths are reached."""
    from robots.frames import PatientPlacement

    entries, tips = candidates
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned = PatientPlacement(
        RigidTransform(
            placement.X_WP.parent, placement.X_WP.child, turn @ placement.X_WP.matrix, placement.X_WP.unit
        ),
        placement.table,
    )
    base = RigidTransform(BASE.parent, BASE.child, turn @ BASE.matrix, BASE.unit)
    first = PathReach(arm, placement, BASE, Surroundings(placement, torso)).measure(entries, tips)
    second = PathReach(arm, turned, base, Surroundings(turned, torso)).measure(entries, tips)
    # The table is longer to the feet, so only paths whose arm comes near its ends may differ.
    assert (first.reached == second.reached).mean() > 0.98
    both = first.reached & second.reached
    np.testing.assert_allclose(first.manipulability[both], second.manipulability[both], rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", ["industrial_arm6", "table_guide5"])
def test_other_robots_reach_paths_too(name, placement, around, candidates):
    robot = load_robot(name)
    where = (-0.45, 0.0, -0.2) if robot.mount == "floor" else (-placement.table.half_width_m, 0.0, 0.0)
    reach = PathReach(robot, placement, base_pose(where, 0.0), around)
    table = reach.measure(*candidates)
    assert table.reached.sum() > 20
    assert (table.manipulability[table.reached] > 0).all()
