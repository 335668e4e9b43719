"""Small whole cases from a few closed surfaces, for tests of the planning core."""

import numpy as np
import trimesh

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Case, PatientPosition, Role, Structure


def surface(mesh: trimesh.Trimesh) -> SurfaceMesh:
    """A trimesh surface as needleplan's."""
    return SurfaceMesh(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def ball(centre=(0.0, 0.0, 0.0), radius: float = 10.0, subdivisions: int = 3, stretch=(1.0, 1.0, 1.0)):
    """A closed ball-like surface; its vertices lie on the sphere (or the stretched sphere)."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    return SurfaceMesh(np.asarray(mesh.vertices) * radius * np.asarray(stretch) + centre, np.asarray(mesh.faces))


def box(low, high) -> SurfaceMesh:
    """A closed box along the axes."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    mesh = trimesh.creation.box(extents=high - low)
    return SurfaceMesh(np.asarray(mesh.vertices) + 0.5 * (low + high), np.asarray(mesh.faces))


def tube(start, end, radius: float, sections: int = 96) -> SurfaceMesh:
    """A closed cylinder between two points; the vertices of its rim lie on the radius."""
    return surface(trimesh.creation.cylinder(radius=radius, segment=[start, end], sections=sections))


def joined(*meshes: SurfaceMesh) -> SurfaceMesh:
    """Several surfaces as one."""
    offset = np.cumsum([0] + [len(m.vertices_mm) for m in meshes])
    return SurfaceMesh(
        np.concatenate([m.vertices_mm for m in meshes]),
        np.concatenate([m.faces + k for m, k in zip(meshes, offset, strict=False)]),
    )


def rotation(seed: int = 3) -> np.ndarray:
    """(3, 3) proper rotation far from every axis."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def motion(seed: int = 3, shift=(37.0, -120.5, 61.25)) -> np.ndarray:
    """(4, 4) rigid motion far from the identity."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(seed)
    matrix[:3, 3] = shift
    return matrix


def random_rotations(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    return [rotation(int(rng.integers(1 << 30))) for _ in range(count)]


def made_case(
    target: SurfaceMesh,
    skin: SurfaceMesh,
    *others: Structure,
    position: PatientPosition = PatientPosition.SUPINE,
    name: str = "made",
) -> Case:
    """A case of a target, a skin and further structures."""
    return Case(
        name,
        (Structure("tumour", Role.TARGET, target), Structure("skin", Role.SKIN, skin), *others),
        position,
        "0" * 64,
        up=position.up,
    )


def queries_of(case: Case) -> AnatomyQueries:
    return AnatomyQueries(build_anatomy(case))
