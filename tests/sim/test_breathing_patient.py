import time

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.cough import Cough, CoughingMotion
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, RecordedMotion
from needleplan.motion.static import StaticMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.motion.trace import BreathingTrace
from sim.breathing_patient import FARTHEST_HOLD, SETTLING_S, BreathingPatient, HoldBehaviour
from sim.breathing_table import LONGEST_S, BreathingTable
from sim.random_streams import random_streams

LUJAN = LujanMotion()
LOOP = HystereticMotion(LujanMotion(12.0, 4.4, 2, 0.3), 35.0, (0.0, 0.3, -1.0))
SKIN = LujanMotion(3.75, 4.0, 2, 0.9, (0.0, -1.0, 0.0))
LAGGING = SurrogateMotion(SKIN, (0.0, -1.7, -3.9), shift_deg=57.0)
IRREGULAR = IrregularMotion(LujanMotion(), Irregularity(apnoeas_per_min=1.0), 4, 60.0)
COUGHING = CoughingMotion(LujanMotion(), [7.0, 21.0], repeat_s=30.0)


def trace() -> BreathingTrace:
    times = np.arange(0.0, 41.0, 0.1)
    size = 8.0 + 1.5 * np.sin(0.21 * times)
    breath = size * np.sin(np.pi * times / 3.7) ** 4
    return BreathingTrace(times, np.outer(breath, (0.1, -0.4, -1.0)), "made")


ENDING = RecordedMotion(trace(), beyond_end=BeyondEnd.REFUSE, start_s=2.0)
LOOPED = RecordedMotion(trace())
MOTIONS = [LUJAN, LOOP, LAGGING, IRREGULAR, COUGHING, LOOPED]
NAMES = ["lujan", "loop", "lagging", "irregular", "coughing", "looped"]
STILL = HoldBehaviour(repeat_mm=0.0, drift_mm_s=0.0)


def run(patient: BreathingPatient, duration_s: float, step_s: float = 0.01, asked=lambda t: False) -> np.ndarray:
    """(n, 8) times, displacements, belts, walls, breaths and holdings from now on."""
    rows = [row(patient)]
    end = patient.time_s + duration_s - 1e-9
    while patient.time_s < end:
        patient.advance(step_s, asked(patient.time_s))
        rows.append(row(patient))
    return np.array(rows)


def row(patient: BreathingPatient) -> tuple[float, ...]:
    wall = np.nan if patient.wall_mm is None else patient.wall_mm
    return (
        patient.time_s, *patient.displacement_mm, patient.belt_mm, wall, patient.breaths, float(patient.holding),
    )  # fmt: skip


@pytest.mark.parametrize("motion", MOTIONS, ids=NAMES)
def test_breathing_freely_is_the_motion_from_its_start_on(motion):
    patient = BreathingPatient(motion, 3, start_s=1.7)
    seen = run(patient, 12.0, 0.037)
    np.testing.assert_allclose(seen[:, 1:4], motion.displacement_mm(1.7 + seen[:, 0]), rtol=0, atol=0.01)
    assert not seen[:, 7].any()


def test_the_table_is_exact_on_a_smooth_motion_and_at_any_time():
    table = BreathingTable(LUJAN)
    times = np.random.default_rng(1).uniform(-40.0, 900.0, 500)
    np.testing.assert_allclose(table.at_times(times), LUJAN.displacement_mm(times), rtol=0, atol=1e-6)
    np.testing.assert_allclose(table.direction, LUJAN.direction, rtol=0, atol=1e-12)
    assert table.range_mm == pytest.approx(15.0, abs=1e-6)


def test_a_recording_that_ends_is_repeated_without_a_jump():
    table = BreathingTable(ENDING)
    assert table.span_s == pytest.approx(38.9)
    times = np.arange(0.0, 36.8, 0.013)
    np.testing.assert_allclose(table.at_times(times), ENDING.displacement_mm(times), rtol=0, atol=0.01)
    round_ = table.at_times(np.arange(30.0, 50.0, 0.01))
    speed = np.linalg.norm(np.diff(round_, axis=0), axis=1) / 0.01
    assert speed.max() < 2.0 * ENDING.speed_bound_mm_s
    np.testing.assert_allclose(table.at_times(times + 38.9), table.at_times(times), rtol=0, atol=1e-9)
    with pytest.raises(MotionError, match="beyond the end"):
        ENDING.displacement_mm(39.0)


def test_a_long_motion_is_cut():
    motion = IrregularMotion(LujanMotion(), Irregularity(), 1, 3000.0)
    table = BreathingTable(motion)
    assert table.span_s == LONGEST_S < motion.span_s
    jump = table.at(LONGEST_S + 1e-6) - table.at(LONGEST_S - 1e-6)
    assert np.linalg.norm(jump) < 1e-3


def test_a_motion_that_is_not_finite_is_refused():
    class Broken(StaticMotion):
        def displacement_mm(self, time_s):
            return np.full((*np.shape(time_s), 3), np.nan)

    with pytest.raises(MotionError, match="not finite"):
        BreathingTable(Broken())


@pytest.mark.parametrize("motion", MOTIONS, ids=NAMES)
def test_exhalations_are_found_where_the_target_is_least_displaced(motion):
    table = BreathingTable(motion)
    moment = 0.0
    for _ in range(12):
        found = table.next_exhale_s(moment)
        assert found >= moment - 1e-6
        around = np.linalg.norm(table.at_times(found + np.linspace(-0.4, 0.4, 81))[:, :3], axis=1)
        assert around[40] <= around.min() + 0.02
        moment = found + 0.5


def test_breaths_are_counted_by_ends_of_inhalation():
    for motion in (LUJAN, LOOP):
        patient = BreathingPatient(motion, 1)
        patient.advance(10.0 * motion.period_s)
        assert patient.breaths == pytest.approx(10.0, abs=1e-9)
    patient = BreathingPatient(IRREGULAR, 1, start_s=0.4)
    patient.advance(IRREGULAR.span_s)
    assert patient.breaths == pytest.approx(len(IRREGULAR.periods_s), abs=1e-9)
    seen = run(BreathingPatient(IRREGULAR, 1), 30.0)
    assert (np.diff(seen[:, 6]) >= 0.0).all()
    still = BreathingPatient(StaticMotion(), 1)
    still.advance(40.0)
    assert still.breaths == 0.0


@pytest.mark.parametrize("motion", [LUJAN, LOOP, IRREGULAR, LAGGING])
def test_a_hold_begins_at_an_end_of_exhalation_after_the_reaction(motion):
    patient = BreathingPatient(motion, 5, STILL, start_s=0.5)
    seen = run(patient, 20.0, asked=lambda t: t >= 3.0)
    held = seen[seen[:, 7] > 0]
    begin = held[0, 0]
    expected = BreathingTable(motion).next_exhale_s(0.5 + 4.0) - 0.5
    assert begin == pytest.approx(expected, abs=0.011)
    where = motion.displacement_mm(0.5 + expected)
    np.testing.assert_allclose(held[:, 1:4], np.tile(where, (len(held), 1)), rtol=0, atol=0.02)
    assert np.ptp(held[:, 6]) == 0.0


def test_holds_scatter_as_told_along_the_motion_and_drift():
    behaviour = HoldBehaviour(reaction_s=0.0, repeat_mm=1.2, drift_mm_s=0.1)
    ends, slopes = [], []
    for seed in range(300):
        patient = BreathingPatient(LUJAN, seed, behaviour, start_s=2.0)
        patient.advance(4.5, True)
        one = patient.displacement_mm
        patient.advance(5.0, True)
        assert patient.holding
        ends.append(one @ LUJAN.direction)
        slopes.append((patient.displacement_mm - one) @ LUJAN.direction / 5.0)
        assert np.linalg.norm(np.cross(one, LUJAN.direction)) < 1e-6
    assert np.std(ends) == pytest.approx(1.2, rel=0.12)
    assert abs(np.mean(ends)) < 0.25
    assert np.abs(ends).max() <= 1.2 * FARTHEST_HOLD + 0.1 * 4.5
    assert set(np.round(np.unique(slopes), 6)) == {-0.1, 0.1}


def test_who_hardly_breathes_holds_hardly_anywhere_else():
    patient = BreathingPatient(LujanMotion(0.4), 2, HoldBehaviour(reaction_s=0.0, repeat_mm=5.0), start_s=2.0)
    patient.advance(6.0, True)
    assert patient.holding
    assert 0.0 < np.linalg.norm(patient.displacement_mm) < 0.4
    still = BreathingPatient(StaticMotion(), 2)
    for asked in (False, True, False):
        seen = run(still, 8.0, asked=lambda t, asked=asked: asked)
        assert not seen[:, 1:5].any()
    assert not still.holding


def test_nobody_holds_for_ever_and_not_again_before_asked_anew():
    behaviour = HoldBehaviour(reaction_s=0.5, longest_s=9.0)
    patient = BreathingPatient(LUJAN, 1, behaviour)
    seen = run(patient, 40.0, asked=lambda t: t < 35.0)
    changes = seen[1:, 0][np.diff(seen[:, 7]) != 0.0]
    assert len(changes) == 2
    assert changes[1] - changes[0] == pytest.approx(9.0, abs=0.011)
    patient.advance(6.0, True)
    assert patient.holding


def test_a_hold_that_is_called_off_does_not_come():
    for until in (3.5, 4.2):
        patient = BreathingPatient(LUJAN, 1, HoldBehaviour(reaction_s=1.0), start_s=2.5)
        seen = run(patient, 15.0, asked=lambda t, until=until: 3.0 <= t < until)
        assert not seen[:, 7].any()
        np.testing.assert_allclose(seen[:, 1:4], LUJAN.displacement_mm(2.5 + seen[:, 0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("motion", [LUJAN, LOOP, IRREGULAR, LAGGING])
def test_nothing_jumps_with_holds_coughs_and_releases(motion):
    patient = BreathingPatient(motion, 9, HoldBehaviour(reaction_s=0.2, repeat_mm=2.0, longest_s=4.0))
    fastest, before = 0.0, patient.displacement_mm
    belts, walls = [patient.belt_mm], [patient.wall_mm or 0.0]
    for k in range(6000):
        if k in (900, 2100, 4000):
            patient.cough(18.0)
        patient.advance(0.01, k % 1300 > 500)
        fastest = max(fastest, float(np.linalg.norm(patient.displacement_mm - before)) / 0.01)
        before = patient.displacement_mm
        belts.append(patient.belt_mm)
        walls.append(patient.wall_mm or 0.0)
    settling = 1.5 * 2.0 * FARTHEST_HOLD / SETTLING_S
    # While the cough carries the target the rest of the way, both its own course and the breathing move it.
    assert fastest <= 2.0 * motion.speed_bound_mm_s + Cough(18.0).speed_bound_mm_s + settling + 0.1
    assert np.abs(np.diff(belts)).max() < 0.5
    assert np.abs(np.diff(walls)).max() < 2.0


@pytest.mark.parametrize("motion", [LUJAN, IRREGULAR, LAGGING])
def test_long_steps_come_to_the_same_as_short_ones(motion):
    coarse, fine = (BreathingPatient(motion, 7) for _ in range(2))
    differ = 0
    for k in range(400):
        asked = 40 < k % 200 < 160
        coarse.advance(0.1, asked)
        for _ in range(8):
            fine.advance(0.0125, asked)
        np.testing.assert_allclose(coarse.displacement_mm, fine.displacement_mm, rtol=0, atol=1e-9)
        # Where a change falls on the end of a step, rounding may put it on either side.
        differ += coarse.holding is not fine.holding
        assert coarse.breaths == pytest.approx(fine.breaths, abs=1e-9)
    assert differ <= 4


def test_a_cough_has_its_shape_and_peaks_where_it_is_told():
    patient = BreathingPatient(StaticMotion(), 1)
    patient.advance(2.0)
    patient.cough(17.0)
    seen = run(patient, 1.5)
    np.testing.assert_allclose(seen[:, 1:4], Cough(17.0).displacement_mm(seen[:, 0], [2.0]), rtol=0, atol=1e-9)
    np.testing.assert_allclose(seen[:, 4], -SKIN_RISE * seen[:, 3], rtol=0, atol=1e-12)
    # In the middle of an inhalation it carries the target no farther than from the end of an exhalation.
    inhaled = BreathingPatient(LUJAN, 1, start_s=1.4)
    inhaled.cough(17.0)
    lowest = -run(inhaled, 1.5)[:, 3].min()
    assert -LUJAN.displacement_mm(2.0)[2] < lowest <= 17.0
    weak = BreathingPatient(LUJAN, 1, start_s=1.6)
    weak.cough(5.0)
    seen = run(weak, 0.79)
    np.testing.assert_allclose(seen[:, 1:4], LUJAN.displacement_mm(1.6 + seen[:, 0]), rtol=0, atol=1e-6)


def test_a_cough_ends_a_hold_and_does_not_come_twice_at_once():
    patient = BreathingPatient(LUJAN, 1, STILL)
    patient.advance(8.0, True)
    assert patient.holding
    patient.cough(10.0)
    assert not patient.holding
    patient.advance(0.3, True)
    with pytest.raises(MotionError, match="coughing already"):
        patient.cough(10.0)
    patient.advance(4.0, True)
    assert not patient.holding
    patient.cough(10.0)
    with pytest.raises(MotionError, match="peak of a cough"):
        BreathingPatient(LUJAN, 1).cough(-1.0)


def test_a_patient_coughs_from_the_beginning_to_the_end_of_a_cough():
    patient = BreathingPatient(LUJAN, 1)
    assert not patient.coughing
    patient.advance(3.0)
    patient.cough(10.0)
    assert patient.coughing
    patient.advance(Cough().duration_s - 0.01)
    assert patient.coughing
    patient.advance(0.02)
    assert not patient.coughing
    # Who asks before does not disturb the cough that goes on.
    asked, alone = (BreathingPatient(StaticMotion(), 1) for _ in range(2))
    for person, moments in ((asked, (0, 10, 40)), (alone, (0,))):
        for k in range(60):
            if k in moments and not person.coughing:
                person.cough(20.0)
            person.advance(0.01)
    assert np.array_equal(asked.displacement_mm, alone.displacement_mm)


def test_the_way_to_inferior_is_that_of_the_body():
    cranial = np.array([1.0, -2.0, 2.0])
    patient = BreathingPatient(StaticMotion(), 1, cranial=cranial)
    np.testing.assert_allclose(patient.inferior, -cranial / 3.0, rtol=0, atol=1e-15)
    patient.cough(12.0)
    patient.advance(0.5 * Cough().duration_s)
    np.testing.assert_allclose(patient.displacement_mm, 12.0 * patient.inferior, rtol=0, atol=1e-9)


def test_the_belt_rises_with_the_targets_way():
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.5, -0.9, 0.4]).as_matrix()
    upright = BreathingPatient(LUJAN, 1, start_s=0.0)
    turned = LujanMotion(direction=tuple(turn @ LUJAN.direction))
    oblique = BreathingPatient(turned, 1, start_s=0.0, cranial=turn @ np.array([0.0, 0.0, 1.0]))
    for _ in range(50):
        upright.advance(0.1)
        oblique.advance(0.1)
        assert upright.belt_mm == pytest.approx(SKIN_RISE * np.linalg.norm(upright.displacement_mm), abs=1e-9)
        assert oblique.belt_mm == pytest.approx(upright.belt_mm, abs=1e-9)
        assert upright.wall_mm is None
    displaced, rise = oblique.breathing(np.array([-3.0, 0.7]))
    np.testing.assert_allclose(displaced, turned.displacement_mm(np.array([1.0, 0.7])), rtol=0, atol=1e-6)
    np.testing.assert_allclose(rise, SKIN_RISE * np.linalg.norm(displaced, axis=1), rtol=0, atol=1e-9)
    # A loop moves it in phase with its longest way, and a cough moves it, too.
    loop = BreathingPatient(LOOP, 1, start_s=0.0)
    seen = run(loop, 5.0)
    np.testing.assert_allclose(seen[:, 4], SKIN_RISE * seen[:, 1:4] @ loop.table.direction, rtol=0, atol=1e-9)
    loop.cough(30.0)
    before = loop.belt_mm
    loop.advance(0.4)
    assert loop.belt_mm - before > 0.4 * SKIN_RISE * 30.0


def test_wall_and_belt_follow_the_skin_that_the_organ_lags_behind():
    patient = BreathingPatient(LAGGING, 1, STILL, start_s=0.6)
    seen = run(patient, 9.0)
    skin = SKIN.displacement_mm(0.6 + seen[:, 0]) @ np.array([0.0, -1.0, 0.0])
    np.testing.assert_allclose(seen[:, 4], skin, rtol=0, atol=1e-6)
    np.testing.assert_allclose(seen[:, 5], skin / SKIN_RISE, rtol=0, atol=1e-5)
    lag = np.argmax(-seen[200:600, 3]) - np.argmax(seen[200:600, 4])
    assert lag * 0.01 == pytest.approx(LAGGING.delay_s, abs=0.03)
    # In a hold all of the body is at rest, whatever the phase shift was.
    run(patient, 8.0, asked=lambda t: True)
    assert patient.holding
    assert patient.belt_mm == pytest.approx(0.0, abs=1e-9)
    assert np.linalg.norm(patient.displacement_mm) < 0.01


def test_all_is_the_same_with_the_same_seed_and_starts_are_spread_evenly():
    for motion in (LUJAN, IRREGULAR):
        one, other = (run(BreathingPatient(motion, 11), 25.0, 0.05, lambda t: t > 8.0) for _ in range(2))
        assert np.array_equal(one, other, equal_nan=True)
    sequence = np.random.SeedSequence(4).spawn(1)[0]
    first, second = BreathingPatient(LUJAN, sequence), BreathingPatient(LUJAN, sequence)
    assert first.start_s == second.start_s and sequence.n_children_spawned == 0
    starts = np.sort([BreathingPatient(LUJAN, seed).start_s for seed in range(200)])
    assert np.abs(starts / 4.0 - (np.arange(200) + 0.5) / 200).max() < 0.12


def test_streams_of_a_seed_differ_from_each_other():
    values = [stream.random() for stream in random_streams(3, 4)]
    assert len(set(values)) == 4
    assert [stream.random() for stream in random_streams(np.random.SeedSequence(3), 4)] == values


def test_a_step_takes_microseconds():
    for motion in (LUJAN, IRREGULAR, LAGGING):
        patient = BreathingPatient(motion, 1)
        best = np.inf
        for _ in range(5):
            begin = time.perf_counter()
            for _ in range(200):
                patient.advance(0.01, False)
            best = min(best, (time.perf_counter() - begin) / 200)
        assert best < 1e-4


def test_impossible_values_are_refused():
    for name, bad in (("reaction_s", -1.0), ("repeat_mm", 11.0), ("drift_mm_s", np.nan), ("longest_s", 0.5)):
        with pytest.raises(MotionError, match=name):
            HoldBehaviour(**{name: bad})
    for start in (-1.0, np.inf, np.nan):
        with pytest.raises(MotionError, match="zero or later"):
            BreathingPatient(LUJAN, 1, start_s=start)
    for duration in (-0.1, np.nan, np.inf):
        with pytest.raises(MotionError, match="duration"):
            BreathingPatient(LUJAN, 1).advance(duration)
