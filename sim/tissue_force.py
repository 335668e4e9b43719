"""What a needle feels in tissue, as a contract: a path through layers, a state, and steps in time.

Metres, seconds and newtons. All depths run along the needle's path from the place where it meets undeformed skin.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from needleplan.errors import OptionError
from needleplan.frames import FloatArray


class Contact(StrEnum):
    """What the needle does to the tissue."""

    OUTSIDE = "outside"  #: it touches nothing
    INDENTING = "indenting"  #: the tip presses a membrane that has not given way
    CUTTING = "cutting"  #: the tip goes where no needle has been
    SLIDING = "sliding"  #: the needle advances in the channel that it has cut before
    RESTING = "resting"  #: the needle holds still in tissue
    WITHDRAWING = "withdrawing"  #: the needle is drawn back


@dataclass(frozen=True, slots=True)
class TissueLayer:
    """One stretch of a needle's path.

    Attributes:
        start_m: depth at which it begins; it ends where the next one begins, the last one never.
        tissue: what it is made of.
        membrane: what has to be punctured at its beginning; "" for nothing.
        structure: name of the structure that it belongs to, for logs; "" for the body wall.
    """

    start_m: float
    tissue: str
    membrane: str = ""
    structure: str = ""


@dataclass(frozen=True, slots=True)
class PunctureEvent:
    """A membrane gave way.

    Attributes:
        time_s: when, since the state was started.
        depth_m: how deep the driver had pushed the tip.
        tissue_depth_m: depth of the membrane in undeformed tissue; the difference is how far it was pushed in.
        layer: number of the layer that the tip is in from now on.
        membrane: what was punctured.
        structure: whose it was; "" for the body wall.
        tip_force_n: force on the tip when it gave way.
    """

    time_s: float
    depth_m: float
    tissue_depth_m: float
    layer: int
    membrane: str
    structure: str
    tip_force_n: float


@dataclass(frozen=True, slots=True, eq=False)
class TissueState:
    """Needle and tissue at one moment.

    Attributes:
        time_s: since the state was started.
        depth_m: depth to which the tip has been pushed, as the driver counts it; negative in the air.
        tip_in_tissue_m: depth of the tip in undeformed tissue: what it has really reached.
        displacement_m: how far the tissue at the tip is pushed along the needle from its place; 0 without contact.
        force_n: force along the needle on its hub, positive against insertion.
        tip_force_n: the part of it at the tip, never negative.
        friction_n: the part of it along the shaft, negative while the needle is drawn back.
        work_j: work done on the hub since the state was started, never negative.
        contact: what the needle does.
        layer: number of the layer that the tip is in or presses upon; -1 outside.
        memory: what the model needs besides; its own business, read-only.
    """

    time_s: float
    depth_m: float
    tip_in_tissue_m: float
    displacement_m: float
    force_n: float
    tip_force_n: float
    friction_n: float
    work_j: float
    contact: Contact
    layer: int
    memory: FloatArray


class TissueForce(ABC):
    """Forces between a needle and the layers along its path.

    An implementation keeps no state of its own: the same state and the same motion give the same answer, bit by
    bit. It is passive: from a fresh state the work done on the needle's hub is never negative, whatever the motion.
    Outside tissue the force is zero, and while the driver's speed is continuous the force jumps at punctures alone.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for logs and results."""

    @property
    @abstractmethod
    def layers(self) -> tuple[TissueLayer, ...]:
        """The layers along the path."""

    @abstractmethod
    def start(self, depth_m: float = -1e-3) -> TissueState:
        """A fresh needle before untouched tissue.

        Args:
            depth_m: where the tip is, not behind the first layer's beginning.

        Raises:
            OptionError: the tip would begin in tissue.
        """

    @abstractmethod
    def step(
        self, state: TissueState, depth_m: float, duration_s: float
    ) -> tuple[TissueState, tuple[PunctureEvent, ...]]:
        """Move the needle on to ``depth_m`` at constant speed.

        Depth counts from undeformed tissue: where breathing carries the tissue along the needle's axis, the
        caller takes that off first.

        Args:
            state: as ``start`` or ``step`` returned it.
            depth_m: depth of the tip after the step, as the driver counts it.
            duration_s: of the step, above 0.

        Returns:
            The state after the step, and what was punctured on the way.

        Raises:
            OptionError: a depth that is not finite or a duration that is not above 0.
        """


@dataclass(frozen=True, slots=True)
class ForceLimits:
    """When an insertion must stop; the figures are assumptions of this project.

    Attributes:
        axial_n: force along the needle, pushing or pulling.
        tip_n: force on the tip.
        indentation_m: how far the tissue before the tip may be pushed in without giving way.
    """

    axial_n: float = 15.0
    tip_n: float = 10.0
    indentation_m: float = 0.03

    def __post_init__(self) -> None:
        for name in ("axial_n", "tip_n", "indentation_m"):
            if not getattr(self, name) > 0.0:
                raise OptionError(f"the force limit {name} must be above 0, not {getattr(self, name):g}")


def stop_reason(state: TissueState, limits: ForceLimits) -> str | None:
    """Why the needle must stop, in words for the log; None while it may go on.

    A force that is not a number stops it too.
    """
    if not abs(state.force_n) <= limits.axial_n:
        return f"the force along the needle is {state.force_n:.1f} N, its limit {limits.axial_n:g} N"
    if not state.tip_force_n <= limits.tip_n:
        return f"the force on the tip is {state.tip_force_n:.1f} N, its limit {limits.tip_n:g} N"
    if state.contact is Contact.INDENTING and not state.displacement_m <= limits.indentation_m:
        return (
            f"the tissue before the tip is pushed in by {state.displacement_m * 1e3:.0f} mm and does not give way, "
            f"the limit is {limits.indentation_m * 1e3:g} mm"
        )
    return None
