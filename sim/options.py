"""How a rehearsal is run, and what it hands back."""

from dataclasses import dataclass, field
from typing import Any

from needleplan.errors import OptionError
from needleplan.outcome import Outcome
from robots.gantry import Gantry
from sim.breathing_patient import HoldBehaviour
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.compensation.contract import MotionCompensation
from sim.controller_options import ControllerOptions
from sim.faults import Fault
from sim.needle import PlacementNoise
from sim.target_sensing import SensingOptions
from sim.tissue_needle import NeedleMechanics
from sim.tracking_camera import CameraOptions


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """How a rehearsal is run.

    Attributes:
        strategy: how breathing is met.
        step_s: time step while the needle is in tissue or before the skin.
        transfer_step_s: time step while the arm moves far from the skin.
        sample_s: time between samples of the trace and of the scene.
        contact_s: time between searches for contacts, and between measurements of the distance from structures.
        controller: times, distances, limits, steps and verification.
        sensing: how the target's displacement is known.
        camera: the tracking camera.
        mechanics: forces and bending of the needle.
        tissue_deviation: how far the patient's tissues differ from the usual ones that the controller reckons with,
            as in :meth:`~sim.tissue_parameters.TissueParameters.scattered`.
        holding: how the patient holds the breath when asked to.
        noise: placement error of the robot; none by default.
        faults: what goes wrong.
        gantry: the scanner's ring; None leaves it out.
        faces_per_structure: faces of a structure's surface in the simulated world.
        check_clearance: True to compute the arm's least distance from the patient over the whole run.
        follow_structures: True to follow the needles' distances from the structures.
        display: True to show the simulation in a window while it runs.
    """

    strategy: MotionCompensation[Any] = field(default_factory=AmplitudeGating)
    step_s: float = 0.02
    transfer_step_s: float = 0.05
    sample_s: float = 0.05
    contact_s: float = 0.1
    controller: ControllerOptions = field(default_factory=ControllerOptions)
    sensing: SensingOptions = field(default_factory=SensingOptions)
    camera: CameraOptions = field(default_factory=CameraOptions)
    mechanics: NeedleMechanics = field(default_factory=NeedleMechanics)
    tissue_deviation: float = 0.3
    holding: HoldBehaviour = field(default_factory=HoldBehaviour)
    noise: PlacementNoise = field(default_factory=PlacementNoise)
    faults: tuple[Fault, ...] = ()
    gantry: Gantry | None = None
    faces_per_structure: int = 3000
    check_clearance: bool = True
    follow_structures: bool = True
    display: bool = False

    def __post_init__(self) -> None:
        if not 1e-4 <= self.step_s <= 0.05:
            raise OptionError(f"the time step must lie between 0.0001 and 0.05 s, not {self.step_s:g}")
        for name in ("transfer_step_s", "sample_s", "contact_s"):
            if not self.step_s <= getattr(self, name) <= 10.0:
                raise OptionError(f"{name} must lie between the time step and 10 s, not {getattr(self, name):g}")
        if not 0.0 <= self.tissue_deviation <= 1.0:
            raise OptionError(f"the deviation of tissues must lie between 0 and 1, not {self.tissue_deviation:g}")
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
