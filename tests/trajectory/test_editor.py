"""The editor's columns are those of planning; it locks, undoes and snaps."""

import dataclasses

import numpy as np
import pytest
from made_cases import motion
from made_path_tables import MOTION, made_queries

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.errors import GeometryError, OptionError
from needleplan.trajectory.arcs import arc_points_mm
from needleplan.trajectory.deflection.constant_curvature import ConstantCurvature
from needleplan.trajectory.editor import TrajectoryEditor, skin_allowed
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen
from needleplan.trajectory.table import TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")


def constraints_of(queries, **limits):
    return default_constraints(queries, PathLimits(vessel_mm=4.0, organ_path_mm=5.0, **limits))


@pytest.fixture(scope="module")
def queries():
    return made_queries()


@pytest.fixture(scope="module")
def ranked(queries) -> TrajectoryTable:
    table = sample_trajectories(queries, APPLICATOR, SamplingOptions(18.0, 12))
    return rank(screen(table, queries, constraints_of(queries)), queries, default_objectives(queries))


def editor_at(queries, ranked, row, deflection=None):
    return TrajectoryEditor(
        queries, constraints_of(queries), default_objectives(queries), APPLICATOR, ranked.entry_mm[row],
        ranked.tip_mm[row], deflection,
    )  # fmt: skip


def test_editors_that_share_the_skin_find_the_same_entries(queries, ranked):
    skin = skin_allowed(queries.anatomy)
    given = (queries, constraints_of(queries), default_objectives(queries), APPLICATOR)
    for row in (0, len(ranked) // 2):
        ends_mm = ranked.entry_mm[row] + (3.0, -2.0, 5.0), ranked.tip_mm[row]
        shared, own = TrajectoryEditor(*given, *ends_mm, allowed_skin=skin), TrajectoryEditor(*given, *ends_mm)
        assert shared._allowed_skin is skin
        np.testing.assert_array_equal(ends(shared.state), ends(own.state))


def ends(state):
    return np.concatenate([state.entry_mm, state.tip_mm])


def test_a_row_of_the_table_has_the_same_columns_in_the_editor(queries, ranked):
    rng = np.random.default_rng(4)
    rows = np.concatenate([rng.permutation(np.flatnonzero(ranked.feasible))[:8], rng.integers(0, len(ranked), 12)])
    editor = editor_at(queries, ranked, int(rows[0]))
    seen = set()
    for row in rows.tolist():
        editor.move_entry(ranked.entry_mm[row])
        state = editor.move_tip(ranked.tip_mm[row])
        np.testing.assert_allclose(state.aim_mm, ranked.aim_mm[row], atol=2e-4)
        np.testing.assert_allclose(state.entry_normal, ranked.entry_normal[row], atol=1e-4)
        assert [c.name for c in state.table.constraints] == [c.name for c in ranked.constraints]
        for mine, planned in zip(state.table.constraints, ranked.constraints, strict=True):
            # Entries come from the skin in single precision.
            assert mine.values[0] == pytest.approx(planned.values[row], abs=5e-3), mine.name
        for mine, planned in zip(state.table.objectives, ranked.objectives, strict=True):
            assert mine.values[0] == pytest.approx(planned.values[row], abs=5e-3), mine.name
        assert state.feasible == ranked.feasible[row]
        assert state.cost == pytest.approx(ranked.cost[row], abs=1e-3)
        seen.add(state.feasible)
    assert seen == {True, False}


def test_an_entry_is_put_onto_the_skin_and_the_other_end_stays(queries, ranked):
    editor = editor_at(queries, ranked, int(ranked.order()[0]))
    tip = editor.state.tip_mm
    skin = queries.distance(queries.anatomy.entry)
    for point in ((120.0, 30.0, -40.0), (-10.0, 60.0, 15.0)):
        state = editor.move_entry(point)
        assert skin.signed_distance_mm(state.entry_mm[None, :])[0] == pytest.approx(0.0, abs=1e-3)
        assert abs(skin.signed_distance_mm([point])[0]) == pytest.approx(
            np.linalg.norm(state.entry_mm - point), abs=1e-3
        )
        np.testing.assert_array_equal(state.tip_mm, tip)
        assert np.linalg.norm(state.tip_mm - state.aim_mm) == pytest.approx(APPLICATOR.tip_to_centre_mm)
    # Outward: away from the middle of the body.
    assert state.entry_normal @ (state.entry_mm - (6, 3, -4)) > 0
    entry = state.entry_mm
    state = editor.move_tip((-5.0, 6.0, 11.0))
    np.testing.assert_array_equal(state.entry_mm, entry)
    np.testing.assert_array_equal(state.tip_mm, (-5.0, 6.0, 11.0))
    free = editor.move_entry((150.0, 20.0, 10.0), on_skin=False)
    np.testing.assert_array_equal(free.entry_mm, (150.0, 20.0, 10.0))


def test_entries_stay_within_what_is_allowed(queries, ranked):
    anatomy = queries.anatomy
    right = anatomy.entry.mesh.face_centres_mm[:, 0] < -20.0
    part = type(queries)(dataclasses.replace(anatomy, entry_faces=right))
    editor = TrajectoryEditor(
        part, constraints_of(part), default_objectives(part), APPLICATOR, (90.0, 0.0, 0.0), (-9.0, 4.0, 8.0)
    )
    assert editor.state.entry_mm[0] < -10.0
    assert editor.move_entry((90.0, 30.0, 10.0)).entry_mm[0] < -10.0


def test_every_step_is_undone_and_done_again(queries, ranked):
    row = int(ranked.order()[0])
    editor = editor_at(queries, ranked, row)
    states = [editor.state]
    assert not editor.can_undo and not editor.can_redo
    states.append(editor.move_entry(ranked.entry_mm[row] + (9.0, -4.0, 3.0)))
    states.append(editor.lock(tip=True))
    states.append(editor.move_entry(ranked.entry_mm[row] + (2.0, -4.0, 3.0)))
    states.append(editor.lock(tip=False, entry=True))
    states.append(editor.move_tip((-7.0, 2.0, 9.0)))
    assert len({ends(state).tobytes() for state in states}) == 4
    for state in reversed(states[:-1]):
        assert editor.undo() is state and editor.state is state
    assert not editor.can_undo
    with pytest.raises(GeometryError, match="no step to undo"):
        editor.undo()
    for state in states[1:]:
        assert editor.redo() is state
    with pytest.raises(GeometryError, match="do again"):
        editor.redo()
    editor.undo()
    editor.move_tip((-8.0, 2.0, 9.0))
    assert not editor.can_redo and editor.undo() is states[-2]


def test_states_do_not_change_when_the_path_moves_on(queries, ranked):
    editor = editor_at(queries, ranked, int(ranked.order()[0]))
    first = editor.state
    before = (ends(first), first.cost, [c.values[0] for c in first.table.constraints])
    editor.move_tip(first.tip_mm + np.array([3.0, 4.0, -5.0]))
    np.testing.assert_array_equal(ends(first), before[0])
    assert first.cost == before[1] and [c.values[0] for c in first.table.constraints] == before[2]
    with pytest.raises(ValueError, match="read-only"):
        first.tip_mm[0] = 0.0


def test_locked_ends_do_not_move_and_bad_points_are_refused(queries, ranked):
    editor = editor_at(queries, ranked, int(ranked.order()[0]))
    editor.lock(entry=True)
    with pytest.raises(GeometryError, match="entry is locked"):
        editor.move_entry((0, 0, 90.0))
    editor.move_tip((-6.0, 3.0, 9.0))
    editor.lock(tip=True)
    with pytest.raises(GeometryError, match="tip is locked"):
        editor.move_tip((0, 0, 0.0))
    with pytest.raises(GeometryError, match="both ends are locked"):
        editor.snap(ranked)
    state = editor.lock(entry=False, tip=False)
    assert not state.entry_locked and not state.tip_locked
    for point in ((0, 0), (0, np.nan, 0), (0, np.inf, 1)):
        with pytest.raises(GeometryError, match="three finite numbers"):
            editor.move_tip(point)
    with pytest.raises(GeometryError, match="coincide"):
        editor.move_tip(state.entry_mm)
    # A refused move is no step.
    assert editor.state is state


def test_snap_takes_the_nearest_feasible_path(queries, ranked):
    feasible = np.flatnonzero(ranked.feasible)
    rng = np.random.default_rng(6)
    editor = editor_at(queries, ranked, 0)
    for row in rng.integers(0, len(ranked), 6).tolist():
        editor.move_entry(ranked.entry_mm[row])
        at = editor.move_tip(ranked.tip_mm[row] + rng.normal(size=3))
        moved = np.maximum(
            np.linalg.norm(ranked.entry_mm[feasible] - at.entry_mm, axis=1),
            np.linalg.norm(ranked.tip_mm[feasible] - at.tip_mm, axis=1),
        )
        state = editor.snap(ranked)
        assert state is editor.state and state.feasible and np.isfinite(state.cost)
        nearest = feasible[moved.argmin()]
        np.testing.assert_array_equal(state.tip_mm, ranked.tip_mm[nearest])
        np.testing.assert_array_equal(state.entry_mm, ranked.entry_mm[nearest])
        assert state.cost == pytest.approx(ranked.cost[nearest]) and state.table.front.tolist() == [True]
        assert editor.undo() is at


def test_snap_keeps_a_locked_end(queries, ranked):
    feasible = np.flatnonzero(ranked.feasible)
    tips = ranked.tip_mm[feasible]
    away = np.linalg.norm(tips - (30.0, -25.0, 40.0), axis=1)
    for row in feasible[:: max(1, len(feasible) // 20)]:
        editor = editor_at(queries, ranked, int(row))
        entry = editor.move_entry(ranked.entry_mm[row] + (4.0, -3.0, 2.0)).entry_mm
        editor.move_tip((30.0, -25.0, 40.0))
        editor.lock(entry=True)
        state = editor.snap(ranked)
        np.testing.assert_array_equal(state.entry_mm, entry)
        assert state.feasible and state.entry_locked
        assert (np.abs(tips - state.tip_mm).max(axis=1) < 1e-12).any()
        # No nearer tip of the table would do from this entry.
        nearer = tips[away < np.linalg.norm(state.tip_mm - (30, -25, 40)) - 1e-6]
        if len(nearer):
            break
    assert len(nearer)
    for tip in nearer[:20]:
        editor.undo()
        assert not editor.move_tip(tip).feasible
        editor.undo()
        editor.redo()
    editor.lock(entry=False, tip=True)
    tip = editor.state.tip_mm
    moved = editor.snap(ranked)
    np.testing.assert_array_equal(moved.tip_mm, tip)
    assert moved.feasible


def test_snap_finds_nothing_where_nothing_is_feasible(queries, ranked):
    editor = editor_at(queries, ranked, int(ranked.order()[0]))
    state = editor.state
    assert editor.snap(ranked.subset(np.flatnonzero(~ranked.feasible))) is None
    assert editor.state is state and not editor.can_undo
    # Feasible by the table, not by the editor's own stricter demands.
    strict = TrajectoryEditor(
        queries,
        constraints_of(queries, skin_angle_deg=0.001),
        default_objectives(queries),
        APPLICATOR,
        state.entry_mm,
        state.tip_mm,
    )
    assert strict.snap(ranked) is None
    other = dataclasses.replace(ranked, applicator=dataclasses.replace(APPLICATOR, shaft_diameter_mm=1.0))
    with pytest.raises(OptionError, match="applicator"):
        editor.snap(other)


def test_a_bent_needle_is_edited_along_its_arc(queries, ranked):
    row = int(ranked.order()[0])
    model = ConstantCurvature(1.0 / 230.0, (0.3, 0.8, -0.4))
    editor = editor_at(queries, ranked, row, model)
    straight = editor_at(queries, ranked, row).state
    state = editor.state
    np.testing.assert_allclose(ends(state), ends(straight), atol=1e-9)
    share = 1.0 - APPLICATOR.tip_to_centre_mm / state.table.length_mm
    at = arc_points_mm(state.table.entry_mm, state.table.tip_mm, state.table.curvature_per_mm, share)[0, 0]
    np.testing.assert_allclose(state.aim_mm, at, atol=1e-9)
    assert np.linalg.norm(state.aim_mm - straight.aim_mm) > 0.3
    assert state.table.constraint("usable length").values[0] > straight.table.constraint("usable length").values[0]
    bent_to = editor.snap(ranked)
    assert bent_to.feasible and bent_to.table.curvature_per_mm is not None


def test_a_moved_patient_is_edited_alike(queries, ranked):
    moved_queries = made_queries(moved=True)
    turn, shift = MOTION[:3, :3], MOTION[:3, 3]
    assert np.allclose(MOTION, motion(21))
    row = int(ranked.order()[3])
    here = editor_at(queries, ranked, row)
    there = TrajectoryEditor(
        moved_queries, constraints_of(moved_queries), default_objectives(moved_queries), APPLICATOR,
        turn @ ranked.entry_mm[row] + shift, turn @ ranked.tip_mm[row] + shift,
    )  # fmt: skip
    for step in ((5.0, -3.0, 8.0), (-12.0, 6.0, 2.0)):
        one = here.move_entry(ranked.entry_mm[row] + step)
        other = there.move_entry(turn @ (ranked.entry_mm[row] + step) + shift)
        np.testing.assert_allclose(other.entry_mm, turn @ one.entry_mm + shift, atol=1e-3)
        for a, b in zip(one.table.constraints, other.table.constraints, strict=True):
            assert a.values[0] == pytest.approx(b.values[0], abs=5e-3), a.name
        assert one.feasible == other.feasible
