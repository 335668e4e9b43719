"""What a peer of benchmarks/physics_peers.py hands back, and the times between which it steps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One solve.

    Attributes:
        seconds: wall time without compilation; of the whole problem, also where only a part was solved.
        values: the answer, (times, probes), or (probes,) without time; NaN where it was not reached.
        cells: of the grid.
        steps: of the whole problem; 0 without time.
        share: of the steps that was solved; below 1, ``seconds`` is extrapolated.
        figures: further answers by name with unit, such as the volume of the zone.
    """

    seconds: float
    values: NDArray[np.float64]
    cells: int
    steps: int = 0
    share: float = 1.0
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def gcell_per_s(self) -> float:
        """Cells times steps a second, in 1e9."""
        return self.cells * self.steps / self.seconds / 1e9


@dataclass(frozen=True, slots=True)
class Schedule:
    """Equal steps between the times of answers, and how many of them a peer takes.

    Attributes:
        times_s: when answers are taken.
        longest_step_s: no step is longer.
        most_steps: a slow peer stops after so many; None for none.
    """

    times_s: tuple[float, ...]
    longest_step_s: float
    most_steps: int | None = None

    @property
    def step_s(self) -> float:
        """The longest step allowed that meets all times, which are whole milliseconds."""
        common_s = math.gcd(*(round(1000.0 * time_s) for time_s in self.times_s)) / 1000.0
        return common_s / math.ceil(common_s / self.longest_step_s * (1.0 - 1e-12))

    @property
    def steps(self) -> int:
        """Of the whole problem."""
        return round(self.times_s[-1] / self.step_s)

    @property
    def share(self) -> float:
        """Of the steps that are taken."""
        return 1.0 if self.most_steps is None else min(1.0, self.most_steps / self.steps)

    def parts(self) -> Iterator[tuple[int, bool]]:
        """Number of steps, and whether an answer is due after them, up to the last step taken."""
        left, done = self.steps if self.most_steps is None else self.most_steps, 0
        for time_s in self.times_s:
            count = round(time_s / self.step_s) - done
            if left > 0:
                yield min(count, left), count <= left
            left -= count
            done += count

    def run(
        self, seconds: float, answers: list[NDArray[np.float64]], probes: int, cells: int, **figures: float
    ) -> Run:
        """The Run of a peer that needed ``seconds`` for the steps taken and gave ``answers`` at so many probes."""
        values = np.full((len(self.times_s), probes), np.nan)
        values[: len(answers)] = np.array(answers).reshape(-1, probes)
        return Run(seconds / self.share, values, cells, self.steps, self.share, figures)
