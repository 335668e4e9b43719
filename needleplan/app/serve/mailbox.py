"""What came from clients and waits for the live loop: bounded for each of them, so that none crowds out another."""

import threading
from collections import Counter, deque
from collections.abc import Callable

from needleplan.app.serve.commands import is_stop
from needleplan.app.serve.incoming import SAMPLE_BODIES
from needleplan.io.openigtlink.link import Received

#: Samples of one device that may wait; older ones are given up.
_SAMPLES = 16
#: Devices of one client whose samples may wait.
_DEVICES = 8
#: Commands and requests of one client that may wait; more are dropped, but for the newest "stop".
_REQUESTS = 64


class Mailbox:
    """Filled by the thread of the link, emptied by the live loop.

    Attributes:
        dropped: messages that were given up, by reason.
    """

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._samples: dict[tuple[int, str], deque[Received]] = {}
        self._requests: dict[int, deque[Received]] = {}
        self._stops: dict[int, Received] = {}
        self._changed = threading.Condition()

    def put(self, received: Received) -> None:
        """Something came. Never waits."""
        peer = received.peer.number
        with self._changed:
            if isinstance(received.message.body, SAMPLE_BODIES):
                self._put_sample(peer, received)
            else:
                waiting = self._requests.setdefault(peer, deque())
                if len(waiting) < _REQUESTS:
                    waiting.append(received)
                elif is_stop(received.message):
                    self._stops[peer] = received
                else:
                    self.dropped["requests faster than they are answered"] += 1
                    return
            self._changed.notify()

    def _put_sample(self, peer: int, received: Received) -> None:
        key = (peer, received.message.device)
        waiting = self._samples.get(key)
        if waiting is None:
            if sum(other == peer for other, _ in self._samples) >= _DEVICES:
                self.dropped["samples of too many devices"] += 1
                return
            waiting = self._samples[key] = deque(maxlen=_SAMPLES)
        if len(waiting) == _SAMPLES:
            self.dropped["samples faster than they are taken"] += 1
        waiting.append(received)

    def take(self, timeout_s: float, until: Callable[[], bool] = lambda: False) -> list[Received]:
        """All that waits, in the order of arrival; empty after ``timeout_s`` or where ``until`` holds."""
        with self._changed:
            self._changed.wait_for(lambda: self._samples or self._requests or until(), max(timeout_s, 0.0))
            found = [one for waiting in (*self._samples.values(), *self._requests.values()) for one in waiting]
            found += self._stops.values()
            self._samples.clear()
            self._requests.clear()
            self._stops.clear()
        return sorted(found, key=lambda one: one.arrival_s)

    def wake(self) -> None:
        """Let ``take`` return."""
        with self._changed:
            self._changed.notify_all()
