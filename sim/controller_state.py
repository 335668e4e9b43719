"""What the controller of an insertion can be doing, and what it is told."""

from dataclasses import dataclass
from enum import StrEnum

from needleplan.frames import FloatArray
from sim.compensation.contract import Decision
from sim.supervision import Alarm


class State(StrEnum):
    """What the controller is doing."""

    APPROACH = "approach"  #: the arm goes from home to the needle's axis
    ALIGN = "align"  #: straight along the axis to the stand-off
    ADVANCE = "advance"  #: the needle goes through air until just before the skin
    WAIT = "wait"  #: the tip rests before the skin: the needle may not advance yet
    INSERT = "insert"  #: the needle advances
    HOLD = "hold"  #: the tip rests in tissue because the needle may not advance
    VERIFY = "verify"  #: the tip rests for a control scan
    CORRECT = "correct"  #: the needle is drawn back a little and steered about its entry
    SETTLE = "settle"  #: the tip has arrived and the needle is let go
    RETRACT = "retract"  #: the needle is drawn back, or left in place, and the arm goes home
    STOPPED = "stopped"  #: an alarm stopped the needle
    WITHDRAW = "withdraw"  #: the needle is drawn out after an insertion that was given up, and the arm goes back
    DONE = "done"
    GIVEN_UP = "given up"


#: States in which the needle stands before the skin or is in tissue: small time steps, strategy and camera matter.
AT_PATIENT = frozenset(
    {
        State.ADVANCE, State.WAIT, State.INSERT, State.HOLD, State.VERIFY, State.CORRECT, State.STOPPED,
        State.WITHDRAW,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the controller is told at one step.

    Attributes:
        decision: of the strategy.
        shift_m: (3,) the decision's aim in the world.
        encoders: (n + 1,) positions that were reached.
        alarm: of the supervision; None where all is well.
        force_reason: why the forces do not allow to go on; None where they do.
        operator_stop: True where the emergency stop was pressed.
    """

    decision: Decision
    shift_m: FloatArray
    encoders: FloatArray
    alarm: Alarm | None = None
    force_reason: str | None = None
    operator_stop: bool = False
