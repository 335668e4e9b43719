"""Axial, sagittal and coronal slices about the target, with contours of every structure, of margin and zone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.app.page.scene_values import SceneValue, numbers, quantised
from needleplan.compiled import compiled
from needleplan.frames import FloatArray
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.planes import box_in
from needleplan.viz.section import ImagePlane, anatomical_planes, outlines

#: Distance from slice to slice, where no more than ``_MOST_SLICES`` are needed; else a whole multiple of it.
STEP_MM = 3.0
#: Slices to either side reach so far beyond target and zone, and pictures so far beyond them and the entries.
_BEYOND_MM, _BORDER_MM = 9.0, 25.0
#: A slice shows at least so much, so that the neighbourhood is recognised.
_LEAST_HALF_MM = 75.0
#: Contours lie within this of the surfaces they are cut from: near the target, and farther off than ``_NEAR_MM``.
NEAR_TOLERANCE_MM, FAR_TOLERANCE_MM = 0.2, 0.5
_NEAR_MM = 40.0
_QUANTUM_MM = 0.02
_MOST_SLICES = 41
#: Vertices so near a slice count as on both sides of it when its faces are looked for.
_SLACK_MM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class SlicedBody:
    """A surface whose contours a scene shows.

    Attributes:
        body: id of the body of the scene that gives colour and name.
        mesh: the surface, as fine as it is.
        filled: True where the area within is filled.
        near: True for what the slices must reach over: target, margin and zones.
    """

    body: str
    mesh: SurfaceMesh
    filled: bool
    near: bool = False


class GrownTarget(LethalZone):
    """Target plus margin as a region, so that it can be contoured like a zone.

    Args:
        mesh: the target's surface.
        margin_mm: how far it is grown, above zero.
    """

    def __init__(self, mesh: SurfaceMesh, margin_mm: float) -> None:
        self._distance, self._margin_mm, self._mesh = SurfaceDistance(mesh), margin_mm, mesh

    def signed_distance_mm(self, points_mm: object) -> FloatArray:
        """See LethalZone."""
        return self._margin_mm - self._distance.signed_distance_mm(np.asarray(points_mm, dtype=np.float64))

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone; inside, the nearest boundary may be a little farther where the target is hollow."""
        return self._margin_mm

    @property
    def bounds_mm(self) -> FloatArray:
        """See LethalZone."""
        low, high = self._mesh.bounds_mm
        return np.stack([low - self._margin_mm, high + self._margin_mm])

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """See LethalZone."""
        from needleplan.viz.scene import union_surface

        return (union_surface(self),)


def planes_of_scene(
    anatomy: Anatomy, centre_mm: FloatArray, bodies: Sequence[SlicedBody], entries_mm: Sequence[Sequence[float]]
) -> dict[str, SceneValue]:
    """The three stacks of slices.

    Args:
        anatomy: the patient.
        centre_mm: (3,) point that all three pass through.
        bodies: what is cut, at least one of them near.
        entries_mm: entries of the needles, which the pictures hold.
    """
    near = [one.mesh.bounds_mm for one in bodies if one.near]
    bounds = np.stack([np.min([b[0] for b in near], axis=0), np.max([b[1] for b in near], axis=0)])
    shown = np.concatenate([bounds, np.reshape(np.asarray(entries_mm, dtype=np.float64), (-1, 3))])
    views = []
    spacing: dict[str, float] = {}
    for plane in anatomical_planes(centre_mm, anatomical_axes(anatomy.case)):
        offsets = slice_offsets_mm(*_range(bounds, plane))
        spacing[plane.name] = float(offsets[1] - offsets[0])
        views.append(_view(anatomy, plane, offsets, _window(shown, plane), bodies))
    order = {"axial": 0, "sagittal": 1, "coronal": 2}
    return {
        "views": sorted(views, key=lambda view: order[view["id"]]),
        "note": f"{_spacing_words({name: spacing[name] for name in order})}, in radiological convention: the "
        "patient's right is at the left of axial and coronal slices. Contours of structures are cut from the "
        "surfaces that margin and clearances are measured on, with the steps of their voxels, and lie within "
        f"{NEAR_TOLERANCE_MM:g} mm of them near the target, {FAR_TOLERANCE_MM:g} mm farther off.",
    }


def slice_offsets_mm(low_mm: float, high_mm: float) -> FloatArray:
    """(k,) offsets of the slices that reach from one offset to another, one of them 0.

    They lie ``STEP_MM`` apart, or by the least whole multiple of it at which no more than ``_MOST_SLICES`` reach.

    Args:
        low_mm: offset that the first slice reaches, below zero.
        high_mm: offset that the last one reaches, above zero.
    """
    step = STEP_MM
    while True:
        first, last = int(np.floor(low_mm / step)), int(np.ceil(high_mm / step))
        if last - first < _MOST_SLICES:
            return np.asarray(step * np.arange(first, last + 1, dtype=np.float64))
        step += STEP_MM


def _spacing_words(spacing_mm: Mapping[str, float]) -> str:
    """How far slices of each view lie apart, as a sentence begins."""
    if len(set(spacing_mm.values())) == 1:
        return f"Slices every {next(iter(spacing_mm.values())):g} mm"
    return "Slices every " + ", ".join(f"{step:g} mm ({name})" for name, step in spacing_mm.items())


def _range(bounds: FloatArray, plane: ImagePlane) -> tuple[float, float]:
    corners = np.array([[x, y, z] for x in bounds[:, 0] for y in bounds[:, 1] for z in bounds[:, 2]])
    along = plane.distance_mm(corners)
    return min(0.0, float(along.min())) - _BEYOND_MM, max(0.0, float(along.max())) + _BEYOND_MM


def _window(shown: FloatArray, plane: ImagePlane) -> tuple[float, float, float, float]:
    box = box_in(np.stack([shown.min(axis=0), shown.max(axis=0)]), plane, _BORDER_MM)
    least = _LEAST_HALF_MM
    return (min(box[0], -least), max(box[1], least), min(box[2], -least), max(box[3], least))


def _view(
    anatomy: Anatomy,
    plane: ImagePlane,
    offsets: FloatArray,
    window: tuple[float, float, float, float],
    bodies: Sequence[SlicedBody],
) -> dict[str, SceneValue]:
    axes = anatomical_axes(anatomy.case)
    slices: list[dict[str, SceneValue]] = [{"offset_mm": round(float(o), 3), "contours": []} for o in offsets]
    for one in bodies:
        for k, loops in _cuts(one.mesh, plane, offsets):
            kept = [
                light
                for loop in loops
                if _seen(loop, window)
                for light in [simplified_loop(loop)]
                if len(light) > 2
            ]
            if kept:
                slices[k]["contours"].append(
                    {
                        "body": one.body,
                        "filled": one.filled,
                        "loops": [quantised(loop, _QUANTUM_MM) for loop in kept],
                    }
                )
    return {
        "id": plane.name, "title": plane.name.capitalize(), "axis": numbers(plane.normal),
        "right": numbers(plane.right), "down": numbers(plane.down), "window_mm": numbers(window, 2),
        "letters": {
            "left": direction_letters(-plane.right, axes), "right": direction_letters(plane.right, axes),
            "top": direction_letters(-plane.down, axes), "bottom": direction_letters(plane.down, axes),
        },
        "slices": slices,
    }  # fmt: skip


def _cuts(
    mesh: SurfaceMesh, plane: ImagePlane, offsets: FloatArray
) -> Iterator[tuple[int, list[NDArray[np.float64]]]]:
    """Number of each slice that meets the mesh, and its outlines; only the faces that it crosses are asked."""
    height = plane.distance_mm(mesh.vertices_mm)
    # The number of slices below each vertex: a slice meets the faces whose corners have it on both sides. A vertex
    # on a slice may round to either side of it when the slice is cut, and all faces about it must be there then.
    least, most = (
        np.searchsorted(offsets, height + slack, side="right").astype(np.int16) for slack in (-_SLACK_MM, _SLACK_MM)
    )
    low = np.minimum.reduce([least[mesh.faces[:, corner]] for corner in range(3)])
    high = np.maximum.reduce([most[mesh.faces[:, corner]] for corner in range(3)])
    met = np.flatnonzero(low < high)
    low, high = low[met], high[met]
    for k, offset in enumerate(offsets):
        rows = met[(low <= k) & (high > k)]
        if not len(rows):
            continue
        used, place = np.unique(mesh.faces[rows], return_inverse=True)
        part = SurfaceMesh(mesh.vertices_mm[used], place.reshape(-1, 3).astype(np.int32))
        there = ImagePlane(plane.name, plane.origin_mm + offset * plane.normal, plane.right, plane.down)
        yield k, outlines(part, there)


def _seen(loop: FloatArray, window: tuple[float, float, float, float]) -> bool:
    low, high = loop.min(axis=0), loop.max(axis=0)
    left, right, top, bottom = window
    return bool(low[0] < right and high[0] > left and low[1] < bottom and high[1] > top)


def simplified_loop(loop: FloatArray) -> FloatArray:
    """A closed polygon (n, 2) with fewer corners, none of those left out farther from it than the tolerance.

    Douglas and Peucker, Cartographica 1973;10:112, with the finer tolerance where the loop comes near the origin,
    which is where the target lies. A loop larger than the tolerance keeps three corners, however thin.
    """
    near = float(np.linalg.norm(loop, axis=1).min()) <= _NEAR_MM
    tolerance = NEAR_TOLERANCE_MM if near else FAR_TOLERANCE_MM
    if len(loop) < 4:
        return loop
    far = int(np.argmax(((loop - loop[0]) ** 2).sum(axis=1)))
    kept = _corners_kept(np.concatenate([loop, loop[:1]]), far, tolerance)
    if np.count_nonzero(kept) == 2 and np.hypot(*np.ptp(loop, axis=0)) > tolerance:
        along, off = loop[far] - loop[0], loop - loop[0]
        aside = np.abs(off[:, 0] * along[1] - off[:, 1] * along[0])
        aside[kept] = -1.0
        kept[int(np.argmax(aside))] = True
    light: FloatArray = loop[kept]
    return light


@compiled
def _corners_kept(closed: FloatArray, far: int, tolerance: float) -> NDArray[np.bool_]:
    """(n,) corners of the closed polygon (n + 1, 2) that are kept: the first, ``far``, and what they need."""
    count = len(closed) - 1
    keep = np.zeros(count, dtype=np.bool_)
    keep[0] = keep[far] = True
    stack = [(0, far), (far, count)]
    while len(stack) > 0:
        first, last = stack.pop()
        x, y = closed[first]
        along_x, along_y = closed[last, 0] - x, closed[last, 1] - y
        length = along_x * along_x + along_y * along_y
        most, middle = -1.0, first
        for k in range(first + 1, last):
            off_x, off_y = closed[k, 0] - x, closed[k, 1] - y
            share = 0.0 if length == 0.0 else min(1.0, max(0.0, (off_x * along_x + off_y * along_y) / length))
            away = np.hypot(off_x - share * along_x, off_y - share * along_y)
            if away > most:
                most, middle = away, k
        if most > tolerance:
            keep[middle] = True
            stack.append((first, middle))
            stack.append((middle, last))
    return keep
