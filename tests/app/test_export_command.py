"""A plan on an oblique, anisotropic, mirrored grid in the formats of other programs, read back by these."""

import argparse
import dataclasses
import json
import subprocess
from pathlib import Path
from types import MappingProxyType

import nibabel
import numpy as np
import pytest
import trimesh
from small_case import ball, centre_mm, grid, manifest, mesh_table, write_case

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.app import export_formats
from needleplan.app.export_command import MAIN_FILE, add_export, export_plan, run_export
from needleplan.app.export_contents import needle_pose, zone_mesh
from needleplan.app.export_formats import FORMATS, chosen_formats
from needleplan.app.export_masks import masks_of_plan, zone_field
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned
from needleplan.app.pipeline import PlannedCase
from needleplan.case.identity import identity_of
from needleplan.case.load import load_case
from needleplan.errors import GeometryError, OptionError, PlanFileError
from needleplan.frames import Frame
from needleplan.grid import VoxelMask
from needleplan.io.dicom.reference import made_reference, write_reference_series
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.itk_transforms import read_transform
from needleplan.io.label_writers import box_in
from needleplan.io.labels import read_labels
from needleplan.io.meshes import read_mesh, write_mesh
from needleplan.io.plan_file import write_plan
from needleplan.io.slicer_markups import read_markups
from needleplan.io.surface_files import GLTF_AXES
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance, vector3

PYTHON = Path(__file__).parents[2] / ".venv-slicer" / "bin" / "python"
APPLICATOR = "generic-mwa-2450"


def insertion(order: int, offset_mm: np.ndarray, back_mm: float) -> Insertion:
    """A needle to the tumour from the front; with ``back_mm`` it ablates there once more."""
    tip = centre_mm(3) + offset_mm
    along = np.array([0.2, 0.95, -0.1 * order])
    along /= np.linalg.norm(along)
    tips = [tip] if back_mm == 0 else [tip, tip - back_mm * along]
    ablations = tuple(Ablation(vector3(t), 65.0, 300.0) for t in tips)
    return Insertion(vector3(tip - 80.0 * along), vector3(tip), APPLICATOR, ablations, {"vessel": 7.0}, order)


def write_planned(folder: Path) -> PlanFolder:
    """A case of which the vessel is a surface, and a plan of two needles, one with two ablations."""
    folder.mkdir()
    case_file = write_case(folder / "case", vessel=mesh_table("portal vein", "vessel", "vessel.stl"))
    write_mesh(folder / "case" / "vessel.stl", ball(centre_mm(4) + np.array([60.0, 0.0, 0.0]), 9.0))
    case = load_case(case_file)
    options = {"tables": EllipsoidTableModel().catalogue.digest, "setting": "in_vivo"}
    plan = Plan(
        "small", case.content_hash, PlanStatus.PARTIAL, (),
        (insertion(1, np.zeros(3), 14.0), insertion(2, np.array([6.0, 0.0, 4.0]), 0.0)),
        None, {}, 0, 0, None, Provenance("0", options, 0, {}),
    )  # fmt: skip
    plan_folder = PlanFolder(folder / "plan")
    plan_folder.root.mkdir()
    write_plan(plan_folder.plan, plan)
    plan_folder.write_source(case_file, None)
    return plan_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> PlanFolder:
    return write_planned(tmp_path_factory.mktemp("export") / "all")


@pytest.fixture(scope="module")
def planned(folder: PlanFolder) -> PlannedCase:
    return load_planned(folder, None)


def export(folder: PlanFolder, out: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    add_export(parser)
    return run_export(parser.parse_args([str(folder.root), "--out", str(out), *words]))


#: All but the sheet, whose pictures take long.
QUICK = ",".join(name for name in FORMATS if name != "sheet")


@pytest.fixture(scope="module")
def out(folder: PlanFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("exported") / "out"
    assert export(folder, result, "--to", QUICK) == 0
    return result


def points_of(mask: VoxelMask) -> np.ndarray:
    return mask.grid.to_patient(np.argwhere(mask.inside))


def test_what_was_written_is_listed(out):
    listed = json.loads((out / MAIN_FILE).read_text(encoding="utf-8"))
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {MAIN_FILE}
    assert set(listed["files"]) == there
    for name in ("plan.mrk.json", "structures.seg.nrrd", "zones.seg.nrrd", "scene.glb", "plan.csv",
                 "nifti/zones.nii.gz", "nifti/zones.json", "transforms/needle_1.tfm", "vtp/portal_vein.vtp",
                 "stl/ablation_zone.stl", "dicom/segmentation.dcm", "dicom/structure-set.dcm"):  # fmt: skip
        assert name in there
    # The name of a case may tell who the patient is.
    assert listed["case_name"] is None
    assert any("portal vein was sampled" in note for note in listed["notes"])


def test_needles_are_lines_and_poses(out, planned):
    markups = read_markups(out / "plan.mrk.json")
    assert [line.name for line in markups.lines] == ["needle 1", "needle 2"]
    for line, one in zip(markups.lines, planned.plan.insertions, strict=True):
        np.testing.assert_allclose(line.start.position_mm, one.entry_mm, atol=1e-9)
        np.testing.assert_allclose(line.end.position_mm, one.tip_mm, atol=1e-9)
        for ending in ("tfm", "h5"):
            pose = read_transform(out / f"transforms/needle_{one.order}.{ending}", Frame.PATIENT, Frame.NEEDLE)
            np.testing.assert_allclose(pose.matrix, needle_pose(one).matrix, atol=1e-9)
            np.testing.assert_allclose(pose.apply([0, 0, -one.depth_mm]), one.entry_mm, atol=1e-9)
    zone = planned.zone_model.zone(planned.plan.insertions)
    middles = markups.lists[0]
    assert [point.label for point in middles.points] == ["1.1", "1.2", "2.1"]
    np.testing.assert_allclose(middles.positions_mm, zone.centres_mm, atol=1e-9)
    assert middles.points[0].description == "65 W, 300 s"


def test_masks_keep_every_voxel(out, planned):
    volume = read_labels(out / "structures.seg.nrrd")
    found = {segment.name: volume.layers[segment.layer] == segment.value for segment in volume.segments}
    assert list(found) == [structure.name for structure in planned.anatomy.case.structures]
    for structure in planned.anatomy.case.structures:
        inside = found[structure.name]
        if isinstance(structure.geometry, VoxelMask):
            np.testing.assert_array_equal(
                inside[box_in(volume.grid, structure.geometry.grid)], structure.geometry.inside
            )
            assert inside.sum() == structure.geometry.inside.sum()
        else:
            tree = planned.queries.tree(planned.anatomy.surface(structure.name))
            np.testing.assert_array_equal(inside.ravel(), tree.contains(volume.grid.centres_mm()))
    zones = read_labels(out / "zones.seg.nrrd")
    every = planned.zone_model.zone(planned.plan.insertions)
    single = [planned.zone_model.zone([one]) for one in planned.plan.insertions]
    assert [s.name for s in zones.segments] == [
        "ablation zone of needle 1", "ablation zone of needle 2", "ablation zone",
    ]  # fmt: skip
    for segment, zone in zip(zones.segments, [*single, every], strict=True):
        inside = zones.layers[segment.layer] == segment.value
        np.testing.assert_array_equal(inside.ravel(), zone.contains(zones.grid.centres_mm()))


def test_nifti_tells_zones_apart_and_holds_the_distance(out, planned):
    volume = read_labels(out / "nifti/zones.nii.gz")
    names = json.loads((out / "nifti/zones.json").read_text(encoding="utf-8"))["labels"]
    assert names["1"] == "ablation zone of needle 1" and " + " in names["3"]
    centres = volume.grid.centres_mm()
    first, second = (planned.zone_model.zone([one]).contains(centres) for one in planned.plan.insertions)
    np.testing.assert_array_equal(np.isin(volume.labels, [1, 3]).ravel(), first)
    np.testing.assert_array_equal(np.isin(volume.labels, [2, 3]).ravel(), second)
    image = nibabel.load(out / "nifti/zone-distance.nii.gz")
    index = np.indices(image.shape).reshape(3, -1).T
    points = (index @ image.affine[:3, :3].T + image.affine[:3, 3]) * [-1.0, -1.0, 1.0]
    zone = planned.zone_model.zone(planned.plan.insertions)
    values = np.asarray(image.dataobj).ravel()
    np.testing.assert_allclose(values, zone.margin_mm(points), atol=1e-3)
    assert values.max() > 5 and values.min() < -5
    # Points of a mirrored axis would have other distances.
    assert np.abs(values - zone.margin_mm(points * [-1, 1, 1])).max() > 5


def test_surfaces_enclose_what_they_should(out, planned):
    scene = trimesh.load_scene(out / "scene.glb")
    meshes = {mesh.metadata["name"]: mesh for mesh in scene.dump()}
    wanted = {s.name for s in planned.anatomy.case.structures} | {"ablation zone", "needle 1", "needle 2"}
    assert wanted <= set(meshes)
    tips = np.asarray(meshes["needle 1"].vertices) * 1000.0 @ GLTF_AXES
    one = planned.plan.insertions[0]
    assert ((tips - one.tip_mm) @ one.direction).max() == pytest.approx(0.0, abs=1e-3)
    zone = planned.zone_model.zone(planned.plan.insertions)
    for path in (out / "vtp/ablation_zone.vtp", out / "stl/ablation_zone.stl"):
        mesh = read_mesh(path, FileFrame.LPS, FileUnit.MILLIMETRE)
        assert mesh.is_watertight
        # Vertices crowd at the crease of the union, where a contour on a grid rounds it off.
        off_mm = np.abs(zone.signed_distance_mm(mesh.vertices_mm))
        assert np.quantile(off_mm, 0.9) < 0.05 and off_mm.max() < 0.5
    shown = np.asarray(meshes["ablation zone"].vertices) * 1000.0 @ GLTF_AXES
    np.testing.assert_allclose(shown.min(axis=0), mesh.bounds_mm[0], atol=1e-3)
    single = planned.zone_model.zone(planned.plan.insertions[1:])
    assert zone_mesh(single).volume_mm3 == pytest.approx(single.surfaces()[0].volume_mm3)


def test_dicom_lies_where_the_case_lies(out, planned):
    volume = read_labels(out / "dicom/segmentation.dcm")
    names = [segment.name for segment in volume.segments]
    assert names[0] == planned.anatomy.case.structures[0].name and names[-1] == "ablation zone of needle 2"
    for segment in volume.segments:
        structure = next((s for s in planned.anatomy.case.structures if s.name == segment.name), None)
        if structure is None or not isinstance(structure.geometry, VoxelMask):
            continue
        points = volume.grid.to_patient(np.argwhere(volume.layers[segment.layer] == segment.value))
        expected = points_of(structure.geometry)
        assert len(points) == len(expected)
        np.testing.assert_allclose(points.mean(axis=0), expected.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(np.cov(points.T), np.cov(expected.T), atol=1e-2)
    assert (out / "dicom/structure-set.dcm").read_bytes()[128:132] == b"DICM"


def test_a_series_gives_the_slices_of_the_dicom_files(folder, planned, tmp_path):
    reference = made_reference(grid(), "images")
    write_reference_series(tmp_path / "series", reference)
    words = ("--to", "dicom-seg,rtstruct", "--reference", str(tmp_path / "series"))
    assert export(folder, tmp_path / "out", *words) == 0
    pydicom = pytest.importorskip("pydicom")
    for name in ("segmentation.dcm", "structure-set.dcm"):
        dataset = pydicom.dcmread(tmp_path / "out/dicom" / name)
        frame = (
            dataset.get("FrameOfReferenceUID") or dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
        )
        assert frame == reference.source.frame_of_reference_uid
        assert str(dataset.PatientName) == ""
    volume = read_labels(tmp_path / "out/dicom/segmentation.dcm")
    target = planned.anatomy.case.target
    segment = next(s for s in volume.segments if s.name == target.name)
    points = volume.grid.to_patient(np.argwhere(volume.layers[segment.layer] == segment.value))
    np.testing.assert_allclose(points.mean(axis=0), points_of(target.geometry).mean(axis=0), atol=1e-4)
    # A case that states its frame of reference has no use for images in another one.
    other, same = (identity_of(None, uid) for uid in ("1.2.3", reference.source.frame_of_reference_uid))
    with pytest.raises(PlanFileError, match="another frame of reference"):
        export_plan(planned, tmp_path / "no", ("rtstruct",), series=tmp_path / "series", identity=other)
    assert not (tmp_path / "no").exists()
    notes = export_plan(planned, tmp_path / "yes", ("rtstruct",), series=tmp_path / "series", identity=same)
    assert not any("frame of reference" in note for note in notes)
    # Images of another place are no reference.
    small = made_reference(grid().cropped((20, 18, 12), (6, 6, 6)))
    write_reference_series(tmp_path / "elsewhere", small)
    with pytest.raises(GeometryError, match="beyond"):
        export(folder, tmp_path / "none", "--to", "dicom-seg", "--reference", str(tmp_path / "elsewhere"))
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(not PYTHON.exists(), reason="3D Slicer as a library is not there: .ci/peers makes .venv-slicer")
def test_slicer_shows_the_plan_where_it_is(out, planned, tmp_path):
    peer = Path(__file__).parents[1] / "io" / "slicer_peer.py"
    run = subprocess.run(
        [str(PYTHON), str(peer), str(out), str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    read = json.loads(run.stdout.strip().splitlines()[-1])["read"]
    masks = masks_of_plan(planned)
    segments = {s["name"]: s for s in read["structures.seg.nrrd"] + read["zones.seg.nrrd"]}
    for segment in (*masks.structures, *masks.zones, masks.whole_zone):
        points = points_of(segment.mask) * [-1.0, -1.0, 1.0]
        found = segments[segment.name]
        assert found["voxels"] == len(points)
        np.testing.assert_allclose(found["centre"], points.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(found["greatest"], points.max(axis=0), atol=1e-4)
    lines = {markup["name"]: markup for markup in read["plan.mrk.json"]}
    for one in planned.plan.insertions:
        tip = np.array(lines[f"needle {one.order}"]["points"][1]["position"]) * [-1.0, -1.0, 1.0]
        np.testing.assert_allclose(tip, one.tip_mm, atol=1e-4)


@pytest.mark.long
def test_the_sheet_comes_along(folder, tmp_path):
    assert export(folder, tmp_path / "out", "--to", "sheet,csv") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {MAIN_FILE, "plan.csv", "plan.html"}


def test_an_export_takes_the_place_of_the_former(folder, planned, tmp_path, monkeypatch):
    target = tmp_path / "out"
    assert export(folder, target, "--to", "markups,tfm") == 0
    assert export(folder, target, "--to", "markups", "--keep-identifiers") == 0
    assert {p.name for p in target.iterdir()} == {MAIN_FILE, "plan.mrk.json"}
    assert json.loads((target / MAIN_FILE).read_text(encoding="utf-8"))["case_name"] == "small"

    def broken(_):
        raise OSError("the disk is full")

    monkeypatch.setattr(export_formats, "FORMATS", MappingProxyType({**FORMATS, "tfm": broken}))
    with pytest.raises(OSError, match="disk is full"):
        export_plan(planned, target, ("markups", "tfm"))
    assert {p.name for p in target.iterdir()} == {MAIN_FILE, "plan.mrk.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(OptionError, match="not written by export"):
        export(folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "photo.jpg").exists()


def test_an_export_never_replaces_a_plan_or_what_is_not_its_own(folder, tmp_path, monkeypatch):
    """Told before plan and case are read; a file that has the name of an export's does not make a folder one."""
    import shutil

    import needleplan.app.outputs as outputs

    copy = PlanFolder(Path(shutil.copytree(folder.root.parent, tmp_path / "copy")) / "plan")
    (copy.root / MAIN_FILE).write_text("{}")
    (copy.root.parent / MAIN_FILE).write_text("{}")
    monkeypatch.setattr(outputs, "load_planned", lambda *_: pytest.fail("the plan was read"))
    for place in (copy.root, copy.root.parent, copy.root / ".." / "plan"):
        with pytest.raises(OptionError, match="is or holds the plan folder"):
            export(copy, place, "--to", "tfm")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MAIN_FILE).write_text('{"files": ["plan.csv"]}')
    (tmp_path / "old" / "reading.txt").write_text("mine")
    for place, said in (("link", "symbolic link"), ("old", "holds reading.txt")):
        with pytest.raises(OptionError, match=said):
            export(copy, tmp_path / place, "--to", "tfm")
    assert copy.plan.is_file() and (tmp_path / "old" / "reading.txt").is_file()


def test_names_stay_in_the_folder(planned, tmp_path):
    names = ["../../evil", "a/b", "A:B", "con", "ü"]
    case = planned.anatomy.case
    structures = [dataclasses.replace(s, name=n) for s, n in zip(case.structures, names, strict=True)]
    surfaces = [dataclasses.replace(s, name=n) for s, n in zip(planned.anatomy.surfaces, names, strict=True)]
    anatomy = dataclasses.replace(
        planned.anatomy, case=dataclasses.replace(case, structures=tuple(structures)), surfaces=tuple(surfaces)
    )
    renamed = dataclasses.replace(planned, anatomy=anatomy)
    export_plan(renamed, tmp_path / "out", ("vtp", "stl", "gltf"))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    stems = sorted(p.stem for p in (tmp_path / "out/stl").iterdir() if "zone" not in p.stem)
    assert stems == ["A_B-2", "_con", "a_b", "evil", "unnamed"]
    assert set(names) <= {m.metadata["name"] for m in trimesh.load_scene(tmp_path / "out/scene.glb").dump()}


def test_formats_are_chosen_by_name():
    assert chosen_formats("tfm, markups,tfm") == ("markups", "tfm")
    assert chosen_formats("all") == tuple(FORMATS)
    assert set(chosen_formats("slicer,stl")) == {"markups", "seg-nrrd", "nifti", "vtp", "tfm", "stl"}
    for wrong in ("", ",", "dicom", "markups,dwg"):
        with pytest.raises(OptionError, match="--to"):
            chosen_formats(wrong)


def test_what_makes_no_sense_is_refused(folder, planned, tmp_path):
    empty = dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, insertions=()))
    with pytest.raises(OptionError, match="no needle"):
        export_plan(empty, tmp_path / "out", ("markups",))
    with pytest.raises(OptionError, match="neither is asked for"):
        export(folder, tmp_path / "out", "--to", "markups", "--reference", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_other_content_is_refused(tmp_path):
    changed = write_planned(tmp_path / "all")
    source = tmp_path / "all" / "case" / "case.toml"
    source.write_text(manifest(vessel=mesh_table("vein", "vessel", "vessel.stl")))
    with pytest.raises(Exception, match="made for other content"):
        export(changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_field_lies_on_the_lattice_of_the_case(planned):
    masks = masks_of_plan(planned)
    field = zone_field(planned, masks.grid)
    index = masks.grid.to_index(field.grid.T_PV[:3, 3])
    np.testing.assert_allclose(index, np.rint(index), atol=1e-9)
