"""Candidate paths: entries spread over the entry surface times aims spread through the target.

Both are laid out along the patient's own axes from the target's middle, without random draws, so that a moved
case gives the moved candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.table import TrajectoryTable

#: Skin normals are averaged over this radius: a voxel surface is rough at the scale of a needle.
NORMAL_RADIUS_MM = 8.0


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
    anatomy = queries.anatomy
    origin = anatomy.target.mesh.vertices_mm.mean(axis=0)
    aims = sample_aims(queries, options.aim_count)
    spacing = options.entry_spacing_mm
    while True:
        entries, normals = _sample_entries(anatomy.entry.mesh, anatomy.entry_faces, anatomy.axes, origin, spacing)
        if len(entries) * len(aims) <= options.maximum_candidates or len(entries) <= 1:
            break
        spacing *= max(1.05, np.sqrt(len(entries) * len(aims) / options.maximum_candidates))
    entry = np.repeat(entries, len(aims), axis=0)
    aim = np.tile(aims, (len(entries), 1))
    path = aim - entry
    distance = np.linalg.norm(path, axis=1)
    apart = distance > 1e-6
    entry, aim, path = entry[apart], aim[apart], path[apart] / distance[apart, None]
    return TrajectoryTable(
        applicator,
        entry_mm=entry,
        entry_normal=np.repeat(normals, len(aims), axis=0)[apart],
        aim_mm=aim,
        tip_mm=aim + applicator.tip_to_centre_mm * path,
    )


def sample_aims(queries: AnatomyQueries, count: int) -> FloatArray:
    """Points (n, 3) of the target to aim at: about ``count`` of a cubic lattice, and two that matter most.

    The first is the centre of the smallest ball about the target, where one zone reaches all of it soonest; the
    second the innermost point.
    """
    anatomy = queries.anatomy
    mesh = anatomy.target.mesh
    origin = mesh.vertices_mm.mean(axis=0)
    spacing = float(np.cbrt(mesh.volume_mm3 / count))
    local = (mesh.vertices_mm - origin) @ anatomy.axes
    distance = queries.distance(anatomy.target)

    def lattice(step: float) -> FloatArray:
        ranges = [
            np.arange(np.floor(a / step), np.ceil(b / step) + 1)
            for a, b in zip(local.min(axis=0), local.max(axis=0), strict=True)
        ]
        offsets = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) * step
        return origin + offsets @ anatomy.axes.T

    fine = lattice(spacing / 3.0)
    depth = distance.signed_distance_mm(fine)
    special = [fine[int(np.argmin(np.round(depth, 3)))]]
    centre = _smallest_ball_centre(mesh.vertices_mm)
    if distance.signed_distance_mm(centre[None, :])[0] < 0:
        special.insert(0, centre)
    aims = np.array(special)
    coarse = lattice(spacing)
    coarse = coarse[distance.signed_distance_mm(coarse) < 0]
    apart = np.linalg.norm(coarse[:, None, :] - aims[None, :, :], axis=2).min(axis=1) > 0.4 * spacing
    return np.concatenate([aims, coarse[apart]])


def _smallest_ball_centre(points: FloatArray) -> FloatArray:
    """Centre of the smallest enclosing ball, within 1 % of its radius (Badoiu and Clarkson 2003)."""
    centre = points.mean(axis=0)
    for step in range(1, 1000):
        # Rounded, so that of equally far points the first is taken, also after a motion of the case.
        farthest = points[int(np.argmax(np.round(((points - centre) ** 2).sum(axis=1), 6)))]
        centre = centre + (farthest - centre) / (step + 1.0)
    return np.asarray(centre)


def _sample_entries(
    mesh: SurfaceMesh, allowed: NDArray[np.bool_], axes: FloatArray, origin: FloatArray, spacing: float
) -> tuple[FloatArray, FloatArray]:
    """One point of the allowed faces for each cube of edge ``spacing`` that they pass, and normals there."""
    from scipy.spatial import cKDTree

    # Large faces are split so that no cube they pass is missed.
    cloud, _ = surface_points(SurfaceMesh(mesh.vertices_mm, mesh.faces[allowed]), 0.5 * spacing)
    # Rounded, so that a point between two cubes falls into the same one after a motion of the case.
    scaled = np.round((cloud - origin) @ axes / spacing, 6)
    cell = np.floor(scaled).astype(np.int64)
    away = np.round(np.linalg.norm(scaled - cell - 0.5, axis=1), 6)
    order = np.lexsort((away, cell[:, 2], cell[:, 1], cell[:, 0]))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(cell[order], axis=0) != 0).any(axis=1)
    chosen = cloud[order[first]]
    # Normals come from the whole surface, weighted by area, so that the rim of a region is not skewed.
    vectors = mesh.area_vectors_mm2
    tree = cKDTree(mesh.face_centres_mm)
    normals = np.empty_like(chosen)
    for k, near in enumerate(tree.query_ball_point(chosen, NORMAL_RADIUS_MM)):
        if len(near) < 3:
            near = tree.query(chosen[k], k=min(3, len(vectors)))[1]
        total = vectors[near].sum(axis=0)
        length = np.linalg.norm(total)
        normals[k] = total / length if length > 0 else (0.0, 0.0, 1.0)
    return chosen, normals
