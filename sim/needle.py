"""What an insertion achieved in the target's own frame, and the robot's placement error.

Everything is stated for the body at rest, at end-exhale, where the plan was made: the tip and the place in the skin
are the points of tissue in which they came to lie, carried back to rest by the body's motion.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, perpendicular_axes
from needleplan.outcome import NeedleOutcome
from needleplan.plan import Ablation, Insertion, vector3
from sim.tissue_needle import TissueNeedle


@dataclass(frozen=True, slots=True)
class PlacementNoise:
    """Standard deviations of the robot's placement error, normal and independent; all zero is a perfect robot.

    Attributes:
        lateral_mm: of the axis at the entry, along each of two directions across it.
        depth_mm: along the axis.
        angle_deg: of the tilt about the entry, about each of two axes across the needle.
    """

    lateral_mm: float = 0.0
    depth_mm: float = 0.0
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("lateral_mm", 20.0), ("depth_mm", 20.0), ("angle_deg", 10.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise OptionError(f"placement noise: {name} must lie between 0 and {most:g}, not {value:g}")

    @classmethod
    def published(cls) -> "PlacementNoise":
        """Middle of published robot accuracies: lateral 1.0-1.5 mm, depth 1.0-1.7 mm, angle 0.5 degrees.

        From needle robots in phantoms and swine (among them 2.3 +/- 1.2 mm lateral and 0.7 +/- 1.7 mm in depth for
        an optically guided robot in swine kidney, and 1.6 mm against 3.3 mm by hand for a CT-guided one). The
        tails of real series are heavier than the normal distribution's.
        """
        return cls(1.2, 1.3, 0.5)


def misplaced_base(
    X_WB: RigidTransform, entry_m: ArrayLike, direction: ArrayLike, noise: PlacementNoise, rng: np.random.Generator
) -> RigidTransform:
    """The base where the arm really stands for one insertion, when it believes to stand at ``X_WB``.

    A placement error of the needle is an error of the registration between robot and patient: the whole arm is
    shifted across and along the needle and tilted about the entry. Five numbers are drawn whatever the noise.

    Args:
        X_WB: pose of the base, metres.
        entry_m: (3,) entry in the world.
        direction: (3,) direction of the needle in the world.
        noise: standard deviations.
        rng: draws the error.
    """
    draws = rng.standard_normal(5)
    x, y = perpendicular_axes(direction)
    shift = 1e-3 * (
        noise.lateral_mm * (draws[0] * x + draws[1] * y) + noise.depth_mm * draws[2] * np.asarray(direction)
    )
    turn = np.deg2rad(noise.angle_deg) * (draws[3] * x + draws[4] * y)
    if not shift.any() and not turn.any():
        return X_WB
    rotation = _rotation_about(turn)
    pivot = np.asarray(entry_m, dtype=np.float64)
    return RigidTransform.from_parts(
        Frame.WORLD,
        Frame.ROBOT_BASE,
        rotation @ X_WB.rotation,
        pivot + rotation @ (X_WB.translation - pivot) + shift,
        LengthUnit.METRE,
    )


def _rotation_about(vector: FloatArray) -> FloatArray:
    """(3, 3) rotation by a rotation vector (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross))


@dataclass(frozen=True, slots=True, eq=False)
class Puncture:
    """The moment at which the skin was passed.

    Attributes:
        time_s: when.
        target_mm: (3,) displacement of the target then.
        breaths: number of breaths until then.
    """

    time_s: float
    target_mm: FloatArray
    breaths: float


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """The moment at which the tip came to rest and the needle was let go.

    Attributes:
        time_s: when.
        target_mm: (3,) displacement of the target then.
        breaths: number of breaths until then.
        bend_mm: distance of the tip from the guide's axis, before the needle was let go.
        waited_s: time for which the needle was not allowed to advance.
        corrections: number of corrections.
    """

    time_s: float
    target_mm: FloatArray
    breaths: float
    bend_mm: float
    waited_s: float
    corrections: int


def needle_outcome(planned: Insertion, needle: TissueNeedle, puncture: Puncture, arrival: Arrival) -> NeedleOutcome:
    """What one insertion achieved, in the target's own frame.

    Args:
        planned: as planned.
        needle: as it lies in the tissue now.
        puncture: when the skin was passed.
        arrival: when the tip came to rest.
    """
    if needle.entry_at_rest_mm is None:
        raise RobotError(f"insertion {planned.order}: the tip arrived and never passed the skin")
    entry, tip = np.asarray(needle.entry_at_rest_mm), np.asarray(needle.tip_at_rest_mm)
    direction = planned.direction
    executed_direction = (tip - entry) / np.linalg.norm(tip - entry)
    error = tip - np.asarray(planned.tip_mm)
    along = float(error @ direction)
    sine = float(np.linalg.norm(np.cross(direction, executed_direction)))
    executed = dataclasses.replace(
        planned,
        entry_mm=vector3(entry),
        tip_mm=vector3(tip),
        ablations=tuple(_carried(planned, ablation, tip, executed_direction) for ablation in planned.ablations),
        clearances_mm={},  # those of the planned path say nothing about this one
    )
    return NeedleOutcome(
        planned=planned,
        executed=executed,
        tip_error_mm=float(np.linalg.norm(error)),
        lateral_error_mm=float(np.linalg.norm(error - along * direction)),
        depth_error_mm=along,
        angle_error_deg=float(np.rad2deg(np.arctan2(sine, float(direction @ executed_direction)))),
        start_s=puncture.time_s,
        end_s=arrival.time_s,
        waited_s=arrival.waited_s,
        displacement_at_start_mm=float(np.linalg.norm(puncture.target_mm)),
        displacement_at_end_mm=float(np.linalg.norm(arrival.target_mm)),
        breaths=arrival.breaths - puncture.breaths,
        bend_mm=arrival.bend_mm,
        corrections=arrival.corrections,
        peak_force_n=needle.peak_force_n,
        peak_tip_force_n=needle.peak_tip_force_n,
    )


def _carried(planned: Insertion, ablation: Ablation, tip: FloatArray, direction: FloatArray) -> Ablation:
    """The ablation at its planned distance behind the tip, along the executed path."""
    behind = float((np.asarray(planned.tip_mm) - np.asarray(ablation.tip_mm)) @ planned.direction)
    return dataclasses.replace(ablation, tip_mm=vector3(tip - behind * direction))
