"""The plan: insertions with their ablations, what they are predicted to achieve, and how it was made."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from needleplan.frames import FloatArray, unit_vector

Vector3 = tuple[float, float, float]

#: No plan has more insertions, and no insertion more ablations.
MOST_OF_EACH = 100


def vector3(values: object) -> Vector3:
    """Three finite numbers as a tuple of floats."""
    x, y, z = np.asarray(values, dtype=np.float64).tolist()
    return (float(x), float(y), float(z))


class PlanStatus(StrEnum):
    """How far the plan meets what was asked."""

    COMPLETE = "complete"  #: target plus margin is covered and every hard constraint holds
    PARTIAL = "partial"  #: every hard constraint holds but not all that was asked for is covered or known
    INFEASIBLE = "infeasible"  #: no needle path satisfies the hard constraints, or needles moved by hand break one


@dataclass(frozen=True, slots=True)
class Ablation:
    """One delivery of energy along an insertion.

    Attributes:
        tip_mm: position of the applicator's tip during the delivery, patient LPS.
        power_w: generator power; None where the generator controls it.
        duration_s: time that energy flows.
    """

    tip_mm: Vector3
    power_w: float | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class Insertion:
    """One puncture of the skin.

    Attributes:
        entry_mm: point where the needle axis passes the entry surface, patient LPS.
        tip_mm: deepest tip position, patient LPS.
        applicator: name of the applicator.
        ablations: deliveries along the path, deepest first.
        clearances_mm: least distance from needle surface to each obstacle, negative where it would be hit;
            values at the query's cap mean "at least this".
        order: place in the sequence of punctures, from 1.
    """

    entry_mm: Vector3
    tip_mm: Vector3
    applicator: str
    ablations: tuple[Ablation, ...]
    clearances_mm: dict[str, float] = field(default_factory=dict)
    order: int = 1

    @property
    def direction(self) -> FloatArray:
        """(3,) unit vector from entry to tip."""
        return unit_vector(np.subtract(self.tip_mm, self.entry_mm))

    @property
    def depth_mm(self) -> float:
        """Length from entry to tip."""
        return float(np.linalg.norm(np.subtract(self.tip_mm, self.entry_mm)))


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a set of insertions achieves by the zone model.

    Attributes:
        target_coverage_fraction: share of the target's volume inside the predicted zones.
        margin_coverage_fraction: share of the volume of target plus margin inside the zones.
        minimal_margin_mm: least signed margin over the target's surface; negative where target is left.
        over_ablation_ml: zone volume outside target plus margin.
        zone_ml: volume of the union of the zones.
        margin_mm: margin that was asked for.
        margin_error_bound_mm: the true least margin lies within this of ``minimal_margin_mm``.
    """

    target_coverage_fraction: float
    margin_coverage_fraction: float
    minimal_margin_mm: float
    over_ablation_ml: float
    zone_ml: float
    margin_mm: float
    margin_error_bound_mm: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why the plan has its status: what was asked, what was found, what would have to change."""

    subject: str
    finding: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LevelOutcome:
    """One goal of the coverage, pursued as far as those before it allow.

    Attributes:
        level: what was sought: insertions, ablations, time, margin or spared.
        value: what was reached.
        bound: nothing better exists for the problem that ``problem`` names; None where nothing is known.
        unit: unit of both.
        proven: True where value and bound agree.
        problem: what the bound speaks of.
    """

    level: str
    value: float
    bound: float | None
    unit: str
    proven: bool
    problem: str


@dataclass(frozen=True, slots=True)
class CoverageProof:
    """What the solver proved about the number of insertions, and of which problem.

    Attributes:
        solver: name of the solver.
        status: its own word for how it ended.
        insertions: number of insertions found.
        lower_bound: no selection of the feasible paths that were sampled, with whatever offered ablations along
            them, covers the solid with fewer insertions; no more than ``insertions`` where needles that were moved
            off those paths do with fewer.
        offered_bound: no selection of the offered paths covers the balls with fewer insertions; None where none of
            any size covers them and keeps the needles apart.
        gap: (insertions - lower_bound) / insertions.
        candidates: ablations offered to the solver.
        points: balls that had to be covered.
        claim: the problems that the bounds speak of, in sentences.
        levels: each goal in its order.
        certificate: what is proven of the coverage of the solid.
    """

    solver: str
    status: str
    insertions: int
    lower_bound: float
    offered_bound: float | None
    gap: float
    candidates: int
    points: int
    claim: str
    levels: tuple[LevelOutcome, ...] = ()
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class PhysicsVerdict:
    """What a solver of heat, cold, light or fields says of the insertions, all of them together.

    Attributes:
        model: the solver.
        criterion: what counts as destroyed.
        metrics: coverage and margin by it; compare with those of the plan.
        covered: True where target and margin are covered by it as well.
        rounds: times that the coverage was corrected and solved again.
        notes: where and why it differs, in sentences.
    """

    model: str
    criterion: str
    metrics: Metrics
    covered: bool
    rounds: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely something is under an error budget.

    Attributes:
        event: what, in words.
        probability: share of the scenarios in which it happens.
        low: lower confidence bound.
        high: upper confidence bound.
    """

    event: str
    probability: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the plan was made.

    Attributes:
        version: version of needleplan.
        options: every planning option by name.
        seed: seed of every random draw.
        timings_s: wall time of each stage.
        notes: statements that a reader must know (no skin, model table, mended meshes).
    """

    version: str
    options: dict[str, float | int | str | bool | None]
    seed: int
    timings_s: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan for one case.

    Attributes:
        case_name: name of the case.
        case_hash: content hash of the case that it was made for.
        status: how far it meets what was asked.
        evidence: why.
        insertions: in puncture order.
        metrics: prediction by the zone model; None where there is no insertion.
        rejected: for each hard constraint the number of candidate paths that it rejected.
        candidate_count: number of candidate paths.
        feasible_count: number that passed every hard constraint.
        proof: what the coverage solver proved; None where it was not run.
        provenance: how it was made.
        physics: what a solver says of it; None where none was asked.
        likelihoods: how likely it is to succeed, and to harm; empty where that was not asked.
    """

    case_name: str
    case_hash: str
    status: PlanStatus
    evidence: tuple[Evidence, ...]
    insertions: tuple[Insertion, ...]
    metrics: Metrics | None
    rejected: dict[str, int]
    candidate_count: int
    feasible_count: int
    proof: CoverageProof | None
    provenance: Provenance
    physics: PhysicsVerdict | None = None
    likelihoods: tuple[Likelihood, ...] = ()
