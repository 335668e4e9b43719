"""The loop of a study's run: cases go to the workers, their messages come back and finished cells are written."""

import errno
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from needleplan.app.study.case_work import CaseChangedError, CaseTask
from needleplan.app.study.cluster import ANSWER_S, revive
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.software import software_versions
from needleplan.app.study.stopping import Stopping
from needleplan.app.study.study import Row, Study, StudyCase, Times
from needleplan.app.study.study_folder import StudyFolder
from needleplan.app.study.study_state import StudyState
from needleplan.app.study.worker_room import WorkerFileError
from needleplan.errors import NetworkError, PlanFileError
from needleplan.io.value_json import from_json

#: A case whose task ends without all its cells, for no reason that is known, is given up after so many times.
TRIES = 3
#: Time without any worker after which a cluster counts as lost.
WITHOUT_WORKERS_S = 120.0
#: A phantom's files arrive within this.
_FILES_S = 120.0
#: Time without some of the workers that were there after which those of this machine are replaced.
_REVIVE_S = 5.0
#: Time between looks at the cluster.
_LOOK_S = 1.0
#: Time between calls of the progress.
_SHOW_S = 0.25

ProgressCallback = Callable[[StudyState], None]
#: What a worker does with a case, the topic of its messages and the key of its task.
Work = Callable[[CaseTask, str, str], dict[str, bytes]]


@dataclass(slots=True)
class _Flight:
    """A case that is with the workers.

    Attributes:
        index: of the case in the study.
        left: names of cells that are not finished, in their order.
        future: of its task.
        begun: name of the cell that was begun last.
        prepared: True once the patient was there.
        tries: tasks of the case that ended without all its cells, for no reason that is known.
    """

    index: int
    left: tuple[str, ...]
    future: Any = None
    begun: str = ""
    prepared: bool = False
    tries: int = 0


class StudyRun:
    """The loop of a run: cases out, messages in.

    Args:
        study: the study.
        folder: where finished cells are written.
        client: of the workers.
        state: changed as the run goes on.
        waiting: indices of the cases that are not closed.
        progress: called a few times a second.
        work: what a worker does with a case.
        stopping: whether the run was asked to end.
    """

    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        client: Any,
        state: StudyState,
        waiting: deque[int],
        progress: ProgressCallback | None,
        work: Work,
        stopping: Stopping,
    ) -> None:
        self.study, self.folder, self.client, self.state = study, folder, client, state
        self._waiting, self._progress, self._work, self._stopping = waiting, progress, work, stopping
        # A cell's name is a digest, which takes longer than to look it up.
        self._cells = {cell.name: cell for cell in study.cells}
        self._topic = f"needleplan-study-{secrets.token_hex(8)}"
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._flights: dict[str, _Flight] = {}
        self._looked_s = self._shown_s = 0.0
        self._worker_seen_s = self._all_seen_s = time.monotonic()
        self._most_workers = 0

    def run(self) -> None:
        """Until every case is closed."""
        self.client.subscribe_topic(self._topic, lambda event: self._messages.put(event[1]))
        try:
            while self._flights or self._waiting:
                self._stopping.check()
                self._look()
                while self._waiting and len(self._flights) < self.state.workers:
                    self._launch(_Flight(index := self._waiting.popleft(), self._left(index)))
                with suppress(queue.Empty):
                    self._take(self._messages.get(timeout=_SHOW_S))
                self._show()
        finally:
            with suppress(Exception):
                self.client.cancel([flight.future for flight in self._flights.values()], force=True)
            self._show(last=True)

    def _left(self, index: int) -> tuple[str, ...]:
        finished = self.folder.finished(self.study.cases[index])
        return tuple(name for name in self._cells if name not in finished)

    def _launch(self, flight: _Flight) -> None:
        """Hand a case over, or what is left of it."""
        study, case = self.study, self.study.cases[flight.index]
        files = study.outputs.plans and case.phantom is not None
        cells = tuple(self._cells[name] for name in flight.left)
        known = self.folder.case_hash(case) if case.manifest is not None else ""
        task = CaseTask(
            case, cells, study.effort, study.seed, study.outputs.plans, files, software_versions(), known,
            study.devices,
        )  # fmt: skip
        key = f"study-case-{secrets.token_hex(12)}"
        flight.begun, flight.prepared = "", False
        with self._cluster_asked():
            self._ask(self.client.scheduler.set_metadata, keys=[key], value=[])
            flight.future = self.client.submit(self._work, task, self._topic, key, key=key, pure=False)
        self._flights[key] = flight
        self.state.busy = len(self._flights)
        flight.future.add_done_callback(lambda future: self._messages.put({"key": key, "ended": future.status}))

    def _take(self, message: dict[str, Any]) -> None:
        key = message["key"]
        flight = self._flights.get(key)
        if flight is None:
            return
        if "begun" in message:
            flight.begun = message["begun"]
        elif "prepared" in message:
            flight.prepared = True
        elif "finished" in message:
            row, times = from_json(Row, message["row"], "a row"), from_json(Times, message["times"], "times")
            self.state.processor_s += times.processor_s
            self._finish(flight, row, times, message["plan"], tuple(message["tables"]))
            done = [name for name in self._cells if name not in flight.left]
            with self._cluster_asked():
                self._ask(self.client.scheduler.set_metadata, keys=[key], value=done)
        elif "ended" in message:
            del self._flights[key]
            self.state.busy = len(self._flights)
            self._end(flight, message["ended"])

    def _finish(
        self, flight: _Flight, row: Row, times: Times, plan: bytes = b"", tables: tuple[bytes, ...] = ()
    ) -> None:
        """Write a finished cell."""
        if row.cell not in flight.left:
            self.state.twice += 1
            return
        with told_writing(self.folder):
            self.folder.write_cell(row, times, plan, tables)
        flight.left = tuple(name for name in flight.left if name != row.cell)
        self.state.count(row, kept=False)

    def _end(self, flight: _Flight, status: str) -> None:
        """What follows the end of a task."""
        from distributed.scheduler import KilledWorker

        case = self.study.cases[flight.index]
        reason = ""
        if status == "finished":
            if not flight.left:
                self._close(flight, case)
                return
            reason = "its worker ended the case without this cell"
        elif status == "error":
            error = flight.future.exception()
            if isinstance(error, NetworkError | CaseChangedError):
                raise error
            if isinstance(error, WorkerFileError):
                raise WorkerFileError(f"{error}; {_kept(self.folder, self.state.cells_done)}")
            if isinstance(error, KilledWorker):
                self._died(flight, case, error.allowed_failures + 1)
                return
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
        else:
            raise NetworkError(self._lost("the cluster was lost"))
        flight.tries += 1
        if flight.tries >= TRIES:
            self._fail(flight, case, flight.left, reason)
        self._again(flight, case, reason)

    def _died(self, flight: _Flight, case: StudyCase, deaths: int) -> None:
        """A case over which workers died: the cell at hand fails, or all where the patient was not yet there."""
        told = f"its worker died {deaths} times while it was computed, as when memory runs out"
        if flight.begun in flight.left:
            self._fail(flight, case, (flight.begun,) if flight.prepared else flight.left, told)
        else:
            flight.tries += 1
            if flight.tries >= TRIES:
                self._fail(flight, case, flight.left, told)
        self._again(flight, case)

    def _fail(self, flight: _Flight, case: StudyCase, cells: tuple[str, ...], reason: str) -> None:
        seed = case_seed(self.study.seed, case)
        for name in cells:
            self._finish(flight, Row.failed(case, self._cells[name], seed, reason), Times(case.name, name))

    def _again(self, flight: _Flight, case: StudyCase, reason: str = "its worker died") -> None:
        """Hand over what is left of a case, if only its files."""
        lacking = not self.folder.is_closed(self.study, case)
        if flight.left or (flight.tries < TRIES and lacking):
            self._launch(flight)
            return
        if lacking:
            self.state.without_files[case.name] = reason
        self.state.cases_done += 1

    def _close(self, flight: _Flight, case: StudyCase) -> None:
        """A case whose cells are all finished: its files where plans are kept, which name them."""
        if self.study.outputs.plans:
            files: dict[str, bytes] = {}
            if case.phantom is not None:
                with self._cluster_asked():
                    files = flight.future.result(timeout=_FILES_S)
            with told_writing(self.folder):
                self.folder.close_case(case, self.study.cells, files)
        self.state.cases_done += 1

    def _look(self) -> None:
        """See now and then that the cluster is there, and how large it is."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        with self._cluster_asked():
            threads = self._ask(self.client.scheduler.ncores, workers=None)
        self.state.workers = sum(threads.values())
        self._looked_s = time.monotonic()
        self._most_workers = max(self._most_workers, self.state.workers)
        if self.state.workers == self._most_workers:
            self._all_seen_s = now_s
        elif now_s - self._all_seen_s > _REVIVE_S:
            revive(self.client)
            self._all_seen_s = now_s
        if self.state.workers:
            self._worker_seen_s = now_s
        elif now_s - self._worker_seen_s > WITHOUT_WORKERS_S:
            raise NetworkError(self._lost(f"the cluster has had no worker for {WITHOUT_WORKERS_S:g} s"))

    def _ask(self, question: Callable[..., Any], **words: Any) -> Any:
        """What the scheduler answers; one that is busy is given as long as a cluster without workers."""
        begun_s = time.monotonic()
        while True:
            try:
                return self.client.sync(question, callback_timeout=ANSWER_S, **words)
            except TimeoutError:
                if self.client.status != "running" or time.monotonic() - begun_s > WITHOUT_WORKERS_S:
                    raise
                self._stopping.check()

    @contextmanager
    def _cluster_asked(self) -> Iterator[None]:
        """Turns what comes of a cluster that is gone into a sentence."""
        from distributed.client import FutureCancelledError

        try:
            yield
        except (OSError, TimeoutError, FutureCancelledError) as error:
            raise NetworkError(self._lost("the scheduler does not answer")) from error

    def _lost(self, what: str) -> str:
        return f"{what}; {_kept(self.folder, self.state.cells_done)}"

    def _show(self, last: bool = False) -> None:
        now_s = time.monotonic()
        if self._progress is not None and (last or now_s - self._shown_s >= _SHOW_S):
            self._shown_s = now_s
            self._progress(self.state)


def _kept(folder: StudyFolder, count: int) -> str:
    return f"{count} finished cells are kept in {folder.root}: run it again with --resume"


@contextmanager
def told_writing(folder: StudyFolder) -> Iterator[None]:
    """Turns an error of the disk into a sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder.root
        remedy = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
        raise PlanFileError(
            f"{where}: writing failed ({error.strerror or error}); finished cells are kept, so {remedy} and run it "
            "again with --resume"
        ) from error
