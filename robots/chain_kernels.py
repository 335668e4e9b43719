"""Compiled kinematics of a row of joints: poses, Jacobians, and searches for a needle axis.

All kernels stand in one file because the compiler's cache does not see changes of a kernel in another one. Poses
are (4, 4) in the base frame; "guide axes" are the axes of the guide at the joint positions in question. Metres and
radians.
"""

from typing import Any

import numpy as np

from needleplan.compiled import compiled, compiled_parallel, prange

#: A search has arrived when the guide's exit is this near to its goal (m) and its axis or pose this near (rad).
ARRIVED = 1e-9
#: Greatest number of steps of one search.
ITERATIONS = 40
#: Damping of a step for each squared unit of what is left (Sugihara, IEEE Transactions on Robotics 2011;27:984).
DAMPING = 1e-2
#: No joint moves by more in one step of a search.
LARGEST_STEP = 0.7
#: A search is given up where this many steps have not brought what is left below this share of what it was.
PATIENCE, PROGRESS = 8, 0.7
#: Step of the finite differences of the score; first and least step of its ascent; number of its steps.
SCORE_STEP = 1e-5
ASCENT_STEP, SMALLEST_ASCENT, ASCENT_STEPS = 0.3, 0.02, 16
#: The ascent ends where a step gains less than this.
ENOUGH_GAIN = 1.005
#: Two postures are the same when no joint differs by more.
SAME_POSTURE = 0.2
#: Weight of the distance of two directions beside the distance of two points, m.
DIRECTION_WEIGHT_M = 0.4


@compiled
def _forward(constants: Any, prismatic: Any, q: Any, end: Any, axes: Any, points: Any) -> None:
    """Pose (3, 4) of the end into ``end``; axes and points (n, 3) of the joints in the base frame."""
    count = len(q)
    for row in range(3):
        for column in range(4):
            end[row, column] = constants[0, row, column]
    for joint in range(count):
        for row in range(3):
            axes[joint, row] = end[row, 2]
            points[joint, row] = end[row, 3]
        if prismatic[joint]:
            for row in range(3):
                end[row, 3] += end[row, 2] * q[joint]
        else:
            cosine, sine = np.cos(q[joint]), np.sin(q[joint])
            for row in range(3):
                x, y = end[row, 0], end[row, 1]
                end[row, 0] = x * cosine + y * sine
                end[row, 1] = y * cosine - x * sine
        for row in range(3):
            a, b, c, d = end[row, 0], end[row, 1], end[row, 2], end[row, 3]
            for column in range(4):
                end[row, column] = (
                    a * constants[joint + 1, 0, column]
                    + b * constants[joint + 1, 1, column]
                    + c * constants[joint + 1, 2, column]
                )
            end[row, 3] += d


@compiled
def _jacobian(prismatic: Any, end: Any, axes: Any, points: Any, rows: int, jacobian: Any) -> None:
    """The first ``rows`` rows of the Jacobian in guide axes: three velocities over the turns about x, y and z."""
    for joint in range(len(prismatic)):
        ax, ay, az = axes[joint, 0], axes[joint, 1], axes[joint, 2]
        if prismatic[joint]:
            vx, vy, vz, wx, wy, wz = ax, ay, az, 0.0, 0.0, 0.0
        else:
            rx = end[0, 3] - points[joint, 0]
            ry = end[1, 3] - points[joint, 1]
            rz = end[2, 3] - points[joint, 2]
            vx, vy, vz = ay * rz - az * ry, az * rx - ax * rz, ax * ry - ay * rx
            wx, wy, wz = ax, ay, az
        for row in range(3):
            ex, ey, ez = end[0, row], end[1, row], end[2, row]
            jacobian[row, joint] = ex * vx + ey * vy + ez * vz
            if row + 3 < rows:
                jacobian[row + 3, joint] = ex * wx + ey * wy + ez * wz


@compiled
def _cholesky(matrix: Any, size: int) -> bool:
    """The lower factor of a symmetric matrix in its own place; False where it is not positive definite."""
    for i in range(size):
        for j in range(i + 1):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            if i == j:
                if value <= 0.0:
                    return False
                matrix[i, i] = np.sqrt(value)
            else:
                matrix[i, j] = value / matrix[j, j]
    return True


@compiled
def _solve_factored(factor: Any, size: int, right: Any) -> None:
    """Solves with a lower factor; the answer takes the place of ``right``."""
    for i in range(size):
        for k in range(i):
            right[i] -= factor[i, k] * right[k]
        right[i] /= factor[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= factor[k, i] * right[k]
        right[i] /= factor[i, i]


@compiled
def _gram(jacobian: Any, rows: int, free: Any, damping: float, gram: Any) -> None:
    """J Jᵀ + damping I over the joints that are free."""
    for i in range(rows):
        for j in range(i + 1):
            value = 0.0
            for joint in range(jacobian.shape[1]):
                if free[joint]:
                    value += jacobian[i, joint] * jacobian[j, joint]
            gram[i, j] = value
        gram[i, i] += damping


@compiled
def _left(end: Any, goal: Any, rows: int, left: Any) -> None:
    """What is left to the goal in guide axes: the way of the exit over the turn; five rows leave the roll free."""
    for row in range(3):
        left[row] = 0.0
        for k in range(3):
            left[row] += end[k, row] * (goal[k, 3] - end[k, 3])
    # The rotation from the guide to the goal, in guide axes.
    turn = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            turn[i, j] = end[0, i] * goal[0, j] + end[1, i] * goal[1, j] + end[2, i] * goal[2, j]
    if rows == 5:
        # The shortest turn of the axis: z × z_goal = (-z_goal_y, z_goal_x, 0) in guide axes.
        x, y = -turn[1, 2], turn[0, 2]
        sine = np.sqrt(x * x + y * y)
        angle = np.arctan2(sine, turn[2, 2])
        if sine < 1e-12:
            left[3], left[4] = angle, 0.0
        else:
            left[3], left[4] = x * angle / sine, y * angle / sine
    else:
        x, y, z = turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]
        sine = 0.5 * np.sqrt(x * x + y * y + z * z)
        angle = np.arctan2(sine, 0.5 * (turn[0, 0] + turn[1, 1] + turn[2, 2] - 1.0))
        if sine < 1e-12:
            # Nothing is left, or half a turn about any of the axes: the columns of turn + I point along it.
            left[3] = left[4] = left[5] = 0.0
            if angle > 1.0:
                widest = 0
                for k in range(1, 3):
                    if turn[k, k] > turn[widest, widest]:
                        widest = k
                size = np.sqrt(2.0 * (turn[widest, widest] + 1.0))
                for k in range(3):
                    left[3 + k] = angle * (turn[k, widest] + (1.0 if k == widest else 0.0)) / size
        else:
            left[3], left[4], left[5] = (0.5 * angle / sine) * x, (0.5 * angle / sine) * y, (0.5 * angle / sine) * z


@compiled
def _largest(left: Any, rows: int) -> float:
    """The greater of the distance and the angle that are left."""
    way = np.sqrt(left[0] ** 2 + left[1] ** 2 + left[2] ** 2)
    turn = 0.0
    for row in range(3, rows):
        turn += left[row] ** 2
    return max(way, np.sqrt(turn))


@compiled
def _step(
    jacobian: Any, left: Any, rows: int, q: Any, q_min: Any, q_max: Any, gram: Any, right: Any, free: Any, step: Any
) -> None:
    """A damped least-squares step inside the limits: a joint stops at its limit and the others go on."""
    count = len(q)
    squared = 0.0
    for row in range(rows):
        squared += left[row] ** 2
    for joint in range(count):
        free[joint] = True
        step[joint] = 0.0
    for _ in range(count):
        _gram(jacobian, rows, free, DAMPING * squared + 1e-14, gram)
        for row in range(rows):
            right[row] = left[row]
            for joint in range(count):
                if not free[joint]:
                    right[row] -= jacobian[row, joint] * step[joint]
        if not _cholesky(gram, rows):
            return
        _solve_factored(gram, rows, right)
        widest = 0.0
        for joint in range(count):
            if free[joint]:
                step[joint] = 0.0
                for row in range(rows):
                    step[joint] += jacobian[row, joint] * right[row]
                widest = max(widest, abs(step[joint]))
        if widest > LARGEST_STEP:
            for joint in range(count):
                if free[joint]:
                    step[joint] *= LARGEST_STEP / widest
        stopped = False
        for joint in range(count):
            if free[joint]:
                wanted = q[joint] + step[joint]
                if wanted < q_min[joint] or wanted > q_max[joint]:
                    step[joint] = min(max(wanted, q_min[joint]), q_max[joint]) - q[joint]
                    free[joint] = False
                    stopped = True
        if not stopped:
            return


@compiled
def _search(
    constants: Any, prismatic: Any, q_min: Any, q_max: Any, goal: Any, rows: int, q: Any, end: Any, axes: Any,
    points: Any, jacobian: Any, gram: Any, left: Any, right: Any, free: Any, step: Any,
) -> bool:  # fmt: skip
    """Moves ``q`` to the goal inside the limits; True where it arrives, confirmed by the pose it ends in."""
    count = len(q)
    mark = np.inf
    for k in range(ITERATIONS):
        _forward(constants, prismatic, q, end, axes, points)
        _left(end, goal, rows, left)
        largest = _largest(left, rows)
        if largest < ARRIVED:
            return True
        if k % PATIENCE == 0:
            if largest > PROGRESS * mark:
                return False
            mark = largest
        _jacobian(prismatic, end, axes, points, rows, jacobian)
        _step(jacobian, left, rows, q, q_min, q_max, gram, right, free, step)
        for joint in range(count):
            q[joint] = min(max(q[joint] + step[joint], q_min[joint]), q_max[joint])
    _forward(constants, prismatic, q, end, axes, points)
    _left(end, goal, rows, left)
    return _largest(left, rows) < ARRIVED


@compiled
def _score(
    constants: Any, prismatic: Any, q_min: Any, q_max: Any, q: Any, end: Any, axes: Any, points: Any, jacobian: Any,
    gram: Any, free: Any,
) -> float:  # fmt: skip
    """Manipulability of the five task rows times the limit margin."""
    _forward(constants, prismatic, q, end, axes, points)
    _jacobian(prismatic, end, axes, points, 5, jacobian)
    free[:] = True
    _gram(jacobian, 5, free, 0.0, gram)
    if not _cholesky(gram, 5):
        return 0.0
    measure = 1.0
    for row in range(5):
        measure *= gram[row, row]
    margin = np.inf
    for joint in range(len(q)):
        near = min(q[joint] - q_min[joint], q_max[joint] - q[joint])
        margin = min(margin, 2.0 * near / (q_max[joint] - q_min[joint]))
    return measure * margin


@compiled
def _ascend(
    constants: Any, prismatic: Any, q_min: Any, q_max: Any, goal: Any, q: Any, trial: Any, gradient: Any, end: Any,
    axes: Any, points: Any, jacobian: Any, gram: Any, left: Any, right: Any, free: Any, step: Any,
) -> float:  # fmt: skip
    """Moves ``q`` along the spare degrees of freedom to a higher score, which is returned; never to a lower one."""
    count = len(q)
    score = _score(constants, prismatic, q_min, q_max, q, end, axes, points, jacobian, gram, free)
    if count <= 5:
        return score
    length = ASCENT_STEP
    for _ in range(ASCENT_STEPS):
        for joint in range(count):
            kept = q[joint]
            # Inwards at a limit, so that no difference is taken beyond it.
            way = SCORE_STEP if kept + SCORE_STEP < q_max[joint] else -SCORE_STEP
            q[joint] = kept + way
            risen = _score(constants, prismatic, q_min, q_max, q, end, axes, points, jacobian, gram, free)
            gradient[joint] = (risen - score) / way
            q[joint] = kept
        # What of the gradient moves the guide is taken out: g - Jᵀ (J Jᵀ)⁻¹ J g.
        _forward(constants, prismatic, q, end, axes, points)
        _jacobian(prismatic, end, axes, points, 5, jacobian)
        free[:] = True
        _gram(jacobian, 5, free, 1e-12, gram)
        if not _cholesky(gram, 5):
            return score
        for row in range(5):
            right[row] = 0.0
            for joint in range(count):
                right[row] += jacobian[row, joint] * gradient[joint]
        _solve_factored(gram, 5, right)
        widest = 0.0
        for joint in range(count):
            for row in range(5):
                gradient[joint] -= jacobian[row, joint] * right[row]
            widest = max(widest, abs(gradient[joint]))
        if widest < 1e-12:
            return score
        for joint in range(count):
            moved = q[joint] + length * gradient[joint] / widest
            trial[joint] = min(max(moved, q_min[joint]), q_max[joint])
        higher = -1.0
        if _search(
            constants, prismatic, q_min, q_max, goal, 5, trial, end, axes, points, jacobian, gram, left, right,
            free, step,
        ):  # fmt: skip
            higher = _score(constants, prismatic, q_min, q_max, trial, end, axes, points, jacobian, gram, free)
        if higher > score:
            gained = higher / score if score > 0.0 else np.inf
            q[:] = trial
            score = higher
            if gained < ENOUGH_GAIN:
                return score
        else:
            length *= 0.5
            if length < SMALLEST_ASCENT:
                return score
    return score


@compiled
def _near(goal: Any, library_points: Any, library_axes: Any, nearest: Any, distance: Any) -> None:
    """The rows of the library whose guides lie nearest to the goal, nearest first, into ``nearest``."""
    wanted = len(nearest)
    distance[:] = np.inf
    nearest[:] = -1
    for row in range(len(library_points)):
        apart = 0.0
        for k in range(3):
            apart += (library_points[row, k] - goal[k, 3]) ** 2
            apart += (DIRECTION_WEIGHT_M * (library_axes[row, k] - goal[k, 2])) ** 2
        if apart < distance[wanted - 1]:
            place = wanted - 1
            while place > 0 and distance[place - 1] > apart:
                distance[place] = distance[place - 1]
                nearest[place] = nearest[place - 1]
                place -= 1
            distance[place] = apart
            nearest[place] = row


@compiled
def _keep(q: Any, reached: float, postures: Any, score: Any, count: int) -> int:
    """Puts a posture among the best ones, highest score first; of postures that are the same the better stays.

    Returns how many there are now.
    """
    place = count
    for other in range(count):
        widest = 0.0
        for joint in range(len(q)):
            widest = max(widest, abs(postures[other, joint] - q[joint]))
        if widest <= SAME_POSTURE:
            place = other
            break
    if place == len(postures):
        place -= 1
    if place < count:
        if reached <= score[place]:
            return count
    else:
        count += 1
    while place > 0 and score[place - 1] < reached:
        score[place] = score[place - 1]
        postures[place] = postures[place - 1]
        place -= 1
    score[place] = reached
    postures[place] = q
    return count


@compiled
def guide_matrix(constants: Any, prismatic: Any, q: Any) -> Any:
    """(4, 4) pose of the guide at ``q`` (n,)."""
    pose = np.zeros((4, 4))
    pose[3, 3] = 1.0
    _forward(constants, prismatic, q, pose, np.empty((len(q), 3)), np.empty((len(q), 3)))
    return pose


@compiled
def guide_matrices(constants: Any, prismatic: Any, q: Any) -> Any:
    """(k, 4, 4) poses of the guide at ``q`` (k, n)."""
    poses = np.zeros((len(q), 4, 4))
    axes, points = np.empty((q.shape[1], 3)), np.empty((q.shape[1], 3))
    for k in range(len(q)):
        poses[k, 3, 3] = 1.0
        _forward(constants, prismatic, q[k], poses[k], axes, points)
    return poses


@compiled
def guide_jacobian(constants: Any, prismatic: Any, q: Any) -> Any:
    """(6, n) Jacobian of the guide in base axes: the velocity of its exit over its angular velocity."""
    count = len(q)
    end, axes, points = np.zeros((3, 4)), np.empty((count, 3)), np.empty((count, 3))
    _forward(constants, prismatic, q, end, axes, points)
    # Axes of the base: the pose without its rotation.
    level = np.zeros((3, 4))
    for k in range(3):
        level[k, k] = 1.0
        level[k, 3] = end[k, 3]
    jacobian = np.empty((6, count))
    _jacobian(prismatic, level, axes, points, 6, jacobian)
    return jacobian


@compiled
def scores(constants: Any, prismatic: Any, q_min: Any, q_max: Any, q: Any) -> Any:
    """(k, 2) manipulability of the five task rows and limit margin at ``q`` (k, n)."""
    count = q.shape[1]
    end, axes, points = np.zeros((3, 4)), np.empty((count, 3)), np.empty((count, 3))
    jacobian, gram, free = np.empty((6, count)), np.empty((6, 6)), np.ones(count, dtype=np.bool_)
    found = np.zeros((len(q), 2))
    for k in range(len(q)):
        margin = np.inf
        for joint in range(count):
            near = min(q[k, joint] - q_min[joint], q_max[joint] - q[k, joint])
            margin = min(margin, 2.0 * near / (q_max[joint] - q_min[joint]))
        _forward(constants, prismatic, q[k], end, axes, points)
        _jacobian(prismatic, end, axes, points, 5, jacobian)
        _gram(jacobian, 5, free, 0.0, gram)
        if _cholesky(gram, 5):
            found[k, 0] = gram[0, 0] * gram[1, 1] * gram[2, 2] * gram[3, 3] * gram[4, 4]
        found[k, 1] = margin
    return found


@compiled
def search_from(
    constants: Any,
    prismatic: Any,
    q_min: Any,
    q_max: Any,
    goals: Any,
    rows: int,
    starts: Any,
    found: Any,
    arrived: Any,
) -> None:
    """One search for each of k goals (k, 4, 4) from ``starts`` (k, n); answers into ``found`` and ``arrived``."""
    count = starts.shape[1]
    end, axes, points = np.zeros((3, 4)), np.empty((count, 3)), np.empty((count, 3))
    jacobian, gram, left, right = np.empty((6, count)), np.empty((6, 6)), np.empty(6), np.empty(6)
    free, step = np.ones(count, dtype=np.bool_), np.empty(count)
    for k in range(len(goals)):
        found[k] = starts[k]
        arrived[k] = _search(
            constants, prismatic, q_min, q_max, goals[k], rows, found[k], end, axes, points, jacobian, gram, left,
            right, free, step,
        )  # fmt: skip


@compiled
def improve_at(constants: Any, prismatic: Any, q_min: Any, q_max: Any, goals: Any, found: Any) -> None:
    """Raises the score of k postures ``found`` (k, n), each at its own goal, in place."""
    count = found.shape[1]
    end, axes, points = np.zeros((3, 4)), np.empty((count, 3)), np.empty((count, 3))
    jacobian, gram, left, right = np.empty((6, count)), np.empty((6, 6)), np.empty(6), np.empty(6)
    free, step = np.ones(count, dtype=np.bool_), np.empty(count)
    trial, gradient = np.empty(count), np.empty(count)
    for k in range(len(goals)):
        _ascend(
            constants, prismatic, q_min, q_max, goals[k], found[k], trial, gradient, end, axes, points, jacobian,
            gram, left, right, free, step,
        )  # fmt: skip


@compiled_parallel
def postures_at(
    constants: Any, prismatic: Any, q_min: Any, q_max: Any, goals: Any, library: Any, library_points: Any,
    library_axes: Any, starts: int, postures: Any, counts: Any, searches: Any, enough: int, ascend: bool,
) -> None:  # fmt: skip
    """Different postures at each goal (k, 4, 4), found from the library's nearest rows.

    Into ``postures`` (k, p, n), highest score first, ``counts`` (k,) and ``searches`` (k,). A goal's searches end
    when ``enough`` of them have arrived; ``ascend`` raises the scores along the spare degrees of freedom.
    """
    wanted = postures.shape[1]
    count = library.shape[1]
    for k in prange(len(goals)):
        end, axes, points = np.zeros((3, 4)), np.empty((count, 3)), np.empty((count, 3))
        jacobian, gram, left, right = np.empty((6, count)), np.empty((6, 6)), np.empty(6), np.empty(6)
        free, step = np.ones(count, dtype=np.bool_), np.empty(count)
        trial, gradient, q = np.empty(count), np.empty(count), np.empty(count)
        nearest, distance = np.empty(starts, dtype=np.int64), np.empty(starts)
        score = np.full(wanted, -1.0)
        _near(goals[k], library_points, library_axes, nearest, distance)
        arrived = 0
        for s in range(starts):
            if nearest[s] < 0 or arrived >= enough:
                break
            q[:] = library[nearest[s]]
            searches[k] += 1
            if _search(
                constants, prismatic, q_min, q_max, goals[k], 5, q, end, axes, points, jacobian, gram, left, right,
                free, step,
            ):  # fmt: skip
                arrived += 1
                reached = _score(constants, prismatic, q_min, q_max, q, end, axes, points, jacobian, gram, free)
                counts[k] = _keep(q, reached, postures[k], score, counts[k])
        if not ascend:
            continue
        # The ascent is the costly part, so only what was kept gets it; what ends in the same place is one posture.
        found = counts[k]
        raised, heights = postures[k, :found].copy(), np.empty(found)
        for place in range(found):
            heights[place] = _ascend(
                constants, prismatic, q_min, q_max, goals[k], raised[place], trial, gradient, end, axes, points,
                jacobian, gram, left, right, free, step,
            )  # fmt: skip
        counts[k] = 0
        score[:] = -1.0
        for place in range(found):
            counts[k] = _keep(raised[place], heights[place], postures[k], score, counts[k])
