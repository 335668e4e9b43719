"""Cases M01 and M02: margins and coverage of spheres, through zones cut from fields on voxels."""

import numpy as np

from needleplan.ablation.field_zone import FieldZone
from needleplan.grid import Grid, ScalarField
from validation.case import Outcome, absolute, case, references, relative


def ball_zone(
    radius_mm: float, centres_mm: tuple[tuple[float, float, float], ...], spacing_mm: float
) -> tuple[FieldZone, Grid]:
    """The union of balls as a signed field on a grid that no centre lies on."""
    n = round(80.0 / spacing_mm)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -40.0 + np.array([0.13, 0.29, 0.41]) * spacing_mm
    grid = Grid((n, n, n), affine)
    points = grid.centres_mm()
    depth = radius_mm - np.min([np.linalg.norm(points - c, axis=1) for c in centres_mm], axis=0)
    return FieldZone(ScalarField(grid, depth.reshape(grid.shape).astype(np.float32))), grid


def sphere_points(count: int) -> np.ndarray:
    """Points spread evenly over a unit sphere (a spiral)."""
    k = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * k / count), np.pi * (1.0 + 5.0**0.5) * k
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


@case("M01")
def offset_spheres() -> Outcome:
    """Margins of a tumour of 10 mm in a zone of 17 mm, 4 mm off."""
    expected, checks = references()["M01"].expected, []
    zone, _ = ball_zone(17.0, ((0.0, 0.0, 0.0),), 1.0)
    # The tumour lies off along an oblique direction.
    offset = 4.0 * np.array([0.48, -0.6, 0.64])
    margins = zone.margin_mm(offset + 10.0 * sphere_points(4000))
    checks.append(absolute("least margin, mm", expected["MAM_mm"], float(margins.min()), 0.6, "mm"))
    checks.append(absolute("greatest margin, mm", expected["max_mm"], float(margins.max()), 0.6, "mm"))
    checks.append(absolute("mean margin, mm", expected["mean_mm"], float(margins.mean()), 0.6, "mm"))
    for level, share in expected["fraction_ge"].items():
        # At the least margin itself the share is a step.
        at = float(level) - (0.1 if share == 1.0 else 0.0)
        checks.append(
            absolute(f"share of the surface with at least {level} mm", share, float((margins >= at).mean()), 0.03)
        )
    return Outcome(checks, "Zone on voxels of 1 mm; the tumour's surface as 4000 points. Tolerance 0.6 voxels.")


@case("M02")
def coverage() -> Outcome:
    """Coverage and volume of a union."""
    expected = references()["M02"].expected
    zone, grid = ball_zone(12.0, ((0.0, 0.0, 0.0),), 1.0)
    points = grid.centres_mm()
    centre = 5.0 * np.array([0.48, -0.6, 0.64])
    tumour = points[np.linalg.norm(points - centre, axis=1) <= 10.0]
    union, _ = ball_zone(15.0, ((-10.0, 0.0, 0.0), (10.0, 0.0, 0.0)), 1.0)
    return Outcome(
        [
            relative(
                "share of a tumour of 10 mm covered",
                expected["coverage_rT10_rA12_d5"],
                float(zone.contains(tumour).mean()),
                0.01,
            ),
            relative("volume of two balls, ml", 1e-3 * expected["union_2xr15_d20_mm3"], union.volume_ml, 0.01),
        ]
    )
