"""The commands in which robots carry out a plan, and planning of what a robot reaches."""

import json
from pathlib import Path

import numpy as np
import pytest

from needleplan.app.carry import carry_out
from needleplan.app.carry_command import write_carried
from needleplan.app.cli import main
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned
from needleplan.app.pipeline import assumed_registration
from needleplan.app.robot_planning import alternatives_of_skin, gantry_from
from needleplan.app.serve.plan_messages import route_messages
from needleplan.errors import OptionError
from needleplan.uncertainty.likelihoods import likelihoods_under
from needleplan.uncertainty.placement_budget import placement_budget
from needleplan.uncertainty.presets import preset_budget
from robots.catalogue import list_robots, load_robot
from robots.clearance import Surroundings
from robots.expected_error import CalibrationErrors, route_errors
from robots.frames import place_anatomy
from robots.reachability import judge_places
from robots.trajectory_text import route_from_csv

QUICK = ["--aims", "8", "--entry-spacing-mm", "18", "--no-physics", "--no-pictures", "--no-refine"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), err


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient")
    assert main(["phantom", "--out", str(folder), "--voxel-mm", "4"]) == 0
    return folder / "case.toml"


@pytest.fixture(scope="module")
def folder(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plan")
    assert main(["plan", str(case), "--out", str(out), *QUICK, "--scenarios", "0"]) == 0
    return out


@pytest.fixture(scope="module")
def carried(folder: Path) -> Path:
    assert main(["carry", str(folder), "--seed", "3"]) == 0
    return folder / "robots"


@pytest.mark.long
def test_every_robot_gets_its_folder(carried):
    assert sorted(path.name for path in carried.iterdir()) == sorted(list_robots())
    reached = 0
    for name in list_robots():
        content = json.loads((carried / name / "carried.json").read_text(encoding="utf-8"))
        route = json.loads((carried / name / "route.json").read_text(encoding="utf-8"))
        orders = [item["order"] for item in route["insertions"]]
        *arrays, names = route_messages(carried / name / "route.json", orders)
        columns = json.loads(names.body.text)["columns"]
        assert columns == ["time_s", *route["joint_names"]]
        assert arrays and all(array.body.values.shape[1] == len(columns) for array in arrays)
        assert content["robot"] == route["robot"] == name
        assert content["insertions_reached"] == sum(i["status"] == "reached" for i in route["insertions"])
        assert 0 <= content["alternatives_share"] <= 1 and (carried / name / "base-map.png").is_file()
        assert (carried / name / "robot.urdf").read_text().startswith("<")
        if content["insertions_reached"]:
            reached += 1
            table = route_from_csv((carried / name / "trajectory.csv").read_text(encoding="utf-8"))
            assert len(table.joint_names) == len(route["joint_names"])
            assert (carried / name / "robot.png").is_file()
            error = content["expected_errors"][0]
            parts = error["lateral_rms_mm_by_origin"]
            assert error["lateral_rms_mm"] == pytest.approx(np.linalg.norm(list(parts.values())), abs=2e-3)
    assert reached >= 2


@pytest.mark.long
def test_a_worse_registration_lowers_the_chance(folder):
    planned = load_planned(PlanFolder(folder), None)
    good = carry_out(planned, "needle_arm7", registration=assumed_registration(planned.anatomy, 0.2))
    robot_plan = good.plan
    assert robot_plan.base.route.reached.all()
    calibration = CalibrationErrors(assumed_registration(planned.anatomy, 6.0))
    worse = route_errors(robot_plan.base.route, robot_plan.robot, robot_plan.placement, calibration)
    first, second = robot_plan.errors[0], worse[0]
    assert second.lateral_rms_mm**2 - first.lateral_rms_mm**2 == pytest.approx(2 * (36.0 - 0.04), rel=1e-6)
    chances = likelihoods_under(
        placement_budget(worse, preset_budget("robot")), planned.queries, planned.plan.insertions,
        planned.zone_model, 500, planned.plan.metrics.margin_mm, 0,
    )  # fmt: skip
    assert chances[0].event == good.chances[0].event
    assert chances[0].probability < good.chances[0].probability - 0.05


def test_alternatives_of_the_skin_lead_to_the_target(folder):
    planned = load_planned(PlanFolder(folder), None)
    target = planned.anatomy.target.mesh.bounds_mm.mean(axis=0)
    found = alternatives_of_skin(planned.skin, target, 12)
    assert len(found) == min(12, int((planned.skin.feasible > 0).sum()))
    np.testing.assert_array_equal(found.tip_mm, np.repeat(target[None], len(found), axis=0))
    feasible = {tuple(entry) for entry in planned.skin.entry_mm[planned.skin.feasible > 0]}
    assert {tuple(entry) for entry in found.entry_mm} <= feasible


@pytest.mark.long
def test_a_plan_for_a_robot_holds_only_what_it_reaches(case, tmp_path, capsys):
    arguments = ["plan", str(case), "--out", str(tmp_path), *QUICK, "--scenarios", "0", "--robot", "table_guide5"]
    code, out, err = run(capsys, *arguments)
    assert code == 0 and not err
    assert "planned for table_guide5 at" in out and "that are feasible for the anatomy" in out
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert "robot reach" in json.dumps(plan)
    carried = carry_out(load_planned(PlanFolder(tmp_path), None), "table_guide5")
    assert carried.reached_count == len(plan["insertions"])


@pytest.mark.long
def test_a_scanner_before_the_target_leaves_the_arm_its_work(folder):
    planned = load_planned(PlanFolder(folder), None)
    anatomy, robot = planned.anatomy, load_robot("needle_arm7")
    placement = place_anatomy(anatomy)
    paths = alternatives_of_skin(planned.skin, anatomy.target.mesh.bounds_mm.mean(axis=0), 20)
    shares = []
    for gantry in (None, gantry_from(800.0, None), gantry_from(800.0, 0.0)):
        around = Surroundings(placement, anatomy.entry.mesh, gantry)
        judged = judge_places((), paths, robot, placement, around)
        shares.append(judged.alternatives_share[judged.chosen])
        assert judged.home_clear[judged.chosen]
    free, before, within = shares
    assert free >= before - 0.1 and before > 0.4 and before > within + 0.2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--robot", "no_such_arm"], "no_such_arm"),
        (["--robot", "needle_arm7", "--robot", "needle_arm7"], "named twice"),
        (["--robot", "missing/arm.toml"], "missing/arm.toml"),
        (["--gantry-bore-mm", "200"], "bore"),
        (["--gantry-bore-mm", "800", "--gantry-at-mm", "1e9"], "gantry"),
        (["--gantry-at-mm", "600"], "--gantry-bore-mm"),
        (["--registration-mm", "-1"], "--registration-mm"),
        (["--registration-mm", "nan"], "--registration-mm"),
    ],
)
def test_bad_words_get_one_sentence(folder, words, said, capsys):
    code, _, err = run(capsys, "carry", str(folder), *words)
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err


def test_a_bore_without_a_robot_is_refused(case, tmp_path, capsys):
    code, _, err = run(capsys, "plan", str(case), "--out", str(tmp_path / "x"), "--gantry-bore-mm", "800")
    assert code == 2 and "--robot" in err and not (tmp_path / "x").exists()


def test_robots_are_listed_and_own_ones_read(tmp_path, capsys):
    code, out, _ = run(capsys, "robots")
    assert code == 0
    for name in list_robots():
        assert name in out
    own = tmp_path / "own.toml"
    own.write_text("schema = 'needleplan.robot'\nversion = 2\n", encoding="utf-8")
    code, _, err = run(capsys, "robots", str(own))
    assert code == 2 and "own.toml" in err and "missing" in err


@pytest.mark.long
def test_a_second_run_takes_the_place_of_the_first_and_of_nothing_else(folder, tmp_path):
    planned = load_planned(PlanFolder(folder), None)
    found = carry_out(planned, "industrial_arm6")
    place = tmp_path / "industrial_arm6"
    write_carried(place, found, bag=True)
    (place / "reading.txt").write_text("mine")
    assert (place / "bag").is_dir()
    with pytest.raises(OptionError, match=r"holds reading\.txt, which carried\.json does not name"):
        write_carried(place, found)
    (place / "reading.txt").unlink()
    write_carried(place, found)
    names = {path.name for path in place.iterdir()}
    assert names == {"carried.json", "route.json", "trajectory.csv", "robot.urdf", "robot.srdf"}
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="not written by carry"):
        write_carried(other, found)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["industrial_arm6", "mine"]
