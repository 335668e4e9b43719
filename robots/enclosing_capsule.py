"""The capsule that encloses a collision shape: a cylinder with round ends, the simplest shape that keeps distances.

A capsule is convex, so one that holds all vertices of a mesh holds its faces and its inside too. Metres.
"""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from needleplan.errors import RobotError
from needleplan.frames import FloatArray, read_only
from robots.description import Shape, ShapeKind
from robots.mesh_file import mesh_in_metres
from robots.model import Capsule

#: The axis is turned by steps that are halved from the first to the last.
_FIRST_TURN_RAD, _LAST_TURN_RAD = 0.2, 0.005
#: The radius is widened by this share, so that rounding leaves no vertex outside.
_ROUNDING = 1e-9


def enclosing_capsule(link: str, shape: Shape) -> Capsule:
    """The capsule around a collision shape of a link; raises RobotError for a mesh that cannot be one."""
    if shape.kind is ShapeKind.MESH:
        assert shape.mesh is not None
        start, end, radius = capsule_around(_hull_vertices(shape.mesh, shape.size_m))
    elif shape.kind is ShapeKind.SPHERE:
        start, end, radius = np.zeros(3), np.zeros(3), float(shape.size_m[0])
    elif shape.kind is ShapeKind.CYLINDER:
        # The rim of a cylinder lies at its radius from the end of its axis, so a capsule of that axis encloses it.
        end = np.array([0.0, 0.0, shape.size_m[1] / 2])
        start, radius = -end, float(shape.size_m[0])
    else:
        longest = int(np.argmax(shape.size_m))
        end = np.zeros(3)
        end[longest] = shape.size_m[longest] / 2
        start, radius = -end, float(np.linalg.norm(np.delete(shape.size_m, longest)) / 2)
    rotation, centre = shape.pose[:3, :3], shape.pose[:3, 3]
    return Capsule(link, read_only(centre + rotation @ start), read_only(centre + rotation @ end), radius)


def capsule_around(points_m: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """A tight capsule around points.

    The direction of its axis is the one of least volume among the principal axes of the points and the coordinate
    axes, turned on from there for as long as that makes the volume smaller. Across the axis the smallest circle
    sets the radius; along it the ends lie as near as the points that are nearest to the rim allow.

    Args:
        points_m: (n, 3) points that span a volume.

    Returns:
        (3,) start, (3,) end and the radius.
    """
    principal = np.linalg.svd(points_m - points_m.mean(axis=0), full_matrices=False)[2]
    best = min((_along(points_m, axis) for axis in (*principal, *np.eye(3))), key=_volume)
    step = _FIRST_TURN_RAD
    while step > _LAST_TURN_RAD:
        aside = np.linalg.svd(best.axis[None])[2][1:]
        turned = [best.axis + sign * step * direction for direction in aside for sign in (1.0, -1.0)]
        better = min((_along(points_m, axis / np.linalg.norm(axis)) for axis in turned), key=_volume)
        if _volume(better) < _volume(best):
            best = better
        else:
            step *= 0.5
    return best.start, best.end, best.radius


class _Found(NamedTuple):
    """A capsule with the direction of its axis."""

    axis: FloatArray
    start: FloatArray
    end: FloatArray
    radius: float


def _volume(found: _Found) -> float:
    length = float(np.linalg.norm(found.end - found.start))
    return float(np.pi * found.radius**2 * (length + 4.0 / 3.0 * found.radius))


def _along(points: FloatArray, axis: FloatArray) -> _Found:
    """The capsule around points (n, 3) whose axis has a given direction (3,)."""
    across = np.linalg.svd(axis[None])[2][1:]
    flat = points @ across.T
    centre = _circle_centre(flat)
    distance = np.linalg.norm(flat - centre, axis=1)
    radius = float(distance.max()) * (1.0 + _ROUNDING)
    bulge = np.sqrt(radius**2 - distance**2)
    height = points @ axis
    low, high = float((height + bulge).min()), float((height - bulge).max())
    if low > high:  # a ball of this radius holds them all
        low = high = 0.5 * (low + high)
    return _Found(axis, centre @ across + low * axis, centre @ across + high * axis, radius)


def _circle_centre(points: FloatArray) -> FloatArray:
    """(2,) centre of the smallest circle around points (n, 2).

    The circle through two or three points grows: the point that is farthest outside joins them, and the smallest
    circle around these four at most is set by two or three of them again.
    """
    rim, centre, radius = points[:1], points[0], 0.0
    while True:
        distance = np.linalg.norm(points - centre, axis=1)
        farthest = int(np.argmax(distance))
        if distance[farthest] <= radius * (1.0 + _ROUNDING):
            return centre
        together = np.concatenate([rim, points[farthest : farthest + 1]])
        circles = []
        for count in (2, 3):
            for chosen in combinations(range(len(together)), count):
                middle = _circumcentre(together[list(chosen)])
                reach = float(np.linalg.norm(together - middle, axis=1).max())
                circles.append((reach, chosen, middle))
        grown, chosen, middle = min(circles, key=lambda circle: circle[0])
        if grown <= radius:  # rounding: it grows no more
            return centre
        rim, centre, radius = together[list(chosen)], middle, grown


def _circumcentre(points: FloatArray) -> FloatArray:
    """(2,) centre of the circle through two points (its diameter) or three; far away for three on a line."""
    ways = points[1:] - points[0]
    return np.asarray(points[0] + np.linalg.pinv(2.0 * ways) @ (ways**2).sum(axis=1))


def _hull_vertices(path: Path, scale: FloatArray) -> FloatArray:
    """Vertices (n, 3) of the convex hull of a mesh, in metres."""
    from scipy.spatial import ConvexHull, QhullError

    points, _ = mesh_in_metres(path, scale)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        raise RobotError(f"{path}: the mesh has no volume, so nothing can collide with it") from error
    return points[hull.vertices]
