import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.cough import BreathingEvent, Cough, EventKind
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion

LUJAN = LujanMotion(12.0, 4.0, 2, 0.9, (0.3, -0.5, -1.0))


def _only(**changes: object) -> Irregularity:
    still: dict[str, object] = {"amplitude_variation": 0.0, "period_variation": 0.0, "drift_mm": 0.0}
    return Irregularity(**{**still, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", [0.0, 0.9, np.pi / 2, 4.0, -2.3])
@pytest.mark.parametrize("lag", [None, 35.0])
def test_without_variation_it_is_the_regular_model(phase: float, lag: float | None) -> None:
    base = LujanMotion(12.0, 4.0, 3, phase, (0.3, -0.5, -1.0))
    regular = base if lag is None else HystereticMotion(base, lag)
    motion = IrregularMotion(regular, Irregularity.none(), 5, 60.0)
    times = np.linspace(0, 200, 5001)
    np.testing.assert_allclose(motion.displacement_mm(times), regular.displacement_mm(times), rtol=0, atol=1e-10)
    assert motion.events == () and motion.period_s == pytest.approx(4.0, abs=1e-12)
    assert motion.speed_bound_mm_s == pytest.approx(regular.speed_bound_mm_s, rel=1e-9)


def test_the_seed_alone_decides() -> None:
    law, times = Irregularity(coughs_per_min=2.0, apnoeas_per_min=1.0), np.linspace(0, 300, 3001)
    one, same, other = (IrregularMotion(LUJAN, law, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.displacement_mm(times), same.displacement_mm(times))
    assert one.events == same.events and one.name == same.name
    assert np.abs(one.displacement_mm(times) - other.displacement_mm(times)).max() > 3.0
    # Coughs have a stream of their own: they add to the breaths and change none.
    plain = IrregularMotion(LUJAN, Irregularity(apnoeas_per_min=1.0), 3)
    starts = [event for event in one.events if event.kind is EventKind.COUGH]
    quiet = np.ones(len(times), dtype=bool)
    for event in starts:
        quiet &= (times % one.span_s < event.start_s - 1e-9) | (times % one.span_s > event.end_s + 1e-9)
    assert starts and 0 < quiet.sum() < len(times)
    np.testing.assert_array_equal(one.displacement_mm(times)[quiet], plain.displacement_mm(times)[quiet])


def test_periods_and_amplitudes_have_the_stated_mean_and_spread() -> None:
    motion = IrregularMotion(LUJAN, _only(amplitude_variation=0.25, period_variation=0.15, memory=0.0), 11, 3600.0)
    periods = motion.periods_s
    assert len(periods) > 800 and periods.min() > 0
    # Three standard errors: of a mean s/sqrt(n), of a spread about s/sqrt(2n), a little more for lognormal tails.
    n = len(periods)
    assert periods.mean() == pytest.approx(4.0, abs=3 * 0.6 / np.sqrt(n))
    assert periods.std() == pytest.approx(0.6, rel=4 / np.sqrt(2 * n))
    logs = np.log(periods)
    skew = np.mean(((logs - logs.mean()) / logs.std()) ** 3)
    assert abs(skew) < 3 * np.sqrt(6 / n)  # lognormal
    ends = np.cumsum(periods)[:-1] - motion.periods_s[0] * _first_share()
    heights = np.linalg.norm(motion.displacement_mm(ends + 0.5 * periods[1:]), axis=1)
    assert heights.mean() == pytest.approx(12.0, abs=3 * 3.0 / np.sqrt(n))
    assert heights.std() == pytest.approx(3.0, rel=4 / np.sqrt(2 * n))
    assert abs(np.corrcoef(heights, periods[1:])[0, 1]) < 3 / np.sqrt(n)
    np.testing.assert_allclose(motion.displacement_mm(ends), 0.0, atol=1e-9)


def test_wide_variation_does_not_shift_the_mean() -> None:
    law = _only(period_variation=0.5, memory=0.0)
    periods = np.concatenate([IrregularMotion(LUJAN, law, seed, 3600.0).periods_s for seed in range(20)])
    # Each draw ends with the first breath beyond its duration, which is a long one: by less than a breath in 900.
    assert periods.mean() == pytest.approx(4.0, abs=3 * 2.0 / np.sqrt(len(periods)))
    assert periods.std() == pytest.approx(2.0, rel=0.06)


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.8])
def test_neighbouring_breaths_are_as_alike_as_stated(memory: float) -> None:
    logs = np.log(IrregularMotion(LUJAN, _only(period_variation=0.2, memory=memory), 21, 3600.0).periods_s)
    for lag in (1, 2, 3):
        found = np.corrcoef(logs[lag:], logs[:-lag])[0, 1]
        assert found == pytest.approx(memory**lag, abs=4 / np.sqrt(len(logs)))
    wider = np.sqrt((1 + memory) / (1 - memory))
    assert np.exp(logs).mean() == pytest.approx(4.0, abs=3 * wider * 0.8 / np.sqrt(len(logs)))


def _first_share() -> float:
    return float(np.mod(-(0.9 / np.pi + 0.5), 1.0))


def test_the_baseline_drifts_as_stated_and_comes_back() -> None:
    law = _only(drift_mm=2.0, drift_time_s=50.0, drift_direction=(0.0, 1.0, -1.0))
    base = LujanMotion(0.0, 4.0)  # at end-exhale at time zero, and nothing but the baseline moves
    motions = [IrregularMotion(base, law, seed, 600.0) for seed in range(400)]
    direction = np.array([0.0, 1.0, -1.0]) / np.sqrt(2)
    for time in (8.0, 40.0, 300.0):
        at = np.array([motion.displacement_mm(time) @ direction for motion in motions])
        expected = 2.0 * np.sqrt(1.0 - np.exp(-2.0 * time / 50.0))
        assert at.std() == pytest.approx(expected, rel=3 / np.sqrt(800))
        assert at.mean() == pytest.approx(0.0, abs=3 * expected / np.sqrt(400))
    both = np.array([motion.displacement_mm([300.0, 340.0]) @ direction for motion in motions])
    assert np.corrcoef(both.T)[0, 1] == pytest.approx(np.exp(-40.0 / 50.0), abs=3 / np.sqrt(400))
    for motion in motions[:5]:
        assert np.linalg.norm(motion.displacement_mm([0.0, motion.span_s - 1e-9]), axis=1).max() < 1e-6


def test_coughs_come_at_random_and_each_is_short_quick_and_large() -> None:
    cough = Cough(25.0, 0.6, (0.1, 0.0, -1.0))
    law = _only(coughs_per_min=3.0, cough=cough)
    motion = IrregularMotion(LUJAN, law, 2, 3600.0)
    events = motion.events
    starts, ends = (np.array([getattr(event, edge) for event in events]) for edge in ("start_s", "end_s"))
    gaps = starts[1:] - ends[:-1]
    # Exponential with mean 20 s: mean and spread alike, and exp(-1) of them longer than the mean.
    assert gaps.mean() == pytest.approx(20.0, rel=3 / np.sqrt(len(gaps)))
    assert gaps.std() == pytest.approx(20.0, rel=6 / np.sqrt(len(gaps)))
    assert np.mean(gaps > 20.0) == pytest.approx(np.exp(-1.0), abs=3 * 0.48 / np.sqrt(len(gaps)))
    for event in events[:20]:
        middle, regular = 0.5 * (event.start_s + event.end_s), LUJAN
        extra = motion.displacement_mm(middle) - regular.displacement_mm(middle)
        assert extra == pytest.approx(25.0 * np.asarray(cough.direction), abs=1e-6)
        edges = np.array([event.start_s, event.end_s])
        np.testing.assert_allclose(motion.displacement_mm(edges), regular.displacement_mm(edges), atol=1e-6)
    assert motion.speed_bound_mm_s >= np.pi * 25.0 / 0.6


def test_apnoeas_rest_at_end_exhale_and_come_as_often_as_stated() -> None:
    law = _only(apnoeas_per_min=1.5, apnoea_s=7.0)
    motion = IrregularMotion(LUJAN, law, 8, 3600.0)
    breaths, share = len(motion.periods_s), 1.5 * 4.0 / 60.0
    assert len(motion.events) == pytest.approx(breaths * share, abs=3 * np.sqrt(breaths * share * (1 - share)))
    for event in motion.events:
        assert event.kind is EventKind.APNOEA and event.duration_s == pytest.approx(7.0)
        np.testing.assert_allclose(
            motion.displacement_mm(np.linspace(event.start_s, event.end_s, 50)), 0.0, atol=1e-9
        )
    assert motion.period_s == pytest.approx((breaths * 4.0 + 7.0 * len(motion.events)) / breaths)


def test_holds_that_are_asked_for_begin_with_the_next_breath() -> None:
    asked = (
        BreathingEvent(EventKind.INHALE_HOLD, 70.0, 85.0),
        BreathingEvent(EventKind.APNOEA, 21.0, 33.0),
    )
    motion = IrregularMotion(LUJAN, Irregularity.none(), 0, 120.0, asked)
    out, full = motion.events
    assert (out.kind, full.kind) == (EventKind.APNOEA, EventKind.INHALE_HOLD)
    assert 21.0 <= out.start_s < 25.0 and out.duration_s == pytest.approx(12.0)
    assert 70.0 <= full.start_s < 74.0 and full.duration_s == pytest.approx(15.0)
    np.testing.assert_allclose(motion.displacement_mm(np.linspace(out.start_s, out.end_s, 9)), 0.0, atol=1e-9)
    held = motion.displacement_mm(np.linspace(full.start_s, full.end_s, 9))
    np.testing.assert_allclose(np.linalg.norm(held, axis=1), 12.0, atol=1e-9)
    with pytest.raises(MotionError, match="draw for longer"):
        IrregularMotion(LUJAN, Irregularity.none(), 0, 20.0, asked)


@pytest.mark.parametrize("seed", range(6))
def test_position_is_continuous_and_no_speed_exceeds_the_bound(seed: int) -> None:
    law = Irregularity(0.4, 0.4, 3.0, 15.0, coughs_per_min=4.0, apnoeas_per_min=2.0)
    base = HystereticMotion(LUJAN, 50.0)
    motion = IrregularMotion(base, law, seed, 60.0, (BreathingEvent(EventKind.INHALE_HOLD, 12.0, 15.0),))
    times = np.linspace(0, 2.1 * motion.span_s, 1_000_001)
    speed = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1) / times[1]
    assert 0.5 * motion.speed_bound_mm_s < speed.max() <= motion.speed_bound_mm_s * (1 + 1e-6)


def test_impossible_irregularity_is_refused() -> None:
    for changes in (
        {"amplitude_variation": 0.7}, {"period_variation": -0.1}, {"drift_mm": float("nan")},
        {"coughs_per_min": -1.0}, {"apnoea_s": 0.0}, {"drift_time_s": 0.0}, {"memory": 1.0},
    ):  # fmt: skip
        with pytest.raises(MotionError, match=next(iter(changes))):
            _only(**changes)
    for seed, duration in ((-1, 60.0), (0, 5.0), (0, float("nan")), (0, 1e6)):
        with pytest.raises(MotionError):
            IrregularMotion(LUJAN, Irregularity(), seed, duration)
    with pytest.raises(MotionError, match="CoughingMotion"):
        IrregularMotion(LUJAN, Irregularity(), 0, 60.0, (BreathingEvent(EventKind.COUGH, 1.0, 2.0),))
    for start, end in ((-1.0, 2.0), (3.0, 3.0), (0.0, float("inf"))):
        with pytest.raises(MotionError):
            BreathingEvent(EventKind.APNOEA, start, end)
