"""What a belt tells of the target: a linear relation of position and rate, learned while both were seen.

A belt and an organ do not move alike: out and back the organ takes other ways, and it follows the skin with a phase
shift. Low et al. (Int J Radiat Oncol Biol Phys 2005;63:921) tell the position by a surrogate and its rate, which
takes up what is linear in both; that is what is learned here. What remains is the error of a belt: shapes of
different kind, breaths that are not alike, a hold, in which the rate is zero wherever the breath stands.

Who hardly breathes while it is learned shows no relation, and may still cough: there one is assumed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.attenuation import SKIN_RISE
from needleplan.motion.sensor import BreathingSensor

if TYPE_CHECKING:
    from sim.breathing_patient import BreathingPatient

#: A line through so much of the belt's latest past tells its position and rate; longer for slow sensors. A shorter
#: one leaves more noise in the rate, a longer one follows the turns of a breath less well.
WINDOW_S = 0.4
#: So many samples make a line that is not all noise.
LEAST_SAMPLES = 3
#: A belt that tells less than this share of the target's variance, noise taken off, tells nothing.
LEAST_TOLD = 0.5
#: A target that moves less than this (standard deviation) is at rest: a moving belt tells nothing of it.
REST_MM = 0.3
#: Where neither the target nor the wall as the belt tells it moves by this standard deviation, as a breath of 2 mm
#: does, there is too little to learn from.
LITTLE_MM = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class SurrogateRelation:
    """``target = offset + gain b + lag db/dt`` with position ``b`` and rate of the belt.

    Both are those of the straight line through the samples of the last ``window_s``, in the middle of that time.

    Attributes:
        offset_mm: (3,) makes the displacement zero at the ends of exhalation.
        gain: (3,) millimetres of the target for one of the belt.
        lag_s: (3,) millimetres of the target for one mm/s of the belt.
        window_s: length of the line.
        told: share of the variance of the target's motion that the relation told while it was learned; NaN where it
            is assumed.
        error_mm: root mean square distance between what it told and what was seen, while it was learned.
        assumed: True where too little moved to learn it: the target goes to inferior, at once, by the belt's rise
            over ``SKIN_RISE``.
    """

    offset_mm: FloatArray
    gain: FloatArray
    lag_s: FloatArray
    window_s: float
    told: float
    error_mm: float
    assumed: bool

    def displacement_mm(self, belt: FloatArray) -> FloatArray | None:
        """(3,) displacement of the target at the latest of the belt's samples.

        Args:
            belt: (k, 2) times and rises of the samples within the window.

        Returns:
            None where the samples are fewer than ``LEAST_SAMPLES``.
        """
        if len(belt) < LEAST_SAMPLES:
            return None
        times, rises = belt[:, 0] - belt[:, 0].mean(), belt[:, 1]
        rate = float(times @ rises / (times @ times))
        # Where samples are missing their mean is not the middle.
        position = float(rises.mean()) + rate * (times[-1] - 0.5 * self.window_s)
        return np.asarray(self.offset_mm + position * self.gain + rate * self.lag_s)


def learned_relation(
    patient: "BreathingPatient", sensor: BreathingSensor, learning_s: float, rng: np.random.Generator
) -> SurrogateRelation:
    """The relation by least squares over the time before the rehearsal, in which target and belt were both seen.

    Both with the sensor's noise, so that the least squares weigh what the noise leaves of the rate. The motion
    before its own time zero is that of its repetition. Where both hardly move, the relation is assumed.

    Args:
        patient: before the rehearsal.
        sensor: rate and noise, of belt and target.
        learning_s: how long both were seen.
        rng: of the noise.

    Raises:
        MotionError: target or belt moves and the belt does not tell where the target is.
    """
    behind = max(LEAST_SAMPLES - 1, int(np.floor(WINDOW_S * sensor.rate_hz + 1e-9)))
    window = behind / sensor.rate_hz
    times = patient.start_s + np.arange(-int(learning_s * sensor.rate_hz) - behind, 1) / sensor.rate_hz
    true, rise = patient.breathing(times)
    seen = true + sensor.noise_mm * rng.standard_normal(true.shape)
    belt = rise + sensor.noise_mm * rng.standard_normal(len(rise))
    # Position and rate at each moment after the first window, all windows being alike.
    ticks = np.lib.stride_tricks.sliding_window_view(belt, behind + 1)
    since = np.arange(-behind, 1) / sensor.rate_hz
    centred = since - since.mean()
    lines = np.column_stack([ticks.mean(axis=1), ticks @ centred / (centred @ centred), np.ones(len(ticks))])
    wanted = seen[behind:]
    # Without noise, which averages out over so many samples: what is done must not hang on its draw.
    moved, wall_moved = float(np.sqrt(true.var(axis=0).sum())), float(rise.std()) / SKIN_RISE
    assumed = max(moved, wall_moved) < LITTLE_MM
    if assumed:
        gain = patient.inferior / SKIN_RISE
        # The line is told in its middle: half its length on it is the belt's rise now.
        way = np.array([gain, 0.5 * window * gain])
        factors = np.vstack([way, (wanted - lines[:, :2] @ way).mean(axis=0)])
    else:
        factors = np.linalg.lstsq(lines, wanted, rcond=None)[0]
    offset = -(lines[_exhaled(patient, times[behind:]), :2] @ factors[:2]).mean(axis=0)
    left = wanted - lines @ factors
    told = np.nan if assumed else _told(left, moved, sensor.noise_mm)
    if told < LEAST_TOLD:
        raise MotionError(
            f"the belt, which moves by {np.ptp(rise):.2g} mm, tells {100 * told:.0f} % of the target's motion "
            f"{patient.motion.name} where {100 * LEAST_TOLD:.0f} % are needed: sense the target itself"
        )
    return SurrogateRelation(
        read_only(offset), read_only(factors[0]), read_only(factors[1]), window, told,
        float(np.sqrt((left**2).sum(axis=1).mean())), assumed,
    )  # fmt: skip


def _told(left: FloatArray, moved_mm: float, noise_mm: float) -> float:
    """Share of the target's variance that is not left (n, 3); 0 where the target is at rest."""
    if moved_mm < REST_MM:
        return 0.0
    # What is left holds the noise of the seen target, which is no fault of the relation.
    unknown = max(0.0, float((left**2).sum() / len(left)) - 3.0 * noise_mm**2)
    return max(0.0, 1.0 - unknown / moved_mm**2)


def _exhaled(patient: "BreathingPatient", times: FloatArray) -> FloatArray:
    """(k,) indices of the moments nearest to the ends of exhalation."""
    found = []
    moment = patient.table.next_exhale_s(float(times[0]))
    while moment <= times[-1]:
        found.append(int(np.argmin(np.abs(times - moment))))
        moment = patient.table.next_exhale_s(moment + 0.1)
    return np.asarray(found, dtype=np.intp)
