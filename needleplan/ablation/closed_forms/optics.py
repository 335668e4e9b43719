"""Closed forms of light in the diffusion approximation, and of the heat it leaves.

Absorption mu_a and reduced scattering mu_s' per metre; the approximation fails within about 1 / mu_s' of the
source. Ishimaru, Wave Propagation and Scattering in Random Media 1978, chapter 9; the temperature is our own.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import distances, need_positive
from needleplan.ablation.closed_forms.heat import perfusion_coefficient_per_m
from needleplan.frames import FloatArray


def diffusion_length_m(absorption_per_m: float, reduced_scattering_per_m: float) -> float:
    """D = 1 / (3 (mu_a + mu_s'))."""
    need_positive(absorption_per_m=absorption_per_m, reduced_scattering_per_m=reduced_scattering_per_m)
    return 1.0 / (3.0 * (absorption_per_m + reduced_scattering_per_m))


def effective_attenuation_per_m(absorption_per_m: float, reduced_scattering_per_m: float) -> float:
    """mu_eff = sqrt(mu_a / D)."""
    return math.sqrt(absorption_per_m / diffusion_length_m(absorption_per_m, reduced_scattering_per_m))


def point_fluence_w_m2(
    radius_m: ArrayLike, power_w: float, absorption_per_m: float, reduced_scattering_per_m: float
) -> FloatArray:
    """Fluence rate about an isotropic point source, P exp(-mu_eff r) / (4 pi D r)."""
    r = distances("radius_m", radius_m)
    attenuation = effective_attenuation_per_m(absorption_per_m, reduced_scattering_per_m)
    diffusion = diffusion_length_m(absorption_per_m, reduced_scattering_per_m)
    return power_w * np.exp(-attenuation * r) / (4.0 * np.pi * diffusion * r)


def absorbed_power_w(
    radius_m: ArrayLike, power_w: float, absorption_per_m: float, reduced_scattering_per_m: float
) -> FloatArray:
    """Power absorbed within a radius, P (1 - (1 + mu_eff r) exp(-mu_eff r)); all of it within an infinite one."""
    x = effective_attenuation_per_m(absorption_per_m, reduced_scattering_per_m) * distances("radius_m", radius_m)
    with np.errstate(invalid="ignore"):
        left = np.where(np.isinf(x), 0.0, (1.0 + x) * np.exp(-x))
    return power_w * (1.0 - left)


def point_light_k(
    radius_m: ArrayLike,
    power_w: float,
    absorption_per_m: float,
    reduced_scattering_per_m: float,
    conductivity_w_m_k: float,
    perfusion_w_m3_k: float,
) -> FloatArray:
    """Steady rise about an isotropic point source of light in perfused tissue; finite and smooth at the source.

    P mu_a / (4 pi D k (mu_eff² - l²)) (exp(-l r) - exp(-mu_eff r)) / r with l = sqrt(w / k), and at the source
    P mu_a / (4 pi D k (mu_eff + l)); holds in the limit l = mu_eff too, and without perfusion.
    """
    from scipy.special import exprel

    r = distances("radius_m", radius_m)
    attenuation = effective_attenuation_per_m(absorption_per_m, reduced_scattering_per_m)
    diffusion = diffusion_length_m(absorption_per_m, reduced_scattering_per_m)
    rate = perfusion_coefficient_per_m(conductivity_w_m_k, perfusion_w_m3_k)
    low, high = min(rate, attenuation), max(rate, attenuation)
    # (1 - exp(-z)) / z, since the difference of two near-equal exponentials would lose digits.
    shape = np.exp(-low * r) * exprel(-(high - low) * r) / (low + high)
    return np.asarray(power_w * absorption_per_m / (4.0 * np.pi * diffusion * conductivity_w_m_k) * shape)
