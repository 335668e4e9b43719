"""The commands as a completion needs them: options, what each takes, and what stands without an option."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Takes(Enum):
    """What the value of an option or argument is."""

    NOTHING = "nothing"
    NAME = "name"
    FILE = "file"
    NAME_OR_FILE = "name or file"
    FOLDER = "folder"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class DescribedOption:
    """An option, or an argument without one.

    Attributes:
        words: as it is written; empty for an argument without an option.
        text: what it is, in one line.
        takes: what its value is.
        names: values that are known, in their order.
        repeats: it may be given more than once.
    """

    words: tuple[str, ...]
    text: str
    takes: Takes
    names: tuple[str, ...] = ()
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class DescribedCommand:
    """A command, or the program itself where the name is "".

    Attributes:
        name: the command's.
        text: what it does.
        options: its options.
        arguments: what stands without an option, in order.
    """

    name: str
    text: str
    options: tuple[DescribedOption, ...]
    arguments: tuple[DescribedOption, ...]


#: Names that may stand in a script of any shell without a quote.
_PLAIN = re.compile(r"[A-Za-z0-9_.+\-]+")


def described_commands(
    parser: argparse.ArgumentParser, names: Mapping[str, tuple[str, ...]]
) -> tuple[DescribedCommand, ...]:
    """The program and its commands.

    Args:
        parser: the parser of all commands.
        names: values by the destination of the option that takes them, beside the parser's own choices; an option
            whose metavar begins with FILE takes none of them.

    Raises:
        ValueError: a name holds what a shell would read as more than a word.
    """
    commands = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {each.dest: each.help or "" for each in action._choices_actions}
            commands = [_described(name, texts[name], inner, names) for name, inner in action.choices.items()]
    return (_described("", parser.description or "", parser, names), *commands)


def _described(
    command: str, text: str, parser: argparse.ArgumentParser, names: Mapping[str, tuple[str, ...]]
) -> DescribedCommand:
    options: list[DescribedOption] = []
    arguments: list[DescribedOption] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        found = _option(action, names)
        (options if found.words else arguments).append(found)
    return DescribedCommand(command, text, tuple(options), tuple(arguments))


def _option(action: argparse.Action, names: Mapping[str, tuple[str, ...]]) -> DescribedOption:
    text = " ".join((action.help or "").split())
    many = isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+")
    if action.nargs == 0:
        return DescribedOption(tuple(action.option_strings), text, Takes.NOTHING)
    # Of two commands, one may take a file where the other takes a name.
    of_files = str(action.metavar or "").startswith("FILE")
    known = tuple(map(str, action.choices)) if action.choices else () if of_files else names.get(action.dest, ())
    for name in known:
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"{action.dest}: the name {name!r} cannot stand in a shell's script")
    return DescribedOption(tuple(action.option_strings), text, _takes(action, known), known, many)


def _takes(action: argparse.Action, known: tuple[str, ...]) -> Takes:
    metavar = str(action.metavar or "")
    if known:
        return Takes.NAME_OR_FILE if "FILE" in metavar else Takes.NAME
    if metavar in ("DIR", "DIR2", "FOLDER", "OUT", "SERIES"):
        return Takes.FOLDER
    if "FILE" in metavar or metavar in ("CASE", "LOG", "STUDY"):
        return Takes.FILE
    return Takes.ANYTHING
