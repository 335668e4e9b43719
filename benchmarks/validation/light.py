"""Cases L01 to L03: light of a point in scattering tissue, and the heat that it leaves."""

import numpy as np

from needleplan.ablation.closed_forms.optics import (
    diffusion_length_m,
    effective_attenuation_per_m,
    point_fluence_w_m2,
    point_light_k,
)
from needleplan.ablation.electric.potential import DiffusionSolver
from validation.case import Outcome, absolute, case, references, relative
from validation.media import BODY_C, Corner, FloatArray, K, W, bioheat, reference_tissue

ABSORPTION, SCATTERING = 30.0, 900.0


def fluence(corner: Corner, power_w: float) -> FloatArray:
    """Fluence rate of a point source, W/m2."""
    shape = corner.shape
    solver = DiffusionSolver(shape, corner.spacing_mm, walls="insulated")
    solver.set_coefficients(
        np.full(shape, diffusion_length_m(ABSORPTION, SCATTERING), dtype=np.float32),
        np.full(shape, ABSORPTION, dtype=np.float32),
    )
    return np.array(
        solver.solve(source=corner.point_source(power_w).astype(np.float32), tolerance=1e-6), np.float64
    )


@case("L01")
def point_fluence() -> Outcome:
    """Fluence of a point source."""
    expected, corner = references()["L01"].expected, Corner(64, 0.5)
    phi = fluence(corner, 1.0)
    checks = [
        relative("diffusion length, m", expected["D_m"], diffusion_length_m(ABSORPTION, SCATTERING), 1e-5),
        relative(
            "attenuation, 1/m", expected["mueff_1_m"], effective_attenuation_per_m(ABSORPTION, SCATTERING), 1e-5
        ),
        relative("fluence at 5 mm, W/m2", expected["phi_W_m2_r5mm"], corner.at(phi, 5.0), 0.03),
    ]
    for r in (3.0, 10.0, 15.0):
        closed = float(point_fluence_w_m2(1e-3 * r, 1.0, ABSORPTION, SCATTERING))
        checks.append(relative(f"fluence at {r:g} mm, W/m2", closed, corner.at(phi, r), 0.03))
    x = corner.radius_mm[2:40, 0, 0]
    closed_row = point_fluence_w_m2(1e-3 * x, 1.0, ABSORPTION, SCATTERING)
    return Outcome(checks, curves={"fluence of a point": (x, closed_row, phi[2:40, 0, 0])})


@case("L02")
def absorbed_power() -> Outcome:
    """All that is emitted is absorbed."""
    corner = Corner(64, 0.5)
    total = 8.0 * ABSORPTION * float(fluence(corner, 5.0).sum()) * corner.spacing_m**3
    return Outcome([absolute("absorbed over emitted power", 1.0, total / 5.0, 0.02)])


@case("L03")
def light_heat() -> Outcome:
    """Steady temperature about a point of light of 5 W: the whole chain, smooth everywhere."""
    expected, corner = references()["L03"].expected, Corner(50, 0.5)
    heat = ABSORPTION * fluence(corner, 5.0)
    solver = bioheat(corner.shape, 0.5, reference_tissue())
    solver.advance(780.0, solver.padded(heat))
    rise = solver.temperature_c - BODY_C
    checks = [
        relative(f"rise at {r} mm, K", value, corner.at(rise, float(r)), 0.03)
        for r, value in expected["theta_C_at_r_mm"].items()
    ]
    inner = float(point_light_k(1e-3 * corner.radius_mm[0, 0, 0], 5.0, ABSORPTION, SCATTERING, K, W))
    checks.append(relative("rise in the innermost cell, K", inner, float(rise[0, 0, 0]), 0.03))
    x = corner.radius_mm[:36, 0, 0]
    closed = point_light_k(1e-3 * x, 5.0, ABSORPTION, SCATTERING, K, W)
    return Outcome(checks, curves={"heat of a point of light": (x, closed, rise[:36, 0, 0])})
