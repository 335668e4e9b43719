"""numpy and JAX on microwave heating: conductivity, boiling, perfusion and damage change with the temperature.

Both keep the heat content as u, the temperature that it would give without boiling, and let heat flow down the
Kirchhoff potential, the integral of the conductivity over temperature.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peer_run import Run, Schedule
from physics_problems import BODY_C, BOILING_C, DEATH, STASIS, Arrhenius, HeatingProblem, Liver
from stencils import laplacian

#: Damage is counted from this temperature on, below which CEM43 counts none.
DAMAGE_FROM_C = 39.0
#: Logarithm of a rate per second at most: dead in no time, and still a number in float32.
LARGEST_LOG_RATE = 80.0
_GAS_CONSTANT_J_MOL_K = 8.314462618
_ZERO_C_K = 273.15


class Damage:
    """Damage and perfusion of all cells, advanced where it is warm, in numpy.

    Args:
        shape: of the cells.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.death, self.stasis, self.minutes = (np.zeros(shape, np.float32) for _ in range(3))
        self.flow = np.ones(shape, np.float32)
        self._before = np.full(shape, BODY_C, np.float32)

    def advance(self, temperature_c: NDArray[np.float32], seconds: float) -> None:
        """Add the damage of a time in which the temperature went from that of the last call to this."""
        warm = np.flatnonzero(temperature_c > DAMAGE_FROM_C)
        before, after = self._before.ravel()[warm], temperature_c.ravel()[warm]
        for total, of in ((self.death, DEATH), (self.stasis, STASIS)):
            rate = log_mean_rate(log_rate(of, before), log_rate(of, after), np)
            total.ravel()[warm] += np.float32(seconds) * rate
        rate = log_mean_rate(log_minutes_rate(before, np), log_minutes_rate(after, np), np)
        self.minutes.ravel()[warm] += np.float32(seconds) * rate
        self.flow.ravel()[warm] = np.exp(-self.stasis.ravel()[warm])
        np.copyto(self._before, temperature_c)

    def zone_cm3(self, spacing_m: float) -> float:
        """Volume of dead tissue."""
        return float((self.death >= 1.0).sum() * (100.0 * spacing_m) ** 3)


def log_rate(of: Arrhenius, temperature_c: Any) -> Any:
    """Logarithm of the damage rate per second, of an array of numpy or JAX."""
    exponent = of.log_a - (of.activation_j_mol / _GAS_CONSTANT_J_MOL_K) / (temperature_c + _ZERO_C_K)
    return exponent.clip(None, LARGEST_LOG_RATE)


def log_minutes_rate(temperature_c: Any, xp: Any) -> Any:
    """Logarithm of the equivalent minutes at 43 °C per second (Sapareto and Dewey 1984); for what is warm."""
    above = temperature_c - 43.0
    return (above * xp.where(above < 0.0, np.log(4.0), np.log(2.0))).clip(None, LARGEST_LOG_RATE) - np.log(60.0)


def log_mean_rate(before: Any, after: Any, xp: Any) -> Any:
    """Mean of a rate whose logarithm goes evenly from ``before`` to ``after``; ``xp`` is numpy or JAX's."""
    apart = after - before
    near = abs(apart) < 1e-2
    ends = xp.exp(after), xp.exp(before)
    return xp.where(near, 0.5 * (ends[0] + ends[1]), (ends[0] - ends[1]) / xp.where(near, 1.0, apart))


def numpy_heating(problem: HeatingProblem, most_steps: int | None = None) -> Run:
    """Explicit Euler by sums of shifted slices, float32; damage where it is warm, every few steps."""
    plan, h = Schedule(problem.times_s, problem.longest_step_s, most_steps), problem.spacing_m
    liver, shape = problem.liver, problem.source_w_m3.shape
    gain = np.float32(plan.step_s / liver.heat_j_m3_k)
    content, source = np.full(shape, BODY_C, np.float32), gain * problem.source_w_m3[1:-1, 1:-1, 1:-1]
    sink, spread = gain * np.float32(liver.perfusion_w_m3_k), gain / np.float32(h**2)
    damage, moist, dry, potential = Damage(shape), *(np.empty(shape, np.float32) for _ in range(3))
    inner = (slice(1, -1),) * 3
    flow_in, around = np.empty_like(source), np.empty_like(source)
    answers: list[NDArray[np.float64]] = []
    done = 0
    start = time.perf_counter()
    for count, due in plan.parts():
        for _ in range(count):
            rises(content, liver, moist, dry)
            np.multiply(moist, np.float32(0.5 * liver.conductivity_per_k), out=potential)
            potential += np.float32(1.0)
            potential *= moist
            potential *= np.float32(liver.conductivity_w_m_k)
            if dry.any():
                potential += np.float32(liver.dry_conductivity_w_m_k) * dry
            moist += dry  # the rise over body temperature
            if done % problem.damage_every == 0 and done:
                damage.advance(moist + np.float32(BODY_C), problem.damage_every * plan.step_s)
            laplacian(potential, around)
            around *= spread
            np.multiply(moist[inner], damage.flow[inner], out=flow_in)
            flow_in *= sink
            around -= flow_in
            around += source
            content[inner] += around
            done += 1
        if due:
            rises(content, liver, moist, dry)
            answers.append((moist + dry)[tuple(problem.probes.T)].astype(np.float64) + BODY_C)
    rises(content, liver, moist, dry)
    damage.advance(moist + dry + np.float32(BODY_C), ((done - 1) % problem.damage_every + 1) * plan.step_s)
    seconds = time.perf_counter() - start
    zone = damage.zone_cm3(h) if plan.share == 1.0 else np.nan
    return plan.run(seconds, answers, len(problem.probes), content.size, zone_cm3=zone)


def rises(content: NDArray[np.float32], liver: Liver, moist: NDArray[np.float32], dry: NDArray[np.float32]) -> None:
    """Of the heat content u: rise over body temperature up to boiling, and rise of what has boiled dry."""
    np.minimum(content, np.float32(BOILING_C), out=moist)
    moist -= np.float32(BODY_C)
    np.subtract(content, np.float32(BOILING_C + liver.boiling_j_m3 / liver.heat_j_m3_k), out=dry)
    np.maximum(dry, np.float32(0.0), out=dry)


def jax_heating(problem: HeatingProblem, most_steps: int | None = None) -> Run:
    """The same in a compiled loop of JAX, float32; damage everywhere, as often."""
    import jax
    import jax.numpy as jnp

    plan, h = Schedule(problem.times_s, problem.longest_step_s, most_steps), problem.spacing_m
    liver, shape, every = problem.liver, problem.source_w_m3.shape, problem.damage_every
    gain = plan.step_s / liver.heat_j_m3_k
    dried_c = BOILING_C + liver.boiling_j_m3 / liver.heat_j_m3_k

    def parts(content: Any) -> tuple[Any, Any]:
        return jnp.minimum(content, BOILING_C) - BODY_C, jnp.maximum(content - dried_c, 0.0)

    def step(state: Any, source: Any) -> Any:
        content, flow = state[0], state[-1]
        moist, dry = parts(content)
        bent = moist * (1.0 + 0.5 * liver.conductivity_per_k * moist)
        v = liver.conductivity_w_m_k * bent + liver.dry_conductivity_w_m_k * dry
        around = (
            v[2:, 1:-1, 1:-1] + v[:-2, 1:-1, 1:-1] + v[1:-1, 2:, 1:-1] + v[1:-1, :-2, 1:-1]
            + v[1:-1, 1:-1, 2:] + v[1:-1, 1:-1, :-2] - 6.0 * v[1:-1, 1:-1, 1:-1]
        )  # fmt: skip
        cooled = liver.perfusion_w_m3_k * (flow * (moist + dry))[1:-1, 1:-1, 1:-1]
        change = gain * (around / h**2 - cooled) + source
        return content.at[1:-1, 1:-1, 1:-1].add(change), *state[1:]

    def hurt(state: Any, seconds: Any) -> Any:
        content, before, death, stasis, minutes, _ = state
        moist, dry = parts(content)
        after = moist + dry + BODY_C
        warm = seconds * (after > DAMAGE_FROM_C)
        death += warm * log_mean_rate(log_rate(DEATH, before), log_rate(DEATH, after), jnp)
        stasis += warm * log_mean_rate(log_rate(STASIS, before), log_rate(STASIS, after), jnp)
        minutes += warm * log_mean_rate(log_minutes_rate(before, jnp), log_minutes_rate(after, jnp), jnp)
        return content, after, death, stasis, minutes, jnp.exp(-stasis)

    def march(state: Any, source: Any, first: Any, count: Any) -> Any:
        def one(done: Any, inner: Any) -> Any:
            due = (done % every == 0) & (done > 0)
            inner = jax.lax.cond(due, lambda s: hurt(s, jnp.float32(every * plan.step_s)), lambda s: s, inner)
            return step(inner, source)

        return jax.lax.fori_loop(first, first + count, one, state)

    source = jnp.float32(gain) * jnp.asarray(problem.source_w_m3[1:-1, 1:-1, 1:-1])
    body, none = jnp.full(shape, BODY_C, jnp.float32), jnp.zeros(shape, jnp.float32)
    state = (body, body + 0, none, none + 0, none + 0, none + 1)
    compiled = jax.jit(march, donate_argnums=0).lower(state, source, 0, 1).compile()
    compiled_hurt = jax.jit(hurt).lower(state, jnp.float32(1.0)).compile()
    answers: list[NDArray[np.float64]] = []
    done = 0
    start = time.perf_counter()
    for count, due in plan.parts():
        state = compiled(state, source, done, count)
        done += count
        if due:
            answers.append(np.asarray(sum(parts(state[0])))[tuple(problem.probes.T)].astype(np.float64) + BODY_C)
    death = np.asarray(compiled_hurt(state, jnp.float32(((done - 1) % every + 1) * plan.step_s))[2])
    seconds = time.perf_counter() - start
    zone = float((death >= 1.0).sum() * (100.0 * h) ** 3) if plan.share == 1.0 else np.nan
    return plan.run(seconds, answers, len(problem.probes), body.size, zone_cm3=zone)
