"""What the benchmark of robots measures with: goals, what counts as solved, peers, a task of reach."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robots_peers import peers
from robots_rows import goals_of, solved, warm_starts
from rows import check_rows

from robots.catalogue import load_robot

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def arm():
    return load_robot("needle_arm7")


def test_only_what_lies_inside_the_limits_and_on_the_axis_counts_as_solved(arm):
    q, goals = goals_of(arm, 20)
    assert solved(arm, goals, q) == 1.0
    off = q.copy()
    off[0] += 1e-4  # moves the exit by tens of micrometres
    off[1] = np.nan
    off[2] = q[2] + 2 * np.pi * np.eye(7)[6]  # the same pose, a turn beyond the limit
    assert solved(arm, goals, off) == pytest.approx(17 / 20)


def test_warm_starts_lie_near_and_inside(arm):
    q, _ = goals_of(arm, 200)
    starts = warm_starts(arm, q)
    assert (starts >= arm.q_min).all() and (starts <= arm.q_max).all()
    assert 0.03 < (starts - q).std() < 0.06


@pytest.mark.long
def test_peers_answer_and_some_of_them_rightly(arm):
    q, goals = goals_of(arm, 10)
    found, missing = peers(arm)
    assert len(found) + len(missing) == 5 and len(found) >= 3
    shares = {name: solved(arm, goals, solve(goals, warm_starts(arm, q))) for name, solve in found.items()}
    assert max(shares.values()) >= 0.9, shares


@pytest.mark.long
def test_the_script_writes_its_rows(tmp_path):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "robots.py"), "--json", str(path), "--quick", "--repeats", "1"],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "NUMBA_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {row.name for row in check_rows(json.loads(path.read_text()))}
    assert {"ik_warm_per_s", "ik_cold_per_s", "ik_success_fraction", "reach_10000_s"} <= names
