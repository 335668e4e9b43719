"""Lethal zones cut from fields: where a field on a voxel grid reaches a level."""

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.level_set import LevelSurface, level_surface
from needleplan.ablation.trilinear import inside
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError, PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid, ScalarField

#: Beyond the grid's outermost centres the field is minus this times its greatest value, so that a zone which
#: touches them ends there within a millionth of a voxel.
_EDGE_DROP = 1e6
#: Values from zero to this share of the greatest one count as that: a plateau at the level itself is destroyed,
#: and its edge is where the values fall.
_ZERO_SHARE = 1e-9


class FieldZone(LethalZone):
    """The zone in which a field is at least zero: {x : f(x) >= 0}, f trilinear between the voxel centres.

    Distances are those to a triangulation of the surface f = 0, less the measured greatest distance between
    the two (about a hundredth of a voxel where the field is smooth). They vary smoothly with the field and not by
    voxels, never overstate, and understate by at most ``margin_error_mm``. ``contains`` asks the interpolated
    field itself: in a layer of that thickness within the boundary a point is destroyed though its distance is
    below zero. How far the interpolated field is from the true one depends on its grid and is not known here.

    Beyond the outermost voxel centres nothing is destroyed: a zone that reaches them is cut there, which
    ``require_inside_grid`` refuses.

    Args:
        field: the field, in any unit. Infinite values are replaced by the greatest finite amount.

    Raises:
        GeometryError: the grid is thinner than two voxels, or a value is not a number.
    """

    def __init__(self, field: ScalarField) -> None:
        values = field.values
        if min(values.shape) < 2:
            raise GeometryError(f"a zone needs a grid of at least two voxels along each axis, not {values.shape}")
        if np.isnan(values).any():
            raise GeometryError("the field of a zone holds a value that is not a number")
        self._grid = field.grid
        reached = values >= 0
        spans = []
        for axis in range(3):
            used = np.flatnonzero(reached.any(axis=tuple(k for k in range(3) if k != axis)))
            spans.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, 0))
        self.is_cut = any(
            high > low and (low == 0 or high == n) for (low, high), n in zip(spans, values.shape, strict=True)
        )
        self.is_empty = spans[0][1] == 0
        if self.is_empty:
            return
        # The voxels that reach the level and one more on each side hold all of the surface.
        start = [max(0, low - 1) for low, _ in spans]
        stop = [min(n, high + 1) for (_, high), n in zip(spans, values.shape, strict=True)]
        part = values[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].astype(np.float64)
        finite = np.abs(part[np.isfinite(part)])
        largest = float(finite.max(initial=0.0)) or 1.0
        part = np.clip(part, -largest, largest)
        part = np.where((part >= 0) & (part < _ZERO_SHARE * largest), _ZERO_SHARE * largest, part)
        missing = [(int(low == 0), int(high == n)) for (low, high), n in zip(spans, values.shape, strict=True)]
        self._values = np.pad(part, missing, constant_values=-_EDGE_DROP * largest)
        corner = tuple(a - before for a, (before, _) in zip(start, missing, strict=True))
        self._part: Grid = field.grid.cropped(corner, self._values.shape)  # type: ignore[arg-type]

    @classmethod
    def at_least(cls, field: ScalarField, level: float) -> "FieldZone":
        """The zone in which a field is at least ``level``, in the field's unit."""
        return cls(ScalarField(field.grid, np.subtract(field.values, level, dtype=np.float64).astype(np.float32)))

    @classmethod
    def at_most(cls, field: ScalarField, level: float) -> "FieldZone":
        """The zone in which a field is at most ``level``, for instance a temperature in a frozen zone."""
        return cls(ScalarField(field.grid, np.subtract(level, field.values, dtype=np.float64).astype(np.float32)))

    def require_inside_grid(self) -> None:
        """Raise PhysicsError where the zone reaches the outermost voxel centres and is cut there."""
        if self.is_cut:
            extent = " x ".join(
                f"{(n - 1) * step:.0f}" for n, step in zip(self._grid.shape, self._grid.spacing_mm, strict=True)
            )
            raise PhysicsError(
                f"the domain is too small for the zone: it reaches the edge of the grid of {extent} mm, "
                "so a larger one is needed"
            )

    @cached_property
    def _surface(self) -> LevelSurface:
        return level_surface(self._part, self._values)

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """See LethalZone; minus infinity everywhere where nothing reaches the level."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        if self.is_empty:
            return np.full(len(points), -np.inf)
        surface = self._surface
        distance = surface.tree.segment_distance_mm(points, points)
        held = self.contains(points)
        # Between the triangles and the true surface, the side of the triangles keeps the distance continuous.
        between = np.flatnonzero(distance <= 1.01 * surface.error_mm)
        held[between] = surface.tree.contains(points[between])
        return np.where(held, distance, -distance) - surface.error_mm

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """See LethalZone; the sign of the interpolated field."""
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        result = np.zeros(len(points), dtype=np.bool_)
        if not self.is_empty:
            inside(self._values, np.ascontiguousarray(self._part.to_index(points)), result)
        return result

    @property
    def margin_error_mm(self) -> float:
        """See LethalZone; twice the greatest distance between the triangles and the surface f = 0."""
        return 0.0 if self.is_empty else 2.0 * self._surface.error_mm

    @property
    def bounds_mm(self) -> FloatArray:
        """See LethalZone; a point in the middle of the grid where nothing reaches the level."""
        if self.is_empty:
            middle = self._grid.to_patient(0.5 * (np.asarray(self._grid.shape) - 1.0))
            return np.stack([middle, middle])
        error = self._surface.error_mm
        return self._surface.mesh.bounds_mm + np.array([[-error], [error]])

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres, cavities taken off."""
        return 0.0 if self.is_empty else self._surface.mesh.volume_mm3 / 1000.0

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """See LethalZone; one mesh of all parts, cavities among them, none where nothing reaches the level."""
        return () if self.is_empty else (self._surface.mesh,)
