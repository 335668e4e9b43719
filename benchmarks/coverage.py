"""The fewest needles: times on a real liver, and claims and optima held against what is known.

    python benchmarks/coverage.py --json rows.json [--repeats 3] [--data DIR] [--parts NAME ...] [--quick]

Balls by balls: a ball is covered by 2 to 12 equal balls through the whole chain, 2 % below and, for 4 to 9 balls,
2 % above the least radius that is known (benchmarks/coverage_balls.py), at two spacings of points; every claim is
checked at sampled points. Small random problems are held against all their choices. A ball by balls of 257
candidates and 4169 points is given to every solver, one after the other. With --data or NEEDLEPLAN_DATA, a ball of
30 mm and a tumour of 84 ml in a real liver, each with a margin of 5 mm, are planned with all defaults; times count
from the anatomy with its search trees, and kernels are compiled before.
"""

if __name__ != "__main__":
    # numba looks for a package of this name, which counts lines that tests reach: it must not take this script.
    raise ImportError("benchmarks/coverage.py is a script and no module: import coverage_rows")

import argparse
import os
from pathlib import Path

from coverage_rows import PARTS, main

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
parser.add_argument("--repeats", type=int, default=3, help="runs of every timed thing (3)")
parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
parser.add_argument("--quick", action="store_true", help="a few small problems, no real times")
arguments = parser.parse_args()
main(arguments.json, arguments.repeats, arguments.data, arguments.quick, arguments.parts)
