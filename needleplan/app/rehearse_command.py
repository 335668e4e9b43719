"""What the rehearse command does: a plan is rehearsed many times, and what that comes to is written and printed."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from needleplan.app.breathing_options import Breathing
from needleplan.app.cli import EXIT_OK
from needleplan.app.folder import PlanFolder
from needleplan.app.pipeline import PlannedCase, RobotPlan
from needleplan.app.progress import progress_bar
from needleplan.app.rehearsal_options import noise_from, placed_robot, rehearsal_options_from, strategies_from
from needleplan.app.rehearsal_study import RehearsalStudy, study_runs
from needleplan.app.simulate_command import planned_and_breathing
from needleplan.app.summary import print_where
from needleplan.app.whole_folder import require_own_folder, whole_folder
from needleplan.io.outcome_table import write_run_table
from needleplan.io.plan_file import plan_hash, write_json
from needleplan.io.value_json import to_json
from needleplan.motion.contract import RespiratoryMotion
from needleplan.outcome import RehearsalRun
from needleplan.percentages import chance_in_percent, percent_down, percent_up
from needleplan.uncertainty.rehearsal_statistics import Estimate, StrategyStatistics
from needleplan.viz.canvas import save_png
from needleplan.viz.palette import readable
from needleplan.viz.rehearsals import draw_rehearsals
from sim.many_rehearsals import RehearsalTask, rehearse_many, require_counts
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.rehearse import prepare_patient

#: The file by which a folder is known to be one of these.
MAIN_FILE = "rehearsals.json"


def run(options: Namespace) -> int:
    """Rehearse the plan in a folder with each strategy and seed; write and print what that comes to."""
    console = Console()
    folder = PlanFolder(options.folder)
    out: Path = options.out or folder.rehearsals
    noise = noise_from(options.noise)
    chosen = [rehearsal_options_from(options, name, noise) for name in strategies_from(options.strategy)]
    require_counts(options.runs, options.jobs)
    require_own_folder(out, MAIN_FILE, "rehearse")
    planned, breathing = planned_and_breathing(console, folder, options)
    # Before the robot, which takes longest: a body that cannot breathe is told at once.
    with progress_bar(console, "preparing the patient"):
        patient = prepare_patient(planned.anatomy, widest_motion(breathing, options), chosen[0])
    with progress_bar(console, "placing the robot") as progress:
        robot_plan = placed_robot(planned, chosen[0], options.robot, progress)
    runs = rehearsed(console, planned, patient, robot_plan, breathing, chosen, options)
    with progress_bar(console, "statistics and chances"):
        study = study_runs(runs, planned, options.seed)
    with whole_folder(out, MAIN_FILE, "rehearse") as unfinished:
        write_study(unfinished, study, runs, planned, settings_of(options, robot_plan, breathing, chosen))
    print_study(console, study)
    print_where(console, [("rehearsals", str(out))])
    return EXIT_OK


def widest_motion(breathing: Breathing, options: Namespace) -> RespiratoryMotion:
    """Of the motions of all runs that with the greatest amplitude."""
    motions = [breathing.motion(options.seed + k) for k in range(options.runs if breathing.irregular else 1)]
    return max(motions, key=lambda motion: motion.amplitude_mm(min(motion.span_s, 600.0)))


def rehearsed(
    console: Console,
    planned: PlannedCase,
    patient: PatientSurfaces,
    robot_plan: RobotPlan,
    breathing: Breathing,
    chosen: Sequence[RehearsalOptions],
    options: Namespace,
) -> tuple[RehearsalRun, ...]:
    """All runs of a patient who was prepared for the widest of their breathings."""
    task = RehearsalTask(
        planned.plan, robot_plan.base.route, robot_plan.robot, robot_plan.placement, planned.queries, patient,
        planned.zone_model, planned.zone_model.catalogue,
    )  # fmt: skip
    with progress_bar(console, f"rehearsing {options.runs} times with each of {len(chosen)}") as progress:
        return rehearse_many(
            task, breathing.motion, chosen, runs=options.runs, seed=options.seed, jobs=options.jobs,
            progress=progress,
        )  # fmt: skip


def settings_of(
    options: Namespace, robot_plan: RobotPlan, breathing: Breathing, chosen: Sequence[RehearsalOptions]
) -> dict[str, Any]:
    """What the runs were made with, for the file."""
    noise = chosen[0].noise
    return {
        "runs": options.runs,
        "seed": options.seed,
        "robot": robot_plan.robot.name,
        "breathing": breathing.motion(options.seed).name,
        "irregular": breathing.irregular,
        "lag_deg": breathing.lag_deg,
        "strategies": [each.strategy.name for each in chosen],
        "placement_noise": {
            "lateral_mm": noise.lateral_mm,
            "depth_mm": noise.depth_mm,
            "angle_deg": noise.angle_deg,
        },
        "stepwise_mm": options.stepwise_mm,
        "gantry": to_json(chosen[0].gantry),
        "intervals": "95 %, bootstrap over runs, shares by Clopper and Pearson",
    }


def write_study(
    folder: Path,
    study: RehearsalStudy,
    runs: Sequence[RehearsalRun],
    planned: PlannedCase,
    settings: dict[str, Any],
) -> None:
    """rehearsals.parquet, rehearsals.json, rehearsals.png and error_budget.json."""
    plan = planned.plan
    case = {"case_name": plan.case_name, "case_hash": plan.case_hash, "plan_hash": plan_hash(plan)}
    write_run_table(folder / "rehearsals.parquet", runs, **case)
    write_json(
        folder / MAIN_FILE,
        {
            "schema": "needleplan.rehearsals",
            "version": 1,
            **case,
            "settings": settings,
            "strategies": [_with_shares(item) for item in study.strategies],
            "differences": to_json(study.differences),
            "beside_published": list(study.beside),
        },
    )
    write_json(
        folder / "error_budget.json",
        {"schema": "needleplan.error_budget", "version": 1, **case, "budgets": to_json(study.budgets)},
    )
    if any(item.errors for item in study.strategies):
        save_png(folder / "rehearsals.png", draw_rehearsals(runs, study.strategies))


def _with_shares(item: StrategyStatistics) -> dict[str, Any]:
    """Statistics as JSON, shares with their value and interval besides the counts, and what the errors are of."""
    plain: dict[str, Any] = to_json(item)
    plain["errors_are_of"] = _placed([item])
    for name in ("covered", "margin_reached"):
        share = getattr(item, name)
        plain[name] |= {"share": share.probability, "low": share.low, "high": share.high}
    return plain


def print_study(console: Console, study: RehearsalStudy) -> None:
    """Errors and results by strategy, differences, chances under the budgets, and published figures."""
    for name, label in (
        ("tip_error_mm", f"tip error, mm, of {_placed(study.strategies)}"),
        ("lateral_error_mm", "error across the needle, mm"),
        ("depth_error_mm", "error along the needle, mm"),
        ("angle_error_deg", "angle, degrees"),
    ):
        console.print(_errors_table(study, name, label))
    console.print(_results_table(study))
    console.print("  placed, not: needles; cover: runs that cover the target; least margin: median in mm")
    for item in study.strategies:
        if item.peak_force_n is None or item.peak_tip_force_n is None:
            continue
        passed = ", ".join(f"{readable(name)} in {count}" for name, count in item.punctured.items())
        given_up = f" (with {item.withdrawn} given up in the patient)" if item.withdrawn else ""
        console.print(
            f"  {escape(item.strategy)}, punctured in runs{given_up}: {escape(passed) or 'nothing'}; force at most "
            f"{item.peak_force_n:.1f} N along the needle, {item.peak_tip_force_n:.1f} N on its tip",
            soft_wrap=True,
        )
    for pair in study.differences:
        console.print(
            f"  tip error, {pair.strategy} less {pair.other}: {_told(pair.tip_error_mm, 2, '+')} mm over "
            f"{pair.pairs} needles",
            soft_wrap=True,
        )
    for made in study.budgets:
        budget = made.rehearsed.budget
        told = ((chance.event, *chance_in_percent(chance)) for chance in made.chances[:2])
        chances = "; ".join(f"{event} {share} ({bounds})" for event, share, bounds in told)
        console.print(
            f"  error budget of {made.strategy}: SD {budget.lateral_mm.std:.2f} mm across, "
            f"{budget.depth_mm.std:.2f} mm along, {budget.angle_deg.std:.2f} degrees; "
            f"under it {chances or 'no chance is counted'}; {made.left_out}",
            soft_wrap=True,
        )
    for sentence in study.beside:
        console.print(f"  {escape(sentence)}", soft_wrap=True)


def _placed(statistics: Sequence[StrategyStatistics]) -> str:
    """Of which needles errors are told: those that failed have none."""
    placed = sum(item.needles for item in statistics)
    return f"the needles that were placed ({placed} of {placed + sum(i.not_carried_out for i in statistics)})"


def _table(title: str, columns: Sequence[str]) -> Table:
    """A table whose first column is the strategy, narrow enough for 80 characters."""
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("strategy", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _errors_table(study: RehearsalStudy, name: str, label: str) -> Table:
    table = _table(f"{label}; 95 % intervals over runs", ("mean", "SD", "median", "95th percentile"))
    for item in study.strategies:
        found = item.errors.get(name)
        figures = (None,) * 4 if found is None else (found.mean, found.sd, found.median, found.percentile_95)
        table.add_row(escape(item.strategy), *(_told(figure, 2, lines=True) for figure in figures))
    return table


def _results_table(study: RehearsalStudy) -> Table:
    table = _table("results", ("runs", "placed", "not", "cover, %", "least margin", "time, s", "breaths"))
    for item in study.strategies:
        chance = item.covered
        covered = f"{percent_down(chance.probability)}\n{percent_down(chance.low)} to {percent_up(chance.high)}"
        margin = item.least_margin_mm
        table.add_row(
            escape(item.strategy),
            str(item.runs),
            str(item.needles),
            str(item.not_carried_out),
            covered.replace(" %", ""),
            _told(None if margin is None else margin.median, 1, lines=True),
            _told(item.duration_s, 0, lines=True),
            _told(item.breaths, 0, lines=True),
        )
    return table


def _told(estimate: Estimate | None, digits: int, sign: str = "", lines: bool = False) -> str:
    """A figure with its interval, beside or below it."""
    if estimate is None:
        return "–"
    form = f"{sign}.{digits}f"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}}"
    interval = f"{estimate.low:{form}} to {estimate.high:{form}}"
    return f"{estimate.value:{form}}\n{interval}" if lines else f"{estimate.value:{form}} ({interval})"
