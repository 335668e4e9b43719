"""The commands that a client sends as STRING "Command", as words."""

import difflib
from dataclasses import dataclass

from needleplan.errors import NavigationError
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.text_bodies import Text

#: Device of the texts that are commands.
COMMAND = "Command"
#: A longer text is no command.
MAXIMUM_COMMAND = 500
#: So much of a command is repeated in its answer.
_ECHO = 120


@dataclass(frozen=True, slots=True)
class CommandKind:
    """One command.

    Attributes:
        name: its first word.
        usage: how it is written.
        least, most: number of words behind the first.
        controls: True where it changes the session, so that it is taken from one client alone.
        says: what it does.
    """

    name: str
    usage: str
    least: int
    most: int
    controls: bool
    says: str


COMMANDS = {
    kind.name: kind
    for kind in (
        CommandKind("help", "help", 0, 0, False, "all commands"),
        CommandKind("status", "status", 0, 0, False, "where the session stands"),
        CommandKind("plan", "plan", 0, 0, False, "send plan and zones again"),
        CommandKind("image", "image", 0, 0, False, "send the zones as a label map"),
        CommandKind("route", "route", 0, 0, False, "send the robot's route again"),
        CommandKind("guidance", "guidance on|off", 1, 1, False, "whether guidance is sent to this client"),
        CommandKind("assess", "assess", 0, 0, False, "what the needles that stand and the rest of the plan cover"),
        CommandKind("stop", "stop", 0, 0, False, "say stop to all, until a needle is selected again"),
        CommandKind("control", "control", 0, 0, True, "take control where nobody has it"),
        CommandKind("release", "release", 0, 0, True, "give control back"),
        CommandKind("select", "select N", 1, 1, True, "needle N of the plan is under way"),
        CommandKind("touch", "touch NAME|skin", 1, 1, True, "the tip rests on a fiducial, or strokes the skin"),
        CommandKind("untouch", "untouch", 0, 0, True, "forget all touched points"),
        CommandKind("register", "register [skin|sure]", 0, 1, True, "by touched points, or by stroked skin"),
        CommandKind("check", "check NAME", 1, 1, True, "the tip rests on a fiducial: does the registration hold?"),
        CommandKind("placed", "placed", 0, 0, True, "the needle under way was let go where it is"),
        CommandKind("withdrawn", "withdrawn N", 1, 1, True, "needle N was drawn out"),
        CommandKind(
            "delivered", "delivered N [POWER_W DURATION_S [BACK_MM]]", 1, 4, True,
            "needle N delivered what is due, or this, so far behind its tip",
        ),
        CommandKind("replan", "replan", 0, 0, True, "propose the rest anew from where the needles stand"),
        CommandKind("adopt", "adopt", 0, 0, True, "go on with the plan that was proposed"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """A command that can be.

    Attributes:
        kind: which.
        words: those behind its name.
        echo: its text, shortened, for the answer.
    """

    kind: CommandKind
    words: tuple[str, ...]
    echo: str


def is_stop(message: Message) -> bool:
    """True where a message is the command "stop", which goes before all limits."""
    body = message.body
    return isinstance(body, Text) and message.device == COMMAND and body.text.strip().lower() == "stop"


def shortened(text: str) -> str:
    """A text of a client as it may be repeated: printable and short."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:_ECHO])
    return plain if len(text) <= _ECHO else f"{plain}..."


def parse_command(text: str) -> Command:
    """The command that a text is.

    A name that a word stands for may hold blanks where it is the only word behind a command ("touch left rib").

    Raises:
        NavigationError: it is none; the sentence names the nearest one.
    """
    if len(text) > MAXIMUM_COMMAND:
        raise NavigationError(f"a command has at most {MAXIMUM_COMMAND} characters, not {len(text)}")
    name, *words = text.split() or [""]
    kind = COMMANDS.get(name.lower())
    if kind is None:
        near = difflib.get_close_matches(name.lower()[:_ECHO], COMMANDS, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        raise NavigationError(f"there is no command {shortened(name)!r}: {hint}")
    if kind.least == kind.most == 1 and len(words) > 1:
        words = [" ".join(words)]
    if not kind.least <= len(words) <= kind.most:
        raise NavigationError(f"{kind.name} has {len(words)} words behind it: write {kind.usage!r}")
    return Command(kind, tuple(words), shortened(text))
