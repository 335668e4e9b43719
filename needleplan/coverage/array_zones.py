"""What an array of electrodes destroys, computed once in the array's own frame and asked in every pose.

In the closed form (``CassiniModel``) a field falls with the distance e beyond the bare length alone, so of
parallel, level electrodes the zone is a cross-section that is the same beside all of the bare length and closes
beyond its ends. Drawn back by no more than the bare length, the zones of all rounds are together the zone of
one bare length from the last start to the first tip. And a zone of any bare length is what two endless ones
share, one closed at the tips and the mirrored one closed at the start: a ball lies in it where it lies in both.
One shape serves all lengths.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.compiled import compiled, compiled_parallel, prange
from needleplan.coverage.array_layouts import ArrayLayout, lengthened
from needleplan.devices.applicator_physics import ApplicatorPhysicsTable, PhysicsRow, PulseElectrode, unit_of
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Ablation, Insertion, vector3

#: Distance of the nodes at which depths are known; between them the bound gives away up to 0.37 of it.
_STEP_MM = 0.8
#: Room about the zone, within which distances from outside are known as well.
_ROOM_MM = 2.0
#: Taken off every depth: a model that samples its field on another grid sets the surface elsewhere by less.
_SAMPLING_MM = 0.05
#: Places along the needle are found to this.
_SEARCH_MM = 0.02
_MOST_KEPT = 256


@dataclass(frozen=True, slots=True, eq=False)
class ArrayZone:
    """The zone of an array whose bare length ends at z = 0 and goes on towards negative z without end.

    The electrodes are parallel to the z axis, their tips point to positive z. Depths are signed distances to the
    zone's surface, positive inside.

    Attributes:
        layout: the arrangement.
        depth_mm: (a, b, c) depths at nodes, never overstated; for y >= 0 alone, the zone is its mirror image there.
        corner_mm: (3,) place of the first node.
        end_mm: the zone ends at this z.
        error_mm: true depths are no more than this above those at the nodes.
        area_mm2: of the cross-section.
        cap_mm3: volume beyond z = 0.
    """

    layout: ArrayLayout
    depth_mm: NDArray[np.float64]
    corner_mm: FloatArray
    end_mm: float
    error_mm: float
    area_mm2: float
    cap_mm3: float

    def volume_ml(self, length_mm: float) -> float:
        """Volume of the zone of a bare length."""
        return (self.area_mm2 * length_mm + 2.0 * self.cap_mm3) / 1000.0

    def extents(
        self,
        points: FloatArray,
        radius_mm: FloatArray,
        shift_mm: tuple[float, float] = (0.0, 0.0),
        whole: bool = False,
    ) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which balls the array can destroy with any bare length, and the shortest one that destroys them.

        Args:
            points: (n, 3) middles of the balls in the array's frame.
            radius_mm: (n,) their radii.
            shift_mm: the array's middle line lies so far (x, y) from that of the frame.
            whole: True where only arrays that destroy all balls matter: others are given up.

        Returns:
            (n,) True for balls that can be destroyed, none where the array was given up; and (2,) least and
            greatest z of the bare length that destroys them.
        """
        held = np.zeros(len(points), dtype=np.bool_)
        interval = np.array([np.inf, -np.inf])
        _extents(
            np.ascontiguousarray(points), np.ascontiguousarray(radius_mm), self.depth_mm, self.corner_mm, _STEP_MM,
            self.end_mm, shift_mm[0], shift_mm[1], whole, held, interval,
        )  # fmt: skip
        return held, interval

    def gap_mm(self, points: FloatArray, interval_mm: FloatArray) -> FloatArray:
        """(n,) distance from points (n, 3) to the zone of a bare length (2,), never overstated; below 0 inside."""
        result = np.empty(len(points))
        _gaps(
            np.ascontiguousarray(points),
            interval_mm,
            self.depth_mm,
            self.corner_mm,
            _STEP_MM,
            self.error_mm,
            result,
        )
        return result


@lru_cache(maxsize=_MOST_KEPT)
def array_zone(
    electrode: PulseElectrode, protocol: PulseProtocol, threshold_v_cm: float, layout: ArrayLayout
) -> ArrayZone:
    """The zone of an arrangement by the closed form.

    Args:
        electrode: the electrode; its bare length plays no part.
        protocol: the pulses.
        threshold_v_cm: field that treats the tissue, for constant conductivity.
        layout: the arrangement.

    Raises:
        PhysicsError: the field reaches the threshold nowhere.
    """
    # Each end must be felt on its own side alone: half the length is no less than any depth, which the half of the
    # narrower side is not exceeded by. Zones usually reach less than 8 mm beyond the electrodes.
    length = 2.0 * layout.radius_mm + 20.0
    while True:
        long = lengthened(electrode, length)
        zone = CassiniModel(protocol, threshold_v_cm, table=_table(long)).zone(_insertions(layout, long))
        if not (zone.signed_distance_mm(np.array([[*layout.places_mm[0], -0.5 * length]])) > 0.0).all():
            raise PhysicsError(
                f"a {layout.name} of electrodes {layout.spacing_mm:g} mm apart destroys nothing at "
                f"{threshold_v_cm:g} V/cm"
            )
        low, high = zone.bounds_mm
        deepest = 0.5 * float((high[:2] - low[:2]).min()) + 2.0 * _STEP_MM
        if length >= 2.0 * deepest:
            break
        length = 2.0 * deepest
    corner = np.array([low[0] - _ROOM_MM, 0.0, -deepest])
    counts = np.ceil((high + _ROOM_MM - corner) / _STEP_MM).astype(int) + 1
    axes = [corner[k] + _STEP_MM * np.arange(counts[k]) for k in range(3)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = zone.signed_distance_mm(nodes).reshape(counts) - _SAMPLING_MM
    # Shares of the cubes about the nodes that lie within the zone, and of those what lies beyond z = 0.
    inside = 2.0 * np.clip((depth + _SAMPLING_MM) / _STEP_MM + 0.5, 0.0, 1.0)
    inside[:, 0] *= 0.5
    above = np.clip(axes[2] / _STEP_MM + 0.5, 0.0, 1.0)
    return ArrayZone(
        layout,
        read_only(depth),
        read_only(corner),
        float(high[2]),
        float(zone.margin_error_mm) + 2.0 * _SAMPLING_MM,
        float(inside[:, :, 0].sum() * _STEP_MM**2),
        float((inside * above).sum() * _STEP_MM**3),
    )


def _insertions(layout: ArrayLayout, electrode: PulseElectrode) -> list[Insertion]:
    start = -electrode.exposure_mm - 10.0
    return [
        Insertion(vector3((x, y, start)), vector3((x, y, 0.0)), electrode.name, (Ablation((x, y, 0.0), None, 1.0),))
        for x, y in layout.places_mm
    ]


def _table(electrode: PulseElectrode) -> ApplicatorPhysicsTable:
    rows = [
        PhysicsRow(
            electrode.name,
            item.name,
            getattr(electrode, item.name),
            unit_of(item.name),
            "as given",
            "COMPUTED",
            "high",
        )
        for item in fields(electrode)
        if item.name != "name"
    ]
    return ApplicatorPhysicsTable(rows, builtin_catalogue())


@compiled
def _bounds(depth: Any, corner: Any, step: float, x: float, y: float, z: float) -> Any:
    """(least, greatest) depth that the nodes about a point leave, a depth changing by 1 mm a millimetre at most.

    Points beyond the nodes are moved to the nearest place among them, those below along the needles without loss.
    """
    i = min(max(int((x - corner[0]) / step), 0), depth.shape[0] - 2)
    j = min(max(int((y - corner[1]) / step), 0), depth.shape[1] - 2)
    k = min(max(int((z - corner[2]) / step), 0), depth.shape[2] - 2)
    flat = z <= corner[2]
    low, high = -np.inf, np.inf
    for a in range(2):
        dx = x - corner[0] - (i + a) * step
        for b in range(2):
            dy = y - corner[1] - (j + b) * step
            for c in range(1 if flat else 2):
                dz = 0.0 if flat else z - corner[2] - (k + c) * step
                away = np.sqrt(dx * dx + dy * dy + dz * dz)
                known = depth[i + a, j + b, k + c]
                low = max(low, known - away)
                high = min(high, known + away)
    return low, high


@compiled
def _extents(
    points: Any, radius: Any, depth: Any, corner: Any, step: float, end: float, shift_x: float, shift_y: float,
    whole: bool, held: Any, interval: Any,
) -> None:  # fmt: skip
    bottom = corner[2]
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] - shift_x, abs(points[n, 1] - shift_y), points[n, 2]
        low, _ = _bounds(depth, corner, step, x, y, bottom)
        held[n] = low >= radius[n]
        if not held[n]:
            if whole:
                held[:] = False
                return
            continue
        # Most balls lie well within what those before them asked for.
        if interval[1] > interval[0]:
            low, _ = _bounds(depth, corner, step, x, y, -min(interval[1] - z, z - interval[0]))
            if low >= radius[n]:
                continue
        # The bare length must go on beyond the ball's middle by some way between these two.
        near, far = -end, -bottom
        while far - near > _SEARCH_MM:
            middle = 0.5 * (near + far)
            low, _ = _bounds(depth, corner, step, x, y, -middle)
            if low >= radius[n]:
                far = middle
            else:
                near = middle
        interval[0] = min(interval[0], z - far)
        interval[1] = max(interval[1], z + far)


@compiled
def _end_gap(depth: Any, corner: Any, step: float, error: float, x: float, y: float, z: float) -> float:
    # The zone lies within the nodes, so a point beyond them is farther from it than its nearest place among them.
    px = min(max(x, corner[0]), corner[0] + (depth.shape[0] - 1) * step)
    py = min(y, corner[1] + (depth.shape[1] - 1) * step)
    pz = min(z, corner[2] + (depth.shape[2] - 1) * step)
    _, high = _bounds(depth, corner, step, px, py, pz)
    gap = -(high + error)
    beyond = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
    if beyond == 0.0:
        return gap
    return float(np.sqrt(beyond + max(gap, 0.0) ** 2))


@compiled_parallel
def _gaps(points: Any, interval: Any, depth: Any, corner: Any, step: float, error: float, result: Any) -> None:
    for n in prange(points.shape[0]):
        x, y, z = points[n, 0], abs(points[n, 1]), points[n, 2]
        result[n] = max(
            _end_gap(depth, corner, step, error, x, y, z - interval[1]),
            _end_gap(depth, corner, step, error, x, y, interval[0] - z),
        )
