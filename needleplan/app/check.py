"""What ``needleplan check`` prints: a table of the structures, and every finding with what to do."""

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from needleplan.case.load import CaseReport, StructureRow
from needleplan.case.model import Severity

_STYLES = {
    Severity.REFUSED: "bold red",
    Severity.MENDED: "yellow",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}

#: A terminal that leaves a name fewer letters than this in its column gets lines in the table's place.
_LEAST_NAME = 12


def render_report(report: CaseReport, console: Console) -> None:
    """Print a report.

    Args:
        report: what ``inspect_case`` found.
        console: where to print it.
    """
    if report.rows:
        _print_structures(report, console)
    for finding in report.findings:
        style = _STYLES[finding.severity]
        console.print(f"[{style}]{finding.severity.value}[/] ({finding.code}) {escape(finding.message)}")
        if finding.remedy:
            console.print(f"    what to do: {escape(finding.remedy)}")
    if report.case is None:
        console.print(f"[bold red]{len(report.refused)} finding(s) refuse planning[/]: {escape(str(report.path))}")
    else:
        ready = ("ready to plan", "bold green")
        console.print(Text.assemble(ready, f": {report.name}, content {report.case.content_hash[:12]}"))


def _print_structures(report: CaseReport, console: Console) -> None:
    """The structures: a table whose numbers are always whole, or lines where the terminal is too narrow for one."""
    title = Text(f"Case {report.name}, extents left-right x front-back x foot-head", style="table.title")
    table = Table(title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    # The name alone takes more lines where there is little room.
    table.add_column("structure", overflow="fold")
    table.add_column("role", no_wrap=True)
    for heading in ("volume ml", "made of", "extent mm"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("closed", no_wrap=True)
    for row in report.rows:
        closed = "yes" if row.watertight else "no"
        table.add_row(Text(row.name), row.role.value, f"{row.volume_ml:.2f}", _elements(row), _extent(row), closed)
    longest = max(cell_len(row.name) for row in report.rows)
    whole = Measurement.get(console, console.options.update(width=10_000), table).maximum
    if whole - max(0, longest - _LEAST_NAME) <= console.width:
        console.print(table)
        return
    console.print(title)
    for row in report.rows:
        closed = "closed" if row.watertight else "not closed"
        console.print(Text(row.name, style="table.header"))
        console.print(Padding(f"{row.role.value}, {row.volume_ml:.2f} ml, {closed}", (0, 0, 0, 2)))
        console.print(Padding(f"{_elements(row)}, {_extent(row)} mm", (0, 0, 0, 2)))


def _elements(row: StructureRow) -> str:
    return f"{row.elements} {'voxels' if row.kind == 'voxels' else 'faces'}"


def _extent(row: StructureRow) -> str:
    return " x ".join(f"{side:.0f}" for side in row.extent_mm)
