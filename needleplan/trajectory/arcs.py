"""Circular arcs between two points, and chords that replace them within a stated distance."""

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray


def arc_lengths_mm(chord_mm: FloatArray, curvature_per_mm: FloatArray) -> FloatArray:
    """(n,) lengths of arcs with chords (n,) and curvatures (n,): 2 asin(chord k / 2) / k."""
    half = 0.5 * chord_mm * curvature_per_mm
    # asin(x) / x, by its series where the division would lose its digits.
    ratio = np.where(half < 1e-4, 1.0 + half**2 / 6.0, np.arcsin(half) / np.maximum(half, 1e-4))
    return np.asarray(chord_mm * ratio)


def arc_points_mm(
    start_mm: FloatArray, end_mm: FloatArray, curvature_per_mm: FloatArray, share: FloatArray
) -> FloatArray:
    """Points of arcs at shares of their length.

    Args:
        start_mm: (n, 3).
        end_mm: (n, 3).
        curvature_per_mm: (n, 3) perpendicular to the chord, towards the centre, 1 / radius long.
        share: (k,) from 0 (start) to 1 (end).

    Returns:
        (n, k, 3).
    """
    chord = end_mm - start_mm
    length = np.linalg.norm(chord, axis=1)
    size = np.linalg.norm(curvature_per_mm, axis=1)
    half = np.arcsin(np.clip(0.5 * length * size, 0.0, 1.0))  # half the angle of the arc
    angle = half[:, None] * (2.0 * share - 1.0)
    # Along the chord sin(angle) / sin(half), across it (cos(half) - cos(angle)) / size away from the centre;
    # products of sines instead of differences of cosines keep the digits of slight curves.
    bent = size > 1e-12
    safe = np.where(bent, np.sin(half), 1.0)
    along = np.where(bent[:, None], np.sin(angle) / safe[:, None], 2.0 * share - 1.0)
    across = 2.0 * np.sin(0.5 * (angle + half[:, None])) * np.sin(0.5 * (angle - half[:, None]))
    scale = np.where(bent, 1.0 / np.maximum(size, 1e-12) ** 2, 0.0)
    middle = 0.5 * (start_mm + end_mm)
    offset = (across * scale[:, None])[:, :, None] * curvature_per_mm[:, None, :]
    return np.asarray(middle[:, None, :] + 0.5 * along[:, :, None] * chord[:, None, :] + offset)


def arc_directions(
    start_mm: FloatArray, end_mm: FloatArray, curvature_per_mm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Unit tangents (n, 3) of arcs at their start and at their end."""
    n = len(start_mm)
    return (
        arc_directions_at(start_mm, end_mm, curvature_per_mm, np.zeros(n)),
        arc_directions_at(start_mm, end_mm, curvature_per_mm, np.ones(n)),
    )


def arc_directions_at(
    start_mm: FloatArray, end_mm: FloatArray, curvature_per_mm: FloatArray, share: FloatArray
) -> FloatArray:
    """Unit tangents (n, 3) of arcs, each at a share (n,) of its length: they turn evenly towards the centre."""
    chord = end_mm - start_mm
    length = np.linalg.norm(chord, axis=1)
    size = np.linalg.norm(curvature_per_mm, axis=1)
    half = np.arcsin(np.clip(0.5 * length * size, 0.0, 1.0))
    angle = (half * (2.0 * share - 1.0))[:, None]
    towards = curvature_per_mm / np.maximum(size, 1e-300)[:, None]
    return np.asarray(np.cos(angle) * chord / length[:, None] + np.sin(angle) * towards)


def arcs_followed_mm(
    start_mm: FloatArray, end_mm: FloatArray, curvature_per_mm: FloatArray, beyond_mm: FloatArray
) -> FloatArray:
    """Points (n, 3) on the circles of arcs, at lengths (n,) along them beyond their ends, or before if negative."""
    chord = end_mm - start_mm
    size = np.linalg.norm(curvature_per_mm, axis=1)
    sine = 0.5 * size * np.linalg.norm(chord, axis=1)
    forward = arc_directions(start_mm, end_mm, curvature_per_mm)[1]
    # Towards the centre at the end, and as long as the curvature, so that slight curves keep their digits.
    inward = np.sqrt(1.0 - sine**2)[:, None] * curvature_per_mm - (0.5 * size**2)[:, None] * chord
    angle = size * beyond_mm
    # sin(a) / a and (1 - cos(a)) / a^2; numpy's sinc is that of pi x.
    along = beyond_mm * np.sinc(angle / np.pi)
    across = 0.5 * beyond_mm**2 * np.sinc(0.5 * angle / np.pi) ** 2
    return np.asarray(end_mm + along[:, None] * forward + across[:, None] * inward)


def chord_counts(
    chord_mm: FloatArray, curvature_per_mm: FloatArray, tolerance_mm: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """Into how many equal parts arcs must be cut for chords within ``tolerance_mm``, and how near they then are.

    The rise of an arc over its chord is R (1 - cos(a / 2)) <= R a^2 / 8 for a part of angle a.

    Args:
        chord_mm: (n,) lengths of the chords of the whole arcs.
        curvature_per_mm: (n,) their curvatures.
        tolerance_mm: greatest distance allowed.

    Returns:
        (n,) powers of two, so that alike arcs are cut alike, and (n,) bounds of the distance from arc to chords.
    """
    angle = 2.0 * np.arcsin(np.clip(0.5 * chord_mm * curvature_per_mm, 0.0, 1.0))
    rise = np.where(curvature_per_mm > 0, angle**2 / np.maximum(8.0 * curvature_per_mm, 1e-300), 0.0)
    halvings = np.ceil(0.5 * np.log2(np.maximum(rise / tolerance_mm, 1.0)))
    count = (2.0**halvings).astype(np.int64)
    return count, rise / count**2
