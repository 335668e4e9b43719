"""Radiofrequency ablation: Joule heat of the electric field about electrodes, in tissue that changes as it heats.

    div(sigma(T) grad V) = 0,   q = sigma |grad V|^2

The potential is solved anew every few seconds, as the conductivity follows the temperature: it rises by some 1.5 %
a kelvin and falls by orders of magnitude where water boils off. In between the field keeps its shape and the
generator sets the voltage. Electrodes that work together share one field: between monopolar electrodes at one
potential hardly any current flows, and a union of single zones would be far too large.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.criteria import heat_criteria
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.heating import Delivery, HeatCourse, HeatOptions
from needleplan.ablation.needle_contact import NeedleCells, NeedlePart, needle_cells
from needleplan.ablation.preparation import physics_by_name, prepared_course
from needleplan.ablation.rf_electrodes import ElectrodeParts, electrode_parts
from needleplan.ablation.schedule import (
    Firing,
    check_alike,
    check_apart,
    check_times,
    checked_power_w,
    firings,
)
from needleplan.ablation.solver_domain import SolverDomain
from needleplan.ablation.tissue_map import TissueMap, homogeneous
from needleplan.devices.applicator_physics import RadiofrequencyElectrode
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: Decades by which the conductivity falls when all water has boiled off (2 to 4 are used; recalled, low
#: confidence).
_DRY_DECADES = 3.0
#: Relative tolerance of the potential, whose start is the last one.
_TOLERANCE = 1e-3
#: Greatest growth of the power from one look at the tissue to the next, and the share of the greatest heat that is
#: much, when a field is first switched on.
_MOST_GROWTH, _MUCH = 2.0, 0.2


@dataclass(frozen=True, slots=True)
class GeneratorControl:
    """How a generator without a stated power works.

    Attributes:
        temperature_c: hottest tissue that it aims at.
        horizon_s: time in which it approaches that.
        resolve_s: the potential is solved anew that often; three times as often with a stated power, which
            boils tissue faster than the temperature control does.
        turn_s: length of one electrode's turn when electrodes are switched.
        roll_off: with a stated power: resistance over that at the start at which the generator pauses.
        pause_s: length of that pause.
    """

    temperature_c: float = 100.0
    horizon_s: float = 6.0
    resolve_s: float = 6.0
    turn_s: float = 15.0
    roll_off: float = 1.3
    pause_s: float = 15.0

    def __post_init__(self) -> None:
        if not 45.0 <= self.temperature_c <= 100.0:
            raise PhysicsError(
                f"the generator must aim at a temperature from 45 to 100 C, but at {self.temperature_c:g} C"
            )
        for name in ("horizon_s", "resolve_s", "turn_s", "pause_s"):
            if not getattr(self, name) > 0:
                raise PhysicsError(f"{name} must be positive, but is {getattr(self, name):g}")
        if not self.roll_off > 1.0:
            raise PhysicsError(f"roll_off must be above 1, but is {self.roll_off:g}")


class RadiofrequencyModel(ZoneModel):
    """Zones of radiofrequency electrodes: single, cluster, umbrella and bipolar.

    An ablation without a power is controlled by temperature up to the generator's maximum; with a power, that
    power flows until the resistance rolls off, then in pulses. Electrodes that work together share one generator:
    the power is that of all of them.

    Args:
        options: how the heat is computed.
        delivery: sequential, switched in turns, or simultaneous at one potential.
        control: of the generator.
        tissue: name of the tissue about the needles where no map is given.
    """

    def __init__(
        self,
        options: HeatOptions | None = None,
        delivery: Delivery = Delivery.SEQUENTIAL,
        control: GeneratorControl | None = None,
        tissue: str = "liver",
    ) -> None:
        self.options = options or HeatOptions()
        self.delivery = delivery
        self.control = control or GeneratorControl()
        self.tissue = builtin_tissues().tissue(tissue)

    @property
    def name(self) -> str:
        """See ZoneModel."""
        return f"radiofrequency bioheat ({self.delivery}, {self.options.spacing_mm:g} mm, {self.tissue.name})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "The generator holds the hottest tissue at its target or pauses at a rise of the resistance; bursts of "
            "vapour, saline and a vendor's own algorithm are not modelled. Switched electrodes rest between "
            "turns of fixed length, which makes their zones smaller than switching by impedance does.",
            f"Where no tissue map is given the tissue is endless {self.tissue.name}; the current returns through "
            "the wall of the domain, not through pads at their true place.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel."""
        check_times(insertions)
        electrodes = physics_by_name(insertions, RadiofrequencyElectrode, "radiofrequency electrode")
        groups = firings(insertions, self.delivery)
        check_alike(groups)
        for group in groups:
            for firing in group:
                electrode = electrodes[firing.insertion.applicator]
                if firing.ablation.power_w is not None:
                    checked_power_w(electrode.name, firing.ablation.power_w, electrode.maximum_power_w)
        if not groups:
            return nothing((self.options.criteria or heat_criteria()).central.words)
        around = tissue or homogeneous(self.tissue)
        laid = [[electrode_parts(firing, electrodes[firing.insertion.applicator]) for firing in g] for g in groups]
        for together in laid:
            for i, one in enumerate(together):
                for other in together[i + 1 :]:
                    for part in one.parts:
                        for beside in other.parts:
                            check_apart([part, beside])
        options = self.options
        lengths = {name: one.active_length_mm for name, one in electrodes.items()}
        course = prepared_course(
            insertions,
            (part for together in laid for one in together for part in one.parts),
            lengths,
            around,
            options,
            heat_criteria(),
        )
        totals = _Totals()
        for turn, (group, together) in enumerate(zip(groups, laid, strict=True)):
            if turn:
                course.hold_needles(None, np.empty(0))
                course.advance(options.interval_s)
            self._fire(course, group, together, electrodes, totals)
        course.hold_needles(None, np.empty(0))
        course.advance(options.cool_down_s)
        return course.prediction(totals.quantities(), totals.notes())

    def _fire(
        self,
        course: HeatCourse,
        group: tuple[Firing, ...],
        together: list[ElectrodeParts],
        electrodes: dict[str, RadiofrequencyElectrode],
        totals: "_Totals",
    ) -> None:
        domain = course.domain
        physics = [electrodes[firing.insertion.applicator] for firing in group]
        _hold_cooled(course, physics, together)
        power_w = group[0].ablation.power_w
        if self.delivery is Delivery.SWITCHED:
            turns = [[k] for k in range(len(group))]
        else:
            turns = [list(range(len(group)))]
        fields = [_FieldOf([together[k] for k in turn], [physics[k] for k in turn], domain) for turn in turns]
        most_w = min(electrode.maximum_power_w for electrode in physics)
        most_a = min(np.inf if one.maximum_current_a is None else one.maximum_current_a for one in physics)
        began_s = course.solver.time_s
        end_s = began_s + group[0].ablation.duration_s
        pause_until_s = began_s
        scale = 0.0
        last: _FieldOf | None = None
        while course.solver.time_s < end_s - 1e-6:
            now_s = course.solver.time_s
            turn = int((now_s - began_s) / self.control.turn_s + 1e-9) % len(fields)
            field = fields[turn]
            resolve_s = self.control.resolve_s if power_w is None else self.control.resolve_s / 3.0
            if now_s - field.solved_s >= resolve_s - 1e-6:
                field.solve(course)
                totals.solves += 1
            until_s = min(end_s, now_s + min(resolve_s, 2.0 * self.options.spacing_mm / 1.5))
            if len(fields) > 1:
                until_s = min(
                    until_s,
                    began_s + (int((now_s - began_s) / self.control.turn_s + 1e-9) + 1) * self.control.turn_s,
                )
            greatest = min(most_w / field.power_per_v2_w, (most_a / field.current_per_v_a) ** 2)
            if power_w is None:
                if field.scale is None:
                    # Nothing is known of the tissue's answer to this field yet: a gentle start.
                    start = field.scale_without_cooling(course, self.control.temperature_c, until_s - now_s)
                    scale = field.gentle = min(0.25 * greatest, start)
                elif last is not field:
                    # The last step tells of another field; since its own last turn the tissue has cooled.
                    scale = min(max(field.scale, field.gentle), greatest)
                else:
                    hold = course.solver.scale_to_hold(
                        field.heat, scale, self.control.temperature_c, self.control.horizon_s
                    )
                    # Cold tissue does not bind there, and must not be taken by surprise.
                    scale = min(hold, max(_MOST_GROWTH * scale, field.gentle), greatest)
            elif now_s < pause_until_s:
                scale = 0.0
            elif field.resistance_ohm > self.control.roll_off * field.first_resistance_ohm:
                pause_until_s, scale = now_s + self.control.pause_s, 0.0
                totals.pauses += 1
            else:
                scale = min(power_w / field.power_per_v2_w, greatest)
            flowing_w = scale * field.power_per_v2_w
            course.advance(until_s - now_s, field.heat, scale, flowing_w)
            last, field.scale = field, scale
            totals.add(until_s - now_s, flowing_w, scale, field.resistance_ohm)


class _FieldOf:
    """The field of electrodes that are on together, for 1 V between the poles (or to the far wall)."""

    def __init__(
        self, together: list[ElectrodeParts], physics: list[RadiofrequencyElectrode], domain: SolverDomain
    ) -> None:
        parts = [part for one in together for part in one.parts]
        poles = np.array([pole for one in together for pole in one.poles])
        needles = [2 * n + (pole < 0) for n, one in enumerate(together) for pole in one.poles]
        self.domain = domain
        self.cells: NeedleCells = needle_cells(domain.grid, parts, needles=needles)
        self.values = poles[self.cells.part]
        self.positive = self.values > 0
        self.solver = DiffusionSolver(
            domain.grid.shape, domain.spacing_mm, walls="grounded", held=self.cells.held, contact=self.cells.contact
        )
        self._to_coolant = _share_to_coolant(self.cells, parts, together, physics, domain)
        self.solved_s = -np.inf
        self.first_resistance_ohm = np.nan
        self.resistance_ohm = np.nan
        self.power_per_v2_w = np.nan
        self.current_per_v_a = np.nan
        self.heat: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        #: Square of the voltage when the field was last on; None before.
        self.scale: float | None = None
        #: Scale that is safe at any time.
        self.gentle = 0.0

    def solve(self, course: HeatCourse) -> None:
        """Solves for the conductivity of the tissue as it is now."""
        sigma = rf_conductivity_s_m(course)
        self.solver.set_coefficients(sigma)
        potential = self.solver.solve(self.values, tolerance=_TOLERANCE)
        heat = self.solver.heat_w_m3()
        self.power_per_v2_w = float(heat.sum(dtype=np.float64)) * (1e-3 * self.domain.spacing_mm) ** 3
        cells, held = self.cells.contact.cells, self.cells.contact.held
        drop = potential[tuple(held.T)] - potential[tuple(cells.T)]
        at_wall = self.cells.contact.factors * sigma[tuple(cells.T)] * (drop / (1e-3 * self.domain.spacing_mm)) ** 2
        np.subtract.at(heat, tuple(cells.T), (self._to_coolant * at_wall).astype(np.float32))
        self.heat = course.solver.padded(heat)
        voltage = float(np.ptp(self.values)) if (self.values < 0).any() else 1.0
        self.current_per_v_a = self.solver.current(self.positive)
        self.resistance_ohm = voltage / self.current_per_v_a
        if np.isnan(self.first_resistance_ohm):
            self.first_resistance_ohm = self.resistance_ohm
        self.solved_s = course.solver.time_s

    def scale_without_cooling(self, course: HeatCourse, temperature_c: float, time_s: float) -> float:
        """Scale with which no cell that is heated much would pass a temperature in a time if no heat left it."""
        heat_j_m3_k = np.array([one.volumetric_heat_j_m3_k for one in self.domain.tissues])[self.domain.tissue]
        gain = self.heat[1:-1, 1:-1, 1:-1] / heat_j_m3_k
        room_k = temperature_c - course.solver.temperature_c
        heated = (gain > _MUCH * gain.max()) & (room_k > 0)
        return float((room_k[heated] / (gain[heated] * time_s)).min(initial=np.inf))


def rf_conductivity_s_m(course: HeatCourse) -> NDArray[np.float32]:
    """Conductivity of every voxel as it is now: sigma_37 (1 + c (T - 37)), falling as water boils off.

    Vessels have that of blood at its temperature.
    """
    domain, solver = course.domain, course.solver
    rest = np.array([one.known("rf_conductivity_s_m") for one in domain.tissues])
    slope = np.array([one.known("rf_conductivity_per_k") for one in domain.tissues])
    sigma = solver.ohmic_conductivity_s_m(rest, slope, _DRY_DECADES)
    if domain.vessels.any():
        sigma[domain.vessels] = builtin_tissues().tissue("blood").known("rf_conductivity_s_m")
    return sigma


def _hold_cooled(
    course: HeatCourse, physics: list[RadiofrequencyElectrode], together: list[ElectrodeParts]
) -> None:
    parts: list[NeedlePart] = []
    films: list[float] = []
    coolants: list[float] = []
    needles: list[int] = []
    for number, (electrode, laid) in enumerate(zip(physics, together, strict=True)):
        if electrode.coolant_c is None:
            continue
        for part in laid.parts:
            middle = 0.5 * (np.array([part.start_mm]) + np.array([part.end_mm]))
            conductivity = course.domain.at(middle).thermal_conductivity_w_m_k
            parts.append(part)
            films.append(1e3 * conductivity / electrode.coolant_transfer_w_m2_k)
            coolants.append(electrode.coolant_c)
            needles.append(number)
    if not parts:
        course.hold_needles(None, np.empty(0))
        return
    course.hold_needles(needle_cells(course.domain.grid, parts, films, needles), np.array(coolants))


def _share_to_coolant(
    cells: NeedleCells,
    parts: list[NeedlePart],
    together: list[ElectrodeParts],
    physics: list[RadiofrequencyElectrode],
    domain: SolverDomain,
) -> FloatArray:
    """For each contact face the share of its heat that a cooled electrode takes before a voxel sees it.

    Between the wall at radius a and the voxel's centre at r the heat is made as dr/r; of what is made at r' the
    share (ln(r/a) - ln(r'/a)) / (ln(r/a) + film/a) goes inwards: on the mean half of ln(r/a) over that sum.
    """
    of_part = [electrode for electrode, laid in zip(physics, together, strict=True) for _ in laid.parts]
    share = np.zeros(len(cells.contact_part))
    for number, (part, electrode) in enumerate(zip(parts, of_part, strict=True)):
        if electrode.coolant_c is None:
            continue
        faces = cells.contact_part == number
        start = np.asarray(part.start_mm)
        axis = np.subtract(part.end_mm, part.start_mm) / part.length_mm
        offset = domain.grid.to_patient(cells.contact.cells[faces]) - start
        radius = np.linalg.norm(np.cross(offset, axis), axis=1)
        drop = np.log(np.maximum(radius / part.radius_mm, 1.05))
        middle = 0.5 * (np.array([part.start_mm]) + np.array([part.end_mm]))
        conductivity = domain.at(middle).thermal_conductivity_w_m_k
        film = 1e3 * conductivity / electrode.coolant_transfer_w_m2_k / part.radius_mm
        share[faces] = 0.5 * drop / (drop + film)
    return share


class _Totals:
    """What the generator did."""

    def __init__(self) -> None:
        self.seconds = self.energy_j = self.voltage_seconds = self.resistance_seconds = 0.0
        self.first_ohm = np.nan
        self.most_w = 0.0
        self.solves = self.pauses = 0

    def add(self, seconds: float, power_w: float, volts_squared: float, resistance_ohm: float) -> None:
        self.seconds += seconds
        self.energy_j += seconds * power_w
        self.voltage_seconds += seconds * np.sqrt(volts_squared)
        self.resistance_seconds += seconds * resistance_ohm
        self.most_w = max(self.most_w, power_w)
        if np.isnan(self.first_ohm):
            self.first_ohm = resistance_ohm

    def quantities(self) -> tuple[Quantity, ...]:
        return (
            Quantity("mean power", self.energy_j / self.seconds, "W"),
            Quantity("greatest power", self.most_w, "W"),
            Quantity("energy from the generator", self.energy_j / 1000.0, "kJ"),
            Quantity("mean voltage", self.voltage_seconds / self.seconds, "V"),
            Quantity("resistance at the start", float(self.first_ohm), "ohm"),
            Quantity("mean resistance", self.resistance_seconds / self.seconds, "ohm"),
            Quantity("solutions of the potential", float(self.solves), "1"),
        )

    def notes(self) -> tuple[str, ...]:
        if not self.pauses:
            return ()
        return (f"The resistance rose so far that the generator paused {self.pauses} times.",)
