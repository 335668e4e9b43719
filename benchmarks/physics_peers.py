"""Other programs on the problems of benchmarks/physics_problems.py, and what memory would allow.

    python benchmarks/physics_peers.py [--quick]

prints the peers alone, and how far each one's answers lie from the first one's. Their packages come with the
optional extra ``benchmarks``; one that is not installed is named and left out. Compilation and imports lie outside
the times. A peer that would take minutes solves a part of its steps; its row says that its time is extrapolated.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import freezing_peers
import heating_peers
import numpy as np
import pennes_peers
import physics_problems
import potential_peers
from numpy.typing import NDArray
from peer_run import Run
from physics_problems import (
    FreezingProblem,
    HeatingProblem,
    PennesProblem,
    Problem,
    PulseProblem,
    RadiofrequencyProblem,
)
from rows import Row

from needleplan.compiled import compiled_parallel, prange

#: A step of the constant-property equation reads the temperature and the source and writes a temperature, float32.
BYTES_PER_CELL = 12
#: Time that one measurement of the bandwidth takes at least, and the number of them.
_TRIAD_S, _TRIADS = 0.05, 9


@dataclass(frozen=True, slots=True)
class Peer:
    """One program, ready to solve its problem.

    Attributes:
        name: short name for rows.
        said: what it does, for tables.
        solve: solves the problem, or as many steps of it as a slow peer is given.
    """

    name: str
    said: str
    solve: Callable[[], Run]


#: Problem, package, name, what it does, function, and how many steps it is given where it would take minutes.
_PEERS: tuple[tuple[type, str, str, str, Callable[..., Run], int | None], ...] = (
    (PennesProblem, "numpy", "numpy", "numpy, sums of slices, float32", pennes_peers.numpy_sliced, None),
    (PennesProblem, "numpy", "numpy float64", "numpy, sums of slices, float64", pennes_peers.numpy_float64, None),
    (PennesProblem, "jax", "JAX", "JAX, compiled loop, float32", pennes_peers.jax_jit, None),
    (PennesProblem, "devito", "Devito", "Devito, C with OpenMP, float32", pennes_peers.devito_operator, None),
    (PennesProblem, "pde", "py-pde", "py-pde, explicit, numba, float64", pennes_peers.py_pde_explicit, None),
    (PennesProblem, "scipy", "scipy", "scipy, implicit by conjugate gradients", pennes_peers.scipy_implicit, 30),
    (PennesProblem, "fipy", "FiPy", "FiPy, implicit by conjugate gradients", pennes_peers.fipy_implicit, 5),
    (HeatingProblem, "numpy", "numpy", "numpy, sums of slices, float32", heating_peers.numpy_heating, None),
    (HeatingProblem, "jax", "JAX", "JAX, compiled loop, float32", heating_peers.jax_heating, None),
    (FreezingProblem, "numpy", "numpy", "numpy, sums of slices, float32", freezing_peers.numpy_freezing, None),
    (PulseProblem, "scipy", "scipy", "scipy, conjugate gradients, Jacobi", potential_peers.scipy_pulses, None),
    (
        RadiofrequencyProblem, "scipy", "numpy and scipy", "numpy, and scipy's conjugate gradients, Jacobi",
        potential_peers.scipy_radiofrequency, None,
    ),
)  # fmt: skip


def make_peers(problem: Problem, limited: bool = True) -> tuple[list[Peer], list[str]]:
    """All peers of a problem that are installed, and a sentence for each that is not.

    Args:
        problem: what they solve.
        limited: False gives slow peers all steps too.
    """
    peers, missing = [], []
    for kind, package, name, said, function, most_steps in _PEERS:
        if not isinstance(problem, kind):
            continue
        if find_spec(package) is None:
            missing.append(f"{name} is left out, because the package {package} is not installed")
            continue
        arguments = {"most_steps": most_steps} if limited and most_steps is not None else {}
        peers.append(Peer(name, said, _solver(function, problem, arguments)))
    return peers, missing


def largest_difference(one: Run, other: Run) -> float:
    """Largest difference of two answers wherever both were reached; NaN where nowhere."""
    apart = np.abs(one.values - other.values)
    return float(np.nanmax(apart)) if np.isfinite(apart).any() else math.nan


def peer_rows(figure: str, ours: Run, unit: str, solved: Sequence[tuple[Peer, Run]]) -> list[Row]:
    """Our time beside each peer's, and how far its answers lie from ours beside our largest answer.

    Args:
        figure: name of our row, in seconds.
        ours: our solve.
        unit: of the answers, "K", "V/m".
        solved: peers with what they gave.
    """
    rows = []
    for peer, run in solved:
        said = (
            peer.said
            if run.share == 1.0
            else f"{peer.said}, extrapolated from {100 * run.share:.2g} % of its steps"
        )
        rows.append(Row.against(f"{figure} beside {peer.name}", ours.seconds, "s", said, run.seconds))
        apart = largest_difference(ours, run)
        if math.isfinite(apart):
            reached = np.where(np.isfinite(run.values), ours.values, np.nan)
            name = f"{figure}, largest difference of {peer.name}"
            rows.append(Row.against(name, apart, unit, "largest answer", float(np.nanmax(np.abs(reached)))))
    return rows


def bandwidth_gb_s(elements: int) -> float:
    """Best rate of a = b + s c over float32 arrays of so many elements, on all cores, 12 bytes an element.

    Arrays that fit the caches together (1e6 elements take 12 MB) stay there from one pass to the next.
    """
    a, b, c = (np.full(elements, number, np.float32) for number in (0.0, 1.0, 2.0))
    scale = np.float32(0.5)
    _triad(a, b, c, scale)
    best, passes = math.inf, 1
    for _ in range(_TRIADS):
        elapsed = 0.0
        while True:
            start = time.perf_counter()
            for _ in range(passes):
                _triad(a, b, c, scale)
            elapsed = time.perf_counter() - start
            if elapsed >= _TRIAD_S:
                break
            passes *= 2
        best = min(best, elapsed / passes)
    return 12e-9 * elements / best


def stencil_limit_gcell_per_s(cells: int) -> float:
    """Steps of a cell a second, in 1e9, if moving 12 bytes at the measured bandwidth were all there is to do."""
    return bandwidth_gb_s(cells) / BYTES_PER_CELL


@compiled_parallel
def _triad(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32], scale: np.float32) -> None:
    for i in prange(a.size):
        a[i] = b[i] + scale * c[i]


def _solver(function: Callable[..., Run], problem: Problem, arguments: dict[str, Any]) -> Callable[[], Run]:
    return lambda: function(problem, **arguments)


def main(quick: bool = False) -> None:
    """Solve everything once and print it."""
    for elements in (1_000_000, 30_000_000):
        print(f"triad of 3 x {elements} float32: {bandwidth_gb_s(elements):.1f} GB/s")
    made = physics_problems
    small = (30, 30, 26)
    problems: dict[str, Problem] = {
        "constant properties": made.pennes(30) if quick else made.pennes(),
        "microwave": made.microwave(30) if quick else made.microwave(),
        "cryoprobes": made.cryoprobes(small, (20.0, 60.0)) if quick else made.cryoprobes(),
        "pulses": made.pulse_pair(small) if quick else made.pulse_pair(),
        "radiofrequency": made.cooled_electrode((29, 29, 31), (12.0, 60.0)) if quick else made.cooled_electrode(),
    }
    for title, problem in problems.items():
        peers, missing = make_peers(problem)
        for sentence in missing:
            print(sentence, file=sys.stderr)
        first = None
        for peer in peers:
            run = peer.solve()
            first = first or run
            figures = "".join(f", {name} {value:.4g}" for name, value in run.figures.items())
            part = "" if run.share == 1.0 else f" (extrapolated from {100 * run.share:.2g} %)"
            rate = f", {run.gcell_per_s:.4f} Gcell/s" if run.steps else ""
            apart = largest_difference(first, run)
            print(f"{title}: {peer.name} {run.seconds:.2f} s{part}{rate}, apart {apart:.3g}{figures}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small grids")
    main(parser.parse_args().quick)
