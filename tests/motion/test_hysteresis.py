import dataclasses

import numpy as np
import pytest

from needleplan.errors import NeedleplanError
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.lujan import LujanMotion

AXIS = (0.2, -0.3, -1.0)
DIRECTION = (0.4, -0.9, -1.1)


def _loop(exponent: int, lag_deg: float, phase: float = 0.0) -> HystereticMotion:
    return HystereticMotion(LujanMotion(14.0, 4.4, exponent, phase, DIRECTION), lag_deg, AXIS)


def _plane(motion: HystereticMotion, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates along and across the axis, and what leaves their plane."""
    along = np.asarray(motion.axis)
    across = np.asarray(motion.breath.direction) - (np.asarray(motion.breath.direction) @ along) * along
    across /= np.linalg.norm(across)
    moved = motion.displacement_mm(times)
    return moved @ along, moved @ across, moved @ np.cross(along, across)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_without_a_lag_it_is_the_lujan_curve(exponent: int) -> None:
    motion, times = _loop(exponent, 0.0, 0.7), np.linspace(0, 30, 4001)
    np.testing.assert_allclose(
        motion.displacement_mm(times), motion.breath.displacement_mm(times), rtol=0, atol=1e-13
    )
    assert motion.separation_mm == 0.0
    straight = HystereticMotion(LujanMotion(14.0, 4.4, exponent, 0.7, AXIS), 60.0, AXIS)
    np.testing.assert_allclose(
        straight.displacement_mm(times), straight.breath.displacement_mm(times), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("lag", [15.0, 57.0, 90.0, -40.0])
def test_with_exponent_one_the_path_is_an_ellipse_of_known_area(lag: float) -> None:
    motion = _loop(1, lag)
    x, y, out = _plane(motion, np.linspace(0, motion.period_s, 20_001))
    # The sides of its box are A|along| and A|across|; the area of a Lissajous ellipse is pi a b sin(lag).
    a, b = 0.5 * np.ptp(x), 0.5 * np.ptp(y)
    area = 0.5 * np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x))
    assert abs(area) == pytest.approx(np.pi * a * b * abs(np.sin(np.radians(lag))), rel=1e-4)
    # Every point satisfies the equation of that ellipse about its centre.
    u, v = (x - x.min() - a) / a, (y - y.min() - b) / b
    phase = np.radians(lag)
    np.testing.assert_allclose(u**2 + v**2 - 2 * u * v * np.cos(phase), np.sin(phase) ** 2, atol=2e-6)
    assert np.abs(out).max() < 1e-12
    assert motion.separation_mm == pytest.approx(2.0 * b * abs(np.sin(phase)), rel=1e-4)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_inhalation_and_exhalation_differ_and_the_lag_says_which_leads(exponent: int) -> None:
    motion = _loop(exponent, 30.0)  # full inhalation at time zero
    early = np.linspace(0.05, 0.45, 9) * motion.period_s
    out, back = _plane(motion, motion.period_s - early), _plane(motion, early)
    np.testing.assert_allclose(out[0], back[0], atol=1e-9)
    assert (back[1] > out[1]).all()  # what comes later is still far out on the way back
    assert np.abs(back[1] - out[1]).max() == pytest.approx(motion.separation_mm, rel=0.05)
    assert 1.0 < motion.separation_mm < 8.0


def test_separation_of_the_default_lies_within_the_published_span() -> None:
    # Seppenwoolde et al.: 1 to 5 mm.
    assert 1.0 <= HystereticMotion().separation_mm <= 5.0


@pytest.mark.parametrize("lag", [0.0, 20.0, 57.0, 90.0])
def test_the_speed_bound_holds_by_dense_sampling(lag: float) -> None:
    for exponent in (1, 2, 3):
        motion = _loop(exponent, lag)
        times = np.linspace(0, motion.period_s, 200_001)
        speed = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1) / times[1]
        assert 0.5 * motion.speed_bound_mm_s < speed.max() <= motion.speed_bound_mm_s * (1 + 1e-9)


def test_impossible_loops_are_refused() -> None:
    for changes in ({"lag_deg": 91.0}, {"lag_deg": float("nan")}, {"axis": (0.0, 0.0, 0.0)}):
        with pytest.raises(NeedleplanError):
            dataclasses.replace(HystereticMotion(), **changes)  # type: ignore[arg-type]
