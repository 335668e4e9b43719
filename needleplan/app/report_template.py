"""The page of the report: its style, and the few building blocks of HTML; text is escaped where it enters."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape

from needleplan.viz.palette import readable

#: An angle as sentences of the planner have it.
_DEGREES = re.compile(r"(?<=\d) deg\b")


class Html(str):
    """Text that is already HTML; every other string is escaped before it enters the page."""

    __slots__ = ()


def markup(value: str) -> str:
    """``value`` as HTML: escaped unless it is HTML already."""
    return str(value) if isinstance(value, Html) else escape(str(value), quote=True)


def element(tag: str, *content: str, **attributes: str) -> Html:
    """An element with its content and attributes escaped; ``class_`` means class, ``aria_label`` aria-label."""
    names = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{names}>{''.join(markup(part) for part in content)}</{tag}>")


def bdi(text: str) -> Html:
    """A name that stands by itself, whatever its direction of writing."""
    return element("bdi", text)


def with_names(sentence: str, structures: Iterable[str], others: Iterable[str] = ()) -> Html:
    """A sentence of this program's with names and angles as the tables have them.

    Structures are named as a reader expects it, and an angle has its sign. Names of letters other than ASCII stand
    by themselves: marks of the direction of writing within them turn nothing of the sentence round then, such as
    its figures.

    Args:
        sentence: text that is no HTML.
        structures: names of structures that it may hold, written as in the case or as a reader expects it.
        others: other names that it may hold.
    """
    shown = {form: readable(name) for name in structures for form in (name, readable(name))}
    shown = {name: name for name in others} | shown
    # Of two names that begin alike the longer one is meant.
    forms = sorted((form for form in shown if form), key=lambda form: (-len(form), form))
    # A name of ASCII letters is one where it stands as a word; other scripts have no such bounds.
    patterns = [rf"(?<!\w){re.escape(form)}(?!\w)" if form.isascii() else re.escape(form) for form in forms]
    parts = re.split(f"({'|'.join(patterns)})", sentence) if patterns else [sentence]
    told = []
    for k, part in enumerate(parts):
        if k % 2 == 0:
            told.append(markup(_DEGREES.sub("°", part)))
        else:
            told.append(markup(shown[part]) if part.isascii() else bdi(shown[part]))
    return Html("".join(told))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> Html:
    """A table; columns after the first ``text_columns`` are aligned as numbers.

    It has no head where ``header`` holds only empty strings.
    """
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in header)))
    body = []
    for row in rows:
        cells = [element("th", row[0], scope="row")]
        cells += [
            element("td", cell) if k < text_columns else element("td", cell, class_="number")
            for k, cell in enumerate(row[1:], start=1)
        ]
        body.append(element("tr", *cells))
    content = element("table", head if any(header) else Html(""), element("tbody", *body))
    return element("div", content, class_="wide")


def section(title: str, *content: str) -> Html:
    """A section with its heading, which links find by ``anchor``; empty where there is no content."""
    if not any(content):
        return Html("")
    return element("section", element("h2", title), *content, id=anchor(title))


def anchor(title: str) -> str:
    """The address of a section within its page."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def contents(sections: Sequence[tuple[str, str]]) -> Html:
    """Links to those sections, each a title and its content, that are not empty."""
    links = [element("a", title, href=f"#{anchor(title)}") for title, content in sections if content]
    return element("nav", *links, class_="contents", aria_label="Sections of this page") if links else Html("")


def figure(title: str, caption: str, image: str, kind: str = "png") -> Html:
    """A picture (``image`` is base64 of a file of that kind) with title and caption."""
    picture = Html(f'<img alt="{escape(title, quote=True)}" src="data:image/{kind};base64,{image}">')
    return element("figure", picture, element("figcaption", element("b", title), ". ", caption))


def hash_source(text: str) -> str:
    """The source by which a content security policy allows an inline script of exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(
    title: str,
    *content: str,
    style: str | None = None,
    scripts: Sequence[str] = (),
    script_sources: Sequence[str] = (),
) -> str:
    """The whole document.

    Its policy lets run nothing but the scripts that are named here, by their hash, and lets it ask for nothing but
    pictures and films within it or beside it: whatever slipped through the escaping could still do nothing.

    Args:
        title: of the window.
        content: pieces of the page.
        style: takes the place of that of the report.
        scripts: inline scripts at the end of the page; they must not hold the end of a script element.
        script_sources: what the policy must allow besides, for scripts that a piece of the content brings.
    """
    sources = [*(hash_source(script) for script in scripts), *script_sources]
    allowed = f"script-src {' '.join(sources)}; " if sources else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; {allowed}"
        "img-src data: blob: 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE if style is None else style}</style>\n</head>\n"
        "<body>\n<main>\n" + "\n".join(markup(part) for part in content if part) + "\n</main>\n"
        + "".join(f"<script>{script}</script>\n" for script in scripts) + "</body>\n</html>\n"
    )  # fmt: skip


STYLE = """
:root { --ink: #1b2027; --grey: #5d6672; --line: #d9dee4; --soft: #f4f6f8; --accent: #0b5a8a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", "DejaVu Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; overflow-wrap: anywhere; }
header { border-bottom: 2px solid var(--ink); padding-bottom: 1rem; margin-bottom: 1.25rem; }
header p { margin: .25rem 0 0; color: var(--grey); }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; }
.notice { border: 1px solid #c9a227; border-left-width: 6px; background: #fffaf0; padding: .6rem .9rem;
  max-width: none; border-radius: 4px; }
.badge { display: inline-block; font-weight: 700; padding: .2rem .7rem; border-radius: 999px; border: 2px solid; }
.complete { color: #0b5a8a; background: #e8f2f9; } .partial { color: #7a5200; background: #fdf6df; }
.infeasible { color: #a13c00; background: #fdeee5; }
.verdict { font-size: 1.08rem; margin: .9rem 0; max-width: none; }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.figures div { flex: 1 1 10.5rem; background: var(--soft); border-radius: 6px; padding: .7rem .9rem; }
.figures b { display: block; font-size: 1.5rem; line-height: 1.25; white-space: nowrap; }
.figures span { display: block; color: var(--grey); font-size: .86rem; line-height: 1.35; }
.evidence { padding-left: 1.1rem; margin: .4rem 0; max-width: 50rem; } .evidence li { margin: .3rem 0; }
.wide { overflow-x: auto; margin: .6rem 0; }
/* A table is moved sideways before its words are broken. */
table { border-collapse: collapse; width: 100%; font-size: .92rem; overflow-wrap: break-word; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { background: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
tbody th { font-weight: 600; } td.number { white-space: nowrap; }
.low { color: #a13c00; font-weight: 700; } .mute { color: var(--grey); }
figure { margin: 1rem 0; break-inside: avoid; }
figure img, video, .film { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .88rem; color: var(--grey); margin-top: .4rem; max-width: 52rem; }
figcaption b { color: var(--ink); }
code { font: .86rem ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--grey);
  font-size: .88rem; }
a { color: var(--accent); }
.contents { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .8rem 0 1.2rem; font-size: .92rem; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; }
@media (max-width: 40rem) { main { padding: 1rem .8rem 2rem; } h1 { font-size: 1.4rem; }
  .figures div { flex-basis: 8rem; } th, td { padding: .32rem .45rem; } }
@media print { @page { size: A4; margin: 14mm; } body { font-size: 9.5pt; } table { font-size: .86rem; }
  th, td { padding: .25rem .4rem; } main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } tr, .figures, .notice { break-inside: avoid; } .wide { overflow: visible; }
  td.number { white-space: normal; } figure img { width: auto; max-width: 100%; max-height: 98mm; }
  video, .contents { display: none; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
