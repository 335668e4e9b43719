"""Rows of benchmarks/coverage.py, part by part: the real liver, small problems, solvers, balls by balls."""

import dataclasses
import resource
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clock import Clock, print_rows, print_times
from coverage_balls import (
    BESIDE,
    CAP_ANGLES_DEG,
    FOUND,
    POINT_COUNTS,
    BallPlan,
    ball_queries,
    least_radius,
    plan_ball,
)
from coverage_cases import TimedPlan, large_tumour_queries, liver_ball_queries, stage_medians_s, timed_plan
from coverage_peers import Solved, make_solvers, timed
from coverage_problems import ball_by_balls, enumerated, random_cover
from coverage_scenarios import scenarios_row
from rows import Row, write_rows

from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.local_search import LocalSearchSolver
from needleplan.planning import PlanningOptions

LIMIT = "limit set by this project"
LIVER_LIMITS_S = {"liver_30mm_proven": 15.0, "liver_30mm_refined": 30.0, "large_tumour": 180.0}
#: Radii of the zones in the ball's, for the solvers' problem, and the time that each solver has.
SHARES, SOLVER_LIMIT_S = (0.75, 0.85), 20.0
RANDOM_PROBLEMS = 200
#: A device whose zones are smaller than target and margin, so that one needle cannot do.
SMALL_ZONES = "generic-rfa-cooled-20"
#: Insertions of the plan whose scenarios are timed.
PROBES = 3
PARTS = ("liver", "random", "solvers", "balls")


class BallRows:
    """Balls by balls, and what was claimed of them."""

    def __init__(self) -> None:
        self.below: list[BallPlan] = []
        self.above: list[BallPlan] = []

    def run(self, quick: bool) -> None:
        """Plan all of them."""
        queries = ball_queries(4 if quick else 5)
        for points in POINT_COUNTS[:1] if quick else POINT_COUNTS:
            for count in (4,) if quick else CAP_ANGLES_DEG:
                least = least_radius(count)
                asked = [(self.below, 1.0 - BESIDE)]
                if count in FOUND:
                    asked.append((self.above, 1.0 + BESIDE))
                for plans, times in asked:
                    one = plan_ball(queries, count, times * least, points)
                    plans.append(one)
                    tell(
                        f"{one.count} balls of {one.share:.4f}, {one.points} points: {one.plan.status}, "
                        f"{one.zones} zones, {one.uncovered} samples missed, {one.seconds:.1f} s"
                    )

    def rows(self) -> list[Row]:
        """Unsound claims of all, covers found above the least radius at each spacing, and the time of one plan."""
        everything = [*self.below, *self.above]
        rows = [
            Row.against(
                "unsound_claims", sum(one.unsound for one in everything), "1", "plans asked for", len(everything)
            ),
            Row.against(
                "found_2_percent_above",
                sum(one.found for one in self.above),
                "1",
                "covers that exist",
                len(self.above),
            ),
        ]
        for points in sorted({one.points for one in self.above}):
            mine = [one for one in self.above if one.points == points]
            rows.append(
                Row.against(
                    f"found_2_percent_above, {points} points",
                    sum(one.found for one in mine),
                    "1",
                    "covers that exist",
                    len(mine),
                )
            )
        rows.append(Row("ball_plan_s", statistics.median(one.seconds for one in everything), "s"))
        return rows


def random_rows(count: int) -> list[Row]:
    """Wrong claims on small problems, and how far quick methods lie from the optimum."""
    misses = unproven = coverable = 0
    gaps: dict[str, list[float]] = {"greedy": [], "local search": []}
    exact = IntegerProgramSolver(10.0)
    for seed in range(count):
        problem = random_cover(seed)
        everything = int(problem.added_insertions.sum())
        allowed = everything if seed % 2 else 2
        truth, answer = enumerated(problem, allowed), exact.solve(problem, allowed)
        chosen = list(answer.paths)
        wrong = problem.has_conflict(chosen) or problem.insertions_of(chosen) > allowed
        wrong |= answer.lower_bound > truth.insertions or answer.value_bound < truth.worth - 1e-9
        if answer.status in ("optimal", "fewest"):
            wrong |= bool(len(answer.uncovered)) or problem.insertions_of(chosen) != truth.insertions
        if answer.status == "optimal":
            wrong |= abs(problem.path_cost[chosen].sum() - truth.cost) > 1e-6
        if answer.status == "limited" and truth.insertions <= allowed:
            wrong = True
        if answer.status in ("feasible", "fewest"):
            unproven += 1
        misses += bool(wrong)
        if np.isfinite(truth.insertions) and truth.insertions > 0:
            coverable += 1
            for solver in (GreedySolver(), LocalSearchSolver(1.0)):
                quick = solver.solve(problem, everything)
                if not len(quick.uncovered):
                    more = problem.insertions_of(quick.paths) - truth.insertions
                    gaps[solver.name].append(more / truth.insertions)
    asked = "instances asked"
    rows = [
        Row.against("optimality_misses", misses, "1", asked, count),
        Row.against("optima_unproven", unproven, "1", asked, count),
    ]
    for name, values in gaps.items():
        rows.append(Row(f"random problems: mean gap of {name}", float(np.mean(values)), "1"))
        rows.append(Row(f"random problems: largest gap of {name}", float(np.max(values)), "1"))
        rows.append(
            Row.against(
                f"random problems: covers found by {name}", len(values), "1", "covers that exist", coverable
            )
        )
    return rows


class SolverTable:
    """All solvers on a ball by balls, in turn."""

    def __init__(self, shares: tuple[float, ...], limit_s: float) -> None:
        self.problems = {share: ball_by_balls(share) for share in shares}
        self.limit_s = limit_s
        self.solvers, self.missing = make_solvers()
        self.clock = Clock("ball by balls")
        self.answers: dict[tuple[float, str], Solved] = {}

    def repeat(self) -> None:
        """Ask every solver once."""
        for share, problem in self.problems.items():
            for solver in self.solvers:
                answer, seconds = timed(solver, problem, self.limit_s)
                self.clock.times_s.setdefault(f"{share:g}, {solver.name}", []).append(seconds)
                self.clock.counts[f"{share:g}, {solver.name}"] = 0
                self.answers[share, solver.name] = answer
                found = "none" if answer.chosen is None else f"{len(answer.chosen)}"
                tell(f"balls of {share:g}, {solver.name}: {found}, bound {answer.bound:g}, {seconds:.2f} s")

    def rows(self) -> list[Row]:
        """Time, number found and gap of each, the exact one beside every peer."""
        rows = []
        ours = self.solvers[0]
        for share in self.problems:
            start = f"ball by balls, {share:g}:"
            for solver in self.solvers:
                seconds = self.clock.median_s(f"{share:g}, {solver.name}")
                answer = self.answers[share, solver.name]
                if solver is ours:
                    rows.append(Row(f"{start} seconds of {solver.name}", seconds, "s"))
                else:
                    mine = self.clock.median_s(f"{share:g}, {ours.name}")
                    said = f"{solver.name}, {solver.said}"
                    rows.append(Row.against(f"{start} seconds beside {solver.name}", mine, "s", said, seconds))
                if answer.chosen is not None:
                    rows.append(Row(f"{start} balls of {solver.name}", len(answer.chosen), "1"))
                rows.append(Row(f"{start} gap of {solver.name}", answer.gap, "1"))
        return rows


class LiverRows:
    """The real liver: a ball of 30 mm and the large tumour."""

    def __init__(self, data: Path) -> None:
        self.runs: dict[str, list[TimedPlan]] = {}
        self.ball, self.large = liver_ball_queries(data), large_tumour_queries(data)
        tell("anatomies are built")
        self.first = {
            "liver_30mm": timed_plan(self.ball, PlanningOptions()),
            "large_tumour": timed_plan(self.large, dataclasses.replace(PlanningOptions(), refine=False)),
        }

    def repeat(self) -> None:
        """Plan each of them once."""
        options = PlanningOptions()
        small = dataclasses.replace(options, applicator=SMALL_ZONES)
        for name, queries, chosen in (
            ("liver_30mm_proven", self.ball, dataclasses.replace(options, refine=False)),
            ("liver_30mm_refined", self.ball, options),
            ("liver_30mm_small_zones", self.ball, small),
            ("large_tumour", self.large, options),
        ):
            one = timed_plan(queries, chosen)
            self.runs.setdefault(name, []).append(one)
            proof = one.plan.proof
            tell(
                f"{name}: {one.plan.status}, {proof and (proof.insertions, proof.lower_bound)}, {one.seconds:.1f} s"
            )

    def scenarios(self, repeats: int) -> list[Row]:
        """The time of 500 scenarios of three needles in the large tumour."""
        insertions = self.runs["large_tumour"][-1].plan.insertions
        if len(insertions) < PROBES:
            tell(f"the large tumour has fewer than {PROBES} insertions: scenarios_500_s is left out")
            return []
        return [scenarios_row(self.large, insertions[:PROBES], repeats)]


def liver_rows(runs: dict[str, list[TimedPlan]], first: dict[str, TimedPlan]) -> list[Row]:
    """Times beside their limits, what they are made of, and what was proven."""
    rows = []
    for name, timed_plans in runs.items():
        seconds = statistics.median(one.seconds for one in timed_plans)
        if name in LIVER_LIMITS_S:
            rows.append(Row.against(f"{name}_s", seconds, "s", LIMIT, LIVER_LIMITS_S[name]))
        else:
            rows.append(Row(f"{name}_s", seconds, "s"))
        rows.append(Row(f"{name}_cpu_s", statistics.median(one.cpu_s for one in timed_plans), "s"))
        rows += [Row(f"{name}: {stage}", spent, "s") for stage, spent in stage_medians_s(timed_plans).items()]
        plan = timed_plans[-1].plan
        rows.append(Row(f"{name}: complete", float(plan.status == "complete"), "1"))
        rows.append(Row(f"{name}: proven fewest", float(timed_plans[-1].proven), "1"))
        rows.append(Row(f"{name}: paths looked at", plan.candidate_count, "1"))
        rows.append(Row(f"{name}: paths feasible", plan.feasible_count, "1"))
        if plan.proof is not None and plan.metrics is not None:
            rows += [
                Row(f"{name}: insertions", plan.proof.insertions, "1"),
                Row(f"{name}: lower bound", plan.proof.lower_bound, "1"),
                Row(f"{name}: gap", plan.proof.gap, "1"),
                Row(f"{name}: ablations", sum(len(one.ablations) for one in plan.insertions), "1"),
                Row(f"{name}: least margin", plan.metrics.minimal_margin_mm, "mm"),
                Row(f"{name}: covered with margin", plan.metrics.margin_coverage_fraction, "1"),
            ]
    for name, one in first.items():
        rows.append(Row(f"{name}_first_s", one.seconds, "s"))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    rows.append(Row("peak_memory_gb", peak_gb, "GB"))
    return rows


def tell(sentence: str) -> None:
    """Say how far the benchmark is."""
    print(sentence, file=sys.stderr, flush=True)


def main(
    json_path: Path,
    repeats: int = 3,
    data: Path | None = None,
    quick: bool = False,
    parts: Sequence[str] = PARTS,
) -> list[Row]:
    """Run the benchmark, print tables and write the rows, those of each part as soon as they are there."""
    repeats = 1 if quick else repeats
    rows: list[Row] = []
    clocks: list[Clock] = []
    if "liver" in parts and data is not None and not quick:
        liver = LiverRows(data)
        for _ in range(repeats):
            liver.repeat()
            write_rows(json_path, liver_rows(liver.runs, liver.first))
        rows += liver_rows(liver.runs, liver.first) + liver.scenarios(repeats)
        write_rows(json_path, rows)
    if "random" in parts:
        rows += random_rows(20 if quick else RANDOM_PROBLEMS)
        write_rows(json_path, rows)
    if "solvers" in parts:
        table = SolverTable(SHARES[1:] if quick else SHARES, 2.0 if quick else SOLVER_LIMIT_S)
        for sentence in table.missing:
            tell(sentence)
        for _ in range(repeats):
            table.repeat()
        clocks.append(table.clock)
        rows += table.rows()
        write_rows(json_path, rows)
    if "balls" in parts:
        balls = BallRows()
        balls.run(quick)
        rows += balls.rows()
    print_times(clocks)
    print_rows(rows)
    write_rows(json_path, rows)
    return rows
