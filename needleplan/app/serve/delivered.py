"""What a client says that a needle delivered, from the words of its command."""

import math

import numpy as np

from needleplan.app.serve.commands import COMMANDS, shortened
from needleplan.coverage.treatment_state import TreatmentState
from needleplan.errors import NavigationError
from needleplan.plan import Ablation, Insertion, vector3


def order_of(word: str) -> int:
    """The number of a needle; NavigationError where a word is none."""
    if not (word.isascii() and word.isdigit() and len(word) <= 4):
        raise NavigationError(f"a needle is named by its number in the plan, not by {shortened(word)!r}")
    return int(word)


def delivered_insertion(state: TreatmentState, order: int, words: tuple[str, ...]) -> Insertion:
    """What needle ``order`` delivered: what is due, or one ablation of stated power, duration and way back.

    Raises:
        NavigationError: the needle does not stand, nothing is due, or a figure cannot be.
    """
    needle = next((one for one in state.measured if one.order == order), None)
    if needle is None:
        there = ", ".join(str(one.order) for one in state.measured) or "none"
        raise NavigationError(f"needle {order} does not stand in the patient: say 'placed' first (in it: {there})")
    if not words:
        ablations = state.due(needle)
        if not ablations:
            raise NavigationError(f"needle {order} has delivered all that the plan has for it: state what it was")
    else:
        if len(words) < 2:
            raise NavigationError(f"an ablation needs power and duration: write {COMMANDS['delivered'].usage!r}")
        power_w = _number(words[0], "the power", 0.0, 1000.0)
        duration_s = _number(words[1], "the duration", 1.0, 7200.0)
        depth_mm = float(np.linalg.norm(np.subtract(needle.tip_mm, needle.entry_mm)))
        back_mm = (
            _number(words[2], "the way back from the tip, within the body,", 0.0, depth_mm) if words[2:] else 0.0
        )
        place = vector3(np.asarray(needle.tip_mm) - back_mm * needle.direction)
        ablations = (Ablation(place, power_w or None, duration_s),)
    return needle.carrying(ablations, state.planned_of(order).applicator)


def _number(word: str, what: str, low: float, high: float) -> float:
    try:
        value = float(word) if len(word) <= 20 else math.nan
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise NavigationError(f"{what} must be a number from {low:g} to {high:.4g}, not {shortened(word)!r}")
    return value
