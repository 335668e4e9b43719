"""Cell death: survival after Arrhenius damage, survival of electric pulses, and the three-state model of heat."""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.damage import checked_history
from needleplan.devices.thresholds import PelegFermi, ThreeState
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

#: Share of vulnerable cells that O'Neill et al. 2011 start with.
_VULNERABLE_AT_START = 0.01
#: Largest product of rate and substep of the Runge-Kutta scheme; its error per unit time is then below 1e-6.
_LARGEST_RATE_STEP = 0.1


def surviving_fraction(omega: ArrayLike) -> FloatArray:
    """Share of cells alive after the Arrhenius damage Omega (any shape): exp(-Omega), 36.8 % at Omega = 1."""
    values = np.asarray(omega, dtype=np.float64)
    if not (values >= 0).all():
        raise PhysicsError("a damage integral must be a number of zero or more")
    return np.exp(-values)


def peleg_fermi_survival(field_v_cm: ArrayLike, pulses: int, fit: PelegFermi) -> FloatArray:
    """Share of cells alive after electric pulses, by the Peleg-Fermi curve 1 / (1 + exp((E - E_c) / A)).

    E_c = E_0 exp(-k_1 n) and A = A_0 exp(-k_2 n) (Golberg and Rubinsky, BioMed Eng OnLine 2010;9:13). The built-in
    fit is to prostate cells in vitro; for other tissues, or pulses of another length, it has no data behind it.

    Args:
        field_v_cm: field strength E, any shape.
        pulses: their number n, at least 1.
        fit: the constants, as ``builtin_thresholds().peleg_fermi("prostate_cells")``.

    Raises:
        PhysicsError: a negative field, or no pulse.
    """
    field = np.asarray(field_v_cm, dtype=np.float64)
    if not (field >= 0).all():
        raise PhysicsError("field strengths must be numbers of zero or more, in V/cm")
    critical, width = peleg_fermi_curve(pulses, fit)
    x = (field - critical) / width
    # By exp(-|x|), which does not overflow on either side of the transition.
    decayed = np.exp(-np.abs(x))
    return np.where(x > 0, decayed, 1.0) / (1.0 + decayed)


def peleg_fermi_field_v_cm(survival: float, pulses: int, fit: PelegFermi) -> float:
    """Field that leaves a share of the cells alive, E_c + A ln(1 / survival - 1); see ``peleg_fermi_survival``.

    Raises:
        PhysicsError: a share that is not between 0 and 1, one that less is left of without any field, or no pulse.
    """
    if not 0.0 < survival < 1.0:
        raise PhysicsError(f"the surviving share must lie between 0 and 1, but is {survival:g}")
    critical, width = peleg_fermi_curve(pulses, fit)
    field = critical + width * math.log(1.0 / survival - 1.0)
    if field < 0.0:
        raise PhysicsError(
            f"the Peleg-Fermi curve of {pulses} pulses leaves less than a share of {survival:g} alive at any field"
        )
    return field


def peleg_fermi_curve(pulses: int, fit: PelegFermi) -> tuple[float, float]:
    """Critical field and width of the transition (V/cm) after a number of pulses; PhysicsError for none."""
    if pulses < 1:
        raise PhysicsError(f"the Peleg-Fermi curve needs one pulse or more, but {pulses} were stated")
    return (
        fit.critical_field_v_cm * math.exp(-fit.critical_field_decay_per_pulse * pulses),
        fit.width_v_cm * math.exp(-fit.width_decay_per_pulse * pulses),
    )


def three_state_dead_fraction(
    times_s: ArrayLike, temperature_c: ArrayLike, constants: ThreeState, *, frozen_below_c: float = 43.0
) -> FloatArray:
    """Share of dead cells by the three-state model of O'Neill et al. (Ann Biomed Eng 2011;39:570). Optional.

    Alive A, vulnerable V and dead D = 1 - A - V, with dA/dt = -k A + k_b V, dV/dt = k A - k_b V - k V and
    k = k_f exp(T / T_k) (1 - A), T in °C; 1 % of the cells are vulnerable at the start.

    Warning: unguarded, these equations run away at body temperature (80 % dead after 64 minutes at 37 °C) and are
    slow when hot (16 minutes at 60 °C for the same), so neither end may be trusted. The state is therefore held
    below ``frozen_below_c``, and no default criterion of this package uses the model.

    Args:
        times_s: (n,) ascending times.
        temperature_c: (n, ...) temperatures at them, linear in between.
        constants: the rates, as ``builtin_thresholds().three_state("liver_cells")``.
        frozen_below_c: temperature below which nothing changes; -inf for the unguarded equations.

    Returns:
        (n, ...) dead share at the times.

    Raises:
        PhysicsError: times that do not ascend, or temperatures that do not match them.
    """
    steps, temperature = checked_history(times_s, temperature_c)
    state = np.empty((2, *temperature.shape[1:]))
    state[0], state[1] = 1.0 - _VULNERABLE_AT_START, _VULNERABLE_AT_START
    dead = np.empty_like(temperature)
    dead[0] = 0.0
    for n, step in enumerate(steps):
        before, change = temperature[n], temperature[n + 1] - temperature[n]
        hottest = float(np.max(temperature[n : n + 2], initial=0.0))
        forward = constants.forward_rate_per_s * math.exp(hottest / constants.temperature_scale_c)
        fastest = forward + constants.backward_rate_per_s
        substeps = math.ceil(step * fastest / _LARGEST_RATE_STEP)
        dt = step / substeps
        for m in range(substeps):
            t0, t1, t2 = (before + change * (m + share) / substeps for share in (0.0, 0.5, 1.0))
            k1 = _three_state_rates(state, t0, constants, frozen_below_c)
            k2 = _three_state_rates(state + 0.5 * dt * k1, t1, constants, frozen_below_c)
            k3 = _three_state_rates(state + 0.5 * dt * k2, t1, constants, frozen_below_c)
            k4 = _three_state_rates(state + dt * k3, t2, constants, frozen_below_c)
            state = state + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        dead[n + 1] = 1.0 - state[0] - state[1]
    return dead


def _three_state_rates(
    state: FloatArray, temperature_c: FloatArray, constants: ThreeState, frozen_below_c: float
) -> FloatArray:
    alive, vulnerable = state
    hot = temperature_c >= frozen_below_c
    forward = np.where(hot, constants.forward_rate_per_s, 0.0)
    forward = forward * np.exp(temperature_c / constants.temperature_scale_c) * (1.0 - alive)
    backward = np.where(hot, constants.backward_rate_per_s, 0.0)
    return np.stack([-forward * alive + backward * vulnerable, forward * alive - (backward + forward) * vulnerable])
