"""How far a needle is expected to land from its plan: covariance of its tip and its axis, by origin."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes, read_only, unit_vector
from needleplan.plan import Vector3


class ErrorOrigin(StrEnum):
    """Where an error of placement comes from."""

    JOINTS = "joints"  #: the robot's joints stand elsewhere than commanded
    GUIDE = "guide"  #: play of the needle in its guide
    DRIVER = "driver"  #: the driver stops too early or too late
    TOOL = "tool"  #: the guide or the tip was calibrated with an error
    REGISTRATION = "registration"  #: the robot's base was registered to the patient with an error

    @property
    def common(self) -> bool:
        """True where one error moves all needles of a session as one rigid body."""
        return self is ErrorOrigin.REGISTRATION


@dataclass(frozen=True, slots=True, eq=False)
class ErrorShare:
    """What one origin adds.

    Attributes:
        origin: where it comes from.
        covariance: (6, 6) covariance of the tip in mm over the unit axis (rad), in patient LPS; the axis errs
            across itself only, the roll is no error.
    """

    origin: ErrorOrigin
    covariance: FloatArray

    def __post_init__(self) -> None:
        matrix = np.asarray(self.covariance, dtype=np.float64)
        if matrix.shape != (6, 6) or not np.isfinite(matrix).all():
            raise OptionError(f"the share of the {self.origin} must be a finite 6x6 covariance")
        object.__setattr__(self, "covariance", read_only(matrix))


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedError:
    """How far one needle is expected to land from its plan; errors of different origins are independent.

    Attributes:
        order: the insertion's place in the plan's sequence.
        entry_mm: planned entry, patient LPS.
        tip_mm: planned tip.
        shares: what each origin adds.
    """

    order: int
    entry_mm: Vector3
    tip_mm: Vector3
    shares: tuple[ErrorShare, ...]

    @property
    def direction(self) -> FloatArray:
        """(3,) unit vector from entry to tip."""
        return unit_vector(np.subtract(self.tip_mm, self.entry_mm))

    @property
    def depth_mm(self) -> float:
        """Length from entry to tip."""
        return float(np.linalg.norm(np.subtract(self.tip_mm, self.entry_mm)))

    @property
    def covariance(self) -> FloatArray:
        """(6, 6) covariance of tip (mm) over axis (rad) of all origins together."""
        return np.sum([np.zeros((6, 6)), *(share.covariance for share in self.shares)], axis=0)

    @property
    def tip_covariance_mm2(self) -> FloatArray:
        """(3, 3) covariance of the tip."""
        return self.covariance[:3, :3]

    @property
    def lateral_std_mm(self) -> tuple[float, float]:
        """Standard deviations of the tip across the planned axis along its principal directions, greatest first."""
        return _principal(self._across(self.covariance[:3, :3]))

    @property
    def lateral_rms_mm(self) -> float:
        """Root mean square distance of the tip from the planned axis."""
        return math.hypot(*self.lateral_std_mm)

    @property
    def depth_std_mm(self) -> float:
        """Standard deviation of the tip along the planned axis."""
        return math.sqrt(max(0.0, float(self.direction @ self.covariance[:3, :3] @ self.direction)))

    @property
    def angle_std_deg(self) -> tuple[float, float]:
        """Standard deviations of the needle's tilt along its principal directions, greatest first."""
        first, second = _principal(self._across(self.covariance[3:, 3:]))
        return math.degrees(first), math.degrees(second)

    @property
    def angle_rms_deg(self) -> float:
        """Root mean square angle between the needle and the planned axis."""
        return math.hypot(*self.angle_std_deg)

    def covariance_at(self, depth_mm: float, origins: tuple[ErrorOrigin, ...] = tuple(ErrorOrigin)) -> FloatArray:
        """(3, 3) covariance in mm² of the needle's point at a depth below the planned entry, of some origins."""
        # A point so far before the tip errs by the tip's error less that distance times the axis's error.
        motion = np.concatenate([np.eye(3), (depth_mm - self.depth_mm) * np.eye(3)], axis=1)
        chosen = [share.covariance for share in self.shares if share.origin in origins]
        return np.asarray(motion @ np.sum([np.zeros((6, 6)), *chosen], axis=0) @ motion.T)

    def part(self, origin: ErrorOrigin) -> "ExpectedError":
        """What is expected of one origin alone."""
        shares = tuple(share for share in self.shares if share.origin is origin)
        return ExpectedError(self.order, self.entry_mm, self.tip_mm, shares)

    def _across(self, covariance: FloatArray) -> FloatArray:
        across = np.stack(perpendicular_axes(self.direction))
        return np.asarray(across @ covariance @ across.T)


def _principal(covariance: FloatArray) -> tuple[float, float]:
    least, greatest = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0)).tolist()
    return greatest, least
