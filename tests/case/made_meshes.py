"""Nasty surfaces, and the nastiest segments beside them, for the proofs of distance queries."""

import numpy as np
from made_cases import ball, joined, rotation

from needleplan.anatomy.mesh import SurfaceMesh

#: Kinds of surface that ``nasty_mesh`` makes.
NASTY_KINDS = (
    "soup", "flat", "slivers", "whole numbers", "degenerate", "collinear", "one point", "nested", "touching",
    "open", "non-manifold", "single face", "far apart",
)  # fmt: skip
#: Those with edges that are parallel to segments within rounding: the feet are lost, the distance hardly is.
NEARLY_PARALLEL = ("slivers", "collinear")


def nasty_mesh(rng: np.random.Generator, kind: str, size: float = 20.0) -> SurfaceMesh:
    """A surface of one of ``NASTY_KINDS`` within about ``size`` mm of the origin."""
    vertices = rng.uniform(-size, size, (24, 3))
    faces = rng.integers(0, 24, (30, 3))
    if kind == "flat":
        vertices[:, 2] = 0.25 * size
    elif kind == "slivers":
        # Faces a hundred thousand times longer than wide, in one oblique direction.
        vertices = vertices * [1.0, 1e-5, 1e-5] @ rotation(5).T
    elif kind == "whole numbers":
        vertices = np.round(vertices / 5.0) * 5.0
    elif kind == "degenerate":
        faces[::2, 2] = faces[::2, 1]
        vertices[12:] = vertices[:12]
    elif kind == "collinear":
        vertices = vertices[0] + np.linspace(-1, 1, 24)[:, None] * vertices[1]
    elif kind == "one point":
        vertices[:] = vertices[0]
    elif kind == "nested":
        return joined(
            ball(radius=0.6 * size, subdivisions=0), ball((1, 0, 0), 0.5 * size, 0), ball((9, 0, 0), 3, 0)
        )
    elif kind == "touching":
        # Two balls that meet in one corner.
        first = ball((0, 0, 0), 0.5 * size, 1)
        shift = 2.0 * first.vertices_mm[3]
        return joined(first, SurfaceMesh(shift - first.vertices_mm, first.faces[:, ::-1]))
    elif kind == "open":
        whole = ball((2, -1, 3), 0.7 * size, 1, (1.0, 0.6, 1.3))
        return SurfaceMesh(
            whole.vertices_mm, whole.faces[rng.permutation(len(whole.faces))[: len(whole.faces) // 2]]
        )
    elif kind == "non-manifold":
        # A fan of faces about one edge, and one face three times over.
        faces = np.stack([np.zeros(14, int), np.ones(14, int), np.arange(2, 16)], axis=1)
        faces = np.concatenate([faces, faces[:1], faces[:1, ::-1]])
    elif kind == "single face":
        faces = faces[:1]
    elif kind == "far apart":
        vertices[12:] += 40.0 * size * rotation(2)[0]
        faces = np.concatenate([rng.integers(0, 12, (15, 3)), rng.integers(12, 24, (15, 3))])
    return SurfaceMesh(vertices, faces)


def nasty_segments(rng: np.random.Generator, mesh: SurfaceMesh, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Ends (n, 3) and (n, 3) of ``count`` segments of each of twelve kinds beside a surface."""
    starts, ends = [], []
    span = 1.3 * np.abs(mesh.vertices_mm).max() + 5.0
    for _ in range(count):
        p, q, away = rng.uniform(-span, span, (3, 3))
        corner = mesh.triangles_mm[rng.integers(len(mesh.faces))]
        a, b, _ = corner
        share = rng.dirichlet((1.0, 1.0, 1.0), 2)
        inside, second = share @ corner
        beyond = inside + rng.uniform(1.5, 9.0) * (second - inside)
        pairs = [
            (p, q),
            (p, p),  # without length
            (p, p + 1e-9 * away),
            (p, p + 30.0 * away),
            (a, b),  # along an edge
            (a - 0.5 * (b - a), b + 0.5 * (b - a)),
            (a + 1e-3 * away, b + 1e-3 * away),  # beside an edge, parallel to it
            (inside, second),  # in a face
            (inside, beyond),
            (p, inside),  # ending on a face
            (p, 0.5 * (a + b)),  # ending on an edge
            (p, 2.0 * a - p),  # through a corner
        ]
        for start, end in pairs:
            starts.append(start)
            ends.append(end)
    return np.array(starts), np.array(ends)


def refined(mesh: SurfaceMesh, times: int = 1) -> SurfaceMesh:
    """The same surface with every face cut into four."""
    for _ in range(times):
        corner = mesh.triangles_mm
        middle = 0.5 * (corner + np.roll(corner, -1, axis=1))
        a, b, c = (corner[:, k] for k in range(3))
        ab, bc, ca = (middle[:, k] for k in range(3))
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        points = np.stack([np.stack(part, axis=1) for part in parts], axis=1).reshape(-1, 3)
        # Corners that are the same point are one vertex again, so that a closed surface stays closed.
        vertices, index = np.unique(points, axis=0, return_inverse=True)
        mesh = SurfaceMesh(vertices, index.reshape(-1, 3))
    return mesh


def mirrored(mesh: SurfaceMesh) -> SurfaceMesh:
    """The mirror image left to right, its faces still looking outward."""
    return SurfaceMesh(mesh.vertices_mm * [-1.0, 1.0, 1.0], mesh.faces[:, ::-1])
