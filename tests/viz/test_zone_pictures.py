"""Sections, stills, film and surfaces of a growing zone, on fields with known shapes."""

import imageio_ffmpeg
import numpy as np
import pytest

from needleplan.ablation.contract import ZonePrediction
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import HeatSnapshot
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.tissue_map import Cylinder
from needleplan.errors import OptionError
from needleplan.frames import perpendicular_axes, unit_vector
from needleplan.grid import Grid, ScalarField
from needleplan.viz.palette import BACKGROUND, rgb
from needleplan.viz.scene import render_target
from needleplan.viz.zone_drawing import draw_section, wrapped_entry
from needleplan.viz.zone_growth import (
    GrowthRecorder,
    clock,
    draw_growth,
    make_growth_film,
    select_stills,
    volume_where_positive_ml,
)
from needleplan.viz.zone_looks import CENTRAL, COLD, HEAT, VESSEL, DrawnPart, DrawnVessel, cylinder_mesh
from needleplan.viz.zone_scene import (
    criterion_layers,
    isotherm_layers,
    layer_bodies,
    render_zone,
    render_zone_in_patient,
    time_layers,
)
from needleplan.viz.zone_section import (
    SectionGrid,
    SectionImage,
    look_of_field,
    plane_along,
    section_box,
    shown_field,
)

AXIS = unit_vector([0.5, 0.75, -0.4])
TIP = np.array([14.0, -6.0, 22.0])
ASIDE = perpendicular_axes(AXIS)[1]
MIDDLE = TIP - 8.0 * AXIS
#: Of the patient in conftest.
TUMOUR_MM = np.array([-70.0, -25.0, 20.0])


def oblique_grid(count=29, step=2.0) -> Grid:
    """Cubic voxels along the needle, as solvers lay them."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([ASIDE, np.cross(AXIS, ASIDE), AXIS], axis=1) * step
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ np.full(3, (count - 1) / 2)
    return Grid((count, count, count), matrix)


GRID = oblique_grid()
RADIUS_MM = np.linalg.norm(GRID.centres_mm() - MIDDLE, axis=1).reshape(GRID.shape)


def heated(time_s: float, extent_mm: float) -> HeatSnapshot:
    """A warm ball whose zone has the radius ``extent_mm``."""
    temperature = 37.0 + 70.0 * np.exp(-((RADIUS_MM / (1.2 * extent_mm + 4.0)) ** 2))
    power = 30.0 if time_s < 100 else 0.0
    level = (extent_mm - RADIUS_MM).astype(np.float32)
    return HeatSnapshot(time_s, GRID, temperature.astype(np.float32), level, power)


PARTS = (
    DrawnPart(tuple(TIP - 60 * AXIS), tuple(TIP - 15 * AXIS), 2.0, False),
    DrawnPart(tuple(TIP - 15 * AXIS), tuple(TIP), 2.0, True),
)
CYLINDER = Cylinder(tuple(MIDDLE + 15 * ASIDE - 90 * AXIS), tuple(MIDDLE + 15 * ASIDE + 90 * AXIS), 3.0)
VESSELS = (DrawnVessel("vessel, 6 mm", cylinder_mesh(CYLINDER)),)


@pytest.fixture(scope="module")
def recorder() -> GrowthRecorder:
    recording = GrowthRecorder(plane_along(TIP, AXIS, TIP + 30 * ASIDE - 5 * AXIS))
    for k in range(12):
        recording(heated(10.0 * (k + 1), -2.0 + 1.1 * k))
    return recording


def count_of(pixels, color: str, tolerance: int = 24) -> int:
    return int((np.abs(pixels.astype(int) - np.round(np.array(rgb(color)) * 255)).max(axis=-1) < tolerance).sum())


def test_the_plane_holds_needle_and_neighbour():
    plane = plane_along(TIP, AXIS, TIP + 30 * ASIDE - 5 * AXIS)
    assert np.abs(plane.distance_mm([TIP, TIP - 40 * AXIS, TIP + 30 * ASIDE])).max() < 1e-9
    assert plane.flat(TIP - 40 * AXIS) == pytest.approx([0.0, -40.0], abs=1e-9)
    assert plane.flat(TIP + 30 * ASIDE) == pytest.approx([30.0, 0.0], abs=1e-9)
    alone = plane_along(TIP, AXIS, TIP + 9 * AXIS)
    assert abs(alone.right @ AXIS) < 1e-12


def test_a_section_samples_a_linear_field_exactly():
    plane = plane_along(TIP, AXIS, TIP + ASIDE + 0.3 * np.cross(AXIS, ASIDE))
    slope = np.array([0.7, -1.3, 0.4])
    field = ScalarField(GRID, (GRID.centres_mm() @ slope).reshape(GRID.shape).astype(np.float32))
    grid = SectionGrid.through(GRID, plane)
    values = grid.sample(field)
    inside = np.isfinite(values)
    assert inside.mean() > 0.7 and not inside.all()
    expected = (grid.points_mm @ slope).reshape(values.shape)
    assert np.abs(values - expected)[inside].max() < 1e-3
    assert np.diff(grid.x_mm).max() == pytest.approx(1.0)


def test_signed_distances_in_a_section_are_those_of_the_zone():
    plane = plane_along(TIP, AXIS, TIP + ASIDE)
    grid = SectionGrid.through(GRID, plane)
    zone = SpheroidUnion(MIDDLE[None], AXIS[None], [14.0], [14.0])
    flat = grid.points_mm - MIDDLE
    expected = 14.0 - np.linalg.norm(flat, axis=1)
    assert grid.signed_distance(zone).ravel() == pytest.approx(expected, abs=1e-3)
    empty = FieldZone(ScalarField(GRID, np.full(GRID.shape, -1.0, dtype=np.float32)))
    assert np.isfinite(grid.signed_distance(empty)).all()
    assert grid.signed_distance(empty).max() < 0


def test_the_box_shows_zone_needle_and_a_vessel_beside(recorder):
    images = [frame.image for frame in recorder.frames]
    alone = section_box(images, PARTS, ())
    beside = section_box(images, PARTS, VESSELS)
    # The last zone is a ball of 10.1 mm about a point 8 mm behind the tip.
    assert alone[0] == pytest.approx(-17.1, abs=1.1) and alone[2] == pytest.approx(-25.1, abs=1.1)
    assert beside[1] >= 18.0 + 2.9 and beside[1] > alone[1]
    # A vessel that runs on along the needle does not stretch the picture along it.
    assert beside[2:] == alone[2:]
    left, right, top, bottom = section_box(images, PARTS, VESSELS, aspect=1.0)
    assert (right - left) / (bottom - top) == pytest.approx(1.0, abs=1e-6)
    far = DrawnVessel(
        "far", cylinder_mesh(Cylinder(tuple(MIDDLE + 80 * ASIDE), tuple(MIDDLE + 80 * ASIDE + AXIS), 3.0))
    )
    assert section_box(images, PARTS, (far,)) == alone


def test_volume_over_time_is_that_of_the_zone():
    # Two and a half voxels of radius, and nearly six.
    for radius, tolerance in ((5.0, 0.10), (11.3, 0.03)):
        level = (radius - RADIUS_MM).astype(np.float32)
        volume = 4 / 3 * np.pi * radius**3 / 1000
        assert volume_where_positive_ml(GRID, level) == pytest.approx(volume, rel=tolerance)
    assert volume_where_positive_ml(GRID, np.full(GRID.shape, -1.0, dtype=np.float32)) == 0.0


def test_a_recorder_keeps_the_growth_and_the_hottest_moment(recorder):
    assert [frame.time_s for frame in recorder.frames] == [10.0 * (k + 1) for k in range(12)]
    volumes = [frame.volume_ml for frame in recorder.frames]
    assert volumes == sorted(volumes) and volumes[0] == 0.0 and volumes[-1] > 4.0
    assert recorder.peak is recorder.frames[-1]
    assert recorder.extreme is not None and recorder.extreme.values.max() > 100
    with pytest.raises(OptionError, match="no moment"):
        _ = GrowthRecorder(recorder.plane).peak


def test_stills_are_evenly_spaced_and_end_with_the_last(recorder):
    assert [f.time_s for f in select_stills(recorder.frames, 4)] == [30.0, 60.0, 90.0, 120.0]
    assert [f.time_s for f in select_stills(recorder.frames[:2], 5)] == [10.0, 20.0]
    with pytest.raises(OptionError, match="one still"):
        select_stills(recorder.frames, 0)
    assert clock(125.4) == "2:05" and clock(59.7) == "1:00"


def test_the_panel_of_stills_shows_the_zone_growing(recorder):
    picture = draw_growth(recorder.frames, PARTS, VESSELS, title="growing", stills=4)
    assert picture.shape == (640, 1800, 3)
    # Legends below and captions above left out, each still holds more of the zone's outline than the one before.
    middle = picture[120:540, :1700]
    counts = [count_of(part, CENTRAL) for part in np.array_split(middle, 4, axis=1)]
    assert counts[0] < counts[1] < counts[2] < counts[3] and counts[3] > 800
    with pytest.raises(OptionError, match="no moment"):
        draw_growth([], PARTS, title="nothing")


def test_a_section_shows_bounds_vessel_and_field(recorder):
    frame = recorder.frames[-1]
    outer = frame.image.level + 3.0
    image = SectionImage(frame.image.grid, frame.image.values, frame.image.level, (("60 °C or more", outer),))
    look = look_of_field("temperature_c", image.values)
    plain = draw_section(frame.image, look, PARTS, title="zone", caption="2:00 min")
    full = draw_section(image, look, PARTS, VESSELS, title="zone", caption="2:00 min", criterion="zone: Omega 1")
    assert full.shape == (820, 1280, 3)
    left = slice(0, 790)
    assert count_of(plain[:, left], VESSEL) == 0 < 5000 < count_of(full[:, left], "#4d69c3", 12)
    assert count_of(full[:, left], CENTRAL) > 1500
    assert count_of(full[:, left], "#fcffa4", 40) > 500  # the hottest end of the map


def test_the_look_follows_the_field():
    assert look_of_field("temperature_c", np.array([37.0, 90.0])).colors == HEAT.colors
    assert look_of_field("coldest_c", np.array([37.0, -60.0, np.nan])).colors == COLD.colors
    assert look_of_field("field_v_cm", np.array([0.0, 900.0])).unit == "V/cm"
    with pytest.raises(OptionError, match="no picture shows the field 'fluence'"):
        look_of_field("fluence", np.array([1.0]))
    zone = SpheroidUnion(MIDDLE[None], AXIS[None], [9.0], [9.0])
    assert shown_field(ZonePrediction(zone, "table")) is None
    # Surfaces of rising values are told apart in grey too.
    grey = [np.array(rgb(HEAT.surface_color(v))) @ (0.3, 0.6, 0.1) for v in HEAT.lines]
    assert grey == sorted(grey) and min(grey) > 0.15
    cold = [np.array(rgb(COLD.surface_color(v))) @ (0.3, 0.6, 0.1) for v in sorted(COLD.lines)]
    assert cold == sorted(cold, reverse=True) and min(cold) > 0.15


def test_long_legend_lines_are_broken_but_not_between_number_and_unit():
    from needleplan.viz.overlay import LegendEntry

    lines = wrapped_entry(LegendEntry("240 equivalent minutes at 43 °C or more", CENTRAL, "dashed"), 26)
    assert [line.style for line in lines] == ["dashed", "text"]
    assert not lines[0].label.endswith("43") and lines[1].label.strip().startswith("43")


def test_a_film_has_a_frame_for_each_moment_and_stays_on_the_last(recorder, tmp_path):
    path = make_growth_film(tmp_path / "g.mp4", recorder.frames[-4:], PARTS, VESSELS, title="t", caption="c")
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    frames = [np.frombuffer(data, dtype=np.uint8).reshape(720, 1280, 3) for data in reader]
    assert meta["size"] == (1280, 720) and len(frames) == 4 + 18
    first, last = frames[0][90:, :780].astype(int), frames[-1][90:, :780].astype(int)
    assert np.abs(first - last).max() > 100
    with pytest.raises(OptionError, match="no moment"):
        make_growth_film(tmp_path / "none.mp4", [], PARTS, title="t", caption="c")
    assert not (tmp_path / "none.mp4").exists()


def test_isotherms_are_nested_and_cold_ones_fall_inwards(recorder):
    layers = isotherm_layers(recorder.extreme, HEAT)
    assert [layer.label for layer in layers] == ["50 °C", "60 °C", "75 °C", "90 °C"]
    volumes = [sum(mesh.volume_mm3 for mesh in layer.surfaces) for layer in layers]
    assert volumes == sorted(volumes, reverse=True)
    # T = 37 + 70 exp(-(r / s)^2), so each isotherm is a ball.
    scale = 1.2 * (-2.0 + 1.1 * 11) + 4.0
    for volume, value in zip(volumes, HEAT.lines, strict=True):
        radius = scale * np.sqrt(np.log(70.0 / (value - 37.0)))
        assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)
    cold = ScalarField(GRID, (37.0 - 120.0 * np.exp(-((RADIUS_MM / 14.0) ** 2))).astype(np.float32))
    layers = isotherm_layers(cold, COLD, falling=True)
    assert [layer.label for layer in layers] == ["0 °C", "\u221220 °C", "\u221240 °C"]
    volumes = [layer.surfaces[0].volume_mm3 for layer in layers]
    assert volumes == sorted(volumes, reverse=True)


def test_zones_by_time_are_nested_the_last_outermost(recorder):
    layers = time_layers(recorder.frames, 4)
    assert [layer.label for layer in layers] == ["2:00 min", "1:30 min", "1:00 min", "0:30 min"]
    volumes = [sum(mesh.volume_mm3 for mesh in layer.surfaces) for layer in layers]
    assert volumes == sorted(volumes, reverse=True) and len(set(volumes)) == 4
    # A ball of five voxels of radius loses little to interpolation.
    assert volumes[0] == pytest.approx(4 / 3 * np.pi * (-2.0 + 1.1 * 11) ** 3, rel=0.05)
    with pytest.raises(OptionError, match="no moment"):
        time_layers([])


def test_criteria_are_nested_with_the_zone_among_them_and_empty_ones_left_out():
    def ball(radius):
        return SpheroidUnion(MIDDLE[None], AXIS[None], [radius], [radius])

    empty = FieldZone(ScalarField(GRID, np.full(GRID.shape, -1.0, dtype=np.float32)))
    two = SpheroidUnion(np.stack([MIDDLE, MIDDLE + 6 * ASIDE]), np.stack([AXIS, AXIS]), [5.0, 5.0], [5.0, 5.0])
    prediction = ZonePrediction(ball(10.0), "own", other_zones={"inner": two, "none": empty, "outer": ball(13.0)})
    layers = criterion_layers(prediction)
    assert [(layer.label, layer.is_central) for layer in layers] == [
        ("outer", False), ("zone", True), ("inner", False),
    ]  # fmt: skip
    assert all(len(layer.surfaces) == 1 for layer in layers)
    opacities = [body.opacity for body in layer_bodies(layers)]
    assert opacities == sorted(opacities)


def test_the_scene_shows_surfaces_through_each_other_and_the_vessel(recorder):
    layers = isotherm_layers(recorder.extreme, HEAT)
    full = render_zone(layers, PARTS, VESSELS, title="isotherms", caption="liver", size=(900, 640))
    outer = render_zone(layers[:1], PARTS, VESSELS, title="isotherms", caption="liver", size=(900, 640))
    bare = render_zone(layers, PARTS, title="isotherms", caption="liver", size=(900, 640))
    assert full.shape == (640, 900, 3)
    scene = np.s_[70:, :700]
    # What lies within the outermost surface is seen through it.
    assert np.abs(full[scene].astype(int) - outer[scene].astype(int)).max() > 40

    def blue(pixels):
        red_part, blue_part = pixels[scene][..., 0].astype(int), pixels[scene][..., 2].astype(int)
        return int((blue_part > red_part + 60).sum())

    assert blue(full) > 5000 > blue(bare)


def test_nested_surfaces_stand_in_the_scene_of_a_patient(patient, insertions, zone):
    def ball(radius):
        return SpheroidUnion(TUMOUR_MM[None], np.array([[0.0, 1.0, 0.0]]), [radius], [radius])

    prediction = ZonePrediction(ball(17.0), "own", other_zones={"outer": ball(22.0), "inner": ball(12.0)})
    layers = criterion_layers(prediction, "zone")
    size = (900, 640)
    nested = render_zone_in_patient(patient, insertions, layers, size=size)
    plain = render_target(patient, insertions, size=size)
    single = render_target(patient, insertions, zone, size=size)
    assert nested.shape == plain.shape == single.shape == (640, 900, 3)
    legend = np.s_[:, 730:]
    for layer in layers:
        patch = np.round(0.6 * np.array(rgb(layer.color)) * 255 + 0.4 * np.array(rgb(BACKGROUND)) * 255)
        found = [int((np.abs(p[legend].astype(int) - patch).max(axis=-1) < 6).sum()) for p in (nested, plain)]
        assert found[0] > 100 > found[1]
    assert np.abs(nested.astype(int) - plain.astype(int)).max() > 60
