"""Paths that a refinement proposes: put onto the skin, and judged by the constraints of the planner itself."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import FloatArray
from needleplan.plan import Insertion, vector3
from needleplan.trajectory.contract import TrajectoryConstraint
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

#: A needle is looked for the skin this many times its usable length, so that one too long is measured as such.
_REACH = 1.5


@dataclass(frozen=True, slots=True)
class PlanLimit:
    """A limit of a whole plan.

    Attributes:
        name: what is demanded.
        slack_mm: the least slack of insertions in mm, not negative where the limit is kept.
    """

    name: str
    slack_mm: Callable[[Sequence[Insertion]], float]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPaths:
    """Paths of one needle with what is left to each limit.

    Attributes:
        insertions: the insertions with their entries on the skin.
        slack: (n, c) what is left to each hard limit, in its unit; not negative where it is kept. Of a path that
            meets no allowed skin all are minus infinity.
        names: names of the c limits.
    """

    insertions: tuple[Insertion, ...]
    slack: FloatArray
    names: tuple[str, ...]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) True where every hard limit is kept."""
        return np.asarray((self.slack >= 0).all(axis=1))


class PathChecks:
    """The hard constraints of a plan's paths, many paths at once.

    Args:
        queries: the anatomy.
        constraints: what is demanded of paths; softened ones only cost and are not asked.
        zone_model: knows the applicators.
    """

    def __init__(
        self, queries: AnatomyQueries, constraints: Sequence[TrajectoryConstraint], zone_model: EllipsoidTableModel
    ) -> None:
        self._queries = queries
        self._constraints = tuple(constraints)
        self._catalogue = zone_model.catalogue
        #: Paths judged so far.
        self.paths = 0

    def judge(self, paths: Sequence[Insertion], on_skin: bool = True) -> JudgedPaths:
        """What is left to each limit for n paths of one applicator, at least one.

        Args:
            paths: the paths.
            on_skin: put each entry where its line meets the skin; False leaves the entries as they are.
        """
        applicator = self._catalogue.applicator(paths[0].applicator)
        tip = np.array([path.tip_mm for path in paths])
        entry = np.array([path.entry_mm for path in paths])
        direction = np.array([path.direction for path in paths])
        allowed = np.ones(len(paths), dtype=np.bool_)
        if on_skin:
            entry, allowed = self._on_skin(entry, tip, direction, _REACH * applicator.usable_length_mm)
        normal = self._queries.skin_normals.at(entry)
        aim = tip - applicator.tip_to_centre_mm * direction
        self.paths += len(paths)
        table = screen(TrajectoryTable(applicator, entry, normal, aim, tip), self._queries, self._constraints)
        hard = [column for column in table.constraints if column.hard]
        slack = np.empty((len(paths), len(hard)))
        for k, column in enumerate(hard):
            gap = column.values - column.limit
            slack[:, k] = gap if column.at_least else -gap
        slack[~allowed] = -np.inf
        placed = tuple(
            path if not on_skin else _with_entry(path, start) for path, start in zip(paths, entry, strict=True)
        )
        if not hard:
            slack = np.where(allowed, np.inf, -np.inf)[:, None]
        return JudgedPaths(placed, slack, tuple(column.name for column in hard) or ("entry on the allowed skin",))

    def _on_skin(
        self, entry: FloatArray, tip: FloatArray, direction: FloatArray, reach_mm: float
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Entries (n, 3) where the lines first leave the body, and (n,) True where one may enter there."""
        anatomy = self._queries.anatomy
        found = self._queries.tree(anatomy.entry).crossings(tip, tip - reach_mm * direction)
        met = found.count > 0
        share = np.where(met, found.parameter[:, 0], 0.0)
        face = np.maximum(found.face[:, 0], 0)
        allowed = met & anatomy.entry_faces[face]
        return np.where(met[:, None], tip - share[:, None] * reach_mm * direction, entry), allowed


def _with_entry(path: Insertion, entry: FloatArray) -> Insertion:
    return dataclasses.replace(path, entry_mm=vector3(entry), clearances_mm={})
