"""Rise of temperature about one heating needle per watt: closed forms of points, spread out and added along it."""

import math
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.closed_forms.heat import point_source_at_k
from needleplan.ablation.closed_forms.optics import effective_attenuation_per_m
from needleplan.ablation.microwave import attenuation_per_m
from needleplan.devices.applicator_physics import ApplicatorPhysics, LaserFibre, MicrowaveAntenna
from needleplan.devices.tissue import Tissue
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray

#: Steps of the radii that single points are tabulated at, and of the shells that their power is spread over.
_RADIUS_STEP_M = 2.5e-4
#: Step of the tables of whole needles.
TABLE_STEP_MM = 0.5
#: Share of the power that may lie beyond the outermost shell; it is put into that shell.
_SPREAD_TAIL = 1e-4
#: Length of a radiating part for each of its points of Gauss and Legendre, and the fewest of them.
_LINE_STEP_MM = 1.5
_FEWEST_LINE_POINTS = 8
#: The current of an antenna along its radiating length L falls like cos(pi z / (1.2 L)) from the middle.
_CURRENT_LENGTH = 1.2


@dataclass(frozen=True, slots=True)
class HeatSource:
    """Where a needle's power becomes heat.

    The power of each point of the needle is spread over the distance R from it: a share exp(-a R) of it gets
    farther than R from an antenna (density exp(-a R) / R²), (1 + a R) exp(-a R) from a fibre, whose light diffuses
    (density exp(-a R) / R).

    Attributes:
        length_mm: from the tip backward; 0 for a point.
        decay_per_m: a.
        diffuses: True for light.
        is_tapered: True where the middle of the length gives more than its ends, as in an antenna.
        efficiency: share of the stated power that becomes heat in tissue.
    """

    length_mm: float
    decay_per_m: float
    diffuses: bool
    is_tapered: bool
    efficiency: float


def heat_source(physics: ApplicatorPhysics, tissue: Tissue) -> HeatSource:
    """The source of an antenna or a fibre in a tissue.

    Raises:
        DeviceError: the needle is neither, or the table does not know what is needed of the tissue.
    """
    if isinstance(physics, MicrowaveAntenna):
        band = f"{physics.frequency_mhz:.0f}_mhz"
        decay = 2.0 * attenuation_per_m(
            tissue.known(f"conductivity_{band}_s_m"),
            tissue.known(f"permittivity_{band}"),
            1e6 * physics.frequency_mhz,
        )
        return HeatSource(physics.radiating_length_mm, decay, False, True, physics.efficiency)
    if isinstance(physics, LaserFibre):
        band = f"{physics.wavelength_nm:.0f}_nm_per_m"
        decay = effective_attenuation_per_m(
            tissue.known(f"absorption_{band}"), tissue.known(f"reduced_scattering_{band}")
        )
        return HeatSource(physics.diffuser_length_mm or 0.0, decay, True, False, 1.0)
    raise DeviceError(
        f"temperatures of {physics.name} cannot be added: only microwave antennas and laser fibres heat "
        "independently of each other"
    )


def most_power_w(physics: ApplicatorPhysics) -> float | None:
    """Greatest power of an antenna or a fibre; None where none is stated."""
    return physics.maximum_power_w if isinstance(physics, MicrowaveAntenna | LaserFibre) else None


def needle_response_k_per_w(
    source: HeatSource, times_s: FloatArray, reach_mm: float, tissue: Tissue, perfusion_w_m3_k: float
) -> FloatArray:
    """Rise per watt of stated power about a needle that heats since time 0, constant properties.

    Args:
        source: the needle's.
        times_s: (n,) times; nothing has risen at zero and before.
        reach_mm: how far from any point of the needle the table goes.
        tissue: conductivity and heat capacity.
        perfusion_w_m3_k: heat that blood carries off per volume and kelvin.

    Returns:
        (n, nr, nz) rise at distances ``TABLE_STEP_MM`` x 0, 1, ... from the axis, and along it from ``reach_mm``
        behind the source to ``reach_mm`` beyond the tip.
    """
    radius_mm, along_mm = response_axes_mm(source, reach_mm)
    if source.length_mm > 0.0:
        nodes, shares = np.polynomial.legendre.leggauss(
            max(_FEWEST_LINE_POINTS, math.ceil(source.length_mm / _LINE_STEP_MM))
        )
        places = -0.5 * source.length_mm * (1.0 + nodes)
        if source.is_tapered:
            shares = shares * np.cos(0.5 * np.pi * nodes / _CURRENT_LENGTH)
        shares = shares / shares.sum()
    else:
        places, shares = np.zeros(1), np.ones(1)
    far = math.hypot(radius_mm[-1], along_mm[-1] - along_mm[0])
    radii, rises = _point_response(source, times_s, 1e-3 * far, tissue, perfusion_w_m3_k)
    result = np.zeros((len(times_s), len(radius_mm), len(along_mm)))
    for place, share in zip(places, shares, strict=True):
        distance = 1e-3 * np.hypot(radius_mm[:, None], along_mm[None, :] - place)
        where = distance / _RADIUS_STEP_M
        low = np.minimum(where.astype(np.int64), len(radii) - 2)
        part = where - low
        result += source.efficiency * share * (rises[:, low] * (1.0 - part) + rises[:, low + 1] * part)
    return result


def response_axes_mm(source: HeatSource, reach_mm: float) -> tuple[FloatArray, FloatArray]:
    """Distances from the axis and places along it (0 at the tip, positive ahead of it) of a response's table."""
    count = math.ceil(reach_mm / TABLE_STEP_MM) + 1
    behind = math.ceil((reach_mm + source.length_mm) / TABLE_STEP_MM)
    places = np.arange(-behind, count, dtype=np.float64) * TABLE_STEP_MM
    return np.maximum(places[behind:], 0.0), places


def _point_response(
    source: HeatSource, times_s: FloatArray, far_m: float, tissue: Tissue, perfusion_w_m3_k: float
) -> tuple[FloatArray, FloatArray]:
    """Radii (m,) from 0 on and rise (n, m) per watt about one point whose power is spread over shells.

    A shell of radius s about a point source's place has, at distance r from its centre, the mean rise of point
    sources on it, the integral of g from |r - s| to r + s over 2 r s, where g(x) is x times the rise of a point.
    """
    step = _RADIUS_STEP_M
    radii = np.arange(math.ceil(far_m / step) + 2, dtype=np.float64) * step
    # Until only the tail is left: exp(-y), or (1 + y) exp(-y) for light, which a third as much again covers.
    farthest = -math.log(_SPREAD_TAIL) * (1.33 if source.diffuses else 1.0) / source.decay_per_m
    edges = np.arange(math.ceil(farthest / step) + 1) * step
    y = source.decay_per_m * edges
    beyond = (1.0 + y if source.diffuses else 1.0) * np.exp(-y)
    beyond[-1] = 0.0
    weights, shells = -np.diff(beyond), edges[:-1] + 0.5 * step
    # Sums of radii (whole steps) and shells (half steps) fall on quarter points: g is integrated in half steps.
    x = np.arange(2 * (len(radii) + len(shells)) + 2) * (0.5 * step)
    g = np.zeros((len(times_s), len(x)))
    for row, time in enumerate(times_s):
        if time > 0.0:
            from_zero = np.maximum(x, 1e-9)
            g[row] = from_zero * point_source_at_k(
                from_zero,
                time,
                1.0,
                tissue.thermal_conductivity_w_m_k,
                tissue.volumetric_heat_j_m3_k,
                perfusion_w_m3_k,
            )
    integral = np.zeros_like(g)
    np.cumsum(0.25 * step * (g[:, 1:] + g[:, :-1]), axis=1, out=integral[:, 1:])
    rises = np.zeros((len(times_s), len(radii)))
    of_radius = 2 * np.arange(1, len(radii))
    for j, (weight, shell) in enumerate(zip(weights, shells, strict=True)):
        outer, inner = of_radius + 2 * j + 1, np.abs(of_radius - 2 * j - 1)
        rises[:, 1:] += weight * (integral[:, outer] - integral[:, inner]) / (2.0 * radii[1:] * shell)
        rises[:, 0] += weight * g[:, 2 * j + 1] / shell
    return radii, rises
