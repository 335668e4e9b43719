"""Compiled looks at a trilinear field between voxel centres: its values, its sign, the way to where it is zero."""

from typing import Any

import numpy as np

from needleplan.compiled import compiled, compiled_parallel, prange


@compiled
def trilinear(values: Any, x: float, y: float, z: float) -> float:
    """The field at index coordinates, which must lie within the array's corners."""
    i = min(max(int(x), 0), values.shape[0] - 2)
    j = min(max(int(y), 0), values.shape[1] - 2)
    k = min(max(int(z), 0), values.shape[2] - 2)
    u, v, w = x - i, y - j, z - k
    low = (values[i, j, k] * (1.0 - u) + values[i + 1, j, k] * u) * (1.0 - v) + (
        values[i, j + 1, k] * (1.0 - u) + values[i + 1, j + 1, k] * u
    ) * v
    high = (values[i, j, k + 1] * (1.0 - u) + values[i + 1, j, k + 1] * u) * (1.0 - v) + (
        values[i, j + 1, k + 1] * (1.0 - u) + values[i + 1, j + 1, k + 1] * u
    ) * v
    return float(low * (1.0 - w) + high * w)


@compiled_parallel
def inside(values: Any, index: Any, result: Any) -> None:
    """True where the field at index coordinates (n, 3) is at least zero; False beyond the array's corners."""
    for n in prange(index.shape[0]):
        x, y, z = index[n, 0], index[n, 1], index[n, 2]
        within = (
            x >= 0.0 and y >= 0.0 and z >= 0.0
            and x <= values.shape[0] - 1 and y <= values.shape[1] - 1 and z <= values.shape[2] - 1
        )  # fmt: skip
        result[n] = within and trilinear(values, x, y, z) >= 0.0


@compiled
def _clamped(values: Any, x: float, y: float, z: float) -> float:
    x = min(max(x, 0.0), values.shape[0] - 1.0)
    y = min(max(y, 0.0), values.shape[1] - 1.0)
    z = min(max(z, 0.0), values.shape[2] - 1.0)
    return trilinear(values, x, y, z)


@compiled
def _crossing_along(
    values: Any, x: float, y: float, z: float, start: float, dx: float, dy: float, dz: float, first: float,
    reach: float,
) -> float:  # fmt: skip
    """How far from a point where the field is ``start`` along a way (dx, dy, dz) it is zero; ``reach`` if nowhere.

    Looks in growing steps from ``first`` on.
    """
    low, low_value = 0.0, start
    high = min(reach, first)
    high_value = _clamped(values, x + high * dx, y + high * dy, z + high * dz)
    while high_value * start > 0.0 and high < reach:
        low, low_value = high, high_value
        high = min(reach, 1.5 * high)
        high_value = _clamped(values, x + high * dx, y + high * dy, z + high * dz)
    if high_value * start > 0.0:
        return reach
    # Regula falsi with the Illinois change: the kept end's value is halved, so that both ends close in.
    for _ in range(60):
        if high - low <= 1e-9 * reach:
            break
        middle = (low * high_value - high * low_value) / (high_value - low_value)
        value = _clamped(values, x + middle * dx, y + middle * dy, z + middle * dz)
        if value == 0.0:
            return middle
        if value * start > 0.0:
            low, low_value = middle, value
            high_value *= 0.5
        else:
            high, high_value = middle, value
            low_value *= 0.5
    return high


@compiled_parallel
def pushed(values: Any, index: Any, reach: Any, to_index: Any, moved: Any, distance: Any) -> None:
    """Move points (n, 3) onto the surface, at most ``reach`` (n,) mm.

    Along the field's gradient; where that leads astray (at bends and saddles), along the nearest of the 26 ways to
    a cell's neighbours. ``to_index`` (3, 3) turns millimetres into index steps. Where no surface is found so, the
    point stays and its ``distance`` is ``reach``.
    """
    for n in prange(index.shape[0]):
        x, y, z = index[n, 0], index[n, 1], index[n, 2]
        moved[n, 0], moved[n, 1], moved[n, 2] = x, y, z
        start = _clamped(values, x, y, z)
        if start == 0.0:
            distance[n] = 0.0
            continue
        best = reach[n]
        # The gradient along the index axes by differences within a hundredth of a cell.
        gx = _clamped(values, x + 0.005, y, z) - _clamped(values, x - 0.005, y, z)
        gy = _clamped(values, x, y + 0.005, z) - _clamped(values, x, y - 0.005, z)
        gz = _clamped(values, x, y, z + 0.005) - _clamped(values, x, y, z - 0.005)
        # In millimetres the gradient is the transposed Jacobian times that along the index axes.
        px = to_index[0, 0] * gx + to_index[1, 0] * gy + to_index[2, 0] * gz
        py = to_index[0, 1] * gx + to_index[1, 1] * gy + to_index[2, 1] * gz
        pz = to_index[0, 2] * gx + to_index[1, 2] * gy + to_index[2, 2] * gz
        size = np.sqrt(px * px + py * py + pz * pz)
        if size > 0.0:
            way = -1.0 if start > 0.0 else 1.0
            px, py, pz = way * px / size, way * py / size, way * pz / size
            dx = to_index[0, 0] * px + to_index[0, 1] * py + to_index[0, 2] * pz
            dy = to_index[1, 0] * px + to_index[1, 1] * py + to_index[1, 2] * pz
            dz = to_index[2, 0] * px + to_index[2, 1] * py + to_index[2, 2] * pz
            # A field that goes on as it starts is zero there; differences over 0.01 of a cell make the 0.01.
            first = 0.01 * abs(start) / size * 1.0001 + 1e-12
            found = _crossing_along(values, x, y, z, start, dx, dy, dz, first, reach[n])
            if found < best:
                best = found
                moved[n, 0], moved[n, 1], moved[n, 2] = x + found * dx, y + found * dy, z + found * dz
        if best > 0.1 * reach[n]:
            for a in range(-1, 2):
                for b in range(-1, 2):
                    for c in range(-1, 2):
                        if a == 0 and b == 0 and c == 0:
                            continue
                        px, py, pz = float(a), float(b), float(c)
                        size = np.sqrt(px * px + py * py + pz * pz)
                        px, py, pz = px / size, py / size, pz / size
                        dx = to_index[0, 0] * px + to_index[0, 1] * py + to_index[0, 2] * pz
                        dy = to_index[1, 0] * px + to_index[1, 1] * py + to_index[1, 2] * pz
                        dz = to_index[2, 0] * px + to_index[2, 1] * py + to_index[2, 2] * pz
                        found = _crossing_along(values, x, y, z, start, dx, dy, dz, 0.1 * best, best)
                        if found < best:
                            best = found
                            moved[n, 0], moved[n, 1], moved[n, 2] = x + found * dx, y + found * dy, z + found * dz
        distance[n] = best
