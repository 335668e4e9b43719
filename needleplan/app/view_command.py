"""What the view command does: a plan as a page to turn and to edit. Only the standard library is imported here."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from needleplan.app.argument_groups import add_folder, folder_path, whole_number

#: Folder in that of the plan that edited plans are saved into.
SAVES_NAME = "edited"


def add_view(parser: ArgumentParser) -> None:
    """Options of the view command."""
    add_folder(parser)
    parser.add_argument("--compare", type=folder_path, metavar="DIR2", help="another plan of the same case")
    parser.add_argument(
        "--out", type=folder_path, metavar="FOLDER", help="folder that edited plans are saved into (DIR/edited)"
    )
    parser.add_argument(
        "--port", type=whole_number, default=8766, help="of this machine; 0 takes a free one (8766)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def run_view(options: Namespace) -> int:
    """Serve the page of a plan on this machine until it is stopped."""
    import webbrowser

    from rich.console import Console

    from needleplan.app.cli import EXIT_OK
    from needleplan.app.folder import PlanFolder
    from needleplan.app.outputs import load_planned, rehearsed_outcomes
    from needleplan.app.page.scene import build_scene
    from needleplan.app.page.scene_breath import breath_of
    from needleplan.app.progress import progress_bar
    from needleplan.app.view.comparing import read_other_plan
    from needleplan.app.view.desk import PlanningDesk
    from needleplan.app.view.page_server import PageServer, listening_socket
    from needleplan.app.view.scene_parts import editable_scene
    from needleplan.errors import OptionError

    console = Console()
    # Told before the case is read, which takes long.
    listening_socket(options.port).close()
    folder = PlanFolder(options.folder)
    saves: Path = options.out or folder.root / SAVES_NAME
    if saves.exists() and not saves.is_dir():
        raise OptionError(f"{saves} is a file, and edited plans go into a folder: name another place by --out")
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    other = None
    if options.compare is not None:
        other = (str(options.compare), read_other_plan(PlanFolder(options.compare), planned))
    with progress_bar(console, "preparing the page") as progress:
        # Zones follow the needles on every move, so they breathe as one rigid piece, and all else does likewise.
        breath = breath_of(planned.anatomy, rehearsed_outcomes(folder, planned), deforming=False)
        scene = build_scene(planned, breath=breath, growing=False, progress=progress)
        scene = editable_scene(scene, planned.plan.insertions, planned.zone_model, breath)
        desk = PlanningDesk(folder, planned, scene, saves, options.data, other, breath)
    server = PageServer(desk, options.port)
    desk.start_search()

    def ready() -> None:
        console.print(f"planning page of {planned.plan.case_name}:", markup=False)
        # Not wrapped, so that it can be copied whole.
        console.print(f"  {server.address}", markup=False, highlight=False, soft_wrap=True)
        console.print(
            "Whoever knows this address may see and change the plan. Research software, not a medical device. "
            "Ctrl-C ends.",
            soft_wrap=True,
        )
        if not options.no_browser and not webbrowser.open(server.address):
            console.print("No browser could be opened: open the address yourself.", soft_wrap=True)

    server.serve(ready)
    console.print("stopped")
    return EXIT_OK
