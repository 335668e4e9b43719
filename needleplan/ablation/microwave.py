"""Microwave ablation: heat from the far field of a slot antenna, conducted and perfused.

Source of one antenna, per volume (physics of a line of point radiators; the form is the one that generic 2.45 GHz
models are fitted with, not an antenna's own field):

    q(x) = eta P (2 alpha / 4 pi) <cos(pi z / 1.2 L) exp(-2 alpha R) / R^2> / <cos(pi z / 1.2 L)>

with z along the radiating length L, R the distance from a point of it, eta P the power that reaches tissue and
alpha the attenuation of a plane wave in it. The integral over all space is eta P exactly; what lies beyond the box
of voxels is known in closed form and taken off.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.criteria import heat_criteria
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.heating import Delivery, HeatCourse, HeatOptions
from needleplan.ablation.needle_contact import NeedlePart, needle_cells
from needleplan.ablation.preparation import physics_by_name, prepared_course, refuse_switching
from needleplan.ablation.schedule import Firing, check_apart, check_times, checked_power_w, firings
from needleplan.ablation.solver_domain import SolverDomain
from needleplan.ablation.tissue_map import TissueMap, homogeneous
from needleplan.devices.applicator_physics import MicrowaveAntenna
from needleplan.devices.tissue import Tissue
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Insertion

#: Vacuum permittivity (F/m) and permeability (H/m), CODATA 2018.
_EPSILON_0, _MU_0 = 8.8541878128e-12, 1.25663706212e-6
#: Radiators along the antenna.
_RADIATORS = 21
#: Directions over which the part of the power beyond the box is averaged.
_DIRECTIONS = 1000
#: Sub-samples along each side of a voxel near the antenna, and how near.
_SUBSAMPLES, _NEAR_VOXELS = 4, 2.5
#: Water in a cooled shaft.
_COOLANT_C, _COOLANT_TRANSFER_W_M2_K = 20.0, 3000.0
#: How far a cooled shaft is followed behind the radiating part.
_COOLED_SHAFT_MM = 30.0


def attenuation_per_m(conductivity_s_m: float, permittivity: float, frequency_hz: float) -> float:
    """Attenuation of a plane wave's amplitude, 1/m (power falls by twice that).

    alpha = omega sqrt(mu eps / 2) sqrt(sqrt(1 + (sigma / omega eps)^2) - 1); Balanis, Advanced Engineering
    Electromagnetics, table 4-1.
    """
    omega, epsilon = 2.0 * np.pi * frequency_hz, permittivity * _EPSILON_0
    loss = conductivity_s_m / (omega * epsilon)
    return float(omega * np.sqrt(0.5 * _MU_0 * epsilon * (np.sqrt(1.0 + loss**2) - 1.0)))


class MicrowaveModel(ZoneModel):
    """Zones of microwave antennas by the bioheat equation.

    Args:
        options: how the heat is computed.
        delivery: one antenna after the other, or all together.
        tissue: name of the tissue about the needles where no map is given.
    """

    def __init__(
        self,
        options: HeatOptions | None = None,
        delivery: Delivery = Delivery.SIMULTANEOUS,
        tissue: str = "liver",
    ) -> None:
        refuse_switching(delivery, "microwave antennas")
        self.options = options or HeatOptions()
        self.delivery = delivery
        self.tissue = builtin_tissues().tissue(tissue)

    @property
    def name(self) -> str:
        """See ZoneModel."""
        return f"microwave bioheat ({self.delivery}, {self.options.spacing_mm:g} mm, {self.tissue.name})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "The microwave source is a generic line of radiators normalised to the stated efficiency, not the "
            "field of a vendor's antenna; it keeps its shape while tissue heats and dries.",
            f"Where no tissue map is given the tissue is endless {self.tissue.name}; shrinkage of heated tissue is "
            "not modelled.",
        )

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel."""
        check_times(insertions)
        antennas = physics_by_name(insertions, MicrowaveAntenna, "microwave antenna")
        groups = firings(insertions, self.delivery)
        for group in groups:
            for firing in group:
                antenna = antennas[firing.insertion.applicator]
                checked_power_w(antenna.name, firing.ablation.power_w, antenna.maximum_power_w)
        if not groups:
            return nothing((self.options.criteria or heat_criteria()).central.words)
        around = tissue or homogeneous(self.tissue)
        parts = [[_part(firing, antennas) for firing in group] for group in groups]
        for together in parts:
            check_apart(together)
        options = self.options
        lengths = {name: one.radiating_length_mm for name, one in antennas.items()}
        course = prepared_course(
            insertions, (part for together in parts for part in together), lengths, around, options, heat_criteria()
        )
        domain = course.domain
        for turn, group in enumerate(groups):
            if turn:
                course.hold_needles(None, np.empty(0))
                course.advance(options.interval_s)
            self._fire(course, group, antennas)
        course.hold_needles(None, np.empty(0))
        course.advance(options.cool_down_s)
        about = dict.fromkeys(domain.at(_middle(part)).name for together in parts for part in together)
        return course.prediction(
            (Quantity("antennas at once", float(max(len(group) for group in groups)), "1"),),
            (
                f"Waves spread as if the tissue about each antenna ({', '.join(about)}) reached everywhere: they "
                "are not bent or reflected where tissues meet.",
            )
            if len(domain.tissues) > 1
            else (),
        )

    def _fire(self, course: HeatCourse, group: tuple[Firing, ...], antennas: dict[str, MicrowaveAntenna]) -> None:
        domain = course.domain
        cooled = [firing for firing in group if antennas[firing.insertion.applicator].cooled]
        if cooled:
            shafts = [_shaft(firing, antennas[firing.insertion.applicator], domain) for firing in cooled]
            films = [
                1e3 * domain.at(_middle(shaft)).thermal_conductivity_w_m_k / _COOLANT_TRANSFER_W_M2_K
                for shaft in shafts
            ]
            course.hold_needles(needle_cells(domain.grid, shafts, films), np.full(len(shafts), _COOLANT_C))
        powers = []
        for firing in group:
            antenna = antennas[firing.insertion.applicator]
            powers.append(antenna.efficiency * float(firing.ablation.power_w or 0.0))
        shapes = [microwave_source(domain, _part(f, antennas), antennas[f.insertion.applicator]) for f in group]
        ends = sorted({firing.ablation.duration_s for firing in group})
        began = 0.0
        for end in ends:
            on = [k for k, firing in enumerate(group) if firing.ablation.duration_s >= end]
            source = course.solver.padded(np.sum([powers[k] * shapes[k] for k in on], axis=0))
            course.advance(end - began, source, 1.0, sum(powers[k] for k in on))
            began = end


def microwave_source(domain: SolverDomain, part: NeedlePart, antenna: MicrowaveAntenna) -> NDArray[np.float64]:
    """Heat per watt into tissue, 1/m3, at the voxels of a domain (in its shape)."""
    tissue = domain.at(_middle(part))
    twice_alpha = 2.0 * antenna_attenuation_per_m(tissue, antenna)
    length_m = 1e-3 * antenna.radiating_length_mm
    z = np.linspace(-0.5, 0.5, _RADIATORS) * length_m
    weights = np.cos(np.pi * z / (1.2 * length_m))
    weights /= weights.sum()
    start, end = np.asarray(part.start_mm), np.asarray(part.end_mm)
    radiators = 0.5 * (start + end) + (z / length_m)[:, None] * (end - start)
    grid, spacing_mm = domain.grid, domain.spacing_mm
    radius_m = 1e-3 * part.radius_mm

    def density(points_mm: FloatArray) -> FloatArray:
        total = np.zeros(len(points_mm))
        for weight, radiator in zip(weights, radiators, strict=True):
            r = np.maximum(1e-3 * np.linalg.norm(points_mm - radiator, axis=1), radius_m)
            total += weight * np.exp(-twice_alpha * r) / r**2
        return total * twice_alpha / (4.0 * np.pi)

    points = grid.centres_mm()
    q = density(points)
    near = np.flatnonzero(part.distance_mm(points) < _NEAR_VOXELS * spacing_mm)
    offsets = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
    inner = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    inner_mm = inner @ grid.T_PV[:3, :3].T
    q[near] = density((points[near, None, :] + inner_mm).reshape(-1, 3)).reshape(len(near), -1).mean(axis=1)
    # What the form gives to the antenna's own metal is shared out to all tissue, within the box and beyond.
    q /= q.sum() * (1e-3 * spacing_mm) ** 3 + _beyond(domain, radiators, weights, twice_alpha)
    return q.reshape(grid.shape)


def antenna_attenuation_per_m(tissue: Tissue, antenna: MicrowaveAntenna) -> float:
    """Attenuation in a tissue at the antenna's frequency, 1/m."""
    megahertz = int(antenna.frequency_mhz)
    return attenuation_per_m(
        tissue.known(f"conductivity_{megahertz}_mhz_s_m"),
        tissue.known(f"permittivity_{megahertz}_mhz"),
        1e6 * megahertz,
    )


def _beyond(domain: SolverDomain, radiators: FloatArray, weights: FloatArray, twice_alpha: float) -> float:
    """Share of the power that is absorbed outside the box: along each direction exp(-2 alpha d), d the way to the
    wall, averaged over directions."""
    k = np.arange(_DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * k / _DIRECTIONS), np.pi * (1.0 + 5.0**0.5) * k
    directions = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
    places = domain.grid.to_index(radiators)
    low, high = places + 0.5, np.asarray(domain.grid.shape) - 0.5 - places
    share = 0.0
    for weight, below, above in zip(weights, low, high, strict=True):
        with np.errstate(divide="ignore"):
            way = np.where(directions > 0, above, below) / np.abs(directions)
        share += weight * float(np.exp(-twice_alpha * 1e-3 * domain.spacing_mm * way.min(axis=1)).mean())
    return share


def _part(firing: Firing, antennas: dict[str, MicrowaveAntenna]) -> NeedlePart:
    antenna = antennas[firing.insertion.applicator]
    return firing.part(antenna.radiating_length_mm, antenna.diameter_mm)


def _shaft(firing: Firing, antenna: MicrowaveAntenna, domain: SolverDomain) -> NeedlePart:
    """The cooled shaft behind the radiating part, as far as the domain reaches."""
    length = min(_COOLED_SHAFT_MM, _room_mm(domain, firing, antenna.radiating_length_mm))
    return firing.part(length, antenna.diameter_mm, antenna.radiating_length_mm)


def _room_mm(domain: SolverDomain, firing: Firing, from_tip_mm: float) -> float:
    lengths = np.arange(1.0, _COOLED_SHAFT_MM + 1.0)
    tip = np.asarray(firing.ablation.tip_mm)
    index = domain.grid.to_index(tip - (from_tip_mm + lengths)[:, None] * firing.direction)
    inside = np.asarray(((index > 3) & (index < np.asarray(domain.grid.shape) - 4)).all(axis=1))
    if not inside[0]:
        raise PhysicsError("the shaft of an antenna leaves the domain at once: enlarge reach_mm")
    return float(lengths[inside].max() if inside.all() else lengths[int(np.argmin(inside)) - 1])


def _middle(part: NeedlePart) -> FloatArray:
    return 0.5 * (np.array([part.start_mm]) + np.array([part.end_mm]))
