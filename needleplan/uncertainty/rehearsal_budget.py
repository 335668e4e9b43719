"""The error budget that rehearsals of one strategy come to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError
from needleplan.outcome import NeedleOutcome
from needleplan.uncertainty.error_budget import ErrorBudget, ErrorSource


@dataclass(frozen=True, slots=True)
class RehearsedBudget:
    """An error budget with what it cannot hold.

    Attributes:
        budget: spreads of shift, depth and tilt; registration, breathing and bending are in them and zero by
            themselves.
        depth_bias_mm: mean depth error, positive too deep, about which the budget's depth error is spread. A bias
            is no spread: it can be taken off the planned depth.
        lateral_std_mm: spread of each component of the tip's lateral error.
        needles: number of insertions that it is from.
    """

    budget: ErrorBudget
    depth_bias_mm: float
    lateral_std_mm: float
    needles: int


def rehearsed_budget(needles: Sequence[NeedleOutcome]) -> RehearsedBudget:
    """Spreads from the tip errors of rehearsed insertions.

    - Lateral errors have two components, of which only the length is used: each has the variance
      v = mean(lateral²) / 2, its mean included, because a lateral error has no sign.
    - The tilt has two components with the variance t = mean(angle²) / 2. A budget's tilt turns the needle about its
      entry, so at a depth d it moves the tip by d times the angle: the shift of the whole needle is what that
      leaves of v, s² = v - mean(d²) t. Where entry and tip err against each other the tilt alone would exceed v;
      then t = v / mean(d²) and s = 0. Either way the tip's lateral spread at depth sqrt(mean(d²)) is that of the
      rehearsals, exactly.
    - The depth error's spread is the standard deviation about its mean, over n - 1; the mean is stated apart.

    Every source has a normal law. What breathing, registration and bending did is in these figures already, so the
    budget has none of them besides: errors of different needles count as independent. Lateral errors of free
    breathing have a direction, that of the motion, and needles of one breath share it; the budget makes them
    isotropic and independent.

    Args:
        needles: insertions that were carried out under one strategy, at least two.

    Raises:
        OptionError: there are fewer than two.
    """
    if len(needles) < 2:
        raise OptionError(
            f"an error budget needs at least two insertions that were carried out, not {len(needles)}"
        )
    lateral = np.array([needle.lateral_error_mm for needle in needles])
    depth_error = np.array([needle.depth_error_mm for needle in needles])
    angle = np.radians([needle.angle_error_deg for needle in needles])
    square_depth = float(np.mean([needle.planned.depth_mm**2 for needle in needles]))
    variance = 0.5 * float((lateral**2).mean())
    tilt = min(0.5 * float((angle**2).mean()), variance / square_depth)
    shift = max(0.0, variance - square_depth * tilt)
    budget = ErrorBudget(
        lateral_mm=ErrorSource(math.sqrt(shift)),
        depth_mm=ErrorSource(float(depth_error.std(ddof=1))),
        angle_deg=ErrorSource(math.degrees(math.sqrt(tilt))),
    )
    return RehearsedBudget(budget, float(depth_error.mean()), math.sqrt(variance), len(needles))
