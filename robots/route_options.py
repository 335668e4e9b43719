"""How an arm is to move while it carries out a plan."""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError

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
        withdrawal_speed_m_s: speed of the needle coming out.
        speed_fraction: share of the joints' speed and acceleration limits that is used beside a patient.
        sample_s: greatest time between samples of the trajectories.
        clearance_m: least allowed distance of the arm from patient, table and floor.
        self_clearance_m: least allowed distance between parts of the arm.
    """

    stand_off_m: float = 0.05
    longest_stand_off_m: float = 0.10
    back_off_m: float = 0.05
    insertion_speed_m_s: float = 0.008
    withdrawal_speed_m_s: float = 0.02
    speed_fraction: float = 0.4
    sample_s: float = 0.02
    clearance_m: float = 0.02
    self_clearance_m: float = 0.005

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
            "self_clearance_m": (0.0, 0.1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"route option {name} must lie between {low:g} and {high:g}, not {value:g}")

    @property
    def stand_offs_m(self) -> tuple[float, ...]:
        """Stand-offs in the order in which they are tried."""
        count = int(np.floor((self.longest_stand_off_m - self.stand_off_m) / STAND_OFF_STEP_M + 1e-9))
        return tuple(self.stand_off_m + k * STAND_OFF_STEP_M for k in range(count + 1))
