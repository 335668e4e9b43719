"""Benchmarks run and keep to the format of their rows; how quick anything is, is never tested."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rows import Row, check_rows, write_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GOOD = [
    {"name": "a", "value": 3.0, "unit": "s", "peer_name": "other", "peer_value": 6.0, "ratio": 0.5},
    {"name": "b", "value": 0.0, "unit": "1/s", "peer_name": None, "peer_value": None, "ratio": None},
]


def test_good_rows_are_read_as_they_are():
    assert check_rows(copy.deepcopy(GOOD)) == [Row("a", 3.0, "s", "other", 6.0, 0.5), Row("b", 0.0, "1/s")]


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("name", "", "name"),
        ("name", "b", "same name"),
        ("value", float("nan"), "value"),
        ("value", "3", "value"),
        ("value", True, "value"),
        ("unit", None, "unit"),
        ("peer_name", None, "together"),
        ("peer_value", 0, "not zero"),
        ("ratio", 2.0, "value / peer_value"),
        ("ratio", None, "together"),
    ],
)
def test_a_bad_row_is_refused_with_what_is_wrong(key, value, word):
    rows = copy.deepcopy(GOOD)
    rows[0][key] = value
    with pytest.raises(ValueError, match=word):
        check_rows(rows)


def test_missing_and_further_keys_and_empty_lists_are_refused():
    for rows in ([], {}, [{**GOOD[0], "note": ""}], [{"name": "a", "value": 1.0, "unit": "s"}]):
        with pytest.raises(ValueError):
            check_rows(rows)


def test_rows_are_not_written_where_they_are_wrong(tmp_path):
    path = tmp_path / "rows.json"
    with pytest.raises(ValueError):
        write_rows(path, [Row("a", 1.0, "s", "other", 2.0, 2.0)])
    assert not path.exists()
    write_rows(path, [Row.against("a", 1.0, "s", "other", 2.0)])
    assert check_rows(json.loads(path.read_text(encoding="utf-8")))[0].ratio == 0.5


@pytest.mark.long
def test_the_chain_gives_a_row_for_every_stage_and_peer(tmp_path):
    path = tmp_path / "chain.json"
    command = [sys.executable, str(BENCHMARKS / "chain.py"), "--json", str(path), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = check_rows(json.loads(path.read_text(encoding="utf-8")))
    names = {row.name.removeprefix("phantom: ") for row in rows}
    for stage in ("read case", "build anatomy", "sample", "screen", "rank", "build coverage", "assess", "rehearse"):
        assert stage in names
    peers = " ".join(row.peer_name for row in rows if row.peer_name is not None)
    assert "vtkOBBTree" in peers and "Open3D" in peers and "greedy" in peers
    assert all(row.value >= 0 for row in rows)


@pytest.mark.long
def test_the_paths_give_a_row_for_every_figure_and_peer(tmp_path):
    path = tmp_path / "trajectories.json"
    command = [sys.executable, str(BENCHMARKS / "trajectories.py"), "--json", str(path), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row.name: row for row in check_rows(json.loads(path.read_text(encoding="utf-8")))}
    for name in ("decisions_per_s", "capped_clearances_per_s", "setup_s", "editor_update_ms"):
        assert rows[name].value > 0 and "limit" in rows[name].peer_name
    assert rows["wrong_decisions"].value == rows["wrong_clearances"].value == 0
    # One ray knows no width: of every peer that casts one, many answers are wrong, and of the exact one none.
    for name in ("open3d", "vtk"):
        wrong = rows[f"wrong_decisions of {name}"]
        assert 0.05 < wrong.ratio < 0.6 and f"decisions_per_s beside {name}" in rows
    assert rows["wrong_decisions of python-fcl"].value == 0
    assert rows["wrong_clearances of python-fcl distance"].value == 0
    assert rows["wrong_clearances of open3d sampled"].value > 0
    assert 0.1 < rows["share_clear"].value < 0.5
