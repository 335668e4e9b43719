"""The replay command: a recorded session is told again, and must say what it said. Quick to import."""

import argparse
from argparse import Namespace
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from needleplan.app.argument_groups import folder_path

if TYPE_CHECKING:
    from rich.console import Console

    from needleplan.app.pipeline import PlannedCase
    from needleplan.navigation.events import SessionEvent
    from needleplan.navigation.guidance import Guidance
    from needleplan.navigation.live_session import LiveSession
    from needleplan.navigation.session_log import RecordedLog

#: A doubt counts on between two guidances, but over no longer pause than this.
_LONGEST_STEP_S = 1.0


def add_replay(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", type=folder_path, metavar="DIR", help="folder of the plan of the session")
    parser.add_argument("log", type=Path, metavar="LOG", help="log of the session")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder of the case")


def run_replay(options: Namespace) -> int:
    """Tell a new session all that was recorded, compare, and print what happened."""
    from rich.console import Console
    from rich.markup import escape

    from needleplan.app.folder import PlanFolder
    from needleplan.app.outputs import load_planned
    from needleplan.app.progress import progress_bar
    from needleplan.navigation.recorded_session import replay
    from needleplan.navigation.session_log import read_log

    console = Console()
    recorded = read_log(options.log)
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(PlanFolder(options.folder), options.data, progress)
    session = session_of(planned, recorded)
    summary = SessionSummary()
    result = replay(recorded, session, summary.note)
    if recorded.torn:
        console.print(escape(recorded.torn), soft_wrap=True)
    if not recorded.closed:
        console.print(
            "The session was not ended: it was killed, is still going on, or its record was cut.", soft_wrap=True
        )
    summary.print(console, session)
    if result.equal:
        console.print(f"{result.events} events, {result.answers} answers: all are what they were, bit by bit.")
        return 0
    console.print(escape(f"{options.log.name}: {result.difference}"), soft_wrap=True)
    return 3


def session_of(planned: "PlannedCase", recorded: "RecordedLog") -> "LiveSession":
    """A new session with the limits of a recorded one.

    Raises:
        NavigationError: it was recorded with a body or a prediction that is not the default.
    """
    from needleplan.errors import NavigationError
    from needleplan.io.value_json import from_json
    from needleplan.navigation.live_session import LiveSession
    from needleplan.navigation.options import SessionOptions

    limits = from_json(SessionOptions, recorded.header["options"], recorded.path.name)
    if recorded.header["body"] is not None:
        raise NavigationError(
            f"{recorded.path.name}: the session was recorded with a deforming body: replay it with "
            "needleplan.navigation.recorded_session.replay and that body"
        )
    return LiveSession(planned.plan, planned.queries, planned.zone_model.catalogue.applicators, limits)


class SessionSummary:
    """What happened in a session, gathered as it is replayed."""

    def __init__(self) -> None:
        self.lasted_s: defaultdict[str, float] = defaultdict(float)
        self.advice: defaultdict[str, float] = defaultdict(float)
        self.refused: list[str] = []
        self.registrations = 0
        self._before: Guidance | None = None

    def note(self, event: "SessionEvent", answer: "Guidance | str | None") -> None:
        """One event and its answer."""
        from needleplan.navigation.events import Registered

        if isinstance(answer, str):
            self.refused.append(answer)
        elif isinstance(event, Registered):
            self.registrations += 1
        if answer is None or isinstance(answer, str):
            return
        before = self._before
        if before is not None:
            passed_s = min(max(answer.time_s - before.time_s, 0.0), _LONGEST_STEP_S)
            self.advice[before.advice.value] += passed_s
            for kind in {doubt.kind.value for doubt in before.doubts}:
                self.lasted_s[kind] += passed_s
        self._before = answer

    def print(self, console: "Console", session: "LiveSession") -> None:
        """The needles with their deviations, advice and doubts with how long they lasted, and refusals."""
        from rich.markup import escape
        from rich.table import Table

        from needleplan.coverage.treatment_state import NeedleDeviation

        table = Table(title="needles as they were let go", title_justify="left")
        for heading in ("needle", "tip off, mm", "aside, mm", "too deep, mm", "angle, degrees"):
            table.add_column(heading, justify="left" if heading == "needle" else "right")
        planned = {one.order: one for one in (*session.plan.insertions, *session.planned)}
        for needle in session.measured:
            off = NeedleDeviation.of(planned[needle.order], needle)
            figures = (off.tip_mm, off.lateral_mm, off.depth_mm, off.angle_deg)
            table.add_row(str(needle.order), *(f"{value:.1f}" for value in figures))
        console.print(table)
        table = Table(title="how long", title_justify="left")
        table.add_column("advice or doubt")
        table.add_column("s", justify="right")
        for counted in (self.advice, self.lasted_s):
            for name, seconds in sorted(counted.items(), key=lambda item: -item[1]):
                table.add_row(name, f"{seconds:.1f}")
        console.print(table)
        console.print(f"{self.registrations} registrations, {len(session.delivered)} deliveries of energy.")
        for name, count in session.counts.items():
            if count:
                console.print(escape(f"{count} samples were not used: {name}."))
        for sentence in self.refused:
            console.print(escape(f"refused: {sentence}"), soft_wrap=True)
