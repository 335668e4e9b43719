"""Proofs of coverage of a solid, and structures that zones must keep away from."""

import numpy as np
import pytest
from made_cases import ball, joined, made_case, motion, queries_of, rotation

from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.case.model import Role, Structure
from needleplan.coverage.certificate import certify
from needleplan.coverage.options import CoverageOptions, Level, ThermalMargins
from needleplan.coverage.protection import protect
from needleplan.errors import OptionError


def with_target(mesh, *structures, **options):
    middle = mesh.vertices_mm.mean(axis=0)
    return queries_of(made_case(mesh, ball(middle, 95.0, 4), *structures, **options))


def spheroids(*rows):
    """A union of (middle, axis, axial, radial)."""
    middles, axes, axial, radial = zip(*rows, strict=True)
    return SpheroidUnion(np.array(middles, float), np.array(axes, float), np.array(axial), np.array(radial))


Z = (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("radius", "covered"), [(15.2, True), (14.8, False), (17.0, True), (8.0, False)])
@pytest.mark.parametrize("margin_mm", [0.0, 3.0])
def test_a_ball_about_a_ball(radius, covered, margin_mm):
    queries = with_target(ball((4, -3, 9), 15.0, 5))
    zone = spheroids(((4, -3, 9), rotation(2)[:, 1], radius + margin_mm, radius + margin_mm))
    found = certify(queries, zone, margin_mm)
    assert found.covered is covered
    if not covered:
        assert found.witness_mm is not None and not zone.contains([found.witness_mm])[0]
        gap = queries.distance(queries.anatomy.target).signed_distance_mm([found.witness_mm])[0]
        assert gap <= margin_mm
    assert found.sentence


def test_a_hole_between_zones_is_found_that_no_coarse_point_shows():
    # Two zones that meet in a plane but for a gap of 0.2 mm.
    queries = with_target(ball((0, 0, 0), 12.0, 4))
    halves = spheroids(((0, 0, -60.1), Z, 60.0, 200.0), ((0, 0, 60.1), Z, 60.0, 200.0))
    found = certify(queries, halves, 0.0)
    assert not found.covered and abs(found.witness_mm[2]) < 0.11
    touching = spheroids(((0, 0, -59.9), Z, 61.0, 200.0), ((0, 0, 59.9), Z, 61.0, 200.0))
    assert certify(queries, touching, 0.0).covered


def test_a_cavity_of_the_target_need_not_be_covered():
    shell = joined(ball((0, 0, 0), 20.0, 4), ball((0, 0, 0), 10.0, 4).flipped())
    queries = with_target(shell)
    ring = spheroids(
        *[((14 * np.cos(a), 14 * np.sin(a), z), Z, 14.0, 13.0) for a in np.arange(6) * np.pi / 3 for z in (-9, 9)]
    )
    assert ring.signed_distance_mm([(0, 0, 0)])[0] < 3.0
    everything = spheroids(((0, 0, 0), Z, 21.0, 21.0))
    assert certify(queries, everything, 0.0).covered


def test_a_moved_patient_has_the_moved_certificate():
    mesh = ball((2, 3, 4), 1.0, 4, (9.0, 13.0, 17.0))
    for seed in (1, 7):
        matrix = motion(seed)
        queries = queries_of(made_case(mesh, ball((2, 3, 4), 95.0, 4)).moved(matrix))
        middle = matrix[:3, :3] @ (2, 3, 4) + matrix[:3, 3]
        for radius, covered in ((17.2, True), (16.5, False)):
            zone = spheroids((middle, Z, radius, radius))
            assert certify(queries, zone, 0.0).covered is covered


def protected(gap_mm, margin_mm, role=Role.BOWEL):
    """A ball of 10 mm whose surface lies ``gap_mm`` from the surface of another ball of 15 mm, obliquely."""
    axis = rotation(3)[:, 2]
    other = ball(tuple((10.0 + gap_mm + 15.0) * axis), 15.0, 5)
    queries = with_target(ball((0, 0, 0), 10.0, 4), Structure("neighbour", role, other))
    margins = ThermalMargins(**{f"{role.value}_mm": margin_mm, "skin_mm": None})
    return queries, protect(queries, margins), axis


@pytest.mark.parametrize("margin_mm", [0.0, 4.0])
def test_slack_is_the_distance_beyond_the_margin(margin_mm):
    _, protection, axis = protected(12.0, margin_mm)
    (structure,) = protection.structures
    zone = spheroids(((0, 0, 0), axis, 16.0, 9.0))
    slack, name = protection.slack_mm(zone)
    # The neighbour begins at 22 mm along the axis; the zone ends at 16.
    assert name == "neighbour"
    assert 6.0 - margin_mm - structure.spacing_mm - 0.2 <= slack <= 6.0 - margin_mm
    turned = spheroids(((0, 0, 0), rotation(3)[:, 0], 16.0, 9.0))
    assert protection.slack_mm(turned)[0] > slack + 3.0


def test_sizes_are_allowed_as_far_as_the_slack_says():
    rng = np.random.default_rng(4)
    _, protection, _ = protected(10.0, 3.0)
    middles = rng.uniform(-12, 12, (300, 3))
    axes = rng.normal(size=(300, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    axial, radial = [18.0, 13.0, 8.0, 4.0], [14.0, 11.0, 7.0, 4.0]
    allowed, guilty = protection.largest_allowed(middles, axes, axial, radial)
    assert {0, 1, 2}.issubset(set(allowed.tolist()))
    for k in range(300):
        slack = [
            protection.slack_mm(spheroids((middles[k], axes[k], axial[s], radial[s])))[0] for s in range(len(axial))
        ]
        if allowed[k] < 4:
            assert slack[allowed[k]] >= 0
        if allowed[k] > 0:
            assert slack[allowed[k] - 1] < 0 and guilty[k] == 0
        else:
            assert guilty[k] == -1


def test_a_zone_within_a_structure_is_never_allowed():
    _, protection, axis = protected(10.0, 0.0)
    allowed, _ = protection.largest_allowed(np.array([35.0 * axis]), axis[None], [5.0, 2.0], [5.0, 2.0])
    assert allowed.tolist() == [2]


def test_the_skin_is_kept_from_within():
    queries = queries_of(made_case(ball((0, 0, 80.0), 8.0, 4), ball((0, 0, 0), 95.0, 5)))
    protection = protect(queries, ThermalMargins(skin_mm=2.0))
    (skin,) = protection.structures
    slack = [protection.slack_mm(spheroids(((0, 0, 80.0), Z, r, r)))[0] for r in (10.0, 12.5, 15.5, 30.0)]
    for radius, value in zip((10.0, 12.5, 15.5), slack, strict=False):
        assert 13.0 - radius - skin.spacing_mm - 0.3 <= value <= 13.0 - radius
    allowed, _ = protection.largest_allowed(
        np.array([[0, 0, 80.0]]), np.array([Z]), [30.0, 15.0, 9.0], [30.0, 15.0, 9.0]
    )
    assert allowed.tolist() == [2]


def test_a_lung_that_holds_the_target_is_treated_within():
    lung = Structure("lung", Role.LUNG, ball((0, 0, 0), 60.0, 4))
    queries = with_target(ball((0, 0, 0), 10.0, 4), lung)
    assert not protect(queries, ThermalMargins(lung_mm=5.0, skin_mm=None)).structures


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": "insertions, depth"}, "'depth' is no level"),
        ({"levels": "ablations, insertions"}, "first of the levels must be insertions"),
        ({"levels": ""}, "first of the levels must be insertions"),
        ({"levels": "insertions, time, time"}, "named twice"),
        ({"levels": "insertions, spared, time"}, "spared must be the last"),
        ({"wanted_margin_mm": 4.0}, "wanted margin must be between"),
        ({"needles_at_once": 0}, "at least one needle"),
        ({"least_organ_fraction": 1.0}, "between 0 and 1"),
    ],
)
def test_impossible_goals_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        CoverageOptions(**options)


def test_goals_come_in_their_order():
    assert CoverageOptions(levels="insertions,time , spared").order == (Level.INSERTIONS, Level.TIME, Level.SPARED)


@pytest.mark.parametrize("value", [-1.0, 51.0, float("nan")])
def test_impossible_thermal_margins_are_refused(value):
    with pytest.raises(OptionError, match="thermal margin of bowel"):
        ThermalMargins(bowel_mm=value)
    with pytest.raises(OptionError, match="thermal margin of skin"):
        ThermalMargins(skin_mm=value)
