"""The error budget of a plan from the errors that are expected of each of its insertions."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.uncertainty.error_budget import ErrorBudget, ErrorSource
from needleplan.uncertainty.placement_error import ErrorOrigin, ExpectedError

#: Parts of a needle at whose ends the budget is held against the exact covariance.
_PARTS = 64


def placement_budget(errors: Sequence[ExpectedError], beyond: ErrorBudget) -> ErrorBudget:
    """One budget for all needles of a plan, from what is expected of each and from what no robot decides.

    Lateral shift, depth error and tilt are those of joints, guide, driver and tool, which each needle has of its
    own; the registration, which moves all needles together, becomes the budget's registration and counts nowhere
    else. Breathing and deflection are taken from ``beyond``, whose other sources are not used.

    A budget has one isotropic spread of each kind for all needles, so it is conservative: for every needle, from
    entry to tip (held at the ends of 64 equal parts), its covariance is at least the exact one in every direction
    (the difference is positive semi-definite). For each needle the tilt is the greatest principal one, the shift
    what the greatest lateral variance at any depth leaves, and shift, depth and tilt are enlarged together until
    they also hold the correlations between them; then the greatest of each over the needles is taken. The
    registration's is the greatest principal variance at any entry or tip, of a common shift: at each point by
    itself it is conservative, but that a turn moves far needles apart from each other is not in it.

    Args:
        errors: one for each insertion.
        beyond: where breathing and deflection are from, such as ``preset_budget("robot")``.

    Raises:
        OptionError: no error is given.
    """
    if not errors:
        raise OptionError("an error budget needs the expected errors of at least one insertion")
    own = np.max([_own_variances(error) for error in errors], axis=0)
    common = max(
        float(np.linalg.eigvalsh(error.covariance_at(depth, _common()))[-1])
        for error in errors
        for depth in (0.0, error.depth_mm)
    )
    lateral, depth, tilt = np.sqrt(own)
    return dataclasses.replace(
        beyond,
        lateral_mm=ErrorSource(float(lateral)),
        depth_mm=ErrorSource(float(depth)),
        angle_deg=ErrorSource(float(np.degrees(tilt))),
        registration_mm=ErrorSource(float(np.sqrt(max(0.0, common)))),
    )


def _common() -> tuple[ErrorOrigin, ...]:
    return tuple(origin for origin in ErrorOrigin if origin.common)


def _own_variances(error: ExpectedError) -> FloatArray:
    """(3,) variances of shift (mm²), depth (mm²) and tilt (rad²) that hold one needle's own errors."""
    own = tuple(origin for origin in ErrorOrigin if not origin.common)
    direction = error.direction
    frame = np.stack([*perpendicular_axes(direction), direction])
    depths = np.linspace(0.0, error.depth_mm, _PARTS + 1)
    exact = np.array([frame @ error.covariance_at(depth, own) @ frame.T for depth in depths])
    axis = sum((share.covariance[3:, 3:] for share in error.shares if share.origin in own), np.zeros((3, 3)))
    tilt = max(0.0, float(np.linalg.eigvalsh(frame[:2] @ axis @ frame[:2].T)[-1]))
    across = np.linalg.eigvalsh(exact[:, :2, :2])[:, -1]
    shift = max(0.0, float((across - depths**2 * tilt).max()))
    along = float(exact[:, 2, 2].max())
    # Correlations of lateral and depth errors can leave the budget's ellipsoid too small: the least common factor.
    lateral = shift + depths**2 * tilt
    size = np.sqrt(np.stack([lateral, lateral, np.full_like(depths, along)], axis=1))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    factor = float(np.linalg.eigvalsh(inverse[:, :, None] * exact * inverse[:, None, :])[:, -1].max())
    return np.array([shift, along, tilt]) * max(1.0, factor)
