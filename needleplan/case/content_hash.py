"""Content hash of a case: the same on every machine, and another one for every change that could move a plan."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from needleplan.case.model import EntrySubstitute, PatientPosition, Structure
from needleplan.grid import VoxelMask

if TYPE_CHECKING:
    from hashlib import _Hash

#: Coordinates enter the hash in whole steps of this size, far above the rounding of different machines.
HASH_STEP_MM = 1e-5


def content_hash(
    name: str, position: PatientPosition, structures: Sequence[Structure], entry: EntrySubstitute | None
) -> str:
    """SHA-256 (hex) over the meaning of a case and the voxels and vertices that it uses, but over no file path."""
    digest = hashlib.sha256()
    meaning = {
        "hash": "needleplan.case 1",
        "name": name,
        "position": position.value,
        "entry": [entry.shape.value, *entry.structures, _steps(np.array([entry.grow_mm])).tolist()]
        if entry
        else None,
    }
    _add(digest, json.dumps(meaning, sort_keys=True, ensure_ascii=True).encode())
    for structure in structures:
        clearance = structure.clearance_mm
        heading = [structure.name, structure.role.value, None if clearance is None else f"{clearance:.6f}"]
        _add(digest, json.dumps(heading, ensure_ascii=True).encode())
        geometry = structure.geometry
        if isinstance(geometry, VoxelMask):
            _add(digest, json.dumps(["voxels", geometry.grid.shape, geometry.cut_sides]).encode())
            _add(digest, _steps(geometry.grid.T_PV).tobytes())
            _add(digest, np.packbits(geometry.inside.ravel()).tobytes())
        else:
            _add(digest, b'["surface"]')
            _add(digest, _steps(geometry.vertices_mm).tobytes())
            _add(digest, geometry.faces.astype("<i8").tobytes())
    return digest.hexdigest()


def _steps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.asarray(values) / HASH_STEP_MM).astype("<i8")


def _add(digest: "_Hash", data: bytes) -> None:
    """Length before content, so that no two different sequences give the same bytes."""
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)
