"""How exactly a rigid pose is known: the covariance of a small motion about a stated point."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, Frame, RigidTransform, read_only
from needleplan.registration.rotations import rotations_of, skew

#: An eigenvalue below minus this share of the greatest one is no rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class PoseCovariance:
    """Covariance of a small rigid motion by which a pose errs.

    The true pose is the estimated one moved by a shift t and a turn w (a rotation vector) about a point c, all
    expressed in one frame: a point p errs by t + w × (p - c) to first order, a direction d by w × d. For an
    estimated pose X_AB whose covariance is expressed in frame A, the points are those that X_AB carries to A.

    Attributes:
        frame: frame in which t, w and c are expressed.
        centre_mm: (3,) the point c.
        matrix: (6, 6) covariance of t in mm over w in rad, symmetric and positive semi-definite.

    Raises:
        GeometryError: a shape is wrong, a number is not finite, or the matrix is no covariance.
    """

    frame: Frame
    centre_mm: FloatArray
    matrix: FloatArray

    def __post_init__(self) -> None:
        centre, matrix = np.asarray(self.centre_mm, np.float64), np.asarray(self.matrix, np.float64)
        if centre.shape != (3,) or matrix.shape != (6, 6) or not np.isfinite(centre).all():
            raise GeometryError("a pose's covariance needs a point of three finite numbers and a 6x6 matrix")
        object.__setattr__(self, "centre_mm", read_only(centre))
        object.__setattr__(self, "matrix", read_only(checked_covariance(matrix, "a pose's covariance")))

    @classmethod
    def of_parts(
        cls, frame: Frame, centre_mm: ArrayLike, shift_mm2: ArrayLike, turn_rad2: ArrayLike | None = None
    ) -> "PoseCovariance":
        """From independent shift and turn, each a variance of every component or a (3, 3) covariance."""
        matrix = np.zeros((6, 6))
        matrix[:3, :3] = np.asarray(shift_mm2, np.float64) * np.eye(3) if np.ndim(shift_mm2) == 0 else shift_mm2
        if turn_rad2 is not None:
            matrix[3:, 3:] = np.asarray(turn_rad2) * np.eye(3) if np.ndim(turn_rad2) == 0 else turn_rad2
        return cls(frame, np.asarray(centre_mm, np.float64), matrix)

    def at(self, point_mm: ArrayLike) -> FloatArray:
        """(3, 3) covariance in mm² of where a point (3,) of the frame lands: the target registration error."""
        motion = self.point_motion(point_mm)
        return np.asarray(motion @ self.matrix @ motion.T)

    def tre_mm(self, point_mm: ArrayLike) -> float:
        """Root mean square distance by which a point (3,) errs."""
        return math.sqrt(max(0.0, float(np.trace(self.at(point_mm)))))

    def point_motion(self, point_mm: ArrayLike) -> FloatArray:
        """(3, 6) derivative of a point's place with respect to shift and turn."""
        arm = np.asarray(point_mm, dtype=np.float64) - self.centre_mm
        return np.concatenate([np.eye(3), -skew(arm)], axis=1)

    def about(self, point_mm: ArrayLike) -> "PoseCovariance":
        """The same covariance, its shift taken at another point (3,)."""
        motion = np.eye(6)
        motion[:3] = self.point_motion(point_mm)
        return PoseCovariance(self.frame, np.asarray(point_mm, np.float64), motion @ self.matrix @ motion.T)

    def seen_from(self, X_AB: RigidTransform) -> "PoseCovariance":
        """A covariance in frame B expressed in frame A; raises GeometryError where it is not in B."""
        if X_AB.child is not self.frame:
            raise GeometryError(
                f"a covariance in frame {self.frame} cannot be carried by X_{X_AB.parent}{X_AB.child}: the pose "
                f"must end in {self.frame}"
            )
        turn = np.kron(np.eye(2), X_AB.rotation)
        return PoseCovariance(X_AB.parent, X_AB.apply(self.centre_mm), turn @ self.matrix @ turn.T)

    def __add__(self, other: "PoseCovariance") -> "PoseCovariance":
        """Covariance of two independent small motions, one after the other, about this one's point."""
        if self.frame is not other.frame:
            raise GeometryError(f"covariances in the frames {self.frame} and {other.frame} cannot be added")
        return PoseCovariance(self.frame, self.centre_mm, self.matrix + other.about(self.centre_mm).matrix)

    def sampled(self, count: int, rng: np.random.Generator) -> FloatArray:
        """(count, 4, 4) drawn rigid motions: normal shifts, exact rotations by normal rotation vectors about c."""
        values, vectors = np.linalg.eigh(self.matrix)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws = rng.standard_normal((count, 6)) @ root.T
        motions = np.tile(np.eye(4), (count, 1, 1))
        motions[:, :3, :3] = rotations_of(draws[:, 3:])
        motions[:, :3, 3] = draws[:, :3] + self.centre_mm - motions[:, :3, :3] @ self.centre_mm
        return motions


def checked_covariance(matrix: ArrayLike, what: str) -> FloatArray:
    """The symmetric part of a covariance; raises GeometryError where it is not one."""
    array = np.asarray(matrix, dtype=np.float64)
    if not np.isfinite(array).all():
        raise GeometryError(f"{what} holds a number that is not finite")
    # Shifts and turns have different units, so that rounding is judged on correlations.
    scale = np.sqrt(np.abs(np.diagonal(array, axis1=-2, axis2=-1)))
    safe = np.where(scale > 0, scale, 1.0)
    correlation = array / (safe[..., :, None] * safe[..., None, :])
    if np.abs(correlation - np.swapaxes(correlation, -1, -2)).max() > 1e-6:
        raise GeometryError(f"{what} is not symmetric")
    symmetric = 0.5 * (correlation + np.swapaxes(correlation, -1, -2))
    values = np.linalg.eigvalsh(symmetric)
    if values.min() < -_ROUNDING * max(1.0, float(values.max())):
        raise GeometryError(f"{what} has a negative variance: it must be positive semi-definite")
    return np.asarray(0.5 * (array + np.swapaxes(array, -1, -2)))
