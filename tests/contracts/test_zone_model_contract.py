"""What every zone model promises, asked through the contract alone: no test here knows the shape of a zone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import motion, rotation
from scipy.spatial import cKDTree

from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.contract import LethalZone, ZoneModel, ZonePrediction
from needleplan.ablation.cryoablation import CryoModel
from needleplan.ablation.electroporation import ElectroporationModel, PulseOptions
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.laser import LaserModel
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.power_scaling import PowerScalingModel
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.ablation.superposition import SuperpositionModel
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, PhysicsError
from needleplan.plan import Ablation, Insertion, vector3

#: Endings of the names of fields, which tell their units.
FIELD_UNITS = ("_c", "_k", "_v_cm", "_w_m3", "_min", "_s_m")
#: Fields without a unit.
UNITLESS_FIELDS = {"lethality"}


@dataclass(frozen=True, eq=False)
class Made:
    """A model, one of its applicators, settings that it knows and others that it must refuse.

    Attributes:
        make: makes the model anew.
        family: models of one family predict the same and bear the same name, those of others another.
        applicator: name of one of its applicators.
        settings: three of power and time.
        refused: settings that are none.
        arrange: three insertions whose zones overlap, in an arrangement that the model can compute.
        least: insertions that it needs at least, the first ones of ``arrange`` with the second setting.
        is_sampled: its zones are cut from a field on a grid: distances understate by up to the zone's margin error.
        moved_mm: how far distances may differ when the same question is asked elsewhere.
        order_mm: how far they may differ in another order of the insertions, or with others beside them that change
            nothing: grids are laid out along the first insertion, so this is a share of their voxels.
        order_matters: as it does where ablations follow one another on heated tissue.
        more_is_more: more insertions destroy no less. Not so where electrodes shield each other.
        is_long: takes more than a few seconds in all.
    """

    make: Callable[[], ZoneModel]
    family: str
    applicator: str
    settings: tuple[tuple[float | None, float], ...]
    refused: tuple[tuple[float | None, float], ...]
    arrange: Callable[["Made"], list[Insertion]]
    least: int = 1
    is_sampled: bool = False
    moved_mm: float = 1e-8
    order_mm: float = 1e-9
    order_matters: bool = False
    more_is_more: bool = True
    is_long: bool = False

    def layer_mm(self, zone: LethalZone) -> float:
        """Thickness of the layer in which the sign of the distance may lag behind ``contains``."""
        return zone.margin_error_mm if self.is_sampled else 0.0


def insertion(made, tip, direction, settings, step_mm=9.0):
    """A puncture of 90 mm with one ablation for each setting, the later ones further back."""
    tip, direction = np.asarray(tip, float), np.asarray(direction, float)
    ablations = tuple(
        Ablation(vector3(tip - k * step_mm * direction), power, duration)
        for k, (power, duration) in enumerate(settings)
    )
    return Insertion(vector3(tip - 90 * direction), vector3(tip), made.applicator, ablations)


def crossing(made):
    """Three oblique insertions, one of them with two ablations."""
    return [
        insertion(made, (31, -44, 12), rotation(5)[:, 0], made.settings[::2]),
        insertion(made, (37, -39, 17), rotation(6)[:, 1], made.settings[2:]),
        insertion(made, (27, -50, 15), rotation(7)[:, 2], made.settings[2:]),
    ]


def parallel(made, apart_mm=12.0):
    """Three parallel oblique insertions at the corners of a triangle of unlike sides, tips almost level."""
    axes = rotation(5)
    corners = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.05), (0.35, 1.1, -0.1))
    return [
        insertion(made, np.array((31, -44, 12)) + apart_mm * axes @ (z, x, y), axes[:, 0], made.settings[2:])
        for x, y, z in corners
    ]


def from_table(setting, applicator):
    """Corners of the applicator's table and a setting between its nodes, where it has any."""
    model = EllipsoidTableModel(setting=setting)
    table = model.table(applicator)
    low, high = float(table.durations_s[0]), float(table.durations_s[-1])
    between = float(0.4 * low + 0.6 * high)
    if table.generator_controlled:
        known = ((None, low), (None, high), (None, between))
        refused = ((50.0, high), (None, 1.01 * high), (None, 0.99 * low), (None, float("nan")), (None, -high))
    else:
        least, most = float(table.powers_w[0]), float(table.powers_w[-1])
        known = ((least, low), (most, high), (0.5 * (least + most), between))
        refused = ((None, high), (1.01 * most, high), (0.99 * least, low), (most, 1.01 * high), (most, 0.99 * low))
        refused = (*refused, (float("nan"), high), (most, float("nan")), (-most, high))

    def make():
        return EllipsoidTableModel(setting=setting)

    return Made(make, f"table, {setting}", applicator, known, refused, crossing)


def all_tables():
    for setting in ("in_vivo", "ex_vivo"):
        model = EllipsoidTableModel(setting=setting)
        for name in dict.fromkeys(row.applicator for row in model.catalogue.zones if row.setting == setting):
            yield f"table, {setting}, {name}", from_table(setting, name)


def pulses(applicator, tissue, apart_mm):
    return Made(
        lambda: CassiniModel(default_tissue=tissue),
        "Cassini",
        applicator,
        ((None, 90.0), (None, 60.0), (None, 120.0)),
        ((1000.0, 90.0), (None, float("nan")), (None, -90.0), (None, 0.0)),
        lambda made: parallel(made, apart_mm),
        least=2,
        is_sampled=True,
        moved_mm=0.08,
        order_mm=0.08,
    )


def added(applicator, power_w, time_s):
    return Made(
        SuperpositionModel,
        "superposition",
        applicator,
        ((power_w, time_s), (0.8 * power_w, time_s), (power_w, 0.9 * time_s)),
        ((None, time_s), (-power_w, time_s), (float("nan"), time_s), (power_w, 0.0), (1e4 * power_w, time_s)),
        lambda made: parallel(made, 11.0),
        is_sampled=True,
        moved_mm=0.12,
        order_mm=0.12,
    )


def solved(make, family, applicator, power_w, time_s, apart_mm, order_mm, **laws):
    """A solver on coarse voxels and for a short time, since the contract does not ask for accuracy."""
    nonsense = ((-50.0, time_s), (float("nan"), time_s), (power_w, 0.0), (power_w, float("nan")), (1e5, time_s))
    return Made(
        make,
        family,
        applicator,
        ((power_w, time_s),) * 3,
        nonsense if power_w is None else (*nonsense, (None, time_s)),
        lambda made: parallel(made, apart_mm),
        is_sampled=True,
        moved_mm=0.01,
        order_mm=order_mm,
        is_long=True,
        **laws,
    )


def scaled(**options):
    law = PowerScalingModel(**options).law("generic-mwa-2450")
    (least, most), (low, high) = law.powers_w, law.durations_s
    reach = options.get("reach", 1.0)
    return Made(
        lambda: PowerScalingModel(**options),
        f"scaling {options}",
        "generic-mwa-2450",
        ((least, low), (most * reach, high), (0.5 * (least + most), 0.5 * (low + high))),
        ((None, high), (1.01 * most * reach, high), (most, 1.01 * high * reach), (most, 0.99 * low / reach)),
        crossing,
    )


MADE = dict(all_tables())
MADE |= {
    "pulses, IRE": pulses("generic-ire-19g-20", "liver", 14.0),
    "pulses, ECT": pulses("generic-ect-needle-30", "HCC", 12.0),
    "added, antenna": added("generic-mwa-2450", 60.0, 300.0),
    "microwave": solved(
        lambda: MicrowaveModel(HeatOptions(spacing_mm=2.0)), "microwave", "generic-mwa-2450", 60.0, 90.0, 12.0, 1.5
    ),
    "radiofrequency": solved(
        lambda: RadiofrequencyModel(HeatOptions(spacing_mm=2.0)),
        "radiofrequency",
        "generic-rfa-cooled-20",
        None,
        60.0,
        11.0,
        2.0,
        order_matters=True,
    ),
    "laser": solved(
        lambda: LaserModel(HeatOptions(spacing_mm=1.0, reach_mm=16.0)),
        "laser",
        "generic-laser-diffuser-10",
        8.0,
        60.0,
        6.0,
        0.5,
    ),
    "cryo": solved(
        lambda: CryoModel(HeatOptions(spacing_mm=2.0)), "cryo", "generic-cryo-2.4-30", None, 300.0, 10.0, 2.0
    ),
    "electroporation": solved(
        lambda: ElectroporationModel(PulseOptions(spacing_mm=1.5)),
        "electroporation",
        "generic-ire-19g-20",
        None,
        90.0,
        14.0,
        1.5,
        least=2,
    ),
    "scaled": scaled(),
    "scaled, reaching": scaled(setting="ex_vivo", reach=1.5, tissue_factor=0.8),
}
#: The roundest and the longest zones, powers and none, and all that come from grids, for the dearer laws.
FEW = {
    name: made
    for name, made in MADE.items()
    if made.is_sampled
    or name in ("table, in_vivo, generic-mwa-2450", "table, ex_vivo, generic-rfa-cooled-40", "scaled, reaching")
}


def asked_of(some):
    """Asks a test of some models; the long ones are marked as such."""
    marks = {True: [pytest.mark.long], False: []}
    return pytest.mark.parametrize(
        "made", [pytest.param(made, id=name, marks=marks[made.is_long]) for name, made in some.items()]
    )


every_made, some_made = asked_of(MADE), asked_of(FEW)


def single(made):
    """As few insertions as the model takes, one ablation each."""
    return [
        insertion(made, one.tip_mm, one.direction, made.settings[1:2]) for one in made.arrange(made)[: made.least]
    ]


def several(made):
    return made.arrange(made)


def part(k):
    return lambda made: made.arrange(made)[k : k + 1]


PARTS = tuple(part(k) for k in range(3))
_PREDICTED: dict[object, ZonePrediction] = {}


def predicted(made, zones) -> ZonePrediction:
    """What a model predicts for an arrangement, asked once in all tests."""
    key = (id(made), zones)
    if key not in _PREDICTED:
        _PREDICTED[key] = made.make().predict(zones(made))
    return _PREDICTED[key]


def points_about(zone, count=3000, seed=0, beyond_mm=12.0):
    low, high = zone.bounds_mm
    # Small zones would be lost in a wide box.
    beyond_mm = min(beyond_mm, 0.5 * float((high - low).max()))
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
    assert {type(made.make()) for made in MADE.values()} == implementations(ZoneModel)
    tables = {(row.setting, row.applicator) for row in builtin_catalogue().zones}
    assert sum(isinstance(made.make(), EllipsoidTableModel) for made in MADE.values()) == len(tables) >= 10


@every_made
def test_name_and_notes_tell_the_reader(made):
    model = made.make()
    assert model.name.strip() and model.name == made.make().name
    assert model.notes and all(note.strip() and "\n" not in note for note in model.notes)


def test_models_that_predict_differently_have_different_names():
    families = {made.make().name: made.family for made in MADE.values()}
    assert len(families) == len(set(families.values())) == len({made.family for made in MADE.values()})


@pytest.mark.long
@some_made
def test_a_prediction_tells_what_it_is(made):
    prediction = predicted(made, several)
    assert prediction.criterion.strip() and "\n" not in prediction.criterion
    assert all(note.strip() and "\n" not in note for note in prediction.notes)
    for name, field in prediction.fields.items():
        assert name in UNITLESS_FIELDS or name.endswith(FIELD_UNITS)
        assert np.isfinite(field.values).all(), name
    for quantity in prediction.quantities:
        assert quantity.unit and np.isfinite(quantity.value)
        assert prediction.quantity(quantity.name) == quantity
    with pytest.raises(KeyError):
        prediction.quantity("no such quantity")
    points = points_about(prediction.zone, 4000, beyond_mm=3.0)
    assert prediction.zone.contains(points).any()
    for words, other in prediction.other_zones.items():
        assert words.strip() and words != prediction.criterion and other.contains(points).any()


@every_made
@pytest.mark.parametrize("zones", [single, several])
def test_signed_distance_is_positive_inside_and_lipschitz(made, zones):
    zone = predicted(made, zones).zone
    points = points_about(zone)
    depth = zone.signed_distance_mm(points)
    assert depth.shape == (3000,) and np.isfinite(depth).all()
    layer = made.layer_mm(zone)
    held = zone.contains(points)
    assert held.dtype == np.bool_
    sure = np.abs(depth + 0.5 * layer) > 0.5 * layer + 1e-9
    np.testing.assert_array_equal(held[sure], (depth >= 0)[sure])
    assert not (depth > 1e-9)[~held].any()
    assert 0.005 < held.mean() < 0.9
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
    zone = predicted(made, zones).zone
    low, high = zone.bounds_mm
    assert (low < high).all()
    inner, outer = boundary(zone, 15_000)
    for cloud in (inner, outer):
        assert (cloud >= low - 1e-5).all() and (cloud <= high + 1e-5).all()
    # Not larger than it: some point of the zone comes near each of the six faces.
    layer = made.layer_mm(zone)
    np.testing.assert_allclose([inner.min(axis=0), inner.max(axis=0)], [low, high], atol=0.35 + layer)
    at_rim = zone.signed_distance_mm(np.concatenate([inner, outer]))
    assert at_rim.max() <= 1e-5 and at_rim.min() >= -1e-5 - layer


@some_made
@pytest.mark.parametrize("zones", [single, several])
def test_margins_against_a_dense_search_of_the_boundary(made, zones):
    zone = predicted(made, zones).zone
    points = points_about(zone, 2500, beyond_mm=4.0)
    depth, margin = zone.signed_distance_mm(points), zone.margin_mm(points)
    held = zone.contains(points)
    assert held.sum() > 100 and (~held).sum() > 300
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
    layer = made.layer_mm(zone)
    for found in (margin[~held], depth[~held]):
        assert (-found - layer <= to_inside + 1e-9).all() and (gap - found >= to_inside).all()
    assert 0.0 <= zone.margin_error_mm < 1.5
    for some in (points, points[held], points[~held], points[:1]):
        assert zone.least_margin_mm(some) == pytest.approx(zone.margin_mm(some).min(), abs=1e-9)
    # Where whole zones are joined the margin of the union is more than that within one of them.
    assert zones is single or made.is_sampled or (margin > depth + 0.1).any()


@some_made
@pytest.mark.parametrize("zones", [single, several])
def test_surfaces_bound_the_zone(made, zones):
    zone = predicted(made, zones).zone
    surfaces = zone.surfaces()
    assert surfaces and all(mesh.is_watertight and mesh.volume_mm3 > 0 for mesh in surfaces)
    vertices = np.concatenate([mesh.vertices_mm for mesh in surfaces])
    assert zone.signed_distance_mm(vertices).min() > -0.05 - made.layer_mm(zone)
    corners = np.concatenate([mesh.triangles_mm.mean(axis=1) for mesh in surfaces])
    _, outer = boundary(zone, 2000)
    assert cKDTree(corners).query(outer)[0].max() < 2.0


@every_made
def test_covering_is_signed_distance_of_at_least_the_radius(made):
    insertions, model = several(made), made.make()
    points = points_about(predicted(made, several).zone, 1500, seed=3, beyond_mm=2.0)
    radii = np.random.default_rng(5).uniform(0, 6, 1500)
    radii[:200] = 0.0
    assert model.covering(insertions[:0], points, 1.0).shape == (0, 1500)
    if made.least > 1:
        # One needle alone is nothing that the model could answer for.
        with pytest.raises(PhysicsError) as caught:
            model.covering(insertions, points, radii)
        assert "\n" not in str(caught.value)
        return
    for radius in (radii,) if made.is_sampled else (radii, 2.5, 0.0):
        covers = model.covering(insertions, points, radius)
        assert covers.shape == (3, 1500) and covers.dtype == np.bool_
        for row, one in zip(covers, PARTS, strict=True):
            room = predicted(made, one).zone.signed_distance_mm(points) - radius
            sure = np.abs(room) > 1e-9
            np.testing.assert_array_equal(row[sure], (room >= 0)[sure])
            assert row.any() and not row.all()
    if not made.is_sampled:
        assert model.covering(insertions, np.empty((0, 3)), 1.0).shape == (3, 0)


def moved(points):
    carry = motion(14)
    return np.asarray(points) @ carry[:3, :3].T + carry[:3, 3]


def carried(made):
    return [
        Insertion(
            vector3(moved(one.entry_mm)),
            vector3(moved(one.tip_mm)),
            one.applicator,
            tuple(Ablation(vector3(moved(a.tip_mm)), a.power_w, a.duration_s) for a in one.ablations),
        )
        for one in several(made)
    ]


@every_made
def test_the_zone_of_a_moved_insertion_is_the_moved_zone(made):
    here, there = predicted(made, several).zone, predicted(made, carried).zone
    points = points_about(here, 2000)
    expected = here.signed_distance_mm(points)
    np.testing.assert_allclose(there.signed_distance_mm(moved(points)), expected, atol=made.moved_mm)
    # Stronger than the tolerance: where the needles are makes a difference.
    assert np.abs(there.signed_distance_mm(points) - expected).max() > 1 + made.moved_mm


@every_made
def test_order_and_number_of_insertions(made):
    zone = predicted(made, several).zone
    points = points_about(zone)
    if not made.order_matters:
        reverse = predicted(made, reversed_order).zone
        difference = zone.signed_distance_mm(points) - reverse.signed_distance_mm(points)
        assert np.abs(difference).max() <= made.order_mm
        np.testing.assert_allclose(zone.bounds_mm, reverse.bounds_mm, rtol=0, atol=made.order_mm)
    if not made.more_is_more:
        return
    fewer = PARTS if made.least == 1 else (first_two, last_two)
    shares = []
    for one in fewer:
        less = predicted(made, one).zone
        lost = less.contains(points) & ~zone.contains(points)
        if made.is_sampled:
            # The two are sampled on different grids.
            lost &= less.signed_distance_mm(points) > made.order_mm
        assert not lost.any()
        slack = made.order_mm if made.is_sampled else 0.0
        assert (zone.bounds_mm[0] <= less.bounds_mm[0] + slack).all()
        assert (zone.bounds_mm[1] >= less.bounds_mm[1] - slack).all()
        shares.append(less.contains(points).sum())
    assert zone.contains(points).sum() > max(shares)


def reversed_order(made):
    return several(made)[::-1]


def first_two(made):
    return several(made)[:2]


def last_two(made):
    return several(made)[1:]


def test_margins_do_not_depend_on_the_order():
    made = FEW["table, in_vivo, generic-mwa-2450"]
    insertions, model = several(made)[1:], made.make()
    zone, reverse = model.zone(insertions), model.zone(insertions[::-1])
    points = points_about(zone, 1000)
    slack = max(zone.margin_error_mm, reverse.margin_error_mm)
    assert np.abs(zone.margin_mm(points) - reverse.margin_mm(points)).max() <= slack + 1e-9


@every_made
def test_no_insertion_destroys_nothing(made):
    zone = made.make().zone([])
    points = np.random.default_rng(0).normal(size=(50, 3)) * 20
    assert not zone.contains(points).any() and (zone.signed_distance_mm(points) < 0).all()


@every_made
def test_what_the_model_does_not_know_is_refused(made):
    model, few = made.make(), single(made)
    stranger = Insertion(few[0].entry_mm, few[0].tip_mm, "no such needle", few[0].ablations)
    for wrong in ([stranger], [*few, stranger]):
        with pytest.raises(DeviceError) as caught:
            model.zone(wrong)
        assert "no such needle" in str(caught.value) and "\n" not in str(caught.value)
    for setting in made.refused:
        outside = [insertion(made, one.tip_mm, one.direction, [made.settings[0], setting]) for one in few]
        with pytest.raises(DeviceError) as caught:
            model.zone([*few[1:], *outside])
        assert made.applicator in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(DeviceError):
            model.covering(outside, np.zeros((1, 3)), 1.0)
