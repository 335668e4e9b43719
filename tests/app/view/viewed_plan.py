"""A small plan to look at and to edit: what makes it, and a browser's tab with what its console said."""

import shutil
import time
from pathlib import Path

from needleplan.app.folder import PlanFolder
from needleplan.coverage.options import CoverageOptions
from needleplan.planning import PlanningOptions
from needleplan.trajectory.sampling import SamplingOptions

#: A name that must never be read as HTML.
NAME = "</script><img src=x onerror=document.title='broken'> & 'liver'"
OPTIONS = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=25.0, aim_count=6),
    coverage=CoverageOptions(margin_mm=6.0, paths_per_aim=6, point_count=1500, time_limit_s=3.0),
    refine=False,
)


def other_folder(folder: PlanFolder, name: str) -> PlanFolder:
    """A copy of a plan folder beside it."""
    copy = folder.root.with_name(name)
    shutil.copytree(folder.root, copy, ignore=shutil.ignore_patterns("edited"))
    return PlanFolder(Path(copy))


class Page:
    """A tab, with what its console said."""

    def __init__(self, browser, address):
        self.tab = browser.new_page(viewport={"width": 1500, "height": 1000}, accept_downloads=True)
        self.said = []
        self.tab.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.goto(address)
        self.until("Boolean(window.needleplanPage?.ready)")

    def until(self, expression, timeout_s=60.0):
        # By evaluate: the page's policy forbids what wait_for_function does.
        end = time.monotonic() + timeout_s
        while not self.tab.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}; {self.said}"
            self.tab.wait_for_timeout(30)

    def state(self):
        return self.tab.evaluate("needleplanPage.connection.state")

    def needle(self):
        return self.state()["needles"][0]

    def column(self):
        return self.tab.inner_text("#columns")

    def settled(self):
        self.until("!needleplanPage.connection.busy && needleplanPage.connection.state.judged.fresh")

    def press(self, name):
        version = self.state()["version"]
        self.tab.click(name)
        self.until(f"needleplanPage.connection.state.version > {version}")
