import os
from pathlib import Path

import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.gating import AmplitudeGate
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, BreathingTrace, RecordedMotion

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


def test_a_gap_within_the_limit_is_bridged() -> None:
    trace = _trace(rate=20.0)
    keep = (trace.time_s < 10.0) | (trace.time_s > 10.3)
    motion = RecordedMotion(
        BreathingTrace(trace.time_s[keep], trace.displacement_mm[keep], "gap"), beyond_end=BeyondEnd.REFUSE
    )
    truth = LujanMotion(12.0, 4.0, 2, 0.4).displacement_mm(10.15)
    assert motion.displacement_mm(10.15) == pytest.approx(truth, abs=0.5)


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
def test_recorded_skin_markers_lose_their_bogus_last_row() -> None:
    folder = DATA / "breathing-extmarker"
    for path in sorted(folder.glob("*.csv")):
        trace = read_breathing_trace(path)
        assert "1 row of zeros" in trace.source
        assert np.linalg.norm(np.diff(trace.displacement_mm, axis=0), axis=1).max() < 10.0
        motion = RecordedMotion(trace)
        # The chest wall comes forward with inhalation.
        assert motion.displacement_mm(np.arange(0.0, motion.duration_s, 0.05))[:, 1].mean() < -0.5
