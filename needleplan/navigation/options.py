"""Limits within which a live session may say go."""

from dataclasses import dataclass, fields

from needleplan.errors import OptionError


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Limits of a live session; every one of them is an assumption for the people at the table to change.

    Attributes:
        pose_age_s: a needle or reference pose that is older is stale.
        breathing_age_s: a breathing sample that is older is stale.
        gate_mm: the gate is open while the target lies within this of end-exhale.
        lateral_mm: greatest predicted lateral error with which the needle may go on.
        angle_deg: greatest angle between needle and plan with which it may go on.
        clearance_mm: least distance from a critical structure, now and at exhale, besides the registration's error.
        arrived_mm: the tip has arrived within this of its planned depth.
        jump_mm: a pose that lies farther from the one before than speed explains is a jump.
        tool_speed_mm_s: greatest speed at which a hand or robot moves the needle.
        reference_shift_mm: the reference moved where it lies farther than this from where it stood when the
            registration was made, apart from slow drift that it is there to follow.
        registration_error_mm: greatest expected error of the registration at the planned tip.
        check_mm: a landmark touched again must lie within this of its place.
        breathing: True where the patient breathes and samples must come; False for apnoea or a phantom.
    """

    pose_age_s: float = 0.2
    breathing_age_s: float = 0.3
    gate_mm: float = 2.0
    lateral_mm: float = 5.0
    angle_deg: float = 5.0
    clearance_mm: float = 2.0
    arrived_mm: float = 1.0
    jump_mm: float = 5.0
    tool_speed_mm_s: float = 200.0
    reference_shift_mm: float = 3.0
    registration_error_mm: float = 3.0
    check_mm: float = 3.0
    breathing: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "breathing":
                if type(value) is not bool:
                    raise OptionError(f"breathing must be true or false, not {value!r}")
            elif not 0.0 < value < 1000.0:
                raise OptionError(f"{field.name} must be above 0 and below 1000, not {value}")
