"""Coordinate frames and rigid poses between them.

World frame P is the patient in LPS (DICOM): +x to the patient's left, +y to posterior, +z to superior.
``X_AB`` is the pose of frame B in frame A, so ``X_AB @ X_BC`` is ``X_AC`` (notation after Drake, "Monogram
Notation"). A pose knows its two frames and its length unit and refuses to compose with the wrong one.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import FrameError

FloatArray = NDArray[np.float64]

#: Orthonormality tolerance of a rotation, absolute on each element of RᵀR − I.
ROTATION_TOLERANCE = 1e-6


class Frame(StrEnum):
    """The frames by letter."""

    VOXEL = "V"
    PATIENT = "P"
    TRACKER = "T"
    REFERENCE = "R"
    SCAN_AFTER = "A"
    ROBOT_BASE = "B"
    FLANGE = "E"
    GUIDE = "G"
    NEEDLE = "N"
    WORLD = "W"


class LengthUnit(StrEnum):
    """Unit of a pose's translation."""

    MILLIMETRE = "mm"
    METRE = "m"


def read_only(values: ArrayLike, dtype: type = np.float64) -> NDArray:  # type: ignore[type-arg]
    """A C-contiguous copy of ``values`` that cannot be written to; ``values`` itself where it is one already."""
    if (
        isinstance(values, np.ndarray)
        and values.base is None
        and values.dtype == dtype
        and values.flags.c_contiguous
        and not values.flags.writeable
    ):
        return values
    array: NDArray = np.array(values, dtype=dtype, order="C")  # type: ignore[type-arg]
    array.setflags(write=False)
    return array


def unit_vector(vector: ArrayLike) -> FloatArray:
    """``vector`` (3,) scaled to length 1; raises FrameError when it is zero or not finite."""
    array = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(array))
    if array.shape != (3,) or not np.isfinite(length) or length < 1e-12:
        raise FrameError(f"a direction must be three finite numbers, not all zero, but is {array.tolist()}")
    return array / length


def perpendicular_axes(direction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors that make a right-handed frame (x, y, ``direction``)."""
    z = unit_vector(direction)
    helper = np.zeros(3)
    helper[int(np.argmin(np.abs(z)))] = 1.0
    x = unit_vector(np.cross(helper, z))
    return x, np.cross(z, x)


@dataclass(frozen=True, slots=True, eq=False)
class RigidTransform:
    """Pose ``X_AB`` of frame B (``child``) in frame A (``parent``).

    Attributes:
        parent: frame A, in which the pose is expressed.
        child: frame B, whose pose it is.
        matrix: (4, 4) homogeneous matrix, read-only; rotation proper to 1e-6.
        unit: unit of the translation.
    """

    parent: Frame
    child: Frame
    matrix: FloatArray
    unit: LengthUnit = LengthUnit.MILLIMETRE

    def __post_init__(self) -> None:
        matrix = read_only(self.matrix)
        where = f"X_{self.parent}{self.child}"
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise FrameError(f"{where} must be a finite 4x4 matrix")
        rotation = matrix[:3, :3]
        if not np.allclose(rotation.T @ rotation, np.eye(3), atol=ROTATION_TOLERANCE):
            raise FrameError(f"{where} is not rigid: its 3x3 part is scaled or sheared")
        if np.linalg.det(rotation) < 0:
            raise FrameError(f"{where} mirrors: its determinant is -1 where a rotation has +1")
        if not np.array_equal(matrix[3], [0.0, 0.0, 0.0, 1.0]):
            raise FrameError(f"{where} must end in the row 0 0 0 1")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_parts(
        cls,
        parent: Frame,
        child: Frame,
        rotation: ArrayLike,
        translation: ArrayLike,
        unit: LengthUnit = LengthUnit.MILLIMETRE,
    ) -> "RigidTransform":
        """Pose from a (3, 3) rotation and a (3,) translation in ``unit``."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = translation
        return cls(parent, child, matrix, unit)

    @classmethod
    def identity(cls, parent: Frame, child: Frame, unit: LengthUnit = LengthUnit.MILLIMETRE) -> "RigidTransform":
        """The pose of two frames that coincide."""
        return cls(parent, child, np.eye(4), unit)

    @property
    def rotation(self) -> FloatArray:
        """(3, 3) rotation part."""
        return self.matrix[:3, :3]

    @property
    def translation(self) -> FloatArray:
        """(3,) translation in ``unit``."""
        return self.matrix[:3, 3]

    def __matmul__(self, other: "RigidTransform") -> "RigidTransform":
        """``X_AB @ X_BC`` is ``X_AC``; raises FrameError where the inner frames or the units differ."""
        if self.child is not other.parent:
            raise FrameError(
                f"X_{self.parent}{self.child} @ X_{other.parent}{other.child}: the inner frames differ "
                f"({self.child} and {other.parent})"
            )
        if self.unit is not other.unit:
            raise FrameError(
                f"X_{self.parent}{self.child} is in {self.unit} and X_{other.parent}{other.child} in "
                f"{other.unit}: convert one of them first"
            )
        return RigidTransform(self.parent, other.child, self.matrix @ other.matrix, self.unit)

    def inverse(self) -> "RigidTransform":
        """``X_BA``."""
        rotation = self.rotation.T
        return RigidTransform.from_parts(self.child, self.parent, rotation, -rotation @ self.translation, self.unit)

    def apply(self, points: ArrayLike) -> FloatArray:
        """Points (..., 3) given in frame B, expressed in frame A."""
        return np.asarray(points, dtype=np.float64) @ self.rotation.T + self.translation

    def rotate(self, directions: ArrayLike) -> FloatArray:
        """Directions (..., 3) given in frame B, expressed in frame A."""
        return np.asarray(directions, dtype=np.float64) @ self.rotation.T

    def in_unit(self, unit: LengthUnit) -> "RigidTransform":
        """The same pose with its translation in ``unit``."""
        if unit is self.unit:
            return self
        factor = 1e-3 if unit is LengthUnit.METRE else 1e3
        matrix = np.array(self.matrix)
        matrix[:3, 3] *= factor
        return RigidTransform(self.parent, self.child, matrix, unit)
