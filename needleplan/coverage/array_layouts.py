"""Arrangements of parallel electrodes for pulses that keep the vendor's rules."""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from needleplan.ablation.pulse_rules import ElectrodePair, PlacedElectrode, PulseProtocol
from needleplan.devices.applicator_physics import PulseElectrode
from needleplan.errors import OptionError, PhysicsError
from needleplan.frames import FloatArray

#: Electrodes of one array at most: generators for deep tumours have six outputs.
MOST_ELECTRODES = 6
#: Arrangements are drawn with their shortest distance as 1; each is its own mirror image across the x axis.
_ROW = math.sqrt(0.75)
_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "pair": ((-0.5, 0.0), (0.5, 0.0)),
    "triangle": ((2.0 / 3.0 * _ROW, 0.0), (-_ROW / 3.0, 0.5), (-_ROW / 3.0, -0.5)),
    "square": ((0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5)),
    "trapezoid": (
        (0.6 * _ROW, 0.5), (0.6 * _ROW, -0.5), (-0.4 * _ROW, 0.0), (-0.4 * _ROW, 1.0), (-0.4 * _ROW, -1.0),
    ),
    "rectangle": ((0.0, 0.5), (0.0, -0.5), (1.0, 0.5), (1.0, -0.5), (-1.0, 0.5), (-1.0, -0.5)),
    "pentagon with a centre": (
        (0.0, 0.0), *((math.cos(0.4 * math.pi * k), math.sin(0.4 * math.pi * k)) for k in range(5)),
    ),
}  # fmt: skip
#: Turns about the common direction after which an arrangement comes back to itself.
_ORDERS = {"pair": 2, "triangle": 3, "square": 4, "trapezoid": 1, "rectangle": 2, "pentagon with a centre": 5}


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Where the electrodes of an array stand, in the plane across them.

    Attributes:
        name: of the arrangement.
        spacing_mm: shortest distance of two axes.
        places_mm: place (x, y) of each about their middle; mirrored across the x axis they are the same places.
        order: turns by 360 degrees / order give the same places.
    """

    name: str
    spacing_mm: float
    places_mm: tuple[tuple[float, float], ...]
    order: int

    @property
    def count(self) -> int:
        """Number of electrodes."""
        return len(self.places_mm)

    @property
    def points_mm(self) -> FloatArray:
        """(m, 2) the places."""
        return np.array(self.places_mm)

    @property
    def radius_mm(self) -> float:
        """Distance of the farthest electrode from the middle."""
        return float(np.linalg.norm(self.points_mm, axis=1).max())

    def rolls(self, step_deg: float) -> FloatArray:
        """(r,) angles in radians about the common direction, no farther apart than a step, each another array."""
        whole = 2.0 * math.pi / self.order
        count = math.ceil(whole / math.radians(step_deg) - 1e-9)
        return np.arange(count) * whole / count

    def pairs(self, electrode: PulseElectrode) -> tuple[ElectrodePair, ...]:
        """All pairs of the electrodes, level and parallel to the z axis, tips at z = 0."""
        placed = [
            PlacedElectrode(electrode, np.array([x, y, -4.0 * electrode.exposure_mm]), np.array([x, y, 0.0]))
            for x, y in self.places_mm
        ]
        return tuple(ElectrodePair(first, second) for first, second in combinations(placed, 2))

    def findings(self, electrode: PulseElectrode, protocol: PulseProtocol) -> tuple[str, ...]:
        """The vendor's rules that the array breaks, a sentence each; empty where it keeps them all.

        Pairs farther apart than allowed stand together and are given no pulses, as across a square; every electrode
        needs a partner that is.
        """
        try:
            pairs = self.pairs(electrode)
        except PhysicsError as error:
            return (str(error),)
        pulsed = [pair for pair in pairs if pair.may_be_pulsed]
        found = dict.fromkeys(finding for pair in pulsed for finding in pair.findings(protocol))
        busy = {tuple(one.tip_mm[:2].tolist()) for pair in pulsed for one in (pair.first, pair.second)}
        if len(busy) < self.count:
            found[
                f"{self.count - len(busy)} of {self.count} electrodes have no partner within the "
                f"{electrode.greatest_spacing_mm:g} mm that the vendor allows"
            ] = None
        return tuple(found)


def array_layout(name: str, spacing_mm: float) -> ArrayLayout:
    """An arrangement of a given shortest distance.

    Raises:
        OptionError: there is no arrangement of that name, or the distance is not above zero.
    """
    if name not in _SHAPES:
        raise OptionError(f"{name!r} is no arrangement of electrodes: choose of {', '.join(_SHAPES)}")
    if not (math.isfinite(spacing_mm) and spacing_mm > 0.0):
        raise OptionError(f"the distance of electrodes must be above zero, not {spacing_mm:g} mm")
    places = tuple((spacing_mm * x, spacing_mm * y) for x, y in _SHAPES[name])
    return ArrayLayout(name, float(spacing_mm), places, _ORDERS[name])


def array_layouts(
    electrode: PulseElectrode, protocol: PulseProtocol, spacing_count: int, most: int = MOST_ELECTRODES
) -> tuple[ArrayLayout, ...]:
    """Every arrangement that keeps the vendor's rules, those of fewest electrodes first.

    Args:
        electrode: the electrode with its vendor's rules.
        protocol: the pulses.
        spacing_count: shortest distances tried, evenly from the least to the greatest that the vendor allows, and
            no farther than the generator's voltage reaches.
        most: electrodes at most.
    """
    reach_mm = 10.0 * electrode.maximum_voltage_v / protocol.voltage_to_distance_v_cm
    greatest = min(electrode.greatest_spacing_mm, reach_mm)
    if greatest < electrode.least_spacing_mm:
        return ()
    spacings = np.linspace(electrode.least_spacing_mm, greatest, spacing_count).tolist()
    found = []
    for name, shape in _SHAPES.items():
        if len(shape) > most:
            continue
        for spacing in spacings:
            layout = array_layout(name, spacing)
            if not layout.findings(electrode, protocol):
                found.append(layout)
    return tuple(found)


def lengthened(electrode: PulseElectrode, exposure_mm: float) -> PulseElectrode:
    """An electrode with another bare length, as one that is drawn back along its path has in effect."""
    return replace(electrode, exposure_mm=exposure_mm)
