"""The points that must be destroyed, a target with its margin, and when they are."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.monitoring.sampling import FieldSampler
from needleplan.ablation.tissue_map import Solid, TissueMap
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid

#: Distance between the points that are looked at.
_STEP_MM = 1.0


def target_points(target: Solid | ArrayLike, margin_mm: float, grid: Grid) -> FloatArray:
    """(n, 3) points a millimetre apart in a target and within a margin of it.

    Args:
        target: a solid, or points (n, 3) of one in patient LPS mm.
        margin_mm: distance from the target that must be destroyed too.
        grid: that everything must lie in.

    Raises:
        PhysicsError: the margin is negative, or target plus margin is empty or leaves the grid.
    """
    from scipy.spatial import cKDTree

    if not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise PhysicsError(f"the margin must not be negative, but is {margin_mm:g} mm")
    corners = grid.to_patient(np.array(list(np.ndindex(2, 2, 2))) * (np.asarray(grid.shape) - 1))
    low, high = corners.min(axis=0), corners.max(axis=0)
    axes = [np.arange(a, b + _STEP_MM, _STEP_MM) for a, b in zip(low, high, strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if isinstance(target, np.ndarray | list | tuple):
        core = np.asarray(target, dtype=np.float64)
        if core.ndim != 2 or core.shape[1] != 3 or len(core) == 0 or not np.isfinite(core).all():
            raise PhysicsError("the points of a target must be finite and of shape (n, 3), n at least 1")
    else:
        core = lattice[target.contains(lattice)]  # type: ignore[union-attr]
        if len(core) == 0:
            raise PhysicsError("the target holds no point of the domain of the runs")
    near = lattice[cKDTree(core).query(lattice, distance_upper_bound=margin_mm + 1e-9)[0] <= margin_mm]
    points = np.concatenate([core, near])
    index = grid.to_index(points)
    beyond = ((index < 0) | (index > np.asarray(grid.shape) - 1)).any(axis=1)
    # A ball about each extreme of the target shows whether the margin leaves the grid, where no lattice lies.
    reach = margin_mm / grid.spacing_mm.min()
    core_index = grid.to_index(core)
    cut = ((core_index - reach < 0) | (core_index + reach > np.asarray(grid.shape) - 1)).any()
    if beyond.any() or cut:
        raise PhysicsError("the target with its margin leaves the domain of the runs: enlarge reach_mm")
    return points


def target_levels(
    points_mm: FloatArray, grid: Grid, tissue: TissueMap, level: NDArray[np.float32], held: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(k, t, n) lethality at the points that must be destroyed.

    Points in vessels and in the needle hold no tissue and are left out; cells there lend their neighbours' values,
    so that tissue beside them is not taken for alive.

    Args:
        points_mm: (m, 3) target with margin.
        grid: of the runs.
        tissue: whose vessels are left out.
        level: (k, t, cells) of the runs.
        held: cells of needles and vessels, in the grid's shape.

    Raises:
        PhysicsError: nothing is left.
    """
    from scipy.ndimage import distance_transform_edt

    outside = np.ones(len(points_mm), dtype=np.bool_)
    for vessel in tissue.vessels:
        outside &= ~vessel.solid.contains(points_mm)
    nearest = np.clip(np.rint(grid.to_index(points_mm)).astype(np.int64), 0, np.asarray(grid.shape) - 1)
    outside &= ~held[tuple(nearest.T)]
    if not outside.any():
        raise PhysicsError("the target holds no tissue: all of it is vessel or needle")
    if held.any():
        lent = distance_transform_edt(held, return_distances=False, return_indices=True)
        level = level[:, :, np.ravel_multi_index(tuple(lent.reshape(3, -1)), grid.shape)]
    matrix = FieldSampler(grid, points_mm[outside]).matrix
    k, t, cells = level.shape
    values = np.asarray(matrix @ level.reshape(k * t, cells).T.astype(np.float64)).T.astype(np.float32)
    return _decisive(values.reshape(k, t, -1))


def _decisive(level: NDArray[np.float32], near: float = 1.0) -> NDArray[np.float32]:
    """The points that are among the last to be destroyed at some time of some run."""
    least = level.min(axis=2, keepdims=True)
    # Where nothing is lethal yet every point is last; the times that matter are those about the end.
    telling = (least > -8.0) & (level <= least + near)
    chosen = telling.any(axis=(0, 1))
    chosen[level[:, -1].argmin(axis=1)] = True
    return level[:, :, chosen]


def times_of_death_s(
    level: NDArray[np.float32], times_s: FloatArray, weights: FloatArray, off: FloatArray | None = None
) -> FloatArray:
    """(m,) times at which the last point becomes lethal; infinite where that is never.

    Args:
        level: (k, t, n) of the points in the runs.
        times_s: (t,) of the runs.
        weights: (m, k) of the runs.
        off: (m,) error of the lethality that is added; None for none.
    """
    least = np.empty((len(weights), len(times_s)))
    for moment in range(len(times_s)):
        least[:, moment] = (weights @ level[:, moment].astype(np.float64)).min(axis=1)
    if off is not None:
        least += off[:, None]
    # Damage never heals: what the polynomials take back by their error is not taken.
    least = np.maximum.accumulate(least, axis=1)
    done = least >= 0
    after = np.maximum(done.argmax(axis=1), 1)
    rows = np.arange(len(least))
    before, beyond = least[rows, after - 1], least[rows, after]
    share = np.divide(-before, beyond - before, out=np.ones(len(rows)), where=beyond > before)
    at = times_s[after - 1] + np.clip(share, 0.0, 1.0) * np.diff(times_s)[after - 1]
    return np.where(done.any(axis=1), at, np.inf)
