"""Paths that are offered to a coverage solver, and the ablations that may be made along each."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel, ZoneTable
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.protection import Protection
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.trajectory.table import TrajectoryTable

#: Power (None where the generator controls it) and duration of an ablation.
Setting = tuple[float | None, float]


@dataclass(frozen=True, slots=True, eq=False)
class SizeMenu:
    """The sizes of ablation that are offered, each holding the next smaller one at the same place.

    Attributes:
        settings: power and duration of each, largest first.
        axial_mm: (s,) semi-axes along the needle.
        radial_mm: (s,) semi-axes across it.
    """

    settings: tuple[Setting, ...]
    axial_mm: FloatArray
    radial_mm: FloatArray

    def __len__(self) -> int:
        return len(self.settings)

    @classmethod
    def of_table(cls, table: ZoneTable, count: int) -> "SizeMenu":
        """Up to ``count`` nested sizes of a table, largest first."""
        settings = ablation_settings(table, count)
        sizes = [table.size(power_w, duration_s) for power_w, duration_s in settings]
        return cls(
            settings,
            0.5 * np.array([size.axial_length_mm for size in sizes]),
            0.5 * np.array([size.diameter_mm for size in sizes]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class OfferedPaths:
    """Paths with the places along them where an ablation may be made.

    Attributes:
        table: the paths.
        cost: (k,) cost of each.
        added: (k,) insertions that each adds: 0 for a needle that is in the patient already.
        tips_mm: for each path the tip positions offered along it, deepest first, (t, 3) each.
        allowed: for each path and tip the index of the largest size that harms nothing, (t,) each; the number of
            sizes where none is allowed.
        guilty: for each path and tip the protected structure that forbids the next larger size, -1 for none.
    """

    table: TrajectoryTable
    cost: FloatArray
    added: FloatArray
    tips_mm: tuple[FloatArray, ...]
    allowed: tuple[NDArray[np.int64], ...]
    guilty: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.tips_mm)

    def without(self, paths: NDArray[np.int64], menu: SizeMenu) -> "OfferedPaths":
        """The same paths, with no ablation offered along some of them."""
        allowed = list(self.allowed)
        for path in paths.tolist():
            allowed[path] = np.full(len(allowed[path]), len(menu))
        return dataclasses.replace(self, allowed=tuple(allowed))


def offered_rows(ranked: TrajectoryTable, options: CoverageOptions) -> NDArray[np.int64]:
    """Rows of the cheapest paths for each aim that differ in direction, cheapest first."""
    order = ranked.order()
    direction = ranked.direction
    limit = np.cos(np.radians(options.path_separation_deg))
    _, aim_of = np.unique(np.round(ranked.aim_mm, 6), axis=0, return_inverse=True)
    aim_of = aim_of.ravel()
    taken: dict[int, list[int]] = {}
    rows = []
    for row in order.tolist():
        mine = taken.setdefault(int(aim_of[row]), [])
        if len(mine) >= options.paths_per_aim:
            continue
        if mine and (direction[mine] @ direction[row]).max() > limit:
            continue
        mine.append(row)
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def offer_paths(
    table: TrajectoryTable,
    queries: AnatomyQueries,
    menu: SizeMenu,
    options: CoverageOptions,
    protection: Protection | None = None,
    placed: Sequence[Insertion] = (),
    zone_model: EllipsoidTableModel | None = None,
) -> OfferedPaths:
    """Tips along paths, and the sizes that protected structures leave there.

    Args:
        table: ranked paths.
        queries: the anatomy.
        menu: sizes of ablation.
        options: how far apart tips lie.
        protection: structures that no zone must come near; None protects none.
        placed: needles that are in the patient already: they add no insertion, and their tips go back from where
            they are.
        zone_model: tells how far a placed needle's zone lies behind its tip; needed where ``placed`` is not empty.
    """
    assert table.cost is not None
    tips = list(_tips_along(table.entry_mm, table.aim_mm, table.tip_mm, queries, options.pull_back_mm))
    cost, added = table.cost, np.ones(len(table))
    whole = table
    if placed:
        assert zone_model is not None
        whole, placed_tips = _with_placed(table, placed, queries, zone_model, options.pull_back_mm)
        tips = placed_tips + tips
        cost = np.concatenate([np.zeros(len(placed)), cost])
        added = np.concatenate([np.zeros(len(placed)), added])
    allowed, guilty = _allowed_sizes(whole, tips, menu, protection)
    return OfferedPaths(whole, cost, added, tuple(tips), allowed, guilty)


def zone_middles(table: TrajectoryTable, tips: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Middles (n, 3) and axes (n, 3) of the zones at all tips of all paths, one path after the other."""
    counts = [len(part) for part in tips]
    axes = np.repeat(table.direction, counts, axis=0)
    return np.concatenate(tips) - table.applicator.tip_to_centre_mm * axes, axes


def _allowed_sizes(
    table: TrajectoryTable, tips: Sequence[FloatArray], menu: SizeMenu, protection: Protection | None
) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    counts = np.array([len(part) for part in tips])
    if protection is None or not protection.structures:
        zeros = [np.zeros(count, dtype=np.int64) for count in counts]
        return tuple(zeros), tuple(np.full(count, -1, dtype=np.int64) for count in counts)
    middles, axes = zone_middles(table, tips)
    allowed, guilty = protection.largest_allowed(middles, axes, menu.axial_mm.tolist(), menu.radial_mm.tolist())
    cuts = np.cumsum(counts)[:-1]
    return tuple(np.split(allowed, cuts)), tuple(np.split(guilty, cuts))


def _with_placed(
    table: TrajectoryTable,
    placed: Sequence[Insertion],
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    step_mm: float,
) -> tuple[TrajectoryTable, list[FloatArray]]:
    """The table with placed needles above it, and the tips along those."""
    entry = np.array([insertion.entry_mm for insertion in placed], dtype=np.float64)
    tip = np.array([insertion.tip_mm for insertion in placed], dtype=np.float64)
    direction = (tip - entry) / np.linalg.norm(tip - entry, axis=1, keepdims=True)
    back = np.array([zone_model.catalogue.applicator(one.applicator).tip_to_centre_mm for one in placed])
    aim = tip - back[:, None] * direction
    tips = _tips_along(entry, aim, tip, queries, step_mm, beyond=True)
    whole = TrajectoryTable(
        table.applicator,
        np.concatenate([entry, table.entry_mm]),
        np.concatenate([-direction, table.entry_normal]),
        np.concatenate([aim, table.aim_mm]),
        np.concatenate([tip, table.tip_mm]),
    )
    return whole, list(tips)


def _tips_along(
    entry: FloatArray,
    aim: FloatArray,
    tip: FloatArray,
    queries: AnatomyQueries,
    step_mm: float,
    beyond: bool = False,
) -> tuple[FloatArray, ...]:
    """Tip positions for each path from its deepest back until the zone's middle leaves the target.

    A needle that missed (``beyond``) may have its middle outside the target: it is drawn back to where the target
    begins, and at least one zone's length.
    """
    target = queries.tree(queries.anatomy.target)
    crossings = target.crossings(entry, aim)
    reach = np.linalg.norm(aim - entry, axis=1)
    direction = (aim - entry) / reach[:, None]
    first = np.where(crossings.count > 0, crossings.parameter[:, 0], 1.0)
    inside_mm = reach * (1.0 - np.minimum(first, 1.0))
    if beyond:
        inside_mm = np.maximum(inside_mm, np.minimum(40.0, reach - 1.0))
    return tuple(
        np.asarray(tip[path] - np.arange(0.0, inside_mm[path] + 1e-9, step_mm)[:, None] * direction[path])
        for path in range(len(entry))
    )


def ablation_settings(table: ZoneTable, count: int) -> tuple[Setting, ...]:
    """Up to ``count`` settings of a table, largest zone first, spread evenly over the zone's diameter.

    Only settings that are larger in both axes than the next are kept, so that each contains the smaller ones.
    """
    offers = []
    for power in table.powers_w:
        for duration in table.durations_s:
            power_w = None if table.generator_controlled else float(power)
            size = table.size(power_w, float(duration))
            offers.append((size.diameter_mm, size.axial_length_mm, power_w, float(duration)))
    offers.sort(key=lambda offer: (-offer[0] * offer[0] * offer[1], offer[3]))
    smallest, largest = min(offers)[0], offers[0][0]
    chosen = [offers[0]]
    for wanted in np.linspace(largest, smallest, count)[1:]:
        nested = [o for o in offers if o[0] < chosen[-1][0] and o[1] <= chosen[-1][1]]
        if not nested:
            break
        best = min(nested, key=lambda o: (abs(o[0] - wanted), o[3]))
        chosen.append(best)
    return tuple((power_w, duration) for _, _, power_w, duration in chosen)
