"""The angles at which a needle is set up in a CT room: within the slice, out of it, and the tilt that brings it in.

All of them are closed forms of the needle's direction along three axes of the patient on the table: up, away from
the table; cranial, towards the head and level; and across, level and at right angles to both. Across points to the
patient's left, and to the front of a patient who lies on a side, whose left points up or down.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.case.model import Case, PatientPosition
from needleplan.errors import FrameError
from needleplan.frames import FloatArray, unit_vector

#: Tilt that CT gantries which tilt at all usually reach, either way (assumption; vendors state 24 to 30 degrees).
USUAL_TILT_DEG = 30.0

#: Positions in which across is the opposite of cranial x up.
_TURNED = (PatientPosition.PRONE, PatientPosition.RIGHT)


@dataclass(frozen=True, slots=True)
class GantryAngles:
    """Angles of one needle, in degrees.

    Attributes:
        in_plane_deg: in the axial slice, from straight down to the needle's projection, -180 to 180, positive where
            the tip lies to the patient's left (the front, of a patient on a side); 0 for a needle along the body.
        out_of_plane_deg: of the needle to the axial slice, -90 to 90, positive where the tip lies headwards.
        gantry_tilt_deg: turn of the slice about the level line across the table that brings the whole needle into
            it, above -90 to 90, positive where the slice's top leans towards the head.
        tilted_in_plane_deg: angle within that slice, from its downward line, counted as ``in_plane_deg``.
    """

    in_plane_deg: float
    out_of_plane_deg: float
    gantry_tilt_deg: float
    tilted_in_plane_deg: float

    @property
    def tilt_is_usual(self) -> bool:
        """True where a gantry that tilts at all can usually be tilted so far."""
        return abs(self.gantry_tilt_deg) <= USUAL_TILT_DEG


def table_axes(case: Case) -> FloatArray:
    """(3, 3) columns: unit vectors across, up and cranial, in the case's world; they move with a moved case.

    Raises:
        FrameError: the patient stands upright, so that up is cranial.
    """
    head = case.cranial - (case.cranial @ case.up) * case.up
    if np.linalg.norm(head) < 1e-6:
        raise FrameError(f"case {case.name}: up and cranial are one direction, so there is no slice to count in")
    head = unit_vector(head)
    across = np.cross(head, case.up) * drawn_right(case)
    return np.stack([across, case.up, head], axis=1)


def positive_side(case: Case) -> str:
    """Where across points to, in a word: the patient's "left", or the "front" of one who lies on a side."""
    return "left" if case.position in (PatientPosition.SUPINE, PatientPosition.PRONE) else "front"


def drawn_right(case: Case) -> float:
    """1 where across points right in an axial picture seen from the feet with up above, -1 where it points left."""
    return -1.0 if case.position in _TURNED else 1.0


def gantry_angles(direction: ArrayLike, case: Case) -> GantryAngles:
    """The angles of a needle.

    Args:
        direction: (3,) from entry to tip, in the case's world.
        case: the patient, for how it lies.

    Raises:
        FrameError: the direction is zero, or the patient stands upright.
    """
    across, upward, rise = (float(part) for part in unit_vector(direction) @ table_axes(case))
    # What rounding leaves of nothing must not become an angle.
    across, upward, rise = (0.0 if abs(part) < 1e-12 else part for part in (across, upward, rise))
    level = math.hypot(across, upward)
    # The tilted slice holds the line across and, at right angles to it, the needle's course seen from the side.
    if upward < 0:
        tilt, downward = math.atan2(-rise, -upward), math.hypot(upward, rise)
    elif upward > 0:
        tilt, downward = math.atan2(rise, upward), -math.hypot(upward, rise)
    else:
        tilt, downward = (math.pi / 2 if rise else 0.0), -rise
    return GantryAngles(
        math.degrees(math.atan2(across, -upward)) if level else 0.0,
        math.degrees(math.atan2(rise, level)),
        math.degrees(tilt),
        math.degrees(math.atan2(across, downward)),
    )
