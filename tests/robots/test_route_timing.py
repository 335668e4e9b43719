import numpy as np
import pytest

from needleplan.errors import OptionError
from robots.timed_paths import RoundedLine, _curve_limits, along, through
from robots.timing import (
    MotionLimits,
    PlaceState,
    TimedPath,
    advance,
    least_time_s,
    place_law,
)

LIMITS = MotionLimits(np.array([1.0, 0.5, 2.0]), np.array([2.0, 3.0, 1.0]), np.array([20.0, 24.0, 9.0]))
STOPS = np.array([[0.1, -0.4, 0.3], [0.8, 0.5, -0.6], [-0.3, 0.9, 0.7], [0.2, -0.2, 1.4]])


def used(path, limits):
    """Greatest shares of the three limits, by finite differences of the exact motion between its samples too."""
    time = np.linspace(0.0, path.duration_s, 8001)
    position, *derivatives = path.at(time)
    step, shares = time[1], []
    bounds = (limits.speed, limits.acceleration, limits.jerk)
    for order, (stated, bound) in enumerate(zip(derivatives, bounds, strict=True), start=1):
        difference = np.diff(position, order, axis=0) / step**order
        shares.append(np.abs(difference / bound).max())
        # Samples are no closer than 0.05 ms, so that a jump of the jerk may lie that far beside one.
        assert (np.abs(stated) <= bound * (1 + (2e-2 if order == 3 else 1e-5))).all()
    return np.array(shares)


def minimum_time(length, speed, acceleration, jerk):
    """Rest to rest in the fewest of seven pieces, case by case."""
    if length >= speed * (speed / acceleration + acceleration / jerk) and speed >= acceleration**2 / jerk:
        return length / speed + speed / acceleration + acceleration / jerk
    if speed < acceleration**2 / jerk and length >= 2 * speed * np.sqrt(speed / jerk):
        return length / speed + 2 * np.sqrt(speed / jerk)
    if length < 2 * acceleration**3 / jerk**2:
        return 4 * np.cbrt(length / (2 * jerk))
    return acceleration / jerk + np.sqrt((acceleration / jerk) ** 2 + 4 * length / acceleration)


@pytest.mark.parametrize(
    ("length", "speed", "acceleration", "jerk", "by_hand"),
    [
        (1.0, 1.0, 2.0, 10.0, 1.7),  # all seven pieces: 1/1 + 1/2 + 2/10
        (0.3, 0.1, 2.0, 10.0, 3.2),  # the greatest acceleration is not reached: 3 + 2 √(0.01)
        (0.016, 9.0, 9.0, 1.0, 0.8),  # neither is: 4 ∛(0.016/2)
        (0.5, 9.0, 1.0, 4.0, None),  # the greatest speed is not reached
        (0.2, 0.05, 0.2, 2.0, 4.35),  # a needle driver
    ],
)
def test_a_move_of_one_joint_takes_the_least_time_of_seven_pieces(length, speed, acceleration, jerk, by_hand):
    limits = MotionLimits(speed, acceleration, jerk)
    path = advance(0.3, 0.3 + length, limits, 0.01)
    expected = minimum_time(length, speed, acceleration, jerk)
    assert path.duration_s == pytest.approx(expected, rel=1e-9)
    assert least_time_s(length, speed, acceleration, jerk) == pytest.approx(expected, rel=1e-9)
    if by_hand is not None:
        assert expected == pytest.approx(by_hand, rel=1e-12)
    back = advance(0.3 + length, 0.3, limits, 0.01)
    np.testing.assert_allclose(back.at(back.time_s)[0], 0.6 + length - path.at(back.time_s)[0], atol=1e-9)
    # The acceleration of a time-optimal law is anywhere at a limit, or its jerk or speed is.
    time = path.duration_s * (np.arange(400) + 0.5) / 400
    _, v, a, j = (np.abs(values[:, 0]) for values in path.at(time))
    assert (np.maximum.reduce([v / speed, a / acceleration, j / jerk]) > 1 - 1e-6).all()


@pytest.mark.parametrize("rounding", [0.0, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_all_limits_hold_at_every_moment_and_one_is_used(rounding, scale):
    path = through(scale * STOPS, LIMITS, 0.02, rounding)
    shares = used(path, LIMITS)
    assert (shares <= [1 + 1e-5, 1 + 1e-5, 1.01]).all() and shares.max() > 0.999
    assert (np.diff(path.time_s) > 0).all() and np.diff(path.time_s).max() <= 0.02 + 1e-12
    np.testing.assert_allclose(path.positions[[0, -1]], scale * STOPS[[0, -1]], atol=1e-12)
    np.testing.assert_allclose(path.velocities[[0, -1]], 0.0, atol=1e-9)


def in_phase(start, end, limits):
    """Ruckig's own move of all joints, asked to keep them in phase."""
    from ruckig import InputParameter, Ruckig, Synchronization, Trajectory

    wanted, found = InputParameter(3), Trajectory(3)
    wanted.current_position, wanted.target_position = start, end
    wanted.max_velocity, wanted.max_acceleration, wanted.max_jerk = limits.speed, limits.acceleration, limits.jerk
    wanted.synchronization = Synchronization.Phase
    Ruckig(3).calculate(wanted, found)
    return found


def off_line(positions, start, way):
    share = (positions - start) @ way / (way @ way)
    assert (np.diff(share) >= -1e-12).all()
    return np.linalg.norm(positions - start - share[:, None] * way, axis=1).max()


def test_a_line_is_straight_and_as_quick_as_ruckig_moves_joints_in_phase():
    way = STOPS[1] - STOPS[0]
    # Where one joint sets all three limits, ruckig keeps all of them in phase and both ways are the same.
    one = MotionLimits(LIMITS.speed, 2.0 * LIMITS.speed, 20.0 * LIMITS.speed)
    path, found = through(STOPS[:2], one, 0.01), in_phase(STOPS[0], STOPS[1], one)
    assert path.duration_s == pytest.approx(found.duration, rel=1e-9)
    time = np.linspace(0.0, path.duration_s, 500)
    np.testing.assert_allclose(path.at(time)[0], [found.at_time(moment)[0] for moment in time], atol=1e-9)
    # Where different joints set them, ruckig's phases come apart and its move leaves the line; ours does not.
    path, found = through(STOPS[:2], LIMITS, 0.01), in_phase(STOPS[0], STOPS[1], LIMITS)
    time = np.linspace(0.0, path.duration_s, 500)
    assert off_line(np.array([found.at_time(moment)[0] for moment in time]), STOPS[0], way) > 0.01
    assert off_line(path.at(time)[0], STOPS[0], way) < 1e-12
    alone = [
        minimum_time(*numbers)
        for numbers in zip(np.abs(way), LIMITS.speed, LIMITS.acceleration, LIMITS.jerk, strict=True)
    ]
    assert path.duration_s >= max(alone) - 1e-9


@pytest.mark.parametrize("move", [through, along])
def test_less_of_any_limit_is_never_quicker(move):
    reference = move(STOPS, LIMITS, 0.02).duration_s
    assert move(STOPS, LIMITS.scaled(0.5), 0.02).duration_s > reference
    for name in ("speed", "acceleration", "jerk"):
        halved = {
            key: getattr(LIMITS, key) * (0.5 if key == name else 1.0) for key in ("speed", "acceleration", "jerk")
        }
        assert move(STOPS, MotionLimits(**halved), 0.02).duration_s >= reference * (1 - 1e-3)
    # In units of time twice as long all derivatives are that much greater.
    slower = MotionLimits(LIMITS.speed / 2, LIMITS.acceleration / 4, LIMITS.jerk / 8)
    assert move(STOPS, slower, 0.02).duration_s == pytest.approx(2 * reference, rel=1e-6)


@pytest.mark.parametrize("rounding", [0.0, 0.7])
def test_time_reversal_gives_the_reversed_motion(rounding):
    forth, back = through(STOPS, LIMITS, 0.02, rounding), through(STOPS[::-1], LIMITS, 0.02, rounding)
    assert back.duration_s == pytest.approx(forth.duration_s, rel=1e-3)
    mirrored = forth.reversed()
    time = np.linspace(0.0, forth.duration_s, 300)
    there = forth.at(forth.duration_s - time)
    for order, sign in enumerate((1, -1, 1)):  # the jerk jumps where pieces meet
        np.testing.assert_allclose(mirrored.at(time)[order], sign * there[order], atol=1e-6)


def test_rounded_corners_are_quicker_and_stay_in_their_triangles():
    stopping, passing = through(STOPS, LIMITS, 0.01), through(STOPS, LIMITS, 0.01, 0.9)
    assert passing.duration_s < 0.95 * stopping.duration_s
    line = RoundedLine.over(STOPS, LIMITS.speed, 0.9)
    points = line.points(np.full(3, 0.01))
    assert np.abs(np.diff(points, axis=0)).max() <= 0.01 + 1e-9
    np.testing.assert_allclose(points[[0, -1]], STOPS[[0, -1]], atol=1e-12)
    for stop in (1, 2):
        length = line.corners[stop]
        before = STOPS[stop] - 0.5 * length * line.directions[stop - 1]
        after = STOPS[stop] + 0.5 * length * line.directions[stop]
        corner, direction, curvature = line.corner(stop, np.linspace(0.0, length, 101))
        np.testing.assert_allclose(corner[[0, -1]], [before, after], atol=1e-12)
        np.testing.assert_allclose(direction[[0, -1]], line.directions[stop - 1 : stop + 1], atol=1e-12)
        np.testing.assert_allclose(curvature[[0, -1]], 0.0, atol=1e-12)
        # Barycentric coordinates in the triangle of the stop and the two points on the legs.
        shares, *_ = np.linalg.lstsq(
            np.stack([before - STOPS[stop], after - STOPS[stop]], axis=1), (corner - STOPS[stop]).T
        )
        assert shares.min() > -1e-9 and shares.sum(axis=0).max() < 1 + 1e-9
        step = length / 100
        np.testing.assert_allclose(
            np.diff(corner, axis=0) / step, 0.5 * (direction[1:] + direction[:-1]), atol=1e-3
        )
    assert RoundedLine.over(STOPS, LIMITS.speed, 0.0).legs() == pytest.approx(line.lengths)


@pytest.mark.parametrize("seed", range(6))
def test_a_curve_keeps_all_limits_and_passes_its_knots(seed):
    rng = np.random.default_rng(seed)
    u = np.linspace(0.0, 1.0, 25)[:, None]
    knots = np.cumsum(rng.normal(size=(4, 3)) * [[0.5], [1.0], [0.6], [0.4]], axis=0)
    knots = knots[0] + knots[1] * u + knots[2] * u**2 + knots[3] * np.sin(2 * u)
    path = along(knots, LIMITS, 0.004)
    assert (used(path, LIMITS) <= 1 + 2e-3).all()
    time = np.linspace(0.0, path.duration_s, 20001)
    nearest = np.linalg.norm(path.at(time)[0][:, None] - knots[::6], axis=2).min(axis=0)
    assert nearest.max() < 1e-3
    np.testing.assert_allclose(path.positions[[0, -1]], knots[[0, -1]], atol=1e-12)


@pytest.mark.parametrize("bend", [0.0, 8.0])
@pytest.mark.parametrize("twist", [0.0, 150.0])
def test_the_limits_along_a_curve_keep_those_of_the_joints_on_every_piece(bend, twist):
    # Two pieces and two joints: greatest first, second and third derivatives.
    first, second = np.array([[1.0, 0.3], [0.8, 0.5]]), bend * np.array([[0.2, 1.0], [0.6, 0.1]])
    third = twist * np.array([[0.1, 1.0], [0.4, 0.2]])
    limits = MotionLimits([1.0, 0.9], [2.0, 3.0], [10.0, 12.0])
    v, a, j = _curve_limits(first, second, third, limits)
    assert min(v, a, j) > 0
    shares = [
        (first * v / limits.speed).max(),
        ((second * v**2 + first * a) / limits.acceleration).max(),
        ((third * v**3 + 3 * second * v * a + first * j) / limits.jerk).max(),
    ]
    assert max(shares) <= 1 + 1e-9 and shares[2] > 1 - 1e-9


def test_a_straight_curve_is_nearly_as_quick_as_a_line():
    knots = STOPS[0] + np.linspace(0.0, 1.0, 12)[:, None] * (STOPS[1] - STOPS[0])
    line = through(STOPS[:2], LIMITS, 0.02).duration_s
    assert line * (1 - 1e-9) <= along(knots, LIMITS, 0.02).duration_s <= 1.01 * line


def test_curves_against_toppra_which_knows_no_jerk():
    """Without a limit of jerk toppra's answer is the least time along the same curve: ours is never below it."""
    pytest.importorskip("toppra")
    u = np.linspace(0.0, 1.0, 25)[:, None]
    ratios, jerkless = [], []
    for seed in range(4):
        a, b, c = np.random.default_rng(seed).normal(size=(3, 3))
        knots = a + 0.3 * b * u + 0.06 * c * u**2  # bent like an axis that an arm follows
        least = toppra_time(knots, LIMITS)
        ratios.append(along(knots, LIMITS, 0.02).duration_s / least)
        free = MotionLimits(LIMITS.speed, LIMITS.acceleration, 1e4 * LIMITS.jerk)
        jerkless.append(along(knots, free, 0.02).duration_s / least)
    # One bound for the whole curve costs what its bends differ; the jerk costs the rest.
    assert 0.99 < min(jerkless) and max(jerkless) < 1.5
    assert 1.0 < min(ratios) and max(ratios) < 1.7


def toppra_time(knots, limits):
    import logging

    import toppra
    from toppra import algorithm, constraint

    logging.getLogger("toppra").setLevel(logging.ERROR)
    path = toppra.SplineInterpolator(np.linspace(0.0, 1.0, len(knots)), knots, bc_type="not-a-knot")
    bounds = [
        constraint.JointVelocityConstraint(np.column_stack([-limits.speed, limits.speed])),
        constraint.JointAccelerationConstraint(np.column_stack([-limits.acceleration, limits.acceleration])),
    ]
    return algorithm.TOPPRA(bounds, path, gridpoints=np.linspace(0.0, 1.0, 401)).compute_trajectory().duration


@pytest.mark.parametrize("acceleration", [-1.5, 0.0, 1.9])
@pytest.mark.parametrize("speed", [-0.9, 0.4])
def test_a_move_can_begin_in_motion(speed, acceleration):
    limits = MotionLimits(1.0, 2.0, 10.0)
    path = advance(0.2, 0.0, limits, 0.01, speed, acceleration)
    position, velocity, push, _ = path.at(0.0)
    assert (position[0, 0], velocity[0, 0], push[0, 0]) == pytest.approx((0.2, speed, acceleration), abs=1e-9)
    assert path.positions[-1, 0] == pytest.approx(0.0, abs=1e-9)
    inner = used(path, MotionLimits(1.2, 2.0, 10.0))  # a speed near its limit may pass it while it still rises
    assert (inner <= 1 + 1e-4).all()


def test_paths_join_only_where_and_as_one_ends():
    first = through(STOPS[:2], LIMITS, 0.01)
    both = first.then(first.reversed())
    assert both.duration_s == pytest.approx(2 * first.duration_s)
    np.testing.assert_allclose(both.positions, both.reversed().positions, atol=1e-12)
    with pytest.raises(OptionError, match="place in which"):
        first.then(first)
    law = place_law(PlaceState(0.0), PlaceState(1.0, 0.5), 1.0, 1.0, 1.0, 0.01)
    moving = TimedPath(law.time_s, law.place[:, None], law.speed[:, None], law.acceleration[:, None])
    with pytest.raises(OptionError, match="speed in which"):
        moving.then(advance(1.0, 2.0, MotionLimits(1.0, 1.0, 1.0), 0.01))
    with pytest.raises(ValueError, match="read-only"):
        first.positions[0] = 3.0


def test_between_samples_a_motion_of_constant_jerk_is_met_exactly():
    path = advance(0.0, 0.7, MotionLimits(1.0, 2.0, 10.0), 5.0)  # samples only where the jerk changes
    assert len(path.time_s) <= 8
    fine = advance(0.0, 0.7, MotionLimits(1.0, 2.0, 10.0), 0.003)
    for coarse, exact in zip(
        path.at(fine.time_s)[:3], (fine.positions, fine.velocities, fine.accelerations), strict=True
    ):
        np.testing.assert_allclose(coarse, exact, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: MotionLimits([1.0, 0.0], [1.0, 1.0], [1.0, 1.0]), "speed"),
        (lambda: MotionLimits([1.0, 1.0], [1.0], [1.0, 1.0]), "acceleration"),
        (lambda: MotionLimits([1.0], [1.0], [np.inf]), "jerk"),
        (lambda: place_law(PlaceState(0.0), PlaceState(1.0), 1.0, 1.0, 0.0, 0.1), "above zero"),
        (lambda: place_law(PlaceState(0.0), PlaceState(1.0, 3.0), 1.0, 1.0, 1.0, 0.1), "no move leads"),
        (lambda: through([[0.0, 1.0, 2.0]], LIMITS, 0.01), "two different stops"),
        (lambda: through([STOPS[0], STOPS[0]], LIMITS, 0.01), "two different stops"),
        (lambda: through(np.full((2, 3), np.nan), LIMITS, 0.01), "finite"),
        (lambda: through(STOPS, LIMITS, 0.01, 1.5), "rounding"),
        (lambda: along(STOPS[:3], LIMITS, 0.01), "four knots"),
        (lambda: along(STOPS[[0, 1, 1, 2, 3]], LIMITS, 0.01), "differ"),
    ],
)
def test_what_cannot_be_moved_is_refused(call, match):
    with pytest.raises(OptionError, match=match):
        call()
