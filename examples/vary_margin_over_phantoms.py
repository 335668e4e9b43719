"""A first study: how many insertions does a wider margin cost, over seeded random patients?

    python examples/vary_margin_over_phantoms.py --phantoms 20 --out margins.csv

One row for each patient and margin. A patient who cannot be planned is a row that says why, never the end.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TextIO

import numpy as np
from rich.console import Console

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import make_phantom, random_parameters
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.progress import progress_bar
from needleplan.coverage.options import CoverageOptions
from needleplan.errors import NeedleplanError
from needleplan.plan import Plan
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.sampling import SamplingOptions

#: Coarser than the planner's defaults, so that a first look takes seconds a patient.
QUICK = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=14.0, aim_count=20),
    coverage=CoverageOptions(paths_per_aim=12, point_count=6_000, time_limit_s=5.0),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One planned patient; figures are None where there is no plan to have them."""

    seed: int
    margin_mm: float
    status: str
    reason: str
    target_ml: float | None = None
    insertions: int | None = None
    lower_bound: float | None = None
    coverage: float | None = None
    margin_coverage: float | None = None
    least_margin_mm: float | None = None
    over_ablation_ml: float | None = None
    seconds: float | None = None


def main(
    phantoms: int = 3,
    margins_mm: Sequence[float] = (0.0, 5.0, 10.0),
    out: Path | None = None,
    first_seed: int = 0,
    options: PlanningOptions = QUICK,
) -> list[Row]:
    """Plan every patient with every margin; rows are written to ``out`` as they come, and returned."""
    rows: list[Row] = []
    console = Console(stderr=True)
    with progress_bar(console, f"planning {phantoms} patients") as progress:
        for k, seed in enumerate(range(first_seed, first_seed + phantoms)):
            progress(f"patient {seed}", k / phantoms)
            rows += study_patient(seed, margins_mm, options)
            if out is not None:
                with out.open("w", newline="", encoding="utf-8") as stream:
                    write_rows(stream, rows)
    if out is None:
        write_rows(sys.stdout, rows)
    return rows


def study_patient(seed: int, margins_mm: Sequence[float], options: PlanningOptions) -> list[Row]:
    """One row for each margin; the patient is built once."""
    generator = np.random.default_rng(seed)
    try:
        queries = AnatomyQueries(build_anatomy(make_phantom(random_parameters(generator), generator).case(2.0)))
    except NeedleplanError as error:
        return [Row(seed, margin, "no patient", str(error)) for margin in margins_mm]
    rows = []
    for margin_mm in margins_mm:
        start = time.perf_counter()
        try:
            wanted = replace(options, seed=seed, coverage=replace(options.coverage, margin_mm=margin_mm))
            plan = make_plan(queries, wanted).plan
        except NeedleplanError as error:
            rows.append(Row(seed, margin_mm, "error", str(error)))
            continue
        target_ml = queries.anatomy.target.mesh.volume_mm3 / 1000.0
        rows.append(as_row(seed, margin_mm, plan, target_ml, time.perf_counter() - start))
    return rows


def as_row(seed: int, margin_mm: float, plan: Plan, target_ml: float, seconds: float) -> Row:
    """The figures of one plan."""
    reason = "" if plan.status == "complete" else "; ".join(f"{e.subject}: {e.finding}" for e in plan.evidence)
    row = Row(seed, margin_mm, plan.status.value, reason, round(target_ml, 2), seconds=round(seconds, 2))
    if plan.metrics is None or plan.proof is None:
        return row
    return replace(
        row,
        insertions=len(plan.insertions),
        lower_bound=plan.proof.lower_bound,
        coverage=round(plan.metrics.target_coverage_fraction, 4),
        margin_coverage=round(plan.metrics.margin_coverage_fraction, 4),
        least_margin_mm=round(plan.metrics.minimal_margin_mm, 2),
        over_ablation_ml=round(plan.metrics.over_ablation_ml, 1),
    )


def write_rows(stream: TextIO, rows: Sequence[Row]) -> None:
    """The rows as CSV with a heading; an empty cell stands for a figure that does not exist."""
    writer = csv.writer(stream, lineterminator="\n")
    names = [field.name for field in fields(Row)]
    writer.writerow(names)
    for row in rows:
        values = [getattr(row, name) for name in names]
        writer.writerow(["" if value is None else value for value in values])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=3, help="number of random patients (3)")
    parser.add_argument("--margins-mm", type=float, nargs="+", default=[0.0, 5.0, 10.0], help="margins (0 5 10)")
    parser.add_argument("--out", type=Path, help="CSV to write; printed where left out")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first patient (0)")
    parser.add_argument("--fine", action="store_true", help="the planner's own sampling, several times slower")
    arguments = parser.parse_args()
    main(
        arguments.phantoms,
        arguments.margins_mm,
        arguments.out,
        arguments.first_seed,
        PlanningOptions() if arguments.fine else QUICK,
    )
