"""What the scheduler of a study has to carry: made-up cases whose rows and plans have the real size."""

import os
import resource
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from needleplan.app.study.case_work import CaseTask
from needleplan.app.study.cell_work import plan_name
from needleplan.app.study.dask_task import DaskTeller
from needleplan.app.study.engine import run_study
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.study import Cell, Effort, Outputs, Row, Study, StudyCase, Times
from needleplan.app.study.study_state import StudyState
from needleplan.io.value_json import to_json

#: Bytes of a packed plan, as measured over phantoms.
PLAN_BYTES = 4_000
#: Columns that every row of a plan with needles fills.
_COUNTS = ("candidates", "feasible", "insertions", "ablations")
_FIGURES = (
    "target_ml", "target_depth_mm", "energy_s", "target_coverage_fraction", "margin_coverage_fraction",
    "minimal_margin_mm", "over_ablation_ml", "zone_ml", "deepest_mm",
)  # fmt: skip
#: Two of each modality whose zones are wide: few insertions cover a small tumour, so exact searches end soon.
DEVICES = (
    "generic-mwa-2450", "perfusion-mwa-pmc3438625", "cool-tip-30-pmc3438625", "cooled-wet-rfa-20-cvir2009",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of made-up cases took.

    Attributes:
        cases: number of them.
        wall_s: time of the run, tables included.
        overhead_s: time of a case, of which nothing is work.
        client_mb: resident memory of client and scheduler (one process) after a quarter and at the end.
        workers_mb: that of all workers together.
        folder_bytes: bytes of all files of the study's folder.
    """

    cases: int
    wall_s: float
    overhead_s: float
    client_mb: tuple[float, float]
    workers_mb: tuple[float, float]
    folder_bytes: int


def empty_work(task: CaseTask, topic: str, key: str, cell_s: float = 0.0) -> dict[str, bytes]:
    """The messages of a case without its work, each cell taking a time in which nothing is done."""
    teller, seed = DaskTeller(topic, key), case_seed(task.seed, task.case)
    for cell in task.cells:
        done = teller.done()
        if done is None or cell.name in done:
            continue
        teller.tell({"begun": cell.name})
        teller.tell({"prepared": True})
        time.sleep(cell_s)
        row = Row(
            **Row.factors_of(task.case, cell, seed, "0" * 64),
            status="partial",
            reason="coverage: Target plus margin is not covered: the point (-89.5, -39.5, -70.0) mm lies outside.",
            **dict.fromkeys(_COUNTS, 2),
            **dict.fromkeys(_FIGURES, 0.123456789),
            plan_file=f"plans/{task.case.name}/{plan_name(cell)}/plan.json",
        )
        plan = zlib.compress(os.urandom(PLAN_BYTES))
        times = Times(task.case.name, cell.name, worker=str(os.getpid()))
        teller.tell(
            {"finished": cell.name, "row": to_json(row), "times": to_json(times), "plan": plan, "tables": []}
        )
    return {}


def load_study(cases: int) -> Study:
    """A study of made-up cases, each with four devices."""
    return Study(
        "load",
        tuple(StudyCase(f"case-{k:06d}") for k in range(cases)),
        tuple(Cell(device=name) for name in DEVICES),
        ("device",),
        Effort(),
        Outputs(False, False, False),
    )


class MemorySamples:
    """Resident memory over the course of a run; a progress callback."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.samples: list[tuple[int, float, float]] = []
        self._say = say

    def __call__(self, state: StudyState) -> None:
        if self.samples and state.cells_done - self.samples[-1][0] < state.cells / 40:
            return
        own, others = resident_mb(os.getpid()), sum(resident_mb(child) for child in descendants(os.getpid()))
        self.samples.append((state.cells_done, own, others))
        if self._say is not None:
            self._say(
                f"{state.cells_done} of {state.cells} cells, {state.elapsed_s:.0f} s: {own:.0f} MB, {others:.0f} MB"
            )

    def quarters(self, column: int) -> tuple[float, float]:
        """(mean over the second quarter of the run, mean over the last one) of column 1 or 2.

        The first quarter is left out: every process fills its caches then.
        """
        last = self.samples[-1][0]
        second = [s[column] for s in self.samples if 0.25 * last <= s[0] < 0.5 * last]
        # A run that is quick, or that went on with an earlier one, may have no sample there.
        second = second or [self.samples[0][column]]
        fourth = [s[column] for s in self.samples if s[0] >= 0.75 * last]
        return sum(second) / len(second), sum(fourth) / len(fourth)


def descendants(process: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    try:
        found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    except OSError:
        return []
    children = [int(word) for word in found.stdout.split()]
    return [*children, *(grandchild for child in children for grandchild in descendants(child))]


def resident_mb(process: int) -> float:
    """Resident memory of a process; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


def scheduler_load(cases: int, workers: int = 2, say: Callable[[str], None] | None = None) -> Load:
    """Run made-up cases through the whole engine."""
    samples = MemorySamples(say)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run_study(load_study(cases), Path(folder) / "out", workers=workers, progress=samples, work=empty_work)
        wall_s = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Load(cases, wall_s, wall_s / cases, samples.quarters(1), samples.quarters(2), size)


def many_slots(cases: int, slots: int, cell_s: float) -> float:
    """Finished cells a second where so many cases are worked on at once, none of which needs a core.

    Two processes with many threads stand for a cluster; without a limit by scheduler, client and writing the rate
    is ``slots / cell_s``.
    """
    from distributed import LocalCluster

    begun: list[float] = []

    def note(state: StudyState) -> None:
        if state.busy and not begun:
            begun.append(time.perf_counter())

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=slots // 2, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        work = partial(empty_work, cell_s=cell_s)
        summary = run_study(
            load_study(cases), Path(folder) / "out", scheduler=cluster.scheduler_address, progress=note, work=work
        )
    return summary.computed / (time.perf_counter() - begun[0])
