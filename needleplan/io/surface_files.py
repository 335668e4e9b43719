"""Surfaces for viewers: glTF 2.0, several named ones in one file; and VTP or STL, one file each.

glTF is in metres with +y up and +z to the front by its standard (Khronos, glTF 2.0, section 3.4). Patient LPS maps
to it by x = L, y = S, z = -P, which is a turn and mirrors nothing: a patient stands upright and faces the viewer.
"""

import base64
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.io.bounded import write_atomically
from needleplan.io.meshes import write_mesh

#: (3, 3) from patient LPS to the axes of glTF.
GLTF_AXES = read_only([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])

_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _UNSIGNED_INT = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963

#: Letters that a file's name may hold on every system.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: Names that Windows keeps for devices.
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))})
_MAXIMUM_STEM = 80


@dataclass(frozen=True, slots=True, eq=False)
class NamedSurface:
    """A surface and how it is shown.

    Attributes:
        name: unique among the surfaces of one file or folder.
        mesh: patient LPS mm.
        color: red, green and blue from 0 to 1, as a screen shows them.
        opacity: 0 to 1.
    """

    name: str
    mesh: SurfaceMesh
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    opacity: float = 1.0


def file_stems(names: Sequence[str]) -> list[str]:
    """A file's name, without ending, for each name: plain letters, no folder, no device, none twice in any case."""
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem = _UNSAFE.sub("_", name).strip("._-")[:_MAXIMUM_STEM].rstrip("._-") or "unnamed"
        if stem.split(".")[0].lower() in _RESERVED:
            stem = f"_{stem}"
        chosen, number = stem, 2
        while chosen.lower() in taken:
            chosen = f"{stem}-{number}"
            number += 1
        taken.add(chosen.lower())
        stems.append(chosen)
    return stems


def write_surfaces(folder: Path, surfaces: Sequence[NamedSurface], ending: str) -> dict[str, Path]:
    """Write each surface into a file of its own, named after it.

    Args:
        folder: made where it is missing; each file is written whole or not at all.
        surfaces: their names need not be fit for files.
        ending: ``.vtp`` (doubles, LPS stated in the field SPACE) or ``.stl`` (binary, LPS stated in the header).

    Returns:
        the path of each surface's file by name.
    """
    if ending not in (".vtp", ".stl"):
        raise OptionError(f"surfaces are written as .vtp or .stl, not as {ending}")
    _check_names(surfaces, folder.name)
    written = {}
    for surface, stem in zip(surfaces, file_stems([s.name for s in surfaces]), strict=True):
        written[surface.name] = folder / f"{stem}{ending}"
        write_mesh(written[surface.name], surface.mesh)
    return written


def _check_names(surfaces: Sequence[NamedSurface], where: str) -> None:
    names = [surface.name for surface in surfaces]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if not names or doubled:
        what = f"the name {doubled[0]!r} is used twice" if doubled else "there is no surface to write"
        raise OptionError(f"{where}: {what}")


def write_gltf(path: Path, surfaces: Sequence[NamedSurface]) -> None:
    """Write surfaces as one glTF 2.0 scene: a node, mesh and material for each, with its name.

    Coordinates are single precision about the middle of each surface, which its node states in double: no vertex is
    off by more than 1e-4 mm.

    Args:
        path: ``.glb`` (binary) or ``.gltf`` (JSON with the numbers in it); written whole or not at all.
        surfaces: at least one; names differ.

    Raises:
        OptionError: the ending is another, a name is used twice, or there is no surface.
    """
    if path.suffix not in (".glb", ".gltf"):
        raise OptionError(f"{path.name}: a scene is written as .glb or .gltf")
    _check_names(surfaces, path.name)
    document, binary = _scene(surfaces)
    if path.suffix == ".gltf":
        text = base64.b64encode(binary).decode("ascii")
        document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{text}"
        content = json.dumps(document, allow_nan=False).encode("utf-8")
    else:
        head = json.dumps(document, allow_nan=False, separators=(",", ":")).encode("utf-8")
        head += b" " * (-len(head) % 4)
        total = 12 + 8 + len(head) + 8 + len(binary)
        content = struct.pack("<3I", _MAGIC, 2, total) + struct.pack("<2I", len(head), _JSON_CHUNK) + head
        content += struct.pack("<2I", len(binary), _BINARY_CHUNK) + binary
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _scene(surfaces: Sequence[NamedSurface]) -> tuple[dict[str, Any], bytes]:
    """The document and its one buffer: for each surface vertices, normals and indices."""
    binary = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add(values: NDArray[Any], target: int, component: int, kind: str, bounds: bool) -> int:
        stored = np.ascontiguousarray(values, dtype="<f4" if component == _FLOAT else "<u4")
        views.append(
            {"buffer": 0, "byteOffset": len(binary), "byteLength": stored.nbytes, "target": target}
        )  # fmt: skip
        count = len(stored) if kind == "VEC3" else stored.size
        accessor = {"bufferView": len(views) - 1, "componentType": component, "count": count, "type": kind}
        if bounds:
            accessor |= {"min": stored.min(axis=0).tolist(), "max": stored.max(axis=0).tolist()}
        accessors.append(accessor)
        binary.extend(stored.tobytes())
        return len(accessors) - 1

    nodes, meshes, materials = [], [], []
    for number, surface in enumerate(surfaces):
        points_m = surface.mesh.vertices_mm @ GLTF_AXES.T / 1000.0
        middle_m = points_m.mean(axis=0)
        primitive = {
            "attributes": {
                "POSITION": add(points_m - middle_m, _ARRAY_BUFFER, _FLOAT, "VEC3", True),
                "NORMAL": add(_vertex_normals(surface.mesh) @ GLTF_AXES.T, _ARRAY_BUFFER, _FLOAT, "VEC3", False),
            },
            "indices": add(surface.mesh.faces.ravel(), _ELEMENT_BUFFER, _UNSIGNED_INT, "SCALAR", False),
            "material": number,
        }
        meshes.append({"name": surface.name, "primitives": [primitive]})
        nodes.append({"name": surface.name, "mesh": number, "translation": middle_m.tolist()})
        materials.append(_material(surface))
    document = {
        "asset": {"version": "2.0", "generator": "needleplan"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes))), "extras": {"axes": "x = L, y = S, z = -P of patient LPS"}}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    return document, bytes(binary)


def _vertex_normals(mesh: SurfaceMesh) -> FloatArray:
    """(n, 3) unit normals, means of the faces about each vertex by area; +z where a vertex has none."""
    total = np.zeros_like(mesh.vertices_mm)
    area = mesh.area_vectors_mm2
    for corner in range(3):
        np.add.at(total, mesh.faces[:, corner], area)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])


def _material(surface: NamedSurface) -> dict[str, Any]:
    # Colours of a material are linear; what a screen shows is sRGB (IEC 61966-2-1).
    shown = np.array(surface.color)
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    material: dict[str, Any] = {
        "name": surface.name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [*linear.tolist(), float(surface.opacity)],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }
    return material | ({"alphaMode": "BLEND", "doubleSided": True} if surface.opacity < 1.0 else {})
