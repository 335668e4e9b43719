"""How a thin needle touches the cells of a coarse grid.

A needle is thinner than a voxel, and the potential (or temperature) about it falls like a logarithm. One column of
voxels held at the needle's value acts like a needle of 0.1985 voxels' radius whatever the needle's own radius is
(Peaceman, SPE J 1978;18:183): 21 % of the current of a 1 mm electrode are lost at 1 mm. Here the conductance of
each face between a held cell and a tissue cell is the one that a logarithmic profile about the needle's true axis
and radius sends through that face,

    F = (integral over the face of n.r/|r| / |r| dA) / h / ln(r_cell / a)

in units of a plain face, with r the vector from the axis. For a needle along a grid line through voxel centres this
is Peaceman's correction (pi/2) / ln(h/a); it holds as well for needles between the centres, at any angle to the
grid, and for needles wider than a voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.grid import Grid

#: Cells whose centre lies nearer to the axis than the radius plus this share of a voxel are held: then the next
#: centre is far enough from the needle's surface for the logarithm not to blow up.
_CLEAR_OF_SURFACE = 0.3
#: At least this share of a voxel is held about the axis, so that the held cells form a chain in any direction.
_LEAST_HELD = 0.72
#: A cell and those that it shares a face with, as steps of the indices.
_CELL_AND_NEIGHBOURS = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]).astype(np.int64)
#: Gauss points along each side of a face.
_GAUSS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Contact:
    """Faces through which cells held at a temperature exchange heat with tissue otherwise than the plain stencil.

    Attributes:
        cells: (n, 3) indices of the tissue cells.
        held: (n, 3) indices of the held cells that they touch; each a neighbour of its tissue cell.
        factors: (n,) conductance over that between two tissue cells.
    """

    cells: NDArray[np.int64]
    held: NDArray[np.int64]
    factors: FloatArray


@dataclass(frozen=True, slots=True)
class NeedlePart:
    """A straight part of a needle that holds a potential or a temperature.

    Attributes:
        start_mm, end_mm: ends of its axis, patient LPS.
        radius_mm: outer radius.
        bare_end: True where the part ends in bare metal, the needle's own tip. At ``start_mm``, and at ``end_mm``
            otherwise, the insulated shaft goes on and nothing flows out along the axis.
    """

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    radius_mm: float
    bare_end: bool = True

    @property
    def length_mm(self) -> float:
        """Length of the axis."""
        return float(np.linalg.norm(np.subtract(self.end_mm, self.start_mm)))

    def distance_mm(self, points_mm: FloatArray) -> FloatArray:
        """Distance (n,) of points (n, 3) from the axis between its ends."""
        start, span = np.asarray(self.start_mm), np.subtract(self.end_mm, self.start_mm)
        along = np.clip((points_mm - start) @ span / (span @ span), 0.0, 1.0)
        return np.asarray(np.linalg.norm(points_mm - start - along[:, None] * span, axis=1))

    def gap_mm(self, other: "NeedlePart") -> float:
        """Least distance between the axes of two parts."""
        ends = (self.start_mm, self.end_mm, other.start_mm, other.end_mm)
        return least_distance_mm(*(np.asarray(end) for end in ends))


def least_distance_mm(a_mm: FloatArray, b_mm: FloatArray, c_mm: FloatArray, d_mm: FloatArray) -> float:
    """Least distance of the segments a-b and c-d (Ericson, Real-Time Collision Detection 2005, 5.1.9)."""
    u, v, w = b_mm - a_mm, d_mm - c_mm, a_mm - c_mm
    uu, vv, uv, uw, vw = float(u @ u), float(v @ v), float(u @ v), float(u @ w), float(v @ w)
    apart = uu * vv - uv * uv
    s = min(max((uv * vw - uw * vv) / apart, 0.0), 1.0) if apart > 1e-12 * uu * vv else 0.0
    t = (uv * s + vw) / vv
    if not 0.0 <= t <= 1.0:
        t = min(max(t, 0.0), 1.0)
        s = min(max((uv * t - uw) / uu, 0.0), 1.0)
    return float(np.linalg.norm(w + s * u - t * v))


@dataclass(frozen=True, slots=True, eq=False)
class NeedleCells:
    """Cells that parts of needles hold, and the faces through which they act.

    Attributes:
        held: (n, 3) indices of held cells.
        part: (n,) index of the part that holds each.
        contact: faces towards tissue cells with their factors.
        contact_part: (m,) index of the part of each face.
        contact_angle: (m,) the factor's numerator: share of the needle's flux, as an angle in radians.
    """

    held: NDArray[np.int64]
    part: NDArray[np.int64]
    contact: Contact
    contact_part: NDArray[np.int64]
    contact_angle: FloatArray


def needle_cells(
    grid: Grid,
    parts: Sequence[NeedlePart],
    film_mm: float | Sequence[float] = 0.0,
    needles: Sequence[int] | None = None,
) -> NeedleCells:
    """Held cells and contact faces of parts of needles on a grid of cubic voxels.

    Args:
        grid: with equal spacings at right angles.
        parts: of one or several needles; later ones take no cells from earlier ones.
        film_mm: conductivity over heat transfer coefficient of a cooling film at the needle's wall, one for all or
            one a part; 0 for a wall at the needle's own value.
        needles: number of the needle that each part belongs to: parts of one needle may touch. Each its own needle
            where not given.

    Raises:
        PhysicsError: a part reaches out of the grid, has no length, or no tissue lies between the cells of two
            needles.
    """
    spacing = float(grid.spacing_mm[0])
    of_needle = list(range(len(parts))) if needles is None else list(needles)
    films = np.broadcast_to(np.asarray(film_mm, dtype=np.float64), len(parts))
    owner = np.full(grid.shape, -1, dtype=np.int64)
    held, owners = [], []
    for number, part in enumerate(parts):
        cells = _cells_of(grid, part, spacing)
        # Held cells of two needles that share a face would be a short circuit.
        about = np.concatenate([owner[tuple((cells + step).T)] for step in _CELL_AND_NEIGHBOURS])
        others = [int(n) for n in np.unique(about) if n >= 0 and of_needle[n] != of_needle[number]]
        if others:
            other = parts[others[0]]
            if part.gap_mm(other) < part.radius_mm + other.radius_mm:
                raise PhysicsError(
                    "two needles overlap: their axes must lie further apart than the sum of their radii"
                )
            raise PhysicsError(
                f"the grid of {spacing:g} mm is too coarse for needles {part.gap_mm(other):.2f} mm apart: "
                "no voxel of tissue lies between them"
            )
        cells = cells[owner[tuple(cells.T)] < 0]
        owner[tuple(cells.T)] = number
        held.append(cells)
        owners.append(np.full(len(cells), number))
    if not held:
        empty = np.empty((0, 3), dtype=np.int64)
        none = np.empty(0, dtype=np.int64)
        return NeedleCells(empty, none, Contact(empty, empty, np.empty(0)), none, np.empty(0))
    cells, of_part = np.concatenate(held), np.concatenate(owners)
    inner, outer, factors, faces_of, angles = [], [], [], [], []
    for number, part in enumerate(parts):
        own = cells[of_part == number]
        result = _faces(grid, part, own, owner, spacing, float(films[number]))
        inner.append(result[0])
        outer.append(result[1])
        factors.append(result[2])
        angles.append(result[3])
        faces_of.append(np.full(len(result[2]), number))
    contact = Contact(np.concatenate(outer), np.concatenate(inner), np.concatenate(factors))
    return NeedleCells(cells, of_part, contact, np.concatenate(faces_of), np.concatenate(angles))


def _cells_of(grid: Grid, part: NeedlePart, spacing: float) -> NDArray[np.int64]:
    if part.length_mm <= 0 or not part.radius_mm > 0:
        raise PhysicsError("a part of a needle needs a length and a radius above zero")
    ends = grid.to_index(np.array([part.start_mm, part.end_mm]))
    reach = max(_LEAST_HELD, part.radius_mm / spacing + _CLEAR_OF_SURFACE)
    low = np.floor(ends.min(axis=0) - reach).astype(int)
    high = np.ceil(ends.max(axis=0) + reach).astype(int) + 1
    if (low < 1).any() or (high > np.asarray(grid.shape) - 1).any():
        raise PhysicsError("a needle's active part reaches out of the grid: the domain is too small")
    index = np.stack(
        np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1
    )
    index = index.reshape(-1, 3)
    points = grid.to_patient(index)
    start, span = np.asarray(part.start_mm), np.subtract(part.end_mm, part.start_mm)
    along = (points - start) @ span / part.length_mm
    across = np.linalg.norm(points - start - along[:, None] * span / part.length_mm, axis=1)
    # Layers whose centres lie within the part: on the mean over its places as many as the part is long.
    inside = (across < reach * spacing) & (along > -1e-9) & (along < part.length_mm + 1e-9)
    if not inside.any():
        inside = part.distance_mm(points) == part.distance_mm(points).min()
    return np.asarray(index[inside])


def _faces(
    grid: Grid, part: NeedlePart, own: NDArray[np.int64], owner: NDArray[np.int64], spacing: float, film_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray, FloatArray]:
    start, span = np.asarray(part.start_mm), np.subtract(part.end_mm, part.start_mm)
    length = part.length_mm
    axis = span / length
    nodes, weights = np.polynomial.legendre.leggauss(_GAUSS)
    sides = grid.T_PV[:3, :3]
    inner, outer, angle, ends = [], [], [], []
    for direction in range(3):
        others = [k for k in range(3) if k != direction]
        for sign in (-1, 1):
            step = np.zeros(3, dtype=np.int64)
            step[direction] = sign
            beyond = own + step
            open_face = owner[tuple(beyond.T)] < 0
            cells, neighbours = own[open_face], beyond[open_face]
            normal = sign * sides[:, direction] / spacing
            middle = grid.to_patient(cells) + 0.5 * spacing * normal
            total = np.zeros(len(cells))
            for a, wa in zip(nodes, weights, strict=True):
                for b, wb in zip(nodes, weights, strict=True):
                    point = middle + 0.5 * a * sides[:, others[0]] + 0.5 * b * sides[:, others[1]]
                    offset = point - start
                    along = offset @ axis
                    radial = offset - along[:, None] * axis
                    share = 0.25 * wa * wb * spacing * (radial @ normal) / (radial**2).sum(axis=1)
                    total += np.where((along >= 0) & (along <= length), share, 0.0)
            far = (grid.to_patient(neighbours) - start) @ axis
            at_end = (far > length) * (abs(float(normal @ axis)) if part.bare_end else 0.0)
            inner.append(cells)
            outer.append(neighbours)
            # A face that the axis pierces would count without bound: no face takes more than half of all
            # directions.
            angle.append(np.clip(total, 0.0, np.pi))
            ends.append(at_end)
    cells, neighbours = np.concatenate(inner), np.concatenate(outer)
    angles, at_ends = np.concatenate(angle), np.concatenate(ends)
    # The flux through all faces is the needle's own: two pi for each voxel of its length.
    if angles.sum() > 0:
        angles *= 2.0 * np.pi * length / spacing / angles.sum()
    radius = np.linalg.norm(np.cross(grid.to_patient(neighbours) - start, axis), axis=1)
    drop = np.log(np.maximum(radius / part.radius_mm, 1.05)) + film_mm / part.radius_mm
    # Flux that leaves through the ends passes the film on its way as well.
    factors = angles / drop + at_ends / (1.0 + film_mm / spacing)
    return cells, neighbours, factors, angles
