"""Signed margins against closed forms: concentric and shifted balls on grids of their own, and the capsule rule."""

import numpy as np
import pytest

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.clipping import clipped_triangles, share_below
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.margin_map import margin_map
from needleplan.confirmation.options import FARTHEST_MM, CapsuleRule, ConfirmationOptions
from needleplan.confirmation.subvoxel_surface import resolution_mm, subvoxel_surface
from needleplan.errors import GeometryError, OptionError
from needleplan.registration.rotations import rotations_of
from tests.confirmation.made_balls import (
    ball,
    ball_margin_mm,
    ball_mean_mm,
    ball_share_reached,
    mask_of,
    oblique_grid,
)

CENTRE = np.array([-18.3, 44.1, 120.9])
TURNS = (np.array([0.2, 0.5, -0.3]), np.array([-0.6, 0.1, 0.8]))
WAY = np.array([2.0, -1.0, 2.0]) / 3.0


def _body(mask):
    return ClosedBody.of(subvoxel_surface(mask))


def _margins(tumour, zone, organ=None, options=None):
    """Margins alone, without volumes."""
    bodies = [None if mask is None else _body(mask) for mask in (tumour, zone, organ)]
    return margin_map(*bodies, options or ConfirmationOptions())


@pytest.mark.parametrize(
    ("tumour_spacing", "zone_spacing"),
    [
        ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        ((0.8, 0.8, 0.8), (0.7, 0.7, 1.5)),
        ((0.8, 0.8, 2.5), (1.2, 0.9, 0.9)),
    ],
)
@pytest.mark.parametrize(
    ("r", "R", "d"), [(10.0, 17.0, 4.0), (12.0, 18.0, 0.0), (8.0, 11.0, 5.5), (7.5, 9.0, 12.0)]
)
def test_balls_in_balls(tumour_spacing, zone_spacing, r, R, d):
    surfaces = [
        subvoxel_surface(ball(CENTRE, r, tumour_spacing, TURNS[0])),
        subvoxel_surface(ball(CENTRE + d * WAY, R, zone_spacing, TURNS[1])),
    ]
    margins = margin_map(*(ClosedBody(surface.mesh) for surface in surfaces), None, ConfirmationOptions())
    coarse, resolved_mm = max(*tumour_spacing, *zone_spacing), resolution_mm(*surfaces)
    assert margins.mean_mm == pytest.approx(ball_mean_mm(r, R, d), abs=0.08 * coarse)
    # The least of many errs to the low side by what single places err by.
    least = margins.least_mm - ball_margin_mm(r, R, d)
    assert -resolved_mm <= least <= 0.3 * resolved_mm
    shares = margins.shares
    assert shares.uncovered + shares.short + shares.reached == pytest.approx(1.0)
    if d > 0:
        assert shares.reached == pytest.approx(ball_share_reached(r, R, d, 5.0), abs=0.035)
        assert shares.uncovered == pytest.approx(1.0 - ball_share_reached(r, R, d, 0.0), abs=0.035)


def test_the_bias_of_the_least_margin_is_below_a_fifth_of_a_voxel():
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(12):
        r, gap, d = rng.uniform(6, 14), rng.uniform(2, 8), rng.uniform(0, 5)
        way = rng.normal(size=3)
        shifted = CENTRE + d * way / np.linalg.norm(way)
        pair = (
            _body(ball(CENTRE, r, turn=rng.normal(size=3))),
            _body(ball(shifted, r + gap, turn=rng.normal(size=3))),
        )
        errors.append(margin_map(*pair, None, ConfirmationOptions()).least_mm - ball_margin_mm(r, r + gap, d))
    assert abs(np.mean(errors)) < 0.2
    assert np.abs(errors).max() < 0.5


def test_margins_by_border_voxels_would_be_half_a_millimetre_too_small():
    """What the bias is against: distances from border voxel to border voxel."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    grid = oblique_grid(CENTRE, 22.0, (1.0, 1.0, 1.0))
    tumour, zone = (
        (np.linalg.norm(grid.centres_mm() - middle, axis=1) < radius).reshape(grid.shape)
        for middle, radius in ((CENTRE, 10.0), (CENTRE + 4.0 * WAY, 17.0))
    )
    border = [mask & ~binary_erosion(mask) for mask in (tumour, zone)]
    distance = distance_transform_edt(~border[1]) * np.where(zone, 1.0, -1.0)
    assert distance[border[0]].min() - ball_margin_mm(10, 17, 4) < -0.4
    assert distance[border[0]].mean() - ball_mean_mm(10, 17, 4) < -0.2


def test_margins_do_not_change_when_both_scans_move():
    tumour, zone = ball(CENTRE, 9.0, (0.8, 0.8, 1.5), TURNS[0]), ball(CENTRE + 3 * WAY, 14.0, turn=TURNS[1])
    shift = np.array([300.0, -200.0, 50.0])
    far = ball(CENTRE + shift, 9.0, (0.8, 0.8, 1.5), TURNS[0]), ball(CENTRE + 3 * WAY + shift, 14.0, turn=TURNS[1])
    first, second = (_margins(*pair) for pair in ((tumour, zone), far))
    assert first.least_mm == pytest.approx(second.least_mm, abs=1e-6)
    assert first.mean_mm == pytest.approx(second.mean_mm, abs=1e-6)


def _half_organ(depth_mm, half=30.0, spacing=(1.0, 1.0, 1.0)):
    """All within ``depth_mm`` of the tumour's middle along +x."""
    grid = oblique_grid(CENTRE, half, spacing, TURNS[0] * 0.3)
    return mask_of(grid, lambda points: points[:, 0] < CENTRE[0] + depth_mm)


def _cut_zone(radius, depth_mm):
    """A ball about the tumour that ends at the capsule."""
    grid = oblique_grid(CENTRE, radius + 4, (1.0, 1.0, 1.0), TURNS[1])
    return mask_of(
        grid,
        lambda points: (np.linalg.norm(points - CENTRE, axis=1) < radius) & (points[:, 0] < CENTRE[0] + depth_mm),
    )


@pytest.mark.parametrize("depth_mm", [8.0, 9.0, 11.0])
def test_inward_a_zone_that_ends_at_the_capsule_has_its_margin(depth_mm):
    """A tumour of 8 mm at and below a flat capsule: the ball of 14 mm inside the organ leaves 6 mm.

    With what lies less than 5 mm below the capsule left out, the zone's end there counts elsewhere: 5 mm.
    """
    tumour, zone, organ = ball(CENTRE, 8.0), _cut_zone(14.0, depth_mm), _half_organ(depth_mm)
    found = {rule: _margins(tumour, zone, organ, ConfirmationOptions(capsule_rule=rule)) for rule in CapsuleRule}
    assert found[CapsuleRule.NONE].least_mm == pytest.approx(depth_mm - 8.0, abs=0.8)
    assert found[CapsuleRule.INWARD].least_mm == pytest.approx(6.0, abs=0.5)
    assert found[CapsuleRule.EXCLUDED].least_mm == pytest.approx(5.0, abs=0.5)
    assert found[CapsuleRule.INWARD].plain_least_mm == found[CapsuleRule.NONE].least_mm
    assert found[CapsuleRule.INWARD].excluded_least_mm == found[CapsuleRule.EXCLUDED].least_mm
    assert found[CapsuleRule.EXCLUDED].counted_share < 0.9
    assert found[CapsuleRule.INWARD].counted_share == pytest.approx(1.0)


@pytest.mark.parametrize("edge", [0.5, 1.0, 1.5])
def test_inward_no_depth_below_the_capsule_caps_the_margin(edge):
    """A tumour of 10 mm, 3 mm below the capsule; the zone of 18 mm leaves no organ nearer than 8 mm.

    Places more than 5 mm below the capsule are farther from the zone's end at it than that, and no farther.
    """
    zone = mask_of(
        oblique_grid(CENTRE, 20.0, (edge,) * 3, TURNS[1]),
        lambda points: (np.linalg.norm(points - CENTRE, axis=1) < 18) & (points[:, 0] < CENTRE[0] + 13.0),
    )
    tumour, organ = ball(CENTRE, 10.0, (edge,) * 3), _half_organ(13.0, 50.0)
    for capsule_mm in (0.0, 5.0):
        margins = _margins(tumour, zone, organ, ConfirmationOptions(capsule_mm=capsule_mm))
        assert margins.least_mm == pytest.approx(8.0, abs=max(0.5, 0.6 * edge))
    assert margins.plain_least_mm == pytest.approx(3.0, abs=0.8)


def test_inward_tumour_left_at_the_capsule_is_still_left():
    """The zone stops 4 mm short of a tumour that reaches the capsule."""
    found = confirm(ball(CENTRE, 8.0), _cut_zone(14.0, 4.0), same_frame(), organ_before=_half_organ(8.0))
    assert found.margins.least_mm == pytest.approx(-4.0, abs=0.8)
    assert found.tumour_left and not found.reached


THICK = (0.8, 0.8, 5.0)


def _slabs(rim_mm, spacing=THICK, turn=None, normal=(1.0, 0.0, 0.0)):
    """Tumour of 10 mm cut flat by the capsule 8 mm from its middle, a zone that ends before it, the organ."""
    axis = rotations_of(np.zeros(3) if turn is None else turn) @ np.asarray(normal)

    def cut(radius, end_mm):
        return mask_of(
            oblique_grid(CENTRE, radius + 2.0, spacing, turn),
            lambda p: (np.linalg.norm(p - CENTRE, axis=1) < radius) & ((p - CENTRE) @ axis < end_mm),
        )

    return cut(10.0, 8.0), cut(20.0, 8.0 - rim_mm), cut(50.0, 8.0)


@pytest.mark.parametrize("turn", [None, np.array([0.4, -0.3, 0.7])])
@pytest.mark.parametrize("rim_mm", [2.0, 2.8])
def test_inward_thick_slices_hide_no_tumour_where_voxels_are_fine(rim_mm, turn):
    """A slab of 2.5 voxels and more along fine axes, half a slice thick, stands upright on the slices."""
    tumour, zone, organ = _slabs(rim_mm, turn=turn)
    for options in (ConfirmationOptions(), ConfirmationOptions(margin_mm=3.0), ConfirmationOptions(capsule_mm=8.0)):
        found = confirm(tumour, zone, same_frame(), organ_before=organ, options=options)
        assert found.tumour_left and not found.reached and found.full_cover_mm is None
        assert found.margins.least_mm == pytest.approx(-rim_mm, abs=0.85)
        assert found.residue.pieces and found.margins.shares.uncovered > 0.05


def test_inward_a_layer_that_slices_do_not_tell_is_left_by_its_volume():
    """The same slab along the slices: no single place tells it, but so great a share of the tumour does."""
    tumour, zone, organ = _slabs(2.5, normal=(0.0, 0.0, 1.0))
    found = confirm(tumour, zone, same_frame(), organ_before=organ)
    assert found.coverage < 0.98
    assert found.tumour_left and not found.reached


def test_inward_a_zone_up_to_the_capsule_leaves_nothing_whatever_the_slices():
    for spacing in (THICK, (1.0, 1.0, 1.0)):
        tumour, zone, organ = _slabs(0.0, spacing, np.array([0.4, -0.3, 0.7]))
        found = confirm(tumour, zone, same_frame(), organ_before=organ)
        assert not found.tumour_left and found.margins.least_mm > 5.0
        assert found.coverage > 0.98
        told = any("less than the voxels tell" in note for note in found.notes)
        assert told == (found.margins.undecided_share >= 0.005)


def test_a_surface_errs_by_half_a_voxel_along_its_normal():
    body = _body(ball(CENTRE, 8.0, THICK, TURNS[0]))
    axes = rotations_of(TURNS[0])
    assert body.resolution_mm(axes.T) == pytest.approx([0.4, 0.4, 2.5])
    ways = np.random.default_rng(1).normal(size=(50, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert (body.resolution_mm(ways) <= subvoxel_surface(ball(CENTRE, 8.0, THICK)).resolution_mm + 1e-12).all()
    assert (ClosedBody(body.mesh).resolution_mm(ways) == 0.0).all()


def test_inward_organ_left_at_the_capsule_still_counts():
    """A layer of 3 mm of organ between zone and capsule is left: the margin is what lies before it."""
    found = confirm(ball(CENTRE, 8.0), _cut_zone(14.0, 9.0), same_frame(), organ_before=_half_organ(12.0))
    # The layer begins 1 mm beyond the tumour; what the voxels do not tell apart is given away.
    assert found.margins.least_mm == pytest.approx(1.0, abs=1.2)
    assert found.margins.least_mm < 3.0


def test_inward_never_understates_and_ends_at_the_farthest():
    tumour, zone, organ = (
        ball(CENTRE, 8.0),
        ball(CENTRE, 45.0, (1.5, 1.5, 1.5)),
        _half_organ(9.0, 50.0, (2.0, 2.0, 2.0)),
    )
    margins = _margins(tumour, zone, organ)
    assert (margins.margins_mm >= margins.plain_margins_mm).all()
    assert margins.margins_mm.max() <= 45.0
    assert margins.margins_mm[margins.beside_capsule].min() >= FARTHEST_MM - 1e-9


def test_a_tumour_at_the_capsule_all_around_cannot_be_judged_if_that_is_left_out():
    options = ConfirmationOptions(capsule_rule=CapsuleRule.EXCLUDED)
    with pytest.raises(GeometryError, match="nothing of it is left to judge"):
        confirm(
            ball(CENTRE, 8.0), ball(CENTRE, 12.0), same_frame(), organ_before=ball(CENTRE, 10.0), options=options
        )


def test_shares_are_exact_for_linear_values():
    triangles = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0]], [[3.0, 0, 0], [3, 4, 0], [0, 4, 0]]])
    areas = np.array([6.0, 6.0])
    values = triangles[..., 0]
    for limit in (-1.0, 0.0, 0.5, 1.7, 2.9, 3.5):
        assert share_below(areas, values, limit) == pytest.approx(np.clip(limit / 3.0, 0, 1), abs=1e-12)
    assert share_below(areas, np.full((2, 3), 5.0), 5.0) == 0.0
    assert share_below(np.zeros(2), values, 1.0) == 0.0


def test_clipped_triangles_keep_the_area_below_zero():
    rng = np.random.default_rng(3)
    triangles = rng.normal(size=(200, 3, 3))
    normal, offset = np.array([0.3, -0.5, 0.8]), 0.2
    values = triangles @ normal - offset
    left = clipped_triangles(triangles, values)
    assert (left @ normal - offset <= 1e-9).all()

    def areas(corners):
        return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2

    other = clipped_triangles(triangles, -values)
    assert areas(left).sum() + areas(other).sum() == pytest.approx(areas(triangles).sum())
    whole = areas(triangles)
    assert areas(left).sum() == pytest.approx(whole.sum() * share_below(whole, values, 0.0))


@pytest.mark.parametrize(
    "wrong", [{"margin_mm": -1.0}, {"margin_mm": float("nan")}, {"capsule_mm": 40.0}, {"draws": 3}, {"seed": -1}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(OptionError):
        ConfirmationOptions(**wrong)
