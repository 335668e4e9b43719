"""The workers of a study: processes of this machine, or those of a Dask cluster that is there already."""

import asyncio
import logging
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any
from urllib.parse import urlsplit

from needleplan.app.study.software import software_versions, version_difference
from needleplan.app.study.worker_scratch import worker_scratch
from needleplan.errors import NetworkError, OptionError
from sim.worker_processes import require_jobs, usable_cores

#: A scheduler answers within this, or counts as out of reach.
ANSWER_S = 15.0
#: A cluster has a worker within this.
FIRST_WORKER_S = 60.0
#: Deaths of a worker over one case until the cell at hand is given up; an existing cluster keeps its own number.
DEATHS = 3
#: How a scheduler may be spoken to; certificates for tls stand in Dask's configuration.
_SCHEMES = ("tcp", "tls")
#: One thread for each worker in whatever library would take more: the cores are taken by the other workers.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Libraries whose logs are kept from the user.
_LOGGERS = ("distributed", "tornado", "asyncio")


@contextmanager
def study_client(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """A client of workers whose software is this process's; what was started for it is ended.

    Args:
        workers: processes on this machine, each with one thread; one for each core where None.
        scheduler: address of a scheduler such as ``tcp://127.0.0.1:8786``; its workers are used as they are.

    Raises:
        OptionError: the number of workers is impossible, or those of this machine do not start.
        NetworkError: the address is none, the scheduler does not answer, has no worker, or a worker's software is
            another.
    """
    import dask
    from distributed import Client, LocalCluster

    count = usable_cores() if workers is None else workers
    require_workers(count, scheduler)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # What differs is told in one sentence of our own.
        warnings.filterwarnings("ignore", module="distributed")
        stack.enter_context(_quiet())
        if scheduler is None:
            stack.enter_context(
                dask.config.set(
                    {
                        "distributed.scheduler.allowed-failures": DEATHS - 1,
                        "distributed.admin.low-level-log-length": 100,
                        "distributed.nanny.pre-spawn-environ": dask.config.get(
                            "distributed.nanny.pre-spawn-environ", {}
                        )
                        | dict.fromkeys(_ONE_THREAD, 1),
                        # Those above stand in this process's environment while workers start; numba would read it
                        # here and refuse the number of threads of before.
                        "distributed.nanny.environ": dask.config.get("distributed.nanny.environ", {})
                        | {"NUMBA_NUM_THREADS": 1},
                    }
                )
            )
            folder = stack.enter_context(worker_scratch())
            with _without_interrupt(), _start_told():
                cluster: Any = stack.enter_context(
                    LocalCluster(
                        n_workers=count, threads_per_worker=1, processes=True, host="127.0.0.1",
                        dashboard_address=None, local_directory=folder, silence_logs=logging.CRITICAL,
                    )
                )  # fmt: skip
            client = stack.enter_context(Client(cluster, set_as_default=False))
        else:
            client = stack.enter_context(_connected(scheduler))
        yield client


def require_workers(workers: int | None, scheduler: str | None) -> None:
    """See that workers can be asked for, before anything is made for them.

    Raises:
        OptionError: the number of workers is impossible.
        NetworkError: the address of the scheduler is none.
    """
    if workers is not None:
        require_jobs(workers)
    if scheduler is not None:
        _require_address(scheduler)


def end_worker_that_reads_its_script(scheduler: str | None) -> None:
    """End a process that is just being begun as a worker, and would run the study of the script that began it.

    Python lets no such process begin others. The one that began it says what the script lacks.
    """
    if scheduler is None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)


@contextmanager
def _start_told() -> Iterator[None]:
    """Turns what comes of workers that do not start into a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise OptionError(
            f"the workers of this machine did not start ({error}): a script must call run_study below 'if __name__ "
            '== "__main__":\', as every worker reads the script anew'
        ) from None


def _require_address(scheduler: str) -> None:
    try:
        parts = urlsplit(scheduler)
        sound = (
            scheduler.isprintable()
            and not any(character.isspace() for character in scheduler)
            and parts.scheme in _SCHEMES
            and parts.netloc == scheduler.removeprefix(f"{parts.scheme}://")
            and "@" not in parts.netloc
            and bool(parts.hostname)
            and bool(parts.port)
        )
    except ValueError:  # a port that is no number, or brackets that do not close
        sound = False
    if not sound:
        raise NetworkError(
            f"{scheduler[:200]!r} is no address of a scheduler: give it as tcp://HOST:PORT, such as "
            "tcp://127.0.0.1:8786"
        )


def revive(client: Any) -> None:
    """Replace workers of this machine that are gone for good.

    A process that ends is begun anew by its keeper, but not where it ends in the moment in which it was begun.
    """
    cluster = client.cluster
    if cluster is None or not hasattr(cluster, "worker_spec"):
        return
    wanted = len(cluster.worker_spec)
    for name, keeper in list(cluster.workers.items()):
        if not keeper.is_alive():
            cluster.worker_spec.pop(name, None)
    cluster.scale(wanted)


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Ctrl-C is kept from threads and processes that are begun here, and from this thread until the end.

    A terminal sends it to workers as well, where it would end in a traceback each. Threads and processes inherit
    what is kept from the thread that begins them, so this holds for workers that replace others later.
    """
    # Its start would let signals through again in the thread of the first worker.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """A client of an existing cluster whose workers are fit for the study."""
    from distributed import Client

    # A client that was made in vain would linger until the process ends, so somebody must answer first.
    try:
        kind = _asked(_kind_at, scheduler)
        client = Client(scheduler, timeout=ANSWER_S, set_as_default=False) if kind == "Scheduler" else None
    # What another program answers is anything at all to the library that reads it.
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        raise NetworkError(
            f"no scheduler answers at {scheduler}: start one by 'dask scheduler', and give its address as "
            "tcp://HOST:PORT"
        ) from error
    if client is None:
        raise NetworkError(f"at {scheduler} there is no scheduler but a {kind}: give the address of its scheduler")
    try:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER_S)
        except TimeoutError:
            raise NetworkError(
                f"the scheduler {scheduler} has had no worker for {FIRST_WORKER_S:g} s: start some by "
                f"'dask worker {scheduler} --nthreads 1'"
            ) from None
        _require_same_software(client, scheduler)
        yield client
    finally:
        client.close(timeout=ANSWER_S)


def _asked(question: Callable[[str], Coroutine[Any, Any, str]], address: str) -> str:
    """The answer to a question, from a thread of its own: a notebook's thread has an event loop that runs."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(question(address))).result()


async def _kind_at(address: str) -> str:
    """What a process of Dask at an address calls itself, as in "Scheduler"; raises where none answers."""
    from distributed.core import rpc
    from distributed.security import Security

    asking = rpc(address, timeout=ANSWER_S, connection_args=Security().get_connection_args("client"))
    try:
        answer = await asyncio.wait_for(asking.identity(), ANSWER_S)
        return str(answer["type"])[:40]
    finally:
        await asking.close_rpc()


def _require_same_software(client: Any, scheduler: str) -> None:
    try:
        answers = client.run(software_versions, on_error="return")
    except (OSError, TimeoutError) as error:
        raise NetworkError(f"the workers of {scheduler} do not answer: start the cluster anew") from error
    for worker, found in sorted(answers.items()):
        if isinstance(found, BaseException):
            raise NetworkError(
                f"the worker {worker} cannot load needleplan ({type(found).__name__}: {found}): install the same "
                "version there"
            )
        other = version_difference(software_versions(), found)
        if other:
            raise NetworkError(f"the worker {worker} cannot work on the study: {other}; install the same there")


@contextmanager
def _quiet() -> Iterator[None]:
    """No tracebacks of a library's log between our own sentences."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    # Those below them have levels of their own where a configuration gave them some.
    loggers += [
        each
        for name, each in list(logging.root.manager.loggerDict.items())
        if isinstance(each, logging.Logger) and name.startswith(tuple(f"{top}." for top in _LOGGERS))
    ]
    before = [(each, each.level) for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in before:
            each.setLevel(level)
