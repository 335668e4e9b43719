"""The search for the pose of a scanned patch on a surface, over a stated range about a start."""

import math
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from needleplan.registration.rotations import rotation_vectors, rotations_of
from needleplan.registration.surface_fit import SurfaceFit, load_open3d, root_mean_square_radius

#: Distances within which points are paired, from coarse to fine, beside the capture range.
FINER_MM = (8.0, 3.0)
#: Points of the surface and of the scan that take part in the coarse search.
SURFACE_POINTS, SCAN_POINTS = 20_000, 1_500
#: Two results are the same pose when the scan's points lie no farther apart than this, root mean square.
SAME_POSE_MM = 1.0
#: Another pose is a rival when its score is within this factor of the best one's.
RIVAL = 1.2


@dataclass(frozen=True, slots=True)
class SurfaceOptions:
    """How a scan is registered and when it is refused.

    Attributes:
        capture_mm: the start lies within this of the truth along each axis: searches start over this range, and a
            result beyond it is refused.
        capture_deg: the same for turns about each axis.
        starts: number of searches, the first from the start itself.
        trim: points farther from the surface than this many robust spreads are taken out.
        least_overlap: least share of the scan that must fit.
        greatest_rms_mm: greatest root mean square distance of the points that fit.
        least_hold: change of the distances, in mm for each mm of motion, below which a motion counts as free. At
            0.04 a skin that is 1 mm thicker on one side than on the other shifts the result by 25 mm at worst.
        correlation_mm: distance within which errors of neighbouring points are taken as one and the same.
        seed: of the starts and the chosen points.
    """

    capture_mm: float = 15.0
    capture_deg: float = 10.0
    starts: int = 12
    trim: float = 3.0
    least_overlap: float = 0.6
    greatest_rms_mm: float = 3.0
    least_hold: float = 0.04
    correlation_mm: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.capture_mm <= 200 and 0 < self.capture_deg <= 90):
            raise OptionError("the capture range must lie between 0 and 200 mm and between 0 and 90 degrees")
        if not 1 <= self.starts <= 1000 or self.seed < 0:
            raise OptionError("1 to 1000 starts and a seed from 0 up are needed")
        if not (self.trim >= 1.5 and 0 < self.least_overlap <= 1 and 0 < self.least_hold < 1):
            raise OptionError("trim must be 1.5 or more, and least overlap and least hold between 0 and 1")
        if not (self.greatest_rms_mm > 0 and self.correlation_mm > 0):
            raise OptionError("the greatest residual and the correlation length must be above 0 mm")


def searched_motion(
    points: FloatArray, surface: SurfaceMesh, fit: SurfaceFit, start: FloatArray, options: SurfaceOptions
) -> tuple[FloatArray, float, float | None]:
    """Best motion (4, 4) of all searches, the share of them that ended there, how far off a rival fits alike."""
    rng = np.random.default_rng(options.seed)
    thin = points[np.sort(rng.permutation(len(points))[:SCAN_POINTS])]
    target = _near_part(
        surface, fit, thin @ start[:3, :3].T + start[:3, 3], 2.0 * search_reach_mm(points, options), rng
    )
    centre = start[:3, :3] @ points.mean(axis=0) + start[:3, 3]
    cap = FINER_MM[-1]
    results: list[tuple[float, FloatArray]] = []
    for number in range(options.starts):
        share = np.zeros(6) if number == 0 else rng.uniform(-1.0, 1.0, 6)
        moved = _moved(start, centre, share[:3] * options.capture_mm, share[3:] * math.radians(options.capture_deg))
        found = _closest_points(thin, target, moved, (options.capture_mm, *FINER_MM))
        found = fit.refined(thin, found, options.trim, options.least_hold)[0]
        heights, _ = fit.heights(thin @ found[:3, :3].T + found[:3, 3])
        results.append((float(np.minimum(heights**2, cap**2).mean()), found))
    near = [result for result in results if _within(points, start, result[1], options)]
    if not near:
        raise GeometryError(
            f"all {len(results)} searches ended beyond the capture range of {options.capture_mm:g} mm and "
            f"{options.capture_deg:g} degrees an axis about the start: give a better start"
        )
    score, best = min(near, key=lambda result: result[0])
    same = [apart_mm(thin, best, found) < SAME_POSE_MM for _, found in results]
    rivals = [
        distance
        for other, found in near
        if (distance := apart_mm(thin, best, found)) >= SAME_POSE_MM and other <= RIVAL * score
    ]
    return best, sum(same) / len(results), min(rivals, default=None)


def _near_part(
    surface: SurfaceMesh, fit: SurfaceFit, placed: FloatArray, reach: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Points (m, 3) with normals (m, 3), even over the surface's area near the placed scan."""
    low, high = placed.min(axis=0) - reach, placed.max(axis=0) + reach
    triangles = surface.triangles_mm
    near = np.flatnonzero(((triangles.max(axis=1) >= low) & (triangles.min(axis=1) <= high)).all(axis=1))
    area = np.linalg.norm(surface.area_vectors_mm2[near], axis=1)
    chosen = near[rng.choice(len(near), SURFACE_POINTS, p=area / area.sum())]
    # Even over a triangle: Turk, "Generating random points in triangles", Graphics Gems, 1990.
    root, second = np.sqrt(rng.random(SURFACE_POINTS)), rng.random(SURFACE_POINTS)
    shares = np.stack([1.0 - root, root * (1.0 - second), root * second], axis=1)
    corners = surface.faces[chosen]
    normals = np.einsum("nk,nki->ni", shares, fit.vertex_normals[corners])
    return (
        np.einsum("nk,nki->ni", shares, surface.vertices_mm[corners]),
        normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12),
    )


def search_reach_mm(points: FloatArray, options: SurfaceOptions) -> float:
    """How far a start at a corner of the capture range may lie from the truth, in mm."""
    return math.sqrt(3.0) * (
        options.capture_mm + root_mean_square_radius(points) * math.radians(options.capture_deg)
    )


def _closest_points(
    points: FloatArray, target: tuple[FloatArray, FloatArray], start: FloatArray, distances_mm: tuple[float, ...]
) -> FloatArray:
    open3d = load_open3d()
    pipeline, geometry, utility = open3d.pipelines.registration, open3d.geometry, open3d.utility
    # Both clouds about one centre, so that the solver's numbers are small.
    centre = target[0].mean(axis=0)
    scan = geometry.PointCloud(utility.Vector3dVector(points @ start[:3, :3].T + start[:3, 3] - centre))
    skin = geometry.PointCloud(utility.Vector3dVector(target[0] - centre))
    skin.normals = utility.Vector3dVector(target[1])
    motion = np.eye(4)
    for distance in distances_mm:
        method = pipeline.TransformationEstimationPointToPlane(pipeline.TukeyLoss(k=distance))
        criteria = pipeline.ICPConvergenceCriteria(1e-6, 1e-6, 60)
        motion = pipeline.registration_icp(scan, skin, distance, motion, method, criteria).transformation
    about = np.eye(4)
    about[:3, 3] = centre
    moved = np.linalg.inv(about)
    return np.asarray(about @ np.asarray(motion) @ moved @ start)


def _moved(start: FloatArray, centre: FloatArray, shift: FloatArray, turn: FloatArray) -> FloatArray:
    """A motion after ``start``: a turn about a centre and a shift."""
    rotation = rotations_of(turn)
    motion = np.eye(4)
    motion[:3, :3] = rotation @ start[:3, :3]
    motion[:3, 3] = rotation @ (start[:3, 3] - centre) + centre + shift
    return motion


def apart_mm(points: FloatArray, first: FloatArray, second: FloatArray) -> float:
    """Root mean square distance between points under two motions."""
    off = points @ (first - second)[:3, :3].T + (first - second)[:3, 3]
    return math.sqrt(float((off**2).sum(axis=1).mean()))


def _within(points: FloatArray, start: FloatArray, found: FloatArray, options: SurfaceOptions) -> bool:
    """True where a motion lies within the corner of the capture range about the start."""
    turn = float(np.degrees(np.linalg.norm(rotation_vectors(found[:3, :3] @ start[:3, :3].T))))
    off = found - start
    shift = float(np.linalg.norm(off[:3, :3] @ points.mean(axis=0) + off[:3, 3]))
    return shift <= math.sqrt(3.0) * options.capture_mm and turn <= math.sqrt(3.0) * options.capture_deg
