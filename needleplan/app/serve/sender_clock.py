"""From the time stamps of a sender to the clock of the session, without ever mending a clock in silence."""

import math

from needleplan.app.serve.options import SenderClock

#: With a clock of its own, what a sender's clock differs by is the least of (arrival - stamp) over so long.
SETTLE_S = 1.0


class SenderClocks:
    """When, on the session's clock, something was measured.

    What a clock differs by is fixed once. A clock that drifts or jumps after that makes poses old, or makes them
    come from the future; the session sees both and says so, and only a new registration begins anew.

    Args:
        kind: whose clock stamps are by.
        epoch_s: by the wall clock of this machine, in seconds since 1970, when the session's clock was 0; fixed at
            the start, so that a wall clock that is set meanwhile is seen too.
    """

    def __init__(self, kind: SenderClock, epoch_s: float) -> None:
        self.kind = kind
        self._epoch_s = epoch_s
        self._own: dict[str, tuple[float, float]] = {}

    def forget(self) -> None:
        """Begin anew with the clocks of all senders."""
        self._own.clear()

    def measured_s(self, sender: str, stamp_s: float, arrival_s: float) -> float | None:
        """Time of measurement.

        Args:
            sender: the tracker or the breathing sensor; each has its own clock.
            stamp_s: stamp of the message, seconds since 1970; 0 where it bears none.
            arrival_s: when it came, on the session's clock.

        Returns:
            Seconds on the session's clock, which may lie before 0; None where the stamp tells nothing.
        """
        if self.kind is SenderClock.ARRIVAL:
            return arrival_s
        if not (math.isfinite(stamp_s) and stamp_s > 0.0):
            return None
        if self.kind is SenderClock.SHARED:
            return stamp_s - self._epoch_s
        first_s, offset_s = self._own.get(sender, (arrival_s, math.inf))
        if arrival_s - first_s <= SETTLE_S:
            offset_s = min(offset_s, arrival_s - stamp_s)
            self._own[sender] = (first_s, offset_s)
        return stamp_s + offset_s
