"""From chosen paths to the ablations along them: as few and as sparing as cover the same points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.coverage.contract import PathSelection
from needleplan.coverage.matrix import CoverageMatrix
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion

#: A minute of treatment weighs as much as this volume of healthy tissue in choosing ablations.
_ML_PER_MINUTE = 0.5
#: Each further ablation weighs as much as this volume: the applicator is moved and checked again.
_ML_PER_ABLATION = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class AblationChoice:
    """Insertions with their ablations.

    Attributes:
        insertions: one for each chosen path, not yet in puncture order.
        proven: True where no cheaper set of the offered ablations on these paths covers the same points.
    """

    insertions: tuple[Insertion, ...]
    proven: bool


def choose_ablations(matrix: CoverageMatrix, selection: PathSelection, time_limit_s: float) -> AblationChoice:
    """Ablations along the chosen paths that destroy all that these paths can, at the least cost.

    The cost of an ablation is its volume outside target and margin, its time, and a fixed share for moving the
    applicator. Solved exactly as a set cover within the time limit, else by the greedy rule.
    """
    paths: list[int] = []
    offers: list[Insertion] = []
    for path in selection.paths:
        single = matrix.single_ablations(path)
        offers += single
        paths += [path] * len(single)
    region = matrix.region
    covers = matrix.zone_model.covering(offers, region.points_mm, region.radius_mm)
    wanted = covers.any(axis=0)
    cost = _costs(matrix, offers, covers)
    chosen, proven = _cheapest_cover(covers[:, wanted], cost, time_limit_s)
    insertions = []
    for path in selection.paths:
        mine = [offers[k].ablations[0] for k in chosen if paths[k] == path]
        if mine:
            entry = matrix.table.entry_mm[path]
            mine.sort(key=lambda a: -float(np.linalg.norm(np.subtract(a.tip_mm, entry))))
            insertions.append(matrix.insertion(path, _largest_of_each_tip(tuple(mine))))
    return AblationChoice(tuple(insertions), proven)


def _largest_of_each_tip(ablations: tuple[Ablation, ...]) -> tuple[Ablation, ...]:
    """One ablation a tip: the first listed of those at one place (a set cover never needs two, greedy might)."""
    kept: dict[tuple[float, float, float], Ablation] = {}
    for ablation in ablations:
        other = kept.get(ablation.tip_mm)
        if other is None or (ablation.power_w or 0.0, ablation.duration_s) > (
            other.power_w or 0.0,
            other.duration_s,
        ):
            kept[ablation.tip_mm] = ablation
    return tuple(kept.values())


def _costs(matrix: CoverageMatrix, offers: list[Insertion], covers: NDArray[np.bool_]) -> FloatArray:
    sizes = {setting: _volume_ml(matrix, setting) for setting in matrix.settings}
    costs = np.empty(len(offers))
    for k, offer in enumerate(offers):
        ablation = offer.ablations[0]
        volume = sizes[(ablation.power_w, ablation.duration_s)]
        outside = max(0.0, volume - float(covers[k] @ matrix.region.share_ml))
        costs[k] = outside + _ML_PER_MINUTE * ablation.duration_s / 60.0 + _ML_PER_ABLATION
    return costs


def _volume_ml(matrix: CoverageMatrix, setting: tuple[float | None, float]) -> float:
    from needleplan.ablation.volume import zone_volume_ml

    power_w, duration_s = setting
    tip = (0.0, 0.0, 0.0)
    probe = Insertion((0.0, 0.0, 100.0), tip, matrix.applicator, (Ablation(tip, power_w, duration_s),))
    return zone_volume_ml(matrix.zone_model.zone([probe]), step_mm=1.5)


def _cheapest_cover(covers: NDArray[np.bool_], cost: FloatArray, time_limit_s: float) -> tuple[list[int], bool]:
    """(columns chosen, proven) of a weighted set cover."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    rows = np.unique(covers.T, axis=0)
    greedy = _greedy_cover(rows.T, cost)
    if len(rows) == 0:
        return greedy, True
    answer = milp(
        cost,
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(csr_array(rows.astype(np.float64)), lb=1.0)],
        options={"time_limit": time_limit_s, "mip_rel_gap": 1e-4},
    )
    if answer.x is None:
        return greedy, False
    chosen = np.flatnonzero(answer.x > 0.5).tolist()
    if not rows[:, chosen].any(axis=1).all() or cost[chosen].sum() > cost[greedy].sum():
        return greedy, False
    return chosen, answer.status == 0


def _greedy_cover(covers: NDArray[np.bool_], cost: FloatArray) -> list[int]:
    left = covers.any(axis=0)
    chosen: list[int] = []
    while left.any():
        gain = covers[:, left].sum(axis=1) / cost
        best = int(np.argmax(gain))
        chosen.append(best)
        left &= ~covers[best]
    return chosen
