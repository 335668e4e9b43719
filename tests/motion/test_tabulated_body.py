import time

import numpy as np
import pytest
from test_body_motion import body_of

import needleplan.motion.tabulated_body as module
from needleplan.errors import MotionError
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.hysteresis import HystereticMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.static import StaticMotion
from needleplan.motion.surrogate import SurrogateMotion
from needleplan.motion.tabulated_body import COUGH_MM, MARGIN_MM, WORST_FIT_MM, TabulatedBody

MADE = ["supine", "oblique"]


def displacements(body: BodyMotion, count: int = 81) -> np.ndarray:
    return body.motion.displacement_mm(np.linspace(0.0, body.motion.span_s, count))


def within(table: TabulatedBody, count: int = 60, seed: int = 3) -> np.ndarray:
    """Displacements (n, 3) in patient LPS from all of the table's range."""
    places = np.random.default_rng(seed).uniform(table.low[:3], table.high[:3], (count, 3))
    return places @ table.body.trunk.axes.T


def points_about(body: BodyMotion, count: int = 400) -> np.ndarray:
    low, high = body.anatomy.entry.mesh.bounds_mm
    return np.random.default_rng(1).uniform(low, high, (count, 3))


@pytest.fixture(scope="module", params=MADE)
def table(request) -> TabulatedBody:
    return TabulatedBody.of_motion(body_of(request.param))


@pytest.fixture(scope="module")
def supine() -> BodyMotion:
    return body_of("supine")


def test_the_target_lies_where_it_should_to_within_the_stated_error(table):
    body = table.body
    lesion = body.anatomy.target
    rest = body.trunk.into(lesion.mesh.vertices_mm).mean(axis=0)
    for displacement in np.concatenate([within(table), displacements(body, 20)]):
        state = table.state(displacement)
        way = body.target_way(state.drive) - displacement @ body.trunk.axes
        assert np.linalg.norm(way) <= max(1.5 * table.error_mm, 1e-5)
        moved = body.trunk.into(state.mesh(lesion).vertices_mm).mean(axis=0)
        np.testing.assert_allclose(moved - rest, displacement @ body.trunk.axes, rtol=0, atol=1.0)
        assert (state.displacement_mm == displacement).all()
    assert table.error_mm < 0.02


def test_all_tissue_moves_as_the_exact_solution_says(table):
    points = points_about(table.body)
    for displacement in within(table, 8):
        exact, fitted = table.body.at(displacement), table.state(displacement)
        assert not (exact.drive == fitted.drive).all()
        np.testing.assert_allclose(fitted.carry(points), exact.carry(points), rtol=0, atol=0.03)
        np.testing.assert_allclose(fitted.back(fitted.carry(points, True), True), points, rtol=0, atol=1e-5)


def test_no_displacement_is_the_body_at_rest_bit_by_bit(table):
    state = table.state(np.zeros(3))
    points = points_about(table.body)
    assert not state.drive.any()
    assert (state.carry(points) == points).all()


def test_the_range_holds_the_motion_with_a_margin_and_a_cough(supine):
    table = TabulatedBody.of_motion(supine)
    places = displacements(supine) @ supine.trunk.axes
    assert (places.min(axis=0) - table.low >= MARGIN_MM - 1e-9).all()
    assert (table.high - places.max(axis=0) >= MARGIN_MM - 1e-9).all()
    assert table.low[2] <= -COUGH_MM


def test_outside_the_range_the_exact_solution_answers(table):
    places = np.array([[table.high[0] + 0.5, 0.0, 0.0], [0.0, table.low[1] - 0.5, -3.0]])
    for displacement in places @ table.body.trunk.axes.T:
        assert (table.state(displacement).drive == table.body.at(displacement).drive).all()
    with pytest.raises(MotionError, match="too deep"):
        table.state(table.body.trunk.axes @ np.array([0.0, 0.0, -90.0]))
    for bad in ([np.nan, 0.0, 0.0], [1.0, 2.0], [[1.0, 2.0, 3.0]]):
        with pytest.raises(MotionError, match="three finite numbers"):
            table.state(bad)


def test_nothing_folds_anywhere_in_the_range(table):
    sizes = table._greatest
    # The bounds grow with each amplitude: what holds for the greatest sizes together holds for all states.
    table.body.contraction(np.array([sizes[0], 0.0, sizes[1], sizes[2]]))
    points = points_about(table.body, 60)
    corners = np.array([table.low, table.high])[:, :3] @ table.body.trunk.axes.T
    for displacement in np.concatenate([within(table, 6), corners]):
        state = table.state(displacement)
        assert abs(state.drive[0]) <= sizes[0] and np.hypot(*state.drive[1:3]) <= sizes[1]
        assert (np.linalg.det(state.jacobian(points)) > 0.0).all()


def test_states_beyond_the_proven_sizes_are_not_given_by_the_table(supine):
    table = TabulatedBody.of_motion(supine)
    displacement = displacements(supine)[0]
    assert (table.state(displacement).drive != supine.at(displacement).drive).any()
    table._greatest = 0.5 * table._greatest
    assert (table.state(displacement).drive == supine.at(displacement).drive).all()


def test_a_wall_of_its_own_is_followed(supine):
    skin = LujanMotion(3.0, 4.0, 2, 0.4, (0.0, -1.0, 0.0))
    motion = SurrogateMotion(skin, (0.0, -1.5, -3.6), shift_deg=50.0)
    table = TabulatedBody.of_motion(supine, motion)
    assert table.low.shape == (4,) and table.error_mm < 0.02
    points = points_about(supine)
    lag = []
    for moment in (0.3, 1.1, 3.6):
        displacement, wall = motion.displacement_mm(moment), float(motion.wall_mm(moment))
        state, exact = table.state(displacement, wall), supine.at(displacement, wall)
        assert state.drive[3] == wall
        np.testing.assert_allclose(state.carry(points), exact.carry(points), rtol=0, atol=0.03)
        lag.append(np.abs(state.carry(points) - supine.at(displacement).carry(points)).max())
    assert max(lag) > 0.2
    follows = table.state(displacement)
    assert follows.drive[3] == pytest.approx(supine.at(displacement).drive[3])
    beyond = table.high[3] + 1.0
    assert (table.state(displacement, beyond).drive == supine.at(displacement, beyond).drive).all()


def test_a_table_without_a_wall_leaves_the_wall_to_the_exact_solution(supine):
    table, displacement = TabulatedBody.of_motion(supine), displacements(supine)[30]
    assert (table.state(displacement, 3.0).drive == supine.at(displacement, 3.0).drive).all()


@pytest.mark.parametrize("motion", [StaticMotion(), LujanMotion(0.0), HystereticMotion(LujanMotion(12.0), 40.0)])
def test_rest_lines_and_loops_all_make_a_table(supine, motion):
    table = TabulatedBody.of_motion(supine, motion)
    assert table.error_mm < 0.02
    for displacement in motion.displacement_mm(np.linspace(0.0, 4.0, 9)):
        np.testing.assert_allclose(
            table.state(displacement).drive, supine.at(displacement).drive, rtol=0, atol=0.05
        )
    assert not table.state(np.zeros(3)).drive.any()


def test_a_motion_near_what_the_body_stands_has_a_smaller_range(supine):
    deepest = next(
        depth for depth in np.arange(15.0, 90.0, 0.5) if not _stands(supine, np.array([0.0, 0.0, -depth - 0.5]))
    )
    path = np.outer(np.linspace(0.0, deepest, 30), [0.0, 0.0, -1.0]) @ supine.trunk.axes.T
    table = TabulatedBody(supine, path)
    assert table.low[2] > -deepest - MARGIN_MM
    assert table.low[2] <= -deepest and table.error_mm < WORST_FIT_MM
    with pytest.raises(MotionError, match="too deep"):
        TabulatedBody(supine, 1.2 * path)


def _stands(body: BodyMotion, place: np.ndarray) -> bool:
    try:
        body.at(body.trunk.axes @ place)
    except MotionError:
        return False
    return True


def test_the_error_is_that_of_the_fit(supine, monkeypatch):
    good = TabulatedBody.of_motion(supine)
    monkeypatch.setattr(module, "_DEGREES", (1, 1, 1, 1))
    monkeypatch.setattr(module, "WORST_FIT_MM", 5.0)
    poor = TabulatedBody.of_motion(supine)
    assert poor.error_mm > 5.0 * good.error_mm
    monkeypatch.setattr(module, "WORST_FIT_MM", 0.5 * poor.error_mm)
    with pytest.raises(MotionError, match="errs by"):
        TabulatedBody.of_motion(supine)


def test_the_table_is_quick_and_the_same_each_time(supine):
    one, other = TabulatedBody.of_motion(supine), TabulatedBody.of_motion(supine)
    displacement = displacements(supine)[30]
    assert (one.state(displacement).drive == other.state(displacement).drive).all()
    best = np.inf
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(100):
            one.state(displacement)
        best = min(best, (time.perf_counter() - begin) / 100)
    assert best < 2e-4


def test_impossible_displacements_are_refused(supine):
    for bad in (np.zeros((0, 3)), np.zeros((4, 2)), np.full((3, 3), np.nan)):
        with pytest.raises(MotionError, match="finite and of shape"):
            TabulatedBody(supine, bad)
    for wall in ([1.0], [np.inf, 0.0]):
        with pytest.raises(MotionError, match="one finite way for each of the 2"):
            TabulatedBody(supine, np.zeros((2, 3)), wall)
