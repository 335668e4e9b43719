"""Compiled loops of the bioheat solver; arrays carry one ghost layer on every side."""

from typing import Any

import numpy as np

from needleplan.ablation.bioheat.enthalpy import (
    BOILS,
    DRIED,
    HEAT,
    K_MELTED,
    K_SLOPE,
    MELTED,
    conductivity,
    potential,
    temperature,
)
from needleplan.compiled import compiled, compiled_parallel, compiled_stencil, prange


@compiled_stencil
def stage(
    u: Any,
    theta: Any,
    older: Any,
    start: Any,
    start_rate: Any,
    theta_out: Any,
    tissue: Any,
    row_tissue: Any,
    table: Any,
    sink: Any,
    source: Any,
    scale: Any,
    blood_c: Any,
    inverse_h2: Any,
    weights: Any,
    first: Any,
    box: Any,
    removed: Any,
) -> None:
    """One stage of the Runge-Kutta-Legendre step, within a box of cells.

    Args:
        u, theta: enthalpy temperature and Kirchhoff potential of the previous stage.
        older: the stage before it; overwritten with the new one.
        start, start_rate: enthalpy temperature at the step's start, its rate there (written by the first stage).
        theta_out: Kirchhoff potential of the new stage.
        tissue, row_tissue: tissue of each cell, and of a row (i, j) where it and its neighbours are of one, else
            -1.
        table: EnthalpyCurves.table.
        sink: perfusion over heat capacity, 1/s.
        source, scale: heat source in W/m3 is their product.
        blood_c: temperature of the blood.
        inverse_h2: 1/m2.
        weights: (4,) of the two stages before, relative to the start, and the time steps of the two rates in s.
        first: True for the first stage.
        box: (6,) begin and end of the cells along each axis.
        removed: (nx, ny) float64 W/m3 summed over each row of what perfusion takes less what the source gives.
    """
    zero, one, two, six = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(6.0)
    a, b, d, e = weights[0], weights[1], weights[2], weights[3]
    low, high = box[4], box[5]
    width = high - low
    for i in prange(box[0], box[1]):
        rate = np.empty(width, dtype=np.float32)
        for j in range(box[2], box[3]):
            # Rows as arrays of their own, counted from zero: so that the loops become vector instructions.
            here = u[i, j, low:high]
            flow = sink[i, j, low:high]
            heating = source[i, j, low:high]
            middle = theta[i, j, low:high]
            west, east = theta[i - 1, j, low:high], theta[i + 1, j, low:high]
            south, north = theta[i, j - 1, low:high], theta[i, j + 1, low:high]
            below, above = theta[i, j, low - 1 : high - 1], theta[i, j, low + 1 : high + 1]
            m = row_tissue[i, j]
            if m >= 0:
                p = table[m]
                melted, boils, heat = p[MELTED], p[BOILS], p[HEAT]
                conduct = inverse_h2 / heat
                give = scale / heat
                taken = zero
                special = 0
                for k in range(width):
                    special += (here[k] < melted) | (here[k] > boils)
                if special == 0:
                    for k in range(width):
                        flux = west[k] + east[k] + south[k] + north[k] + below[k] + above[k] - six * middle[k]
                        loss = flow[k] * (here[k] - blood_c) - give * heating[k]
                        taken += loss
                        rate[k] = conduct * flux - loss
                else:
                    for k in range(width):
                        flux = west[k] + east[k] + south[k] + north[k] + below[k] + above[k] - six * middle[k]
                        perfused = flow[k] if here[k] >= melted else zero
                        loss = perfused * (temperature(here[k], p) - blood_c) - give * heating[k]
                        taken += loss
                        rate[k] = conduct * flux - loss
                removed[i, j] = np.float64(taken) * np.float64(heat)
            else:
                total = 0.0
                for k in range(width):
                    z0 = low + k
                    own = tissue[i, j, z0]
                    p = table[own]
                    t = temperature(here[k], p)
                    flux = zero
                    for side in range(6):
                        x, y, z = i, j, z0
                        step = 1 if side % 2 else -1
                        if side < 2:
                            x += step
                        elif side < 4:
                            y += step
                        else:
                            z += step
                        other = tissue[x, y, z]
                        if other == own:
                            flux += theta[x, y, z] - middle[k]
                        else:
                            q = table[other]
                            ka = conductivity(here[k], p)
                            kb = conductivity(u[x, y, z], q)
                            flux += two * ka * kb / (ka + kb) * (temperature(u[x, y, z], q) - t)
                    perfused = flow[k] if here[k] >= p[MELTED] else zero
                    loss = perfused * (t - blood_c) - scale / p[HEAT] * heating[k]
                    total += np.float64(loss) * np.float64(p[HEAT])
                    rate[k] = flux * inverse_h2 / p[HEAT] - loss
                removed[i, j] = total
            new = older[i, j, low:high]
            first_rate = start_rate[i, j, low:high]
            begin = start[i, j, low:high]
            if first:
                for k in range(width):
                    first_rate[k] = rate[k]
                    new[k] = here[k] + d * rate[k]
            else:
                for k in range(width):
                    # Differences from the start: the weights sum to one only up to rounding, which must not heat.
                    old = begin[k]
                    new[k] = old + (a * (here[k] - old) + b * (new[k] - old) + d * rate[k] + e * first_rate[k])
            # Most rows hold unfrozen, unboiled tissue: there the potential is a parabola without branches.
            out = theta_out[i, j, low:high]
            if m >= 0:
                p = table[m]
                melted, boils, k0, slope = p[MELTED], p[BOILS], p[K_MELTED], p[K_SLOPE]
                special = 0
                for k in range(width):
                    special += (new[k] < melted) | (new[k] > boils)
                if special == 0:
                    half = np.float32(0.5) * slope
                    base = one + half * melted - slope * np.float32(37.0)
                    for k in range(width):
                        out[k] = k0 * (new[k] - melted) * (base + half * new[k])
                else:
                    for k in range(width):
                        out[k] = potential(new[k], p)
            else:
                for k in range(width):
                    out[k] = potential(new[k], table[tissue[i, j, low + k]])


@compiled
def mend(
    cells: Any,
    needles: Any,
    factors: Any,
    fixed: Any,
    fixed_u: Any,
    theta: Any,
    out: Any,
    start_rate: Any,
    start_extra: Any,
    theta_out: Any,
    tissue: Any,
    table: Any,
    inverse_h2: Any,
    weights: Any,
    first: Any,
) -> Any:
    """Adds what the faces of needles and vessels conduct beyond the plain stencil, and holds the fixed cells.

    Args:
        cells, needles: (n, 3) tissue cells and the fixed cells that they touch.
        factors: (n,) conductance of the face over that of the plain stencil.
        fixed, fixed_u: (m, 3) cells whose enthalpy temperature (m,) is given.
        theta, out, start_rate, theta_out, tissue, table, inverse_h2, weights, first: as in ``stage``.
        start_extra: (n,) rates of the first stage, written by it.

    Returns:
        J/m3 that this stage's increment took out of the tissue through the fixed cells.
    """
    d, e = weights[2], weights[3]
    taken = 0.0
    for n in range(cells.shape[0]):
        i, j, k = cells[n, 0], cells[n, 1], cells[n, 2]
        x, y, z = needles[n, 0], needles[n, 1], needles[n, 2]
        heat = table[tissue[i, j, k], HEAT]
        rate = (factors[n] - np.float32(1.0)) * (theta[x, y, z] - theta[i, j, k]) * inverse_h2 / heat
        if first:
            start_extra[n] = rate
            start_rate[i, j, k] += rate
            gain = d * rate
        else:
            gain = d * rate + e * start_extra[n]
        out[i, j, k] += d * rate
        taken -= np.float64(gain) * np.float64(heat)
        theta_out[i, j, k] = potential(out[i, j, k], table[tissue[i, j, k]])
    for n in range(fixed.shape[0]):
        i, j, k = fixed[n, 0], fixed[n, 1], fixed[n, 2]
        p = table[tissue[i, j, k]]
        taken += np.float64(out[i, j, k] - fixed_u[n]) * np.float64(p[HEAT])
        out[i, j, k] = fixed_u[n]
        theta_out[i, j, k] = potential(fixed_u[n], p)
    return taken


@compiled
def outflow(u: Any, theta: Any, tissue: Any, table: Any, i: Any, j: Any, k: Any, x: Any, y: Any, z: Any) -> Any:
    """Heat in W/m from a cell to a neighbour, over the cell size; between two tissues as in ``stage``."""
    own, other = tissue[i, j, k], tissue[x, y, z]
    if own == other:
        return np.float64(theta[i, j, k] - theta[x, y, z])
    p, q = table[own], table[other]
    ka, kb = conductivity(u[i, j, k], p), conductivity(u[x, y, z], q)
    mean = np.float32(2.0) * ka * kb / (ka + kb)
    return np.float64(mean * (temperature(u[i, j, k], p) - temperature(u[x, y, z], q)))


@compiled
def faces_outflow(u: Any, theta: Any, tissue: Any, table: Any, box: Any) -> Any:
    """Sum over the faces of the box of the heat in W/m that flows out, over the cell size."""
    total = 0.0
    for j in range(box[2], box[3]):
        for k in range(box[4], box[5]):
            total += outflow(u, theta, tissue, table, box[0], j, k, box[0] - 1, j, k)
            total += outflow(u, theta, tissue, table, box[1] - 1, j, k, box[1], j, k)
    for i in range(box[0], box[1]):
        for k in range(box[4], box[5]):
            total += outflow(u, theta, tissue, table, i, box[2], k, i, box[2] - 1, k)
            total += outflow(u, theta, tissue, table, i, box[3] - 1, k, i, box[3], k)
        for j in range(box[2], box[3]):
            total += outflow(u, theta, tissue, table, i, j, box[4], i, j, box[4] - 1)
            total += outflow(u, theta, tissue, table, i, j, box[5] - 1, i, j, box[5])
    return total


@compiled
def mirror(a: Any) -> None:
    """Ghost cells take the value of the cell within: no heat passes the walls."""
    a[0], a[-1] = a[1], a[-2]
    a[:, 0], a[:, -1] = a[:, 1], a[:, -2]
    a[:, :, 0], a[:, :, -1] = a[:, :, 1], a[:, :, -2]


@compiled
def shell_change(u: Any, at_rest: Any, tissue: Any, box: Any) -> Any:
    """Greatest difference of u on the faces of the box from ``at_rest`` of its tissue."""
    most = np.float32(0.0)
    for j in range(box[2], box[3]):
        for k in range(box[4], box[5]):
            for i in (box[0], box[1] - 1):
                most = max(most, abs(u[i, j, k] - at_rest[tissue[i, j, k]]))
    for i in range(box[0], box[1]):
        for k in range(box[4], box[5]):
            for j in (box[2], box[3] - 1):
                most = max(most, abs(u[i, j, k] - at_rest[tissue[i, j, k]]))
        for j in range(box[2], box[3]):
            for k in (box[4], box[5] - 1):
                most = max(most, abs(u[i, j, k] - at_rest[tissue[i, j, k]]))
    return most


@compiled_parallel
def stored_heat(u: Any, at_rest: Any, tissue: Any, table: Any, held: Any, box: Any) -> Any:
    """J/m3 summed over the cells of the box that are not held: heat taken up since the start."""
    total = 0.0
    for i in prange(box[0], box[1]):
        part = 0.0
        for j in range(box[2], box[3]):
            for k in range(box[4], box[5]):
                if not held[i, j, k]:
                    m = tissue[i, j, k]
                    part += np.float64(u[i, j, k] - at_rest[m]) * np.float64(table[m, HEAT])
        total += part
    return total


@compiled
def free_sum(field: Any, held: Any, box: Any) -> Any:
    """Sum of a field over the cells of the box that are not held."""
    total = 0.0
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            for k in range(box[4], box[5]):
                if not held[i, j, k]:
                    total += field[i, j, k]
    return total


@compiled_parallel
def ohmic_conductivity(u: Any, tissue: Any, table: Any, rest: Any, slope: Any, decades: Any, out: Any) -> None:
    """Conductivity S/m of inner cells: rest (1 + slope (T - 37)), falling by ``decades`` as water boils off."""
    nx, ny, nz = out.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                m = tissue[i + 1, j + 1, k + 1]
                p = table[m]
                v = u[i + 1, j + 1, k + 1]
                t = min(temperature(v, p), p[BOILS])
                sigma = rest[m] * max(np.float32(1.0) + slope[m] * (t - np.float32(37.0)), np.float32(0.1))
                if v > p[BOILS] and p[DRIED] > p[BOILS]:
                    dried = min((v - p[BOILS]) / (p[DRIED] - p[BOILS]), np.float32(1.0))
                    sigma *= np.float32(10.0) ** (-decades * dried)
                out[i, j, k] = sigma
