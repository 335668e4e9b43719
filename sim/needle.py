"""Where a needle really ends: the mechanics of needle, guide and moving tissue, and the robot's placement error.

The model has three parts, each the simplest that keeps the effect which matters:

* From the puncture until the tip stops, the guide holds the needle's axis in the room, and the tissue slides along
  and past it. The needle is straight and stiff.
* When the tip stops, the tissue there grips it and from then on carries it along. So in the target's own frame,
  at its reference position of end-exhale, the tip lies at its position in the room minus the target's displacement
  at that moment.
* The skin grips the needle when it is punctured, so the entry in the patient is the point in the room minus the
  skin's displacement at the puncture.

Bending, tissue that is dragged along, and cutting forces are left out.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, perpendicular_axes
from needleplan.outcome import NeedleOutcome
from needleplan.plan import Ablation, Insertion, vector3


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
    """The moment at which the skin was punctured.

    Attributes:
        time_s: when.
        target_mm: (3,) displacement of the target then.
        skin_mm: (3,) displacement of the skin at the entry then.
    """

    time_s: float
    target_mm: FloatArray
    skin_mm: FloatArray


def depth_mm(planned: Insertion, tip_mm: ArrayLike) -> float:
    """Depth of a tip (3,) in the room (patient LPS mm) behind the entry, along the planned axis."""
    return float((np.asarray(tip_mm) - np.asarray(planned.entry_mm)) @ planned.direction)


def needle_outcome(
    planned: Insertion,
    tip_mm: FloatArray,
    axis: FloatArray,
    puncture: Puncture,
    end_s: float,
    target_at_end_mm: FloatArray,
    waited_s: float,
) -> NeedleOutcome:
    """What one insertion achieved, in the target's own frame.

    Args:
        planned: as planned.
        tip_mm: (3,) where the tip stopped in the room, patient LPS mm.
        axis: (3,) unit direction of the needle in the room, patient LPS.
        puncture: when the skin was punctured.
        end_s: when the tip stopped.
        target_at_end_mm: (3,) displacement of the target then.
        waited_s: time spent waiting for the gate.
    """
    planned_entry, planned_tip = np.asarray(planned.entry_mm), np.asarray(planned.tip_mm)
    direction = planned.direction
    # The needle passed the skin where its axis meets the plane across the planned path at the planned entry.
    back = float((tip_mm - planned_entry) @ direction) / float(axis @ direction)
    entry = tip_mm - back * axis - puncture.skin_mm
    tip = tip_mm - target_at_end_mm
    executed_direction = (tip - entry) / np.linalg.norm(tip - entry)
    error = tip - planned_tip
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
        end_s=end_s,
        waited_s=waited_s,
        displacement_at_start_mm=float(np.linalg.norm(puncture.target_mm)),
        displacement_at_end_mm=float(np.linalg.norm(target_at_end_mm)),
    )


def _carried(planned: Insertion, ablation: Ablation, tip: FloatArray, direction: FloatArray) -> Ablation:
    """The ablation at its planned distance behind the tip, along the executed path."""
    behind = float((np.asarray(planned.tip_mm) - np.asarray(ablation.tip_mm)) @ planned.direction)
    return dataclasses.replace(ablation, tip_mm=vector3(tip - behind * direction))
