"""What every model of a bending needle promises."""

import numpy as np
import pytest
from found_implementations import implementations
from made_cases import rotation
from made_path_tables import made_table

from needleplan.trajectory.contract import DeflectionModel
from needleplan.trajectory.deflection.bending import bent
from needleplan.trajectory.deflection.constant_curvature import ConstantCurvature
from needleplan.trajectory.deflection.straight import Straight

BEVEL = np.array([0.3, -0.7, 0.5])
#: For each model how it is made for a patient turned by a rotation.
MODELS = {
    "straight": lambda turn: Straight(),
    "slight": lambda turn: ConstantCurvature(1e-9, turn @ BEVEL),
    "bevel": lambda turn: ConstantCurvature.of_bevel(9.91, 39.6, turn @ BEVEL),
    "strong": lambda turn: ConstantCurvature(0.0095, turn @ BEVEL),
    "none": lambda turn: ConstantCurvature(0.0, turn @ BEVEL),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def ends(count=200):
    rng = np.random.default_rng(8)
    entry = rng.uniform(-60, 60, (count, 3))
    return entry, entry + rng.normal(size=(count, 3)) * rng.uniform(2, 45, (count, 1))


def test_every_model_of_the_packages_is_held_to_its_contract():
    assert {type(make(np.eye(3))) for make in MODELS.values()} == implementations(DeflectionModel)


@every_model
def test_curvatures_are_finite_across_the_chord_and_join_the_ends(make):
    entry, tip = ends()
    found = make(np.eye(3)).curvature_per_mm(entry, tip)
    if found is None:
        return
    chord = tip - entry
    length = np.linalg.norm(chord, axis=1)
    assert found.shape == entry.shape and np.isfinite(found).all()
    size = np.linalg.norm(found, axis=1)
    assert (size * length < 2.0).all()
    assert (np.abs(np.einsum("ij,ij->i", chord, found)) <= 1e-9 * length * size).all()


@every_model
def test_other_paths_change_nothing(make):
    entry, tip = ends()
    model = make(np.eye(3))
    whole = model.curvature_per_mm(entry, tip)
    order = np.random.default_rng(1).permutation(len(entry))[:31]
    for rows in (order, order[:1], order[:0]):
        part = model.curvature_per_mm(entry[rows], tip[rows])
        assert (part is None) == (whole is None)
        if whole is not None:
            np.testing.assert_allclose(part, whole[rows], rtol=0, atol=1e-15)


@every_model
def test_a_turned_patient_bends_the_same(make):
    entry, tip = ends()
    turn, shift = rotation(14), np.array([30.0, -80.0, 15.0])
    here = make(np.eye(3)).curvature_per_mm(entry, tip)
    there = make(turn).curvature_per_mm(entry @ turn.T + shift, tip @ turn.T + shift)
    assert (here is None) == (there is None)
    if here is not None:
        np.testing.assert_allclose(there, here @ turn.T, rtol=0, atol=1e-12)


@every_model
def test_its_paths_make_a_table(make):
    table = made_table()
    near = np.flatnonzero((table.length_mm > 1.0) & (table.length_mm < 150.0))
    model = make(np.eye(3))
    found = bent(table.subset(near), model)
    assert len(found) == len(near) > 100 and not found.constraints
    np.testing.assert_array_equal(found.aim_mm, table.aim_mm[near])
    assert (found.curvature_per_mm is None) == (model.curvature_per_mm(*ends(3)) is None)


@every_model
def test_names_are_short_and_stable(make):
    assert make(np.eye(3)).name == make(np.eye(3)).name
    assert make(np.eye(3)).name.strip() and "\n" not in make(np.eye(3)).name


def test_different_models_have_different_names():
    assert len({make(np.eye(3)).name for make in MODELS.values()}) == len(MODELS)
