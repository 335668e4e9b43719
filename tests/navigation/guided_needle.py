"""A tracked needle in the made patient: oblique tracker and reference frames, noise, breathing, and faults."""

from dataclasses import dataclass, field

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.frames import Frame, RigidTransform, perpendicular_axes
from needleplan.navigation.events import (
    BreathingSample,
    NeedleSelected,
    Registered,
    RegistrationMethod,
    TrackedTool,
    pose_event,
)
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.options import SessionOptions
from needleplan.plan import Insertion
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.rotations import rotations_of
from tests.sim.made_patient import make_anatomy, make_plan

ANATOMY = make_anatomy()
QUERIES = AnatomyQueries(ANATOMY)
PLAN = make_plan(ANATOMY, 2)
APPLICATORS = EllipsoidTableModel().catalogue.applicators
#: Where the tracker looks from, and where the reference sits: oblique, none along the patient's axes.
X_TP = np.eye(4)
X_TP[:3, :3] = rotations_of(np.array([0.7, -1.1, 0.4]))
X_TP[:3, 3] = (130.0, -60.0, 1400.0)
X_PR = np.eye(4)
X_PR[:3, :3] = rotations_of(np.array([-0.3, 0.5, 1.9]))
X_PR[:3, 3] = (90.0, -110.0, 150.0)
STEP_S = 1.0 / 60.0
LATENCY_S = 0.01


def needle_pose(insertion: Insertion, to_go_mm=30.0, aside_mm=0.0, tilt_deg=0.0, roll_deg=20.0):
    """(4, 4) needle in the patient: short of its plan, beside it, tilted about its tip, rolled about its axis."""
    x, y = perpendicular_axes(insertion.direction)
    tilt = np.radians(tilt_deg)
    z = np.cos(tilt) * insertion.direction + np.sin(tilt) * y
    turned = np.cross(z, x)
    rolled = np.radians(roll_deg)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([x, turned, z]) @ rotations_of(np.array([0.0, 0.0, rolled]))
    pose[:3, 3] = np.asarray(insertion.tip_mm) - to_go_mm * insertion.direction + aside_mm * x
    return pose


@dataclass
class Stream:
    """A steady stream of poses and breathing samples into a session (or what records one).

    The matrices may be changed at any time; ``hook`` may change or drop each event.
    """

    session: object
    X_PN: np.ndarray
    X_TP: np.ndarray = field(default_factory=X_TP.copy)
    X_PR: np.ndarray = field(default_factory=X_PR.copy)
    displacement_mm: tuple = (0.0, 0.0, 0.0)
    noise_mm: float = 0.01
    time_s: float = 0.1
    hook: object = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def shaken(self, pose):
        result = np.array(pose)
        result[:3, 3] += self.noise_mm * self.rng.standard_normal(3)
        return result

    def events(self):
        where = self.displacement_mm(self.time_s) if callable(self.displacement_mm) else self.displacement_mm
        seen_s = self.time_s + LATENCY_S
        tracked = ((TrackedTool.NEEDLE, self.X_PN), (TrackedTool.REFERENCE, self.X_PR))
        for tool, pose in tracked:
            yield pose_event(tool, self.time_s, seen_s, self.shaken(self.X_TP @ pose))
        moved = np.asarray(where) + 0.05 * self.rng.standard_normal(3)
        yield BreathingSample(self.time_s, seen_s, tuple(moved))

    def go_on(self, seconds: float):
        """Feed for a time; returns the guidance just after the last event."""
        for _ in range(max(1, round(seconds / STEP_S))):
            self.time_s += STEP_S
            for event in self.events():
                event = event if self.hook is None else self.hook(event)
                if event is not None:
                    self.session.take(event)
        return self.guidance()

    @property
    def now_s(self):
        return self.time_s + LATENCY_S + 0.002

    def guidance(self):
        session = getattr(self.session, "session", self.session)
        return session.guidance(self.now_s)


def registration(time_s=0.0, X=X_PR, shift_mm=0.3, **given):
    covariance = PoseCovariance.of_parts(Frame.PATIENT, PLAN.insertions[0].tip_mm, shift_mm**2 / 3.0)
    pose = RigidTransform(Frame.PATIENT, Frame.REFERENCE, X)
    return Registered(time_s, pose, given.pop("covariance", covariance), RegistrationMethod.FIDUCIALS, 0.4, **given)


def new_session(body=None, **options) -> LiveSession:
    return LiveSession(PLAN, QUERIES, APPLICATORS, SessionOptions(**options), body=body)


def started(session=None, order=1, registered=True, **pose) -> Stream:
    """A stream of which the session is registered, has its needle selected, and says go."""
    session = session or new_session()
    if registered:
        session.take(registration())
    session.take(NeedleSelected(0.05, order))
    stream = Stream(session, needle_pose(PLAN.insertions[order - 1], **pose))
    stream.go_on(0.6)
    return stream


def kinds(guidance):
    return {doubt.kind for doubt in guidance.doubts}
