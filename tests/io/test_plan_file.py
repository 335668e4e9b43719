"""Plans of strangers: what no needle can be is refused before anything is computed of it."""

import dataclasses
import json
import math
from pathlib import Path

import made_outcomes
import numpy as np
import pytest

from needleplan.errors import PlanFileError
from needleplan.io.plan_file import read_outcome, read_plan, write_outcome, write_plan
from needleplan.io.plan_limits import FURTHEST_MM, LONGEST_MM
from needleplan.outcome import Outcome
from needleplan.plan import (
    MOST_OF_EACH,
    Ablation,
    CoverageProof,
    Insertion,
    LevelOutcome,
    Likelihood,
    Metrics,
    PhysicsVerdict,
    Plan,
    PlanStatus,
    Provenance,
)

TIP = (12.5, -40.0, 3.0)
NEEDLE = Insertion((-90.0, 1.0, 2.0), TIP, "probe", (Ablation(TIP, 65.0, 300.0), Ablation(TIP, None, 0.0)))


def read_back(tmp_path, *insertions: Insertion) -> tuple[Insertion, ...]:
    path = tmp_path / "stranger" / "plan.json"
    path.parent.mkdir(exist_ok=True)
    made = Provenance("1", {}, 0, {})
    write_plan(path, Plan("case", "hash", PlanStatus.PARTIAL, (), insertions, None, {}, 0, 0, None, made))
    return read_plan(path).insertions


def whole_plan(**fields: object) -> Plan:
    """A plan that holds something of everything; some figures at the ends of what planning writes."""
    values: dict[str, object] = dict(
        case_name="case", case_hash="hash", status=PlanStatus.PARTIAL, evidence=(), insertions=(NEEDLE,),
        metrics=Metrics(1.0, 0.0, -9000.0, 0.0, 300.0, 50.0, 0.0), rejected={"table side": 0, "vessel": 7},
        candidate_count=50_000_000, feasible_count=0,
        proof=CoverageProof(
            "HiGHS", "Optimal", 0, 0.0, None, 0.0, 0, 0, "", (LevelOutcome("time", 86_400.0, None, "s", False, ""),)
        ),
        provenance=Provenance("1", {"coverage.margin_mm": 50, "coverage.wanted_margin_mm": None}, 0, {"plan": 0.0}),
        physics=PhysicsVerdict("heat", "60", Metrics(0.0, 0.0, -35.0, 0.0, 0.0, 0.0, 3.0), False, 0),
        likelihoods=(Likelihood("harm", 0.0, 0.0, 0.0), Likelihood("cover", 1.0, 1.0, 1.0)),
    )  # fmt: skip
    return Plan(**(values | fields))


def read_again(tmp_path, plan: Plan) -> Plan:
    path = tmp_path / "stranger" / "plan.json"
    path.parent.mkdir(exist_ok=True)
    write_plan(path, plan)
    return read_plan(path)


def scored(**fields: float) -> Metrics:
    return dataclasses.replace(Metrics(1.0, 0.9, 1.5, 7.0, 30.0, 5.0, 0.3), **fields)


def proven(**fields: object) -> CoverageProof:
    return dataclasses.replace(CoverageProof("HiGHS", "Optimal", 2, 1.0, 2.0, 0.5, 9, 9, ""), **fields)


def asked(**options: object) -> Provenance:
    return Provenance("1", {f"coverage.{name}": value for name, value in options.items()}, 0, {})


def changed(**fields: object) -> Insertion:
    return dataclasses.replace(NEEDLE, **fields)


def aside(mm: float, then: float = 0.0) -> tuple[float, float, float]:
    """A point that far from the entry, obliquely, and then as much farther along an axis."""
    x, y, z = NEEDLE.entry_mm
    return (x + 0.48 * mm + then, y - 0.6 * mm, z + 0.64 * mm)


def test_possible_insertions_are_read_as_they_were_written(tmp_path):
    far = changed(entry_mm=(FURTHEST_MM, 0.0, -FURTHEST_MM), tip_mm=(FURTHEST_MM - 90.0, 0.0, -FURTHEST_MM))
    kept = (NEEDLE, changed(tip_mm=aside(0.9999 * LONGEST_MM)), dataclasses.replace(far, ablations=()))
    assert read_back(tmp_path, *kept) == kept


@pytest.mark.parametrize("value", [1e9, -1e30, 1e308, 1.0001 * FURTHEST_MM])
@pytest.mark.parametrize("place", ["entry_mm", "tip_mm", "ablation"])
def test_positions_out_of_the_world_are_refused_with_their_place(tmp_path, value, place):
    point = (1.0, value, 2.0)
    bad = changed(ablations=(Ablation(point, 65.0, 1.0),)) if place == "ablation" else changed(**{place: point})
    with pytest.raises(PlanFileError, match="within 10000 mm") as refusal:
        read_back(tmp_path, NEEDLE, bad)
    said = str(refusal.value)
    assert "stranger" in said and "insertion 2" in said and "\n" not in said
    assert ("tip_mm of ablation 1" if place == "ablation" else place) in said


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (changed(tip_mm=aside(1.0001 * LONGEST_MM)), "at most 1000 mm from"),
        (changed(ablations=(Ablation(aside(LONGEST_MM, 1.0), 65.0, 1.0),)), "at most 1000 mm from"),
        (changed(tip_mm=NEEDLE.entry_mm), "must differ"),
        (changed(ablations=(Ablation(TIP, -1.0, 300.0),)), "power_w must be 0 to 100000, not -1"),
        (changed(ablations=(Ablation(TIP, 65.0, -math.ulp(0.0)),)), "duration_s must be 0 to"),
        (changed(ablations=(Ablation(TIP, 65.0, 1.0),) * (MOST_OF_EACH + 1)), "at most 100 ablations, not 101"),
        (changed(ablations=(Ablation(TIP, 65.0, 1e30),)), "ablation 1: duration_s must be 0 to"),
        (changed(clearances_mm={"vessel": -1e300}), "clearances_mm: vessel must be"),
    ],
)
def test_what_no_needle_can_be_is_refused(tmp_path, bad, why):
    with pytest.raises(PlanFileError, match=why):
        read_back(tmp_path, bad)


def test_there_may_be_only_so_many(tmp_path):
    assert len(read_back(tmp_path, *[NEEDLE] * MOST_OF_EACH)) == MOST_OF_EACH
    with pytest.raises(PlanFileError, match="at most 100, not 101"):
        read_back(tmp_path, *[NEEDLE] * (MOST_OF_EACH + 1))


def test_a_plan_at_the_ends_of_what_planning_writes_is_read_as_it_was_written(tmp_path):
    plan = whole_plan()
    assert read_again(tmp_path, plan) == plan


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("metrics", scored(margin_mm=1e30), r"metrics: margin_mm must be 0 to 50, not 1e\+30"),
        ("metrics", scored(margin_mm=500.0), "margin_mm must be 0 to 50, not 500"),
        ("metrics", scored(margin_mm=-5.0), "margin_mm must be 0 to 50, not -5"),
        ("metrics", scored(target_coverage_fraction=-5.0), "target_coverage_fraction must be 0 to 1, not -5"),
        ("metrics", scored(margin_coverage_fraction=1.01), "margin_coverage_fraction must be 0 to 1"),
        ("metrics", scored(minimal_margin_mm=-1e300), "minimal_margin_mm must be -40000 to 40000"),
        ("metrics", scored(over_ablation_ml=-1.0), "over_ablation_ml must be 0 to"),
        ("metrics", scored(zone_ml=1e9), "zone_ml must be 0 to 100000"),
        ("metrics", scored(margin_error_bound_mm=-1.0), "margin_error_bound_mm must be 0 to"),
        ("physics", PhysicsVerdict("heat", "60", scored(margin_mm=1e30), True, 1), r"physics.metrics: margin_mm"),
        ("physics", PhysicsVerdict("heat", "60", scored(), True, -1), "physics: rounds must be 0 to"),
        ("candidate_count", -1, "candidate_count must be 0 to"),
        ("feasible_count", -1, "feasible_count must be 0 to"),
        ("rejected", {"table side": -3}, "rejected: table side must be 0 to"),
        ("proof", proven(gap=1.5), "proof: gap must be 0 to 1, not 1.5"),
        ("proof", proven(lower_bound=-1e300), "proof: lower_bound must be 0 to"),
        ("proof", proven(offered_bound=1e300), "proof: offered_bound must be 0 to"),
        (
            "proof",
            proven(levels=(LevelOutcome("time", 1e300, None, "s", False, ""),)),
            "level 1 of the proof: value",
        ),
        ("likelihoods", (Likelihood("harm", 1.5, 0.0, 1.0),), "likelihood 1: probability must be 0 to 1"),
        ("likelihoods", (Likelihood("harm", 0.5, 0.6, 0.9),), "likelihood 1: the probability must lie between"),
        ("provenance", asked(margin_mm=1e30), "option coverage.margin_mm must be a number from 0 to 50"),
        ("provenance", asked(margin_mm="five"), "option coverage.margin_mm must be a number from 0 to 50"),
        ("provenance", asked(margin_mm=True), "option coverage.margin_mm must be a number from 0 to 50"),
        ("provenance", asked(wanted_margin_mm=-1), "option coverage.wanted_margin_mm must be a number from"),
        ("provenance", Provenance("1", {}, 0, {"plan": 1e300}), "timings_s: plan must be"),
    ],
)
def test_figures_that_no_plan_can_have_are_refused(tmp_path, field, value, why):
    with pytest.raises(PlanFileError, match=why) as refusal:
        read_again(tmp_path, whole_plan(**{field: value}))
    assert "stranger" in str(refusal.value) and "\n" not in str(refusal.value)


def changed_file(tmp_path, outcome: Outcome, place: str, value: object) -> Path:
    """An outcome's file in which one place, such as ``trace.phase``, was changed."""
    path = tmp_path / "stranger" / "outcome.json"
    path.parent.mkdir(exist_ok=True)
    write_outcome(path, outcome)
    content = json.loads(path.read_text())
    *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
    owner = content
    for part in way:
        owner = owner[part]
    owner[last] = value
    path.write_text(json.dumps(content))
    return path


SIGNALS = made_outcomes.trace(np.arange(4.0), joints=2)


@pytest.mark.parametrize("signals", [SIGNALS, made_outcomes.trace(np.zeros(0))])
def test_the_outcome_of_a_rehearsal_is_read_as_it_was_written(tmp_path, signals):
    written = made_outcomes.outcome(signals=signals, withdrawn=(made_outcomes.withdrawn(),))
    path = changed_file(tmp_path, written, "seed", 12)
    read = read_outcome(path)
    assert read.needles == written.needles and read.withdrawn == written.withdrawn
    assert np.array_equal(read.trace.displacement_mm, written.trace.displacement_mm)
    assert read.trace.seen_mm.shape == written.trace.seen_mm.shape and read.trace.phase == written.trace.phase


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        ("trace.time_s", [], "displacement_mm of a trace must have the shape"),
        ("trace.time_s", [0.0, 2.0, 1.0, 3.0], "the times of a trace must not fall"),
        ("trace.displacement_mm", [1.0, 2.0, 3.0, 4.0], r"displacement_mm .* \(4, 3\), not \(4,\)"),
        ("trace.seen_mm", [[1.0, 2.0]] * 4, r"seen_mm .* \(4, 3\), not \(4, 2\)"),
        ("trace.joints_rad", [[0.0, 0.0]] * 3, "joints_rad of a trace"),
        ("trace.joints_rad", 4 * [0.0], "joints_rad of a trace"),
        ("trace.gate_open", [], "gate_open of a trace"),
        ("trace.depth_mm", [[0.0]] * 4, "depth_mm of a trace"),
        ("trace.needle", [1.0] * 5, "needle of a trace"),
        ("trace.force_n", [1.0], "force_n of a trace"),
        ("trace.phase", ["insert"], "4 samples has 1 values of phase"),
        ("trace.status", [], "4 samples has 0 values of status"),
        ("trace.needle", [1e9, 2e9, 3e9, 4e9], "trace: needle must be -1 to 100"),
        ("trace.depth_mm", [1e300] * 4, "trace: depth_mm must be"),
        ("needles.0.tip_error_mm", 1e300, "needle 1: tip_error_mm must be"),
        ("needles.0.angle_error_deg", 200.0, "needle 1: angle_error_deg must be 0 to 180"),
        ("needles.0.end_s", 1e300, "needle 1: end_s must be"),
        ("needles.0.closest_mm", {"aorta": 1e300}, "needle 1: closest_mm: aorta must be"),
        ("withdrawn.0.deepest_mm", 1e300, "withdrawn needle 1: deepest_mm must be"),
        ("events.0.time_s", 1e300, "event: time_s must be"),
        ("duration_s", -1.0, "duration_s must be 0 to"),
        ("strategy", "../../elsewhere", "strategy must be a short name"),
        ("strategy", "a" * 5000, "strategy must be a short name"),
    ],
)
def test_signals_and_figures_that_no_rehearsal_can_have_are_refused(tmp_path, place, value, why):
    written = made_outcomes.outcome(signals=SIGNALS, withdrawn=(made_outcomes.withdrawn(),))
    with pytest.raises(PlanFileError, match=why) as refusal:
        read_outcome(changed_file(tmp_path, written, place, value))
    said = str(refusal.value)
    assert "stranger" in said and "\n" not in said and len(said) < 400


def test_a_file_that_is_no_json_is_named_with_its_folder(tmp_path):
    path = tmp_path / "one" / "plan.json"
    path.parent.mkdir()
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PlanFileError, match=r"one/plan\.json: not JSON"):
        read_plan(path)
