"""The compiled judgement of pairs of needles; reasons are the values of ``needle_pairs.PairReason``."""

from typing import Any

import numpy as np

from needleplan.ablation.pulse_rules import NO_PAIR_DEG
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.coverage.needle_shape import axis_distance_mm, far_apart, least_gap_mm

#: The quick distance of two lines is less exact than that of their parts by no more than this.
_ROUNDING_MM = 1e-6


@compiled
def judge(
    i: int, j: int, entry: Any, direction: Any, tip: Any, standing: Any, placed: Any, placing: Any, active: Any,
    outline: Any, demands: Any, every: bool, figures: Any,
) -> int:  # fmt: skip
    """First reason against a pair, 0 for none; its figure at its place, or with ``every`` those of all reasons."""
    first = 0
    x, y, z = entry[j, 0] - entry[i, 0], entry[j, 1] - entry[i, 1], entry[j, 2] - entry[i, 2]
    apart = x * x + y * y + z * z
    if demands[0] > 0.0 and apart < demands[0] * demands[0]:
        figures[1] = np.sqrt(apart)
        first = 1
        if not every:
            return first
    # Parts of two lines never come nearer than the lines, which is quickly known where they are not parallel.
    ux, uy, uz = direction[i, 0], direction[i, 1], direction[i, 2]
    vx, vy, vz = direction[j, 0], direction[j, 1], direction[j, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    across = nx * nx + ny * ny + nz * nz
    lines = abs(x * nx + y * ny + z * nz) / np.sqrt(across) - _ROUNDING_MM if across > 1e-12 else 0.0
    inside, outside = demands[1], demands[3]
    radii = standing[36 * i + 6] + standing[36 * j + 6]
    if lines < radii + inside and not far_apart(standing, 3 * i, standing, 3 * j, radii + inside):
        gap = axis_distance_mm(standing, 3 * i, standing, 3 * j) - radii
        if gap < inside:
            figures[2] = gap
            first = first or 2
            if not every:
                return first
    if lines < demands[2] and not far_apart(active, i, active, j, demands[2]):
        gap = axis_distance_mm(active, i, active, j)
        if gap < demands[2]:
            figures[3] = gap
            first = first or 3
            if not every:
                return first
    code = 0
    widest = max(outline[12 * i + 6], radii) + max(outline[12 * j + 6], radii) + outside
    if lines < widest and _outlines_near(i, j, entry, direction, standing, outline, outside):
        code = _judge_outside(i, j, standing, placed, placing, outside, figures)
    if code:
        first = first or code
        if not every:
            return first
    if demands[4] > 0.0:
        code = _judge_pulses(i, j, direction, tip, demands, every, figures)
        first = first or code
    return first


@compiled
def _outline_clears(
    i: int, j: int, entry: Any, direction: Any, length_mm: float, need_mm: float, inside: bool
) -> bool:
    """True where a plane between them shows that needle i outside, over a length, keeps clear of needle j.

    What stands outside runs from the entry back along the axis. Along a unit vector f it lies no farther towards j
    than its length times the part of -u along f; needle j lies no nearer than its entry where f is square to it
    (``inside``, its part inside), or where it leans away from i (its part outside).
    """
    dx, dy, dz = entry[j, 0] - entry[i, 0], entry[j, 1] - entry[i, 1], entry[j, 2] - entry[i, 2]
    vx, vy, vz = direction[j, 0], direction[j, 1], direction[j, 2]
    along = dx * vx + dy * vy + dz * vz
    if inside:
        dx, dy, dz = dx - along * vx, dy - along * vy, dz - along * vz
    elif along > 0.0:
        return False
    square = dx * dx + dy * dy + dz * dz
    towards = -(direction[i, 0] * dx + direction[i, 1] * dy + direction[i, 2] * dz)
    if towards <= 0.0:
        return bool(square >= need_mm * need_mm)
    return bool(square - towards * length_mm >= need_mm * np.sqrt(square) and square > 0.0)


@compiled
def _outlines_near(i: int, j: int, entry: Any, direction: Any, standing: Any, outline: Any, outside: float) -> bool:
    """True where what stands outside of one needle may come too near to the other."""
    need = outside + outline[12 * i + 6] + outline[12 * j + 6]
    if not _outline_clears(i, j, entry, direction, 2.0 * outline[12 * i + 10], need, False):
        if not far_apart(outline, i, outline, j, need) and axis_distance_mm(outline, i, outline, j) < need:
            return True
    for a, b in ((i, j), (j, i)):
        need = outside + outline[12 * a + 6] + standing[36 * b + 6]
        if not _outline_clears(a, b, entry, direction, 2.0 * outline[12 * a + 10], need, True):
            if not far_apart(outline, a, standing, 3 * b, need):
                if axis_distance_mm(outline, a, standing, 3 * b) < need:
                    return True
    return False


@compiled
def _judge_outside(i: int, j: int, standing: Any, placed: Any, placing: Any, outside: float, figures: Any) -> int:
    """4 where two needles that stand touch outside, 5 where neither can be placed past the other, else 0."""
    # Shafts inside the body are judged by their own rule: nothing is demanded of them here.
    gap, _, _ = least_gap_mm(standing, i, 3, standing, j, 3, -np.inf, outside, 0.0)
    if gap < 0.0:
        figures[4] = gap
        return 4
    gap, _, _ = least_gap_mm(placing, i, 4, placed, j, 3, -np.inf, outside, 0.0)
    if gap < 0.0:
        back, _, _ = least_gap_mm(placing, j, 4, placed, i, 3, -np.inf, outside, 0.0)
        if back < 0.0:
            figures[5] = max(gap, back)
            return 5
    return 0


@compiled
def _judge_pulses(i: int, j: int, direction: Any, tip: Any, demands: Any, every: bool, figures: Any) -> int:
    """First of the vendor's rules that a pair of electrodes breaks: ``pulse_rules.ElectrodePair`` for many."""
    exposure, least, greatest, steepest, level = demands[4], demands[5], demands[6], demands[7], demands[8]
    u, v = direction[i], direction[j]
    sense = 1.0 if u[0] * v[0] + u[1] * v[1] + u[2] * v[2] >= 0.0 else -1.0
    wx, wy, wz = u[0] + sense * v[0], u[1] + sense * v[1], u[2] + sense * v[2]
    size = np.sqrt(wx * wx + wy * wy + wz * wz)
    wx, wy, wz = wx / size, wy / size, wz / size
    nx, ny, nz = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    across = np.sqrt(nx * nx + ny * ny + nz * nz)
    angle = np.degrees(np.arctan2(across, abs(u[0] * v[0] + u[1] * v[1] + u[2] * v[2])))
    # Places along the mean axis, from the tip of the first.
    ui = u[0] * wx + u[1] * wy + u[2] * wz
    vj = v[0] * wx + v[1] * wy + v[2] * wz
    dx, dy, dz = tip[j, 0] - tip[i, 0], tip[j, 1] - tip[i, 1], tip[j, 2] - tip[i, 2]
    tip_j = dx * wx + dy * wy + dz * wz
    low = max(min(0.0, -exposure * ui), min(tip_j, tip_j - exposure * vj))
    high = min(max(0.0, -exposure * ui), max(tip_j, tip_j - exposure * vj))
    middle = 0.5 * (low + high)
    s, t = middle / ui, (middle - tip_j) / vj
    x, y, z = dx + t * v[0] - s * u[0], dy + t * v[1] - s * u[1], dz + t * v[2] - s * u[2]
    spacing = np.sqrt(x * x + y * y + z * z)
    first = 0
    if spacing > greatest:
        # A pair that is left out must still be one that the models of pulses accept beside the others.
        if demands[9] > 0.0 and angle < NO_PAIR_DEG and high > low:
            return 0
        figures[6] = spacing
        first = 6
        if not every:
            return first
    if angle > steepest or angle >= NO_PAIR_DEG:
        figures[7] = angle
        first = first or 7
        if not every:
            return first
    if high - low < level or high <= low:
        figures[8] = high - low
        first = first or 8
        if not every:
            return first
    if spacing < least:
        figures[9] = spacing
        first = first or 9
    return first


@compiled_parallel
def judge_rows(
    start: int, entry: Any, direction: Any, tip: Any, standing: Any, placed: Any, placing: Any, active: Any,
    outline: Any, demands: Any, reason: Any, figure: Any,
) -> None:  # fmt: skip
    """Judge rows ``start`` and following against all later ones."""
    for k in prange(reason.shape[0]):
        figures = np.empty(10)
        i = start + k
        for j in range(i + 1, reason.shape[1]):
            code = judge(
                i, j, entry, direction, tip, standing, placed, placing, active, outline, demands, False, figures
            )
            if code:
                reason[k, j] = code
                figure[k, j] = figures[code]
