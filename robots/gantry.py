"""The scanner's gantry: a ring around the table through which patient, needles and guide must fit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Sides of the polygon by which the ring's circles are replaced: of a bore of 0.8 m it takes 0.12 mm.
SIDES = 128


@dataclass(frozen=True, slots=True)
class Gantry:
    """A ring with a round bore whose axis runs along the table, the world's y.

    Conventional CT scanners have a bore of 0.70 m, wide ones to 0.85 m (Mutic et al., AAPM Task Group 66, Medical
    Physics 2003;30:2762); MR scanners 0.60 or 0.70 m over a longer way. Flared covers are not taken away from the
    ring, so that it is never smaller than the scanner.

    Attributes:
        bore_diameter_m: diameter of the opening.
        depth_m: length of the ring along the table.
        outer_diameter_m: outer diameter.
        centre_along_table_m: where its middle lies along the world's y: 0 over the target, positive to the head.
        centre_height_m: height of its axis above the table's top.
    """

    bore_diameter_m: float = 0.80
    depth_m: float = 0.70
    outer_diameter_m: float = 1.90
    centre_along_table_m: float = 0.0
    centre_height_m: float = 0.12

    def __post_init__(self) -> None:
        limits = {
            "bore_diameter_m": (0.4, 1.5),
            "depth_m": (0.05, 3.0),
            "outer_diameter_m": (self.bore_diameter_m + 0.02, 4.0),
            "centre_along_table_m": (-3.0, 3.0),
            "centre_height_m": (-0.5, 1.0),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"gantry: {name} must lie between {low:g} and {high:g} m, not {value:g}")

    @property
    def bore_radius_m(self) -> float:
        """Radius of the greatest circle within the bore's polygon, which is inscribed in the bore."""
        return 0.5 * self.bore_diameter_m * float(np.cos(np.pi / SIDES))

    @property
    def outer_radius_m(self) -> float:
        """Radius of the outer polygon's corners: it goes around the outer circle."""
        return 0.5 * self.outer_diameter_m / float(np.cos(np.pi / SIDES))

    @property
    def extent_m(self) -> tuple[float, float]:
        """Least and greatest y."""
        return self.centre_along_table_m - 0.5 * self.depth_m, self.centre_along_table_m + 0.5 * self.depth_m

    @property
    def bounds(self) -> FloatArray:
        """(5,) least and greatest radius, least and greatest y, height of the axis: the kernels' quick test."""
        return np.array([self.bore_radius_m, self.outer_radius_m, *self.extent_m, self.centre_height_m])

    def mesh(self) -> tuple[FloatArray, NDArray[np.int32]]:
        """Vertices (n, 3) in world metres and faces (m, 3) of the ring, closed, seen from outside.

        The circles are polygons, inscribed in the bore and around the outer circle: the ring is never too small,
        and by at most ``(1 - cos(pi / SIDES))`` of a radius too thick.
        """
        angle = 2.0 * np.pi * np.arange(SIDES) / SIDES
        circle = np.stack([np.cos(angle), np.zeros(SIDES), np.sin(angle)], axis=1)
        centre = np.array([0.0, 0.0, self.centre_height_m])
        # Corners in four circles: inner and outer, at the least and at the greatest y.
        radii = (0.5 * self.bore_diameter_m, self.outer_radius_m)
        vertices = [centre + [0.0, y, 0.0] + r * circle for y in self.extent_m for r in radii]
        here, then = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
        faces = []
        for first, second in ((0, 1), (1, 3), (3, 2), (2, 0)):
            a, b = here + first * SIDES, then + first * SIDES
            c, d = here + second * SIDES, then + second * SIDES
            faces += [np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)]
        return np.concatenate(vertices), np.concatenate(faces).astype(np.int32)

    def reaches(self, points_m: FloatArray) -> float:
        """Greatest distance of world points (n, 3) from the ring's axis."""
        return float(np.hypot(points_m[:, 0], points_m[:, 2] - self.centre_height_m).max())
