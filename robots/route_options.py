"""How an arm is to move while it carries out a plan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Step by which the stand-off is lengthened.
STAND_OFF_STEP_M = 0.025


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """How the arm is to move.

    Attributes:
        stand_off_m: distance of the guide's exit before the entry.
        longest_stand_off_m: greatest stand-off that is tried where the arm comes too near at ``stand_off_m``; a
            path that grazes the skin needs it.
        back_off_m: length of the straight align move before it; shortened where the arm cannot draw back so far.
        insertion_speed_m_s: speed of the needle going in.
        withdrawal_speed_m_s: speed of the needle, or of the driver that has let go of it, coming out.
        speed_fraction: share of the joints' speed, acceleration and jerk limits that is used beside a patient.
        sample_s: greatest time between samples of the trajectories.
        clearance_m: least allowed distance of the arm from patient, table, floor and gantry.
        needle_clearance_m: the same from needles that are in place, which stand closer together.
        self_clearance_m: least allowed distance between parts of the arm.
        remote_centre_m: greatest allowed distance of the needle's axis from the entry while it aligns and inserts.
        least_manipulability: the arm may not align or insert at a posture with less than this share of its best
            manipulability: it would be near a singular one.
        check_step_rad: resolution of the checks of clearance: greatest turn of a joint between two of them.
        check_step_m: the same of a prismatic joint.
        detour_iterations: samples after which a search for a way round obstacles is given up.
        seed: of the searches for a way round obstacles.
        needles_stay: True where every needle stays in the patient until the last one is placed; later moves then
            keep clear of it. False where it is withdrawn before the arm goes on.
        needle_length_m: length of a needle from its tip to the end of its handle; None takes the driver's stroke.
        needle_radius_m: half the width of its handle.
    """

    stand_off_m: float = 0.05
    longest_stand_off_m: float = 0.10
    back_off_m: float = 0.05
    insertion_speed_m_s: float = 0.008
    withdrawal_speed_m_s: float = 0.02
    speed_fraction: float = 0.4
    sample_s: float = 0.02
    clearance_m: float = 0.02
    needle_clearance_m: float = 0.005
    self_clearance_m: float = 0.005
    remote_centre_m: float = 0.0002
    least_manipulability: float = 0.002
    check_step_rad: float = 0.03
    check_step_m: float = 0.01
    detour_iterations: int = 200
    seed: int = 0
    needles_stay: bool = False
    needle_length_m: float | None = None
    needle_radius_m: float = 0.011

    def __post_init__(self) -> None:
        limits = {
            "stand_off_m": (0.01, 0.15),
            "longest_stand_off_m": (self.stand_off_m, 0.2),
            "back_off_m": (0.005, 0.3),
            "insertion_speed_m_s": (1e-4, 0.1),
            "withdrawal_speed_m_s": (1e-4, 0.1),
            "speed_fraction": (0.01, 1.0),
            "sample_s": (1e-3, 0.2),
            "clearance_m": (0.0, 0.1),
            "needle_clearance_m": (0.0, 0.1),
            "self_clearance_m": (0.0, 0.1),
            "remote_centre_m": (1e-6, 0.001),
            "least_manipulability": (0.0, 0.5),
            "check_step_rad": (0.002, 0.1),
            "check_step_m": (0.001, 0.05),
            "detour_iterations": (0, 100_000),
            "seed": (0, 2**32 - 1),
            "needle_radius_m": (0.0005, 0.05),
        }
        if self.needle_length_m is not None:
            limits["needle_length_m"] = (0.02, 0.5)
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"route option {name} must lie between {low:g} and {high:g}, not {value:g}")

    @property
    def stand_offs_m(self) -> tuple[float, ...]:
        """Stand-offs in the order in which they are tried."""
        count = int(np.floor((self.longest_stand_off_m - self.stand_off_m) / STAND_OFF_STEP_M + 1e-9))
        return tuple(self.stand_off_m + k * STAND_OFF_STEP_M for k in range(count + 1))

    def check_steps(self, prismatic: NDArray[np.bool_]) -> FloatArray:
        """(n,) greatest change of each joint between two checks, for joints that are ``prismatic`` (n,) or not."""
        return np.where(prismatic, self.check_step_m, self.check_step_rad)
