"""Needles from lines that somebody drew or measured in another program."""

import re
from collections.abc import Sequence

from needleplan.errors import CaseError
from needleplan.io.slicer_markups import MarkupLine
from needleplan.plan import Insertion, vector3

#: A needle longer than this is none; lines of a room or of another unit are.
_LONGEST_MM = 500.0
_LEAST_MM = 1.0
_NUMBER = re.compile(r"(\d{1,4})\s*$")


def insertions_of_lines(lines: Sequence[MarkupLine], applicator: str) -> tuple[Insertion, ...]:
    """Needles without ablations, in their order; ``MeasuredNeedle.of`` takes them as measured ones.

    A line leads from entry to tip, unless the labels of its points say the reverse (the first begins with ``tip``
    or ``target``, the second with ``entry``). The order is the number that each name ends with, or that of the
    lines where not every name ends with one.

    Args:
        lines: one for each needle, patient LPS mm.
        applicator: name of the applicator.

    Raises:
        CaseError: there is no line, two names end with the same number, a number is 0, or a line is shorter than
            1 mm or longer than 500 mm.
    """
    if not lines:
        raise CaseError("there is no line, and a needle needs one")
    found = [_NUMBER.search(line.name) for line in lines]
    orders = [int(match.group(1)) for match in found if match]
    if len(orders) < len(lines):
        orders = list(range(1, len(lines) + 1))
    doubled = sorted({order for order in orders if orders.count(order) > 1})
    if doubled:
        raise CaseError(f"two lines are numbered {doubled[0]}: give each needle a number of its own")
    if min(orders) < 1:
        raise CaseError("a line is numbered 0, and needles are counted from 1")
    needles = []
    for order, line in sorted(zip(orders, lines, strict=True), key=lambda pair: pair[0]):
        if not _LEAST_MM <= line.length_mm <= _LONGEST_MM:
            raise CaseError(
                f"line {line.name!r} is {line.length_mm:.3g} mm long, and a needle is {_LEAST_MM:g} to "
                f"{_LONGEST_MM:g} mm long"
            )
        entry, tip = (line.end, line.start) if _is_reversed(line) else (line.start, line.end)
        needles.append(Insertion(vector3(entry.position_mm), vector3(tip.position_mm), applicator, (), order=order))
    return tuple(needles)


def _is_reversed(line: MarkupLine) -> bool:
    first, second = line.start.label.strip().lower(), line.end.label.strip().lower()
    return first.startswith(("tip", "target")) and second.startswith("entry")
