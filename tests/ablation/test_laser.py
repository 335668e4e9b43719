"""Laser zones: the light's power and depth, coagulation, fibres, and what is refused."""

import dataclasses

import numpy as np
import pytest
from placed_needles import ORIGIN, at, extents_mm, needle

from needleplan.ablation.heating import Delivery, HeatOptions
from needleplan.ablation.laser import LaserModel, _Light, spread_points
from needleplan.ablation.schedule import Firing
from needleplan.ablation.solver_domain import solver_domain
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, homogeneous
from needleplan.devices.applicator_physics import applicator_physics
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.grid import Grid
from needleplan.plan import vector3

LIVER = builtin_tissues().tissue("liver")
BARE, DIFFUSER = "generic-laser-bare-600um", "generic-laser-diffuser-10"
COARSE = HeatOptions(spacing_mm=1.25, reach_mm=17.5)


def predict(row, tissue=None, options=COARSE, **model):
    return LaserModel(options, **model).predict(row, tissue)


def light(name, spacing=1.0, tissue=LIVER):
    insertion = needle(name, power_w=2.0)
    firing = Firing(insertion, insertion.ablations[0])
    domain = solver_domain([firing.part(10.0, 1.0)], homogeneous(tissue), spacing, 16.0, 3.0)
    return domain, _Light(domain, applicator_physics(name), firing)


@pytest.mark.parametrize("name", [BARE, DIFFUSER])
def test_what_is_emitted_is_absorbed(name):
    domain, source = light(name)
    for coagulated in (np.zeros(domain.grid.shape, bool), np.ones(domain.grid.shape, bool)):
        heat = source.heat_per_watt(coagulated)
        assert heat.sum() * 1e-9 == pytest.approx(1.0, rel=1e-9) and heat.min() >= 0
        middle = (heat[..., None] * domain.grid.centres_mm().reshape(*heat.shape, 3)).sum((0, 1, 2)) * 1e-9
        # A bare fibre shines ahead by a transport length, a diffuser from its middle.
        ahead = 1.0 / (1e-3 * (source.absorption[0] + source.native[0])) if name == BARE else -5.0
        assert middle == pytest.approx(at((0, 0, ahead)), abs=0.2)


def test_coagulated_tissue_is_shallower():
    domain, source = light(BARE)
    native = source.heat_per_watt(np.zeros(domain.grid.shape, bool))
    white = source.heat_per_watt(np.ones(domain.grid.shape, bool))
    away = np.linalg.norm(domain.grid.centres_mm() - at((0, 0, 1)), axis=1).reshape(native.shape)
    assert (white * away).sum() < 0.9 * (native * away).sum()
    # The fluence falls like exp(-r/depth)/r: from 5 to 9 mm.
    near, far = (native[np.abs(away - r) < 0.4].mean() for r in (5.0, 9.0))
    depth = 1e3 / np.sqrt(3 * source.absorption[0] * (source.absorption[0] + source.native[0]))
    assert near / far == pytest.approx(9 / 5 * np.exp(4 / depth), rel=0.12)


def test_points_are_shared_out_among_the_voxels_about_them():
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    grid = Grid((6, 7, 8), matrix)
    total = spread_points(grid, np.array([[3.0, 5.0, 7.4], [4.0, 4.0, 4.0]]), np.array([0.7, 0.3]))
    assert total.sum() == pytest.approx(1.0) and total[2, 2, 2] == pytest.approx(0.3)
    mean = (total[..., None] * grid.centres_mm().reshape(6, 7, 8, 3)).sum((0, 1, 2))
    assert mean == pytest.approx(0.7 * np.array([3.0, 5.0, 7.4]) + 0.3 * 4.0)


def test_the_energy_and_the_order_of_zones():
    volumes = []
    for power, duration in ((2.0, 60.0), (2.0, 120.0), (4.0, 120.0)):
        found = predict([needle(DIFFUSER, (0, 0, 0), power, duration)])
        assert found.quantity("energy into tissue").value == pytest.approx(1e-3 * power * duration, rel=1e-3)
        assert abs(found.quantity("energy unaccounted for").value) < 1e-4
        volumes.append(found.zone.volume_ml)
    assert 0 < volumes[0] < volumes[1] < volumes[2]


def test_a_diffuser_makes_a_longer_zone():
    bare, diffuser = (predict([needle(name, (0, 0, 0), 4.0, 180.0)]) for name in (BARE, DIFFUSER))
    shapes = [extents_mm(one.zone) for one in (bare, diffuser)]
    assert shapes[1][2] / shapes[1][0] > shapes[0][2] / shapes[0][0] + 0.2
    middle = [
        np.concatenate([m.vertices_mm for m in one.zone.surfaces()]).mean(axis=0) - ORIGIN
        for one in (bare, diffuser)
    ]
    assert np.linalg.norm(middle[0]) < 2.0 and np.linalg.norm(middle[1] - (at((0, 0, -5)) - ORIGIN)) < 1.5
    assert shapes[0][0] == pytest.approx(shapes[0][1], rel=0.05)


def test_fibres_together_and_in_turn():
    row = [needle(DIFFUSER, (x, 0, 0), 4.0, 120.0) for x in (-6, 6)]
    both = predict(row)
    single = predict(row[:1])
    assert both.zone.volume_ml > 2.1 * single.zone.volume_ml
    turns = predict(row, delivery=Delivery.SEQUENTIAL)
    assert turns.quantity("time simulated").value == pytest.approx(120 + 30 + 120 + 60)
    assert turns.zone.volume_ml < both.zone.volume_ml
    mixed = predict([row[0], needle(DIFFUSER, (6, 0, 0), 4.0, 40.0)])
    assert single.zone.volume_ml < mixed.zone.volume_ml < both.zone.volume_ml


def test_coarse_grids_are_refused_or_said():
    assert "coarse for light that penetrates" in predict([needle(BARE, power_w=2.0)]).notes[0]
    assert (
        predict(
            [needle(BARE, power_w=2.0, duration_s=20.0)], options=HeatOptions(spacing_mm=0.5, reach_mm=12)
        ).notes
        == ()
    )
    with pytest.raises(PhysicsError, match=r"cannot resolve light that penetrates .* take 0\.5.* mm or less"):
        predict([needle(BARE, power_w=2.0)], options=HeatOptions(spacing_mm=2.5))


def test_light_in_another_tissue_beside():
    """A tissue without optical properties stops the model only where it lies in the domain."""
    muscle = builtin_tissues().tissue("muscle")
    row = [needle(BARE, power_w=2.0, duration_s=30.0)]
    far = Region(muscle, Cylinder((500, 0, 0), (600, 0, 0), 10))
    assert predict(row, TissueMap(LIVER, (far,))).zone.volume_ml == pytest.approx(predict(row).zone.volume_ml)
    near = Region(muscle, Cylinder(vector3(at((10, 0, -40))), vector3(at((10, 0, 40))), 5))
    with pytest.raises(DeviceError, match="states no absorption_1064_nm_per_m for 'muscle'"):
        predict(row, TissueMap(LIVER, (near,)))


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        ([needle(DIFFUSER, power_w=15.5)], DeviceError, "at most 15 W"),
        ([needle(BARE)], DeviceError, "takes a power in watts"),
        ([needle("generic-mwa-2450", power_w=5.0)], DeviceError, "no laser fibre"),
        ([needle(DIFFUSER, power_w=5.0), needle(DIFFUSER, (1, 0, 0), 5.0)], PhysicsError, "two probes overlap"),
    ],
)
def test_refuses(row, kind, words):
    with pytest.raises(kind, match=words) as caught:
        predict(row)
    assert "\n" not in str(caught.value)
    with pytest.raises(DeviceError, match="not switched"):
        LaserModel(delivery=Delivery.SWITCHED)
    assert predict([]).zone.volume_ml == 0
    assert dataclasses.is_dataclass(COARSE)
