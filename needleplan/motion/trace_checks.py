"""What makes a recording of breathing unusable."""

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray

#: Below this rate a trace cannot tell the ends of a breath apart.
MINIMUM_RATE_HZ = 2.0

#: Above this rate no breathing is recorded: the times are in another unit.
MAXIMUM_RATE_HZ = 1000.0

#: A step between two samples at more than this (a cough has 80 mm/s) is a lost marker, or another unit.
MAXIMUM_SPEED_MM_S = 500.0


def check_times(time_s: FloatArray, maximum_gap_s: float, source: str) -> None:
    """Raise MotionError where times (n,) have too few samples a second, too many, or a gap."""
    steps = np.diff(time_s)
    rate_hz = float(1.0 / np.median(steps))
    if rate_hz < MINIMUM_RATE_HZ - 1e-6:
        unit = ": are its times in milliseconds?" if rate_hz < MINIMUM_RATE_HZ / 20.0 else ""
        raise MotionError(
            f"{source}: {rate_hz:.2g} samples a second are too few, at least {MINIMUM_RATE_HZ:g} are needed{unit}"
        )
    if rate_hz > MAXIMUM_RATE_HZ:
        raise MotionError(
            f"{source}: {rate_hz:.4g} samples a second are no breathing sensor's: are its times in seconds?"
        )
    if steps.max() > maximum_gap_s + 1e-9:
        at = float(time_s[int(np.argmax(steps))])
        raise MotionError(
            f"{source}: a gap of {steps.max():.2f} s after {at:.2f} s is longer than {maximum_gap_s:g} s: "
            "cut the trace there"
        )


def check_jumps(time_s: FloatArray, position_mm: FloatArray, source: str) -> None:
    """Raise MotionError where positions (n, 3) at times (n,) jump as no patient moves."""
    steps = np.linalg.norm(np.diff(position_mm, axis=0), axis=1)
    speed = steps / np.diff(time_s)
    worst = int(np.argmax(speed))
    # A slip of a rounded stamp makes a small step look fast; a breath is never so quick over a centimetre.
    if speed[worst] > MAXIMUM_SPEED_MM_S and steps[worst] > 10.0:
        raise MotionError(
            f"{source}: it jumps by {steps[worst]:.1f} mm after {time_s[worst]:.2f} s, at "
            f"{speed[worst]:.0f} mm/s, which is no breathing: a lost marker, or another unit"
        )
