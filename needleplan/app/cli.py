"""The command line. Only the standard library is imported here, so that --help answers at once."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from needleplan.app.argument_groups import (
    add_breathing,
    add_case,
    add_folder,
    add_gantry,
    add_planning,
    add_search,
    add_zone,
    folder_path,
    whole_number,
)
from needleplan.app.command_parser import CommandParser
from needleplan.app.completion_command import add_completion
from needleplan.app.confirm_command import add_confirm
from needleplan.app.export_command import add_export
from needleplan.app.hints import with_nearest_file, with_nearest_name
from needleplan.app.new_case_command import add_new_case
from needleplan.app.replay_command import add_replay
from needleplan.app.serve_command import add_serve
from needleplan.app.study_command import add_study
from needleplan.app.view_command import add_view

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_INFEASIBLE = 3

DESCRIPTION = (
    "Plan, prove and rehearse needle-based tumour ablation. Research software, not a medical device: "
    "nothing that it prints may guide a treatment."
)


STRATEGY_HELP = "how breathing is met: free-breathing, amplitude-gating, phase-gating, breath-hold, tracking"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = CommandParser(prog="needleplan", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=CommandParser)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    demo = command("demo", "The whole chain on the built-in patient: plan, robot, breathing rehearsal, report.")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="folder (out/demo)")
    demo.add_argument("--seed", type=whole_number, default=1, help="seed of patient and rehearsal (1)")

    add_new_case(
        command("new-case", "Make a case.toml from a folder of label maps, by the names of their classes.")
    )

    check = command("check", "Read a case and print its structures and everything that is wrong with it.")
    add_case(check)

    plan = command("plan", "Plan a case and write plan.json, pictures and report.html.")
    add_case(plan)
    plan.add_argument("--out", type=folder_path, required=True, metavar="DIR", help="folder for the results")
    plan.add_argument("--no-pictures", action="store_true", help="write no pictures and no report")
    plan.add_argument("--robot", metavar="NAME|FILE", help="plan only paths that this robot reaches")
    add_gantry(plan)
    add_search(plan)
    add_planning(plan)

    paths = command("paths", "Find every needle path of a case, map them on the skin, and explain the rest.")
    add_case(paths)
    paths.add_argument("--out", type=folder_path, metavar="DIR", help="folder for paths.json and the skin map")
    paths.add_argument("--no-pictures", action="store_true", help="write paths.json only")
    paths.add_argument("--peak-mm", type=float, help="breathing amplitude: follow the listed paths over the breath")
    paths.add_argument("--period-s", type=float, help="breathing period, with --peak-mm (4)")
    paths.add_argument("--trace", type=Path, metavar="FILE", help="a recorded breathing trace instead")
    add_search(paths)

    simulate = command("simulate", "Let the robot carry out the plan in a folder in a breathing patient.")
    add_folder(simulate)
    add_breathing(simulate)
    simulate.add_argument(
        "--strategy", metavar="NAME", default="amplitude-gating", help=f"{STRATEGY_HELP} (amplitude-gating)"
    )
    simulate.add_argument("--seed", type=whole_number, default=0, help="seed of the rehearsal (0)")
    simulate.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[@N[:SHARE]]",
        help="what goes wrong at needle N and a share of its depth; may be repeated",
    )
    simulate.add_argument("--moments", type=int, default=4, help="rehearsals at other moments of the breath (4)")
    simulate.add_argument("--no-film", action="store_true", help="make no film and no stills")
    simulate.add_argument("--display", action="store_true", help="show the simulation in a window")

    rehearse = command(
        "rehearse", "Rehearse the plan in a folder many times: error distributions by strategy, an error budget."
    )
    add_folder(rehearse)
    rehearse.add_argument("--runs", type=whole_number, default=100, metavar="N", help="of each strategy (100)")
    rehearse.add_argument(
        "--strategy",
        metavar="NAME[,NAME...]",
        default="amplitude-gating",
        help=f"{STRATEGY_HELP}, or all (amplitude-gating)",
    )
    rehearse.add_argument("--seed", type=whole_number, default=0, help="seed of the first run (0)")
    rehearse.add_argument(
        "--noise",
        metavar="robot|none|MM",
        default="robot",
        help="placement error: published robots', or its SD (robot)",
    )
    rehearse.add_argument("--jobs", type=whole_number, metavar="N", help="processes (one a core)")
    rehearse.add_argument("--out", type=folder_path, metavar="OUT", help="folder for the results (DIR/rehearsals)")
    add_breathing(rehearse)

    carry = command(
        "carry", "Let robots carry out the plan in a folder: places, routes, clearances, errors, files."
    )
    add_folder(carry)
    carry.add_argument(
        "--robot",
        action="append",
        metavar="NAME|FILE",
        help="robot or its TOML; may be repeated (all that come along)",
    )
    add_gantry(carry)
    carry.add_argument("--needles-stay", action="store_true", help="needles stay in until the last one is placed")
    carry.add_argument(
        "--registration-mm", type=float, metavar="MM", help="registration error at the target, each component (1)"
    )
    carry.add_argument("--seed", type=whole_number, default=0, help="seed of the chances (0)")
    carry.add_argument("--bag", action="store_true", help="write a ROS 2 bag too (needs rosbags)")
    carry.add_argument("--no-pictures", action="store_true", help="write no pictures")

    assess = command("assess", "Score the plan in a folder, and its rehearsals, by the same code.")
    add_folder(assess)

    report = command("report", "Draw the pictures of a plan folder again and write report.html.")
    add_folder(report)

    add_view(
        command(
            "view", "Open a plan as a page in the browser: turn the scene, move needles, compare, save, export."
        )
    )
    add_study(
        command("study", "Many cases crossed with many factors, by a study file: tables, comparisons, report.")
    )
    add_export(command("export", "Write a plan for other programs: 3D Slicer, DICOM, CSV, a sheet to print."))
    add_serve(command("serve", "Publish a plan over OpenIGTLink, take tracked poses, answer with live guidance."))
    add_replay(command("replay", "Tell a recorded session again and compare every answer."))
    add_confirm(
        command("confirm", "Margins by the scans before and after: where tumour was left, and what to do about it.")
    )

    zone = command(
        "zone", "Predict the zone of one applicator, or of a few, in a block of tissue; axes, volume, film."
    )
    add_zone(zone)

    phantom = command("phantom", "Write the built-in patient as a case: case.toml and a label map.")
    phantom.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the case")
    phantom.add_argument("--seed", type=whole_number, default=1, help="seed of vessels and shapes (1)")
    phantom.add_argument("--random", action="store_true", help="draw size and tumour from the population")
    phantom.add_argument("--voxel-mm", type=float, default=2.0, help="voxel size (2)")

    command("devices", "List the applicators, their zone tables and where each figure comes from.")
    robots = command("robots", "List the robots, or read descriptions of your own and say what is wrong with them.")
    robots.add_argument(
        "files", nargs="*", type=Path, metavar="NAME|FILE", help="a robot, or the TOML beside a URDF"
    )

    add_completion(command("completion", "Print a script that completes commands, options and names in a shell."))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0: done. 2: bad input, told in one sentence. 3: no needle path satisfies the hard constraints.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.version:
        from needleplan import __version__

        print(f"needleplan {__version__}")
        return EXIT_OK
    if options.command is None:
        parser.print_help()
        return EXIT_OK
    from needleplan.errors import NeedleplanError

    try:
        from needleplan.app import commands

        run = getattr(commands, f"run_{options.command.replace('-', '_')}")
        return int(run(options))
    except NeedleplanError as error:
        print(f"needleplan: error: {with_nearest_file(with_nearest_name(str(error)), options)}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("needleplan: error: not enough memory for what was asked: ask for fewer candidates", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # The reader of our output went away; what was to be written is written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sentence = with_nearest_file(f"{where}{error.strerror or error}", options)
        print(f"needleplan: error: {sentence}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("needleplan: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
