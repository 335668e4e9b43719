"""The reason of a row: one line of plain letters that tells no folder, alike wherever files lie."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from needleplan.app.study.study import Cell, StudyCase

#: What stands where an error had nothing to say.
NO_REASON = "no reason is told"

#: Folders that are not those of a case or robot: up to the quote that ends a path, or to the next space.
_QUOTED_FOLDERS = re.compile(r"(?<=['\"])/(?:[^'\"/]+/)+")
_BARE_FOLDERS = re.compile(r"(?<![\w.…])(?<!:/)/(?:[^\s'\"/:;,()]+/)+")


def plain_reason(text: str, case: "StudyCase", cell: "Cell") -> str:
    """A reason as it may stand in a table that is handed on.

    Folders may be called after a patient or a user. Files of the case count from the folder of its manifest or its
    data folder, those of a robot from the folder of its TOML; of other files the name alone stays.

    Args:
        text: the reason.
        case: of the row.
        cell: of the row.
    """
    told = _one_line(text)
    # The longest first, as one folder may lie in another.
    for folder, words in sorted(_folders(case, cell), key=lambda each: -len(each[0])):
        told = re.sub(rf"(?<![\w.]){re.escape(folder)}/(?=[^\s/])", "", told)
        if folder.startswith("/"):
            told = re.sub(rf"(?<![\w.]){re.escape(folder)}(?![\w.-])/?", words, told)
    return _BARE_FOLDERS.sub("…/", _QUOTED_FOLDERS.sub("…/", told))


def is_plain(text: str) -> bool:
    """True for one line without control characters, of which nothing is lost where it is printed."""
    return text.isprintable()


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _folders(case: "StudyCase", cell: "Cell") -> Iterator[tuple[str, str]]:
    """Folders whose files a reason may name, as messages write them, and what each is called."""
    named = [(case.data, "the data folder")]
    if case.manifest is not None:
        named.append((case.manifest.parent, "the case's folder"))
    if cell.robot is not None and cell.robot.endswith(".toml"):
        named.append((Path(cell.robot).parent, "the robot's folder"))
    for folder, words in named:
        if folder is None:
            continue
        for text in {str(folder), str(folder.absolute()), str(folder.resolve())}:
            for written in {text, repr(text)[1:-1]}:
                if written not in (".", "/"):
                    yield _one_line(written), words
