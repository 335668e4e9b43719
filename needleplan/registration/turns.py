"""How far a set of orientations turns, and about how many axes."""

import math
from collections.abc import Sequence

import numpy as np

from needleplan.errors import FrameError, GeometryError
from needleplan.frames import FloatArray, LengthUnit, RigidTransform
from needleplan.registration.rotations import mean_rotation, rotation_vectors

#: Least root mean square turn about the second of the principal axes of all turns. Errors of a calibration grow as
#: one over it; below, a measured point's error comes ten times enlarged.
LEAST_TURN_DEG = 5.0


def stacked(poses: Sequence[RigidTransform], what: str) -> FloatArray:
    """(n, 4, 4) matrices of poses in millimetres between the same two frames; raises FrameError otherwise."""
    if len({(pose.parent, pose.child) for pose in poses}) > 1:
        raise FrameError(f"all {what} must be between the same two frames")
    if any(pose.unit is not LengthUnit.MILLIMETRE for pose in poses):
        raise FrameError(f"{what} must be in millimetres")
    return np.array([pose.matrix for pose in poses]).reshape(-1, 4, 4)


def turns_deg(rotations: FloatArray) -> FloatArray:
    """(3,) root mean square turns of rotations (n, 3, 3) from their mean about principal axes, greatest first."""
    turned = rotation_vectors(mean_rotation(rotations).T @ rotations)
    moments = np.linalg.eigvalsh(turned.T @ turned / len(turned))[::-1]
    return np.degrees(np.sqrt(np.maximum(moments, 0.0)))


def require_turns(rotations: FloatArray, what: str) -> FloatArray:
    """``turns_deg`` of rotations; raises GeometryError where they turn too little or about one axis only."""
    turns = turns_deg(rotations)
    if turns[0] < LEAST_TURN_DEG:
        raise GeometryError(
            f"the {what} turn by only {turns[0]:.2g} degrees (root mean square) about their mean: turn by at least "
            f"{LEAST_TURN_DEG:g}, better {10 * LEAST_TURN_DEG:g}, about two axes"
        )
    if turns[1] < LEAST_TURN_DEG:
        raise GeometryError(
            f"the {what} turn about parallel axes ({turns[0]:.2g} degrees about one and {turns[1]:.2g} about any "
            f"other): turn by at least {LEAST_TURN_DEG:g} about a second one"
        )
    return turns


def root_mean_square(squares: FloatArray) -> float:
    """Square root of the mean."""
    return math.sqrt(float(squares.mean()))
