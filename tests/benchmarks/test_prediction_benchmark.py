"""What the benchmark of predictors hands over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prediction_rows import LATENCIES_S, made
from rows import check_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_made_breaths_differ_by_their_seed_alone():
    one, again, other = made(1, 30.0), made(1, 30.0), made(2, 30.0)
    assert (one.displacement_mm == again.displacement_mm).all()
    assert (one.displacement_mm != other.displacement_mm).any()


@pytest.mark.long
def test_the_script_writes_its_rows(tmp_path):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "prediction.py"), "--json", str(path), "--quick"],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "NUMBA_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row.name: row for row in check_rows(json.loads(path.read_text()))}
    for latency in LATENCIES_S:
        row = rows[f"rms_mm made, {1e3 * latency:.0f} ms, kalman, harmonic"]
        assert row.peer_name == "no prediction" and row.ratio < 1.0
