"""A plan rehearsed into its folder: outcomes, tables, scores, film; printed as it goes."""

import dataclasses

from rich.console import Console

from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import assess_folder, forget_rehearsals
from needleplan.app.pipeline import PlannedCase, RobotPlan, assess_insertions, rehearse_plan
from needleplan.app.progress import progress_bar
from needleplan.app.rehearsal_options import placed_robot
from needleplan.app.summary import print_outcome
from needleplan.errors import OptionError
from needleplan.io.outcome_table import write_outcome_tables
from needleplan.io.plan_file import plan_hash, write_json, write_outcome
from needleplan.io.value_json import to_json
from needleplan.motion.contract import RespiratoryMotion
from needleplan.outcome import Outcome
from needleplan.viz.offscreen import RenderingError
from robots.route import route_to_json
from sim.compensation.free_breathing import FreeBreathing
from sim.film import make_film, make_stills
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.recorder import SceneRecorder
from sim.rehearse import prepare_patient
from sim.strategies import strategy_name

#: Further rehearsals, with each strategy, that begin at other moments of the breath.
OTHER_MOMENTS = 4


def rehearse_into(
    console: Console,
    folder: PlanFolder,
    planned: PlannedCase,
    motion: RespiratoryMotion,
    *,
    options: RehearsalOptions | None = None,
    robot: str | None = None,
    seed: int = 0,
    moments: int = OTHER_MOMENTS,
    film: bool = True,
) -> None:
    """Robot, rehearsal with the options' strategy and in free breathing, film and stills.

    Free breathing is what the strategy is held against. It is left out where it is the strategy itself, and where
    faults are switched on, which concern one rehearsal alone; so are the other moments then.

    Args:
        console: where to print.
        folder: where to write.
        planned: plan and patient.
        motion: how he breathes.
        options: strategy and all else; amplitude gating by default.
        robot: a robot of the catalogue or the path of a user's TOML; the default robot where None.
        seed: of the rehearsals.
        moments: number of further rehearsals with each strategy, with the next seeds.
        film: True to make film and stills of the first rehearsal.

    Raises:
        OptionError: a fault is named for a needle that is not planned.
        RobotError: the robot reaches none of the insertions.
    """
    chosen = options or RehearsalOptions()
    orders = {insertion.order for insertion in planned.plan.insertions}
    for fault in chosen.faults:
        if fault.needle not in orders:
            raise OptionError(f"the plan has no needle {fault.needle} for the fault '{fault.text}'")
    # Before the robot, which takes longest: a body that cannot breathe is told at once.
    with progress_bar(console, "preparing the patient"):
        patient = prepare_patient(planned.anatomy, motion, chosen)
    with progress_bar(console, "placing the robot") as progress:
        robot_plan = placed_robot(planned, chosen, robot, progress)
    for item in robot_plan.base.evidence:
        console.print(f"  {item.subject}: {item.finding} {item.remedy}")
    session = _Session(console, folder, planned, robot_plan, motion, patient)
    recorder = SceneRecorder()
    first = session.rehearse(chosen, seed, recorder)
    # What an earlier rehearsal left stays until there is something to take its place.
    forget_rehearsals(folder)
    write_json(folder.route, route_to_json(robot_plan.base.route))
    write_outcome(folder.outcome, first)
    outcomes = [first]
    if not chosen.faults and not isinstance(chosen.strategy, FreeBreathing):
        free = dataclasses.replace(chosen, strategy=FreeBreathing(), display=False)
        outcomes.append(session.rehearse(free, seed))
        write_outcome(folder.outcome_ungated, outcomes[1])
        if moments:
            session.other_moments((chosen, free), seed, moments)
    write_outcome_tables(folder.tables, outcomes, plan_hash(planned.plan))
    assess_folder(folder, planned)
    if film:
        session.film(recorder, first)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """What the rehearsals of one call have in common."""

    console: Console
    folder: PlanFolder
    planned: PlannedCase
    robot_plan: RobotPlan
    motion: RespiratoryMotion
    patient: PatientSurfaces

    def run(self, options: RehearsalOptions, seed: int, recorder: SceneRecorder | None = None) -> Outcome:
        return rehearse_plan(
            self.planned.plan, self.robot_plan, self.planned.anatomy, self.motion, seed=seed, recorder=recorder,
            options=options, patient=self.patient, queries=self.planned.queries,
            catalogue=self.planned.zone_model.catalogue,
        ).outcome  # fmt: skip

    def rehearse(self, options: RehearsalOptions, seed: int, recorder: SceneRecorder | None = None) -> Outcome:
        """One rehearsal, printed with its score."""
        with progress_bar(self.console, f"rehearsing with {strategy_name(options.strategy)}"):
            outcome = self.run(options, seed, recorder)
        score = assess_insertions(outcome.insertions, self.planned)
        print_outcome(self.console, outcome, None if score is None else score.metrics)
        return outcome

    def other_moments(self, options: tuple[RehearsalOptions, ...], seed: int, moments: int) -> None:
        """The error depends on the moment at which a needle goes in; other seeds begin at others."""
        errors: dict[str, list[float]] = {strategy_name(each.strategy): [] for each in options}
        with progress_bar(self.console, "rehearsing at other moments of the breath") as progress:
            for k, each in enumerate(each for _ in range(moments) for each in options):
                name = strategy_name(each.strategy)
                progress(name, k / (len(options) * moments))
                quick = dataclasses.replace(each, check_clearance=False, display=False)
                outcome = self.run(quick, seed + 1 + k // len(options))
                errors[name] += [needle.tip_error_mm for needle in outcome.needles]
        write_json(
            self.folder.moments,
            {"schema": "needleplan.moments", "version": 2, "moments": moments, "tip_error_mm": to_json(errors)},
        )
        for name, values in errors.items():
            if values:
                self.console.print(
                    f"  tip error over {moments} other moments of the breath, {name}: "
                    f"mean {sum(values) / len(values):.1f} mm, largest {max(values):.1f} mm"
                )

    def film(self, recorder: SceneRecorder, outcome: Outcome) -> None:
        """Film and stills, or why there are none."""
        if not recorder.states:
            self.console.print("  no film: no insertion was begun")
            return
        insertions, placement = self.planned.plan.insertions, self.robot_plan.placement
        try:
            with progress_bar(self.console, "filming") as progress:
                make_film(
                    self.folder.film, recorder, outcome, self.planned.anatomy, insertions=insertions,
                    placement=placement, progress=progress,
                )  # fmt: skip
                stills = make_stills(
                    recorder, outcome, self.planned.anatomy, insertions=insertions, placement=placement
                )
            for still in stills:
                still.save(self.folder.pictures)
        except RenderingError as error:
            self.console.print(f"  no film: {error}")
