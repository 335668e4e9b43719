"""Many rehearsals: the same whatever the number of processes, paired, and scored like plans."""

import dataclasses

import pytest
from made_patient import make_plan, route_for

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.assess import assess
from needleplan.errors import NeedleplanError, OptionError
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.irregular import Irregularity, IrregularMotion
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.outcome import RehearsalRun
from needleplan.uncertainty.rehearsal_statistics import paired_difference, strategy_statistics
from robots.catalogue import load_robot
from robots.frames import place_anatomy
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.compensation.free_breathing import FreeBreathing
from sim.many_rehearsals import RehearsalTask, rehearse_many
from sim.needle import PlacementNoise
from sim.options import RehearsalOptions
from sim.rehearse import prepare_patient, run_rehearsal
from sim.tissue_needle import NeedleMechanics

ZONES = EllipsoidTableModel()
MARGIN_MM = 5.0
QUICK = RehearsalOptions(
    strategy=FreeBreathing(), step_s=0.02, sample_s=0.2, contact_s=0.5, faces_per_structure=300,
    noise=PlacementNoise.published(), mechanics=NeedleMechanics.rigid(),
)  # fmt: skip
GATED = dataclasses.replace(QUICK, strategy=AmplitudeGating())
DIRECTION = (0.0, -0.4, -1.0)


def regular(seed: int) -> RespiratoryMotion:
    return LujanMotion(10.0, direction=DIRECTION)


def irregular(seed: int) -> RespiratoryMotion:
    return IrregularMotion(LujanMotion(8.0, direction=DIRECTION), Irregularity(), seed)


@pytest.fixture(scope="module")
def task(anatomy: Anatomy) -> RehearsalTask:
    drawn = make_plan(anatomy)
    applicator = "generic-mwa-2450"
    insertions = tuple(
        dataclasses.replace(insertion, applicator=applicator, ablations=insertion.ablations[:1])
        for insertion in drawn.insertions
    )
    queries = AnatomyQueries(anatomy)
    metrics = assess(queries, insertions, ZONES, MARGIN_MM).metrics
    plan = dataclasses.replace(drawn, insertions=insertions, metrics=metrics)
    patient = prepare_patient(anatomy, LujanMotion(14.0, direction=inhalation_direction(anatomy.case)), QUICK)
    route = route_for(plan, anatomy)
    return RehearsalTask(plan, route, load_robot(), place_anatomy(anatomy), queries, patient, ZONES)


@pytest.fixture(scope="module")
def runs(task: RehearsalTask) -> tuple[RehearsalRun, ...]:
    return rehearse_many(task, irregular, [QUICK, GATED], runs=2, seed=40, jobs=2)


@pytest.mark.long
def test_the_number_of_processes_changes_nothing(task: RehearsalTask, runs: tuple[RehearsalRun, ...]) -> None:
    # Two processes before, one now; and a run depends on its own seed alone.
    (again,) = rehearse_many(task, irregular, [GATED], runs=1, seed=41, jobs=1)
    assert dataclasses.replace(again, run=2) == runs[3]


def test_a_run_is_the_rehearsal_of_its_seed_with_its_score(
    task: RehearsalTask, runs: tuple[RehearsalRun, ...]
) -> None:
    outcome = run_rehearsal(
        task.plan, task.route, task.queries.anatomy, irregular(41), 41, robot=task.robot, placement=task.placement,
        options=GATED, patient=task.patient, queries=task.queries,
    ).outcome  # fmt: skip
    assert outcome.needles == runs[3].needles
    assert runs[3].metrics == assess(task.queries, outcome.insertions, ZONES, MARGIN_MM).metrics


def test_strategies_meet_the_same_patients(runs: tuple[RehearsalRun, ...]) -> None:
    free, gated = runs[:2], runs[2:]
    assert [run.strategy for run in runs] == ["free-breathing"] * 2 + ["amplitude-gating"] * 2
    for run, other in zip(free, gated, strict=True):
        assert (run.run, run.seed, run.motion) == (other.run, other.seed, other.motion)
    assert len({run.motion for run in free}) == len({run.needles[0].tip_error_mm for run in free}) == 2
    found = paired_difference(free, gated)
    assert found is not None and found.pairs == 2
    assert (
        strategy_statistics(free, MARGIN_MM).duration_s.value
        < strategy_statistics(gated, MARGIN_MM).duration_s.value
    )


def test_what_cannot_be_is_refused_before_any_process_starts(task: RehearsalTask) -> None:
    for changes, words in (
        ({"runs": 0}, "number of runs"),
        ({"seed": -1}, "seed"),
        ({"jobs": 0}, "number of processes"),
        ({"options": []}, "none"),
        ({"options": [QUICK, QUICK]}, "named once"),
    ):
        given = {"options": [QUICK], "runs": 1, **changes}
        with pytest.raises(OptionError, match=words):
            rehearse_many(task, regular, **given)  # type: ignore[arg-type]
    empty = dataclasses.replace(task, plan=dataclasses.replace(task.plan, insertions=()))
    with pytest.raises(OptionError, match="no insertion"):
        rehearse_many(empty, regular, [QUICK], runs=1)


@pytest.mark.long
def test_a_rehearsal_that_fails_or_hangs_is_named(task: RehearsalTask) -> None:
    other = dataclasses.replace(task, plan=dataclasses.replace(task.plan, insertions=task.plan.insertions * 2))
    with pytest.raises(NeedleplanError, match=r"run 1 with free-breathing: .*another plan"):
        rehearse_many(other, regular, [QUICK], runs=1, jobs=1)
    with pytest.raises(NeedleplanError, match="run 1 with free-breathing has not finished"):
        rehearse_many(task, regular, [QUICK], runs=1, jobs=1, limit_s=0.05)  # less than a process takes to begin
