"""Closed forms against printed values of their evaluation, and against the laws that they must obey.

The literals are an own evaluation in double precision of the published formulas for liver-like tissue; the laws
(differential equation, continuity of flux, limits, symmetry) are independent of them.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from needleplan.ablation.closed_forms import electric, freezing, heat, optics, spheres, vessels
from needleplan.ablation.closed_forms.needle_pair import CassiniOval, NeedlePair
from needleplan.errors import PhysicsError

#: Liver: conductivity, volumetric heat, and omega rho_b c_b at omega = 0.0155 per second.
K, RHO_C = 0.52, 1079.0 * 3540.0
BLOOD = 1050.0 * 3617.0
W = 0.0155 * BLOOD
MM = 1e-3


def balance(field, points, conductivity, sink, source, step):
    """Residual of k laplace(u) - w u + q at points (n, 3) in space, relative to the largest of its terms."""
    centre = field(points)
    terms = [-sink * centre, np.broadcast_to(source, centre.shape)]
    for axis in np.eye(3):
        # Fourth order.
        near = field(points + step * axis) + field(points - step * axis)
        far = field(points + 2 * step * axis) + field(points - 2 * step * axis)
        terms.append(conductivity * (16 * near - far - 30 * centre) / (12 * step**2))
    return np.sum(terms, axis=0) / np.abs(terms).max(axis=0)


def on_rays(radii):
    """One point (n, 3) per radius in an oblique direction of its own."""
    directions = np.random.default_rng(5).normal(size=(len(radii), 3))
    return directions / np.linalg.norm(directions, axis=1)[:, None] * np.asarray(radii)[:, None]


def radial(function):
    return lambda points: function(np.linalg.norm(points, axis=1))


def across(function):
    return lambda points: function(np.hypot(points[:, 0], points[:, 1]))


def slope(function, at, step):
    return (function(at + step) - function(at - step)) / (2 * step)


# Heat


def test_sphere_source():
    def rise(r):
        return heat.sphere_source_k(r, 10 * MM, 1e6, K, W)

    assert heat.perfusion_coefficient_per_m(K, W) == pytest.approx(336.46, rel=1e-5)
    radii = np.array([0, 5, 10, 12, 15, 20]) * MM
    np.testing.assert_allclose(rise(radii), [14.4239, 13.0316, 5.98249, 2.54364, 0.741613, 0.103425], rtol=5e-6)
    np.testing.assert_allclose(
        balance(radial(rise), on_rays(np.array([3, 6, 9]) * MM), K, W, 1e6, 0.1 * MM), 0, atol=1e-5
    )
    np.testing.assert_allclose(
        balance(radial(rise), on_rays(np.array([11, 15, 30]) * MM), K, W, 0, 0.1 * MM), 0, atol=1e-5
    )
    # Value and flux are continuous at the edge; all heat is carried off by the perfusion.
    assert rise(10 * MM * (1 - 1e-12)) == pytest.approx(rise(10 * MM * (1 + 1e-12)), rel=1e-9)
    assert slope(rise, 9.99 * MM, 1e-6) == pytest.approx(slope(rise, 10.01 * MM, 1e-6), rel=5e-3)
    carried, _ = quad(lambda r: W * float(rise(r)) * 4 * math.pi * r**2, 0, 0.1, points=[0.01], limit=200)
    assert carried == pytest.approx(4 / 3 * math.pi * 0.01**3 * 1e6, rel=1e-6)
    # A tiny ball is a point; hardly any perfusion is none; a huge one overflows nothing and is uniform.
    point = heat.point_source_k(radii[3:], 1.0, K, W)
    tiny = heat.sphere_source_k(radii[3:], 0.1 * MM, 1 / (4 / 3 * math.pi * (0.1 * MM) ** 3), K, W)
    np.testing.assert_allclose(tiny, point, rtol=2e-4)
    np.testing.assert_allclose(
        heat.sphere_source_k(radii, 10 * MM, 1e6, K, 0.0),
        heat.sphere_source_k(radii, 10 * MM, 1e6, K, 0.01),
        rtol=0.01,
    )
    assert heat.sphere_source_k(0.0, 100.0, 1e6, K, W) == pytest.approx(1e6 / W)


def test_point_source():
    radii = np.array([2, 5, 10, 15]) * MM
    np.testing.assert_allclose(
        heat.point_source_k(radii, 1.0, K, W), [39.0402, 5.6912, 0.529128, 0.0655929], rtol=5e-6
    )
    for sink in (0.0, W):
        residual = balance(
            radial(lambda r, w=sink: heat.point_source_k(r, 1.0, K, w)), on_rays(radii), K, sink, 0, 0.05 * MM
        )
        np.testing.assert_allclose(residual, 0, atol=2e-5)


def test_point_source_in_time():
    np.testing.assert_allclose(
        heat.point_source_at_k(10 * MM, [60, 300, 600], 1.0, K, RHO_C), [0.204401, 4.10938, 6.64149], rtol=5e-6
    )
    np.testing.assert_allclose(
        heat.point_source_at_k(5 * MM, [10, 60, 600], 1.0, K, RHO_C, W), [0.065621, 3.89787, 5.69116], rtol=2e-5
    )
    radii = np.array([3, 7, 12]) * MM
    for sink in (0.0, W):
        for time in (40.0, 200.0):
            gain = [
                RHO_C * slope(lambda t, r=r, w=sink: heat.point_source_at_k(r, t, 1.0, K, RHO_C, w), time, 0.01)
                for r in radii
            ]
            field = radial(lambda r, w=sink, t=time: heat.point_source_at_k(r, t, 1.0, K, RHO_C, w))
            residual = balance(field, on_rays(radii), K, sink, -np.array(gain), 0.05 * MM)
            np.testing.assert_allclose(residual, 0, atol=5e-5)
        late = heat.point_source_at_k(radii, 1e9 if sink == 0 else 1e5, 1.0, K, RHO_C, sink)
        np.testing.assert_allclose(late, heat.point_source_k(radii, 1.0, K, sink), rtol=2e-3)
    assert (heat.point_source_at_k(radii, 0.0, 1.0, K, RHO_C, W) == 0).all()
    # Far away nothing overflows: exp(lambda r) alone would.
    assert heat.point_source_at_k(10.0, 600.0, 1.0, K, RHO_C, W) == 0.0
    # Heat in the tissue is what was put in, less what perfusion took: with none, P t.
    stored, _ = quad(
        lambda r: RHO_C * 4 * math.pi * r**2 * float(heat.point_source_at_k(r, 120.0, 2.0, K, RHO_C)),
        0,
        0.06,
        limit=200,
    )
    assert stored == pytest.approx(240.0, rel=1e-6)


def test_line_source():
    radii = np.array([2, 5, 10]) * MM
    np.testing.assert_allclose(heat.line_source_k(radii, 1000.0, K, W), [211.118, 51.8013, 6.99721], rtol=5e-6)
    field = across(lambda r: heat.line_source_k(r, 1000.0, K, W))
    points = on_rays(radii)
    points = np.column_stack([radii * 0.6, radii * 0.8, points[:, 2]])
    np.testing.assert_allclose(balance(field, points, K, W, 0, 0.03 * MM), 0, atol=5e-5)
    # The flux into the tissue close to the line is the power.
    near = 1e-7
    flux = -K * 2 * math.pi * near * slope(lambda r: heat.line_source_k(r, 1000.0, K, W), near, near * 1e-3)
    assert flux == pytest.approx(1000.0, rel=1e-5)
    with pytest.raises(PhysicsError, match="perfusion"):
        heat.line_source_k(radii, 1000.0, K, 0.0)


def test_line_source_in_time():
    for r, t, expected in ((5, 60, 50.6482), (5, 600, 316.492), (10, 60, 1.84892), (10, 600, 136.338)):
        assert heat.line_source_at_k(r * MM, t, 1000.0, K, RHO_C) == pytest.approx(expected, rel=5e-6)
    np.testing.assert_allclose(
        heat.line_source_at_k(5 * MM, [10, 60, 600], 1000.0, K, RHO_C, W), [0.249478, 28.5883, 51.7999], rtol=5e-6
    )
    radii = np.array([4, 9]) * MM
    points = np.column_stack([radii * 0.6, -radii * 0.8, [0.3, 0.1]])
    for sink in (0.0, W):
        gain = [
            RHO_C * slope(lambda t, r=r, w=sink: heat.line_source_at_k(r, t, 1000.0, K, RHO_C, w), 80.0, 0.02)
            for r in radii
        ]
        field = across(lambda r, w=sink: heat.line_source_at_k(r, 80.0, 1000.0, K, RHO_C, w))
        np.testing.assert_allclose(balance(field, points, K, sink, -np.array(gain), 0.05 * MM), 0, atol=1e-4)
    np.testing.assert_allclose(
        heat.line_source_at_k(radii, 1e5, 1000.0, K, RHO_C, W), heat.line_source_k(radii, 1000.0, K, W), rtol=1e-9
    )
    # So little perfusion that it does not show.
    np.testing.assert_allclose(
        heat.line_source_at_k(radii, 60.0, 1000.0, K, RHO_C, 1e-6),
        heat.line_source_at_k(radii, 60.0, 1000.0, K, RHO_C),
    )


@given(st.floats(1e-6, 20), st.floats(1e-3, 30))
def test_well_function_by_another_quadrature(u, b):
    direct, _ = quad(lambda y: math.exp(-y - b * b / (4 * y)) / y, u, math.inf, epsabs=0, epsrel=1e-9, limit=500)
    if u > 0.01 and direct > 1e-200:
        assert heat.well_function(u, b) == pytest.approx(direct, rel=1e-5)
    # It and its complement make up 2 K0(b), by the exchange y -> b² / (4 y).
    from scipy.special import k0

    both = heat.well_function(u, b) + heat.well_function(b * b / (4 * u), b)
    assert both == pytest.approx(2 * k0(b), rel=1e-9)


def test_step_relaxation_and_heating():
    alpha = K / RHO_C
    assert alpha == pytest.approx(1.36138e-7, rel=1e-5)
    np.testing.assert_allclose(heat.half_space_step(5 * MM, [60, 600], alpha), [0.216066, 0.695655], rtol=5e-6)
    assert heat.half_space_step(0.0, 60.0, alpha) == 1 and heat.half_space_step(5 * MM, 0.0, alpha) == 0
    assert heat.uniform_relaxation(60, RHO_C, W) == pytest.approx(0.396654, rel=2e-6)
    assert heat.uniform_heating_k(60, 1e6, RHO_C, W) == pytest.approx(10.2494, rel=5e-6)
    assert heat.uniform_heating_k(1e6, 1e6, RHO_C, W) == pytest.approx(16.9875, rel=5e-6)
    # The rate of change is what is put in less what is carried off.
    rate = slope(lambda t: heat.uniform_heating_k(t, 1e6, RHO_C, W), 60, 0.01)
    assert RHO_C * rate == pytest.approx(1e6 - W * heat.uniform_heating_k(60, 1e6, RHO_C, W), rel=1e-8)
    # An insulated box of 40 mm with 10 W for 60 s.
    assert heat.uniform_heating_k(60, 10 / 0.04**3, RHO_C, 0.0) == pytest.approx(2.45441, rel=2e-6)
    assert heat.uniform_heating_k(60, 1e6, RHO_C, 1e-6) == pytest.approx(
        heat.uniform_heating_k(60, 1e6, RHO_C, 0.0)
    )


def test_gaussian_blob():
    found = [heat.gaussian_blob_k([0, 5 * MM], 60, 10, 5 * MM, K, RHO_C, sink) for sink in (W, 0.0)]
    np.testing.assert_allclose(found, [[1.86561, 1.37877], [4.70337, 3.476]], rtol=1e-5)
    radii = np.array([2, 6, 11]) * MM
    field = radial(lambda r: heat.gaussian_blob_k(r, 30.0, 10, 5 * MM, K, RHO_C, W))
    gain = RHO_C * slope(lambda t: heat.gaussian_blob_k(radii, t, 10, 5 * MM, K, RHO_C, W), 30.0, 0.01)
    np.testing.assert_allclose(balance(field, on_rays(radii), K, W, -gain, 0.1 * MM), 0, atol=1e-6)
    np.testing.assert_allclose(
        heat.gaussian_blob_k(radii, 0.0, 10, 5 * MM, K, RHO_C, W), 10 * np.exp(-(radii**2) / (2 * (5 * MM) ** 2))
    )


# Vessels and coagulum


def test_vessel_in_annulus():
    arguments = (2.5 * MM, 20 * MM, 20.0, K, 378.37)
    assert vessels.vessel_heat_w_m(*arguments) == pytest.approx(24.8539, rel=5e-6)
    assert vessels.vessel_heat_w_m(*arguments[:4]) == pytest.approx(31.4244, rel=5e-6)
    assert vessels.vessel_annulus_k(2.5 * MM, *arguments) == pytest.approx(4.18175, rel=5e-6)
    assert vessels.vessel_annulus_k(20 * MM, *arguments) == pytest.approx(20.0)
    assert vessels.vessel_annulus_k(2.5 * MM, *arguments[:4]) == 0.0
    # The wall passes on what conduction brings, and the flux is the same at every radius.
    for r in (2.501, 6.0, 19.9):
        flux = 2 * math.pi * r * MM * K * slope(lambda x: vessels.vessel_annulus_k(x, *arguments), r * MM, 1e-7)
        assert flux == pytest.approx(24.8539, rel=1e-4)
    for wrong in ((3e-3, 2e-3, 20.0, K, 300.0), (1e-3, 2e-3, 20.0, K, -1.0), (0.0, 2e-3, 20.0, K, 300.0)):
        with pytest.raises(PhysicsError):
            vessels.vessel_heat_w_m(*wrong)


def test_line_source_beside_vessel():
    def rise(x, y):
        return vessels.line_source_beside_vessel_k(x, y, 1000.0, K, 2.5 * MM, 10 * MM)

    x = np.array([4, 6, 8, 12, 14, 16, 20]) * MM
    np.testing.assert_allclose(
        rise(x, 0.0), [248.199, 514.731, 823.701, 956.327, 793.751, 712.303, 626.732], rtol=2e-6
    )
    angles = np.linspace(0, 2 * np.pi, 50)
    np.testing.assert_allclose(rise(2.5 * MM * np.cos(angles), 2.5 * MM * np.sin(angles)), 0, atol=1e-9)
    points = np.array([[4, 3, 0], [-6, 2, 1], [12, -7, 0]]) * MM
    field = lambda p: rise(p[:, 0], p[:, 1])  # noqa: E731
    np.testing.assert_allclose(balance(field, points, K, 0.0, 0.0, 0.05 * MM), 0, atol=1e-4)
    with pytest.raises(PhysicsError, match="vessel"):
        rise(1 * MM, 0.0)
    with pytest.raises(PhysicsError, match="outside the vessel"):
        vessels.line_source_beside_vessel_k(5 * MM, 0.0, 1.0, K, 2.5 * MM, 2 * MM)


@pytest.mark.parametrize(
    ("omega", "expected"),
    [
        (0.0155, {10: 17.278, 25: 28.126, 50: 40.366, 100: 57.683}),
        (0.0064, {10: 21.136, 25: 34.654, 50: 49.915, 100: 71.513}),
    ],
)
def test_coagulum_radius(omega, expected):
    sink = omega * BLOOD
    for power, radius_mm in expected.items():
        radius = vessels.coagulum_radius_m(power, 13.0, K, sink)
        assert radius == pytest.approx(radius_mm * MM, rel=5e-5)
        rate = heat.perfusion_coefficient_per_m(K, sink)
        assert 4 * math.pi * K * radius * 13.0 * (1 + rate * radius) == pytest.approx(power, rel=1e-10)
        rise = lambda r, p=power: vessels.coagulum_k(r, p, 13.0, K, sink)  # noqa: E731
        assert rise(radius) == pytest.approx(13.0) and rise(radius * (1 - 1e-12)) == pytest.approx(13.0)
        inner, outer = slope(rise, radius - 2e-7, 1e-7), slope(rise, radius + 2e-7, 1e-7)
        assert inner == pytest.approx(outer, rel=1e-3)
        inside = on_rays([0.5 * radius, 0.8 * radius])
        np.testing.assert_allclose(balance(radial(rise), inside, K, 0.0, 0.0, 0.1 * MM), 0, atol=1e-4)
        np.testing.assert_allclose(
            balance(radial(rise), on_rays([1.2 * radius]), K, sink, 0, 0.1 * MM), 0, atol=1e-4
        )
    # Twice the power makes little more when perfusion is strong: Rc tends to the square root of the power.
    ratio = vessels.coagulum_radius_m(4e6, 13, K, sink) / vessels.coagulum_radius_m(1e6, 13, K, sink)
    assert ratio == pytest.approx(2.0, rel=1e-2)


# Electrodes


def test_sphere_electrode():
    resistance = electric.sphere_electrode_resistance_ohm(5 * MM, 0.15)
    assert resistance == pytest.approx(106.103, rel=5e-6)
    assert 50 / resistance == pytest.approx(0.471239, rel=2e-6) and 2500 / resistance == pytest.approx(
        23.5619, rel=2e-6
    )
    grounded = electric.sphere_electrode_resistance_ohm(5 * MM, 0.15, 40 * MM)
    assert grounded == pytest.approx(resistance * (1 - 5 / 40))
    # Current through every sphere, and the heat in all the tissue, are those of the circuit.
    for outer, ohm in ((math.inf, resistance), (40 * MM, grounded)):
        field = lambda r, o=outer: electric.sphere_electrode_field_v_m(r, 50.0, 5 * MM, o)  # noqa: E731
        assert 4 * math.pi * (13 * MM) ** 2 * 0.15 * field(13 * MM) == pytest.approx(50 / ohm)
        joule, _ = quad(lambda r, f=field: 0.15 * float(f(r)) ** 2 * 4 * math.pi * r**2, 5 * MM, outer)
        assert joule == pytest.approx(2500 / ohm, rel=1e-8)
        voltage, _ = quad(lambda r, f=field: float(f(r)), 5 * MM, outer)
        assert voltage == pytest.approx(50.0, rel=1e-8)
    with pytest.raises(PhysicsError, match="larger than the electrode"):
        electric.sphere_electrode_resistance_ohm(5 * MM, 0.15, 4 * MM)
    with pytest.raises(PhysicsError, match="radius_m"):
        electric.sphere_electrode_field_v_m(4 * MM, 50.0, 5 * MM)


def test_cooled_rf_sphere():
    arguments = (5 * MM, 50.0, 0.15, K)
    phi = electric.rf_potential_rise_k(50.0, 0.15, K)
    assert phi == pytest.approx(360.577, rel=2e-6)
    radii = np.array([5, 7, 10, 15, 20, 30]) * MM

    def rise(r):
        return electric.rf_sphere_k(r, *arguments, -17.0)

    np.testing.assert_allclose(rise(radii), [-17.0, 61.444, 81.644, 74.462, 63.358, 47.247], rtol=1e-5)
    peak, place = electric.rf_sphere_peak(*arguments, -17.0)
    assert peak == pytest.approx(81.8446, rel=2e-6) and place / (5 * MM) == pytest.approx(2.09896, rel=5e-6)
    assert electric.rf_sphere_peak(*arguments, 0.0)[0] == pytest.approx(90.1442, rel=2e-6)
    fine = np.linspace(5, 40, 200_001) * MM
    assert rise(fine).max() == pytest.approx(peak) and fine[rise(fine).argmax()] == pytest.approx(place, rel=1e-3)
    joule = 0.15 * electric.sphere_electrode_field_v_m(radii[1:], 50.0, 5 * MM) ** 2
    np.testing.assert_allclose(balance(radial(rise), on_rays(radii[1:]), K, 0.0, joule, 0.05 * MM), 0, atol=1e-5)
    # At the rise of Phi no heat passes the electrode's surface; hotter ones are their own hottest place.
    insulated = lambda r: electric.rf_sphere_k(r, *arguments, phi)  # noqa: E731
    assert abs(slope(insulated, 5 * MM + 1e-8, 1e-8)) < 1e-4 * phi / (5 * MM)
    assert electric.rf_sphere_peak(*arguments, phi) == pytest.approx((phi, 5 * MM))
    assert electric.rf_sphere_peak(*arguments, 500.0) == (500.0, 5 * MM)
    with pytest.raises(PhysicsError, match="cold"):
        electric.rf_sphere_peak(*arguments, -400.0)


def test_sphere_pair():
    expected = {11: (2.1550861, 98.4678), 20: (1.3410598, 158.238), 40: (1.1431825, 185.628)}
    for distance, (total, ohm) in expected.items():
        _, charges = electric.sphere_pair_images(5 * MM, distance * MM)
        assert charges.sum() == pytest.approx(total, rel=5e-8)
        assert 1 / electric.sphere_pair_conductance_s(5 * MM, distance * MM, 0.15) == pytest.approx(ohm, rel=5e-6)
        surface = on_rays(np.full(40, 5 * MM))
        for centre, volts in ((0.0, 30.0), (distance * MM, -30.0)):
            found = electric.sphere_pair_potential_v(
                surface + np.array([centre, 0, 0]), 5 * MM, distance * MM, 60.0
            )
            np.testing.assert_allclose(found, volts, rtol=1e-10)
    # Far apart, two spheres in series; close together, ever more conductance.
    assert electric.sphere_pair_conductance_s(5 * MM, 10.0, 0.15) == pytest.approx(
        2 * math.pi * 0.15 * 5 * MM, rel=1e-3
    )
    for distance in (10 * MM, 9 * MM, math.nan):
        with pytest.raises(PhysicsError, match="more than two radii apart"):
            electric.sphere_pair_conductance_s(5 * MM, distance, 0.15)


def test_coaxial_shell_gives_off_the_power_that_it_takes():
    power, _ = quad(
        lambda r: 2 * math.pi * r * float(electric.shell_power_w_m3(r, MM, 9 * MM, 30.0, 0.2)), MM, 9 * MM
    )
    assert power == pytest.approx(900.0 / electric.shell_resistance_ohm_m(MM, 9 * MM, 0.2), rel=1e-9)
    with pytest.raises(PhysicsError, match="larger than the inner"):
        electric.shell_resistance_ohm_m(2 * MM, MM, 0.2)


def lattice_conductance(spacing_cells, factor, half_width):
    """Conductance per length (over sigma) between two one-cell lines on a square lattice, by a sparse solve."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    # One quarter: the antisymmetry plane x = 0 lies between cells, y = 0 in the row of the lines.
    nx, ny = half_width, half_width
    index = np.arange(nx * ny).reshape(nx, ny)
    first, second, weight = [], [], []
    line = (spacing_cells // 2, 0)
    for shift in ((1, 0), (0, 1)):
        a, b = index[: nx - shift[0], : ny - shift[1]], index[shift[0] :, shift[1] :]
        w = np.ones(a.shape)
        if shift == (1, 0):
            w[:, 0] = 0.5
        first.append(a.ravel())
        second.append(b.ravel())
        touches = (a == index[line]) | (b == index[line])
        w[touches] *= factor
        weight.append(w.ravel())
    i, j, w = (np.concatenate(part) for part in (first, second, weight))
    matrix = coo_matrix((np.r_[-w, -w, w, w], (np.r_[i, j, i, j], np.r_[j, i, i, j])), shape=(nx * ny,) * 2).tolil()
    ground = index[0]
    for row in ground:
        matrix.rows[row], matrix.data[row] = [row], [1.0]
    right = np.zeros(nx * ny)
    node = index[line]
    matrix.rows[node], matrix.data[node] = [node], [1.0]
    right[node] = 0.5
    potential = spsolve(matrix.tocsr(), right).reshape(nx, ny)
    x = line[0]
    into = (
        0.5 * (2 * potential[x, 0] - potential[x - 1, 0] - potential[x + 1, 0]) + potential[x, 0] - potential[x, 1]
    )
    return 2 * factor * into


def test_thin_needle_on_a_coarse_lattice():
    assert electric.voxel_line_radius_m(1.0) == pytest.approx(0.198506, rel=2e-6)
    exact = {a: NeedlePair(16.0, a, 1.0).conductance_s_per_m(1.0) for a in (0.5, 0.35, 0.75)}
    assert exact == pytest.approx({0.5: 0.9067, 0.35: 0.822, 0.75: 1.0273}, rel=1e-4)
    uncorrected = lattice_conductance(16, 1.0, 100)
    assert uncorrected == pytest.approx(
        NeedlePair(16.0, electric.voxel_line_radius_m(1.0), 1.0).conductance_s_per_m(1.0), rel=0.02
    )
    for radius, wanted in exact.items():
        corrected = lattice_conductance(16, electric.thin_needle_face_factor(1.0, radius), 100)
        assert corrected == pytest.approx(wanted, rel=0.03)
        assert abs(uncorrected / wanted - 1) > 0.1
    # The factor is one for the radius that a bare line already has, but for a percent.
    assert electric.thin_needle_face_factor(1.0, electric.voxel_line_radius_m(1.0)) == pytest.approx(1.0, abs=0.03)
    for radius in (1.0, 2.0, 0.0, -0.5, math.nan):
        with pytest.raises(PhysicsError):
            electric.thin_needle_face_factor(1.0, radius)


def test_heat_of_pulses():
    assert electric.pulse_heating_k(150e3, 0.3, 90, 100e-6, 3819660.0) == pytest.approx(15.9046, abs=5e-5)
    assert electric.pulse_heating_k(150e3, 0.12, 90, 100e-6, 3819660.0) == pytest.approx(6.36, rel=1e-3)
    np.testing.assert_allclose(electric.pulse_heating_k([1e5, 2e5], 0.3, 10, 1e-4, 4e6), [0.75, 3.0])


def test_needle_pair():
    pair = NeedlePair(15 * MM, 0.5 * MM, 2250.0)
    assert pair.half_potential_ratio == pytest.approx(3.4000844, rel=1e-8)
    assert pair.focus_m == pytest.approx(7.4833148 * MM, rel=1e-8)
    assert pair.conductance_s_per_m(0.1) == pytest.approx(0.09239749, rel=1e-7)
    assert 1 / (pair.conductance_s_per_m(0.1) * 20 * MM) == pytest.approx(541.14, rel=2e-6)
    assert pair.field_v_m(0, 0) / 100 == pytest.approx(884.298, rel=2e-6)
    np.testing.assert_allclose(
        pair.field_v_m(np.array([0, 3, 12]) * MM, np.array([4, 6, 2]) * MM) / 100,
        [687.788, 547.366, 511.857],
        rtol=2e-6,
    )
    # The walls are equipotentials, the field is the gradient, and all the current passes the plane between.
    angles = np.linspace(0, 2 * np.pi, 60)
    for side in (1, -1):
        x, y = side * 7.5 * MM + 0.5 * MM * np.cos(angles), 0.5 * MM * np.sin(angles)
        np.testing.assert_allclose(pair.potential_v(x, y), side * 1125.0, rtol=1e-9)
    x, y = np.array([1, 11, -4, -9]) * MM, np.array([2, -3, 6, -2]) * MM
    step = 1e-7
    gradient = np.hypot(
        pair.potential_v(x + step, y) - pair.potential_v(x - step, y),
        pair.potential_v(x, y + step) - pair.potential_v(x, y - step),
    )
    np.testing.assert_allclose(pair.field_v_m(x, y), gradient / (2 * step), rtol=1e-7)
    current, _ = quad(lambda y: 0.1 * float(pair.field_v_m(0.0, y)), -math.inf, math.inf, epsabs=0)
    assert current == pytest.approx(pair.conductance_s_per_m(0.1) * 2250.0, rel=1e-6)
    assert pair.greatest_field_v_m == pytest.approx(float(pair.field_v_m(7.0 * MM, 0.0)))
    with pytest.raises(PhysicsError, match="outside them only"):
        pair.field_v_m(7.5 * MM, 0.1 * MM)
    for wrong in ((1 * MM, 0.5 * MM, 100.0), (10 * MM, 0.0, 100.0), (10 * MM, 0.5 * MM, -5.0)):
        with pytest.raises(PhysicsError):
            NeedlePair(*wrong)


@pytest.mark.parametrize(
    ("spacing", "voltage", "threshold", "reach", "width", "depth", "joined", "area"),
    [
        (10, 1500, 400, 7.8948, 18.66, 12.26, True, 187.84),
        (10, 1500, 1000, 4.9931, 14.1, 5.011, True, 50.95),
        (15, 2250, 400, 11.127, 26.82, 16.47, True, 368.2),
        (15, 2250, 700, 8.4109, 22.52, 9.454, True, 181.65),
        (15, 2250, 1000, 7.0371, 20.54, 6.617, False, 79.172),
        (15, 3000, 500, 11.492, 27.43, 17.44, True, 395.53),
        (20, 2250, 500, 11.039, 29.77, 12.2, True, 306.89),
        (20, 2250, 600, 10.077, 28.38, 10.17, True, 212.31),
        (20, 2250, 700, 9.3295, 27.33, 8.715, False, 136.51),
        (20, 3000, 1000, 9.0132, 26.91, 8.134, False, 115.99),
    ],
)
def test_cassini_oval(spacing, voltage, threshold, reach, width, depth, joined, area):
    pair = NeedlePair(spacing * MM, 0.5 * MM, voltage)
    oval = pair.oval(threshold * 100.0)
    assert oval.joined is joined
    assert (oval.reach_m / MM, oval.width_m / MM, oval.depth_m / MM) == pytest.approx(
        (reach, width, depth), rel=4e-4
    )
    assert oval.area_m2 / MM**2 == pytest.approx(area, rel=1e-4)
    # On a fine raster, the field reaches the threshold just there.
    h = 0.1
    x, y = np.meshgrid(np.arange(-20, 20, h) + h / 2, np.arange(-14, 14, h) + h / 2, indexing="ij")
    outside = np.hypot(np.abs(x) - spacing / 2, y) >= 0.5
    inside = oval.contains(x * MM, y * MM)
    field = pair.field_v_m(x[outside] * MM, y[outside] * MM)
    np.testing.assert_array_equal(inside[outside], field >= threshold * 100.0)
    assert inside[~outside].all()
    assert inside.sum() * h**2 == pytest.approx(area, rel=0.01)
    assert np.ptp(x[inside]) + h == pytest.approx(width, abs=0.3)
    assert np.ptp(y[inside]) + h == pytest.approx(depth, abs=0.3)
    middle = inside[np.abs(x) < h]
    assert middle.any() == joined
    if joined:
        assert np.ptp(y[np.abs(x) < h][middle]) + h == pytest.approx(oval.waist_m / MM, abs=0.3)
    else:
        assert oval.waist_m == 0.0


def test_cassini_oval_limits():
    # Far larger than its foci it is a circle; its area has no jump where the two pieces join.
    assert CassiniOval(1 * MM, 1.0).area_m2 == pytest.approx(math.pi, rel=1e-6)
    joining = [CassiniOval(5 * MM, 5 * MM * factor).area_m2 for factor in (1 - 1e-9, 1.0, 1 + 1e-9)]
    assert joining == pytest.approx([2 * (5 * MM) ** 2] * 3, rel=1e-6)
    # Two pieces far smaller than their distance are two discs of radius b² / (2 c).
    assert CassiniOval(1.0, 0.05).area_m2 == pytest.approx(2 * math.pi * (0.05**2 / 2) ** 2, rel=1e-3)
    with pytest.raises(PhysicsError, match="nowhere"):
        NeedlePair(15 * MM, 0.5 * MM, 100.0).oval(1e5)
    for wrong in ((0.0, 1.0), (1.0, math.nan)):
        with pytest.raises(PhysicsError):
            CassiniOval(*wrong)


# Freezing

TISSUE = freezing.FreezingMedium(2.0, 0.52, 1.8e6, 3819660.0, 269.75e6, -1.0)


@pytest.mark.parametrize(
    ("wall", "start", "growth", "fronts", "isotherms"),
    [
        (-80, 37, 0.3762954785, (6.14488, 13.7404, 19.4318), (9.49966, 14.4595)),
        (-150, 37, 0.5056263585, (8.25684, 18.4629, 26.1104), (18.516, 22.2901)),
        (-150, 20, 0.5489274107, (8.96395, 20.044, 28.3465), (19.9521, 24.0977)),
    ],
)
def test_plane_freezing(wall, start, growth, fronts, isotherms):
    case = freezing.PlaneFreezing(TISSUE, wall, start)
    assert case.growth == pytest.approx(growth, rel=2e-9)
    np.testing.assert_allclose(case.front_m([60, 300, 600]) / MM, fronts, rtol=5e-6)
    assert [case.isotherm_m(t, 600.0) / MM for t in (-40, -20)] == pytest.approx(isotherms, rel=5e-6)
    assert case.temperature_c(case.isotherm_m(-40, 600.0), 600.0) == pytest.approx(-40)
    assert case.temperature_c(0.0, 600.0) == wall and case.temperature_c(1.0, 600.0) == pytest.approx(start)
    front_balance(lambda x, t: case.temperature_c(x, t), case.front_m, TISSUE)
    for x, k, rho_c in ((0.5, 2.0, 1.8e6), (1.5, 0.52, 3819660.0)):
        at = float(x * case.front_m(600.0))
        second = case.temperature_c(at + 1e-5, 600.0) + case.temperature_c(at - 1e-5, 600.0)
        second = (second - 2 * case.temperature_c(at, 600.0)) / 1e-10
        gain = rho_c * slope(lambda t, p=at: case.temperature_c(p, t), 600.0, 0.1)
        assert k * second == pytest.approx(gain, rel=1e-3)


def front_balance(temperature, front, medium):
    """The heat drawn into the ice less that fed from outside freezes what the front sweeps over."""
    time, step = 400.0, 1e-7
    at = float(front(time))
    assert temperature(at, time) == pytest.approx(medium.melting_c, abs=1e-6)
    drawn = medium.frozen_conductivity_w_m_k * slope(lambda x: temperature(x, time), at - 2 * step, step)
    fed = medium.unfrozen_conductivity_w_m_k * slope(lambda x: temperature(x, time), at + 2 * step, step)
    assert drawn - fed == pytest.approx(medium.latent_heat_j_m3 * slope(front, time, 0.01), rel=1e-3)


@pytest.mark.parametrize(
    ("sink", "growth", "fronts", "temperatures"),
    [
        (1000, 0.3514333205, (12.8325, 18.1479), (-171.794, -99.1905, -45.1377)),
        (2000, 0.4889400493, (17.8536, 25.2488), (-386.733, -241.525, -133.42)),
    ],
)
def test_freezing_about_a_line_sink(sink, growth, fronts, temperatures):
    case = freezing.LineSinkFreezing(TISSUE, sink, 37.0)
    assert case.growth == pytest.approx(growth, rel=2e-9)
    np.testing.assert_allclose(case.front_m([300, 600]) / MM, fronts, rtol=5e-6)
    np.testing.assert_allclose(case.temperature_c(np.array([2, 5, 10]) * MM, 600.0), temperatures, rtol=5e-6)
    assert case.temperature_c(1.0, 600.0) == pytest.approx(37)
    front_balance(case.temperature_c, case.front_m, TISSUE)
    near = 1e-6
    drawn = 2 * math.pi * near * 2.0 * slope(lambda r: case.temperature_c(r, 600.0), near, near * 1e-3)
    assert drawn == pytest.approx(sink, rel=1e-5)
    for x, k, rho_c in ((0.5, 2.0, 1.8e6), (1.4, 0.52, 3819660.0)):
        at = np.array([[0.6, 0.8, 0.1]]) * x * float(case.front_m(600.0))
        r = np.hypot(at[:, 0], at[:, 1])
        gain = rho_c * slope(lambda t, r=r: case.temperature_c(r, t), 600.0, 0.1)
        field = across(lambda r: case.temperature_c(r, 600.0))
        np.testing.assert_allclose(balance(field, at, k, 0.0, -gain, 0.05 * MM), 0, atol=1e-4)


def test_one_phase_freezing():
    assert freezing.one_phase_growth(0.5) == pytest.approx(0.46478592, rel=2e-8)
    # Small numbers: Ste = 2 lambda²; and the two-phase solution with no warmer liquid is the same.
    assert freezing.one_phase_growth(1e-8) == pytest.approx(math.sqrt(0.5e-8), rel=1e-6)
    stefan = 1.8e6 * 79.0 / 269.75e6
    assert freezing.PlaneFreezing(TISSUE, -80.0, -1.0).growth == pytest.approx(
        freezing.one_phase_growth(stefan), rel=1e-9
    )


@pytest.mark.parametrize(
    ("omega", "probe", "ice", "lethal", "middle"),
    [
        (0.0064, -100, 13.765, 4.375, 7.875),
        (0.0064, -140, 18.209, 7.441, 11.77),
        (0.0155, -100, 10.068, 3.619, 6.116),
        (0.0155, -140, 13.174, 5.895, 8.904),
        (0.06, -100, 6.3616, 2.74, 4.221),
        (0.06, -140, 8.1726, 4.181, 5.896),
    ],
)
def test_steady_ice(omega, probe, ice, lethal, middle):
    case = freezing.SteadyIce(TISSUE, 0.75 * MM, probe, 37.0, omega * BLOOD)
    assert case.ice_radius_m / MM == pytest.approx(ice, rel=1e-4)
    assert (case.isotherm_m(-40) / MM, case.isotherm_m(-20) / MM) == pytest.approx((lethal, middle), abs=5e-3)
    edge = case.ice_radius_m
    assert case.temperature_c(case.isotherm_m(-40)) == pytest.approx(-40)
    assert case.temperature_c(0.75 * MM) == probe and case.temperature_c(0.5) == pytest.approx(37)
    drawn = 2.0 * slope(case.temperature_c, edge - 2e-7, 1e-7)
    fed = 0.52 * slope(case.temperature_c, edge + 2e-7, 1e-7)
    assert drawn == pytest.approx(fed, rel=1e-3)
    outside = np.array([[0.8, -0.6, 0.2]]) * 1.3 * edge
    field = across(lambda r: case.temperature_c(r) - 37.0)
    np.testing.assert_allclose(balance(field, outside, 0.52, omega * BLOOD, 0, 0.05 * MM), 0, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: freezing.PlaneFreezing(TISSUE, 5.0, 37.0),
        lambda: freezing.PlaneFreezing(TISSUE, -80.0, -5.0),
        lambda: freezing.PlaneFreezing(TISSUE, -80.0, 37.0).isotherm_m(-90.0, 60.0),
        lambda: freezing.PlaneFreezing(TISSUE, -80.0, 37.0).isotherm_m(0.0, 60.0),
        lambda: freezing.LineSinkFreezing(TISSUE, -5.0, 37.0),
        lambda: freezing.LineSinkFreezing(TISSUE, 100.0, -10.0),
        lambda: freezing.SteadyIce(TISSUE, MM, 0.0, 37.0, W),
        lambda: freezing.SteadyIce(TISSUE, MM, -100.0, 37.0, 0.0),
        lambda: freezing.SteadyIce(TISSUE, MM, -100.0, 37.0, W).isotherm_m(-120.0),
        lambda: freezing.one_phase_growth(0.0),
        lambda: freezing.FreezingMedium(2.0, 0.5, 1.8e6, 3.8e6, math.nan, -1.0),
    ],
)
def test_impossible_freezing_is_refused(make):
    with pytest.raises(PhysicsError):
        make()


# Light


def test_light_of_a_point():
    assert optics.diffusion_length_m(30, 900) == pytest.approx(0.000358423, rel=2e-6)
    assert optics.effective_attenuation_per_m(30, 900) == pytest.approx(289.31, rel=2e-5)
    assert optics.point_fluence_w_m2(5 * MM, 1.0, 30, 900) == pytest.approx(10451.9, rel=5e-6)
    radii = np.array([3, 6, 12]) * MM
    field = radial(lambda r: optics.point_fluence_w_m2(r, 1.0, 30, 900))
    residual = balance(field, on_rays(radii), optics.diffusion_length_m(30, 900), 30.0, 0, 0.05 * MM)
    np.testing.assert_allclose(residual, 0, atol=1e-5)
    absorbed, _ = quad(
        lambda r: 30 * float(optics.point_fluence_w_m2(r, 2.0, 30, 900)) * 4 * math.pi * r**2, 1e-12, 0.3
    )
    assert absorbed == pytest.approx(2.0, rel=1e-6)
    part, _ = quad(
        lambda r: 30 * float(optics.point_fluence_w_m2(r, 2.0, 30, 900)) * 4 * math.pi * r**2, 1e-12, 0.006
    )
    assert optics.absorbed_power_w(6 * MM, 2.0, 30, 900) == pytest.approx(part, rel=1e-6)
    assert optics.absorbed_power_w(math.inf, 2.0, 30, 900) == 2.0
    with pytest.raises(PhysicsError, match="absorption"):
        optics.point_fluence_w_m2(5 * MM, 1.0, 0.0, 900)


def test_warmth_of_light():
    def rise(r, sink=W):
        return optics.point_light_k(r, 5.0, 30, 900, K, sink)

    radii = np.array([1, 2, 5, 10, 15]) * MM
    np.testing.assert_allclose(rise(radii), [74.8556, 54.7597, 21.4611, 4.52109, 0.9568], rtol=5e-6)
    assert rise(0.0) == pytest.approx(102.345, rel=5e-6)
    equal = K * optics.effective_attenuation_per_m(30, 900) ** 2
    for sink in (0.0, W, equal, equal * (1 + 1e-9), 3 * equal):
        source = 30 * optics.point_fluence_w_m2(radii, 5.0, 30, 900)
        residual = balance(radial(lambda r, w=sink: rise(r, w)), on_rays(radii), K, sink, source, 0.02 * MM)
        np.testing.assert_allclose(residual, 0, atol=5e-5)
    assert rise(1e-9) == pytest.approx(rise(0.0), rel=1e-5)
    carried, _ = quad(lambda r: W * float(rise(r)) * 4 * math.pi * r**2, 0, 0.2, limit=200)
    assert carried == pytest.approx(5.0, rel=1e-6)
    # Light that is absorbed where it enters heats like a point.
    np.testing.assert_allclose(
        optics.point_light_k(radii[2:], 5.0, 3e5, 3e5, K, W), heat.point_source_k(radii[2:], 5.0, K, W), rtol=1e-3
    )


# Spheres


def test_margins_of_offset_spheres():
    assert spheres.margin_range_mm(17, 10, 4) == (3.0, 11.0)
    assert spheres.mean_margin_mm(17, 10, 4) == pytest.approx(6.4666667, rel=1e-8)
    np.testing.assert_allclose(
        spheres.margin_fraction([3, 5, 7, 10, 11, 12], 17, 10, 4), [1, 0.675, 0.4, 0.08125, 0, 0]
    )


@pytest.mark.parametrize("case", [(17, 10, 4), (12, 8, 11), (9, 6, 6), (15, 5, 0), (4, 10, 3)])
def test_margins_are_those_of_points_on_the_tumour(case):
    zone, tumour, offset = case
    k = np.arange(200_000) + 0.5
    z, azimuth = 1 - 2 * k / k.size, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z**2)
    points = tumour * np.stack([z, ring * np.cos(azimuth), ring * np.sin(azimuth)], axis=1)
    margins = zone - np.linalg.norm(points - [offset, 0, 0], axis=1)
    assert spheres.margin_range_mm(*case) == pytest.approx((margins.min(), margins.max()), abs=0.03)
    assert spheres.mean_margin_mm(*case) == pytest.approx(margins.mean(), abs=1e-6)
    for margin in (-3.1, 0.2, 2.7, 4.4, 9.0, 30.0):
        assert spheres.margin_fraction(margin, *case) == pytest.approx((margins >= margin).mean(), abs=1e-4)


def test_shared_and_joint_volumes():
    assert spheres.sphere_coverage(12, 10, 5) == pytest.approx(0.841712, rel=1e-6)
    assert spheres.union_volume_mm3(15, 15, 20) == pytest.approx(26179.939, rel=1e-8)
    # Discs stacked along the axis, and the two limits where the formula takes over.
    x = np.linspace(-12, 15, 400_001)
    section = np.pi * np.minimum(np.clip(144 - x**2, 0, None), np.clip(100 - (x - 5) ** 2, 0, None))
    assert spheres.lens_volume_mm3(12, 10, 5) == pytest.approx(np.trapezoid(section, x), rel=1e-8)
    assert spheres.lens_volume_mm3(12, 10, 5) == spheres.lens_volume_mm3(10, 12, 5)
    assert spheres.lens_volume_mm3(12, 10, 22) == 0 == spheres.lens_volume_mm3(12, 10, 30)
    assert spheres.lens_volume_mm3(12, 10, 2 + 1e-9) == pytest.approx(spheres.lens_volume_mm3(12, 10, 2))
    assert spheres.sphere_coverage(12, 10, 0) == 1.0 and spheres.sphere_coverage(10, 12, 1) == pytest.approx(
        (10 / 12) ** 3
    )
    for wrong in ((0, 10, 5), (12, -1, 5), (12, 10, -5), (12, 10, math.nan)):
        for function in (
            spheres.lens_volume_mm3,
            spheres.union_volume_mm3,
            spheres.mean_margin_mm,
            spheres.margin_range_mm,
        ):
            with pytest.raises(PhysicsError):
                function(*wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: heat.sphere_source_k(-1.0, MM, 1e6, K, W),
        lambda: heat.sphere_source_k(MM, 0.0, 1e6, K, W),
        lambda: heat.point_source_k(MM, 1.0, -K, W),
        lambda: heat.point_source_k(math.nan, 1.0, K, W),
        lambda: heat.point_source_at_k(MM, -1.0, 1.0, K, RHO_C, W),
        lambda: heat.point_source_at_k(MM, 1.0, 1.0, K, 0.0, W),
        lambda: heat.line_source_at_k(MM, 1.0, 1.0, K, RHO_C, -W),
        lambda: heat.half_space_step(MM, 1.0, math.inf),
        lambda: heat.gaussian_blob_k(MM, 1.0, 10.0, 0.0, K, RHO_C),
        lambda: heat.uniform_heating_k(1.0, 1.0, RHO_C, math.nan),
        lambda: vessels.coagulum_radius_m(0.0, 13.0, K, W),
        lambda: electric.rf_potential_rise_k(50.0, 0.0, K),
        lambda: electric.pulse_heating_k(1e5, 0.3, 10, 0.0, RHO_C),
    ],
)
def test_impossible_arguments_are_refused(make):
    with pytest.raises(PhysicsError):
        make()
