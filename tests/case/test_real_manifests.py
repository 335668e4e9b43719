"""The manifests of real patients: volumes and places known from the data's own description."""

import os
from pathlib import Path

import numpy as np
import pytest

from needleplan.case.load import inspect_case
from needleplan.case.model import Severity
from needleplan.case.solids import contains, sample_points

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("NEEDLEPLAN_DATA") or ROOT.parent / "shared" / "data")
CASES = ROOT / "examples" / "cases"

#: Millilitres of some structures, and the codes of the warnings that are right.
EXPECTED = {
    "ircadb01-case01": ({"tumour": 10.1, "liver": 1489, "skin": 10034, "left_kidney": 146}, set()),
    "ircadb01-case01-largest": ({"tumour": 84.4, "liver": 1489, "spleen": 116}, set()),
    "kits23-case_00082": ({"tumour": 4.93, "left_kidney": 148.7, "right_kidney": 149.7}, set()),
    "medmpd-liver-patient2": ({"tumour": 10.5, "liver": 2080, "second_tumour": 15.05}, set()),
    "medmpd-lung-patient2": ({"nodule": 0.82, "lungs": 8606}, {"target-partly-outside"}),
}

FOLDERS = {
    "ircadb01": "ircadb01-case01",
    "kits23": "kits23-kidney",
    "medmpd-liver": "medmpd-liver",
    "medmpd-lung": "medmpd-lung",
}


@pytest.mark.long
@pytest.mark.parametrize("name", EXPECTED)
def test_manifest_passes_the_gate(name):
    volumes, warnings = EXPECTED[name]
    folder = DATA / FOLDERS[name.split("-patient")[0].split("-case")[0]]
    if not folder.is_dir():
        pytest.skip(f"the data of {name} are not here: set NEEDLEPLAN_DATA")
    report = inspect_case(CASES / f"{name}.toml", DATA)
    assert report.case is not None, report.refused
    assert {f.code for f in report.findings if f.severity in (Severity.WARNING, Severity.MENDED)} == warnings
    rows = {row.name: row for row in report.rows}
    for structure, volume_ml in volumes.items():
        assert rows[structure].volume_ml == pytest.approx(volume_ml, rel=0.005)
    cases = {s.name: s for s in report.case.structures}
    if name.startswith("ircadb"):
        # LPS: the liver lies on the right (-x) of the spleen, the lungs above the kidneys, bones behind the liver.
        at = {key: sample_points(value.geometry, 2000).mean(axis=0) for key, value in cases.items()}
        assert at["liver"][0] < at["spleen"][0] - 50 and at["right_kidney"][0] < at["left_kidney"][0]
        assert at["right_lung"][2] > at["right_kidney"][2] and at["bones"][1] > at["liver"][1]
        assert contains(cases["skin"].geometry, sample_points(cases["liver"].geometry, 500)).all()
    if name.startswith("kits"):
        at = {key: sample_points(value.geometry, 2000).mean(axis=0) for key, value in cases.items()}
        assert at["left_kidney"][0] > at["right_kidney"][0]
        assert np.linalg.norm(at["tumour"] - at["left_kidney"]) < 60


def test_every_manifest_is_tested():
    assert {path.stem for path in CASES.glob("*.toml")} == set(EXPECTED)
