"""Whether an ablation reached its margin, by the tumour on the scan before and the zone on the scan after."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.measured_zone import MeasuredZone
from needleplan.confirmation.alignment import Alignment
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.direction import check_direction
from needleplan.confirmation.margin_map import MarginMap, margin_map
from needleplan.confirmation.margin_spread import MarginSpread, margin_spread
from needleplan.confirmation.options import FARTHEST_MM, VOLUMETRIC_MM, ConfirmationOptions
from needleplan.confirmation.plausibility import check_organ_before, check_organs, check_zone_place
from needleplan.confirmation.residue import Residue, measure_residue
from needleplan.confirmation.subvoxel_surface import resolution_mm, subvoxel_surface
from needleplan.confirmation.volumetric import VolumetricMargin, volumetric_margins
from needleplan.confirmation.voxel_checks import coarse_notes, cut_notes, require_extent, require_smooth
from needleplan.confirmation.whole_organ import with_lesion, without_cavities
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask

#: A greater share of the tumour outside the zone is left, however thin the layer: volumes err less than margins.
_LEFT_SHARE = 0.02
#: A smaller share of the surface is not spoken of.
_SAID_SHARE = 0.005
#: The organ is looked at within this distance of the tumour: farther than any margin is told apart.
_ORGAN_REACH_MM = FARTHEST_MM + 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Confirmation:
    """What an ablation achieved, in the frame of the scan before it.

    Attributes:
        margins: signed margins over the tumour's surface.
        spread: what the error of the alignment makes of the least one; None where that error is not known.
        volumetric: cover of the tumour with 1 to 10 mm about it.
        residue: what was left of the tumour.
        shortfall: what was left of the tumour with the margin that was asked for.
        tumour_ml: volume of the tumour.
        zone_ml: volume of the zone.
        surface_error_mm: a margin errs by no more because of the voxels of tumour and zone.
        resolution_mm: single margins of smooth surfaces err by about so much because of them, along their longest
            edges; the mean by far less.
        zone_mask: the zone's voxels, aligned.
        zone: its surface, aligned.
        organ: surface of the organ about the tumour; None where none was given.
        alignment: how the scans were laid on each other.
        options: what was asked for.
        notes: what a reader must know, a sentence each.
    """

    margins: MarginMap
    spread: MarginSpread | None
    volumetric: tuple[VolumetricMargin, ...]
    residue: Residue
    shortfall: Residue
    tumour_ml: float
    zone_ml: float
    surface_error_mm: float
    resolution_mm: float
    zone_mask: VoxelMask
    zone: ClosedBody
    organ: ClosedBody | None
    alignment: Alignment
    options: ConfirmationOptions
    notes: tuple[str, ...]

    @property
    def coverage(self) -> float:
        """Share of the tumour's volume that the zone holds."""
        return 1.0 - self.residue.left_ml / self.residue.tumour_ml

    @property
    def full_cover_mm(self) -> int | None:
        """Largest whole margin of 0 to 10 mm that the zone holds as a whole; None where tumour is left.

        A tumour dilated by m lies in the zone where its surface has a margin of m everywhere and nothing is left
        inside it.
        """
        if self.tumour_left or self.margins.least_mm < 0:
            return None
        return min(int(self.margins.least_mm), VOLUMETRIC_MM[-1])

    @property
    def tumour_left(self) -> bool:
        """True where tumour lies farther outside the zone than the voxels leave open, or too much of it."""
        return (
            bool(self.residue.pieces)
            or self.margins.least_mm < -self.resolution_mm
            or 1.0 - self.coverage > _LEFT_SHARE
        )

    @property
    def reached(self) -> bool:
        """True where the margin that was asked for is reached all over and no tumour is left."""
        return not self.tumour_left and self.margins.least_mm >= self.options.margin_mm

    def measured_zone(self) -> MeasuredZone:
        """The zone for planning what it left (``coverage.touch_up``), less all that it may be wrong by.

        The error of the alignment is taken twice, as 95 % of errors of a normal law in one direction lie below.
        """
        error = self.alignment.error_mm(self.margins.mesh.bounds_mm.mean(axis=0))
        return MeasuredZone.of_mask(self.zone_mask, 0.0 if error is None else 2.0 * error / float(np.sqrt(3.0)))


def confirm(
    tumour: VoxelMask,
    zone: VoxelMask,
    alignment: Alignment,
    *,
    organ_before: VoxelMask | None = None,
    organ_after: VoxelMask | None = None,
    options: ConfirmationOptions | None = None,
    progress: Callable[[str, float], None] = lambda name, fraction: None,
) -> Confirmation:
    """Measure the margins of an ablation.

    Args:
        tumour: the tumour in the scan before, patient LPS; any grid.
        zone: the zone in the scan after, in that scan's frame; any other grid.
        alignment: lays the scan after on the scan before.
        organ_before: the organ that holds the tumour, in the scan before; its surface is the capsule. A map that
            leaves the tumour out is taken together with it.
        organ_after: the same organ in the scan after; the capsule where there is none from before.
        options: margin and capsule.
        progress: called with what is being done and the fraction done.

    Raises:
        GeometryError: a structure is no such thing in millimetres, the zone lies far from the tumour, one of them
            lies outside the organ, the organs do not coincide, the alignment leads the wrong way, or a border is
            noise.
    """
    options = options or ConfirmationOptions()
    for mask, what in ((tumour, "tumour"), (zone, "zone")):
        require_extent(mask, what)
        require_smooth(mask, what)
    matrix = alignment.transform.matrix
    placed = VoxelMask(zone.grid.moved(matrix), zone.inside, zone.cut_sides)
    notes = [*alignment.notes, *coarse_notes(tumour, "tumour"), *coarse_notes(zone, "zone")]
    notes += cut_notes(tumour, "tumour", "it may go on beyond it, where no margin is known")
    notes += cut_notes(zone, "zone", "margins there are lower bounds")
    if organ_before is not None:
        organ_before, said = with_lesion(organ_before, tumour, "tumour")
        notes += said
    if organ_after is not None:
        organ_after, said = with_lesion(organ_after, zone, "zone")
        notes += said
    notes += check_direction(tumour, zone, alignment, organ_before, organ_after)
    if organ_before is not None and organ_after is not None:
        notes += check_organs(organ_before, organ_after, alignment)
    organ_mask = organ_before
    if organ_mask is None and organ_after is not None:
        organ_mask = VoxelMask(organ_after.grid.moved(matrix), organ_after.inside, organ_after.cut_sides)
    progress("surfaces", 0.1)
    tumour_surface, zone_surface = subvoxel_surface(tumour), subvoxel_surface(placed)
    tumour_body, zone_body = ClosedBody.of(tumour_surface), ClosedBody.of(zone_surface)
    notes += check_zone_place(tumour_body, zone_body)
    organ = None
    if organ_mask is not None:
        organ_mask, said = without_cavities(organ_mask)
        notes += said
        notes += check_organ_before(organ_mask, tumour, placed)
        notes += cut_notes(organ_mask, "organ", "the capsule is not known there")
        about = _about(organ_mask, tumour_body.mesh.bounds_mm)
        require_smooth(about, "organ")
        organ = ClosedBody.of(subvoxel_surface(about))
    progress("margins", 0.4)
    margins = margin_map(tumour_body, zone_body, organ, options)
    if margins.undecided_share >= _SAID_SHARE:
        notes.append(
            f"{margins.undecided_share:.0%} of the tumour's surface lies at the capsule and outside the zone by "
            "less than the voxels tell; the capsule rule takes it as covered."
        )
    progress("volumes", 0.6)
    volumetric = volumetric_margins(tumour_body, zone_body, organ)
    residue = measure_residue(tumour_body, zone_body, organ, 0.0)
    if not residue.tumour_ml > 0:
        raise GeometryError(
            f"the tumour is thinner than the cubes of {residue.cube_mm:.2g} mm in which it is counted: it is a "
            "sheet, and no tumour"
        )
    shortfall = measure_residue(tumour_body, zone_body, organ, options.margin_mm)
    progress("errors", 0.9)
    spread = None
    if alignment.covariance is not None:
        spread = margin_spread(margins, zone_body, alignment.covariance, options)
    return Confirmation(
        margins=margins,
        spread=spread,
        volumetric=volumetric,
        residue=residue,
        shortfall=shortfall,
        tumour_ml=tumour_body.mesh.volume_mm3 / 1000.0,
        zone_ml=zone_body.mesh.volume_mm3 / 1000.0,
        surface_error_mm=tumour_surface.error_mm + zone_surface.error_mm,
        resolution_mm=resolution_mm(tumour_surface, zone_surface),
        zone_mask=placed,
        zone=zone_body,
        organ=organ,
        alignment=alignment,
        options=options,
        notes=tuple(notes),
    )


def _about(organ: VoxelMask, bounds_mm: FloatArray) -> VoxelMask:
    """The part of an organ about a box; raises GeometryError where there is none."""
    low, high = bounds_mm[0] - _ORGAN_REACH_MM, bounds_mm[1] + _ORGAN_REACH_MM
    corners = [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    index = organ.grid.to_index(corners)
    size = np.asarray(organ.grid.shape)
    first = np.clip(np.floor(index.min(axis=0)).astype(int), 0, size)
    last = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, 0, size)
    part = organ.inside[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    if not part.any():
        raise GeometryError(f"the organ has no voxel within {_ORGAN_REACH_MM:g} mm of the tumour")
    shape = (part.shape[0], part.shape[1], part.shape[2])
    return VoxelMask(organ.grid.cropped((int(first[0]), int(first[1]), int(first[2])), shape), part)
