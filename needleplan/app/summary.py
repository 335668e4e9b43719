"""What the command line prints about plans and rehearsals."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from needleplan.app.paths import ListedPath, PathStudy
from needleplan.outcome import EventKind, Outcome
from needleplan.percentages import chance_in_percent, percent_down, percent_up
from needleplan.plan import Metrics, Plan, PlanStatus
from needleplan.plan_clearances import is_capped
from needleplan.viz.palette import readable

_STATUS_STYLE = {
    PlanStatus.COMPLETE: "bold green",
    PlanStatus.PARTIAL: "bold yellow",
    PlanStatus.INFEASIBLE: "bold red",
}


def print_plan(console: Console, plan: Plan) -> None:
    """Status, evidence, insertions, coverage, margin and clearances."""
    style = _STATUS_STYLE[plan.status]
    console.print(f"[bold]{escape(plan.case_name)}[/]: plan is [{style}]{plan.status.value}[/]")
    for item in plan.evidence:
        console.print(f"  {escape(item.subject)}: {escape(item.finding)}")
        if item.remedy:
            console.print(f"    what would help: {escape(item.remedy)}")
    console.print(
        f"  {plan.feasible_count} of {plan.candidate_count} candidate paths satisfy every hard constraint"
    )
    if plan.metrics is not None:
        print_metrics(console, plan.metrics)
    if plan.proof is not None:
        proof = plan.proof
        console.print(
            f"  insertions: {proof.insertions}, lower bound {proof.lower_bound:g}, gap {percent_up(proof.gap)} "
            f"({proof.solver}: {proof.status}, of {proof.candidates} ablations offered)"
        )
        for level in proof.levels[1:]:
            bound = "" if level.bound is None else f", bound {level.bound:.4g}"
            console.print(
                f"  {level.level}: {level.value:.4g} {level.unit}".rstrip()
                + f"{bound}{' (proven)' if level.proven else ''}"
            )
    if plan.physics is not None:
        print_metrics(console, plan.physics.metrics, f"by physics ({plan.physics.model})")
    for chance in plan.likelihoods:
        told, bounds = chance_in_percent(chance)
        console.print(f"  chance that {escape(chance.event)}: {told} ({bounds})")
    if plan.insertions:
        console.print(_insertions(plan))


def print_paths(console: Console, study: PathStudy) -> None:
    """What a study of paths found."""
    verdict = "[bold green]feasible[/]" if study.feasible else "[bold red]infeasible[/]"
    console.print(f"[bold]{escape(study.case_name)}[/], {escape(study.applicator)}: {verdict}")
    console.print(
        f"  {study.feasible_count} of {study.candidates} candidate paths satisfy every hard constraint, "
        f"{study.front_count} of them are on the Pareto front"
    )
    console.print(f"  a feasible path starts from {study.open_entries} of {study.entries} entries")
    console.print(f"  {study.resolution.sentence}")
    rejected = Table(title="What rejects paths and blocks entries", title_justify="left")
    rejected.add_column("constraint")
    for name in ("paths rejected", "by it alone", "entries blocked"):
        rejected.add_column(name, justify="right")
    for name, count in sorted(study.rejected_by.items(), key=lambda item: -item[1]):
        if count:
            blocked = study.blocked_entries.get(name, 0)
            rejected.add_row(escape(name), str(count), str(study.rejected_only_by[name]), str(blocked))
    if rejected.row_count:
        console.print(rejected)
    for item in study.evidence:
        console.print(f"  {escape(item.subject)}: {escape(item.finding)}")
        if item.remedy:
            console.print(f"    what would help: {escape(item.remedy)}")
    if study.best:
        console.print(_choices(study.best))
    for place, path in enumerate(study.best, start=1):
        if path.breath is not None:
            breath = path.breath
            name, least = min(breath.least_mm.items(), key=lambda item: item[1], default=("no obstacle", np.inf))
            console.print(
                f"  {place} over the breath, {escape(breath.motion)}: safe {100 * breath.safe_share:.0f} % of the "
                f"time and always within {breath.gate_mm:.1f} mm of end-exhale; least {escape(name)} {least:.1f} mm"
            )
    if study.comparison is not None:
        for sentence in study.comparison.sentences:
            console.print(f"  {escape(sentence)}")
    steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in study.timings_s.items())
    console.print(f"  times in s: {steps}")


def _choices(paths: Sequence[ListedPath]) -> Table:
    """The best paths, one a row."""
    table = Table(title="Best path and next distinct choices", title_justify="left")
    for name in ("#", "cost", "length mm", "entry (LPS mm)", "tip (LPS mm)", "nearest (mm)"):
        table.add_column(name, justify="right" if name in ("#", "cost", "length mm") else "left")
    for place, path in enumerate(paths, start=1):
        clearances = {
            name.removeprefix("clearance to "): value
            for name, value in path.constraints.items()
            if name.startswith("clearance to ")
        }
        nearest = sorted(clearances.items(), key=lambda item: item[1])[:1]
        table.add_row(
            str(place),
            f"{path.cost:.3f}",
            f"{path.length_mm:.1f}",
            ", ".join(f"{x:.1f}" for x in path.entry_mm),
            ", ".join(f"{x:.1f}" for x in path.tip_mm),
            ", ".join(f"{escape(name)} {value:.1f}" for name, value in nearest),
        )
    return table


def print_metrics(console: Console, metrics: Metrics, label: str = "predicted") -> None:
    """Coverage and margin in one line."""
    console.print(
        f"  {label}: target covered {percent_down(metrics.target_coverage_fraction)}, with "
        f"{metrics.margin_mm:g} mm margin {percent_down(metrics.margin_coverage_fraction)}, least margin "
        f"{metrics.minimal_margin_mm:+.1f} mm (± {metrics.margin_error_bound_mm:.1f}), "
        f"healthy tissue {metrics.over_ablation_ml:.0f} ml"
    )


def _insertions(plan: Plan) -> Table:
    table = Table(title="Insertions", title_justify="left")
    for name in ("#", "entry (LPS mm)", "tip (LPS mm)", "depth mm", "ablations", "nearest structures (mm)"):
        table.add_column(name, justify="right" if name in ("#", "depth mm") else "left")
    for insertion in plan.insertions:
        nearest = sorted(insertion.clearances_mm.items(), key=lambda item: item[1])[:3]
        table.add_row(
            str(insertion.order),
            ", ".join(f"{x:.1f}" for x in insertion.entry_mm),
            ", ".join(f"{x:.1f}" for x in insertion.tip_mm),
            f"{insertion.depth_mm:.0f}",
            "\n".join(
                f"{'generator' if a.power_w is None else f'{a.power_w:g} W'} {a.duration_s / 60:.3g} min"
                for a in insertion.ablations
            ),
            ", ".join(f"{escape(name)} {v:.1f}{' or more' if is_capped(v) else ''}" for name, v in nearest),
        )
    return table


def print_outcome(console: Console, outcome: Outcome, metrics: Metrics | None) -> None:
    """Tip errors of one rehearsal, what happened, and what was achieved."""
    console.print(
        f"Rehearsal with {escape(outcome.strategy_details)}, breathing {escape(outcome.motion)}, robot "
        f"{escape(outcome.robot)}",
        soft_wrap=True,
    )
    for fault in outcome.faults:
        console.print(f"  [yellow]switched on[/]: {escape(fault)}")
    for needle in outcome.needles:
        console.print(
            f"  needle {needle.planned.order}: tip error {needle.tip_error_mm:.2f} mm (lateral "
            f"{needle.lateral_error_mm:.2f}, depth {needle.depth_error_mm:+.2f}), angle "
            f"{needle.angle_error_deg:.2f} deg, waited {needle.waited_s:.1f} s, {needle.breaths:.1f} breaths, "
            f"force up to {needle.peak_force_n:.1f} N",
            soft_wrap=True,
        )
        if needle.punctured:
            console.print(f"    punctured: {escape(', '.join(readable(name) for name in needle.punctured))}")
    for order, reason in outcome.not_reached:
        console.print(f"  needle {order}: [bold red]not placed[/], {escape(reason)}", soft_wrap=True)
    for lost in outcome.withdrawn:
        passed = ", ".join(readable(name) for name in lost.punctured) or "nothing"
        console.print(
            f"  needle {lost.order}, while in the patient: {escape(passed)} punctured, force up to "
            f"{lost.peak_force_n:.1f} N",
            soft_wrap=True,
        )
    for event in outcome.events:
        if event.kind in (EventKind.FAULT, EventKind.STOP):
            console.print(f"  {event.time_s:.1f} s, needle {event.needle}: {escape(event.text)}", soft_wrap=True)
    console.print(f"  {outcome.duration_s:.0f} s, {outcome.breaths:.1f} breaths")
    if metrics is not None:
        print_metrics(console, metrics, "achieved")


def print_where(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Where to look: (what, path) a line."""
    for what, path in lines:
        console.print(f"  {what}: {escape(path)}", soft_wrap=True)
