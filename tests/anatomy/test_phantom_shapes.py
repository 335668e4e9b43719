"""Signed distances of the phantom's solids against brute force and against exact meshes."""

import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.phantom_layout import rotation
from needleplan.anatomy.phantom_primitives import Ellipsoid, HalfSpace, RoundedBoxes, RoundedCones, Superellipsoid
from needleplan.anatomy.phantom_sampling import sample, surface
from needleplan.anatomy.phantom_shapes import DistanceKind, Intersection, Union
from needleplan.errors import GeometryError
from needleplan.grid import Grid

AXES = rotation((25.0, -40.0, 70.0))
CENTRE = np.array([12.0, -7.0, 30.0])
ELLIPSOID = Ellipsoid(CENTRE, np.array([22.0, 9.0, 14.0]), AXES)
BOXES = RoundedBoxes(
    np.stack([CENTRE, CENTRE + np.array([20.0, 4.0, -9.0])]),
    np.array([[9.0, 12.0, 5.0], [6.0, 6.0, 14.0]]),
    2.5,
    AXES,
)
SUPER = Superellipsoid(CENTRE, np.array([22.0, 11.0, 30.0]), 2.6, AXES)


def cones(count: int, seed: int = 0) -> RoundedCones:
    draw = np.random.default_rng(seed)
    starts = draw.uniform(-40, 40, (count, 3))
    return RoundedCones(starts, starts + draw.normal(0, 12, (count, 3)), draw.uniform(1.0, 7.0, (count, 2)))


def probes(shape: object, count: int = 400) -> np.ndarray:
    low, high = shape.bounds_mm  # type: ignore[attr-defined]
    return np.random.default_rng(7).uniform(low - 15, high + 15, (count, 3))


def mesh_distance(mesh: SurfaceMesh, points: np.ndarray) -> np.ndarray:
    """Unsigned distances by Open3D, an engine that shares nothing with the formulas."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.asarray(mesh.vertices_mm, np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    return scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()


@pytest.mark.parametrize("seed", range(6))
def test_rounded_cone_is_the_union_of_its_balls_on_both_sides(seed: int) -> None:
    cone = cones(1, seed)
    points = probes(cone)
    t = np.linspace(0.0, 1.0, 20001)[:, None]
    radii = cone.radii_mm[0, 0] + t[:, 0] * (cone.radii_mm[0, 1] - cone.radii_mm[0, 0])
    centres = cone.starts_mm + t * (cone.ends_mm - cone.starts_mm)
    expected = np.array([(np.linalg.norm(p - centres, axis=1) - radii).min() for p in points])
    assert cone.distance_kind is DistanceKind.EXACT
    assert cone.signed_distance(points) == pytest.approx(expected, abs=1e-4)


def test_cone_within_the_larger_ball_is_that_ball() -> None:
    cone = RoundedCones(np.zeros((1, 3)), np.array([[1.0, 0, 0]]), np.array([[2.0, 6.0]]))
    points = probes(cone)
    assert cone.signed_distance(points) == pytest.approx(np.linalg.norm(points - [1.0, 0, 0], axis=1) - 6.0)


def test_many_cones_are_the_least_of_the_single_ones() -> None:
    many = cones(40)
    points = probes(many, 2000)
    single = [
        RoundedCones(many.starts_mm[[k]], many.ends_mm[[k]], many.radii_mm[[k]]).signed_distance(points)
        for k in range(40)
    ]
    assert many.signed_distance(points) == pytest.approx(np.min(single, axis=0), abs=1e-12)
    assert many.distance_kind is DistanceKind.EXACT_OUTSIDE


def test_ellipsoid_against_a_dense_sampling_of_its_surface() -> None:
    draw = np.random.default_rng(3)
    rays = draw.standard_normal((400_000, 3))
    on_surface = rays / np.linalg.norm(rays, axis=1, keepdims=True) * ELLIPSOID.semi_axes_mm @ AXES.T + CENTRE
    points = np.concatenate([probes(ELLIPSOID, 150), CENTRE[None], CENTRE + 3.0 * AXES.T])
    found = ELLIPSOID.signed_distance(points)
    from scipy.spatial import cKDTree

    expected = cKDTree(on_surface).query(points)[0]
    # A sample lies within about 0.15 mm of the nearest point, which costs its square over twice the distance.
    far = expected > 0.5
    assert np.abs(found[far]) == pytest.approx(expected[far], abs=0.03)
    assert (expected >= np.abs(found) - 1e-9).all()
    inside = (((points - CENTRE) @ AXES / ELLIPSOID.semi_axes_mm) ** 2).sum(axis=1) < 1
    assert ((found < 0) == inside).all()


def test_ellipsoid_with_equal_axes_is_a_sphere_and_its_centre_is_exact() -> None:
    ball = Ellipsoid(CENTRE, np.full(3, 8.0), AXES)
    points = probes(ball)
    assert ball.signed_distance(points) == pytest.approx(np.linalg.norm(points - CENTRE, axis=1) - 8.0, abs=1e-9)
    assert ELLIPSOID.signed_distance(CENTRE[None])[0] == pytest.approx(-9.0, abs=1e-6)


def test_points_on_an_ellipsoid_and_along_its_normals() -> None:
    draw = np.random.default_rng(5)
    rays = draw.standard_normal((500, 3))
    local = rays / np.linalg.norm(rays, axis=1, keepdims=True) * ELLIPSOID.semi_axes_mm
    normal = local / ELLIPSOID.semi_axes_mm**2
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for height in (0.0, 1e-6, 0.4, 60.0):
        points = (local + height * normal) @ AXES.T + CENTRE
        assert ELLIPSOID.signed_distance(points) == pytest.approx(height, abs=1e-7)


@pytest.mark.parametrize("shape", [BOXES, ELLIPSOID, cones(12), SUPER], ids=lambda s: type(s).__name__)
def test_values_against_an_exact_engine_on_the_mesh(shape: Union) -> None:
    low, high = shape.bounds_mm
    mesh = surface(shape, 0.7, low, high)
    points = probes(shape, 3000)
    found, true = shape.signed_distance(points), mesh_distance(mesh, points)
    assert mesh.is_watertight
    assert np.abs(shape.signed_distance(np.array(mesh.vertices_mm))).max() < 1e-3
    chord = 0.25  # sagitta of triangles of 0.7 mm over edges of radius 1 mm and over
    assert (np.abs(found) <= true + chord).all()
    if shape.distance_kind is not DistanceKind.BOUND:
        assert found[found > 0] == pytest.approx(true[found > 0], abs=chord)
    else:
        assert (np.abs(found) < 0.9 * true).any()


def test_box_closed_form() -> None:
    box = RoundedBoxes(np.zeros((1, 3)), np.array([[4.0, 5.0, 6.0]]), 1.0, np.eye(3))
    points = np.array([[9.0, 0, 0], [0, 0, 0], [7.0, 8.0, 0], [3.0, 4.0, 5.0]])
    assert box.distance_kind is DistanceKind.EXACT
    assert box.signed_distance(points) == pytest.approx([5.0, -4.0, np.hypot(4, 4) - 1.0, -1.0])


def test_blends_and_offsets_keep_the_bound() -> None:
    plane = HalfSpace(CENTRE, np.array([0.3, -0.5, 0.8]))
    solid = Intersection((Union((ELLIPSOID, BOXES, cones(3)), 6.0), plane), 3.0).without(
        SUPER.grown(-6.0), blend_mm=4
    )
    low, high = solid.bounds_mm
    mesh = surface(solid, 0.7, low, high)
    points = np.random.default_rng(11).uniform(low - 15, high + 15, (5000, 3))
    found = solid.signed_distance(points)
    assert (np.abs(found) <= mesh_distance(mesh, points) + 0.25).all()
    assert (found < 0).any()


def test_motion_and_mirror_carry_the_field_along() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((10, 20, -35)) @ np.diag([-1.0, 1, 1])
    matrix[:3, 3] = (5, -60, 11)
    solid = Union((ELLIPSOID, BOXES, cones(8), SUPER), 5.0).without(HalfSpace(CENTRE, AXES[0]), blend_mm=2.0)
    points = np.random.default_rng(2).uniform(-60, 60, (500, 3))
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    # Parts outside their boxes may be left out, and the boxes turn; near the surface nothing depends on that.
    here, there = solid.signed_distance(points), solid.moved(matrix).signed_distance(moved)
    assert ((here < 0) == (there < 0)).all()
    near = np.abs(here) < 3
    assert near.sum() > 10
    assert there[near] == pytest.approx(here[near], abs=1e-6)


def test_blockwise_sampling_is_the_sampling_of_every_voxel_on_an_oblique_grid() -> None:
    solid = Union((ELLIPSOID, cones(10)), 4.0).without(BOXES.grown(1.0), blend_mm=2.0)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((31, -17, 50)) * [0.9, 2.1, 1.4]
    matrix[:3, 3] = -matrix[:3, :3] @ (60, 27, 40) + [0, 0, 5]
    grid = Grid((121, 53, 83), matrix)
    expected = solid.signed_distance(grid.centres_mm()).reshape(grid.shape)
    assert ((sample(solid, grid) < 0) == (expected < 0)).all()
    found = sample(solid, grid, near_mm=1.0)
    assert ((found < 0) == (expected < 0)).all()
    near = np.abs(expected) < 1.0
    assert found[near] == pytest.approx(expected[near], abs=1e-5)


def test_surface_refuses_a_box_that_cuts_the_solid_and_a_solid_that_the_samples_miss() -> None:
    low, high = ELLIPSOID.bounds_mm
    with pytest.raises(GeometryError, match="reaches beyond"):
        surface(ELLIPSOID, 1.0, low + 15, high)
    with pytest.raises(GeometryError, match="empty"):
        surface(RoundedCones.sphere((0.3, 0.3, 0.3), 0.05), 2.0, np.full(3, -4.0), np.full(3, 4.0))


def test_shapes_refuse_what_is_no_solid() -> None:
    with pytest.raises(GeometryError, match="positive radii"):
        RoundedCones.sphere(CENTRE, 0.0)
    with pytest.raises(GeometryError, match="semi-axes"):
        Ellipsoid(CENTRE, np.array([1.0, -1.0, 2.0]), np.eye(3))
    with pytest.raises(GeometryError, match="exponent"):
        Superellipsoid(CENTRE, np.ones(3), 1.5, np.eye(3))
    with pytest.raises(GeometryError, match="rounding"):
        RoundedBoxes(np.zeros((1, 3)), np.ones((1, 3)), 2.0, np.eye(3))
