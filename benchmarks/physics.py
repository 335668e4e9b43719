"""Zones by physics, beside other programs that are given the same problems.

    python benchmarks/physics.py --json rows.json [--repeats 5] [--quick]

Problems: benchmarks/physics_problems.py. Ten minutes of a microwave antenna on 100 x 100 x 100 cells of 1 mm with
boiling, shutdown of perfusion and damage by three criteria; twelve minutes of a cooled radiofrequency electrode
whose potential is solved anew every six seconds; four cryoprobes for fifteen minutes; a pair of pulsed electrodes
whose conductivity rises with the field; and the bare stencil of constant properties, beside the rate at which
memory could deliver its twelve bytes a cell. Each repeat solves all of them in turn. Compilation is done before.
Peers that are not installed are named and left out (``pip install -e '.[benchmarks]'`` brings them); the slowest
ones are solved once.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from clock import Clock, print_rows, print_times
from peer_run import Run
from physics_peers import make_peers, peer_rows, stencil_limit_gcell_per_s
from physics_problems import (
    FreezingProblem,
    HeatingProblem,
    Liver,
    PennesProblem,
    Problem,
    PulseProblem,
    RadiofrequencyProblem,
    cooled_electrode,
    cryoprobes,
    microwave,
    pennes,
    pulse_pair,
)
from rows import Row, write_rows

from needleplan.ablation.bioheat.linear import LinearBioheat
from needleplan.ablation.bioheat.solver import BioheatSolver
from needleplan.ablation.criteria import ColdestTemperatureCriterion, heat_criteria
from needleplan.ablation.electroporation import PulseTissues, pair_field
from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.needle_contact import NeedlePart, needle_cells
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.ablation.solver_domain import SolverDomain
from needleplan.ablation.tissue_map import homogeneous
from needleplan.devices.tissue import Tissue
from needleplan.devices.tissues import builtin_tissues
from needleplan.grid import Grid
from needleplan.plan import Ablation, Insertion, vector3

LIMIT = "limit set by this project"
MWA_LIMIT_S, RFA_LIMIT_S, CRYO_LIMIT_S, IRE_LIMIT_S = 1.5, 4.0, 2.5, 1.5
STENCIL_LIMIT_GCELL_PER_S, MEMORY_LIMIT_GB = 3.0, 1.5
#: Peers that take longer than this are solved in the first repeat only.
SLOW_S = 20.0


def tissue_of(liver: Liver) -> Tissue:
    """The problem's liver as a tissue of the table's kind."""
    density = 1078.75
    return (
        builtin_tissues()
        .tissue("liver")
        .changed(
            density_kg_m3=density,
            specific_heat_j_kg_k=liver.heat_j_m3_k / density,
            thermal_conductivity_w_m_k=liver.conductivity_w_m_k,
            thermal_conductivity_per_k=liver.conductivity_per_k,
            water_kg_m3=liver.boiling_j_m3 / 2.26e6,
            perfusion_per_s=liver.perfusion_w_m3_k / (1049.75 * 3617.0),
            frozen_specific_heat_j_kg_k=liver.frozen_heat_j_m3_k / density,
            frozen_thermal_conductivity_w_m_k=liver.frozen_conductivity_w_m_k,
            latent_heat_j_kg=liver.freezing_j_m3 / density,
            freezing_start_c=liver.freezing_c,
            freezing_end_c=liver.frozen_c,
        )
    )


def solve_pennes(problem: PennesProblem) -> Run:
    """Constant properties by LinearBioheat."""
    tissue = Tissue(
        "constant",
        1000.0,
        problem.heat_j_m3_k / 1000.0,
        problem.conductivity_w_m_k,
        perfusion_per_s=problem.perfusion_w_m3_k / (1049.75 * 3617.0),
    )
    # The walls of the problem are its outermost cells, of this solver the cells beyond its outermost.
    inner = (slice(1, -1),) * 3
    source = np.ascontiguousarray(problem.source_w_m3[inner])
    solver = LinearBioheat(source.shape, 1e3 * problem.spacing_m, tissue)
    solver.rise_k[:] = problem.start_k[inner]
    answers, steps = [], 0
    start = time.perf_counter()
    for time_s in problem.times_s:
        steps += solver.advance(time_s - solver.time_s, source)
        answers.append(np.pad(solver.rise_k, 1)[tuple(problem.probes.T)])
    seconds = time.perf_counter() - start
    return Run(seconds, np.array(answers, dtype=np.float64), source.size, steps)


def solve_heating(problem: HeatingProblem) -> Run:
    """The antenna by BioheatSolver with three criteria."""
    tissue = tissue_of(problem.liver)
    band = heat_criteria()
    shape = problem.source_w_m3.shape
    start = time.perf_counter()
    solver = BioheatSolver(shape, 1e3 * problem.spacing_m, np.zeros(shape, np.uint8), [tissue], criteria=band.all)
    source = solver.padded(problem.source_w_m3)
    answers = []
    for time_s in problem.times_s:
        solver.advance(time_s - solver.time_s, source)
        answers.append(solver.temperature_c[tuple(problem.probes.T)])
    seconds = time.perf_counter() - start
    dead_ml = float((solver.dose(band.central) >= 1.0).sum()) * (1e3 * problem.spacing_m) ** 3 / 1000.0
    return Run(
        seconds, np.array(answers, dtype=np.float64), int(np.prod(shape)), solver.stages, 1.0,
        {"zone_cm3": dead_ml, "energy_residual": solver.ledger.residual},
    )  # fmt: skip


def solve_freezing(problem: FreezingProblem) -> Run:
    """The cryoprobes by BioheatSolver and the contact of thin needles."""
    tissue = tissue_of(problem.liver)
    grid = _grid(problem.shape, problem.spacing_m)
    band = (ColdestTemperatureCriterion(-40.0, 1),)
    start = time.perf_counter()
    cells = needle_cells(grid, _columns(grid, problem.needles, problem.radius_m))
    solver = BioheatSolver(
        problem.shape, 1e3 * problem.spacing_m, np.zeros(problem.shape, np.uint8), [tissue], criteria=band,
        freezing=True, perfusion_factor=problem.perfusion_factor,
    )  # fmt: skip
    answers = []
    for time_s in problem.times_s:
        while solver.time_s < time_s - 1e-9:
            ramping = solver.time_s < problem.ramp_s
            step_s = min(5.0 if ramping else 1e9, time_s - solver.time_s)
            share = min((solver.time_s + 0.5 * step_s) / problem.ramp_s, 1.0) if ramping else 1.0
            solver.hold(cells.held, 37.0 + share * (problem.probe_c - 37.0), cells.contact)
            solver.advance(step_s)
        answers.append(solver.temperature_c[tuple(problem.probes.T)])
    seconds = time.perf_counter() - start
    volume = (1e3 * problem.spacing_m) ** 3 / 1000.0
    coldest = solver.dose(band[0])
    figures = {
        "zone_cm3": float((coldest <= -40.0).sum()) * volume,
        "ice_cm3": float((coldest <= -0.5).sum()) * volume,
    }
    return Run(
        seconds, np.array(answers, dtype=np.float64), int(np.prod(problem.shape)), solver.stages, 1.0, figures
    )


def solve_pulses(problem: PulseProblem) -> Run:
    """The pair by the solver of ElectroporationModel."""
    tissue = tissue_of(Liver()).changed(
        pulse_conductivity_s_m=problem.native_s_m,
        porated_conductivity_s_m=problem.porated_s_m,
        poration_start_v_cm=0.01 * problem.start_v_m,
        poration_end_v_cm=0.01 * problem.end_v_m,
    )
    grid = _grid(problem.shape, problem.spacing_m)
    nothing = np.zeros(problem.shape, np.bool_)
    domain = SolverDomain(grid, np.zeros(problem.shape, np.uint8), (tissue,), nothing, 37.0)
    parts = [_columns(grid, needle, problem.radius_m)[0] for needle in (problem.positive, problem.negative)]
    start = time.perf_counter()
    solved = pair_field(
        domain, PulseTissues(domain), parts, problem.voltage_v, PulseProtocol(), 0.01 * problem.lethal_v_m
    )
    seconds = time.perf_counter() - start
    field_v_m = 100.0 * solved.field_v_cm.astype(np.float64)
    lethal = float((field_v_m >= problem.lethal_v_m).sum()) * (1e3 * problem.spacing_m) ** 3 / 1000.0
    return Run(
        seconds, field_v_m[tuple(problem.probes.T)], field_v_m.size, 0, 1.0,
        {"zone_cm3": lethal, "current_a": solved.current_a},
    )  # fmt: skip


def solve_radiofrequency(problem: RadiofrequencyProblem) -> Run:
    """The electrode by RadiofrequencyModel, in a domain at least as large as the problem's."""
    spacing_mm = 1e3 * problem.spacing_m
    reach_mm = 0.5 * spacing_mm * (problem.shape[0] - 1)
    duration_s = problem.times_s[-1]
    model = RadiofrequencyModel(HeatOptions(spacing_mm=spacing_mm, reach_mm=reach_mm, cool_down_s=0.0))
    tip = np.array([0.0, 0.0, 10.0])
    insertion = Insertion(
        vector3(tip - [0.0, 0.0, 100.0]),
        vector3(tip),
        "generic-rfa-cooled-20",
        (Ablation(vector3(tip), None, duration_s),),
    )
    start = time.perf_counter()
    prediction = model.predict([insertion], homogeneous(tissue_of(problem.liver)))
    seconds = time.perf_counter() - start
    cells = int(np.prod(prediction.fields["temperature_c"].grid.shape))
    figures = {
        "zone_cm3": prediction.quantity("volume").value,
        "energy_kj": prediction.quantity("energy from the generator").value,
    }
    return Run(seconds, np.full((1, 1), np.nan), cells, 0, 1.0, figures)


def _grid(shape: tuple[int, int, int], spacing_m: float) -> Grid:
    matrix = np.diag([1e3 * spacing_m] * 3 + [1.0])
    matrix[:3, 3] = -500.0 * spacing_m * (np.asarray(shape) - 1)
    return Grid(shape, matrix)


def _columns(grid: Grid, cells: np.ndarray, radius_m: float) -> list[NeedlePart]:
    """One part for each column of cells along z, from the outer face of its first to that of its last cell."""
    parts = []
    for column in np.unique(cells[:, :2], axis=0):
        along = cells[(cells[:, :2] == column).all(axis=1), 2]
        ends = grid.to_patient(np.array([[*column, along.min() - 0.5], [*column, along.max() + 0.5]]))
        parts.append(NeedlePart(vector3(ends[0]), vector3(ends[1]), 1e3 * radius_m))
    return parts


#: Name of the row, limit in seconds, unit of the answers, our solver.
SOLVED = {
    HeatingProblem: ("mwa_10min_100_s", MWA_LIMIT_S, "K", solve_heating),
    RadiofrequencyProblem: ("rfa_12min_s", RFA_LIMIT_S, "K", solve_radiofrequency),
    FreezingProblem: ("cryo_4probes_15min_s", CRYO_LIMIT_S, "K", solve_freezing),
    PulseProblem: ("ire_pair_s", IRE_LIMIT_S, "V/m", solve_pulses),
    PennesProblem: ("pennes_600s_100_s", None, "K", solve_pennes),
}


def make_problems(quick: bool) -> list[Problem]:
    """All problems; small ones for a quick run."""
    if quick:
        small = (30, 30, 26)
        return [
            microwave(30, (30.0, 60.0)), cooled_electrode((29, 29, 31), (12.0, 60.0)), cryoprobes(small, (20.0,
            60.0)), pulse_pair(small, 11, 10), pennes(30, (10.0, 60.0)),
        ]  # fmt: skip
    return [microwave(), cooled_electrode(), cryoprobes(), pulse_pair(), pennes()]


class ProblemTimes:
    """One problem, our runs of it and the peers'."""

    def __init__(self, problem: Problem, clock: Clock) -> None:
        self.figure, self.limit_s, self.unit, self.solve = SOLVED[type(problem)]
        self.problem, self.clock = problem, clock
        self.peers, self.missing = make_peers(problem)
        start = time.perf_counter()
        self.solve(problem)
        self.first_s = time.perf_counter() - start
        self.runs: dict[str, list[Run]] = {}

    def repeat(self) -> None:
        """Solve once with each program, the slowest only the first time."""
        self._keep("needleplan", self.solve(self.problem))
        for peer in self.peers:
            known = self.runs.get(peer.name)
            if known and known[0].seconds * known[0].share > SLOW_S:
                continue
            self._keep(peer.name, peer.solve())

    def _keep(self, name: str, run: Run) -> None:
        self.runs.setdefault(name, []).append(run)
        self.clock.times_s.setdefault(f"{self.figure} {name}", []).append(run.seconds)
        self.clock.counts[f"{self.figure} {name}"] = 0

    def median(self, name: str) -> Run:
        """The run of median time."""
        return sorted(self.runs[name], key=lambda run: run.seconds)[len(self.runs[name]) // 2]

    def rows(self) -> list[Row]:
        """Ours against the limit, what it found, then the peers."""
        ours = self.median("needleplan")
        if self.limit_s is None:
            rows = [Row(self.figure, ours.seconds, "s")]
        else:
            rows = [Row.against(self.figure, ours.seconds, "s", LIMIT, self.limit_s)]
        rows.append(Row(f"{self.figure}, best", min(run.seconds for run in self.runs["needleplan"]), "s"))
        solved = [(peer, self.median(peer.name)) for peer in self.peers]
        for name, value in ours.figures.items():
            rows.append(Row(f"{self.figure}, {name}", value, "1"))
            rows += [
                Row.against(f"{self.figure}, {name} beside {peer.name}", value, "1", peer.said, run.figures[name])
                for peer, run in solved
                if run.figures.get(name)
            ]
        return rows + peer_rows(self.figure, ours, self.unit, solved)


def memory_of_200_gb() -> float:
    """Greatest memory of a process of its own that runs one minute of the antenna on 200 x 200 x 200 cells."""
    code = (
        "import resource; from physics import solve_heating; from physics_problems import microwave; "
        "solve_heating(microwave(200, (60.0,))); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    # Linux counts in KiB, others in bytes.
    return int(done.stdout) * (1024.0 if sys.platform.startswith("linux") else 1.0) / 1e9


def main(json_path: Path, repeats: int = 5, quick: bool = False) -> list[Row]:
    """Run the benchmark, print tables and write the rows."""
    clock = Clock("physics")
    times = [ProblemTimes(problem, clock) for problem in make_problems(quick)]
    for sentence in dict.fromkeys(sentence for one in times for sentence in one.missing):
        print(sentence, file=sys.stderr)
    limits: list[float] = []
    for _ in range(1 if quick else repeats):
        for one in times:
            one.repeat()
        limits.append(stencil_limit_gcell_per_s(27_000 if quick else 1_000_000))
    rows = [row for one in times for row in one.rows()]
    bare = next(one for one in times if isinstance(one.problem, PennesProblem))
    rate = bare.median("needleplan").gcell_per_s
    limit = sorted(limits)[len(limits) // 2]
    rows += [
        Row.against("stencil_gcell_per_s", rate, "Gcell/s", LIMIT, STENCIL_LIMIT_GCELL_PER_S),
        Row("stencil_gcell_per_s, best", max(run.gcell_per_s for run in bare.runs["needleplan"]), "Gcell/s"),
        Row.against(
            "stencil_gcell_per_s beside the bandwidth", rate, "Gcell/s", "12 bytes a cell at triad speed", limit
        ),
        Row("first_call_s", sum(one.first_s for one in times), "s"),
    ]
    if not quick:
        rows.append(Row.against("memory_200_gb", memory_of_200_gb(), "GB", LIMIT, MEMORY_LIMIT_GB))
    print_times([clock])
    print_rows(rows)
    write_rows(json_path, rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=5, help="runs of every program (5)")
    parser.add_argument("--quick", action="store_true", help="one run of small problems")
    arguments = parser.parse_args()
    main(arguments.json, arguments.repeats, arguments.quick)
