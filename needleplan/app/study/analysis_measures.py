"""The figures and the yes-or-no outcomes of a row that are compared between levels."""

from collections.abc import Callable
from dataclasses import dataclass

from needleplan.app.study.analysis_levels import PLANNED
from needleplan.app.study.study import Row

#: Least margin below which progression at the site is clearly more frequent: without it for two years were 26 % of
#: 94 liver metastases with a margin of 0 mm, 46 % with 1 to 5 mm, 74 % with 6 to 10 mm and 80 % with more (Wang,
#: Cardiovasc Intervent Radiol 2013;36:166).
WANTED_MARGIN_MM = 5.0


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that a row with a plan may have.

    Attributes:
        name: as in the tables.
        title: in words.
        unit: its unit; empty for counts.
        better: 1 where more is better, -1 where less is, 0 where neither is.
        digits: after the point, as it is shown.
        of: the figure; None where the row has none.
    """

    name: str
    title: str
    unit: str
    better: int
    digits: int
    of: Callable[[Row], float | None]

    def value(self, row: Row) -> float | None:
        """The figure of a row; None where it has no plan or no such figure."""
        return self.of(row) if row.status in PLANNED else None


@dataclass(frozen=True, slots=True)
class YesOrNo:
    """An outcome that every case has, those without a plan too: they have no for an answer.

    Attributes:
        name: as in the tables.
        title: in words.
        asked: True for rows of which it is asked at all, as of a robot where there is one.
        of: the answer for a row with a plan.
    """

    name: str
    title: str
    asked: Callable[[Row], bool]
    of: Callable[[Row], bool]

    def value(self, row: Row) -> bool | None:
        """The answer; None where it is not asked."""
        if not self.asked(row):
            return None
        return row.status in PLANNED and self.of(row)


def _field(name: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    def of(row: Row) -> float | None:
        value = getattr(row, name)
        return None if value is None else factor * float(value)

    return of


def punctured_per_run(row: Row) -> float | None:
    """Structures other than organ and target that needles punctured, in the mean of the rehearsals."""
    if row.structures_punctured is None or not row.runs:
        return None
    return row.structures_punctured / row.runs


def margin_lost_mm(row: Row) -> float | None:
    """Planned less rehearsed least margin."""
    if row.minimal_margin_mm is None or row.rehearsed_minimal_margin_mm is None:
        return None
    return row.minimal_margin_mm - row.rehearsed_minimal_margin_mm


def _at_least(name: str, bound: float) -> Callable[[Row], bool]:
    def of(row: Row) -> bool:
        value = getattr(row, name)
        return value is not None and value >= bound

    return of


#: All figures that are compared, in the order in which they are told.
MEASURES = (
    Measure("minimal_margin_mm", "least margin", "mm", 1, 1, _field("minimal_margin_mm")),
    Measure("target_coverage_pct", "target covered", "%", 1, 1, _field("target_coverage_fraction", 100.0)),
    Measure(
        "margin_coverage_pct", "target and margin covered", "%", 1, 1, _field("margin_coverage_fraction", 100.0)
    ),
    Measure("insertions", "punctures", "", -1, 2, _field("insertions")),
    Measure("ablations", "ablations", "", -1, 2, _field("ablations")),
    Measure("energy_min", "time of energy", "min", -1, 1, _field("energy_s", 1.0 / 60.0)),
    Measure("procedure_min", "procedure time", "min", -1, 1, _field("procedure_s", 1.0 / 60.0)),
    Measure("over_ablation_ml", "healthy tissue in the zone", "ml", -1, 1, _field("over_ablation_ml")),
    Measure("zone_ml", "zone", "ml", 0, 1, _field("zone_ml")),
    Measure("deepest_mm", "depth of the deepest needle", "mm", -1, 1, _field("deepest_mm")),
    Measure("least_clearance_mm", "least clearance", "mm", 1, 1, _field("least_clearance_mm")),
    Measure("chance_covered_pct", "chance that the target is covered", "%", 1, 1, _field("chance_covered", 100.0)),
    Measure("chance_margin_pct", "chance that the margin is reached", "%", 1, 1, _field("chance_margin", 100.0)),
    Measure("chance_harm_pct", "chance of the likeliest harm", "%", -1, 1, _field("chance_harm", 100.0)),
    Measure("robot_min", "robot's motion", "min", -1, 1, _field("robot_s", 1.0 / 60.0)),
    Measure("tip_error_mm", "tip error", "mm", -1, 2, _field("tip_error_mm")),
    Measure(
        "rehearsed_minimal_margin_mm", "least margin, rehearsed", "mm", 1, 1, _field("rehearsed_minimal_margin_mm")
    ),
    Measure("margin_lost_mm", "margin lost, plan to rehearsal", "mm", -1, 1, margin_lost_mm),
    Measure(
        "rehearsed_coverage_pct",
        "target covered, rehearsed",
        "%",
        1,
        1,
        _field("rehearsed_coverage_fraction", 100.0),
    ),
    Measure("punctured_per_run", "structures punctured a rehearsal", "", -1, 2, punctured_per_run),
)

#: All outcomes, in the order in which they are told.
OUTCOMES = (
    YesOrNo("planned", "has a plan", lambda row: True, lambda row: True),
    YesOrNo("complete", "plan is complete", lambda row: True, lambda row: row.status == "complete"),
    YesOrNo("covered", "target covered as planned", lambda row: True, _at_least("minimal_margin_mm", 0.0)),
    YesOrNo(
        "margin_5_mm", "5 mm margin as planned", lambda row: True, _at_least("minimal_margin_mm", WANTED_MARGIN_MM)
    ),
    YesOrNo(
        "rehearsed_covered",
        "target covered as rehearsed",
        lambda row: row.strategy is not None,
        _at_least("rehearsed_minimal_margin_mm", 0.0),
    ),
    YesOrNo(
        "rehearsed_margin_5_mm",
        "5 mm margin as rehearsed",
        lambda row: row.strategy is not None,
        _at_least("rehearsed_minimal_margin_mm", WANTED_MARGIN_MM),
    ),
    YesOrNo(
        "reached",
        "robot reaches every needle",
        lambda row: row.robot is not None,
        lambda row: row.reached is not None and row.reached == row.insertions,
    ),
)
