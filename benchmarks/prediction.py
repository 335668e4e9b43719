"""Predictors of breathing on recorded traces that they were not fitted to, at 100 to 500 ms of latency.

    python benchmarks/prediction.py --json rows.json [--data DIR] [--quick]

With --data or NEEDLEPLAN_DATA, the recordings of breathing-extmarker and breathing-kim-liver; without, made
breaths. One recording after the other is left out: what a predictor assumes is fitted at 300 ms to the first
minute of all other recordings (of one marker where several were recorded at once), and it is judged on the whole
of the one left out, from 20 s on. Errors are distances in space.
"""

import argparse
import os
from pathlib import Path

from prediction_rows import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument("--quick", action="store_true", help="a few parameter sets and short traces")
    arguments = parser.parse_args()
    main(arguments.json, arguments.data, arguments.quick)
