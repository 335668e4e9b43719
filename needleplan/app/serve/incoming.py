"""From OpenIGTLink messages to events of the session: poses of needle and reference, and the breathing signal."""

from collections import Counter

import numpy as np

from needleplan.app.serve.options import PoseFrame, ServeOptions
from needleplan.app.serve.sender_clock import SenderClocks
from needleplan.errors import NavigationError, NetworkError
from needleplan.frames import FloatArray, Frame, RigidTransform
from needleplan.io.openigtlink.array_bodies import MILLIMETRE_UNIT, NumberArray, Sensor
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.coordinates import points_from_wire, pose_from_wire
from needleplan.io.openigtlink.link import Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.pose_bodies import Position, TrackingData, Transform
from needleplan.io.openigtlink.pose_bodies import TrackedTool as WireTool
from needleplan.navigation.events import BreathingSample, PoseRefused, ToolPose, TrackedTool
from needleplan.plan import Vector3, vector3

#: Bodies of which only the newest of a device matters here.
SAMPLE_BODIES = (Transform, Position, TrackingData, Sensor, NumberArray)

SampleEvent = ToolPose | PoseRefused | BreathingSample


class Incoming:
    """What samples of clients are to the session.

    A device belongs to the first client that sends it, until that one leaves: samples of the same name from another
    are not mixed with them.

    Args:
        options: names of the devices.
        clocks: brings stamps to the session's clock.
        breathing_direction: unit vector in patient LPS of a breathing signal of one value.

    Attributes:
        ignored: messages that were not used, by reason.
        owners: number of the client that each device belongs to.
    """

    def __init__(self, options: ServeOptions, clocks: SenderClocks, breathing_direction: Vector3) -> None:
        self._options = options
        self._clocks = clocks
        self._direction = np.asarray(breathing_direction)
        self._tools = {options.needle: TrackedTool.NEEDLE, options.reference: TrackedTool.REFERENCE}
        self.ignored: Counter[str] = Counter()
        self.owners: dict[str, int] = {}

    def left(self, peer: int) -> None:
        """A client is gone, and what belonged to it is free."""
        self.owners = {device: owner for device, owner in self.owners.items() if owner != peer}

    def events(self, received: Received) -> tuple[SampleEvent, ...]:
        """What a message is to the session; empty where it is nothing.

        Raises:
            NavigationError: the device belongs to another client; the client should know.
        """
        message, body = received.message, received.message.body
        if isinstance(body, TrackingData):
            pairs = [(tool.name, tool) for tool in body.tools]
            return tuple(event for name, tool in pairs for event in self._pose_events(name, tool, received))
        if message.device == self._options.breathing:
            return self._breathing_events(body, received)
        if isinstance(body, Transform | Position):
            return self._pose_events(message.device, body, received)
        self.ignored["of no use here"] += 1
        return ()

    def _owned(self, device: str, received: Received) -> None:
        owner = self.owners.setdefault(device, received.peer.number)
        if owner != received.peer.number:
            self.ignored["of a second sender"] += 1
            raise NavigationError(
                f"{device} comes from client {owner} already: samples of a second sender are not taken; stop one "
                "of the two, or name them otherwise"
            )

    def _pose_events(
        self, device: str, body: Transform | Position | WireTool, received: Received
    ) -> tuple[SampleEvent, ...]:
        tool = self._tools.get(device)
        if tool is None:
            self.ignored["of an unknown device"] += 1
            return ()
        if tool is TrackedTool.REFERENCE and self._options.poses is PoseFrame.PATIENT:
            self.ignored["reference, where poses come in the patient"] += 1
            return ()
        self._owned(device, received)
        arrival_s, message = received.arrival_s, received.message
        # Needle and reference come from one tracker, which has one clock.
        measured_s = self._clocks.measured_s("tracker", message.time_s, arrival_s)
        if measured_s is None:
            return (PoseRefused(tool, arrival_s, "it bears no time stamp, so that its age is not known"),)
        if measured_s < 0.0:
            return (PoseRefused(tool, arrival_s, "it was measured before this session began"),)
        if _unseen(message):
            return (ToolPose(tool, measured_s, arrival_s, None),)
        try:
            return (ToolPose(tool, measured_s, arrival_s, self._pose(tool, body)),)
        except (NetworkError, NavigationError) as error:
            return (PoseRefused(tool, arrival_s, str(error)),)

    def _pose(self, tool: TrackedTool, body: Transform | Position | WireTool) -> RigidTransform:
        child = Frame.NEEDLE if tool is TrackedTool.NEEDLE else Frame.REFERENCE
        if self._options.poses is PoseFrame.TRACKER:
            return pose_from_wire(body, Frame.TRACKER, child)
        # The sender has taken the reference out: to the session the patient is the tracker.
        return RigidTransform(Frame.TRACKER, child, pose_from_wire(body, Frame.PATIENT, child).matrix)

    def _breathing_events(self, body: MessageBody, received: Received) -> tuple[SampleEvent, ...]:
        self._owned(self._options.breathing, received)
        measured_s = self._clocks.measured_s("breathing", received.message.time_s, received.arrival_s)
        displacement = self._displacement_mm(body)
        if displacement is None:
            self.ignored["breathing that is not 1 or 3 finite numbers in mm"] += 1
            return ()
        if measured_s is None or measured_s < 0.0:
            self.ignored["breathing without a time, or of before the session"] += 1
            return ()
        return (BreathingSample(measured_s, received.arrival_s, vector3(displacement)),)

    def _displacement_mm(self, body: MessageBody) -> FloatArray | None:
        """(3,) displacement of the target, patient LPS; None where the body tells none."""
        if isinstance(body, Sensor):
            # A sensor may leave its unit out; one that states another than millimetres is not guessed at.
            values = body.values if body.unit in (0, MILLIMETRE_UNIT) else np.empty(0)
        elif isinstance(body, Position):
            values = body.position_mm.astype(np.float64)
        elif isinstance(body, NumberArray) and body.values.dtype.kind in "iuf":
            values = body.values.astype(np.float64).reshape(-1) if body.values.size <= 3 else np.empty(0)
        else:
            return None
        if values.shape not in ((1,), (3,)) or not np.isfinite(values).all():
            return None
        return points_from_wire(values) if len(values) == 3 else float(values[0]) * self._direction


def _unseen(message: Message) -> bool:
    """True where a tracker says with the message (version 2) that what it sends is not seen now.

    PLUS names the state "<transform>Status" or "TransformStatus" and says OK where a pose is one.
    """
    return any(key.lower().endswith("status") and value.upper() != "OK" for key, value in message.metadata)
