"""What the validation would notice: wrong physics fails the checks that right physics passes."""

import numpy as np
import pytest
from validation.freezing import plane_front
from validation.heat import blob_errors_k, superposition_error, time_errors_k
from validation.media import BODY_C, Corner, W, bioheat, reference_tissue, surface_contact
from validation.needles import pair_field
from validation.scheme import asymmetric_problem, ledger_residual

from needleplan.ablation.closed_forms.heat import point_source_k
from needleplan.ablation.closed_forms.needle_pair import NeedlePair
from needleplan.ablation.electric.potential import DiffusionSolver


def test_superposition_holds_until_perfusion_stops_or_water_boils():
    assert superposition_error() < 1e-4
    assert superposition_error(perfusion_stops=True) > 1e-2
    assert superposition_error(boiling=True) > 1e-2


def test_a_thin_needle_without_its_correction_loses_a_fifth_of_the_current():
    exact = NeedlePair(0.015, 0.5e-3, 1.0).conductance_s_per_m(1.0)
    corrected, *_ = pair_field(15.0, 0.5, half_mm=60.0)
    plain, *_ = pair_field(15.0, 0.5, corrected=False, half_mm=60.0)
    assert corrected == pytest.approx(exact, rel=0.03)
    assert plain == pytest.approx(0.79 * exact, rel=0.03)


def test_a_needle_that_is_twice_as_thick_is_not_the_same_needle():
    thin, *_ = pair_field(15.0, 0.25, half_mm=60.0)
    thick, *_ = pair_field(15.0, 0.5, half_mm=60.0)
    ratio = NeedlePair(0.015, 0.5e-3, 1.0).conductance_s_per_m(1.0) / NeedlePair(
        0.015, 0.25e-3, 1.0
    ).conductance_s_per_m(1.0)
    assert thick / thin == pytest.approx(ratio, rel=0.02)


def test_the_wrong_perfusion_misses_the_point_source():
    corner = Corner(24, 1.0)
    solver = bioheat(corner.shape, 1.0, reference_tissue(0.8 * W))
    solver.advance(780.0, solver.padded(corner.point_source(1.0)))
    exact = float(point_source_k(5e-3, 1.0, 0.52, W))
    assert corner.at(solver.temperature_c - BODY_C, 5.0) > 1.1 * exact


def test_a_staircase_ball_carries_another_current_than_a_smooth_one():
    corner, currents = Corner(24, 1.0), {}
    for name, level in (
        ("smooth", corner.radius_mm - 5.0),
        ("staircase", np.where(corner.radius_mm < 5.0, -0.5, 0.5)),
    ):
        held, contact = surface_contact(level, 1.0)
        solver = DiffusionSolver(corner.shape, 1.0, walls="grounded", held=held, contact=contact)
        solver.set_coefficients(np.ones(corner.shape, dtype=np.float32))
        solver.solve(1.0)
        currents[name] = solver.current(np.ones(len(held), dtype=np.bool_))
    assert abs(currents["staircase"] / currents["smooth"] - 1.0) > 0.02


def test_order_in_time_and_space_is_neither_one_nor_three():
    coarse, fine = time_errors_k((15.0, 7.5))
    assert 1.8 < np.log2(coarse / fine) < 2.2
    coarse, fine = blob_errors_k((2.0, 1.5))
    assert 1.8 < np.log(coarse / fine) / np.log(2.0 / 1.5) < 2.2


def test_ice_on_coarser_cells_is_no_worse_than_its_tolerance():
    fronts, _ = plane_front(-150.0, 37.0, tuple(np.arange(200.0, 601.0, 20.0)), 2.0)
    growth = np.mean(1e-3 * np.array(fronts) / (2.0 * np.sqrt(2.0 / 1.8e6 * np.arange(200.0, 601.0, 20.0))))
    assert growth == pytest.approx(0.5056263585, rel=0.01)


def test_energy_is_accounted_for_while_ice_thaws_and_tissues_mix():
    assert ledger_residual("freezing and thawing") < 1e-4
    assert ledger_residual("mixed tissues") < 1e-4


def test_a_lopsided_problem_is_lopsided():
    # The symmetry check would mean nothing on a problem that is its own mirror image.
    still = asymmetric_problem(lambda a: a)
    for axis in range(3):
        assert np.abs(still - np.flip(still, axis)).max() > 10.0
    assert np.abs(still - np.rot90(still, 1, (0, 1))).max() > 10.0
