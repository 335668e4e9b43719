"""In which scenarios a needle hits a structure."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Role
from needleplan.devices.catalogue import DeviceCatalogue
from needleplan.frames import FloatArray
from needleplan.trajectory.measured import HANDLE_MM
from needleplan.uncertainty.scenarios import Scenarios

#: Straight parts that stand in for a bent needle.
_CHORDS = 4
#: Distances are searched for this much farther than decides.
_BEYOND_MM = 1e-6


def needle_hits(
    queries: AnatomyQueries, scenarios: Scenarios, surface: StructureSurface, catalogue: DeviceCatalogue
) -> NDArray[np.bool_]:
    """(n, k) True where a needle's surface comes nearer than 0 mm to a structure, or its entry lies inside it.

    Distances to the structure's mesh are exact. A bent needle is measured along chords, and a structure within the
    chords' own error counts as hit. As for planned paths, the shaft outside counts where obstacles may lie
    outside the entry surface: with one that stands in for a skin, and for forbidden regions.

    Raises:
        DeviceError: an applicator is not in the catalogue.
    """
    tree = queries.tree(surface)
    outside = surface.role is Role.NO_GO or queries.anatomy.case.entry_substitute is not None
    hits = np.zeros(scenarios.tip_mm.shape[:2], dtype=np.bool_)
    for j, insertion in enumerate(scenarios.insertions):
        applicator = catalogue.applicator(insertion.applicator)
        entry = scenarios.entry_mm[:, j]
        nodes, error_mm = _nodes(scenarios, j)
        parts = nodes.shape[1] - 1
        demand = applicator.radius_mm + error_mm
        distance = tree.segment_distance_mm(
            nodes[:, :-1].reshape(-1, 3), nodes[:, 1:].reshape(-1, 3), float(demand.max()) + _BEYOND_MM
        )
        hits[:, j] = distance.reshape(-1, parts).min(axis=1) < demand
        rest = np.flatnonzero(~hits[:, j])
        hits[rest, j] = tree.contains(entry[rest])
        if outside:
            back = (applicator.usable_length_mm + HANDLE_MM) * _unit(nodes[:, 1] - nodes[:, 0])
            hits[:, j] |= ~tree.keeps_distance(entry, entry - back, applicator.radius_mm)
    return hits


def _nodes(scenarios: Scenarios, needle: int) -> tuple[FloatArray, FloatArray]:
    """Ends (n, c + 1, 3) of the straight parts of a needle, and (n,) how far its axis may lie from them.

    The parabola with tip bending b has b x² at the share x of its length; between the ends of one of c parts it
    lies at most |b| / (4 c²) from the chord.
    """
    entry, tip, bend = scenarios.entry_mm[:, needle], scenarios.tip_mm[:, needle], scenarios.bend_mm[:, needle]
    bending = np.linalg.norm(bend, axis=1)
    if not bending.any():
        return np.stack([entry, tip], axis=1), np.zeros(len(entry))
    share = np.linspace(0.0, 1.0, _CHORDS + 1)[None, :, None]
    straight = entry[:, None] + share * (tip - bend - entry)[:, None]
    return straight + share**2 * bend[:, None], bending / (4.0 * _CHORDS**2)


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
