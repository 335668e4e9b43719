import os
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from needleplan.errors import MotionError
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import RecordedMotion
from needleplan.motion.sensor import BreathingSensor
from needleplan.motion.static import StaticMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.motion.trace import BreathingTrace
from sim.breathing_patient import BreathingPatient, HoldBehaviour
from sim.compensation.contract import SensorSample
from sim.surrogate_relation import LEAST_SAMPLES, LEAST_TOLD, SurrogateRelation
from sim.target_sensing import SensingOptions, TargetSensing

DATA = Path(os.environ.get("NEEDLEPLAN_DATA") or Path(__file__).parents[3] / "shared" / "data")
LUJAN = LujanMotion()
SILENT = BreathingSensor(noise_mm=0.0)


def skin(exponent: int) -> LujanMotion:
    return LujanMotion(3.75, 4.0, exponent, 0.9, (0.0, -1.0, 0.0))


def lagging(exponent: int, shift_deg: float = 57.0) -> SurrogateMotion:
    return SurrogateMotion(skin(exponent), (0.3, -1.7, -3.9), shift_deg=shift_deg)


def direct(**changed) -> SensingOptions:
    return SensingOptions(BreathingSensor(**changed), by_belt=False)


def watched(
    motion: RespiratoryMotion, options: SensingOptions, duration_s: float = 30.0, step_s: float = 0.01, seed=3,
    asked=lambda t: False, fault=lambda sensing, t: None, holding: HoldBehaviour | None = None,
) -> tuple[list[tuple[float, SensorSample]], BreathingPatient, TargetSensing]:  # fmt: skip
    """Each sample with the time of its arrival."""
    patient = BreathingPatient(motion, 1, holding, start_s=0.7)
    sensing = TargetSensing(patient, options, seed)
    arrived = []
    for _ in range(round(duration_s / step_s)):
        fault(sensing, patient.time_s)
        patient.advance(step_s, asked(patient.time_s))
        arrived += [(patient.time_s, sample) for sample in sensing.advance()]
    return arrived, patient, sensing


def table(arrived) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([sample.time_s for _, sample in arrived]),
        np.array([sample.displacement_mm for _, sample in arrived]).reshape(-1, 3),
    )


def error_mm(motion: RespiratoryMotion, arrived) -> np.ndarray:
    times, seen = table(arrived)
    return np.linalg.norm(seen - motion.displacement_mm(0.7 + times), axis=1)


def test_the_perfect_sensor_tells_the_truth_at_once():
    arrived, _, sensing = watched(LUJAN, SensingOptions.perfect(), 20.0)
    times, _ = table(arrived)
    np.testing.assert_allclose(times, np.arange(2001) / 100.0, rtol=0, atol=1e-9)
    assert error_mm(LUJAN, arrived).max() < 1e-5
    assert max(now - sample.time_s for now, sample in arrived[1:]) < 1e-6
    assert sensing.relation is None


@pytest.mark.parametrize("step_s", [0.01, 0.03, 0.05])
def test_samples_are_measured_at_the_sensors_rate_and_arrive_late(step_s):
    arrived, _, _ = watched(LUJAN, direct(rate_hz=40.0, latency_s=0.12, noise_mm=0.0), 20.0, step_s)
    times, _ = table(arrived)
    np.testing.assert_allclose(times, np.arange(len(times)) / 40.0, rtol=0, atol=1e-9)
    delays = np.array([now - sample.time_s for now, sample in arrived])
    assert delays.min() >= 0.12 - 1e-6 and delays.max() < 0.12 + step_s + 1e-6
    # Between two steps the truth is taken to go on a straight line: its error is a'' h^2 / 8.
    assert error_mm(LUJAN, arrived).max() < 37.0 * 2.0 * step_s**2 / 8.0 + 1e-6


def test_noise_is_as_told_and_free_of_bias():
    arrived, _, _ = watched(StaticMotion(), direct(noise_mm=0.7), 200.0, 0.05)
    _, seen = table(arrived)
    assert seen.std() == pytest.approx(0.7, rel=0.03)
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=0.05)
    assert abs(np.corrcoef(seen[1:, 0], seen[:-1, 0])[0, 1]) < 0.05


def test_losses_and_drop_outs_leave_the_other_samples_as_they_are():
    whole, _, _ = watched(LUJAN, direct(), 120.0, 0.04)
    lossy, _, _ = watched(LUJAN, direct(lost_share=0.3), 120.0, 0.04)
    gaps, _, _ = watched(LUJAN, direct(dropouts_per_min=6.0, dropout_s=2.0), 120.0, 0.04)
    known = {sample.time_s: sample.displacement_mm for _, sample in whole}
    for some in (lossy, gaps):
        assert len(some) < len(whole)
        assert all((sample.displacement_mm == known[sample.time_s]).all() for _, sample in some)
    assert len(lossy) / len(whole) == pytest.approx(0.7, abs=0.03)
    times, _ = table(gaps)
    silent = np.diff(times)[np.diff(times) > 0.05]
    assert len(silent) >= 4
    np.testing.assert_allclose(silent, 2.0, atol=0.09)


def test_drop_outs_are_as_frequent_as_told():
    arrived, _, _ = watched(StaticMotion(), direct(rate_hz=10.0, dropouts_per_min=5.0, dropout_s=3.0), 3000.0, 0.1)
    # Of each 12 + 3 s, 12 are heard.
    assert len(arrived) / 30000.0 == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("by_belt", [False, True])
def test_a_drop_out_fault_silences_the_sensor_until_its_end(by_belt):
    begun = []

    def fault(sensing: TargetSensing, now: float) -> None:
        if now >= 10.0 and not begun:
            begun.append(now)
            sensing.interrupt(now + 4.0)

    options = SensingOptions(BreathingSensor(latency_s=0.2), by_belt=by_belt)
    arrived, _, _ = watched(LUJAN, options, 20.0, fault=fault)
    times, _ = table(arrived)
    assert not ((times > 10.001) & (times < 14.0)).any()
    assert ((times > 9.9) & (times <= 10.0)).any() and (times >= 14.0).any()
    # What was on its way still arrives.
    assert any(10.0 < now < 10.2 for now, _ in arrived)
    assert max(np.diff(times)) == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("shift_deg", [0.0, 20.0, 57.0, -40.0])
def test_one_harmonic_is_told_exactly_whatever_its_phase_shift(shift_deg):
    # cos^2 is a single harmonic: mean and slope of a line through it hold its sine and cosine.
    motion = lagging(1, shift_deg)
    arrived, _, sensing = watched(motion, SensingOptions(SILENT))
    relation = sensing.relation
    assert relation is not None and relation.told == pytest.approx(1.0, abs=1e-6)
    # All but a constant, which makes the ends of exhalation of the samples zero.
    assert np.ptp(error_mm(motion, arrived)) < 0.02 and error_mm(motion, arrived).max() < 0.05


def test_harmonics_loops_and_lags_leave_an_error():
    errors = {
        name: np.sqrt((error_mm(motion, watched(motion, SensingOptions(SILENT))[0]) ** 2).mean())
        for name, motion in {
            "line": LUJAN,
            "loop": HystereticMotion(LUJAN, 60.0),
            "lag 20": lagging(2, 20.0),
            "lag 57": lagging(2),
        }.items()
    }
    assert errors["line"] < 0.35
    assert 1.5 * errors["line"] < errors["lag 57"] < 3.0
    assert errors["lag 20"] < errors["lag 57"] and errors["loop"] < errors["lag 57"]


def test_noise_of_the_belt_is_magnified_by_the_relation():
    still, noisy = (watched(LUJAN, SensingOptions(BreathingSensor(noise_mm=noise)))[0] for noise in (0.0, 0.3))
    assert error_mm(LUJAN, noisy).mean() > 1.5 * error_mm(LUJAN, still).mean()
    _, _, sensing = watched(LUJAN, SensingOptions(SILENT), 1.0)
    assert sensing.relation is not None
    np.testing.assert_allclose(sensing.relation.gain * SKIN_RISE, LUJAN.direction, atol=0.1)


def test_the_end_of_exhalation_is_zero():
    for motion in (LUJAN, HystereticMotion(LUJAN, 40.0), lagging(2)):
        arrived, patient, _ = watched(motion, SensingOptions(SILENT))
        times, seen = table(arrived)
        moment, found = 0.7, []
        while (moment := patient.table.next_exhale_s(moment)) < 29.0:
            found.append(seen[int(np.argmin(np.abs(0.7 + times - moment)))])
            moment += 0.5
        np.testing.assert_allclose(found, 0.0, atol=0.15)


def test_a_hold_is_seen_where_it_is():
    behaviour = HoldBehaviour(repeat_mm=2.0)
    for motion in (LUJAN, lagging(2)):
        arrived, patient, _ = watched(
            motion, SensingOptions(SILENT), 20.0, asked=lambda t: t > 4.0, holding=behaviour
        )
        assert patient.holding
        _, seen = table(arrived)
        assert np.linalg.norm(seen[-1] - patient.displacement_mm) < 1.2
        assert np.ptp(seen[-25:], axis=0).max() < 0.2


TURN = Rotation.from_rotvec([0.5, -0.9, 0.4]).as_matrix()
HEAD = np.array([0.0, 0.0, 1.0])
TIMES = np.arange(0.0, 40.0, 0.1)
HELD = RecordedMotion(BreathingTrace(TIMES, np.outer(0.5 * np.sin(0.7 * TIMES) ** 2, (0.6, 0.0, -0.8)), "held"))


@pytest.mark.parametrize("peak_mm", [0.0, 1.5])
def test_too_little_motion_is_no_lesson_and_the_usual_rise_is_assumed(peak_mm):
    motion = LujanMotion(peak_mm)
    arrived, _, sensing = watched(motion, SensingOptions(SILENT), 10.0)
    relation = sensing.relation
    assert relation is not None and relation.assumed and np.isnan(relation.told)
    np.testing.assert_allclose(relation.gain * SKIN_RISE, (0.0, 0.0, -1.0), atol=1e-12)
    # A belt that rises evenly is told where it is now, not where it was half a window ago.
    times = np.linspace(-relation.window_s, 0.0, 11)
    told = relation.displacement_mm(np.column_stack([times, 2.0 + 3.0 * times]))
    assert told is not None
    np.testing.assert_allclose(told - relation.offset_mm, (0.0, 0.0, -2.0 / SKIN_RISE), rtol=0, atol=1e-9)
    # Way aside is not told: the motion is inclined by 23 degrees.
    assert len(arrived) > 200 and error_mm(motion, arrived).max() < 0.45 * peak_mm + 1e-9
    noisy, _, _ = watched(motion, SensingOptions(), 60.0)
    # The end of a line through n samples has a variance of 4 / n of theirs, less the more there are.
    bound = 2.0 / np.sqrt(11.0) * SensingOptions().sensor.noise_mm / SKIN_RISE
    assert np.sqrt((error_mm(motion, noisy) ** 2).mean()) < bound + 0.3 * peak_mm


@pytest.mark.parametrize("peak_mm", [3.0, 15.0])
@pytest.mark.parametrize("turn", [np.eye(3), TURN], ids=["upright", "oblique"])
def test_who_breathes_is_learned(peak_mm, turn):
    motion = LujanMotion(peak_mm, direction=tuple(turn @ LUJAN.direction))
    patient = BreathingPatient(motion, 1, start_s=0.7, cranial=turn @ HEAD)
    relation = TargetSensing(patient, SensingOptions(SILENT), 3).relation
    assert relation is not None and not relation.assumed and LEAST_TOLD <= relation.told <= 1.0
    np.testing.assert_allclose(relation.gain * SKIN_RISE, motion.direction, atol=0.1)


LYING_STILL = [StaticMotion(), LujanMotion(0.0), HELD, SurrogateMotion(LujanMotion(0.0), (0.3, -1.7, -3.9))]


@pytest.mark.parametrize("turn", [np.eye(3), TURN], ids=["upright", "oblique"])
@pytest.mark.parametrize("motion", LYING_STILL, ids=["static", "zero", "held", "lagging"])
def test_a_cough_is_seen_in_who_does_not_breathe(motion, turn):
    patient = BreathingPatient(motion, 1, start_s=0.7, cranial=turn @ HEAD)
    sensing = TargetSensing(patient, SensingOptions(), 3)
    seen = []
    for k in range(400):
        if k == 200:
            patient.cough(20.0)
        patient.advance(0.01)
        seen += [(sample.time_s, *sample.displacement_mm) for sample in sensing.advance()]
    told = np.array(seen)
    inferior = told[:, 1:] @ patient.inferior
    quiet, coughed = inferior[told[:, 0] < 2.0], inferior[(told[:, 0] > 2.0) & (told[:, 0] < 2.8)]
    assert np.abs(quiet).max() < 1.5
    # Of 20 mm; a line through 0.4 s reaches beyond a turn.
    assert 15.0 < coughed.max() < 26.0
    # Nothing is told across the body.
    np.testing.assert_allclose(told[:, 1:], np.outer(inferior, turn @ -HEAD), rtol=0, atol=1e-9)


class Wandering(StaticMotion):
    """Each axis has a rhythm of its own."""

    def displacement_mm(self, time_s):
        times = np.asarray(time_s, dtype=np.float64)
        return np.stack([8.0 * np.sin(rate * times) ** 2 for rate in (0.25 * np.pi, 0.5 * np.pi, np.pi)], axis=-1)


NOISY = SurrogateMotion(LujanMotion(0.0), (0.0, 0.0, -4.0), noise_mm=3.0, seed=2)
RESTING = SurrogateMotion(skin(2), (0.0, 0.0, 0.0))


@pytest.mark.parametrize("motion", [Wandering(), NOISY, RESTING], ids=["wandering", "still belt", "still target"])
def test_a_belt_that_does_not_tell_where_the_target_is_is_refused(motion):
    with pytest.raises(MotionError, match="sense the target itself"):
        watched(motion, SensingOptions(), 1.0)
    assert watched(motion, direct(), 1.0)[0]


def test_a_belt_needs_a_few_samples_for_a_line():
    # With every other sample lost there are gaps in which no line can be told.
    arrived, _, sensing = watched(LUJAN, SensingOptions(BreathingSensor(rate_hz=10.0, lost_share=0.5)), 60.0)
    assert 0 < len(arrived) < 280
    relation = sensing.relation
    assert isinstance(relation, SurrogateRelation)
    assert relation.displacement_mm(np.ones((LEAST_SAMPLES - 1, 2))) is None
    slow, _, slow_sensing = watched(LUJAN, SensingOptions(BreathingSensor(rate_hz=4.0, noise_mm=0.0)), 30.0)
    assert slow_sensing.relation is not None and slow_sensing.relation.window_s == 0.5
    assert len(slow) == pytest.approx(118, abs=2)


def test_all_is_the_same_with_the_same_seed_and_the_step_hardly_matters():
    motion = IrregularMotion(LujanMotion(), Irregularity(), 4, 60.0)
    one, other = (watched(motion, SensingOptions(), 20.0)[0] for _ in range(2))
    assert len(one) == len(other)
    for (_, first), (_, second) in zip(one, other, strict=True):
        assert (first.displacement_mm == second.displacement_mm).all() and first.time_s == second.time_s
    coarse, _, _ = watched(motion, SensingOptions(), 20.0, 0.05)
    np.testing.assert_allclose(table(coarse)[1], table(one)[1][: len(coarse)], rtol=0, atol=0.2)
    different, _, _ = watched(motion, SensingOptions(), 20.0, seed=4)
    assert (table(different)[1] != table(one)[1]).all()
    sequence = np.random.SeedSequence(9)
    TargetSensing(BreathingPatient(LUJAN, 1), SensingOptions(), sequence)
    assert sequence.n_children_spawned == 0


def test_a_step_takes_microseconds():
    patient = BreathingPatient(LUJAN, 1)
    sensing = TargetSensing(patient, SensingOptions(), 2)
    best = np.inf
    for _ in range(5):
        spent = 0.0
        for _ in range(200):
            patient.advance(0.01)
            begin = time.perf_counter()
            sensing.advance()
            spent += time.perf_counter() - begin
        best = min(best, spent / 200)
    assert best < 1e-4


def test_impossible_options_are_refused():
    for learning in (1.0, 1e4, np.nan):
        with pytest.raises(MotionError, match="learning_s"):
            SensingOptions(learning_s=learning)


@pytest.mark.skipif(not (DATA / "breathing-kim-liver").is_dir(), reason=f"no breathing recordings in {DATA}")
@pytest.mark.parametrize("name", ["RegularBreathing", "LargeSIandAP", "Erratic"])
def test_a_recorded_liver_breathes_and_is_sensed_by_its_belt(name):
    motion = RecordedMotion(read_breathing_trace(DATA / "breathing-kim-liver" / f"LiverTraj_{name}70s_robot.txt"))
    arrived, patient, sensing = watched(motion, SensingOptions(), 60.0)
    assert patient.breaths == pytest.approx(60.0 / motion.period_s, abs=1.5)
    assert sensing.relation is not None and sensing.relation.told > 0.9
    assert np.sqrt((error_mm(motion, arrived) ** 2).mean()) < 0.12 * patient.table.range_mm
