"""A live session: tracked poses and breathing come in, what the needle may do goes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.needle_shape import applicator_of
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.devices.catalogue import Applicator
from needleplan.errors import DeviceError, NavigationError, PlanFileError
from needleplan.frames import FloatArray
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.prediction import MotionPredictor
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.navigation.breathing_watch import BreathingWatch
from needleplan.navigation.events import (
    BreathingSample,
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    PlanReplaced,
    PoseRefused,
    Registered,
    SessionEvent,
    SessionHeld,
    ToolPose,
    require_time,
)
from needleplan.navigation.guidance import Doubt, DoubtKind, Guidance
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.placed_needle import measured_needle
from needleplan.navigation.session_advice import Moment, advised
from needleplan.navigation.structure_watch import StructureWatch
from needleplan.navigation.tracked_tools import TrackedTools
from needleplan.plan import Insertion, Plan


class LiveSession:
    """A deterministic function of its events: the same events give the same guidance, bit by bit.

    The needle's pose in the patient is X_PN = X_PR · (X_TR)⁻¹ · X_TN with both poses of the tracker of the same
    moment, so that moving tracker or patient changes nothing.

    Args:
        plan: what is carried out.
        queries: the anatomy that it was made for.
        applicators: shapes of the needles of the plan.
        options: limits.
        body: how the breathing body deforms; None shifts each structure by its share of the target's displacement.
        predictor: carries the breathing over to the moment asked for; a line through the newest samples where None.

    Attributes:
        plan: the plan as the session began.
        queries: the anatomy.
        options: limits.
        registration: the one that stands; None before the first.
        order: of the insertion under way; None before one is selected.
        planned: all insertions, as they were replanned.
        delivered: insertions that delivered their energy.

    Raises:
        PlanFileError: the plan was made for another case.
        DeviceError: nothing is known of an applicator of the plan.
    """

    def __init__(
        self,
        plan: Plan,
        queries: AnatomyQueries,
        applicators: Applicator | Sequence[Applicator],
        options: SessionOptions | None = None,
        *,
        body: TabulatedBody | None = None,
        predictor: MotionPredictor[Any] | None = None,
    ) -> None:
        case = queries.anatomy.case
        if plan.case_hash != case.content_hash:
            raise PlanFileError(
                f"the plan was made for other content than this case has ({plan.case_hash[:12]}, not "
                f"{case.content_hash[:12]}): it may be of another patient"
            )
        self.plan, self.queries = plan, queries
        self.options = options or SessionOptions()
        self.applicators = (applicators,) if isinstance(applicators, Applicator) else tuple(applicators)
        self.predictor = predictor or LinearPredictor()
        self.body = body
        self.registration: Registered | None = None
        self.order: int | None = None
        self.planned: tuple[Insertion, ...] = ()
        self.delivered: tuple[Insertion, ...] = ()
        self._measured: dict[int, MeasuredNeedle] = {}
        self._tools = TrackedTools(self.options)
        self._breathing = BreathingWatch(self.predictor, self.options, case.cranial)
        self._structures = StructureWatch(queries, body)
        self._skin_box = queries.tree(queries.anatomy.entry).bounds_mm
        self._latched: dict[DoubtKind, Doubt] = {}
        self._clock_s = self._newest_s = 0.0
        self._passed: dict[int, frozenset[str]] = {}
        self._accept(plan.insertions)

    @property
    def case_hash(self) -> str:
        """Content hash of the case."""
        return self.plan.case_hash

    @property
    def clock_s(self) -> float:
        """The latest time of all events: where a session that is resumed goes on."""
        return self._newest_s

    @property
    def measured(self) -> tuple[MeasuredNeedle, ...]:
        """Needles that stand in the patient, as they were measured when they were let go."""
        return tuple(self._measured[order] for order in sorted(self._measured))

    @property
    def state(self) -> TreatmentState:
        """How far the treatment has come, for replanning."""
        return TreatmentState(self.planned, self.measured, self.delivered)

    @property
    def counts(self) -> dict[str, int]:
        """Samples that were not used, by tool and reason."""
        breathing = {f"breathing, {reason}": count for reason, count in self._breathing.ignored.items()}
        return self._tools.ignored | breathing

    @property
    def statements(self) -> tuple[str, ...]:
        """What the people at the table must know of how the figures are made."""
        said = [self._structures.statement]
        if not self.options.reference:
            said.append("The reference is not watched here: whoever sends the poses must.")
        if not self.options.breathing:
            said.append("The patient is taken not to breathe.")
        for order, names in sorted(self._passed.items()):
            if names:
                said.append(
                    f"The planned path of needle {order} itself passes {', '.join(sorted(names))}: distances to "
                    "that are not held against it."
                )
        return tuple(said)

    def take(self, event: SessionEvent) -> Guidance | None:
        """One more event, in the order of their arrival.

        Returns:
            The guidance that was asked for; None for every other event.

        Raises:
            NavigationError: a decision that cannot be; the session is as it was before.
        """
        if isinstance(event, ToolPose | PoseRefused | BreathingSample):
            self._newest_s = max(self._newest_s, event.received_s)
            self._arrived(event.received_s)
        else:
            self._newest_s = max(self._newest_s, event.time_s)
        if isinstance(event, GuidanceAsked):
            return self.guidance(event.time_s)
        if isinstance(event, ToolPose | PoseRefused):
            for doubt in self._tools.take(event):
                self._latch(doubt.kind, doubt.sentence)
        elif isinstance(event, BreathingSample):
            self._breathing.take(event)
        elif isinstance(event, Registered):
            self._register(event)
        elif isinstance(event, LandmarkChecked):
            self._check(event)
        elif isinstance(event, NeedleSelected):
            self._select(event)
        elif isinstance(event, SessionHeld):
            self._latch(DoubtKind.HELD, f"{event.reason} Guidance says stop until a needle is selected.")
        elif isinstance(event, NeedlePlaced):
            self._place(event)
        elif isinstance(event, EnergyDelivered):
            self._applicator(event.insertion)
            self.delivered = (*self.delivered, event.insertion)
        else:
            self._replace(event)
        return None

    def guidance(self, time_s: float) -> Guidance:
        """What the session says at a time; it changes nothing."""
        require_time(time_s, "the time for which guidance is asked")
        doubts = list(self._latched.values())
        if self._clock_s - time_s > self.options.clock_s:
            doubts.append(
                Doubt(
                    DoubtKind.CLOCK,
                    f"Guidance is asked for {self._clock_s - time_s:.2f} s before what has arrived already: one "
                    "clock must serve all.",
                )
            )
        pair, found = self._tools.at(time_s)
        doubts += found + self._breathing.doubts(time_s)
        planned = None if self.order is None else self._planned(self.order)
        return advised(
            Moment(
                time_s,
                planned,
                None if planned is None else self._applicator(planned),
                self.registration,
                pair,
                self._breathing.displacement_mm(time_s),
                self._breathing.away_mm(time_s),
                frozenset() if planned is None else self._passed[planned.order],
            ),
            doubts,
            self.options,
            self._structures,
            self._skin_box,
        )

    def _arrived(self, time_s: float) -> None:
        back_s = self._clock_s - time_s
        if back_s > self.options.clock_s:
            self._latch(DoubtKind.CLOCK, f"The session's clock ran back by {back_s:.2f} s: register again.")
        self._clock_s = max(self._clock_s, time_s)

    def _latch(self, kind: DoubtKind, sentence: str) -> None:
        self._latched.setdefault(kind, Doubt(kind, sentence))

    def _register(self, event: Registered) -> None:
        self.registration = event
        held = self._latched.get(DoubtKind.HELD)
        self._latched.clear()
        if held is not None:
            self._latched[DoubtKind.HELD] = held
        self._tools.forget()
        self._clock_s = event.time_s

    def _check(self, event: LandmarkChecked) -> None:
        off_mm = self.landmark_off_mm(event)
        if off_mm > self.options.check_mm:
            # A later check that holds cannot undo it: somewhere the registration does not hold.
            self._latch(
                DoubtKind.REGISTRATION_UNSURE,
                f"Landmark {event.name} was found {off_mm:.1f} mm from its place, where {self.options.check_mm:g} "
                "mm are allowed: register again.",
            )
            return
        for kind in (DoubtKind.JUMP, DoubtKind.REFERENCE_MOVED):
            self._latched.pop(kind, None)
        self._tools.looked_at()

    def landmark_off_mm(self, event: LandmarkChecked) -> float:
        """How far the needle's tip is from a landmark that it touches.

        Raises:
            NavigationError: there is no registration, or no fresh pose.
        """
        X_PN = self._fresh(event.time_s, f"landmark {event.name} cannot be checked")
        return float(np.linalg.norm(X_PN[:3, 3] - np.asarray(event.planned_mm)))

    def _fresh(self, time_s: float, what: str) -> FloatArray:
        if self.registration is None:
            raise NavigationError(f"{what}: register patient and reference first")
        pair, found = self._tools.at(time_s)
        if found or pair is None:
            raise NavigationError(f"{what}: {found[0].sentence}")
        return self.registration.X_PR.matrix @ pair.X_RN

    def _select(self, event: NeedleSelected) -> None:
        self._planned(event.order)
        if event.order in self._measured:
            # It is taken up again: where it stands is measured anew when it is let go.
            del self._measured[event.order]
        self.order = event.order
        self._latched.pop(DoubtKind.HELD, None)

    def _place(self, event: NeedlePlaced) -> None:
        if self.order is None:
            raise NavigationError("no needle is selected that could be let go: select one")
        said = self.guidance(event.time_s)
        self._measured[self.order] = measured_needle(self.order, said, self.planned, self.queries)
        self.order = None

    def _replace(self, event: PlanReplaced) -> None:
        missing = sorted(set(self._measured) - {one.order for one in event.insertions})
        if missing:
            raise NavigationError(f"the new plan lacks needle {missing[0]}, which stands in the patient")
        self._accept(event.insertions)
        if self.order not in {one.order for one in event.insertions}:
            self.order = None

    def _accept(self, insertions: tuple[Insertion, ...]) -> None:
        orders = [one.order for one in insertions]
        if len(set(orders)) < len(orders):
            raise NavigationError(f"two insertions of the plan have the same order: {sorted(orders)}")
        for one in insertions:
            self._applicator(one)
        passed = {one.order: self._structures.passed_by(one) for one in insertions}
        self.planned, self._passed = insertions, passed

    def _planned(self, order: int) -> Insertion:
        for insertion in self.planned:
            if insertion.order == order:
                return insertion
        known = ", ".join(str(one.order) for one in self.planned) or "none"
        raise NavigationError(f"the plan has no needle {order}: there are {known}")

    def _applicator(self, insertion: Insertion) -> Applicator:
        try:
            return applicator_of(insertion, self.applicators)
        except DeviceError as error:
            raise NavigationError(str(error)) from error
