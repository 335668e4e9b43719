"""Definitions of the indicators of quality: what a programme that reviews ablations asks for.

Terms are those of the consensus on reporting ablations (Ahmed, J Vasc Interv Radiol 2014;25:1691), processes and
outcomes those of the quality guidelines for liver ablation (Crocetti, Cardiovasc Intervent Radiol 2010;33:11).
What happens to a patient is not known to a planner: where those ask for a second treatment or a complication, a
proxy is told that can be computed, and its definition says which. No proxy predicts a rate of patients.
"""

from collections.abc import Callable
from dataclasses import dataclass

from needleplan.app.study.analysis_levels import PLANNED
from needleplan.app.study.analysis_measures import WANTED_MARGIN_MM, punctured_per_run
from needleplan.app.study.study import Row, Times

#: A needle closer than this to a structure that it must not touch counts as close: what the preset "liver" keeps
#: from bowel and other organs at risk (an assumption there too).
CLOSE_MM = 5.0


@dataclass(frozen=True, slots=True)
class Definition:
    """What an indicator is.

    Attributes:
        name: as in the tables.
        group: heading under which it stands.
        title: in words.
        unit: "%" for shares of cases.
        digits: after the point, as it is shown.
        definition: of the figure, with what it is a proxy of.
        denominator: the cases that it is over.
    """

    name: str
    group: str
    title: str
    unit: str
    digits: int
    definition: str
    denominator: str


#: A figure of a row; None where it is not over that row.
_Figure = Callable[[Row], float | bool | None]


def _planned(figure: Callable[[Row], float | bool | None]) -> _Figure:
    return lambda row: figure(row) if row.status in PLANNED else None


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60.0


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _below(value: float | None, bound: float) -> bool | None:
    return None if value is None else value < bound


def _excess(row: Row) -> float | None:
    # Of a plan that leaves something the bound of a whole cover says nothing.
    if row.status != "complete" or row.insertions is None or row.lower_bound is None:
        return None
    return row.insertions - row.lower_bound


_WITH_PLAN = "cases with a plan"
_REHEARSED = "cases with a plan that was rehearsed"
_CARRIED = "cases with a plan that a robot carries out: that of the cell, in rehearsals without one needle_arm7"
_BUDGETED = "cases with a plan and an error budget"

#: Shares (a bool) and means (a number), in the order in which they are told.
OF_ROWS: tuple[tuple[Definition, _Figure], ...] = (
    (
        Definition(
            "complete_pct", "Feasibility", "complete plans", "%", 1,
            "share of cases whose plan covers target and margin and keeps every hard constraint", "all cases",
        ),
        lambda row: row.status == "complete",
    ),
    (
        Definition(
            "partial_pct", "Feasibility", "partial plans", "%", 1,
            "share of cases whose plan keeps every hard constraint but leaves part of target or margin",
            "all cases",
        ),
        lambda row: row.status == "partial",
    ),
    (
        Definition(
            "infeasible_pct", "Feasibility", "no path", "%", 1,
            "share of cases in which no needle path satisfies the hard constraints", "all cases",
        ),
        lambda row: row.status == "infeasible",
    ),
    (
        Definition(
            "failed_pct", "Feasibility", "failed by an error", "%", 1,
            "share of cases without a plan because of an error, as of damaged input", "all cases",
        ),
        lambda row: row.status == "failed",
    ),
    (
        Definition(
            "procedure_min", "Procedure time", "procedure time", "min", 1,
            "mean over cases of the mean time of a rehearsal, waiting for the breath and energy included; without "
            "anaesthesia, imaging and the placing of the robot", _REHEARSED,
        ),
        _planned(lambda row: _minutes(row.procedure_s)),
    ),
    (
        Definition(
            "energy_min", "Procedure time", "time of energy", "min", 1,
            "mean time of energy, one delivery after the other", _WITH_PLAN,
        ),
        _planned(lambda row: _minutes(row.energy_s)),
    ),
    (
        Definition("punctures", "Punctures", "punctures", "", 2, "mean number of insertions", _WITH_PLAN),
        _planned(lambda row: row.insertions),
    ),
    (
        Definition(
            "single_puncture_pct", "Punctures", "one puncture", "%", 1,
            "share of cases whose plan needs one insertion alone", _WITH_PLAN,
        ),
        _planned(lambda row: None if row.insertions is None else row.insertions == 1),
    ),
    (
        Definition(
            "punctures_above_bound", "Punctures", "punctures above the bound", "", 2,
            "mean of insertions less the fewest that may exist, as proven; 0 says that fewer cannot do",
            "cases with a complete plan",
        ),
        _planned(_excess),
    ),
    (
        Definition(
            "target_coverage_pct", "Coverage", "target covered", "%", 1,
            "mean share of the target's volume in the predicted zones", _WITH_PLAN,
        ),
        _planned(lambda row: _percent(row.target_coverage_fraction)),
    ),
    (
        Definition(
            "margin_coverage_pct", "Coverage", "target and margin covered", "%", 1,
            "mean share of the volume of the target and of the margin that was asked for", _WITH_PLAN,
        ),
        _planned(lambda row: _percent(row.margin_coverage_fraction)),
    ),
    (
        Definition(
            "rehearsed_coverage_pct", "Coverage", "target covered, rehearsed", "%", 1,
            "mean share of the target's volume in the zones of the needles as they were placed", _REHEARSED,
        ),
        _planned(lambda row: _percent(row.rehearsed_coverage_fraction)),
    ),
    (
        Definition(
            "least_margin_mm", "Margin", "least margin", "mm", 1,
            "mean of the least signed distance from the target's surface to the boundary of the zones", _WITH_PLAN,
        ),
        _planned(lambda row: row.minimal_margin_mm),
    ),
    (
        Definition(
            "rehearsed_least_margin_mm", "Margin", "least margin, rehearsed", "mm", 1,
            "the same of the needles as they were placed", _REHEARSED,
        ),
        _planned(lambda row: row.rehearsed_minimal_margin_mm),
    ),
    (
        Definition(
            "chance_margin_pct", "Margin", "chance that the margin is reached", "%", 1,
            "mean chance that the margin that was asked for is reached under the error budget", _BUDGETED,
        ),
        _planned(lambda row: _percent(row.chance_margin)),
    ),
    (
        Definition(
            "residual_pct", "Second treatment (proxy)", "target left", "%", 1,
            "share of cases with a least margin below 0 mm: tumour is left, so that the first treatment is not "
            "technically successful (Ahmed 2014)", _WITH_PLAN,
        ),
        _planned(lambda row: _below(row.minimal_margin_mm, 0.0)),
    ),
    (
        Definition(
            "margin_below_5_mm_pct", "Second treatment (proxy)", "margin below 5 mm", "%", 1,
            "share of cases with a least margin below 5 mm, where progression at the site was more frequent (Wang, "
            "Cardiovasc Intervent Radiol 2013;36:166)", _WITH_PLAN,
        ),
        _planned(lambda row: _below(row.minimal_margin_mm, WANTED_MARGIN_MM)),
    ),
    (
        Definition(
            "rehearsed_residual_pct", "Second treatment (proxy)", "target left, rehearsed", "%", 1,
            "share of cases whose mean rehearsed least margin is below 0 mm", _REHEARSED,
        ),
        _planned(lambda row: _below(row.rehearsed_minimal_margin_mm, 0.0)),
    ),
    (
        Definition(
            "rehearsed_margin_below_5_mm_pct", "Second treatment (proxy)", "margin below 5 mm, rehearsed", "%", 1,
            "share of cases whose mean rehearsed least margin is below 5 mm", _REHEARSED,
        ),
        _planned(lambda row: _below(row.rehearsed_minimal_margin_mm, WANTED_MARGIN_MM)),
    ),
    (
        Definition(
            "chance_target_left_pct", "Second treatment (proxy)", "chance that target is left", "%", 1,
            "mean of one less the chance that the target is covered under the error budget", _BUDGETED,
        ),
        _planned(lambda row: None if row.chance_covered is None else 100.0 * (1.0 - row.chance_covered)),
    ),
    (
        Definition(
            "close_needle_pct", "Complications (proxy)", "needle closer than 5 mm", "%", 1,
            "share of cases with a planned needle closer than 5 mm to a structure that it must not touch",
            _WITH_PLAN,
        ),
        _planned(lambda row: _below(row.least_clearance_mm, CLOSE_MM)),
    ),
    (
        Definition(
            "punctured_per_run", "Complications (proxy)", "structures punctured a rehearsal", "", 2,
            "mean number of structures, other than organ and target, that needles punctured in a rehearsal",
            _REHEARSED,
        ),
        _planned(punctured_per_run),
    ),
    (
        Definition(
            "punctured_pct", "Complications (proxy)", "a structure punctured in rehearsals", "%", 1,
            "share of cases in which a needle punctured a structure other than organ and target in any rehearsal",
            _REHEARSED,
        ),
        _planned(lambda row: None if row.structures_punctured is None else row.structures_punctured > 0),
    ),
    (
        Definition(
            "chance_harm_pct", "Complications (proxy)", "chance of the likeliest harm", "%", 1,
            "mean over cases of the greatest chance among the harms that the error budget tells", _BUDGETED,
        ),
        _planned(lambda row: _percent(row.chance_harm)),
    ),
    (
        Definition(
            "over_ablation_ml", "Complications (proxy)", "healthy tissue in the zone", "ml", 1,
            "mean volume of the zones outside target and margin", _WITH_PLAN,
        ),
        _planned(lambda row: row.over_ablation_ml),
    ),
    (
        Definition(
            "reached_pct", "Robot", "every needle reached", "%", 1,
            "share of cases in which the robot reaches all insertions", _CARRIED,
        ),
        _planned(lambda row: None if row.reached is None else row.reached == row.insertions),
    ),
    (
        Definition(
            "time_limited_pct", "Computing", "ended by its time limit", "%", 1,
            "share of cases in which a search ended by its time limit, so that another machine may find another "
            "plan", "all cases",
        ),
        lambda row: row.time_limited,
    ),
)  # fmt: skip

#: Dose of planning computing, from the table of times.
OF_TIMES: tuple[tuple[Definition, Callable[[Times], float]], ...] = (
    (
        Definition(
            "processor_s", "Computing", "processor time", "s", 1,
            "mean processor time that the cell added to a case; what cells share counts for the first of them",
            "cases with a time",
        ),
        lambda times: times.processor_s,
    ),
    (
        Definition(
            "memory_mb", "Computing", "memory", "MB", 0,
            "mean of the largest memory of the worker up to the end of the case", "cases with a time",
        ),
        lambda times: times.memory_mb,
    ),
)  # fmt: skip

#: Every indicator, in the order in which it is told.
DEFINITIONS = tuple(item[0] for item in OF_ROWS) + tuple(item[0] for item in OF_TIMES)
