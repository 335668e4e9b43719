"""Rotations by their rotation vectors, many at once."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import FloatArray

#: Below this angle in radians the series is exact to double precision.
_SMALL = 1e-4


def skew(vectors: ArrayLike) -> FloatArray:
    """(..., 3, 3) matrices [v]× of vectors (..., 3), so that [v]× w is v × w."""
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    rows = [np.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return np.stack(rows, axis=-2)


def rotations_of(vectors: ArrayLike) -> FloatArray:
    """(..., 3, 3) rotations about vectors (..., 3) by their lengths in radians (Rodrigues' formula)."""
    array = np.asarray(vectors, dtype=np.float64)
    angle = np.linalg.norm(array, axis=-1)[..., None, None]
    small = angle < _SMALL
    safe = np.where(small, 1.0, angle)
    sine = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    versine = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    cross = skew(array)
    return np.asarray(np.eye(3) + sine * cross + versine * (cross @ cross))


def rotation_vectors(rotations: ArrayLike) -> FloatArray:
    """(..., 3) rotation vectors of at most π of rotations (..., 3, 3)."""
    from scipy.spatial.transform import Rotation

    array = np.asarray(rotations, dtype=np.float64)
    flat = Rotation.from_matrix(array.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(flat.reshape(*array.shape[:-2], 3))


def nearest_rotation(matrix: ArrayLike) -> FloatArray:
    """(3, 3) proper rotation nearest to a matrix in the Frobenius norm (Umeyama, IEEE TPAMI 1991;13:376)."""
    left, _, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64))
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return np.asarray(left @ right)


def mean_rotation(rotations: ArrayLike) -> FloatArray:
    """(3, 3) rotation with the least sum of squared Frobenius distances to rotations (n, 3, 3).

    Their arithmetic mean projected on the rotations (Moakher, SIAM J Matrix Anal Appl 2002;24:1).
    """
    return nearest_rotation(np.asarray(rotations, dtype=np.float64).mean(axis=0))
