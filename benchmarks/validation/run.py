"""Runs every case and keeps what came out."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from validation.case import Case, Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """One case after its run.

    Attributes:
        case: what was run.
        outcome: what it gave.
        seconds: how long it took.
    """

    case: Case
    outcome: Outcome
    seconds: float

    @property
    def verdict(self) -> str:
        """``within``, ``misses n of m``, or ``not computed``."""
        checks = self.outcome.checks
        missed = sum(not check.passes for check in checks)
        if not checks:
            return "not computed"
        return f"misses {missed} of {len(checks)}" if missed else "within"


def run(cases: Iterable[Case], say: Callable[[str], None] = lambda line: None) -> list[Result]:
    """Runs cases one after the other."""
    results = []
    for case in cases:
        begin = time.perf_counter()
        outcome = case.run()
        results.append(Result(case, outcome, time.perf_counter() - begin))
        say(f"{case.id}  {results[-1].verdict:16s} {results[-1].seconds:6.1f} s  {case.title}")
    return results


def say_on_terminal(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True, file=sys.stderr)
