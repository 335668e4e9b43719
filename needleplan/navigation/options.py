"""Limits within which a live session may say go."""

from dataclasses import dataclass, fields

from needleplan.errors import OptionError


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Limits of a live session; every one of them is an assumption for the people at the table to change.

    Attributes:
        pose_age_s: a needle or reference pose that is older is stale.
        pairing_s: needle and reference are of the same moment within this, or are interpolated to it.
        frozen_s: a pose that repeats itself to the bit for longer is stale; a real tracker has noise.
        breathing_age_s: a breathing sample that is older is stale.
        breathing_frozen_s: a breathing signal that repeats itself to the bit for longer is stale.
        clock_s: clocks of tracker and session agree within this.
        gate_mm: the gate is open while the target lies within this of end-exhale.
        gate_errors: so many standard errors of the expected place must lie within the gate as well.
        breathing_surprise_mm: a breathing sample farther than this from where it was expected is unusual.
        breathing_depth_mm: a target that lies farther than this from end-exhale is unusual.
        exhale_within_s: within this time a breath comes back to the gate.
        calm_s: unusual breathing is over when nothing unusual came for so long.
        lateral_mm: greatest predicted lateral error with which the needle may go on.
        angle_deg: greatest angle between needle and plan with which it may go on.
        clearance_mm: least distance from a critical structure, now and at exhale, besides the registration's error.
        arrived_mm: the tip has arrived within this of its planned depth.
        refused_s: a tool is not relied on for so long after something came as its pose that was none.
        jump_mm: a pose that lies farther from the one before than speed explains is a jump.
        tool_speed_mm_s: greatest speed at which a hand or robot moves the needle.
        unseen_s: speed explains nothing of how far a needle came in a longer time between two of its poses, while
            nobody saw whether its marker slipped; more than the time between two poses of the tracker.
        reference_shift_mm: the reference moved where it lies farther than this, seen from the tracker, from where
            it stood before, and the needle did not move along.
        reference_drift_s: slower motion than in this time is drift, which the reference is there to follow.
        registration_error_mm: greatest expected error of the registration at the planned tip.
        check_mm: a landmark touched again must lie within this of its place.
        reference: True where poses of a reference must come; False where the needle's poses come in the reference's
            frame already, and whoever sends them watches the reference.
        breathing: True where the patient breathes and samples must come; False for apnoea or a phantom.
    """

    pose_age_s: float = 0.2
    pairing_s: float = 0.05
    frozen_s: float = 0.2
    breathing_age_s: float = 0.3
    breathing_frozen_s: float = 0.3
    clock_s: float = 0.05
    gate_mm: float = 2.0
    gate_errors: float = 2.0
    breathing_surprise_mm: float = 5.0
    breathing_depth_mm: float = 60.0
    exhale_within_s: float = 15.0
    calm_s: float = 3.0
    lateral_mm: float = 5.0
    angle_deg: float = 5.0
    clearance_mm: float = 2.0
    arrived_mm: float = 1.0
    refused_s: float = 1.0
    jump_mm: float = 5.0
    tool_speed_mm_s: float = 200.0
    unseen_s: float = 0.1
    reference_shift_mm: float = 3.0
    reference_drift_s: float = 5.0
    registration_error_mm: float = 3.0
    check_mm: float = 3.0
    reference: bool = True
    breathing: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (bool, "bool"):
                if type(value) is not bool:
                    raise OptionError(f"{field.name} must be true or false, not {value!r}")
            elif not 0.0 < value < 1000.0:
                raise OptionError(f"{field.name} must be above 0 and below 1000, not {value}")
