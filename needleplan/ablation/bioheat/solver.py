"""Explicit, adaptive solution of the Pennes equation in enthalpy form on a voxel grid.

    d(rho c u)/dt = div grad theta(u) + w s (T_b - T(u)) + q

u is the enthalpy temperature and theta the Kirchhoff potential (``enthalpy``), w = omega rho_b c_b the perfusion
(Pennes, J Appl Physiol 1948;1:93), s = exp(-Omega_stasis) its shutdown by microvascular stasis (Brown's set; Schutt
and Haemmerich, Med Phys 2008;35:3462, model b), zero in frozen tissue. Seven-point flux form, so that what leaves
one cell enters the next; steps of the Runge-Kutta-Legendre family of second order (RKL2: Meyer, Balsara and Aslam,
J Comput Phys 2014;257:594), whose stable step grows with the square of the number of stages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.bioheat.dose_kernels import advance_doses, scale_to_hold
from needleplan.ablation.bioheat.enthalpy import HEAT, EnthalpyCurves, enthalpy_curves
from needleplan.ablation.bioheat.growing_box import GrowingBox
from needleplan.ablation.bioheat.kernels import (
    faces_outflow,
    free_sum,
    mend,
    mirror,
    ohmic_conductivity,
    shell_change,
    stage,
    stored_heat,
)
from needleplan.ablation.bioheat.runge_kutta_legendre import STAGES, stage_weights, step_over_euler
from needleplan.ablation.damage import arrhenius_parameters
from needleplan.ablation.dose import DamageCriterion
from needleplan.ablation.needle_contact import Contact
from needleplan.compiled import threads_for
from needleplan.devices.thresholds import damage_set
from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Heat capacity of blood per volume, J/m3/K: 1049.75 kg/m3 times 3617 J/kg/K (IT'IS tissue database v4.0).
BLOOD_HEAT_J_M3_K = 1049.75 * 3617.0
#: Set of the Arrhenius integral that stops the perfusion.
STASIS_SET = "microvascular_stasis_Brown1992"
#: Cells are left out as long as their neighbours changed by less than this.
_STILL_K = 2e-3
#: Cells of the source that can warm tissue by less than this are left to the growing box.
_FAINT_K = 0.02
#: Time over which the warming of such cells is bounded where no perfusion carries it away.
_BUILD_UP_S = 600.0
#: Tissue that gathers no dose: between these temperatures nothing accumulates within hours.
_WARM_C, _COOL_C = 38.9, 0.0
#: Greatest change of temperature in a step where damage is being decided, and longest step.
_STEP_K = 3.0
_LONGEST_STEP_S = 15.0
#: Damage alone never asks for shorter steps than this.
_SHORTEST_STEP_S = 2.5
#: First step after a source was switched or changed, as a share of the least stable one, and growth of the next.
_FIRST_STEP, _STEP_GROWTH = 0.15, 1.5
#: Tissues and grids that need shorter steps than this are refused: minutes of treatment would take hours.
_SHORTEST_STABLE_S = 0.02


@dataclass(frozen=True, slots=True)
class EnergyLedger:
    """Where the heat went since the start, J."""

    delivered_j: float
    stored_j: float
    removed_j: float

    @property
    def residual(self) -> float:
        """What is missing, as a share of all heat that was moved."""
        moved = max(abs(self.delivered_j), abs(self.stored_j), abs(self.removed_j), 1e-30)
        return (self.delivered_j - self.stored_j - self.removed_j) / moved


class BioheatSolver:
    """Temperature and damage of tissue in a box of voxels, from the body temperature on.

    Args:
        shape: number of cells along each axis.
        spacing_mm: side of the cubic cells.
        tissue: uint8 array of ``shape``, indices into ``tissues``.
        tissues: the tissues.
        body_temperature_c: of everything at the start, of the blood, and of the far wall.
        criteria: damage to follow.
        freezing: True where the tissue may freeze.
        boiling: False switches the latent heat of boiling off.
        perfusion_stops: True for the shutdown of perfusion by stasis.
        perfusion_factor: on every tissue's perfusion.
        insulated: True for walls that pass no heat, False for walls at the body temperature.

    Raises:
        PhysicsError: a shape, spacing or temperature is impossible.
        DeviceError: the tissue table lacks a property.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: float,
        tissue: NDArray[np.uint8],
        tissues: Sequence[Tissue],
        *,
        body_temperature_c: float = 37.0,
        criteria: Sequence[DamageCriterion] = (),
        freezing: bool = False,
        boiling: bool = True,
        perfusion_stops: bool = True,
        perfusion_factor: float = 1.0,
        insulated: bool = False,
    ) -> None:
        if min(shape) < 3 or tissue.shape != tuple(shape):
            raise PhysicsError(f"the solver needs at least 3 cells a side and one tissue a cell, but got {shape}")
        if not (np.isfinite(spacing_mm) and spacing_mm > 0):
            raise PhysicsError(f"the spacing of the grid must be positive, but is {spacing_mm:g} mm")
        if not (np.isfinite(perfusion_factor) and perfusion_factor >= 0):
            raise PhysicsError(f"the perfusion factor must not be negative, but is {perfusion_factor:g}")
        self.shape = tuple(shape)
        self.spacing_m = 1e-3 * spacing_mm
        self.tissues = tuple(tissues)
        self.curves: EnthalpyCurves = enthalpy_curves(self.tissues, freezing=freezing, boiling=boiling)
        self.body_temperature_c = float(body_temperature_c)
        self.insulated = insulated
        self.criteria = tuple(criteria)
        self.time_s = 0.0
        self._table = np.array(self.curves.table)
        self._tissue = np.pad(tissue, 1, mode="edge")
        self._row_tissue = _pure_rows(self._tissue)
        padded = self._tissue.shape
        at_rest = np.array([self.curves.enthalpy(self.body_temperature_c, m) for m in range(len(tissues))])
        self._at_rest = at_rest.astype(np.float32)
        self._u = self._at_rest[self._tissue]
        self._older = self._u.copy()
        self._start = self._u.copy()
        self._start_rate = np.zeros(padded, dtype=np.float32)
        self._theta = _potentials(self._u, self._tissue, self._table)
        self._theta_out = self._theta.copy()
        flow = np.array([tissue.perfusion_per_s for tissue in tissues])
        if np.isnan(flow).any():
            unknown = self.tissues[int(np.isnan(flow).argmax())].name
            raise PhysicsError(f"the tissue table states no perfusion_per_s for {unknown!r}")
        heat = np.array([tissue.volumetric_heat_j_m3_k for tissue in tissues])
        self._rest_sinks = (perfusion_factor * flow * BLOOD_HEAT_J_M3_K / heat).astype(np.float32)
        self._sink = self._rest_sinks[self._tissue]
        self._stops = perfusion_stops and bool(self._rest_sinks.max() > 0)
        self._stasis = np.zeros(padded if self._stops else (0, 0, 0), dtype=np.float32)
        self._stasis_parameters = np.array(arrhenius_parameters(damage_set(STASIS_SET)))
        self._kinds = np.array([int(criterion.kind) for criterion in criteria], dtype=np.int64)
        self._parameters = np.array([c.kernel_parameters for c in criteria]).reshape(-1, 2)
        self._doses = np.empty((len(self.criteria), *padded), dtype=np.float32)
        for n, criterion in enumerate(self.criteria):
            start = criterion.dose_at_start
            self._doses[n] = start if np.isfinite(start) else self.body_temperature_c
        self._held = np.zeros(padded, dtype=np.bool_)
        self._held_cells = np.empty((0, 3), dtype=np.int64)
        self._held_u = np.empty(0, dtype=np.float32)
        self._contact = (
            np.empty((0, 3), dtype=np.int64),
            np.empty((0, 3), dtype=np.int64),
            np.empty(0, np.float32),
        )
        self._extra = np.empty(0, dtype=np.float32)
        self._stiffness = 0.0
        self._growing = GrowingBox(self.shape, whole=insulated)
        #: What kernels take; the growing box changes it in place.
        self._box = self._growing.limits
        if self._stable_step_s(STAGES[-1]) < _SHORTEST_STABLE_S:
            raise PhysicsError(
                f"the solver would have to step by {self._stable_step_s(STAGES[-1]):.1g} s: a tissue's "
                "conductivity or perfusion is too large, its heat capacity too small, or the grid too fine"
            )
        self._removed = np.zeros(padded[:2])
        self._removed_j = 0.0
        self._delivered_j = 0.0
        self._held_j = 0.0
        self._extremes = np.tile(np.array([self.body_temperature_c, self.body_temperature_c, 0.0]), (padded[0], 1))
        self._fastest_k_s = 0.0
        self._covered: NDArray[np.float32] | None = None
        self._covered_scale = 0.0
        self._power_of: tuple[Any, ...] | None = None
        self._power = 0.0
        self._last_scale = 0.0
        self._next_step_s = np.inf
        self._last_step_s = 1.0
        self.steps = 0
        self.stages = 0

    # ------------------------------------------------------------------ what is held

    def hold(
        self, cells: NDArray[np.int64], temperature_c: FloatArray | float, contact: Contact | None = None
    ) -> None:
        """Holds cells at temperatures from now on, in place of all that were held before.

        Args:
            cells: (n, 3) indices, each once.
            temperature_c: (n,) or one for all.
            contact: faces of them that conduct otherwise than the stencil.
        """
        newly = np.zeros_like(self._held)
        index = np.asarray(cells, dtype=np.int64).reshape(-1, 3) + 1
        newly[tuple(index.T)] = True
        values = np.broadcast_to(np.asarray(temperature_c, dtype=np.float64), len(index))
        same = np.array_equal(index, self._held_cells)
        if not same:
            # Cells that are released keep what they had; what a cell held when it was taken leaves the ledger.
            released = self._held & ~newly
            self._held_j += self._stored(newly & ~self._held) - self._stored(released)
            stopped = np.exp(-self._stasis[released]) if self._stops else 1.0
            self._sink[released] = self._rest_sinks[self._tissue[released]] * stopped
            self._sink[newly] = 0.0
            self._held = newly
            self._held_cells = index
            self._power_of = None
        if (np.abs(values - self.body_temperature_c) > _STILL_K).any():
            self._growing.cover(index)
        tissue = self._tissue[tuple(index.T)]
        self._held_u = np.empty(len(index), dtype=np.float32)
        for m in np.unique(tissue):
            self._held_u[tissue == m] = self.curves.enthalpy(values[tissue == m], int(m))
        self._u[tuple(index.T)] = self._held_u
        part = self._theta[tuple(index.T)]
        _potentials_of(self._held_u, tissue, self._table, part)
        self._theta[tuple(index.T)] = part
        if contact is None:
            self._contact = (np.empty((0, 3), np.int64), np.empty((0, 3), np.int64), np.empty(0, np.float32))
            self._extra, self._stiffness = np.empty(0, np.float32), 0.0
            return
        self._contact = (contact.cells + 1, contact.held + 1, contact.factors.astype(np.float32))
        self._extra = np.zeros(len(contact.factors), dtype=np.float32)
        # A cell's faces to held cells raise its own rate but not its neighbours': Gershgorin's bound.
        load = np.zeros(self._tissue.shape)
        np.add.at(load, tuple(self._contact[0].T), np.maximum(contact.factors - 2.0, 0.0))
        self._stiffness = float(load.max(initial=0.0))

    # ------------------------------------------------------------------ time

    def advance(
        self, duration_s: float, source_w_m3: NDArray[np.float32] | None = None, scale: float = 1.0
    ) -> None:
        """Runs for a time with a constant heat source.

        Args:
            duration_s: not negative.
            source_w_m3: float32 array of the solver's shape padded by one cell (``padded``), or None.
            scale: on the source.

        Raises:
            PhysicsError: the source has another shape, or the solution is no longer finite.
        """
        if not (np.isfinite(duration_s) and duration_s >= 0):
            raise PhysicsError(f"the time to advance must not be negative, but is {duration_s:g} s")
        if source_w_m3 is None or scale == 0.0:
            # Any finite array will do for a source of scale zero.
            source, scale = self._start, 0.0
        else:
            source = source_w_m3
            if source.shape != self._tissue.shape or source.dtype != np.float32:
                raise PhysicsError(
                    f"a heat source must be a float32 array of {self._tissue.shape} cells (padded), but is "
                    f"{source.dtype} of {source.shape}"
                )
            self._cover_source(source, scale)
        if not 0.5 * self._last_scale <= scale <= 2.0 * self._last_scale:
            # How fast tissue answers to another source is not known: short steps that grow.
            self._next_step_s = _FIRST_STEP * self._stable_step_s(STAGES[0])
        self._last_scale = scale
        end_s = self.time_s + duration_s
        with threads_for(self._growing.cells):
            self._advance_to(end_s, source, scale)

    def _advance_to(self, end_s: float, source: NDArray[np.float32], scale: float) -> None:
        while self.time_s < end_s - 1e-9:
            left_s = end_s - self.time_s
            least_s = min(self._stable_step_s(STAGES[0]), _SHORTEST_STEP_S)
            wanted_s = min(left_s, _LONGEST_STEP_S, self._next_step_s)
            self._next_step_s *= _STEP_GROWTH
            if self._fastest_k_s > 0:
                wanted_s = min(wanted_s, max(_STEP_K / self._fastest_k_s, least_s))
            stages = next((s for s in STAGES if self._stable_step_s(s) >= wanted_s), STAGES[-1])
            step_s = min(wanted_s, self._stable_step_s(stages))
            # Equal steps to the end instead of a long one and a sliver.
            step_s = left_s / int(np.ceil(left_s / step_s - 1e-9))
            self._step(step_s, stages, source, scale)

    def padded(self, field: NDArray[Any]) -> NDArray[np.float32]:
        """A field of the solver's shape as ``advance`` takes it; heat sources in held cells are dropped."""
        return np.pad(np.asarray(field, dtype=np.float32), 1)

    def _stable_step_s(self, stages: int) -> float:
        rate = (12.0 + self._stiffness) * self.curves.greatest_diffusivity_m2_s / self.spacing_m**2
        rate += float(self._rest_sinks.max())
        return 0.95 * (2.0 / rate) * step_over_euler(stages)

    def _step(self, step_s: float, stages: int, source: NDArray[np.float32], scale: float) -> None:
        start = self._start
        np.copyto(start, self._u)
        u, older = self._u, self._older
        table, tissue = self._table, self._tissue
        inverse_h2 = np.float32(1.0 / self.spacing_m**2)
        blood = np.float32(self.body_temperature_c)
        taken = np.zeros(stages + 1)
        for j, stage_weight in enumerate(stage_weights(stages, step_s), start=1):
            mu, nu, own, first = stage_weight
            weights = np.array(stage_weight, dtype=np.float32)
            self._removed[:] = 0.0
            outflow = 0.0
            if not self.insulated:
                outflow = faces_outflow(u, self._theta, tissue, table, self._box) / self.spacing_m**2
            stage(
                u, self._theta, older, start, self._start_rate, self._theta_out, tissue, self._row_tissue, table,
                self._sink, source, np.float32(scale), blood, inverse_h2, weights, j == 1, self._box, self._removed,
            )  # fmt: skip
            held = mend(
                *self._contact, self._held_cells, self._held_u, self._theta, older, self._start_rate, self._extra,
                self._theta_out, tissue, table, inverse_h2, weights, j == 1,
            )  # fmt: skip
            lost = float(self._removed.sum()) + outflow
            if j == 1:
                lost_first = lost
                taken[1] = own * lost + held
            else:
                taken[j] = mu * taken[j - 1] + nu * taken[j - 2] + own * lost + first * lost_first + held
            # The stage stands in ``older``; the stage before it becomes the next one to be overwritten.
            u, older = older, u
            self._theta, self._theta_out = self._theta_out, self._theta
            if self.insulated:
                mirror(u)
                mirror(self._theta)
        self._u, self._older = u, older
        volume = self.spacing_m**3
        given = self._power_w(source) * scale * step_s if scale else 0.0
        self._delivered_j += given
        self._removed_j += taken[stages] * volume + given
        self.time_s += step_s
        self._last_step_s = step_s
        self.steps += 1
        self.stages += stages
        advance_doses(
            start, self._u, tissue, table, self._kinds, self._parameters, self._doses, _WARM_C, _COOL_C,
            self._stasis, self._stasis_parameters, self._rest_sinks, self._held, self._sink, step_s, self._box,
            self._extremes,
        )  # fmt: skip
        part = self._extremes[self._growing.slabs]
        self._fastest_k_s = float(part[:, 2].max())
        if not np.isfinite(part[:, :2]).all() or part[:, 0].max() > 1e5:
            raise PhysicsError(
                "the temperatures are no longer finite: the heat source or a tissue property is impossible"
            )
        self._grow()

    # ------------------------------------------------------------------ the box of cells that are being computed

    def _cover_source(self, source: NDArray[np.float32], scale: float) -> None:
        if self.insulated or (source is self._covered and abs(scale) <= self._covered_scale):
            return
        self._covered, self._covered_scale = source, 2.0 * abs(scale)
        slowest_sink = float(self._rest_sinks[np.unique(self._tissue)].min())
        time_s = min(_BUILD_UP_S, 1.0 / slowest_sink) if slowest_sink > 0 else _BUILD_UP_S
        per_watt = float(np.max(1.0 / self._table[:, HEAT])) * time_s * self._covered_scale
        strong = source * np.float32(per_watt) > _FAINT_K
        self._growing.cover_where(strong, 1)

    def _power_w(self, source: NDArray[np.float32]) -> float:
        """Power that a source of scale 1 gives to the cells that are computed and not held."""
        key = (source, *self._box.tolist())
        if self._power_of is None or self._power_of[0] is not source or self._power_of[1:] != key[1:]:
            self._power = float(free_sum(source, self._held, self._box)) * self.spacing_m**3
            self._power_of = key
        return self._power

    def _grow(self) -> None:
        if self.insulated:
            return
        if shell_change(self._u, self._at_rest, self._tissue, self._box) > _STILL_K:
            self._growing.grow()

    # ------------------------------------------------------------------ what can be read

    def _stored(self, mask: NDArray[np.bool_]) -> float:
        heat = self._table[self._tissue[mask], HEAT].astype(np.float64)
        change = (self._u[mask] - self._at_rest[self._tissue[mask]]).astype(np.float64)
        return float((change * heat).sum()) * self.spacing_m**3

    @property
    def ledger(self) -> EnergyLedger:
        """Heat delivered by sources, stored in the tissue that is not held, and removed by all else."""
        stored = float(stored_heat(self._u, self._at_rest, self._tissue, self._table, self._held, self._box))
        return EnergyLedger(self._delivered_j, stored * self.spacing_m**3 + self._held_j, self._removed_j)

    @property
    def holds(self) -> bool:
        """Whether any cell is held."""
        return len(self._held_cells) > 0

    @property
    def temperature_c(self) -> NDArray[np.float32]:
        """Temperatures now, in the solver's shape."""
        core = (slice(1, -1),) * 3
        return self.curves.temperature_c(self._u[core], self._tissue[core]).astype(np.float32)

    @property
    def hottest_c(self) -> float:
        """Hottest temperature after the last step."""
        return float(self._extremes[self._growing.slabs, 0].max())

    @property
    def coldest_c(self) -> float:
        """Coldest temperature after the last step."""
        return float(self._extremes[self._growing.slabs, 1].min())

    @property
    def edge_change_k(self) -> float:
        """Greatest change since the start next to the far wall, in kelvin of enthalpy temperature."""
        whole = np.array([v for n in self.shape for v in (1, n + 1)], dtype=np.int64)
        return float(shell_change(self._u, self._at_rest, self._tissue, whole))

    def ohmic_conductivity_s_m(
        self, rest: FloatArray, slope_per_k: FloatArray, decades: float
    ) -> NDArray[np.float32]:
        """Electric conductivity of every cell as it is now, in the solver's shape.

        Args:
            rest, slope_per_k: (n,) at 37 °C and relative change per kelvin, one a tissue.
            decades: by which it falls when all water has boiled off.
        """
        out = np.empty(self.shape, dtype=np.float32)
        with threads_for(out.size):
            ohmic_conductivity(
                self._u, self._tissue, self._table, rest.astype(np.float32), slope_per_k.astype(np.float32),
                np.float32(decades), out,
            )  # fmt: skip
        return out

    def scale_to_hold(
        self, source_w_m3: NDArray[np.float32], last_scale: float, temperature_c: float, horizon_s: float
    ) -> float:
        """Scale of a source with which no cell passes a temperature within a time.

        Every cell is taken to go on as it did in the last step, but for the source; the hottest cell decides. No
        less than 0; infinite where nothing is heated yet.

        Args:
            source_w_m3: as in ``advance``.
            last_scale: scale of it during the last step.
            temperature_c: below the boiling point, or at it.
            horizon_s: time in which the temperature may be reached.
        """
        return float(
            scale_to_hold(
                self._start, self._u, source_w_m3, self._held, self._tissue, self._table, last_scale,
                self._last_step_s, temperature_c, horizon_s, self._box,
            )
        )  # fmt: skip

    def dose(self, criterion: DamageCriterion) -> NDArray[np.float32]:
        """Dose of one of the criteria, in the solver's shape."""
        return self._doses[self.criteria.index(criterion)][1:-1, 1:-1, 1:-1]

    def restart_dose(self, criterion: DamageCriterion) -> None:
        """Begins a criterion's dose anew, for instance the coldest temperature of the next freeze."""
        start = criterion.dose_at_start
        self._doses[self.criteria.index(criterion)] = start if np.isfinite(start) else self.body_temperature_c


def _pure_rows(tissue: NDArray[np.uint8]) -> NDArray[np.int16]:
    """(nx, ny) tissue of each row along the last axis where it and the rows around it hold one tissue, else -1."""
    # Signed: -1 must not become the last of the unsigned numbers.
    least, most = tissue.min(axis=2).astype(np.int16), tissue.max(axis=2).astype(np.int16)
    pure = np.full(tissue.shape[:2], -1, dtype=np.int16)
    core = (slice(1, -1), slice(1, -1))
    one = least == most
    same = one[core].copy()
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        same &= (np.roll(one, shift, axis) & (np.roll(least, shift, axis) == least))[core]
    pure[core] = np.where(same, least[core], -1)
    return pure


def _potentials(
    u: NDArray[np.float32], tissue: NDArray[np.uint8], table: NDArray[np.float32]
) -> NDArray[np.float32]:
    out = np.empty_like(u)
    _potentials_of(u.ravel(), tissue.ravel(), table, out.ravel())
    return out


def _potentials_of(u: Any, tissue: Any, table: Any, out: Any) -> None:
    from needleplan.ablation.bioheat.enthalpy import potentials

    potentials(u, tissue, table, out)
