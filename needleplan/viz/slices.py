"""Single axial slices for paper: small, whole body, one point each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.model import Anatomy
from needleplan.plan import Insertion
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.orientation import anatomical_axes
from needleplan.viz.palette import BACKGROUND
from needleplan.viz.planes import box_in, cuts_of, draw_into, window_about
from needleplan.viz.section import ImagePlane

#: Share of the height that the heading takes.
_HEADING = 0.085


def draw_axial_slice(
    anatomy: Anatomy,
    point_mm: ArrayLike,
    heading: str,
    insertions: Sequence[Insertion] = (),
    zone: LethalZone | None = None,
    *,
    margin_mm: float = 5.0,
    size: tuple[int, int] = (480, 384),
) -> RgbArray:
    """The axial slice through a point, seen from the feet, the patient's right at the left.

    Args:
        anatomy: the patient.
        point_mm: (3,) point in patient LPS.
        heading: words above it.
        insertions: needles; solid within 3 mm of the slice, dashed where they are projected onto it.
        zone: their predicted zone, drawn as contour.
        margin_mm: margin whose contour about the target is drawn; 0 draws none.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    left, posterior, _ = anatomical_axes(anatomy.case).T
    plane = ImagePlane(heading, np.asarray(point_mm, dtype=np.float64), left, posterior)
    figure = new_figure(size, BACKGROUND)
    axes = figure.add_axes((0.005, 0.01, 0.99, 1 - _HEADING - 0.01))
    bounds = np.concatenate([surface.mesh.bounds_mm for surface in anatomy.surfaces])
    box = box_in(np.stack([bounds.min(axis=0), bounds.max(axis=0)]), plane, 6.0)
    middle = np.array([(box[0] + box[1]) / 2, (box[2] + box[3]) / 2])
    aspect = 0.99 * size[0] / ((0.99 - _HEADING) * size[1])
    window = window_about(middle, box[1] - box[0], box[3] - box[2], aspect)
    draw_into(axes, anatomy, plane, cuts_of(anatomy, plane), window, insertions, zone, margin_mm, 1.1)
    return rasterise(figure)
