"""Compiled inner loops of the phantom's signed distances; imported only where they are called."""

import math

import numpy as np

from needleplan.compiled import compiled
from needleplan.frames import FloatArray


@compiled
def rounded_cones(
    points: FloatArray,
    starts: FloatArray,
    ends: FloatArray,
    radii: FloatArray,
    group_first: FloatArray,
    group_boxes: FloatArray,
) -> FloatArray:
    """Least signed distance to a set of rounded cones (convex hulls of two balls).

    The closed form is Quilez' ("Distance functions", round cone). A group of cones is skipped where the
    distance to its bounding box already exceeds the least distance found, which changes no value.

    Args:
        points: (n, 3).
        starts: (m, 3) centres of the first balls.
        ends: (m, 3) centres of the second balls.
        radii: (m, 2) radii of both.
        group_first: (g + 1,) integer: index of the first cone of each group, and m.
        group_boxes: (g, 2, 3) bounds of each group.

    Returns:
        (n,) distances in the unit of the points.
    """
    n, groups = points.shape[0], group_boxes.shape[0]
    result = np.empty(n)
    reach = np.empty(groups)
    for i in range(n):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        nearest, nearest_reach = 0, np.inf
        for g in range(groups):
            dx = max(group_boxes[g, 0, 0] - px, px - group_boxes[g, 1, 0], 0.0)
            dy = max(group_boxes[g, 0, 1] - py, py - group_boxes[g, 1, 1], 0.0)
            dz = max(group_boxes[g, 0, 2] - pz, pz - group_boxes[g, 1, 2], 0.0)
            reach[g] = math.sqrt(dx * dx + dy * dy + dz * dz)
            if reach[g] < nearest_reach:
                nearest, nearest_reach = g, reach[g]
        best = np.inf
        for turn in range(groups):
            g = nearest if turn == 0 else (turn - 1 if turn <= nearest else turn)
            if reach[g] > 0.0 and reach[g] >= best:
                continue
            for k in range(int(group_first[g]), int(group_first[g + 1])):
                bx, by, bz = ends[k, 0] - starts[k, 0], ends[k, 1] - starts[k, 1], ends[k, 2] - starts[k, 2]
                ax, ay, az = px - starts[k, 0], py - starts[k, 1], pz - starts[k, 2]
                r1, r2 = radii[k, 0], radii[k, 1]
                rr = r1 - r2
                l2 = bx * bx + by * by + bz * bz
                a2 = l2 - rr * rr
                if a2 <= 1e-12:  # one ball contains the other
                    if rr >= 0.0:
                        d = math.sqrt(ax * ax + ay * ay + az * az) - r1
                    else:
                        d = math.sqrt((ax - bx) ** 2 + (ay - by) ** 2 + (az - bz) ** 2) - r2
                else:
                    y = ax * bx + ay * by + az * bz
                    z = y - l2
                    ux, uy, uz = ax * l2 - bx * y, ay * l2 - by * y, az * l2 - bz * y
                    x2 = ux * ux + uy * uy + uz * uz
                    y2, z2 = y * y * l2, z * z * l2
                    limit = rr * abs(rr) * x2
                    if (z2 if z >= 0.0 else -z2) * a2 > limit:
                        d = math.sqrt(x2 + z2) / l2 - r2
                    elif (y2 if y >= 0.0 else -y2) * a2 < limit:
                        d = math.sqrt(x2 + y2) / l2 - r1
                    else:
                        d = (math.sqrt(x2 * a2 / l2) + y * rr) / l2 - r1
                best = min(best, d)
        result[i] = best
    return result


@compiled
def ellipsoid(local: FloatArray, semi_axes: FloatArray) -> FloatArray:
    """Signed distance to an ellipsoid centred at the origin along the axes.

    The nearest point solves sum((e_i y_i / (t + e_i^2))^2) = 1 for its largest root t (Eberly, "Distance from a
    Point to an Ellipse, an Ellipsoid, or a Hyperellipsoid"). The left side is convex and falls in t, so that
    Newton's method from a start with a value of at least 1 climbs to the root without overshooting.

    Args:
        local: (n, 3) points in the ellipsoid's own axes.
        semi_axes: (3,) positive.

    Returns:
        (n,) distances, negative inside, to about 1e-9 of the size of the ellipsoid.
    """
    n = local.shape[0]
    result = np.empty(n)
    e0, e1, e2 = semi_axes[0], semi_axes[1], semi_axes[2]
    q0, q1, q2 = e0 * e0, e1 * e1, e2 * e2
    least = min(q0, q1, q2)
    p0, p1, p2 = q0 - least, q1 - least, q2 - least
    for i in range(n):
        # A coordinate of zero puts the root on a pole; 1e-10 of the axis moves the point by less than it matters.
        y0, y1 = max(abs(local[i, 0]), 1e-10 * e0), max(abs(local[i, 1]), 1e-10 * e1)
        y2 = max(abs(local[i, 2]), 1e-10 * e2)
        # The unknown is t less its least pole, so that no digits are lost where the root comes close to that.
        s = max(e0 * y0 - p0, e1 * y1 - p1, e2 * y2 - p2)
        for _ in range(60):
            s0, s1, s2 = 1.0 / (s + p0), 1.0 / (s + p1), 1.0 / (s + p2)
            f0, f1, f2 = (e0 * y0 * s0) ** 2, (e1 * y1 * s1) ** 2, (e2 * y2 * s2) ** 2
            value = f0 + f1 + f2 - 1.0
            step = 0.5 * value / (f0 * s0 + f1 * s1 + f2 * s2)
            s += step
            if step <= 1e-15 * s:
                break
        d0 = y0 * (s + p0 - q0) / (s + p0)
        d1 = y1 * (s + p1 - q1) / (s + p1)
        d2 = y2 * (s + p2 - q2) / (s + p2)
        distance = math.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
        inside = (y0 / e0) ** 2 + (y1 / e1) ** 2 + (y2 / e2) ** 2 < 1.0
        result[i] = -distance if inside else distance
    return result


@compiled
def superellipsoid(local: FloatArray, semi_axes: FloatArray, exponent: float) -> FloatArray:
    """min(a, b, c) (n-norm of (x/a, y/b, z/c) - 1) at points (n, 3) in the solid's own axes."""
    n = local.shape[0]
    result = np.empty(n)
    least = semi_axes.min()
    for i in range(n):
        u, v, w = abs(local[i, 0]) / semi_axes[0], abs(local[i, 1]) / semi_axes[1], abs(local[i, 2]) / semi_axes[2]
        result[i] = least * ((u**exponent + v**exponent + w**exponent) ** (1.0 / exponent) - 1.0)
    return result


@compiled
def boxes(local: FloatArray, centres: FloatArray, half_sizes: FloatArray) -> FloatArray:
    """Least signed distance from points (n, 3) to boxes along the axes, centres and half sizes (m, 3)."""
    n, m = local.shape[0], centres.shape[0]
    result = np.empty(n)
    for i in range(n):
        best = np.inf
        for k in range(m):
            x = abs(local[i, 0] - centres[k, 0]) - half_sizes[k, 0]
            y = abs(local[i, 1] - centres[k, 1]) - half_sizes[k, 1]
            z = abs(local[i, 2] - centres[k, 2]) - half_sizes[k, 2]
            inner = max(x, y, z)
            if inner >= best:  # the distance is at least the largest of the three
                continue
            if inner > 0.0:
                x, y, z = max(x, 0.0), max(y, 0.0), max(z, 0.0)
                inner = math.sqrt(x * x + y * y + z * z)
            best = min(best, inner)
        result[i] = best
    return result


@compiled
def blend(a: FloatArray, b: FloatArray, width: float) -> FloatArray:
    """min(a, b) less a quarter of (width - |a - b|)^2 / width where that is positive; width above 0."""
    result = np.empty(a.shape[0])
    for i in range(a.shape[0]):
        mix = width - abs(a[i] - b[i])
        result[i] = min(a[i], b[i]) - (0.25 * mix * mix / width if mix > 0.0 else 0.0)
    return result
