"""Ways round obstacles in joint space, by RRT-connect with checks of whole edges at once.

Two trees grow towards each other from both ends (Kuffner and LaValle, "RRT-Connect", IEEE International Conference
on Robotics and Automation 2000); what they find is cut short and is the same every time for the same seed.

Why this is not OMPL: its RRTConnect (ompl 2.0.1, BSD licence) was tried on 36 blocked approaches of the seven-joint
arm and found a way for the same 29. It took 15 ms and 67 ms more to shorten the way (medians) where it asks for one
posture at a time, 4 and 19 ms where it asks for whole edges, and the search here 32 ms for both; so it plans well.
But a check of whole edges needs a motion validator in Python, and the wheel's bindings then never free the problem
(validator and space hold each other, as they say when Python ends), while a search for the place of a base plans by
the hundred; its seed is one for the whole process, so another user of the library or another thread changes the
answer; and there is no wheel for Windows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only

#: An edge of a tree is at most this many check steps long.
LONGEST_EDGE = 50.0
#: An edge is kept only where at least this many check steps of it are clear.
SHORTEST_EDGE = 1.0
#: A connection goes on for at most this many edges.
CONNECTING_EDGES = 40
#: Attempts to cut a found way short.
SHORT_CUTS = 40

#: Tells for postures (k, n) which of them keep clear of everything, (k,).
ClearPostures = Callable[[FloatArray], NDArray[np.bool_]]


class DetourStatus(StrEnum):
    """How a search for a way ended."""

    FOUND = "found"
    NONE_FOUND = "none found"  #: within the iterations; there may be one
    BLOCKED_END = "blocked end"  #: the start or the goal itself is not clear


@dataclass(frozen=True, slots=True, eq=False)
class Detour:
    """A way round obstacles, or why there is none.

    Attributes:
        status: how the search ended.
        reason: empty when found; else a sentence.
        stops: (m, n) postures between which the way is straight in joint space, start and goal among them; empty
            when none was found.
        iterations: samples that were drawn.
        postures: postures that were checked.
    """

    status: DetourStatus
    reason: str
    stops: FloatArray
    iterations: int
    postures: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "stops", read_only(self.stops))

    @property
    def found(self) -> bool:
        """True where there is a way."""
        return self.status is DetourStatus.FOUND


def find_detour(
    start: ArrayLike,
    goal: ArrayLike,
    q_min: ArrayLike,
    q_max: ArrayLike,
    step: ArrayLike,
    clear: ClearPostures,
    seed: int = 0,
    iterations: int = 500,
) -> Detour:
    """A way from ``start`` to ``goal`` on which every posture that is checked is clear.

    Args:
        start: (n,) first posture.
        goal: (n,) last posture.
        q_min: (n,) least joint positions.
        q_max: (n,) greatest joint positions.
        step: (n,) greatest change of each joint between two postures that are checked; also the unit in which
            joints are compared.
        clear: tells which postures are clear; asked for whole edges at once.
        seed: of all random draws.
        iterations: greatest number of samples.

    Raises:
        OptionError: the ends have different shapes, lie outside the limits, or a number is out of range.
    """
    search = _Search(start, goal, q_min, q_max, step, clear)
    if seed < 0 or iterations < 1:
        raise OptionError("a search for a detour needs a seed of at least 0 and at least one iteration")
    ends = search.clear(search.ends)
    search.checked += 2
    for name, good in zip(("start", "goal"), ends, strict=True):
        if not good:
            return search.result(DetourStatus.BLOCKED_END, f"the {name} itself is not clear", None, 0)
    rng = np.random.default_rng(seed)
    found = search.connect(rng, iterations)
    if found is None:
        reason = f"no way round was found in {iterations} samples"
        return search.result(DetourStatus.NONE_FOUND, reason, None, iterations)
    way, drawn = found
    return search.result(DetourStatus.FOUND, "", search.shortened(way, rng), drawn)


class _Tree:
    """Postures in units of the check step, each with the one it was reached from."""

    def __init__(self, root: FloatArray) -> None:
        self._places = np.empty((64, len(root)))
        self._places[0] = root
        self.parents = [-1]

    def nearest(self, place: FloatArray) -> int:
        apart = self._places[: len(self.parents)] - place
        return int(np.argmin(np.einsum("kn,kn->k", apart, apart)))

    def add(self, place: FloatArray, parent: int) -> int:
        if len(self.parents) == len(self._places):
            self._places = np.concatenate([self._places, np.empty_like(self._places)])
        self._places[len(self.parents)] = place
        self.parents.append(parent)
        return len(self.parents) - 1

    def place(self, node: int) -> FloatArray:
        return self._places[node]

    def way(self, node: int) -> list[FloatArray]:
        """Places from a node back to the root."""
        places = []
        while node >= 0:
            places.append(self._places[node].copy())
            node = self.parents[node]
        return places


class _Search:
    """One search: both ends, the limits and the check, in units of the check step."""

    def __init__(
        self, start: ArrayLike, goal: ArrayLike, q_min: ArrayLike, q_max: ArrayLike, step: ArrayLike,
        clear: ClearPostures,
    ) -> None:  # fmt: skip
        first, last, low, high, unit = (np.asarray(x, dtype=np.float64) for x in (start, goal, q_min, q_max, step))
        if first.ndim != 1 or {first.shape} != {last.shape, low.shape, high.shape, unit.shape}:
            raise OptionError("the ends of a detour, the limits and the step need one value for each joint")
        if not (unit > 0).all():
            raise OptionError("the step between checks must be greater than zero")
        self.ends = np.array([first, last])
        if not np.isfinite(self.ends).all() or (self.ends < low - 1e-9).any() or (self.ends > high + 1e-9).any():
            raise OptionError("the ends of a detour must lie inside the joint limits")
        self.unit, self.low, self.high = unit, low / unit, high / unit
        self.clear = clear
        self.checked = 0

    def result(self, status: DetourStatus, reason: str, way: FloatArray | None, iterations: int) -> Detour:
        if way is None:
            return Detour(status, reason, np.empty((0, len(self.unit))), iterations, self.checked)
        stops = way * self.unit
        # The ends exactly as they were given.
        stops[0], stops[-1] = self.ends
        return Detour(status, reason, stops, iterations, self.checked)

    def reached(self, begin: FloatArray, end: FloatArray) -> float:
        """The share of the straight line between two places that is clear, up to the first check that fails."""
        count = max(1, int(np.ceil(np.abs(end - begin).max())))
        share = np.arange(1, count + 1) / count
        good = self.clear((begin + share[:, None] * (end - begin)) * self.unit)
        self.checked += count
        return 1.0 if good.all() else float(np.argmin(good)) / count

    def grow(self, tree: _Tree, node: int, end: FloatArray) -> tuple[int, bool] | None:
        """One edge from a node towards ``end``: the new node and whether it lies there; None where blocked."""
        begin = tree.place(node).copy()
        length = float(np.linalg.norm(end - begin))
        goal = end if length <= LONGEST_EDGE else begin + LONGEST_EDGE / length * (end - begin)
        share = self.reached(begin, goal)
        if share * min(length, LONGEST_EDGE) < SHORTEST_EDGE and share < 1.0:
            return None
        whole = share == 1.0
        place = goal if whole else begin + share * (goal - begin)
        return tree.add(place, node), whole and length <= LONGEST_EDGE

    def connect(self, rng: np.random.Generator, iterations: int) -> tuple[FloatArray, int] | None:
        """Grows both trees until they meet; the way and the samples drawn."""
        trees = [_Tree(end / self.unit) for end in self.ends]
        for drawn in range(1, iterations + 1):
            near, far = trees if drawn % 2 else trees[::-1]
            # The first sample is the other end: mostly only a corner has to be passed.
            sample = far.place(0).copy() if drawn <= 2 else rng.uniform(self.low, self.high)
            grown = self.grow(near, near.nearest(sample), sample)
            if grown is None:
                continue
            place = near.place(grown[0]).copy()
            node = far.nearest(place)
            for _ in range(CONNECTING_EDGES):
                met = self.grow(far, node, place)
                if met is None:
                    break
                before, node = node, met[0]
                if met[1]:
                    ways = near.way(grown[0])[::-1] + far.way(node)[1:]
                    return np.array(ways if near is trees[0] else ways[::-1]), drawn
                if np.linalg.norm(far.place(node) - far.place(before)) < LONGEST_EDGE - 1e-9:
                    break  # an obstacle ended the edge
        return None

    def shortened(self, way: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Cuts between random points of the way wherever the straight line between them is clear and shorter."""
        places = self.fewer(list(way))
        for _ in range(SHORT_CUTS):
            if len(places) == 2:
                break
            lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
            ends = np.cumsum(lengths)
            first, last = np.sort(rng.uniform(0.0, ends[-1], size=2))
            i, j = (min(int(k), len(lengths) - 1) for k in np.searchsorted(ends, (first, last)))
            if i == j:
                continue
            a = places[i + 1] - (ends[i] - first) / lengths[i] * (places[i + 1] - places[i])
            b = places[j + 1] - (ends[j] - last) / lengths[j] * (places[j + 1] - places[j])
            # A whole edge is tried where a cut falls near its end, so that corners vanish.
            a = places[i] if np.linalg.norm(a - places[i]) < 2.0 else a
            b = places[j + 1] if np.linalg.norm(b - places[j + 1]) < 2.0 else b
            if np.linalg.norm(b - a) < last - first - 1e-6 and self.reached(a, b) == 1.0:
                places = [*places[: i + 1], a, b, *places[j + 1 :]]
        return np.array(self.fewer(places))

    def fewer(self, places: list[FloatArray]) -> list[FloatArray]:
        """Leaves out every place that the straight line between its neighbours can do without."""
        kept, k = list(places), 1
        while k < len(kept) - 1:
            if self.reached(kept[k - 1], kept[k + 1]) == 1.0:
                del kept[k]
            else:
                k += 1
        return kept
