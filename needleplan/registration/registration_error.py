"""What a point-based registration errs by, in closed form."""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, Frame
from needleplan.registration.pose_covariance import PoseCovariance, checked_covariance
from needleplan.registration.rotations import skew


def expected_fre_mm(fle_mm: float, count: int) -> float:
    """Fiducial registration error to expect: FRE² = (1 - 2/N) FLE², both as root mean squares.

    Sibson, J R Stat Soc B 1979;41:217; Fitzpatrick, West, Maurer, IEEE TMI 1998;17:694.
    """
    return fle_mm * math.sqrt(1.0 - 2.0 / _count(count))


def fle_from_fre_mm(fre_mm: float, count: int) -> float:
    """Fiducial localisation error that a fiducial registration error speaks for: FLE² = FRE² N / (N - 2)."""
    return fre_mm / math.sqrt(1.0 - 2.0 / _count(count))


def expected_tre_mm(fiducials_mm: ArrayLike, point_mm: ArrayLike, fle_mm: float) -> float:
    """Root mean square target registration error at a point, for isotropic localisation errors.

    TRE² = FLE²/N (1 + 1/3 Σ d_k²/f_k²), with the distance d_k of the point and the root mean square distance f_k of
    the fiducials from the k-th principal axis of the fiducials (Fitzpatrick, West, Maurer, IEEE TMI 1998;17:694,
    equation 46). It is of first order in FLE over the fiducials' spread, and the error of a registration whose
    weights are all alike. To first order it does not speak for FRE, with which it is uncorrelated (Fitzpatrick,
    Proc SPIE 2009;7261).

    Args:
        fiducials_mm: (n, 3) points.
        point_mm: (3,) the target, in the same frame.
        fle_mm: root mean square length of the localisation error, √3 times that of each component.

    Raises:
        GeometryError: there are fewer than three points, or they lie on one line.
    """
    points = np.asarray(fiducials_mm, dtype=np.float64)
    count = _count(len(points))
    centre = points.mean(axis=0)
    _, spread, axes = np.linalg.svd(points - centre, full_matrices=False)
    if spread[1] < 1e-9 * max(spread[0], 1e-300):
        raise GeometryError("the fiducials lie on one line, about which no registration is defined")
    along = axes @ (np.asarray(point_mm, dtype=np.float64) - centre)
    squares, moments = along**2, spread**2 / count
    far = squares.sum() - squares
    mean = moments.sum() - moments
    return fle_mm * math.sqrt((1.0 + float((far / mean).sum()) / 3.0) / count)


def registration_covariance(
    points_mm: ArrayLike, localisation_mm2: ArrayLike, information: ArrayLike, frame: Frame
) -> PoseCovariance:
    """Covariance of a weighted least squares registration of points whose localisation errors are known.

    With the derivative J of a point's place by shift and turn, weights W and covariances S, all a point,
    the pose errs with A⁻¹ (Σ Jᵀ W S W J) A⁻¹, A = Σ Jᵀ W J; with W = S⁻¹, the best weights, that is A⁻¹. First
    order in the errors; isotropic or not, alike for all points or not (Wiles, Likholyot, Frantz, Peters, IEEE TMI
    2008;27:378; Moghari and Abolmaesumi, IEEE TMI 2009;28:799).

    Args:
        points_mm: (n, 3) points in ``frame``.
        localisation_mm2: (n, 3, 3) covariance S of each pair: of both its points, in ``frame``.
        information: (n, 3, 3) weights W.
        frame: frame of all this.

    Returns:
        The covariance about the centroid of the points.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    weights = np.asarray(information, dtype=np.float64)
    errors = checked_covariance(localisation_mm2, "the fiducials' localisation error")
    centre = points.mean(axis=0)
    motion = point_motions(points, centre)
    inverse = np.linalg.inv(np.einsum("nki,nkl,nlj->ij", motion, weights, motion))
    weighted = np.einsum("nkl,nlj->nkj", weights, motion)
    return PoseCovariance(
        frame, centre, inverse @ np.einsum("nki,nkl,nlj->ij", weighted, errors, weighted) @ inverse
    )


def point_motions(points_mm: FloatArray, centre_mm: FloatArray) -> FloatArray:
    """(n, 3, 6) derivatives of where points (n, 3) land by a shift and a turn about a centre."""
    eye = np.broadcast_to(np.eye(3), (len(points_mm), 3, 3))
    return np.concatenate([eye, -skew(points_mm - centre_mm)], axis=2)


def _count(count: int) -> int:
    if count < 3:
        raise GeometryError(f"a registration needs at least 3 points, not {count}")
    return count
