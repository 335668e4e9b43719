import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.cough import Cough, CoughingMotion, EventKind
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, RecordedMotion
from needleplan.motion.static import StaticMotion
from needleplan.motion.trace import BreathingTrace

LUJAN = LujanMotion(12.0, 4.0, 2, 0.9, (0.3, -0.5, -1.0))
COUGH = Cough(22.0, 0.7, (0.2, -0.1, -1.0))


def test_a_cough_is_added_at_its_time_and_nowhere_else() -> None:
    motion = CoughingMotion(LUJAN, (31.2, 8.5), COUGH, repeat_s=100.0)
    times = np.linspace(0, motion.span_s, 100_001)
    extra = motion.displacement_mm(times) - LUJAN.displacement_mm(times)
    inside = np.zeros(len(times), dtype=bool)
    for event, start in zip(motion.events, (8.5, 31.2), strict=True):
        assert event.kind is EventKind.COUGH and event.start_s == start and event.duration_s == pytest.approx(0.7)
        inside |= (times > start) & (times < start + 0.7)
    assert np.abs(extra[~inside]).max() < 1e-12
    size = np.linalg.norm(extra, axis=1)
    assert size.max() == pytest.approx(22.0, rel=1e-4)
    # The mean of sin^2 is a half.
    assert size.mean() * motion.span_s == pytest.approx(2 * 0.5 * 22.0 * 0.7, rel=1e-3)
    assert motion.span_s >= 100.0 and motion.period_s == 4.0 and "2 coughs" in motion.name


def test_the_speed_of_a_cough_is_known_in_closed_form() -> None:
    motion = CoughingMotion(StaticMotion(), (1.0,), COUGH, repeat_s=0.0)
    times = np.linspace(0, 4, 400_001)
    speed = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1) / times[1]
    assert speed.max() == pytest.approx(np.pi * 22.0 / 0.7, rel=1e-6)
    assert speed.max() <= motion.speed_bound_mm_s * (1 + 1e-9)


def test_a_recording_that_ends_can_cough_within() -> None:
    times = np.arange(0.0, 40.0, 0.1)
    trace = BreathingTrace(times, LUJAN.displacement_mm(times), "made")
    base = RecordedMotion(trace, beyond_end=BeyondEnd.REFUSE)
    motion = CoughingMotion(base, (12.0,), COUGH, repeat_s=0.0)
    assert motion.span_s == pytest.approx(base.span_s)
    extra = motion.displacement_mm(12.35) - base.displacement_mm(12.35)
    assert np.linalg.norm(extra) == pytest.approx(22.0)
    with pytest.raises(MotionError, match="beyond the end"):
        CoughingMotion(base, (39.8,), COUGH, repeat_s=0.0)


def test_impossible_coughs_are_refused() -> None:
    for changes in ({"peak_mm": -1.0}, {"peak_mm": 101.0}, {"duration_s": 0.0}, {"duration_s": float("nan")}):
        with pytest.raises(MotionError):
            Cough(**changes)
    for starts, match in (
        ((), "begins"),
        ((-1.0,), "begins"),
        ((float("nan"),), "begins"),
        ((3.0, 3.5), "overlap"),
    ):
        with pytest.raises(MotionError, match=match):
            CoughingMotion(LUJAN, starts, COUGH)
    with pytest.raises(MotionError, match="come again"):
        CoughingMotion(LUJAN, (1.0,), COUGH, repeat_s=float("nan"))
