"""Slices of a scene: where they lie, what the note says of it, and that no outline gets lost on the way."""

import itertools
import re

import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.page.scene_planes import (
    FAR_TOLERANCE_MM,
    NEAR_TOLERANCE_MM,
    SlicedBody,
    _cuts,
    planes_of_scene,
    simplified_loop,
    slice_offsets_mm,
)
from needleplan.viz.orientation import anatomical_axes
from needleplan.viz.section import ImagePlane, anatomical_planes, outlines
from tests.sim.made_patient import ellipsoid, make_anatomy


@pytest.mark.parametrize(
    ("low", "high", "step"), [(-20.0, 31.0, 3.0), (-60.0, 60.0, 3.0), (-61.0, 60.0, 6.0), (-9.0, 400.0, 12.0)]
)
def test_slices_lie_a_whole_multiple_apart_and_hold_the_middle(low, high, step):
    offsets = slice_offsets_mm(low, high)
    assert 0.0 in offsets and len(offsets) <= 41
    assert np.diff(offsets) == pytest.approx(np.full(len(offsets) - 1, step))
    assert offsets[0] <= low < offsets[1] and offsets[-2] < high <= offsets[-1]


def test_the_note_says_how_far_the_slices_of_each_view_lie_apart():
    anatomy = make_anatomy()
    axes = anatomical_axes(anatomy.case)
    centre = anatomy.target.mesh.vertices_mm.mean(axis=0)
    for half, told in (((14.0, 12.0, 15.0), None), ((14.0, 12.0, 100.0), (6.0, 3.0, 3.0))):
        ball = ellipsoid((0.0, 0.0, 0.0), half, 12)
        long = SurfaceMesh(ball.vertices_mm @ axes.T + centre + 0.4 * axes[:, 2], ball.faces)
        made = planes_of_scene(anatomy, centre, [SlicedBody("b", long, True, near=True)], [])
        found = {}
        for view in made["views"]:
            offsets = [one["offset_mm"] for one in view["slices"]]
            assert 0.0 in offsets
            (found[view["id"]],) = set(np.round(np.diff(offsets), 6))
        if told is None:
            assert set(found.values()) == {3.0} and made["note"].startswith("Slices every 3 mm, in radiological")
        else:
            assert tuple(found.values()) == told
            said = re.findall(r"(\d+) mm \((\w+)\)", made["note"])
            assert {name: float(step) for step, name in said} == found


def test_slices_through_vertices_cut_what_the_whole_mesh_gives(caplog):
    axes = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
    axial = anatomical_planes((31.3, -12.7, 57.1), axes)[0]
    offsets = slice_offsets_mm(-31.0, 31.0)
    ball = ellipsoid((0.0, 0.0, 0.0), (25.0, 18.0, 30.0), 30)
    # Every vertex lies on a slice, but for rounding.
    flat = ball.vertices_mm.copy()
    flat[:, 2] = 3.0 * np.rint(flat[:, 2] / 3.0)
    mesh = SurfaceMesh(axial.origin_mm + flat @ np.stack([axial.right, axial.down, axial.normal]), ball.faces)
    cut = dict(_cuts(mesh, axial, offsets))
    for k, offset in enumerate(offsets):
        there = ImagePlane("axial", axial.origin_mm + offset * axial.normal, axial.right, axial.down)
        whole = outlines(mesh, there)
        assert sum(map(len, cut.get(k, []))) == sum(map(len, whole))
    assert sum(map(len, itertools.chain(*cut.values()))) > 500 and not caplog.records


@pytest.mark.parametrize(
    ("origin", "tolerance"), [((0.0, 0.0), NEAR_TOLERANCE_MM), ((90.0, 30.0), FAR_TOLERANCE_MM)]
)
def test_a_loop_longer_than_the_tolerance_is_kept_however_thin(origin, tolerance):
    # The first corner is in the middle of a long side.
    angle = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False) + 0.5 * np.pi
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    for half in (0.6 * tolerance, 4.0, 20.0):
        thin = np.stack([half * np.cos(angle), 0.4 * tolerance * np.sin(angle)], axis=1) @ turn.T + origin
        light = simplified_loop(thin)
        assert len(light) >= 3
        assert np.ptp(light @ turn[:, 0]) == pytest.approx(np.ptp(thin @ turn[:, 0]), abs=2 * tolerance)
    speck = 0.3 * tolerance * np.stack([np.cos(angle), np.sin(angle)], axis=1) + origin
    assert len(simplified_loop(speck)) < 3
