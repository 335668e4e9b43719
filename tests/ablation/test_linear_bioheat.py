"""The linear solver: closed forms, superposition, and the full solver where that is linear too."""

import numpy as np
import pytest

from needleplan.ablation.bioheat.linear import LinearBioheat
from needleplan.ablation.bioheat.solver import BLOOD_HEAT_J_M3_K, BioheatSolver
from needleplan.devices.tissue import Tissue
from needleplan.errors import DeviceError, PhysicsError

TISSUE = Tissue("test", 1079.0, 3540.0, 0.52, water_kg_m3=755.0, perfusion_per_s=0.0155)


def gaussian(shape, spacing_mm, width_mm, centre_mm=(0.0, 0.0, 0.0)):
    axes = [(np.arange(n) - 0.5 * (n - 1)) * spacing_mm - c for n, c in zip(shape, centre_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.exp(-(x**2 + y**2 + z**2) / (2.0 * width_mm**2))


@pytest.mark.parametrize("spacing_mm", [1.0, 1.5])
def test_a_gaussian_rise_spreads_and_is_perfused_away(spacing_mm):
    width, time_s = 6.0, 60.0
    n = int(90 / spacing_mm)
    shape = (n + 1, n - 3, n)
    solver = LinearBioheat(shape, spacing_mm, TISSUE)
    solver.rise_k[:] = gaussian(shape, spacing_mm, width)
    solver.advance(time_s)
    wide2 = width**2 + 2e6 * 0.52 / (1079 * 3540) * time_s
    decay = np.exp(-0.0155 * BLOOD_HEAT_J_M3_K / (1079 * 3540) * time_s)
    expected = decay * (width**2 / wide2) ** 1.5 * gaussian(shape, spacing_mm, np.sqrt(wide2))
    assert np.abs(solver.rise_k - expected).max() < 0.012 * spacing_mm**2 * expected.max()


def test_it_is_the_full_solver_where_that_is_linear():
    shape = (31, 35, 33)
    source = (4e6 * gaussian(shape, 1.5, 5.0, (3.0, -4.0, 2.0))).astype(np.float32)
    linear = LinearBioheat(shape, 1.5, TISSUE)
    full = BioheatSolver(shape, 1.5, np.zeros(shape, np.uint8), [TISSUE], boiling=False, perfusion_stops=False)
    padded = full.padded(source)
    for time_s in (20.0, 200.0):
        linear.advance(time_s - linear.time_s, source)
        full.advance(time_s - full.time_s, padded)
        rise = full.temperature_c - 37.0
        assert np.abs(rise - linear.rise_k).max() < 0.02 * rise.max()
    assert 20.0 < rise.max() < 60.0


def test_rises_add():
    shape = (24, 20, 22)
    a = (1e5 * gaussian(shape, 1.0, 3.0, (4.0, 0.0, 0.0))).astype(np.float32)
    b = (3e5 * gaussian(shape, 1.0, 2.0, (-3.0, 2.0, 1.0))).astype(np.float32)
    rises = []
    for source in (a, b, a + b):
        solver = LinearBioheat(shape, 1.0, TISSUE)
        solver.advance(40.0, source)
        rises.append(solver.rise_k.copy())
    np.testing.assert_allclose(rises[0] + rises[1], rises[2], rtol=0, atol=1e-5 * rises[2].max())


def test_what_cannot_be_solved_is_refused():
    with pytest.raises(PhysicsError, match="above 0"):
        LinearBioheat((4, 4, 4), 0.0, TISSUE)
    with pytest.raises(DeviceError, match="perfusion_per_s"):
        LinearBioheat((4, 4, 4), 1.0, Tissue("no flow known", 1000.0, 4000.0, 0.5))
    solver = LinearBioheat((4, 5, 6), 1.0, TISSUE)
    with pytest.raises(PhysicsError, match="shape"):
        solver.advance(1.0, np.zeros((4, 4, 4), np.float32))
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(PhysicsError, match="must not be negative"):
            solver.advance(wrong)
    assert solver.advance(0.0) == 0


def test_uniform_heat_and_perfusion_are_exact():
    solver = LinearBioheat((60, 60, 60), 2.0, TISSUE)
    solver.advance(60.0, np.full((60, 60, 60), 1e6, np.float32))
    rate = 0.0155 * BLOOD_HEAT_J_M3_K
    expected = 1e6 / rate * (1.0 - np.exp(-rate / (1079 * 3540) * 60.0))
    assert solver.rise_k[30, 30, 30] == pytest.approx(expected, rel=1e-5)
