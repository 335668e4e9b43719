"""Parts of triangle surfaces where a function that is linear on each triangle is not positive."""

import numpy as np

from needleplan.frames import FloatArray


def clipped_triangles(triangles_mm: FloatArray, values: FloatArray) -> FloatArray:
    """What is left of triangles where a value given at their corners is at most zero.

    Args:
        triangles_mm: (m, 3, 3) corners.
        values: (m, 3) values at them, linear between.

    Returns:
        (k, 3, 3) triangles; a quadrangle comes as two.
    """
    kept = values <= 0.0
    count = kept.sum(axis=1)
    parts = [triangles_mm[count == 3]]
    for corners in (1, 2):
        rows = np.flatnonzero(count == corners)
        if not len(rows):
            continue
        # The odd corner first: the one that is kept, or the one that is not.
        odd = kept[rows] if corners == 1 else ~kept[rows]
        order = (odd.argmax(axis=1)[:, None] + np.arange(3)) % 3
        corner = np.take_along_axis(triangles_mm[rows], order[:, :, None], axis=1)
        value = np.take_along_axis(values[rows], order, axis=1)
        share = value[:, :1] / (value[:, :1] - value[:, 1:])
        cut = corner[:, :1] + share[:, :, None] * (corner[:, 1:] - corner[:, :1])
        if corners == 1:
            parts.append(np.stack([corner[:, 0], cut[:, 0], cut[:, 1]], axis=1))
        else:
            parts.append(np.stack([cut[:, 0], corner[:, 1], corner[:, 2]], axis=1))
            parts.append(np.stack([cut[:, 0], corner[:, 2], cut[:, 1]], axis=1))
    return np.concatenate(parts)


def share_below(areas_mm2: FloatArray, values: FloatArray, limit: float) -> float:
    """Share of an area on which a value is below a limit.

    Exact for a value that is linear on each triangle: with sorted corner values a <= b <= c, the part below t is
    (t - a)² / ((b - a)(c - a)) for t up to b, and 1 - (c - t)² / ((c - a)(c - b)) from there.

    Args:
        areas_mm2: (m,) area of each triangle, or the weight that it counts with.
        values: (m, 3) values at its corners.
        limit: the limit; a triangle that lies on it as a whole is not below.
    """
    total = float(areas_mm2.sum())
    if not total > 0:
        return 0.0
    low, middle, high = np.sort(values, axis=1).T
    below = (high < limit).astype(np.float64)
    rising = (low < limit) & (limit <= middle)
    falling = (middle < limit) & (limit <= high)
    lower = np.maximum((middle - low) * (high - low), 1e-300)
    upper = np.maximum((high - low) * (high - middle), 1e-300)
    below[rising] = ((limit - low) ** 2 / lower)[rising]
    below[falling] = (1.0 - (high - limit) ** 2 / upper)[falling]
    return float(np.clip(areas_mm2 @ below / total, 0.0, 1.0))
