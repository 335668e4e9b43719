"""Pairs of needle and reference that a session would rely on, from poses that were gathered for a while."""

from collections.abc import Sequence

from needleplan.navigation.events import PoseRefused, ToolPose
from needleplan.navigation.guidance import Doubt
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.tool_track import PosePair
from needleplan.navigation.tracked_tools import TrackedTools


def relied_pairs(
    poses: Sequence[ToolPose | PoseRefused], options: SessionOptions | None
) -> tuple[list[PosePair], list[Doubt], list[Doubt]]:
    """Pairs that can be relied on when they arrive; doubts that stand until somebody looks; and the last others."""
    tools = TrackedTools(options or SessionOptions())
    found: dict[float, PosePair] = {}
    latched: list[Doubt] = []
    others: list[Doubt] = []
    for pose in poses:
        latched += tools.take(pose)
        pair, doubts = tools.at(pose.received_s)
        others = doubts or others
        if pair is not None and not doubts:
            found[pair.measured_s] = pair
    return [found[moment] for moment in sorted(found)], latched, others
