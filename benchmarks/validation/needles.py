"""Cases E04 to E06: pairs of thin needles on coarse grids, with and without the correction of their radius."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.closed_forms.electric import voxel_line_radius_m
from needleplan.ablation.closed_forms.needle_pair import NeedlePair
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import Contact
from validation.case import Check, Outcome, absolute, between, case, references, relative
from validation.media import LAYERS, FloatArray, needle_section

SIGMA = 0.1


@cache
def pair_field(
    distance_mm: float, radius_mm: float, spacing_mm: float = 1.0, corrected: bool = True, half_mm: float = 150.0
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """A pair of endless needles with 1 V between them.

    Returns:
        Conductance per length over the conductivity, x and y of the cells (mm), and the field (1/m).
    """
    n = 2 * round(half_mm / spacing_mm) + 1
    middle = 0.5 * (n - 1) * spacing_mm
    # The first needle on a cell's centre; the second wherever that leaves it.
    shift = (middle - 0.5 * distance_mm) % spacing_mm
    left = middle - 0.5 * distance_mm - shift
    held, part, contact = needle_section(
        (n, n), spacing_mm, [(left, middle), (left + distance_mm, middle)], radius_mm
    )
    if not corrected:
        contact = Contact(contact.cells, contact.held, np.ones(len(contact.factors)))
    solver = DiffusionSolver((n, n, LAYERS), spacing_mm, walls="insulated", held=held, contact=contact)
    solver.set_coefficients(np.full((n, n, LAYERS), SIGMA, dtype=np.float32))
    solver.solve(np.where(part == 0, 0.5, -0.5))
    conductance = solver.current(part == 0) / (LAYERS * 1e-3 * spacing_mm) / SIGMA
    field = solver.field_per_m()[:, :, 1].astype(np.float64)
    metal = np.zeros((n, n), dtype=np.bool_)
    metal[held[:, 0], held[:, 1]] = True
    field[metal] = np.nan
    x = np.arange(n) * spacing_mm - left - 0.5 * distance_mm
    y = np.arange(n) * spacing_mm - middle
    return float(conductance), x, y, field


def interpolated(x: FloatArray, y: FloatArray, field: FloatArray, at_x: float, at_y: float) -> float:
    """Cubic interpolation of a field in a plane."""
    from scipy.interpolate import RectBivariateSpline

    i, j = int(np.searchsorted(x, at_x)), int(np.searchsorted(y, at_y))
    a, b = slice(i - 4, i + 4), slice(j - 4, j + 4)
    return float(
        RectBivariateSpline(x[a], y[b], np.nan_to_num(field[a, b], nan=np.nanmax(field)))(at_x, at_y)[0, 0]
    )


@case("E04")
def needle_pair() -> Outcome:
    """Conductance and field of needles of 1 mm, 15 mm apart, at 2250 V on cells of 0.5 mm."""
    expected = references()["E04"].expected
    conductance, x, y, field = pair_field(15.0, 0.5, 0.5, half_mm=90.0)
    scale = 2250.0 * 0.01
    checks = [relative("conductance, S/m", expected["G_per_m"], conductance * SIGMA, 0.03)]
    checks.append(
        relative("field midway, V/cm", expected["E_mid_V_cm"], scale * interpolated(x, y, field, 0.0, 0.0), 0.02)
    )
    for place, value in expected["points_V_cm"].items():
        at_x, at_y = (float(v) for v in place.removesuffix("mm").split(","))
        ours = scale * interpolated(x, y, field, at_x, at_y)
        checks.append(relative(f"field at ({place}), V/cm", value, ours, 0.02))
    plain, *_ = pair_field(15.0, 0.5, corrected=False, half_mm=75.0)
    checks.append(
        between(
            "conductance without the correction over the true one (must miss)",
            plain * SIGMA / expected["G_per_m"],
            0.0,
            0.9,
        )
    )
    row = int(np.argmin(np.abs(y)))
    kept = (np.abs(x) < 25.0) & np.isfinite(field[:, row]) & (np.abs(np.abs(x) - 7.5) > 1.2)
    closed = NeedlePair(0.015, 0.5e-3, 2250.0).field_v_m(1e-3 * x[kept], 1e-3 * y[row])
    return Outcome(
        checks,
        "Cells of 0.5 mm, and of 1 mm in the last row, in a box of 180 mm: its insulated walls tell on the field "
        "outside the pair.",
        {"field of a needle pair": (x[kept], 0.01 * closed, scale * field[kept, row])},
    )


def oval_size(x: FloatArray, y: FloatArray, field: NDArray[Any], threshold: float) -> tuple[float, float, float]:
    """Width along the needles' line, depth across it, and area of the field's zone (mm, mm2)."""
    from matplotlib.figure import Figure

    filled = np.nan_to_num(field, nan=np.nanmax(field))
    contour = Figure().subplots().contour(x, y, filled.T, levels=[threshold])
    paths = [path for path in contour.get_paths()[0].to_polygons() if len(path) > 3]
    points = np.concatenate(paths)
    area = sum(0.5 * abs(float(np.dot(p[:-1, 0], p[1:, 1]) - np.dot(p[:-1, 1], p[1:, 0]))) for p in paths)
    return float(np.ptp(points[:, 0])), float(np.ptp(points[:, 1])), area


@case("E05", long=True)
def cassini_ovals() -> Outcome:
    """The zone of a pair at constant conductivity, from the solver's field on cells of 0.5 mm."""
    checks: list[Check] = []
    for arrangement, rows in references()["E05"].expected.items():
        distance, voltage = (float(v.rstrip("mV")) for v in arrangement.split("_"))
        _, x, y, field = pair_field(distance, 0.5, 0.5, half_mm=90.0)
        near_x, near_y = np.abs(x) < 40.0, np.abs(y) < 30.0
        near = voltage * 0.01 * field[np.ix_(near_x, near_y)]
        for threshold, row in rows.items():
            width, depth, area = oval_size(x[near_x], y[near_y], near, float(threshold))
            words = f"{distance:g} mm, {voltage:g} V, {threshold} V/cm"
            checks.append(absolute(f"width, mm ({words})", row["width_mm"], width, 1.0, "mm"))
            checks.append(absolute(f"depth, mm ({words})", row["depth_mm"], depth, 1.0, "mm"))
            checks.append(relative(f"area, mm2 ({words})", row["area_mm2"], area, 0.03))
    return Outcome(checks, "Cells of 0.5 mm; at 1 mm the areas of the smallest ovals are 3.3 % too small.")


@case("E06")
def peaceman() -> Outcome:
    """Conductance of pairs 16 mm apart for three radii, corrected and not."""
    expected = references()["E06"].expected
    checks = [
        relative(
            "radius of a one-voxel line over the voxel", expected["a_eff_over_h"], voxel_line_radius_m(1.0), 1e-5
        )
    ]
    for radius in (0.35, 0.5, 0.75):
        exact = expected[f"a{radius:.2f}mm"]["G_exact"]
        ours, *_ = pair_field(16.0, radius, half_mm=90.0)
        checks.append(relative(f"conductance over conductivity, radius {radius:g} mm", exact, ours, 0.03))
    # Not on the needles' own cells but on one column: what every radius gives without the correction.
    plain, *_ = pair_field(16.0, 0.35, corrected=False, half_mm=90.0)
    checks.append(relative("the same of a bare column of cells", expected["a0.50mm"]["G_uncorrected"], plain, 0.03))
    return Outcome(checks)
