"""Candidate paths: entries spread over the entry surface times aims spread through the target.

Both are laid out along the patient's own axes from the target's middle, without random draws, so that a moved
case gives the moved candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.lattice import EntryCloud, NestedLattice, greatest_gap_mm, nested_lattice
from needleplan.trajectory.table import TrajectoryTable

#: Entry and aim of a path are at least so far apart.
APART_MM = 1e-6
#: Nobody is larger than this.
_BODY_MM = 2500.0
#: Cubes of this edge are so large that places of a body round to their common corner.
_ALL_IN_ONE_MM = 1e12


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How densely candidate paths are laid out.

    Attributes:
        entry_spacing_mm: one entry is kept in each cube of this edge.
        aim_count: about this many aims are spread through the target.
        maximum_candidates: the entry spacing is widened where more candidates than this would arise.
    """

    entry_spacing_mm: float = 9.0
    aim_count: int = 50
    maximum_candidates: int = 120_000

    def __post_init__(self) -> None:
        if not 1.0 <= self.entry_spacing_mm <= 200.0:
            raise OptionError(f"the spacing of entries must be between 1 and 200 mm, not {self.entry_spacing_mm:g}")
        if not 1 <= self.aim_count <= 5000:
            raise OptionError(f"the number of aims must be between 1 and 5000, not {self.aim_count}")
        if not 1 <= self.maximum_candidates <= 10_000_000:
            raise OptionError(f"the number of candidates must be 1 to 10 million, not {self.maximum_candidates}")


def sample_trajectories(
    queries: AnatomyQueries, applicator: Applicator, options: SamplingOptions | None = None
) -> TrajectoryTable:
    """Every pair of an entry and an aim.

    Entries farther from the whole target than the applicator reaches are kept: the constraint on length
    rejects them with a reason.

    Returns:
        The table without columns.
    """
    options = options or SamplingOptions()
    return paths_between(*entry_and_aim_lattices(queries, options, 1, 1), applicator)


def paths_between(entries: NestedLattice, aims: NestedLattice, applicator: Applicator) -> TrajectoryTable:
    """Every pair of a coarsest entry and a coarsest aim, entry by entry."""
    entry = np.repeat(entries.levels[0].point, len(aims.levels[0].point))
    aim = np.tile(aims.levels[0].point, len(entries.levels[0].point))
    apart = np.linalg.norm(entries.points_mm[entry] - aims.points_mm[aim], axis=1) > APART_MM
    return paths_of_pairs(entries, aims, entry[apart], aim[apart], applicator)


def paths_of_pairs(
    entries: NestedLattice,
    aims: NestedLattice,
    entry: NDArray[np.int64],
    aim: NDArray[np.int64],
    applicator: Applicator,
) -> TrajectoryTable:
    """The table of paths from finest entries (n,) to finest aims (n,), given by their indices."""
    entry_mm, aim_mm = entries.points_mm[entry], aims.points_mm[aim]
    path = aim_mm - entry_mm
    path /= np.linalg.norm(path, axis=1, keepdims=True)
    return TrajectoryTable(
        applicator,
        entry_mm=entry_mm,
        entry_normal=entries.normals[entry],
        aim_mm=aim_mm,
        tip_mm=aim_mm + applicator.tip_to_centre_mm * path,
    )


def entry_and_aim_lattices(
    queries: AnatomyQueries, options: SamplingOptions, entry_levels: int, aim_levels: int
) -> tuple[NestedLattice, NestedLattice]:
    """Entries and aims on nested levels; the pairs of the coarsest are at most ``options.maximum_candidates``."""
    aims = aim_lattice(queries, options.aim_count, aim_levels)
    count = len(aims.levels[0].point)
    # No cube holds more of a smooth surface than sqrt(2) times its face, nor of a stepped one than about twice: so
    # many entries there will be at least, and a cloud of the skin that is finer than needed would fill the memory.
    mesh = queries.anatomy.entry.mesh
    area_mm2 = float(np.linalg.norm(mesh.area_vectors_mm2[queries.anatomy.entry_faces], axis=1).sum())
    least = float(np.sqrt(area_mm2 * count / (2.0 * options.maximum_candidates)))
    spacing = max(options.entry_spacing_mm, least)
    cloud = EntryCloud(queries, spacing / (1 << (entry_levels - 1)))
    while True:
        entries = cloud.count(spacing, entry_levels)
        if entries * count <= options.maximum_candidates or entries <= 1:
            break
        wider = spacing * max(1.05, np.sqrt(entries * count / options.maximum_candidates))
        # Eight cubes meet in the middle of the target, however wide: beyond a body's size only one for all is less.
        spacing = wider if wider < _BODY_MM else _ALL_IN_ONE_MM
    return cloud.lattice(spacing, entry_levels), aims


def sample_aims(queries: AnatomyQueries, count: int) -> FloatArray:
    """Points (n, 3) of the target to aim at: those of ``aim_lattice`` with one level."""
    return aim_lattice(queries, count, 1).points_mm


def aim_lattice(queries: AnatomyQueries, count: int, levels: int) -> NestedLattice:
    """Aims in the target: about ``count`` on the coarsest level of a cubic lattice, and two that matter most.

    The first is the centre of the smallest ball about the target, where one zone reaches all of it soonest; the
    second the innermost point.
    """
    anatomy = queries.anatomy
    mesh = anatomy.target.mesh
    origin = queries.origin_mm
    spacing = float(np.cbrt(mesh.volume_mm3 / count))
    local = (mesh.vertices_mm - origin) @ anatomy.axes
    distance = queries.distance(anatomy.target)

    def lattice(step: float, offset: float) -> tuple[FloatArray, NDArray[np.int64]]:
        ranges = [
            np.arange(np.floor(a / step), np.ceil(b / step) + 1)
            for a, b in zip(local.min(axis=0), local.max(axis=0), strict=True)
        ]
        index = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        return origin + ((index + offset) * step) @ anatomy.axes.T, index.astype(np.int64)

    # Both offsets make a lattice that is its own mirror image; this one holds the centroid, the other has cubes.
    fine, _ = lattice(spacing / 3.0, 0.0)
    depth = distance.signed_distance_mm(fine)
    # Of equally deep points that nearest to the skin: so it is in the mirrored case of a symmetric target.
    deepest = fine[np.round(depth, 3) == np.round(depth, 3).min()]
    away = np.abs(queries.distance(anatomy.entry).signed_distance_mm(deepest))
    special = [deepest[int(np.argmin(np.round(away, 3)))]]
    centre = _smallest_ball_centre(mesh.vertices_mm)
    if distance.signed_distance_mm(centre[None, :])[0] < 0:
        special.insert(0, centre)
    first = np.array(special)
    step = spacing / (1 << (levels - 1))
    points, index = lattice(step, 0.5)
    inside = distance.signed_distance_mm(points) < 0
    points, index = points[inside], index[inside]
    apart = np.linalg.norm(points[:, None, :] - first[None, :, :], axis=2).min(axis=1) > 0.4 * step
    # The two special aims lie in cubes of their own, far from all others.
    far = (1 << 18) + 64 * np.arange(len(first))
    cell = np.concatenate([np.repeat(far[:, None], 3, axis=1), index[apart]])
    aims = np.concatenate([first, points[apart]])
    # The point of a lattice nearest to a place inside lies inside too, or the surface passes between the two: then
    # a point of the surface's own cloud is as near, and that cloud's gap more.
    dense, _ = lattice(spacing / 6.0, 0.5)
    inner = dense[distance.signed_distance_mm(dense) < 0]
    edge, gap = surface_points(mesh, 0.25 * spacing)
    half_diagonal = spacing / 6.0 * np.sqrt(3.0) / 2.0
    cover = greatest_gap_mm(np.concatenate([edge, inner]), aims) + half_diagonal + gap
    return nested_lattice(aims, np.zeros_like(aims), cell, cell + 0.5, levels, cover)


def _smallest_ball_centre(points: FloatArray) -> FloatArray:
    """Centre of the smallest enclosing ball, within 1 % of its radius (Badoiu and Clarkson 2003)."""
    centre = points.mean(axis=0)
    for step in range(1, 1000):
        # Rounded, so that of equally far points the first is taken, also after a motion of the case.
        farthest = points[int(np.argmax(np.round(((points - centre) ** 2).sum(axis=1), 6)))]
        centre = centre + (farthest - centre) / (step + 1.0)
    return np.asarray(centre)
