"""Questions from which a case is made: what was found, the target, roles, entry, position, name, and where to.

Every question has a default. The answers become the options of the command, so that the same case can be made again
without a question.
"""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm, FloatPrompt, IntPrompt, Prompt
from rich.table import Table

from needleplan.app.hints import nearest
from needleplan.app.new_case_sources import LabelledClass, Segmentation
from needleplan.case.model import PatientPosition, Role
from needleplan.case.segmentator_classes import TUMOUR_NAMES, class_of, fold
from needleplan.errors import CaseError
from needleplan.grid import VoxelMask

Answer = TypeVar("Answer")

LEAVE_OUT = "leave out"
_TUMOUR_WORDS = ("tumor", "tumour", "lesion", "nodule", "metasta", "hcc", "cancer", "mass")
#: Roles that a class can be given; the target is asked for by itself.
_ROLES = tuple(role.value for role in Role if role is not Role.TARGET)


def ask_folder(options: argparse.Namespace, console: Console) -> None:
    """Ask for the segmentation where the command line names none; writes it into the options."""
    if options.segmentation is None:
        options.segmentation = Path(_ask(console, "Folder or file of the segmentation", default="."))


def ask_case(options: argparse.Namespace, found: Segmentation, console: Console) -> None:
    """Ask for everything that the command line leaves open; the answers are written into the options.

    Args:
        options: of the command; what they name already is not asked.
        found: the segmentation.
        console: where to ask.

    Raises:
        CaseError: the segmentation holds no class with a voxel.
    """
    shown = [each for each in found.classes if each.mask is not None]
    if not shown:
        raise CaseError(f"{options.segmentation}: no class of the segmentation has a voxel")
    stated = {words.rpartition("=")[0] for words in options.role}
    target = options.target or _guessed_target(shown)
    console.print(_table(shown, target))
    if options.target is None:
        options.target = _ask_class(console, shown, "Which class is the target?", target)
        _ask_piece(options, shown, console)
    others = [each for each in shown if each.name != options.target]
    _ask_unknown(options, others, stated, console)
    _ask_changes(options, others, console)
    _ask_entry(options, others, console)
    positions = [position.value for position in PatientPosition]
    options.position = _ask(console, "How does the patient lie?", choices=positions, default=options.position)
    if not options.name:
        options.name = _ask(console, "Name of the case, never a patient's (Enter: from its content)", default="")


def ask_out(options: argparse.Namespace, is_free: Callable[[Path], str], console: Console) -> None:
    """Ask where to write, until a folder is named that can be made.

    Args:
        options: ``out`` is written.
        is_free: says in a sentence why a folder cannot be taken; "" where it can.
        console: where to ask.
    """
    default = next(
        path for path in (Path("case"), *(Path(f"case-{k}") for k in range(2, 1000))) if not path.exists()
    )
    while options.out is None:
        wanted = Path(_ask(console, "New folder for the case", default=str(default)))
        if reason := is_free(wanted):
            console.print(f"[red]{escape(reason)}[/]")
        else:
            options.out = wanted


def confirmed(console: Console) -> bool:
    """True where the case shall be written."""
    return bool(_answered(lambda: Confirm.ask("Write this case?", console=console, default=True)))


def command_line(options: argparse.Namespace) -> str:
    """The command that makes the same case without a question."""
    words = ["needleplan", "new-case", str(options.segmentation), "--target", options.target]
    if options.target_rank is not None:
        words += ["--target-rank", str(options.target_rank)]
    for name, values in (
        ("--role", options.role),
        ("--leave-out", options.leave_out),
        ("--entry-from", options.entry_from),
    ):
        words += [word for value in values for word in (name, value)]
    if options.entry_from:
        words += ["--entry-grow-mm", f"{options.entry_grow_mm:g}"]
    if options.position != PatientPosition.SUPINE.value:
        words += ["--position", options.position]
    for name, value in (("--name", options.name), ("--labels", options.labels), ("--unit", options.unit)):
        words += [name, str(value)] if value else []
    return shlex.join([*words, "--out", str(options.out)])


def _table(classes: Sequence[LabelledClass], target: str) -> Table:
    table = Table(title="What was found", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("class")
    table.add_column("volume ml", justify="right")
    table.add_column("becomes")
    for number, each in enumerate(classes, 1):
        became = "perhaps the target" if each.name == target else _guess(each.name)
        table.add_row(str(number), escape(each.name), f"{_volume_ml(each.mask):.1f}", became)
    return table


def _guess(name: str) -> str:
    known = class_of(name)
    if known is None:
        return "[yellow]not known[/]"
    if not known.structure:
        return f"left out: {escape(known.reason)}"
    own = "" if known.structure == fold(name) else f" {escape(known.structure)},"
    organ = ", or the target's organ" if known.hosts_target else ""
    return f"{own} {known.role.value}{organ}".strip()


def _guessed_target(classes: Sequence[LabelledClass]) -> str:
    """The class that is called like a tumour; the smallest where none is."""
    for each in classes:
        if fold(each.name) in TUMOUR_NAMES:
            return each.name
    for each in classes:
        if any(word in fold(each.name) for word in _TUMOUR_WORDS):
            return each.name
    return min(classes, key=lambda each: _volume_ml(each.mask)).name


def _ask_class(console: Console, classes: Sequence[LabelledClass], question: str, default: str) -> str:
    """A class by its name or its number in the table; "" only where that is the default."""
    names = [each.name for each in classes]
    while True:
        answer = _ask(console, question, default=default).strip()
        if answer in names or not answer:
            return answer or default
        if answer.isdigit() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        near = nearest(answer, names)
        hint = f"; did you mean {near}?" if near else f": give a name, or a number from 1 to {len(names)}"
        console.print(f"[red]There is no class {escape(repr(answer))}{escape(hint)}[/]")


def _ask_piece(options: argparse.Namespace, classes: Sequence[LabelledClass], console: Console) -> None:
    from scipy.ndimage import label

    mask = next(each.mask for each in classes if each.name == options.target)
    count = 0 if mask is None else int(label(mask.inside)[1])
    if count < 2 or options.target_rank is not None:
        return
    question = f"It has {count} pieces: which one (1 is the largest, 0 takes all)"
    while not 0 <= (rank := _answered(lambda: IntPrompt.ask(question, console=console, default=1))) <= count:
        console.print(f"[red]It must lie between 0 and {count}[/]")
    options.target_rank = rank or None


def _ask_unknown(
    options: argparse.Namespace, classes: Sequence[LabelledClass], stated: set[str], console: Console
) -> None:
    """A role for each class whose name nobody knows."""
    for each in classes:
        if class_of(each.name) is None and each.name not in stated and each.name not in options.leave_out:
            _take_role(options, each.name, LEAVE_OUT, console)


def _ask_changes(options: argparse.Namespace, classes: Sequence[LabelledClass], console: Console) -> None:
    while name := _ask_class(console, classes, "Change the role of a class? (name, or Enter to go on)", ""):
        known = class_of(name)
        _take_role(options, name, known.role.value if known and known.structure else LEAVE_OUT, console)


def _take_role(options: argparse.Namespace, name: str, default: str, console: Console) -> None:
    question = f"What is {escape(name)} to a needle?"
    role = _ask(console, question, choices=[*_ROLES, LEAVE_OUT], default=default)
    options.role = [words for words in options.role if words.rpartition("=")[0] != name]
    options.leave_out = [other for other in options.leave_out if other != name]
    if role == LEAVE_OUT:
        options.leave_out.append(name)
    else:
        options.role.append(f"{name}={role}")


def _ask_entry(options: argparse.Namespace, classes: Sequence[LabelledClass], console: Console) -> None:
    """A substitute for the skin where nothing is one."""
    roles = dict(words.rpartition("=")[::2] for words in options.role)
    kept = [each for each in classes if each.name not in options.leave_out]
    known = {each.name: class_of(each.name) for each in kept}
    meant = {
        each.name: roles.get(each.name) or (found.role.value if (found := known[each.name]) else "")
        for each in kept
    }
    if Role.SKIN.value in meant.values() or options.entry_from:
        return
    console.print(
        "[yellow]No class is the body, so nothing says where a needle may enter.[/] A surface about a structure "
        "can stand for the skin; every plan then says so."
    )
    structures = []
    for each in kept:
        found = known[each.name]
        name = fold(each.name) if each.name in roles or found is None else found.structure
        if name and name not in structures:
            structures.append(name)
    hosts = [found.structure for found in known.values() if found is not None and found.hosts_target]
    default = hosts[0] if hosts else structures[0] if structures else ""
    options.entry_from = [_ask(console, "About which structure?", choices=structures, default=default)]
    question = "How far from it, in mm"
    while not 0 <= (grow := _answered(lambda: FloatPrompt.ask(question, console=console, default=30.0))) <= 300:
        console.print("[red]It must lie between 0 and 300[/]")
    options.entry_grow_mm = grow


def _volume_ml(mask: VoxelMask | None) -> float:
    return 0.0 if mask is None else float(np.count_nonzero(mask.inside)) * mask.grid.voxel_volume_mm3 / 1000.0


def _ask(console: Console, question: str, default: str, choices: list[str] | None = None) -> str:
    """One answer; a wrong one is told with the nearest right one and asked again."""
    shown = f"{question} \\[{escape('/'.join(choices))}]" if choices else question
    while True:
        answer = _answered(
            lambda: Prompt.ask(shown, console=console, default=default, show_default=bool(default))
        ).strip()
        if choices is None or answer in choices:
            return str(answer)
        near = nearest(answer, choices)
        console.print(f"[red]There is no {escape(repr(answer))}{f'; did you mean {near}?' if near else ''}[/]")


def _answered(ask: Callable[[], Answer]) -> Answer:
    """An answer; the end of the input stops as Ctrl-C does."""
    try:
        return ask()
    except EOFError:
        raise KeyboardInterrupt from None
