"""A hand that holds a needle and has stopped moving it, or whose page was closed meanwhile: nobody says so."""

import threading
import time
from collections.abc import Callable


class RestingHand:
    """Tells, from a thread, that a while has passed since the last move.

    Args:
        rest_s: the while.
        rested: called then.
    """

    def __init__(self, rest_s: float, rested: Callable[[], None]) -> None:
        self._rest_s, self._rested = rest_s, rested
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._moved_s = 0.0
        self._closed = False

    def moved(self) -> None:
        """A hand has moved a needle and not let go."""
        with self._lock:
            self._moved_s = time.monotonic()
            if self._timer is None and not self._closed:
                self._wait(self._rest_s)

    def close(self) -> None:
        """Tell nothing more."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _wait(self, wait_s: float) -> None:
        # One timer for many moves: each would be a thread.
        self._timer = threading.Timer(wait_s, self._elapsed)
        self._timer.daemon = True
        self._timer.start()

    def _elapsed(self) -> None:
        with self._lock:
            self._timer = None
            left_s = self._moved_s + self._rest_s - time.monotonic()
            if self._closed:
                return
            if left_s > 0:
                self._wait(left_s)
                return
        self._rested()
