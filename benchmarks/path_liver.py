"""The real liver: 100 000 candidates screened and ranked, some checked, and one path moved by hand."""

from dataclasses import dataclass
from pathlib import Path

import brute_force
import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.phantom_files import save_phantom
from needleplan.case.load import load_case
from needleplan.planning import PlanningOptions
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.contract import TrajectoryConstraint, TrajectoryObjective
from needleplan.trajectory.editor import TrajectoryEditor
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import default_constraints, screen
from needleplan.trajectory.search import TrajectorySearch, search_trajectories
from needleplan.trajectory.table import TrajectoryTable

REAL_CASE = Path(__file__).parents[1] / "examples" / "cases" / "ircadb01-case01.toml"
APPLICATOR = "generic-mwa-2450"


@dataclass(frozen=True, slots=True, eq=False)
class RankingTask:
    """Candidates of a case, with what is asked of them.

    Attributes:
        queries: the case's anatomy.
        table: the candidates.
        constraints: the default ones.
        objectives: the default ones.
    """

    queries: AnatomyQueries
    table: TrajectoryTable
    constraints: tuple[TrajectoryConstraint, ...]
    objectives: tuple[TrajectoryObjective, ...]

    def ranked(self) -> TrajectoryTable:
        """Every column, the cost, the front and the order of all candidates, measured anew."""
        paths = MeasuredPaths(self.table, self.queries)
        table = screen(self.table, self.queries, self.constraints, measured=paths)
        table = rank(table, self.queries, self.objectives, measured=paths)
        table.order()
        return table

    def searched(self) -> TrajectorySearch:
        """The complete search that ``needleplan plan`` runs by default, everything included but the trees."""
        options = PlanningOptions()
        return search_trajectories(
            self.queries, self.table.applicator, self.constraints, self.objectives, options.sampling, options.search
        )

    @property
    def face_count(self) -> int:
        """Faces of all structures."""
        return sum(len(surface.mesh.faces) for surface in self.queries.anatomy.surfaces)


def real_queries(data: Path) -> AnatomyQueries:
    """The anatomy of the real liver."""
    return AnatomyQueries(build_anatomy(load_case(REAL_CASE, data)))


def phantom_queries(folder: Path, voxel_mm: float) -> AnatomyQueries:
    """The anatomy of the built-in patient, by way of files in ``folder``."""
    phantom = make_phantom(PhantomParameters(), np.random.default_rng(1))
    return AnatomyQueries(build_anatomy(load_case(save_phantom(phantom, folder, voxel_mm), None)))


def ranking_task(queries: AnatomyQueries, candidates: int) -> RankingTask:
    """Exactly ``candidates`` candidates, evenly taken from a slightly denser sampling."""
    applicator = EllipsoidTableModel().catalogue.applicator(APPLICATOR)
    options = SamplingOptions(entry_spacing_mm=3.0, aim_count=50, maximum_candidates=int(1.3 * candidates))
    sampled = sample_trajectories(queries, applicator, options)
    rows = np.linspace(0, len(sampled) - 1, candidates).round().astype(int)
    return RankingTask(queries, sampled.subset(rows), default_constraints(queries), default_objectives(queries))


def wrong_clearances(task: RankingTask, ranked: TrajectoryTable, count: int) -> tuple[int, int]:
    """How many of ``count`` candidates have a wrong decision on a clearance, and the number of faces gone through.

    The needle's axis must keep radius and margin from every obstacle, whose inside belongs to it.
    """
    rows = np.linspace(0, len(ranked) - 1, count).round().astype(int)
    entry, tip = ranked.entry_mm[rows], ranked.tip_mm[rows]
    wrong, faces = np.zeros(len(rows), dtype=bool), 0
    for constraint in task.constraints:
        if not isinstance(constraint, Clearance):
            continue
        surface = constraint.surface
        demanded = constraint.limit_mm + ranked.applicator.radius_mm
        distance = brute_force.distances_mm(surface.mesh, entry, tip, demanded + 1.0)
        distance[task.queries.tree(surface).contains(entry)] = 0.0
        passed = ranked.constraint(constraint.name).passed[rows]
        wrong |= (passed != (distance >= demanded)) & (np.abs(distance - demanded) > 1e-9)
        faces += len(surface.mesh.faces)
    return int(wrong.sum()), faces


class DraggedPath:
    """The best path of a ranked table under a user's hand, moved to and fro by some millimetres."""

    def __init__(self, task: RankingTask, ranked: TrajectoryTable) -> None:
        order = ranked.order()
        first = int(order[0]) if len(order) else 0
        self._entry, self._tip = ranked.entry_mm[first], ranked.tip_mm[first]
        self._editor = TrajectoryEditor(
            task.queries, task.constraints, task.objectives, ranked.applicator, self._entry, self._tip
        )
        self._step = 0

    def move(self) -> None:
        """One update: entry and tip in turn, never twice to the same place."""
        self._step += 1
        angle = 0.7 * self._step
        offset = (2.0 + self._step % 7) * np.array([np.cos(angle), np.sin(angle), np.sin(1.7 * angle)])
        if self._step % 2:
            self._editor.move_entry(self._entry + offset)
        else:
            self._editor.move_tip(self._tip + offset)
