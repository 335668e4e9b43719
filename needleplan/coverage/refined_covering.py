"""Chosen insertions moved continuously, and taken only where they still cover the solid."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.certificate import certify
from needleplan.coverage.needle_pairs import least_room_mm
from needleplan.coverage.needle_shape import NeedleShapes
from needleplan.coverage.options import CoverageOptions, Level
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.refinement import Refinement, RefinementOptions, refine
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Evidence, Insertion
from needleplan.trajectory.contract import TrajectoryConstraint

#: The margin is measured at points of the surface; so much more is asked for, that what lies between them has it
#: too.
_BETWEEN_POINTS_MM = 0.3
#: Times that a plan which leaves out something is moved again.
_ROUNDS = 6
#: What lies farther from the zones than this is not closed by moving them.
_FAR_MM = 1.5


def refined(
    insertions: Sequence[Insertion],
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    constraints: Sequence[TrajectoryConstraint],
    options: CoverageOptions,
    protection: Protection,
    pairs: PairLimits | None,
    fixed: frozenset[int] = frozenset(),
    wanted_mm: float | None = None,
    spare: bool = True,
    further_points_mm: ArrayLike = (),
    time_limit_s: float | None = None,
) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]]:
    """The insertions moved to a larger margin and less healthy tissue, and what came of it.

    Where the given insertions are proven to cover the solid, the moved ones must be too, else the given ones stay:
    at first with zones that shrink where the margin allows it, then without.

    Args:
        insertions: the chosen ones.
        queries: the anatomy.
        zone_model: predicts the zones.
        constraints: what is demanded of paths.
        options: margins.
        protection: structures that the zone must keep away from.
        pairs: what needles must keep from each other; None demands nothing.
        fixed: indices of needles that are in the patient already.
        wanted_mm: margin to move to; that of the options where None.
        spare: True where zones may shrink as far as the margin allows.
        further_points_mm: (m, 3) points that must have the margin besides those of the target's surface.
        time_limit_s: of one search; 30 s or the time limit of the options where None.
    """
    given = tuple(insertions)
    complete = certify(queries, zone_model.zone(given), options.margin_mm).covered
    wanted = RefinementOptions(
        wanted_margin_mm=min(50.0, (options.wanted_mm if wanted_mm is None else wanted_mm) + _BETWEEN_POINTS_MM),
        fixed=fixed,
        # Where the time of treatment is a goal, settings stay as they were chosen for it.
        settings_move=Level.TIME not in options.order,
        time_limit_s=max(30.0, options.time_limit_s) if time_limit_s is None else time_limit_s,
    )
    said = ""
    better: Refinement | None = None
    for sparing in (True, False) if spare else (False,):
        try:
            result = refine(
                given,
                queries,
                zone_model,
                constraints,
                dataclasses.replace(wanted, spare_tissue=sparing),
                protection=lambda moved: protection.slack_mm(zone_model.zone(moved))[0],
                further_points_mm=further_points_mm,
                pair_check=None if pairs is None else lambda moved: _room_mm(moved, zone_model, pairs),
            )
        except PhysicsError as error:
            return given, (Evidence("refinement", f"The needles were not moved: {error}."),)
        if not result.improved:
            said = said or result.sentence
            continue
        if certify(queries, zone_model.zone(result.insertions), options.margin_mm).covered:
            return result.insertions, (Evidence("refinement", _words(result)),)
        if complete:
            said = "Moved needles left part of the margin uncovered, so the needles stay as they were chosen."
        else:
            # Nothing is proven to be lost: the last of them has the larger margin.
            better = result
    if better is not None:
        return better.insertions, (Evidence("refinement", _words(better)),)
    return given, (Evidence("refinement", said),)


def closed(
    insertions: Sequence[Insertion],
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    margin_mm: float,
    move: Callable[[Sequence[Insertion], FloatArray], tuple[tuple[Insertion, ...], tuple[Evidence, ...]]],
) -> tuple[tuple[Insertion, ...], tuple[Evidence, ...]] | None:
    """Insertions moved until they are proven to cover the solid; None where they do not come to it.

    What a plan was found to leave out is asked for when it is moved again: points outside the target by the point
    of its surface that is nearest to them, as the margin is measured there.

    Args:
        insertions: nearly covering ones.
        queries: the anatomy.
        zone_model: predicts the zones.
        margin_mm: margin about the target.
        move: moves insertions so that further points (m, 3) have the margin as well.
    """
    target = queries.distance(queries.anatomy.target)
    further = np.empty((0, 3))
    moved: tuple[Insertion, ...] = tuple(insertions)
    for _ in range(_ROUNDS):
        before = moved
        moved, notes = move(before, further)
        found = certify(queries, zone_model.zone(moved), margin_mm)
        if found.covered:
            return moved, notes
        witnesses = np.array(found.witnesses_mm).reshape(-1, 3)
        missing = -float(zone_model.zone(moved).signed_distance_mm(witnesses).min(initial=0.0))
        if not len(witnesses) or missing > _FAR_MM or (len(further) and moved == before):
            return None
        outside = target.signed_distance_mm(witnesses) > 0
        witnesses[outside] = target.closest_points_mm(witnesses[outside])
        further = np.concatenate([further, witnesses])
    return None


def _room_mm(insertions: Sequence[Insertion], zone_model: EllipsoidTableModel, pairs: PairLimits) -> float:
    applicators = [zone_model.catalogue.applicator(insertion.applicator) for insertion in insertions]
    return least_room_mm(NeedleShapes.of_insertions(insertions, applicators), pairs)


def _words(result: Refinement) -> str:
    # Needles are not numbered yet: they get their order after they were moved.
    reasons = list(dict.fromkeys(reason for names in result.stopped_by for reason in names))
    return f"{result.sentence} What stopped them: {', '.join(reasons)}." if reasons else result.sentence
