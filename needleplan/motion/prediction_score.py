"""How well a predictor does on a recorded trace, and the parameters with which it does best on one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.prediction import MotionPredictor
from needleplan.motion.recorded import MAXIMUM_GAP_S
from needleplan.motion.trace import BreathingTrace


@dataclass(frozen=True, slots=True, eq=False)
class PredictionScore:
    """Predictions of one predictor on one trace, one for each sample, and the truth.

    Attributes:
        time_s: (m,) times for which was predicted.
        predicted_mm: (m, 3) predictions, each from the samples up to ``latency_s`` before.
        truth_mm: (m, 3) what was recorded at that time, linear between samples.
        covariance_mm2: (m, 3, 3) stated covariance of the predictions.
        latency_s: time between the latest sample and the time predicted for.
    """

    time_s: FloatArray
    predicted_mm: FloatArray
    truth_mm: FloatArray
    covariance_mm2: FloatArray
    latency_s: float

    def __post_init__(self) -> None:
        for name in ("time_s", "predicted_mm", "truth_mm", "covariance_mm2"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def error_mm(self) -> FloatArray:
        """(m,) distances between prediction and truth."""
        return np.asarray(np.linalg.norm(self.predicted_mm - self.truth_mm, axis=1))

    @property
    def root_mean_square_mm(self) -> float:
        """Root mean square of the distances."""
        return float(np.sqrt(np.mean(self.error_mm**2)))

    @property
    def percentile_95_mm(self) -> float:
        """95th percentile of the distances."""
        return float(np.percentile(self.error_mm, 95.0))

    @property
    def jitter_mm_s(self) -> float:
        """Way that the prediction covers in a second: what a robot that follows it would have to run."""
        return _way_per_second(self.time_s, self.predicted_mm)

    @property
    def truth_jitter_mm_s(self) -> float:
        """Way that the recorded point covers in a second."""
        return _way_per_second(self.time_s, self.truth_mm)

    @property
    def squared_distance(self) -> FloatArray:
        """(m,) squared distances between prediction and truth, by the stated covariance (Mahalanobis)."""
        apart = self.predicted_mm - self.truth_mm
        solved = np.linalg.solve(self.covariance_mm2, apart[:, :, None])[:, :, 0]
        return np.asarray(np.einsum("mi,mi->m", apart, solved))

    @property
    def covered_95(self) -> float:
        """Share of the truths within the 95 % ellipsoid of the stated covariance (chi-squared, 3 degrees).

        The recorded truth has noise of its own that the covariance leaves out, so a share slightly below 0.95 is
        to be expected of an honest predictor.
        """
        from scipy.stats import chi2

        return float(np.mean(self.squared_distance <= chi2.ppf(0.95, 3)))


def score(
    predictor: MotionPredictor[Any],
    trace: BreathingTrace,
    latency_s: float,
    *,
    learning_s: float = 20.0,
    end_s: float = np.inf,
) -> PredictionScore:
    """Run a predictor along a trace as it would have run while it was recorded.

    Args:
        predictor: starts without any knowledge of the trace.
        trace: the recording; times that fall into a gap longer than 1 s have no truth and are left out.
        latency_s: how far ahead of the latest sample to predict.
        learning_s: samples before this time are observed and not judged.
        end_s: the trace is cut here.

    Raises:
        MotionError: a latency that is not above zero, or a trace with nothing left to judge.
    """
    if not (np.isfinite(latency_s) and latency_s > 0.0):
        raise MotionError(f"the latency to predict over must be above 0 s, not {latency_s}")
    state = predictor.start()
    times, found, covariance = [], [], []
    last = min(end_s, trace.duration_s)
    for time, position in zip(trace.time_s, trace.displacement_mm, strict=True):
        then = float(time) + latency_s
        if then > last:
            break
        state = predictor.observe(state, float(time), position)
        after = int(np.searchsorted(trace.time_s, then))
        gap = trace.time_s[after] - trace.time_s[after - 1] > MAXIMUM_GAP_S
        if time < learning_s or gap or not predictor.ready(state, then):
            continue
        prediction = predictor.predict(state, then)
        times.append(then)
        found.append(prediction.mean_mm)
        covariance.append(prediction.covariance_mm2)
    if len(times) < 2:
        raise MotionError(
            f"{trace.source}: after {learning_s:g} s of learning nothing is left to judge a predictor by"
        )
    at = np.array(times)
    truth = np.stack([np.interp(at, trace.time_s, axis) for axis in trace.displacement_mm.T], axis=1)
    return PredictionScore(at, np.array(found), truth, np.array(covariance), latency_s)


def fitted(
    make: Callable[..., MotionPredictor[Any]],
    first_guess: Sequence[float],
    traces: Sequence[BreathingTrace],
    latency_s: float,
    loss: Callable[[PredictionScore], float],
    *,
    learning_s: float = 20.0,
    end_s: float = np.inf,
    evaluations: int = 60,
) -> MotionPredictor[Any]:
    """The predictor of least loss on training traces, by the simplex search of Nelder and Mead.

    Args:
        make: gives a predictor for parameters above zero, in the order of ``first_guess``; their logarithms are
            searched.
        first_guess: where the search begins.
        traces: training traces.
        latency_s: as for :func:`score`.
        loss: what is to be small on the mean over the traces: :func:`log_error` for parameters that decide where
            the prediction lies, :func:`log_surprise` for those that decide what error it states.
        learning_s: as for :func:`score`.
        end_s: as for :func:`score`.
        evaluations: number of parameter sets tried, about.

    Raises:
        MotionError: as :func:`score`.
    """
    from scipy.optimize import minimize

    def mean_loss(logarithms: FloatArray) -> float:
        predictor = make(*np.exp(logarithms).tolist())
        scores = (score(predictor, trace, latency_s, learning_s=learning_s, end_s=end_s) for trace in traces)
        return float(np.mean([loss(each) for each in scores]))

    begin = np.log(np.asarray(first_guess, dtype=np.float64))
    options = {
        "maxfev": evaluations,
        "initial_simplex": np.vstack([begin, begin + 0.7 * np.eye(len(begin))]),
        "xatol": 0.05,
        "fatol": 1e-3,
    }
    best = minimize(mean_loss, begin, method="Nelder-Mead", options=options)
    return make(*np.exp(best.x).tolist())


def log_error(result: PredictionScore) -> float:
    """Logarithm of the root mean square error: traces of a deep and of a shallow breath count alike."""
    return float(np.log(result.root_mean_square_mm))


def log_surprise(result: PredictionScore) -> float:
    """Mean negative logarithm of the normal density, by the stated covariance, at the truth."""
    variance = np.linalg.slogdet(2.0 * np.pi * result.covariance_mm2)[1]
    return float(np.mean(0.5 * result.squared_distance + 0.5 * variance))


def _way_per_second(time_s: FloatArray, position_mm: FloatArray) -> float:
    steps = np.linalg.norm(np.diff(position_mm, axis=0), axis=1)
    return float(steps.sum() / (time_s[-1] - time_s[0]))
