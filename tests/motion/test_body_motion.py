import dataclasses
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.anatomy.moments import solid_moments
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.case.load import load_case
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import GeometryError, MotionError
from needleplan.motion.body_motion import MAXIMUM_CONTRACTION, BodyMotion, BodyState, _steepest
from needleplan.motion.chest_wall import INNER_ROLES
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.motion.organ_motion import PROVENANCES, organ_motion, organ_motions
from needleplan.motion.tabulated_body import TabulatedBody

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("NEEDLEPLAN_DATA") or ROOT.parent / "shared" / "data")

#: Displacements of the target in the trunk's axes: to the right, to anterior, to cranial.
WAYS = [(0.0, 6.0, -14.0), (-2.5, 3.0, -20.0), (1.0, -2.0, 5.0), (3.0, 0.0, 0.0)]


def ball(centre, axes) -> SurfaceMesh:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3)
    return SurfaceMesh(np.asarray(sphere.vertices) * axes + centre, np.asarray(sphere.faces))


def made_anatomy(
    position: PatientPosition = PatientPosition.SUPINE, move=None, target=(-60.0, -25.0, 65.0)
) -> Anatomy:
    """An asymmetric trunk of ellipsoids, with two ribs and organs on both sides."""
    meshes = {
        ("body", Role.SKIN): ball((10.0, 0.0, 50.0), (165.0, 115.0, 260.0)),
        ("liver", Role.ORGAN): ball((-50.0, -20.0, 60.0), (70.0, 55.0, 60.0)),
        ("spleen", Role.CRITICAL): ball((95.0, 25.0, 60.0), (20.0, 25.0, 30.0)),
        ("lesion", Role.TARGET): ball(target, (12.0, 10.0, 14.0)),
        ("kidney_right", Role.CRITICAL): ball((-55.0, 45.0, 0.0), (20.0, 20.0, 40.0)),
        ("lung", Role.LUNG): ball((-50.0, 0.0, 175.0), (55.0, 55.0, 50.0)),
        ("aorta", Role.VESSEL): ball((20.0, 45.0, 60.0), (9.0, 9.0, 150.0)),
        ("rib_right", Role.BONE): ball((-132.0, 0.0, 60.0), (5.0, 55.0, 8.0)),
        ("sternum", Role.BONE): ball((10.0, -95.0, 90.0), (18.0, 5.0, 50.0)),
        ("spine", Role.BONE): ball((10.0, 82.0, 50.0), (16.0, 16.0, 220.0)),
    }
    structures = tuple(Structure(name, role, mesh) for (name, role), mesh in meshes.items())
    case = Case("c", structures, position, "")
    case = case if move is None else case.moved(move)
    surfaces = tuple(
        StructureSurface(s.name, s.role, s.geometry, None, np.zeros(len(s.geometry.faces), dtype=bool), 0.0)
        for s in case.structures
    )
    return Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), dtype=bool))


def oblique_move() -> np.ndarray:
    from scipy.spatial.transform import Rotation

    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec([0.4, 0.9, -1.2]).as_matrix()
    move[:3, 3] = (50.0, -20.0, 9.0)
    return move


def phantom_anatomy() -> Anatomy:
    return build_anatomy(make_phantom(PhantomParameters(), np.random.default_rng(1)).case(5.0))


MAKERS = {
    "supine": made_anatomy,
    "decubitus": lambda: made_anatomy(PatientPosition.LEFT),
    "oblique": lambda: made_anatomy(move=oblique_move()),
    "prone": lambda: made_anatomy(PatientPosition.PRONE),
    "phantom": phantom_anatomy,
}


@cache
def body_of(name: str) -> BodyMotion:
    anatomy = MAKERS[name]()
    return BodyMotion(anatomy, LujanMotion(15.0, 4.0, 2, 0.0, inhalation_direction(anatomy.case)))


@pytest.fixture(params=[k if k == "supine" else pytest.param(k, marks=pytest.mark.long) for k in MAKERS])
def body(request) -> BodyMotion:
    return body_of(request.param)


@pytest.fixture
def supine() -> BodyMotion:
    return body_of("supine")


def state_of(body: BodyMotion, way) -> BodyState:
    return body.at(body.trunk.axes @ np.asarray(way))


def points_about(body: BodyMotion, count: int, seed: int = 0) -> np.ndarray:
    low, high = body.anatomy.entry.mesh.bounds_mm
    return np.random.default_rng(seed).uniform(low - 15.0, high + 15.0, (count, 3))


def moved_by(body: BodyMotion, state: BodyState, name: str) -> np.ndarray:
    """(n, 3) displacement of a structure's vertices in the trunk's axes."""
    surface = body.anatomy.surface(name)
    return (state.mesh(surface).vertices_mm - surface.mesh.vertices_mm) @ body.trunk.axes


def test_the_table_names_its_sources_and_covers_all_tissue():
    rows = organ_motions()
    assert len({row.kind for row in rows}) == len(rows)
    for row in rows:
        assert row.provenance in PROVENANCES and row.source
        assert row.provenance != "ASSUMED" or "assumption" in row.source or "by definition" in row.source
    for role in (*INNER_ROLES - {Role.TARGET}, Role.BONE, Role.SKIN):
        assert organ_motion("x", role)
    assert organ_motion("Kidney_left", Role.CRITICAL).cranial_ratio == 0.65
    assert organ_motion("liver vein", Role.VESSEL).kind == "vessel"
    assert organ_motion("vertebra_L1", Role.BONE).kind == "spine"
    with pytest.raises(MotionError, match="says nothing of 'field'"):
        organ_motion("field", Role.NO_GO)
    with pytest.raises(MotionError, match="ratio must lie between"):
        dataclasses.replace(rows[0], anterior_ratio=3.0)
    with pytest.raises(MotionError, match="provenance"):
        dataclasses.replace(rows[0], provenance="HEARD")


def test_no_breath_is_the_identity(body):
    state = body.at(np.zeros(3))
    points = points_about(body, 1000)
    assert np.array_equal(state.carry(points), points) and np.array_equal(state.back(points), points)
    target = body.anatomy.target
    assert state.mesh(target) is target.mesh
    assert state.stretch_bounds == (1.0, 1.0)
    assert np.abs(state.jacobian(points) - np.eye(3)).max() < 1e-10


@pytest.mark.parametrize("way", WAYS)
def test_the_centroid_of_the_target_goes_where_the_motion_says(body, way):
    state = state_of(body, way)
    rest = solid_moments(body.anatomy.target.mesh).centroid_mm
    now = solid_moments(state.mesh(body.anatomy.target)).centroid_mm
    assert (now - rest) @ body.trunk.axes == pytest.approx(way, abs=2e-5)


def test_times_are_those_of_the_motion(supine):
    state = supine.at_time(1.3)
    assert state.displacement_mm == pytest.approx(supine.motion.displacement_mm(1.3))


@pytest.mark.parametrize("way", WAYS[:2])
def test_spine_and_table_side_rest_and_the_organs_move_by_their_kind(body, way):
    state = state_of(body, way)
    assert np.abs(moved_by(body, state, "spine")).max() < 1e-9
    skin, up = body.anatomy.entry.mesh.vertices_mm, np.asarray(body.anatomy.case.up)
    lowest = (skin @ up) < (skin @ up).min() + 5.0
    assert np.abs(state.mesh(body.anatomy.entry).vertices_mm[lowest] - skin[lowest]).max() < 1e-9
    down = {
        name: -moved_by(body, state, name)[:, 2].mean() / -way[2] for name in ("liver", "kidney_right", "aorta")
    }
    assert 0.75 < down["liver"] < 1.1
    assert 0.35 < down["kidney_right"] < 0.8 * down["liver"]
    assert down["aorta"] < 0.75 * down["kidney_right"]


def test_ribs_and_skin_move_up_and_out(supine):
    state = state_of(supine, WAYS[0])
    rib, sternum, skin = (moved_by(supine, state, name) for name in ("rib_right", "sternum", "body"))
    assert rib[:, 0].mean() > 0.3 and rib[:, 2].mean() > 0.3
    assert sternum[:, 1].mean() > 1.5 and sternum[:, 2].mean() > 0.5
    front = supine.trunk.into(supine.anatomy.entry.mesh.vertices_mm)[:, 1] > 105.0
    assert (skin[front, 1] > 1.5).all()
    # With its own phase the wall moves while the target rests.
    lagging = supine.at(np.zeros(3), wall_mm=12.0)
    assert moved_by(supine, lagging, "sternum")[:, 1].mean() > 1.5
    rest = solid_moments(supine.anatomy.target.mesh).centroid_mm
    assert solid_moments(lagging.mesh(supine.anatomy.target)).centroid_mm == pytest.approx(rest, abs=2e-5)


@pytest.mark.parametrize("way", WAYS[:3])
def test_nothing_folds_and_slopes_stay_within_their_bounds(body, way):
    state = state_of(body, way)
    assert 0.0 < max(state.contraction) < MAXIMUM_CONTRACTION
    points = points_about(body, 20_000)
    greatest, inverse = state.stretch_bounds
    for side in (True, False):
        jacobian = state.jacobian(points, side)
        assert np.linalg.det(jacobian).min() > 0.0
        stretch = np.linalg.svd(jacobian, compute_uv=False)
        assert stretch.max() <= greatest and stretch.min() >= 1.0 / inverse
    near = points + np.random.default_rng(1).normal(0.0, 3.0, points.shape)
    ratio = np.linalg.norm(state.carry(near, True) - state.carry(points, True), axis=1)
    assert (ratio <= greatest * np.linalg.norm(near - points, axis=1)).all()


@pytest.mark.parametrize("way", WAYS)
def test_there_and_back_is_where_it_was(body, way):
    state = state_of(body, way)
    points = points_about(body, 20_000)
    assert np.abs(state.back(state.carry(points)) - points).max() < 1e-5
    assert np.abs(state.carry(state.back(points)) - points).max() < 1e-5


def test_organs_slide_along_the_chest_wall_without_gap_or_overlap(body):
    state = state_of(body, WAYS[0])
    angle, height = np.meshgrid(np.linspace(0.0, 6.2, 97), np.linspace(-40.0, 60.0, 31))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1, 2)
    height = height.ravel()

    def at(radius):
        return body.trunk.back(np.column_stack([direction * radius[:, None], height]))

    # The wall by bisection of the public test of sides.
    low, high = np.full(len(height), 5.0), np.full(len(height), 250.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        within = body.within_wall(at(middle))
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    inner, outer = at(low), at(high)
    slip = state.carry(inner) - state.carry(outer)
    assert np.linalg.norm(slip, axis=1).max() > 6.0
    # The carried inner side lies on the carried outer side: undone as outer tissue it is on the wall again.
    across = state.back(state.carry(inner, True), False)
    polar = body.trunk.into(across)
    radius = np.hypot(polar[:, 0], polar[:, 1])
    scale = (radius + 1e-5) / radius, (radius - 1e-5) / radius
    just_out, just_in = (body.trunk.back(np.column_stack([polar[:, :2] * k[:, None], polar[:, 2]])) for k in scale)
    assert not body.within_wall(just_out).any() and body.within_wall(just_in).all()
    # Near the spine nothing slides.
    assert np.linalg.norm(slip, axis=1).min() < 0.5


def test_distances_agree_with_the_deformed_surface(supine):
    state = state_of(supine, WAYS[0])
    for name in ("liver", "rib_right"):
        surface = supine.anatomy.surface(name)
        low, high = surface.mesh.bounds_mm
        points = np.random.default_rng(3).uniform(low - 25.0, high + 25.0, (4000, 3))
        found = state.signed_distance(surface, points)
        true = SurfaceDistance(state.mesh(surface)).signed_distance_mm(points)
        clear = np.abs(true) > 0.5
        assert (np.sign(found) == np.sign(true))[clear].all()
        least, greatest = state.distance_bounds(found)
        # A flat face of the carried mesh lies up to some tenths beside the carried face.
        assert (np.abs(true) >= least - 0.3).all() and (np.abs(true) <= greatest + 0.3).all()
        # The rest distance itself is off by no more than the structure moves.
        assert np.abs(found - true).max() < np.linalg.norm(WAYS[0])
        assert np.abs(found - true)[np.abs(true) < 10.0].max() < 4.0


def test_a_straight_needle_is_a_polyline_at_rest(supine):
    state = state_of(supine, WAYS[0])
    tip = solid_moments(supine.anatomy.target.mesh).centroid_mm
    entry = tip + supine.trunk.axes @ [70.0, 60.0, 10.0]
    points, inside = state.needle_at_rest(entry, tip, 0.7)
    assert inside[-1] and not inside[0]
    share = np.linspace(0.0, 1.0, len(points))[:, None]
    assert np.abs(state.carry(points, inside) - (entry + share * (tip - entry))).max() < 1e-5
    jump = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert jump.max() > 3.0 and np.median(jump) < 1.0  # where it crosses the wall the tissue has slid
    with pytest.raises(GeometryError, match="no points"):
        state.needle_at_rest(tip, tip)


@pytest.mark.long
def test_the_deformation_moves_with_the_patient(supine):
    move = oblique_move()
    there = body_of("oblique")
    points = points_about(supine, 2000)
    turned = points @ move[:3, :3].T + move[:3, 3]
    sides = supine.within_wall(points)
    expected = state_of(supine, WAYS[0]).carry(points, sides) @ move[:3, :3].T + move[:3, 3]
    assert np.abs(state_of(there, WAYS[0]).carry(turned, sides) - expected).max() < 0.02


@pytest.mark.long
def test_what_cannot_be_proven_is_refused(supine):
    with pytest.raises(MotionError, match=r"too deep.*smaller amplitude"):
        state_of(supine, (0.0, 90.0, -90.0))
    for bad in ([0.0, 1.0], [0.0, np.nan, 1.0]):
        with pytest.raises(MotionError, match="three finite numbers"):
            supine.at(bad)
    with pytest.raises(MotionError, match="finite"):
        supine.at(np.zeros(3), wall_mm=float("nan"))
    with pytest.raises(GeometryError, match="shape"):
        supine.at(np.zeros(3)).carry(np.zeros(3))
    with pytest.raises(MotionError, match="of the spine or of the table side"):
        BodyMotion(made_anatomy(target=(10.0, 58.0, 60.0)), supine.motion)


def test_a_hundred_thousand_points_take_fifty_milliseconds(supine):
    state = state_of(supine, WAYS[0])
    points = points_about(supine, 100_000)
    state.carry(points)
    taken = []
    for _ in range(7):
        start = time.process_time()
        state.carry(points)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.05


@pytest.mark.long
@pytest.mark.parametrize("name", ["ircadb01-case01", "kits23-case_00082"])
def test_real_patients(name):
    if not (DATA / {"i": "ircadb01-case01", "k": "kits23-kidney"}[name[0]]).is_dir():
        pytest.skip(f"the data of {name} are not here: set NEEDLEPLAN_DATA")
    os.environ.setdefault("NEEDLEPLAN_DATA", str(DATA))
    anatomy = build_anatomy(load_case(ROOT / "examples" / "cases" / f"{name}.toml"))
    body = BodyMotion(anatomy, LujanMotion(15.0, 4.0, 2, 0.0, inhalation_direction(anatomy.case)))
    state = body.at_time(0.0)
    points = points_about(body, 20_000)
    assert np.abs(state.back(state.carry(points)) - points).max() < 1e-5
    for side in (True, False):
        assert np.linalg.det(state.jacobian(points, side)).min() > 0.0
    rest, now = (solid_moments(mesh).centroid_mm for mesh in (anatomy.target.mesh, state.mesh(anatomy.target)))
    assert now - rest == pytest.approx(body.motion.displacement_mm(0.0), abs=2e-5)
    table = TabulatedBody.of_motion(body)
    assert table.error_mm < 0.01
    fitted = table.state(state.displacement_mm)
    assert np.abs(fitted.carry(points) - state.carry(points)).max() < 0.05
    assert np.linalg.det(fitted.jacobian(points)).min() > 0.0


def test_the_steepest_slopes_hold_the_greatest_of_every_mix():
    rng = np.random.default_rng(5)
    share, lift = rng.lognormal(0.0, 1.0, (9, 8, 7)), rng.lognormal(0.0, 1.0, (9, 8, 7))
    share[0, 0, 0], lift[0, 0, 0] = share.max(), lift[1, 1, 1]
    few = _steepest(share, lift)
    assert len(few[0]) < 100
    for a, b in np.vstack([rng.random((50, 2)), np.eye(2), [[0.0, 0.0]]]):
        assert (a * few[0] + b * few[1]).max() == (a * share + b * lift).max()
    assert _steepest(np.zeros(6), np.zeros(6))[0].shape == (1,)


def test_the_bound_of_contraction_is_that_over_all_cells(supine):
    state = state_of(supine, WAYS[0])
    across, wall = np.hypot(*state.drive[1:3]), abs(state.drive[3])
    rng = np.random.default_rng(2)
    points = points_about(supine, 300)
    steep = np.linalg.norm(state.jacobian(points, False) - np.eye(3), axis=(1, 2), ord=2)
    assert state.contraction[1] >= steep.max() - 1e-9
    greater = state.drive * (1.0 + 0.1 * rng.random(4))
    greater[1:3] = state.drive[1:3] * 1.05
    assert (np.asarray(supine.contraction(greater)) >= np.asarray(state.contraction)).all()
    assert across > 0.0 and wall > 0.0
    with pytest.raises(MotionError, match="too deep"):
        supine.contraction(40.0 * state.drive)


def test_a_second_tumour_goes_with_the_organ_around_it_and_other_regions_rest():
    for move in (None, oblique_move()):
        base = made_anatomy(move=move)
        pose = np.eye(4) if move is None else move
        extra = []
        for name, role, centre in (
            ("lesion_2", Role.ALLOWED, (-25.0, -10.0, 75.0)),
            ("keep_out", Role.NO_GO, (-25.0, -10.0, 75.0)),
            ("field", Role.ALLOWED, (60.0, -40.0, -60.0)),
        ):
            mesh = ball(centre, (9.0, 8.0, 7.0)).moved(pose)
            extra.append(StructureSurface(name, role, mesh, None, np.zeros(len(mesh.faces), dtype=bool), 0.0))
        anatomy = dataclasses.replace(base, surfaces=(*base.surfaces, *extra))
        body = BodyMotion(anatomy, LujanMotion(15.0, 4.0, 2, 0.0, inhalation_direction(anatomy.case)))
        state = state_of(body, (0.0, 6.0, -14.0))
        second, keep_out, field = extra
        assert not body.rests(second) and body.rests(keep_out) and body.rests(field)
        carried = state.carry(second.mesh.vertices_mm, True)
        assert np.array_equal(state.mesh(second).vertices_mm, carried)
        assert np.linalg.norm(carried - second.mesh.vertices_mm, axis=1).min() > 8.0
        assert np.abs(state.signed_distance(second, carried)).max() < 1e-3
        # It stays within the liver, as it lay.
        within = SurfaceDistance(state.mesh(anatomy.surface("liver"))).signed_distance_mm(carried)
        assert within.max() < 0.0
        for region in (keep_out, field):
            assert state.mesh(region) is region.mesh
