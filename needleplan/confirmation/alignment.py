"""How the scan after an ablation is laid on the scan before it, and how well that is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.confirmation.subvoxel_surface import subvoxel_surface
from needleplan.confirmation.voxel_checks import MOST_ORGAN_FACES, require_smooth
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.grid import VoxelMask
from needleplan.registration.point_based import PointOptions, register_points
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.surface import register_surface
from needleplan.registration.surface_search import SurfaceOptions

#: Frame of the scan after the ablation: what its scanner measures in; the patient may lie otherwise than before.
AFTER = Frame.SCAN_AFTER
#: Points of the organ's surface that are laid on the surface before.
_SURFACE_POINTS = 6000
#: Organs deform between the scans, so that errors of places this near each other are taken as one.
_CORRELATION_MM = 25.0
#: Landmarks of the anatomy are found less exactly than markers.
_LANDMARK_FRE_MM = 10.0
#: A known registration error is at most this.
_MOST_ERROR_MM = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The pose of the scan after the ablation in the frame of the scan before it.

    Attributes:
        transform: ``X_PT``, mm: carries points of the scan after to the scan before.
        covariance: of that pose, in the patient's frame; None where nobody stated its error.
        method: ``same frame``, ``given``, ``landmarks`` or ``organ surface``.
        notes: what a reader must know of it, a sentence each.
    """

    transform: RigidTransform
    covariance: PoseCovariance | None
    method: str
    notes: tuple[str, ...] = ()

    def error_mm(self, point_mm: ArrayLike) -> float | None:
        """Root mean square error at a point (3,) of the scan before; None where it is not known."""
        return None if self.covariance is None else self.covariance.tre_mm(point_mm)


def same_frame(error_mm: float | None = None) -> Alignment:
    """Both scans in one frame, for instance of one session.

    Args:
        error_mm: root mean square distance by which the patient may have moved between them; None where it is not
            known.
    """
    pose = RigidTransform.identity(Frame.PATIENT, AFTER)
    return Alignment(pose, _shift_error(error_mm), "same frame", _unknown(error_mm))


def given_transform(transform: RigidTransform, error_mm: float | None = None) -> Alignment:
    """A pose that another program found.

    Args:
        transform: pose of the scan after in the frame of the scan before; any child frame.
        error_mm: its root mean square error at the tumour; None where it is not known.

    Raises:
        OptionError: the pose is not one in the patient's frame, or the error is impossible.
    """
    if transform.parent is not Frame.PATIENT:
        raise OptionError(
            f"the transform must lead to the patient's frame P of the scan before, not to {transform.parent}"
        )
    return Alignment(transform, _shift_error(error_mm), "given", _unknown(error_mm))


def by_landmarks(
    before_mm: ArrayLike, after_mm: ArrayLike, names: Sequence[str] | None = None, fle_mm: float | None = None
) -> Alignment:
    """Align by the same places found in both scans; see ``register_points``.

    Args:
        before_mm: (n, 3) places in the scan before, n at least 3.
        after_mm: (n, 3) the same places in the scan after, in the same order.
        names: their names.
        fle_mm: root mean square error of finding a place in both scans, where it is known.

    Raises:
        GeometryError: the places determine no pose, are mirrored, or misfit.
    """
    options = PointOptions(fle_mm=fle_mm, greatest_fre_mm=_LANDMARK_FRE_MM)
    found = register_points(before_mm, after_mm, Frame.PATIENT, AFTER, options, names)
    notes = [f"{len(found.names)} landmarks fit to {found.fre_mm:.1f} mm (root mean square)."]
    if found.taken_out:
        notes.append(f"Taken out as outliers: {', '.join(found.taken_out)}.")
    if not found.hand_is_shown:
        notes.append(f"{found.hand[0].upper()}{found.hand[1:]}.")
    return Alignment(found.transform, found.covariance, "landmarks", tuple(notes))


def by_organ(
    before: VoxelMask, after: VoxelMask, start: RigidTransform | None = None, options: SurfaceOptions | None = None
) -> Alignment:
    """Align the organ's surface after the ablation with its surface before.

    Rigid, so an organ that changed its shape, by breath or position, is fitted on the whole and not at the tumour;
    a piece of surface that slides in itself is refused. Parts that only the edge of an image made are left out.

    Args:
        before: the organ in the scan before.
        after: the organ in the scan after, in its own frame.
        start: pose to begin with; where None, the frames' own axes with the organs' middles laid on each other.
        options: of the search.

    Raises:
        GeometryError: the surfaces do not fit, fit twice, or slide.
    """
    for mask, what in ((before, "organ before"), (after, "organ after")):
        require_smooth(mask, what, MOST_ORGAN_FACES)
    fixed, moving = subvoxel_surface(before).mesh, subvoxel_surface(after).mesh
    if start is None:
        shift = _middle_mm(fixed.vertices_mm) - _middle_mm(moving.vertices_mm)
        start = RigidTransform.from_parts(Frame.PATIENT, AFTER, np.eye(3), shift)
    points = moving.vertices_mm[~_at_cut(moving.vertices_mm, after)]
    if len(points) > _SURFACE_POINTS:
        rng = np.random.default_rng(0)
        points = points[np.sort(rng.choice(len(points), _SURFACE_POINTS, replace=False))]
    chosen = options or SurfaceOptions(
        capture_mm=25.0, capture_deg=15.0, greatest_rms_mm=5.0, correlation_mm=_CORRELATION_MM
    )
    found = register_surface(points, fixed, start, chosen)
    notes = (
        f"{found.overlap:.0%} of the organ's surface fits to {found.rms_mm:.1f} mm (root mean square).",
        "The error of an alignment by the surface is optimistic: what an organ's change of shape moves inside it "
        "does not show on the surface.",
    )
    return Alignment(found.transform, found.covariance, "organ surface", notes)


def _middle_mm(points: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (points.min(axis=0) + points.max(axis=0)))


def _at_cut(points: FloatArray, mask: VoxelMask) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(n,) True for points within a voxel of a side at which the image ends."""
    index = mask.grid.to_index(points)
    cut = np.zeros(len(points), dtype=np.bool_)
    for axis, (low, high) in enumerate(mask.cut_sides):
        if low:
            cut |= index[:, axis] < 0.5
        if high:
            cut |= index[:, axis] > mask.grid.shape[axis] - 1.5
    return cut


def _shift_error(error_mm: float | None) -> PoseCovariance | None:
    """Covariance of a shift alone, alike in all directions."""
    if error_mm is None:
        return None
    if not (math.isfinite(error_mm) and 0.0 <= error_mm <= _MOST_ERROR_MM):
        raise OptionError(f"a registration error must lie between 0 and {_MOST_ERROR_MM:g} mm, not {error_mm!r}")
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = np.eye(3) * error_mm**2 / 3.0
    return PoseCovariance(Frame.PATIENT, np.zeros(3), matrix)


def _unknown(error_mm: float | None) -> tuple[str, ...]:
    if error_mm is not None:
        return ()
    return ("Nobody stated the error of the alignment, so the margins carry none.",)
