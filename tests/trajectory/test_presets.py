"""Presets: every number has a source, every mistake is told, and what they ask for can be asked of a case."""

import pytest
from made_cases import ball, box
from made_straight_paths import APPLICATOR, body

from needleplan.case.model import Role, Structure
from needleplan.errors import OptionError
from needleplan.trajectory.limit_ranges import SOFT_LIMITS
from needleplan.trajectory.preset import builtin_presets, load_preset, parse_preset, read_preset
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen

GOOD = """
schema = "needleplan.preset"
version = 1
name = "mine"
summary = "For a test."

[limits.vessel_mm]
value = 4
hard = true
source = "assumption: a test"

[limits.skin_angle_deg]
value = 50.0
hard = false
source = "assumption: a test"

[limits.approach_side]
value = "left"
source = "assumption: a test"

[limits.host_entries]
value = 2
hard = false
source = "assumption: a test"
"""


def test_the_six_presets_are_there():
    assert builtin_presets() == ("bone", "kidney", "liver", "lung", "pancreas", "prostate")
    assert len({load_preset(name) for name in builtin_presets()}) == 6


@pytest.mark.parametrize("name", builtin_presets())
def test_every_number_of_a_preset_says_where_it_comes_from(name):
    preset = read_preset(name)
    assert preset.name == name and preset.summary and preset.entries
    for entry in preset.entries:
        # An assumption that says so, or a publication that can be looked up.
        assert any(mark in entry.source for mark in ("assumption", "doi ", "PMC", ".com"))
    # A needle through a vessel, bowel or lung is never a matter of cost.
    clearances = ("vessel_mm", "airway_mm", "bone_mm", "lung_mm", "bowel_mm", "critical_mm")
    assert not set(preset.limits.soft_names) & set(clearances)


@pytest.mark.parametrize("name", builtin_presets())
def test_a_preset_can_be_asked_of_a_case_and_leaves_paths(name):
    if name == "bone":
        host = Structure("vertebra", Role.BONE, ball((0, 0, 0), 30, 3))
    else:
        host = Structure("organ", Role.ORGAN, ball((0, 0, 0), 30, 3))
    others = (
        Structure("vessel", Role.VESSEL, ball((25, -45, 10), 6, 2)),
        Structure("bowel", Role.BOWEL, ball((-40, -40, -20), 12, 2)),
    )
    queries = body(host, *others)
    constraints = default_constraints(queries, load_preset(name))
    table = screen(sample_trajectories(queries, APPLICATOR, SamplingOptions(16.0, 4)), queries, constraints)
    assert 0 < table.feasible.sum() < len(table)
    assert {column.hard for column in table.constraints} == {True, False} or name == "prostate"


def test_a_text_becomes_the_limits_it_says():
    preset = parse_preset(GOOD, "mine.toml")
    assert preset.limits == PathLimits(
        vessel_mm=4.0,
        skin_angle_deg=50.0,
        approach_side="left",
        host_entries=2,
        soft="skin_angle_deg, host_entries",
    )
    assert next(entry.limit for entry in preset.entries) == "vessel_mm"


def test_a_users_own_file_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_preset(path) == load_preset(str(path)) == parse_preset(GOOD, "mine.toml").limits


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ("[limits.vessel_mm]", "[limits.vesel_mm]", r"'vesel_mm' is unknown.*vessel_mm"),
        ("value = 4", "valeu = 4", r"\[limits.vessel_mm\]: the key 'valeu' is unknown.*value, hard, source"),
        ("value = 4", "", r"\[limits.vessel_mm\]: 'value' is missing"),
        ("value = 4", 'value = "4"', "finite number"),
        ("value = 4", "value = true", "finite number"),
        ("value = 4", "value = nan", "finite number"),
        ("value = 4", "value = -inf", "finite number"),
        ("value = 4", "value = 1" + "0" * 400, "too large"),
        ("value = 4", "value = 1" + "0" * 5000, "mine.toml"),
        ("value = 4", "value = -1", r"mine.toml: the clearance to vessel must be between 0 and 50"),
        ("value = 4", "value = 4\nvalue = 5", "not valid TOML"),
        ("hard = true", 'hard = "yes"', "hard must be true or false"),
        ("hard = true", "hard = 1", "hard must be true or false"),
        ("hard = true", "", r"'hard' is missing"),
        ('source = "assumption: a test"', "", r"'source' is missing"),
        ('source = "assumption: a test"', 'source = " "', "source must be a text"),
        ('source = "assumption: a test"', "source = 3", "source must be a text"),
        ('value = "left"', 'value = "port"', "one of left, right"),
        ('value = "left"', "value = 3", "must be a text"),
        ('value = "left"', 'value = "left"\nhard = true', "cannot be hard or soft"),
        ("value = 2\n", "value = 2.5\n", "whole number"),
        ("value = 2\n", "value = 0\n", "between 1 and"),
        ('name = "mine"', "name = 3", "name must be a text"),
        ('summary = "For a test."', "", "'summary' is missing"),
        ("version = 1", "version = 2", "version = 1"),
        ("version = 1", "version = true", "version = 1"),
        ("version = 1", "version = 1\nauthor = 3", r"'author' is unknown; a preset has schema"),
        ("needleplan.preset", "needleplan.case", "needleplan.preset"),
        ("[limits.vessel_mm]", "[limits.vessel_mm", "not valid TOML"),
    ],
)
def test_every_mistake_is_one_sentence_that_names_it(wrong, right, told):
    assert wrong in GOOD
    with pytest.raises(OptionError, match=told) as caught:
        parse_preset(GOOD.replace(wrong, right, 1), "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml") and "\n" not in message


def test_limits_that_are_no_tables_are_refused():
    head = GOOD[: GOOD.index("[limits")]
    for body_text, told in (("limits = 3", "limits must be tables"), ("limits.vessel_mm = 3", "must be a table")):
        with pytest.raises(OptionError, match=told):
            parse_preset(head + body_text, "mine.toml")
    with pytest.raises(OptionError, match="'limits' is missing"):
        parse_preset(head, "mine.toml")
    with pytest.raises(OptionError, match="not valid TOML"):
        parse_preset("a = " + "[" * 100_000, "mine.toml")


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(OptionError, match="no preset is named 'livre': choose one of bone, kidney, liver"):
        load_preset("livre")
    with pytest.raises(OptionError, match="no such file"):
        load_preset(tmp_path / "absent.toml")
    for data, told in ((b"\xff\xfe\x00", "UTF-8"), (b"", "empty"), (b"#" * 300_000, "more than the limit")):
        path = tmp_path / "bad.toml"
        path.write_bytes(data)
        with pytest.raises(OptionError, match=told):
            load_preset(path)


def test_a_preset_says_hard_or_soft_of_every_limit_that_can_be():
    for name in builtin_presets():
        for entry in read_preset(name).entries:
            assert entry.hard or entry.limit in SOFT_LIMITS


def test_the_lung_preset_opens_the_lung_that_holds_the_target():
    lung = Structure("lung", Role.LUNG, box((-45, -45, -45), (45, 45, 45)))
    made = [constraint.name for constraint in default_constraints(body(lung), load_preset("lung"))]
    assert "passages into lung" in made and "clearance to lung" not in made
