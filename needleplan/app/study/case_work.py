"""The work of one case in a worker: all its cells one after the other, each told as soon as it is done."""

import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from needleplan.app.phantom_files import LABELS_NAME, MANIFEST_NAME, save_phantom
from needleplan.app.study.case_patient import StudyPatient, study_patient
from needleplan.app.study.cell_row import cell_row
from needleplan.app.study.cell_work import Stages, catalogue_files, plan_name, sentence, work_cell
from needleplan.app.study.seeds import case_seed
from needleplan.app.study.software import software_versions, version_difference
from needleplan.app.study.study import Cell, Effort, Row, StudyCase, Times
from needleplan.app.study.worker_room import WorkerFileError, room_told, worker_name
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue
from needleplan.errors import NeedleplanError, NetworkError, OptionError
from needleplan.io.plan_file import plan_bytes
from needleplan.io.value_json import to_json

_KILOBYTES = 1024 if sys.platform != "darwin" else 1


@dataclass(frozen=True, slots=True)
class CaseTask:
    """What a worker is asked to do.

    Attributes:
        case: the case.
        cells: those of its cells that are not done.
        effort: of all plans.
        seed: of the study.
        plans: True where plans are wanted.
        files: True where the files of a phantom are wanted.
        versions: of the software that must work on it.
        case_hash: content hash that the case had when its finished cells were computed; empty where there are none.
        devices: the user's own applicators beside the built-in ones; None where there are none.
    """

    case: StudyCase
    cells: tuple[Cell, ...]
    effort: Effort
    seed: int
    plans: bool
    files: bool
    versions: dict[str, str]
    case_hash: str = ""
    devices: DeviceCatalogue | None = None


class CaseChangedError(OptionError):
    """The files of a case are no longer those of its finished cells."""


class Teller(Protocol):
    """How a worker tells what it does, and asks what is wanted of it."""

    def tell(self, message: dict[str, Any]) -> None:
        """Hand a message of plain values over; those of one worker arrive in their order."""

    def done(self) -> set[str] | None:
        """Names of cells of the task at hand that are known to be done; None where the study has ended."""


def work_case(task: CaseTask, teller: Teller) -> dict[str, bytes]:
    """Work through the cells of a case.

    Every cell is told by ``{"begun": cell}`` and then by ``{"finished": cell, "row": ..., "times": ...,
    "plan": ..., "tables": ...}``, the plan and its own tables packed. A cell that fails is a row that says why.

    Returns:
        The phantom's files by name, where they are wanted; else nothing.

    Raises:
        NetworkError: this worker's software is not that of the study.
        CaseChangedError: the case is another than that of its finished cells.
        WorkerFileError: the worker has no room for files.
    """
    other = version_difference(task.versions, software_versions())
    if other:
        raise NetworkError(f"the worker {worker_name()} cannot work on the study: {other}")
    seed, stages = case_seed(task.seed, task.case), Stages()
    for cell in task.cells:
        done = teller.done()
        if done is None:
            return {}
        if cell.name in done:
            continue
        teller.tell({"begun": cell.name})
        teller.tell(_finished(task, cell, seed, stages, lambda: teller.tell({"prepared": True})))
    with room_told():
        return _phantom_files(task) if task.files else {}


def _finished(
    task: CaseTask, cell: Cell, seed: int, stages: Stages, prepared: Callable[[], None]
) -> dict[str, Any]:
    stages.times_s.clear()
    processor_s = time.process_time()
    message: dict[str, Any] = {"finished": cell.name, "plan": b"", "tables": []}
    case_hash, prepare_s = "", 0.0

    def patient() -> StudyPatient:
        return study_patient(task.case)

    try:
        with room_told():
            found = stages.get("prepare", task.case.name, patient)
        prepare_s = stages.times_s.get("prepare", 0.0)
        prepared()
        case_hash = found.queries.anatomy.case.content_hash
        if task.case_hash not in ("", case_hash):
            raise CaseChangedError(
                f"the files of the case {task.case.name} are not those of its finished cells: put them back as "
                "they were, or name another folder"
            )
        with room_told():
            result = work_cell(found, cell, task.effort, seed, stages, task.devices)
        kept = task.plans
        name = f"plans/{task.case.name}/{plan_name(cell)}/plan.json" if kept else ""
        row = cell_row(task.case, cell, seed, found, result, name)
        if kept:
            message["plan"] = zlib.compress(plan_bytes(result.plan))
            if result.zone_model.catalogue is not builtin_catalogue():
                tables = catalogue_files(result.zone_model.catalogue)
                message["tables"] = [zlib.compress(each) for each in tables]
    except (CaseChangedError, WorkerFileError):
        raise
    except Exception as error:
        row = Row.failed(task.case, cell, seed, sentence(error), case_hash)
    spent = stages.times_s
    times = Times(
        case=task.case.name,
        cell=cell.name,
        prepare_s=round(prepare_s, 4),
        search_s=round(spent.get("search", 0.0), 4),
        plan_s=round(spent.get("plan", 0.0), 4),
        chances_s=round(spent.get("chances", 0.0), 4),
        robot_s=round(spent.get("robot", 0.0), 4),
        rehearse_s=round(spent.get("rehearse", 0.0), 4),
        processor_s=round(time.process_time() - processor_s, 4),
        memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTES / 1e6, 1),
        worker=worker_name(),
    )
    return message | {"row": to_json(row), "times": to_json(times)}


def _phantom_files(task: CaseTask) -> dict[str, bytes]:
    """case.toml and label map of the phantom; none where he could not be built, as the rows say."""
    try:
        phantom = study_patient(task.case).phantom
    except NeedleplanError:
        return {}
    if phantom is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="needleplan-") as folder:
        save_phantom(phantom, Path(folder), task.case.voxel_mm)
        return {name: (Path(folder) / name).read_bytes() for name in (MANIFEST_NAME, LABELS_NAME)}
