"""scipy's conjugate gradients on electric potentials: electroporation pulses, and a radiofrequency electrode.

Conductances are those of the cells' faces, with the harmonic mean of both sides; the transverse faces of a needle's
cells get the conductivity of the tissue beside them times the thin-needle factor.
"""

import time

import numpy as np
from heating_peers import Damage
from numpy.typing import NDArray
from peer_run import Run, Schedule
from physics_problems import BODY_C, BOILING_C, Cells, PulseProblem, RadiofrequencyProblem, thin_needle_factor
from stencils import beside, laplacian, thicken

#: Conjugate gradients stop at this relative residual.
TOLERANCE = 1e-5
#: The conductivity counts as found when no field changes by more, relative to the lethal one.
FIELD_TOLERANCE = 5e-3
_MOST_PASSES = 60

Values = NDArray[np.float64]


class Potential:
    """Potentials of cells, some of which are electrodes.

    Args:
        shape: of the cells.
        fixed: cells with a given potential.
        thin: of these, the needles' cells.
        factor: of their transverse faces.
    """

    def __init__(
        self, shape: tuple[int, int, int], fixed: NDArray[np.bool_], thin: NDArray[np.bool_], factor: float
    ) -> None:
        self.fixed, self.thin, self.factor = fixed, thin, factor
        self.volts = np.zeros(shape)
        self.faces: list[Values] = []

    def conduct(self, sigma: Values) -> None:
        """Take the conductivities of all cells; those of electrodes do not matter."""
        self.faces = []
        for axis in range(3):
            low, high = _sides(axis)
            a, b = sigma[low], sigma[high]
            face = 2.0 * a * b / (a + b)
            # Tissue beside an electrode conducts alone.
            face = np.where(self.fixed[low], b, np.where(self.fixed[high], a, face))
            if axis < 2:
                face = np.where(self.thin[low] != self.thin[high], self.factor * face, face)
            self.faces.append(face)

    def solve(self) -> None:
        """Potentials of all free cells, from those of the last call on."""
        from scipy.sparse import dia_array
        from scipy.sparse.linalg import LinearOperator, cg

        shape, free = self.volts.shape, ~self.fixed
        diagonal, known = np.zeros(shape), np.zeros(shape)
        given = np.where(self.fixed, self.volts, 0.0)
        strides = (shape[1] * shape[2], shape[2], 1)
        rows, offsets = [], []
        for axis, face in enumerate(self.faces):
            low, high = _sides(axis)
            diagonal[low] += face
            diagonal[high] += face
            known[low] += face * given[high]
            known[high] += face * given[low]
            coupled = np.zeros(shape)
            coupled[low] = np.where(free[low] & free[high], -face, 0.0)
            row = coupled.ravel()
            # Rows of a matrix by diagonals count columns: below it they start at its first column, above shifted.
            rows += [row, np.concatenate([np.zeros(strides[axis]), row[: -strides[axis]]])]
            offsets += [-strides[axis], strides[axis]]
        diagonal[self.fixed] = 1.0
        known[self.fixed] = given[self.fixed]
        inverse = 1.0 / diagonal.ravel()
        n = inverse.size
        matrix = dia_array((np.array([diagonal.ravel(), *rows]), [0, *offsets]), shape=(n, n)).tocsr()
        jacobi = LinearOperator((n, n), matvec=lambda x: inverse * x, dtype=np.float64)
        found, failed = cg(matrix, known.ravel(), x0=self.volts.ravel(), rtol=TOLERANCE, M=jacobi)
        if failed:
            raise RuntimeError(f"conjugate gradients did not reach a residual of {TOLERANCE:g}")
        self.volts = found.reshape(shape)

    def current(self, electrode: NDArray[np.bool_], spacing_m: float) -> float:
        """Current out of some electrode cells, in A."""
        total = 0.0
        for axis, face in enumerate(self.faces):
            low, high = _sides(axis)
            flow = face * (self.volts[low] - self.volts[high])
            total += float(flow[electrode[low] & ~electrode[high]].sum())
            total -= float(flow[electrode[high] & ~electrode[low]].sum())
        return total * spacing_m

    def heat_w_m3(self, spacing_m: float) -> Values:
        """Heat in each cell: half that of each face, all of it beside an electrode."""
        heat = np.zeros(self.volts.shape)
        for axis, face in enumerate(self.faces):
            low, high = _sides(axis)
            power = face * (self.volts[high] - self.volts[low]) ** 2 / spacing_m**2
            heat[low] += np.where(self.fixed[high], 1.0, 0.5) * power
            heat[high] += np.where(self.fixed[low], 1.0, 0.5) * power
        heat[self.fixed] = 0.0
        return heat


def scipy_pulses(problem: PulseProblem) -> Run:
    """Field and conductivity in turn, half of the way each time; potentials by conjugate gradients with Jacobi."""
    start = time.perf_counter()
    positive, negative = (_marked(problem.shape, cells) for cells in (problem.positive, problem.negative))
    needles = positive | negative
    factor = thin_needle_factor(problem.spacing_m, problem.radius_m)
    potential = Potential(problem.shape, needles, needles, factor)
    potential.volts[positive], potential.volts[negative] = 0.5 * problem.voltage_v, -0.5 * problem.voltage_v
    sigma = np.full(problem.shape, problem.native_s_m)
    last = np.zeros(problem.shape)
    for _ in range(_MOST_PASSES):
        potential.conduct(sigma)
        potential.solve()
        field = np.sqrt(sum(part**2 for part in np.gradient(potential.volts, problem.spacing_m)))
        field[needles] = 0.0
        rise = ((field - problem.start_v_m) / (problem.end_v_m - problem.start_v_m)).clip(0.0, 1.0)
        change, last = np.abs(field - last).max(), field
        if problem.porated_s_m == problem.native_s_m or change < FIELD_TOLERANCE * problem.lethal_v_m:
            break
        sigma += 0.5 * (problem.native_s_m + (problem.porated_s_m - problem.native_s_m) * rise - sigma)
    else:
        raise RuntimeError(f"the field still changes by {change:g} V/m after {_MOST_PASSES} passes")
    seconds = time.perf_counter() - start
    figures = {
        "zone_cm3": float((field >= problem.lethal_v_m).sum() * (100.0 * problem.spacing_m) ** 3),
        "current_a": potential.current(positive, problem.spacing_m),
    }
    return Run(seconds, field[tuple(problem.probes.T)], field.size, figures=figures)


def scipy_radiofrequency(problem: RadiofrequencyProblem, most_steps: int | None = None) -> Run:
    """Heat by numpy's sums of slices, the potential by conjugate gradients with Jacobi every few seconds.

    Each step takes the greatest voltage with which no cell passes 100 °C and the power its limit.
    """
    plan, h = Schedule(problem.times_s, problem.longest_step_s, most_steps), problem.spacing_m
    liver, shape = problem.liver, problem.shape
    start = time.perf_counter()
    tip, inner = _marked(shape, problem.needles), (slice(1, -1),) * 3
    walls = np.ones(shape, np.bool_)
    walls[inner] = False
    factor = thin_needle_factor(h, problem.radius_m)
    potential = Potential(shape, tip | walls, tip, factor)
    potential.volts[tip] = 1.0
    rise, damage = np.zeros(shape, np.float32), Damage(shape)
    around, flux = np.empty(rise[inner].shape, np.float32), np.empty(shape, np.float32)
    gain, every = np.float32(plan.step_s / liver.heat_j_m3_k), max(1, round(problem.resolve_s / plan.step_s))
    sink, spread = gain * np.float32(liver.perfusion_w_m3_k), gain / np.float32(h**2)
    cooler = _Cooler(problem, factor)
    warming, power_1v_w = np.zeros(around.shape, np.float32), 0.0
    answers: list[Values] = []
    done, energy_j, squared = 0, 0.0, 0.0
    for count, due in plan.parts():
        for _ in range(count):
            if done % every == 0:
                sigma = 1.0 + problem.conductivity_per_k * np.minimum(rise, BOILING_C - BODY_C, dtype=np.float64)
                potential.conduct(problem.conductivity_s_m * sigma)
                potential.solve()
                heat = potential.heat_w_m3(h)[inner]
                warming, power_1v_w = (gain * heat).astype(np.float32), float(heat.sum()) * h**3
            if done % problem.damage_every == 0 and done:
                damage.advance(rise + np.float32(BODY_C), problem.damage_every * plan.step_s)
            cooler.hold(rise)
            np.multiply(rise, np.float32(0.5 * liver.conductivity_per_k), out=flux)
            flux += np.float32(1.0)
            flux *= rise
            flux *= np.float32(liver.conductivity_w_m_k)
            laplacian(flux, around)
            cooler.thicken(flux, around)
            around *= spread
            around -= sink * damage.flow[inner] * rise[inner]
            around += rise[inner]
            heated = warming > 0.0
            squared = float(((BOILING_C - BODY_C - around[heated]) / warming[heated]).min())
            squared = min(max(squared, 0.0), problem.most_power_w / power_1v_w)
            rise[inner] = around + np.float32(squared) * warming
            energy_j += squared * power_1v_w * plan.step_s
            done += 1
        cooler.hold(rise)
        if due:
            answers.append(rise[tuple(problem.probes.T)].astype(np.float64) + BODY_C)
    damage.advance(rise + np.float32(BODY_C), ((done - 1) % problem.damage_every + 1) * plan.step_s)
    seconds = time.perf_counter() - start
    figures = {
        "zone_cm3": damage.zone_cm3(h), "energy_kj": energy_j / 1e3, "voltage_v": squared**0.5,
        "current_a": potential.current(tip, h) * squared**0.5,
    }  # fmt: skip
    if plan.share < 1.0:
        figures = dict.fromkeys(figures, np.nan)
    return plan.run(seconds, answers, len(problem.probes), rise.size, **figures)


class _Cooler:
    """The cooled tip: its wall's temperature, and the thin-needle factor of its heat flow."""

    def __init__(self, problem: RadiofrequencyProblem, factor: float) -> None:
        self.cells, self.beside = tuple(problem.needles.T), beside(problem.needles)
        conducted = factor * problem.liver.conductivity_w_m_k
        cooling = 2.0 * np.pi * problem.radius_m * problem.water_w_m2_k
        self.share, self.factor = conducted / (4.0 * conducted + cooling), np.float32(factor)
        self.held_k = cooling / (4.0 * conducted + cooling) * (problem.water_c - BODY_C)

    def hold(self, rise: NDArray[np.float32]) -> None:
        """The wall's temperature with which as much heat reaches the water as leaves the tissue around."""
        rise[self.cells] = self.share * sum(rise[cells] for cells in self.beside) + self.held_k

    def thicken(self, flux: NDArray[np.float32], around: NDArray[np.float32]) -> None:
        """Add to sums over neighbours what the needle's faces conduct more."""
        thicken(self.cells, self.beside, self.factor, flux, around)


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The cells on the low and on the high side of all faces across an axis."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def _marked(shape: tuple[int, ...], cells: Cells) -> NDArray[np.bool_]:
    result = np.zeros(shape, np.bool_)
    result[tuple(cells.T)] = True
    return result
