"""What was touched or computed before something moved is never taken for what holds since."""

import numpy as np
import pytest
from served import FIDUCIALS, PATIENT, Rig

from needleplan.app.serve.jobs import JobDone
from needleplan.app.serve.opening import new_session, open_recorded
from needleplan.app.serve.options import PoseFrame, SenderClock, ServeOptions
from needleplan.app.serve.touching import Swept
from needleplan.navigation.events import NeedleSelected, PlanReplaced
from needleplan.navigation.guidance import DoubtKind
from tests.navigation.guided_needle import PLAN, X_PR, needle_pose, registration

#: Reference that slipped on the patient.
SLIPPED = np.eye(4)
SLIPPED[:3, 3] = (0.0, 12.0, 0.0)
#: Touched no longer than must be.
QUICK = ServeOptions(touch_s=1.1, skin_s=2.0)


@pytest.fixture
def rig(tmp_path):
    """All fiducials touched and registered, the needle on its way."""
    found = Rig(tmp_path, QUICK, registered=False)
    found.connect(1)
    found.go_on(0.3)
    start = found.X_PN[:3, 3].copy()
    found.touch_all()
    assert found.register()["ok"]
    found.glide(start)
    found.command("select 1")
    yield found
    found.recorded.close()


def doubts(rig):
    return {doubt["kind"] for doubt in rig.guidance()["doubts"]}


def latched(rig):
    return {doubt.kind for doubt in rig.recorded.session.guidance(rig.now_s).doubts}


def test_points_touched_before_the_reference_moved_register_nothing(rig):
    assert rig.go_on(1.0)["advice"] == "go"
    rig.X_PR = SLIPPED @ rig.X_PR
    assert rig.go_on(0.5)["advice"] == "hold" and "reference moved" in doubts(rig)
    told = rig.register()
    assert not told["ok"] and "0 fiducials" in told["error"] and "reference moved by 12" in told["error"]
    assert rig.go_on(6.0, every=10)["advice"] == "hold" and "reference moved" in doubts(rig)
    # What is touched anew registers, and the needle may go on.
    start = rig.X_PN[:3, 3].copy()
    rig.touch_all()
    told = rig.register()
    assert told["ok"] and told["doubts"] == []
    np.testing.assert_allclose(rig.recorded.session.registration.X_PR.matrix, rig.X_PR, atol=0.2)
    rig.glide(start)
    assert rig.go_on(1.0)["advice"] == "go"


def test_a_reference_that_moves_while_the_registration_is_computed_spoils_it(rig):
    before = rig.recorded.session.registration
    assert rig.command("register")["ok"]
    rig.X_PR = SLIPPED @ rig.X_PR
    rig.go_on(0.5)
    rig.jobs.work()
    assert rig.go_on(0.5)["advice"] == "hold"
    assert not rig.answers()[-1]["ok"] and "while this was computed" in rig.answers()[-1]["error"]
    assert rig.recorded.session.registration is before
    assert rig.go_on(1.0)["advice"] == "hold" and "reference moved" in doubts(rig)


@pytest.mark.parametrize("name", ["navel", "skin"])
def test_a_reference_that_moves_during_a_touch_spoils_that_too(rig, name):
    if name in FIDUCIALS:
        rig.glide(FIDUCIALS[name])
    assert rig.command(f"touch {name}")["ok"]
    rig.go_on(0.5)
    # It is back before the touch ends.
    rig.X_PR = SLIPPED @ rig.X_PR
    rig.go_on(0.05)
    rig.X_PR = X_PR.copy()
    rig.go_on(2.0, every=10)
    told = rig.answers()[-1]
    assert told["state"] == "done" and not told["ok"] and "reference moved" in told["error"]


def test_after_a_jump_the_oldest_point_is_touched_again(tmp_path):
    rig = Rig(tmp_path, QUICK, registered=False)
    rig.connect(1)
    for name in FIDUCIALS:
        # A hand that is quicker than the tracker.
        rig.X_PN[:3, 3] = FIDUCIALS[name]
        rig.go_on(0.3)
        assert rig.touch(name)["ok"]
    assert rig.register()["ok"] is False
    assert "touch xiphoid again" in rig.answers()[-1]["error"]
    # Another than the oldest shows nothing of it.
    rig.touch("flank")
    assert not rig.register()["ok"]
    assert rig.touch("xiphoid")["again_mm"] < 0.1
    told = rig.register()
    assert told["ok"] and "came" in told["doubts"][0]
    # The session keeps the jump until a landmark was found in its place.
    assert DoubtKind.JUMP in latched(rig)
    assert rig.command("check xiphoid")["holds"]
    assert DoubtKind.JUMP not in latched(rig)
    rig.recorded.close()


def test_a_marker_that_slipped_on_the_needle_costs_all_points_of_before(tmp_path):
    rig = Rig(tmp_path, QUICK, registered=False)
    rig.connect(1)
    for name in list(FIDUCIALS)[:3]:
        assert rig.touch(name)["ok"]
    rig.X_PN[:3, 3] += (0.0, 9.0, 0.0)
    rig.go_on(0.3)
    for name in list(FIDUCIALS)[3:]:
        assert rig.touch(name)["ok"]
    told = rig.touch("xiphoid", off_mm=9.0)
    assert told["again_mm"] == pytest.approx(9.0, abs=0.1) and "marker slipped" in told["words"][0]
    assert set(told["still_to_touch"]) == set(FIDUCIALS) - {"xiphoid"}
    assert "marker slipped" in rig.register()["error"]
    rig.recorded.close()


def test_a_clock_that_is_set_back_ends_what_was_touched_and_another_is_judged_anew(tmp_path):
    rig = Rig(tmp_path, ServeOptions(touch_s=1.1, skin_s=2.0, clock=SenderClock.OWN), registered=False)
    rig.connect(1)
    rig.stamp_shift_s = 5000.0
    rig.go_on(1.5)
    rig.touch_all()
    assert rig.register()["ok"]
    rig.stamp_shift_s -= 5.0
    assert rig.go_on(1.0)["advice"] == "hold" and DoubtKind.CLOCK in latched(rig)
    assert "0 fiducials" in rig.register()["error"]
    rig.touch_all()
    told = rig.register()
    assert told["ok"] and not any("clock" in sentence for sentence in told["doubts"])
    rig.glide(needle_pose(PLAN.insertions[0])[:3, 3])
    rig.command("select 1")
    assert rig.go_on(1.0)["advice"] == "go"
    rig.recorded.close()


def test_a_failed_check_ends_what_was_touched_proposed_and_measured(rig):
    rig.glide(needle_pose(PLAN.insertions[0], to_go_mm=0.2)[:3, 3])
    assert rig.command("placed")["ok"]
    assert "words" not in rig.command("replan")
    rig.jobs.result = JobDone(None, PlanReplaced(0.0, PLAN.insertions), ("As before.",))
    rig.tick()
    assert rig.answers()[-1]["words"] == ["As before."]
    rig.glide(np.add(FIDUCIALS["navel"], (8.0, 0.0, 0.0)))
    assert not rig.command("check navel")["holds"]
    told = rig.command("adopt")
    assert not told["ok"] and "no longer fits" in told["error"]
    assert "navel was found" in rig.register()["error"]
    rig.jobs.job = None
    said = rig.command("replan")["words"]
    assert len(said) == 1 and "Needle 1 was not measured by the registration that stands" in said[0]


def test_a_stroke_refines_with_the_age_of_what_it_starts_from_and_ends_what_was_proposed(tmp_path):
    rig = Rig(tmp_path)
    rig.connect(1)
    rig.go_on(0.3)
    rig.command("replan")
    rig.jobs.result = JobDone(None, PlanReplaced(0.0, PLAN.insertions))
    rig.tick()
    assert rig.answers()[-1]["ok"]
    rig.served._touches.swept = Swept(np.zeros((40, 3)), rig.now_s)
    assert rig.command("register skin")["ok"]
    rig.jobs.result = JobDone(None, registration(rig.now_s))
    rig.tick()
    assert rig.answers()[-1]["ok"] and rig.recorded.session.registration.oldest_s == 0.05
    assert "no longer fits" in rig.command("adopt")["error"]
    rig.recorded.close()


def test_energy_is_told_once_and_where_the_needle_is(tmp_path):
    rig = Rig(tmp_path, to_go_mm=0.2)
    rig.connect(1)
    rig.command("select 1")
    rig.go_on(0.6)
    assert rig.command("placed")["ok"]
    assert rig.command("delivered 1 60 300")["ok"]
    rig.go_on(0.1)
    assert not rig.command("delivered 1 60 300")["ok"]
    told = rig.command("delivered 1 60 300 250")
    assert not told["ok"] and "within the body" in told["error"]
    assert len(rig.recorded.session.delivered) == 1
    assert rig.command("delivered 1 60 240 10")["ok"]
    rig.recorded.close()


def test_a_needle_is_withdrawn_by_a_word_of_its_own(tmp_path):
    rig = Rig(tmp_path, to_go_mm=0.2)
    rig.connect(1)
    rig.command("select 1")
    rig.go_on(0.6)
    assert not rig.command("withdrawn 1")["ok"]
    assert rig.command("placed")["ok"]
    rig.command("select 1")
    rig.command("select 2")
    assert [one.order for one in rig.recorded.session.measured] == [1]
    assert rig.command("withdrawn 1") == {"command": "withdrawn 1", "ok": True, "order": 1}
    assert rig.recorded.session.measured == ()
    rig.recorded.close()


@pytest.mark.parametrize(
    ("frame", "words"), [(PoseFrame.TRACKER, "less than 3 mm"), (PoseFrame.PATIENT, "no reference is watched")]
)
def test_a_session_that_goes_on_after_a_break_says_what_it_did_not_see(tmp_path, frame, words):
    options = ServeOptions(poses=frame)
    with open_recorded(tmp_path / "session.log", new_session(PATIENT, options), False)[0] as recorded:
        recorded.take(NeedleSelected(1.0, 1))
    again, clock = open_recorded(tmp_path / "session.log", new_session(PATIENT, options), True)
    with again:
        said = again.session.guidance(clock())
        assert said.advice == "stop"
        held = next(doubt.sentence for doubt in said.doubts if doubt.kind is DoubtKind.HELD)
        assert "less than 5 mm" in held and words in held
        again.take(NeedleSelected(clock(), 1))
        assert again.session.guidance(clock()).advice != "stop"
    # The break is part of the record.
    with open_recorded(tmp_path / "session.log", new_session(PATIENT, options), True)[0]:
        pass
