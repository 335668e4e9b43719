"""Distances of segments to nasty meshes, held against rational arithmetic that rounds nowhere."""

from fractions import Fraction

import numpy as np
import pytest
from brute_force import distances_mm
from made_meshes import NASTY_KINDS, NEARLY_PARALLEL, nasty_mesh, nasty_segments

from needleplan.anatomy.forest import MeshForest
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.tree import MeshTree

#: Coordinates are multiples of this, so that the fractions stay short.
STEP = 2.0**-14


def difference(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def cross(a, b):
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def along(a, u, s):
    return [x + s * y for x, y in zip(a, u, strict=True)]


def square(a):
    return dot(a, a)


def point_segment(p, a, b):
    u = difference(b, a)
    size = square(u)
    share = min(max(dot(difference(p, a), u) / size, Fraction(0)), Fraction(1)) if size else Fraction(0)
    return square(difference(p, along(a, u, share)))


def segment_segment(p, q, a, b):
    best = min(point_segment(p, a, b), point_segment(q, a, b), point_segment(a, p, q), point_segment(b, p, q))
    u, v, w = difference(q, p), difference(b, a), difference(p, a)
    uu, vv, uv, uw, vw = square(u), square(v), dot(u, v), dot(u, w), dot(v, w)
    determinant = uu * vv - uv * uv
    if determinant:
        s, t = (uv * vw - vv * uw) / determinant, (uu * vw - uv * uw) / determinant
        if 0 <= s <= 1 and 0 <= t <= 1:
            best = min(best, square(difference(along(p, u, s), along(a, v, t))))
    return best


def over(p, t, n):
    return all(dot(cross(difference(t[(k + 1) % 3], t[k]), difference(p, t[k])), n) >= 0 for k in range(3))


def segment_triangle(p, q, t):
    """Squared distance, exact."""
    best = min(segment_segment(p, q, t[k], t[(k + 1) % 3]) for k in range(3))
    n = cross(difference(t[1], t[0]), difference(t[2], t[0]))
    if not square(n):
        return best
    heights = [dot(difference(x, t[0]), n) for x in (p, q)]
    for x, height in zip((p, q), heights, strict=True):
        if over(x, t, n):
            best = min(best, height * height / square(n))
    if heights[0] != heights[1] and heights[0] * heights[1] <= 0:
        hit = along(p, difference(q, p), heights[0] / (heights[0] - heights[1]))
        if over(hit, t, n):
            return Fraction(0)
    return best


def rational(array):
    return [[Fraction(x) for x in row] for row in array.reshape(-1, 3).tolist()]


def exact_squares(mesh, start, end):
    triangles = [rational(triangle) for triangle in mesh.triangles_mm]
    return [
        min(segment_triangle(p, q, t) for t in triangles)
        for p, q in zip(rational(start), rational(end), strict=True)
    ]


def rounded(array):
    return np.round(array / STEP) * STEP


def short(mesh, rng, faces=8):
    """A few faces of a mesh, on coordinates that are short fractions."""
    kept = rng.permutation(len(mesh.faces))[:faces]
    return SurfaceMesh(rounded(mesh.vertices_mm), mesh.faces[kept])


@pytest.mark.parametrize("kind", NASTY_KINDS)
def test_tree_forest_and_brute_force_are_those_of_rational_arithmetic(kind):
    rng = np.random.default_rng(NASTY_KINDS.index(kind))
    mesh = short(nasty_mesh(rng, kind), rng)
    start, end = nasty_segments(rng, mesh)
    start, end = rounded(start), rounded(end)
    truth = np.sqrt(np.array([float(square) for square in exact_squares(mesh, start, end)]))
    forest = MeshForest([mesh])
    loose = 1e-5 if kind in NEARLY_PARALLEL else 1e-9
    for cap in (1e5, 11.0, 0.7):
        expected = np.minimum(truth, cap)
        for found, tolerance in (
            (MeshTree(mesh).segment_distance_mm(start, end, cap), loose),
            (forest.distances_mm(start, end, cap)[:, 0], loose),
            (distances_mm(mesh, start, end, cap), 1e-9),
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=tolerance)
    assert (truth == 0).any() or kind == "one point"
    assert (truth > 0).any()


def test_rational_truth_knows_closed_forms():
    triangle = rational(np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]]))
    for p, q, expected in (
        ((2, 2, 5), (2, 2, 1), 1),
        ((2, 2, 5), (2, 2, -1), 0),
        ((20, 0, 3), (30, 0, 4), 109),
        ((5, 5, -3), (5, 5, 3), 0),
        ((6, 6, -3), (6, 6, 3), 2),
        ((-1, -1, 0), (-1, -1, 0), 2),
        ((-2, 4, 0), (-1, 4, 0), 1),
    ):
        assert segment_triangle([Fraction(x) for x in p], [Fraction(x) for x in q], triangle) == expected
