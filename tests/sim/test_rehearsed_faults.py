"""With every fault the controller stops safely, says why, and nothing is punctured after the fault."""

import dataclasses

import numpy as np
import pytest
from made_patient import make_plan, route_for
from rehearsals import FREE, Patients, controlled, ideal, real

from needleplan.anatomy.model import Anatomy
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.static import StaticMotion
from needleplan.outcome import EventKind, Outcome
from needleplan.plan import Plan
from robots.route import RobotRoute
from sim.faults import Fault, FaultKind
from sim.needle import PlacementNoise
from sim.rehearse import run_rehearsal
from sim.strategies import make_strategy
from sim.tissue_force import ForceLimits
from sim.tissue_needle import NeedleMechanics

MOTION = LujanMotion()
#: The needle goes on for up to 0.25 s, 2 mm, before a sensor that is silent is noticed: faults begin farther than
#: that from where a membrane gives way, pushed in: the capsule at 25 mm and the tumour at 60 mm.
#: What the log must say of each fault, and whether the rehearsal is over.
WORDS = {
    FaultKind.SENSOR_DROPOUT: ("sample", False),
    FaultKind.STALE_POSE: ("pose", False),
    FaultKind.REGISTRATION_SHIFT: ("registered again", True),
    FaultKind.COUGH: ("cough", False),
    FaultKind.JAMMED_JOINT: ("does not follow", True),
    FaultKind.NEEDLE_SLIP: ("slips", False),
    FaultKind.OPERATOR_STOP: ("emergency stop", True),
}


def _begun_s(outcome: Outcome) -> float:
    return next(e.time_s for e in outcome.events if e.kind is EventKind.FAULT and "begins" in e.text)


@pytest.mark.parametrize("share", [-1.0, -0.5, 0.15, 0.55])
@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_stops_the_needle_safely_and_the_log_says_why(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients, kind: FaultKind, share: float
) -> None:
    options = controlled(real(FREE, faults=(Fault(kind, 1, share),)), recovery_s=3.0)
    run = run_rehearsal(plan, route, anatomy, MOTION, 3, options=options, patient=patients(MOTION))
    outcome = run.outcome
    word, over = WORDS[kind]
    begun = _begun_s(outcome)
    stops = [e for e in outcome.events if e.kind is EventKind.STOP]
    late_cough = kind is FaultKind.COUGH and share == -1.0  # it is over before the needle is near
    late_slip = kind is FaultKind.NEEDLE_SLIP and share == -1.0  # the needle has not moved yet
    if not late_cough:
        assert stops and word in stops[0].text, [e.text for e in outcome.events]
        assert begun <= stops[0].time_s
        if not late_slip:
            near = 3.5 if share == -1.0 and kind in (FaultKind.SENSOR_DROPOUT, FaultKind.STALE_POSE) else 0.6
            assert share == -1.0 or stops[0].time_s - begun < near + (1.5 if kind is FaultKind.NEEDLE_SLIP else 0.0)
    if kind is FaultKind.COUGH:
        assert len(outcome.needles) == 1 and (late_cough or any(e.kind is EventKind.RESUME for e in outcome.events))
    else:
        assert outcome.needles == () and word in outcome.not_reached[0][1]
        after = [e for e in outcome.events if e.kind is EventKind.PUNCTURE and e.time_s > begun and e.structure]
        assert after == []
        # It does not go deeper than it comes in the time that it takes to notice.
        depth = outcome.trace.depth_mm
        before = depth[outcome.trace.time_s <= stops[0].time_s].max()
        # A sample each 0.1 s at 8 mm/s, and the braking.
        assert share == -1.0 or depth.max() <= before + 0.8 + 0.3
    assert over is bool([e for e in outcome.events if "registered" in e.text or over])
    assert outcome.faults == (Fault(kind, 1, share).text,)


@pytest.mark.parametrize("kind", [FaultKind.REGISTRATION_SHIFT, FaultKind.JAMMED_JOINT, FaultKind.NEEDLE_SLIP])
def test_what_ends_the_session_leaves_the_next_needle_unbegun(anatomy: Anatomy, kind: FaultKind) -> None:
    plan = make_plan(anatomy, 2)
    options = ideal(faults=(Fault(kind, 1, 0.4),))
    outcome = run_rehearsal(plan, route_for(plan, anatomy), anatomy, StaticMotion(), 1, options=options).outcome
    if kind is FaultKind.NEEDLE_SLIP:  # the next needle is another one
        assert [needle.planned.order for needle in outcome.needles] == [2]
    else:
        assert outcome.needles == () and "not begun" in outcome.not_reached[1][1]


@pytest.mark.parametrize("kind", [FaultKind.SENSOR_DROPOUT, FaultKind.STALE_POSE, FaultKind.COUGH])
def test_a_fault_that_passes_lets_the_needle_go_on(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients, kind: FaultKind
) -> None:
    strategy = make_strategy("amplitude-gating")
    options = real(strategy, faults=(Fault(kind, 1, 0.5, duration_s=1.5),))
    run = run_rehearsal(plan, route, anatomy, MOTION, 4, options=options, patient=patients(MOTION))
    (needle,) = run.outcome.needles
    kinds = [e.kind for e in run.outcome.events]
    assert kinds.index(EventKind.FAULT) < kinds.index(EventKind.STOP) < kinds.index(EventKind.RESUME)
    assert needle.depth_error_mm > -10.0


def test_too_much_force_stops_and_withdraws_the_needle(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    mechanics = NeedleMechanics(limits=ForceLimits(axial_n=3.0))
    options = dataclasses.replace(ideal(), mechanics=mechanics)
    motion = StaticMotion()
    outcome = run_rehearsal(plan, route, anatomy, motion, 0, options=options, patient=patients(motion)).outcome
    ((_, reason),) = outcome.not_reached
    assert "force along the needle" in reason and "3 N" in reason
    assert outcome.trace.force_n.max() < 4.0 and outcome.trace.depth_mm[-1] < 0.0


def test_a_control_scan_finds_a_misplaced_needle_and_has_it_corrected(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    motion = StaticMotion()
    noise = PlacementNoise(lateral_mm=3.5, depth_mm=3.0)
    blind, seen, corrections = [], [], 0
    for seed in range(4):
        for verify, errors in ((False, blind), (True, seen)):
            options = controlled(ideal(noise=noise), verify=verify, scan_noise_mm=0.2, corrections=6)
            (needle,) = run_rehearsal(
                plan, route, anatomy, motion, seed, options=options, patient=patients(motion)
            ).outcome.needles
            errors.append((needle.lateral_error_mm, abs(needle.depth_error_mm)))
            corrections += needle.corrections if verify else 0
            assert verify or needle.corrections == 0
    assert np.max(seen, axis=0) == pytest.approx([1.2, 1.2], abs=1.3)
    assert np.max(blind, axis=0).max() > 3.0 and corrections > 0


@pytest.mark.long
def test_steps_bring_a_needle_of_a_misplaced_arm_to_its_target(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    motion = StaticMotion()
    for seed in range(3):
        noisy = ideal(noise=PlacementNoise(lateral_mm=3.0, angle_deg=1.0))
        options = controlled(noisy, step_mm=20.0, scan_noise_mm=0.2, corrections=6)
        run = run_rehearsal(plan, route, anatomy, motion, seed, options=options, patient=patients(motion))
        (needle,) = run.outcome.needles
        assert needle.lateral_error_mm < 2.6


def test_a_cough_before_the_skin_does_not_keep_a_breath_hold_from_beginning(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    options = ideal(make_strategy("breath-hold"), faults=(Fault(FaultKind.COUGH, 1, -0.75),))
    outcome = run_rehearsal(plan, route, anatomy, MOTION, 1, options=options, patient=patients(MOTION)).outcome
    assert len(outcome.needles) == 1


def test_a_needle_that_was_given_up_in_the_patient_tells_what_it_did(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    options = real(FREE, faults=(Fault(FaultKind.OPERATOR_STOP, 1, 0.6),))
    run = run_rehearsal(plan, route, anatomy, MOTION, 2, options=options, patient=patients(MOTION))
    ((order, reason),) = run.outcome.not_reached
    (withdrawn,) = run.outcome.withdrawn
    assert order == withdrawn.order == 1 and "emergency stop" in withdrawn.reason
    assert 0.55 * 74.0 < withdrawn.deepest_mm < 0.75 * 74.0 and f"{withdrawn.deepest_mm:.0f} mm deep" in reason
    assert "liver" in withdrawn.punctured and withdrawn.closest_mm["liver"] < 0.0
    assert withdrawn.peak_force_n > 1.0
    joints = run.outcome.trace.joints_rad
    assert joints[-1] == pytest.approx(joints[0], abs=0.05)  # the arm went home
