"""The command that prints a completion script. Only the standard library is imported here."""

from argparse import ArgumentParser, Namespace

SHELLS = ("bash", "zsh", "fish")


def add_completion(parser: ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}")


def run_completion(options: Namespace) -> int:
    """Print the script, made from the parser of the commands and the names that come along."""
    from needleplan.app.cli import EXIT_OK, build_parser
    from needleplan.app.completion import described_commands
    from needleplan.app.completion_names import known_names
    from needleplan.app.completion_scripts import script_of

    print(script_of(options.shell, described_commands(build_parser(), known_names())), end="")
    return EXIT_OK
