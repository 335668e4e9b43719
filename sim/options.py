"""How a rehearsal is run, and what it hands back."""

from dataclasses import dataclass, field

from needleplan.errors import OptionError
from needleplan.motion.gating import AmplitudeGate
from needleplan.outcome import Outcome
from sim.controller import ControllerOptions
from sim.needle import PlacementNoise


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """How a rehearsal is run.

    Attributes:
        step_s: time step of the simulation.
        sample_s: time between samples of the trace and of the scene.
        contact_s: time between searches for contacts.
        gate: the respiratory gate; its state is recorded also where gating is off.
        controller: times and distances of the controller.
        noise: placement error of the robot; none by default.
        faces_per_structure: faces of a structure's surface in the simulated world.
        check_clearance: True to compute the arm's least distance from the patient over the whole run.
    """

    step_s: float = 0.01
    sample_s: float = 0.05
    contact_s: float = 0.1
    gate: AmplitudeGate = field(default_factory=AmplitudeGate)
    controller: ControllerOptions = field(default_factory=ControllerOptions)
    noise: PlacementNoise = field(default_factory=PlacementNoise)
    faces_per_structure: int = 3000
    check_clearance: bool = True

    def __post_init__(self) -> None:
        if not 1e-4 <= self.step_s <= 0.05:
            raise OptionError(f"the time step must lie between 0.0001 and 0.05 s, not {self.step_s:g}")
        for name in ("sample_s", "contact_s"):
            if not self.step_s <= getattr(self, name) <= 10.0:
                raise OptionError(f"{name} must lie between the time step and 10 s, not {getattr(self, name):g}")
        if not 4 <= self.faces_per_structure <= 100_000:
            raise OptionError(f"faces_per_structure must lie between 4 and 100000, not {self.faces_per_structure}")


@dataclass(frozen=True, slots=True)
class RehearsalLog:
    """What the rehearsal observed besides its outcome.

    Attributes:
        steps: number of time steps.
        duration_s: simulated time.
        breathing_start_s: time of the breathing model at the beginning, drawn from the seed.
        contacts: (link of the arm, what it touched, seconds) for each pair that PyBullet found in contact.
        arm_clearance_mm: lower bound of the arm's distance from the breathing patient, needle left out; None
            where it was not computed.
    """

    steps: int
    duration_s: float
    breathing_start_s: float
    contacts: tuple[tuple[str, str, float], ...]
    arm_clearance_mm: float | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Outcome and log of one rehearsal."""

    outcome: Outcome
    log: RehearsalLog
