"""Oblique, anisotropic, mirrored grids with asymmetric structures, and closed forms, for the DICOM tests."""

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.grid import Grid, VoxelMask
from needleplan.io.dicom.segmentation_writer import NamedMask

SHAPE = (17, 13, 9)
CANARY = "DOE^CANARY"


def rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def oblique_grid(mirrored: bool = False, shape=SHAPE, spacing=(0.7, 1.3, 2.9)) -> Grid:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((1, 2, -0.5), 0.7) * np.asarray(spacing) * [1, -1 if mirrored else 1, 1]
    matrix[:3, 3] = [-31.25, 57.5, -402.125]
    return Grid(shape, matrix)


def asymmetric_masks(grid: Grid) -> dict[str, np.ndarray]:
    """Two structures that overlap, one beside, none the mirror image of itself."""
    random = np.random.default_rng(5)
    liver = np.zeros(grid.shape, dtype=bool)
    liver[2:11, 1:12, 1:8] = random.random((9, 11, 7)) < 0.7
    tumour = np.zeros(grid.shape, dtype=bool)
    tumour[3:6, 2:9, 2:4] = True
    tumour[3, 2:5, 4] = True
    vein = np.zeros(grid.shape, dtype=bool)
    vein[13:15, 4, 6:9] = True
    return {"liver": liver, "tumour": tumour, "portal vein": vein}


def named(grid: Grid, masks: dict[str, np.ndarray]) -> list[NamedMask]:
    return [NamedMask(name, VoxelMask.cropped(grid, inside)) for name, inside in masks.items()]


def centres_of(grid: Grid, inside: np.ndarray) -> np.ndarray:
    """Patient places of the voxels of a mask, in an order that does not depend on the grid's axes."""
    points = grid.to_patient(np.argwhere(inside)).round(3)
    return points[np.lexsort(points.T)]


def segment_of(volume, name: str) -> np.ndarray:
    segment = next(one for one in volume.segments if one.name == name)
    return volume.layers[segment.layer] == segment.value


def surface_of_revolution(radius_mm, count: int, around: int, closed: bool) -> SurfaceMesh:
    """A surface from ``count`` rings of ``around`` points; ``radius_mm(s)`` gives (radius, height)."""
    rows = [radius_mm(n / count) for n in range(count)]
    angle = 2 * np.pi * np.arange(around) / around
    vertices = np.array([[r * np.cos(a), r * np.sin(a), h] for r, h in rows for a in angle])
    faces = []
    for n in range(count if closed else count - 1):
        m = (n + 1) % count
        for k in range(around):
            j = (k + 1) % around
            a, b, c, d = n * around + k, n * around + j, m * around + j, m * around + k
            faces += [[a, b, c], [a, c, d]]
    mesh = SurfaceMesh(vertices, np.array(faces))
    return mesh if mesh.volume_mm3 > 0 else mesh.flipped()


def torus(large: float, small: float, count: int = 160) -> SurfaceMesh:
    def ring(share: float) -> tuple[float, float]:
        angle = 2 * np.pi * share
        return large + small * np.cos(angle), small * np.sin(angle)

    return surface_of_revolution(ring, count, 2 * count, True)


def sphere(radius: float, divisions: int = 5) -> SurfaceMesh:
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=divisions, radius=radius)
    return SurfaceMesh(np.asarray(made.vertices), np.asarray(made.faces))


def placed(mesh: SurfaceMesh, grid: Grid, tilt: float = 0.4) -> SurfaceMesh:
    """The mesh, turned, with its origin at the centre of the grid."""
    motion = np.eye(4)
    motion[:3, :3] = rotation((0.3, -1, 0.8), tilt)
    motion[:3, 3] = grid.to_patient((np.asarray(grid.shape) - 1) / 2)
    return mesh.moved(motion)


def united(*meshes: SurfaceMesh) -> SurfaceMesh:
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes)])
    return SurfaceMesh(
        np.concatenate([mesh.vertices_mm for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]),
    )
