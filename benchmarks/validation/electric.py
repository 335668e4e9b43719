"""Cases E01 to E03 and E07: spherical electrodes and a coaxial shell, by the potential and bioheat solvers."""

import numpy as np

from needleplan.ablation.closed_forms.electric import (
    rf_sphere_k,
    rf_sphere_peak,
    shell_power_w_m3,
    shell_resistance_ohm_m,
    sphere_electrode_resistance_ohm,
    sphere_pair_conductance_s,
)
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import Contact
from validation.case import Outcome, case, references, relative
from validation.media import BODY_C, Corner, K, bioheat, reference_tissue, surface_contact

SIGMA = 0.15


def joined(*pairs: tuple[np.ndarray, Contact]) -> tuple[np.ndarray, Contact]:
    """Several held surfaces as one."""
    return np.concatenate([held for held, _ in pairs]), Contact(
        np.concatenate([contact.cells for _, contact in pairs]),
        np.concatenate([contact.held for _, contact in pairs]),
        np.concatenate([contact.factors for _, contact in pairs]),
    )


def ball_in_shell(corner: Corner, inner_mm: float, outer_mm: float) -> tuple[np.ndarray, Contact, int]:
    """Held cells of a ball and of all beyond an outer sphere, their contact, and how many are the ball's."""
    ball = surface_contact(corner.radius_mm - inner_mm, corner.spacing_mm)
    held, contact = joined(ball, surface_contact(outer_mm - corner.radius_mm, corner.spacing_mm))
    return held, contact, len(ball[0])


@case("E01")
def sphere_electrode() -> Outcome:
    """A ball of 5 mm at 50 V in a grounded sphere of 30 mm."""
    corner, outer = Corner(31, 1.0), 30.0
    held, contact, count = ball_in_shell(corner, 5.0, outer)
    solver = DiffusionSolver(corner.shape, 1.0, walls="insulated", held=held, contact=contact)
    solver.set_coefficients(np.full(corner.shape, SIGMA, dtype=np.float32))
    is_ball = np.arange(len(held)) < count
    solver.solve(np.where(is_ball, 50.0, 0.0))
    current = 8.0 * solver.current(is_ball)
    power = 8.0 * float(solver.heat_w_m3().sum(dtype=np.float64)) * 1e-9
    shell = sphere_electrode_resistance_ohm(5e-3, SIGMA, 1e-3 * outer) / sphere_electrode_resistance_ohm(
        5e-3, SIGMA
    )
    expected = references()["E01"].expected
    field = solver.field_per_m()
    return Outcome(
        [
            relative("resistance, ohm", expected["R_ohm"], 50.0 / current / shell, 0.03),
            relative("current, A", expected["I_A"], current * shell, 0.03),
            relative("power, W", expected["P_W"], power * shell, 0.03),
            relative("field at 10 mm, V/cm", 25.0, 0.01 * corner.at(field, 10.0) * shell, 0.03),
        ],
        "Numbers for ground at infinity: those of the grounded sphere of 30 mm times the closed form's ratio of "
        "both.",
    )


@case("E02", long=True)
def cooled_sphere() -> Outcome:
    """The field's heat conducted away from a cooled ball: steady temperature, by the bioheat solver."""
    corner, outer = Corner(42, 0.75), 30.0
    held, contact, count = ball_in_shell(corner, 5.0, outer)
    is_ball = np.arange(len(held)) < count
    potential = DiffusionSolver(corner.shape, 0.75, walls="insulated", held=held, contact=contact)
    potential.set_coefficients(np.full(corner.shape, SIGMA, dtype=np.float32))
    potential.solve(np.where(is_ball, 50.0, 50.0 * 5.0 / outer), tolerance=1e-6)
    tissue = reference_tissue(0.0)
    solver = bioheat(corner.shape, 0.75, tissue)
    wall = float(rf_sphere_k(1e-3 * outer, 5e-3, 50.0, SIGMA, K, -17.0))
    solver.hold(held, np.where(is_ball, BODY_C - 17.0, BODY_C + wall), contact)
    solver.advance(5000.0, solver.padded(potential.heat_w_m3()))
    rise = solver.temperature_c - BODY_C
    expected, checks = references()["E02"].expected, []
    for r, value in expected["theta_at_r_mm"].items():
        if 5 < float(r) < outer:
            checks.append(relative(f"rise at {r} mm, K", value, corner.at(rise, float(r)), 0.05))
    peak_k, _ = rf_sphere_peak(5e-3, 50.0, SIGMA, K, -17.0)
    assert abs(peak_k - expected["theta_max_C"]) < 1e-3
    row, radii = rise[:, 0, 0].astype(np.float64), corner.radius_mm[:, 0, 0]
    fine = np.linspace(7.0, 15.0, 801)
    along = [corner.at(rise, r) for r in fine]
    checks.append(relative("greatest rise, K", expected["theta_max_C"], float(np.max(along)), 0.05))
    checks.append(
        relative("its radius, mm", expected["r_max_over_a"] * 5.0, float(fine[int(np.argmax(along))]), 0.05)
    )
    kept = (radii > 5.3) & (radii < outer)
    closed = rf_sphere_k(1e-3 * radii[kept], 5e-3, 50.0, SIGMA, K, -17.0)
    return Outcome(
        checks,
        "The closed form's own value is held at 30 mm, where the domain ends.",
        {"RF about a cooled ball": (radii[kept], closed, row[kept])},
    )


@case("E03", long=True)
def sphere_pair() -> Outcome:
    """Two balls of 5 mm at +V/2 and -V/2: one quarter of one ball's half-space."""
    checks = []
    for distance, spacing, half in ((11.0, 0.25, 32.0), (20.0, 1.0, 80.0), (40.0, 1.0, 100.0)):
        n = round(half / spacing)
        shape = (n, round(0.8 * half / spacing), round(0.8 * half / spacing))
        x, y, z = ((np.arange(m) + 0.5) * spacing for m in shape)
        # The plane between the balls is at zero: x is the distance from it.
        distance_mm = np.sqrt((x[:, None, None] - 0.5 * distance) ** 2 + y[:, None] ** 2 + z**2)
        ball = surface_contact(distance_mm - 5.0, spacing)
        plane = surface_contact(np.broadcast_to(x[:, None, None] - 0.75 * spacing, shape), spacing)
        # Cells of the first layer are the plane: their centre lies half a cell from it on the ball's side.
        factors = np.full(len(plane[1].factors), 1.0 / 1.5)
        held, contact = joined(ball, (plane[0], Contact(plane[1].cells, plane[1].held, factors)))
        keep = ~_taken(contact.cells, held, shape)
        contact = Contact(contact.cells[keep], contact.held[keep], contact.factors[keep])
        solver = DiffusionSolver(shape, spacing, walls="insulated", held=held, contact=contact)
        solver.set_coefficients(np.full(shape, SIGMA, dtype=np.float32))
        is_ball = np.arange(len(held)) < len(ball[0])
        solver.solve(np.where(is_ball, 0.5, 0.0))
        resistance = 1.0 / (4.0 * solver.current(is_ball))
        expected = references()["E03"].expected["by_d_mm"][f"{distance:g}"]["R_ohm"]
        assert abs(1.0 / sphere_pair_conductance_s(5e-3, 1e-3 * distance, SIGMA) - expected) < 1e-3 * expected
        checks.append(relative(f"resistance at {distance:g} mm, ohm", expected, resistance, 0.04))
    return Outcome(checks, "Box of 26 to 100 mm about the balls between insulated walls.")


def _taken(cells: np.ndarray, held: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(held.T)] = True
    return mask[tuple(cells.T)]


@case("E07")
def coaxial_shell() -> Outcome:
    """Joule heat between coaxial cylinders of 2 and 20 mm."""
    corner = Corner(42, 0.5, plane=True)
    held, contact, count = ball_in_shell(corner, 2.0, 20.0)
    solver = DiffusionSolver(corner.shape, 0.5, walls="insulated", held=held, contact=contact)
    solver.set_coefficients(np.full(corner.shape, SIGMA, dtype=np.float32))
    inner = np.arange(len(held)) < count
    solver.solve(np.where(inner, 100.0, 0.0), tolerance=1e-6)
    # One quadrant, three layers of 0.5 mm.
    length = 3 * 0.5e-3
    current = 4.0 * solver.current(inner) / length
    heat = solver.heat_w_m3()
    power = 4.0 * float(heat.sum(dtype=np.float64)) * 0.5e-3**3 / length
    resistance = shell_resistance_ohm_m(2e-3, 20e-3, SIGMA)
    at = float(shell_power_w_m3(0.01, 2e-3, 20e-3, 100.0, SIGMA))
    return Outcome(
        [
            relative("sum of the heat over voltage times current", 1.0, power / (100.0 * current), 0.01),
            relative(
                "current squared times the closed resistance over the heat",
                1.0,
                current**2 * resistance / power,
                0.01,
            ),
            relative("current, A/m", 100.0 / resistance, current, 0.01),
            relative("heat at 10 mm, W/m3", at, corner.at(heat, 10.0), 0.03),
        ]
    )
