"""Closed forms of electrodes: spheres, shells, one-voxel lines, and the heat that current leaves."""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import distances, need_positive
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Euler's constant.
_EULER_GAMMA = 0.57721566490153286
#: Images of a pair of spheres whose charge is a smaller share of the whole no longer matter.
_SMALLEST_IMAGE = 1e-16


def sphere_electrode_resistance_ohm(
    electrode_radius_m: float, conductivity_s_m: float, outer_radius_m: float = math.inf
) -> float:
    """Resistance from a ball to a concentric grounded sphere, (1/a - 1/L) / (4 pi sigma).

    Power is V² over it, current V over it.
    """
    need_positive(electrode_radius_m=electrode_radius_m, conductivity_s_m=conductivity_s_m)
    if not outer_radius_m > electrode_radius_m:
        raise PhysicsError("the grounded sphere must be larger than the electrode in it")
    return (1.0 / electrode_radius_m - 1.0 / outer_radius_m) / (4.0 * math.pi * conductivity_s_m)


def sphere_electrode_field_v_m(
    radius_m: ArrayLike, voltage_v: float, electrode_radius_m: float, outer_radius_m: float = math.inf
) -> FloatArray:
    """Field strength about a ball at a voltage, V a / r², with the ground at infinity or at a sphere."""
    r = distances("radius_m", radius_m, electrode_radius_m)
    share = 1.0 / (1.0 - electrode_radius_m / outer_radius_m)
    return voltage_v * electrode_radius_m * share / r**2


def rf_potential_rise_k(voltage_v: float, conductivity_s_m: float, conductivity_w_m_k: float) -> float:
    """Rise of a thermally insulated electrode of any shape, Phi = sigma V² / (2 k), without perfusion.

    The relation of voltage and temperature of electric contacts (Kohlrausch; Holm, Electric Contacts 1967) for
    constant properties, all else at the surroundings' temperature.
    """
    need_positive(conductivity_s_m=conductivity_s_m, conductivity_w_m_k=conductivity_w_m_k)
    return conductivity_s_m * voltage_v**2 / (2.0 * conductivity_w_m_k)


def rf_sphere_k(
    radius_m: ArrayLike,
    electrode_radius_m: float,
    voltage_v: float,
    conductivity_s_m: float,
    conductivity_w_m_k: float,
    electrode_rise_k: float,
) -> FloatArray:
    """Steady rise about a ball at a voltage that is cooled or held at a rise, without perfusion.

    (a/r) (theta_c + Phi) - Phi (a/r)², which solves k laplace theta + sigma V² a² / r⁴ = 0. ``electrode_rise_k`` of
    Phi is the electrode that takes up no heat.
    """
    r = distances("radius_m", radius_m, electrode_radius_m)
    phi = rf_potential_rise_k(voltage_v, conductivity_s_m, conductivity_w_m_k)
    ratio = electrode_radius_m / r
    return ratio * (electrode_rise_k + phi) - phi * ratio**2


def rf_sphere_peak(
    electrode_radius_m: float,
    voltage_v: float,
    conductivity_s_m: float,
    conductivity_w_m_k: float,
    electrode_rise_k: float,
) -> tuple[float, float]:
    """Greatest rise about such a ball, (theta_c + Phi)² / (4 Phi), and its radius 2 a Phi / (theta_c + Phi).

    Raises:
        PhysicsError: the electrode is colder than -Phi, so that no tissue is warmer than the surroundings far away.
    """
    phi = rf_potential_rise_k(voltage_v, conductivity_s_m, conductivity_w_m_k)
    total = electrode_rise_k + phi
    if not total > 0.0:
        raise PhysicsError(
            f"an electrode {-electrode_rise_k:g} K cold outdoes the {phi:g} K that the current gives"
        )
    if electrode_rise_k >= phi:
        # An electrode that gives off heat is itself the hottest place.
        return electrode_rise_k, electrode_radius_m
    return total**2 / (4.0 * phi), 2.0 * electrode_radius_m * phi / total


def sphere_pair_images(electrode_radius_m: float, distance_m: float) -> tuple[FloatArray, FloatArray]:
    """Image charges of one of two equal balls at opposite voltages.

    q_0 = 1 at the centre, q_{n+1} = q_n a / (d - x_n) at x_{n+1} = a² / (d - x_n) from the centre towards the other
    ball, whose images mirror them with the other sign (method of images, Maxwell, Treatise, chapter XI).

    Returns:
        Distances x_n (m) from the ball's centre, and charges in units of the first.
    """
    need_positive(electrode_radius_m=electrode_radius_m)
    if not distance_m > 2.0 * electrode_radius_m:
        raise PhysicsError("the centres of two electrodes must lie more than two radii apart")
    places, charges = [0.0], [1.0]
    while charges[-1] > _SMALLEST_IMAGE * charges[0]:
        gap = distance_m - places[-1]
        places.append(electrode_radius_m**2 / gap)
        charges.append(charges[-1] * electrode_radius_m / gap)
    return np.array(places), np.array(charges)


def sphere_pair_conductance_s(electrode_radius_m: float, distance_m: float, conductivity_s_m: float) -> float:
    """Conductance between two equal balls in endless tissue, 2 pi a sigma times the sum of the image charges."""
    need_positive(conductivity_s_m=conductivity_s_m)
    _, charges = sphere_pair_images(electrode_radius_m, distance_m)
    return float(2.0 * math.pi * electrode_radius_m * conductivity_s_m * charges.sum())


def sphere_pair_potential_v(
    points_m: ArrayLike, electrode_radius_m: float, distance_m: float, voltage_v: float
) -> FloatArray:
    """Potential at points (n, 3) outside two equal balls at +V/2, centred at the origin, and -V/2, at (d, 0, 0)."""
    points = np.asarray(points_m, dtype=np.float64)
    places, charges = sphere_pair_images(electrode_radius_m, distance_m)
    across = np.hypot(points[:, 1], points[:, 2])[:, None]
    near = np.hypot(points[:, :1] - places, across)
    far = np.hypot(points[:, :1] - (distance_m - places), across)
    return 0.5 * voltage_v * electrode_radius_m * np.sum(charges / near - charges / far, axis=1)


def shell_power_w_m3(
    radius_m: ArrayLike, inner_radius_m: float, outer_radius_m: float, voltage_v: float, conductivity_s_m: float
) -> FloatArray:
    """Heat per volume between coaxial cylinders at a voltage, sigma (V / (r ln(R2 / R1)))²."""
    r = distances("radius_m", radius_m, inner_radius_m)
    return conductivity_s_m * (voltage_v / (r * math.log(outer_radius_m / inner_radius_m))) ** 2


def shell_resistance_ohm_m(inner_radius_m: float, outer_radius_m: float, conductivity_s_m: float) -> float:
    """Resistance times length between coaxial cylinders, ln(R2 / R1) / (2 pi sigma)."""
    need_positive(inner_radius_m=inner_radius_m, conductivity_s_m=conductivity_s_m)
    if not outer_radius_m > inner_radius_m:
        raise PhysicsError("the outer cylinder must be larger than the inner one")
    return math.log(outer_radius_m / inner_radius_m) / (2.0 * math.pi * conductivity_s_m)


def voxel_line_radius_m(spacing_m: float) -> float:
    """Radius of the cylinder that a line of single cells of a 7-point scheme stands for.

    exp(-gamma) h / (2 sqrt 2) = 0.1985 h (Peaceman, SPE J 1978;18:183), the asymptote of the Green's function of
    the square lattice.
    """
    need_positive(spacing_m=spacing_m)
    return math.exp(-_EULER_GAMMA) / (2.0 * math.sqrt(2.0)) * spacing_m


def thin_needle_face_factor(spacing_m: float, needle_radius_m: float) -> float:
    """Factor on the four transverse faces of a one-cell line that makes it a needle of a radius.

    (pi/2) / ln(h / a): with it the flow from the cell to its neighbours is that from a cylinder of radius a to the
    distance h.

    Raises:
        PhysicsError: a needle not thinner than the cells, which has to be drawn on the grid instead.
    """
    need_positive(spacing_m=spacing_m, needle_radius_m=needle_radius_m)
    if needle_radius_m >= spacing_m:
        raise PhysicsError(
            f"a needle of {needle_radius_m:g} m radius is no thin line on cells of {spacing_m:g} m: "
            "draw its section on the grid"
        )
    return 0.5 * math.pi / math.log(spacing_m / needle_radius_m)


def pulse_heating_k(
    field_v_m: ArrayLike, conductivity_s_m: float, pulses: int, pulse_length_s: float, heat_capacity_j_m3_k: float
) -> FloatArray:
    """Rise by pulses if no heat flows away, sigma E² n tau / (rho c); an upper bound."""
    need_positive(heat_capacity_j_m3_k=heat_capacity_j_m3_k, pulse_length_s=pulse_length_s)
    field = np.asarray(field_v_m, dtype=np.float64)
    return conductivity_s_m * field**2 * pulses * pulse_length_s / heat_capacity_j_m3_k
