"""Outcomes of rehearsals as Parquet tables: needles, traces, events, and one row a needle and run of many.

Units stand in the names of the columns. The schema's metadata hold what the tables are of: schema and version, name
and content hash of the case, hash of the plan. Points are split into the patient's left, posterior and superior.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import PlanFileError
from needleplan.io.bounded import write_atomically
from needleplan.outcome import NeedleOutcome, Outcome, RehearsalRun, WithdrawnNeedle

#: Version of the tables.
TABLE_VERSION = 1
#: Figures of a needle, as its outcome names them.
NEEDLE_FIGURES = (
    "tip_error_mm", "lateral_error_mm", "depth_error_mm", "angle_error_deg", "start_s", "end_s", "waited_s",
    "displacement_at_start_mm", "displacement_at_end_mm", "breaths", "bend_mm", "corrections", "peak_force_n",
    "peak_tip_force_n",
)  # fmt: skip
#: Figures of a run's score, as its metrics name them.
SCORE_FIGURES = ("target_coverage_fraction", "margin_coverage_fraction", "minimal_margin_mm")

#: Those of them that a needle that was given up in the patient has too.
_GIVEN_UP_FIGURES = ("peak_force_n", "peak_tip_force_n")
_AXES = ("left", "posterior", "superior")
Columns = dict[str, tuple[Any, list[Any]]]


def write_outcome_tables(folder: Path, outcomes: Sequence[Outcome], plan_hash: str) -> tuple[Path, ...]:
    """needles.parquet, trace.parquet and events.parquet of one or several rehearsals of a plan.

    Needles that were not carried out have a row with the reason. Where they had been in the patient it has how
    deep, the peak forces, the least distances and what was punctured too; ``deepest_mm`` is theirs alone.

    Args:
        folder: where to; it is made.
        outcomes: the rehearsals, which their strategy and seed tell apart.
        plan_hash: of the plan that they carried out.

    Raises:
        PlanFileError: there is none, or they are of different cases.
    """
    if not outcomes:
        raise PlanFileError("tables of rehearsals need at least one rehearsal")
    if len({outcome.case_hash for outcome in outcomes}) > 1:
        raise PlanFileError("rehearsals of different cases do not go into one table")
    first = outcomes[0]
    paths = []
    for name, columns in (
        ("needles", _needle_columns([(_key(o), o) for o in outcomes])),
        ("trace", _trace_columns(outcomes)),
        ("events", _event_columns(outcomes)),
    ):
        path = folder / f"{name}.parquet"
        _write(path, columns, _metadata(f"needleplan.{name}", first.case_name, first.case_hash, plan_hash))
        paths.append(path)
    return tuple(paths)


def write_run_table(
    path: Path, runs: Sequence[RehearsalRun], case_name: str, case_hash: str, plan_hash: str
) -> None:
    """One row a needle and run, those that were not carried out included as ``write_outcome_tables`` has them.

    Raises:
        PlanFileError: there is no run.
    """
    if not runs:
        raise PlanFileError("a table of rehearsals needs at least one run")
    rows = []
    for run in runs:
        key: dict[str, Any] = {"strategy": run.strategy, "run": run.run, "seed": run.seed, "motion": run.motion}
        key |= {"run_duration_s": run.duration_s, "run_breaths": run.breaths, "covers": run.covers}
        for name in SCORE_FIGURES:
            key[name] = None if run.metrics is None else getattr(run.metrics, name)
        rows.append((key, run))
    _write(path, _needle_columns(rows), _metadata("needleplan.rehearsals", case_name, case_hash, plan_hash))


def _metadata(schema: str, case_name: str, case_hash: str, plan_hash: str) -> dict[str, str]:
    return {
        "schema": schema, "version": str(TABLE_VERSION), "case_name": case_name, "case_hash": case_hash,
        "plan_hash": plan_hash,
    }  # fmt: skip


def _key(outcome: Outcome) -> dict[str, Any]:
    return {"strategy": outcome.strategy, "seed": outcome.seed}


def _needle_columns(rows: Sequence[tuple[Mapping[str, Any], Outcome | RehearsalRun]]) -> Columns:
    """Columns of needles; those that were not carried out have the reason, and figures where they had been in."""
    import pyarrow as pa

    kinds: dict[type, Any] = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}
    columns: Columns = {}

    def add(name: str, kind: Any, value: Any) -> None:
        columns.setdefault(name, (kind, []))[1].append(value)

    for key, whole in rows:
        given_up: dict[int, WithdrawnNeedle] = {needle.order: needle for needle in whole.withdrawn}
        outcomes: list[tuple[int, str, NeedleOutcome | None]] = [(n.planned.order, "", n) for n in whole.needles]
        outcomes += [(order, reason, None) for order, reason in whole.not_reached]
        for order, reason, needle in sorted(outcomes, key=lambda row: row[0]):
            for name, value in key.items():
                add(name, kinds.get(type(value), pa.float64()), value)
            add("needle", pa.int64(), order)
            add("carried_out", pa.bool_(), needle is not None)
            add("reason", pa.string(), reason)
            withdrawn = given_up.get(order)
            entered = needle or withdrawn
            for name in NEEDLE_FIGURES:
                kind = pa.int64() if name == "corrections" else pa.float64()
                source = entered if name in _GIVEN_UP_FIGURES else needle
                add(name, kind, None if source is None else getattr(source, name))
            add("deepest_mm", pa.float64(), None if withdrawn is None else withdrawn.deepest_mm)
            for end in ("entry", "tip"):
                point = (None,) * 3 if needle is None else getattr(needle.executed, f"{end}_mm")
                for axis, value in zip(_AXES, point, strict=True):
                    add(f"executed_{end}_{axis}_mm", pa.float64(), value)
            closest = None if entered is None else list(entered.closest_mm.items())
            add("closest_mm", pa.map_(pa.string(), pa.float64()), closest)
            add("punctured", pa.list_(pa.string()), None if entered is None else list(entered.punctured))
    return columns


def _trace_columns(outcomes: Sequence[Outcome]) -> Columns:
    import pyarrow as pa

    joints = max(o.trace.joints_rad.shape[1] for o in outcomes)
    columns: Columns = {}

    def add(name: str, kind: Any, values: Any) -> None:
        columns.setdefault(name, (kind, []))[1].extend(np.asarray(values).tolist())

    for outcome in outcomes:
        trace = outcome.trace
        count = len(trace.time_s)
        if trace.joints_rad.shape[1] != joints:
            raise PlanFileError("rehearsals with different robots do not go into one table")
        add("strategy", pa.string(), [outcome.strategy] * count)
        add("seed", pa.int64(), [outcome.seed] * count)
        add("time_s", pa.float64(), trace.time_s)
        for name, points in (("displacement", trace.displacement_mm), ("seen", trace.seen_mm)):
            for axis, values in zip(_AXES, points.T, strict=True):
                add(f"{name}_{axis}_mm", pa.float64(), values)
        add("gate_open", pa.bool_(), trace.gate_open > 0.5)
        add("depth_mm", pa.float64(), trace.depth_mm)
        add("needle", pa.int64(), trace.needle.astype(np.int64))
        add("force_n", pa.float64(), trace.force_n)
        for joint in range(joints):
            add(f"joint_{joint + 1}_rad", pa.float64(), trace.joints_rad[:, joint])
        add("phase", pa.string(), list(trace.phase))
        add("status", pa.string(), list(trace.status))
    return columns


def _event_columns(outcomes: Sequence[Outcome]) -> Columns:
    import pyarrow as pa

    rows = [(outcome, event) for outcome in outcomes for event in outcome.events]
    return {
        "strategy": (pa.string(), [outcome.strategy for outcome, _ in rows]),
        "seed": (pa.int64(), [outcome.seed for outcome, _ in rows]),
        "time_s": (pa.float64(), [event.time_s for _, event in rows]),
        "needle": (pa.int64(), [event.needle for _, event in rows]),
        "kind": (pa.string(), [event.kind.value for _, event in rows]),
        "text": (pa.string(), [event.text for _, event in rows]),
        "structure": (pa.string(), [event.structure for _, event in rows]),
    }


def _write(path: Path, columns: Columns, metadata: dict[str, str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([pa.field(name, kind) for name, (kind, _) in columns.items()], metadata=metadata)
    table = pa.table([pa.array(values, kind) for kind, values in columns.values()], schema=schema)
    write_atomically(path, lambda part: parquet.write_table(table, part))
