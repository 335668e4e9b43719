"""The gallery: every script of examples/ with what it prints and draws.

    python docs/site_gallery.py --record [NAME ...]     renews recorded outputs and pictures in docs/gallery/

Quick scripts run whenever the site is built. What the others print and draw is recorded, with a digest of the
script that ran, so that a record of an older script is found.
"""

import argparse
import ast
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A script of the build that takes longer has gone wrong.
BUILD_LIMIT_S = 300.0
RECORD_LIMIT_S = 900.0
MOST_LETTERS = 6000
#: Recorded pictures are no wider, and all of them together no larger.
WIDEST_PIXELS = 1280
MOST_PICTURE_BYTES = 600_000
#: When a script is run: with the site, or when its output is renewed.
RUNS = ("build", "recorded")


@dataclass(frozen=True, slots=True)
class Still:
    """A moment of a film.

    Attributes:
        film: its file in {out}, without ".mp4".
        at: share of the film's length, 0 to 1.
        caption: what is seen.
    """

    film: str
    at: float
    caption: str

    @property
    def name(self) -> str:
        """Of its picture in {out}."""
        return f"{self.film}-{round(100.0 * self.at):02d}.jpg"


@dataclass(frozen=True, slots=True)
class Example:
    """One script and how it is shown.

    Attributes:
        name: its file's stem.
        run: one of ``RUNS``.
        arguments: of its command; {out} and {cases} stand for folders.
        pictures: patterns of what it draws into {out}, or pictures of docs/.
        study: folder of {out} that holds a study, whose figures are drawn into it; "" for none.
        stills: moments of its films, shown after the pictures.
    """

    name: str
    run: str
    arguments: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    study: str = ""
    stills: tuple[Still, ...] = ()

    @property
    def drawn(self) -> tuple[str, ...]:
        """Patterns of the pictures in {out}, stills too."""
        patterns = [each.removeprefix("{out}/") for each in self.pictures if each.startswith("{out}/")]
        return (*patterns, *(still.name for still in self.stills))

    def caption(self, file: str) -> str:
        """What is seen on a picture."""
        captions = {still.name: still.caption for still in self.stills}
        return next(
            (text for name, text in captions.items() if file.endswith(name)), "Drawn by the code of this script"
        )


def read_examples(root: Path) -> list[Example]:
    """The examples in the order of the gallery.

    Raises:
        ValueError: a script is missing from the list, or the list names none.
    """
    table = tomllib.loads((root / "docs" / "gallery" / "gallery.toml").read_text(encoding="utf-8"))
    examples = [_example(each) for each in table["example"]]
    scripts = {path.stem for path in (root / "examples").glob("*.py")}
    if differing := scripts ^ {each.name for each in examples}:
        raise ValueError(f"docs/gallery/gallery.toml and examples/ differ: {', '.join(sorted(differing))}")
    if wrong := [each.name for each in examples if each.run not in RUNS]:
        raise ValueError(f"docs/gallery/gallery.toml: run of {wrong[0]} must be {' or '.join(RUNS)}")
    return examples


def _example(each: dict[str, Any]) -> Example:
    stills = tuple(Still(one["film"], one["at"], one["caption"]) for one in each.get("stills", ()))
    arguments, pictures = tuple(each.get("arguments", ())), tuple(each.get("pictures", ()))
    return Example(each["name"], each["run"], arguments, pictures, each.get("study", ""), stills)


def run_example(root: Path, example: Example, out: Path, limit_s: float) -> str:
    """What a script prints.

    Args:
        root: the repository.
        example: the script.
        out: folder for its pictures.
        limit_s: it is ended then.

    Raises:
        RuntimeError: it fails; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = {"out": str(out), "cases": folder}
        words = [word.format(**places) for word in example.arguments]
        if any("{cases}" in word for word in example.arguments):
            made = ["-m", "needleplan", "phantom", "--out", folder, "--voxel-mm", "3"]
            subprocess.run([sys.executable, *made], cwd=root, check=True, capture_output=True)
        environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
        done = subprocess.run(
            [sys.executable, f"examples/{example.name}.py", *words],
            cwd=root, env=environment, capture_output=True, text=True, timeout=limit_s, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"examples/{example.name}.py failed: {done.stderr[-2000:]}")
        return done.stdout.replace(folder, "CASES").replace(str(out), "out")


def draw_rest(example: Example, out: Path) -> None:
    """Draw what the script itself leaves undrawn: figures of its study, stills of its films.

    Args:
        example: the script, which has run.
        out: folder of what it made.
    """
    if example.study:
        from needleplan.app.study.analysis_outputs import analyse_folder

        analyse_folder(out / example.study)
    for still in example.stills:
        draw_still(out / f"{still.film}.mp4", still.at, out / still.name)


def draw_still(film: Path, at: float, picture: Path) -> None:
    """Write one frame of a film as JPEG.

    Args:
        film: MP4.
        at: share of its frames, 0 to 1.
        picture: file to write.

    Raises:
        RuntimeError: the film is missing or has no such frame.
    """
    import imageio_ffmpeg
    from PIL import Image

    if not film.is_file():
        raise RuntimeError(f"there is no film {film.name}")
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(film))
    frames = imageio_ffmpeg.read_frames(str(film))
    size = next(frames)["size"]
    for number, frame in enumerate(frames):
        if number == round(at * (count - 1)):
            # Small, yet the letters of its panel can be read.
            Image.frombytes("RGB", size, frame).save(picture, quality=72, optimize=True)
            frames.close()
            return
    raise RuntimeError(f"{film.name} has no frame at {at:g} of its length")


def record(root: Path, example: Example, printed: str, out: Path) -> list[Path]:
    """Keep what a script printed and drew, in place of what was kept of it.

    Args:
        root: the repository.
        example: the script.
        printed: its output.
        out: folder of its pictures.

    Returns:
        The files that were written.

    Raises:
        RuntimeError: it drew none of some picture, or all pictures that are kept are too large; then what was kept
            before stays.
    """
    folder = root / "docs" / "gallery"
    pictures: dict[str, bytes] = {}
    for pattern in example.drawn:
        found = sorted(out.glob(pattern))
        if not found:
            raise RuntimeError(f"examples/{example.name}.py drew no {pattern}")
        pictures |= {f"{example.name}-{file.name}": _small(file) for file in found}
    old = kept_pictures(root, example)
    others = [file for ending in ("*.png", "*.jpg") for file in folder.glob(ending) if file not in old]
    size = sum(len(data) for data in pictures.values()) + sum(file.stat().st_size for file in others)
    if size > MOST_PICTURE_BYTES:
        raise RuntimeError(f"pictures of docs/gallery would have {size / 1e3:.0f} kB, more than the limit of "
                           f"{MOST_PICTURE_BYTES / 1e3:.0f} kB: name fewer in gallery.toml")  # fmt: skip
    for file in old:
        file.unlink()
    texts = {f"{example.name}.txt": printed.encode()}
    for name, data in (texts | pictures).items():
        (folder / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in (texts | pictures).items()}
    records = read_records(root) | {example.name: {"script": script_digest(root, example), "files": digests}}
    (folder / "recorded.json").write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return [folder / name for name in texts | pictures]


def read_records(root: Path) -> dict[str, Any]:
    """By example: digest of the script that was recorded, and of each file that is kept of it."""
    file = root / "docs" / "gallery" / "recorded.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def script_digest(root: Path, example: Example) -> str:
    """What a record depends on: code and arguments, but neither comments nor docstrings nor layout."""
    tree = ast.parse((root / "examples" / f"{example.name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
    stills = [(still.film, still.at) for still in example.stills]
    drawing = (example.arguments, example.study, example.drawn, stills)
    return hashlib.sha256(f"{ast.dump(tree)}{drawing}".encode()).hexdigest()


def kept_pictures(root: Path, example: Example) -> list[Path]:
    """Recorded pictures of an example, in the order of its patterns."""
    folder = root / "docs" / "gallery"
    patterns = [f"{example.name}-{pattern.rpartition('/')[2]}" for pattern in example.drawn]
    return [file for pattern in patterns for file in sorted(folder.glob(pattern))]


def _small(file: Path) -> bytes:
    """A picture as it is kept: no wider than the page shows, drawings with a palette."""
    from PIL import Image

    picture = Image.open(file).convert("RGB")
    data = io.BytesIO()
    if picture.width > WIDEST_PIXELS:
        picture = picture.resize((WIDEST_PIXELS, round(picture.height * WIDEST_PIXELS / picture.width)))
    elif file.suffix == ".jpg":
        return file.read_bytes()
    if file.suffix == ".jpg":
        picture.save(data, "JPEG", quality=72, optimize=True)
    else:
        picture.quantize(128, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return data.getvalue()


def write_gallery(root: Path, sources: Path, with_runs: bool) -> None:
    """Write the gallery and a page of each example.

    Args:
        root: the repository.
        sources: where Sphinx reads; ``gallery`` is made in it.
        with_runs: runs the quick scripts; without, their pages show the source alone.
    """
    folder = sources / "gallery"
    (folder / "pictures").mkdir(parents=True)
    examples = read_examples(root)
    cards = []
    for example in examples:
        with tempfile.TemporaryDirectory() as made:
            out = Path(made)
            printed = ""
            if example.run == "recorded":
                printed = (root / "docs" / "gallery" / f"{example.name}.txt").read_text(encoding="utf-8")
            elif with_runs and example.run == "build":
                printed = run_example(root, example, out, BUILD_LIMIT_S)
                draw_rest(example, out)
            pictures = _pictures(root, example, out, folder, with_runs)
        _write_page(root, folder, example, printed, pictures)
        title, _ = _words(root, example)
        shown = f"```text\n{_shortened(printed, 12)}\n```\n" if printed else ""
        shown = f"![{title}]({pictures[0]})\n" if pictures else shown
        cards.append(f"## {example.name.replace('_', ' ').capitalize()}\n\n[{title}]({example.name}.md)\n\n{shown}")
    text = (
        "# Gallery\n\nEvery script of `examples/`, with what it prints and draws. Quick ones ran when this page "
        f"was built.\n\n{chr(10).join(cards)}"
    )
    (folder / "index.md").write_text(text, encoding="utf-8")


def _pictures(root: Path, example: Example, out: Path, folder: Path, with_runs: bool) -> list[str]:
    """Pictures of an example as links from its page; what it drew or was recorded is copied beside the page."""
    links = [f"../{each}" for each in example.pictures if not each.startswith("{out}/")]
    if example.run == "recorded":
        copied = {file.name: file for file in kept_pictures(root, example)}
    else:
        copied = {}
        for pattern in example.drawn:
            found = sorted(out.glob(pattern))
            if with_runs and not found:
                raise RuntimeError(f"examples/{example.name}.py drew no {pattern}")
            copied |= {f"{example.name}-{file.name}": file for file in found}
    for name, file in copied.items():
        shutil.copy(file, folder / "pictures" / name)
        links.append(f"pictures/{name}")
    return links


def _write_page(root: Path, folder: Path, example: Example, printed: str, pictures: list[str]) -> None:
    title, rest = _words(root, example)
    source = (root / "examples" / f"{example.name}.py").read_text(encoding="utf-8")
    places = {"out": "out", "cases": "CASES"}
    words = " ".join(word.format(**places) for word in example.arguments)
    when = "when this page was built" if example.run == "build" else "when its output was recorded"
    lines = ["---\norphan: true\n---\n", f"# {example.name.replace('_', ' ').capitalize()}", "", title, ""]
    lines += [_paragraph(each) for each in rest.split("\n\n") if each.strip()]
    lines += [_picture(example, link) for link in pictures]
    if printed:
        lines += [f"`python examples/{example.name}.py {words}`".replace(" `", "`") + f" printed, {when}:", ""]
        lines += [f"````text\n{_shortened(printed, 60)}\n````", ""]
    lines += [f"## examples/{example.name}.py", "", f"````python\n{source}\n````", ""]
    (folder / f"{example.name}.md").write_text("\n".join(lines), encoding="utf-8")


def _paragraph(text: str) -> str:
    """A paragraph of a docstring: commands, which are indented, as a block; sentences without their line ends."""
    if text.startswith("    "):
        return f"````text\n{textwrap.dedent(text)}\n````\n"
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    # Two hyphens of an option would become a dash.
    parts[::2] = [part.replace("--", r"\-\-") for part in parts[::2]]
    return "".join(parts) + "\n"


def _picture(example: Example, link: str) -> str:
    """A picture with its caption, if it has one of its own."""
    caption = example.caption(link)
    shown = f"![{caption}]({link})\n"
    return f"{shown}\n*{caption}*\n" if any(still.caption == caption for still in example.stills) else shown


def _words(root: Path, example: Example) -> tuple[str, str]:
    """First line of an example's docstring and the rest."""
    source = (root / "examples" / f"{example.name}.py").read_text(encoding="utf-8")
    first, _, rest = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    return " ".join(first.split()), rest


def _shortened(text: str, most_lines: int) -> str:
    """The first lines of an output."""
    lines = text[:MOST_LETTERS].rstrip().splitlines()
    return "\n".join(lines[:most_lines] + (["[...]"] if len(lines) > most_lines else []))


def main() -> int:
    """Renew recorded outputs and pictures."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples (all that are recorded)")
    parser.add_argument("--record", action="store_true", required=True, help="run them, keep texts and pictures")
    options = parser.parse_args()
    recorded = [each for each in read_examples(root) if each.run == "recorded"]
    if unknown := set(options.names) - {each.name for each in recorded}:
        parser.error(f"no recorded example: {', '.join(sorted(unknown))}")
    for example in recorded:
        if not options.names or example.name in options.names:
            with tempfile.TemporaryDirectory() as out:
                printed = run_example(root, example, Path(out), RECORD_LIMIT_S)
                draw_rest(example, Path(out))
                files = record(root, example, printed, Path(out))
            print(f"recorded {example.name}: {', '.join(file.name for file in files)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
