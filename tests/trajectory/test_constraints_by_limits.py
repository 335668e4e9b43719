"""Which constraints a set of limits asks for, hard or soft, and which limits contradict each other."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, box, joined
from made_straight_paths import APPLICATOR, body, paths

from needleplan.case.model import Role, Structure
from needleplan.errors import OptionError
from needleplan.planning import PlanningOptions
from needleplan.trajectory.constraints.placed_needle import PlacedNeedle
from needleplan.trajectory.constraints.softened import Softened
from needleplan.trajectory.limit_ranges import LIMIT_RANGES, LIMITS_OF_OTHERS, SOFT_LIMITS
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import PathLimits, default_constraints, screen

LIVER = Structure("liver", Role.ORGAN, ball((3, 2, 1), 45, 4))
EVERYTHING = {
    "direct_puncture_mm": 5.0, "capsule_angle_deg": 60.0, "host_entries": 1, "out_of_plane_deg": 30.0,
    "approach_side": "left", "bore_radius_mm": 350.0, "guide_radius_mm": 8.0, "entry_spacing_mm": 5.0,
    "needle_distance_mm": 3.0, "organ_path_mm": 4.0,
}  # fmt: skip
PLACED = (PlacedNeedle((-60, -52, 0), (-4, 0, 0), 0.9),)


def names(queries, limits=None, **options):
    return [constraint.name for constraint in default_constraints(queries, limits, **options)]


def test_what_is_not_asked_for_is_not_there_and_what_is_asked_for_is():
    queries = body(LIVER)
    plain = names(queries)
    assert plain == ["usable length", "skin angle", "table side", "skin crossed once"]
    for name, value in EVERYTHING.items():
        more = names(queries, PathLimits(**{name: value}), placed=PLACED)
        assert len(more) == len(plain) + 1, name
    everything = names(queries, PathLimits(**EVERYTHING), placed=PLACED)
    assert len(everything) == len(set(everything)) == len(plain) + len(EVERYTHING)
    # Distances to needles are no demand where no needle is placed.
    assert len(names(queries, PathLimits(**EVERYTHING))) == len(everything) - 2


def test_every_limit_that_can_be_soft_softens_its_own_constraint_alone():
    roles = (Role.VESSEL, Role.AIRWAY, Role.BONE, Role.LUNG, Role.BOWEL, Role.CRITICAL)
    others = [Structure(role.value, role, ball((0, 60, 8 * k - 20), 3, 1)) for k, role in enumerate(roles)]
    queries = body(LIVER, *others)
    hard = default_constraints(queries, PathLimits(**EVERYTHING), placed=PLACED)
    assert not any(isinstance(constraint, Softened) for constraint in hard)
    softened = set()
    for limit in SOFT_LIMITS:
        made = default_constraints(queries, PathLimits(**EVERYTHING, soft=limit), placed=PLACED)
        assert [c.name for c in made] == [c.name for c in hard]
        soft = [c.name for c in made if isinstance(c, Softened)]
        assert len(soft) == 1, limit
        softened.add(soft[0])
    assert len(softened) == len(SOFT_LIMITS)
    both = PathLimits(soft=" skin_angle_deg,table_angle_deg , ")
    assert both.soft_names == ("skin_angle_deg", "table_angle_deg")


def test_misspelt_names_and_impossible_values_are_told_with_the_right_ones():
    with pytest.raises(OptionError, match=r"'skin_angel_deg' is no limit .* skin_angle_deg"):
        PathLimits(soft="skin_angel_deg")
    with pytest.raises(OptionError, match="'no_go_mm' is no limit that can be soft"):
        PathLimits(soft="no_go_mm")
    with pytest.raises(OptionError, match="one of left, right"):
        PathLimits(approach_side="port")
    for name, (least, most) in LIMIT_RANGES.items():
        for value in (least - 0.5, most + 0.5, float("nan"), float("inf")):
            with pytest.raises(OptionError, match="must be between"):
                PathLimits(**{name: value})


@pytest.mark.parametrize("value", [None, True, False, np.True_, "3", [3.0], 3 + 0j])
def test_a_limit_that_is_no_number_is_told_by_its_name(value):
    for item in dataclasses.fields(PathLimits):
        if item.name not in LIMIT_RANGES or (value is None and item.default is None):
            continue
        with pytest.raises(OptionError, match=f"the limit {item.name} must be a number"):
            PathLimits(**{item.name: value})


def test_texts_and_whole_numbers_of_the_limits():
    with pytest.raises(OptionError, match="soft must be a text"):
        PathLimits(soft=("vessel_mm",))
    with pytest.raises(OptionError, match="host_entries must be a whole number"):
        PathLimits(host_entries=1.5)
    assert PathLimits(host_entries=np.int64(2), vessel_mm=np.float32(1.5), bone_mm=3).host_entries == 2


def test_a_limit_that_would_do_nothing_is_refused_and_a_default_is_not():
    values = {
        "subcapsular_mm": 4.0, "approach_angle_deg": 5.0, "bore_axis_above_table_mm": 150.0,
        "guide_length_mm": 100.0, "guide_standoff_mm": 40.0,
    }  # fmt: skip
    assert set(values) == set(LIMITS_OF_OTHERS)
    for name, value in values.items():
        other = LIMITS_OF_OTHERS[name]
        with pytest.raises(OptionError, match=f"{name} says nothing without {other}"):
            PathLimits(**{name: value})
        PathLimits(**{name: value, other: EVERYTHING[other]})
        default = getattr(PathLimits(), name)
        assert PathLimits(**{name: default}) == PathLimits()


def test_only_what_is_asked_for_can_be_soft():
    optional = set(SOFT_LIMITS) & {*EVERYTHING, "approach_angle_deg"} - {"organ_path_mm"}
    for name in SOFT_LIMITS:
        if name in optional:
            with pytest.raises(OptionError, match=f"{name} cannot be soft as it is not asked for"):
                PathLimits(soft=f"bone_mm,{name}")
        else:
            assert PathLimits(soft=name).soft_names == (name,)


def test_every_number_of_the_limits_has_a_range_and_every_soft_one_is_a_limit():
    fields = {item.name for item in dataclasses.fields(PathLimits)}
    assert set(LIMIT_RANGES) | {"approach_side", "soft"} == fields
    assert set(SOFT_LIMITS) < set(LIMIT_RANGES)


def test_limits_are_kept_in_the_provenance_as_plain_values():
    flat = PlanningOptions(limits=PathLimits(**EVERYTHING, soft="bone_mm, lung_mm")).flat()
    assert flat["limits.soft"] == "bone_mm, lung_mm" and flat["limits.host_entries"] == 1
    assert all(value is None or isinstance(value, float | int | str | bool) for value in flat.values())


def test_a_demand_on_the_host_needs_a_host():
    for name in ("direct_puncture_mm", "capsule_angle_deg", "host_entries", "organ_path_mm"):
        with pytest.raises(OptionError, match=r"no organ.* of case made holds it"):
            default_constraints(body(), PathLimits(**{name: EVERYTHING[name]}))


def test_cones_that_do_not_meet_contradict_each_other_and_cones_that_touch_do_not():
    queries = body()
    # The patient lies on the back, so the back is opposite to up and the left a quarter away.
    narrow = {"approach_angle_deg": 30.0, "table_angle_deg": 40.0}
    with pytest.raises(OptionError, match=r"no shaft is both .* 180 degrees apart"):
        default_constraints(queries, PathLimits(approach_side="back", **narrow))
    with pytest.raises(OptionError, match="90 degrees apart"):
        default_constraints(queries, PathLimits(approach_side="left", **narrow))
    default_constraints(queries, PathLimits(approach_side="front", **narrow))
    default_constraints(queries, PathLimits(approach_side="left", **narrow, soft="table_angle_deg"))
    touching = PathLimits(approach_side="left", approach_angle_deg=30.0, table_angle_deg=60.0)
    made = default_constraints(queries, touching)
    slope = np.radians(60.0)
    outward = np.array([np.sin(slope), -np.cos(slope), 0.0])
    table = screen(paths(80 * outward, 0 * outward), queries, made)
    angles = [table.constraint(name).values[0] for name in ("table side", "approach side")]
    np.testing.assert_allclose(angles, [60, 30], atol=1e-6)


def bone_case():
    """A tumour in a block of bone behind a rib, both under one name, and a window beside the rib."""
    bones = joined(box((-40, -52, -6), (40, -47, 6)), box((-25, -18, -25), (25, 18, 25)))
    return body(Structure("bones", Role.BONE, bones), target=ball((0, 0, 0), 8, 3))


def test_the_bone_that_holds_the_target_can_be_entered_once_and_not_through_another_part():
    queries = bone_case()
    table = sample_trajectories(queries, APPLICATOR, SamplingOptions(14.0, 6))
    shut = screen(table, queries, default_constraints(queries))
    assert not shut.feasible.any()
    opened = screen(table, queries, default_constraints(queries, PathLimits(host_entries=1)))
    assert opened.feasible.any()
    assert "clearance to bones" not in [column.name for column in opened.constraints]
    # No feasible path passes the rib: at its height every axis lies beside it.
    chosen = np.flatnonzero(opened.feasible & (opened.entry_mm[:, 1] < -52))
    for height in (-52.0, -47.0):
        share = (height - table.entry_mm[chosen, 1]) / (table.tip_mm - table.entry_mm)[chosen, 1]
        at = table.entry_mm[chosen] + share[:, None] * (table.tip_mm - table.entry_mm)[chosen]
        assert ((np.abs(at[:, 0]) > 40) | (np.abs(at[:, 2]) > 6)).all()
    assert len(chosen)


def test_a_bone_that_the_target_only_touches_stays_shut():
    rib = Structure("rib", Role.BONE, box((-40, -16, -6), (40, -7, 6)))
    queries = body(LIVER, rib)
    assert "clearance to rib" in names(queries, PathLimits(host_entries=1))
    assert "passages into liver" in names(queries, PathLimits(host_entries=1))


def test_a_lung_that_holds_the_target_may_be_entered_and_the_other_not():
    one = Structure("left lung", Role.LUNG, ball((0, 0, 0), 30, 3))
    other = Structure("right lung", Role.LUNG, ball((-55, 0, 0), 20, 3))
    queries = body(one, other)
    made = names(queries, PathLimits(host_entries=1))
    assert "passages into left lung" in made and "clearance to left lung" not in made
    assert "clearance to right lung" in made
    assert "clearance to left lung" in names(queries)
