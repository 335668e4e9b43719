"""What a plan says against itself, as its sheet shows it: physics, findings that ask for something, and chances."""

from needleplan.app.report_template import Html, element
from needleplan.percentages import chance_in_percent, is_success, percent_down
from needleplan.plan import Evidence, Plan

#: Letters that one finding, and all of them together, may take: one page holds six needles beside them.
MAXIMUM_FINDING = 300
MAXIMUM_TOGETHER = 560
#: Letters of the chances that are shown, those of covering first and then the likeliest harm.
MAXIMUM_CHANCES = 180
#: Evidence that says how it was searched, and asks for nothing that bears on this plan.
_OF_THE_SEARCH = frozenset({"search"})


def warnings_of(plan: Plan) -> tuple[Evidence, ...]:
    """The evidence that a reader must weigh: all that names a remedy, but what only tells how it was searched."""
    found = [each for each in plan.evidence if each.remedy and each.subject not in _OF_THE_SEARCH]
    if plan.physics is not None:
        # The verdict itself says it, with its own figures.
        found = [each for each in found if each.subject != "physics"]
    return tuple(found)


def findings_html(plan: Plan) -> Html:
    """A box with the verdict of the physics, the warnings and the chances; empty where there is none."""
    lines = []
    if plan.physics is not None:
        lines.append(_physics(plan))
    shown, left = [], []
    room = MAXIMUM_TOGETHER
    for each in warnings_of(plan):
        words = _short(each.finding)
        if len(words) <= room:
            room -= len(words)
            shown.append(element("p", element("b", f"{each.subject}: "), words))
        else:
            left.append(each.subject)
    lines += shown
    if left:
        names = ", ".join(dict.fromkeys(left))
        lines.append(element("p", element("b", "findings in the report, not here: "), _short(names)))
    if plan.likelihoods:
        lines.append(_chances(plan))
    if not lines:
        return Html("")
    return element("div", *lines, class_="against")


def _physics(plan: Plan) -> Html:
    """The figures of the solver, which counts flow and the patient's tissue, beside those of the table."""
    assert plan.physics is not None
    found = plan.physics
    metrics = found.metrics
    least = f"{metrics.minimal_margin_mm:.1f}".replace("-", "−")
    return element(
        "p",
        element("b", f"by physics {'covered' if found.covered else 'NOT covered'}: "),
        f"{percent_down(metrics.target_coverage_fraction)} of the target and "
        f"{percent_down(metrics.margin_coverage_fraction)} of target and {metrics.margin_mm:g} mm margin, "
        f"least margin {least} mm (± {metrics.margin_error_bound_mm:.1f}), by {_short(found.model)}",
    )


def _chances(plan: Plan) -> Html:
    """How likely it is to succeed and to harm, the likeliest harm first."""
    good = [each for each in plan.likelihoods if is_success(each.event)]
    harm = sorted((each for each in plan.likelihoods if each not in good), key=lambda each: -each.probability)
    shown: list[str] = []
    for each in good + harm:
        shown.append(f"{_short(each.event)} {chance_in_percent(each)[0]}")
        if len("; ".join(shown)) > MAXIMUM_CHANCES and len(shown) > 1:
            shown.pop()
            break
    words, more = "; ".join(shown), len(plan.likelihoods) - len(shown)
    return element("p", element("b", "chances: "), words + (f"; {more} more in the report" if more else ""))


def _short(text: str) -> str:
    """A text as it is, or as many whole words as there is room for, and three dots."""
    words = text.replace("_", " ")
    if len(words) <= MAXIMUM_FINDING:
        return words
    return words[: MAXIMUM_FINDING - 2].rsplit(" ", 1)[0] + " …"
