"""What a study will do, in sentences, before it does it."""

import math

from needleplan.app.study.factor_values import written
from needleplan.app.study.study import Cell, Effort, Study

#: Values of a factor that a sentence names one by one.
_NAMED = 12


def describe_study(study: Study) -> list[str]:
    """Sentences: how many cases, combinations and plans, what is crossed, how hard plans are sought, outputs."""
    plans = len(study.cases) * len(study.cells)
    return [
        f"The study {study.name!r} takes {_count(len(study.cases), 'case')} through "
        f"{_count(len(study.cells), 'combination')} of factors: {_count(plans, 'plan')}.",
        *_cases(study),
        *_devices(study),
        *_factors(study),
        *_effort(study.effort, study.cells),
        _outputs(study),
    ]


def _cases(study: Study) -> list[str]:
    seeds = [case.seed for case in study.cases if case.phantom is not None]
    sentences = []
    if seeds:
        between = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds from {min(seeds)} to {max(seeds)}"
        what = "a phantom" if len(seeds) == 1 else "phantoms"
        sentences.append(f"{_count(len(seeds), 'case')} {_are(len(seeds))} drawn as {what} by {between}.")
    files = len(study.cases) - len(seeds)
    if files:
        sentences.append(f"{_count(files, 'case')} {_are(files)} read from files.")
    return sentences


def _devices(study: Study) -> list[str]:
    if study.devices is None:
        return []
    own = len(study.devices.applicators)
    return [f"{_count(own, 'applicator')} of its own {_are(own)} known beside the built-in ones."]


def _factors(study: Study) -> list[str]:
    values = {
        factor: list(dict.fromkeys(getattr(cell, factor) for cell in study.cells)) for factor in study.factors
    }
    sentences = []
    for factor, each in values.items():
        named = ", ".join(written(factor, value).strip('"') for value in each[:_NAMED])
        more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
        sentences.append(f"Crossed: {factor} with {len(each)} values: {named}{more}.")
    left_out = math.prod(len(each) for each in values.values()) - len(study.cells)
    if left_out:
        sentences.append(f"{_count(left_out, 'combination')} {_are(left_out)} left out.")
    return sentences


def _effort(effort: Effort, cells: tuple[Cell, ...]) -> list[str]:
    sentences = [
        f"Each plan starts from entries {effort.entry_spacing_mm:g} mm apart and {effort.aims} aims, and each of "
        f"its exact searches may take {effort.most_nodes} nodes, and {effort.time_limit_s:g} s at most."
    ]
    chances = sum(cell.error_budget is not None for cell in cells)
    if chances:
        sentences.append(
            f"Chances are drawn from {effort.scenarios} errors in {_count(chances, 'combination')} with an error "
            "budget."
        )
    rehearsed = sum(cell.strategy is not None for cell in cells)
    if rehearsed:
        sentences.append(
            f"Plans are rehearsed {_count(effort.runs, 'time')} each in {_count(rehearsed, 'combination')} with a "
            "strategy."
        )
    return sentences


def _outputs(study: Study) -> str:
    wanted = [
        words
        for words, asked in (
            ("a plan folder for each plan", study.outputs.plans),
            ("comparisons with figures", study.outputs.analysis),
            ("a report", study.outputs.report),
        )
        if asked
    ]
    return "Written are the tables of results and of times" + "".join(f", {words}" for words in wanted) + "."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
