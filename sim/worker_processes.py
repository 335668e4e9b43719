"""One piece of work done on many items by several processes, with answers that do not depend on how many."""

import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from needleplan.errors import NeedleplanError, OptionError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Each worker has one thread in whatever library would take more: the cores are taken by the other workers.
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: More processes than this are a slip of the keyboard.
MAXIMUM_JOBS = 256
#: A worker that has been asked to end gets so long for it.
_PATIENCE_S = 2.0


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_jobs(jobs: int) -> None:
    """Raises OptionError where the number of processes is impossible."""
    if not 1 <= jobs <= MAXIMUM_JOBS:
        raise OptionError(f"the number of processes must lie between 1 and {MAXIMUM_JOBS}, not {jobs}")


def spread_work(
    work: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    name_of: Callable[[Item], str],
    jobs: int,
    limit_s: float,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Answer, ...]:
    """``work`` of every item, in the order of the items.

    The workers are fresh processes, to which ``work`` is sent once and the items one by one as they get free: a
    process that was forked would inherit threads of numeric libraries that do not run in it. So ``work``, items
    and answers must be picklable, and a script that calls this keeps its main part under
    ``if __name__ == "__main__":``. Also a single job runs in a worker, so that every answer comes about under the
    same conditions.

    Args:
        work: what is done.
        items: what it is done on.
        name_of: what an item is called in progress and errors.
        jobs: number of processes, 1 or more.
        limit_s: a worker that is busy with one item for longer counts as hung.
        progress: called with the item that was finished and the share of the items that are.

    Raises:
        OptionError: the number of jobs or the limit is impossible.
        NeedleplanError: what ``work`` raised on an item, or a worker died or hung. No worker is left running then,
            nor after Ctrl-C.
    """
    require_jobs(jobs)
    if not limit_s > 0.0:
        raise OptionError(f"the time limit of one item must be above 0 s, not {limit_s:g}")
    workers: list[_Worker[Item, Answer]] = []
    found: dict[int, Answer] = {}
    waiting = deque(range(len(items)))
    try:
        with _single_threaded():
            for _ in range(min(jobs, len(items))):
                workers.append(_Worker(work, name_of, limit_s))  # noqa: PERF401  (those begun must be ended)
        for worker in workers:
            worker.give(waiting.popleft(), items)
        while len(found) < len(items):
            ready = wait([worker.pipe for worker in workers if worker.index is not None], timeout=0.5)
            for worker in workers:
                if worker.index is None:
                    continue
                if worker.pipe not in ready:
                    worker.check_time(items)
                    continue
                index, answer = worker.take(items)
                found[index] = answer
                if waiting:
                    worker.give(waiting.popleft(), items)
                if progress:
                    progress(name_of(items[index]), len(found) / len(items))
    finally:
        for worker in workers:
            worker.end()
    return tuple(found[index] for index in range(len(items)))


class _Worker(Generic[Item, Answer]):
    """One process, and what it is busy with."""

    def __init__(self, work: Callable[[Item], Answer], name_of: Callable[[Item], str], limit_s: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.index: int | None = None
        self._name_of, self._limit_s, self._since_s = name_of, limit_s, 0.0
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        # Sent like an item and not as an argument, so that workers unpack it side by side; give tells who died.
        with suppress(OSError):
            self.pipe.send(work)

    def give(self, index: int, items: Sequence[Item]) -> None:
        self.index, self._since_s = index, time.monotonic()
        try:
            self.pipe.send(items[index])
        except OSError:
            self._died(items)

    def take(self, items: Sequence[Item]) -> tuple[int, Answer]:
        assert self.index is not None
        try:
            answer, error, trace = self.pipe.recv()
        except (EOFError, OSError):
            self._died(items)
        index, self.index = self.index, None
        if isinstance(error, NeedleplanError):
            raise type(error)(f"{self._name_of(items[index])}: {error}") from error
        if error is not None:
            raise RuntimeError(f"{self._name_of(items[index])} failed in its process:\n{trace}") from error
        return index, answer

    def check_time(self, items: Sequence[Item]) -> None:
        assert self.index is not None
        if time.monotonic() - self._since_s > self._limit_s:
            raise NeedleplanError(
                f"{self._name_of(items[self.index])} has not finished after {self._limit_s:g} s, so its process "
                "was stopped and nothing was kept"
            )

    def end(self) -> None:
        with suppress(OSError):
            self.pipe.close()
        if self.index is not None:
            self._process.terminate()
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _died(self, items: Sequence[Item]) -> None:
        assert self.index is not None
        self._process.join(_PATIENCE_S)
        code = self._process.exitcode
        name = self._name_of(items[self.index])
        self.index = None
        if code is not None and code < 0:
            how = f"was ended by the signal {signal.Signals(-code).name}, as when memory runs out"
        else:
            how = (
                f"ended with code {code}; a script that starts such processes keeps its main part under "
                "if __name__ == '__main__'"
            )
        raise NeedleplanError(f"the process that worked on {name} {how}; nothing was kept")


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes that are started meanwhile use one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: Connection) -> None:
    """Receive the work, then answer one item after the other until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    work: Callable[[Any], Any] = pipe.recv()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        reply: tuple[Any, Exception | None, str]
        try:
            reply = (work(item), None, "")
        except Exception as error:
            reply = (None, error, traceback.format_exc())
        try:
            pipe.send(reply)
        except OSError:
            return
