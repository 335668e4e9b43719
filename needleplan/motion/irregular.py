"""Irregular breathing: no two breaths alike, a drifting end-exhale, coughs, apnoea and breath-holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.cough import BreathingEvent, Cough, EventKind
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.plan import Vector3, vector3

_RANGES: dict[str, tuple[float, float]] = {
    "amplitude_variation": (0.0, 0.6),
    "period_variation": (0.0, 0.6),
    "drift_mm": (0.0, 20.0),
    "drift_time_s": (1.0, 3600.0),
    "coughs_per_min": (0.0, 20.0),
    "apnoeas_per_min": (0.0, 20.0),
    "apnoea_s": (0.1, 120.0),
    "memory": (0.0, 0.95),
}


@dataclass(frozen=True, slots=True)
class Irregularity:
    """How far breathing departs from regular.

    Tobin et al., J Appl Physiol 1988;65:309 found, breath by breath in 65 resting volunteers, 20.8 % (SD 11.5) in
    frequency and 33 % (SD 15) in tidal volume; Tobin et al., Am J Respir Crit Care Med 1995;152:1967 a correlation
    between neighbouring breaths of 0.30 in volume. Public recordings, each as a whole, show 6 to 30 % in period (an
    erratic one 83 %), 9 to 55 % in amplitude (livers 12 to 22 %) and ends of exhalation that scatter by 0.1 to
    2.8 mm (skin markers of the ExtMarker collection; liver files of KIM-QA-Analysis): the defaults lie within. The
    time of the drift is an assumption. Coughs and apnoea are off by default: nothing measured is behind a rate.

    Attributes:
        amplitude_variation: standard deviation over mean of the amplitudes, 0 to 0.6.
        period_variation: standard deviation over mean of the periods, 0 to 0.6.
        drift_mm: standard deviation of the end-exhale baseline.
        drift_time_s: time after which the baseline has forgotten all but 1/e of where it was.
        drift_direction: along which the baseline drifts, patient LPS, scaled to length 1.
        coughs_per_min: mean number of coughs in a minute without coughs.
        cough: their shape.
        apnoeas_per_min: mean number of pauses at end-exhale in a minute of breathing.
        apnoea_s: length of such a pause.
        memory: correlation between (the logarithms of) neighbouring breaths, in amplitude and in period, 0 to 0.95.
    """

    amplitude_variation: float = 0.2
    period_variation: float = 0.2
    drift_mm: float = 1.0
    drift_time_s: float = 60.0
    drift_direction: Vector3 = (0.0, 0.0, -1.0)
    coughs_per_min: float = 0.0
    cough: Cough = field(default_factory=Cough)
    apnoeas_per_min: float = 0.0
    apnoea_s: float = 8.0
    memory: float = 0.3

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise MotionError(
                    f"{name} of irregular breathing must lie between {low:g} and {high:g}, not {value}"
                )
        object.__setattr__(self, "drift_direction", vector3(unit_vector(self.drift_direction)))

    @classmethod
    def none(cls) -> "Irregularity":
        """Nothing departs from regular breathing."""
        return cls(amplitude_variation=0.0, period_variation=0.0, drift_mm=0.0)


class IrregularMotion(RespiratoryMotion):
    """A regular model, breath by breath stretched in time and scaled in size, on a drifting baseline.

    - Each breath, from end-exhale to end-exhale, has its own period and amplitude, drawn independently of each
      other from lognormal distributions whose means are those of the regular model; each remembers the breath
      before (first-order autoregression of the logarithms).
    - The baseline is an Ornstein-Uhlenbeck process seen at the ends of exhalation (zero at the first, standard
      deviation ``drift_mm sqrt(1 - exp(-2 t / drift_time_s))``), with a smooth step from each to the next. Over the
      last ``min(drift_time_s, a quarter of the duration)`` it is drawn back to zero, because the motion repeats.
    - Coughs follow each other after exponentially distributed times; a pause at end-exhale comes before a breath
      with the probability ``apnoeas_per_min`` times the mean period in minutes. In a pause the baseline drifts on.

    All is drawn when the motion is made; it repeats after ``span_s``. Every part has a stream of its own, so that
    switching coughs on changes no breath. Without any irregularity it is the regular model.
    """

    def __init__(
        self,
        base: LujanMotion | HystereticMotion,
        irregularity: Irregularity,
        seed: int,
        duration_s: float = 300.0,
        holds: Sequence[BreathingEvent] = (),
    ) -> None:
        """Draw everything.

        Args:
            base: the regular breath; its phase says where in the first breath time zero lies.
            irregularity: how far to depart from it.
            seed: of all draws, zero or more.
            duration_s: the motion repeats after the first whole number of breaths that lasts so long, 10 to 3600 s.
            holds: apnoeas and inhale holds that are asked of the patient: each lasts as long as asked, from the
                first end of an exhalation (of an inhalation) at or after its start in a breath that begins then.

        Raises:
            MotionError: seed or duration are impossible, a hold is a cough, or a hold does not begin in time.
        """
        if seed < 0:
            raise MotionError(f"the seed of irregular breathing must be zero or more, not {seed}")
        if not 10.0 <= duration_s <= 3600.0:
            raise MotionError(f"irregular breathing must be drawn for 10 to 3600 s, not {duration_s}")
        if any(hold.kind is EventKind.COUGH for hold in holds):
            raise MotionError("a cough cannot be asked for as a hold: put a CoughingMotion on top")
        self._base, self._irregularity, self._seed = base, irregularity, seed
        breaths, drift, coughs = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        lujan = base.breath if isinstance(base, HystereticMotion) else base
        # cos^{2n}(pi t / T - phi) is zero, at end-exhale, where pi t / T - phi is half a turn of pi.
        self._exhale_s = base.period_s * (lujan.phase_rad / np.pi + 0.5)
        first_share = float(np.mod(-self._exhale_s / base.period_s, 1.0))
        self._draw_segments(breaths, duration_s, first_share, sorted(holds, key=lambda hold: hold.start_s))
        self._draw_drift(drift)
        self._draw_coughs(coughs)

    def _draw_segments(
        self, rng: np.random.Generator, duration_s: float, first_share: float, holds: list[BreathingEvent]
    ) -> None:
        """Table of stretches of time: begin, length, share of the breath at begin and end, scale."""
        law, period_s = self._irregularity, self._base.period_s
        rows: list[tuple[float, float, float, float, float]] = []
        events: list[BreathingEvent] = []
        periods: list[float] = []
        clock, pending = 0.0, list(holds)
        draw = rng.standard_normal(2)
        while not periods or clock < duration_s:
            length = period_s * _lognormal(float(draw[0]), law.period_variation)
            scale = _lognormal(float(draw[1]), law.amplitude_variation)
            draw = law.memory * draw + np.sqrt(1.0 - law.memory**2) * rng.standard_normal(2)
            pause = law.apnoea_s if rng.random() < law.apnoeas_per_min * period_s / 60.0 and periods else 0.0
            if not periods:
                self._shift_s = first_share * length
            now = clock - self._shift_s
            if pending and pending[0].kind is EventKind.APNOEA and pending[0].start_s <= now:
                pause = pending.pop(0).duration_s
            if pause:
                events.append(BreathingEvent(EventKind.APNOEA, now, now + pause))
                rows.append((clock, pause, 0.0, 0.0, scale))
                clock += pause
                now += pause
            inhaled = now + 0.5 * length
            if (
                pending
                and pending[0].kind is EventKind.INHALE_HOLD
                and pending[0].start_s <= inhaled
                and inhaled >= 0
            ):
                hold = pending.pop(0).duration_s
                rows.append((clock, 0.5 * length, 0.0, 0.5, scale))
                rows.append((clock + 0.5 * length, hold, 0.5, 0.5, scale))
                events.append(BreathingEvent(EventKind.INHALE_HOLD, inhaled, inhaled + hold))
                clock += 0.5 * length + hold
                rows.append((clock, 0.5 * length, 0.5, 1.0, scale))
                clock += 0.5 * length
            else:
                rows.append((clock, length, 0.0, 1.0, scale))
                clock += length
            periods.append(length)
        if pending:
            raise MotionError(
                f"the hold asked for at {pending[0].start_s:g} s does not begin within the {clock:.1f} s that are "
                "drawn: draw for longer"
            )
        self._segments = read_only(rows)
        self._periods_s = read_only(periods)
        self._events = events
        self._span_s = clock

    def _draw_drift(self, rng: np.random.Generator) -> None:
        law = self._irregularity
        knots = np.append(self._segments[:, 0], self._span_s)
        level = np.zeros(len(knots))
        kept = np.exp(-np.diff(knots) / law.drift_time_s)
        fresh = law.drift_mm * np.sqrt(1.0 - kept**2) * rng.standard_normal(len(kept))
        for k in range(len(kept)):
            level[k + 1] = kept[k] * level[k] + fresh[k]
        closing_s = min(law.drift_time_s, 0.25 * self._span_s)
        self._level_mm = read_only(level * np.clip((self._span_s - knots) / closing_s, 0.0, 1.0))

    def _draw_coughs(self, rng: np.random.Generator) -> None:
        law, starts = self._irregularity, []
        if law.coughs_per_min > 0.0:
            clock = self._shift_s + rng.exponential(60.0 / law.coughs_per_min)
            while clock + law.cough.duration_s <= self._span_s:
                starts.append(clock)
                clock += law.cough.duration_s + rng.exponential(60.0 / law.coughs_per_min)
        self._coughs_s = read_only(np.asarray(starts, dtype=np.float64))
        for start in starts:
            now = start - self._shift_s
            self._events.append(BreathingEvent(EventKind.COUGH, now, now + law.cough.duration_s))

    @property
    def name(self) -> str:
        """The regular model, the seed and what happens in a span."""
        return f"irregular({self._base.name}, seed {self._seed}, {len(self._events)} events)"

    @property
    def period_s(self) -> float:
        """Mean time between two ends of inhalation, pauses included."""
        return self._span_s / len(self._periods_s)

    @property
    def span_s(self) -> float:
        """Time after which the motion repeats."""
        return self._span_s

    @property
    def periods_s(self) -> FloatArray:
        """(n,) lengths of the breaths of a span, without pauses; time zero lies in the first."""
        return self._periods_s

    @property
    def events(self) -> tuple[BreathingEvent, ...]:
        """Coughs, pauses and holds of the first span, by their begin."""
        return tuple(sorted(self._events, key=lambda event: event.start_s))

    @property
    def speed_bound_mm_s(self) -> float:
        """Greatest sum, over the stretches of time, of the speeds of breath, baseline and any cough in them."""
        start, length, begin, end, scale = self._segments.T
        speed = self._base.speed_bound_mm_s * scale * (end - begin) * self._base.period_s / length
        # The smooth step 3 s^2 - 2 s^3 is steepest in its middle, with slope 3/2.
        speed = speed + 1.5 * np.abs(np.diff(self._level_mm)) / length
        bound = float(speed.max())
        cough = self._irregularity.cough
        for cough_s in self._coughs_s:
            met = (start < cough_s + cough.duration_s) & (start + length > cough_s)
            bound = max(bound, float(speed[met].max()) + cough.speed_bound_mm_s)
        return bound

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        """Displacement (..., 3) at ``time_s`` (...,) from the end-exhale before time zero."""
        law = self._irregularity
        times = np.mod(np.asarray(time_s, dtype=np.float64) + self._shift_s, self._span_s)
        row = np.searchsorted(self._segments[:, 0], times, side="right") - 1
        start, length, begin, end, scale = np.moveaxis(self._segments[row], -1, 0)
        part = np.clip((times - start) / length, 0.0, 1.0)
        share = begin + part * (end - begin)
        breath = self._base.displacement_mm(self._exhale_s + share * self._base.period_s)
        step = part * part * (3.0 - 2.0 * part)
        level = self._level_mm[row] + step * (self._level_mm[row + 1] - self._level_mm[row])
        moved = scale[..., None] * breath + level[..., None] * np.asarray(law.drift_direction)
        return np.asarray(moved + law.cough.displacement_mm(times, self._coughs_s))


def _lognormal(normal: float, variation: float) -> float:
    """From a standard normal number one of mean 1 and standard deviation ``variation``."""
    spread = np.sqrt(np.log1p(variation**2))
    return float(np.exp(spread * normal - 0.5 * spread**2))
