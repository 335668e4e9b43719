"""Reading and writing of plan folders: plan, rehearsals, scores, pictures, film, report."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.folder import PlanFolder
from needleplan.app.page.scene import build_scene
from needleplan.app.page.scene_robot import require_route, route_fits
from needleplan.app.pipeline import PlannedCase, assess_insertions
from needleplan.app.report import write_report
from needleplan.app.report_audit import command_words, plan_inputs
from needleplan.app.report_paths import paths_section
from needleplan.app.report_rehearsals import Rehearsal as ReportedRehearsal
from needleplan.devices.catalogue import load_catalogue
from needleplan.errors import PlanFileError
from needleplan.io.bounded import read_whole
from needleplan.io.plan_file import MAXIMUM_BYTES, read_outcome, write_bytes, write_json, write_plan
from needleplan.io.value_json import parse_strict, to_json
from needleplan.outcome import Outcome
from needleplan.plan import Metrics
from needleplan.viz.canvas import Picture
from needleplan.viz.needles import NeedleShape
from needleplan.viz.pictures import draw_plan_pictures, draw_rehearsal_pictures
from robots.catalogue import DEFAULT_ROBOT

ProgressCallback = Callable[[str, float], None]

#: File names of the pictures of a plan.
PICTURE_NAMES = ("patient", "target", "planes", "needle-planes", "margins", "tumour", "skin-map")


def write_plan_folder(
    folder: PlanFolder,
    planned: PlannedCase,
    manifest: Path,
    data: Path | None,
    *,
    tables: tuple[bytes, bytes] | None = None,
    pictures: bool = True,
    progress: ProgressCallback | None = None,
) -> None:
    """plan.json, whose case it is, its score, and where asked for pictures and report.

    What an earlier plan left in the folder is removed once the new plan is written.

    Args:
        folder: where to.
        planned: what to write.
        manifest: of the case.
        data: data folder of the manifest; None where it names its files beside itself.
        tables: contents of the user's own applicators.csv and zones.csv, where the plan was made with them.
        pictures: False writes no picture and no report.
        progress: called with the name of each picture and the fraction done.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    write_plan(folder.plan, planned.plan)
    for stale in (folder.report, folder.skin_map, folder.applicators, folder.zones, *_pictures(folder)):
        stale.unlink(missing_ok=True)
    forget_rehearsals(folder)
    if tables is not None:
        for path, content in zip((folder.applicators, folder.zones), tables, strict=True):
            write_bytes(path, content)
    # Before the report, whose audit trail tells the files of the case.
    folder.write_source(manifest, data)
    if planned.skin is not None:
        folder.write_skin_map(planned.skin)
    assess_folder(folder, planned)
    if pictures:
        write_report_again(folder, planned, progress)


def _pictures(folder: PlanFolder) -> list[Path]:
    """The pictures that this module draws, where they are there."""
    return [folder.pictures / f"{name}.png" for name in PICTURE_NAMES]


def forget_rehearsals(folder: PlanFolder) -> None:
    """Remove what earlier rehearsals left, so that nothing of two is ever shown together."""
    single = (folder.outcome, folder.outcome_ungated, folder.moments, folder.route, folder.film)
    of_rehearsals = (folder.pictures.glob("rehearsal_*.png"), folder.pictures.glob("breathing-*.png"))
    for path in (*single, *folder.tables.glob("*.parquet"), *(path for found in of_rehearsals for path in found)):
        path.unlink(missing_ok=True)


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


def assess_folder(folder: PlanFolder, planned: PlannedCase) -> dict[str, Metrics]:
    """Score the plan and the rehearsals that the folder holds, and write assessment.json."""
    scores = {} if planned.assessment is None else {"planned": planned.assessment.metrics}
    for outcome in rehearsed_outcomes(folder, planned):
        score = assess_insertions(outcome.insertions, planned)
        if score is not None:
            scores[f"rehearsed, {outcome.strategy}"] = score.metrics
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
    """Draw the pictures, make the scene and write report.html from what the folder holds.

    Nothing is written before all of it was computed, so that what is refused leaves report and pictures as they
    were; the report holds pictures of its own and is written first.

    Raises:
        PlanFileError: a rehearsal or a route in the folder is damaged, or belongs to another case.
        OptionError: an option that the plan states is impossible.
    """
    plan, anatomy = planned.plan, planned.anatomy
    report = progress or (lambda name, fraction: None)
    outcomes = rehearsed_outcomes(folder, planned)
    route = report_route(folder, planned)
    report("paths", 0.0)
    paths = paths_section(planned)
    rehearsals = [ReportedRehearsal(each, assess_insertions(each.insertions, planned)) for each in outcomes]
    scene = build_scene(
        planned,
        outcomes=outcomes,
        route=route,
        progress=lambda name, fraction: report(name, 0.2 + 0.4 * fraction),
    )
    pictures, missing = _drawn(planned, outcomes, lambda name, fraction: report(name, 0.6 + 0.3 * fraction))
    report("report", 0.9)
    write_report(
        folder.report,
        anatomy=anatomy,
        plan=plan,
        pictures=(*pictures, *_stills(folder)),
        rehearsals=rehearsals,
        route=route,
        film=folder.film if folder.film.is_file() else None,
        notes=missing,
        scene=scene,
        paths=paths,
        inputs=plan_inputs(folder),
        command=command_words(sys.argv),
    )
    for picture in pictures:
        picture.save(folder.pictures)
    report("done", 1.0)


def _drawn(
    planned: PlannedCase, outcomes: list[Outcome], progress: ProgressCallback
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The pictures of plan and rehearsals, and a sentence for each that could not be drawn."""
    plan, model = planned.plan, planned.zone_model
    drawn = 0

    def step(name: str) -> None:
        nonlocal drawn
        drawn += 1
        progress(name, drawn / (len(PICTURE_NAMES) + 1))

    pictures, missing = draw_plan_pictures(
        planned.anatomy,
        plan,
        model.zone(plan.insertions) if plan.insertions else None,
        planned.assessment,
        skin=planned.skin,
        needles={a.name: NeedleShape(a.usable_length_mm, a.shaft_diameter_mm) for a in model.catalogue.applicators},
        margin_mm=_margin_mm(planned),
        progress=step,
    )
    return (*pictures, *draw_rehearsal_pictures(outcomes)), missing


def report_route(folder: PlanFolder, planned: PlannedCase) -> dict[str, Any] | None:
    """The robot's route that the report shows: that of the rehearsal, else one that carries out this very plan.

    Raises:
        PlanFileError: a route's file is damaged; the message names it.
    """
    for path in (folder.route, *sorted(folder.robots.glob("*/route.json"), key=_default_robot_first)):
        if path.is_file():
            route = parse_strict(read_whole(path, MAXIMUM_BYTES).decode("utf-8", errors="replace"), str(path))
            try:
                if isinstance(route, dict) and (
                    path == folder.route or route_fits(route, planned.plan, planned.anatomy)
                ):
                    require_route(route)
                    return route
            except PlanFileError as error:
                raise PlanFileError(f"{path}: {error}") from error
    return None


def _default_robot_first(path: Path) -> tuple[bool, str]:
    return path.parent.name != DEFAULT_ROBOT, path.parent.name


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


def rehearsed_outcomes(folder: PlanFolder, planned: PlannedCase) -> list[Outcome]:
    """The outcomes of the rehearsals that a plan's folder holds, the gated one first.

    Raises:
        PlanFileError: one is damaged, or belongs to another case.
    """
    outcomes = []
    for path in (folder.outcome, folder.outcome_ungated):
        if not path.is_file():
            continue
        outcome = read_outcome(path)
        if outcome.case_hash != planned.plan.case_hash:
            raise PlanFileError(f"{path}: the rehearsal belongs to another case than the plan beside it")
        outcomes.append(outcome)
    return outcomes
