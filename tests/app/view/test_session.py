"""Needles moved, undone, locked and snapped as one plan."""

import dataclasses

import numpy as np
import pytest

from needleplan.app.view.judging import judge
from needleplan.app.view.session import EditSession, carried
from needleplan.errors import GeometryError, OptionError
from needleplan.plan import Ablation, Evidence, PlanStatus
from needleplan.trajectory.sampling import sample_trajectories
from needleplan.trajectory.screening import screen


@pytest.fixture
def session(planned, demands):
    return EditSession(planned, demands)


def tables(session):
    return tuple(session.path(order).table for order in session.orders)


def shifted(session, order, end, by_mm):
    path = session.path(order)
    return tuple(np.add(path.entry_mm if end == "entry" else path.tip_mm, by_mm).tolist())


def test_demands_are_those_of_the_plan(planned, demands):
    assert demands.coverage.margin_mm == planned.plan.metrics.margin_mm == 6.0
    assert [c.name for c in demands.constraints] == list(planned.plan.rejected)
    assert demands.notes == ()


def test_a_plan_that_asked_a_robot_says_what_is_left_out(planned, demands):
    from needleplan.app.view.demands import demands_of

    options = {**planned.plan.provenance.options, "weights.robot": 0.5}
    plan = dataclasses.replace(
        planned.plan,
        rejected={**planned.plan.rejected, "robot reach": 3},
        provenance=dataclasses.replace(planned.plan.provenance, options=options),
    )
    notes = demands_of(dataclasses.replace(planned, plan=plan)).notes
    assert len(notes) == 2 and "carry" in notes[0]


def test_untouched_needles_are_the_planned_ones_value_by_value(session, planned):
    assert session.insertions() == planned.plan.insertions
    session.move(1, "tip", shifted(session, 1, "tip", (4.0, -3.0, 2.0)))
    now = session.insertions()
    assert now[0] != planned.plan.insertions[0] and now[1:] == planned.plan.insertions[1:]
    session.undo()
    assert session.insertions() == planned.plan.insertions and session.can_redo and not session.can_undo


def test_a_drag_is_one_step_and_other_needles_keep_theirs(session):
    first, last = session.orders[0], session.orders[-1]
    before = session.path(first).tip_mm
    session.move(last, "tip", shifted(session, last, "tip", (1.0, 0.0, 0.0)), "a drag")
    for k in range(5):
        session.move(first, "tip", tuple(np.add(before, (k, 0.5 * k, 0.0))), "another")
    np.testing.assert_allclose(session.path(first).tip_mm, np.add(before, (4.0, 2.0, 0.0)))
    session.undo()
    np.testing.assert_array_equal(session.path(first).tip_mm, before)
    assert session.moved(last) and session.can_undo
    session.redo()
    np.testing.assert_allclose(session.path(first).tip_mm, np.add(before, (4.0, 2.0, 0.0)))
    session.undo()
    session.undo()
    assert not any(session.moved(order) for order in session.orders)
    with pytest.raises(GeometryError, match="no step to undo"):
        session.undo()


def test_a_drag_that_fails_midway_leaves_the_last_good_place(session):
    start = session.path(1).tip_mm
    session.move(1, "tip", tuple(np.add(start, (2.0, 0.0, 0.0))), "drag")
    with pytest.raises(GeometryError, match="coincide"):
        session.move(1, "tip", tuple(session.path(1).entry_mm), "drag")
    np.testing.assert_allclose(session.path(1).tip_mm, np.add(start, (2.0, 0.0, 0.0)))
    session.undo()
    np.testing.assert_array_equal(session.path(1).tip_mm, start)


@pytest.fixture
def drawn_back(planned, demands):
    """A session whose first needle has a second ablation 11 mm behind the tip."""
    one = planned.plan.insertions[0]
    back = tuple((np.asarray(one.tip_mm) - 11.0 * one.direction).tolist())
    two = dataclasses.replace(one, ablations=(Ablation(one.tip_mm, 65.0, 300.0), Ablation(back, 65.0, 300.0)))
    plan = dataclasses.replace(planned.plan, insertions=(two, *planned.plan.insertions[1:]))
    return EditSession(dataclasses.replace(planned, plan=plan), demands)


def behind_entry(session, depth_mm):
    """A tip of needle 1 that far behind its entry, on its path."""
    path = session.path(1)
    return tuple((path.entry_mm + depth_mm * session.insertions()[0].direction).tolist())


@pytest.mark.parametrize("gesture", ["drag", ""])
def test_a_path_too_short_for_its_ablations_changes_nothing_whatever_is_undone_and_redone(drawn_back, gesture):
    start = drawn_back.path(1).tip_mm
    good = tuple(np.add(start, (2.0, 1.0, 0.0)))
    drawn_back.move(1, "tip", good, "drag")
    drawn_back.move(1, "tip", tuple(np.add(start, (0.0, 3.0, 1.0))), "other")
    drawn_back.undo()
    for depth_mm in (8.0, 0.5):
        with pytest.raises(GeometryError, match="leave the needle deeper"):
            drawn_back.move(1, "tip", behind_entry(drawn_back, depth_mm), gesture)
        np.testing.assert_allclose(drawn_back.path(1).tip_mm, good)
        assert len(drawn_back.insertions()[0].ablations) == 2
    drawn_back.redo()
    np.testing.assert_allclose(drawn_back.path(1).tip_mm, np.add(start, (0.0, 3.0, 1.0)))
    drawn_back.reset()
    for _ in range(3):
        assert drawn_back.insertions()
        drawn_back.undo()
    np.testing.assert_array_equal(drawn_back.path(1).tip_mm, start)
    assert not drawn_back.can_undo and drawn_back.insertions()


@pytest.mark.parametrize("far", [(2000.0, 0.0, 0.0), (-9999.0, 9999.0, 0.0), (0.0, 0.0, 1e4)])
def test_a_tip_out_of_the_patient_is_refused_before_anything_is_computed(session, far):
    before = session.path(1)
    with pytest.raises(GeometryError, match="out of the patient, who reaches from"):
        session.move(1, "tip", far, "drag")
    assert session.path(1) is before and not session.can_undo


def test_snap_passes_over_paths_that_are_too_short_for_the_ablations(planned, demands, drawn_back):
    applicator = drawn_back.path(1).table.applicator
    table = sample_trajectories(planned.queries, applicator, demands.sampling)
    table = screen(table, planned.queries, demands.constraints)
    depth_mm = np.linalg.norm(table.tip_mm - table.entry_mm, axis=1)
    feasible = np.flatnonzero(table.feasible)
    longest_mm = float(np.percentile(depth_mm[feasible], 75))
    one = drawn_back.insertions()[0]
    far = Ablation(tuple((np.asarray(one.tip_mm) - longest_mm * one.direction).tolist()), 65.0, 300.0)
    plan = dataclasses.replace(
        planned.plan,
        insertions=(dataclasses.replace(one, ablations=(far,)), *planned.plan.insertions[1:]),
    )
    session = EditSession(dataclasses.replace(planned, plan=plan), demands)
    session.snap(1, table)
    assert session.path(1).feasible
    assert float(np.linalg.norm(session.path(1).tip_mm - session.path(1).entry_mm)) > longest_mm
    assert session.insertions()[0].ablations


def test_entries_stay_on_the_skin_and_locked_ends_stay(session, planned):
    session.move(1, "entry", shifted(session, 1, "entry", (30.0, -25.0, 18.0)))
    entry = session.path(1).entry_mm
    skin = planned.queries.distance(planned.anatomy.entry)
    assert np.linalg.norm(skin.closest_points_mm(entry[None])[0] - entry) < 1e-3
    session.lock(1, True, None)
    with pytest.raises(GeometryError, match="locked"):
        session.move(1, "entry", tuple(entry + 5.0))
    session.undo()
    session.move(1, "entry", tuple(entry + 5.0))


def test_reset_is_one_step_that_can_be_undone(session):
    for order in session.orders:
        session.move(order, "tip", shifted(session, order, "tip", (3.0, 1.0, 0.0)))
    session.lock(1, True, True)
    there = session.path(1).tip_mm
    session.reset()
    assert not any(session.moved(order) for order in session.orders) and not session.path(1).tip_locked
    session.undo()
    np.testing.assert_array_equal(session.path(1).tip_mm, there)
    assert session.path(1).tip_locked and session.path(1).entry_locked
    session.undo()
    session.reset((1,))
    assert not session.moved(1)


def test_ablations_keep_their_way_behind_the_tip(planned, session):
    one = planned.plan.insertions[0]
    back = np.asarray(one.tip_mm) - 11.0 * one.direction
    two = dataclasses.replace(
        one, ablations=(Ablation(one.tip_mm, 65.0, 300.0), Ablation(tuple(back), 65.0, 300.0))
    )
    session.move(1, "tip", shifted(session, 1, "tip", (7.0, -6.0, 3.0)))
    path = session.path(1)
    moved = carried(two, path.entry_mm, path.tip_mm)
    np.testing.assert_allclose(moved.ablations[0].tip_mm, path.tip_mm)
    away = np.subtract(moved.tip_mm, moved.ablations[1].tip_mm)
    np.testing.assert_allclose(away, 11.0 * moved.direction, atol=1e-9)
    far = dataclasses.replace(two, ablations=(Ablation(tuple(one.tip_mm - 1000.0 * one.direction), 65.0, 300.0),))
    with pytest.raises(GeometryError, match="leave the needle deeper"):
        carried(far, path.entry_mm, path.tip_mm)


def test_snapping_finds_a_feasible_path_and_says_where_there_is_none(session, planned, demands):
    applicator = session.path(1).table.applicator
    table = screen(
        sample_trajectories(planned.queries, applicator, demands.sampling), planned.queries, demands.constraints
    )
    vessel = planned.anatomy.with_role(planned.anatomy.obstacles[0].role)[0].mesh.vertices_mm.mean(axis=0)
    session.move(1, "tip", tuple(vessel))
    assert not session.path(1).feasible
    session.snap(1, table)
    assert session.path(1).feasible and not session.path(1).entry_locked
    none = table.subset(np.flatnonzero(~table.feasible)[:5])
    before = session.path(1)
    with pytest.raises(GeometryError, match="no candidate path"):
        session.snap(1, none)
    assert session.path(1) is before
    with pytest.raises(OptionError, match="no needle 99"):
        session.snap(99, table)


def test_a_broken_demand_makes_the_plan_infeasible_and_says_which(session, planned, demands):
    vessel = planned.anatomy.obstacles[0]
    session.move(1, "tip", tuple(vessel.mesh.vertices_mm.mean(axis=0)))
    judged = judge(planned, demands, session.insertions(), tables(session))
    assert judged.plan.status is PlanStatus.INFEASIBLE and not session.path(1).feasible
    assert any(vessel.name in sentence for sentence in judged.broken)
    assert all(any(item.finding == sentence for item in judged.plan.evidence) for sentence in judged.broken)
    assert judged.plan.proof is None and judged.plan.physics is None and judged.plan.likelihoods == ()
    assert "moved by hand" in judged.plan.provenance.notes[-1]
    assert judged.plan.insertions[0].clearances_mm[vessel.name] < 0


def test_a_needle_drawn_away_leaves_target_and_is_partial(session, planned, demands):
    one = planned.plan.insertions[0]
    session.move(1, "tip", tuple(np.asarray(one.tip_mm) - 14.0 * one.direction))
    judged = judge(planned, demands, session.insertions(), tables(session))
    before, after = planned.plan.metrics, judged.plan.metrics
    assert after.minimal_margin_mm < before.minimal_margin_mm
    covered = after.margin_coverage_fraction == 1.0
    expected = PlanStatus.INFEASIBLE if judged.broken else PlanStatus.COMPLETE if covered else PlanStatus.PARTIAL
    assert judged.plan.status is expected


def test_nothing_moved_is_the_plan_itself(session, planned, demands):
    judged = judge(planned, demands, session.insertions(), tables(session))
    assert judged.plan is planned.plan and judged.assessment is planned.assessment and not judged.broken


def test_a_plan_that_is_opened_and_not_complete_says_why(session, planned, demands):
    vessel = planned.anatomy.obstacles[0]
    session.move(1, "tip", tuple(vessel.mesh.vertices_mm.mean(axis=0)))
    edited = judge(planned, demands, session.insertions(), tables(session))
    opened = dataclasses.replace(planned, plan=edited.plan, assessment=edited.assessment)
    again = judge(opened, demands, edited.plan.insertions, tables(session))
    assert again.plan is edited.plan and again.broken
    told = (*again.broken, *again.warnings)
    for item in edited.plan.evidence:
        assert sum(sentence.startswith(item.finding) for sentence in told) == 1, item
    # Of needles that break nothing by themselves, the plan alone knows why.
    near = Evidence("needles among each other", "They come too near.", "Move one.")
    for status in (PlanStatus.INFEASIBLE, PlanStatus.PARTIAL):
        plan = dataclasses.replace(planned.plan, status=status, evidence=(near,))
        session = EditSession(planned, demands)
        judged = judge(dataclasses.replace(planned, plan=plan), demands, plan.insertions, tables(session))
        assert judged.broken == () and judged.warnings == ("They come too near. Move one.",)


def beside(insertion, by_mm, order):
    """A needle parallel to another one."""
    return dataclasses.replace(
        insertion,
        order=order,
        entry_mm=tuple(np.add(insertion.entry_mm, by_mm).tolist()),
        tip_mm=tuple(np.add(insertion.tip_mm, by_mm).tolist()),
        ablations=tuple(
            dataclasses.replace(one, tip_mm=tuple(np.add(one.tip_mm, by_mm).tolist()))
            for one in insertion.ablations
        ),
        clearances_mm={},
    )


def across(insertion):
    """A direction across a needle, oblique to all axes of the grid."""
    side = np.cross(insertion.direction, (0.3, 0.5, 0.8))
    return side / np.linalg.norm(side)


@pytest.fixture
def doubled(planned):
    """(the plan with its first needle doubled far away as the second, both with that one so many mm away)."""
    first = planned.plan.insertions[0]
    side = across(first)

    def with_(options=None):
        provenance = planned.plan.provenance
        provenance = dataclasses.replace(provenance, options={**provenance.options, **(options or {})})
        two = (first, beside(first, 40.0 * side, 2))
        return dataclasses.replace(
            planned, plan=dataclasses.replace(planned.plan, insertions=two, provenance=provenance)
        )

    return with_, lambda mm: (first, beside(first, mm * side, 2))


def judged_pair(doubled, options, mm, session):
    from needleplan.app.view.demands import demands_of

    with_, brought = doubled
    planned = with_(options)
    table = session.path(1).table
    return judge(planned, demands_of(planned), brought(mm), (table, table))


def test_needles_that_collide_in_the_body_make_the_plan_infeasible(doubled, session):
    far = judged_pair(doubled, None, 20.0, session)
    assert far.plan.status is PlanStatus.COMPLETE and not far.broken
    near = judged_pair(doubled, None, 2.0, session)
    assert near.plan.status is PlanStatus.INFEASIBLE
    assert any("needles 1 and 2" in sentence for sentence in near.broken)
    found = [item for item in near.plan.evidence if item.subject == "needles among each other"]
    assert {item.finding for item in found} <= set(near.broken) and all(item.remedy for item in found)
    by_turns = judged_pair(doubled, {"coverage.needles_at_once": 1}, 2.0, session)
    assert by_turns.plan.status is PlanStatus.COMPLETE and not by_turns.broken
    assert any("each drawn out before the next" in item.finding for item in by_turns.plan.evidence)


def test_needles_whose_handles_collide_stand_in_groups_as_in_any_plan(doubled, session):
    # Ten millimetres hold two handles of 5 mm radius; eight keep the distances in the body alone.
    groups = judged_pair(doubled, None, 8.0, session)
    assert groups.plan.status is PlanStatus.COMPLETE and not groups.broken
    assert any("in groups" in sentence for sentence in groups.warnings)
    assert any("handles of needles 1 and 2" in item.finding for item in groups.plan.evidence), "and why"
    together = judged_pair(doubled, None, 12.0, session)
    assert not any(item.subject == "puncture order" and "groups" in item.finding for item in together.plan.evidence)


def test_needles_that_cannot_be_judged_are_not_called_complete(doubled, session, monkeypatch):
    from needleplan.app.view import standing

    def refuse(*_, **__):
        raise GeometryError("needle 2 is longer than its shaft")

    monkeypatch.setattr(standing, "explain_pairs", refuse)
    judged = judged_pair(doubled, None, 20.0, session)
    assert judged.plan.status is PlanStatus.PARTIAL
    assert any("is not known: needle 2 is longer" in sentence for sentence in judged.warnings)


def test_a_demanded_chance_that_is_not_known_any_more_is_said(doubled, session):
    asked = {"errors.required": 0.9, "errors.robustness": "required", "errors.level_mm": 2.0}
    judged = judged_pair(doubled, asked, 20.0, session)
    assert judged.plan.status is PlanStatus.PARTIAL and not judged.broken
    found = next(item for item in judged.plan.evidence if item.subject == "robustness")
    assert "at least 90 % that the margin reaches 2 mm" in found.finding and "not known" in found.finding
    assert any("not known" in sentence for sentence in judged.warnings)
    assert (
        judged_pair(doubled, {**asked, "errors.required": None}, 20.0, session).plan.status is PlanStatus.COMPLETE
    )
    with pytest.raises(OptionError, match=r"errors\.required must be a number from 0 to 1"):
        judged_pair(doubled, {"errors.required": "most"}, 20.0, session)


def test_a_robot_that_was_not_asked_leaves_the_plan_partial(doubled, demands, session):
    with_, brought = doubled
    table = session.path(1).table
    asked = dataclasses.replace(demands, robot_asked=True)
    judged = judge(with_(), asked, brought(20.0), (table, table))
    assert judged.plan.status is PlanStatus.PARTIAL
    assert any(item.subject == "robot reach" and "not known" in item.finding for item in judged.plan.evidence)


@pytest.mark.parametrize("end", ["entry", "tip"])
def test_a_move_to_where_an_end_is_already_is_no_step(session, end):
    session.move(1, "tip", shifted(session, 1, "tip", (2.0, 0.0, 0.0)))
    session.move(1, "entry", shifted(session, 1, "entry", (9.0, -4.0, 5.0)))
    session.undo()
    before = session.path(1)
    assert not session.move(1, end, shifted(session, 1, end, (0.0, 0.0, 0.0)))
    assert session.path(1) is before and session.can_redo
    session.undo()
    assert not session.can_undo
    start = session.path(1)
    point = getattr(start, f"{end}_mm")
    session.move(1, end, tuple(np.add(point, (6.0, 5.0, 4.0))), "a drag")
    assert session.move(1, end, tuple(point), "a drag"), "the needle is elsewhere than a moment ago"
    assert session.path(1) is start and not session.can_undo and not session.can_redo


def test_locks_and_resets_that_change_nothing_are_no_steps(session):
    assert not session.lock(1, False, None) and not session.reset() and not session.can_undo
    assert session.lock(1, True, None) and not session.lock(1, True, None)
    assert session.reset() and session.can_undo
