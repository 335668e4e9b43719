"""The plan as CSV: it reads back as the same coordinates, says its units, and holds no formula."""

import csv
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_cases import ball, motion

from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.io.plan_file import plan_hash
from needleplan.io.plan_table import FORMULA_BEGINNINGS, plain_text, write_plan_csv
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance
from needleplan.trajectory.gantry_angles import gantry_angles

POSITION = PatientPosition.PRONE
CASE = Case("made", (Structure("tumour", Role.TARGET, ball()),), POSITION, "ab" * 32, up=POSITION.up).moved(
    motion(5)
)


def needle(order: int = 1, **changes) -> Insertion:
    rng = np.random.default_rng(order)
    entry, tip = (tuple(float(x) for x in point) for point in rng.normal(scale=100, size=(2, 3)))
    middle = tuple(0.25 * a + 0.75 * b for a, b in zip(entry, tip, strict=True))
    values = dict(
        entry_mm=entry, tip_mm=tip, applicator="probe",
        ablations=(Ablation(tip, 65.1, 425.0), Ablation(middle, None, 1 / 3))[: order],
        clearances_mm={"portal_vein": 6.25 + order, "ribs": 3.0}, order=order,
    )  # fmt: skip
    return Insertion(**(values | changes))


def plan(*insertions: Insertion, name: str = "made") -> Plan:
    made = Provenance("9.8.7", {}, 0, {})
    return Plan(name, "ab" * 32, PlanStatus.PARTIAL, (), insertions, None, {}, 0, 0, None, made)


def rows(path, value: Plan) -> list[dict[str, str]]:
    write_plan_csv(path, value, CASE)
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_every_number_reads_back_as_it_was(tmp_path) -> None:
    made = plan(needle(1), needle(2), needle(3))
    for row, insertion in zip(rows(tmp_path / "plan.csv", made), made.insertions, strict=True):

        def point(name, row=row):
            return tuple(float(row[f"{name}_{axis}_mm"]) for axis in "xyz")

        assert point("entry_lps") == insertion.entry_mm and point("tip_lps") == insertion.tip_mm
        assert np.array_equal(np.multiply(point("entry_ras"), (-1, -1, 1)), insertion.entry_mm)
        assert np.array_equal(np.multiply(point("tip_ras"), (-1, -1, 1)), insertion.tip_mm)
        assert float(row["depth_mm"]) == insertion.depth_mm and int(row["needle"]) == insertion.order
        angles = gantry_angles(insertion.direction, CASE)
        for name in ("in_plane_deg", "out_of_plane_deg", "gantry_tilt_deg", "tilted_in_plane_deg"):
            assert float(row[name]) == getattr(angles, name)
        assert (row["nearest_structure"], float(row["nearest_clearance_mm"])) == ("ribs", 3.0)
        assert int(row["ablations"]) == len(insertion.ablations)
        for number, ablation in enumerate(insertion.ablations, 1):
            assert point(f"ablation_{number}_tip_lps") == ablation.tip_mm
            assert float(row[f"ablation_{number}_duration_s"]) == ablation.duration_s
            power = row[f"ablation_{number}_power_w"]
            assert power == "generator" if ablation.power_w is None else float(power) == ablation.power_w
        if len(insertion.ablations) == 1:
            assert row["ablation_2_power_w"] == ""
        assert (row["case_hash"], row["plan_hash"]) == ("ab" * 32, plan_hash(made))
        assert "not a medical device" in row["notice"]


def test_columns_name_their_units_and_a_plan_without_needles_has_a_header(tmp_path) -> None:
    text = {"needle", "applicator", "nearest_structure", "ablations", "position", "plan_status", "case_name",
            "case_hash", "plan_hash", "made_by", "notice"}  # fmt: skip
    header = set(rows(tmp_path / "a.csv", plan(needle(2)))[0])
    assert all(name in text or re.search(r"_(mm|deg|w|s)$|^clearance_mm ", name) for name in header)
    assert rows(tmp_path / "b.csv", plan()) == []
    assert (tmp_path / "b.csv").read_text().startswith("needle,applicator,entry_lps_x_mm")


@pytest.mark.parametrize("word", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", 'a"b,c', "=\n1"])
def test_no_cell_is_a_formula(tmp_path, word) -> None:
    hostile = plan(needle(1, applicator=word, clearances_mm={word: 1.0}), name=word)
    (row,) = rows(tmp_path / "plan.csv", hostile)
    for name in ("applicator", "nearest_structure", "case_name"):
        assert row[name] == (f"'{word}" if word.startswith(FORMULA_BEGINNINGS) else word)
    for name, value in row.items():
        assert not name.startswith(FORMULA_BEGINNINGS)
        if value.startswith(FORMULA_BEGINNINGS):
            assert np.isfinite(float(value)), "only a number may begin with a sign"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=12))
def test_any_text_is_plain(text) -> None:
    assert not plain_text(text).startswith(FORMULA_BEGINNINGS)
    assert plain_text(text).removeprefix("'") == text.removeprefix("'") or text.startswith(FORMULA_BEGINNINGS)
