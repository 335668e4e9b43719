"""A live session: tracked poses and breathing come in, what the needle may do goes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.treatment_state import MeasuredNeedle, TreatmentState
from needleplan.devices.catalogue import Applicator
from needleplan.errors import NavigationError, PlanFileError
from needleplan.frames import FloatArray
from needleplan.motion.prediction import MotionPredictor
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.navigation.breathing_watch import BREATHING_PREDICTOR, BreathingWatch
from needleplan.navigation.event_checks import require_time
from needleplan.navigation.events import (
    BreathingSample,
    EnergyDelivered,
    GuidanceAsked,
    LandmarkChecked,
    NeedlePlaced,
    NeedleSelected,
    NeedleWithdrawn,
    PlanReplaced,
    PoseRefused,
    Registered,
    SessionEvent,
    SessionHeld,
    ToolPose,
)
from needleplan.navigation.guidance import Doubt, DoubtKind, Guidance
from needleplan.navigation.latched_doubts import LatchedDoubts
from needleplan.navigation.left_out import LeftOut
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.placed_needle import measured_needle
from needleplan.navigation.session_advice import Moment, advised
from needleplan.navigation.structure_watch import StructureWatch
from needleplan.navigation.tracked_tools import TrackedTools
from needleplan.navigation.treatment_checks import (
    planned_of,
    require_delivered,
    require_first_told,
    require_known,
    require_within,
    shape_of,
)
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
        self.predictor = predictor or BREATHING_PREDICTOR
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
        self._latched = LatchedDoubts()
        self._clock_s = self._newest_s = 0.0
        self._delivered_s: list[float] = []
        require_known(plan.insertions, self.applicators)
        self.planned = plan.insertions
        self._paths = LeftOut(self._structures, plan.insertions)

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
        """Needles that stand in the patient, as they were measured when they were let go last.

        One that is selected again counts where it stood until it is let go again, or withdrawn.
        """
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
        if self.order in self._measured:
            said.append(
                f"Needle {self.order} was taken up again: until it is let go or withdrawn it counts as standing "
                "where it stood."
            )
        return (*said, *self._paths.statements)

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
                self._latched.latch(doubt.kind, doubt.sentence, event.received_s)
        elif isinstance(event, BreathingSample):
            self._breathing.take(event)
        elif isinstance(event, Registered):
            self._register(event)
        elif isinstance(event, LandmarkChecked):
            self._check(event)
        elif isinstance(event, NeedleSelected):
            self._select(event)
        elif isinstance(event, SessionHeld):
            said = f"{event.reason} Guidance says stop until a needle is selected."
            self._latched.latch(DoubtKind.HELD, said, event.time_s)
        elif isinstance(event, NeedlePlaced):
            self._place(event)
        elif isinstance(event, NeedleWithdrawn):
            self._withdraw(event)
        elif isinstance(event, EnergyDelivered):
            self._deliver(event)
        else:
            self._replace(event)
        return None

    def guidance(self, time_s: float) -> Guidance:
        """What the session says at a time; it changes nothing."""
        require_time(time_s, "the time for which guidance is asked")
        doubts = self._latched.doubts
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
        planned = None if self.order is None else planned_of(self.order, self.planned)
        return advised(
            Moment(
                time_s,
                planned,
                None if planned is None else shape_of(planned, self.applicators),
                self.registration,
                pair,
                self._breathing.displacement_mm(time_s),
                self._breathing.away_mm(time_s),
                frozenset() if planned is None else self._paths.of(planned.order),
            ),
            doubts,
            self.options,
            self._structures,
            self._skin_box,
        )

    def _arrived(self, time_s: float) -> None:
        back_s = self._clock_s - time_s
        if back_s > self.options.clock_s:
            self._latched.clock_ran_back(time_s)
            said = f"The session's clock ran back by {back_s:.2f} s: register again."
            self._latched.latch(DoubtKind.CLOCK, said, time_s)
            self._clock_s = time_s
        self._clock_s = max(self._clock_s, time_s)

    def _register(self, event: Registered) -> None:
        self.registration = event
        self._latched.registered(event)
        self._tools.forget(event.oldest_s, event.time_s)
        self._breathing.forget()
        self._clock_s = event.time_s

    def _check(self, event: LandmarkChecked) -> None:
        X_PN, measured_s = self._fresh(event)
        off_mm = _off_mm(X_PN, event)
        if off_mm <= self.options.check_mm:
            self._latched.touched(measured_s)
            return
        # A later check that holds cannot undo it: somewhere the registration does not hold.
        said = (
            f"Landmark {event.name} was found {off_mm:.1f} mm from its place, where {self.options.check_mm:g} mm "
            "are allowed: register again."
        )
        self._latched.latch(DoubtKind.REGISTRATION_UNSURE, said, event.time_s)

    def landmark_off_mm(self, event: LandmarkChecked) -> float:
        """How far the needle's tip is from a landmark that it touches.

        Raises:
            NavigationError: there is no registration, or no fresh pose.
        """
        return _off_mm(self._fresh(event)[0], event)

    def _fresh(self, event: LandmarkChecked) -> tuple[FloatArray, float]:
        """(4, 4) needle in the patient as a landmark is touched, and when it was measured."""
        what = f"landmark {event.name} cannot be checked"
        if self.registration is None:
            raise NavigationError(f"{what}: register patient and reference first")
        pair, found = self._tools.at(event.time_s)
        if found or pair is None:
            raise NavigationError(f"{what}: {found[0].sentence}")
        return self.registration.X_PR.matrix @ pair.X_RN, pair.measured_s

    def _select(self, event: NeedleSelected) -> None:
        planned_of(event.order, self.planned)
        self.order = event.order
        self._latched.selected()

    def _withdraw(self, event: NeedleWithdrawn) -> None:
        if event.order not in self._measured:
            raise NavigationError(f"needle {event.order} does not stand in the patient, so it cannot be drawn out")
        del self._measured[event.order]
        if self.order == event.order:
            self.order = None

    def _deliver(self, event: EnergyDelivered) -> None:
        shape_of(event.insertion, self.applicators)
        require_delivered(event.insertion, self.planned, self.queries)
        require_first_told(event, zip(self._delivered_s, self.delivered, strict=True))
        self.delivered = (*self.delivered, event.insertion)
        self._delivered_s.append(event.time_s)

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
        require_known(event.insertions, self.applicators)
        require_within(event.insertions, self.queries)
        self._paths.replace(event.insertions)
        self.planned = event.insertions
        if self.order not in {one.order for one in event.insertions}:
            self.order = None


def _off_mm(X_PN: FloatArray, event: LandmarkChecked) -> float:
    return float(np.linalg.norm(X_PN[:3, 3] - np.asarray(event.planned_mm)))
