"""Two plans of one case side by side: what they achieve, where their needles go, what they come near to."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.app.folder import PlanFolder
from needleplan.app.pipeline import PlannedCase
from needleplan.errors import OptionError
from needleplan.plan import Insertion, Plan
from needleplan.plan_clearances import is_capped


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """One figure of two plans.

    Attributes:
        name: what it is.
        unit: its unit.
        first: of the first plan; None where it has none.
        second: of the second.
        difference: second less first; None where one is missing or both are capped.
        capped: whether the first and the second are measured no farther, so that they are at least this.
    """

    name: str
    unit: str
    first: float | None
    second: float | None
    difference: float | None
    capped: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, slots=True)
class ComparedNeedle:
    """A needle of two plans, by its order.

    Attributes:
        order: its order of puncture in both.
        first: what it is in the first; empty where it has none of that order.
        second: in the second.
        entry_apart_mm: distance of the two entries; None where one is missing.
        tip_apart_mm: distance of the two tips.
    """

    order: int
    first: str
    second: str
    entry_apart_mm: float | None
    tip_apart_mm: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two plans side by side.

    Attributes:
        statuses: status of each.
        metrics: what they achieve.
        needles: their needles.
        clearances: least distance of any needle's surface to each structure.
    """

    statuses: tuple[str, str]
    metrics: tuple[ComparedValue, ...]
    needles: tuple[ComparedNeedle, ...]
    clearances: tuple[ComparedValue, ...]


def compare_plans(first: Plan, second: Plan) -> Comparison:
    """Two plans side by side; clearances as the plans state them."""
    orders = sorted({one.order for one in (*first.insertions, *second.insertions)})
    names = list(dict.fromkeys(name for plan in (first, second) for name in _clearances(plan)))
    return Comparison(
        (first.status.value, second.status.value),
        tuple(
            _value(name, unit, before, after)
            for (name, unit, before), (_, _, after) in zip(_figures(first), _figures(second), strict=True)
        ),
        tuple(_needle(order, first.insertions, second.insertions) for order in orders),
        tuple(_clearance(name, _clearances(first).get(name), _clearances(second).get(name)) for name in names),
    )


def read_other_plan(folder: PlanFolder, planned: PlannedCase) -> Plan:
    """A plan to compare with.

    Raises:
        PlanFileError: the folder holds no plan, or a damaged or changed one.
        OptionError: it is of another case or made with other zone tables.
    """
    other = folder.read_plan()
    if other.case_hash != planned.plan.case_hash:
        raise OptionError(
            f"{folder.root} holds a plan of another case ({other.case_name}, not {planned.plan.case_name}): plans "
            "of one case are compared"
        )
    if other.provenance.options.get("tables") != planned.plan.provenance.options.get("tables") or (
        other.provenance.options.get("setting", "in_vivo")
        != planned.plan.provenance.options.get("setting", "in_vivo")
    ):
        raise OptionError(
            f"{folder.root} holds a plan that was made with other zone tables: its zones mean something else, so "
            "plan both with the same ones"
        )
    return other


def _figures(plan: Plan) -> tuple[tuple[str, str, float | None], ...]:
    metrics = plan.metrics
    ablations = [ablation for one in plan.insertions for ablation in one.ablations]
    return (
        ("insertions", "", float(len(plan.insertions))),
        ("ablations", "", float(len(ablations))),
        ("time of energy", "min", sum(ablation.duration_s for ablation in ablations) / 60.0),
        ("target covered", "%", None if metrics is None else 100.0 * metrics.target_coverage_fraction),
        ("target plus margin covered", "%", None if metrics is None else 100.0 * metrics.margin_coverage_fraction),
        ("least margin", "mm", None if metrics is None else metrics.minimal_margin_mm),
        ("healthy tissue", "ml", None if metrics is None else metrics.over_ablation_ml),
        ("zones", "ml", None if metrics is None else metrics.zone_ml),
    )


def _clearances(plan: Plan) -> dict[str, float]:
    """Least clearance of any needle to each structure."""
    least: dict[str, float] = {}
    for insertion in plan.insertions:
        for name, value in insertion.clearances_mm.items():
            least[name] = min(value, least.get(name, np.inf))
    return least


def _value(name: str, unit: str, first: float | None, second: float | None) -> ComparedValue:
    difference = None if first is None or second is None else second - first
    return ComparedValue(name, unit, first, second, difference)


def _clearance(name: str, first: float | None, second: float | None) -> ComparedValue:
    value = _value(name, "mm", first, second)
    capped = (first is not None and is_capped(first), second is not None and is_capped(second))
    return dataclasses.replace(value, capped=capped, difference=None if all(capped) else value.difference)


def _needle(order: int, first: Sequence[Insertion], second: Sequence[Insertion]) -> ComparedNeedle:
    one = next((each for each in first if each.order == order), None)
    two = next((each for each in second if each.order == order), None)
    entry_mm = tip_mm = None
    if one is not None and two is not None:
        entry_mm = float(np.linalg.norm(np.subtract(two.entry_mm, one.entry_mm)))
        tip_mm = float(np.linalg.norm(np.subtract(two.tip_mm, one.tip_mm)))
    return ComparedNeedle(order, _words(one), _words(two), entry_mm, tip_mm)


def _words(insertion: Insertion | None) -> str:
    if insertion is None:
        return ""
    settings = ", ".join(
        f"{'' if one.power_w is None else f'{one.power_w:.0f} W '}{one.duration_s / 60.0:.3g} min"
        for one in insertion.ablations
    )
    return f"{insertion.applicator}, {insertion.depth_mm:.0f} mm deep, {settings or 'no ablation'}"
