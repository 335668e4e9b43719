"""Slips on the command line: each gets one sentence with what was probably meant, and exit code 2."""

from argparse import Namespace
from pathlib import Path

import pytest

from needleplan.app.cli import build_parser, main
from needleplan.app.command_parser import CommandParser
from needleplan.app.hints import listed_in_words, nearest, nearest_path, with_nearest_file, with_nearest_name


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient")
    assert main(["phantom", "--out", str(folder), "--voxel-mm", "5"]) == 0
    (folder / "planned").mkdir()
    case = (folder / "case.toml").read_text()
    (folder / "wrong_source.toml").write_text(case.replace("labels.nii.gz", "label.nii.gz"))
    for name, manifest in (("study", "planned/../case.tml"), ("study_of_root", f"{folder}/case.tml")):
        (folder / f"{name}.toml").write_text(
            'schema = "needleplan.study"\nversion = 1\nname = "a"\n'
            f'[[cases]]\nmanifests = ["{manifest}"]\n[factors]\nmargin_mm = [5]\n'
        )
    return folder


PLAN = "plan {folder}/case.toml --out {out}"
#: The words of a command, what its sentence must say, and what it must not.
SLIPS = [
    ("palns", ("'palns'", "did you mean plan?")),
    ("simualte x", ("did you mean simulate?",)),
    ("rehears x", ("did you mean rehearse?",)),
    ("newcase x", ("did you mean new-case?",)),
    ("new_case x", ("did you mean new-case?",)),
    ("Check x", ("did you mean check?",)),
    ("device", ("did you mean devices?",)),
    ("qqqqqq", ("there are demo, new-case",)),
    ("--margin-mm 5 plan", ("--margin-mm belongs to", "plan", "name the command first")),
    ("--verson", ("did you mean --version?",)),
    ("plan", ("plan needs CASE and --out DIR", "plan --help")),
    ("plan {folder}/case.toml", ("plan needs --out DIR",)),
    ("plan {folder}/case.toml --otu x", ("unknown option --otu", "did you mean --out?")),
    ("simulate", ("simulate needs DIR",)),
    ("phantom", ("phantom needs --out DIR",)),
    ("confirm --tumour x --out y", ("confirm needs --zone FILE[:NAME]",)),
    (f"{PLAN} --margn-mm 5", ("did you mean --margin-mm?",)),
    (f"{PLAN} --margin_mm 5", ("did you mean --margin-mm?",)),
    (f"{PLAN} --margin-mm=five", ("--margin-mm must be a number, not 'five'",)),
    (f"{PLAN} --aims many", ("--aims must be a whole number, not 'many'",)),
    (f"{PLAN} --seed -1", ("--seed must be a whole number of zero or more",)),
    (f"{PLAN} --gate-mm 4", ("--gate-mm belongs to simulate and rehearse, not to plan",)),
    (f"{PLAN} --film", ("--film belongs to zone, not to plan",)),
    (f"{PLAN} extra", ("plan takes no further argument 'extra'",)),
    (f"{PLAN} setting", ("did you mean --setting?",)),
    (f"{PLAN} --no-pictures=yes", ("--no-pictures takes no value, but was given 'yes'",)),
    (f"{PLAN} --setting", ("--setting needs a value",)),
    (f"{PLAN} --setting invivo", ("in_vivo or ex_vivo", "did you mean in_vivo?")),
    (f"{PLAN} --setting moon", ("--setting must be in_vivo or ex_vivo, not 'moon'",)),
    (f"{PLAN} --preset livr", ("did you mean liver?",)),
    (f"{PLAN} --robot needle_arm", ("did you mean needle_arm7?",)),
    (f"{PLAN} --applicator generic-mwa-2540", ("did you mean generic-mwa-2450?",)),
    (f"{PLAN} --tumour CRML", ("did you mean CRLM?",)),
    (f"{PLAN} --error-budget navigted", ("did you mean navigated?",)),
    (f"{PLAN} --clearance vesel=3", ("did you mean vessel?",)),
    (f"{PLAN} --levels insertion", ("did you mean insertions?",)),
    ("zone generic-mva-2450", ("did you mean generic-mwa-2450?",)),
    ("zone generic-mwa-2450 --tissue livr", ("did you mean liver?",)),
    ("zone generic-mwa-2450 --vessel accros --vessel-diameter-mm 4", ("did you mean across?",)),
    ("plan {folder}/cse.toml --out {out}", ("no such file", "did you mean {folder}/case.toml?")),
    ("check {folder}", ("did you mean {folder}/case.toml?",)),
    ("simulate {folder}/planed", ("did you mean {folder}/planned?",)),
    ("completion csh", ("bash or zsh or fish",)),
    ("new-case {folder}", ("new-case needs --target NAME|FILE and --out DIR", "on a terminal")),
    ("new-case {folder} --target liver --out {out} --ask", ("--ask needs a terminal",)),
    ("robots neddle_arm7", ("did you mean needle_arm7?",)),
    ("robots {folder}/caes.toml", ("did you mean {folder}/case.toml?",)),
    ("--out x1 plan {folder}/case.toml", ("--out belongs to demo,", " and others: name the command first")),
    ("check {folder}/case.toml --out x", ("--out belongs to demo,", " and others, not to check")),
    ("plan {folder}/case.toml -out {out}", ("unknown option -out; did you mean --out?",)),
    ("plan {folder}/case.toml -5", ("plan needs --out DIR",)),
    (f"{PLAN} --applicator bipolar", ("did you mean generic-rfa-bipolar-30?",)),
    (f"{PLAN} --applicator mwa", ("did you mean generic-mwa-2450, ", " or generic-mwa-915?")),
    ("check {folder}/wrong_source.toml", ("{folder}/label.nii.gz", "did you mean {folder}/labels.nii.gz?")),
    ("study {folder}/study.toml --dry-run", ("'planned/../case.tml'", "did you mean planned/../case.toml?")),
    ("study {folder}/study_of_root.toml --dry-run", ("'{folder}/case.tml'", "did you mean {folder}/case.toml?")),
    ("new-case {folder}/classes --target tumour --out {out} --role colon=bowl", ("did you mean bowel?",)),
]


@pytest.mark.parametrize(("words", "wanted"), SLIPS, ids=[words for words, _ in SLIPS])
def test_a_slip_gets_one_sentence_that_names_what_was_meant(words, wanted, phantom, tmp_path, capsys) -> None:
    places = {"folder": str(phantom), "out": str(tmp_path / "out")}
    try:
        code = main(words.format(**places).split())
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1 and error.startswith("needleplan: error: "), error
    for each in wanted:
        assert each.format(**places) in error, error
    assert error.count("did you mean") <= 1


@pytest.mark.parametrize(
    "words",
    [
        "report {folder} --outt x",
        "report {folder} --qqqq",
        "check {folder} --robots x",
        "check {folder}/case.toml extra",
        "plan x --out y --gpu",
    ],
)
def test_an_option_that_is_like_none_gets_no_guess(words, phantom, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.format(folder=phantom).split())
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "did you mean" not in error and error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--applicator WRONG", "no applicator is named 'WRONG'"),
        ("--applicator icerod-1.5-recalled", "has no zones for the setting 'in_vivo'"),
        ("--preset WRONG", "no preset is named 'WRONG'"),
        ("--robot WRONG", "no robot is named 'WRONG'"),
    ],
)
def test_wrong_names_are_told_before_the_case_is_read_or_a_folder_is_made(words, wanted, tmp_path, capsys) -> None:
    assert main(f"plan {tmp_path}/absent.toml --out {tmp_path}/out {words}".split()) == 2
    error = capsys.readouterr().err
    assert wanted in error and "absent" not in error, error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "message",
    [
        "no preset is named 'xyzzy': choose one of bone, kidney, liver",
        "the needle 3 is not 'placed'",
        "no preset is named 'liver': choose one of bone, kidney, liver",
        "--margin-mm must lie between 0 and 50, not 70",
        "",
    ],
)
def test_nothing_is_guessed_where_nothing_is_like_it(message) -> None:
    assert with_nearest_name(message) == message


def test_of_a_structure_and_its_role_the_role_is_looked_up(phantom, tmp_path, capsys) -> None:
    assert main(f"new-case {phantom} --target x --out {tmp_path}/out --role vessel=vesel".split()) == 2
    error = capsys.readouterr().err
    assert "did you mean vessel?" in error
    assert "target," not in error


def test_robots_are_listed_by_name_too(capsys) -> None:
    assert main(["robots", "needle_arm7"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("needle_arm7: ") and "table_guide5" not in listed


def test_nearest_minds_no_capitals_and_no_underscores() -> None:
    assert nearest("Needle-Arm7", ["table_guide5", "needle_arm7"]) == "needle_arm7"
    assert nearest("spleen", ["needle_arm7"]) is None
    assert nearest("", []) is None


def test_a_missing_path_is_looked_for_in_its_own_folder_alone(tmp_path) -> None:
    (tmp_path / "case.toml").touch()
    assert nearest_path(tmp_path / "caes.toml") == tmp_path / "case.toml"
    assert nearest_path(tmp_path / "nothing") is None
    assert nearest_path(tmp_path / "absent" / "case.toml") is None


def test_a_sentence_about_a_thing_with_a_long_name_is_no_error(tmp_path) -> None:
    (tmp_path / "labels.nii.gz").touch()
    missing = f"structure '{'ä' * 200}': {tmp_path}/label.nii.gz: there is no such file"
    assert with_nearest_file(missing, Namespace()) == f"{missing}; did you mean {tmp_path}/labels.nii.gz?"
    assert with_nearest_file(f"{'x' * 400}: there is no such file", Namespace()).endswith("no such file")
    long = Path("y" * 400)
    assert with_nearest_file(f"{long}: File name too long", Namespace(case=long)).endswith("too long")


def test_lists_read_as_words() -> None:
    assert [listed_in_words(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]


def test_an_option_of_many_commands_that_is_like_one_of_this_command(capsys) -> None:
    parser = CommandParser(prog="needleplan")
    commands = parser.add_subparsers(dest="command", parser_class=CommandParser)
    for name in "abcdefg":
        commands.add_parser(name, allow_abbrev=False).add_argument("--gate-mm")
    commands.add_parser("last", allow_abbrev=False).add_argument("--gates-mm")
    with pytest.raises(SystemExit):
        parser.parse_args(["last", "--gate-mm", "3"])
    told = "--gate-mm is no option of last but of a, b, c, d, e, f and others; did you mean --gates-mm?"
    assert told in capsys.readouterr().err


def test_every_command_knows_the_others() -> None:
    parser = build_parser()
    with pytest.raises(SystemExit):
        parser.parse_args(["palns"])
    assert {"plan", "simulate", "zone"} <= set(parser.siblings)  # type: ignore[attr-defined]
