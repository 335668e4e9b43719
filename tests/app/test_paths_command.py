"""The command that searches and explains paths, and every way in which there is none."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_cases import ball, box, made_case, queries_of
from small_case import TUMOUR, labels, table, write_case

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app.cli import build_parser, main
from needleplan.app.folder import PlanFolder
from needleplan.app.paths import study_paths
from needleplan.app.search_options import planning_from
from needleplan.case.model import Role, Structure
from needleplan.errors import PlanFileError
from needleplan.io.plan_file import read_plan
from needleplan.io.value_json import from_json, parse_strict, to_json
from needleplan.planning import PlanningOptions
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits
from needleplan.trajectory.skin_map import SkinMap

QUICK = ["--aims", "8", "--entry-spacing-mm", "18"]
APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient")
    assert main(["phantom", "--out", str(folder), "--voxel-mm", "4"]) == 0
    return folder / "case.toml"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), err


def written(folder: Path) -> dict:
    content = parse_strict((folder / "paths.json").read_text(encoding="utf-8"), "paths.json")
    assert content["schema"] == "needleplan.paths" and content["version"] == 1
    return content


def test_paths_of_a_feasible_case(phantom, tmp_path, capsys):
    code, out, err = run(capsys, "paths", str(phantom), "--out", str(tmp_path), *QUICK, "--no-pictures")
    assert code == 0 and not err
    study = written(tmp_path)
    assert study["feasible"] and study["feasible_count"] > 0 and not study["evidence"]
    assert f"{study['feasible_count']} of {study['candidates']} candidate paths" in out
    assert "The chosen path enters at" in out
    costs = [path["cost"] for path in study["best"]]
    assert costs == sorted(costs) and len(costs) >= 2
    for path in study["best"]:
        assert np.linalg.norm(np.subtract(path["entry_mm"], path["tip_mm"])) == pytest.approx(path["length_mm"])
    skin = from_json(SkinMap, study["skin"], "skin")
    assert len(skin) == study["entries"] and int(skin.open.sum()) == study["open_entries"]
    assert int(skin.candidates.sum()) == study["candidates"]
    assert skin.blocked_counts() == study["blocked_entries"]
    assert skin.best_cost[skin.open].min() == pytest.approx(costs[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paths.json"]


def test_listed_paths_are_followed_over_the_breath(phantom, tmp_path, capsys):
    folders = {}
    for peak in ("0", "6", "18"):
        folders[peak] = tmp_path / peak
        arguments = ["--out", str(folders[peak]), *QUICK, "--no-pictures", "--peak-mm", peak, "--period-s", "5"]
        code, out, err = run(capsys, "paths", str(phantom), *arguments)
        assert code == 0 and not err
        assert out.count("over the breath, lujan") == len(written(folders[peak])["best"])
    still, quiet, deep = (written(folder)["best"] for folder in folders.values())
    for path in still:
        clearances = {
            k.removeprefix("clearance to "): v for k, v in path["constraints"].items() if "clearance" in k
        }
        assert path["breath"]["safe_share"] == 1.0
        for name, least in path["breath"]["least_mm"].items():
            assert least == pytest.approx(clearances[name], abs=0.1) and least <= clearances[name] + 1e-3
    assert [path["entry_mm"] for path in still] == [path["entry_mm"] for path in deep]
    for one, other in zip(quiet, deep, strict=True):
        assert all(other["breath"]["least_mm"][k] <= v + 0.1 for k, v in one["breath"]["least_mm"].items())
        begin, end = np.array(other["breath"]["windows_s"]).reshape(-1, 2).T
        span = other["breath"]["span_s"]
        assert other["breath"]["safe_share"] == pytest.approx((end - begin).sum() / span, abs=0.02)
    assert any(path["breath"]["safe_share"] < 1.0 for path in deep)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peak-mm", "-1"], "between 0 and 100 mm"),
        (["--peak-mm", "nan"], "between 0 and 100 mm"),
        (["--peak-mm", "9", "--period-s", "0"], "between 1 and 30 s"),
        (["--trace", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_breathing_that_cannot_be_is_refused(phantom, tmp_path, capsys, arguments, words):
    code, _, err = run(capsys, "paths", str(phantom), "--out", str(tmp_path / "out"), *QUICK, *arguments)
    assert code == 2 and words in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_paths_without_a_folder_writes_nothing(phantom, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "paths", str(phantom), *QUICK)[0] == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_skin_map_is_drawn_by_paths_and_in_the_report_of_a_plan(phantom, tmp_path, capsys):
    assert run(capsys, "paths", str(phantom), "--out", str(tmp_path / "paths"), *QUICK)[0] == 0
    assert (tmp_path / "paths" / "skin-map.png").stat().st_size > 20_000
    folder = tmp_path / "plan"
    arguments = ["plan", str(phantom), "--out", str(folder), *QUICK, "--time-limit-s", "10"]
    assert run(capsys, *arguments)[0] == 0
    assert (folder / "pictures" / "skin-map.png").stat().st_size > 20_000
    assert "Where a path can start" in (folder / "report.html").read_text(encoding="utf-8")
    kept = PlanFolder(folder).read_skin_map()
    assert kept is not None and kept.candidates.sum() == read_plan(folder / "plan.json").candidate_count
    content = json.loads((folder / "skin_map.json").read_text())
    for damage in ({"schema": "else"}, {"blocked_by": [99] * len(content["blocked_by"])}, {"units": []}):
        (folder / "skin_map.json").write_text(json.dumps(content | damage))
        with pytest.raises(PlanFileError, match=r"skin_map\.json"):
            PlanFolder(folder).read_skin_map()
    code, _, err = run(capsys, "report", str(folder))
    assert code == 2 and len(err.strip().splitlines()) == 1


@pytest.mark.long
def test_preset_is_taken_and_single_limits_override_it(phantom, tmp_path, capsys):
    options = {}
    for name, extra in (
        ("none", []),
        ("preset", ["--preset", "liver"]),
        ("both", ["--preset", "liver", "--clearance", "bone=0.5", "--skin-angle-deg", "41"]),
    ):
        code, _, err = run(
            capsys, "paths", str(phantom), "--out", str(tmp_path / name), *QUICK, "--no-pictures", *extra
        )
        assert code in (0, 3) and not err
        options[name] = written(tmp_path / name)["options"]
    assert options["none"] != options["preset"]
    changed = {key for key in options["both"] if options["both"][key] != options["preset"][key]}
    assert changed <= {"limits.bone_mm", "limits.skin_angle_deg"}
    assert options["both"]["limits.bone_mm"] == 0.5 and options["both"]["limits.skin_angle_deg"] == 41
    code, _, err = run(capsys, "plan", str(phantom), "--out", str(tmp_path / "p"), *QUICK, "--preset", "knee")
    assert code == 2 and "knee" in err and len(err.strip().splitlines()) == 1


#: Name and options that make every path impossible, and words that the evidence must hold, every one of them.
INFEASIBLE = [
    ("clearance larger than the organ", ["--clearance", "vessel=45"], ["No path whatever can keep 45 mm"]),
    ("table angle", ["--table-angle-deg", "0.2"], ["Relaxing 'table side' by"]),
    ("contradiction", ["--skin-angle-deg", "2", "--organ-path-mm", "60"], ["together, though each"]),
]


@pytest.mark.parametrize(("name", "extra", "words"), INFEASIBLE, ids=[item[0] for item in INFEASIBLE])
@pytest.mark.parametrize("command", ["paths", "plan"])
def test_infeasible_ends_with_evidence_and_exit_3(command, name, extra, words, phantom, tmp_path, capsys):
    code, out, err = run(capsys, command, str(phantom), "--out", str(tmp_path), *QUICK, "--no-pictures", *extra)
    assert code == 3 and not err
    for text in words:
        assert text in out, out
    if command == "plan":
        assert read_plan(tmp_path / "plan.json").evidence
        return
    study = written(tmp_path)
    assert not study["feasible"] and study["evidence"] and study["sentences"] and not study["best"]
    assert study["blocked_entries"] and sum(study["blocked_entries"].values()) == study["entries"]


def test_needle_shorter_than_any_path_is_told_the_shortest(phantom, tmp_path, capsys):
    tables = Path(__file__).parents[2] / "examples" / "tables"
    applicators, zones = sorted(tables.glob("*applicators*.csv"))[0], sorted(tables.glob("*zones*.csv"))[0]
    with applicators.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    short = tmp_path / "applicators.csv"
    with short.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row | {"usable_length_mm": "30"})
    own = ["--applicators-csv", str(short), "--zones-csv", str(zones), "--applicator", row["applicator"]]
    code, out, _ = run(capsys, "paths", str(phantom), "--out", str(tmp_path / "o"), *QUICK, *own, "--no-pictures")
    assert code == 3
    shortest = float(re.search(r"the shortest path is ([\d.]+) mm long", out)[1])
    assert 30 < shortest < 200


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--clearance", "vessel=60"], "between 0 and 50"),
        (["--clearance", "nerve=1"], "ROLE=MM"),
        (["--skin-angle-deg", "nan"], "skin angle"),
        (["--aims", "0"], "aims"),
        (["--applicator", "laser-sword"], "generic-mwa-2450"),
        (["--preset", "knee"], "knee"),
        (["--preset", "nowhere/my.toml"], "my.toml"),
        (["--margin-mm", "5"], "--margin-mm belongs to plan"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(extra, words, phantom, tmp_path, capsys):
    code, _, err = run(capsys, "paths", str(phantom), "--out", str(tmp_path / "o"), *QUICK, *extra)
    assert code == 2 and words in err
    assert len(err.strip().splitlines()) == 1 and err.startswith("needleplan: error: ")


@pytest.mark.parametrize("command", ["paths", "plan"])
def test_empty_entry_region_and_target_outside_are_refused(command, tmp_path, capsys):
    region = table("window", "entry_region", [TUMOUR])
    path = write_case(tmp_path, extra=region)
    code, _, err = run(capsys, command, str(path), "--out", str(tmp_path / "o"), *QUICK)
    assert code == 2 and "entry region misses the skin" in err and len(err.strip().splitlines()) == 1
    values = labels()
    values[values == TUMOUR] = 2
    values[1:4, 1:4, 1:4] = TUMOUR
    outside = tmp_path / "outside"
    outside.mkdir()
    path = write_case(outside, values, skin=table("skin", "skin", [1, 2, 4, 5, 6]))
    code, _, err = run(capsys, command, str(path), "--out", str(tmp_path / "o"), *QUICK)
    assert code == 2 and "target" in err and len(err.strip().splitlines()) == 1


def test_study_of_an_enclosed_target_has_words_and_can_be_written():
    bone = box((-40, -40, -40), (40, 40, 40))
    queries = queries_of(made_case(ball((0, 0, 0), 12), ball((0, 0, 0), 80, 4), Structure("bone", Role.BONE, bone)))
    options = PlanningOptions(sampling=SamplingOptions(20.0, 6), limits=PathLimits(bone_mm=1.0))
    study = study_paths(queries, APPLICATOR, options)
    assert not study.feasible and study.comparison is None and study.open_entries == 0
    assert study.blocked_entries == {"clearance to bone": study.entries}
    assert any("No change of limits opens any" in text for text in study.sentences)
    again = from_json(SkinMap, to_json(study)["skin"], "skin")
    np.testing.assert_array_equal(again.blocked_by, study.skin.blocked_by)
    assert json.dumps(to_json(study), allow_nan=False)


@pytest.mark.parametrize("extra", [[], ["--trace", "nowhere.csv"]])
def test_a_period_without_an_amplitude_is_refused(extra, phantom, tmp_path, capsys):
    out = tmp_path / "out"
    code, _, err = run(capsys, "paths", str(phantom), "--out", str(out), *QUICK, "--period-s", "5", *extra)
    assert code == 2 and "--peak-mm" in err and len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_a_role_given_two_clearances_is_refused(phantom, tmp_path, capsys):
    twice = ["--clearance", "vessel=3", "--clearance", "bone=1", "--clearance", "vessel=4"]
    code, _, err = run(capsys, "paths", str(phantom), *QUICK, *twice)
    assert code == 2 and "vessel twice" in err and len(err.strip().splitlines()) == 1


def test_refine_sets_how_many_further_paths_are_looked_at(phantom, tmp_path, capsys):
    candidates = {}
    for count in ("0", "300"):
        arguments = ["--out", str(tmp_path / count), *QUICK, "--no-pictures", "--refine", count]
        assert run(capsys, "paths", str(phantom), *arguments)[0] in (0, 3)
        candidates[count] = written(tmp_path / count)["candidates"]
    assert candidates["0"] < candidates["300"]
    for wrong, words in (("-1", "whole number"), ("99999999", "maximum refined")):
        code, _, err = run(capsys, "paths", str(phantom), *QUICK, "--refine", wrong)
        assert code == 2 and words in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "most"), [([], PlanningOptions().search.maximum_refined), (["--refine", "7"], 7)]
)
def test_plan_takes_refine_too_and_keeps_the_default(given, most, tmp_path):
    options = build_parser().parse_args(["plan", "case.toml", "--out", str(tmp_path), *given])
    assert planning_from(options)[0].search == dataclasses.replace(PlanningOptions().search, maximum_refined=most)
