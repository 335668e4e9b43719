"""Clearance of the arm: its capsules, symmetry, and the bound along a path."""

import numpy as np
import pytest
from conftest import TARGET_MM
from probe_arm import WORLD, ProbeArm, along, ball, capsule

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import Frame, LengthUnit, RigidTransform
from robots.clearance import (
    CAP_M,
    Gantry,
    PlacedNeedle,
    Surroundings,
    arm_clearance,
    clear_postures,
    posture_clearances,
)
from robots.description import ShapeKind
from robots.frames import Table, base_pose, place_patient

KINDS = ("patient_m", "table_m", "gantry_m", "needles_m", "self_m")
X_WB = base_pose([0.55, 0.05, -0.15], np.pi - 0.1)


@pytest.fixture(scope="module")
def around(placement, torso):
    needle = PlacedNeedle(np.array([0.02, 0.03, 0.22]), np.array([0.0, 0.6, -0.8]), 0.12)
    return Surroundings(placement, torso, Gantry(centre_along_table_m=0.6, depth_m=0.4), [needle])


def near_home(arm, count, seed=3):
    rng = np.random.default_rng(seed)
    return np.array(arm.home) + rng.uniform(-1, 1, size=(count, 7)) * [1.0, 0.8, 1.0, 0.8, 1.5, 1.2, 2.0]


def surface_points(shape, rng, count):
    """Random points on the surface of a box, cylinder or sphere, in its link's frame."""
    if shape.kind is ShapeKind.BOX:
        points = rng.uniform(-1, 1, size=(count, 3))
        points[np.arange(count), rng.integers(0, 3, count)] = rng.choice([-1, 1], count)
        points *= shape.size_m / 2
    elif shape.kind is ShapeKind.CYLINDER:
        angle, z = rng.uniform(0, 2 * np.pi, count), rng.uniform(-0.5, 0.5, count)
        z[: count // 4] = 0.5 * rng.choice([-1, 1], count // 4)
        points = np.stack([np.cos(angle), np.sin(angle), z], axis=1) * [*[shape.size_m[0]] * 2, shape.size_m[1]]
    else:
        points = rng.normal(size=(count, 3))
        points *= shape.size_m[0] / np.linalg.norm(points, axis=1, keepdims=True)
    return points @ shape.pose[:3, :3].T + shape.pose[:3, 3]


def axis_distance(points, start, end):
    way = end - start
    share = np.clip((points - start) @ way / max(way @ way, 1e-300), 0.0, 1.0)
    return np.linalg.norm(points - start - share[:, None] * way, axis=1)


def test_capsules_enclose_the_collision_shapes(arm, rng):
    for link in arm.tree.links.values():
        capsules = [capsule for capsule in arm.capsules if capsule.link == link.name]
        for shape in link.collision:
            points = surface_points(shape, rng, 400)
            outside = np.min([axis_distance(points, c.start_m, c.end_m) - c.radius_m for c in capsules], axis=0)
            assert outside.max() < 1e-9


def test_far_from_everything_the_cap_is_returned(arm, around):
    found = arm_clearance(arm, base_pose([3.0, 0.0, 0.0], 0.0), arm.home, 0.0, around)
    assert found.patient_m == found.table_m == found.gantry_m == found.needles_m == CAP_M
    assert clear_postures(arm, base_pose([3.0, 0.0, 0.0], 0.0), arm.home, around, 0.1, 0.01).all()


def test_what_is_not_there_is_left_out(arm, placement):
    found = arm_clearance(arm, X_WB, arm.home, 0.0, Surroundings(placement, None))
    assert found.patient_m is None and found.gantry_m is None and found.needles_m is None
    assert found.least_m == min(found.table_m, found.self_m)


def test_an_arm_that_folds_onto_itself_is_seen(arm, around):
    folded = np.array(arm.home)
    folded[[1, 3, 5]] = [0.0, arm.q_min[3], arm.q_min[5]]
    away = base_pose([3.0, 0.0, 0.0], 0.0)
    found, opened = arm_clearance(arm, away, folded, 0.0, around), arm_clearance(arm, away, arm.home, 0.0, around)
    assert found.self_m < opened.self_m and "link" in found.nearest and found.least_m == found.self_m


def test_the_nearest_is_named(arm, around):
    for q in near_home(arm, 30):
        found = arm_clearance(arm, X_WB, q, 0.0, around)
        words = {"patient_m": "patient", "table_m": "table", "gantry_m": "gantry", "needles_m": "needle"}
        least = min(words, key=lambda name: getattr(found, name))
        assert (words[least] if getattr(found, least) < found.self_m else "to") in found.nearest


def test_the_nearest_part_of_the_arm_is_named(placement):
    parts = ball(0.02, "base"), ball(0.02, "carriage"), capsule([0, 0, 0.1], [0, 0, 0.3], 0.02)
    arm = ProbeArm(*parts, free_pairs=[("probe", "carriage"), ("base", "carriage"), ("base", "probe")])
    above = Surroundings(placement, None)
    lifted = RigidTransform.from_parts(Frame.WORLD, Frame.ROBOT_BASE, np.eye(3), [0, 0, 0.14], LengthUnit.METRE)
    down, low, high = along([0, 0, 0.2], [0, 0, 0]), along([0, 0, -0.1], [0, 0, 1]), along([0, 0, 0.5], [0, 0, 1])
    for q, link in ((down, "probe"), (low, "carriage"), (high, "base")):
        assert arm_clearance(arm, lifted, q, 0.0, above).nearest == f"{link} to table or floor"


def test_a_mirrored_scene_gives_the_same_clearances(arm, torso):
    # Scene, base and arm are mirrored in the plane x = 0 of the world: joints that turn about z turn the other way.
    vertices = np.array(torso.vertices_mm)
    vertices[:, 0] += 25.0 * np.exp(-(((vertices[:, 2] - 560.0) / 60.0) ** 2)) * (vertices[:, 0] > 60.0)
    mirror = np.array([-1.0, 1.0, 1.0])
    surfaces = SurfaceMesh(vertices, torso.faces), SurfaceMesh(vertices * mirror, torso.faces[:, ::-1])
    needle = PlacedNeedle(np.array([0.02, 0.03, 0.22]), np.array([0.48, 0.6, -0.64]), 0.12)
    needles = needle, PlacedNeedle(needle.entry_m * mirror, needle.direction * mirror, 0.12)
    bases = base_pose([0.55, 0.05, -0.15], np.pi - 0.1), base_pose([-0.55, 0.05, -0.15], 0.1)
    q = near_home(arm, 60)
    sides = q, q * [-1, 1, -1, 1, -1, 1, -1]
    found = []
    for surface, placed, base, postures, sign in zip(surfaces, needles, bases, sides, (1, -1), strict=True):
        lying = place_patient(surface, TARGET_MM * [sign, 1, 1], [0.2 * sign, -1.0, 0.0], [0.0, 0.0, 1.0])
        scene = Surroundings(lying, surface, Gantry(centre_along_table_m=0.6, depth_m=0.4), [placed])
        found.append(posture_clearances(arm, base, postures, scene, 0.05))
    for name in KINDS:
        first, second = (getattr(each, name) for each in found)
        # The gantry's polygon has a corner on both sides, so it is its own mirror image.
        np.testing.assert_allclose(first, second, atol=1e-9)
        assert np.ptp(first) > 0.02


def test_a_prone_patient_gives_the_same_distances_seen_from_below(arm, torso):
    # The torso is symmetric front to back about y = -30, so turning the patient over changes nothing in the world
    # for a target on its axis.
    axis_point = [10.0, -30.0, 500.0]
    found = [
        posture_clearances(arm, X_WB, near_home(arm, 20), Surroundings(lying, torso)).patient_m
        for lying in (place_patient(torso, axis_point, [0, side, 0], [0, 0, 1]) for side in (-1, 1))
    ]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_a_base_moved_with_its_scene_gives_the_same_clearances(arm, torso):
    # Patient and table are moved along the table, the base with them.
    there = Table(to_head_m=1.2, to_feet_m=0.8)
    first = place_patient(torso, TARGET_MM, [0, -1, 0], [0, 0, 1])
    second = place_patient(torso, TARGET_MM - [0, 0, 300.0], [0, -1, 0], [0, 0, 1], there)
    moved = base_pose([0.55, 0.35, -0.15], np.pi - 0.1)
    q = near_home(arm, 40)
    scenes = [
        Surroundings(first, torso, Gantry(centre_along_table_m=0.7, depth_m=0.4)),
        Surroundings(second, torso, Gantry(centre_along_table_m=1.0, depth_m=0.4)),
    ]
    found = [posture_clearances(arm, base, q, scene) for base, scene in zip((X_WB, moved), scenes, strict=True)]
    for name in ("patient_m", "table_m", "gantry_m", "self_m"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), atol=1e-9)


@pytest.mark.parametrize("count", [3, 6, 12, 40])
def test_a_path_is_bounded_between_its_samples(arm, around, count):
    ends = near_home(arm, 16, seed=8).reshape(8, 2, 7)
    near = 0
    for start, end in ends:
        end = start + 0.4 * (end - start)
        fine = start + np.linspace(0, 1, 400)[:, None] * (end - start)
        truth = posture_clearances(arm, X_WB, fine, around)
        coarse = start + np.linspace(0, 1, count)[:, None] * (end - start)
        found = arm_clearance(arm, X_WB, coarse, 0.0, around)
        for name in KINDS:
            least = getattr(truth, name).min()
            assert getattr(found, name) <= least + 1e-9
            near += getattr(found, name) > least - 0.02
    # Bounds are of use where samples are close.
    assert near == 40 or count < 40


def test_a_turn_between_two_samples_is_bounded_though_no_end_of_it_shows(placement):
    # A rod turns once about its lower end: both samples are the same posture, far from the gantry around it.
    around = Surroundings(placement, None, Gantry(1.2, centre_along_table_m=0.0, centre_height_m=0.1))
    arm = ProbeArm(capsule([0, 0, 0], [0, 0, 0.4], 0.02))
    ends = np.array([[-0.25, 0.0, 0.2, 0.0, 0.5 * np.pi], [-0.25, 0.0, 0.2, 0.0, -1.5 * np.pi]])
    fine = ends[0] + np.linspace(0, 1, 500)[:, None] * (ends[1] - ends[0])
    truth = posture_clearances(arm, WORLD, fine, around).gantry_m.min()
    sampled = posture_clearances(arm, WORLD, ends, around).gantry_m.min()
    found = arm_clearance(arm, WORLD, ends, 0.0, around).gantry_m
    assert truth < -0.01 and sampled == CAP_M and found <= truth


def test_an_advancing_needle_is_bounded_between_its_samples(placement, torso):
    around = Surroundings(
        placement, torso, needles=[PlacedNeedle(np.array([0.03, 0, 0.2]), np.array([0, 0, -1.0]), 0.1)]
    )
    arm = ProbeArm(capsule([0, 0, -0.25], [0, 0, 0], 0.001, "needle"), ball(0.012, "needle"))
    top = placement.points_to_world([10.0, -140.0, 500.0])
    down = along(np.add(top, [0, 0, 0.12]), top)
    fine = np.linspace(0, 0.2, 300)
    truth = posture_clearances(arm, WORLD, np.tile(down, (300, 1)), around, fine)
    for count in (2, 5, 20):
        found = arm_clearance(arm, WORLD, np.tile(down, (count, 1)), np.linspace(0, 0.2, count), around)
        for name in ("patient_m", "table_m", "needles_m"):
            assert getattr(found, name) <= getattr(truth, name).min() + 1e-9


def test_clearances_of_two_paths_join_to_the_lesser(arm, around):
    q = near_home(arm, 6)
    first, second, both = (arm_clearance(arm, X_WB, part, 0.0, around) for part in (q[:1], q[1:2], q[[0]]))
    joined = first.and_of(second)
    for name in KINDS:
        assert getattr(joined, name) == min(getattr(first, name), getattr(second, name))
    assert joined.least_m == min(first.least_m, second.least_m) and both == first
    assert joined.nearest == min((first, second), key=lambda found: found.least_m).nearest
    without = arm_clearance(arm, X_WB, q[0], 0.0, Surroundings(around.placement, None))
    assert first.and_of(without).patient_m is None


def test_deciding_is_the_same_as_measuring(arm, around):
    q = near_home(arm, 400)
    found = posture_clearances(arm, X_WB, q, around)
    for outer, own in ((0.0, 0.0), (0.02, 0.005), (0.08, 0.0)):
        clear = clear_postures(arm, X_WB, q, around, outer, own)
        np.testing.assert_array_equal(clear, found.keeps(outer, own))
        assert 10 < clear.sum() < 390


def test_the_base_may_be_tilted(arm, around):
    # A base that leans gives the same clearances as its links' places say: none of its shapes is upright by rule.
    lean = np.array([[1.0, 0, 0], [0, np.cos(0.4), -np.sin(0.4)], [0, np.sin(0.4), np.cos(0.4)]])
    tilted = RigidTransform.from_parts(Frame.WORLD, Frame.ROBOT_BASE, lean, [0.6, 0, 0.1], LengthUnit.METRE)
    q = near_home(arm, 3)
    low = posture_clearances(arm, tilted, q, around, cap_m=3.0).table_m
    poses = arm.link_poses(q, np.zeros(3))
    for k in range(3):
        heights = []
        for part in arm.capsules:
            for end in (part.start_m, part.end_m):
                world = tilted.apply(poses[part.link][k][:3, :3] @ end + poses[part.link][k][:3, 3])
                heights.append(world[2] + 0.75 - part.radius_m if part.link != arm.base_link else np.inf)
        assert low[k] <= min(heights) + 1e-9
