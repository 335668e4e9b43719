"""What every breathing model promises."""

import numpy as np
import pytest
from found_implementations import implementations

from needleplan.errors import MotionError
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.cough import BreathingEvent, Cough, CoughingMotion, EventKind
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, RecordedMotion
from needleplan.motion.static import StaticMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.motion.trace import BreathingTrace


def made_trace():
    """Breaths of 3.4 to 4.6 s and 7 to 11 mm along an oblique direction, about an arbitrary origin."""
    lengths = np.array([3.4, 4.6, 4.0, 3.8, 4.4, 3.9, 4.1, 3.6])
    heights = np.array([9.0, 11.0, 7.0, 8.5, 10.0, 9.5, 8.0, 9.0])
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    times = np.arange(0.0, ends[-1], 0.1)
    breath = np.minimum(np.searchsorted(ends, times, side="right") - 1, len(lengths) - 1)
    share = (times - ends[breath]) / lengths[breath]
    size = heights[breath] * np.sin(np.pi * share) ** 4
    return BreathingTrace(times, [40.0, -7.0, 300.0] + size[:, None] * [0.1, -0.4, -0.9], "made")


HELD_OUT, HELD_IN = BreathingEvent(EventKind.APNOEA, 20.0, 25.0), BreathingEvent(EventKind.INHALE_HOLD, 50.0, 52.0)

#: For each class its instances, the time over which each is asked, and how near it must come to end-exhale.
MOTIONS = {
    "lujan n=1": (LujanMotion(12.0, 3.7, 1, 0.3), 40.0, 1e-3),
    "lujan n=2": (LujanMotion(20.0, 5.1, 2), 40.0, 1e-3),
    "lujan n=3": (LujanMotion(8.0, 4.0, 3, 2.9, (0.3, -0.8, -1.0)), 40.0, 1e-3),
    "lujan without amplitude": (LujanMotion(0.0), 40.0, 1e-12),
    "static": (StaticMotion(), 40.0, 1e-12),
    "recorded, looped": (RecordedMotion(made_trace()), 90.0, 0.2),
    "recorded, started late": (RecordedMotion(made_trace(), start_s=11.3), 90.0, 0.2),
    "recorded, once": (RecordedMotion(made_trace(), beyond_end=BeyondEnd.REFUSE), 30.0, 0.2),
    "hysteresis, an ellipse": (HystereticMotion(LujanMotion(12.0, 3.7, 1, 0.3), 40.0), 40.0, 0.01),
    "hysteresis, inhaling first across": (
        HystereticMotion(LujanMotion(14.0, 4.4, 3, 1.9, (0.2, -0.6, -1.0)), -25.0, (0.1, 0.2, -1.0)), 40.0, 1e-3,
    ),
    "irregular": (IrregularMotion(LujanMotion(9.0, 4.0, 2, 0.7), Irregularity(0.1, 0.15, 0.5), 3, 60.0), 70.0, 1.6),
    "irregular with everything": (
        IrregularMotion(
            HystereticMotion(LujanMotion(8.0, 4.2, 2)),
            Irregularity(0.1, 0.1, 0.4, 20.0, (0.1, 0.5, -1.0), 2.0, Cough(12.0, 0.7), 1.5, 3.0),
            5, 80.0, (HELD_OUT, HELD_IN),
        ), 110.0, 1.5,
    ),
    "coughing": (CoughingMotion(LujanMotion(10.0, 4.0, 2), (7.3, 12.0), Cough(15.0), repeat_s=30.0), 40.0, 1e-3),
    "driven by the skin": (
        SurrogateMotion(LujanMotion(8.0, 4.0, 2, 0.5, (0.0, -1.0, 0.0)), (0.1, -0.3, -1.2), (0.0, -0.1, 0.02)),
        40.0, 0.02,
    ),
    "driven by a recorded skin, late and noisy": (
        SurrogateMotion(
            RecordedMotion(made_trace()), (0.0, -0.4, -2.0), shift_deg=57.0, latency_s=0.1, noise_mm=0.3, seed=4
        ), 90.0, 1.5,
    ),
}  # fmt: skip
every_motion = pytest.mark.parametrize(("motion", "span_s", "rest_mm"), MOTIONS.values(), ids=MOTIONS)
#: No made motion moves faster: 20 mm at n = 2 in 5.1 s turn at 16 mm/s, 11 mm at n = 2 in 4.6 s at 10 mm/s.
FASTEST_MM_S = 25.0
#: A cough of 12 mm in 0.7 s or of 15 mm in 0.8 s adds 59 mm/s.
FASTEST_COUGHING_MM_S = FASTEST_MM_S + 59.0


def _coughs(motion):
    return [event for event in getattr(motion, "events", ()) if event.kind is EventKind.COUGH]


def test_every_motion_of_the_packages_is_held_to_its_contract():
    assert {type(motion) for motion, _, _ in MOTIONS.values()} == implementations(RespiratoryMotion)


@every_motion
def test_shapes_follow_the_times(motion, span_s, rest_mm):
    times = np.random.default_rng(0).uniform(0, span_s, (3, 4, 5))
    whole = motion.displacement_mm(times)
    assert whole.shape == (3, 4, 5, 3) and whole.dtype == np.float64
    for index in np.ndindex(3, 4, 5):
        single = motion.displacement_mm(float(times[index]))
        assert single.shape == (3,)
        np.testing.assert_allclose(single, whole[index], rtol=0, atol=1e-12)
    np.testing.assert_allclose(motion.displacement_mm(times[0, 0].tolist()), whole[0, 0], rtol=0, atol=1e-12)
    assert motion.displacement_mm(np.empty((0, 2))).shape == (0, 2, 3)
    assert motion.displacement_mm([1]).shape == (1, 3) and motion.displacement_mm(2).shape == (3,)


@every_motion
def test_the_order_of_the_times_does_not_matter(motion, span_s, rest_mm):
    times = np.linspace(0, span_s, 400)
    order = np.random.default_rng(1).permutation(400)
    first = motion.displacement_mm(times)
    np.testing.assert_allclose(motion.displacement_mm(times[order]), first[order], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(motion.displacement_mm(times), first)


@every_motion
def test_end_exhale_is_zero_and_is_reached(motion, span_s, rest_mm):
    size = np.linalg.norm(motion.displacement_mm(np.linspace(0, span_s, 20_001)), axis=1)
    assert np.isfinite(size).all() and size.min() <= rest_mm
    # In every breath, not only once.
    # An irregular breath may be half as long again, and be held.
    longest = 2.5 if isinstance(motion, IrregularMotion) else 1.35
    step = round(20_001 * longest * motion.period_s / span_s)
    assert all(size[k : k + step].min() <= rest_mm for k in range(0, len(size) - step, step // 3))


@every_motion
def test_inhalation_leads_to_inferior(motion, span_s, rest_mm):
    moved = motion.displacement_mm(np.linspace(0, span_s, 4001))
    assert moved[:, 2].max() <= rest_mm + 1e-12
    far = moved[np.linalg.norm(moved, axis=1).argmax()]
    assert far[2] < 0 or not moved.any()


@every_motion
def test_it_never_jumps(motion, span_s, rest_mm):
    # Also where a trace begins again: bisection towards the largest step would find a jump at any scale.
    low, high = 0.0, span_s
    fastest = FASTEST_COUGHING_MM_S if _coughs(motion) else FASTEST_MM_S
    for _ in range(5):
        times = np.linspace(low, high, 20_001)
        steps = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1)
        worst = int(steps.argmax())
        assert steps[worst] <= fastest * (times[1] - times[0]) + 1e-9
        low, high = times[max(0, worst - 100)], times[min(20_000, worst + 100)]


@every_motion
def test_period_amplitude_and_name(motion, span_s, rest_mm):
    assert np.isfinite(motion.period_s) and motion.period_s > 0
    assert motion.name and motion.name == motion.name and "\n" not in motion.name
    times = np.arange(0.0, 20.0, 0.02)
    farthest = np.linalg.norm(motion.displacement_mm(times), axis=1).max()
    assert motion.amplitude_mm(20.0) == pytest.approx(farthest, abs=1e-9) and farthest < 30.0
    assert motion.amplitude_mm(10.0) <= motion.amplitude_mm(20.0)


@every_motion
def test_the_period_is_the_time_between_two_breaths(motion, span_s, rest_mm):
    size = np.linalg.norm(motion.displacement_mm(np.linspace(0, span_s, 20_001)), axis=1)
    if size.max() == 0.0:
        return
    # Half of a common breath: a cough may be deeper than all of them, and count as one.
    half = 0.5 * min(size.max(), np.percentile(size, 95))
    rising = np.count_nonzero((size[:-1] < half) & (size[1:] >= half))
    assert span_s / motion.period_s == pytest.approx(rising, abs=2.0 + 2.0 * len(_coughs(motion)))


@every_motion
def test_no_speed_exceeds_the_bound_and_the_bound_is_near(motion, span_s, rest_mm):
    times = np.linspace(0, span_s, 100_001)
    speed = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1) / (times[1] - times[0])
    assert speed.max() <= motion.speed_bound_mm_s * (1 + 1e-9) + 1e-9
    assert speed.max() >= 0.5 * motion.speed_bound_mm_s


@every_motion
def test_the_span_shows_all_of_the_motion(motion, span_s, rest_mm):
    assert 0 < motion.span_s < np.inf
    if isinstance(motion, RecordedMotion) and motion.name.endswith("refuse)"):
        assert motion.displacement_mm(motion.span_s).shape == (3,)
        with pytest.raises(MotionError, match="beyond the end"):
            motion.displacement_mm(motion.span_s + 1e-3)
        return
    times = np.linspace(0, 3 * motion.span_s, 3001)
    again = motion.displacement_mm(times + motion.span_s)
    np.testing.assert_allclose(again, motion.displacement_mm(times), rtol=0, atol=1e-6)


def test_a_recording_that_starts_after_its_end_has_no_span():
    late = RecordedMotion(made_trace(), beyond_end=BeyondEnd.REFUSE, start_s=500.0)
    with pytest.raises(MotionError, match="nothing is left"):
        _ = late.span_s


def test_equal_motions_are_equal_and_different_phases_are_not():
    times = np.linspace(0, 20, 500)
    lujan = LujanMotion(9.0, 4.2, 3, 1.1)
    for make in (
        lambda: LujanMotion(9.0, 4.2, 3, 1.1), StaticMotion, lambda: RecordedMotion(made_trace()),
        lambda: HystereticMotion(lujan), lambda: IrregularMotion(lujan, Irregularity(coughs_per_min=3.0), 7),
        lambda: SurrogateMotion(lujan, (0.0, 0.0, -2.0), noise_mm=1.0, seed=7),
    ):  # fmt: skip
        np.testing.assert_array_equal(make().displacement_mm(times), make().displacement_mm(times))
    late = RecordedMotion(made_trace(), start_s=11.3).displacement_mm(times)
    np.testing.assert_allclose(late, RecordedMotion(made_trace()).displacement_mm(times + 11.3), atol=1e-9)
