"""Margins of points in unions of spheroids that lie elsewhere in each scenario, as compiled kernels."""

from typing import Any

import numpy as np

from needleplan.ablation.spheroid import _ellipse_nearest, _signed_distance
from needleplan.compiled import compiled, compiled_parallel, prange


@compiled
def _scaled(x: float, y: float, z: float, k: int, centres: Any, axes: Any, axial: Any, radial: Any) -> float:
    """The square of the factor by which spheroid ``k`` is scaled to pass through a point."""
    dx, dy, dz = x - centres[k, 0], y - centres[k, 1], z - centres[k, 2]
    along = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
    across2 = max(0.0, dx * dx + dy * dy + dz * dz - along * along)
    return float(along * along / (axial[k] * axial[k]) + across2 / (radial[k] * radial[k]))


@compiled
def _is_sure(
    x: float, y: float, z: float, low: float, limits: Any, centres: Any, axes: Any, axial: Any, radial: Any
) -> bool:
    """True where a point surely has a margin of at least ``low``; False where that takes a search.

    With q² the point's ``_scaled``: inside, the spheroid scaled by 1 - q about the point lies in the spheroid, and
    so does the ball of (1 - q) times its least semi-axis, which is at least ``low`` where q² is at most ``limits``;
    outside, the ball of the least semi-axis lies in the spheroid, and the point over q from the centre on its
    surface.
    """
    for k in range(centres.shape[0]):
        square = _scaled(x, y, z, k, centres, axes, axial, radial)
        if square <= limits[k]:
            return True
        if low < 0.0:
            dx, dy, dz = x - centres[k, 0], y - centres[k, 1], z - centres[k, 2]
            away = dx * dx + dy * dy + dz * dz
            enough = min(axial[k], radial[k]) - low
            if away <= enough * enough or np.sqrt(away) * (1.0 - 1.0 / np.sqrt(square)) <= -low:
                return True
    return False


@compiled
def _set_limits(low: float, axial: Any, radial: Any, limits: Any) -> None:
    """The greatest ``_scaled`` at which each spheroid surely gives a margin of ``low``; -1 where it cannot."""
    for k in range(limits.shape[0]):
        room = 1.0 - max(low, 0.0) / min(axial[k], radial[k])
        limits[k] = room * room if room > 0.0 else -1.0


@compiled
def _deepest(x: float, y: float, z: float, centres: Any, axes: Any, axial: Any, radial: Any) -> tuple[float, int]:
    """The greatest signed distance of a point to any spheroid, and which has it.

    An enclosing ball bounds the distance to its spheroid from above: the greatest bound is tried first, and spares
    most of the other searches.
    """
    first = 0
    hope = -np.inf
    for k in range(centres.shape[0]):
        dx, dy, dz = x - centres[k, 0], y - centres[k, 1], z - centres[k, 2]
        bound = max(axial[k], radial[k]) - np.sqrt(dx * dx + dy * dy + dz * dz)
        if bound > hope:
            hope = bound
            first = k
    best = -np.inf
    deepest = 0
    for place in range(centres.shape[0]):
        k = first if place == 0 else (place - 1 if place <= first else place)
        dx, dy, dz = x - centres[k, 0], y - centres[k, 1], z - centres[k, 2]
        room = max(axial[k], radial[k]) - best
        if dx * dx + dy * dy + dz * dz < room * room:
            value = _signed_distance(dx, dy, dz, axes[k], axial[k], radial[k])
            if value > best:
                best = value
                deepest = k
    return best, deepest


@compiled
def _foot_is_hidden(x: float, y: float, z: float, k: int, centres: Any, axes: Any, axial: Any, radial: Any) -> bool:
    """True where the nearest point of the surface of spheroid ``k``, which holds the point, may lie in another one.

    Where it does not, it is a point of the union's boundary, and the distance to it is the margin itself.
    """
    if centres.shape[0] == 1:
        return False
    dx, dy, dz = x - centres[k, 0], y - centres[k, 1], z - centres[k, 2]
    along = dx * axes[k, 0] + dy * axes[k, 1] + dz * axes[k, 2]
    px, py, pz = dx - along * axes[k, 0], dy - along * axes[k, 1], dz - along * axes[k, 2]
    across = np.sqrt(px * px + py * py + pz * pz)
    if across < 1e-9:
        # On the axis the nearest points may form a ring.
        return True
    if axial[k] >= radial[k]:
        foot_along, foot_across = _ellipse_nearest(axial[k], radial[k], abs(along), across)
    else:
        foot_across, foot_along = _ellipse_nearest(radial[k], axial[k], across, abs(along))
    if along < 0.0:
        foot_along = -foot_along
    stretch = foot_across / across
    fx = centres[k, 0] + foot_along * axes[k, 0] + stretch * px
    fy = centres[k, 1] + foot_along * axes[k, 1] + stretch * py
    fz = centres[k, 2] + foot_along * axes[k, 2] + stretch * pz
    for j in range(centres.shape[0]):
        if j != k and _scaled(fx, fy, fz, j, centres, axes, axial, radial) < 1.0:
            return True
    return False


@compiled
def _least_margin(
    points: Any, first: Any, middles: Any, reach: Any, centres: Any, axes: Any, axial: Any, radial: Any
) -> tuple[float, float]:
    """Two numbers between which the least margin over the points lies."""
    low = np.inf
    high = np.inf
    limits = np.full(centres.shape[0], -1.0)
    of_patch = np.empty(centres.shape[0])
    for patch in range(middles.shape[0]):
        # low never exceeds high: points with more margin than that move neither. A margin changes by at most 1 mm
        # a millimetre, so the middle of a patch speaks for all of it.
        if high < np.inf:
            needed = high + reach[patch]
            _set_limits(needed, axial, radial, of_patch)
            x, y, z = middles[patch, 0], middles[patch, 1], middles[patch, 2]
            if _is_sure(x, y, z, needed, of_patch, centres, axes, axial, radial):
                continue
        for i in range(first[patch], first[patch + 1]):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            if high < np.inf and _is_sure(x, y, z, high, limits, centres, axes, axial, radial):
                continue
            value, deepest = _deepest(x, y, z, centres, axes, axial, radial)
            low = min(low, value)
            if value < high and (
                value <= 0.0 or not _foot_is_hidden(x, y, z, deepest, centres, axes, axial, radial)
            ):
                high = value
                _set_limits(high, axial, radial, limits)
    return low, high


@compiled
def _share_inside(points: Any, centres: Any, axes: Any, axial: Any, radial: Any) -> float:
    count = 0
    for i in range(points.shape[0]):
        for k in range(centres.shape[0]):
            if _scaled(points[i, 0], points[i, 1], points[i, 2], k, centres, axes, axial, radial) <= 1.0:
                count += 1
                break
    return count / points.shape[0]


@compiled_parallel
def least_margins(
    points: Any, first: Any, middles: Any, reach: Any, inner: Any, centres: Any, axes: Any, axial: Any, radial: Any,
    low: Any, high: Any, share: Any,
) -> None:  # fmt: skip
    """Least margins and covered shares of every scenario, which share nothing but what they read.

    Args:
        points: points (m, 3) of the target's surface, patch by patch.
        first: (c + 1,) number of the first point of each patch, and m.
        middles: (c, 3) a place within ``reach`` (c,) of all points of each patch.
        reach: see ``middles``.
        inner: points (p, 3) of the target's inside.
        centres, axes: (n, k, 3) of the spheroids in each scenario.
        axial, radial: (k,) semi-axes.
        low, high: (n,) results: the least margin over the surface's points lies between them.
        share: (n,) result: share of the inner points in any spheroid.
    """
    for n in prange(centres.shape[0]):
        low[n], high[n] = _least_margin(points, first, middles, reach, centres[n], axes[n], axial, radial)
        share[n] = _share_inside(inner, centres[n], axes[n], axial, radial)


@compiled_parallel
def greatest_depths(points: Any, centres: Any, axes: Any, axial: Any, radial: Any, depth: Any) -> None:
    """The greatest signed distance (n,) of any of the points (m, 3) to the union in each scenario.

    The search of a scenario ends with the first point inside: then the result is from 0 up, but not the greatest.
    """
    for n in prange(centres.shape[0]):
        best = -np.inf
        for i in range(points.shape[0]):
            for k in range(centres.shape[1]):
                dx = points[i, 0] - centres[n, k, 0]
                dy = points[i, 1] - centres[n, k, 1]
                dz = points[i, 2] - centres[n, k, 2]
                room = max(axial[k], radial[k]) - best
                if dx * dx + dy * dy + dz * dz < room * room:
                    best = max(best, _signed_distance(dx, dy, dz, axes[n, k], axial[k], radial[k]))
            if best >= 0.0:
                break
        depth[n] = best
