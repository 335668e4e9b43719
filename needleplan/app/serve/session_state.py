"""Where a session stands, in short, as clients are told."""

from typing import Any

from needleplan.app.serve.options import SenderClock, ServeOptions
from needleplan.navigation.live_session import LiveSession

RESEARCH = "Research software, not a medical device."
_CLOCKS = {
    SenderClock.SHARED: "Time stamps are taken to be by the clock of the server's machine.",
    SenderClock.OWN: "The delay of a sender's first poses is not seen: its clock is judged by them.",
    SenderClock.ARRIVAL: "Poses are taken to be measured when they arrive: a delay on their way is not seen.",
}


def session_state(
    session: LiveSession, options: ServeOptions, you: int, control: int | None, computing: str
) -> dict[str, Any]:
    """Plain values for a STRING.

    Args:
        session: the session.
        options: of the server, of which the assumptions are told.
        you: number of the client that is told.
        control: number of the client that has control.
        computing: state of the process for what takes long.
    """
    standing = {one.order for one in session.measured}
    delivered = {one.order for one in session.delivered}
    registration = session.registration
    return {
        "you": you,
        "control": control,
        "order": session.order,
        "needles": [
            {"order": one.order, "placed": one.order in standing, "delivered": one.order in delivered}
            for one in session.planned
        ],
        "registered": None if registration is None else registration.method.value,
        "registration_error_mm": None if registration is None else registration.error_mm,
        "computing": computing,
        "statements": [RESEARCH, *session.statements, _CLOCKS[options.clock]],
    }
