"""Which deliveries of energy run together, and which follow one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from needleplan.ablation.heating import Delivery
from needleplan.ablation.needle_contact import NeedlePart
from needleplan.errors import DeviceError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, vector3

#: A single delivery longer than this is an error of units.
LONGEST_DELIVERY_S = 7200.0
#: A shorter one is no treatment, and less than the solvers' shortest look at it.
SHORTEST_DELIVERY_S = 0.1
#: How far a tip may lie off the line from entry to deepest tip.
_OFF_AXIS_MM = 0.1


@dataclass(frozen=True, slots=True)
class Firing:
    """One ablation of one insertion."""

    insertion: Insertion
    ablation: Ablation

    @property
    def direction(self) -> FloatArray:
        """(3,) unit vector from entry to tip."""
        return self.insertion.direction

    def part(self, length_mm: float, diameter_mm: float, from_tip_mm: float = 0.0) -> NeedlePart:
        """The straight part of the needle from ``from_tip_mm`` behind the tip over ``length_mm`` backwards."""
        tip = np.asarray(self.ablation.tip_mm)
        end = tip - from_tip_mm * self.direction
        start = vector3(end - length_mm * self.direction)
        return NeedlePart(start, vector3(end), 0.5 * diameter_mm, bare_end=from_tip_mm == 0.0)


def firings(insertions: Sequence[Insertion], delivery: Delivery) -> tuple[tuple[Firing, ...], ...]:
    """Groups of ablations that run at the same time, in the order of the punctures (``Insertion.order``)."""
    in_order = sorted(insertions, key=lambda insertion: insertion.order)
    each = [[Firing(insertion, ablation) for ablation in insertion.ablations] for insertion in in_order]
    if delivery is Delivery.SEQUENTIAL:
        return tuple((firing,) for row in each for firing in row)
    return tuple(tuple(one for one in column if one is not None) for column in zip_longest(*each))


def check_times(insertions: Sequence[Insertion]) -> None:
    """Raises DeviceError for a duration that is none."""
    for insertion in insertions:
        for ablation in insertion.ablations:
            if not SHORTEST_DELIVERY_S <= ablation.duration_s <= LONGEST_DELIVERY_S:
                raise DeviceError(
                    f"an ablation of {insertion.applicator} must last above 0 and up to {LONGEST_DELIVERY_S:g} s, "
                    f"and no less than {SHORTEST_DELIVERY_S:g} s, but lasts {ablation.duration_s:g} s"
                )
            _check_on_path(insertion, ablation)


def _check_on_path(insertion: Insertion, ablation: Ablation) -> None:
    """Raises PhysicsError where an ablation's tip does not lie on its needle's path."""
    if not np.isfinite(ablation.tip_mm).all():
        # The domain says that of all places.
        return
    offset = np.subtract(ablation.tip_mm, insertion.entry_mm)
    along = float(offset @ insertion.direction)
    across = float(np.linalg.norm(offset - along * insertion.direction))
    if across > _OFF_AXIS_MM or not 0.0 < along <= insertion.depth_mm + _OFF_AXIS_MM:
        raise PhysicsError(
            f"the tip of an ablation of {insertion.applicator} lies off its needle: it must lie on the line "
            f"from entry to deepest tip, but is {across:.1f} mm beside it and {along:.1f} of "
            f"{insertion.depth_mm:.1f} mm deep"
        )


def placement_notes(insertions: Sequence[Insertion], active_length_mm: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for every needle whose active part reaches back beyond its entry.

    Args:
        insertions: the needles.
        active_length_mm: length from the tip backwards that delivers energy, by applicator.
    """
    notes = []
    for insertion in insertions:
        length = active_length_mm[insertion.applicator]
        for ablation in insertion.ablations:
            depth = float(np.linalg.norm(np.subtract(ablation.tip_mm, insertion.entry_mm)))
            if depth < length:
                notes.append(
                    f"The active part of {insertion.applicator} ({length:g} mm) reaches out of the entry "
                    f"{depth:.1f} mm from its tip, where the model has tissue and the patient has none."
                )
    return tuple(dict.fromkeys(notes))


def check_alike(groups: Sequence[Sequence[Firing]]) -> None:
    """Raises DeviceError where needles on one generator are given different durations or powers at once."""
    for group in groups:
        if len({firing.ablation.duration_s for firing in group}) > 1:
            raise DeviceError("needles that work together on one generator must be given the same duration")
        if len({firing.ablation.power_w for firing in group}) > 1:
            raise DeviceError(
                "needles that work together on one generator must be given the same power, its own, or none"
            )


def checked_power_w(name: str, power_w: float | None, maximum_power_w: float | None) -> float:
    """The power; raises DeviceError where none is given, or one that the device cannot deliver."""
    if power_w is None:
        raise DeviceError(f"applicator {name} takes a power in watts")
    if not (np.isfinite(power_w) and power_w > 0):
        raise DeviceError(f"applicator {name} takes a power above 0 W, but got {power_w:g} W")
    if maximum_power_w is not None and power_w > maximum_power_w:
        raise DeviceError(
            f"applicator {name} delivers at most {maximum_power_w:g} W, but {power_w:g} W were asked for"
        )
    return power_w


def check_apart(parts: Sequence[NeedlePart]) -> None:
    """Raises PhysicsError where two needles that are in place together overlap."""
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            if a.gap_mm(b) < a.radius_mm + b.radius_mm:
                raise PhysicsError(
                    "two probes overlap: their axes must lie further apart than the sum of their radii"
                )
