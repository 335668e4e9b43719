"""Populations of phantoms: the laws of their draws, their bounds, and patients that can be built from them."""

import dataclasses

import numpy as np
import pytest

from needleplan.anatomy.phantom import PhantomParameters, PhantomPopulation, make_phantom, random_parameters
from needleplan.anatomy.phantom_parameters import TumourShape
from needleplan.anatomy.phantom_population import ShapeWeights
from needleplan.app.study.case_list import draw_phantom
from needleplan.errors import OptionError


def draws(population: PhantomPopulation, count: int = 2000) -> list[PhantomParameters]:
    generator = np.random.default_rng(1)
    return [population.draw(generator) for _ in range(count)]


def test_the_default_population_is_that_of_random_parameters() -> None:
    assert PhantomPopulation().draw(np.random.default_rng(5)) == random_parameters(np.random.default_rng(5))


def test_parameters_come_from_a_child_of_the_seed_that_draws_the_vessels() -> None:
    for seed in range(5):
        child = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        assert draw_phantom(PhantomPopulation(), seed) == random_parameters(child)


def test_the_first_draw_of_a_seed_stays_what_it_was() -> None:
    """The patient of ``needleplan phantom --random --seed 0``, recorded so that a seed keeps its patient."""
    generator = np.random.default_rng(0)
    drawn = random_parameters(generator)
    assert drawn.body_width_mm == pytest.approx(342.13743, abs=1e-4)
    assert drawn.tumours[0].radius_mm == pytest.approx(6.264442, abs=1e-4)
    # Nothing but what is drawn is taken: the vessels that follow from the same generator are the same too.
    assert generator.random() == pytest.approx(0.729655446, abs=1e-8)


def test_shares_and_weights_are_met_within_four_standard_errors() -> None:
    population = PhantomPopulation(
        near_capsule_share=0.3,
        near_vessel_share=0.7,
        shapes=ShapeWeights(sphere=1, ellipsoid=0, lobulated=3),
        situs_inversus_share=0.2,
    )
    patients = draws(population)

    def share(values: list[bool], expected: float) -> None:
        assert abs(np.mean(values) - expected) < 4 * np.sqrt(expected * (1 - expected) / len(values)) + 1e-12

    targets = [patient.tumours[0] for patient in patients]
    share([target.capsule_depth_mm == population.near_capsule_mm for target in targets], 0.3)
    share([target.vessel_gap_mm == population.near_vessel_mm for target in targets], 0.7)
    share([target.shape is TumourShape.LOBULATED for target in targets], 0.75)
    share([target.shape is TumourShape.ELLIPSOID for target in targets], 0.0)
    share([patient.mirrored for patient in patients], 0.2)
    near = [
        target.vessel_gap_mm == population.near_vessel_mm for target in targets if target.capsule_depth_mm[0] == 2
    ]
    share(near, 0.7)  # near the vessels and near the capsule are independent of each other


def test_body_sizes_have_their_mean_deviation_and_cut() -> None:
    population = PhantomPopulation(body_scale=1.1, body_deviation=0.04, body_cut=1.0)
    scales = np.array([patient.body_width_mm for patient in draws(population)]) / 340.0
    assert scales.min() >= 1.1 * 0.96 - 1e-12 and scales.max() <= 1.1 * 1.04 + 1e-12
    # A normal law set back to one deviation: 31.7 % lie on the cuts, and its variance is 0.516 of the uncut one.
    assert abs(np.mean(np.isclose(np.abs(scales / 1.1 - 1.0), 0.04)) - 0.3173) < 0.04
    assert abs(scales.mean() - 1.1) < 4 * 0.044 * np.sqrt(0.516 / len(scales))
    assert scales.std() == pytest.approx(0.044 * np.sqrt(0.516), rel=0.06)


def test_ranges_are_filled_to_both_ends_and_no_further() -> None:
    population = PhantomPopulation(
        radius_mm=(5.0, 6.0), other_tumours=(1, 3), other_radius_mm=(3.0, 3.5), portal_generations=(2, 4)
    )
    patients = draws(population)
    radii = [patient.tumours[0].radius_mm for patient in patients]
    assert 5.0 <= min(radii) < 5.01 and 5.99 < max(radii) <= 6.0
    assert {len(patient.tumours) for patient in patients} == {2, 3, 4}
    assert {patient.portal_generations for patient in patients} == {2, 3, 4}
    assert all(3.0 <= tumour.radius_mm <= 3.5 for patient in patients for tumour in patient.tumours[1:])


def test_one_value_as_both_ends_is_that_value() -> None:
    population = PhantomPopulation(radius_mm=(9.0, 9.0), other_tumours=(0, 0), body_deviation=0.0)
    patient = population.draw(np.random.default_rng(3))
    assert [tumour.radius_mm for tumour in patient.tumours] == [9.0] and patient.body_depth_mm == 240.0


def test_situs_inversus_changes_nothing_else() -> None:
    plain, mirrored = PhantomPopulation(), PhantomPopulation(situs_inversus_share=1.0)
    for seed in range(20):
        assert draw_phantom(mirrored, seed) == dataclasses.replace(draw_phantom(plain, seed), mirrored=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius_mm": (1.0, 9.0)}, "radius_mm must be a range of two numbers with 2 <= least"),
        ({"radius_mm": (9.0, 8.0)}, "radius_mm must be a range"),
        ({"radius_mm": (9.0, float("nan"))}, "radius_mm must be a range"),
        ({"other_tumours": (0, 9)}, "other_tumours must be a range of two whole numbers .*<= 8"),
        ({"portal_generations": (2.5, 4)}, "portal_generations must be a range of two whole numbers"),
        ({"near_vessel_share": 1.1}, "near_vessel_share must be a number from 0 to 1"),
        ({"organ_variation": 0.1}, "organ_variation must be a number from 0 to 0.06"),
        ({"body_scale": 0.72}, "allow a body_width_mm of 220 mm, where it must lie in 250 to 480"),
        ({"shapes": (1, 1, 1)}, "shapes must be ShapeWeights"),
    ],
)
def test_impossible_populations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PhantomPopulation(**changes)


def test_weights_of_zero_are_refused() -> None:
    with pytest.raises(OptionError, match="the weights of the shapes are all zero"):
        ShapeWeights(0, 0, 0)
    with pytest.raises(OptionError, match="the weight of the shape sphere must be a number from 0 to 1000"):
        ShapeWeights(sphere=-1)


def test_places_follow_the_liver_within_their_ranges_but_for_the_tolerance_that_is_told() -> None:
    # Without finer branches patients are quick to make, and the places are drawn before these.
    population = PhantomPopulation(portal_generations=(0, 0), hepatic_generations=(0, 0), other_tumours=(0, 0))
    far_mm = []
    for seed in range(8):
        wish = draw_phantom(population, seed).tumours[0]
        patient = make_phantom(draw_phantom(population, seed), np.random.default_rng(seed))
        surface = patient.surface("tumour", 1.5).vertices_mm
        depth_mm = -patient.distance_mm("liver", surface).max()
        gap_mm = min(patient.distance_mm(name, surface).min() for name in ("portal_vein", "hepatic_veins"))
        assert wish.capsule_depth_mm[0] - 0.03 * wish.radius_mm < depth_mm < wish.capsule_depth_mm[1] + 0.01
        assert wish.vessel_gap_mm[0] - 0.05 * wish.radius_mm < gap_mm < wish.vessel_gap_mm[1] + 0.01
        if wish.capsule_depth_mm == population.far_capsule_mm:
            far_mm.append(depth_mm)
    # Uniform draws from 8 to 60 mm would have a median of 34 mm.
    assert len(far_mm) >= 3 and np.median(far_mm) < 25.0


def test_small_tumours_near_vessels_and_capsule_are_where_the_population_says() -> None:
    population = PhantomPopulation(
        radius_mm=(6.0, 9.0), near_capsule_share=1.0, near_vessel_share=1.0, near_vessel_mm=(2.0, 12.0),
        other_tumours=(0, 0), situs_inversus_share=1.0,
    )  # fmt: skip
    parameters = draw_phantom(population, 4)
    patient = make_phantom(parameters, np.random.default_rng(4))
    surface = patient.surface("tumour", 2.0).vertices_mm
    depth_mm = -patient.distance_mm("liver", surface).max()
    gap_mm = min(patient.distance_mm(name, surface).min() for name in ("portal_vein", "hepatic_veins"))
    assert 2.0 - 0.5 < depth_mm < 8.0 + 0.5 and 2.0 - 0.5 < gap_mm < 12.0 + 0.5
    # Situs inversus puts the liver, and with it the tumour, on the left, which is positive in LPS.
    assert parameters.mirrored and surface[:, 0].mean() > 0.0
