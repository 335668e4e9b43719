"""What a rehearsal looked like: the scene at even times, kept for films and stills."""

from dataclasses import dataclass, field

import numpy as np

from needleplan.frames import FloatArray
from robots.gantry import Gantry
from sim.controller_state import State
from sim.patient import PatientSurfaces


@dataclass(frozen=True, slots=True, eq=False)
class SceneState:
    """The scene at one time.

    Attributes:
        time_s: time of the rehearsal.
        link_poses: (4, 4) pose of every link in the world, metres.
        displacement_mm: (3,) displacement of the target from end-exhale, patient LPS.
        wall_mm: way of the liver to inferior that ribs and skin follow; None where they follow the target.
        gate_open: True where the strategy lets the needle advance.
        state: what the controller does.
        status: what the strategy does, in words.
        needle: order of the insertion.
        depth_mm: depth of the tip behind the entry, negative outside.
        force_n: force along the needle.
        fault: the fault that is present, or what the controller stopped for; "" for neither.
        seen_mm: (3,) displacement of the target that the strategy last saw; None before its first sample.
        shafts_mm: order and (k, 3) polyline in patient LPS from hub to tip of the needle in the guide and of those
            that were left in the patient, bent as they are.
    """

    time_s: float
    link_poses: dict[str, FloatArray]
    displacement_mm: FloatArray
    wall_mm: float | None
    gate_open: bool
    state: State
    status: str
    needle: int
    depth_mm: float
    force_n: float
    fault: str
    seen_mm: FloatArray | None
    shafts_mm: tuple[tuple[int, FloatArray], ...]


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
        patient: the patient's simplified surfaces and how they move; None before the rehearsal began.
        gate_mm: tolerance of an amplitude gate; zero for strategies without one.
        gantry: the scanner's ring; None where there is none.
        start_s: time at which the present rehearsal began: several in a row are one film.
        wanted: False where nobody will look: nothing is collected, which saves time.
    """

    states: list[SceneState] = field(default_factory=list)
    shapes: tuple[VisualShape, ...] = ()
    patient: PatientSurfaces | None = None
    gate_mm: float = 0.0
    gantry: Gantry | None = None
    start_s: float = 0.0
    wanted: bool = True

    def add(self, state: SceneState) -> None:
        """Keep one more state."""
        self.states.append(state)

    @property
    def time_s(self) -> FloatArray:
        """(n,) times of the states."""
        return np.array([state.time_s for state in self.states])
