"""What the command line prints of a plan: the figures of the report, told in the same way."""

import io
from argparse import Namespace

import pytest
from rich.console import Console

from needleplan.app import simulate_command
from needleplan.app.folder import PlanFolder
from needleplan.app.simulate_command import planned_and_breathing
from needleplan.app.summary import print_plan
from needleplan.errors import OptionError
from needleplan.plan import Ablation, CoverageProof, Insertion, Likelihood, Metrics, Plan, PlanStatus, Provenance


def plan(**changes) -> Plan:
    tip = (0.0, 80.0, 0.0)
    needle = Insertion((0.0, 0.0, 0.0), tip, "probe", (Ablation(tip, 65.0, 425.0),), {"aorta": 60.0, "ribs": 7.25})
    values = dict(
        case_name="patient 7", case_hash="ab" * 32, status=PlanStatus.PARTIAL, evidence=(), insertions=(needle,),
        metrics=Metrics(0.99996, 0.98368, -1.25, 7.4, 33.1, 5.0, 0.35), rejected={}, candidate_count=9000,
        feasible_count=123, proof=CoverageProof("HiGHS", "optimal", 3, 1.0, 1.0, 2 / 3, 77, 5533, "No fewer."),
        provenance=Provenance("9.8.7", {}, 42, {}),
        likelihoods=(
            Likelihood("the target is covered", 0.192, 0.15838, 0.3278),
            Likelihood("a needle hits ribs", 0.0009, 0, 0.0143),
        ),
    )  # fmt: skip
    return Plan(**(values | changes))


def printed(the_plan: Plan) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, the_plan)
    return console.file.getvalue()


def test_figures_are_rounded_as_in_the_report():
    told = printed(plan())
    for words in (
        "target covered 99.9 %, with 5 mm margin 98.3 %",
        "chance that the target is covered: 19.2 % (15.8 % to 32.8 %)",
        "chance that a needle hits ribs: 0.1 % (0 % to 1.5 %)",
        "gap 66.7 %",
        "ribs 7.2, aorta 60.0 or more",
    ):
        assert words in told, (words, told)


def test_a_plan_that_is_not_rehearsed_says_truly_why(monkeypatch, tmp_path):
    monkeypatch.setattr(simulate_command, "_tried", lambda options: None)
    for the_plan, why in (
        (plan(status=PlanStatus.INFEASIBLE), "the plan's needles break hard demands"),
        (plan(status=PlanStatus.INFEASIBLE, insertions=(), metrics=None), "the plan holds no insertion"),
    ):
        loaded = Namespace(plan=the_plan)
        monkeypatch.setattr(simulate_command, "load_planned", lambda *_, loaded=loaded: loaded)
        with pytest.raises(OptionError, match=why):
            planned_and_breathing(Console(file=io.StringIO()), PlanFolder(tmp_path), Namespace(data=None))
