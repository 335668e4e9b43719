"""Rows of the engine of studies: speed of two processes, resuming after kills, and what it adds to the work."""

import dataclasses
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rows import Row
from studies_load import DEVICES, MemorySamples, descendants, scheduler_load

from needleplan.anatomy.phantom import PhantomPopulation
from needleplan.app.study.case_work import CaseTask, work_case
from needleplan.app.study.engine import run_study
from needleplan.app.study.software import software_versions
from needleplan.app.study.study import Cell, Effort, Outputs, Study, StudyCase
from needleplan.app.study.study import Row as StudyRow
from needleplan.app.study.study_folder import StudyFolder
from needleplan.app.study.study_state import StudyState
from needleplan.io.study_table import read_rows
from sim.worker_processes import spread_work, usable_cores

#: Two processes must do so many times the work of one.
LEAST_SPEEDUP = 1.8
#: Tumours of 10 to 20 mm, most of which one needle destroys.
POPULATION = PhantomPopulation(radius_mm=(5.0, 10.0))
#: Size of the phantoms' voxels.
VOXEL_MM = 4.0
#: An effort of about a second a plan. Searches end by work: an hour of the clock is not reached on the busiest
#: machine, as bytes that it decided about could differ.
LIGHT = Effort(
    entry_spacing_mm=30.0,
    aims=4,
    search_paths=0,
    paths_per_aim=4,
    points=1_000,
    refine=False,
    most_nodes=200,
    time_limit_s=3_600.0,
)


#: The same for a look at whether everything works, of some tenths of a second a plan.
TINY_POPULATION = PhantomPopulation(
    radius_mm=(5.0, 6.0), portal_generations=(1, 1), hepatic_generations=(1, 1), other_tumours=(0, 0)
)
TINY_VOXEL_MM = 8.0
TINY = dataclasses.replace(LIGHT, entry_spacing_mm=60.0, aims=1, paths_per_aim=3, points=150)


def phantom_study(cases: int, devices: int = 4, plans: bool = True, tiny: bool = False) -> Study:
    """Random patients crossed with devices."""
    population, voxel_mm = (TINY_POPULATION, TINY_VOXEL_MM) if tiny else (POPULATION, VOXEL_MM)
    patients = tuple(
        StudyCase(
            f"phantom-{seed}", phantom=population.draw(np.random.default_rng(seed)), seed=seed, voxel_mm=voxel_mm
        )
        for seed in range(cases)
    )
    cells = tuple(Cell(device=name) for name in DEVICES[:devices])
    return Study(
        "proof", patients, cells, ("device",), TINY if tiny else LIGHT, Outputs(plans, False, False), seed=7
    )


def speed_rows(cases: int, repeats: int, quick: bool) -> list[Row]:
    """Throughput of two processes over one, interleaved, and the same cases by plain process pools."""
    study = phantom_study(cases, 2 if quick else 4, plans=False, tiny=quick)
    times: dict[str, list[float]] = {}
    ways: dict[str, Callable[[Path], float]] = {
        "one": lambda out: _run(study, out, 1),
        "two": lambda out: _run(study, out, 2),
        "spread_work": lambda out: _timed(lambda: _spread(study)),
        "ProcessPoolExecutor": lambda out: _timed(lambda: _pool(study)),
    }
    for _ in range(repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                times.setdefault(name, []).append(way(Path(folder) / "out"))
                print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    speedup = statistics.median(one / two for one, two in zip(times["one"], times["two"], strict=True))
    cells = len(study.cases) * len(study.cells)
    rate = {name: cells / statistics.median(found) for name, found in times.items()}
    return [
        Row.against("two_core_speedup", speedup, "1", f"limit with {usable_cores()} cores", LEAST_SPEEDUP),
        Row.against("cells_per_s_two_processes", rate["two"], "1/s", "sim.worker_processes", rate["spread_work"]),
        Row.against(
            "cells_per_s_two_processes_2", rate["two"], "1/s", "concurrent.futures", rate["ProcessPoolExecutor"]
        ),
    ]


def resume_rows(cases: int, devices: int, folder: Path, tiny: bool = False) -> list[Row]:
    """1 where a study whose workers and main process were killed and that was resumed has the same bytes."""
    study = phantom_study(cases, devices, plans=False, tiny=tiny)
    cells = len(study.cases) * len(study.cells)
    _run(study, folder / "whole", 1)
    with _child(folder / "stopped", study, tiny) as process:
        _wait(process, folder / "stopped", cells // 3)
        process.kill()
    before = _finished(folder / "stopped")
    killer = _Killer((0.2, 0.6))
    summary = run_study(study, folder / "stopped", workers=2, resume=True, progress=killer)
    whole, stopped = (read_rows(folder / name / "results.parquet") for name in ("whole", "stopped"))
    equal = (folder / "whole" / "results.parquet").read_bytes() == (
        folder / "stopped" / "results.parquet"
    ).read_bytes()
    kept = summary.kept == before and summary.twice == 0 and summary.computed == cells - before
    print(
        f"killed the run at {before} of {cells} cells, then workers {killer.killed}; kept {summary.kept}, computed "
        f"{summary.computed}, twice {summary.twice}; bytes equal: {equal}"
    )
    for one, other in zip(whole, stopped, strict=True):
        if one != other:
            print(f"differs: {one}\n         {other}")
    if any(row.time_limited for row in (*whole, *stopped)):
        print("the clock ended searches of some rows (time_limited): their bytes may differ, so this shows nothing")
    return [
        Row.against(
            "resumed_identical", float(equal and kept and len(killer.killed) == 2), "1", "undisturbed run", 1.0
        )
    ]


def load_rows(cases: int) -> list[Row]:
    """What the engine adds to a case, and how its memory grows."""
    load = scheduler_load(cases)
    return [
        Row("engine_s_per_case", load.overhead_s, "s"),
        Row.against("engine_memory_growth", load.client_mb[1] / load.client_mb[0], "1", "limit", 1.1),
        Row.against("worker_memory_growth", load.workers_mb[1] / load.workers_mb[0], "1", "limit", 1.1),
    ]


def memory(folder: Path, cases: int) -> None:
    """Whole work on many patients of real size, planned with little effort, and what memory it takes.

    Prints as it goes; a run that was ended goes on.
    """
    study = dataclasses.replace(phantom_study(cases, 1, plans=False), effort=TINY)
    samples = MemorySamples(lambda line: print(line, flush=True))
    resume = (folder / "study.json").is_file()
    print(run_study(study, folder, workers=2, resume=resume, progress=samples))
    print(f"memory MB, second and last quarter: client {samples.quarters(1)}, workers {samples.quarters(2)}")


def proof(folder: Path, cases: int = 200) -> None:
    """The whole proof: cases times 4 devices by two processes, disturbed, and a sample of them undisturbed by one.

    At a sixth and a third of the cells a worker is killed, at half of them the whole run, which is then resumed.
    Every tenth case is computed again by one process in a folder of its own; rows and plans must be the same.
    Prints as it goes; what it finished it does not repeat.
    """
    study, out = phantom_study(cases), folder / "disturbed"
    cells = len(study.cases) * len(study.cells)
    if not (out / "study.json").is_file():
        with _child(out, study, False, (1 / 6, 1 / 3)) as process:
            _wait(process, out, cells // 2)
            process.kill()
        print(f"killed the run at {_finished(out)} of {cells} cells", flush=True)
    before, samples = _finished(out), MemorySamples(lambda line: print(line, flush=True))
    summary = run_study(study, out, workers=2, resume=True, progress=samples)
    print(f"resumed: {summary}", flush=True)
    print(f"finished before {before}, kept {summary.kept}, computed twice {summary.twice}")
    print(f"memory MB, second and last quarter: client {samples.quarters(1)}, workers {samples.quarters(2)}")
    alone = dataclasses.replace(study, cases=study.cases[::10])
    resume = (folder / "alone" / "study.json").is_file()
    print(f"a sample alone: {run_study(alone, folder / 'alone', workers=1, resume=resume)}", flush=True)
    differing = [
        f"{case.name} {cell.device}"
        for case in alone.cases
        for cell in alone.cells
        if _told(folder / "alone", case, cell) != _told(out, case, cell)
    ]
    limited = sum(row.time_limited for row in read_rows(out / "results.parquet"))
    print(f"{len(alone.cases) * len(alone.cells)} cells compared, {len(differing)} differ {differing}")
    print(f"{limited} of {cells} rows are time_limited")


def _told(folder: Path, case: StudyCase, cell: Cell) -> tuple[StudyRow, bytes]:
    """Row and plan of a cell, as they were written."""
    row = StudyFolder(folder).read_row(case.name, cell.name)
    return row, (folder / row.plan_file).read_bytes() if row.plan_file else b""


def _run(study: Study, out: Path, workers: int) -> float:
    """Time of a run from when its first cases are handed over: a cluster that is there is not begun anew."""
    begun: list[float] = []

    def note(state: StudyState) -> None:
        if state.busy and not begun:
            begun.append(time.perf_counter())

    run_study(study, out, workers=workers, progress=note)
    return time.perf_counter() - begun[0]


def _timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class _Silent:
    """A teller nobody listens to, for the peers."""

    def tell(self, message: dict[str, object]) -> None:
        pass

    def done(self) -> set[str]:
        return set()


def _task(study: Study, case: StudyCase) -> CaseTask:
    return CaseTask(case, study.cells, study.effort, study.seed, False, False, software_versions())


def _alone(task: CaseTask) -> int:
    work_case(task, _Silent())
    return 0


def _spread(study: Study) -> None:
    tasks = [_task(study, case) for case in study.cases]
    spread_work(_alone, tasks, name_of=lambda task: task.case.name, jobs=2, limit_s=3_600.0)


def _pool(study: Study) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_alone, [_task(study, case) for case in study.cases]))


def _finished(out: Path) -> int:
    return len(list(out.glob("rows/*/[0-9a-f]*.json")))


def _wait(process: Any, out: Path, cells: int) -> None:
    while process.poll() is None and _finished(out) < cells:
        time.sleep(0.2)


class _Killer:
    """Kills a worker of this process at each of some shares of the cells of a run; a progress callback."""

    def __init__(self, shares: tuple[float, ...]) -> None:
        self.killed: list[int] = []
        self._shares = shares

    def __call__(self, state: StudyState) -> None:
        left = self._shares[len(self.killed) :]
        if not left or state.computed < max(1.0, left[0] * (state.cells - state.kept)):
            return
        workers = [process for process in descendants(os.getpid()) if _is_worker(process)]
        if workers and workers[0] not in self.killed:
            os.kill(workers[0], signal.SIGKILL)
            self.killed.append(workers[0])
            print(f"killed worker {workers[0]} at {state.computed} cells", flush=True)


def _child(out: Path, study: Study, tiny: bool, shares: tuple[float, ...] = ()) -> Any:
    """A run by two workers in a process of its own, which kills workers of its own at shares of the cells."""
    numbers = len(study.cases), len(study.cells), int(study.outputs.plans), int(tiny)
    words = [str(out), *map(str, (*numbers, *shares))]
    return subprocess.Popen([sys.executable, __file__, *words])


def _is_worker(process: int) -> bool:
    """True for processes that multiprocessing spawned to compute, not for those that only watch them."""
    try:
        return "spawn_main" in Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


if __name__ == "__main__":
    asked = phantom_study(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1", sys.argv[5] == "1")
    run_study(asked, Path(sys.argv[1]), workers=2, progress=_Killer(tuple(map(float, sys.argv[6:]))))
