"""Why a plan has its status, and what its reader must know of it: each a finding with its remedy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.coverage.bound import InsertionBound
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.cover import Covering
from needleplan.coverage.cover_problem import TARGET_WEIGHT
from needleplan.coverage.matrix import CoverageMatrix, freed_by
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.organ_left import healthy_fraction
from needleplan.coverage.pair_evidence import explain_pairs
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import ProtectedStructure, Protection
from needleplan.coverage.puncture_order import PunctureOrder
from needleplan.devices.catalogue import Applicator
from needleplan.percentages import percent_down, percent_up
from needleplan.plan import CoverageProof, Evidence, Insertion, LevelOutcome, Metrics, PlanStatus
from needleplan.trajectory.search import SearchResolution

#: Spacing of the points of a structure's surface that are looked for in the predicted zone.
_HEATED_SPACING_MM = 3.0


def search_evidence(resolution: SearchResolution) -> Evidence:
    """Which paths cannot have been missed."""
    remedy = "" if resolution.exhausted else "Look at more paths (--refine) to narrow it."
    return Evidence("search", resolution.sentence, remedy)


def order_evidence(
    insertions: tuple[Insertion, ...], order: PunctureOrder, applicator: Applicator, limits: PairLimits
) -> tuple[Evidence, ...]:
    """Which needles go first and why, and which of those that stand together come too near to each other.

    Args:
        insertions: in the order of their punctures.
        order: what was found of it.
        applicator: of all of them.
        limits: what needles must keep from each other.
    """
    told = [order.evidence] if order.evidence.finding else []
    first = 0
    for group in order.groups or (tuple(range(len(insertions))),):
        told += explain_pairs(insertions[first : first + len(group)], applicator, limits)
        first += len(group)
    return tuple(told)


def zone_size_evidence(matrix: CoverageMatrix) -> tuple[Evidence, ...]:
    """Why no offered ablation destroys even one ball of target and margin."""
    if not matrix.candidate_count:
        return (
            Evidence(
                "thermal margins",
                f"{matrix.applicator} is allowed no ablation along any of the {len(matrix.table)} offered paths: "
                "each would come nearer to a protected structure than its thermal margin.",
                "Allow smaller thermal margins, move the structures away, or choose an applicator with smaller "
                "zones.",
            ),
        )
    return (
        Evidence(
            "zone size",
            f"{matrix.applicator} cannot be shown to cover any part of the target from a feasible path: no offered "
            f"zone holds one of the {len(matrix.region.points_mm)} balls of {radius_text(matrix)} mm radius.",
            "Choose an applicator with a larger zone, or ask for more points in the target.",
        ),
    )


def judge_coverage(
    covering: Covering, metrics: Metrics, options: CoverageOptions, certificate: CoverageCertificate
) -> tuple[PlanStatus, tuple[Evidence, ...]]:
    """Status of a plan with insertions, and why."""
    margin_mm = options.margin_mm
    if certificate.covered:
        return PlanStatus.COMPLETE, (
            Evidence(
                "coverage",
                f"All of the target and of its {margin_mm:g} mm margin lies in predicted zones; this is "
                f"{certificate.sentence}.",
            ),
        )
    matrix, selection = covering.matrix, covering.selection
    missing = int((~matrix.coverable).sum())
    points = len(matrix.region.points_mm)
    evidence = [Evidence("coverage", f"Target plus margin is {certificate.sentence}.")]
    reached = (
        f"{percent_down(metrics.target_coverage_fraction)} of the target and "
        f"{percent_down(metrics.margin_coverage_fraction)} of target plus margin are covered, the least margin is "
        f"{metrics.minimal_margin_mm:.1f} mm"
    )
    if missing:
        evidence.append(
            Evidence(
                "feasible paths",
                f"{percent_up(missing / points)} of target plus margin cannot be shown covered by any offered "
                f"ablation on a feasible path; {reached}.",
                "Allow a smaller margin, smaller clearances or a steeper skin angle, or choose "
                f"{_larger(covering)}.",
            )
        )
    if len(selection.uncovered):
        evidence.append(_insertions_evidence(covering, options, reached))
    return PlanStatus.PARTIAL, tuple(evidence)


def _insertions_evidence(covering: Covering, options: CoverageOptions, reached: str) -> Evidence:
    allowed, bound = options.maximum_insertions, covering.selection.lower_bound
    share = covering.matrix.value_of(covering.selection.paths) / covering.selection.value_bound
    most = (
        f"the part that is covered is worth {percent_down(min(1.0, share))} of the most that so many insertions "
        f"may reach by balls within one zone on the offered paths, the target counted {TARGET_WEIGHT:g} times as "
        "much as its margin and the needles not yet moved"
    )
    if np.isinf(bound) and covering.selection.loose_bound <= allowed:
        return Evidence(
            "needles among each other",
            f"No choice of the offered paths covers all and keeps the needles apart; {reached}; {most}.",
            "Place them one after the other, each drawn out before the next (one needle at once), or allow smaller "
            "distances.",
        )
    if np.isinf(bound):
        # Even without any regard to one another more needles are needed than are allowed.
        bound = covering.selection.loose_bound
    proven = bound > allowed
    search = "proven" if proven else "the search found no cover of all in its time, and it is only proven"
    return Evidence(
        "number of insertions",
        f"{allowed} insertions are allowed; {search} that {bound:g} or more are needed; {reached}; {most}.",
        f"{_enough(covering)}, a smaller margin, or choose {_larger(covering)}.",
    )


def _enough(covering: Covering) -> str:
    sufficient = covering.selection.sufficient
    if sufficient is None:
        return "Allow more insertions"
    return f"Allow {sufficient} insertions, with which a cover was found"


def _larger(covering: Covering) -> str:
    """Applicators whose largest zone is larger than the one used, in words."""
    model, name = covering.matrix.zone_model, covering.matrix.applicator
    if not isinstance(model, EllipsoidTableModel):
        return "an applicator with a larger zone"
    used = float(covering.matrix.menu.axial_mm[0] * covering.matrix.menu.radial_mm[0] ** 2)
    larger = []
    for other in model.catalogue.applicators:
        rows = [r for r in model.catalogue.zones if r.applicator == other.name and r.setting == model.setting]
        most = max(rows, key=lambda r: r.axial_length_mm * r.diameter_mm**2, default=None)
        if most is not None and other.name != name and most.axial_length_mm * most.diameter_mm**2 / 8.0 > used:
            larger.append(f"{other.name} (zones up to {most.axial_length_mm:g} x {most.diameter_mm:g} mm)")
    return f"an applicator with a larger zone: {', '.join(larger) or 'none of the tables has one'}"


def limits_evidence(covering: Covering, protection: Protection) -> tuple[Evidence, ...]:
    """What keeps part of the target from being covered: structures that the zones must stay away from."""
    matrix = covering.matrix
    lacking = ~matrix.coverable
    if not lacking.any() or not protection.structures:
        return ()
    freed = freed_by(matrix, protection)
    evidence = []
    single: NDArray[np.bool_] = np.zeros(len(lacking), dtype=np.bool_)
    for structure, away in zip(protection.structures, freed.alone_mm, strict=True):
        opened = np.isfinite(away) & lacking
        if not opened.any():
            continue
        single |= opened
        gap_mm = float(structure.gap_mm(matrix.region.points_mm[opened]).min())
        evidence.append(
            Evidence(
                structure.name,
                f"Its thermal margin of {structure.margin_mm:g} mm forbids the ablations that would cover "
                f"{percent_up(float(opened.mean()))} of the balls of target plus margin; the nearest of these lies "
                f"{gap_mm:.1f} mm from it.",
                _moved_away([structure], [float(away[opened].max())]),
            )
        )
    together = np.isfinite(freed.together_mm).all(axis=0) & lacking & ~single
    if together.any():
        farther = freed.together_mm[:, together].max(axis=1)
        guilty = [k for k in range(len(farther)) if farther[k] > 0]
        structures = [protection.structures[k] for k in guilty]
        evidence.append(
            Evidence(
                " and ".join(structure.name for structure in structures),
                f"Their thermal margins together forbid the ablations that would cover "
                f"{percent_up(float(together.mean()))} of the balls of target plus margin; none of them does "
                "so alone.",
                _moved_away(structures, [float(farther[k]) for k in guilty]),
            )
        )
    return tuple(evidence)


def _moved_away(structures: Sequence[ProtectedStructure], farther_mm: Sequence[float]) -> str:
    """What would open forbidden ablations: hydrodissection where structures can be moved, or smaller margins."""
    smaller = "allow a smaller thermal margin, or a smaller margin about the target there."
    if any(structure.encloses for structure in structures):
        return smaller[0].upper() + smaller[1:]
    moves = " and ".join(f"{one.name} {np.ceil(mm):.0f} mm" for one, mm in zip(structures, farther_mm, strict=True))
    return f"Hydrodissection that moves {moves} farther away would open these ablations; or {smaller}"


def organ_evidence(
    queries: AnatomyQueries, zone: LethalZone, options: CoverageOptions
) -> tuple[tuple[Evidence, ...], bool]:
    """(what is said of the organ that must remain, whether enough of it does)."""
    fraction = options.least_organ_fraction
    if fraction is None:
        return (), True
    host = queries.host_organ
    if host is None:
        return (
            Evidence(
                "healthy organ",
                f"No organ holds the target, so nothing can be said of the {100 * fraction:g} % that must remain.",
                "Segment the organ that holds the target, or ask for no share of it.",
            ),
        ), False
    left = healthy_fraction(queries, host, zone)
    finding = (
        f"{percent_down(left)} of {host.name} outside the target lies outside all zones; {100 * fraction:g} % must."
    )
    remedy = "" if left >= fraction else "Allow less of the organ to remain, or a smaller margin."
    return (Evidence("healthy organ", finding, remedy),), left >= fraction


def coverage_proof(covering: Covering, insertions: int, certificate: str, complete: bool) -> CoverageProof:
    """What was proven about the number of insertions, and of which problems.

    Args:
        covering: the choice.
        insertions: of the plan.
        certificate: what is proven of its coverage, in words.
        complete: True where the plan covers the solid.
    """
    matrix, selection, bound = covering.matrix, covering.selection, covering.bound
    coverable = int(matrix.coverable.sum())
    offered = selection.lower_bound if np.isfinite(selection.lower_bound) else None
    choice = "no choice that keeps the needles apart" if offered is None else f"no choice of fewer than {offered:g}"
    everything = 0.0 if bound is None else float(bound.value)
    moved = everything > insertions and complete
    # Needles that were moved off the sampled paths may do with fewer than any choice of those.
    everything = min(everything, float(insertions)) if complete else everything
    claim = (
        f"Of the {len(matrix.table)} paths offered, {choice} destroys all "
        f"{coverable} balls ({radius_text(matrix)} mm in radius) that any of them can destroy, each ball within "
        "one zone; they leave no gap in target plus margin, and covers whose zones share a ball may do with fewer."
    )
    if bound is not None:
        claim += (
            f" Of all {bound.paths} feasible paths, with the largest offered ablation anywhere along them, no "
            f"choice of fewer than {bound.value} destroys even {len(bound.points_mm)} points of it, whichever "
            f"zone holds them (by {bound.method})."
        )
    claim += " Nothing is claimed about paths that were not sampled."
    if moved:
        claim += " Needles moved off the sampled paths do with fewer here, so that bound does not hold for them."
    gap = max(0.0, (insertions - everything) / insertions) if insertions else 0.0
    return CoverageProof(
        solver=selection.solver,
        status=selection.status,
        insertions=insertions,
        lower_bound=everything,
        offered_bound=offered,
        gap=gap,
        candidates=matrix.candidate_count,
        points=coverable,
        claim=claim,
        levels=(_first_level(insertions, everything, bound, complete and not moved), *covering.choice.levels),
        certificate=certificate,
    )


def _first_level(insertions: int, everything: float, bound: InsertionBound | None, sound: bool) -> LevelOutcome:
    return LevelOutcome(
        "insertions",
        float(insertions),
        everything,
        "",
        sound and insertions == everything,
        "points of the solid, all feasible paths that were sampled" if bound is not None else "no bound was sought",
    )


def heated_evidence(queries: AnatomyQueries, zone: LethalZone) -> tuple[Evidence, ...]:
    """What the predicted zone reaches besides the organ: clearances hold for the needle, not for the zone."""
    anatomy = queries.anatomy
    low, high = zone.bounds_mm
    reached = []
    for surface in (*anatomy.obstacles, anatomy.entry):
        points, _ = surface_points(surface.mesh, _HEATED_SPACING_MM)
        # Nothing outside the zone's own box lies in it.
        points = points[((points >= low) & (points <= high)).all(axis=1)]
        depth = float(zone.signed_distance_mm(points).max(initial=-np.inf))
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
