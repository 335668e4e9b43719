"""Zones of electric pulses in closed form: the Cassini oval of every pair of needles, rounded off at its ends."""

import math
from collections.abc import Sequence

import numpy as np

from needleplan.ablation.closed_forms.needle_pair import NeedlePair
from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.pulse_rules import ElectrodePair, PulseProtocol, electrode_pairs, placed_electrodes
from needleplan.ablation.tissue_map import TissueMap
from needleplan.devices.applicator_physics import ApplicatorPhysicsTable, builtin_applicator_physics
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.devices.thresholds import field_threshold
from needleplan.errors import DeviceError, PhysicsError
from needleplan.frames import FloatArray, unit_vector
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Insertion

#: How much faster the field falls beyond the ends of the bare lengths than beside the needles. Fitted to the three
#: zones of a field solver with sigma(E) at 20 mm exposure (15 mm 2250 V, 15 mm 3000 V, 20 mm 3000 V), which reach
#: 5, 6 and 6 mm beyond each end; this gives 5.0, 6.3 and 6.2 mm.
END_STEEPNESS = 1.65
#: Share of the narrowest half-width that a voxel may have, and the most that it has.
_STEP_SHARE = 0.2
_LARGEST_STEP_MM = 0.8
#: Voxels at most; an arrangement that needs more is sampled more coarsely.
_MOST_VOXELS = 1.5e6


class CassiniModel(ZoneModel):
    """Irreversible electroporation and electrochemotherapy by the field of endless needle pairs.

    Between endless parallel needles in tissue of constant conductivity the field is E = V c / (D r1 r2) with
    D = arcosh(d / 2a) and c = sqrt((d/2)² - a²) (bicircular coordinates), so that {E >= E_th} is the Cassini oval
    r1 r2 <= b², b² = V c / (E_th D). Here r1 and r2 become sqrt(r² + (s e)²), where e is the distance along the
    needle beyond its bare length and s is ``END_STEEPNESS``: the exact oval wherever both needles are bare, closed
    smoothly beyond. Pairs are pulsed one after the other: the zone of all is their union, the greatest field.

    The threshold must be one for constant conductivity (liver: 400 V/cm). Published thresholds found with
    sigma(E) are higher (liver: 500 V/cm) and would make the zone too small here.

    Args:
        protocol: the pulses.
        threshold_v_cm: field that treats the tissue; None takes the table's for modality and tissue.
        default_tissue: name of the tissue where none is given.
        table: the electrodes; the built-in ones by default.
    """

    def __init__(
        self,
        protocol: PulseProtocol | None = None,
        threshold_v_cm: float | None = None,
        default_tissue: str = "liver",
        table: ApplicatorPhysicsTable | None = None,
    ) -> None:
        if threshold_v_cm is not None and not (math.isfinite(threshold_v_cm) and threshold_v_cm > 0.0):
            raise DeviceError(f"the threshold of the field must be a positive number, not {threshold_v_cm:g} V/cm")
        self.protocol = protocol or PulseProtocol()
        self.threshold_v_cm = threshold_v_cm
        self.default_tissue = default_tissue
        self._table = table or builtin_applicator_physics()

    @property
    def name(self) -> str:
        """See ZoneModel."""
        threshold = "" if self.threshold_v_cm is None else f", {self.threshold_v_cm:g} V/cm"
        return f"Cassini ovals ({self.protocol.voltage_to_distance_v_cm:g} V/cm over distance{threshold})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "Zones of electric pulses are Cassini ovals of endless parallel needles in one tissue of constant "
            "conductivity, closed at their ends by a fit to a field solver; vessels, other tissues and the rise of "
            "the conductivity by the pulses are not modelled.",
            f"Where no tissue is given it is endless {self.default_tissue}.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel; of the tissue only the background is asked, for its threshold."""
        rounds = placed_electrodes(insertions, self._table)
        name = self.default_tissue if tissue is None else tissue.background.name
        threshold, criterion = self._threshold(insertions, name)
        pairs = [pair for electrodes in rounds for pair in electrode_pairs(electrodes)]
        if not pairs:
            return nothing(criterion)
        pulsed = [pair for pair in pairs if pair.may_be_pulsed]
        if not pulsed:
            raise PhysicsError(f"no pair of electrodes can be pulsed: {pairs[0].findings(self.protocol)[0]}")
        for pair in pulsed:
            allowed = min(one.physics.greatest_angle_deg for one in (pair.first, pair.second))
            if pair.angle_deg > allowed * (1.0 + 1e-9):
                raise PhysicsError(
                    f"two electrodes stand at {pair.angle_deg:.1f} degrees to each other: Cassini ovals hold for "
                    f"parallel needles, up to {allowed:g} degrees"
                )
        notes = [] if tissue is None or not tissue.vessels + tissue.regions else [
            f"Only the background tissue, {name}, was used: the closed form knows no others and no vessels."
        ]  # fmt: skip
        notes += dict.fromkeys(
            f"A pair was pulsed against the vendor's rules: {finding}."
            for pair in pulsed
            for finding in pair.findings(self.protocol)
        )
        if len(pulsed) < len(pairs):
            notes.append(f"{len(pairs) - len(pulsed)} of {len(pairs)} pairs are too far apart and were not pulsed.")
        level, field_v_cm = self._sampled(pulsed, threshold)
        zone = FieldZone(level)
        zone.require_inside_grid()
        if zone.is_empty:
            notes.append(f"The field reaches {threshold:g} V/cm nowhere.")
        greatest = max(pair.voltage_v(self.protocol) for pair in pulsed)
        return ZonePrediction(
            zone,
            criterion,
            {"field_v_cm": field_v_cm},
            quantities=(
                Quantity("pulsed pairs", len(pulsed), "1"),
                Quantity("greatest voltage", greatest, "V"),
                Quantity("field threshold", threshold, "V/cm"),
            ),
            notes=tuple(notes),
        )

    def _threshold(self, insertions: Sequence[Insertion], tissue: str) -> tuple[float, str]:
        """Threshold in V/cm and the criterion in words."""
        modalities = sorted({builtin_catalogue().applicator(one.applicator).modality for one in insertions})
        if len(modalities) > 1:
            raise PhysicsError(f"needles of {' and '.join(modalities)} cannot be pulsed in pairs")
        if self.threshold_v_cm is not None:
            return self.threshold_v_cm, f"field of {self.threshold_v_cm:g} V/cm or more, as asked"
        row = field_threshold(modalities[0] if modalities else "IRE", tissue, "constant")
        return row.field_v_cm, f"field of {row.field_v_cm:g} V/cm or more ({row.name}, constant conductivity)"

    def _sampled(self, pairs: Sequence[ElectrodePair], threshold_v_cm: float) -> tuple[ScalarField, ScalarField]:
        """1 - E_th / E, which is smooth up to the needles, and the field itself in V/cm."""
        shapes = [_pair_constants(pair, self.protocol, threshold_v_cm) for pair in pairs]
        grid = _grid_about(pairs, shapes)
        points = grid.centres_mm()
        level = np.full(len(points), -np.inf)
        for pair, (constant_v, _) in zip(pairs, shapes, strict=True):
            np.maximum(level, 1.0 - _threshold_over_field(pair, constant_v, threshold_v_cm, points), out=level)
        # Within the metal there is no field: it is stated up to that at the surface of the needles.
        highest = max(_highest_field_v_cm(pair, self.protocol) for pair in pairs)
        with np.errstate(divide="ignore"):
            field = np.minimum(threshold_v_cm / (1.0 - level), highest)
        made = (values.reshape(grid.shape).astype(np.float32) for values in (level, field))
        return ScalarField(grid, next(made)), ScalarField(grid, next(made))


def _pair_constants(pair: ElectrodePair, protocol: PulseProtocol, threshold_v_cm: float) -> tuple[float, float]:
    """Voltage of the pair, and b (mm) of its oval in the middle."""
    voltage = pair.voltage_v(protocol)
    return voltage, math.sqrt(voltage * _shape_mm(pair, np.array([pair.spacing_mm]))[0] / (0.1 * threshold_v_cm))


def _shape_mm(pair: ElectrodePair, spacing_mm: FloatArray) -> FloatArray:
    """c / D of needles at distances (n,), which times voltage over field is r1 r2."""
    # Needles of unequal size count with the mean of their radii.
    radius = 0.5 * (pair.first.radius_mm + pair.second.radius_mm)
    # Where tilted axes would meet, far beyond the bare lengths, they stay apart by three radii.
    half = np.maximum(0.5 * spacing_mm, 1.5 * radius)
    return np.asarray(np.sqrt(half**2 - radius**2) / np.arccosh(half / radius))


def _highest_field_v_cm(pair: ElectrodePair, protocol: PulseProtocol) -> float:
    radius = 0.5e-3 * (pair.first.radius_mm + pair.second.radius_mm)
    needles = NeedlePair(1e-3 * pair.spacing_mm, radius, pair.voltage_v(protocol))
    return needles.greatest_field_v_m / 100.0


def _threshold_over_field(
    pair: ElectrodePair, voltage_v: float, threshold_v_cm: float, points: FloatArray
) -> FloatArray:
    """E_th / E of one pair at points (n, 3)."""
    axis, origin = pair.axis, pair.origin_mm
    station = (points - origin) @ axis
    places = []
    for electrode in (pair.first, pair.second):
        way = electrode.direction / float(electrode.direction @ axis)
        from_tip = station - float((electrode.tip_mm - origin) @ axis)
        places.append(electrode.tip_mm + from_tip[:, None] * way)
    between = places[1] - places[0]
    spacing = np.linalg.norm(between, axis=1)
    radius = 0.5 * (pair.first.radius_mm + pair.second.radius_mm)
    half = np.maximum(0.5 * spacing, 1.5 * radius)
    # The lines of charge lie a little nearer to each other than the axes.
    inward = (half - np.sqrt(half**2 - radius**2)) / np.maximum(spacing, 1e-9)
    product = np.ones(len(points))
    for place, sense, (low, high) in zip(places, (1.0, -1.0), pair.stations_mm, strict=True):
        across = points - (place + (sense * inward)[:, None] * between)
        beyond = np.maximum(np.maximum(low - station, station - high), 0.0)
        product *= np.einsum("ij,ij->i", across, across) + (END_STEEPNESS * beyond) ** 2
    return np.asarray(np.sqrt(product) * 0.1 * threshold_v_cm / (voltage_v * _shape_mm(pair, spacing)))


def _grid_about(pairs: Sequence[ElectrodePair], shapes: Sequence[tuple[float, float]]) -> Grid:
    """A grid along the first pair's needles that holds all zones, fine enough for the narrowest."""
    axis = pairs[0].axis
    # The grid turns with the needles, so that a zone does not depend on how the patient lies.
    between = pairs[0].axis_point_mm(pairs[0].second, 0.0) - pairs[0].axis_point_mm(pairs[0].first, 0.0)
    x = unit_vector(between - float(between @ axis) * axis)
    across = np.stack([x, np.cross(axis, x), axis], axis=1)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    step = _LARGEST_STEP_MM
    for pair, (_, reach) in zip(pairs, shapes, strict=True):
        # No point of an oval is farther from the nearer needle than b; tilted needles spread by their angle.
        room = reach * (1.0 + math.tan(math.radians(pair.angle_deg))) + 2.0
        ends = [end for one in (pair.first, pair.second) for end in (one.exposure_start_mm, one.tip_mm)]
        local = np.array(ends) @ across
        low, high = np.minimum(low, local.min(axis=0) - room), np.maximum(high, local.max(axis=0) + room)
        half_width = min(reach, reach**2 / pair.spacing_mm)
        step = min(step, _STEP_SHARE * half_width)
    step = max(step, float(np.cbrt(np.prod(high - low) / _MOST_VOXELS)))
    shape = tuple(int(n) + 2 for n in np.ceil((high - low) / step))
    matrix = np.eye(4)
    matrix[:3, :3] = across * step
    matrix[:3, 3] = across @ low
    return Grid(shape, matrix)  # type: ignore[arg-type]
