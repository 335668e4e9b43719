"""What the server says: to one client or to all, and in what form."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from needleplan.frames import Frame, RigidTransform, perpendicular_axes
from needleplan.io.openigtlink.coordinates import pose_to_wire
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.text_bodies import MAXIMUM_STRING_BYTES, Status, StatusCode, Text
from needleplan.io.value_json import to_json
from needleplan.navigation.guidance import Advice, Guidance

#: What STATUS "Guidance" bears for each advice; only OK lets a needle go on, and no two share one.
ADVICE_CODES = {
    Advice.GO: StatusCode.OK,
    Advice.ARRIVED: StatusCode.MANUAL_MODE,
    Advice.WAIT: StatusCode.NOT_READY,
    Advice.HOLD: StatusCode.DISABLED,
    Advice.STOP: StatusCode.PANIC,
}


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """One message to be sent.

    Attributes:
        message: the message.
        peer: number of the client; None for all.
        newest_only: True where a newer one of its type and device takes its place while it waits for a slow client.
    """

    message: Message
    peer: int | None = None
    newest_only: bool = False


def json_text(device: str, value: dict[str, Any], time_s: float) -> Message:
    """STRING of strict JSON in ASCII."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    if len(text) > MAXIMUM_STRING_BYTES:
        text = json.dumps({"ok": False, "error": "the answer is too long to be sent"})
    return Message.at(time_s, device, Text(text))


def status(device: str, code: StatusCode, name: str, sentence: str, time_s: float) -> Message:
    """STATUS of a device."""
    return Message.at(time_s, device, Status(code, 0, name[:20], sentence))


def answer(peer: int, echo: str, ok: bool, content: dict[str, Any], time_s: float) -> list[Outgoing]:
    """The STRING "Answer" to a command, and a STATUS that says in short how it went."""
    said = "" if ok else str(content.get("error", ""))
    code = StatusCode.OK if ok else StatusCode.UNKNOWN_INSTRUCTION
    return [
        Outgoing(json_text("Answer", {"command": echo, "ok": ok, **content}, time_s), peer),
        Outgoing(status("Command", code, "ok" if ok else "refused", said, time_s), peer),
    ]


def guidance_messages(said: Guidance, epoch_s: float, peer: int) -> list[Outgoing]:
    """STRING "Guidance" as JSON, and TRANSFORM "NeedleInPatient" where the needle's place is known.

    Args:
        said: the guidance; lengths in the text are patient LPS, as everywhere but in the protocol's own poses.
        epoch_s: seconds since 1970 at the session's 0.
        peer: to whom.
    """
    found = [Outgoing(json_text("Guidance", to_json(said), epoch_s + said.time_s), peer, True)]
    if said.tip_mm is not None and said.direction is not None and said.pose_age_s is not None:
        measured_s = epoch_s + said.time_s - said.pose_age_s
        pose = pose_to_wire(pose_along(said.tip_mm, said.direction))
        found.append(Outgoing(Message.at(measured_s, "NeedleInPatient", pose), peer, True))
    return found


def advice_status(said: Guidance, epoch_s: float) -> Message:
    """STATUS "Guidance": may the needle go on, and if not, why."""
    words = " ".join(doubt.sentence for doubt in said.doubts)
    return status("Guidance", ADVICE_CODES[said.advice], said.advice.value, words, epoch_s + said.time_s)


def pose_along(tip_mm: ArrayLike, direction: ArrayLike) -> RigidTransform:
    """Pose X_PN of a needle of a tip and a direction; how it is turned about its axis means nothing."""
    axis = np.asarray(direction, np.float64)
    side, other = perpendicular_axes(axis)
    rotation = np.column_stack([side, other, axis / np.linalg.norm(axis)])
    return RigidTransform.from_parts(Frame.PATIENT, Frame.NEEDLE, rotation, np.asarray(tip_mm))
