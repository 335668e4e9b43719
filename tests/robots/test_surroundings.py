"""Clearance from table, floor, gantry, needles and body where it has a closed form, and what is refused."""

import numpy as np
import pytest
from conftest import TARGET_MM, elliptic_torso
from probe_arm import WORLD, ProbeArm, along, ball, capsule

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import FrameError, GeometryError, OptionError, RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from robots.arm_settings import Mount
from robots.clearance import (
    CAP_M,
    Gantry,
    PlacedNeedle,
    Surroundings,
    arm_clearance,
    clear_postures,
    posture_clearances,
)
from robots.clearance_kernels import segment_box_distance
from robots.frames import PatientPlacement, Table, place_patient

GANTRY = Gantry(0.80, 0.60, 1.9, centre_along_table_m=0.1, centre_height_m=0.12)


@pytest.fixture(scope="module")
def bare(placement):
    return Surroundings(placement, None)


@pytest.fixture(scope="module")
def scanner(placement, torso):
    return Surroundings(placement, torso, GANTRY)


def at(points):
    """Postures of the probe arm that lay its origin at points (k, 3)."""
    return np.pad(np.atleast_2d(points), ((0, 0), (0, 2)))


def test_a_segment_is_as_far_from_a_box_as_its_nearest_point(rng):
    box = np.array([[-0.3, -1.0, -0.1], [0.3, 0.8, 0.0]])
    rows = rng.normal(size=(300, 6)) * 0.8
    rows[:20, 3:] = rows[:20, :3]  # points
    rows[20:40, 4:] = rows[20:40, 1:3]  # along an axis
    share = np.linspace(0, 1, 2001)[:, None, None]
    points = rows[:, :3] + share * (rows[:, 3:] - rows[:, :3])
    sampled = np.linalg.norm(points - np.clip(points, *box), axis=2).min(axis=0)
    exact = np.array([segment_box_distance(row, box) for row in rows])
    length = np.linalg.norm(rows[:, 3:] - rows[:, :3], axis=1)
    assert (exact <= sampled + 1e-12).all() and (exact >= sampled - length / 4000).all()
    assert (exact == 0).sum() > 5 and (sampled > 0.5).any()


def test_clearances_from_table_and_floor_are_those_of_a_box_and_a_plane(bare):
    points = [[0.0, 0.0, 0.05], [0.35, 0.0, -0.04], [0.31, 0.98, 0.0], [0.6, 0.0, -0.7], [0.1, 0.0, -0.02]]
    expected = [0.03, 0.08, np.hypot(0.06, 0.08) - 0.02, 0.03, -0.02]
    found = posture_clearances(ProbeArm(ball(0.02)), WORLD, at(points), bare)
    np.testing.assert_allclose(found.table_m, expected, atol=1e-12)
    assert found.patient_m is None and found.gantry_m is None and found.needles_m is None


def test_an_oblique_capsule_over_the_edge_of_the_table(bare):
    # Its axis passes the edge x = 0.25, z = 0 on a line that leans 30 degrees from the edge's plane.
    arm = ProbeArm(capsule([0, 0, 0], [0, 0, 0.4], 0.03))
    apart = np.array([1.0, 0.0, 1.0]) / np.sqrt(2) * 0.1
    way = np.array([1.0, 0.8, -1.0])
    middle = np.array([0.25, 0.2, 0.0]) + apart
    q = along(middle - 0.2 * way / np.linalg.norm(way), middle + way)
    assert posture_clearances(arm, WORLD, q, bare).table_m[0] == pytest.approx(0.07, abs=1e-9)


@pytest.mark.parametrize(("mount", "free", "held"), [(Mount.FLOOR, -0.75, 0.0), (Mount.TABLE, 0.0, -0.75)])
def test_the_base_is_held_against_all_but_what_it_stands_on(placement, mount, free, held):
    arm = ProbeArm(ball(0.02, "base"), mount=mount)
    around = Surroundings(placement, None)

    def moved(height):
        pose = RigidTransform.from_parts(
            Frame.WORLD, Frame.ROBOT_BASE, np.eye(3), [0.0 if height == 0.0 else 0.9, 0, height], LengthUnit.METRE
        )
        return posture_clearances(arm, pose, np.zeros(5), around).table_m[0]

    assert moved(free) == CAP_M and moved(held) == pytest.approx(-0.02)


def test_a_capsule_along_the_axis_of_the_bore_has_the_bore_around_it(scanner):
    arm = ProbeArm(capsule([0, 0, 0], [0, 0, 0.3], 0.05))
    start = np.array([0.0, 0.0, 0.12])
    coaxial = along(start, np.add(start, [0, 0.3, 0]))
    oblique = along(np.add(start, [0.1, 0.1, 0.05]), np.add(start, [0.1, -0.4, 0.05]))
    found = posture_clearances(arm, WORLD, [coaxial, oblique], scanner, cap_m=1.0).gantry_m
    expected = np.array([0.35, 0.35 - np.hypot(0.1, 0.05)])
    # The polygon inscribed in the bore takes up to R (1 - cos(pi / 128)) = 0.12 mm.
    assert (found <= expected).all() and (found >= expected - 1.3e-4).all()


def test_clearances_before_beside_and_inside_the_gantry(scanner):
    points = [[0.0, 0.55, 0.62], [0.0, -0.25, 0.45], [1.05, 0.0, 0.12], [0.0, 0.1, 0.7], [0.5, 0.3, 0.12]]
    # In front of its face; before the bore's rim; beyond the outer side; within the ring, twice.
    expected = [0.15 - 0.02, np.hypot(0.05, 0.07) - 0.02, 0.1 - 0.02, -0.02, -0.02]
    found = posture_clearances(ProbeArm(ball(0.02)), WORLD, at(points), scanner).gantry_m
    assert (found <= np.array(expected) + 1e-9).all() and (found >= np.array(expected) - 3.5e-4).all()


def test_the_gantrys_mesh_is_closed_and_holds_the_round_ring(rng):
    vertices, faces = GANTRY.mesh()
    mesh = SurfaceMesh(vertices, faces)
    assert mesh.is_watertight
    ring = np.pi * (0.95**2 - 0.4**2) * 0.6
    assert ring <= mesh.volume_mm3 < ring * 1.002


def test_a_needle_in_place_is_a_capsule_from_the_skin_outward(bare):
    needle = PlacedNeedle(np.array([0.1, 0.2, 0.3]), np.array([0.6, 0.0, -0.8]), 0.2, 0.01)
    hub = needle.entry_m - 0.2 * needle.direction
    beside = needle.entry_m - 0.1 * needle.direction + [0, 0.07, 0]
    points = [hub - 0.05 * needle.direction, beside, needle.entry_m + 0.06 * needle.direction, [1, 1, 1]]
    around = bare.with_needles([needle])
    found = posture_clearances(ProbeArm(ball(0.02)), WORLD, at(points), around)
    np.testing.assert_allclose(found.needles_m, [0.02, 0.04, 0.03, CAP_M], atol=1e-12)
    assert (
        bare.needles == () and posture_clearances(ProbeArm(ball(0.02)), WORLD, at(points), bare).needles_m is None
    )


def test_clearance_from_a_bodys_flat_side_is_that_of_a_plane(placement):
    import trimesh

    box = trimesh.creation.box([300.0, 200.0, 400.0])
    surface = SurfaceMesh(np.asarray(box.vertices) + TARGET_MM, box.faces)
    around = Surroundings(place_patient(surface, TARGET_MM, [0, -1, 0], [0, 0, 1]), surface)
    # Top of the body at z = 0.2: a capsule that leans over it, one beyond the image, one in it, one deep in it.
    arm = ProbeArm(capsule([0, 0, 0], [0, 0, 0.1], 0.02))
    q = [
        along([0.05, 0.03, 0.25], [0.1, 0.1, 0.3]),
        along([0.05, 0.55, 0.30], [0.05, 0.65, 0.25]),
        along([0.05, 0.03, 0.15], [0.1, 0.1, 0.3]),
        along([0.02, 0.03, 0.12], [0.05, 0.04, 0.1]),
    ]
    found = posture_clearances(arm, WORLD, q, around)
    np.testing.assert_allclose(found.patient_m, [0.03, 0.08 - 0.1 / np.sqrt(5), -0.02, -0.02], atol=1e-9)
    assert (found.patient_m[2:] < 0).all() and not clear_postures(arm, WORLD, q, around, 0.0, 0.0)[2:].any()


def test_beyond_the_image_the_body_goes_on_with_its_last_section(scanner, placement):
    within, beyond = placement.points_to_world([[10.0, -190.0, 650.0], [10.0, -190.0, 860.0]])
    found = posture_clearances(ProbeArm(ball(0.02)), WORLD, at([within, beyond]), scanner).patient_m
    assert found[0] == pytest.approx(0.03, abs=5e-4)
    assert found[1] == pytest.approx(found[0], abs=1e-4)
    inside = placement.points_to_world([10.0, -60.0, 900.0])
    assert posture_clearances(ProbeArm(ball(0.02)), WORLD, at(inside), scanner).patient_m[0] == -0.02


def test_a_patient_lying_obliquely_is_measured_where_it_lies(torso, rng):
    # Patient and probe are turned and moved together: the clearance stays.
    first = place_patient(torso, TARGET_MM, [0.0, -1.0, 0.0], [0, 0, 1])
    second = place_patient(torso, TARGET_MM, [0.5, -0.8, 0.0], [0, 0, 1])
    points_mm = TARGET_MM + rng.uniform(-250, 250, size=(60, 3))
    arm = ProbeArm(ball(0.02))
    found = [
        posture_clearances(arm, WORLD, at(placed.points_to_world(points_mm)), Surroundings(placed, torso)).patient_m
        for placed in (first, second)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)
    assert (found[0] < 0).any() and (found[0] > 0.05).any()


def test_what_the_driver_moves_counts_against_the_body_only_behind_the_exit(placement, torso):
    around = Surroundings(placement, torso)
    top = placement.points_to_world([10.0, -140.0, 500.0])  # the skin; the body's axis lies 110 mm below
    arm = ProbeArm(
        capsule([0, 0, -0.25], [0, 0, 0], 0.001, "needle"), capsule([0, 0, -0.3], [0, 0, -0.25], 0.01, "needle")
    )
    down = along(np.add(top, [0, 0, 0.05]), top)
    held = posture_clearances(arm, WORLD, np.tile(down, (4, 1)), around, [0.0, 0.03, 0.15, 0.28], cap_m=0.5)
    # Drawn back its tip is 50 mm from the skin. Advanced, what is behind the exit keeps that distance.
    np.testing.assert_allclose(held.patient_m, [0.049, 0.049, 0.049, 0.04], atol=5e-4)
    # Against the table it counts to the skin: from there on it is the planner's business.
    to_table = top[2] + 0.05 - np.array([0.0, 0.03, 0.05, 0.05]) - 0.001
    to_table[3] = top[2] + 0.05 - 0.03 - 0.01  # the handle, ahead of the exit by 30 mm
    np.testing.assert_allclose(held.table_m, np.minimum(to_table, [*to_table[:3], top[2] - 0.001]), atol=5e-4)
    # Where no skin is known, all of it counts.
    alone = posture_clearances(arm, WORLD, down, Surroundings(placement, None), 0.15, cap_m=0.5)
    assert alone.table_m[0] == pytest.approx(top[2] + 0.05 - 0.15 - 0.001, abs=1e-9)


def test_an_advanced_needle_keeps_clear_of_needles_in_place(placement, torso):
    top = placement.points_to_world([10.0, -140.0, 500.0])
    other = PlacedNeedle(np.add(top, [0.04, 0.0, 0.0]), np.array([0.0, 0.0, -1.0]), 0.03, 0.01)
    around = Surroundings(placement, torso, needles=[other])
    arm = ProbeArm(capsule([0, 0, -0.25], [0, 0, 0], 0.001, "needle"))
    down = along(np.add(top, [0, 0, 0.05]), top)
    found = posture_clearances(arm, WORLD, [down, down], around, [0.0, 0.06]).needles_m
    np.testing.assert_allclose(found, [np.hypot(0.04, 0.02) - 0.011, 0.04 - 0.011], atol=1e-6)


def test_clearance_from_itself_is_that_of_two_capsules(bare):
    parts = capsule([0, 0, 0.2], [0, 0, 0.5], 0.02), ball(0.05, "carriage"), ball(0.03, "base")
    q = np.array([0.3, 0.4, 1.2, 0.7, 0.5])
    found = posture_clearances(ProbeArm(*parts), WORLD, q, bare, cap_m=5.0)
    assert found.self_m[0] == pytest.approx(0.2 - 0.07)
    free = ProbeArm(*parts, free_pairs=[("probe", "carriage")])
    near = q[:3] + 0.2 * np.array([np.cos(0.7) * np.sin(0.5), np.sin(0.7) * np.sin(0.5), np.cos(0.5)])
    expected = min(np.linalg.norm(q[:3]) - 0.08, np.linalg.norm(near) - 0.05)
    assert posture_clearances(free, WORLD, q, bare, cap_m=5.0).self_m[0] == pytest.approx(expected)
    assert arm_clearance(ProbeArm(*parts[:2]), WORLD, [0, 0, 1.2, 0, 0], 0.0, bare).nearest == "carriage to probe"


def test_more_obstacles_never_increase_clearance(placement, torso, rng):
    parts = capsule([0, 0, -0.1], [0, 0, 0.1], 0.02), ball(0.04, "carriage")
    arm = ProbeArm(*parts, free_pairs=[("probe", "carriage")])
    q = np.column_stack(
        [rng.uniform([-0.6, -0.6, 0.0], [0.6, 0.6, 0.6], size=(200, 3)), rng.uniform(-3, 3, (200, 2))]
    )
    needles = [
        PlacedNeedle(rng.uniform([-0.2, -0.1, 0.2], [0.2, 0.1, 0.3]), np.array([0.0, 0.6, -0.8]), 0.15)
        for _ in range(3)
    ]
    scenes = [Surroundings(placement, None), Surroundings(placement, torso), Surroundings(placement, torso, GANTRY)]
    scenes += [scenes[-1].with_needles(needles[:count]) for count in (1, 2, 3)]
    before = np.full(200, np.inf)
    for around in scenes:
        found = posture_clearances(arm, WORLD, q, around)
        assert (found.least_m <= before).all()
        np.testing.assert_array_equal(found.keeps(0.02, 0.0), clear_postures(arm, WORLD, q, around, 0.02, 0.0))
        before = found.least_m
    assert 20 < found.keeps(0.02, 0.0).sum() < 180


def test_all_three_ways_of_asking_agree(scanner, rng):
    arm = ProbeArm(capsule([0, 0, -0.1], [0, 0, 0.1], 0.02), capsule([0, 0, -0.3], [0, 0, 0], 0.003, "needle"))
    q = np.column_stack(
        [rng.uniform([-0.5, -0.6, 0.0], [0.5, 0.6, 0.6], size=(80, 3)), rng.uniform(-3, 3, (80, 2))]
    )
    around = scanner.with_needles([PlacedNeedle(np.array([0.0, 0.0, 0.25]), np.array([0.0, 0.0, -1.0]), 0.1)])
    for driver in (0.0, 0.12):
        many = posture_clearances(arm, WORLD, q, around, driver)
        for k, posture in enumerate(q):
            alone = posture_clearances(arm, WORLD, posture, around, driver)
            path = arm_clearance(arm, WORLD, posture, driver, around)
            for name in ("patient_m", "table_m", "gantry_m", "needles_m", "self_m"):
                values = [getattr(many, name)[k], getattr(alone, name)[0], getattr(path, name)]
                np.testing.assert_allclose(values, values[0], atol=1e-12)
        np.testing.assert_array_equal(
            clear_postures(arm, WORLD, q, around, 0.03, 0.01, driver), many.keeps(0.03, 0.01)
        )


def test_many_postures_are_measured_part_by_part(scanner, rng, monkeypatch):
    arm = ProbeArm(capsule([0, 0, -0.1], [0, 0, 0.1], 0.02), capsule([0, 0, -0.3], [0, 0, 0], 0.003, "needle"))
    q = np.column_stack([rng.uniform([-0.5, -0.6, 0.0], [0.5, 0.6, 0.6], (70, 3)), rng.uniform(-3, 3, (70, 2))])
    driver = rng.uniform(0, 0.2, 70)
    whole = posture_clearances(arm, WORLD, q, scanner, driver)
    monkeypatch.setattr("robots.placed_capsules._CHUNK", 16)
    parts = posture_clearances(arm, WORLD, q, scanner, driver)
    np.testing.assert_array_equal(whole.least_m, parts.least_m)
    np.testing.assert_array_equal(clear_postures(arm, WORLD, q, scanner, 0.02, 0, driver), whole.keeps(0.02, 0))
    assert len(posture_clearances(arm, WORLD, q[:0], scanner).least_m) == 0
    assert len(clear_postures(arm, WORLD, q[:0], scanner, 0.0, 0.0)) == 0
    with pytest.raises(RobotError, match="driver"):
        posture_clearances(arm, WORLD, q, scanner, driver[:32])


def test_a_gantry_too_narrow_for_patient_or_table_is_refused(placement, torso):
    with pytest.raises(OptionError, match="the patient does not fit through a bore"):
        Surroundings(placement, elliptic_torso(280.0), Gantry(0.5, centre_height_m=0.1))
    wide = PatientPlacement(placement.X_WP, Table(half_width_m=0.39))
    with pytest.raises(OptionError, match="the table does not fit"):
        Surroundings(wide, torso, GANTRY)
    # Beyond the patient and the table there is nothing that would have to fit.
    Surroundings(wide, torso, Gantry(0.5, centre_along_table_m=2.0))


@pytest.mark.parametrize(
    "change",
    [{"bore_diameter_m": 0.1}, {"depth_m": np.nan}, {"outer_diameter_m": 0.8}, {"centre_height_m": 4.0}],
)
def test_impossible_gantries_are_refused(change):
    with pytest.raises(OptionError, match=next(iter(change))):
        Gantry(**change)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"direction": [0.0, 0.0, -2.0]}, "length 1"),
        ({"entry_m": [0.0, np.nan, 0.0]}, "finite"),
        ({"entry_m": [0.0, 0.0]}, "three"),
        ({"outside_m": 0.0}, "outside_m"),
        ({"radius_m": -0.01}, "radius_m"),
    ],
)
def test_impossible_needles_are_refused(change, match):
    good = {"entry_m": [0.0, 0.1, 0.2], "direction": [0.0, 0.0, -1.0], "outside_m": 0.1}
    PlacedNeedle(**good)
    with pytest.raises(GeometryError, match=match):
        PlacedNeedle(**{**good, **change})


def test_bad_input_is_refused(placement, torso, bare):
    with pytest.raises(GeometryError, match="open edges"):
        Surroundings(placement, SurfaceMesh(torso.vertices_mm, torso.faces[1:]))
    arm = ProbeArm(ball(0.02))
    for q in (np.zeros(4), np.zeros((2, 2, 5)), [0, 0, np.nan, 0, 0]):
        with pytest.raises(RobotError, match="joint positions"):
            posture_clearances(arm, WORLD, q, bare)
    for driver in ([0.0, 0.1], -0.1, np.inf):
        with pytest.raises(RobotError, match="driver"):
            clear_postures(arm, WORLD, np.zeros(5), bare, 0.02, 0.0, driver)
    with pytest.raises(RobotError, match="at least one posture"):
        arm_clearance(arm, WORLD, np.zeros((0, 5)), 0.0, bare)
    with pytest.raises(FrameError, match="X_WB"):
        arm_clearance(arm, placement.X_WP, np.zeros(5), 0.0, bare)
    with pytest.raises(OptionError, match="cap"):
        posture_clearances(arm, WORLD, np.zeros(5), bare, cap_m=np.nan)
    with pytest.raises(OptionError, match="to keep"):
        clear_postures(arm, WORLD, np.zeros(5), bare, -0.01, 0.0)


def test_a_link_that_no_joint_carries_is_refused(bare):
    class Loose(ProbeArm):
        def link_poses(self, q, driver_m):
            poses = super().link_poses(q, driver_m)
            poses["probe"][:, :3, 3] *= 0.5
            return poses

    with pytest.raises(RobotError, match="carried by none"):
        posture_clearances(Loose(ball(0.02)), WORLD, np.zeros(5), bare)


def sheared_torso(angle_deg: float) -> SurfaceMesh:
    """A box of a body whose ends are cut by an image that is tilted by so much."""
    import trimesh

    box = trimesh.creation.box(extents=[400.0, 250.0, 300.0]).subdivide().subdivide().subdivide()
    vertices = np.array(box.vertices)
    vertices[:, 2] += np.tan(np.deg2rad(angle_deg)) * vertices[:, 1]
    return SurfaceMesh(vertices, np.asarray(box.faces, dtype=np.int32))


@pytest.mark.parametrize("angle_deg", [0.0, 3.0, -10.0, 25.0])
def test_the_body_goes_on_beyond_an_oblique_end_of_the_image(angle_deg):
    surface = sheared_torso(angle_deg)
    placement = place_patient(surface, [0.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0])
    around = Surroundings(placement, surface)
    assert around.continues == (True, True) and not around.notes
    down = np.array([[0.0, y, 0.6, 0.0, 0.0, -1.0] for y in (-0.55, -0.4, 0.0, 0.4, 0.55)])
    # The top of the body lies 0.25 m above the table, wherever along it.
    np.testing.assert_allclose(around.distance_to_skin_m(down, np.full(5, 1.0)), 0.35, atol=1e-6)
    aside = np.array([[1.0, y, 0.1, -1.0, 0.0, 0.0] for y in (-0.5, 0.5)])
    np.testing.assert_allclose(around.distance_to_skin_m(aside, np.full(2, 2.0)), 0.8, atol=1e-6)


def test_a_round_end_is_the_bodys_own_and_that_is_said():
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4).apply_transform(np.diag([150.0, 100.0, 250.0, 1.0]))
    surface = SurfaceMesh(np.array(ball.vertices), np.asarray(ball.faces, dtype=np.int32))
    placement = place_patient(surface, [0.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0])
    around = Surroundings(placement, surface)
    assert around.continues == (False, False)
    assert len(around.notes) == 1 and "feet and the head" in around.notes[0]
    beyond = np.array([[0.0, 0.4, 0.6, 0.0, 0.0, -1.0]])
    assert np.isinf(around.distance_to_skin_m(beyond, np.ones(1))[0])
    assert "no surface" in Surroundings(placement, None).notes[0]
