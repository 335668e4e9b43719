"""What was probably meant: the nearest known name to a wrong one. Only the standard library is imported here."""

import difflib
import os
import re
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

#: A folder of more entries is not searched for the name that was meant.
MOST_ENTRIES = 5000
_LISTED = re.compile(r"\b(?:choose one of|choose of|one of|there are|with a role of) ([^;:]+, [^;]+)")
_QUOTED = re.compile(r"'([^']+)'")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that is most like a wrong one; None where none is like it."""
    by_folded = {_folded(each): each for each in known}
    found = difflib.get_close_matches(_folded(word), list(by_folded), n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None


def listed_in_words(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def with_nearest_name(message: str) -> str:
    """An error's sentence that quotes a wrong name and lists the right ones, with the nearest of them put in front.

    Args:
        message: for instance ``no preset is named 'livr': choose one of bone, kidney, liver``.

    Returns:
        The message with a question at its end where a listed name is like the quoted one, else the message itself.
    """
    quoted, listed = _QUOTED.search(message), _LISTED.search(message)
    if quoted is None or listed is None or "did you mean" in message:
        return message
    names = [name.strip().strip("'") for name in re.split(r", (?:or )?| or | and ", listed.group(1))]
    # What is listed are roles; of ROLE=MM they are in front, of NAME=ROLE behind a name, which may hold any sign.
    first, last = re.split(r"[=@]", quoted.group(1))[0], quoted.group(1).rpartition("=")[2]
    word = last if "NAME=ROLE" in message else first
    if word in names:
        return message
    known = [name for name in names if name and " " not in name]
    near = nearest(word, known)
    meant = [near] if near else _with_part(word, known)
    return f"{message}; did you mean {_either(meant)}?" if meant else message


def with_nearest_file(message: str, options: Namespace) -> str:
    """An error's sentence about a file that is missing, with the name that was probably meant.

    Args:
        message: the sentence.
        options: the paths of the command line.

    Returns:
        The message, with a question at its end where the folder holds a name like the missing one.
    """
    try:
        return _with_nearest_file(message, options)
    except OSError:  # a name that is too long for any file
        return message


def _with_nearest_file(message: str, options: Namespace) -> str:
    if "did you mean" in message:
        return message
    for path, shown_from in _missing(message):
        # Unlike Path.exists, this is no error for a name that is too long.
        if (near := None if os.path.exists(path) else nearest_path(path)) is not None:
            return f"{message}; did you mean {near.relative_to(shown_from) if shown_from else near}?"
    for path in _paths(options):
        if str(path) not in message:
            continue
        if path.is_dir() and (path / "case.toml").is_file() and "case" in vars(options):
            return f"{message}; did you mean {path / 'case.toml'}?"
        near = None if path.exists() else nearest_path(path)
        if near is not None:
            return f"{message}; did you mean {near}?"
    return message


def nearest_path(path: Path) -> Path | None:
    """What a missing path's folder holds of the name most like it; None where nothing is like it."""
    folder = path.parent
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(MOST_ENTRIES), entries, strict=False)]
    except OSError:
        return None
    near = nearest(path.name, [name for name in names if name.isprintable()])
    return None if near is None else folder / near


def _missing(message: str) -> Iterable[tuple[Path, Path | None]]:
    """Files that a sentence says are missing, and the folder from which it counts them where it says so.

    Where a sentence names first in what it is missing, what stands before the file is tried as part of it too: the
    folder of such a path does not exist.
    """
    if found := re.match(r"(.+): there is no such file$", message, re.S):
        words = found[1].split(": ")
        for number in range(len(words)):
            yield Path(": ".join(words[number:])), None
    if found := re.search(r"there is no case at '([^']+)';.* counts from (.+)$", message, re.S):
        yield Path(found[2], found[1]), None if Path(found[1]).is_absolute() else Path(found[2])


def _with_part(word: str, known: Iterable[str]) -> list[str]:
    """The known names of which a word is a part between hyphens; none where there are more than four."""
    found = [name for name in known if _folded(word) in _folded(name).split("-")]
    return found if len(found) <= 4 else []


def _either(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _paths(options: Namespace) -> Iterable[Path]:
    for name, value in vars(options).items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Path) and name != "out":
                yield each


def _folded(word: str) -> str:
    return word.lower().replace("_", "-")
