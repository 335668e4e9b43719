"""Plans made again while they are carried out, and what makes up for a treatment that left something."""

import dataclasses

import numpy as np
import pytest
from made_cases import ball, made_case, motion, queries_of, tube

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.measured_zone import MeasuredZone
from needleplan.case.model import Role, Structure
from needleplan.coverage.advance import advanced
from needleplan.coverage.cover import cover_target
from needleplan.coverage.options import CoverageOptions, ThermalMargins
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import protect
from needleplan.coverage.region import target_region
from needleplan.coverage.replanning import replan
from needleplan.coverage.touch_up import touch_up
from needleplan.coverage.treatment_state import MeasuredNeedle, NeedleDeviation, TreatmentState
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow
from needleplan.errors import GeometryError, OptionError
from needleplan.plan import Ablation, Insertion, vector3
from needleplan.trajectory.constraints.clearance import Clearance
from needleplan.trajectory.table import TrajectoryTable

BEHIND, SKIN = 7.0, 80.0
#: Zones grow in both axes with time: 24 x 22, 34 x 31 and 42 x 38 mm.
APPLICATOR = Applicator("probe", "MWA", "made", 1.5, 250.0, 20.0, BEHIND, False, "made")
MODEL = EllipsoidTableModel(
    DeviceCatalogue(
        (APPLICATOR,),
        tuple(
            ZoneRow("probe", "in_vivo", 60.0, time_s, length, width, "made", "made", "COMPUTED", "high", "liver")
            for time_s, length, width in ((60.0, 24.0, 22.0), (300.0, 34.0, 31.0), (600.0, 42.0, 38.0))
        ),
    )
)
OPTIONS = CoverageOptions(
    margin_mm=2.0, point_count=1_500, setting_count=3, paths_per_aim=4, path_separation_deg=0.0, time_limit_s=10.0
)


class Patient:
    """A long target, 36 x 18 x 18 mm, in a round body; paths come from above, side by side along it.

    Everything is placed by a rigid motion that is oblique to all axes.
    """

    def __init__(self, seed=6, others=()):
        self.motion = motion(seed)
        parts = [Structure(name, role, mesh) for name, role, mesh in others]
        case = made_case(ball((0, 0, 0), 1.0, 4, (18, 9, 9)), ball((0, 0, 0), SKIN, 5), *parts)
        self.queries = queries_of(case.moved(self.motion))
        self.table = self.paths([(x, 0.0, 0.0) for x in (-18, -14, -9, -4, 0, 4, 9, 14, 18)])
        self.plan = (
            dataclasses.replace(self.needle((-9, 0, 0), 300.0), order=1),
            dataclasses.replace(self.needle((9, 0, 0), 300.0), order=2),
        )

    def at(self, *local):
        return self.motion[:3, :3] @ np.array(local, float) + self.motion[:3, 3]

    def needle(self, middle, *times_s, back_mm=0.0):
        """Straight down onto the middle of a zone, each further ablation farther back."""
        x, y, z = middle
        tip = self.at(x, y, z - BEHIND)
        ablations = tuple(
            Ablation(vector3(self.at(x, y, z - BEHIND + back_mm * k)), 60.0, time_s)
            for k, time_s in enumerate(times_s)
        )
        return Insertion(vector3(self.at(x, y, np.sqrt(SKIN**2 - x * x - y * y))), vector3(tip), "probe", ablations)

    def paths(self, middles):
        needles = [self.needle(middle, 300.0) for middle in middles]
        entry = np.array([one.entry_mm for one in needles])
        tip = np.array([one.tip_mm for one in needles])
        up = np.tile(self.motion[:3, 2], (len(needles), 1))
        cost = 0.1 + 0.01 * np.arange(len(needles))
        return TrajectoryTable(APPLICATOR, entry, up, tip + BEHIND * up, tip, cost=cost)

    def measured(self, order, x=0.0, y=0.0, z=0.0):
        """A needle of the plan that lies off by so much, entry and tip alike; the entry on the skin."""
        local = (np.array(self.plan[order - 1].tip_mm) - self.motion[:3, 3]) @ self.motion[:3, :3] + (x, y, z)
        entry = self.at(local[0], local[1], np.sqrt(SKIN**2 - local[0] ** 2 - local[1] ** 2))
        return MeasuredNeedle(order, entry, self.at(*local))

    def replan(self, *measured, constraints=(), options=OPTIONS, refine=False, **more):
        return replan(
            self.plan, measured, self.queries, self.table, constraints, MODEL, options, refine=refine, **more
        )

    def done(self, needle):
        """What a measured needle delivers of its plan."""
        return TreatmentState(self.plan, (needle,), ()).as_planned[0]


@pytest.fixture(scope="module")
def patient():
    return Patient()


def test_the_plan_of_these_tests_is_complete_and_no_single_needle_does(patient):
    found = cover_target(patient.table, patient.queries, MODEL, OPTIONS)
    assert found.complete and len(found.insertions) == 2


def test_needles_where_they_were_planned_leave_the_plan_as_it_is(patient):
    first, second = patient.plan
    found = patient.replan(MeasuredNeedle.of(first))
    assert found.unchanged and found.complete and found.remaining == patient.plan
    assert found.punctures == 1 and found.extra_punctures == 0 and not found.added
    found = patient.replan(MeasuredNeedle.of(first), delivered=[first])
    assert found.unchanged and found.complete and found.remaining == (second,)
    # Drawn out after it delivered.
    out = TreatmentState(patient.plan, (), (first,))
    assert not out.deviates and out.untouched == (second,)
    found = patient.replan(*map(MeasuredNeedle.of, patient.plan), delivered=patient.plan)
    assert found.complete and found.remaining == () and found.punctures == 0
    assert "Nothing is left to do." in found.sentences


def test_a_plan_that_was_partial_is_kept_as_it_was_where_nothing_deviates(patient):
    half = patient.plan[:1]
    found = replan(half, [MeasuredNeedle.of(half[0])], patient.queries, patient.table, [], MODEL, OPTIONS)
    assert found.unchanged and not found.complete and found.remaining == half


def test_a_miss_that_the_plan_bears_keeps_it_and_its_ablations_follow_the_needle(patient):
    needle = patient.measured(1, 0.4, -0.3, 0.5)
    found = patient.replan(needle)
    assert found.unchanged and found.complete
    (moved,) = found.along_placed
    np.testing.assert_allclose(moved.ablations[0].tip_mm, needle.tip_mm, atol=1e-9)
    assert found.along_planned == (patient.plan[1],)


def test_a_needle_that_is_too_deep_is_drawn_back(patient):
    found = patient.replan(patient.measured(1, z=-6.0))
    assert found.complete and not found.unchanged and found.punctures == 1 and not found.added
    (insertion,) = found.along_placed
    (ablation,) = insertion.ablations
    back = np.linalg.norm(np.subtract(ablation.tip_mm, patient.measured(1, z=-6.0).tip_mm))
    assert 1.0 <= back <= 12.0 and ablation.duration_s <= 600.0
    assert "6.0 mm too deep" in found.sentences[0] and "is drawn back" in found.sentences[0]
    assert found.share_before < 1.0 == found.metrics.margin_coverage_fraction


def test_a_needle_that_is_short_is_given_longer_or_pushed_on_where_that_may_be(patient):
    needle = patient.measured(1, z=5.0)
    found = patient.replan(needle)
    assert found.complete and found.punctures == 1 and not found.added
    (insertion,) = found.along_placed
    assert insertion.ablations[0].duration_s == 600.0
    assert "lengthened from 300 to 600 s" in found.sentences[0]
    # Nothing goes deeper than the needle stands.
    depth = np.array([one.tip_mm for one in insertion.ablations]) @ -patient.motion[:3, 2]
    assert depth.max() <= needle.tip_mm @ -patient.motion[:3, 2] + 1e-9
    pushed = patient.replan(needle, advance_mm=5.0)
    assert pushed.complete and pushed.punctures == 1
    (ablation,) = pushed.along_placed[0].ablations
    assert ablation.duration_s == 300.0
    assert 1.0 <= (np.subtract(needle.tip_mm, ablation.tip_mm) @ patient.motion[:3, 2]) <= 5.0 + 1e-9
    assert "mm deeper" in pushed.sentences[0]


@pytest.mark.parametrize("delivers", [False, True])
def test_a_wide_miss_takes_one_more_puncture_and_what_it_delivered_counts(patient, delivers):
    needle = patient.measured(1, x=-9.0, y=14.0)
    delivered = [patient.done(needle)] if delivers else []
    found = patient.replan(needle, delivered=delivered)
    assert found.complete and found.punctures == 2 and found.extra_punctures == 1
    assert any("is new" in words for words in found.sentences)
    assert "2 punctures are left to make, 1 more than planned." in found.sentences
    zone = MODEL.zone((*delivered, *found.remaining))
    region = target_region(patient.queries, 2.0, 4_000)
    assert (zone.signed_distance_mm(region.points_mm) >= 0).all()


def test_what_was_delivered_elsewhere_spares_the_puncture_that_was_planned_there(patient):
    # The first needle went where the second was to go, delivered, and was drawn out.
    delivered = dataclasses.replace(patient.needle((9, 0, 0), 300.0), order=1)
    found = patient.replan(delivered=[delivered])
    assert found.complete and found.punctures == len(found.added) == 1 and found.extra_punctures == 0
    assert "Needle 2 is not needed any more." in found.sentences
    (insertion,) = found.added
    local = (np.array(insertion.tip_mm) - patient.motion[:3, 3]) @ patient.motion[:3, :3]
    assert local[0] < -3.0 and insertion.order == 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("miss", "delivers"),
    [((0, 0, -4), False), ((3, 0, 0), True), ((-4, 2, 1), False), ((0, 6, 0), True), ((7, -3, 2), True)],
)
def test_never_more_punctures_than_planning_from_scratch_over_what_is_left(patient, miss, delivers):
    needle = patient.measured(2, *miss)
    delivered = [patient.done(needle)] if delivers else []
    found = patient.replan(needle, delivered=delivered)
    region = target_region(patient.queries, OPTIONS.margin_mm, OPTIONS.point_count)
    left = region.without(MODEL.zone(delivered)) if delivered else region
    scratch = cover_target(patient.table, patient.queries, MODEL, OPTIONS, region=left, with_bound=False)
    assert scratch.complete and found.complete
    assert found.punctures <= len(scratch.insertions)
    assert found.proven or found.unchanged


def test_nothing_is_left_where_what_was_delivered_covers_all(patient):
    first, second = patient.plan
    larger = [
        dataclasses.replace(one, ablations=(dataclasses.replace(one.ablations[0], duration_s=600.0),))
        for one in (first, second)
    ]
    third = dataclasses.replace(patient.needle((0, 0, 0), 60.0), order=3)
    found = replan((first, second, third), [], patient.queries, patient.table, [], MODEL, OPTIONS, delivered=larger)
    assert found.remaining == () and found.complete and found.extra_punctures == -1
    assert "No puncture is left to make, 1 fewer than planned." in found.sentences
    assert "Needle 3 is not needed any more." in found.sentences


def test_part_of_what_a_needle_was_to_deliver_stays_due(patient):
    both = dataclasses.replace(patient.needle((-9, 0, -3), 300.0, 300.0, back_mm=8.0), order=1)
    plan = (both, patient.plan[1])
    half = dataclasses.replace(both, ablations=both.ablations[:1])
    found = replan(
        plan, [MeasuredNeedle.of(both)], patient.queries, patient.table, [], MODEL, OPTIONS, delivered=[half]
    )
    assert found.unchanged
    assert found.remaining[0] == dataclasses.replace(both, ablations=both.ablations[1:])
    assert found.remaining[1] == plan[1]
    # Drawn out after half of it, the needle is not there any more for the rest.
    out = TreatmentState(plan, (), (half,))
    assert out.deviates and out.as_planned == (plan[1],)


def test_a_moved_patient_gets_the_moved_replanning(patient):
    other = Patient(seed=9)
    mine, theirs = (p.replan(p.measured(1, x=-9.0, y=14.0)) for p in (patient, other))
    assert mine.punctures == theirs.punctures == 2 and mine.complete and theirs.complete
    carry = other.motion @ np.linalg.inv(patient.motion)
    for one, same in zip(mine.remaining, theirs.remaining, strict=True):
        assert one.order == same.order and len(one.ablations) == len(same.ablations)
        for a, b in zip(one.ablations, same.ablations, strict=True):
            assert a.duration_s == b.duration_s
            np.testing.assert_allclose(carry[:3, :3] @ a.tip_mm + carry[:3, 3], b.tip_mm, atol=1e-5)


def test_a_planned_path_that_a_needle_blocks_is_left_and_another_is_taken(patient):
    pairs = PairLimits(needle_distance_mm=6.0, entry_spacing_mm=6.0, handle_radius_mm=None)
    # The first needle stands almost where the second is planned.
    needle = patient.measured(1, x=15.0)
    found = patient.replan(needle, pairs=pairs)
    assert found.complete and not found.along_planned and found.added
    for one in found.added:
        local = (np.array(one.entry_mm) - patient.motion[:3, 3]) @ patient.motion[:3, :3]
        assert abs(local[0] - 6.0) >= 7.5


def test_a_plan_that_would_cover_is_not_kept_where_needles_would_stand_too_near(patient):
    needle = patient.measured(1, x=0.7)
    assert patient.replan(needle).unchanged
    found = patient.replan(needle, pairs=PairLimits(entry_spacing_mm=17.6, handle_radius_mm=None))
    assert found.complete and found.punctures == 1 and not found.along_planned
    (insertion,) = found.added
    assert np.linalg.norm(np.subtract(insertion.entry_mm, needle.entry_mm)) >= 17.6


@pytest.mark.long
def test_what_is_protected_is_kept_from_longer_ablations():
    bowel = ("bowel", Role.BOWEL, ball((-9, 0, 27.5), 6.0, 3))
    patient = Patient(others=[bowel])
    protection = protect(patient.queries, ThermalMargins(skin_mm=None))
    # The rest of the plan would cover, but comes nearer than it may.
    needle = patient.measured(1, z=0.4)
    assert patient.replan(needle).unchanged
    assert protection.slack_mm(MODEL.zone(patient.plan))[0] < 0.0
    found = patient.replan(needle, protection=protection)
    assert not found.unchanged
    assert protection.slack_mm(MODEL.zone(found.remaining))[0] >= -1e-9


def test_needles_are_pushed_on_only_as_far_as_the_longer_path_passes():
    # Its wall lies 10 mm below the tip of the first needle.
    vessel = ("vein", Role.VESSEL, tube((-60, 0, -BEHIND - 13), (60, 0, -BEHIND - 13), 3.0))
    patient = Patient(others=[vessel])
    surface = patient.queries.anatomy.surface("vein")
    constraint = Clearance(surface, 2.0)
    (pushed,) = advanced(patient.plan[:1], patient.queries, patient.table, [constraint], None, 30.0)
    # 10 mm less clearance and the needle's own radius, in whole steps.
    assert pushed.depth_mm - patient.plan[0].depth_mm == pytest.approx(7.0, abs=1e-6)
    near = dataclasses.replace(patient.plan[0], tip_mm=vector3(patient.at(-9, 0, -BEHIND - 9.0)))
    (same,) = advanced([near], patient.queries, patient.table, [constraint], None, 30.0)
    assert same == near
    beside = patient.needle((-9, 0.0, -40.0), 300.0)
    slanted = dataclasses.replace(
        beside, entry_mm=vector3(patient.at(-9, -60.0, -14.0)), tip_mm=vector3(patient.at(-9, 60.0, -14.0))
    )
    pairs = PairLimits(handle_radius_mm=None)
    pushed, _ = advanced([patient.plan[0], slanted], patient.queries, patient.table, [], pairs, 30.0)
    assert pushed.depth_mm - patient.plan[0].depth_mm == pytest.approx(3.0, abs=1e-6)


@pytest.mark.long
def test_planned_paths_are_moved_where_that_spares_a_puncture(patient):
    needle = patient.measured(1, x=-3.0)
    few = dataclasses.replace(OPTIONS, setting_count=1, margin_mm=2.0)
    table = patient.paths([(30.0, 0.0, 0.0)])
    stiff, moved = (
        replan(patient.plan, [needle], patient.queries, table, [], MODEL, few, refine=refine)
        for refine in (False, True)
    )
    assert moved.complete >= stiff.complete and moved.punctures <= max(stiff.punctures, 1)


def test_deviations_are_told_along_and_across_the_needle(patient):
    needle = patient.measured(1, 3.0, 4.0, -2.0)
    off = NeedleDeviation.of(patient.plan[0], needle)
    assert off.lateral_mm == pytest.approx(5.0) and off.depth_mm == pytest.approx(2.0)
    assert off.tip_mm == pytest.approx(np.sqrt(29.0))
    tilted = MeasuredNeedle(1, np.array(patient.plan[0].entry_mm), patient.at(-9, 10.0, -BEHIND))
    length = patient.plan[0].depth_mm
    assert NeedleDeviation.of(patient.plan[0], tilted).angle_deg == pytest.approx(
        np.degrees(np.arctan(10 / length))
    )


@pytest.mark.long
def test_the_largest_number_of_insertions_counts_those_made(patient):
    needle = patient.measured(1, x=-9.0, y=14.0)
    options = dataclasses.replace(OPTIONS, maximum_insertions=2)
    found = patient.replan(needle, delivered=[patient.done(needle)], options=options)
    assert not found.complete and found.punctures <= 1
    none = patient.replan(
        delivered=[patient.done(needle)], options=dataclasses.replace(OPTIONS, maximum_insertions=1)
    )
    assert none.punctures <= 1 and not none.complete


def test_bad_measurements_are_refused_in_a_sentence(patient):
    first = patient.plan[0]
    with pytest.raises(OptionError, match=r"needle 7 was measured, .* there are 1, 2"):
        patient.replan(dataclasses.replace(MeasuredNeedle.of(first), order=7))
    with pytest.raises(OptionError, match="measured twice"):
        patient.replan(MeasuredNeedle.of(first), MeasuredNeedle.of(first))
    with pytest.raises(OptionError, match="same order"):
        TreatmentState((first, first), (), ())
    outside = MeasuredNeedle(1, np.array(first.entry_mm), patient.at(0, 0, 95.0))
    with pytest.raises(GeometryError, match=r"tip of measured needle 1 lies 1\d\.\d mm outside the body"):
        patient.replan(outside)
    inner = MeasuredNeedle(1, patient.at(-9, 0, 50.0), np.array(first.tip_mm))
    with pytest.raises(GeometryError, match="off the entry surface"):
        patient.replan(inner)
    with pytest.raises(GeometryError, match="finite"):
        MeasuredNeedle(1, np.array([0, 0, np.nan]), np.zeros(3))
    with pytest.raises(GeometryError, match="apart"):
        MeasuredNeedle(1, np.zeros(3), np.zeros(3))
    with pytest.raises(OptionError, match="pushed on by 0 to 100 mm"):
        patient.replan(MeasuredNeedle.of(first), advance_mm=-1.0)
    other = (dataclasses.replace(first, applicator="other"),)
    with pytest.raises(OptionError, match="needles of one kind"):
        replan(other, [], patient.queries, patient.table, [], MODEL, OPTIONS)


def seen(zone, **errors):
    """The zone of one spheroid as an image after the treatment shows it."""
    (mesh,) = zone.surfaces()
    return MeasuredZone(mesh, **errors)


@pytest.mark.long
def test_a_zone_that_covers_all_leaves_nothing_to_touch_up():
    round_patient = Patient()
    target = ball(round_patient.at(0, 0, 0), 9.0, 4)
    queries = queries_of(made_case(target, ball(round_patient.at(0, 0, 0), SKIN, 5)))
    zone = MODEL.zone([round_patient.needle((0, 0, 0), 300.0)])
    mesh_error = float(np.abs(zone.signed_distance_mm(zone.surfaces()[0].face_centres_mm)).max())
    # What is left between is for the cubes of the proof.
    margin = 15.5 - 9.0 - mesh_error - 0.3
    options = dataclasses.replace(OPTIONS, margin_mm=margin)
    found = touch_up(queries, seen(zone), round_patient.table, MODEL, options)
    assert not found.needed and found.complete and found.insertions == () and len(found.left) == 0
    assert found.short_share == found.bare_share == 0.0 and found.lower_bound == 0
    assert found.achieved.metrics.minimal_margin_mm == pytest.approx(6.5, abs=mesh_error + 0.01)
    assert found.sentences[-1].endswith("nothing is left to do.")
    # Where the image may be 2 mm off, the same zone proves a margin that is 2 mm less.
    doubted = touch_up(queries, seen(zone, registration_error_mm=2.0), round_patient.table, MODEL, options)
    assert doubted.needed and doubted.insertions
    difference = found.achieved.metrics.minimal_margin_mm - doubted.achieved.metrics.minimal_margin_mm
    assert difference == pytest.approx(2.0, abs=1e-6)
    enough = dataclasses.replace(options, margin_mm=margin - 2.0)
    assert not touch_up(queries, seen(zone, registration_error_mm=2.0), round_patient.table, MODEL, enough).needed


@pytest.mark.long
def test_what_half_a_treatment_left_is_made_up_for_by_the_other_half(patient):
    zone = seen(MODEL.zone(patient.plan[:1]))
    found = touch_up(patient.queries, zone, patient.table, MODEL, OPTIONS)
    assert found.needed and found.complete and len(found.insertions) == found.lower_bound == 1
    assert 0.2 < found.bare_share < 0.5 < found.short_share + 0.5
    assert found.achieved.metrics.minimal_margin_mm < -8.0
    assert found.expected.metrics.target_coverage_fraction == 1.0
    assert found.expected.metrics.minimal_margin_mm > 0.0
    assert [one.order for one in found.insertions] == [1]
    # The insertion goes to the other half.
    (insertion,) = found.insertions
    local = (np.array(insertion.tip_mm) - patient.motion[:3, 3]) @ patient.motion[:3, :3]
    assert local[0] > 0.0
    scratch = cover_target(patient.table, patient.queries, MODEL, OPTIONS)
    assert len(found.insertions) < len(scratch.insertions)


def test_nothing_that_reaches_is_said_and_no_feasible_path_is_refused(patient):
    zone = seen(MODEL.zone(patient.plan[:1]))
    far = patient.paths([(-18.0, 0.0, 0.0)])
    found = touch_up(patient.queries, zone, far, MODEL, OPTIONS)
    assert found.needed and not found.complete
    with pytest.raises(OptionError, match="no feasible path"):
        touch_up(patient.queries, zone, patient.table.subset(np.empty(0, dtype=int)), MODEL, OPTIONS)
