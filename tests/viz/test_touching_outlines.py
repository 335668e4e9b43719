"""Outlines of surfaces whose edges more than two faces share: nothing of the section is lost."""

import logging

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import perpendicular_axes, unit_vector
from needleplan.viz.section import ImagePlane, outlines

TURN = Rotation.from_rotvec([0.4, 0.9, -1.2]).as_matrix()
#: Cells that share an edge, that share a corner, and a lump in which nearly every cell touches others by edges.
LUMPS = {
    "edge": np.array([[0, 0, 0], [1, 1, 0]]),
    "corner": np.array([[0, 0, 0], [1, 1, 1]]),
    "lump": np.argwhere(np.random.default_rng(3).random((6, 7, 5)) < 0.5),
}
NORMALS = [(0.1, 0.2, 1.0), (1.0, -2.0, 0.3), (-0.7, 0.2, -0.4), (1.0, 1.0, 1.0)]


def voxel_surface(cells, turn=TURN, spacing=(1.0, 1.5, 2.0)) -> SurfaceMesh:
    """The boundary of cells (n, 3), outward, with corners shared by all cells that meet there."""
    filled = {tuple(cell) for cell in cells}
    corners: dict[tuple, int] = {}
    faces = []
    for cell in filled:
        for axis in range(3):
            for side in (0, 1):
                beside = list(cell)
                beside[axis] += 2 * side - 1
                if tuple(beside) in filled:
                    continue
                ring = []
                for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    corner = list(cell)
                    corner[axis] += side
                    corner[(axis + 1) % 3] += u
                    corner[(axis + 2) % 3] += v
                    ring.append(corners.setdefault(tuple(corner), len(corners)))
                ring = ring if side else ring[::-1]
                faces += [[ring[0], ring[1], ring[2]], [ring[0], ring[2], ring[3]]]
    return SurfaceMesh(np.array(list(corners), dtype=float) * spacing @ turn.T, np.array(faces))


def plane_at(normal, origin) -> ImagePlane:
    right, down = perpendicular_axes(normal)
    return ImagePlane("oblique", np.asarray(origin, float), right, down)


def length_of(loops) -> float:
    return sum(float(np.linalg.norm(np.roll(loop, -1, axis=0) - loop, axis=1).sum()) for loop in loops)


def area_of(loop) -> float:
    after = np.roll(loop, -1, axis=0)
    return 0.5 * float((loop[:, 0] * after[:, 1] - loop[:, 1] * after[:, 0]).sum())


def true_length(mesh, plane) -> float:
    """The section of each face by itself, cut by another library."""
    whole = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
    segments = trimesh.intersections.mesh_plane(whole, plane.normal, plane.origin_mm)
    return float(np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum()) if len(segments) else 0.0


@pytest.mark.parametrize("cells", LUMPS)
@pytest.mark.parametrize("normal", NORMALS)
def test_loops_are_as_long_as_the_sections_of_all_faces(cells, normal, caplog):
    mesh = voxel_surface(LUMPS[cells])
    assert mesh.is_watertight
    along = mesh.vertices_mm @ unit_vector(normal)
    met = 0
    for height in np.linspace(along.min() + 0.0123, along.max() - 0.0127, 12):
        plane = plane_at(normal, height * unit_vector(normal))
        loops = outlines(mesh, plane)
        met += len(loops)
        assert length_of(loops) == pytest.approx(true_length(mesh, plane), rel=1e-9)
    assert met >= 12 and not caplog.records


@pytest.mark.parametrize("cells", LUMPS)
def test_planes_through_vertices_and_along_faces_lose_nothing(cells, caplog):
    for turn in (np.eye(3), TURN):
        mesh = voxel_surface(LUMPS[cells], turn)
        for normal in [*turn.T, *NORMALS]:
            for vertex in mesh.vertices_mm[::5]:
                plane = plane_at(normal, vertex)
                height = plane.distance_mm(mesh.vertices_mm)
                below = plane_at(normal, vertex - 1e-7 * plane.normal)
                assert np.abs(height).min() < 1e-12
                loops = outlines(mesh, plane)
                # A vertex on the plane counts as above it; one that rounding puts below is another section.
                if not np.count_nonzero((height < 0.0) & (height > -1e-9)):
                    assert length_of(loops) == pytest.approx(true_length(mesh, below), abs=1e-4)
    assert not caplog.records


@pytest.mark.parametrize("cells", ["edge", "corner"])
@pytest.mark.parametrize("normal", NORMALS)
def test_two_cells_that_touch_have_the_outlines_of_each(cells, normal):
    both, alone = voxel_surface(LUMPS[cells]), [voxel_surface([cell]) for cell in LUMPS[cells]]
    along = both.vertices_mm @ unit_vector(normal)
    for height in np.linspace(along.min() + 0.0123, along.max() - 0.0127, 15):
        plane = plane_at(normal, height * unit_vector(normal))
        expected = sorted(area_of(loop) for mesh in alone for loop in outlines(mesh, plane))
        assert sorted(area_of(loop) for loop in outlines(both, plane)) == pytest.approx(expected, abs=1e-9)


def test_two_holes_that_touch_stay_one_beside_the_other():
    cells = [(x, y, z) for x in range(4) for y in range(4) for z in range(3)]
    solid = [cell for cell in cells if cell not in ((1, 1, 1), (2, 2, 1))]
    mesh = voxel_surface(solid, np.eye(3), (1.0, 1.0, 1.0))
    loops = outlines(mesh, ImagePlane("axial", np.array([0.0, 0.0, 1.4]), (1, 0, 0), (0, 1, 0)))
    assert abs(sum(area_of(loop) for loop in loops)) == pytest.approx(14.0)
    assert length_of(loops) == pytest.approx(16.0 + 8.0)


def test_what_an_open_edge_interrupts_is_told(caplog):
    mesh = voxel_surface(LUMPS["edge"], np.eye(3))
    plane = ImagePlane("axial", np.array([0.0, 0.0, 0.7]), (1, 0, 0), (0, 1, 0))
    sides = np.flatnonzero(np.ptp(mesh.vertices_mm[mesh.faces][:, :, 2], axis=1) > 0)
    torn = SurfaceMesh(mesh.vertices_mm, np.delete(mesh.faces, sides[0], axis=0))
    with caplog.at_level(logging.WARNING):
        loops = outlines(torn, plane)
    assert len(loops) == 1 and abs(area_of(loops[0])) == pytest.approx(1.5)
    (record,) = caplog.records
    assert "axial" in record.getMessage() and "not closed" in record.getMessage()
