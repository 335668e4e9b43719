"""Compiled kernels of the breathing body: axial sliding within the chest wall, then a smooth map of all.

Coordinates are the patient's own: to the right, to anterior, to cranial, in mm from the axis of the chest.
Fields are trilinear between the nodes of a grid and constant beyond it. A parameter vector ``drive`` holds the
amplitudes: axial, lateral, anterior of the target's tissue, and depth of the breath that lifts the wall.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.frames import FloatArray

_TURN = 2.0 * np.pi


@compiled
def _place(value: float, low: float, step: float, count: int) -> tuple[int, float]:
    """Cell and share within it of a coordinate, held at the ends of the grid."""
    x = (value - low) / step
    if not x > 0.0:
        return 0, 0.0
    if x >= count - 1:
        return count - 2, 1.0
    cell = int(x)
    return cell, x - cell


@compiled
def _turn_of(x: float, y: float, turns: int) -> tuple[int, float]:
    """Place of a direction in a table of angles that goes once round and ends where it began."""
    angle = np.arctan2(y, x)
    if angle < 0.0:
        angle += _TURN
    return _place(angle, 0.0, _TURN / turns, turns + 1)


@compiled
def _radius(i: int, a: float, height: float, low: FloatArray, step: float, wall: FloatArray) -> float:
    """Radius of the chest wall, bilinear in a table (turns + 1, heights)."""
    k, c = _place(height, low, step, wall.shape[1])
    lower = wall[i, k] * (1.0 - a) + wall[i + 1, k] * a
    upper = wall[i, k + 1] * (1.0 - a) + wall[i + 1, k + 1] * a
    return lower * (1.0 - c) + upper * c


@compiled
def _straight(r: float, radius: float, widest: float) -> float:
    """Radius in the straightened chest, where the wall stands at ``widest``: r + (widest - R) (r / R)^2."""
    share = r / radius
    return r + (widest - radius) * share * share


@compiled
def _unstraight(s: float, radius: float, widest: float) -> float:
    """Inverse of ``_straight``: the root of a quadratic, in the form that loses no digits."""
    c = (widest - radius) / (radius * radius)
    return 2.0 * s / (1.0 + np.sqrt(1.0 + 4.0 * c * s))


@compiled
def _axial(x: float, y: float, z: float, low: FloatArray, step: float, axial: NDArray[np.float32]) -> float:
    """Trilinear value of the axial field at a straightened point."""
    nx, ny, nz = axial.shape
    i, a = _place(x, low[0], step, nx)
    j, b = _place(y, low[1], step, ny)
    k, c = _place(z, low[2], step, nz)
    value = 0.0
    for di in range(2):
        u = a if di else 1.0 - a
        for dj in range(2):
            v = u * (b if dj else 1.0 - b)
            value += v * (axial[i + di, j + dj, k] * (1.0 - c) + axial[i + di, j + dj, k + 1] * c)
    return value


@compiled
def _slide(
    x: float,
    y: float,
    z: float,
    drive: FloatArray,
    low: FloatArray,
    step: float,
    axial: NDArray[np.float32],
    wall_low: float,
    wall_step: float,
    wall: FloatArray,
    widest: FloatArray,
) -> tuple[float, float, float]:
    """A point carried along the chest wall."""
    i, a = _turn_of(x, y, len(widest) - 1)
    r = np.sqrt(x * x + y * y)
    wide = widest[i] * (1.0 - a) + widest[i + 1] * a
    s = _straight(r, _radius(i, a, z, wall_low, wall_step, wall), wide)
    scale = s / r if r > 0.0 else 1.0
    shift = drive[0] * _axial(x * scale, y * scale, z, low, step, axial)
    if shift == 0.0:
        return x, y, z
    moved = z + shift
    back = _unstraight(s, _radius(i, a, moved, wall_low, wall_step, wall), wide) / r if r > 0.0 else 1.0
    return x * back, y * back, moved


@compiled
def _unslide(
    x: float,
    y: float,
    z: float,
    drive: FloatArray,
    low: FloatArray,
    step: float,
    axial: NDArray[np.float32],
    wall_low: float,
    wall_step: float,
    wall: FloatArray,
    widest: FloatArray,
    tolerance: float,
    most: int,
) -> tuple[float, float, float]:
    """Inverse of ``_slide`` by fixed-point iteration along the straightened axis."""
    i, a = _turn_of(x, y, len(widest) - 1)
    r = np.sqrt(x * x + y * y)
    wide = widest[i] * (1.0 - a) + widest[i + 1] * a
    s = _straight(r, _radius(i, a, z, wall_low, wall_step, wall), wide)
    scale = s / r if r > 0.0 else 1.0
    rest = z
    for _ in range(most):
        following = z - drive[0] * _axial(x * scale, y * scale, rest, low, step, axial)
        change = abs(following - rest)
        rest = following
        if change <= tolerance:
            break
    if rest == z:
        return x, y, z
    back = _unstraight(s, _radius(i, a, rest, wall_low, wall_step, wall), wide) / r if r > 0.0 else 1.0
    return x * back, y * back, rest


@compiled
def _lift(
    x: float, y: float, z: float, drive: FloatArray, low: FloatArray, step: float, smooth: NDArray[np.float32]
) -> tuple[float, float, float]:
    """Displacement by the smooth map: channels are the weight of the target's tissue and the wall's three."""
    nx, ny, nz, _ = smooth.shape
    i, a = _place(x, low[0], step, nx)
    j, b = _place(y, low[1], step, ny)
    k, c = _place(z, low[2], step, nz)
    share = lateral = anterior = cranial = 0.0
    for di in range(2):
        u = a if di else 1.0 - a
        for dj in range(2):
            v = u * (b if dj else 1.0 - b)
            for dk in range(2):
                w = v * (c if dk else 1.0 - c)
                share += w * smooth[i + di, j + dj, k + dk, 0]
                lateral += w * smooth[i + di, j + dj, k + dk, 1]
                anterior += w * smooth[i + di, j + dj, k + dk, 2]
                cranial += w * smooth[i + di, j + dj, k + dk, 3]
    return drive[1] * share + drive[3] * lateral, drive[2] * share + drive[3] * anterior, drive[3] * cranial


@compiled_parallel
def carried(
    points: FloatArray,
    inside: NDArray[np.bool_],
    drive: FloatArray,
    low: FloatArray,
    step: float,
    axial: NDArray[np.float32],
    smooth_low: FloatArray,
    smooth: NDArray[np.float32],
    wall_low: float,
    wall_step: float,
    wall: FloatArray,
    widest: FloatArray,
) -> FloatArray:
    """(n, 3) places of rest points (n, 3); ``inside`` (n,) says which slide within the chest wall."""
    out = np.empty_like(points)
    for n in prange(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if inside[n]:
            x, y, z = _slide(x, y, z, drive, low, step, axial, wall_low, wall_step, wall, widest)
        u, v, w = _lift(x, y, z, drive, smooth_low, step, smooth)
        out[n, 0], out[n, 1], out[n, 2] = x + u, y + v, z + w
    return out


@compiled_parallel
def within_wall(points: FloatArray, wall_low: float, wall_step: float, wall: FloatArray) -> NDArray[np.bool_]:
    """(n,) True for points (n, 3) within the chest wall at rest."""
    out = np.empty(len(points), dtype=np.bool_)
    for n in prange(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i, a = _turn_of(x, y, len(wall) - 1)
        out[n] = np.sqrt(x * x + y * y) < _radius(i, a, z, wall_low, wall_step, wall)
    return out


@compiled_parallel
def unlifted(
    points: FloatArray,
    drive: FloatArray,
    tolerance: float,
    most: int,
    smooth_low: FloatArray,
    step: float,
    smooth: NDArray[np.float32],
) -> FloatArray:
    """(n, 3) preimages of points (n, 3) under the smooth map by fixed-point iteration."""
    out = np.empty_like(points)
    for n in prange(len(points)):
        px, py, pz = points[n, 0], points[n, 1], points[n, 2]
        x, y, z = px, py, pz
        for _ in range(most):
            u, v, w = _lift(x, y, z, drive, smooth_low, step, smooth)
            change = max(abs(px - u - x), abs(py - v - y), abs(pz - w - z))
            x, y, z = px - u, py - v, pz - w
            if change <= tolerance:
                break
        out[n, 0], out[n, 1], out[n, 2] = x, y, z
    return out


@compiled_parallel
def unslid(
    points: FloatArray,
    inside: NDArray[np.bool_],
    drive: FloatArray,
    tolerance: float,
    most: int,
    low: FloatArray,
    step: float,
    axial: NDArray[np.float32],
    wall_low: float,
    wall_step: float,
    wall: FloatArray,
    widest: FloatArray,
) -> FloatArray:
    """(n, 3) preimages of points (n, 3) under the slide; the others stay."""
    out = points.copy()
    for n in prange(len(points)):
        if inside[n]:
            out[n, 0], out[n, 1], out[n, 2] = _unslide(
                points[n, 0], points[n, 1], points[n, 2], drive, low, step, axial, wall_low, wall_step, wall,
                widest, tolerance, most,
            )  # fmt: skip
    return out


@compiled
def solid_centroid(vertices: FloatArray, faces: NDArray[np.integer[Any]], origin: FloatArray) -> FloatArray:
    """(3,) centroid of the solid that a closed surface bounds, by tetrahedra from ``origin``."""
    total = 0.0
    moment = np.zeros(3)
    for n in range(len(faces)):
        a = vertices[faces[n, 0]] - origin
        b = vertices[faces[n, 1]] - origin
        c = vertices[faces[n, 2]] - origin
        volume = (
            a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        total += volume
        moment += volume * (a + b + c) * 0.25
    return origin + moment / total
