"""What ``needleplan check`` prints: a table of the structures, and every finding with what to do."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from needleplan.case.load import CaseReport
from needleplan.case.model import Severity

_STYLES = {
    Severity.REFUSED: "bold red",
    Severity.MENDED: "yellow",
    Severity.WARNING: "yellow",
    Severity.NOTE: "cyan",
}


def render_report(report: CaseReport, console: Console) -> None:
    """Print a report.

    Args:
        report: what ``inspect_case`` found.
        console: where to print it.
    """
    if report.rows:
        console.print(_structures(report))
    for finding in report.findings:
        style = _STYLES[finding.severity]
        console.print(f"[{style}]{finding.severity.value}[/] ({finding.code}) {escape(finding.message)}")
        if finding.remedy:
            console.print(f"    what to do: {escape(finding.remedy)}")
    if report.case is None:
        console.print(f"[bold red]{len(report.refused)} finding(s) refuse planning[/]: {escape(str(report.path))}")
    else:
        console.print(
            f"[bold green]ready to plan[/]: {escape(report.name)}, content {report.case.content_hash[:12]}"
        )


def _structures(report: CaseReport) -> Table:
    """The structures, one a row."""
    title = f"Case {escape(report.name)}, extents left-right x front-back x foot-head"
    table = Table(title=title, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("structure", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for heading in ("volume ml", "made of", "extent mm"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("closed")
    for row in report.rows:
        table.add_row(
            escape(row.name),
            row.role.value,
            f"{row.volume_ml:.2f}",
            f"{row.elements} {'voxels' if row.kind == 'voxels' else 'faces'}",
            " x ".join(f"{side:.0f}" for side in row.extent_mm),
            "yes" if row.watertight else "no",
        )
    return table
