import numpy as np
import pytest

from robots.clearance import CAP_M, Surroundings, arm_clearance, coarser, segment_distance
from robots.description import ShapeKind
from robots.frames import base_pose, place_patient

TARGET_MM = np.array([-62.0, -38.0, 523.0])


@pytest.fixture(scope="module")
def around(placement, torso):
    return Surroundings(placement, torso)


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


def test_capsules_enclose_the_collision_shapes(arm, rng):
    for link in arm.tree.links.values():
        capsules = [capsule for capsule in arm.capsules if capsule.link == link.name]
        for shape in link.collision:
            points = surface_points(shape, rng, 400)
            outside = np.min(
                [segment_distance(points, points, c.start_m, c.end_m) - c.radius_m for c in capsules], axis=0
            )
            assert outside.max() < 1e-9


def test_segment_distances_agree_with_dense_sampling(rng):
    ends = rng.normal(size=(4, 200, 3))
    ends[1, :10] = ends[0, :10]  # points
    ends[3, :5] = ends[2, :5]
    ends[3, 10:20] = ends[2, 10:20] + 0.7 * (ends[1, 10:20] - ends[0, 10:20])  # parallel
    exact = segment_distance(*ends)
    share = np.linspace(0, 1, 201)[:, None, None]
    first, second = ends[0] + share * (ends[1] - ends[0]), ends[2] + share * (ends[3] - ends[2])
    for k in range(200):
        sampled = np.linalg.norm(first[:, None, k] - second[None, :, k], axis=2).min()
        assert exact[k] <= sampled + 1e-12 and exact[k] >= sampled - 0.03


def test_distances_from_the_body_are_signed_and_exact(around, placement):
    # The torso's axis at (10, -30): half axes 170 and 110 mm.
    top, inside, side = [10.0, -180.0, 500.0], [10.0, -130.0, 500.0], [220.0, -30.0, 480.0]
    distance = around.patient_distance(placement.points_to_world([top, inside, side]), 0.2)
    np.testing.assert_allclose(distance, [0.04, -0.01, 0.04], atol=5e-4)


def test_beyond_the_image_the_body_goes_on_with_its_last_section(around, placement):
    within = placement.points_to_world([10.0, -180.0, 650.0])
    beyond = placement.points_to_world([[10.0, -180.0, 760.0], [10.0, -30.0, 760.0]])
    expected = around.patient_distance(within[None], 0.2)[0]
    distance = around.patient_distance(beyond, 0.2)
    assert distance[0] == pytest.approx(expected, abs=1e-3)
    assert distance[1] < 0


def test_distances_from_table_and_floor_are_those_of_a_box(around):
    points = np.array([[0.0, 0.0, 0.03], [0.35, 0.0, 0.0], [0.28, 0.0, 0.04], [0.0, 0.0, -0.01], [0.0, 2.9, -0.04]])
    np.testing.assert_allclose(around.table_distance(points), [0.03, 0.1, 0.05, -0.01, 2.0], atol=1e-12)
    assert around.floor_distance(points)[0] == pytest.approx(0.78)


def brute_force(arm, X_WB, q, around, rng):
    poses = arm.link_poses(q[None], [0.0])
    best = [np.inf, np.inf]
    for link in arm.tree.links.values():
        for shape in link.collision:
            points = surface_points(shape, rng, 300)
            world = X_WB.apply(points @ poses[link.name][0][:3, :3].T + poses[link.name][0][:3, 3])
            best[0] = min(best[0], around.patient_distance(world, 3.0).min())
            solid = around.table_distance(world)
            if link.name != "base_link":
                solid = np.minimum(solid, around.floor_distance(world))
            best[1] = min(best[1], solid.min())
    return best


def test_clearance_never_exceeds_that_of_points_on_the_arm(arm, around, rng):
    X_WB = base_pose([0.5, 0.1, 0.0], np.pi - 0.2)
    below, above = 0, []
    for q in rng.uniform(arm.q_min, arm.q_max, size=(40, 7)):
        found = arm_clearance(arm, X_WB, q, 0.0, around)
        patient, table = brute_force(arm, X_WB, q, around, rng)
        assert found.patient_m <= patient + 1e-6 and found.table_m <= table + 1e-6
        if patient < 0.1:
            above.append(patient - found.patient_m)
        below += patient < 0
    assert below > 3  # some of these postures do hit the body
    assert np.median(above) < 0.03  # and the bound is of use


def test_a_path_is_bounded_between_its_samples(arm, around):
    X_WB = base_pose([0.6, 0.0, 0.0], np.pi)
    start, end = np.array(arm.home), np.add(arm.home, (0.9, 0.6, 0.0, 0.5, 0.3, 0.2, 0.0))
    fine = start + np.linspace(0, 1, 301)[:, None] * (end - start)
    truth = [arm_clearance(arm, X_WB, q, 0.0, around) for q in fine]
    for count in (6, 12, 24):
        coarse = arm_clearance(
            arm, X_WB, start + np.linspace(0, 1, count)[:, None] * (end - start), np.zeros(count), around
        )
        assert coarse.patient_m <= min(value.patient_m for value in truth) + 1e-6
        assert coarse.table_m <= min(value.table_m for value in truth) + 1e-6
        assert coarse.self_m <= min(value.self_m for value in truth) + 1e-6


def test_far_from_everything_the_cap_is_returned(arm, around):
    found = arm_clearance(arm, base_pose([3.0, 0.0, 0.0], 0.0), arm.home, 0.0, around)
    assert found.patient_m == found.table_m == CAP_M


def test_without_a_surface_the_patient_is_left_out(arm, placement):
    found = arm_clearance(arm, base_pose([0.6, 0.0, 0.0], np.pi), arm.home, 0.0, Surroundings(placement, None))
    assert found.patient_m is None and found.least_m == min(found.table_m, found.self_m)


def test_an_arm_that_folds_onto_itself_is_seen(arm, around):
    folded = np.array(arm.home)
    folded[[1, 3, 5]] = [0.0, arm.q_min[3], arm.q_min[5]]
    found = arm_clearance(arm, base_pose([3.0, 0.0, 0.0], 0.0), folded, 0.0, around)
    opened = arm_clearance(arm, base_pose([3.0, 0.0, 0.0], 0.0), arm.home, 0.0, around)
    assert found.self_m < opened.self_m and "link" in found.nearest


def test_a_prone_patient_gives_the_same_distances_seen_from_below(arm, torso):
    # The torso is symmetric front to back about y = -30, so turning the patient over changes nothing in the world
    # for a target on its axis.
    axis_point = [10.0, -30.0, 500.0]
    supine = place_patient(torso, axis_point, [0, -1, 0], [0, 0, 1])
    prone = place_patient(torso, axis_point, [0, 1, 0], [0, 0, 1])
    X_WB = base_pose([0.5, 0.0, 0.0], np.pi)
    first = arm_clearance(arm, X_WB, arm.home, 0.0, Surroundings(supine, torso))
    second = arm_clearance(arm, X_WB, arm.home, 0.0, Surroundings(prone, torso))
    assert first.patient_m == pytest.approx(second.patient_m, abs=1e-4)


def fine_bumpy_torso():
    """A closed body with folds finer than the cells in which its vertices are joined."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=7)
    points = np.asarray(ball.vertices)
    bumps = 1.0 + 0.01 * np.sin(60 * points[:, 0]) * np.cos(50 * points[:, 2])
    return points * bumps[:, None] * [0.17, 0.11, 0.25], np.asarray(ball.faces, dtype=np.int32)


def test_a_coarser_surface_lies_within_its_stated_distance_of_the_old_one():
    import open3d as o3d
    import trimesh

    vertices, faces = fine_bumpy_torso()
    new_vertices, new_faces, moved = coarser(vertices, faces, 0.01)
    assert len(new_faces) < len(faces) / 10 and 0.002 < moved < 0.01 * np.sqrt(3)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(new_vertices.astype(np.float32), new_faces.astype(np.uint32))
    middles = vertices[faces[::97]].mean(axis=1)
    assert scene.compute_distance(middles.astype(np.float32)).numpy().max() <= moved
    new = trimesh.Trimesh(new_vertices, new_faces, process=False)
    assert new.volume == pytest.approx(trimesh.Trimesh(vertices, faces, process=False).volume, rel=0.02)


def test_what_shrinks_to_an_edge_is_kept_as_it_was():
    # A spike thinner than a cell shrinks to one edge; without it the surface would lose 50 mm.
    base = np.array([[0.0, 0, 0], [0.001, 0, 0], [0, 0.001, 0], [0.0005, 0.0005, 0.05]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=np.int32)
    vertices, kept, moved = coarser(base, faces, 0.004)
    tip = vertices[kept].reshape(-1, 3)
    assert np.linalg.norm(tip - base[3], axis=1).min() <= moved


def test_clearance_from_a_very_fine_surface_stays_a_lower_bound(arm, placement):
    from needleplan.anatomy.mesh import SurfaceMesh

    vertices, faces = fine_bumpy_torso()
    surface = SurfaceMesh(vertices * 1e3 + [10.0, -30.0, 500.0], faces)
    around = Surroundings(placement, surface)
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    world, _ = placement.mesh_to_world(surface)
    scene.add_triangles(world.astype(np.float32), faces.astype(np.uint32))
    points = np.random.default_rng(2).uniform(world.min(axis=0) - 0.05, world.max(axis=0) + 0.05, size=(500, 3))
    points[:, 1] = np.clip(points[:, 1], world[:, 1].min() + 0.002, world[:, 1].max() - 0.002)
    exact = scene.compute_signed_distance(points.astype(np.float32)).numpy()
    found = around.patient_distance(points, 1.0)
    assert len(faces) > 60_000
    assert (found <= exact + 1e-6).all() and np.median(exact - found) < 0.004
