"""Folders that are written whole or not at all, and that replace nothing but what the same command wrote."""

import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needleplan.errors import NeedleplanError, OptionError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import MAXIMUM_BYTES, write_json
from needleplan.io.value_json import parse_strict

#: What a folder is called while it is written, and while it makes room for the new one: hidden, beside it.
_UNFINISHED, _REPLACED = "unfinished", "replaced"


def require_own_folder(folder: Path, main_file: str, command: str) -> None:
    """Raise where the command may not put a folder, so that nothing but what it wrote itself is ever removed.

    An empty folder may be replaced. Called before the work, and again by ``whole_folder`` after it.

    Args:
        folder: where the files shall stand.
        main_file: JSON file by which a folder is known to be the command's; its ``files`` name all others.
        command: its name.

    Raises:
        OptionError: a file, a symbolic link, or a folder that holds what the command did not write stands there, or
            no folder can be made there.
    """
    if folder.is_symlink():
        raise OptionError(f"{folder} is a symbolic link: name the folder that it leads to")
    if not folder.exists():
        parent = next(each for each in folder.absolute().parents if each.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise OptionError(f"no folder {folder} can be made: {parent} is a file or must not be written into")
        return
    if not folder.is_dir():
        raise OptionError(f"{folder} is a file and no folder: move it away first")
    if not any(folder.iterdir()):
        return
    if not (folder / main_file).is_file():
        raise OptionError(f"{folder} holds no {main_file}, so it was not written by {command}: move it away first")
    own = _listed(folder / main_file) | {main_file}
    foreign = sorted(name for name in _files(folder) if name not in own)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise OptionError(
            f"{folder} holds {foreign[0]}{more}, which {main_file} does not name, so it was not written by "
            f"{command}: move it away first, or name another folder"
        )


@contextmanager
def whole_folder(folder: Path, main_file: str, command: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of the one that the command wrote before once all is there.

    The earlier one is set aside first and removed last, so that at every moment one of the two is there whole.
    What an earlier run left when it was killed is removed, or put back where it was the only one left.

    Args:
        folder: where the files shall stand in the end.
        main_file: the file by which a folder is known to be the command's. The names of all files of the folder are
            written into it as ``files`` where it is JSON.
        command: its name.

    Raises:
        OptionError: what stands there was not written by the command.
    """
    folder = Path(os.path.abspath(folder))
    _clear_stale(folder)
    require_own_folder(folder, main_file, command)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished, lock = _locked_folder(folder)
    replaced = unfinished.with_name(unfinished.name.replace(f".{_UNFINISHED}-", f".{_REPLACED}-"))
    try:
        yield unfinished
        if main_file.endswith(".json"):
            _list_files(unfinished, main_file)
        # Somebody may have put something there since.
        require_own_folder(folder, main_file, command)
        _take_place(unfinished, folder, replaced)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        # Closing is not enough: worker processes may hold copies.
        _unlock(lock)


def _take_place(unfinished: Path, folder: Path, replaced: Path) -> None:
    """Rename the new folder to the name of the old one, which is set aside before and removed after."""
    old = None
    if folder.exists():
        # Locked, so that no other run takes it for one that was left behind.
        old = _lock(folder, wait=True)
        folder.rename(replaced)
    try:
        unfinished.rename(folder)
    except OSError:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise
    finally:
        _unlock(old)
    shutil.rmtree(replaced, ignore_errors=True)


def _files(folder: Path) -> set[str]:
    """Names of all but folders, relative to the folder, with links as files; empty folders end in a slash."""
    found = set()
    for path, folders, files in os.walk(folder):
        here = Path(path)
        links = [name for name in folders if (here / name).is_symlink()]
        found |= {(here / name).relative_to(folder).as_posix() for name in (*files, *links)}
        if here != folder and not folders and not files:
            found.add(f"{here.relative_to(folder).as_posix()}/")
    return found


def _listed(main: Path) -> set[str]:
    """The files that a main file names; none where it names none, as those of before did not."""
    try:
        content = parse_strict(read_whole(main, MAXIMUM_BYTES).decode("utf-8", errors="replace"), main.name)
    except NeedleplanError:
        return set()
    files = content.get("files") if isinstance(content, dict) else None
    return {name for name in files if isinstance(name, str)} if isinstance(files, list) else set()


def _list_files(folder: Path, main_file: str) -> None:
    main = folder / main_file
    content = json.loads(main.read_text(encoding="utf-8"))
    write_json(main, content | {"files": sorted(_files(folder) - {main_file})})


def _locked_folder(folder: Path) -> tuple[Path, int | None]:
    """A new hidden folder beside ``folder`` and a lock on it that ends with this process."""
    while True:
        made = folder.with_name(f".{folder.name}.{_UNFINISHED}-{secrets.token_hex(6)}")
        # By mkdir and not by tempfile, so that the rights are those that the user's umask allows.
        made.mkdir()
        lock = _lock(made, wait=True)
        # Another run may have taken it for a stale one before it was locked.
        if made.exists():
            return made, lock
        _unlock(lock)


def _lock(folder: Path, wait: bool) -> int | None:
    """A lock on a folder; None where somebody else holds it or the file system has none."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _clear_stale(folder: Path) -> None:
    """Remove what killed runs left beside ``folder``; what none can lock is left, as it may still be written."""
    if not folder.parent.is_dir():
        return
    for kind in (_REPLACED, _UNFINISHED):
        start = f".{folder.name}.{kind}-"
        for stale in sorted(path for path in folder.parent.iterdir() if path.name.startswith(start)):
            if stale.is_symlink() or not stale.is_dir():
                continue
            lock = _lock(stale, wait=False)
            if lock is None:
                continue
            if kind == _REPLACED and not folder.exists():
                stale.rename(folder)
                said = f"{folder.name} was put back as it was before a run that was stopped"
            else:
                shutil.rmtree(stale, ignore_errors=True)
                said = f"removed {stale.name}, which a run that was stopped had left"
            _unlock(lock)
            print(f"needleplan: note: {said}", file=sys.stderr)
