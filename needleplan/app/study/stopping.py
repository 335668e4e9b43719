"""Signals that end a study: taken where the study can be told to stop, not wherever Python happens to be."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Ctrl-C, what ``kill`` and a batch system send, and what a terminal sends that is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StudyStopped(KeyboardInterrupt):
    """A study was asked to stop.

    Attributes:
        signal_number: of the signal that asked.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Stopping:
    """Whether a study was asked to stop.

    What is raised in the middle of a library's callback is swallowed there, and the study would go on. So from
    ``hold`` on a signal is only noted, and ``check`` raises it.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._held = False

    def hold(self) -> None:
        """Signals wait for ``check`` from now on."""
        self._held = True

    def check(self) -> None:
        """Raise StudyStopped where the study was asked to stop."""
        if self._asked:
            raise StudyStopped(self._asked)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of signals."""
        self._asked = number
        if not self._held:
            raise StudyStopped(number)


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Signals that end a process are a StudyStopped instead, raised at the latest at the end.

    Those of them that the program handles in a way of its own are left to it; so are all of them in another thread
    than the main one.
    """
    found = Stopping()
    before: dict[int, Any] = {}
    process = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        # A child that was forked and has not yet become another program ends as it would have.
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        found.note(number, frame)

    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        before = {number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) in usual}
        for number in before:
            signal.signal(number, note)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    found.check()
