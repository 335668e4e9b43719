"""What a live session says at one moment: where the needle is against its plan, and whether it may go on."""

from dataclasses import dataclass
from enum import StrEnum

from needleplan.coverage.treatment_state import NeedleDeviation
from needleplan.plan import Vector3


class Advice(StrEnum):
    """Whether the needle may go on."""

    GO = "go"  #: everything is known, fresh and within limits, and the gate is open
    WAIT = "wait"  #: everything is known; the gate is shut, and will open
    HOLD = "hold"  #: something is not known, not fresh, or beyond a limit: somebody must look
    STOP = "stop"  #: the needle touches a structure as far as the registration can tell, or somebody said stop
    ARRIVED = "arrived"  #: the tip stands at its planned place


class DoubtKind(StrEnum):
    """What keeps a session from saying go."""

    NOT_REGISTERED = "not registered"
    REGISTRATION_UNSURE = "registration unsure"
    NO_NEEDLE = "no needle selected"
    STALE_NEEDLE = "stale needle pose"
    STALE_REFERENCE = "stale reference pose"
    STALE_BREATHING = "stale breathing"
    NOT_SEEN = "tool not seen"
    JUMP = "pose jumped"
    REFERENCE_MOVED = "reference moved"
    WRONG_FRAME = "wrong frame"
    CLOCK = "clock"
    OFF_PLAN = "off plan"
    NEAR_STRUCTURE = "near a structure"
    GATE_SHUT = "gate shut"
    UNUSUAL_BREATHING = "unusual breathing"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason against going on.

    Attributes:
        kind: what it is about.
        sentence: what, by how much, and what would be right.
    """

    kind: DoubtKind
    sentence: str


@dataclass(frozen=True, slots=True)
class StructureDistance:
    """The structure nearest to the needle.

    Attributes:
        name: of the structure.
        now_mm: least distance from the needle's surface, with the organs where they are in the breath; minus the
            needle's radius where its axis passes through; None where the breath is not known.
        exhale_mm: the same with the organs at end-exhale.
        ahead_mm: least distance that it will have if it goes on straight to its planned depth, at end-exhale.
    """

    name: str
    now_mm: float | None
    exhale_mm: float
    ahead_mm: float


@dataclass(frozen=True, slots=True)
class Guidance:
    """What a session says.

    Figures that cannot be known are None, never a guess: without registration there is no deviation.

    Attributes:
        time_s: when, on the session's clock.
        order: of the insertion under way; None before one is selected.
        advice: whether the needle may go on.
        doubts: every reason against it; empty with GO and ARRIVED.
        tip_mm: tip in the patient at end-exhale's frame of the image (LPS).
        direction: unit vector of the needle's axis, entry to tip.
        deviation: from the plan of this insertion: tip, lateral, depth, angle.
        to_go_mm: way along the needle's own axis until the planned depth; negative when it is passed.
        predicted_lateral_mm: distance of the tip from the planned one, across the planned axis, if it goes on
            straight to the planned depth.
        predicted_error_mm: root mean square of that with the registration's error at the planned tip.
        nearest: the nearest critical structure.
        displacement_mm: displacement of the target from end-exhale, predicted for this moment.
        gate_open: True where that is small enough, and the newest sample's as well.
        pose_age_s: age of the needle pose that the figures are of.
    """

    time_s: float
    order: int | None
    advice: Advice
    doubts: tuple[Doubt, ...] = ()
    tip_mm: Vector3 | None = None
    direction: Vector3 | None = None
    deviation: NeedleDeviation | None = None
    to_go_mm: float | None = None
    predicted_lateral_mm: float | None = None
    predicted_error_mm: float | None = None
    nearest: StructureDistance | None = None
    displacement_mm: Vector3 | None = None
    gate_open: bool | None = None
    pose_age_s: float | None = None
