"""The folder in which workers of this machine keep their files; those that killed runs left behind are removed."""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "needleplan-study-"
#: File in such a folder that its run holds locked; no other folder has one, whatever it is called.
_LOCK = ".needleplan-workers"
#: A folder that was made less than this ago may be that of a run which has not locked it yet.
_NEW_S = 60.0


@contextmanager
def worker_scratch() -> Iterator[str]:
    """A folder for the files of workers, locked as long as it is in use and removed afterwards.

    A run that is killed leaves its folder, but not the lock, by which the next run knows it.
    """
    _remove_left(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        handle = os.open(Path(folder) / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with suppress(OSError):  # a file system without locks: nobody can lock it there to remove it either
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            os.close(handle)


def _remove_left(place: Path) -> None:
    """Remove folders of runs of this user that have ended without removing them; what cannot be removed stays."""
    with suppress(OSError):
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    # Links are not followed.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or time.time() - found.st_mtime < _NEW_S:
        return
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(handle)
