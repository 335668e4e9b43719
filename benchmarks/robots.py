"""Robots: inverse kinematics of a needle axis beside other libraries, and reach over a real patient.

    python benchmarks/robots.py --json rows.json [--repeats 5] [--data DIR] [--parts NAME ...] [--quick]

10 000 poses that random postures inside the joint limits make are solved from starts nearby (warm) and without any
(cold); the peers get 200 of them, one after the other, cold from the posture at rest. An answer counts where it
lies inside all limits, within 1e-6 m and 1e-5 rad of its axis, by forward kinematics. With --data or
NEEDLEPLAN_DATA, 10 000 candidate paths of a real liver are asked for reach, best manipulability and clearance from
table and patient; without, those of the built-in patient. Kernels are compiled before.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path


def _package() -> None:
    """Puts the package of the robots, which has this script's name too, where imports find it."""
    here, path = Path(__file__).parent.resolve(), sys.path
    sys.path = [entry for entry in path if Path(entry or ".").resolve() != here]
    sys.modules.pop("robots", None)
    importlib.import_module("robots")
    sys.path = path


# Whoever imports "robots" with this folder first on the path means the package.
_package()
if __name__ == "__main__":
    main, PARTS = (getattr(importlib.import_module("robots_rows"), name) for name in ("main", "PARTS"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="runs of every timed thing (5)")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few goals and paths")
    arguments = parser.parse_args()
    main(arguments.json, arguments.repeats, arguments.data, arguments.quick, arguments.parts)
