"""How points fit a triangle surface: exact distances, normal equations, and the motions that they leave free."""

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import NeedleplanError
from needleplan.frames import FloatArray
from needleplan.registration.rotations import rotations_of

#: Spread of residuals below which nothing is trimmed as an outlier, mm: that of the float32 of the distance engine.
_ROUNDING_MM = 1e-3
#: A free motion of length 1 whose turn is less than this is called a slide.
SLIDE = 0.1


class SurfaceFit:
    """Distances of points to a surface with the smooth normals where they come nearest."""

    def __init__(self, mesh: SurfaceMesh) -> None:
        self._mesh = mesh
        self._centre = mesh.bounds_mm.mean(axis=0)

    @cached_property
    def vertex_normals(self) -> FloatArray:
        """(n, 3) outward unit normals at the vertices, averaged over the faces by their areas."""
        sums = np.zeros_like(self._mesh.vertices_mm)
        area = self._mesh.area_vectors_mm2
        for corner in range(3):
            np.add.at(sums, self._mesh.faces[:, corner], area)
        return _unit(sums)

    @cached_property
    def _scene(self) -> Any:
        open3d = load_open3d()
        scene = open3d.t.geometry.RaycastingScene()
        vertices = (self._mesh.vertices_mm - self._centre).astype(np.float32)
        scene.add_triangles(open3d.core.Tensor(vertices), open3d.core.Tensor(self._mesh.faces.astype(np.uint32)))
        return scene

    def nearest(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, 3) nearest points of the surface to points (n, 3), and (n, 3) unit normals there.

        Normals are interpolated over a face from its vertices, so that facets of a round body do not look like the
        steps of a body that holds its place.
        """
        query = np.ascontiguousarray(points_mm - self._centre, dtype=np.float32)
        answer = self._scene.compute_closest_points(load_open3d().core.Tensor(query))
        faces = self._mesh.faces[answer["primitive_ids"].numpy()]
        second, third = answer["primitive_uvs"].numpy().astype(np.float64).T
        shares = np.stack([1.0 - second - third, second, third], axis=1)
        normals = _unit(np.einsum("nk,nki->ni", shares, self.vertex_normals[faces]))
        # The point again from its shares in double precision.
        return np.einsum("nk,nki->ni", shares, self._mesh.vertices_mm[faces]), normals

    def heights(self, points_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) signed distances of points (n, 3), positive outside, and (n, 3) directions in which they grow."""
        nearest, normals = self.nearest(points_mm)
        away = points_mm - nearest
        distance = np.linalg.norm(away, axis=1)
        sign = np.where(np.einsum("ni,ni->n", away, normals) < 0, -1.0, 1.0)
        return sign * distance, normals

    def refined(
        self, points_mm: FloatArray, matrix: FloatArray, trim: float, least_hold: float
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """The motion (4, 4) near ``matrix`` with the least squared distances of the points that fit, and those.

        Gauss-Newton steps of point-to-plane distances (Chen and Medioni, Image and Vision Computing 1992;10:145) to
        exact nearest points. Points farther than ``trim`` robust spreads from the surface are left out in each
        step, and no step goes along a motion held less than half of ``least_hold``: a patch that slides stays.

        Returns:
            The motion, and (n,) True where a point was kept.
        """
        motion = matrix.copy()
        length = root_mean_square_radius(points_mm)
        for _ in range(60):
            placed = points_mm @ motion[:3, :3].T + motion[:3, 3]
            heights, normals = self.heights(placed)
            kept = fitting(heights, trim)
            centre = placed[kept].mean(axis=0)
            rows = point_to_plane(placed[kept], normals[kept], centre, length)
            step = np.linalg.lstsq(rows, -heights[kept], rcond=0.5 * least_hold)[0]
            step[3:] /= length
            turn = rotations_of(step[3:])
            motion[:3, 3] = turn @ (motion[:3, 3] - centre) + centre + step[:3]
            motion[:3, :3] = turn @ motion[:3, :3]
            if np.linalg.norm(step[:3]) < 1e-4 and np.linalg.norm(step[3:]) < 1e-6:
                break
        placed = points_mm @ motion[:3, :3].T + motion[:3, 3]
        return motion, fitting(self.heights(placed)[0], trim)


def fitting(heights_mm: FloatArray, trim: float) -> NDArray[np.bool_]:
    """(n,) True for heights within ``trim`` robust spreads of the surface.

    The spread is 1.4826 times the median of the absolute heights, the standard deviation of a normal law.
    """
    spread = max(1.4826 * float(np.median(np.abs(heights_mm))), _ROUNDING_MM)
    return np.asarray(np.abs(heights_mm) <= trim * spread)


def point_to_plane(
    points_mm: FloatArray, normals: FloatArray, centre_mm: FloatArray, length_mm: float
) -> FloatArray:
    """(n, 6) derivatives of the heights by a shift and by a turn about a centre, the turn times a length."""
    return np.concatenate([normals, np.cross(points_mm - centre_mm, normals) / length_mm], axis=1)


def free_motions(rows: FloatArray, length_mm: float, centre_mm: FloatArray, least: float) -> tuple[FloatArray, str]:
    """How firmly each motion is held, and the words for those that are not.

    A motion by which points move one millimetre (root mean square, for a turn at ``length_mm`` from the centre)
    changes the heights by the square root of an eigenvalue of the mean normal matrix; where that is nearly nothing,
    the patch slides in itself (Gelfand, Ikemoto, Rusinkiewicz, Levoy, 3DIM 2003).

    Args:
        rows: (n, 6) from ``point_to_plane``.
        length_mm: length that scaled the turns.
        centre_mm: (3,) centre of the turns.
        least: hold below which a motion is free.

    Returns:
        (6,) change of the heights in mm for each mm, least first; and the free motions in words, or nothing.
    """
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    holds = np.sqrt(np.maximum(values, 0.0))
    free = vectors[:, holds < least]
    if free.shape[1] == 0:
        return holds, ""
    # Free motions mix at will; turned so that those without a turn stand by themselves.
    words = []
    for vector in (free @ np.linalg.svd(free[3:])[2].T).T[::-1]:
        shift, turn = vector[:3], vector[3:] / length_mm
        if np.linalg.norm(vector[3:]) < SLIDE:
            words.append(f"a slide along {_direction(shift)}")
        else:
            through = centre_mm + np.cross(turn, shift) / float(turn @ turn)
            words.append(f"a turn about {_direction(turn)} through {_place(through)} mm")
    return holds, " and ".join(words)


def root_mean_square_radius(points_mm: FloatArray) -> float:
    """Root mean square distance of points (n, 3) from their centroid."""
    return math.sqrt(float(((points_mm - points_mm.mean(axis=0)) ** 2).sum(axis=1).mean()))


def load_open3d() -> Any:
    """The library; raises NeedleplanError that names what is missing where it cannot be loaded."""
    try:
        import open3d
    except OSError as error:  # its shared libraries are loaded on import
        raise NeedleplanError(
            f"open3d cannot be loaded ({error}): install Debian's libusb-1.0-0 and libgomp1"
        ) from error
    return open3d


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def _direction(vector: FloatArray) -> str:
    unit = vector / np.linalg.norm(vector)
    unit = unit * (1.0 if unit[int(np.argmax(np.abs(unit)))] > 0 else -1.0)
    return "(" + ", ".join(f"{value + 0.0:.2f}" for value in unit) + ")"


def _place(point: FloatArray) -> str:
    return "(" + ", ".join(f"{value:.0f}" for value in point) + ")"
