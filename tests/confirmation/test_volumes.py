"""Volumetric margins, what was left and where a touch-up goes, against closed forms of balls."""

import numpy as np
import pytest

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.record import direction_words
from needleplan.confirmation.residue import measure_residue
from needleplan.confirmation.smallest_ball import smallest_ball
from needleplan.confirmation.subvoxel_surface import subvoxel_surface
from needleplan.confirmation.volumetric import volumetric_margins
from tests.confirmation.made_balls import ball, mask_of, oblique_grid

CENTRE = np.array([12.0, -80.5, 33.3])
TURN = np.array([0.3, -0.2, 0.6])


def _body(mask):
    return ClosedBody.of(subvoxel_surface(mask))


def _ball_ml(radius):
    return 4.0 / 3.0 * np.pi * radius**3 / 1000.0


def _lens_ml(a, b, apart):
    """Volume that two balls share."""
    if apart <= abs(a - b):
        return _ball_ml(min(a, b))
    if apart >= a + b:
        return 0.0
    return (
        np.pi * (a + b - apart) ** 2
        * (apart**2 + 2 * apart * (a + b) - 3 * (a - b) ** 2) / (12 * apart) / 1000.0
    )  # fmt: skip


def test_volumetric_margins_of_shifted_balls():
    r, R, d = 9.0, 15.0, 3.0
    pair = _body(ball(CENTRE, r, (0.8, 0.8, 1.2), TURN)), _body(ball(CENTRE + np.array([0, d, 0]), R))
    for one in volumetric_margins(*pair, None):
        whole = _ball_ml(r + one.margin_mm)
        assert one.volume_ml == pytest.approx(whole, rel=0.02)
        assert one.covered == pytest.approx(_lens_ml(r + one.margin_mm, R, d) / whole, abs=0.01)
        shell = whole - _ball_ml(r)
        assert one.shell_covered == pytest.approx(
            (_lens_ml(r + one.margin_mm, R, d) - _ball_ml(r)) / shell, abs=0.02
        )


def test_volumetric_margins_stay_within_the_organ():
    tumour, zone = _body(ball(CENTRE, 8.0)), _body(ball(CENTRE, 12.0))
    organ = _body(ball(CENTRE, 13.0, (1.2, 1.2, 1.2), TURN))
    shares = {one.margin_mm: one for one in volumetric_margins(tumour, zone, organ)}
    assert shares[4].covered == pytest.approx(1.0, abs=0.01)
    for margin in (5, 8, 10):
        assert shares[margin].volume_ml == pytest.approx(_ball_ml(13.0), rel=0.02)
        assert shares[margin].covered == pytest.approx((12.0 / 13.0) ** 3, abs=0.015)


def test_what_is_left_of_a_ball_is_a_cap_of_known_volume_depth_and_place():
    r, R, d = 10.0, 11.0, 6.0
    way = np.array([0.0, 0.6, -0.8])
    tumour, zone = _body(ball(CENTRE, r, turn=TURN)), _body(ball(CENTRE - d * way, R))
    left = measure_residue(tumour, zone, None, 0.0)
    assert left.left_ml == pytest.approx(_ball_ml(r) - _lens_ml(r, R, d), rel=0.05)
    (piece,) = left.pieces
    assert piece.depth_mm == pytest.approx(r + d - R, abs=0.5)
    assert np.linalg.norm(piece.deepest_mm - (CENTRE + r * way)) < 2.0
    assert piece.direction @ way > 0.98
    off = piece.centroid_mm - CENTRE
    assert np.linalg.norm(off - (off @ way) * way) < 0.4
    # The rim of the cap spans the ball: its radius where both surfaces meet.
    along = (d**2 + R**2 - r**2) / (2 * d)
    assert piece.ball_radius_mm == pytest.approx(np.sqrt(R**2 - along**2), abs=1.0)
    assert left.unresolved_ml == 0.0


def test_two_pieces_are_told_apart_the_larger_first():
    grid = oblique_grid(CENTRE, 16.0, (1.0, 1.0, 1.0), TURN)
    zone = mask_of(grid, lambda p: (p[:, 0] > CENTRE[0] - 7.0) & (p[:, 0] < CENTRE[0] + 5.0))
    left = measure_residue(_body(ball(CENTRE, 10.0)), _body(zone), None, 0.0)
    first, second = left.pieces
    assert first.volume_ml > second.volume_ml
    assert direction_words(first.direction) == "left"
    assert direction_words(second.direction) == "right"
    caps = [np.pi * h**2 * (30.0 - h) / 3000.0 for h in (5.0, 3.0)]
    assert [first.volume_ml, second.volume_ml] == pytest.approx(caps, rel=0.12)


def test_a_pocket_inside_the_tumour_is_left_though_no_margin_shows_it():
    grid = oblique_grid(CENTRE, 18.0, (1.0, 1.0, 1.0))
    zone = mask_of(
        grid,
        lambda p: (np.linalg.norm(p - CENTRE, axis=1) < 16) & (np.linalg.norm(p - CENTRE, axis=1) > 3.0),
    )
    found = confirm(ball(CENTRE, 10.0), zone, same_frame())
    assert found.margins.least_mm > 5.0
    assert found.tumour_left and not found.reached and found.full_cover_mm is None
    # A pocket of six voxels: within a quarter of a voxel of its radius.
    assert _ball_ml(2.75) < found.residue.left_ml < _ball_ml(3.25)
    assert found.coverage == pytest.approx(1 - 0.3**3, abs=0.008)


def test_pieces_thinner_than_the_voxels_tell_are_counted_but_are_no_pieces():
    tumour, zone = _body(ball(CENTRE, 10.0)), _body(ball(CENTRE, 10.0 - 0.4, turn=TURN))
    left = measure_residue(tumour, zone, None, 0.0)
    assert not left.pieces
    assert left.unresolved_ml == left.left_ml == pytest.approx(_ball_ml(10.0) - _ball_ml(9.6), rel=0.2)


def test_the_margin_that_is_left_is_counted_within_the_organ():
    tumour, zone = _body(ball(CENTRE, 8.0)), _body(ball(CENTRE, 10.0))
    left = measure_residue(tumour, zone, None, 5.0)
    assert left.left_ml == pytest.approx(_ball_ml(13.0) - _ball_ml(10.0), rel=0.03)
    within = measure_residue(tumour, zone, _body(ball(CENTRE, 11.5)), 5.0)
    assert within.left_ml == pytest.approx(_ball_ml(11.5) - _ball_ml(10.0), rel=0.05)


def test_full_cover_is_the_least_margin_in_whole_millimetres():
    found = confirm(ball(CENTRE, 8.0), ball(CENTRE, 14.5), same_frame())
    assert found.full_cover_mm == int(found.margins.least_mm) == 6
    covered = {one.margin_mm: one.covered for one in found.volumetric}
    assert min(covered[m] for m in range(1, 7)) > 0.999
    assert found.reached and not found.tumour_left
    assert found.coverage == 1.0
    assert found.tumour_ml == pytest.approx(_ball_ml(8.0), rel=0.02)


def test_the_measured_zone_gives_away_what_it_may_be_wrong_by():
    found = confirm(ball(CENTRE, 8.0), ball(CENTRE, 14.0), same_frame(1.0))
    zone = found.measured_zone()
    depth = zone.signed_distance_mm(CENTRE[None])[0]
    assert 14.0 - 2 * zone.error_mm - 1.0 < depth < 14.0 - 2.0 / np.sqrt(3.0)
    assert zone.registration_error_mm == pytest.approx(2.0 / np.sqrt(3.0))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 60])
def test_the_smallest_ball_holds_all_and_none_is_smaller(count):
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 3)) * np.array([5.0, 2.0, 9.0]) + 100.0
    centre, radius = smallest_ball(points)
    away = np.linalg.norm(points - centre, axis=1)
    assert away.max() == pytest.approx(radius, abs=1e-9)
    # The centre lies in the hull of the points on the ball: moved anywhere, one of them is farther.
    for step in rng.normal(size=(200, 3)) * 1e-3:
        assert np.linalg.norm(points - centre - step, axis=1).max() > radius - 1e-12


def test_the_smallest_ball_of_points_on_one_circle_and_of_doubled_points():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([4 * np.cos(angle), 4 * np.sin(angle), 0 * angle], axis=1) + CENTRE
    centre, radius = smallest_ball(np.concatenate([circle, circle]))
    assert np.allclose(centre, CENTRE, atol=1e-9)
    assert radius == pytest.approx(4.0)
