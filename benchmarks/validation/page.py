"""The page of all cases, in Markdown."""

import math
import os
from collections.abc import Sequence

from validation.case import FAMILIES, Check
from validation.run import Result

#: Tables longer than this are folded.
_MOST_ROWS = 10
_HEAD = "| quantity | expected | ours | error | tolerance | verdict |\n|---|---|---|---|---|---|"

_INTRO = """# Validation

This page is generated: every number on it was computed by the command below, and none is written by hand. It lists
every case that the physics of needleplan is held against: closed forms, which the solvers must meet within stated
tolerances, properties of the numerical scheme, and published measurements, where the model's value stands beside
the measured one, also where it misses. Nothing is tuned per case; the three calibrations that there are (perfusion
of pig liver, threshold of irreversible electroporation, temperature of cryoprobes) are named where they enter.

Closed forms are run on the solvers that plans use (`BioheatSolver`, `DiffusionSolver`, `needle_cells`, `FieldZone`,
the damage criteria), and published cases on the models (`RadiofrequencyModel`, `MicrowaveModel`, `CryoModel`,
`LaserModel`, `ElectroporationModel`) with the package's own tables.

```sh
PYTHONPATH=benchmarks python -m validation --page docs/validation.md
```
"""

_FAMILY_WORDS = {
    "H": "Pennes' equation against closed forms. Liver of 0.52 W/m/K, 3.82 MJ/m3/K and a perfusion of 0.0155/s.",
    "E": "Laplace's equation about electrodes. E08 is a published experiment.",
    "D": "Arithmetic of damage, by the criteria and by the doses that the solver gathers.",
    "C": "Phase change with a sharp front; the solver freezes over 0.2 K about -1 C.",
    "L": "Diffusion of light, and the heat that it leaves.",
    "M": "Margins through zones cut from fields on voxels of 1 mm.",
    "N": "Beyond the list: what any solver of these equations must do.",
    "P": "Model against measurement. Between laboratories the same electrode gives diameters 40 % apart, so that "
    "no demand is sharper than 15 to 20 %.",
    "S": "Vessels beside the zone.",
}
_PICTURES = {
    "H": (("validation-heat.png", "Temperatures along a line from the source, closed form and solver"),),
    "E": (("validation-fields.png", "Fields, light and heat along a line, closed form and solver"),),
    "C": (("validation-freezing.png", "Temperatures in and about the ice, closed form and solver"),),
    "N": (("validation-order.png", "Error against the size of cells and steps"),),
    "P": (("validation-published.png", "Model and measurement for every published case"),),
}


def number(value: float | None) -> str:
    """A number as the page shows it."""
    if value is None:
        return ""
    return "0" if value == 0 else f"{value:.5g}"


def row(check: Check) -> str:
    """One line of a table."""
    expected = number(check.expected)
    if check.spread is not None:
        expected += f" ± {check.spread:g}"
    if math.isinf(check.low) and math.isinf(check.high):
        verdict = "shown"
    else:
        verdict = "within" if check.passes else "**misses**"
    cells = (check.quantity, expected, number(check.ours), check.error, check.tolerance, verdict)
    return "| " + " | ".join(cells) + " |"


def _case(result: Result) -> str:
    case, outcome = result.case, result.outcome
    lines = [f"### {case.id}: {case.title}", "", f"Verdict: **{result.verdict}**. Source: {case.source}.", ""]
    if outcome.checks:
        table = "\n".join([_HEAD, *(row(check) for check in outcome.checks)])
        if len(outcome.checks) > _MOST_ROWS:
            table = f"<details><summary>{len(outcome.checks)} numbers</summary>\n\n{table}\n\n</details>"
        lines += [table, ""]
    if outcome.remark:
        lines += [outcome.remark, ""]
    return "\n".join(lines)


def _summary(results: Sequence[Result]) -> str:
    lines = [
        "| family | cases | numbers | within | miss | without a tolerance | cases not computed |",
        "|---|---|---|---|---|---|---|",
    ]
    for letter, name in FAMILIES.items():
        own = [result for result in results if result.case.family == letter]
        checks = [check for result in own for check in result.outcome.checks]
        shown = [check for check in checks if math.isinf(check.low) and math.isinf(check.high)]
        missed = sum(not check.passes for check in checks)
        empty = sum(not result.outcome.checks for result in own)
        lines.append(
            f"| [{letter}: {name}](#{letter.lower()}-{name.lower().replace(' ', '-')}) | {len(own)} | "
            f"{len(checks)} | {len(checks) - missed - len(shown)} | {missed} | {len(shown)} | {empty} |"
        )
    return "\n".join(lines)


def _misses(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        missed = [check for check in result.outcome.checks if not check.passes]
        if not missed:
            continue
        words = "; ".join(
            f"{check.quantity}: {number(check.ours)} for {number(check.expected) or check.tolerance} "
            f"({check.error})"
            for check in missed
        )
        lines.append(f"- **{result.case.id}** {words}. {result.outcome.remark}")
    return "\n".join(lines) if lines else "Nothing."


def page(results: Sequence[Result]) -> str:
    """The whole page of all results."""
    minutes = sum(result.seconds for result in results) / 60.0
    parts = [
        _INTRO,
        f"The last run took {minutes:.1f} minutes for {len(results)} cases on a machine with {os.cpu_count()} "
        "cores.",
        "",
        "## What came out",
        "",
        _summary(results),
        "",
        "## What misses",
        "",
        _misses(results),
        "",
    ]
    for letter, name in FAMILIES.items():
        parts += [f"## {letter}: {name}", "", _FAMILY_WORDS[letter], ""]
        for file, words in _PICTURES.get(letter, ()):
            parts += [f"![{words}](pictures/{file})", ""]
        parts += [_case(result) for result in results if result.case.family == letter]
    return "\n".join(parts).rstrip() + "\n"


def page_rows(text: str) -> dict[str, dict[str, list[str]]]:
    """The tables of a page: cells of each row by quantity, by case."""
    found: dict[str, dict[str, list[str]]] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("### "):
            current = line[4:].split(":")[0]
            found[current] = {}
        elif current and line.startswith("| ") and not line.startswith("| quantity"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            found[current][cells[0]] = cells[1:]
    return found
