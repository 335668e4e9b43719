"""What a treatment left, seen on the image after it, and the fewest insertions that make up for it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.measured_zone import JoinedZone
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import Assessment, assess_zone
from needleplan.coverage.bound import bound_insertions
from needleplan.coverage.certificate import CoverageCertificate
from needleplan.coverage.contract import CoverageSolver
from needleplan.coverage.cover import Covering, cover_target
from needleplan.coverage.matrix import swept_zones
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.coverage.region_certificate import certify_region
from needleplan.percentages import percent_down, percent_up
from needleplan.plan import Insertion
from needleplan.trajectory.table import TrajectoryTable

#: Margin below which the share of the surface is stated, as reports of thermal ablations usually do.
REPORTED_MARGIN_MM = 5.0
#: Share of the time limit that the proof over all paths may take.
_BOUND_SHARE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class TouchUp:
    """What was achieved, what is left, and what is to be done about it.

    Attributes:
        achieved: margins and coverage of the zone that was seen, less its errors.
        short_share: share of the target's surface with a margin below ``REPORTED_MARGIN_MM``.
        bare_share: share of it that the zone does not hold.
        before: what is proven of that zone.
        left: balls of target plus margin that do not lie in it as a whole; none where it is proven to hold them.
        insertions: the fewest further ones that were found, numbered from 1; none where nothing is to be done, or
            nothing can be.
        covering: how they were chosen; None where nothing is to be done.
        after: what is proven of the zone that was seen and those of the insertions together.
        expected: margins and coverage of these together.
        lower_bound: no choice of any feasible paths destroys what it can of the points that were left with fewer
            insertions.
    """

    achieved: Assessment
    short_share: float
    bare_share: float
    before: CoverageCertificate
    left: TargetRegion
    insertions: tuple[Insertion, ...]
    covering: Covering | None
    after: CoverageCertificate
    expected: Assessment
    lower_bound: int

    @property
    def needed(self) -> bool:
        """False where the margin is proven to be reached."""
        return not self.before.covered

    @property
    def complete(self) -> bool:
        """True where target and margin are proven to be covered in the end."""
        return self.after.covered

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was achieved, what is left and what is to be done."""
        metrics, expected = self.achieved.metrics, self.expected.metrics
        said = [
            f"The least margin is {metrics.minimal_margin_mm:.1f} mm; {percent_up(self.short_share)} of the "
            f"target's surface has less than {REPORTED_MARGIN_MM:g} mm and {percent_up(self.bare_share)} is not "
            "held by the zone.",
            f"{percent_down(metrics.target_coverage_fraction)} of the target is destroyed, and "
            f"{percent_down(metrics.margin_coverage_fraction)} of it with {metrics.margin_mm:.1f} mm about it.",
        ]
        if not self.needed:
            return (*said, f"The margin of {metrics.margin_mm:.1f} mm is reached: nothing is left to do.")
        if not self.insertions:
            return (*said, "No offered path reaches what is left.")
        count = len(self.insertions)
        ablations = sum(len(one.ablations) for one in self.insertions)
        said.append(
            f"{count} insertion{'s' if count > 1 else ''} with {ablations} ablation{'s' if ablations > 1 else ''} "
            f"make{'s' if count == 1 else ''} up for what can be reached of it; no choice of feasible paths does "
            f"with fewer than {self.lower_bound}. The least margin is then {expected.minimal_margin_mm:.1f} mm."
        )
        return (*said, f"Target and margin then: {self.after.sentence}.")


def touch_up(
    queries: AnatomyQueries,
    zone: LethalZone,
    ranked: TrajectoryTable,
    zone_model: EllipsoidTableModel,
    options: CoverageOptions | None = None,
    *,
    protection: Protection | None = None,
    pairs: PairLimits | None = None,
    solver: CoverageSolver | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> TouchUp:
    """Judge a zone that was seen after a treatment, and plan what it left.

    Args:
        queries: the anatomy as it was planned on.
        zone: what was destroyed, in the same frame; a ``MeasuredZone`` takes off the errors of its surface and of
            the registration of the image.
        ranked: screened and ranked paths.
        zone_model: predicts the zones of further ablations.
        options: margin that must be reached, and what is offered.
        protection: structures that no further zone must come near; None protects none.
        pairs: what two needles in the patient must keep from each other; None demands nothing.
        solver: chooses the paths; HiGHS where None.
        progress: called with what is being done and the fraction done.

    Raises:
        OptionError: something is left and no path is feasible.
    """
    options = options or CoverageOptions()
    region = target_region(queries, options.margin_mm, options.point_count)
    before, _ = certify_region(queries, zone, region)
    achieved = assess_zone(queries, zone, options.margin_mm)
    short, bare = _surface_shares(queries, achieved)
    if before.covered:
        nothing = region.part(np.zeros(len(region), dtype=np.bool_))
        return TouchUp(achieved, short, bare, before, nothing, (), None, before, achieved, 0)
    left = region.without(zone)
    covering = cover_target(
        ranked,
        queries,
        zone_model,
        options,
        solver,
        protection=protection,
        pairs=pairs,
        region=left,
        with_bound=False,
        progress=progress,
    )
    insertions = tuple(
        dataclasses.replace(insertion, order=order) for order, insertion in enumerate(covering.insertions, start=1)
    )
    joined: LethalZone = JoinedZone(zone, zone_model.zone(insertions)) if insertions else zone
    after, _ = certify_region(queries, joined, region)
    expected = assess_zone(queries, joined, options.margin_mm) if insertions else achieved
    bound = _lower_bound(queries, zone, ranked, zone_model, options, left, len(insertions))
    return TouchUp(achieved, short, bare, before, left, insertions, covering, after, expected, bound)


def _lower_bound(
    queries: AnatomyQueries,
    zone: LethalZone,
    ranked: TrajectoryTable,
    zone_model: EllipsoidTableModel,
    options: CoverageOptions,
    left: TargetRegion,
    found: int,
) -> int:
    """Fewest insertions over all feasible paths.

    Balls that the zone holds in part need not be destroyed again as a whole: only middles that it does not hold
    at all can prove anything.
    """
    missed = left.points_mm[zone.signed_distance_mm(left.points_mm) < 0.0]
    if not len(missed) or not found:
        return 0
    swept = swept_zones(ranked, queries, zone_model, options)
    limit_s = _BOUND_SHARE * options.time_limit_s
    return bound_insertions(swept, missed, found, limit_s, most_nodes=options.most_nodes).value


def _surface_shares(queries: AnatomyQueries, assessment: Assessment) -> tuple[float, float]:
    """Shares of the target's surface with a margin below the reported one, and below zero.

    Each corner of a face stands for a third of it.
    """
    mesh = queries.anatomy.target.mesh
    areas = np.linalg.norm(mesh.area_vectors_mm2, axis=1)
    margins = assessment.vertex_margins_mm[mesh.faces]
    weights = areas / (3.0 * areas.sum())
    short = float(((margins < REPORTED_MARGIN_MM).sum(axis=1) * weights).sum())
    return short, float(((margins < 0.0).sum(axis=1) * weights).sum())
