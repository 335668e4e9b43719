"""Rehearsals from the words of the command line: breathing, strategies, noise; and folders written whole or not."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from made_cases import ball, made_case, motion
from made_outcomes import needle, run

from needleplan.app import cli
from needleplan.app.breathing_options import Breathing, BreathingAxes, breathing_from
from needleplan.app.rehearsal_options import noise_from, rehearsal_options_from, strategies_from
from needleplan.app.rehearsal_study import FREE, beside_published
from needleplan.errors import MotionError, NeedleplanError, OptionError
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.irregular import IrregularMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.uncertainty.rehearsal_statistics import strategy_statistics
from sim.needle import PlacementNoise
from sim.strategies import STRATEGIES, make_strategy, strategy_name

TIMES = np.arange(0.0, 12.0, 0.05)


def options(**changes) -> Namespace:
    """What the parser hands over for ``simulate`` without any option."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items() if value is not True]
    words += [f"--{name}" for name, value in changes.items() if value is True]
    return cli.build_parser().parse_args(["simulate", "folder", *words])


def trace_file(folder: Path, scale: float = 1.0) -> Path:
    """A motion-platform file: breaths of 10 mm to inferior and 4 mm to anterior, and two rows of zeros."""
    times = np.arange(0.0, 40.0, 0.1)
    height = scale * 10.0 * np.sin(np.pi * times / 4.0) ** 4
    rows = [f"{t:.2f} 0 {-h:.5f} {0.4 * h:.5f} 0 0 0" for t, h in zip(times, height, strict=True)]
    rows[50:50] = ["0 0 0 0 0 0 0"] * 2
    path = folder / "trace.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_breathing_is_that_of_the_words():
    axes = BreathingAxes()
    plain = breathing_from(options(peak_mm=12.0, period_s=5.0), axes)
    assert plain.motion(1) == plain.motion(2) == LujanMotion(12.0, 5.0)
    irregular = breathing_from(options(irregular=True), axes)
    first, again, other = irregular.motion(1), irregular.motion(1), irregular.motion(2)
    assert isinstance(first, IrregularMotion)
    np.testing.assert_array_equal(first.displacement_mm(TIMES), again.displacement_mm(TIMES))
    assert np.abs(first.displacement_mm(TIMES) - other.displacement_mm(TIMES)).max() > 1.0


def test_a_patient_who_lies_elsewhere_breathes_along_his_own_axes():
    turn = motion()
    case = made_case(ball((5.0, -20.0, 10.0), 10.0, 2), ball((0.0, 0.0, 0.0), 120.0, 2))
    here, there = (
        breathing_from(options(irregular=True, lag_deg=30.0), BreathingAxes.of(each))
        for each in (case, case.moved(turn))
    )
    moved = here.motion(4).displacement_mm(TIMES)
    np.testing.assert_allclose(there.motion(4).displacement_mm(TIMES), moved @ turn[:3, :3].T, atol=1e-6)
    assert np.linalg.norm(moved, axis=1).max() > 5.0


def test_an_organ_that_lags_does_what_it_did_but_later_than_skin_and_ribs():
    lag_deg, period_s, peak_mm = 54.0, 4.0, 15.0
    found = breathing_from(options(lag_deg=lag_deg), BreathingAxes()).motion(0)
    assert isinstance(found, SurrogateMotion)
    delay_s = lag_deg / 360.0 * period_s
    regular = LujanMotion(peak_mm, period_s)
    np.testing.assert_allclose(found.displacement_mm(TIMES + delay_s), regular.displacement_mm(TIMES), atol=0.02)
    # Skin and ribs keep their time; the ribs go as far to inferior as the organ does.
    np.testing.assert_allclose(found.wall_mm(TIMES), -regular.displacement_mm(TIMES)[:, 2], atol=1e-6)
    skin = found.skin.displacement_mm(TIMES)
    np.testing.assert_allclose(skin[:, 1], SKIN_RISE * regular.displacement_mm(TIMES)[:, 2], atol=1e-6)


def test_a_trace_is_told_of_and_may_lag_too(tmp_path):
    path = trace_file(tmp_path)
    found = breathing_from(options(trace=path), BreathingAxes())
    assert [str(note) for note in found.notes][:1] == ["2 rows of zeros dropped"]
    late = breathing_from(options(trace=path, lag_deg=45.0), BreathingAxes()).motion(0)
    assert isinstance(late, SurrogateMotion)
    as_recorded = found.motion(0).displacement_mm(TIMES)
    np.testing.assert_allclose(late.displacement_mm(TIMES + late.delay_s), as_recorded, atol=0.1)
    np.testing.assert_allclose(late.wall_mm(TIMES), -as_recorded[:, 2], atol=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peak_mm": -3}, "peak"),
        ({"period_s": 0.5}, "period"),
        ({"lag_deg": 400}, "phase shift"),
        ({"trace": "nowhere.txt"}, "no breathing trace"),
        ({"trace": "TRACE", "irregular": True}, "leave --irregular or --trace away"),
        ({"trace": "METRES"}, "in metres"),
    ],
)
def test_impossible_breathing_is_one_sentence(tmp_path, changes, words):
    if changes.get("trace") in ("TRACE", "METRES"):
        changes = {**changes, "trace": trace_file(tmp_path, 0.001 if changes["trace"] == "METRES" else 1.0)}
    with pytest.raises(NeedleplanError, match=words) as caught:
        breathing_from(options(**changes), BreathingAxes()).motion(0)
    assert "\n" not in str(caught.value)


def test_a_path_that_does_not_go_down_has_no_skin_before_it():
    with pytest.raises(MotionError, match="hardly moves to inferior"):
        Breathing(LujanMotion(), BreathingAxes(inhalation=(1.0, 0.0, 0.0)), lag_deg=20.0).motion(0)


def test_strategies_and_noise_are_those_of_the_words():
    assert strategies_from("all") == STRATEGIES
    assert strategies_from("tracking, breath-hold") == ("tracking", "breath-hold")
    for text, words in (("tracking,tracking", "twice"), ("hope", "free-breathing"), ("", "no strategy")):
        with pytest.raises(OptionError, match=words):
            strategies_from(text)
    # The help is written out, because it must not load the strategies.
    assert cli.STRATEGY_HELP.split(": ")[1].split(", ") == list(STRATEGIES)
    assert [strategy_name(make_strategy(name)) for name in STRATEGIES] == list(STRATEGIES)
    assert noise_from("robot") == PlacementNoise.published()
    assert noise_from("none") == PlacementNoise()
    assert noise_from("1.5") == PlacementNoise(1.5, 1.5, 0.0)
    for text in ("much", "-1", "nan", "99"):
        with pytest.raises(OptionError):
            noise_from(text)


def test_rehearsal_options_are_those_of_the_words():
    words = options(gate_mm=3.0, stepwise_mm=25.0, gantry_bore_mm=700, fault="needle-slip@2:0.5")
    found = rehearsal_options_from(words, "amplitude-gating", PlacementNoise(1.0))
    assert "3 mm" in found.strategy.name and found.controller.step_mm == 25.0
    assert found.gantry is not None and found.gantry.bore_diameter_m == pytest.approx(0.7)
    assert [(fault.kind.value, fault.needle, fault.at_depth_share) for fault in found.faults] == [
        ("needle-slip", 2, 0.5)
    ]
    assert found.noise.lateral_mm == 1.0
    for changes, name in (
        ({"gate_mm": 0.0}, "amplitude-gating"),
        ({"fault": "earthquake"}, "tracking"),
        ({"fault": "cough@x"}, "tracking"),
        ({"stepwise_mm": 0.1}, "tracking"),
        ({"gantry_at_mm": 500}, "tracking"),
        ({}, "hope"),
    ):
        with pytest.raises(NeedleplanError):
            rehearsal_options_from(options(**changes), name)


def test_ours_stands_beside_published_figures_with_what_is_recovered():
    rng = np.random.default_rng(0)

    def statistics(strategy, mean):
        return strategy_statistics(
            [run(k + 1, [needle(mean + x)], strategy) for k, x in enumerate(rng.normal(0, 1, 30))], 5.0
        )

    found = beside_published([statistics(FREE, 8.0), statistics("tracking", 2.0)])
    text = " ".join(found)
    assert "2.9 ± 1.9 mm" in text and "2.8 ± 1.3 mm" in text and "53 %" in text and "what differs" in text
    recovered = int(text.split("is recovered: tracking ")[1].split(" %")[0])
    assert 65 <= recovered <= 85
    assert "recovered" not in " ".join(beside_published([statistics("tracking", 2.0)]))
    assert beside_published([strategy_statistics([run(1, [], metrics=None)], 5.0)]) == ()
