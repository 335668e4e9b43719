"""The strategies against breathing by name."""

from collections.abc import Callable
from typing import Any

from needleplan.errors import OptionError
from needleplan.motion.gating import AmplitudeGate
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.compensation.breath_hold import BreathHold
from sim.compensation.contract import MotionCompensation
from sim.compensation.free_breathing import FreeBreathing
from sim.compensation.phase_gating import PhaseGating
from sim.compensation.tracking import Tracking

_MAKERS: dict[str, tuple[type, Callable[[float], MotionCompensation[Any]]]] = {
    "free-breathing": (FreeBreathing, lambda gate_mm: FreeBreathing()),
    "amplitude-gating": (AmplitudeGating, lambda gate_mm: _gating(gate_mm)),
    "phase-gating": (PhaseGating, lambda gate_mm: PhaseGating()),
    "breath-hold": (BreathHold, lambda gate_mm: BreathHold()),
    "tracking": (Tracking, lambda gate_mm: Tracking()),
}
#: Names of all strategies.
STRATEGIES = tuple(_MAKERS)


def make_strategy(name: str, gate_mm: float = 2.0) -> MotionCompensation[Any]:
    """The strategy of a name with its usual parameters.

    Args:
        name: one of ``STRATEGIES``.
        gate_mm: tolerance of an amplitude gate; the other strategies do not use it.

    Raises:
        OptionError: no strategy has that name.
        MotionError: the tolerance is impossible.
    """
    if name not in _MAKERS:
        raise OptionError(f"no strategy is named {name!r}: choose one of {', '.join(STRATEGIES)}")
    return _MAKERS[name][1](gate_mm)


def strategy_name(strategy: MotionCompensation[Any]) -> str:
    """The name under which a strategy is known; the name of its class for others."""
    return next((name for name, (kind, _) in _MAKERS.items() if type(strategy) is kind), type(strategy).__name__)


def _gating(gate_mm: float) -> AmplitudeGating:
    gate = AmplitudeGate(gate_mm)
    return AmplitudeGating(gate, hysteresis_mm=min(0.5, 0.25 * gate_mm))
