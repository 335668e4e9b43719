"""An optical tracking camera that sees a marker on the needle's hub and one on the patient."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes, read_only
from sim.random_streams import random_streams

_RANGES: dict[str, tuple[float, float]] = {
    "rate_hz": (1.0, 1000.0),
    "latency_s": (0.0, 2.0),
    "noise_mm": (0.0, 20.0),
    "angle_noise_deg": (0.0, 10.0),
}
#: A sample that is due at this very moment counts, whatever the rounding of its time.
_SAME_S = 1e-9


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a tracking camera can do.

    A Polaris Vega errs by 0.045 mm at rest and 0.09 mm (between the quartiles) in motion, 14 ms late (Fattori et
    al., Radiat Oncol 2021, doi:10.1186/s13014-021-01804-7). The defaults are assumptions on the safe side of that:
    they stand for older cameras, small markers, and software between camera and controller.

    Attributes:
        rate_hz: readings a second, 1 to 1000.
        latency_s: from measuring to delivery, 0 to 2 s.
        noise_mm: standard deviation of the position of a marker along each axis.
        angle_noise_deg: standard deviation of the needle's direction about each of the two axes across it.
    """

    rate_hz: float = 20.0
    latency_s: float = 0.05
    noise_mm: float = 0.15
    angle_noise_deg: float = 0.1

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(
                    f"{name} of a tracking camera must lie between {low:g} and {high:g}, not {value:g}"
                )

    @classmethod
    def perfect(cls) -> "CameraOptions":
        """Neither noise nor latency."""
        return cls(100.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CameraReading:
    """What the camera saw at one moment, in patient LPS as it is registered.

    Attributes:
        measured_s: when it was measured.
        hub_mm: (3,) the marker on the needle's hub.
        axis: (3,) unit vector along the needle, to its tip.
        reference_mm: (3,) the marker on the patient.
    """

    measured_s: float
    hub_mm: FloatArray
    axis: FloatArray
    reference_mm: FloatArray


class TrackingCamera:
    """The camera through one rehearsal.

    It is shown the truth at every step, takes a reading at the first step at or after each ``k / rate_hz``, and
    delivers it ``latency_s`` later. Noise is drawn for each reading, frozen or not: a fault changes no later one.

    Args:
        options: rate, latency and noise.
        seed: of the noise.
    """

    def __init__(self, options: CameraOptions, seed: int | np.random.SeedSequence) -> None:
        self._options = options
        (self._draws,) = random_streams(seed, 1)
        self._due = 0
        self._due_s = 0.0
        self._frozen_until_s = -np.inf
        self._coming: deque[CameraReading] = deque()
        self._newest: CameraReading | None = None

    def observe(self, time_s: float, hub_mm: FloatArray, axis: FloatArray, reference_mm: FloatArray) -> None:
        """Show the camera how things are now.

        Args:
            time_s: now, never earlier than before.
            hub_mm: (3,) marker on the hub, patient LPS.
            axis: (3,) unit vector along the needle.
            reference_mm: (3,) marker on the patient.
        """
        if time_s < self._due_s - _SAME_S:
            return
        options = self._options
        # Steps longer than the camera's own leave moments out.
        self._due = int(np.floor(time_s * options.rate_hz + _SAME_S * options.rate_hz)) + 1
        self._due_s = self._due / options.rate_hz
        noise = self._draws.standard_normal((3, 3))
        if time_s < self._frozen_until_s:
            return
        across = np.radians(options.angle_noise_deg) * noise[1, :2]
        first, second = perpendicular_axes(axis)
        turned = axis + across[0] * first + across[1] * second
        self._coming.append(
            CameraReading(
                float(time_s),
                read_only(hub_mm + options.noise_mm * noise[0]),
                read_only(turned / np.linalg.norm(turned)),
                read_only(reference_mm + options.noise_mm * noise[2]),
            )
        )

    def reading(self, time_s: float) -> CameraReading | None:
        """The newest reading that has arrived at ``time_s``; None before the first."""
        while self._coming and self._coming[0].measured_s + self._options.latency_s <= time_s + _SAME_S:
            self._newest = self._coming.popleft()
        return self._newest

    def freeze(self, until_s: float) -> None:
        """A fault: nothing new is measured until then, and the newest reading is repeated with its old time."""
        self._frozen_until_s = max(self._frozen_until_s, until_s)
