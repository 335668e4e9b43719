"""Closed forms of vessels beside heat, and of the zone that perfusion limits."""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import distances, need_positive
from needleplan.ablation.closed_forms.heat import perfusion_coefficient_per_m
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray


def vessel_heat_w_m(
    vessel_radius_m: float,
    outer_radius_m: float,
    outer_rise_k: float,
    conductivity_w_m_k: float,
    transfer_w_m2_k: float = math.inf,
) -> float:
    """Heat per length that a vessel takes from a coaxial cylinder of tissue whose outside is held at a rise.

    2 pi k dT / (ln(R2 / R1) + k / (h R1)), steady (Carslaw and Jaeger 7.2); an infinite h is a wall at blood
    temperature.

    Raises:
        PhysicsError: radii that make no annulus, or properties that are not positive.
    """
    need_positive(vessel_radius_m=vessel_radius_m, conductivity_w_m_k=conductivity_w_m_k)
    if not outer_radius_m > vessel_radius_m:
        raise PhysicsError("the outer radius of the tissue must exceed that of the vessel in it")
    if not transfer_w_m2_k > 0.0:
        raise PhysicsError(f"transfer_w_m2_k must be a positive number, but is {transfer_w_m2_k:g}")
    resistance = math.log(outer_radius_m / vessel_radius_m)
    resistance += conductivity_w_m_k / (transfer_w_m2_k * vessel_radius_m)
    return 2.0 * math.pi * conductivity_w_m_k * outer_rise_k / resistance


def vessel_annulus_k(
    radius_m: ArrayLike,
    vessel_radius_m: float,
    outer_radius_m: float,
    outer_rise_k: float,
    conductivity_w_m_k: float,
    transfer_w_m2_k: float = math.inf,
) -> FloatArray:
    """Steady rise between the vessel's wall and the outer radius; arguments as in ``vessel_heat_w_m``."""
    r = distances("radius_m", radius_m, vessel_radius_m)
    heat = vessel_heat_w_m(vessel_radius_m, outer_radius_m, outer_rise_k, conductivity_w_m_k, transfer_w_m2_k)
    at_wall = heat / (2.0 * math.pi * vessel_radius_m * transfer_w_m2_k)
    return at_wall + heat / (2.0 * math.pi * conductivity_w_m_k) * np.log(r / vessel_radius_m)


def line_source_beside_vessel_k(
    x_m: ArrayLike,
    y_m: ArrayLike,
    power_w_m: float,
    conductivity_w_m_k: float,
    vessel_radius_m: float,
    distance_m: float,
) -> FloatArray:
    """Steady rise of a line source beside a parallel vessel at blood temperature, without perfusion.

    q' / (2 pi k) ln[(D / a) |x - a²/D| / |x - D|] by an image of the source inside the vessel, which is the origin
    of the plane; the source is at (D, 0).

    Args:
        x_m, y_m: points of one shape after broadcasting, outside the vessel.
        power_w_m: heat per length of the source.
        conductivity_w_m_k: of the tissue.
        vessel_radius_m: a.
        distance_m: D, from the vessel's axis to the source.

    Raises:
        PhysicsError: a source or a point inside the vessel.
    """
    need_positive(conductivity_w_m_k=conductivity_w_m_k, vessel_radius_m=vessel_radius_m)
    if not distance_m > vessel_radius_m:
        raise PhysicsError("the source must lie outside the vessel")
    x, y = np.asarray(x_m, dtype=np.float64), np.asarray(y_m, dtype=np.float64)
    distances("distance of a point from the vessel's axis", np.hypot(x, y), vessel_radius_m * (1.0 - 1e-12))
    image = vessel_radius_m**2 / distance_m
    with np.errstate(divide="ignore"):
        ratio = distance_m / vessel_radius_m * np.hypot(x - image, y) / np.hypot(x - distance_m, y)
    return power_w_m / (2.0 * math.pi * conductivity_w_m_k) * np.log(ratio)


def coagulum_radius_m(
    power_w: float, critical_rise_k: float, conductivity_w_m_k: float, perfusion_w_m3_k: float
) -> float:
    """Radius to which a point source coagulates tissue in the end, where coagulation stops the perfusion.

    No perfusion inside Rc, full perfusion outside, and the critical rise at Rc:
    [-1 + sqrt(1 + l P / (pi k theta))] / (2 l), the root of the balance of heat
    4 pi k Rc theta (1 + l Rc) = P.
    """
    need_positive(power_w=power_w, critical_rise_k=critical_rise_k, perfusion_w_m3_k=perfusion_w_m3_k)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    x = rate * power_w / (math.pi * conductivity_w_m_k * critical_rise_k)
    return x / (1.0 + math.sqrt(1.0 + x)) / (2.0 * rate)


def coagulum_k(
    radius_m: ArrayLike,
    power_w: float,
    critical_rise_k: float,
    conductivity_w_m_k: float,
    perfusion_w_m3_k: float,
) -> FloatArray:
    """Steady rise within and about such a coagulum; arguments as in ``coagulum_radius_m``."""
    r = distances("radius_m", radius_m)
    edge = coagulum_radius_m(power_w, critical_rise_k, conductivity_w_m_k, perfusion_w_m3_k)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    with np.errstate(divide="ignore"):
        inside = critical_rise_k + power_w / (4.0 * math.pi * conductivity_w_m_k) * (1.0 / r - 1.0 / edge)
    outer = np.maximum(r, edge)
    return np.where(r < edge, inside, critical_rise_k * edge / outer * np.exp(-rate * (outer - edge)))
