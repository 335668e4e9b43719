"""Monitoring: few runs stand for all, the posterior is exact, and it holds the truth at its nominal rate."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import Delivery, HeatOptions
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.monitoring.assimilation import ReadingTable, SharedErrors
from needleplan.ablation.monitoring.emulator import REACH, FactorDesign
from needleplan.ablation.monitoring.monitor import AblationMonitor
from needleplan.ablation.monitoring.posterior import posterior, weighted_quantiles
from needleplan.ablation.monitoring.priors import FactorPrior, MonitorPriors
from needleplan.ablation.monitoring.readings import TemperatureReadings, thermocouple, thermometry_volume
from needleplan.ablation.monitoring.runs import TreatmentRuns
from needleplan.ablation.monitoring.sampling import FieldSampler, footprint_values, inside_domain
from needleplan.ablation.monitoring.state import MonitorOptions, MonitorState
from needleplan.ablation.monitoring.target_points import target_levels, target_points, times_of_death_s
from needleplan.ablation.monitoring.treatment import Factors, RecordedCourse, Treatment
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, Vessel, homogeneous
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import DeviceError, PhysicsError
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.grid import Grid, ScalarField
from needleplan.plan import Ablation, Insertion

LIVER = builtin_tissues().tissue("liver")
TIP = (3.0, -2.0, 5.0)
#: Oblique to every axis of the patient.
INSERTION = Insertion((40.0, -60.0, -70.0), TIP, "generic-mwa-2450", (Ablation(TIP, 60.0, 180.0),))
TREATMENT = Treatment(
    MicrowaveModel,
    (INSERTION,),
    homogeneous(LIVER),
    HeatOptions(spacing_mm=3.0, reach_mm=24.0, observe_every_s=6.0),
)
AXIS = INSERTION.direction
ASIDE, BESIDE = perpendicular_axes(AXIS)
MIDDLE = np.array(TIP) - 10.0 * AXIS
#: 8 to 10 mm from the antenna, at different heights of it.
PLACES = (MIDDLE + 8.0 * ASIDE, MIDDLE + 9.5 * BESIDE + 4.0 * AXIS, MIDDLE - 8.5 * ASIDE - 3.0 * AXIS)

#: As many again, 10 to 12 mm from the antenna.
SIX = (
    *PLACES,
    MIDDLE - 11.0 * BESIDE + 2.0 * AXIS,
    MIDDLE + 12.0 * ASIDE - 4.0 * AXIS,
    MIDDLE + 7.0 * (ASIDE + BESIDE) + 6.0 * AXIS,
)


@cache
def runs() -> TreatmentRuns:
    return TreatmentRuns(TREATMENT, counts=(4, 3, 2))


@cache
def truth_at(perfusion_sd: float, efficiency_sd: float) -> RecordedCourse:
    return TREATMENT.recorded(runs().design.factors((perfusion_sd, efficiency_sd)))


class Errors(NamedTuple):
    """Of synthetic readings, one standard deviation each."""

    noise_c: float = 0.5
    model: float = 0.05
    position_mm: float = 0.5
    drift_c: float = 1.0


EXACT = Errors(0.5, 0.0, 0.0, 0.0)
#: Believed of readings without any error but noise.
FAITHFUL = MonitorOptions(model_error=0.0, model_drift_c=0.0)


def course_at(course: RecordedCourse, points: FloatArray, times: FloatArray) -> FloatArray:
    return footprint_values(
        course.grid, course.times_s, course.temperature_c[None], points, np.zeros((1, 3)), times
    )[:, 0]


def couples(
    course: RecordedCourse,
    rng: np.random.Generator | None,
    until_s: float,
    errors: Errors = Errors(),  # noqa: B008
    places: tuple[FloatArray, ...] = PLACES,
) -> list[TemperatureReadings]:
    """Thermocouples with errors drawn as the monitor believes them to be; without any where rng is None."""
    times = np.arange(8.0, until_s + 0.1, 4.0)
    readings = []
    for number, place in enumerate(places):
        true_place, values_error, scale = place, 0.0, 1.0
        if rng is not None:
            true_place = place + errors.position_mm * rng.standard_normal(3)
            values_error = errors.noise_c * rng.standard_normal(len(times))
            phase = np.pi * times / MonitorOptions().drift_s
            size = errors.drift_c * rng.standard_normal(2)
            values_error += size[0] * np.cos(phase) + size[1] * np.sin(phase)
            scale = 1.0 + errors.model * rng.standard_normal()
        values = course_at(course, np.tile(true_place, (len(times), 1)), times)
        values = 37.0 + scale * (values - 37.0) + values_error
        readings.append(thermocouple(f"couple {number}", place, times, values, errors.noise_c, errors.position_mm))
    return readings


def end_zone(course: RecordedCourse) -> FieldZone:
    return FieldZone(ScalarField(course.grid, course.end_level.reshape(course.grid.shape)))


def surface_distance_mm(a: FieldZone, b: FieldZone) -> float:
    """Mean distance between two surfaces, both ways."""
    ab = np.abs(b.signed_distance_mm(a.surfaces()[0].vertices_mm)).mean()
    ba = np.abs(a.signed_distance_mm(b.surfaces()[0].vertices_mm)).mean()
    return 0.5 * float(ab + ba)


# ---------------------------------------------------------------------- few runs stand for all


def test_weights_sum_to_one_pick_their_own_run_and_reproduce_polynomials():
    design = FactorDesign(MonitorPriors(FactorPrior(), FactorPrior(), FactorPrior()), (4, 3, 2))
    places = np.random.default_rng(1).uniform(-REACH, REACH, (50, 3))
    assert np.allclose(design.weights(places).sum(axis=1), 1.0)
    assert np.allclose(design.weights(design.points), np.eye(24), atol=1e-12)

    def polynomial(z: FloatArray) -> FloatArray:
        return 1.0 - z[:, 0] ** 3 * z[:, 1] ** 2 * z[:, 2] + 2.0 * z[:, 1]

    assert np.allclose(design.weights(places) @ polynomial(design.points), polynomial(places))
    assert design.factors(np.zeros(3)) == Factors()


def test_the_emulator_agrees_with_a_run_of_its_own():
    course = truth_at(-0.6, 0.9)
    place = np.array([[-0.6, 0.9]])
    assert runs().volumes_ml(place)[0] == pytest.approx(course.volume_ml, rel=0.02)
    level = runs().end_levels(place)[0].reshape(course.grid.shape)
    assert surface_distance_mm(FieldZone(ScalarField(course.grid, level)), end_zone(course)) < 0.15
    for point in PLACES:
        times = np.array([20.0, 61.0, 118.0, 180.0])
        points = np.tile(point, (4, 1))
        said = runs().at(points, np.zeros((1, 3)), times, 0.0).predicted_c @ runs().design.weights(place)[0]
        assert said == pytest.approx(course_at(course, points, times), abs=1.0)
    assert 0.0 < runs().emulator_error_c < 2.0


def test_factors_reach_the_solver():
    faster = TREATMENT.changed(Factors(efficiency=1.2))
    assert faster[0][0].ablations[0].power_w == pytest.approx(72.0)
    region = Region(LIVER.changed(thermal_conductivity_w_m_k=0.4), Cylinder((0, 0, 0), (0, 0, 9), 3.0))
    treatment = replace(TREATMENT, tissue=TissueMap(LIVER, (region,)))
    _, tissue, options = treatment.changed(Factors(perfusion=0.5, conductivity=1.1))
    assert [one.thermal_conductivity_w_m_k for one in tissue.tissues] == pytest.approx([1.1 * 0.51911, 0.44])
    assert options.perfusion_factor == 0.5
    assert tissue.regions[0].solid is region.solid


def test_only_what_ends_last_is_made_longer():
    twice = replace(INSERTION, ablations=(Ablation(TIP, 60.0, 100.0), Ablation(TIP, 60.0, 50.0)))
    both = (twice, INSERTION)
    in_turn = replace(TREATMENT, delivery=Delivery.SEQUENTIAL).lengthened(both, 30.0)
    assert [[a.duration_s for a in one.ablations] for one in in_turn] == [[100.0, 50.0], [210.0]]
    together = TREATMENT.lengthened(both, 30.0)
    assert [[a.duration_s for a in one.ablations] for one in together] == [[100.0, 80.0], [180.0]]


def test_a_longer_course_begins_as_the_planned_one_and_keeps_its_end_zone():
    planned, longer = TREATMENT.recorded(Factors()), TREATMENT.recorded(Factors(), 240.0)
    t = len(planned.times_s)
    assert planned.times_s[-1] == 180.0 and longer.times_s[-1] == 240.0 and longer.planned_s == 180.0
    assert np.allclose(longer.temperature_c[:t], planned.temperature_c, atol=0.05)
    assert longer.volume_ml == planned.volume_ml
    assert longer.temperature_c[-1].mean() > planned.temperature_c[-1].mean()
    with pytest.raises(PhysicsError, match="longest time"):
        TREATMENT.recorded(Factors(), 100.0)


# ---------------------------------------------------------------------- values between the centres


def oblique_grid() -> Grid:
    angle = 0.5
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([2.0, 3.0, 4.0])
    matrix[:3, 3] = (-9.0, 4.0, 30.0)
    return Grid((9, 8, 7), matrix)


def test_smooth_fields_are_read_to_third_order_and_kinks_without_overshoot():
    grid, rng = oblique_grid(), np.random.default_rng(12)
    index = rng.uniform(1.0, np.array(grid.shape) - 2.0, (60, 3))
    sampler = FieldSampler(grid, grid.to_patient(index))
    i, j, k = np.indices(grid.shape).reshape(3, -1)

    def quadratic(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        return 1.0 + x**2 - 2.0 * y**2 + 0.5 * z**2 + x * y - z

    exact = quadratic(*index.T)
    field = quadratic(*np.stack([i, j, k]).astype(float))[:, None]
    assert sampler.smooth(field)[:, 0] == pytest.approx(exact, abs=1e-9)
    assert np.abs((sampler.matrix @ field)[:, 0] - exact).max() > 0.2
    # A cooled needle of one cell: tissue beside it is not drawn below its own neighbours.
    kinked = np.where((i == 4) & (j == 4), 20.0, 60.0)[:, None]
    assert sampler.smooth(kinked).min() >= 20.0 - 1e-9 and sampler.smooth(kinked).max() <= 60.0 + 1e-9
    # At the very border there is no second difference, and the line stands.
    corner = FieldSampler(grid, grid.to_patient(np.array([[0.5, 0.5, 0.5]])))
    assert corner.smooth(field)[0] == pytest.approx((corner.matrix @ field)[0])


def test_the_checking_runs_show_the_error_of_the_grid():
    finest = TREATMENT.on_spacing(1.5).recorded(Factors())
    apart = TREATMENT.recorded(Factors()).volume_ml - finest.volume_ml
    assert 0.2 * abs(apart) < runs().volume_error_ml < 5.0 * abs(apart)
    assert runs().volume_error_ml < 0.05 * finest.volume_ml
    said = runs().at(np.array([PLACES[0]]), np.zeros((1, 3)), np.array([60.0]), 0.0)
    # One column of each checking run, alike in all runs since their weights sum to 1.
    assert said.shared_c.shape == (1, 2, runs().count) and np.ptp(said.shared_c, axis=2).max() == 0.0
    assert (1.8 * np.sqrt(said.error_variance_c2))[0] == pytest.approx(np.abs(said.shared_c).max())


# ---------------------------------------------------------------------- the posterior is the exact one


def random_table(rng: np.random.Generator, design: FactorDesign, n: int) -> ReadingTable:
    """Readings that a place within the prior explains but for errors of every kind."""
    k = len(design.points)
    predicted = 40.0 + 3.0 * rng.standard_normal((n, k))
    value = predicted @ design.weights(np.array([[0.4, -0.7]]))[0]
    return ReadingTable(
        value + rng.standard_normal(n),
        rng.uniform(0.0, 200.0, n),
        predicted,
        rng.standard_normal((n, 2, k)),
        rng.uniform(0.1, 1.0, n),
        np.zeros(n, dtype=np.int64),
        rng.integers(0, 4, n) * 7,
    )


def dense_covariance(table: ReadingTable, shared: SharedErrors) -> FloatArray:
    same = table.block[:, None] == table.block[None, :]
    return np.diag(table.variance_c2) + same * (shared.columns @ shared.columns.T)


def test_products_are_those_of_the_dense_covariance():
    rng = np.random.default_rng(2)
    design = FactorDesign(MonitorPriors(FactorPrior(), FactorPrior()), (3, 2, 2))
    table = random_table(rng, design, 30)
    shared = SharedErrors.at(table, design.weights(np.array([[0.3, -0.4]]))[0], 37.0, 0.1, 0.5, 90.0)
    vectors = rng.standard_normal((30, 3))
    exact = np.linalg.inv(dense_covariance(table, shared))
    assert np.allclose(shared.products(vectors, table.variance_c2), vectors.T @ exact @ vectors)
    # The likeliest shared error is the mean of its conditional distribution.
    residual = rng.standard_normal(30)
    conditional = (dense_covariance(table, shared) - np.diag(table.variance_c2)) @ exact @ residual
    assert np.allclose(shared.explained(residual, table.variance_c2), conditional)


def test_the_posterior_is_that_of_brute_force():
    rng = np.random.default_rng(3)
    design = FactorDesign(MonitorPriors(FactorPrior(), FactorPrior()), (3, 3, 2))
    table = random_table(rng, design, 25)
    shared = SharedErrors.at(table, design.weights(np.zeros((1, 2)))[0], 37.0, 0.3, 0.7, 90.0)
    found = posterior(design, table, shared)
    axis = np.linspace(-REACH, REACH, 301)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    exact = np.linalg.inv(dense_covariance(table, shared))
    residual = table.value_c - design.weights(places) @ table.predicted_c.T
    logarithm = -0.5 * np.einsum("mi,ij,mj->m", residual, exact, residual) - 0.5 * (places**2).sum(axis=1)
    weight = np.exp(logarithm - logarithm.max())
    weight /= weight.sum()
    mean = weight @ places
    sd = np.sqrt(weight @ (places - mean) ** 2)
    assert found.mean == pytest.approx(mean, abs=0.02 * sd.min())
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(sd, rel=0.02)


def test_a_linear_problem_has_its_conjugate_posterior():
    # y = 3 z + noise of 0.5 with z of mean 0 and sd 1: precision 1 + n 9 / 0.25.
    design = FactorDesign(MonitorPriors(FactorPrior(), None), (2, 2, 2))
    n, truth = 6, 0.8
    table = ReadingTable(
        np.full(n, 37.0 + 3.0 * truth),
        np.arange(1.0, n + 1.0),
        37.0 + 3.0 * np.tile(design.points[:, 0], (n, 1)),
        np.empty((n, 0, 2)),
        np.full(n, 0.25),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
    )
    found = posterior(design, table, SharedErrors.at(table, np.array([0.5, 0.5]), 37.0, 0.0, 0.0, 90.0))
    precision = 1.0 + n * 9.0 / 0.25
    assert found.mean[0] == pytest.approx(truth * (precision - 1.0) / precision, abs=1e-3)
    assert found.covariance[0, 0] == pytest.approx(1.0 / precision, rel=0.02)
    places = found.spread_places(400)
    assert places.std() == pytest.approx(precision**-0.5, rel=0.05)


def test_quantiles_of_weighted_values():
    rng = np.random.default_rng(4)
    values = rng.standard_normal(20_000)
    weights = np.full(20_000, 1.0 / 20_000)
    assert weighted_quantiles(values, weights, np.array([0.05, 0.5, 0.95])) == pytest.approx(
        [-1.645, 0.0, 1.645], abs=0.05
    )
    with_never = np.array([1.0, 2.0, np.inf, np.inf])
    found = weighted_quantiles(with_never, np.full(4, 0.25), np.array([0.05, 0.3, 0.95]))
    assert found[0] == 1.0 and 1.0 <= found[1] <= 2.0 and np.isinf(found[2])


# ---------------------------------------------------------------------- what readings do


def test_before_any_reading_the_priors_speak():
    state = AblationMonitor(runs()).state()
    liver = MonitorPriors.of(LIVER)
    # From the least that models take, 0.0064 1/s, to double the value of the data base.
    assert state.factors["perfusion"].low == pytest.approx(0.0064 / LIVER.perfusion_per_s, rel=0.05)
    assert state.factors["perfusion"].high == pytest.approx(2.0, rel=0.05)
    assert state.factors["efficiency"].central == pytest.approx(liver.efficiency.median, rel=0.01)
    assert state.readings == 0 and not state.evidence and state.time_needed is None
    assert state.outer_zone.volume_ml > state.central_zone.volume_ml > state.inner_zone.volume_ml
    assert state.volume.low < state.volume.central < state.volume.high


def test_exact_readings_find_the_factors_and_more_of_them_narrow_the_interval():
    course = truth_at(-0.6, 0.9)
    factors = runs().design.factors((-0.6, 0.9))
    monitor = AblationMonitor(runs(), options=FAITHFUL)
    early, late = couples(course, None, 60.0, EXACT), couples(course, None, 150.0, EXACT)
    first = monitor.update(*early)
    later = [replace_rows(one, one.times_s > 60.0) for one in late]
    second = monitor.update(*later)
    assert second.readings == sum(len(one) for one in late) and second.now_s == pytest.approx(148.0)
    assert second.factors["perfusion"].central == pytest.approx(factors.perfusion, rel=0.12)
    assert second.factors["efficiency"].central == pytest.approx(factors.efficiency, rel=0.04)
    assert second.volume.central == pytest.approx(course.volume_ml, rel=0.03)
    assert second.volume.high - second.volume.low < first.volume.high - first.volume.low
    # All at once says the same.
    at_once = AblationMonitor(runs(), options=FAITHFUL).update(*late)
    assert at_once.volume.central == pytest.approx(second.volume.central, rel=1e-6)


def replace_rows(readings: TemperatureReadings, rows: np.ndarray) -> TemperatureReadings:
    return TemperatureReadings(
        readings.sensor,
        readings.points_mm[rows],
        readings.times_s[rows],
        readings.temperature_c[rows],
        readings.noise_c[rows],
        readings.footprint_mm,
        readings.position_error_mm,
    )


def changed_values(readings: TemperatureReadings, values: FloatArray) -> TemperatureReadings:
    return TemperatureReadings(
        readings.sensor,
        readings.points_mm,
        readings.times_s,
        values,
        readings.noise_c,
        readings.footprint_mm,
        readings.position_error_mm,
    )


def test_a_spike_is_named_and_left_out():
    course, rng = truth_at(0.4, -0.5), np.random.default_rng(6)
    readings = couples(course, rng, 80.0)
    clean = AblationMonitor(runs()).update(*readings)
    values = np.array(readings[1].temperature_c)
    values[7] += 120.0
    spiked = AblationMonitor(runs()).update(readings[0], changed_values(readings[1], values), readings[2])
    (finding,) = (one for one in spiked.evidence if one.subject == "couple 1")
    assert finding.finding.startswith("1 of 19 readings")
    assert not any("not used" in one.finding for one in clean.evidence)
    assert spiked.readings == clean.readings - 1
    assert spiked.volume.central == pytest.approx(clean.volume.central, rel=0.02)


def test_a_sensor_that_contradicts_the_others_is_set_aside_and_of_two_none():
    course, rng = truth_at(0.4, -0.5), np.random.default_rng(7)
    readings = couples(course, rng, 120.0)
    good = AblationMonitor(runs()).update(readings[0], readings[2])
    cold = changed_values(readings[1], 37.0 + 0.1 * (readings[1].temperature_c - 37.0))
    state = AblationMonitor(runs()).update(readings[0], cold, readings[2])
    (finding,) = (one for one in state.evidence if "colder" in one.finding)
    assert finding.subject == "couple 1" and finding.finding.endswith("is not used")
    assert state.volume.central == pytest.approx(good.volume.central, rel=1e-6)
    two = AblationMonitor(runs()).update(readings[0], cold)
    (finding,) = (one for one in two.evidence if "both sensors are used" in one.finding)
    assert two.readings == len(readings[0]) + len(cold)
    assert "'couple 0'" in finding.remedy and "'couple 1'" in finding.remedy


def test_readings_that_no_factor_explains_call_the_model_into_question():
    course = truth_at(0.0, 0.0)
    readings = couples(course, None, 80.0, EXACT)
    wrong = [changed_values(one, 37.0 + 4.0 * np.sin(one.times_s / 6.0)) for one in readings]
    state = AblationMonitor(runs(), options=FAITHFUL).update(*wrong)
    assert state.misfit > 1.5
    subjects = {one.subject for one in state.evidence}
    assert "model" in subjects
    cold = [changed_values(one, np.full(len(one), 37.0)) for one in readings]
    state = AblationMonitor(runs()).update(*cold)
    assert any("far below" in one.finding for one in state.evidence if one.subject == "efficiency")


def test_thermometry_on_a_grid_of_its_own_corrects_the_end_zone():
    course, rng = truth_at(-1.5, 1.2), np.random.default_rng(8)
    # Oblique and anisotropic, larger than the domain of the runs along one axis.
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([2.5, 2.5, 5.0])
    shape = (13, 12, 24)
    matrix[:3, 3] = MIDDLE - matrix[:3, :3] @ (0.5 * (np.array(shape) - 1.0))
    grid = Grid(shape, matrix)
    near = np.linalg.norm(grid.centres_mm() - MIDDLE, axis=1) > 5.0
    volumes = []
    for time in (30.0, 45.0, 60.0):
        empty = thermometry_volume("MR", ScalarField(grid, np.full(shape, 37.0, np.float32)), time, 1.0)
        covered = inside_domain(course.grid, empty)
        values = np.full(len(empty), 37.0)
        values[covered] = footprint_values(
            course.grid,
            course.times_s,
            course.temperature_c[None],
            empty.points_mm[covered],
            empty.footprint_mm,
            empty.times_s[covered],
        )[:, 0]
        values += rng.standard_normal(len(values))
        field = ScalarField(grid, values.reshape(shape).astype(np.float32))
        volumes.append(thermometry_volume("MR", field, time, 1.0, near.reshape(shape)))
    state = AblationMonitor(runs()).update(*volumes)
    prior = AblationMonitor(runs()).state()
    truth = end_zone(course)
    assert surface_distance_mm(state.central_zone, truth) < 0.5 * surface_distance_mm(prior.central_zone, truth)
    assert any("voxels lie outside" in one.finding for one in state.evidence)
    assert 2_000 < state.readings < sum(len(one) for one in volumes)


def test_a_voxel_reads_the_mean_over_itself():
    grid = Grid((1, 1, 1), np.diag([2.0, 4.0, 6.0, 1.0]))
    readings = thermometry_volume("MR", ScalarField(grid, np.full((1, 1, 1), 40.0, np.float32)), 5.0, 1.0)
    # The mean of the square of a coordinate over a box of side a is a^2 / 12.
    assert (readings.footprint_mm**2).mean(axis=0) == pytest.approx(np.array([4.0, 16.0, 36.0]) / 12.0)


# ---------------------------------------------------------------------- the time still needed


def test_the_time_still_needed_is_that_of_the_truth_and_falls_to_zero():
    course = truth_at(-0.6, 0.9)
    target, margin = [tuple(MIDDLE)], 9.0
    points = target_points(np.array(target), margin, course.grid)
    level = target_levels(points, course.grid, TREATMENT.tissue, course.level[None], runs().held)
    death = times_of_death_s(level, course.times_s, np.ones((1, 1)))[0]
    assert 40.0 < death < 180.0
    monitor = AblationMonitor(runs(), target=target, margin_mm=margin)
    before = monitor.state()
    early = monitor.update(*couples(course, None, 40.0))
    assert early.time_needed.central == pytest.approx(death - early.now_s, abs=12.0)
    assert early.time_needed.contains(death - early.now_s)
    assert before.time_needed.high - before.time_needed.low > early.time_needed.high - early.time_needed.low
    assert early.chance_of_success > 0.99
    late = monitor.update(*(replace_rows(one, one.times_s > 40.0) for one in couples(course, None, 179.0)))
    assert late.time_needed.central == 0.0 and late.time_needed.high == 0.0
    # A margin that nothing reaches is never lethal, and the state says so.
    never = AblationMonitor(runs(), target=target, margin_mm=18.0).update(*couples(course, None, 60.0))
    assert np.isinf(never.time_needed.central) and never.chance_of_success == 0.0
    assert any(one.subject == "time still needed" for one in never.evidence)


def test_a_target_about_the_needle_and_beside_a_vessel_asks_for_tissue_alone():
    vessel = Cylinder(tuple(MIDDLE + 6.0 * ASIDE - 40 * AXIS), tuple(MIDDLE + 6.0 * ASIDE + 40 * AXIS), 2.5)
    tissue = TissueMap(LIVER, vessels=(Vessel("vein", vessel, 5.0),))
    grid = truth_at(0.0, 0.0).grid
    held = tissue.vessel_voxels(grid)
    points = target_points(np.array([MIDDLE]), 8.0, grid)
    everywhere = np.full((1, 2, held.size), 1.0, dtype=np.float32)
    everywhere[:, :, held.ravel()] = -15.0
    level = target_levels(points, grid, tissue, everywhere, held)
    assert level.min() == pytest.approx(1.0)
    with pytest.raises(PhysicsError, match="no tissue"):
        target_levels(points, grid, tissue, everywhere, np.ones_like(held))


def test_times_of_death_are_read_between_the_fields():
    times = np.array([0.0, 10.0, 20.0])
    level = np.array([[[-15.0, -15.0], [-4.0, 3.0], [6.0, 9.0]]], dtype=np.float32)
    assert times_of_death_s(level, times, np.ones((1, 1)))[0] == pytest.approx(14.0)
    assert np.isinf(times_of_death_s(level - 8.0, times, np.ones((1, 1)))[0])


@pytest.mark.parametrize(
    ("target", "margin", "words"),
    [
        ([(0.0, 0.0, 300.0)], 5.0, "leaves the domain"),
        ([tuple(MIDDLE)], 60.0, "leaves the domain"),
        ([tuple(MIDDLE)], -1.0, "margin"),
        ([(0.0, np.nan, 0.0)], 1.0, "finite"),
        (Cylinder((300.0, 0.0, 0.0), (310.0, 0.0, 0.0), 2.0), 5.0, "no point of the domain"),
    ],
)
def test_impossible_targets_are_refused(target, margin, words):
    with pytest.raises(PhysicsError, match=words):
        AblationMonitor(runs(), target=target, margin_mm=margin)


# ---------------------------------------------------------------------- bad input


def test_readings_that_cannot_be_are_refused():
    with pytest.raises(PhysicsError, match="no temperature"):
        thermocouple("t", MIDDLE, [1.0, 2.0], [40.0, np.nan])
    with pytest.raises(PhysicsError, match="no temperature"):
        thermocouple("t", MIDDLE, [1.0], [-300.0])
    with pytest.raises(PhysicsError, match="out of order"):
        thermocouple("t", MIDDLE, [2.0, 1.0], [40.0, 40.0])
    with pytest.raises(PhysicsError, match="at least one"):
        thermocouple("t", MIDDLE, [], [])
    with pytest.raises(PhysicsError, match="one place, time"):
        thermocouple("t", MIDDLE, [1.0, 2.0], [40.0])
    for noise in (0.0, -1.0, np.nan):
        with pytest.raises(PhysicsError, match="noise"):
            thermocouple("t", MIDDLE, [1.0], [40.0], noise)
    with pytest.raises(PhysicsError, match="times"):
        thermocouple("t", MIDDLE, [-1.0], [40.0])
    with pytest.raises(PhysicsError, match="no number"):
        thermocouple("t", (0.0, np.nan, 0.0), [1.0], [40.0])
    with pytest.raises(PhysicsError, match="position error"):
        thermocouple("t", MIDDLE, [1.0], [40.0], position_error_mm=-1.0)
    field = ScalarField(Grid((2, 2, 2), np.eye(4)), np.full((2, 2, 2), 40.0, np.float32))
    with pytest.raises(PhysicsError, match="shape"):
        thermometry_volume("MR", field, 1.0, 1.0, np.ones((3, 2, 2), dtype=np.bool_))
    with pytest.raises(PhysicsError, match="at least one"):
        thermometry_volume("MR", field, 1.0, 1.0, np.zeros((2, 2, 2), dtype=np.bool_))


def test_an_update_that_cannot_be_leaves_the_monitor_as_it_was():
    monitor = AblationMonitor(runs())
    first = thermocouple("t", PLACES[0], [10.0, 20.0], [40.0, 44.0])
    monitor.update(first)
    cases = (
        ((), None, "at least one sensor"),
        ((thermocouple("t", PLACES[0], [30.0], [45.0]),), 25.0, "future"),
        ((thermocouple("t", PLACES[0], [15.0], [45.0]),), 30.0, "out of order"),
        ((thermocouple("u", PLACES[0], [15.0], [45.0]),), 18.0, "run back"),
        ((thermocouple("u", (0.0, 0.0, 400.0), [30.0], [45.0]),), None, "outside the domain"),
        ((thermocouple("u", PLACES[0], [500.0], [45.0]),), None, "longest_s"),
        (
            (thermocouple("t", PLACES[0], [30.0], [45.0]), thermocouple("t", PLACES[0], [28.0], [45.0])),
            None,
            "order",
        ),
    )
    for readings, now_s, words in cases:
        with pytest.raises(PhysicsError, match=words):
            monitor.update(*readings, now_s=now_s)
    assert monitor.now_s == 20.0 and monitor.state().readings == 2
    # A late reading of another sensor is no disorder.
    assert monitor.update(thermocouple("u", PLACES[1], [15.0], [38.0]), now_s=30.0).now_s == 30.0


def test_impossible_settings_are_refused():
    for make, words in (
        (lambda: MonitorOptions(probability=1.0), "probability"),
        (lambda: MonitorOptions(model_error=-0.1), "model_error"),
        (lambda: MonitorOptions(correlation_mm=0.0), "correlation_mm"),
        (lambda: MonitorOptions(model_drift_c=np.nan), "model_drift_c"),
        (lambda: MonitorOptions(drift_s=-1.0), "drift_s"),
        (lambda: FactorPrior(0.0, 1.0), "median"),
        (lambda: FactorPrior(1.0, 0.0), "log_sd"),
        (lambda: FactorPrior.between(2.0, 1.0), "low < high"),
        (lambda: MonitorPriors(None, None), "at least one"),
        (lambda: FactorDesign(MonitorPriors.of(LIVER), (1, 3, 2)), "two runs"),
        (lambda: Factors(efficiency=0.0), "efficiency"),
        (lambda: replace(TREATMENT, options=HeatOptions(observe=print)), "observe"),
        (lambda: replace(TREATMENT, insertions=()), "at least one ablation"),
        (lambda: replace(TREATMENT, options=replace(TREATMENT.options, observe_every_s=999.0)).recorded(Factors()),
         "observe_every_s"),
    ):  # fmt: skip
        with pytest.raises(PhysicsError, match=words):
            make()


def test_a_generator_that_works_by_temperature_has_no_efficiency():
    own = replace(INSERTION, applicator="generic-rfa-cooled-20", ablations=(Ablation(TIP, None, 60.0),))
    treatment = Treatment(RadiofrequencyModel, (own,), homogeneous(LIVER))
    assert treatment.controlled
    with pytest.raises(DeviceError, match="efficiency"):
        treatment.changed(Factors(efficiency=1.1))
    assert MonitorPriors.of(LIVER, efficiency=False).names == ("perfusion",)
    assert MonitorPriors.of(LIVER, conductivity=True).names == ("perfusion", "efficiency", "conductivity")
    with pytest.raises(PhysicsError, match="no range"):
        MonitorPriors.of(LIVER.changed(thermal_conductivity_w_m_k=2.0), conductivity=True)


# ---------------------------------------------------------------------- what is promised


#: Eight truths 1.7 standard deviations off the median of the priors, all about it: none is a draw from the priors.
WRONG = tuple((1.7 * np.cos(angle), 1.7 * np.sin(angle)) for angle in np.arange(8) * np.pi / 4.0 + 0.2)


@cache
def full_runs() -> TreatmentRuns:
    return TreatmentRuns(TREATMENT)


def errors_of(state: MonitorState, course: RecordedCourse) -> tuple[float, float]:
    """Of the end zone: mean distance of the surfaces, mm, and the volume's, ml."""
    return (
        surface_distance_mm(state.central_zone, end_zone(course)),
        abs(state.volume.central - course.volume_ml),
    )


def halved_errors(truth: Treatment, errors: Errors, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prior = AblationMonitor(full_runs()).state()
    before, after = [], []
    for place in WRONG:
        course = truth.recorded(full_runs().design.factors(place))
        state = AblationMonitor(full_runs()).update(*couples(course, rng, 60.0, errors, SIX))
        before.append(errors_of(prior, course))
        after.append(errors_of(state, course))
    print(np.round(before, 2), np.round(after, 2), np.mean(before, axis=0), np.mean(after, axis=0))
    assert (np.mean(after, axis=0) < 0.5 * np.mean(before, axis=0)).all(), (before, after)
    # Where perfusion and efficiency make up for each other the prior's zone is right by chance; else all gain.
    off = np.array(before)[:, 1] > 2.0
    assert np.count_nonzero(off) >= 4 and (np.array(after)[off, 1] < 0.8 * np.array(before)[off, 1]).all()


@pytest.mark.long
def test_after_a_third_of_the_treatment_a_wrong_prior_errs_less_than_half_as_much():
    halved_errors(TREATMENT, Errors(), 9)


class Study:
    """Counts how often intervals of 90 % hold the truth; the treatment is a third over when they are stated."""

    def __init__(self, runs: TreatmentRuns, margin_mm: float, until_s: float, errors: Errors) -> None:
        self.runs, self.margin_mm, self.until_s, self.errors = runs, margin_mm, until_s, errors
        self.held = {"perfusion": 0, "efficiency": 0, "volume": 0, "time": 0}
        self.cases = 0
        self.target = np.array([MIDDLE])
        self.points = target_points(self.target, margin_mm, runs.grid)

    def add(self, course: RecordedCourse, factors: Factors, rng: np.random.Generator) -> MonitorState:
        # Cells of the cooled shaft.
        still = np.abs(course.temperature_c[-1].reshape(course.grid.shape) - 20.0) < 1e-3
        level = target_levels(self.points, course.grid, self.runs.treatment.tissue, course.level[None], still)
        death = times_of_death_s(level, course.times_s, np.ones((1, 1)))[0]
        state = AblationMonitor(self.runs, target=self.target, margin_mm=self.margin_mm).update(
            *couples(course, rng, self.until_s, self.errors)
        )
        self.cases += 1
        self.held["perfusion"] += state.factors["perfusion"].contains(factors.perfusion)
        self.held["efficiency"] += state.factors["efficiency"].contains(factors.efficiency)
        self.held["volume"] += state.volume.contains(course.volume_ml)
        self.held["time"] += bool(state.time_needed.contains(max(death - state.now_s, 0.0)))
        return state

    def judge(self) -> None:
        """One method in a thousand that holds the truth in 90 % falls below this bound."""
        from scipy.stats import binom

        print(self.cases, self.held)
        assert min(self.held.values()) >= int(binom.ppf(1e-3, self.cases, 0.9)), (self.cases, self.held)
        # An interval that always holds the truth would be as useless as one that never does.
        assert sum(self.held.values()) < len(self.held) * self.cases, self.held


def draws_from_the_prior(rng: np.random.Generator, count: int) -> FloatArray:
    """Places in standard deviations, not beyond where the device table ends."""
    return np.clip(rng.standard_normal((count, 2)), -2.4, 2.4)


def same_grid_study(seed: int, truths: int) -> Study:
    rng, study = np.random.default_rng(seed), Study(full_runs(), 9.0, 60.0, Errors())
    for place in draws_from_the_prior(rng, truths):
        factors = study.runs.design.factors(place)
        study.add(TREATMENT.recorded(factors), factors, rng)
    return study


@pytest.mark.long
def test_intervals_hold_the_truth_at_their_nominal_rate():
    same_grid_study(410_733, 44).judge()


@pytest.mark.long
def test_a_larger_study_of_the_intervals():
    same_grid_study(915_208, 160).judge()


@pytest.mark.long
def test_intervals_hold_the_truth_of_a_finer_grid_and_its_end_zone_is_found():
    """Truths on 2 mm; the monitor's runs have 3 mm, and the two that check them 2 mm at other factors."""
    planned = replace(INSERTION, ablations=(Ablation(TIP, 60.0, 300.0),))
    coarse = replace(
        TREATMENT,
        insertions=(planned,),
        options=HeatOptions(spacing_mm=3.0, reach_mm=30.0, observe_every_s=10.0),
    )
    study = Study(TreatmentRuns(coarse), 10.0, 100.0, Errors(drift_c=0.0))
    fine, design = coarse.on_spacing(2.0), study.runs.design
    rng = np.random.default_rng(626_411)
    for place in draws_from_the_prior(rng, 60):
        factors = design.factors(place)
        study.add(fine.recorded(factors), factors, rng)
    study.judge()
    halved_errors(TREATMENT.on_spacing(2.0), Errors(drift_c=0.0), 31)
