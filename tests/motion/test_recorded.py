import os
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.gating import AmplitudeGate
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, RecordedMotion, pieces_without_gaps
from needleplan.motion.trace import BreathingTrace

DATA = Path(os.environ.get("NEEDLEPLAN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _trace(duration: float = 30.0, rate: float = 10.0, drift: float = 0.0, **changes: object) -> BreathingTrace:
    times = np.arange(0.0, duration, 1.0 / rate)
    motion = LujanMotion(12.0, 4.0, 2, 0.4)
    values = motion.displacement_mm(times) + np.array([5.0, -3.0, 100.0]) + drift * times[:, None]
    return BreathingTrace(times, values, "made")


def test_a_sampled_lujan_curve_comes_back_relative_to_end_exhale() -> None:
    motion = RecordedMotion(_trace(rate=20.0), beyond_end=BeyondEnd.REFUSE)
    times = np.linspace(0.5, 29.0, 777)
    expected = LujanMotion(12.0, 4.0, 2, 0.4).displacement_mm(times)
    assert motion.displacement_mm(times) == pytest.approx(expected, abs=0.1)
    assert motion.period_s == pytest.approx(4.0, abs=0.05)
    assert AmplitudeGate(2.0).duty_cycle(motion, 28.0) == pytest.approx(
        AmplitudeGate(2.0).duty_cycle(LujanMotion(12.0, 4.0, 2, 0.4), 28.0), abs=0.02
    )


def test_inhalation_is_found_where_the_trace_rests_long_at_inhale() -> None:
    # A breath that rests at full inhalation: resting place and end-exhale must not be mixed up.
    trace = _trace(rate=20.0)
    values = LujanMotion(12.0, 4.0, 2, 0.4).displacement_mm(trace.time_s)
    upside_down = np.asarray(LujanMotion(12.0).direction) * 12.0 - values
    motion = RecordedMotion(BreathingTrace(trace.time_s, upside_down, "rests at inhale"))
    assert np.median(motion.displacement_mm(np.arange(0, 20, 0.05))[:, 2]) < -6.0


def test_the_loop_has_no_jump_and_repeats() -> None:
    motion = RecordedMotion(_trace(drift=0.15))
    end = motion.duration_s
    times = np.arange(0.0, 3 * end, 0.01)
    step = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1).max()
    assert step < 0.3  # 12 mm in 4 s moves at most 0.15 mm in 10 ms, and the seam adds its correction
    assert motion.displacement_mm(1.2 + end) == pytest.approx(motion.displacement_mm(1.2), abs=1e-9)
    assert motion.displacement_mm(1.2) != pytest.approx(motion.displacement_mm(3.4), abs=1.0)


def test_beyond_the_end_is_refused_where_asked() -> None:
    motion = RecordedMotion(_trace(), beyond_end=BeyondEnd.REFUSE)
    motion.displacement_mm(29.0)
    with pytest.raises(MotionError, match="beyond the end"):
        motion.displacement_mm([3.0, 30.5])
    with pytest.raises(MotionError, match="zero or later"):
        motion.displacement_mm(-0.1)


def test_the_start_within_the_trace_shifts_time() -> None:
    base, late = RecordedMotion(_trace()), RecordedMotion(_trace(), start_s=3.3)
    assert late.displacement_mm([0.0, 5.0]) == pytest.approx(base.displacement_mm([3.3, 8.3]), abs=1e-12)


def _refused(times: np.ndarray, values: np.ndarray, match: str) -> None:
    with pytest.raises(MotionError, match=match) as error:
        RecordedMotion(BreathingTrace(times, values, "bad"))
    assert "\n" not in str(error.value)


def test_unusable_traces_are_refused_in_one_sentence() -> None:
    trace = _trace()
    times, values = np.array(trace.time_s), np.array(trace.displacement_mm)
    _refused(times, np.ones_like(values), "not breathing")
    keep = (times < 10.0) | (times > 11.2)
    _refused(times[keep], values[keep], "gap of 1.30 s after 9.90 s")
    _refused(times[::6], values[::6], "samples a second are too few")
    _refused(times[:30], values[:30], "ends of exhalation")
    broken = values.copy()
    broken[17, 1] = np.nan
    _refused(times, broken, "sample 18")
    _refused(times[::-1], values, "not later")
    _refused(np.repeat(times, 2)[: len(times)], values, "not later")
    _refused(times[:4], values[:4], "at least 8")
    _refused(times, values[:, :2], "n by 3")
    # Other units, told from the size of what should be breathing.
    _refused(times, values / 1000.0, "in metres")
    _refused(times, values * 1000.0, "it jumps by .* another unit")
    _refused(times, values * 12.0, "are its positions in mm")
    _refused(times * 1000.0, values, "times in milliseconds")
    _refused(times / 1000.0, values, "times in seconds")
    jump = values.copy()
    jump[57] += [0.0, 70.0, 20.0]
    _refused(times, jump, "jumps by .* after 5.60 s")
    infinite = times.copy()
    infinite[8] = np.inf
    _refused(infinite, values, "sample 9")


def test_a_gap_within_the_limit_is_bridged() -> None:
    trace = _trace(rate=20.0)
    keep = (trace.time_s < 10.0) | (trace.time_s > 10.3)
    motion = RecordedMotion(
        BreathingTrace(trace.time_s[keep], trace.displacement_mm[keep], "gap"), beyond_end=BeyondEnd.REFUSE
    )
    truth = LujanMotion(12.0, 4.0, 2, 0.4).displacement_mm(10.15)
    assert motion.displacement_mm(10.15) == pytest.approx(truth, abs=0.5)


def test_a_trace_is_cut_at_its_gaps_in_words() -> None:
    trace = _trace(duration=100.0)
    keep = (trace.time_s < 30.0) | ((trace.time_s > 32.0) & (trace.time_s < 40.0)) | (trace.time_s > 45.0)
    holed = BreathingTrace(trace.time_s[keep], trace.displacement_mm[keep], "holed")
    with pytest.raises(MotionError, match="cut the trace there"):
        RecordedMotion(holed)
    first, last = pieces_without_gaps(holed)
    assert first.duration_s == pytest.approx(29.9) and last.duration_s == pytest.approx(54.8)
    assert "0.00 to 29.90 s kept" in first.source and "45.10 to 99.90 s kept" in last.source
    for piece in (first, last):
        assert piece.notes[-1].count == len(holed.time_s) - len(piece.time_s)
        assert RecordedMotion(piece).period_s == pytest.approx(4.0, abs=0.05)
    assert pieces_without_gaps(trace) == (trace,)
    with pytest.raises(MotionError, match="no stretch"):
        pieces_without_gaps(holed, minimum_duration_s=60.0)


MARKERS = '"Frame";"Timestamp";"x";"y";"z"\n'


def _file(tmp_path: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _rows(count: int = 40) -> list[str]:
    return [f"{k};{100 * k};{-490.5 + 0.1 * k:.1f};4,25;{64.7 + k % 7:.1f}".replace(".", ",") for k in range(count)]


def test_marker_table_with_its_traps(tmp_path: Path) -> None:
    trace = read_breathing_trace(_file(tmp_path, MARKERS + "\n".join([*_rows(), "0;0;0;0;0", "0;0;0;0;0", ""])))
    assert len(trace.time_s) == 40 and trace.duration_s == pytest.approx(3.9)
    # x leads to superior, y to the right, z to anterior.
    assert trace.displacement_mm[3] == pytest.approx(np.array([-4.25, -67.7, -490.2]))
    assert "2 rows of zeros" in trace.source and "inferred" in trace.source


def _noted(trace: BreathingTrace) -> dict[str, int]:
    assert all(str(note) in trace.source for note in trace.notes)
    return {note.what: note.count for note in trace.notes}


def test_every_repair_of_a_marker_table_is_counted_and_told(tmp_path: Path) -> None:
    rows = _rows(80)
    rows[70] = rows[70].replace(";7000;", ";7030;")
    rows[60:60] = ["60;6000;0;0;0", "60;6000;0;0;0"]
    rows[50:50] = [rows[49]]
    rows[40:40] = ["39;3900;-400,0;1,0;60,0", "39;3900;-401,0;1,0;60,0"]
    rows[20:20] = ["0;0;0;0;0"]
    rows.append("0;0;0;0;0")
    trace = read_breathing_trace(_file(tmp_path, MARKERS + "\n".join(rows)))
    assert _noted(trace) == {
        "rows of zeros dropped": 2,
        "lost markers at the origin dropped": 2,
        "repeated row dropped": 1,
        "second positions of stamps dropped": 2,
        "uneven steps of 0.07 to 0.13 s": 2,
    }
    clean = read_breathing_trace(_file(tmp_path, MARKERS + "\n".join(_rows(80)), "clean.csv"))
    assert clean.notes == () and len(trace.time_s) == len(clean.time_s) == 80
    np.testing.assert_array_equal(trace.displacement_mm, clean.displacement_mm)


def test_a_frozen_sensor_leaves_a_gap(tmp_path: Path) -> None:
    times = np.arange(0.0, 60.0, 0.1)
    position = LujanMotion(12.0, 4.0, 2, 0.4).displacement_mm(times)
    position += 0.01 * np.random.default_rng(1).standard_normal(position.shape)  # no breath exactly like another

    def written(values: np.ndarray) -> BreathingTrace:
        rows = [f"{t:.1f} {x:.4f} {z:.4f} {-y:.4f} 0 0 0" for t, (x, y, z) in zip(times, values, strict=True)]
        return read_breathing_trace(_file(tmp_path, "\n".join(rows), "t.txt"))

    short, long = position.copy(), position.copy()
    short[200:206] = short[200]  # half a second at the same place may be true
    long[200:225] = long[200]
    assert written(short).notes == () and RecordedMotion(written(short)).period_s == pytest.approx(4.0, abs=0.1)
    frozen = written(long)
    assert _noted(frozen)["frozen samples dropped"] == 24
    with pytest.raises(MotionError, match=r"gap of 2\.50 s after 20\.00 s"):
        RecordedMotion(frozen)
    with pytest.raises(MotionError, match="not breathing"):
        RecordedMotion(written(np.ones_like(position)))


def test_a_stretch_that_comes_again_is_told(tmp_path: Path) -> None:
    times = np.arange(0.0, 100.0, 0.2)
    rng = np.random.default_rng(3)
    position = LujanMotion(12.0, 4.1, 2, 0.4).displacement_mm(times) + 0.1 * rng.standard_normal((500, 3))
    position[300:370] = position[100:170]

    def written(values: np.ndarray) -> BreathingTrace:
        rows = [f"{t:.1f} {x:.6g} {z:.6g} {-y:.6g} 0 0 0" for t, (x, y, z) in zip(times, values, strict=True)]
        return read_breathing_trace(_file(tmp_path, "\n".join(rows), "t.txt"))

    assert _noted(written(position)) == {"samples from 20.0 to 33.8 s come again at 60.0 s": 70}
    position[300:370:40] += 0.001
    assert written(position).notes == ()


def test_a_long_recording_is_read_in_time(tmp_path: Path) -> None:
    times = np.arange(60_000) / 1000.0
    values = np.random.default_rng(0).integers(-99, 99, (60_000, 3))
    values[45_000:] = values[10_000:25_000]
    rows = [f"{t:.3f} {x} {y} {z} 0 0 0" for t, (x, y, z) in zip(times, values, strict=True)]
    start = perf_counter()
    trace = read_breathing_trace(_file(tmp_path, "\n".join(rows), "t.txt"))
    assert _noted(trace)["samples from 10.0 to 25.0 s come again at 45.0 s"] == 15_000
    assert perf_counter() - start < 15.0  # comparing every pair of windows takes minutes


def test_platform_file(tmp_path: Path) -> None:
    text = "\n".join(f"{0.2 * k:.1f} {0.1 * k} {-2.0 * k} {0.5 * k} 0 0 0" for k in range(20))
    trace = read_breathing_trace(_file(tmp_path, text, "t.txt"))
    assert trace.displacement_mm[2] == pytest.approx(np.array([0.2, -1.0, -4.0]))
    assert trace.time_s[-1] == pytest.approx(3.8)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        (MARKERS, "no samples"),
        ("a;b;c\n1;2;3\n", "header must be"),
        (MARKERS + "0;0;0;0;0\n0;0;0;0;0\n", "nothing but zeros"),
        (MARKERS + "0;0;1,0;2,0\n", "line 2 has 4 fields"),
        (MARKERS + "0;0;1,0;2,0;x\n", "not a number"),
        (MARKERS + "0;0;1.5;2,0;3,0\n", "point where a decimal comma"),
        (MARKERS + "0;0;nan;2,0;3,0\n", "not a finite number"),
        (MARKERS + "0;0;1,0;2,0;1e999\n", "not a finite number"),
        (MARKERS + "\n".join([*_rows(), "5;0;1,0;2,0;3,0"]), "not later"),
        (MARKERS + "\n".join(_rows(3)), "at least 8"),
        (MARKERS + "\n".join([*_rows(), "99;9900;1,0;2,0;30000,0"]), "not a patient"),
        ("0 1 2 3 0 0 0\n0.2 1 2 3 0 0.1 0\n", "rotation"),
        ("0 1 2 3\n", "4 fields instead of 7"),
        ("0 1 2 3 0 0 inf\n", "not a finite number"),
        (b"\x00\xff\xfe binary", "must be text"),
        (b"\x89PNG\r\n", "must be text"),
    ],
)
def test_hostile_trace_files_give_one_sentence(tmp_path: Path, text: str | bytes, match: str) -> None:
    with pytest.raises(MotionError, match=match) as error:
        read_breathing_trace(_file(tmp_path, text))
    assert "\n" not in str(error.value)


def test_missing_and_oversized_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MotionError, match="no breathing trace"):
        read_breathing_trace(tmp_path / "absent.csv")
    with pytest.raises(MotionError, match="no breathing trace"):
        read_breathing_trace(tmp_path)
    monkeypatch.setattr("needleplan.io.traces.MAXIMUM_BYTES", 100)
    with pytest.raises(MotionError, match="refused"):
        read_breathing_trace(_file(tmp_path, MARKERS + "\n".join(_rows())))


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no breathing recordings in {DATA}")


@needs_data
@pytest.mark.parametrize("name", ["LargeSIandAP", "RegularBreathing", "Erratic"])
def test_recorded_liver_traces(name: str) -> None:
    trace = read_breathing_trace(DATA / "breathing-kim-liver" / f"LiverTraj_{name}70s_robot.txt")
    assert len(trace.time_s) == 1012 and trace.duration_s == pytest.approx(202.2)
    motion = RecordedMotion(trace)
    values = motion.displacement_mm(np.arange(0.0, motion.duration_s, 0.05))
    assert 3.0 < motion.period_s < 8.0
    # Inhalation leads to inferior, and superior-inferior is the greatest of the three.
    assert values[:, 2].mean() < 0 and abs(np.percentile(values[:, 2], 2)) > 5.0
    assert values[:, 2].std() > 2 * max(values[:, 0].std(), values[:, 1].std())


@needs_data
def test_the_liver_traces_are_known_to_repeat_themselves() -> None:
    folder, found = DATA / "breathing-kim-liver", {}
    for path in sorted(folder.glob("LiverTraj_*.txt")):
        (note,) = read_breathing_trace(path).notes
        found[path.name.removeprefix("LiverTraj_").split("_")[0].removesuffix("70s")] = note.count
        assert "come again at" in note.what
    # 22 to 38 s at 5 Hz.
    assert set(found) == {"BreathHold1", "Erratic", "LargeSIandAP", "RegularBreathing"}
    assert all(22 * 5 <= count <= 38.5 * 5 for count in found.values())


@needs_data
def test_a_held_breath_moves_less_than_a_millimetre() -> None:
    motion = RecordedMotion(read_breathing_trace(DATA / "breathing-kim-liver" / "LiverTraj_BreathHold1_robot.txt"))
    assert motion.amplitude_mm(motion.duration_s) < 1.5
    assert AmplitudeGate(2.0).duty_cycle(motion, motion.duration_s) == 1.0


@needs_data
def test_recorded_skin_markers_lose_their_bogus_last_row() -> None:
    folder = DATA / "breathing-extmarker"
    for path in sorted(folder.glob("*.csv")):
        trace = read_breathing_trace(path)
        assert "1 row of zeros" in trace.source and "uneven steps of 0.1 to 0.117 s" in trace.source
        assert np.linalg.norm(np.diff(trace.displacement_mm, axis=0), axis=1).max() < 10.0
        motion = RecordedMotion(trace)
        # The chest wall comes forward with inhalation.
        assert motion.displacement_mm(np.arange(0.0, motion.duration_s, 0.05))[:, 1].mean() < -0.5
