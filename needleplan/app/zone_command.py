"""What the zone command does: predict, measure, print, write."""

import os
from argparse import Namespace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from needleplan.ablation.heating import HeatSnapshot
from needleplan.app.cli import EXIT_OK
from needleplan.app.progress import progress_bar
from needleplan.app.summary import print_where
from needleplan.app.zone import question_from
from needleplan.app.zone_answer import ZoneAnswer, answer_of, place_words, setting_words, zone_json
from needleplan.app.zone_models import expected_s
from needleplan.devices.applicator_physics import PulseElectrode
from needleplan.errors import OptionError
from needleplan.io.plan_file import write_json

#: What is printed of each zone: label, attribute of ZoneAxes, unit.
_ROWS = (
    ("length along the needle", "length_mm", "mm"),
    ("largest diameter across", "largest_diameter_mm", "mm"),
    ("least diameter across", "least_diameter_mm", "mm"),
    ("ahead of the tip", "ahead_of_tip_mm", "mm"),
    ("behind the tip", "behind_tip_mm", "mm"),
    ("volume", "volume_ml", "ml"),
    ("sphericity", "sphericity", ""),
)


#: Units that are printed otherwise than they are named.
_PRINTED_UNITS = {"1": "", "C": " °C"}


def run(options: Namespace) -> int:
    """Answer the question of the options; nothing is written before all is computed."""
    from needleplan.app.zone_pictures import ZonePictures

    console = Console()
    question = question_from(options)
    if options.film and options.out is None:
        raise OptionError("--film needs a folder: give --out too")
    if options.film and (question.model != "solver" or isinstance(question.physics, PulseElectrode)):
        raise OptionError(
            "--film shows a zone that grows as a solver of heat or cold computes it, which this is not"
        )
    for path, is_folder in ((options.out, True), (options.json, False)):
        if path is not None:
            _check_place(path, is_folder)
    pictures = None if options.out is None else ZonePictures(question)
    total_s = expected_s(question)
    with progress_bar(console, "computing the zone") as progress:

        def observe(snapshot: HeatSnapshot) -> None:
            progress(f"{snapshot.time_s:.0f} s", snapshot.time_s / total_s)
            if pictures is not None:
                pictures.recorder(snapshot)

        answer = answer_of(question, observe)
    print_zone(console, answer)
    content = zone_json(answer)
    places = []
    if pictures is not None:
        with progress_bar(console, "drawing") as progress:
            places = pictures.write(options.out, answer, film=options.film, progress=progress)
        write_json(options.out / "zone.json", content)
        places.append(("figures", str(options.out / "zone.json")))
    if options.json is not None:
        write_json(options.json, content)
        places.append(("figures", str(options.json)))
    print_where(console, places)
    return EXIT_OK


def print_zone(console: Console, answer: ZoneAnswer) -> None:
    """Extents by each criterion in a table, then quantities and notes."""
    question = answer.question
    console.print(f"[bold]{escape(question.applicator)}[/], {escape(setting_words(question))}")
    console.print(f"  in {escape(place_words(question))}; model: {escape(answer.model)}", soft_wrap=True)
    columns = [("zone", answer.axes)]
    columns += [(chr(ord("A") + n), axes) for n, axes in enumerate(answer.other_axes.values())]
    if answer.table is not None:
        columns.append(("table", answer.table))
    table = Table()
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, justify="right")
    for label, attribute, unit in _ROWS:
        digits = 2 if attribute == "sphericity" else 1
        table.add_row(
            f"{label}, {unit}" if unit else label,
            *("-" if axes.is_empty else f"{getattr(axes, attribute):.{digits}f}" for _, axes in columns),
        )
    console.print(table)
    console.print(f"  zone: {escape(answer.prediction.criterion)}", soft_wrap=True)
    for n, words in enumerate(answer.other_axes):
        console.print(f"  {chr(ord('A') + n)}: {escape(words)}", soft_wrap=True)
    if answer.table is not None:
        setting = question.setting.replace("_", " ")
        console.print(
            f"  table: the applicator's zone table, {setting}, one probe in its tissue without vessels",
            soft_wrap=True,
        )
    if answer.axes.is_empty:
        console.print("  [bold yellow]nothing is destroyed[/]")
    for quantity in answer.prediction.quantities:
        unit = _PRINTED_UNITS.get(quantity.unit, f" {quantity.unit}")
        console.print(f"  {escape(quantity.name)}: {quantity.value:.4g}{escape(unit)}", soft_wrap=True)
    for note in answer.notes:
        console.print(f"  note: {escape(note)}", soft_wrap=True)


def _check_place(path: Path, is_folder: bool) -> None:
    """Raises OptionError where a folder or a file cannot be made, before anything is computed."""
    if path.exists() and path.is_dir() != is_folder:
        raise OptionError(f"{path}: is {'no folder' if is_folder else 'a folder, but a file is needed'}")
    above = path if is_folder else path.absolute().parent
    while not above.exists():
        above = above.absolute().parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise OptionError(f"{path}: cannot be written, because {above} is no folder that may be written to")
