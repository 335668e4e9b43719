"""Which tissue lies where, and which vessels count: regions over one another, and widths of vessels on any grid."""

import numpy as np
import pytest
from made_cases import rotation

from needleplan.ablation.tissue_map import (
    Cylinder,
    Region,
    TissueMap,
    Vessel,
    homogeneous,
    local_diameters_mm,
)
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import GeometryError, PhysicsError
from needleplan.grid import Grid, VoxelMask
from needleplan.plan import vector3

LIVER, KIDNEY, FAT = (builtin_tissues().tissue(name) for name in ("liver", "kidney", "fat"))


def oblique_grid(spacing, cells, seed):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(seed) * np.asarray(spacing, float)
    matrix[:3, 3] = (40.0, -25.0, 310.0)
    return Grid(tuple(cells), matrix)


def tube(grid, diameter, seed):
    """A tube through the middle of a grid at any angle and off its centres."""
    random = np.random.default_rng(seed)
    middle = grid.to_patient(0.5 * (np.asarray(grid.shape) - 1) + random.uniform(-0.5, 0.5, 3))
    way = random.normal(size=3)
    way *= 12.0 / np.linalg.norm(way)
    return Cylinder(vector3(middle - way), vector3(middle + way), 0.5 * diameter)


def test_a_cylinder():
    solid = Cylinder((1, 2, 3), (1, 2, 13), 4)
    points = [[1, 2, 3], [4.9, 2, 5], [5.1, 2, 5], [1, 2, 13.1], [1, 2, 2.9], [3.8, 4.8, 9], [1, -2, 12]]
    assert solid.contains(points).tolist() == [True, True, False, False, False, True, True]
    turn = rotation(5)
    oblique = Cylinder(vector3(turn @ (1, 2, 3)), vector3(turn @ (1, 2, 13)), 4)
    assert oblique.contains(np.array(points) @ turn.T).tolist()[1:6] == [True, False, False, False, True]


@pytest.mark.parametrize(
    "bad",
    [
        ((0, 0, 0), (0, 0, 0), 1.0),
        ((0, 0, 0), (0, 0, 1), 0.0),
        ((0, 0, 0), (0, 0, 1), float("nan")),
        ((0, 0, 0), (0, 0, float("inf")), 1.0),
    ],
)
def test_impossible_cylinders(bad):
    with pytest.raises(GeometryError, match="two different ends and a radius above zero"):
        Cylinder(*bad)


def test_later_regions_lie_over_earlier_ones():
    one, other = Cylinder((0, 0, -20), (0, 0, 20), 10), Cylinder((8, 0, -20), (8, 0, 20), 10)
    points = [[-5, 0, 0], [4, 0, 0], [15, 0, 0], [30, 0, 0]]
    first = TissueMap(LIVER, (Region(KIDNEY, one), Region(FAT, other)))
    assert first.indices(points).tolist() == [1, 2, 2, 0]
    assert [first.tissues[k].name for k in first.indices(points)] == ["kidney", "fat", "fat", "liver"]
    second = TissueMap(LIVER, (Region(FAT, other), Region(KIDNEY, one)))
    assert second.indices(points).tolist() == [2, 2, 1, 0]
    grid = oblique_grid((3, 2, 4), (7, 8, 9), 3)
    assert (first.rasterised(grid).ravel() == first.indices(grid.centres_mm())).all()
    assert not homogeneous(LIVER).rasterised(grid).any()


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.75, 0.75, 0.75), (0.7, 0.8, 2.0)])
@pytest.mark.parametrize("seed", range(5))
def test_a_ball_finds_the_width_of_a_tube_at_any_angle(spacing, seed):
    """A tube of the diameter or more is kept, one thinner by a voxel and a half is dropped."""
    grid = oblique_grid(spacing, np.ceil(30 / np.asarray(spacing)).astype(int), seed)
    middle = grid.to_patient(0.5 * (np.asarray(grid.shape) - 1))
    points = grid.centres_mm()
    for diameter in (3.0, 4.3, 7.0):
        lumen = VoxelMask(grid, tube(grid, diameter, seed).contains(points).reshape(grid.shape))
        inner = points[lumen.inside.ravel()]
        inner = inner[np.linalg.norm(inner - middle, axis=1) < 8.0]
        found = local_diameters_mm(lumen, inner, (diameter,))
        assert (found == diameter).mean() > (0.95 if len(set(spacing)) == 1 else 0.9)
        too_wide = diameter + 1.5 * max(spacing)
        assert not local_diameters_mm(lumen, inner, (too_wide,)).any()
        if len(set(spacing)) == 1:
            levels = np.arange(1.0, 12.0, 0.5)
            width = local_diameters_mm(lumen, inner, levels)
            assert np.median(width) == pytest.approx(diameter, abs=spacing[0])


def test_a_thin_branch_of_a_wide_trunk_is_dropped():
    grid = oblique_grid((1, 1, 1), (40, 40, 40), 2)
    middle = grid.to_patient((19.3, 20.1, 19.6))
    x, y, _ = rotation(6).T
    trunk = Cylinder(vector3(middle - 16 * x), vector3(middle + 16 * x), 3.0)
    branch = Cylinder(vector3(middle), vector3(middle + 15 * y), 0.8)
    points = grid.centres_mm()
    inside = trunk.contains(points) | branch.contains(points)
    mask = VoxelMask(grid, inside.reshape(grid.shape))
    for solid in (mask, BothOf(trunk, branch)):
        wide = TissueMap(LIVER, vessels=(Vessel("tree", solid),)).vessel_voxels(grid).ravel()
        offset = points - middle
        assert wide[trunk.contains(points) & (np.abs(offset @ x) < 14)].mean() > 0.97
        assert not wide[(offset @ y > 5.0)].any()
        assert not wide[~inside].any()


class BothOf:
    """Two solids as one, which is no mask."""

    def __init__(self, one, other):
        self.one, self.other = one, other

    def contains(self, points):
        return self.one.contains(points) | self.other.contains(points)


@pytest.mark.parametrize("spacing", [1.0, 1.5, 2.5])
@pytest.mark.parametrize("seed", [0, 3])
def test_solids_are_measured_finer_than_a_coarse_grid(spacing, seed):
    """Whether a vessel counts does not hang on the solver's grid: 3 mm does, 2 mm does not."""
    cells = (int(30 / spacing),) * 3
    grid = oblique_grid((spacing,) * 3, cells, seed)
    for diameter, counts in ((2.0, False), (3.0, True), (5.0, True)):
        solid = tube(grid, diameter, seed)
        inside = solid.contains(grid.centres_mm()).reshape(grid.shape)
        assert inside.any()
        found = TissueMap(LIVER, vessels=(Vessel("v", solid),)).vessel_voxels(grid)
        assert not (found & ~inside).any()
        assert (found.sum() > 0.85 * inside.sum()) if counts else not found.any()


def test_stated_diameters_and_closed_vessels():
    grid = oblique_grid((1.5, 1.5, 1.5), (20, 20, 20), 4)
    solid = tube(grid, 6.0, 1)
    inside = solid.contains(grid.centres_mm()).reshape(grid.shape)

    def found(*vessels):
        return TissueMap(LIVER, vessels=vessels).vessel_voxels(grid)

    assert (found(Vessel("v", solid, 3.0)) == inside).all()
    assert not found(Vessel("v", solid, 2.9)).any()
    assert not found(Vessel("v", solid, 6.0, open=False), Vessel("w", solid, open=False)).any()
    assert (found(Vessel("v", solid, 6.0, open=False), Vessel("w", solid, 6.0)) == inside).all()
    assert not found().any()
    # Where vessels overlap the wider one counts, in whatever order.
    wide, narrow = Vessel("v", solid, 8.0), Vessel("w", solid, 4.0)
    for both in ((wide, narrow), (narrow, wide)):
        assert TissueMap(LIVER, vessels=both).vessel_diameters_mm(grid, (3.0,)).max() == 8.0
        assert TissueMap(LIVER, vessels=both).vessel_diameters_mm(grid, (3.0,))[inside].min() == 8.0


def test_a_vessel_thinner_than_any_voxel_holds_none():
    grid = oblique_grid((2.5, 2.5, 2.5), (12, 12, 12), 4)
    assert not TissueMap(LIVER, vessels=(Vessel("v", tube(grid, 0.05, 3)),)).vessel_voxels(grid).any()


def test_impossible_maps():
    solid = Cylinder((0, 0, 0), (0, 0, 1), 1)
    for temperature in (-1.0, 46.0, float("nan")):
        with pytest.raises(PhysicsError, match="body temperature must lie between 0 and 45 C"):
            homogeneous(LIVER, temperature)
    for diameter in (0.0, -3.0, float("nan"), float("inf")):
        with pytest.raises(PhysicsError, match="diameter must be above 0 mm"):
            Vessel("v", solid, diameter)
    with pytest.raises(PhysicsError, match="at most 255 regions, but got 256"):
        TissueMap(LIVER, (Region(FAT, solid),) * 256)
