"""Outlines of meshes in planes against closed forms."""

import numpy as np
import pytest
import trimesh

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError
from needleplan.frames import perpendicular_axes, unit_vector
from needleplan.viz.section import ImagePlane, anatomical_planes, outlines


def loop_area(loop) -> float:
    """Signed area by the shoelace formula."""
    after = np.roll(loop, -1, axis=0)
    return 0.5 * float((loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0]).sum())


def plane_with_normal(normal, origin) -> ImagePlane:
    right, down = perpendicular_axes(normal)
    return ImagePlane("oblique", np.asarray(origin, float), right, down)


def sphere(radius, centre, subdivisions=5) -> SurfaceMesh:
    ball = trimesh.creation.icosphere(subdivisions, radius)
    return SurfaceMesh(ball.vertices + np.asarray(centre), ball.faces)


@pytest.mark.parametrize("offset", [0.0, 3.0, -8.5])
def test_section_of_a_ball_is_the_disc_of_geometry(offset):
    centre = np.array([4.0, -7.0, 11.0])
    normal = unit_vector((1.0, 2.0, -0.5))
    loops = outlines(sphere(10.0, centre), plane_with_normal(normal, centre + offset * normal))
    assert len(loops) == 1
    assert abs(loop_area(loops[0])) == pytest.approx(np.pi * (100.0 - offset**2), rel=2e-3)
    radius = np.linalg.norm(loops[0], axis=1)
    assert radius == pytest.approx(np.full(len(radius), np.sqrt(100.0 - offset**2)), rel=5e-3)


def test_plane_through_vertices_of_a_box_still_closes():
    box = trimesh.creation.box((2.0, 4.0, 6.0))
    mesh = SurfaceMesh(box.vertices, box.faces)
    for height in (-2.999, 0.0, 3.0):
        loops = outlines(mesh, ImagePlane("axial", np.array([0.0, 0.0, height]), (1, 0, 0), (0, 1, 0)))
        assert sum(abs(loop_area(loop)) for loop in loops) == pytest.approx(8.0)


def test_hole_turns_the_other_way_than_its_hull():
    outer, inner = sphere(10.0, (0, 0, 0)), sphere(4.0, (2, 0, 0)).flipped()
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices_mm)])
    shell = SurfaceMesh(np.concatenate([outer.vertices_mm, inner.vertices_mm]), faces)
    loops = outlines(shell, plane_with_normal((0.1, 0.2, 1.0), (0.0, 0.0, 0.0)))
    areas = sorted((loop_area(loop) for loop in loops), key=abs)
    assert len(areas) == 2 and areas[0] * areas[1] < 0
    depth = 2.0 * unit_vector((0.1, 0.2, 1.0))[0]
    assert abs(sum(areas)) == pytest.approx(np.pi * (100 - 16 + depth**2), rel=5e-3)


def test_plane_beside_the_mesh_and_open_mesh_give_nothing_false():
    ball = sphere(5.0, (0, 0, 0), 3)
    assert outlines(ball, plane_with_normal((0, 0, 1), (0, 0, 6.0))) == []
    keep = ~((np.abs(ball.face_centres_mm[:, 2]) < 1.5) & (ball.face_centres_mm[:, 0] > 4))
    torn = SurfaceMesh(ball.vertices_mm, ball.faces[keep])
    assert torn.open_edge_count > 0
    assert outlines(torn, plane_with_normal((0, 0, 1), (0, 0, 0.0))) == []


def test_anatomical_planes_follow_the_radiological_convention():
    axial, coronal, sagittal = anatomical_planes((1.0, 2.0, 3.0), np.eye(3))
    right_of_patient, front, head = (-10.0, 2.0, 3.0), (1.0, -10.0, 3.0), (1.0, 2.0, 30.0)
    assert axial.flat(right_of_patient)[0] < 0 and coronal.flat(right_of_patient)[0] < 0
    assert axial.flat(front)[1] < 0 and sagittal.flat(front)[0] < 0
    assert coronal.flat(head)[1] < 0 and sagittal.flat(head)[1] < 0
    # Away from the viewer: axial is seen from the feet, coronal from the front, sagittal from the left.
    assert axial.normal == pytest.approx([0, 0, 1])
    assert coronal.normal == pytest.approx([0, 1, 0])
    assert sagittal.normal == pytest.approx([-1, 0, 0])


def test_flat_and_points_are_inverse_and_skewed_axes_are_refused():
    plane = plane_with_normal((1.0, -2.0, 0.3), (5.0, 6.0, 7.0))
    flat = np.array([[1.0, 2.0], [-3.0, 4.5]])
    assert plane.flat(plane.points_mm(flat)) == pytest.approx(flat)
    assert plane.distance_mm(plane.points_mm(flat)) == pytest.approx([0.0, 0.0], abs=1e-12)
    with pytest.raises(GeometryError, match="perpendicular"):
        ImagePlane("skewed", np.zeros(3), (1, 0, 0), (1, 1, 0))
