"""The viewer as a piece of a page: style, scene and program in the document itself, nothing fetched."""

import base64
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from needleplan.app.report_template import Html, hash_source
from needleplan.errors import OptionError

_FIRST = "viewer.js"
_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "md": "text/markdown", "": "text/plain"}
#: What a module loads, as three.js and the viewer write it: always by relative path.
_LOADED = re.compile(r"""(from\s*)(["'])(\./[\w./-]+\.js)\2""")

#: Unpacks the modules, gives each an address of its own inside the document, and starts the viewer.
_LOADER = """
(async () => {
  const place = document.getElementById("needleplan-viewer");
  try {
    const addresses = new Map();
    for (const block of document.querySelectorAll("script[data-needleplan-module]")) {
      const packed = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      const source = (await new Response(stream).text())
        .replace(/"needleplan:([^"]+)"/g, (_, name) => JSON.stringify(addresses.get(name)));
      const file = new Blob([source], { type: "text/javascript" });
      addresses.set(block.dataset.needleplanModule, URL.createObjectURL(file));
    }
    const { mountScene } = await import(addresses.get("viewer.js"));
    const scene = JSON.parse(document.getElementById("needleplan-scene").textContent);
    const viewer = mountScene(place, scene, {});
    window.needleplanViewer = viewer;
    place.querySelector(".needleplan-waiting").remove();
    await viewer.ready;
  } catch (error) {
    const said = document.createElement("p");
    said.setAttribute("role", "alert");
    said.textContent = "The scene cannot be shown; the tables of the page are complete. (" + error.message + ")";
    place.prepend(said);
    throw error;
  }
})();
"""

_WITHOUT_SCRIPTS = Html("<p>No scripts run here: the scene is not shown; the tables are complete.</p>")


@dataclass(frozen=True, slots=True)
class ViewerPiece:
    """What a page needs to hold the viewer.

    Attributes:
        style: text of a <style> element in the page's head.
        body: the element the viewer stands in, the scene, the packed program and the script that starts it.
        script_sources: what a content security policy must allow as scripts for this piece.
        style_sources: what it must allow as styles.
    """

    style: str
    body: Html
    script_sources: tuple[str, ...]
    style_sources: tuple[str, ...]

    @property
    def policy(self) -> str:
        """A whole content security policy for a page that has no script or style besides this piece."""
        scripts, styles = " ".join(self.script_sources), " ".join(self.style_sources)
        return (
            f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data: blob:; "
            "base-uri 'none'; form-action 'none'"
        )


@dataclass(frozen=True, slots=True)
class ViewerFile:
    """A file of the viewer as a server hands it out."""

    content: bytes
    media_type: str


@cache
def viewer_files() -> Mapping[str, ViewerFile]:
    """Every file of the viewer by its path relative to viewer.js; modules load one another by relative path."""
    folder = resources.files("needleplan.app.page") / "viewer"
    files = {}
    for prefix, place in (("", folder), ("three/", folder / "three")):
        for item in sorted(place.iterdir(), key=lambda item: item.name):
            suffix = item.name.rpartition(".")[2] if "." in item.name else ""
            if item.is_file() and suffix in _MEDIA_TYPES:
                files[prefix + item.name] = ViewerFile(item.read_bytes(), _MEDIA_TYPES[suffix])
    return files


def scene_text(scene: Mapping[str, Any]) -> str:
    """The scene as JSON that may stand inside a <script> element: no character of it can end the element.

    Raises:
        OptionError: the scene holds a value that JSON does not know, NaN or infinity among them.
    """
    try:
        text = json.dumps(scene, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"the scene has no JSON form ({error}); it holds finite numbers and texts only"
        ) from error
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def viewer_html(
    scene: Mapping[str, Any], *, still: bytes | None = None, without_scripts: Html | None = None
) -> ViewerPiece:
    """The viewer of ``scene`` for a page that fetches nothing.

    Args:
        scene: as data, schema needleplan.scene.
        still: PNG that stands for the scene where the browser draws no WebGL.
        without_scripts: what stands for it where no scripts run; a sentence where None.

    Raises:
        OptionError: the scene has no JSON form, or the still is no PNG.
    """
    if still is not None:
        if not still.startswith(b"\x89PNG\r\n\x1a\n"):
            raise OptionError("the still picture of a scene is no PNG; it must be one")
        scene = {**scene, "still": f"data:image/png;base64,{base64.b64encode(still).decode()}"}
    style = viewer_files()["viewer.css"].content.decode()
    waiting = '<p class="needleplan-waiting">The scene stands here once scripts of this page have unpacked it.</p>'
    said = _WITHOUT_SCRIPTS if without_scripts is None else without_scripts
    body = (
        f'<div id="needleplan-viewer">{waiting}</div>\n<noscript>{said}</noscript>\n'
        f'<script type="application/json" id="needleplan-scene">{scene_text(scene)}</script>\n'
        f"{_packed_modules()}<script>{_LOADER}</script>\n"
    )
    return ViewerPiece(style, Html(body), (hash_source(_LOADER), "blob:"), (hash_source(style),))


@cache
def _packed_modules() -> str:
    """The modules, each after those it loads, gzipped in blocks that no browser runs by itself."""
    blocks = []
    for name, source in _modules_in_order().items():
        packed = base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode()
        blocks.append(f'<script type="text/plain" data-needleplan-module="{name}">{packed}</script>\n')
    return "".join(blocks)


def _modules_in_order() -> dict[str, str]:
    """Sources by name, loaded ones first, where each loads by "needleplan:NAME" instead of by path."""
    files = viewer_files()
    placed: dict[str, str] = {}

    def place(name: str) -> None:
        folder = name.rpartition("/")[0]
        source = files[name].content.decode()

        def renamed(found: re.Match[str]) -> str:
            loaded = f"{folder}/{found[3][2:]}".lstrip("/")
            if loaded not in placed:
                place(loaded)
            return f'{found[1]}"needleplan:{loaded}"'

        placed_source = _LOADED.sub(renamed, source)
        placed[name] = placed_source

    place(_FIRST)
    return placed
