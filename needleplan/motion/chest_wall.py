"""The inner surface of the chest wall, along which the organs slide: a radius about the axis of the trunk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import Anatomy
from needleplan.case.model import Role
from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.lujan import anterior_direction

#: Angles and spacing of heights at which the radius is known.
_TURNS, _HEIGHT_STEP_MM = 48, 10.0
#: Thickness of a wall in which no rib is known, an assumption, and the gap kept from ribs and from organs.
_WALL_MM, _GAP_MM = 20.0, 2.0
#: Vertices this near, along the wall, tell its radius at a node of the table.
_RIB_REACH_MM, _ORGAN_REACH_MM = 20.0, 12.0
#: The wall keeps at least this share of its greatest radius at that angle.
_LEAST_SHARE = 0.55
#: Greatest slope of the wall along the axis, and around it in mm a radian: steeper, segmentations end or are wrong.
_STEEPEST, _STEEPEST_TURN_MM = 0.25, 50.0
#: Half width of the region about the middle of the back in which bone counts as spine, an assumption.
_SPINE_HALF_WIDTH_MM = 35.0

#: Roles of what lies within the chest wall and slides along it.
INNER_ROLES = frozenset({Role.TARGET, Role.ORGAN, Role.CRITICAL, Role.BOWEL, Role.LUNG, Role.VESSEL, Role.AIRWAY})


@dataclass(frozen=True, slots=True, eq=False)
class TrunkAxes:
    """The patient's own coordinates: to the right, to anterior, to cranial, from the middle of the trunk.

    Attributes:
        axes: (3, 3) orthonormal columns in patient LPS.
        origin_mm: (3,) middle of the entry surface's box.
    """

    axes: FloatArray
    origin_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", read_only(self.axes))
        object.__setattr__(self, "origin_mm", read_only(self.origin_mm))

    def into(self, points_mm: FloatArray) -> FloatArray:
        """(n, 3) trunk coordinates of patient points (n, 3)."""
        return np.ascontiguousarray((points_mm - self.origin_mm) @ self.axes)

    def back(self, points_mm: FloatArray) -> FloatArray:
        """(n, 3) patient points of trunk coordinates (n, 3)."""
        # BLAS takes fifty times as long for a tall product with a transposed view.
        return np.asarray(points_mm @ np.ascontiguousarray(self.axes.T) + self.origin_mm)


def trunk_axes(anatomy: Anatomy) -> TrunkAxes:
    """The patient's own axes, for any position on the table and any rigid move of the case."""
    anterior = anterior_direction(anatomy.case)
    cranial = np.asarray(anatomy.case.cranial) - (np.asarray(anatomy.case.cranial) @ anterior) * anterior
    length = float(np.linalg.norm(cranial))
    if length < 1e-6:
        raise MotionError("the cranial axis of the case runs along its anterior axis: no trunk can be laid out")
    cranial = cranial / length
    axes = np.stack([np.cross(anterior, cranial), anterior, cranial], axis=1)
    along = anatomy.entry.mesh.vertices_mm @ axes
    return TrunkAxes(axes, axes @ (0.5 * (along.min(axis=0) + along.max(axis=0))))


def is_spine(points_mm: FloatArray) -> NDArray[np.bool_]:
    """(n,) True where bone at trunk coordinates (n, 3) counts as spine: near the middle of the back half."""
    return np.asarray((np.abs(points_mm[:, 0]) < _SPINE_HALF_WIDTH_MM) & (points_mm[:, 1] < 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class ChestWall:
    """Inner surface of the chest wall about the cranial axis, in trunk coordinates.

    The chest is straightened by ``s = r + (W - R) (r / R)^2`` with ``R`` the wall's radius at an angle and
    height and ``W`` its greatest radius at that angle: one to one, nearly the identity near the axis, and the
    wall becomes upright, so that an axial shift there keeps every point on its side and the wall on itself.

    Attributes:
        low_mm: height of the first row.
        step_mm: spacing of the rows.
        radius_mm: (turns, heights) R; the first angle points to the patient's right, the next towards anterior.
        widest_mm: (turns,) W.
    """

    low_mm: float
    step_mm: float
    radius_mm: FloatArray
    widest_mm: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius_mm", read_only(self.radius_mm))
        object.__setattr__(self, "widest_mm", read_only(self.widest_mm))

    def stretch_bounds(self, within: float = 1.2) -> tuple[float, float]:
        """Lipschitz bounds of the straightening and of its inverse for ``r / R`` up to ``within``.

        The Jacobian in (radial, angular, axial) directions is upper triangular; a matrix of bounds of its entries
        has no smaller norm.
        """
        radius, widest = self.radius_mm, self.widest_mm[:, None]
        turn = 2.0 * np.pi / len(radius)
        least = np.minimum(radius, np.roll(radius, -1, axis=0))
        least = np.minimum(least[:, :-1], least[:, 1:])
        wide = np.maximum(widest, np.roll(widest, -1, axis=0))
        bend = 1.0 + 2.0 * (wide - least) / least  # 1 + 2 c
        turn_wide = np.abs(np.roll(widest, -1, axis=0) - widest) / turn
        turn_radius = np.abs(np.roll(radius, -1, axis=0) - radius) / turn
        turn_radius = np.maximum(turn_radius[:, :-1], turn_radius[:, 1:])
        slope = np.abs(np.diff(radius, axis=1)) / self.step_mm
        slope = np.maximum(slope, np.roll(slope, -1, axis=0))
        radial = 1.0 + (bend - 1.0) * within
        across = within / least * (turn_wide + turn_radius * bend)
        along = slope * within**2 * bend
        hoop = 1.0 + 0.5 * (bend - 1.0) * within
        forward = inverse = 1.0
        # Of the inverse the diagonal is at most 1, because W is at least R.
        for a, b, c, h in zip(radial.ravel(), across.ravel(), along.ravel(), hoop.ravel(), strict=True):
            there = np.array([[a, b, c], [0.0, h, 0.0], [0.0, 0.0, 1.0]])
            back = np.array([[1.0, b, c], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
            forward = max(forward, float(np.linalg.norm(there, 2)))
            inverse = max(inverse, float(np.linalg.norm(back, 2)))
        return forward, inverse


def chest_wall(anatomy: Anatomy, trunk: TrunkAxes) -> ChestWall:
    """The wall between the organs and the ribs: within the ribs, around the organs, and below the skin.

    Where segmented organs and ribs contradict each other the organs win: ribs never slide, whatever the table
    says.
    """
    from scipy.ndimage import gaussian_filter

    skin = trunk.into(anatomy.entry.mesh.vertices_mm)
    low, high = float(skin[:, 2].min()), float(skin[:, 2].max())
    heights = np.arange(low - _HEIGHT_STEP_MM, high + 2.0 * _HEIGHT_STEP_MM, _HEIGHT_STEP_MM)
    bones = [trunk.into(s.mesh.vertices_mm) for s in anatomy.with_role(Role.BONE)]
    ribs = np.concatenate([*(points[~is_spine(points)] for points in bones), np.zeros((0, 3))])
    organs = np.concatenate([trunk.into(s.mesh.vertices_mm) for s in anatomy.with_role(*INNER_ROLES)])
    outer = -_least(-1.0, skin, heights, np.inf, 12)
    rib = _least(1.0, ribs, heights, _RIB_REACH_MM, 24)
    organ = -_least(-1.0, organs, heights, _ORGAN_REACH_MM, 24)
    radius = np.minimum(outer - _WALL_MM, rib - _GAP_MM)
    radius = np.maximum(radius, np.where(np.isfinite(organ), organ + _GAP_MM, 0.0))
    radius = gaussian_filter(_limited(radius), sigma=(1.0, 1.0), mode=("wrap", "nearest"))
    widest = radius.max(axis=1)
    radius = np.maximum(radius, _LEAST_SHARE * widest[:, None])
    if not widest.min() > 2.0 * _WALL_MM:
        raise MotionError(
            f"the trunk is only {widest.min():.0f} mm wide about its axis: no chest wall fits into it"
        )
    return ChestWall(float(heights[0]), _HEIGHT_STEP_MM, radius, widest)


def _limited(radius: FloatArray) -> FloatArray:
    """The mean of the least table above and the greatest below ``radius`` that are nowhere too steep."""
    turn, row = np.indices(radius.shape).reshape(2, -1)
    apart = np.abs(turn[:, None] - turn)
    around = np.minimum(apart, _TURNS - apart) * (2.0 * np.pi / _TURNS * _STEEPEST_TURN_MM)
    cone = around + np.abs(row[:, None] - row) * (_HEIGHT_STEP_MM * _STEEPEST)
    value = radius.ravel()
    return np.asarray((0.5 * ((value - cone).max(axis=1) + (value + cone).min(axis=1))).reshape(radius.shape))


def _least(sign: float, points: FloatArray, heights: FloatArray, reach_mm: float, count: int) -> FloatArray:
    """(turns, heights) least of ``sign`` times the radius of points (n, 3) near each node; infinity without any."""
    from scipy.spatial import cKDTree

    angles = 2.0 * np.pi * np.arange(_TURNS) / _TURNS
    if len(points) == 0:
        return np.full((_TURNS, len(heights)), np.inf)
    radius = np.hypot(points[:, 0], points[:, 1])
    around = np.maximum(radius, 1e-9)
    # Nearness is judged on a cylinder of 100 mm, about the size of a trunk.
    tree = cKDTree(np.column_stack([100.0 * points[:, :2] / around[:, None], points[:, 2]]))
    theta, height = np.meshgrid(angles, heights, indexing="ij")
    nodes = np.stack([100.0 * np.cos(theta), 100.0 * np.sin(theta), height], axis=-1).reshape(-1, 3)
    _, index = tree.query(nodes, k=min(count, len(points)), distance_upper_bound=reach_mm)
    values = np.append(sign * radius, np.inf)[np.asarray(index).reshape(len(nodes), -1)]
    return np.asarray(values.min(axis=1).reshape(theta.shape))
