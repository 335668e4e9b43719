"""The scene as data: what it says lies where the plan and the patient lie, and it is small and finite."""

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
import trimesh
from made_outcomes import outcome, trace
from planned_patient import oblique, planned_patient

from needleplan.ablation.volume import zone_volume_ml
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.surface_nets import surfaces_from_mask
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import report_route
from needleplan.app.page.document import scene_text
from needleplan.app.page.scene import build_scene, light_surfaces
from needleplan.app.page.scene_breath import breath_of, breath_values
from needleplan.app.page.scene_growth import growth_moments, growth_note
from needleplan.app.page.scene_margin import margin_colours, margin_section
from needleplan.app.page.scene_meshes import FACE_COUNTS, apart_mm, lightened, without_cavities
from needleplan.app.page.scene_planes import GrownTarget, simplified_loop
from needleplan.app.page.scene_robot import robot_surfaces, route_fits
from needleplan.app.page.scene_values import (
    packed,
    packed_faces,
    quantised,
    scene_size_bytes,
    unpacked,
    unquantised,
)
from needleplan.case.model import Role
from needleplan.errors import OptionError, PlanFileError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.plan_file import write_json
from needleplan.plan import PhysicsVerdict
from robots.catalogue import DEFAULT_ROBOT
from robots.route import route_to_json
from tests.sim.made_patient import ellipsoid, route_for


@cache
def lying():
    return planned_patient(oblique(), scored=True)


@cache
def scene():
    return build_scene(lying(), deforming=False)


def body(made, name):
    return next(one for one in made["bodies"] if one["id"] == name)


def mesh_of(one):
    return SurfaceMesh(unquantised(one["points"]), unpacked(one["faces"]).astype(np.int32))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int16, np.float32])
@pytest.mark.parametrize("size", [1, 5, 4000])
def test_arrays_come_back_as_they_were(kind, size):
    values = (np.arange(size * 2).reshape(size, 2) % 251).astype(kind)
    back = unpacked(json.loads(json.dumps(packed(values))))
    assert back.dtype == kind and np.array_equal(back, values)
    assert packed(values) == packed(values)


def test_arrays_that_no_page_reads_are_refused():
    with pytest.raises(OptionError, match="f32"):
        packed(np.zeros(3))
    with pytest.raises(OptionError, match="finite"):
        packed(np.array([np.nan], dtype=np.float32))


def test_quantised_points_lie_within_half_a_step():
    rng = np.random.default_rng(4)
    for extent, wanted in ((10.0, 0.01), (5000.0, 0.01)):
        points = rng.uniform(-extent, extent, (300, 3))
        made = quantised(points, wanted)
        assert made["step_mm"] >= wanted
        assert np.abs(unquantised(made) - points).max() <= 0.5 * made["step_mm"] + 1e-9
    assert quantised(rng.uniform(-10, 10, (9, 2)), 0.01)["step_mm"] == 0.01
    for bad in (np.zeros((0, 3)), np.array([[np.inf, 0, 0]]), np.zeros(3)):
        with pytest.raises(OptionError):
            quantised(bad, 0.01)


def test_faces_take_the_narrowest_kind():
    faces = np.array([[0, 1, 2]])
    assert packed_faces(faces, 65_535)["dtype"] == "u16" and packed_faces(faces, 65_536)["dtype"] == "u32"


@pytest.mark.parametrize("within", [0.05, 0.3])
def test_light_surfaces_keep_their_bound_closed_and_outward(within):
    mesh = ellipsoid((5.0, -3.0, 40.0), (40.0, 25.0, 60.0), 70)
    light = lightened(mesh, within)
    assert len(light.mesh.faces) < 0.4 * len(mesh.faces) and light.usual_mm <= within
    points = light.mesh.triangles_mm.mean(axis=1)
    off = np.abs(SurfaceDistance(mesh).signed_distance_mm(points))
    assert np.quantile(off, 0.99) <= 2 * within
    assert light.mesh.is_watertight and light.mesh.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.03)
    assert lightened(mesh, 5.0 * within).mesh.faces.shape[0] <= light.mesh.faces.shape[0]


def test_large_surfaces_with_flat_ends_keep_their_bound_too():
    # A drum: on flat parts every simplification costs the same, nothing.
    ball = trimesh.creation.icosphere(subdivisions=7, radius=60.0)
    flat = np.clip(ball.vertices, (-np.inf, -np.inf, -40.0), (np.inf, np.inf, 40.0)) * (1.3, 1.0, 1.0)
    mesh = SurfaceMesh(flat @ oblique()[:3, :3].T + (300.0, -80.0, 20.0), ball.faces)
    light = lightened(mesh, 0.4)
    assert len(mesh.faces) > 300_000 and len(light.mesh.faces) <= 6_000
    assert light.usual_mm <= 0.4 and light.farthest_mm < 1.0
    points = light.mesh.triangles_mm.mean(axis=1)
    assert np.quantile(np.abs(SurfaceDistance(mesh).signed_distance_mm(points)), 0.99) <= 0.5
    assert light.mesh.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=0.01)


def test_two_surfaces_lie_apart_by_the_farthest_place_of_either():
    ball = ellipsoid((0.0, 0.0, 0.0), (20.0, 20.0, 20.0), 30)
    horned = SurfaceMesh(np.where(ball.vertices_mm[:, 2:] > 19.99, [[0, 0, 27.0]], ball.vertices_mm), ball.faces)
    assert apart_mm(horned, ball) == pytest.approx(7.0, abs=0.01)
    assert apart_mm(ball, horned) == pytest.approx(7.0, abs=0.01)


def stepped():
    """The patient with a target of voxels of 4 mm, which is smoothed for drawing."""
    planned = lying()
    target = planned.anatomy.target
    mesh = target.mesh
    box = mesh.bounds_mm
    shape = tuple(int(n) for n in np.ceil((box[1] - box[0]) / 4.0) + 2)
    place = np.diag([4.0, 4.0, 4.0, 1.0])
    place[:3, 3] = box[0] - 2.0
    grid = Grid(shape, place)
    inside = SurfaceDistance(mesh).contains(grid.centres_mm()).reshape(shape)
    made = surfaces_from_mask(VoxelMask(grid, inside))
    cut = np.zeros(len(made.boundary.faces), dtype=bool)
    voxels = dataclasses.replace(target, mesh=made.boundary, smooth=made.smooth, cut_faces=cut)
    surfaces = tuple(voxels if surface is target else surface for surface in planned.anatomy.surfaces)
    return dataclasses.replace(
        planned, anatomy=dataclasses.replace(planned.anatomy, surfaces=surfaces), assessment=None
    )


@pytest.mark.long
def test_a_smoothed_target_says_how_far_it_lies_from_what_is_measured_and_the_planes_show_that():
    planned = stepped()
    target = planned.anatomy.target
    made = build_scene(planned, deforming=False, growing=False)
    drawn = mesh_of(body(made, "t:tumour"))
    true_mm = max(
        SurfaceDistance(target.mesh).distance_mm(drawn.vertices_mm).max(),
        SurfaceDistance(drawn).distance_mm(target.mesh.vertices_mm).max(),
    )
    told = {one.name: one.measured_mm for one in light_surfaces(made)}
    assert 1.5 < true_mm < 4.0 and true_mm - 0.02 <= told["tumour"] < true_mm + 0.3
    assert f"the target by up to {told['tumour']:.1f} mm" in made["note"]
    assert told["liver"] == body(made, "s:liver")["error_mm"][1]
    assert scene()["note"] is None
    centre, off = np.asarray(made["centre_mm"]), []
    for view in made["planes"]["views"]:
        axis, right, down = (np.asarray(view[name]) for name in ("axis", "right", "down"))
        for one in view["slices"]:
            for loop in (lo for c in one["contours"] if c["body"] == "t:tumour" for lo in c["loops"]):
                points = centre + unquantised(loop) @ np.stack([right, down]) + one["offset_mm"] * axis
                off.append(SurfaceDistance(target.mesh).distance_mm(points).max())
    assert len(off) > 15 and max(off) < 0.1


def test_the_planes_hold_the_zones_of_every_moment():
    made = scene()
    moments = {one["id"]: one["moment"] for one in made["bodies"] if "moment" in one}
    assert len(moments) > 3
    for view in made["planes"]["views"]:
        cut = {c["body"] for one in view["slices"] for c in one["contours"]}
        assert set(moments) <= cut
    middle = min(made["planes"]["views"][0]["slices"], key=lambda one: abs(one["offset_mm"]))
    wide = {
        c["body"]: max(np.ptp(unquantised(loop), axis=0).max() for loop in c["loops"])
        for c in middle["contours"] if c["body"] in moments
    }  # fmt: skip
    in_order = [wide[name] for name in sorted(wide, key=lambda name: moments[name])]
    assert in_order[0] < in_order[-1] - 3.0 and (np.diff(in_order) > -0.5).all()


def test_closed_cavities_alone_are_left_out():
    bone = ellipsoid((5.0, -3.0, 40.0), (20.0, 15.0, 30.0), 12)
    cavity = ellipsoid((6.0, -2.0, 45.0), (3.0, 2.0, 4.0), 6).flipped()
    beside = ellipsoid((60.0, 0.0, 40.0), (3.0, 2.0, 4.0), 6)
    offsets = np.cumsum([0, len(bone.vertices_mm), len(cavity.vertices_mm)])
    whole = SurfaceMesh(
        np.concatenate([one.vertices_mm for one in (bone, cavity, beside)]),
        np.concatenate([one.faces + k for one, k in zip((bone, cavity, beside), offsets, strict=True)]),
    )
    kept = without_cavities(whole)
    assert len(kept.faces) == len(bone.faces) + len(beside.faces)
    assert kept.volume_mm3 == pytest.approx(bone.volume_mm3 + beside.volume_mm3) and kept.is_watertight
    assert without_cavities(bone) is bone


def test_a_small_surface_stays_as_it_is():
    mesh = ellipsoid((0.0, 0.0, 0.0), (4.0, 5.0, 6.0), 8)
    light = lightened(mesh, 0.5)
    assert len(light.mesh.faces) == len(mesh.faces) < FACE_COUNTS[-1] and light.farthest_mm == 0.0
    assert light.mesh.volume_mm3 == pytest.approx(mesh.volume_mm3)


def test_thin_ends_are_kept_and_no_bound_is_claimed_that_does_not_hold():
    # A body with a whisker as thin as nothing: fewer faces would lose its end.
    egg = ellipsoid((0.0, 0.0, 0.0), (20.0, 20.0, 20.0), 30)
    whisker = ellipsoid((0.0, 0.0, 45.0), (0.02, 0.02, 26.0), 6)
    both = SurfaceMesh(
        np.concatenate([egg.vertices_mm, whisker.vertices_mm]),
        np.concatenate([egg.faces, whisker.faces + len(egg.vertices_mm)]),
    )
    light = lightened(both, 0.3)
    end = light.mesh.vertices_mm[:, 2].max()
    assert end > 70.0 or light.farthest_mm >= 71.0 - end - 0.5


def test_the_scene_is_json_that_cannot_leave_its_element():
    planned = lying()
    named = dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, case_name="</script><b>&\u202e'\""))
    made = scene() | {"title": named.plan.case_name}
    text = scene_text(made)
    assert "<" not in text and json.loads(text)["title"] == named.plan.case_name
    assert scene_size_bytes(made) < 1_000_000
    with pytest.raises(OptionError, match="JSON"):
        scene_size_bytes({"a": float("nan")})


def test_bodies_needles_and_axes_lie_where_the_patient_lies():
    planned, made = lying(), scene()
    ids = [one["id"] for one in made["bodies"]]
    assert len(set(ids)) == len(ids)
    assert {f"s:{s.name}" for s in planned.anatomy.surfaces if s.role is not Role.TARGET} | {"t:tumour"} <= set(ids)
    for surface in planned.anatomy.surfaces:
        found = mesh_of(body(made, f"{'t' if surface.role is Role.TARGET else 's'}:{surface.name}"))
        assert found.bounds_mm == pytest.approx(surface.mesh.bounds_mm, abs=1.0)
        assert found.volume_mm3 == pytest.approx(surface.mesh.volume_mm3, rel=0.03)
    for one, insertion in zip(made["needles"], planned.plan.insertions, strict=True):
        assert one["entry_mm"] == pytest.approx(insertion.entry_mm, abs=1e-3)
        assert one["tip_mm"] == pytest.approx(insertion.tip_mm, abs=1e-3) and one["radius_mm"] > 0.3
    turn = oblique()[:3, :3]
    assert np.allclose(made["axes"]["superior"], turn @ (0, 0, 1), atol=1e-3)
    assert np.allclose(made["axes"]["left"], turn @ (1, 0, 0), atol=1e-3)
    centre = planned.anatomy.target.mesh.vertices_mm.mean(axis=0)
    assert np.allclose(made["centre_mm"], centre, atol=0.2)
    assert abs(np.dot(made["toward"], made["up"])) < 0.99
    assert {name for name, *_ in light_surfaces(made)} >= {"tumour", "liver", "skin"}


@pytest.mark.long
def test_zones_grow_and_end_as_the_plan_predicts():
    planned = lying()
    moments = growth_moments(planned.plan, planned.zone_model)
    volumes = [moment.volume_ml for moment in moments]
    times = [moment.time_s for moment in moments]
    assert (np.diff(volumes) > -0.05).all() and (np.diff(times) > 0).all()
    whole = zone_volume_ml(planned.zone_model.zone(planned.plan.insertions))
    assert volumes[-1] == pytest.approx(whole, rel=1e-9)
    assert times[-1] == sum(a.duration_s for i in planned.plan.insertions for a in i.ablations)
    # The first moment of a delivery is the table's own zone at its shortest time.
    first = planned.zone_model.table("generic-mwa-2450").size(60.0, 60.0)
    assert volumes[0] == pytest.approx(first.volume_ml, rel=0.02)
    assert moments[0].surface.volume_mm3 / 1000 == pytest.approx(first.volume_ml, rel=0.05)
    made = scene()
    of_moments = [one["moment"] for one in made["bodies"] if "moment" in one]
    assert sorted(of_moments) == list(range(len(moments))) and len(made["growth"]["moments"]) == len(moments)


def test_a_scene_without_growth_has_all_else_and_the_breath_that_is_given():
    planned = lying()
    given = breath_of(planned.anatomy, deforming=False)
    made = build_scene(planned, breath=dataclasses.replace(given, label="a given one"), growing=False)
    assert made["growth"] is None and made["breath"]["label"] == "a given one"
    zones = {one["id"] for one in scene()["bodies"] if one["group"] == "zones"}
    assert zones and {one["id"] for one in made["bodies"]} == {one["id"] for one in scene()["bodies"]} - zones


def test_growth_says_that_physics_was_not_asked_for_it():
    planned = lying()
    assert "solver" not in growth_note(planned.plan, planned.zone_model)
    verdict = PhysicsVerdict("bioheat", "Omega >= 1", planned.plan.metrics, True, 1)
    told = growth_note(dataclasses.replace(planned.plan, physics=verdict), planned.zone_model)
    assert "bioheat" in told and "not among these moments" in told


def test_margin_histogram_and_colours_follow_the_margins():
    planned = lying()
    made = margin_section(planned.anatomy, planned.assessment)
    margins = planned.assessment.vertex_margins_mm
    assert made["least_mm"] == pytest.approx(margins.min(), abs=1e-3)
    bars = made["histogram"]
    assert sum(bar["area_share"] for bar in bars) == pytest.approx(1.0, abs=1e-4)
    assert bars[0]["low_mm"] <= margins.min() and bars[-1]["high_mm"] > margins.max()
    assert not any(bar["low_mm"] < edge < bar["high_mm"] for bar in bars for edge in (0.0, 5.0))
    cells = unpacked(made["map"]["values_mm"])
    assert cells.shape == (made["map"]["rows"], made["map"]["columns"])
    assert cells.min() == pytest.approx(margins.min(), abs=0.02)
    colours = margin_colours(planned.anatomy, planned.assessment, planned.anatomy.target.mesh.vertices_mm)
    covered = np.array([int("0072b2"[k : k + 2], 16) for k in (0, 2, 4)])
    assert np.array_equal((colours == covered).all(axis=1), margins >= 5.0)


def test_map_has_superior_at_the_top():
    planned = lying()
    height = planned.anatomy.target.mesh.vertices_mm @ oblique()[:3, 2]
    rising = dataclasses.replace(planned.assessment, vertex_margins_mm=height - height.mean())
    cells = unpacked(margin_section(planned.anatomy, rising)["map"]["values_mm"])
    assert cells[0].mean() > 10.0 > -10.0 > cells[-1].mean()


def test_breath_moves_the_target_by_the_motion_and_the_spine_not():
    planned = lying()
    moved = body(scene(), "t:tumour")
    shift = unpacked(moved["breath"]).astype(float) * moved["breath_step_mm"]
    down = oblique()[:3, :3] @ np.array([0.0, -2.3 / 5.3, -1.0])
    assert np.allclose(shift, 15.0 * down / np.linalg.norm(down), atol=0.05)
    assert "breath" not in body(scene(), "s:spine") and "breath" not in breath_values(np.zeros((4, 3)))
    assert "15" in scene()["breath"]["label"] and "assumed" in scene()["breath"]["note"]
    deep = breath_of(planned.anatomy)
    target = planned.anatomy.target
    carried = deep.of_structure(target, target.mesh)
    assert np.linalg.norm(carried.mean(axis=0)) == pytest.approx(15.0, abs=0.5)
    assert "deform" in deep.note


@pytest.mark.parametrize("deforming", [False, True])
def test_a_second_tumour_breathes_with_the_liver_about_it(deforming):
    anatomy = planned_patient(oblique()).anatomy
    liver, target = anatomy.surface("liver"), anatomy.target
    # The target's own surface, a little smaller and aside within the liver.
    middle = target.mesh.vertices_mm.mean(axis=0)
    inner = liver.mesh.vertices_mm.mean(axis=0)
    mesh = SurfaceMesh((target.mesh.vertices_mm - middle) * 0.4 + inner, target.mesh.faces)
    second = dataclasses.replace(target, name="tumour_2", role=Role.ALLOWED, mesh=mesh, smooth=None)
    away = dataclasses.replace(
        second, name="field", mesh=SurfaceMesh(mesh.vertices_mm + 400.0 * oblique()[:3, 0], mesh.faces)
    )
    breath = breath_of(
        dataclasses.replace(anatomy, surfaces=(*anatomy.surfaces, second, away)), deforming=deforming
    )
    moved = breath.of_structure(second, mesh)
    whole = breath.of_structure(liver, liver.mesh).mean(axis=0)
    assert np.linalg.norm(moved, axis=1).min() > 8.0 and np.allclose(moved.mean(axis=0), whole, atol=4.0)
    assert not np.any(breath.of_structure(away, away.mesh))


def test_breath_is_that_of_the_rehearsal():
    planned = planned_patient()
    done = outcome([], "amplitude-gating", trace(np.array([0.0, 2.0, 3.0, 9.0])))
    found = breath_of(planned.anatomy, [done], deforming=False)
    moved = np.asarray(done.trace.displacement_mm)
    assert found.label == done.motion and "amplitude-gating" in found.note
    farthest = moved[np.argmax(np.linalg.norm(moved, axis=1))]
    assert np.allclose(found.of_target(np.zeros((2, 3))), farthest)


def test_slices_show_the_true_sections():
    planned, made = lying(), scene()
    centre = np.asarray(made["centre_mm"])
    semi = {"axial": (14.0, 12.0), "coronal": (14.0, 15.0), "sagittal": (12.0, 15.0)}
    assert [view["id"] for view in made["planes"]["views"]] == ["axial", "sagittal", "coronal"]
    for view in made["planes"]["views"]:
        axis, right, down = (np.asarray(view[name]) for name in ("axis", "right", "down"))
        assert np.allclose(np.cross(right, down), axis, atol=1e-3)
        middle = min(view["slices"], key=lambda one: abs(one["offset_mm"]))
        (target,) = [c for c in middle["contours"] if c["body"] == "t:tumour"]
        (loop,) = [unquantised(one) for one in target["loops"]]
        area = 0.5 * abs(np.sum(loop[:, 0] * np.roll(loop[:, 1], -1) - loop[:, 1] * np.roll(loop[:, 0], -1)))
        assert area == pytest.approx(np.pi * np.prod(semi[view["id"]]), rel=0.04)
        points = centre + loop @ np.stack([right, down]) + middle["offset_mm"] * axis
        assert np.abs(SurfaceDistance(planned.anatomy.target.mesh).signed_distance_mm(points)).max() < 0.1
        offsets = [one["offset_mm"] for one in view["slices"]]
        assert 0.0 in offsets and (np.diff(offsets) > 0).all()
        known = {one["id"] for one in made["bodies"]}
        assert all(c["body"] in known for one in view["slices"] for c in one["contours"])
    letters = {view["id"]: view["letters"] for view in made["planes"]["views"]}
    assert letters["axial"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert letters["coronal"]["left"] == "R" and letters["sagittal"]["top"] == "S"


def test_simplified_loops_stay_near_every_corner_left_out():
    angle = np.linspace(0, 2 * np.pi, 800, endpoint=False)
    for radius, allowed in ((30.0, 0.2), (300.0, 0.5)):
        loop = radius * np.stack([np.cos(angle), 0.7 * np.sin(angle)], axis=1)
        light = simplified_loop(loop)
        assert len(light) < 0.2 * len(loop)
        a, b = light, np.roll(light, -1, axis=0)
        share = np.clip(((loop[:, None] - a) * (b - a)).sum(axis=2) / ((b - a) ** 2).sum(axis=1), 0, 1)
        away = np.linalg.norm(loop[:, None] - a - share[..., None] * (b - a), axis=2).min(axis=1)
        assert away.max() <= allowed + 1e-9
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    assert len(simplified_loop(square)) == 4


def test_target_and_margin_are_grown_by_the_margin():
    planned = planned_patient()
    mesh = planned.anatomy.target.mesh
    grown = GrownTarget(mesh, 5.0)
    outward = mesh.vertices_mm + 5.0 * (mesh.vertices_mm - mesh.vertices_mm.mean(axis=0)) / 14.0
    assert np.abs(grown.signed_distance_mm(outward)).max() < 1.2
    assert grown.contains(mesh.vertices_mm).all() and (grown.bounds_mm[0] < mesh.bounds_mm[0]).all()
    (surface,) = grown.surfaces()
    assert surface.volume_mm3 > 1.5 * mesh.volume_mm3


def test_an_infeasible_plan_has_a_scene_without_needles():
    planned = planned_patient(count=0)
    made = build_scene(planned, deforming=False)
    assert made["needles"] == [] and made["growth"] is None and made["margin"] is None
    assert body(made, "t:tumour") and made["planes"]["views"][0]["slices"]


@pytest.fixture(scope="module")
def carried():
    planned = planned_patient(count=1)
    return planned, json.loads(json.dumps(route_to_json(route_for(planned.plan, planned.anatomy))))


def test_robot_stands_with_its_needle_in_the_tip(carried):
    planned, route = carried
    ((order, mesh),) = robot_surfaces(route, planned.anatomy).items()
    tip = np.asarray(planned.plan.insertions[0].tip_mm)
    assert order == 1 and np.linalg.norm(mesh.vertices_mm - tip, axis=1).min() < 1.5
    assert route_fits(route, planned.plan, planned.anatomy)
    other = planned_patient(count=2)
    assert not route_fits(route, other.plan, other.anatomy)
    away = dataclasses.replace(planned.plan.insertions[0], tip_mm=tuple(tip + 1.0))
    assert not route_fits(route, dataclasses.replace(planned.plan, insertions=(away,)), planned.anatomy)
    assert robot_surfaces(route | {"robot": "nobody's"}, planned.anatomy) == {}


@pytest.mark.parametrize("change", [{"base_in_world": [[1, 2]]}, {"base_in_world": None}, {"base_in_world": "x"}])
def test_a_damaged_route_is_refused(carried, change):
    planned, route = carried
    with pytest.raises(PlanFileError, match="base_in_world"):
        robot_surfaces(route | change, planned.anatomy)


def test_the_report_shows_the_route_of_this_plan_alone(carried, tmp_path):
    planned, route = carried
    folder = PlanFolder(tmp_path)
    assert report_route(folder, planned) is None
    for name, base in (("an_arm", 1), (DEFAULT_ROBOT, 2)):
        write_json(folder.robots / name / "route.json", route | {"version": base})
    found = report_route(folder, planned)
    assert found is not None and found["version"] == 2
    assert report_route(folder, planned_patient(count=2)) is None
    write_json(folder.route, route | {"version": 3})
    found = report_route(folder, planned)
    assert found is not None and found["version"] == 3
