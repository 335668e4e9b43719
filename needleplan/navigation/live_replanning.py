"""What is left to do, planned again while the needles stand: all that takes long is prepared before the session."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import Protection, protect
from needleplan.coverage.region import TargetRegion, target_region
from needleplan.coverage.replanning import Replanning, replan
from needleplan.coverage.treatment_state import TreatmentState
from needleplan.errors import GeometryError, NavigationError
from needleplan.navigation.events import PlanReplaced
from needleplan.plan import Insertion, Plan, vector3
from needleplan.plan_options import options_of
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.ranking import ObjectiveWeights, default_objectives
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits, default_constraints
from needleplan.trajectory.search import SearchOptions, search_trajectories
from needleplan.trajectory.table import TrajectoryTable

#: What a session may spend on the whole search, and what it is offered: people wait with needles in the patient.
LIVE_TIME_LIMIT_S = 4.0
LIVE_POINTS = 5_000
LIVE_PATHS_PER_AIM = 40
#: Share of target and margin by which less than the plan promised still restores it: a tenth of a percent is below
#: what segmentation and measured needles tell, and no puncture is made for it. An assumption of this library.
LIVE_TOLERANCE = 0.001

ProgressCallback = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class LiveReplanning:
    """What is left to do, found during a session.

    Attributes:
        event: what the session takes where people agree.
        replanning: what is proven of it, and how it compares.
        duration_s: how long it took.
    """

    event: PlanReplaced
    replanning: Replanning
    duration_s: float


@dataclass(frozen=True, slots=True, eq=False)
class LiveReplanner:
    """All that a replanning needs and that does not change during a session.

    Attributes:
        queries: the anatomy.
        zone_model: predicts zones.
        ranked: screened and ranked paths.
        constraints: what was demanded of them.
        options: margin and what is offered.
        protection: structures that zones keep from.
        pairs: what needles keep from each other.
        region: target plus margin.
        prepared_s: how long it took to prepare all this.
    """

    queries: AnatomyQueries
    zone_model: EllipsoidTableModel
    ranked: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    options: CoverageOptions
    protection: Protection
    pairs: PairLimits
    region: TargetRegion
    prepared_s: float

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        queries: AnatomyQueries,
        zone_model: EllipsoidTableModel,
        *,
        sampling: SamplingOptions | None = None,
        search: SearchOptions | None = None,
        progress: ProgressCallback | None = None,
    ) -> "LiveReplanner":
        """Search paths by the limits with which the plan was made.

        Whether a robot reaches them is not asked again.

        Args:
            plan: what is carried out.
            queries: its anatomy.
            zone_model: the model that predicted its zones.
            sampling: how densely paths are laid out; as the plan's where None.
            search: how far they are refined; as the plan's where None.
            progress: called with what is being done and the fraction done.

        Raises:
            NavigationError: the plan is of another case, or holds no insertion, or ones of several applicators.
            OptionError: an option in the plan is impossible.
        """
        start = time.perf_counter()
        if plan.case_hash != queries.anatomy.case.content_hash:
            raise NavigationError(
                "the plan was made for other content than this case has: it may be of another patient"
            )
        names = sorted({insertion.applicator for insertion in plan.insertions})
        if len(names) != 1:
            raise NavigationError(
                f"needles of one kind are planned again, but the plan has {', '.join(names) or 'none'}"
            )
        applicator = zone_model.catalogue.applicator(names[0])
        limits = options_of(PathLimits, "limits", plan)
        constraints = default_constraints(queries, limits)
        found = search_trajectories(
            queries,
            applicator,
            constraints,
            default_objectives(queries, options_of(ObjectiveWeights, "weights", plan)),
            sampling or options_of(SamplingOptions, "sampling", plan),
            search or options_of(SearchOptions, "search", plan),
            progress=progress,
        )
        asked = options_of(CoverageOptions, "coverage", plan)
        options = dataclasses.replace(
            asked,
            time_limit_s=min(asked.time_limit_s, LIVE_TIME_LIMIT_S),
            point_count=min(asked.point_count, LIVE_POINTS),
            paths_per_aim=min(asked.paths_per_aim, LIVE_PATHS_PER_AIM),
        )
        protection = protect(queries, options_of(ThermalMargins, "thermal", plan))
        region = target_region(queries, options.margin_mm, options.point_count)
        pairs = PairLimits.for_applicator(applicator, limits)
        return cls(
            queries,
            zone_model,
            found.table,
            constraints,
            options,
            protection,
            pairs,
            region,
            time.perf_counter() - start,
        )

    def replan(
        self,
        state: TreatmentState,
        time_s: float,
        *,
        advance_mm: float = 0.0,
        refine: bool = True,
        assessed: bool = False,
    ) -> LiveReplanning:
        """The smallest change with which the rest of the treatment covers the target, from where the needles stand.

        No session is changed: it takes the event where people agree.

        Args:
            state: plan, measured needles and delivered energy, as ``LiveSession.state`` has them.
            time_s: on the session's clock.
            advance_mm: needles that stand may be pushed on by so much.
            refine: True where planned and new paths may be moved continuously; False takes screened paths alone.
            assessed: True where the least margin is computed as well, which takes longer.

        Raises:
            OptionError: the state is impossible (see ``replan``).
            NavigationError: a measured needle lies outside the body, or not deep enough to carry an ablation.
        """
        start = time.perf_counter()
        try:
            found = replan(
                state.planned,
                state.measured,
                self.queries,
                self.ranked,
                self.constraints,
                self.zone_model,
                self.options,
                delivered=state.delivered,
                protection=self.protection,
                pairs=self.pairs,
                advance_mm=advance_mm,
                refine=refine,
                assessed=assessed,
                tolerance=LIVE_TOLERANCE,
                region=self.region,
            )
        except GeometryError as error:
            raise NavigationError(f"the rest cannot be planned again: {error}") from error
        event = PlanReplaced(time_s, _all_insertions(state, found), found.sentences)
        return LiveReplanning(event, found, time.perf_counter() - start)


def _all_insertions(state: TreatmentState, found: Replanning) -> tuple[Insertion, ...]:
    """What is left to do, with the needles that were begun, each with what it has delivered already.

    Delivered ablations stay in the plan: what is due is the plan less what was delivered.
    """
    known = {one.order: one for one in state.planned}
    standing = {needle.order: needle for needle in state.measured}
    whole = {one.order: one for one in found.remaining}
    for order in sorted((standing.keys() | {one.order for one in state.delivered}) & known.keys()):
        made = tuple(ablation for one in state.delivered if one.order == order for ablation in one.ablations)
        one = whole.get(order)
        ablations = made if one is None else (*made, *one.ablations)
        base = known[order] if one is None else one
        if order in standing:
            # Places are told by their way behind the tip: that of the needle, or where it is to be pushed on to.
            needle = standing[order]
            ahead = 0.0 if one is None else float(np.subtract(one.tip_mm, needle.tip_mm) @ needle.direction)
            tip = needle.tip_mm + max(0.0, ahead) * needle.direction
            base = dataclasses.replace(base, entry_mm=vector3(needle.entry_mm), tip_mm=vector3(tip))
        whole[order] = dataclasses.replace(base, ablations=ablations)
    return tuple(whole[order] for order in sorted(whole))
