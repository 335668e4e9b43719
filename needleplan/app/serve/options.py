"""Options of the navigation server: what the devices are called, whose clock is believed, and how much is taken."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import unit_vector
from needleplan.io.openigtlink.options import LinkOptions, ServerOptions
from needleplan.io.openigtlink.stream import StreamLimits
from needleplan.navigation.options import SessionOptions
from needleplan.plan import Vector3, vector3

#: The protocol's field for a device name.
_NAME_BYTES = 20
#: Devices that the server itself sends under, or takes commands from.
OWN_DEVICES = (
    "Plan", "Zones", "Route", "RouteNames", "Session", "Guidance", "NeedleInPatient", "Answer", "Command",
)  # fmt: skip


class SenderClock(StrEnum):
    """How the time stamps of a sender are brought to the session's clock."""

    SHARED = "shared"  #: they are by the clock of this machine, as of a sender on it or one kept in step with it
    OWN = "own"  #: by a clock of the sender's own; what it differs by is fixed from its first messages
    ARRIVAL = "arrival"  #: they say nothing: a pose is taken to be measured when it arrives, its delay is not seen


class PoseFrame(StrEnum):
    """In what the poses of the needle come."""

    TRACKER = "tracker"  #: in the tracker's frame, beside poses of the reference, for this server to register
    PATIENT = "patient"  #: in the patient already (RAS on the wire): registered, and watched, by the sender


def small_messages() -> LinkOptions:
    """Limits of a connection on which clients send poses and words, and nothing large."""
    return LinkOptions(stream=StreamLimits(body_bytes=1 << 16), messages_per_s=2000.0, message_s=5.0)


def _server() -> ServerOptions:
    return ServerOptions(link=small_messages())


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a server is called by, and its limits.

    Attributes:
        needle, reference, breathing: device names under which the poses of needle and reference and the breathing
            signal come; at most 20 bytes each.
        poses: in which frame the needle comes.
        clock: how stamps become times of the session.
        breathing_direction: unit vector in patient LPS along which a breathing signal of one value displaces the
            target; towards the feet where None.
        rate_hz: guidance a second.
        touch_s: poses are gathered for so long while a point is touched.
        skin_s: the same while the skin is stroked.
        requests_per_s: commands and requests that one client may send; more are dropped, and it is told so.
        registration_mm: standard deviation of each component of a registration that was computed elsewhere, at the
            target; None where it is not known, which keeps the needle from going on.
        server: where to listen, and the limits of each connection.
        session: limits within which the needle may go on.
    """

    needle: str = "Needle"
    reference: str = "Reference"
    breathing: str = "Breathing"
    poses: PoseFrame = PoseFrame.TRACKER
    clock: SenderClock = SenderClock.SHARED
    breathing_direction: Vector3 | None = None
    rate_hz: float = 60.0
    touch_s: float = 2.0
    skin_s: float = 20.0
    requests_per_s: float = 20.0
    registration_mm: float | None = None
    server: ServerOptions = field(default_factory=_server)
    session: SessionOptions = field(default_factory=SessionOptions)

    def __post_init__(self) -> None:
        names = (self.needle, self.reference, self.breathing)
        for name in names:
            if not name.strip() or not name.isprintable() or len(name.encode()) > _NAME_BYTES:
                raise OptionError(f"a device name must have 1 to {_NAME_BYTES} printable bytes, not {name!r:.60}")
            if name in OWN_DEVICES:
                raise OptionError(f"the device name {name!r} is the server's own: choose another")
        if len(set(names)) < len(names):
            raise OptionError(f"needle, reference and breathing need names of their own, not {', '.join(names)}")
        for name, low, high in (
            ("rate_hz", 1.0, 500.0),
            ("touch_s", 0.2, 30.0),
            ("skin_s", 1.0, 300.0),
            ("requests_per_s", 1.0, 1000.0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise OptionError(f"{name} of a server must lie between {low:g} and {high:g}, not {value}")
        if self.registration_mm is not None and not 0.0 < self.registration_mm <= 50.0:
            raise OptionError(
                f"registration_mm of a server must be above 0 and at most 50, not {self.registration_mm}"
            )
        if self.breathing_direction is not None:
            direction = np.asarray(self.breathing_direction, np.float64)
            if direction.shape != (3,) or not np.isfinite(direction).all() or not direction.any():
                raise OptionError("breathing_direction must be three finite numbers, not all zero, in patient LPS")
            object.__setattr__(self, "breathing_direction", vector3(unit_vector(direction)))
