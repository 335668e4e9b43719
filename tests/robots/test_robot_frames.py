import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import PatientPosition
from needleplan.errors import FrameError, OptionError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.plan import Insertion
from robots.frames import PatientPlacement, Table, base_pose, in_base, place_patient

TARGET_MM = np.array([-62.0, -38.0, 523.0])


def rigid_motion(rng) -> np.ndarray:
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def test_a_supine_patient_lies_on_the_table_with_the_target_above_the_origin(torso, placement):
    # Table at posterior (y = 80): the target at y = -38 lies 118 mm above it.
    np.testing.assert_allclose(placement.points_to_world(TARGET_MM), [0.0, 0.0, 0.118], atol=1e-9)
    vertices, faces = placement.mesh_to_world(torso)
    assert vertices[:, 2].min() == pytest.approx(0.0, abs=1e-9) and faces.dtype == np.int32
    np.testing.assert_allclose(placement.directions_to_world([1, 0, 0]), [1, 0, 0], atol=1e-12)  # left: +x
    np.testing.assert_allclose(placement.directions_to_world([0, 0, 1]), [0, 1, 0], atol=1e-12)  # head: +y
    np.testing.assert_allclose(placement.directions_to_world([0, -1, 0]), [0, 0, 1], atol=1e-12)  # front: up


@pytest.mark.parametrize("position", list(PatientPosition))
def test_in_every_position_the_surface_touches_the_table_and_the_head_points_along_y(torso, position):
    placement = place_patient(torso, TARGET_MM, position.up, [0.0, 0.1, 1.0] if position.up[1] else [0.1, 0.0, 1.0])
    world = placement.points_to_world(torso.vertices_mm)
    assert world[:, 2].min() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(placement.points_to_world(TARGET_MM)[:2], 0.0, atol=1e-9)
    np.testing.assert_allclose(placement.directions_to_world([0.0, 0.0, 1.0]), [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(placement.directions_to_world(position.up), [0, 0, 1], atol=1e-9)


def test_points_come_back_and_displacements_do_not_shift(placement, rng):
    points = rng.uniform(-400, 400, size=(5, 3))
    np.testing.assert_allclose(placement.points_to_patient(placement.points_to_world(points)), points, atol=1e-9)
    moved = placement.points_to_world(np.add(points, (3.0, -2.0, 11.0))) - placement.points_to_world(points)
    np.testing.assert_allclose(
        moved, np.tile(placement.displacement_to_world([3.0, -2.0, 11.0]), (5, 1)), atol=1e-12
    )


def test_moving_the_whole_case_changes_nothing_in_the_world(torso, placement, rng):
    motion = rigid_motion(rng)
    moved_target = motion[:3, :3] @ TARGET_MM + motion[:3, 3]
    up, cranial = motion[:3, :3] @ [0, -1, 0], motion[:3, :3] @ [0, 0, 1]
    moved = place_patient(torso.moved(motion), moved_target, up, cranial)
    np.testing.assert_allclose(
        moved.points_to_world(torso.moved(motion).vertices_mm),
        placement.points_to_world(torso.vertices_mm),
        atol=1e-9,
    )


def test_the_guide_looks_from_the_stand_off_through_entry_and_tip(placement):
    path = Insertion((-100.0, -113.0, 455.0), (-57.0, -38.0, 526.0), "probe", ())
    pose = placement.guide_pose(path, 0.06)
    assert pose.parent is Frame.WORLD and pose.child is Frame.GUIDE and pose.unit is LengthUnit.METRE
    np.testing.assert_allclose(pose.apply([0, 0, 0.06]), placement.points_to_world(path.entry_mm), atol=1e-12)
    reach = 0.06 + path.depth_mm * 1e-3
    np.testing.assert_allclose(pose.apply([0, 0, reach]), placement.points_to_world(path.tip_mm), atol=1e-12)


def test_a_base_beside_the_table_sees_the_world_turned(placement):
    X_WB = base_pose([0.6, -0.2, 0.1], np.pi / 2)
    X_WG = RigidTransform.from_parts(Frame.WORLD, Frame.GUIDE, np.eye(3), [0.6, 0.3, 0.4], LengthUnit.METRE)
    np.testing.assert_allclose(in_base(X_WB, X_WG).translation, [0.5, 0.0, 0.3], atol=1e-12)


def test_wrong_frames_and_units_are_refused(placement):
    X_WB = base_pose([0.6, 0.0, 0.0], 0.0)
    X_WG = placement.guide_pose(Insertion((0, 0, 0), (0, 0, 9), "probe", ()), 0.05)
    with pytest.raises(FrameError, match="X_WB"):
        in_base(X_WG, X_WG)
    with pytest.raises(FrameError, match="inner frames differ"):
        X_WB @ X_WG
    with pytest.raises(FrameError, match="inner frames differ"):
        in_base(X_WB, placement.X_WP.inverse())
    with pytest.raises(FrameError, match="convert"):
        in_base(X_WB, X_WG.in_unit(LengthUnit.MILLIMETRE))
    with pytest.raises(FrameError, match="X_WP"):
        PatientPlacement(X_WB, Table())
    with pytest.raises(FrameError, match="metres"):
        PatientPlacement(placement.X_WP.in_unit(LengthUnit.MILLIMETRE), Table())


def test_up_along_the_body_and_an_impossible_table_are_refused(torso: SurfaceMesh):
    with pytest.raises(FrameError, match="parallel"):
        place_patient(torso, TARGET_MM, [0, 0, 1], [0, 0, -1])
    with pytest.raises(OptionError, match="half_width_m"):
        Table(half_width_m=-0.1)
    with pytest.raises(OptionError, match="height_m"):
        Table(height_m=750.0)
