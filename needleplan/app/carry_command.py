"""What the carry command does: robots carry out the plan of a folder, and a table says how well."""

import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from needleplan.app.carry import Carried, carried_to_json, carry_out
from needleplan.app.cli import EXIT_INFEASIBLE, EXIT_OK
from needleplan.app.folder import PlanFolder
from needleplan.app.pipeline import assumed_registration, default_route_options
from needleplan.app.progress import progress_bar
from needleplan.app.robot_planning import gantry_from
from needleplan.app.summary import print_where
from needleplan.app.whole_folder import whole_folder
from needleplan.errors import OptionError
from needleplan.io.plan_file import write_json, write_text
from needleplan.percentages import chance_in_percent
from needleplan.viz.canvas import Picture
from robots.catalogue import list_robots, load_robot
from robots.ros_message import write_trajectory_bag
from robots.route import route_to_json
from robots.semantic_description import srdf_text
from robots.standing_robot import stand_in_world
from robots.trajectory_text import route_to_csv

#: The file by which a folder is known to be one of these.
MAIN_FILE = "carried.json"


def run(options: Namespace) -> int:
    """Let each robot carry out the plan; write its files and print the table."""
    from needleplan.app.outputs import load_planned

    console = Console()
    folder = PlanFolder(options.folder)
    names = options.robot or list(list_robots())
    robots = [load_robot(name) for name in names]
    doubled = sorted({robot.name for robot in robots if sum(other.name == robot.name for other in robots) > 1})
    if doubled:
        raise OptionError(f"the robot {doubled[0]} is named twice: give each robot once")
    gantry = gantry_from(options.gantry_bore_mm, options.gantry_at_mm)
    if options.registration_mm is not None and not 0 <= options.registration_mm <= 50:
        raise OptionError(f"--registration-mm must lie between 0 and 50, not {options.registration_mm:g}")
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    if not planned.plan.insertions:
        raise OptionError(f"{folder.plan}: the plan holds no insertion, so there is nothing to carry out")
    registration = assumed_registration(planned.anatomy, options.registration_mm)
    carried = []
    for name, robot in zip(names, robots, strict=True):
        with progress_bar(console, f"{escape(robot.name)} carries out the plan") as progress:
            found = carry_out(
                planned, name, options=default_route_options(robot, options.needles_stay), gantry=gantry,
                registration=registration, seed=options.seed, progress=progress,
            )  # fmt: skip
            pictures: tuple[Picture, ...] = ()
            if not options.no_pictures:
                from needleplan.app.robot_pictures import draw_robot_pictures

                pictures = draw_robot_pictures(found.plan, planned.anatomy, planned.plan.insertions, gantry)
            write_carried(folder.robots / robot.name, found, pictures, bag=options.bag)
        carried.append(found)
    print_carried(console, carried)
    print_where(console, [("robots", str(folder.robots))])
    return EXIT_OK if any(found.plan.base.route.reached.all() for found in carried) else EXIT_INFEASIBLE


def write_carried(folder: Path, carried: Carried, pictures: Sequence[Picture] = (), bag: bool = False) -> None:
    """Routes, trajectories, the robot as it stands, what is expected of it and pictures, as files of one folder.

    The folder takes the place of the one that was written before, whole or not at all.

    Raises:
        OptionError: what stands there was not written by this.
    """
    with whole_folder(folder, MAIN_FILE, "carry") as unfinished:
        _write_into(unfinished, carried, bag)
        for picture in pictures:
            picture.save(unfinished)


def _write_into(folder: Path, carried: Carried, bag: bool) -> None:
    base, robot = carried.plan.base, carried.plan.robot
    write_json(folder / MAIN_FILE, carried_to_json(carried))
    write_json(folder / "route.json", route_to_json(base.route))
    write_text(folder / "trajectory.csv", route_to_csv(base.route, robot))
    standing = stand_in_world(robot, base.X_WB)
    write_text(folder / "robot.urdf", standing.urdf)
    write_text(folder / "robot.srdf", srdf_text(robot))
    for name, source in standing.meshes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    if bag and base.route.reached.any():
        write_trajectory_bag(base.route, robot, folder / "bag")


_LABELS = (
    "insertions reached", "alternatives reached", "least manipulability, of its best", "nearest joint limit",
    "arm to patient", "motion without waiting", "error across the needle", "error along it", "error of its angle",
    "chance: target covered", "chance: 5 mm margin",
)  # fmt: skip


def _figures(found: Carried) -> tuple[str, ...]:
    """What the table says of one robot."""
    base, errors = found.plan.base, found.plan.errors
    reached = f"{found.reached_count} of {len(base.route.insertions)}"
    alternatives = f"{base.alternatives_share:.0%}"
    if not errors:
        return (reached, alternatives, *("–",) * (len(_LABELS) - 2))
    clearance = found.patient_clearance_m
    chances = [chance_in_percent(chance)[0] for chance in found.chances[:2]] or ["–", "–"]
    return (
        reached,
        alternatives,
        f"{found.manipulability:.0%}",
        f"{found.limit_margin:.0%}",
        "–" if clearance is None else f"{clearance * 1e3:.0f} mm",
        f"{base.route.duration_s:.0f} s",
        f"{max(error.lateral_rms_mm for error in errors):.2f} mm",
        f"{max(error.depth_std_mm for error in errors):.2f} mm",
        f"{max(error.angle_rms_deg for error in errors):.2f}°",
        *chances,
    )


def print_carried(console: Console, carried: list[Carried]) -> None:
    """One row a robot, then what each could not do."""
    table = Table(title="the plan, carried out", title_justify="left")
    table.add_column("")
    for found in carried:
        table.add_column(escape(found.name), justify="right")
    for label, values in zip(_LABELS, zip(*(_figures(found) for found in carried), strict=True), strict=True):
        table.add_row(label, *values)
    console.print(table)
    console.print(
        "Errors are the greatest over the needles: root mean square across the needle and of its angle, standard "
        "deviation along it; the chance is that of the plan under them, with breathing and bending of the error "
        "budget 'robot'.",
        soft_wrap=True,
    )
    for found in carried:
        for item in found.plan.base.evidence:
            remedy = f" {item.remedy}" if item.remedy else ""
            console.print(
                f"  {escape(found.name)}, {escape(item.subject)}: {escape(item.finding + remedy)}", soft_wrap=True
            )
