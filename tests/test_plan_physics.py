"""Plans held against physics, from the chain."""

import pytest
from made_cases import ball, made_case, queries_of
from made_matrices import ball_model

import needleplan.plan_physics
from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.case.model import Role, Structure
from needleplan.coverage.options import CoverageOptions
from needleplan.errors import DeviceError, OptionError
from needleplan.plan_physics import PhysicsPlanning
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits
from needleplan.trajectory.search import SearchOptions

SIZES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)


class Smaller(ZoneModel):
    """A stand-in for a solver: every ball of the table is smaller by so many mm."""

    def __init__(self, less_mm):
        self.less_mm = less_mm

    @property
    def name(self):
        return "stand-in"

    @property
    def notes(self):
        return ()

    def predict(self, insertions, tissue=None):
        share = 1.0 - self.less_mm / 25.0
        return ZonePrediction(ball_model(25.0 * share, sizes=SIZES).zone(insertions), "made for a test")


def planned(organ="liver", rounds=2, maximum=4):
    case = made_case(
        ball((0, 0, 0), 12.0, 4), ball((0, 0, 0), 95.0, 4), Structure(organ, Role.ORGAN, ball((0, 0, 0), 45.0, 3))
    )
    options = PlanningOptions(
        applicator="ball",
        sampling=SamplingOptions(40.0, 6),
        search=SearchOptions(1, 0, 2000, 10),
        limits=PathLimits(skin_angle_deg=80.0, table_angle_deg=180.0),
        coverage=CoverageOptions(
            margin_mm=3.0, point_count=1500, paths_per_aim=3, time_limit_s=10.0, maximum_insertions=maximum
        ),
        physics=PhysicsPlanning("HCC", spacing_mm=2.0, rounds=rounds),
    )
    return make_plan(queries_of(case), options, zone_model=ball_model(25.0, sizes=SIZES)).plan


@pytest.fixture
def stand_in(monkeypatch):
    def use(less_mm):
        model = Smaller(less_mm)
        monkeypatch.setattr(needleplan.plan_physics, "physics_model", lambda *_, **__: model)
        monkeypatch.setattr(needleplan.plan_physics, "_freezes", lambda *_: None)

    return use


def test_a_plan_that_physics_calls_covered_stays_as_it_is(stand_in):
    stand_in(0.0)
    plan = planned()
    assert plan.physics.covered and plan.physics.rounds == 1
    assert plan.physics.metrics.minimal_margin_mm == pytest.approx(plan.metrics.minimal_margin_mm, abs=0.05)
    assert not [item for item in plan.evidence if item.subject == "physics"]
    assert [level.level for level in plan.proof.levels][:2] == ["insertions", "ablations"]


def test_what_falls_short_is_chosen_again_until_it_is_covered(stand_in):
    stand_in(3.0)
    once = planned(rounds=1)
    assert not once.physics.covered
    (told,) = [item for item in once.evidence if item.subject == "physics"]
    assert "stand-in" in told.finding and told.remedy
    again = planned(rounds=3)
    assert again.physics.covered and again.physics.rounds > 1
    assert again.metrics.zone_ml > once.metrics.zone_ml
    assert again.physics.metrics.minimal_margin_mm >= 3.0 - again.physics.metrics.margin_error_bound_mm
    # Goals that were settled for the plan before are not told of this one.
    assert [level.level for level in again.proof.levels] == ["insertions"]


def test_a_solver_that_does_not_know_the_tissue_says_so_and_the_plan_stands():
    plan = planned(organ="gland")
    assert plan.physics is None and plan.insertions
    (told,) = [item for item in plan.evidence if item.subject == "physics"]
    assert "No solver could check" in told.finding


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"tumour": "cheese"}, DeviceError),
        ({"rounds": 0}, OptionError),
        ({"spacing_mm": 0.01}, OptionError),
        ({"perfusion_factor": -1.0}, OptionError),
    ],
)
def test_impossible_options_are_refused(options, kind):
    with pytest.raises(kind):
        PhysicsPlanning(**options)


def test_pulses_are_sent_to_arrays():
    case = made_case(ball((0, 0, 0), 12.0, 3), ball((0, 0, 0), 95.0, 3))
    with pytest.raises(OptionError, match="arrays of electrodes"):
        make_plan(queries_of(case), PlanningOptions(applicator="generic-ire-19g-15"))


def test_the_same_case_gives_the_same_verdict(stand_in):
    stand_in(3.0)
    first, second = planned(rounds=2), planned(rounds=2)
    assert (first.physics, first.evidence, first.insertions) == (second.physics, second.evidence, second.insertions)
