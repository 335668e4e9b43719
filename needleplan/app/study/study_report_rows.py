"""The table of all rows of a study's page, and the rows without a plan with their reasons."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from needleplan.app.report_template import Html, bdi, element, table
from needleplan.app.study.analysis import Analysis
from needleplan.app.study.analysis_levels import PLANNED, STATUSES
from needleplan.app.study.study import Row

#: Most rows that a page lists: some 5 MB. Beyond, those without a complete plan come first.
MOST_LISTED = 6000
#: Most rows without a plan that are told with their reasons beside the table.
MOST_REASONS = 200
#: A reason is cut after so many letters in the table.
_REASON_LETTERS = 160

_NAMES = ("case", "cell", "status")
_FIGURES = (
    "target, ml", "punctures", "bound", "least margin, mm", "target, %", "with margin, %", "clearance, mm",
    "margin reached, chance %", "procedure, min", "tip error, mm", "rehearsed margin, mm",
)  # fmt: skip
_NOTHING = "–"


def rows_section(analysis: Analysis, out: Path) -> Html:
    """The table with its controls, which appear where scripts run."""
    labels = {cell.name: cell.label for cell in analysis.cells}
    listed = list(analysis.rows)
    note = ""
    if len(listed) > MOST_LISTED:
        # Python's sort keeps the order of equals.
        listed = sorted(listed, key=lambda row: -STATUSES.index(row.status))[:MOST_LISTED]
        note = (
            f"{MOST_LISTED} of {len(analysis.rows)} rows are listed, those without a complete plan first; all "
            "stand in results.parquet and analysis/rows.csv."
        )
    figures = [_figures(row) for row in listed]
    # A figure that no row has, such as those of rehearsals, would take the place of the others.
    told = [k for k in range(len(_FIGURES)) if any(values[k] != _NOTHING for values in figures)]
    names = (*_NAMES, *(_FIGURES[k] for k in told), "reason")
    body = element(
        "tbody",
        *(
            _row(row, labels[row.cell], [values[k] for k in told], out)
            for row, values in zip(listed, figures, strict=True)
        ),
    )
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    whole = element("table", head, body, id="rows")
    region = element("div", whole, class_="rows", tabindex="0", role="region", aria_label="all rows")
    return Html(
        (element("p", note) if note else "")
        + _controls(sorted({labels[row.cell] for row in listed}))
        + region.replace("aria_label", "aria-label")
    )


def reasons_section(analysis: Analysis) -> Html:
    """Cases without a plan and why; partial plans say why in the table of rows."""
    labels = {cell.name: cell.label for cell in analysis.cells}
    lacking = [row for row in analysis.rows if row.status not in PLANNED]
    if not lacking:
        return element("p", "Every case has a plan in every cell.")
    rows = [
        (bdi(row.case), bdi(labels[row.cell]), status(row.status), bdi(row.reason))
        for row in lacking[:MOST_REASONS]
    ]
    rest = len(lacking) - len(rows)
    more = element("p", f"{rest} more stand in the table of rows.", class_="mute") if rest else Html("")
    return Html(table(("case", "cell", "status", "reason"), rows, 4) + more)


def status(name: str) -> Html:
    """A status as a badge."""
    return element("span", name, class_=f"status {name}")


def _figures(row: Row) -> tuple[str, ...]:
    """The cells of ``_FIGURES``."""

    def number(value: float | None, digits: int, factor: float = 1.0) -> str:
        return _NOTHING if value is None else f"{factor * value:.{digits}f}"

    return (
        number(row.target_ml, 1), number(row.insertions, 0), number(row.lower_bound, 0),
        number(row.minimal_margin_mm, 1), number(row.target_coverage_fraction, 1, 100),
        number(row.margin_coverage_fraction, 1, 100), number(row.least_clearance_mm, 1),
        number(row.chance_margin, 0, 100), number(row.procedure_s, 1, 1 / 60), number(row.tip_error_mm, 1),
        number(row.rehearsed_minimal_margin_mm, 1),
    )  # fmt: skip


def _row(row: Row, label: str, figures: Sequence[str], out: Path) -> Html:
    link = plan_report(out, row)
    name = bdi(row.case) if link is None else element("a", bdi(row.case), href=link)
    reason = row.reason if len(row.reason) <= _REASON_LETTERS else f"{row.reason[:_REASON_LETTERS]}…"
    return element(
        "tr", element("th", name, scope="row"), element("td", bdi(label)), element("td", status(row.status)),
        *(element("td", value, class_="number") for value in figures), element("td", bdi(reason), class_="reason"),
    )  # fmt: skip


def plan_report(out: Path, row: Row) -> str | None:
    """Address of the report of a row's plan relative to the study's folder; None where there is none within it."""
    if not row.plan_file:
        return None
    relative = PurePosixPath(row.plan_file).parent / "report.html"
    try:
        path = (out / relative).resolve()
        inside = path.is_relative_to(out.resolve()) and path.is_file()
    except (OSError, ValueError):
        return None
    return quote(f"./{relative.as_posix()}") if inside and not relative.is_absolute() else None


def _controls(labels: Sequence[str]) -> Html:
    def choice(identity: str, title: str, values: Sequence[str]) -> Html:
        options = [element("option", "all", value="")] + [element("option", text, value=text) for text in values]
        return element("label", title, element("select", *options, id=identity))

    words = element("label", "words in a row", Html('<input type="search" id="filter-text" autocomplete="off">'))
    shown = Html('<span id="shown" role="status" aria-live="polite"></span>')
    parts = (words, choice("filter-status", "status", STATUSES), choice("filter-cell", "cell", labels), shown)
    return Html(f'<div class="controls" id="controls" hidden>{"".join(parts)}</div>')
