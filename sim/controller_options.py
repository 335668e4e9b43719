"""Times, distances and limits of the controller of an insertion."""

from dataclasses import dataclass

from needleplan.errors import OptionError

_LIMITS: dict[str, tuple[float, float]] = {
    "hover_mm": (0.0, 100.0),
    "settle_s": (0.0, 60.0),
    "gate_timeout_s": (1.0, 600.0),
    "stop_s": (1e-3, 1.0),
    "control_s": (1e-3, 0.1),
    "scan_s": (0.1, 60.0),
    "scan_noise_mm": (0.0, 10.0),
    "lateral_tolerance_mm": (0.1, 50.0),
    "depth_tolerance_mm": (0.1, 50.0),
    "corrections": (0, 20),
    "retreat_mm": (0.0, 200.0),
    "correction_speed_mm_s": (0.1, 50.0),
    "recovery_s": (0.0, 300.0),
    "calm_s": (0.0, 60.0),
    "sample_age_s": (0.05, 10.0),
    "pose_age_s": (0.05, 10.0),
    "reference_mm": (0.1, 100.0),
    "slip_mm": (0.1, 100.0),
    "deviation_mm": (0.1, 100.0),
    "joint_error_rad": (1e-4, 1.0),
    "driver_error_mm": (0.05, 50.0),
    "breath_speed_mm_s": (1.0, 1000.0),
}


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """Times, distances and limits of the controller; where no source is named they are assumptions.

    Attributes:
        hover_mm: distance before the skin at rest at which the tip waits: more than the skin rises in a breath.
        settle_s: rest after the tip has arrived.
        gate_timeout_s: an insertion is given up when the needle may not advance for this long.
        stop_s: time in which the driver stops and starts; the default is the insertion speed of 8 mm/s over the
            driver's 0.2 m/s^2.
        control_s: time between two looks at sensors, camera and encoders.
        allow_push: True to push the needle farther by as much as it is expected to push usual tissue before it.
        loose_while_held: True to loosen guide and driver while the needle rests in tissue, so that breathing
            carries it along instead of tearing at it.
        step_mm: the needle goes in by steps of this length, each followed by a control scan; None goes in in one.
        verify: True to take a control scan at the end also where the needle goes in in one.
        scan_s: rest for a control scan.
        scan_noise_mm: standard deviation of what a scan shows of the tip against the target, along each axis.
        lateral_tolerance_mm: a tip farther from the planned path than this is corrected.
        depth_tolerance_mm: the same along the path, at its end.
        corrections: greatest number of corrections of one insertion.
        retreat_mm: how far the needle is drawn back before it is steered: its channel would hold it.
        correction_speed_mm_s: how fast the aimed point moves while the needle is steered.
        recovery_s: how long a stopped needle waits for what stopped it to pass; then it is withdrawn.
        calm_s: how long it must have passed before the needle goes on.
        sample_age_s: the needle stops when the newest sample of the breathing is older.
        pose_age_s: the needle stops when the newest pose of the camera is older.
        reference_mm: it is withdrawn when the reference on the patient has moved by more.
        slip_mm: it is withdrawn when the camera sees its hub farther along than the driver has moved, or less far.
        deviation_mm: it is withdrawn when the camera sees its hub farther to the side than that.
        joint_error_rad: the arm is jammed where an encoder is farther from its command (rad, or m of a rail).
        driver_error_mm: the same for the driver.
        breath_speed_mm_s: the needle stops when the target moves faster over 0.2 s than this and than 1.6 times the
            fastest of the session's first 10 s: a cough. Quiet breaths of 15 mm in 4 s reach 15 mm/s.
    """

    hover_mm: float = 8.0
    settle_s: float = 1.0
    gate_timeout_s: float = 60.0
    stop_s: float = 0.04
    control_s: float = 0.02
    allow_push: bool = True
    loose_while_held: bool = True
    step_mm: float | None = None
    verify: bool = False
    scan_s: float = 2.0
    scan_noise_mm: float = 0.5
    lateral_tolerance_mm: float = 2.0
    depth_tolerance_mm: float = 2.0
    corrections: int = 3
    retreat_mm: float = 20.0
    correction_speed_mm_s: float = 5.0
    recovery_s: float = 10.0
    calm_s: float = 1.0
    sample_age_s: float = 0.25
    pose_age_s: float = 0.2
    reference_mm: float = 2.0
    slip_mm: float = 1.5
    deviation_mm: float = 2.5
    joint_error_rad: float = 0.01
    driver_error_mm: float = 1.0
    breath_speed_mm_s: float = 30.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"controller option {name} must lie between {low:g} and {high:g}, not {value:g}")
        if self.step_mm is not None and not 2.0 <= self.step_mm <= 500.0:
            raise OptionError(f"the steps of an insertion must be 2 to 500 mm long, not {self.step_mm:g}")

    @property
    def verifies(self) -> bool:
        """True where control scans are taken."""
        return self.verify or self.step_mm is not None
