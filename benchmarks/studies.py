"""Studies: how two processes divide them, resuming after kills, what the engine adds, and the reports.

    python benchmarks/studies.py --json rows.json [--cases 12] [--repeats 3] [--parts NAME ...] [--quick]
    python benchmarks/studies.py --proof DIR [--cases 200]
    python benchmarks/studies.py --load CASES [--slots 64 --cell-s 2.4]
    python benchmarks/studies.py --memory DIR [--cases 1000]

Random patients are crossed with devices. Speed is that of one and of two processes in turn, beside the same cases
by plain process pools without rows, resuming or folders. ``--load`` runs made-up cases that take no time through
the whole engine, to see what it adds to a case and how its memory grows; ``--memory`` does whole work on patients
of real size, planned with little effort, for the same. ``--proof`` runs 200 patients with 4 devices by two
processes, kills two of them and later the whole run, resumes it, and compares a sample with an undisturbed run.
What ``--memory`` and ``--proof`` finished they do not repeat.
"""

import argparse
import os
import tempfile
from pathlib import Path

PARTS = ("speed", "resume", "load", "report")

if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from clock import print_rows
    from rows import Row, write_rows
    from studies_engine import load_rows, memory, proof, resume_rows, speed_rows
    from studies_load import many_slots, scheduler_load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--json", type=Path, metavar="FILE", help="where to write the rows")
    target.add_argument("--proof", type=Path, metavar="DIR", help="run the whole proof into a folder, no rows")
    target.add_argument("--load", type=int, metavar="CASES", help="run made-up cases, no rows")
    target.add_argument("--memory", type=Path, metavar="DIR", help="run many patients into a folder, no rows")
    parser.add_argument("--slots", type=int, help="of --load: cases at once, on a cluster of waiting threads")
    parser.add_argument("--cell-s", type=float, default=2.4, help="of --slots: time of a cell (2.4)")
    parser.add_argument("--cases", type=int, help="number of patients (12, of the proof 200, of --memory 1000)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of every timed thing (3)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="few tiny cases, no real times")
    arguments = parser.parse_args()
    if arguments.proof is not None:
        proof(arguments.proof, arguments.cases or 200)
        raise SystemExit(0)
    if arguments.memory is not None:
        memory(arguments.memory, arguments.cases or 1_000)
        raise SystemExit(0)
    if arguments.slots is not None and arguments.load is not None:
        rate = many_slots(arguments.load, arguments.slots, arguments.cell_s)
        print(f"{rate:.1f} cells/s of {arguments.slots / arguments.cell_s:.1f} cells/s without any limit")
        raise SystemExit(0)
    if arguments.load is not None:
        print(scheduler_load(arguments.load, say=lambda line: print(line, flush=True)))
        raise SystemExit(0)
    cases = arguments.cases or (4 if arguments.quick else 12)
    rows: list[Row] = []
    if "speed" in arguments.parts:
        rows += speed_rows(cases, 1 if arguments.quick else arguments.repeats, arguments.quick)
    if "resume" in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += resume_rows(max(cases, 4), 2, Path(folder), arguments.quick)
    if "load" in arguments.parts:
        rows += load_rows(20 if arguments.quick else 1_000)
    if "report" in arguments.parts:
        from studies_report import report_rows

        rows += report_rows()
    print_rows(rows)
    write_rows(arguments.json, rows)
