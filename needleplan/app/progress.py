"""Progress bars for whatever takes longer than a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar that is filled by calling the value with (what is being done, fraction done).

    It vanishes when it is done; where the output is no terminal, nothing but one line is printed.
    """
    if not console.is_terminal:
        console.print(f"{title} …")
        yield lambda name, fraction: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[step]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=1.0, step="")

        def report(name: str, fraction: float) -> None:
            progress.update(task, completed=min(max(fraction, 0.0), 1.0), step=name)

        yield report
