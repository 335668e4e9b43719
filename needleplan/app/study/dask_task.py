"""A case as a task of Dask: what the worker says on the way, and what it is told."""

from dataclasses import dataclass
from typing import Any

from needleplan.app.study.case_work import CaseTask, work_case


@dataclass(frozen=True, slots=True)
class DaskTeller:
    """Tells the client through the scheduler, and asks the scheduler what is known to be done.

    Messages go as events of a topic: they are not kept with the task, so they arrive though its worker dies a
    moment later. What is done stands in the task's metadata, which the client writes and which goes with the task:
    a task that Dask begins again elsewhere leaves out what is done, one whose client has gone stops after its cell.

    Attributes:
        topic: of the events.
        key: of the task.
    """

    topic: str
    key: str

    def tell(self, message: dict[str, Any]) -> None:
        """See ``Teller``."""
        from distributed import get_worker

        get_worker().log_event(self.topic, {"key": self.key, **message})

    def done(self) -> set[str] | None:
        """See ``Teller``."""
        from distributed import get_worker
        from distributed.utils import sync

        worker = get_worker()
        names = sync(worker.loop, worker.scheduler.get_metadata, keys=[self.key], default=None)
        return None if names is None else set(names)


def run_case(task: CaseTask, topic: str, key: str) -> dict[str, bytes]:
    """``work_case`` in a worker of Dask."""
    return work_case(task, DaskTeller(topic, key))
