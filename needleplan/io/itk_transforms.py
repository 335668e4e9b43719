"""Rigid transforms as ITK and 3D Slicer keep them: text (.tfm, .txt) and HDF5 (.h5), in LPS millimetres.

An ITK transform takes points of the fixed (parent) space to the moving (child) space: Slicer calls it "from
parent" and stores its transforms that way. So the file of a pose ``X_AB`` holds the map from A to B, which is
``X_BA``; both directions are turned here, and nobody else has to think of it.
"""

import re
from pathlib import Path

import numpy as np

from needleplan.errors import CaseError, FrameError, OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.io.bounded import write_atomically
from needleplan.io.itk_transform_files import (
    StoredTransform,
    read_hdf5_transforms,
    read_text_transforms,
    write_hdf5_transform,
    write_text_transform,
)

TEXT_ENDINGS = (".tfm", ".txt")
HDF5_ENDINGS = (".h5", ".hdf5")

_KIND = re.compile(r"([A-Za-z0-9]+)_(?:double|float)_3_3")
#: Numbers of parameters that each kind of linear transform has (ITK, "GetNumberOfParameters").
_PARAMETER_COUNTS = {
    "AffineTransform": 12,
    "MatrixOffsetTransformBase": 12,
    "Euler3DTransform": 6,
    "VersorRigid3DTransform": 6,
    "QuaternionRigidTransform": 7,
    "VersorTransform": 3,
    "TranslationTransform": 3,
    "IdentityTransform": 0,
}
#: A unit quaternion that was printed and read may be longer than 1 by this.
_QUATERNION_SLACK = 1e-6


def read_transform(path: Path, parent: Frame, child: Frame) -> RigidTransform:
    """The pose ``X_AB`` of frame B (``child``) in frame A (``parent``) from an ITK transform file.

    Affine, Euler, versor, quaternion and translation transforms are read, and composites of them.

    Args:
        path: a file that ends in .tfm, .txt, .h5 or .hdf5.
        parent: frame A, whose points the file's transform takes to B; the patient's is LPS.
        child: frame B.

    Raises:
        CaseError: the file is missing, damaged, too large, of another kind, or holds no rigid transform.
    """
    suffix = path.suffix.lower()
    if suffix in TEXT_ENDINGS:
        stored = read_text_transforms(path)
    elif suffix in HDF5_ENDINGS:
        stored = read_hdf5_transforms(path)
    else:
        raise CaseError(f"{path.name}: a transform must end in {', '.join((*TEXT_ENDINGS, *HDF5_ENDINGS))}")
    if stored[0].kind.startswith("CompositeTransform"):
        stored = stored[1:]
        if not stored:
            raise CaseError(f"{path.name}: the composite holds no transform")
    elif len(stored) > 1:
        raise CaseError(
            f"{path.name}: the file holds {len(stored)} transforms and no composite of them, so it is not known "
            "which is meant"
        )
    matrix = np.eye(4)
    for single in stored:
        # A composite applies its last transform first (ITK, "CompositeTransform").
        matrix = matrix @ _matrix(single, path)
    try:
        return RigidTransform(child, parent, matrix).inverse()
    except FrameError as error:
        raise CaseError(f"{path.name}: only rigid transforms are read: {error}") from None


def write_transform(path: Path, pose: RigidTransform) -> None:
    """Write the pose ``X_AB`` as an ITK affine transform from A to B, whole or not at all.

    3D Slicer shows coordinates in RAS, so it turns x and y of both frames about z; the axis of a needle is its z
    and stays.

    Raises:
        OptionError: the ending stands for no format of transforms.
    """
    suffix = path.suffix.lower()
    if suffix in TEXT_ENDINGS:
        write = write_text_transform
    elif suffix in HDF5_ENDINGS:
        write = write_hdf5_transform
    else:
        endings = ", ".join((*TEXT_ENDINGS, *HDF5_ENDINGS))
        raise OptionError(f"{path.name}: a transform is written as {endings}")
    inverse = pose.in_unit(LengthUnit.MILLIMETRE).inverse()
    parameters = (*inverse.rotation.ravel().tolist(), *inverse.translation.tolist())
    stored = StoredTransform("AffineTransform_double_3_3", parameters, (0.0, 0.0, 0.0))
    write_atomically(path, lambda temporary: write(temporary, stored))


def _matrix(stored: StoredTransform, path: Path) -> FloatArray:
    """(4, 4) map of one stored transform: y = A (x - c) + c + t (ITK, "MatrixOffsetTransformBase")."""
    found = _KIND.fullmatch(stored.kind)
    kind = found.group(1) if found else ""
    if kind not in _PARAMETER_COUNTS:
        raise CaseError(
            f"{path.name}: a transform of the type {stored.kind[:60]!r} is not read; the types that are read are "
            f"{', '.join(_PARAMETER_COUNTS)} with the ending _double_3_3"
        )
    values = np.array(stored.parameters)
    if len(values) != _PARAMETER_COUNTS[kind]:
        raise CaseError(
            f"{path.name}: {kind} has {_PARAMETER_COUNTS[kind]} parameters, but the file gives {len(values)}"
        )
    matrix = np.eye(4)
    if kind == "IdentityTransform":
        return matrix
    if kind == "TranslationTransform":
        matrix[:3, 3] = values
        return matrix
    fixed = np.array(stored.fixed)
    if len(fixed) not in ((3, 4) if kind == "Euler3DTransform" else (3,)):
        raise CaseError(f"{path.name}: {kind} needs its centre as three fixed parameters, not {len(fixed)}")
    centre, shift = fixed[:3], np.zeros(3)
    if kind in ("AffineTransform", "MatrixOffsetTransformBase"):
        rotation, shift = values[:9].reshape(3, 3), values[9:]
    elif kind == "Euler3DTransform":
        rotation, shift = _euler(values[:3], len(fixed) == 4 and fixed[3] != 0), values[3:]
    elif kind == "QuaternionRigidTransform":
        rotation, shift = _quaternion(values[:4], path), values[4:]
    else:
        rest = 1.0 - float(values[:3] @ values[:3])
        if rest < -_QUATERNION_SLACK:
            raise CaseError(f"{path.name}: the versor is longer than 1, so it stands for no rotation")
        rotation = _quaternion(np.append(values[:3], np.sqrt(max(rest, 0.0))), path)
        shift = values[3:] if len(values) == 6 else shift
    matrix[:3, :3] = rotation
    matrix[:3, 3] = shift + centre - rotation @ centre
    return matrix


def _euler(angles_rad: FloatArray, as_zyx: bool) -> FloatArray:
    """Rotation of three angles about x, y and z: Rz Rx Ry, or Rz Ry Rx (ITK, "Euler3DTransform")."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ (about_y @ about_x if as_zyx else about_x @ about_y))


def _quaternion(quaternion: FloatArray, path: Path) -> FloatArray:
    """Rotation of a quaternion (x, y, z, w) of length 1."""
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1.0) > _QUATERNION_SLACK:
        raise CaseError(f"{path.name}: the quaternion has the length {length:.6g}, and a rotation needs 1")
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
