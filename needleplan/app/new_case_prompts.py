"""One question on a terminal: what is printed stands as it is, and the end of the input stops as Ctrl-C does."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.prompt import Prompt
from rich.text import Text

from needleplan.app.hints import nearest
from needleplan.app.new_case_names import quoted

Answer = TypeVar("Answer")


def tell(console: Console, sentence: str, style: str = "red") -> None:
    """Print a sentence as it stands: nothing in it is markup."""
    console.print(Text(sentence, style=style))


def path_of(answer: str) -> Path:
    """A path as a shell would take it, whose ``~`` is the home folder."""
    try:
        return Path(answer).expanduser()
    except RuntimeError:
        # Nobody of that name has one.
        return Path(answer)


def ask(console: Console, question: str, default: str, choices: list[str] | None = None) -> str:
    """One answer; a wrong one is told with the nearest right one and asked again."""
    shown = Text(f"{question} [{', '.join(choices)}]" if choices else question, style="prompt")
    while True:
        given = answered(lambda: Prompt.ask(shown, console=console, default=default, show_default=bool(default)))
        # A default is taken as it stands, as a name may begin with a space that nobody sees.
        answer = given if given == default else given.strip() or default
        if choices is None or answer in choices:
            return answer
        near = nearest(answer, choices)
        tell(console, f"There is no {quoted(answer)}{f'; did you mean {near}?' if near else ''}")


def answered(question: Callable[[], Answer]) -> Answer:
    """An answer; the end of the input stops as Ctrl-C does."""
    try:
        return question()
    except EOFError:
        raise KeyboardInterrupt from None
