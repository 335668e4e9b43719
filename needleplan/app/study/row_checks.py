"""What a row of a study, and its times, can be at all: the range of every number, and which figures go together.

The ranges are wide: they keep out what no case can have and no figure can be drawn of, not what is unlikely.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from needleplan.app.study.reason_text import is_plain
from needleplan.app.study.study import NO_CHANCES, NOT_CARRIED_OUT, Row, Times
from needleplan.app.study.study_state import STATUSES
from needleplan.errors import PlanFileError
from needleplan.plan import MOST_OF_EACH


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that a column may hold, both ends included.

    Attributes:
        least: smallest of them.
        greatest: largest of them.
        unit: of the column; empty for counts, shares and chances.
    """

    least: float
    greatest: float
    unit: str = ""

    def __str__(self) -> str:
        return f"between {self.least:.12g} and {self.greatest:.12g} {self.unit}".rstrip()


_SHARE = Range(0.0, 1.0)
_LENGTH = Range(0.0, 10_000.0, "mm")
#: Negative within a structure, or where target is left.
_SIGNED_LENGTH = Range(-10_000.0, 10_000.0, "mm")
_VOLUME = Range(0.0, 1_000_000.0, "ml")
_TIME = Range(0.0, 1e9, "s")
_FEW = Range(0, 100_000)
_MANY = Range(0, 10**12)

#: Range of every column that holds numbers, by its name in ``Row``.
ROW_RANGES = {
    "power_w": Range(0.0, 1_000_000.0, "W"),
    "margin_mm": _LENGTH,
    "probes": Range(1, MOST_OF_EACH),
    "breathing_peak_mm": _LENGTH,
    "seed": Range(0, 2**63 - 1),
    "target_ml": _VOLUME,
    "target_depth_mm": _LENGTH,
    "target_vessel_mm": _SIGNED_LENGTH,
    "candidates": _MANY,
    "feasible": _MANY,
    "insertions": Range(1, MOST_OF_EACH),
    "ablations": Range(1, MOST_OF_EACH**2),
    "energy_s": _TIME,
    "lower_bound": _FEW,
    "target_coverage_fraction": _SHARE,
    "margin_coverage_fraction": _SHARE,
    "minimal_margin_mm": _SIGNED_LENGTH,
    "over_ablation_ml": _VOLUME,
    "zone_ml": _VOLUME,
    "deepest_mm": _LENGTH,
    "least_clearance_mm": _SIGNED_LENGTH,
    "chance_covered": _SHARE,
    "chance_covered_low": _SHARE,
    "chance_covered_high": _SHARE,
    "chance_margin": _SHARE,
    "chance_margin_low": _SHARE,
    "chance_margin_high": _SHARE,
    "chance_harm": _SHARE,
    "reached": _FEW,
    "robot_s": _TIME,
    "runs": _FEW,
    "procedure_s": _TIME,
    "tip_error_mm": _LENGTH,
    "largest_tip_error_mm": _LENGTH,
    "rehearsed_coverage_fraction": _SHARE,
    "rehearsed_margin_fraction": _SHARE,
    "rehearsed_minimal_margin_mm": _SIGNED_LENGTH,
    "structures_punctured": _MANY,
}

#: The same for ``Times``.
TIMES_RANGES = dict.fromkeys(
    ("prepare_s", "search_s", "plan_s", "chances_s", "robot_s", "rehearse_s", "processor_s"), _TIME
) | {"memory_mb": Range(0.0, 1e9, "MB")}

#: Figures of a search for paths, whatever came of it.
_SEARCH = ("candidates", "feasible")
#: Figures of a patient; one without vessels has two of them.
_PATIENT = ("target_ml", "target_depth_mm", "target_vessel_mm")
#: Figures of every plan with insertions.
_PLAN = (
    "insertions", "ablations", "energy_s", "target_coverage_fraction", "margin_coverage_fraction",
    "minimal_margin_mm", "over_ablation_ml", "zone_ml", "deepest_mm",
)  # fmt: skip
#: Figures of rehearsals that some run has.
_RUN = ("procedure_s", "structures_punctured")
#: Figures of rehearsals in which a needle was placed.
_PLACED = (
    "tip_error_mm", "largest_tip_error_mm", "rehearsed_coverage_fraction", "rehearsed_margin_fraction",
    "rehearsed_minimal_margin_mm",
)  # fmt: skip
#: Figures that only a plan with insertions may have.
_LATER = (
    "lower_bound", "least_clearance_mm", "least_clearance_of", "chance_covered", "chance_covered_low",
    "chance_covered_high", "chance_margin", "chance_margin_low", "chance_margin_high", "chance_harm",
    "chance_harm_of", "reached", "robot_s", "runs", *_RUN, *_PLACED,
)  # fmt: skip
_CHANCES = ("chance_covered", "chance_margin")
#: A mean of equal figures may exceed the greatest of them by its rounding.
_ROUNDING = 1e-9


def require_row(row: Row, where: str) -> Row:
    """The row, which must be one that a case can have.

    Args:
        row: as read from a file.
        where: as the message begins.

    Raises:
        PlanFileError: a number out of its range, a status, hash or place of a plan that is none, figures that a
            cell of this status cannot have, or lacks, or that contradict each other.
    """
    if row.status not in STATUSES:
        raise PlanFileError(f"{where}: status is {row.status!r}, and must be one of {', '.join(STATUSES)}")
    if not re.fullmatch(r"|[0-9a-f]{64}", row.case_hash):
        raise PlanFileError(f"{where}: case_hash is {row.case_hash!r:.100}, and must be 64 digits of a hash")
    if row.status != "failed" and not row.case_hash:
        raise PlanFileError(f"{where}: case_hash is empty, and belongs to a row of status {row.status!r}")
    _require_reason(row, where)
    _require_ranges(row, ROW_RANGES, where)
    _require_figures(row, where)
    _require_needles(row, where)
    _require_chances(row, where)
    _require_rehearsals(row, where)
    _require_plan_file(row, where)
    return row


def require_times(times: Times, where: str) -> Times:
    """The times, which must lie within their ranges; arguments and errors as of ``require_row``."""
    _require_ranges(times, TIMES_RANGES, where)
    return times


def _require_ranges(record: Row | Times, ranges: dict[str, Range], where: str) -> None:
    for name, allowed in ranges.items():
        value = getattr(record, name)
        if value is not None and not allowed.least <= value <= allowed.greatest:
            raise PlanFileError(f"{where}: {name} is {value!r}, and must lie {allowed}")


def _require_figures(row: Row, where: str) -> None:
    planned, needles = row.status != "failed", row.status in ("complete", "partial")
    _require_present(row, _SEARCH if planned else (), where)
    _require_present(row, (*_PATIENT[:2], *_PLAN) if needles else (), where)
    if not planned:
        _require_absent(row, (*_PATIENT, *_SEARCH), f"the status is {row.status!r}", where)
    if not needles:
        _require_absent(row, (*_PLAN, *_LATER), f"the status is {row.status!r}", where)
    if planned and (row.feasible or 0) > (row.candidates or 0):
        raise PlanFileError(
            f"{where}: feasible is {row.feasible}, and cannot be more than the candidates, {row.candidates}"
        )


def _require_reason(row: Row, where: str) -> None:
    if not is_plain(row.reason):
        raise PlanFileError(
            f"{where}: reason is {row.reason!r:.100}, and must be one line without control characters"
        )
    if row.status != "complete" and not row.reason.strip():
        raise PlanFileError(f"{where}: reason is empty, and belongs to a row of status {row.status!r}")
    # Of a complete plan only a later stage may have failed.
    if (
        row.status == "complete"
        and row.reason
        and not row.reason.startswith((f"{NO_CHANCES}: ", f"{NOT_CARRIED_OUT}: "))
    ):
        raise PlanFileError(
            f"{where}: reason is {row.reason!r:.100}, and must be empty or begin with {NO_CHANCES!r} or "
            f"{NOT_CARRIED_OUT!r} where the status is 'complete'"
        )


def _require_needles(row: Row, where: str) -> None:
    needles = row.insertions or 0
    _require_no_more(row, "reached", needles, "the insertions", where)
    if row.status == "complete":
        # Of a plan that leaves something the bound is that of a whole cover.
        _require_no_more(row, "lower_bound", needles, "the insertions of a complete plan", where)
    _require_together(row, ("least_clearance_mm", "least_clearance_of"), where)
    _require_together(row, ("reached", "robot_s"), where)


def _require_no_more(row: Row, name: str, most: float, what: str, where: str) -> None:
    value = getattr(row, name)
    if value is not None and value > most:
        raise PlanFileError(f"{where}: {name} is {value!r}, and cannot be more than {what}, {most:g}")


def _require_together(row: Row, names: Sequence[str], where: str) -> None:
    present = [name for name in names if getattr(row, name) is not None]
    if present and len(present) < len(names):
        lacking = next(name for name in names if name not in present)
        raise PlanFileError(f"{where}: {lacking} is missing, and belongs to a row with {present[0]}")


def _require_chances(row: Row, where: str) -> None:
    if row.error_budget is None:
        names = [name for name in _LATER if name.startswith("chance_")]
        _require_absent(row, names, "there is no error budget", where)
    for name in _CHANCES:
        ends = (f"{name}_low", name, f"{name}_high")
        values = [getattr(row, each) for each in ends]
        if all(value is None for value in values):
            continue
        _require_present(row, ends, where)
        if values != sorted(values):
            raise PlanFileError(f"{where}: {', '.join(ends)} are {values}, and must not fall")
    if row.chance_harm is None:
        _require_absent(row, ("chance_harm_of",), "there is no chance_harm", where)


def _require_rehearsals(row: Row, where: str) -> None:
    if row.strategy is None:
        _require_absent(row, ("runs",), "there is no strategy to rehearse", where)
    if row.runs:
        _require_present(row, _RUN, where)
    else:
        _require_absent(row, (*_RUN, *_PLACED), f"runs is {row.runs!r}", where)
    _require_together(row, _PLACED[:2], where)
    _require_together(row, _PLACED[2:], where)
    if row.tip_error_mm is not None and row.largest_tip_error_mm is not None:
        least_mm = row.tip_error_mm * (1.0 - _ROUNDING)
        if row.largest_tip_error_mm < least_mm:
            raise PlanFileError(
                f"{where}: largest_tip_error_mm is {row.largest_tip_error_mm!r}, and cannot be less than their "
                f"mean, {row.tip_error_mm!r}"
            )


def _require_plan_file(row: Row, where: str) -> None:
    if not row.plan_file:
        return
    if row.status == "failed":
        raise PlanFileError(f"{where}: plan_file must be empty where the status is 'failed'")
    parts = row.plan_file.split("/")
    named = len(parts) == 4 and re.fullmatch(r"[0-9a-f]{12}", parts[2])
    if not named or parts != ["plans", row.case, parts[2], "plan.json"] or row.case in (".", ".."):
        raise PlanFileError(
            f"{where}: plan_file is {row.plan_file!r:.100}, and must be empty or plans/CASE/PLAN/plan.json of this "
            "case"
        )


def _require_present(row: Row, names: Sequence[str], where: str) -> None:
    for name in names:
        if getattr(row, name) is None:
            raise PlanFileError(f"{where}: {name} is missing, and belongs to a row of status {row.status!r}")


def _require_absent(row: Row, names: Sequence[str], why: str, where: str) -> None:
    for name in names:
        value = getattr(row, name)
        if value is not None:
            raise PlanFileError(f"{where}: {name} is {value!r:.60}, and must be missing where {why}")
