"""What stands in the folder of a study is the study's, or is refused with the file that is not."""

import json
import shutil
import typing
import zlib
from dataclasses import replace

import numpy as np
import pytest
from made_study import FIGURES, SMALL, made_study, work
from made_study_rows import made_cells, made_row

from needleplan.anatomy.phantom import make_phantom
from needleplan.app.folder import CaseSource
from needleplan.app.phantom_files import save_phantom
from needleplan.app.study import engine
from needleplan.app.study.cell_work import plan_name
from needleplan.app.study.engine import run_study
from needleplan.app.study.row_checks import ROW_RANGES, TIMES_RANGES, require_row
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.study import Breathing, Cell, Outputs, Row, Times
from needleplan.app.study.study_folder import StudyFolder
from needleplan.app.study_command import _lacking
from needleplan.case.identity import CaseIdentity
from needleplan.errors import OptionError, PlanFileError
from needleplan.io.plan_file import write_json
from needleplan.io.value_json import to_json


@pytest.fixture
def finished(tmp_path):
    """(study, folder) with a row for every cell and no table yet."""
    study, folder = made_study(2, 2, tmp_path / "log"), StudyFolder(tmp_path / "out")
    folder.root.mkdir()
    folder.open(study, engine.software_versions(), False)
    for case in study.cases:
        for cell in study.cells:
            factors = Row.factors_of(case, cell, case_seed(study.seed, case), "0" * 64)
            folder.write_cell(Row(**factors, status="complete", **FIGURES), Times(case.name, cell.name))
    return study, folder


PLAN = b'{"needles": 2, "case_hash": "%b"}' % (b"0" * 64)
TABLES = (b"applicators", b"zones")


def write_planned(study, folder, case, cell):
    """A finished cell with a plan and tables, as its worker sends them."""
    factors = Row.factors_of(case, cell, case_seed(study.seed, case), "0" * 64)
    row = Row(**factors, status="complete", plan_file=f"plans/{case.name}/{plan_name(cell)}/plan.json", **FIGURES)
    folder.write_cell(row, Times(case.name, cell.name), zlib.compress(PLAN), tuple(map(zlib.compress, TABLES)))
    return row


@pytest.fixture
def planned(tmp_path):
    """(study, folder) with a row for every cell; the two cells of a case share a plan."""
    cells = (Cell(), Cell(breathing=Breathing("deep", 25.0)))
    study = replace(made_study(2, 1, tmp_path / "log", outputs=Outputs(True, False, False)), cells=cells)
    folder = StudyFolder(tmp_path / "out")
    folder.root.mkdir()
    folder.open(study, engine.software_versions(), False)
    for case in study.cases:
        for cell in cells:
            row = write_planned(study, folder, case, cell)
        source = CaseSource("needleplan.source", "case.toml", None, CaseIdentity(), None)
        write_json((folder.root / row.plan_file).with_name("source.json"), to_json(source))
    return study, folder


def resume(study, folder):
    return run_study(study, folder.root, resume=True, work=work)


def test_sound_rows_make_tables_without_any_worker(finished):
    study, folder = finished
    assert resume(study, folder).kept == 4 and folder.results.is_file()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"device": "other"}, "device is 'other', where the study has 'generic-mwa-2450'"),
        ({"margin_mm": 7.0}, r"margin_mm is 7.0, where the study has 0.0"),
        ({"power_w": 60.0}, "power_w is 60.0, where the study has None"),
        ({"breathing": "deep"}, "breathing is 'deep'"),
        ({"breathing_peak_mm": 3.0}, "breathing_peak_mm is 3.0"),
        ({"robot": "needle_arm7"}, "robot is 'needle_arm7'"),
        ({"phantom": True}, "phantom is True"),
        ({"seed": 1}, "seed is 1, where the study has"),
        ({"insertions": 10**22}, "row.insertions has a value of the wrong type: 1000000"),
        ({"status": "splendid"}, "status is 'splendid', and must be one of complete, partial, infeasible, failed"),
        ({"reason": "\ud800"}, "cut inside a letter"),
        ({"case": "another"}, "it is the file of another cell"),
        (dict.fromkeys(FIGURES), "candidates is missing, and belongs to a row of status 'complete'"),
        ({"energy_s": None}, "energy_s is missing, and belongs to a row of status 'complete'"),
        (
            {"status": "failed", "reason": "no"},
            "target_ml is 4.0, and must be missing where the status is 'failed'",
        ),
        (
            {"status": "infeasible", "reason": "no"},
            "insertions is 2, and must be missing where the status is 'infeasible'",
        ),
        ({"chance_covered": 5.0}, "chance_covered is 5.0, and must lie between 0 and 1:"),
        ({"target_coverage_fraction": -7}, "target_coverage_fraction is -7.0, and must lie between 0 and 1:"),
        ({"insertions": -5}, "insertions is -5, and must lie between 1 and 100:"),
        ({"insertions": 2**63 - 1}, "insertions is 9223372036854775807, and must lie between 1 and 100:"),
        (
            {"minimal_margin_mm": -1.7e308},
            r"minimal_margin_mm is -1.7e\+308, and must lie between -10000 and 10000 mm",
        ),
        ({"over_ablation_ml": 1.7e308}, r"over_ablation_ml is 1.7e\+308, and must lie between 0 and 1000000 ml"),
        ({"feasible": 901}, "feasible is 901, and cannot be more than the candidates, 900"),
        ({"chance_covered": 0.5}, "chance_covered is 0.5, and must be missing where there is no error budget"),
        ({"runs": 0}, "runs is 0, and must be missing where there is no strategy"),
        ({"structures_punctured": 5}, "structures_punctured is 5, and must be missing where runs is None"),
        ({"case_hash": "zz<script>"}, "case_hash is 'zz<script>', and must be 64 digits of a hash"),
        ({"case_hash": ""}, "case_hash is empty, and belongs to a row of status 'complete'"),
        ({"reached": 99, "robot_s": 1.0}, "reached is 99, and cannot be more than the insertions, 2"),
        ({"robot_s": 1.0}, "reached is missing, and belongs to a row with robot_s"),
        ({"lower_bound": 3.0}, "lower_bound is 3.0, and cannot be more than the insertions of a complete plan, 2"),
        (
            {"least_clearance_mm": 2.0},
            "least_clearance_of is missing, and belongs to a row with least_clearance_mm",
        ),
        (
            {"least_clearance_of": "skin"},
            "least_clearance_mm is missing, and belongs to a row with least_clearance_of",
        ),
        ({"reason": "not covered"}, "reason is 'not covered', and must be empty or begin with 'no chances' or"),
        ({"status": "partial"}, "reason is empty, and belongs to a row of status 'partial'"),
        ({"status": "partial", "reason": " "}, "reason is empty, and belongs to a row of status 'partial'"),
        ({"reason": "no chances: \x00"}, r"reason is 'no chances: \\x00', and must be one line without control"),
        ({"reason": "no chances: \x1b[31m"}, r"reason is 'no chances: \\x1b\[31m', and must be one line"),
        ({"reason": "no chances: two\nlines"}, r"reason is 'no chances: two\\nlines', and must be one line"),
        ({"plan_file": "/etc/hostname"}, "plan_file is '/etc/hostname', and must be empty or plans/CASE/PLAN"),
        ({"plan_file": "../tiny/x/plan.json"}, "plan_file is '../tiny/x/plan.json', and must be empty or"),
        ({"plan_file": "x" * 5000}, "plan_file is 'xxx"),
    ],
)
def test_a_row_that_is_not_of_its_cell_is_refused_before_anything_is_written(finished, changed, message):
    study, folder = finished
    path = folder.row_file(study.cases[1].name, study.cells[0].name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"row": whole["row"] | changed}), encoding="utf-8")
    with pytest.raises(PlanFileError, match=message) as caught:
        resume(study, folder)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("remove it and resume the study")
    assert not folder.results.exists() and not folder.times.exists()
    with pytest.raises(PlanFileError, match=message):
        folder.write_tables(study)


def test_figures_that_nothing_can_have_made_are_refused():
    """Of a row that has a budget and a strategy, so that each of its figures may be there."""
    row = made_row("phantom-3", made_cells(strategies=("gated",), budgets=("robot",), robots=("needle_arm7",))[0])
    assert row.insertions and row.runs and require_row(row, "x") is row
    for reason in ("no chances: none", "not carried out: none", ""):
        sound = replace(row, status="complete", reason=reason, lower_bound=float(row.insertions))
        assert require_row(sound, "x") is sound
    # Of what is left the bound is that of a whole cover; a mean exceeds equal figures by its rounding.
    assert np.mean([0.1] * 3) > 0.1
    sound = replace(row, status="partial", reason="left", lower_bound=99.0, tip_error_mm=float(np.mean([0.1] * 3)))
    assert require_row(replace(sound, largest_tip_error_mm=0.1), "x")
    for changed, message in (
        ({"chance_covered": 5.0}, "chance_covered is 5.0, and must lie between 0 and 1"),
        ({"chance_margin_high": None}, "chance_margin_high is missing"),
        ({"chance_margin_high": 0.0}, "chance_margin_low, chance_margin, chance_margin_high are .* must not fall"),
        ({"runs": 0, "procedure_s": None}, "structures_punctured is 0, and must be missing where runs is 0"),
        ({"procedure_s": None}, "procedure_s is missing"),
        (
            {"tip_error_mm": 3.0, "largest_tip_error_mm": 2.9},
            "largest_tip_error_mm is 2.9, and cannot be less than",
        ),
        ({"tip_error_mm": None}, "tip_error_mm is missing, and belongs to a row with largest_tip_error_mm"),
        ({"rehearsed_margin_fraction": None}, "rehearsed_margin_fraction is missing, and belongs to a row with"),
        ({"chance_harm": None}, "chance_harm_of is '.*', and must be missing where there is no chance_harm"),
        ({"plan_file": "plans/other/0123456789ab/plan.json"}, "plan_file is .*, and must be empty or plans/"),
    ):
        with pytest.raises(PlanFileError, match=rf"^x: {message}"):
            require_row(replace(row, **changed), "x")


def changed_row(folder, case, cell, **changed):
    """The file of a row, of which some columns are changed by hand."""
    path = folder.row_file(case.name, cell.name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"row": whole["row"] | changed}), encoding="utf-8")
    return path


def test_rows_of_one_case_tell_one_content_of_it(finished):
    study, folder = finished
    case = study.cases[1]
    changed_row(folder, case, study.cells[0], case_hash="1" * 64)
    with pytest.raises(
        PlanFileError, match=rf"tell different case_hash of one case: remove .*rows/{case.name} and"
    ):
        resume(study, folder)
    with pytest.raises(PlanFileError, match="tell different case_hash of one case"):
        folder.write_tables(study)
    assert not folder.results.exists()
    # A row that failed before the case was read tells none.
    path = folder.row_file(case.name, study.cells[0].name)
    path.unlink()
    folder.write_cell(
        Row.failed(case, study.cells[0], case_seed(study.seed, case), "no"), Times(case.name, path.stem)
    )
    assert resume(study, folder).kept == 4


def test_a_plan_is_of_the_case_that_its_rows_tell(planned):
    study, folder = planned
    for cell in study.cells:
        path = changed_row(folder, study.cases[0], cell, case_hash="1" * 64)
    with pytest.raises(
        PlanFileError, match=r"rows/.*\.json: case_hash is not that of its plan: remove it and resume"
    ):
        resume(study, folder)
    assert path.is_file() and not folder.results.exists()


def test_a_row_of_a_study_with_plans_names_its_plan(planned):
    study, folder = planned
    path = folder.row_file(study.cases[0].name, study.cells[0].name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"row": whole["row"] | {"plan_file": ""}, "plan": ""}), encoding="utf-8")
    with pytest.raises(
        PlanFileError, match=r"plan_file is '', and must be plans/case-0000/.*/plan\.json: remove it"
    ):
        resume(study, folder)


@pytest.mark.parametrize("kind", [Row, Times])
def test_every_number_has_its_range(kind):
    ranges = {Row: ROW_RANGES, Times: TIMES_RANGES}[kind]
    hints = typing.get_type_hints(kind)
    numbers = [name for name, hint in hints.items() if {int, float} & {hint, *typing.get_args(hint)}]
    assert sorted(ranges) == sorted(numbers)
    units = {"_mm": "mm", "_ml": "ml", "_s": "s", "_w": "W", "_mb": "MB"}
    assert all(allowed.unit == units[name[name.rindex("_") :]] for name, allowed in ranges.items() if allowed.unit)


def test_times_that_nothing_can_have_taken_are_refused(finished):
    study, folder = finished
    path = folder.row_file(study.cases[0].name, study.cells[0].name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"times": whole["times"] | {"processor_s": -1e300}}), encoding="utf-8")
    with pytest.raises(
        PlanFileError, match=r"processor_s is -1e\+300, and must lie between 0 and 1000000000 s: rem"
    ):
        resume(study, folder)


@pytest.mark.parametrize("version", [1.0, True, 2, "1", None])
def test_a_version_is_a_whole_number(finished, version):
    study, folder = finished
    for path in (folder.row_file(study.cases[0].name, study.cells[0].name), folder.record):
        whole = path.read_text(encoding="utf-8")
        path.write_text(json.dumps(json.loads(whole) | {"version": version}), encoding="utf-8")
        with pytest.raises(PlanFileError, match=r"version must be 1|its version 1"):
            resume(study, folder)
        path.write_text(whole, encoding="utf-8")
    assert resume(study, folder).kept == 4


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "needleplan.study_row", "version": 1}'])
def test_a_damaged_row_is_told_with_its_file(finished, text):
    study, folder = finished
    path = folder.row_file(study.cases[0].name, study.cells[1].name)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanFileError, match="remove it and resume the study") as caught:
        resume(study, folder)
    assert str(caught.value).startswith(str(path))


def test_a_robot_under_another_name_is_the_same_robot(finished):
    study, folder = finished
    case = study.cases[0]
    cell = Cell(robot="/one/own.toml", robot_hash="ab" * 32)
    seed = case_seed(study.seed, case)
    folder.write_cell(Row.failed(case, cell, seed, "none"), Times(case.name, cell.name))
    renamed = replace(cell, robot="/two/mine.toml")
    assert renamed.name == cell.name and folder.cell_of(study, case, renamed).row.robot == "own.toml abababab"


def test_a_folder_in_the_place_of_a_row_is_told(finished):
    study, folder = finished
    path = folder.row_file(study.cases[0].name, study.cells[0].name)
    path.unlink()
    path.mkdir()
    with pytest.raises(PlanFileError, match=f"{path}: what stands there is no file of a finished cell: remove it"):
        resume(study, folder)


def test_a_study_under_another_name_is_refused(finished):
    study, folder = finished
    with pytest.raises(OptionError, match="was begun as the study 'made', not 'other': give it that name again"):
        resume(replace(study, name="other"), folder)
    assert not folder.results.exists()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with (
        pytest.raises(OptionError, match=r"out is a file, and results go into a folder"),
        StudyFolder(tmp_path / "out").locked(),
    ):
        pass
    with (
        pytest.raises(OptionError, match=r"no folder can be made there \(Not a directory\)"),
        StudyFolder(tmp_path / "out" / "below").locked(),
    ):
        pass


def test_plans_that_are_gone_or_not_as_they_were_written_are_counted_and_named(planned, tmp_path):
    study, folder = planned
    sound = resume(study, folder)
    assert sound.kept == 4 and sound.plans_gone == sound.plans_altered == {}
    names = [f"plans/{case.name}/{plan_name(study.cells[0])}/plan.json" for case in study.cases]
    first = [folder.row_file(case.name, min(cell.name for cell in study.cells)) for case in study.cases]
    (folder.root / names[0]).unlink()
    for content in (PLAN.replace(b"2", b"3"), b"", b"{"):
        (folder.root / names[1]).write_bytes(content)
        found = resume(study, folder)
        assert found.plans_gone == {names[0]: first[0]} and found.plans_altered == {names[1]: first[1]}
    (folder.root / names[1]).unlink()
    (folder.root / names[1]).mkdir()
    assert resume(study, folder).plans_altered == {names[1]: first[1]}
    again = "and run it again with --resume"
    assert _lacking(found) == [
        f"  1 plan that rows name is no longer there: to make it again, remove this {again}",
        f"    {first[0]}",
        f"  1 plan that rows name is damaged or altered: to make it again, remove this {again}",
        f"    {first[1]}",
    ]
    both = _lacking(replace(found, plans_gone=found.plans_gone | found.plans_altered, plans_altered={}))
    assert both == [
        f"  2 plans that rows name are no longer there: to make them again, remove these {again}",
        *(f"    {path}" for path in first),
    ]
    many = {f"plans/{k}": tmp_path / f"case-{k // 4:04d}" / f"{k}.json" for k in range(4 * 22)}
    told = _lacking(replace(found, plans_gone=many, plans_altered={}))
    assert told[0].startswith("  88 plans that rows name are no longer there: to make them again, remove these and")
    assert told[1:-1] == [f"    {tmp_path}/case-{k:04d}" for k in range(20)]
    assert told[-1] == "    and the folders of 2 more cases, named once these are done"


def test_a_cell_that_is_computed_again_writes_its_plan_anew_whatever_lies_there(planned):
    study, folder = planned
    case, cell = study.cases[0], study.cells[0]
    place = (folder.root / "plans" / case.name / plan_name(cell)).resolve()
    files = {"plan.json": PLAN, "applicators.csv": TABLES[0], "zones.csv": TABLES[1]}
    for name in files:
        (place / name).write_bytes(b"altered")
    write_planned(study, folder, case, cell)
    assert {name: (place / name).read_bytes() for name in files} == files
    # What told the hash of the former plan is written with that of this one when the case is closed.
    assert [each.root.resolve() for each in folder.lacks_source(case, study.cells)] == [place]
    before = (place / "plan.json").stat().st_mtime_ns
    write_planned(study, folder, case, study.cells[1])
    assert (place / "plan.json").stat().st_mtime_ns == before


def test_a_plan_that_is_damaged_before_its_case_is_closed_is_told_with_what_helps(planned, tmp_path):
    study, folder = planned
    case = study.cases[0]
    (folder.root / "plans" / case.name / plan_name(study.cells[0]) / "source.json").unlink()
    save_phantom(make_phantom(SMALL, np.random.default_rng(0)), tmp_path / "patient", 6.0)
    files = {path.name: path.read_bytes() for path in (tmp_path / "patient").iterdir()}
    with pytest.raises(PlanFileError, match=rf"plan\.json: .*: remove .*rows/{case.name} and resume the study"):
        folder.close_case(case, study.cells, files)


def test_a_phantom_whose_files_are_gone_or_damaged_is_not_closed(planned, tmp_path):
    study, folder = planned
    case = replace(study.cases[0], phantom=SMALL)
    place = folder.case_folder(case.name)
    assert folder.is_closed(study, study.cases[0]) and not folder.is_closed(study, case)
    save_phantom(make_phantom(SMALL, np.random.default_rng(0)), tmp_path / "patient", 6.0)
    files = {path.name: path.read_bytes() for path in (tmp_path / "patient").iterdir()}
    folder.close_case(case, study.cells, files)
    assert folder.is_closed(study, case)
    for path in sorted(place.iterdir()):
        sound = path.read_bytes()
        for damaged in (None, b"", sound[:-2], bytes([sound[0] ^ 1]) + sound[1:]):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            assert not folder.is_closed(study, case)
        folder.close_case(case, study.cells, files)
        assert path.read_bytes() == sound and folder.is_closed(study, case)
    # Where no plan is kept, nobody reads the case.
    shutil.rmtree(place)
    assert folder.is_closed(replace(study, outputs=replace(study.outputs, plans=False)), case)


def test_a_row_tells_the_hash_of_its_plan(planned):
    study, folder = planned
    path = folder.row_file(study.cases[0].name, study.cells[0].name)
    whole = json.loads(path.read_text(encoding="utf-8"))
    for plan in (None, "", "zz", 3):
        path.write_text(json.dumps(whole | {"plan": plan}), encoding="utf-8")
        with pytest.raises(PlanFileError, match=r"plan must be the SHA-256 of the plan's file, not .*: remove it"):
            resume(study, folder)


@pytest.mark.parametrize(
    "place", ["rows", "plans", "cases", "rows/case-0001", "plans/case-0001", "cases/case-0001"]
)
def test_links_and_files_where_folders_of_the_study_must_be_are_refused(finished, tmp_path, place):
    study, folder = finished
    path, elsewhere = folder.root / place, tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
        path.parent.mkdir(exist_ok=True)
    before = sorted(elsewhere.rglob("*"))
    path.symlink_to(elsewhere)
    with pytest.raises(
        PlanFileError, match=rf"{path}: this is a symbolic link, where a folder of the study must be"
    ):
        resume(study, folder)
    assert sorted(elsewhere.rglob("*")) == before
    path.unlink()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(PlanFileError, match=rf"{path}: this is a file, .*: remove it and resume the study"):
        resume(study, folder)
    assert not folder.results.exists()


def test_no_plan_is_written_through_a_link_and_no_row_read(planned, tmp_path):
    study, folder = planned
    case, cell = study.cases[0], study.cells[0]
    place = folder.root / "plans" / case.name / plan_name(cell)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlanFileError, match=f"{place}: this is a symbolic link"):
        write_planned(study, folder, case, cell)
    row = folder.row_file(case.name, cell.name)
    row.rename(tmp_path / "row.json")
    row.symlink_to(tmp_path / "row.json")
    with pytest.raises(PlanFileError, match=f"{row}: what stands there is no file of a finished cell"):
        resume(study, folder)
