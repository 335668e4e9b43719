"""Other windows for needles that stand in the way of a better plan: past the vessel or rib that stops them."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from needleplan.coverage.refinement_model import LARGEST_RADIUS, PlanModel, RefinedPlan
from needleplan.coverage.refinement_moves import PlanMoves
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: Paths drawn about one that breaks a limit, turned up to this angle, at each of these greatest shifts.
_DRAWS, _TURN_DEG, _SHIFTS_MM = 500, 60.0, (0.0, 2.5, 5.0)
#: About so many of these that break their limits least, so many are drawn again within this turn and shift.
_NEAREST, _DRAWN_AGAIN, _SMALL_TURN_DEG, _SMALL_SHIFT_MM = 40, 25, 6.0, 1.5
#: A millimetre of shift weighs as much as a limit broken by this many of its units.
_SHIFT_PRICE = 0.3
#: Windows kept of each needle, their directions at least this far apart.
_WINDOWS, _APART_DEG = 2, 8.0
#: Plans handed on at most.
_PLANS = 2


def plans_through_windows(model: PlanModel, plan: RefinedPlan, least_mm: float) -> list[RefinedPlan]:
    """Plans like one whose paths break limits, with such paths turned and shifted to where none is broken.

    Paths are drawn evenly about the plan's own (a Halton sequence, the same each time), and again about those that
    break their limits least; those with the largest margin beside the other needles are kept.

    Args:
        model: margins and limits.
        plan: the plan; its paths may pass through anything.
        least_mm: only windows with at least this margin are kept.

    Returns:
        The best few plans that keep every limit, the most promising first; none where a needle finds no window.
    """
    moves = model.moves(plan)
    offers: list[list[Insertion]] = []
    for needle, moving in enumerate(moves.moves_lines):
        if not moving:
            offers.append([plan.insertions[needle]])
            continue
        own = model.checks.judge([plan.insertions[needle]])
        offers.append([own.insertions[0]] if own.feasible[0] else _windows(model, plan, moves, needle, least_mm))
    plans = [model.plan(insertions) for insertions in list(product(*offers))[:_PLANS]]
    return [other for other in plans if min(other.plan_slack, default=0.0) >= 0]


def _windows(
    model: PlanModel, plan: RefinedPlan, moves: PlanMoves, needle: int, least_mm: float
) -> list[Insertion]:
    """Paths of one needle that break no limit, best first, in different directions."""
    points = model.points_mm[model.program_points(plan.margins_mm, LARGEST_RADIUS)]
    rest = model.margins_mm([other for k, other in enumerate(plan.insertions) if k != needle], points)
    draws = _draws(_DRAWS)
    wide = np.concatenate([_steps(moves, needle, shift, _TURN_DEG, draws) for shift in _SHIFTS_MM])
    first = model.checks.judge([moves.moved_needle(needle, step) for step in wide])
    broken = np.minimum(first.slack.min(axis=1), 0.0) - _SHIFT_PRICE * np.repeat(_SHIFTS_MM, _DRAWS)
    nearest = np.argsort(-np.round(broken, 6), kind="stable")[:_NEAREST]
    small = _steps(moves, needle, _SMALL_SHIFT_MM, _SMALL_TURN_DEG, draws[:_DRAWN_AGAIN])
    second = model.checks.judge([moves.moved_needle(needle, wide[k] + step) for k in nearest for step in small])
    found: list[tuple[float, Insertion]] = []
    for judged in (first, second):
        for k in np.flatnonzero(judged.feasible).tolist():
            path = judged.insertions[k]
            depth = float(np.maximum(model.margins_mm([path], points), rest).min())
            if depth >= least_mm:
                found.append((round(depth, 6), path))
    found.sort(key=lambda item: -item[0])
    kept: list[Insertion] = []
    for _, path in found:
        if all(path.direction @ other.direction < np.cos(np.radians(_APART_DEG)) for other in kept):
            kept.append(path)
        if len(kept) == _WINDOWS:
            break
    return kept


def _draws(count: int) -> FloatArray:
    """(n, 5) evenly drawn numbers from -1 to 1."""
    from scipy.stats import qmc

    # The sequence begins with zeros, and the path itself is known to break a limit.
    return np.asarray(2.0 * qmc.Halton(5, scramble=False).random(count + 1)[1:] - 1.0)


def _steps(
    moves: PlanMoves, needle: int, shift_mm: float, turn_deg: float, draws: Sequence[FloatArray] | FloatArray
) -> FloatArray:
    """(n, m) steps that turn one needle and shift it across and along."""
    numbers = np.asarray(draws)
    steps = np.zeros((len(numbers), len(moves)))
    first = moves.first[needle]
    slides = len(moves.insertions[needle].ablations)
    steps[:, first : first + 2] = shift_mm * numbers[:, 2:4]
    steps[:, first + 2 : first + 4] = np.radians(turn_deg) * moves.levers_mm[needle] * numbers[:, :2]
    steps[:, first + 4 : first + 4 + slides] = shift_mm * numbers[:, 4:]
    return steps
