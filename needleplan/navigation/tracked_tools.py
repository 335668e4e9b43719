"""Needle and reference together: their poses as they come, the newest pair of one moment, and what is wrong."""

from needleplan.navigation.events import PoseRefused, ToolPose, TrackedTool
from needleplan.navigation.guidance import Doubt, DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.relative_motion import RelativeMotion
from needleplan.navigation.tool_track import PosePair, ToolTrack, newest_pair

_STALE = frozenset({DoubtKind.STALE_NEEDLE, DoubtKind.STALE_REFERENCE})


class TrackedTools:
    """The tracks of both tools.

    Args:
        options: limits.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self._needle = ToolTrack(TrackedTool.NEEDLE, options)
        self._reference = ToolTrack(TrackedTool.REFERENCE, options)
        self._motion = RelativeMotion(options)
        self._pair: PosePair | None = None

    @property
    def ignored(self) -> dict[str, int]:
        """Poses that were not used, by tool and reason."""
        return {
            f"{track.tool}, {reason}": count
            for track in (self._needle, self._reference)
            for reason, count in track.ignored.items()
        }

    def take(self, event: ToolPose | PoseRefused) -> list[Doubt]:
        """One more pose; returns doubts that stand until somebody looked or registered again."""
        track = self._needle if event.tool is TrackedTool.NEEDLE else self._reference
        if isinstance(event, PoseRefused):
            track.refuse(event)
            return []
        used = track.take(event)
        found = []
        if not used and track.clock_set_back:
            sentence = f"The clock of the {event.tool}'s poses was set back: register again."
            found.append(Doubt(DoubtKind.CLOCK, sentence))
        if not used:
            return found
        pair = newest_pair(self._needle, self._reference)
        if pair is None or (self._pair is not None and pair.measured_s < self._pair.measured_s):
            return found
        self._pair = pair
        moved = self._motion.take(pair)
        return found if moved is None else [*found, moved]

    def forget(self, until_s: float, now_s: float) -> None:
        """Begin again, as after a registration: the reference may sit elsewhere, and a clock may be new.

        Args:
            until_s: how needle and reference moved is forgotten until this moment, when the oldest measurement was
                made that the registration rests on.
            now_s: when it is taken; what is said to be measured later was so on another clock.
        """
        for track in (self._needle, self._reference):
            track.forget()
        self._motion.forget(until_s, now_s)
        self._pair = None

    def at(self, time_s: float) -> tuple[PosePair | None, list[Doubt]]:
        """The newest pair where it is fresh at a time, and why the tools cannot be relied on then."""
        found = self._needle.doubts(time_s)
        if self.options.reference:
            found += self._reference.doubts(time_s)
        pair = self._pair
        if pair is not None and time_s - pair.measured_s <= self.options.pose_age_s:
            return pair, found
        if not any(doubt.kind in _STALE for doubt in found):
            sentence = (
                "Needle and reference are not measured at the same moments: let the tracker stamp both alike."
            )
            found.append(Doubt(DoubtKind.STALE_REFERENCE, sentence))
        return None, found
