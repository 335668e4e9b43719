"""The live session against closed forms, brute force, and the laws of its frames."""

import dataclasses

import numpy as np
import pytest
from guided_needle import (
    APPLICATORS,
    PLAN,
    QUERIES,
    X_TP,
    Stream,
    kinds,
    needle_pose,
    new_session,
    registration,
    started,
)

from needleplan.anatomy.tree import MeshTree
from needleplan.errors import NavigationError, PlanFileError
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.navigation.events import (
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
)
from needleplan.navigation.guidance import Advice, DoubtKind
from needleplan.navigation.left_out import LeftOut
from needleplan.navigation.structure_watch import StructureWatch
from needleplan.registration.rotations import rotations_of


def figures(guidance):
    off = guidance.deviation
    return np.array(
        [
            *guidance.tip_mm, *guidance.direction, off.tip_mm, off.lateral_mm, off.depth_mm, off.angle_deg,
            guidance.to_go_mm, guidance.predicted_lateral_mm, guidance.predicted_error_mm,
            guidance.nearest.now_mm, guidance.nearest.exhale_mm, guidance.nearest.ahead_mm,
        ]
    )  # fmt: skip


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("to_go", "aside", "tilt"), [(30.0, 0.0, 0.0), (17.0, 2.5, 1.5), (0.4, 1.0, 0.5)])
def test_deviation_and_prediction_are_the_closed_forms_on_oblique_needles(order, to_go, aside, tilt):
    stream = started(order=order, to_go_mm=to_go, aside_mm=aside, tilt_deg=tilt)
    stream.noise_mm = 1e-9
    said = stream.go_on(0.2)
    assert said.advice is (Advice.ARRIVED if to_go < 1.0 else Advice.GO), said.doubts
    off = said.deviation
    # The tip lies to_go short along the plan and aside across it; the tilt is about the tip, in the plane across.
    assert off.tip_mm == pytest.approx(np.hypot(to_go, aside), abs=1e-6)
    assert off.lateral_mm == pytest.approx(aside, abs=1e-6)
    assert off.depth_mm == pytest.approx(-to_go, abs=1e-6)
    assert off.angle_deg == pytest.approx(tilt, abs=1e-6)
    assert said.to_go_mm == pytest.approx(to_go / np.cos(np.radians(tilt)), abs=1e-6)
    lateral = np.hypot(aside, to_go * np.tan(np.radians(tilt)))
    assert said.predicted_lateral_mm == pytest.approx(lateral, abs=1e-6)
    error = registration().covariance.tre_mm(PLAN.insertions[order - 1].tip_mm)
    assert said.predicted_error_mm == pytest.approx(np.hypot(lateral, error), abs=1e-6)


def brute_distance_mm(mesh, start, end, points=400):
    """Distance of a segment to a mesh by many points of both: never less than the true one."""
    share = np.linspace(0.0, 1.0, points)[:, None]
    along = start + share * (end - start)
    corners = mesh.triangles_mm
    steps = [(a, b, 6 - a - b) for a in range(7) for b in range(7 - a)]
    weights = np.array(steps) / 6.0
    on_mesh = np.einsum("pc,fcx->fpx", weights, corners).reshape(-1, 3)
    on_mesh = on_mesh[np.linalg.norm(on_mesh - 0.5 * (start + end), axis=1) < 200.0]
    return min(float(np.linalg.norm(on_mesh - point, axis=1).min()) for point in along)


def test_distances_are_those_of_brute_force_now_at_exhale_and_ahead():
    stream = started(to_go_mm=25.0, aside_mm=1.0)
    stream.displacement_mm = (0.3, -0.2, -1.5)
    said = stream.go_on(0.6)
    needle = PLAN.insertions[0]
    applicator = next(one for one in APPLICATORS if one.name == needle.applicator)
    tip, way = np.asarray(said.tip_mm), np.asarray(said.direction)
    back = tip - applicator.usable_length_mm * way
    surface = QUERIES.anatomy.surface(said.nearest.name)
    share = 1.0 if said.nearest.name == "hepatic vein" else None
    assert share is not None
    shift = share * np.asarray(said.displacement_mm)
    for value, start, end in (
        (said.nearest.exhale_mm, back, tip),
        (said.nearest.now_mm, back - shift, tip - shift),
        (said.nearest.ahead_mm, back, tip + said.to_go_mm * way),
    ):
        brute = brute_distance_mm(surface.mesh, start, end) - applicator.radius_mm
        assert brute - 1.0 < value <= brute + 1e-6
    # It is the nearest of all of them.
    for other in QUERIES.anatomy.obstacles:
        distance = QUERIES.tree(other).segment_distance_mm(back[None], (tip + said.to_go_mm * way)[None])[0]
        assert distance - applicator.radius_mm >= said.nearest.ahead_mm - 1e-9


def test_a_rigid_motion_of_the_tracker_changes_nothing():
    turned = np.eye(4)
    turned[:3, :3] = rotations_of(np.array([2.0, 0.3, -0.9]))
    turned[:3, 3] = (-300.0, 700.0, 50.0)
    plain, moved = new_session(), new_session()
    for session, X in ((plain, X_TP), (moved, turned @ X_TP)):
        session.take(registration())
        session.take(NeedleSelected(0.05, 1))
        stream = Stream(session, needle_pose(PLAN.insertions[0], 20.0, 2.0, 1.0), X_TP=X, noise_mm=0.0)
        # Without noise in the poses, but not the same to the bit.
        stream.shaken = lambda pose, s=stream: pose @ _wobble(s.time_s)
        said = stream.go_on(0.5)
        session.said = figures(said)
        assert said.advice is Advice.GO, said.doubts
    np.testing.assert_allclose(plain.said, moved.said, atol=1e-7)


def _wobble(time_s):
    result = np.eye(4)
    result[:3, :3] = rotations_of(np.array([0.0, 0.0, 1e-9 * (1.0 + np.sin(40.0 * time_s))]))
    return result


def test_moving_patient_reference_and_needle_together_changes_nothing():
    stream = started(to_go_mm=20.0, aside_mm=2.0, tilt_deg=1.0)
    stream.noise_mm = 1e-6
    before = stream.go_on(0.3)
    # The table goes 40 mm and turns, at once: everything on it goes along, as seen from the tracker.
    push = np.eye(4)
    push[:3, :3] = rotations_of(np.array([0.05, 0.1, -0.08]))
    push[:3, 3] = (40.0, -20.0, 15.0)
    stream.X_TP = push @ stream.X_TP
    after = stream.go_on(0.3)
    assert before.advice is Advice.GO and after.advice is Advice.GO, after.doubts
    np.testing.assert_allclose(figures(before)[:13], figures(after)[:13], atol=1e-4)


def test_moving_the_reference_alone_is_noticed_at_once_and_slow_drift_is_not():
    stream = started()
    stream.X_PR = stream.X_PR.copy()
    stream.X_PR[:3, 3] += (0.0, 4.0, 0.0)
    said = stream.go_on(0.05)
    assert DoubtKind.REFERENCE_MOVED in kinds(said) and said.advice is Advice.HOLD
    # It stays so until somebody looked.
    assert DoubtKind.REFERENCE_MOVED in kinds(stream.go_on(8.0))
    drifting = started()
    for _ in range(20):
        drifting.X_TP = drifting.X_TP.copy()
        drifting.X_TP[:3, 3] += (0.4, 0.0, 0.0)
        said = drifting.go_on(0.5)
    assert said.advice is Advice.GO, said.doubts


def test_needles_that_are_let_go_are_measured_for_replanning():
    stream = started(to_go_mm=0.5, aside_mm=1.0)
    stream.go_on(0.3)
    stream.session.take(NeedlePlaced(stream.now_s))
    (needle,) = stream.session.measured
    insertion = PLAN.insertions[0]
    assert stream.session.order is None and stream.session.state.measured == (needle,)
    assert np.linalg.norm(needle.tip_mm - np.asarray(insertion.tip_mm)) == pytest.approx(
        np.hypot(0.5, 1.0), abs=0.1
    )
    assert abs(QUERIES.distance(QUERIES.anatomy.entry).signed_distance_mm(needle.entry_mm[None])[0]) < 1e-4
    np.testing.assert_allclose(needle.direction, insertion.direction, atol=1e-9)
    # What is planned again must hold the needle that stands.
    with pytest.raises(NavigationError, match="lacks needle 1"):
        stream.session.take(PlanReplaced(stream.now_s, (PLAN.insertions[1],)))
    stream.session.take(EnergyDelivered(stream.now_s, insertion))
    assert stream.session.delivered == (insertion,)
    assert not stream.session.state.due(needle)


def test_a_standing_needle_is_not_forgotten_before_it_is_drawn_out():
    stream = started(to_go_mm=0.5)
    session = stream.session
    session.take(NeedlePlaced(stream.now_s))
    (needle,) = session.measured
    # A wrong click: it stands where it stood.
    session.take(NeedleSelected(stream.now_s, 1))
    assert any("Needle 1 was taken up again" in sentence for sentence in session.statements)
    session.take(NeedleSelected(stream.now_s, 2))
    assert session.measured == (needle,) and [one.order for one in session.state.waiting] == [2]
    # Let go again it is measured anew.
    session.take(NeedleSelected(stream.now_s, 1))
    stream.X_PN = needle_pose(PLAN.insertions[0], 0.2)
    stream.go_on(0.3)
    session.take(NeedlePlaced(stream.now_s))
    assert np.linalg.norm(session.measured[0].tip_mm - needle.tip_mm) == pytest.approx(0.3, abs=0.06)
    with pytest.raises(NavigationError, match="needle 2 does not stand"):
        session.take(NeedleWithdrawn(stream.now_s, 2))
    session.take(NeedleSelected(stream.now_s, 1))
    session.take(NeedleWithdrawn(stream.now_s, 1))
    assert not session.measured and session.order is None
    assert [one.order for one in session.state.waiting] == [1, 2]


def shifted(insertion, by_mm):
    move = lambda place: tuple(np.add(place, by_mm))  # noqa: E731
    ablations = tuple(dataclasses.replace(one, tip_mm=move(one.tip_mm)) for one in insertion.ablations)
    entry, tip = move(insertion.entry_mm), move(insertion.tip_mm)
    return dataclasses.replace(insertion, entry_mm=entry, tip_mm=tip, ablations=ablations)


def test_energy_is_delivered_once_by_a_needle_of_the_plan_and_on_it():
    session, one = new_session(), PLAN.insertions[0]
    lasts_s = sum(ablation.duration_s for ablation in one.ablations)
    session.take(EnergyDelivered(100.0, one))
    # Told again, by a client that had no answer for instance.
    for time_s in (100.0, 99.0, 100.0 + 0.9 * lasts_s):
        with pytest.raises(NavigationError, match="it counts once"):
            session.take(EnergyDelivered(time_s, one))
    behind = dataclasses.replace(one.ablations[0], tip_mm=tuple(np.subtract(one.tip_mm, 250.0 * one.direction)))
    beside = dataclasses.replace(one.ablations[0], tip_mm=tuple(np.add(one.tip_mm, (0.0, 6.0, 0.0))))
    for wrong, words in (
        (dataclasses.replace(one, order=77), "no needle 77"),
        (shifted(one, (9000.0, 0.0, 0.0)), "outside the body"),
        (dataclasses.replace(one, ablations=(behind,)), "250 mm behind its tip"),
        (dataclasses.replace(one, ablations=(beside,)), "must lie on the needle"),
    ):
        with pytest.raises(NavigationError, match=words):
            session.take(EnergyDelivered(5000.0, wrong))
    assert session.delivered == (one,)
    # The same once more is another ablation where there was time for it.
    session.take(EnergyDelivered(100.0 + 1.1 * lasts_s, one))
    assert session.delivered == (one, one)


def test_a_new_plan_of_another_place_is_refused_and_changes_nothing():
    session, one = new_session(), PLAN.insertions[0]
    far = shifted(one, (9000.0, 0.0, 0.0))
    outside = dataclasses.replace(one, entry_mm=tuple(np.subtract(one.entry_mm, 400.0 * one.direction)))
    for wrong in (far, outside):
        with pytest.raises(NavigationError, match=r"outside the body|off the entry surface"):
            session.take(PlanReplaced(1.0, (wrong, PLAN.insertions[1])))
    assert session.planned == PLAN.insertions


def test_a_new_plan_through_a_vessel_leaves_it_out_no_more_than_the_first_did():
    vein = np.array([50.0, -25.0, 120.0])
    stream = started()
    session, one = stream.session, PLAN.insertions[0]
    stream.X_PN[:3, 3] = vein + 5.0 * one.direction
    said = stream.go_on(1.0)
    assert said.advice is Advice.STOP
    session.take(LandmarkChecked(stream.now_s, "where it is", said.tip_mm))
    session.take(NeedlePlaced(stream.now_s))
    (needle,) = session.measured
    # What is planned again holds the needle where it stands, with an order known or a new one.
    for order in (1, 3):
        moved = dataclasses.replace(needle.carrying((), one.applicator), order=order)
        rest = () if order == 1 else (needle.carrying((), one.applicator),)
        session.take(PlanReplaced(stream.now_s, (*rest, moved, PLAN.insertions[1])))
        session.take(NeedleSelected(stream.now_s, order))
        said = stream.go_on(0.1)
        assert said.advice is Advice.STOP and said.nearest.name == "hepatic vein"
        assert any("needle 1 passes hepatic vein, as its plan did not" in one for one in session.statements)
    # Drawn back a little it still stands in the vein.
    stream.X_PN[:3, 3] -= 3.0 * one.direction
    assert stream.go_on(0.5).advice is Advice.STOP


def test_what_the_screened_plan_passes_is_left_out_as_far_as_a_new_path_passes_it_too():
    one, two = PLAN.insertions
    through = dataclasses.replace(one, tip_mm=tuple(np.add((50.0, -25.0, 120.0), 5.0 * one.direction)))
    watch = StructureWatch(QUERIES, None)
    left = LeftOut(watch, (through, two))
    assert "hepatic vein" in left.of(1) and "hepatic vein" not in left.of(2)
    left.replace((one, dataclasses.replace(through, order=2), dataclasses.replace(through, order=3)))
    assert [left.of(order) for order in (1, 2, 3)] == [frozenset()] * 3
    left.replace((through, two))
    assert "hepatic vein" in left.of(1)
    both = LeftOut(watch, (through, dataclasses.replace(through, order=2)))
    both.replace((dataclasses.replace(through, order=3), one))
    assert "hepatic vein" in both.of(3) and both.of(1) == frozenset()


def test_a_needle_in_the_air_or_in_doubt_is_not_measured():
    stream = started(to_go_mm=150.0)
    with pytest.raises(NavigationError, match="entry surface"):
        stream.session.take(NeedlePlaced(stream.now_s))
    inhaled = started()
    inhaled.displacement_mm = (0.0, 0.0, -8.0)
    inhaled.go_on(4.0)
    with pytest.raises(NavigationError, match="cannot be measured"):
        inhaled.session.take(NeedlePlaced(inhaled.now_s))
    assert not inhaled.session.measured and inhaled.session.order == 1


def test_decisions_that_cannot_be_are_refused_and_change_nothing():
    session = new_session()
    with pytest.raises(NavigationError, match="no needle 7"):
        session.take(NeedleSelected(0.0, 7))
    with pytest.raises(NavigationError, match="no needle is selected"):
        session.take(NeedlePlaced(0.0))
    with pytest.raises(NavigationError, match="same order"):
        session.take(PlanReplaced(0.0, (PLAN.insertions[0], PLAN.insertions[0])))
    assert session.order is None and session.planned == PLAN.insertions


def test_a_plan_of_another_patient_is_refused():
    other = dataclasses.replace(PLAN, case_hash="another")
    with pytest.raises(PlanFileError, match="another patient"):
        type(new_session())(other, QUERIES, APPLICATORS)


def test_asking_changes_nothing():
    stream = started()
    first = stream.session.take(GuidanceAsked(stream.now_s))
    stream.session.guidance(stream.now_s + 5.0)
    assert stream.session.take(GuidanceAsked(stream.now_s)) == first == stream.guidance()


def test_the_reference_is_of_the_needles_moment_and_not_of_another():
    # Reference and patient swing quickly; the needle goes along. Paired by arrival, tip and patient would differ.
    stream = started(to_go_mm=20.0)
    still = stream.X_TP.copy()
    worst = 0.0
    for k in range(60):
        stream.X_TP = still.copy()
        stream.X_TP[:3, 3] += (6.0 * np.sin(0.8 * k), 0.0, 0.0)
        said = stream.go_on(1.0 / 60.0)
        worst = max(worst, abs(said.deviation.tip_mm - 20.0))
    assert worst < 0.2


def test_a_reference_of_another_rate_is_interpolated():
    stream = started(to_go_mm=20.0)
    still, count = stream.X_TP.copy(), 0

    def thin(event):
        nonlocal count
        if getattr(event, "tool", None) == "reference":
            count += 1
            return event if count % 3 == 0 else None
        return event

    stream.hook = thin
    worst = 0.0
    for k in range(90):
        stream.X_TP = still.copy()
        # An even motion of 60 mm/s, on which interpolation is exact.
        stream.X_TP[:3, 3] += (float(k), 0.0, 0.0)
        said = stream.go_on(1.0 / 60.0)
        if k > 6:
            worst = max(worst, abs(said.deviation.tip_mm - 20.0))
    assert worst < 0.1


@pytest.mark.long
def test_in_a_deforming_body_the_distance_is_that_to_the_deformed_surface():
    body = TabulatedBody.of_motion(BodyMotion(QUERIES.anatomy, LujanMotion(8.0)))
    stream = started(new_session(body), to_go_mm=10.0)
    stream.displacement_mm = (0.2, 0.1, -1.8)
    said = stream.go_on(0.6)
    surface = QUERIES.anatomy.surface(said.nearest.name)
    deformed = MeshTree(body.state(said.displacement_mm).mesh(surface))
    applicator = next(one for one in APPLICATORS if one.name == PLAN.insertions[0].applicator)
    tip, way = np.asarray(said.tip_mm), np.asarray(said.direction)
    back = tip - applicator.usable_length_mm * way
    true = deformed.segment_distance_mm(back[None], tip[None])[0] - applicator.radius_mm
    # A distance in the body at rest differs from that in the deformed one by its strain, some hundredths here.
    assert said.nearest.now_mm == pytest.approx(true, rel=0.05, abs=0.1)
    assert abs(said.nearest.exhale_mm - said.nearest.now_mm) > 0.1
    assert "deforms" in stream.session.statements[0]
