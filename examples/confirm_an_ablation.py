"""Confirm an ablation: the tumour before and the zone after it, laid on each other by landmarks, margin by margin.

    python examples/confirm_an_ablation.py

Both scans are made here: a tumour below the capsule of an organ, a zone that ends at the capsule and is shifted a
little too far, in a frame and voxels of its own. Research software, not a medical device.
"""

import numpy as np

from needleplan.confirmation.alignment import AFTER, by_landmarks
from needleplan.confirmation.confirm import Confirmation, confirm
from needleplan.confirmation.options import ConfirmationOptions
from needleplan.confirmation.record import direction_words
from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.grid import Grid, VoxelMask
from needleplan.registration.rotations import rotations_of

#: Middle of the tumour in patient LPS, its radius, and how deep its middle lies below the capsule, mm.
MIDDLE_MM = np.array([-60.0, -20.0, 110.0])
TUMOUR_MM, DEPTH_MM = 10.0, 12.0
#: Radius of the zone, and by how much its middle misses the tumour's.
ZONE_MM, MISSED_BY_MM = 16.0, np.array([0.0, 2.0, -1.0])
#: Where the patient lies in the scan after, in the frame of the scan before.
AFTER_POSE = RigidTransform.from_parts(Frame.PATIENT, AFTER, rotations_of((0.05, -0.1, 0.2)), (15.0, -30.0, 8.0))
#: Landmarks that are found in both scans, and how exactly: standard deviation of each coordinate, mm.
LANDMARKS, FOUND_TO_MM = 8, 0.7


def voxel_grid(middle_mm: FloatArray, reach_mm: float, spacing_mm: tuple[float, float, float]) -> Grid:
    """A grid about a point."""
    spacing = np.array(spacing_mm)
    shape = np.ceil(2.0 * reach_mm / spacing).astype(int)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = middle_mm - 0.5 * spacing * (shape - 1)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)


def main(margin_mm: float = 5.0) -> Confirmation:
    """Make both scans, align them, measure the margins and print what was achieved."""
    rng = np.random.default_rng(0)
    before = voxel_grid(MIDDLE_MM, 45.0, (1.0, 1.0, 1.5))
    points = before.centres_mm()
    # The capsule is a plane to the patient's right of the tumour.
    organ_holds = points[:, 0] > MIDDLE_MM[0] - DEPTH_MM
    organ = VoxelMask.cropped(before, organ_holds.reshape(before.shape))
    in_tumour = np.linalg.norm(points - MIDDLE_MM, axis=1) < TUMOUR_MM
    tumour = VoxelMask.cropped(before, in_tumour.reshape(before.shape))

    to_after = AFTER_POSE.inverse()
    after = voxel_grid(to_after.apply(MIDDLE_MM), 28.0, (0.9, 0.9, 1.2))
    points = AFTER_POSE.apply(after.centres_mm())
    in_zone = np.linalg.norm(points - MIDDLE_MM - MISSED_BY_MM, axis=1) < ZONE_MM
    in_zone &= points[:, 0] > MIDDLE_MM[0] - DEPTH_MM
    zone = VoxelMask.cropped(after, in_zone.reshape(after.shape))

    places = MIDDLE_MM + rng.normal(0.0, 40.0, (LANDMARKS, 3))
    seen_after = to_after.apply(places) + rng.normal(0.0, FOUND_TO_MM, (LANDMARKS, 3))
    alignment = by_landmarks(places, seen_after)

    found = confirm(tumour, zone, alignment, organ_before=organ, options=ConfirmationOptions(margin_mm=margin_mm))
    shares = found.margins.shares
    plain_mm = found.margins.plain_least_mm
    print(f"least margin {found.margins.least_mm:+.1f} mm, without the capsule rule {plain_mm:+.1f} mm")
    if found.spread is not None:
        low, high = found.spread.low_mm, found.spread.high_mm
        print(f"  with the error of the alignment, 90 %: {low:+.1f} to {high:+.1f} mm")
    print(f"  surface below 0: {shares.uncovered:.1%}, below {margin_mm:g} mm: {shares.short:.1%}")
    print(f"tumour covered {found.coverage:.1%}, with 5 mm about it {found.volumetric[4].covered:.1%}")
    for piece in found.shortfall.pieces[:2]:
        place = ", ".join(f"{value:.0f}" for value in piece.ball_centre_mm)
        print(
            f"  short of {margin_mm:g} mm: {piece.volume_ml:.2f} ml about ({place}), {piece.depth_mm:.1f} mm "
            f"towards {direction_words(piece.direction)}"
        )
    for note in found.notes:
        print(f"  {note}")
    return found


if __name__ == "__main__":
    main()
