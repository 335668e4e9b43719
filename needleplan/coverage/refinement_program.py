"""The linear program of one step of a refinement."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray

#: Price in mm of margin (or ml of tissue) of moving one coordinate by one unit: of equal steps the least is taken.
_PRICE = 1e-4
#: Where a step promises less than this share of its size, other zones for its points are tried, so often at most.
_LITTLE, _REASSIGNMENTS = 0.2, 3
#: A multiplier below this says that a limit does not stop a step.
_LEAST_MULTIPLIER = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Margins and limits about the present plan, linear in its m coordinates.

    Attributes:
        depths_mm: (z, p) depths of points of the target's surface in each zone; the greatest is the margin there.
        depth_slopes: (z, p, m) their change per unit of each coordinate.
        slack: (c,) what is left to each limit, zero or more.
        slopes_up: (c, m) its change per unit towards greater coordinates,
        slopes_down: (c, m) and towards smaller ones: the distance to several obstacles has kinks.
        lower: (m,) least coordinates allowed, zero or less.
        upper: (m,) greatest coordinates allowed, zero or more.
    """

    depths_mm: FloatArray
    depth_slopes: FloatArray
    slack: FloatArray
    slopes_up: FloatArray
    slopes_down: FloatArray
    lower: FloatArray
    upper: FloatArray

    def corrected(self, step: FloatArray, depths_mm: FloatArray, slack: FloatArray) -> "Program":
        """The program that is right at a step, given depths (z, p) and slacks (b,) of the first b limits there."""
        ahead, behind = np.maximum(step, 0.0), np.maximum(-step, 0.0)
        linear = self.slopes_up @ ahead + self.slopes_down @ behind
        at_step = self.slack.copy()
        at_step[: len(slack)] = slack - linear[: len(slack)]
        return dataclasses.replace(self, depths_mm=depths_mm - self.depth_slopes @ step, slack=at_step)


@dataclass(frozen=True, slots=True, eq=False)
class ProgramStep:
    """Answer of a program.

    Attributes:
        step: (m,) the step.
        gain: by how much it betters what was asked, by the linear model.
        binding: (c,) True for limits that stop the step.
        binding_bounds: (m,) True for coordinates that their bounds stop.
    """

    step: FloatArray
    gain: float
    binding: NDArray[np.bool_]
    binding_bounds: NDArray[np.bool_]


def solve_program(
    program: Program, least_mm: float, radius: float, reserve: float, costs: FloatArray | None = None
) -> ProgramStep | None:
    """The best step that is found within a box.

    The margin at a point is the greatest of its depths in several zones, which no linear program knows. Holding
    each point to one zone never promises too much; at first that is the zone that it lies deepest in, then, as long
    as that betters the step, the one that it would lie deepest in after the step. Where little is promised, a step
    that draws at each point with all the zones that nearly hold it says which zones to try: one that lies idle is
    drawn to where it could take over.

    Args:
        program: margins and limits.
        least_mm: without costs, margins beyond this are worth nothing; with costs, all margins keep to it.
        radius: greatest change of any coordinate.
        reserve: share of the greatest change of a limit's slack that is kept free of it, as its slope may bend.
        costs: (m,) change of the cost per unit; None raises the least margin instead of lowering a cost.

    Returns:
        The step; None where the linear model has none.
    """
    depths, slopes = program.depths_mm, program.depth_slopes
    points = np.arange(depths.shape[1])
    ask = (program, least_mm, radius, reserve, costs)
    deepest = depths.argmax(axis=0)
    best = _solved(depths[deepest, points], slopes[deepest, points], *ask)
    if len(depths) == 1:
        return best
    guide = best
    if costs is None and (best is None or best.gain < _LITTLE * radius):
        share = np.exp((depths - depths.max(axis=0)) / radius)
        share /= share.sum(axis=0)
        guide = _solved(depths.max(axis=0), np.einsum("zp,zpm->pm", share, slopes), *ask)
    held = deepest
    for _ in range(_REASSIGNMENTS):
        if guide is None:
            break
        now = (depths + slopes @ guide.step).argmax(axis=0)
        if (now == held).all():
            break
        held = now
        guide = _solved(depths[held, points], slopes[held, points], *ask)
        if guide is not None and (best is None or guide.gain > best.gain):
            best = guide
    return best


def _solved(
    margins_mm: FloatArray,
    margin_slopes: FloatArray,
    program: Program,
    least_mm: float,
    radius: float,
    reserve: float,
    costs: FloatArray | None,
) -> ProgramStep | None:
    """The best step where the margins (p,) at the points change by slopes (p, m)."""
    from scipy.optimize import linprog

    m = len(program.lower)
    steepest = np.maximum(np.abs(program.slopes_up), np.abs(program.slopes_down)).max(axis=1, initial=0.0)
    kept = reserve * radius * steepest
    up = np.minimum(program.upper, radius)
    down = np.minimum(-program.lower, radius)
    limits = np.concatenate([np.zeros((len(program.slack), 1)), -program.slopes_up, -program.slopes_down], axis=1)
    points = np.concatenate([np.ones((len(margins_mm), 1)), -margin_slopes, margin_slopes], axis=1)
    now_mm = float(program.depths_mm.max(axis=0).min())
    if costs is None:
        objective = np.concatenate([[-1.0], np.full(2 * m, _PRICE)])
        margin_bounds: tuple[float | None, float] = (None, max(least_mm, now_mm))
    else:
        objective = np.concatenate([[0.0], costs + _PRICE, -costs + _PRICE])
        margin_bounds = (least_mm, least_mm)
    answer = linprog(
        objective,
        A_ub=np.concatenate([points, limits]),
        b_ub=np.concatenate([margins_mm, program.slack - kept]),
        bounds=[margin_bounds, *zip(np.zeros(m), up, strict=True), *zip(np.zeros(m), down, strict=True)],
        method="highs-ds",
    )
    if answer.x is None:
        return None
    step = answer.x[1 : m + 1] - answer.x[m + 1 :]
    multipliers = np.abs(answer.ineqlin.marginals[len(points) :]) > _LEAST_MULTIPLIER
    held = np.abs(answer.upper.marginals[1:]) > _LEAST_MULTIPLIER
    at_bound = (held[:m] & (program.upper < radius)) | (held[m:] & (-program.lower < radius))
    gain = float(answer.x[0] - now_mm) if costs is None else -float(costs @ step)
    return ProgramStep(step, gain, multipliers, at_bound)
