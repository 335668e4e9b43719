import re

import numpy as np
import pytest
from made_points import oblique_pose

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import FrameError, GeometryError, OptionError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from needleplan.registration.rotations import rotation_vectors, rotations_of
from needleplan.registration.surface import register_surface
from needleplan.registration.surface_search import SurfaceOptions

X_PT = oblique_pose()
CENTRE_MM = np.array([-30.0, 15.0, 540.0])


def ball(scale, subdivisions=5):
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions)
    return np.asarray(sphere.vertices) * scale + CENTRE_MM, sphere.faces


@pytest.fixture(scope="module")
def body():
    """A torso with ribs, a navel, breasts of unequal size and no plane of symmetry."""
    vertices, faces = ball([175.0, 118.0, 260.0])
    place = vertices - CENTRE_MM
    out = place / np.linalg.norm(place, axis=1, keepdims=True)
    height = np.zeros(len(place))
    for middle, width, size in (
        ([70.0, -100.0, 90.0], 55.0, 26.0),
        ([-75.0, -95.0, 70.0], 45.0, 18.0),
        ([8.0, -118.0, -40.0], 22.0, -9.0),
        ([-120.0, -60.0, -20.0], 50.0, 12.0),
    ):
        height += size * np.exp(-((place - middle) ** 2).sum(axis=1) / (2 * width**2))
    return SurfaceMesh(vertices + height[:, None] * out, faces)


def patch(mesh, rng, count=4000, error_mm=0.4, pose=X_PT, facing=(0.2, -1.0, 0.1), half_width_mm=130.0):
    """Points on the front of a body as the scanner has them."""
    weights = np.linalg.norm(mesh.area_vectors_mm2, axis=1)
    facing = np.asarray(facing) / np.linalg.norm(facing)
    middle = mesh.vertices_mm.mean(axis=0)
    across = mesh.face_centres_mm - middle
    across = across - (across @ facing)[:, None] * facing
    weights = weights * (mesh.face_normals @ facing > 0.3) * (np.linalg.norm(across, axis=1) < half_width_mm)
    faces = rng.choice(len(weights), count, p=weights / weights.sum())
    shares = rng.dirichlet(np.ones(3), count)
    points = np.einsum("nk,nki->ni", shares, mesh.triangles_mm[faces])
    return pose.inverse().apply(points + rng.normal(0, error_mm, (count, 1)) * mesh.face_normals[faces])


def near(pose, shift_mm, turn_deg, points):
    """A start that is off by a shift and a turn about the middle of the scan."""
    middle = pose.apply(points).mean(axis=0)
    turn = rotations_of(np.radians(turn_deg))
    translation = turn @ (pose.translation - middle) + middle + shift_mm
    return RigidTransform.from_parts(pose.parent, pose.child, turn @ pose.rotation, translation)


START = ([7.0, -8.0, 9.0], [4.0, -5.0, 6.0])


@pytest.fixture
def rng():
    return np.random.default_rng(51)


def error_mm(found, points):
    off = found.transform.apply(points) - X_PT.apply(points)
    return np.sqrt((off**2).sum(axis=1).mean())


def test_an_oblique_scan_is_laid_on_an_asymmetric_body(body, rng):
    points = patch(body, rng)
    found = register_surface(points, body, near(X_PT, *START, points))
    assert (found.transform.parent, found.transform.child) == (Frame.PATIENT, Frame.TRACKER)
    assert error_mm(found, points) < 0.15
    assert found.rms_mm == pytest.approx(0.4, rel=0.1)
    assert found.overlap > 0.98 and found.agreeing_starts > 0.5
    assert 10 < found.moved_mm < 30 and 1 < found.condition < 1 / 0.04


def test_the_result_does_not_depend_on_the_start_and_repeats(body, rng):
    points = patch(body, rng, 1500)
    few = SurfaceOptions(starts=3)
    one = register_surface(points, body, near(X_PT, *START, points), few)
    again = register_surface(points, body, near(X_PT, *START, points), few)
    other = register_surface(points, body, near(X_PT, [-6.0, 5.0, -7.0], [-5.0, 3.0, -4.0], points), few)
    np.testing.assert_array_equal(one.transform.matrix, again.transform.matrix)
    np.testing.assert_allclose(one.transform.apply(points), other.transform.apply(points), atol=0.02)


def test_clothes_and_a_hand_are_taken_out(body, rng):
    points = patch(body, rng)
    placed = X_PT.apply(points)
    outward = (placed - CENTRE_MM) / np.linalg.norm(placed - CENTRE_MM, axis=1, keepdims=True)
    cloth = placed[:, 2] < np.quantile(placed[:, 2], 0.18)
    hand = np.linalg.norm(placed - [30.0, -110.0, 600.0], axis=1) < 35
    placed[cloth] += outward[cloth] * rng.uniform(4, 12, (int(cloth.sum()), 1))
    placed[hand] += outward[hand] * 25
    worn = X_PT.inverse().apply(placed)
    found = register_surface(worn, body, near(X_PT, *START, worn))
    assert found.taken_out[cloth | hand].mean() > 0.97
    assert found.taken_out[~(cloth | hand)].mean() < 0.03
    assert error_mm(found, points) < 0.3
    assert found.residuals_mm[hand].min() > 5


def test_covariance_with_independent_points_is_that_of_many_scans(body, rng):
    """With independent errors and a correlation length that keeps points apart, the covariance is the true one."""
    options = SurfaceOptions(starts=1, capture_mm=3.0, capture_deg=2.0, correlation_mm=0.5)
    scores = []
    for _ in range(60):
        points = patch(body, rng, 300, 0.5)
        found = register_surface(points, body, X_PT, options)
        law = found.covariance
        middle = X_PT.inverse().apply(law.centre_mm)
        turn = rotation_vectors(found.transform.rotation @ X_PT.rotation.T)
        error = np.concatenate([found.transform.apply(middle) - law.centre_mm, turn])
        scores.append(error @ np.linalg.solve(law.matrix, error))
    # Chi-square of six degrees of freedom; trimming at three spreads makes the residuals seem a little smaller.
    assert np.mean(scores) == pytest.approx(6.0, abs=4 * np.sqrt(12 / 60) + 0.4)


def test_neighbours_that_err_together_count_as_one(body, rng):
    points = patch(body, rng)
    found = [
        register_surface(points, body, X_PT, SurfaceOptions(starts=1, correlation_mm=length))
        for length in (5.0, 30.0)
    ]
    target = np.add(CENTRE_MM, [-30.0, -20.0, 10.0])
    assert found[1].covariance.tre_mm(target) > 3 * found[0].covariance.tre_mm(target)


def box(half_mm):
    import trimesh

    mesh = trimesh.creation.box(np.multiply(half_mm, 2)).subdivide().subdivide().subdivide()
    return SurfaceMesh(np.asarray(mesh.vertices) + CENTRE_MM, mesh.faces)


def cylinder():
    angle, z = np.meshgrid(np.linspace(0, 2 * np.pi, 240, endpoint=False), np.linspace(-300, 300, 40))
    vertices = np.stack([130 * np.cos(angle), 130 * np.sin(angle), z], axis=-1).reshape(-1, 3) + CENTRE_MM
    first = np.arange(39)[:, None] * 240
    here, there = first + np.arange(240), first + (np.arange(240) + 1) % 240
    faces = np.concatenate(
        [np.stack([here, there, there + 240], -1), np.stack([here, there + 240, here + 240], -1)]
    ).reshape(-1, 3)
    return SurfaceMesh(vertices, faces)


def refusal(mesh, rng):
    points = patch(mesh, rng, 1500, 0.3, half_width_mm=90.0, facing=(0.0, -1.0, 0.0))
    with pytest.raises(GeometryError, match="slides in itself: ") as caught:
        register_surface(points, mesh, near(X_PT, [1.0, 2.0, -1.0], [1.0, 0.5, -1.0], points))
    motions = re.findall(r"a (slide|turn) (?:along|about) \(([^)]*)\)(?: through \(([^)]*)\))?", str(caught.value))
    return [
        (kind, np.array(axis.split(","), float), np.array(through.split(","), float) if through else None)
        for kind, axis, through in motions
    ]


def test_a_plane_patch_is_refused_and_its_three_motions_named(rng):
    (first, one, _), (second, other, _), (third, turn, _) = refusal(box([400.0, 100.0, 400.0]), rng)
    assert (first, second, third) == ("slide", "slide", "turn")
    assert abs(one[1]) < 0.05 and abs(other[1]) < 0.05 and turn[1] > 0.99


def test_a_patch_of_a_ball_is_refused_and_its_turns_go_through_the_middle(rng):
    motions = refusal(SurfaceMesh(*ball([150.0] * 3)), rng)
    assert [kind for kind, _, _ in motions] == ["turn"] * 3
    for _, axis, through in motions:
        assert np.linalg.norm(np.cross(through - CENTRE_MM, axis)) < 12


def test_a_patch_of_a_cylinder_is_refused_and_its_axis_named(rng):
    (first, along, _), (second, about, through) = refusal(cylinder(), rng)
    assert (first, second) == ("slide", "turn")
    assert along[2] > 0.99 and about[2] > 0.99
    assert np.linalg.norm((through - CENTRE_MM)[:2]) < 12


def test_a_body_that_repeats_itself_has_two_poses_that_fit_alike(rng):
    """Equal bumps 30 mm apart on a flat box: the scan holds everywhere but fits one bump further as well."""
    x, z = np.meshgrid(np.linspace(-200, 200, 161), np.linspace(-200, 200, 161), indexing="ij")
    y = -6 * (np.cos(2 * np.pi * x / 30) + np.cos(2 * np.pi * z / 30))
    index = np.arange(161 * 161).reshape(161, 161)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    sheet = SurfaceMesh(np.stack([x, y, z], -1).reshape(-1, 3) + CENTRE_MM, faces)
    points = patch(sheet, rng, 1500, 0.2, facing=(0.0, -1.0, 0.0), half_width_mm=60.0)
    with pytest.raises(GeometryError, match=r"two poses alike, (29|30|31)\."):
        register_surface(points, sheet, X_PT, SurfaceOptions(capture_mm=25.0, capture_deg=5.0, starts=16))


def test_poor_scans_are_refused(body, rng):
    points = patch(body, rng, 1000)
    few = SurfaceOptions(starts=2)
    start = near(X_PT, *START, points)
    with pytest.raises(GeometryError, match="at least 100 points"):
        register_surface(points[:50], body, start)
    with pytest.raises(GeometryError, match="point 8 of the scan"):
        register_surface(np.where(np.arange(1000)[:, None] == 7, np.nan, points), body, start)
    with pytest.raises(GeometryError, match="in millimetres"):
        register_surface(points * 1e-3, body, start)
    with pytest.raises(GeometryError, match="away from the surface"):
        register_surface(points, body, near(X_PT, [900.0, 0.0, 0.0], [0.0, 0.0, 0.0], points), few)
    middle = points.mean(axis=0)
    with pytest.raises(
        GeometryError, match=r"only .* of the scanned points fit|fits the surface to .* mm|beyond the"
    ):
        register_surface(middle + (points - middle) * [1.0, 1.0, -1.0], body, start, few)
    with pytest.raises(GeometryError, match="beyond the capture range"):
        tight = SurfaceOptions(starts=2, capture_mm=2.0, capture_deg=1.0)
        register_surface(points, body, near(X_PT, [4.0, -4.0, 4.0], [0.0, 2.0, 2.0], points), tight)
    with pytest.raises(FrameError, match="from a pose in P in mm"):
        register_surface(points, body, X_PT.inverse())
    with pytest.raises(FrameError, match="from a pose in P in mm"):
        register_surface(points, body, X_PT.in_unit(LengthUnit.METRE))
    with pytest.raises(GeometryError, match="cubes of the correlation length"):
        register_surface(points, body, X_PT, SurfaceOptions(starts=1, correlation_mm=2000.0))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"capture_mm": 0.0}, "capture range"),
        ({"capture_deg": 120.0}, "capture range"),
        ({"starts": 0}, "starts and a seed"),
        ({"seed": -1}, "starts and a seed"),
        ({"trim": 0.5}, "trim must be"),
        ({"least_overlap": 0.0}, "trim must be"),
        ({"greatest_rms_mm": 0.0}, "greatest residual"),
        ({"correlation_mm": 0.0}, "greatest residual"),
    ],
)
def test_impossible_options_are_refused(wrong, reason):
    with pytest.raises(OptionError, match=reason):
        SurfaceOptions(**wrong)
