"""Which needles of a plan may not stand together: each reason a finding with its figures and a remedy."""

import dataclasses
from collections.abc import Sequence
from itertools import combinations

from needleplan.coverage.needle_pairs import PairReason, reasons_against
from needleplan.coverage.needle_shape import NeedleShapes
from needleplan.coverage.pair_limits import PairLimits
from needleplan.devices.applicator_physics import PulseElectrode
from needleplan.devices.catalogue import Applicator
from needleplan.errors import OptionError
from needleplan.plan import Evidence, Insertion

_TURNS = "place them one after the other, each drawn out before the next"
_OTHER = "choose another path for one of them"


def explain_pairs(
    insertions: Sequence[Insertion], applicators: Applicator | Sequence[Applicator], limits: PairLimits
) -> tuple[Evidence, ...]:
    """Which needles of a plan may not stand in the patient together, and why.

    Every reason against every pair is told, not only the first. Needles are named by their ``order``.

    Args:
        insertions: the needles.
        applicators: those of the insertions.
        limits: what is demanded of a pair.

    Returns:
        One finding for each reason; none where all may stand together.

    Raises:
        DeviceError: an applicator is missing.
        GeometryError: a path is impossible.
    """
    shapes = NeedleShapes.of_insertions(insertions, applicators)
    found: dict[PairReason, list[str]] = {}
    for i, j in combinations(range(len(shapes)), 2):
        for reason, value in reasons_against(shapes, i, j, limits).items():
            pair = f"{insertions[i].order} and {insertions[j].order}"
            found.setdefault(reason, []).append(f"{pair} ({_figure(reason, value)})")
    evidence = [
        Evidence("needles among each other", _finding(reason, found[reason], limits), _remedy(reason))
        for reason in PairReason
        if reason in found
    ]
    return (*evidence, *_lonely(shapes, insertions, limits))


def _figure(reason: PairReason, value: float) -> str:
    if reason is PairReason.SHAFTS and value <= 0.0:
        return "in each other's way"
    if reason in (PairReason.OUTSIDE, PairReason.PASSAGE):
        return f"{-value:.1f} mm missing"
    if reason is PairReason.ANGLE:
        return f"{value:.1f} degrees"
    if reason is PairReason.NOT_LEVEL:
        return f"{max(value, 0.0):.1f} mm side by side"
    return f"{value:.1f} mm"


def _finding(reason: PairReason, pairs: list[str], limits: PairLimits) -> str:
    needles = ", ".join(pairs)
    if reason is PairReason.ENTRIES:
        return f"The punctures of needles {needles} are nearer than {limits.entry_spacing_mm:g} mm to each other."
    if reason is PairReason.SHAFTS:
        return f"Inside the body needles {needles} come nearer than {limits.needle_distance_mm:g} mm to each other."
    if reason is PairReason.ACTIVE_PARTS:
        return (
            f"The axes of the active parts of needles {needles} are nearer than {limits.active_distance_mm:g} mm "
            "to each other while they deliver at the same time."
        )
    if reason is PairReason.OUTSIDE:
        return f"Outside the body shafts or handles of needles {needles} come too near to the other needle."
    if reason is PairReason.PASSAGE:
        return f"Neither of the needles {needles} can be placed past the other one, its handle or its guide."
    return _pulse_finding(reason, needles, limits.electrode)


def _pulse_finding(reason: PairReason, needles: str, electrode: PulseElectrode | None) -> str:
    if electrode is None:
        raise OptionError("without an electrode for pulses no rule of its vendor can be broken: state it")
    if reason is PairReason.TOO_FAR:
        return f"Electrodes {needles} are farther apart than the vendor's {electrode.greatest_spacing_mm:g} mm."
    if reason is PairReason.TOO_NEAR:
        return f"Electrodes {needles} are nearer to each other than the vendor's {electrode.least_spacing_mm:g} mm."
    if reason is PairReason.ANGLE:
        return (
            f"Electrodes {needles} are not parallel within the vendor's {electrode.greatest_angle_deg:g} degrees."
        )
    return (
        f"The bare lengths of electrodes {needles} are not level: {electrode.exposure_mm:g} mm belong side by side."
    )


def _remedy(reason: PairReason) -> str:
    return {
        PairReason.ENTRIES: f"{_OTHER}, or {_TURNS}",
        PairReason.SHAFTS: f"{_TURNS}, or {_OTHER}",
        PairReason.ACTIVE_PARTS: "deliver one after the other, or set the tips farther apart",
        PairReason.OUTSIDE: f"{_TURNS}, use shafts of another length, or {_OTHER}",
        PairReason.PASSAGE: f"{_TURNS}, use a smaller guide, or {_OTHER}",
        PairReason.TOO_FAR: "set them nearer, put one between them, or leave the wide pair without pulses",
        PairReason.ANGLE: "choose parallel paths",
        PairReason.NOT_LEVEL: "set the tips to one level",
        PairReason.TOO_NEAR: "set them farther apart",
    }[reason].capitalize() + "."


def _lonely(shapes: NeedleShapes, insertions: Sequence[Insertion], limits: PairLimits) -> tuple[Evidence, ...]:
    """Electrodes that have no partner near enough, where wide pairs are left out."""
    if limits.electrode is None or not limits.wide_pairs_left_out:
        return ()
    every = dataclasses.replace(limits, wide_pairs_left_out=False)
    alone = []
    for i in range(len(shapes)):
        others = [j for j in range(len(shapes)) if j != i]
        if all(PairReason.TOO_FAR in reasons_against(shapes, i, j, every) for j in others):
            alone.append(str(insertions[i].order))
    if not alone:
        return ()
    return (
        Evidence(
            "needles among each other",
            f"Electrodes {', '.join(alone)} have no other one within the vendor's "
            f"{limits.electrode.greatest_spacing_mm:g} mm and would be given no pulses.",
            "Set them nearer to the others.",
        ),
    )
