"""The stated scene of the path benchmarks: five structures of 20 000 faces between a skin and a target.

Ten ribs under the skin, a branching vessel about the target, a bent vena cava, a lung whose base bulges upward over
the target, and a winding colon below it: smooth, closed, oblique, and none of them convex. Candidates are all pairs
of entries, spread evenly over the skin on the target's side, and aims, spread through the target; a table lists
the aims of one entry after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray

#: Half axes of the body: lateral, front to back, head to foot.
BODY_MM = np.array([170.0, 115.0, 210.0])
TARGET_MM = np.array([-62.0, -8.0, 12.0])
TARGET_RADIUS_MM = 14.0
#: Entries whose way to the target is longer than this are left out.
LONGEST_PATH_MM = 180.0
GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, slots=True, eq=False)
class PathScene:
    """Structures, and needle axes among them.

    Attributes:
        names: of the S structures.
        meshes: their surfaces.
        margin_mm: (S,) demanded distances of the needle's surface: the library's defaults by role.
        radius_mm: the needle's radius, 14 gauge.
        entry_mm: (n, 3) first ends of the axes, on the skin.
        tip_mm: (n, 3) second ends, in the target.
    """

    names: tuple[str, ...]
    meshes: tuple[SurfaceMesh, ...]
    margin_mm: FloatArray
    radius_mm: float
    entry_mm: FloatArray
    tip_mm: FloatArray

    @property
    def demanded_mm(self) -> FloatArray:
        """(S,) least distances of the needle's axis."""
        return self.margin_mm + self.radius_mm


def make_scene(entries: int = 1000, aims: int = 100, fineness: int = 10) -> PathScene:
    """The scene with ``entries`` times ``aims`` candidates and five meshes of 200 * fineness**2 faces."""
    structures = {
        "ribs": (ribs(fineness), 2.0),
        "vessels": (vessels(fineness), 2.0),
        "vena cava": (vena_cava(fineness), 2.0),
        "lung": (lung(fineness), 5.0),
        "colon": (colon(fineness), 5.0),
    }
    entry = skin_points(entries)
    aim = ball_points(aims, TARGET_RADIUS_MM) + TARGET_MM
    return PathScene(
        tuple(structures),
        tuple(mesh for mesh, _ in structures.values()),
        np.array([margin for _, margin in structures.values()]),
        1.05,
        np.repeat(entry, aims, axis=0),
        np.tile(aim, (entries, 1)),
    )


def skin_points(count: int) -> FloatArray:
    """(count, 3) points of the body's surface near enough to the target, evenly spread (golden spiral)."""
    total = count
    while True:
        k = np.arange(total) + 0.5
        z = 1.0 - 2.0 * k / total
        around = GOLDEN_ANGLE * k
        ring = np.sqrt(1.0 - z * z)
        points = np.stack([ring * np.cos(around), ring * np.sin(around), z], axis=1) * BODY_MM
        near = points[np.linalg.norm(points - TARGET_MM, axis=1) < LONGEST_PATH_MM]
        if len(near) >= count:
            return near[np.linspace(0, len(near) - 1, count).round().astype(int)]
        total = int(total * 1.05) + 1


def ball_points(count: int, radius_mm: float) -> FloatArray:
    """(count, 3) points spread evenly through a ball about the origin."""
    k = np.arange(count) + 0.5
    z = 1.0 - 2.0 * k / count
    ring = np.sqrt(1.0 - z * z)
    around = GOLDEN_ANGLE * k
    # A second irrational step spreads the radii, so that each shell holds points all around.
    share = np.cbrt(np.mod(k * 0.7548776662, 1.0))
    return radius_mm * share[:, None] * np.stack([ring * np.cos(around), ring * np.sin(around), z], axis=1)


def tube(points: FloatArray, radii: FloatArray, sides: int, flatness: float = 1.0) -> SurfaceMesh:
    """A closed tube of 2 * sides * len(points) faces about a line of points (n, 3) with radii (n,)."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # One direction across, carried along the line, so that the tube does not twist.
    across = np.empty_like(points)
    guess = np.cross(tangent[0], [0.3, -0.5, 0.81])
    for k, direction in enumerate(tangent):
        guess = guess - (guess @ direction) * direction
        guess = across[k] = guess / np.linalg.norm(guess)
    beside = np.cross(tangent, across)
    around = 2.0 * np.pi * np.arange(sides) / sides
    rings = (
        points[:, None, :]
        + (radii[:, None] * np.cos(around))[..., None] * across[:, None, :]
        + (flatness * radii[:, None] * np.sin(around))[..., None] * beside[:, None, :]
    )
    return _closed_rings(rings, points[0], points[-1])


def blob(half_axes: FloatArray, rings: int, sides: int, bulge: Callable[[FloatArray], FloatArray]) -> SurfaceMesh:
    """A closed, deformed ellipsoid of 2 * sides * rings faces; ``bulge`` scales unit directions (..., 3)."""
    polar = np.pi * (np.arange(rings) + 1.0) / (rings + 1.0)
    around = 2.0 * np.pi * np.arange(sides) / sides
    directions = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(around),
            np.sin(polar)[:, None] * np.sin(around),
            np.broadcast_to(np.cos(polar)[:, None], (rings, sides)),
        ],
        axis=-1,
    )
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    poles = poles * bulge(poles)[:, None] * half_axes
    return _closed_rings(directions * bulge(directions)[..., None] * half_axes, poles[0], poles[1])


def _closed_rings(rings: FloatArray, first: FloatArray, last: FloatArray) -> SurfaceMesh:
    """Rings (r, s, 3) of points joined to a tube, and its ends to the points ``first`` and ``last``."""
    count, sides = rings.shape[:2]
    vertices = np.concatenate([rings.reshape(-1, 3), [first, last]])
    here = np.arange(sides)
    beside = (here + 1) % sides
    faces = []
    for k in range(count - 1):
        low, high = k * sides, (k + 1) * sides
        faces.append(np.stack([low + here, low + beside, high + beside], axis=1))
        faces.append(np.stack([low + here, high + beside, high + here], axis=1))
    top, bottom = count * sides, count * sides + 1
    faces.append(np.stack([beside, here, np.full(sides, top)], axis=1))
    end = (count - 1) * sides
    faces.append(np.stack([end + here, end + beside, np.full(sides, bottom)], axis=1))
    mesh = SurfaceMesh(vertices, np.concatenate(faces))
    return mesh if mesh.volume_mm3 > 0 else mesh.flipped()


def _joined(meshes: list[SurfaceMesh]) -> SurfaceMesh:
    offsets = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes[:-1])])
    return SurfaceMesh(
        np.concatenate([mesh.vertices_mm for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
    )


def ribs(fineness: int) -> SurfaceMesh:
    """Ten flat, oblique arches 14 mm under the skin, each from the back to the front on one side."""
    arches = []
    inner = BODY_MM - 14.0
    for number in range(10):
        side = -1.0 if number < 7 else 1.0
        level = 95.0 - 26.0 * (number if number < 7 else number - 6)
        turn = np.linspace(0.85 * np.pi / 2, -0.75 * np.pi / 2, 5 * fineness)
        # Ribs fall by about 45 mm from the spine to the front.
        z = level - 22.0 * (1.0 - np.sin(turn))
        ring = np.sqrt(np.maximum(1.0 - (z / BODY_MM[2]) ** 2, 0.05))
        line = np.stack([side * inner[0] * ring * np.cos(turn), inner[1] * ring * np.sin(turn), z], axis=1)
        arches.append(tube(line, np.full(len(line), 3.2), 2 * fineness, 2.0))
    return _joined(arches)


def vessels(fineness: int) -> SurfaceMesh:
    """A trunk and nine branches that pass the target at 5 to 27 mm, tapering from 6 to 1.5 mm."""
    root = np.array([-5.0, 5.0, -35.0])
    rng = np.random.default_rng(11)
    parts = []
    for number in range(10):
        way = np.linspace(0.0, 1.0, 5 * fineness)[:, None]
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        beside = np.cross(direction, rng.normal(size=3))
        beside /= np.linalg.norm(beside)
        past = TARGET_MM + (TARGET_RADIUS_MM + 8.0 + 2.5 * number) * direction
        end = past + 35.0 * beside + 15.0 * direction
        # A Bezier curve from the root past the target.
        line = (1 - way) ** 2 * root + 2 * way * (1 - way) * (1.5 * past - 0.25 * (root + end)) + way**2 * end
        start = 6.0 if number == 0 else 4.0
        parts.append(tube(line, np.linspace(start, 1.5, len(line)), 2 * fineness))
    return _joined(parts)


def vena_cava(fineness: int) -> SurfaceMesh:
    """One thick, slightly bent vessel along the spine."""
    z = np.linspace(-150.0, 120.0, 25 * fineness)
    line = np.stack([-22.0 + 9.0 * np.sin(z / 60.0), 32.0 + 7.0 * np.cos(z / 45.0), z], axis=1)
    return tube(line, 10.5 + 2.0 * np.sin(z / 30.0), 4 * fineness)


def lung(fineness: int) -> SurfaceMesh:
    """A tall body above the target, hollowed at its base by the diaphragm's dome."""

    def bulge(direction: FloatArray) -> FloatArray:
        x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
        base = np.exp(-(((1.0 + z) / 0.5) ** 2))
        return 1.0 - 0.45 * base + 0.04 * np.sin(7 * x + 3) * np.cos(6 * y - 2 * z)

    mesh = blob(np.array([50.0, 66.0, 75.0]), 10 * fineness, 10 * fineness, bulge)
    return SurfaceMesh(mesh.vertices_mm + np.array([-70.0, 0.0, 92.0]), mesh.faces)


def colon(fineness: int) -> SurfaceMesh:
    """A winding tube with pouches below and before the target."""
    way = np.linspace(0.0, 1.0, 25 * fineness)
    line = np.stack(
        [
            -125.0 + 190.0 * way,
            -35.0 - 30.0 * np.sin(np.pi * way) + 6.0 * np.sin(17.0 * way),
            -62.0 - 16.0 * np.cos(3.0 * np.pi * way) + 5.0 * np.cos(23.0 * way),
        ],
        axis=1,
    )
    return tube(line, 17.0 + 2.5 * np.sin(60.0 * way), 4 * fineness)
