"""A thread that works on the newest task: one that waits is replaced by the next and never done."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Task = TypeVar("Task")


class NewestWorker(Generic[Task]):
    """One thread; what is submitted while it works replaces what already waits.

    Args:
        work: called with a task, in the thread. It must tell its own failures: one that it raises ends the thread.
        name: of the thread.
    """

    def __init__(self, work: Callable[[Task], None], name: str) -> None:
        self._work = work
        self._waiting: list[Task] = []
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """True where nothing is worked on and nothing waits."""
        with self._changed:
            return not self._busy and not self._waiting

    def submit(self, task: Task) -> None:
        """Work on this next, instead of whatever waits."""
        with self._changed:
            self._waiting[:] = [task]
            self._changed.notify_all()

    def close(self, timeout_s: float = 0.0) -> None:
        """Take nothing more; waits so long for what is being worked on."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                task = self._waiting.pop()
                self._busy = True
            self._work(task)
