"""Other programs on the Pennes equation with constant properties: compiled or imported before the clock starts."""

import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peer_run import Run, Schedule
from physics_problems import PennesProblem

#: Step of the implicit peers: their error is then about twice that of the explicit ones, the other way.
IMPLICIT_STEP_S = 2.0
#: Conjugate gradients stop at this relative residual.
TOLERANCE = 1e-5

Values = NDArray[np.float64]


def numpy_sliced(problem: PennesProblem, most_steps: int | None = None, dtype: Any = np.float32) -> Run:
    """Explicit Euler by sums of shifted slices into buffers made before."""
    plan = Schedule(problem.times_s, problem.longest_step_s, most_steps)
    theta = problem.start_k.astype(dtype)
    inner = theta[1:-1, 1:-1, 1:-1]
    total, part = np.empty_like(inner, order="C"), np.empty_like(inner, order="C")
    around = _shifted(theta)
    spread, keep, gain = (dtype(number) for number in _factors(problem, plan.step_s))
    source = gain * problem.source_w_m3[1:-1, 1:-1, 1:-1].astype(dtype)
    answers: list[Values] = []
    start = time.perf_counter()
    for count, due in plan.parts():
        for _ in range(count):
            np.add(around[0], around[1], out=total)
            for shifted in around[2:]:
                np.add(total, shifted, out=total)
            np.multiply(total, spread, out=total)
            np.multiply(inner, keep, out=part)
            np.add(total, part, out=total)
            np.add(total, source, out=inner)
        if due:
            answers.append(_probed(problem, theta))
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), theta.size)


def numpy_float64(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """As numpy_sliced, in double precision."""
    return numpy_sliced(problem, most_steps, np.float64)


def jax_jit(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """The same sums in a compiled loop of JAX, float32."""
    import jax
    import jax.numpy as jnp

    def step(_: Any, state: Any) -> Any:
        theta, source, spread, keep = state
        around = sum(_shifted(theta)[1:], _shifted(theta)[0])
        inner = spread * around + keep * theta[1:-1, 1:-1, 1:-1] + source
        return theta.at[1:-1, 1:-1, 1:-1].set(inner), source, spread, keep

    def march(theta: Any, source: Any, spread: Any, keep: Any, count: Any) -> Any:
        return jax.lax.fori_loop(0, count, step, (theta, source, spread, keep))[0]

    plan = Schedule(problem.times_s, problem.longest_step_s, most_steps)
    spread, keep, gain = (jnp.float32(number) for number in _factors(problem, plan.step_s))
    theta, source = jnp.asarray(problem.start_k), gain * jnp.asarray(problem.source_w_m3[1:-1, 1:-1, 1:-1])
    compiled = jax.jit(march, donate_argnums=0).lower(theta, source, spread, keep, 1).compile()
    answers: list[Values] = []
    start = time.perf_counter()
    for count, due in plan.parts():
        theta = compiled(theta, source, spread, keep, count)
        if due:
            answers.append(_probed(problem, np.asarray(theta)))
    theta.block_until_ready()
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), theta.size)


def devito_operator(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """C that Devito writes for the same scheme, with OpenMP on all cores, float32."""
    import devito

    devito.configuration["log-level"] = "ERROR"
    devito.configuration["language"] = "openmp"
    plan = Schedule(problem.times_s, problem.longest_step_s, most_steps)
    shape, h = problem.start_k.shape, problem.spacing_m
    grid = devito.Grid(shape=shape, extent=tuple((n - 1) * h for n in shape), dtype=np.float32)
    theta = devito.TimeFunction(name="theta", grid=grid, time_order=1, space_order=2)
    source = devito.Function(name="source", grid=grid, space_order=0)
    diffusivity, sink, step = (devito.Constant(name=name, dtype=np.float32) for name in ("a", "b", "step"))
    heat = devito.Eq(
        theta.forward, theta + step * (diffusivity * theta.laplace - sink * theta + source),
        subdomain=grid.interior,
    )  # fmt: skip
    operator = devito.Operator([heat])

    def march(count: int, first: int) -> None:
        heat = problem.heat_j_m3_k
        operator.apply(
            time_m=first, time_M=first + count - 1, step=plan.step_s,
            a=problem.conductivity_w_m_k / heat, b=problem.perfusion_w_m3_k / heat,
        )  # fmt: skip

    def reset() -> None:
        source.data[:] = problem.source_w_m3 / problem.heat_j_m3_k
        theta.data[:] = problem.start_k

    reset()
    march(1, 0)
    reset()
    answers: list[Values] = []
    done = 0
    start = time.perf_counter()
    for count, due in plan.parts():
        march(count, done)
        done += count
        if due:
            answers.append(_probed(problem, np.asarray(theta.data[done % 2])))
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), problem.start_k.size)


def py_pde_explicit(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """Explicit Euler of py-pde, compiled by numba, float64; its walls lie half a cell further in."""
    import pde

    plan = Schedule(problem.times_s, problem.longest_step_s, most_steps)
    inner, h = problem.start_k[1:-1, 1:-1, 1:-1], problem.spacing_m
    grid = pde.CartesianGrid([[0.0, n * h] for n in inner.shape], inner.shape)
    heat = problem.heat_j_m3_k
    diffusivity, sink = problem.conductivity_w_m_k / heat, problem.perfusion_w_m3_k / heat
    equation = pde.PDE(
        {"c": f"{diffusivity!r} * laplace(c) - {sink!r} * c + q"},
        bc={"value": 0},
        consts={"q": pde.ScalarField(grid, problem.source_w_m3[1:-1, 1:-1, 1:-1].astype(np.float64) / heat)},
    )
    solver = pde.EulerSolver(equation, backend="numba")
    theta = pde.ScalarField(grid, inner.astype(np.float64))
    stepper = solver.make_stepper(theta, dt=plan.step_s)
    stepper(theta.copy(), 0.0, plan.step_s)
    answers: list[Values] = []
    start = time.perf_counter()
    for count, due in plan.parts():
        stepper(theta, 0.0, count * plan.step_s)
        if due:
            answers.append(_probed(problem, np.pad(theta.data, 1)))
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), problem.start_k.size)


def fipy_implicit(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """Backward Euler of FiPy with conjugate gradients, float64; its walls lie half a cell further in."""
    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy
    from fipy.solvers.scipy import LinearCGSolver

    plan = Schedule(problem.times_s, IMPLICIT_STEP_S, most_steps)
    inner, heat = problem.start_k[1:-1, 1:-1, 1:-1], problem.heat_j_m3_k
    nx, ny, nz = inner.shape
    mesh = fipy.Grid3D(dx=problem.spacing_m, dy=problem.spacing_m, dz=problem.spacing_m, nx=nx, ny=ny, nz=nz)
    # FiPy counts x fastest.
    theta = fipy.CellVariable(mesh=mesh, value=inner.ravel(order="F"), hasOld=True)
    theta.constrain(0.0, mesh.exteriorFaces)
    source = fipy.CellVariable(mesh=mesh, value=problem.source_w_m3[1:-1, 1:-1, 1:-1].ravel(order="F") / heat)
    equation = fipy.TransientTerm() == (
        fipy.DiffusionTerm(coeff=problem.conductivity_w_m_k / heat)
        - fipy.ImplicitSourceTerm(coeff=problem.perfusion_w_m3_k / heat)
        + source
    )
    solver = LinearCGSolver(tolerance=TOLERANCE, precon=None)
    answers: list[Values] = []
    start = time.perf_counter()
    for count, due in plan.parts():
        for _ in range(count):
            theta.updateOld()
            equation.solve(var=theta, dt=plan.step_s, solver=solver)
        if due:
            answers.append(_probed(problem, np.pad(theta.value.reshape(inner.shape, order="F"), 1)))
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), problem.start_k.size)


def scipy_implicit(problem: PennesProblem, most_steps: int | None = None) -> Run:
    """Backward Euler with a sparse matrix and the conjugate gradients of scipy, float64."""
    from scipy.sparse import diags_array, eye_array, kron
    from scipy.sparse.linalg import cg

    plan = Schedule(problem.times_s, IMPLICIT_STEP_S, most_steps)
    inner = problem.start_k[1:-1, 1:-1, 1:-1]
    unit = [eye_array(n) for n in inner.shape]
    line = [diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) for n in inner.shape]
    laplace = (
        kron(kron(line[0], unit[1]), unit[2]) + kron(kron(unit[0], line[1]), unit[2])
        + kron(kron(unit[0], unit[1]), line[2])
    ).tocsr()  # fmt: skip
    spread, _, gain = _factors(problem, plan.step_s)
    matrix = (1.0 + gain * problem.perfusion_w_m3_k) * eye_array(inner.size, format="csr") - spread * laplace
    theta = inner.astype(np.float64).ravel()
    source = problem.source_w_m3[1:-1, 1:-1, 1:-1].astype(np.float64).ravel()
    answers: list[Values] = []
    start = time.perf_counter()
    for count, due in plan.parts():
        for _ in range(count):
            theta, failed = cg(matrix, theta + gain * source, x0=theta, rtol=TOLERANCE)
            if failed:
                raise RuntimeError(f"conjugate gradients did not reach a residual of {TOLERANCE:g}")
        if due:
            answers.append(_probed(problem, np.pad(theta.reshape(inner.shape), 1)))
    return plan.run(time.perf_counter() - start, answers, len(problem.probes), problem.start_k.size)


def _factors(problem: PennesProblem, step_s: float) -> tuple[float, float, float]:
    """What neighbours, the cell itself and the source are multiplied by in an explicit step."""
    gain = step_s / problem.heat_j_m3_k
    spread = gain * problem.conductivity_w_m_k / problem.spacing_m**2
    return spread, 1.0 - 6.0 * spread - gain * problem.perfusion_w_m3_k, gain


def _shifted(theta: Any) -> tuple[Any, ...]:
    """The six neighbours of all inner cells, of an array of numpy or JAX."""
    return (
        theta[2:, 1:-1, 1:-1], theta[:-2, 1:-1, 1:-1], theta[1:-1, 2:, 1:-1], theta[1:-1, :-2, 1:-1],
        theta[1:-1, 1:-1, 2:], theta[1:-1, 1:-1, :-2],
    )  # fmt: skip


def _probed(problem: PennesProblem, theta: Any) -> Values:
    return np.asarray(theta[tuple(problem.probes.T)], dtype=np.float64)
