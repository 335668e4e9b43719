"""Pivot calibration: where the tip of a tracked tool lies, from poses about a point in which it rests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, Frame, RigidTransform, read_only
from needleplan.registration.consensus import ConsensusOptions, Indices, agreeing
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.turns import require_turns, root_mean_square, stacked

#: Poses of a subset for the robust start: three determine tip and pivot, four more steadily.
_SUBSET = 4
#: Fewer poses than this do not show whether one of them is wrong.
LEAST_POSES = 6


@dataclass(frozen=True, slots=True, eq=False)
class PivotCalibration:
    """Tip of a tool and the point in which it rested.

    Attributes:
        tip: pose of the needle's frame in the tool's: its origin is the tip; its axes are the tool's own, because a
            pivot says nothing of directions.
        covariance: of the tip, in the tool's frame; the turn is taken as exact.
        pivot_mm: (3,) resting point in the tracker's frame.
        pivot_covariance_mm2: (3, 3) of that point.
        residuals_mm: (n, 3) tip less resting point for every pose.
        taken_out: indices of the poses that were taken out as outliers.
        rms_mm: root mean square length of the residuals of the kept poses.
        turns_deg: (3,) root mean square turns of the kept poses about the principal axes of all turns.
        condition: greatest over least singular value of the equations, columns in millimetres.
    """

    tip: RigidTransform
    covariance: PoseCovariance
    pivot_mm: FloatArray
    pivot_covariance_mm2: FloatArray
    residuals_mm: FloatArray
    taken_out: tuple[int, ...]
    rms_mm: float
    turns_deg: FloatArray
    condition: float

    def __post_init__(self) -> None:
        for name in ("pivot_mm", "pivot_covariance_mm2", "residuals_mm", "turns_deg"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def calibrate_pivot(
    poses: Sequence[RigidTransform], options: ConsensusOptions | None = None, greatest_rms_mm: float = 2.0
) -> PivotCalibration:
    """Tip of a tool from tracked poses while it was turned about its resting tip.

    All poses carry the tip to the same point: R tip + t = pivot, linear in tip and pivot, by least squares (the
    "algebraic one step" of Yaniv, Proc SPIE 2015;9415, which was as exact as any other there). Poses that disagree
    are taken out by least median of squares. The covariance is s² (AᵀA)⁻¹ with s² the mean squared component
    of the residuals over 3n - 6 degrees of freedom, which takes the errors of the poses as independent.

    Args:
        poses: n poses of the tool in the tracker's frame, mm.
        options: how outliers are found.
        greatest_rms_mm: residuals of the kept poses beyond this are refused. The default of 2 mm lies well above
            those of optical and electromagnetic trackers.

    Raises:
        GeometryError: there are too few poses, they turn too little or about one axis only, or they disagree.
        FrameError: the poses are not in millimetres or not all between the same frames.
    """
    chosen = options or ConsensusOptions()
    matrices = stacked(poses, "poses of the tool")
    count = len(matrices)
    if count < LEAST_POSES:
        raise GeometryError(f"a pivot calibration needs at least {LEAST_POSES} poses, not {count}")
    rotations, translations = matrices[:, :3, :3], matrices[:, :3, 3]
    require_turns(rotations, "poses of the tool")

    def fit(indices: Indices) -> FloatArray:
        return _solved(rotations[indices], translations[indices])[0]

    def residuals(found: FloatArray) -> FloatArray:
        return np.asarray(rotations @ found[:3] + translations - found[3:])

    def squares(found: FloatArray) -> FloatArray:
        return np.asarray((residuals(found) ** 2).sum(axis=1))

    kept = agreeing(count, _SUBSET, fit, squares, 3, chosen, "poses")
    turns = require_turns(rotations[kept], "poses that agree")
    found, normal, condition = _solved(rotations[kept], translations[kept])
    left = residuals(found)
    variance = float((left[kept] ** 2).sum()) / (3 * int(kept.sum()) - 6)
    covariance = np.asarray(variance * np.linalg.inv(normal), dtype=np.float64)
    rms = root_mean_square((left[kept] ** 2).sum(axis=1))
    if rms > greatest_rms_mm:
        raise GeometryError(
            f"the tip rests to {rms:.3g} mm (root mean square) only, where {greatest_rms_mm:g} mm are allowed: it "
            "slipped, the tool bends, or the poses are not in millimetres"
        )
    tool = poses[0].child
    return PivotCalibration(
        RigidTransform.from_parts(tool, Frame.NEEDLE, np.eye(3), found[:3]),
        PoseCovariance.of_parts(tool, found[:3], covariance[:3, :3]),
        found[3:],
        covariance[3:, 3:],
        left,
        tuple(np.flatnonzero(~kept).tolist()),
        rms,
        turns,
        condition,
    )


def _solved(rotations: FloatArray, translations: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """(6,) tip and pivot, (6, 6) normal matrix, and the equations' condition."""
    count = len(rotations)
    equations = np.concatenate([rotations, np.broadcast_to(-np.eye(3), (count, 3, 3))], axis=2).reshape(-1, 6)
    found, _, _, values = np.linalg.lstsq(equations, -translations.reshape(-1), rcond=None)
    if values[-1] < 1e-6 * values[0]:
        raise GeometryError("the poses of the tool do not turn: a tip needs turns about two axes")
    return found, equations.T @ equations, float(values[0] / values[-1])
