"""Surfaces of a case, and where a needle may enter."""

import numpy as np
import pytest
from made_cases import ball, box, made_case, motion, rotation

from needleplan.anatomy.build import CUT_FACE_CLEARANCE_MM, build_anatomy, build_surface
from needleplan.anatomy.tree import MeshTree
from needleplan.case.model import Case, EntryShape, EntrySubstitute, PatientPosition, Role, Structure
from needleplan.errors import CaseError, GeometryError
from needleplan.grid import Grid, VoxelMask


def image():
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(21) * [2.5, -2.5, 3.0]
    return Grid((44, 44, 30), matrix)


def body_with_air():
    """A cylinder cut at both ends, with a bubble inside and an airway open at one end."""
    i, j, k = np.indices(image().shape, dtype=float)
    inside = ((i - 21.5) / 19) ** 2 + ((j - 21.5) / 16) ** 2 < 1
    inside &= (i - 30) ** 2 + (j - 22) ** 2 + (k - 20) ** 2 > 16
    inside &= ~(((i - 12) ** 2 + (j - 22) ** 2 < 9) & (k < 12))
    return VoxelMask.cropped(image(), inside)


def voxel_case(**options):
    target = ball(image().to_patient([21, 20, 15]), 8)
    case = Case(
        "voxels",
        (Structure("tumour", Role.TARGET, target), Structure("skin", Role.SKIN, body_with_air())),
        PatientPosition.SUPINE,
        "0" * 64,
        up=-rotation(21)[:, 1],
        cranial=rotation(21)[:, 2],
        **options,
    )
    return case


def test_air_inside_the_body_is_no_skin_and_cuts_are_no_entry():
    anatomy = build_anatomy(voxel_case())
    tree = MeshTree(anatomy.entry.mesh)
    assert tree.contains(image().to_patient([[30, 22, 20], [12, 22, 5], [21, 20, 15]])).all()
    cut = anatomy.entry.cut_faces
    index = image().to_index(anatomy.entry.mesh.face_centres_mm)
    assert cut.any() and (np.minimum(index[cut][:, 2] + 0.5, 29.5 - index[cut][:, 2]) <= 0.5 + 1e-9).all()
    allowed = anatomy.entry_faces
    assert not (allowed & cut).any()
    # Every face near a cut is barred, and the rest of the skin is not.
    near = np.minimum(index[:, 2] + 0.5, 29.5 - index[:, 2]) * 3.0
    assert not allowed[near < CUT_FACE_CLEARANCE_MM - 5].any() and allowed[near > CUT_FACE_CLEARANCE_MM + 3].all()


def test_surfaces_move_with_the_case():
    matrix = motion(2)
    still, moved = build_anatomy(voxel_case()), build_anatomy(voxel_case().moved(matrix))
    image_of = still.entry.mesh.vertices_mm @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(moved.entry.mesh.vertices_mm, image_of, atol=1e-6)
    np.testing.assert_array_equal(moved.entry_faces, still.entry_faces)
    np.testing.assert_allclose(moved.axes, matrix[:3, :3] @ still.axes, atol=1e-9)
    assert np.linalg.det(still.axes) == pytest.approx(1.0)


def test_entry_region_limits_the_entries_and_may_not_miss_the_skin():
    region = Structure("window", Role.ENTRY_REGION, box((-20, -99, -20), (20, 0, 20)))
    anatomy = build_anatomy(made_case(ball(radius=9), ball(radius=80, subdivisions=4), region))
    centres = anatomy.entry.mesh.face_centres_mm
    expected = (np.abs(centres[:, [0, 2]]) < 20).all(axis=1) & (centres[:, 1] < 0)
    np.testing.assert_array_equal(anatomy.entry_faces, expected)
    away = Structure("window", Role.ENTRY_REGION, box((200, 200, 200), (220, 220, 220)))
    with pytest.raises(CaseError, match="no part of 'skin' is left"):
        build_anatomy(made_case(ball(radius=9), ball(radius=80), away))


def no_skin(substitute=None):
    organ = ball((5, -8, 12), 1.0, 4, (40, 30, 50))
    structures = (Structure("tumour", Role.TARGET, ball((5, -8, 12), 9)), Structure("liver", Role.ORGAN, organ))
    return Case("bare", structures, PatientPosition.SUPINE, "0" * 64, substitute)


@pytest.mark.parametrize(("shape", "tolerance_mm"), [(EntryShape.GROWN, 1.5), (EntryShape.HULL, 0.3)])
def test_substitute_lies_at_its_stated_distance(shape, tolerance_mm):
    anatomy = build_anatomy(no_skin(EntrySubstitute(shape, ("liver",), 20.0)))
    points = anatomy.entry.mesh.vertices_mm
    distance = MeshTree(anatomy.surface("liver").mesh).segment_distance_mm(points, points)
    np.testing.assert_allclose(distance, 20.0, atol=tolerance_mm)
    assert anatomy.entry.mesh.is_watertight and anatomy.entry.mesh.volume_mm3 > 0
    assert MeshTree(anatomy.entry.mesh).contains(anatomy.target.mesh.vertices_mm).all()


def test_missing_skin_and_missing_structures_are_refused():
    with pytest.raises(CaseError, match="no structure with the role skin"):
        build_anatomy(no_skin())
    with pytest.raises(CaseError, match="names the structure 'lung'"):
        build_anatomy(no_skin(EntrySubstitute(EntryShape.HULL, ("lung",), 5.0)))


def test_inside_out_surfaces_are_refused():
    with pytest.raises(GeometryError, match="'tumour' encloses"):
        build_anatomy(made_case(ball(radius=9).flipped(), ball(radius=80)))


def test_no_voxel_of_an_obstacle_lies_outside_its_surface():
    inside = np.zeros((9, 9, 30), dtype=bool)
    inside[4, 4, 3:27] = True  # one voxel thick, which smoothing all but removes
    grid = Grid(inside.shape, np.diag([4.0, 3.0, 2.0, 1.0]))
    structure = Structure("nerve", Role.NO_GO, VoxelMask.cropped(grid, inside))
    surface = build_surface(structure, np.array([0.0, 0.0, 1.0]))
    assert surface.mesh.volume_mm3 == pytest.approx(structure.geometry.volume_mm3)
    assert surface.surface_error_mm == 0.0
    assert surface.smooth is not None and surface.smooth.volume_mm3 < 0.5 * surface.mesh.volume_mm3
    np.testing.assert_array_equal(surface.smooth.faces, surface.mesh.faces)


def test_an_arm_beside_the_trunk_stays_in_the_way():
    inside = np.zeros((60, 30, 30), dtype=bool)
    inside[3:40, 3:27, 3:27] = True
    inside[46:56, 8:20, 3:27] = True
    inside[43, 15, 15] = True  # a speck
    grid = Grid(inside.shape, np.diag([4.0, 4.0, 4.0, 1.0]))
    skin = build_surface(Structure("skin", Role.SKIN, VoxelMask.cropped(grid, inside)), np.array([0.0, 0.0, 1.0]))
    volume = 64.0 * (37 * 24 * 24 + 10 * 12 * 24)
    assert skin.mesh.volume_mm3 == pytest.approx(volume, rel=0.03)
