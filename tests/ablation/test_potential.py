"""The solver of potentials and light: currents, powers, layers, refinement, and what it refuses."""

import numpy as np
import pytest

from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import NeedlePart, needle_cells
from needleplan.errors import PhysicsError
from needleplan.grid import Grid

SHAPE, SPACING = (24, 20, 28), 2.0


def pair(spacing=SPACING, shape=SHAPE, walls="insulated"):
    """A solver about two needles that are not parallel, and their cells."""
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = -0.5 * spacing * (np.asarray(shape) - 1)
    parts = [NeedlePart((-7, 1, -8), (-6, -1, 9), 0.6), NeedlePart((7, 0.4, -9), (7.5, 2, 7), 0.6)]
    cells = needle_cells(Grid(shape, matrix), parts)
    return DiffusionSolver(shape, spacing, walls=walls, held=cells.held, contact=cells.contact), cells


def sigma(seed=1):
    return np.random.default_rng(seed).uniform(0.1, 0.8, SHAPE).astype(np.float32)


def power_w(solver):
    return float(solver.heat_w_m3().sum(dtype=np.float64)) * solver.spacing_m**3


@pytest.mark.parametrize("seed", range(3))
def test_what_one_needle_gives_the_other_takes_and_the_tissue_turns_into_heat(seed):
    solver, cells = pair()
    solver.set_coefficients(sigma(seed))
    solver.solve(np.where(cells.part == 0, 70.0, -30.0), tolerance=1e-6)
    current = solver.current(cells.part == 0)
    assert current > 0
    assert solver.current(cells.part == 1) == pytest.approx(-current, rel=1e-4)
    assert power_w(solver) == pytest.approx(100.0 * current, rel=1e-3)


def test_grounded_walls_take_the_current():
    solver, cells = pair(walls="grounded")
    solver.set_coefficients(sigma())
    solver.solve(1.0, tolerance=1e-6)
    assert power_w(solver) == pytest.approx(solver.current(np.ones(len(cells.held), dtype=bool)), rel=1e-3)
    # Between two needles at the same potential in an insulated box nothing flows at all.
    closed, cells = pair()
    closed.set_coefficients(sigma())
    closed.solve(1.0, tolerance=1e-6)
    assert abs(closed.current(cells.part == 0)) < 1e-5
    assert closed.field_per_m().max() < 1e-2


def test_linearity_and_no_memory_of_the_last_question():
    solver, cells = pair()
    solver.set_coefficients(sigma())
    one = solver.solve(np.where(cells.part == 0, 1.0, 0.0), tolerance=1e-7).copy()
    solver.set_coefficients(sigma(9))
    solver.solve(np.where(cells.part == 0, -400.0, 250.0))
    solver.set_coefficients(sigma())
    again = solver.solve(np.where(cells.part == 0, 5.0, 0.0), tolerance=1e-7)
    # Single precision, on the way back from 650 V.
    assert np.abs(again - 5.0 * one).max() < 5e-4


def test_a_reaction_is_forgotten_with_the_next_coefficients():
    solver, cells = pair()
    plain = np.full(SHAPE, 0.3, np.float32)
    values = np.where(cells.part == 0, 1.0, 0.0)
    solver.set_coefficients(plain)
    fresh = solver.solve(values, tolerance=1e-6).copy()
    solver.set_coefficients(plain, np.full(SHAPE, 4e5, np.float32))
    assert np.abs(solver.solve(values, tolerance=1e-6) - fresh).max() > 0.1
    solver.set_coefficients(plain)
    assert np.abs(solver.solve(values, tolerance=1e-6) - fresh).max() < 1e-4


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("ratio", [1.0, 7.0, 3000.0])
def test_layers_in_series(axis, ratio):
    """Two layers between plates: V over the sum of the resistances, and in each layer its own field."""
    shape = [9, 9, 9]
    shape[axis] = 22
    values = np.full(shape, 0.2, np.float32)
    upper = tuple(slice(13, None) if k == axis else slice(None) for k in range(3))
    values[upper] *= ratio
    index = np.indices(shape).reshape(3, -1).T
    low, high = (index[index[:, axis] == place] for place in (0, 21))
    solver = DiffusionSolver(tuple(shape), 1.5, walls="insulated", held=np.concatenate([low, high]))
    solver.set_coefficients(values)
    found = solver.solve(np.r_[np.full(len(low), 10.0), np.zeros(len(high))], tolerance=1e-7)
    # From centre to centre: 12.5 cells of the first layer and 8.5 of the other.
    drop = 10.0 / (12.5 + 8.5 / ratio)
    line = np.moveaxis(found, axis, 0)[:, 4, 4]
    assert line[:13] == pytest.approx(10.0 - drop * np.arange(13), abs=2e-3)
    field = np.moveaxis(solver.field_per_m(), axis, 0)
    assert field[3:12] == pytest.approx(drop / 1.5e-3, rel=2e-3)
    assert field[14:20] == pytest.approx(drop / ratio / 1.5e-3, rel=2e-2)


def test_finer_cells_converge():
    """The current settles as the cells shrink: each halving changes it by less than the one before."""
    currents = []
    for times in (1, 2, 4):
        solver, cells = pair(4.0 / times, (12 * times, 10 * times, 14 * times))
        solver.set_coefficients(np.full(solver.shape, 0.3, np.float32))
        solver.solve(np.where(cells.part == 0, 1.0, 0.0), tolerance=1e-6)
        currents.append(solver.current(cells.part == 0))
    assert abs(currents[2] - currents[1]) < abs(currents[1] - currents[0])
    assert currents == pytest.approx([currents[2]] * 3, rel=0.06)


def test_light_that_is_absorbed_where_it_is_made():
    """In an insulated box the absorbed power is the emitted one, wherever it is made."""
    solver = DiffusionSolver(SHAPE, SPACING, walls="insulated")
    source = np.zeros(SHAPE, np.float32)
    source[3, 4, 5], source[20, 7, 9] = 2e6, 1e6
    solver.set_coefficients(np.full(SHAPE, 4e-4, np.float32), np.full(SHAPE, 30.0, np.float32))
    fluence = solver.solve(source=source, tolerance=1e-7)
    assert 30.0 * fluence.sum(dtype=np.float64) == pytest.approx(3e6, rel=1e-4)
    assert fluence.min() > -1e-3 * fluence.max()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.set_coefficients(np.zeros(SHAPE, np.float32)), "conductivity above zero"),
        (lambda s: s.set_coefficients(np.full(SHAPE, np.nan, np.float32)), "conductivity above zero"),
        (lambda s: s.set_coefficients(np.full(SHAPE, -1, np.float32)), "conductivity above zero"),
        (lambda s: s.set_coefficients(np.ones((3, 3, 3), np.float32)), r"given for \(24, 20, 28\) cells"),
        (lambda s: s.set_coefficients(sigma(), np.full(SHAPE, -1, np.float32)), "reaction below zero"),
        (lambda s: s.set_coefficients(sigma(), np.full(SHAPE, np.nan, np.float32)), "reaction below zero"),
        (lambda s: s.set_coefficients(sigma(), np.ones((3, 3, 3), np.float32)), "reaction must be given for"),
        (lambda s: s.solve(np.nan), "finite numbers"),
        (lambda s: s.solve(1.0, np.full(SHAPE, np.inf, np.float32)), "finite numbers"),
        (lambda s: DiffusionSolver(SHAPE, 1.0, walls="open"), "'insulated' or 'grounded'"),
        (lambda s: DiffusionSolver(SHAPE, 1.0, walls="insulated").set_coefficients(sigma()), "no level"),
        (
            lambda s: DiffusionSolver(SHAPE, 1.0, walls="insulated").set_coefficients(sigma(), 0 * sigma()),
            "no level",
        ),
        (lambda s: DiffusionSolver(SHAPE, 1.0, walls="grounded").current(np.zeros(0, bool)), "contact faces"),
    ],
)
def test_refuses(change, words):
    solver, _ = pair()
    solver.set_coefficients(sigma())
    with pytest.raises(PhysicsError, match=words) as caught:
        change(solver)
    assert "\n" not in str(caught.value)


def test_nothing_drives_nothing():
    solver, _ = pair()
    solver.set_coefficients(sigma())
    solver.solve(5.0)
    assert np.abs(solver.solve(0.0)).max() == 0.0
