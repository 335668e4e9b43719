"""Needle electrodes for electric pulses: which pairs there are, and whether they keep the vendor's rules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, zip_longest

import numpy as np

from needleplan.ablation.needle_contact import least_distance_mm
from needleplan.ablation.schedule import check_times
from needleplan.devices.applicator_physics import (
    ApplicatorPhysicsTable,
    PulseElectrode,
    builtin_applicator_physics,
)
from needleplan.errors import DeviceError, PhysicsError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion

#: Slack of angles and lengths against the rules: a pair set exactly to a limit keeps it.
RULE_SLACK = 1e-6
#: Tips are level where no more than this of the bare length lacks its neighbour: axes that are not parallel shorten
#: the common length by a cosine, which is no offset.
LEVEL_TIPS_MM = 1.0
#: Axes at this angle or more are no pair, whatever the vendor's limit.
NO_PAIR_DEG = 45.0


@dataclass(frozen=True, slots=True)
class PulseProtocol:
    """The pulses that every pair of electrodes is given.

    Attributes:
        voltage_to_distance_v_cm: voltage of a pair over the distance of its axes, U/d. This is not the field in the
            tissue: midway between the needles that is about 0.54 to 0.67 of it.
        pulse_count: pulses of each pair.
        pulse_length_us: length of each pulse in microseconds.
    """

    voltage_to_distance_v_cm: float = 1500.0
    pulse_count: int = 90
    pulse_length_us: float = 90.0

    def __post_init__(self) -> None:
        for name in ("voltage_to_distance_v_cm", "pulse_count", "pulse_length_us"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value > 0.0):
                raise DeviceError(f"a pulse protocol needs a positive {name}, but it is {value:g}")
        if self.pulse_count != int(self.pulse_count):
            raise DeviceError(f"a pulse protocol needs a whole number of pulses, not {self.pulse_count:g}")

    @property
    def energised_s(self) -> float:
        """Time that the voltage of one pair is on, all pulses together."""
        return self.pulse_count * self.pulse_length_us * 1e-6


@dataclass(frozen=True, eq=False)
class PlacedElectrode:
    """A pulse electrode where it stands in the patient.

    Attributes:
        physics: what the table says of it.
        entry_mm: (3,) where its axis passes the entry surface.
        tip_mm: (3,) its tip during the pulses.
    """

    physics: PulseElectrode
    entry_mm: FloatArray
    tip_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_mm", read_only(self.entry_mm))
        object.__setattr__(self, "tip_mm", read_only(self.tip_mm))
        if not np.linalg.norm(self.tip_mm - self.entry_mm) > 0.0:
            raise PhysicsError(f"an electrode {self.physics.name} has its tip at its entry")

    @property
    def direction(self) -> FloatArray:
        """(3,) unit vector from entry to tip."""
        way = self.tip_mm - self.entry_mm
        return np.asarray(way / np.linalg.norm(way))

    @property
    def exposure_start_mm(self) -> FloatArray:
        """(3,) the end of the bare length that is nearer to the entry."""
        return self.tip_mm - self.physics.exposure_mm * self.direction

    @property
    def radius_mm(self) -> float:
        """Radius of the bare part."""
        return 0.5 * self.physics.diameter_mm


@dataclass(frozen=True, eq=False)
class ElectrodePair:
    """Two electrodes with a voltage between them.

    Lengths are taken along the mean of both axes, from the middle between the two tips.

    Attributes:
        first, second: the electrodes.

    Raises:
        PhysicsError: their shafts touch or cross, or no part of the bare lengths lies side by side.
    """

    first: PlacedElectrode
    second: PlacedElectrode

    def __post_init__(self) -> None:
        radii = self.first.radius_mm + self.second.radius_mm
        apart = least_distance_mm(self.first.entry_mm, self.first.tip_mm, self.second.entry_mm, self.second.tip_mm)
        if apart <= radii:
            raise PhysicsError(
                f"two electrodes touch or cross: their axes come within {apart:.2f} mm of each other, and their "
                f"radii sum to {radii:.2f} mm"
            )
        if self.angle_deg >= NO_PAIR_DEG:
            raise PhysicsError(f"two electrodes at {self.angle_deg:.0f} degrees are no pair: they must be parallel")
        if self.overlap_mm <= 0.0:
            raise PhysicsError(
                f"the bare lengths of two electrodes do not lie side by side: they miss each other by "
                f"{-self.overlap_mm:.1f} mm along the needles"
            )

    @cached_property
    def axis(self) -> FloatArray:
        """(3,) unit vector along both needles; electrodes from opposite sides are parallel as well."""
        way = self.first.direction + self._sense * self.second.direction
        return np.asarray(way / np.linalg.norm(way))

    @property
    def _sense(self) -> float:
        return 1.0 if float(self.first.direction @ self.second.direction) >= 0.0 else -1.0

    @property
    def angle_deg(self) -> float:
        """Angle between the axes, 0 to 90."""
        first, second = self.first.direction, self.second.direction
        across = float(np.linalg.norm(np.cross(first, second)))
        return math.degrees(math.atan2(across, abs(float(first @ second))))

    @cached_property
    def origin_mm(self) -> FloatArray:
        """(3,) the middle between the tips."""
        return np.asarray(0.5 * (self.first.tip_mm + self.second.tip_mm))

    @cached_property
    def stations_mm(self) -> FloatArray:
        """(2, 2) for each electrode the least and the greatest place of its bare length along ``axis``."""
        ends = [
            sorted(float((end - self.origin_mm) @ self.axis) for end in (one.exposure_start_mm, one.tip_mm))
            for one in (self.first, self.second)
        ]
        return np.array(ends)

    @property
    def overlap_mm(self) -> float:
        """Length on which both bare lengths lie side by side; negative where a gap parts them."""
        return float(self.stations_mm[:, 1].min() - self.stations_mm[:, 0].max())

    @property
    def spacing_mm(self) -> float:
        """Distance of the axes in the middle of that length."""
        middle = 0.5 * (self.stations_mm[:, 0].max() + self.stations_mm[:, 1].min())
        first, second = (self.axis_point_mm(one, middle) for one in (self.first, self.second))
        return float(np.linalg.norm(first - second))

    def axis_point_mm(self, electrode: PlacedElectrode, station_mm: float) -> FloatArray:
        """(3,) point of an electrode's axis at a place along ``axis``."""
        way = electrode.direction / float(electrode.direction @ self.axis)
        from_tip = station_mm - float((electrode.tip_mm - self.origin_mm) @ self.axis)
        return np.asarray(electrode.tip_mm + from_tip * way)

    def voltage_v(self, protocol: PulseProtocol) -> float:
        """Voltage of the pair: U/d times the distance, at most what the generator gives."""
        wanted = protocol.voltage_to_distance_v_cm * self.spacing_mm / 10.0
        return min(wanted, self.first.physics.maximum_voltage_v, self.second.physics.maximum_voltage_v)

    def findings(self, protocol: PulseProtocol) -> tuple[str, ...]:
        """The vendor's rules that the pair breaks, a sentence each; empty where it keeps them all."""
        physics = (self.first.physics, self.second.physics)
        least = max(one.least_spacing_mm for one in physics)
        greatest = min(one.greatest_spacing_mm for one in physics)
        found = []
        spacing = self.spacing_mm
        if not least - RULE_SLACK <= spacing <= greatest + RULE_SLACK:
            found.append(
                f"the electrodes are {spacing:.1f} mm apart, but the vendor asks for {least:g} to {greatest:g} mm"
            )
        allowed = min(one.greatest_angle_deg for one in physics)
        if self.angle_deg > allowed + RULE_SLACK:
            found.append(
                f"the electrodes stand at {self.angle_deg:.1f} degrees to each other, but the vendor allows "
                f"{allowed:g}"
            )
        exposures = sorted(one.exposure_mm for one in physics)
        if exposures[1] - exposures[0] > RULE_SLACK:
            found.append(
                f"the bare lengths differ: {exposures[0]:g} and {exposures[1]:g} mm, but those of a pair are equal"
            )
        offset = exposures[0] - self.overlap_mm
        if offset > LEVEL_TIPS_MM:
            found.append(
                f"the tips are not level: only {self.overlap_mm:.1f} of {exposures[0]:g} mm lie side by side"
            )
        wanted = protocol.voltage_to_distance_v_cm * spacing / 10.0
        if wanted > self.voltage_v(protocol) * (1.0 + RULE_SLACK):
            found.append(
                f"{protocol.voltage_to_distance_v_cm:g} V/cm over {spacing:.1f} mm would take {wanted:.0f} V, but "
                f"the generator gives {self.voltage_v(protocol):.0f} V"
            )
        return tuple(found)

    @property
    def may_be_pulsed(self) -> bool:
        """Whether the pair lies within the greatest distance; wider pairs, as across a square, are left out."""
        greatest = min(one.physics.greatest_spacing_mm for one in (self.first, self.second))
        return self.spacing_mm <= greatest + RULE_SLACK


def placed_electrodes(
    insertions: Sequence[Insertion], table: ApplicatorPhysicsTable | None = None
) -> tuple[tuple[PlacedElectrode, ...], ...]:
    """The electrodes of each round of pulses.

    The first ablations of all insertions are one round, pulsed in pairs; so are the second ones after all needles
    have been drawn back, and so on.

    Raises:
        DeviceError: an applicator gives no pulses, or an ablation states a power (the voltage follows from the
            protocol) or an impossible duration.
    """
    known = table or builtin_applicator_physics()
    check_times(insertions)
    placed = []
    for insertion in insertions:
        physics = known.applicator(insertion.applicator)
        if not isinstance(physics, PulseElectrode):
            raise DeviceError(f"the applicator {insertion.applicator} gives no electric pulses")
        for ablation in insertion.ablations:
            if ablation.power_w is not None:
                raise DeviceError(
                    f"applicator {insertion.applicator} takes no power: its voltage follows from the protocol"
                )
        entry = np.asarray(insertion.entry_mm)
        placed.append([PlacedElectrode(physics, entry, np.asarray(one.tip_mm)) for one in insertion.ablations])
    return tuple(tuple(one for one in turn if one is not None) for turn in zip_longest(*placed))


def electrode_pairs(electrodes: Sequence[PlacedElectrode]) -> tuple[ElectrodePair, ...]:
    """All pairs of the electrodes of one round.

    Raises:
        PhysicsError: there is only one electrode, or two of them touch, cross or do not lie side by side.
    """
    if len(electrodes) == 1:
        raise PhysicsError("electric pulses flow between electrodes: one alone destroys nothing, place two or more")
    return tuple(ElectrodePair(first, second) for first, second in combinations(electrodes, 2))
