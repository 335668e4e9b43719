"""The margin in a scene: its histogram and map, and the target painted by it."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.app.page.scene_values import SceneValue, packed
from needleplan.assess import Assessment
from needleplan.frames import FloatArray
from needleplan.viz.margin_shares import MarginBin, checked_margins, margin_bins, margin_map, vertex_areas_mm2
from needleplan.viz.orientation import anatomical_axes
from needleplan.viz.palette import rgb
from needleplan.viz.planes import centroid_mm

#: Columns and rows of the map: the least margin of each 2 x 2 cells of the finer one.
_COARSER = 2
#: Most bars of the histogram; they are a whole number of millimetres wide.
_MOST_BARS = 40


def margin_section(anatomy: Anatomy, assessment: Assessment) -> dict[str, SceneValue]:
    """Histogram over the target's surface, by area, and map of the least margin in every direction.

    Raises:
        OptionError: the margins do not belong to this target.
    """
    mesh = anatomy.target.mesh
    asked = assessment.metrics.margin_mm
    margins = checked_margins(mesh, assessment.vertex_margins_mm, asked)
    bins = margin_bins(mesh, margins, asked)
    least = margin_map(mesh, margins, centroid_mm(anatomy), anatomical_axes(anatomy.case))
    rows, columns = (n // _COARSER for n in least.shape)
    least = least.reshape(rows, _COARSER, columns, _COARSER).min(axis=(1, 3))[::-1]
    shares = "; ".join(f"{one.label} {one.percent}" for one in bins)
    return {
        "asked_mm": float(asked),
        "least_mm": round(float(margins.min()), 3),
        "histogram": _bars(mesh, margins, asked, bins),
        "map": {
            "columns": columns, "rows": rows, "values_mm": packed(np.round(least, 2).astype(np.float32)),
            "x_label": "P – R – A – L – P: around the target, seen by someone who faces the patient",
            "y_label": "superior at the top, inferior at the bottom",
        },
        "note": f"Signed distance from the target's surface to the edge of the predicted zone, positive where the "
        f"zone reaches beyond; shares of surface area: {shares}. The map shows the least margin in every direction "
        "from the target's centre.",
    }  # fmt: skip


def _bars(
    mesh: SurfaceMesh, margins: FloatArray, asked_mm: float, bins: tuple[MarginBin, ...]
) -> list[dict[str, SceneValue]]:
    """Bars of whole millimetres, cut at zero and at the margin asked for, so that each has one colour."""
    low, high = np.floor(margins.min()), np.ceil(margins.max())
    width = max(1.0, float(np.ceil((high - low) / _MOST_BARS)))
    edges = np.arange(low, max(high, low + width) + 0.5 * width, width)
    edges = np.unique(np.concatenate([edges, [e for e in (0.0, asked_mm) if edges[0] < e < edges[-1]]]))
    if edges[-1] <= margins.max():
        edges = np.append(edges, edges[-1] + width)
    weight = vertex_areas_mm2(mesh)
    share, _ = np.histogram(margins, bins=edges, weights=weight / weight.sum())
    return [
        {
            "low_mm": float(a), "high_mm": float(b), "area_share": round(float(value), 6),
            "colour": next(one.color for one in bins if one.low_mm <= a < one.high_mm),
        }
        for a, b, value in zip(edges[:-1], edges[1:], share, strict=True)
    ]  # fmt: skip


def margin_colours(anatomy: Anatomy, assessment: Assessment, points_mm: FloatArray) -> NDArray[np.uint8]:
    """(n, 3) colour of points (n, 3) on the target: that of the bin of the margin at the nearest vertex."""
    from scipy.spatial import cKDTree

    mesh = anatomy.target.mesh
    asked = assessment.metrics.margin_mm
    margins = checked_margins(mesh, assessment.vertex_margins_mm, asked)
    bins = margin_bins(mesh, margins, asked)
    near = margins[cKDTree(mesh.vertices_mm).query(points_mm)[1]]
    colours = np.array([np.round(255 * np.array(rgb(one.color))) for one in bins], dtype=np.uint8)
    return colours[np.searchsorted([one.high_mm for one in bins[:-1]], near, side="right")]
