"""Shares and chances in percent, each rounded to the side on which it does not look better than it is."""

import math

from needleplan.plan import Likelihood

#: Nearer to a whole tenth of a percent, a share is taken for it: sums of volumes end in errors of rounding.
_ROUNDING = 1e-12
#: How the events begin that are hoped for; every other one is harm.
_SUCCESSES = ("the target is covered", "the margin reaches ")


def percent_down(share: float) -> str:
    """What is hoped for, in percent and rounded down: coverage, a chance of success, a lower bound.

    100 % is said where nothing is missing and 0 % where there is nothing at all.
    """
    return _told(share, math.floor(1000.0 * (share + _ROUNDING)))


def percent_up(share: float) -> str:
    """What is feared, in percent and rounded up: a chance of harm, what is missing, an upper bound.

    100 % is said where it is all and 0 % where there is nothing at all.
    """
    return _told(share, math.ceil(1000.0 * (share - _ROUNDING)))


def is_success(event: str) -> bool:
    """Whether the event of a likelihood is one that is hoped for; every other one is harm."""
    return event.startswith(_SUCCESSES)


def chance_in_percent(chance: Likelihood) -> tuple[str, str]:
    """The chance, rounded down for a success and up for harm, and its bounds, rounded outwards."""
    told = percent_down if is_success(chance.event) else percent_up
    return told(chance.probability), f"{percent_down(chance.low)} to {percent_up(chance.high)}"


def _told(share: float, tenths: int) -> str:
    if share <= _ROUNDING:
        return "0 %"
    if share >= 1.0 - _ROUNDING:
        return "100 %"
    if tenths < 1:
        return "under 0.1 %"
    return "over 99.9 %" if tenths > 999 else f"{tenths / 10:.1f} %"
