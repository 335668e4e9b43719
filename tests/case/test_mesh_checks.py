"""The gate for surfaces: what is mended becomes right, what cannot be is refused, what is right stays as it is."""

import numpy as np
import pytest
from small_case import ball

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.mesh_checks import mend_surface
from needleplan.case.model import Severity


def codes(findings, severity):
    return {finding.code for finding in findings if finding.severity is severity}


def joined(*meshes: SurfaceMesh) -> SurfaceMesh:
    start, vertices, faces = 0, [], []
    for mesh in meshes:
        vertices.append(mesh.vertices_mm)
        faces.append(mesh.faces + start)
        start += len(mesh.vertices_mm)
    return SurfaceMesh(np.concatenate(vertices), np.concatenate(faces))


BALL = ball((3.0, -40.0, 7.0), 20.0)


def test_a_good_surface_passes_untouched():
    mended, findings = mend_surface("a", BALL)
    assert findings == []
    np.testing.assert_array_equal(np.sort(mended.triangles_mm, axis=0), np.sort(BALL.triangles_mm, axis=0))


@pytest.mark.parametrize("change", ["inverted", "mirrored"])
def test_inward_surface_is_turned_and_said(change):
    mesh = BALL.flipped() if change == "inverted" else SurfaceMesh(BALL.vertices_mm * [-1, 1, 1], BALL.faces)
    assert mesh.volume_mm3 < 0
    mended, findings = mend_surface("a", mesh)
    assert mended.volume_mm3 == pytest.approx(BALL.volume_mm3) and mended.is_watertight
    assert codes(findings, Severity.MENDED) == {"inside-out"}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_mixed_winding_is_mended_whatever_the_share(share):
    faces = np.array(BALL.faces)
    turned = np.random.default_rng(4).random(len(faces)) < share
    faces[turned] = faces[turned][:, ::-1]
    mesh = SurfaceMesh(BALL.vertices_mm, faces)
    assert not mesh.is_watertight
    mended, findings = mend_surface("a", mesh)
    assert mended.is_watertight and mended.volume_mm3 == pytest.approx(BALL.volume_mm3)
    assert "mixed-orientation" in codes(findings, Severity.MENDED)


def test_moebius_strip_cannot_be_mended():
    u = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    edge = [
        np.stack([(30 + w * np.cos(u / 2)) * np.cos(u), (30 + w * np.cos(u / 2)) * np.sin(u), w * np.sin(u / 2)], 1)
        for w in (-8, 8)
    ]
    n = len(u)
    a = np.arange(n)
    b = (a + 1) % n
    c, d = a + n, np.where(a + 1 < n, a + 1 + n, 0)
    b = np.where(a + 1 < n, b, n)
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    mended, findings = mend_surface("a", SurfaceMesh(np.concatenate(edge), faces))
    assert mended is None and codes(findings, Severity.REFUSED) == {"holes"}


def test_repeated_faces_are_dropped():
    mesh = SurfaceMesh(BALL.vertices_mm, np.concatenate([BALL.faces, BALL.faces[:25]]))
    mended, findings = mend_surface("a", mesh)
    assert len(mended.faces) == len(BALL.faces) and mended.is_watertight
    assert codes(findings, Severity.MENDED) == {"double-faces"}


def test_a_tiny_hole_is_closed_and_a_large_one_refused():
    small = ball((0, 0, 0), 20.0, 4)
    keep = np.ones(len(small.faces), bool)
    keep[100] = False
    mended, findings = mend_surface("a", SurfaceMesh(small.vertices_mm, small.faces[keep]))
    assert mended.is_watertight and mended.volume_mm3 == pytest.approx(small.volume_mm3, rel=1e-3)
    assert codes(findings, Severity.WARNING) == {"tiny-holes"}
    far = np.linalg.norm(small.face_centres_mm - small.face_centres_mm[100], axis=1) > 6
    mended, findings = mend_surface("a", SurfaceMesh(small.vertices_mm, small.faces[far]))
    assert mended is None and codes(findings, Severity.REFUSED) == {"holes"}


@pytest.mark.parametrize("shift", [0.5, 3.0, 25.0])
def test_overlapping_shells_are_refused_although_watertight(shift):
    mesh = joined(BALL, SurfaceMesh(BALL.vertices_mm + np.array([shift, 0.3, 0.1]), BALL.faces))
    assert mesh.is_watertight
    mended, findings = mend_surface("a", mesh)
    assert mended is None and codes(findings, Severity.REFUSED) == {"overlapping-shells"}


def test_separate_pieces_are_kept_and_noted():
    mesh = joined(BALL, ball((3.0, 20.0, 7.0), 2.0))
    mended, findings = mend_surface("a", mesh)
    assert mended.volume_mm3 == pytest.approx(mesh.volume_mm3)
    assert codes(findings, Severity.NOTE) == {"pieces"} and "99.9 %" in findings[0].message


@pytest.mark.parametrize("whole_inverted", [False, True])
def test_a_cavity_stays_a_cavity(whole_inverted):
    mesh = joined(BALL, ball((3.0, -40.0, 7.0), 8.0).flipped())
    mended, findings = mend_surface("a", mesh.flipped() if whole_inverted else mesh)
    assert mended.volume_mm3 == pytest.approx(mesh.volume_mm3) and mended.volume_mm3 < BALL.volume_mm3
    assert "cavities" in codes(findings, Severity.NOTE)


def test_a_second_solid_inside_is_dropped():
    mended, findings = mend_surface("a", joined(BALL, ball((3.0, -40.0, 7.0), 8.0)))
    assert mended.volume_mm3 == pytest.approx(BALL.volume_mm3)
    assert codes(findings, Severity.MENDED) == {"inner-shells"}


def test_a_surface_without_volume_is_refused():
    mended, findings = mend_surface("a", SurfaceMesh(np.eye(3) * 10, np.array([[0, 1, 2], [0, 0, 1]])))
    assert mended is None and codes(findings, Severity.REFUSED) <= {"holes", "empty"}
