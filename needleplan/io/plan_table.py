"""A plan as a table in CSV: one row a needle, for spreadsheets and scripts.

Every column says its unit and frame. Numbers are written in full, so they read back as the same values. Texts that
a spreadsheet would take for a formula are quoted by an apostrophe (OWASP, "CSV Injection").
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from needleplan.case.model import Case
from needleplan.io.plan_file import plan_hash, write_text
from needleplan.plan import Ablation, Insertion, Plan, Vector3
from needleplan.trajectory.gantry_angles import gantry_angles

NOTICE = "research software, not a medical device"
#: A text that begins with one of these is a formula to some spreadsheet.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | float | int


def write_plan_csv(path: Path, plan: Plan, case: Case) -> None:
    """Write the plan's needles as CSV (UTF-8, comma, RFC 4180), whole or not at all.

    Positions stand in patient LPS and again in RAS; angles are those of ``needleplan.trajectory.gantry_angles``.
    A plan without needles gives the header alone.

    Args:
        path: the file.
        plan: the plan.
        case: its case, for how the patient lies.
    """
    write_text(path, plan_csv(plan, case))


def plan_csv(plan: Plan, case: Case) -> str:
    """The text of ``write_plan_csv``."""
    most = max((len(insertion.ablations) for insertion in plan.insertions), default=0)
    names = list(dict.fromkeys(name for insertion in plan.insertions for name in insertion.clearances_mm))
    identity = plan_hash(plan)
    rows = [_row(plan, insertion, case, most, names, identity) for insertion in plan.insertions]
    header = list(rows[0]) if rows else list(_row(plan, _NOWHERE, case, 0, [], identity))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([plain_text(name) for name in header])
    writer.writerows([_cell(row[name]) for name in header] for row in rows)
    return text.getvalue()


#: Stands for a needle where only the names of the columns are wanted.
_NOWHERE = Insertion((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), "", ())


def _row(
    plan: Plan, insertion: Insertion, case: Case, most: int, names: Sequence[str], identity: str
) -> dict[str, Cell]:
    """The cells of one needle by column."""
    angles = gantry_angles(insertion.direction, case)
    nearest = min(insertion.clearances_mm, key=lambda name: insertion.clearances_mm[name], default="")
    row: dict[str, Cell] = {"needle": insertion.order, "applicator": insertion.applicator}
    row |= _point("entry", insertion.entry_mm) | _point("tip", insertion.tip_mm)
    row |= {
        "depth_mm": insertion.depth_mm,
        "in_plane_deg": angles.in_plane_deg,
        "out_of_plane_deg": angles.out_of_plane_deg,
        "gantry_tilt_deg": angles.gantry_tilt_deg,
        "tilted_in_plane_deg": angles.tilted_in_plane_deg,
        "nearest_structure": nearest,
        "nearest_clearance_mm": insertion.clearances_mm.get(nearest, ""),
        "ablations": len(insertion.ablations),
    }
    for number in range(most):
        row |= _ablation(number + 1, insertion.ablations[number] if number < len(insertion.ablations) else None)
    row |= {f"clearance_mm {name}": insertion.clearances_mm.get(name, "") for name in names}
    return row | {
        "position": case.position.value,
        "plan_status": plan.status.value,
        "case_name": plan.case_name,
        "case_hash": plan.case_hash,
        "plan_hash": identity,
        "made_by": f"needleplan {plan.provenance.version}",
        "notice": NOTICE,
    }


def _point(name: str, point: Vector3) -> dict[str, Cell]:
    """A point in LPS and in RAS, in mm."""
    x, y, z = point
    lps: dict[str, Cell] = {f"{name}_lps_{axis}_mm": value for axis, value in zip("xyz", (x, y, z), strict=True)}
    return lps | {f"{name}_ras_{axis}_mm": value for axis, value in zip("xyz", (-x, -y, z), strict=True)}


def _ablation(number: int, ablation: Ablation | None) -> dict[str, Cell]:
    """One delivery; empty cells where the needle has fewer."""
    names = [f"ablation_{number}_tip_lps_{axis}_mm" for axis in "xyz"]
    names += [f"ablation_{number}_power_w", f"ablation_{number}_duration_s"]
    if ablation is None:
        return dict.fromkeys(names, "")
    power: Cell = "generator" if ablation.power_w is None else ablation.power_w
    return dict(zip(names, (*ablation.tip_mm, power, ablation.duration_s), strict=True))


def _cell(value: Cell) -> str:
    """A value as its cell holds it; numbers in the shortest form that reads back as the same."""
    if isinstance(value, str):
        return plain_text(value)
    return repr(value + 0.0) if isinstance(value, float) else repr(value)


def plain_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text
