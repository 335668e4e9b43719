"""Masks from labels: union across grids, connected components, sides that the image cuts."""

import numpy as np
import pytest
from small_case import grid

from needleplan.case.masks import LabelIndex, component, unite
from needleplan.errors import CaseError
from needleplan.grid import Grid, VoxelMask
from needleplan.io.labels import LabelVolume, Segment


def volume(values: np.ndarray, base: Grid | None = None) -> LabelVolume:
    return LabelVolume(base or Grid(values.shape, np.diag([2.0, 3.0, 5.0, 1.0])), (values,), (), "")


def points_of(mask: VoxelMask) -> set[tuple[float, ...]]:
    return {tuple(p) for p in mask.grid.to_patient(np.argwhere(mask.inside)).round(6)}


@pytest.mark.parametrize("order", ["C", "F"])
def test_mask_holds_exactly_the_listed_labels(order):
    values = np.asarray(np.random.default_rng(2).integers(0, 600, (11, 13, 7)), order=order)
    base = Grid(values.shape, grid().T_PV)
    mask = LabelIndex(volume(values, base)).mask([451, 17, 3], "x")
    expected = {tuple(p) for p in base.to_patient(np.argwhere(np.isin(values, [451, 17, 3]))).round(6)}
    assert points_of(mask) == expected and len(expected) > 0


def test_bit_sums_are_handled_by_listing_them():
    values = np.array([[[0, 1, 17, 33, 451, 465]]])
    assert LabelIndex(volume(values)).mask([17, 465], "x").inside.sum() == 2
    assert LabelIndex(volume(values)).mask([1, 17, 33, 451, 465], "x").volume_mm3 == pytest.approx(5 * 30)


def test_unknown_and_empty_labels_are_named_with_those_there_are():
    segments = (Segment("liver", 1, 0), Segment("ghost", 4, 0))
    base = Grid((2, 1, 1), np.eye(4))
    index = LabelIndex(LabelVolume(base, (np.array([[[1]], [[2]]]),), segments, ""))
    assert index.mask(["liver"], "f").inside.sum() == 1
    for label, words in (
        (9, "its labels are 1, 2"),
        ("spleen", "'liver', 'ghost'"),
        ("ghost", "is empty"),
        (4, "empty"),
    ):
        with pytest.raises(CaseError, match=words):
            index.mask([label], "f")


def test_sides_at_the_edge_of_the_image_are_cut_and_only_those():
    values = np.zeros((6, 6, 6), int)
    values[0:3, 2:6, 1:5] = 1
    assert LabelIndex(volume(values)).mask([1], "x").cut_sides == ((True, False), (False, True), (False, False))


def test_union_on_one_lattice_is_exact_even_where_the_files_differ_in_extent():
    """Two files of one scan with different slices: pasted, not resampled."""
    whole = grid()
    a = VoxelMask(whole.cropped((2, 3, 1), (4, 5, 6)), np.random.default_rng(0).random((4, 5, 6)) < 0.5)
    b = VoxelMask(whole.cropped((-3, 5, 4), (6, 4, 9)), np.random.default_rng(1).random((6, 4, 9)) < 0.5)
    union = unite([a, b])
    assert points_of(union) == points_of(a) | points_of(b)
    assert points_of(unite([b, a])) == points_of(union)


def test_union_across_turned_grids_keeps_the_place_and_the_volume():
    """A ball on a fine grid and a ball on a coarse, oblique one; truth is the shape itself."""
    fine = Grid((60, 60, 60), np.diag([1.0, 1.0, 1.0, 1.0]))
    centres = np.array([[25.0, 30, 30], [40.0, 30, 32]])
    ball = np.linalg.norm(fine.centres_mm() - centres[0], axis=1).reshape(fine.shape) < 14
    coarse = Grid((40, 40, 40), grid().T_PV @ np.diag([0.6, 0.6, 0.6, 1.0])).moved(np.eye(4))
    shift = np.eye(4)
    shift[:3, 3] = centres[1] - coarse.to_patient([20, 20, 20])
    coarse = coarse.moved(shift)
    other = np.linalg.norm(coarse.centres_mm() - centres[1], axis=1).reshape(coarse.shape) < 14
    union = unite([VoxelMask.cropped(coarse, other), VoxelMask.cropped(fine, ball)])
    np.testing.assert_allclose(union.grid.spacing_mm, 1.0)
    points = np.random.default_rng(3).uniform([5, 10, 10], [60, 50, 50], (20_000, 3))
    depth = 14 - np.linalg.norm(points[:, None] - centres, axis=2).min(axis=1)
    found = union.contains(points)
    sure = coarse.half_diagonal_mm + fine.half_diagonal_mm
    assert found[depth > sure].all() and not found[depth < -sure].any()
    expected = float((depth > 0).mean())
    assert found.mean() == pytest.approx(expected, rel=0.03)


def test_union_is_cut_only_where_the_outermost_part_is():
    """The vessel's image ends inside the liver: there the union is not cut."""
    base = Grid((10, 10, 10), np.eye(4))
    values = np.zeros((10, 10, 10), bool)
    values[2:8, 2:8, 0:8] = True
    liver = VoxelMask.cropped(base, values)
    part = Grid((10, 10, 5), base.cropped((0, 0, 3), (10, 10, 5)).T_PV)
    vessel = VoxelMask.cropped(part, np.pad(np.ones((2, 2, 5), bool), ((4, 4), (4, 4), (0, 0))))
    assert vessel.cut_sides[2] == (True, True)
    assert unite([liver, vessel]).cut_sides == ((False, False), (False, False), (True, True))
    shorter = VoxelMask(
        vessel.grid.cropped((0, 0, 0), (2, 2, 3)), vessel.inside[:, :, :3], ((False,) * 2,) * 2 + ((True, True),)
    )
    assert unite([liver, shorter]).cut_sides == ((False, False), (False, False), (True, False))


def test_components_by_rank_and_by_nearest_point():
    values = np.zeros((30, 10, 10), bool)
    values[1:4, 1:4, 1:4] = True  # 27 voxels
    values[10:14, 2:6, 2:6] = True  # 64
    values[20:22, 3:5, 3:5] = True  # 8
    values[22, 5, 5] = True  # touches only by a corner
    mask = VoxelMask.cropped(Grid(values.shape, grid().T_PV), values)
    assert [component(mask, rank, None).inside.sum() for rank in (1, 2, 3, 4)] == [64, 27, 8, 1]
    place = grid().to_patient([20.4, 3.6, 3.4])
    assert component(mask, None, place).inside.sum() == 8
    assert points_of(component(mask, None, place)) <= points_of(mask)
    with pytest.raises(CaseError, match="only 4"):
        component(mask, 5, None)


def test_a_component_is_cut_only_where_it_touches_the_image_itself():
    values = np.zeros((20, 8, 8), bool)
    values[0:4, 2:6, 2:6] = True
    values[10:13, 2:5, 2:5] = True
    mask = VoxelMask.cropped(Grid(values.shape, np.eye(4)), values)
    assert component(mask, 1, None).cut_sides[0] == (True, False)
    assert component(mask, 2, None).cut_sides == ((False, False),) * 3
