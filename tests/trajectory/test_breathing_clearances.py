"""Clearances over the breath against closed forms and brute force over many moments."""

import numpy as np
import pytest
from made_cases import ball, box, made_case, motion, queries_of, tube

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.case.model import Role, Structure
from needleplan.errors import GeometryError, MotionError, OptionError
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.gating import AmplitudeGate
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.recorded import BreathingTrace, RecordedMotion
from needleplan.motion.static import StaticMotion
from needleplan.trajectory.breathing import clearances_over_breath
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.constraints.skin_angle import SkinAngle
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.screening import screen
from needleplan.trajectory.table import TrajectoryTable

APPLICATOR = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
RADIUS = APPLICATOR.radius_mm
#: Oblique to every axis and to every structure.
ALONG = np.array([0.36, -0.48, -0.8])
LUJAN = LujanMotion(14.0, 4.0, 2, direction=tuple(ALONG))
#: Lung, the rest of the share 1; the vessel outside the organ 0.2; the heart 0.65; the rib rests.
LUNG, HEART = (34.0, 9.0, -20.0), (-38.0, 14.0, 22.0)


def body():
    return made_case(
        ball((0, 0, 0), 10),
        ball((0, 0, 0), 95, 3, (1.0, 0.9, 1.1)),
        Structure("lung", Role.LUNG, ball(LUNG, 9.0, 4)),
        Structure("heart", Role.CRITICAL, ball(HEART, 11.0, 4, (1.0, 0.7, 1.3))),
        Structure("vein", Role.VESSEL, tube((-60, -30, -40), (70, -15, -15), 4.0, 24)),
        Structure("rib", Role.BONE, box((-30, 40, -10), (25, 52, 2))),
    )


@pytest.fixture(scope="module")
def queries():
    return queries_of(body())


def paths(entry, tip, curvature=None):
    entry, tip = np.atleast_2d(np.asarray(entry, float)), np.atleast_2d(np.asarray(tip, float))
    return TrajectoryTable(APPLICATOR, entry, entry / 95.0, tip, tip, curvature)


def random_paths(count=50, seed=0):
    rng = np.random.default_rng(seed)
    entry = rng.normal(size=(count, 3))
    # Two of three pass near what moves.
    entry[::3] = 0.45 * entry[::3] + np.array(LUNG) / 40
    entry[1::3] = 0.45 * entry[1::3] + np.array(HEART) / 46
    entry *= rng.uniform(55, 85, (count, 1)) / np.linalg.norm(entry, axis=1, keepdims=True)
    tip = rng.uniform(-15, 15, (count, 3))
    # Wholly inside the lung; from inside the heart.
    entry[:2] = LUNG, HEART
    tip[0] = np.add(LUNG, (2.0, -1.0, 1.5))
    return paths(entry, tip)


def demands(queries, limit_mm=3.0, names=("lung", "heart", "vein", "rib")):
    return [Clearance(queries.anatomy.surface(name), limit_mm) for name in names]


def over(table, queries, breathing, constraints=None, rows=None):
    tissue = TissueMotion(queries.anatomy, breathing)
    rows = np.arange(len(table)) if rows is None else rows
    return clearances_over_breath(table, queries, tissue, constraints or demands(queries), rows)


def brute_force(table, queries, breathing, constraints, times):
    """(n, k, m) clearances at the moments ``times``, each measured by moving the paths against the structure."""
    tissue = TissueMotion(queries.anatomy, breathing)
    result = np.empty((len(table), len(constraints), len(times)))
    for j, demand in enumerate(constraints):
        for i, shift in enumerate(tissue.structure_mm(demand.surface.name, times)):
            moved = TrajectoryTable(
                table.applicator, table.entry_mm - shift, table.entry_normal, table.aim_mm - shift,
                table.tip_mm - shift, table.curvature_per_mm,
            )  # fmt: skip
            cap_mm = max(10.0, demand.limit_mm + 5.0)
            result[:, j, i] = MeasuredPaths(moved, queries).clearance_mm(demand.surface, cap_mm)
    return result


def made_recording():
    """Breaths that go and come on different ways, with a drift."""
    times = np.arange(0.0, 22.0, 0.1)
    size = 9.0 * np.sin(np.pi * times / 4.1) ** 4
    side = 2.5 * np.sin(np.pi * times / 4.1 + 0.6) ** 4
    trace = np.outer(size, ALONG) + np.outer(side, (0.8, 0.6, 0.0))
    return RecordedMotion(BreathingTrace(times, trace, "made"))


@pytest.mark.parametrize("breathing", [StaticMotion(), LujanMotion(0.0)], ids=["static", "no amplitude"])
def test_without_breathing_it_is_the_static_table_exactly(queries, breathing):
    table = random_paths()
    screened = screen(table, queries, demands(queries))
    found = over(table, queries, breathing)
    static = np.stack([column.values for column in screened.constraints], axis=1)
    np.testing.assert_array_equal(found.exhale_mm, static)
    np.testing.assert_array_equal(found.least_mm, static)
    np.testing.assert_array_equal(found.safe_share, screened.feasible.astype(float))
    np.testing.assert_array_equal(found.always_safe, screened.feasible)
    assert 0 < screened.feasible.sum() < len(table)
    assert (found.tip_offset_mm[screened.feasible] == 0).all() and np.isnan(found.tip_offset_mm).any()


def test_a_soft_clearance_is_followed_and_demands_that_the_needle_does_not_touch():
    # Lung and vein lie 30 mm to either side; at full inhale one has moved 25 mm onto the path, the other away.
    lung = Structure("lung", Role.LUNG, ball((30, 0, 0), 10, 4))
    vein = Structure("vein", Role.VESSEL, ball((-30, 0, 0), 10, 4))
    queries = queries_of(made_case(ball((0, 0, 0), 5), ball((0, 0, 0), 95, 3), lung, vein))
    table, breathing = paths((0, -80, 0), (0, 0, 0)), LujanMotion(25.0, 4.0, 2, direction=(-1.0, 0.0, 0.0))
    hard = demands(queries, 5.0, ("lung", "vein"))
    soft = [Softened(demand) for demand in hard]
    found, strict = over(table, queries, breathing, soft), over(table, queries, breathing, hard)
    touching = over(table, queries, breathing, demands(queries, 0.0, ("lung", "vein")))
    assert found.obstacles == ("lung", "vein")
    assert found.least_mm[0, 0] < 0 < found.least_mm[0, 1] and not found.always_safe.any()
    np.testing.assert_array_equal(found.limit_mm, [0.0, 0.0])
    np.testing.assert_array_equal(found.exhale_mm, strict.exhale_mm)
    for name in ("least_mm", "safe_share", "gate_mm", "tip_offset_mm", "window_s"):
        np.testing.assert_array_equal(getattr(found, name), getattr(touching, name))
    assert 0 < strict.safe_share[0] < found.safe_share[0] < 1
    assert 0 < strict.gate_mm[0] < found.gate_mm[0] < 25 and len(found.windows_s(0))
    # Beside a hard one each keeps its own demand.
    mixed = over(table, queries, breathing, [hard[0], soft[1]])
    np.testing.assert_array_equal(mixed.limit_mm, [5.0, 0.0])
    np.testing.assert_array_equal(mixed.safe_share, strict.safe_share)


def test_a_ball_that_moves_along_a_line_has_its_closed_form():
    # A path along +z through the origin; a lung 19 mm beside it comes 9 mm nearer.
    centre, radius = np.array([19.0, 0.0, 0.0]), 10.0
    fine = Structure("lung", Role.LUNG, ball(centre, radius, 5))
    queries = queries_of(made_case(ball((0, 0, 0), 5), ball((0, 0, 0), 95, 3), fine))
    table = paths((0, 0, -80), (0, 0, 30))
    breathing = LujanMotion(9.0, 5.0, 2, direction=(-1.0, 0.0, 0.0))
    limit = 3.0
    found = over(table, queries, breathing, demands(queries, limit, ["lung"]))
    axis = 19.0 - radius - RADIUS
    assert found.exhale_mm[0, 0] == pytest.approx(axis, abs=0.03)
    assert found.least_mm[0, 0] == pytest.approx(axis - 9.0, abs=0.1)
    # Safe while A cos^4 stays below what is in hand.
    in_hand = axis - limit
    share = 1.0 - 2.0 / np.pi * np.arccos((in_hand / 9.0) ** 0.25)
    assert share - 0.02 < found.safe_share[0] <= share + 1e-3
    assert found.gate_mm[0] == pytest.approx(in_hand, abs=0.12)
    assert found.tip_offset_mm[0] == pytest.approx(in_hand, abs=0.12)
    # End-exhale lies at the ends of the period: two windows, as long together as the share says.
    windows = found.windows_s(0)
    assert windows.shape == (2, 2) and windows[0, 0] == 0.0 and windows[1, 1] == pytest.approx(5.0)
    assert (windows[:, 1] - windows[:, 0]).sum() == pytest.approx(found.safe_share[0] * 5.0)
    half = 5.0 * share / 2
    assert half - 0.05 < windows[0, 1] <= half + 2e-3 and windows[1, 0] >= 5.0 - half - 2e-3
    assert not found.always_safe[0] and found.span_s == pytest.approx(5.0)


def test_a_ball_that_passes_by_is_met_in_the_middle_of_its_way():
    # It starts on one side and ends on the other: nearest at neither end of the breath.
    queries = queries_of(
        made_case(
            ball((0, 0, 0), 5),
            ball((0, 0, 0), 95, 3),
            Structure("lung", Role.LUNG, ball((20.0, -9.0, 0.0), 8.0, 5)),
        )
    )
    # Sliding along y past a path along x that ends 4.5 mm from its centre's line less the radius.
    table = paths((-80, 0, 0), (7.5, 0, 0))
    breathing = LujanMotion(18.0, 4.0, 1, direction=(0.0, 1.0, 0.0))
    found = over(table, queries, breathing, demands(queries, 4.0, ["lung"]))
    nearest = 12.5 - 8.0 - RADIUS
    assert found.least_mm[0, 0] == pytest.approx(nearest, abs=0.1) and found.least_mm[0, 0] <= nearest + 0.03
    # sqrt(12.5^2 + y^2) - 8 - r >= 4: unsafe while |y| is small, safe at both ends of the way.
    y = np.sqrt((12.0 + RADIUS) ** 2 - 12.5**2)
    share = 1.0 - 2.0 / np.pi * (np.arccos(np.sqrt((9 - y) / 18.0)) - np.arccos(np.sqrt((9 + y) / 18.0)))
    assert share - 0.04 < found.safe_share[0] <= share + 0.01
    # Exhale, inhale, exhale.
    assert len(found.windows_s(0)) == 3
    # Full inhalation is safe, but a gate by amplitude must close before.
    assert found.gate_mm[0] == pytest.approx(9.0 - y, abs=0.3)
    assert found.tip_offset_mm[0] == pytest.approx(18.0, abs=0.05)


@pytest.mark.parametrize(
    ("breathing", "period_s"), [(LUJAN, 4.0), (made_recording(), None)], ids=["lujan", "recorded"]
)
def test_it_agrees_with_brute_force_over_the_whole_breath(queries, breathing, period_s):
    table, constraints = random_paths(40), demands(queries)
    found = over(table, queries, breathing, constraints)
    times = np.linspace(0.0, breathing.span_s, 2000 if period_s else 900, endpoint=False)
    truth = brute_force(table, queries, breathing, constraints, times)
    least = truth.min(axis=2)
    assert (found.least_mm <= least + 1e-9).all()
    # Brute force itself misses what lies between its moments.
    assert (found.least_mm >= least - found.resolution_mm - 0.03).all()
    np.testing.assert_allclose(found.least_mm[:, 3], found.exhale_mm[:, 3], rtol=0, atol=1e-12)
    shortage = (truth - found.limit_mm[None, :, None]).min(axis=1)
    inside = np.zeros(shortage.shape, dtype=bool)
    for row in range(len(table)):
        for begin, end in found.windows_s(row):
            inside[row] |= (times >= begin) & (times <= end)
    # Never safe where it is not; and safe wherever there is more than the resolution in hand.
    assert (shortage[inside] >= -1e-9).all()
    assert inside[shortage >= found.resolution_mm + 0.02].all()
    np.testing.assert_allclose(found.safe_share, inside.mean(axis=1), atol=4e-3)
    seen = np.count_nonzero((found.safe_share > 0) & (found.safe_share < 1))
    assert seen >= 5 and found.always_safe.any() and (found.safe_share == 0).any()


def test_a_gate_of_the_stated_tolerance_is_safe_whenever_it_is_open(queries):
    table = random_paths(40)
    found = over(table, queries, LUJAN)
    times = np.linspace(0, 4.0, 5001)
    for row in np.flatnonzero(found.gate_mm > 0.05):
        opened = times[AmplitudeGate(float(found.gate_mm[row])).is_open(LUJAN.displacement_mm(times))]
        windows = found.windows_s(int(row))
        assert ((opened[:, None] >= windows[:, 0] - 1e-9) & (opened[:, None] <= windows[:, 1] + 1e-9)).any(1).all()
    assert (found.gate_mm[found.always_safe] == pytest.approx(14.0, abs=0.03)) and found.always_safe.any()
    assert (found.gate_mm[(found.exhale_mm < found.limit_mm).any(axis=1)] == 0).all()


def test_a_deeper_breath_shortens_what_a_gate_allows(queries):
    table = random_paths(40)
    shallow, deep = (over(table, queries, LujanMotion(a, 4.0, 2, direction=tuple(ALONG))) for a in (8.0, 16.0))
    assert (deep.least_mm <= shallow.least_mm + 0.06).all()
    assert (deep.always_safe <= shallow.always_safe).all()
    # The tolerance of the gate says where the obstacles are, not how deep the patient breathes.
    limited = shallow.gate_mm < 7.9
    np.testing.assert_allclose(deep.gate_mm[limited], shallow.gate_mm[limited], atol=0.15)


def test_a_larger_demand_never_lengthens_a_window(queries):
    table = random_paths(40)
    loose, strict = (over(table, queries, LUJAN, demands(queries, limit)) for limit in (2.0, 6.0))
    assert (strict.safe_share <= loose.safe_share + 1e-9).all() and (strict.gate_mm <= loose.gate_mm + 1e-9).all()
    assert (strict.safe_share < loose.safe_share - 0.05).any()
    # Measured up to 10 and 11 mm.
    np.testing.assert_allclose(np.minimum(strict.least_mm, 10), loose.least_mm, atol=0.1)


def test_other_rows_and_the_order_of_obstacles_change_nothing(queries):
    table, constraints = random_paths(30), demands(queries)
    whole = over(table, queries, LUJAN, constraints)
    order = [2, 0, 3, 1]
    other = over(table, queries, LUJAN, [constraints[j] for j in order])
    np.testing.assert_array_equal(other.least_mm, whole.least_mm[:, order])
    np.testing.assert_array_equal(other.safe_share, whole.safe_share)
    rows = np.array([7, 3, 21])
    part = over(table, queries, LUJAN, constraints, rows)
    np.testing.assert_array_equal(part.rows, rows)
    np.testing.assert_allclose(part.least_mm, whole.least_mm[rows], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(part.safe_share, whole.safe_share[rows])
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(part.windows_s(k), whole.windows_s(int(row)))


def test_a_moved_patient_breathes_the_same(queries):
    turn = motion(5)
    moved_queries = queries_of(body().moved(turn))
    table = random_paths(30)
    moved = paths(table.entry_mm @ turn[:3, :3].T + turn[:3, 3], table.tip_mm @ turn[:3, :3].T + turn[:3, 3])
    here = over(table, queries, LUJAN)
    there = over(moved, moved_queries, LujanMotion(14.0, 4.0, 2, direction=tuple(turn[:3, :3] @ ALONG)))
    np.testing.assert_allclose(there.least_mm, here.least_mm, atol=1e-6)
    np.testing.assert_allclose(there.safe_share, here.safe_share, atol=2e-3)


def test_bent_paths_breathe_too(queries):
    table = random_paths(12, seed=4)
    chord = table.tip_mm - table.entry_mm
    across = np.cross(chord, (0.3, 0.5, -0.7))
    across *= 0.006 / np.linalg.norm(across, axis=1, keepdims=True)
    bent = paths(table.entry_mm, table.tip_mm, across)
    constraints = demands(queries)
    found = over(bent, queries, LUJAN, constraints)
    truth = brute_force(bent, queries, LUJAN, constraints, np.linspace(0, 4, 120)).min(axis=2)
    assert (found.least_mm <= truth + 0.1).all() and (found.least_mm >= truth - found.resolution_mm - 0.1).all()
    straight = over(table, queries, LUJAN, constraints)
    assert np.abs(found.least_mm - straight.least_mm).max() > 0.5


def test_only_feasible_rows_are_followed_unless_others_are_named(queries):
    table = screen(random_paths(), queries, demands(queries))
    tissue = TissueMotion(queries.anatomy, LUJAN)
    found = clearances_over_breath(table, queries, tissue, [*demands(queries), SkinAngle(5.0)])
    np.testing.assert_array_equal(found.rows, np.flatnonzero(table.feasible))
    assert found.obstacles == ("lung", "heart", "vein", "rib")
    none = clearances_over_breath(table, queries, tissue, demands(queries), [])
    assert len(none) == 0 and none.least_mm.shape == (0, 4) and none.window_s.shape == (0, 2)
    free = clearances_over_breath(table, queries, tissue, [SkinAngle(5.0)], [0, 1])
    assert free.least_mm.shape == (2, 0) and (free.safe_share == 1).all() and free.always_safe.all()


def test_bad_requests_are_refused(queries):
    table = random_paths(5)
    for rows in ([5], [-1], [1, 1], [0.5], [[0]]):
        with pytest.raises(OptionError, match="rows of a table"):
            over(table, queries, LUJAN, rows=rows)
    twice = [*demands(queries), Clearance(queries.anatomy.surface("lung"), 1.0)]
    with pytest.raises(OptionError, match="same obstacle"):
        over(table, queries, LUJAN, twice)
    other = queries_of(made_case(ball((0, 0, 0), 10), ball((0, 0, 0), 95, 2)))
    with pytest.raises(MotionError, match="says nothing of lung"):
        clearances_over_breath(table, queries, TissueMotion(other.anatomy, LUJAN), demands(queries), [0])
    with pytest.raises(GeometryError, match="no path 5"):
        over(table, queries, LUJAN).windows_s(5)
