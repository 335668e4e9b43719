"""Replanning from the live state: what stands and what was delivered is kept, and the session takes the rest."""

import dataclasses

import numpy as np
import pytest
from guided_needle import PLAN, QUERIES, needle_pose, registration, started

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.errors import NavigationError
from needleplan.frames import perpendicular_axes
from needleplan.navigation.events import EnergyDelivered, NeedlePlaced, NeedleSelected
from needleplan.navigation.guidance import Advice
from needleplan.navigation.live_replanning import LIVE_TIME_LIMIT_S, LiveReplanner
from needleplan.navigation.live_session import LiveSession
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.search import SearchOptions

MODEL = EllipsoidTableModel()
ASKED = {"coverage.margin_mm": 3.0, "coverage.time_limit_s": 30.0, "limits.vessel_mm": 1.0, "limits.soft": ""}
STATED = dataclasses.replace(PLAN, provenance=dataclasses.replace(PLAN.provenance, options=ASKED))


@pytest.fixture(scope="module")
def replanner():
    return LiveReplanner.prepare(
        STATED, QUERIES, MODEL, sampling=SamplingOptions(entry_spacing_mm=20.0, aim_count=8),
        search=SearchOptions(0, 0, 2_000, 0),
    )  # fmt: skip


def session_of(plan=STATED):
    return LiveSession(plan, QUERIES, MODEL.catalogue.applicators)


def placed(session, order=1, **pose):
    """Let a needle go where it stands."""
    session.take(registration())
    stream = started(session, order=order, registered=False, to_go_mm=0.2, **pose)
    stream.go_on(0.3)
    session.take(NeedlePlaced(stream.now_s))
    return stream


def test_limits_and_margin_are_those_of_the_plan(replanner):
    assert replanner.options.margin_mm == 3.0 and replanner.options.time_limit_s == LIVE_TIME_LIMIT_S
    vessel = next(one for one in replanner.constraints if "hepatic vein" in one.name)
    assert vessel.limit_mm == 1.0
    assert replanner.prepared_s > 0.0 and replanner.ranked.feasible.any()


def test_a_plan_from_which_nothing_deviates_is_kept(replanner):
    session = session_of()
    found = replanner.replan(session.state, 3.0)
    assert found.replanning.unchanged and found.event.insertions == PLAN.insertions
    assert any("kept as it is" in sentence for sentence in found.event.reason)
    session.take(found.event)
    assert session.planned == PLAN.insertions


def test_a_needle_that_missed_stays_where_it_is_and_the_rest_is_planned_around_it(replanner):
    session = session_of()
    stream = placed(session, aside_mm=4.0)
    before = session.measured
    found = replanner.replan(session.state, stream.now_s)
    assert found.duration_s < 5.0
    assert session.measured == before and session.planned == PLAN.insertions
    said = " ".join(found.event.reason)
    assert "4.0 mm aside" in said and "% of target and margin" in said
    session.take(found.event)
    # The needle that stands keeps its number, and what is given along it lies on its axis.
    (needle,) = session.measured
    along = next(one for one in session.planned if one.order == 1)
    for ablation in along.ablations:
        beside = np.subtract(ablation.tip_mm, needle.tip_mm)
        assert np.linalg.norm(np.cross(beside, needle.direction)) < 1e-6
    # It can be guided on: the next needle is selected and goes.
    waiting = [one.order for one in session.planned if one.order != 1 and one.ablations]
    if waiting:
        session.take(NeedleSelected(stream.now_s, waiting[0]))
        stream.session = session
        planned = next(one for one in session.planned if one.order == waiting[0])
        stream.X_PN = needle_pose(planned, 30.0)
        session.take(registration(stream.now_s))
        assert stream.go_on(0.6).advice in (Advice.GO, Advice.HOLD)


def test_what_was_delivered_is_not_due_again_after_replanning(replanner):
    session = session_of()
    stream = placed(session, aside_mm=2.0)
    (needle,) = session.measured
    moved = needle.carrying(session.state.due(needle)[:1], PLAN.insertions[0].applicator)
    session.take(EnergyDelivered(stream.now_s, moved))
    found = replanner.replan(session.state, stream.now_s)
    session.take(found.event)
    left = {one.order: one.ablations for one in found.replanning.remaining}
    due = session.state.due(needle)
    assert len(due) == len(left.get(1, ()))
    for one, other in zip(due, left.get(1, ()), strict=True):
        np.testing.assert_allclose(one.tip_mm, other.tip_mm, atol=1e-6)
    # Asked again with nothing new, nothing changes.
    again = replanner.replan(session.state, stream.now_s)
    assert {one.order: one.ablations for one in again.replanning.remaining} == left or again.replanning.complete


def test_the_least_margin_is_told_where_it_is_asked_for(replanner):
    session = session_of()
    placed(session, aside_mm=4.0)
    plain = replanner.replan(session.state, 9.0)
    asked = replanner.replan(session.state, 9.0, assessed=True)
    assert plain.replanning.metrics is None and asked.replanning.metrics is not None
    assert plain.replanning.remaining == asked.replanning.remaining
    assert any("least margin" in sentence for sentence in asked.event.reason)
    share = asked.replanning.metrics.margin_coverage_fraction
    assert plain.replanning.share_after == pytest.approx(share, abs=0.02)


def entry_of(insertion):
    """Where the axis of an insertion passes the skin."""
    tip = np.asarray(insertion.tip_mm)
    back = tip - 200.0 * insertion.direction
    found = QUERIES.tree(QUERIES.anatomy.entry).crossings(tip[None], back[None])
    return tip + found.parameter[0, 0] * (back - tip)


def test_a_needle_that_has_hardly_entered_is_a_named_error(replanner):
    first = STATED.insertions[0]
    entry = entry_of(first)
    for deep_mm in (1.2, 2.0):
        needle = MeasuredNeedle(1, entry, entry + deep_mm * first.direction)
        with pytest.raises(NavigationError, match=rf"stands only {deep_mm:.1f} mm deep.* plan again without it"):
            replanner.replan(TreatmentState(STATED.insertions, (needle,), ()), 1.0)
    outside = MeasuredNeedle(1, entry, entry - 20.0 * first.direction)
    with pytest.raises(NavigationError, match="outside the body"):
        replanner.replan(TreatmentState(STATED.insertions, (outside,), ()), 1.0)


def test_the_plan_as_it_is_stands_beside_the_proposal(replanner):
    first = STATED.insertions[0]
    side, _ = perpendicular_axes(first.direction)
    tip = np.asarray(first.tip_mm) + 9.0 * side
    state = TreatmentState(STATED.insertions, (MeasuredNeedle(1, entry_of(first), tip),), ())
    found = replanner.replan(state, 1.0)
    alternatives = found.replanning.alternatives
    assert alternatives[0].unchanged and alternatives[0].share == found.replanning.share_before
    assert sum(one.proposed for one in alternatives) == 1
    for one in alternatives:
        assert one.sentence in found.event.reason
    assert found.replanning.share_after >= found.replanning.share_before or not alternatives[0].allowed


def test_another_patient_and_plans_of_no_or_several_applicators_are_refused():
    plan = dataclasses.replace(STATED, case_hash="other")
    with pytest.raises(NavigationError, match="another patient"):
        LiveReplanner.prepare(plan, QUERIES, MODEL)
    with pytest.raises(NavigationError, match="one kind"):
        LiveReplanner.prepare(dataclasses.replace(STATED, insertions=()), QUERIES, MODEL)
    cryo = dataclasses.replace(PLAN.insertions[1], applicator="generic-cryo-17g")
    with pytest.raises(NavigationError, match="one kind"):
        LiveReplanner.prepare(dataclasses.replace(STATED, insertions=(PLAN.insertions[0], cryo)), QUERIES, MODEL)
