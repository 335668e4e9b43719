"""Room for a worker's files: where there is none, that is no property of the case that is computed."""

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from needleplan.errors import PlanFileError

#: Disk or quota full, too many files open, a disk that fails.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO)


class WorkerFileError(PlanFileError):
    """A worker cannot keep or read files; it ends the study rather than to stand in its rows as a failed case."""


def worker_name() -> str:
    """Machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def room_told() -> Iterator[None]:
    """Turns what comes of a machine without room into a WorkerFileError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise WorkerFileError(
            f"the worker {worker_name()} cannot keep its files in {error.filename or tempfile.gettempdir()} "
            f"({error.strerror}): make room there"
        ) from None
