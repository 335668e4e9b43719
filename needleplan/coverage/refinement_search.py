"""The search of a refinement: linear programs within a trust region, their steps judged by the true limits."""

import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.refinement_model import FELT, LARGEST_RADIUS, PlanModel, RefinedPlan
from needleplan.coverage.refinement_moves import PlanMoves
from needleplan.coverage.refinement_program import Program, ProgramStep, solve_program
from needleplan.coverage.time_limits import over_time
from needleplan.frames import FloatArray

#: Greatest change of a coordinate (about a millimetre of every zone) at first.
_FIRST_RADIUS = 1.0
#: A search ends at a smaller greatest change; a step that promises less gain narrows it: in mm of margin,
_ENDS = (0.01, 1e-3)
#: where paths may pass through anything (such a plan only points to better ones),
_ENDS_OF_FREE = (0.03, 2e-3)
#: and in ml of healthy tissue.
_ENDS_OF_SPARING = (0.01, 0.1)
#: A wanted margin is passed by this much.
_BEYOND_MM = 0.1
#: A step is tried at these shares, as limits bend.
_SHARES = (1.0, 0.6, 0.3, 0.1)
#: Share of the change of a limit's slack that a step keeps free of it; without where none is found so.
_RESERVES = (0.05, 0.0)


class RefinementSearch:
    """Betters a plan step by step; every plan it returns keeps every limit that it was asked to keep.

    Args:
        model: margins, limits and costs.
        most_steps: programs solved at most, each time.
        time_limit_s: no step is begun later than this after now.
    """

    def __init__(self, model: PlanModel, most_steps: int, time_limit_s: float) -> None:
        self._model = model
        self._most_steps = most_steps
        self._start_s, self._time_limit_s = time.perf_counter(), time_limit_s
        self._paths_limited = True
        #: True where the search ended because its time was over.
        self.out_of_time = False
        #: For each needle what stopped the last step that would have raised the margin.
        self.stops: tuple[tuple[str, ...], ...] = ()

    @property
    def time_used(self) -> float:
        """Share of the time limit that is over."""
        return (time.perf_counter() - self._start_s) / self._time_limit_s

    def raise_margin(self, plan: RefinedPlan, wanted_mm: float, paths_limited: bool = True) -> RefinedPlan:
        """The plan with the greatest least margin that steps lead to, up to the wanted one.

        Where paths are not limited they may pass through anything, and their entries leave the skin.
        """
        self._paths_limited = paths_limited
        radius = _FIRST_RADIUS
        # Steps to the wanted margin itself would only draw near to it.
        beyond_mm = wanted_mm + _BEYOND_MM
        least_radius, least_gain = _ENDS if paths_limited else _ENDS_OF_FREE
        for _ in range(self._most_steps):
            if plan.least_mm >= wanted_mm or radius < least_radius or self._over():
                break
            moves = self._model.moves(plan)
            rows = self._model.program_points(plan.margins_mm, radius)
            program, limits = self._model.program(plan, moves, rows, radius, self._paths_limited)
            step = _first(solve_program(program, beyond_mm, radius, reserve) for reserve in _RESERVES)
            if step is None or step.gain < least_gain:
                self._note_stops(plan, moves, step, limits)
                radius *= 0.3
                continue
            now_mm = plan.least_mm
            best: tuple[float, float, RefinedPlan] | None = None
            for share, other in self._trials(plan, moves, rows, program, step, beyond_mm, radius, None):
                gain = min(other.least_mm, beyond_mm) - now_mm
                if gain > (best[0] if best else 0.0):
                    best = (gain, share, other)
            self._note_stops(plan, moves, step, limits)
            plan, radius = _next(plan, best, step.gain, radius)
        return plan

    def spare_tissue(self, plan: RefinedPlan, kept_mm: float) -> RefinedPlan:
        """The plan with the least healthy tissue that steps lead to, all margins at least ``kept_mm``."""
        self._paths_limited = True
        radius = _FIRST_RADIUS
        for _ in range(self._most_steps):
            if radius < _ENDS_OF_SPARING[0] or self._over():
                break
            moves = self._model.moves(plan)
            rows = self._model.program_points(plan.margins_mm, radius)
            program, _limits = self._model.program(plan, moves, rows, radius, self._paths_limited)
            points, costs = self._model.tissue_slopes(plan, moves, radius)
            step = _first(solve_program(program, kept_mm, radius, reserve, costs) for reserve in _RESERVES)
            if step is None or step.gain < _ENDS_OF_SPARING[1]:
                radius *= 0.3
                continue
            now = self._model.cost_ml(plan.insertions, points)
            best: tuple[float, float, RefinedPlan] | None = None
            for share, other in self._trials(plan, moves, rows, program, step, kept_mm, radius, costs):
                gain = now - self._model.cost_ml(other.insertions, points)
                if other.least_mm >= kept_mm and gain > (best[0] if best else 0.0):
                    best = (gain, share, other)
            plan, radius = _next(plan, best, step.gain, radius)
        return plan

    def _over(self) -> bool:
        self.out_of_time = over_time(self.time_used >= 1.0, "refinement")
        return self.out_of_time

    def _trials(
        self,
        plan: RefinedPlan,
        moves: PlanMoves,
        rows: NDArray[np.int64],
        program: Program,
        step: ProgramStep,
        least_mm: float,
        radius: float,
        costs: FloatArray | None,
    ) -> list[tuple[float, RefinedPlan]]:
        """Plans at shares of a step that keep every limit, with their shares.

        The full step tells how margins and limits bend; a second program with that in its constant part gives the
        corrected step, which is tried as well (the second-order correction of sequential programming: R. Fletcher,
        Practical Methods of Optimization, 2nd ed. 1987, section 14.4).
        """
        below_mm = plan.least_mm if costs is None else least_mm
        points = self._model.points_mm[rows]
        found, slack = self._judged(plan, moves, [share * step.step for share in _SHARES], points, below_mm)
        full = moves.moved(step.step)
        depths = self._model.depths_mm(full, points)
        corrected = program.corrected(step.step, depths, slack)
        again = _first(solve_program(corrected, least_mm, radius, reserve, costs) for reserve in _RESERVES)
        trials = [(share, other) for share, other in zip(_SHARES, found, strict=True) if other is not None]
        if again is not None:
            shares = _SHARES[:2]
            more, _ = self._judged(plan, moves, [share * again.step for share in shares], points, below_mm)
            trials += [(share, other) for share, other in zip(_SHARES, more, strict=False) if other is not None]
        return trials

    def _judged(
        self,
        plan: RefinedPlan,
        moves: PlanMoves,
        steps: Sequence[FloatArray],
        points_mm: FloatArray,
        below_mm: float,
    ) -> tuple[list[RefinedPlan | None], FloatArray]:
        """Plans after steps, and the slack of the paths' limits after the first.

        None stands for a plan that breaks a limit, or whose margin at one of the points is below a bound.
        """
        placed = [list(moves.moved(step)) for step in steps]
        kept: NDArray[np.bool_] = np.ones(len(steps), dtype=np.bool_)
        slack: list[FloatArray] = []
        for needle, moving in enumerate(moves.moves_lines):
            if not moving or not self._paths_limited:
                continue
            judged = self._model.checks.judge([insertions[needle] for insertions in placed])
            same = np.array([insertions[needle] is plan.insertions[needle] for insertions in placed])
            kept &= judged.feasible | same
            slack.append(np.clip(judged.slack[0], -FELT, FELT))
            for index, insertion in enumerate(judged.insertions):
                if not same[index]:
                    placed[index][needle] = insertion
        plans: list[RefinedPlan | None] = []
        for insertions, path_kept in zip(placed, kept.tolist(), strict=True):
            enough = path_kept and float(self._model.margins_mm(insertions, points_mm).min()) >= below_mm
            other = self._model.plan(insertions) if enough else None
            if other is not None:
                broken = [index for index, value in enumerate(other.plan_slack) if value < 0]
                self._model.felt_limits.update(broken)
                if broken:
                    other = None
            plans.append(other)
        return plans, np.concatenate(slack) if slack else np.zeros(0)

    def _note_stops(
        self,
        plan: RefinedPlan,
        moves: PlanMoves,
        step: ProgramStep | None,
        limits: Sequence[tuple[int | None, str]],
    ) -> None:
        """What stops each needle, from the multipliers of the last program."""
        stops: list[list[str]] = [[] for _ in plan.insertions]
        if step is not None:
            for (needle, name), binding in zip(limits, step.binding.tolist(), strict=True):
                for mine in stops if needle is None else [stops[needle]]:
                    if binding and name not in mine:
                        mine.append(name)
            for needle, found in enumerate(stops):
                for j in range(moves.first[needle], moves.first[needle + 1]):
                    if step.binding_bounds[j] and moves.labels[j] not in found:
                        found.append(moves.labels[j])
        self.stops = tuple(tuple(mine) for mine in stops)


def _first(steps: Iterable[ProgramStep | None]) -> ProgramStep | None:
    """The first of steps that promises anything; else the last."""
    step = None
    for step in steps:
        if step is not None and step.gain > 0:
            return step
    return step


def _next(
    plan: RefinedPlan, best: tuple[float, float, RefinedPlan] | None, promised: float, radius: float
) -> tuple[RefinedPlan, float]:
    """The plan to go on from and its greatest change: wider where the program was right, else narrower."""
    if best is None:
        return plan, 0.3 * radius
    gain, share, other = best
    if share == 1.0 and gain > 0.5 * promised:
        return other, min(2.0 * radius, LARGEST_RADIUS)
    return other, 0.5 * radius if share < 0.5 or gain < 0.2 * promised else radius
