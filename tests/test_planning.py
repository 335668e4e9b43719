"""The whole planning chain on small cases, and the plan file."""

import dataclasses
import json
import re

import numpy as np
import pytest
from made_cases import ball, joined, made_case, motion, queries_of

from needleplan.assess import assess
from needleplan.case.model import Role, Structure
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.time_limits import over_time, searches_ended_by_time
from needleplan.errors import DeviceError, OptionError, PlanFileError
from needleplan.io.plan_file import read_outcome, read_plan, write_plan
from needleplan.io.value_json import from_json, parse_strict, to_json
from needleplan.outcome import Trace
from needleplan.percentages import percent_down
from needleplan.plan import PlanStatus
from needleplan.planning import PlanningOptions, find_paths, make_plan
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits

OPTIONS = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=16.0, aim_count=12),
    coverage=CoverageOptions(margin_mm=4.0, point_count=1200, paths_per_aim=6, time_limit_s=20.0),
)


def small_case():
    return made_case(
        ball((12, 5, -8), 14, 3, (1.0, 0.8, 1.3)),
        ball((0, 4, 0), 85, 4, (1.1, 0.8, 1.2)),
        Structure("liver", Role.ORGAN, ball((8, 3, -4), 42, 3)),
        Structure("vessel", Role.VESSEL, ball((30, -25, 5), 9, 3)),
        Structure("rib", Role.BONE, ball((-15, -50, -20), 10, 3, (2.5, 0.6, 0.8))),
    )


@pytest.fixture(scope="module")
def planned():
    queries = queries_of(small_case())
    return make_plan(queries, OPTIONS), queries


def test_a_feasible_case_gets_a_plan_that_keeps_what_it_says(planned):
    planning, queries = planned
    plan = planning.plan
    assert plan.status in (PlanStatus.COMPLETE, PlanStatus.PARTIAL) and plan.insertions
    assert [i.order for i in plan.insertions] == list(range(1, len(plan.insertions) + 1))
    for insertion in plan.insertions:
        assert insertion.clearances_mm.keys() == {"vessel", "rib"}
        assert min(insertion.clearances_mm.values()) >= 2.0 - 1e-3
        assert insertion.depth_mm <= 200
        assert insertion.direction @ queries.anatomy.case.up <= 1e-9
    assert plan.candidate_count == len(planning.candidates) > plan.feasible_count > 0
    assert plan.proof.lower_bound <= plan.proof.insertions == len(plan.insertions)
    assert 0 <= plan.proof.gap < 1
    assert plan.provenance.options["coverage.margin_mm"] == 4.0


def test_assessing_the_plan_gives_its_own_metrics(planned):
    planning, queries = planned
    again = assess(queries, planning.plan.insertions, planning.zone_model, OPTIONS.coverage.margin_mm)
    assert again.metrics == planning.plan.metrics
    np.testing.assert_array_equal(again.vertex_margins_mm, planning.assessment.vertex_margins_mm)
    least = again.vertex_margins_mm.min()
    assert again.metrics.minimal_margin_mm <= least <= again.metrics.minimal_margin_mm + 1.5
    with pytest.raises(OptionError, match="no ablation"):
        assess(queries, (), planning.zone_model, 4.0)


def test_metrics_agree_with_counting_points(planned):
    planning, queries = planned
    metrics = planning.plan.metrics
    zone = planning.zone_model.zone(planning.plan.insertions)
    rng = np.random.default_rng(0)
    low, high = queries.anatomy.target.mesh.bounds_mm
    points = rng.uniform(low - 4, high + 4, (300_000, 3))
    depth = queries.distance(queries.anatomy.target).signed_distance_mm(points)
    hit = zone.contains(points)
    assert metrics.target_coverage_fraction == pytest.approx(hit[depth <= 0].mean(), abs=0.005)
    assert metrics.margin_coverage_fraction == pytest.approx(hit[depth <= 4].mean(), abs=0.005)
    box = rng.uniform(*zone.bounds_mm, (300_000, 3))
    held = zone.contains(box)
    volume = np.prod(zone.bounds_mm[1] - zone.bounds_mm[0]) / 1000
    outside = queries.distance(queries.anatomy.target).signed_distance_mm(box) > 4
    assert metrics.zone_ml == pytest.approx(held.mean() * volume, rel=0.02)
    assert metrics.over_ablation_ml == pytest.approx((held & outside).mean() * volume, rel=0.05, abs=0.3)


def without_times(plan):
    return dataclasses.replace(plan, provenance=dataclasses.replace(plan.provenance, timings_s={}))


def test_the_same_case_gives_the_same_plan(planned):
    again = make_plan(queries_of(small_case()), OPTIONS).plan
    assert without_times(again) == without_times(planned[0].plan)


@pytest.mark.long
def test_plans_that_share_a_search_are_those_that_search_themselves(planned):
    planning, queries = planned
    paths = find_paths(queries, OPTIONS)
    narrow = dataclasses.replace(OPTIONS, coverage=dataclasses.replace(OPTIONS.coverage, margin_mm=1.0))
    shared = make_plan(queries, narrow, paths=paths).plan
    assert without_times(make_plan(queries, OPTIONS, paths=paths).plan) == without_times(planning.plan)
    assert without_times(make_plan(queries, narrow).plan) == without_times(shared) != without_times(planning.plan)
    other = dataclasses.replace(OPTIONS, applicator="generic-rfa-cooled-30")
    with pytest.raises(OptionError, match="generic-mwa-2450, not generic-rfa-cooled-30"):
        make_plan(queries, other, paths=paths)


@pytest.mark.long
def test_a_search_that_its_time_ends_is_noted_for_whoever_asks(planned):
    hurried = dataclasses.replace(OPTIONS, coverage=dataclasses.replace(OPTIONS.coverage, time_limit_s=1e-6))
    with searches_ended_by_time() as ended:
        make_plan(planned[1], hurried)
    with searches_ended_by_time() as unhurried:
        make_plan(planned[1], OPTIONS)
    assert ended and not unhurried
    assert over_time(True, "nobody asks") and not over_time(False, "nobody asks")


@pytest.mark.parametrize("seed", [3, 14])
def test_a_moved_patient_gets_the_moved_plan(planned, seed):
    matrix = motion(seed)
    moved = make_plan(queries_of(small_case().moved(matrix)), OPTIONS).plan
    plan = planned[0].plan
    assert (moved.status, moved.candidate_count, moved.rejected) == (
        plan.status,
        plan.candidate_count,
        plan.rejected,
    )
    assert len(moved.insertions) == len(plan.insertions)
    for mine, theirs in zip(plan.insertions, moved.insertions, strict=True):
        for point, image in ((mine.entry_mm, theirs.entry_mm), (mine.tip_mm, theirs.tip_mm)):
            np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], image, atol=1e-3)
        assert [(a.power_w, a.duration_s) for a in mine.ablations] == [
            (a.power_w, a.duration_s) for a in theirs.ablations
        ]
        assert mine.clearances_mm == pytest.approx(theirs.clearances_mm, abs=2e-3)
    # Where zones meet, their boundary is halved until some micrometres are left, and ends elsewhere when moved.
    for name in ("target_coverage_fraction", "margin_coverage_fraction", "minimal_margin_mm"):
        assert getattr(moved.metrics, name) == pytest.approx(getattr(plan.metrics, name), abs=1e-2)


@pytest.fixture(scope="module")
def walled_in():
    shell = joined(ball((12, 5, -8), 40, 3), ball((12, 5, -8), 30, 3).flipped())
    case = made_case(ball((12, 5, -8), 14), ball((0, 4, 0), 85, 4), Structure("bone", Role.BONE, shell))
    return make_plan(queries_of(case), OPTIONS).plan


def test_an_infeasible_case_ends_with_evidence(walled_in):
    assert walled_in.status is PlanStatus.INFEASIBLE
    assert walled_in.insertions == () and walled_in.metrics is None and walled_in.proof is None
    assert walled_in.feasible_count == 0 and walled_in.rejected["clearance to bone"] == walled_in.candidate_count
    assert walled_in.evidence[0].subject == "clearance to bone" and walled_in.evidence[0].remedy


@pytest.mark.long
def test_too_few_insertions_are_said_to_be_too_few():
    options = dataclasses.replace(
        OPTIONS,
        coverage=dataclasses.replace(
            OPTIONS.coverage, maximum_insertions=1, margin_mm=10.0, point_count=500, time_limit_s=2.0
        ),
    )
    plan = make_plan(queries_of(small_case()), options).plan
    assert plan.status is PlanStatus.PARTIAL and len(plan.insertions) == 1
    assert plan.proof.status == "limited" and plan.proof.lower_bound > 1
    assert any(e.subject in ("number of insertions", "needles among each other") for e in plan.evidence)
    told = " ".join(e.finding for e in plan.evidence)
    target, margin = plan.metrics.target_coverage_fraction, plan.metrics.margin_coverage_fraction
    assert f"{percent_down(target)} of the target and {percent_down(margin)} of target plus margin are" in told


def test_impossible_options_are_refused_before_any_work():
    queries = queries_of(small_case())
    with pytest.raises(DeviceError, match="no applicator is named"):
        make_plan(queries, dataclasses.replace(OPTIONS, applicator="nothing"))
    with pytest.raises(DeviceError, match="no zones for the setting"):
        make_plan(queries, dataclasses.replace(OPTIONS, setting="nothing"))
    with pytest.raises(OptionError, match="clearance to"):
        make_plan(queries, dataclasses.replace(OPTIONS, limits=PathLimits(bone_mm=float("nan"))))


def test_plan_file_gives_the_plan_back(planned, walled_in, tmp_path):
    for plan in (planned[0].plan, walled_in):
        write_plan(tmp_path / "plan.json", plan)
        assert read_plan(tmp_path / "plan.json") == plan
        text = (tmp_path / "plan.json").read_text()
        assert str(tmp_path) not in text and "/home" not in text and "/work" not in text
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.json"]


def change(text, pattern, replacement):
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return changed


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r'"candidate_count": \d+', '"candidate_count": NaN', "NaN is not a number"),
        (r'"candidate_count": \d+', '"candidate_count": -Infinity', "is not a number"),
        (r'"candidate_count": \d+', '"candidate_count": 12.5', r"candidate_count must be of type int, not float"),
        (r'"candidate_count": \d+', '"candidate_count": true', r"candidate_count must be of type int, not bool"),
        (r'"case_name": "made"', '"case_name": "made", "case_name": "made"', "'case_name' occurs twice"),
        (r'"case_name": "made"', '"case_name": 5', "case_name must be of type str, not int"),
        (r'"case_name": "made",', "", "lacks the field 'case_name'"),
        (r'"case_name"', '"colour": 1, "case_name"', "unknown field 'colour': it takes"),
        (r'"version": 2', '"version": 1', "version 1 is not known"),
        (r'"version": 2', '"version": true', "version True is not known"),
        (r'"version": 2', '"version": 1.0', "version 1.0 is not known"),
        (r"needleplan\.plan", "needleplan.outcome", "not a needleplan.plan file"),
        (r'"status": "\w+"', '"status": "splendid"', "must be one of complete, partial, infeasible"),
        (r'"status": "\w+"', '"status": [1]', "must be one of complete, partial, infeasible"),
        (r'"duration_s": [\d.]+', '"duration_s": 1e999', "must be a finite number"),
        (r'"duration_s": [\d.]+', '"duration_s": 1' + 400 * "0", "must be a finite number"),
        (r'"entry_mm": \[\s*[-\d.]+,', '"entry_mm": [', "must hold 3 values, not 2"),
        (r'"insertions": \[', '"insertions": [[],', "must be an object with the fields of Insertion"),
        (r"\}\s*$", "", "not JSON"),
        (r"^.*$", "[" * 100_000, "not JSON|nested too deeply"),
        (r"^.*$", "[1, 2]", "not a needleplan.plan file"),
    ],
)
def test_damaged_plan_files_are_refused_in_one_sentence(planned, tmp_path, pattern, replacement, message):
    path = tmp_path / "plan.json"
    write_plan(path, planned[0].plan)
    path.write_text(change(path.read_text(), pattern, replacement))
    with pytest.raises(PlanFileError, match=message) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_missing_foreign_and_binary_files_are_refused(planned, tmp_path):
    with pytest.raises(PlanFileError):
        read_plan(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(PlanFileError, match="not UTF-8"):
        read_plan(tmp_path / "binary.json")
    write_plan(tmp_path / "plan.json", planned[0].plan)
    with pytest.raises(PlanFileError, match=r"not a needleplan.outcome file"):
        read_outcome(tmp_path / "plan.json")


def test_values_that_json_cannot_hold_are_not_written(planned, tmp_path):
    broken = dataclasses.replace(
        planned[0].plan, metrics=dataclasses.replace(planned[0].plan.metrics, zone_ml=np.nan)
    )
    with pytest.raises(PlanFileError, match="finite"):
        write_plan(tmp_path / "plan.json", broken)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PlanFileError, match="cannot be written"):
        to_json({"a": {1, 2}})


@pytest.mark.parametrize(
    "times", [["1", "2"], [True, False], [None, 1], [[1], [1, 2]], 5, {}, [10**400], ["x"], [1e999]]
)
def test_arrays_hold_numbers_only(times):
    none, places = np.zeros(2), np.zeros((2, 3))
    trace = Trace(none, places, none, none, none, np.zeros((2, 7)), places, none, ("a", "b"), ("c", "d"))
    data = json.loads(json.dumps(to_json(trace)))
    assert from_json(Trace, data, "trace").time_s.tolist() == [0.0, 0.0]
    data["time_s"] = times
    with pytest.raises(PlanFileError, match=r"trace.time_s"):
        from_json(Trace, data, "trace")


def test_strict_parsing_keeps_numbers_apart():
    assert parse_strict('{"a": [1, 1.0, null]}', "here") == {"a": [1, 1.0, None]}
    with pytest.raises(PlanFileError, match="here: the key 'a' occurs twice"):
        parse_strict('{"b": {"a": 1, "a": 1}}', "here")
    with pytest.raises(PlanFileError, match="here: a text in it is cut inside a letter"):
        parse_strict('{"a": ["\\ud83d"]}', "here")
    assert parse_strict('{"a": "\\ud83d\\ude00"}', "here") == {"a": "\U0001f600"}
