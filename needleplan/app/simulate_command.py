"""What the simulate command does: the plan of a folder is rehearsed in a breathing patient."""

from argparse import Namespace

from rich.console import Console
from rich.markup import escape

from needleplan.app.breathing_options import Breathing, BreathingAxes, breathing_from
from needleplan.app.cli import EXIT_OK
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned, write_report_again
from needleplan.app.pipeline import PlannedCase
from needleplan.app.progress import progress_bar
from needleplan.app.rehearsal_options import rehearsal_options_from
from needleplan.app.rehearsal_outputs import rehearse_into
from needleplan.app.summary import print_where
from needleplan.errors import OptionError
from needleplan.plan import PlanStatus

#: So many other moments of the breath at most; for more there is ``rehearse``, which runs in parallel.
MOST_MOMENTS = 1000


def run(options: Namespace) -> int:
    """Rehearse the plan in a folder with one strategy, and in free breathing."""
    console = Console()
    folder = PlanFolder(options.folder)
    chosen = rehearsal_options_from(options, options.strategy)
    if not 0 <= options.moments <= MOST_MOMENTS:
        raise OptionError(f"the number of other moments must be 0 to {MOST_MOMENTS}, not {options.moments}")
    planned, breathing = planned_and_breathing(console, folder, options)
    rehearse_into(
        console, folder, planned, breathing.motion(options.seed), options=chosen, robot=options.robot,
        seed=options.seed, moments=options.moments, film=not options.no_film,
    )  # fmt: skip
    with progress_bar(console, "drawing") as progress:
        write_report_again(folder, planned, progress)
    print_where(console, [("outcome", str(folder.outcome)), ("report", str(folder.report))])
    return EXIT_OK


def planned_and_breathing(
    console: Console, folder: PlanFolder, options: Namespace
) -> tuple[PlannedCase, Breathing]:
    """The plan of a folder and the breathing of the options, which are tried before the case is read."""
    _tried(options)
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    if not planned.plan.insertions:
        raise OptionError(f"{folder.plan}: the plan holds no insertion, so there is nothing to rehearse")
    if planned.plan.status is PlanStatus.INFEASIBLE:
        raise OptionError(
            f"{folder.plan}: the plan's needles break hard demands, so it is not rehearsed; 'needleplan report' "
            "tells which"
        )
    breathing = breathing_from(options, BreathingAxes.of(planned.anatomy.case))
    for note in breathing.notes:
        console.print(f"  {escape(options.trace.name)}: {escape(str(note))}", soft_wrap=True)
    return planned, breathing


def _tried(options: Namespace) -> None:
    """Tell of impossible breathing at once, not after a case was read; its axes do not matter for that."""
    breathing_from(options, BreathingAxes()).motion(options.seed)
