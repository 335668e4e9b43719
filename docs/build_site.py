"""Build these pages as a site: documents, reference from docstrings, gallery made by the examples.

    python docs/build_site.py [--out out/docs] [--no-gallery]

The sources are laid out in a folder beside the result, so that nothing is written into docs/. Nothing is fetched.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))

from site_files import FilePages  # noqa: E402
from site_gallery import write_gallery  # noqa: E402
from site_reference import page_of, write_reference  # noqa: E402

DOCUMENTS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def lay_out(sources: Path, with_gallery: bool) -> None:
    """Write everything that Sphinx reads into a new folder.

    Args:
        sources: the folder; what stood there is removed.
        with_gallery: runs the quick examples for it; without, their pages show source and committed pictures only.
    """
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir(parents=True)
    shutil.copytree(DOCUMENTS / "pictures", sources / "pictures")
    for name in ("conf.py", "site.css"):
        shutil.copy(DOCUMENTS / name, sources / name)
    files = FilePages(ROOT, sources)
    pages = {path: path.relative_to(DOCUMENTS) for path in sorted(DOCUMENTS.rglob("*.md"))}
    pages[ROOT / "CHANGELOG.md"] = Path("changelog.md")
    for path, place in pages.items():
        target = sources / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(with_site_links(path, place, files), encoding="utf-8")
    write_reference(ROOT, sources)
    write_gallery(ROOT, sources, with_gallery)
    files.write()


def with_site_links(path: Path, place: Path, files: FilePages) -> str:
    """A document's text with its links to other files led to pages of the site.

    Args:
        path: the document in the repository.
        place: where its page stands, from the site's root.
        files: pages of files that are no documents; what is linked is added.

    Raises:
        ValueError: a link leads nowhere.
    """
    parts = re.split(r"(^```.*?^```)", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for number in range(0, len(parts), 2):
        parts[number] = _LINK.sub(lambda found: _link(found.group(1), path, place, files), parts[number])
    return "".join(parts)


def _link(link: str, path: Path, place: Path, files: FilePages) -> str:
    """One link as it must be on the page."""
    if link.startswith(("http://", "https://", "#", "mailto:")):
        return link
    words, _, anchor = link.partition("#")
    target = (path.parent / words).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
        raise ValueError(f"{path.relative_to(ROOT)}: the link {link} leads nowhere")
    inner = target.relative_to(ROOT)
    if target == ROOT / "CHANGELOG.md":
        page = Path("changelog.md")
    elif inner.parts[0] == "docs" and target.is_file():
        page = inner.relative_to("docs")
    else:
        page = page_of(inner) or files.page_of(inner)
    up = os.path.relpath(page, place.parent)
    return f"{up}#{anchor}" if anchor else up


def main() -> int:
    """Lay out the sources and run Sphinx, every warning an error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "docs", metavar="DIR", help="folder of the site")
    parser.add_argument("--no-gallery", action="store_true", help="run no examples: quick, for writing documents")
    options = parser.parse_args()
    out = options.out.resolve()
    sources = out.with_name(out.name + "-sources")
    lay_out(sources, not options.no_gallery)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-j", "auto", "-b", "html"]
    # Beside the site, not in it: what is only of use to the next build.
    command += ["-d", str(out.with_name(out.name + "-doctrees")), str(sources), str(out)]
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **one_thread}, check=False).returncode
    if code == 0:
        print(f"built: {os.path.relpath(out / 'index.html')}")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
