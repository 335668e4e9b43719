"""The engine with made-up work: any number of workers, deaths, kills, failures, folders that are not its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_study import (
    SMALL,
    made_study,
    slow_work,
    small_study,
    work,
    work_without_files,
    work_without_room,
)

from needleplan.anatomy.phantom import make_phantom
from needleplan.app.phantom_files import save_phantom
from needleplan.app.study import engine
from needleplan.app.study.engine import run_study
from needleplan.app.study.stopping import StudyStopped, stopping
from needleplan.app.study.study import Outputs, StudyCase
from needleplan.app.study.study_folder import StudyFolder
from needleplan.errors import NetworkError, OptionError, PlanFileError
from needleplan.io.study_table import read_rows, read_times

HERE = Path(__file__).parent
MAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from made_study import made_study, slow_work
from needleplan.app.study.engine import run_study
if __name__ == "__main__":
    study = made_study(6, 3, Path(sys.argv[1]))
    run_study(study, Path(sys.argv[2]), workers=2, resume="resume" in sys.argv, work=slow_work)
"""
NOTEBOOK = """
import asyncio
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from made_study import made_study, work
from needleplan.app.study.engine import run_study

async def cell():
    # A notebook's cells are called by an event loop that runs in the main thread.
    folder = Path(sys.argv[1])
    run_study(made_study(6, 3, folder / "log"), folder / "own", workers=1, work=work)
    run_study(made_study(6, 3, folder / "log"), folder / "cluster", scheduler=sys.argv[2], work=work)

if __name__ == "__main__":
    asyncio.run(cell())
"""


def computed(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines())


@pytest.fixture(autouse=True)
def signals_as_a_terminal_gives_them():
    """Who starts the tests in the background may have some ignored, and a study leaves ignored ones alone."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """results.parquet of 6 cases of 3 cells by one worker."""
    folder = tmp_path_factory.mktemp("undisturbed")
    summary = run_study(made_study(6, 3, folder / "log"), folder / "out", workers=1, work=work)
    assert (summary.computed, summary.kept, summary.twice, summary.statuses["complete"]) == (18, 0, 0, 18)
    return (folder / "out" / "results.parquet").read_bytes()


@pytest.mark.long
def test_results_are_the_same_bytes_by_two_workers_one_of_which_is_killed(undisturbed, tmp_path):
    killed = []

    def kill_one(state):
        if state.computed >= 4 and not killed:
            found = json.loads(next((tmp_path / "out" / "rows").rglob("*.json")).read_text())
            killed.append(int(found["times"]["worker"]))
            os.kill(killed[0], signal.SIGKILL)

    study = made_study(6, 3, tmp_path / "log")
    summary = run_study(study, tmp_path / "out", workers=2, work=slow_work, progress=kill_one)
    assert killed and summary.twice == 0
    assert (tmp_path / "out" / "results.parquet").read_bytes() == undisturbed
    # A cell that was at hand when its worker died is computed again; no finished one is.
    assert set(computed(tmp_path / "log").values()) == {1}
    rows, times = read_rows(tmp_path / "out" / "results.parquet"), read_times(tmp_path / "out" / "times.parquet")
    assert [(r.case, r.cell) for r in rows] == [(t.case, t.cell) for t in times]
    assert [(r.case, r.cell) for r in rows] == [(c.name, e.name) for c in study.cases for e in study.cells]


@pytest.mark.long
def test_a_run_that_is_killed_is_finished_by_resume(undisturbed, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(MAIN.format(here=str(HERE)), encoding="utf-8")
    log, out = tmp_path / "log", tmp_path / "out"
    words = [sys.executable, str(script), str(log), str(out)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(out.rglob("rows/*/*.json"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    finished = {path.stem for path in out.rglob("rows/*/[0-9a-f]*.json")}
    assert finished and not (out / "results.parquet").exists()
    kept = len(list(out.rglob("rows/*/[0-9a-f]*.json")))
    study = made_study(6, 3, log)
    with pytest.raises(OptionError, match="--resume"):
        run_study(study, out, workers=1, work=work)
    summary = run_study(study, out, workers=2, resume=True, work=slow_work)
    assert (summary.kept, summary.computed, summary.twice) == (kept, 18 - kept, 0)
    assert (out / "results.parquet").read_bytes() == undisturbed
    # At most the two cells that were at hand, and had been logged but not told, are computed again.
    assert sum(computed(log).values()) <= 18 + 2
    again = run_study(study, out, workers=1, resume=True, work=work)
    assert (again.kept, again.computed) == (18, 0)


@pytest.mark.long
def test_cells_that_fail_or_kill_their_worker_are_rows_with_their_reason(tmp_path):
    study = made_study(5, 3, tmp_path / "log", ("deadly", "bad", "fatal"))
    summary = run_study(study, tmp_path / "out", workers=2, work=work)
    rows = {(row.case, row.margin_mm): row for row in read_rows(tmp_path / "out" / "results.parquet")}
    assert summary.statuses == {"complete": 9, "partial": 0, "infeasible": 0, "failed": 6}
    assert "worker died 3 times" in rows["deadly", 1.0].reason
    assert rows["deadly", 0.0].status == rows["deadly", 2.0].status == "complete"
    assert rows["bad", 1.0].reason == rows["bad", 2.0].reason == "RuntimeError: a fault of two lines"
    assert {rows["fatal", float(k)].status for k in range(3)} == {"failed"}
    assert all(rows[f"case-{k:04d}", 2.0].status == "complete" for k in range(2))
    assert max(computed(tmp_path / "log").values()) == 1


def test_a_folder_that_is_not_the_studys_is_refused(tmp_path, undisturbed):
    study, out = made_study(1, 1, tmp_path / "log"), tmp_path / "out"
    with pytest.raises(OptionError, match="no study to resume"):
        run_study(study, out, resume=True, work=work)
    assert not out.exists()
    out.mkdir()
    (out / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match=r"holds no study\.json"):
        run_study(study, out, work=work)
    (out / "letter.txt").unlink()
    with StudyFolder(out).locked(), pytest.raises(OptionError, match="another study is running"):
        run_study(study, out, work=work)
    StudyFolder(out).open(study, engine.software_versions(), False)
    with pytest.raises(OptionError, match="other cases, factors"):
        run_study(replace(study, seed=9), out, resume=True, work=work)
    record = json.loads((out / "study.json").read_text())
    for name, said in (("numpy", "numpy is .*, not 0.1"), ("source", "the source of needleplan")):
        changed = record | {"versions": record["versions"] | {name: "0.1"}}
        (out / "study.json").write_text(json.dumps(changed))
        with pytest.raises(OptionError, match=said):
            run_study(study, out, resume=True, work=work)
    (out / "study.json").write_text(json.dumps(record)[:-40])
    with pytest.raises(PlanFileError, match=r"study\.json"):
        run_study(study, out, resume=True, work=work)
    with pytest.raises(OptionError, match="number of processes"):
        run_study(study, tmp_path / "other", workers=0, work=work)


def test_a_case_whose_files_changed_is_told_and_only_its_name_is_kept(tmp_path):
    manifest = tmp_path / "somebody" / "case.toml"
    save_phantom(make_phantom(SMALL, np.random.default_rng(0)), manifest.parent, 6.0)
    labels = manifest.parent / "labels.nii.gz"
    study = replace(made_study(1, 1, tmp_path / "log"), cases=(StudyCase("a", manifest=manifest),))
    folder = StudyFolder(tmp_path / "out")
    folder.root.mkdir()
    folder.open(study, engine.software_versions(), False)
    folder.open(study, engine.software_versions(), True)
    assert "somebody" not in folder.record.read_text(encoding="utf-8")
    for path in (manifest, labels):
        before = path.read_bytes()
        for changed in (before + b"\n", None):
            path.unlink() if changed is None else path.write_bytes(changed)
            with pytest.raises(OptionError, match="files of the case a have changed"):
                folder.open(study, engine.software_versions(), True)
            path.write_bytes(before)
    folder.open(study, engine.software_versions(), True)


def test_a_disk_that_is_full_is_one_sentence_and_the_study_resumes(tmp_path, monkeypatch):
    study, out = made_study(4, 2, tmp_path / "log"), tmp_path / "out"
    usual = StudyFolder.write_cell
    written = []

    def full(self, *words):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(usual(self, *words))

    monkeypatch.setattr(StudyFolder, "write_cell", full)
    with pytest.raises(PlanFileError, match=r"No space left on device.*--resume"):
        run_study(study, out, workers=1, work=work)
    monkeypatch.setattr(StudyFolder, "write_cell", usual)
    summary = run_study(study, out, workers=1, resume=True, work=work)
    assert (summary.kept, summary.computed) == (3, 5)


def test_nobody_answers_at_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr("needleplan.app.study.cluster.ANSWER_S", 1.0)
    for k, address in enumerate(("tcp://127.0.0.1:9", "nonsense://x", "tcp://")):
        begun = time.monotonic()
        with pytest.raises(NetworkError, match=r"no scheduler answers|is no address of a scheduler"):
            run_study(made_study(1, 1, tmp_path / "log"), tmp_path / str(k), scheduler=address, work=work)
        assert time.monotonic() - begun < 30.0


@pytest.fixture
def cluster(tmp_path):
    """(address, processes) of a scheduler and two workers in processes of their own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    port_file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": environment}
    processes = [
        subprocess.Popen(
            [
                *dask,
                "scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--scheduler-file",
                port_file,
                "--no-dashboard",
            ],
            **quiet,
        )
    ]
    for _ in range(600):
        if port_file.is_file() and port_file.stat().st_size:
            break
        time.sleep(0.05)
    address = json.loads(port_file.read_text())["address"]
    processes += [
        subprocess.Popen([*dask, "worker", address, "--nthreads", "1", "--no-dashboard"], cwd=tmp_path, **quiet)
        for _ in range(2)
    ]
    yield address, processes
    for process in reversed(processes):
        process.kill()
        process.wait()


@pytest.mark.long
def test_a_notebook_runs_a_study_with_workers_of_its_own_and_on_a_cluster(undisturbed, tmp_path, cluster):
    # In a process of its own: the thread of these tests may have the loop of a browser, and holds one only.
    address, _ = cluster
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK.format(here=str(HERE)), encoding="utf-8")
    words = [sys.executable, str(script), str(tmp_path), address]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for out in ("own", "cluster"):
        assert (tmp_path / out / "results.parquet").read_bytes() == undisturbed


@pytest.mark.long
def test_an_existing_cluster_gives_the_same_bytes_and_its_loss_is_one_sentence(undisturbed, tmp_path, cluster):
    address, processes = cluster
    study = made_study(6, 3, tmp_path / "log")
    run_study(study, tmp_path / "out", scheduler=address, work=work)
    assert (tmp_path / "out" / "results.parquet").read_bytes() == undisturbed
    begun: list[float] = []

    def lose(state):
        if state.computed >= 2 and not begun:
            begun.append(time.monotonic())
            processes[0].kill()

    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "tornado", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    with pytest.raises(NetworkError, match=r"finished cells are kept.*--resume"):
        run_study(study, tmp_path / "lost", scheduler=address, work=slow_work, progress=lose)
    for logger in loggers:
        logger.removeHandler(handler)
    assert time.monotonic() - begun[0] < 60.0 and not said
    summary = run_study(study, tmp_path / "lost", workers=1, resume=True, work=work)
    assert summary.kept >= 2
    assert (tmp_path / "lost" / "results.parquet").read_bytes() == undisturbed


@pytest.mark.long
def test_a_script_that_every_worker_would_run_again_is_told_what_it_lacks(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(MAIN.format(here=str(HERE)).replace('__name__ == "__main__"', "True"), encoding="utf-8")
    words = [sys.executable, str(script), str(tmp_path / "log"), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and not (tmp_path / "log").exists()
    assert done.stderr.count("Traceback (most recent call last)") == 1
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("needleplan.errors.OptionError: the workers of this machine did not start (")
    assert "below 'if __name__ == \"__main__\":'" in last


@pytest.mark.long
def test_ctrl_c_of_a_terminal_reaches_the_workers_too_and_leaves_no_traceback_of_theirs(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(MAIN.format(here=str(HERE)), encoding="utf-8")
    words = [sys.executable, str(script), str(tmp_path / "log"), str(tmp_path / "out")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "out").rglob("rows/*/*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    # One is that of the script itself, which does not catch what the command does.
    assert process.returncode != 0 and said.count("Traceback (most recent call last)") == 1, said
    assert said.rstrip().endswith("StudyStopped: SIGINT") and "Process Dask Worker" not in said


@pytest.mark.long
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
def test_a_study_that_is_asked_to_end_leaves_nothing_behind_and_resumes(tmp_path, undisturbed, asked):
    script, out = tmp_path / "main.py", tmp_path / "out"
    script.write_text(MAIN.format(here=str(HERE)), encoding="utf-8")
    words = [sys.executable, str(script), str(tmp_path / "log"), str(out)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 60
        while len(list(out.rglob("rows/*/*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(asked)
        said = process.communicate(timeout=60)[1]
    assert said.rstrip().endswith(f"StudyStopped: {asked.name}") and "leaked" not in said, said
    assert not list(tmp_path.glob("needleplan-study-*"))
    run_study(made_study(6, 3, tmp_path / "log"), out, workers=1, resume=True, work=work)
    assert (out / "results.parquet").read_bytes() == undisturbed


def test_signals_are_taken_where_they_can_be_told_and_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(StudyStopped) as caught, stopping():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("nothing was raised where the signal came")
    assert caught.value.signal_number == signal.SIGTERM
    # As a callback of a library does.
    with pytest.raises(StudyStopped, match="SIGINT"), stopping(), suppress(StudyStopped):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StudyStopped, match="SIGHUP"), stopping() as asked:
        asked.hold()
        os.kill(os.getpid(), signal.SIGHUP)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[1])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_worker_without_room_ends_the_study_and_is_no_row(tmp_path, undisturbed):
    study, out = made_study(6, 3, tmp_path / "log"), tmp_path / "out"
    with pytest.raises(
        PlanFileError, match=r"the worker .* cannot keep its files.*finished cells are kept.*--resume"
    ):
        run_study(study, out, workers=1, work=work_without_room)
    assert not (out / "results.parquet").exists()
    run_study(study, out, workers=1, resume=True, work=work)
    assert (out / "results.parquet").read_bytes() == undisturbed


@pytest.mark.long
def test_a_case_whose_files_cannot_be_made_is_told_and_taken_up_again(tmp_path):
    patient = replace(small_study(1).cases[0], data=tmp_path / "log")
    study = replace(made_study(1, 1, tmp_path / "log"), cases=(patient,), outputs=Outputs(True, False, False))
    summary = run_study(study, tmp_path / "out", workers=1, work=work_without_files)
    assert summary.without_files == {patient.name: "RuntimeError: no files"} and summary.computed == 1
    again = run_study(study, tmp_path / "out", workers=1, resume=True, work=work_without_files)
    assert list(again.without_files) == [patient.name] and again.computed == 0 and not again.plans_gone
    name = read_rows(tmp_path / "out" / "results.parquet")[0].plan_file
    (tmp_path / "out" / name).unlink()
    gone = run_study(study, tmp_path / "out", workers=1, resume=True, work=work_without_files)
    assert list(gone.plans_gone) == [name] and not gone.plans_altered


@pytest.mark.long
def test_ctrl_c_ends_the_run_at_once_and_it_resumes(tmp_path):
    study, out = made_study(40, 3, tmp_path / "log"), tmp_path / "out"
    before = threading.active_count()

    def stop(state):
        if state.computed >= 2:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_study(study, out, workers=2, work=slow_work, progress=stop)
    assert time.monotonic() - begun < 40.0
    assert threading.active_count() <= before + 4
    assert run_study(study, out, workers=2, resume=True, work=work).kept >= 2
