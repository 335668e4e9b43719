import numpy as np
import pytest

from needleplan.errors import OptionError
from robots.timing import (
    QUINTIC_PEAK_ACCELERATION,
    QUINTIC_PEAK_SPEED,
    TimedPath,
    along,
    quintic,
    ramped,
    straight,
)

SPEED, ACCELERATION = np.array([1.0, 0.5, 2.0]), np.array([2.0, 3.0, 1.0])


def peaks(path):
    speed = np.diff(path.positions, axis=0) / np.diff(path.time_s)[:, None]
    acceleration = np.diff(speed, axis=0) / np.diff(path.time_s)[1:, None]
    return np.abs(speed).max(axis=0), np.abs(acceleration).max(axis=0)


def test_the_quintic_starts_and_ends_at_rest_with_the_stated_peaks():
    tau = np.linspace(0, 1, 20001)
    speed = np.gradient(quintic(tau), tau)
    acceleration = np.gradient(speed, tau)
    assert quintic(0.0) == 0 and quintic(1.0) == 1 and quintic(0.5) == 0.5
    assert speed.max() == pytest.approx(QUINTIC_PEAK_SPEED, rel=1e-6)
    assert np.abs(acceleration[2:-2]).max() == pytest.approx(QUINTIC_PEAK_ACCELERATION, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.01, 1e-4])
def test_a_straight_move_keeps_both_limits_and_uses_one_of_them(scale):
    end = scale * np.array([0.7, -1.3, 0.2])
    path = straight(np.zeros(3), end, SPEED, ACCELERATION, 0.005)
    speed, acceleration = peaks(path)
    assert (speed <= SPEED * (1 + 1e-9)).all() and (acceleration <= ACCELERATION * (1 + 1e-9)).all()
    if path.duration_s > 0.1:
        assert max((speed / SPEED).max(), (acceleration / ACCELERATION).max()) > 0.97
    np.testing.assert_allclose(path.positions[-1], end, atol=1e-15)
    assert (np.diff(path.time_s) > 0).all() and np.diff(path.time_s).max() <= 0.005 + 1e-12


def test_a_curve_keeps_both_limits_and_passes_its_knots():
    u = np.linspace(0, 1, 25)
    knots = np.stack([np.sin(3 * u), u**2, np.cos(2 * u)], axis=1)
    path = along(knots, SPEED, ACCELERATION, 0.005)
    speed, acceleration = peaks(path)
    assert (speed <= SPEED).all() and (acceleration <= ACCELERATION).all()
    assert max((speed / SPEED).max(), (acceleration / ACCELERATION).max()) > 0.95
    nearest = np.linalg.norm(path.positions[:, None] - knots, axis=2).min(axis=0)
    assert nearest.max() < 0.01
    np.testing.assert_allclose(path.positions[[0, -1]], knots[[0, -1]], atol=1e-12)


@pytest.mark.parametrize(("distance", "cruises"), [(0.12, True), (1e-4, False)])
def test_the_driver_cruises_at_its_speed_between_ramps(distance, cruises):
    path = ramped(distance, 0.008, 0.2, 0.002)
    speed, acceleration = peaks(path)
    assert path.positions[-1, 0] == distance and (np.diff(path.positions[:, 0]) > 0).all()
    assert speed[0] <= 0.008 * (1 + 1e-9) and acceleration[0] <= 0.2 * (1 + 1e-6)
    assert (speed[0] > 0.00799) == cruises
    if cruises:
        assert path.duration_s == pytest.approx(distance / 0.008 + 0.008 / 0.2)


def test_paths_join_only_where_one_ends_and_come_back_reversed():
    first = straight([0.0], [1.0], [1.0], [1.0], 0.01)
    both = first.then(first.reversed())
    assert both.duration_s == pytest.approx(2 * first.duration_s)
    np.testing.assert_allclose(both.positions, both.reversed().positions, atol=1e-12)
    with pytest.raises(OptionError, match="ends"):
        first.then(first)
    with pytest.raises(OptionError, match="greater than zero"):
        ramped(0.0, 0.01, 0.2, 0.01)
    with pytest.raises(ValueError, match="read-only"):
        TimedPath([0.0, 1.0], [[0.0], [1.0]]).positions[0] = 3.0
