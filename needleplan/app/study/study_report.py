"""The page of a study: one self-contained HTML file that asks no network and runs one small script of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from needleplan.app.report import NOTICE
from needleplan.app.report_template import element, page, section
from needleplan.app.study.analysis import Analysis
from needleplan.app.study.analysis_figures import study_figures
from needleplan.app.study.analysis_outputs import read_analysis
from needleplan.app.study.study_folder import StudyFolder
from needleplan.app.study.study_record import read_record
from needleplan.app.study.study_report_rows import reasons_section, rows_section
from needleplan.app.study.study_report_sections import (
    audit_section,
    comparisons_section,
    figures_section,
    indicators_section,
    legend,
    status_section,
    summary_section,
)
from needleplan.app.study.study_report_style import ROWS_SCRIPT, STUDY_STYLE
from needleplan.io.plan_file import write_text

#: Name of the page in the study's folder.
PAGE = "report.html"


def write_study_report(out: Path) -> Path:
    """Write the page of a finished study, whole or not at all.

    Args:
        out: folder of the study.

    Returns:
        The page.

    Raises:
        PlanFileError: study.json, results or times are missing, damaged, or contradict each other.
    """
    record = read_record(StudyFolder(out).record)
    write_text(out / PAGE, study_page(record, read_analysis(out), out))
    return out / PAGE


def study_page(record: Mapping[str, Any], analysis: Analysis, out: Path, seed: int = 0) -> str:
    """The page as text; every word that comes from files is escaped.

    Args:
        record: content of study.json.
        analysis: of the study's rows.
        out: folder of the study; plans that have a report within it are linked.
        seed: that the analysis was made with.
    """
    name = str(record["name"])
    version = record["versions"].get("needleplan", "")
    return page(
        f"needleplan study: {name}",
        element(
            "header",
            element("h1", element("bdi", name)),
            element("p", f"Study by needleplan {version}, digest {str(record['digest'])[:12]}"),
        ),
        element("p", element("b", "Research software. "), NOTICE, class_="notice"),
        summary_section(analysis),
        section("Status by cell", status_section(analysis), legend() if analysis.rows else ""),
        section("Indicators", indicators_section(analysis)),
        section("Comparisons", comparisons_section(analysis)),
        section("Figures", figures_section(study_figures(analysis))),
        section("Cases without a plan", reasons_section(analysis) if analysis.rows else ""),
        section("All rows", rows_section(analysis, out) if analysis.rows else ""),
        section("How this study was made", audit_section(record, analysis, seed)),
        element("footer", NOTICE),
        style=STUDY_STYLE,
        scripts=(ROWS_SCRIPT,),
    )
