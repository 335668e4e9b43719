"""What every coverage solver promises, held against enumeration of all choices."""

from itertools import combinations

import numpy as np
import pytest
from found_implementations import implementations
from hypothesis import given, settings
from hypothesis import strategies as st
from made_matrices import fewest, made_matrix

from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.local_search import LocalSearchSolver

SOLVERS = [GreedySolver(), LocalSearchSolver(), IntegerProgramSolver(10.0)]
#: Solvers that search until they have a proof; matrices of a few paths leave them no excuse.
EXACT = (IntegerProgramSolver,)

every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)


def test_every_solver_of_the_packages_is_held_to_its_contract():
    assert {type(solver) for solver in SOLVERS} == implementations(CoverageSolver)
    assert len({solver.name for solver in SOLVERS}) == len(SOLVERS)


def check(solver, covers, cost, allowed, added=None, conflicts=None):
    """Everything the contract promises of one answer."""
    matrix = made_matrix(covers, cost, added, conflicts)
    count, least = fewest(covers, cost, added, conflicts)
    answer = solver.solve(matrix, allowed)
    assert answer.solver == solver.name
    assert list(answer.paths) == sorted(set(answer.paths))
    assert matrix.insertions_of(answer.paths) <= allowed and not matrix.has_conflict(answer.paths)
    assert all(0 <= path < len(covers) for path in answer.paths)
    assert answer.lower_bound <= count
    covered = covers[list(answer.paths)].any(axis=0)
    np.testing.assert_array_equal(answer.uncovered, np.flatnonzero(covers.any(axis=0) & ~covered))
    exact = isinstance(solver, EXACT)
    assert answer.status in ("optimal", "fewest", "feasible", "limited")
    assert (answer.status == "limited") == (len(answer.uncovered) > 0)
    assert matrix.value_of(answer.paths) <= answer.value_bound + 1e-9
    if answer.status in ("fewest", "optimal"):
        assert matrix.insertions_of(answer.paths) == count
    if answer.status == "optimal":
        assert cost[list(answer.paths)].sum() == pytest.approx(least)
    if answer.status == "limited":
        best = most(matrix, allowed)
        assert best <= answer.value_bound + 1e-9
        # As much as it can: at least what the best single path destroys, where one is allowed.
        if allowed >= matrix.added_insertions.max(initial=0):
            assert covered.sum() >= covers.sum(axis=1).max()
        if exact:
            assert matrix.value_of(answer.paths) == pytest.approx(best)
            assert answer.value_bound == pytest.approx(best)
    if exact:
        assert answer.status == ("optimal" if count <= allowed else "limited")
        assert answer.lower_bound == count
    again = solver.solve(made_matrix(covers, cost, added, conflicts), allowed)
    assert (again.paths, again.status, again.lower_bound) == (answer.paths, answer.status, answer.lower_bound)
    return answer


def most(matrix, allowed):
    """The greatest value of so many insertions that exclude each other not, by enumeration."""
    best = 0.0
    for count in range(len(matrix.path_covers) + 1):
        for choice in combinations(range(len(matrix.path_covers)), count):
            if matrix.insertions_of(choice) <= allowed and not matrix.has_conflict(choice):
                best = max(best, matrix.value_of(choice))
    return best


@every_solver
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_paths_that_exclude_each_other_and_needles_in_the_patient(solver, seed):
    rng = np.random.default_rng(seed)
    paths, points = int(rng.integers(2, 8)), int(rng.integers(2, 20))
    covers = rng.uniform(size=(paths, points)) < rng.uniform(0.2, 0.6)
    conflicts = np.triu(rng.uniform(size=(paths, paths)) < rng.uniform(0.0, 0.6), 1)
    added = (rng.uniform(size=paths) < 0.8).astype(float)
    # What a needle in the patient excludes is not offered at all.
    conflicts[added == 0] = conflicts[:, added == 0] = False
    conflicts |= conflicts.T
    cost = np.sort(np.round(rng.uniform(0.1, 2.0, paths), 2)) * added
    check(solver, covers, cost, int(rng.integers(0, 6)), added, conflicts)


@every_solver
def test_two_paths_that_exclude_each_other_are_never_both_taken(solver):
    covers = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    conflicts = np.zeros((4, 4), dtype=bool)
    assert set(check(solver, covers, np.ones(4), 3, conflicts=conflicts).paths) == {0, 1}
    conflicts[0, 1] = conflicts[1, 0] = True
    answer = solver.solve(made_matrix(covers, np.ones(4), conflicts=conflicts), 3)
    assert set(answer.paths) != {0, 1} and not {0, 1} <= set(answer.paths)
    check(IntegerProgramSolver(10.0), covers, np.ones(4), 3, conflicts=conflicts)


@every_solver
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_small_random_matrices(solver, seed):
    rng = np.random.default_rng(seed)
    paths, points = int(rng.integers(1, 9)), int(rng.integers(1, 30))
    covers = rng.uniform(size=(paths, points)) < rng.uniform(0.05, 0.7)
    if rng.uniform() < 0.2:
        covers = np.repeat(covers[: max(1, paths // 2)], 2, axis=0)
    cost = np.sort(np.round(rng.uniform(0.1, 2.0, len(covers)), 2))
    check(solver, covers, cost, int(rng.integers(1, 9)))


@every_solver
@pytest.mark.parametrize("allowed", [1, 2, 3, 5])
def test_a_matrix_that_misleads_a_greedy_choice(solver, allowed):
    # The widest path destroys four points of six, and then two more are needed; two paths of three would do.
    covers = np.array([[1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=bool)
    assert fewest(covers, np.ones(3))[0] == 2
    check(solver, covers, np.array([0.1, 1.0, 1.0]), allowed)


@every_solver
@pytest.mark.parametrize("allowed", range(1, 8))
def test_points_that_only_one_path_destroys_decide(solver, allowed):
    covers = np.eye(6, dtype=bool)
    answer = check(solver, covers, np.arange(1.0, 7.0), allowed)
    assert len(answer.paths) == min(allowed, 6)
    assert (answer.status == "limited") == (allowed < 6)


@every_solver
def test_points_that_no_path_destroys_are_nobodys_fault(solver):
    covers = np.array([[1, 0, 0, 1], [0, 0, 0, 1]], dtype=bool)
    answer = check(solver, covers, np.array([1.0, 2.0]), 2)
    assert answer.paths == (0,) and answer.status != "limited"


@every_solver
def test_nothing_to_cover_takes_no_path(solver):
    answer = check_nothing(solver, np.zeros((3, 5), dtype=bool))
    assert answer.paths == () and not len(answer.uncovered) and answer.lower_bound == 0


def check_nothing(solver, covers):
    return solver.solve(made_matrix(covers, np.ones(len(covers))), 2)


@every_solver
def test_more_allowed_never_covers_less(solver):
    rng = np.random.default_rng(8)
    for _ in range(10):
        covers = rng.uniform(size=(8, 40)) < 0.25
        matrix = made_matrix(covers, np.sort(rng.uniform(0.1, 2.0, 8)))
        left = [len(solver.solve(matrix, allowed).uncovered) for allowed in range(1, 9)]
        assert left == sorted(left, reverse=True) and left[-1] == 0


@every_solver
def test_a_choice_that_is_limited_is_near_the_best(solver):
    # Covering most with k sets: a greedy choice reaches 1 - 1/e of the best (Nemhauser, Wolsey, Fisher 1978).
    rng = np.random.default_rng(9)
    for _ in range(10):
        covers = rng.uniform(size=(8, 60)) < 0.15
        answer = solver.solve(made_matrix(covers, np.ones(8)), 3)
        assert answer.status == "limited"
        best = max(covers[list(choice)].any(axis=0).sum() for choice in combinations(range(8), 3))
        assert covers[list(answer.paths)].any(axis=0).sum() >= (1 - 1 / np.e) * best
