"""3D Slicer reads what is written here to the same places, and what it writes is read back here."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.grid import Grid, ScalarField, VoxelMask
from needleplan.io.dicom.coding import coding_of
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.itk_transforms import read_transform, write_transform
from needleplan.io.label_writers import (
    WrittenSegment,
    write_field_nifti,
    write_named_nifti,
    write_segmentation,
)
from needleplan.io.labels import read_labels
from needleplan.io.meshes import read_mesh
from needleplan.io.slicer_markups import MarkupLine, MarkupList, MarkupPoint, read_markups, write_markups
from needleplan.io.surface_files import NamedSurface, write_surfaces

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-slicer" / "bin" / "python"
needs_slicer = pytest.mark.skipif(
    not PYTHON.exists(), reason="3D Slicer as a library is not there: .ci/peers makes .venv-slicer"
)
#: From RAS, in which Slicer answers, to LPS and back.
TURN = np.diag([-1.0, -1.0, 1.0])
TURN4 = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (13, 11, 8)
COLOR = (0.25, 0.5, 0.75)


def rotation(axis: tuple[float, float, float], angle: float) -> FloatArray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def oblique_grid(mirrored: bool) -> Grid:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((1, 2, -0.5), 0.7) * [0.7, 1.3, 2.9] * [1, -1 if mirrored else 1, 1]
    matrix[:3, 3] = [-31.25, 57.5, -402.125]
    return Grid(SHAPE, matrix)


def masks(grid: Grid) -> dict[str, VoxelMask]:
    """Asymmetric solids of which two overlap."""
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[2:9, 3:5, 2] = lesion[2, 3:9, 2:6] = True
    vessel = np.zeros(SHAPE, dtype=bool)
    vessel[5:12, 4, 2:4] = True
    far = np.zeros(SHAPE, dtype=bool)
    far[10:12, 8:10, 5:8] = True
    return {n: VoxelMask.cropped(grid, m) for n, m in {"lesion": lesion, "vessel": vessel, "far": far}.items()}


def solid() -> SurfaceMesh:
    vertices = np.array([[31.5, -7.25, 400.0], [52.0, -3.0, 405.5], [35.0, 21.0, 409.0], [38.25, 1.5, 433.0]])
    return SurfaceMesh(vertices, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))


POSE = RigidTransform.from_parts(Frame.PATIENT, Frame.NEEDLE, rotation((0.3, -1, 2), 1.1), [-45.5, 88.25, -512.125])
AXES = rotation((1, 1, 0.2), 0.5)


def write_everything(folder: Path) -> None:
    start = MarkupPoint("entry", np.array([-12.5, 33.25, 140.0]), AXES, "skin")
    end = MarkupPoint("tip", np.array([28.0, -7.125, 61.5]), locked=True)
    line = MarkupLine("needle 1", start, end, COLOR, locked=True)
    hidden = MarkupLine("needle 2", end, start, visible=False)
    targets = MarkupList("targets", (end, MarkupPoint("läsion", np.array([1.0, 2.0, 3.0]), visible=False)))
    write_markups(folder / "lps.mrk.json", [line, hidden, targets])
    write_markups(folder / "ras.mrk.json", [line, targets], FileFrame.RAS)
    for name, mirrored in (("proper", False), ("mirrored", True)):
        grid = oblique_grid(mirrored)
        segments = [WrittenSegment(n, m, COLOR, coding_of("liver")) for n, m in masks(grid).items()]
        write_segmentation(folder / f"{name}.seg.nrrd", grid, segments)
        write_segmentation(folder / f"{name}-one.seg.nrrd", grid, segments[:1])
        write_named_nifti(folder / f"{name}.nii.gz", grid, segments[:1])
        values = np.random.default_rng(1).normal(size=SHAPE)
        write_field_nifti(folder / f"{name}-field.nii", ScalarField(grid, values), "made up, mm")
    for ending in (".vtp", ".stl"):
        write_surfaces(folder, [NamedSurface(f"solid{ending}", solid())], ending)
    for ending in ("tfm", "h5"):
        write_transform(folder / f"pose.{ending}", POSE)


@pytest.fixture(scope="module")
def slicer(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict, Path]:
    """What Slicer reads, what it says of its own files, and the folder of these."""
    source, target = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("slicers")
    write_everything(source)
    command = [str(PYTHON), str(Path(__file__).with_name("slicer_peer.py")), str(source), str(target)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    # Slicer warns where a surface states no frame and one must be guessed.
    assert "coordinate system" not in (run.stdout + run.stderr).lower()
    answer = json.loads(run.stdout.strip().splitlines()[-1])
    return answer["read"], answer["written"], target


@needs_slicer
@pytest.mark.parametrize("name", ["lps", "ras"])
def test_markups_are_where_they_were_written(slicer, name):
    found = {markup["name"]: markup for markup in slicer[0][f"{name}.mrk.json"]}
    line, targets = found["needle 1"], found["targets"]
    assert (line["kind"], targets["kind"]) == ("Line", "Fiducial")
    assert line["locked"] and not targets["locked"] and line["color"] == pytest.approx(COLOR)
    entry, tip = line["points"]
    np.testing.assert_allclose(TURN @ entry["position"], [-12.5, 33.25, 140.0], atol=1e-4)
    np.testing.assert_allclose(TURN @ tip["position"], [28.0, -7.125, 61.5], atol=1e-4)
    np.testing.assert_allclose(TURN @ np.array(entry["axes"]), AXES, atol=1e-9)
    np.testing.assert_allclose(tip["axes"], np.eye(3), atol=1e-12)
    assert (entry["label"], entry["description"], tip["locked"], entry["locked"]) == ("entry", "skin", True, False)
    assert [point["label"] for point in targets["points"]] == ["tip", "läsion"]
    assert [point["visible"] for point in targets["points"]] == [True, False]
    if name == "lps":
        assert not found["needle 2"]["visible"] and line["visible"]


@needs_slicer
@pytest.mark.parametrize("name", ["proper", "mirrored", "proper-one", "mirrored-one"])
def test_segments_have_their_voxels_in_their_places(slicer, name):
    grid = oblique_grid(name.startswith("mirrored"))
    expected = masks(grid)
    found = {segment["name"]: segment for segment in slicer[0][f"{name}.seg.nrrd"]}
    assert list(found) == (["lesion"] if name.endswith("one") else list(expected))
    for key, segment in found.items():
        mask = expected[key]
        points = mask.grid.to_patient(np.argwhere(mask.inside)) @ TURN
        assert segment["voxels"] == len(points)
        np.testing.assert_allclose(segment["centre"], points.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(segment["moments"], np.cov(points.T), atol=1e-3)
        np.testing.assert_allclose(segment["least"], points.min(axis=0), atol=1e-4)
        np.testing.assert_allclose(segment["greatest"], points.max(axis=0), atol=1e-4)
        assert segment["color"] == pytest.approx(COLOR)
        assert "SCT^10200004^Liver" in segment["terminology"]


@needs_slicer
def test_a_flipped_axis_is_noticed(slicer):
    """The checks above fail for the mirrored file when the proper one is expected."""
    points = {}
    for mirrored in (False, True):
        mask = masks(oblique_grid(mirrored))["lesion"]
        points[mirrored] = mask.grid.to_patient(np.argwhere(mask.inside)) @ TURN
    centre = np.array(slicer[0]["mirrored.seg.nrrd"][0]["centre"])
    assert np.abs(centre - points[True].mean(axis=0)).max() < 1e-4
    assert np.abs(centre - points[False].mean(axis=0)).max() > 1.0
    # Slicer answers in RAS; taken for LPS, nothing fits.
    assert np.abs(centre - points[True].mean(axis=0) @ TURN).max() > 1.0


@needs_slicer
@pytest.mark.parametrize("mirrored", [False, True])
def test_volumes_lie_on_their_grid(slicer, mirrored):
    grid, name = oblique_grid(mirrored), "mirrored" if mirrored else "proper"
    labels, field = slicer[0][f"{name}.nii.gz"], slicer[0][f"{name}-field.nii"]
    mask = masks(grid)["lesion"]
    points = mask.grid.to_patient(np.argwhere(mask.inside)) @ TURN
    np.testing.assert_allclose(labels["centre"], points.mean(axis=0), atol=1e-4)
    assert labels["sum"] == len(points)
    values = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32).astype(float)
    assert (field["type"], field["shape"]) == ("float32", list(SHAPE))
    assert field["sum"] == pytest.approx(values.sum(), abs=1e-3)
    np.testing.assert_allclose(
        field["centre"], (grid.centres_mm() * values.reshape(-1, 1)).sum(axis=0) @ TURN / values.sum(), atol=1e-2
    )
    # Slicer turns a left-handed volume right-handed and its voxels with it; the corners tell.
    corners = np.array([[i, j, k, 1] for i in (0, 12) for j in (0, 10) for k in (0, 7)])
    there = (corners @ np.array(field["affine"]).T)[:, :3]
    for point in (corners @ (TURN4 @ grid.T_PV).T)[:, :3]:
        assert np.linalg.norm(there - point, axis=1).min() < 1e-4


@needs_slicer
@pytest.mark.parametrize("ending", [".vtp", ".stl"])
def test_surfaces_have_their_corners(slicer, ending):
    found = slicer[0][f"solid{ending}{ending}"]
    points = np.array(found["points"]) @ TURN
    for corner in solid().vertices_mm:
        assert np.linalg.norm(points - corner, axis=1).min() < 1e-4
    # Two axes are turned, so that the faces still look outward.
    assert found["signed"] == pytest.approx(solid().volume_mm3, rel=1e-5)


@needs_slicer
@pytest.mark.parametrize("ending", ["tfm", "h5"])
def test_transforms_lead_to_the_parent(slicer, ending):
    found = np.array(slicer[0][f"pose.{ending}"])
    np.testing.assert_allclose(TURN4 @ found @ TURN4, POSE.matrix, atol=1e-9)
    # The tip of the needle is its origin, and its axis z stays z in Slicer.
    np.testing.assert_allclose(TURN @ found[:3, 3], POSE.translation, atol=1e-9)
    np.testing.assert_allclose(TURN @ found[:3, 2], POSE.rotation[:, 2], atol=1e-12)
    assert np.abs(TURN4 @ found @ TURN4 - POSE.inverse().matrix).max() > 1.0


@needs_slicer
def test_slicers_markups_are_read(slicer):
    folder = slicer[2]
    line = read_markups(folder / "line.mrk.json").lines[0]
    np.testing.assert_allclose(line.start.position_mm, [-10.5, 20.25, 30.125], atol=1e-12)
    np.testing.assert_allclose(line.end.position_mm, [41.0, -52.5, 63.75], atol=1e-12)
    assert line.locked and line.color == pytest.approx((0.25, 0.5, 0.75)) and line.name == "line"
    assert line.start.orientation is not None
    np.testing.assert_allclose(TURN @ line.start.orientation, np.eye(3), atol=1e-12)
    found = read_markups(folder / "points.mrk.json")
    np.testing.assert_allclose(found.lists[0].positions_mm, [[-1.5, -2.5, 3.5], [-7.0, 8.0, 9.0]], atol=1e-12)
    assert [point.label for point in found.lists[0].points] == ["landmark 0", "landmark 2"]
    assert any("no position" in note for note in found.notes)


@needs_slicer
@pytest.mark.parametrize("ending", ["tfm", "h5"])
def test_slicers_transforms_are_read(slicer, ending):
    turn = np.eye(4)
    turn[:3, :3] = rotation((1, -2, 0.5), np.radians(33.0))
    turn[:3, 3] = [12.5, -7.25, 101.0]
    pose = read_transform(slicer[2] / f"turn.{ending}", Frame.PATIENT, Frame.REFERENCE)
    assert (pose.parent, pose.child) == (Frame.PATIENT, Frame.REFERENCE)
    np.testing.assert_allclose(TURN4 @ pose.matrix @ TURN4, turn, atol=1e-9)


@needs_slicer
def test_slicers_segmentation_and_model_are_read(slicer):
    volume = read_labels(slicer[2] / "own.seg.nrrd")
    value = next(number for number, name in volume.names.items() if name == "lesion")
    points = volume.grid.to_patient(np.argwhere(volume.labels == value)) @ TURN
    expected = np.array(slicer[1]["lesion"])
    assert len(points) == len(expected)
    for point in expected:
        assert np.linalg.norm(points - point, axis=1).min() < 1e-4
    cone = read_mesh(slicer[2] / "cone.vtp", FileFrame.LPS, FileUnit.MILLIMETRE)
    low, high = (cone.vertices_mm @ TURN).min(axis=0), (cone.vertices_mm @ TURN).max(axis=0)
    np.testing.assert_allclose(np.stack([low, high], axis=1).ravel(), slicer[1]["cone"], atol=1e-4)
    assert cone.volume_mm3 > 0
