"""A course of heating: sources in turn, vessels and coolant at work, damage gathered, a zone in the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.bioheat.solver import BioheatSolver
from needleplan.ablation.contract import Quantity, ZonePrediction
from needleplan.ablation.criteria import ColdestTemperatureCriterion, CriterionBand
from needleplan.ablation.dose import DamageCriterion
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.needle_contact import Contact, NeedleCells
from needleplan.ablation.solver_domain import SolverDomain, convective_contact, isothermal_contact
from needleplan.ablation.tissue_map import LEAST_VESSEL_DIAMETER_MM, TissueMap
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, ScalarField

#: What the solver follows in a freeze; the isotherm itself is laid through it afterwards.
_COLDEST = ColdestTemperatureCriterion(-40.0, 1)
#: Above this a voxel is dried tissue, whose temperature is an artefact.
_DRIED_C = 150.0
#: Zones of fewer voxels across than this are said to be badly resolved.
_COARSE_VOXELS = 5
#: Level of cells without any dose, in the units of a criterion's level (natural logarithms or kelvins).
_LEAST_LEVEL, _GREATEST_LEVEL = -40.0, 60.0
#: Change at the edge of the domain from which its wall is too near.
_EDGE_CHANGE_K = 3.0


class Delivery(StrEnum):
    """How the ablations of several insertions follow one another."""

    SEQUENTIAL = "sequential"  #: one after the other
    SIMULTANEOUS = "simultaneous"  #: the first of every insertion together, then the second of every insertion
    SWITCHED = "switched"  #: as simultaneous, but one electrode at a time in short turns


class VesselCooling(StrEnum):
    """How vessels carry heat away."""

    BLOOD_TEMPERATURE = "blood temperature"  #: the whole lumen stays at the temperature of the blood
    CONVECTIVE = "convective"  #: through a film of h = Nu k / D at the wall
    NONE = "none"  #: not at all


@dataclass(frozen=True, slots=True)
class HeatSnapshot:
    """The state of a treatment at one moment, for films and monitors.

    Attributes:
        time_s: since the energy began to flow.
        grid: of the arrays.
        temperature_c: float32 temperatures.
        level: signed lethality so far by the central criterion, zero at the rim of the zone.
        power_w: that flows into tissue just now.
    """

    time_s: float
    grid: Grid
    temperature_c: NDArray[np.float32]
    level: NDArray[np.float32]
    power_w: float


@dataclass(frozen=True, slots=True)
class HeatOptions:
    """How heat is computed, common to all models that heat or freeze.

    Attributes:
        spacing_mm: side of the voxels.
        reach_mm: room about the needles' active parts.
        criteria: what counts as dead, with an outer and an inner bound; those of the modality where None.
        perfusion_factor: on every tissue's perfusion.
        perfusion_stops: shutdown of perfusion in tissue whose small vessels have stopped.
        vessel_cooling: how vessels carry heat away.
        least_vessel_diameter_mm: thinner vessels do not.
        cool_down_s: time after the energy, in which damage still gathers.
        interval_s: pause between ablations that follow one another (moving the needle).
        observe: called with a snapshot every ``observe_every_s`` of treatment.
        observe_every_s: see ``observe``.
    """

    spacing_mm: float = 1.5
    reach_mm: float = 35.0
    criteria: CriterionBand | None = None
    perfusion_factor: float = 1.0
    perfusion_stops: bool = True
    vessel_cooling: VesselCooling = VesselCooling.BLOOD_TEMPERATURE
    least_vessel_diameter_mm: float = LEAST_VESSEL_DIAMETER_MM
    cool_down_s: float = 60.0
    interval_s: float = 30.0
    observe: Callable[[HeatSnapshot], None] | None = None
    observe_every_s: float = 10.0

    def __post_init__(self) -> None:
        for name in ("spacing_mm", "reach_mm", "least_vessel_diameter_mm", "observe_every_s"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise PhysicsError(f"{name} must be positive, but is {getattr(self, name):g}")
        for name in ("perfusion_factor", "cool_down_s", "interval_s"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise PhysicsError(f"{name} must not be negative, but is {getattr(self, name):g}")


class HeatCourse:
    """One treatment in one domain.

    Args:
        domain: the voxels.
        tissue: the map that the domain was drawn from.
        options: how to compute.
        criteria: what counts as dead unless the options say otherwise.
        freezing: True where tissue may freeze.
    """

    def __init__(
        self,
        domain: SolverDomain,
        tissue: TissueMap,
        options: HeatOptions,
        criteria: CriterionBand,
        *,
        freezing: bool = False,
    ) -> None:
        self.domain = domain
        self.options = options
        self.criteria = options.criteria or criteria
        self.solver = BioheatSolver(
            domain.grid.shape,
            domain.spacing_mm,
            domain.tissue,
            domain.tissues,
            body_temperature_c=domain.body_temperature_c,
            criteria=_followed(self.criteria, freezing),
            freezing=freezing,
            perfusion_stops=options.perfusion_stops,
            perfusion_factor=options.perfusion_factor,
        )
        cooled = options.vessel_cooling is not VesselCooling.NONE and domain.vessels.any()
        self._vessel_cells = np.argwhere(domain.vessels) if cooled else np.empty((0, 3), dtype=np.int64)
        self._vessel_contact: Contact | None = None
        if cooled:
            convective = options.vessel_cooling is VesselCooling.CONVECTIVE
            walls = convective_contact if convective else isothermal_contact
            self._vessel_contact = walls(domain, tissue)
        self._needle_cells = np.zeros(domain.grid.shape, dtype=np.bool_)
        #: What the model that runs the course wants its reader to know.
        self.notes: list[str] = []
        self._freezes: list[NDArray[np.float32]] = []
        self._power_w = 0.0
        self._next_look_s = options.observe_every_s
        self.hottest_c = domain.body_temperature_c
        self.coldest_c = domain.body_temperature_c
        self.edge_change_k = 0.0
        self.hold_needles(None, np.empty(0))

    def hold_needles(self, needles: NeedleCells | None, temperature_c: NDArray[np.float64]) -> None:
        """Holds the cells of needles at temperatures (one a part) from now on; vessels stay held."""
        if needles is None or not len(needles.held):
            if len(self._vessel_cells) or self.solver.holds:
                self.solver.hold(
                    self._vessel_cells, self.domain.body_temperature_c, self._vessel_contact or _no_contact()
                )
            return
        owned = np.zeros(self.domain.grid.shape, dtype=np.bool_)
        owned[tuple(needles.held.T)] = True
        self._needle_cells |= owned
        vessels = self._vessel_cells[~owned[tuple(self._vessel_cells.T)]]
        cells = np.concatenate([needles.held, vessels])
        values = np.concatenate(
            [temperature_c[needles.part], np.full(len(vessels), self.domain.body_temperature_c)]
        )
        contacts = [needles.contact]
        if self._vessel_contact is not None:
            kept = ~owned[tuple(self._vessel_contact.held.T)] & ~owned[tuple(self._vessel_contact.cells.T)]
            contacts.append(_chosen(self._vessel_contact, kept))
        is_vessel = np.zeros(self.domain.grid.shape, dtype=np.bool_)
        is_vessel[tuple(vessels.T)] = True
        # A face between a needle and a vessel joins two held cells: nothing is computed there.
        contacts[0] = _chosen(contacts[0], ~is_vessel[tuple(contacts[0].cells.T)])
        joined = Contact(
            np.concatenate([one.cells for one in contacts]),
            np.concatenate([one.held for one in contacts]),
            np.concatenate([one.factors for one in contacts]),
        )
        self.solver.hold(cells, values, joined)

    def advance(
        self, duration_s: float, source: NDArray[np.float32] | None = None, scale: float = 1.0, power_w: float = 0.0
    ) -> None:
        """Runs for a time with a constant source (padded, see BioheatSolver) that gives ``power_w`` to tissue."""
        end_s = self.solver.time_s + duration_s
        self._power_w = power_w
        while self.solver.time_s < end_s - 1e-9:
            until_s = end_s
            if self.options.observe is not None:
                until_s = min(end_s, self._next_look_s)
            self.solver.advance(until_s - self.solver.time_s, source, scale)
            self.hottest_c = max(self.hottest_c, self.solver.hottest_c)
            self.coldest_c = min(self.coldest_c, self.solver.coldest_c)
            self.edge_change_k = max(self.edge_change_k, self.solver.edge_change_k)
            if self.options.observe is not None and self.solver.time_s >= self._next_look_s - 1e-6:
                self._next_look_s += self.options.observe_every_s
                self.options.observe(self.snapshot())

    def _edge_notes(self) -> tuple[str, ...]:
        if self.edge_change_k < _EDGE_CHANGE_K:
            return ()
        return (
            f"Tissue at the edge of the domain changed by {self.edge_change_k:.1f} K, though the wall beyond stays "
            f"at body temperature: a reach_mm above {self.options.reach_mm:g} mm is right.",
        )

    def mean_c(self, needles: NeedleCells) -> FloatArray:
        """Mean temperature now of the cells of each part of needles, one a part."""
        now = self.solver.temperature_c[tuple(needles.held.T)].astype(np.float64)
        return np.asarray(np.bincount(needles.part, weights=now) / np.bincount(needles.part))

    def snapshot(self) -> HeatSnapshot:
        """The state now."""
        return HeatSnapshot(
            self.solver.time_s,
            self.domain.grid,
            self.solver.temperature_c,
            self.level(self.criteria.central),
            self._power_w,
        )

    def level(self, criterion: DamageCriterion) -> NDArray[np.float32]:
        """Signed lethality by one of the band's criteria, finite everywhere."""
        if isinstance(criterion, ColdestTemperatureCriterion):
            dose: NDArray[np.float32] = self.coldest_dose_c(criterion.cycles)
        else:
            dose = self.solver.dose(criterion)
        level = np.nan_to_num(criterion.level(dose), neginf=_LEAST_LEVEL)
        clipped = np.clip(level, _LEAST_LEVEL, _GREATEST_LEVEL).astype(np.float32)
        return filled_from_beside(clipped, self._needle_cells)

    def next_freeze(self) -> None:
        """Keeps what was coldest in the freeze that ended, and begins to follow the next one."""
        self._freezes.append(self.solver.dose(_COLDEST).copy())
        self.solver.restart_dose(_COLDEST)

    def coldest_dose_c(self, cycles: int) -> NDArray[np.float32]:
        """Temperature that was reached in as many freezes as asked for; body temperature in fewer."""
        freezes = np.stack([*self._freezes, self.solver.dose(_COLDEST)])
        if len(freezes) < cycles:
            return np.full(self.domain.grid.shape, self.domain.body_temperature_c, dtype=np.float32)
        criterion = ColdestTemperatureCriterion(-40.0, cycles)
        return criterion.dose_of_freezes(freezes.astype(np.float64)).astype(np.float32)

    def prediction(
        self,
        quantities: tuple[Quantity, ...] = (),
        notes: tuple[str, ...] = (),
        fields: dict[str, ScalarField] | None = None,
    ) -> ZonePrediction:
        """Zone by the central criterion, with the bounds of the others, and the fields at the end.

        Raises:
            PhysicsError: the zone reaches the wall of the domain.
        """
        band = self.criteria
        grid = self.domain.grid
        zones = {criterion.words: FieldZone(ScalarField(grid, self.level(criterion))) for criterion in band.all}
        zones[band.central.words].require_inside_grid()
        central = zones.pop(band.central.words)
        ledger = self.solver.ledger
        return ZonePrediction(
            central,
            band.central.words,
            {
                "temperature_c": ScalarField(grid, self.solver.temperature_c),
                "lethality": ScalarField(grid, self.level(band.central)),
                **(fields or {}),
            },
            zones,
            (
                Quantity("volume", central.volume_ml, "ml"),
                *quantities,
                Quantity("hottest tissue", self.hottest_c, "C"),
                Quantity("coldest tissue", self.coldest_c, "C"),
                Quantity("energy into tissue", ledger.delivered_j / 1000.0, "kJ"),
                Quantity("energy unaccounted for", float(ledger.residual), "1"),
                Quantity("time simulated", self.solver.time_s, "s"),
            ),
            (
                *notes,
                *dict.fromkeys(self.notes),
                *self.domain.notes,
                *self._own_notes(),
                *self._edge_notes(),
                *cut_zones(zones),
            ),
        )

    def _own_notes(self) -> tuple[str, ...]:
        notes = []
        if self.hottest_c > _DRIED_C:
            notes.append(
                f"The hottest tissue of {self.hottest_c:.0f} C has lost its water: temperatures above "
                f"{_DRIED_C:g} C are those of the model's dried core and no prediction."
            )
        low, high = self._extent_voxels()
        if 0.0 < low < _COARSE_VOXELS:
            notes.append(
                f"The zone is {low:.0f} to {high:.0f} voxels of {self.domain.spacing_mm:g} mm across: too few "
                "for its size to be trusted, take a finer grid."
            )
        return tuple(notes)

    def _extent_voxels(self) -> tuple[float, float]:
        dead = self.level(self.criteria.central) >= 0
        if not dead.any():
            return 0.0, 0.0
        spans = [
            np.ptp(np.flatnonzero(dead.any(axis=tuple(k for k in range(3) if k != axis)))) + 1 for axis in range(3)
        ]
        return float(min(spans)), float(max(spans))


def cut_zones(zones: Mapping[str, FieldZone]) -> tuple[str, ...]:
    """A note on each zone that reaches the edge of its grid and is cut there."""
    return tuple(
        f"The domain is too small for the zone of {words}: it is cut at the edge."
        for words, zone in zones.items()
        if zone.is_cut
    )


def _followed(band: CriterionBand, freezing: bool) -> tuple[DamageCriterion, ...]:
    """What the solver keeps per voxel: one coldest temperature serves every isotherm."""
    others = [one for one in dict.fromkeys(band.all) if not isinstance(one, ColdestTemperatureCriterion)]
    return (*others, _COLDEST) if freezing or len(others) < len(set(band.all)) else tuple(others)


def filled_from_beside(level: NDArray[np.float32], needles: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A field whose values in the cells of needles, which are metal, are the mean of the tissue beside them.

    A cooled needle within coagulated tissue would otherwise be a hole in the zone that margins are measured from.
    """
    from scipy.ndimage import uniform_filter

    filled, known = level.copy(), ~needles
    while known.any() and not known.all():
        count = uniform_filter(known.astype(np.float32), size=3, mode="constant")
        total = uniform_filter(np.where(known, filled, np.float32(0.0)), size=3, mode="constant")
        # Filters that run along the rows leave rounding where nothing is known.
        reached = ~known & (count > 1e-3)
        filled[reached] = total[reached] / count[reached]
        known |= reached
    return filled


def _no_contact() -> Contact:
    return Contact(np.empty((0, 3), dtype=np.int64), np.empty((0, 3), dtype=np.int64), np.empty(0))


def _chosen(contact: Contact, kept: NDArray[np.bool_]) -> Contact:
    return Contact(contact.cells[kept], contact.held[kept], contact.factors[kept])
