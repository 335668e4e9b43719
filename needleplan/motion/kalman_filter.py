"""Kalman filters of three axes that share their dynamics, and learn the size of their noise.

The three axes obey one state-space model with process and measurement noise in fixed proportion; the covariance
``S`` (3, 3) of the measurement noise between the axes is unknown and learned from the innovations. That is the
matrix-normal dynamic linear model of West and Harrison, Bayesian Forecasting and Dynamic Models, 2nd ed. 1997,
section 16.4, with discounted learning of ``S`` (section 10.8): the gains are those of the ordinary Kalman filter,
they do not depend on the data, and turning the patient turns the predictions alike. Several models (g of them) are
filtered side by side and weighed by how well each has predicted the samples so far (Magill, IEEE Trans Autom
Control 1965;10:434), older evidence counting less.
"""

from dataclasses import dataclass

import numpy as np

from needleplan.frames import FloatArray, read_only
from needleplan.motion.prediction import Prediction

#: Weight of the assumed measurement noise when the filter starts, in samples, and the least that is left of what
#: was learned after a gap. Above 2, or the variance of the predictions (Student's t) would be infinite.
PRIOR_SAMPLES = 5.0
#: Weight that a model keeps at the least, so that one that was wrong for minutes can come back.
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FilterState:
    """What g filters of n states have learned.

    Attributes:
        time_s: time of the latest sample; None before the first.
        count: number of samples seen.
        mean: (g, n, 3) states, each of three axes, in mm, mm/s...
        covariance: (g, n, n) their error covariance for a measurement noise of variance 1.
        noise_mm2: (g, 3, 3) covariance S of the measurement noise.
        weight_samples: number of samples that ``noise_mm2`` rests on.
        log_weight: (g,) logarithms of the models' probabilities.
    """

    time_s: float | None
    count: int
    mean: FloatArray
    covariance: FloatArray
    noise_mm2: FloatArray
    weight_samples: float
    log_weight: FloatArray

    def __post_init__(self) -> None:
        for name in ("mean", "covariance", "noise_mm2", "log_weight"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def weight(self) -> FloatArray:
        """(g,) probabilities of the models; they add up to 1."""
        return np.asarray(np.exp(self.log_weight))


def started(covariance: FloatArray, noise_mm: float) -> FilterState:
    """Before any sample.

    Args:
        covariance: (g, n, n) of the states, in units of the noise variance.
        noise_mm: first guess of the standard deviation of a measurement.
    """
    count, size = covariance.shape[:2]
    return FilterState(
        None, 0, np.zeros((count, size, 3)), covariance, np.tile(noise_mm**2 * np.eye(3), (count, 1, 1)),
        PRIOR_SAMPLES, np.full(count, -np.log(count)),
    )  # fmt: skip


def moved_on(state: FilterState, transition: FloatArray, process: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (g, n, 3) and covariance (g, n, n) of the states later.

    Args:
        state: before.
        transition: (g, n, n) of the states over the time that passes.
        process: (g, n, n) covariance of the noise that joins them meanwhile, in units of the noise variance.
    """
    covariance = transition @ state.covariance @ transition.swapaxes(1, 2) + process
    return transition @ state.mean, covariance


def observed(
    state: FilterState,
    time_s: float,
    position_mm: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
    row: FloatArray,
    memory_s: float,
    evidence_s: float,
) -> FilterState:
    """The states after a sample.

    Args:
        state: before the sample.
        time_s: time of the sample.
        position_mm: (3,) the sample.
        mean: (g, n, 3) of the states at that time, before the sample is used.
        covariance: (g, n, n) of the states at that time.
        row: (n,) how the position follows from the states.
        memory_s: time after which a sample counts 1/e in the learned noise.
        evidence_s: time after which a sample counts 1/e in the models' probabilities.
    """
    passed = 0.0 if state.time_s is None else time_s - state.time_s
    innovation = position_mm - row @ mean
    spread = covariance @ row
    size = spread @ row + 1.0
    gain = spread / size[:, None]
    # Joseph's form keeps the covariance symmetric and positive whatever the rounding.
    kept = np.eye(len(row)) - gain[:, :, None] * row
    updated = kept @ covariance @ kept.swapaxes(1, 2) + gain[:, :, None] * gain[:, None, :]
    fade = float(np.exp(-passed / memory_s))
    samples = max(fade * state.weight_samples, PRIOR_SAMPLES)
    outer = innovation[:, :, None] * innovation[:, None, :]
    noise = (samples * state.noise_mm2 + outer / size[:, None, None]) / (samples + 1.0)
    # The density of Student's t, without the factors that all models share.
    scale = state.noise_mm2 * size[:, None, None]
    distance = np.einsum("gi,gi->g", innovation, np.linalg.solve(scale, innovation[:, :, None])[:, :, 0])
    evidence = -0.5 * np.linalg.slogdet(scale)[1] - 0.5 * (samples + 3.0) * np.log1p(distance / samples)
    log_weight = float(np.exp(-passed / evidence_s)) * state.log_weight + evidence
    log_weight = np.maximum(log_weight - log_weight.max(), np.log(LEAST_WEIGHT))
    return FilterState(
        float(time_s), state.count + 1, mean + gain[:, :, None] * innovation[:, None, :], updated, noise,
        samples + 1.0, log_weight - np.log(np.exp(log_weight).sum()),
    )  # fmt: skip


def mixture(state: FilterState, time_s: float, lead: FloatArray, added: FloatArray) -> Prediction:
    """Mean and covariance of the position over all models.

    Args:
        state: what has been learned.
        time_s: time of the prediction.
        lead: (g, n) how the position at that time follows from the present states.
        added: (g,) variance that the process noise adds until then, in units of the noise variance.
    """
    weight = state.weight
    position = (lead[:, None, :] @ state.mean)[:, 0]
    variance = (lead[:, None, :] @ state.covariance @ lead[:, :, None])[:, 0, 0] + added
    middle = weight @ position
    student = state.weight_samples / (state.weight_samples - 2.0)
    within = student * np.tensordot(weight * variance, state.noise_mm2, axes=1)
    apart = position - middle
    return Prediction(time_s, middle, within + (weight[:, None] * apart).T @ apart)
