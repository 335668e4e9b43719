"""Crossing of factors: order, what is left out, and each cross that contradicts itself."""

import math
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_study_files import own_antenna, own_tables, study_file

from needleplan.app.study.study import Breathing, Cell, Study
from needleplan.app.study.study_file import read_study
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import OptionError
from robots.catalogue import DESCRIPTIONS

MWA, RFA = "generic-mwa-2450", "generic-rfa-cooled-30"


def read(tmp_path: Path, body: str) -> Study:
    return read_study(study_file(tmp_path, body))


def test_the_factors_cross_in_the_order_of_the_file_and_the_last_varies_fastest(tmp_path: Path) -> None:
    body = f'[factors]\nprobes = ["any", 2]\nmargin_mm = [5, 0]\nrobot = "none"\ndevice = ["{RFA}", "{MWA}"]\n'
    study = read(tmp_path, body)
    assert study.factors == ("probes", "margin_mm", "device")
    found = [(cell.probes, cell.margin_mm, cell.device) for cell in study.cells]
    assert found == list(product((None, 2), (5.0, 0.0), (RFA, MWA)))


def test_words_for_nothing_and_defaults_are_those_of_a_cell(tmp_path: Path) -> None:
    words = '[factors]\npower_w = "all"\nprobes = "any"\nstrategy = "none"\nrobot = "none"\nerror_budget = "none"\n'
    assert read(tmp_path, words).cells == (Cell(),) == read(tmp_path, "").cells


def test_each_value_arrives_in_its_cell(tmp_path: Path) -> None:
    body = (
        f'[factors]\ndevice = "{MWA}"\npower_w = 60\nmargin_mm = 7\nprobes = 3\nstrategy = "tracking"\n'
        'robot = "needle_arm7"\nerror_budget = "navigated"\nbreathing = "deep"\n'
        "[breathing.deep]\npeak_mm = 30\nperiod_s = 6\nirregular = true\n"
    )
    deep = Breathing("deep", 30.0, 6.0, True)
    assert read(tmp_path, body).cells == (
        Cell(MWA, 60.0, 7.0, 3, "tracking", "needle_arm7", "navigated", deep),
    )  # fmt: skip


def test_quiet_may_be_told_anew(tmp_path: Path) -> None:
    body = '[factors]\nstrategy = "tracking"\nbreathing = "quiet"\n[breathing.quiet]\npeak_mm = 8\n'
    assert read(tmp_path, body).cells[0].breathing == Breathing("quiet", 8.0)


def test_a_robot_of_ones_own_counts_from_the_study(tmp_path: Path) -> None:
    (tmp_path / "arms").symlink_to(DESCRIPTIONS)
    study = read(tmp_path, '[factors]\nrobot = ["arms/needle_arm7.toml", "none"]\n')
    assert study.cells[0].robot == str(tmp_path / "arms" / "needle_arm7.toml")


def test_every_power_of_the_table_may_be_crossed_and_no_other(tmp_path: Path) -> None:
    powers = sorted({row.power_w for row in builtin_catalogue().rows(MWA, "in_vivo")})
    assert len(read(tmp_path, f'[factors]\ndevice = "{MWA}"\npower_w = {powers}\n').cells) == len(powers)
    with pytest.raises(OptionError, match=rf'power_w = 70 cannot be crossed with device = "{MWA}".* 60, 80, '):
        read(tmp_path, f'[factors]\ndevice = "{MWA}"\npower_w = [60, 70]\n')


def test_devices_of_ones_own_stand_beside_the_built_in_ones_and_count_by_their_content(tmp_path: Path) -> None:
    body = own_tables(tmp_path, own_antenna()) + f'[factors]\ndevice = ["my-antenna", "{MWA}"]\npower_w = 60\n'
    study = read(tmp_path, body)
    assert [cell.device for cell in study.cells] == ["my-antenna", MWA]
    assert study.devices == own_antenna()
    again = read(tmp_path, own_tables(tmp_path, own_antenna(wider=1.1)) + body.split("\n", 3)[3])
    assert again.cells == study.cells and again.digest() != study.digest()
    with pytest.raises(OptionError, match=r'power_w = 61 cannot be crossed with device = "my-antenna".* 60, 80, '):
        read(tmp_path, body.replace("= 60", "= 61"))
    with pytest.raises(OptionError, match="did you mean 'my-antenna'"):
        read(tmp_path, body.replace('"my-antenna"', '"my-anntena"'))
    with pytest.raises(OptionError, match=rf"\[devices\]: applicator '{MWA}' has the name of a built-in one"):
        read(tmp_path, own_tables(tmp_path, own_antenna(MWA)))


def test_the_remedy_of_a_message_is_one(tmp_path: Path) -> None:
    body = f'[factors]\ndevice = ["{MWA}", "{RFA}"]\npower_w = ["all", 60]\n'
    with pytest.raises(OptionError, match="whose generator controls its power by itself") as caught:
        read(tmp_path, body)
    told = str(caught.value).split("[[leave_out]] with ")[1].replace(" and ", "\n")
    study = read(tmp_path, f"{body}[[leave_out]]\n{told}\n")
    assert [(cell.device, cell.power_w) for cell in study.cells] == [(MWA, None), (MWA, 60.0), (RFA, None)]


def test_breathing_without_rehearsals_contradicts_itself_until_left_out(tmp_path: Path) -> None:
    deep = "[breathing.deep]\npeak_mm = 30\n"
    with pytest.raises(OptionError, match="without a strategy nothing is rehearsed"):
        read(tmp_path, f'[factors]\nbreathing = ["quiet", "deep"]\n{deep}')
    body = f'[factors]\nstrategy = ["none", "tracking"]\nbreathing = ["quiet", "deep"]\n{deep}'
    with pytest.raises(OptionError, match='breathing = "deep" cannot be crossed with strategy = "none"') as caught:
        read(tmp_path, body)
    told = str(caught.value).split("[[leave_out]] with ")[1].replace(" and ", "\n")
    assert len(read(tmp_path, f"{body}[[leave_out]]\n{told}\n").cells) == 3
    # One way to breathe for all is no contradiction, as nothing is asked for twice.
    assert len(read(tmp_path, f'[factors]\nstrategy = ["none", "tracking"]\nbreathing = "deep"\n{deep}').cells) == 2


def test_the_default_robot_asked_for_twice_is_refused(tmp_path: Path) -> None:
    body = '[factors]\nstrategy = ["tracking", "none"]\nrobot = ["none", "needle_arm7"]\n'
    with pytest.raises(
        OptionError, match="which are the same, as rehearsals without a robot use that one"
    ) as caught:
        read(tmp_path, body)
    told = str(caught.value).split("[[leave_out]] with ")[1].replace(" and ", "\n")
    assert len(read(tmp_path, f"{body}[[leave_out]]\n{told}\n").cells) == 3
    assert len(read(tmp_path, body.replace("tracking", "none").replace('["none", "none"]', '"none"')).cells) == 2


@pytest.mark.parametrize(
    ("factor", "values", "shown"),
    [("margin_mm", "[5, 7, 5.0]", "5.0"), ("power_w", '["all", "all"]', "'all'"), ("probes", "[2, 2]", "2")],
)
def test_the_same_value_twice_is_refused(tmp_path: Path, factor: str, values: str, shown: str) -> None:
    with pytest.raises(OptionError, match=rf"\[factors\]: {factor} holds {shown} twice"):
        read(tmp_path, f"[factors]\n{factor} = {values}\n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"\[\[leave_out\]\] number 1: the table is empty"),
        ("margin_mm = 6", "it matches nothing, as margin_mm is never 6; it takes 5, 10"),
        ('strategy = "tracking"', 'strategy is never "tracking"; it takes "none"'),
        (f'device = "{RFA}0"', "did you mean 'generic-rfa-cooled-30'"),
        ("margin = 5", r"\[\[leave_out\]\] number 1: unknown key 'margin'; did you mean 'margin_mm'"),
        ("margin_mm = [5, 10]", "leaves out every combination"),
        ("margin_mm = 5.0000001", "margin_mm is never 5.0000001; it takes 5, 10"),
        ("margin_mm = [5, 5.0]", r"\[\[leave_out\]\] number 1: margin_mm holds 5.0 twice"),
        (
            "margin_mm = [5]\n[[leave_out]]\nmargin_mm = 5.0",
            r"\[\[leave_out\]\] number 2: this is the same table as number 1: give it once",
        ),
    ],
)
def test_what_cannot_be_left_out(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(tmp_path, f"[factors]\nmargin_mm = [5, 10]\n[[leave_out]]\n{table}\n")


def test_a_factor_of_which_one_value_is_left_is_none(tmp_path: Path) -> None:
    study = read(tmp_path, "[factors]\nmargin_mm = [5, 10]\nprobes = [1, 2]\n[[leave_out]]\nmargin_mm = 5\n")
    assert study.factors == ("probes",) and {cell.margin_mm for cell in study.cells} == {10.0}


def test_too_many_combinations_and_plans_are_refused_before_they_are_made(tmp_path: Path) -> None:
    many = ", ".join(str(k / 25) for k in range(1000))
    probes = ", ".join(str(k) for k in range(1, 101))
    with pytest.raises(OptionError, match="1000 x 100 are 100000 combinations, more than the 10000"):
        read(tmp_path, f"[factors]\nmargin_mm = [{many}]\nprobes = [{probes}]\n")
    body = f"[factors]\nmargin_mm = [{many}]\n"
    with pytest.raises(OptionError, match="200000 cases in 1000 combinations are 200000000 plans"):
        read_study(study_file(tmp_path, body, cases="[[cases]]\nphantoms = 200000\n"))


_FACTORS = {
    "margin_mm": ["0", "3", "5", "10"],
    "probes": ['"any"', "1", "2"],
    "error_budget": ['"none"', '"robot"', '"navigated"'],
    "device": [f'"{MWA}"', f'"{RFA}"'],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_cells_are_the_product_without_what_is_left_out(tmp_path: Path, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(_FACTORS)), unique=True, min_size=1))
    chosen = {
        name: data.draw(st.lists(st.sampled_from(_FACTORS[name]), unique=True, min_size=1)) for name in names
    }  # fmt: skip
    left = {name: data.draw(st.sampled_from(values)) for name, values in chosen.items() if data.draw(st.booleans())}
    body = "[factors]\n" + "".join(f"{name} = [{', '.join(values)}]\n" for name, values in chosen.items())
    if left:
        body += "[[leave_out]]\n" + "".join(f"{name} = {value}\n" for name, value in left.items())
    total = math.prod(len(values) for values in chosen.values())
    removed = math.prod(1 if name in left else len(values) for name, values in chosen.items()) if left else 0
    if removed == total:
        with pytest.raises(OptionError, match="leaves out every combination"):
            read(tmp_path, body)
        return
    study = read(tmp_path, body)
    assert len(study.cells) == total - removed == len(set(study.cells)) == len({cell.name for cell in study.cells})
    order = [name for name in chosen if name in study.factors]
    assert list(study.factors) == order
