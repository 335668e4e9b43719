"""What the figures of a plan or of a rehearsal can be: what a file says beyond that is refused when it is read.

The limits are wide: nothing that planning or a rehearsal writes comes near them. What lies beyond is a slip or was
made up, and would take all memory, take for ever, or be drawn and printed as if it were true.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from needleplan.coverage.region import LARGEST_MARGIN_MM
from needleplan.errors import PlanFileError
from needleplan.frames import FloatArray
from needleplan.outcome import Outcome
from needleplan.plan import MOST_OF_EACH, Insertion, Plan

#: Scanners give positions within metres of their middle; what lies further is a slip, and cannot be drawn.
FURTHEST_MM = 10_000.0
#: No needle is longer.
LONGEST_MM = 1_000.0

#: Least and greatest value that a figure can have.
Range = tuple[float, float]

_SHARE: Range = (0.0, 1.0)
#: Distances: no two points within ``FURTHEST_MM`` of the origin on each axis are so far apart.
_MM: Range = (-4.0 * FURTHEST_MM, 4.0 * FURTHEST_MM)
_ML: Range = (0.0, 1e5)
_COUNT: Range = (0.0, 1e12)
_SECONDS: Range = (-1e7, 1e7)
_NEWTON: Range = (-1e6, 1e6)

_ABLATION: dict[str, Range] = {"power_w": (0.0, 1e5), "duration_s": (0.0, 1e6)}
_METRICS: dict[str, Range] = {
    "target_coverage_fraction": _SHARE,
    "margin_coverage_fraction": _SHARE,
    "minimal_margin_mm": _MM,
    "over_ablation_ml": _ML,
    "zone_ml": _ML,
    "margin_mm": (0.0, LARGEST_MARGIN_MM),
    "margin_error_bound_mm": (0.0, _MM[1]),
}
_PROOF: dict[str, Range] = {
    "insertions": _COUNT,
    "lower_bound": _COUNT,
    "offered_bound": _COUNT,
    "gap": _SHARE,
    "candidates": _COUNT,
    "points": _COUNT,
}
_LEVEL: dict[str, Range] = {"value": (-1e9, 1e9), "bound": (-1e9, 1e9)}
_LIKELIHOOD: dict[str, Range] = {"probability": _SHARE, "low": _SHARE, "high": _SHARE}
_MARGIN_OPTIONS = ("coverage.margin_mm", "coverage.wanted_margin_mm")

_NEEDLE_IN_PATIENT: dict[str, Range] = {"peak_force_n": _NEWTON, "peak_tip_force_n": _NEWTON}
_NEEDLE: dict[str, Range] = {
    "tip_error_mm": _MM,
    "lateral_error_mm": _MM,
    "depth_error_mm": _MM,
    "angle_error_deg": (0.0, 180.0),
    "start_s": _SECONDS,
    "end_s": _SECONDS,
    "waited_s": _SECONDS,
    "displacement_at_start_mm": _MM,
    "displacement_at_end_mm": _MM,
    "breaths": _COUNT,
    "bend_mm": _MM,
    "corrections": _COUNT,
    **_NEEDLE_IN_PATIENT,
}
_WITHDRAWN: dict[str, Range] = {"order": (1.0, MOST_OF_EACH), "deepest_mm": _MM, **_NEEDLE_IN_PATIENT}
_OUTCOME: dict[str, Range] = {"duration_s": (0.0, _SECONDS[1]), "breaths": _COUNT}
_TRACE: dict[str, Range] = {
    "time_s": _SECONDS,
    "displacement_mm": _MM,
    "gate_open": _SHARE,
    "depth_mm": _MM,
    "needle": (-1.0, MOST_OF_EACH),
    "joints_rad": (-1e6, 1e6),
    "seen_mm": _MM,
    "force_n": _NEWTON,
}
#: Pictures of a rehearsal are named by its strategy.
_STRATEGY = re.compile(r"\w[\w.-]{0,79}")


def require_possible_plan(plan: Plan, where: str) -> None:
    """Refuse a plan with a figure that no plan can have, before anything is computed of it or shown.

    Args:
        plan: as read from a file.
        where: the file, as the message begins.

    Raises:
        PlanFileError: an insertion, a figure of score, proof, physics or chances, a count, a time or the margin of
            the options is impossible.
    """
    require_possible(plan.insertions, f"{where}: insertion")
    _require_in({"candidate_count": _COUNT, "feasible_count": _COUNT}, plan, where)
    _require_each(_COUNT, plan.rejected, f"{where}: rejected")
    _require_each(_SECONDS, plan.provenance.timings_s, f"{where}: provenance.timings_s")
    for name in _MARGIN_OPTIONS:
        asked = plan.provenance.options.get(name)
        if asked is not None and (isinstance(asked, bool | str) or not 0.0 <= asked <= LARGEST_MARGIN_MM):
            raise PlanFileError(
                f"{where}: the option {name} must be a number from 0 to {LARGEST_MARGIN_MM:g}, not {asked!r:.60}"
            )
    if plan.metrics is not None:
        _require_in(_METRICS, plan.metrics, f"{where}: metrics")
    if plan.physics is not None:
        _require_in({"rounds": _COUNT}, plan.physics, f"{where}: physics")
        _require_in(_METRICS, plan.physics.metrics, f"{where}: physics.metrics")
    if plan.proof is not None:
        _require_in(_PROOF, plan.proof, f"{where}: proof")
        for number, level in enumerate(plan.proof.levels, 1):
            _require_in(_LEVEL, level, f"{where}: level {number} of the proof")
    for number, chance in enumerate(plan.likelihoods, 1):
        here = f"{where}: likelihood {number}"
        _require_in(_LIKELIHOOD, chance, here)
        if not chance.low <= chance.probability <= chance.high:
            raise PlanFileError(
                f"{here}: the probability must lie between its bounds, and {chance.probability:g} does not lie "
                f"between {chance.low:g} and {chance.high:g}"
            )


def require_possible_outcome(outcome: Outcome, where: str) -> None:
    """Refuse the outcome of a rehearsal with a figure that none can have, before it is drawn or shown.

    Args:
        outcome: as read from a file.
        where: the file, as the message begins.

    Raises:
        PlanFileError: a needle, its errors, a signal, a time or the strategy's name is impossible.
    """
    require_possible(outcome.insertions, f"{where}: executed needle")
    require_possible([needle.planned for needle in outcome.needles], f"{where}: planned needle")
    if not _STRATEGY.fullmatch(outcome.strategy):
        raise PlanFileError(
            f"{where}: strategy must be a short name of letters, digits and hyphens, not {outcome.strategy!r:.60}"
        )
    _require_in(_OUTCOME, outcome, where)
    _require_in(_TRACE, outcome.trace, f"{where}: trace")
    if len(outcome.withdrawn) > MOST_OF_EACH:
        raise PlanFileError(
            f"{where}: at most {MOST_OF_EACH} needles can have been withdrawn, not {len(outcome.withdrawn)}"
        )
    for number, needle in enumerate(outcome.needles, 1):
        _require_in(_NEEDLE, needle, f"{where}: needle {number}")
        _require_each(_MM, needle.closest_mm, f"{where}: needle {number}: closest_mm")
    for number, withdrawn in enumerate(outcome.withdrawn, 1):
        _require_in(_WITHDRAWN, withdrawn, f"{where}: withdrawn needle {number}")
        _require_each(_MM, withdrawn.closest_mm, f"{where}: withdrawn needle {number}: closest_mm")
    for event in outcome.events:
        _require_in({"time_s": _SECONDS}, event, f"{where}: event")


def require_possible(insertions: Sequence[Insertion], where: str) -> None:
    """Refuse insertions that no needle can have made or be meant to make, before anything is computed of them.

    Args:
        insertions: as read from a file.
        where: file and kind, as the message begins.

    Raises:
        PlanFileError: too many of them; a position beyond ``FURTHEST_MM``, a tip or an ablation beyond
            ``LONGEST_MM`` from its entry, an entry that is the tip, an impossible clearance, power or duration.
    """
    if len(insertions) > MOST_OF_EACH:
        raise PlanFileError(f"{where}s: there may be at most {MOST_OF_EACH}, not {len(insertions)}")
    for number, insertion in enumerate(insertions, 1):
        here = f"{where} {number}"
        if len(insertion.ablations) > MOST_OF_EACH:
            raise PlanFileError(f"{here}: at most {MOST_OF_EACH} ablations, not {len(insertion.ablations)}")
        _require_places(insertion, here)
        _require_each(_MM, insertion.clearances_mm, f"{here}: clearances_mm")
        for k, ablation in enumerate(insertion.ablations, 1):
            _require_in(_ABLATION, ablation, f"{here}: ablation {k}")


def _require_places(insertion: Insertion, here: str) -> None:
    tips = {"tip_mm": insertion.tip_mm}
    tips |= {f"tip_mm of ablation {k}": each.tip_mm for k, each in enumerate(insertion.ablations, 1)}
    for name, point in {"entry_mm": insertion.entry_mm, **tips}.items():
        if not all(abs(x) <= FURTHEST_MM for x in point):
            raise PlanFileError(f"{here}: {name} must lie within {FURTHEST_MM:g} mm of the origin, not at {point}")
    for name, point in tips.items():
        if (length := math.dist(insertion.entry_mm, point)) > LONGEST_MM:
            raise PlanFileError(
                f"{here}: {name} must lie at most {LONGEST_MM:g} mm from entry_mm, not {length:.6g} mm"
            )
    if insertion.entry_mm == insertion.tip_mm:
        raise PlanFileError(f"{here}: entry_mm and tip_mm must differ, and are both {insertion.tip_mm}")


def _require_in(ranges: Mapping[str, Range], owner: object, where: str) -> None:
    """Refuse an owner of which an attribute that ``ranges`` names does not lie within its range."""
    for name, limits in ranges.items():
        _require_each(limits, {name: getattr(owner, name)}, where)


def _require_each(limits: Range, values: Mapping[str, float | FloatArray | None], where: str) -> None:
    """Refuse a number, or an array of any shape, that does not lie within the limits; None is not asked."""
    least, most = limits
    for name, value in values.items():
        if value is None:
            continue
        array = np.asarray(value, dtype=np.float64)
        outside = ~((array >= least) & (array <= most))
        if outside.any():
            raise PlanFileError(
                f"{where}: {name!s:.60} must be {least:g} to {most:g}, not {float(array[outside].flat[0]):.6g}"
            )
