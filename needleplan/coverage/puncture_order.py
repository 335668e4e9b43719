"""In which order needles are placed: each past those already in, the farthest first where zones hide the view."""

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.coverage.blockage import (
    Blockage,
    cycle_remedies,
    cycle_sentences,
    group_sentences,
    precedence_sentences,
    rule_sentences,
    shortest_cycle,
)
from needleplan.coverage.needle_shape import NeedleShapes, Part, applicator_of, least_gap_mm
from needleplan.coverage.pair_limits import PULSE_MODALITIES, PairLimits
from needleplan.devices.catalogue import Applicator
from needleplan.errors import GeometryError, OptionError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Evidence, Insertion

#: Modalities whose gas (boiling, as echoes from about 95 C on: Nahirnyak 2010, PMC2922477), heat or ice hides what
#: lies behind from the image; current pulses leave little that does.
HIDING_MODALITIES = ("RFA", "MWA", "laser", "cryo")
#: Digits of mm up to which two needles are equally far or deep.
_DIGITS = 3
#: Steps in which a needle is thought drawn back to let another one pass.
_DRAW_BACK_STEP_MM = 1.0
#: Fewest groups are proven up to so many needles, and found one after the other beyond.
_MOST_PROVEN = 12


@dataclass(frozen=True, slots=True)
class PunctureOrder:
    """The order of punctures, or why there is none.

    Attributes:
        order: indices of the insertions in the order of their punctures; empty where there is none.
        groups: the same in groups that stand together, each drawn out before the next is placed.
        conflicts: the passages that together leave no order of all needles at once.
        sentences: what was found, for people.
        remedies: what would give an order, for people.
    """

    order: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    conflicts: tuple[Blockage, ...]
    sentences: tuple[str, ...]
    remedies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the needles can be placed as was asked."""
        return bool(self.order) or not self.conflicts

    def applied(self, insertions: Sequence[Insertion]) -> tuple[Insertion, ...]:
        """The insertions in their order, numbered from 1; in the order given where there is no order."""
        if sorted(self.order) != list(range(len(insertions))) and self.exists:
            raise OptionError(f"an order of {len(self.order)} needles does not fit {len(insertions)} insertions")
        order = self.order if self.exists else range(len(insertions))
        return tuple(dataclasses.replace(insertions[k], order=place) for place, k in enumerate(order, start=1))

    @property
    def evidence(self) -> Evidence:
        """What was found, and what would have to change."""
        return Evidence("puncture order", " ".join(self.sentences), " ".join(self.remedies))


def order_punctures(
    insertions: Sequence[Insertion],
    applicators: Applicator | Sequence[Applicator],
    limits: PairLimits,
    *,
    maximum_at_once: int | None = None,
    view_mm: ArrayLike | None = None,
) -> PunctureOrder:
    """Puncture order of the needles of a plan.

    A needle comes along its axis with its handle and the guide that places it; all that they sweep must keep the
    distances of ``limits`` from the shafts inside and the shafts and handles outside of the needles that stand. Of
    the needles that are free to be placed, the one whose zone lies farthest from where the image is taken comes
    first where its modality hides what lies behind, then the deepest.

    Args:
        insertions: the needles, at their deepest tips while others are placed.
        applicators: those of the insertions.
        limits: distances, handle and guide.
        maximum_at_once: at most so many needles stand in the patient together; groups that do are formed, as few as
            can be, each drawn out before the next. None where all must stand together.
        view_mm: (m, 3) points of the surface from which the image is taken, an ultrasound probe's or the skin's;
            the nearest one counts. The entries of the needles where None: the skin nearest to the zone that is
            known.

    Raises:
        DeviceError: an applicator is missing.
        GeometryError: a path or the view is impossible.
        OptionError: the number of needles at once is none.
        PhysicsError: electrodes for pulses are not allowed to stand together.
    """
    count = len(insertions)
    if maximum_at_once is not None and (isinstance(maximum_at_once, bool) or not maximum_at_once >= 1):
        raise OptionError(f"at least 1 needle must be allowed in the patient at once, not {maximum_at_once!r}")
    shapes = NeedleShapes.of_insertions(insertions, applicators)
    pulsed = any(applicator_of(one, applicators).modality in PULSE_MODALITIES for one in insertions)
    if pulsed and maximum_at_once is not None and maximum_at_once < count:
        raise PhysicsError(
            f"electrodes for pulses work between each other and must stand together: allow {count} needles at "
            f"once, not {maximum_at_once}"
        )
    far = view_distances_mm(insertions, applicators, view_mm)
    rank = _ranks(insertions, applicators, shapes, far)
    blockages = _blockages(shapes, limits)
    blocked = np.zeros((count, count), dtype=np.bool_)
    for one in blockages:
        blocked[one.placed, one.standing] = True
    whole = _order_of(tuple(range(count)), blocked, rank)
    conflicts = _in_cycles(blockages, blocked)
    split = maximum_at_once is not None and not pulsed
    most = maximum_at_once if split and maximum_at_once is not None else count
    if whole is not None and most >= count:
        groups: tuple[tuple[int, ...], ...] = (whole,) if whole else ()
    elif split:
        groups = _fewest_groups(count, most, blocked, rank)
    else:
        groups = ()
    order = tuple(k for group in groups for k in group)
    number = {k: place for place, k in enumerate(order or range(count), start=1)}
    hides = any(applicator_of(one, applicators).modality in HIDING_MODALITIES for one in insertions)
    told = (*rule_sentences(number, far, hides), *group_sentences(groups, most, conflicts, number))
    told += precedence_sentences(groups, blockages, number)
    if len(groups) > 1 and count > _MOST_PROVEN:
        told += (f"For more than {_MOST_PROVEN} needles there is no proof that fewer groups would not do.",)
    if groups or not conflicts:
        return PunctureOrder(order, groups, conflicts, told)
    conflicts = tuple(
        one if one.together else dataclasses.replace(one, draw_back_mm=_draw_back_mm(shapes, one, limits))
        for one in conflicts
    )
    cycle = shortest_cycle(conflicts)
    return PunctureOrder(
        order, groups, conflicts, cycle_sentences(cycle, number), cycle_remedies(cycle, number, pulsed)
    )


def view_distances_mm(
    insertions: Sequence[Insertion],
    applicators: Applicator | Sequence[Applicator],
    view_mm: ArrayLike | None = None,
) -> FloatArray:
    """(n,) distance of the middle of each needle's deepest zone from the nearest point of the view.

    Args:
        insertions: the needles.
        applicators: those of the insertions.
        view_mm: (m, 3) points from which the image is taken; the entries of the needles where None.

    Raises:
        GeometryError: the view is no list of points.
    """
    if not insertions:
        return np.empty(0)
    view = np.asarray([one.entry_mm for one in insertions] if view_mm is None else view_mm, dtype=np.float64)
    if view.ndim != 2 or view.shape[1:] != (3,) or not len(view) or not np.isfinite(view).all():
        raise GeometryError("the view must be one or more finite points (m, 3) in patient LPS mm")
    middle = np.array(
        [
            np.asarray(one.tip_mm) - applicator_of(one, applicators).tip_to_centre_mm * one.direction
            for one in insertions
        ]
    )
    return np.asarray([np.linalg.norm(view - point, axis=1).min() for point in middle])


def _ranks(
    insertions: Sequence[Insertion],
    applicators: Applicator | Sequence[Applicator],
    shapes: NeedleShapes,
    far_mm: FloatArray,
) -> NDArray[np.int64]:
    """(n,) place of each needle were it not for the others: 0 comes first.

    Ties are broken by what turning or mirroring the patient leaves as it is, and by the coordinates at last.
    """
    tips = np.linalg.norm(shapes.tip_mm[:, None] - shapes.tip_mm, axis=2)
    entries = np.linalg.norm(shapes.entry_mm[:, None] - shapes.entry_mm, axis=2)
    keys = []
    for k, one in enumerate(insertions):
        hides = applicator_of(one, applicators).modality in HIDING_MODALITIES
        keys.append(
            (
                -round(float(far_mm[k]), _DIGITS) if hides else 0.0,
                -round(one.depth_mm, _DIGITS),
                np.round(np.sort(tips[k])[::-1], _DIGITS).tolist(),
                np.round(np.sort(entries[k])[::-1], _DIGITS).tolist(),
                one.entry_mm,
                one.tip_mm,
                k,
            )
        )
    rank = np.empty(len(keys), dtype=np.int64)
    rank[sorted(range(len(keys)), key=lambda k: keys[k])] = np.arange(len(keys))
    return rank


def _blockages(shapes: NeedleShapes, limits: PairLimits) -> tuple[Blockage, ...]:
    """Every needle that cannot be placed while another one stands."""
    inside, outside = limits.inside_demand_mm, limits.outside_demand_mm
    placing, placed = shapes.placing(limits).ravel(), shapes.standing(limits).ravel()
    standing = shapes.standing(limits, shapes.pull_back_mm).ravel()
    found = []
    for i in range(len(shapes)):
        for j in range(len(shapes)):
            if i == j:
                continue
            room, a, b = least_gap_mm(standing, i, 3, standing, j, 3, inside, outside, np.inf)
            together = room < 0.0
            if not together:
                room, a, b = least_gap_mm(placing, i, 4, placed, j, 3, inside, outside, np.inf)
            if room < 0.0:
                found.append(Blockage(i, j, -float(room), Part(a), Part(b), together))
    return tuple(found)


def _draw_back_mm(shapes: NeedleShapes, blockage: Blockage, limits: PairLimits) -> float | None:
    """Least way, in steps, by which the standing needle is drawn back to let the other one pass."""
    i, j = blockage.placed, blockage.standing
    inside, outside = limits.inside_demand_mm, limits.outside_demand_mm
    placing, placed = shapes.placing(limits).ravel(), shapes.standing(limits).ravel()
    for back in np.arange(_DRAW_BACK_STEP_MM, shapes.depth_mm[j] - 1.0, _DRAW_BACK_STEP_MM):
        back_mm = float(back)
        sweep = shapes.standing(limits, np.minimum(back_mm, shapes.depth_mm)).ravel()
        if least_gap_mm(sweep, j, 3, placed, i, 3, inside, outside, 0.0)[0] < 0.0:
            return None
        away = shapes.drawn_back(back_mm).standing(limits).ravel()
        if least_gap_mm(placing, i, 4, away, j, 3, inside, outside, 0.0)[0] >= 0.0:
            return back_mm
    return None


def _order_of(
    needles: tuple[int, ...], blocked: NDArray[np.bool_], rank: NDArray[np.int64]
) -> tuple[int, ...] | None:
    """Topological order with the best rank first among those that are free, or None where there is none.

    A needle that is blocked by a standing one goes before it (A. B. Kahn, Commun ACM 1962;5:558, with a heap).
    """
    waiting = {k: sum(bool(blocked[other, k]) for other in needles) for k in needles}
    free = [(int(rank[k]), k) for k in needles if not waiting[k]]
    heapq.heapify(free)
    order = []
    while free:
        _, k = heapq.heappop(free)
        order.append(k)
        for later in needles:
            if blocked[k, later]:
                waiting[later] -= 1
                if not waiting[later]:
                    heapq.heappush(free, (int(rank[later]), later))
    return tuple(order) if len(order) == len(needles) else None


def _in_cycles(blockages: tuple[Blockage, ...], blocked: NDArray[np.bool_]) -> tuple[Blockage, ...]:
    """The blockages that lie on a cycle, the least missing room first."""
    reach = blocked.copy()
    for k in range(len(reach)):
        reach |= reach[:, k : k + 1] & reach[k : k + 1]
    on_cycle = [one for one in blockages if reach[one.standing, one.placed]]
    return tuple(sorted(on_cycle, key=lambda one: (one.missing_mm, one.placed, one.standing)))


def _fewest_groups(
    count: int, most: int, blocked: NDArray[np.bool_], rank: NDArray[np.int64]
) -> tuple[tuple[int, ...], ...]:
    """Groups of at most so many needles that each have an order; the first one holds the best rank, and so on.

    Fewest of all up to a dozen needles; beyond, each group takes in turn the needles by rank that still fit.
    """
    by_rank = tuple(int(k) for k in np.argsort(rank))
    if count > _MOST_PROVEN:
        return _groups_in_turn(by_rank, most, blocked, rank)

    @cache
    def best(left: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        if not left:
            return ()
        fewest = -(-len(left) // most)
        found: tuple[tuple[int, ...], ...] = ((left[0],), *best(left[1:]))
        for size in range(min(most, len(left)), 0, -1):
            for others in combinations(left[1:], size - 1):
                group = _order_of((left[0], *others), blocked, rank)
                if group is None:
                    continue
                answer = (group, *best(tuple(k for k in left if k not in group)))
                if len(answer) == fewest:
                    return answer
                if len(answer) < len(found):
                    found = answer
        return found

    return best(by_rank)


def _groups_in_turn(
    by_rank: tuple[int, ...], most: int, blocked: NDArray[np.bool_], rank: NDArray[np.int64]
) -> tuple[tuple[int, ...], ...]:
    left, groups = list(by_rank), []
    while left:
        group: tuple[int, ...] = ()
        for k in left:
            if len(group) < most:
                group = _order_of((*group, k), blocked, rank) or group
        groups.append(group)
        left = [k for k in left if k not in group]
    return tuple(groups)
