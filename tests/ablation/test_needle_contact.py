"""Thin needles on coarse grids: against Peaceman's factor, against a fine grid, and what cannot be computed."""

import numpy as np
import pytest
from made_cases import rotation

from needleplan.ablation.closed_forms.electric import thin_needle_face_factor
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import NeedlePart, least_distance_mm, needle_cells
from needleplan.errors import PhysicsError
from needleplan.grid import Grid
from needleplan.plan import vector3


def grid(spacing, cells, seed=None):
    """A grid of cubic voxels about the origin, turned unless no seed is given."""
    matrix = np.eye(4)
    matrix[:3, :3] = spacing * (np.eye(3) if seed is None else rotation(seed))
    matrix[:3, 3] = -matrix[:3, :3] @ (0.5 * (np.asarray(cells) - 1))
    return Grid(tuple(cells), matrix)


def part(middle, direction, length, radius):
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    middle = np.asarray(middle, float)
    return NeedlePart(
        vector3(middle - 0.5 * length * direction), vector3(middle + 0.5 * length * direction), radius
    )


def conductance(spacing, side_mm, parts, seed=None):
    """Conductance of two needles in a grounded box, between them, for 1 S/m."""
    n = 2 * round(0.5 * side_mm / spacing) + 1
    box = grid(spacing, (n, n, n), seed)
    cells = needle_cells(box, parts)
    solver = DiffusionSolver(box.shape, spacing, walls="insulated", held=cells.held, contact=cells.contact)
    solver.set_coefficients(np.ones(box.shape, np.float32))
    solver.solve(np.where(cells.part == 0, 0.5, -0.5), tolerance=1e-6)
    return solver.current(cells.part == 0)


@pytest.mark.parametrize(("spacing", "radius"), [(1.0, 0.5), (2.0, 0.7), (1.5, 0.3), (2.5, 1.2)])
def test_on_a_grid_line_the_faces_have_peacemans_factor(spacing, radius):
    """(pi/2) / ln(h/a) on each of the four sides of a layer whose neighbours are layers of the needle as well."""
    box = grid(spacing, (15, 15, 31), 4)
    needle = part((0, 0, 0), box.T_PV[:3, 2], 20 * spacing, radius)
    cells = needle_cells(box, [needle])
    middle = cells.contact.held[:, 2] == 15
    aside = middle & (cells.contact.cells[:, 2] == 15)
    assert np.count_nonzero(aside) == 4
    wanted = thin_needle_face_factor(1e-3 * spacing, 1e-3 * radius)
    assert cells.contact.factors[aside] == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius", [0.3, 0.9, 2.6])
def test_the_flux_of_all_faces_is_that_of_the_length(seed, radius):
    random = np.random.default_rng(seed)
    box = grid(1.5, (31, 33, 35), seed)
    needle = part(random.uniform(-2, 2, 3), random.normal(size=3), 18.3, radius)
    cells = needle_cells(box, [needle])
    assert cells.contact_angle.sum() * 1.5 == pytest.approx(2 * np.pi * 18.3, rel=1e-12)
    assert (cells.contact.factors > 0).sum() >= 0.7 * len(cells.contact.factors)
    assert np.isfinite(cells.contact.factors).all() and (cells.contact.factors >= 0).all()
    # Each face joins a held cell and a neighbour that is not held.
    assert (np.abs(cells.contact.cells - cells.contact.held).sum(axis=1) == 1).all()
    held = {tuple(cell) for cell in cells.held}
    assert all(tuple(cell) in held for cell in cells.contact.held)
    assert not any(tuple(cell) in held for cell in cells.contact.cells)


@pytest.mark.parametrize("radius", [0.5, 0.9])
def test_an_oblique_pair_between_the_centres_conducts_as_on_a_fine_grid(radius):
    pair = [part((-6, 0, 0), (0, 0, 1), 15, radius), part((6, 0, 0), (0, 0, 1), 15, radius)]
    fine = conductance(0.5, 40, pair)
    for seed, shift in ((None, 0.0), (None, 0.37), (3, 0.2), (8, 0.45), (11, 0.1)):
        turn = np.eye(3) if seed is None else rotation(seed)
        # A box of the same orientation, so that its walls are alike; the needles turned and shifted in it.
        oblique = rotation(17) if seed else turn
        placed = [
            part(oblique @ np.array([side, 0, 0]) + shift, oblique @ np.array([0, 0, 1.0]), 15, radius)
            for side in (-6, 6)
        ]
        coarse = conductance(1.25, 40, placed, seed)
        assert coarse == pytest.approx(fine, rel=0.05), (seed, shift)


@pytest.mark.parametrize("radius", [2.0, 3.1])
def test_needles_wider_than_a_voxel(radius):
    """The conductance of a thick rod does not depend on the voxels, nor jump where it becomes wider than one."""
    pair = [part((-10, 0, 0), (0, 0, 1), 16, radius), part((10, 0, 0), (0, 0, 1), 16, radius)]
    assert conductance(2.0, 56, pair) == pytest.approx(conductance(1.0, 56, pair), rel=0.04)


def test_a_thinner_needle_conducts_less():
    values = [
        conductance(2.0, 40, [part((s, 0, 0), (0, 0, 1), 16, a) for s in (-6, 6)]) for a in (0.1, 0.5, 1.2, 2.2)
    ]
    assert (np.diff(values) > 0).all()


def test_a_film_stands_in_series():
    box = grid(2.0, (21, 21, 21))
    needle = part((0.4, 0.2, 0), (0.2, 0.1, 1), 20, 0.8)
    bare, film, thick = (needle_cells(box, [needle], f).contact.factors for f in (0.0, 0.3, 1e6))
    assert (film < bare + 1e-15).all() and film.sum() < bare.sum()
    assert thick.max() < 1e-4


def test_parts_of_one_needle_may_touch_and_share_no_cell():
    box = grid(1.5, (31, 31, 31))
    bent = [part((0, 0, -5), (0, 0, 1), 10, 0.4), NeedlePart((0, 0, 0), (6, 0, 8), 0.4)]
    cells = needle_cells(box, bent, needles=[0, 0])
    assert len(np.unique(cells.held, axis=0)) == len(cells.held)
    assert set(cells.part) == {0, 1}
    with pytest.raises(PhysicsError, match="overlap"):
        needle_cells(box, bent)


@pytest.mark.parametrize("tilt", [0.0, 20.0])
def test_no_two_needles_without_tissue_between_them(tilt):
    """Whatever the distance: either a tissue cell lies between, or the grid is refused as too coarse."""
    box = grid(2.0, (41, 41, 41))
    along = (np.sin(np.radians(tilt)), 0, np.cos(np.radians(tilt)))
    refused = []
    for apart in np.arange(1.2, 9.0, 0.2):
        pair = [part((0, 0, 0), along, 20, 0.5), part((0, apart, 0), along, 20, 0.5)]
        try:
            cells = needle_cells(box, pair)
        except PhysicsError as error:
            assert "too coarse for needles" in str(error) and "\n" not in str(error)
            refused.append(apart)
            continue
        one, other = (cells.held[cells.part == k] for k in (0, 1))
        steps = np.abs(one[:, None] - other[None]).sum(axis=2)
        assert steps.min() >= 2, apart
    assert refused and max(refused) < 3 * 2.0


def test_impossible_needles():
    box = grid(2.0, (21, 21, 21))
    with pytest.raises(PhysicsError, match="overlap: their axes must lie further apart"):
        needle_cells(box, [part((0, 0, 0), (0, 0, 1), 10, 1.0), part((1.5, 0, 0), (0, 0, 1), 10, 1.0)])
    with pytest.raises(PhysicsError, match="reaches out of the grid"):
        needle_cells(box, [part((0, 0, 15), (0, 0, 1), 20, 1.0)])
    for bad in (NeedlePart((0, 0, 0), (0, 0, 0), 1.0), NeedlePart((0, 0, 0), (0, 0, 5), 0.0),
                NeedlePart((0, 0, 0), (0, 0, 5), float("nan"))):  # fmt: skip
        with pytest.raises(PhysicsError, match="length and a radius above zero"):
            needle_cells(box, [bad])


def test_no_needle_holds_nothing():
    cells = needle_cells(grid(2.0, (9, 9, 9)), [])
    assert len(cells.held) == len(cells.contact.factors) == 0


@pytest.mark.parametrize("seed", range(40))
def test_the_gap_of_two_axes(seed):
    """Against the least of a million pairs of points, refined about it."""
    random = np.random.default_rng(seed)
    one, other = (part(random.uniform(-5, 5, 3), random.normal(size=3), random.uniform(1, 20), 0.5) for _ in "ab")
    if seed % 4 == 0:  # parallel, the other way round, or nearly parallel
        way = np.subtract(one.end_mm, one.start_mm) * (-1) ** (seed // 4) + (seed % 8 == 0) * 1e-7
        start = random.uniform(-5, 5, 3)
        other = NeedlePart(vector3(start), vector3(start + way), 0.5)
    low, high = np.zeros(2), np.ones(2)
    a, u = np.asarray(one.start_mm), np.subtract(one.end_mm, one.start_mm)
    b, v = np.asarray(other.start_mm), np.subtract(other.end_mm, other.start_mm)
    for _ in range(12):
        s, t = (np.linspace(low[k], high[k], 41) for k in (0, 1))
        apart = np.linalg.norm((a + s[:, None] * u)[:, None] - (b + t[:, None] * v)[None], axis=2)
        best = np.array(np.unravel_index(apart.argmin(), apart.shape))
        middle, width = np.array([s[best[0]], t[best[1]]]), 0.15 * (high - low)
        low, high = np.maximum(middle - width, 0), np.minimum(middle + width, 1)
    assert one.gap_mm(other) == pytest.approx(apart.min(), abs=1e-6)
    assert one.gap_mm(other) == pytest.approx(other.gap_mm(one), abs=1e-6)
    assert least_distance_mm(a, a + u, b, b + v) == one.gap_mm(other)
