"""The study of a case's paths: which there are, what rejects the others, what would open one, what decided."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan import __version__
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.devices.catalogue import Applicator
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.contract import RespiratoryMotion
from needleplan.plan import Evidence, Vector3, vector3
from needleplan.planning import PlanningOptions
from needleplan.trajectory.breathing import BreathClearances, clearances_over_breath
from needleplan.trajectory.comparison import Comparison, compare_with_runners_up
from needleplan.trajectory.explanation import explain_rejections
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.ranking import default_objectives
from needleplan.trajectory.relaxation import Relaxations, smallest_relaxations
from needleplan.trajectory.screening import default_constraints
from needleplan.trajectory.search import SearchResolution, search_trajectories
from needleplan.trajectory.skin_map import SkinMap, map_skin
from needleplan.trajectory.table import TrajectoryTable

#: Choices beside the best one that are listed.
_RUNNERS_UP = 4


@dataclass(frozen=True, slots=True)
class BreathOfPath:
    """A path that stays where it was aimed while the patient breathes; see ``BreathClearances``.

    Attributes:
        motion: the breathing.
        least_mm: least clearance to each obstacle over the breath, never over-stated.
        safe_share: part of the time at which every clearance holds.
        gate_mm: tolerance of an amplitude gate about end-exhale within which the path is always safe.
        windows_s: begin and end of each window of safe time within ``span_s``.
        span_s: time that was looked at.
    """

    motion: str
    least_mm: dict[str, float]
    safe_share: float
    gate_mm: float
    windows_s: tuple[tuple[float, float], ...]
    span_s: float


@dataclass(frozen=True, slots=True)
class ListedPath:
    """A feasible path with everything that was measured of it.

    Attributes:
        entry_mm: where it enters, patient LPS.
        tip_mm: where it ends, patient LPS.
        length_mm: from entry to tip.
        cost: its weighted cost.
        constraints: what each constraint measured.
        objectives: what each objective measured.
        breath: the same path over the breath; None where no breathing was asked for.
    """

    entry_mm: Vector3
    tip_mm: Vector3
    length_mm: float
    cost: float
    constraints: dict[str, float]
    objectives: dict[str, float]
    breath: BreathOfPath | None = None


@dataclass(frozen=True, slots=True)
class PathStudy:
    """What was found about the paths of a case; written as paths.json.

    Attributes:
        case_name: name of the case.
        case_hash: its content hash.
        applicator: name of the applicator.
        made_by: version of needleplan.
        feasible: whether any path is.
        evidence: why none is; empty where one is.
        candidates: number of candidate paths.
        resolution: which paths the search cannot have missed.
        feasible_count: number that pass every hard constraint.
        front_count: number of those on the Pareto front.
        rejected_by: for each hard constraint the number of candidates that fail it.
        rejected_only_by: for each hard constraint the number of candidates that fail nothing else.
        entries: number of entries examined.
        open_entries: number of those where a feasible path starts.
        blocked_entries: for each constraint the number of entries that it blocks.
        best: the best path and the next distinct choices.
        comparison: what decided between them; None where no path is feasible.
        relaxations: the smallest changes of limits that open a candidate that is rejected now.
        sentences: all of it in words.
        options: every option by name.
        timings_s: wall time of each step.
        skin: the skin map.
    """

    case_name: str
    case_hash: str
    applicator: str
    made_by: str
    feasible: bool
    evidence: tuple[Evidence, ...]
    candidates: int
    resolution: SearchResolution
    feasible_count: int
    front_count: int
    rejected_by: dict[str, int]
    rejected_only_by: dict[str, int]
    entries: int
    open_entries: int
    blocked_entries: dict[str, int]
    best: tuple[ListedPath, ...]
    comparison: Comparison | None
    relaxations: Relaxations
    sentences: tuple[str, ...]
    options: dict[str, float | int | str | bool | None]
    timings_s: dict[str, float]
    skin: SkinMap


def study_paths(
    queries: AnatomyQueries,
    applicator: Applicator,
    options: PlanningOptions,
    timings_s: dict[str, float] | None = None,
    motion: RespiratoryMotion | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> PathStudy:
    """Search and explain the paths of a case.

    Args:
        queries: the anatomy.
        applicator: the applicator.
        options: sampling, search, limits and weights.
        timings_s: times of earlier stages, to be kept.
        motion: breathing over which the listed paths are followed, if any.
        progress: called with what is being done and the fraction done.

    Raises:
        NeedleplanError: an option is impossible for this case.
    """
    times = dict(timings_s or {})
    start = time.perf_counter()

    def done(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        times[name], start = round(now - start, 4), now

    constraints = default_constraints(queries, options.limits)
    search = search_trajectories(
        queries,
        applicator,
        constraints,
        default_objectives(queries, options.weights),
        options.sampling,
        options.search,
        progress=progress,
    )
    table = search.table
    done("search")
    measured = MeasuredPaths(table, queries)
    skin = map_skin(table, constraints)
    feasible = bool(table.feasible.any())
    evidence = () if feasible else explain_rejections(table, queries, constraints, measured)
    relaxations = smallest_relaxations(table, queries, constraints, measured)
    comparison = compare_with_runners_up(table, count=_RUNNERS_UP) if feasible else None
    done("explain")
    case = queries.anatomy.case
    rows = [] if comparison is None else [comparison.row, *(other.row for other in comparison.runners_up)]
    breath: list[BreathOfPath | None] = [None] * len(rows)
    if motion is not None and rows:
        tissue = TissueMotion(queries.anatomy, motion)
        breath = list(_over_breath(clearances_over_breath(table, queries, tissue, constraints, rows), motion.name))
        done("breath")
    return PathStudy(
        case_name=case.name,
        case_hash=case.content_hash,
        applicator=applicator.name,
        made_by=__version__,
        feasible=feasible,
        evidence=evidence,
        candidates=len(table),
        resolution=search.resolution,
        feasible_count=int(table.feasible.sum()),
        front_count=0 if table.front is None else int(table.front.sum()),
        rejected_by=table.rejected_by(),
        rejected_only_by=table.rejected_only_by(),
        entries=len(skin),
        open_entries=int(skin.open.sum()),
        blocked_entries=skin.blocked_counts(),
        best=tuple(_listed(table, row, moving) for row, moving in zip(rows, breath, strict=True)),
        comparison=comparison,
        relaxations=relaxations,
        sentences=(*_sentences(comparison, relaxations, evidence), search.resolution.sentence),
        options=_options_of_paths(options),
        timings_s=times,
        skin=skin,
    )


def _options_of_paths(options: PlanningOptions) -> dict[str, float | int | str | bool | None]:
    """The options that decide about paths, by their full names."""
    kept = {field.name for field in dataclasses.fields(options)} - {"coverage", "seed", "setting"}
    return {name: value for name, value in options.flat().items() if name.split(".")[0] in kept}


def _over_breath(found: BreathClearances, motion: str) -> Iterator[BreathOfPath]:
    for path in range(len(found)):
        least = np.round(found.least_mm[path], 4).tolist()
        yield BreathOfPath(
            motion,
            dict(zip(found.obstacles, least, strict=True)),
            float(found.safe_share[path]),
            float(found.gate_mm[path]),
            tuple((float(begin), float(end)) for begin, end in np.round(found.windows_s(path), 3)),
            found.span_s,
        )


def _listed(table: TrajectoryTable, row: int, breath: BreathOfPath | None) -> ListedPath:
    assert table.cost is not None
    return ListedPath(
        vector3(table.entry_mm[row]),
        vector3(table.tip_mm[row]),
        float(table.length_mm[row]),
        float(table.cost[row]),
        {column.name: float(np.round(column.values[row], 4)) for column in table.constraints},
        {column.name: float(np.round(column.values[row], 4)) for column in table.objectives},
        breath,
    )


def _sentences(
    comparison: Comparison | None, relaxations: Relaxations, evidence: Sequence[Evidence]
) -> tuple[str, ...]:
    """What decided where a path is feasible, and why none is where none is."""
    if comparison is not None:
        return (*comparison.sentences, *(found.sentence for found in relaxations.found))
    return tuple(f"{item.subject}: {item.finding} {item.remedy}".strip() for item in evidence)
