"""Cases that must be refused: each with the words that its one sentence must hold."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from small_case import (
    LIVER,
    TUMOUR,
    VESSEL,
    ball,
    centre_mm,
    grid,
    labels,
    table,
    write_case,
    write_case_with_mesh,
)

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.grid import Grid
from needleplan.io.nifti import write_labels_nifti


def vessel_ball() -> SurfaceMesh:
    return ball(centre_mm(VESSEL), 8.0)


def text_case(old: str, new: str) -> Callable[[Path], Path]:
    """The whole case with one piece of its manifest replaced."""

    def build(folder: Path) -> Path:
        path = write_case(folder)
        text = path.read_text()
        assert old in text, f"{old!r} is not in the manifest"
        path.write_text(text.replace(old, new, 1))
        return path

    return build


def file_case(ending: str, keep: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """The case with its vessel as a surface file of that format, its bytes changed."""

    def build(folder: Path) -> Path:
        path = write_case_with_mesh(folder, vessel_ball(), ending)
        file = folder / f"vessel.{ending}"
        file.write_bytes(keep(file.read_bytes()))
        return path

    return build


def labels_case(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """The case with its label file changed."""

    def build(folder: Path) -> Path:
        path = write_case(folder)
        change(folder / "labels.nii.gz")
        return path

    return build


def other_labels(name: str, content: bytes, more: str = "") -> Callable[[Path], Path]:
    """The case with its bone from another label file of this content."""

    def build(folder: Path) -> Path:
        path = write_case(folder, bone=table("bone", "bone", [1], name, more))
        (folder / name).write_bytes(content)
        return path

    return build


def mesh_case(change: Callable[[SurfaceMesh], SurfaceMesh], **options: str) -> Callable[[Path], Path]:
    """The case with its vessel as a changed surface."""
    return lambda folder: write_case_with_mesh(folder, change(vessel_ball()), **options)


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_nan(data: bytes) -> bytes:
    start = data.index(b"end_header\n") + len(b"end_header\n")
    return data[:start] + np.array(np.nan, "<f8").tobytes() + data[start + 8 :]


def with_bad_index(data: bytes) -> bytes:
    return data[:-4] + np.array(99999, "<i4").tobytes()


def entity_bomb(data: bytes) -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE bomb [<!ENTITY a0 "ha">{entities}]>'.encode()
    return head + data[data.index(b"<VTKFile") :]


def gzip_bomb(path: Path) -> None:
    """A header of a few voxels, followed by 64 MiB of zeros in 64 KiB."""
    header = gzip.decompress(path.read_bytes())[:352]
    path.write_bytes(gzip.compress(header + bytes(64 * 1024 * 1024)))


def huge_header(path: Path) -> None:
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[42:48] = np.array([32767, 32767, 32767], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(data)))


def believable_huge_header(path: Path) -> None:
    """Below the limit of voxels, but far more than so small a file can hold."""
    data = bytearray(gzip.decompress(path.read_bytes())[:400])
    data[42:48] = np.array([1000, 1000, 1000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(data)))


def target_moved_out(folder: Path) -> Path:
    values = labels()
    values[values == TUMOUR] = LIVER
    values[31:34, 18:22, 12:18] = TUMOUR
    return write_case(folder, values)


def target_not_in_liver(folder: Path) -> Path:
    values = labels()
    values[values == TUMOUR] = LIVER
    values[31:34, 18:22, 12:18] = TUMOUR
    return write_case(folder, values, liver=table("liver", "organ", [LIVER, VESSEL]))


def target_cut(folder: Path) -> Path:
    """The image ends in the middle of the tumour."""
    whole = labels()
    path = write_case(folder)
    write_labels_nifti(folder / "labels.nii.gz", grid().cropped((15, 0, 0), (33, 40, 30)), whole[15:])
    return path


def flipped_target(folder: Path) -> Path:
    """The tumour's own file was written without converting RAS to LPS."""
    path = write_case(folder, tumour=table("tumour", "target", [1], "tumour.nii.gz"))
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_labels_nifti(folder / "tumour.nii.gz", Grid(grid().shape, flip @ grid().T_PV), (labels() == TUMOUR) * 1)
    return path


def symbolic_link(folder: Path) -> Path:
    """The source is a link to a good file outside the case's folder."""
    path = write_case(folder / "case")
    (folder / "case" / "labels.nii.gz").rename(folder / "elsewhere.nii.gz")
    (folder / "case" / "labels.nii.gz").symlink_to(folder / "elsewhere.nii.gz")
    return path


def parent_path(folder: Path) -> Path:
    path = write_case(folder / "case", bone=table("bone", "bone", [5], "../labels.nii.gz"))
    write_labels_nifti(folder / "labels.nii.gz", grid(), labels())
    return path


def overlapping(mesh: SurfaceMesh) -> SurfaceMesh:
    n = len(mesh.vertices_mm)
    return SurfaceMesh(
        np.concatenate([mesh.vertices_mm, mesh.vertices_mm + np.array([3.0, 0.5, 0.0])]),
        np.concatenate([mesh.faces, mesh.faces + n]),
    )


def no_skin(folder: Path) -> Path:
    return write_case(folder, skin="")


def far_away(folder: Path) -> Path:
    """Without a skin, a bone that lies half a metre away from everything else."""
    entry = '[entry]\nshape = "grown"\nstructures = ["liver"]\ngrow_mm = 30\n'
    path = write_case(folder, skin="", bone=table("bone", "bone", [1], "bone.nii.gz"), extra=entry)
    moved = np.array(grid().T_PV)
    moved[0, 3] += 500
    write_labels_nifti(folder / "bone.nii.gz", Grid(grid().shape, moved), (labels() == 5) * 1)
    return path


NRRD = (
    "NRRD0004\ntype: uchar\ndimension: 3\n{space}sizes: {sizes}\nspace directions: (3,0,0) (0,3,0) (0,0,3)\n"
    "space origin: (0,0,0)\nencoding: raw\n{more}\n"
)
_LPS = "space: left-posterior-superior\n"
_VTI = (
    '<VTKFile type="ImageData" version="0.1"><ImageData WholeExtent="0 9 0 9 0 9"><Piece Extent="0 9 0 9 0 9">'
    '<PointData Scalars="a"><DataArray type="UInt8" Name="a" format="ascii">'
)
_STATED = 'frame = "LPS"\nunit = "mm"'

#: Name, function that writes the case into an empty folder and returns the manifest's path, words of the sentence.
BROKEN: list[tuple[str, Callable[[Path], Path], str]] = [
    ("no manifest", lambda folder: folder / "case.toml", "no such file"),
    ("empty manifest", lambda f: (f.joinpath("case.toml").touch(), f / "case.toml")[1], "empty"),
    ("not toml", text_case("version = 1", "version = = 1"), "not valid TOML"),
    ("key twice", text_case("version = 1", "version = 1\nversion = 1"), "not valid TOML"),
    ("not utf-8", lambda f: (f.joinpath("c.toml").write_bytes(b"name = '\xff\xfe'"), f / "c.toml")[1], "UTF-8"),
    ("huge manifest", lambda f: (f.joinpath("c.toml").write_bytes(b"#" * 2**21), f / "c.toml")[1], "limit"),
    ("deep manifest", lambda f: (f.joinpath("c.toml").write_text("a = " + "[" * 50_000), f / "c.toml")[1], "TOML"),
    ("other schema", text_case("needleplan.case", "other.case"), "schema"),
    ("other version", text_case("version = 1", "version = 2"), "version"),
    ("unknown key", text_case("labels = [3]", "lables = [3]"), "did you mean 'labels'"),
    ("unknown top key", text_case("position", "postion"), "did you mean 'position'"),
    ("missing key", text_case('position = "supine"\n', ""), "'position' is missing"),
    ("unknown role", text_case('role = "vessel"', 'role = "vesel"'), "did you mean 'vessel'"),
    ("duplicate name", text_case('name = "bone"', 'name = "vessel"'), "used twice"),
    ("two targets", text_case('role = "vessel"', 'role = "target"'), "exactly one structure"),
    ("no target", text_case('role = "target"', 'role = "no_go"'), "exactly one structure"),
    ("negative clearance", text_case("labels = [5]", "labels = [5]\nclearance_mm = -1.0"), "clearance_mm"),
    ("nan clearance", text_case("labels = [5]", "labels = [5]\nclearance_mm = nan"), "clearance_mm"),
    ("text clearance", text_case("labels = [5]", 'labels = [5]\nclearance_mm = "2"'), "clearance_mm"),
    ("no skin and no entry", no_skin, "[entry]"),
    ("component beyond the last", text_case("labels = [3]", "labels = [3]\ncomponent = { rank = 9 }"), "rank 9"),
    ("unknown label", text_case("labels = [5]", "labels = [55]"), "its labels are 1, 2, 3, 4, 5, 6"),
    ("unknown segment", text_case("labels = [5]", 'labels = ["ribs"]'), "no segment named 'ribs'"),
    ("missing file", text_case('"labels.nii.gz"', '"label.nii.gz"'), "no such file"),
    ("path with parent", parent_path, "must not leave its folder"),
    ("absolute path", text_case('"labels.nii.gz"', '"/etc/hostname"'), "relative path"),
    ("link out of the folder", symbolic_link, "symbolic link"),
    ("no data folder", text_case("version = 1", 'version = 1\nsources_from = "data"'), "NEEDLEPLAN_DATA"),
    ("other format", text_case('"labels.nii.gz"', '"case.toml"'), "must end in"),
    ("empty label file", labels_case(lambda p: p.write_bytes(b"")), "is empty"),
    ("truncated nifti", labels_case(lambda p: p.write_bytes(cut_in_half(p.read_bytes()))), "truncated"),
    ("gzip bomb", labels_case(gzip_bomb), "more data than"),
    ("10^15 voxels in nifti", labels_case(huge_header), "more than the limit"),
    ("more voxels than the file can hold", labels_case(believable_huge_header), "truncated or damaged"),
    ("nrrd without space", other_labels("b.nrrd", NRRD.format(space="", sizes="9 9 9", more="").encode()), "space"),
    (
        "truncated nrrd",
        other_labels("b.nrrd", NRRD.format(space=_LPS, sizes="9 9 9", more="").encode() + b"\x01" * 99),
        "truncated",
    ),
    (
        "10^15 voxels in nrrd",
        other_labels("b.nrrd", NRRD.format(space=_LPS, sizes="100000 100000 100000", more="").encode()),
        "more than the limit",
    ),
    (
        "detached nrrd outside",
        other_labels("b.nhdr", NRRD.format(space=_LPS, sizes="9 9 9", more="data file: ../secret.raw\n").encode()),
        "outside the folder",
    ),
    ("vti without frame", other_labels("b.vti", _VTI.encode()), "neither frame nor unit"),
    ("truncated vti", other_labels("b.vti", (_VTI + "1 " * 500).encode(), _STATED), "truncated"),
    (
        "10^15 voxels in vti",
        other_labels(
            "b.vti",
            (
                _VTI.replace("0 9 0 9 0 9", "0 99999 0 99999 0 99999") + "1 1</DataArray></PointData></Piece>"
                "</ImageData></VTKFile>"
            ).encode(),
            _STATED,
        ),
        "more than the limit",
    ),
    (
        "mesh without unit",
        text_case(
            'role = "bone"\nsource = "labels.nii.gz"\nlabels = [5]',
            'role = "bone"\nsource = "b.stl"\nframe = "LPS"',
        ),
        "no such file|unit",
    ),
    ("truncated stl", file_case("stl", cut_in_half), "truncated"),
    ("truncated ply", file_case("ply", cut_in_half), "truncated"),
    ("truncated vtp", file_case("vtp", cut_in_half), "truncated"),
    ("truncated obj", file_case("obj", cut_in_half), "names vertex|not a vertex|no face|not closed"),
    ("empty mesh file", file_case("stl", lambda data: b""), "is empty"),
    ("stl with a huge count", file_case("stl", lambda data: data[:80] + b"\xff" * 4 + data[84:]), "truncated"),
    ("nan vertex", file_case("ply", with_nan), "not a finite number"),
    ("index out of range", file_case("ply", with_bad_index), "names vertex 99999"),
    ("entity bomb", file_case("vtp", entity_bomb), "entities"),
    ("metres as millimetres", mesh_case(lambda m: SurfaceMesh(m.vertices_mm * 1e-3, m.faces)), "metres read as"),
    ("millimetres as metres", mesh_case(lambda m: m, unit="m"), "millimetres read as"),
    ("holes", mesh_case(lambda m: SurfaceMesh(m.vertices_mm, m.faces[40:])), "not closed"),
    ("overlapping shells", mesh_case(overlapping), "cross each other"),
    ("flat surface", mesh_case(lambda m: SurfaceMesh(m.vertices_mm * [1, 1, 0], m.faces)), "no volume|no face"),
    ("wrong frame of a mesh", mesh_case(lambda m: m, frame="RAS"), "of it lies inside"),
    ("flipped target", flipped_target, "of the target lies inside"),
    ("target apart from its organ", target_moved_out, "surface is surrounded by liver"),
    ("target outside its organ", target_not_in_liver, "0 % of the target lies inside liver"),
    ("target cut by the image", target_cut, "cuts the target"),
    ("far from everything", far_away, "away from all other"),
]

assert len({name for name, _, _ in BROKEN}) == len(BROKEN)
