"""The row of a cell: figures of its plan, chances, robot and rehearsals."""

import dataclasses
from typing import Any

from needleplan.app.study.case_patient import StudyPatient
from needleplan.app.study.cell_work import CellResult
from needleplan.app.study.reason_text import NO_REASON, plain_reason
from needleplan.app.study.row_checks import require_row
from needleplan.app.study.study import Cell, Row, StudyCase
from needleplan.plan import Likelihood, Plan, PlanStatus

_COVERED = "the target is covered"
_MARGIN = "the margin reaches "


def cell_row(
    case: StudyCase, cell: Cell, seed: int, patient: StudyPatient, result: CellResult, plan_file: str
) -> Row:
    """The row of a cell that came to a plan, be it one without insertions.

    Args:
        case: the case.
        cell: the cell.
        seed: of its random draws.
        patient: of the case.
        result: what came of the cell.
        plan_file: where the plan is written, relative to the study's folder; empty where it is not.

    Raises:
        PlanFileError: a figure is one that no case can have, and that no table would take.
    """
    return require_row(_row(case, cell, seed, patient, result, plan_file), "the row")


def _row(case: StudyCase, cell: Cell, seed: int, patient: StudyPatient, result: CellResult, plan_file: str) -> Row:
    plan = result.plan
    row = Row(
        **Row.factors_of(case, cell, seed, plan.case_hash),
        status=plan.status.value,
        reason=plain_reason("; ".join(part for part in (_reason(plan), result.complaint) if part), case, cell),
        time_limited=result.time_limited,
        target_ml=patient.target_ml,
        target_depth_mm=patient.target_depth_mm,
        target_vessel_mm=patient.target_vessel_mm,
        candidates=plan.candidate_count,
        feasible=plan.feasible_count,
        plan_file=plan_file,
    )
    if plan.metrics is None or not plan.insertions:
        return row
    ablations = [ablation for insertion in plan.insertions for ablation in insertion.ablations]
    clearances = [
        (distance, name) for insertion in plan.insertions for name, distance in insertion.clearances_mm.items()
    ]
    nearest = min(clearances, default=None)
    metrics = plan.metrics
    figures: dict[str, Any] = {
        **_chances(result.chances, cell.margin_mm),
        **{item.name: getattr(result.carried, item.name) for item in dataclasses.fields(result.carried)},
    }
    return dataclasses.replace(
        row,
        insertions=len(plan.insertions),
        ablations=len(ablations),
        energy_s=float(sum(ablation.duration_s for ablation in ablations)),
        lower_bound=None if plan.proof is None else float(plan.proof.lower_bound),
        target_coverage_fraction=metrics.target_coverage_fraction,
        margin_coverage_fraction=metrics.margin_coverage_fraction,
        minimal_margin_mm=metrics.minimal_margin_mm,
        over_ablation_ml=metrics.over_ablation_ml,
        zone_ml=metrics.zone_ml,
        deepest_mm=max(insertion.depth_mm for insertion in plan.insertions),
        least_clearance_mm=None if nearest is None else nearest[0],
        least_clearance_of=None if nearest is None else nearest[1],
        **figures,
    )


def _reason(plan: Plan) -> str:
    """The first finding against a plan that is not complete: what decides comes first in its evidence."""
    if plan.status is PlanStatus.COMPLETE:
        return ""
    return next((f"{each.subject}: {' '.join(each.finding.split())}" for each in plan.evidence), NO_REASON)


def _chances(chances: tuple[Likelihood, ...], margin_mm: float) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    events = {f"{_MARGIN}{margin_mm:g} mm": "chance_margin", _COVERED: "chance_covered"}
    for chance in chances:
        name = events.get(chance.event)
        if name is not None:
            found |= {name: chance.probability, f"{name}_low": chance.low, f"{name}_high": chance.high}
    # A margin of nothing is reached where the target is covered.
    if not margin_mm:
        found |= {name.replace("covered", "margin"): value for name, value in found.items()}
    harms = [each for each in chances if each.event != _COVERED and not each.event.startswith(_MARGIN)]
    worst = max(harms, key=lambda each: each.probability, default=None)
    if worst is not None:
        found |= {"chance_harm": worst.probability, "chance_harm_of": worst.event}
    elif chances:
        # Harms that nothing can do are not told, so none told is none possible.
        found["chance_harm"] = 0.0
    return found
