"""Writing the log of a live session, so that whatever was answered is kept."""

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

from needleplan import __version__
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.plan_file import plan_hash
from needleplan.io.value_json import to_json
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.session_log import (
    CLOSED,
    HASH_MARK,
    HEADER,
    MAXIMUM_LINE_BYTES,
    RESUMED,
    SCHEMA,
    VERSION,
    RecordedLog,
    line_hash,
)


class SessionLog:
    """A log that is written; lines are only ever added.

    Args:
        path: the file.
        handle: its open descriptor, which belongs to the log from now on.
        number: of the next line.
        last_hash: hash of the line before.
        sync_s: within this time every line is on the disk; more than 0 and at most 60 s.
    """

    def __init__(self, path: Path, handle: int, number: int, last_hash: str, sync_s: float) -> None:
        self.path = path
        self._handle: int | None = handle
        self._number, self._last_hash = number, last_hash
        self._lock = threading.Lock()
        self._unsynced = False
        self._ended = threading.Event()
        self._failure: OSError | None = None
        self._syncer = threading.Thread(target=self._sync_always, args=(sync_s,), daemon=True)
        self._syncer.start()

    @classmethod
    def create(cls, path: Path, session: LiveSession, sync_s: float = 0.25) -> "SessionLog":
        """Begin a log; a file that exists is never written over, and none is left that could not be begun.

        Raises:
            NavigationError: there is such a file, or it cannot be made.
        """
        _require_sync(sync_s)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NavigationError(f"{path.name}: its folder cannot be made ({error.strerror})") from error
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as error:
            raise NavigationError(
                f"{path.name}: there is such a log already: resume it, or name another"
            ) from error
        except OSError as error:
            raise NavigationError(f"{path.name}: the log cannot be made ({error.strerror})") from error
        _own(handle, path)
        log = cls(path, handle, 0, "", sync_s)
        try:
            log.write(HEADER, header_of(session), at_once=True)
            _sync_folder(path.parent)
        except (NeedleplanError, OSError) as error:
            path.unlink(missing_ok=True)
            log._end()
            raise NavigationError(f"{path.name}: the log cannot be begun ({error})") from error
        return log

    @classmethod
    def reopen(cls, recorded: RecordedLog, handle: int, sync_s: float = 0.25) -> "SessionLog":
        """Go on with a log behind its last whole line; a torn one is cut off, and said so in the next.

        Args:
            recorded: the log, read after it was locked.
            handle: what ``locked_log`` gave; it belongs to the log from now on, and is closed where that fails.
            sync_s: within this time every line is on the disk.

        Raises:
            NavigationError: the file is not the one that was read, or cannot be written.
        """
        try:
            _require_sync(sync_s)
            _require_unchanged(handle, recorded)
            os.ftruncate(handle, recorded.whole_bytes)
        except NavigationError:
            os.close(handle)
            raise
        except OSError as error:
            os.close(handle)
            raise NavigationError(f"{recorded.path.name}: the log cannot be resumed ({error.strerror})") from error
        log = cls(recorded.path, handle, recorded.lines, recorded.last_hash, sync_s)
        try:
            log.write(RESUMED, {"version": __version__, "note": recorded.torn or ""}, at_once=True)
        except NavigationError:
            log._end()
            raise
        return log

    def write(self, kind: str, value: Any, at_once: bool = False) -> None:
        """Add a line; when this returns, it survives the end of the process.

        Args:
            kind: one of the kinds.
            value: plain values.
            at_once: True waits until it is on the disk.

        Raises:
            NavigationError: it is too long, and nothing is changed; or it cannot be written: then nothing more is
                recorded, and the session must end.
        """
        with self._lock:
            if self._handle is None or self._failure is not None:
                raise NavigationError(
                    f"{self.path.name}: the log is closed or failed: nothing is recorded any more"
                )
            text = json.dumps({"n": self._number, kind: value}, separators=(",", ":"), allow_nan=False)[
                :-1
            ].encode()
            told = line_hash(self._last_hash, text)
            line = text + HASH_MARK + told.encode() + b'"}\n'
            if len(line) > MAXIMUM_LINE_BYTES:
                raise NavigationError(
                    f"{self.path.name}: a line of {len(line)} bytes cannot be recorded, where {MAXIMUM_LINE_BYTES} "
                    "are allowed: nothing of it was taken"
                )
            try:
                if os.write(self._handle, line) != len(line):
                    raise OSError("the disk is full")
                if at_once:
                    os.fdatasync(self._handle)
            except OSError as error:
                self._failure = error
                raise NavigationError(f"{self.path.name}: the session cannot be recorded ({error})") from error
            self._unsynced = not at_once
            self._last_hash = told
            self._number += 1

    def close(self) -> None:
        """Say that the session has ended, and close the file; twice is harmless."""
        if self._handle is None:
            return
        try:
            if self._failure is None:
                self.write(CLOSED, True, at_once=True)
        finally:
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._syncer.join()
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
            self._handle = None

    def _sync_always(self, sync_s: float) -> None:
        while not self._ended.wait(sync_s):
            if self._unsynced and self._handle is not None:
                self._unsynced = False
                try:
                    os.fdatasync(self._handle)
                except OSError as error:
                    self._failure = error


def locked_log(path: Path) -> int:
    """Descriptor of a log that exists, which no other process writes as long as it is open.

    Raises:
        NavigationError: there is none, or another session is writing it.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise NavigationError(f"{path.name}: the log cannot be opened ({error.strerror})") from error
    _own(handle, path)
    return handle


def header_of(session: LiveSession) -> dict[str, Any]:
    """What a log says of its session: enough to know another patient, plan or way of computing."""
    body = session.body
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "needleplan": __version__,
        "case_hash": session.case_hash,
        "plan_hash": plan_hash(session.plan),
        "options": to_json(session.options),
        "predictor": repr(session.predictor),
        "body": None if body is None else {"low": to_json(body.low), "high": to_json(body.high)},
    }


def require_same(header: dict[str, Any], session: LiveSession, name: str) -> None:
    """Raises NavigationError where a log was not recorded by such a session."""
    own = header_of(session)
    words = {
        "case_hash": "another patient or other structures",
        "plan_hash": "another plan",
        "options": "other limits",
        "predictor": "another prediction of the breathing",
        "body": "another motion of the body",
    }
    for key, what in words.items():
        if header[key] != own[key]:
            raise NavigationError(f"{name}: the log was recorded with {what}: open it with what it was made with")


def _own(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise NavigationError(f"{path.name}: another session is writing this log") from error


def _require_sync(sync_s: float) -> None:
    if not 0.0 < sync_s <= 60.0:
        raise NavigationError(f"a log must be on the disk within more than 0 and at most 60 s, not {sync_s}")


def _require_unchanged(handle: int, recorded: RecordedLog) -> None:
    own = os.fstat(handle)
    if own.st_size != recorded.size_bytes or not os.path.samestat(own, recorded.path.stat()):
        raise NavigationError(f"{recorded.path.name}: the log was changed while it was read: resume it again")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
