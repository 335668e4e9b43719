"""Hand-eye calibration: what is fixed to a moving hand, and where the eye that watches it stands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, RigidTransform, read_only
from needleplan.registration.consensus import ConsensusOptions, Indices, agreeing
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import mean_rotation, nearest_rotation, rotation_vectors, rotations_of
from needleplan.registration.turns import require_turns, root_mean_square, stacked

#: Fewer poses than this do not show whether one of them is wrong.
LEAST_POSES = 6
#: Poses of a subset for the robust start: three determine the calibration, five more steadily.
_SUBSET = 5
#: Turns between two poses beyond this have no steady rotation vector.
_LARGEST_TURN = math.radians(170.0)
#: Residuals below these are rounding.
_ROUNDING_MM, _ROUNDING_RAD = 1e-6, 1e-8


@dataclass(frozen=True, slots=True)
class HandEyeOptions:
    """How a hand-eye calibration is made and when it is refused.

    Attributes:
        consensus: how outliers are found.
        greatest_rms_mm: greatest root mean square length of the kept residuals in place.
        greatest_rms_deg: the same in orientation.
    """

    consensus: ConsensusOptions = field(default_factory=ConsensusOptions)
    greatest_rms_mm: float = 3.0
    greatest_rms_deg: float = 1.0

    def __post_init__(self) -> None:
        if not (self.greatest_rms_mm > 0 and self.greatest_rms_deg > 0):
            raise OptionError("the greatest residuals of a hand-eye calibration must be above 0")


@dataclass(frozen=True, slots=True, eq=False)
class HandEyeCalibration:
    """Both unknown poses of X_AB X_BD = X_AC X_CD, with the hand B in A and the body D as the eye C sees it.

    Attributes:
        on_hand: X_BD, the seen body on the hand.
        eye: X_AC, the eye in the frame of the hand's poses.
        on_hand_covariance: of X_BD in frame B, about D's origin.
        eye_covariance: of X_AC in frame A, about C's origin. Both rest on the same measurements: they are
            correlated and do not add as independent ones.
        residuals_mm: (n, 3) differences in place of both sides in A.
        residuals_rad: (n, 3) rotation vectors from one side to the other.
        taken_out: indices of the pairs that were taken out as outliers.
        rms_mm: root mean square length of the kept residuals in place.
        rms_deg: the same in orientation.
        turns_deg: (3,) root mean square turns of the kept poses about the principal axes of all turns.
        condition: greatest over least singular value of the whitened problem, its columns scaled to length 1: far
            above 1 where place and orientation of both unknowns can hardly be told apart.
    """

    on_hand: RigidTransform
    eye: RigidTransform
    on_hand_covariance: PoseCovariance
    eye_covariance: PoseCovariance
    residuals_mm: FloatArray
    residuals_rad: FloatArray
    taken_out: tuple[int, ...]
    rms_mm: float
    rms_deg: float
    turns_deg: FloatArray
    condition: float

    def __post_init__(self) -> None:
        for name in ("residuals_mm", "residuals_rad", "turns_deg"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


def calibrate_hand_eye(
    hand: Sequence[RigidTransform], seen: Sequence[RigidTransform], options: HandEyeOptions | None = None
) -> HandEyeCalibration:
    """Poses X_BD and X_AC from pairs of poses X_AB (of the hand) and X_CD (of what the eye sees) at the same times.

    With a tracker beside the robot and its marker on the guide: hand X_BE, seen X_TG, found X_EG and X_BT. With a
    camera on the flange that sees a board in the world: hand X_BE, seen the inverse poses of the board.

    The closed form of Park and Martin (IEEE Trans Robot Autom 1994;10:717) on all motions between two poses solves
    A X = X B; from there the sum of squares of both residuals is minimised over both poses, on the group, each
    weighted by its own spread, which is estimated from the residuals. The covariance is (JᵀJ)⁻¹ of the whitened
    problem and takes the errors of the pairs as independent. Pairs that disagree are taken out by least median of
    squares.

    Args:
        hand: n poses X_AB, mm.
        seen: n poses X_CD, mm, in the same order.
        options: outliers and limits.

    Raises:
        GeometryError: there are too few pairs, they turn too little or about parallel axes, or they disagree.
        FrameError: the poses are not in millimetres or not all between the same frames.
    """
    chosen = options or HandEyeOptions()
    pairs = _Pairs(stacked(hand, "poses of the hand"), stacked(seen, "seen poses"))
    count = len(pairs.hand)
    if count != len(pairs.seen) or count < LEAST_POSES:
        raise GeometryError(
            f"a hand-eye calibration needs at least {LEAST_POSES} poses of the hand with as many seen ones, not "
            f"{count} and {len(pairs.seen)}"
        )
    require_turns(pairs.hand[:, :3, :3], "poses of the hand")
    require_turns(pairs.seen[:, :3, :3], "seen poses")
    kept = np.ones(count, dtype=np.bool_)
    for part in (0, 1):
        kept &= agreeing(
            count,
            _SUBSET,
            pairs.closed_form,
            lambda both, part=part: (pairs.residuals(both)[part] ** 2).sum(axis=1),  # type: ignore[misc]
            3,
            chosen.consensus,
            "pairs of poses",
        )
    if kept.sum() < LEAST_POSES:
        raise GeometryError(f"only {int(kept.sum())} of {count} pairs of poses agree: measure again")
    turns = require_turns(pairs.hand[kept, :3, :3], "poses of the hand that agree")
    used = _Pairs(pairs.hand[kept], pairs.seen[kept])
    both, covariance, condition = used.refined(used.closed_form(np.arange(len(used.hand))))
    place, turn = pairs.residuals(both)
    rms_mm = root_mean_square((place[kept] ** 2).sum(axis=1))
    rms_deg = math.degrees(root_mean_square((turn[kept] ** 2).sum(axis=1)))
    if rms_mm > chosen.greatest_rms_mm or rms_deg > chosen.greatest_rms_deg:
        raise GeometryError(
            f"the poses of hand and eye agree to {rms_mm:.3g} mm and {rms_deg:.2g} degrees only, where "
            f"{chosen.greatest_rms_mm:g} mm and {chosen.greatest_rms_deg:g} degrees are allowed: check that the "
            "pairs are of the same times, between the stated frames and in millimetres"
        )
    base, flange = hand[0].parent, hand[0].child
    return HandEyeCalibration(
        RigidTransform(flange, seen[0].child, both[0]),
        RigidTransform(base, seen[0].parent, both[1]),
        PoseCovariance(flange, both[0][:3, 3], covariance[:6, :6]),
        PoseCovariance(base, both[1][:3, 3], covariance[6:, 6:]),
        place,
        turn,
        tuple(np.flatnonzero(~kept).tolist()),
        rms_mm,
        rms_deg,
        turns,
        condition,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """(n, 4, 4) poses of hand and of the seen body; the unknown poses X_BD and X_AC as (2, 4, 4)."""

    hand: FloatArray
    seen: FloatArray

    def closed_form(self, indices: Indices) -> FloatArray:
        hand, seen = self.hand[indices], self.seen[indices]
        first, second = np.triu_indices(len(indices), 1)
        a, b = (_inverse(poses[first]) @ poses[second] for poses in (hand, seen))
        turn_a, turn_b = rotation_vectors(a[:, :3, :3]), rotation_vectors(b[:, :3, :3])
        steady = np.linalg.norm(turn_a, axis=1) < _LARGEST_TURN
        cross = turn_a[steady].T @ turn_b[steady]
        values = np.linalg.svd(cross, compute_uv=False)
        if len(values) == 0 or values[1] < 1e-6 * max(values[0], 1e-12):
            raise GeometryError("the poses of the hand turn about parallel axes: turn it about a second one")
        rotation = nearest_rotation(cross)
        equations = (a[:, :3, :3] - np.eye(3)).reshape(-1, 3)
        right = (b[:, :3, 3] @ rotation.T - a[:, :3, 3]).reshape(-1)
        on_hand = np.eye(4)
        on_hand[:3, :3] = rotation
        on_hand[:3, 3] = np.linalg.lstsq(equations, right, rcond=None)[0]
        each = hand @ on_hand @ _inverse(seen)
        eye = np.eye(4)
        eye[:3, :3] = mean_rotation(each[:, :3, :3])
        # The mean place of the middle of what was seen, not of the eye: the eye's own is spread by its lever.
        middle = seen[:, :3, 3].mean(axis=0)
        eye[:3, 3] = (each[:, :3, :3] @ middle + each[:, :3, 3]).mean(axis=0) - eye[:3, :3] @ middle
        return np.stack([on_hand, eye])

    def residuals(self, both: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, 3) differences in place (mm) and (n, 3) rotation vectors (rad)."""
        left, right = self.hand @ both[0], both[1] @ self.seen
        turned = np.swapaxes(right[:, :3, :3], 1, 2) @ left[:, :3, :3]
        return left[:, :3, 3] - right[:, :3, 3], rotation_vectors(turned)

    def refined(self, start: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Both poses with the least squares, their (12, 12) covariance and the problem's condition."""
        from scipy.optimize import least_squares

        freedom = 3 * len(self.hand) - 6
        both = start
        for _ in range(3):
            place, turn = self.residuals(both)
            spread_mm = max(math.sqrt(float((place**2).sum()) / freedom), _ROUNDING_MM)
            spread_rad = max(math.sqrt(float((turn**2).sum()) / freedom), _ROUNDING_RAD)

            def whitened(
                step: FloatArray, both: FloatArray = both, mm: float = spread_mm, rad: float = spread_rad
            ) -> FloatArray:
                place, turn = self.residuals(_moved(both, step))
                return np.concatenate([(place / mm).ravel(), (turn / rad).ravel()])

            solved = least_squares(
                whitened, np.zeros(12), method="lm", x_scale=np.tile(np.repeat([1.0, 1e-2], 3), 2)
            )
            if solved.status <= 0:
                raise GeometryError(
                    "the poses of hand and eye determine no calibration to which the search settles"
                )
            both = _moved(both, solved.x)
        normal = solved.jac.T @ solved.jac
        scale = np.sqrt(np.diag(normal))
        values = np.linalg.svd(solved.jac / scale, compute_uv=False)
        covariance = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
        return both, covariance, float(values[0] / values[-1])


def _moved(both: FloatArray, step: FloatArray) -> FloatArray:
    """Both poses with their origins shifted and their axes turned by a step (12,)."""
    moved = both.copy()
    moved[:, :3, :3] = rotations_of(step.reshape(2, 2, 3)[:, 1]) @ both[:, :3, :3]
    moved[:, :3, 3] += step.reshape(2, 2, 3)[:, 0]
    return moved


def _inverse(poses: FloatArray) -> FloatArray:
    """(n, 4, 4) inverses of rigid poses."""
    inverse = np.tile(np.eye(4), (len(poses), 1, 1))
    inverse[:, :3, :3] = np.swapaxes(poses[:, :3, :3], 1, 2)
    inverse[:, :3, 3] = -np.einsum("nij,nj->ni", inverse[:, :3, :3], poses[:, :3, 3])
    return inverse
