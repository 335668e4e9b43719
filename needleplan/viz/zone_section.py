"""Sections of a zone in a plane along the needle: which plane, what is sampled in it, how much is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import LethalZone, ZonePrediction
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes, unit_vector
from needleplan.grid import Grid, ScalarField
from needleplan.viz.section import ImagePlane, outlines
from needleplan.viz.zone_looks import (
    COLD,
    FIELD_STRENGTH,
    HEAT,
    SHOWN_FIELDS,
    DrawnPart,
    DrawnVessel,
    FieldLook,
)

#: Free border about what a section shows, and the farthest that a vessel draws the border out.
_BORDER_MM, _VESSEL_REACH_MM, _VESSEL_BORDER_MM = 7.0, 14.0, 3.0
#: Samples of a section per voxel of the field, along each side.
_SAMPLES_PER_VOXEL = 2.0

Box = tuple[float, float, float, float]


def plane_along(tip_mm: ArrayLike, direction: ArrayLike, towards_mm: ArrayLike | None = None) -> ImagePlane:
    """The plane that holds a needle and a further point, the needle coming from above.

    Args:
        tip_mm: (3,) tip of the needle.
        direction: (3,) from entry to tip.
        towards_mm: (3,) point to the right of the needle; None, or a point on the needle, leaves the side open.
    """
    down = unit_vector(direction)
    tip = np.asarray(tip_mm, dtype=np.float64)
    right = perpendicular_axes(down)[0]
    if towards_mm is not None:
        aside = np.asarray(towards_mm, dtype=np.float64) - tip
        aside = aside - (aside @ down) * down
        if np.linalg.norm(aside) > 1e-6:
            right = unit_vector(aside)
    return ImagePlane("along the needle", tip, right, down)


@dataclass(frozen=True, slots=True, eq=False)
class SectionGrid:
    """Regular points of a plane that cover the part of a grid that the plane cuts.

    Attributes:
        plane: the plane.
        x_mm, y_mm: (w,) and (h,) coordinates of the points to the right and down.
    """

    plane: ImagePlane
    x_mm: FloatArray
    y_mm: FloatArray

    @classmethod
    def through(cls, grid: Grid, plane: ImagePlane) -> "SectionGrid":
        """Points over all of a grid, two for each voxel's side."""
        last = np.asarray(grid.shape) - 1.0
        corners = np.array([[x, y, z] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])])
        flat = plane.flat(grid.to_patient(corners))
        step = float(grid.spacing_mm.min()) / _SAMPLES_PER_VOXEL
        low, high = flat.min(axis=0), flat.max(axis=0)
        count = np.floor((high - low) / step + 1e-6).astype(int) + 1
        return cls(plane, low[0] + step * np.arange(count[0]), low[1] + step * np.arange(count[1]))

    @property
    def points_mm(self) -> FloatArray:
        """(h * w, 3) points, row by row."""
        x, y = np.meshgrid(self.x_mm, self.y_mm)
        return self.plane.points_mm(np.stack([x.ravel(), y.ravel()], axis=1))

    def sample(self, field: ScalarField) -> NDArray[np.float32]:
        """(h, w) trilinear values; NaN outside the field's grid."""
        return field.sample(self.points_mm).reshape(len(self.y_mm), len(self.x_mm)).astype(np.float32)

    def signed_distance(self, zone: LethalZone) -> NDArray[np.float32]:
        """(h, w) signed distances to a zone in mm, positive inside."""
        values = np.nan_to_num(zone.signed_distance_mm(self.points_mm), neginf=-1e3)
        return values.reshape(len(self.y_mm), len(self.x_mm)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SectionImage:
    """One moment of a section.

    Attributes:
        grid: the points.
        values: (h, w) of the field; NaN outside.
        level: (h, w) positive inside the zone.
        bounds: further zones, as ``level``, by what they are.
    """

    grid: SectionGrid
    values: NDArray[np.float32]
    level: NDArray[np.float32]
    bounds: tuple[tuple[str, NDArray[np.float32]], ...] = ()


def look_of_field(name: str, values: NDArray[np.float32]) -> FieldLook:
    """The look of a field by its name and values; raises OptionError for a field that no picture shows."""
    if name not in SHOWN_FIELDS:
        raise OptionError(f"no picture shows the field {name!r}: choose one of {', '.join(SHOWN_FIELDS)}")
    finite = np.asarray(values)[np.isfinite(values)]
    if name == "field_v_cm":
        return FIELD_STRENGTH
    look = COLD if finite.size and finite.min() < 0.0 else HEAT
    return FieldLook(SHOWN_FIELDS[name], look.colors, look.low, look.high, look.lines, look.unit)


def shown_field(prediction: ZonePrediction) -> str | None:
    """Name of the field that a section of a prediction shows; None where the model knows none."""
    return next((name for name in SHOWN_FIELDS if name in prediction.fields), None)


def section_box(
    images: Sequence[SectionImage],
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel],
    aspect: float | None = None,
) -> Box:
    """What a section shows of its plane: all zones, active parts and the vessels beside them.

    Args:
        images: moments whose zones must be seen.
        parts: needles.
        vessels: vessels.
        aspect: width over height of the picture, which the box is widened to as far as the field reaches.

    Returns:
        Left, right, top and bottom in mm of the plane.
    """
    grid = images[0].grid
    plane = grid.plane
    points = [plane.flat(np.array([p.start_mm, p.end_mm])) for p in parts if p.is_active]
    for image in images:
        for level in (image.level, *(bound for _, bound in image.bounds)):
            rows, columns = np.nonzero(level >= 0)
            if rows.size:
                x, y = grid.x_mm[columns], grid.y_mm[rows]
                points.append(np.array([[x.min(), y.min()], [x.max(), y.max()]]))
    low = np.min([p.min(axis=0) for p in points], axis=0) - _BORDER_MM
    high = np.max([p.max(axis=0) for p in points], axis=0) + _BORDER_MM
    for vessel in vessels:
        for loop in outlines(vessel.surface, plane):
            low, high = _with_vessel(_dense(loop), low, high)
    if aspect is not None:
        size = np.maximum(high - low, (high - low)[::-1] * np.array([aspect, 1.0 / aspect]))
        middle = 0.5 * (low + high)
        low, high = middle - 0.5 * size, middle + 0.5 * size
    first, last = np.array([grid.x_mm[0], grid.y_mm[0]]), np.array([grid.x_mm[-1], grid.y_mm[-1]])
    # Where the field ends on one side, the box is moved rather than cut.
    shift = np.maximum(first - low, 0.0) - np.maximum(high - last, 0.0)
    low, high = np.maximum(low + shift, first), np.minimum(high + shift, last)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _with_vessel(loop: FloatArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A box drawn out to the outline of a vessel that passes beside it, in each direction on its own."""
    near, far = low.copy(), high.copy()
    for axis in range(2):
        other = 1 - axis
        beside = (loop[:, other] >= low[other]) & (loop[:, other] <= high[other])
        place = loop[beside, axis]
        # A vessel that passes through on and on draws nothing out.
        if (
            place.size
            and place.min() > low[axis] - _VESSEL_REACH_MM
            and place.max() < high[axis] + _VESSEL_REACH_MM
        ):
            near[axis] = min(near[axis], place.min() - _VESSEL_BORDER_MM)
            far[axis] = max(far[axis], place.max() + _VESSEL_BORDER_MM)
    return near, far


def _dense(loop: FloatArray) -> FloatArray:
    """Points along a closed outline, no farther than a millimetre from each other."""
    following = np.roll(loop, -1, axis=0)
    steps = np.maximum(np.ceil(np.linalg.norm(following - loop, axis=1)).astype(int), 1)
    share = np.concatenate([np.arange(n) / n for n in steps])
    rows = np.repeat(np.arange(len(loop)), steps)
    return np.asarray(loop[rows] + share[:, None] * (following - loop)[rows])
