"""Closed forms of spheres: margins of a spherical zone about a spherical tumour, lens, coverage and union."""

import math

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.closed_forms.arguments import need_not_negative, need_positive
from needleplan.frames import FloatArray


def margin_range_mm(zone_radius_mm: float, tumour_radius_mm: float, offset_mm: float) -> tuple[float, float]:
    """Least and greatest margin over the tumour's surface, rA - rT - delta and rA - |rT - delta|.

    The margin is the signed distance into the zone, negative where the zone does not reach.
    """
    _check(zone_radius_mm, tumour_radius_mm, offset_mm)
    return (
        zone_radius_mm - tumour_radius_mm - offset_mm,
        zone_radius_mm - abs(tumour_radius_mm - offset_mm),
    )


def mean_margin_mm(zone_radius_mm: float, tumour_radius_mm: float, offset_mm: float) -> float:
    """Mean margin over the tumour's surface, rA - [(rT + d)³ - |rT - d|³] / (6 rT d); rA - rT when concentric.

    The squared distance of a sphere's points from a point is spread evenly between its extremes (Archimedes).
    """
    _check(zone_radius_mm, tumour_radius_mm, offset_mm)
    larger, smaller = max(tumour_radius_mm, offset_mm), min(tumour_radius_mm, offset_mm)
    # The quotient written out for the larger and the smaller of rT and d, which also holds for d of zero.
    return zone_radius_mm - (larger + smaller**2 / (3.0 * larger))


def margin_fraction(
    margin_mm: ArrayLike, zone_radius_mm: float, tumour_radius_mm: float, offset_mm: float
) -> FloatArray:
    """Share of the tumour's surface with at least a margin (any shape).

    [(rA - m)² - (rT - d)²] / (4 rT d) between zero and one; all or nothing when concentric.
    """
    _check(zone_radius_mm, tumour_radius_mm, offset_mm)
    reach = zone_radius_mm - np.asarray(margin_mm, dtype=np.float64)
    if offset_mm == 0.0:
        return np.where(reach >= tumour_radius_mm, 1.0, 0.0)
    share = (reach**2 - (tumour_radius_mm - offset_mm) ** 2) / (4.0 * tumour_radius_mm * offset_mm)
    return np.where(reach <= 0.0, 0.0, np.clip(share, 0.0, 1.0))


def lens_volume_mm3(first_radius_mm: float, second_radius_mm: float, distance_mm: float) -> float:
    """Volume that two balls share.

    pi (r1 + r2 - d)² (d² + 2 d (r1 + r2) - 3 (r1 - r2)²) / (12 d), the smaller ball where it lies in the other,
    nothing where they do not meet.
    """
    need_positive(first_radius_mm=first_radius_mm, second_radius_mm=second_radius_mm)
    need_not_negative(distance_mm=distance_mm)
    total, difference = first_radius_mm + second_radius_mm, abs(first_radius_mm - second_radius_mm)
    if distance_mm >= total:
        return 0.0
    if distance_mm <= difference:
        return _ball_mm3(min(first_radius_mm, second_radius_mm))
    bracket = distance_mm**2 + 2.0 * distance_mm * total - 3.0 * difference**2
    return math.pi * (total - distance_mm) ** 2 * bracket / (12.0 * distance_mm)


def sphere_coverage(zone_radius_mm: float, tumour_radius_mm: float, offset_mm: float) -> float:
    """Share of a spherical tumour's volume that lies in a spherical zone."""
    return lens_volume_mm3(zone_radius_mm, tumour_radius_mm, offset_mm) / _ball_mm3(tumour_radius_mm)


def union_volume_mm3(first_radius_mm: float, second_radius_mm: float, distance_mm: float) -> float:
    """Volume of two balls together."""
    shared = lens_volume_mm3(first_radius_mm, second_radius_mm, distance_mm)
    return _ball_mm3(first_radius_mm) + _ball_mm3(second_radius_mm) - shared


def _ball_mm3(radius_mm: float) -> float:
    return 4.0 / 3.0 * math.pi * radius_mm**3


def _check(zone_radius_mm: float, tumour_radius_mm: float, offset_mm: float) -> None:
    need_positive(zone_radius_mm=zone_radius_mm, tumour_radius_mm=tumour_radius_mm)
    need_not_negative(offset_mm=offset_mm)
