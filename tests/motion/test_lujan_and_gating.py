import dataclasses

import numpy as np
import pytest

from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import MotionError
from needleplan.grid import Grid, VoxelMask
from needleplan.motion.gating import AmplitudeGate, breathing_phase, lujan_duty_cycle, lujan_mean_mm
from needleplan.motion.lujan import LujanMotion, anterior_direction, inhalation_direction
from needleplan.motion.static import StaticMotion


def _case(position: PatientPosition) -> Case:
    mask = VoxelMask(Grid((2, 2, 2), np.eye(4)), np.ones((2, 2, 2), dtype=bool))
    return Case("c", (Structure("t", Role.TARGET, mask),), position, "", up=position.up)


def _rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.asarray(axis) / np.linalg.norm(axis) * angle).as_matrix()
    matrix[:3, 3] = (13.0, -7.0, 21.0)
    return matrix


@pytest.mark.parametrize(("exponent", "expected"), [(1, 0.2379), (2, 0.4130), (3, 0.5070)])
def test_share_of_the_cycle_near_exhale(exponent: int, expected: float) -> None:
    motion = LujanMotion(15.0, 4.0, exponent)
    closed_form = 1.0 - 2.0 / np.pi * np.arccos((2.0 / 15.0) ** (1.0 / (2 * exponent)))
    assert closed_form == pytest.approx(expected, abs=5e-4)
    assert AmplitudeGate(2.0).duty_cycle(motion) == pytest.approx(closed_form, abs=0.005)
    assert lujan_duty_cycle(motion, 2.0) == pytest.approx(closed_form, abs=1e-12)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_duty_cycle_mean_period_and_amplitude_in_closed_form(exponent: int) -> None:
    motion = LujanMotion(17.0, 4.7, exponent, 0.8, (0.3, -0.5, -1.0))
    times = (np.arange(200_000) + 0.5) * 4.7 / 200_000
    moved = motion.displacement_mm(times)
    for tolerance in (0.3, 2.0, 9.0, 16.9):
        share = np.mean(np.linalg.norm(moved, axis=1) <= tolerance)
        assert lujan_duty_cycle(motion, tolerance) == pytest.approx(share, abs=1e-4)
    assert lujan_duty_cycle(motion, 17.0) == lujan_duty_cycle(motion, 40.0) == 1.0
    # Means of cos^2, cos^4 and cos^6: 1/2, 3/8, 5/16.
    assert lujan_mean_mm(motion) == pytest.approx(17.0 * {1: 0.5, 2: 0.375, 3: 0.3125}[exponent], rel=1e-12)
    mean = moved.mean(axis=0)
    assert mean == pytest.approx(lujan_mean_mm(motion) * np.asarray(motion.direction), abs=1e-6)
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(17.0, abs=1e-6)
    # The period is the shortest time after which all comes again.
    lags = np.array(
        [np.abs(motion.displacement_mm(times[::100] + lag) - moved[::100]).max() for lag in (2.35, 4.7)]
    )
    assert lags[0] > 1.0 and lags[1] < 1e-9
    for tolerance in (0.0, float("nan"), 100.0):
        with pytest.raises(MotionError):
            lujan_duty_cycle(motion, tolerance)


@pytest.mark.parametrize(("exponent", "expected"), [(2, 15.3), (3, 18.3)])
def test_peak_speed(exponent: int, expected: float) -> None:
    # v(t) = A 2n cos^{2n-1} sin pi/T, greatest where tan^2 = 1/(2n-1).
    motion = LujanMotion(15.0, 4.0, exponent)
    power = 2 * exponent
    angle = np.arctan(1.0 / np.sqrt(power - 1))
    closed_form = 15.0 * power * np.cos(angle) ** (power - 1) * np.sin(angle) * np.pi / 4.0
    times = np.linspace(0, 4, 40001)
    speed = np.linalg.norm(np.gradient(motion.displacement_mm(times), times, axis=0), axis=1)
    assert speed.max() == pytest.approx(closed_form, rel=1e-4)
    assert closed_form == pytest.approx(expected, abs=0.1)


def test_displacement_law_direction_and_shapes() -> None:
    motion = LujanMotion(12.0, 5.0, 1, 0.0, (3.0, 0.0, -4.0))
    assert motion.displacement_mm(0.0) == pytest.approx(np.array([7.2, 0.0, -9.6]))
    assert motion.displacement_mm(2.5) == pytest.approx(np.zeros(3), abs=1e-12)
    assert motion.displacement_mm(np.zeros((4, 2))).shape == (4, 2, 3)
    assert motion.amplitude_mm() == pytest.approx(12.0, abs=1e-9)
    times = np.linspace(0, 3, 7)
    assert motion.displacement_mm(times + 5.0) == pytest.approx(motion.displacement_mm(times), abs=1e-12)
    assert LujanMotion().displacement_mm(0.0) == pytest.approx(np.zeros(3), abs=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"peak_mm": -1.0}, {"peak_mm": float("nan")}, {"period_s": 0.0}, {"exponent": 4},
        {"phase_rad": float("inf")},
    ],
)  # fmt: skip
def test_impossible_parameters_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(MotionError):
        dataclasses.replace(LujanMotion(), **changes)


@pytest.mark.parametrize("position", list(PatientPosition))
def test_anterior_follows_a_moved_patient(position: PatientPosition) -> None:
    case = _case(position)
    assert anterior_direction(case) == pytest.approx(np.array([0.0, -1.0, 0.0]), abs=1e-12)
    motion = _rotation((1.0, 2.0, -0.5), 0.9)
    moved = case.moved(motion)
    assert anterior_direction(moved) == pytest.approx(motion[:3, :3] @ [0.0, -1.0, 0.0], abs=1e-12)
    before = np.asarray(inhalation_direction(case))
    assert np.asarray(inhalation_direction(moved)) == pytest.approx(motion[:3, :3] @ before, abs=1e-12)
    assert before[2] < -0.9 and before[1] < -0.3 and before[0] == pytest.approx(0.0, abs=1e-12)


def test_static_motion_is_always_open_and_has_no_phase() -> None:
    static = StaticMotion()
    assert not static.displacement_mm(np.linspace(0, 9, 5)).any()
    assert static.amplitude_mm() == 0.0
    assert AmplitudeGate(0.1).duty_cycle(static) == 1.0
    with pytest.raises(MotionError, match="no breath"):
        breathing_phase(static, 1.0)


def test_gate_windows_and_edges() -> None:
    motion = LujanMotion(15.0, 4.0, 2)  # starts at end-exhale
    gate = AmplitudeGate(2.0)
    windows = gate.windows_s(motion, 0.0, 8.0)
    half = 4.0 * (0.5 - np.arccos((2.0 / 15.0) ** 0.25) / np.pi)
    assert windows == pytest.approx(np.array([[0, half], [4 - half, 4 + half], [8 - half, 8.0]]), abs=0.011)
    for tolerance in (0.0, -1.0, float("nan")):
        with pytest.raises(MotionError):
            AmplitudeGate(tolerance)


def test_phase_is_zero_at_the_end_of_inhalation() -> None:
    motion = LujanMotion(15.0, 4.0, 2, phase_rad=0.3)
    peak = 0.3 * 4.0 / np.pi  # cos(pi t/T - phi) = 1
    times = peak + np.array([0.0 + 4.02, 6.0, 9.0])
    assert breathing_phase(motion, times) == pytest.approx(np.array([0.005, 0.5, 0.25]), abs=0.01)
