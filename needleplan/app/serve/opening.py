"""What a server needs before it listens: the session with its log, its clock, and what clients are shown."""

import dataclasses
from pathlib import Path

import numpy as np

from needleplan.app.folder import PlanFolder
from needleplan.app.serve.jobs import Patient
from needleplan.app.serve.navigation_server import SessionClock
from needleplan.app.serve.options import PoseFrame, ServeOptions
from needleplan.app.serve.plan_messages import route_messages, zone_image, zone_messages
from needleplan.app.serve.served_session import Shown
from needleplan.app.serve.touching import named_points
from needleplan.errors import NavigationError, OptionError, PlanFileError
from needleplan.frames import Frame, RigidTransform
from needleplan.io.itk_transforms import read_transform
from needleplan.io.slicer_markups import read_markups
from needleplan.navigation.events import Registered, RegistrationMethod, SessionHeld
from needleplan.navigation.live_session import LiveSession
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.recorded_session import RecordedSession
from needleplan.plan import Vector3
from needleplan.registration.pose_covariance import PoseCovariance

#: Log of a session in the folder of its plan, where no other is named.
LOG_NAME = "session.log"


def new_session(patient: Patient, options: ServeOptions) -> LiveSession:
    """A session of a patient by the options of a server."""
    if not patient.plan.insertions:
        raise PlanFileError("the plan holds no insertion, so there is nothing to guide")
    # Search structures are made when first asked, which takes seconds; nobody shall wait for that with a needle in.
    patient.queries.distance(patient.queries.anatomy.entry).signed_distance_mm([patient.plan.insertions[0].tip_mm])
    limits = dataclasses.replace(options.session, reference=options.poses is PoseFrame.TRACKER)
    return LiveSession(patient.plan, patient.queries, patient.zone_model.catalogue.applicators, limits)


def open_recorded(log: Path, session: LiveSession, resume: bool) -> tuple[RecordedSession, SessionClock]:
    """The session with its log, and its clock.

    A resumed session's clock goes on where the record ended, as if no time had passed. What moved by little
    meanwhile cannot be told from what stood still, so that guidance says stop, and why, until a needle is selected.

    Args:
        log: file of the log.
        session: a new session.
        resume: True goes on with a log; False begins one, and writes over none.

    Raises:
        NavigationError: there is a log where none may be, or none where one must be, or it is of another session.
    """
    if not resume:
        if log.exists():
            raise NavigationError(
                f"{log.name}: there is a log of a session already, and none is written over; go on with it by "
                "--resume, or name another by --log"
            )
        return RecordedSession.begin(log, session), SessionClock()
    recorded = RecordedSession.resume(log, session)
    recorded.take(SessionHeld(session.clock_s, _resumed(session.options)))
    return recorded, SessionClock(session.clock_s)


def _resumed(options: SessionOptions) -> str:
    unseen = f"A needle that moved by less than {options.jump_mm:g} mm meanwhile is not seen"
    if options.reference:
        unseen += f", nor is a reference that moved by less than {options.reference_shift_mm:g} mm"
    else:
        unseen += ", nor is a patient that did, as no reference is watched here"
    return f"The session goes on after a break. {unseen}: check a landmark first."


def stated_registration(
    patient: Patient, transform: Path | None, options: ServeOptions, time_s: float
) -> Registered | None:
    """A registration that was computed elsewhere; None where none is stated.

    Args:
        patient: the patient.
        transform: ITK transform file of X_PR, the pose of the reference in patient LPS.
        options: with the frame of the poses, and how exactly it is known.
        time_s: now, on the session's clock.

    Raises:
        OptionError: a transform is given where poses come in the patient already.
        CaseError: the file holds no rigid transform.
    """
    if options.poses is PoseFrame.PATIENT:
        if transform is not None:
            raise OptionError("poses that come in the patient need no --registration: leave one of the two out")
        pose = RigidTransform.identity(Frame.PATIENT, Frame.REFERENCE)
        said = "Poses come in the patient: whoever sends them has registered."
    elif transform is not None:
        pose = read_transform(transform, Frame.PATIENT, Frame.REFERENCE)
        said = "The registration was computed elsewhere and handed in."
    else:
        return None
    covariance = None
    if options.registration_mm is not None:
        middle = patient.queries.anatomy.target.mesh.bounds_mm.mean(axis=0)
        covariance = PoseCovariance.of_parts(Frame.PATIENT, middle, options.registration_mm**2)
        error_mm = float(np.sqrt(3.0)) * options.registration_mm
        said += f" At the target it is stated to err by {error_mm:.1f} mm (root mean square)."
    return Registered(time_s, pose, covariance, RegistrationMethod.STATED, 0.0, (said,))


def fiducials_of(path: Path | None) -> dict[str, Vector3]:
    """The named points of a markups file; empty where there is none."""
    return {} if path is None else named_points(read_markups(path), path.name)


def what_is_shown(patient: Patient, folder: PlanFolder, robot: str | None, session: LiveSession) -> Shown:
    """Zones and route of a session.

    Args:
        patient: the patient.
        folder: of the plan.
        robot: name of a robot that carried the plan out; None takes the route of the rehearsal, where there is one.
        session: with what is planned now.

    Raises:
        OptionError: the folder holds no such robot.
        PlanFileError: the route is damaged, or of another plan.
    """
    path = folder.route
    if robot is not None:
        known = sorted(found.parent.name for found in folder.robots.glob("*/route.json"))
        if robot not in known:
            raise OptionError(
                f"no robot {robot!r} carried the plan out: there are {', '.join(known) or 'none'}; see "
                "'needleplan carry'"
            )
        path = folder.robots / robot / "route.json"
    # A plan that was replaced in the session is not the one that the route is of.
    fits = session.planned == patient.plan.insertions
    route = route_messages(path, [one.order for one in session.planned]) if fits and path.is_file() else ()
    model = patient.zone_model
    return Shown(zone_messages(session.planned, model), zone_image(session.planned, model), route)
