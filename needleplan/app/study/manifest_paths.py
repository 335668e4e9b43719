"""From the files, folders and globs of a study to manifests, within bounds and never in circles."""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from needleplan.app.study.study_record import is_study_folder
from needleplan.errors import OptionError

#: The manifest that a folder stands for.
MANIFEST_NAME = "case.toml"

#: Entries of folders that all globs of a study may look at, and folders below each other that ``**`` goes down.
_MOST_ENTRIES = 500_000
_MOST_DEPTH = 32

#: Folders whose files are no files but the machine itself.
_SYSTEM = (("proc",), ("sys",), ("dev",))

#: Missing cases that a message names; more are counted.
_NAMED = 5


def find_manifests(texts: Sequence[str], base: Path, study: Path) -> list[Path]:
    """The manifests that files, folders and globs stand for, in their order; those of one glob sorted by path.

    A file is a manifest; a folder stands for its ``case.toml``. Of what a glob matches, the files that end in
    ``.toml`` and the folders that hold a ``case.toml`` are taken. ``**`` goes through all folders below, but not
    through symbolic links; names that begin with a dot are matched by patterns that do so. No glob looks into the
    folder of a study's results, whose patients would join the study when it is resumed.

    Args:
        texts: paths and globs.
        base: folder that they count from.
        study: the study file, which no glob takes for a case.

    Returns:
        Absolute paths.

    Raises:
        OptionError: a case is missing or named twice, a glob matches none, or there is too much to look at.
    """
    walk = _Walk()
    found: dict[Path, str] = {}
    missing = []
    for text in texts:
        try:
            paths = _named(base / text) if _exists(base / text) or not _is_glob(text) else walk.matches(text, base)
        except (OSError, RuntimeError, RecursionError) as error:
            reason = "it leads in circles"
            if isinstance(error, OSError):
                reason = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror}"
            raise OptionError(f"manifests: {text!r} cannot be followed ({reason})") from None
        others = [path for path in paths if path.resolve() != study.resolve()]
        if len(others) < len(paths) and (_exists(base / text) or not _is_glob(text)):
            raise OptionError(f"manifests: {text!r} is this study file itself: name the manifests of its cases")
        paths = others
        if not paths:
            missing.append(text)
        for path in paths:
            if path in found:
                raise OptionError(
                    f"manifests: the case {path} is named twice, by {found[path]!r} and {text!r}: name it once"
                )
            found[path] = text
    if missing:
        named = ", ".join(repr(text) for text in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        what = "there is no case at" if len(missing) == 1 else f"there are no cases at these {len(missing)} places:"
        raise OptionError(
            f"manifests: {what} {named}{more}; each must be a manifest, a folder with a {MANIFEST_NAME} in it, or "
            f"a glob that matches some outside the results of studies, and counts from {base}"
        )
    return list(found)


def _is_glob(text: str) -> bool:
    return any(character in text for character in "*?[")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _named(path: Path) -> list[Path]:
    """The manifest that a path without wildcards stands for, in a list; an empty one where there is none."""
    manifest = path.resolve() / MANIFEST_NAME if path.is_dir() else path
    if not manifest.is_file() or manifest.resolve().parts[1:2] in _SYSTEM:
        return []
    # The link itself stays, because sources count from the folder in which a manifest is named.
    return [manifest.parent.resolve() / manifest.name]


class _Walk:
    """Globbing with one bound for all patterns of a study."""

    def __init__(self) -> None:
        self._left = _MOST_ENTRIES

    def matches(self, text: str, base: Path) -> list[Path]:
        """Manifests that a glob matches, sorted."""
        anchor = Path(text).anchor
        parts = Path(text).parts[1:] if anchor else Path(text).parts
        found = set()
        for path in self._below(Path(anchor) if anchor else base, parts, text):
            if path.is_dir() or path.suffix == ".toml":
                found.update(_named(path))
        return sorted(found)

    def _below(self, folder: Path, parts: Sequence[str], text: str, depth: int = 0) -> Iterator[Path]:
        if is_study_folder(folder):
            return
        if not parts:
            yield folder
            return
        part, rest = parts[0], parts[1:]
        if not _is_glob(part):
            if _exists(folder / part):
                yield from self._below(folder / part, rest, text)
            return
        if part == "**":
            while rest and rest[0] == "**":
                rest = rest[1:]
            yield from self._below(folder, rest, text)
            if depth >= _MOST_DEPTH:
                raise OptionError(
                    f"manifests: {text!r} leads more than {_MOST_DEPTH} folders down: name one nearer"
                )
            for entry in self._entries(folder, text):
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield from self._below(folder / entry.name, parts, text, depth + 1)
            return
        pattern = re.compile(fnmatch.translate(part))
        for entry in self._entries(folder, text):
            hidden = entry.name.startswith(".") and not part.startswith(".")
            if pattern.match(entry.name) and not hidden:
                yield from self._below(folder / entry.name, rest, text)

    def _entries(self, folder: Path, text: str) -> list[os.DirEntry[str]]:
        if not folder.is_dir():
            return []
        entries = []
        with os.scandir(folder) as stream:
            for entry in stream:
                self._left -= 1
                if self._left < 0:
                    raise OptionError(
                        f"manifests: {text!r} has more than {_MOST_ENTRIES} entries of folders to look at: name a "
                        "folder nearer to the cases"
                    )
                entries.append(entry)
        return sorted(entries, key=lambda entry: entry.name)
