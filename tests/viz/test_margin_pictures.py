"""Margins: shares by area, the map's sides, and what the pictures must hold."""

import numpy as np
import pytest
import trimesh

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.assess import Assessment
from needleplan.errors import OptionError
from needleplan.plan import Metrics
from needleplan.viz.margin_shares import MAP_CELLS, margin_bins, margin_map, vertex_areas_mm2
from needleplan.viz.margins import draw_margins, render_margins
from needleplan.viz.palette import COVERED, INSUFFICIENT, NOT_ABLATED


def ball(subdivisions=4, radius=10.0) -> SurfaceMesh:
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return SurfaceMesh(mesh.vertices, mesh.faces)


def score(margins, asked=5.0) -> Assessment:
    return Assessment(Metrics(0.9, 0.8, float(np.min(margins)), 1.0, 20.0, asked, 0.2), np.asarray(margins))


def test_vertex_areas_add_to_the_area():
    mesh = ball()
    assert vertex_areas_mm2(mesh).sum() == pytest.approx(mesh.area_mm2)


def test_bins_are_disjoint_and_add_to_one_whatever_the_margins():
    mesh = ball(3)
    margins = np.random.default_rng(4).normal(3.0, 5.0, len(mesh.vertices_mm))
    margins[:40] = np.repeat([0.0, 5.0, -1e-12, 5.0 - 1e-12], 10)
    bins = margin_bins(mesh, margins, 5.0)
    assert sum(one.share for one in bins) == pytest.approx(1.0, abs=1e-12)
    assert [one.high_mm for one in bins[:-1]] == [one.low_mm for one in bins[1:]] == [0.0, 5.0]
    assert len(margin_bins(mesh, margins, 0.0)) == 2
    assert sum(one.share for one in margin_bins(mesh, margins, 0.0)) == pytest.approx(1.0, abs=1e-12)


def test_borders_belong_to_the_upper_bin():
    mesh = ball(2)
    share = [one.share for one in margin_bins(mesh, np.zeros(len(mesh.vertices_mm)), 5.0)]
    assert share == pytest.approx([0.0, 1.0, 0.0])
    share = [one.share for one in margin_bins(mesh, np.full(len(mesh.vertices_mm), 5.0), 5.0)]
    assert share == pytest.approx([0.0, 0.0, 1.0])


def test_a_share_that_is_not_nothing_or_all_is_not_told_as_such():
    mesh = ball(5)
    margins = np.full(len(mesh.vertices_mm), 8.0)
    margins[0], margins[1] = -1.0, 3.0
    bins = margin_bins(mesh, margins, 5.0)
    assert all(0 < one.share < 0.0005 for one in bins[:2])
    assert [one.percent for one in bins] == ["0.1 %", "0.1 %", "99.9 %"]
    whole = margin_bins(mesh, np.full(len(mesh.vertices_mm), 5.0), 5.0)
    assert [one.percent for one in whole] == ["0 %", "0 %", "100 %"]


def test_shares_are_of_area_and_not_of_vertices():
    coarse = trimesh.creation.icosphere(4, 10.0)
    upper = np.flatnonzero(coarse.triangles_center[:, 2] > 0)
    for _ in range(2):
        vertices, faces = trimesh.remesh.subdivide(coarse.vertices, coarse.faces, face_index=upper)
        coarse = trimesh.Trimesh(vertices, faces, process=True)
        upper = np.flatnonzero(coarse.triangles_center[:, 2] > 0)
    mesh = SurfaceMesh(coarse.vertices, coarse.faces)
    below = mesh.vertices_mm[:, 2] < 0
    assert below.mean() < 0.25  # most vertices lie above
    bins = margin_bins(mesh, np.where(below, -2.0, 8.0), 5.0)
    assert bins[0].share == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("direction", "row", "column"),
    [
        ((-1, 0, 0), 0.5, 0.25), ((1, 0, 0), 0.5, 0.75), ((0, -1, 0), 0.5, 0.5), ((0, 0, 1), 1.0, None),
        ((0, 0, -1), 0.0, None),
    ],
)  # fmt: skip
def test_map_has_right_at_the_left_front_in_the_middle_and_the_head_above(direction, row, column):
    mesh = ball()
    margins = 10.0 - 1.5 * (mesh.vertices_mm @ np.asarray(direction, float))
    least = margin_map(mesh, margins, np.zeros(3), np.eye(3))
    assert least.shape == (MAP_CELLS // 2, MAP_CELLS) and np.isfinite(least).all()
    assert least.min() == pytest.approx(-5.0, abs=0.05)
    rows, columns = np.nonzero(least < least.min() + 0.02)
    assert rows.mean() / (MAP_CELLS // 2) == pytest.approx(row, abs=0.04)
    if column is not None:
        assert columns.mean() / MAP_CELLS == pytest.approx(column, abs=0.03)


def test_map_turns_with_the_patient():
    mesh = ball(3)
    margins = mesh.vertices_mm[:, 0] + 0.3 * mesh.vertices_mm[:, 2]
    motion = np.eye(4)
    motion[:3, :3] = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    still = margin_map(mesh, margins, np.zeros(3), np.eye(3))
    turned = margin_map(mesh.moved(motion), margins, np.zeros(3), motion[:3, :3])
    assert turned == pytest.approx(still, abs=1e-9)


def test_picture_shows_the_bins_that_there_are_and_no_other(patient, zone):
    mesh = patient.target.mesh

    def colours(margins):
        image = draw_margins(patient, score(margins), size=(900, 700))[60:310]  # the map alone
        found = set()
        for color in (NOT_ABLATED, INSUFFICIENT, COVERED):
            wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
            if (np.abs(image.astype(int) - wanted).max(axis=-1) < 6).sum() > 200:
                found.add(color)
        return found

    assert colours(np.full(len(mesh.vertices_mm), 7.0)) == {COVERED}
    assert colours(np.where(mesh.vertices_mm[:, 0] < -70, -2.0, 7.0)) >= {COVERED, NOT_ABLATED}
    assert colours(np.where(mesh.vertices_mm[:, 0] < -70, 2.0, 3.0)) == {INSUFFICIENT}


def test_painted_tumour_shows_each_side_its_own_colour(patient):
    mesh = patient.target.mesh
    margins = np.where(mesh.vertices_mm[:, 0] < -70, -5.0, 9.0)  # left over at the patient's right
    image = render_margins(patient, score(margins), size=(1200, 400)).astype(int)
    assert image.shape == (400, 1200, 3)
    panels = image[60:340, :].reshape(280, 4, 300, 3)
    red = [((p[..., 0] > 110) & (p[..., 2] < 60)).sum() for p in panels.transpose(1, 0, 2, 3)]
    blue = [((p[..., 2] > 90) & (p[..., 0] < 60)).sum() for p in panels.transpose(1, 0, 2, 3)]
    front, right, back, left = range(4)
    assert red[right] > 500 and blue[right] < 0.02 * red[right]
    assert blue[left] > 500 and red[left] < 0.02 * blue[left]
    columns = np.argwhere((panels[:, front, :, 0] > 110) & (panels[:, front, :, 2] < 60))[:, 1]
    assert columns.mean() < 150  # from the front the patient's right is at the left
    columns = np.argwhere((panels[:, back, :, 0] > 110) & (panels[:, back, :, 2] < 60))[:, 1]
    assert columns.mean() > 150


def test_margins_of_another_mesh_are_refused(patient):
    with pytest.raises(OptionError, match="one finite number for each"):
        draw_margins(patient, score(np.ones(7)))
    with pytest.raises(OptionError, match="one finite number for each"):
        margin_bins(ball(1), np.full(42, np.nan))
    with pytest.raises(OptionError, match="zero or more"):
        margin_bins(ball(1), np.ones(42), -1.0)
