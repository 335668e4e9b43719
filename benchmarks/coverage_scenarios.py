"""The time that the probabilities of a plan take: 500 scenarios with margins, coverage and all hits.

A row of benchmarks/coverage.py. Search trees of the anatomy are built before, as planning has built them, and
kernels are compiled before.
"""

import statistics
import time
from collections.abc import Sequence

from rows import Row

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.plan import Insertion
from needleplan.uncertainty.presets import preset_budget
from needleplan.uncertainty.probability import coverage_probability

LIMIT = "limit set by this project"
LIMIT_S = 5.0
SCENARIOS = 500


def scenarios_row(queries: AnatomyQueries, insertions: Sequence[Insertion], repeats: int = 3) -> Row:
    """Median wall time of 500 scenarios of a plan with the robot's error budget, against the limit."""
    budget = preset_budget("robot")
    model = EllipsoidTableModel()
    coverage_probability(queries, insertions, model, budget, scenarios=2)
    times_s = []
    for seed in range(repeats):
        start = time.perf_counter()
        coverage_probability(queries, insertions, model, budget, scenarios=SCENARIOS, seed=seed)
        times_s.append(time.perf_counter() - start)
    return Row.against("scenarios_500_s", statistics.median(times_s), "s", LIMIT, LIMIT_S)
