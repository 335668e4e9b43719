"""The probability that a plan does what it says when its needles err."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.model import StructureSurface
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.case.model import Role
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion
from needleplan.uncertainty.binomial import CountedProbability, require_confidence
from needleplan.uncertainty.error_budget import ErrorBudget
from needleplan.uncertainty.needle_hits import needle_hits
from needleplan.uncertainty.scenario_zones import ModelScenarios, ScenarioZones, SpheroidScenarios, distinct_points
from needleplan.uncertainty.scenarios import Scenarios, sample_scenarios

#: Points of the target's surface are at most this far apart along a face: nearer than for a single score, because
#: what lies between them decides in more scenarios the farther they are apart.
SURFACE_SPACING_MM = 0.5
#: Structures whose harm by heat counts; vessels cool themselves, and bone is often treated.
REACH_ROLES = frozenset({Role.CRITICAL, Role.BOWEL, Role.AIRWAY, Role.LUNG, Role.ORGAN})


@dataclass(frozen=True, slots=True)
class MarginLevel:
    """The probability that the margin about the whole target reaches a level.

    Attributes:
        level_mm: the margin asked for; 0 asks that the target is covered.
        reached: how often it is.
    """

    level_mm: float
    reached: CountedProbability


@dataclass(frozen=True, slots=True)
class StructureRisk:
    """What may happen to one structure.

    Attributes:
        name: its name.
        role: its role.
        needle: how often any needle's surface comes nearer than 0 mm.
        needle_in_plan: True where a needle of the plan does without any error.
        zone: how often the lethal zone reaches it; None for structures whose harm by heat is not counted.
        zone_in_plan: True where the zone of the plan may reach it without any error; None where ``zone`` is.
    """

    name: str
    role: Role
    needle: CountedProbability
    needle_in_plan: bool
    zone: CountedProbability | None
    zone_in_plan: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class CoverageProbability:
    """What n scenarios of erring needles come to.

    Attributes:
        levels: for each margin asked for, ascending, how often it is reached.
        planned_margin_mm: least signed margin without any error, as ``margins_mm``.
        margins_mm: (n,) least signed margin over the sampled points of the target's surface; never overstated
            at these points.
        greatest_margins_mm: (n,) the same, never understated: where a crease of several zones holds the least
            margin, the truth lies between the two.
        margin_error_bound_mm: over the whole surface the least margin may lie lower by up to this.
        cavity_bound_mm: an uncovered cavity within the target that no sampled point shows holds no ball larger
            than this; 0 where the zones cannot enclose one.
        target_fractions: (n,) covered share of the target's volume.
        risks: of every obstacle and of every organ but the target's own.
        confidence: of all bounds.
        seed: of the draws.
        budget: the errors.
    """

    levels: tuple[MarginLevel, ...]
    planned_margin_mm: float
    margins_mm: FloatArray
    greatest_margins_mm: FloatArray
    margin_error_bound_mm: float
    cavity_bound_mm: float
    target_fractions: FloatArray
    risks: tuple[StructureRisk, ...]
    confidence: float
    seed: int
    budget: ErrorBudget

    def __post_init__(self) -> None:
        for name in ("margins_mm", "greatest_margins_mm", "target_fractions"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def scenarios(self) -> int:
        """Number n of scenarios."""
        return len(self.margins_mm)

    def reached(self, level_mm: float) -> CountedProbability:
        """How often a margin is reached; 0 asks that the whole target is covered.

        Raises:
            OptionError: that level was not asked for.
        """
        for level in self.levels:
            if level.level_mm == level_mm:
                return level.reached
        known = ", ".join(f"{level.level_mm:g}" for level in self.levels)
        raise OptionError(f"the margin level {level_mm:g} mm was not asked for, only {known} mm")

    @property
    def mean_target_fraction(self) -> float:
        """Expected covered share of the target's volume."""
        return float(self.target_fractions.mean())

    def margin_quantile_mm(self, share: float) -> float:
        """The least margin that the given share of the scenarios stays below.

        Raises:
            OptionError: the share is not between 0 and 1.
        """
        if not 0 <= share <= 1:
            raise OptionError(f"a quantile needs a share between 0 and 1, not {share!r}")
        return float(np.quantile(self.margins_mm, share, method="inverted_cdf"))

    def risk(self, name: str) -> StructureRisk:
        """The risk of the structure of that name; raises OptionError where there is none."""
        for risk in self.risks:
            if risk.name == name:
                return risk
        raise OptionError(f"no risk was counted for {name!r}, only for {', '.join(r.name for r in self.risks)}")


def coverage_probability(
    queries: AnatomyQueries,
    insertions: Sequence[Insertion],
    zone_model: ZoneModel,
    budget: ErrorBudget,
    levels_mm: Sequence[float] = (0.0, 5.0),
    scenarios: int = 500,
    seed: int = 0,
    *,
    confidence: float = 0.95,
    measured: Sequence[int] = (),
    tissue: TissueMap | None = None,
    catalogue: DeviceCatalogue | None = None,
) -> CoverageProbability:
    """How probable it is that a plan covers its target, keeps its margin and hits nothing.

    A level counts as surely reached in a scenario where the margin at every sampled point of the target's surface
    exceeds it by the distance within which every other point has a sampled one (a signed distance changes by at
    most 1 mm a millimetre), and where every sampled point of the inside is covered; as possibly reached where no
    sampled point shows the contrary.

    Zones move rigidly with their needles. A model of spheroids is asked once, for the plan; any other model is
    asked again in every scenario.

    Args:
        queries: the anatomy.
        insertions: the plan, with at least one ablation.
        zone_model: predicts the lethal zone.
        budget: the errors.
        levels_mm: margins asked for, each from 0 up.
        scenarios: number of scenarios.
        seed: of the draws; the same for plans that are to be compared.
        confidence: of the bounds of every probability.
        measured: indices of needles in place, which land where they are.
        tissue: tissues and vessels of the patient, for models that ask for them.
        catalogue: applicators with their radii; the zone model's own, or the built-in one, by default.

    Raises:
        OptionError: there is no ablation, or an option is out of range.
    """
    wanted = _checked_levels(levels_mm)
    require_confidence(confidence)
    if not any(insertion.ablations for insertion in insertions):
        raise OptionError("there is no ablation whose coverage could be probable: the insertions deliver no energy")
    axes = queries.anatomy.axes
    # The plan itself goes first, so that everything is known of it as well.
    placed = sample_scenarios(insertions, budget, axes, scenarios, seed, measured).after(
        sample_scenarios(insertions, ErrorBudget(), axes, 1, seed)
    )
    if catalogue is None:
        catalogue = zone_model.catalogue if isinstance(zone_model, EllipsoidTableModel) else builtin_catalogue()
    points, spacing_mm = distinct_points(*surface_points(queries.anatomy.target.mesh, SURFACE_SPACING_MM))
    inner, cube_mm3 = queries.target_points_mm(0.0)
    at_risk = _structures_at_risk(queries)
    heated = [surface for surface in at_risk if surface.role in REACH_ROLES]
    zones = _zones(zone_model, placed, tissue)
    scores = zones.scores(queries, points, inner, heated)
    whole = scores.fractions == 1.0

    def counted(certain: NDArray[np.bool_], possible: NDArray[np.bool_]) -> CountedProbability:
        return CountedProbability(int(certain[1:].sum()), int(possible[1:].sum()), scenarios, confidence)

    levels = tuple(
        MarginLevel(
            level, counted(whole & (scores.low_mm - spacing_mm >= level), whole & (scores.high_mm >= level))
        )
        for level in wanted
    )
    reach = {
        surface.name: (sure, perhaps)
        for surface, sure, perhaps in zip(heated, scores.reached, scores.perhaps_reached, strict=True)
    }
    risks = []
    for surface in at_risk:
        hit: NDArray[np.bool_] = np.logical_or.reduce(needle_hits(queries, placed, surface, catalogue), axis=1)
        zone = reach.get(surface.name)
        risks.append(
            StructureRisk(
                surface.name,
                surface.role,
                counted(hit, hit),
                bool(hit[0]),
                None if zone is None else counted(*zone),
                None if zone is None else bool(zone[1][0]),
            )
        )
    return CoverageProbability(
        levels,
        float(scores.low_mm[0]),
        scores.low_mm[1:],
        scores.high_mm[1:],
        spacing_mm,
        0.5 * float(np.sqrt(3.0) * np.cbrt(cube_mm3)) if zones.may_enclose_cavities else 0.0,
        scores.fractions[1:],
        tuple(risks),
        confidence,
        seed,
        budget,
    )


def _zones(zone_model: ZoneModel, scenarios: Scenarios, tissue: TissueMap | None) -> ScenarioZones:
    if isinstance(zone_model, EllipsoidTableModel):
        return SpheroidScenarios.of_table(zone_model, scenarios)
    return ModelScenarios(zone_model, scenarios, tissue)


def _structures_at_risk(queries: AnatomyQueries) -> tuple[StructureSurface, ...]:
    """Every obstacle, and every organ but the one that holds the target: needles must pass into that."""
    anatomy = queries.anatomy
    return tuple(
        surface
        for surface in anatomy.surfaces
        if surface.role.is_obstacle or (surface.role is Role.ORGAN and surface is not queries.host_organ)
    )


def _checked_levels(levels_mm: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(sorted({float(level) for level in levels_mm}))
    if not levels or not all(np.isfinite(level) and level >= 0 for level in levels):
        raise OptionError(f"margin levels must be numbers from 0 mm up, at least one, not {tuple(levels_mm)!r}")
    return levels
