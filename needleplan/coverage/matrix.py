"""Candidate ablations and the points that each of them destroys: the physics done once, before any solver."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.bound import SweptZones
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.needle_pairs import pair_conflicts
from needleplan.coverage.offers import OfferedPaths, SizeMenu, offer_paths, offered_rows, zone_middles
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.table import TrajectoryTable

#: Ablations decided at a time, which bounds the memory.
_CHUNK = 512
#: Forbidden ablations that are looked at when it is asked what a protected structure keeps from being covered.
_MOST_FREED = 600


@dataclass(frozen=True, slots=True, eq=False)
class CoverageMatrix(CoverProblem):
    """Paths x points, and what each path can do.

    Attributes:
        region: balls that cover target plus margin; each must be destroyed.
        table: the offered paths, those in the patient already first, then the cheapest first.
        path_cost: (k,) weighted cost of each path.
        tips_mm: for each path the tip positions offered along it, deepest first, (t, 3) each.
        path_covers: (k, n) True where path k, with the largest ablation allowed at every tip offered, destroys
            ball n.
        menu: sizes of ablation, largest first.
        applicator: name of the applicator.
        zone_model: the model that decided.
        added_insertions: (k,) insertions that each path adds: 1, or 0 for a needle in the patient.
        conflicts: (k, k) symmetric, True where two paths exclude each other; None where none do.
        allowed: for each path and tip the index of the largest size allowed, the number of sizes where none is.
        guilty: for each path and tip the protected structure that forbids larger sizes, -1 for none.
    """

    # What the problem asks for by name is declared with field(), or its abstract properties would be the defaults.
    region: TargetRegion = field()
    table: TrajectoryTable
    path_cost: FloatArray = field()
    tips_mm: tuple[FloatArray, ...]
    path_covers: NDArray[np.bool_] = field()
    menu: SizeMenu
    applicator: str
    zone_model: ZoneModel
    added_insertions: FloatArray
    conflicts: NDArray[np.bool_] | None = None
    allowed: tuple[NDArray[np.int64], ...] = ()
    guilty: tuple[NDArray[np.int64], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "added_insertions", read_only(self.added_insertions))
        if not self.allowed:
            zeros = tuple(np.zeros(len(tips), dtype=np.int64) for tips in self.tips_mm)
            object.__setattr__(self, "allowed", zeros)
            object.__setattr__(self, "guilty", tuple(np.full(len(part), -1) for part in zeros))

    @property
    def candidate_count(self) -> int:
        """Number of ablations offered."""
        return int(sum((len(self.menu) - allowed).sum() for allowed in self.allowed))

    def insertion(self, path: int, ablations: tuple[Ablation, ...]) -> Insertion:
        """The insertion along one path that carries out ablations, deepest first; its tip is the deepest used."""
        entry = self.table.entry_mm[path]
        deepest = max(ablations, key=lambda a: float(np.linalg.norm(np.subtract(a.tip_mm, entry))))
        return Insertion(vector3(entry), deepest.tip_mm, self.applicator, ablations)

    def single_ablations(self, path: int) -> list[Insertion]:
        """Every ablation offered on one path, alone: at each tip the sizes allowed there, largest first."""
        return [
            self.insertion(path, (Ablation(vector3(tip), power_w, duration_s),))
            for tip, largest in zip(self.tips_mm[path], self.allowed[path].tolist(), strict=True)
            for power_w, duration_s in self.menu.settings[largest:]
        ]


def build_coverage(
    ranked: TrajectoryTable,
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    options: CoverageOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
    *,
    protection: Protection | None = None,
    pairs: PairLimits | None = None,
    region: TargetRegion | None = None,
    placed: Sequence[Insertion] = (),
) -> CoverageMatrix:
    """Offer the cheapest feasible paths in different directions, with ablations along each.

    Larger ablations contain smaller ones at the same tip, so what a path can destroy is decided with the
    largest allowed there; the smaller ones are offered again once paths are chosen.

    Args:
        ranked: screened and ranked paths.
        queries: the anatomy.
        zone_model: predicts the zones.
        options: what is offered and asked.
        progress: called with what is being done and the fraction done.
        protection: structures that no zone must come near; None protects none.
        pairs: what two needles in the patient must keep from each other; None demands nothing.
        region: what must be destroyed; target and margin where None.
        placed: needles in the patient already, along which may be treated without another insertion.

    Raises:
        OptionError: no path is feasible, or an option is impossible.
    """
    options = options or CoverageOptions()
    menu = SizeMenu.of_table(zone_model.table(ranked.applicator.name), options.setting_count)
    rows = offered_rows(ranked, options)
    if not len(rows) and not placed:
        raise OptionError("no feasible path is left to build a coverage from")
    if progress:
        progress("points of target and margin", 0.0)
    region = region or target_region(queries, options.margin_mm, options.point_count)
    offers = offer_paths(ranked.subset(rows), queries, menu, options, protection, placed, zone_model)
    conflicts = None
    if pairs is not None:
        conflicts = _conflicts(offers, pairs)
        # What a needle in the patient excludes is not offered; those needles stand as they are, however near.
        offers = offers.without(
            len(placed) + np.flatnonzero(conflicts[: len(placed), len(placed) :].any(axis=0)), menu
        )
        conflicts[: len(placed)] = conflicts[:, : len(placed)] = False
    covers = _path_covers(offers, menu, region, progress)
    if progress:
        progress("done", 1.0)
    return CoverageMatrix(
        region,
        offers.table,
        offers.cost,
        offers.tips_mm,
        covers,
        menu,
        ranked.applicator.name,
        zone_model,
        offers.added,
        conflicts if conflicts is not None and conflicts.any() else None,
        offers.allowed,
        offers.guilty,
    )


def swept_zones(
    ranked: TrajectoryTable, queries: AnatomyQueries, zone_model: EllipsoidTableModel, options: CoverageOptions
) -> SweptZones:
    """What every feasible path can destroy with the largest zone anywhere along it, offered or not."""
    menu = SizeMenu.of_table(zone_model.table(ranked.applicator.name), options.setting_count)
    table = ranked.subset(np.flatnonzero(ranked.feasible))
    offers = offer_paths(table, queries, menu, options)
    first = np.array([tips[0] for tips in offers.tips_mm])
    last = np.array([tips[-1] for tips in offers.tips_mm])
    middles = first - table.applicator.tip_to_centre_mm * table.direction
    # The last tip offered may lie up to one step before the place where the middle leaves the target.
    length = np.linalg.norm(first - last, axis=1) + options.pull_back_mm
    return SweptZones(middles, table.direction, length, float(menu.axial_mm[0]), float(menu.radial_mm[0]))


@dataclass(frozen=True, slots=True, eq=False)
class FreedPoints:
    """How much farther away protected structures would have to lie for points to be destroyed.

    Attributes:
        alone_mm: (s, n) the least distance by which structure s alone must move for point n, over ablations that no
            other structure forbids; infinite where there is none.
        together_mm: (s, n) distances by which all of them must move for point n, of that ablation which asks for
            the least sum; infinite where no ablation would do.
    """

    alone_mm: FloatArray
    together_mm: FloatArray


def freed_by(matrix: CoverageMatrix, protection: Protection) -> FreedPoints:
    """What moving protected structures away would open.

    Farther by so much, an ablation keeps its thermal margins and destroys the point: distances that suffice, as not
    all of a great number of ablations are looked at.

    Args:
        matrix: the offers.
        protection: the structures.
    """
    middles, axes = zone_middles(matrix.table, matrix.tips_mm)
    allowed = np.concatenate(matrix.allowed)
    forbidden = np.flatnonzero(allowed > 0)
    forbidden = forbidden[:: max(1, len(forbidden) // _MOST_FREED)]
    structures = protection.structures
    alone = np.full((len(structures), len(matrix.region)), np.inf)
    together = np.full_like(alone, np.inf)
    for size in range(len(matrix.menu)):
        part = forbidden[allowed[forbidden] > size]
        if not len(part):
            continue
        shape = np.full(len(part), matrix.menu.axial_mm[size]), np.full(len(part), matrix.menu.radial_mm[size])
        zones = SpheroidUnion(middles[part], axes[part], *shape)
        missing = np.array([zones.deepest_mm(one.points_mm) + one.spacing_mm + one.margin_mm for one in structures])
        missing = np.maximum(missing, 0.0)
        covers = zones.covering(matrix.region.points_mm, matrix.region.radius_mm)
        for k in range(len(structures)):
            mine = (np.delete(missing, k, axis=0) <= 0.0).all(axis=0)
            if mine.any():
                alone[k] = np.minimum(
                    alone[k], np.where(covers[mine], missing[k, mine][:, None], np.inf).min(axis=0)
                )
        total = np.where(covers, missing.sum(axis=0)[:, None], np.inf)
        best = total.argmin(axis=0)
        better = total[best, np.arange(total.shape[1])] < together.sum(axis=0)
        together[:, better] = missing[:, best[better]]
    return FreedPoints(alone, together)


def _path_covers(
    offers: OfferedPaths,
    menu: SizeMenu,
    region: TargetRegion,
    progress: Callable[[str, float], None] | None,
) -> NDArray[np.bool_]:
    middles, axes = zone_middles(offers.table, offers.tips_mm)
    sizes = np.concatenate(offers.allowed)
    owner = np.repeat(np.arange(len(offers)), [len(tips) for tips in offers.tips_mm])
    kept = np.flatnonzero(sizes < len(menu))
    covers = np.zeros((len(offers), len(region)), dtype=np.bool_)
    for start in range(0, len(kept), _CHUNK):
        if progress:
            progress("zones along paths", start / len(kept))
        part = kept[start : start + _CHUNK]
        zones = SpheroidUnion(middles[part], axes[part], menu.axial_mm[sizes[part]], menu.radial_mm[sizes[part]])
        rows = zones.covering(region.points_mm, region.radius_mm)
        for path, row in zip(owner[part].tolist(), rows, strict=True):
            covers[path] |= row
    return covers


def _conflicts(offers: OfferedPaths, pairs: PairLimits) -> NDArray[np.bool_]:
    applicator = offers.table.applicator
    found = pair_conflicts(
        offers.table.entry_mm,
        offers.table.tip_mm,
        applicator.radius_mm,
        pairs,
        usable_length_mm=applicator.usable_length_mm,
        active_length_mm=applicator.active_length_mm,
        pull_back_mm=np.array([np.linalg.norm(tips[0] - tips[-1]) for tips in offers.tips_mm]),
    )
    matrix = np.zeros((len(offers), len(offers)), dtype=np.bool_)
    matrix[found.first, found.second] = True
    matrix[found.second, found.first] = True
    return matrix
