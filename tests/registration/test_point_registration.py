import itertools

import numpy as np
import pytest
from made_points import FIDUCIALS_MM, TARGET_MM, oblique_pose, seen

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import Frame
from needleplan.registration.point_based import PointOptions, register_points
from needleplan.registration.point_pairs import matched_order
from needleplan.registration.registration_error import expected_fre_mm, expected_tre_mm, fle_from_fre_mm

X_PT = oblique_pose()
MOVING = seen(FIDUCIALS_MM, X_PT)
DRAWS = 2000


def registered(fixed=FIDUCIALS_MM, moving=MOVING, **options):
    return register_points(fixed, moving, Frame.PATIENT, Frame.TRACKER, **options)


def errors_at(targets, noise, **how):
    """Displacements (n, t, 3) of targets by registrations of noisy points, and their FRE²."""
    moved, squares = [], []
    tracked = X_PT.inverse().apply(targets)
    for errors in noise:
        found = registered(FIDUCIALS_MM + errors, options=PointOptions(most_taken_out=0, level=1e-9), **how)
        moved.append(found.transform.apply(tracked) - targets)
        squares.append(found.fre_mm**2)
    return np.array(moved), np.array(squares)


def test_exact_points_give_the_exact_pose_between_the_named_frames():
    found = registered()
    assert (found.transform.parent, found.transform.child) == (Frame.PATIENT, Frame.TRACKER)
    np.testing.assert_allclose(found.transform.matrix, X_PT.matrix, atol=1e-9)
    assert found.fre_mm < 1e-9 and not found.taken_out and found.scale == pytest.approx(1.0)
    assert found.condition < 20 and found.degrees_of_freedom == 12


def test_simulated_target_error_is_that_of_the_closed_form_at_several_targets():
    rng = np.random.default_rng(5)
    component = 0.6
    noise = rng.normal(0, component, (DRAWS, *FIDUCIALS_MM.shape))
    fle = component * np.sqrt(3)
    targets = np.array([TARGET_MM, FIDUCIALS_MM.mean(axis=0), [120.0, 60.0, 300.0]])
    moved, fre2 = errors_at(targets, noise)
    for target, squares in zip(targets, (moved**2).sum(axis=2).T, strict=True):
        within = 4 * squares.std() / np.sqrt(len(squares))
        assert squares.mean() == pytest.approx(expected_tre_mm(FIDUCIALS_MM, target, fle) ** 2, abs=within)
    # FRE speaks for FLE and not for TRE.
    assert fre2.mean() == pytest.approx(expected_fre_mm(fle, 6) ** 2, abs=4 * fre2.std() / np.sqrt(len(fre2)))
    assert fle_from_fre_mm(expected_fre_mm(fle, 6), 6) == pytest.approx(fle)


def test_full_covariance_has_the_trace_of_the_published_closed_form():
    rng = np.random.default_rng(6)
    fle = 1.1
    found = registered(options=PointOptions(fle_mm=fle))
    for target in rng.normal(0, 300, (20, 3)):
        assert found.covariance.tre_mm(target) == pytest.approx(
            expected_tre_mm(FIDUCIALS_MM, target, fle), rel=1e-9
        )


@pytest.mark.parametrize("weighted", [True, False], ids=["generalised", "unweighted"])
def test_covariance_of_anisotropic_errors_is_that_of_the_simulation(weighted):
    from needleplan.registration.registration_error import registration_covariance

    rng = np.random.default_rng(7)
    spread = np.linalg.cholesky(np.array([[0.2, 0.1, 0.0], [0.1, 0.3, -0.2], [0.0, -0.2, 2.0]]))
    sizes = np.array([0.5, 1.0, 0.7, 1.4, 0.9, 0.6])
    covariances = sizes[:, None, None] ** 2 * (spread @ spread.T)
    noise = (rng.standard_normal((800, 6, 3)) @ spread.T) * sizes[:, None]
    moved, _ = errors_at(TARGET_MM[None], noise, **({"fixed_covariance_mm2": covariances} if weighted else {}))
    information = np.linalg.inv(covariances) if weighted else np.tile(np.eye(3), (6, 1, 1))
    predicted = registration_covariance(FIDUCIALS_MM, covariances, information, Frame.PATIENT).at(TARGET_MM)
    counted = moved[:, 0].T @ moved[:, 0] / len(moved)
    # Entries of a sample covariance have the variance (c_ii c_jj + c_ij²) / n.
    error = np.sqrt((np.outer(np.diag(predicted), np.diag(predicted)) + predicted**2) / len(moved))
    assert (np.abs(counted - predicted) < 4 * error).all()
    if weighted:
        same = registered(fixed_covariance_mm2=covariances).covariance.at(TARGET_MM)
        np.testing.assert_allclose(same, predicted, rtol=1e-6, atol=1e-9)


def test_errors_of_the_tracker_are_stated_in_its_own_axes():
    in_tracker = np.diag([0.04, 0.09, 1.0])
    turned = X_PT.rotation @ in_tracker @ X_PT.rotation.T
    rng = np.random.default_rng(8)
    noisy = MOVING + rng.multivariate_normal(np.zeros(3), in_tracker, 6)
    one = registered(moving=noisy, moving_covariance_mm2=in_tracker)
    other = registered(moving=noisy, fixed_covariance_mm2=turned)
    tracked = X_PT.inverse().apply(TARGET_MM)
    np.testing.assert_allclose(one.transform.apply(tracked), other.transform.apply(tracked), atol=0.02)
    np.testing.assert_allclose(one.covariance.at(TARGET_MM), other.covariance.at(TARGET_MM), rtol=0.02, atol=1e-3)


def test_weights_are_inverse_variances():
    rng = np.random.default_rng(9)
    noisy = FIDUCIALS_MM + rng.normal(0, 0.5, FIDUCIALS_MM.shape)
    weights = np.array([1.0, 2.0, 0.5, 1.0, 4.0, 1.0])
    one = registered(noisy, weights=weights)
    other = registered(noisy, fixed_covariance_mm2=np.eye(3) / weights[:, None, None])
    np.testing.assert_allclose(one.transform.matrix, other.transform.matrix, atol=1e-8)
    np.testing.assert_allclose(one.transform.matrix, registered(noisy, weights=7 * weights).transform.matrix)


def test_estimated_localisation_error_is_unbiased_and_scales_the_covariance():
    rng = np.random.default_rng(10)
    found = [
        registered(FIDUCIALS_MM + errors, options=PointOptions(most_taken_out=0))
        for errors in rng.normal(0, 0.5, (800, 6, 3))
    ]
    squares = np.array([one.fle_mm**2 for one in found])
    assert squares.mean() == pytest.approx(0.75, abs=4 * squares.std() / np.sqrt(800))
    for one in found[:5]:
        assert one.covariance.tre_mm(TARGET_MM) == pytest.approx(
            expected_tre_mm(FIDUCIALS_MM, TARGET_MM, one.fle_mm), rel=0.02
        )


@pytest.mark.parametrize("known", [0.5, None], ids=["known error", "unknown error"])
@pytest.mark.parametrize("wrong", [(3,), (0, 4)], ids=["one outlier", "two outliers"])
def test_outliers_are_taken_out_and_named(known, wrong):
    rng = np.random.default_rng(11)
    points = np.concatenate([FIDUCIALS_MM, [[30.0, -90.0, 470.0], [-120.0, -60.0, 610.0]]])
    fixed = points + rng.normal(0, 0.3, points.shape)
    for k, shift in zip(wrong, ([9.0, -6.0, 5.0], [-4.0, 12.0, 7.0]), strict=False):
        fixed[k] += shift
    names = [f"marker {chr(65 + k)}" for k in range(8)]
    found = registered(fixed, seen(points, X_PT), names=names, options=PointOptions(fle_mm=known))
    assert found.taken_out == tuple(names[k] for k in wrong)
    assert np.linalg.norm(found.residuals_mm[list(wrong)], axis=1).min() > 5
    assert np.linalg.norm(found.transform.apply(X_PT.inverse().apply(TARGET_MM)) - TARGET_MM) < 1.0


def test_an_outlier_of_ten_spreads_is_nearly_always_found():
    rng = np.random.default_rng(14)
    found = 0
    for errors in rng.normal(0, 0.3, (60, 6, 3)):
        errors[4] += 3.0 * rng.choice([-1, 1]) * np.array([0.6, 0.0, 0.8])
        found += registered(FIDUCIALS_MM + errors, options=PointOptions(fle_mm=0.3 * np.sqrt(3))).taken_out == (
            "5",
        )
    assert found >= 54


def test_points_without_fault_are_seldom_taken_out():
    rng = np.random.default_rng(12)
    level = 0.02
    options = PointOptions(level=level)
    taken = sum(
        bool(registered(FIDUCIALS_MM + errors, options=options).taken_out)
        for errors in rng.normal(0, 0.5, (300, 6, 3))
    )
    # Two rounds of tests, each at the level at most.
    assert taken <= 2 * level * 300 + 4 * np.sqrt(2 * level * 300)


def test_too_few_points_are_left_for_an_outlier_to_be_named():
    fixed = FIDUCIALS_MM[:4].copy()
    fixed[2] += 20.0
    with pytest.raises(GeometryError, match=r"misfit by .* measure again"):
        registered(fixed, MOVING[:4], options=PointOptions(fle_mm=0.5))


def test_order_of_the_points_is_found_by_their_distances():
    rng = np.random.default_rng(13)
    order = rng.permutation(6)
    found = matched_order(FIDUCIALS_MM, MOVING[order] + rng.normal(0, 0.2, (6, 3)))
    np.testing.assert_array_equal(order[found], np.arange(6))
    square = np.array(list(itertools.product((0.0, 80.0), (0.0, 80.0), (0.0,))))
    with pytest.raises(GeometryError, match="two orders"):
        matched_order(square, square)
    with pytest.raises(GeometryError, match="3 to 8"):
        matched_order(np.zeros((9, 3)), np.zeros((9, 3)))


LINE = np.linspace(0, 100, 5)[:, None] * np.array([0.6, 0.0, 0.8])


@pytest.mark.parametrize(
    ("fixed", "moving", "reason"),
    [
        (FIDUCIALS_MM[:2], MOVING[:2], "at least 3"),
        (FIDUCIALS_MM, MOVING[:5], "as many points"),
        (LINE, LINE + 5.0, "nearly on one line"),
        (np.add(LINE, [[0, 0.5, 0], [0, -1, 0], [0, 1, 0], [0, 0, 0], [0, 0.7, 0]]), LINE, "nearly on one line"),
        (FIDUCIALS_MM[[0, 1, 2, 2]], MOVING[[0, 1, 2, 2]], "3 and 4 .* coincide"),
        (FIDUCIALS_MM * [-1, 1, 1], MOVING, "mirror image"),
        (FIDUCIALS_MM * [-1, 1, 1] + np.random.default_rng(0).normal(0, 0.5, (6, 3)), MOVING, "mirror image"),
        (np.where(np.eye(6, 3, k=-2) > 0, np.nan, FIDUCIALS_MM), MOVING, "point 3 in the parent .* not a finite"),
        (FIDUCIALS_MM * 1e-3, MOVING, "in millimetres"),
        (FIDUCIALS_MM * 1e-3, MOVING * 1e-3, "in millimetres"),
        (FIDUCIALS_MM, MOVING * 1.2, r"1\.2 times as far"),
    ],
    ids=["two", "unequal", "line", "near line", "twice", "mirror", "noisy mirror", "nan", "m/mm", "m", "scale"],
)
def test_sets_that_determine_no_pose_are_refused(fixed, moving, reason):
    with pytest.raises(GeometryError, match=reason):
        registered(fixed, moving)


def drawn(count, flatness_mm, fle_mm, mirrored, rng):
    """Random points over the skin, and the same as the child frame has them, with localisation errors."""
    fixed = rng.uniform(-1, 1, (count, 3)) * [90.0, 90.0, flatness_mm]
    moving = seen(fixed * [-1 if mirrored else 1, 1, 1], X_PT)
    return fixed, moving + rng.normal(0, fle_mm / np.sqrt(3), (count, 3))


def outcomes(count, flatness_mm, fle_mm, mirrored, draws, options=None):
    """How many sets are accepted as not mirrored, accepted as undecided, and refused as mirrored."""
    rng = np.random.default_rng([count, draws])
    shown = undecided = refused = 0
    for _ in range(draws):
        fixed, moving = drawn(count, flatness_mm, fle_mm, mirrored, rng)
        try:
            found = registered(fixed, moving, options=options)
        except GeometryError as error:
            refused += "mirror image" in str(error)
        else:
            shown += found.hand_is_shown
            undecided += not found.hand_is_shown
    return shown, undecided, refused


@pytest.mark.parametrize("known", [True, False], ids=["known error", "unknown error"])
@pytest.mark.parametrize(
    ("count", "flatness_mm", "fle_mm", "undecided_share"),
    [(4, 60.0, 1.0, 0.10), (4, 30.0, 2.0, 0.20), (4, 15.0, 3.0, 0.40), (5, 15.0, 2.0, 0.10), (6, 15.0, 2.0, 0.05)],
)
def test_mirrored_points_are_never_taken_for_others(count, flatness_mm, fle_mm, undecided_share, known):
    draws = 150 if count == 4 else 40
    options = PointOptions(fle_mm=fle_mm if known else None, level=1e-6)
    shown, undecided, refused = outcomes(count, flatness_mm, fle_mm, True, draws, options)
    assert shown <= 0.02 * draws and undecided <= undecided_share * draws and refused >= 0.5 * draws
    shown, undecided, refused = outcomes(count, flatness_mm, fle_mm, False, draws, options)
    assert refused <= 0.02 * draws and undecided <= undecided_share * draws and shown >= 0.5 * draws


def test_odds_are_those_of_the_two_sums_of_squares():
    rng = np.random.default_rng(17)
    fixed, moving = drawn(4, 15.0, 2.0, False, rng)
    centred = [points - points.mean(axis=0) for points in (fixed, moving)]
    # The least sums of squares over rotations and over reflections, from the singular values alone.
    size = sum((points**2).sum() for points in centred)
    cross = centred[0].T @ centred[1]
    values = np.linalg.svd(cross, compute_uv=False)
    values[2] *= np.sign(np.linalg.det(cross))
    squares, mirrored = size - 2 * values.sum(), size - 2 * (values.sum() - 2 * values[2])
    assert registered(fixed, moving).unmirrored_odds == pytest.approx((mirrored / squares) ** 3, rel=1e-6)
    found = registered(fixed, moving, options=PointOptions(fle_mm=2.0))
    assert found.unmirrored_odds == pytest.approx(np.exp((mirrored - squares) / 2 / (4 / 3)), rel=1e-6)
    # The same set with one frame inverted has the odds the other way round, and is refused where they are clear.
    assert mirrored > 3 * squares
    with pytest.raises(GeometryError, match="mirror image"):
        registered(fixed, -moving)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("known", [0.5, None], ids=["known error", "unknown error"])
def test_what_looks_the_same_mirrored_says_so(mirrored, known):
    corners = [[-90, -70, 0], [80, -60, 0], [-20, 85, 0], [60, 40, 0], [-75, 30, 0], [10, -20, 0], [35, 90, 0]]
    flat = np.array(corners, dtype=np.float64) @ oblique_pose().rotation.T
    options = PointOptions(fle_mm=known)
    for count in (3, 4, 7):
        found = registered(flat[:count], -flat[:count] if mirrored else flat[:count], options=options)
        assert found.unmirrored_odds == pytest.approx(1.0, rel=1e-3)
        assert not found.hand_is_shown and "do not show whether one set is mirrored" in found.hand
    three = registered(FIDUCIALS_MM[:3] * [-1 if mirrored else 1, 1, 1], MOVING[:3], options=options)
    assert three.unmirrored_odds == pytest.approx(1.0, rel=1e-3) and not three.hand_is_shown
    shown = registered(options=options)
    assert shown.hand_is_shown and "neither set is mirrored" in shown.hand


@pytest.mark.parametrize("wrong", [(3,), (0, 4)], ids=["one outlier", "two outliers"])
def test_outliers_do_not_hide_a_mirror_nor_make_one(wrong):
    rng = np.random.default_rng(19)
    points = np.concatenate([FIDUCIALS_MM, [[30.0, -90.0, 470.0], [-120.0, -60.0, 610.0]]])
    fixed = points + rng.normal(0, 0.3, points.shape)
    for k, shift in zip(wrong, ([9.0, -6.0, 5.0], [-4.0, 12.0, 7.0]), strict=False):
        fixed[k] += shift
    assert registered(fixed, seen(points, X_PT)).hand_is_shown
    with pytest.raises(GeometryError, match="mirror image"):
        registered(fixed * [-1, 1, 1], seen(points, X_PT))


def test_a_mirror_is_told_under_unequal_errors_of_both_frames():
    image, tracker = np.diag([0.1, 0.1, 1.5]), np.diag([0.04, 0.3, 0.09])
    errors = {"fixed_covariance_mm2": image, "moving_covariance_mm2": tracker}
    rng = np.random.default_rng(20)
    for _ in range(5):
        noisy = FIDUCIALS_MM + rng.multivariate_normal(np.zeros(3), image, 6)
        other = MOVING + rng.multivariate_normal(np.zeros(3), tracker, 6)
        # Four points as well, which have few degrees of freedom.
        for kept in (slice(None), [0, 1, 3, 4]):
            assert registered(noisy[kept], other[kept], **errors).hand_is_shown
            with pytest.raises(GeometryError, match="mirror image"):
                registered(noisy[kept] * [1, -1, 1], other[kept], **errors)


def test_residuals_beyond_the_greatest_that_are_allowed_are_refused():
    rng = np.random.default_rng(21)
    coarse = FIDUCIALS_MM + rng.normal(0, 8.0, FIDUCIALS_MM.shape)
    with pytest.raises(GeometryError, match=r"where 5 mm are allowed; the farthest off is point \d"):
        registered(coarse)
    found = registered(coarse, options=PointOptions(greatest_fre_mm=30.0))
    assert 5 < found.fre_mm < 30
    # A localisation error that is stated great does not lift the limit.
    with pytest.raises(GeometryError, match="5 mm are allowed"):
        registered(coarse, options=PointOptions(fle_mm=14.0))
    just = PointOptions(greatest_fre_mm=found.fre_mm * (1 + 1e-9))
    assert registered(coarse, options=just).fre_mm == pytest.approx(found.fre_mm)
    with pytest.raises(GeometryError, match="are allowed"):
        registered(coarse, options=PointOptions(greatest_fre_mm=found.fre_mm * (1 - 1e-9)))
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(OptionError, match="residuals that are allowed"):
            PointOptions(greatest_fre_mm=wrong)


def test_flipped_left_right_and_front_back_is_a_rotation_and_is_seen_in_the_pose():
    # LPS against RAS turns by half a turn about z: a proper rotation that points alone cannot refuse.
    found = registered(FIDUCIALS_MM * [-1, -1, 1])
    np.testing.assert_allclose(found.transform.rotation, np.diag([-1, -1, 1]) @ X_PT.rotation, atol=1e-9)


def test_closed_forms_refuse_what_has_none():
    with pytest.raises(GeometryError, match="on one line"):
        expected_tre_mm(LINE, TARGET_MM, 1.0)
    for count in (0, 2):
        with pytest.raises(GeometryError, match=f"at least 3 points, not {count}"):
            fle_from_fre_mm(1.0, count)


def test_impossible_options_are_refused():
    with pytest.raises(GeometryError, match="different names"):
        registered(names=["a", "b", "c", "a", "d", "e"])
    with pytest.raises(OptionError, match="0 to 10 points"):
        PointOptions(most_taken_out=-1)
    with pytest.raises(OptionError, match="weights must be 6"):
        registered(weights=[1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    with pytest.raises(OptionError, match="go without weights"):
        registered(weights=np.ones(6), fixed_covariance_mm2=np.eye(3))
    with pytest.raises(OptionError, match="localisation error"):
        PointOptions(fle_mm=-1.0)
    with pytest.raises(GeometryError, match="negative variance"):
        registered(fixed_covariance_mm2=np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(OptionError, match="above 0 mm in every direction"):
        registered(fixed_covariance_mm2=np.diag([1.0, 1.0, 0.0]))
    with pytest.raises(OptionError, match="subsets"):
        many = np.random.default_rng(3).uniform(-200, 200, (60, 3))
        registered(many, seen(many, X_PT), options=PointOptions(most_taken_out=4))
