"""Needles that are in the patient already, and exact distances of straight parts to them."""

from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.trajectory.measured import HANDLE_MM


@dataclass(frozen=True, slots=True, eq=False)
class PlacedNeedle:
    """A straight needle that stands in the patient.

    Attributes:
        entry_mm: (3,) where it enters, patient LPS.
        tip_mm: (3,) its tip.
        radius_mm: radius of its shaft.
        outside_mm: length of shaft, hub and handle that stand out of the entry; the handle alone unless stated.
    """

    entry_mm: FloatArray
    tip_mm: FloatArray
    radius_mm: float
    outside_mm: float = HANDLE_MM

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_mm", read_only(self.entry_mm))
        object.__setattr__(self, "tip_mm", read_only(self.tip_mm))
        if self.entry_mm.shape != (3,) or self.tip_mm.shape != (3,):
            raise OptionError("entry and tip of a placed needle must be three numbers each")
        if not (np.isfinite(self.entry_mm).all() and np.isfinite(self.tip_mm).all()):
            raise OptionError("entry and tip of a placed needle must be finite")
        if np.linalg.norm(self.tip_mm - self.entry_mm) < 1e-6:
            raise OptionError("entry and tip of a placed needle must not be the same point")
        if not (0 < self.radius_mm <= 10 and 0 <= self.outside_mm <= 1000):
            raise OptionError(
                f"a placed needle must have a radius above 0 and up to 10 mm and 0 to 1000 mm outside, not "
                f"{self.radius_mm:g} and {self.outside_mm:g} mm"
            )

    @property
    def back_mm(self) -> FloatArray:
        """(3,) its end outside the patient."""
        along = self.tip_mm - self.entry_mm
        return np.asarray(self.entry_mm - self.outside_mm * along / np.linalg.norm(along))


def segment_to_segments_mm(
    first_mm: FloatArray, second_mm: FloatArray, start_mm: FloatArray, end_mm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Exact least distance (n,) of one segment to segments start (n, 3) to end (n, 3), and the share of them there.

    The nearest points are either both within, where the line between them is perpendicular to both segments, or one
    of them is an end (C. Ericson, Real-Time Collision Detection, 2005, section 5.1.9). All five are tried and the
    nearest is taken, so parallel segments and points need no cases of their own.
    """
    one, many = second_mm - first_mm, end_mm - start_mm
    offset = start_mm - first_mm
    a, e, b = float(one @ one), np.einsum("ij,ij->i", many, many), many @ one
    c, f = offset @ one, np.einsum("ij,ij->i", offset, many)
    across = a * e - b * b
    safe = np.where(across > 1e-12 * np.maximum(a * e, 1e-300), across, np.inf)
    # Positions on the many, and of the nearest points to them on the one.
    within = np.clip((b * c - a * f) / safe, 0.0, 1.0)
    to_first = np.clip(-f / np.maximum(e, 1e-300), 0.0, 1.0)
    to_second = np.clip((b - f) / np.maximum(e, 1e-300), 0.0, 1.0)
    shares = np.stack([within, to_first, to_second, np.zeros_like(e), np.ones_like(e)])
    on_one = np.clip((c + shares * b) / max(a, 1e-300), 0.0, 1.0)
    between = offset + shares[:, :, None] * many - on_one[:, :, None] * one
    distance = np.linalg.norm(between, axis=2)
    best = distance.argmin(axis=0)
    rows = np.arange(len(e))
    return distance[best, rows], shares[best, rows]
