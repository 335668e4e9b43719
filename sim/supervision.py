"""What watches over an insertion: sensors, camera and encoders are held against what they should say.

It knows nothing of the truth of the simulation. The camera's view of the needle's hub is compared with where the
arm believes it to be, relative to their difference in place and direction while the needle stood before the skin: a
constant error of registration is no deviation.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.frames import FloatArray
from sim.compensation.contract import SensorSample
from sim.controller_options import ControllerOptions
from sim.tracking_camera import CameraReading

#: A cough is told by the way of the target over this time.
SPEED_WINDOW_S = 0.2
#: Believed poses are kept for so long, to be compared with late readings.
KEPT_S = 2.0
#: The target's usual speeds are learned at the beginning of the session; so many times faster is an alarm.
LEARNING_S, UNUSUAL = 10.0, 1.6
#: What is faster is no breath that could be learned.
HIGHEST_USUAL_MM_S = 45.0
#: Number of readings of a needle before the skin that tell the constant difference.
BASELINE_READINGS = 20


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why the needle must not go on.

    Attributes:
        reason: a sentence.
        may_pass: True where waiting may help.
        ends_session: True where no further needle may be placed before somebody has looked.
        jammed: True where the arm does not follow.
        driver_jammed: True where the driver does not follow.
    """

    reason: str
    may_pass: bool
    ends_session: bool = False
    jammed: bool = False
    driver_jammed: bool = False


class Supervision:
    """Watches one rehearsal; what it has learned of the breathing and the reference lasts over all insertions."""

    def __init__(self, options: ControllerOptions) -> None:
        self._options = options
        self._samples: deque[SensorSample] = deque()
        self._reference: list[FloatArray] = []
        self._believed: deque[tuple[float, FloatArray, FloatArray]] = deque()
        self._before: deque[tuple[FloatArray, FloatArray, FloatArray]] = deque(maxlen=BASELINE_READINGS)
        self._last_reading_s = -np.inf
        self._hub_alarm: str | None = None
        self._began_s: float | None = None
        self._usual_mm_s = 0.0

    def begin_insertion(self) -> None:
        """Forget the constant difference between camera and arm: each needle has its own."""
        self._believed.clear()
        self._before.clear()
        self._hub_alarm = None

    def watch(
        self,
        time_s: float,
        samples: Sequence[SensorSample],
        reading: CameraReading | None,
        believed_hub_mm: FloatArray,
        believed_axis: FloatArray,
        commanded: FloatArray,
        encoders: FloatArray,
        before_skin: bool,
    ) -> Alarm | None:
        """Look at everything once.

        Args:
            time_s: now.
            samples: of the breathing, that have arrived since the last look.
            reading: the camera's newest.
            believed_hub_mm: (3,) where the arm believes the needle's hub, by its encoders.
            believed_axis: (3,) unit direction of the needle, as the arm believes.
            commanded: (n + 1,) positions that were commanded last.
            encoders: (n + 1,) positions that were reached.
            before_skin: True while the needle stands or moves close before the skin, in no tissue.

        Returns:
            The gravest alarm; None where all is well.
        """
        if self._began_s is None:
            self._began_s = time_s
        self._samples.extend(samples)
        while self._samples and self._samples[0].time_s < time_s - KEPT_S:
            self._samples.popleft()
        self._believed.append((time_s, believed_hub_mm, believed_axis))
        while self._believed[0][0] < time_s - KEPT_S:
            self._believed.popleft()
        if reading is not None and reading.measured_s > self._last_reading_s:
            self._last_reading_s = reading.measured_s
            self._compare(reading, before_skin)
        return (
            self._joints(commanded, encoders)
            or self._patient(reading)
            or self._hub()
            or self._age(time_s, reading)
            or self._breath(time_s)
        )

    def _joints(self, commanded: FloatArray, encoders: FloatArray) -> Alarm | None:
        behind = np.abs(commanded - encoders)
        joint = int(np.argmax(behind[:-1])) if len(behind) > 1 else 0
        if behind[:-1].max(initial=0.0) > self._options.joint_error_rad:
            return Alarm(
                f"joint {joint + 1} is {behind[joint]:.3f} from where it was sent (limit "
                f"{self._options.joint_error_rad:g}): it does not follow",
                may_pass=False, ends_session=True, jammed=True,
            )  # fmt: skip
        if behind[-1] * 1e3 > self._options.driver_error_mm:
            return Alarm(
                f"the driver is {behind[-1] * 1e3:.1f} mm from where it was sent (limit "
                f"{self._options.driver_error_mm:g} mm): it does not follow",
                may_pass=False, ends_session=True, driver_jammed=True,
            )  # fmt: skip
        return None

    def _patient(self, reading: CameraReading | None) -> Alarm | None:
        if reading is None:
            return None
        if len(self._reference) < BASELINE_READINGS:
            self._reference.append(reading.reference_mm)
        moved = float(np.linalg.norm(reading.reference_mm - np.mean(self._reference, axis=0)))
        if moved <= self._options.reference_mm:
            return None
        return Alarm(
            f"the reference on the patient has moved by {moved:.1f} mm (limit {self._options.reference_mm:g} mm): "
            "patient and robot must be registered again",
            may_pass=False, ends_session=True,
        )  # fmt: skip

    def _compare(self, reading: CameraReading, before_skin: bool) -> None:
        """Hold a new reading against where the arm believed the hub at its time."""
        times = np.array([entry[0] for entry in self._believed])
        if reading.measured_s < times[0] - 1e-9:
            return  # from before this insertion
        k = int(np.clip(np.searchsorted(times, reading.measured_s), 1, max(1, len(times) - 1)))
        if len(times) == 1:
            hub, axis = self._believed[0][1:]
        else:
            (t0, hub0, _), (t1, hub1, axis) = self._believed[k - 1], self._believed[k]
            hub = hub0 + (hub1 - hub0) * np.clip((reading.measured_s - t0) / (t1 - t0), 0.0, 1.0)
        # Where the hub is, and how reading and belief differ there, in place and in direction.
        row = (hub, reading.hub_mm - hub, reading.axis - axis)
        if before_skin:
            self._before.append(row)
            return
        if not self._before:
            return
        begun, apart, tilt = (np.mean([entry[k] for entry in self._before], axis=0) for k in range(3))
        # Camera and arm may be turned a little against each other: by axis x tilt, as far as a needle shows it.
        change = row[1] - apart - np.cross(np.cross(axis, tilt), hub - begun)
        along = float(change @ axis)
        aside = float(np.linalg.norm(change - along * axis))
        if abs(along) > self._options.slip_mm:
            behind = "behind" if along < 0.0 else "ahead of"
            limit = f"limit {self._options.slip_mm:g} mm"
            self._hub_alarm = f"the needle is {abs(along):.1f} mm {behind} its driver ({limit}): it slips"
        elif aside > self._options.deviation_mm:
            self._hub_alarm = (
                f"the needle's hub is {aside:.1f} mm beside where the arm believes it (limit "
                f"{self._options.deviation_mm:g} mm)"
            )

    def _hub(self) -> Alarm | None:
        return None if self._hub_alarm is None else Alarm(self._hub_alarm, may_pass=False)

    def _age(self, time_s: float, reading: CameraReading | None) -> Alarm | None:
        options, began = self._options, self._began_s or 0.0
        measured = began if reading is None else reading.measured_s
        if time_s - measured > options.pose_age_s:
            return Alarm(
                f"the camera's newest pose is {time_s - measured:.2f} s old (limit {options.pose_age_s:g} s)", True
            )
        sampled = self._samples[-1].time_s if self._samples else began
        if time_s - sampled > options.sample_age_s:
            return Alarm(
                f"the newest sample of the breathing is {time_s - sampled:.2f} s old (limit "
                f"{options.sample_age_s:g} s)", True,
            )  # fmt: skip
        return None

    def _breath(self, time_s: float) -> Alarm | None:
        if not self._samples:
            return None
        newest = self._samples[-1]
        earlier = next((s for s in reversed(self._samples) if newest.time_s - s.time_s >= SPEED_WINDOW_S), None)
        if earlier is None or newest.time_s - earlier.time_s > 2.0 * SPEED_WINDOW_S:
            return None
        way = float(np.linalg.norm(newest.displacement_mm - earlier.displacement_mm))
        speed = way / (newest.time_s - earlier.time_s)
        limit = max(self._options.breath_speed_mm_s, UNUSUAL * self._usual_mm_s)
        if time_s - (self._began_s or 0.0) < LEARNING_S and speed <= HIGHEST_USUAL_MM_S:
            self._usual_mm_s = max(self._usual_mm_s, speed)
            return None
        if speed <= limit:
            return None
        return Alarm(f"the target moves with {speed:.0f} mm/s (limit {limit:.0f} mm/s): a cough", may_pass=True)
