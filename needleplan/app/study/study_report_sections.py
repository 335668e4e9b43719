"""The parts of a study's page: summary, status, indicators, comparisons, figures, audit trail."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from needleplan.app.report_template import Html, bdi, element, table
from needleplan.app.study.analysis import Analysis
from needleplan.app.study.analysis_levels import STATUSES, factor_title
from needleplan.app.study.analysis_measures import MEASURES
from needleplan.app.study.comparisons import Comparison
from needleplan.app.study.study_report_rows import status
from needleplan.uncertainty.binomial import clopper_pearson
from needleplan.uncertainty.rehearsal_statistics import RESAMPLES, Estimate
from needleplan.viz.study_figures_canvas import StudyFigure

#: Cells whose indicators stand side by side; those of more are in the table beside the page.
_MOST_COLUMNS = 12
#: Most comparisons that a page lists.
_MOST_COMPARISONS = 400
#: Below it a corrected probability counts.
_LEVEL = 0.05
_DIGITS = {item.name: item.digits for item in MEASURES}


def summary_section(analysis: Analysis) -> Html:
    """What the study came to, in sentences."""
    if not analysis.rows:
        return element("p", "The study has no rows.")
    cases = len({row.case for row in analysis.rows})
    counts = {name: sum(row.status == name for row in analysis.rows) for name in STATUSES}
    cells = len(analysis.cells)
    sentences = [
        f"{cases} cases in {cells} {'cell' if cells == 1 else 'cells'} make {len(analysis.rows)} rows: "
        + ", ".join(f"{count} {name}" for name, count in counts.items())
        + "."
    ]
    for factor in analysis.factors:
        mine = [
            item
            for item in analysis.comparisons.figures
            if item.scope.factor == factor and not item.scope.others and item.effect is not None
        ]
        clear = [item for item in mine if item.corrected is not None and item.corrected < _LEVEL]
        margin = [item for item in clear if item.measure in ("minimal_margin_mm", "rehearsed_minimal_margin_mm")]
        told = [_told(item) for item in (margin or clear)[:3]]
        sentences.append(
            f"By {factor_title(factor)}: {len(clear)} of {len(mine)} comparisons differ beyond chance after "
            "correction" + (f"; {'; '.join(told)}." if told else ".")
        )
    items = [element("li", text) for text in (*sentences, *analysis.notes)]
    return element("ul", *items, class_="evidence")


def _told(item: Comparison) -> str:
    assert item.effect is not None
    shown = interval(item.effect.mean, _DIGITS.get(item.measure, 1), sign="+")
    return (
        f"{item.title}: {item.scope.first} less {item.scope.second} {shown} {_difference_unit(item.unit)}".strip()
    )


def _difference_unit(unit: str) -> str:
    return "points" if unit == "%" else unit


def interval(estimate: Estimate | None, digits: int, sign: str = "") -> str:
    """A figure with its interval, as ``+1.2 (0.8 to 1.6)``."""
    if estimate is None:
        return "–"
    value = f"{estimate.value:{sign}z.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({estimate.low:{sign}z.{digits}f} to {estimate.high:{sign}z.{digits}f})"


def status_section(analysis: Analysis) -> Html:
    """Numbers and shares of statuses by cell."""
    rows = []
    for cell in analysis.cells:
        found = [row.status for row in analysis.rows_of(cell.name)]
        low, high = (100 * end for end in clopper_pearson(found.count("complete"), len(found), 0.95))
        share = f"{100 * found.count('complete') / len(found):.1f} % ({low:.1f} to {high:.1f} %)"
        rows.append((bdi(cell.label), str(len(found)), *(str(found.count(name)) for name in STATUSES), share))
    header = ("cell", "cases", *STATUSES, "share complete")
    return table(header, rows) if rows else Html("")


def indicators_section(analysis: Analysis) -> Html:
    """Indicators in rows, cells in columns, definitions below."""
    cells = analysis.cells[:_MOST_COLUMNS]
    if not analysis.indicators:
        return Html("")
    found = {(item.definition.name, item.cell): item for item in analysis.indicators}
    definitions = list(dict.fromkeys(item.definition for item in analysis.indicators))
    rows = []
    for definition in definitions:
        values = []
        for cell in cells:
            item = found[definition.name, cell.name]
            shown = interval(item.value, definition.digits)
            values.append(
                element("span", shown, title=f"{item.count} cases, {item.left_out} not counted")
                if item.value
                else "–"
            )
        unit = f", {definition.unit}" if definition.unit else ""
        rows.append((f"{definition.title}{unit}", definition.group, *values))
    header = ("indicator", "of", *(cell.label for cell in cells))
    told = [(item.title, item.definition, item.denominator) for item in definitions]
    left = len(analysis.cells) - len(cells)
    return Html(
        table(header, rows, 2)
        + element(
            "p",
            "Means and shares with their 95 % intervals; proxies tell of plans and rehearsals, not of patients. "
            + (f"{left} more cells stand in analysis/indicators.csv." if left else ""),
            class_="mute",
        )
        + element("details", element("summary", "Definitions"), table(("indicator", "definition", "over"), told, 3))
    )


def comparisons_section(analysis: Analysis) -> Html:
    """Paired differences over all other factors, and outcomes; what differs in no case is counted alone."""
    items = [item for item in analysis.comparisons.figures if not item.scope.others and item.effect is not None]
    told = [item for item in items if item.effect is not None and item.effect.larger + item.effect.smaller]
    rows = []
    for item in told[:_MOST_COMPARISONS]:
        effect = item.effect
        assert effect is not None
        digits = _DIGITS.get(item.measure, 1)
        left = "; ".join(f"{reason}: {count}" for reason, count in item.left_out) or "none"
        rows.append(
            (
                bdi(f"{item.scope.first} less {item.scope.second}"), item.title,
                f"{interval(effect.mean, digits, '+')} {_difference_unit(item.unit)}".strip(),
                interval(effect.standardised, 2, "+"), f"{effect.rank_biserial:+.2f}", _probability(item.corrected),
                str(effect.pairs), left,
            )
        )  # fmt: skip
    parts = []
    if rows:
        header = ("levels", "figure", "mean difference", "g", "rank-biserial", "p, corrected", "cases", "left out")
        parts.append(table(header, rows, 2))
    same, rest = len(items) - len(told), len(told) - len(rows)
    if same or rest:
        counted = f"{same} further comparisons differ in no case. " if same else ""
        counted += f"{rest} more differ and stand in analysis/comparisons.csv." if rest else ""
        parts.append(element("p", counted, class_="mute"))
    answers = []
    for answer in analysis.comparisons.outcomes[:_MOST_COMPARISONS]:
        shares, scope = answer.shares, answer.scope
        if shares.only_first + shares.only_second:
            others = f" ({scope.others})" if scope.others else ""
            answers.append(
                (
                    bdi(f"{scope.first} less {scope.second}{others}"), answer.title, _points(shares.difference),
                    f"{shares.only_first} and {shares.only_second}", _probability(answer.corrected),
                    str(shares.cases),
                )
            )  # fmt: skip
    if answers:
        parts.append(element("h3", "Outcomes of all cases"))
        columns = ("levels", "outcome", "difference of shares", "in one level alone", "p, corrected", "cases")
        parts.append(table(columns, answers, 2))
    if not parts:
        return Html("")
    rule = (
        "Cases are compared with themselves, all other factors equal. Figures are over the cases that have a plan "
        "at both levels, the others are counted with their reasons; outcomes are over all cases, and one without a "
        "plan answers no. Intervals: 95 %, bootstrap over cases, Bonett and Price for shares. g: mean over "
        "standard deviation of the differences, corrected for few cases. p: Wilcoxon's signed ranks or McNemar's "
        "exact test, corrected for all comparisons of the factor by Holm."
    )
    return Html("".join(parts) + element("p", rule, class_="mute"))


def _points(estimate: Estimate) -> str:
    ends = [None if end is None else 100 * end for end in (estimate.low, estimate.high)]
    return f"{interval(Estimate(100 * estimate.value, *ends), 1, '+')} points"


def _probability(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def figures_section(figures: Sequence[StudyFigure]) -> Html:
    """Every figure as a drawing within the page."""
    return Html(
        "".join(
            element(
                "figure", Html(item.inline_svg()),
                element(
                    "figcaption", element("b", item.title), ". ", item.caption, f" Data: figures/{item.name}.csv."
                ),
            )
            for item in figures
        )
    )  # fmt: skip


def audit_section(record: Mapping[str, Any], analysis: Analysis, seed: int) -> Html:
    """All that decides about the results, and how the page was made of them."""
    rows = [
        ("study", bdi(str(record["name"]))),
        ("digest", element("code", str(record["digest"]))),
        ("seed", str(record.get("seed", "–"))),
        ("platform", str(record.get("platform", "–"))),
        ("statistics", f"95 % intervals, {RESAMPLES} resamples of cases, seed {seed}"),
    ]
    rows += [(f"{name}", bdi(_text(value))) for name, value in _items(record.get("effort"))]
    versions = [(name, element("code", _text(value))) for name, value in _items(record["versions"])]
    manifests = dict(_items(record["inputs"]))
    hashes: dict[str, str] = {}
    for row in analysis.rows:
        hashes[row.case] = row.case_hash or hashes.get(row.case, "")
    inputs = [
        (
            bdi(case),
            element("code", digest or "could not be read"),
            element("code", _text(manifests.get(case) or "–")),
        )
        for case, digest in sorted(hashes.items())
    ]
    times = sum(item.processor_s for item in analysis.times)
    if analysis.times:
        rows.append(("processor time", f"{times / 3600:.2f} h, {times / len(analysis.times):.1f} s a row"))
    cells = json.dumps(record.get("cells"), indent=1, ensure_ascii=False)
    header = ("case", "content hash", "manifest, SHA-256")
    return Html(
        table(("", ""), rows, 2)
        + element("h3", "Versions")
        + table(("", ""), versions, 2)
        + element("details", element("summary", f"Inputs ({len(inputs)} cases)"), table(header, inputs, 3))
        + element("details", element("summary", f"Cells ({len(analysis.cells)})"), element("pre", cells))
        + element("details", element("summary", "Study file"), element("pre", _text(record.get("source") or "–")))
    )


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def legend() -> Html:
    """What the statuses mean."""
    meanings = {
        "complete": "target and margin are covered and every hard constraint holds",
        "partial": "every hard constraint holds, but not all that was asked for is covered or known",
        "infeasible": "no needle path satisfies the hard constraints",
        "failed": "an error kept the case from being planned",
    }
    parts = [f"{status(name)} {text}" for name, text in meanings.items()]
    return element("p", Html("; ".join(parts)), class_="mute")
