"""Edited needles as a plan: what they achieve, which demands they break, and a status that says so."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.ablation.contract import LethalZone
from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.demands import PlanDemands
from needleplan.app.view.standing import Standing, judge_standing
from needleplan.assess import Assessment, assess_zone
from needleplan.coverage.certificate import certify
from needleplan.io.plan_file import plan_hash
from needleplan.plan import Evidence, Insertion, Plan, PlanStatus
from needleplan.plan_clearances import with_clearances
from needleplan.plan_evidence import heated_evidence, organ_evidence
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable

#: What findings about edited needles are told under.
EDITED = "edited by hand"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An edited plan and its score.

    Attributes:
        plan: the plan; the planned one itself where nothing was moved.
        assessment: its score; None where it delivers nothing.
        broken: hard demands that it breaks, a sentence each.
        warnings: what else a reader must know, a sentence each.
    """

    plan: Plan
    assessment: Assessment | None
    broken: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    planned: PlannedCase, demands: PlanDemands, insertions: tuple[Insertion, ...], paths: Sequence[TrajectoryTable]
) -> Judged:
    """Score and status of edited needles.

    Status ``infeasible`` says that a hard demand on paths, zones or pairs of needles is broken; otherwise it says
    whether target and margin are proven covered, as for any plan. Proof, physics and chances of the planned needles
    are dropped: they hold for those. What was demanded and is not known any more, such as a chance of success
    or a robot's reach, leaves the plan ``partial``.

    Args:
        planned: the plan that was opened.
        demands: what it demanded.
        insertions: all needles as they are now.
        paths: their screened paths, one table of one row each.
    """
    plan = planned.plan
    path_breaches = [
        _broken_sentence(insertion.order, column)
        for insertion, table in zip(insertions, paths, strict=True)
        for column in table.constraints
        if column.hard and not column.passed[0]
    ]
    if insertions == plan.insertions:
        return Judged(plan, planned.assessment, tuple(path_breaches), _told_of(plan, path_breaches))
    margin_mm = demands.coverage.margin_mm
    zone = planned.zone_model.zone(insertions)
    assessment = assess_zone(planned.queries, zone, margin_mm)
    certificate = certify(planned.queries, zone, margin_mm)
    heat_breaches = _too_near(demands, zone)
    organ, enough = organ_evidence(planned.queries, zone, demands.coverage)
    pairs = _standing(planned, demands, insertions)
    unknown = _unknown_evidence(demands)
    single = (*path_breaches, *heat_breaches)
    broken = (*single, *(item.finding for item in pairs.broken))
    if broken:
        status = PlanStatus.INFEASIBLE
    else:
        whole = certificate.covered and enough and pairs.known and not unknown
        status = PlanStatus.COMPLETE if whole else PlanStatus.PARTIAL
    covered = (
        f"All of the target and of its {margin_mm:g} mm margin lies in predicted zones; this is "
        f"{certificate.sentence}."
        if certificate.covered
        else f"Target plus margin is {certificate.sentence}."
    )
    evidence = (
        _edited_evidence(plan, insertions),
        *(Evidence(EDITED, sentence, "Move the needle, or snap it to a feasible path.") for sentence in single),
        *pairs.broken,
        Evidence("coverage", covered),
        *unknown,
        *organ,
        *pairs.told,
        *heated_evidence(planned.queries, zone),
    )
    notes = (*plan.provenance.notes, evidence[0].finding, *demands.notes)
    edited = dataclasses.replace(
        plan,
        status=status,
        evidence=evidence,
        insertions=measured(planned, insertions),
        metrics=assessment.metrics,
        proof=None,
        physics=None,
        likelihoods=(),
        provenance=dataclasses.replace(plan.provenance, notes=notes),
    )
    warnings = (
        *(f"{item.finding} {item.remedy}".strip() for item in (*pairs.told, *unknown)),
        *(item.finding for item in organ if not enough),
    )
    return Judged(edited, assessment, broken, warnings)


def measured(planned: PlannedCase, insertions: Sequence[Insertion]) -> tuple[Insertion, ...]:
    """The insertions, clearances measured where they do not state them; as in every plan."""
    catalogue, queries = planned.zone_model.catalogue, planned.queries
    return tuple(
        one if one.clearances_mm else with_clearances([one], catalogue.applicator(one.applicator), queries)[0]
        for one in insertions
    )


def _broken_sentence(order: int, column: ConstraintColumn) -> str:
    unit = f" {column.unit}" if column.unit else ""
    return f"Needle {order}: {column.name} is {column.values[0]:.3g}{unit}; demanded is: {column.sentence}."


def _too_near(demands: PlanDemands, zone: LethalZone) -> list[str]:
    """Structures whose thermal margin the zones do not keep."""
    found = []
    for structure in demands.protection.structures:
        slack_mm = structure.slack_mm(zone)
        if slack_mm < 0:
            found.append(
                f"The predicted zones come {-slack_mm:.1f} mm too near to {structure.name}: its thermal margin is "
                f"{structure.margin_mm:g} mm (the surface is sampled, so up to {structure.spacing_mm:.1f} mm less)."
            )
    return found


def _told_of(plan: Plan, broken: Sequence[str]) -> tuple[str, ...]:
    """Why a plan as it was opened is not complete, in its own words, but for what is said as broken already."""
    if plan.status is PlanStatus.COMPLETE:
        return ()
    return tuple(f"{item.finding} {item.remedy}".strip() for item in plan.evidence if item.finding not in broken)


def _standing(planned: PlannedCase, demands: PlanDemands, insertions: tuple[Insertion, ...]) -> Standing:
    catalogue = planned.zone_model.catalogue
    return judge_standing(insertions, [catalogue.applicator(one.applicator) for one in insertions], demands)


def _unknown_evidence(demands: PlanDemands) -> tuple[Evidence, ...]:
    """What the plan demanded and nobody has asked of needles that were moved."""
    unknown = []
    if demands.required_chance is not None:
        level_mm = demands.chance_level_mm
        what = "the target is covered" if level_mm == 0 else f"the margin reaches {level_mm:g} mm"
        unknown.append(
            Evidence(
                "robustness",
                f"A chance of at least {100 * demands.required_chance:g} % that {what} was demanded; of needles "
                "moved by hand it is not known, so this plan is not called complete.",
                "Draw it for the saved plan by 'needleplan rehearse', or plan the case anew.",
            )
        )
    if demands.robot_asked:
        unknown.append(
            Evidence(
                "robot reach",
                "The plan demanded that a robot reaches each path; of needles moved by hand it is not known, so "
                "this plan is not called complete.",
                "Ask it of the saved plan by 'needleplan carry'.",
            )
        )
    return tuple(unknown)


def _edited_evidence(plan: Plan, insertions: tuple[Insertion, ...]) -> Evidence:
    moved = [
        f"needle {now.order}"
        for now, before in zip(insertions, plan.insertions, strict=True)
        if now != before
    ]  # fmt: skip
    names = ", ".join(moved)
    return Evidence(
        EDITED,
        f"{names[0].upper()}{names[1:]} of plan {plan_hash(plan)[:12]} {'was' if len(moved) == 1 else 'were'} "
        "moved by hand. What was proven, simulated or drawn for that plan does not hold for this one. The needles "
        "keep their numbers.",
        "",
    )
