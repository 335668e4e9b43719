"""What needle and reference do that no hand and no breath does: jumps, and a reference that moved by itself."""

import math
from collections import deque

import numpy as np

from needleplan.frames import FloatArray
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.tool_track import PosePair, inverse_of

#: A point this far up the shaft shows a turn.
_UP_SHAFT_MM = 100.0
#: Time between two places of the reference that are kept to compare with.
_ANCHOR_STEP_S = 0.25
#: A motion that goes no more than this share of it across the needle's axis is one along the axis (27 degrees).
_ALONG_AXIS = 0.5


class RelativeMotion:
    """Compares each pair of poses with those before it.

    All that is measured is needle against reference, or a reference that the needle did not follow: a tracker that
    is pushed, or a table that is moved with everything on it, changes nothing. Of a needle that follows only its
    motion across its axis shows that the patient moved: along the axis it may be pushed while the reference slides.

    Args:
        options: limits.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self._last: PosePair | None = None
        self._anchors: deque[PosePair] = deque()

    def forget(self, until_s: float, now_s: float) -> None:
        """Forget what was measured until a moment, and what is said to be measured later than now."""
        self._anchors = deque(pair for pair in self._anchors if until_s < pair.measured_s <= now_s)
        if self._last is not None and not until_s < self._last.measured_s <= now_s:
            self._last = None

    def take(self, pair: PosePair) -> Doubt | None:
        """One more pair; returns what is wrong with it, if anything."""
        last = self._last
        if last is not None and pair.measured_s <= last.measured_s:
            return None
        self._last = pair
        moved = self._reference_moved(pair) if self._anchors else None
        if moved is not None:
            # It was told: from here on it is another motion that counts.
            self._anchors.clear()
        self._keep(pair)
        if moved is not None or last is None:
            return moved
        passed_s = pair.measured_s - last.measured_s
        way_mm = max(
            float(np.linalg.norm(_on_axis(pair.X_RN, up) - _on_axis(last.X_RN, up))) for up in (0.0, _UP_SHAFT_MM)
        )
        explained_s = passed_s if passed_s <= self.options.unseen_s else 0.0
        allowed_mm = self.options.jump_mm + self.options.tool_speed_mm_s * explained_s
        if way_mm <= allowed_mm:
            return None
        return Doubt(
            DoubtKind.JUMP,
            f"The needle came {way_mm:.1f} mm far within {passed_s:.3f} s between two poses, where at most "
            f"{allowed_mm:.1f} mm are explained: look at its marker and touch a landmark, or register again.",
        )

    def _reference_moved(self, pair: PosePair) -> Doubt | None:
        anchor = self._anchors[0]
        motion = pair.X_TR @ inverse_of(anchor.X_TR)
        # As far as the needle's tip is from the reference, a turn of it counts as well.
        shift_mm = max(
            float(np.linalg.norm(pair.X_TR[:3, 3] - anchor.X_TR[:3, 3])),
            float(np.linalg.norm(_carried(motion, anchor.X_TN[:3, 3]) - anchor.X_TN[:3, 3])),
        )
        if shift_mm <= self.options.reference_shift_mm:
            return None
        along_mm = max(
            float(np.linalg.norm(_on_axis(pair.X_TN, up) - _carried(motion, _on_axis(anchor.X_TN, up))))
            for up in (0.0, _UP_SHAFT_MM)
        )
        if along_mm > self.options.reference_shift_mm:
            said = f"The reference moved by {shift_mm:.1f} mm and the needle did not move along with it"
        elif self._along_axis(pair, anchor):
            said = (
                f"The reference moved by {shift_mm:.1f} mm along the needle's axis together with the needle, as it "
                "does if it slides while the needle is pushed"
            )
        else:
            return None
        return Doubt(
            DoubtKind.REFERENCE_MOVED, f"{said}: look whether it still sits where it sat, and register again."
        )

    def _along_axis(self, pair: PosePair, anchor: PosePair) -> bool:
        """True where the needle went along its own axis, as far as counts."""
        axis = anchor.X_TN[:3, 2]
        ways = [_on_axis(pair.X_TN, up) - _on_axis(anchor.X_TN, up) for up in (0.0, _UP_SHAFT_MM)]
        along_mm = max(abs(float(way @ axis)) for way in ways)
        across_mm = max(float(np.linalg.norm(way - float(way @ axis) * axis)) for way in ways)
        return along_mm > self.options.reference_shift_mm and across_mm <= _ALONG_AXIS * along_mm

    def _keep(self, pair: PosePair) -> None:
        anchors = self._anchors
        if not anchors or pair.measured_s - anchors[-1].measured_s >= _ANCHOR_STEP_S:
            anchors.append(pair)
        while len(anchors) > 1 and anchors[1].measured_s <= pair.measured_s - self.options.reference_drift_s:
            anchors.popleft()


def _on_axis(pose: FloatArray, up_mm: float) -> FloatArray:
    return np.asarray(pose[:3, 3] - up_mm * pose[:3, 2])


def _carried(motion: FloatArray, point: FloatArray) -> FloatArray:
    return np.asarray(motion[:3, :3] @ point + motion[:3, 3])


def turned_about_z(pose: FloatArray) -> FloatArray:
    """(4, 4) the pose with its place and its axes in RAS where they were in LPS, or the other way about."""
    flip = np.array([-1.0, -1.0, 1.0])
    result = np.array(pose)
    result[:3, :3] = pose[:3, :3] * np.outer(flip, flip)
    result[:3, 3] = pose[:3, 3] * flip
    return result


def angle_deg(one: FloatArray, other: FloatArray) -> float:
    """Angle of two unit vectors (3,)."""
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(one, other))), float(one @ other)))
