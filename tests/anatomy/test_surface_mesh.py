import numpy as np
import pytest

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh


@pytest.fixture(scope="module")
def rough() -> SurfaceMesh:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.asarray(sphere.vertices) * (70.0, 55.0, 60.0) + (-50.0, -20.0, 60.0)
    vertices += np.random.default_rng(2).normal(scale=0.3, size=vertices.shape)
    faces = np.asarray(sphere.faces)
    # One face without area: it has no normal.
    return SurfaceMesh(vertices, np.concatenate([faces, faces[:1, [0, 1, 1]]]))


def test_what_is_taken_from_the_corners_is_what_numpy_says_of_whole_points(rough):
    corners = rough.vertices_mm[rough.faces]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    # To the last bit, so that plans and rehearsals are the same on every way.
    assert np.array_equal(rough.triangles_mm, corners)
    assert np.array_equal(rough.area_vectors_mm2, 0.5 * np.cross(b - a, c - a))
    assert np.array_equal(rough.face_centres_mm, corners.mean(axis=1))
    assert np.array_equal(rough.bounds_mm, np.stack([rough.vertices_mm.min(axis=0), rough.vertices_mm.max(axis=0)]))
    assert np.array_equal(rough.normals_of(np.array([3, 5])), rough.face_normals[[3, 5]])
    assert not rough.face_normals[-1].any()


def test_the_distance_without_a_sign_is_that_with_one(rough):
    distance = SurfaceDistance(SurfaceMesh(rough.vertices_mm, rough.faces[:-1]))
    points = np.random.default_rng(3).uniform(-160.0, 160.0, (2000, 3))
    signed = distance.signed_distance_mm(points)
    assert (signed < 0).any() and (signed > 0).any()
    assert np.array_equal(distance.distance_mm(points), np.abs(signed))
