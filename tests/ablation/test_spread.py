"""The spread of a zone: nothing where nothing is uncertain, seeded, and with the quantiles of what was drawn."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.monitoring.priors import FactorPrior
from needleplan.ablation.spread import ZoneSpread, sampled_tissue, zone_spread
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, homogeneous
from needleplan.devices.tissue import Tissue
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import PhysicsError
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Ablation, Insertion

LIVER = builtin_tissues().tissue("liver")
TIP = (3.0, -2.0, 5.0)
INSERTION = Insertion((40.0, -60.0, -70.0), TIP, "generic-mwa-2450", (Ablation(TIP, 60.0, 100.0),))
CERTAIN = Tissue("certain", 1060.0, 3600.0, 0.5, perfusion_per_s=0.01)
VARIED = Tissue("varied", 1060.0, 3600.0, 0.5, perfusion_per_s=0.01, ranges={"perfusion_per_s": (0.005, 0.02)})


class Ball(ZoneModel):
    """A ball about the tip whose radius is 10 mm at the perfusion 0.01 and 60 W, and goes by their ratio's root."""

    @property
    def name(self) -> str:
        return "ball"

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def radius_mm(self, power_w: float, tissue: Tissue) -> float:
        return 10.0 * float(np.sqrt(power_w / 60.0 / (tissue.perfusion_per_s / 0.01)))

    def predict(self, insertions, tissue=None) -> ZonePrediction:
        ablation = insertions[0].ablations[0]
        radius = self.radius_mm(ablation.power_w, tissue.background)
        matrix = np.eye(4)
        matrix[:3, 3] = np.asarray(ablation.tip_mm) - 20.0
        grid = Grid((41, 41, 41), matrix)
        depth = radius - np.linalg.norm(grid.centres_mm() - ablation.tip_mm, axis=1)
        return ZonePrediction(FieldZone(ScalarField(grid, depth.reshape(grid.shape).astype(np.float32))), "ball")


def test_nothing_uncertain_is_no_spread():
    spread = zone_spread(Ball(), [INSERTION], homogeneous(CERTAIN), seed=1, samples=3)
    assert np.ptp(spread.level, axis=0).max() == 0.0
    assert np.ptp(spread.volumes_ml) == 0.0
    assert spread.volumes_ml[0] == pytest.approx(4.0 / 3.0 * np.pi, rel=0.02)
    assert set(np.unique(spread.probability.values)) == {0.0, 1.0}
    assert spread.zone(0.05).volume_ml == pytest.approx(spread.zone(0.95).volume_ml)


def test_the_quantiles_are_those_of_what_was_drawn():
    samples = 24
    spread = zone_spread(Ball(), [INSERTION], homogeneous(VARIED), seed=2, samples=samples)
    rng = np.random.default_rng(2)
    drawn = [sampled_tissue(homogeneous(VARIED), rng).background for _ in range(samples)]
    radii = np.array([Ball().radius_mm(60.0, one) for one in drawn])
    assert radii.min() < 8.0 and radii.max() > 12.0
    for share in (0.1, 0.5, 0.9):
        exact = float(np.quantile(4.0 / 3.0 * np.pi * radii**3 / 1000.0, share))
        assert spread.volume_ml(share) == pytest.approx(exact, rel=0.02)
        # The zones of balls are balls: what is destroyed with probability p has the (1 - p) quantile of radii.
        radius = float(np.quantile(radii, share))
        depth = spread.zone(1.0 - share).signed_distance_mm(np.add([TIP], [0.3, 0.2, 5.0]))
        assert depth[0] == pytest.approx(radius - np.sqrt(25.13), abs=0.3)
    central = Ball().zone([INSERTION], homogeneous(VARIED))
    points = central.surfaces()[0].vertices_mm
    assert spread.zone(0.01).contains(points).all()
    assert not spread.zone(0.99).contains(points).any()


def test_a_surer_zone_lies_within_a_less_sure_one_and_the_same_seed_gives_the_same():
    power = FactorPrior.between(0.8, 1.25)
    spread, again, other = (
        zone_spread(Ball(), [INSERTION], homogeneous(VARIED), seed=seed, samples=8, power=power)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(spread.level, again.level) and np.array_equal(spread.volumes_ml, again.volumes_ml)
    assert not np.array_equal(spread.volumes_ml, other.volumes_ml)
    points = np.random.default_rng(5).uniform(-20.0, 20.0, (2000, 3)) + TIP
    held = [spread.zone(p).contains(points) for p in (0.95, 0.75, 0.5, 0.25, 0.05)]
    for inner, outer in pairwise(held):
        assert not (inner & ~outer).any()
    assert [h.sum() for h in held] == sorted(h.sum() for h in held) and held[0].sum() < held[-1].sum()
    at_p = spread.probability.sample(points, outside=0.0)
    assert (held[2][at_p > 0.9]).all() and not (held[2][at_p < 0.1]).any()


def test_one_tissue_is_drawn_once_wherever_it_lies():
    region = Region(VARIED, Cylinder((0, 0, 0), (0, 0, 9), 3.0))
    other = Region(CERTAIN, Cylinder((0, 9, 0), (0, 9, 9), 3.0))
    drawn = sampled_tissue(TissueMap(VARIED, (region, other), body_temperature_c=36.5), np.random.default_rng(6))
    assert drawn.background == drawn.regions[0].tissue and drawn.background != VARIED
    assert drawn.regions[1].tissue == CERTAIN
    assert drawn.regions[0].solid is region.solid and drawn.body_temperature_c == 36.5


def test_the_solver_spreads_by_perfusion_and_holds_its_central_zone():
    liver = replace(LIVER, ranges={"perfusion_per_s": (0.0064, 0.031)})
    model = MicrowaveModel(HeatOptions(spacing_mm=3.0, reach_mm=20.0))
    spread = zone_spread(model, [INSERTION], homogeneous(liver), seed=7, samples=6, power=FactorPrior(1.0, 0.1))
    central = model.zone([INSERTION], homogeneous(liver))
    points = central.surfaces()[0].vertices_mm
    assert np.ptp(spread.volumes_ml) > 0.1 * np.mean(spread.volumes_ml)
    assert spread.volumes_ml.min() < central.volume_ml < spread.volumes_ml.max()
    assert spread.zone(1.0 / 6.0).contains(points).mean() > 0.9
    assert spread.zone(1.0).contains(points).mean() < 0.1


def test_a_zone_that_is_nowhere_takes_part():
    weak = Insertion(INSERTION.entry_mm, TIP, INSERTION.applicator, (Ablation(TIP, 1e-9, 100.0),))
    spread = zone_spread(Ball(), [weak], homogeneous(VARIED), seed=8, samples=4)
    assert spread.volume_ml(0.5) < 1e-3 and spread.zone(0.5).volume_ml < 1e-3


def test_impossible_spreads_are_refused():
    ask = {"model": Ball(), "insertions": [INSERTION], "tissue": homogeneous(VARIED), "seed": 1}
    with pytest.raises(PhysicsError, match="at least one sample"):
        zone_spread(**ask, samples=0)
    with pytest.raises(PhysicsError, match="spacing"):
        zone_spread(**ask, spacing_mm=0.0)
    spread = zone_spread(**ask, samples=2)
    for probability in (0.0, 1.1, np.nan):
        with pytest.raises(PhysicsError, match="probability"):
            spread.zone(probability)
    with pytest.raises(PhysicsError, match="share"):
        spread.volume_ml(-0.1)
    with pytest.raises(PhysicsError, match="samples"):
        ZoneSpread(spread.grid, spread.level[:, :-1], spread.volumes_ml)
    with pytest.raises(PhysicsError, match="volumes"):
        ZoneSpread(spread.grid, spread.level, spread.volumes_ml[:1])
