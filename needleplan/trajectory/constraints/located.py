"""Where along a path the least distance to a surface arises, by halving the path with the exact distance."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.tree import MeshTree
from needleplan.frames import FloatArray
from needleplan.trajectory.measured import MeasuredPaths

#: A part is halved this often: a path of 300 mm down to a micrometre.
_HALVINGS = 18
#: Distances that differ by less are the same one, measured from other end points (rounding of float64).
_SAME_MM = 1e-9


def nearest_position(
    tree: MeshTree, start_mm: FloatArray, end_mm: FloatArray, distance_mm: FloatArray
) -> FloatArray:
    """Share (n,) of segments from start (n, 3) to end (n, 3) at which their least distance (n,) is first reached.

    The half that still has the whole segment's distance holds the place; where both have it, the first half.
    """
    low, high = np.zeros(len(start_mm)), np.ones(len(start_mm))
    along = end_mm - start_mm
    # The search need not look farther than what is known to be there.
    cap = float(distance_mm.max(initial=0.0)) + 1e-3
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        first = tree.segment_distance_mm(start_mm + low[:, None] * along, start_mm + middle[:, None] * along, cap)
        left = first <= distance_mm + _SAME_MM
        low, high = np.where(left, low, middle), np.where(left, middle, high)
    return np.asarray(0.5 * (low + high))


def located_clearance_mm(
    paths: MeasuredPaths, surface: StructureSurface, cap_mm: float, outside_mm: float = 0.0
) -> FloatArray:
    """(n,) distance from the entry, along the path, at which it comes nearest to a surface.

    The first crossing where it crosses, 0 where it begins inside.

    Args:
        paths: the paths.
        surface: the obstacle.
        cap_mm: paths whose axis stays at least this far away have no place: their value is not a number.
        outside_mm: length of the shaft outside that counts too; a place on it is negative.
    """
    table, tree = paths.table, paths.queries.tree(surface)
    start, end = paths.chords_mm
    n, k = start.shape[:2]
    part_mm = (table.length_mm / k)[:, None]
    begins = part_mm * np.arange(k)
    lengths = np.broadcast_to(part_mm, (n, k))
    if outside_mm > 0:
        back = table.entry_mm - outside_mm * table.entry_direction
        # From the entry outwards, after the parts inside: of equal distances the one inside is told.
        start = np.concatenate([start, table.entry_mm[:, None]], axis=1)
        end = np.concatenate([end, back[:, None]], axis=1)
        begins = np.concatenate([begins, np.zeros((n, 1))], axis=1)
        lengths = np.concatenate([lengths, np.full((n, 1), -outside_mm)], axis=1)
    m = start.shape[1]
    distance = tree.segment_distance_mm(start.reshape(-1, 3), end.reshape(-1, 3), cap_mm).reshape(n, m)
    least = distance.min(axis=1)
    # The first part that has it, but for the difference that other end points make.
    part = np.argmax(distance <= least[:, None] + _SAME_MM, axis=1) if n else np.zeros(0, np.int64)
    rows: NDArray[np.int64] = np.flatnonzero((least < cap_mm) & ~paths.entry_inside(surface))
    result = np.full(n, np.nan)
    result[paths.entry_inside(surface)] = 0.0
    picked = part[rows]
    share = nearest_position(tree, start[rows, picked], end[rows, picked], least[rows])
    result[rows] = begins[rows, picked] + share * lengths[rows, picked]
    return result
