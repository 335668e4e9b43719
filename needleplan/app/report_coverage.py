"""Sections of the report on the coverage: what was proven, what physics says, and how likely it is to succeed."""

from collections.abc import Sequence

from needleplan.app.report_template import Html, bdi, element, table, with_names
from needleplan.percentages import chance_in_percent, percent_down, percent_up
from needleplan.plan import Metrics, Plan


def proof_section(plan: Plan) -> Html:
    """What the coverage solver proved, and of which problem."""
    proof = plan.proof
    if proof is None:
        return Html("")
    rows = [
        ("insertions found", f"{proof.insertions}"),
        ("lower bound, all feasible paths", f"{proof.lower_bound:g}"),
        (
            "lower bound, offered paths and balls",
            "–" if proof.offered_bound is None else f"{proof.offered_bound:g}",
        ),
        ("gap", percent_up(proof.gap)),
        ("solver", f"{proof.solver}: {proof.status}"),
        ("ablations offered", f"{proof.candidates:,}"),
        ("points to cover", f"{proof.points:,}"),
    ]
    levels = [
        (
            level.level,
            f"{level.value:.4g} {level.unit}",
            "–" if level.bound is None else f"{level.bound:.4g} {level.unit}",
            "yes" if level.proven else "no",
            level.problem,
        )
        for level in proof.levels
    ]
    words = proof.claim + (f" The coverage is {proof.certificate}." if proof.certificate else "")
    goals = table(("goal", "reached", "bound", "proven", "of which problem"), levels) if levels else ""
    return Html(element("p", words) + table(("", ""), rows) + goals)


def physics_section(plan: Plan, structures: Sequence[str]) -> Html:
    """Coverage by the planning model and by the solver, side by side; ``structures`` are named in its notes."""
    verdict = plan.physics
    if verdict is None or plan.metrics is None:
        return Html("")
    names = ("target covered", "target and margin covered", "least margin", "volume of the zones")
    rows = list(zip(names, _figures(plan.metrics), _figures(verdict.metrics), strict=True))
    notes = "".join(element("p", with_names(note, structures), class_="mute") for note in verdict.notes)
    head = f"By {verdict.model} ({verdict.criterion}), all needles together with the patient's vessels."
    return Html(element("p", head) + table(("", "planning model", "solver"), rows) + notes)


def _figures(metrics: Metrics) -> tuple[str, ...]:
    return (
        percent_down(metrics.target_coverage_fraction),
        percent_down(metrics.margin_coverage_fraction),
        f"{metrics.minimal_margin_mm:+.1f} mm",
        f"{metrics.zone_ml:.0f} ml",
    )


def chances_section(plan: Plan, structures: Sequence[str]) -> Html:
    """How likely success and harm are; ``structures`` are named in the events."""
    if not plan.likelihoods:
        return Html("")
    rows = [(bdi(with_names(one.event, structures)), *chance_in_percent(one)) for one in plan.likelihoods]
    budget = plan.provenance.options.get("errors.budget", "")
    confidence = plan.provenance.options.get("errors.confidence")
    share = f"{100 * confidence:g} % bounds" if isinstance(confidence, float) else "Bounds"
    words = f"Needles that err as of the budget “{budget}”, drawn by seed. {share} of the counting."
    return Html(element("p", words) + table(("event", "chance", "bounds"), rows))
