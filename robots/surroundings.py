"""What an arm must keep clear of: patient, table, floor, the scanner's gantry and needles that are in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, read_only
from robots.frames import PatientPlacement
from robots.gantry import Gantry

#: What lies within this of the image's first and last section is moved out by so much: the body goes on there.
END_SECTION_M = 0.001
CONTINUED_M = 0.5
#: An end looks along the table to at least this cosine, its faces' normals differ by less than this, and it holds
#: at least this share of the body's section.
END_COSINE, END_SPREAD, END_SHARE = 0.5, 0.04, 0.3
#: Directions of the rays that tell inside from outside: up, tilted differently so that no two graze one edge.
_RAYS = np.array([[0.0573, 0.0917, 1.0], [-0.1173, 0.0391, 1.0], [0.0311, -0.1297, 1.0]])


@dataclass(frozen=True, slots=True, eq=False)
class PlacedNeedle:
    """A needle that is in the patient already: what of it stands outside.

    It is a capsule along the needle's axis, from the skin outward, as wide as its handle over its whole length.

    Attributes:
        entry_m: (3,) where it passes the skin, in the world.
        direction: (3,) unit direction into the body, in the world.
        outside_m: length of shaft, hub and handle outside the body.
        radius_m: half the width of the handle. The default is that of the needle driver's own needles: handles of
            ablation needles are 15 to 25 mm wide.
    """

    entry_m: FloatArray
    direction: FloatArray
    outside_m: float
    radius_m: float = 0.011

    def __post_init__(self) -> None:
        entry, direction = read_only(self.entry_m), read_only(self.direction)
        if entry.shape != (3,) or direction.shape != (3,) or not np.isfinite([entry, direction]).all():
            raise GeometryError("a placed needle needs an entry and a direction of three finite numbers each")
        if abs(np.linalg.norm(direction) - 1.0) > 1e-6:
            raise GeometryError(
                f"a placed needle's direction must have length 1, not {np.linalg.norm(direction):.4g}"
            )
        for name in ("outside_m", "radius_m"):
            if not 0 < getattr(self, name) < 1:
                raise GeometryError(
                    f"a placed needle's {name} must lie between 0 and 1 m, not {getattr(self, name):g}"
                )
        object.__setattr__(self, "entry_m", entry)
        object.__setattr__(self, "direction", direction)


class Surroundings:
    """What the arm must keep clear of.

    The image shows only a part of the body. Beyond it the body is taken to go on with its last section towards
    head and feet: where the image cuts it in a plane, across the table or oblique, what lies within
    ``END_SECTION_M`` of that plane is moved out by ``CONTINUED_M`` along the table. A round end is the body's own.
    Otherwise its surface is taken as it is, every face of it. The base is not held against what it stands on.
    """

    def __init__(
        self,
        placement: PatientPlacement,
        surface: SurfaceMesh | None,
        gantry: Gantry | None = None,
        needles: Sequence[PlacedNeedle] = (),
    ) -> None:
        """Takes all obstacles.

        Args:
            placement: how the patient lies, and the table.
            surface: the patient's closed outer surface, patient LPS mm; None to leave the patient out.
            gantry: the scanner's ring; None to leave it out.
            needles: needles that are in place.

        Raises:
            GeometryError: the surface is open, so that it has no inside.
            OptionError: patient or table do not fit through the gantry.
        """
        self._placement, self._gantry, self._needles = placement, gantry, tuple(needles)
        if surface is not None and not surface.is_watertight:
            raise GeometryError(
                f"the patient's surface has {surface.open_edge_count} open edges: a body needs a closed one"
            )
        if gantry is not None:
            _check_fit(placement, surface, gantry)
        self._patient, self._continues = None, (False, False)
        if surface is not None:
            continued, self._continues = _continued(placement, surface)
            self._patient = MeshTree(continued)
        ring = None if gantry is None else gantry.mesh()
        self._ring = None if ring is None else MeshTree(SurfaceMesh(placement.points_to_patient(ring[0]), ring[1]))

    @property
    def has_patient(self) -> bool:
        """True where the patient's surface is known."""
        return self._patient is not None

    @property
    def continues(self) -> tuple[bool, bool]:
        """Whether the body is taken to go on beyond the image, towards feet and towards head."""
        return self._continues

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of clearances must know."""
        if self._patient is None:
            return ("The arm's clearance from the patient was not checked: no surface.",)
        ends = [name for name, goes_on in zip(("feet", "head"), self._continues, strict=True) if not goes_on]
        if not ends:
            return ()
        return (
            f"Towards the {' and the '.join(ends)} the patient's surface has no plane in which an image cuts it: "
            "the body was not taken to go on there.",
        )

    @property
    def placement(self) -> PatientPlacement:
        """How the patient lies."""
        return self._placement

    @property
    def gantry(self) -> Gantry | None:
        """The scanner's ring."""
        return self._gantry

    @property
    def needles(self) -> tuple[PlacedNeedle, ...]:
        """Needles that are in place."""
        return self._needles

    def with_needles(self, needles: Sequence[PlacedNeedle]) -> "Surroundings":
        """The same surroundings with other needles in place; quick, as everything else is shared."""
        other = object.__new__(Surroundings)
        other._placement, other._gantry, other._needles = self._placement, self._gantry, tuple(needles)
        other._patient, other._ring, other._continues = self._patient, self._ring, self._continues
        return other

    def distance_to_skin_m(self, exits: FloatArray, reach_m: FloatArray) -> FloatArray:
        """How far needles go before they enter the body.

        Args:
            exits: (k, 6) where they begin and their unit directions, in the world.
            reach_m: (k,) how far they go.

        Returns:
            (k,) distances; 0 from inside the body, infinite where the body is not met or not known.
        """
        result = np.full(len(exits), np.inf)
        if self._patient is not None:
            start = self._placement.points_to_patient(exits[:, :3])
            end = self._placement.points_to_patient(exits[:, :3] + reach_m[:, None] * exits[:, 3:])
            result = self._patient.crossings(start, end).parameter[:, 0] * reach_m
            result[self._patient.contains(start)] = 0.0
        return result

    @cached_property
    def scene(self) -> tuple[tuple[NDArray[Any], ...], ...]:
        """Table, floor, needles and what is known; the patient; the gantry: as the kernels take them."""
        placement, gantry = self._placement, self._gantry
        shift = placement.points_to_patient(np.zeros(3))
        to_patient = np.column_stack([(placement.points_to_patient(np.eye(3)) - shift).T, shift])
        axes = [[*n.entry_m, *(n.entry_m - n.outside_m * n.direction)] for n in self._needles]
        known = (
            np.array(placement.table.box_m),
            np.array([-placement.table.height_m]),
            np.array(axes).reshape(-1, 6),
            np.array([needle.radius_m for needle in self._needles]),
            to_patient,
            np.zeros(5) if gantry is None else gantry.bounds,
            np.array([self._patient is not None, gantry is not None]),
        )
        return known, _solid(self._patient, to_patient), _solid(self._ring, to_patient)


def _solid(tree: MeshTree | None, to_patient: FloatArray) -> tuple[NDArray[Any], ...]:
    """A tree's arrays with its bounds and the rays that leave it; where there is none, arrays of the same kinds."""
    present = tree or MeshTree(SurfaceMesh(np.eye(3), np.array([[0, 1, 2]])))
    triangles, origin, boxes, child = present.arrays
    bounds = np.array(present.bounds_mm)
    up = to_patient[:, :3] @ _RAYS.T
    # The corners of the bounds lie no farther apart along the world's upward axis than they do at all.
    length = 1.0 + float(np.linalg.norm(bounds[1] - bounds[0]))
    rays = np.ascontiguousarray((length * up / (to_patient[:, 2] @ up / np.linalg.norm(to_patient[:, 2]))).T)
    return triangles, np.arange(len(triangles)), origin, boxes, child, bounds, rays


def _continued(placement: PatientPlacement, surface: SurfaceMesh) -> tuple[SurfaceMesh, tuple[bool, bool]]:
    """The surface (patient LPS mm) with the flat ends in which the image cuts it moved out along the table.

    An end is a plane of the surface towards head or feet, oblique or not, that holds a good part of the body's
    section; a round end is one of the body itself and stays. Returns the surface, and whether it goes on towards
    feet and head.
    """
    metre = placement.points_to_patient([0.0, 1.0, 0.0]) - placement.points_to_patient(np.zeros(3))
    vertices = np.array(surface.vertices_mm)
    axis = metre / np.linalg.norm(metre)
    vectors = np.asarray(surface.area_vectors_mm2)
    area = np.linalg.norm(vectors, axis=1)
    normals = vectors / np.maximum(area, 1e-12)[:, None]
    # The section of a closed body as the sum of what its faces show towards one side, each side once at least.
    section = 0.5 * float(np.abs(vectors @ axis).sum())
    moved = np.array(vertices)
    found = []
    for sign in (-1.0, 1.0):
        plane = _end_plane(surface, normals, area, sign * axis)
        if plane is None or plane[2] < END_SHARE * section:
            found.append(False)
            continue
        normal, offset, _ = plane
        heights = vertices @ normal
        # A body shorter than two end sections keeps a middle.
        edge = min(END_SECTION_M * 1e3, 0.25 * float(np.ptp(heights)))
        moved[heights > offset - edge] += sign * CONTINUED_M * metre
        found.append(True)
    return SurfaceMesh(moved, surface.faces), (found[0], found[1])


def _end_plane(
    surface: SurfaceMesh, normals: FloatArray, area: FloatArray, outward: FloatArray
) -> tuple[FloatArray, float, float] | None:
    """The plane that holds most of the faces that look outward: normal, offset in mm, and its area across."""
    faces = np.flatnonzero(normals @ outward > END_COSINE)
    if not len(faces):
        return None
    # Faces of one direction, then of one height: the fullest cells of two histograms.
    cells = np.round(normals[faces] / END_SPREAD).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    common = int(np.argmax(np.bincount(cell.ravel(), weights=area[faces])))
    chosen = faces[cell.ravel() == common]
    normal = (normals[chosen] * area[chosen, None]).sum(axis=0)
    normal /= np.linalg.norm(normal)
    chosen = faces[normals[faces] @ normal > 1.0 - 0.5 * END_SPREAD**2]
    heights = surface.face_centres_mm[chosen] @ normal
    bins = np.round(heights / (END_SECTION_M * 1e3)).astype(np.int64)
    bins -= bins.min()
    fullest = int(np.argmax(np.bincount(bins, weights=area[chosen])))
    level = np.abs(bins - fullest) <= 1
    offset = float(np.average(heights[level], weights=area[chosen][level]))
    return normal, offset, float((area[chosen][level] * (normals[chosen][level] @ outward)).sum())


def _check_fit(placement: PatientPlacement, surface: SurfaceMesh | None, gantry: Gantry) -> None:
    """Raises OptionError where table or patient would have to pass through the gantry's ring."""
    low, high = gantry.extent_m
    bodies = []
    if surface is not None:
        world, faces = placement.mesh_to_world(surface)
        along = world[faces, 1]
        within = (along.max(axis=1) > low) & (along.min(axis=1) < high)
        bodies.append(("patient", world[faces[within]].reshape(-1, 3)))
    box = placement.table.box_m
    if box[0, 1] < high and box[1, 1] > low:
        corners = np.array([[x, 0.0, z] for x in box[:, 0] for z in box[:, 2]])
        bodies.append(("table", corners))
    for name, points in bodies:
        if len(points) and gantry.reaches(points) >= gantry.bore_radius_m:
            raise OptionError(
                f"gantry: the {name} does not fit through a bore of {gantry.bore_diameter_m:g} m whose axis lies "
                f"{gantry.centre_height_m:g} m above the table: it reaches {gantry.reaches(points):.3f} m from it"
            )
