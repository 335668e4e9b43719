"""The command line as a user meets it: results, one-sentence errors, exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken_inputs import BROKEN
from pyarrow import parquet

from needleplan.app.cli import main
from needleplan.io.plan_file import plan_hash, read_outcome, read_plan
from needleplan.plan import PlanStatus

QUICK = ["--aims", "8", "--entry-spacing-mm", "18", "--time-limit-s", "10", "--no-pictures", "--no-physics"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient")
    assert main(["phantom", "--out", str(folder), "--voxel-mm", "4"]) == 0
    return folder / "case.toml"


@pytest.fixture(scope="module")
def planned(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    assert main(["plan", str(phantom), "--out", str(folder), *QUICK]) == 0
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(list(arguments))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def assert_one_sentence(err: str) -> None:
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("needleplan: error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(("name", "build", "words"), BROKEN, ids=[entry[0] for entry in BROKEN])
@pytest.mark.parametrize("command", ["check", "plan"])
def test_broken_case_gives_one_sentence_and_exit_2(
    name, build, words, command, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.delenv("NEEDLEPLAN_DATA", raising=False)
    case = build(tmp_path)
    out = tmp_path / "results"
    extra = ["--out", str(out), "--no-pictures"] if command == "plan" else []
    code, _, err = run(capsys, command, str(case), *extra)
    assert code == 2
    assert_one_sentence(err)
    assert re.search(words if "|" in words else re.escape(words), err), (words, err)
    assert not out.exists(), "a refused case must leave nothing behind"


def test_check_of_a_sound_case(phantom, capsys) -> None:
    code, out, err = run(capsys, "check", str(phantom))
    assert code == 0
    assert "ready to plan" in out
    assert "liver" in out
    assert not err


def test_plan_folder_holds_what_it_should(planned) -> None:
    plan = read_plan(planned / "plan.json")
    assert plan.status is PlanStatus.COMPLETE
    assert plan.metrics is not None
    assert plan.metrics.target_coverage_fraction == 1.0
    assert sorted(path.name for path in planned.iterdir()) == [
        "assessment.json",
        "plan.json",
        "skin_map.json",
        "source.json",
    ]


@pytest.mark.long
def test_simulate_assess_report(planned, capsys) -> None:
    quick = ["--no-film", "--moments", "1", "--seed", "3"]
    code, out, _ = run(capsys, "simulate", str(planned), *quick)
    assert code == 0
    assert "tip error" in out
    first = (planned / "outcome.json").read_bytes() + (planned / "outcome_ungated.json").read_bytes()
    assert run(capsys, "simulate", str(planned), *quick)[0] == 0
    assert (planned / "outcome.json").read_bytes() + (planned / "outcome_ungated.json").read_bytes() == first
    gated, ungated = read_outcome(planned / "outcome.json"), read_outcome(planned / "outcome_ungated.json")
    assert (gated.strategy, ungated.strategy) == ("amplitude-gating", "free-breathing")
    assert gated.seed == ungated.seed == 3
    assert len(gated.needles) == len(read_plan(planned / "plan.json").insertions)
    code, out, _ = run(capsys, "assess", str(planned))
    assert code == 0
    scores = json.loads((planned / "assessment.json").read_text())["scores"]
    assert set(scores) == {"planned", "rehearsed, amplitude-gating", "rehearsed, free-breathing"}
    tables = {path.name: parquet.read_table(path) for path in (planned / "tables").iterdir()}
    assert set(tables) == {"needles.parquet", "trace.parquet", "events.parquet"}
    errors = tables["needles.parquet"]["tip_error_mm"].to_pylist()
    assert errors == [needle.tip_error_mm for outcome in (gated, ungated) for needle in outcome.needles]
    code, _, _ = run(capsys, "report", str(planned))
    assert code == 0
    page = (planned / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in page
    assert (planned / "pictures" / "planes.png").stat().st_size > 10_000
    assert (planned / "pictures" / "breathing-free-breathing.png").stat().st_size > 10_000


@pytest.mark.long
def test_a_fault_is_rehearsed_alone_and_told(planned, capsys, monkeypatch) -> None:
    code, out, err = run(
        capsys, "simulate", str(planned), "--no-film", "--fault", "jammed-joint", "--strategy", "tracking"
    )
    assert code == 0 and not err
    assert "switched on: jammed-joint at needle 1, at 40 % of the depth" in out
    outcome = read_outcome(planned / "outcome.json")
    assert outcome.strategy == "tracking" and outcome.faults
    assert not (planned / "outcome_ungated.json").exists() and not (planned / "moments.json").exists()
    # A rehearsal that cannot begin leaves what was there.
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, _, err = run(capsys, "simulate", str(planned), "--no-film", "--display")
    assert code == 2 and "no display" in err
    assert_one_sentence(err)
    assert read_outcome(planned / "outcome.json").strategy == "tracking"


@pytest.mark.long
def test_rehearse_writes_a_study_that_does_not_depend_on_the_processes(planned, tmp_path, capsys) -> None:
    words = ["rehearse", str(planned), "--runs", "2", "--seed", "5", "--irregular", "--strategy"]
    code, out, err = run(capsys, *words, "free-breathing,amplitude-gating", "--jobs", "2")
    assert code == 0 and not err
    for words_of_study in ("tip error, mm", "amplitude-gating", "error budget of free-breathing", "what differs"):
        assert words_of_study in out, out
    folder = planned / "rehearsals"
    assert sorted(path.name for path in folder.iterdir()) == [
        "error_budget.json", "rehearsals.json", "rehearsals.parquet", "rehearsals.png",
    ]  # fmt: skip
    study = json.loads((folder / "rehearsals.json").read_text())
    assert [item["strategy"] for item in study["strategies"]] == ["free-breathing", "amplitude-gating"]
    assert study["settings"]["runs"] == 2 and len(study["differences"]) == 1
    plan = read_plan(planned / "plan.json")
    table = parquet.read_table(folder / "rehearsals.parquet")
    assert table.num_rows == 4 * len(plan.insertions)
    assert table.schema.metadata[b"plan_hash"].decode() == plan_hash(plan)
    budgets = json.loads((folder / "error_budget.json").read_text())["budgets"]
    assert all(item["chances"][0]["event"] == "the target is covered" for item in budgets)
    again = tmp_path / "again"
    assert run(capsys, *words, "amplitude-gating", "--jobs", "1", "--out", str(again))[0] == 0
    expected = [row for row in table.to_pylist() if row["strategy"] == "amplitude-gating"]
    assert parquet.read_table(again / "rehearsals.parquet").to_pylist() == expected


def test_infeasible_case_is_a_plan_with_evidence_and_exit_3(phantom, tmp_path, capsys) -> None:
    code, out, err = run(
        capsys, "plan", str(phantom), "--out", str(tmp_path / "no"), *QUICK, "--table-angle-deg", "0.5"
    )
    assert code == 3
    assert not err
    plan = read_plan(tmp_path / "no" / "plan.json")
    assert plan.status is PlanStatus.INFEASIBLE
    assert plan.evidence and not plan.insertions
    assert "table side" in out
    code, _, err = run(capsys, "simulate", str(tmp_path / "no"))
    assert code == 2
    assert_one_sentence(err)


def test_plan_of_another_case_is_refused(planned, tmp_path, capsys) -> None:
    other = tmp_path / "other"
    assert main(["phantom", "--out", str(other), "--voxel-mm", "4", "--seed", "9"]) == 0
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "plan.json").write_bytes((planned / "plan.json").read_bytes())
    (folder / "source.json").write_text(
        json.dumps({"schema": "needleplan.source", "case": str(other / "case.toml"), "data": None})
    )
    capsys.readouterr()
    code, _, err = run(capsys, "assess", str(folder))
    assert code == 2
    assert_one_sentence(err)
    assert "plan the case again" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("{,}", "not JSON"),
        ('{"schema": "needleplan.plan", "version": 1, "version": 1}', "occurs twice"),
        ('{"schema": "needleplan.plan", "version": NaN}', "NaN"),
        ('{"schema": "needleplan.plan", "version": 3}', "version"),
        ('{"schema": "else", "version": 1}', "schema"),
        ('{"schema": "needleplan.plan", "version": 2, "case_name": "x"}', "lacks the field"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_damaged_plan_file(content, words, tmp_path, capsys) -> None:
    (tmp_path / "plan.json").write_text(content)
    code, _, err = run(capsys, "assess", str(tmp_path))
    assert code == 2
    assert_one_sentence(err)
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "{case}", "--out", "{out}", "--margin-mm", "-1"], "margin"),
        (["plan", "{case}", "--out", "{out}", "--margin-mm", "nan"], "margin"),
        (["plan", "{case}", "--out", "{out}", "--margn-mm", "5"], "did you mean --margin-mm?"),
        (["plan", "{case}", "--out", "{out}", "--applicator", "laser-sword"], "generic-mwa-2450"),
        (["plan", "{case}", "--out", "{out}", "--clearance", "vessel=-1"], "clearance"),
        (["plan", "{case}", "--out", "{out}", "--clearance", "nerve=3"], "ROLE=MM"),
        (["plan", "{case}", "--out", "{out}", "--skin-angle-deg", "120"], "skin angle"),
        (["plan", "{case}", "--out", "{out}", "--max-insertions", "0"], "insertions"),
        (["plan", "{case}", "--out", "{out}", "--max-insertions", "101"], "at most 100 insertions"),
        (["plan", "{case}", "--out", "{out}", "--zones-csv", "{case}"], "go together"),
        (["simulate", "{out}"], "plan.json"),
        (["simulate", "{planned}", "--peak-mm", "-3"], "peak"),
        (["simulate", "{planned}", "--trace", "{case}"], ""),
        (["simulate", "{planned}", "--robot", "hal9000"], "needle_arm7"),
        (["simulate", "{planned}", "--gate-mm", "0"], ""),
        (["simulate", "{planned}", "--moments", "-1"], "moments"),
        (["simulate", "{planned}", "--moments", "1001"], "0 to 1000"),
        (["simulate", "{planned}", "--strategy", "hope"], "breath-hold"),
        (["simulate", "{planned}", "--fault", "earthquake"], "jammed-joint"),
        (["simulate", "{planned}", "--fault", "cough@one"], "kind@needle:share"),
        (["simulate", "{planned}", "--fault", "cough@9"], "no needle 9"),
        (["simulate", "{planned}", "--gantry-at-mm", "500"], "--gantry-bore-mm"),
        (["simulate", "{planned}", "--stepwise-mm", "0.1"], "steps"),
        (["simulate", "{planned}", "--lag-deg", "500"], "phase shift"),
        (["rehearse", "{out}"], "plan.json"),
        (["rehearse", "{planned}", "--runs", "0"], "number of runs"),
        (["rehearse", "{planned}", "--jobs", "0"], "number of processes"),
        (["rehearse", "{planned}", "--strategy", "all,tracking"], "'all'"),
        (["rehearse", "{planned}", "--noise", "much"], "robot, none"),
        (["rehearse", "{planned}", "--out", "{planned}"], "not written by rehearse"),
        (["plan", "missing.toml", "--out", "{out}"], "missing.toml"),
        (["demo", "--out", "{case}"], ""),
        (["phantom", "--out", "{out}", "--voxel-mm", "0"], ""),
        (["fly"], "fly"),
    ],
)
def test_bad_arguments(arguments, words, phantom, planned, tmp_path, capsys) -> None:
    places = {"case": str(phantom), "out": str(tmp_path / "o"), "planned": str(planned)}
    code, _, err = run(capsys, *(text.format(**places) for text in arguments))
    assert code == 2
    assert_one_sentence(err)
    assert words in err


def test_devices_and_robots(capsys) -> None:
    code, out, _ = run(capsys, "devices")
    assert code == 0
    assert "COMPUTED" in out
    code, out, _ = run(capsys, "robots")
    assert code == 0
    assert "needle_arm7" in out


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, contextlib, io\n"
        "from needleplan.app.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['plan', '--help'])\n"
        "print(sorted(set(sys.modules) & {'numpy', 'scipy', 'vtk', 'rich', 'pydantic', 'trimesh', 'open3d'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_own_tables_travel_with_the_plan_and_are_not_mixed_up(phantom, tmp_path, capsys) -> None:
    tables = Path(__file__).parents[2] / "examples" / "tables"
    applicators, zones = sorted(tables.glob("*applicators*.csv"))[0], sorted(tables.glob("*zones*.csv"))[0]
    name = applicators.read_text().splitlines()[1].split(",")[0]
    setting = zones.read_text().splitlines()[1].split(",")[1]
    out = tmp_path / "own"
    out.mkdir()
    for source, kept in ((applicators, "applicators.csv"), (zones, "zones.csv")):
        (out / kept).write_bytes(source.read_bytes())
    own = ["--applicators-csv", str(out / "applicators.csv"), "--zones-csv", str(out / "zones.csv")]
    arguments = ["plan", str(phantom), "--out", str(out), *QUICK, *own, "--applicator", name, "--setting", setting]
    assert run(capsys, *arguments)[0] == 0
    assert (out / "zones.csv").read_bytes() == zones.read_bytes(), "a user's file in the folder must survive"
    assert run(capsys, "assess", str(out))[0] == 0
    (out / "zones.csv").unlink()
    code, _, err = run(capsys, "assess", str(out))
    assert code == 2
    assert_one_sentence(err)
    assert "zone tables" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["phantom", "--seed", "-1", "--out", "x"],
        ["demo", "--seed", "-4", "--out", "x"],
        ["simulate", "{planned}", "--seed", "-1"],
        ["plan", "{case}", "--out", "{out}", "--seed", "-1"],
        ["plan", "{case}", "--out", "{out}", "--aims", "1000000000"],
        ["plan", "{case}", "--out", "{out}", "--entry-spacing-mm", "0.001"],
        ["plan", "{case}", "--out", "{out}", "--entry-spacing-mm", "inf"],
        ["plan", "{case}", "--out", "{out}", "--time-limit-s", "inf"],
        ["plan", "{case}", "--out", "{out}", "--wanted-margin-mm", "1"],
        ["plan", "{case}", "--out", "{out}", "--levels", "insertions,depth"],
        ["plan", "{case}", "--out", "{out}", "--levels", "time"],
        ["plan", "{case}", "--out", "{out}", "--needles-at-once", "0"],
        ["plan", "{case}", "--out", "{out}", "--thermal-margin", "liver=3"],
        ["plan", "{case}", "--out", "{out}", "--thermal-margin", "bowel=many"],
        ["plan", "{case}", "--out", "{out}", "--thermal-margin", "bowel=3", "--thermal-margin", "bowel=4"],
        ["plan", "{case}", "--out", "{out}", "--least-organ-fraction", "1.5"],
        ["plan", "{case}", "--out", "{out}", "--tumour", "cheese"],
        ["plan", "{case}", "--out", "{out}", "--physics-rounds", "0"],
        ["plan", "{case}", "--out", "{out}", "--error-budget", "none"],
        ["plan", "{case}", "--out", "{out}", "--scenarios", "-1"],
        ["plan", "{case}", "--out", "{case}"],
        ["plan", "{case}", "--out", ""],
    ],
)
def test_impossible_values_are_refused_at_once(arguments, phantom, planned, tmp_path, capsys) -> None:
    places = {"case": str(phantom), "out": str(tmp_path / "o"), "planned": str(planned)}
    code, _, err = run(capsys, *(text.format(**places) for text in arguments))
    assert code == 2
    assert_one_sentence(err)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("metrics", "margin_mm"), 1e30, "margin_mm must be 0 to 50"),
        (("metrics", "target_coverage_fraction"), -5.0, "target_coverage_fraction must be 0 to 1"),
        (("provenance", "options", "coverage.margin_mm"), True, "option coverage.margin_mm"),
    ],
)
def test_a_plan_that_nobody_can_have_planned_is_refused_by_every_command(
    place, value, words, planned, phantom, tmp_path, capsys
) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    content = json.loads((planned / "plan.json").read_text())
    owner = content
    for part in place[:-1]:
        owner = owner[part]
    owner[place[-1]] = value
    (folder / "plan.json").write_text(json.dumps(content))
    source = json.loads((planned / "source.json").read_text())
    (folder / "source.json").write_text(json.dumps(source | {"plan": None, "case": str(phantom)}))
    for command in (
        ["assess"],
        ["report"],
        ["simulate", "--no-film"],
        ["export", "--out", str(tmp_path / "files")],
    ):
        code, _, err = run(capsys, command[0], str(folder), *command[1:])
        assert code == 2 and words in err
        assert_one_sentence(err)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "source.json"]
