"""The confirm command: its options, what it prints and writes. Only the standard library is imported at the top."""

import argparse
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from needleplan.app.argument_groups import folder_path

if TYPE_CHECKING:
    from rich.console import Console

    from needleplan.confirmation.confirm import Confirmation
    from needleplan.confirmation.residue import Residue

#: The file by which a folder is known to be one of these.
MAIN_FILE = "confirmation.json"
#: More pieces of what was left are not printed.
_PRINTED_PIECES = 5


def add_confirm(parser: argparse.ArgumentParser) -> None:
    """Options of the confirm command."""
    parser.add_argument("--tumour", required=True, metavar="FILE[:NAME]", help="tumour in the scan before")
    parser.add_argument("--zone", required=True, metavar="FILE[:NAME]", help="zone in the scan after")
    parser.add_argument("--organ-before", metavar="FILE[:NAME]", help="organ in the scan before; its capsule")
    parser.add_argument("--organ-after", metavar="FILE[:NAME]", help="the same organ in the scan after")
    parser.add_argument("--unit", choices=("um", "mm", "cm", "m"), help="length unit, where the maps state none")
    parser.add_argument("--frame", choices=("LPS", "RAS", "LAS"), help="axes of .vti maps, which state none")
    group = parser.add_argument_group("how the scan after lies to the scan before (one of these)")
    group.add_argument(
        "--transform",
        type=Path,
        metavar="FILE",
        help="rigid transform of ITK (.tfm, .h5) with fixed = before, moving = after: TransformPoint takes points "
        "of the scan before to the scan after; in 3D Slicer the transform that moves the scan after onto the scan "
        "before",
    )
    group.add_argument("--landmarks-before", type=Path, metavar="FILE", help="3D Slicer points (.mrk.json)")
    group.add_argument("--landmarks-after", type=Path, metavar="FILE", help="the same points, by their labels")
    group.add_argument("--by-organ", action="store_true", help="by the organ's surface in both scans")
    group.add_argument("--same-frame", action="store_true", help="both are in one frame as they are")
    group.add_argument(
        "--error-mm", type=float, metavar="MM", help="its error at the tumour (of a landmark), root mean square"
    )
    parser.add_argument("--margin-mm", type=float, default=5.0, metavar="MM", help="margin to be reached (5)")
    parser.add_argument(
        "--capsule-mm", type=float, default=5.0, metavar="MM", help="less than this below it lies beside it (5)"
    )
    parser.add_argument(
        "--capsule-rule",
        default="inward",
        choices=("inward", "excluded", "none"),
        help="only organ that was left counts, or nothing beside the capsule, or no rule (inward)",
    )
    parser.add_argument("--plan", type=folder_path, metavar="DIR", help="plan to print beside what was achieved")
    parser.add_argument("--data", type=Path, metavar="DIR", help="root of the relative sources of its case")
    parser.add_argument("--patient-key", metavar="HEX", help="pseudonym of the patient, which its case must share")
    parser.add_argument("--out", type=folder_path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--no-pictures", action="store_true", help="write no pictures")


def run_confirm(options: Namespace) -> int:
    """Confirm an ablation; 0 where the margin is reached, 3 where it is not."""
    from dataclasses import replace

    from rich.console import Console

    from needleplan.app.cli import EXIT_INFEASIBLE, EXIT_OK
    from needleplan.app.confirm_inputs import read_alignment, read_mask, require_frame_is_used
    from needleplan.app.confirm_plan import read_planned
    from needleplan.app.progress import progress_bar
    from needleplan.app.summary import print_where
    from needleplan.app.whole_folder import require_own_folder
    from needleplan.confirmation.confirm import confirm
    from needleplan.confirmation.options import CapsuleRule, ConfirmationOptions
    from needleplan.errors import OptionError
    from needleplan.io.frame import FileFrame, FileUnit

    console = Console()
    require_own_folder(options.out, MAIN_FILE, "confirm")
    chosen = ConfirmationOptions(
        margin_mm=options.margin_mm,
        capsule_mm=options.capsule_mm,
        capsule_rule=CapsuleRule(options.capsule_rule),
    )
    require_frame_is_used(options)
    if options.plan is None and (options.patient_key is not None or options.data is not None):
        raise OptionError("--patient-key and --data go with --plan")
    frame = None if options.frame is None else FileFrame(options.frame)
    unit = None if options.unit is None else FileUnit(options.unit)
    with progress_bar(console, "reading and aligning the maps"):
        tumour, zone = read_mask(options.tumour, frame, unit), read_mask(options.zone, frame, unit)
        before, after = (
            None if text is None else read_mask(text, frame, unit)
            for text in (options.organ_before, options.organ_after)
        )
        planned, said = (
            (None, ())
            if options.plan is None
            else read_planned(options.plan, tumour, options.data, options.patient_key)
        )
        alignment = read_alignment(options, tumour, zone, before, after)
    with progress_bar(console, "measuring margins") as progress:
        found = confirm(
            tumour.mask,
            zone.mask,
            alignment,
            organ_before=None if before is None else before.mask,
            organ_after=None if after is None else after.mask,
            options=chosen,
            progress=progress,
        )
    found = replace(found, notes=found.notes + said)
    read = {"tumour": tumour, "zone": zone, "organ_before": before, "organ_after": after}
    inputs = {name: one.mask for name, one in read.items() if one is not None}
    write_confirmation(options.out, found, inputs, planned, pictures=not options.no_pictures)
    print_confirmation(console, found, planned)
    print_where(console, [("confirmation", str(options.out))])
    return EXIT_OK if found.reached else EXIT_INFEASIBLE


def write_confirmation(
    folder: Path,
    found: "Confirmation",
    inputs: Mapping[str, Any],
    planned: dict[str, Any] | None,
    *,
    pictures: bool = True,
) -> None:
    """Figures, margins as a table, surfaces and pictures as the files of one folder, whole or not at all.

    Raises:
        OptionError: what stands there was not written by this.
    """
    from needleplan.app.whole_folder import whole_folder
    from needleplan.confirmation.record import confirmation_to_json, margin_table
    from needleplan.io.plan_file import write_json, write_text
    from needleplan.io.vtk_surfaces import write_vtp

    drawn: tuple[Any, ...] = ()
    if pictures:
        from needleplan.app.confirm_pictures import draw_confirmation

        drawn = draw_confirmation(found)
    with whole_folder(folder, MAIN_FILE, "confirm") as unfinished:
        write_json(unfinished / MAIN_FILE, confirmation_to_json(found, dict(inputs), planned))
        write_text(unfinished / "margins.csv", margin_table(found.margins))
        write_vtp(unfinished / "tumour.vtp", found.margins.mesh)
        write_vtp(unfinished / "zone.vtp", found.zone.mesh)
        for picture in drawn:
            picture.save(unfinished)


def print_confirmation(console: "Console", found: "Confirmation", planned: dict[str, Any] | None) -> None:
    """The figures, those of the plan beside them, what was left, and what a reader must know."""
    from rich.markup import escape
    from rich.table import Table

    from needleplan.percentages import percent_down, percent_up

    margins, asked = found.margins, found.options.margin_mm
    shares = margins.shares
    verdict = (
        f"the margin of {asked:g} mm is reached"
        if found.reached
        else "tumour is left"
        if found.tumour_left
        else "the zone ends where the tumour ends, as exactly as the voxels tell"
        if margins.least_mm < 0
        else f"the tumour is covered, the margin of {asked:g} mm is not reached"
    )
    console.print(f"[bold]{verdict}[/]")
    table = Table()
    for heading in ("", "achieved", *(("planned",) if planned else ())):
        table.add_column(heading, justify="left" if not heading else "right")
    full = found.full_cover_mm
    rows = [
        ("least margin", _least(found), _planned(planned, "least_margin_mm", "{:+.1f} mm".format)),
        ("mean margin, no rule", f"{margins.mean_mm:+.1f} mm", ""),
        ("surface outside the zone", percent_up(shares.uncovered), ""),
        (f"surface with 0 to {asked:g} mm", percent_up(shares.short), ""),
        (f"surface with {asked:g} mm or more", percent_down(shares.reached), ""),
        ("tumour covered", percent_down(found.coverage), _planned(planned, "tumour_coverage", percent_down)),
        ("tumour left", f"{found.residue.left_ml:.2f} ml of {found.tumour_ml:.1f} ml", ""),
        (f"left of tumour and {asked:g} mm", f"{found.shortfall.left_ml:.2f} ml", ""),
        ("covered as a whole up to", "–" if full is None else f"{full} mm", ""),
        ("zone", f"{found.zone_ml:.1f} ml", _planned(planned, "zone_ml", "{:.1f} ml".format)),
    ]
    for row in rows:
        table.add_row(*row[: 3 if planned else 2])
    console.print(table)
    covered = ", ".join(f"{one.margin_mm} mm {percent_down(one.covered)}" for one in found.volumetric)
    console.print(
        f"  single margins of smooth surfaces err by up to about {found.resolution_mm:.1f} mm because of the "
        "voxels; edges are rounded",
        soft_wrap=True,
    )
    console.print(f"  tumour with a margin, covered: {covered}", soft_wrap=True)
    if margins.beside_capsule.any() or margins.least_mm != margins.plain_least_mm:
        excluded = margins.excluded_least_mm
        other = "" if excluded is None else f", {excluded:+.1f} mm if it is left out"
        console.print(
            f"  {margins.beside_capsule_share:.0%} of the surface lies less than {found.options.capsule_mm:g} mm "
            f"below the capsule (rule: {found.options.capsule_rule}); the least margin is "
            f"{margins.plain_least_mm:+.1f} mm without the rule{other}",
            soft_wrap=True,
        )
    _print_pieces(console, found.residue, "tumour left")
    if not found.residue.pieces:
        _print_pieces(console, found.shortfall, f"less than {asked:g} mm")
    console.print(f"  aligned by: {escape(found.alignment.method)}", soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {escape(note)}", soft_wrap=True)


def _least(found: "Confirmation") -> str:
    if found.spread is None:
        return f"{found.margins.least_mm:+.1f} mm"
    return f"{found.margins.least_mm:+.1f} mm (90 %: {found.spread.low_mm:+.1f} to {found.spread.high_mm:+.1f})"


def _planned(planned: dict[str, Any] | None, key: str, told: Callable[[float], str]) -> str:
    return told(planned[key]) if planned else ""


def _print_pieces(console: "Console", residue: "Residue", what: str) -> None:
    from needleplan.confirmation.record import direction_words

    for piece in residue.pieces[:_PRINTED_PIECES]:
        aim = ", ".join(f"{value:.1f}" for value in piece.ball_centre_mm)
        console.print(
            f"  {what}: {piece.volume_ml:.2f} ml within {piece.ball_radius_mm:.1f} mm of ({aim}), up to "
            f"{piece.depth_mm:.1f} mm beyond the zone towards {direction_words(piece.direction)}",
            soft_wrap=True,
        )
    if len(residue.pieces) > _PRINTED_PIECES:
        console.print(f"  and {len(residue.pieces) - _PRINTED_PIECES} smaller pieces")
