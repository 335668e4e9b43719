"""All displacements of a breathing motion, as balls within balls, for proofs that hold at every moment."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.contract import RespiratoryMotion

#: Between a moment and its nearest sample the target moves by no more than this.
SLACK_MM = 0.02
#: Balls of samples no larger than this are not divided.
SMALLEST_RADIUS_MM = 0.025
#: A motion that would need more samples is no breathing.
MAXIMUM_SAMPLES = 5_000_000


class Excursion:
    """Where the target goes within the span of a motion.

    The span is cut into equal steps, so short that at the speed bound of the motion no moment of a step lies
    farther than ``slack_mm`` from its middle in displacement. The middles are gathered into balls that are divided
    on demand, each into two: a path that comes and goes along a line is searched once, whatever the times.

    Args:
        motion: the breathing model.

    Attributes:
        step_s: length of a step.
        slack_mm: bound of what the target moves between the middle of a step and its ends.
        displacement_mm: (m, 3) displacement in the middle of each step, in the order of time.
    """

    def __init__(self, motion: RespiratoryMotion) -> None:
        speed, span = motion.speed_bound_mm_s, motion.span_s
        if not (np.isfinite(speed) and speed >= 0 and np.isfinite(span) and span > 0):
            raise MotionError(f"the motion {motion.name} states no finite speed bound and no span above zero")
        needed = 0.5 * span * speed / SLACK_MM
        if needed > MAXIMUM_SAMPLES:
            raise MotionError(
                f"the motion {motion.name} of up to {speed:.3g} mm/s for {span:.3g} s is too fast or too long to "
                "be followed: cut the recording, or smooth it"
            )
        count = max(1, int(np.ceil(needed)))
        self.step_s = span / count
        self.slack_mm = 0.5 * self.step_s * speed
        self.displacement_mm = read_only(motion.displacement_mm((np.arange(count) + 0.5) * self.step_s))
        self._order = np.arange(count)
        self._first: list[int] = []
        self._last: list[int] = []
        self._centre: list[FloatArray] = []
        self._radius: list[float] = []
        self._parts: list[tuple[int, ...] | None] = []
        self._append(0, count)

    def __len__(self) -> int:
        return len(self.displacement_mm)

    @property
    def span_s(self) -> float:
        """Length of all steps together."""
        return self.step_s * len(self)

    @property
    def size_mm(self) -> FloatArray:
        """(m,) lengths of the displacements."""
        return np.asarray(np.linalg.norm(self.displacement_mm, axis=1))

    @property
    def order(self) -> NDArray[np.int64]:
        """(m,) steps in the order of the balls: each ball holds a run of them; changes as balls are divided."""
        return self._order

    def balls(self, nodes: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Centres (k, 3), each a displacement that is reached, and radii (k,) that hold all their moments."""
        centre = np.array([self._centre[node] for node in nodes]).reshape(-1, 3)
        return centre, np.array([self._radius[node] for node in nodes]) + self.slack_mm

    def run(self, node: int) -> slice:
        """The places in ``order`` of the steps that a ball holds; not changed by dividing it."""
        return slice(self._first[node], self._last[node])

    def parts(self, node: int) -> tuple[int, ...]:
        """The two balls into which a ball is divided; none where it is small enough."""
        known = self._parts[node]
        if known is None:
            known = self._divided(node)
            self._parts[node] = known
        return known

    def _append(self, first: int, last: int) -> int:
        points = self.displacement_mm[self._order[first:last]]
        one, other = _far_apart(points)
        middle = 0.5 * (one + other)
        centre = points[int(np.argmin(((points - middle) ** 2).sum(axis=1)))]
        self._first.append(first)
        self._last.append(last)
        self._centre.append(centre)
        self._radius.append(float(np.sqrt(((points - centre) ** 2).sum(axis=1).max())))
        self._parts.append(None)
        return len(self._first) - 1

    def _divided(self, node: int) -> tuple[int, ...]:
        if self._radius[node] <= SMALLEST_RADIUS_MM:
            return ()
        first, last = self._first[node], self._last[node]
        members = self._order[first:last].copy()
        points = self.displacement_mm[members]
        one, other = _far_apart(points)
        nearer = (points - 0.5 * (one + other)) @ (other - one) <= 0.0
        # A stable partition keeps the order of time within each part.
        self._order[first:last] = np.concatenate([members[nearer], members[~nearer]])
        border = first + int(np.count_nonzero(nearer))
        return self._append(first, border), self._append(border, last)


def _far_apart(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two points far apart: the farthest from the mean, and the farthest from that."""
    one = points[int(np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
    return one, points[int(np.argmax(((points - one) ** 2).sum(axis=1)))]
