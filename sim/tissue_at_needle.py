"""Which tissue lies at a needle: places in the room as places in the body at rest, the needle's push taken off."""

import numpy as np

from needleplan.frames import FloatArray
from needleplan.motion.body_motion import BodyState
from sim.tissue_push import FADING_M, STEEPEST, pushed_by

#: A place in the body at rest is iterated to this; the tissue's stretch makes each step much smaller.
AT_REST_MM, AT_REST_STEPS = 1e-3, 8


def tissue_at(body: BodyState, point_mm: FloatArray, guess_mm: FloatArray) -> FloatArray:
    """The point at rest (3,) that now lies at a point (3,), found from one near by.

    The tissue's displacement hardly differs between the two, so a few steps do; where it jumps, at the chest wall,
    the body's own inverse does it.
    """
    found = guess_mm
    for _ in range(AT_REST_STEPS):
        there = body.carry(found[None])[0]
        better = point_mm - (there - found)
        if float(np.abs(better - found).max()) < AT_REST_MM:
            return better
        found = better
    return body.back(point_mm[None])[0]


def tissue_along(
    body: BodyState, points_mm: FloatArray, tip_mm: FloatArray, axis: FloatArray, push_mm: float
) -> FloatArray:
    """Points at rest (n, 3) that lie along a shaft (n, 3) now, while its tip pushes the tissue along the axis."""
    rest = body.back(points_mm)
    if push_mm != 0.0:
        rest -= 1e3 * pushed_by(1e-3 * points_mm, 1e-3 * tip_mm, axis, 1e-3 * unfolded(push_mm))
    return np.asarray(rest)


def unfolded(push_mm: float) -> float:
    """The push, or the greatest that does not fold tissue where it is even greater: that is beyond any limit."""
    most = 0.99e3 * FADING_M / STEEPEST
    return min(max(push_mm, -most), most)
