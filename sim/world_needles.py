"""Needles that were left in the patient, as obstacles for the arm: chains of capsules. Metres in the world."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.viz.palette import needle_color, rgb
from sim.bullet import Bullet

#: Radius of a needle where none is given: a probe of 14 gauge.
NEEDLE_RADIUS_M = 0.00105
#: A bent needle is laid into so many straight pieces. An arc that bends by 10 mm over 150 mm leaves them by 0.3 mm.
PIECES = 6
#: A piece that grew or shrank by more than this is made anew.
SAME_LENGTH_M = 0.0005
#: No piece is shorter than this.
SHORTEST_PIECE_M = 1e-4


class LeftNeedle:
    """One needle that stays in the patient.

    Attributes:
        name: what it is called in a list of touches.
        bodies: numbers of its pieces in PyBullet.
    """

    def __init__(self, bullet: Bullet, order: int, polyline_m: FloatArray, radius_m: float) -> None:
        """Lay it along ``polyline_m`` (k, 3).

        Raises:
            GeometryError: it is too short or folded, or the radius is impossible.
        """
        self.name = f"needle {order}"
        if not 1e-4 <= radius_m <= 0.05:
            raise GeometryError(f"{self.name}: its radius must lie between 0.0001 and 0.05 m, not {radius_m:g}")
        self._bullet, self._radius_m = bullet, radius_m
        self._color = np.append(rgb(needle_color(order)), 1.0)
        self._lengths = np.zeros(PIECES)
        self.bodies: list[int] = []
        self.move(polyline_m)

    def move(self, polyline_m: FloatArray) -> None:
        """Lay it along another polyline (k, 3)."""
        points = self._corners(polyline_m)
        pieces = np.diff(points, axis=0)
        lengths = np.linalg.norm(pieces, axis=1)
        if np.abs(lengths - self._lengths).max() > SAME_LENGTH_M:
            self.remove()
            self._lengths = lengths
            self.bodies = [
                self._bullet.capsule(self.name, float(length), self._radius_m, self._color) for length in lengths
            ]
        middles = points[:-1] + 0.5 * pieces
        for body, middle, quaternion in zip(self.bodies, middles, _upright(pieces / lengths[:, None]), strict=True):
            self._bullet.place(body, middle, quaternion)

    def remove(self) -> None:
        """Take it out of the world."""
        for body in self.bodies:
            self._bullet.p.removeBody(body, physicsClientId=self._bullet.client)
        self.bodies = []

    def _corners(self, polyline_m: FloatArray) -> FloatArray:
        """(``PIECES`` + 1, 3) points at even lengths along a polyline (k, 3)."""
        along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(polyline_m, axis=0), axis=1)))
        places = np.linspace(0.0, along[-1], PIECES + 1)
        corners = np.stack([np.interp(places, along, polyline_m[:, axis]) for axis in range(3)], axis=1)
        shortest = float(np.linalg.norm(np.diff(corners, axis=0), axis=1).min())
        if not shortest > SHORTEST_PIECE_M:
            raise GeometryError(f"{self.name}: one of {along[-1] * 1e3:g} mm is too short, or it is folded")
        return corners


def polyline_of(order: int, points: ArrayLike) -> FloatArray:
    """The points (k, 3) of a needle; raises GeometryError where they are fewer than two or not finite."""
    polyline = np.asarray(points, dtype=np.float64)
    if polyline.ndim != 2 or polyline.shape[1] != 3 or len(polyline) < 2 or not np.isfinite(polyline).all():
        raise GeometryError(
            f"needle {order}: its axis must be two or more finite points (k, 3), not of the shape {polyline.shape}"
        )
    return polyline


def _upright(directions: FloatArray) -> FloatArray:
    """(n, 4) quaternions x, y, z, w that turn z along directions (n, 3), or against: a capsule has like ends."""
    x, y, z = np.where(directions[:, 2] < 0.0, -1.0, 1.0) * directions.T
    turned = np.stack([-y, x, np.zeros_like(z), 1.0 + z], axis=1)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)
