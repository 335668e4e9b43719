"""What each command of the command line does."""

import time
from argparse import Namespace

import numpy as np
from rich.console import Console
from rich.markup import escape

from needleplan.app.cli import EXIT_INFEASIBLE, EXIT_OK
from needleplan.app.folder import PlanFolder
from needleplan.app.progress import progress_bar
from needleplan.app.search_options import planning_from, search_from
from needleplan.app.summary import print_metrics, print_paths, print_plan, print_where
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import CaseError, OptionError
from needleplan.plan import PlanStatus


def run_check(options: Namespace) -> int:
    """Print a case's structures and findings."""
    from needleplan.app.check import render_report
    from needleplan.case.load import inspect_case

    console = Console()
    with progress_bar(console, "reading the case"):
        report = inspect_case(options.case, options.data)
    if report.case is None:
        # The refusal is the answer: one sentence on the error stream, the table for whoever reads on.
        first = report.refused[0]
        if report.rows:
            render_report(report, console)
        sentence = f"{first.message}; {first.remedy}" if first.remedy else first.message
        raise CaseError(sentence)
    render_report(report, console)
    return EXIT_OK


def run_plan(options: Namespace) -> int:
    """Plan a case and write its folder."""
    from needleplan.app.outputs import write_plan_folder
    from needleplan.app.pipeline import plan_case
    from needleplan.case.load import load_case

    console = Console()
    planning_options, zone_model = planning_from(options)
    tables = None
    if options.applicators_csv is not None:
        tables = (options.applicators_csv.read_bytes(), options.zones_csv.read_bytes())
    reach = None
    if options.robot is not None:
        from needleplan.app.robot_planning import ReachOfBestPlace, gantry_from
        from robots.catalogue import load_robot

        gantry = gantry_from(options.gantry_bore_mm, options.gantry_at_mm)
        reach = ReachOfBestPlace(load_robot(options.robot), planning_options, zone_model, None, gantry)
    elif options.gantry_bore_mm is not None or options.gantry_at_mm is not None:
        raise OptionError("a scanner is what a robot must keep clear of: name a robot by --robot")
    start = time.perf_counter()
    with progress_bar(console, "reading the case"):
        case = load_case(options.case, options.data)
    loaded_s = time.perf_counter() - start
    # A folder that cannot be made is better told before the planning than after it.
    options.out.mkdir(parents=True, exist_ok=True)
    with progress_bar(console, f"planning {case.name}") as progress:
        planned = plan_case(
            case, planning_options, zone_model=zone_model, reach=reach, timings_s={"read case": loaded_s},
            progress=progress,
        )  # fmt: skip
    folder = PlanFolder(options.out)
    with progress_bar(console, "drawing") as progress:
        write_plan_folder(
            folder, planned, options.case, options.data,
            tables=tables, pictures=not options.no_pictures, progress=progress,
        )  # fmt: skip
    print_plan(console, planned.plan)
    if reach is not None:
        console.print(f"  {escape(reach.sentence)}", soft_wrap=True)
    places = [("plan", str(folder.plan))]
    if not options.no_pictures:
        places += [("pictures", str(folder.pictures)), ("report", str(folder.report))]
    print_where(console, places)
    return EXIT_INFEASIBLE if planned.plan.status is PlanStatus.INFEASIBLE else EXIT_OK


def run_paths(options: Namespace) -> int:
    """Find, map and explain the paths of a case."""
    from needleplan.anatomy.build import build_anatomy
    from needleplan.anatomy.queries import AnatomyQueries
    from needleplan.app.breathing_options import BreathingAxes, breathing_from
    from needleplan.app.path_files import write_paths
    from needleplan.app.paths import study_paths
    from needleplan.case.load import load_case

    console = Console()
    if options.period_s is not None and options.peak_mm is None:
        raise OptionError("--period-s is the period of the breathing whose amplitude --peak-mm states: give both")
    search, catalogue = search_from(options)
    applicator = (catalogue or builtin_catalogue()).applicator(search.applicator)
    times: dict[str, float] = {}
    start = time.perf_counter()
    with progress_bar(console, "reading the case") as progress:
        case = load_case(options.case, options.data)
        times["read case"] = round(time.perf_counter() - start, 4)
        anatomy = build_anatomy(case, progress)
        times["build anatomy"] = round(time.perf_counter() - start - times["read case"], 4)
    motion = None
    if options.trace is not None or options.peak_mm is not None:
        motion = breathing_from(options, BreathingAxes.of(case)).motion(0)
    with progress_bar(console, f"searching paths of {case.name}") as progress:
        study = study_paths(AnatomyQueries(anatomy), applicator, search, times, motion, progress)
    print_paths(console, study)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        with progress_bar(console, "writing"):
            places = write_paths(options.out, study, anatomy, pictures=not options.no_pictures)
        print_where(console, places)
    return EXIT_OK if study.feasible else EXIT_INFEASIBLE


def run_simulate(options: Namespace) -> int:
    """Rehearse the plan in a folder."""
    from needleplan.app.simulate_command import run

    return run(options)


def run_rehearse(options: Namespace) -> int:
    """Rehearse the plan in a folder many times."""
    from needleplan.app.rehearse_command import run

    return run(options)


def run_new_case(options: Namespace) -> int:
    """Make a case from label maps."""
    from needleplan.app.new_case_command import run_new_case as run

    return run(options)


def run_completion(options: Namespace) -> int:
    """Print the completion script of a shell."""
    from needleplan.app.completion_command import run_completion as run

    return run(options)


def run_view(options: Namespace) -> int:
    """Open a plan as a page."""
    from needleplan.app.view_command import run_view as run

    return run(options)


def run_study(options: Namespace) -> int:
    """Compute a study."""
    from needleplan.app.study_command import run_study_command

    return run_study_command(options)


def run_export(options: Namespace) -> int:
    """Write a plan for other programs."""
    from needleplan.app.export_command import run_export as run

    return run(options)


def run_serve(options: Namespace) -> int:
    """Serve a plan over OpenIGTLink."""
    from needleplan.app.serve_command import run_serve as run

    return run(options)


def run_replay(options: Namespace) -> int:
    """Tell a recorded session again."""
    from needleplan.app.replay_command import run_replay as run

    return run(options)


def run_confirm(options: Namespace) -> int:
    """Confirm an ablation by its scans."""
    from needleplan.app.confirm_command import run_confirm as run

    return run(options)


def run_assess(options: Namespace) -> int:
    """Score plan and rehearsals of a folder."""
    from needleplan.app.outputs import assess_folder, load_planned

    console = Console()
    folder = PlanFolder(options.folder)
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    scores = assess_folder(folder, planned)
    if not scores:
        raise OptionError(f"{folder.plan}: the plan holds no insertion, so there is nothing to score")
    for name, metrics in scores.items():
        print_metrics(console, metrics, name)
    print_where(console, [("scores", str(folder.assessment))])
    return EXIT_OK


def run_report(options: Namespace) -> int:
    """Draw pictures and report of a folder again."""
    from needleplan.app.outputs import load_planned, write_report_again

    console = Console()
    folder = PlanFolder(options.folder)
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    with progress_bar(console, "drawing") as progress:
        write_report_again(folder, planned, progress)
    print_where(console, [("report", str(folder.report))])
    return EXIT_OK


def run_demo(options: Namespace) -> int:
    """The whole chain on the built-in patient."""
    from needleplan.anatomy.phantom import PhantomParameters, make_phantom
    from needleplan.app.outputs import write_plan_folder, write_report_again
    from needleplan.app.phantom_files import save_phantom
    from needleplan.app.pipeline import plan_case
    from needleplan.app.rehearsal_outputs import rehearse_into
    from needleplan.case.load import load_case
    from needleplan.motion.lujan import LujanMotion
    from needleplan.plan_physics import PhysicsPlanning
    from needleplan.planning import PlanningOptions
    from needleplan.uncertainty.likelihoods import ErrorOptions

    console = Console()
    folder = PlanFolder(options.out)
    with progress_bar(console, "building the patient"):
        phantom = make_phantom(PhantomParameters(), np.random.default_rng(options.seed))
        manifest = save_phantom(phantom, options.out / "case")
        case = load_case(manifest)
    with progress_bar(console, "planning") as progress:
        options_of_plan = PlanningOptions(physics=PhysicsPlanning("CRLM", rounds=1), errors=ErrorOptions())
        planned = plan_case(case, options_of_plan, progress=progress)
    write_plan_folder(folder, planned, manifest, None, pictures=False)
    print_plan(console, planned.plan)
    if planned.plan.status is PlanStatus.INFEASIBLE:
        return EXIT_INFEASIBLE
    rehearse_into(console, folder, planned, LujanMotion(), seed=options.seed)
    with progress_bar(console, "drawing") as progress:
        write_report_again(folder, planned, progress)
    print_where(
        console,
        [
            ("plan", str(folder.plan)),
            ("outcome", str(folder.outcome)),
            ("pictures", str(folder.pictures)),
            ("film", str(folder.film)),
            ("report", str(folder.report)),
        ],
    )
    return EXIT_OK


def run_zone(options: Namespace) -> int:
    """Predict the zone of an applicator in a block of tissue."""
    from needleplan.app import zone_command

    return zone_command.run(options)


def run_phantom(options: Namespace) -> int:
    """Write the built-in patient as a case."""
    from needleplan.anatomy.phantom import PhantomParameters, make_phantom, random_parameters
    from needleplan.app.phantom_files import save_phantom

    console = Console()
    generator = np.random.default_rng(options.seed)
    parameters = random_parameters(generator) if options.random else PhantomParameters()
    with progress_bar(console, "building the patient"):
        manifest = save_phantom(make_phantom(parameters, generator), options.out, options.voxel_mm)
    print_where(console, [("case", str(manifest))])
    return EXIT_OK


def run_devices(options: Namespace) -> int:
    """List applicators with zones and sources."""
    console = Console()
    catalogue = builtin_catalogue()
    console.print("Zone tables are models or single publications unless they say vendor.\n")
    for applicator in catalogue.applicators:
        rows = [row for row in catalogue.zones if row.applicator == applicator.name]
        settings = sorted({row.setting for row in rows})
        counts = ", ".join(f"{name}: {sum(row.setting == name for row in rows)} zones" for name in settings)
        vendor = "vendor table" if applicator.is_vendor_table else "no vendor table"
        zones = counts or "no zone table"
        console.print(f"[bold]{escape(applicator.name)}[/]  {escape(applicator.modality)}, {vendor}, {zones}")
        console.print(f"    {escape(applicator.description)}", soft_wrap=True)
        for source in sorted({f"{row.source} ({row.provenance}, confidence {row.confidence})" for row in rows}):
            console.print(f"    source: {escape(source)}", soft_wrap=True)
        console.print(f"    lengths: {escape(applicator.geometry_source)}", soft_wrap=True)
    return EXIT_OK


def run_carry(options: Namespace) -> int:
    """Let robots carry out the plan in a folder."""
    from needleplan.app.carry_command import run

    return run(options)


def run_robots(options: Namespace) -> int:
    """List the robots, or those that files describe."""
    from robots.catalogue import list_robots, load_robot

    console = Console()
    for robot in [load_robot(name) for name in options.files or list_robots()]:
        low, high = robot.q_min, robot.q_max
        joints = ", ".join(
            f"{name} {low[k]:+.2f} to {high[k]:+.2f} {'m' if robot.chain.prismatic[k] else 'rad'}"
            for k, name in enumerate(robot.joint_names)
        )
        console.print(f"[bold]{escape(robot.name)}[/]: {escape(robot.summary)}", soft_wrap=True)
        console.print(
            f"    {len(robot.joint_names)} joints, stands on the {robot.mount.value}, reaches {robot.reach_m:.2f} "
            f"m from its first joint, driver {robot.driver_stroke_m * 1e3:.0f} mm",
            soft_wrap=True,
        )
        console.print(f"    joints: {escape(joints)}", soft_wrap=True)
        console.print(f"    errors: {escape(robot.error.source)}", soft_wrap=True)
    return EXIT_OK
