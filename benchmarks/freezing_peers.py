"""numpy on freezing: heat content with latent heat, and heat flow down the Kirchhoff potential."""

import time

import numpy as np
from numpy.typing import NDArray
from peer_run import Run, Schedule
from physics_problems import BODY_C, FreezingProblem, Liver, thin_needle_factor
from stencils import beside, laplacian, thicken

#: The tables' ends: nothing is colder than a probe, or warmer than the body.
_LOWEST_C, _HIGHEST_C = -200.0, 60.0


def curves(liver: Liver) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the piecewise linear curves: heat content u, temperature and potential.

    u is the temperature of unfrozen tissue, and one kelvin of it as much heat everywhere. While it freezes, tissue
    has the mean of both heat capacities and of both conductivities.
    """
    temperature = np.array([_LOWEST_C, liver.frozen_c, liver.freezing_c, _HIGHEST_C])
    width = liver.freezing_c - liver.frozen_c
    mean_heat = 0.5 * (liver.heat_j_m3_k + liver.frozen_heat_j_m3_k)
    heat = np.array([liver.frozen_heat_j_m3_k, mean_heat + liver.freezing_j_m3 / width, liver.heat_j_m3_k])
    frozen, moist = liver.frozen_conductivity_w_m_k, liver.conductivity_w_m_k
    conductivity = np.array([frozen, 0.5 * (frozen + moist), moist])
    pieces = np.diff(temperature)
    content = np.concatenate([[0.0], np.cumsum(heat * pieces)]) / liver.heat_j_m3_k
    potential = np.concatenate([[0.0], np.cumsum(conductivity * pieces)])
    return content - content[2] + liver.freezing_c, temperature, potential - potential[2]


def numpy_freezing(problem: FreezingProblem, most_steps: int | None = None) -> Run:
    """Explicit Euler by sums of shifted slices, float32, with the curves by numpy's interpolation."""
    plan, h = Schedule(problem.times_s, problem.longest_step_s, most_steps), problem.spacing_m
    liver = problem.liver
    start = time.perf_counter()
    contents, temperatures, potentials = curves(liver)
    gain = plan.step_s / liver.heat_j_m3_k
    spread, sink = np.float32(gain / h**2), np.float32(gain * problem.perfusion_factor * liver.perfusion_w_m3_k)
    needle, around_it = tuple(problem.needles.T), beside(problem.needles)
    factor = np.float32(thin_needle_factor(h, problem.radius_m))
    content = np.full(problem.shape, BODY_C, np.float32)
    inner = content[1:-1, 1:-1, 1:-1]
    around, flow = np.empty(inner.shape, np.float32), np.empty(inner.shape, np.float32)
    answers: list[NDArray[np.float64]] = []
    done = 0
    for count, due in plan.parts():
        for _ in range(count):
            wall_c = BODY_C + (problem.probe_c - BODY_C) * min(1.0, done * plan.step_s / problem.ramp_s)
            content[needle] = np.interp(wall_c, temperatures, contents)
            potential = np.interp(content, contents, potentials).astype(np.float32)
            laplacian(potential, around)
            thicken(needle, around_it, factor, potential, around)
            around *= spread
            # Only unfrozen tissue, whose heat content is its temperature, is perfused.
            np.subtract(np.float32(BODY_C), inner, out=flow)
            flow *= inner > np.float32(liver.freezing_c)
            flow *= sink
            around += flow
            inner += around
            done += 1
        wall_c = BODY_C + (problem.probe_c - BODY_C) * min(1.0, done * plan.step_s / problem.ramp_s)
        content[needle] = np.interp(wall_c, temperatures, contents)
        if due:
            answers.append(np.interp(content[tuple(problem.probes.T)], contents, temperatures))
    reached = np.interp(content, contents, temperatures)
    seconds = time.perf_counter() - start
    cell_cm3 = (100.0 * h) ** 3 if plan.share == 1.0 else np.nan
    figures = {
        "zone_cm3": float((reached <= -40.0).sum()) * cell_cm3,
        "ice_cm3": float((reached <= liver.freezing_c).sum()) * cell_cm3,
    }
    return plan.run(seconds, answers, len(problem.probes), content.size, **figures)
