"""The faults of one insertion, made to happen in the simulated room."""

import numpy as np

from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.motion.cough import Cough
from needleplan.plan import Insertion
from robots.route import InsertionRoute, Phase
from sim.breathing_patient import BreathingPatient
from sim.controller_state import State
from sim.faults import Fault, FaultKind
from sim.target_sensing import TargetSensing
from sim.tracking_camera import TrackingCamera

#: A patient who shifts takes this long.
SHIFT_S = 0.3
#: A cough lasts as long as its shape.
COUGH_S = Cough().duration_s
#: How far the insertion is where no tissue is reached yet.
_BEFORE_SKIN = {State.APPROACH: -np.inf, State.ALIGN: -1.0, State.ADVANCE: -0.75}


class FaultInjection:
    """Watches how far an insertion is, and lets its faults begin and end.

    Attributes:
        present: faults that have begun and not ended, in words; "" for none.
        operator_stop: True once the emergency stop was pressed.
    """

    def __init__(
        self,
        faults: tuple[Fault, ...],
        insertion: Insertion,
        route: InsertionRoute,
        patient: BreathingPatient,
        sensing: TargetSensing,
        camera: TrackingCamera,
    ) -> None:
        self._waiting = [fault for fault in faults if fault.needle == insertion.order]
        self._active: list[tuple[Fault, float]] = []
        self._insertion, self._route = insertion, route
        self._patient, self._sensing, self._camera = patient, sensing, camera
        self._jammed: dict[int, float] = {}
        self._slip: tuple[float, float] | None = None
        self._lost_m = 0.0
        self._shift_from_s: float | None = None
        self._shift_mm = np.zeros(3)
        self.operator_stop = False

    @property
    def present(self) -> str:
        """The faults that are there now, in words."""
        return "; ".join(fault.kind.value for fault, _ in self._active)

    def update(self, time_s: float, state: State, depth_mm: float, positions: FloatArray) -> list[str]:
        """Let faults begin and end.

        Args:
            time_s: now.
            state: of the controller.
            depth_mm: of the tip behind the entry.
            positions: (n + 1,) where joints and driver are.

        Returns:
            What began or ended, for the log.
        """
        said = []
        share = depth_mm / self._insertion.depth_mm if depth_mm >= 0.0 else -0.5
        reached = _BEFORE_SKIN.get(state, share)
        for fault in [f for f in self._waiting if reached >= f.at_depth_share]:
            self._waiting.remove(fault)
            lasts = COUGH_S if fault.kind is FaultKind.COUGH else fault.duration_s
            self._active.append((fault, time_s + lasts))
            self._begin(fault, time_s, state, positions)
            said.append(f"begins: {fault.text}")
        for fault, end_s in [entry for entry in self._active if time_s >= entry[1]]:
            self._active.remove((fault, end_s))
            if fault.kind is FaultKind.JAMMED_JOINT:
                self._jammed.clear()
            elif fault.kind is FaultKind.NEEDLE_SLIP:
                self._slip = None
            said.append(f"ends: {fault.text}")
        return said

    def _begin(self, fault: Fault, time_s: float, state: State, positions: FloatArray) -> None:
        until_s = time_s + fault.duration_s
        if fault.kind is FaultKind.SENSOR_DROPOUT:
            self._sensing.interrupt(until_s)
        elif fault.kind is FaultKind.STALE_POSE:
            self._camera.freeze(until_s)
        elif fault.kind is FaultKind.COUGH:
            if not self._patient.coughing:  # one cough at a time
                self._patient.cough(fault.magnitude)
        elif fault.kind is FaultKind.REGISTRATION_SHIFT:
            # Across the needle, where it does most harm.
            self._shift_from_s = time_s
            self._shift_mm = fault.magnitude * perpendicular_axes(self._insertion.direction)[0]
        elif fault.kind is FaultKind.JAMMED_JOINT:
            joint = fault.joint - 1 if fault.joint else self._busiest(state)
            self._jammed[min(joint, len(positions) - 1)] = float(positions[min(joint, len(positions) - 1)])
        elif fault.kind is FaultKind.NEEDLE_SLIP:
            self._slip = float(positions[-1]), fault.magnitude
        elif fault.kind is FaultKind.OPERATOR_STOP:
            self.operator_stop = True

    def _busiest(self, state: State) -> int:
        """The driver while it moves the needle, else the joint of the arm that turns most to align it."""
        align = self._route.segment(Phase.ALIGN).positions
        if state in (State.APPROACH, State.ALIGN):
            return int(np.argmax(np.ptp(align[:, :-1], axis=0)))
        return align.shape[1] - 1

    def reached(self, commanded: FloatArray) -> FloatArray:
        """(n + 1,) where joints and driver really go, which the encoders tell."""
        if not self._jammed:
            return commanded
        positions = commanded.copy()
        for joint, value in self._jammed.items():
            positions[joint] = value
        return positions

    def needle_m(self, driver_m: float) -> float:
        """Where the needle really is in its driver: behind it by what has slipped."""
        if self._slip is not None:
            since, share = self._slip
            self._lost_m = max(self._lost_m, share * (driver_m - since))
        return driver_m - self._lost_m

    def shift_mm(self, time_s: float) -> FloatArray:
        """(3,) how far the patient has been displaced against robot and camera, patient LPS."""
        if self._shift_from_s is None:
            return np.zeros(3)
        share = min(1.0, (time_s - self._shift_from_s) / SHIFT_S)
        return np.asarray(self._shift_mm * (3.0 - 2.0 * share) * share**2)
