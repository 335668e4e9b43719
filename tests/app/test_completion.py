"""The completion scripts in the shells themselves."""

import argparse
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from needleplan.app.cli import build_parser, main
from needleplan.app.completion import Takes, described_commands
from needleplan.app.completion_names import known_names
from needleplan.app.completion_scripts import script_of

#: What an interactive bash is told first; it writes down what is offered and, on Enter, the words that it made.
ASKED_BASH = """\
source {script}
offer() {{ _needleplan "$@"; printf '%s\\n' "${{COMPREPLY[@]}}" > {told}/offered; }}
complete -F offer needleplan
needleplan() {{ printf '%s\\n' "$@" > {told}/words; exit; }}
bind 'set completion-query-items 0'
bind 'set page-completions off'
PS1=; echo rea""dy
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
    (folder / "bre:ath.csv").touch()
    (folder / "session.jsonl").touch()
    (folder / "case=1.toml").touch()
    return folder


def asked_of_bash(place: Path, line: str, behind: str = "") -> tuple[set[str], list[str]]:
    """What an interactive bash offers for a line before the cursor, and the words that it makes of the line."""
    with tempfile.TemporaryDirectory() as told:
        ours, theirs = pty.openpty()
        shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=place, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={"HOME": str(place), "PATH": "/usr/bin:/bin", "TERM": "dumb", "HISTFILE": ""},
        )  # fmt: skip
        os.close(theirs)
        try:
            os.write(ours, ASKED_BASH.format(script=place / "script.bash", told=told).encode())
            shown = b""
            while b"ready" not in shown:
                assert select.select([ours], [], [], 20.0)[0], shown
                shown += os.read(ours, 65536)
            os.write(ours, f"needleplan {line}{behind}".encode() + b"\x02" * len(behind) + b"\t\n")
            while shell.poll() is None:
                assert select.select([ours], [], [], 20.0)[0], shown
                try:
                    shown += os.read(ours, 65536)
                except OSError:
                    break
            shell.wait(20.0)
        finally:
            shell.kill()
            shell.wait()
            os.close(ours)
        offered, words = (Path(told, name).read_text().splitlines() for name in ("offered", "words"))
    assert "error" not in shown.decode(), shown
    return set(offered) - {""}, words


def in_bash(place: Path, *words: str) -> set[str]:
    return asked_of_bash(place, " ".join(words))[0]


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
    (["confirm", "--tumour", ""], {"cases.toml"}, {"HCC", "liver"}),
    (["plan", "--tumour", "HC"], {"HCC"}, {"cases.toml"}),
    (["view", "x", "--compare", "ca"], {"cases"}, {"cases.toml"}),
    (["view", "x", "--out", "ca"], {"cases"}, {"cases.toml"}),
    (["replay", "ca"], {"cases"}, {"cases.toml"}),
    (["replay", "x", "se"], {"session.jsonl"}, set()),
    (["replay", "--data", "x", "x", "se"], {"session.jsonl"}, set()),
    (["replay", "--data=x", "x", "se"], {"session.jsonl"}, set()),
    (["replay", "x", "session.jsonl", ""], set(), {"cases", "cases.toml"}),
    (["robots", "cases.toml", ""], {"cases.toml", "needle_arm7"}, set()),
    (["plan", "--", ""], {"cases.toml"}, {"--out", "-h"}),
    (["plan", "--", "-"], set(), {"--out", "-h"}),
    (["new-case", "x", "--role", "liver="], set(), {"cases", "cases.toml", "liver=cases.toml"}),
    (["report", "plan", "--"], {"--data"}, {"--out", "--margin-mm"}),
    (["report", "--data", "plan", "--"], {"--help"}, {"--out", "--margin-mm"}),
    (["assess", "demo", "--"], {"--data"}, {"--seed"}),
]


@pytest.mark.parametrize(("words", "wanted", "unwanted"), ASKED, ids=[" ".join(each[0]) for each in ASKED])
def test_bash_offers_what_fits(place, words, wanted, unwanted) -> None:
    offered = in_bash(place, *words)
    assert wanted <= offered
    assert not unwanted & offered


def test_bash_completes_behind_an_equals_sign_and_names_with_blanks(place) -> None:
    assert in_bash(place, "plan", "--setting=in") == {"in_vivo"}
    assert in_bash(place, "plan", "--setting=") == {"in_vivo", "ex_vivo"}
    assert in_bash(place, "plan", "--out", "with") == {"with blank"}
    assert in_bash(place, "plan", "--clearance", "vessel=") == set()
    for typed in ("--out with", "--out=with", "--out 'with b", '--out "with', r"--out with\ b"):
        assert " ".join(asked_of_bash(place, f"plan {typed}")[1]).replace("=", " ") == "plan --out with blank/"


@pytest.mark.parametrize(
    "typed", ["--trace bre", "--trace bre:", "--trace bre:a", "--trace=bre:a", "--trace 'bre:a"]
)
def test_bash_finds_files_whose_names_hold_a_colon(place, typed) -> None:
    words = " ".join(asked_of_bash(place, f"simulate x {typed}")[1]).replace("=", " ")
    assert words == "simulate x --trace bre:ath.csv"


def test_bash_completes_before_the_cursor_in_the_middle_of_a_word(place) -> None:
    assert in_bash(place, "plan", "--ap") == {"--applicator", "--applicators-csv"}
    offered, words = asked_of_bash(place, "plan --app", "lor")
    assert offered == {"--applicator", "--applicators-csv"}
    assert words == ["plan", "--applicatorlor"]


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
    (["plan", "--applicator=generic-mwa"], {"generic-mwa-2450", "generic-mwa-915"}, {"cases.toml"}),
    (["plan", "--", "''"], {"cases.toml"}, {"--out", "--help"}),
    (["plan", "--", "ca"], {"cases.toml", "case=1.toml"}, {"--out"}),
    (["replay", "x", "''"], {"session.jsonl"}, set()),
    (["view", "x", "--compare", "''"], {"cases"}, {"cases.toml"}),
    (["view", "x", "--out", "''"], {"cases"}, {"cases.toml"}),
    (["confirm", "--tumour", "''"], {"cases.toml"}, {"HCC"}),
    (["report", "plan", "--"], {"--data"}, {"--margin-mm"}),
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


@pytest.fixture
def home(place, tmp_path) -> Path:
    """The home of somebody who never used these shells; needleplan prints the scripts."""
    (tmp_path / "programs").mkdir()
    program = tmp_path / "programs" / "needleplan"
    program.write_text(f'#!/bin/sh\ncat "{place}/script.$2"\n')
    program.chmod(0o755)
    return tmp_path


def run_in(shell: list[str], text: str, home: Path) -> str:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    environment = {"HOME": str(home), "PATH": f"{home / 'programs'}:/usr/bin:/bin", "TERM": "dumb"}
    done = subprocess.run(
        [*shell, "-c", text], cwd=home, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout


def told(shell: str) -> str:
    """What the first hour says to type for a shell."""
    text = (Path(__file__).parents[2] / "docs" / "first-hour.md").read_text(encoding="utf-8")
    (block,) = [
        each for each in re.findall(r"^```\n(.*?)^```", text, re.S | re.M) if f"completion {shell} >" in each
    ]
    return str(block)


def test_the_first_hour_sets_completion_up_in_bash_with_and_without_its_package(home, place) -> None:
    run_in(["bash", "--norc"], told("bash"), home)
    kept = home / ".local" / "share" / "bash-completion" / "completions" / "needleplan"
    assert kept.read_text() == (place / "script.bash").read_text()
    text = (Path(__file__).parents[2] / "docs" / "first-hour.md").read_text(encoding="utf-8")
    (without,) = re.findall(r"`(source <.*?)`", text)
    assert "package `bash-completion`" in text and without in kept.read_text()
    assert "-F _needleplan" in run_in(["bash", "--norc"], f"{without}; complete -p needleplan", home)


def test_the_first_hour_sets_completion_up_in_zsh(home) -> None:
    assert run_in(["zsh", "-f"], f"{told('zsh')}print $_comps[needleplan]", home) == "_needleplan\n"


def test_the_first_hour_sets_completion_up_in_fish(home) -> None:
    run_in(["fish"], told("fish"), home)
    assert run_in(["fish"], "complete -C 'needleplan reh'", home).startswith("rehearse\t")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_says_the_lines_of_the_first_hour(place, shell) -> None:
    head = (place / f"script.{shell}").read_text()[:800]
    assert all(f"#     {line}\n" in head for line in told(shell).splitlines())
