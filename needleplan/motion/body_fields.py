"""Fields that say how every point of the trunk follows a breath, on grids of nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.attenuation import INSIDE_ORGAN_SHARE, TissueMotion
from needleplan.motion.chest_wall import INNER_ROLES, ChestWall, TrunkAxes, is_spine
from needleplan.motion.organ_motion import OrganMotion, organ_motion, organ_motions

#: Spacing of the nodes; distances to organs, which only weigh, are taken at every second node.
STEP_MM = 5.0
#: Over this distance from bone and table the motion grows to its full size: axial, which may shear, and the rest.
_AXIAL_GROWTH_MM, _SMOOTH_GROWTH_MM = 20.0, 45.0
#: The axial motion near bone is evened out over this many nodes up and down: vertebrae and rib heads come and go
#: along the axis, and tissue that passes them would be squeezed.
_EVEN_NODES = 6
#: Distances are softened by this much where motions of neighbouring structures are mixed.
_AXIAL_MIX_MM, _SMOOTH_MIX_MM, _WALL_MIX_MM = 15.0, 30.0, 15.0
#: The target's own organ weighs this much more across the axis, or ribs beside it would have to be outdone.
_HOST_WEIGHT = 3.0
#: Beyond this distance from the spine nothing is held by it.
_HELD_MM = 60.0
#: More nodes than this are no trunk.
_MAXIMUM_NODES = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class BodyFields:
    """Weights of the motion, in trunk coordinates.

    Attributes:
        low_mm: (3,) first node of ``smooth``.
        axial_low_mm: (3,) first node of ``axial``.
        axial: (i, j, k) axial way of the tissue within the wall for 1 mm of the target's organ, over the
            straightened chest.
        smooth: (i, j, k, 4) share of the tissue in the target's way across the axis, and what the wall moves to
            the right, to anterior and to cranial for 1 mm of the liver to inferior.
    """

    low_mm: FloatArray
    axial_low_mm: FloatArray
    axial: NDArray[np.float32]
    smooth: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("low_mm", "axial_low_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        # Single precision halves what the kernels read; all bounds are taken of the rounded fields.
        for name in ("axial", "smooth"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float32))


def body_fields(anatomy: Anatomy, tissue: TissueMotion, trunk: TrunkAxes, wall: ChestWall) -> BodyFields:
    """Mix the motions of all structures by the distances to them, and let them grow from zero at bone and table.

    Raises:
        MotionError: the target touches the spine or the table side, where nothing moves, or the body is too
        large.
    """
    skin = trunk.into(anatomy.entry.mesh.vertices_mm)
    low, high = skin.min(axis=0) - 2.0 * STEP_MM, skin.max(axis=0) + 2.0 * STEP_MM
    shape = 2 * np.ceil((high - low) / (2.0 * STEP_MM)).astype(int) + 1
    if shape.prod() > _MAXIMUM_NODES:
        raise MotionError(f"the body fills {shape.prod()} nodes of {STEP_MM:g} mm, more than a trunk does")
    coarse = _nodes(low, 2.0 * STEP_MM, (shape + 1) // 2)
    patient = trunk.back(coarse)
    host, inner = _inner_structures(anatomy, tissue)
    axial_sum, axial, smooth_sum = (np.zeros(len(coarse)) for _ in range(3))
    smooth = np.zeros((len(coarse), 4))
    distances = {id(surface.mesh): SurfaceDistance(surface.mesh) for surface in (*anatomy.surfaces, anatomy.entry)}
    for surface, row in inner:
        distance = _outside_mm(distances[id(surface.mesh)], surface.mesh, patient)
        heights = trunk.into(surface.mesh.vertices_mm)[:, 2]
        up = np.clip((coarse[:, 2] - heights.min()) / max(float(np.ptp(heights)), 1e-9), 0.0, 1.0)
        ratio = (row.cranial_ratio + up * (row.far_cranial_ratio - row.cranial_ratio)) / host.cranial_ratio
        weight = 1.0 / (distance + _AXIAL_MIX_MM) ** 2
        axial_sum += weight
        axial += weight * ratio
        own = _HOST_WEIGHT if surface.name == tissue.target_organ else 1.0
        weight = own / (distance + _SMOOTH_MIX_MM) ** 2
        smooth_sum += weight
        smooth[:, 0] += weight * row.anterior_ratio / host.anterior_ratio
    axial /= axial_sum
    for distance, wall_way in _wall_ways(anatomy, trunk, coarse, skin, distances):
        weight = 1.0 / (distance + _WALL_MIX_MM) ** 2
        smooth_sum += weight
        smooth[:, 1:] += weight[:, None] * wall_way
    smooth /= smooth_sum[:, None]

    nodes = _nodes(low, STEP_MM, shape)
    spine = _spine(anatomy, trunk, distances)
    held = _held_mm(anatomy, trunk, spine, nodes)
    gap = float(_held_mm(anatomy, trunk, spine, trunk.into(anatomy.target.mesh.vertices_mm)).min())
    if gap < 3.0:
        raise MotionError(
            f"the target comes within {gap + _dead_mm():.0f} mm of the spine or of the table side, where nothing "
            "moves: a body that breathes cannot be made around it"
        )
    fine = _refined(smooth, (shape + 1) // 2) * _growth(held / min(_SMOOTH_GROWTH_MM, gap))[:, None]

    reach = float(wall.widest_mm.max()) + STEP_MM
    axial_low = np.array([-reach, -reach, low[2]])
    axial_shape = np.append(np.full(2, int(np.ceil(2.0 * reach / STEP_MM)) + 1), shape[2])
    rest = _unstraightened(_nodes(axial_low, STEP_MM, axial_shape), wall)
    axial_held = _evened(_held_mm(anatomy, trunk, spine, rest).reshape(axial_shape)).ravel()
    grown = _growth(axial_held / min(_AXIAL_GROWTH_MM, gap))
    at_rest = _sampled(axial.reshape((shape + 1) // 2), low, 2.0 * STEP_MM, rest)
    axial_field = (at_rest * grown).reshape(axial_shape).astype(np.float32)
    return BodyFields(low, axial_low, axial_field, fine.reshape(*shape, 4).astype(np.float32))


def _inner_structures(
    anatomy: Anatomy, tissue: TissueMotion
) -> tuple[OrganMotion, list[tuple[StructureSurface, OrganMotion]]]:
    """Row of the target's organ (the liver's where there is none), and what moves by itself within the wall."""
    liver = organ_motions()[0]
    shares = tissue.shares
    found = []
    for surface in anatomy.with_role(*INNER_ROLES):
        if surface.role is Role.TARGET:
            if tissue.target_organ is None:
                found.append((surface, liver))
        elif shares[surface.name].source != INSIDE_ORGAN_SHARE.source:
            found.append((surface, organ_motion(surface.name, surface.role)))
    host = next((row for surface, row in found if surface.name == tissue.target_organ), liver)
    return host, found


def _wall_ways(
    anatomy: Anatomy,
    trunk: TrunkAxes,
    nodes: FloatArray,
    skin: FloatArray,
    distances: Mapping[int, SurfaceDistance],
) -> list[tuple[FloatArray, FloatArray]]:
    """Distance (n,) to ribs and skin, and how they move (n, 3) for 1 mm of the liver to inferior.

    Both turn about the spine: to anterior in proportion to how far in front of it, outward to how far beside it,
    and the ribs to cranial in proportion to the distance from it.
    """
    half = 0.5 * np.ptp(skin, axis=0)
    spine = -0.5 * half[1]
    side = np.clip(nodes[:, 0] / half[0], -1.0, 1.0)
    front = np.clip((nodes[:, 1] - spine) / (half[1] - spine), 0.0, 1.0)
    away = np.clip(np.hypot(nodes[:, 0], nodes[:, 1] - spine) / (half[1] - spine), 0.0, 1.0)
    patient = trunk.back(nodes)
    ways = []
    ribs = [s for s in anatomy.with_role(Role.BONE) if organ_motion(s.name, s.role).kind == "rib"]
    for kind, surfaces in (("rib", ribs), ("skin", [anatomy.entry])):
        row = next(row for row in organ_motions() if row.kind == kind)
        way = np.stack([row.lateral_ratio * side, row.anterior_ratio * front, -row.cranial_ratio * away], axis=1)
        for surface in surfaces:
            nearest = distances[id(surface.mesh)].closest_points_mm(patient)
            ways.append((np.linalg.norm(nearest - patient, axis=1), way))
    return ways


def _dead_mm() -> float:
    """Within this of the spine every node rests, so that the cells which the spine touches do."""
    return float(1.15 * np.sqrt(3.0) * STEP_MM)


def _outside_mm(distance: SurfaceDistance, mesh: SurfaceMesh, points: FloatArray) -> FloatArray:
    """(n,) distance of points (n, 3) to a closed surface, 0 within it."""
    found = distance.distance_mm(points)
    low, high = mesh.bounds_mm
    # Whether a point lies within costs several rays, and beyond the box about the surface none does.
    boxed = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    if len(boxed):
        found[boxed[distance.contains(points[boxed])]] = 0.0
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _SpinalBone:
    """A bone that is spine, or holds some of it.

    Attributes:
        whole: distances to all of it.
        part: distances to its faces that are spine.
        all_spinal: True where it is spine alone.
        box: (2, 3) trunk coordinates beyond which nothing is held by it.
    """

    whole: SurfaceDistance
    part: SurfaceDistance
    all_spinal: bool
    box: FloatArray


def _spine(anatomy: Anatomy, trunk: TrunkAxes, distances: Mapping[int, SurfaceDistance]) -> list[_SpinalBone]:
    found = []
    for surface in anatomy.with_role(Role.BONE):
        vertices = trunk.into(surface.mesh.vertices_mm)
        spinal = np.ones(len(vertices), bool)
        if organ_motion(surface.name, surface.role).kind != "spine":
            spinal = is_spine(vertices)
        faces = surface.mesh.faces[spinal[surface.mesh.faces].all(axis=1)]
        if len(faces) == 0:
            continue
        span = vertices[np.unique(faces)]
        box = np.stack([span.min(axis=0) - _HELD_MM, span.max(axis=0) + _HELD_MM])
        part = SurfaceDistance(SurfaceMesh(surface.mesh.vertices_mm, faces))
        found.append(_SpinalBone(distances[id(surface.mesh)], part, bool(spinal.all()), box))
    return found


def _held_mm(anatomy: Anatomy, trunk: TrunkAxes, spine: Sequence[_SpinalBone], points: FloatArray) -> FloatArray:
    """(n,) distance of points (n, 3) from the spine and the table side, less the dead zone, at least 0."""
    patient = trunk.back(points)
    up = np.asarray(anatomy.case.up)
    held = patient @ up - float((anatomy.entry.mesh.vertices_mm @ up).min())
    for bone in spine:
        near = np.flatnonzero(((points > bone.box[0]) & (points < bone.box[1])).all(axis=1))
        if len(near) == 0:
            continue
        distance = np.linalg.norm(bone.part.closest_points_mm(patient[near]) - patient[near], axis=1)
        held[near] = np.minimum(held[near], distance)
        # What lies in the spine rests; it need not be asked where the dead zone says so already.
        asked = near[(held[near] > _dead_mm()) & (bone.all_spinal | is_spine(points[near]))]
        if len(asked):
            held[asked[bone.whole.contains(patient[asked])]] = 0.0
    return np.asarray(np.maximum(held - _dead_mm(), 0.0))


def _evened(held: FloatArray) -> FloatArray:
    """Means along the axis of least values along it: smooth, and nowhere above ``held``, so zero stays zero."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    size = 2 * _EVEN_NODES + 1
    return np.asarray(uniform_filter1d(minimum_filter1d(held, size, axis=2), size, axis=2))


def _growth(share: FloatArray) -> FloatArray:
    """Step from 0 at 0 to 1 at 1, half way between a straight one and a smooth one: nowhere steeper than 1.25."""
    x = np.clip(share, 0.0, 1.0)
    return np.asarray(0.5 * (x + x * x * (3.0 - 2.0 * x)))


def _nodes(low: FloatArray, step: float, shape: FloatArray) -> FloatArray:
    lines = [low[k] + step * np.arange(int(shape[k])) for k in range(3)]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)


def _refined(values: FloatArray, shape: FloatArray) -> FloatArray:
    """(n, c) values at twice the nodes along each axis, linear between those at ``shape`` nodes."""
    field = values.reshape(*shape, -1)
    for axis in range(3):
        field = np.moveaxis(field, axis, 0)
        wide = np.empty((2 * len(field) - 1, *field.shape[1:]))
        wide[::2], wide[1::2] = field, 0.5 * (field[:-1] + field[1:])
        field = np.moveaxis(wide, 0, axis)
    return field.reshape(-1, field.shape[-1])


def _unstraightened(nodes: FloatArray, wall: ChestWall) -> FloatArray:
    """(n, 3) places in the chest of nodes (n, 3) of the straightened chest."""
    from scipy.ndimage import map_coordinates

    turns = len(wall.widest_mm)
    place = np.mod(np.arctan2(nodes[:, 1], nodes[:, 0]) / (2.0 * np.pi) * turns, turns)
    height = (nodes[:, 2] - wall.low_mm) / wall.step_mm
    table = np.concatenate([wall.radius_mm, wall.radius_mm[:1]])
    radius = map_coordinates(table, [place, height], order=1, mode="nearest")
    widest = map_coordinates(np.append(wall.widest_mm, wall.widest_mm[0]), [place], order=1, mode="nearest")
    s = np.hypot(nodes[:, 0], nodes[:, 1])
    scale = 2.0 / (1.0 + np.sqrt(1.0 + 4.0 * (widest - radius) / radius**2 * s))
    return np.column_stack([nodes[:, :2] * scale[:, None], nodes[:, 2]])


def _sampled(field: FloatArray, low: FloatArray, step: float, points: FloatArray) -> FloatArray:
    from scipy.ndimage import map_coordinates

    return np.asarray(map_coordinates(field, ((points - low) / step).T, order=1, mode="nearest"))
