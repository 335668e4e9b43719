"""Structure sets: exact contours, holes that stay holes, voxels whose centres lie within."""

import numpy as np
import pydicom
import pytest
from made_dicom import oblique_grid, placed, segment_of, sphere, torus, united

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import CaseError, GeometryError, OptionError
from needleplan.grid import Grid
from needleplan.io.dicom.contours import cut_by_slices, with_keyholes
from needleplan.io.dicom.rasterise import rasterise, region_mask
from needleplan.io.dicom.reference import made_reference, write_reference_series
from needleplan.io.dicom.source import DicomSource
from needleplan.io.dicom.structure_set import Contour, ContourKind, Region, StructureSet, read_structure_set
from needleplan.io.dicom.structure_set_writer import NamedNeedle, NamedSurface, write_structure_set
from needleplan.io.labels import read_labels

NEEDLE = NamedNeedle("needle 1", (1.25, -2.5, 3.123456), (-40.0, 12.5, 99.875))
SOURCE = DicomSource("1.2", "1.3", "1.4", "RTSTRUCT", "1.5")
UNIT = Grid((60, 50, 40), np.diag([0.5, 0.5, 0.5, 1.0]))


@pytest.fixture(params=[False, True], ids=["proper", "mirrored"])
def grid(request) -> Grid:
    return oblique_grid(request.param, (60, 40, 30), (1.1, 1.7, 2.3))


def area(curve: np.ndarray) -> float:
    points = curve - curve[0]
    return float(np.linalg.norm(0.5 * np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)))


def square(side: float, height: float, centre=(12.1, 11.9), kind=ContourKind.CLOSED_PLANAR) -> Contour:
    x, y = centre
    h = side / 2
    points = np.array([[x - h, y - h], [x + h, y - h], [x + h, y + h], [x - h, y + h]])
    return Contour(kind, np.column_stack([points, np.full(4, height)]))


def mask_of(*contours: Contour, grid: Grid = UNIT) -> np.ndarray:
    volume = rasterise(StructureSet((Region(1, "a", "", contours),), SOURCE), grid)
    return np.asarray(volume.labels > 0)


def test_contours_of_a_sphere_are_circles_in_the_slice_planes(grid):
    cuts = cut_by_slices(placed(sphere(20), grid), grid)
    centre = grid.to_patient((np.asarray(grid.shape) - 1) / 2)
    assert len(cuts) == 18
    sag = 20 - np.sqrt(400 - (20 * 1.2 / 2**5) ** 2 / 3)
    for plane, curves in cuts.items():
        (curve,) = curves
        np.testing.assert_allclose(grid.to_index(curve)[:, 2], plane, atol=1e-9)
        height = (plane - 14.5) * 2.3
        # The mesh lies within the ball, and nowhere deeper than the sag of its longest edge.
        lacking = np.pi * (400 - height**2) - area(curve)
        assert 0 <= lacking <= 2 * np.pi * 20 * sag
        assert np.linalg.norm(curve - centre, axis=1).max() <= 20 + 1e-9


def test_corners_and_faces_in_a_plane_close_every_curve():
    """A box with corners on the slice planes, and a double cone whose corners lie in one."""
    corners = np.array([[x, y, z] for x in (2.0, 6.0) for y in (3.0, 8.0) for z in (1.0, 4.0)])
    import trimesh

    hull = trimesh.convex.convex_hull(corners)
    cuts = cut_by_slices(SurfaceMesh(np.asarray(hull.vertices), np.asarray(hull.faces)), UNIT)
    # The lower face counts as above its plane, the upper one too: five slices of 0.5 mm, from 1.5 to 4.
    assert sorted(cuts) == [3, 4, 5, 6, 7, 8]
    for curves in cuts.values():
        assert [round(area(curve), 9) for curve in curves] == [20.0]
    octahedron = trimesh.convex.convex_hull([[9, 6, 5], [3, 6, 5], [6, 9, 5], [6, 3, 5], [6, 6, 9], [6, 6, 2]])
    cuts = cut_by_slices(SurfaceMesh(np.asarray(octahedron.vertices), np.asarray(octahedron.faces)), UNIT)
    assert [len(curves) for curves in cuts.values()] == [1] * len(cuts)
    np.testing.assert_allclose(area(cuts[10][0]), 18.0)


def test_keyholes_keep_area_and_islands(grid):
    mesh = united(
        placed(sphere(20), grid),
        placed(sphere(14).flipped(), grid),
        placed(sphere(6), grid),
        placed(sphere(3).flipped(), grid),
    )
    axes = (grid.T_PV[:3, :2] / grid.spacing_mm[:2]).T
    curves = cut_by_slices(mesh, grid)[14]
    joined = with_keyholes(curves, axes)
    assert (len(curves), len(joined)) == (4, 2)
    radii = [np.sqrt(r * r - 1.15**2) for r in (20, 14, 6, 3)]
    expected = [np.pi * (radii[0] ** 2 - radii[1] ** 2), np.pi * (radii[2] ** 2 - radii[3] ** 2)]
    np.testing.assert_allclose(sorted(area(one) for one in joined), sorted(expected), rtol=5e-3)


def test_round_trip_of_contours_and_needles(tmp_path, grid):
    reference = made_reference(grid)
    mesh = placed(sphere(20), grid)
    path = tmp_path / "rs.dcm"
    write_structure_set(path, [NamedSurface("tumour", mesh)], [NEEDLE], reference)
    found = read_structure_set(path)
    assert [(one.name, one.interpreted_type) for one in found.regions] == [
        ("tumour", "GTV"),
        ("needle 1", "DEVICE"),
    ]
    assert found.source.frame_of_reference_uid == reference.source.frame_of_reference_uid
    assert found.source.referenced_series_uid == reference.source.series_uid
    needle = found.region("needle 1").contours
    assert [one.kind for one in needle] == [ContourKind.OPEN_PLANAR]
    np.testing.assert_allclose(needle[0].points_mm, [NEEDLE.entry_mm, NEEDLE.tip_mm], atol=1e-4)
    written = [curve for curves in cut_by_slices(mesh, reference.grid).values() for curve in curves]
    for contour, curve in zip(found.region("tumour").contours, written, strict=True):
        np.testing.assert_allclose(contour.points_mm, curve, atol=1e-4)
    dataset = pydicom.dcmread(path)
    uids = dict(zip(reference.instance_uids, range(grid.shape[2]), strict=True))
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        assert len(contour.ContourData) == 3 * contour.NumberOfContourPoints
        plane = uids[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        place = reference.grid.to_index([float(x) for x in contour.ContourData[:3]])
        assert abs(place[2] - plane) < 1e-4
    write_structure_set(tmp_path / "again.dcm", [NamedSurface("tumour", mesh)], [NEEDLE], reference)
    assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "volume_mm3"),
    [
        ("ellipsoid", 4 / 3 * np.pi * 12 * 16 * 22),
        ("torus", 2 * np.pi**2 * 20 * 49),
        ("hollow sphere", 4 / 3 * np.pi * (22**3 - 12**3)),
    ],
)
def test_volumes_agree_with_closed_forms(tmp_path, grid, name, volume_mm3):
    if name == "ellipsoid":
        ball = sphere(1.0)
        mesh = placed(SurfaceMesh(ball.vertices_mm * [12, 16, 22], ball.faces), grid)
    elif name == "torus":
        mesh = placed(torus(20, 7), grid)
    else:
        mesh = united(placed(sphere(22), grid), placed(sphere(12).flipped(), grid))
    reference = made_reference(grid)
    write_structure_set(tmp_path / "rs.dcm", [NamedSurface(name, mesh)], [], reference)
    structures = read_structure_set(tmp_path / "rs.dcm")
    by_planes = 0.0
    for contour in structures.regions[0].contours:
        by_planes += area(contour.points_mm) * reference.step_mm
    np.testing.assert_allclose(by_planes, volume_mm3, rtol=5e-3)
    inside = rasterise(structures, reference.grid).labels > 0
    np.testing.assert_allclose(inside.sum() * grid.voxel_volume_mm3, volume_mm3, rtol=8e-3)
    # Voxel by voxel, against the surface itself.
    centre = grid.to_patient((np.asarray(grid.shape) - 1) / 2)
    if name == "hollow sphere":
        distance = np.linalg.norm(reference.grid.centres_mm() - centre, axis=1).reshape(grid.shape)
        sure = (np.abs(distance - 22) > 0.1) & (np.abs(distance - 12) > 0.1)
        assert (inside == ((distance < 22) & (distance > 12)))[sure].all()


def test_structure_set_beside_its_series_is_a_label_map(tmp_path, grid):
    reference = made_reference(grid)
    write_reference_series(tmp_path / "s", reference)
    path = tmp_path / "s" / "rs.dcm"
    surfaces = [NamedSurface("liver", placed(sphere(22), grid)), NamedSurface("tumour", placed(sphere(9), grid))]
    write_structure_set(path, surfaces, [NEEDLE], reference)
    volume = read_labels(path)
    assert [(one.name, one.layer) for one in volume.segments] == [("liver", 0), ("tumour", 1)]
    assert volume.frame_of_reference_uid == reference.source.frame_of_reference_uid
    assert segment_of(volume, "tumour")[tuple(n // 2 for n in grid.shape)]
    path.rename(tmp_path / "rs.dcm")
    with pytest.raises(CaseError, match=r"rs\.dcm: .* same folder"):
        read_labels(tmp_path / "rs.dcm")


def test_a_voxel_is_inside_where_its_centre_is():
    inside = mask_of(square(3.0, 5.0))
    x, y, z = np.nonzero(inside)
    assert set(z) == {10}
    # Centres at 10.6 .. 13.6 and 10.4 .. 13.4 mm in steps of 0.5.
    assert (x.min() * 0.5, x.max() * 0.5, y.min() * 0.5, y.max() * 0.5) == (11.0, 13.5, 10.5, 13.0)


def test_holes_by_parity_and_by_keyhole_are_the_same():
    ring = square(8.0, 5.0), square(4.0, 5.0)
    apart = mask_of(*ring)
    xor = mask_of(*(Contour(ContourKind.CLOSED_PLANAR_XOR, one.points_mm) for one in ring))
    (keyhole,) = with_keyholes([one.points_mm for one in ring], np.eye(3)[:2])
    joined = mask_of(Contour(ContourKind.CLOSED_PLANAR, keyhole))
    assert apart.sum() == 16 * 16 - 8 * 8
    assert np.array_equal(apart, xor) and np.array_equal(apart, joined)
    island = mask_of(*ring, square(1.0, 5.0))
    assert island.sum() == apart.sum() + 4


def test_planes_reach_half_way_to_their_neighbours_and_gaps_stay_open():
    # Planes every 2 mm on slices of 0.5 mm, one left out.
    inside = mask_of(*(square(6.0, height) for height in (4.0, 6.0, 10.0, 12.0)))
    heights = np.flatnonzero(inside.any(axis=(0, 1))) * 0.5
    assert heights.tolist() == [*np.arange(3.0, 7.0, 0.5), *np.arange(9.0, 13.0, 0.5)]
    # Uneven steps leave no slice out between.
    inside = mask_of(*(square(6.0, height) for height in (4.0, 6.0, 8.6, 10.6)))
    heights = np.flatnonzero(inside.any(axis=(0, 1))) * 0.5
    assert heights.tolist() == np.arange(3.0, 11.6, 0.5).tolist()


def test_contours_across_the_grid_are_read_in_their_own_planes(grid):
    """Sagittal contours of a ball, oblique to every axis of the grid."""
    other = oblique_grid(False, (90, 90, 60), (1.0, 1.0, 1.2))
    motion = placed(sphere(1.0), grid, 1.1).vertices_mm.mean(axis=0)
    matrix = np.eye(4)
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    matrix[:3, :3] = axes * [1.0, 1.0, 1.2]
    matrix[:3, 3] = motion - matrix[:3, :3] @ [45, 45, 29.5]
    other = Grid((90, 90, 60), matrix)
    ball = placed(sphere(18, 5), grid)
    contours = tuple(
        Contour(ContourKind.CLOSED_PLANAR, curve)
        for curves in cut_by_slices(ball, other).values()
        for curve in curves
    )
    start, inside = region_mask(Region(1, "a", "", contours), grid)
    np.testing.assert_allclose(inside.sum() * grid.voxel_volume_mm3, 4 / 3 * np.pi * 18**3, rtol=0.01)
    part = grid.cropped(start, inside.shape)
    distance = np.linalg.norm(part.centres_mm() - motion, axis=1).reshape(inside.shape)
    assert inside[distance < 17.3].all() and not inside[distance > 18.7].any()


@pytest.mark.parametrize(
    ("contours", "message"),
    [
        ((), "no closed contour"),
        ((Contour(ContourKind.POINT, np.zeros((1, 3))),), "no closed contour"),
        ((Contour(ContourKind.CLOSED_PLANAR, np.ones((3, 3))),), "no area"),
        ((square(4.0, 500.0),), "outside the grid"),
        ((square(0.01, 5.0),), "no voxel centre"),
        (
            (square(4.0, 5.0), Contour(ContourKind.CLOSED_PLANAR, square(6.0, 5.0).points_mm[:, ::-1])),
            "several directions",
        ),
        ((Contour(ContourKind.CLOSED_PLANAR, square(4.0, 5.0).points_mm + [[0, 0, 1], [0, 0, 0]] * 2),), "bend"),
    ],
)
def test_what_bounds_no_volume_is_refused(contours, message):
    with pytest.raises(CaseError, match=message):
        mask_of(*contours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourData", ["1", "2"]), "three finite"),
        (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourData", ["nan"] * 9), "three finite"),
        (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourData", ["1"] * 6), "2 points"),
        (
            lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "NumberOfContourPoints", 7),
            "another number",
        ),
        (
            lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourGeometricType", "BLOB"),
            "geometric type",
        ),
        (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourOffsetVector", [0, 0, 1]), "offset"),
        (lambda d: setattr(d.ROIContourSequence[0], "ReferencedROINumber", 77), "not described"),
        (lambda d: setattr(d.StructureSetROISequence[1], "ROINumber", 1), "twice"),
        (
            lambda d: setattr(d.StructureSetROISequence[1], "ReferencedFrameOfReferenceUID", "1.9"),
            "2 frames of reference",
        ),
        (lambda d: d.__delattr__("StructureSetROISequence"), "no region"),
        (lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "no RT structure set"),
    ],
)
def test_damaged_structure_sets_are_refused(tmp_path, change, message):
    grid = oblique_grid(shape=(40, 40, 12), spacing=(1.0, 1.0, 2.0))
    path = tmp_path / "rs.dcm"
    write_structure_set(path, [NamedSurface("tumour", placed(sphere(8, 2), grid))], [NEEDLE], made_reference(grid))
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)
    with pytest.raises(CaseError, match=message):
        read_structure_set(path)


def test_misuse_is_named(tmp_path, grid):
    reference = made_reference(grid)
    ball = placed(sphere(8, 2), grid)
    path = tmp_path / "rs.dcm"
    for surfaces, needles, kind, message in (
        ([], [], OptionError, "at least one"),
        ([NamedSurface("a", ball)], [NamedNeedle("a", (0, 0, 0), (1, 1, 1))], OptionError, "of its own"),
        ([], [NamedNeedle("a", (0, 0, 0), (0, 0, 0))], GeometryError, "two finite"),
        ([], [NamedNeedle("a", (0, 0, float("nan")), (0, 0, 0))], GeometryError, "two finite"),
        ([NamedSurface("a", SurfaceMesh(ball.vertices_mm, ball.faces[1:]))], [], GeometryError, "open edges"),
        ([NamedSurface("a", SurfaceMesh(ball.vertices_mm + 900, ball.faces))], [], GeometryError, "no slice plane"),
    ):
        with pytest.raises(kind, match=message):
            write_structure_set(path, surfaces, needles, reference)
    assert not path.exists()


def test_pydicoms_own_structure_set_is_read(tmp_path):
    """A file of another maker, which lacks the preamble that every file must have."""
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(get_testdata_file("rtstruct.dcm"), force=True)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(tmp_path / "rs.dcm", enforce_file_format=True)
    found = read_structure_set(tmp_path / "rs.dcm")
    for region, item in zip(found.regions, dataset.ROIContourSequence, strict=True):
        for contour, stated in zip(region.contours, item.ContourSequence, strict=True):
            np.testing.assert_allclose(contour.points_mm.ravel(), [float(x) for x in stated.ContourData], atol=1e-9)
