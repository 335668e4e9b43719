"""Why a plan has its status, and what its reader must know of it: each a finding with its remedy."""

import numpy as np

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
from needleplan.coverage.pair_evidence import explain_pairs
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.puncture_order import PunctureOrder
from needleplan.devices.catalogue import Applicator
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
    fewest = () if covering.choice.healthy_limit_kept else (_organ_evidence(options),)
    if certificate.covered and not fewest:
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
    evidence = [*fewest]
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
                "Allow a smaller margin, smaller clearances or a steeper skin angle, or choose "
                f"{_larger(covering)}.",
            )
        )
    if len(selection.uncovered):
        evidence.append(_insertions_evidence(covering, options, reached))
    if not missing and not len(selection.uncovered) and not certificate.covered:
        evidence.append(Evidence("coverage", f"The cover is {certificate.sentence}; {reached}."))
    return PlanStatus.PARTIAL, tuple(evidence)


def _insertions_evidence(covering: Covering, options: CoverageOptions, reached: str) -> Evidence:
    allowed, bound = options.maximum_insertions, covering.selection.lower_bound
    share = 100.0 * covering.matrix.value_of(covering.selection.paths) / covering.selection.value_bound
    most = (
        f"the part that is covered is worth {min(100.0, share):.1f} % of the most that so many insertions may "
        f"reach, the target counted {TARGET_WEIGHT:g} times as much as its margin"
    )
    if np.isinf(bound):
        return Evidence(
            "needles among each other",
            f"No choice of the offered paths covers all and keeps the needles apart; {reached}; {most}.",
            "Place them one after the other, each drawn out before the next (one needle at once), or allow smaller "
            "distances.",
        )
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


def _organ_evidence(options: CoverageOptions) -> Evidence:
    assert options.least_organ_fraction is not None
    return Evidence(
        "healthy organ",
        f"No choice of ablations on the chosen paths is shown to leave {100 * options.least_organ_fraction:g} % of "
        "the organ that holds the target, the zones added up.",
        "Allow less of the organ to remain, or a smaller margin.",
    )


def limits_evidence(covering: Covering, protection: Protection) -> tuple[Evidence, ...]:
    """What keeps part of the target from being covered: structures that the zones must stay away from."""
    matrix = covering.matrix
    lacking = ~matrix.coverable
    if not lacking.any():
        return ()
    evidence = []
    for which, structure in enumerate(protection.structures):
        away = freed_by(matrix, which, structure)
        opened = np.isfinite(away) & lacking
        if not opened.any():
            continue
        gap_mm = float(structure.gap_mm(matrix.region.points_mm[opened]).min())
        farther_mm = float(away[opened].max())
        remedy = "Allow a smaller thermal margin, or a smaller margin about the target there."
        if not structure.encloses:
            remedy = (
                f"Hydrodissection that moves it {np.ceil(farther_mm):.0f} mm farther away would open these "
                f"ablations; or {remedy[0].lower()}{remedy[1:]}"
            )
        evidence.append(
            Evidence(
                structure.name,
                f"Its thermal margin of {structure.margin_mm:g} mm forbids the ablations that would cover "
                f"{100 * opened.mean():.1f} % of the balls of target plus margin; the nearest of these lies "
                f"{gap_mm:.1f} mm from it.",
                remedy,
            )
        )
    return tuple(evidence)


def coverage_proof(covering: Covering, insertions: int, certificate: str) -> CoverageProof:
    """What was proven about the number of insertions, and of which problems."""
    matrix, selection, bound = covering.matrix, covering.selection, covering.bound
    coverable = int(matrix.coverable.sum())
    offered = selection.lower_bound if np.isfinite(selection.lower_bound) else None
    choice = "no choice that keeps the needles apart" if offered is None else f"no choice of fewer than {offered:g}"
    everything = 0.0 if bound is None else float(bound.value)
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
        levels=(_first_level(insertions, everything, bound), *covering.choice.levels),
        certificate=certificate,
    )


def _first_level(insertions: int, everything: float, bound: InsertionBound | None) -> LevelOutcome:
    return LevelOutcome(
        "insertions",
        float(insertions),
        everything,
        "",
        insertions <= everything,
        "points of the solid, all feasible paths" if bound is not None else "no bound was sought",
    )


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
