"""One path under the hand of a user: moved, measured anew at once, undone, and snapped to a feasible one."""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.devices.catalogue import Applicator
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray
from needleplan.trajectory.arcs import arcs_followed_mm
from needleplan.trajectory.contract import DeflectionModel, TrajectoryConstraint, TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.ranking import rank
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

#: Steps that can be undone; older ones are forgotten.
HISTORY = 1000
#: Ends of a path nearer than this to each other give it no direction.
SHORTEST_MM = 1e-3
#: Candidates that ``snap`` measures at first, nearest first; twice as many each further time.
_FIRST_CANDIDATES = 16


@dataclass(frozen=True, slots=True, eq=False)
class EditedPath:
    """A path and all that is known of it; each move makes another.

    Attributes:
        table: a screened and ranked table of this one path: every column of constraints and objectives.
        entry_locked: True where the entry must not move.
        tip_locked: True where the tip must not move.
    """

    table: TrajectoryTable
    entry_locked: bool = False
    tip_locked: bool = False

    @property
    def entry_mm(self) -> FloatArray:
        """(3,) entry."""
        return self.table.entry_mm[0]

    @property
    def entry_normal(self) -> FloatArray:
        """(3,) outward normal of the skin there."""
        return self.table.entry_normal[0]

    @property
    def aim_mm(self) -> FloatArray:
        """(3,) middle of the zone."""
        return self.table.aim_mm[0]

    @property
    def tip_mm(self) -> FloatArray:
        """(3,) tip."""
        return self.table.tip_mm[0]

    @property
    def feasible(self) -> bool:
        """True where every hard constraint is satisfied."""
        return bool(self.table.feasible[0])

    @property
    def cost(self) -> float:
        """Weighted cost; infinite where the path is not feasible."""
        return float(np.inf if self.table.cost is None else self.table.cost[0])


class TrajectoryEditor:
    """Moves the ends of one path; the other end stays where it is.

    The columns are those of ``screen`` and ``rank``, by the same code. Every move, lock and snap is a step that can
    be undone. Search structures are built here, so that the first move is as quick as the next.

    Args:
        queries: the anatomy.
        constraints: what is demanded of the path.
        objectives: what it costs.
        applicator: the needle.
        entry_mm: (3,) first entry, put onto the nearest place of the skin where one may be.
        tip_mm: (3,) first tip.
        deflection: how the needle bends; None for a straight one.
        allowed_skin: of ``skin_allowed``, which several editors of one anatomy can share; made here where None.
        accept: called with the entry (3,) and the tip (3,) of each path that a move would make, before anything is
            measured or kept; raises GeometryError where it may not be. ``snap`` passes such paths over.

    Raises:
        GeometryError: a point is not three finite numbers, or entry and tip coincide.
    """

    def __init__(
        self,
        queries: AnatomyQueries,
        constraints: Sequence[TrajectoryConstraint],
        objectives: Sequence[TrajectoryObjective],
        applicator: Applicator,
        entry_mm: ArrayLike,
        tip_mm: ArrayLike,
        deflection: DeflectionModel | None = None,
        allowed_skin: SurfaceDistance | None = None,
        accept: Callable[[FloatArray, FloatArray], None] | None = None,
    ) -> None:
        self._accept = accept
        self._queries = queries
        self._constraints = tuple(constraints)
        self._objectives = tuple(objectives)
        self._applicator = applicator
        self._deflection = deflection
        self._allowed_skin = skin_allowed(queries.anatomy) if allowed_skin is None else allowed_skin
        entry = self._on_skin(_point(entry_mm))
        self._state = EditedPath(self._measured(entry, self._normal(entry), _point(tip_mm)))
        self._before: deque[EditedPath] = deque(maxlen=HISTORY)
        self._after: list[EditedPath] = []

    @property
    def state(self) -> EditedPath:
        """The path as it is now."""
        return self._state

    @property
    def can_undo(self) -> bool:
        """True where there is a step to undo."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """True where a step was undone and no other was made since."""
        return bool(self._after)

    def move_entry(self, point_mm: ArrayLike, on_skin: bool = True) -> EditedPath:
        """Move the entry; the tip stays.

        Args:
            point_mm: (3,) where to.
            on_skin: put it onto the nearest place of the skin where an entry may be; False takes it as it is.

        Raises:
            GeometryError: the entry is locked, the point is not finite, it coincides with the tip, or the path is
                not accepted; all is then as before.
        """
        if self._state.entry_locked:
            raise GeometryError("the entry is locked: unlock it before it is moved")
        point = _point(point_mm)
        entry = self._on_skin(point) if on_skin else point
        self._require_accepted(entry, self._state.tip_mm)
        return self._step(self._measured(entry, self._normal(entry), self._state.tip_mm))

    def move_tip(self, point_mm: ArrayLike) -> EditedPath:
        """Move the tip to (3,); the entry stays, and the middle of the zone follows.

        Raises:
            GeometryError: the tip is locked, the point is not finite, it coincides with the entry, or the path is
                not accepted; all is then as before.
        """
        if self._state.tip_locked:
            raise GeometryError("the tip is locked: unlock it before it is moved")
        tip = _point(point_mm)
        self._require_accepted(self._state.entry_mm, tip)
        return self._step(self._measured(self._state.entry_mm, self._state.entry_normal, tip))

    def lock(self, entry: bool | None = None, tip: bool | None = None) -> EditedPath:
        """Lock (True) or unlock (False) an end; None leaves it as it is."""
        state = self._state
        return self._keep(
            EditedPath(
                state.table,
                state.entry_locked if entry is None else entry,
                state.tip_locked if tip is None else tip,
            )
        )

    def restore(self, path: EditedPath) -> EditedPath:
        """Go back to a path of this editor, with its locks, as one step."""
        return self._keep(path)

    def undo(self) -> EditedPath:
        """The path, and the locks, before the last step; raises GeometryError where there is none."""
        if not self._before:
            raise GeometryError("there is no step to undo")
        self._after.append(self._state)
        self._state = self._before.pop()
        return self._state

    def redo(self) -> EditedPath:
        """The path, and the locks, before the last ``undo``; raises GeometryError where there is none."""
        if not self._after:
            raise GeometryError("there is no step to do again")
        self._before.append(self._state)
        self._state = self._after.pop()
        return self._state

    def snap(self, table: TrajectoryTable) -> EditedPath | None:
        """Move to the nearest feasible path of a screened table.

        The distance between two paths is the greater of those between their entries and between their tips: no
        point of a straight needle moves farther. A locked end stays, and the other takes its place from the table;
        whichever path is taken is feasible by the editor's own constraints, measured anew.

        Returns:
            The new path; None, and no step is made, where no path of the table will do.

        Raises:
            GeometryError: both ends are locked.
            OptionError: the table is of another applicator.
        """
        state = self._state
        if state.entry_locked and state.tip_locked:
            raise GeometryError("both ends are locked: unlock one before the path is moved")
        if table.applicator != self._applicator:
            raise OptionError(
                f"the table is of the applicator {table.applicator.name}, not of {self._applicator.name}"
            )
        found = table.subset(np.flatnonzero(table.feasible))
        entry, normal, tip = found.entry_mm, found.entry_normal, found.tip_mm
        if state.entry_locked:
            tip = np.unique(tip, axis=0)
            entry, normal = (
                np.broadcast_to(state.entry_mm, tip.shape),
                np.broadcast_to(state.entry_normal, tip.shape),
            )
        elif state.tip_locked:
            entry, first = np.unique(entry, axis=0, return_index=True)
            normal, tip = normal[first], np.broadcast_to(state.tip_mm, entry.shape)
        moved = np.maximum(
            np.linalg.norm(entry - state.entry_mm, axis=1), np.linalg.norm(tip - state.tip_mm, axis=1)
        )
        # Rounded, so that of equally near paths the first is taken, also after a motion of the case.
        order = np.argsort(np.round(moved, 6), kind="stable")
        order = order[np.linalg.norm(tip - entry, axis=1)[order] > SHORTEST_MM]
        first_place, count = 0, _FIRST_CANDIDATES
        while first_place < len(order):
            near = [k for k in order[first_place : first_place + count] if self._accepts(entry[k], tip[k])]
            if near:
                measured = self._columns(entry[near], normal[near], tip[near])
                feasible = np.flatnonzero(measured.feasible)
                if feasible.size:
                    best = measured.subset(feasible[:1])
                    # Of one path alone, as after a move: it is its own Pareto front.
                    return self._step(dataclasses.replace(best, front=np.ones(1, dtype=np.bool_)))
            first_place, count = first_place + count, 2 * count
        return None

    def _require_accepted(self, entry: FloatArray, tip: FloatArray) -> None:
        if self._accept is not None:
            self._accept(entry, tip)

    def _accepts(self, entry: FloatArray, tip: FloatArray) -> bool:
        try:
            self._require_accepted(entry, tip)
        except GeometryError:
            return False
        return True

    def _on_skin(self, point: FloatArray) -> FloatArray:
        """(3,) the place nearest to a point (3,) where an entry may be, to 1e-4 mm."""
        return np.asarray(self._allowed_skin.closest_points_mm(point[None, :])[0])

    def _normal(self, point: FloatArray) -> FloatArray:
        """(3,) the skin's normal about a point (3,), as for sampled entries."""
        return self._queries.skin_normals.at(point[None, :])[0]

    def _measured(self, entry: FloatArray, normal: FloatArray, tip: FloatArray) -> TrajectoryTable:
        if np.linalg.norm(tip - entry) <= SHORTEST_MM:
            raise GeometryError("entry and tip coincide: a path between them has no direction")
        return self._columns(entry[None, :], normal[None, :], tip[None, :])

    def _columns(self, entry: FloatArray, normal: FloatArray, tip: FloatArray) -> TrajectoryTable:
        """Paths (n, 3) with all columns."""
        curvature = None if self._deflection is None else self._deflection.curvature_per_mm(entry, tip)
        bend = np.zeros_like(tip) if curvature is None else curvature
        aim = arcs_followed_mm(entry, tip, bend, np.full(len(tip), -self._applicator.tip_to_centre_mm))
        table = TrajectoryTable(self._applicator, entry, normal, aim, tip, curvature)
        paths = MeasuredPaths(table, self._queries)
        table = screen(table, self._queries, self._constraints, measured=paths)
        return rank(table, self._queries, self._objectives, measured=paths)

    def _step(self, table: TrajectoryTable) -> EditedPath:
        return self._keep(dataclasses.replace(self._state, table=table))

    def _keep(self, state: EditedPath) -> EditedPath:
        self._before.append(self._state)
        self._after.clear()
        self._state = state
        return state


def skin_allowed(anatomy: Anatomy) -> SurfaceDistance:
    """The places of the skin where an entry may be, ready to be asked for the nearest one."""
    mesh = anatomy.entry.mesh
    return SurfaceDistance(SurfaceMesh(mesh.vertices_mm, mesh.faces[anatomy.entry_faces]))


def _point(point_mm: ArrayLike) -> FloatArray:
    """(3,) finite; raises GeometryError where it is not."""
    point = np.asarray(point_mm, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise GeometryError(f"an end of a path must be three finite numbers, not {point.tolist()}")
    return point
