"""Plans made, checked by physics, corrected and made again, until the physics agrees or no plan is left."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.physics_check import PhysicsCheck, PhysicsOptions, check_physics, checked_balls
from needleplan.coverage.vessels_beside import VesselsBeside
from needleplan.errors import OptionError, PhysicsError
from needleplan.frames import FloatArray, read_only
from needleplan.percentages import percent_down
from needleplan.plan import Insertion

#: Failing balls whose neighbours are looked up at a time, which bounds the memory.
_CHUNK = 512
#: A ball whose planned depth grew by at least this much, with less than this share of it gained by the physics, is
#: kept alive by something that no more depth overcomes.
_TRIED_MM, _LEAST_GAIN = 1.0, 0.25
#: Corrections that change no ball by more than this are none.
_SAME_MM = 0.01
#: Least margins that differ by less count as the same when rounds are compared: the solver tells no finer.
_MARGIN_STEP_MM = 0.1


class LoopEnd(StrEnum):
    """Why no further plan was made."""

    COVERED = "covered"  #: the physics model says that all required tissue is covered
    NO_COVER = "no cover"  #: no plan covers the corrected balls, or none covers them at all
    EXHAUSTED = "exhausted"  #: every ball that falls short is asked for all that may be, or more does not help it
    ROUNDS = "rounds"  #: as many plans were made as were allowed
    REFUSED = "refused"  #: the physics cannot compute a corrected plan


@dataclass(frozen=True, slots=True, eq=False)
class LoopRound:
    """One plan and what the physics says of it.

    Attributes:
        check: the insertions with the figures of both models.
        extra_mm: (n,) depth beyond its radius that the plan had to give each ball.
        sheltered: (n,) True for balls that fall short and for which no more depth is asked: they lie in the cuff
            about an open vessel, or an earlier round laid them deeper in the planned zone and they gained nothing.
        plan_s: time that planning took; that of the check is its own.
    """

    check: PhysicsCheck
    extra_mm: FloatArray
    sheltered: NDArray[np.bool_]
    plan_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra_mm", read_only(self.extra_mm))
        object.__setattr__(self, "sheltered", read_only(self.sheltered, np.bool_))

    @property
    def words(self) -> str:
        """The round in a sentence; without its times, so that the same plan says the same."""
        check = self.check
        state = "covered" if check.covered else f"misses by {check.missing_mm:.1f} mm"
        return (
            f"{len(check.insertions)} insertions, {sum(len(one.ablations) for one in check.insertions)} ablations; "
            f"least margin {check.planned.minimal_margin_mm:.1f} mm by the planning model, "
            f"{check.found.minimal_margin_mm:.1f} mm by physics; margin covered to "
            f"{percent_down(check.planned.margin_coverage_fraction)} and "
            f"{percent_down(check.found.margin_coverage_fraction)}; {state} (corrections up to "
            f"{float(self.extra_mm.max(initial=0.0)):.1f} mm)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class PhysicsLoop:
    """All plans that were made, and the best of them.

    Attributes:
        rounds: in the order in which they were made; none where no plan covers the balls at all.
        best: index of the best round by physics; None without rounds.
        end: why no further plan was made.
        reason: the same in words.
    """

    rounds: tuple[LoopRound, ...]
    best: int | None
    end: LoopEnd
    reason: str

    @property
    def check(self) -> PhysicsCheck | None:
        """The check of the best round."""
        return None if self.best is None else self.rounds[self.best].check

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """The insertions of the best round; none without rounds."""
        return () if self.check is None else self.check.insertions

    @property
    def covered(self) -> bool:
        """Whether the best round is covered by physics."""
        return self.check is not None and self.check.covered

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader of the plan must know: every round, why there is no further one, what is left uncovered."""
        if self.check is None or self.best is None:
            return (self.reason,)
        rounds = tuple(f"Round {k}: {one.words}." for k, one in enumerate(self.rounds, start=1))
        chosen = (f"Round {self.best + 1} is kept.",) if len(self.rounds) > 1 else ()
        return (*rounds, self.reason, *chosen, *self.check.sentences)


def corrected_radii(
    radius_mm: ArrayLike,
    shortfall_mm: ArrayLike,
    points_mm: ArrayLike,
    *,
    spread_mm: float = 4.0,
    greatest_extra_mm: float = 8.0,
    earlier_mm: ArrayLike | None = None,
) -> FloatArray:
    """Radii with which the balls are covered again, so that what the planning model overstates is made up for.

    A ball that the planning model has s too deep must lie s deeper in the planned zone than its radius. What is
    overstated is a property of the tissue there and not of a point: the greatest s within ``spread_mm`` counts.

    Args:
        radius_mm: (n,) true radii of the balls.
        shortfall_mm: (n,) by how much the planning model has each ball too deep, zero or more.
        points_mm: (n, 3) centres of the balls.
        spread_mm: distance over which a shortfall acts.
        greatest_extra_mm: no radius grows by more.
        earlier_mm: (n,) radii of an earlier correction, below which none falls.

    Returns:
        (n,) radii, none below ``radius_mm`` or ``earlier_mm``.

    Raises:
        OptionError: the arrays do not fit each other, or a shortfall is negative or no number.
    """
    from scipy.spatial import cKDTree

    radius = np.asarray(radius_mm, dtype=np.float64)
    shortfall = np.asarray(shortfall_mm, dtype=np.float64)
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    earlier = radius if earlier_mm is None else np.asarray(earlier_mm, dtype=np.float64)
    if not radius.shape == shortfall.shape == earlier.shape == (len(points),):
        raise OptionError(
            f"radii, shortfalls and earlier radii must be {len(points)} as the balls are, but are {radius.size}, "
            f"{shortfall.size} and {earlier.size}"
        )
    if not (shortfall >= 0).all():
        raise OptionError("a shortfall must be zero or more everywhere")
    extra = np.minimum(shortfall, greatest_extra_mm)
    short = np.flatnonzero(extra > 0)
    spread = extra.copy()
    tree = cKDTree(points)
    for start in range(0, len(short), _CHUNK):
        some = short[start : start + _CHUNK]
        beside = tree.query_ball_point(points[some], spread_mm, return_sorted=False)
        counts = [len(one) for one in beside]
        np.maximum.at(spread, np.concatenate(beside).astype(np.int64), np.repeat(extra[some], counts))
    return np.asarray(np.maximum(radius + spread, earlier))


def close_the_loop(
    plan_once: Callable[[FloatArray | None], Sequence[Insertion] | None],
    queries: AnatomyQueries,
    points_mm: ArrayLike,
    radius_mm: ArrayLike,
    planning_model: ZoneModel,
    physics: ZoneModel,
    tissue: TissueMap,
    margin_mm: float,
    options: PhysicsOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> PhysicsLoop:
    """Plan, check by physics, ask for more where the planning model overstates, and plan again.

    Args:
        plan_once: plans with the depth beyond its radius that each ball must have, (n,) in mm, None at first;
            returns the insertions, or None where no cover of the balls exists.
        queries: the anatomy.
        points_mm: centres (n, 3) of the balls that must lie in the lethal zone, patient LPS.
        radius_mm: (n,) their radii.
        planning_model: predicts the zones of ``plan_once``.
        physics: the model that is believed (``physics_model``).
        tissue: of the patient (``patient_tissue``).
        margin_mm: margin asked for about the target.
        options: rounds and corrections.
        progress: called with what is being done and the fraction done.

    Returns:
        The rounds; the best one is covered, or else has the largest share of the target, the largest least margin
        and the largest share of the margin by physics.

    Raises:
        OptionError: as of ``check_physics``.
        DeviceError: the physics does not know an applicator or a setting.
        PhysicsError: the physics cannot compute the first plan.
    """
    options = options or PhysicsOptions()
    points, radii = checked_balls(points_mm, radius_mm)
    vessels = VesselsBeside.of(tissue, points)
    wanted = radii
    hopeless = vessels.distance_mm < options.cuff_mm
    rounds: list[LoopRound] = []

    def ended(end: LoopEnd, reason: str) -> PhysicsLoop:
        best = max(range(len(rounds)), key=lambda k: _merit(rounds[k].check)) if rounds else None
        return PhysicsLoop(tuple(rounds), best, end, reason)

    for number in range(options.rounds):
        if progress:
            progress(f"plan {number + 1} for the physics", number / options.rounds)
        began = time.perf_counter()
        extra = wanted - radii
        insertions = plan_once(extra if number else None)
        plan_s = time.perf_counter() - began
        if insertions is None or not any(insertion.ablations for insertion in insertions):
            if not rounds:
                return ended(LoopEnd.NO_COVER, "No plan covers the balls of target plus margin.")
            return ended(
                LoopEnd.NO_COVER,
                f"No plan covers the balls as deep as the physics asks for, up to {extra.max():.1f} mm deeper than "
                f"the planning model needs: {_missing(rounds)}.",
            )
        if progress:
            progress(f"physics of plan {number + 1}", (number + 0.5) / options.rounds)
        try:
            check = check_physics(
                insertions, queries, points, radii, planning_model, physics, tissue, margin_mm, vessels
            )
        except PhysicsError as error:
            if not rounds:
                raise
            return ended(LoopEnd.REFUSED, f"The physics refuses the corrected plan: {error}.")
        if rounds:
            hopeless = hopeless | (check.fails & _gained_nothing(rounds[-1].check, check))
        sheltered = check.fails & hopeless
        rounds.append(LoopRound(check, extra, sheltered, plan_s))
        if check.covered:
            return ended(LoopEnd.COVERED, f"The physics says covered in round {number + 1}.")
        corrected = corrected_radii(
            radii,
            np.where(sheltered, 0.0, check.shortfall_mm),
            points,
            spread_mm=options.spread_mm,
            greatest_extra_mm=options.greatest_extra_mm,
            earlier_mm=wanted,
        )
        if (corrected - wanted).max() <= _SAME_MM:
            return ended(LoopEnd.EXHAUSTED, f"{_exhausted(rounds[-1], options)}; {_missing(rounds)}.")
        wanted = corrected
    return ended(
        LoopEnd.ROUNDS, f"The physics does not say covered in round {options.rounds}, the last: {_missing(rounds)}."
    )


def _exhausted(last: LoopRound, options: PhysicsOptions) -> str:
    """Why no ball that falls short is asked for more depth, in words."""
    check = last.check
    left = check.fails & ~last.sheltered
    unplanned = left & (check.planned_depth_mm < check.radius_mm)
    counts = {
        f"lie within {options.cuff_mm:g} mm of an open vessel or gained nothing from more depth": last.sheltered,
        "are not covered by the planning model either": unplanned,
        f"are asked for as much as may be, {options.greatest_extra_mm:g} mm": left & ~unplanned,
    }
    words = [f"{int(which.sum())} {what}" for what, which in counts.items() if which.any()]
    return f"No more depth is asked for: of the {int(check.fails.sum())} balls that fall short {', '.join(words)}"


def _gained_nothing(before: PhysicsCheck, now: PhysicsCheck) -> NDArray[np.bool_]:
    """(n,) True for balls that a plan laid deeper than the one before without effect on the physics."""
    tried = now.planned_depth_mm - before.planned_depth_mm
    return np.asarray((tried >= _TRIED_MM) & (now.depth_mm - before.depth_mm < _LEAST_GAIN * tried))


def _merit(check: PhysicsCheck) -> tuple[float, ...]:
    """What makes a round better than another, the first figure that differs."""
    found = check.found
    return (
        float(check.covered),
        round(found.target_coverage_fraction, 4),
        round(found.minimal_margin_mm / _MARGIN_STEP_MM),
        round(found.margin_coverage_fraction, 4),
        -float(len(check.insertions)),
    )


def _missing(rounds: Sequence[LoopRound]) -> str:
    best = max(rounds, key=lambda one: _merit(one.check)).check
    found = best.found
    return (
        f"at best {percent_down(found.target_coverage_fraction)} of the target and "
        f"{percent_down(found.margin_coverage_fraction)} of the {found.margin_mm:g} mm margin are covered, the "
        f"least margin is {found.minimal_margin_mm:.1f} mm, and the worst ball of tissue lies "
        f"{best.missing_mm:.1f} mm out of the zone"
    )
