"""Compiled loops of the conjugate gradient method on a grid of face conductances."""

from typing import Any

import numpy as np

from needleplan.compiled import compiled, compiled_parallel, compiled_stencil, prange


@compiled_parallel
def face_conductances(sigma: Any, wall: Any, gx: Any, gy: Any, gz: Any) -> None:
    """Harmonic means of the conductivity on faces; ``wall`` times it on the outer walls.

    Args:
        sigma: (nx, ny, nz).
        wall: 2 for a wall at zero half a voxel beyond the outer centres, 0 for one that passes nothing.
        gx, gy, gz: out, one longer than sigma along x, y or z.
    """
    nx, ny, nz = sigma.shape
    two = np.float32(2.0)
    for i in prange(nx + 1):
        for j in range(ny):
            for k in range(nz):
                if i == 0:
                    gx[0, j, k] = wall * sigma[0, j, k]
                elif i == nx:
                    gx[nx, j, k] = wall * sigma[nx - 1, j, k]
                else:
                    a, b = sigma[i - 1, j, k], sigma[i, j, k]
                    gx[i, j, k] = two * a * b / (a + b)
        if i < nx:
            for j in range(ny + 1):
                for k in range(nz):
                    if j == 0:
                        gy[i, 0, k] = wall * sigma[i, 0, k]
                    elif j == ny:
                        gy[i, ny, k] = wall * sigma[i, ny - 1, k]
                    else:
                        a, b = sigma[i, j - 1, k], sigma[i, j, k]
                        gy[i, j, k] = two * a * b / (a + b)
            for j in range(ny):
                gz[i, j, 0] = wall * sigma[i, j, 0]
                gz[i, j, nz] = wall * sigma[i, j, nz - 1]
                for k in range(1, nz):
                    a, b = sigma[i, j, k - 1], sigma[i, j, k]
                    gz[i, j, k] = two * a * b / (a + b)


@compiled
def contact_conductances(cells: Any, held: Any, factors: Any, sigma: Any, gx: Any, gy: Any, gz: Any) -> None:
    """Faces between held and tissue cells: the factor times the tissue cell's own conductivity."""
    for n in range(cells.shape[0]):
        i, j, k = cells[n, 0], cells[n, 1], cells[n, 2]
        x, y, z = held[n, 0], held[n, 1], held[n, 2]
        value = factors[n] * sigma[i, j, k]
        if x != i:
            gx[max(i, x), j, k] = value
        elif y != j:
            gy[i, max(j, y), k] = value
        else:
            gz[i, j, max(k, z)] = value


@compiled_parallel
def diagonal(gx: Any, gy: Any, gz: Any, reaction: Any, out: Any) -> None:
    """Sum of the conductances about each cell, and its reaction."""
    nx, ny, nz = out.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                out[i, j, k] = (
                    gx[i, j, k] + gx[i + 1, j, k] + gy[i, j, k] + gy[i, j + 1, k] + gz[i, j, k] + gz[i, j, k + 1]
                    + reaction[i, j, k]
                )  # fmt: skip


@compiled_stencil
def apply(gx: Any, gy: Any, gz: Any, diag: Any, free: Any, p: Any, out: Any, sums: Any) -> None:
    """``out`` = A p on free cells and 0 on held ones; ``sums`` (nx,) gets each slab's share of p.Ap.

    ``p`` is padded by one cell of zeros on every side.
    """
    nx, ny, nz = diag.shape
    for i in prange(nx):
        part = 0.0
        for j in range(ny):
            own = p[i + 1, j + 1, 1 : nz + 1]
            west, east = p[i, j + 1, 1 : nz + 1], p[i + 2, j + 1, 1 : nz + 1]
            south, north = p[i + 1, j, 1 : nz + 1], p[i + 1, j + 2, 1 : nz + 1]
            below, above = p[i + 1, j + 1, 0:nz], p[i + 1, j + 1, 2 : nz + 2]
            g0, g1 = gx[i, j], gx[i + 1, j]
            g2, g3 = gy[i, j], gy[i, j + 1]
            g4, g5 = gz[i, j, 0:nz], gz[i, j, 1 : nz + 1]
            d, f, o = diag[i, j], free[i, j], out[i, j]
            row = np.float32(0.0)
            for k in range(nz):
                value = f[k] * (
                    d[k] * own[k] - g0[k] * west[k] - g1[k] * east[k] - g2[k] * south[k] - g3[k] * north[k]
                    - g4[k] * below[k] - g5[k] * above[k]
                )  # fmt: skip
                o[k] = value
                row += value * own[k]
            part += np.float64(row)
        sums[i] = part


@compiled_stencil
def descend(alpha: Any, p: Any, ap: Any, x: Any, r: Any, sums: Any) -> None:
    """x += alpha p, r -= alpha Ap; ``sums`` (nx,) gets each slab's share of r.r; p and x are padded."""
    nx, ny, nz = r.shape
    for i in prange(nx):
        part = 0.0
        for j in range(ny):
            own, to, res, step = p[i + 1, j + 1, 1 : nz + 1], x[i + 1, j + 1, 1 : nz + 1], r[i, j], ap[i, j]
            row = np.float32(0.0)
            for k in range(nz):
                to[k] += alpha * own[k]
                value = res[k] - alpha * step[k]
                res[k] = value
                row += value * value
            part += np.float64(row)
        sums[i] = part


@compiled_stencil
def turn(beta: Any, z: Any, p: Any) -> None:
    """p = z + beta p; p is padded."""
    nx, ny, nz = z.shape
    for i in prange(nx):
        for j in range(ny):
            own, new = p[i + 1, j + 1, 1 : nz + 1], z[i, j]
            for k in range(nz):
                own[k] = new[k] + beta * own[k]


@compiled_stencil
def scaled_dot(scale: Any, z: Any, r: Any, sums: Any) -> None:
    """z *= scale in place; ``sums`` (nx,) gets each slab's share of z.r."""
    nx, ny, nz = z.shape
    for i in prange(nx):
        part = 0.0
        for j in range(ny):
            a, b, c = z[i, j], scale[i, j], r[i, j]
            row = np.float32(0.0)
            for k in range(nz):
                value = a[k] * b[k]
                a[k] = value
                row += value * c[k]
            part += np.float64(row)
        sums[i] = part


@compiled_parallel
def field_strength(v: Any, gx: Any, gy: Any, gz: Any, sigma: Any, held: Any, spacing_m: Any, out: Any) -> None:
    """Strength of the gradient in 1/m of the padded ``v`` at cell centres, from the fluxes through the faces.

    Each component is the mean of the two faces' flux over the cell's conductivity: exact across layers of different
    conductivity, and consistent with the contact faces of needles. Zero in held cells.
    """
    nx, ny, nz = sigma.shape
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                if held[i, j, k]:
                    out[i, j, k] = 0.0
                    continue
                c = v[i + 1, j + 1, k + 1]
                ex = gx[i, j, k] * (c - v[i, j + 1, k + 1]) + gx[i + 1, j, k] * (v[i + 2, j + 1, k + 1] - c)
                ey = gy[i, j, k] * (c - v[i + 1, j, k + 1]) + gy[i, j + 1, k] * (v[i + 1, j + 2, k + 1] - c)
                ez = gz[i, j, k] * (c - v[i + 1, j + 1, k]) + gz[i, j, k + 1] * (v[i + 1, j + 1, k + 2] - c)
                out[i, j, k] = np.sqrt(ex * ex + ey * ey + ez * ez) / (2.0 * sigma[i, j, k] * spacing_m)


@compiled_parallel
def joule_heat(v: Any, gx: Any, gy: Any, gz: Any, held: Any, spacing_m: Any, out: Any) -> None:
    """Heat in W/m3 (for conductances in S/m and v in V): half of each face's to each side, all beside a needle."""
    nx, ny, nz = out.shape
    scale = 0.5 / (spacing_m * spacing_m)
    for i in prange(nx):
        for j in range(ny):
            for k in range(nz):
                if held[i, j, k]:
                    out[i, j, k] = 0.0
                    continue
                c = v[i + 1, j + 1, k + 1]
                total = 0.0
                for side in range(6):
                    if side == 0:
                        g, o, h = gx[i, j, k], v[i, j + 1, k + 1], i > 0 and held[i - 1, j, k]
                        wall = i == 0
                    elif side == 1:
                        g, o, h = gx[i + 1, j, k], v[i + 2, j + 1, k + 1], i + 1 < nx and held[i + 1, j, k]
                        wall = i + 1 == nx
                    elif side == 2:
                        g, o, h = gy[i, j, k], v[i + 1, j, k + 1], j > 0 and held[i, j - 1, k]
                        wall = j == 0
                    elif side == 3:
                        g, o, h = gy[i, j + 1, k], v[i + 1, j + 2, k + 1], j + 1 < ny and held[i, j + 1, k]
                        wall = j + 1 == ny
                    elif side == 4:
                        g, o, h = gz[i, j, k], v[i + 1, j + 1, k], k > 0 and held[i, j, k - 1]
                        wall = k == 0
                    else:
                        g, o, h = gz[i, j, k + 1], v[i + 1, j + 1, k + 2], k + 1 < nz and held[i, j, k + 1]
                        wall = k + 1 == nz
                    share = 2.0 if h or wall else 1.0
                    total += share * g * (c - o) * (c - o)
                out[i, j, k] = scale * total
