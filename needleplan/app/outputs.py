"""Reading and writing of plan folders: plan, rehearsals, scores, pictures, film, report."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.folder import PlanFolder
from needleplan.app.pipeline import (
    PlannedCase,
    RobotPlan,
    assess_insertions,
    plan_robot,
    rehearse_plan,
)
from needleplan.app.progress import progress_bar
from needleplan.app.report import write_report
from needleplan.app.report_sections import Rehearsal as ReportedRehearsal
from needleplan.app.robot_planning import alternatives_for
from needleplan.app.summary import print_outcome
from needleplan.assess import Assessment
from needleplan.devices.catalogue import load_catalogue
from needleplan.errors import PlanFileError
from needleplan.io.plan_file import read_outcome, write_json, write_outcome, write_plan
from needleplan.io.value_json import parse_strict, to_json
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.gating import AmplitudeGate
from needleplan.outcome import Outcome
from needleplan.plan import Metrics
from needleplan.viz.canvas import Picture
from needleplan.viz.needles import NeedleShape
from needleplan.viz.offscreen import RenderingError
from needleplan.viz.pictures import draw_plan_pictures, draw_rehearsal_pictures
from robots.route import route_to_json
from sim.film import make_film, make_stills
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.recorder import SceneRecorder
from sim.rehearse import prepare_patient

ProgressCallback = Callable[[str, float], None]

#: File names of the pictures of a plan.
PICTURE_NAMES = (
    "patient", "target", "planes", "needle-planes", "margins", "tumour", "skin-map", "breathing-gated",
    "breathing-ungated",
)  # fmt: skip

#: Further rehearsals, gated and not, that begin at other moments of the breath.
OTHER_MOMENTS = 4


def write_plan_folder(
    folder: PlanFolder,
    planned: PlannedCase,
    *,
    tables: tuple[bytes, bytes] | None = None,
    pictures: bool = True,
    progress: ProgressCallback | None = None,
) -> None:
    """plan.json, its score, and where asked for pictures and report.

    What an earlier plan left in the folder is removed once the new plan is written.

    Args:
        folder: where to.
        planned: what to write.
        tables: contents of the user's own applicators.csv and zones.csv, where the plan was made with them.
        pictures: False writes no picture and no report.
        progress: called with the name of each picture and the fraction done.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    write_plan(folder.plan, planned.plan)
    for stale in (folder.report, folder.skin_map, folder.applicators, folder.zones, *_pictures(folder)):
        stale.unlink(missing_ok=True)
    _forget_rehearsals(folder)
    if tables is not None:
        folder.applicators.write_bytes(tables[0])
        folder.zones.write_bytes(tables[1])
    if planned.skin is not None:
        folder.write_skin_map(planned.skin)
    assess_folder(folder, planned)
    if pictures:
        write_report_again(folder, planned, progress)


def _pictures(folder: PlanFolder) -> list[Path]:
    """The pictures that this module draws, where they are there."""
    return [folder.pictures / f"{name}.png" for name in PICTURE_NAMES]


def _forget_rehearsals(folder: PlanFolder) -> None:
    """Remove what earlier rehearsals left, so that nothing of two is ever shown together."""
    for path in (folder.outcome, folder.outcome_ungated, folder.moments, folder.route, folder.film):
        path.unlink(missing_ok=True)
    for still in folder.pictures.glob("rehearsal_*.png"):
        still.unlink(missing_ok=True)


def load_planned(folder: PlanFolder, data: Path | None, progress: ProgressCallback | None = None) -> PlannedCase:
    """Plan and anatomy of a folder."""
    plan, case = folder.load(data)
    anatomy = build_anatomy(case, progress)
    setting = str(plan.provenance.options.get("setting", "in_vivo"))
    own_tables = folder.applicators.is_file() and folder.zones.is_file()
    catalogue = load_catalogue(folder.applicators, folder.zones) if own_tables else None
    model = EllipsoidTableModel(catalogue, setting)
    if plan.provenance.options.get("tables") != model.catalogue.digest:
        raise PlanFileError(
            f"{folder.plan}: the plan was made with other zone tables than those at hand; put its applicators.csv "
            "and zones.csv back beside it or plan the case again"
        )
    draft = PlannedCase(anatomy, AnatomyQueries(anatomy), plan, model, None, folder.read_skin_map())
    return dataclasses.replace(draft, assessment=assess_insertions(plan.insertions, draft))


def rehearse_into(
    console: Console,
    folder: PlanFolder,
    planned: PlannedCase,
    motion: RespiratoryMotion,
    *,
    robot: str | None = None,
    gate_mm: float = 2.0,
    seed: int = 0,
    moments: int = OTHER_MOMENTS,
    film: bool = True,
) -> None:
    """Robot, rehearsal with and without gating, film and stills; written into the folder and printed."""
    plan, anatomy = planned.plan, planned.anatomy
    gate = AmplitudeGate(tolerance_mm=gate_mm)
    with progress_bar(console, "placing the robot"):
        robot_plan = plan_robot(plan, anatomy, robot, alternatives=alternatives_for(planned))
    _forget_rehearsals(folder)
    write_json(folder.route, route_to_json(robot_plan.base.route))
    for item in robot_plan.base.evidence:
        console.print(f"  {item.subject}: {item.finding} {item.remedy}")
    recorder = SceneRecorder()
    options = RehearsalOptions(gate=gate)
    with progress_bar(console, "preparing the patient"):
        patient = prepare_patient(anatomy, motion, options)
    for gating, path in ((True, folder.outcome), (False, folder.outcome_ungated)):
        with progress_bar(console, "rehearsing" if gating else "rehearsing without gating") as progress:
            outcome = rehearse_plan(
                plan,
                robot_plan,
                anatomy,
                motion,
                seed=seed,
                gating=gating,
                recorder=recorder if gating else None,
                options=options,
                patient=patient,
                progress=progress,
            ).outcome
        write_outcome(path, outcome)
        score = assess_insertions(outcome.insertions, planned)
        print_outcome(console, outcome, None if score is None else score.metrics)
    if moments:
        _other_moments(console, folder, planned, robot_plan, motion, patient, options, seed, moments)
    assess_folder(folder, planned)
    if film:
        _film(console, folder, planned, robot_plan, recorder, read_outcome(folder.outcome))


def _other_moments(
    console: Console,
    folder: PlanFolder,
    planned: PlannedCase,
    robot_plan: RobotPlan,
    motion: RespiratoryMotion,
    patient: PatientSurfaces,
    options: RehearsalOptions,
    seed: int,
    moments: int,
) -> None:
    """Without gating the error depends on the moment; other seeds begin at other moments of the breath."""
    quick = dataclasses.replace(options, check_clearance=False)
    errors: dict[str, list[float]] = {"gated": [], "ungated": []}
    with progress_bar(console, "rehearsing at other moments of the breath") as progress:
        for k in range(2 * moments):
            progress("gated" if k % 2 else "without gating", k / (2 * moments))
            outcome = rehearse_plan(
                planned.plan,
                robot_plan,
                planned.anatomy,
                motion,
                seed=seed + 1 + k // 2,
                gating=bool(k % 2),
                options=quick,
                patient=patient,
            ).outcome
            errors["gated" if k % 2 else "ungated"] += [needle.tip_error_mm for needle in outcome.needles]
    write_json(
        folder.moments,
        {"schema": "needleplan.moments", "version": 1, "moments": moments, "tip_error_mm": to_json(errors)},
    )
    for name, values in errors.items():
        if values:
            console.print(
                f"  tip error over {moments} other moments of the breath, {name}: "
                f"mean {sum(values) / len(values):.1f} mm, largest {max(values):.1f} mm"
            )


def _film(
    console: Console,
    folder: PlanFolder,
    planned: PlannedCase,
    robot_plan: RobotPlan,
    recorder: SceneRecorder,
    outcome: Outcome,
) -> None:
    if not outcome.needles:
        console.print("  no film: no needle was carried out")
        return
    insertions = planned.plan.insertions
    try:
        with progress_bar(console, "filming") as progress:
            make_film(
                folder.film,
                recorder,
                outcome,
                planned.anatomy,
                insertions=insertions,
                placement=robot_plan.placement,
                progress=progress,
            )
            stills = make_stills(
                recorder, outcome, planned.anatomy, insertions=insertions, placement=robot_plan.placement
            )
        for still in stills:
            still.save(folder.pictures)
    except RenderingError as error:
        console.print(f"  no film: {error}")


def assess_folder(folder: PlanFolder, planned: PlannedCase) -> dict[str, Metrics]:
    """Score the plan and the rehearsals that the folder holds, and write assessment.json."""
    scores = {} if planned.assessment is None else {"planned": planned.assessment.metrics}
    for name, path in (("rehearsed, gated", folder.outcome), ("rehearsed, ungated", folder.outcome_ungated)):
        outcome = _outcome(path, planned)
        score = None if outcome is None else assess_insertions(outcome.insertions, planned)
        if score is not None:
            scores[name] = score.metrics
    write_json(
        folder.assessment,
        {
            "schema": "needleplan.assessment",
            "version": 1,
            "case_name": planned.plan.case_name,
            "case_hash": planned.plan.case_hash,
            "scores": to_json(scores),
        },
    )
    return scores


def write_report_again(folder: PlanFolder, planned: PlannedCase, progress: ProgressCallback | None = None) -> None:
    """Draw the pictures and write report.html from what the folder holds."""
    plan, anatomy = planned.plan, planned.anatomy
    report = progress or (lambda name, fraction: None)
    zone = planned.zone_model.zone(plan.insertions) if plan.insertions else None
    shapes = {
        a.name: NeedleShape(a.usable_length_mm, a.shaft_diameter_mm)
        for a in planned.zone_model.catalogue.applicators
    }
    drawn = 0

    def step(name: str) -> None:
        nonlocal drawn
        drawn += 1
        report(name, drawn / 9.0)

    pictures, missing = draw_plan_pictures(
        anatomy,
        plan,
        zone,
        planned.assessment,
        skin=planned.skin,
        needles=shapes,
        margin_mm=_margin_mm(planned),
        progress=step,
    )
    rehearsals = []
    for path in (folder.outcome, folder.outcome_ungated):
        outcome = _outcome(path, planned)
        if outcome is not None:
            score: Assessment | None = assess_insertions(outcome.insertions, planned)
            rehearsals.append(ReportedRehearsal(outcome, score))
    pictures = (*pictures, *draw_rehearsal_pictures([r.outcome for r in rehearsals]))
    for picture in pictures:
        picture.save(folder.pictures)
    route = None
    if folder.route.is_file():
        route = parse_strict(folder.route.read_text(encoding="utf-8"), folder.route.name)
    write_report(
        folder.report,
        anatomy=anatomy,
        plan=plan,
        pictures=(*pictures, *_stills(folder)),
        rehearsals=rehearsals,
        route=route,
        film=folder.film if folder.film.is_file() else None,
        notes=missing,
    )
    report("done", 1.0)


def _margin_mm(planned: PlannedCase) -> float:
    if planned.plan.metrics is not None:
        return planned.plan.metrics.margin_mm
    return float(planned.plan.provenance.options.get("coverage.margin_mm") or 0.0)


def _stills(folder: PlanFolder) -> list[Picture]:
    """Stills of the rehearsal that an earlier run left in the folder."""
    import numpy as np
    from PIL import Image

    stills = []
    for path in sorted(folder.pictures.glob("rehearsal_*.png")) if folder.film.is_file() else []:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        title = path.stem.replace("_", " ").capitalize()
        stills.append(Picture(path.stem, title, "Still of the rehearsal.", pixels))
    return stills


def _outcome(path: Path, planned: PlannedCase) -> Outcome | None:
    """The outcome in a file; None where there is none.

    Raises:
        PlanFileError: it belongs to another case.
    """
    if not path.is_file():
        return None
    outcome = read_outcome(path)
    if outcome.case_hash != planned.plan.case_hash:
        raise PlanFileError(f"{path}: the rehearsal belongs to another case than the plan beside it")
    return outcome
