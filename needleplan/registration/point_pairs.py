"""Pairs of points from which a pose is registered, and what makes such pairs useless."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only

#: Least width of the points against their length, as root mean squares across and along their longest axis; at this
#: limit the turn about that axis is 20 times less certain than the others.
LEAST_WIDTH = 0.05
#: Two fiducials nearer than this are one that was read twice.
COINCIDENT_MM = 0.5
#: Points that lie all within this distance are not in millimetres.
LEAST_EXTENT_MM = 5.0
#: Distances in one set may be this much greater or less than in the other.
LARGEST_SCALE_ERROR = 0.1
#: Most points whose correspondence is searched for: 8! orders are tried.
MOST_UNORDERED = 8
#: The second best order must fit worse by this factor and by so many millimetres.
ORDER_FACTOR, ORDER_GAP_MM = 3.0, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class PointPairs:
    """The same points in two frames.

    Attributes:
        fixed_mm: (n, 3) in the parent frame.
        moving_mm: (n, 3) in the child frame.
        names: (n,) names, for messages.

    Raises:
        GeometryError: there are fewer than three, a number is not finite, two of them coincide, a set is not in
            millimetres or of another size than the other, or a set lies on a line or nearly.
    """

    fixed_mm: FloatArray
    moving_mm: FloatArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        fixed, moving = read_only(self.fixed_mm), read_only(self.moving_mm)
        if fixed.ndim != 2 or fixed.shape[1:] != (3,) or fixed.shape != moving.shape:
            raise GeometryError(
                f"a registration needs as many points (n, 3) in one frame as in the other, not {fixed.shape} and "
                f"{moving.shape}"
            )
        object.__setattr__(self, "fixed_mm", fixed)
        object.__setattr__(self, "moving_mm", moving)
        if len(self.names) != len(fixed) or len(set(self.names)) != len(fixed):
            raise GeometryError(f"{len(fixed)} points need as many different names, not {', '.join(self.names)}")
        if len(fixed) < 3:
            raise GeometryError(f"a registration needs at least 3 points, not {len(fixed)}")
        for points, which in ((fixed, "parent"), (moving, "child")):
            _check_points(points, which, self.names)
        ratio = self.scale
        if abs(np.log(ratio)) > np.log1p(LARGEST_SCALE_ERROR):
            raise GeometryError(
                f"the points in the child frame lie {ratio:.4g} times as far from each other as in the parent "
                "frame: both must be in millimetres, in the same order, and of the same body"
            )
        for points, which in ((fixed, "parent"), (moving, "child")):
            width = spread_mm(points)
            if width[1] < LEAST_WIDTH * width[0]:
                raise GeometryError(
                    f"the points in the {which} frame lie nearly on one line ({width[0]:.1f} mm along it, "
                    f"{width[1]:.2g} mm across): the turn about it is not determined; place one well off that line"
                )

    @classmethod
    def of(cls, fixed_mm: ArrayLike, moving_mm: ArrayLike, names: Sequence[str] | None = None) -> "PointPairs":
        """Pairs that are named by their number from 1 where no names are given."""
        fixed = np.asarray(fixed_mm, dtype=np.float64)
        chosen = tuple(names) if names is not None else tuple(str(k + 1) for k in range(len(fixed)))
        return cls(fixed, np.asarray(moving_mm, dtype=np.float64), chosen)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def scale(self) -> float:
        """Median ratio of the distances between two points in the child and in the parent frame; 1 when right."""
        first, second = np.triu_indices(len(self.fixed_mm), 1)
        moving = np.linalg.norm(self.moving_mm[first] - self.moving_mm[second], axis=1)
        fixed = np.linalg.norm(self.fixed_mm[first] - self.fixed_mm[second], axis=1)
        return float(np.median(moving / fixed))

    def part(self, kept: NDArray[np.bool_]) -> "PointPairs":
        """The pairs at which ``kept`` (n,) is True; they must still determine a pose."""
        names = tuple(itertools.compress(self.names, kept))
        return PointPairs(self.fixed_mm[kept], self.moving_mm[kept], names)


def spread_mm(points_mm: FloatArray) -> FloatArray:
    """(3,) root mean square extents of points (n, 3) along their principal axes, greatest first."""
    centred = points_mm - points_mm.mean(axis=0)
    moments = np.linalg.eigvalsh(centred.T @ centred / len(points_mm))[::-1]
    return np.asarray(np.sqrt(np.maximum(moments, 0.0)))


def matched_order(fixed_mm: ArrayLike, moving_mm: ArrayLike) -> NDArray[np.int64]:
    """Which point of the child frame belongs to each of the parent frame, by the distances between the points.

    All orders are tried, so the answer is the best one. Distances do not tell a set from its mirror image; the
    registration that follows does.

    Args:
        fixed_mm: (n, 3) points in the parent frame, n from 3 to 8.
        moving_mm: (n, 3) the same points in the child frame, in any order.

    Returns:
        (n,) indices by which ``moving_mm`` is put in the order of ``fixed_mm``.

    Raises:
        GeometryError: the number of points is out of range, or two orders fit nearly alike.
    """
    fixed, moving = np.asarray(fixed_mm, dtype=np.float64), np.asarray(moving_mm, dtype=np.float64)
    if fixed.shape != moving.shape or fixed.shape[1:] != (3,) or not 3 <= len(fixed) <= MOST_UNORDERED:
        raise GeometryError(
            f"points without order need 3 to {MOST_UNORDERED} of them in both frames, not {fixed.shape} and "
            f"{moving.shape}"
        )
    if not (np.isfinite(fixed).all() and np.isfinite(moving).all()):
        raise GeometryError("a point has a coordinate that is not a finite number")
    orders = np.array(list(itertools.permutations(range(len(fixed)))))
    first, second = np.triu_indices(len(fixed), 1)
    between = np.linalg.norm(moving[:, None] - moving[None], axis=2)
    wanted = np.linalg.norm(fixed[first] - fixed[second], axis=1)
    misfit = np.sqrt(((between[orders[:, first], orders[:, second]] - wanted) ** 2).mean(axis=1))
    best, runner_up = np.argsort(misfit, kind="stable")[:2]
    if misfit[runner_up] < ORDER_FACTOR * misfit[best] + ORDER_GAP_MM:
        raise GeometryError(
            f"two orders of the points fit nearly alike (distances differ by {misfit[best]:.2g} and "
            f"{misfit[runner_up]:.2g} mm): place the fiducials so that no two distances between them are alike"
        )
    return np.asarray(orders[best], dtype=np.int64)


def _check_points(points: FloatArray, which: str, names: tuple[str, ...]) -> None:
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise GeometryError(
            f"point {names[int(np.argmin(finite))]} in the {which} frame has a coordinate that is not "
            "a finite number"
        )
    between = np.linalg.norm(points[:, None] - points[None], axis=2)
    extent = float(between.max())
    if extent < LEAST_EXTENT_MM:
        raise GeometryError(
            f"the points in the {which} frame lie within {extent:.3g} mm: they must be given in millimetres and "
            f"spread over at least {LEAST_EXTENT_MM:g} mm"
        )
    between[np.diag_indices(len(points))] = np.inf
    first, second = np.unravel_index(int(np.argmin(between)), between.shape)
    if between[first, second] < COINCIDENT_MM:
        raise GeometryError(
            f"points {names[first]} and {names[second]} in the {which} frame coincide: each fiducial may be given "
            "once"
        )
