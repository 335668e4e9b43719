"""Tissue that a needle pushes along before it gives way, around the tip.

The displacement at the tip comes from the force model (``TissueState.displacement_m``). Around it the tissue
moves the same way, less with distance: u0 exp(1 - sqrt(1 + (r / l)²)), smooth at the tip and exponential far
from it, as for an elastic body that is held all round. The form and the length l are assumptions.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, unit_vector

#: Length over which the push fades; an assumption of the order of the depth of tissue around a needle's tip.
FADING_M = 0.025
#: Greatest slope of the field for u0 = l = 1, sqrt(q² - 1) / q exp(1 - q) at q = sqrt(1 + r²) with q³ = q + 1.
_STEEPEST_AT = 1.3247179572447460
STEEPEST = math.sqrt(_STEEPEST_AT**2 - 1.0) / _STEEPEST_AT * math.exp(1.0 - _STEEPEST_AT)


def pushed_by(
    points_m: ArrayLike, tip_m: ArrayLike, direction: ArrayLike, displacement_m: float, fading_m: float = FADING_M
) -> FloatArray:
    """Displacement (..., 3) of tissue points (..., 3) while a needle pushes the tissue at its tip.

    Args:
        points_m: places in undeformed tissue.
        tip_m: (3,) the place in undeformed tissue at which the tip presses.
        direction: (3,) of the needle.
        displacement_m: of the tissue at the tip along the needle; negative where a needle drags it out.
        fading_m: length over which the push fades.

    Raises:
        OptionError: the length is not above 0.
        GeometryError: the push is so great over so short a length that tissue would fold.
    """
    if not 0.0 < fading_m < math.inf:
        raise OptionError(f"the length over which a push fades must be above 0 m, not {fading_m:g}")
    if not abs(displacement_m) * STEEPEST < fading_m:
        raise GeometryError(
            f"tissue pushed by {displacement_m * 1e3:g} mm folds where the push fades over {fading_m * 1e3:g} mm: "
            f"at most {fading_m / STEEPEST * 1e3:.0f} mm are possible"
        )
    away = np.linalg.norm(np.asarray(points_m, dtype=np.float64) - np.asarray(tip_m, dtype=np.float64), axis=-1)
    share = np.exp(1.0 - np.sqrt(1.0 + (away / fading_m) ** 2))
    return np.asarray(displacement_m * share[..., None] * unit_vector(direction))
