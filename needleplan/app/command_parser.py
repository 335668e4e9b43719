"""The parser of the command line, whose errors are one sentence and name what was probably meant."""

import argparse
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from needleplan.app.hints import listed_in_words, nearest

_CHOICE = re.compile(
    r"argument (?P<name>.+?): invalid choice: '(?P<value>.*)' \(choose from (?P<choices>.*)\)$", re.S
)
_TYPE = re.compile(r"argument (?P<name>.+?): invalid (?P<type>\w+) value: '(?P<value>.*)'$", re.S)
_NUMBER = re.compile(r"-\.?\d")
_TYPE_WORDS = {"float": "a number", "int": "a whole number"}


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The commands of a parser by name; none where it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


class CommandParser(argparse.ArgumentParser):
    """Parses commands; ``siblings`` are all commands, so that an option of another one is known for what it is."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.siblings: Mapping[str, argparse.ArgumentParser] = {}
        self._given: tuple[str, ...] = ()

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse, with commands that know each other; what is not known is told in one sentence."""
        self.siblings = subcommands(self)
        for command in self.siblings.values():
            if isinstance(command, CommandParser):
                command.siblings = self.siblings
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            chosen = self.siblings.get(getattr(parsed, "command", None) or "", self)
            _say(_unknown(rest[0], chosen, self.siblings))
        return parsed

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; remembers the words, which tell more of a mistake than argparse's message."""
        self._given = tuple(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with 2."""
        _say(self._sentence(message))

    def _sentence(self, message: str) -> str:
        name = self.prog.split()[-1]
        if message.startswith("the following arguments are required: "):
            # A required option that is misspelt is missing: the spelling is what must be told.
            known = _options(self)
            for word in itertools.takewhile(lambda each: each != "--", self._given):
                is_option = word.startswith("-") and len(word) > 2 and not _NUMBER.match(word)
                if is_option and word.split("=")[0] not in known:
                    return _unknown(word, self, self.siblings)
            return f"{name} needs {listed_in_words(self._missing(message))}; see '{self.prog} --help'"
        if found := _CHOICE.match(message):
            return self._wrong_choice(found["name"], found["value"], found["choices"])
        if found := _TYPE.match(message):
            must = _TYPE_WORDS.get(found["type"], f"a {found['type']}")
            return f"{found['name']} must be {must}, not {found['value']!r}"
        if found := re.match(r"argument (.+?): expected (?:one|at least one) argument$", message):
            return f"{found[1]} needs a value{self._metavar(found[1])}; see '{self.prog} --help'"
        if found := re.match(r"argument (.+?): ignored explicit argument '(.*)'$", message, re.S):
            return f"{found[1]} takes no value, but was given {found[2]!r}"
        if found := re.match(r"argument (.+?): (must .*)$", message, re.S):
            return f"{found[1]} {found[2]}"
        return message.removeprefix("argument ")

    def _wrong_choice(self, name: str, value: str, listed: str) -> str:
        if name == "COMMAND":
            if self._given and self._given[0].startswith("-") and self._given[0] != value:
                return _unknown(self._given[0], self, self.siblings)
            near = nearest(value, self.siblings, cutoff=0.5)
            if near is None and value in _options_of_all(self.siblings):
                return _unknown(value, self, self.siblings)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(self.siblings)}"
            return f"there is no command {value!r}; {hint}"
        choices = re.findall(r"'([^']*)'", listed)
        near = nearest(value, choices, cutoff=0.4)
        hint = f"; did you mean {near}?" if near else ""
        return f"{name} must be {' or '.join(choices)}, not {value!r}{hint}"

    def _missing(self, message: str) -> list[str]:
        """The required arguments as they are written."""
        names = message.partition(": ")[2].split(", ")
        return [f"{name}{self._metavar(name, ' ')}" if name.startswith("-") else name for name in names]

    def _metavar(self, name: str, before: str = ": ") -> str:
        for action in self._actions:
            if name in ("/".join(action.option_strings), *action.option_strings) and action.metavar is not None:
                return f"{before}{action.metavar}"
        return ""


def _unknown(word: str, parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """What there is to say of a word that a command does not take."""
    name = parser.prog.split()[-1]
    option = word.split("=")[0]
    is_root = parser.prog not in {command.prog for command in commands.values()}
    if not word.startswith("-"):
        near = _nearest_option(option, parser)
        hint = f"did you mean {near}?" if near else f"see '{parser.prog} --help'"
        return f"{name} takes no further argument {word!r}; {hint}"
    owners = [each for each, command in commands.items() if option in _options(command)]
    listed = listed_in_words([*owners[:6], "others"] if len(owners) > 6 else owners) if owners else ""
    if owners and is_root:
        return f"{option} belongs to {listed}: name the command first"
    near = nearest(option, _options(parser), cutoff=0.75)
    if owners and near is None:
        return f"{option} belongs to {listed}, not to {name}"
    if owners:
        return f"{option} is no option of {name} but of {listed}; did you mean {near}?"
    near = near or _nearest_option(option, parser)
    hint = f"did you mean {near}?" if near else f"see '{parser.prog} --help'"
    return f"unknown option {option}; {hint}"


def _nearest_option(word: str, parser: argparse.ArgumentParser) -> str | None:
    """The option that was probably meant; the dashes, which all have, make none of them alike."""
    bare = {option.lstrip("-"): option for option in _options(parser) if option.startswith("--")}
    near = nearest(word.lstrip("-"), bare)
    return None if near is None else bare[near]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


def _options_of_all(commands: Mapping[str, argparse.ArgumentParser]) -> set[str]:
    return {option for command in commands.values() for option in _options(command)}


def _say(sentence: str) -> NoReturn:
    print(f"needleplan: error: {sentence}", file=sys.stderr)
    # As argparse itself leaves.
    raise SystemExit(2)
