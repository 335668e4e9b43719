"""Real livers to be covered: a ball of 30 mm where a tumour of 10 ml is, and a tumour of 84 ml."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from coverage_balls import ball_surface

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.moments import solid_moments
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.load import load_case
from needleplan.case.model import Case, Role
from needleplan.plan import Plan
from needleplan.planning import PlanningOptions, make_plan

CASES = Path(__file__).parents[1] / "examples" / "cases"
LIVER, LARGE = CASES / "ircadb01-case01.toml", CASES / "ircadb01-case01-largest.toml"
BALL_DIAMETER_MM = 30.0


@dataclass(frozen=True, slots=True)
class TimedPlan:
    """A plan and the time that it took.

    Attributes:
        plan: the plan.
        seconds: wall time of the whole chain after the search trees.
        cpu_s: CPU time of the process meanwhile, which other work on the machine changes little.
    """

    plan: Plan
    seconds: float
    cpu_s: float

    @property
    def stages_s(self) -> dict[str, float]:
        """Wall time of each stage, and of what lies between them."""
        stages = {name: spent for name, spent in self.plan.provenance.timings_s.items() if spent > 0}
        return {**stages, "between the stages": max(0.0, self.seconds - sum(stages.values()))}

    @property
    def proven(self) -> bool:
        """True where target and margin are covered and fewer insertions are proven not to do."""
        proof = self.plan.proof
        return proof is not None and self.plan.status == "complete" and proof.lower_bound >= proof.insertions


def ball_in_liver(case: Case, diameter_mm: float = BALL_DIAMETER_MM) -> Case:
    """The case with its target replaced by a ball about the target's centroid; all else stays."""
    middle = solid_moments(build_anatomy(case).target.mesh).centroid_mm
    surface = ball_surface(np.asarray(middle), 0.5 * diameter_mm, 4)
    structures = tuple(
        dataclasses.replace(structure, geometry=surface) if structure.role is Role.TARGET else structure
        for structure in case.structures
    )
    return dataclasses.replace(case, name=f"{case.name}, ball of {diameter_mm:g} mm", structures=structures)


def liver_ball_queries(data: Path) -> AnatomyQueries:
    """The real liver with a ball of 30 mm in place of its tumour of 10 ml."""
    return AnatomyQueries(build_anatomy(ball_in_liver(load_case(LIVER, data))))


def large_tumour_queries(data: Path) -> AnatomyQueries:
    """The real liver whose target is its tumour of 84 ml."""
    return AnatomyQueries(build_anatomy(load_case(LARGE, data)))


def timed_plan(queries: AnatomyQueries, options: PlanningOptions) -> TimedPlan:
    """One plan; search trees are built at the first plan of an anatomy and stay."""
    start, cpu_start = time.perf_counter(), time.process_time()
    plan = make_plan(queries, options).plan
    return TimedPlan(plan, time.perf_counter() - start, time.process_time() - cpu_start)


def stage_medians_s(plans: Sequence[TimedPlan]) -> dict[str, float]:
    """Median over the runs of every stage."""
    names = dict.fromkeys(name for one in plans for name in one.stages_s)
    return {name: float(np.median([one.stages_s.get(name, 0.0) for one in plans])) for name in names}
