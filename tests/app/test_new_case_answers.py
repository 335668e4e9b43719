"""Answers to the wizard's questions, one function at a time: odd numbers, wrong folders, long names, no way on."""

import argparse
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest
from rich.console import Console

from needleplan.app.cli import build_parser
from needleplan.app.new_case_again import command_line
from needleplan.app.new_case_command import _why_no_name, _why_not_new, add_new_case, run_new_case
from needleplan.app.new_case_files import require_new_folder
from needleplan.app.new_case_names import quoted, visible
from needleplan.app.new_case_reading import read_found, read_target
from needleplan.app.new_case_sources import LabelledClass, Segmentation
from needleplan.app.new_case_wizard import ask_case, ask_out
from needleplan.errors import CaseError, OptionError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.nifti import write_labels_nifti

NO_BREAK = "HCC\xa0Läsion 1"
#: In the order of a table: the fourth is the tumour.
NAMES = ("aorta", "body", "liver", "liver_tumor", "portal_vein_and_splenic_vein", "rib_left_1")

Asked = Callable[..., list[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Sets the answers, the rest get the default; returns a list that fills with the answers given."""

    def answers(*words: str) -> list[str]:
        left, given = list(words), []

        def answer(prompt: str = "") -> str:
            # An endless question is a failure and no hang.
            assert len(given) < 40, f"asked again and again after {words}"
            given.append(left.pop(0) if left else "")
            return given[-1]

        monkeypatch.setattr("builtins.input", answer)
        return given

    return answers


def screen(width: int = 160) -> Console:
    return Console(file=io.StringIO(), width=width)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_new_case(parser)
    return parser.parse_args(words)


def ball() -> VoxelMask:
    grid = Grid((12, 12, 12), np.diag([4.0, 4.0, 4.0, 1.0]))
    inside = np.linalg.norm(grid.centres_mm() - 22.0, axis=1).reshape(grid.shape) < 14
    return VoxelMask.cropped(grid, inside)


def found(names: Sequence[str] = NAMES) -> Segmentation:
    return Segmentation(tuple(LabelledClass(name, ball()) for name in names))


def asked_case(options: argparse.Namespace, names: Sequence[str] = NAMES, width: int = 160) -> str:
    console = screen(width)
    ask_case(options, found(names), _why_no_name, console)
    return shown(console)


def write_map(path: Path, unit: bool = True) -> Path:
    """A label map of one label; without a unit as nibabel writes one that nobody says more to."""
    mask = ball()
    path.parent.mkdir(parents=True, exist_ok=True)
    if unit:
        write_labels_nifti(path, mask.grid, mask.inside.astype(np.uint8))
    else:
        nibabel.save(nibabel.Nifti1Image(mask.inside.astype(np.uint8), np.diag([4.0, 4.0, 4.0, 1.0])), path)
    return path


@pytest.mark.parametrize("number", ["²", "①", "0", "7", "9" * 30])
def test_what_is_no_number_of_the_table_is_asked_again(asked, number) -> None:
    asked(number, "4", number, "")
    options = parsed("in")
    said = asked_case(options)
    assert said.count(f"There is no class '{number}': give a name, or a number from 1 to 6") == 2
    assert options.target == "liver_tumor"


def test_a_role_is_changed_by_the_number_that_the_table_shows(asked) -> None:
    asked("4", "5", "critical", "6", "no_go", "")
    options = parsed("in")
    said = asked_case(options)
    assert options.role == ["portal_vein_and_splenic_vein=critical", "rib_left_1=no_go"]
    row = next(line for line in said.splitlines() if "portal_vein_and_splenic_vein" in line)
    assert row.split()[0] == "5"


@pytest.mark.parametrize("name", ["4", "liver_tumor"])
def test_the_target_keeps_its_role(asked, name) -> None:
    asked("4", name, "")
    options = parsed("in")
    said = asked_case(options)
    assert "liver_tumor is the target and keeps that role: name another class" in said
    assert options.role == [] and options.leave_out == []


def test_the_command_holds_every_option(tmp_path) -> None:
    words = ["segmentation folder", "--target", "a tumour", "--target-rank", "2", "--inside-of", "liver",
             "--labels", "labels.json", "--unit", "cm", "--role", "thing=bowel", "--role=-dash=no_go",
             "--leave-out", "one", "--leave-out=-two", "--entry-from", "liver", "--entry-from", "colon",
             "--entry-grow-mm", "12.3456789", "--entry-shape", "hull", "--position", "prone",
             "--situs", "inversus", "--name=-x", "--patient-key", "0123456789abcdef",
             "--frame-of-reference", "1.2.3", "--out=-out"]  # fmt: skip
    parser = build_parser()
    options = parser.parse_args(["new-case", *words])
    # An option that is added to the command must be added here, and so be written.
    for name, value in vars(parsed("in")).items():
        assert name in ("ask", "dry_run", "segmentation") or getattr(options, name) != value, name
    again = parser.parse_args(shlex.split(command_line(options))[1:])
    assert vars(again) == vars(options)


def test_the_command_holds_no_default_and_a_folder_that_looks_like_an_option() -> None:
    options = parsed("in", "--target", "t", "--out", "x", "--entry-grow-mm", "30")
    assert command_line(options) == "needleplan new-case in --target t --out x"
    options.segmentation = Path("-in")
    assert build_parser().parse_args(shlex.split(command_line(options))[1:]).segmentation == Path("./-in")


def test_nothing_to_enter_about_is_told_and_not_asked(asked) -> None:
    asked("", "", "")
    with pytest.raises(CaseError, match="holds no body, so nothing says where a needle may enter"):
        asked_case(parsed("in"), ["liver_tumor"])
    asked("", "liver", "leave out", "")
    with pytest.raises(CaseError, match="holds no body"):
        asked_case(parsed("in"), ["liver", "liver_tumor"])


def test_a_tilde_is_the_home_folder(asked, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    write_map(tmp_path / "home/segmentation/liver.nii.gz")
    options = parsed()
    asked("~/segmentation")
    assert [each.name for each in read_found(options, True, screen()).classes] == ["liver"]
    asked("~/case-of-me")
    ask_out(options, _why_not_new, screen())
    assert options.out == tmp_path / "home/case-of-me"
    options.out = None
    asked("~nobody-of-that-name/case")
    ask_out(options, _why_not_new, screen())
    assert options.out == Path("~nobody-of-that-name/case")


def test_a_name_that_no_case_may_have_is_asked_again(asked) -> None:
    options = parsed("in", "--target", "liver_tumor")
    asked("", "", "x" * 81, "y" * 80)
    said = asked_case(options)
    assert "It must be 1 to 80 letters that can be printed" in said and options.name == "y" * 80


def test_a_wrong_folder_is_asked_again_and_the_nearest_one_offered(asked, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_map(tmp_path / "segmented/liver.nii.gz")
    (tmp_path / "empty").mkdir()
    console, options = screen(), parsed()
    given = asked("empty", "x" * 300, "segmentd")
    assert len(read_found(options, True, console).classes) == 1
    assert given == ["empty", "x" * 300, "segmentd", ""]
    said = " ".join(shown(console).split())
    assert "empty: the folder holds no label map" in said and "File name too long" in said
    assert "there is no such folder or file; did you mean segmented?" in said
    assert options.segmentation == Path("segmented") and options.unit is None


def test_a_unit_that_was_answered_for_one_folder_is_none_for_the_next(asked, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = ball().inside.astype(np.uint8)
    values[0, 0, 0] = 2
    (tmp_path / "wrong").mkdir()
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "wrong/map.nii.gz")
    write_map(tmp_path / "right/liver.nii.gz")
    console, options = screen(), parsed()
    given = asked("wrong", "cm", "right")
    assert len(read_found(options, True, console).classes) == 1 and len(given) == 3
    assert "no names of them" in shown(console) and options.unit is None


def test_what_the_command_line_names_is_told_and_not_asked(asked, tmp_path) -> None:
    given = asked()
    with pytest.raises(CaseError, match="no such folder"):
        read_found(parsed(str(tmp_path / "nowhere")), True, screen())
    (tmp_path / "labels.json").write_text("{}")
    # No other folder would help against a wrong file of names.
    with pytest.raises(CaseError, match=r"labels\.json"):
        read_found(parsed("--labels", str(tmp_path / "labels.json")), True, screen())
    assert given == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "liver_tumr"), "--target: there is no class 'liver_tumr'"),
        (("--role", "livr=organ"), "--role: there is no class 'livr'"),
        (("--leave-out", "livr"), "--leave-out: there is no class 'livr'"),
    ],
)
def test_wrong_options_are_told_before_the_first_question(asked, tmp_path, monkeypatch, words, said) -> None:
    for name in ("liver", "liver_tumor"):
        write_map(tmp_path / f"in/{name}.nii.gz")
    monkeypatch.setattr("needleplan.app.new_case_command._asks", lambda options, is_terminal: True)
    given = asked()
    with pytest.raises(OptionError, match=said):
        run_new_case(parsed(str(tmp_path / "in"), *words))
    assert given == []


def test_a_unit_that_no_file_states_is_asked_for(asked, tmp_path) -> None:
    source = write_map(tmp_path / "in/liver.nii.gz", unit=False).parent
    console, options = screen(), parsed(str(source))
    asked("")
    (liver,) = read_found(options, True, console).classes
    assert options.unit == "mm" and liver.mask is not None
    assert liver.mask.grid.voxel_volume_mm3 == pytest.approx(64)
    assert "the file states no length unit" in shown(console)
    options = parsed(str(source))
    given = asked("cn", "cm")
    target = read_target(options, source / "liver.nii.gz", True, screen())
    assert target.grid.voxel_volume_mm3 == pytest.approx(64_000) and given == ["cn", "cm"]
    with pytest.raises(CaseError, match="state --unit mm"):
        read_found(parsed(str(source)), False, screen())
    stated = write_map(tmp_path / "stated/liver.nii.gz").parent
    with pytest.raises(CaseError, match="the file states the unit mm but --unit cm"):
        read_found(parsed(str(stated), "--unit", "cm"), True, screen())


def test_a_file_where_the_folder_shall_stand_is_called_a_file(tmp_path) -> None:
    (tmp_path / "afile").touch()
    with pytest.raises(OptionError, match="afile is a file and no folder: name a new folder"):
        require_new_folder(tmp_path / "afile")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OptionError, match="link is a symbolic link"):
        require_new_folder(tmp_path / "link")


def test_a_folder_whose_name_is_too_long_is_asked_again(asked, tmp_path) -> None:
    console, options = screen(), parsed("in")
    asked("x" * 300, str(tmp_path / "case"))
    ask_out(options, _why_not_new, console)
    assert options.out == tmp_path / "case" and "File name too long" in shown(console)


def test_a_backslash_stays_one_and_nothing_in_a_name_is_markup(asked) -> None:
    names = ["back\\", "[red]x[/]", "liver_tumor", "body"]
    asked("", "bowel", "leave out", "nothing\\", "")
    options = parsed("in")
    said = asked_case(options, names)
    assert "What is back\\ to a needle?" in said and "There is no class 'nothing\\'" in said
    assert "back\\\\" not in said and said.count("[red]x[/]") == 2
    assert options.role == ["back\\=bowel"] and options.leave_out == ["[red]x[/]"]


def test_letters_that_look_like_others_are_shown_as_escapes(asked, tmp_path, capsys) -> None:
    assert quoted(NO_BREAK) == r"'HCC\xa0Läsion 1'"
    assert visible("La\u0308sion") == r"La\u0308sion" and visible("Läsion \x1b[2J") == r"Läsion \x1b[2J"
    assert visible("back\\") == "back\\" and visible("肝臓") == "肝臓"
    for name in (NO_BREAK, "liver", "body"):
        write_map(tmp_path / f"in/{name}.nii.gz")
    words = (str(tmp_path / "in"), "--out", str(tmp_path / "case"), "--target")
    with pytest.raises(OptionError) as refusal:
        run_new_case(parsed(*words, "HCC Läsion 1"))
    assert "no class 'HCC Läsion 1' among the 3 of the segmentation" in str(refusal.value)
    assert str(refusal.value).endswith(r"; spelt like it are HCC\xa0Läsion 1")
    for option in ("--role", "--inside-of", "--entry-from"):
        with pytest.raises(OptionError) as refusal:
            run_new_case(
                parsed(*words, "liver", "--role", f"{NO_BREAK}=bowel", "--leave-out", "body", option, "back\\")
            )
        assert "'back\\'" in str(refusal.value) and "back\\\\" not in str(refusal.value), option
    # On a terminal what looks like the only one is that one.
    asked("HCC Läsion 1")
    options = parsed("in")
    said = asked_case(options, ["liver", NO_BREAK, "liver_tumor", "body"])
    assert r"HCC\xa0Läsion 1" in said and "There is no class" not in said
    assert options.target == NO_BREAK


@pytest.mark.parametrize("width", [20, 40])
def test_on_a_narrow_terminal_the_table_of_classes_keeps_its_numbers(asked, width) -> None:
    asked()
    said = asked_case(parsed("in", "--target", "liver_tumor"), [*NAMES, "a" * 80], width=width)
    lines = said.partition("Change the role")[0].splitlines()
    volume = f"{ball().inside.sum() * 0.064:.1f}"
    assert sum(volume in line for line in lines) == len(NAMES) + 1 and "…" not in said
    assert said.count("a") >= 80 and all(len(line) <= width for line in lines)
