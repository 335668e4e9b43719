"""Rehearsals: how much quicker than the patient breathes, and how many of a plan of three needles a minute.

    python benchmarks/simulation.py --json rows.json [--repeats 5] [--data DIR] [--parts NAME ...] [--quick]

One gated rehearsal is timed in one process with one thread, in turn with as many steps of the same bodies in
PyBullet alone and with one whose breathing body is solved at every step instead of looked up; on a real liver with
--data or NEEDLEPLAN_DATA, on the built-in patient without. Two processes then rehearse a plan of three needles in
the built-in patient. Kernels are compiled before.
"""

import argparse
import os
from pathlib import Path

if __name__ == "__main__":
    # One process shall have one thread; numba looks at this when it is loaded.
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from simulation_rows import PARTS, main

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="runs of every timed thing (5)")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="coarse plans and few runs, no real times")
    arguments = parser.parse_args()
    main(arguments.json, arguments.repeats, arguments.data, arguments.quick, arguments.parts)
