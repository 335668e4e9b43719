"""Three films of rehearsals: one lesion gated, a plan made anew after a misplaced needle, faults and a safe stop.

    python examples/films.py                       into out/films/, in a few minutes
    python examples/films.py --film replanned      one of gated, replanned, stopped

Research software, not a medical device.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from needleplan.anatomy.phantom import PhantomParameters, TumourParameters, make_phantom
from needleplan.app.pipeline import (
    PlannedCase,
    RobotPlan,
    default_route_options,
    plan_case,
    plan_robot,
    rehearse_plan,
)
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import protect
from needleplan.coverage.replanning import Replanning, replan
from needleplan.coverage.treatment_state import MeasuredNeedle
from needleplan.errors import RobotError
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.outcome import EventKind, Outcome
from needleplan.plan import Insertion
from needleplan.planning import PlanningOptions
from needleplan.trajectory.sampling import SamplingOptions
from needleplan.trajectory.screening import PathLimits, default_constraints
from robots.catalogue import load_robot
from robots.gantry import Gantry
from robots.insertion import placed_needle, plan_insertions
from sim.compensation.breath_hold import BreathHold
from sim.faults import Fault, FaultKind
from sim.film import FilmOptions, FilmPart, make_film, make_film_of_parts
from sim.needle import PlacementNoise
from sim.options import RehearsalOptions
from sim.recorder import SceneRecorder
from sim.rehearse import prepare_patient

#: Coarse, so that planning takes seconds.
PLANNING = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=14.0, aim_count=24),
    coverage=CoverageOptions(margin_mm=5.0, point_count=2_000, paths_per_aim=8, setting_count=5, time_limit_s=5.0),
    # Needles that stand together leave room for the robot's guide between them.
    limits=PathLimits(entry_spacing_mm=18.0),
    refine=False,
)
#: Half the width of the needles' handles.
HANDLE_M = 0.0075
FILM = FilmOptions(frames_per_s=15, seconds_per_insertion=18.0, largest_film_s=34.0)
REHEARSAL = RehearsalOptions(sample_s=0.03, check_clearance=False)
#: Radius of a tumour that takes one needle, and of one that takes three.
SMALL_MM, LARGE_MM = 10.0, 16.0
WHERE_MM = (-92.0, -14.0, -16.0)
#: The robot's error for the needle that is misplaced.
MISPLACED = PlacementNoise(lateral_mm=6.0, depth_mm=2.0, angle_deg=1.0)
#: The scanner stands over the patient's chest; the table is drawn out so far that the target lies before it.
SCANNER = Gantry(centre_along_table_m=0.6)
FILMS = ("gated", "replanned", "stopped")


def main(
    out: Path = Path("out/films"),
    films: Sequence[str] = FILMS,
    seed: int = 1,
    planning: PlanningOptions = PLANNING,
    film: FilmOptions = FILM,
    rehearsal: RehearsalOptions = REHEARSAL,
) -> list[Path]:
    """Make the films that are named; where they were written."""
    made = []
    if {"gated", "stopped"} & set(films):
        small = planned_patient(SMALL_MM, seed, planning)
        if "gated" in films:
            made.append(gated(out / "gated.mp4", small, seed, film, rehearsal))
        if "stopped" in films:
            made.append(stopped(out / "stopped.mp4", small, seed, film, rehearsal))
    if "replanned" in films:
        large = planned_patient(LARGE_MM, seed, planning)
        made.append(replanned(out / "replanned.mp4", large, seed, planning, film, rehearsal))
    for path in made:
        print(f"film: {path}")
    return made


def planned_patient(radius_mm: float, seed: int, options: PlanningOptions) -> PlannedCase:
    """The built-in patient with one tumour, and a plan for it."""
    parameters = PhantomParameters(tumours=(TumourParameters(radius_mm=radius_mm, centre_mm=WHERE_MM),))
    planned = plan_case(make_phantom(parameters, np.random.default_rng(seed)).case(voxel_mm=2.5), options)
    print(f"tumour of {2 * radius_mm:g} mm: {len(planned.plan.insertions)} needles, {planned.plan.status}")
    return planned


def breathing(planned: PlannedCase) -> LujanMotion:
    """A liver that moves by 15 mm."""
    return LujanMotion(peak_mm=15.0, direction=inhalation_direction(planned.anatomy.case))


def gated(path: Path, planned: PlannedCase, seed: int, film: FilmOptions, rehearsal: RehearsalOptions) -> Path:
    """One lesion beside a scanner; the needle advances while the target is close to end-exhale."""
    arm = plan_robot(planned.plan, planned.anatomy, gantry=SCANNER)
    recorder = SceneRecorder()
    outcome = rehearse_plan(
        planned.plan, arm, planned.anatomy, breathing(planned), seed=seed, recorder=recorder,
        options=dataclasses.replace(rehearsal, gantry=SCANNER), queries=planned.queries,
    ).outcome  # fmt: skip
    tell(outcome)
    return make_film(
        path, recorder, outcome, planned.anatomy, insertions=planned.plan.insertions, placement=arm.placement,
        options=film,
    )  # fmt: skip


def stopped(path: Path, planned: PlannedCase, seed: int, film: FilmOptions, rehearsal: RehearsalOptions) -> Path:
    """Held breath, a cough, and then a needle that slips in its driver: it is stopped and drawn out."""
    faults = (
        Fault(FaultKind.COUGH, at_depth_share=0.3, duration_s=2.0),
        Fault(FaultKind.NEEDLE_SLIP, at_depth_share=0.6),
    )
    arm = plan_robot(planned.plan, planned.anatomy)
    recorder = SceneRecorder()
    outcome = rehearse_plan(
        planned.plan, arm, planned.anatomy, breathing(planned), seed=seed, strategy=BreathHold(),
        recorder=recorder, options=dataclasses.replace(rehearsal, faults=faults), queries=planned.queries,
    ).outcome  # fmt: skip
    tell(outcome)
    return make_film(
        path, recorder, outcome, planned.anatomy, insertions=planned.plan.insertions, placement=arm.placement,
        options=film,
    )  # fmt: skip


def replanned(
    path: Path,
    planned: PlannedCase,
    seed: int,
    planning: PlanningOptions,
    film: FilmOptions,
    rehearsal: RehearsalOptions,
) -> Path:
    """The first of three needles ends beside its plan; the rest is planned anew around it, and carried out."""
    plan, anatomy, motion = planned.plan, planned.anatomy, breathing(planned)
    robot = load_robot()
    stay = dataclasses.replace(default_route_options(robot, needles_stay=True), needle_radius_m=HANDLE_M)
    arm = plan_robot(plan, anatomy, options=stay)
    patient = prepare_patient(anatomy, motion, rehearsal)
    recorder = SceneRecorder()
    first = rehearse_plan(
        dataclasses.replace(plan, insertions=plan.insertions[:1]), only_first(arm), anatomy, motion, seed=seed,
        recorder=recorder, options=dataclasses.replace(rehearsal, noise=MISPLACED), patient=patient,
        queries=planned.queries,
    ).outcome  # fmt: skip
    tell(first)
    if not first.needles:
        raise RobotError(f"the first needle was not placed: {first.not_reached[0][1]}")
    needle = first.needles[0]

    again = planned_anew(planned, needle.executed, planning)
    for sentence in again.sentences:
        print(f"  {sentence}")
    rest = (*again.along_planned, *again.added)
    routes = plan_insertions(
        rest, robot, arm.placement, arm.base.X_WB, anatomy.entry.mesh, stay,
        needles=[placed_needle(needle.executed, robot, arm.placement, stay)],
    )  # fmt: skip
    recorder.start_s = recorder.states[-1].time_s + rehearsal.sample_s
    second = rehearse_plan(
        dataclasses.replace(plan, insertions=rest),
        dataclasses.replace(arm, base=dataclasses.replace(arm.base, route=routes)), anatomy, motion, seed=seed,
        recorder=recorder, options=rehearsal, patient=patient, queries=planned.queries,
    ).outcome  # fmt: skip
    tell(second)

    new = {one.order for one in again.added}
    to_come = ", ".join(f"needle {one.order}{' (new path)' if one.order in new else ''}" for one in rest)
    words = (
        f"Needle {needle.planned.order} stands {needle.tip_error_mm:.1f} mm from its plan, which would leave "
        f"{100.0 * (1.0 - again.share_before):.1f} % of target and margin untreated. Still to come: {to_come}."
    )
    parts = (
        FilmPart(first, plan.insertions),
        FilmPart(second, rest, recorder.start_s, words, (needle.executed,)),
    )
    return make_film_of_parts(path, recorder, parts, anatomy, placement=arm.placement, options=film)


def only_first(arm: RobotPlan) -> RobotPlan:
    """How the robot carries out the first insertion."""
    route = dataclasses.replace(arm.base.route, insertions=arm.base.route.insertions[:1])
    return dataclasses.replace(arm, base=dataclasses.replace(arm.base, route=route))


def planned_anew(planned: PlannedCase, standing: Insertion, planning: PlanningOptions) -> Replanning:
    """The rest of the treatment, with one needle where it really stands."""
    assert planned.candidates is not None  # plan_case keeps them
    return replan(
        planned.plan,
        [MeasuredNeedle.of(standing)],
        planned.queries,
        planned.candidates,
        default_constraints(planned.queries, planning.limits),
        planned.zone_model,
        planning.coverage,
        protection=protect(planned.queries, planning.thermal),
        pairs=PairLimits.for_applicator(planned.candidates.applicator, planning.limits),
        refine=False,
    )


def tell(outcome: Outcome) -> None:
    """What a rehearsal came to."""
    for needle in outcome.needles:
        print(f"  needle {needle.planned.order}: {needle.tip_error_mm:.1f} mm from its plan")
    for order, reason in outcome.not_reached:
        print(f"  needle {order} was not placed: {reason}")
    for event in outcome.events:
        if event.kind in (EventKind.FAULT, EventKind.STOP, EventKind.RESUME):
            print(f"  {event.time_s:.1f} s: {event.kind} {event.text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/films"), help="folder to write to")
    parser.add_argument("--film", choices=FILMS, action="append", help="one film; may be named again for another")
    parser.add_argument("--seed", type=int, default=1, help="seed of the built-in patient and of the rehearsals")
    chosen = parser.parse_args()
    main(chosen.out, chosen.film or FILMS, chosen.seed)
