"""Other engines asked whether a needle keeps its margins, and how far it stays from each structure."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from path_scene import PathScene
from ray_peers import Hits, embree_rays, open3d_rays, vtk_loop

from needleplan.frames import FloatArray

#: Points of a sampled path lie so far apart.
SAMPLE_STEP_MM = 2.0
#: Points handed to Open3D at a time, which bounds the memory.
_CHUNK = 1_000_000

Decisions = Callable[[FloatArray, FloatArray], NDArray[np.bool_]]
Clearances = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Peer:
    """One engine, ready to be asked.

    Attributes:
        name: short name for rows.
        said: what it does, for tables.
        setup_s: time that its search structures took.
        every: it is asked every so many candidates, because it is slow.
        keeps_clear: of entries (n, 3) and tips (n, 3): which needles (n,) it holds for clear; None where it tells
            distances alone.
        clearance_mm: of the same: distances (n, S) from needle surface to structure; None where it knows none.
    """

    name: str
    said: str
    setup_s: float
    every: int
    keeps_clear: Decisions | None = None
    clearance_mm: Clearances | None = None


def make_peers(scene: PathScene, cap_mm: float) -> tuple[list[Peer], list[str]]:
    """All engines that are installed, and a sentence for each that is not."""
    makers = (
        ("embreex", lambda: _ray_peer("embreex", "trimesh with embreex, one ray a path", embree_rays, scene, 1)),
        ("open3d", lambda: _ray_peer("open3d", "Open3D occlusion rays, one a path", open3d_rays, scene, 1)),
        ("vtk", lambda: _ray_peer("vtk", "vtkOBBTree, a loop of one ray a path, one mesh", vtk_loop, scene, 10)),
        ("open3d", lambda: _sampled_peer(scene)),
        ("python-fcl", lambda: _capsule_peer(scene)),
        ("python-fcl", lambda: _capsule_distance_peer(scene, cap_mm)),
    )
    peers, missing = [], []
    for package, make in makers:
        try:
            peers.append(make())
        except ImportError as error:
            missing.append(f"{package} is left out, because it is not installed ({error})")
    return peers, list(dict.fromkeys(missing))


def _ray_peer(name: str, said: str, build: Callable[..., Hits], scene: PathScene, every: int) -> Peer:
    start = time.perf_counter()
    hits = build(scene.meshes)
    return Peer(name, said, time.perf_counter() - start, every, lambda entry, tip: ~hits(entry, tip))


def _sampled_peer(scene: PathScene) -> Peer:
    """Distances of points along the path by Open3D: over-stated between the points."""
    import open3d

    start = time.perf_counter()
    scenes = []
    for mesh in scene.meshes:
        rays = open3d.t.geometry.RaycastingScene()
        rays.add_triangles(
            open3d.core.Tensor(mesh.vertices_mm.astype(np.float32)),
            open3d.core.Tensor(mesh.faces.astype(np.uint32)),
        )
        rays.compute_distance(open3d.core.Tensor(np.zeros((1, 3), np.float32)))  # builds the tree
        scenes.append(rays)
    setup_s = time.perf_counter() - start

    def clearance(entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray:
        longest = np.linalg.norm(tip_mm - entry_mm, axis=1).max()
        share = np.linspace(0.0, 1.0, int(np.ceil(longest / SAMPLE_STEP_MM)) + 1)
        result = np.empty((len(entry_mm), len(scenes)))
        step = max(1, _CHUNK // len(share))
        for first in range(0, len(entry_mm), step):
            part = slice(first, first + step)
            points = entry_mm[part, None, :] + share[:, None] * (tip_mm - entry_mm)[part, None, :]
            asked = open3d.core.Tensor(points.astype(np.float32))
            for k, rays in enumerate(scenes):
                result[part, k] = rays.compute_distance(asked).numpy().min(axis=1)
        return result - scene.radius_mm

    def keeps_clear(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        return np.asarray((clearance(entry_mm, tip_mm) >= scene.margin_mm).all(axis=1))

    said = f"Open3D distances of points every {SAMPLE_STEP_MM:g} mm"
    return Peer("open3d sampled", said, setup_s, 50, keeps_clear, clearance)


def _capsule_peer(scene: PathScene) -> Peer:
    """A capsule as wide as needle and margin, collided with each structure's tree until one is met."""
    import fcl

    start = time.perf_counter()
    structures = _trees(scene)
    setup_s = time.perf_counter() - start

    def keeps_clear(entry_mm: FloatArray, tip_mm: FloatArray) -> NDArray[np.bool_]:
        request, result = fcl.CollisionRequest(), np.ones(len(entry_mm), dtype=bool)
        for i, (length, place) in enumerate(_placed(entry_mm, tip_mm)):
            result[i] = not any(
                fcl.collide(
                    fcl.CollisionObject(fcl.Capsule(radius, length), place), tree, request, fcl.CollisionResult()
                )
                for tree, radius in zip(structures, scene.demanded_mm.tolist(), strict=True)
            )
        return result

    return Peer("python-fcl", "FCL, capsule against tree, exact", setup_s, 1, keeps_clear)


def _capsule_distance_peer(scene: PathScene, cap_mm: float) -> Peer:
    """The distance of a capsule as wide as the needle to each structure's tree."""
    import fcl

    start = time.perf_counter()
    structures = _trees(scene)
    setup_s = time.perf_counter() - start

    def clearance(entry_mm: FloatArray, tip_mm: FloatArray) -> FloatArray:
        request, result = fcl.DistanceRequest(), np.empty((len(entry_mm), len(structures)))
        for i, (length, place) in enumerate(_placed(entry_mm, tip_mm)):
            needle = fcl.CollisionObject(fcl.Capsule(scene.radius_mm, length), place)
            for k, tree in enumerate(structures):
                answer = fcl.DistanceResult()
                fcl.distance(needle, tree, request, answer)
                result[i, k] = answer.min_distance
        return np.minimum(result, cap_mm)

    said = "FCL, distance of capsule and tree, exact"
    return Peer("python-fcl distance", said, setup_s, 200, clearance_mm=clearance)


def _trees(scene: PathScene) -> list[object]:
    import fcl

    result = []
    for mesh in scene.meshes:
        model = fcl.BVHModel()
        model.beginModel(len(mesh.vertices_mm), len(mesh.faces))
        model.addSubModel(np.asarray(mesh.vertices_mm), np.asarray(mesh.faces, dtype=np.int64))
        model.endModel()
        result.append(fcl.CollisionObject(model))
    return result


def _placed(entry_mm: FloatArray, tip_mm: FloatArray) -> list[tuple[float, object]]:
    """Length of each axis, and the pose that lays FCL's capsule, whose axis is z, along it."""
    import fcl

    path = tip_mm - entry_mm
    length = np.linalg.norm(path, axis=1)
    z = path / length[:, None]
    least = np.eye(3)[np.argmin(np.abs(z), axis=1)]
    x = np.cross(z, least)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    turn = np.stack([x, np.cross(z, x), z], axis=2)
    middle = 0.5 * (entry_mm + tip_mm)
    return [(float(a), fcl.Transform(b, c)) for a, b, c in zip(length, turn, middle, strict=True)]
