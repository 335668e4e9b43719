"""Needles with what stands outside: straight parts with round ends, as they stand and as they sweep when placed.

Every part is a capsule about the needle's own axis, so all that a needle, its handle and its guide pass on a
straight way along that axis is a capsule again. Round ends enclose the flat ones of a real handle: distances are
never overstated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.triangle_kernels import segment_segment
from needleplan.compiled import compiled
from needleplan.coverage.pair_limits import PairLimits
from needleplan.devices.catalogue import Applicator
from needleplan.errors import DeviceError, GeometryError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion

#: A needle may be longer than its shaft by rounding.
_SLACK_MM = 1e-6


class Part(IntEnum):
    """Parts of a needle, by their row."""

    SHAFT_INSIDE = 0
    SHAFT_OUTSIDE = 1
    HANDLE = 2
    GUIDE = 3

    @property
    def words(self) -> str:
        """The part in words."""
        return ("shaft inside the body", "shaft outside", "handle", "guide")[self]


@dataclass(frozen=True, slots=True, eq=False)
class NeedleShapes:
    """Straight needles at their deepest tips.

    Attributes:
        entry_mm: (n, 3) where they enter, patient LPS.
        tip_mm: (n, 3) their deepest tips; shallower ones on the same path lie between.
        radius_mm: (n,) radius of their shafts.
        usable_length_mm: (n,) length of their shafts from tip to handle.
        active_length_mm: (n,) length from the tip that delivers energy.
        pull_back_mm: (n,) how far they are drawn back between deliveries.

    Raises:
        GeometryError: an array has another shape or holds what is no length, a tip lies at its entry, or a path is
            longer than the shaft.
    """

    entry_mm: FloatArray
    tip_mm: FloatArray
    radius_mm: FloatArray
    usable_length_mm: FloatArray
    active_length_mm: FloatArray
    pull_back_mm: FloatArray

    def __post_init__(self) -> None:
        for name in ("entry_mm", "tip_mm"):
            values = read_only(getattr(self, name))
            object.__setattr__(self, name, values)
            if values.ndim != 2 or values.shape[1] != 3 or values.shape != np.shape(self.entry_mm):
                raise GeometryError(f"the {name} of needles must be an array (n, 3), not {values.shape}")
            if not np.isfinite(values).all():
                raise GeometryError(f"the {name} of needles must be finite, but row {_first(values)} is not")
        for name in ("radius_mm", "usable_length_mm", "active_length_mm", "pull_back_mm"):
            given = np.asarray(getattr(self, name), dtype=np.float64)
            if given.ndim and given.shape != (len(self),):
                raise GeometryError(f"the {name} of {len(self)} needles must be one number or {len(self)} of them")
            values = read_only(np.broadcast_to(given, len(self)))
            object.__setattr__(self, name, values)
            least = "above 0" if name in ("radius_mm", "usable_length_mm") else "0 or more"
            wrong = ~(np.isfinite(values) & ((values > 0.0) if least == "above 0" else (values >= 0.0)))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise GeometryError(f"the {name} of needle {row} must be {least}, not {values[row]:g}")
        depth = self.depth_mm
        if (depth < _SLACK_MM).any():
            raise GeometryError(f"needle {int(np.argmin(depth))} has its tip at its entry: it has no direction")
        if (depth > self.usable_length_mm + _SLACK_MM).any():
            row = int(np.argmax(depth - self.usable_length_mm))
            raise GeometryError(
                f"needle {row} goes {depth[row]:.1f} mm deep, but its shaft is only "
                f"{self.usable_length_mm[row]:g} mm long: choose a longer one or a nearer entry"
            )
        if (self.pull_back_mm > depth + _SLACK_MM).any():
            row = int(np.argmax(self.pull_back_mm - depth))
            raise GeometryError(
                f"needle {row} is {depth[row]:.1f} mm deep and cannot be drawn back by "
                f"{self.pull_back_mm[row]:g} mm"
            )

    def __len__(self) -> int:
        return len(self.entry_mm)

    @classmethod
    def of_insertions(
        cls, insertions: Sequence[Insertion], applicators: Applicator | Sequence[Applicator]
    ) -> "NeedleShapes":
        """The needles of a plan; they are drawn back from their deepest ablation to their shallowest.

        Raises:
            DeviceError: an insertion's applicator is not among those given.
        """
        devices = [applicator_of(insertion, applicators) for insertion in insertions]
        depths = [
            [float(np.linalg.norm(np.subtract(one.tip_mm, insertion.entry_mm))) for one in insertion.ablations]
            for insertion in insertions
        ]
        return cls(
            np.array([insertion.entry_mm for insertion in insertions]).reshape(-1, 3),
            np.array([insertion.tip_mm for insertion in insertions]).reshape(-1, 3),
            np.array([device.radius_mm for device in devices]),
            np.array([device.usable_length_mm for device in devices]),
            np.array([device.active_length_mm for device in devices]),
            np.array(
                [
                    max(0.0, one.depth_mm - min(own, default=one.depth_mm))
                    for one, own in zip(insertions, depths, strict=True)
                ]
            ),
        )

    @property
    def depth_mm(self) -> FloatArray:
        """(n,) length from entry to tip."""
        return np.asarray(np.linalg.norm(self.tip_mm - self.entry_mm, axis=1))

    @property
    def direction(self) -> FloatArray:
        """(n, 3) unit vectors from entry to tip."""
        return np.asarray((self.tip_mm - self.entry_mm) / self.depth_mm[:, None])

    def active_parts(self) -> FloatArray:
        """(n, 12) axes along which energy is delivered, over all tips on the way back, as rows of ``capsules``."""
        back = self.active_length_mm + self.pull_back_mm
        return capsules(self.tip_mm, self.tip_mm - back[:, None] * self.direction, np.zeros(len(self)))

    def standing(self, limits: PairLimits, drawn_back_mm: ArrayLike = 0.0) -> FloatArray:
        """(n, 3, 12) the needles as they stand, over all places from the deepest to the most drawn back.

        Args:
            limits: handle.
            drawn_back_mm: (n,) or one for all, how far they are drawn back at most, up to their depth.
        """
        return self._parts(limits, np.broadcast_to(np.asarray(drawn_back_mm, dtype=np.float64), len(self)))

    def drawn_back(self, back_mm: float) -> "NeedleShapes":
        """The needles with their tips so much nearer to the entry, or at most to 1 mm from it."""
        depth = np.maximum(self.depth_mm - back_mm, np.minimum(self.depth_mm, 1.0))
        return NeedleShapes(
            self.entry_mm,
            self.entry_mm + depth[:, None] * self.direction,
            self.radius_mm,
            self.usable_length_mm,
            self.active_length_mm,
            np.zeros(len(self)),
        )

    def placing(self, limits: PairLimits) -> FloatArray:
        """(n, 4, 12) all that needle, handle and guide pass while the needle is placed.

        The needle starts with its tip at the entry, or where a guide carries it at the guide's near end, and comes
        along its axis by the approach before that.
        """
        start = limits.guide_approach_mm
        if limits.guide_radius_mm is not None:
            start += limits.guide_standoff_mm
        parts = self._parts(limits, self.depth_mm + start)
        radius = -np.inf if limits.guide_radius_mm is None else limits.guide_radius_mm
        near = self.entry_mm - limits.guide_standoff_mm * self.direction
        far = near - (limits.guide_length_mm + limits.guide_approach_mm) * self.direction
        guide = capsules(near, far, np.full(len(self), radius))
        return np.ascontiguousarray(np.concatenate([parts, guide[:, None]], axis=1))

    def _parts(self, limits: PairLimits, back_mm: FloatArray) -> FloatArray:
        """Shaft inside, shaft outside and handle over the last ``back_mm`` (n,) of their way."""
        direction, entry = self.direction, self.entry_mm
        hub = (self.usable_length_mm - self.depth_mm)[:, None]
        back = back_mm[:, None]
        shaft_end = entry - (hub + back) * direction
        radius = -np.inf if limits.handle_radius_mm is None else limits.handle_radius_mm
        return np.ascontiguousarray(
            np.stack(
                [
                    capsules(entry, self.tip_mm, self.radius_mm),
                    capsules(entry, shaft_end, self.radius_mm),
                    capsules(
                        entry - hub * direction,
                        shaft_end - limits.handle_length_mm * direction,
                        np.full(len(self), radius),
                    ),
                ],
                axis=1,
            )
        )


def _first(values: FloatArray) -> int:
    return int(np.argmax(~np.isfinite(values).all(axis=1)))


def applicator_of(insertion: Insertion, applicators: Applicator | Sequence[Applicator]) -> Applicator:
    """The applicator of an insertion among those given; raises DeviceError with the names there are."""
    known = [applicators] if isinstance(applicators, Applicator) else list(applicators)
    for applicator in known:
        if applicator.name == insertion.applicator:
            return applicator
    names = ", ".join(applicator.name for applicator in known)
    raise DeviceError(f"nothing is said of the applicator {insertion.applicator!r}: {names} are known")


def capsules(start_mm: FloatArray, end_mm: FloatArray, radius_mm: FloatArray) -> FloatArray:
    """(n, 12) rows for the kernels: ends, radius (minus infinity where there is none), middle, half length, 0."""
    half = 0.5 * np.linalg.norm(end_mm - start_mm, axis=1)
    rest = (radius_mm[:, None], 0.5 * (start_mm + end_mm), half[:, None], np.zeros((len(half), 1)))
    return np.concatenate([start_mm, end_mm, *rest], axis=1, dtype=np.float64)


# The kernels read capsules as one flat array of which each takes 12 places: rows cut out of larger arrays are
# counted as users of them, which takes longer than to measure a distance.


@compiled
def axis_distance_mm(one: Any, i: int, other: Any, j: int) -> float:
    """Exact distance of two axes, capsule ``i`` of a flat array and ``j`` of another."""
    k = 12 * i
    x, y, z = one[k], one[k + 1], one[k + 2]
    square = segment_segment(x, y, z, one[k + 3] - x, one[k + 4] - y, one[k + 5] - z, other, 4 * j, 4 * j + 1)
    return float(np.sqrt(square))


@compiled
def far_apart(one: Any, i: int, other: Any, j: int, need_mm: float) -> bool:
    """True where balls about two axes already lie ``need_mm`` or more apart."""
    k, m = 12 * i + 7, 12 * j + 7
    x, y, z = one[k] - other[m], one[k + 1] - other[m + 1], one[k + 2] - other[m + 2]
    reach = one[k + 3] + other[m + 3] + need_mm
    return bool(x * x + y * y + z * z >= reach * reach)


@compiled
def least_gap_mm(
    one: Any, i: int, parts: int, other: Any, j: int, others: int, inside_mm: float, outside_mm: float,
    enough_mm: float,
) -> tuple[float, int, int]:  # fmt: skip
    """How much two needles keep beyond what is demanded, and which parts of them are nearest.

    Minus the missing distance where they come too near. Pairs of parts that are seen to keep ``enough_mm`` are not
    measured: where nothing comes nearer, that is what is returned, with -1 for the parts.

    Args:
        one: flat capsules, ``parts`` a needle; needle ``i`` is meant.
        other: flat capsules, ``others`` a needle; needle ``j`` is meant.
        inside_mm: demanded of the surfaces of both shafts inside the body, the first part of each needle.
        outside_mm: demanded of all other pairs of parts.
    """
    gap, nearest, facing = enough_mm, -1, -1
    for a in range(parts):
        for b in range(others):
            p, q = parts * i + a, others * j + b
            need = one[12 * p + 6] + other[12 * q + 6] + (inside_mm if a == 0 and b == 0 else outside_mm)
            # A part that is not there has a radius of minus infinity.
            if need == -np.inf or (gap < np.inf and need + gap >= 0.0 and far_apart(one, p, other, q, need + gap)):
                continue
            found = axis_distance_mm(one, p, other, q) - need
            if found < gap:
                gap, nearest, facing = found, a, b
    return gap, nearest, facing
