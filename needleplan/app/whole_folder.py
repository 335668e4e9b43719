"""Folders that are written whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needleplan.errors import OptionError


def require_own_folder(folder: Path, main_file: str, command: str) -> None:
    """Raises OptionError where something stands that the command did not write, so that nothing else is removed."""
    if folder.exists() and not (folder / main_file).is_file():
        raise OptionError(f"{folder} holds no {main_file}, so it was not written by {command}: move it away first")


@contextmanager
def whole_folder(folder: Path, main_file: str, command: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of the one that the command wrote before once all is there.

    Args:
        folder: where the files shall stand in the end.
        main_file: the file by which a folder is known to be the command's.
        command: its name.

    Raises:
        OptionError: what stands there was not written by the command.
    """
    require_own_folder(folder, main_file, command)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
        folder.chmod(0o755)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
