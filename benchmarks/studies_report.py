"""The report of one plan: how large it is, and how long a browser takes until its scene can be turned."""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rows import Row

from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import write_plan_folder, write_report_again
from needleplan.app.phantom_files import save_phantom
from needleplan.app.pipeline import plan_case
from needleplan.case.load import load_case
from needleplan.case.sources import DATA_VARIABLE

REAL_CASE = Path(__file__).parents[1] / "examples" / "cases" / "ircadb01-case01.toml"
#: A report shall be no larger, in millions of bytes, and open no later.
LIMIT_MB, LIMIT_S = 10.0, 3.0
#: A browser draws without a graphics card, as the slowest of readers does.
SOFTWARE_WEBGL = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
#: How long a report may take before it counts as one that never opens.
_PATIENCE_S = 60.0


def report_rows(repeats: int = 5) -> list[Row]:
    """Size of the report, and the median time from going to it until its scene is drawn.

    The real liver where NEEDLEPLAN_DATA names the data, else the built-in patient; the rows say which.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, patient = _written(Path(folder))
        size_mb = report.stat().st_size / 1e6
        times = opening_times_s(report, repeats)
    limit = f"limit ({patient})"
    return [
        Row.against("report_mb", size_mb, "MB", limit, LIMIT_MB),
        Row.against("report_open_s", statistics.median(times), "s", limit, LIMIT_S),
    ]


def opening_times_s(report: Path, repeats: int) -> list[float]:
    """Seconds from going to the page until the viewer is ready, each in a new context of one running browser.

    Raises:
        RuntimeError: there is no Chromium, or the page said an error or asked for something outside it.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("no Chromium is installed, so no report can be opened: install Debian's chromium")
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(SOFTWARE_WEBGL))
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            wrong: list[str] = []
            page.on("console", lambda message, wrong=wrong: wrong.append(message.text))
            page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
            begin = time.perf_counter()
            page.goto(report.as_uri())
            page.wait_for_selector(".np-viewer[data-ready]", timeout=1000 * _PATIENCE_S)
            times.append(time.perf_counter() - begin)
            if wrong:
                raise RuntimeError(f"the report says in the browser: {wrong[0]}")
            context.close()
        browser.close()
    return times


def _written(root: Path) -> tuple[Path, str]:
    """The report of a plan made now, and whose it is."""
    data = os.environ.get(DATA_VARIABLE)
    if data is None:
        save_phantom(make_phantom(PhantomParameters(), np.random.default_rng(0)), root / "case")
        manifest, patient, where = root / "case" / "case.toml", "built-in patient", None
    else:
        manifest, patient, where = REAL_CASE, "real liver", Path(data)
    planned = plan_case(load_case(manifest, where))
    folder = PlanFolder(root / "plan")
    write_plan_folder(folder, planned, manifest, where, pictures=False)
    write_report_again(folder, planned)
    return folder.report, patient
