"""Damage by heat: cumulative equivalent minutes at 43 °C (CEM43) and the Arrhenius integral.

The compiled scalars at the top are what solvers call per voxel and step; the functions below them take arrays.
Rates are kept as logarithms until the last moment: published frequency factors reach 1e106 per second, which
float32 cannot hold.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.compiled import compiled
from needleplan.devices.thresholds import DamageSet
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

__all__ = [
    "ABSOLUTE_ZERO_C",
    "GAS_CONSTANT_J_MOL_K",
    "arrhenius_damage",
    "arrhenius_log_rates",
    "arrhenius_mean_rate_per_s",
    "arrhenius_parameters",
    "arrhenius_rate_per_s",
    "arrhenius_rates_per_s",
    "cem43_mean_rate_per_s",
    "cem43_minutes",
    "cem43_rate_per_s",
    "cem43_rates_per_s",
    "checked_history",
    "log_arrhenius_rate",
    "log_mean",
    "log_means",
]

#: CODATA 2018.
GAS_CONSTANT_J_MOL_K = 8.314462618
ABSOLUTE_ZERO_C = -273.15

#: Largest logarithm of a damage rate per second that becomes a number: its exponential, 5.5e34, still fits float32
#: when multiplied by the seconds of a treatment. Tissue is dead after 1e-34 s either way.
_LARGEST_LOG_RATE = 80.0
#: Relative difference of two rates below which a series replaces the quotient, which would lose digits.
_NEARLY_EQUAL = 1e-2
_LN2 = math.log(2.0)
_LN4 = math.log(4.0)
#: Breakpoints of the thermal isoeffective dose, Sapareto and Dewey 1984.
_CEM43_ZERO_C = 39.0
_CEM43_BREAK_C = 43.0


@compiled
def log_arrhenius_rate(
    temperature_c: float, ln_frequency_factor: float, activation_energy_over_gas_constant_k: float
) -> float:
    """Natural logarithm of the Arrhenius damage rate per second, ln A - Ea / (R T); compiled, for one voxel."""
    return ln_frequency_factor - activation_energy_over_gas_constant_k / (temperature_c + 273.15)


@compiled
def arrhenius_rate_per_s(
    temperature_c: float, ln_frequency_factor: float, activation_energy_over_gas_constant_k: float
) -> float:
    """Arrhenius damage per second, held at 5.5e34 so that float32 keeps it; compiled, for one voxel."""
    log_rate = log_arrhenius_rate(temperature_c, ln_frequency_factor, activation_energy_over_gas_constant_k)
    return math.exp(_LARGEST_LOG_RATE if log_rate > _LARGEST_LOG_RATE else log_rate)


@compiled
def cem43_rate_per_s(temperature_c: float) -> float:
    """Cumulative equivalent minutes at 43 °C per second at a temperature; compiled, for one voxel.

    R^(43 - T) / 60 with R = 0.5 from 43 °C, 0.25 from 39 °C to there, and nothing below 39 °C
    (Sapareto and Dewey, Int J Radiat Oncol Biol Phys 1984;10:787). Grows to at most 5.5e34.
    """
    if temperature_c < _CEM43_ZERO_C:
        return 0.0
    log_rate = (_LN4 if temperature_c < _CEM43_BREAK_C else _LN2) * (temperature_c - _CEM43_BREAK_C)
    return math.exp(_LARGEST_LOG_RATE if log_rate > _LARGEST_LOG_RATE else log_rate) / 60.0


@compiled
def log_mean(rate_a: float, rate_b: float) -> float:
    """Logarithmic mean (b - a) / ln(b / a) of two rates: the mean over a step in which ln(rate) is linear in time.

    The common value for equal rates, and the limit zero where one of them is zero. Compiled, for one voxel.
    """
    if rate_a <= 0.0 or rate_b <= 0.0:
        # Zero, but not in place of a number that is none.
        return 0.0 * (rate_a + rate_b)
    half_sum = 0.5 * rate_a + 0.5 * rate_b
    x = (0.5 * rate_b - 0.5 * rate_a) / half_sum
    if abs(x) < _NEARLY_EQUAL:
        # ln(b / a) = 2 artanh(x); the next term is x^8 / 9.
        y = x * x
        return half_sum / (1.0 + y * (1.0 / 3.0 + y * (1.0 / 5.0 + y / 7.0)))
    if abs(x) < 0.999:
        return 2.0 * x * half_sum / math.log(rate_b / rate_a)
    # By the difference of logarithms: the quotient of 1e30 and 1e-30 is more than float32 holds.
    return 2.0 * x * half_sum / (math.log(rate_b) - math.log(rate_a))


@compiled
def arrhenius_mean_rate_per_s(
    before_c: float, after_c: float, ln_frequency_factor: float, activation_energy_over_gas_constant_k: float
) -> float:
    """Mean Arrhenius rate over a step from one temperature to another; compiled, for one voxel.

    Exact where the logarithm of the rate is linear in time, which a linear temperature is to a few 1e-4 over some
    kelvins; rectangles err by half and trapezoids by a tenth at 1.7 K per step.
    """
    return log_mean(
        arrhenius_rate_per_s(before_c, ln_frequency_factor, activation_energy_over_gas_constant_k),
        arrhenius_rate_per_s(after_c, ln_frequency_factor, activation_energy_over_gas_constant_k),
    )


@compiled
def cem43_mean_rate_per_s(before_c: float, after_c: float) -> float:
    """Mean CEM43 rate (minutes per second) over a step of linear temperature; compiled, for one voxel.

    Exact for the linear temperature, also across 39 and 43 °C, where the rate jumps or bends and a logarithmic mean
    of the end rates would be wrong.
    """
    low = min(before_c, after_c)
    high = max(before_c, after_c)
    if high < _CEM43_ZERO_C:
        return 0.0
    if low >= _CEM43_BREAK_C or (high < _CEM43_BREAK_C and low >= _CEM43_ZERO_C):
        return log_mean(cem43_rate_per_s(before_c), cem43_rate_per_s(after_c))
    # In parts; at 43 °C both branches give one minute per minute.
    total = 0.0
    slow_low = max(low, _CEM43_ZERO_C)
    slow_high = min(high, _CEM43_BREAK_C)
    if slow_low < slow_high:
        total += (slow_high - slow_low) * log_mean(cem43_rate_per_s(slow_low), cem43_rate_per_s(slow_high))
    if high > _CEM43_BREAK_C:
        total += (high - _CEM43_BREAK_C) * log_mean(cem43_rate_per_s(_CEM43_BREAK_C), cem43_rate_per_s(high))
    return total / (after_c - before_c if after_c > before_c else before_c - after_c)


@compiled
def _log_means(a: FloatArray, b: FloatArray, result: FloatArray) -> None:
    for i in range(a.size):
        result[i] = log_mean(a[i], b[i])


@compiled
def _integrated(
    steps_s: FloatArray,
    temperatures_c: FloatArray,
    is_cem43: bool,
    ln_frequency_factor: float,
    activation_energy_over_gas_constant_k: float,
    result: FloatArray,
) -> None:
    for i in range(temperatures_c.shape[1]):
        total = 0.0
        for n in range(steps_s.size):
            before, after = temperatures_c[n, i], temperatures_c[n + 1, i]
            if is_cem43:
                total += steps_s[n] * cem43_mean_rate_per_s(before, after)
            else:
                total += steps_s[n] * arrhenius_mean_rate_per_s(
                    before, after, ln_frequency_factor, activation_energy_over_gas_constant_k
                )
        result[i] = total


def log_means(rates_a: ArrayLike, rates_b: ArrayLike) -> FloatArray:
    """Logarithmic means of two arrays of rates, of a common shape after broadcasting; see ``log_mean``."""
    a, b = np.broadcast_arrays(np.asarray(rates_a, dtype=np.float64), np.asarray(rates_b, dtype=np.float64))
    result = np.empty(a.size)
    _log_means(np.ravel(a), np.ravel(b), result)
    return result.reshape(a.shape)


def arrhenius_log_rates(temperature_c: ArrayLike, damage_set: DamageSet) -> FloatArray:
    """Natural logarithm of the Arrhenius rate per second at temperatures of any shape: ln A - Ea / (R T)."""
    kelvin = _checked_celsius(temperature_c) - ABSOLUTE_ZERO_C
    log_factor, energy_k = arrhenius_parameters(damage_set)
    with np.errstate(divide="ignore"):
        return np.asarray(log_factor - energy_k / kelvin)


def arrhenius_rates_per_s(temperature_c: ArrayLike, damage_set: DamageSet) -> FloatArray:
    """Arrhenius rate per second at temperatures of any shape, held at 5.5e34."""
    return np.exp(np.minimum(arrhenius_log_rates(temperature_c, damage_set), _LARGEST_LOG_RATE))


def cem43_rates_per_s(temperature_c: ArrayLike) -> FloatArray:
    """Minutes of CEM43 per second at temperatures of any shape; see ``cem43_rate_per_s``."""
    temperature = _checked_celsius(temperature_c)
    excess = temperature - _CEM43_BREAK_C
    log_rate = np.where(excess < 0.0, _LN4, _LN2) * excess
    rate = np.exp(np.minimum(log_rate, _LARGEST_LOG_RATE)) / 60.0
    return np.where(temperature < _CEM43_ZERO_C, 0.0, rate)


def arrhenius_parameters(damage_set: DamageSet) -> tuple[float, float]:
    """What the compiled scalars take: ln A (A per second) and Ea / R in kelvin."""
    return (
        damage_set.log10_frequency_factor_per_s * math.log(10.0),
        damage_set.activation_energy_j_mol / GAS_CONSTANT_J_MOL_K,
    )


def arrhenius_damage(times_s: ArrayLike, temperature_c: ArrayLike, damage_set: DamageSet) -> FloatArray:
    """Arrhenius damage integral Omega of temperature histories.

    Args:
        times_s: (n,) ascending times, n of at least 2.
        temperature_c: (n, ...) temperatures at them, linear in between.
        damage_set: frequency factor and activation energy.

    Returns:
        (...) Omega, by the logarithmic mean of the rates over every step.

    Raises:
        PhysicsError: times that do not ascend, or temperatures that do not match them.
    """
    return _history(times_s, temperature_c, False, *arrhenius_parameters(damage_set))


def cem43_minutes(times_s: ArrayLike, temperature_c: ArrayLike) -> FloatArray:
    """Cumulative equivalent minutes at 43 °C of temperature histories; arguments as in ``arrhenius_damage``."""
    return _history(times_s, temperature_c, True, 0.0, 0.0)


def _history(
    times_s: ArrayLike, temperature_c: ArrayLike, is_cem43: bool, log_factor: float, energy_k: float
) -> FloatArray:
    steps, temperature = checked_history(times_s, temperature_c)
    result = np.empty(temperature[0].size)
    columns = np.ascontiguousarray(temperature.reshape(len(temperature), -1))
    _integrated(steps, columns, is_cem43, log_factor, energy_k, result)
    return result.reshape(temperature.shape[1:])


def checked_history(times_s: ArrayLike, temperature_c: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Steps (n - 1,) and temperatures (n, ...) of a history; raises PhysicsError where they make none."""
    times = np.asarray(times_s, dtype=np.float64)
    temperature = _checked_celsius(temperature_c)
    if times.ndim != 1 or len(times) < 2 or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise PhysicsError("the times of a temperature history must be at least two finite numbers that ascend")
    if temperature.ndim < 1 or len(temperature) != len(times):
        raise PhysicsError(
            f"a temperature history of {len(times)} times needs as many temperatures along its first axis, "
            f"but has the shape {temperature.shape}"
        )
    return np.diff(times), temperature


def _checked_celsius(temperature_c: ArrayLike) -> FloatArray:
    temperature = np.asarray(temperature_c, dtype=np.float64)
    if not (temperature >= ABSOLUTE_ZERO_C).all():
        raise PhysicsError(f"temperatures must be numbers of at least {ABSOLUTE_ZERO_C} °C; were they in kelvin?")
    return temperature
