"""What shows that a scan was aligned with the wrong one, or not at all."""

import numpy as np

from needleplan.confirmation.alignment import Alignment
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask

#: A zone farther from the tumour than this treats something else.
FARTHEST_ZONE_MM = 20.0
#: Shares of the tumour within the organ below which it is refused, and below which it is said.
TUMOUR_IN_ORGAN = (0.5, 0.95)
#: Shares of the zone within the organ, likewise; a zone may reach beyond the capsule.
ZONE_IN_ORGAN = (0.3, 0.7)
#: Overlaps (Dice) of the organ in both scans, likewise.
ORGAN_OVERLAP = (0.5, 0.85)
_SAMPLES = 6000


def check_zone_place(tumour: ClosedBody, zone: ClosedBody) -> tuple[str, ...]:
    """Notes on where the zone lies; raises GeometryError where it lies elsewhere than the tumour."""
    gap = _gap_mm(tumour, zone.mesh.vertices_mm)
    if gap <= 0:
        return ()
    if gap > FARTHEST_ZONE_MM:
        raise GeometryError(
            f"the zone lies {gap:.0f} mm from the tumour after alignment; check that both maps are of one patient "
            "and one lesion, and in which frame each of them is"
        )
    return (f"The zone misses the tumour as a whole, by {gap:.1f} mm.",)


def check_organ_before(organ: VoxelMask, tumour: VoxelMask, zone: VoxelMask) -> tuple[str, ...]:
    """Notes on tumour and aligned zone in the organ; raises GeometryError where they lie outside it."""
    notes = []
    for mask, what, limits in ((tumour, "tumour", TUMOUR_IN_ORGAN), (zone, "aligned zone", ZONE_IN_ORGAN)):
        share = float(organ.contains(middles(mask)).mean())
        if share < limits[0]:
            raise GeometryError(
                f"only {share:.0%} of the {what} lies in the organ, where {limits[0]:.0%} must: the maps are of "
                "different frames, patients or organs"
            )
        if share < limits[1]:
            notes.append(f"Only {share:.0%} of the {what} lies in the organ.")
    return tuple(notes)


def check_organs(before: VoxelMask, after: VoxelMask, alignment: Alignment) -> tuple[str, ...]:
    """Notes on how the organ in both scans coincides; raises GeometryError where it does not.

    Args:
        before: the organ in the scan before.
        after: the organ in the scan after, in that scan's own frame.
        alignment: lays the one on the other.
    """
    shared = overlap(before, after, alignment.transform.matrix)
    if shared < ORGAN_OVERLAP[0]:
        raise GeometryError(
            f"the organs of both scans overlap to only {shared:.0%} (Dice) after alignment, where "
            f"{ORGAN_OVERLAP[0]:.0%} must: the transform is not that of these scans"
        )
    if shared < ORGAN_OVERLAP[1]:
        return (f"The organs of both scans overlap to only {shared:.0%} (Dice) after alignment.",)
    return ()


def _gap_mm(tumour: ClosedBody, zone_points: FloatArray) -> float:
    """Distance of the zone's surface from the tumour; 0 where they meet or one holds the other."""
    points = zone_points[:: max(1, len(zone_points) // _SAMPLES)]
    # A tumour whose middle lies within the zone's own box may be held by it as a whole.
    low, high = points.min(axis=0), points.max(axis=0)
    middle = tumour.mesh.bounds_mm.mean(axis=0)
    if ((middle >= low) & (middle <= high)).all() or tumour.contains(points).any():
        return 0.0
    return float(tumour.tree.segment_distance_mm(points, points).min())


def overlap(before: VoxelMask, after: VoxelMask, matrix: FloatArray) -> float:
    """Dice overlap of a mask with another one that is moved, by voxels of both."""
    moved = VoxelMask(after.grid.moved(matrix), after.inside)
    first = before.volume_mm3 * float(moved.contains(middles(before)).mean())
    second = moved.volume_mm3 * float(before.contains(middles(moved)).mean())
    return (first + second) / (before.volume_mm3 + moved.volume_mm3)


def middles(mask: VoxelMask) -> FloatArray:
    """(n, 3) middles of some of the voxels of a mask, evenly."""
    rows = np.flatnonzero(mask.inside)
    rows = rows[:: max(1, len(rows) // _SAMPLES)]
    return mask.grid.to_patient(np.column_stack(np.unravel_index(rows, mask.grid.shape)))
