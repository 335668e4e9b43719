"""A bounding-volume tree over triangles: how it is built, and how it is searched, as compiled kernels.

Every node has up to eight children, found by three median splits on the axis along which the triangles' middles
spread most (Wald 2007; Wald, Benthin, Boulos 2008 for many children a node): the boxes of all eight are tested in
one vectorised loop. Boxes are kept in float32, rounded outward, and compared with a slack above the rounding of
their arithmetic, so a node is skipped only when it surely cannot change the answer: answers are those of testing
every triangle, in float64.
"""

from typing import Any

import numpy as np

from needleplan.anatomy.triangle_kernels import crossing, segment_triangle, segment_triangle_apart
from needleplan.compiled import compiled

#: Children of a node.
WIDTH = 8
LEAF_SIZE = 8
#: Each level pushes at most seven siblings, and 2^31 triangles make fewer than 12 levels.
STACK_SIZE = 96
#: Rounding of the float32 arithmetic on boxes, as a share of the size of the numbers: ten operations at 6e-8 each,
#: with room.
_ROUNDING = 2e-6

_ZERO, _ONE, _TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
_NOWHERE = np.float32(-1e15)


@compiled
def _select(order: Any, keys: Any, first: int, last: int, middle: int) -> None:
    """Partition order[first:last] by keys (by index where equal) so that no one before ``middle`` is greater."""
    low = first
    high = last - 1
    while low < high:
        # Median of three as pivot: sorted and reversed input stay fast.
        a, b, c = order[low], order[(low + high) // 2], order[high]
        if keys[b] < keys[a] or (keys[b] == keys[a] and b < a):
            a, b = b, a
        if keys[c] < keys[b] or (keys[c] == keys[b] and c < b):
            b = c
            if keys[b] < keys[a] or (keys[b] == keys[a] and b < a):
                a, b = b, a
        pivot = keys[b]
        pivot_index = b
        i = low
        j = high
        while i <= j:
            while keys[order[i]] < pivot or (keys[order[i]] == pivot and order[i] < pivot_index):
                i += 1
            while keys[order[j]] > pivot or (keys[order[j]] == pivot and order[j] > pivot_index):
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@compiled
def _halve(order: Any, centre: Any, first: int, last: int) -> int:
    """Split order[first:last] in the middle of the axis along which the triangles' middles spread most."""
    axis = 0
    spread = -1.0
    for k in range(3):
        low = np.inf
        high = -np.inf
        for i in range(first, last):
            value = centre[k, order[i]]
            low = min(low, value)
            high = max(high, value)
        if high - low > spread:
            spread = high - low
            axis = k
    middle = (first + last) // 2
    _select(order, centre[axis], first, last, middle)
    return middle


@compiled
def _rounded_up(value: float) -> Any:
    """The least float32 that is not below a float64."""
    result = np.float32(value)
    if np.float64(result) < value:
        return np.nextafter(result, np.float32(np.inf))
    return result


@compiled
def build_boxes(triangles: Any, order: Any, origin: Any, boxes: Any, child: Any) -> int:
    """Fill the nodes of a tree over triangles (m, 9); returns their number.

    ``order`` (m,) is permuted so that each leaf's triangles are consecutive. Child c of node i is
    a leaf of child[i, 1, c] triangles from child[i, 0, c] on, or the node child[i, 0, c] where child[i, 1, c] is 0,
    or none where that is -1. ``boxes`` (k, 6, 8) hold the middles relative to ``origin`` (3,) and the half sizes of
    the children's boxes.
    """
    m = triangles.shape[0]
    centre = np.empty((3, m))
    for k in range(m):
        for axis in range(3):
            x, y, z = triangles[k, axis], triangles[k, 3 + axis], triangles[k, 6 + axis]
            centre[axis, k] = 0.5 * (min(x, y, z) + max(x, y, z))
    stack = np.empty((STACK_SIZE, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, 0, m
    top = 1
    used = 1
    cuts = np.empty(WIDTH + 1, np.int64)
    while top > 0:
        top -= 1
        node = stack[top, 0]
        cuts[0], cuts[1] = stack[top, 1], stack[top, 2]
        parts = 1
        for _ in range(3):
            # From the last part back, so that a cut can be put in without moving those still to be seen.
            for c in range(parts - 1, -1, -1):
                if cuts[c + 1] - cuts[c] > LEAF_SIZE:
                    middle = _halve(order, centre, cuts[c], cuts[c + 1])
                    for j in range(parts, c, -1):
                        cuts[j + 1] = cuts[j]
                    cuts[c + 1] = middle
                    parts += 1
        for c in range(WIDTH):
            if c >= parts:
                child[node, 0, c], child[node, 1, c] = 0, -1
            elif cuts[c + 1] - cuts[c] <= LEAF_SIZE:
                child[node, 0, c], child[node, 1, c] = cuts[c], cuts[c + 1] - cuts[c]
            else:
                child[node, 0, c], child[node, 1, c] = used, 0
                stack[top, 0], stack[top, 1], stack[top, 2] = used, cuts[c], cuts[c + 1]
                top += 1
                used += 1
    # Children follow their parents, so boxes are made from the last node back.
    whole = np.empty((used, 6))
    for node in range(used - 1, -1, -1):
        for axis in range(3):
            whole[node, axis], whole[node, 3 + axis] = np.inf, -np.inf
        for c in range(WIDTH):
            if child[node, 1, c] < 0:
                for axis in range(3):
                    boxes[node, axis, c], boxes[node, 3 + axis, c] = _ZERO, _NOWHERE
                continue
            for axis in range(3):
                low = np.inf
                high = -np.inf
                if child[node, 1, c] == 0:
                    low, high = whole[child[node, 0, c], axis], whole[child[node, 0, c], 3 + axis]
                else:
                    for i in range(child[node, 0, c], child[node, 0, c] + child[node, 1, c]):
                        for corner in range(3):
                            value = triangles[order[i], 3 * corner + axis]
                            low = min(low, value)
                            high = max(high, value)
                whole[node, axis] = min(whole[node, axis], low)
                whole[node, 3 + axis] = max(whole[node, 3 + axis], high)
                low, high = low - origin[axis], high - origin[axis]
                middle = np.float32(0.5 * (low + high))
                boxes[node, axis, c] = middle
                boxes[node, 3 + axis, c] = _rounded_up(max(high - middle, middle - low))
    return used


@compiled
def _child_bounds(
    boxes: Any, node: int, ax: Any, ay: Any, az: Any, ux: Any, uy: Any, uz: Any, inverse: Any, out: Any
) -> None:
    """Lower bounds of the squared distances between a segment a + s u and the boxes of a node's children.

    In float32. The greater of two: the gap between the child's box and the segment's own, and the distance of the
    child's nearest corner from the plane through p across c - p, where p is the segment's point nearest to the
    middle c of the box; no point of the segment lies beyond that plane.
    """
    half = np.float32(0.5)
    ex, ey, ez = half * ux, half * uy, half * uz
    mx, my, mz = ax + ex, ay + ey, az + ez
    ex, ey, ez = abs(ex), abs(ey), abs(ez)
    # The length is read from the array: a loop of known length is unrolled before it can be vectorised.
    for c in range(boxes.shape[2]):
        cx, cy, cz = boxes[node, 0, c], boxes[node, 1, c], boxes[node, 2, c]
        hx, hy, hz = boxes[node, 3, c], boxes[node, 4, c], boxes[node, 5, c]
        wx, wy, wz = cx - ax, cy - ay, cz - az
        s = (wx * ux + wy * uy + wz * uz) * inverse
        s = s if s > _ZERO else _ZERO
        s = s if s < _ONE else _ONE
        dx, dy, dz = abs(wx - s * ux), abs(wy - s * uy), abs(wz - s * uz)
        square = dx * dx + dy * dy + dz * dz
        depth = square - (hx * dx + hy * dy + hz * dz)
        depth = depth if depth > _ZERO else _ZERO
        plane = depth * depth / (square + _TINY)
        gx, gy, gz = abs(mx - cx) - ex - hx, abs(my - cy) - ey - hy, abs(mz - cz) - ez - hz
        gx = gx if gx > _ZERO else _ZERO
        gy = gy if gy > _ZERO else _ZERO
        gz = gz if gz > _ZERO else _ZERO
        gap = gx * gx + gy * gy + gz * gz
        out[c] = plane if plane > gap else gap


@compiled
def _separation(
    t: Any, ax: float, ay: float, az: float, ux: float, uy: float, uz: float, inverse: float, best: float
) -> int:
    """What a plane between segment and triangle shows.

    Returns:
        2 where they are no nearer than sqrt(best), 1 where they do not touch, 0 where it shows nothing.
    """
    cx, cy, cz = (t[0] + t[3] + t[6]) / 3.0, (t[1] + t[4] + t[7]) / 3.0, (t[2] + t[5] + t[8]) / 3.0
    s = min(1.0, max(0.0, ((cx - ax) * ux + (cy - ay) * uy + (cz - az) * uz) * inverse))
    px, py, pz = ax + s * ux, ay + s * uy, az + s * uz
    dx, dy, dz = cx - px, cy - py, cz - pz
    depth = min(
        dx * (t[0] - px) + dy * (t[1] - py) + dz * (t[2] - pz),
        dx * (t[3] - px) + dy * (t[4] - py) + dz * (t[5] - pz),
        dx * (t[6] - px) + dy * (t[7] - py) + dz * (t[8] - pz),
    )
    square = dx * dx + dy * dy + dz * dz
    # A hair beyond: rounding never turns a near triangle away, nor calls touching ones apart.
    if depth <= 1e-9 * square:
        return 0
    return 2 if depth * depth > best * (1.0 + 1e-9) * square else 1


@compiled
def nearest_to_segment(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float, best: float, enough: float,
    guess: int, triangles: Any, origin: Any, boxes: Any, child: Any, stack: Any, bounds: Any, near: Any,
) -> tuple[float, int]:  # fmt: skip
    """Least squared distance from segment a + s u to the triangles, at most ``best``, and the nearest triangle.

    Stops as soon as it is below ``enough``: then the answer is below it, but need not be the least.

    Args:
        guess: a triangle that may be near, which is looked at first; it changes the time and not the distance.
        stack, bounds: room for ``STACK_SIZE`` nodes (int64) and bounds (float32).
        near: room for ``WIDTH`` bounds (float32).
    """
    length = ux * ux + uy * uy + uz * uz
    inverse = 1.0 / length if length > 0.0 else 0.0
    ox, oy, oz = ax - origin[0], ay - origin[1], az - origin[2]
    slack = _ROUNDING * (abs(ox) + abs(oy) + abs(oz) + abs(ux) + abs(uy) + abs(uz) + origin[3])
    fx, fy, fz = np.float32(ox), np.float32(oy), np.float32(oz)
    gx, gy, gz, inverse_f = np.float32(ux), np.float32(uy), np.float32(uz), np.float32(inverse)
    square = segment_triangle(ax, ay, az, ux, uy, uz, triangles[guess])
    if square < best:
        best = square
        if best < enough or best <= 0.0:
            return best, guess
    limit = np.float32((np.sqrt(best) + slack) ** 2)
    stack[0] = 0
    bounds[0] = _ZERO
    top = 1
    while top > 0:
        top -= 1
        if bounds[top] >= limit:
            continue
        node = stack[top]
        _child_bounds(boxes, node, fx, fy, fz, gx, gy, gz, inverse_f, near)
        first = 0
        for c in range(1, WIDTH):
            if near[c] < near[first]:
                first = c
        bottom = top
        # The nearest child first, the others as they come.
        for place in range(WIDTH):
            c = first if place == 0 else (place - 1 if place <= first else place)
            if near[c] >= limit:
                continue
            if child[node, 1, c] == 0:
                stack[top] = child[node, 0, c]
                bounds[top] = near[c]
                top += 1
                continue
            for k in range(child[node, 0, c], child[node, 0, c] + child[node, 1, c]):
                apart = _separation(triangles[k], ax, ay, az, ux, uy, uz, inverse, best)
                if apart == 2:
                    continue
                if apart == 1:
                    square = segment_triangle_apart(ax, ay, az, ux, uy, uz, triangles[k])
                else:
                    square = segment_triangle(ax, ay, az, ux, uy, uz, triangles[k])
                if square < best:
                    best = square
                    guess = k
                    if best < enough or best <= 0.0:
                        return best, guess
                    limit = np.float32((np.sqrt(best) + slack) ** 2)
        # The nearest inner child was pushed first of those: on top it is searched next.
        if top > bottom + 1 and bounds[bottom] <= bounds[top - 1]:
            stack[bottom], stack[top - 1] = stack[top - 1], stack[bottom]
            bounds[bottom], bounds[top - 1] = bounds[top - 1], bounds[bottom]
    return best, guess


@compiled
def _child_misses(
    boxes: Any, node: int, ax: Any, ay: Any, az: Any, ex: Any, ey: Any, ez: Any, slack: Any, out: Any
) -> None:
    """Above 0 where a segment surely misses the boxes of a node's children (separating axes, Gottschalk 2000).

    (ax, ay, az) is the segment's middle, (ex, ey, ez) half of it; boxes and segment are grown by ``slack``.
    """
    fx, fy, fz = abs(ex) + slack, abs(ey) + slack, abs(ez) + slack
    for c in range(boxes.shape[2]):
        mx, my, mz = ax - boxes[node, 0, c], ay - boxes[node, 1, c], az - boxes[node, 2, c]
        hx, hy, hz = boxes[node, 3, c] + slack, boxes[node, 4, c] + slack, boxes[node, 5, c] + slack
        worst = abs(mx) - hx - fx
        other = abs(my) - hy - fy
        worst = worst if worst > other else other
        other = abs(mz) - hz - fz
        worst = worst if worst > other else other
        other = abs(my * ez - mz * ey) - hy * fz - hz * fy
        worst = worst if worst > other else other
        other = abs(mz * ex - mx * ez) - hx * fz - hz * fx
        worst = worst if worst > other else other
        other = abs(mx * ey - my * ex) - hx * fy - hy * fx
        out[c] = worst if worst > other else other


@compiled
def crossings_of_segment(
    ax: float, ay: float, az: float, ux: float, uy: float, uz: float,
    triangles: Any, faces: Any, origin: Any, boxes: Any, child: Any, stack: Any, near: Any,
    parameter: Any, face: Any, sign: Any,
) -> int:  # fmt: skip
    """All triangles that segment a + s u crosses; returns their number, and stores as many as there is room for."""
    ox, oy, oz = ax - origin[0], ay - origin[1], az - origin[2]
    slack = np.float32(_ROUNDING * (abs(ox) + abs(oy) + abs(oz) + abs(ux) + abs(uy) + abs(uz) + origin[3]))
    ex, ey, ez = np.float32(0.5 * ux), np.float32(0.5 * uy), np.float32(0.5 * uz)
    mx, my, mz = np.float32(ox + 0.5 * ux), np.float32(oy + 0.5 * uy), np.float32(oz + 0.5 * uz)
    stack[0] = 0
    top = 1
    found = 0
    while top > 0:
        top -= 1
        node = stack[top]
        _child_misses(boxes, node, mx, my, mz, ex, ey, ez, slack, near)
        for c in range(WIDTH):
            if near[c] > _ZERO or child[node, 1, c] < 0:
                continue
            if child[node, 1, c] == 0:
                stack[top] = child[node, 0, c]
                top += 1
                continue
            for k in range(child[node, 0, c], child[node, 0, c] + child[node, 1, c]):
                hit, s, facing = crossing(ax, ay, az, ux, uy, uz, triangles[k])
                if hit:
                    if found < parameter.size:
                        parameter[found] = s
                        face[found] = faces[k]
                        sign[found] = 1 if facing > 0.0 else -1
                    found += 1
    return found
