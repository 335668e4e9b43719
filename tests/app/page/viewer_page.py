"""A page with nothing but the viewer, opened in a browser, with what it said and what it asked for."""

import base64
import io
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from needleplan.app.page.document import viewer_html

BACKGROUND = (0x14, 0x17, 0x1C)


def page_of(piece, title="A scene"):
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{piece.policy}">'
        f"<style>{piece.style}</style></head><body><h1>{title}</h1>{piece.body}</body></html>"
    )


@dataclass
class OpenPage:
    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def run(self, script, argument=None):
        """Value of JavaScript in which ``v`` is the viewer."""
        return self.page.evaluate(f"async (given) => {{ const v = window.needleplanViewer; {script} }}", argument)

    def state(self):
        return self.run("return v.state();")

    def until(self, holds, most_s=10.0):
        """The first state that ``holds``; fails where none comes."""
        end = time.monotonic() + most_s
        while not holds(state := self.state()):
            assert time.monotonic() < end, f"still {state}"
            self.page.wait_for_timeout(30)
        return state

    def picture(self):
        """(rows, columns, 3) of the canvas as it is now."""
        url = self.run("v.stage.moving(false); v.stage.draw(); return v.canvas.toDataURL('image/png');")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(
            int
        )

    def drawn(self):
        """(rows, columns) True where the picture is not background."""
        return np.abs(self.picture() - BACKGROUND).max(axis=2) > 6

    def only(self, *shown):
        """Hides every body and needle but those named."""
        self.run(
            "for (const id of v.bodies.keys()) v.show(id, given.includes(id));"
            "for (const key of v.needles.keys()) v.show('needle ' + key, given.includes('needle ' + key));",
            list(shown),
        )

    def everything(self):
        self.run(
            "for (const id of v.bodies.keys()) v.show(id, true);"
            "for (const key of v.needles.keys()) v.show('needle ' + key, true);"
            "v.setBreath(0); v.setGrowth(2); v.look('reset');"
        )

    def remount(self, scene, options="{}"):
        """Puts a viewer of another scene, or with other options, in place of the one that stands."""
        self.run(
            "const { root, constructor } = v; v.dispose(); window.moves = [];"
            f"window.needleplanViewer = new constructor(root, given, {options});"
            "await window.needleplanViewer.ready;",
            scene,
        )


def open_viewer(browser, folder, scene, *, before="", still=None, wait=".np-viewer[data-ready]", **context):
    """Writes the page into ``folder`` and opens it from there, as a reader would."""
    path = folder / "page.html"
    path.write_text(page_of(viewer_html(scene, still=still)), encoding="utf-8")
    # Half a point to a pixel: a processor that stands in for a graphics card has a quarter of the work.
    page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=0.5, **context)
    opened = OpenPage(page)
    page.on("console", lambda message: opened.said.append(message.text))
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("request", lambda request: opened.asked.append(request.url))
    if before:
        page.add_init_script(before)
    page.goto(path.as_uri())
    page.wait_for_selector(wait, timeout=60_000)
    return opened
