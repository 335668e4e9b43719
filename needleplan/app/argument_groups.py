"""Options that commands share, in groups. Only the standard library is imported here, as in the command line."""

import argparse
from pathlib import Path


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


def add_case(parser: argparse.ArgumentParser) -> None:
    """A case and the root of its data."""
    parser.add_argument("case", type=Path, metavar="CASE", help="the case's manifest (case.toml)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="root of relative sources (NEEDLEPLAN_DATA)")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The folder of a plan."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that 'needleplan plan' wrote")
    parser.add_argument("--data", type=Path, metavar="DIR", help="root of relative sources")


def add_gantry(parser: argparse._ActionsContainer) -> None:
    """The scanner's ring."""
    parser.add_argument("--gantry-bore-mm", type=float, metavar="MM", help="clear a scanner with a bore this wide")
    parser.add_argument(
        "--gantry-at-mm",
        type=float,
        metavar="MM",
        help="from the target to the scanner's middle, to the head (600)",
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """What paths are searched and kept."""
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


def add_planning(parser: argparse.ArgumentParser) -> None:
    """How a plan is made and checked."""
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


def add_zone(parser: argparse.ArgumentParser) -> None:
    """An applicator, its energy, tissue and grid."""
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


def add_breathing(parser: argparse.ArgumentParser) -> None:
    """How the patient breathes, how that is met, and the robot that does it."""
    group = parser.add_argument_group("breathing")
    group.add_argument("--peak-mm", type=float, default=15.0, help="breathing amplitude (15)")
    group.add_argument("--period-s", type=float, default=4.0, help="breathing period (4)")
    group.add_argument("--trace", type=Path, metavar="FILE", help="a recorded breathing trace instead")
    group.add_argument("--irregular", action="store_true", help="no two breaths alike, drawn from the seed")
    group.add_argument("--lag-deg", type=float, metavar="DEG", help="the organ follows the skin by so much (0)")
    group.add_argument("--gate-mm", type=float, default=2.0, help="amplitude gate about end-exhale (2)")
    group = parser.add_argument_group("robot")
    group.add_argument("--robot", metavar="NAME|FILE", help="robot (see 'needleplan robots')")
    add_gantry(group)
    group.add_argument("--stepwise-mm", type=float, metavar="MM", help="insert by steps, a control scan after each")
