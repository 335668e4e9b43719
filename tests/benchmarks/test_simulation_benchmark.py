"""What the benchmark of rehearsals measures with: PyBullet alone, the exact body, rows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_cases import ball
from rows import check_rows
from simulation_peers import PlainRoom

from robots.catalogue import load_robot
from robots.frames import base_pose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_pybullet_alone_steps_the_same_arm_and_finds_what_touches():
    robot = load_robot()
    X_WB = base_pose([0.4, -0.3, 0.1], 0.7)
    joints = np.repeat(robot.home[None], 5, axis=0)
    guide_m = X_WB.apply(robot.forward(robot.home).matrix[:3, 3])
    mesh = ball((0.0, 0.0, 0.0), 0.3, 2)
    with PlainRoom(robot, X_WB, [(mesh.vertices_mm, mesh.faces)]) as room:
        assert room.step(joints, np.full((5, 3), 9.0), 20, 5) == 0
        at_its_side = guide_m + np.array([0.29, 0.0, 0.0])
        assert room.step(joints, np.repeat(at_its_side[None], 5, axis=0), 20, 5) > 0


@pytest.mark.long
def test_the_script_writes_its_rows(tmp_path):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "simulation.py"), "--json", str(path), "--quick", "--repeats", "1"],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "NUMBA_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row.name: row for row in check_rows(json.loads(path.read_text()))}
    assert {"realtime_factor", "rehearsals_per_min", "realtime_factor beside PyBullet"} <= set(rows)
    assert rows["realtime_factor"].peer_value == 20.0 and rows["rehearsals_per_min"].peer_value == 10.0
    assert rows["rehearsed needles of the plan"].value == 3.0
