"""A process of its own for what takes long, so that the live loop never waits for it.

A thread would not do: searches hold the interpreter for tens of milliseconds at a time.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.serve.jobs import Job, JobDone, JobRunner, Patient, ReplanJob, done
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.navigation.live_replanning import LiveReplanner
from needleplan.plan import Plan

#: The live loop goes before it where both want the same core.
_NICE = 10
_PREPARED = "prepared"


class JobProcess(JobRunner):
    """One child that is started at once and ends with its parent, however that ends.

    Args:
        patient: what jobs are done with; sent to the child once.
        replanning: True where paths are searched at once, so that planning again takes seconds later.
    """

    def __init__(self, patient: Patient, replanning: bool = True) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._child = context.Process(
            target=_work,
            # Search structures cannot be sent; the child makes its own.
            args=(theirs, patient.plan, patient.queries.anatomy, patient.zone_model, replanning),
            name="needleplan-jobs",
            daemon=True,
        )
        self._child.start()
        theirs.close()
        self._busy = False
        self._preparing = replanning
        self._ended = False

    @property
    def state(self) -> str:
        if self._ended:
            return "ended"
        return "preparing" if self._preparing else "ready"

    def submit(self, job: Job) -> None:
        if self._ended:
            raise NavigationError("the process that plans again and registers has ended: start the server anew")
        if self._busy:
            raise NavigationError("something else is being computed: wait for its answer")
        try:
            self._connection.send(job)
        except OSError:
            self._ended = True
            raise NavigationError(
                "the process that plans again and registers has ended: start the server anew"
            ) from None
        self._busy = True

    def poll(self) -> JobDone | None:
        while not self._ended:
            try:
                if not self._connection.poll():
                    return None
                answer = self._connection.recv()
            except (EOFError, OSError):
                self._ended = True
                break
            if answer == _PREPARED:
                self._preparing = False
                continue
            self._busy = False
            assert isinstance(answer, JobDone)
            return answer
        if self._busy:
            self._busy = False
            return JobDone("the process that computes it has ended: start the server anew")
        return None

    def close(self) -> None:
        self._ended = True
        self._connection.close()
        self._child.terminate()
        self._child.join(5.0)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()


class _Preparation:
    """A replanner that is prepared while other jobs are done already."""

    def __init__(self, patient: Patient) -> None:
        self.replanner: LiveReplanner | None = None
        self.failure: NeedleplanError | None = None
        self.thread = threading.Thread(target=self._prepare, args=(patient,), daemon=True)
        self.thread.start()

    def _prepare(self, patient: Patient) -> None:
        try:
            self.replanner = LiveReplanner.prepare(patient.plan, patient.queries, patient.zone_model)
        except NeedleplanError as error:
            self.failure = error


def _work(
    connection: Connection, plan: Plan, anatomy: Anatomy, zone_model: EllipsoidTableModel, replanning: bool
) -> None:
    # Whoever stops the server by the keyboard stops the parent, which ends this in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    patient = Patient(plan, AnatomyQueries(anatomy), zone_model)
    preparation = _Preparation(patient) if replanning else None
    one_at_a_time = threading.Lock()
    if preparation is not None:
        threading.Thread(target=_tell, args=(connection, preparation.thread, one_at_a_time), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            answer = _answer(connection.recv(), patient, preparation)
            with one_at_a_time:
                connection.send(answer)


def _tell(connection: Connection, preparing: threading.Thread, one_at_a_time: threading.Lock) -> None:
    preparing.join()
    with contextlib.suppress(OSError), one_at_a_time:
        connection.send(_PREPARED)


def _answer(job: Job, patient: Patient, preparation: _Preparation | None) -> JobDone:
    if not isinstance(job, ReplanJob) or preparation is None:
        return done(job, patient, None)
    preparation.thread.join()
    if preparation.failure is not None:
        return JobDone(str(preparation.failure))
    return done(job, patient, preparation.replanner)
