"""What a rehearsal looked like: the scene at even times, kept for films and stills."""

from dataclasses import dataclass, field

import numpy as np

from needleplan.frames import FloatArray
from sim.controller import State
from sim.patient import PatientSurfaces


@dataclass(frozen=True, slots=True, eq=False)
class SceneState:
    """The scene at one time.

    Attributes:
        time_s: time of the rehearsal.
        link_poses: (4, 4) pose of every link in the world, metres.
        displacement_mm: (3,) displacement of the target from end-exhale, patient LPS.
        gate_open: True where the target lies within the gate.
        state: what the controller does.
        needle: order of the insertion.
        depth_mm: depth of the tip behind the entry, negative outside.
    """

    time_s: float
    link_poses: dict[str, FloatArray]
    displacement_mm: FloatArray
    gate_open: bool
    state: State
    needle: int
    depth_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class VisualShape:
    """One visual shape of the arm, as the simulator loaded it.

    Attributes:
        link: link that carries it.
        kind: ``box``, ``cylinder``, ``sphere`` or ``mesh``.
        size_m: box: three edges; cylinder: length and radius; sphere: radius; mesh: scale.
        pose: (4, 4) in the link's frame.
        color: red, green, blue, each 0 to 1.
        mesh: file of a mesh; empty for the others.
    """

    link: str
    kind: str
    size_m: tuple[float, ...]
    pose: FloatArray
    color: tuple[float, float, float]
    mesh: str = ""


@dataclass(slots=True)
class SceneRecorder:
    """Collects what a film needs during a rehearsal.

    Attributes:
        states: scene states in the order of time.
        shapes: visual shapes of the arm.
        patient: the patient's simplified surfaces; None before the rehearsal began.
        gate_mm: tolerance of the gate; zero before the rehearsal began.
    """

    states: list[SceneState] = field(default_factory=list)
    shapes: tuple[VisualShape, ...] = ()
    patient: PatientSurfaces | None = None
    gate_mm: float = 0.0

    def add(self, state: SceneState) -> None:
        """Keep one more state."""
        self.states.append(state)

    @property
    def time_s(self) -> FloatArray:
        """(n,) times of the states."""
        return np.array([state.time_s for state in self.states])
