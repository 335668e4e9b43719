"""Checks of the scheme itself, beyond the list: order in time, energy, symmetry, layers, needles at any angle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.bioheat.solver import BioheatSolver
from needleplan.ablation.electric.potential import DiffusionSolver
from needleplan.ablation.needle_contact import Contact, NeedlePart, needle_cells
from needleplan.devices.tissue import Tissue
from needleplan.grid import Grid
from validation.case import Check, Outcome, between, case, relative
from validation.heat import time_errors_k
from validation.media import BODY_C, reference_tissue

OWN = "a property of the equation; no outside source"


@case("N01", title="Order of convergence in time", source=OWN)
def order_in_time() -> Outcome:
    """A mode of the grid's own Laplacian, whose decay is known exactly."""
    steps = (15.0, 7.5, 3.75)
    errors = time_errors_k(steps)
    checks = [
        between(f"order, steps of {a:g} to {b:g} s", float(np.log2(coarse / fine)), 1.8, 2.2, 2.0)
        for a, b, coarse, fine in zip(steps, steps[1:], errors, errors[1:], strict=False)
    ]
    return Outcome(checks, curves={"order in time": (np.array(steps), np.array(errors))})


def ledger_residual(name: str) -> float:
    """Heat that is missing, as a share of all that was moved, in one of several situations."""
    shape = (40, 38, 36)
    tissue: NDArray[Any] = np.zeros(shape, dtype=np.uint8)
    tissues: tuple[Tissue, ...] = (reference_tissue(),)
    options: dict[str, Any] = {}
    needle = None
    source = np.zeros(shape)
    source[15:22, 17:20, 16:21] = 6e6
    if name == "boiling":
        source *= 8.0
    if name == "mixed tissues":
        tissue[:, 19:, :] = 1
        tissue[20:, :, :14] = 2
        fat = Tissue("fat", 911.0, 2348.0, 0.211, water_kg_m3=100.0, perfusion_per_s=0.0005)
        tissues = (tissues[0], fat, reference_tissue(2.5e5))
    if name.startswith("needle") or name.startswith("freezing"):
        grid = Grid(shape, np.diag([1.5, 1.5, 1.5, 1.0]))
        needle = needle_cells(grid, [NeedlePart((20.3, 33.1, 30.2), (38.0, 24.0, 18.5), 0.8)])
    if name.startswith("freezing"):
        source *= 0.0
        options["freezing"] = True
    solver = BioheatSolver(shape, 1.5, tissue, tissues, **options)
    heat = solver.padded(source)
    if needle is not None:
        solver.hold(needle.held, -110.0 if "freezing" in name else 15.0, needle.contact)
    for _ in range(10):
        solver.advance(20.0, heat)
    if name == "freezing and thawing":
        solver.hold(np.empty((0, 3), dtype=np.int64), np.empty(0), Contact(*_nothing()))
        solver.advance(200.0)
    return abs(solver.ledger.residual)


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    return np.empty((0, 3), dtype=np.int64), np.empty((0, 3), dtype=np.int64), np.empty(0)


SITUATIONS = (
    "perfusion and its shutdown", "boiling", "mixed tissues", "needle held cold while tissue heats", "freezing",
    "freezing and thawing",
)  # fmt: skip


@case("H12")
def ledger() -> Outcome:
    """Delivered, stored and removed heat in balance, in every situation that treatments meet."""
    checks: list[Check] = [
        between(f"residual: {name}", ledger_residual(name), 0.0, 1e-4, 0.0) for name in SITUATIONS
    ]
    return Outcome(checks, "200 s each (400 s with the thaw) on cells of 1.5 mm, in the growing box of treatments.")


def asymmetric_problem(turned: Any) -> NDArray[np.float32]:
    """Temperatures of a lopsided problem, all its arrays turned first; nothing is even about it."""
    shape = (22, 22, 22)
    tissue = np.zeros(shape, dtype=np.uint8)
    tissue[4:13, 8:, 3:9] = 1
    source = np.zeros(shape)
    source[6:9, 9:11, 12:17] = 2.5e7
    source[12, 7, 5:12] = 4e7
    held = np.zeros(shape, dtype=np.bool_)
    held[15:17, 4:18, 13] = True
    fat = Tissue("fat", 911.0, 2348.0, 0.211, water_kg_m3=100.0, perfusion_per_s=0.0005)
    arrays = [np.ascontiguousarray(turned(array)) for array in (tissue, source, held)]
    solver = BioheatSolver(arrays[0].shape, 1.5, arrays[0], (reference_tissue(), fat))
    solver.hold(np.argwhere(arrays[2]), BODY_C)
    for _ in range(12):
        solver.advance(5.0, solver.padded(arrays[1]))
    return solver.temperature_c


@case("N02", title="Symmetry: mirrored and turned problems", source=OWN)
def symmetry() -> Outcome:
    """The same problem mirrored along each axis and turned by 90 degrees about each."""
    still = asymmetric_problem(lambda a: a)
    turns: dict[str, Any] = {f"mirrored along axis {k}": (lambda a, k=k: np.flip(a, k)) for k in range(3)}
    for k in range(3):
        axes = ((k + 1) % 3, (k + 2) % 3)
        turns[f"turned 90 degrees about axis {k}"] = lambda a, axes=axes: np.rot90(a, 1, axes)
    checks = []
    for name, turn in turns.items():
        difference = float(np.abs(asymmetric_problem(turn) - turn(still)).max())
        checks.append(between(f"greatest difference, {name}, K", difference, 0.0, 5e-3, 0.0))
    rise = float(still.max()) - BODY_C
    return Outcome(
        checks, f"Two tissues, boiling, shutdown of perfusion and held cells; greatest rise {rise:.0f} K."
    )


@case("N03", title="Two layers of different conductivity, steady", source="flux dT / (L1/k1 + L2/k2)")
def layers() -> Outcome:
    """A bar of liver and fat between 57 and 37 C."""
    cells, first = 41, 17
    shape = (cells, 3, 3)
    tissue = np.zeros(shape, dtype=np.uint8)
    tissue[first:] = 1
    fat = Tissue("fat", 911.0, 2348.0, 0.211, water_kg_m3=100.0, perfusion_per_s=0.0)
    solver = BioheatSolver(shape, 1.0, tissue, (reference_tissue(0.0), fat), boiling=False, insulated=True)
    ends = np.argwhere(np.isin(np.arange(cells), (0, cells - 1))[:, None, None] * np.ones(shape, dtype=bool))
    solver.hold(ends, np.where(ends[:, 0] == 0, BODY_C + 20.0, BODY_C))
    solver.advance(30000.0)
    rise = (solver.temperature_c[:, 1, 1] - BODY_C).astype(np.float64)
    k1, k2, l1, l2 = 0.52, 0.211, (first - 0.5) * 1e-3, (cells - 1 - first + 0.5) * 1e-3
    flux = 20.0 / (l1 / k1 + l2 / k2)
    x = np.arange(cells) * 1e-3
    closed = np.where(x < l1, 20.0 - flux * x / k1, flux * (l1 + l2 - x) / k2)
    return Outcome(
        [
            relative("flux, W/m2", flux, float(k1 * (rise[2] - rise[12]) / 10e-3), 0.005),
            relative(
                "rise beside the interface (liver), K",
                float(closed[first - 1]),
                float(rise[first - 1]),
                0.005,
                20.0,
            ),
            relative("rise beside the interface (fat), K", float(closed[first]), float(rise[first]), 0.005, 20.0),
        ],
        curves={"two layers, steady": (1e3 * x, closed, rise)},
    )


def pair_current(
    direction: tuple[float, float, float], offset_mm: tuple[float, float, float], corrected: bool = True
) -> float:
    """Current per volt and conductivity between needles of 1 mm, 20 mm bare, 15 mm apart, on cells of 1 mm."""
    axis = np.asarray(direction) / np.linalg.norm(direction)
    aside = np.cross(axis, (0.3, -0.2, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))
    aside /= np.linalg.norm(aside)
    n = 72
    middle = 0.5 * (n - 1) * np.ones(3) + np.asarray(offset_mm)
    parts = []
    for side in (-7.5, 7.5):
        start = middle + side * aside - 10.0 * axis
        parts.append(NeedlePart(tuple(start), tuple(start + 20.0 * axis), 0.5))  # type: ignore[arg-type]
    cells = needle_cells(Grid((n, n, n), np.eye(4)), parts)
    contact = cells.contact
    if not corrected:
        contact = Contact(contact.cells, contact.held, np.ones(len(contact.factors)))
    solver = DiffusionSolver((n, n, n), 1.0, walls="insulated", held=cells.held, contact=contact)
    solver.set_coefficients(np.ones((n, n, n), dtype=np.float32))
    solver.solve(np.where(cells.part == 0, 0.5, -0.5), tolerance=1e-4)
    return solver.current(cells.part == 0)


ORIENTATIONS = {
    "along the grid, between voxel centres": ((0.0, 0.0, 1.0), (0.3, 0.4, 0.2)),
    "across the grid": ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "10 degrees off": ((np.sin(np.radians(10)), 0.0, np.cos(np.radians(10))), (0.1, 0.2, 0.3)),
    "30 degrees off": ((0.5, 0.0, 0.866), (0.2, 0.4, 0.1)),
    "along a face's diagonal": ((1.0, 1.0, 0.0), (0.0, 0.3, 0.1)),
    "along a voxel's diagonal": ((1.0, 1.0, 1.0), (0.1, 0.3, 0.2)),
}


@case("N04", long=True, title="Needles at any angle to the grid carry the same current", source=OWN)
def oblique() -> Outcome:
    """Current of a pair along the grid, through voxel centres, against the same pair elsewhere."""
    aligned = pair_current((0.0, 0.0, 1.0), (0.5, 0.5, 0.5))
    checks = [
        relative(f"current, {name}", aligned, pair_current(direction, offset), 0.04)
        for name, (direction, offset) in ORIENTATIONS.items()
    ]
    plain = [pair_current(direction, offset, corrected=False) for direction, offset in ORIENTATIONS.values()]
    spread = (max(plain) - min(plain)) / aligned
    checks.append(
        between("spread over all angles without the correction, of the aligned current (must miss)", spread, 0.04)
    )
    return Outcome(
        checks, "Needles of 1 mm and 20 mm bare, 15 mm apart, cells of 1 mm; current of 1 V in 1 S/m, A."
    )


@case("N05", title="The growing box gives what the whole box gives", source=OWN)
def growing_box() -> Outcome:
    """A treatment computed where something happens only, against all of its box from the start."""
    shape, source = (44, 44, 44), np.zeros((44, 44, 44))
    source[20:23, 18:21, 19:26] = 8e6
    boxes = [
        BioheatSolver(shape, 1.5, np.zeros(shape, dtype=np.uint8), (reference_tissue(),), insulated=insulated)
        for insulated in (False, True)
    ]
    checks = []
    for end_s, limit in ((60.0, 0.1), (300.0, 0.05)):
        for solver in boxes:
            while solver.time_s < end_s - 1e-6:
                solver.advance(5.0, solver.padded(source))
        difference = float(np.abs(boxes[0].temperature_c - boxes[1].temperature_c).max())
        checks.append(between(f"greatest difference after {end_s:g} s, K", difference, 0.0, limit, 0.0))
    rise = float(boxes[1].temperature_c.max()) - BODY_C
    return Outcome(checks, f"Greatest rise {rise:.0f} K; the walls lie 28 mm from the source.")
