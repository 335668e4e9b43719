"""Arrays of parallel electrodes laid out through a target, each electrode a path that keeps every constraint.

Directions are those of feasible paths. Across each the array is turned and shifted, its tips lie level at the depth
from which the fewest rounds of pulses, one bare length or less apart, destroy all that it can beside it. An
electrode's entry is where its own line leaves the skin, so every electrode is screened by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.schedule import SHORTEST_DELIVERY_S
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.array_layouts import ArrayLayout
from needleplan.coverage.array_zones import ArrayZone
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion
from needleplan.devices.catalogue import Applicator
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

#: Bodies are no larger than this, so a line from a tip leaves the skin within it.
_BODY_MM = 2500.0
#: Rounds nearer than this to one bare length apart count as that: what rounding leaves asks for no further round.
_ROUNDING_MM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ElectrodeArray:
    """An array where it stands in the patient.

    Attributes:
        layout: the arrangement.
        axes: (3, 3) columns: the array's x and y axis across the electrodes, the direction in which they point.
        middle_mm: (3,) the array's middle line passes here; depths are counted from it.
        interval_mm: (2,) where the bare length must begin and end, along the direction.
        exposure_mm: bare length of the electrodes.
        outside_ml: volume that it destroys outside target and margin, about.
    """

    layout: ArrayLayout
    axes: FloatArray
    middle_mm: FloatArray
    interval_mm: FloatArray
    exposure_mm: float
    outside_ml: float = 0.0

    def __post_init__(self) -> None:
        for name in ("axes", "middle_mm", "interval_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def rounds(self) -> int:
        """Times that all pairs are pulsed, the electrodes being drawn back in between."""
        length = float(self.interval_mm[1] - self.interval_mm[0])
        return max(1, math.ceil((length - _ROUNDING_MM) / self.exposure_mm))

    @property
    def bare_mm(self) -> FloatArray:
        """(2,) where the bare length begins in the last round and ends in the first."""
        low, high = self.interval_mm
        if self.rounds > 1:
            return self.interval_mm
        # More than is needed lies evenly on both sides.
        return np.array([-0.5, 0.5]) * self.exposure_mm + 0.5 * (low + high)

    def tips_mm(self, turn: int = 0) -> FloatArray:
        """(m, 3) tips in a round, the first by default."""
        low, high = self.bare_mm
        step = 0.0 if self.rounds == 1 else (high - low - self.exposure_mm) / (self.rounds - 1)
        across = self.layout.points_mm @ self.axes[:, :2].T
        return np.asarray(self.middle_mm + across + (high - turn * step) * self.axes[:, 2])

    def local_mm(self, points_mm: FloatArray) -> FloatArray:
        """Points (n, 3) in the array's frame."""
        return np.asarray((points_mm - self.middle_mm) @ self.axes)

    def insertions(self, entry_mm: FloatArray, applicator: str, protocol: PulseProtocol) -> tuple[Insertion, ...]:
        """Every electrode as an insertion with its ablations, the i-th ones being one round.

        Args:
            entry_mm: (m, 3) where the electrodes enter.
            applicator: their name.
            protocol: the pulses. An ablation lasts as long as the voltage of one pair is on, or as the shortest
                delivery that can be stated.
        """
        duration_s = max(protocol.energised_s, SHORTEST_DELIVERY_S)
        tips = [self.tips_mm(turn) for turn in range(self.rounds)]
        return tuple(
            Insertion(
                vector3(entry),
                vector3(tips[0][k]),
                applicator,
                tuple(Ablation(vector3(turn[k]), None, duration_s) for turn in tips),
            )
            for k, entry in enumerate(entry_mm)
        )

    def spares(self, zone: ArrayZone, protection: Protection) -> bool:
        """True where the zone keeps its margin to every protected structure, proven for the whole surface."""
        for structure in protection.structures:
            if not len(structure.points_mm):
                continue
            gap = zone.gap_mm(self.local_mm(structure.points_mm), self.bare_mm)
            if float(gap.min()) < structure.margin_mm + structure.spacing_mm:
                return False
        return True


@dataclass(frozen=True, slots=True, eq=False)
class ArrayCoverage(CoverProblem):
    """Arrays x balls: what each array destroys, every array taken or left as a whole.

    Arrays are placed, pulsed and drawn out one after the other, so that none excludes another.

    Attributes:
        region: balls that cover target plus margin.
        path_covers: (k, n) True where array k destroys ball n.
        path_cost: (k,) rounds, and what is destroyed outside where those are equal.
        added_insertions: (k,) electrodes of each.
        conflicts: none.
        arrays: the arrays, those of fewest electrodes first, the cheapest first among them.
        entries_mm: for each array where its electrodes enter, (m, 3).
        laid_out: arrays that were laid out; those that are not listed harm something, cannot be placed, or are
            needed by no choice of fewest electrodes because one that is listed does more.
    """

    region: TargetRegion = field()
    path_covers: NDArray[np.bool_] = field()
    path_cost: FloatArray = field()
    added_insertions: FloatArray = field()
    conflicts: NDArray[np.bool_] | None = field()
    arrays: tuple[ElectrodeArray, ...]
    entries_mm: tuple[FloatArray, ...]
    laid_out: int

    @classmethod
    def of_arrays(
        cls,
        region: TargetRegion,
        arrays: Sequence[ElectrodeArray],
        entries_mm: Sequence[FloatArray],
        covers: NDArray[np.bool_],
        laid_out: int,
        most: int,
    ) -> "ArrayCoverage":
        """The problem of choosing up to ``most`` arrays among those that can be placed."""
        count = np.array([array.layout.count for array in arrays], dtype=np.float64)
        rounds = np.array([array.rounds for array in arrays], dtype=np.float64)
        outside = np.array([array.outside_ml for array in arrays])
        # A round less is worth more than all that a choice of arrays destroys outside.
        cost = rounds + 0.5 * outside / max(1.0, most * float(np.max(outside, initial=0.0)))
        order = np.lexsort((np.arange(len(arrays)), cost, count))
        return cls(
            region,
            read_only(covers[order].reshape(len(arrays), len(region)), np.bool_),
            read_only(cost[order]),
            read_only(count[order]),
            None,
            tuple(arrays[k] for k in order.tolist()),
            tuple(entries_mm[k] for k in order.tolist()),
            laid_out,
        )


def array_axes(direction: FloatArray, patient_axes: FloatArray) -> FloatArray:
    """(3, 3) columns x, y and the direction; x is laid by the patient's axes, so that it moves with the patient."""
    shares = np.round(np.abs(direction @ patient_axes), 6)
    x = patient_axes[:, int(np.argmin(shares))]
    x = x - float(x @ direction) * direction
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), direction], axis=1)


def turned(axes: FloatArray, angle_rad: float) -> FloatArray:
    """Axes (3, 3) turned about the third."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.stack([c * axes[:, 0] + s * axes[:, 1], c * axes[:, 1] - s * axes[:, 0], axes[:, 2]], axis=1)


def placeable(
    arrays: Sequence[ElectrodeArray],
    applicator: Applicator,
    queries: AnatomyQueries,
    constraints: Sequence[TrajectoryConstraint],
) -> list[FloatArray | None]:
    """For each array the entries (m, 3) of its electrodes; None where one of them breaks a constraint.

    Args:
        arrays: the arrays.
        applicator: their electrodes.
        queries: the anatomy.
        constraints: what every electrode must keep.
    """
    if not arrays:
        return []
    tips = np.concatenate([array.tips_mm() for array in arrays])
    counts = [array.layout.count for array in arrays]
    direction = np.repeat(np.array([array.axes[:, 2] for array in arrays]), counts, axis=0)
    met = queries.tree(queries.anatomy.entry).crossings(tips, tips - _BODY_MM * direction)
    # From within the body the first crossing leads out.
    enters = (met.count > 0) & met.outward[:, 0]
    entry = tips - np.where(enters, met.parameter[:, 0], 0.0)[:, None] * _BODY_MM * direction
    enters &= np.linalg.norm(entry - tips, axis=1) > applicator.tip_to_centre_mm
    rows = np.flatnonzero(enters)
    kept = np.zeros(len(tips), dtype=np.bool_)
    if len(rows):
        table = TrajectoryTable(
            applicator,
            entry[rows],
            queries.skin_normals.at(entry[rows]),
            tips[rows] - applicator.tip_to_centre_mm * direction[rows],
            tips[rows],
        )
        kept[rows] = screen(table, queries, constraints).feasible
    ends = np.cumsum(counts)
    return [
        entry[end - count : end] if kept[end - count : end].all() else None
        for end, count in zip(ends.tolist(), counts, strict=True)
    ]
