"""The largest spheroid of revolution about a needle that lies inside a zone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray, unit_vector

#: Elongations (axial over radial semi-axis) that are tried, evenly in their logarithm, and again about the best.
_LEAST_ELONGATION, _GREATEST_ELONGATION, _ELONGATIONS = 0.25, 10.0, 161
#: Passes about the best elongation, each four times finer.
_PASSES = 3
#: Rounding that is given away, as a share of the semi-axes.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class InscribedSpheroid:
    """A spheroid of revolution about a needle, inside a zone.

    Attributes:
        axial_mm: semi-axis along the needle.
        radial_mm: semi-axis across it.
        tip_to_centre_mm: distance from the tip back to its centre.
    """

    axial_mm: float
    radial_mm: float
    tip_to_centre_mm: float

    @property
    def volume_ml(self) -> float:
        """4/3 pi a b²."""
        return 4.0 / 3.0 * float(np.pi) * self.axial_mm * self.radial_mm**2 / 1000.0

    def holds(self, other: "InscribedSpheroid") -> bool:
        """Whether another one about the same centre lies inside this one."""
        slack = 1.0 + _ROUNDING
        return self.axial_mm * slack >= other.axial_mm and self.radial_mm * slack >= other.radial_mm


class NeedleProfile:
    """The surface of a zone as seen from a needle: what spheroids about the needle must not reach.

    A spheroid with the semi-axes a = k b and b about a centre inside the zone lies inside it where no point of the
    surface, shrunk k times along the needle, is nearer to the centre than b. So for each elongation k the largest
    spheroid is known at once, and only k has to be sought.

    Args:
        zone: with a surface; distances of points to it are understood to be as uncertain as its margins.
        tip_mm: (3,) tip of the needle, patient LPS.
        direction: (3,) along the needle, from entry to tip.

    Raises:
        PhysicsError: nothing is destroyed.
        FrameError: the direction is no direction.
    """

    def __init__(self, zone: LethalZone, tip_mm: ArrayLike, direction: ArrayLike) -> None:
        meshes = zone.surfaces()
        if not meshes:
            raise PhysicsError("no spheroid fits into a zone in which nothing is destroyed")
        self._zone = zone
        self._tip_mm = np.asarray(tip_mm, dtype=np.float64)
        self._axis = unit_vector(direction)
        #: What lies between the triangles and the true surface.
        self._error_mm = zone.margin_error_mm
        self._along, self._across = self._split(np.concatenate([mesh.vertices_mm for mesh in meshes]))
        self._triangles = np.concatenate([_triangles(mesh) for mesh in meshes])

    @property
    def span_mm(self) -> tuple[float, float]:
        """Least and greatest distance from the tip back to a point of the surface; ahead of the tip is negative."""
        return -float(self._along.max()), -float(self._along.min())

    def estimate(self, tip_to_centre_mm: float) -> InscribedSpheroid | None:
        """The largest spheroid by the corners of the surface alone, which is quick; None at a centre outside."""
        if not self._holds_centre(tip_to_centre_mm):
            return None
        elongations = np.geomspace(_LEAST_ELONGATION, _GREATEST_ELONGATION, _ELONGATIONS)
        radial = self._radial_mm(tip_to_centre_mm, elongations)
        best = int(np.argmax(elongations * radial**3))
        return InscribedSpheroid(float(elongations[best] * radial[best]), float(radial[best]), tip_to_centre_mm)

    def largest(self, tip_to_centre_mm: float, at_least: InscribedSpheroid | None = None) -> InscribedSpheroid:
        """The largest spheroid about a centre, measured to the triangles of the surface themselves.

        Args:
            tip_to_centre_mm: distance from the tip back to the centre.
            at_least: a spheroid about the same centre that it must hold, if the zone holds that one.

        Raises:
            PhysicsError: the centre lies outside the zone or too near to its surface.
        """
        guess = self.estimate(tip_to_centre_mm)
        if guess is None:
            raise PhysicsError(
                f"no spheroid about a centre {tip_to_centre_mm:g} mm behind the tip fits: the centre lies outside "
                "the zone"
            )
        elongations = self._finer(guess)
        if at_least is not None:
            coarse = np.geomspace(_LEAST_ELONGATION, _GREATEST_ELONGATION, _ELONGATIONS)
            elongations = np.concatenate([elongations, coarse, [at_least.axial_mm / at_least.radial_mm]])
        radial = self._radial_mm(tip_to_centre_mm, elongations)
        order = np.argsort(-elongations * radial**3, kind="stable").tolist()
        if at_least is not None:
            for k in order:
                # The corners bound from above what the triangles allow.
                bound = InscribedSpheroid(float(elongations[k] * radial[k]), float(radial[k]), tip_to_centre_mm)
                if bound.holds(at_least):
                    found = self._fitted(tip_to_centre_mm, float(elongations[k]))
                    if found.holds(at_least):
                        return found
        return self._fitted(tip_to_centre_mm, float(elongations[order[0]]))

    def _finer(self, guess: InscribedSpheroid) -> FloatArray:
        """Elongations about the best one of an estimate, each pass closer together."""
        best = guess.axial_mm / guess.radial_mm
        step = (_GREATEST_ELONGATION / _LEAST_ELONGATION) ** (1.0 / (_ELONGATIONS - 1))
        for _ in range(_PASSES):
            tried = np.geomspace(best / step, best * step, 9)
            best = float(tried[int(np.argmax(tried * self._radial_mm(guess.tip_to_centre_mm, tried) ** 3))])
            step **= 0.25
        return tried

    def _fitted(self, tip_to_centre_mm: float, elongation: float) -> InscribedSpheroid:
        """The largest spheroid of an elongation, what is uncertain of the surface taken off."""
        shrunk = self._triangles - (self._tip_mm - tip_to_centre_mm * self._axis)
        along = shrunk @ self._axis
        shrunk = shrunk - (along * (1.0 - 1.0 / elongation))[..., None] * self._axis
        radial = least_distance_to_origin(shrunk) * (1.0 - _ROUNDING)
        # Scaled about its centre by s a convex body keeps (1 - s) times its least support from where it was.
        least = radial * min(1.0, elongation)
        if least <= self._error_mm:
            raise PhysicsError(
                f"no spheroid about a centre {tip_to_centre_mm:g} mm behind the tip fits: the zone reaches no "
                f"further than {least:.2f} mm from it"
            )
        radial *= 1.0 - self._error_mm / least
        return InscribedSpheroid(elongation * radial, radial, tip_to_centre_mm)

    def _radial_mm(self, tip_to_centre_mm: float, elongations: FloatArray) -> FloatArray:
        """(k,) radial semi-axis of the largest spheroid of each elongation, by the corners of the surface."""
        along, across = (self._along + tip_to_centre_mm) ** 2, self._across**2
        return np.array([np.sqrt((along / k**2 + across).min()) for k in elongations])

    def _holds_centre(self, tip_to_centre_mm: float) -> bool:
        return bool(self._zone.contains((self._tip_mm - tip_to_centre_mm * self._axis)[None])[0])

    def _split(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Places (n,) along the needle from the tip forward, and distances (n,) from its axis."""
        offset = points_mm - self._tip_mm
        along = offset @ self._axis
        return along, np.linalg.norm(offset - along[:, None] * self._axis, axis=1)


def least_distance_to_origin(triangles: FloatArray) -> float:
    """Least distance of the origin to triangles (n, 3 corners, 3), degenerate ones among them."""
    least = float(np.linalg.norm(triangles, axis=2).min())
    for k in range(3):
        start = triangles[:, k]
        edge = triangles[:, (k + 1) % 3] - start
        length = np.maximum((edge * edge).sum(axis=1), np.finfo(np.float64).tiny)
        share = np.clip(-(start * edge).sum(axis=1) / length, 0.0, 1.0)
        least = min(least, float(np.linalg.norm(start + share[:, None] * edge, axis=1).min()))
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    normal = np.cross(b - a, c - a)
    square = (normal * normal).sum(axis=1)
    # The foot on the plane counts where it lies on the inner side of all three edges.
    foot = normal * ((a * normal).sum(axis=1) / np.maximum(square, np.finfo(np.float64).tiny))[:, None]
    sides = [(np.cross(q - p, foot - p) * normal).sum(axis=1) >= 0 for p, q in ((a, b), (b, c), (c, a))]
    within = sides[0] & sides[1] & sides[2] & (square > 0)
    return min(least, float(np.linalg.norm(foot[within], axis=1).min(initial=np.inf)))


def _triangles(mesh: SurfaceMesh) -> FloatArray:
    return np.asarray(mesh.vertices_mm[mesh.faces])
