"""Registration as it is done at the table: points touched, skin swept, and what is said about both."""

from dataclasses import replace

import numpy as np
import pytest
from guided_needle import LATENCY_S, PLAN, QUERIES, STEP_S, X_PR, X_TP, Stream, kinds, needle_pose, new_session

from needleplan.errors import GeometryError, NavigationError, OptionError
from needleplan.frames import Frame, RigidTransform
from needleplan.navigation.events import NeedleSelected, PoseRefused, RegistrationMethod, TrackedTool, pose_event
from needleplan.navigation.guidance import Advice, DoubtKind
from needleplan.navigation.patient_registration import (
    TouchedPoint,
    TouchOptions,
    register_fiducials,
    register_skin,
    tip_points_mm,
    touched_point,
)
from needleplan.registration.point_based import PointOptions
from needleplan.registration.rotations import rotations_of

#: Markers on the body, in the image.
IMAGE = {
    "left rib": (75.0, -75.0, 120.0),
    "right rib": (-70.0, -60.0, 140.0),
    "xiphoid": (12.0, -105.0, 170.0),
    "umbilicus": (15.0, -110.0, 20.0),
    "flank": (130.0, -20.0, 60.0),
}
TIPS = [one.tip_mm for one in PLAN.insertions]


def touching(place_mm, seconds=1.5, sway_mm=0.0, seed=0, begin_s=0.0, noise_mm=0.1):
    """Poses of a needle that pivots about a place while its hub is moved, and of the reference."""
    rng = np.random.default_rng(seed)
    poses = []
    for k in range(round(seconds / STEP_S)):
        time_s = begin_s + (k + 1) * STEP_S
        pose = np.eye(4)
        pose[:3, :3] = rotations_of(np.array([0.3 * np.sin(time_s), 2.6, 0.2 * np.cos(2 * time_s)]))
        pose[:3, 3] = np.asarray(place_mm) + sway_mm * np.array([np.sin(9.0 * time_s), 0.0, 0.0])
        for tool, X in ((TrackedTool.NEEDLE, pose), (TrackedTool.REFERENCE, X_PR)):
            seen = X_TP @ X
            seen[:3, 3] += noise_mm * rng.standard_normal(3)
            poses.append(pose_event(tool, time_s, time_s + LATENCY_S, seen))
    return poses


def touched(names=tuple(IMAGE), offset=None, **given):
    points = []
    for k, name in enumerate(names):
        place = np.asarray(IMAGE[name]) + (offset or {}).get(name, np.zeros(3))
        points.append(touched_point(name, touching(place, seed=k, **given)))
    return points


def test_a_touched_point_is_the_mean_of_the_tip_in_the_reference():
    point = touched_point("xiphoid", touching(IMAGE["xiphoid"]))
    expected = np.linalg.inv(X_PR) @ np.append(IMAGE["xiphoid"], 1.0)
    # The tracker's noise turns about nothing here: mean of so many, of both tools.
    assert np.linalg.norm(point.point_mm - expected[:3]) < 5.0 * 0.1 * np.sqrt(6.0 / point.count)
    assert point.count >= 80 and point.spread_mm < 0.6


@pytest.mark.parametrize(
    ("poses", "words"),
    [
        (touching(IMAGE["flank"], seconds=0.2), "poses only"),
        (touching(IMAGE["flank"], seconds=0.6), "rested for"),
        (touching(IMAGE["flank"], sway_mm=2.0), "moved by"),
        ([pose for pose in touching(IMAGE["flank"]) if pose.tool is TrackedTool.NEEDLE], "0 poses only"),
        ([], "0 poses only"),
    ],
)
def test_a_touch_that_is_short_or_not_still_is_refused(poses, words):
    with pytest.raises(NavigationError, match=words):
        touched_point("flank", poses)


def held(poses, change):
    return [change(k, pose) for k, pose in enumerate(poses)]


def slid(k, pose):
    """The reference goes 12 mm meanwhile."""
    if pose.tool is TrackedTool.NEEDLE:
        return pose
    matrix = pose.X_TA.matrix.copy()
    matrix[:3, 3] += (min(12.0, 0.4 * k), 0.0, 0.0)
    return pose_event(pose.tool, pose.measured_s, pose.received_s, matrix)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda k, pose, first={}: replace(pose, X_TA=first.setdefault(pose.tool, pose.X_TA)), "to the last bit"),
        (lambda k, pose: replace(pose, received_s=pose.received_s + 5.0), "0 poses only.* s old"),
        (
            lambda k, pose: PoseRefused(pose.tool, pose.received_s, "mirrored") if k % 40 == 0 else pose,
            "0 poses only.*mirrored",
        ),
        (lambda k, pose: replace(pose, X_TA=None), "0 poses only.*does not see"),
        (slid, "reference moved"),
    ],
)
def test_what_a_session_would_not_rely_on_is_no_touched_point(change, words):
    with pytest.raises(NavigationError, match=words):
        touched_point("flank", held(touching(IMAGE["flank"], seconds=2.0), change))


def test_a_stroke_during_which_the_reference_moves_is_refused():
    with pytest.raises(NavigationError, match="reference moved"):
        tip_points_mm(held(touching(IMAGE["flank"]), slid))


def test_a_registration_is_as_old_as_the_first_pose_that_it_rests_on():
    points = [touched_point(name, touching(IMAGE[name], begin_s=10.0 * k)) for k, name in enumerate(IMAGE, 2)]
    event = register_fiducials(IMAGE, points[::-1], TIPS, 100.0).event
    assert event.measured_s == event.oldest_s == points[0].measured_s
    assert 20.0 < points[0].measured_s < 20.1
    # Where nobody knows it is as old as can be; later than itself it cannot be.
    unknown = [replace(point, measured_s=0.0) for point in points]
    assert register_fiducials(IMAGE, unknown, TIPS, 100.0).event.oldest_s == 0.0
    with pytest.raises(NavigationError, match="one clock must serve all"):
        replace(event, time_s=5.0)


@pytest.mark.parametrize(
    "names", [("left rib", "right rib", "umbilicus"), ("left rib", "right rib", "umbilicus", "flank")]
)
@pytest.mark.parametrize("fle_mm", [1.0, 2.0])
def test_the_truth_exceeds_three_times_the_stated_error_rarely_with_few_points(names, fle_mm):
    rng = np.random.default_rng(3)
    tip, inverse = np.asarray(TIPS[0]), np.linalg.inv(X_PR)
    beyond = count = 0
    for _ in range(400):
        places = [inverse[:3, :3] @ IMAGE[name] + inverse[:3, 3] for name in names]
        points = [
            TouchedPoint(name, at + fle_mm / np.sqrt(3.0) * rng.standard_normal(3), 0.1, 20)
            for name, at in zip(names, places, strict=True)
        ]
        try:
            event = register_fiducials(IMAGE, points, TIPS, 0.0, hand_confirmed=True).event
        except GeometryError:
            continue
        off = event.X_PR.matrix @ inverse @ np.append(tip, 1.0)
        beyond += np.linalg.norm(off[:3] - tip) > 3.0 * event.covariance.tre_mm(tip)
        count += 1
    assert count > 300 and beyond / count < 0.01


def test_points_that_fit_by_chance_are_not_stated_to_be_without_error():
    inverse = np.linalg.inv(X_PR)
    points = [TouchedPoint(name, (inverse @ np.append(at, 1.0))[:3], 0.1, 20) for name, at in IMAGE.items()]
    event = register_fiducials(IMAGE, points, TIPS, 0.0).event
    known = register_fiducials(IMAGE, points, TIPS, 0.0, PointOptions(fle_mm=0.5)).event
    assert event.covariance.tre_mm(TIPS[0]) == pytest.approx(known.covariance.tre_mm(TIPS[0]), rel=1e-6) and (
        event.covariance.tre_mm(TIPS[0]) > 0.2
    )


def test_fiducials_give_a_registration_with_which_a_needle_goes():
    found = register_fiducials(IMAGE, touched(), TIPS, 10.0)
    event = found.event
    assert event.method is RegistrationMethod.FIDUCIALS and event.error_mm < 0.3 and not event.unsure
    off = np.linalg.inv(X_PR) @ event.X_PR.matrix
    assert np.linalg.norm(off[:3, 3]) < 0.3
    assert event.covariance.tre_mm(TIPS[0]) < 0.5
    assert any("Expected error at planned tip 1" in sentence for sentence in event.statement)
    session = new_session()
    session.take(event)
    session.take(NeedleSelected(10.0, 1))
    stream = Stream(session, needle_pose(PLAN.insertions[0]), time_s=10.0)
    said = stream.go_on(0.6)
    assert said.advice is Advice.GO, said.doubts
    assert abs(said.to_go_mm - 30.0) < 0.5


def test_a_point_that_was_touched_wrongly_is_left_out_by_name():
    points = touched(offset={"umbilicus": np.array([0.0, 12.0, 9.0])})
    found = register_fiducials(IMAGE, points, TIPS, 0.0, PointOptions(fle_mm=0.5))
    assert found.result.taken_out == ("umbilicus",)
    assert "Left out, as they do not fit the others: umbilicus." in found.event.statement


def test_three_points_leave_open_whether_a_set_is_mirrored_and_nothing_goes_until_people_said():
    points = touched(("left rib", "right rib", "umbilicus"))
    doubtful = register_fiducials(IMAGE, points, TIPS, 0.0).event
    assert len(doubtful.unsure) == 1 and "mirrored" in doubtful.unsure[0]
    sure = register_fiducials(IMAGE, points, TIPS, 0.0, hand_confirmed=True).event
    assert not sure.unsure and "That no set is mirrored was made sure." in sure.statement
    for event, advice in ((doubtful, Advice.HOLD), (sure, Advice.GO)):
        session = new_session()
        session.take(event)
        session.take(NeedleSelected(0.0, 1))
        said = Stream(session, needle_pose(PLAN.insertions[0])).go_on(0.6)
        assert said.advice is advice, said.doubts
        assert kinds(said) == ({DoubtKind.REGISTRATION_UNSURE} if advice is Advice.HOLD else set())


def test_points_that_cannot_register_are_refused():
    points = touched()
    with pytest.raises(NavigationError, match="no such point"):
        register_fiducials({"other": (0.0, 0.0, 0.0)}, points, TIPS, 0.0)
    with pytest.raises(NavigationError, match="twice"):
        register_fiducials(IMAGE, [*points, points[0]], TIPS, 0.0)
    line = [TouchedPoint(str(k), np.array([10.0 * k, 0.0, 0.0]), 0.1, 50) for k in range(5)]
    with pytest.raises(GeometryError, match="line"):
        register_fiducials({str(k): (10.0 * k, 0.0, 0.0) for k in range(5)}, line, TIPS, 0.0)
    mirrored = {name: (-x, y, z) for name, (x, y, z) in IMAGE.items()}
    with pytest.raises(GeometryError, match="mirror"):
        register_fiducials(mirrored, points, TIPS, 0.0)
    with pytest.raises(OptionError):
        TouchOptions(spread_mm=0.0)


def test_points_in_nearly_one_line_are_said_to_be():
    flat = {f"p{k}": (30.0 * k, (4.0 if k == 2 else -4.0) * (k % 3), 2.0 * (k % 2)) for k in range(5)}
    inverse = np.linalg.inv(X_PR)
    points = [TouchedPoint(name, (inverse @ np.append(place, 1.0))[:3], 0.1, 50) for name, place in flat.items()]
    said = register_fiducials(flat, points, TIPS, 0.0, PointOptions(fle_mm=1.0)).event
    assert any("times as long as wide" in sentence for sentence in said.statement)
    assert said.covariance.tre_mm(TIPS[0]) > 3.0


def test_the_skin_swept_with_the_tip_registers_too():
    skin = QUERIES.anatomy.entry.mesh
    rng = np.random.default_rng(4)
    middles = skin.triangles_mm.mean(axis=1)
    front = middles[(middles[:, 1] < -10.0) & (np.abs(middles[:, 2] - 100.0) < 220.0)]
    front = front[np.argsort(front[:, 2])]
    poses = []
    for k, place in enumerate(np.repeat(front, 2, axis=0)):
        pose = np.eye(4)
        pose[:3, 3] = place + 0.1 * rng.standard_normal(3)
        for tool, X in ((TrackedTool.NEEDLE, pose), (TrackedTool.REFERENCE, X_PR)):
            seen = X_TP @ X
            seen[:3, 3] += 0.01 * rng.standard_normal(3)
            poses.append(pose_event(tool, (k + 1) * STEP_S, (k + 1) * STEP_S, seen))
    swept = tip_points_mm(poses)
    assert len(swept) >= len(front)
    moved = np.eye(4)
    moved[:3, :3] = rotations_of(np.array([0.04, -0.03, 0.02]))
    moved[:3, 3] = (4.0, -3.0, 5.0)
    start = RigidTransform(Frame.PATIENT, Frame.REFERENCE, moved @ X_PR)
    found = register_skin(swept, skin, start, TIPS, 5.0)
    assert found.event.method is RegistrationMethod.SURFACE and found.event.error_mm < 0.5
    off = found.event.X_PR.matrix @ np.linalg.inv(X_PR) @ np.append(TIPS[0], 1.0)
    assert np.linalg.norm(off[:3] - TIPS[0]) < 2.0
    with pytest.raises(NavigationError, match="X_PR"):
        register_skin(swept, skin, RigidTransform(Frame.PATIENT, Frame.TRACKER, np.eye(4)), TIPS, 5.0)
    with pytest.raises(GeometryError):
        register_skin(swept * 1e-3, skin, start, TIPS, 5.0)
