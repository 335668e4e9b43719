"""Faults that can be switched on in a rehearsal. The controller is not told: it has to notice and to stop."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from needleplan.errors import OptionError


class FaultKind(StrEnum):
    """What goes wrong."""

    SENSOR_DROPOUT = "sensor-dropout"  #: no sample of the breathing arrives any more
    STALE_POSE = "stale-pose"  #: the tracking camera repeats an old pose with its old time
    REGISTRATION_SHIFT = "registration-shift"  #: the patient is displaced against the robot
    COUGH = "cough"  #: the patient coughs
    JAMMED_JOINT = "jammed-joint"  #: one of the arm's joints stays where it is
    NEEDLE_SLIP = "needle-slip"  #: the driver slips along the needle: it goes on, the needle lags behind
    OPERATOR_STOP = "operator-stop"  #: somebody presses the emergency stop; this the controller is told


#: Size and unit of each kind where the user names none; what has no size has None.
_SIZES: dict[FaultKind, tuple[float, str] | None] = {
    FaultKind.SENSOR_DROPOUT: None,
    FaultKind.STALE_POSE: None,
    FaultKind.REGISTRATION_SHIFT: (6.0, "mm"),
    FaultKind.COUGH: (20.0, "mm"),
    FaultKind.JAMMED_JOINT: None,
    FaultKind.NEEDLE_SLIP: (0.5, "of the driver's way"),
    FaultKind.OPERATOR_STOP: None,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: what goes wrong.
        needle: order of the insertion in which it does.
        at_depth_share: how far the needle is in when it begins, as a share of the planned depth; below 0 before
            the skin: -1 is where the arm begins to align, -0.5 where the needle stands before the skin.
        duration_s: how long it lasts; infinite by default, and without meaning for a shift and a cough.
        size: millimetres of a shift or a cough, share of the driver's way that a slipping needle loses; None takes
            a usual one.
        joint: which joint jams, counted from 1 at the base, the driver last; 0 takes the driver once it drives the
            needle in, and before that the joint of the arm that aligns it most.
    """

    kind: FaultKind
    needle: int = 1
    at_depth_share: float = 0.4
    duration_s: float = float("inf")
    size: float | None = None
    joint: int = 0

    def __post_init__(self) -> None:
        if not -1.0 <= self.at_depth_share <= 1.0:
            raise OptionError(f"a fault begins between -1 and 1 of the planned depth, not {self.at_depth_share:g}")
        if not self.duration_s > 0.0:
            raise OptionError(f"a fault must last longer than 0 s, not {self.duration_s:g}")
        if self.size is not None and not (np.isfinite(self.size) and 0.0 < self.size <= 100.0):
            raise OptionError(f"the size of a fault must lie above 0 and up to 100, not {self.size:g}")
        if self.needle < 1 or self.joint < 0:
            raise OptionError("needles and joints of a fault are counted from 1")

    @property
    def magnitude(self) -> float:
        """The size, or the usual one; 0 for what has none."""
        usual = _SIZES[self.kind]
        return self.size if self.size is not None else 0.0 if usual is None else usual[0]

    @property
    def text(self) -> str:
        """In words."""
        usual = _SIZES[self.kind]
        size = "" if usual is None else f" of {self.magnitude:g} {usual[1]}"
        where = (
            f"at {100 * self.at_depth_share:.0f} % of the depth" if self.at_depth_share >= 0 else "before the skin"
        )
        return f"{self.kind.value}{size} at needle {self.needle}, {where}"


def parse_fault(text: str) -> Fault:
    """A fault from ``kind[@needle[:share]]``, such as ``cough``, ``needle-slip@2`` or ``stale-pose@1:-0.5``.

    Raises:
        OptionError: the kind is not known or a number is none.
    """
    name, _, where = text.partition("@")
    try:
        kind = FaultKind(name.strip())
    except ValueError:
        known = ", ".join(FaultKind)
        raise OptionError(f"no fault is named {name.strip()!r}: choose one of {known}") from None
    needle, _, share = where.partition(":")
    try:
        return Fault(kind, int(needle) if needle else 1, float(share) if share else 0.4)
    except ValueError:
        raise OptionError(
            f"a fault is written kind@needle:share, such as {kind.value}@1:0.4, not {text!r}"
        ) from None
