"""Error budgets that ship with needleplan, and the published accuracies that they are measured against."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from needleplan.devices import sheet
from needleplan.errors import OptionError
from needleplan.uncertainty.error_budget import ERROR_NAMES, ErrorBudget, ErrorSource

_PRESET_COLUMNS = (
    "preset", "error", "std", "unit", "degrees_of_freedom", "source", "doi_or_url", "provenance", "confidence",
)  # fmt: skip
_ACCURACY_COLUMNS = (
    "guidance", "setting", "quantity", "mean", "sd", "unit", "source", "doi_or_url", "provenance", "confidence",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PresetRow:
    """One source of error of one preset.

    Attributes:
        preset: name of the budget.
        error: field of ``ErrorBudget``.
        std: standard deviation of each component.
        unit: mm or deg.
        degrees_of_freedom: of a t law; None for a normal one.
        source: where the figure is from, or why it was assumed.
        doi_or_url: of the publication; may be empty.
        provenance: READ, RECALL or ASSUMED.
        confidence: high, medium or low.
    """

    preset: str
    error: str
    std: float
    unit: str
    degrees_of_freedom: float | None
    source: str
    doi_or_url: str
    provenance: str
    confidence: str


@dataclass(frozen=True, slots=True)
class PublishedAccuracy:
    """One published accuracy of placement: mean and standard deviation of a magnitude.

    Attributes:
        guidance: the preset that it belongs to.
        setting: patient, pig or phantom.
        quantity: ``lateral`` (distance across the needle), ``tip`` (in three dimensions) or ``angle``.
        mean: mean of the magnitude.
        sd: its standard deviation.
        unit: mm or deg.
        source: publication.
        doi_or_url: of the publication; may be empty.
        provenance: READ or RECALL.
        confidence: high, medium or low.
    """

    guidance: str
    setting: str
    quantity: str
    mean: float
    sd: float
    unit: str
    source: str
    doi_or_url: str
    provenance: str
    confidence: str

    @property
    def root_mean_square(self) -> float:
        """sqrt(mean² + sd²): with errors of mean 0, the square root of the sum of the components' variances."""
        return float((self.mean**2 + self.sd**2) ** 0.5)


def _table(name: str, columns: tuple[str, ...]) -> list[tuple[str, sheet.Row]]:
    text = files("needleplan.uncertainty").joinpath(name).read_text(encoding="utf-8")
    return sheet.rows(text, name, columns)


@cache
def preset_rows() -> tuple[PresetRow, ...]:
    """All figures of the presets with their sources."""
    found = []
    for where, row in _table("error_presets.csv", _PRESET_COLUMNS):
        freedom = row["degrees_of_freedom"].strip()
        error = sheet.choice(row, "error", where, ERROR_NAMES)
        found.append(
            PresetRow(
                sheet.words(row, "preset", where),
                error,
                sheet.positive(row, "std", where, 0.0),
                sheet.choice(row, "unit", where, ("deg",) if error == "angle_deg" else ("mm",)),
                sheet.positive(row, "degrees_of_freedom", where) if freedom else None,
                sheet.words(row, "source", where),
                row["doi_or_url"].strip(),
                sheet.choice(row, "provenance", where, sheet.PROVENANCES),
                sheet.choice(row, "confidence", where, sheet.CONFIDENCES),
            )
        )
    return tuple(found)


@cache
def published_accuracies() -> tuple[PublishedAccuracy, ...]:
    """Published accuracies of placement with their sources."""
    return tuple(
        PublishedAccuracy(
            sheet.words(row, "guidance", where),
            sheet.choice(row, "setting", where, ("patient", "pig", "phantom")),
            sheet.choice(row, "quantity", where, ("lateral", "tip", "angle")),
            sheet.positive(row, "mean", where),
            sheet.positive(row, "sd", where),
            sheet.choice(row, "unit", where, ("mm", "deg")),
            sheet.words(row, "source", where),
            row["doi_or_url"].strip(),
            sheet.choice(row, "provenance", where, sheet.PROVENANCES),
            sheet.choice(row, "confidence", where, sheet.CONFIDENCES),
        )
        for where, row in _table("published_accuracy.csv", _ACCURACY_COLUMNS)
    )


def preset_names() -> tuple[str, ...]:
    """Names of the budgets that ship, in the table's order."""
    return tuple(dict.fromkeys(row.preset for row in preset_rows()))


def preset_budget(name: str) -> ErrorBudget:
    """The budget of that name.

    Raises:
        OptionError: there is none, with the names there are.
    """
    rows = [row for row in preset_rows() if row.preset == name]
    if not rows:
        raise OptionError(f"no error budget is named {name!r}: choose one of {', '.join(preset_names())}")
    budget = ErrorBudget()
    for row in rows:
        budget = budget.with_source(row.error, ErrorSource(row.std, row.degrees_of_freedom))
    return budget
