"""Irreversible electroporation and electrochemotherapy: the field of pairs of electrodes in tissue that opens.

    div(sigma(|E|) grad V) = 0

As cells open the conductivity rises with the field (a smooth step between two field strengths; Sel et al., IEEE
TBME 2005;52:816; Corovic et al., Biomed Eng Online 2013;12:16), and the field spreads. Every pair of electrodes is
pulsed in turn at U/d times its distance. Tissue counts as treated where the strongest field of any pair reaches a
threshold that was found with the same model of conductivity: one found with a constant conductivity is 100 V/cm
lower and must never be used here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import cut_zones, filled_from_beside
from needleplan.ablation.needle_contact import NeedlePart, needle_cells
from needleplan.ablation.pulse_rules import (
    PlacedElectrode,
    PulseProtocol,
    electrode_pairs,
    placed_electrodes,
)
from needleplan.ablation.schedule import placement_notes
from needleplan.ablation.solver_domain import SolverDomain, solver_domain
from needleplan.ablation.tissue_map import LEAST_VESSEL_DIAMETER_MM, TissueMap, homogeneous
from needleplan.devices.thresholds import FieldThreshold, field_threshold
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.grid import ScalarField
from needleplan.plan import Insertion, vector3

#: Share of the new conductivity taken over in each pass, and passes at most.
_RELAXATION, _MOST_PASSES = 0.35, 60
#: Passes end when no voxel's field near the threshold changes by more than this share of it.
_SETTLED = 5e-3
#: Half the width in voxels of a shaft that is thinner than the grid.
_SHAFT_VOXELS = 0.72
#: From body temperature to boiling.
_BOILING_RISE_K = 63.0
#: Tolerances of the potential in the first passes and at the end.
_LOOSE, _TIGHT = 1e-3, 1e-4


@dataclass(frozen=True, slots=True)
class PulseOptions:
    """How the field is computed.

    Attributes:
        spacing_mm: side of the voxels.
        reach_mm: room about the bare parts of the electrodes.
        least_vessel_diameter_mm: wider vessels have the conductivity of blood vessels.
    """

    spacing_mm: float = 1.0
    reach_mm: float = 25.0
    least_vessel_diameter_mm: float = LEAST_VESSEL_DIAMETER_MM

    def __post_init__(self) -> None:
        for name in ("spacing_mm", "reach_mm", "least_vessel_diameter_mm"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise PhysicsError(f"{name} must be positive, but is {getattr(self, name):g}")


class ElectroporationModel(ZoneModel):
    """Zones of pulsed electrodes with a conductivity that rises with the field.

    Args:
        options: how the field is computed.
        protocol: pulses of every pair.
        modality: ``IRE`` (irreversible) or ``ECT`` (the drug or calcium enters through reversible pores).
        tissue: name of the tissue where no map is given; its threshold holds for the zone.
        threshold_v_cm: another threshold than the table's, found with a conductivity that rises with the field.
    """

    def __init__(
        self,
        options: PulseOptions | None = None,
        protocol: PulseProtocol | None = None,
        modality: str = "IRE",
        tissue: str = "liver",
        threshold_v_cm: float | None = None,
    ) -> None:
        self.options = options or PulseOptions()
        self.protocol = protocol or PulseProtocol()
        self.modality = modality
        self.tissue = builtin_tissues().tissue(tissue)
        self.threshold: FieldThreshold = field_threshold(modality, tissue, "field_dependent")
        self.threshold_v_cm = self.threshold.field_v_cm if threshold_v_cm is None else threshold_v_cm
        if not (np.isfinite(self.threshold_v_cm) and self.threshold_v_cm > 0):
            raise DeviceError(f"the field threshold must be above 0 V/cm, but is {self.threshold_v_cm:g}")

    @property
    def name(self) -> str:
        """See ZoneModel."""
        return (
            f"{self.modality} field, conductivity rising with it ({self.protocol.voltage_to_distance_v_cm:g} V/cm, "
            f"{self.threshold_v_cm:g} V/cm, {self.options.spacing_mm:g} mm, {self.tissue.name})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            f"The zone is where the strongest field of any pair reaches {self.threshold_v_cm:g} V/cm; the number "
            "of pulses does not enter the threshold, and needles that are not of the pair are taken as tissue.",
            "The conductivity does not follow the temperature; the rise of temperature is the adiabatic one of all "
            f"pairs together. Where no tissue map is given the tissue is endless {self.tissue.name}.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel."""
        rounds = placed_electrodes(insertions)
        criterion = f"field of {self.threshold_v_cm:g} V/cm or more ({self.modality}, {self.threshold.name})"
        if not rounds:
            return nothing(criterion)
        pairs = [pair for electrodes in rounds for pair in electrode_pairs(electrodes)]
        pulsed = [pair for pair in pairs if pair.may_be_pulsed]
        if not pulsed:
            raise PhysicsError(
                "no two electrodes stand near enough to be pulsed: the least distance is "
                f"{min(pair.spacing_mm for pair in pairs):.1f} mm"
            )
        notes = list(dict.fromkeys(finding for pair in pulsed for finding in pair.findings(self.protocol)))
        if len(pulsed) < len(pairs):
            notes.append(f"{len(pairs) - len(pulsed)} pairs stand too far apart and are not pulsed.")
        around = tissue or homogeneous(self.tissue)
        parts = {id(one): _part(one) for electrodes in rounds for one in electrodes}
        domain = solver_domain(
            list(parts.values()),
            around,
            self.options.spacing_mm,
            self.options.reach_mm,
            self.options.least_vessel_diameter_mm,
        )
        electric = PulseTissues(domain)
        notes += domain.notes
        notes += placement_notes(
            insertions, {one.physics.name: one.physics.exposure_mm for electrodes in rounds for one in electrodes}
        )
        middles = np.array([np.add(part.start_mm, part.end_mm) for part in parts.values()]) / 2.0
        about = sorted({domain.at(middle[None]).name for middle in middles} - {self.tissue.name})
        if about:
            notes.append(
                f"The threshold is that of {self.tissue.name}, but electrodes stand in {', '.join(about)}: "
                "state the tissue of the model, or a threshold."
            )
        strongest = np.zeros(domain.grid.shape, dtype=np.float32)
        rise = np.zeros(domain.grid.shape)
        metal = np.zeros(domain.grid.shape, dtype=np.bool_)
        quantities = []
        greatest_current = 0.0
        for number, pair in enumerate(pulsed, start=1):
            solved = pair_field(
                domain,
                electric,
                [parts[id(pair.first)], parts[id(pair.second)]],
                pair.voltage_v(self.protocol),
                self.protocol,
                self.threshold_v_cm,
            )
            strongest = np.maximum(strongest, solved.field_v_cm)
            rise += solved.rise_k
            metal |= solved.metal
            limit = min(pair.first.physics.maximum_current_a, pair.second.physics.maximum_current_a)
            if solved.current_a > limit:
                notes.append(
                    f"pair {number} would draw {solved.current_a:.1f} A, more than the generator's {limit:g} A"
                )
            greatest_current = max(greatest_current, solved.current_a)
            quantities.append(Quantity(f"voltage of pair {number}", pair.voltage_v(self.protocol), "V"))
            quantities.append(Quantity(f"current of pair {number}", solved.current_a, "A"))
        # The insulated shafts are no tissue either: the field in them would cut notches into the zone.
        for electrode in (one for electrodes in rounds for one in electrodes):
            metal |= _shaft_cells(domain, electrode)
        if float(rise[~metal].max()) > _BOILING_RISE_K:
            notes.append(
                "Beside the electrodes the adiabatic rise passes boiling: there it is that of a voxel, "
                "depends on the grid, and says no more than that tissue is heated."
            )
        field = ScalarField(domain.grid, filled_from_beside(strongest, metal))
        zone = FieldZone.at_least(field, self.threshold_v_cm)
        zone.require_inside_grid()
        others = {}
        for low_high in (self.threshold.low_v_cm, self.threshold.high_v_cm):
            if low_high is not None:
                others[f"field of {low_high:g} V/cm or more"] = FieldZone.at_least(field, low_high)
        notes += cut_zones(others)
        return ZonePrediction(
            zone,
            criterion,
            {"field_v_cm": field, "adiabatic_rise_k": ScalarField(domain.grid, rise.astype(np.float32))},
            others,
            (
                Quantity("volume", zone.volume_ml, "ml"),
                *quantities,
                Quantity("greatest current", greatest_current, "A"),
                Quantity("greatest adiabatic rise of temperature", float(rise[~metal].max()), "K"),
                Quantity(
                    "tissue warmed by more than 13 K",
                    float((rise[~metal] > 13.0).sum()) * (1e-3 * domain.spacing_mm**3),
                    "ml",
                ),
            ),
            tuple(notes),
        )


def pair_field(
    domain: SolverDomain,
    electric: "PulseTissues",
    parts: Sequence[NeedlePart],
    voltage_v: float,
    protocol: PulseProtocol,
    threshold_v_cm: float,
) -> "PairField":
    """Field of one pair in tissue whose conductivity rises with it.

    Args:
        domain: voxels about the pair.
        electric: properties of their tissues.
        parts: the bare parts of both electrodes.
        voltage_v: between them.
        protocol: pulses, for the heating.
        threshold_v_cm: the passes end when the field near it has settled.

    Raises:
        PhysicsError: the conductivity and the field do not settle.
    """
    cells = needle_cells(domain.grid, parts)
    solver = DiffusionSolver(
        domain.grid.shape, domain.spacing_mm, walls="insulated", held=cells.held, contact=cells.contact
    )
    values = np.where(cells.part == 0, 0.5 * voltage_v, -0.5 * voltage_v)
    sigma = electric.rest.copy()
    metal = np.zeros(domain.grid.shape, dtype=np.bool_)
    metal[tuple(cells.held.T)] = True
    before = np.zeros(domain.grid.shape, dtype=np.float32)
    tolerance = _LOOSE
    for _ in range(_MOST_PASSES):
        solver.set_coefficients(sigma)
        solver.solve(values, tolerance=tolerance)
        field_v_cm = np.float32(0.01) * solver.field_per_m()
        near = (field_v_cm > 0.5 * threshold_v_cm) & (field_v_cm < 2.0 * threshold_v_cm)
        change = float(np.abs(field_v_cm - before)[near].max(initial=0.0)) / threshold_v_cm
        if change < _SETTLED and tolerance <= _TIGHT:
            heat = solver.heat_w_m3().astype(np.float64)
            rise = heat * protocol.energised_s / electric.heat_j_m3_k
            return PairField(field_v_cm, rise, solver.current(cells.part == 0), metal)
        if change < 10.0 * _SETTLED:
            tolerance = _TIGHT
        before = field_v_cm
        opened = electric.conductivity_s_m(field_v_cm)
        sigma = (sigma + _RELAXATION * (opened - sigma)).astype(np.float32)
    raise PhysicsError("the conductivity does not settle with the field: the grid is too coarse for the pair")


@dataclass(frozen=True, slots=True, eq=False)
class PairField:
    """What a pair does: its field, the adiabatic rise of temperature by all its pulses, the current, its metal."""

    field_v_cm: NDArray[np.float32]
    rise_k: NDArray[np.float64]
    current_a: float
    metal: NDArray[np.bool_]


class PulseTissues:
    """Electric properties for pulses at every voxel of a domain."""

    def __init__(self, domain: SolverDomain) -> None:
        tissues = list(domain.tissues)
        index = domain.tissue
        if domain.vessels.any():
            index = np.where(domain.vessels, len(tissues), index)
            tissues.append(builtin_tissues().tissue("blood"))
        self.rest = np.array([one.known("pulse_conductivity_s_m") for one in tissues], np.float32)[index]
        self._open = np.array([one.known("porated_conductivity_s_m") for one in tissues], np.float32)[index]
        self._start = np.array([one.known("poration_start_v_cm") for one in tissues], np.float32)[index]
        self._end = np.array([one.known("poration_end_v_cm") for one in tissues], np.float32)[index]
        self.heat_j_m3_k = np.array([one.volumetric_heat_j_m3_k for one in tissues])[index]

    def conductivity_s_m(self, field_v_cm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Conductivity in a field: a cubic step 3 x^2 - 2 x^3 from the one at rest to that of opened tissue."""
        x = np.clip((field_v_cm - self._start) / (self._end - self._start), 0.0, 1.0)
        return np.asarray(self.rest + (self._open - self.rest) * x * x * (3.0 - 2.0 * x), dtype=np.float32)


def _shaft_cells(domain: SolverDomain, electrode: PlacedElectrode) -> NDArray[np.bool_]:
    """Voxels that the shaft behind the bare length passes through."""
    shaft = NeedlePart(vector3(electrode.entry_mm), vector3(electrode.exposure_start_mm), electrode.radius_mm)
    reach_mm = max(electrode.radius_mm, _SHAFT_VOXELS * domain.spacing_mm)
    return (shaft.distance_mm(domain.grid.centres_mm()) < reach_mm).reshape(domain.grid.shape)


def _part(electrode: PlacedElectrode) -> NeedlePart:
    return NeedlePart(vector3(electrode.exposure_start_mm), vector3(electrode.tip_mm), electrode.radius_mm)
