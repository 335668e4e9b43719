"""The command line. Only the standard library is imported here, so that --help answers at once."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_INFEASIBLE = 3

DESCRIPTION = (
    "Plan, prove and rehearse needle-based tumour ablation. Research software, not a medical device: "
    "nothing that it prints may guide a treatment."
)


class _Parser(argparse.ArgumentParser):
    """Errors are one sentence, and name the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0]
            known = [option for action in self._every_action() for option in action.option_strings]
            near = difflib.get_close_matches(word.split("=")[0], known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else f"; see '{self.prog} --help'"
            message = f"unknown option {word}{hint}"
        print(f"needleplan: error: {message}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)

    def _every_action(self) -> list[argparse.Action]:
        actions = list(self._actions)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                chosen = next((word for word in sys.argv[1:] if word in action.choices), None)
                parsers = [action.choices[chosen]] if chosen else list(action.choices.values())
                actions += [inner for parser in parsers for inner in parser._actions]
        return actions


def folder_path(text: str) -> Path:
    """The path of a folder; an empty text names none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a folder")
    return Path(text)


def whole_number(text: str) -> int:
    """A whole number of zero or more, for seeds."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"must be a whole number of zero or more, not {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(prog="needleplan", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    demo = command("demo", "The whole chain on the built-in patient: plan, robot, breathing rehearsal, report.")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="folder (out/demo)")
    demo.add_argument("--seed", type=whole_number, default=1, help="seed of patient and rehearsal (1)")

    check = command("check", "Read a case and print its structures and everything that is wrong with it.")
    _add_case(check)

    plan = command("plan", "Plan a case and write plan.json, pictures and report.html.")
    _add_case(plan)
    plan.add_argument("--out", type=folder_path, required=True, metavar="DIR", help="folder for the results")
    plan.add_argument("--no-pictures", action="store_true", help="write no pictures and no report")
    plan.add_argument("--robot", metavar="NAME|FILE", help="plan only paths that this robot reaches")
    _add_gantry(plan)
    _add_search(plan)
    _add_planning(plan)

    paths = command("paths", "Find every needle path of a case, map them on the skin, and explain the rest.")
    _add_case(paths)
    paths.add_argument("--out", type=folder_path, metavar="DIR", help="folder for paths.json and the skin map")
    paths.add_argument("--no-pictures", action="store_true", help="write paths.json only")
    paths.add_argument("--peak-mm", type=float, help="breathing amplitude: follow the listed paths over the breath")
    paths.add_argument("--period-s", type=float, help="breathing period, with --peak-mm (4)")
    paths.add_argument("--trace", type=Path, metavar="FILE", help="a recorded breathing trace instead")
    _add_search(paths)

    simulate = command("simulate", "Let the robot carry out the plan in a folder in a breathing patient.")
    _add_folder(simulate)
    simulate.add_argument("--robot", metavar="NAME|FILE", help="robot (see 'needleplan robots')")
    simulate.add_argument("--peak-mm", type=float, default=15.0, help="breathing amplitude (15)")
    simulate.add_argument("--period-s", type=float, default=4.0, help="breathing period (4)")
    simulate.add_argument("--trace", type=Path, metavar="FILE", help="a recorded breathing trace instead")
    simulate.add_argument("--gate-mm", type=float, default=2.0, help="gate about end-exhale (2)")
    simulate.add_argument("--seed", type=whole_number, default=0, help="seed of the rehearsal (0)")
    simulate.add_argument("--moments", type=int, default=4, help="rehearsals at other moments of the breath (4)")
    simulate.add_argument("--no-film", action="store_true", help="make no film and no stills")

    carry = command(
        "carry", "Let robots carry out the plan in a folder: places, routes, clearances, errors, files."
    )
    _add_folder(carry)
    carry.add_argument(
        "--robot",
        action="append",
        metavar="NAME|FILE",
        help="robot or its TOML; may be repeated (all that come along)",
    )
    _add_gantry(carry)
    carry.add_argument("--needles-stay", action="store_true", help="needles stay in until the last one is placed")
    carry.add_argument(
        "--registration-mm", type=float, metavar="MM", help="registration error at the target, each component (1)"
    )
    carry.add_argument("--seed", type=whole_number, default=0, help="seed of the chances (0)")
    carry.add_argument("--bag", action="store_true", help="write a ROS 2 bag too (needs rosbags)")
    carry.add_argument("--no-pictures", action="store_true", help="write no pictures")

    assess = command("assess", "Score the plan in a folder, and its rehearsals, by the same code.")
    _add_folder(assess)

    report = command("report", "Draw the pictures of a plan folder again and write report.html.")
    _add_folder(report)

    zone = command(
        "zone", "Predict the zone of one applicator, or of a few, in a block of tissue; axes, volume, film."
    )
    _add_zone(zone)

    phantom = command("phantom", "Write the built-in patient as a case: case.toml and a label map.")
    phantom.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the case")
    phantom.add_argument("--seed", type=whole_number, default=1, help="seed of vessels and shapes (1)")
    phantom.add_argument("--random", action="store_true", help="draw size and tumour from the population")
    phantom.add_argument("--voxel-mm", type=float, default=2.0, help="voxel size (2)")

    command("devices", "List the applicators, their zone tables and where each figure comes from.")
    robots = command("robots", "List the robots, or read descriptions of your own and say what is wrong with them.")
    robots.add_argument("files", nargs="*", type=Path, metavar="FILE", help="the TOML beside a URDF")
    return parser


def _add_case(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("case", type=Path, metavar="CASE", help="the case's manifest (case.toml)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="root of relative sources (NEEDLEPLAN_DATA)")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that 'needleplan plan' wrote")
    parser.add_argument("--data", type=Path, metavar="DIR", help="root of relative sources")


def _add_gantry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gantry-bore-mm", type=float, metavar="MM", help="clear a scanner with a bore this wide")
    parser.add_argument(
        "--gantry-at-mm",
        type=float,
        metavar="MM",
        help="from the target to the scanner's middle, to the head (600)",
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("paths")
    group.add_argument("--applicator", default="generic-mwa-2450", metavar="NAME", help="see 'needleplan devices'")
    group.add_argument("--applicators-csv", type=Path, metavar="FILE", help="own applicators (with --zones-csv)")
    group.add_argument("--zones-csv", type=Path, metavar="FILE", help="own zone table (with --applicators-csv)")
    group.add_argument("--entry-spacing-mm", type=float, default=9.0, help="spacing of skin entries (9)")
    group.add_argument("--aims", type=int, default=50, help="points of the target to aim at (50)")
    group.add_argument(
        "--refine", type=whole_number, metavar="N", help="most further paths looked at where one may hide (60000)"
    )
    group.add_argument("--preset", metavar="NAME|FILE", help="limits of a preset; single limits below override it")
    group.add_argument(
        "--clearance",
        action="append",
        default=[],
        metavar="ROLE=MM",
        help="clearance to vessel, airway, bone, lung, bowel, critical or no_go; may be repeated",
    )
    group.add_argument("--skin-angle-deg", type=float, metavar="DEG", help="most from the perpendicular (65)")
    group.add_argument("--table-angle-deg", type=float, metavar="DEG", help="most from straight up (90)")
    group.add_argument("--organ-path-mm", type=float, metavar="MM", help="least organ before the target (0)")


def _add_planning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("planning")
    group.add_argument("--setting", choices=("in_vivo", "ex_vivo"), default="in_vivo", help="zone table (in_vivo)")
    group.add_argument("--margin-mm", type=float, default=5.0, help="margin about the target (5)")
    group.add_argument("--max-insertions", type=int, default=12, help="most punctures (12)")
    group.add_argument("--time-limit-s", type=float, default=30.0, help="time of each exact search (30)")
    group.add_argument("--seed", type=whole_number, default=0, help="seed of every random draw (0)")
    goals = parser.add_argument_group("coverage")
    goals.add_argument("--wanted-margin-mm", type=float, metavar="MM", help="margin to go on to (as --margin-mm)")
    goals.add_argument(
        "--levels", metavar="GOALS", help="order of goals (insertions,ablations,margin,spared; time)"
    )
    goals.add_argument("--needles-at-once", type=whole_number, metavar="N", help="in the patient together (all)")
    goals.add_argument(
        "--thermal-margin",
        action="append",
        default=[],
        metavar="ROLE=MM",
        help="of the lethal zone to critical, bowel, airway, lung, vessel, bone or skin; =none asks for none",
    )
    goals.add_argument("--least-organ-fraction", type=float, metavar="F", help="of the organ that must stay whole")
    goals.add_argument("--no-refine", action="store_true", help="leave the needles where the paths were sampled")
    checks = parser.add_argument_group("physics and errors")
    checks.add_argument("--no-physics", action="store_true", help="do not check the plan by a solver")
    checks.add_argument(
        "--tumour", default="HCC", metavar="TISSUE", help="tissue of the target for the solver (HCC)"
    )
    checks.add_argument(
        "--physics-rounds", type=whole_number, default=2, metavar="N", help="plans it may ask for (2)"
    )
    checks.add_argument(
        "--error-budget", default="robot", metavar="NAME", help="freehand-ct, navigated, robot (robot)"
    )
    checks.add_argument("--most-probable", action="store_true", help="choose the plan that most often covers")
    checks.add_argument(
        "--required-chance", type=float, metavar="P", help="fewest insertions that cover with this chance"
    )
    checks.add_argument("--chance-margin-mm", type=float, default=0.0, metavar="MM", help="margin it is of (0)")
    checks.add_argument(
        "--scenarios", type=whole_number, default=500, metavar="N", help="of errors; 0 for none (500)"
    )


def _add_zone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("applicator", metavar="APPLICATOR", help="see 'needleplan devices'")
    parser.add_argument("--model", choices=("table", "solver", "fast"), default="solver", help="how (solver)")
    parser.add_argument("--out", type=folder_path, metavar="DIR", help="folder for zone.json and pictures")
    parser.add_argument("--film", action="store_true", help="film of the growing zone too, with --out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures alone")
    energy = parser.add_argument_group("energy")
    energy.add_argument(
        "--power-w", type=float, help="power of the generator, for microwave and laser, and for RFA"
    )
    energy.add_argument("--duration-s", type=float, help="of energy, or of one freeze (300 MWA, 720 RFA, else 600)")
    energy.add_argument("--voltage-v", type=float, help="between neighbouring electrodes, for pulses (1500 V/cm)")
    energy.add_argument("--pulses", type=whole_number, metavar="N", help="pulses of each pair (90)")
    energy.add_argument("--freezes", type=whole_number, metavar="N", help="freezes of cryoprobes (2)")
    energy.add_argument("--thaw-s", type=float, help="passive thaw between two freezes (300)")
    tissue = parser.add_argument_group("tissue and vessel")
    tissue.add_argument(
        "--tissue", default="liver", metavar="NAME", help="for instance kidney, lung_inflated, CRLM (liver)"
    )
    tissue.add_argument("--perfusion-factor", type=float, default=1.0, metavar="F", help="on its perfusion (1)")
    tissue.add_argument(
        "--vessel-diameter-mm", type=float, help="a straight vessel of 3 mm or more beside the needle"
    )
    tissue.add_argument("--vessel-distance-mm", type=float, help="from the needle's axis to the vessel's")
    tissue.add_argument(
        "--vessel", choices=("parallel", "across"), default="parallel", help="its course (parallel)"
    )
    probes = parser.add_argument_group("several probes")
    probes.add_argument(
        "--probes", type=whole_number, default=1, metavar="N", help="2 in a line, 3, or 4 in a square (1)"
    )
    probes.add_argument("--distance-mm", type=float, help="between neighbouring ones")
    probes.add_argument("--delivery", choices=("sequential", "simultaneous", "switched"), help="(as is usual)")
    grid = parser.add_argument_group("computation")
    grid.add_argument("--spacing-mm", type=float, help="side of the solver's voxels (0.75 to 1.5)")
    grid.add_argument("--reach-mm", type=float, help="room about the active parts, more for large zones (20 to 35)")
    grid.add_argument("--setting", choices=("in_vivo", "ex_vivo"), default="in_vivo", help="zone table (in_vivo)")


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

        run = getattr(commands, f"run_{options.command}")
        return int(run(options))
    except NeedleplanError as error:
        print(f"needleplan: error: {error}", file=sys.stderr)
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
        print(f"needleplan: error: {where}{error.strerror or error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("needleplan: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
