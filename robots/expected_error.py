"""How far from its plan a robot is expected to lay each needle: closed form, and draws through exact kinematics.

Errors of joints, of the needle in its guide and of the driver are those of ``RobotModel.error``; those of the tool
and of the base's registration to the patient come from calibrations. To first order each origin moves the needle's
tip and turns its axis linearly, so its covariance is that of the origin carried through a Jacobian (the law of
propagation of uncertainty, JCGM 100:2008, 5.2). The needle's roll about its axis is no error.
"""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, read_only
from needleplan.plan import vector3
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import rotations_of, skew
from needleplan.uncertainty.placement_error import ErrorOrigin, ErrorShare, ExpectedError
from robots.chain_kernels import guide_matrices
from robots.frames import PatientPlacement
from robots.model import RobotModel
from robots.route import Phase, RobotRoute

#: Most draws of one needle.
MOST_DRAWS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationErrors:
    """What calibrations leave uncertain; None where it is taken as exact.

    Attributes:
        registration: of the pose X_PB of the robot's base in the patient, in frame P, mm. Of a base that is known
            through a tracker, X_PB = X_PT X_BT⁻¹, it is the covariance of X_PT plus that of X_BT seen from X_PB.
        tool: of the needle in the guide, in frame G, mm: the tip's from a pivot calibration, or that of the guide
            on the flange from a hand-eye calibration, seen from X_GE.
    """

    registration: PoseCovariance | None = None
    tool: PoseCovariance | None = None

    def __post_init__(self) -> None:
        for covariance, frame, what in (
            (self.registration, Frame.PATIENT, "the registration"),
            (self.tool, Frame.GUIDE, "the tool"),
        ):
            if covariance is not None and covariance.frame is not frame:
                raise RobotError(
                    f"the covariance of {what} must be in frame {frame}, not {covariance.frame}: express it there "
                    "by PoseCovariance.seen_from"
                )


#: Calibrations without error.
EXACT = CalibrationErrors()


@dataclass(frozen=True, slots=True, eq=False)
class PlacedNeedle:
    """A robot that holds a needle at its deepest place.

    Attributes:
        robot: the robot.
        placement: how the patient lies.
        X_WB: where the base stands.
        q: (n,) joint positions.
        driver_entry_m: position of the driver at which the tip touches the entry.
        driver_tip_m: position of the driver now.
        order: the insertion's place in the plan's sequence.

    Raises:
        RobotError: the joint positions are not the robot's, or the driver does not advance beyond the entry.
    """

    robot: RobotModel
    placement: PatientPlacement
    X_WB: RigidTransform
    q: FloatArray
    driver_entry_m: float
    driver_tip_m: float
    order: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", read_only(self.q))
        self.robot.forward(self.q)
        if not 0 <= self.driver_entry_m < self.driver_tip_m <= self.robot.driver_stroke_m + 1e-9:
            raise RobotError(
                f"the driver must rise from the entry to the tip within its stroke of "
                f"{self.robot.driver_stroke_m:g} m, but goes from {self.driver_entry_m:g} to "
                f"{self.driver_tip_m:g} m"
            )

    @property
    def X_WG(self) -> RigidTransform:
        """Pose of the guide in the world by forward kinematics."""
        return self.X_WB @ self.robot.forward(self.q)

    def on_axis_m(self, driver_m: float) -> FloatArray:
        """(3,) world point of the needle's axis at a position of the driver."""
        return self.X_WG.apply((0.0, 0.0, driver_m))


def expected_error(needle: PlacedNeedle, calibration: CalibrationErrors = EXACT) -> ExpectedError:
    """How far a needle is expected to land from its plan, in closed form.

    First order: joints through the robot's Jacobian at the tip and of the axis; play in the guide shifts the needle
    across the guide's exit and tilts it about it; the driver moves it along its axis; tool and registration move it
    as rigid bodies about their points.
    """
    placement, error = needle.placement, needle.robot.error
    tip = placement.points_to_patient(needle.on_axis_m(needle.driver_tip_m))
    x, y, axis = needle.X_WG.rotation.T
    reach = needle.driver_tip_m
    jacobian = needle.robot.jacobian(needle.q) * error.joint_std
    velocity, turn = (needle.X_WB.rotate(part.T) for part in (jacobian[:3], jacobian[3:]))
    still = np.zeros((1, 3))
    turned = np.cross(turn, axis)
    sideways = np.stack([x, y])
    tilt = error.guide_angle_std_rad * sideways
    moves = {
        ErrorOrigin.JOINTS: (velocity + reach * turned, turned),
        ErrorOrigin.GUIDE: (
            np.concatenate([error.guide_lateral_std_m * sideways, reach * tilt]),
            np.concatenate([0.0 * sideways, tilt]),
        ),
        ErrorOrigin.DRIVER: (error.driver_depth_std_m * axis[None], still),
    }
    shares = [
        _share(origin, placement.displacement_to_patient(tips), placement.directions_to_patient(axes))
        for origin, (tips, axes) in moves.items()
    ]
    direction = placement.directions_to_patient(axis)
    if calibration.tool is not None:
        tool = calibration.tool.seen_from(placement.pose_in_patient(needle.X_WG))
        shares.append(_rigid_share(ErrorOrigin.TOOL, tool, tip, direction))
    if calibration.registration is not None:
        shares.append(_rigid_share(ErrorOrigin.REGISTRATION, calibration.registration, tip, direction))
    entry = placement.points_to_patient(needle.on_axis_m(needle.driver_entry_m))
    return ExpectedError(needle.order, vector3(entry), vector3(tip), tuple(shares))


@dataclass(frozen=True, slots=True, eq=False)
class DrawnNeedles:
    """Where a needle landed in n draws.

    Attributes:
        tip_mm: (n, 3) tips, patient LPS.
        axis: (n, 3) unit vectors along the needle.
    """

    tip_mm: FloatArray
    axis: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "tip_mm", read_only(self.tip_mm))
        object.__setattr__(self, "axis", read_only(self.axis))

    def covariance(self, planned: ExpectedError) -> FloatArray:
        """(6, 6) second moments of tip (mm) over axis about those planned."""
        off = np.concatenate([self.tip_mm - planned.tip_mm, self.axis - planned.direction], axis=1)
        return off.T @ off / len(off)

    def figures(self, planned: ExpectedError) -> tuple[float, float, float]:
        """Root mean squares of the distance from the planned axis (mm), along it (mm) and of the angle (degrees).

        What ``lateral_rms_mm``, ``depth_std_mm`` and ``angle_rms_deg`` of an expected error predict.
        """
        off, direction = self.tip_mm - planned.tip_mm, planned.direction
        along = off @ direction
        across = off - along[:, None] * direction
        angle = np.arctan2(np.linalg.norm(np.cross(self.axis, direction), axis=1), self.axis @ direction)
        lateral, depth, tilt = (float(np.sqrt((values**2).sum() / len(off))) for values in (across, along, angle))
        return lateral, depth, float(np.degrees(tilt))


def drawn_needles(
    needle: PlacedNeedle, draws: int, seed: int, calibration: CalibrationErrors = EXACT
) -> DrawnNeedles:
    """Where a needle lands in seeded draws of all errors, through exact kinematics and exact rotations.

    Raises:
        OptionError: the number of draws or the seed is out of range.
    """
    if not 1 <= draws <= MOST_DRAWS or seed < 0:
        raise OptionError(f"1 to {MOST_DRAWS} draws and a seed from 0 up are needed, not {draws} and {seed}")
    rng = np.random.default_rng(seed)
    robot, error = needle.robot, needle.robot.error
    q = needle.q + rng.standard_normal((draws, len(needle.q))) * error.joint_std
    guides = needle.X_WB.matrix @ guide_matrices(robot.chain.constants, robot.chain.prismatic, q)
    tilt, shift = np.zeros((draws, 3)), np.zeros((draws, 3))
    tilt[:, :2] = error.guide_angle_std_rad * rng.standard_normal((draws, 2))
    shift[:, :2] = error.guide_lateral_std_m * rng.standard_normal((draws, 2))
    driver = needle.driver_tip_m + error.driver_depth_std_m * rng.standard_normal(draws)
    tools = _drawn_motions(calibration.tool, draws, rng, LengthUnit.METRE)
    # The needle's own axis is the guide's +z, tilted by the play and then moved with the tool.
    axis = rotations_of(tilt)[:, :, 2]
    tip = shift + driver[:, None] * axis
    for motions in (tools, guides):
        tip = np.einsum("nij,nj->ni", motions[:, :3, :3], tip) + motions[:, :3, 3]
        axis = np.einsum("nij,nj->ni", motions[:, :3, :3], axis)
    tip = needle.placement.points_to_patient(tip)
    axis = needle.placement.directions_to_patient(axis)
    bases = _drawn_motions(calibration.registration, draws, rng, LengthUnit.MILLIMETRE)
    return DrawnNeedles(
        np.einsum("nij,nj->ni", bases[:, :3, :3], tip) + bases[:, :3, 3],
        np.einsum("nij,nj->ni", bases[:, :3, :3], axis),
    )


def placed_needles(route: RobotRoute, robot: RobotModel, placement: PatientPlacement) -> tuple[PlacedNeedle, ...]:
    """The needles of every insertion that a route reaches, in its order, each at its deepest place.

    Raises:
        RobotError: the route is another robot's.
    """
    if route.robot != robot.name:
        raise RobotError(f"the route is one of {route.robot}, not of {robot.name}")
    return tuple(
        PlacedNeedle(
            robot,
            placement,
            route.X_WB,
            insertion.segment(Phase.INSERT).positions[-1, :-1],
            insertion.driver_entry_m,
            insertion.driver_tip_m,
            insertion.order,
        )
        for insertion in route.insertions
        if insertion.reached
    )


def route_errors(
    route: RobotRoute, robot: RobotModel, placement: PatientPlacement, calibration: CalibrationErrors = EXACT
) -> tuple[ExpectedError, ...]:
    """The expected error of every insertion that a route reaches, in its order.

    Raises:
        RobotError: the route is another robot's.
    """
    return tuple(expected_error(needle, calibration) for needle in placed_needles(route, robot, placement))


def _share(origin: ErrorOrigin, tips_mm: FloatArray, axes: FloatArray) -> ErrorShare:
    """Share of independent moves (k, 3) of tip and axis, each of one standard deviation."""
    moves = np.concatenate([tips_mm, axes], axis=1)
    return ErrorShare(origin, moves.T @ moves)


def _rigid_share(
    origin: ErrorOrigin, covariance: PoseCovariance, tip_mm: FloatArray, direction: FloatArray
) -> ErrorShare:
    """Share of a small rigid motion: the tip moves as a point of the body, the axis by w × d."""
    motion = np.zeros((6, 6))
    motion[:3] = covariance.point_motion(tip_mm)
    motion[3:, 3:] = -skew(direction)
    return ErrorShare(origin, motion @ covariance.matrix @ motion.T)


def _drawn_motions(
    covariance: PoseCovariance | None, draws: int, rng: np.random.Generator, unit: LengthUnit
) -> FloatArray:
    """(draws, 4, 4) rigid motions with their shifts in a unit."""
    if covariance is None:
        return np.broadcast_to(np.eye(4), (draws, 4, 4))
    motions = covariance.sampled(draws, rng)
    if unit is LengthUnit.METRE:
        motions[:, :3, 3] *= 1e-3
    return motions
