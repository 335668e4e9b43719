"""What the benchmark of navigation hands over: its rows, each with its peer or limit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rows import check_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.long
def test_the_script_writes_its_rows(tmp_path):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "navigation.py"), "--json", str(path), "--quick"],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "NUMBA_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row.name: row for row in check_rows(json.loads(path.read_text()))}
    limits = {
        "transforms_per_s": 1000.0, "added_latency_p99_ms": 5.0, "session_hz": 60.0, "replan_s": 5.0,
        "margin_256_s": 1.0,
    }  # fmt: skip
    assert {name: rows[name].peer_value for name in limits} == limits
