"""The wizard on a terminal of its own: scripted answers, wrong ones among them, and Ctrl-C."""

import os
import pty
import select
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_segmentations import masks, write_folder

from needleplan.app.cli import main
from needleplan.case.load import load_case
from needleplan.case.model import Role

CTRL_C, CTRL_D = "\x03", "\x04"
#: A few classes, so that this is quick.
FEW = ("liver", "liver_tumor", "aorta", "colon", "body_trunc", "rib_left_7")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = masks()
    return write_folder(tmp_path_factory.mktemp("segmentation"), {name: where[name] for name in FEW})


def on_terminal(words: Sequence[str], answers: Sequence[str], where: Path) -> tuple[int, str]:
    """Exit code and what is shown; each prompt gets the next answer, the rest get the default."""
    child, terminal = pty.fork()
    if child == 0:
        # Who starts the tests in the background may have it ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(where)
        os.environ.update(TERM="dumb", COLUMNS="160", HOME=str(where))
        command = [sys.executable, "-m", "needleplan", "new-case", *words]
        os.execv(sys.executable, command)
    shown, left, answer = b"", list(answers), ""
    end_s = time.monotonic() + 100
    while time.monotonic() < end_s:
        if not select.select([terminal], [], [], 2.0)[0]:
            # A signal that comes just before Python begins to read is seen after that only: people press again.
            if answer in (CTRL_C, CTRL_D):
                os.write(terminal, answer.encode())
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        shown += read
        if shown.endswith(b": ") and not shown.endswith(b"\n: "):
            answer = left.pop(0) if left else ""
            os.write(terminal, answer.encode() if answer in (CTRL_C, CTRL_D) else answer.encode() + b"\n")
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_every_default_makes_a_case_that_passes_its_checks(folder, tmp_path) -> None:
    code, shown = on_terminal([str(folder)], [], tmp_path)
    assert code == 0, shown
    case = load_case(tmp_path / "case" / "case.toml")
    roles = {structure.name: structure.role for structure in case.structures}
    # The largest piece is the default.
    assert roles["liver_tumor"] is Role.TARGET and roles["liver_tumor_others"] is Role.NO_GO
    assert roles["liver"] is Role.ORGAN and roles["body"] is Role.SKIN and roles["colon"] is Role.BOWEL
    for words in ("What was found", "perhaps the target", "[[structures]]", "ready to plan"):
        assert words in shown
    again = shown.split("The same without questions:")[1].split("\n")[1].strip()
    words = shlex.split(again)[1:]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main(words) == 0
    assert load_case(tmp_path / "again" / "case.toml").content_hash == case.content_hash


def test_answers_change_what_was_guessed(folder, tmp_path) -> None:
    answers = ["2", "0", "colno", "colon", "critcal", "critical", "", "prone", "patient-7", "mine"]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    # The classes stand in the order of their names: the fifth is the tumour.
    answers[0] = "5"
    answers.insert(-1, "taken")
    code, shown = on_terminal([str(folder)], answers, tmp_path)
    assert code == 0, shown
    assert "did you mean colon?" in shown and "did you mean critical?" in shown
    assert "taken is there and not empty" in shown
    case = load_case(tmp_path / "mine" / "case.toml")
    assert case.name == "patient-7" and case.position.value == "prone"
    roles = {structure.name: structure.role for structure in case.structures}
    assert roles["colon"] is Role.CRITICAL and "liver_tumor_others" not in roles


def test_slips_at_any_question_cost_no_answer_and_the_command_makes_the_same_case(folder, tmp_path) -> None:
    # A wrong folder, then the offered one; no number, then the target; no number, the target itself, a long name.
    (tmp_path / "segmentation").symlink_to(folder)
    answers = ["segmentatoin", "", "²", "5", "1", "²", "5", "3", "critical", "", "", "x" * 81, "mine", "~/case"]
    words = ["--patient-key", "0123456789abcdef", "--frame-of-reference", "1.2.3", "--inside-of", "liver"]
    code, shown = on_terminal(words, answers, tmp_path)
    assert code == 0, shown
    for said in (
        "did you mean segmentation?",
        "There is no class '²'",
        "liver_tumor is the target",
        "1 to 80 letters",
    ):
        assert said in shown
    made = tmp_path / "case/case.toml"
    assert load_case(made).name == "mine" and 'patient_key = "0123456789abcdef"' in made.read_text()
    again = shlex.split(shown.split("The same without questions:")[1].split("\n")[1])[1:]
    again[again.index("--out") + 1] = str(tmp_path / "again")
    again[again.index("segmentation")] = str(folder)
    assert main(again) == 0
    assert (tmp_path / "again/case.toml").read_text() == made.read_text()


def test_what_is_missing_or_unknown_is_asked_for(tmp_path) -> None:
    where = masks()
    chosen = {name: where[name] for name in ("liver", "liver_tumor")} | {"thing": where["spleen"]}
    source = write_folder(tmp_path / "segmentation", chosen)
    # Whole target, the unknown class, no change, about which structure, how far.
    answers = ["", "0", "bowel", "", "", "500", "40"]
    code, shown = on_terminal([str(source), "--out", "case"], answers, tmp_path)
    assert code == 0, shown
    assert "No class is the body" in shown and "must lie between 0 and 300" in shown
    case = load_case(tmp_path / "case" / "case.toml")
    assert case.entry_substitute is not None and case.entry_substitute.grow_mm == 40
    assert case.entry_substitute.structures == ("liver",)
    assert {s.name: s.role for s in case.structures}["thing"] is Role.BOWEL


@pytest.mark.parametrize(("key", "question"), [(CTRL_C, 0), (CTRL_D, 2), (CTRL_C, 6)])
def test_stopping_at_any_question_leaves_nothing_behind(folder, tmp_path, key, question) -> None:
    code, shown = on_terminal([str(folder)], [""] * question + [key], tmp_path)
    assert code == 130, shown
    assert "needleplan: stopped" in shown and "Traceback" not in shown
    assert not list(tmp_path.iterdir())


def test_no_at_the_end_writes_nothing(folder, tmp_path) -> None:
    code, shown = on_terminal([str(folder)], ["", "", "", "", "", "", "n"], tmp_path)
    assert code == 0 and "nothing was written" in shown
    assert not list(tmp_path.iterdir())


def test_a_full_command_on_a_terminal_asks_nothing(folder, tmp_path) -> None:
    words = [str(folder), "--target", "liver_tumor", "--out", "case"]
    code, shown = on_terminal(words, [CTRL_C], tmp_path)
    assert code == 0 and "Which class" not in shown
    code, shown = on_terminal([*words[:-1], "other", "--ask"], [], tmp_path)
    assert code == 0 and "How does the patient lie?" in shown


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["{folder}"], "new-case needs --target NAME|FILE and --out DIR: on a terminal it asks for what is open"),
        (["{folder}", "--target", "liver_tumor"], "new-case needs --out DIR"),
        ([], "new-case needs FOLDER|FILE, --target NAME|FILE and --out DIR"),
        (["{folder}", "--target", "liver_tumor", "--out", "x", "--ask"], "--ask needs a terminal"),
    ],
)
def test_without_a_terminal_one_sentence_says_what_is_needed(words, wanted, folder, capsys) -> None:
    assert main(["new-case", *(word.format(folder=folder) for word in words)]) == 2
    error = capsys.readouterr().err
    assert wanted in error and error.count("\n") == 1
