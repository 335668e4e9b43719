"""The gallery: every script of examples/ with what it prints and draws.

    python docs/site_gallery.py --record [NAME ...]     renews the recorded outputs in docs/gallery/

Quick scripts run whenever the site is built; the output of the others is recorded.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

#: A script of the build that takes longer has gone wrong.
BUILD_LIMIT_S = 300.0
RECORD_LIMIT_S = 900.0
MOST_LETTERS = 6000
#: When a script is run: with the site, when its output is renewed, or not for the gallery.
RUNS = ("build", "recorded", "shown")


@dataclass(frozen=True, slots=True)
class Example:
    """One script and how it is shown.

    Attributes:
        name: its file's stem.
        run: one of ``RUNS``.
        arguments: of its command; {out} and {cases} stand for folders.
        pictures: patterns of what it draws into {out}, or pictures of docs/.
    """

    name: str
    run: str
    arguments: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()


def read_examples(root: Path) -> list[Example]:
    """The examples in the order of the gallery.

    Raises:
        ValueError: a script is missing from the list, or the list names none.
    """
    table = tomllib.loads((root / "docs" / "gallery" / "gallery.toml").read_text(encoding="utf-8"))
    examples = [
        Example(each["name"], each["run"], tuple(each.get("arguments", ())), tuple(each.get("pictures", ())))
        for each in table["example"]
    ]
    scripts = {path.stem for path in (root / "examples").glob("*.py")}
    if differing := scripts ^ {each.name for each in examples}:
        raise ValueError(f"docs/gallery/gallery.toml and examples/ differ: {', '.join(sorted(differing))}")
    if wrong := [each.name for each in examples if each.run not in RUNS]:
        raise ValueError(f"docs/gallery/gallery.toml: run of {wrong[0]} must be {', '.join(RUNS)}")
    return examples


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
        return done.stdout.replace(folder, "CASES").replace(str(out), "OUT")


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
            pictures = _pictures(example, out, folder, with_runs)
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


def _pictures(example: Example, out: Path, folder: Path, with_runs: bool) -> list[str]:
    """Pictures of an example as links from its page; what it drew is copied beside the page."""
    links = []
    for pattern in example.pictures:
        if not pattern.startswith("{out}/"):
            links.append(f"../{pattern}")
            continue
        found = sorted(out.glob(pattern.removeprefix("{out}/")))
        if with_runs and not found:
            raise RuntimeError(f"examples/{example.name}.py drew no {pattern.removeprefix('{out}/')}")
        for file in found:
            kept = f"pictures/{example.name}-{file.name}"
            shutil.copy(file, folder / kept)
            links.append(kept)
    return links


def _write_page(root: Path, folder: Path, example: Example, printed: str, pictures: list[str]) -> None:
    title, rest = _words(root, example)
    source = (root / "examples" / f"{example.name}.py").read_text(encoding="utf-8")
    places = {"out": "out", "cases": "CASES"}
    words = " ".join(word.format(**places) for word in example.arguments)
    when = "when this page was built" if example.run == "build" else "when its output was recorded"
    lines = ["---\norphan: true\n---\n", f"# {example.name.replace('_', ' ').capitalize()}", "", title, ""]
    lines += [f"````text\n{rest}\n````\n"] if rest else []
    lines += [f"![Drawn by the code of this script]({link})\n" for link in pictures]
    if printed:
        lines += [f"`python examples/{example.name}.py {words}`".replace(" `", "`") + f" printed, {when}:", ""]
        lines += [f"````text\n{_shortened(printed, 60)}\n````", ""]
    lines += [f"## examples/{example.name}.py", "", f"````python\n{source}\n````", ""]
    (folder / f"{example.name}.md").write_text("\n".join(lines), encoding="utf-8")


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
    """Renew recorded outputs."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples (all that are recorded)")
    parser.add_argument("--record", action="store_true", required=True, help="run them and keep what they print")
    options = parser.parse_args()
    for example in read_examples(root):
        if example.run == "recorded" and (not options.names or example.name in options.names):
            with tempfile.TemporaryDirectory() as out:
                printed = run_example(root, example, Path(out), RECORD_LIMIT_S)
            (root / "docs" / "gallery" / f"{example.name}.txt").write_text(printed, encoding="utf-8")
            print(f"recorded {example.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
