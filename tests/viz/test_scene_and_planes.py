"""What the pictures of the patient must show: sides, sizes, places."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from needleplan.anatomy.model import Anatomy
from needleplan.case.model import PatientPosition
from needleplan.errors import OptionError
from needleplan.viz.canvas import Picture, new_figure
from needleplan.viz.needles import NeedleShape, needle_bodies, turned
from needleplan.viz.offscreen import Body, View, render, render_views
from needleplan.viz.orientation import anatomical_axes, direction_letters
from needleplan.viz.planes import centroid_mm, draw_needle_planes, draw_planes, needle_plane
from needleplan.viz.scene import render_patient, render_target, union_surface

MOTION = np.eye(4)
MOTION[:3, :3] = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
MOTION[:3, 3] = (30.0, -40.0, 15.0)


def moved_anatomy(anatomy) -> Anatomy:
    surfaces = tuple(dataclasses.replace(s, mesh=s.mesh.moved(MOTION)) for s in anatomy.surfaces)
    return Anatomy(anatomy.case.moved(MOTION), surfaces, surfaces[0], anatomy.entry_faces)


def moved_insertion(insertion):
    def point(p):
        return tuple(MOTION[:3, :3] @ np.asarray(p) + MOTION[:3, 3])

    ablations = tuple(dataclasses.replace(a, tip_mm=point(a.tip_mm)) for a in insertion.ablations)
    return dataclasses.replace(
        insertion, entry_mm=point(insertion.entry_mm), tip_mm=point(insertion.tip_mm), ablations=ablations
    )


def pixels_like(image, color, tolerance=14):
    """(row, column) of pixels near a hexadecimal colour."""
    wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
    return np.argwhere((np.abs(image.astype(int) - wanted) <= tolerance).all(axis=-1))


def test_letters_of_directions():
    axes = np.eye(3)
    assert direction_letters((1, 0, 0), axes) == "L" and direction_letters((-1, 0, 0), axes) == "R"
    assert direction_letters((0, -1, 0), axes) == "A" and direction_letters((0, 0, -1), axes) == "I"
    assert direction_letters((-2, -1, 0.1), axes) == "RA"


@pytest.mark.parametrize("position", list(PatientPosition))
def test_anatomical_axes_stay_with_the_patient(patient, position):
    case = dataclasses.replace(patient.case, position=position, up=position.up)
    assert anatomical_axes(case) == pytest.approx(np.eye(3), abs=1e-12)
    assert anatomical_axes(case.moved(MOTION)) == pytest.approx(MOTION[:3, :3], abs=1e-9)


def test_axial_plane_has_the_patients_right_at_the_left_and_the_front_above(patient):
    image = draw_planes(patient, size=(1200, 800))
    assert image.shape == (800, 1200, 3) and image.dtype == np.uint8
    axial = image[:420, :330]  # upper left panel
    liver, tumour = pixels_like(axial, "#6b362e", 22), pixels_like(axial, "#e0bd43", 26)
    spleen = pixels_like(axial, "#543850", 18)
    bone = pixels_like(axial, "#c2b9a6", 26)
    assert min(len(liver), len(tumour), len(spleen), len(bone)) > 20
    assert liver[:, 1].mean() < spleen[:, 1].mean() - 40
    assert tumour[:, 1].mean() < spleen[:, 1].mean() - 40
    assert bone[:, 0].mean() < liver[:, 0].mean() - 20


def test_planes_move_with_the_patient(patient, insertions):
    here = draw_planes(patient, insertions, size=(900, 620))
    there = draw_planes(moved_anatomy(patient), [moved_insertion(i) for i in insertions], size=(900, 620))
    # The overview is framed by boxes along the world's axes, so the tilted patient is drawn smaller; what must
    # stay are the sides.
    for image in (here, there):
        axial = image[:320, :250]
        tumour, spleen = pixels_like(axial, "#e0bd43", 26), pixels_like(axial, "#543850", 18)
        assert len(tumour) > 4 and tumour[:, 1].mean() < spleen[:, 1].mean() - 15


def test_zone_margin_and_needles_appear_in_planes(patient, insertions, zone):
    bare = draw_planes(patient, size=(900, 620), margin_mm=0.0)
    full = draw_planes(patient, insertions, zone, size=(900, 620))
    for color in ("#41d3e8", "#ff8a3d"):
        assert len(pixels_like(bare[:, :740], color)) == 0
        assert len(pixels_like(full[:, :740], color)) > 30
    with pytest.raises(OptionError, match="margin"):
        draw_planes(patient, margin_mm=-1.0)


def test_needle_plane_holds_the_needle(patient, insertions):
    for insertion in insertions:
        plane = needle_plane(insertion, patient)
        ends = np.array([insertion.entry_mm, insertion.tip_mm])
        assert plane.distance_mm(ends) == pytest.approx([0.0, 0.0], abs=1e-9)
        assert plane.right @ (1.0, 0.0, 0.0) > 0.3
        assert plane.normal @ (0.0, 0.0, 1.0) > 0.3
    image = draw_needle_planes(patient, insertions, size=(900, 400))
    assert image.shape == (400, 900, 3)
    with pytest.raises(OptionError, match="at least one insertion"):
        draw_needle_planes(patient, [])


def test_centroid_is_that_of_the_volume(patient):
    assert centroid_mm(patient) == pytest.approx((-70.0, -25.0, 20.0), abs=1e-6)
    assert centroid_mm(moved_anatomy(patient)) == pytest.approx(
        MOTION[:3, :3] @ (-70.0, -25.0, 20.0) + MOTION[:3, 3], abs=1e-6
    )


def test_a_rendered_point_lies_where_the_view_says():
    place = np.array([12.0, -20.0, 9.0])
    ball = turned(np.array([[-1.5, 0.5], [-0.5, 1.5], [0.5, 1.5], [1.5, 0.5]]), place, np.array([0.0, 0.0, 1.0]))
    view = View((1.0, -2.0, 0.7), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 80.0)
    image = render([Body(ball, "#ff2020", shininess=0.0)], view, (400, 300), "#000000")
    assert image.shape == (300, 400, 3)
    found = np.argwhere(image[..., 0] > 60).mean(axis=0)[::-1]
    assert found == pytest.approx(view.pixels(place, (400, 300)), abs=1.5)


def test_views_of_bodies_made_ready_once_are_those_rendered_one_by_one(patient):
    skin, tumour = patient.surface("skin").mesh, patient.target.mesh
    colours = np.random.default_rng(0).integers(0, 255, (len(skin.faces), 3), dtype=np.uint8)
    bodies = [
        Body(skin, face_colors=colours, opacity=0.4, rim=0.8, hide_back=True),
        Body(tumour, "#ff2020", fade_mm=(90.0, 120.0)),
    ]
    # Also nearer and from the other side, so that nothing may be kept of the view before.
    views = [
        View((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 360.0),
        View((1.0, 2.0, 0.5), (0.0, 0.0, 1.0), (-40.0, 10.0, 5.0), 120.0),
        View((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0), 400.0),
    ]
    together = render_views(bodies, views, (240, 180), "#101010")
    assert len(together) == 3
    for view, image in zip(views, together, strict=True):
        assert np.array_equal(image, render(bodies, view, (240, 180), "#101010"))


def test_view_from_the_front_shows_the_right_at_the_left():
    view = View((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 100.0)
    assert view.pixels((-10.0, 0.0, 0.0), (200, 100))[0] < 100
    assert view.pixels((0.0, 0.0, 10.0), (200, 100))[1] < 50


def test_rim_makes_a_translucent_hull_stronger_at_its_edge(patient):
    skin = patient.surface("skin").mesh
    view = View((0.0, -1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 360.0)
    image = render([Body(skin, "#ffffff", opacity=0.1, rim=0.8, hide_back=True)], view, (240, 240), "#000000")
    row = image[120, :, 0].astype(int)
    inside = np.flatnonzero(row > 5)
    assert row[inside[2:6]].max() > 1.5 * row[120]


def test_pictures_of_the_patient_have_their_size_and_show_the_needles(patient, insertions, zone):
    for draw in (render_patient, render_target):
        image = draw(patient, insertions, zone, size=(700, 500))
        assert image.shape == (500, 700, 3) and image.dtype == np.uint8
        scene = image[:, :550]
        assert np.ptp(scene.reshape(-1, 3), axis=0).min() > 100
        bare = draw(patient, (), None, size=(700, 500))
        assert np.abs(bare.astype(int) - image).mean() > 0.5


def test_patient_from_the_front_shows_bone_between_liver_and_spleen_side(patient):
    image = render_patient(patient, direction=np.array([0.0, -1.0, 0.0]), size=(700, 500))[60:, :550]
    tumour_x = np.argwhere((image[..., 0] > 150) & (image[..., 2] < 0.55 * image[..., 0]))[:, 1].mean()
    bone_x = np.argwhere(image.min(axis=-1) > 150)[:, 1]
    assert tumour_x < np.median(bone_x) - 20


def test_needle_is_to_scale(insertions):
    insertion = insertions[0]
    shape = NeedleShape(shaft_mm=120.0, diameter_mm=2.0)
    shaft = needle_bodies(insertion, shape)[0].mesh.vertices_mm - np.asarray(insertion.tip_mm)
    along = shaft @ insertion.direction
    across = np.linalg.norm(shaft - along[:, None] * insertion.direction, axis=1)
    assert along.max() == pytest.approx(0.0, abs=1e-3) and along.min() == pytest.approx(-120.0, abs=1e-3)
    assert across.max() == pytest.approx(1.0, abs=1e-6)
    for body in needle_bodies(insertion, shape):
        assert body.mesh.volume_mm3 > 0
    with pytest.raises(OptionError, match="positive"):
        NeedleShape(shaft_mm=0.0)


def test_union_surface_lies_on_the_boundary_of_the_zone(zone):
    mesh = union_surface(zone)
    assert np.abs(zone.signed_distance_mm(mesh.vertices_mm)).max() < 0.35
    assert mesh.is_watertight and mesh.volume_mm3 > 4 / 3 * np.pi * 17.0**3


def test_too_small_a_picture_is_refused_and_png_is_written(tmp_path):
    with pytest.raises(OptionError, match="too small"):
        new_figure((50, 50), "#ffffff")
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path = Picture("one", "t", "c", pixels).save(tmp_path / "new")
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(path)), pixels)


def test_missing_opengl_is_one_sentence():
    code = (
        "import numpy as np\n"
        "from needleplan.anatomy.mesh import SurfaceMesh\n"
        "from needleplan.viz.offscreen import Body, RenderingError, View, render\n"
        "mesh = SurfaceMesh(np.eye(3), np.array([[0, 1, 2]]))\n"
        "try:\n"
        "    render([Body(mesh)], View((1, 1, 1), (0, 0, 1), (0, 0, 0), 3.0), (60, 40), '#000000')\n"
        "    print('DRAWN')\n"
        "except RenderingError as error:\n"
        "    print('REFUSED', error)\n"
    )
    # With no vendor of EGL and no display VTK has nothing left but OSMesa, which is drawn with where installed.
    environment = {"PATH": "/usr/bin:/bin", "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(("DRAWN", "REFUSED three-dimensional pictures cannot be drawn here"))
    assert len(run.stdout.strip().splitlines()) == 1
