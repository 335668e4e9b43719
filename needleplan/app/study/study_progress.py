"""The live table of a study that is under way; plain lines where the output is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from needleplan.app.study.study_run import ProgressCallback
from needleplan.app.study.study_state import STATUSES, StudyState

#: Time between plain lines.
_LINE_S = 30.0


@contextmanager
def study_progress(console: Console) -> Iterator[ProgressCallback]:
    """What ``run_study`` calls to show how far it is."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield lambda state: live.update(progress_table(state), refresh=True)


class _Lines:
    """A line now and then, and one for the end."""

    def __init__(self, console: Console) -> None:
        self._console, self._shown_s, self._shown = console, -_LINE_S, -1

    def __call__(self, state: StudyState) -> None:
        ended = state.cells_done == state.cells
        if state.cells_done == self._shown or not (ended or time.monotonic() - self._shown_s >= _LINE_S):
            return
        self._shown_s, self._shown = time.monotonic(), state.cells_done
        self._console.print(progress_line(state), soft_wrap=True, highlight=False, markup=False)


def progress_line(state: StudyState) -> str:
    """How far a study is, in one line."""
    workers = f"{state.workers} worker{'' if state.workers == 1 else 's'}"
    return (
        f"{state.cases_done} of {state.cases} cases, {state.cells_done} of {state.cells} cells, "
        f"{state.total('failed')} failed, {workers}, {_rate(state)}, {_left(state)}"
    )


def progress_table(state: StudyState) -> Group:
    """The same with a row a device."""
    table = Table(box=SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("device", no_wrap=True)
    for name in ("done", "of", *STATUSES):
        table.add_column(name, justify="right")
    for device, counts in state.statuses.items():
        numbers = [sum(counts.values()), state.cells_of[device], *(counts[status] for status in STATUSES)]
        table.add_row(escape(device), *(str(number) for number in numbers))
    bar = ProgressBar(total=max(state.cells, 1), completed=state.cells_done, width=60)
    parts = [bar, Text(progress_line(state)), table]
    if state.failure:
        parts.append(Text(f"last that failed: {state.failure}", overflow="ellipsis", no_wrap=True))
    return Group(*parts)


def readable_time(seconds: float) -> str:
    """A time in two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _rate(state: StudyState) -> str:
    if not state.computed or not state.elapsed_s:
        return "no cell yet"
    return f"{60.0 * state.computed / state.elapsed_s:.3g} cells a minute"


def _left(state: StudyState) -> str:
    left_s = state.left_s
    return f"{readable_time(state.elapsed_s)} gone" + ("" if left_s is None else f", {readable_time(left_s)} left")
