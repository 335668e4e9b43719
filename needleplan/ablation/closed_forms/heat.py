"""Closed forms of conduction with and without perfusion (Pennes equation, constant properties).

All give the rise of temperature above blood or surroundings in kelvin. ``perfusion_w_m3_k`` is w = omega rho_b c_b,
the heat that perfusion carries off per volume and kelvin; zero switches it off where a solution without it exists.
Sources: Pennes, J Appl Physiol 1948;1:93 for the equation; Carslaw and Jaeger, Conduction of Heat in Solids 1959,
for solutions without perfusion; those with it follow by the substitution theta exp(w t / rho c) (transient) or from
the modified Helmholtz equation (steady).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import distances, need_not_negative, need_positive
from needleplan.frames import FloatArray


def perfusion_coefficient_per_m(conductivity_w_m_k: float, perfusion_w_m3_k: float) -> float:
    """Inverse of the length over which perfusion damps a steady rise, lambda = sqrt(w / k)."""
    need_positive(conductivity_w_m_k=conductivity_w_m_k)
    need_not_negative(perfusion_w_m3_k=perfusion_w_m3_k)
    return math.sqrt(perfusion_w_m3_k / conductivity_w_m_k)


def sphere_source_k(
    radius_m: ArrayLike,
    source_radius_m: float,
    source_w_m3: float,
    conductivity_w_m_k: float,
    perfusion_w_m3_k: float,
) -> FloatArray:
    """Steady rise at radii (any shape) about a ball that is heated evenly.

    Inside q/w (1 - (1 + lR) exp(-lR) sinh(lr) / (lr)), outside q/w (lR cosh lR - sinh lR) exp(-lr) / (lr), with
    l = sqrt(w / k); without perfusion q (3 R² - r²) / (6 k) and q R³ / (3 k r). Loses about 3 log10(1 / lR) of its
    16 digits where perfusion is all but absent.
    """
    r = distances("radius_m", radius_m)
    need_positive(source_radius_m=source_radius_m)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    inner, outer = np.minimum(r, source_radius_m), np.maximum(r, source_radius_m)
    if rate == 0.0:
        inside = (3.0 * source_radius_m**2 - inner**2) / 6.0
        outside = source_radius_m**3 / (3.0 * outer)
        return np.where(r <= source_radius_m, inside, outside) * source_w_m3 / conductivity_w_m_k
    a = rate * source_radius_m
    x = rate * inner
    # Products of exponentials in one exponent: sinh alone overflows for a ball of many damping lengths.
    small = np.exp(-a) * (1.0 + x * x / 6.0)
    sinh_over_x = (np.exp(x - a) - np.exp(-x - a)) / (2.0 * np.where(x < 1e-4, 1.0, x))
    inside = 1.0 - (1.0 + a) * np.where(x < 1e-4, small, sinh_over_x)
    y = rate * outer
    outside = ((a - 1.0) * np.exp(a - y) + (a + 1.0) * np.exp(-a - y)) / (2.0 * y)
    return np.where(r <= source_radius_m, inside, outside) * source_w_m3 / perfusion_w_m3_k


def point_source_k(
    radius_m: ArrayLike, power_w: float, conductivity_w_m_k: float, perfusion_w_m3_k: float = 0.0
) -> FloatArray:
    """Steady rise about a point source, P exp(-l r) / (4 pi k r)."""
    r = distances("radius_m", radius_m)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    return power_w * np.exp(-rate * r) / (4.0 * np.pi * conductivity_w_m_k * r)


def point_source_at_k(
    radius_m: ArrayLike,
    time_s: ArrayLike,
    power_w: float,
    conductivity_w_m_k: float,
    heat_capacity_j_m3_k: float,
    perfusion_w_m3_k: float = 0.0,
) -> FloatArray:
    """Rise at times after a point source is switched on.

    P / (8 pi k r) [exp(-lr) erfc(r/2s - ls) + exp(lr) erfc(r/2s + ls)] with s = sqrt(alpha t), which is
    P / (4 pi k r) erfc(r/2s) without perfusion.
    """
    from scipy.special import erfc, erfcx

    r, t = distances("radius_m", radius_m), distances("time_s", time_s)
    need_positive(heat_capacity_j_m3_k=heat_capacity_j_m3_k)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    with np.errstate(divide="ignore"):
        s = np.sqrt(conductivity_w_m_k / heat_capacity_j_m3_k * t)
        u = r / (2.0 * s)
    # exp(lr) erfc(u + ls) = exp(-u² - (ls)²) erfcx(u + ls): nothing overflows far from the source.
    ebbing = np.exp(-(u**2) - (rate * s) ** 2) * erfcx(u + rate * s)
    return power_w / (8.0 * np.pi * conductivity_w_m_k * r) * (np.exp(-rate * r) * erfc(u - rate * s) + ebbing)


def line_source_k(
    radius_m: ArrayLike, power_w_m: float, conductivity_w_m_k: float, perfusion_w_m3_k: float
) -> FloatArray:
    """Steady rise about an endless line source, q' / (2 pi k) K0(l r); without perfusion there is none."""
    from scipy.special import k0

    r = distances("radius_m", radius_m)
    need_positive(perfusion_w_m3_k=perfusion_w_m3_k)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    return np.asarray(power_w_m / (2.0 * np.pi * conductivity_w_m_k) * k0(rate * r))


def line_source_at_k(
    radius_m: ArrayLike,
    time_s: ArrayLike,
    power_w_m: float,
    conductivity_w_m_k: float,
    heat_capacity_j_m3_k: float,
    perfusion_w_m3_k: float = 0.0,
) -> FloatArray:
    """Rise at times above 0 after an endless line source is switched on, q' / (4 pi k) W(r² / (4 alpha t), l r).

    W is the well function of leaky aquifers, the integral from u of exp(-y - b² / (4 y)) / y dy (Hantush and Jacob,
    Trans Am Geophys Union 1955;36:95), by adaptive quadrature; E1(u) without perfusion.
    """
    from scipy.special import exp1

    r, t = distances("radius_m", radius_m), distances("time_s", time_s)
    need_positive(heat_capacity_j_m3_k=heat_capacity_j_m3_k)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    with np.errstate(divide="ignore"):
        u = r**2 * heat_capacity_j_m3_k / (4.0 * conductivity_w_m_k * t)
    well = exp1(u) if rate == 0.0 else well_function(u, rate * r)
    return np.asarray(power_w_m / (4.0 * np.pi * conductivity_w_m_k) * well)


def well_function(u: ArrayLike, b: ArrayLike) -> FloatArray:
    """W(u, b), the integral of exp(-y - b² / (4 y)) / y from u to infinity, elementwise; 2 K0(b) for u of zero."""
    from scipy.integrate import quad

    starts, ratios = np.broadcast_arrays(np.asarray(u, dtype=np.float64), np.asarray(b, dtype=np.float64))
    result = np.zeros(starts.shape)
    for index in np.ndindex(starts.shape):
        start, ratio = float(starts[index]), float(ratios[index])
        if start < 700.0:
            # In v = ln y the integrand is a smooth hump about y = b / 2, nothing beyond y = 700.
            low = math.log(max(start, ratio**2 / 2800.0, 1e-300))
            middle = min(max(math.log(max(ratio, 2e-300) / 2.0), low), math.log(700.0))
            result[index] = sum(
                quad(_well_integrand, a, z, args=(ratio,), epsabs=0.0, epsrel=1e-12, limit=200)[0]
                for a, z in ((low, middle), (middle, math.log(700.0)))
                if z > a
            )
    return result


def _well_integrand(v: float, b: float) -> float:
    y = math.exp(v)
    return math.exp(-y - b * b / (4.0 * y))


def half_space_step(depth_m: ArrayLike, time_s: ArrayLike, diffusivity_m2_s: float) -> FloatArray:
    """Share of a step of the surface temperature that has reached a depth, erfc(x / (2 sqrt(alpha t)))."""
    from scipy.special import erfc

    need_positive(diffusivity_m2_s=diffusivity_m2_s)
    x, t = distances("depth_m", depth_m), distances("time_s", time_s)
    with np.errstate(divide="ignore"):
        return np.asarray(erfc(x / (2.0 * np.sqrt(diffusivity_m2_s * t))))


def uniform_relaxation(time_s: ArrayLike, heat_capacity_j_m3_k: float, perfusion_w_m3_k: float) -> FloatArray:
    """Share of an even rise that perfusion leaves, exp(-w t / rho c)."""
    need_positive(heat_capacity_j_m3_k=heat_capacity_j_m3_k)
    need_not_negative(perfusion_w_m3_k=perfusion_w_m3_k)
    return np.exp(-perfusion_w_m3_k / heat_capacity_j_m3_k * distances("time_s", time_s))


def uniform_heating_k(
    time_s: ArrayLike, source_w_m3: float, heat_capacity_j_m3_k: float, perfusion_w_m3_k: float
) -> FloatArray:
    """Rise of evenly heated tissue, q/w (1 - exp(-w t / rho c)), q t / rho c without perfusion.

    Without perfusion this is also the mean rise of an insulated box with q = P / V.
    """
    need_positive(heat_capacity_j_m3_k=heat_capacity_j_m3_k)
    need_not_negative(perfusion_w_m3_k=perfusion_w_m3_k)
    t = distances("time_s", time_s)
    if perfusion_w_m3_k == 0.0:
        return source_w_m3 * t / heat_capacity_j_m3_k
    return -source_w_m3 / perfusion_w_m3_k * np.expm1(-perfusion_w_m3_k / heat_capacity_j_m3_k * t)


def gaussian_blob_k(
    radius_m: ArrayLike,
    time_s: ArrayLike,
    rise_at_start_k: float,
    width_m: float,
    conductivity_w_m_k: float,
    heat_capacity_j_m3_k: float,
    perfusion_w_m3_k: float = 0.0,
) -> FloatArray:
    """Decay of a rise A exp(-r² / (2 s²)) at the start; smooth, so solvers must show their full order on it.

    A (s² / v)^1.5 exp(-r² / (2 v)) exp(-w t / rho c) with v = s² + 2 alpha t.
    """
    need_positive(width_m=width_m, conductivity_w_m_k=conductivity_w_m_k)
    r, t = distances("radius_m", radius_m), distances("time_s", time_s)
    fading = uniform_relaxation(t, heat_capacity_j_m3_k, perfusion_w_m3_k)
    variance = width_m**2 + 2.0 * conductivity_w_m_k / heat_capacity_j_m3_k * t
    return rise_at_start_k * (width_m**2 / variance) ** 1.5 * np.exp(-(r**2) / (2.0 * variance)) * fading
