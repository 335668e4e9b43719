"""Times of the chain's stages, side by side with peers and limits.

    python benchmarks/chain.py --json rows.json [--repeats 3] [--data DIR] [--quick]

The built-in patient always; the real liver of examples/cases/ircadb01-case01.toml where --data or NEEDLEPLAN_DATA
names the data. Each repeat runs all stages and their peers one after the other, so that a change of the machine's
load meets all of them; the table shows median and best, the file holds the median.
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from clock import Clock, print_rows, print_times
from ray_peers import open3d_rays, vtk_loop
from rich.console import Console
from rows import Row, write_rows

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.phantom_files import save_phantom
from needleplan.app.pipeline import PlannedCase, RobotPlan, plan_robot, rehearse_plan
from needleplan.app.progress import progress_bar
from needleplan.app.report import write_report
from needleplan.app.report_rehearsals import Rehearsal
from needleplan.assess import assess
from needleplan.case.load import load_case
from needleplan.coverage.ablations import choose_ablations
from needleplan.coverage.greedy import GreedySolver
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.matrix import build_coverage
from needleplan.coverage.options import CoverageOptions
from needleplan.motion.lujan import LujanMotion
from needleplan.outcome import Outcome
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import default_constraints, screen
from needleplan.viz.offscreen import RenderingError
from needleplan.viz.pictures import draw_plan_pictures
from sim.film import FilmOptions, make_film
from sim.recorder import SceneRecorder

REAL_CASE = Path(__file__).parents[1] / "examples" / "cases" / "ircadb01-case01.toml"
#: A second run of ``needleplan demo`` shall take no longer, and the planner alone no longer than this.
DEMO_LIMIT_S, PLANNING_LIMIT_S = 60.0, 30.0
#: The loop of single rays is too slow for all paths: its rate is taken from so many of them.
LOOPED_PATHS = 2000
QUICK = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=20.0, aim_count=8),
    coverage=CoverageOptions(paths_per_aim=6, point_count=2_000, setting_count=3, time_limit_s=5.0),
)
#: Stages that ``needleplan plan`` runs between reading and drawing.
PLANNING = (
    "build anatomy", "sample", "screen", "rank", "build coverage", "solve coverage (HiGHS)", "choose ablations",
    "assess",
)  # fmt: skip


def run_chain(clock: Clock, manifest: Path, data: Path | None, out: Path, quick: bool) -> None:
    """All stages of one case, once."""
    options = QUICK if quick else PlanningOptions()
    case = clock("read case", lambda: load_case(manifest, data))
    anatomy = clock("build anatomy", lambda: build_anatomy(case))
    queries = AnatomyQueries(anatomy)
    model = EllipsoidTableModel(setting=options.setting)
    applicator = model.catalogue.applicator(options.applicator)
    table = clock("sample", lambda: sample_trajectories(queries, applicator, options.sampling))
    constraints = default_constraints(queries, options.limits)
    screened = clock("screen", lambda: screen(table, queries, constraints), len(table))
    ranked = clock("rank", lambda: rank(screened, queries, default_objectives(queries, options.weights)))

    # The peers tell hits from misses, so only the clearances are compared with them; all trees are built by now.
    clearances = [constraint for constraint in constraints if isinstance(constraint, Clearance)]
    meshes = [surface.mesh for surface in anatomy.obstacles]
    loop, rays = vtk_loop(meshes), open3d_rays(meshes)
    some = table.subset(np.arange(0, len(table), max(1, len(table) // LOOPED_PATHS)))
    clock("clearances", lambda: screen(table, queries, clearances), len(table))
    clock("rays, VTK loop", lambda: loop(some.entry_mm, some.tip_mm), len(some))
    clock("rays, Open3D", lambda: rays(table.entry_mm, table.tip_mm), len(table))

    cover = options.coverage
    matrix = clock("build coverage", lambda: build_coverage(ranked, queries, model, cover))
    exact, greedy = IntegerProgramSolver(cover.time_limit_s), GreedySolver()
    selection = clock("solve coverage (HiGHS)", lambda: exact.solve(matrix, cover.maximum_insertions))
    quickly = clock("solve coverage (greedy)", lambda: greedy.solve(matrix, cover.maximum_insertions))
    clock.counts["solve coverage (HiGHS)"] = len(selection.paths)
    clock.counts["solve coverage (greedy)"] = len(quickly.paths)
    choice = clock("choose ablations", lambda: choose_ablations(matrix, selection, cover))
    assessment = clock("assess", lambda: assess(queries, choice.insertions, model, cover.margin_mm))

    plan = make_plan(queries, options, zone_model=model).plan
    planned = PlannedCase(anatomy, queries, plan, model, None)
    robot_plan = clock("place robot", lambda: plan_robot(plan, anatomy))
    recorder = SceneRecorder()
    rehearsal = clock(
        "rehearse", lambda: rehearse_plan(plan, robot_plan, anatomy, LujanMotion(), seed=1, recorder=recorder)
    )
    try:
        film = dataclasses.replace(FilmOptions(), width=960, height=600, seconds_per_insertion=1.0)
        options_of_film = film if quick else FilmOptions()
        clock("film", lambda: draw_film(out, recorder, rehearsal.outcome, planned, robot_plan, options_of_film))
    except RenderingError as error:
        print(f"no film: {error}", file=sys.stderr)
    zone = model.zone(plan.insertions)
    pictures, missing = clock("pictures", lambda: draw_plan_pictures(anatomy, plan, zone, assessment))
    clock(
        "report",
        lambda: write_report(
            out / "report.html",
            anatomy=anatomy,
            plan=plan,
            pictures=pictures,
            rehearsals=[Rehearsal(rehearsal.outcome, None)],
            notes=missing,
        ),
    )


def draw_film(
    out: Path,
    recorder: SceneRecorder,
    outcome: Outcome,
    planned: PlannedCase,
    robot_plan: RobotPlan,
    options: FilmOptions,
) -> None:
    make_film(
        out / "film.mp4",
        recorder,
        outcome,
        planned.anatomy,
        insertions=planned.plan.insertions,
        placement=robot_plan.placement,
        options=options,
    )


def rows_of(clock: Clock) -> list[Row]:
    """One row a stage, and those with peers."""
    compared = {"clearances", "rays, VTK loop", "rays, Open3D", "solve coverage (HiGHS)"}
    rows = [
        Row(f"{clock.prefix}: {name}", clock.median_s(name), "s") for name in clock.times_s if name not in compared
    ]
    ours = clock.rate("clearances")
    for peer, said in (
        ("rays, VTK loop", "vtkOBBTree, one ray a path in a loop, hit or not"),
        ("rays, Open3D", "Open3D occlusion rays, all at once, hit or not"),
    ):
        rows.append(
            Row.against(f"{clock.prefix}: exact clearances beside {peer}", ours, "paths/s", said, clock.rate(peer))
        )
    exact, greedy = "solve coverage (HiGHS)", "solve coverage (greedy)"
    rows.append(
        Row.against(
            f"{clock.prefix}: {exact}", clock.median_s(exact), "s", "greedy, same matrix", clock.median_s(greedy)
        )
    )
    rows.append(
        Row.against(
            f"{clock.prefix}: insertions (HiGHS)",
            clock.counts[exact],
            "1",
            "greedy, same matrix",
            clock.counts[greedy],
        )
    )
    planning = sum(clock.median_s(name) for name in PLANNING)
    rows.append(
        Row.against(
            f"{clock.prefix}: planning in all", planning, "s", "limit set by this project", PLANNING_LIMIT_S
        )
    )
    return rows


def time_demo(out: Path) -> float:
    """Wall time of one whole ``needleplan demo``."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "needleplan", "demo", "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(json_path: Path, repeats: int = 3, data: Path | None = None, quick: bool = False) -> list[Row]:
    """Run the benchmark, print a table and write the rows."""
    repeats = 1 if quick else repeats
    console = Console(stderr=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        voxel_mm = 4.0 if quick else 2.0
        phantom = make_phantom(PhantomParameters(), np.random.default_rng(1))
        cases = [("phantom", save_phantom(phantom, out / "case", voxel_mm), None)]
        if data is not None and not quick:
            cases.append(("real liver", REAL_CASE, data))
        clocks = [Clock(label) for label, _, _ in cases]
        demos: list[float] = []
        with progress_bar(console, "timing the chain") as progress:
            for repeat in range(repeats):
                for k, (clock, (label, manifest, root)) in enumerate(zip(clocks, cases, strict=True)):
                    progress(f"{label}, run {repeat + 1}", (repeat + k / len(cases)) / repeats)
                    start = time.perf_counter()
                    run_chain(clock, manifest, root, out, quick)
                    console.print(f"{label}, run {repeat + 1}: {time.perf_counter() - start:.0f} s")
                if not quick:
                    demos.append(time_demo(out / "demo"))
                # Written after each repeat, so that a run that is stopped leaves what it has.
                rows = [row for clock in clocks for row in rows_of(clock)]
                if demos:
                    limit = "limit set by this project"
                    rows.append(Row.against("needleplan demo", statistics.median(demos), "s", limit, DEMO_LIMIT_S))
                write_rows(json_path, rows)
    print_times(clocks)
    if demos:
        print(
            f"needleplan demo: {len(demos)} runs, median {statistics.median(demos):.1f} s, best {min(demos):.1f} s"
        )
    print_rows(rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the rows")
    parser.add_argument("--repeats", type=int, default=3, help="runs of everything (3)")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEEDLEPLAN_DATA") or None, help="real data")
    parser.add_argument(
        "--quick", action="store_true", help="one coarse run of the built-in patient, no real times"
    )
    arguments = parser.parse_args()
    main(arguments.json, arguments.repeats, arguments.data, arguments.quick)
