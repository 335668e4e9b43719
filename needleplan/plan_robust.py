"""The plan chosen by how likely it is to hold, and what that costs."""

from collections.abc import Callable

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.percentages import percent_down, percent_up
from needleplan.plan import Evidence, Insertion
from needleplan.uncertainty.likelihoods import ErrorOptions, Robustness
from needleplan.uncertainty.presets import preset_budget
from needleplan.uncertainty.robust import RobustChoice, RobustPlanning

#: Extra millimetres by which zones are asked to hold target and margin, in turn.
EXTRA_MARGINS_MM = (0.0, 1.0, 2.0, 3.0, 4.0)


def plan_robustly(
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    options: ErrorOptions,
    insertions: tuple[Insertion, ...],
    again: Callable[[float], tuple[Insertion, ...] | None],
    seed: int,
) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]]:
    """(insertions, what robustness costs): the plan itself where robustness is not asked for.

    Args:
        queries: the anatomy.
        zone_model: predicts the zones.
        options: errors, and what is asked of the plan under them.
        insertions: the plan without extra margin.
        again: chooses insertions whose zones hold target and margin with so many extra millimetres; None where no
            choice does.
        seed: of the draws.
    """
    if options.robustness is Robustness.NONE:
        return insertions, ()
    planning = RobustPlanning(
        queries,
        zone_model,
        preset_budget(options.budget),
        options.level_mm,
        options.scenarios,
        seed,
        options.confidence,
    )

    def plan_with(extra_mm: float, _: int) -> tuple[Insertion, ...] | None:
        return insertions if extra_mm == 0.0 else again(extra_mm)

    candidates = planning.candidates(plan_with, (1,), EXTRA_MARGINS_MM)
    if options.required is None:
        choice = planning.most_probable(candidates)
    else:
        choice = planning.fewest_for(options.required, candidates)
    return choice.chosen.insertions, (_evidence(choice, options),)


def _evidence(choice: RobustChoice, options: ErrorOptions) -> Evidence:
    what = "the target is covered" if options.level_mm == 0 else f"the margin reaches {options.level_mm:g} mm"
    rows = "; ".join(
        f"{row.extra_margin_mm:g} mm more: {row.insertions} insertions, {row.ablations} ablations, "
        f"{row.treatment_minutes:.0f} min, {row.over_ablation_ml:.0f} ml of healthy tissue, "
        f"{percent_down(row.probability)} ({percent_down(row.low)} to {percent_up(row.high)})"
        for row in choice.price
    )
    confirmed = choice.confirmed
    head = f"Chosen with {choice.chosen.extra_margin_mm:g} mm more"
    if choice.required is not None:
        head += f" for a chance of at least {100 * choice.required:g} % that {what}"
        head += "" if choice.met else ", which none of the plans is shown to have"
    else:
        head += f" for the greatest chance that {what}"
    return Evidence(
        "robustness",
        f"{head}; in scenarios drawn afresh it is {percent_down(confirmed.probability)} "
        f"({percent_down(confirmed.low)} to {percent_up(confirmed.high)}). The price: {rows}.",
        "" if choice.met else "Place the needles more exactly (another error budget), or choose a larger zone.",
    )
