"""The other programs of the physics benchmark: they agree with each other and with closed forms."""

import importlib.util
import math
from dataclasses import replace

import freezing_peers
import heating_peers
import numpy as np
import physics_problems
import pytest
from peer_run import Run, Schedule
from physics_peers import bandwidth_gb_s, largest_difference, main, make_peers, peer_rows
from physics_problems import BODY_C, DEATH, Liver
from potential_peers import Potential, scipy_pulses, scipy_radiofrequency
from rows import check_rows
from stencils import laplacian

FAST = {"numpy", "numpy float64", "JAX", "Devito", "scipy"}


def solved(problem, **keywords):
    return {peer.name: peer.solve() for peer in make_peers(problem, **keywords)[0] if peer.name in FAST}


def blob(cells, width_m, times_s, perfusion_w_m3_k):
    """A Gaussian off the middle, and where it is asked for."""
    empty = physics_problems.pennes(cells, times_s)
    axis = (np.arange(cells) - 0.5 * (cells - 1)) * empty.spacing_m
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    r2 = (x - 1e-3) ** 2 + (y + 0.5e-3) ** 2 + z**2
    start = (10.0 * np.exp(-r2 / (2.0 * width_m**2))).astype(np.float32)
    start[[0, -1]] = start[:, [0, -1]] = start[:, :, [0, -1]] = 0.0
    problem = replace(empty, start_k=start, source_w_m3=np.zeros_like(start), perfusion_w_m3_k=perfusion_w_m3_k)
    return problem, r2[tuple(problem.probes.T)]


@pytest.mark.parametrize("perfusion", [0.0, 5.89e4])
def test_constant_property_peers_let_a_blob_decay(perfusion):
    width, times = 3e-3, (10.0, 20.0)
    problem, r2 = blob(30, width, times, perfusion)
    runs = solved(problem)
    assert {"numpy", "numpy float64", "scipy"} <= set(runs)
    alpha = problem.conductivity_w_m_k / problem.heat_j_m3_k
    for name, run in runs.items():
        assert run.values.shape == (2, len(r2)) and run.share == 1.0
        for time_s, values in zip(times, run.values, strict=True):
            wide2 = width**2 + 2.0 * alpha * time_s
            decay = math.exp(-perfusion / problem.heat_j_m3_k * time_s)
            exact = 10.0 * decay * (width**2 / wide2) ** 1.5 * np.exp(-r2 / (2.0 * wide2))
            assert np.abs(values - exact).max() < (0.25 if name == "scipy" else 0.15), name
    # The explicit ones take the same steps: only rounding is between them.
    for name in set(runs) & {"numpy float64", "JAX", "Devito"}:
        assert largest_difference(runs["numpy"], runs[name]) < 1e-4, name
    assert 1e-4 < largest_difference(runs["numpy"], runs["scipy"]) < 0.4


def test_constant_property_peers_relax_by_perfusion_alone():
    problem = physics_problems.pennes(24, (5.0, 15.0))
    start = np.full_like(problem.start_k, 8.0)
    start[[0, -1]] = start[:, [0, -1]] = start[:, :, [0, -1]] = 0.0
    problem = replace(problem, start_k=start, source_w_m3=np.zeros_like(start))
    middle = np.abs(problem.probes - 12).max(axis=1) <= 2
    for name, run in solved(problem).items():
        exact = 8.0 * np.exp(-problem.perfusion_w_m3_k / problem.heat_j_m3_k * np.array([5.0, 15.0]))
        # One step of Euler's is 2 s at most: w dt / 2 rho c is 1.5 %, of an exponent of at most 0.23.
        np.testing.assert_allclose(
            run.values[:, middle], np.broadcast_to(exact[:, None], (2, middle.sum())), rtol=5e-3
        )
        assert run.cells == 24**3, name


@pytest.mark.long
@pytest.mark.parametrize("package, name, same_scheme", [("fipy", "FiPy", "scipy"), ("pde", "py-pde", "numpy")])
def test_slow_constant_property_peers_agree(package, name, same_scheme):
    """Little but rounding is between them, and the walls, which lie half a cell further in there."""
    if importlib.util.find_spec(package) is None:
        assert any(name in sentence for sentence in make_peers(physics_problems.pennes(8))[1])
        pytest.skip(f"{package} is not installed")
    problem, _ = blob(20, 1.5e-3, (4.0, 8.0), 5.89e4)
    runs = {peer.name: peer.solve() for peer in make_peers(problem)[0] if peer.name in {name, same_scheme}}
    assert largest_difference(runs[same_scheme], runs[name]) < 3e-3


def test_source_of_the_antenna_gives_its_power():
    problem = physics_problems.microwave(30)
    assert float(problem.source_w_m3.sum(dtype=np.float64)) * problem.spacing_m**3 == pytest.approx(36.0, rel=1e-5)
    assert (problem.source_w_m3 > 0).all()
    np.testing.assert_allclose(problem.source_w_m3, problem.source_w_m3[::-1, :, ::-1], rtol=1e-5)


def test_heating_peers_agree():
    problem = physics_problems.microwave(24, (4.0, 20.0))
    runs = solved(problem)
    for run in runs.values():
        assert largest_difference(runs["numpy"], run) < 0.05
        assert run.figures["zone_cm3"] == pytest.approx(runs["numpy"].figures["zone_cm3"], abs=0.01)
    assert runs["numpy"].values.max() >= 100.0 and runs["numpy"].figures["zone_cm3"] > 0.3


def test_heating_peers_keep_the_energy():
    """Without perfusion, and far from boiling, all heat is found again."""
    problem = physics_problems.microwave(24, (4.0, 8.0))
    source = np.zeros_like(problem.source_w_m3)
    source[8:-7, 7:-8, 9:-9] = 0.02 * problem.source_w_m3[8:-7, 7:-8, 9:-9]
    everywhere = np.argwhere(np.ones((24,) * 3, bool))
    problem = replace(problem, liver=Liver(perfusion_w_m3_k=0.0), source_w_m3=source, probes=everywhere)
    for run in solved(problem).values():
        found = problem.liver.heat_j_m3_k * (run.values - BODY_C).sum(axis=1)
        np.testing.assert_allclose(found, source.sum(dtype=np.float64) * np.array([4.0, 8.0]), rtol=2e-3)
        assert run.values.max() < 60.0


def test_heating_peers_are_cooled_by_blood():
    """A weak uniform source away from the walls: q / w (1 - exp(-w t / rho c)) above the blood."""
    problem, rise = physics_problems.microwave(24, (10.0, 20.0)), 1.5
    liver = problem.liver
    source = np.full((24,) * 3, rise * liver.perfusion_w_m3_k, np.float32)
    problem = replace(problem, source_w_m3=source, probes=np.array([[12, 12, 12]]))
    share = 1.0 - np.exp(-liver.perfusion_w_m3_k / liver.heat_j_m3_k * np.array([10.0, 20.0]))
    for run in solved(problem).values():
        np.testing.assert_allclose(run.values[:, 0] - BODY_C, rise * share, rtol=0.01)


def test_boiling_holds_the_temperature_as_long_as_there_is_water():
    """A uniform source without perfusion: 100 °C after rho c 63 K / q, and more only after the water has gone."""
    liver, power = Liver(perfusion_w_m3_k=0.0), 4e7
    warm_s = liver.heat_j_m3_k * 63.0 / power
    dry_s = warm_s + liver.boiling_j_m3 / power
    times = tuple(float(round(time_s)) for time_s in (0.5 * warm_s, warm_s + 3, dry_s - 3, dry_s + 10))
    problem = replace(
        physics_problems.microwave(24, times), liver=liver, source_w_m3=np.full((24,) * 3, power, np.float32),
        probes=np.array([[12, 12, 12]]),
    )  # fmt: skip
    expected = (
        BODY_C + power * times[0] / liver.heat_j_m3_k, 100.0, 100.0,
        100.0 + power * (times[3] - dry_s) / liver.heat_j_m3_k,
    )  # fmt: skip
    for run in solved(problem).values():
        np.testing.assert_allclose(run.values[:, 0], expected, atol=0.3)


@pytest.mark.parametrize("temperature, seconds", [(50.0, 2113.0), (55.0, 47.3), (60.0, 1.186)])
def test_damage_reaches_one_when_the_tables_say(temperature, seconds):
    damage = heating_peers.Damage((3, 1, 1))
    held = np.array([temperature, 38.0, BODY_C], np.float32).reshape(3, 1, 1)
    damage.advance(held, 0.0)
    for _ in range(10):
        damage.advance(held, seconds / 10)
    assert damage.death[0] == pytest.approx(1.0, rel=5e-3)
    assert damage.minutes[0] == pytest.approx(2.0 ** (temperature - 43.0) * seconds / 60.0, rel=1e-3)
    assert (damage.death[1:] == 0).all() and (damage.flow[1:] == 1).all()
    assert damage.flow[0] < 0.01 and damage.zone_cm3(0.01) == pytest.approx(float((damage.death >= 1).sum()))


def test_log_mean_is_the_mean_of_a_rate_that_grows_evenly_in_its_logarithm():
    cooler, hotter = (heating_peers.log_rate(DEATH, np.array([degrees])) for degrees in (50.0, 53.0))
    share = np.linspace(0.0, 1.0, 20_001)
    mean = np.trapezoid(np.exp(cooler + share * (hotter - cooler)), share)
    assert heating_peers.log_mean_rate(cooler, hotter, np)[0] == pytest.approx(mean, rel=1e-6)
    assert heating_peers.log_mean_rate(hotter, hotter, np)[0] == pytest.approx(math.exp(hotter[0]))
    assert heating_peers.log_rate(DEATH, np.float32([900.0]))[0] <= heating_peers.LARGEST_LOG_RATE


def test_laplacian_knows_every_direction():
    """Exact for a polynomial of second degree with odd terms, which cancel only if all six neighbours count."""
    x, y, z = (axis.astype(np.float32) for axis in np.indices((5, 6, 7)))
    found = np.empty((3, 4, 5), np.float32)
    laplacian(x**2 + 2 * y**2 + 3 * z**2 + x * y - 4 * y * z + 5 * x + 6 * y + 7 * z, found)
    np.testing.assert_allclose(found, 12.0, atol=1e-4)


def test_freezing_curves_hold_latent_heat_and_both_conductivities():
    liver = Liver()
    content, temperature, potential = freezing_peers.curves(liver)
    assert np.interp(BODY_C, temperature, content) == pytest.approx(BODY_C)
    taken = liver.heat_j_m3_k * np.diff(np.interp([-8.0, -0.5], temperature, content))[0]
    mean_heat = 0.5 * (liver.heat_j_m3_k + liver.frozen_heat_j_m3_k)
    assert taken == pytest.approx(liver.freezing_j_m3 + 7.5 * mean_heat)
    slope = np.diff(potential) / np.diff(temperature)
    np.testing.assert_allclose(slope, [2.0, 0.5 * (2.0 + 0.519), 0.519])
    assert (np.diff(content) > 0).all()


def test_freezing_grows_from_the_probes_and_is_symmetric():
    problem = physics_problems.cryoprobes((30, 30, 24), (30.0, 120.0))
    x, y, z = problem.needles[0]
    mirrored = np.array([[x + 2, y, z], [29 - x - 2, y, z], [x, y + 2, z], [29 - x, 29 - y - 2, z], [1, 1, 1]])
    runs = solved(replace(problem, probes=mirrored))
    (run,) = runs.values()
    np.testing.assert_allclose(run.values[:, :4], run.values[:, :1] + np.zeros((2, 4)), atol=1e-3)
    assert run.values[1, 0] < -40.0 and run.values[1, 4] == pytest.approx(BODY_C, abs=0.5)
    assert run.figures["ice_cm3"] > run.figures["zone_cm3"] > 1.0
    warm = solved(replace(problem, probe_c=BODY_C))["numpy"]
    np.testing.assert_allclose(warm.values, BODY_C, atol=1e-3)


def test_needle_pair_conducts_as_the_closed_form_says():
    """pi sigma / acosh(d / 2a) per length, of two long needles in an insulated box that is wide beside d."""
    problem = physics_problems.pulse_pair((71, 70, 3), apart=16, exposed=3)
    run = scipy_pulses(physics_problems.constant_conductivity(problem))
    exact = math.pi * problem.native_s_m / math.acosh(16.0) * 3e-3 * problem.voltage_v
    assert abs(run.figures["current_a"]) == pytest.approx(exact, rel=0.06)
    uncorrected = 0.713 / 0.9067 * exact
    assert abs(run.figures["current_a"]) > 1.1 * uncorrected


def test_porated_tissue_conducts_between_its_two_limits():
    problem = physics_problems.pulse_pair((32, 25, 20), apart=15, exposed=10)
    native = scipy_pulses(physics_problems.constant_conductivity(problem)).figures["current_a"]
    porated = scipy_pulses(problem).figures["current_a"]
    assert 1.3 < porated / native < problem.porated_s_m / problem.native_s_m
    doubled = scipy_pulses(replace(physics_problems.constant_conductivity(problem), voltage_v=4500.0))
    assert doubled.figures["current_a"] == pytest.approx(2.0 * native, rel=1e-3)


def test_heat_of_a_potential_is_voltage_times_current():
    rng = np.random.default_rng(3)
    shape = (9, 11, 12)
    tip, walls = np.zeros(shape, bool), np.ones(shape, bool)
    tip[4, 5, 3:9] = True
    walls[1:-1, 1:-1, 1:-1] = False
    potential = Potential(shape, tip | walls, tip, 2.3)
    potential.volts[tip] = 40.0
    potential.conduct(rng.uniform(0.1, 1.0, shape))
    potential.solve()
    heat = potential.heat_w_m3(1.5e-3).sum() * 1.5e-3**3
    assert heat == pytest.approx(40.0 * potential.current(tip, 1.5e-3), rel=1e-4)
    assert potential.current(walls, 1.5e-3) == pytest.approx(-potential.current(tip, 1.5e-3), rel=1e-4)


def test_radiofrequency_control_holds_the_hottest_tissue_at_boiling():
    problem = physics_problems.cooled_electrode((21, 21, 23), (20.0, 60.0))
    near = np.array([[x, y, z] for x in range(8, 13) for y in range(8, 13) for z in range(4, 19)])
    run = scipy_radiofrequency(replace(problem, probes=near))
    assert run.values.max() == pytest.approx(100.0, abs=0.5)
    # The cooled wall is colder than the hottest tissue.
    wall = (near == problem.needles[6]).all(axis=1)
    assert wall.sum() == 1 and run.values[1, wall][0] < 60.0
    assert 0.0 < run.figures["energy_kj"] < problem.most_power_w * 60.0 / 1e3
    capped = scipy_radiofrequency(replace(problem, most_power_w=2.0))
    assert capped.figures["energy_kj"] == pytest.approx(0.12, rel=1e-6) and capped.values.max() < 99.0


def test_cooled_wall_stands_between_water_and_tissue():
    """At once: conductance F k of four faces to tissue at 37 °C against 2 pi a h to the water."""
    problem = physics_problems.cooled_electrode((13, 13, 17), (0.001,))
    run = scipy_radiofrequency(replace(problem, most_power_w=1e-9, probes=problem.needles[6:7]))
    tissue = 4.0 * 0.5 * math.pi / math.log(2.0) * problem.liver.conductivity_w_m_k
    water = 2.0 * math.pi * 0.75e-3 * 3000.0
    assert run.values[0, 0] == pytest.approx((tissue * 37.0 + water * 15.0) / (tissue + water), abs=0.01)


def test_slow_peers_stop_early_and_say_so():
    problem = physics_problems.pennes(16, (10.0, 60.0))
    whole = pennes_run = make_peers(problem)[0][0].solve()
    peers = [peer for peer in make_peers(problem)[0] if peer.name == "scipy"]
    part = Run(6.0, np.where([[True], [False]], whole.values, np.nan), 16**3, 30, 0.25)
    assert largest_difference(pennes_run, part) == 0.0
    rows = peer_rows("made_s", whole, "K", [(peers[0], part)])
    check_rows([{name: getattr(row, name) for name in row.__dataclass_fields__} for row in rows])
    assert "extrapolated from 25 %" in rows[0].peer_name and rows[0].ratio == whole.seconds / 6.0
    nothing = Run(6.0, np.full((2, 25), np.nan), 16**3, 30, 0.01)
    assert math.isnan(largest_difference(whole, nothing))
    assert len(peer_rows("made_s", whole, "K", [(peers[0], nothing)])) == 1


def test_schedule_meets_all_times_with_equal_steps():
    plan = Schedule((10.0, 60.0, 600.0), 1.0407)
    assert plan.step_s == 1.0 and plan.steps == 600 and plan.share == 1.0
    assert list(plan.parts()) == [(10, True), (50, True), (540, True)]
    limited = replace(plan, most_steps=30)
    assert list(limited.parts()) == [(10, True), (20, False)] and limited.share == 0.05
    run = limited.run(2.0, [np.arange(3.0)], 3, 100)
    assert run.seconds == pytest.approx(40.0) and run.gcell_per_s == pytest.approx(100 * 600 / 40.0 / 1e9)
    assert np.isnan(run.values[1:]).all() and (run.values[0] == np.arange(3)).all()
    assert Schedule((0.5, 0.75), 1.0).step_s == 0.25


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("physics_peers.find_spec", lambda package: None if package in ("jax", "fipy") else object())
    peers, missing = make_peers(physics_problems.pennes(8))
    assert not {"JAX", "FiPy"} & {peer.name for peer in peers} and len(missing) == 2
    assert "jax is not installed" in missing[0] and "fipy is not installed" in missing[1]


def test_bandwidth_is_a_rate(monkeypatch):
    monkeypatch.setattr("physics_peers._TRIADS", 1)
    assert 0.0 < bandwidth_gb_s(10_000) < 1e5


def test_needles_must_lie_on_cells():
    with pytest.raises(ValueError, match="does not lie on cells"):
        physics_problems.pulse_pair((41, 40, 20), apart=15, exposed=4)


@pytest.mark.long
def test_peers_alone_are_printed(monkeypatch, capsys):
    monkeypatch.setattr("physics_peers.bandwidth_gb_s", lambda elements: 31.0)
    monkeypatch.setattr(
        "physics_peers.find_spec", lambda package: object() if package in ("numpy", "scipy") else None
    )
    main(quick=True)
    printed = capsys.readouterr()
    for said in (
        "31.0 GB/s",
        "constant properties: scipy",
        "extrapolated from 10 %",
        "radiofrequency: numpy and scipy",
    ):
        assert said in printed.out
    assert "FiPy is left out" in printed.err and "zone_cm3" in printed.out
