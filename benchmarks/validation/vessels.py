"""Cases H14 to H16: vessels, and the zone that perfusion limits."""

import numpy as np

from needleplan.ablation.closed_forms.vessels import line_source_beside_vessel_k
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import Contact
from needleplan.ablation.solver_domain import SolverDomain, convective_contact, isothermal_contact
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel
from needleplan.grid import Grid
from validation.case import Outcome, between, case, references, relative
from validation.media import BODY_C, Corner, K, W, bioheat, reference_tissue, surface_contact


@case("H14")
def vessel_annulus() -> Outcome:
    """A vessel of 5 mm with a film, in an annulus whose outer wall is held 20 K warm."""
    expected, cells = references()["H14"].expected, 47
    tissue, middle = reference_tissue(0.0), 23.0
    grid = Grid((cells, cells, 5), np.eye(4))
    lumen = Cylinder((middle, middle, -5.0), (middle, middle, 10.0), 2.5)
    vessel = Vessel("vessel", lumen, 5.0)
    around = TissueMap(tissue, vessels=(vessel,))
    inside = around.vessel_voxels(grid)
    domain = SolverDomain(grid, np.zeros(grid.shape, dtype=np.uint8), (tissue,), inside, BODY_C)
    x = np.arange(cells) - middle
    radius = np.repeat(np.hypot(x[:, None], x[None, :])[:, :, None], 5, axis=2)
    outer, film = surface_contact(20.0 - radius, 1.0)
    walls = convective_contact(domain, around)
    joined = Contact(
        np.concatenate([walls.cells, film.cells]),
        np.concatenate([walls.held, film.held]),
        np.concatenate([walls.factors, film.factors]),
    )
    held = np.concatenate([np.argwhere(inside), outer])
    solver = bioheat(grid.shape, 1.0, tissue)
    solver.hold(held, np.r_[np.full(int(inside.sum()), BODY_C), np.full(len(outer), BODY_C + 20.0)], joined)
    solver.advance(6000.0)
    rise = (solver.temperature_c - BODY_C).astype(np.float64)
    # The heat per length from the slope over ln r between 5 and 15 mm, by least squares over all cells there.
    ring = (radius > 5.0) & (radius < 15.0)
    slope, offset = np.polyfit(np.log(radius[ring]), rise[ring], 1)
    heat = 2.0 * np.pi * K * slope
    return Outcome(
        [
            relative("heat into the vessel, W/m", expected["q_W_m"], float(heat), 0.05),
            relative(
                "rise of the wall, K", expected["theta_wall_C"], float(offset + slope * np.log(2.5)), 0.05, 20.0
            ),
        ],
        "By the library's own film of h = Nu k / D on the faces of the vessel's voxels.",
    )


@case("H15")
def line_beside_vessel() -> Outcome:
    """A line source 10 mm from the axis of a vessel of 5 mm at blood temperature, without perfusion."""
    half, tissue = 100, reference_tissue(0.0)
    grid = Grid((2 * half + 1, 2 * half + 1, 3), np.eye(4))
    lumen = Cylinder((half, half, -5.0), (half, half, 10.0), 2.5)
    around = TissueMap(tissue, vessels=(Vessel("vessel", lumen, 5.0),))
    inside = around.vessel_voxels(grid)
    domain = SolverDomain(grid, np.zeros(grid.shape, dtype=np.uint8), (tissue,), inside, BODY_C)
    source = np.zeros(grid.shape, dtype=np.float32)
    source[half + 10, half, :] = 1000.0 / 1e-6
    rises = {}
    for name, contact in (("wall", isothermal_contact(domain, around)), ("voxels", None)):
        solver = DiffusionSolver(grid.shape, 1.0, walls="insulated", held=np.argwhere(inside), contact=contact)
        solver.set_coefficients(np.full(grid.shape, K, dtype=np.float32))
        rises[name] = np.array(solver.solve(0.0, source=source, tolerance=1e-5))[:, half, 1]
    expected = references()["H15"].expected["theta_C_at_x_mm"]
    checks = [
        relative(f"rise at {at} mm from the vessel's axis, K", value, float(rises["wall"][half + int(at)]), 0.04)
        for at, value in expected.items()
    ]
    at, value = "8", expected["8"]
    plain = float(rises["voxels"][half + int(at)])
    checks.append(
        between(
            f"rise at {at} mm with whole voxels held, without the wall's true place (must miss)",
            plain,
            1.04 * value,
        )
    )
    columns = np.arange(half + 4, half + 30)
    columns = columns[np.abs(columns - half - 10) > 1]
    x = columns - float(half)
    closed = line_source_beside_vessel_k(1e-3 * x, 0.0, 1000.0, K, 2.5e-3, 0.01)
    return Outcome(
        checks,
        "By the library's own walls of vessels at blood temperature, on cells of 1 mm.",
        {"line beside a vessel": (x, closed, rises["wall"][columns])},
    )


@case("H16")
def coagulum() -> Outcome:
    """Where the zone of a point source ends when coagulation stops the perfusion; steady, shutdown at 13 K."""
    checks = []
    for key, perfusion, power in (
        ("Rc_mm_at_P_W", W, 10), ("Rc_mm_at_P_W", W, 25), ("Rc_mm_at_P_W", W, 50),
        ("omega_0.0064", W * 0.0064 / 0.0155, 25),
    ):  # fmt: skip
        expected = references()["H16"].expected[key][str(power)]
        corner = Corner(40, 2.0)
        source = corner.point_source(power).astype(np.float32)
        solver = DiffusionSolver(corner.shape, 2.0, walls="insulated")
        perfused = np.ones(corner.shape)
        for _ in range(40):
            solver.set_coefficients(
                np.full(corner.shape, K, dtype=np.float32), (perfusion * perfused).astype(np.float32)
            )
            rise = np.array(solver.solve(source=source, tolerance=1e-4), dtype=np.float64)
            slope = np.linalg.norm(np.stack(np.gradient(rise)), axis=0)
            new = np.clip(0.5 - (rise - 13.0) / np.maximum(slope, 1e-9), 0.0, 1.0)
            change = float(np.abs(new - perfused).max())
            perfused = new
            if change < 2e-3:
                break
        ours = corner.radius_of(rise, 13.0)
        words = "0.0155" if key == "Rc_mm_at_P_W" else "0.0064"
        checks.append(relative(f"radius for {power} W, perfusion {words}/s, mm", expected, ours, 0.03))
    return Outcome(
        checks,
        "The shutdown is iterated to the steady state on cells of 2 mm; in treatments it follows the stasis of "
        "small vessels in time instead.",
    )
