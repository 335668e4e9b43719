"""An organ's map that leaves out tumour, zone or vessels has no capsule around them."""

import dataclasses

import numpy as np
import pytest
from small_case import grid as oblique_grid

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.whole_organ import with_lesion, without_cavities
from needleplan.errors import GeometryError
from needleplan.grid import Grid, VoxelMask

MIDDLE = oblique_grid().to_patient((24.0, 20.0, 15.0))


def ball(grid: Grid, radius_mm: float, shift=(0.0, 0.0, 0.0)) -> VoxelMask:
    near = np.linalg.norm(grid.centres_mm() - MIDDLE - shift, axis=1) <= radius_mm
    return VoxelMask.cropped(grid, near.reshape(grid.shape))


def fine_grid() -> Grid:
    """Another lattice about the same place, turned against the first."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) * [1.5, 1.2, 2.0]
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ [40.0, 40.0, 30.0]
    return Grid((81, 81, 61), matrix)


def without(organ: VoxelMask, part: VoxelMask) -> VoxelMask:
    out = part.contains(organ.grid.centres_mm()).reshape(organ.grid.shape)
    return dataclasses.replace(organ, inside=organ.inside & ~out)


@pytest.mark.parametrize("lesion_grid", [oblique_grid(), fine_grid()], ids=["same lattice", "another lattice"])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (20.0, 5.0, -4.0)], ids=["inside", "at the capsule"])
def test_a_lesion_that_was_left_out_is_organ_again(lesion_grid, shift):
    whole, lesion = ball(oblique_grid(), 34.0), ball(lesion_grid, 12.0, shift)
    joined, notes = with_lesion(without(whole, lesion), lesion, "tumour")
    assert len(notes) == 1 and "leaves the tumour out" in notes[0]
    points = np.concatenate([lesion.grid.to_patient(np.argwhere(lesion.inside)), whole.grid.centres_mm()])
    inside = np.linalg.norm(points - MIDDLE, axis=1) < 34.0 - oblique_grid().half_diagonal_mm
    assert joined.contains(points[inside]).all()
    far = np.linalg.norm(points - MIDDLE - shift, axis=1) > 12.0 + 12.0
    np.testing.assert_array_equal(joined.contains(points[far]), whole.contains(points[far]))


def test_an_organ_that_holds_the_lesion_or_lies_elsewhere_is_left_as_it_is():
    whole = ball(oblique_grid(), 34.0)
    held, apart = ball(fine_grid(), 12.0), ball(oblique_grid(), 6.0, (48.0, 0.0, 0.0))
    assert with_lesion(whole, held, "tumour") == (whole, ())
    assert with_lesion(whole, apart, "tumour") == (whole, ())


def test_the_capsule_rule_excuses_nothing_at_the_wall_of_a_left_out_tumour():
    # Tumour of 10 mm in a zone of 12: a margin of 2 mm, deep in the organ.
    organ, tumour, zone = ball(fine_grid(), 34.0), ball(fine_grid(), 10.0), ball(fine_grid(), 12.0)
    whole = confirm(tumour, zone, same_frame(0.5), organ_before=organ)
    hollow = confirm(tumour, zone, same_frame(0.5), organ_before=without(organ, tumour))
    assert hollow.margins.least_mm == pytest.approx(whole.margins.least_mm, abs=1e-9)
    assert hollow.margins.beside_capsule_share == 0.0
    after = confirm(tumour, zone, same_frame(0.5), organ_after=without(organ, zone))
    assert after.margins.least_mm == pytest.approx(whole.margins.least_mm, abs=1e-9)
    assert any("leaves the zone out" in note for note in after.notes)


def test_a_vessel_that_was_left_out_is_no_capsule_unless_it_leads_out():
    organ, vessel = ball(fine_grid(), 34.0), ball(fine_grid(), 5.0, (15.0, 0.0, 0.0))
    filled, notes = without_cavities(without(organ, vessel))
    np.testing.assert_array_equal(filled.inside, organ.inside)
    assert len(notes) == 1 and "encloses 0." in notes[0]
    assert without_cavities(organ) == (organ, ())
    channel = organ.inside.copy()
    channel[40:, channel.shape[1] // 2, channel.shape[2] // 2] = False
    opened = dataclasses.replace(organ, inside=channel)
    assert without_cavities(opened) == (opened, ())


def test_a_tumour_of_another_organ_is_still_refused():
    organ, tumour = ball(oblique_grid(), 20.0), ball(oblique_grid(), 8.0, (42.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="lies in the organ"):
        confirm(tumour, ball(oblique_grid(), 12.0, (42.0, 0.0, 0.0)), same_frame(0.5), organ_before=organ)
