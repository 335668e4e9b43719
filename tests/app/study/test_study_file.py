"""The study file: what a sound one means, one sentence for each broken one, and no other end for any text."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_study_files import HEAD, PHANTOMS, manifest, own_antenna, own_tables, study_file

from needleplan.app.study.describe import describe_study
from needleplan.app.study.study import Effort, Outputs, Study
from needleplan.app.study.study_file import outline_study, read_study
from needleplan.errors import CaseError, NeedleplanError, OptionError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "studies").glob("*.toml"))

DEVICES = 'device = ["generic-mwa-2450", "generic-rfa-cooled-30"]\n'


def test_a_bare_study_takes_every_default(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path))
    assert [case.name for case in study.cases] == ["phantom-0", "phantom-1", "phantom-2"]
    assert len(study.cells) == 1 and study.factors == () and study.seed == 7
    assert study.effort == Effort() and study.outputs == Outputs()
    assert study.source == (tmp_path / "study.toml").read_text()


def test_tables_of_planning_and_outputs_are_taken_over(tmp_path: Path) -> None:
    body = "[planning]\naims = 9\nrefine = false\ntime_limit_s = 2\n[outputs]\nplans = false\n"
    study = read_study(study_file(tmp_path, body))
    assert study.effort == Effort(aims=9, refine=False, time_limit_s=2.0)
    assert study.outputs == Outputs(plans=False)


def test_name_outputs_and_comments_do_not_change_the_digest_but_all_else_does(tmp_path: Path) -> None:
    first = read_study(study_file(tmp_path)).digest()
    same = HEAD.replace("trial", "another") + "# a comment\n"
    assert read_study(study_file(tmp_path, "[outputs]\nreport = false", head=same)).digest() == first
    for body in ("[factors]\nmargin_mm = 6", "[planning]\naims = 21"):
        assert read_study(study_file(tmp_path, body)).digest() != first
    assert read_study(study_file(tmp_path, cases=PHANTOMS + "first_seed = 1")).digest() != first
    assert read_study(study_file(tmp_path, head=HEAD.replace("7", "8"))).digest() != first


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_sound_and_as_large_as_they_say(path: Path) -> None:
    study = read_study(path)
    said = next(
        int(word) for word in reversed(path.read_text().split("[[cases]]")[0].split()) if _plans(path, word)
    )
    assert len(study.cases) * len(study.cells) == said
    assert len(EXAMPLES) == 3


def _plans(path: Path, word: str) -> bool:
    """True for the number of plans that the comment of an example ends its sum with."""
    return f"= {word} plans" in path.read_text() or f"= {word} cells" in path.read_text()


def test_the_description_tells_own_applicators(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, own_tables(tmp_path, own_antenna())))
    assert "1 applicator of its own is known beside the built-in ones." in describe_study(study)


def test_the_description_counts(tmp_path: Path) -> None:
    body = f'[factors]\n{DEVICES}power_w = ["all", 60]\nmargin_mm = [5, 10]\nerror_budget = "robot"\n' + (
        '[[leave_out]]\ndevice = "generic-rfa-cooled-30"\npower_w = 60\n'
    )
    manifest(tmp_path / "real" / "case.toml")
    study = read_study(study_file(tmp_path, body, PHANTOMS + '[[cases]]\nmanifests = "real"\n'))
    text = " ".join(describe_study(study))
    assert "4 cases through 6 combinations of factors: 24 plans" in text
    assert "3 cases are drawn as phantoms by seeds from 0 to 2" in text and "1 case is read from files" in text
    assert "2 combinations are left out" in text and "200 errors in 6 combinations" in text
    assert "rehearsed" not in text
    alone = read_study(study_file(tmp_path, cases="[[cases]]\nphantoms = 1\nfirst_seed = 4\n"))
    assert "1 case is drawn as a phantom by seed 4." in describe_study(alone)


BROKEN = [
    ("misspelt key", "[factor]\nmargin_mm = 5", "unknown key 'factor'; did you mean 'factors'?"),
    ("misspelt factor", "[factors]\nmargin = 5", r"\[factors\]: unknown key 'margin'; did you mean 'margin_mm'?"),
    ("misspelt planning", "[planning]\naim = 5", "did you mean 'aims'"),
    ("misspelt output", "[outputs]\nplan = true", "did you mean 'plans'"),
    ("impossible aims", "[planning]\naims = 0", r"\[planning\]: aims is 0; it must be 1 or more"),
    ("NaN", "[planning]\ntime_limit_s = nan", "time_limit_s is nan"),
    ("NaN margin", "[factors]\nmargin_mm = nan", "margin_mm is nan; it must be a number from 0 to 50"),
    ("infinite power", "[factors]\npower_w = inf", "power_w is inf"),
    ("text for a number", '[planning]\naims = "9"', "aims is '9'; it must be a whole number"),
    ("unknown device", '[factors]\ndevice = "generic-mwa-245"', "did you mean 'generic-mwa-2450'?"),
    ("pulses", '[factors]\ndevice = "generic-ire-19g-15"', "gives pulses, which make no zone with one needle"),
    ("no table", '[factors]\ndevice = "generic-laser-diffuser-10"', "has no in vivo zone table"),
    ("unknown strategy", '[factors]\nstrategy = "traking"', "did you mean 'tracking'?"),
    ("unknown robot", '[factors]\nrobot = "needle_arm"', "did you mean 'needle_arm7'?"),
    ("missing robot", '[factors]\nrobot = "own.toml"', "robot is 'own.toml', which cannot be used"),
    ("unknown budget", '[factors]\nerror_budget = "freehand"', "did you mean 'freehand-ct'?"),
    ("unknown breathing", '[factors]\nstrategy = "tracking"\nbreathing = "dep"', "it must be one of quiet"),
    ("empty list", "[factors]\nmargin_mm = []", "margin_mm takes 1 to 1000 values"),
    ("nested list", "[factors]\nmargin_mm = [[5]]", r"margin_mm is \[5\]; it must be a number"),
    ("yes or no", "[factors]\nmargin_mm = true", "margin_mm is true; it must be a number"),
    ("half a probe", "[factors]\nprobes = 1.5", "probes is 1.5; it must be a whole number"),
    ("half of the own tables", '[devices]\nzones_csv = "z.csv"', r"\[devices\].*applicators_csv"),
    (
        "own tables that are not there",
        '[devices]\nzones_csv = "z.csv"\napplicators_csv = "a.csv"',
        r"\[devices\]: a.csv cannot be read",
    ),
    (
        "own tables in a folder that is not there",
        '[devices]\nzones_csv = "own/z.csv"\napplicators_csv = "own/a.csv"',
        r"\[devices\]: own/a.csv cannot be read",
    ),
    (
        "own tables of one name in two folders",
        '[devices]\nzones_csv = "zones/a.csv"\napplicators_csv = "applicators/a.csv"',
        r"\[devices\]: a.csv cannot be read: .* \(applicators/a.csv or zones/a.csv\)",
    ),
    ("unused breathing", "[breathing.deep]\npeak_mm = 30", "no combination breathes so"),
    ("same breathing", "[breathing.deep]\npeak_mm = 15", "the same as 'quiet'"),
    ("breathing far off", "[breathing.deep]\npeak_mm = 300", r"\[breathing.deep\]: peak_mm is 300"),
    (
        "too many",
        "[factors]\nmargin_mm = [" + ", ".join(str(k / 30) for k in range(1001)) + "]",
        "1 to 1000 values",
    ),
    (
        "line break in a key",
        '[breathing."a\\nb"]\npeak_mm = 3',
        r"toml: \[breathing\]: a table is called 'a\\nb'; its name must be 1 to 40",
    ),
    ("line break in a table", '[breathing."a\\nb"]\npeek_mm = 3', r"\[breathing.'a\\nb'\]: unknown key 'peek_mm'"),
    ("breathing untold", '[factors]\nstrategy = "tracking"\nbreathing = "deep"', r"such as \[breathing.deep\]"),
    ("breathing in two lines", '[factors]\nbreathing = "a\\nb"', r"such as \[breathing.NAME\]"),
    ("a list of factors", "[[factors]]\nmargin_mm = 5", r"factors is a list of tables; .* begins with \[factors\]"),
    (
        "one that is left out",
        "[leave_out]\nmargin_mm = 5",
        r"leave_out is a table; .* begins with \[\[leave_out\]\]",
    ),
    ("a number for a table", "[breathing]\ndeep = 3", r"\[breathing\]: deep is 3; it must be a table"),
    ("a date", "[planning]\naims = 1979-05-27", "aims is 1979-05-27; it must be a whole number"),
    ("no yes or no", '[outputs]\nplans = "yes"', "plans is 'yes'; it must be true or false"),
    ("the TOML's line", "[factors]\nmargin_mm = \n", "not valid TOML.*line 10"),
    ("a key twice", "[factors]\nmargin_mm = 5\nmargin_mm = 6", "not valid TOML"),
]


@pytest.mark.parametrize(("body", "message"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_each_broken_study_gives_one_sentence(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(NeedleplanError, match=message) as caught:
        read_study(study_file(tmp_path, body))
    assert str(caught.value).startswith(str(tmp_path / "study.toml")) and "\n" not in str(caught.value)


def test_a_manifest_in_place_of_a_study_is_told_so(tmp_path: Path) -> None:
    path = manifest(tmp_path / "case.toml", 'schema = "needleplan.case"\nversion = 1\nname = "x"\n')
    with pytest.raises(OptionError, match="this is the manifest of a case"):
        read_study(path)


@pytest.mark.parametrize("head", ["", 'schema = "needleplan.study"\n', HEAD.replace("version = 1", "version = 2")])
def test_schema_and_version_are_demanded(tmp_path: Path, head: str) -> None:
    with pytest.raises(OptionError, match=r"the key 'schema' is missing|'version' is missing|version is 2"):
        read_study(study_file(tmp_path, head=head))


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("version = 1", "version = 1.0", "version is 1.0; it must be 1"),
        ("version = 1", "version = true", "version is true; it must be 1"),
        ('"trial"', '""', "name is ''; it must be a text in one line that is not blank"),
        ('"trial"', '"   "', "name is '   '; it must be a text in one line that is not blank"),
        ('"trial"', '"a\\nb"', r"name is 'a\\nb'; it must be a text in one line that is not blank"),
        ('"trial"', f'"{"x" * 81}"', "it must be a text of 80 characters or fewer"),
    ],
)
def test_names_and_versions_are_exact(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    path = study_file(tmp_path, head=HEAD.replace(right, wrong))
    with pytest.raises(OptionError, match=message) as caught:
        read_study(path)
    assert "^[" not in str(caught.value) and "more)" not in str(caught.value)


def test_a_number_of_thousands_of_digits_is_told(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"study.toml: a study file holds a number of thousands of digits$"):
        read_study(study_file(tmp_path, f"[planning]\naims = {'9' * 5000}\n"))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = study_file(tmp_path)
    text = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert read_study(path).source == text.decode()


def test_an_outline_counts_what_the_study_has_without_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study_file(tmp_path, f"[factors]\n{DEVICES}", PHANTOMS + '[[cases]]\nname = "b"\nphantoms = 2\n')
    whole = read_study(path)
    monkeypatch.setattr("needleplan.app.study.case_list.draw_phantom", None)
    outline = outline_study(path)
    assert describe_study(outline) == describe_study(whole) and outline.cells == whole.cells
    assert [(case.name, case.seed) for case in outline.cases] == [(case.name, case.seed) for case in whole.cases]


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="this is a folder, not a study file: name the file in it"):
        read_study(tmp_path)
    with pytest.raises(CaseError, match="there is no such file"):
        read_study(tmp_path / "study.toml")
    path = study_file(tmp_path, "#" * 1_100_000)
    with pytest.raises(CaseError, match="more than the limit"):
        read_study(path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(CaseError, match="must be text in UTF-8"):
        read_study(path)


# ---------------------------------------------------------------------------------------------- any text

_VALUES = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(width=32).map(repr),
    st.sampled_from(
        [
            '"all"',
            '"any"',
            '"none"',
            "true",
            "[]",
            "[[]]",
            "{}",
            "{ x = 1 }",
            "1979-05-27",
            '"../*"',
            '"**"',
            '"\\u0000"',
        ]
    ),
    st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\\'"), max_size=8).map(
        lambda text: f"'{text}'"
    ),
    st.lists(st.sampled_from(["1", "5.0", "60", '"all"', '"none"', "nan"]), max_size=4).map(
        lambda items: f"[{', '.join(items)}]"
    ),
)

_GOOD = f"""{HEAD}
[[cases]]
name = "a"
phantoms = 2
first_seed = 3
[cases.population]
radius_mm = [8, 12]
shapes = {{ sphere = 1 }}
body_scale = 1.0
[factors]
{DEVICES}power_w = ["all", 60]
margin_mm = [5, 10]
probes = 3
strategy = "tracking"
breathing = ["quiet", "deep"]
error_budget = "robot"
[breathing.deep]
peak_mm = 30
[planning]
runs = 2
[outputs]
plans = true
[[leave_out]]
device = "generic-rfa-cooled-30"
power_w = 60
"""


def _read_or_refused(path: Path, text: str) -> Study | None:
    path.write_text(text, encoding="utf-8")
    try:
        return read_study(path)
    except NeedleplanError as error:
        assert "\n" not in str(error).replace(text, "")
        return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_place_of_any_other_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    lines = _GOOD.splitlines()
    at = data.draw(st.sampled_from([k for k, line in enumerate(lines) if "=" in line]))
    lines[at] = f"{lines[at].split('=')[0]}= {data.draw(_VALUES)}"
    study = _read_or_refused(tmp_path / "study.toml", "\n".join(lines))
    if study is not None:
        assert study.cases and study.cells and describe_study(study)
        assert len(set(study.cells)) == len(study.cells)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_doubled_or_garbled_text_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    lines = _GOOD.splitlines()
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(lines))] * 2)))
    garbage = data.draw(st.text(st.characters(blacklist_categories=("Cs",)), max_size=10))
    changed = data.draw(
        st.sampled_from(
            [lines[:first] + lines[last:], lines[:last] + lines[first:], [*lines[:first], garbage, *lines[first:]]]
        )
    )
    _read_or_refused(tmp_path / "study.toml", "\n".join(changed))


def test_the_text_that_is_garbled_is_sound_itself(tmp_path: Path) -> None:
    assert tomllib.loads(_GOOD)
    study = _read_or_refused(tmp_path / "study.toml", _GOOD)
    assert study is not None and len(study.cells) == 12
