"""Reading what a new case is made from, and asking again for a folder that is wrong or a unit that is missing."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from needleplan.app.hints import nearest_path
from needleplan.app.new_case_prompts import tell
from needleplan.app.new_case_sources import (
    ProgressCallback,
    Segmentation,
    UnstatedUnitError,
    read_segmentation,
    read_single_mask,
)
from needleplan.app.new_case_wizard import ask_folder, ask_unit
from needleplan.app.progress import progress_bar
from needleplan.errors import CaseError
from needleplan.grid import VoxelMask
from needleplan.io.frame import FileUnit
from needleplan.io.label_tables import json_label_names

Read = TypeVar("Read")


def read_found(options: argparse.Namespace, asks: bool, console: Console) -> Segmentation:
    """Read the segmentation.

    Args:
        options: of the command; ``segmentation`` and ``unit`` are written where they are asked for.
        asks: True where a person is asked for what is open.
        console: where to ask.

    Raises:
        CaseError: what the command line names cannot be read.
        OSError: the same.
    """

    def read(unit: FileUnit | None, progress: ProgressCallback) -> Segmentation:
        return read_segmentation(options.segmentation, options.labels, unit, options.leave_out, progress)

    if options.segmentation is not None or not asks:
        return _with_unit(options, asks, console, "reading the segmentation", read)
    if options.labels is not None:
        # Another folder would not help against a wrong file of names.
        json_label_names(options.labels)
    stated, default = options.unit, Path(".")
    while True:
        options.segmentation = tried = ask_folder(default, console)
        try:
            return _with_unit(options, asks, console, "reading the segmentation", read)
        except CaseError as error:
            sentence = str(error)
        except OSError as error:
            sentence = f"{error.filename or tried}: {error.strerror or error}"
        near = None if _exists(tried) else nearest_path(tried)
        tell(console, f"{sentence}; did you mean {near}?" if near else sentence)
        default, options.unit = near or Path("."), stated


def read_target(options: argparse.Namespace, file: Path, asks: bool, console: Console) -> VoxelMask:
    """Read the target from a label map of its own; the arguments are those of ``read_found``.

    Raises:
        CaseError: the file is no label map, or it holds none or several labels.
    """
    return _with_unit(
        options, asks, console, "reading the target", lambda unit, progress: read_single_mask(file, unit)
    )


def _with_unit(
    options: argparse.Namespace,
    asks: bool,
    console: Console,
    title: str,
    read: Callable[[FileUnit | None, ProgressCallback], Read],
) -> Read:
    """What is read; where a file states no length unit, a person is asked for it and all is read again."""
    while True:
        unit = None if options.unit is None else FileUnit(options.unit)
        try:
            with progress_bar(console, title) as progress:
                return read(unit, progress)
        except UnstatedUnitError as error:
            if not asks or unit is not None:
                raise
            tell(console, str(error), "yellow")
        ask_unit(options, console)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
