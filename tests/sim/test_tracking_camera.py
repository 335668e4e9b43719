import time

import numpy as np
import pytest

from needleplan.errors import OptionError
from sim.tracking_camera import CameraOptions, CameraReading, TrackingCamera

HUB = np.array([10.0, -120.0, 60.0])
REFERENCE = np.array([-80.0, -100.0, 20.0])
AXIS = np.array([0.3, 0.8, -0.52])
AXIS = AXIS / np.linalg.norm(AXIS)
SPEED = np.array([1.0, -2.0, 3.0])


def watched(camera: TrackingCamera, duration_s: float, step_s: float = 0.01) -> list[tuple[float, CameraReading]]:
    """Time and newest reading after each step, of a hub that moves evenly."""
    found = []
    for k in range(round(duration_s / step_s) + 1):
        now = k * step_s
        camera.observe(now, HUB + SPEED * now, AXIS, REFERENCE - SPEED * now)
        reading = camera.reading(now)
        if reading is not None:
            found.append((now, reading))
    return found


def test_the_perfect_camera_tells_the_truth_at_once():
    for now, reading in watched(TrackingCamera(CameraOptions.perfect(), 1), 2.0):
        assert reading.measured_s == pytest.approx(now, abs=1e-9)
        np.testing.assert_allclose(reading.hub_mm, HUB + SPEED * now, rtol=0, atol=1e-12)
        np.testing.assert_allclose(reading.reference_mm, REFERENCE - SPEED * now, rtol=0, atol=1e-12)
        np.testing.assert_allclose(reading.axis, AXIS, rtol=0, atol=1e-12)


@pytest.mark.parametrize("step_s", [0.01, 0.03, 0.2])
def test_readings_come_at_the_cameras_rate_and_late(step_s):
    camera = TrackingCamera(CameraOptions(rate_hz=8.0, latency_s=0.07, noise_mm=0.0, angle_noise_deg=0.0), 1)
    found = watched(camera, 10.0, step_s)
    measured = np.unique([reading.measured_s for _, reading in found])
    spacing = max(1 / 8.0, step_s)
    assert len(measured) == pytest.approx(10.0 / spacing, abs=2)
    # Each moment of the camera is met by the first step at or after it.
    due = np.ceil(np.arange(0.0, 9.8, 1 / 8.0) / step_s - 1e-9) * step_s
    due = np.unique(due.round(9))
    np.testing.assert_allclose(measured[: len(due)], due, atol=1e-9)
    for now, reading in found:
        assert 0.07 - 1e-9 <= now - reading.measured_s < 0.07 + spacing + step_s + 1e-9
        np.testing.assert_allclose(reading.hub_mm, HUB + SPEED * reading.measured_s, rtol=0, atol=1e-12)


def test_nothing_is_told_before_the_first_reading_arrives():
    camera = TrackingCamera(CameraOptions(latency_s=0.1), 1)
    assert camera.reading(0.0) is None
    camera.observe(0.0, HUB, AXIS, REFERENCE)
    assert camera.reading(0.099) is None
    reading = camera.reading(0.1)
    assert reading is not None and reading.measured_s == 0.0


def test_noise_is_as_told_across_oblique_axes():
    camera = TrackingCamera(CameraOptions(rate_hz=100.0, latency_s=0.0, noise_mm=0.4, angle_noise_deg=0.5), 5)
    readings = [reading for _, reading in watched(camera, 60.0)]
    times = np.array([reading.measured_s for reading in readings])[:, None]
    hub = np.array([reading.hub_mm for reading in readings]) - HUB - SPEED * times
    reference = np.array([reading.reference_mm for reading in readings]) - REFERENCE + SPEED * times
    np.testing.assert_allclose(hub.std(axis=0), 0.4, rtol=0.04)
    np.testing.assert_allclose(reference.std(axis=0), 0.4, rtol=0.04)
    assert np.abs(np.corrcoef(hub.T, reference.T)[:3, 3:]).max() < 0.05
    axes = np.array([reading.axis for reading in readings])
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0, rtol=0, atol=1e-12)
    angle = np.degrees(np.arccos(np.clip(axes @ AXIS, -1.0, 1.0)))
    # Two independent normal tilts make a Rayleigh distribution of mean sigma sqrt(pi / 2).
    assert angle.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2.0), rel=0.03)
    tilt = (axes - np.outer(axes @ AXIS, AXIS)).mean(axis=0)
    assert np.degrees(np.linalg.norm(tilt)) < 0.03


def test_a_frozen_camera_repeats_its_last_reading_with_its_old_time():
    whole = {now: reading for now, reading in watched(TrackingCamera(CameraOptions(), 3), 6.0)}
    camera = TrackingCamera(CameraOptions(), 3)
    found = {}
    for k in range(601):
        now = k * 0.01
        if k == 200:
            camera.freeze(4.0)
        camera.observe(now, HUB + SPEED * now, AXIS, REFERENCE - SPEED * now)
        reading = camera.reading(now)
        if reading is not None:
            found[now] = reading
    stuck = {reading.measured_s for now, reading in found.items() if 2.06 < now < 4.04}
    assert len(stuck) == 1 and 1.94 <= stuck.pop() < 2.0
    for now, reading in found.items():
        if now < 1.9 or now > 4.2:
            # The fault has changed no other reading.
            assert (reading.hub_mm == whole[now].hub_mm).all() and (reading.axis == whole[now].axis).all()
    assert found[4.1].measured_s >= 4.0 - 1e-9


def test_all_is_the_same_with_the_same_seed():
    sequence = np.random.SeedSequence(8)
    one, other, third = (
        watched(TrackingCamera(CameraOptions(), seed), 3.0)
        for seed in (sequence, sequence, np.random.SeedSequence(9))
    )
    for (_, first), (_, second) in zip(one, other, strict=True):
        assert (first.hub_mm == second.hub_mm).all() and (first.axis == second.axis).all()
    assert (one[5][1].hub_mm != third[5][1].hub_mm).all()
    with pytest.raises(ValueError, match="read-only"):
        one[0][1].hub_mm[0] = 0.0


def test_between_readings_it_costs_next_to_nothing():
    camera = TrackingCamera(CameraOptions(rate_hz=1.0), 1)
    camera.observe(0.0, HUB, AXIS, REFERENCE)
    best = np.inf
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(200):
            camera.observe(0.5, HUB, AXIS, REFERENCE)
            camera.reading(0.5)
        best = min(best, (time.perf_counter() - begin) / 200)
    assert best < 5e-5


def test_impossible_options_are_refused():
    for name, bad in (("rate_hz", 0.0), ("latency_s", -0.1), ("noise_mm", 30.0), ("angle_noise_deg", np.nan)):
        with pytest.raises(OptionError, match=f"{name} of a tracking camera"):
            CameraOptions(**{name: bad})
