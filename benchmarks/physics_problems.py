"""The heat and field problems that benchmarks/physics.py gives to every solver, as plain numbers and arrays.

Arrays are (x, y, z). Cell centres lie symmetrically about the middle of the box. All numbers are SI, but for
temperatures in degrees Celsius. Walls of heat problems are the outermost layer of cells, held at the start.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatField = NDArray[np.float32]
Cells = NDArray[np.intp]
#: Share of the greatest stable explicit step that explicit solvers take.
STEP_SHARE = 0.85
BODY_C = 37.0
BOILING_C = 100.0


@dataclass(frozen=True, slots=True)
class Liver:
    """Liver as IT'IS v4.0 has it; frozen, dried and damaged values as in needleplan's tables.

    Attributes:
        conductivity_w_m_k: at 37 °C.
        conductivity_per_k: its relative rise per kelvin.
        heat_j_m3_k: heat capacity per volume, moist or dried.
        perfusion_w_m3_k: blood flow times its heat capacity, before any shutdown.
        boiling_j_m3: taken up at 100 °C before the temperature rises further.
        dry_conductivity_w_m_k: of tissue that has lost its water.
        frozen_conductivity_w_m_k, frozen_heat_j_m3_k: below ``frozen_c``.
        freezing_j_m3: given off between ``freezing_c`` and ``frozen_c``, evenly in temperature.
        freezing_c, frozen_c: begin and end of freezing.
    """

    conductivity_w_m_k: float = 0.519
    conductivity_per_k: float = 0.0012 / 0.519
    heat_j_m3_k: float = 1078.75 * 3540.2
    perfusion_w_m3_k: float = 5.874e4
    boiling_j_m3: float = 1.71e9
    dry_conductivity_w_m_k: float = 0.35
    frozen_conductivity_w_m_k: float = 2.0
    frozen_heat_j_m3_k: float = 1078.75 * 1800.0
    freezing_j_m3: float = 1078.75 * 250e3
    freezing_c: float = -0.5
    frozen_c: float = -8.0


@dataclass(frozen=True, slots=True)
class Arrhenius:
    """A damage set: rate A exp(-Ea / (R T)) per second, A as its natural logarithm."""

    name: str
    log_a: float
    activation_j_mol: float


#: Tissue with an integral of 1 counts as dead (Chang and Nguyen 2004).
DEATH = Arrhenius("Chang-Nguyen", math.log(9.4e104), 6.70e5)
#: Perfusion falls as exp(-integral) (Brown et al. 1992).
STASIS = Arrhenius("Brown", math.log(1.98e106), 6.67e5)


@dataclass(frozen=True, slots=True, eq=False)
class PennesProblem:
    """Constant properties: rho c d(theta)/dt = k lap(theta) - w theta + q, theta the rise over body temperature.

    Attributes:
        spacing_m: of the cells.
        conductivity_w_m_k, heat_j_m3_k, perfusion_w_m3_k: k, rho c and w.
        source_w_m3: q.
        start_k: theta at the start; its outermost layer stays.
        times_s: when answers are taken; the last is the end.
        probes: (p, 3) cells where theta is the answer.
    """

    spacing_m: float
    conductivity_w_m_k: float
    heat_j_m3_k: float
    perfusion_w_m3_k: float
    source_w_m3: FloatField
    start_k: FloatField
    times_s: tuple[float, ...]
    probes: Cells

    @property
    def longest_step_s(self) -> float:
        """Step that explicit solvers take at most."""
        return STEP_SHARE * self.heat_j_m3_k * self.spacing_m**2 / (6.0 * self.conductivity_w_m_k)


@dataclass(frozen=True, slots=True, eq=False)
class HeatingProblem:
    """Microwave heating: conductivity rises, water boils, blood stops, tissue dies.

    Attributes:
        liver: properties.
        spacing_m, source_w_m3, times_s, probes: as in PennesProblem; probes answer with temperatures.
        damage_every: steps from one update of damage and perfusion to the next.
    """

    liver: Liver
    spacing_m: float
    source_w_m3: FloatField
    times_s: tuple[float, ...]
    probes: Cells
    damage_every: int = 4

    @property
    def longest_step_s(self) -> float:
        """Step that explicit solvers take at most: conduction is best just below boiling."""
        liver = self.liver
        best = liver.conductivity_w_m_k * (1.0 + liver.conductivity_per_k * (BOILING_C - BODY_C))
        return STEP_SHARE * liver.heat_j_m3_k * self.spacing_m**2 / (6.0 * best)


@dataclass(frozen=True, slots=True, eq=False)
class FreezingProblem:
    """Cryoprobes, each one column of cells as thick as ``radius_m`` by its thin-needle factor.

    Attributes:
        liver, spacing_m, times_s, probes: as in HeatingProblem; temperature does not change the conductivity of
            unfrozen tissue here.
        perfusion_factor: share of the perfusion in unfrozen tissue; there is none in frozen tissue.
        shape: cells.
        needles: (n, 3) cells of all probes' freezing zones, which lie along z.
        radius_m: of a probe.
        probe_c, ramp_s: wall temperature, reached linearly in time from body temperature.
    """

    liver: Liver
    perfusion_factor: float
    spacing_m: float
    shape: tuple[int, int, int]
    needles: Cells
    radius_m: float
    probe_c: float
    ramp_s: float
    times_s: tuple[float, ...]
    probes: Cells

    @property
    def longest_step_s(self) -> float:
        """Step that explicit solvers take at most, beside a needle cell."""
        alpha = self.liver.frozen_conductivity_w_m_k / self.liver.frozen_heat_j_m3_k
        return STEP_SHARE * self.spacing_m**2 / (alpha * (5.0 + thin_needle_factor(self.spacing_m, self.radius_m)))


@dataclass(frozen=True, slots=True, eq=False)
class PulseProblem:
    """Irreversible electroporation between two needles in a box with insulated walls.

    Attributes:
        spacing_m, shape: cells.
        positive, negative: (n, 3) cells of the exposed parts, along z.
        radius_m: of a needle.
        voltage_v: between them.
        native_s_m, porated_s_m: conductivity up to ``start_v_m`` and from ``end_v_m``, linear between.
        lethal_v_m: field from which tissue dies.
        probes: (p, 3) cells where the field's magnitude is the answer.
    """

    spacing_m: float
    shape: tuple[int, int, int]
    positive: Cells
    negative: Cells
    radius_m: float
    voltage_v: float
    native_s_m: float
    porated_s_m: float
    start_v_m: float
    end_v_m: float
    lethal_v_m: float
    probes: Cells


@dataclass(frozen=True, slots=True, eq=False)
class RadiofrequencyProblem:
    """One cooled electrode whose voltage holds the hottest tissue at 100 °C; the walls are grounded.

    Attributes:
        liver, spacing_m, times_s, probes, damage_every: as in HeatingProblem.
        shape: cells.
        needles: (n, 3) cells of the active tip, along z; the shaft is left out.
        radius_m: of the electrode.
        water_c, water_w_m2_k: cooling inside the tip.
        conductivity_s_m, conductivity_per_k: electric, at 37 °C and its relative rise, up to 100 °C.
        most_power_w: generator's limit.
        resolve_s: the potential is solved anew so often.
    """

    liver: Liver
    spacing_m: float
    shape: tuple[int, int, int]
    needles: Cells
    radius_m: float
    water_c: float
    water_w_m2_k: float
    conductivity_s_m: float
    conductivity_per_k: float
    most_power_w: float
    resolve_s: float
    times_s: tuple[float, ...]
    probes: Cells
    damage_every: int = 4

    @property
    def longest_step_s(self) -> float:
        """Step that explicit solvers take at most, beside a needle cell."""
        liver = self.liver
        best = liver.conductivity_w_m_k * (1.0 + liver.conductivity_per_k * (BOILING_C - BODY_C))
        faces = 5.0 + thin_needle_factor(self.spacing_m, self.radius_m)
        return STEP_SHARE * liver.heat_j_m3_k * self.spacing_m**2 / (best * faces)


Problem = PennesProblem | HeatingProblem | FreezingProblem | PulseProblem | RadiofrequencyProblem


def thin_needle_factor(spacing_m: float, radius_m: float) -> float:
    """Factor of the four transverse faces of a needle's cells, (pi / 2) / ln(h / a) (after Peaceman 1978)."""
    return 0.5 * math.pi / math.log(spacing_m / radius_m)


def pennes(cells: int = 100, times_s: tuple[float, ...] = (10.0, 60.0, 600.0)) -> PennesProblem:
    """A smooth source of 20 W, 6 mm wide (standard deviation), off the middle, in a cube of 1 mm cells."""
    h, width = 1e-3, 6e-3
    x, y, z = _centres((cells,) * 3, h)
    r2 = (x - 2.3e-3) ** 2 + (y + 1.1e-3) ** 2 + (z - 0.4e-3) ** 2
    source = 20.0 / (2.0 * math.pi * width**2) ** 1.5 * np.exp(-r2 / (2.0 * width**2))
    nothing = np.zeros((cells,) * 3, np.float32)
    sink = 0.0155 * 1050.0 * 3617.0
    return PennesProblem(1e-3, 0.52, 3.82e6, sink, _frozen(source), nothing, times_s, _star((cells,) * 3, 16))


def microwave(cells: int = 100, times_s: tuple[float, ...] = (60.0, 300.0, 600.0)) -> HeatingProblem:
    """A generic antenna of 2.45 GHz radiating over 20 mm, 60 W at the generator, of which 60 % reach tissue.

    The source falls as exp(-2 alpha R) / R^2 from each part of the antenna, weighted by cos(pi z / 1.2 L), with
    2 alpha = 96 /m; it is scaled so that its sum over the cells is the power.
    """
    h, length, power_w = 1e-3, 20e-3, 0.6 * 60.0
    x, y, z = _centres((cells,) * 3, h)
    source = np.zeros((cells,) * 3)
    parts = 40
    for along in (np.arange(parts) + 0.5) / parts * length - 0.5 * length:
        r2 = x**2 + y**2 + (z - along) ** 2
        source += math.cos(math.pi * along / (1.2 * length)) * np.exp(-96.0 * np.sqrt(r2)) / r2
    source *= power_w / (source.sum() * h**3)
    return HeatingProblem(Liver(), h, _frozen(source), times_s, _star((cells,) * 3, 24)[1:])


def cryoprobes(
    shape: tuple[int, int, int] = (56, 56, 52), times_s: tuple[float, ...] = (60.0, 300.0, 900.0)
) -> FreezingProblem:
    """Four probes of 2.4 mm in a square of 20 mm (19.5 mm on the grid), 30 mm of each at -130 °C after a minute."""
    h, apart, exposed = 1.5e-3, 13, min(20, shape[2] - 4)
    columns = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    needles = [_column(shape, 0.5 * apart * a, 0.5 * apart * b, exposed) for a, b in columns]
    return FreezingProblem(
        Liver(conductivity_per_k=0.0), 0.5, h, shape, np.concatenate(needles), 1.2e-3, -130.0, 60.0, times_s,
        _star(shape, 18),
    )  # fmt: skip


def pulse_pair(shape: tuple[int, int, int] = (72, 72, 72), apart: int = 15, exposed: int = 20) -> PulseProblem:
    """Two needles of 1 mm, 15 mm apart along x, 20 mm exposed, 2250 V, in liver."""
    y = 0.5 * (1 - shape[1] % 2)
    positive, negative = (_column(shape, 0.5 * side * apart, y, exposed) for side in (-1, 1))
    return PulseProblem(
        1e-3, shape, positive, negative, 0.5e-3, 2250.0, 0.08, 0.32, 35e3, 70e3, 50e3, _star(shape, 12)
    )


def constant_conductivity(problem: PulseProblem) -> PulseProblem:
    """The same needles in tissue that does not porate."""
    return replace(problem, porated_s_m=problem.native_s_m)


def cooled_electrode(
    shape: tuple[int, int, int] = (57, 57, 57), times_s: tuple[float, ...] = (60.0, 360.0, 720.0)
) -> RadiofrequencyProblem:
    """A cooled tip of 20 mm (19.5 mm on the grid), 17 gauge, in perfused liver, 1.5 mm cells."""
    needles = _column(shape, 0.0, 0.0, 13)
    return RadiofrequencyProblem(
        Liver(), 1.5e-3, shape, needles, 0.75e-3, 15.0, 3000.0, 0.33, 0.015, 200.0, 6.0, times_s,
        _star(shape, 14)[1:],
    )  # fmt: skip


def _centres(shape: tuple[int, int, int], spacing_m: float) -> list[NDArray[np.float64]]:
    """Coordinates of the cells' centres, ready to broadcast."""
    axes = [(np.arange(n) - 0.5 * (n - 1)) * spacing_m for n in shape]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _column(shape: tuple[int, int, int], x: float, y: float, exposed: int) -> Cells:
    """Cells of a needle along z, ``x`` and ``y`` cells off the middle, and as many cells long."""
    place = x + 0.5 * (shape[0] - 1), y + 0.5 * (shape[1] - 1)
    start = (shape[2] - exposed) / 2
    if any(value % 1 for value in (*place, start)):
        raise ValueError(f"a needle at {x:g}, {y:g} with {exposed} cells does not lie on cells of a box {shape}")
    return _fixed([(int(place[0]), int(place[1]), int(start) + k) for k in range(exposed)])


def _star(shape: tuple[int, int, int], reach: int) -> Cells:
    """Cells on lines from the middle along x, y, z and a diagonal, at most ``reach`` away and off the walls."""
    middle = np.array([n // 2 for n in shape])
    reach = min(reach, *(n // 2 - 2 for n in shape))
    steps = np.unique(np.linspace(1, reach, 6).astype(int))
    lines = np.array([(1, 0, 0), (0, -1, 0), (0, 0, 1), (-1, 1, -1)])
    return _fixed([middle, *(middle + step * line for line in lines for step in steps)])


def _fixed(cells: object) -> Cells:
    result = np.array(cells, dtype=np.intp)
    result.setflags(write=False)
    return result


def _frozen(values: NDArray[np.float64]) -> FloatField:
    result = values.astype(np.float32)
    result.setflags(write=False)
    return result
