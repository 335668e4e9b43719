"""The study command: a study file is computed into a folder, resumed, analysed and reported."""

import argparse
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from needleplan.app.argument_groups import folder_path

#: Most rows, or cases, that the end of a run names to be removed.
_NAMED = 20

if TYPE_CHECKING:
    from needleplan.app.study.study import Study
    from needleplan.app.study.study_state import StudySummary


def _results_folder(text: str) -> Path:
    """The path of a folder, which is printed wherever something is told of it."""
    from pydantic_core import PydanticCustomError

    from needleplan.case.strict_tables import require_plain

    folder = folder_path(text)
    try:
        require_plain(text)
    except PydanticCustomError:
        raise argparse.ArgumentTypeError(f"must be a path without control characters, not {text!r:.100}") from None
    return folder


def _number(text: str) -> int:
    """A whole number; how great it may be is told where it is used."""
    try:
        return int(text[:20])
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None


def add_study(parser: argparse.ArgumentParser) -> None:
    """The options of ``study``."""
    parser.add_argument("study", type=Path, metavar="STUDY", help="the study file, study.toml")
    parser.add_argument("--out", type=_results_folder, metavar="DIR", help="folder for the results")
    parser.add_argument("--workers", type=_number, metavar="N", help="processes on this machine (one a core)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="an existing Dask cluster instead, as tcp://HOST:PORT"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the study that was begun in DIR")
    parser.add_argument("--dry-run", action="store_true", help="print what would be computed, and stop")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder of cases that name none of their own")


def run_study_command(options: Namespace) -> int:
    """Read the study file, compute what is not finished, and write tables, figures and report."""
    from rich.console import Console

    from needleplan.app.cli import EXIT_OK
    from needleplan.app.study.cluster import require_workers
    from needleplan.app.study.describe import describe_study
    from needleplan.app.study.engine import run_study
    from needleplan.app.study.stopping import StudyStopped
    from needleplan.app.study.study_file import outline_study, read_study
    from needleplan.app.study.study_folder import StudyFolder
    from needleplan.app.study.study_progress import readable_time, study_progress
    from needleplan.app.study.study_run import told_writing
    from needleplan.app.summary import print_where
    from needleplan.errors import OptionError

    console = Console()
    if options.scheduler is not None and options.workers is not None:
        raise OptionError("--workers starts processes here, --scheduler uses those of a cluster: leave one of both")
    require_workers(options.workers, options.scheduler)
    if options.dry_run:
        for line in describe_study(outline_study(options.study, options.data)):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        return EXIT_OK
    study = read_study(options.study, options.data)
    if options.out is None:
        raise OptionError("--out says which folder the results go to: name one, or ask for --dry-run")
    folder = StudyFolder(options.out)
    try:
        with study_progress(console) as progress:
            summary = run_study(
                study,
                options.out,
                workers=options.workers,
                scheduler=options.scheduler,
                resume=options.resume,
                progress=progress,
            )
    except KeyboardInterrupt as stopped:
        print(
            f"needleplan: stopped; finished cells are kept in {options.out}: run it again with --resume",
            file=sys.stderr,
        )
        return 128 + (stopped.signal_number if isinstance(stopped, StudyStopped) else signal.SIGINT)
    told = ", ".join(f"{count} {status}" for status, count in summary.statuses.items() if count)
    earlier = f" ({summary.kept} of them before)" if summary.kept else ""
    console.print(
        f"{summary.cases} cases, {summary.cells} cells{earlier} in {readable_time(summary.wall_s)}: {told}",
        soft_wrap=True,
        highlight=False,
    )
    if summary.limited:
        console.print(
            f"  the searches of {summary.limited} cells were ended by their time: another machine may find other "
            "plans for them (time_limited in the table)",
            soft_wrap=True,
            highlight=False,
        )
    for line in _lacking(summary):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    with folder.locked(), told_writing(folder):
        where = [("results", str(folder.results)), *_analysed(study, options.out)]
    print_where(console, where)
    return EXIT_OK


def _lacking(summary: "StudySummary") -> list[str]:
    """What is not there although the study has ended."""
    lines = []
    if summary.without_files:
        name, reason = next(iter(summary.without_files.items()))
        lines.append(
            f"  the files of {len(summary.without_files)} cases could not be made ({name}: {reason}), so other "
            "commands cannot read their plans: run it again with --resume"
        )
    for plans, what in ((summary.plans_gone, "no longer there"), (summary.plans_altered, "damaged or altered")):
        if plans:
            told = "1 plan that rows name is" if len(plans) == 1 else f"{len(plans)} plans that rows name are"
            again = "it again, remove this" if len(plans) == 1 else "them again, remove these"
            lines.append(f"  {told} {what}: to make {again} and run it again with --resume")
            lines += _removed(list(plans.values()))
    return lines


def _removed(rows: list[Path]) -> list[str]:
    """The files of rows that are to be removed, one a line; of many the folders of their cases, computed whole."""
    places = rows if len(rows) <= _NAMED else sorted({row.parent for row in rows})
    more = len(places) - _NAMED
    lines = [f"    {place}" for place in places[:_NAMED]]
    if more > 0:
        lines.append(
            f"    and the folders of {more} more case{'' if more == 1 else 's'}, named once these are done"
        )
    return lines


def _analysed(study: "Study", out: Path) -> list[tuple[str, str]]:
    """Write the analysis and the report that a study asks for; what each is, and where it lies."""
    where = []
    if study.outputs.analysis:
        from needleplan.app.study.analysis_outputs import analyse_folder

        where.append(("analysis", str(analyse_folder(out))))
    if study.outputs.report:
        from needleplan.app.study.study_report import write_study_report

        where.append(("report", str(write_study_report(out))))
    return where
