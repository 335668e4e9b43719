"""Balls of displacements hold every moment of the breath."""

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.excursion import SLACK_MM, SMALLEST_RADIUS_MM, Excursion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BreathingTrace, RecordedMotion
from needleplan.motion.static import StaticMotion


def recorded() -> RecordedMotion:
    times = np.arange(0.0, 19.0, 0.1)
    breath = np.sin(np.pi * times / 3.7) ** 4
    late = np.sin(np.pi * times / 3.7 + 0.5) ** 4
    return RecordedMotion(
        BreathingTrace(times, np.outer(breath, (2.0, -4.0, -11.0)) + np.outer(late, (3.0, 1.0, 0)), "made")
    )


MOTIONS = {"lujan": LujanMotion(13.0, 3.3, 3, 0.4, (0.2, -0.5, -0.8)), "recorded": recorded()}
every_motion = pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS)


def all_balls(excursion: Excursion) -> list[int]:
    found, waiting = [], [0]
    while waiting:
        ball = waiting.pop()
        found.append(ball)
        waiting += excursion.parts(ball)
    return found


@every_motion
def test_no_moment_is_farther_from_its_step_than_the_slack(motion: RespiratoryMotion) -> None:
    excursion = Excursion(motion)
    assert excursion.slack_mm <= SLACK_MM and excursion.span_s == pytest.approx(motion.span_s)
    times = np.linspace(0.0, motion.span_s, 150_001)[:-1]
    step = (times / excursion.step_s).astype(int)
    away = np.linalg.norm(motion.displacement_mm(times) - excursion.displacement_mm[step], axis=1)
    assert 0.5 * excursion.slack_mm < away.max() <= excursion.slack_mm + 1e-9


@every_motion
def test_balls_hold_their_steps_and_the_smallest_are_small(motion: RespiratoryMotion) -> None:
    excursion = Excursion(motion)
    balls = all_balls(excursion)
    leaves = [ball for ball in balls if not excursion.parts(ball)]
    for ball in balls:
        centre, radius = excursion.balls([ball])
        steps = excursion.displacement_mm[excursion.order[excursion.run(ball)]]
        away = np.linalg.norm(steps - centre, axis=1)
        assert away.max() + excursion.slack_mm == pytest.approx(radius[0], abs=1e-12)
        # The centre is a displacement that is reached.
        assert away.min() == 0.0
    held = np.concatenate([excursion.order[excursion.run(ball)] for ball in leaves])
    np.testing.assert_array_equal(np.sort(held), np.arange(len(excursion)))
    assert (excursion.balls(leaves)[1] <= SMALLEST_RADIUS_MM + excursion.slack_mm).all()
    assert len(leaves) > 50


def test_a_way_along_a_line_and_back_is_searched_once() -> None:
    # 20 mm in balls of some hundredths, however often the line is passed: here twice a period.
    leaves = {}
    for period_s in (2.0, 8.0):
        excursion = Excursion(LujanMotion(20.0, period_s, 2))
        leaves[period_s] = sum(1 for ball in all_balls(excursion) if not excursion.parts(ball))
    assert leaves[2.0] == pytest.approx(20.0 / (2 * SMALLEST_RADIUS_MM), rel=0.8)
    assert leaves[8.0] == pytest.approx(leaves[2.0], rel=0.4)


@pytest.mark.parametrize("motion", [StaticMotion(), LujanMotion(0.0)], ids=["static", "no amplitude"])
def test_nothing_moves_without_breathing(motion: RespiratoryMotion) -> None:
    excursion = Excursion(motion)
    centre, radius = excursion.balls([0])
    assert len(excursion) == 1 and excursion.slack_mm == 0.0
    assert not centre.any() and not radius.any() and excursion.parts(0) == ()


class Stated(RespiratoryMotion):
    """Says of itself what a test wants."""

    def __init__(self, speed: float, span: float) -> None:
        self.speed, self.span = speed, span

    name = "stated"
    period_s = 4.0

    @property
    def span_s(self) -> float:
        return self.span

    @property
    def speed_bound_mm_s(self) -> float:
        return self.speed

    def displacement_mm(self, time_s):  # type: ignore[no-untyped-def]
        return np.zeros((*np.shape(time_s), 3))


def test_motions_that_cannot_be_followed_are_refused() -> None:
    for speed, span in ((np.inf, 4.0), (np.nan, 4.0), (-1.0, 4.0), (1.0, 0.0), (1.0, np.inf)):
        with pytest.raises(MotionError, match="finite speed bound"):
            Excursion(Stated(speed, span))
    with pytest.raises(MotionError, match="too fast or too long"):
        Excursion(Stated(1e6, 100.0))
