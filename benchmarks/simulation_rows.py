"""Rows of benchmarks/simulation.py: how quick a rehearsal is, beside PyBullet alone and beside the exact body."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clock import Clock, print_rows, print_times
from path_liver import REAL_CASE
from rows import Row, write_rows
from simulation_peers import PlainRoom

from needleplan.anatomy.phantom import PhantomParameters, TumourParameters, make_phantom
from needleplan.app.pipeline import PlannedCase, RobotPlan, plan_case, plan_robot, rehearse_plan
from needleplan.case.load import load_case
from needleplan.case.model import Case
from needleplan.coverage.options import CoverageOptions
from needleplan.frames import FloatArray
from needleplan.motion.body_motion import BodyMotion, BodyState
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.planning import PlanningOptions
from needleplan.trajectory.sampling import SamplingOptions
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.many_rehearsals import RehearsalTask, rehearse_many
from sim.needle import PlacementNoise
from sim.options import Rehearsal, RehearsalOptions
from sim.patient import PatientSurfaces
from sim.rehearse import prepare_patient

LIMIT = "limit set by this project"
#: Simulated seconds a second, and rehearsals of a plan of three needles a minute, that shall be reached at least.
REALTIME_LIMIT, REHEARSALS_LIMIT_PER_MIN = 20.0, 10.0
PARTS = ("realtime", "many")
#: Processes and runs of the rehearsals that are counted.
JOBS, RUNS = 2, 16
PLANNING = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=14.0, aim_count=24),
    coverage=CoverageOptions(point_count=2_000, paths_per_aim=8, setting_count=5, time_limit_s=5.0),
    refine=False,
)
QUICK_PLANNING = dataclasses.replace(PLANNING, sampling=SamplingOptions(entry_spacing_mm=20.0, aim_count=8))
#: A tumour of the built-in patient that takes three needles.
LARGE = TumourParameters(radius_mm=16.0, centre_mm=(-92.0, -14.0, -16.0))
OPTIONS = RehearsalOptions(strategy=AmplitudeGating(), noise=PlacementNoise.published(), check_clearance=False)


class ExactBody:
    """A breathing body that solves every state anew, in place of the table of them."""

    def __init__(self, body: BodyMotion) -> None:
        self.body = body

    def state(self, displacement_mm: FloatArray, wall_mm: float | None = None) -> BodyState:
        return self.body.at(displacement_mm, wall_mm)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A planned patient and a robot, ready to be rehearsed."""

    name: str
    planned: PlannedCase
    robot_plan: RobotPlan
    motion: LujanMotion
    patient: PatientSurfaces

    def rehearse(self, seed: int, patient: PatientSurfaces | None = None) -> Rehearsal:
        return rehearse_plan(
            self.planned.plan, self.robot_plan, self.planned.anatomy, self.motion, seed=seed, options=OPTIONS,
            patient=patient or self.patient, queries=self.planned.queries,
        )  # fmt: skip

    def plain_room(self) -> PlainRoom:
        """The same arm at the same place, and the same surfaces, in PyBullet alone."""
        robot_plan = self.robot_plan
        surfaces = [
            (robot_plan.placement.points_to_world(part.mesh.vertices_mm), part.mesh.faces)
            for part in self.patient.parts
        ]
        return PlainRoom(robot_plan.robot, robot_plan.base.route.X_WB, surfaces)


def built_in(quick: bool, tumours: tuple[TumourParameters, ...] | None = None) -> Case:
    parameters = PhantomParameters() if tumours is None else PhantomParameters(tumours=tumours)
    return make_phantom(parameters, np.random.default_rng(1)).case(voxel_mm=4.0 if quick else 2.0)


def scene_of(name: str, case: Case, planning: PlanningOptions) -> Scene:
    planned = plan_case(case, planning)
    robot_plan = plan_robot(planned.plan, planned.anatomy)
    motion = LujanMotion(direction=inhalation_direction(case))
    patient = prepare_patient(planned.anatomy, motion, OPTIONS)
    reached = int(robot_plan.base.route.reached.sum())
    tell(f"{name}: {len(planned.plan.insertions)} needles planned, {reached} of them reached")
    return Scene(name, planned, robot_plan, motion, patient)


def realtime_rows(repeats: int, data: Path | None, quick: bool) -> list[Row]:
    """Simulated seconds a second of one gated rehearsal in one process, without a window or a film."""
    if data is None or quick:
        scene = scene_of("built-in patient", built_in(quick), QUICK_PLANNING if quick else PLANNING)
    else:
        scene = scene_of("ircadb01-case01", load_case(REAL_CASE, data_root=data), PLANNING)
    clock = Clock(scene.name)
    done = scene.rehearse(0)
    simulated_s = done.log.duration_s
    exact = dataclasses.replace(scene.patient, body=ExactBody(scene.patient.body.body))
    trace = done.outcome.trace
    shift_m = trace.displacement_mm @ scene.robot_plan.placement.X_WP.rotation.T * 1e-3
    every = max(1, round(done.log.steps * OPTIONS.contact_s / simulated_s))
    with scene.plain_room() as plain:
        for _ in range(repeats):
            clock("rehearsal", lambda: scene.rehearse(0), done.log.steps)
            clock(
                "PyBullet alone",
                lambda: plain.step(trace.joints_rad, shift_m, done.log.steps, every),
                done.log.steps,
            )
        for _ in range(1 if quick else min(repeats, 2)):
            clock("rehearsal, exact body", lambda: scene.rehearse(0, exact), done.log.steps)
    print_times([clock])
    ours, alone, solved = (
        simulated_s / clock.median_s(name) for name in ("rehearsal", "PyBullet alone", "rehearsal, exact body")
    )
    tell(f"{scene.name}: {simulated_s:.0f} s simulated in {done.log.steps} steps")
    return [
        Row.against("realtime_factor", ours, "1", LIMIT, REALTIME_LIMIT),
        Row.against(
            "realtime_factor beside PyBullet", ours, "1",
            "PyBullet alone: as many steps of the same arm and surfaces, no needle, no tissue, no sensors", alone,
        ),
        Row.against(
            "realtime_factor with the body tabulated", ours, "1", "the same rehearsal, every state solved", solved
        ),
    ]  # fmt: skip


def many_rows(repeats: int, quick: bool) -> list[Row]:
    """Rehearsals a minute of a plan of three needles by two processes, their beginning and the scores included."""
    case = built_in(quick, (LARGE,))
    scene = scene_of("built-in patient, large tumour", case, QUICK_PLANNING if quick else PLANNING)
    plan, robot_plan = scene.planned.plan, scene.robot_plan
    task = RehearsalTask(
        plan, robot_plan.base.route, robot_plan.robot, robot_plan.placement, scene.planned.queries, scene.patient,
        scene.planned.zone_model,
    )  # fmt: skip
    clock = Clock(f"{len(plan.insertions)} needles, {JOBS} processes")
    runs = 2 if quick else RUNS
    for _ in range(1 if quick else min(repeats, 3)):
        clock(
            "rehearsals",
            lambda: rehearse_many(task, lambda seed: scene.motion, [OPTIONS], runs=runs, jobs=JOBS),
            runs,
        )
    print_times([clock])
    return [
        Row.against(
            "rehearsals_per_min", 60.0 * clock.rate("rehearsals"), "1/min", LIMIT, REHEARSALS_LIMIT_PER_MIN
        ),
        Row("rehearsed needles of the plan", float(len(plan.insertions)), "1"),
    ]


def tell(sentence: str) -> None:
    """Says what is being done."""
    print(sentence, file=sys.stderr, flush=True)


def main(path: Path, repeats: int, data: Path | None, quick: bool, parts: Sequence[str]) -> None:
    """Run the parts, print and write their rows."""
    rows: list[Row] = []
    if "realtime" in parts:
        rows += realtime_rows(repeats, data, quick)
    if "many" in parts:
        rows += many_rows(repeats, quick)
    print_rows(rows)
    write_rows(path, rows)
