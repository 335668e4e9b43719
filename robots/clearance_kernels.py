"""Compiled distances of an arm's capsules from everything around it and from each other.

All kernels of clearance stand in one file because the compiler's cache does not see changes of a kernel in another
one. A capsule's place is its row (6,): both ends of its axis in world metres; a row whose first number is NaN is
not there. Clearances are metres, of the capsule and not of its axis: the axis's distance less the radius. An
obstacle is solid: an axis that meets it or lies inside it has the distance 0, so the clearance of a capsule that
goes in is minus its radius and says nothing about how deep.
"""

from typing import Any

import numpy as np

from needleplan.anatomy.box_tree import STACK_SIZE, WIDTH, crossings_of_segment, nearest_to_segment
from needleplan.anatomy.triangle_kernels import segment_segment
from needleplan.compiled import compiled, compiled_parallel, prange

#: Parts of a capsule that the driver moves: see ``placed_rows``.
FIXED, BEHIND, AHEAD = 0, 1, 2
#: Postures that are measured one after the other, each with the help of the last.
BLOCK = 16
#: What a posture is measured against, in the order of the columns of ``least_clearances``.
PATIENT, TABLE, GANTRY, NEEDLES, SELF = 0, 1, 2, 3, 4
#: Crossings of one ray that are counted; a point from which more are met is taken to be inside.
_MOST_CROSSINGS = 64


@compiled
def _clip(row: Any, low: float, high: float, z_start: float, z_end: float) -> None:
    """Keeps the part of a row whose coordinate, z_start to z_end along it, lies in low..high."""
    first, last = 0.0, 1.0
    rise = z_end - z_start
    if rise == 0.0:
        if z_start < low or z_start > high:
            row[0] = np.nan
        return
    at_low, at_high = (low - z_start) / rise, (high - z_start) / rise
    first, last = max(first, min(at_low, at_high)), min(last, max(at_low, at_high))
    if first > last:
        row[0] = np.nan
        return
    for axis in range(3):
        start, way = row[axis], row[3 + axis] - row[axis]
        row[axis], row[3 + axis] = start + first * way, start + last * way


@compiled
def placed_rows(
    constants: Any, prismatic: Any, base: Any, frame: Any, part: Any, local: Any, q: Any, driver: Any, rows: Any,
    exits: Any,
) -> None:  # fmt: skip
    """Where the capsules of an arm are.

    Args:
        constants, prismatic: the joints, as in ``KinematicChain``.
        base: (4, 4) pose of the base in the world.
        frame: (r,) number of joints that carry a capsule, ascending; one more than there are for what the driver
            moves.
        part: (r,) ``FIXED``, or for what the driver moves ``BEHIND`` the guide's exit or ``AHEAD`` of it.
        local: (r, 6) ends of the axis in the frame after that joint; in the guide's for what the driver moves.
        q: (k, n) joint positions.
        driver: (k,) positions of the driver.
        rows: (k, r, 6) the result.
        exits: (k, 6) the guide's exit and its axis, the result.
    """
    pose = np.empty((3, 4))
    count = len(prismatic)
    for k in range(len(q)):
        pose[:] = base[:3]
        r = 0
        for joint in range(count + 2):
            if joint > 0:
                for i in range(3):
                    a, b, c, d = pose[i, 0], pose[i, 1], pose[i, 2], pose[i, 3]
                    for j in range(4):
                        constant = constants[joint - 1]
                        pose[i, j] = a * constant[0, j] + b * constant[1, j] + c * constant[2, j]
                    pose[i, 3] += d
            if 0 < joint <= count:
                if prismatic[joint - 1]:
                    for i in range(3):
                        pose[i, 3] += pose[i, 2] * q[k, joint - 1]
                else:
                    cosine, sine = np.cos(q[k, joint - 1]), np.sin(q[k, joint - 1])
                    for i in range(3):
                        x, y = pose[i, 0], pose[i, 1]
                        pose[i, 0] = x * cosine + y * sine
                        pose[i, 1] = y * cosine - x * sine
            while r < len(frame) and frame[r] == joint:
                row = rows[k, r]
                shift = 0.0 if part[r] == FIXED else driver[k]
                for end in range(0, 6, 3):
                    x, y, z = local[r, end], local[r, end + 1], local[r, end + 2] + shift
                    for i in range(3):
                        row[end + i] = pose[i, 0] * x + pose[i, 1] * y + pose[i, 2] * z + pose[i, 3]
                if part[r] == BEHIND:
                    _clip(row, -np.inf, 0.0, local[r, 2] + shift, local[r, 5] + shift)
                elif part[r] == AHEAD:
                    # A needle that is drawn back to the exit has no part ahead of it.
                    _clip(row, 1e-9, np.inf, local[r, 2] + shift, local[r, 5] + shift)
                r += 1
        for i in range(3):
            exits[k, i], exits[k, 3 + i] = pose[i, 3], pose[i, 2]


@compiled
def _slope(row: Any, box: Any, t: float) -> float:
    """Half the slope of the squared distance between a row's point at share t and a box; it never falls with t."""
    slope = 0.0
    for axis in range(3):
        way = row[3 + axis] - row[axis]
        value = row[axis] + t * way
        slope += way * (value - min(max(value, box[0, axis]), box[1, axis]))
    return slope


@compiled
def segment_box_distance(row: Any, box: Any) -> float:
    """Exact distance of a segment (6,) from the solid box (2, 3), 0 where they meet.

    The squared distance along the segment is convex and, between the passages of the box's six planes, quadratic:
    its slope is followed from one passage to the next, and is linear where it changes its sign.
    """
    t = 0.0
    if _slope(row, box, 0.0) < 0.0:
        t = 1.0
        if _slope(row, box, 1.0) > 0.0:
            low, high = 0.0, 1.0
            for axis in range(3):
                way = row[3 + axis] - row[axis]
                for side in range(2):
                    if way != 0.0:
                        passage = (box[side, axis] - row[axis]) / way
                        if low < passage < high:
                            if _slope(row, box, passage) >= 0.0:
                                high = passage
                            else:
                                low = passage
            falling, rising = _slope(row, box, low), _slope(row, box, high)
            t = low + (high - low) * (falling / (falling - rising) if falling < rising else 0.0)
    square = 0.0
    for axis in range(3):
        value = row[axis] + t * (row[3 + axis] - row[axis])
        off = value - min(max(value, box[0, axis]), box[1, axis])
        square += off * off
    return np.sqrt(square)


@compiled
def _table(row: Any, radius: float, box: Any, floor: float, on_table: bool, on_floor: bool) -> float:
    """Clearance from the table's top and the floor, each left out for what stands on it."""
    gap = np.inf
    if not on_floor:
        gap = min(row[2], row[5]) - floor - radius
    if not on_table:
        gap = min(gap, segment_box_distance(row, box) - radius)
    return gap


@compiled
def _pair(first: Any, second: Any, radii: float, cap: float) -> float:
    """Clearance of two capsules whose radii add up to ``radii``, at most ``cap``."""
    between, half_first, half_second = 0.0, 0.0, 0.0
    for axis in range(3):
        between += (first[axis] + first[3 + axis] - second[axis] - second[3 + axis]) ** 2
        half_first += (first[3 + axis] - first[axis]) ** 2
        half_second += (second[3 + axis] - second[axis]) ** 2
    # Balls around both: most pairs are this far apart.
    if 0.5 * (np.sqrt(between) - np.sqrt(half_first) - np.sqrt(half_second)) - radii >= cap:
        return cap
    square = segment_segment(
        first[0], first[1], first[2], first[3] - first[0], first[4] - first[1], first[5] - first[2], second, 0, 1
    )
    return min(cap, np.sqrt(square) - radii)


@compiled
def _inside(px: float, py: float, pz: float, solid: Any, scratch: Any) -> bool:
    """True where a point lies inside a closed surface: two of three rays leave it more often than they enter.

    The rays point up and end above the surface, so one from a point above it meets nothing.
    """
    triangles, order, origin, boxes, child, bounds, rays = solid
    stack, _, near, parameter, face, sign = scratch
    if px < bounds[0, 0] or px > bounds[1, 0] or py < bounds[0, 1] or py > bounds[1, 1]:
        return False
    if pz < bounds[0, 2] or pz > bounds[1, 2]:
        return False
    votes = 0
    for ray in range(3):
        found = crossings_of_segment(
            px, py, pz, rays[ray, 0], rays[ray, 1], rays[ray, 2], triangles, order, origin, boxes, child, stack,
            near, parameter, face, sign,
        )  # fmt: skip
        balance = 0
        if found > len(parameter):
            balance = 1
        else:
            for hit in range(found):
                balance += sign[hit]
        if balance != 0:
            votes += 1
        # The third is only asked where the first two differ.
        if ray == 1 and votes != 1:
            break
    return votes >= 2


@compiled
def _solid(
    row: Any, radius: float, solid: Any, to_patient: Any, cap: float, enough: float, guess: int, scratch: Any
) -> tuple[float, int]:
    """Clearance from a closed surface, at most ``cap``, and the face that is nearest or was tried first.

    Where it is below ``enough`` it need not be exact.
    """
    triangles, _, origin, boxes, child, bounds, _ = solid
    stack, found, near, _, _, _ = scratch
    m = to_patient
    ax = m[0, 0] * row[0] + m[0, 1] * row[1] + m[0, 2] * row[2] + m[0, 3]
    ay = m[1, 0] * row[0] + m[1, 1] * row[1] + m[1, 2] * row[2] + m[1, 3]
    az = m[2, 0] * row[0] + m[2, 1] * row[1] + m[2, 2] * row[2] + m[2, 3]
    dx, dy, dz = row[3] - row[0], row[4] - row[1], row[5] - row[2]
    ux = m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz
    uy = m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz
    uz = m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz
    reach = 1e3 * (cap + radius)
    if reach <= 0.0:
        return cap, guess
    best = reach * reach
    gx = max(0.0, min(ax, ax + ux) - bounds[1, 0], bounds[0, 0] - max(ax, ax + ux))
    gy = max(0.0, min(ay, ay + uy) - bounds[1, 1], bounds[0, 1] - max(ay, ay + uy))
    gz = max(0.0, min(az, az + uz) - bounds[1, 2], bounds[0, 2] - max(az, az + uz))
    if gx * gx + gy * gy + gz * gz >= best:
        return cap, guess
    stop = max(0.0, 1e3 * (enough + radius))
    square, guess = nearest_to_segment(
        ax, ay, az, ux, uy, uz, best, stop * stop, guess, triangles, origin, boxes, child, stack, found, near
    )
    gap = cap if square >= best else min(cap, 1e-3 * np.sqrt(square) - radius)
    # An axis that does not meet the surface lies wholly on one side of it.
    if square > 0.0 and gap >= enough and _inside(ax, ay, az, solid, scratch):
        gap = -radius
    return gap, guess


@compiled
def _beyond_ring(row: Any, ring: Any) -> float:
    """Lower bound of a row's distance from the gantry: that of its middle, less half its length.

    ``ring``: least and greatest radius, least and greatest y, height of the axis.
    """
    x, z = 0.5 * (row[0] + row[3]), 0.5 * (row[2] + row[5]) - ring[4]
    y = 0.5 * (row[1] + row[4])
    half = 0.5 * np.sqrt((row[3] - row[0]) ** 2 + (row[4] - row[1]) ** 2 + (row[5] - row[2]) ** 2)
    radial = np.sqrt(x * x + z * z)
    across = max(0.0, ring[0] - radial, radial - ring[1])
    along = max(0.0, ring[2] - y, y - ring[3])
    return np.sqrt(across * across + along * along) - half


@compiled
def _scratch() -> Any:
    """Room for the searches of one core."""
    return (
        np.empty(STACK_SIZE, np.int64), np.empty(STACK_SIZE, np.float32), np.empty(WIDTH, np.float32),
        np.empty(_MOST_CROSSINGS), np.empty(_MOST_CROSSINGS, np.int64), np.empty(_MOST_CROSSINGS, np.int8),
    )  # fmt: skip


@compiled
def _obstacle(
    kind: int, r: int, row: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float,
    enough: float, guesses: Any, scratch: Any,
) -> float:  # fmt: skip
    """Clearance of row r from one kind of obstacle, at most ``cap``; not exact below ``enough``."""
    radii, part, on_table, on_floor, _ = arm
    box, floor, needles, needle_radii, to_patient, ring, known = scene
    radius = radii[r]
    if kind == TABLE:
        return min(cap, _table(row, radius, box, floor[0], on_table[r], on_floor[r]))
    if kind == NEEDLES:
        gap = cap
        for needle in range(len(needles)):
            gap = min(gap, _pair(row, needles[needle], radius + needle_radii[needle], gap))
        return gap
    if kind == GANTRY:
        if not known[1] or _beyond_ring(row, ring) - radius >= cap:
            return cap
        gap, guesses[1, r] = _solid(row, radius, gantry, to_patient, cap, enough, guesses[1, r], scratch)
        return gap
    # What is ahead of the guide's exit is on its way into the body.
    if not known[0] or part[r] == AHEAD:
        return cap
    gap, guesses[0, r] = _solid(row, radius, patient, to_patient, cap, enough, guesses[0, r], scratch)
    return gap


@compiled
def _each_block(
    block: int, rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, slack: float, outer: Any,
    own: Any,
) -> None:  # fmt: skip
    radii, _, _, _, pairs = arm
    scratch, guesses = _scratch(), np.zeros((2, rows.shape[1]), np.int64)
    least = np.full(SELF, cap)
    for k in range(block * BLOCK, min((block + 1) * BLOCK, len(rows))):
        for r in range(rows.shape[1] - 1, -1, -1):
            for kind in range(SELF):
                outer[k, r, kind] = cap
                limit = min(cap, least[kind] + slack)
                if not np.isnan(rows[k, r, 0]):
                    gap = _obstacle(
                        kind, r, rows[k, r], arm, scene, patient, gantry, limit, -np.inf, guesses, scratch
                    )
                    if gap < limit:
                        outer[k, r, kind] = gap
                        least[kind] = min(least[kind], gap)
        for p in range(len(pairs)):
            i, j = pairs[p]
            own[k, p] = cap
            if not (np.isnan(rows[k, i, 0]) or np.isnan(rows[k, j, 0])):
                own[k, p] = _pair(rows[k, i], rows[k, j], radii[i] + radii[j], cap)


@compiled_parallel
def row_clearances(
    rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, slack: float, outer: Any, own: Any
) -> None:
    """Clearance of every capsule from every kind of obstacle (k, r, 4) and of every pair of capsules (k, p).

    None is followed beyond ``cap``, nor from an obstacle by more than ``slack`` beyond the least that was found: a
    bound between samples is lower than a sample's clearance by at most the slack, so the others cannot set it. For
    those ``cap`` is written, so what is returned is right for its least value only.
    """
    for block in prange((len(rows) + BLOCK - 1) // BLOCK):
        _each_block(block, rows, arm, scene, patient, gantry, cap, slack, outer, own)


@compiled
def few_row_clearances(
    rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, slack: float, outer: Any, own: Any
) -> None:
    """As ``row_clearances``, on one core: waking the others takes longer than a few postures."""
    for block in range((len(rows) + BLOCK - 1) // BLOCK):
        _each_block(block, rows, arm, scene, patient, gantry, cap, slack, outer, own)


@compiled
def _least_block(
    block: int, rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, least: Any
) -> None:
    radii, _, _, _, pairs = arm
    scratch, guesses = _scratch(), np.zeros((2, rows.shape[1]), np.int64)
    for k in range(block * BLOCK, min((block + 1) * BLOCK, len(rows))):
        least[k] = cap
        # The guide, which comes last, is nearest to everything: what it finds spares searches for the others.
        for r in range(rows.shape[1] - 1, -1, -1):
            if not np.isnan(rows[k, r, 0]):
                for kind in range(SELF):
                    least[k, kind] = min(
                        least[k, kind],
                        _obstacle(
                            kind,
                            r,
                            rows[k, r],
                            arm,
                            scene,
                            patient,
                            gantry,
                            least[k, kind],
                            -np.inf,
                            guesses,
                            scratch,
                        ),
                    )
        for p in range(len(pairs)):
            i, j = pairs[p]
            if not (np.isnan(rows[k, i, 0]) or np.isnan(rows[k, j, 0])):
                least[k, SELF] = _pair(rows[k, i], rows[k, j], radii[i] + radii[j], least[k, SELF])


@compiled_parallel
def least_clearances(rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, least: Any) -> None:
    """Least clearances (k, 5) of each posture from each kind of obstacle and from itself."""
    for block in prange((len(rows) + BLOCK - 1) // BLOCK):
        _least_block(block, rows, arm, scene, patient, gantry, cap, least)


@compiled
def few_least_clearances(
    rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, cap: float, least: Any
) -> None:
    """As ``least_clearances``, on one core."""
    for block in range((len(rows) + BLOCK - 1) // BLOCK):
        _least_block(block, rows, arm, scene, patient, gantry, cap, least)


@compiled
def _is_clear(
    rows: Any,
    arm: Any,
    scene: Any,
    patient: Any,
    gantry: Any,
    outer: float,
    own: float,
    guesses: Any,
    scratch: Any,
    kinds: Any,
) -> bool:
    """Whether one posture keeps its distances: what is quick to see comes first."""
    radii, _, _, _, pairs = arm
    for place in range(len(kinds)):
        if kinds[place] == SELF:
            for p in range(len(pairs)):
                i, j = pairs[p]
                if not (np.isnan(rows[i, 0]) or np.isnan(rows[j, 0])):
                    if _pair(rows[i], rows[j], radii[i] + radii[j], own) < own:
                        return False
            continue
        for r in range(len(rows) - 1, -1, -1):
            if not np.isnan(rows[r, 0]):
                if (
                    _obstacle(kinds[place], r, rows[r], arm, scene, patient, gantry, outer, outer, guesses, scratch)
                    < outer
                ):
                    return False
    return True


@compiled
def _clear_block(
    block: int, rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, outer: float, own: float, clear: Any
) -> None:
    scratch, guesses = _scratch(), np.zeros((2, rows.shape[1]), np.int64)
    kinds = np.array([TABLE, SELF, NEEDLES, GANTRY, PATIENT])
    for k in range(block * BLOCK, min((block + 1) * BLOCK, len(rows))):
        clear[k] = _is_clear(rows[k], arm, scene, patient, gantry, outer, own, guesses, scratch, kinds)


@compiled_parallel
def clear_rows(
    rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, outer: float, own: float, clear: Any
) -> None:
    """Whether each posture (k,) keeps ``outer`` from every obstacle and ``own`` between its own parts."""
    for block in prange((len(rows) + BLOCK - 1) // BLOCK):
        _clear_block(block, rows, arm, scene, patient, gantry, outer, own, clear)


@compiled
def few_clear_rows(
    rows: Any, arm: Any, scene: Any, patient: Any, gantry: Any, outer: float, own: float, clear: Any
) -> None:
    """As ``clear_rows``, on one core."""
    for block in range((len(rows) + BLOCK - 1) // BLOCK):
        _clear_block(block, rows, arm, scene, patient, gantry, outer, own, clear)
