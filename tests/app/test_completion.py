"""The completion scripts in the shells themselves."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from needleplan.app.cli import build_parser, main
from needleplan.app.completion import Takes, described_commands
from needleplan.app.completion_names import known_names
from needleplan.app.completion_scripts import script_of

ASK_BASH = """\
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ :; }}
_needleplan
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def commands():
    return described_commands(build_parser(), known_names())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, commands) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        (folder / f"script.{shell}").write_text(script_of(shell, commands))
    (folder / "cases").mkdir()
    (folder / "cases.toml").touch()
    (folder / "with blank").mkdir()
    return folder


def in_bash(place: Path, *words: str) -> set[str]:
    quoted = " ".join("'" + word + "'" for word in ("needleplan", *words))
    text = ASK_BASH.format(script=place / "script.bash", words=quoted)
    done = subprocess.run(
        ["bash", "--norc", "-c", text], cwd=place, capture_output=True, text=True, timeout=20, check=True
    )
    assert not done.stderr
    return set(done.stdout.split("\n")) - {""}


def in_fish(place: Path, line: str) -> set[str]:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script.fish; complete -C '{line}'"],
        cwd=place, capture_output=True, text=True, timeout=20, check=True,
        env={"HOME": str(place), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert not done.stderr
    return {each.split("\t")[0] for each in done.stdout.splitlines()}


#: Words before the key, what must be offered, what must not.
ASKED = [
    (["pl"], {"plan"}, {"paths"}),
    ([""], {"plan", "zone", "completion"}, {"cases"}),
    (["plan", "--mar"], {"--margin-mm"}, {"--gate-mm"}),
    (["plan", "case.toml", "--setting", ""], {"in_vivo", "ex_vivo"}, {"cases.toml"}),
    (["plan", "--applicator", "generic-mwa-2"], {"generic-mwa-2450"}, {"generic-rfa-cooled-10"}),
    (["plan", "--preset", "liv"], {"liver"}, {"lung"}),
    (["carry", "x", "--robot", "need"], {"needle_arm7"}, {"table_guide5"}),
    (["simulate", "x", "--strategy", ""], {"tracking", "breath-hold"}, set()),
    (["plan", "--out", "ca"], {"cases"}, {"cases.toml"}),
    (["plan", "ca"], {"cases.toml"}, {"--case"}),
    (["zone", "generic-ire-19g-1"], {"generic-ire-19g-15"}, {"cases"}),
    (["completion", ""], {"bash", "zsh", "fish"}, {"cases"}),
    (["plan", "--seed", ""], set(), {"cases.toml", "in_vivo"}),
]


@pytest.mark.parametrize(("words", "wanted", "unwanted"), ASKED, ids=[" ".join(each[0]) for each in ASKED])
def test_bash_offers_what_fits(place, words, wanted, unwanted) -> None:
    offered = in_bash(place, *words)
    assert wanted <= offered
    assert not unwanted & offered


def test_bash_completes_behind_an_equals_sign_and_names_with_blanks(place) -> None:
    assert in_bash(place, "plan", "--setting", "=", "in") == {"in_vivo"}
    assert in_bash(place, "plan", "--setting", "=") == {"in_vivo", "ex_vivo"}
    assert in_bash(place, "plan", "--out", "with") == {"with blank"}


def test_bash_registers_itself(place) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {place / 'script.bash'}; complete -p needleplan"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "complete -F _needleplan needleplan"


@pytest.mark.parametrize(("words", "wanted", "unwanted"), ASKED, ids=[" ".join(each[0]) for each in ASKED])
def test_fish_offers_what_fits(place, words, wanted, unwanted) -> None:
    offered = {each.rstrip("/") for each in in_fish(place, " ".join(["needleplan", *words]))}
    assert wanted <= offered
    assert not unwanted & offered


def in_zsh(place: Path, words: list[str], patience_s: float) -> str:
    """What a zsh shows after the key: it completes on a terminal alone, so it gets one of its own."""
    text = (
        "zmodload zsh/zpty\n"
        "zpty -b shell zsh -f -i\n"
        'send() { zpty -w shell "$1" }\n'
        "send 'PS1=; autoload -Uz compinit; compinit -u -D; source ./script.zsh; setopt no_beep; LISTMAX=10000'\n"
        'send \'bindkey "^I" list-choices; bindkey "^X" kill-whole-line; print re""ady\'\n'
        "while zpty -r shell line '*ready*'; do break; done\n"
        f"sleep {patience_s}\n"
        f"zpty -n -w shell 'needleplan {' '.join(words)}'$'\\t'\n"
        f"sleep {patience_s}\n"
        "zpty -n -w shell $'\\x18'; send 'print do\"\"ne; exit'\n"
        'while zpty -r shell line; do print -r -- "$line"; [[ $line == *done* ]] && break; done\n'
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", text], cwd=place, capture_output=True, text=True, timeout=30, check=False,
        env={"HOME": str(place), "PATH": "/usr/bin:/bin", "TERM": "dumb"},
    )  # fmt: skip
    return done.stdout


#: No unwanted words where they stand in the texts that zsh shows beside the words.
ASKED_OF_ZSH = [
    (["pl"], {"plan"}, {"zone"}),
    (["plan", "--mar"], {"--margin-mm"}, {"--gate-mm"}),
    (["plan", "case.toml", "--setting", "''"], {"in_vivo", "ex_vivo"}, {"cases.toml"}),
    (["plan", "--preset", "l"], {"liver", "lung"}, {"kidney"}),
    (["plan", "--out", "''"], {"cases"}, {"cases.toml"}),
]


@pytest.mark.parametrize(
    ("words", "wanted", "unwanted"), ASKED_OF_ZSH, ids=[" ".join(each[0]) for each in ASKED_OF_ZSH]
)
def test_zsh_offers_what_fits(place, words, wanted, unwanted) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    for patience_s in (0.4, 1.5, 5.0):
        shown = in_zsh(place, words, patience_s)
        offered = {each.rstrip("/") for each in shown.replace("\r", "\n").split()}
        if wanted <= offered:
            break
    assert wanted <= offered, shown
    assert not unwanted & offered, shown


def test_every_option_of_every_command_is_in_every_script(place) -> None:
    (subcommands,) = [a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for shell, mark in (("bash", "--"), ("zsh", "--"), ("fish", "-l ")):
        script = (place / f"script.{shell}").read_text()
        for name, parser in subcommands.items():
            assert name in script
            for action in parser._actions:
                for option in action.option_strings:
                    if option.startswith("--"):
                        assert mark + option[2:] in script, (shell, name, option)


def test_values_are_of_the_kind_that_the_parser_wants(commands) -> None:
    options = {option.words[-1]: option for each in commands if each.name == "plan" for option in each.options}
    assert options["--out"].takes is Takes.FOLDER
    assert options["--robot"].takes is Takes.NAME_OR_FILE
    assert options["--setting"].takes is Takes.NAME
    assert options["--no-pictures"].takes is Takes.NOTHING
    assert options["--clearance"].repeats


def test_a_name_that_a_shell_would_run_is_refused() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--thing", choices=("good", "$(rm x)"))
    with pytest.raises(ValueError, match="cannot stand in a shell"):
        described_commands(parser, {})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_a_script_that_the_shell_reads(shell, tmp_path, capsys) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr
