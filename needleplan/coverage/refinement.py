"""Refinement of a plan: needles, ablations and settings move continuously to raise the smallest margin.

The smallest margin over the target's surface is the least of many smooth functions, one for each point of the
surface, so at its best several points are equally bad. A sequence of linear programs within a trust region treats
all of them at once: each program raises the least of the linearised margins while the linearised limits are kept,
and its step is taken as far as the true limits allow. K. Madsen, "An algorithm for minimax solution of
overdetermined systems of non-linear equations", IMA Journal of Applied Mathematics 16 (1975) 321-328, with limits
added as by R. Fletcher and E. Sainz de la Maza, "Nonlinear programming and nonsmooth optimization by successive
linear programming", Mathematical Programming 43 (1989) 235-256.

Chosen by measurement on an oblique ellipsoid, the phantom patient and a patient's liver (15 to 24 coordinates),
against SLSQP and trust-constr on a soft minimum, COBYQA, COBYLA, Nelder-Mead, Powell, differential evolution and an
evolution strategy: those that come as far take many times as long, and in the liver none of them came as far.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.compiled import threads_for
from needleplan.coverage.refinement_checks import PathChecks, PlanLimit
from needleplan.coverage.refinement_model import Freedom, PlanModel, RefinedPlan
from needleplan.coverage.refinement_search import RefinementSearch
from needleplan.coverage.refinement_windows import plans_through_windows
from needleplan.errors import OptionError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion
from needleplan.trajectory.contract import TrajectoryConstraint

_METHOD = "sequential linear programming of the least margin within a trust region, with jumps to other windows"
#: Margin that may be given back to spare tissue: at the very best margin nothing could shrink.
_GIVEN_BACK_MM = 0.02
#: A plan is better by more than this in margin, or in healthy tissue at an equal margin.
_BETTER_MM, _BETTER_ML = 1e-3, 0.05
#: Other windows are looked for where more than this is to be won, and only those that are not farther behind.
_WORTH_A_WINDOW_MM, _BEHIND_MM = 0.5, 2.5
#: No other window is looked for after this share of the time limit: tissue is to be spared as well.
_TIME_FOR_WINDOWS = 0.6
#: An entry farther than this from where its needle passes the skin does not lie on it: as rough as a voxel's skin.
_ON_SKIN_MM = 3.0


@dataclass(frozen=True, slots=True)
class RefinementOptions:
    """What a refinement may change, and what for.

    Attributes:
        wanted_margin_mm: margin beyond which more is worth nothing and healthy tissue is spared instead.
        settings_move: powers and times may change within the applicator's table.
        fixed: indices of needles that stand in the patient and do not move.
        slide_fixed: ablations may move along needles that are fixed, no deeper than these stand.
        spare_tissue: shrink zones where the margin, up to the wanted one, stays.
        minute_ml: a minute of treatment weighs as much as this volume of healthy tissue.
        duration_step_s: changed times are rounded up to whole steps of the device; 0 for none.
        power_step_w: changed powers likewise.
        most_windows: how often paths that stop the plan are led to other windows between obstacles; 0 keeps each
            needle in its own.
        most_steps: programs solved at most, each time that the plan is bettered.
        time_limit_s: no step is begun later. A plan that this ends may differ from one machine to the next.
    """

    wanted_margin_mm: float = 10.0
    settings_move: bool = True
    fixed: frozenset[int] = field(default_factory=frozenset)
    slide_fixed: bool = True
    spare_tissue: bool = True
    minute_ml: float = 0.5
    duration_step_s: float = 1.0
    power_step_w: float = 1.0
    most_windows: int = 1
    most_steps: int = 40
    time_limit_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.wanted_margin_mm <= 50:
            raise OptionError(f"the wanted margin must be 0 to 50 mm, not {self.wanted_margin_mm:g}")
        if not (0 <= self.minute_ml <= 1000 and 0 <= self.duration_step_s <= 600 and 0 <= self.power_step_w <= 100):
            raise OptionError(
                "a minute must weigh 0 to 1000 ml, steps of time be 0 to 600 s and steps of power 0 to 100 W, not "
                f"{self.minute_ml:g} ml, {self.duration_step_s:g} s and {self.power_step_w:g} W"
            )
        if self.most_windows < 0:
            raise OptionError(f"the number of looks for other windows must be 0 or more, not {self.most_windows}")
        if self.most_steps < 1 or not 0 < self.time_limit_s <= 86_400:
            raise OptionError(
                "a refinement needs at least one step and a time limit above zero and at most a day, not "
                f"{self.most_steps} and {self.time_limit_s:g} s"
            )


@dataclass(frozen=True, slots=True)
class Refinement:
    """A refined plan, never worse than the one given.

    Attributes:
        insertions: the needles in the order given; those given, where nothing better was found.
        improved: False where nothing better was found.
        margin_before_mm: least margin over the target's surface before, by the zone's exact measure,
        margin_after_mm: and after.
        cost_before_ml: volume of the zones, with the time of treatment as a volume, before,
        cost_after_ml: and after.
        stopped_by: for each needle, in words, what keeps it from raising the margin further.
        evaluations: how often zones were compared with the target's surface,
        path_checks: and paths with the constraints.
        seconds: wall time.
        method: how it was found.
        sentence: the outcome in a sentence.
    """

    insertions: tuple[Insertion, ...]
    improved: bool
    margin_before_mm: float
    margin_after_mm: float
    cost_before_ml: float
    cost_after_ml: float
    stopped_by: tuple[tuple[str, ...], ...]
    evaluations: int
    path_checks: int
    seconds: float
    method: str
    sentence: str


def refine(
    insertions: Sequence[Insertion],
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    constraints: Sequence[TrajectoryConstraint],
    options: RefinementOptions | None = None,
    *,
    protection: Callable[[Sequence[Insertion]], float] | None = None,
    pair_check: Callable[[Sequence[Insertion]], float] | None = None,
    further_points_mm: ArrayLike = (),
) -> Refinement:
    """Move a plan's needles, ablations and settings to a larger least margin; every hard limit stays true.

    The search is local: it starts from the plan, and finds other windows only near it. The same plan gives the
    same result, in whatever order its needles are given.

    Args:
        insertions: the plan; each with at least one ablation, all limits kept.
        queries: the anatomy.
        zone_model: predicts the zones.
        constraints: what is demanded of paths; softened ones only cost and are not asked.
        options: what may change; the defaults where None.
        protection: least slack in mm of the thermal margins of critical structures, not negative where kept.
        pair_check: least slack in mm of the distances between needles, not negative where kept.
        further_points_mm: (m, 3) points that must have the margin as well as those of the target's surface: places
            between those, or within the target, that a plan was found to leave out.

    Raises:
        OptionError: an index of a fixed needle is not one of the plan.
        DeviceError: an applicator or a setting is unknown or lies outside its table.
        PhysicsError: a needle has no ablation, or the plan given breaks a limit already.
    """
    # Small kernels run thousands of times: a second core would cost more than it gives.
    with threads_for(0):
        return _refined(
            tuple(insertions),
            queries,
            zone_model,
            constraints,
            options or RefinementOptions(),
            protection,
            pair_check,
            np.asarray(further_points_mm, dtype=np.float64).reshape(-1, 3),
        )


def _refined(
    given: tuple[Insertion, ...],
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    constraints: Sequence[TrajectoryConstraint],
    options: RefinementOptions,
    protection: Callable[[Sequence[Insertion]], float] | None,
    pair_check: Callable[[Sequence[Insertion]], float] | None,
    further_points_mm: FloatArray,
) -> Refinement:
    """See ``refine``."""
    start = time.perf_counter()
    if not given or not all(insertion.ablations for insertion in given):
        raise PhysicsError("a plan to be refined needs at least one needle, and each at least one ablation")
    if not options.fixed <= set(range(len(given))):
        raise OptionError(f"fixed needles must be indices from 0 to {len(given) - 1}, not {sorted(options.fixed)}")
    # One order for the same needles, wherever the patient lies: programs with several answers give the same one.
    order = _order(given, queries)
    plan_limits = [
        PlanLimit(name, limit)
        for name, limit in (
            ("thermal margin of a critical structure", protection),
            ("distance between needles", pair_check),
        )
        if limit is not None
    ]
    checks = PathChecks(queries, constraints, zone_model)
    fixed = frozenset(order.index(k) for k in options.fixed)
    freedom = Freedom(fixed, options.slide_fixed, options.settings_move)
    model = PlanModel(queries, zone_model, checks, plan_limits, freedom, options.minute_ml, further_points_mm)
    search = RefinementSearch(model, options.most_steps, options.time_limit_s)
    first = model.plan([given[k] for k in order])
    _refuse_broken(first, checks, plan_limits, order, options)
    best, stops = _raised(model, search, first, options)
    found = [first, best]
    if options.spare_tissue:
        kept_mm = min(options.wanted_margin_mm, max(first.least_mm, best.least_mm - _GIVEN_BACK_MM))
        found.append(search.spare_tissue(best, kept_mm))
    found += [plan for plan in (_in_steps(model, first, found[-1], options, zone_model),) if plan is not None]
    chosen, margins, costs = _best_of(found, model, zone_model, options.wanted_margin_mm)
    improved = chosen > 0
    after = found[chosen].insertions
    return Refinement(
        insertions=tuple(after[order.index(k)] for k in range(len(given))) if improved else given,
        improved=improved,
        margin_before_mm=margins[0],
        margin_after_mm=margins[chosen],
        cost_before_ml=costs[0],
        cost_after_ml=costs[chosen],
        stopped_by=tuple(
            _stopped_by(order.index(k), stops, best.least_mm >= options.wanted_margin_mm, search.out_of_time)
            for k in range(len(given))
        ),
        evaluations=model.evaluations,
        path_checks=checks.paths,
        seconds=time.perf_counter() - start,
        method=_METHOD,
        sentence=_sentence(margins[0], margins[chosen], costs[0], costs[chosen], improved),
    )


def _order(insertions: Sequence[Insertion], queries: AnatomyQueries) -> list[int]:
    """Indices sorted by the places of tips and entries along the patient's axes."""

    def place(k: int) -> tuple[float, ...]:
        ends = np.array([insertions[k].tip_mm, insertions[k].entry_mm])
        return tuple(np.round((ends - queries.origin_mm) @ queries.anatomy.axes, 5).ravel().tolist())

    return sorted(range(len(insertions)), key=place)


def _refuse_broken(
    plan: RefinedPlan,
    checks: PathChecks,
    plan_limits: Sequence[PlanLimit],
    order: Sequence[int],
    options: RefinementOptions,
) -> None:
    """Raises PhysicsError where the plan given breaks a limit of a needle that may move, or of the whole plan."""
    for insertion, index in zip(plan.insertions, order, strict=True):
        if index in options.fixed:
            continue
        judged = checks.judge([insertion], on_skin=False)
        placed = checks.judge([insertion])
        off = np.linalg.norm(np.subtract(placed.insertions[0].entry_mm, insertion.entry_mm))
        if off > _ON_SKIN_MM or np.isneginf(placed.slack[0]).any():
            raise PhysicsError(
                f"needle {index + 1} of the plan to be refined does not enter where an entry is allowed: put it "
                "onto the skin first"
            )
        worst = int(np.argmin(judged.slack[0]))
        if judged.slack[0, worst] < 0:
            raise PhysicsError(
                f"needle {index + 1} of the plan to be refined breaks a limit already ({judged.names[worst]}, by "
                f"{-judged.slack[0, worst]:.3g}): refine a plan that keeps them all"
            )
    for limit, slack in zip(plan_limits, plan.plan_slack, strict=True):
        if slack < 0:
            raise PhysicsError(
                f"the plan to be refined breaks a limit already ({limit.name}, by {-slack:.3g} mm): refine a plan "
                "that keeps them all"
            )


def _raised(
    model: PlanModel, search: RefinementSearch, first: RefinedPlan, options: RefinementOptions
) -> tuple[RefinedPlan, tuple[tuple[str, ...], ...]]:
    """The plan with the largest least margin that is found, and what stops each of its needles.

    Where limits of paths stop it, the needles are let go through anything first, and from there led to the windows
    nearest by.
    """
    wanted_mm = options.wanted_margin_mm
    best = search.raise_margin(first, wanted_mm)
    stops = search.stops
    for _ in range(options.most_windows):
        if best.least_mm >= wanted_mm or search.time_used > _TIME_FOR_WINDOWS:
            break
        ideal = search.raise_margin(best, wanted_mm, paths_limited=False)
        if ideal.least_mm < best.least_mm + _WORTH_A_WINDOW_MM:
            break
        before_mm = best.least_mm
        for start in plans_through_windows(model, ideal, before_mm - _BEHIND_MM):
            other = search.raise_margin(start, wanted_mm)
            if other.least_mm > best.least_mm + _BETTER_MM:
                best, stops = other, search.stops
        if best.least_mm == before_mm:
            break
    return best, stops


def _in_steps(
    model: PlanModel,
    first: RefinedPlan,
    plan: RefinedPlan,
    options: RefinementOptions,
    zone_model: EllipsoidTableModel,
) -> RefinedPlan | None:
    """The plan with changed times and powers rounded up to steps of the device; None where a limit forbids it.

    Larger zones hold smaller ones, so no margin falls; but a critical structure may then be too near.
    """
    settings = {(a.duration_s, a.power_w) for insertion in first.insertions for a in insertion.ablations}

    def rounded(ablation: Ablation, applicator: str) -> Ablation:
        if (ablation.duration_s, ablation.power_w) in settings:
            return ablation
        table = zone_model.table(applicator)
        duration_s = _up(ablation.duration_s, options.duration_step_s, table.durations_s)
        power_w = None if ablation.power_w is None else _up(ablation.power_w, options.power_step_w, table.powers_w)
        return dataclasses.replace(ablation, power_w=power_w, duration_s=duration_s)

    stepped = [
        dataclasses.replace(
            insertion, ablations=tuple(rounded(a, insertion.applicator) for a in insertion.ablations)
        )
        for insertion in plan.insertions
    ]
    other = model.plan(stepped)
    return None if any(slack < 0 for slack in other.plan_slack) else other


def _up(value: float, step: float, nodes: FloatArray) -> float:
    """The next whole step at or above a value, no more than the table's last node."""
    if step == 0:
        return value
    return min(float(np.ceil(value / step - 1e-9) * step), float(nodes[-1]))


def _best_of(
    plans: Sequence[RefinedPlan],
    model: PlanModel,
    zone_model: EllipsoidTableModel,
    wanted_mm: float,
) -> tuple[int, dict[int, float], dict[int, float]]:
    """Index of the plan to return by the exact measure, and the margins and costs of those that were measured.

    The first plan is the one given. The last is taken if it is better; then the one before.
    """
    points = model.measured_mm
    margins = {0: zone_model.zone(plans[0].insertions).least_margin_mm(points)}
    costs = {0: model.cost_ml(plans[0].insertions)}
    worth_before = min(margins[0], wanted_mm)
    for index in range(len(plans) - 1, 0, -1):
        if plans[index].insertions == plans[0].insertions:
            continue
        margins[index] = zone_model.zone(plans[index].insertions).least_margin_mm(points)
        costs[index] = model.cost_ml(plans[index].insertions)
        gain_mm = min(margins[index], wanted_mm) - worth_before
        if gain_mm > _BETTER_MM or (gain_mm >= 0 and costs[index] < costs[0] - _BETTER_ML):
            return index, margins, costs
    return 0, margins, costs


def _stopped_by(needle: int, stops: Sequence[Sequence[str]], reached: bool, out_of_time: bool) -> tuple[str, ...]:
    if reached:
        return ("the wanted margin is reached",)
    words = tuple(stops[needle]) if stops else ()
    if out_of_time:
        return (*words, "the time limit")
    return words or ("opposite sides of the target balance",)


def _sentence(before_mm: float, after_mm: float, before_ml: float, after_ml: float, improved: bool) -> str:
    if not improved:
        return f"No better plan was found near the given one; its least margin is {before_mm:.2f} mm."
    return (
        f"The least margin goes from {before_mm:.2f} to {after_mm:.2f} mm, zones and time together from "
        f"{before_ml:.1f} to {after_ml:.1f} ml."
    )
