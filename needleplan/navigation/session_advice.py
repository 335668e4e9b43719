"""From what is known at one moment to advice: figures, doubts, and whether the needle may go on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.devices.catalogue import Applicator
from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.navigation.events import Registered
from needleplan.navigation.guidance import Advice, Doubt, DoubtKind, Guidance
from needleplan.navigation.needle_course import NeedleCourse
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.relative_motion import angle_deg, turned_about_z
from needleplan.navigation.structure_watch import Nearness, StructureWatch
from needleplan.navigation.tool_track import PosePair
from needleplan.plan import Insertion, vector3

#: A tip farther than this from the box of the body is not one of this patient.
_NEIGHBOURHOOD_MM = 400.0
#: A flipped pose that lies so near to the planned axis, and so near to its direction, explains one that does not.
_FLIP_MM, _FLIP_DEG = 25.0, 15.0


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What is known at one moment.

    Attributes:
        time_s: the moment.
        planned: the insertion under way; None before one is selected.
        applicator: its needle.
        registration: the one that stands.
        pair: needle and reference, where they are fresh.
        displacement_mm: (3,) of the target, where it is known.
        away_mm: distance from end-exhale by which the gate is judged.
        passed: structures that the planned path itself passes.
    """

    time_s: float
    planned: Insertion | None
    applicator: Applicator | None
    registration: Registered | None
    pair: PosePair | None
    displacement_mm: FloatArray | None
    away_mm: float | None
    passed: frozenset[str]


def advised(
    moment: Moment,
    doubts: Sequence[Doubt],
    options: SessionOptions,
    structures: StructureWatch,
    skin_box_mm: FloatArray,
) -> Guidance:
    """The guidance at a moment.

    Args:
        moment: what is known.
        doubts: those that are known before the needle is looked at.
        options: limits.
        structures: distances to what must not be touched.
        skin_box_mm: (2, 3) least and greatest coordinates of the body.
    """
    found = list(doubts)
    planned, registration, pair = moment.planned, moment.registration, moment.pair
    if planned is None:
        found.append(Doubt(DoubtKind.NO_NEEDLE, "No needle is selected: select an insertion of the plan."))
    error_mm = _registration_doubts(registration, planned, options, found)
    displacement, away_mm = moment.displacement_mm, moment.away_mm
    gate_open = None if away_mm is None else away_mm <= options.gate_mm
    if away_mm is not None and not gate_open:
        found.append(
            Doubt(
                DoubtKind.GATE_SHUT,
                f"The target may lie {away_mm:.1f} mm from end-exhale, where the gate is "
                f"{options.gate_mm:g} mm: wait.",
            )
        )
    course: NeedleCourse | None = None
    near: Nearness | None = None
    X_PN: FloatArray | None = None
    if pair is not None and registration is not None:
        X_PN = registration.X_PR.matrix @ pair.X_RN
        found += _frame_doubts(X_PN, pair, registration, planned, skin_box_mm)
        if planned is not None:
            course = NeedleCourse.of(X_PN, planned)
            # While the gate is shut a needle in the tissue goes along with it: it is judged when it opens.
            if gate_open is not False:
                found += _course_doubts(course, options)
            near = _nearness(course, moment, structures, found)
    touching = _structure_doubts(near, gate_open, error_mm, options, found)
    arrived = course is not None and course.to_go_mm is not None and abs(course.to_go_mm) <= options.arrived_mm
    kinds = {doubt.kind for doubt in found}
    if touching or DoubtKind.HELD in kinds:
        advice = Advice.STOP
    elif not kinds:
        advice = Advice.ARRIVED if arrived else Advice.GO
    else:
        advice = Advice.WAIT if kinds == {DoubtKind.GATE_SHUT} else Advice.HOLD
    lateral = None if course is None else course.lateral_mm
    return Guidance(
        time_s=moment.time_s,
        order=None if planned is None else planned.order,
        advice=advice,
        doubts=tuple(found),
        tip_mm=None if X_PN is None else vector3(X_PN[:3, 3]),
        direction=None if X_PN is None else vector3(X_PN[:3, 2]),
        deviation=None if course is None else course.deviation,
        to_go_mm=None if course is None else course.to_go_mm,
        predicted_lateral_mm=lateral,
        predicted_error_mm=None if lateral is None or error_mm is None else math.hypot(lateral, error_mm),
        nearest=None if near is None else near.nearest,
        displacement_mm=None if displacement is None else vector3(displacement),
        gate_open=gate_open,
        pose_age_s=None if pair is None else moment.time_s - pair.measured_s,
    )


def _registration_doubts(
    registration: Registered | None, planned: Insertion | None, options: SessionOptions, found: list[Doubt]
) -> float | None:
    """Expected error at the planned tip; None where it is not known."""
    if registration is None:
        found.append(Doubt(DoubtKind.NOT_REGISTERED, "Patient and reference are not registered: register them."))
        return None
    unsure = DoubtKind.REGISTRATION_UNSURE
    found += [Doubt(unsure, sentence) for sentence in registration.unsure]
    if registration.covariance is None:
        found.append(Doubt(unsure, "How exactly patient and reference are registered is not known: state it."))
        return None
    if planned is None:
        return None
    error_mm = registration.covariance.tre_mm(planned.tip_mm)
    if error_mm > options.registration_error_mm:
        found.append(
            Doubt(
                unsure,
                f"The registration is expected to err by {error_mm:.1f} mm at the planned tip, where "
                f"{options.registration_error_mm:g} mm are allowed: register again with points nearer to it.",
            )
        )
    return error_mm


def _frame_doubts(
    X_PN: FloatArray, pair: PosePair, registration: Registered, planned: Insertion | None, skin_box_mm: FloatArray
) -> list[Doubt]:
    tip, wrong = X_PN[:3, 3], DoubtKind.WRONG_FRAME
    away = np.maximum(np.maximum(skin_box_mm[0] - tip, tip - skin_box_mm[1]), 0.0)
    away_mm = float(np.linalg.norm(away))
    found = []
    if away_mm > _NEIGHBOURHOOD_MM:
        found.append(
            Doubt(
                wrong,
                f"The tip lies {away_mm:.0f} mm from the body: look at the frames and units of all poses.",
            )
        )
    if planned is None or _explains(X_PN, planned):
        return found
    axis = planned.direction
    if float(X_PN[:3, 2] @ axis) < 0.0:
        found.append(
            Doubt(
                wrong,
                f"The needle points {angle_deg(X_PN[:3, 2], axis):.0f} degrees away from its plan: tip and hub may "
                "be swapped, as +z must go from the hub to the tip.",
            )
        )
    X_PR = registration.X_PR.matrix
    for flipped in (turned_about_z(X_PN), X_PR @ turned_about_z(pair.X_RN)):
        if _explains(flipped, planned):
            found.append(
                Doubt(
                    wrong,
                    "The needle lies far from its plan, and near to it if x and y are turned about: one of the "
                    "poses may be in RAS where LPS is meant.",
                )
            )
            break
    return found


def _explains(X_PN: FloatArray, planned: Insertion) -> bool:
    """True where a needle lies along the planned axis."""
    axis = planned.direction
    offset = X_PN[:3, 3] - np.asarray(planned.tip_mm)
    beside = float(np.linalg.norm(offset - float(offset @ axis) * axis))
    return beside <= _FLIP_MM and angle_deg(X_PN[:3, 2], axis) <= _FLIP_DEG


def _course_doubts(course: NeedleCourse, options: SessionOptions) -> list[Doubt]:
    off = DoubtKind.OFF_PLAN
    found = []
    if course.lateral_mm is None or course.to_go_mm is None:
        return [Doubt(off, "The needle does not lead to the planned depth: turn it to its plan.")]
    if course.deviation.angle_deg > options.angle_deg:
        found.append(
            Doubt(
                off,
                f"The needle is turned by {course.deviation.angle_deg:.1f} degrees from its plan, where "
                f"{options.angle_deg:g} are allowed.",
            )
        )
    if course.lateral_mm > options.lateral_mm:
        found.append(
            Doubt(
                off,
                f"Straight on, the tip ends {course.lateral_mm:.1f} mm beside its plan, where "
                f"{options.lateral_mm:g} mm are allowed.",
            )
        )
    if course.to_go_mm < -options.arrived_mm:
        found.append(Doubt(off, f"The tip is {-course.to_go_mm:.1f} mm deeper than planned: draw it back."))
    return found


def _nearness(
    course: NeedleCourse, moment: Moment, structures: StructureWatch, found: list[Doubt]
) -> Nearness | None:
    assert moment.applicator is not None
    back = course.tip_mm - moment.applicator.usable_length_mm * course.direction
    forward = course.to_go_mm is not None and course.to_go_mm > 0.0
    end = course.end_mm if forward else course.tip_mm
    radius = moment.applicator.radius_mm
    try:
        return structures.nearness(back, course.tip_mm, end, radius, moment.displacement_mm, moment.passed)
    except MotionError as error:
        found.append(Doubt(DoubtKind.UNUSUAL_BREATHING, f"Where the organs are is not known: {error}."))
    return structures.nearness(back, course.tip_mm, end, radius, None, moment.passed)


def _structure_doubts(
    near: Nearness | None,
    gate_open: bool | None,
    error_mm: float | None,
    options: SessionOptions,
    found: list[Doubt],
) -> bool:
    """True where the needle touches a structure, as far as the registration can tell.

    With the gate shut the needle may have gone along with the tissue, so that only where both are now counts.
    """
    if near is None:
        return False
    unsure_mm = 0.0 if error_mm is None else error_mm
    least_mm = options.clearance_mm + unsure_mm
    judged = [] if near.now is None else [(near.now, "lies")]
    if gate_open is not False or near.now is None:
        judged += [(near.exhale, "at exhale lies"), (near.ahead, "will pass")]
    told = set()
    for (name, distance_mm), words in judged:
        if distance_mm < least_mm and name not in told:
            told.add(name)
            found.append(
                Doubt(
                    DoubtKind.NEAR_STRUCTURE,
                    f"The needle {words} {max(distance_mm, 0.0):.1f} mm from {name}, where {least_mm:.1f} mm must "
                    f"be ({options.clearance_mm:g} mm and the registration's error of {unsure_mm:.1f} mm).",
                )
            )
    return any(distance_mm <= unsure_mm for (_, distance_mm), words in judged if words != "will pass")
