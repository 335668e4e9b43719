"""Why a plan has its status, and what its reader must know of it: each a finding with its remedy."""

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.coverage.contract import PathSelection
from needleplan.coverage.matrix import CoverageMatrix, CoverageOptions
from needleplan.devices.catalogue import Applicator
from needleplan.plan import Evidence, Insertion, Metrics, PlanStatus
from needleplan.trajectory.constraints.placed_needle import segment_to_segments_mm
from needleplan.trajectory.screening import PathLimits
from needleplan.trajectory.search import SearchResolution

#: Spacing of the points of a structure's surface that are looked for in the predicted zone.
_HEATED_SPACING_MM = 3.0


def search_evidence(resolution: SearchResolution) -> Evidence:
    """Which paths cannot have been missed."""
    remedy = "" if resolution.exhausted else "Look at more paths (--refine) to narrow it."
    return Evidence("search", resolution.sentence, remedy)


def needles_evidence(
    insertions: tuple[Insertion, ...], applicator: Applicator, limits: PathLimits
) -> tuple[Evidence, ...]:
    """Which needles of a plan come too near to each other: paths are chosen without regard to one another."""
    wanted_mm = limits.needle_distance_mm or 0.0
    close = []
    for k, first in enumerate(insertions):
        for other in insertions[k + 1 :]:
            tip, entry = np.array([other.tip_mm]), np.array([other.entry_mm])
            axis, _ = segment_to_segments_mm(np.array(first.tip_mm), np.array(first.entry_mm), tip, entry)
            gap_mm = float(axis[0]) - 2.0 * applicator.radius_mm
            if gap_mm < wanted_mm:
                apart = f"{gap_mm:.1f} mm apart" if gap_mm > 0 else "in each other's way"
                close.append(f"{first.order} and {other.order} ({apart})")
    if not close:
        return ()
    return (
        Evidence(
            "needles among each other",
            f"Inside the body needles {', '.join(close)} come nearer than {wanted_mm:g} mm to each other; paths "
            "are chosen without regard to one another.",
            "Place them one after the other, each drawn back before the next, or choose an applicator with a "
            "larger zone.",
        ),
    )


def zone_size_evidence(matrix: CoverageMatrix) -> tuple[Evidence, ...]:
    """Why no offered ablation destroys even one ball of target and margin."""
    return (
        Evidence(
            "zone size",
            f"{matrix.applicator} cannot be shown to cover any part of the target from a feasible path: no offered "
            f"zone holds one of the {len(matrix.region.points_mm)} balls of {radius_text(matrix)} mm radius.",
            "Choose an applicator with a larger zone, or ask for more points in the target.",
        ),
    )


def judge_coverage(
    matrix: CoverageMatrix, selection: PathSelection, metrics: Metrics, options: CoverageOptions
) -> tuple[PlanStatus, tuple[Evidence, ...]]:
    """Status of a plan with insertions, and why."""
    missing = int((~matrix.coverable).sum())
    points = len(matrix.region.points_mm)
    margin_mm = options.margin_mm
    radius = radius_text(matrix)
    if not missing and not len(selection.uncovered):
        return PlanStatus.COMPLETE, (
            Evidence(
                "coverage",
                f"All of the target and of its {margin_mm:g} mm margin lies in predicted zones; this holds "
                f"for the solid, not only for sampled points: {points} balls of {radius} mm leave no "
                "gap between them and each lies in one zone.",
            ),
        )
    evidence = []
    reached = (
        f"{100 * metrics.target_coverage_fraction:.1f} % of the target and "
        f"{100 * metrics.margin_coverage_fraction:.1f} % of target plus margin are covered, the least margin is "
        f"{metrics.minimal_margin_mm:.1f} mm"
    )
    if missing:
        evidence.append(
            Evidence(
                "feasible paths",
                f"{100 * missing / points:.1f} % of target plus margin cannot be shown covered by any offered "
                f"ablation on a feasible path; {reached}.",
                "Allow a smaller margin, smaller clearances or a steeper skin angle, or choose an applicator with "
                "a larger zone.",
            )
        )
    if len(selection.uncovered):
        allowed = options.maximum_insertions
        proven = selection.lower_bound > allowed
        search = "proven" if proven else "the search found no cover of all in its time, and it is only proven"
        evidence.append(
            Evidence(
                "number of insertions",
                f"{allowed} insertions are allowed; {search} that {selection.lower_bound:g} or more are needed; "
                f"{reached}.",
                "Allow more insertions, a smaller margin, or choose an applicator with a larger zone.",
            )
        )
    return PlanStatus.PARTIAL, tuple(evidence)


def heated_evidence(queries: AnatomyQueries, zone: LethalZone) -> tuple[Evidence, ...]:
    """What the predicted zone reaches besides the organ: clearances hold for the needle, not for the zone."""
    anatomy = queries.anatomy
    reached = []
    for surface in (*anatomy.obstacles, anatomy.entry):
        points, _ = surface_points(surface.mesh, _HEATED_SPACING_MM)
        depth = float(zone.signed_distance_mm(points).max())
        if depth > 0:
            reached.append(f"{surface.name} ({depth:.0f} mm)")
    if not reached:
        return ()
    return (
        Evidence(
            "structures within the zone",
            f"The predicted zone reaches into {', '.join(reached)}; clearances are kept by needles, not by zones.",
            "Judge the injury to these structures; hydrodissection or another applicator may spare them.",
        ),
    )


def radius_text(matrix: CoverageMatrix) -> str:
    """Least and greatest radius of the balls that are to be covered, in words."""
    radius = matrix.region.radius_mm
    return f"{radius.min():.1f} to {radius.max():.1f}"
