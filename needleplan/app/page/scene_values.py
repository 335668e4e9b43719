"""Arrays and points of a scene as values that JSON can hold: quantised, little-endian, compressed where it pays."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: What a scene may hold: every value of JSON.
SceneValue = Any

_KINDS = {"u1": "u8", "u2": "u16", "u4": "u32", "i2": "i16", "f4": "f32"}
#: Largest whole number of a quantised coordinate.
_MOST_STEPS = 65_535
#: Smaller arrays are not compressed.
_SMALL_BYTES = 200


def packed(values: NDArray[Any]) -> dict[str, SceneValue]:
    """An array of numbers as JSON: base64 of its little-endian bytes, compressed where that is shorter.

    Raises:
        OptionError: the kind of number is none that a page reads, or a value is not finite.
    """
    kind = f"{values.dtype.kind}{values.dtype.itemsize}"
    if kind not in _KINDS:
        raise OptionError(f"a scene holds numbers of the kinds {', '.join(_KINDS.values())}, not {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise OptionError("a scene holds finite numbers alone")
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    # Without a time in its head, so that equal scenes are equal files.
    short = gzip.compress(plain, 9, mtime=0) if len(plain) >= _SMALL_BYTES else plain
    zipped = len(short) < len(plain)
    return {
        "dtype": _KINDS[kind], "shape": list(values.shape),
        "data": base64.b64encode(short if zipped else plain).decode(), "gzip": zipped,
    }  # fmt: skip


def quantised(points_mm: ArrayLike, step_mm: float) -> dict[str, SceneValue]:
    """Points (n, d) as whole steps from their least corner; the step grows where the extent asks for it.

    Each coordinate is off by at most half a step.

    Raises:
        OptionError: there is no point, a coordinate is not finite, or the step is not above zero.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    if points.ndim != 2 or not len(points) or not np.isfinite(points).all() or not step_mm > 0:
        raise OptionError("points of a scene must be one or more, finite, with a step above zero")
    low = points.min(axis=0)
    step = max(step_mm, float(np.ptp(points, axis=0).max()) / _MOST_STEPS)
    steps = np.minimum(np.rint((points - low) / step), _MOST_STEPS).astype(np.uint16)
    return {"low_mm": [float(x) for x in low], "step_mm": step, "array": packed(steps)}


def unpacked(values: Mapping[str, SceneValue]) -> NDArray[Any]:
    """The array that ``packed`` wrote."""
    kinds = {name: kind for kind, name in _KINDS.items()}
    content = base64.b64decode(values["data"])
    content = gzip.decompress(content) if values["gzip"] else content
    return np.frombuffer(content, dtype=np.dtype(f"<{kinds[values['dtype']]}")).reshape(values["shape"])


def unquantised(values: Mapping[str, SceneValue]) -> FloatArray:
    """The points (n, d) that ``quantised`` wrote, in mm."""
    return np.asarray(values["low_mm"]) + values["step_mm"] * unpacked(values["array"]).astype(np.float64)


def packed_faces(faces: NDArray[np.integer[Any]], vertex_count: int) -> dict[str, SceneValue]:
    """Faces (m, 3) in the narrowest kind that can name every vertex."""
    return packed(np.asarray(faces, dtype=np.uint16 if vertex_count <= _MOST_STEPS else np.uint32))


def numbers(values: ArrayLike, digits: int = 4) -> list[float]:
    """Numbers as a list, rounded."""
    return [round(float(value), digits) for value in np.asarray(values, dtype=np.float64).ravel()]


def scene_size_bytes(scene: Mapping[str, SceneValue]) -> int:
    """Length of the scene as JSON; raises OptionError where it holds what JSON has no word for."""
    try:
        return len(json.dumps(scene, allow_nan=False, separators=(",", ":")))
    except ValueError as error:
        raise OptionError(f"the scene holds what JSON cannot: {error}") from error
