"""What the benchmark of studies hands over: its rows, each with its peer or limit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rows import check_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.long
def test_the_rows_of_the_engine(tmp_path):
    path = tmp_path / "rows.json"
    words = [sys.executable, str(BENCHMARKS / "studies.py"), "--json", str(path), "--quick"]
    done = subprocess.run(
        [*words, "--parts", "resume", "load"], capture_output=True, text=True, timeout=1_500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row.name: row for row in check_rows(json.loads(path.read_text(encoding="utf-8")))}
    assert rows["resumed_identical"].value == 1.0
    assert 0.0 < rows["engine_s_per_case"].value
    assert rows["engine_memory_growth"].ratio < 1.5
