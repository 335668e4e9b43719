"""Registration of a scanned patch of skin to the skin's surface."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import FrameError, GeometryError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, read_only
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import nearest_rotation
from needleplan.registration.surface_fit import SurfaceFit, free_motions, point_to_plane, root_mean_square_radius
from needleplan.registration.surface_search import SurfaceOptions, apart_mm, search_reach_mm, searched_motion

#: Least number of scanned points.
LEAST_POINTS = 100
#: A scan of skin is at least so wide and at most so long, mm; one in metres is not.
EXTENT_MM = (30.0, 3000.0)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceRegistration:
    """A pose from a scanned patch of skin.

    Attributes:
        transform: pose of the scan's frame in the surface's, mm.
        covariance: of that pose, in the surface's frame about the centroid of the kept points: s² (Σ J Jᵀ)⁻¹, s²
            the mean squared distance, with as many independent points as cubes of the correlation length that
            hold points. It is optimistic: what the scan and the surface err by together (breathing, a skin that
            gave way, a threshold of the segmentation) is not in the residuals.
        residuals_mm: (n,) distances of all points from the surface, positive outside.
        taken_out: (n,) True for the points that were taken out: clothes, hands, sheets.
        overlap: share of the points that was kept.
        rms_mm: root mean square distance of the kept points.
        holds: (6,) change of the distances in mm for a mm of each principal motion, least firm first.
        agreeing_starts: share of the searches that ended in this pose.
        moved_mm: root mean square distance of the scan's points from where the start put them.
    """

    transform: RigidTransform
    covariance: PoseCovariance
    residuals_mm: FloatArray
    taken_out: NDArray[np.bool_]
    overlap: float
    rms_mm: float
    holds: FloatArray
    agreeing_starts: float
    moved_mm: float

    def __post_init__(self) -> None:
        for name, dtype in (("residuals_mm", np.float64), ("taken_out", np.bool_), ("holds", np.float64)):
            object.__setattr__(self, name, read_only(getattr(self, name), dtype))

    @property
    def condition(self) -> float:
        """Firmest over least firm motion; 1 is best."""
        return float(self.holds[-1] / self.holds[0])


def register_surface(
    scan_mm: ArrayLike, surface: SurfaceMesh, start: RigidTransform, options: SurfaceOptions | None = None
) -> SurfaceRegistration:
    """The pose that lays a scanned patch on a surface, near a start such as a registration of a few points.

    From each of the seeded starts Open3D's iterative closest points, point to plane with Tukey's weights, coarse to
    fine (Zhou, Park, Koltun, arXiv:1801.09847); the best by the mean squared distance, each capped, is refined with
    exact distances to the triangles and all points.

    Args:
        scan_mm: (n, 3) points in the scanner's frame.
        surface: the skin, closed and facing outward, patient LPS mm.
        start: pose of the scanner's frame in the patient's, mm.
        options: capture range and limits.

    Raises:
        GeometryError: the scan is no scan in millimetres, fits too little or too badly, ends out of the capture
            range, fits two poses alike, or slides in itself, with the motion that is free.
        FrameError: the start is not a pose in the patient's frame in mm.
    """
    chosen = options or SurfaceOptions()
    points = _checked(scan_mm)
    if start.parent is not Frame.PATIENT or start.unit is not LengthUnit.MILLIMETRE:
        raise FrameError(
            f"a surface registration starts from a pose in P in mm, not from X_{start.parent}{start.child} in "
            f"{start.unit}"
        )
    fit = SurfaceFit(surface)
    reach = search_reach_mm(points, chosen)
    first = points @ start.rotation.T + start.translation
    away, normals = fit.heights(first)
    if np.median(np.abs(away)) > reach:
        raise GeometryError(
            f"the start lays the scan {np.median(np.abs(away)):.0f} mm away from the surface, where the capture "
            f"range reaches {reach:.0f} mm: check its frames and units"
        )
    # A patch that slides lets every search drift; where it surely does, that shows at the start already.
    _require_held(first, normals, 0.5 * chosen.least_hold)
    found, agreeing, rival = searched_motion(points, surface, fit, start.matrix, chosen)
    motion, kept = fit.refined(points, found, chosen.trim, chosen.least_hold)
    placed = points @ motion[:3, :3].T + motion[:3, 3]
    heights, normals = fit.heights(placed)
    overlap = float(kept.mean())
    rms = math.sqrt(float((heights[kept] ** 2).mean()))
    rows, centre, length, holds = _require_held(placed[kept], normals[kept], chosen.least_hold)
    if overlap < chosen.least_overlap:
        raise GeometryError(
            f"only {overlap:.0%} of the scanned points fit the surface, where {chosen.least_overlap:.0%} must: "
            "scan bare skin or give a better start"
        )
    if rms > chosen.greatest_rms_mm:
        raise GeometryError(
            f"the scan fits the surface to {rms:.3g} mm (root mean square), where {chosen.greatest_rms_mm:g} mm "
            "are allowed: it is of another body or breath, or the start lies out of the capture range"
        )
    if rival is not None:
        raise GeometryError(
            f"the scan fits two poses alike, {rival:.1f} mm apart (root mean square): give a nearer start with a "
            "smaller capture range, or scan a patch with more shape in it"
        )
    cubes = len(np.unique(np.floor(placed[kept] / chosen.correlation_mm).astype(np.int64), axis=0))
    independent = min(cubes, int(kept.sum()))
    if independent <= 6:
        raise GeometryError(
            f"the patch spans only {independent} cubes of the correlation length of {chosen.correlation_mm:g} mm: "
            "scan a larger one"
        )
    variance = rms**2 / (independent - 6)
    unscale = np.repeat([1.0, 1.0 / length], 3)
    inverse = np.linalg.inv(rows.T @ rows / len(rows)) * np.outer(unscale, unscale)
    return SurfaceRegistration(
        RigidTransform.from_parts(Frame.PATIENT, start.child, nearest_rotation(motion[:3, :3]), motion[:3, 3]),
        PoseCovariance(Frame.PATIENT, centre, np.asarray(variance * inverse, np.float64)),
        heights,
        ~kept,
        overlap,
        rms,
        holds,
        agreeing,
        apart_mm(points, start.matrix, motion),
    )


def _checked(scan_mm: ArrayLike) -> FloatArray:
    points = np.asarray(scan_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < LEAST_POINTS:
        raise GeometryError(f"a scan needs at least {LEAST_POINTS} points (n, 3), not {points.shape}")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise GeometryError(f"point {int(np.argmin(finite)) + 1} of the scan has a coordinate that is not finite")
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    if not EXTENT_MM[0] <= extent <= EXTENT_MM[1]:
        raise GeometryError(
            f"the scan spans {extent:.3g} mm: it must be in millimetres and span {EXTENT_MM[0]:g} to "
            f"{EXTENT_MM[1]:g}"
        )
    return points


def _require_held(
    placed: FloatArray, normals: FloatArray, least: float
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """Rows of the normal equations, centre and length of their turns, and how firmly each motion is held.

    Raises:
        GeometryError: a motion is free.
    """
    centre, length = placed.mean(axis=0), root_mean_square_radius(placed)
    rows = point_to_plane(placed, normals, centre, length)
    holds, free = free_motions(rows, length, centre, least)
    if free:
        raise GeometryError(
            f"the scanned patch slides in itself: {free} changes the distances by only {holds[0]:.2g} mm for each "
            f"mm, where {least:g} must be; scan a larger patch with more shape in it, or add fiducials"
        )
    return rows, centre, length, holds
