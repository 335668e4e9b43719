"""A needle in the way of another one, and what is said of it: by how much it blocks, and what would help."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from needleplan.coverage.needle_shape import Part
from needleplan.frames import FloatArray


@dataclass(frozen=True, slots=True)
class Blockage:
    """A needle that cannot be placed while another one stands.

    Attributes:
        placed: index of the needle that is placed.
        standing: index of the needle that stands.
        missing_mm: room that is missing.
        part: what of the placed needle comes too near on its way.
        standing_part: what of the standing needle it comes too near to.
        together: True where both cannot stand together at all, whichever comes first.
        draw_back_mm: way by which the standing needle, drawn back and advanced again, lets the other one pass; None
            where no way does, or where it was not looked for as an order exists.
    """

    placed: int
    standing: int
    missing_mm: float
    part: Part
    standing_part: Part
    together: bool
    draw_back_mm: float | None = None


Groups = Sequence[Sequence[int]]
Numbers = Mapping[int, int]


def rule_sentences(number: Numbers, far_mm: FloatArray, hides: bool) -> tuple[str, ...]:
    """The rule of the order, with the distances that it follows."""
    if len(number) < 2:
        return ()
    in_order = sorted(number, key=lambda k: number[k])
    distances = ", ".join(f"{far_mm[k]:.0f}" for k in in_order)
    if hides:
        return (
            "Of the needles that are free to be placed, the one whose zone lies farthest from where the image is "
            f"taken comes first, so that its gas, heat or ice hides none that is still to come, then the deepest; "
            f"the zones lie {distances} mm away in this order.",
        )
    return ("Of the needles that are free to be placed, the deepest comes first: nothing hides the others.",)


def group_sentences(groups: Groups, most: int, conflicts: Sequence[Blockage], number: Numbers) -> tuple[str, ...]:
    """Which needles stand together, and why there are more groups than the allowed number needs."""
    if len(groups) < 2:
        return ()
    listed = "; ".join(" and ".join(_listed([number[k] for k in group])) for group in groups)
    told = [f"The needles stand in the patient in groups, each drawn out before the next is placed: {listed}."]
    if len(groups) > -(-len(number) // most):
        pairs = sorted({tuple(sorted((number[one.placed], number[one.standing]))) for one in conflicts})
        told.append(
            f"With {most} at once {-(-len(number) // most)} groups would do, but these leave no order together: "
            f"{', '.join(f'{a} and {b}' for a, b in pairs)}."
        )
    return tuple(told)


def precedence_sentences(groups: Groups, blockages: Sequence[Blockage], number: Numbers) -> tuple[str, ...]:
    """Which needles of a group must go before which, and why."""
    return tuple(
        f"Needle {number[one.placed]} goes before {number[one.standing]}: {_blocked(one, number)}."
        for one in sorted(blockages, key=lambda one: (number[one.placed], number[one.standing]))
        if any(one.placed in group and one.standing in group for group in groups)
    )


def shortest_cycle(conflicts: Sequence[Blockage]) -> tuple[Blockage, ...]:
    """As few blockages as leave no order: each one's standing needle is the next one's placed needle."""
    edges: dict[int, list[Blockage]] = {}
    for one in conflicts:
        edges.setdefault(one.placed, []).append(one)
    shortest: tuple[Blockage, ...] = tuple(conflicts)
    for start in sorted(edges):
        ways: list[tuple[Blockage, ...]] = [(one,) for one in edges[start]]
        seen = {start}
        while ways and len(ways[0]) < len(shortest):
            closed = [way for way in ways if way[-1].standing == start]
            if closed:
                shortest = closed[0]
                break
            longer = []
            for way in ways:
                last = way[-1].standing
                if last not in seen:
                    seen.add(last)
                    longer += [(*way, one) for one in edges.get(last, ())]
            ways = longer
    return shortest


def cycle_sentences(cycle: Sequence[Blockage], number: Numbers) -> tuple[str, ...]:
    """Why no order exists."""
    told = f"There is no order in which all {len(number)} needles can be placed and stand together: "
    if cycle[0].together:
        one = cycle[0]
        return (
            f"{told}needles {number[one.placed]} and {number[one.standing]} cannot stand together, for the "
            f"{one.part.words} of the one comes {one.missing_mm:.1f} mm too near to the "
            f"{one.standing_part.words} of the other.",
        )
    return (told + "; ".join(_blocked(one, number) for one in cycle) + ".",)


def cycle_remedies(cycle: Sequence[Blockage], number: Numbers, pulsed: bool) -> tuple[str, ...]:
    """What would give an order."""
    told = []
    for one in cycle:
        if one.draw_back_mm is not None:
            told.append(
                f"Draw needle {number[one.standing]} back by {one.draw_back_mm:.0f} mm while needle "
                f"{number[one.placed]} is placed, and advance it again."
            )
            break
    if not pulsed:
        told.append("Or place" if told else "Place")
        told[-1] += " them by turns, each drawn out before the next (fewer needles at once)."
    told.append(f"{'Or choose' if told else 'Choose'} another path for needle {number[cycle[0].placed]}.")
    if any(one.part.name == "GUIDE" for one in cycle):
        told.append("A smaller guide may pass as well.")
    return tuple(told)


def _blocked(one: Blockage, number: Numbers) -> str:
    return (
        f"with needle {number[one.standing]} in place the {one.part.words} of needle {number[one.placed]} comes "
        f"{one.missing_mm:.1f} mm too near to its {one.standing_part.words}"
    )


def _listed(numbers: Sequence[int]) -> tuple[str, ...]:
    words = [str(k) for k in numbers]
    return (", ".join(words[:-1]), words[-1]) if len(words) > 1 else tuple(words)
