"""The command that makes a case again without a question."""

import argparse
import shlex
from pathlib import Path

from needleplan.app.new_case_command import add_new_case

#: What is no part of the case, and what is written last.
_PASSED_OVER = ("help", "ask", "dry_run", "out")


def command_line(options: argparse.Namespace) -> str:
    """The command that makes the same case without a question.

    Args:
        options: of new-case, with the answers written into them.

    Returns:
        The words as a shell takes them.
    """
    parser = argparse.ArgumentParser()
    add_new_case(parser)
    folder = str(options.segmentation)
    words = ["needleplan", "new-case", f"./{folder}" if folder.startswith("-") else folder]
    # All that the parser knows is asked for its value, so that no option can be forgotten here.
    for action in parser._actions:
        if not action.option_strings or action.dest in _PASSED_OVER:
            continue
        value = getattr(options, action.dest)
        if value != action.default:
            for each in value if isinstance(value, list) else [value]:
                words += _stated(action.option_strings[0], each)
    return shlex.join([*words, *_stated("--out", options.out)])


def _stated(option: str, value: str | float | Path) -> list[str]:
    """An option and its value; in one word where the value would be taken for an option."""
    text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]
