"""Rows of benchmarks/prediction.py: errors of predictors on recordings that they were not fitted to."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clock import print_rows
from rich.console import Console
from rich.table import Table
from rows import Row, write_rows

from needleplan.io.traces import read_breathing_trace
from needleplan.motion.harmonic_prediction import HarmonicKalmanPredictor
from needleplan.motion.kalman_prediction import KinematicKalmanPredictor
from needleplan.motion.last_value_prediction import LastValuePredictor
from needleplan.motion.linear_prediction import LinearPredictor
from needleplan.motion.prediction import MotionPredictor
from needleplan.motion.prediction_score import PredictionScore, fitted, log_error, log_surprise, score
from needleplan.motion.trace import BreathingTrace

LATENCIES_S = (0.1, 0.2, 0.3, 0.4, 0.5)
FIT_LATENCY_S, FIT_END_S, LEARNING_S = 0.3, 60.0, 20.0
NONE = "no prediction"
#: A prediction must be ready long before the next sample of a tracker of 60 Hz.
STEP_LIMIT_S = 1.0 / 60.0


@dataclass(frozen=True, slots=True)
class Family:
    """Predictors of one kind.

    Attributes:
        make: gives one for parameters above zero.
        guess: where the fit begins.
        loss: what the fit makes small.
    """

    make: Callable[..., MotionPredictor[Any]]
    guess: tuple[float, ...]
    loss: Callable[[PredictionScore], float]


#: The line's parameters only state its error; those of the filters decide where the prediction lies.
FAMILIES = {
    NONE: Family(lambda noise, speed: LastValuePredictor(noise, speed), (0.3, 5.0), log_surprise),
    "linear": Family(lambda noise, bend: LinearPredictor(0.4, noise, bend), (0.3, 15.0), log_surprise),
    "kalman, velocity": Family(lambda ratio: KinematicKalmanPredictor(2, 0.3 * ratio, 0.3), (30.0,), log_error),
    "kalman, acceleration": Family(lambda ratio: KinematicKalmanPredictor(3, 0.3 * ratio, 0.3), (60.0,), log_error),
    "kalman, harmonic": Family(
        lambda amplitude, level: HarmonicKalmanPredictor(
            amplitude_drift=0.3 * amplitude, level_drift=0.3 * level, noise_mm=0.3
        ),
        (10.0, 5.0),
        log_error,
    ),
}  # fmt: skip


def recordings(data: Path | None, quick: bool) -> dict[str, list[list[BreathingTrace]]]:
    """The recordings of each data set, each the traces that were taken at once; made breaths without data."""
    if data is None:
        return {"made": [[made(seed, 60.0 if quick else 120.0)] for seed in range(2 if quick else 4)]}
    markers, livers = data / "breathing-extmarker", data / "breathing-kim-liver"
    times = sorted({file.name.split("-")[0] for file in markers.glob("*.csv")})
    files = {
        "skin markers": [sorted(markers.glob(f"{time}-*.csv")) for time in times],
        "liver": [[file] for file in sorted(livers.glob("LiverTraj_*.txt"))],
    }
    return {
        name: [[read_breathing_trace(file) for file in recording] for recording in recorded]
        for name, recorded in files.items()
    }


def made(seed: int, duration_s: float) -> BreathingTrace:
    """Breaths of varying length and depth along an oblique direction, with the noise of a tracker, at 10 Hz."""
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(np.log(4.0), 0.12, int(duration_s))
    depths = rng.lognormal(np.log(12.0), 0.15, len(lengths))
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    times = np.arange(0.0, duration_s, 0.1)
    breath = np.searchsorted(ends, times, side="right") - 1
    size = depths[breath] * np.sin(np.pi * (times - ends[breath]) / lengths[breath]) ** 4
    noise = rng.normal(0.0, 0.2, (len(times), 3))
    return BreathingTrace(times, size[:, None] * [0.1, -0.4, -0.9] + noise, f"made {seed}")


def held_out(
    family: Family, sets: dict[str, list[list[BreathingTrace]]], quick: bool, kind: str
) -> dict[str, dict[float, list[PredictionScore]]]:
    """Scores by data set and latency, each recording judged by the predictor that was fitted to all others."""
    result: dict[str, dict[float, list[PredictionScore]]] = {}
    for name, recorded in sets.items():
        result[name] = {latency: [] for latency in LATENCIES_S}
        for left_out in recorded:
            train = [other[0] for group in sets.values() for other in group if other is not left_out]
            predictor = fitted(
                family.make, family.guess, train, FIT_LATENCY_S, family.loss,
                learning_s=LEARNING_S, end_s=FIT_END_S, evaluations=4 if quick else 30,
            )  # fmt: skip
            tell(f"{left_out[0].source.split(',')[0]} left out, {kind}: {predictor}")
            for latency in LATENCIES_S:
                result[name][latency] += [
                    score(predictor, trace, latency, learning_s=LEARNING_S) for trace in left_out
                ]
    return result


def rows_of(data: Path | None, quick: bool) -> list[Row]:
    """The error, the 95th percentile, the jitter and the honesty of every predictor beside no prediction."""
    rows: list[Row] = []
    sets = recordings(data, quick)
    judged = {kind: held_out(family, sets, quick, kind) for kind, family in FAMILIES.items()}
    for name in sets:
        scores = {kind: by_set[name] for kind, by_set in judged.items()}
        show(name, scores)
        truth = float(np.mean([each.truth_jitter_mm_s for each in scores[NONE][LATENCIES_S[0]]]))
        rows.append(Row(f"jitter_mm_s {name}, truth", truth, "mm/s"))
        for latency in LATENCIES_S:
            none = pooled(scores[NONE][latency])
            for kind in FAMILIES:
                ours = pooled(scores[kind][latency])
                what = f"{name}, {1e3 * latency:.0f} ms, {kind}"
                for figure, unit in (("rms_mm", "mm"), ("p95_mm", "mm"), ("jitter_mm_s", "mm/s")):
                    value = ours[figure]
                    rows.append(
                        Row(f"{figure} {what}", value, unit)
                        if kind == NONE
                        else Row.against(f"{figure} {what}", value, unit, NONE, none[figure])
                    )
                rows.append(Row(f"covered_95 {what}", ours["covered_95"], "1"))
    return rows


def pooled(scores: Sequence[PredictionScore]) -> dict[str, float]:
    """Figures over all predictions of several traces; the jitter is the mean of theirs."""
    errors = np.concatenate([each.error_mm for each in scores])
    sizes = [len(each.time_s) for each in scores]
    return {
        "rms_mm": float(np.sqrt(np.mean(errors**2))),
        "p95_mm": float(np.percentile(errors, 95.0)),
        "jitter_mm_s": float(np.mean([each.jitter_mm_s for each in scores])),
        "covered_95": float(np.average([each.covered_95 for each in scores], weights=sizes)),
    }


def step_rows() -> list[Row]:
    """Time of one sample and one prediction."""
    trace = made(9, 60.0)
    rows = []
    for kind, family in FAMILIES.items():
        predictor = family.make(*family.guess)
        state, spent = predictor.start(), []
        for at, place in zip(trace.time_s, trace.displacement_mm, strict=True):
            start = time.perf_counter()
            state = predictor.observe(state, float(at), place)
            if predictor.ready(state, float(at) + 0.3):
                predictor.predict(state, float(at) + 0.3)
            spent.append(time.perf_counter() - start)
        rows.append(Row.against(f"step_s {kind}", float(np.median(spent)), "s", "one frame of 60 Hz", STEP_LIMIT_S))
    return rows


def show(name: str, scores: dict[str, dict[float, list[PredictionScore]]]) -> None:
    """The figures as a table, root mean square / 95th percentile / jitter / covered."""
    table = Table(title=f"{name}: rms mm / 95th percentile mm / jitter mm/s / in 95 % ellipsoid")
    for heading in ("predictor", *(f"{1e3 * latency:.0f} ms" for latency in LATENCIES_S)):
        table.add_column(heading)
    for kind, by_latency in scores.items():
        cells = []
        for latency in LATENCIES_S:
            got = pooled(by_latency[latency])
            cells.append(
                f"{got['rms_mm']:.2f} / {got['p95_mm']:.2f} / {got['jitter_mm_s']:.1f} / {got['covered_95']:.0%}"
            )
        table.add_row(kind, *cells)
    Console(width=170, stderr=True).print(table)


def tell(sentence: str) -> None:
    """Says what is being done."""
    print(sentence, file=sys.stderr, flush=True)


def main(path: Path, data: Path | None, quick: bool) -> None:
    """Judge all predictors, print and write the rows."""
    rows = rows_of(data, quick) + step_rows()
    print_rows(rows)
    write_rows(path, rows)
