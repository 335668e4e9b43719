"""Exact distances and crossings between points, segments and triangles, as compiled kernels in float64."""

from typing import Any

from needleplan.compiled import compiled


@compiled
def point_triangle(px: float, py: float, pz: float, t: Any) -> float:
    """Squared distance of a point to triangle t (9,) (Ericson, Real-Time Collision Detection, 5.1.5)."""
    abx, aby, abz = t[3] - t[0], t[4] - t[1], t[5] - t[2]
    acx, acy, acz = t[6] - t[0], t[7] - t[1], t[8] - t[2]
    apx, apy, apz = px - t[0], py - t[1], pz - t[2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    if d1 <= 0.0 and d2 <= 0.0:
        return apx * apx + apy * apy + apz * apz
    bpx, bpy, bpz = px - t[3], py - t[4], pz - t[5]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0.0 and d4 <= d3:
        return bpx * bpx + bpy * bpy + bpz * bpz
    vc = d1 * d4 - d3 * d2
    # An edge without length says nothing: the point is then on the side of another one.
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0 and d1 != d3:
        v = d1 / (d1 - d3)
        x, y, z = apx - v * abx, apy - v * aby, apz - v * abz
        return x * x + y * y + z * z
    cpx, cpy, cpz = px - t[6], py - t[7], pz - t[8]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    if d6 >= 0.0 and d5 <= d6:
        return cpx * cpx + cpy * cpy + cpz * cpz
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        w = d2 / (d2 - d6) if d2 != d6 else 0.0
        x, y, z = apx - w * acx, apy - w * acy, apz - w * acz
        return x * x + y * y + z * z
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and (d4 - d3) >= 0.0 and (d5 - d6) >= 0.0:
        s = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / s if s != 0.0 else 0.0
        x = bpx - w * (t[6] - t[3])
        y = bpy - w * (t[7] - t[4])
        z = bpz - w * (t[8] - t[5])
        return x * x + y * y + z * z
    s = va + vb + vc
    v = vb / s
    w = vc / s
    x, y, z = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return x * x + y * y + z * z


@compiled
def segment_segment(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any, i: int, j: int
) -> float:
    """Squared distance of segment a + s u to the triangle edge from corner i to j (Ericson 5.1.9)."""
    vx, vy, vz = t[3 * j] - t[3 * i], t[3 * j + 1] - t[3 * i + 1], t[3 * j + 2] - t[3 * i + 2]
    wx, wy, wz = ax - t[3 * i], ay - t[3 * i + 1], az - t[3 * i + 2]
    a = ux * ux + uy * uy + uz * uz
    e = vx * vx + vy * vy + vz * vz
    f = vx * wx + vy * wy + vz * wz
    c = ux * wx + uy * wy + uz * wz
    s = 0.0
    r = 0.0
    if a <= 0.0 and e <= 0.0:
        pass
    elif a <= 0.0:
        r = min(1.0, max(0.0, f / e))
    elif e <= 0.0:
        s = min(1.0, max(0.0, -c / a))
    else:
        b = ux * vx + uy * vy + uz * vz
        # |u x v|^2 keeps the angle of nearly parallel lines, which a e - b^2 loses.
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        denominator = nx * nx + ny * ny + nz * nz
        if denominator > 1e-24 * a * e:
            along = (vy * wz - vz * wy) * nx + (vz * wx - vx * wz) * ny + (vx * wy - vy * wx) * nz
            s = min(1.0, max(0.0, along / denominator))
        r = (b * s + f) / e
        if r < 0.0:
            r = 0.0
            s = min(1.0, max(0.0, -c / a))
        elif r > 1.0:
            r = 1.0
            s = min(1.0, max(0.0, (b - c) / a))
    x = wx + s * ux - r * vx
    y = wy + s * uy - r * vy
    z = wz + s * uz - r * vz
    return x * x + y * y + z * z


@compiled
def _edge_side(
    px: float, py: float, pz: float, qx: float, qy: float, qz: float, ux: float, uy: float, uz: float, size: float
) -> float:
    """u . (p x q): on which side a line through the origin along u passes the edge from p to q.

    Computed from the same end whichever way the edge is given, so that the two faces at an edge always agree and
    no line slips between them (Woop, Benthin, Wald, "Watertight Ray/Triangle Intersection", JCGT 2013). 0 where
    rounding hides the side: then the line meets both faces.
    """
    swap = (px > qx) or (px == qx and ((py > qy) or (py == qy and pz > qz)))
    if swap:
        px, py, pz, qx, qy, qz = qx, qy, qz, px, py, pz
    value = ux * (py * qz - pz * qy) + uy * (pz * qx - px * qz) + uz * (px * qy - py * qx)
    # The rounding error of the triple product is below 8 units in the last place of |u| |p| |q|.
    pq = (px * px + py * py + pz * pz) * (qx * qx + qy * qy + qz * qz)
    if value * value <= 4e-30 * size * pq:
        return 0.0
    return -value if swap else value


@compiled
def crossing(ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any) -> tuple[bool, float, float]:
    """(hit, parameter in 0..1, number with the sign of u . n) of segment a + s u with triangle t.

    Edges and corners count as hits, so a path through an edge is found in both faces and merged by the caller. A
    segment in the triangle's plane does not cross it.
    """
    p0x, p0y, p0z = t[0] - ax, t[1] - ay, t[2] - az
    p1x, p1y, p1z = t[3] - ax, t[4] - ay, t[5] - az
    p2x, p2y, p2z = t[6] - ax, t[7] - ay, t[8] - az
    size = ux * ux + uy * uy + uz * uz
    w0 = _edge_side(p1x, p1y, p1z, p2x, p2y, p2z, ux, uy, uz, size)
    w1 = _edge_side(p2x, p2y, p2z, p0x, p0y, p0z, ux, uy, uz, size)
    if (w0 > 0.0 and w1 < 0.0) or (w0 < 0.0 and w1 > 0.0):
        return False, 0.0, 0.0
    w2 = _edge_side(p0x, p0y, p0z, p1x, p1y, p1z, ux, uy, uz, size)
    if not ((w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0) or (w0 <= 0.0 and w1 <= 0.0 and w2 <= 0.0)):
        return False, 0.0, 0.0
    total = w0 + w1 + w2
    if total == 0.0:
        return False, 0.0, 0.0
    w0, w1, w2 = w0 / total, w1 / total, w2 / total
    s = (
        (w0 * p0x + w1 * p1x + w2 * p2x) * ux
        + (w0 * p0y + w1 * p1y + w2 * p2y) * uy
        + (w0 * p0z + w1 * p1z + w2 * p2z) * uz
    ) / size
    if s < 0.0 or s > 1.0:
        return False, 0.0, 0.0
    return True, s, total


@compiled
def segment_triangle(ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any) -> float:
    """Squared distance of a segment to a triangle: 0 where they cross, else an end or an edge is nearest."""
    hit, _, _ = crossing(ax, ay, az, ux, uy, uz, t)
    if hit:
        bx, by, bz, cx, cy, cz = t[3] - t[0], t[4] - t[1], t[5] - t[2], t[6] - t[0], t[7] - t[1], t[8] - t[2]
        nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        flat = 1e-20 * (bx * bx + by * by + bz * bz) * (cx * cx + cy * cy + cz * cz)
        # A face without area has only edges: which side of them a path passes is then lost to rounding.
        if nx * nx + ny * ny + nz * nz > flat:
            return 0.0
    return segment_triangle_apart(ax, ay, az, ux, uy, uz, t)


@compiled
def segment_triangle_apart(ax: float, ay: float, az: float, ux: float, uy: float, uz: float, t: Any) -> float:
    """Squared distance of a segment to a triangle that it does not cross."""
    best = point_triangle(ax, ay, az, t)
    best = min(best, point_triangle(ax + ux, ay + uy, az + uz, t))
    best = min(best, segment_segment(ax, ay, az, ux, uy, uz, t, 0, 1))
    best = min(best, segment_segment(ax, ay, az, ux, uy, uz, t, 1, 2))
    return float(min(best, segment_segment(ax, ay, az, ux, uy, uz, t, 2, 0)))
