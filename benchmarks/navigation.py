"""Navigation: messages a second and their delay, guidance a second, replanning, and margins of a confirmation.

    python benchmarks/navigation.py --json rows.json [--repeats 5] [--data DIR] [--parts NAME ...] [--quick]

The wire is measured from one process to others, beside pyigtl and the OpenIGTLink library of Debian where g++ and
libopenigtlink-dev are there. Guidance is asked after every pose of a needle at a steady rate, with the record on,
and the rest of the plan is planned again after a miss; both on a real liver with --data or NEEDLEPLAN_DATA, on the
built-in patient without. Margins are those of two maps of 256 voxels a side, beside the distances of border voxels
of `qam`.
"""

import argparse
import os
from pathlib import Path

PARTS = ("wire", "session", "margin")

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    from clock import print_rows
    from navigation_margin import margin_rows
    from navigation_session import session_rows
    from navigation_wire import wire_rows
    from rows import Row, write_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="runs of every timed thing (5)")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="coarse plans and few runs, no real times")
    arguments = parser.parse_args()
    rows: list[Row] = []
    if "wire" in arguments.parts:
        rows += wire_rows(0.5 if arguments.quick else 2.0, 1 if arguments.quick else min(arguments.repeats, 3))
    if "session" in arguments.parts:
        rows += session_rows(arguments.data, 1 if arguments.quick else arguments.repeats, arguments.quick)
    if "margin" in arguments.parts:
        rows += margin_rows(1 if arguments.quick else arguments.repeats, arguments.quick)
    print_rows(rows)
    write_rows(arguments.json, rows)
