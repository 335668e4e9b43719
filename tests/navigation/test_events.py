"""What an event may hold: whatever is taken can be written, read again, and computed with."""

import dataclasses
import json

import numpy as np
import pytest
from guided_needle import PLAN, registration
from hypothesis import given, settings
from hypothesis import strategies as st

from needleplan.errors import NavigationError
from needleplan.frames import Frame
from needleplan.navigation.event_checks import MAXIMUM_LETTERS
from needleplan.navigation.events import (
    BreathingSample,
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
    PoseRefused,
    RegistrationMethod,
    SessionHeld,
    ToolPose,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.recorded_session import event_from_json, event_to_json
from needleplan.plan import Ablation
from needleplan.registration.pose_covariance import PoseCovariance

ONE = PLAN.insertions[0]


def changed(**fields):
    return dataclasses.replace(ONE, **fields)


def same(event):
    line = json.dumps(event_to_json(event))
    return json.dumps(event_to_json(event_from_json(json.loads(line), "line"))) == line


def test_numbers_and_texts_are_what_they_are_read_back_as():
    """Each of these was written once as something that could not be read, or that was read as something else."""
    for event in (
        GuidanceAsked(1),
        GuidanceAsked(np.float32(1.5)),
        NeedleSelected(np.int64(2), np.int64(1)),
        NeedleWithdrawn(1, np.int8(2)),
        NeedlePlaced(3),
        PoseRefused("needle", 1, "no"),
        ToolPose("needle", 1, 2, None),
        registration(1, statement=["a"], unsure=("b",)),
        dataclasses.replace(registration(1), method="stated", error_mm=1),
        LandmarkChecked(1, "a", (1, 2, 3)),
        PlanReplaced(1, list(PLAN.insertions), ["because"]),
        PlanReplaced(1, ()),
        EnergyDelivered(1, changed(ablations=[Ablation((1, 2, 3), 60, 300)], clearances_mm={"aorta": 3})),
    ):
        assert same(event)
    assert type(GuidanceAsked(1).time_s) is float and type(NeedleSelected(1, np.int64(1)).order) is int
    assert PoseRefused("needle", 1.0, "no").tool is TrackedTool.NEEDLE
    assert dataclasses.replace(registration(), method="stated").method is RegistrationMethod.STATED


@pytest.mark.parametrize(
    "made",
    [
        lambda: GuidanceAsked(True),
        lambda: GuidanceAsked("1"),
        lambda: GuidanceAsked(float("nan")),
        lambda: GuidanceAsked(10**400),
        lambda: GuidanceAsked(-1e-9),
        lambda: NeedleSelected(0.1, 1.0),
        lambda: NeedleSelected(0.1, True),
        lambda: NeedleSelected(0.1, 0),
        lambda: NeedleSelected(0.1, None),
        lambda: NeedleWithdrawn(0.1, 1.0),
        lambda: SessionHeld(0.1, 5),
        lambda: SessionHeld(0.1, "x" * (MAXIMUM_LETTERS + 1)),
        lambda: SessionHeld(0.1, "\ud800"),
        lambda: LandmarkChecked(0.1, None, (0.0, 0.0, 0.0)),
        lambda: LandmarkChecked(0.1, "a", (0.0, 0.0)),
        lambda: LandmarkChecked(0.1, "a", ("0", "0", "0")),
        lambda: LandmarkChecked(0.1, "a", (0.0, 0.0, 1e5)),
        lambda: BreathingSample(0.1, 0.1, (0.0, float("nan"), 0.0)),
        lambda: BreathingSample(0.1, 0.1, (True, False, True)),
        lambda: registration(statement=("a", 5)),
        lambda: registration(unsure="a"),
        lambda: dataclasses.replace(registration(), method="guess"),
        lambda: dataclasses.replace(registration(), error_mm=float("inf")),
        lambda: dataclasses.replace(registration(), X_PR=np.eye(4)),
        lambda: registration(X=np.array([[1, 0, 0, 1e300], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])),
        lambda: registration(covariance=PoseCovariance.of_parts(Frame.PATIENT, (0, 0, 0), 1e300)),
        lambda: registration(covariance=5),
        lambda: ToolPose("hand", 0.1, 0.1, None),
        lambda: PlanReplaced(0.1, 5),
        lambda: PlanReplaced(0.1, ("needle",)),
        lambda: PlanReplaced(0.1, (changed(entry_mm=ONE.tip_mm),)),
        lambda: PlanReplaced(0.1, (changed(tip_mm=(1e200, 0.0, 0.0)),)),
        lambda: PlanReplaced(0.1, (changed(tip_mm=(1.0, 0.0)),)),
        lambda: PlanReplaced(0.1, (changed(tip_mm=(np.inf, 0.0, 0.0)),)),
        lambda: PlanReplaced(0.1, (changed(order=-1),)),
        lambda: PlanReplaced(0.1, (changed(order=1.0),)),
        lambda: PlanReplaced(0.1, (changed(applicator=5),)),
        lambda: PlanReplaced(0.1, (changed(clearances_mm={"aorta": float("nan")}),)),
        lambda: PlanReplaced(0.1, (changed(clearances_mm=[1.0]),)),
        lambda: PlanReplaced(0.1, PLAN.insertions, "because"),
        lambda: EnergyDelivered(0.1, changed(ablations=(Ablation(ONE.tip_mm, -60.0, 300.0),))),
        lambda: EnergyDelivered(0.1, changed(ablations=(Ablation(ONE.tip_mm, 60.0, 0.0),))),
        lambda: EnergyDelivered(0.1, changed(ablations=(Ablation((np.nan, 0.0, 0.0), 60.0, 1.0),))),
        lambda: EnergyDelivered(0.1, changed(ablations=("all",))),
    ],
)
def test_what_could_not_be_recorded_or_computed_with_is_refused_in_a_sentence(made):
    with pytest.raises(NavigationError, match=" "):
        made()


def test_a_refused_pose_quotes_what_came_in_a_few_words_only():
    event = pose_event(TrackedTool.NEEDLE, 0.1, 0.2, "x" * 5_000_000)
    assert isinstance(event, PoseRefused) and len(event.reason) <= 500 and same(event)
    far = np.eye(4)
    far[0, 3] = 1e300
    assert "no tracker" in pose_event(TrackedTool.NEEDLE, 0.1, 0.2, far).reason
    assert same(PoseRefused(TrackedTool.NEEDLE, 0.1, "half \ud800"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    time_s=st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3)),
    order=st.one_of(st.integers(), st.floats(), st.booleans(), st.none()),
    text=st.one_of(st.text(alphabet=st.characters(exclude_categories=()), max_size=5), st.integers(), st.none()),
    place=st.one_of(st.lists(st.floats(), max_size=4), st.none(), st.text(max_size=3)),
    number=st.one_of(st.floats(), st.integers(), st.none()),
)
def test_an_event_is_refused_or_can_be_written_and_read(time_s, order, text, place, number):
    for make in (
        lambda: NeedleSelected(time_s, order),
        lambda: SessionHeld(1.0, text),
        lambda: LandmarkChecked(1.0, text, place),
        lambda: BreathingSample(1.0, time_s, place),
        lambda: EnergyDelivered(1.0, changed(order=order)),
        lambda: EnergyDelivered(1.0, changed(entry_mm=place)),
        lambda: EnergyDelivered(1.0, changed(ablations=(Ablation(ONE.tip_mm, number, 1.0),))),
        lambda: EnergyDelivered(1.0, changed(ablations=(Ablation(ONE.tip_mm, None, number),))),
    ):
        try:
            event = make()
        except NavigationError:
            continue
        assert same(event)
