"""The real work on tiny patients: shared stages, plan folders, power, chances, robot and rehearsals, bytes."""

import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
from made_study import LIGHT, SMALL, small_study
from made_study_files import own_antenna

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.phantom import PhantomParameters, TumourParameters, make_phantom
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned
from needleplan.app.phantom_files import save_phantom
from needleplan.app.study.case_patient import study_patient
from needleplan.app.study.case_work import CaseChangedError, CaseTask, work_case
from needleplan.app.study.cell_row import _chances, cell_row
from needleplan.app.study.cell_work import Stages, catalogue_files, plan_name, work_cell, zone_model
from needleplan.app.study.engine import run_study
from needleplan.app.study.software import software_versions
from needleplan.app.study.study import Breathing, Cell, StudyCase
from needleplan.devices.catalogue import load_catalogue
from needleplan.errors import DeviceError, NetworkError, PlanFileError
from needleplan.io.study_table import read_rows
from needleplan.plan import Likelihood
from needleplan.planning import make_plan

CASE = StudyCase("phantom-0", phantom=SMALL, seed=0, voxel_mm=6.0)


class Heard:
    """A teller that keeps what it is told."""

    def __init__(self, done=()):
        self.messages, self._done = [], done

    def tell(self, message):
        self.messages.append(message)

    def done(self):
        return None if self._done is None else set(self._done)


@pytest.fixture(scope="module")
def patient():
    return study_patient(CASE)


def test_a_budget_under_which_nothing_is_harmed_gives_a_chance_of_none():
    covered = Likelihood("the target is covered", 0.9, 0.8, 0.95)
    harmed = Likelihood("a needle enters bowel", 0.2, 0.1, 0.3)
    assert _chances((covered,), 5.0) | {"chance_harm": 0.0} == _chances((covered,), 5.0)
    assert _chances((covered, harmed), 5.0)["chance_harm"] == 0.2
    assert "chance_harm" not in _chances((), 5.0)


def test_cells_share_paths_and_plans_and_get_the_plan_that_each_gets_alone(patient):
    stages = Stages()
    first = work_cell(patient, Cell(), LIGHT, 1, stages)
    assert set(stages.times_s) == {"search", "plan"}
    stages.times_s.clear()
    wider = work_cell(patient, Cell(margin_mm=2.0), LIGHT, 1, stages)
    assert set(stages.times_s) == {"plan"}
    stages.times_s.clear()
    chanced = work_cell(patient, Cell(error_budget="robot"), LIGHT, 1, stages)
    assert set(stages.times_s) == {"chances"}
    assert chanced.plan.insertions == first.plan.insertions and chanced.chances
    assert (
        plan_name(Cell())
        != plan_name(Cell(error_budget="robot"))
        == plan_name(Cell(error_budget="robot", robot="needle_arm7", strategy="tracking"))
    )
    for cell, shared in ((Cell(), first), (Cell(margin_mm=2.0), wider)):
        alone = work_cell(patient, cell, LIGHT, 1, Stages())
        assert alone.plan == shared.plan and not shared.time_limited
    # And that is the plan which the chain makes by itself.
    from needleplan.app.study.cell_work import planning_options
    from needleplan.uncertainty.likelihoods import ErrorOptions

    options = planning_options(Cell(), LIGHT, 1)
    errors = ErrorOptions("robot", LIGHT.scenarios)
    made = make_plan(patient.queries, replace(options, errors=errors)).plan
    assert replace(made, provenance=replace(made.provenance, timings_s={})) == chanced.plan


def test_a_search_that_its_time_ends_is_told(patient):
    row = cell_row(
        CASE, Cell(), 1, patient, work_cell(patient, Cell(), replace(LIGHT, time_limit_s=1e-6), 1, Stages()), ""
    )
    assert row.time_limited


def test_figures_that_no_table_takes_make_no_row(patient):
    result = work_cell(patient, Cell(), LIGHT, 1, Stages())
    wrong = replace(result.plan, metrics=replace(result.plan.metrics, zone_ml=1e9))
    with pytest.raises(
        PlanFileError, match=r"the row: zone_ml is 1000000000\.0, and must lie between 0 and 1000000 ml"
    ):
        cell_row(CASE, Cell(), 1, patient, replace(result, plan=wrong), "")


def test_a_power_alone_is_offered_and_its_tables_are_read_back(tmp_path, patient):
    model = zone_model("generic-mwa-2450", 60.0)
    (tmp_path / "a.csv").write_bytes(catalogue_files(model.catalogue)[0])
    (tmp_path / "z.csv").write_bytes(catalogue_files(model.catalogue)[1])
    again = load_catalogue(tmp_path / "a.csv", tmp_path / "z.csv")
    assert again.digest == model.catalogue.digest != EllipsoidTableModel().catalogue.digest
    result = work_cell(patient, Cell(power_w=60.0), LIGHT, 1, Stages())
    assert {a.power_w for i in result.plan.insertions for a in i.ablations} == {60.0}
    for device, power_w in (("generic-mwa-2450", 61.0), ("generic-rfa-cooled-30", 60.0), ("nothing", 60.0)):
        with pytest.raises(DeviceError):
            zone_model(device, power_w)


def energy_j(plan):
    return sum(each.power_w * each.duration_s for needle in plan.insertions for each in needle.ablations)


def test_an_antenna_of_ones_own_plans_as_the_built_in_one_with_its_zones_and_its_tables_are_kept(patient):
    own = own_antenna("my-antenna")
    shipped = work_cell(patient, Cell(), LIGHT, 1, Stages()).plan
    same = work_cell(patient, Cell(device="my-antenna"), LIGHT, 1, Stages(), own).plan
    assert [each.tip_mm for each in same.insertions] == [each.tip_mm for each in shipped.insertions]
    # Zones of half the width take more energy.
    narrow = work_cell(patient, Cell(device="my-antenna"), LIGHT, 1, Stages(), own_antenna("my-antenna", 0.5)).plan
    assert energy_j(narrow) > energy_j(same) == energy_j(shipped)

    def told(devices):
        heard = Heard()
        work_case(CaseTask(CASE, (Cell(),), LIGHT, 5, True, False, software_versions(), devices=devices), heard)
        return next(message for message in heard.messages if "finished" in message)

    assert told(None)["tables"] == [] and b"my-antenna" in zlib.decompress(told(own)["tables"][0])
    with pytest.raises(DeviceError, match="no applicator is named 'my-antenna'"):
        work_cell(patient, Cell(device="my-antenna"), LIGHT, 1, Stages())


@pytest.mark.long
def test_robot_and_rehearsals_give_figures_and_strategies_share_their_draws(patient):
    stages = Stages()
    cells = [
        Cell(robot="needle_arm7", strategy=strategy, breathing=Breathing("quiet", 12.0))
        for strategy in (None, "free-breathing", "amplitude-gating")
    ]
    rows = [cell_row(CASE, cell, 1, patient, work_cell(patient, cell, LIGHT, 1, stages), "") for cell in cells]
    placed, free, gated = rows
    assert placed.reached == placed.insertions and placed.robot_s > 1.0 and placed.runs is None
    assert free.runs == gated.runs == 1 and free.robot_s == placed.robot_s
    assert free.procedure_s > free.energy_s and 0.0 < gated.tip_error_mm <= gated.largest_tip_error_mm
    assert 0.0 <= gated.rehearsed_coverage_fraction <= 1.0
    assert not any(row.reason for row in rows)


def test_a_worker_tells_each_cell_and_leaves_out_what_is_done(patient):
    cells = (Cell(), Cell(device="no such thing"), Cell(margin_mm=2.0))
    task = CaseTask(CASE, cells, LIGHT, 5, True, True, software_versions())
    heard = Heard(done={cells[2].name})
    files = work_case(task, heard)
    assert set(files) == {"case.toml", "labels.nii.gz"}
    finished = [message for message in heard.messages if "finished" in message]
    assert [message["row"]["status"] for message in finished] == ["complete", "failed"]
    assert "no such thing" in finished[1]["row"]["reason"] and not finished[1]["plan"]
    assert work_case(task, Heard(done=None)) == {}
    other = replace(task, versions=software_versions() | {"numpy": "0.1"})
    with pytest.raises(NetworkError, match="numpy"):
        work_case(other, Heard())


def test_a_broken_case_tells_no_folder_and_reads_alike_wherever_it_lies(tmp_path):
    rows = []
    for name in ("Erika Muster", "elsewhere/deep"):
        folder = tmp_path / name / "cs"
        manifest = save_phantom(make_phantom(SMALL, np.random.default_rng(0)), folder, 6.0)
        (folder / "labels.nii.gz").write_bytes(b"nothing")
        case = StudyCase("a", manifest=manifest.resolve())
        work_case(CaseTask(case, (Cell(),), LIGHT, 5, False, False, software_versions()), heard := Heard())
        rows.append(heard.messages[-1]["row"])
    assert rows[0] == rows[1] and rows[0]["status"] == "failed"
    assert "labels.nii.gz: " in rows[0]["reason"] and "/" not in rows[0]["reason"]


def test_a_complaint_of_a_robot_tells_no_folder(patient, tmp_path):
    cell = Cell(robot=str(tmp_path / "Erika Muster" / "own.toml"), robot_hash="ab" * 32)
    row = cell_row(CASE, cell, 1, patient, work_cell(patient, cell, LIGHT, 1, Stages()), "")
    assert row.status == "complete"
    assert row.reason == "not carried out: there is no robot description own.toml"


def test_a_case_that_is_another_than_that_of_its_finished_cells_is_refused(patient):
    known = patient.queries.anatomy.case.content_hash
    task = CaseTask(CASE, (Cell(margin_mm=0.0),), LIGHT, 5, False, False, software_versions(), known)
    work_case(task, heard := Heard())
    assert heard.messages[-1]["row"]["case_hash"] == known
    with pytest.raises(CaseChangedError, match="phantom-0 are not those of its finished cells"):
        work_case(replace(task, case_hash="0" * 64), Heard())


def test_a_search_that_its_nodes_end_is_the_same_every_time_and_not_told_as_one_that_its_time_ended(patient):
    few = replace(LIGHT, aims=2, points=300, most_nodes=1)
    cell = Cell(margin_mm=12.0)
    one, other = (work_cell(patient, cell, few, 1, Stages()) for _ in range(2))
    assert one.plan == other.plan and not one.time_limited


@pytest.mark.long
def test_a_study_of_phantoms_has_plan_folders_and_the_same_bytes_by_two_workers(tmp_path):
    impossible = PhantomParameters(tumours=(TumourParameters(radius_mm=45.0, vessel_gap_mm=(60.0, 80.0)),))
    study = small_study(2, (Cell(), Cell(margin_mm=2.0, power_w=60.0)))
    study = replace(study, cases=(*study.cases, StudyCase("nobody", phantom=impossible, voxel_mm=6.0)))
    run_study(study, tmp_path / "one", workers=1)
    run_study(study, tmp_path / "two", workers=2)
    one, two = (tmp_path / name / "results.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    rows = read_rows(one)
    assert [row.status for row in rows if row.case == "nobody"] == ["failed"] * 2
    assert all(row.target_ml > 0 and row.seed == rows[0].seed for row in rows[:2])
    for row in rows[:4]:
        folders = [PlanFolder((tmp_path / name / row.plan_file).parent) for name in ("one", "two")]
        assert folders[0].plan.read_bytes() == folders[1].plan.read_bytes()
        planned = load_planned(folders[0], None)
        assert planned.plan.case_hash == row.case_hash
        assert planned.assessment.metrics.minimal_margin_mm == row.minimal_margin_mm
    # Files that a stop kept from being written are written by resume, and nothing is computed for them.
    shutil.rmtree(tmp_path / "one" / "cases")
    for path in (tmp_path / "one" / "plans").rglob("source.json"):
        path.unlink()
    summary = run_study(study, tmp_path / "one", workers=1, resume=True)
    assert summary.computed == 0
    folder = PlanFolder((tmp_path / "one" / rows[0].plan_file).parent)
    assert load_planned(folder, None).plan.insertions
    # So are those that were damaged.
    sound = folder.source.read_bytes()
    for damaged in (b"", b"{", sound.replace(b"needleplan.source", b"other")):
        folder.source.write_bytes(damaged)
        assert run_study(study, tmp_path / "one", workers=1, resume=True).computed == 0
        assert folder.source.read_bytes() == sound
    # So are those of the case.
    case = tmp_path / "one" / "cases" / rows[0].case
    sound = {path.name: path.read_bytes() for path in case.iterdir()}
    assert set(sound) == {"case.toml", "labels.nii.gz", "SHA256SUMS"}
    shutil.rmtree(tmp_path / "one" / "cases")
    assert run_study(study, tmp_path / "one", workers=1, resume=True).computed == 0
    (case / "labels.nii.gz").write_bytes(b"nothing")
    assert run_study(study, tmp_path / "one", workers=1, resume=True).computed == 0
    assert sound == {path.name: path.read_bytes() for path in case.iterdir()}
    assert load_planned(folder, None).plan.insertions


@pytest.mark.long
def test_a_plan_that_was_altered_is_named_and_comes_back_once_its_row_is_removed(tmp_path):
    study, out = small_study(1, (Cell(), Cell(robot="needle_arm7"))), tmp_path / "out"
    run_study(study, out, workers=1)
    path = out / read_rows(out / "results.parquet")[0].plan_file
    folder, before = PlanFolder(path.parent), path.read_bytes()
    path.write_bytes(before.replace(b'"order": 1', b'"order": 2', 1))
    assert path.read_bytes() != before
    altered = run_study(study, out, workers=1, resume=True).plans_altered
    assert list(altered) == [str(path.relative_to(out))]
    altered[str(path.relative_to(out))].unlink()
    summary = run_study(study, out, workers=1, resume=True)
    assert (summary.kept, summary.computed) == (1, 1) and path.read_bytes() == before
    assert folder.read_plan().insertions and load_planned(folder, None).plan.insertions
    assert not run_study(study, out, workers=1, resume=True).plans_altered
