"""The breathing body: a deformation of all tissue that slides along the chest wall, never folds and can be undone.

At a displacement d of the target a point x of the body at rest goes to ``W(S(x))``. S slides what lies within
the chest wall along it: in a chest straightened so that the wall is upright (:class:`ChestWall`) it is an axial
shift ``z + a g(x)``. W is a smooth map of everything, ``x + h(x)``, that carries the wall up and out and the
organs across the axis. On the wall S leaves the wall on itself, so the two sides slide past each other without
gap or overlap. Both g and h are trilinear on grids, so their slopes are bounded by differences of neighbouring
nodes: where ``|a dg/dz| < 1`` and ``|grad h| < 1``, each map is one to one, keeps its orientation, and is undone
by a fixed-point iteration that contracts by that factor. The amplitudes are solved so that the target's centroid
moves by exactly d.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.errors import GeometryError, MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion import deformation_kernels as kernels
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.body_fields import STEP_MM, body_fields
from needleplan.motion.chest_wall import INNER_ROLES, chest_wall, trunk_axes
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.organ_motion import organ_motion

#: A map that might contract by no more than this is refused.
MAXIMUM_CONTRACTION = 0.95
#: An inverse is iterated until a step is so small that what is left is below this.
INVERSE_MM = 1e-6
#: The centroid of the target is where the motion says to within this.
CENTROID_MM = 1e-6

_REGIONS = frozenset({Role.ENTRY_REGION, Role.NO_GO, Role.ALLOWED})


class BodyMotion:
    """How the whole body follows one breathing model.

    Args:
        anatomy: the patient at end-exhale.
        motion: displacement of the target.

    Attributes:
        trunk: the patient's own axes, in which the body is laid out.
        wall: the chest wall along which the organs slide.

    Raises:
        MotionError: the body cannot be laid out, or the target lies where nothing moves.
    """

    def __init__(self, anatomy: Anatomy, motion: RespiratoryMotion) -> None:
        self.anatomy = anatomy
        self.motion = motion
        tissue = TissueMotion(anatomy, motion)
        self.trunk = trunk_axes(anatomy)
        self.wall = chest_wall(anatomy, self.trunk)
        fields = body_fields(anatomy, tissue, self.trunk, self.wall)
        self._held = frozenset(tissue.holders)
        host = None if tissue.target_organ is None else anatomy.surface(tissue.target_organ)
        self._host_ratio = 1.0 if host is None else organ_motion(host.name, host.role).cranial_ratio
        # The kernels read tables of angles that end where they began.
        radius, widest = self.wall.radius_mm, self.wall.widest_mm
        wall = (self.wall.low_mm, self.wall.step_mm, np.vstack([radius, radius[:1]]), np.append(widest, widest[0]))
        self._slide = (fields.axial_low_mm, STEP_MM, fields.axial, *wall)
        self._lift = (fields.low_mm, STEP_MM, fields.smooth)
        self._carry = (fields.axial_low_mm, STEP_MM, fields.axial, fields.low_mm, fields.smooth, *wall)
        axial = _slopes(fields.axial[..., None])
        self._axial_slope = float(axial[..., 2].max())
        self._axial_shear = float(np.linalg.norm(axial, axis=-1).max())
        share, lift = _slopes(fields.smooth[..., :1]), _slopes(fields.smooth[..., 1:])
        self._smooth_slopes = _steepest(np.linalg.norm(share, axis=-1), np.linalg.norm(lift, axis=-1))
        self._straightening = self.wall.stretch_bounds()
        target = anatomy.target.mesh
        self._target = self.trunk.into(target.vertices_mm), np.asarray(target.faces)
        self._target_mm = self._centroid(np.zeros(4))
        # Response of the centroid to each amplitude, from which the solution starts.
        steps = np.column_stack([self.target_way(drive) for drive in 0.5 * np.eye(4)[:3]]) * 2.0
        if not abs(np.linalg.det(steps)) > 1e-3:
            raise MotionError("the target lies where the tissue hardly moves: its motion cannot be carried over")
        self._response = np.linalg.inv(steps)

    def at(self, displacement_mm: ArrayLike, wall_mm: float | None = None) -> "BodyState":
        """The body while the target is displaced from end-exhale.

        Args:
            displacement_mm: (3,) patient LPS.
            wall_mm: way of the liver to inferior that ribs and skin follow, where they are not in phase with the
                target; None takes the target's own.

        Raises:
            MotionError: the displacement is so large that the deformation might fold, or not a number.
        """
        given = np.asarray(displacement_mm, dtype=np.float64)
        if given.shape != (3,) or not np.isfinite(given).all():
            raise MotionError("a displacement of the target must be three finite numbers")
        wanted = given @ self.trunk.axes
        drive = np.zeros(4)
        drive[3] = self.wall_of(given) if wall_mm is None else wall_mm
        if not np.isfinite(drive).all():
            raise MotionError("the way that the wall follows must be a finite number")
        if not (given.any() or drive[3]):
            return BodyState(self, read_only(given), read_only(drive))
        response = self._response.copy()
        before = self.target_way(drive)
        step = response @ (wanted - before)
        for _ in range(30):
            drive[[0, 1, 2]] += step
            self.contraction(drive)
            here = self.target_way(drive)
            left = wanted - here
            if np.abs(left).max() <= CENTROID_MM:
                return BodyState(self, read_only(given), read_only(drive))
            # Broyden's good update of the inverse response.
            turned = response @ (here - before)
            response += np.outer(step - turned, step @ response) / (step @ turned)
            before, step = here, response @ left
        raise MotionError(f"no deformation was found that moves the target by {given.round(2).tolist()} mm")

    def at_time(self, time_s: float) -> "BodyState":
        """The body at a time of the motion."""
        return self.at(self.motion.displacement_mm(time_s))

    def wall_of(self, displacement_mm: ArrayLike) -> float:
        """Way of the liver to inferior that ribs and skin follow where they are in phase with a target at (3,)."""
        return -float(np.asarray(displacement_mm, dtype=np.float64) @ self.trunk.axes[:, 2]) / self._host_ratio

    def target_way(self, drive: FloatArray) -> FloatArray:
        """(3,) way of the target's centroid, in the trunk's axes, at amplitudes ``drive`` (4,)."""
        return self._centroid(drive) - self._target_mm

    def contraction(self, drive: FloatArray) -> tuple[float, float]:
        """Bounds of how much the slide and the smooth map squeeze or shear at amplitudes ``drive`` (4,).

        Below 1 nothing folds. They grow with the size of each amplitude, for the two across the axis with their
        common length.

        Raises:
            MotionError: a bound is above ``MAXIMUM_CONTRACTION``.
        """
        slide = abs(float(drive[0])) * self._axial_slope
        share, lift = self._smooth_slopes
        smooth = float((np.hypot(drive[1], drive[2]) * share + abs(drive[3]) * lift).max())
        if not max(slide, smooth) <= MAXIMUM_CONTRACTION:
            raise MotionError(
                f"the breath is too deep for this body: the deformation is only proven not to fold while tissue is "
                f"squeezed or sheared by at most {MAXIMUM_CONTRACTION:g} mm a mm, and here it may be {slide:.2f} "
                f"along the chest wall and {smooth:.2f} elsewhere; take a smaller amplitude"
            )
        return slide, smooth

    def within_wall(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """(n,) True for rest points (n, 3) within the chest wall, which slide along it."""
        return np.asarray(kernels.within_wall(self.trunk.into(_points(points_mm)), *self._slide[3:6]))

    def slides(self, surface: StructureSurface) -> bool:
        """True where all of a structure slides within the chest wall; ribs, spine and skin do not."""
        return surface.role in INNER_ROLES or surface.name in self._held

    def rests(self, surface: StructureSurface) -> bool:
        """True for a region in space, which is no tissue; one that an organ holds moves with it."""
        return surface.role in _REGIONS and surface.name not in self._held

    def _centroid(self, drive: FloatArray) -> FloatArray:
        vertices, faces = self._target
        moved = kernels.carried(vertices, np.ones(len(vertices), np.bool_), drive, *self._carry)
        return np.asarray(kernels.solid_centroid(moved, faces, moved.mean(axis=0)))


@dataclass(frozen=True, slots=True, eq=False)
class BodyState:
    """The body at one moment of a breath.

    Points on either side of the chest wall move apart along it. Which side a point at rest is on is told by the
    wall; structures lie wholly on one side, so none is torn.

    Attributes:
        body: the body's motion.
        displacement_mm: (3,) displacement of the target's centroid from end-exhale.
        drive: (4,) amplitudes of the tissue along the axis, to the right, to anterior, and of the wall, in mm.
    """

    body: BodyMotion
    displacement_mm: FloatArray
    drive: FloatArray

    @property
    def contraction(self) -> tuple[float, float]:
        """Bounds below 1 by which the two fixed-point iterations of :meth:`back` contract: slide and smooth map."""
        return self.body.contraction(self.drive)

    @property
    def stretch_bounds(self) -> tuple[float, float]:
        """Lipschitz bounds, each side of the wall by itself, of :meth:`carry` and of :meth:`back`.

        Products of the bounds of the factors, so rather wide; for what slides they hold up to 1.2 times the radius
        of the wall.
        """
        slide, smooth = self.contraction
        shear = abs(self.drive[0]) * self.body._axial_shear
        there, back = self.body._straightening
        if shear == 0.0:
            there = back = 1.0
        return there * back * (1.0 + shear) * (1.0 + smooth), there * back * (1.0 + shear / (1.0 - slide)) / (
            1.0 - smooth
        )

    def carry(self, points_mm: ArrayLike, inside: ArrayLike | None = None) -> FloatArray:
        """Places (n, 3) of points (n, 3) of the body at rest.

        Args:
            points_mm: patient LPS.
            inside: whether they slide within the chest wall, one for all or (n,); None asks the wall.
        """
        points = _points(points_mm)
        if not self.drive.any():
            return points.copy()
        trunk = self.body.trunk
        moved = kernels.carried(trunk.into(points), self._sides(points, inside), self.drive, *self.body._carry)
        return trunk.back(moved)

    def back(self, points_mm: ArrayLike, inside: ArrayLike | None = None) -> FloatArray:
        """Points (n, 3) of the body at rest that now lie at points (n, 3): the inverse of :meth:`carry`.

        Each fixed-point iteration stops when what is left, at most ``step c / (1 - c)`` for a contraction c, is
        below ``INVERSE_MM``.
        """
        return self._undone(points_mm, inside)[0]

    def _undone(self, points_mm: ArrayLike, inside: ArrayLike | None) -> tuple[FloatArray, NDArray[np.bool_]]:
        points = _points(points_mm)
        if not self.drive.any():
            return points.copy(), self._sides(points, inside)
        trunk, (slide, smooth) = self.body.trunk, self.contraction
        unlifted = kernels.unlifted(trunk.into(points), self.drive, *_stop(smooth), *self.body._lift)
        # The slide keeps the wall on itself, so the side is the same before and after it.
        sides = self._sides(trunk.back(unlifted), inside)
        rest = kernels.unslid(unlifted, sides, self.drive, *_stop(slide), *self.body._slide)
        return trunk.back(rest), sides

    def mesh(self, surface: StructureSurface) -> SurfaceMesh:
        """The surface of a structure as it lies now; regions in space that no organ holds do not move."""
        return self.moved(surface, surface.mesh)

    def moved(self, surface: StructureSurface, mesh: SurfaceMesh) -> SurfaceMesh:
        """Any mesh of a structure, a simplified one for instance, as it lies now."""
        if self.body.rests(surface) or not self.drive.any():
            return mesh
        return SurfaceMesh(self.carry(mesh.vertices_mm, self.body.slides(surface)), mesh.faces)

    def signed_distance(
        self, surface: StructureSurface, points_mm: ArrayLike, distance: SurfaceDistance | None = None
    ) -> FloatArray:
        """(n,) distance of the rest image of points (n, 3) to a structure at rest, positive outside.

        The sign is that of the deformed structure. The distance is one at rest: :meth:`distance_bounds` says
        between what that of the deformed structure lies.

        Args:
            surface: the structure.
            points_mm: (n, 3) points in the deformed body.
            distance: its distances at rest, where they have been prepared.
        """
        at_rest = distance or SurfaceDistance(surface.mesh)
        if self.body.rests(surface):
            return at_rest.signed_distance_mm(_points(points_mm))
        return at_rest.signed_distance_mm(self.back(points_mm, self.body.slides(surface)))

    def distance_bounds(self, distance_mm: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Least and greatest absolute distance in the deformed body for distances (n,) at rest."""
        size = np.abs(np.asarray(distance_mm, dtype=np.float64))
        there, back = self.stretch_bounds
        return size / back, size * there

    def jacobian(self, points_mm: ArrayLike, inside: ArrayLike | None = None) -> FloatArray:
        """(n, 3, 3) Jacobian of :meth:`carry` at rest points (n, 3), each on its own side of the wall.

        Central differences over 0.02 mm; on the faces between the cells of the fields, where the slope jumps, a
        mean.
        """
        points = _points(points_mm)
        sides = self._sides(points, inside)
        columns = [
            (self.carry(points + 0.01 * axis, sides) - self.carry(points - 0.01 * axis, sides)) / 0.02
            for axis in np.eye(3)
        ]
        return np.stack(columns, axis=-1)

    def needle_at_rest(
        self, entry_mm: ArrayLike, tip_mm: ArrayLike, step_mm: float = 1.0
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """A straight needle in the deformed body as a polyline in the body at rest.

        Returns:
            Points (n, 3) at most ``step_mm`` apart along the needle, from entry to tip, and (n,) whether each
            lies within the chest wall; where that changes the tissue has slid and the polyline jumps.

        Raises:
            GeometryError: the step is not above zero or the needle has no length.
        """
        ends = _points(np.stack([np.asarray(entry_mm), np.asarray(tip_mm)]))
        length = float(np.linalg.norm(ends[1] - ends[0]))
        if not (step_mm > 0.0 and length > 0.0):
            raise GeometryError(f"a needle of {length:g} mm in steps of {step_mm:g} mm has no points")
        share = np.linspace(0.0, 1.0, int(np.ceil(length / step_mm)) + 1)[:, None]
        return self._undone(ends[0] + share * (ends[1] - ends[0]), None)

    def _sides(self, points: FloatArray, inside: ArrayLike | None) -> NDArray[np.bool_]:
        if inside is None:
            return self.body.within_wall(points)
        return np.ascontiguousarray(np.broadcast_to(np.asarray(inside, dtype=np.bool_), (len(points),)))


def _points(points_mm: ArrayLike) -> FloatArray:
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise GeometryError("points of a body must be finite and of shape (n, 3)")
    return points


def _stop(contraction: float) -> tuple[float, int]:
    """Step at which an iteration may stop, and how many it can need from 1 m away."""
    factor = max(contraction, 1e-3)
    # A step is seen along the axes, the contraction is of its length.
    tolerance = min(INVERSE_MM, INVERSE_MM * (1.0 - factor) / factor) / np.sqrt(3.0)
    return tolerance, int(np.ceil(np.log(tolerance / 1000.0) / np.log(factor))) + 2


def _slopes(field: NDArray[np.float32]) -> FloatArray:
    """(i, j, k, 3) bound, in each cell and along each axis, of the slope of trilinear channels (i, j, k, c).

    The derivative along an axis is a convex mix of the differences along the four edges of the cell.
    """
    bounds = []
    exact = field.astype(np.float64)
    for axis in range(3):
        edge = np.linalg.norm(np.diff(exact, axis=axis), axis=-1) / STEP_MM
        for other in range(3):
            if other != axis:
                size = edge.shape[other]
                edge = np.maximum(edge.take(range(size - 1), other), edge.take(range(1, size), other))
        bounds.append(edge)
    return np.stack(bounds, axis=-1)


def _steepest(share: FloatArray, lift: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The pairs of two slopes that no other pair exceeds in both.

    ``a share + b lift``, with a and b of zero or more, is greatest in one of them.
    """
    order = np.argsort(-share, axis=None, kind="stable")
    best = np.maximum.accumulate(lift.ravel()[order])
    kept = order[best > np.append(-np.inf, best[:-1])]
    return share.ravel()[kept], lift.ravel()[kept]
