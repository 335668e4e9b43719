"""Which two of thousands of needle paths may not stand in the patient together, and why.

Distances are exact (segment to segment) and taken at the deepest tips: a path to a deeper tip holds those to the
shallower ones, so a pair that may stand together may do so at every tip on the way back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.pulse_rules import LEVEL_TIPS_MM, NO_PAIR_DEG, RULE_SLACK
from needleplan.coverage.needle_shape import NeedleShapes, axis_distance_mm, capsules, least_gap_mm
from needleplan.coverage.pair_kernels import judge, judge_rows
from needleplan.coverage.pair_limits import PairLimits
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, read_only

#: Pairs that are looked at before the conflicts among them are listed.
_BLOCK = 4_000_000
#: Slack of distances against the limits: needles set exactly to a limit keep it.
_SLACK_MM = 1e-6


class PairReason(IntEnum):
    """Why two needles may not stand together; of several the first is stated."""

    ENTRIES = 1  #: punctures too near to each other
    SHAFTS = 2  #: shafts inside the body too near, touching or crossing
    ACTIVE_PARTS = 3  #: active parts too near for energy at the same time
    OUTSIDE = 4  #: what stands outside touches the other needle
    PASSAGE = 5  #: neither can be placed past the other
    TOO_FAR = 6  #: electrodes for pulses farther apart than the vendor allows
    ANGLE = 7  #: electrodes for pulses not parallel
    NOT_LEVEL = 8  #: bare lengths of electrodes for pulses not side by side
    TOO_NEAR = 9  #: electrodes for pulses nearer than the vendor allows

    @property
    def unit(self) -> str:
        """Unit of the measured figure."""
        return "degrees" if self is PairReason.ANGLE else "mm"


@dataclass(frozen=True, slots=True, eq=False)
class SparseConflicts:
    """Pairs of paths that may not stand in the patient together; all others may.

    Attributes:
        count: number of paths.
        first, second: (m,) rows of the paths, first < second, in ascending order.
        reason: (m,) the first reason, a value of ``PairReason``.
        measured: (m,) its figure: distances in mm (surface to surface for shafts, middle to middle for entries,
            axis to axis for active parts and electrodes, the missing room as a negative number outside and in
            passing, the length that lies side by side for bare lengths), the angle in degrees.
    """

    count: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    reason: NDArray[np.int8]
    measured: FloatArray

    def __post_init__(self) -> None:
        for name, kind in (
            ("first", np.int64),
            ("second", np.int64),
            ("reason", np.int8),
            ("measured", np.float64),
        ):
            object.__setattr__(self, name, read_only(getattr(self, name), kind))
        if not len(self.first) == len(self.second) == len(self.reason) == len(self.measured):
            raise GeometryError("conflicts of paths need as many first as second rows, reasons and figures")
        if len(self) and not (
            self.first.min() >= 0 and (self.first < self.second).all() and self.second.max() < self.count
        ):
            raise GeometryError(f"conflicts of {self.count} paths must name rows below it, the lesser one first")

    def __len__(self) -> int:
        return len(self.first)

    def __iter__(self) -> Iterator[tuple[int, int, PairReason, float]]:
        for i, j, reason, value in zip(self.first, self.second, self.reason, self.measured, strict=True):
            yield int(i), int(j), PairReason(int(reason)), float(value)

    @property
    def tally(self) -> dict[PairReason, int]:
        """How many pairs fail for each reason."""
        counts = np.bincount(self.reason, minlength=max(PairReason) + 1)
        return {reason: int(counts[reason]) for reason in PairReason if counts[reason]}


def pair_conflicts(
    entry_mm: ArrayLike,
    tip_mm: ArrayLike,
    radius_mm: ArrayLike,
    limits: PairLimits,
    *,
    usable_length_mm: ArrayLike,
    active_length_mm: ArrayLike = 0.0,
    pull_back_mm: ArrayLike = 0.0,
) -> SparseConflicts:
    """Pairs of straight paths that may not stand in the patient together.

    Args:
        entry_mm: (n, 3) where they enter, patient LPS.
        tip_mm: (n, 3) the deepest tip that is offered on each.
        radius_mm: radius of the shafts, one number or (n,).
        limits: what is demanded of a pair.
        usable_length_mm: length of the shafts from tip to handle, one number or (n,).
        active_length_mm: length from the tip that delivers energy.
        pull_back_mm: how far a needle may be drawn back between deliveries: handles then reach farther out and
            energy may be delivered farther back. Pulses are judged at the deepest tips.

    Raises:
        GeometryError: paths or lengths are impossible.
    """
    shapes = NeedleShapes(  # the arrays are made read-only and of one length there
        np.asarray(entry_mm, dtype=np.float64),
        np.asarray(tip_mm, dtype=np.float64),
        np.asarray(radius_mm, dtype=np.float64),
        np.asarray(usable_length_mm, dtype=np.float64),
        np.asarray(active_length_mm, dtype=np.float64),
        np.asarray(pull_back_mm, dtype=np.float64),
    )
    return conflicts_among(shapes, limits)


def conflicts_among(shapes: NeedleShapes, limits: PairLimits) -> SparseConflicts:
    """Pairs of needles that may not stand in the patient together."""
    count = len(shapes)
    needles, demands = _arrays(shapes, limits), _demands(limits)
    rows = max(1, _BLOCK // max(count, 1))
    first, second, reasons, figures = [], [], [], []
    for start in range(0, count - 1, rows):
        height = min(rows, count - 1 - start)
        reason = np.zeros((height, count), dtype=np.int8)
        figure = np.empty((height, count))
        judge_rows(start, *needles, demands, reason, figure)
        found = np.flatnonzero(reason.ravel() != 0)
        first.append(found // count + start)
        second.append(found % count)
        reasons.append(reason.ravel()[found])
        figures.append(figure.ravel()[found])
    if not first:
        none = np.empty(0, dtype=np.int64)
        return SparseConflicts(count, none, none, none.astype(np.int8), none.astype(np.float64))
    return SparseConflicts(
        count, np.concatenate(first), np.concatenate(second), np.concatenate(reasons), np.concatenate(figures)
    )


def reasons_against(shapes: NeedleShapes, first: int, second: int, limits: PairLimits) -> dict[PairReason, float]:
    """Every reason why two of the needles may not stand together, with its figure; empty where they may."""
    if not (0 <= first < len(shapes) and 0 <= second < len(shapes) and first != second):
        raise OptionError(f"a pair of {len(shapes)} needles has two rows below that, not {first} and {second}")
    figures = np.full(max(PairReason) + 1, np.nan)
    judge(first, second, *_arrays(shapes, limits), _demands(limits), True, figures)
    return {reason: float(figures[reason]) for reason in PairReason if not np.isnan(figures[reason])}


def least_room_mm(shapes: NeedleShapes, limits: PairLimits) -> float:
    """How much any two needles that stand together keep beyond what is demanded; infinite for fewer than two.

    Least over entries, shafts inside, active parts and what stands outside; minus what is missing. The rules of
    pulses and the passage of one needle past another have no part in it. For searches that move needles.
    """
    standing, active = shapes.standing(limits, shapes.pull_back_mm).ravel(), shapes.active_parts().ravel()
    inside, outside = limits.needle_distance_mm, limits.outside_distance_mm
    least = np.inf
    for i, j in combinations(range(len(shapes)), 2):
        entries = float(np.linalg.norm(shapes.entry_mm[i] - shapes.entry_mm[j])) - limits.entry_spacing_mm
        gap, _, _ = least_gap_mm(standing, i, 3, standing, j, 3, inside, outside, np.inf)
        least = min(least, entries, float(gap))
        if limits.active_distance_mm is not None:
            least = min(least, float(axis_distance_mm(active, i, active, j)) - limits.active_distance_mm)
    return least


def _arrays(shapes: NeedleShapes, limits: PairLimits) -> tuple[FloatArray, ...]:
    """What the kernels read: entries, directions, tips; flat capsules that stand, are placed, swept and deliver."""
    placing = shapes.placing(limits)
    # All that is outside when a needle is placed, as one capsule of its greatest radius.
    far = np.concatenate([placing[:, 1:, 3:6], placing[:, 1:, 0:3]], axis=1)
    along = np.einsum("nkj,nj->nk", far - shapes.entry_mm[:, None], -shapes.direction)
    outer = shapes.entry_mm - along.max(axis=1, keepdims=True) * shapes.direction
    outline = capsules(shapes.entry_mm, outer, placing[:, 1:, 6].max(axis=1))
    parts = (
        shapes.standing(limits, shapes.pull_back_mm),
        shapes.standing(limits),
        placing,
        shapes.active_parts(),
        outline,
    )
    places = (shapes.entry_mm, shapes.direction, shapes.tip_mm)
    return (*(read_only(array) for array in places), *(read_only(array.ravel()) for array in parts))


def _demands(limits: PairLimits) -> FloatArray:
    """The limits as the kernels read them; each so that it can be broken only where it is stated."""
    electrode = limits.electrode
    active_mm = -np.inf if limits.active_distance_mm is None else limits.active_distance_mm
    pulses = (
        (0.0, 0.0, 0.0, 0.0, 0.0)
        if electrode is None
        else (
            electrode.exposure_mm,
            electrode.least_spacing_mm - RULE_SLACK,
            electrode.greatest_spacing_mm + RULE_SLACK,
            min(electrode.greatest_angle_deg + RULE_SLACK, NO_PAIR_DEG),
            electrode.exposure_mm - LEVEL_TIPS_MM,
        )
    )
    return np.array(
        [
            limits.entry_spacing_mm - _SLACK_MM,
            limits.inside_demand_mm,
            active_mm - _SLACK_MM,
            limits.outside_demand_mm,
            *pulses,
            1.0 if limits.wide_pairs_left_out else 0.0,
        ]
    )
