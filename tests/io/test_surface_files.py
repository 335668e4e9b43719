"""Surfaces for viewers: trimesh and VTK read the same solids under the same names, upright and in metres."""

import json
import struct

import numpy as np
import pytest
import trimesh
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOGeometry import vtkGLTFReader, vtkSTLReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.io.surface_files import GLTF_AXES, NamedSurface, file_stems, write_gltf, write_surfaces


def solid(shift=(0.0, 0.0, 0.0)) -> SurfaceMesh:
    """A sheared tetrahedron far from the origin: no symmetry hides a flip."""
    vertices = np.array([[31.5, -7.25, 1400.0], [52.0, -3.0, 1405.5], [35.0, 21.0, 1409.0], [38.25, 1.5, 1433.0]])
    return SurfaceMesh(vertices + shift, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))


SURFACES = [
    NamedSurface("Tumor, größter", solid(), (1.0, 0.5, 0.0)),
    NamedSurface("skin", solid((1 / 3, -70, 5)), (0.2, 0.2, 0.2), 0.3),
]


def same_corners(points_mm: np.ndarray, mesh: SurfaceMesh) -> None:
    assert len(points_mm) >= len(mesh.vertices_mm)
    for corner in mesh.vertices_mm:
        assert np.linalg.norm(points_mm - corner, axis=1).min() < 1e-4
    for point in points_mm:
        assert np.linalg.norm(mesh.vertices_mm - point, axis=1).min() < 1e-4


@pytest.mark.parametrize("ending", ["glb", "gltf"])
def test_trimesh_reads_the_same_solids(tmp_path, ending):
    write_gltf(tmp_path / f"a.{ending}", SURFACES)
    scene = trimesh.load_scene(tmp_path / f"a.{ending}")
    assert set(scene.geometry) == {surface.name for surface in SURFACES}
    for surface in SURFACES:
        mesh = next(m for m in scene.dump() if m.metadata.get("name") == surface.name)
        # Back to LPS mm: the axes are a turn, so the inverse is the transpose.
        same_corners(np.asarray(mesh.vertices) * 1000.0 @ GLTF_AXES, surface.mesh)
        assert mesh.volume * 1e9 == pytest.approx(surface.mesh.volume_mm3, rel=1e-5)
        alpha = mesh.visual.material.baseColorFactor[3] / 255
        assert alpha == pytest.approx(surface.opacity, abs=0.01)


@pytest.mark.parametrize("ending", ["glb", "gltf"])
def test_vtk_reads_the_same_corners(tmp_path, ending):
    write_gltf(tmp_path / f"a.{ending}", SURFACES)
    reader = vtkGLTFReader()
    reader.SetFileName(str(tmp_path / f"a.{ending}"))
    reader.ApplyDeformationsToGeometryOn()
    reader.Update()
    blocks = reader.GetOutput().NewIterator()
    points = []
    while not blocks.IsDoneWithTraversal():
        points.append(vtk_to_numpy(blocks.GetCurrentDataObject().GetPoints().GetData()).astype(float))
        blocks.GoToNextItem()
    found = np.concatenate(points) * 1000.0 @ GLTF_AXES
    for surface in SURFACES:
        for corner in surface.mesh.vertices_mm:
            # VTK keeps the shifted points in single precision.
            assert np.linalg.norm(found - corner, axis=1).min() < 2e-4


def test_a_patient_stands_upright_and_faces_the_viewer():
    assert np.linalg.det(GLTF_AXES) == 1.0
    np.testing.assert_array_equal(GLTF_AXES @ [0, 0, 1], [0, 1, 0])  # the head is up
    np.testing.assert_array_equal(GLTF_AXES @ [0, -1, 0], [0, 0, 1])  # the face is to the front
    np.testing.assert_array_equal(GLTF_AXES @ [1, 0, 0], [1, 0, 0])


def test_the_binary_file_is_laid_out_as_the_standard_says(tmp_path):
    path = tmp_path / "a.glb"
    write_gltf(path, SURFACES)
    content = path.read_bytes()
    magic, version, total = struct.unpack_from("<3I", content)
    length, kind = struct.unpack_from("<2I", content, 12)
    assert (magic, version, total, kind) == (0x46546C67, 2, len(content), 0x4E4F534A)
    document = json.loads(content[20 : 20 + length])
    stored, kind = struct.unpack_from("<2I", content, 20 + length)
    assert (stored, kind) == (document["buffers"][0]["byteLength"], 0x004E4942)
    assert length % 4 == stored % 4 == 0
    for accessor in document["accessors"]:
        view = document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        size = {"VEC3": 12, "SCALAR": 4}[accessor["type"]]
        assert accessor["count"] * size == view["byteLength"]
    assert [node["name"] for node in document["nodes"]] == [surface.name for surface in SURFACES]
    assert [p.name for p in tmp_path.iterdir()] == ["a.glb"]


@pytest.mark.parametrize(("ending", "reader"), [(".vtp", vtkXMLPolyDataReader), (".stl", vtkSTLReader)])
def test_vtk_reads_single_surfaces(tmp_path, ending, reader):
    written = write_surfaces(tmp_path, SURFACES, ending)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"Tumor_gr_ter{ending}", f"skin{ending}"]
    for surface in SURFACES:
        opened = reader()
        opened.SetFileName(str(written[surface.name]))
        opened.Update()
        same_corners(vtk_to_numpy(opened.GetOutput().GetPoints().GetData()).astype(float), surface.mesh)
        if ending == ".vtp":
            assert opened.GetOutput().GetFieldData().GetAbstractArray("SPACE").GetValue(0) == "LPS"
        else:
            assert b"LPS" in written[surface.name].read_bytes()[:80]


def test_no_name_leaves_the_folder_or_meets_another():
    names = [
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "A:b",
        "CON",
        "con.x",
        "",
        "..",
        "ü",
        "a b",
        "A_B",
        "x" * 500,
        "-rf",
        ".h",
    ]
    stems = file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        assert stem and stem[0] not in ".-" and stem[-1] not in ". " and len(stem) < 90
        assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert stem.split(".")[0].lower() not in ("con", "nul")
    assert stems[0] == "etc_passwd" and stems[1:3] == ["a_b", "a_b-2"]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"\.glb or \.gltf"):
        write_gltf(tmp_path / "a.obj", SURFACES)
    with pytest.raises(OptionError, match="used twice"):
        write_gltf(tmp_path / "a.glb", [SURFACES[0], SURFACES[0]])
    with pytest.raises(OptionError, match="no surface"):
        write_gltf(tmp_path / "a.glb", [])
    with pytest.raises(OptionError, match=r"\.vtp or \.stl"):
        write_surfaces(tmp_path, SURFACES, ".ply")
    assert list(tmp_path.iterdir()) == []
