"""Seeded draws of where the needles of a plan may land."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.uncertainty.error_budget import DEFLECTION_DEPTH_MM, ErrorBudget

#: A needle is never drawn back nearer to its entry than this.
LEAST_DEPTH_MM = 1.0
#: More scenarios than this are a mistake: a probability is known to 0.1 % long before.
MOST_SCENARIOS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Scenarios:
    """Where the needles of a plan land in each of n scenarios.

    Attributes:
        insertions: the k insertions as planned.
        entry_mm: (n, k, 3) where the needles pass the entry surface.
        tip_mm: (n, k, 3) deepest tips.
        ablation_tip_mm: (n, a, 3) tips during the ablations of all insertions one after the other.
        bend_mm: (n, k, 3) how far the tip lies off the straight needle by bending; the needle is the parabola
            that leaves the entry straight.
        insertion_of: (a,) the insertion that each ablation belongs to.
    """

    insertions: tuple[Insertion, ...]
    entry_mm: FloatArray
    tip_mm: FloatArray
    ablation_tip_mm: FloatArray
    bend_mm: FloatArray
    insertion_of: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("entry_mm", "tip_mm", "ablation_tip_mm", "bend_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        object.__setattr__(self, "insertion_of", read_only(self.insertion_of, np.int64))

    def __len__(self) -> int:
        return len(self.entry_mm)

    @property
    def directions(self) -> FloatArray:
        """(n, k, 3) unit vectors from entry to tip, along which the zones lie."""
        way = self.tip_mm - self.entry_mm
        return np.asarray(way / np.linalg.norm(way, axis=2, keepdims=True))

    def after(self, first: "Scenarios") -> "Scenarios":
        """These scenarios behind those of ``first``, of the same insertions."""

        def joined(name: str) -> FloatArray:
            return np.concatenate([getattr(first, name), getattr(self, name)])

        return dataclasses.replace(
            self,
            entry_mm=joined("entry_mm"),
            tip_mm=joined("tip_mm"),
            ablation_tip_mm=joined("ablation_tip_mm"),
            bend_mm=joined("bend_mm"),
        )

    def placed(self, index: int) -> tuple[Insertion, ...]:
        """The insertions of one scenario; the plan's clearances are not theirs and are left out."""
        found = []
        for j, insertion in enumerate(self.insertions):
            tips = self.ablation_tip_mm[index, self.insertion_of == j]
            ablations = tuple(
                Ablation(vector3(tip), ablation.power_w, ablation.duration_s)
                for tip, ablation in zip(tips, insertion.ablations, strict=True)
            )
            found.append(
                dataclasses.replace(
                    insertion,
                    entry_mm=vector3(self.entry_mm[index, j]),
                    tip_mm=vector3(self.tip_mm[index, j]),
                    ablations=ablations,
                    clearances_mm={},
                )
            )
        return tuple(found)


def sample_scenarios(
    insertions: Sequence[Insertion],
    budget: ErrorBudget,
    axes: ArrayLike,
    scenarios: int,
    seed: int,
    measured: Sequence[int] = (),
) -> Scenarios:
    """Draw where the needles land.

    The draws are standard numbers that only the seed, the place of the needle in the list and the number of the
    scenario decide: plans with the same seed are compared with common random numbers, a needle more at the end of
    the list changes nothing for the others, more scenarios repeat the first ones, and another spread of one source
    stretches its errors and leaves all others as they are. Directions across a needle are taken from the patient's
    axes, so a plan turned together with its patient has its errors turned with it.

    Args:
        insertions: k insertions.
        budget: spreads and laws.
        axes: (3, 3) the patient's axes (lateral, up, cranial) in columns, ``Anatomy.axes``.
        scenarios: number n of scenarios.
        seed: of all draws, from 0 up.
        measured: indices of needles that are in place and were measured; they land where they are.

    Raises:
        OptionError: there is no insertion, an index names none, or the number or the seed is out of range.
    """
    if not insertions:
        raise OptionError("there is no insertion whose placement could err")
    if not 1 <= scenarios <= MOST_SCENARIOS:
        raise OptionError(f"the number of scenarios must be 1 to {MOST_SCENARIOS}, not {scenarios}")
    if seed < 0:
        raise OptionError(f"the seed must be 0 or more, not {seed}")
    for index in measured:
        if not 0 <= index < len(insertions):
            raise OptionError(
                f"the measured needle {index} is none of the plan's, which are 0 to {len(insertions) - 1}"
            )
    frame = np.asarray(axes, dtype=np.float64)
    common, *streams = np.random.SeedSequence(seed).spawn(1 + len(insertions))
    shift, common_breath = _session_errors(budget, scenarios, common)
    breath_axis = budget.breathing_axis(frame)
    shape = (scenarios, len(insertions), 3)
    entry, tip, bend = np.empty(shape), np.empty(shape), np.zeros(shape)
    owner = [j for j, insertion in enumerate(insertions) for _ in insertion.ablations]
    ablation_tip = np.empty((scenarios, len(owner), 3))
    column = 0
    for j, (insertion, stream) in enumerate(zip(insertions, streams, strict=True)):
        count = len(insertion.ablations)
        points = np.array([insertion.tip_mm, *(ablation.tip_mm for ablation in insertion.ablations)])
        if j in measured:
            entry[:, j], tip[:, j] = insertion.entry_mm, insertion.tip_mm
            ablation_tip[:, column : column + count] = points[1:]
        else:
            errors = _NeedleErrors.drawn(budget, scenarios, stream)
            breath = common_breath if budget.breathing_common else errors.breath
            rigid = shift @ frame.T + breath[:, None] * breath_axis
            across = _across(insertion.direction, frame)
            rigid = rigid + errors.lateral @ across
            moved, bend[:, j] = _moved_points(insertion, points, errors, across)
            entry[:, j] = insertion.entry_mm + rigid
            tip[:, j] = moved[:, 0] + rigid
            ablation_tip[:, column : column + count] = moved[:, 1:] + rigid[:, None]
        column += count
    return Scenarios(tuple(insertions), entry, tip, ablation_tip, bend, np.array(owner, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _NeedleErrors:
    """Errors of one needle in n scenarios, the two components across it in its own frame."""

    lateral: FloatArray
    depth: FloatArray
    slope: FloatArray
    breath: FloatArray
    bend: FloatArray

    @classmethod
    def drawn(cls, budget: ErrorBudget, scenarios: int, stream: np.random.SeedSequence) -> "_NeedleErrors":
        normal, tail = _standard(stream, scenarios, 8, 5)
        return cls(
            normal[:, 0:2] * budget.lateral_mm.spread(tail[:, 0])[:, None],
            normal[:, 2] * budget.depth_mm.spread(tail[:, 1]),
            normal[:, 3:5] * (math.pi / 180.0 * budget.angle_deg.spread(tail[:, 2]))[:, None],
            normal[:, 5] * budget.breathing_mm.spread(tail[:, 3]),
            normal[:, 6:8] * budget.deflection_mm.spread(tail[:, 4])[:, None],
        )


def _session_errors(
    budget: ErrorBudget, scenarios: int, stream: np.random.SeedSequence
) -> tuple[FloatArray, FloatArray]:
    """(n, 3) shifts in the patient's axes and (n,) breaths that all needles share."""
    normal, tail = _standard(stream, scenarios, 4, 2)
    return (
        normal[:, :3] * budget.registration_mm.spread(tail[:, 0])[:, None],
        normal[:, 3] * budget.breathing_mm.spread(tail[:, 1]),
    )


def _standard(
    stream: np.random.SeedSequence, scenarios: int, normals: int, tails: int
) -> tuple[FloatArray, FloatArray]:
    """Standard normal (n, normals) and uniform (n, tails) draws, scenario by scenario from streams of their own."""
    first, second = stream.spawn(2)
    return (
        np.random.default_rng(first).standard_normal((scenarios, normals)),
        np.random.default_rng(second).random((scenarios, tails)),
    )


def _across(direction: FloatArray, frame: FloatArray) -> FloatArray:
    """(2, 3) unit vectors across a needle: towards the head (up where the needle points there), and across both."""
    _, up, cranial = frame.T
    helper = cranial if abs(float(cranial @ direction)) < 0.9 else up
    first = unit_vector(helper - (helper @ direction) * direction)
    return np.stack([first, np.cross(direction, first)])


def _moved_points(
    insertion: Insertion, points: FloatArray, errors: _NeedleErrors, across: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Points (p, 3) on a needle moved by depth, tilt and bending to (n, p, 3), and the bending (n, 3) of the first.

    A point at depth s comes to u = s + depth error, and lies u slope + (u / 100 mm)² bend off the planned line.
    """
    direction = insertion.direction
    planned = (points - np.asarray(insertion.entry_mm)) @ direction
    error = np.maximum(errors.depth, LEAST_DEPTH_MM - max(float(planned[0]), LEAST_DEPTH_MM))
    depth = planned + error[:, None]
    slope, bend = errors.slope @ across, errors.bend @ across
    bent = (depth / DEFLECTION_DEPTH_MM)[:, :, None] ** 2 * bend[:, None]
    moved = points + error[:, None, None] * direction + depth[:, :, None] * slope[:, None] + bent
    return moved, bent[:, 0]
