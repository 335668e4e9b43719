"""Arrays of electrodes for pulses: vendor's rules, zones in every pose, fewest electrodes, what they keep from."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, made_case, motion, queries_of, rotation

from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.closed_forms.needle_pair import NeedlePair
from needleplan.ablation.pulse_rules import PulseProtocol, electrode_pairs, placed_electrodes
from needleplan.case.model import Role, Structure
from needleplan.coverage.array_layouts import array_layout, array_layouts
from needleplan.coverage.array_search import ArrayOptions
from needleplan.coverage.array_zones import array_zone
from needleplan.coverage.cover_by_arrays import cover_by_arrays
from needleplan.coverage.cover_problem import CoverProblem
from needleplan.coverage.electrode_arrays import ElectrodeArray, array_axes, turned
from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.local_search import LocalSearchSolver
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.protection import protect
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, OptionError
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.table import TrajectoryTable

NAME = "generic-ire-19g-15"
ELECTRODE = applicator_physics(NAME)
APPLICATOR = builtin_catalogue().applicator(NAME)
PROTOCOL = PulseProtocol()
THRESHOLD_V_CM = 400.0
MODEL = CassiniModel(PROTOCOL, THRESHOLD_V_CM)
LIMITS = PathLimits(skin_angle_deg=50.0, table_angle_deg=180.0)
OPTIONS = CoverageOptions(margin_mm=0.0, point_count=900, maximum_insertions=8, time_limit_s=5.0)
FEW = ArrayOptions(most_directions=8, direction_step_deg=10.0, roll_step_deg=30.0, spacing_count=2, most_parts=600)


def ranked_paths(queries, limits=LIMITS):
    constraints = default_constraints(queries, limits)
    table = sample_trajectories(queries, APPLICATOR, SamplingOptions(entry_spacing_mm=45.0, aim_count=4))
    return rank(screen(table, queries, constraints), queries, default_objectives(queries)), constraints


def in_a_ball(target, *others):
    """An anatomy about a target in a round body whose middle lies beside it."""
    middle = target.vertices_mm.mean(axis=0)
    return queries_of(made_case(target, ball(middle + np.array([6.0, -4.0, 9.0]), 75.0, 4), *others))


def cover(queries, options=OPTIONS, arrays=FEW, **more):
    ranked, constraints = ranked_paths(queries)
    return cover_by_arrays(ranked, queries, constraints, APPLICATOR, PROTOCOL, options, arrays=arrays, **more)


def check(covering, queries):
    """What every covering promises, held against the model of each group of insertions and the vendor's rules."""
    region, covered = covering.problem.region, np.zeros(len(covering.problem.region), dtype=bool)
    rng = np.random.default_rng(5)
    for array, group in zip(covering.arrays, covering.groups, strict=True):
        assert len(group) == array.layout.count
        assert len({len(one.ablations) for one in group}) == 1
        for electrodes in placed_electrodes(group):
            for pair in electrode_pairs(electrodes):
                assert pair.angle_deg < 1e-5
                assert not pair.may_be_pulsed or not pair.findings(PROTOCOL)
        zone = MODEL.zone(group)
        mine, _ = array_zone(ELECTRODE, PROTOCOL, THRESHOLD_V_CM, array.layout).extents(
            array.local_mm(region.points_mm), region.radius_mm
        )
        low, high = array.bare_mm
        # Which balls the array is said to hold with this bare length: those whose shortest one lies within it.
        for k in np.flatnonzero(mine):
            points, radius = array.local_mm(region.points_mm[k : k + 1]), region.radius_mm[k : k + 1]
            _, (start, end) = array_zone(ELECTRODE, PROTOCOL, THRESHOLD_V_CM, array.layout).extents(points, radius)
            mine[k] = low - 1e-9 <= start and end <= high + 1e-9
        covered |= mine
        towards = rng.normal(size=(20, 1, 3))
        towards /= np.linalg.norm(towards, axis=2, keepdims=True)
        rim = (region.points_mm + towards * region.radius_mm[:, None])[:, mine]
        assert zone.contains(region.points_mm[mine]).all()
        assert zone.contains(rim.reshape(-1, 3)).all()
        table = table_of(group)
        assert screen(table, queries, ranked_paths(queries)[1]).feasible.all()
    assert covering.complete == bool(covered.all())
    if covering.complete:
        assert covering.bound <= len(covering.insertions)
        surface = queries.anatomy.target.mesh.vertices_mm
        assert np.max([MODEL.zone(group).contains(surface) for group in covering.groups], axis=0).all()
    return covered


def table_of(insertions):
    entry = np.array([one.entry_mm for one in insertions])
    tip = np.array([one.tip_mm for one in insertions])
    direction = (tip - entry) / np.linalg.norm(tip - entry, axis=1, keepdims=True)
    return TrajectoryTable(APPLICATOR, entry, -direction, tip - APPLICATOR.tip_to_centre_mm * direction, tip)


# Vendor's rules.


def test_arrangements_keep_every_rule_and_come_with_few_electrodes_first():
    layouts = array_layouts(ELECTRODE, PROTOCOL, 5)
    assert {layout.name for layout in layouts} >= {"pair", "triangle", "square", "trapezoid", "rectangle"}
    assert [layout.count for layout in layouts] == sorted(layout.count for layout in layouts)
    for layout in layouts:
        places = layout.points_mm
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(layout.count, 1)]
        assert apart.min() == pytest.approx(layout.spacing_mm) and 10.0 - 1e-9 <= apart.min() <= 20.0 + 1e-9
        assert places.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-9)
        # Its own image in the x axis, and after a turn by 360 degrees / order.
        for image in (places * [1, -1], places @ turn(2 * np.pi / layout.order).T):
            assert np.linalg.norm(image[:, None] - places[None], axis=2).min(axis=1).max() < 1e-9


def turn(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize(("name", "spacing_mm"), [("pair", 20.5), ("triangle", 9.5), ("square", 21.0)])
def test_distances_beyond_the_rule_are_refused(name, spacing_mm):
    assert array_layout(name, spacing_mm).findings(ELECTRODE, PROTOCOL)
    assert not array_layout(name, 15.0).findings(ELECTRODE, PROTOCOL)


def test_a_voltage_beyond_the_generator_is_refused():
    strong = PulseProtocol(voltage_to_distance_v_cm=2000.0)
    assert any("generator" in finding for finding in array_layout("pair", 18.0).findings(ELECTRODE, strong))
    assert max(layout.spacing_mm for layout in array_layouts(ELECTRODE, strong, 5)) <= 15.0
    assert array_layouts(ELECTRODE, PulseProtocol(voltage_to_distance_v_cm=3500.0), 5) == ()
    queries = in_a_ball(ball(radius=5.0))
    ranked, constraints = ranked_paths(queries)
    with pytest.raises(DeviceError, match="keeps the vendor's rules"):
        cover_by_arrays(ranked, queries, constraints, APPLICATOR, PulseProtocol(3500.0), OPTIONS)


# Zones.


@pytest.mark.parametrize("name", ["pair", "triangle", "square"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_balls_called_covered_lie_in_the_models_zone_in_any_pose(name, rounds):
    layout = array_layout(name, 17.0)
    zone = array_zone(ELECTRODE, PROTOCOL, THRESHOLD_V_CM, layout)
    length = 15.0 if rounds == 1 else 37.0
    middle, axes = np.array([30.0, -110.0, 55.0]), rotation(4)
    array = ElectrodeArray(layout, axes, middle, np.array([-0.5, 0.5]) * length, 15.0)
    assert array.rounds == rounds
    exact = MODEL.zone(array.insertions(array.tips_mm() - 100.0 * axes[:, 2], NAME, PROTOCOL))
    rng = np.random.default_rng(1)
    points = middle + rng.uniform(-30, 30, (4000, 3)) @ axes.T
    radius = rng.uniform(0.0, 6.0, len(points))
    true = exact.signed_distance_mm(points)
    held = np.zeros(len(points), dtype=bool)
    for k, (point, size) in enumerate(zip(array.local_mm(points), radius, strict=True)):
        able, (start, end) = zone.extents(point[None], np.array([size]))
        held[k] = able[0] and start >= array.bare_mm[0] and end <= array.bare_mm[1]
    assert held.sum() > 60
    assert (true[held] >= radius[held] - 1e-9).all()
    # What is not called covered though it is, is so by little.
    assert not (~held & (true > radius + 0.6)).any()
    gap = zone.gap_mm(array.local_mm(points), array.bare_mm)
    assert (gap <= -true + 1e-9).all()
    far = -true < 12.0
    assert (gap[far] >= -true[far] - 4.0).all()
    assert zone.volume_ml(length) == pytest.approx(exact.volume_ml, rel=0.03)


def test_shortest_bare_length_is_the_one_at_which_the_zone_begins_to_hold():
    layout = array_layout("pair", 15.0)
    zone = array_zone(ELECTRODE, PROTOCOL, THRESHOLD_V_CM, layout)
    points, radius = np.array([[0.0, 0.0, 12.0], [3.0, -2.0, -9.0]]), np.array([4.0, 3.0])
    held, (start, end) = zone.extents(points, radius)
    assert held.all() and start < end

    def holds(low, high):
        # Longer than one bare length: drawn back in between.
        array = ElectrodeArray(layout, np.eye(3), np.zeros(3), np.array([low, high]), 15.0)
        exact = MODEL.zone(array.insertions(array.tips_mm() - [0.0, 0.0, 90.0], NAME, PROTOCOL))
        return bool((exact.signed_distance_mm(points) >= radius).all())

    assert holds(start, end)
    assert not holds(start + 1.0, end) and not holds(start, end - 1.0)


# Coverings.


def test_one_pair_drawn_back_covers_a_slender_target():
    queries = in_a_ball(ball((12.0, -20.0, 7.0), 3.5, 3, (1, 1, 6)).moved(motion(8)))
    covering = cover(queries)
    check(covering, queries)
    assert covering.complete and len(covering.insertions) == 2 and covering.bound == 2
    assert covering.selection.status == "optimal" and covering.arrays[0].layout.name == "pair"
    # 42 mm long; the zone reaches 3 to 6 mm beyond a bare length of 15 mm at each end.
    assert all(len(one.ablations) in (2, 3) for one in covering.insertions)
    assert [one.order for one in covering.insertions] == [1, 2]
    assert any("pair" in note and " V" in note for note in covering.notes)


@pytest.mark.parametrize(("share", "electrodes"), [(0.9, 2), (1.02, 3)])
def test_a_pair_covers_no_ball_wider_than_its_oval(share, electrodes):
    # Closed form: the oval's half-width across the line between the needles.
    widest = NeedlePair(0.02, 0.0005, 3000.0)
    c_mm, d = 1e3 * widest.focus_m, widest.half_potential_ratio
    half_width = np.sqrt(3000.0 * c_mm / (0.1 * THRESHOLD_V_CM * d) - c_mm**2)
    queries = in_a_ball(ball((3.0, 4.0, 5.0), share * half_width, 4))
    options = dataclasses.replace(OPTIONS, point_count=4000)
    covering = cover(queries, options, dataclasses.replace(FEW, most_directions=4, most_electrodes=3))
    assert covering.complete and len(covering.insertions) == electrodes == covering.bound


@pytest.mark.long
def test_a_ball_that_needs_four():
    queries = in_a_ball(ball((3.0, 4.0, 5.0), 16.5, 4))
    covering = cover(queries, dataclasses.replace(OPTIONS, maximum_insertions=6))
    assert check(covering, queries).all()
    assert covering.complete and len(covering.insertions) == 4 == covering.bound
    assert covering.selection.status == "optimal" and len(covering.groups) == 1
    assert "given no pulses" in covering.notes[0] or "get no pulses" in covering.notes[0]
    # Fewer needles at once, fewer electrodes to an array; and where too few are allowed, as much as can be.
    few = cover(
        queries, dataclasses.replace(OPTIONS, maximum_insertions=2), dataclasses.replace(FEW, most_parts=200)
    )
    check(few, queries)
    assert not few.complete and few.selection.status == "limited" and len(few.insertions) == 2
    assert few.bound > 2


@pytest.mark.long
def test_several_arrays_where_one_is_too_small():
    queries = in_a_ball(ball((3.0, 4.0, 5.0), 12.0, 4))
    options = dataclasses.replace(OPTIONS, needles_at_once=2, maximum_insertions=8)
    covering = cover(queries, options, dataclasses.replace(FEW, most_directions=4, lattice_mm=5.0, most_parts=1500))
    check(covering, queries)
    assert covering.complete and len(covering.groups) > 1
    assert all(len(group) == 2 for group in covering.groups)
    assert any("drawn out before the next" in note for note in covering.notes)
    problem = covering.problem
    assert isinstance(problem, CoverProblem) and problem.conflicts is None
    for solver in (GreedySolver(), LocalSearchSolver()):
        other = solver.solve(problem, 12)
        assert problem.insertions_of(other.paths) >= len(covering.insertions) >= other.lower_bound


def test_every_electrode_follows_the_one_oblique_direction_that_is_given():
    queries = in_a_ball(ball((3.0, 4.0, 5.0), 8.0, 3))
    ranked, constraints = ranked_paths(queries)
    oblique = np.abs(ranked.direction @ queries.anatomy.axes).max(axis=1)
    row = int(np.argmin(np.where(ranked.feasible, oblique, np.inf)))
    one = ranked.subset(np.array([row]))
    covering = cover_by_arrays(one, queries, constraints, APPLICATOR, PROTOCOL, OPTIONS, arrays=FEW)
    check(covering, queries)
    assert covering.complete
    for insertion in covering.insertions:
        assert insertion.direction == pytest.approx(ranked.direction[row], abs=1e-9)
        depth = queries.distance(queries.anatomy.entry).signed_distance_mm(np.array([insertion.entry_mm]))
        assert abs(depth[0]) < 1e-3


def test_a_moved_patient_gets_the_moved_arrays():
    target, moved = ball((3.0, 4.0, 5.0), 9.0, 3, (1.0, 1.0, 1.5)), motion(6)
    body = ball((9.0, 0.0, 14.0), 75.0, 4)
    case = made_case(target, body)
    here = cover(queries_of(case))
    there = cover(queries_of(case.moved(moved)))
    assert len(here.insertions) == len(there.insertions)
    for first, second in zip(here.insertions, there.insertions, strict=True):
        for place in ("entry_mm", "tip_mm"):
            carried = moved[:3, :3] @ getattr(first, place) + moved[:3, 3]
            assert getattr(second, place) == pytest.approx(carried, abs=1e-4)


def test_the_order_of_the_candidates_changes_nothing():
    queries = in_a_ball(ball((3.0, 4.0, 5.0), 9.0, 3))
    ranked, constraints = ranked_paths(queries)
    mixed = ranked.subset(np.random.default_rng(3).permutation(len(ranked)))
    first, second = (
        cover_by_arrays(table, queries, constraints, APPLICATOR, PROTOCOL, OPTIONS, arrays=FEW)
        for table in (ranked, mixed)
    )
    assert first.insertions == second.insertions and first.problem.laid_out == second.problem.laid_out


@pytest.mark.long
def test_zones_keep_their_margin_to_what_is_protected():
    target = ball((3.0, 4.0, 5.0), 6.0, 3)
    organ = Structure("nerve", Role.CRITICAL, ball((3.0, 4.0, 31.0), 10.0, 3))
    queries = in_a_ball(target, organ)
    margins = ThermalMargins(critical_mm=3.0)
    protection = protect(queries, margins)
    free, kept = cover(queries), cover(queries, protection=protection)
    check(kept, queries)
    assert kept.complete
    # The same zones measured by the model itself; without protection some zone comes nearer.
    assert min(protection.slack_mm(MODEL.zone(group))[0] for group in kept.groups) >= 0.0
    near = dataclasses.replace(margins, critical_mm=40.0)
    none = cover(queries, arrays=dataclasses.replace(FEW, most_electrodes=2), protection=protect(queries, near))
    assert not none.complete and not none.insertions
    assert free.complete and protect(queries, near).slack_mm(MODEL.zone(free.groups[0]))[0] < 0.0


def test_impossible_questions_are_refused():
    queries = in_a_ball(ball(radius=6.0))
    ranked, constraints = ranked_paths(queries)
    with pytest.raises(OptionError, match="two electrodes"):
        cover(queries, dataclasses.replace(OPTIONS, needles_at_once=1))
    with pytest.raises(OptionError, match="no feasible path"):
        cover_by_arrays(ranked.subset(np.flatnonzero(~ranked.feasible)), queries, constraints, APPLICATOR)
    antenna = builtin_catalogue().applicator("generic-mwa-2450")
    with pytest.raises(DeviceError, match="no electric pulses"):
        cover_by_arrays(ranked, queries, constraints, antenna)
    with pytest.raises(OptionError, match="2 to 6"):
        ArrayOptions(most_electrodes=7)
    with pytest.raises(OptionError, match="no arrangement"):
        array_layout("star", 15.0)


def test_axes_of_an_array_turn_about_its_direction():
    direction = rotation(9)[:, 1]
    axes = turned(array_axes(direction, np.eye(3)), 0.7)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[:, 2] == pytest.approx(direction)
    moved = rotation(2)
    np.testing.assert_allclose(turned(array_axes(moved @ direction, moved), 0.7), moved @ axes, atol=1e-9)
