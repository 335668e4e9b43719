"""Candidate ablations and the points that each of them destroys: the physics done once, before any solver."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.ellipsoid import EllipsoidTableModel, ZoneTable
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.region import LARGEST_MARGIN_MM, TargetRegion, target_region
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.table import TrajectoryTable

#: Ablations decided at a time, which bounds the memory.
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class CoverageOptions:
    """What is offered to the coverage solver, and what it must cover.

    Attributes:
        margin_mm: margin about the target.
        maximum_insertions: no more punctures than this.
        paths_per_aim: feasible paths offered for each aim, cheapest first.
        path_separation_deg: paths to one aim differ by at least this angle.
        pull_back_mm: distance between ablations along one path.
        setting_count: sizes of ablation offered, from the table's largest downward.
        point_count: about this many balls stand for the boundary of target plus margin.
        time_limit_s: time that each exact search may take.
    """

    margin_mm: float = 5.0
    maximum_insertions: int = 12
    paths_per_aim: int = 40
    path_separation_deg: float = 6.0
    pull_back_mm: float = 4.0
    setting_count: int = 8
    point_count: int = 20_000
    time_limit_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin_mm <= LARGEST_MARGIN_MM:
            raise OptionError(f"the margin must be between 0 and {LARGEST_MARGIN_MM:g} mm, not {self.margin_mm:g}")
        if min(self.maximum_insertions, self.paths_per_aim, self.setting_count, self.point_count) < 1:
            raise OptionError("numbers of insertions, paths, settings and points must be at least 1")
        if not (0.5 <= self.pull_back_mm <= 100 and 0 <= self.path_separation_deg <= 180):
            raise OptionError("pull-back must be 0.5 to 100 mm and path separation 0 to 180 degrees")
        if not 0 < self.time_limit_s <= 86_400:
            raise OptionError(f"the time limit must be above zero and at most a day, not {self.time_limit_s:g} s")


@dataclass(frozen=True, slots=True, eq=False)
class CoverageMatrix:
    """Paths x points, and what each path can do.

    Attributes:
        region: balls that cover target plus margin; each must be destroyed.
        table: the offered paths, cheapest first.
        path_cost: (k,) weighted cost of each path.
        tips_mm: for each path the tip positions offered along it, deepest first, (t, 3) each.
        path_covers: (k, n) True where path k, with the largest ablation at every tip offered, destroys ball n.
        settings: power (None where the generator controls it) and duration of each size, largest first.
        applicator: name of the applicator.
        zone_model: the model that decided.
    """

    region: TargetRegion
    table: TrajectoryTable
    path_cost: FloatArray
    tips_mm: tuple[FloatArray, ...]
    path_covers: NDArray[np.bool_]
    settings: tuple[tuple[float | None, float], ...]
    applicator: str
    zone_model: ZoneModel

    @property
    def coverable(self) -> NDArray[np.bool_]:
        """(n,) True for points that at least one path can destroy."""
        return np.asarray(self.path_covers.any(axis=0))

    @property
    def candidate_count(self) -> int:
        """Number of ablations offered."""
        return sum(len(tips) for tips in self.tips_mm) * len(self.settings)

    def insertion(self, path: int, ablations: tuple[Ablation, ...]) -> Insertion:
        """The insertion along one path that carries out ablations, deepest first; its tip is the deepest used."""
        entry = self.table.entry_mm[path]
        deepest = max(ablations, key=lambda a: float(np.linalg.norm(np.subtract(a.tip_mm, entry))))
        return Insertion(vector3(entry), deepest.tip_mm, self.applicator, ablations)

    def single_ablations(self, path: int) -> list[Insertion]:
        """Every ablation offered on one path, alone."""
        return [
            self.insertion(path, (Ablation(vector3(tip), power_w, duration_s),))
            for tip in self.tips_mm[path]
            for power_w, duration_s in self.settings
        ]


def build_coverage(
    ranked: TrajectoryTable,
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    options: CoverageOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> CoverageMatrix:
    """Offer the cheapest feasible paths in different directions, with ablations along each.

    Larger ablations contain smaller ones at the same tip, so what a path can destroy is decided with the
    largest; the smaller ones are offered again once paths are chosen.

    Raises:
        OptionError: no path is feasible, or an option is impossible.
    """
    options = options or CoverageOptions()
    applicator = ranked.applicator
    settings = ablation_settings(zone_model.table(applicator.name), options.setting_count)
    offered = _offered_paths(ranked, options)
    if not len(offered):
        raise OptionError("no feasible path is left to build a coverage from")
    if progress:
        progress("points of target and margin", 0.0)
    region = target_region(queries, options.margin_mm, options.point_count)
    table = ranked.subset(offered)
    tips = _tips_along(table, queries, options.pull_back_mm)
    power_w, duration_s = settings[0]
    singles = [
        Insertion(
            vector3(table.entry_mm[path]),
            vector3(tip),
            applicator.name,
            (Ablation(vector3(tip), power_w, duration_s),),
        )
        for path in range(len(table))
        for tip in tips[path]
    ]
    owner = np.repeat(np.arange(len(table)), [len(t) for t in tips])
    covers = np.zeros((len(table), len(region.points_mm)), dtype=np.bool_)
    for start in range(0, len(singles), _CHUNK):
        if progress:
            progress("zones along paths", start / len(singles))
        part = slice(start, start + _CHUNK)
        rows: NDArray[np.bool_] = zone_model.covering(singles[part], region.points_mm, region.radius_mm)
        for path, row in zip(owner[part].tolist(), rows, strict=True):
            covers[path] |= row
    if progress:
        progress("done", 1.0)
    assert table.cost is not None
    return CoverageMatrix(region, table, table.cost, tips, covers, settings, applicator.name, zone_model)


def ablation_settings(table: ZoneTable, count: int) -> tuple[tuple[float | None, float], ...]:
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


def _offered_paths(ranked: TrajectoryTable, options: CoverageOptions) -> NDArray[np.int64]:
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


def _tips_along(table: TrajectoryTable, queries: AnatomyQueries, step_mm: float) -> tuple[FloatArray, ...]:
    """Tip positions for each path from its deepest back until the zone's middle leaves the target."""
    target = queries.tree(queries.anatomy.target)
    crossings = target.crossings(table.entry_mm, table.aim_mm)
    reach = np.linalg.norm(table.aim_mm - table.entry_mm, axis=1)
    direction = table.direction
    first = np.where(crossings.count > 0, crossings.parameter[:, 0], 1.0)
    inside_mm = reach * (1.0 - np.minimum(first, 1.0))
    tips = []
    for path in range(len(table)):
        steps = np.arange(0.0, inside_mm[path] + 1e-9, step_mm)
        tips.append(np.asarray(table.tip_mm[path] - steps[:, None] * direction[path]))
    return tuple(tips)
