"""The needles of a plan under the hand of a user: moved one by one, undone and redone in one common order."""

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.demands import PlanDemands
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.io.plan_limits import LONGEST_MM
from needleplan.plan import Insertion, Vector3, vector3
from needleplan.trajectory.editor import SHORTEST_MM, EditedPath, TrajectoryEditor, skin_allowed
from needleplan.trajectory.table import TrajectoryTable

#: Steps of all needles that can be undone; an editor keeps 1000.
HISTORY = 200
#: The ends of a path.
ENDS = ("entry", "tip")
#: An end that would move by no more than this stays: the nearest place of the skin is known to 1e-4 mm.
_STAYS_MM = 1e-3
#: So far beside the patient's box a tip may be put: farther it is a slip, whose figures would take minutes.
_BESIDE_MM = 20.0


@dataclass(frozen=True, slots=True)
class _Step:
    """What is undone at once: a step of each of these editors, and the gesture that made it."""

    orders: tuple[int, ...]
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
        room = _room_mm(planned)
        self._editors = {
            order: TrajectoryEditor(
                planned.queries,
                demands.constraints,
                demands.objectives,
                catalogue.applicator(insertion.applicator),
                insertion.entry_mm,
                insertion.tip_mm,
                allowed_skin=self._allowed_skin,
                accept=partial(_require_possible, insertion, room),
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
            carried(planned, self.path(order).entry_mm, self.path(order).tip_mm) if self.moved(order) else planned
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
            GeometryError: the end is locked, or the path would have no direction or no room for its ablations, or
                its tip would lie out of the patient; all is then as before.
        """
        editor = self._editor(order)
        if end not in ENDS:
            raise OptionError(f"an end of a needle is one of {', '.join(ENDS)}, not {end!r}")
        if self._stays(editor.state, end, point_mm):
            return False
        step = _Step((order,), gesture and f"{end} {gesture}")
        goes_on = bool(gesture) and bool(self._done) and self._done[-1] == step
        if goes_on:
            editor.undo()
            if self._stays(editor.state, end, point_mm):
                self._done.pop()
                self._undone.clear()
                return True
        try:
            (editor.move_entry if end == "entry" else editor.move_tip)(point_mm)
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
        self._keep(_Step((order,), ""))
        return True

    def snap(self, order: int, table: TrajectoryTable) -> None:
        """Move a needle to the nearest feasible path of a table.

        Raises:
            OptionError: there is no such needle.
            GeometryError: both ends are locked, or no path of the table will do.
        """
        editor = self._editor(order)
        if editor.snap(table) is None:
            raise GeometryError(
                f"no candidate path is feasible from where the locked end of needle {order} stands, or none at "
                "all: unlock it, or move it elsewhere first"
            )
        self._keep(_Step((order,), ""))

    def reset(self, orders: Sequence[int] | None = None) -> bool:
        """Put needles back where they were planned, unlocked; all of them where None. One step.

        Returns:
            True where one was elsewhere, or locked.

        Raises:
            OptionError: there is no such needle.
        """
        back = []
        for order in self.orders if orders is None else orders:
            editor = self._editor(order)
            if self.moved(order) or editor.state.entry_locked or editor.state.tip_locked:
                editor.restore(self._first[order])
                back.append(order)
        if back:
            self._keep(_Step(tuple(back), ""))
        return bool(back)

    def undo(self) -> None:
        """Take the last step back; raises GeometryError where there is none."""
        if not self._done:
            raise GeometryError("there is no step to undo")
        step = self._done.pop()
        for order in step.orders:
            self._editors[order].undo()
        self._undone.append(step)

    def redo(self) -> None:
        """Make the last step that was undone again; raises GeometryError where there is none."""
        if not self._undone:
            raise GeometryError("there is no step to do again")
        step = self._undone.pop()
        for order in step.orders:
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

    def _keep(self, step: _Step) -> None:
        self._done.append(step)
        self._undone.clear()


def carried(insertion: Insertion, entry_mm: FloatArray, tip_mm: FloatArray) -> Insertion:
    """An insertion along another path: each ablation keeps its distance from the tip; clearances are left out.

    Args:
        insertion: as planned.
        entry_mm: (3,) its new entry.
        tip_mm: (3,) its new tip.

    Raises:
        GeometryError: the path is too short for its ablations.
    """
    direction = unit_vector(tip_mm - entry_mm)
    depth_mm = float(np.linalg.norm(tip_mm - entry_mm))
    ablations = []
    for ablation in insertion.ablations:
        back_mm = float(np.subtract(insertion.tip_mm, ablation.tip_mm) @ insertion.direction)
        if back_mm >= depth_mm:
            raise GeometryError(
                f"the path of needle {insertion.order} would be {depth_mm:.1f} mm long, and one of its ablations "
                f"lies {back_mm:.1f} mm behind the tip: leave the needle deeper"
            )
        ablations.append(dataclasses.replace(ablation, tip_mm=_behind(tip_mm, direction, back_mm)))
    return dataclasses.replace(
        insertion,
        entry_mm=vector3(entry_mm),
        tip_mm=vector3(tip_mm),
        ablations=tuple(ablations),
        clearances_mm={},
    )


def _behind(tip_mm: FloatArray, direction: FloatArray, back_mm: float) -> Vector3:
    return vector3(tip_mm - back_mm * direction)


def _room_mm(planned: PlannedCase) -> FloatArray:
    """(2, 3) least and greatest coordinates where a tip may be put: about patient and needles as planned."""
    parts = [surface.mesh.bounds_mm for surface in planned.anatomy.surfaces]
    parts += [np.array([insertion.entry_mm, insertion.tip_mm]) for insertion in planned.plan.insertions]
    points = np.concatenate(parts)
    return np.stack([points.min(axis=0) - _BESIDE_MM, points.max(axis=0) + _BESIDE_MM])


def _require_possible(insertion: Insertion, room_mm: FloatArray, entry_mm: FloatArray, tip_mm: FloatArray) -> None:
    """Refuse a path that leaves the room (2, 3), is longer than a file may hold or too short for its ablations."""
    if not ((room_mm[0] <= tip_mm) & (tip_mm <= room_mm[1])).all():
        raise GeometryError(
            f"the tip of needle {insertion.order} would be at {_shown(tip_mm)} mm, out of the patient, who reaches "
            f"from {_shown(room_mm[0])} to {_shown(room_mm[1])} mm"
        )
    if (length_mm := float(np.linalg.norm(tip_mm - entry_mm))) > LONGEST_MM:
        raise GeometryError(
            f"the path of needle {insertion.order} would be {length_mm:.0f} mm long, and no needle is longer than "
            f"{LONGEST_MM:g} mm"
        )
    if length_mm > SHORTEST_MM:
        carried(insertion, entry_mm, tip_mm)


def _shown(point_mm: FloatArray) -> str:
    return f"({', '.join(f'{x:.0f}' for x in point_mm)})"
