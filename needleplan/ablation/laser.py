"""Laser ablation: light diffuses, is absorbed, heats, and coagulated tissue scatters more of it.

    div(D grad phi) - mu_a phi + s = 0,   D = 1 / 3 (mu_a + mu_s'),   q = mu_a phi

Diffusion approximation (Ishimaru; for tissue: Welch and van Gemert, Optical-Thermal Response of Laser-Irradiated
Tissue). The source is a line of points along a diffuser, or one point a transport length ahead of a bare fibre's
end. Where tissue has coagulated the reduced scattering changes, and the light is computed anew.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.criteria import heat_criteria
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.heating import Delivery, HeatCourse, HeatOptions
from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.preparation import physics_by_name, prepared_course, refuse_switching
from needleplan.ablation.schedule import Firing, check_apart, check_times, checked_power_w, firings
from needleplan.ablation.solver_domain import SolverDomain
from needleplan.ablation.tissue_map import TissueMap, homogeneous
from needleplan.devices.applicator_physics import LaserFibre
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.plan import Insertion

#: The light is computed anew that often while tissue coagulates.
_RESOLVE_S = 15.0
#: Voxels larger than this share of the light's penetration depth resolve it badly, and larger than the other not at
#: all.
_FINE_SHARE, _COARSE_SHARE = 0.25, 1.0
_TOLERANCE = 1e-4


class LaserModel(ZoneModel):
    """Zones of bare and diffusing laser fibres by light diffusion and the bioheat equation.

    Args:
        options: how the heat is computed.
        delivery: one fibre after the other, or all together.
        tissue: name of the tissue about the fibres where no map is given.
    """

    def __init__(
        self,
        options: HeatOptions | None = None,
        delivery: Delivery = Delivery.SIMULTANEOUS,
        tissue: str = "liver",
    ) -> None:
        refuse_switching(delivery, "laser fibres")
        self.options = options or HeatOptions(spacing_mm=0.75, reach_mm=20.0)
        self.delivery = delivery
        self.tissue = builtin_tissues().tissue(tissue)

    @property
    def name(self) -> str:
        """See ZoneModel."""
        return f"laser bioheat ({self.delivery}, {self.options.spacing_mm:g} mm, {self.tissue.name})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "Light diffuses: within a millimetre of the fibre, and once tissue chars, that is wrong; cooling of a "
            "catheter about the fibre is not modelled.",
            "Optical properties of living tissue are known badly: a penetration depth of 2.5 to 5 mm is the honest "
            f"band. Where no tissue map is given the tissue is endless {self.tissue.name}.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel."""
        check_times(insertions)
        fibres = physics_by_name(insertions, LaserFibre, "laser fibre")
        groups = firings(insertions, self.delivery)
        for group in groups:
            for firing in group:
                fibre = fibres[firing.insertion.applicator]
                checked_power_w(fibre.name, firing.ablation.power_w, fibre.maximum_power_w)
        criteria = self.options.criteria or heat_criteria()
        if not groups:
            return nothing(criteria.central.words)
        around = tissue or homogeneous(self.tissue)
        parts = [[_part(firing, fibres) for firing in group] for group in groups]
        for together in parts:
            check_apart(together)
        options = self.options
        lengths = {name: one.diffuser_length_mm or 0.0 for name, one in fibres.items()}
        course = prepared_course(
            insertions, (part for together in parts for part in together), lengths, around, options, criteria
        )
        notes: list[str] = []
        solves = 0
        for turn, group in enumerate(groups):
            if turn:
                course.advance(options.interval_s)
            solves += self._fire(course, group, fibres, notes)
        course.advance(options.cool_down_s)
        return course.prediction(
            (Quantity("solutions of the light", float(solves), "1"),), tuple(dict.fromkeys(notes))
        )

    def _fire(
        self, course: HeatCourse, group: tuple[Firing, ...], fibres: dict[str, LaserFibre], notes: list[str]
    ) -> int:
        domain = course.domain
        lights = []
        for firing in group:
            fibre = fibres[firing.insertion.applicator]
            light = _Light(domain, fibre, firing)
            _check_resolution(domain, light, notes)
            lights.append(light)
        ends = sorted({firing.ablation.duration_s for firing in group})
        began_s, now_s, solves = course.solver.time_s, 0.0, 0
        for end_s in ends:
            on = [k for k, firing in enumerate(group) if firing.ablation.duration_s >= end_s]
            powers = [float(group[k].ablation.power_w or 0.0) for k in on]
            while now_s < end_s - 1e-6:
                coagulated = course.level(course.criteria.central) >= 0
                heat = sum(power * lights[k].heat_per_watt(coagulated) for k, power in zip(on, powers, strict=True))
                solves += len(on)
                step_s = min(_RESOLVE_S, end_s - now_s)
                course.advance(step_s, course.solver.padded(np.asarray(heat)), 1.0, sum(powers))
                now_s = course.solver.time_s - began_s
        return solves


class _Light:
    """The light of one fibre."""

    def __init__(self, domain: SolverDomain, fibre: LaserFibre, firing: Firing) -> None:
        wavelength = int(fibre.wavelength_nm)
        self.domain = domain
        tissues = domain.tissues
        self.absorption = np.array([one.known(f"absorption_{wavelength}_nm_per_m") for one in tissues])
        self.native = np.array([one.known(f"reduced_scattering_{wavelength}_nm_per_m") for one in tissues])
        self.coagulated = np.array(
            [one.known(f"coagulated_reduced_scattering_{wavelength}_nm_per_m") for one in tissues]
        )
        tip = np.asarray(firing.ablation.tip_mm)
        if fibre.kind == "bare":
            here = tissues.index(domain.at(tip[None]))
            ahead_mm = 1e3 / (self.absorption[here] + self.native[here])
            points = (tip + ahead_mm * firing.direction)[None]
        else:
            length = float(fibre.diffuser_length_mm or 0.0)
            count = max(2, int(np.ceil(2.0 * length / domain.spacing_mm)))
            back = (np.arange(count) + 0.5) / count * length
            points = tip - back[:, None] * firing.direction
        self.source = spread_points(domain.grid, points, np.full(len(points), 1.0 / len(points)))
        self.solver = DiffusionSolver(domain.grid.shape, domain.spacing_mm, walls="grounded")

    def heat_per_watt(self, coagulated: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Absorbed power per volume for 1 W out of the fibre, 1/m3; its integral is 1."""
        m = self.domain.tissue
        absorption = self.absorption[m]
        scattering = np.where(coagulated, self.coagulated[m], self.native[m])
        diffusion = 1.0 / (3.0 * (absorption + scattering))
        self.solver.set_coefficients(diffusion.astype(np.float32), absorption.astype(np.float32))
        volume = (1e-3 * self.domain.spacing_mm) ** 3
        fluence = self.solver.solve(source=(self.source / volume).astype(np.float32), tolerance=_TOLERANCE)
        heat = absorption * np.maximum(fluence.astype(np.float64), 0.0)
        return np.asarray(heat / (heat.sum() * volume))

    def least_penetration_mm(self) -> float:
        """Least penetration depth, 1 / sqrt(3 mu_a (mu_a + mu_s')), of the tissues that light meets first."""
        here = np.unique(self.domain.tissue[self.source > 0])
        scattering = np.maximum(self.native[here], self.coagulated[here])
        return float((1e3 / np.sqrt(3.0 * self.absorption[here] * (self.absorption[here] + scattering))).min())


def spread_points(grid: Grid, points_mm: FloatArray, weights: FloatArray) -> NDArray[np.float64]:
    """Weights of points shared out to the eight voxels about each, trilinearly, in the grid's shape."""
    total = np.zeros(grid.shape)
    index = grid.to_index(points_mm)
    base = np.floor(index).astype(int)
    share = index - base
    for corner in np.ndindex(2, 2, 2):
        chosen = np.asarray(corner)
        part = np.prod(np.where(chosen == 1, share, 1.0 - share), axis=1)
        np.add.at(total, tuple((base + chosen).T), part * weights)
    return total


def _check_resolution(domain: SolverDomain, light: _Light, notes: list[str]) -> None:
    depth_mm, spacing_mm = light.least_penetration_mm(), domain.spacing_mm
    if spacing_mm > _COARSE_SHARE * depth_mm:
        raise PhysicsError(
            f"a grid of {spacing_mm:g} mm cannot resolve light that penetrates {depth_mm:.2f} mm: take "
            f"{_FINE_SHARE * depth_mm:.2f} mm or less"
        )
    if spacing_mm > _FINE_SHARE * depth_mm:
        notes.append(
            f"The grid of {spacing_mm:g} mm is coarse for light that penetrates {depth_mm:.2f} mm in coagulated "
            "tissue; the absorbed power is corrected to the emitted one."
        )


def _part(firing: Firing, fibres: dict[str, LaserFibre]) -> NeedlePart:
    fibre = fibres[firing.insertion.applicator]
    return firing.part(float(fibre.diffuser_length_mm or fibre.diameter_mm), fibre.diameter_mm)
