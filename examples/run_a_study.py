"""A study in Python: devices and margins over seeded random patients, on every core, as a table.

    python examples/run_a_study.py --phantoms 20 --out out/study

The same is `needleplan study study.toml --out DIR` with a file; here cases and factors are made by a script. One
who cannot be planned is a row that says why, never the end. Run it again with --resume after it was stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from needleplan.anatomy.phantom import random_parameters
from needleplan.app.study.engine import run_study
from needleplan.app.study.study import Cell, Effort, Outputs, Row, Study, StudyCase
from needleplan.io.study_table import read_rows

#: Coarser than the planner's defaults, so that a first look takes seconds a patient.
QUICK = Effort(entry_spacing_mm=20.0, aims=10, search_paths=0, paths_per_aim=8, points=2_000, refine=False)


def main(
    out: Path,
    phantoms: int = 3,
    devices: Sequence[str] = ("generic-mwa-2450",),
    margins_mm: Sequence[float] = (0.0, 5.0, 10.0),
    *,
    effort: Effort = QUICK,
    workers: int | None = None,
    resume: bool = False,
) -> list[Row]:
    """Plan every patient with every device and margin into a folder; the rows of its table."""
    cases = tuple(
        StudyCase(f"patient-{seed}", phantom=random_parameters(np.random.default_rng(seed)), seed=seed)
        for seed in range(phantoms)
    )
    cells = tuple(Cell(device=device, margin_mm=margin_mm) for device in devices for margin_mm in margins_mm)
    study = Study(
        "margins", cases, cells, ("device", "margin_mm"), effort, Outputs(analysis=False, report=False), seed=1
    )
    run_study(study, out, workers=workers, resume=resume)
    rows = read_rows(out / "results.parquet")
    for device in devices:
        for margin_mm in margins_mm:
            chosen = [row for row in rows if row.device == device and row.margin_mm == margin_mm]
            counts = [row.insertions for row in chosen if row.insertions is not None]
            complete = sum(row.status == "complete" for row in chosen)
            mean = f"{np.mean(counts):.1f} insertions on average" if counts else "no plan"
            print(f"{device}, margin {margin_mm:g} mm: {complete} of {len(chosen)} complete, {mean}")
    for row in rows:
        if row.status == "failed":
            print(f"{row.case}: {row.reason}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/study"), help="folder of the study (out/study)")
    parser.add_argument("--phantoms", type=int, default=3, help="number of random patients (3)")
    parser.add_argument("--devices", nargs="+", default=["generic-mwa-2450"], help="applicators")
    parser.add_argument("--margins-mm", type=float, nargs="+", default=[0.0, 5.0, 10.0], help="margins (0 5 10)")
    parser.add_argument("--workers", type=int, help="processes (one a core)")
    parser.add_argument("--resume", action="store_true", help="go on with the study in the folder")
    parser.add_argument("--fine", action="store_true", help="the effort of a study file, several times slower")
    arguments = parser.parse_args()
    main(
        arguments.out,
        arguments.phantoms,
        arguments.devices,
        arguments.margins_mm,
        effort=Effort() if arguments.fine else QUICK,
        workers=arguments.workers,
        resume=arguments.resume,
    )
