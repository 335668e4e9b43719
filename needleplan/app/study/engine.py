"""Runs a study: whole cases go to workers, finished cells come back one by one and are written here alone.

Workers need no disk in common with this process but for patients in files. No more cases are with the workers than
they have threads, so neither this process nor the scheduler grows with the study.
"""

import dataclasses
from collections import deque
from pathlib import Path

from needleplan.app.study.cluster import end_worker_that_reads_its_script, require_workers, study_client
from needleplan.app.study.dask_task import run_case
from needleplan.app.study.finished_cell import ROW_REMEDY, FinishedCell
from needleplan.app.study.robot_content import with_robot_content
from needleplan.app.study.software import software_versions
from needleplan.app.study.stopping import stopping
from needleplan.app.study.study import Study
from needleplan.app.study.study_folder import StudyFolder, WrittenPlan
from needleplan.app.study.study_run import ProgressCallback, StudyRun, Work, told_writing
from needleplan.app.study.study_state import StudyState, StudySummary
from needleplan.errors import OptionError, PlanFileError


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    progress: ProgressCallback | None = None,
    work: Work = run_case,
) -> StudySummary:
    """Compute every cell of every case that is not finished yet, and write the tables.

    The same study gives the same results.parquet byte for byte, whatever the number of workers, their order, and
    how often it was stopped and resumed; rows that say ``time_limited`` are excepted. A case or cell that fails is
    a row with its reason. Whatever ends the run, finished cells are kept.

    Args:
        study: the study.
        out: its folder.
        workers: processes on this machine; one for each core where None. Left out with a scheduler.
        scheduler: address of an existing cluster.
        resume: True to go on with a study that was begun in the folder.
        progress: called a few times a second with how far it is.
        work: what a worker does with a case; another one measures the engine alone.

    Raises:
        OptionError: the folder holds something else, or is in use, or the number of workers is impossible, or they
            do not start, as where a script calls this outside ``if __name__ == "__main__"``, or the files of a case
            are no longer those of its finished cells.
        NetworkError: the address is none, or the cluster is out of reach, or was lost, or its software is another.
        PlanFileError: the disk is full, that of a worker is, or a file in the folder is damaged.
        StudyStopped: a signal asked for it; a KeyboardInterrupt.
    """
    end_worker_that_reads_its_script(scheduler)
    require_workers(workers, scheduler)
    if resume and not out.exists():
        raise OptionError(f"{out} is not there, so it holds no study to resume: see to its name")
    # What a robot is may have changed since the study was read.
    study = dataclasses.replace(study, cells=with_robot_content(study.cells))
    folder = StudyFolder(out)
    with folder.locked():
        with told_writing(folder):
            folder.open(study, software_versions(), resume)
        state = StudyState.of(study)
        waiting = _waiting(study, folder, state)
        if waiting:
            with stopping() as asked, study_client(workers, scheduler) as client:
                # From here on there are workers, whom a signal in the wrong moment would leave behind.
                asked.hold()
                StudyRun(study, folder, client, state, waiting, progress, work, asked).run()
        with told_writing(folder):
            folder.write_tables(study)
    return state.summary()


def _waiting(study: Study, folder: StudyFolder, state: StudyState) -> deque[int]:
    """Indices of cases that are not closed, the finished cells counted."""
    found: deque[int] = deque()
    cells = {cell.name: cell for cell in study.cells}
    for index, case in enumerate(study.cases):
        finished = folder.finished(case)
        kept = folder.cells_of(study, case, [cells[name] for name in sorted(finished.intersection(cells))])
        for each in kept:
            state.count(each.row, kept=True)
        _see_plans(folder, kept, state)
        if not finished.issuperset(cells) or not folder.is_closed(study, case):
            found.append(index)
        else:
            state.cases_done += 1
    return found


def _see_plans(folder: StudyFolder, kept: list[FinishedCell], state: StudyState) -> None:
    """Note the plans of a case that finished cells name and that are gone, or are not those that were written.

    Raises:
        PlanFileError: a plan is that which was written, and of another case than its row tells.
    """
    found: dict[str, WrittenPlan | None] = {}
    for each in kept:
        name, row = each.row.plan_file, folder.row_file(each.row.case, each.row.cell)
        if not name:
            continue
        if name not in found:
            found[name] = folder.plan_of(each.row)
        plan = found[name]
        if plan is None or plan.digest != each.plan:
            (state.plans_gone if plan is None else state.plans_altered).setdefault(name, row)
        elif not plan.tells_case:
            raise PlanFileError(f"{row}: case_hash is not that of its plan: {ROW_REMEDY}")
