"""Outcomes as JSON and as Parquet: what is read is what was written."""

import dataclasses
import json

import numpy as np
import pytest
from made_outcomes import CASE_HASH, EVENTS, metrics, needle, outcome, run, trace, withdrawn
from pyarrow import parquet

from needleplan.errors import PlanFileError
from needleplan.io.outcome_table import NEEDLE_FIGURES, write_outcome_tables, write_run_table
from needleplan.io.plan_file import plan_hash, read_outcome, write_outcome
from needleplan.outcome import CLOSEST_CAP_MM, EventKind, RehearsalRun
from needleplan.plan import Plan, PlanStatus, Provenance

PLAN_HASH = "cd" * 32


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    first = outcome([needle(1.25), needle(2.5, order=3)], withdrawn=(withdrawn(),))
    path = tmp_path / "outcome.json"
    write_outcome(path, first)
    again = read_outcome(path)
    for field in dataclasses.fields(first):
        if field.name != "trace":
            assert getattr(again, field.name) == getattr(first, field.name), field.name
    for field in dataclasses.fields(first.trace):
        np.testing.assert_array_equal(getattr(again.trace, field.name), getattr(first.trace, field.name))
    assert again.events[1].kind is EventKind.PUNCTURE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(version=1), "version 1 is not known"),
        (lambda data: data["events"][0].update(kind="sneeze"), "must be one of"),
        (
            lambda data: data["needles"][0]["closest_mm"].update(aorta="near"),
            "closest_mm.aorta must be of type float",
        ),
        (lambda data: data.pop("strategy"), "lacks the field 'strategy'"),
        (lambda data: data.update(gating=True), "unknown field 'gating'"),
    ],
)
def test_a_damaged_outcome_is_refused(tmp_path, change, words):
    path = tmp_path / "outcome.json"
    write_outcome(path, outcome())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(PlanFileError, match=words):
        read_outcome(path)


def test_tables_hold_what_the_outcomes_hold(tmp_path):
    gated = outcome([needle(1.25, closest_mm={"aorta": CLOSEST_CAP_MM})])
    free = outcome([needle(6.5)], "free-breathing", not_reached=(), events=())
    paths = write_outcome_tables(tmp_path / "tables", [gated, free], PLAN_HASH)
    assert [path.name for path in paths] == ["needles.parquet", "trace.parquet", "events.parquet"]
    needles, signals, events = (parquet.read_table(path) for path in paths)
    for table, name in ((needles, "needles"), (signals, "trace"), (events, "events")):
        known = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        assert known == {
            "schema": f"needleplan.{name}", "version": "1", "case_name": "small", "case_hash": CASE_HASH,
            "plan_hash": PLAN_HASH,
        }  # fmt: skip
    rows = needles.to_pylist()
    assert [(row["strategy"], row["needle"], row["carried_out"]) for row in rows] == [
        ("amplitude-gating", 1, True), ("amplitude-gating", 2, False), ("free-breathing", 1, True),
    ]  # fmt: skip
    for row, placed in ((rows[0], gated.needles[0]), (rows[2], free.needles[0])):
        assert {name: row[name] for name in NEEDLE_FIGURES} == {n: getattr(placed, n) for n in NEEDLE_FIGURES}
        for end in ("entry", "tip"):
            point = tuple(row[f"executed_{end}_{axis}_mm"] for axis in ("left", "posterior", "superior"))
            assert point == getattr(placed.executed, f"{end}_mm")
        assert dict(row["closest_mm"]) == placed.closest_mm and tuple(row["punctured"]) == placed.punctured
    assert rows[1]["reason"] == "out of reach" and all(rows[1][name] is None for name in NEEDLE_FIGURES)
    assert signals.num_rows == 2 * len(gated.trace.time_s)
    first = signals.slice(0, len(gated.trace.time_s))
    for name, expected in (
        ("time_s", gated.trace.time_s),
        ("displacement_superior_mm", gated.trace.displacement_mm[:, 2]),
        ("seen_superior_mm", gated.trace.seen_mm[:, 2]),
        ("gate_open", gated.trace.gate_open > 0.5),
        ("depth_mm", gated.trace.depth_mm),
        ("force_n", gated.trace.force_n),
        ("joint_7_rad", gated.trace.joints_rad[:, 6]),
        ("status", list(gated.trace.status)),
    ):
        np.testing.assert_array_equal(first[name].to_pylist(), expected)
    assert [(e["time_s"], e["kind"], e["structure"]) for e in events.to_pylist()] == [
        (event.time_s, event.kind.value, event.structure) for event in EVENTS
    ]


def test_needles_given_up_in_the_patient_tell_what_they_did_there(tmp_path):
    lost = withdrawn(2)
    missed = ((2, "given up"), (3, "out of reach"))
    done = outcome([needle(1.25)], not_reached=missed, withdrawn=(lost,))
    single = parquet.read_table(write_outcome_tables(tmp_path, [done], PLAN_HASH)[0]).to_pylist()
    path = tmp_path / "runs.parquet"
    write_run_table(path, [RehearsalRun.of(done, 1, metrics())], "small", CASE_HASH, PLAN_HASH)
    for placed, given_up, never in (single, parquet.read_table(path).to_pylist()):
        assert placed["carried_out"] and placed["deepest_mm"] is None
        assert (given_up["carried_out"], given_up["reason"]) == (False, "given up")
        assert (given_up["deepest_mm"], given_up["peak_force_n"], given_up["peak_tip_force_n"]) == (42.5, 6.5, 3.0)
        assert dict(given_up["closest_mm"]) == lost.closest_mm and tuple(given_up["punctured"]) == lost.punctured
        # It has no error and no end, and one that never entered has nothing at all.
        figures = {name for name in NEEDLE_FIGURES if given_up[name] is not None}
        assert figures == {"peak_force_n", "peak_tip_force_n"}
        empty = (*NEEDLE_FIGURES, "deepest_mm", "closest_mm", "punctured", "executed_tip_left_mm")
        assert all(never[name] is None for name in empty)


def test_tables_of_different_cases_or_of_nothing_are_refused(tmp_path):
    with pytest.raises(PlanFileError, match="at least one"):
        write_outcome_tables(tmp_path, [], PLAN_HASH)
    with pytest.raises(PlanFileError, match="different cases"):
        write_outcome_tables(tmp_path, [outcome(), outcome(case_hash="0" * 64)], PLAN_HASH)
    with pytest.raises(PlanFileError, match="different robots"):
        write_outcome_tables(tmp_path, [outcome(), outcome(signals=trace(joints=6))], PLAN_HASH)
    with pytest.raises(PlanFileError, match="at least one"):
        write_run_table(tmp_path / "runs.parquet", [], "small", CASE_HASH, PLAN_HASH)
    assert not (tmp_path / "trace.parquet").exists()


def test_runs_have_a_row_a_needle(tmp_path):
    path = tmp_path / "runs.parquet"
    runs = [
        run(1, [needle(1.0), needle(2.0, order=2)]),
        run(2, [needle(3.0)], not_reached=((2, "stopped"),), metrics=None),
    ]
    write_run_table(path, runs, "small", CASE_HASH, PLAN_HASH)
    rows = parquet.read_table(path).to_pylist()
    assert [(row["run"], row["seed"], row["needle"], row["tip_error_mm"]) for row in rows] == [
        (1, 101, 1, 1.0), (1, 101, 2, 2.0), (2, 102, 1, 3.0), (2, 102, 2, None),
    ]  # fmt: skip
    assert [row["covers"] for row in rows] == [True, True, False, False]
    assert [row["minimal_margin_mm"] for row in rows] == [1.0, 1.0, None, None]
    assert rows[3]["reason"] == "stopped"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_keeps_all_but_the_trace_and_the_states():
    kept = RehearsalRun.of(outcome(), 7, metrics(-0.5))
    assert (kept.run, kept.seed, kept.strategy) == (7, 11, "amplitude-gating")
    assert [event.kind for event in kept.events] == [EventKind.PUNCTURE, EventKind.FAULT, EventKind.STOP]
    # What is left uncovered between the cubes of the volume shows in the margin alone, and the other way round.
    assert not kept.covers
    assert not RehearsalRun.of(outcome(), 7, metrics(0.5, 0.999)).covers
    assert RehearsalRun.of(outcome(), 7, metrics(0.0)).covers


def test_the_hash_of_a_plan_is_that_of_its_content():
    def plan(seed):
        made = Provenance("0", {"b": 1, "a": 2}, seed, {})
        return Plan("small", CASE_HASH, PlanStatus.PARTIAL, (), (), None, {}, 1, 1, None, made)

    assert plan_hash(plan(1)) == plan_hash(plan(1)) != plan_hash(plan(2))
    assert len(plan_hash(plan(1))) == 64
