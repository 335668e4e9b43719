"""What every zone model promises, asked through the contract alone: no test here knows the shape of a zone."""

from dataclasses import dataclass

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import motion, rotation
from scipy.spatial import cKDTree

from needleplan.ablation.contract import ZoneModel
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.errors import DeviceError
from needleplan.plan import Ablation, Insertion, vector3


@dataclass(frozen=True)
class Made:
    """A model, one of its applicators, settings that it knows, and settings that it must refuse."""

    model: ZoneModel
    applicator: str
    settings: tuple[tuple[float | None, float], ...]
    refused: tuple[tuple[float | None, float], ...]


def from_table(setting, applicator):
    """Corners of the applicator's table and a setting between its nodes, where it has any."""
    model = EllipsoidTableModel(setting=setting)
    table = model.table(applicator)
    low, high = float(table.durations_s[0]), float(table.durations_s[-1])
    between = float(0.4 * low + 0.6 * high)
    if table.generator_controlled:
        known = ((None, low), (None, high), (None, between))
        refused = ((50.0, high), (None, 1.01 * high), (None, 0.99 * low), (None, float("nan")), (None, -high))
        return Made(model, applicator, known, refused)
    least, most = float(table.powers_w[0]), float(table.powers_w[-1])
    known = ((least, low), (most, high), (0.5 * (least + most), between))
    refused = ((None, high), (1.01 * most, high), (0.99 * least, low), (most, 1.01 * high), (most, 0.99 * low))
    return Made(model, applicator, known, (*refused, (float("nan"), high), (most, float("nan")), (-most, high)))


def all_tables():
    for setting in ("in_vivo", "ex_vivo"):
        model = EllipsoidTableModel(setting=setting)
        for name in dict.fromkeys(row.applicator for row in model.catalogue.zones if row.setting == setting):
            yield f"table, {setting}, {name}", from_table(setting, name)


MADE = dict(all_tables())
#: The roundest and the longest zones, powers and none, for the dearer laws.
FEW = {name: MADE[name] for name in ("table, in_vivo, generic-mwa-2450", "table, ex_vivo, generic-rfa-cooled-40")}

every_made = pytest.mark.parametrize("made", MADE.values(), ids=MADE)
some_made = pytest.mark.parametrize("made", FEW.values(), ids=FEW)


def insertion(made, tip, direction, settings, step_mm=9.0):
    """A puncture of 90 mm with one ablation for each setting, the later ones further back."""
    tip, direction = np.asarray(tip, float), np.asarray(direction, float)
    ablations = tuple(
        Ablation(vector3(tip - k * step_mm * direction), power, duration)
        for k, (power, duration) in enumerate(settings)
    )
    return Insertion(vector3(tip - 90 * direction), vector3(tip), made.applicator, ablations)


def single(made):
    return [insertion(made, (31.0, -44.0, 12.0), rotation(5)[:, 0], made.settings[1:2])]


def several(made):
    """Three oblique insertions whose zones overlap, one of them with two ablations."""
    return [
        insertion(made, (31, -44, 12), rotation(5)[:, 0], made.settings[::2]),
        insertion(made, (37, -39, 17), rotation(6)[:, 1], made.settings[2:]),
        insertion(made, (27, -50, 15), rotation(7)[:, 2], made.settings[2:]),
    ]


def points_about(zone, count=3000, seed=0, beyond_mm=12.0):
    low, high = zone.bounds_mm
    return np.random.default_rng(seed).uniform(low - beyond_mm, high + beyond_mm, (count, 3))


def boundary(zone, count):
    """Pairs of points a millionth of a millimetre apart, the first in the zone and the second out of it."""
    points = points_about(zone, 8 * count, seed=1)
    held = zone.contains(points)
    inner, outer = points[held], points[~held]
    rng = np.random.default_rng(2)
    inner, outer = inner[rng.integers(0, len(inner), count)], outer[rng.integers(0, len(outer), count)]
    for _ in range(28):
        middle = 0.5 * (inner + outer)
        held = zone.contains(middle)[:, None]
        inner, outer = np.where(held, middle, inner), np.where(held, outer, middle)
    return inner, outer


def test_every_model_of_the_packages_is_held_to_its_contract():
    assert {type(made.model) for made in MADE.values()} == implementations(ZoneModel)
    assert len(MADE) >= 10
    tables = {(row.setting, row.applicator) for row in EllipsoidTableModel().catalogue.zones}
    assert len(MADE) == len(tables)


@every_made
def test_name_and_notes_tell_the_reader(made):
    assert made.model.name.strip() and made.model.name == type(made.model)(setting=made.model.setting).name
    assert made.model.notes and all(note.strip() and "\n" not in note for note in made.model.notes)


def test_models_that_predict_differently_have_different_names():
    assert len({made.model.name for made in MADE.values()}) == 2


@every_made
@pytest.mark.parametrize("zones", [single, several])
def test_signed_distance_is_positive_inside_and_lipschitz(made, zones):
    zone = made.model.zone(zones(made))
    points = points_about(zone)
    depth = zone.signed_distance_mm(points)
    assert depth.shape == (3000,) and np.isfinite(depth).all()
    sure = np.abs(depth) > 1e-9
    held = zone.contains(points)
    assert held.dtype == np.bool_
    np.testing.assert_array_equal(held[sure], (depth >= 0)[sure])
    assert 0.05 < held.mean() < 0.9
    rng = np.random.default_rng(4)
    for reach in (0.01, 1.0, 20.0):
        step = rng.normal(size=points.shape) * reach
        change = np.abs(zone.signed_distance_mm(points + step) - depth)
        assert (change <= np.linalg.norm(step, axis=1) + 1e-9).all()
    np.testing.assert_array_equal(zone.signed_distance_mm(points), depth)
    np.testing.assert_array_equal(zone.signed_distance_mm(points.tolist()[:50]), depth[:50])
    assert zone.signed_distance_mm(np.empty((0, 3))).shape == (0,)


@every_made
@pytest.mark.parametrize("zones", [single, several])
def test_bounds_are_the_extents_of_the_zone(made, zones):
    zone = made.model.zone(zones(made))
    low, high = zone.bounds_mm
    assert (low < high).all()
    inner, outer = boundary(zone, 15_000)
    for cloud in (inner, outer):
        assert (cloud >= low - 1e-5).all() and (cloud <= high + 1e-5).all()
    # Not larger than it: some point of the zone comes near each of the six faces.
    np.testing.assert_allclose([inner.min(axis=0), inner.max(axis=0)], [low, high], atol=0.35)
    np.testing.assert_allclose(zone.signed_distance_mm(np.concatenate([inner, outer])), 0.0, atol=1e-5)


@some_made
@pytest.mark.parametrize("zones", [single, several])
def test_margins_against_a_dense_search_of_the_boundary(made, zones):
    zone = made.model.zone(zones(made))
    points = points_about(zone, 2500, beyond_mm=4.0)
    depth, margin = zone.signed_distance_mm(points), zone.margin_mm(points)
    held = zone.contains(points)
    assert held.sum() > 300 and (~held).sum() > 300
    assert (margin >= depth - 1e-9).all()
    inner, outer = boundary(zone, 60_000)
    # How far a point of the boundary may lie from the cloud, from points that are not in the cloud.
    gap = 1.5 * cKDTree(inner[5000:]).query(inner[:5000])[0].max()
    assert gap < 2.0
    # A ball about a point of the zone with the margin as radius reaches no point outside.
    to_outside, _ = cKDTree(outer).query(points[held])
    assert (margin[held] <= to_outside + 1e-9).all() and (depth[held] <= to_outside + 1e-9).all()
    assert (margin[held] + zone.margin_error_mm + gap >= to_outside).all()
    to_inside, _ = cKDTree(inner).query(points[~held])
    for found in (margin[~held], depth[~held]):
        assert (-found <= to_inside + 1e-9).all() and (gap - found >= to_inside).all()
    assert 0.0 <= zone.margin_error_mm < 1.5
    for some in (points, points[held], points[~held], points[:1]):
        assert zone.least_margin_mm(some) == pytest.approx(zone.margin_mm(some).min(), abs=1e-9)
    # Where zones overlap the margin of the union is more than that within one of them.
    assert zones is single or (margin > depth + 0.1).any()


@some_made
@pytest.mark.parametrize("zones", [single, several])
def test_surfaces_bound_the_zone(made, zones):
    zone = made.model.zone(zones(made))
    surfaces = zone.surfaces()
    assert surfaces and all(mesh.is_watertight and mesh.volume_mm3 > 0 for mesh in surfaces)
    vertices = np.concatenate([mesh.vertices_mm for mesh in surfaces])
    assert zone.signed_distance_mm(vertices).min() > -0.05
    corners = np.concatenate([mesh.triangles_mm.mean(axis=1) for mesh in surfaces])
    _, outer = boundary(zone, 2000)
    assert cKDTree(corners).query(outer)[0].max() < 2.0


@every_made
def test_covering_is_signed_distance_of_at_least_the_radius(made):
    insertions = several(made)
    points = points_about(made.model.zone(insertions), 1500, seed=3, beyond_mm=2.0)
    radii = np.random.default_rng(5).uniform(0, 6, 1500)
    radii[:200] = 0.0
    for radius in (radii, 2.5, 0.0):
        covers = made.model.covering(insertions, points, radius)
        assert covers.shape == (3, 1500) and covers.dtype == np.bool_
        for row, one in zip(covers, insertions, strict=True):
            room = made.model.zone([one]).signed_distance_mm(points) - radius
            sure = np.abs(room) > 1e-9
            np.testing.assert_array_equal(row[sure], (room >= 0)[sure])
            assert row.any() and not row.all()
    assert made.model.covering(insertions, np.empty((0, 3)), 1.0).shape == (3, 0)


@every_made
def test_the_zone_of_a_moved_insertion_is_the_moved_zone(made):
    carry = motion(14)

    def moved(points):
        return np.asarray(points) @ carry[:3, :3].T + carry[:3, 3]

    insertions = several(made)
    carried = [
        Insertion(
            vector3(moved(one.entry_mm)),
            vector3(moved(one.tip_mm)),
            one.applicator,
            tuple(Ablation(vector3(moved(a.tip_mm)), a.power_w, a.duration_s) for a in one.ablations),
        )
        for one in insertions
    ]
    here, there = made.model.zone(insertions), made.model.zone(carried)
    points = points_about(here, 2000)
    expected = here.signed_distance_mm(points)
    np.testing.assert_allclose(there.signed_distance_mm(moved(points)), expected, atol=1e-8)
    # Stronger than the tolerance: where the needle points makes a difference.
    turned = made.model.zone([insertion(made, (31, -44, 12), rotation(9)[:, 2], made.settings[1:2])])
    assert (
        np.abs(turned.signed_distance_mm(points) - made.model.zone(single(made)).signed_distance_mm(points)).max()
        > 1
    )


@every_made
def test_order_does_not_matter_and_more_ablations_destroy_no_less(made):
    insertions = several(made)
    zone, reverse = made.model.zone(insertions), made.model.zone(insertions[::-1])
    points = points_about(zone)
    np.testing.assert_allclose(
        zone.signed_distance_mm(points), reverse.signed_distance_mm(points), rtol=0, atol=1e-9
    )
    np.testing.assert_array_equal(zone.bounds_mm, reverse.bounds_mm)
    parts = [made.model.zone([one]) for one in insertions]
    for part in parts:
        assert not (part.contains(points) & ~zone.contains(points)).any()
        assert (zone.bounds_mm[0] <= part.bounds_mm[0]).all() and (zone.bounds_mm[1] >= part.bounds_mm[1]).all()
    assert zone.contains(points).sum() > max(part.contains(points).sum() for part in parts)


def test_margins_do_not_depend_on_the_order():
    made = next(iter(FEW.values()))
    insertions = several(made)[1:]
    zone, reverse = made.model.zone(insertions), made.model.zone(insertions[::-1])
    points = points_about(zone, 1000)
    slack = max(zone.margin_error_mm, reverse.margin_error_mm)
    assert np.abs(zone.margin_mm(points) - reverse.margin_mm(points)).max() <= slack + 1e-9


@every_made
def test_no_insertion_destroys_nothing(made):
    zone = made.model.zone([])
    points = np.random.default_rng(0).normal(size=(50, 3)) * 20
    assert not zone.contains(points).any() and (zone.signed_distance_mm(points) < 0).all()
    assert made.model.covering([], points, 1.0).shape == (0, 50)


@every_made
def test_what_the_model_does_not_know_is_refused(made):
    one = single(made)[0]
    stranger = Insertion(one.entry_mm, one.tip_mm, "no such needle", one.ablations)
    for wrong in ([stranger], [one, stranger]):
        with pytest.raises(DeviceError) as caught:
            made.model.zone(wrong)
        assert "no such needle" in str(caught.value) and "\n" not in str(caught.value)
    for setting in made.refused:
        outside = insertion(made, one.tip_mm, one.direction, [made.settings[0], setting])
        with pytest.raises(DeviceError) as caught:
            made.model.zone([one, outside])
        assert made.applicator in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(DeviceError):
            made.model.covering([one, outside], np.zeros((1, 3)), 1.0)
    assert made.model.zone([one]).contains(points_about(made.model.zone([one]))).any()
