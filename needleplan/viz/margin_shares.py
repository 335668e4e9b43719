"""Figures of the signed margin over a tumour's surface: shares by area, and the least margin by direction."""

from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.percentages import percent_down, percent_up
from needleplan.viz.palette import COVERED, INSUFFICIENT, NOT_ABLATED

#: Cells of the map along the equator; a cell is 1 degree wide.
MAP_CELLS = 360
#: Points at which the surface is sampled for the map; faces may be wider than a cell.
_MAP_SAMPLES = 250_000


@dataclass(frozen=True, slots=True)
class MarginBin:
    """One of the disjoint bins of the signed margin.

    Attributes:
        label: what it means.
        low_mm: lower border, part of the bin; minus infinity for the first.
        high_mm: upper border, not part of it; infinity for the last.
        color: hexadecimal RGB.
        share: part of the tumour's surface area in the bin; the shares of all bins add to 1.
    """

    label: str
    low_mm: float
    high_mm: float
    color: str
    share: float

    @property
    def percent(self) -> str:
        """The share in percent: rounded down where the margin is reached, and up where it is not."""
        return percent_down(self.share) if np.isinf(self.high_mm) else percent_up(self.share)


def vertex_areas_mm2(mesh: SurfaceMesh) -> FloatArray:
    """(n,) surface area that belongs to each vertex: a third of each face about it; they add to the area."""
    area = np.linalg.norm(mesh.area_vectors_mm2, axis=1) / 3.0
    return np.asarray(
        sum(np.bincount(mesh.faces[:, k], weights=area, minlength=len(mesh.vertices_mm)) for k in range(3))
    )


def checked_margins(mesh: SurfaceMesh, margins_mm: FloatArray, asked_mm: float) -> FloatArray:
    """``margins_mm`` as an array; raises OptionError where they do not belong to ``mesh``."""
    margins = np.asarray(margins_mm, dtype=np.float64)
    if margins.shape != (len(mesh.vertices_mm),) or not np.isfinite(margins).all():
        raise OptionError(
            f"margins must be one finite number for each of the {len(mesh.vertices_mm)} vertices of the target, "
            f"but have the shape {margins.shape}"
        )
    if not (np.isfinite(asked_mm) and asked_mm >= 0):
        raise OptionError(f"the margin that was asked for must be zero or more, but is {asked_mm} mm")
    return margins


def margin_bins(mesh: SurfaceMesh, margins_mm: FloatArray, asked_mm: float = 5.0) -> tuple[MarginBin, ...]:
    """Shares of the tumour's surface that are not ablated, ablated with too little margin, and covered.

    Args:
        mesh: the target's surface.
        margins_mm: (n,) signed margin at each vertex.
        asked_mm: margin that was asked for; with 0 there are two bins.

    Returns:
        Disjoint bins in rising order; a vertex counts with its area.
    """
    margins = checked_margins(mesh, margins_mm, asked_mm)
    weight = vertex_areas_mm2(mesh)
    weight = weight / weight.sum()
    limits = [
        ("surface outside the zone", -np.inf, 0.0, NOT_ABLATED),
        (f"0 to {asked_mm:g} mm", 0.0, asked_mm, INSUFFICIENT),
        (f"{asked_mm:g} mm or more", asked_mm, np.inf, COVERED),
    ]
    return tuple(
        MarginBin(label, low, high, color, float(weight[(margins >= low) & (margins < high)].sum()))
        for label, low, high, color in limits
        if high > low
    )


def margin_map(mesh: SurfaceMesh, margins_mm: FloatArray, centre_mm: FloatArray, axes: FloatArray) -> FloatArray:
    """The least margin in every direction from ``centre_mm``.

    Args:
        mesh: the target's surface.
        margins_mm: (n,) signed margin at each vertex.
        centre_mm: (3,) point that the directions start from.
        axes: (3, 3) columns left, posterior, superior.

    Returns:
        (MAP_CELLS / 2, MAP_CELLS) values in mm: rows from inferior to superior, columns from the patient's back
        over his right, front and left to the back again, as seen by someone who faces him. Where a ray meets
        the surface more than once, the least margin is shown.
    """
    from scipy.spatial import cKDTree

    rows, columns = MAP_CELLS // 2, MAP_CELLS
    # A face is sampled on a triangular lattice, corners included, so that no vertex is left out.
    steps = int(np.clip(np.sqrt(2 * _MAP_SAMPLES / len(mesh.faces)), 1, 30))
    corner = np.array(
        [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)], dtype=np.float64
    )
    corner /= steps
    points = np.einsum("ck,mkx->mcx", corner, mesh.triangles_mm).reshape(-1, 3)
    values = np.einsum("ck,mk->mc", corner, np.asarray(margins_mm)[mesh.faces]).reshape(-1)
    offset = (points - centre_mm) @ axes
    length = np.linalg.norm(offset, axis=1)
    offset, values = offset[length > 1e-9] / length[length > 1e-9, None], values[length > 1e-9]
    longitude = np.arctan2(offset[:, 0], -offset[:, 1])
    latitude = np.arcsin(np.clip(offset[:, 2], -1, 1))
    row = np.clip(((latitude / np.pi + 0.5) * rows).astype(int), 0, rows - 1)
    column = np.clip(((longitude / (2 * np.pi) + 0.5) * columns).astype(int), 0, columns - 1)
    least = np.full((rows, columns), np.inf)
    np.minimum.at(least, (row, column), values)
    empty = ~np.isfinite(least)
    if empty.any():
        across = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * np.pi
        upward = ((np.arange(rows) + 0.5) / rows - 0.5) * np.pi
        lon, lat = np.meshgrid(across, upward)
        cells = np.stack([np.cos(lat) * np.sin(lon), -np.cos(lat) * np.cos(lon), np.sin(lat)], axis=-1)
        nearest = cKDTree(cells[~empty]).query(cells[empty])[1]
        least[empty] = least[~empty][nearest]
    return least
