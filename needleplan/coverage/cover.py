"""From ranked paths to insertions with their ablations: build, solve, prove. One call, no hidden state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.moments import solid_moments
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.ablations import AblationChoice, choose_ablations
from needleplan.coverage.bound import InsertionBound, bound_insertions
from needleplan.coverage.contract import CoverageSolver, PathSelection
from needleplan.coverage.integer_program import IntegerProgramSolver
from needleplan.coverage.matrix import CoverageMatrix, build_coverage, swept_zones
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.plan import Insertion
from needleplan.trajectory.table import TrajectoryTable

#: Share of the time limit that the proof over all paths may take.
_BOUND_SHARE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Covering:
    """A solved coverage.

    Attributes:
        matrix: what was offered.
        selection: the paths.
        choice: the ablations along them.
        bound: the proof over all feasible paths; None where it was not asked for.
    """

    matrix: CoverageMatrix
    selection: PathSelection
    choice: AblationChoice
    bound: InsertionBound | None

    @property
    def insertions(self) -> tuple[Insertion, ...]:
        """The insertions, not yet in puncture order."""
        return self.choice.insertions

    @property
    def complete(self) -> bool:
        """True where every ball lies in one zone, which covers the solid."""
        return bool(self.matrix.coverable.all()) and not len(self.selection.uncovered)


def cover_target(
    ranked: TrajectoryTable,
    queries: AnatomyQueries,
    zone_model: EllipsoidTableModel,
    options: CoverageOptions | None = None,
    solver: CoverageSolver | None = None,
    *,
    protection: Protection | None = None,
    pairs: PairLimits | None = None,
    region: TargetRegion | None = None,
    placed: Sequence[Insertion] = (),
    with_bound: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Covering:
    """Choose insertions and ablations that cover the target with its margin.

    Args:
        ranked: screened and ranked paths.
        queries: the anatomy.
        zone_model: predicts the zones.
        options: goals, margins, what is offered.
        solver: chooses the paths; HiGHS where None.
        protection: structures that no zone must come near; None protects none.
        pairs: what two needles in the patient must keep from each other; None demands nothing.
        region: what must be destroyed; target and margin where None. The bound takes the middles of all its balls
            for points to be destroyed.
        placed: needles in the patient already, along which may be treated without another insertion.
        with_bound: True where the number of insertions is to be bounded over all feasible paths as well.
        progress: called with what is being done and the fraction done.

    Raises:
        OptionError: no path is feasible, or an option is impossible.
    """
    options = options or CoverageOptions()
    solver = solver or IntegerProgramSolver(options.time_limit_s, most_nodes=options.most_nodes)
    region = region or target_region(queries, options.margin_mm, options.point_count)
    matrix = build_coverage(
        ranked,
        queries,
        zone_model,
        options,
        progress,
        protection=protection,
        pairs=pairs,
        region=region,
        placed=placed,
    )
    selection = solver.solve(matrix, options.maximum_insertions)
    bound = None
    if with_bound and not placed and len(ranked):
        swept = swept_zones(ranked, queries, zone_model, options)
        found = matrix.insertions_of(selection.paths)
        limit_s = _BOUND_SHARE * options.time_limit_s
        bound = bound_insertions(swept, region.points_mm, found, limit_s, most_nodes=options.most_nodes)
    choice = choose_ablations(matrix, selection, options, _healthy_limit_ml(queries, options))
    return Covering(matrix, selection, choice, bound)


def _healthy_limit_ml(queries: AnatomyQueries, options: CoverageOptions) -> float | None:
    """Healthy volume of the target's organ that may be destroyed; None where none is asked to stay."""
    host = queries.host_organ
    if options.least_organ_fraction is None or host is None:
        return None
    organ_ml = solid_moments(host.mesh).volume_mm3 / 1000.0
    return max(0.0, (1.0 - options.least_organ_fraction) * organ_ml)
