"""Names of classes as they are shown: no letter passes for another one, or for an order to the terminal."""

import unicodedata
from collections.abc import Iterable


def visible(name: str) -> str:
    """A name with escapes for the letters that cannot be told from others by looking, as of a no-break space."""
    odd = not unicodedata.is_normalized("NFC", name)
    return "".join(
        letter if letter.isprintable() and not (odd and unicodedata.combining(letter)) else _escape(letter)
        for letter in name
    )


def quoted(name: str) -> str:
    """The visible name in quotes; a backslash of its own stays one."""
    return f"'{visible(name)}'"


def named(answer: str, names: Iterable[str]) -> str | None:
    """The name that was typed, or the only one that looks like what was typed; None where there is none."""
    known = list(names)
    if answer in known:
        return answer
    alike = [name for name in known if _plain(name) == _plain(answer)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
