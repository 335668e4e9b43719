"""Questions from which a case is made: what was found, the target, roles, entry, position, name, and where to.

Every question has a default. The answers become the options of the command, so that the same case can be made again
without a question.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.prompt import Confirm, FloatPrompt, IntPrompt
from rich.table import Table
from rich.text import Text

from needleplan.app.hints import nearest
from needleplan.app.new_case import NO_BODY
from needleplan.app.new_case_names import named, quoted, visible
from needleplan.app.new_case_prompts import answered, ask, path_of, tell
from needleplan.app.new_case_sources import LabelledClass, Segmentation
from needleplan.case.model import PatientPosition, Role
from needleplan.case.segmentator_classes import TUMOUR_NAMES, class_of, fold
from needleplan.errors import CaseError
from needleplan.grid import VoxelMask
from needleplan.io.frame import FileUnit

LEAVE_OUT = "leave out"
_TUMOUR_WORDS = ("tumor", "tumour", "lesion", "nodule", "metasta", "hcc", "cancer", "mass")
#: Roles that a class can be given; the target is asked for by itself.
_ROLES = tuple(role.value for role in Role if role is not Role.TARGET)


def ask_folder(default: Path, console: Console) -> Path:
    """The segmentation that is answered."""
    return path_of(ask(console, "Folder or file of the segmentation", default=str(default)))


def ask_unit(options: argparse.Namespace, console: Console) -> None:
    """Ask for the length unit of files that state none; writes it into the options."""
    units = [unit.value for unit in FileUnit]
    options.unit = ask(console, "In which unit are they?", choices=units, default=FileUnit.MILLIMETRE.value)


def ask_case(
    options: argparse.Namespace, found: Segmentation, is_name: Callable[[str], str], console: Console
) -> None:
    """Ask for everything that the command line leaves open; the answers are written into the options.

    Args:
        options: of the command; what they name already is not asked.
        found: the segmentation.
        is_name: says in a sentence why the case cannot be called so; "" where it can.
        console: where to ask.

    Raises:
        CaseError: the segmentation holds no class with a voxel, or nothing about which a needle could enter.
    """
    shown = [each for each in found.classes if each.mask is not None]
    if not shown:
        raise CaseError(f"{options.segmentation}: no class of the segmentation has a voxel")
    stated = {words.rpartition("=")[0] for words in options.role}
    target = options.target or _guessed_target(shown)
    console.print(_table(shown, target, console))
    if options.target is None:
        options.target = _ask_class(console, shown, "Which class is the target?", target)
        _ask_piece(options, shown, console)
    others = [each for each in shown if each.name != options.target]
    _ask_unknown(options, others, stated, console)
    _ask_changes(options, shown, console)
    _ask_entry(options, others, console)
    positions = [position.value for position in PatientPosition]
    options.position = ask(console, "How does the patient lie?", choices=positions, default=options.position)
    question = "Name of the case, never a patient's (Enter: from its content)"
    while not options.name and (name := ask(console, question, default="")):
        if reason := is_name(name):
            tell(console, reason)
        else:
            options.name = name


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
        wanted = path_of(ask(console, "New folder for the case", default=str(default)))
        if reason := is_free(wanted):
            tell(console, reason)
        else:
            options.out = wanted


def confirmed(console: Console) -> bool:
    """True where the case shall be written."""
    return bool(answered(lambda: Confirm.ask("Write this case?", console=console, default=True)))


def _table(classes: Sequence[LabelledClass], target: str, console: Console) -> Table:
    table = Table(title="What was found", title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    # On a narrow terminal names and meanings take more lines; numbers never lose a digit.
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("class", overflow="fold")
    table.add_column("volume ml" if console.width >= 60 else "ml", justify="right", no_wrap=True)
    table.add_column("becomes", overflow="fold")
    for number, each in enumerate(classes, 1):
        became = "perhaps the target" if each.name == target else _guess(each.name)
        table.add_row(str(number), Text(visible(each.name)), f"{_volume_ml(each.mask):.1f}", became)
    return table


def _guess(name: str) -> str:
    known = class_of(name)
    if known is None:
        return "[yellow]not known[/]"
    if not known.structure:
        return f"left out: {known.reason}"
    own = "" if known.structure == fold(name) else f" {known.structure},"
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


def _ask_class(
    console: Console, classes: Sequence[LabelledClass], question: str, default: str, target: str | None = None
) -> str:
    """A class by its name or its number in the table, and not the target; "" only where that is the default."""
    names = [each.name for each in classes]
    while True:
        answer = ask(console, question, default=default)
        if not answer:
            return default
        name = named(answer, names)
        if name is None and _is_number(answer, len(names)):
            name = names[int(answer) - 1]
        if name is not None and name != target:
            return name
        if name is not None:
            tell(console, f"{visible(name)} is the target and keeps that role: name another class")
            continue
        near = nearest(answer, [each for each in names if each != target])
        hint = f"; did you mean {visible(near)}?" if near else f": give a name, or a number from 1 to {len(names)}"
        tell(console, f"There is no class {quoted(answer)}{hint}")


def _is_number(answer: str, greatest: int) -> bool:
    """True for a number from 1 to the greatest; ``isdigit`` would take ² for one, which ``int`` refuses."""
    return answer.isdecimal() and len(answer) <= 6 and 1 <= int(answer) <= greatest


def _ask_piece(options: argparse.Namespace, classes: Sequence[LabelledClass], console: Console) -> None:
    from scipy.ndimage import label

    mask = next(each.mask for each in classes if each.name == options.target)
    count = 0 if mask is None else int(label(mask.inside)[1])
    if count < 2 or options.target_rank is not None:
        return
    question = f"It has {count} pieces: which one (1 is the largest, 0 takes all)"
    while not 0 <= (rank := answered(lambda: IntPrompt.ask(question, console=console, default=1))) <= count:
        tell(console, f"It must lie between 0 and {count}")
    options.target_rank = rank or None


def _ask_unknown(
    options: argparse.Namespace, classes: Sequence[LabelledClass], stated: set[str], console: Console
) -> None:
    """A role for each class whose name nobody knows."""
    for each in classes:
        if class_of(each.name) is None and each.name not in stated and each.name not in options.leave_out:
            _take_role(options, each.name, LEAVE_OUT, console)


def _ask_changes(options: argparse.Namespace, classes: Sequence[LabelledClass], console: Console) -> None:
    """New roles for classes that are named, or numbered as in the table, until none is."""
    question = "Change the role of a class? (name, or Enter to go on)"
    while name := _ask_class(console, classes, question, "", options.target):
        known = class_of(name)
        _take_role(options, name, known.role.value if known and known.structure else LEAVE_OUT, console)


def _take_role(options: argparse.Namespace, name: str, default: str, console: Console) -> None:
    question = f"What is {visible(name)} to a needle?"
    role = ask(console, question, choices=[*_ROLES, LEAVE_OUT], default=default)
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
    structures: list[str] = []
    for each in kept:
        found = known[each.name]
        name = fold(each.name) if each.name in roles or found is None else found.structure
        if name and name not in structures:
            structures.append(name)
    if not structures:
        raise CaseError(NO_BODY)
    console.print(
        "[yellow]No class is the body, so nothing says where a needle may enter.[/] A surface about a structure "
        "can stand for the skin; every plan then says so."
    )
    hosts = [found.structure for found in known.values() if found is not None and found.hosts_target]
    default = hosts[0] if hosts else structures[0] if structures else ""
    options.entry_from = [ask(console, "About which structure?", choices=structures, default=default)]
    question = "How far from it, in mm"
    while not 0 <= (grow := answered(lambda: FloatPrompt.ask(question, console=console, default=30.0))) <= 300:
        tell(console, "It must lie between 0 and 300")
    options.entry_grow_mm = grow


def _volume_ml(mask: VoxelMask | None) -> float:
    return 0.0 if mask is None else float(np.count_nonzero(mask.inside)) * mask.grid.voxel_volume_mm3 / 1000.0
