import dataclasses

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.sensor import BreathingSensor
from needleplan.motion.static import StaticMotion

MOTION = LujanMotion(15.0, 4.0, 2, 0.6, (0.1, -0.6, -1.0))
TRUE = BreathingSensor(rate_hz=20.0, latency_s=0.0, noise_mm=0.0)


def test_a_perfect_sensor_reports_the_truth_at_its_samples() -> None:
    record = TRUE.watch(MOTION, 30.0, 1)
    assert record.missing == 0 and len(record.sample_s) == 601
    for time in record.sample_s[::17]:
        reading = record.reading(float(time))
        assert reading is not None and reading.age_s == pytest.approx(0.0, abs=1e-9)
        assert reading.position_mm == pytest.approx(MOTION.displacement_mm(time), abs=1e-12)


@pytest.mark.parametrize("latency", [0.05, 0.12, 0.5])
def test_nothing_is_seen_before_its_latency_and_nothing_is_older_than_need_be(latency: float) -> None:
    record = dataclasses.replace(TRUE, latency_s=latency).watch(MOTION, 30.0, 1)
    assert record.reading(0.99 * latency) is None
    for time in np.random.default_rng(0).uniform(latency, 30.0, 300):
        reading = record.reading(float(time))
        assert reading is not None and latency - 1e-6 <= reading.age_s < latency + 0.05 + 1e-6
        assert reading.position_mm == pytest.approx(MOTION.displacement_mm(reading.sample_s), abs=1e-12)
        seen, _ = record.history(float(time), 2.0)
        assert len(seen) == 0 or (seen[-1] <= time - latency + 1e-6 and seen[0] >= time - 2.0)


def test_a_belt_sees_one_axis_and_noise_keeps_its_size() -> None:
    belt = dataclasses.replace(TRUE, noise_mm=0.4, rate_hz=100.0, axis=(0.3, -2.0, 0.5))
    record = belt.watch(StaticMotion(), 100.0, 5)
    axis = np.array([0.3, -2.0, 0.5]) / np.linalg.norm([0.3, -2.0, 0.5])
    along = record.position_mm @ axis
    np.testing.assert_allclose(record.position_mm, np.outer(along, axis), atol=1e-12)
    n = len(along)
    assert along.std() == pytest.approx(0.4, rel=4 / np.sqrt(2 * n))
    assert along.mean() == pytest.approx(0.0, abs=4 * 0.4 / np.sqrt(n))
    assert np.corrcoef(along[1:], along[:-1])[0, 1] == pytest.approx(0.0, abs=4 / np.sqrt(n))
    free = dataclasses.replace(belt, axis=None).watch(StaticMotion(), 100.0, 5).position_mm
    assert free.std(axis=0) == pytest.approx(0.4, rel=4 / np.sqrt(2 * n))


def test_in_a_drop_out_the_last_value_stands_and_grows_stale() -> None:
    record = TRUE.watch(MOTION, 30.0, 1, dropouts_s=[(10.0, 13.0)])
    before = record.reading(9.96)
    assert record.missing == 60 and before is not None
    for time in (10.5, 12.99):
        stale = record.reading(time)
        assert stale is not None and stale.age_s == pytest.approx(time - 9.95)
        np.testing.assert_array_equal(stale.position_mm, before.position_mm)
    fresh = record.reading(13.01)
    assert fresh is not None and fresh.age_s < 0.05


def test_losses_and_drop_outs_come_as_often_as_stated() -> None:
    lossy = dataclasses.replace(TRUE, lost_share=0.2).watch(MOTION, 1000.0, 3)
    assert lossy.missing / 20_001 == pytest.approx(0.2, abs=4 * 0.4 / np.sqrt(20_001))
    record = dataclasses.replace(TRUE, dropouts_per_min=2.0, dropout_s=3.0).watch(MOTION, 6000.0, 3)
    steps = np.diff(record.sample_s)
    gaps = steps[steps > 0.06]
    # One in 30 s and 3 s long; two that touch are told as one.
    assert len(gaps) == pytest.approx(6000.0 / 33.0, abs=4 * np.sqrt(6000.0 / 33.0))
    assert np.median(gaps) == pytest.approx(3.05, abs=0.06)
    assert gaps.sum() / 6000.0 == pytest.approx(3.0 / 33.0, rel=0.3)


def test_the_seed_alone_decides_and_each_fault_has_its_own_stream() -> None:
    sensor = BreathingSensor(lost_share=0.1, dropouts_per_min=1.0)
    one, same, other = (sensor.watch(MOTION, 60.0, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.position_mm, same.position_mm)
    np.testing.assert_array_equal(one.sample_s, same.sample_s)
    assert one.sample_s.shape != other.sample_s.shape or np.abs(one.position_mm - other.position_mm).max() > 0.1
    whole = BreathingSensor().watch(MOTION, 60.0, 4)
    index = np.searchsorted(whole.sample_s, one.sample_s)
    np.testing.assert_array_equal(whole.position_mm[index], one.position_mm)
    # Asked in any order it tells the same, and a longer watch begins alike.
    longer = sensor.watch(MOTION, 90.0, 4)
    times = np.linspace(0.0, 60.0, 500)[::-1]
    np.testing.assert_array_equal(one.newest(times), [int(one.newest(time)) for time in times])
    np.testing.assert_array_equal(longer.sample_s[: len(one.sample_s)], one.sample_s)


def test_impossible_sensors_and_times_are_refused() -> None:
    for changes in (
        {"rate_hz": 1.9}, {"latency_s": -0.1}, {"noise_mm": float("nan")}, {"lost_share": 1.0},
        {"dropouts_per_min": -1.0}, {"dropout_s": 0.0},
    ):  # fmt: skip
        with pytest.raises(MotionError, match=next(iter(changes))):
            dataclasses.replace(TRUE, **changes)
    for duration, seed in ((0.0, 1), (float("nan"), 1), (1e9, 1), (10.0, -1)):
        with pytest.raises(MotionError, match="can watch"):
            TRUE.watch(MOTION, duration, seed)
    with pytest.raises(MotionError, match="drop-out"):
        TRUE.watch(MOTION, 10.0, 1, dropouts_s=[(3.0, 2.0)])
    record = TRUE.watch(MOTION, 10.0, 1)
    for time in (10.1, float("nan")):
        with pytest.raises(MotionError, match="later times"):
            record.reading(time)
    with pytest.raises(ValueError, match="read-only"):
        record.position_mm[0] = 0.0
