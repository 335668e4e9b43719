"""The smallest ball about points."""

import numpy as np

from needleplan.frames import FloatArray

#: A point farther out than this, relative to the radius, lies outside.
_ROUNDING = 1e-9
#: Steps after which rounding alone can keep the search going.
_MOST_STEPS = 1000


def smallest_ball(points_mm: FloatArray) -> tuple[FloatArray, float]:
    """Centre (3,) and radius of the smallest ball that holds points (n, 3), n at least 1.

    The farthest point outside joins those that hold the ball, and the smallest ball of these few is found among all
    balls through up to four of them; it grows with every step and so ends (Gärtner, "Fast and robust smallest
    enclosing balls", ESA 1999).
    """
    points = np.unique(np.asarray(points_mm, dtype=np.float64), axis=0)
    first = points[int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))]
    support, centre, radius = first[None], first, 0.0
    for _ in range(_MOST_STEPS):
        away = np.linalg.norm(points - centre, axis=1)
        farthest = int(np.argmax(away))
        if away[farthest] <= radius + _ROUNDING * max(1.0, radius):
            break
        support, centre, radius = _ball_of_few(np.concatenate([support, points[farthest][None]]))
    return centre, float(np.linalg.norm(points - centre, axis=1).max())


def _ball_of_few(points: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Those of up to five points (k, 3) that hold their smallest ball, its centre and its radius."""
    from itertools import combinations

    best = None
    for count in range(2, min(4, len(points)) + 1):
        for rows in combinations(range(len(points)), count):
            chosen = points[list(rows)]
            # The centre lies in the flat of the points, as far from the first as from each other.
            edges = chosen[1:] - chosen[0]
            shift = np.linalg.lstsq(2.0 * edges @ edges.T, (edges**2).sum(axis=1), rcond=None)[0] @ edges
            centre, radius = chosen[0] + shift, float(np.linalg.norm(shift))
            if best is not None and radius >= best[2]:
                continue
            if np.linalg.norm(points - centre, axis=1).max() <= radius + _ROUNDING * max(1.0, radius):
                best = chosen, centre, radius
    if best is None:
        # Points so nearly in one flat that no ball passes through them: the ball about their middle holds them.
        centre = points.mean(axis=0)
        return points, centre, float(np.linalg.norm(points - centre, axis=1).max())
    return best
