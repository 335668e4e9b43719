"""Why each needle goes where it goes: what was demanded, what it costs, and the other ways to the same point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.app.pipeline import PlannedCase
from needleplan.app.report_template import Html, bdi, element, markup, table
from needleplan.app.view.demands import PlanDemands, demands_of
from needleplan.frames import FloatArray
from needleplan.percentages import percent_down
from needleplan.plan import Insertion
from needleplan.trajectory.comparison import DISTINCT_MM, ObjectiveDifference, RunnerUp, compare_with_runners_up
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, MeasuredPaths
from needleplan.trajectory.ranking import rank
from needleplan.trajectory.relaxation import is_clearance
from needleplan.trajectory.screening import screen
from needleplan.trajectory.shortfall import in_unit
from needleplan.trajectory.table import ConstraintColumn, TrajectoryTable
from needleplan.viz.palette import readable

#: Other ways that are listed, feasible ones and ones that were rejected though they cost less.
FEASIBLE_LISTED, REJECTED_LISTED = 4, 3
#: Demands by which most ways are rejected.
_REASONS_LISTED = 5
#: Smaller differences of cost are left out.
_TOLD = 5e-4


@dataclass(frozen=True, slots=True, eq=False)
class WaysIn:
    """A planned path and the ways from every examined place of the skin to the same middle of its zone.

    Attributes:
        insertion: the planned one.
        table: all of them, screened and ranked by what the plan demanded; the planned path is the first row.
    """

    insertion: Insertion
    table: TrajectoryTable

    @property
    def weighted(self) -> FloatArray:
        """(n,) weighted cost of every way, of rejected ones too."""
        return np.sum([column.weight * column.cost for column in self.table.objectives], axis=0)


def ways_in(planned: PlannedCase, demands: PlanDemands) -> tuple[WaysIn, ...]:
    """For each insertion the ways in from the places of the skin map; empty where that was not kept."""
    if planned.skin is None or not len(planned.skin):
        return ()
    queries = planned.queries
    found = []
    for insertion in planned.plan.insertions:
        applicator = planned.zone_model.catalogue.applicator(insertion.applicator)
        aim = np.asarray(insertion.tip_mm) - applicator.tip_to_centre_mm * insertion.direction
        entry = np.concatenate([np.reshape(insertion.entry_mm, (1, 3)), planned.skin.entry_mm])
        way = aim - entry
        length = np.linalg.norm(way, axis=1, keepdims=True)
        entry, way = entry[length[:, 0] > 1.0], (way / np.maximum(length, 1.0))[length[:, 0] > 1.0]
        paths = TrajectoryTable(
            applicator, entry, queries.skin_normals.at(entry), np.repeat(aim[None], len(entry), axis=0),
            aim + applicator.tip_to_centre_mm * way,
        )  # fmt: skip
        measured = MeasuredPaths(paths, queries)
        screened = screen(paths, queries, demands.constraints, measured=measured)
        found.append(WaysIn(insertion, rank(screened, queries, demands.objectives, measured=measured)))
    return tuple(found)


def paths_section(planned: PlannedCase) -> Html:
    """For each needle its demands, its cost, and the other ways in with what decided."""
    if not planned.plan.insertions:
        return Html("")
    demands = demands_of(planned)
    notes = [element("p", note, class_="mute") for note in demands.notes]
    found = ways_in(planned, demands)
    if not found:
        words = "The places where paths were looked for were not kept with this plan, so no other way is compared."
        return element("p", words)
    head = element(
        "p",
        "Measured anew, by the plan's own demands and weights, along the planned path and from every examined "
        "place of the skin straight to the same middle of the zone. Distances to other needles are not among these "
        "demands.",
        class_="mute",
    )
    return Html(head + "".join(notes) + "".join(_way(one) for one in found))


def _way(ways: WaysIn) -> str:
    order = ways.insertion.order
    return (
        element("h3", f"Needle {order}: what was demanded")
        + table(("demand", "measured", "limit", "in hand", ""), _demands(ways.table), 1)
        + element("h3", f"Needle {order}: what it costs")
        + table(("objective", "value", "cost", "weight", "share"), _costs(ways), 1)
        + element("h3", f"Needle {order}: other ways in")
        + _counts(ways)
        + _others(ways)
        + _rejected(ways)
    )


def _demands(paths: TrajectoryTable) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for column in paths.constraints:
        value, passed = float(column.values[0]), bool(column.passed[0])
        hand = value - column.limit if column.at_least else column.limit - value
        kept = "kept" if passed else element("span", "NOT kept", class_="low")
        soft = "" if column.hard else " (only costs)"
        # Where the limit is no figure, the sentence says more than the name.
        demand = Html(bdi(readable(column.name if column.unit else column.sentence)) + soft)
        bound = f"{'at least' if column.at_least else 'at most'} {_in_unit(column.limit, column.unit)}"
        more = " or more" if _capped(column, 0) else ""
        rows.append((demand, _measured(column, 0), bound, f"{_in_unit(hand, column.unit)}{more}", kept))
    return rows


def _measured(column: ConstraintColumn, row: int) -> str:
    return f"{_in_unit(float(column.values[row]), column.unit)}{' or more' if _capped(column, row) else ''}"


def _in_unit(value: float, unit: str) -> str:
    return f"{value:.2f}°" if unit == "deg" else in_unit(value, unit)


def _capped(column: ConstraintColumn, row: int) -> bool:
    """True where a clearance is known to be at least its value alone."""
    return is_clearance(column.name) and bool(column.values[row] >= CLEARANCE_CAP_MM)


def _costs(ways: WaysIn) -> list[tuple[str, ...]]:
    total = float(ways.weighted[0])
    rows: list[tuple[str, ...]] = []
    for column in ways.table.objectives:
        part = float(column.weight * column.cost[0])
        share = percent_down(part / total) if total > 0 else "–"
        value = _in_unit(float(column.values[0]), column.unit)
        rows.append((bdi(readable(column.name)), value, f"{column.cost[0]:.3f}", f"{column.weight:g}", share))
    rows.append(("together", "", f"{total:.3f}", "", ""))
    return rows


def _counts(ways: WaysIn) -> Html:
    """How many ways there are, and what rejects the others."""
    paths = ways.table
    others = np.arange(len(paths)) > 0
    rejected = [(int((~c.passed[others]).sum()), readable(c.name)) for c in paths.constraints if c.hard]
    most = sorted((item for item in rejected if item[0]), key=lambda item: (-item[0], item[1]))[:_REASONS_LISTED]
    words = f"{int(paths.feasible[others].sum()):,} of {int(others.sum()):,} places of the skin offer a way."
    told = Html(", ".join(f"{bdi(name)} ({count:,})" for count, name in most))
    return element("p", words, *((" Most others fail ", told, ".") if most else ()))


def _others(ways: WaysIn) -> Html:
    """The cheapest distinct ways that satisfy every demand, and what decided between them and the planned one."""
    paths = ways.table
    if not paths.feasible[0]:
        failing = [bdi(readable(c.name)) for c in paths.constraints if c.hard and not c.passed[0]]
        return element(
            "p", "The planned path itself fails ", Html(", ".join(failing)), " when it is measured alone.",
            class_="low",
        )  # fmt: skip
    comparison = compare_with_runners_up(paths, 0, FEASIBLE_LISTED)
    if not comparison.runners_up:
        return element("p", f"No other place at least {DISTINCT_MM:g} mm away offers a way.")
    rows = [
        (
            _point(other.entry_mm), f"{paths.length_mm[other.row]:.0f} mm", f"{other.cost:.3f}",
            _saved(other.differences), _standing(other),
        )
        for other in comparison.runners_up
    ]  # fmt: skip
    words = (
        f"The planned path costs {comparison.cost:.3f}. What it saves by each objective against the cheapest other "
        "ways, with a minus where the other one is better:"
    )
    cheaper = any(other.advantage < -_TOLD for other in comparison.runners_up)
    why = (
        "Cheaper ones were not taken: coverage, the number of insertions and ablations, the margin and what "
        "needles keep from each other come before the cost of a path, and chosen needles are moved for them "
        "afterwards."
    )
    head = ("entry, mm", "length", "cost", "saved by the planned path", "")
    return Html(element("p", words) + table(head, rows, 1) + (element("p", why, class_="mute") if cheaper else ""))


def _standing(other: RunnerUp) -> str:
    if other.dominated:
        return "no better in any objective"
    return "other weights could put it first" if other.on_front else "another is better in every objective"


def _saved(differences: Sequence[ObjectiveDifference]) -> str:
    told = [f"{bdi(readable(d.objective))} {d.advantage:+.3f}" for d in differences if abs(d.advantage) >= _TOLD]
    return Html(", ".join(told) or "–")


def _rejected(ways: WaysIn) -> Html:
    """The cheapest ways that some hard demand rejects, and by how much."""
    paths, weighted = ways.table, ways.weighted
    candidates = np.flatnonzero(~paths.feasible)
    candidates = candidates[candidates > 0]
    rows = []
    for row in _distinct(paths, candidates[np.argsort(weighted[candidates], kind="stable")])[:REJECTED_LISTED]:
        failed = [c for c in paths.constraints if c.hard and not c.passed[row]]
        why = "; ".join(
            bdi(readable(c.name))
            + markup(
                f": {_measured(c, row)}, {'at least' if c.at_least else 'at most'} "
                f"{_in_unit(c.limit, c.unit)} is demanded"
            )
            for c in failed
        )
        place = _point(paths.entry_mm[row])
        rows.append((place, f"{paths.length_mm[row]:.0f} mm", f"{weighted[row]:.3f}", Html(why)))
    if not rows:
        return Html("")
    return Html(
        element("p", "The cheapest of those that were rejected, and why:")
        + table(("entry, mm", "length", "cost", "rejected by"), rows, 1)
    )


def _distinct(paths: TrajectoryTable, rows: NDArray[np.int64]) -> list[int]:
    """Rows whose entries lie apart from each other, the first ones of each neighbourhood."""
    kept: list[int] = []
    for row in rows.tolist():
        if all(np.linalg.norm(paths.entry_mm[row] - paths.entry_mm[other]) >= DISTINCT_MM for other in kept):
            kept.append(row)
        if len(kept) >= REJECTED_LISTED:
            break
    return kept


def _point(point: Sequence[float] | FloatArray) -> str:
    return ", ".join(f"{value:.0f}" for value in point)
