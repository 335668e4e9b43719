"""What takes longer than the live loop may wait: planning again, scores, registrations, zones to be shown."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.serve.plan_messages import zone_image, zone_messages
from needleplan.assess import assess_zone
from needleplan.coverage.treatment_state import TreatmentState
from needleplan.errors import NavigationError, NeedleplanError
from needleplan.frames import FloatArray, RigidTransform
from needleplan.io.openigtlink.messages import Message
from needleplan.navigation.events import PlanReplaced, Registered
from needleplan.navigation.live_replanning import LiveReplanner
from needleplan.navigation.patient_registration import TouchedPoint, register_fiducials, register_skin
from needleplan.plan import Insertion, Metrics, Plan, Vector3


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """What jobs are done with.

    Attributes:
        plan: what is carried out.
        queries: its anatomy.
        zone_model: the model that predicted its zones.
    """

    plan: Plan
    queries: AnatomyQueries
    zone_model: EllipsoidTableModel


@dataclass(frozen=True, slots=True, eq=False)
class ReplanJob:
    """Plan the rest again."""

    state: TreatmentState
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class FiducialJob:
    """Register by touched points; ``sure`` where people made sure that none of the sets is mirrored."""

    image_mm: Mapping[str, Vector3]
    touched: tuple[TouchedPoint, ...]
    tips_mm: tuple[Vector3, ...]
    time_s: float
    sure: bool


@dataclass(frozen=True, slots=True, eq=False)
class SkinJob:
    """Register by stroked skin, from a registration nearby."""

    swept_mm: FloatArray
    start: RigidTransform
    tips_mm: tuple[Vector3, ...]
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class AssessJob:
    """Score what was delivered, and that together with what is left."""

    delivered: tuple[Insertion, ...]
    left: tuple[Insertion, ...]


Job = ReplanJob | FiducialJob | SkinJob | AssessJob


@dataclass(frozen=True, slots=True, eq=False)
class JobDone:
    """What a job came to.

    Attributes:
        failure: why it failed, in a sentence; None where it did not.
        event: what the session shall take; None where it is only told.
        words: what people shall read.
        scores: by name.
        zones: the zones of a new plan, to be sent.
        image: their label map, to be sent where it is asked for.
    """

    failure: str | None = None
    event: Registered | PlanReplaced | None = None
    words: tuple[str, ...] = ()
    scores: dict[str, Metrics] = field(default_factory=dict)
    zones: tuple[Message, ...] = ()
    image: tuple[Message, ...] = ()


class JobRunner(ABC):
    """Does one job at a time, beside the live loop."""

    @property
    @abstractmethod
    def state(self) -> str:
        """One of "preparing" (jobs are taken, planning waits), "ready" and "ended" (nothing is done any more)."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Begin a job; NavigationError where one is under way, or none can be done."""

    @abstractmethod
    def poll(self) -> JobDone | None:
        """What the job came to, once; None while it is under way, and where there is none. Never waits."""

    @abstractmethod
    def close(self) -> None:
        """End; what is under way is given up."""


def done(job: Job, patient: Patient, replanner: LiveReplanner | None) -> JobDone:
    """Do a job here and now; whatever it raises on purpose is its failure."""
    try:
        return _done(job, patient, replanner)
    except NeedleplanError as error:
        return JobDone(str(error))


def _done(job: Job, patient: Patient, replanner: LiveReplanner | None) -> JobDone:
    if isinstance(job, ReplanJob):
        if replanner is None:
            raise NavigationError("this server was started without planning again")
        found = replanner.replan(job.state, job.time_s)
        insertions = found.event.insertions
        zones, image = (make(insertions, patient.zone_model) for make in (zone_messages, zone_image))
        return JobDone(None, found.event, found.event.reason, zones=zones, image=image)
    if isinstance(job, FiducialJob):
        event = register_fiducials(
            job.image_mm, job.touched, job.tips_mm, job.time_s, hand_confirmed=job.sure
        ).event
        return JobDone(None, event, event.statement)
    if isinstance(job, SkinJob):
        skin = patient.queries.anatomy.entry.mesh
        event = register_skin(job.swept_mm, skin, job.start, job.tips_mm, job.time_s).event
        return JobDone(None, event, event.statement)
    margin_mm = patient.plan.metrics.margin_mm if patient.plan.metrics is not None else 0.0
    scores = {}
    for name, insertions in (("delivered", job.delivered), ("expected", (*job.delivered, *job.left))):
        if any(one.ablations for one in insertions):
            zone = patient.zone_model.zone(insertions)
            scores[name] = assess_zone(patient.queries, zone, margin_mm).metrics
    words = () if scores else ("Nothing was delivered, and nothing is left to do.",)
    return JobDone(words=words, scores=scores)
