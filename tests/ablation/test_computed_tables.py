"""Spheroids inside zones, and the zone tables that solvers compute."""

import numpy as np
import pytest
from made_cases import rotation

from needleplan.ablation.computed_tables import computed_table, usual_settings
from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.inscribed import InscribedSpheroid, NeedleProfile, least_distance_to_origin
from needleplan.ablation.model_choice import even_freezes, solver_for
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, PhysicsError
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Ablation, Insertion, vector3

NAME = "generic-mwa-915"
TIP = np.array([31.0, -44.0, 12.0])
#: Along an oblique needle, and across it.
AXIS, ACROSS = rotation(5)[:, 0], rotation(5)[:, 1]


def field_zone(depth, middle, reach_mm=30.0, spacing_mm=(1.0, 1.3, 0.8)):
    """The zone in which a function of points is at least zero, on an oblique, anisotropic grid about a middle."""
    shape = tuple(int(2 * reach_mm / step) + 1 for step in spacing_mm)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(9) * spacing_mm
    matrix[:3, 3] = np.asarray(middle) - matrix[:3, :3] @ (0.5 * (np.array(shape) - 1.0))
    grid = Grid(shape, matrix)
    return FieldZone(ScalarField(grid, depth(grid.centres_mm()).reshape(shape).astype(np.float32)))


def ball_zone(centre, radius):
    return field_zone(lambda points: radius - np.linalg.norm(points - centre, axis=1), centre)


def on_surface(spheroid, tip=TIP, axis=AXIS, count=4000):
    """Points on the surface of a spheroid about a needle, evenly by the golden angle on the unit ball."""
    k = np.arange(count) + 0.5
    z, turn = 1.0 - 2.0 * k / count, np.pi * (1.0 + 5.0**0.5) * k
    x, y = np.sqrt(1.0 - z * z) * np.cos(turn), np.sqrt(1.0 - z * z) * np.sin(turn)
    one = np.cross(axis, (0.3, 0.5, -0.8))
    one /= np.linalg.norm(one)
    local = np.stack([one, np.cross(axis, one), axis])
    return (
        tip
        - spheroid.tip_to_centre_mm * axis
        + np.stack([spheroid.radial_mm * x, spheroid.radial_mm * y, spheroid.axial_mm * z], axis=1) @ local
    )


def test_the_spheroid_in_a_ball_about_the_needle_is_the_ball():
    for zone in (ball_zone(TIP - 6.0 * AXIS, 17.0), SpheroidUnion([TIP - 6.0 * AXIS], [ACROSS], [17.0], [17.0])):
        found = NeedleProfile(zone, TIP, AXIS).largest(6.0)
        assert found.radial_mm == pytest.approx(17.0, abs=0.1)
        assert found.axial_mm == pytest.approx(17.0, abs=0.4)
        assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 17.0**3 / 1000, rel=0.01)
        assert zone.signed_distance_mm(on_surface(found)).min() >= -1e-6


def test_about_another_centre_it_touches_the_ball_from_inside():
    """A ball of R, the centre h off its middle: of all spheroids there the best by closed form, found densely."""
    radius, off = 15.0, 5.0
    zone = ball_zone(TIP - 9.0 * AXIS, radius)
    found = NeedleProfile(zone, TIP, AXIS).largest(9.0 + off)
    angle = np.linspace(0.0, np.pi, 20001)
    z, r = radius * np.cos(angle) + off, radius * np.sin(angle)
    best = max(k * np.sqrt((z * z / k**2 + r * r).min()) ** 3 for k in np.geomspace(0.3, 3.0, 2000))
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * best / 1000, rel=0.02)
    assert zone.signed_distance_mm(on_surface(found)).min() >= -1e-6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_an_uneven_zone_it_lies_inside_and_none_larger_does(seed):
    """Lumps along and across the needle, none of them a body of revolution."""
    rng = np.random.default_rng(seed)
    middles = TIP - 10.0 * AXIS + rng.normal(size=(6, 3)) * 4.0
    radii = rng.uniform(9.0, 13.0, 6)

    def depth(points):
        return (radii - np.linalg.norm(points[:, None] - middles, axis=2)).max(axis=1)

    zone = field_zone(depth, TIP - 10.0 * AXIS, spacing_mm=(1.5, 1.8, 1.3))
    profile = NeedleProfile(zone, TIP, AXIS)
    found = profile.largest(10.0)
    assert zone.signed_distance_mm(on_surface(found)).min() >= -1e-6
    # Any other elongation of a volume two percent larger leaves the zone.
    for k in np.geomspace(0.5, 2.0, 24):
        radial = np.cbrt(1.02 * found.axial_mm * found.radial_mm**2 / k)
        larger = InscribedSpheroid(k * radial, radial, 10.0)
        assert zone.signed_distance_mm(on_surface(larger, count=1500)).min() < 0
    # The estimate knows the corners of the surface alone: never smaller than what the triangles allow.
    assert profile.estimate(10.0).volume_ml >= 0.999 * found.volume_ml


def test_a_spheroid_that_must_hold_another_does_so_where_the_zone_does():
    zone = ball_zone(TIP - 9.0 * AXIS, 15.0)
    profile = NeedleProfile(zone, TIP, AXIS)
    free = profile.largest(14.0)
    flat = InscribedSpheroid(0.5 * free.axial_mm, 1.05 * free.radial_mm, 14.0)
    assert not free.holds(flat)
    held = profile.largest(14.0, flat)
    assert held.holds(flat) and held.volume_ml <= free.volume_ml
    assert zone.signed_distance_mm(on_surface(held)).min() >= -1e-6
    # One that the zone itself does not hold cannot be held.
    assert profile.largest(14.0, InscribedSpheroid(14.0, 14.0, 14.0)) == free


def test_distances_to_triangles_agree_with_dense_points_on_them():
    rng = np.random.default_rng(4)
    u, v = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    inside = u + v <= 1.0
    u, v = u[inside], v[inside]
    for _ in range(60):
        triangle = rng.normal(size=(1, 3, 3)) * rng.uniform(0.2, 3.0, 3) + rng.normal(size=3)
        a, b, c = triangle[0]
        dense = np.linalg.norm(a + u[:, None] * (b - a) + v[:, None] * (c - a), axis=1).min()
        found = least_distance_to_origin(triangle)
        assert found <= dense + 1e-12
        assert found == pytest.approx(dense, abs=0.05)
    # A triangle without area counts by its edges.
    assert least_distance_to_origin(np.array([[[1.0, -2, 0], [1, 2, 0], [1, 1, 0]]])) == pytest.approx(1.0)


class Balls(ZoneModel):
    """Balls about a point of the needle, their radius a power of energy; nothing below a threshold."""

    def __init__(self, behind_mm=7.0, least_j=0.0):
        self.behind_mm, self.least_j = behind_mm, least_j

    name = "made balls"
    notes = ("made up",)

    def predict(self, insertions, tissue=None):
        (insertion,) = insertions
        (ablation,) = insertion.ablations
        energy = (ablation.power_w or 50.0) * ablation.duration_s
        if energy < self.least_j:
            grid = Grid((2, 2, 2), np.eye(4))
            return ZonePrediction(FieldZone(ScalarField(grid, np.full((2, 2, 2), -1.0, np.float32))), "made")
        centre = np.asarray(ablation.tip_mm) - self.behind_mm * insertion.direction
        return ZonePrediction(ball_zone(centre, energy**0.3), "made")


def test_a_table_of_made_balls_has_their_sizes_and_their_middle():
    table = computed_table(NAME, (20.0, 40.0, 60.0), (200.0, 600.0), model_for=lambda _: Balls())
    (applicator,) = table.catalogue.applicators
    assert applicator.tip_to_centre_mm == pytest.approx(7.0, abs=0.5) and not applicator.is_vendor_table
    assert len(table.zones) == len(table.catalogue.zones) == 6
    for zone, row in zip(table.zones, table.catalogue.zones, strict=True):
        diameter = 2.0 * (row.power_w * row.duration_s) ** 0.3
        assert row.diameter_mm == pytest.approx(diameter, rel=0.02)
        assert row.axial_length_mm == pytest.approx(diameter, rel=0.03)
        assert 0.0 <= zone.shortfall_ml < 0.06 * zone.zone_ml
        assert row.provenance == "COMPUTED" and row.source == "made balls"
    # As good as any table for coverage: it predicts, and its rows hold one another.
    model = EllipsoidTableModel(table.catalogue)
    tip = vector3(TIP)
    insertion = Insertion(vector3(TIP - 90 * AXIS), tip, NAME, (Ablation(tip, 60.0, 600.0),))
    true = Balls().predict([insertion]).zone
    assert true.signed_distance_mm(on_surface(table.zones[-1].spheroid)).min() >= -1e-6
    assert model.zone([insertion]).signed_distance_mm([TIP - 7.0 * AXIS])[0] == pytest.approx(
        36000.0**0.3, rel=0.02
    )
    for zone in table.zones:
        for other in table.zones:
            if other.power_w <= zone.power_w and other.duration_s <= zone.duration_s:
                assert zone.spheroid.holds(other.spheroid)


def test_a_centre_that_is_asked_for_is_kept():
    table = computed_table(NAME, (60.0,), (600.0,), tip_to_centre_mm=11.0, model_for=lambda _: Balls())
    assert table.catalogue.applicators[0].tip_to_centre_mm == 11.0
    free = computed_table(NAME, (60.0,), (600.0,), model_for=lambda _: Balls())
    assert table.zones[0].shortfall_ml > free.zones[0].shortfall_ml + 1.0
    with pytest.raises(PhysicsError, match=r"60 W for 600 s.*80 mm behind the tip"):
        computed_table(NAME, (60.0,), (600.0,), tip_to_centre_mm=80.0, model_for=lambda _: Balls())


def test_settings_that_make_no_table_are_refused():
    with pytest.raises(PhysicsError, match=r"20 W for 200 s: no spheroid fits into a zone in which nothing"):
        computed_table(NAME, (20.0, 60.0), (200.0,), model_for=lambda _: Balls(least_j=5000.0))
    with pytest.raises(DeviceError, match="pairs of needles"):
        computed_table("generic-ire-19g-15")
    with pytest.raises(DeviceError, match="no-such-needle"):
        computed_table("no-such-needle")
    with pytest.raises(DeviceError, match="at most 60 W"):
        computed_table(NAME, (90.0,), (60.0,), spacing_mm=4.0)


@pytest.mark.parametrize(
    "name", ["generic-mwa-915", "generic-rfa-cooled-30", "generic-cryo-17g-30", "generic-laser-diffuser-30"]
)
def test_usual_settings_can_be_delivered(name):
    powers, durations = usual_settings(name)
    assert list(durations) == sorted(durations) and min(durations) > 0
    limit = {"generic-mwa-915": 60.0}.get(name, np.inf)
    assert all(power is None or 0 < power <= limit for power in powers)
    assert (None in powers) is (builtin_catalogue().applicator(name).modality in ("RFA", "cryo"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "powers_w", "durations_s"),
    [
        ("generic-mwa-915", (30.0, 60.0), (180.0, 400.0)),
        ("generic-cryo-17g-30", (None,), (900.0, 1500.0)),
        ("generic-rfa-cooled-30", (None,), (240.0, 600.0)),
    ],
)
def test_what_a_solver_destroys_holds_its_table_about_an_oblique_needle(name, powers_w, durations_s):
    table = computed_table(name, powers_w, durations_s, spacing_mm=2.0, reach_mm=30.0)
    (row, zone) = table.catalogue.zones[-1], table.zones[-1]
    freezes = even_freezes(row.duration_s) if "cryo" in name else None
    solver = solver_for(name, spacing_mm=2.0, reach_mm=30.0, freezes=freezes)
    tip = vector3(TIP)
    insertion = Insertion(vector3(TIP - 120 * AXIS), tip, name, (Ablation(tip, row.power_w, row.duration_s),))
    predicted = solver.predict([insertion]).zone
    # Grids are laid out along the needle, so that the same question elsewhere has nearly the same answer.
    assert predicted.signed_distance_mm(on_surface(zone.spheroid)).min() >= -predicted.margin_error_mm
    again = NeedleProfile(predicted, TIP, AXIS).largest(zone.spheroid.tip_to_centre_mm)
    assert predicted.signed_distance_mm(on_surface(again)).min() >= -1e-6
    assert again.volume_ml == pytest.approx(zone.spheroid.volume_ml, rel=0.02)
    assert 0.0 < zone.shortfall_ml < 0.5 * zone.zone_ml
    # By the table's own model as well.
    spheroid = EllipsoidTableModel(table.catalogue).zone([insertion])
    points = on_surface(zone.spheroid, count=500)
    assert np.abs(spheroid.signed_distance_mm(points)).max() < 1e-6
    # More time destroys more, and the larger row holds the smaller one.
    assert zone.spheroid.holds(table.zones[0].spheroid) and zone.zone_ml > table.zones[0].zone_ml
    assert any("largest spheroids inside" in note for note in table.notes)
