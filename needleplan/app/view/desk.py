"""One plan on the desk of all tabs: edits in a lock, figures and candidates in threads, each state numbered."""

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from needleplan.app.folder import PlanFolder
from needleplan.app.page.scene_breath import SceneBreath
from needleplan.app.page.scene_margin import margin_section
from needleplan.app.pipeline import PlannedCase
from needleplan.app.view.candidates import CandidatePaths
from needleplan.app.view.comparing import compare_plans
from needleplan.app.view.demands import PlanDemands, demands_of
from needleplan.app.view.judging import Judged, judge, measured
from needleplan.app.view.keeping import OpenedFolder, require_name, save_plan, slicer_archive
from needleplan.app.view.newest_worker import NewestWorker
from needleplan.app.view.page_state import metrics_state, needles_state
from needleplan.app.view.requests import Chosen, Lock, Move, Save, StaleEditError, Step
from needleplan.app.view.resting_hand import RestingHand
from needleplan.app.view.scene_parts import target_body, zone_body
from needleplan.app.view.session import EditSession
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.io.value_json import to_json
from needleplan.plan import Insertion, Plan, PlanStatus
from needleplan.trajectory.table import TrajectoryTable

#: Longest that a page waits for news.
LONGEST_WAIT_S = 20.0
#: A hand that has not moved for so long is taken to have let go: its page may have been closed meanwhile.
HELD_S = 3.0
#: Pages that wait at the same time; more are answered at once, so that threads are left for edits.
MOST_WAITING = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Needles to be judged, as they were in a version."""

    version: int
    insertions: tuple[Insertion, ...]
    paths: tuple[TrajectoryTable, ...]


class PlanningDesk:
    """What the page asks, answered; safe from several threads.

    Args:
        folder: of the plan.
        planned: the plan with its case.
        scene: what is drawn of it, from ``editable_scene``.
        saves: folder that edited plans are saved into, each in one of its own.
        data: data folder that was named for the case; the remembered one where None.
        other: a plan to compare with, and what it is called; None where there is none.
        breath: how zones move in the scene when the patient breathes; None where they do not.
        demands: what the plan demanded; read from it where None.
    """

    def __init__(
        self,
        folder: PlanFolder,
        planned: PlannedCase,
        scene: dict[str, Any],
        saves: Path,
        data: Path | None = None,
        other: tuple[str, Plan] | None = None,
        breath: SceneBreath | None = None,
        demands: PlanDemands | None = None,
    ) -> None:
        self.scene = scene
        self._opened = OpenedFolder.read(folder, data)
        self._planned, self._saves = planned, saves
        self._other, self._breath = other, breath
        self._demands = demands or demands_of(planned)
        self._session = EditSession(planned, self._demands)
        self._changed = threading.Condition()
        self._version = 0
        self._submitted_version = -1
        self._serial = 0
        self._waiting = 0
        self._closed = False
        self._judged_version = -1
        self._judged: Judged | None = None
        self._failure = ""
        self._judge = NewestWorker(self._judge_task, "needleplan-judge")
        self._resting = RestingHand(HELD_S, self._rested)
        self._candidates = CandidatePaths(planned, self._demands, self._tell_all)
        self._submit()

    @property
    def title(self) -> str:
        """Name of the case."""
        return self._planned.plan.case_name

    def start_search(self) -> None:
        """Look for candidate paths, in a thread."""
        self._candidates.start()

    def close(self) -> None:
        """Answer whoever waits, and end the threads after what they are doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._resting.close()
        self._judge.close()
        self._candidates.close()

    def state(self, after: int = -1, wait_s: float = 0.0) -> dict[str, Any]:
        """All that the page shows.

        Args:
            after: serial of the state that the page has; waits for a later one.
            wait_s: for so long at most.
        """
        with self._changed:
            if self._waiting < MOST_WAITING:
                self._waiting += 1
                self._changed.wait_for(lambda: self._serial > after or self._closed, min(wait_s, LONGEST_WAIT_S))
                self._waiting -= 1
            return self._state()

    def move(self, asked: Move) -> dict[str, Any]:
        """Move an end of a needle; figures are computed anew when the hand lets go, or rests for ``HELD_S``."""
        return self._edit(
            asked.version,
            lambda: self._session.move(asked.order, asked.end, asked.point_mm, asked.gesture),
            judged=asked.done,
        )

    def lock(self, asked: Lock) -> dict[str, Any]:
        """Lock or unlock ends."""
        return self._edit(asked.version, lambda: self._session.lock(asked.order, asked.entry, asked.tip))

    def undo(self, asked: Step) -> dict[str, Any]:
        """Take the last step back."""
        return self._edit(asked.version, self._session.undo)

    def redo(self, asked: Step) -> dict[str, Any]:
        """Make the last undone step again."""
        return self._edit(asked.version, self._session.redo)

    def reset(self, asked: Chosen) -> dict[str, Any]:
        """Put a needle, or all, back where planned."""
        orders = None if asked.order is None else (asked.order,)
        return self._edit(asked.version, lambda: self._session.reset(orders))

    def snap(self, asked: Chosen) -> dict[str, Any]:
        """Move a needle to the nearest feasible candidate path."""
        if asked.order is None:
            raise NavigationError("needles are snapped one by one: name one")
        order = asked.order
        return self._edit(
            asked.version, lambda: self._session.snap(order, self._candidates.of(self._applicator(order)))
        )

    def comparison(self, other: bool) -> dict[str, Any]:
        """The opened plan, or the other one, beside the needles as they are now.

        Raises:
            NavigationError: there is no other plan.
        """
        if other and self._other is None:
            raise NavigationError("no other plan is open: name one by --compare")
        title, first = self._other if other and self._other is not None else ("plan as opened", self._planned.plan)
        with self._changed:
            task = self._task()
        now = self._judged_now(task).plan
        stated = dataclasses.replace(first, insertions=measured(self._planned, first.insertions))
        return {
            "version": task.version,
            "first": title,
            "second": "plan as edited" if now is not self._planned.plan else "plan as opened, not edited",
            **to_json(compare_plans(stated, now)),
        }

    def other_parts(self, other: bool) -> dict[str, Any]:
        """Needles and zones of the opened or the other plan, to be drawn beside those that are edited."""
        plan = self._other[1] if other and self._other is not None else self._planned.plan
        model = self._planned.zone_model
        return {
            "needles": [
                {"order": one.order, "entry_mm": list(one.entry_mm), "tip_mm": list(one.tip_mm)}
                for one in plan.insertions
            ],
            "bodies": [zone_body(one, model, self._breath, other=True) for one in plan.insertions if one.ablations],
        }

    def margin(self) -> dict[str, Any]:
        """The target painted by the newest margin that was computed, and its histogram and map."""
        with self._changed:
            judged, version = self._judged, self._judged_version
        if judged is None or judged.assessment is None:
            return {"version": version, "target": None, "margin": None}
        anatomy = self._planned.anatomy
        return {
            "version": version,
            "target": target_body(self.scene, anatomy, judged.assessment),
            "margin": margin_section(anatomy, judged.assessment),
        }

    def save(self, asked: Save) -> dict[str, Any]:
        """Save the plan as a new folder; says where."""
        place = self._saves / require_name(asked.name)
        with self._changed:
            self._require(asked.version)
            task = self._task()
        judged = self._judged_now(task)
        save_plan(self._opened, self._planned, judged, place)
        said = f"Saved in {place} with status {judged.plan.status.value}."
        if judged.plan.status is PlanStatus.INFEASIBLE:
            said += " It breaks hard demands, and says so."
        return {"said": said, "folder": str(place)}

    def export(self, asked: Step) -> bytes:
        """The plan for 3D Slicer, as a ZIP archive."""
        with self._changed:
            self._require(asked.version)
            task = self._task()
        return slicer_archive(self._opened, self._planned, self._judged_now(task))

    def _edit(self, version: int, change: Callable[[], bool | None], judged: bool = True) -> dict[str, Any]:
        """The state after a change; one that says False changed nothing, and the version stays."""
        with self._changed:
            self._require(version)
            try:
                if change() is not False:
                    self._version += 1
                    self._tell()
            finally:
                # A hand that lets go where it was last, or where it may not, has changed nothing, but the figures
                # of where it was last were not asked for yet.
                if self._submitted_version != self._version:
                    if judged:
                        self._submit()
                    else:
                        self._resting.moved()
            return self._state()

    def _require(self, version: int) -> None:
        if version != self._version:
            raise StaleEditError(
                "The plan was changed meanwhile, by another tab or an answer that was still on its way: it is "
                "shown as it is now, so look at it and do that again."
            )

    def _task(self) -> _Task:
        paths = tuple(self._session.path(order).table for order in self._session.orders)
        return _Task(self._version, self._session.insertions(), paths)

    def _submit(self) -> None:
        self._submitted_version = self._version
        self._judge.submit(self._task())

    def _rested(self) -> None:
        with self._changed:
            if self._submitted_version != self._version:
                self._submit()

    def _judge_task(self, task: _Task) -> None:
        try:
            judged, failure = judge(self._planned, self._demands, task.insertions, task.paths), ""
        except NeedleplanError as error:
            judged, failure = None, str(error)
        except Exception as error:
            # A thread that ended would leave every later figure waiting, without a word.
            judged, failure = None, f"the figures cannot be computed: {error!r}"
        with self._changed:
            self._judged, self._judged_version, self._failure = judged, task.version, failure
            self._tell()

    def _judged_now(self, task: _Task) -> Judged:
        """The needles of a version judged: what the thread found, or anew."""
        with self._changed:
            if self._judged is not None and self._judged_version == task.version:
                return self._judged
        return judge(self._planned, self._demands, task.insertions, task.paths)

    def _applicator(self, order: int) -> str:
        return self._session.path(order).table.applicator.name

    def _tell_all(self) -> None:
        with self._changed:
            self._tell()

    def _tell(self) -> None:
        self._serial += 1
        self._changed.notify_all()

    def _state(self) -> dict[str, Any]:
        judged, fresh = self._judged, self._judged_version == self._version
        plan = None if judged is None else judged.plan
        model = self._planned.zone_model
        return {
            "version": self._version,
            "serial": self._serial,
            "needles": needles_state(self._session),
            "zones": [zone_body(one, model, self._breath) for one in self._session.insertions() if one.ablations],
            "can_undo": self._session.can_undo,
            "can_redo": self._session.can_redo,
            "judged": {
                "version": self._judged_version,
                "fresh": fresh,
                "failure": self._failure,
                "status": None if plan is None else plan.status.value,
                "metrics": None if plan is None else metrics_state(plan.metrics),
                "broken": [] if judged is None else list(judged.broken),
                "warnings": [] if judged is None else list(judged.warnings),
            },
            "snap": {"ready": self._candidates.ready, "said": self._candidates.said},
            "notes": list(self._demands.notes),
            "other": None if self._other is None else self._other[0],
            "saves": str(self._saves),
        }
