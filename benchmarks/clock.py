"""Wall times of stages that are run in turn, so that a change of the machine's load meets all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rows import Row

Answer = TypeVar("Answer")
#: Width of tables that go to a file.
_FILE_WIDTH = 130


class Clock:
    """Wall times of named stages over repeats.

    Args:
        prefix: what stands before every stage's name in tables.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.times_s: dict[str, list[float]] = {}
        self.counts: dict[str, int] = {}

    def __call__(self, name: str, work: Callable[[], Answer], count: int = 0) -> Answer:
        """Run one stage; ``count`` is the number of things it handles, for a rate."""
        start = time.perf_counter()
        answer = work()
        self.times_s.setdefault(name, []).append(time.perf_counter() - start)
        self.counts[name] = count
        return answer

    def median_s(self, name: str) -> float:
        """Median time of a stage."""
        return statistics.median(self.times_s[name])

    def rate(self, name: str) -> float:
        """Things a second, by the median time."""
        return self.counts[name] / self.median_s(name)


def print_times(clocks: Sequence[Clock]) -> None:
    """Median and best of every stage, and what both come to for each thing that it handled."""
    table = Table(title="wall time", title_justify="left")
    for heading in ("stage", "runs", "median s", "best s", "median 1/s", "best 1/s"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for clock in clocks:
        for name, times in clock.times_s.items():
            count, median, best = clock.counts[name], statistics.median(times), min(times)
            rates = (f"{count / median:.0f}", f"{count / best:.0f}") if count else ("", "")
            table.add_row(f"{clock.prefix}: {name}", str(len(times)), f"{median:.4f}", f"{best:.4f}", *rates)
    _console().print(table)


def print_rows(rows: Sequence[Row]) -> None:
    """The rows that have a peer."""
    table = Table(title="beside peers and limits (ratio = value / peer)", title_justify="left")
    for heading in ("figure", "value", "peer", "peer's value", "ratio"):
        table.add_column(heading, justify="left" if heading in ("figure", "peer") else "right")
    for row in rows:
        if row.peer_name is not None:
            unit = "" if row.unit == "1" else f" {row.unit}"
            table.add_row(
                row.name, f"{row.value:.4g}{unit}", row.peer_name, f"{row.peer_value:.4g}{unit}", f"{row.ratio:.3g}"
            )
    _console().print(table)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)
