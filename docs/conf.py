"""Sphinx's settings; ``make docs`` lays out the sources (build_site.py) and builds them."""

import re
from importlib.metadata import version as version_of

# Modules are first imported with typing.TYPE_CHECKING set, under which pydantic cannot make fastapi's models.
import fastapi  # noqa: F401
from sphinx.application import Sphinx

project = "needleplan"
version = release = version_of("needleplan")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

myst_heading_anchors = 6
myst_enable_extensions = ["colon_fence"]
#: Names of classes that several modules have are told apart where it matters by their module.
suppress_warnings = ["ref.python"]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"needleplan {release}"
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
#: A summary is fetched from the page that was found, which a browser refuses where the site is opened as a file.
html_show_search_summary = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5fa5", "color-brand-content": "#0b5fa5"},
    "dark_css_variables": {"color-brand-primary": "#6db6ff", "color-brand-content": "#6db6ff"},
    "announcement": "Research software, not a medical device: nothing that it computes may guide a treatment.",
}

#: What stays as it stands in a docstring: literals, references to objects, links.
_KEPT = re.compile(r"(``.+?``|:[a-z:]+:`[^`]+`|`[^`]+`_+)")


def as_text(line: str) -> str:
    """A docstring's line with everything escaped that its writer meant as a plain letter.

    Docstrings hold formulas: ``|x|``, ``q'' * t``, ``x_i``. Only literals and references to objects are markup.
    """
    parts = _KEPT.split(line)
    for number in range(0, len(parts), 2):
        bullet = re.match(r"\s*\* ", parts[number]) if number == 0 else None
        start = bullet.end() if bullet else 0
        plain = re.sub(r"(?<!\\)([*|`])", r"\\\1", parts[number][start:])
        parts[number] = parts[number][:start] + re.sub(r"(?<=\w)_(?!\w)", r"\\_", plain)
    return "".join(parts)


def escape_docstring(app: Sphinx, kind: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """Escape formulas in place, outside the blocks that a double colon begins."""
    block_indent: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if block_indent is not None and line.strip() and indent <= block_indent:
            block_indent = None
        if block_indent is None:
            lines[number] = as_text(line)
            if line.rstrip().endswith("::"):
                block_indent = indent


def setup(app: Sphinx) -> dict[str, bool]:
    """Escape before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", escape_docstring, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
