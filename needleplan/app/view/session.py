"""The needles of a plan under the hand of a user: moved one by one, undone and redone in one common order."""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.demands import PlanDemands
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.plan import Insertion, Vector3, vector3
from needleplan.trajectory.editor import EditedPath, TrajectoryEditor, skin_allowed
from needleplan.trajectory.table import TrajectoryTable

#: Steps of all needles that can be undone; one of them takes at most three of an editor, which keeps 1000.
HISTORY = 200
#: The ends of a path.
ENDS = ("entry", "tip")
#: An end that would move by no more than this stays: the nearest place of the skin is known to 1e-4 mm.
_STAYS_MM = 1e-3


@dataclass(frozen=True, slots=True)
class _Step:
    """What is undone at once: how many steps of which editors, and the gesture that made them."""

    counts: tuple[tuple[int, int], ...]
    gesture: str


class EditSession:
    """One editor for each needle of a plan, and one order of steps over all of them.

    The moves of one gesture, such as a drag, are one step. A needle that stands where it was planned is the planned
    one, value by value.

    Args:
        planned: the plan with its case.
        demands: what it demanded.
    """

    def __init__(self, planned: PlannedCase, demands: PlanDemands) -> None:
        self._planned = {insertion.order: insertion for insertion in planned.plan.insertions}
        catalogue = planned.zone_model.catalogue
        self._allowed_skin = skin_allowed(planned.anatomy)
        self._editors = {
            order: TrajectoryEditor(
                planned.queries,
                demands.constraints,
                demands.objectives,
                catalogue.applicator(insertion.applicator),
                insertion.entry_mm,
                insertion.tip_mm,
                allowed_skin=self._allowed_skin,
            )
            for order, insertion in self._planned.items()
        }
        self._first = {order: editor.state for order, editor in self._editors.items()}
        self._done: deque[_Step] = deque(maxlen=HISTORY)
        self._undone: list[_Step] = []

    @property
    def can_undo(self) -> bool:
        """True where there is a step to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """True where a step was undone and no other was made since."""
        return bool(self._undone)

    @property
    def orders(self) -> tuple[int, ...]:
        """The needles, by their order of puncture."""
        return tuple(self._editors)

    def path(self, order: int) -> EditedPath:
        """A needle's path as it is now; raises OptionError where there is no such needle."""
        return self._editor(order).state

    def moved(self, order: int) -> bool:
        """True where a needle stands elsewhere than planned."""
        now, first = self.path(order), self._first[order]
        return not (np.array_equal(now.entry_mm, first.entry_mm) and np.array_equal(now.tip_mm, first.tip_mm))

    def insertions(self) -> tuple[Insertion, ...]:
        """The needles as insertions; ablations keep their distance from the tip. Clearances are not measured."""
        return tuple(
            carried(planned, self.path(order)) if self.moved(order) else planned
            for order, planned in self._planned.items()
        )

    def move(self, order: int, end: str, point_mm: Vector3, gesture: str = "") -> bool:
        """Move one end of a needle; where it is there already, nothing is done and no step made.

        Args:
            order: the needle.
            end: ``entry``, put onto the nearest place of the skin where one may be, or ``tip``.
            point_mm: where to, patient LPS.
            gesture: moves that follow one another and name the same are one step; an empty one is one of its own.
                One that comes back to where it began is none.

        Returns:
            True where the needle stands elsewhere than before.

        Raises:
            OptionError: there is no such needle or end.
            GeometryError: the end is locked, or the path would have no direction or no room for its ablations.
        """
        editor = self._editor(order)
        if end not in ENDS:
            raise OptionError(f"an end of a needle is one of {', '.join(ENDS)}, not {end!r}")
        if self._stays(editor.state, end, point_mm):
            return False
        step = _Step(((order, 1),), gesture and f"{end} {gesture}")
        goes_on = bool(gesture) and bool(self._done) and self._done[-1] == step
        if goes_on:
            editor.undo()
            if self._stays(editor.state, end, point_mm):
                self._done.pop()
                self._undone.clear()
                return True
        try:
            self._try(editor, order, lambda: (editor.move_entry if end == "entry" else editor.move_tip)(point_mm))
        except GeometryError:
            if goes_on:
                editor.redo()
            raise
        if goes_on:
            self._undone.clear()
        else:
            self._keep(step)
        return True

    def lock(self, order: int, entry: bool | None, tip: bool | None) -> bool:
        """Lock (True) or unlock (False) the ends of a needle; None leaves one as it is. True where one changed."""
        editor = self._editor(order)
        if entry in (None, editor.state.entry_locked) and tip in (None, editor.state.tip_locked):
            return False
        editor.lock(entry, tip)
        self._keep(_Step(((order, 1),), ""))
        return True

    def snap(self, order: int, table: TrajectoryTable) -> None:
        """Move a needle to the nearest feasible path of a table.

        Raises:
            OptionError: there is no such needle.
            GeometryError: both ends are locked, or no path of the table will do.
        """
        editor = self._editor(order)
        found: list[EditedPath | None] = []
        self._try(editor, order, lambda: found.append(editor.snap(table)))
        if found == [None]:
            raise GeometryError(
                f"no candidate path is feasible from where the locked end of needle {order} stands, or none at "
                "all: unlock it, or move it elsewhere first"
            )
        self._keep(_Step(((order, 1),), ""))

    def reset(self, orders: Sequence[int] | None = None) -> bool:
        """Put needles back where they were planned, unlocked; all of them where None. One step.

        Returns:
            True where one was elsewhere, or locked.

        Raises:
            OptionError: there is no such needle.
        """
        counts = []
        for order in self.orders if orders is None else orders:
            count = self._reset(self._editor(order), self._first[order])
            if count:
                counts.append((order, count))
        if counts:
            self._keep(_Step(tuple(counts), ""))
        return bool(counts)

    def undo(self) -> None:
        """Take the last step back; raises GeometryError where there is none."""
        if not self._done:
            raise GeometryError("there is no step to undo")
        step = self._done.pop()
        for order, count in step.counts:
            for _ in range(count):
                self._editors[order].undo()
        self._undone.append(step)

    def redo(self) -> None:
        """Make the last step that was undone again; raises GeometryError where there is none."""
        if not self._undone:
            raise GeometryError("there is no step to do again")
        step = self._undone.pop()
        for order, count in step.counts:
            for _ in range(count):
                self._editors[order].redo()
        self._done.append(step)

    def _editor(self, order: int) -> TrajectoryEditor:
        if order not in self._editors:
            known = ", ".join(map(str, self._editors)) or "none"
            raise OptionError(f"there is no needle {order}: the plan has {known}")
        return self._editors[order]

    def _stays(self, state: EditedPath, end: str, point_mm: Vector3) -> bool:
        """True where an end that may move is where it would be put."""
        point = np.asarray(point_mm, dtype=np.float64)
        locked = state.entry_locked if end == "entry" else state.tip_locked
        if locked or point.shape != (3,) or not np.isfinite(point).all():
            return False  # the editor says what is wrong
        if end == "entry":
            there, now = self._allowed_skin.closest_points_mm(point[None, :])[0], state.entry_mm
        else:
            there, now = point, state.tip_mm
        return bool(np.linalg.norm(there - now) <= _STAYS_MM)

    def _try(self, editor: TrajectoryEditor, order: int, move: Callable[[], object]) -> None:
        """A move that is taken back where the ablations of the needle find no room on the new path."""
        before = editor.state
        move()
        if editor.state is before:
            return
        try:
            carried(self._planned[order], editor.state)
        except GeometryError:
            editor.undo()
            raise

    def _keep(self, step: _Step) -> None:
        self._done.append(step)
        self._undone.clear()

    @staticmethod
    def _reset(editor: TrajectoryEditor, first: EditedPath) -> int:
        """Steps that the editor took to be as at first, at most three."""
        steps = 0
        if editor.state.entry_locked or editor.state.tip_locked:
            editor.lock(entry=False, tip=False)
            steps += 1
        if not np.array_equal(editor.state.tip_mm, first.tip_mm):
            editor.move_tip(first.tip_mm)
            steps += 1
        if not np.array_equal(editor.state.entry_mm, first.entry_mm):
            editor.move_entry(first.entry_mm, on_skin=False)
            steps += 1
        return steps


def carried(insertion: Insertion, path: EditedPath) -> Insertion:
    """An insertion along another path: each ablation keeps its distance from the tip; clearances are left out.

    Raises:
        GeometryError: the path is too short for its ablations.
    """
    direction = unit_vector(path.tip_mm - path.entry_mm)
    depth_mm = float(np.linalg.norm(path.tip_mm - path.entry_mm))
    ablations = []
    for ablation in insertion.ablations:
        back_mm = float(np.subtract(insertion.tip_mm, ablation.tip_mm) @ insertion.direction)
        if back_mm >= depth_mm:
            raise GeometryError(
                f"the path of needle {insertion.order} would be {depth_mm:.1f} mm long, and one of its ablations "
                f"lies {back_mm:.1f} mm behind the tip: leave the needle deeper"
            )
        ablations.append(dataclasses.replace(ablation, tip_mm=_behind(path.tip_mm, direction, back_mm)))
    return dataclasses.replace(
        insertion,
        entry_mm=vector3(path.entry_mm),
        tip_mm=vector3(path.tip_mm),
        ablations=tuple(ablations),
        clearances_mm={},
    )


def _behind(tip_mm: FloatArray, direction: FloatArray, back_mm: float) -> Vector3:
    return vector3(tip_mm - back_mm * direction)
