"""The analysis of a study's folder: tables as CSV, figures for print with their data."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from needleplan.app.study.analysis import Analysis, analyse
from needleplan.app.study.analysis_figures import study_figures
from needleplan.app.study.analysis_tables import Value, analysis_tables
from needleplan.app.study.study_folder import StudyFolder
from needleplan.errors import PlanFileError
from needleplan.io.plan_file import write_text
from needleplan.io.plan_table import plain_text
from needleplan.io.study_table import read_rows, read_times
from needleplan.viz.study_figures_canvas import StudyFigure

#: Folders of the tables and of the figures.
TABLES, FIGURES = "analysis", "figures"


def analyse_folder(out: Path) -> Path:
    """Write the tables of a finished study as CSV, and its figures as PDF, SVG and PNG with their data.

    Each file is written whole or not at all; an earlier analysis is written over.

    Args:
        out: folder of the study.

    Returns:
        The folder of the tables; figures stand beside it.

    Raises:
        PlanFileError: results or times are missing, damaged, or contradict each other.
    """
    analysis = read_analysis(out)
    write_tables(out / TABLES, analysis)
    write_figures(out / FIGURES, study_figures(analysis))
    return out / TABLES


def read_analysis(out: Path) -> Analysis:
    """The analysis of a study's folder; errors as of ``analyse_folder``."""
    folder = StudyFolder(out)
    for path in (folder.results, folder.times):
        if not path.is_file():
            raise PlanFileError(f"{out}: there is no {path.name}; run the study to its end first")
    return analyse(read_rows(folder.results), read_times(folder.times))


def write_tables(folder: Path, analysis: Analysis) -> list[Path]:
    """Every table as CSV, and columns.csv that says what each column is."""
    paths = []
    glossary: list[tuple[Value, ...]] = []
    for table in analysis_tables(analysis):
        path = folder / f"{table.name}.csv"
        write_text(path, csv_text([name for name, _ in table.columns], table.rows))
        glossary += [(path.name, name, meaning) for name, meaning in table.columns]
        paths.append(path)
    write_text(folder / "columns.csv", csv_text(("table", "column", "meaning"), glossary))
    return [*paths, folder / "columns.csv"]


def write_figures(folder: Path, figures: Sequence[StudyFigure]) -> list[Path]:
    """Every figure in three formats, and its data as CSV."""
    paths = []
    for figure in figures:
        paths += figure.save(folder)
        path = folder / f"{figure.name}.csv"
        write_text(path, csv_text(figure.columns, figure.data))
        paths.append(path)
    return paths


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """CSV (RFC 4180): numbers in full, nothing for None, texts that no spreadsheet takes for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain_text(value) if isinstance(value, str) else repr(value)
