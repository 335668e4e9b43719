"""Surfaces: every format brings an asymmetric solid to the same place in LPS mm, and broken files are refused."""

import base64
import resource

import numpy as np
import pytest
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkIOGeometry import vtkOBJWriter, vtkSTLWriter
from vtkmodules.vtkIOLegacy import vtkPolyDataWriter
from vtkmodules.vtkIOPLY import vtkPLYWriter
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.meshes import fan, read_mesh, write_mesh

LPS, RAS, LAS, MM = FileFrame.LPS, FileFrame.RAS, FileFrame.LAS, FileUnit.MILLIMETRE


def solid() -> SurfaceMesh:
    """A sheared, off-centre tetrahedron cut in four: no symmetry hides a flip."""
    vertices = np.array([[31.5, -7.25, 400.0], [52.0, -3.0, 405.5], [35.0, 21.0, 409.0], [38.25, 1.5, 433.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    mesh = SurfaceMesh(vertices, faces)
    assert mesh.is_watertight and mesh.volume_mm3 > 1000
    return mesh


def same_solid(mesh: SurfaceMesh, other: SurfaceMesh, tolerance: float = 1e-4) -> None:
    """The same triangles in the same winding, in whatever order."""

    def ordered(m: SurfaceMesh) -> np.ndarray:
        triangles = [np.roll(t, -int(np.lexsort(t.T)[0]), axis=0) for t in m.triangles_mm]
        return np.array(sorted(t.round(3).tolist() for t in triangles))

    np.testing.assert_allclose(ordered(mesh), ordered(other), atol=tolerance + 1e-3)
    np.testing.assert_allclose(mesh.bounds_mm, other.bounds_mm, atol=tolerance)
    assert mesh.volume_mm3 == pytest.approx(other.volume_mm3, rel=1e-6)
    assert mesh.is_watertight and len(mesh.vertices_mm) == len(other.vertices_mm)


@pytest.mark.parametrize("ending", ["stl", "ply", "obj", "vtp"])
def test_own_files_come_back(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_mesh(path, solid())
    same_solid(read_mesh(path, LPS, MM), solid())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_frame_in_the_file_contradicts_the_stated_one(tmp_path):
    write_mesh(tmp_path / "a.vtp", solid())
    with pytest.raises(CaseError, match="field SPACE"):
        read_mesh(tmp_path / "a.vtp", RAS, MM)


def test_unknown_ending_is_not_written(tmp_path):
    with pytest.raises(CaseError, match="written as"):
        write_mesh(tmp_path / "a.dae", solid())
    assert list(tmp_path.iterdir()) == []


def poly_data(mesh: SurfaceMesh, quads: bool = False) -> vtkPolyData:
    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices_mm), deep=True))
    cells = vtkCellArray()
    for face in mesh.faces:
        cells.InsertNextCell(3)
        for corner in face:
            cells.InsertCellPoint(int(corner))
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    return data


VTK_WRITERS = {
    "ascii.stl": lambda: (vtkSTLWriter(), "SetFileTypeToASCII"),
    "binary.stl": lambda: (vtkSTLWriter(), "SetFileTypeToBinary"),
    "ascii.ply": lambda: (vtkPLYWriter(), "SetFileTypeToASCII"),
    "binary.ply": lambda: (vtkPLYWriter(), "SetFileTypeToBinary"),
    "text.obj": lambda: (vtkOBJWriter(), None),
    "ascii.vtp": lambda: (vtkXMLPolyDataWriter(), "SetDataModeToAscii"),
    "binary.vtp": lambda: (vtkXMLPolyDataWriter(), "SetDataModeToBinary"),
    "appended.vtp": lambda: (vtkXMLPolyDataWriter(), "SetDataModeToAppended"),
    "ascii.vtk": lambda: (vtkPolyDataWriter(), "SetFileTypeToASCII"),
    "binary.vtk": lambda: (vtkPolyDataWriter(), "SetFileTypeToBinary"),
    "old.vtk": lambda: (vtkPolyDataWriter(), "SetFileVersion"),
}


def vtk_file(tmp_path, name, mesh):
    writer, setting = VTK_WRITERS[name]()
    if setting == "SetFileVersion":
        writer.SetFileVersion(42)
    elif setting:
        getattr(writer, setting)()
    writer.SetFileName(str(tmp_path / name))
    writer.SetInputData(poly_data(mesh))
    assert writer.Write()
    return tmp_path / name


@pytest.mark.parametrize("name", VTK_WRITERS)
def test_files_of_vtk_are_read(tmp_path, name):
    # VTK's text writers round to six digits.
    same_solid(read_mesh(vtk_file(tmp_path, name, solid()), LPS, MM), solid(), 1e-3)


@pytest.mark.parametrize("ending", ["stl", "ply", "obj", "vtp"])
@pytest.mark.parametrize(("frame", "signs"), [(RAS, (-1, -1, 1)), (LAS, (1, -1, 1))])
def test_frame_and_unit_are_converted_at_the_door(tmp_path, ending, frame, signs):
    """The file of another program: its own frame, in metres, and outward in that frame."""
    mesh = solid()
    faces = mesh.faces if np.prod(signs) > 0 else mesh.faces[:, ::-1]
    path = tmp_path / f"a.{ending}"
    other = SurfaceMesh(mesh.vertices_mm * signs * 1e-3, faces)
    if ending == "vtp":
        path = vtk_file(tmp_path, "binary.vtp", other)  # ours would say that it is in LPS
    else:
        write_mesh(path, other)
    result = read_mesh(path, frame, FileUnit.METRE)
    np.testing.assert_allclose(result.bounds_mm, mesh.bounds_mm, atol=1e-4)
    assert result.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=1e-4)
    assert not np.allclose(read_mesh(path, LPS, FileUnit.METRE).bounds_mm, mesh.bounds_mm, atol=1.0)


def test_obj_with_quads_negative_numbers_and_texture_indices(tmp_path):
    path = tmp_path / "box.obj"
    lines = ["mtllib /etc/passwd"]
    lines += [f"v {x} {y} {z}" for z in (0, 3) for x, y in ((0, 0), (1, 0), (1, 2), (0, 2))]
    lines += ["vt 0 0", "f 4/1 3/1 2/1 1/1", "f -4 -3 -2 -1", "f 1 2 6 5", "f 2//1 3//1 7//1 6//1"]
    lines += ["f 3 4 8 7", "f 4 1 5 8 # side"]
    path.write_text("\n".join(lines))
    mesh = read_mesh(path, LPS, MM)
    assert mesh.is_watertight and mesh.volume_mm3 == pytest.approx(6.0) and len(mesh.faces) == 12


def test_ply_with_mixed_polygons_colours_and_big_endian(tmp_path):
    header = (
        "ply\nformat {} 1.0\nelement vertex 5\nproperty uchar red\nproperty float x\nproperty float y\n"
        "property float z\nelement face 5\nproperty list uchar int vertex_indices\nproperty uchar flags\n"
        "end_header\n"
    )
    points = [(0, 0, 0), (2, 0, 0), (2, 2, 0), (0, 2, 0), (1, 1, 3)]
    polygons = [(3, 2, 1, 0), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)]
    text = "".join(f"7 {x} {y} {z}\n" for x, y, z in points)
    text += "".join(" ".join(map(str, (len(p), *p, 9))) + "\n" for p in polygons)
    (tmp_path / "a.ply").write_text(header.format("ascii") + text)
    body = b"".join(b"\x07" + np.array(p, ">f4").tobytes() for p in points)
    body += b"".join(bytes([len(p)]) + np.array(p, ">i4").tobytes() + b"\x09" for p in polygons)
    (tmp_path / "b.ply").write_bytes(header.format("binary_big_endian").encode() + body)
    for name in ("a.ply", "b.ply"):
        mesh = read_mesh(tmp_path / name, LPS, MM)
        assert mesh.is_watertight and mesh.volume_mm3 == pytest.approx(4.0) and len(mesh.faces) == 6


def test_fan_covers_polygons_of_all_sizes():
    counts = np.array([3, 5, 4])
    corners = np.arange(12)
    expected = [[0, 1, 2], [3, 4, 5], [3, 5, 6], [3, 6, 7], [8, 9, 10], [8, 10, 11]]
    np.testing.assert_array_equal(fan(counts, corners), expected)


def test_frame_and_unit_must_be_stated(tmp_path):
    path = tmp_path / "a.stl"
    write_mesh(path, solid())
    for frame, unit in ((None, MM), (LPS, None)):
        with pytest.raises(CaseError, match="stores neither frame nor unit"):
            read_mesh(path, frame, unit)


@pytest.mark.parametrize("name", VTK_WRITERS)
def test_truncated_files_are_refused(tmp_path, name):
    """Cut anywhere, a file gives an error, or the surface is visibly open; it never passes for whole or empty."""
    path = vtk_file(tmp_path, name, solid())
    whole = path.read_bytes()
    for keep in (0, 1, 40, len(whole) // 3, len(whole) // 2, 2 * len(whole) // 3, len(whole) - 40):
        path.write_bytes(whole[:keep])
        try:
            mesh = read_mesh(path, LPS, MM)
        except CaseError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            # OBJ declares no counts, so a cut between two lines shows only as a hole.
            assert name == "text.obj" and not mesh.is_watertight


def ply_text(vertex="31.5 -7.25 400", count=4, faces=4, corner=2):
    return (
        f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
        f"{vertex}\n52 -3 405.5\n35 21 409\n38.25 1.5 433\n3 0 {corner} 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"
    )


def obj_text(vertex="31.5 -7.25 400", corner=3):
    return f"v {vertex}\nv 52 -3 405.5\nv 35 21 409\nv 38.25 1.5 433\nf 1 {corner} 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"


def vtk_text(vertex="31.5 -7.25 400", points="4", polygons="4 16", corner=2):
    return (
        f"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\nPOINTS {points} float\n{vertex}\n52 -3 405.5\n"
        f"35 21 409\n38.25 1.5 433\nPOLYGONS {polygons}\n3 0 {corner} 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"
    )


def vtp_text(vertex="31.5 -7.25 400", points="4", polys="4", corner=2, head=""):
    return (
        f'{head}<VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"><PolyData>'
        f'<Piece NumberOfPoints="{points}" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" '
        f'NumberOfPolys="{polys}"><Points><DataArray type="Float32" NumberOfComponents="3" format="ascii">'
        f"{vertex} 52 -3 405.5 35 21 409 38.25 1.5 433</DataArray></Points><Polys>"
        f'<DataArray type="Int32" Name="connectivity" format="ascii">0 {corner} 1 0 1 3 1 2 3 2 0 3</DataArray>'
        '<DataArray type="Int32" Name="offsets" format="ascii">3 6 9 12</DataArray></Polys></Piece></PolyData>'
        "</VTKFile>"
    )


TEXTS = {"ply": ply_text, "obj": obj_text, "vtk": vtk_text, "vtp": vtp_text}


@pytest.mark.parametrize("ending", TEXTS)
def test_whole_text_files_are_the_solid(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_text(TEXTS[ending]())
    same_solid(read_mesh(tmp_path / f"a.{ending}", LPS, MM), solid())


@pytest.mark.parametrize("ending", TEXTS)
@pytest.mark.parametrize("vertex", ["31.5 nan 400", "31.5 inf 400"])
def test_vertex_that_is_no_number_is_refused(tmp_path, ending, vertex):
    path = tmp_path / f"a.{ending}"
    path.write_text(TEXTS[ending](vertex=vertex))
    with pytest.raises(CaseError, match=r"a\.\w+: .*(finite|cannot read|fewer|damaged)"):
        read_mesh(path, LPS, MM)


def test_nan_in_binary_stl_is_refused(tmp_path):
    path = tmp_path / "a.stl"
    write_mesh(path, solid())
    data = bytearray(path.read_bytes())
    data[84 + 12 : 84 + 16] = np.array(np.nan, "<f4").tobytes()
    path.write_bytes(data)
    with pytest.raises(CaseError, match="not a finite number"):
        read_mesh(path, LPS, MM)


@pytest.mark.parametrize("ending", TEXTS)
@pytest.mark.parametrize("corner", [99999, -7, 4000000000])
def test_index_out_of_range_is_refused_before_vtk_filters_see_it(tmp_path, ending, corner):
    path = tmp_path / f"a.{ending}"
    path.write_text(TEXTS[ending](corner=corner))
    with pytest.raises(CaseError, match=r"names vertex|cannot read|damaged|fewer"):
        read_mesh(path, LPS, MM)


@pytest.mark.parametrize(
    ("ending", "changes"),
    [
        ("ply", {"count": 10**15}),
        ("ply", {"faces": 10**15}),
        ("ply", {"count": 5}),
        ("ply", {"faces": 0}),
        ("vtk", {"points": str(10**15)}),
        ("vtk", {"polygons": f"{10**15} {10**15}"}),
        ("vtk", {"polygons": "4 99999999999999"}),
        ("vtk", {"points": "-4"}),
        ("vtk", {"points": "5"}),
        ("vtp", {"points": str(10**15)}),
        ("vtp", {"polys": str(10**15)}),
        ("vtp", {"polys": "0"}),
        ("vtp", {"points": "-1"}),
        ("vtp", {"points": "5"}),
        ("vtp", {"polys": "5"}),
    ],
)
def test_declared_sizes_are_checked_before_anything_is_allocated(tmp_path, ending, changes):
    path = tmp_path / f"a.{ending}"
    path.write_text(TEXTS[ending](**changes))
    with pytest.raises(CaseError) as caught:
        read_mesh(path, LPS, MM)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_stl_with_a_huge_count_is_refused(tmp_path):
    path = tmp_path / "a.stl"
    path.write_bytes(bytes(80) + (4_000_000_000).to_bytes(4, "little") + bytes(500))
    with pytest.raises(CaseError, match="truncated"):
        read_mesh(path, LPS, MM)


BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "head", [BOMB, '<!DOCTYPE b SYSTEM "file:///etc/passwd">', '<?xml version="1.0" encoding="UTF-7"?>']
)
def test_entities_and_document_types_never_reach_vtk(tmp_path, head):
    path = tmp_path / "a.vtp"
    path.write_text(vtp_text(head=head))
    with pytest.raises(CaseError, match=r"entities|must begin|UTF-8"):
        read_mesh(path, LPS, MM)


@pytest.mark.parametrize("ending", ["stl", "ply", "obj", "vtp", "vtk"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 200, b"solid\nendsolid\n", b"hello world\n" * 30])
def test_what_is_no_mesh_is_never_an_empty_structure(tmp_path, ending, content):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(CaseError):
        read_mesh(path, LPS, MM)


def test_other_endings_are_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"x")
    with pytest.raises(CaseError, match="must end in"):
        read_mesh(tmp_path / "a.pkl", LPS, MM)


@pytest.mark.parametrize("blocks", [[1, 2**31, 0, 10], [2**31, 2**31, 0, 10], [2**20, 4096, 0, 10]])
def test_compressed_blocks_that_declare_too_much_are_refused(tmp_path, blocks):
    """The head of a compressed array promises gigabytes that are not there."""
    path = vtk_file(tmp_path, "binary.vtp", solid())
    data = path.read_bytes()
    start = data.index(b">", data.index(b"<DataArray", data.index(b"<Points>"))) + 1
    start += len(data[start:]) - len(data[start:].lstrip())
    head = base64.b64encode(np.array(blocks, "<u4").tobytes())
    path.write_bytes(data[:start] + head + data[start + len(head) :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CaseError):
        read_mesh(path, LPS, MM)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
