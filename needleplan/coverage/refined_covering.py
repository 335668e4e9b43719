"""Chosen insertions moved continuously, and taken only where they still cover the solid."""

import dataclasses
from collections.abc import Sequence

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.certificate import certify
from needleplan.coverage.needle_pairs import least_room_mm
from needleplan.coverage.needle_shape import NeedleShapes
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.refinement import Refinement, RefinementOptions, refine
from needleplan.errors import PhysicsError
from needleplan.plan import Evidence, Insertion
from needleplan.trajectory.contract import TrajectoryConstraint

#: The margin is measured at points of the surface; so much more is asked for, that what lies between them has it
#: too.
_BETWEEN_POINTS_MM = 0.3


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
    """
    given = tuple(insertions)
    complete = certify(queries, zone_model.zone(given), options.margin_mm).covered
    wanted = RefinementOptions(
        wanted_margin_mm=min(50.0, (options.wanted_mm if wanted_mm is None else wanted_mm) + _BETWEEN_POINTS_MM),
        fixed=fixed,
        time_limit_s=min(20.0, options.time_limit_s),
    )
    said = ""
    for sparing in (True, False) if spare else (False,):
        try:
            result = refine(
                given,
                queries,
                zone_model,
                constraints,
                dataclasses.replace(wanted, spare_tissue=sparing),
                protection=lambda moved: protection.slack_mm(zone_model.zone(moved))[0],
                pair_check=None if pairs is None else lambda moved: _room_mm(moved, zone_model, pairs),
            )
        except PhysicsError as error:
            return given, (Evidence("refinement", f"The needles were not moved: {error}."),)
        if not result.improved:
            said = said or result.sentence
            continue
        if not complete or certify(queries, zone_model.zone(result.insertions), options.margin_mm).covered:
            return result.insertions, (Evidence("refinement", _words(result)),)
        said = "Moved needles left part of the margin uncovered, so the needles stay as they were chosen."
    return given, (Evidence("refinement", said),)


def _room_mm(insertions: Sequence[Insertion], zone_model: EllipsoidTableModel, pairs: PairLimits) -> float:
    applicators = [zone_model.catalogue.applicator(insertion.applicator) for insertion in insertions]
    return least_room_mm(NeedleShapes.of_insertions(insertions, applicators), pairs)


def _words(result: Refinement) -> str:
    stopped = "; ".join(
        f"needle {k} is held by {', '.join(names)}" for k, names in enumerate(result.stopped_by, start=1) if names
    )
    return f"{result.sentence} ({result.method}{'; ' + stopped if stopped else ''})"
