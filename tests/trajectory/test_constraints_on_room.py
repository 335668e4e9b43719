"""Bore, guide, regions and sides: closed forms in oblique geometry."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, box, made_case, motion, queries_of, rotation, tube
from made_straight_paths import APPLICATOR, RADIUS, bent, body, located, paths, random_paths, values

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import PatientPosition, Role, Structure
from needleplan.errors import OptionError
from needleplan.trajectory.constraints.approach_side import ApproachSide, Side
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.entry_region import EntryRegion
from needleplan.trajectory.constraints.gantry_bore import HUB_RADIUS_MM, GantryBore
from needleplan.trajectory.constraints.guide_room import ROOM_CAP_MM, GuideRoom
from needleplan.trajectory.constraints.out_of_plane_limit import OutOfPlaneLimit
from needleplan.trajectory.contract import Neighbourhood
from needleplan.trajectory.measured import HANDLE_MM, MeasuredPaths
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen

OUTSIDE = APPLICATOR.usable_length_mm + HANDLE_MM


def test_the_bore_is_met_by_the_handle_of_a_radial_needle():
    table = paths([0, -80, 30], [0, 0, 30])
    bore = GantryBore.about(body(), 400.0)
    np.testing.assert_allclose(values(bore, table, body()), 400 - HUB_RADIUS_MM - 80 - OUTSIDE, atol=1e-6)
    np.testing.assert_allclose(located(bore, table, body()), -OUTSIDE)
    # A needle along the bore stays as far from its wall as its entry is.
    along = paths([0, -70, 30], [0, -70, -30])
    np.testing.assert_allclose(values(bore, along, body()), 400 - HUB_RADIUS_MM - 70, atol=1e-6)


def test_no_point_of_the_needle_is_nearer_to_the_wall_than_the_room():
    axis, point = rotation(4)[0], np.array([11.0, -7.0, 5.0])
    bore = GantryBore(350.0, point, axis)
    for table in (random_paths(100, seed=6), bent(random_paths(100, seed=6), radius_mm=90)):
        found = values(bore, table, body())
        share = np.linspace(0, 1, 300)[:, None]
        samples = table.entry_mm[:, None] - OUTSIDE * share * table.entry_direction[:, None]
        to_axis = np.linalg.norm(np.cross(samples - point, axis), axis=2)
        np.testing.assert_allclose(found, 350 - HUB_RADIUS_MM - to_axis.max(axis=1), atol=1e-9)


def test_the_bore_lies_about_the_patient_wherever_the_patient_lies():
    skin = ball((6, 3, -4), 1.0, 4, (95.0, 70.0, 110.0))
    case = made_case(ball((-9, 4, 8), 8.0), skin, position=PatientPosition.PRONE)
    queries = queries_of(case)
    bore = GantryBore.about(queries, 300.0)
    np.testing.assert_allclose(bore.axis_point_mm[:2], [6, 3], atol=1e-9)
    np.testing.assert_allclose(np.abs(bore.axis_direction), [0, 0, 1], atol=1e-9)
    # Prone, the table lies in front of the patient (y = -67), and up is +y.
    raised = GantryBore.about(queries, 300.0, 100.0)
    assert raised.axis_point_mm[1] == pytest.approx(-67 + 100, abs=0.3)


def test_a_patient_who_does_not_fit_is_refused_and_one_who_does_is_not():
    assert GantryBore.about(body(), 100.0).radius_mm == 100
    with pytest.raises(OptionError, match="wider bore"):
        GantryBore.about(queries_of(made_case(ball((0, 0, 0), 10), ball((0, 0, 0), 130, 3))), 120.0)
    with pytest.raises(OptionError, match="another height"):
        GantryBore.about(body(), 100.0, 150.0)
    for radius in (float("nan"), 0.0, 1e5):
        with pytest.raises(OptionError, match="radius of a bore"):
            GantryBore(radius, np.zeros(3), np.array([0, 0, 1.0]))


def test_a_larger_bore_leaves_as_much_more_room():
    table = random_paths(50)
    axis = np.array([0, 0, 1.0])
    small, large = (values(GantryBore(r, np.zeros(3), axis), table, body()) for r in (300.0, 350.0))
    np.testing.assert_allclose(large - small, 50.0)


@pytest.mark.parametrize("guide", [(40.0, 60.0, 90.0), (22.0, 250.0, 30.0), (5.0, 30.0, 20.0)])
def test_a_guide_takes_its_own_room_in_the_bore(guide):
    radius, length, standoff = guide
    axis, point = rotation(4)[0], np.array([11.0, -7.0, 5.0])
    bare = GantryBore(350.0, point, axis)
    bore = GantryBore(350.0, point, axis, guide=GuideRoom(*guide))
    table = random_paths(100, seed=8)
    found = values(bore, table, body())
    # Brute force over the guide's piece of the shaft, its ends among the samples.
    place = standoff + length * np.linspace(0, 1, 200)[:, None]
    samples = table.entry_mm[:, None] - place * table.entry_direction[:, None]
    to_axis = np.linalg.norm(np.cross(samples - point, axis), axis=2).max(axis=1)
    without = values(bare, table, body())
    np.testing.assert_allclose(found, np.minimum(without, 350 - radius - to_axis), atol=1e-9)
    # Thinner than the hub and on the shaft it takes nothing, wider or farther out it does.
    assert (found < without - 1).any() == (radius > 15)
    where, counts = located(bore, table, body()), found < without - 1e-6
    assert np.isin(where[counts], (-standoff, -standoff - length)).all()
    np.testing.assert_array_equal(where[~counts], located(bare, table, body())[~counts])
    tighter = bore.with_limit(25.0)
    np.testing.assert_array_equal(values(tighter, table, body()), found)
    assert "guide" in tighter.evaluate(MeasuredPaths(table, body())).sentence
    assert "guide" not in bare.evaluate(MeasuredPaths(table, body())).sentence


def test_paths_near_one_whose_guide_is_far_too_wide_for_the_bore_fail_too():
    rng = np.random.default_rng(5)
    bore = GantryBore(300.0, np.zeros(3), np.array([0, 0, 1.0]), guide=GuideRoom(90.0, 120.0, 100.0))
    bare, table = GantryBore(300.0, np.zeros(3), bore.axis_direction), random_paths(300, seed=2)
    measured = MeasuredPaths(table, body())
    column = bore.evaluate(measured)
    moved = np.full(len(table), 3.0)
    turn = np.degrees(np.arcsin(np.minimum(2 * moved / table.length_mm, 1.0)))
    turn[table.length_mm <= 6.0] = 180.0
    excluded = bore.excludes(measured, column, Neighbourhood(moved, moved, turn, moved))
    # Of those, some only because of the guide; of those that fail, some are too near to the limit to tell.
    assert (excluded & bare.evaluate(measured).passed).any() and (~excluded & ~column.passed).any()
    for _ in range(20):
        shift = rng.normal(size=(2, len(table), 3))
        shift *= 3.0 / np.linalg.norm(shift, axis=2, keepdims=True)
        near = paths(table.entry_mm + shift[0], table.tip_mm + shift[1])
        assert not bore.evaluate(MeasuredPaths(near, body())).passed[excluded].any()


def test_a_guide_of_the_limits_narrows_the_bore_by_what_it_is_wider():
    table = paths((0, -80, 0), (0, 0, 0))
    rooms = []
    for limits in (
        PathLimits(bore_radius_mm=380.0),
        PathLimits(bore_radius_mm=380.0, guide_radius_mm=80.0, guide_length_mm=170.0, guide_standoff_mm=90.0),
    ):
        made = default_constraints(body(), limits)
        rooms += [values(c, table, body())[0] for c in made if c.name == "gantry bore"]
    np.testing.assert_allclose(rooms, [380 - HUB_RADIUS_MM - 80 - OUTSIDE, 380 - 80 - 80 - 260], atol=1e-6)


def slab_body():
    """A body that is a huge oblique-free box: its top is the plane y = -50."""
    return body(skin=box((-400, -50, -400), (400, 300, 400)))


def test_the_guide_over_flat_skin_has_the_closed_form():
    queries = slab_body()
    for angle in (0.0, 20.0, 50.0):
        slope = np.radians(angle)
        inward = np.array([np.sin(slope) * 0.6, np.cos(slope), np.sin(slope) * 0.8])
        entry = np.array([3.0, -50.0, 9.0])
        table = paths(entry, entry + 70 * inward)
        guide = GuideRoom(8.0, 60.0, 25.0)
        np.testing.assert_allclose(values(guide, table, queries), 25 * np.cos(slope) - 8, atol=1e-9)
        np.testing.assert_allclose(located(guide, table, queries), -25, atol=1e-3)


def test_a_fold_of_skin_beside_the_entry_takes_the_guides_room():
    # A step of the skin, 40 mm high, 12 mm beside the axis of a perpendicular needle.
    low, high = box((-400, -50, -400), (12, 300, 400)), box((12, -90, -400), (400, 300, 400))
    parts = np.concatenate([low.vertices_mm, high.vertices_mm])
    mesh = SurfaceMesh(parts, np.concatenate([low.faces, high.faces + len(low.vertices_mm)]))
    queries = body(skin=mesh)
    table = paths([[0, -50, 0], [-30, -50, 0]], [[0, 10, 0], [-30, 10, 0]])
    guide = GuideRoom(9.0, 30.0, 20.0)
    np.testing.assert_allclose(values(guide, table, queries), [12 - 9, 20 - 9], atol=1e-9)
    thick = GuideRoom(12.5, 30.0, 20.0).evaluate(MeasuredPaths(table, queries))
    assert thick.passed.tolist() == [False, True]


def test_a_guide_inside_the_body_has_no_room_and_one_far_off_is_capped():
    queries = slab_body()
    inside = paths([0, 120, 0], [0, 160, 0])
    np.testing.assert_allclose(values(GuideRoom(8.0, 20.0, 10.0), inside, queries), -8)
    np.testing.assert_allclose(
        values(GuideRoom(8.0, 20.0, 200.0), paths([0, -50, 0], [0, 9, 0]), queries), ROOM_CAP_MM - 8
    )


def test_impossible_guides_are_refused():
    for options in ((0, 60, 20), (8, 0, 20), (8, 60, 0), (float("nan"), 60, 20), (8, float("nan"), 20)):
        with pytest.raises(OptionError):
            GuideRoom(*options)
    with pytest.raises(OptionError, match="greater than the radius"):
        GuideRoom(20.0, 60.0, 20.0)


def test_sides_are_the_patients_own_however_the_patient_lies():
    for position in PatientPosition:
        case = made_case(ball((0, 0, 0), 10), ball((0, 0, 0), 80), position=position)
        np.testing.assert_allclose(Side.LEFT.direction(case), [1, 0, 0], atol=1e-12)
        np.testing.assert_allclose(Side.FRONT.direction(case), [0, -1, 0], atol=1e-12)
        np.testing.assert_allclose(Side.FEET.direction(case), [0, 0, -1], atol=1e-12)
        moved = case.moved(motion(8))
        for side in Side:
            np.testing.assert_allclose(side.direction(moved), motion(8)[:3, :3] @ side.direction(case), atol=1e-9)


def test_the_approach_angle_is_that_of_the_shaft_outside():
    slope = np.radians(25.0)
    outward = np.array([np.cos(slope), -0.6 * np.sin(slope), 0.8 * np.sin(slope)])
    table = paths(80 * outward, 10 * outward)
    np.testing.assert_allclose(values(ApproachSide(Side.LEFT, 90.0), table, body()), 25.0)
    np.testing.assert_allclose(values(ApproachSide(Side.RIGHT, 90.0), table, body()), 155.0)
    # Of a bent needle the shaft outside counts, not the line from entry to tip.
    curved = paths([80, 0, 0], [20, 0, 0], curvature=np.array([[0.0, 0.01, 0.0]]))
    half = np.degrees(np.arcsin(0.5 * 60 * 0.01))
    np.testing.assert_allclose(values(ApproachSide(Side.LEFT, 90.0), curved, body()), half)


def test_a_mirrored_path_lies_on_the_other_side():
    table = random_paths(40, seed=9)
    mirror = np.array([-1.0, 1.0, 1.0])
    flipped = paths(table.entry_mm * mirror, table.tip_mm * mirror)
    left, right = ApproachSide(Side.LEFT, 60.0), ApproachSide(Side.RIGHT, 60.0)
    np.testing.assert_allclose(values(left, table, body()), values(right, flipped, body()), atol=1e-9)
    assert np.abs(values(left, table, body()) - values(left, flipped, body())).max() > 10


def test_the_angle_out_of_plane_is_that_to_the_axial_plane():
    for angle in (0.0, 17.0, 90.0):
        slope = np.radians(angle)
        for sign in (1, -1):
            along = np.array([0.6 * np.cos(slope), 0.8 * np.cos(slope), sign * np.sin(slope)])
            np.testing.assert_allclose(
                values(OutOfPlaneLimit(10.0), paths(-80 * along, 0 * along), body()), angle, atol=1e-6
            )
    for limit in (-1.0, 91.0, float("nan")):
        with pytest.raises(OptionError):
            OutOfPlaneLimit(limit)


def window():
    return Structure("window", Role.ENTRY_REGION, box((-30, -99, -30), (30, 0, 30)))


def test_an_entry_region_is_demanded_where_only_part_of_the_skin_is_allowed():
    queries = body(window(), skin=box((-90, -90, -90), (90, 90, 90)))
    assert not queries.anatomy.entry_faces.all()
    names = [constraint.name for constraint in default_constraints(queries)]
    assert "entry region" in names
    assert "entry region" not in [constraint.name for constraint in default_constraints(body())]


def test_an_entry_is_as_far_from_the_region_as_from_its_faces():
    anatomy = body(skin=box((-90, -90, -90), (90, 90, 90))).anatomy
    top = anatomy.entry.mesh.face_normals[:, 1] < -0.5
    queries = AnatomyQueries(dataclasses.replace(anatomy, entry_faces=top))
    constraint = EntryRegion(queries.anatomy)
    on, off = [[0, -90, 0], [89, -90, -89]], [[90, -60, 0], [0, 90, 0], [96, -98, 0], [0, -95, 0]]
    table = paths(on + off, [0, 0, 0])
    column = constraint.evaluate(MeasuredPaths(table, queries))
    np.testing.assert_allclose(column.values, [0, 0, 30, 100, 10, 5], atol=1e-9)
    assert column.passed.tolist() == [True, True, False, False, False, False]
    assert constraint.with_limit(7.0).evaluate(MeasuredPaths(table, queries)).passed.tolist()[-2:] == [False, True]
    # One entry with many aims is the same as many entries.
    doubled = table.subset(np.repeat(np.arange(6), 3))
    np.testing.assert_array_equal(values(constraint, doubled, queries), np.repeat(column.values, 3))


def test_sampled_entries_lie_in_their_region():
    queries = body(window())
    sampled = sample_trajectories(queries, APPLICATOR, SamplingOptions(10.0, 3))
    assert len(sampled) and EntryRegion(queries.anatomy).evaluate(MeasuredPaths(sampled, queries)).passed.all()
    everywhere = sample_trajectories(body(), APPLICATOR, SamplingOptions(10.0, 3))
    assert not EntryRegion(queries.anatomy).evaluate(MeasuredPaths(everywhere, queries)).passed.all()
    for limit in (0.0, 51.0, float("nan")):
        with pytest.raises(OptionError):
            EntryRegion(queries.anatomy, limit)


def test_no_go_regions_reject_the_shaft_outside_too():
    arm = Structure("arm", Role.NO_GO, tube((-200, -140, 0), (200, -140, 0), 20.0))
    queries = body(arm)
    beside = body(Structure("arm", Role.NO_GO, tube((-200, -140, 120), (200, -140, 120), 20.0)))
    table = paths([0, -80, 0], [0, 0, 0])
    name = "clearance to arm"
    assert not screen(table, queries, default_constraints(queries)).constraint(name).passed[0]
    assert screen(table, beside, default_constraints(beside)).constraint(name).passed[0]
    where = located(Clearance(queries.anatomy.surface("arm"), 0.0), table, queries)
    np.testing.assert_allclose(where, -(140 - 20 - 80), atol=0.1)


def test_a_soft_demand_is_measured_and_does_not_reject():
    queries = body(Structure("bone", Role.BONE, box((-5, -60, -5), (5, -50, 5))))
    table = paths([[0, -80, 0], [60, -50, 0]], [0, 0, 0])
    hard = screen(table, queries, default_constraints(queries, PathLimits()))
    soft = screen(table, queries, default_constraints(queries, PathLimits(soft="bone_mm")))
    assert hard.feasible.tolist() == [False, True] and soft.feasible.all()
    one, other = hard.constraint("clearance to bone"), soft.constraint("clearance to bone")
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.passed, other.passed)
    assert (one.hard, other.hard) == (True, False)
    assert dataclasses.replace(other, hard=True).sentence == one.sentence
    assert RADIUS + one.values[0] == pytest.approx(0.0)
