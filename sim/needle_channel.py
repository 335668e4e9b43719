"""The channel that a needle has cut, as points of the body at rest, and the shape that it gives the needle."""

import math

import numpy as np

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from sim.needle_bending import NeedleShaft
from sim.needle_shaft_kernel import bent_shaft
from sim.tissue_push import FADING_M

#: Distance of the channel's points along it.
SPACING_MM = 4.0
#: Depths nearer than this are the same.
DEEPER_MM = 1e-3
#: A tip that goes on this far beside where it stopped begins a new piece of channel.
ASIDE_MM = 0.5
#: Points of a shaft nearer than this are one.
APART_MM = 1e-3
#: A channel ahead of a tip that was drawn back stays open over this length and guides the tip when it comes again;
#: an assumption, longer than breathing moves tissue along a needle and shorter than a draw-back for a new aim.
OPEN_AHEAD_MM = 10.0


class NeedleChannel:
    """Points through which the tip has cut, deepest last; the last one goes with the tip while it cuts.

    Args:
        entry_mm: (3,) where the skin was passed, in the body at rest.
        dragged_mm: where the tip has been moved aside against the tissue, it drags the tissue ahead of it along,
            which fades over this length; the needle's radius is an assumption. So a tip that creeps on stays in its
            tissue, and one that advances soon cuts where it is.
    """

    def __init__(self, entry_mm: FloatArray, dragged_mm: float) -> None:
        self._dragged_mm = dragged_mm
        self._points = np.zeros((32, 3))
        self._steered = np.zeros((32, 3))
        self._depths = np.zeros(32)
        self._points[0] = entry_mm
        self._count = 1

    @property
    def points_mm(self) -> FloatArray:
        """(m, 3) in the body at rest."""
        return self._points[: self._count]

    @property
    def steered_per_mm(self) -> FloatArray:
        """(m, 3) curvature to which the tip was steered in the piece that ends at each point."""
        return self._steered[: self._count]

    @property
    def depth_mm(self) -> float:
        """Depth of the deepest point."""
        return float(self._depths[self._count - 1])

    def cut(self, tip_mm: FloatArray, way: FloatArray, depth_mm: float, steered_per_mm: FloatArray) -> None:
        """The tip has come to a place; where it has been as deep before nothing is cut.

        Args:
            tip_mm: (3,) the tissue that lies there, in the body at rest, if the tip dragged none.
            way: (3,) unit vector in which the tip looks.
            depth_mm: of the tip in the tissue.
            steered_per_mm: (3,) curvature to which it is steered.
        """
        deeper = depth_mm - self.depth_mm
        if deeper <= DEEPER_MM:
            if deeper < -OPEN_AHEAD_MM:
                self._close(depth_mm + OPEN_AHEAD_MM)
            return
        last = self._count - 1
        straight = self._points[last] + deeper * way
        place = tip_mm + math.exp(-deeper / self._dragged_mm) * (straight - tip_mm)
        # The last point stays once it is far from the one before, or where the tip has been moved aside since.
        if (
            last == 0
            or self.depth_mm - self._depths[last - 1] >= SPACING_MM
            or float(np.linalg.norm(place - straight)) > ASIDE_MM
        ):
            self._count += 1
            if self._count > len(self._points):
                grown = ((0, len(self._points)), (0, 0))
                self._points, self._steered = np.pad(self._points, grown), np.pad(self._steered, grown)
                self._depths = np.pad(self._depths, grown[0])
        last = self._count - 1
        self._points[last], self._steered[last], self._depths[last] = place, steered_per_mm, depth_mm

    def until(self, depth_mm: float) -> FloatArray:
        """(k, 3) points in the body at rest from the skin to a depth, which is not deeper than the channel."""
        behind = int(np.searchsorted(self._depths[: self._count], depth_mm))
        if behind in (0, self._count):
            return self._points[: max(behind, 1)].copy()
        return np.vstack([self._points[:behind], self._at(depth_mm, behind)])

    def end_at(self, depth_mm: float) -> None:
        """Forget what lies deeper than the tip."""
        if depth_mm < self.depth_mm:
            self._close(max(depth_mm, 0.0))

    def _close(self, depth_mm: float) -> None:
        """End the channel at a depth less than its own."""
        last = max(1, int(np.searchsorted(self._depths[: self._count], depth_mm)))
        self._points[last] = self._at(depth_mm, last)
        self._depths[last] = depth_mm
        self._count = last + 1

    def _at(self, depth_mm: float, behind: int) -> FloatArray:
        """(3,) the place at a depth between the point of number ``behind`` and the one before."""
        before, after = self._depths[behind - 1], self._depths[behind]
        share = (depth_mm - before) / (after - before)
        return np.asarray(self._points[behind - 1] + share * (self._points[behind] - self._points[behind - 1]))


def check_resolved(shaft: NeedleShaft, side_stiffness_pa: float) -> None:
    """Refuse a shaft that gives in to tissue over less than the channel resolves: (4 E I / k)^(1/4) (Hetényi 1946).

    Raises:
        OptionError: the shaft is too limp.
    """
    follows_mm = 1e3 * (4.0 * shaft.stiffness_n_m2 / side_stiffness_pa) ** 0.25
    if not follows_mm >= SPACING_MM:
        raise OptionError(
            f"a needle that follows tissue within {follows_mm:.1f} mm is too limp to be simulated: from "
            f"{SPACING_MM:g} mm on it can be; take a greater diameter or Young modulus"
        )


class ShaftShape:
    """How a needle lies beside a straight axis.

    Args:
        channel_mm: (m, 3) the channel in the room now.
        steered_per_mm: (m, 3) as of the channel.
        exit_mm: (3,) end of the guide, or the skin for a needle that none holds.
        axis: (3,) unit vector.
        reach_mm: length of needle behind that end.
        push_mm: how far the tip pushes the tissue before it; the channel is pushed along.
        shaft: the needle.
        side_stiffness_pa: force of the tissue on a metre of needle for a metre to the side.
        clamped: True where a guide holds the needle.

    Attributes:
        axis: (3,) as given.
        reach_mm: as given.
        tip_offset_mm: (3,) of the tip, across the axis.
    """

    def __init__(
        self,
        channel_mm: FloatArray,
        steered_per_mm: FloatArray,
        exit_mm: FloatArray,
        axis: FloatArray,
        reach_mm: float,
        push_mm: float,
        shaft: NeedleShaft,
        side_stiffness_pa: float,
        clamped: bool = True,
    ) -> None:
        self.axis, self.reach_mm = axis, reach_mm
        self._exit, self._clamped = exit_mm, clamped
        # N m² and N/m² as N mm² and N/mm².
        self._along, self._offsets, self._slopes = bent_shaft(
            channel_mm, steered_per_mm, exit_mm, axis, reach_mm, push_mm, 1e3 * FADING_M,
            shaft.stiffness_n_m2 * 1e6, side_stiffness_pa * 1e-6, clamped,
        )  # fmt: skip
        self.tip_offset_mm: FloatArray = self._offsets[-1] + (reach_mm - self._along[-1]) * self._slopes[-1]

    @classmethod
    def left_in(
        cls, channel_mm: FloatArray, steered_per_mm: FloatArray, shaft: NeedleShaft, side_stiffness_pa: float
    ) -> "ShaftShape":
        """A needle from the first to the last point of a channel (m, 3) that alone holds it.

        Its own line is its axis: first it is laid along the chord, then along what comes of that.
        """
        start, way = channel_mm[0], channel_mm[-1] - channel_mm[0]
        for _ in range(2):
            axis = way / np.linalg.norm(way)
            depth = float((channel_mm[-1] - start) @ axis)
            shape = cls(channel_mm, steered_per_mm, start, axis, depth, 0.0, shaft, side_stiffness_pa, False)
            way = shape.tip_mm - shape.in_tissue_mm[0]
        return shape

    @property
    def tip_mm(self) -> FloatArray:
        """(3,) the tip in the room."""
        return np.asarray(self._exit + self.reach_mm * self.axis + self.tip_offset_mm)

    @property
    def tip_way(self) -> FloatArray:
        """(3,) unit vector in which the tip looks."""
        way = self.axis + self._slopes[-1]
        return np.asarray(way / np.linalg.norm(way))

    @property
    def in_tissue_mm(self) -> FloatArray:
        """(k, 3) polyline in the room from the skin to the tip; the tip alone where it is not behind the skin."""
        apart = self._along < self.reach_mm - APART_MM
        apart[1:] &= np.diff(self._along) > 0.0
        before = self._exit + self._along[apart, None] * self.axis + self._offsets[apart]
        return np.vstack([before, self.tip_mm])

    @property
    def in_air_mm(self) -> FloatArray:
        """(k, 3) polyline in the room from the guide's end to just before the skin.

        A cantilever that is bent at its end alone: a cubic.
        """
        free = float(self._along[0])
        if not (self._clamped and free > 0.0):
            return np.zeros((0, 3))
        x = np.linspace(0.0, 0.8, 5)[:, None]
        offsets = (3.0 * x**2 - 2.0 * x**3) * self._offsets[0] + free * (x**3 - x**2) * self._slopes[0]
        return np.asarray(self._exit + x * free * self.axis + offsets)

    def out_of_skin_mm(self, length_mm: float) -> FloatArray:
        """(3,) the end of a needle that stands out of the skin straight on by a length."""
        way = self.axis + self._slopes[0]
        start = self._exit + self._along[0] * self.axis + self._offsets[0]
        return np.asarray(start - length_mm * way / np.linalg.norm(way))
