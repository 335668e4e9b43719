import numpy as np
import pytest

from needleplan.errors import MotionError
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.cough import Cough, CoughingMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BeyondEnd, RecordedMotion
from needleplan.motion.surrogate import EXTERNAL_INTERNAL_SHIFT_DEG, NOISE_SPAN_S, NOISE_TIME_S, SurrogateMotion
from needleplan.motion.trace import BreathingTrace

SKIN = LujanMotion(8.0, 4.0, 2, 0.6, (0.1, -1.0, 0.3))
AXIS = np.array([0.2, -1.0, 0.1])
ALPHA, BETA = (0.1, -0.4, -1.9), (0.15, 0.2, -0.05)


def _signal(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surrogate and rate of SKIN in closed form: A cos^4 x along the axis, and its derivative."""
    size = 8.0 * float(np.asarray(SKIN.direction) @ AXIS / np.linalg.norm(AXIS))
    x = np.pi * times / 4.0 - 0.6
    return size * np.cos(x) ** 4, -size * np.pi * np.cos(x) ** 3 * np.sin(x)


@pytest.mark.parametrize(("shift", "latency"), [(0.0, 0.0), (57.0, 0.0), (-30.0, 0.3), (0.0, 0.25)])
def test_position_is_alpha_times_the_signal_plus_beta_times_its_rate(shift: float, latency: float) -> None:
    motion = SurrogateMotion(SKIN, ALPHA, BETA, axis=tuple(AXIS), shift_deg=shift, latency_s=latency)
    delay = latency + shift / 360.0 * 4.0
    assert motion.delay_s == pytest.approx(delay)
    times = np.linspace(0, 30, 5001)
    v, f = _signal(times - delay)
    expected = v[:, None] * ALPHA + f[:, None] * BETA
    np.testing.assert_allclose(motion.displacement_mm(times), expected, rtol=0, atol=2e-4)


def test_alpha_along_the_skin_alone_gives_the_skin_back() -> None:
    skin = LujanMotion(8.0, 4.0, 2, 0.6, (0.0, -1.0, 0.0))
    motion, times = SurrogateMotion(skin, (0.0, -1.0, 0.0)), np.linspace(0, 20, 999)
    np.testing.assert_allclose(motion.displacement_mm(times), skin.displacement_mm(times), rtol=0, atol=1e-5)
    assert motion.span_s == skin.span_s and motion.skin is skin


def test_the_phase_between_skin_and_organ_is_the_stated_one() -> None:
    shift = EXTERNAL_INTERNAL_SHIFT_DEG
    assert 55.0 <= shift <= 59.0
    motion = SurrogateMotion(SKIN, ALPHA, axis=tuple(AXIS), shift_deg=shift)
    times = np.arange(0.0, 4.0, 0.001)
    turn = np.exp(-2j * np.pi * times / 4.0)
    skin, organ = (SKIN.displacement_mm(times) @ AXIS @ turn, motion.displacement_mm(times) @ ALPHA @ turn)
    assert np.degrees(np.angle(skin / organ)) == pytest.approx(shift, abs=0.01)


def test_the_rate_opens_a_loop_and_without_it_the_path_is_a_line() -> None:
    times = np.linspace(0, 4, 801)
    line = SurrogateMotion(SKIN, ALPHA, axis=tuple(AXIS)).displacement_mm(times)
    loop = SurrogateMotion(SKIN, ALPHA, BETA, axis=tuple(AXIS)).displacement_mm(times)
    assert np.linalg.svd(line - line.mean(axis=0))[1][1] < 1e-6
    spread = np.linalg.svd(loop - loop.mean(axis=0))[1]
    assert spread[1] > 0.05 * spread[0] and spread[2] < 1e-6


def test_noise_has_its_size_and_correlation_and_its_seed() -> None:
    clean = SurrogateMotion(SKIN, ALPHA)
    motions = [SurrogateMotion(SKIN, ALPHA, noise_mm=0.7, seed=seed) for seed in range(12)]
    assert motions[0].span_s >= NOISE_SPAN_S
    times = np.arange(0.0, 120.0, 0.1)
    noise = np.array([motion.displacement_mm(times) - clean.displacement_mm(times) for motion in motions])
    # 12 times 120 s of noise that forgets in about 2.5 s: some 570 independent values on each axis.
    assert noise.std(axis=(0, 1)) == pytest.approx(0.7, rel=4 / np.sqrt(2 * 570))
    assert noise.mean() == pytest.approx(0.0, abs=4 * 0.7 / np.sqrt(3 * 570))
    lag = round(NOISE_TIME_S / 0.1)
    correlation = np.mean(noise[:, lag:] * noise[:, :-lag]) / np.mean(noise**2)
    assert correlation == pytest.approx(np.exp(-0.5), abs=0.06)
    same = SurrogateMotion(SKIN, ALPHA, noise_mm=0.7, seed=3)
    np.testing.assert_array_equal(same.displacement_mm(times), motions[3].displacement_mm(times))


def test_the_speed_bound_holds_by_dense_sampling() -> None:
    irregular = IrregularMotion(
        SKIN, Irregularity(coughs_per_min=2.0, cough=Cough(8.0, 0.6, (0.0, -1.0, 0.0))), 2, 60
    )
    for skin in (SKIN, irregular):
        for shift, noise in ((0.0, 0.0), (57.0, 1.0)):
            motion = SurrogateMotion(skin, ALPHA, BETA, axis=tuple(AXIS), shift_deg=shift, noise_mm=noise)
            times = np.linspace(0, motion.span_s, 500_001)
            speed = np.linalg.norm(np.diff(motion.displacement_mm(times), axis=0), axis=1) / times[1]
            assert 0.5 * motion.speed_bound_mm_s < speed.max() <= motion.speed_bound_mm_s * (1 + 1e-6)


def test_what_cannot_drive_an_organ_is_refused() -> None:
    times = np.arange(0.0, 40.0, 0.1)
    once = RecordedMotion(BreathingTrace(times, SKIN.displacement_mm(times), "made"), beyond_end=BeyondEnd.REFUSE)
    with pytest.raises(MotionError, match="beyond the end"):
        SurrogateMotion(once, ALPHA)
    SurrogateMotion(CoughingMotion(SKIN, (3.0,)), ALPHA)
    for changes in (
        {"shift_deg": 181.0}, {"latency_s": -0.1}, {"latency_s": float("nan")}, {"noise_mm": -1.0}, {"seed": -1},
        {"alpha": (0.0, 0.0, float("inf"))}, {"beta_s": (0.0, 0.0, float("nan"))},
    ):  # fmt: skip
        with pytest.raises(MotionError):
            SurrogateMotion(SKIN, **{"alpha": ALPHA, **changes})  # type: ignore[arg-type]


def test_the_wall_rises_as_the_skin_does_and_goes_before_the_organ() -> None:
    motion = SurrogateMotion(SKIN, ALPHA, BETA, axis=tuple(AXIS), shift_deg=57.0)
    times = np.linspace(0.0, 20.0, 1001)
    expected, _ = _signal(times)
    np.testing.assert_allclose(motion.surrogate_mm(times), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(SKIN_RISE * motion.wall_mm(times), expected, rtol=0, atol=1e-9)
    assert motion.wall_mm(3.0).shape == ()
    assert motion.wall_mm(3.0) != pytest.approx(motion.wall_mm(3.0 - motion.delay_s))
