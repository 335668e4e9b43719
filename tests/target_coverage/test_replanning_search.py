"""The smallest change that restores what a plan promised: sought continuously, in time, beside alternatives."""

import dataclasses
import time

import numpy as np
import pytest
from made_cases import tube
from test_replanning import APPLICATOR, BEHIND, MODEL, OPTIONS, Patient

from needleplan.case.model import Role
from needleplan.coverage.needle_pairs import pair_conflicts
from needleplan.coverage.options import ThermalMargins
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import protect
from needleplan.coverage.refinement_checks import PathChecks
from needleplan.coverage.replanning import ReplanningStatus
from needleplan.coverage.treatment_state import MeasuredNeedle
from needleplan.errors import GeometryError, OptionError
from needleplan.trajectory.constraints.clearance import Clearance

#: Puncture 1 went so wide that the plan leaves its half of the target.
WIDE = {"x": -9.0, "y": 14.0}


def far_patient(**more):
    """Screened paths lie where none of them covers what a miss leaves, but their entries lead to where one does."""
    patient = Patient(**more)
    patient.table = patient.paths([(-24.0, 14.0, 0.0), (-24.0, -14.0, 0.0), (0.0, 16.0, 0.0), (0.0, -16.0, 0.0)])
    return patient


@pytest.fixture(scope="module")
def patient():
    return far_patient()


@pytest.mark.long
def test_one_new_path_is_found_where_no_screened_one_does(patient):
    needle = patient.measured(1, **WIDE)
    screened = patient.replan(needle, refine=False)
    assert not screened.complete or len(screened.added) > 1
    found = patient.replan(needle, refine=True)
    assert found.complete and found.restored and found.status is ReplanningStatus.FEWEST
    assert len(found.added) == 1 and found.added[0].order == 3 and found.least_added == 1
    assert found.along_planned == (patient.plan[1],)
    assert found.share_before < 0.95 < found.share_after == 1.0


@pytest.mark.long
def test_a_patient_moved_rigidly_gets_the_same_search(patient):
    other = far_patient(seed=9)
    mine, theirs = (p.replan(p.measured(1, **WIDE), refine=True) for p in (patient, other))
    assert [one.order for one in mine.remaining] == [one.order for one in theirs.remaining]
    carry = other.motion @ np.linalg.inv(patient.motion)
    (one,), (same,) = mine.added, theirs.added
    np.testing.assert_allclose(carry[:3, :3] @ one.tip_mm + carry[:3, 3], same.tip_mm, atol=0.5)


def test_a_planned_path_is_moved_before_a_new_one_is_taken(patient):
    # The first needle stands 2 mm off the end, so that its zone and the second's part in the middle.
    needle = patient.measured(1, x=-3.5)
    narrow = dataclasses.replace(OPTIONS, setting_count=3)
    plain = patient.replan(needle, refine=False, options=narrow)
    found = patient.replan(needle, refine=True, options=narrow)
    assert found.complete and len(found.added) <= len(plain.added)
    assert found.punctures <= max(1, plain.punctures)


def test_what_is_found_keeps_every_limit():
    vessel = ("vein", Role.VESSEL, tube((-9, -60, 20), (-9, 60, 20), 3.0))
    patient = far_patient(others=[vessel])
    constraint = Clearance(patient.queries.anatomy.surface("vein"), 2.0)
    pairs = PairLimits(needle_distance_mm=4.0, entry_spacing_mm=12.0, handle_radius_mm=None)
    protection = protect(patient.queries, ThermalMargins(skin_mm=5.0))
    needle = patient.measured(1, **WIDE)
    found = patient.replan(needle, constraints=[constraint], pairs=pairs, protection=protection, refine=True)
    assert found.complete and len(found.added) == 1
    judged = PathChecks(patient.queries, [constraint], MODEL).judge(list(found.added), on_skin=False)
    assert judged.feasible.all()
    # The line straight down, without the vein in its way, would be refused.
    through = PathChecks(patient.queries, [constraint], MODEL).judge([patient.needle((-9, 0, 0), 300.0)])
    assert not through.feasible.any()
    entries = [needle.entry_mm, *(one.entry_mm for one in (*found.along_planned, *found.added))]
    tips = [needle.tip_mm, *(one.tip_mm for one in (*found.along_planned, *found.added))]
    conflicts = pair_conflicts(entries, tips, APPLICATOR.radius_mm, pairs, usable_length_mm=250.0)
    assert not len(conflicts)
    assert protection.slack_mm(MODEL.zone(found.remaining))[0] >= -1e-6


@pytest.mark.parametrize("limit_s", [0.05, 0.5])
def test_the_time_limit_is_kept_and_said(patient, limit_s):
    needles = [patient.measured(1, x=-25.0, y=25.0), patient.measured(2, x=25.0, y=-25.0)]
    options = dataclasses.replace(OPTIONS, time_limit_s=limit_s)
    patient.replan(*needles, options=options, refine=True)
    start = time.process_time()
    found = patient.replan(*needles, options=options, refine=True, assessed=False)
    # Each step that was begun ends: one exact search of a fifth of a second, and one generation of paths.
    assert time.process_time() - start < limit_s + 1.0
    if not found.restored:
        assert found.status in (ReplanningStatus.OUT_OF_TIME, ReplanningStatus.PARTIAL)
        assert any("Nothing that was tried" in words for words in found.sentences)


def test_what_the_plan_bears_within_the_tolerance_is_kept_and_more_is_offered(patient):
    needle = patient.measured(1, z=6.0)
    strict = patient.replan(needle)
    left = 1.0 - strict.share_before
    assert 0.0 < left < 0.02 and strict.complete and not strict.unchanged
    kept = patient.replan(needle, tolerance=2.0 * left)
    assert kept.unchanged and kept.restored and not kept.complete and kept.status is ReplanningStatus.KEPT
    assert any("no puncture is made for it" in words for words in kept.sentences)
    # What would make it whole is offered beside it.
    assert any(one.complete and not one.added for one in kept.alternatives)
    assert not patient.replan(needle, tolerance=0.3 * left).unchanged
    for tolerance in (-0.1, 1.0, np.nan):
        with pytest.raises(OptionError, match="tolerance must be a share"):
            patient.replan(needle, tolerance=tolerance)


def test_people_may_choose_between_leaving_the_plan_and_the_proposal(patient):
    found = patient.replan(patient.measured(1, **WIDE), refine=True)
    first, *rest = found.alternatives
    assert first.unchanged and not first.proposed and first.added == 0
    assert first.share == found.share_before
    (proposal,) = [one for one in rest if one.proposed]
    assert proposal.insertions == found.remaining and proposal.added == 1 and proposal.complete
    said = " ".join(found.sentences)
    assert f"Leaving the plan as it is destroys {np.floor(1000 * first.share) / 10:.1f} %" in said
    assert "The proposal, with one puncture more, destroys 100 % of target and margin" in said
    # Nobody is offered what is worse in both: more punctures and less destroyed.
    for one in rest:
        assert not any(o.added < one.added and o.share >= one.share and o.complete for o in rest)
    kept = patient.replan(patient.measured(1, 0.2))
    assert [one.proposed for one in kept.alternatives] == [True] and kept.alternatives[0].unchanged


def test_no_puncture_is_added_for_next_to_nothing(patient):
    # Only the deepest stop of a table with short zones is offered: nothing restores the plan.
    needle = patient.measured(1, z=6.0)
    barred = Clearance(patient.queries.anatomy.entry, 0.0)
    few = dataclasses.replace(OPTIONS, setting_count=1, maximum_insertions=2)
    found = patient.replan(needle, options=few, constraints=[barred], refine=True)
    assert len(found.added) <= 1 and found.share_after >= found.share_before - 1e-9


def test_a_needle_that_has_hardly_entered_is_told_in_a_sentence(patient):
    first = patient.plan[0]
    tip = np.array(first.entry_mm) + 2.0 * first.direction
    shallow = MeasuredNeedle(1, np.array(first.entry_mm), tip)
    with pytest.raises(GeometryError, match=r"needle 1 stands only 2\.0 mm deep: .* push it on, or take it out"):
        patient.replan(shallow)
    # As deep as its zone reaches back, and a little more, it may stay.
    deeper = MeasuredNeedle(1, np.array(first.entry_mm), tip + BEHIND * first.direction)
    assert patient.replan(deeper).status is not ReplanningStatus.KEPT
