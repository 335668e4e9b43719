"""Studies that take milliseconds: made-up work in the place of planning, and tiny phantoms for the real work."""

import errno
import hashlib
import os
import signal
import time
import zlib
from pathlib import Path

from needleplan.anatomy.phantom import PhantomParameters, TumourParameters
from needleplan.app.study.case_work import CaseTask
from needleplan.app.study.cell_work import plan_name
from needleplan.app.study.dask_task import DaskTeller
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.study import Cell, Effort, Outputs, Row, Study, StudyCase, Times
from needleplan.app.study.worker_room import room_told
from needleplan.io.value_json import to_json

QUIET = Outputs(plans=False, analysis=False, report=False)
#: A patient and an effort that take about a second each.
SMALL = PhantomParameters(
    tumours=(TumourParameters(radius_mm=8.0),),
    portal_generations=1,
    hepatic_generations=1,
    vertebra_count=3,
    rib_pair_count=3,
)
LIGHT = Effort(
    entry_spacing_mm=60.0, aims=1, search_paths=0, paths_per_aim=3, points=150, refine=False, scenarios=20
)
#: Figures that every plan with needles has.
FIGURES = {
    "target_ml": 4.0, "target_depth_mm": 60.0, "candidates": 900, "feasible": 40, "insertions": 2, "ablations": 3,
    "energy_s": 600.0, "target_coverage_fraction": 1.0, "margin_coverage_fraction": 0.9, "minimal_margin_mm": 2.5,
    "over_ablation_ml": 11.0, "zone_ml": 30.0, "deepest_mm": 80.0,
}  # fmt: skip


def made_study(cases: int, cells: int, log: Path, names: tuple[str, ...] = (), **words) -> Study:
    """A study for made-up work, which logs every computed cell into a file; ``names`` come before the others."""
    every = [*names, *(f"case-{k:04d}" for k in range(cases - len(names)))]
    margins = tuple(Cell(margin_mm=float(k)) for k in range(cells))
    values = {"outputs": QUIET, "seed": 3} | words
    return Study("made", tuple(StudyCase(name, data=log) for name in every), margins, ("margin_mm",), **values)


def small_study(cases: int = 2, cells: tuple[Cell, ...] = (Cell(), Cell(margin_mm=2.0)), **words) -> Study:
    """A study of tiny phantoms for the real work."""
    every = tuple(StudyCase(f"phantom-{k}", phantom=SMALL, seed=k, voxel_mm=6.0) for k in range(cases))
    values = {"effort": LIGHT, "outputs": Outputs(True, False, False), "seed": 5} | words
    return Study("small", every, cells, ("margin_mm",), **values)


def work(task: CaseTask, topic: str, key: str, seconds: float = 0.0) -> dict[str, bytes]:
    """Tells a row for each cell as the real work does; its figures follow from seed and names alone.

    A case named ``deadly`` kills its worker at the cell of margin 1, ``fatal`` before there is a patient,
    ``bad`` raises in the middle.
    """
    teller, seed = DaskTeller(topic, key), case_seed(task.seed, task.case)
    for cell in task.cells:
        done = teller.done()
        if done is None or cell.name in done:
            continue
        teller.tell({"begun": cell.name})
        if task.case.name == "fatal":
            _die()
        teller.tell({"prepared": True})
        if task.case.name == "deadly" and cell.margin_mm == 1.0:
            _die()
        if task.case.name == "bad" and cell.margin_mm == 1.0:
            raise RuntimeError("a fault\nof two lines")
        time.sleep(seconds)
        with Path(task.case.data).open("a", encoding="utf-8") as log:
            log.write(f"{task.case.name} {cell.name}\n")
        share = int.from_bytes(hashlib.sha256(f"{seed} {cell.name}".encode()).digest()[:4], "big") / 2**32
        figures = FIGURES | {"target_coverage_fraction": share}
        row = Row(**Row.factors_of(task.case, cell, seed, "0" * 64), status="complete", **figures)
        times = Times(task.case.name, cell.name, plan_s=seconds, worker=str(os.getpid()))
        teller.tell(
            {"finished": cell.name, "row": to_json(row), "times": to_json(times), "plan": b"", "tables": []}
        )
    return {}


def slow_work(task: CaseTask, topic: str, key: str) -> dict[str, bytes]:
    """The same with a quarter of a second a cell."""
    return work(task, topic, key, 0.25)


def work_without_room(task: CaseTask, topic: str, key: str) -> dict[str, bytes]:
    """Two cases are done, and then the disk of the worker is full."""
    if task.case.name == "case-0002":
        with room_told():
            raise OSError(errno.ENOSPC, "No space left on device")
    return work(task, topic, key)


def work_without_files(task: CaseTask, topic: str, key: str) -> dict[str, bytes]:
    """Rows with a plan each, and then a fault while the case's files are made."""
    teller, seed = DaskTeller(topic, key), case_seed(task.seed, task.case)
    for cell in task.cells:
        name = f"plans/{task.case.name}/{plan_name(cell)}/plan.json"
        factors = Row.factors_of(task.case, cell, seed, "0" * 64)
        row = Row(**factors, status="complete", plan_file=name, **FIGURES)
        told = {"row": to_json(row), "times": to_json(Times(task.case.name, cell.name)), "tables": []}
        teller.tell({"finished": cell.name, "plan": zlib.compress(b'{"case_hash": "%b"}' % (b"0" * 64)), **told})
    raise RuntimeError("no files")


def _die() -> None:
    # What was told before leaves this process a moment later.
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
