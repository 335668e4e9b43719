"""Where an arm's capsules are in the world, the needle's up to where it enters the skin."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import FloatArray, RigidTransform
from robots.arm_capsules import ArmCapsules
from robots.clearance_kernels import AHEAD
from robots.model import RobotModel
from robots.surroundings import Surroundings

#: Postures placed at a time, which bounds memory.
_CHUNK = 32_768


def placed_parts(
    body: ArmCapsules,
    robot: RobotModel,
    X_WB: RigidTransform,
    q: ArrayLike,
    driver_m: ArrayLike,
    around: Surroundings,
) -> Iterator[FloatArray]:
    """Rows of all capsules for at most ``_CHUNK`` postures at a time."""
    positions, driver = np.atleast_2d(np.asarray(q, dtype=np.float64)), np.asarray(driver_m, dtype=np.float64)
    each = driver.shape == positions.shape[:1]
    for first in range(0, len(positions), _CHUNK):
        part = slice(first, first + _CHUNK)
        yield rows_until_skin(body, robot, X_WB, positions[part], driver[part] if each else driver, around)


def rows_until_skin(
    body: ArmCapsules,
    robot: RobotModel,
    X_WB: RigidTransform,
    q: ArrayLike,
    driver_m: ArrayLike,
    around: Surroundings,
) -> FloatArray:
    """Rows (k, r, 6) of all capsules in the world; those ahead of the guide's exit end where they meet the skin."""
    rows, exits = body.place(robot, X_WB, q, driver_m)
    ahead = np.flatnonzero(body.part == AHEAD)
    there = np.flatnonzero(~np.isnan(rows[:, ahead, 0]).all(axis=1))
    if len(there) and around.has_patient:
        ends = rows[there][:, ahead].reshape(len(there), -1, 2, 3)
        out = np.einsum("krej,kj->kre", ends - exits[there, None, None, :3], exits[there, 3:])
        skin = around.distance_to_skin_m(exits[there], np.nanmax(out, axis=(1, 2)))[:, None, None]
        # Each end is drawn back along its axis; a part that begins beyond the skin is not there.
        way = out[..., 1:] - out[..., :1]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip((skin - out[..., :1]) / way, 0.0, 1.0)
        start, end = ends[:, :, 0], ends[:, :, 1]
        cut = start + share * (end - start)
        rising, beyond = way[..., 0] > 0, out.min(axis=2) >= skin[..., 0]
        outside = out.max(axis=2) <= skin[..., 0]
        new_start = np.where((outside | rising)[..., None], start, cut)
        new_end = np.where((outside | ~rising)[..., None], end, cut)
        new_start[beyond] = np.nan
        rows[there[:, None], ahead[None, :]] = np.concatenate([new_start, new_end], axis=2)
    return rows
