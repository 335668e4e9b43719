import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from made_patient import make_anatomy, make_plan, route_for
from numpy.typing import ArrayLike

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray
from needleplan.io.traces import read_breathing_trace
from needleplan.motion.attenuation import SKIN_RISE, TissueMotion
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.motion.recorded import RecordedMotion
from needleplan.motion.static import StaticMotion
from needleplan.outcome import Outcome
from needleplan.plan import Plan
from robots.route import RobotRoute, RouteStatus
from sim.controller import ControllerOptions
from sim.needle import PlacementNoise, misplaced_base
from sim.options import RehearsalOptions
from sim.recorder import SceneRecorder
from sim.rehearse import rehearse, run_rehearsal

QUICK = RehearsalOptions(step_s=0.02, sample_s=0.1, faces_per_structure=400, check_clearance=False, contact_s=1.0)
DATA = Path(os.environ.get("NEEDLEPLAN_DATA", Path(__file__).parents[3] / "shared" / "data"))

OFFSET = np.array([2.0, -3.0, -6.0])


class ConstantOffset(RespiratoryMotion):
    """The target is displaced for ever, as when a patient holds the breath at the wrong moment."""

    @property
    def name(self) -> str:
        return "offset"

    @property
    def period_s(self) -> float:
        return 4.0

    @property
    def span_s(self) -> float:
        return 4.0

    @property
    def speed_bound_mm_s(self) -> float:
        return 0.0

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        return np.broadcast_to(OFFSET, (*np.shape(time_s), 3)).copy()


def _fingerprint(outcome: Outcome) -> tuple[object, ...]:
    trace = outcome.trace
    arrays = (trace.time_s, trace.displacement_mm, trace.gate_open, trace.depth_mm, trace.needle, trace.joints_rad)
    return (repr(outcome.needles), outcome.not_reached, trace.phase, *(array.tobytes() for array in arrays))


@pytest.mark.parametrize("gating", [True, False])
def test_zero_breathing_gives_the_static_result(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, gating: bool
) -> None:
    for motion in (StaticMotion(), LujanMotion(0.0)):
        outcome = rehearse(plan, route, anatomy, motion, 1, gating, options=QUICK)
        (needle,) = outcome.needles
        # Inverse kinematics within 0.001 mm and PyBullet within 0.0002 mm.
        assert needle.tip_error_mm < 2e-3
        assert needle.angle_error_deg < 1e-3
        assert needle.executed.entry_mm == pytest.approx(needle.planned.entry_mm, abs=2e-3)
        assert needle.executed.tip_mm == pytest.approx(needle.planned.tip_mm, abs=2e-3)
        for executed, planned in zip(needle.executed.ablations, needle.planned.ablations, strict=True):
            assert executed.tip_mm == pytest.approx(planned.tip_mm, abs=2e-3)
            assert (executed.power_w, executed.duration_s) == (planned.power_w, planned.duration_s)
        assert needle.waited_s == 0.0 and needle.displacement_at_end_mm == 0.0


def test_a_constant_offset_has_its_closed_form(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    outcome = rehearse(plan, route, anatomy, ConstantOffset(), 1, gating=False, options=QUICK)
    (needle,) = outcome.needles
    planned = plan.insertions[0]
    expected_tip = np.asarray(planned.tip_mm) - OFFSET
    assert needle.executed.tip_mm == pytest.approx(expected_tip, abs=2e-3)
    assert needle.tip_error_mm == pytest.approx(7.0, abs=2e-3)
    along = -OFFSET @ planned.direction
    assert needle.depth_error_mm == pytest.approx(along, abs=2e-3)
    assert needle.lateral_error_mm == pytest.approx(np.sqrt(49.0 - along**2), abs=2e-3)
    # The skin rises by its share of the way to inferior, 6 mm, and by how high the entry lies.
    share = TissueMotion(anatomy, ConstantOffset()).skin_share(planned.entry_mm)
    assert 0.2 < share < 1.0
    expected_entry = np.asarray(planned.entry_mm) - SKIN_RISE * 6.0 * share * np.array([0.0, -1.0, 0.0])
    assert needle.executed.entry_mm == pytest.approx(expected_entry, abs=2e-3)
    direction = expected_tip - expected_entry
    cosine = direction @ planned.direction / np.linalg.norm(direction)
    assert needle.angle_error_deg == pytest.approx(np.rad2deg(np.arccos(cosine)), abs=1e-3)
    assert needle.displacement_at_start_mm == needle.displacement_at_end_mm == 7.0


def test_a_gate_that_never_opens_ends_in_a_status(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    options = dataclasses.replace(QUICK, controller=ControllerOptions(gate_timeout_s=3.0))
    outcome = rehearse(plan, route, anatomy, ConstantOffset(), 1, gating=True, options=options)
    assert outcome.needles == () and outcome.insertions == ()
    ((order, reason),) = outcome.not_reached
    assert order == 1 and "gate" in reason and "before the skin" in reason
    assert outcome.trace.phase[-1] == "given up"
    assert outcome.trace.depth_mm.max() < 0.0
    assert not outcome.trace.gate_open.any()


def test_gating_keeps_the_error_within_the_gate_and_below_that_without(
    anatomy: Anatomy, plan: Plan, route: RobotRoute
) -> None:
    motion = LujanMotion(15.0, 4.0, 2)
    gated, free = [], []
    for seed in range(4):
        for gating, errors in ((True, gated), (False, free)):
            (needle,) = rehearse(plan, route, anatomy, motion, seed, gating, options=QUICK).needles
            errors.append(needle.tip_error_mm)
            assert needle.tip_error_mm == pytest.approx(needle.displacement_at_end_mm, abs=2e-3)
            assert (needle.waited_s > 0.0) is gating
    # The driver needs 0.04 s to stop, in which the target moves at most 15.3 mm/s.
    assert max(gated) <= 2.0 + 0.05 * 15.3
    assert np.mean(gated) < 0.5 * np.mean(free)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no breathing recordings in {DATA}")
@pytest.mark.parametrize("name", ["LargeSIandAP", "RegularBreathing"])
def test_gating_with_recorded_breathing(anatomy: Anatomy, plan: Plan, route: RobotRoute, name: str) -> None:
    trace = read_breathing_trace(DATA / "breathing-kim-liver" / f"LiverTraj_{name}70s_robot.txt")
    motion = RecordedMotion(trace)
    (needle,) = rehearse(plan, route, anatomy, motion, 2, gating=True, options=QUICK).needles
    assert needle.tip_error_mm == pytest.approx(needle.displacement_at_end_mm, abs=2e-3)
    # Within the gate, but for what the target moves while the driver stops.
    assert needle.tip_error_mm <= 2.0 + 0.06 * 30.0
    assert needle.waited_s > motion.period_s


def test_same_seed_same_bytes(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    options = dataclasses.replace(QUICK, noise=PlacementNoise.published())
    runs = [rehearse(plan, route, anatomy, LujanMotion(), seed, options=options) for seed in (7, 7, 8)]
    assert _fingerprint(runs[0]) == _fingerprint(runs[1])
    assert _fingerprint(runs[0]) != _fingerprint(runs[2])


def test_two_needles_have_their_own_noise_and_the_trace_holds_together(anatomy: Anatomy) -> None:
    plan = make_plan(anatomy, 2)
    recorder = SceneRecorder()
    options = dataclasses.replace(QUICK, noise=PlacementNoise(depth_mm=1.5))
    run = run_rehearsal(
        plan, route_for(plan, anatomy), anatomy, StaticMotion(), 5, recorder=recorder, options=options
    )
    first, second = run.outcome.needles
    assert (first.planned.order, second.planned.order) == (1, 2)
    assert first.lateral_error_mm < 2e-3 and second.lateral_error_mm < 2e-3
    assert abs(first.depth_error_mm) > 0.01 and abs(first.depth_error_mm - second.depth_error_mm) > 0.01
    trace = run.outcome.trace
    assert (np.diff(trace.time_s) > 0).all() and len(trace.phase) == len(trace.time_s) == len(recorder.states)
    assert trace.joints_rad.shape == (len(trace.time_s), 7)
    for needle in (first, second):
        mine = trace.needle == needle.planned.order
        deepest = needle.planned.depth_mm + needle.depth_error_mm
        assert trace.depth_mm[mine].max() == pytest.approx(deepest, abs=2e-3)
        assert 0.0 < needle.start_s < needle.end_s
        # At 8 mm/s at most.
        assert needle.end_s - needle.start_s >= deepest / 8.0 - 0.05
    assert run.log.contacts == ()


def test_the_arm_keeps_clear_of_the_breathing_patient(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    options = dataclasses.replace(QUICK, check_clearance=True)
    still = run_rehearsal(plan, route, anatomy, StaticMotion(), 0, options=options).log.arm_clearance_mm
    moving = run_rehearsal(plan, route, anatomy, LujanMotion(), 0, options=options).log.arm_clearance_mm
    assert still is not None and moving is not None
    planned = route.insertions[0].patient_clearance_m
    assert planned is not None
    assert still == pytest.approx(planned * 1e3, abs=5.0) and still > 15.0
    rise = SKIN_RISE * 15.0 * abs(LujanMotion().direction[2])
    assert still - moving == pytest.approx(rise, abs=0.3)


def test_a_moved_case_moves_the_outcome_with_it(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    from scipy.spatial.transform import Rotation

    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    move[:3, 3] = (120.0, -40.0, 300.0)
    moved_anatomy = make_anatomy(move)
    moved_plan = make_plan(moved_anatomy)
    outcomes = []
    for body, what, way in (
        (anatomy, plan, route),
        (moved_anatomy, moved_plan, route_for(moved_plan, moved_anatomy)),
    ):
        motion = LujanMotion(direction=inhalation_direction(body.case))
        outcomes.append(rehearse(what, way, body, motion, 3, gating=False, options=QUICK).needles[0])
    here, there = outcomes
    for name in ("entry_mm", "tip_mm"):
        expected = move[:3, :3] @ getattr(here.executed, name) + move[:3, 3]
        assert getattr(there.executed, name) == pytest.approx(expected, abs=0.02)
    assert there.tip_error_mm == pytest.approx(here.tip_error_mm, abs=0.02) and here.tip_error_mm > 1.0


def test_an_insertion_that_the_arm_does_not_reach_is_listed(
    anatomy: Anatomy, plan: Plan, route: RobotRoute
) -> None:
    lost = dataclasses.replace(
        route.insertions[0], status=RouteStatus.UNREACHED, reason="it is too far away", segments=()
    )
    outcome = rehearse(plan, dataclasses.replace(route, insertions=(lost,)), anatomy, StaticMotion(), options=QUICK)
    assert outcome.not_reached == ((1, "it is too far away"),)
    assert outcome.needles == () and len(outcome.trace.time_s) == 0


def test_a_route_of_another_plan_is_refused(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> None:
    insertion = plan.insertions[0]
    shifted = dataclasses.replace(insertion, tip_mm=tuple(np.add(insertion.tip_mm, (0.0, 0.0, 1.0))))
    with pytest.raises(RobotError, match=r"tip lies 1\.00 mm"):
        rehearse(dataclasses.replace(plan, insertions=(shifted,)), route, anatomy, StaticMotion())
    with pytest.raises(RobotError, match="another plan"):
        rehearse(dataclasses.replace(plan, insertions=()), route, anatomy, StaticMotion())
    with pytest.raises(OptionError, match="seed"):
        rehearse(plan, route, anatomy, StaticMotion(), -1)


def test_placement_noise_has_the_stated_size(route: RobotRoute) -> None:
    noise = PlacementNoise(lateral_mm=1.2, depth_mm=0.7, angle_deg=0.5)
    rng = np.random.default_rng(11)
    entry, direction = np.array([0.1, 0.05, 0.2]), np.array([0.36, -0.48, -0.8])
    X_WB = route.X_WB
    across, along, angles = [], [], []
    for _ in range(3000):
        placed = misplaced_base(X_WB, entry, direction, noise, rng)
        to_base = X_WB.inverse()
        shift = (placed.apply(to_base.apply(entry)) - entry) * 1e3
        along.append(shift @ direction)
        across.append(np.linalg.norm(shift - along[-1] * direction))
        turned = placed.rotate(to_base.rotate(direction))
        angles.append(np.rad2deg(np.arccos(min(1.0, turned @ direction))))
    assert np.std(along) == pytest.approx(0.7, rel=0.05)
    # The length of two independent normal parts has the mean sigma sqrt(pi/2).
    assert np.mean(across) == pytest.approx(1.2 * np.sqrt(np.pi / 2), rel=0.05)
    assert np.mean(angles) == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=0.05)


def test_impossible_options_are_refused() -> None:
    for changes in ({"step_s": 0.0}, {"step_s": 1.0}, {"sample_s": 1e-4}, {"faces_per_structure": 0}):
        with pytest.raises(OptionError):
            RehearsalOptions(**changes)  # type: ignore[arg-type]
    for name in ("lateral_mm", "depth_mm", "angle_deg"):
        for value in (-1.0, 99.0, float("nan")):
            with pytest.raises(OptionError, match=name):
                PlacementNoise(**{name: value})
