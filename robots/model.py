"""The contract of robots: joints in a row that hold a needle guide with a linear driver.

Metres and radians; a prismatic joint's position is in metres. A pose of the guide is the pose of its exit: +z is
the insertion axis. The needle's tip lies on that axis, beyond the exit by the position of the driver.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike

from needleplan.frames import FloatArray, RigidTransform
from robots.arm_settings import Mount, PositioningError
from robots.chain import KinematicChain

#: Rounding of the length that the driver must have.
STROKE_TOLERANCE_M = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Capsule:
    """A cylinder with round ends that encloses a collision shape of one link.

    Attributes:
        link: name of the link.
        start_m: (3,) one end of its axis, in the link's frame.
        end_m: (3,) the other end.
        radius_m: its radius.
    """

    link: str
    start_m: FloatArray
    end_m: FloatArray
    radius_m: float


class RobotModel(ABC):
    """Revolute and prismatic joints in a row that hold a needle guide with a linear driver.

    Joint vectors ``q`` have shape (n,), rad for revolute and m for prismatic joints, in the order of
    ``joint_names``. Poses are in the frame of the
    robot's base (B), in metres. A model never changes after it was made and uses no random numbers.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in the catalogue."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One sentence about the robot."""

    @property
    @abstractmethod
    def urdf_path(self) -> Path:
        """The URDF, for simulators."""

    @property
    @abstractmethod
    def joint_names(self) -> tuple[str, ...]:
        """Names of the arm's joints, base first."""

    @property
    @abstractmethod
    def driver_joint_name(self) -> str:
        """Name of the prismatic joint that advances the needle."""

    @property
    @abstractmethod
    def chain(self) -> KinematicChain:
        """The joints from the base to the guide as arrays, from which all kinematics are computed."""

    @property
    @abstractmethod
    def mount(self) -> Mount:
        """What the base stands on."""

    @property
    @abstractmethod
    def error(self) -> PositioningError:
        """How exactly the robot lays its needle."""

    @property
    @abstractmethod
    def q_min(self) -> FloatArray:
        """(n,) least joint positions."""

    @property
    @abstractmethod
    def q_max(self) -> FloatArray:
        """(n,) greatest joint positions."""

    @property
    @abstractmethod
    def velocity_limits(self) -> FloatArray:
        """(n,) greatest joint speeds in rad/s or m/s."""

    @property
    @abstractmethod
    def acceleration_limits(self) -> FloatArray:
        """(n,) greatest joint accelerations in rad/s² or m/s²."""

    @property
    @abstractmethod
    def jerk_limits(self) -> FloatArray:
        """(n,) greatest joint jerks in rad/s³ or m/s³."""

    @property
    @abstractmethod
    def home(self) -> FloatArray:
        """(n,) joint positions at rest."""

    @property
    @abstractmethod
    def driver_stroke_m(self) -> float:
        """Greatest distance of the tip beyond the guide's exit."""

    @property
    @abstractmethod
    def driver_velocity_limit(self) -> float:
        """Greatest speed of the driver in m/s."""

    @property
    @abstractmethod
    def driver_acceleration_limit(self) -> float:
        """Greatest acceleration of the driver in m/s²."""

    @property
    @abstractmethod
    def driver_jerk_limit(self) -> float:
        """Greatest jerk of the driver in m/s³."""

    @property
    @abstractmethod
    def reach_m(self) -> float:
        """No pose of the guide lies farther than this from the first joint."""

    @property
    @abstractmethod
    def first_joint_m(self) -> FloatArray:
        """(3,) a point on the first joint's axis, in the base frame; ``reach_m`` is measured from it."""

    @property
    @abstractmethod
    def capsules(self) -> tuple[Capsule, ...]:
        """Capsules that together enclose every collision shape of the links, guide and withdrawn needle."""

    @property
    @abstractmethod
    def base_link(self) -> str:
        """Name of the link that stands on the floor."""

    @property
    @abstractmethod
    def driven_links(self) -> frozenset[str]:
        """Links that the driver moves: the needle and what is fixed to it."""

    @property
    @abstractmethod
    def free_pairs(self) -> frozenset[frozenset[str]]:
        """Pairs of links that need no check against each other: neighbours, and those that can never touch."""

    @abstractmethod
    def forward(self, q: ArrayLike) -> RigidTransform:
        """Pose X_BG of the guide's exit at ``q`` (n,); raises RobotError for a wrong shape."""

    @abstractmethod
    def jacobian(self, q: ArrayLike) -> FloatArray:
        """Jacobian (6, n) at ``q`` in base axes: the exit's velocity (m/s) over angular velocity (rad/s)."""

    @abstractmethod
    def link_poses(self, q: ArrayLike, driver_m: ArrayLike) -> dict[str, FloatArray]:
        """Poses of all links.

        Args:
            q: (k, n) joint positions.
            driver_m: (k,) positions of the driver.

        Returns:
            For each link an array (k, 4, 4) in the base frame.
        """
