"""How near the arm comes to the patient and the table: bounds from below, never from above.

The arm's collision shapes are enclosed in capsules, whose axes are sampled in space and time. A signed distance
changes by at most the way that a point moves, so between two samples a distance h apart it is at least
(d₁ + d₂ − h) / 2. What is returned is therefore a lower bound of the true clearance, for every moment between the
samples too (their paths between samples taken as straight).
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray, RigidTransform
from robots.frames import PatientPlacement
from robots.model import Capsule, RobotModel

#: Distances are not followed beyond this: a clearance of this value means "at least this".
CAP_M = 0.15
#: Spacing of the samples on a capsule's axis.
AXIS_SPACING_M = 0.02
#: A body surface of more faces than this is made coarser; its distances are asked for by the ten thousand.
MANY_FACES = 60_000
#: Vertices of a fine surface are joined within cubes of this edge.
COARSE_CELL_M = 0.003


@dataclass(frozen=True, slots=True)
class ArmClearance:
    """Least clearances along a path; each is a lower bound and a value of ``CAP_M`` means "at least this".

    Attributes:
        patient_m: arm to the patient's surface; None where no surface was given.
        table_m: arm to table or floor.
        self_m: between parts of the arm that are not neighbours.
        nearest: names what sets the least of the three.
    """

    patient_m: float | None
    table_m: float
    self_m: float
    nearest: str

    @property
    def least_m(self) -> float:
        """The least of the clearances that were computed."""
        values = [self.table_m, self.self_m] + ([] if self.patient_m is None else [self.patient_m])
        return min(values)

    def keeps(self, outer_m: float, self_m: float) -> bool:
        """True where patient, table and floor are at least ``outer_m`` away and the arm's own parts ``self_m``."""
        outer = self.table_m if self.patient_m is None else min(self.table_m, self.patient_m)
        return outer >= outer_m and self.self_m >= self_m


class Surroundings:
    """What the arm must keep clear of: the patient's surface, the table and the floor.

    The image shows only a part of the body. Beyond it the body is taken to go on with its last section towards
    head and feet. Where its surface has very many faces it is made coarser, and the distance by which that moves a
    point is taken off every clearance.
    """

    def __init__(self, placement: PatientPlacement, surface: SurfaceMesh | None) -> None:
        """Takes the placement and the patient's closed outer surface (patient LPS mm), None to leave it out."""
        self._placement = placement
        self._box = placement.table.box_m
        self._scene: Any = None
        if surface is not None:
            import open3d as o3d

            vertices, faces = placement.mesh_to_world(surface)
            self._moved = 0.0
            if len(faces) > MANY_FACES:
                vertices, faces, self._moved = coarser(vertices, faces, COARSE_CELL_M)
            self._scene = o3d.t.geometry.RaycastingScene()
            self._scene.add_triangles(vertices.astype(np.float32), np.asarray(faces, dtype=np.uint32))
            self._low, self._high = vertices.min(axis=0), vertices.max(axis=0)

    @property
    def has_patient(self) -> bool:
        """True where the patient's surface is known."""
        return self._scene is not None

    def patient_distance(self, points_m: ArrayLike, cap_m: float) -> FloatArray:
        """Signed distance (n,) of world points (n, 3) from the body, negative inside, at most ``cap_m``."""
        points = np.array(points_m, dtype=np.float64)
        edge = min(1e-3, float(self._high[1] - self._low[1]) / 4)
        points[:, 1] = np.clip(points[:, 1], self._low[1] + edge, self._high[1] - edge)
        outside = np.maximum(np.maximum(self._low - points, points - self._high), 0.0)
        result = np.full(len(points), cap_m)
        near = np.linalg.norm(outside, axis=1) < cap_m
        if near.any():
            # Three rays vote on inside or outside: a single one may pass through an edge and count it twice.
            distance = self._scene.compute_signed_distance(points[near].astype(np.float32), nsamples=3).numpy()
            result[near] = np.minimum(distance - self._moved, cap_m)
        return result

    def table_distance(self, points_m: ArrayLike) -> FloatArray:
        """Signed distance (n,) of world points (n, 3) from the table's top, a box."""
        points = np.asarray(points_m, dtype=np.float64)
        beyond = np.maximum(self._box[0] - points, points - self._box[1])
        outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
        return np.asarray(outside + np.minimum(beyond.max(axis=1), 0.0))

    def floor_distance(self, points_m: ArrayLike) -> FloatArray:
        """Height (n,) of world points (n, 3) above the floor."""
        return np.asarray(points_m, dtype=np.float64)[:, 2] + self._placement.table.height_m


def coarser(
    vertices_m: FloatArray, faces: NDArray[np.int32], cell_m: float
) -> tuple[FloatArray, NDArray[np.int32], float]:
    """A closed surface with all vertices of a cube joined at their mean.

    Returns:
        Vertices, faces and the greatest distance that a vertex moved. A face's points are averages of its corners,
        so every point of the old surface lies within that distance of the new one: faces that shrink to an edge
        which no other face keeps stay as they were.
    """
    cell = np.floor((vertices_m - vertices_m.min(axis=0)) / cell_m).astype(np.int64)
    size = cell.max(axis=0) + 1
    key = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    _, joined = np.unique(key, return_inverse=True)
    count = np.bincount(joined)
    mean = np.stack([np.bincount(joined, vertices_m[:, k]) / count for k in range(3)], axis=1)
    moved = float(np.linalg.norm(mean[joined] - vertices_m, axis=1).max())
    corners = np.sort(joined[faces], axis=1)
    flat = (corners[:, 0] == corners[:, 1]) | (corners[:, 1] == corners[:, 2])
    kept = joined[faces[~flat]]
    # What an edge or point of a flat face becomes must still lie on a kept face.
    edges = np.sort(np.concatenate([kept[:, [0, 1]], kept[:, [1, 2]], kept[:, [2, 0]]]), axis=1)
    known = np.union1d(edges[:, 0] * len(mean) + edges[:, 1], np.unique(kept) * (len(mean) + 1))
    lost = flat.copy()
    lost[flat] = ~np.isin(corners[flat, 0] * len(mean) + corners[flat, 2], known)
    both = np.concatenate([kept, faces[lost] + len(mean)]).astype(np.int32)
    return np.concatenate([mean, vertices_m]) if lost.any() else mean, both, moved


def arm_clearance(
    robot: RobotModel, X_WB: RigidTransform, q: ArrayLike, driver_m: ArrayLike, around: Surroundings
) -> ArmClearance:
    """Least clearances of the arm along a path.

    Args:
        robot: the arm.
        X_WB: pose of its base in the world.
        q: (k, n) joint positions along the path, k at least 1.
        driver_m: (k,) positions of the driver; the needle itself is left out wherever it is advanced.
        around: what to keep clear of.
    """
    positions = np.atleast_2d(np.asarray(q, dtype=np.float64))
    driver = np.broadcast_to(np.asarray(driver_m, dtype=np.float64), positions.shape[:1])
    poses = {link: X_WB.matrix @ pose for link, pose in robot.link_poses(positions, driver).items()}
    capsules = [c for c in robot.capsules if c.link not in robot.driven_links or driver.max() == 0.0]
    points = [_axis_points(capsule, poses[capsule.link]) for capsule in capsules]
    counts = [part.shape[1] for part in points]
    flat = np.concatenate(points, axis=1).reshape(-1, 3)
    shape = (len(positions), sum(counts))
    # Bounds lose up to half a spacing, so distances are followed a little beyond what is reported.
    cap = CAP_M + max(capsule.radius_m for capsule in capsules) + AXIS_SPACING_M
    table = around.table_distance(flat).reshape(shape)
    floor = around.floor_distance(flat).reshape(shape)
    patient = around.patient_distance(flat, cap).reshape(shape) if around.has_patient else None
    least_table, least_patient = (CAP_M, ""), (CAP_M, "")
    for capsule, part, end in zip(capsules, points, np.cumsum(counts), strict=True):
        own = slice(end - part.shape[1], end)
        # The base stands on the floor.
        solid = table[:, own] if capsule.link == robot.base_link else np.minimum(table[:, own], floor[:, own])
        least_table = min(
            least_table, (_lower_bound(part, np.minimum(solid, cap)) - capsule.radius_m, capsule.link)
        )
        if patient is not None:
            least_patient = min(
                least_patient, (_lower_bound(part, patient[:, own]) - capsule.radius_m, capsule.link)
            )
    least_self = _self_clearance(robot, poses)
    least = min(
        (least_patient[0], f"{least_patient[1]} to the patient"),
        (least_table[0], f"{least_table[1]} to table or floor"),
        (least_self[0], least_self[1]),
    )
    return ArmClearance(
        None if patient is None else least_patient[0],
        least_table[0],
        least_self[0],
        least[1] if least[0] < CAP_M else "",
    )


def _axis_points(capsule: Capsule, pose: FloatArray) -> FloatArray:
    """(k, s, 3) samples of a capsule's axis at k poses (k, 4, 4)."""
    length = float(np.linalg.norm(capsule.end_m - capsule.start_m))
    share = np.linspace(0.0, 1.0, 1 + int(np.ceil(length / AXIS_SPACING_M)))[:, None]
    local = capsule.start_m + share * (capsule.end_m - capsule.start_m)
    return np.asarray(local @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3])


def _lower_bound(points: FloatArray, distance: FloatArray) -> float:
    """Lower bound of the distance between samples (k, s), over time and along the axis."""
    bound = distance
    if len(bound) > 1:
        moved = np.linalg.norm(np.diff(points, axis=0), axis=2)
        bound = np.minimum((bound[:-1] + bound[1:] - moved) / 2, np.minimum(bound[:-1], bound[1:]))
    if bound.shape[1] > 1:
        spacing = float(np.linalg.norm(points[0, 1] - points[0, 0]))
        bound = np.minimum((bound[:, :-1] + bound[:, 1:] - spacing) / 2, np.minimum(bound[:, :-1], bound[:, 1:]))
    return float(bound.min())


def _self_clearance(robot: RobotModel, poses: dict[str, FloatArray]) -> tuple[float, str]:
    """Least distance between capsules of links that are neither neighbours nor kept apart by the arm's shape.

    Between two moments it is bounded like the distance from the patient: both axes move by at most the way of
    their ends.
    """
    capsules = [capsule for capsule in robot.capsules if capsule.link not in robot.driven_links]
    pairs = [
        (i, j)
        for i, j in combinations(range(len(capsules)), 2)
        if capsules[i].link != capsules[j].link
        and frozenset((capsules[i].link, capsules[j].link)) not in robot.free_pairs
    ]
    if not pairs:
        return CAP_M, ""
    starts = np.stack([_carried(poses[c.link], c.start_m) for c in capsules])
    ends = np.stack([_carried(poses[c.link], c.end_m) for c in capsules])
    first, second = np.array(pairs).T
    gaps = segment_distance(starts[first], ends[first], starts[second], ends[second])
    if gaps.shape[1] > 1:
        ways = [np.linalg.norm(np.diff(end, axis=1), axis=2) for end in (starts, ends)]
        way = np.maximum(*ways)
        between = (gaps[:, :-1] + gaps[:, 1:] - way[first] - way[second]) / 2
        gaps = np.minimum(between, np.minimum(gaps[:, :-1], gaps[:, 1:]))
    radii = np.array([capsule.radius_m for capsule in capsules])
    least = gaps.min(axis=1) - radii[first] - radii[second]
    k = int(np.argmin(least))
    if least[k] >= CAP_M:
        return CAP_M, ""
    return float(least[k]), f"{capsules[first[k]].link} to {capsules[second[k]].link}"


def _carried(pose: FloatArray, point: FloatArray) -> FloatArray:
    """(k, 3) a point of a link's frame at k poses (k, 4, 4)."""
    return np.asarray(pose[:, :3, :3] @ point + pose[:, :3, 3])


def segment_distance(p1: ArrayLike, q1: ArrayLike, p2: ArrayLike, q2: ArrayLike) -> FloatArray:
    """Distances (...,) of segments p1 q1 and p2 q2, each (..., 3); a segment may be a point.

    Exact (Ericson, Real-Time Collision Detection, 2005, section 5.1.9).
    """
    start1, start2 = np.asarray(p1, dtype=np.float64), np.asarray(p2, dtype=np.float64)
    d1, d2, r = np.asarray(q1) - start1, np.asarray(q2) - start2, start1 - start2
    a, e, f = (d1 * d1).sum(axis=-1), (d2 * d2).sum(axis=-1), (d2 * r).sum(axis=-1)
    b, c = (d1 * d2).sum(axis=-1), (d1 * r).sum(axis=-1)
    tiny = 1e-18
    determinant = a * e - b * b
    s = np.where(determinant > tiny, np.clip((b * f - c * e) / np.maximum(determinant, tiny), 0.0, 1.0), 0.0)
    t = np.where(e > tiny, (b * s + f) / np.maximum(e, tiny), 0.0)
    clamped = np.clip(t, 0.0, 1.0)
    s = np.where((t != clamped) | (e <= tiny), np.clip((b * clamped - c) / np.maximum(a, tiny), 0.0, 1.0), s)
    s = np.where(a <= tiny, 0.0, s)
    apart = start1 + s[..., None] * d1 - start2 - clamped[..., None] * d2
    return np.asarray(np.linalg.norm(apart, axis=-1))
