"""What the rehearse command tells of made runs: needles given up, what errors are of, what is left out."""

import json
from argparse import Namespace
from types import SimpleNamespace

import pytest
from made_outcomes import CASE_HASH, needle, run, withdrawn
from rich.console import Console
from small_case import write_case

from needleplan.anatomy.build import build_anatomy
from needleplan.app import rehearsal_outputs, rehearse_command
from needleplan.app.breathing_options import BreathingAxes, breathing_from
from needleplan.app.cli import build_parser
from needleplan.app.folder import PlanFolder
from needleplan.app.rehearsal_options import rehearsal_options_from
from needleplan.app.rehearsal_study import study_runs
from needleplan.app.rehearse_command import print_study, settings_of, write_study
from needleplan.case.load import load_case
from needleplan.errors import MotionError
from needleplan.plan import Plan, PlanStatus, Provenance

PLAN = Plan(
    "small", CASE_HASH, PlanStatus.PARTIAL, (), (), None, {}, 1, 1, None, Provenance("0", {}, 1, {})
)  # fmt: skip
LOST = withdrawn(2, peak_force_n=9.5, punctured=("aorta",), closest_mm={"aorta": -0.5})
RUNS = [
    run(1, [needle(depth=0.5), needle(depth=0.25, order=2)], "tracking"),
    run(2, [needle(depth=0.3)], "tracking", withdrawn=(LOST,), not_reached=((2, "cough"),)),
    run(1, [needle()], "free-breathing", not_reached=((2, "out of reach"),)),
]


@pytest.fixture
def study():
    return study_runs(RUNS, SimpleNamespace(plan=PLAN), 0)


def test_what_is_printed_says_what_the_errors_are_of(study) -> None:
    console = Console(width=100, record=True, quiet=False)
    print_study(console, study)
    told = " ".join(console.export_text().split())
    assert "tip error, mm, of the needles that were placed (4 of 6); 95 % intervals over runs" in told
    assert (
        "tracking, punctured in runs (with 1 given up in the patient): liver in 2, tumour in 2, aorta in 1; "
        "force at most 9.5 N along the needle, 3.5 N on its tip"
    ) in told
    # Two of two runs, whose lower bound is 15.81 %.
    assert "100 15.8 to 100" in told.replace(" 1.0 60 15", "")
    assert "free-breathing, punctured in runs: liver in 1, tumour in 1; force at most 7.2 N" in told
    assert "the mean depth error of +0.35 mm, which a correction would take away, is left out" in told


def test_what_is_written_says_so_too(study, tmp_path) -> None:
    write_study(tmp_path, study, RUNS, SimpleNamespace(plan=PLAN), {"runs": 2})
    tracking, free = json.loads((tmp_path / "rehearsals.json").read_text())["strategies"]
    assert tracking["errors_are_of"] == "the needles that were placed (3 of 4)"
    assert free["errors_are_of"] == "the needles that were placed (1 of 2)"
    assert (tracking["withdrawn"], tracking["punctured"]["aorta"], tracking["nearest_mm"]["aorta"]) == (1, 1, -0.5)
    assert (tracking["peak_force_n"], tracking["peak_tip_force_n"], free["peak_force_n"]) == (9.5, 3.5, 7.25)
    (budget,) = json.loads((tmp_path / "error_budget.json").read_text())["budgets"]
    assert budget["rehearsed"]["depth_bias_mm"] == pytest.approx(0.35)
    assert budget["left_out"].startswith("the mean depth error of +0.35 mm")


def test_settings_name_the_gantry_where_there_is_one() -> None:
    def settings(*words: str) -> dict:
        options: Namespace = build_parser().parse_args(["rehearse", "folder", *words])
        chosen = [rehearsal_options_from(options, "tracking")]
        robot = SimpleNamespace(robot=SimpleNamespace(name="arm"))
        return settings_of(options, robot, breathing_from(options, BreathingAxes()), chosen)

    assert settings()["gantry"] is None
    gantry = settings("--gantry-bore-mm", "750", "--gantry-at-mm", "600")["gantry"]
    assert gantry["bore_diameter_m"] == pytest.approx(0.75)
    assert gantry["centre_along_table_m"] == pytest.approx(0.6)


@pytest.mark.parametrize("command", ["rehearse", "simulate"])
def test_a_body_that_cannot_breathe_is_told_before_a_robot_is_placed(monkeypatch, tmp_path, command) -> None:
    placed = []
    for module in (rehearse_command, rehearsal_outputs):
        monkeypatch.setattr(module, "placed_robot", lambda *_: placed.append(True))
    planned = SimpleNamespace(plan=PLAN, anatomy=build_anatomy(load_case(write_case(tmp_path / "case"))))
    breathing = breathing_from(options_of(command), BreathingAxes())
    monkeypatch.setattr(rehearse_command, "planned_and_breathing", lambda *_: (planned, breathing))
    with pytest.raises(MotionError, match="no chest wall fits into it"):
        if command == "rehearse":
            rehearse_command.run(options_of(command, "--out", str(tmp_path / "out")))
        else:
            motion = breathing.motion(0)
            rehearsal_outputs.rehearse_into(Console(quiet=True), PlanFolder(tmp_path), planned, motion)
    assert not placed


def options_of(command: str, *words: str) -> Namespace:
    return build_parser().parse_args([command, "plan", *words])
