"""The built site: every page in its place, links led to pages, docstrings as they were meant, commands that run."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from needleplan.app.cli import build_parser, main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import build_site  # noqa: E402
import conf  # noqa: E402
from site_gallery import Example, read_examples, run_example  # noqa: E402
from site_reference import page_of  # noqa: E402

PAGES = [DOCS / "first-hour.md", *sorted((DOCS / "howto").glob("*.md"))]
QUICK = {
    "plan": ["--aims", "8", "--entry-spacing-mm", "18", "--time-limit-s", "5", "--no-physics", "--scenarios", "0",
             "--no-pictures", "--refine", "0"],
    "phantom": ["--voxel-mm", "4"],
}  # fmt: skip


def commands_of(page: Path) -> list[list[str]]:
    """The needleplan commands of a page's blocks, each as its words without the program's."""
    fenced = re.findall(r"^```(\S*)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if not language]
    lines = re.findall(r"^needleplan (.*)$", "\n".join(blocks), flags=re.MULTILINE)
    return [shlex.split(line.split(" > ")[0]) for line in lines]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "sources"
    build_site.lay_out(folder, with_gallery=False)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_the_parser_takes_every_command_of_a_page(page) -> None:
    commands = [words for words in commands_of(page) if words != ["--help"]]
    assert commands
    for words in commands:
        options = build_parser().parse_args(words)
        assert options.command == words[0]


@pytest.mark.long
def test_the_commands_of_the_first_hour_run(tmp_path, monkeypatch, capsys) -> None:
    """All but those that take minutes, ask on a terminal or open a browser; with few paths, so that it is quick."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "first-hour.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    Path("study.toml").write_text(study, encoding="utf-8")
    ran = []
    for words in commands_of(DOCS / "first-hour.md"):
        if words[0] in ("phantom", "check", "plan", "completion") or "--dry-run" in words:
            assert main([*words, *QUICK.get(words[0], [])]) == 0, words
            ran.append(words[0])
    assert ran == ["completion", "phantom", "check", "plan", "study"]
    assert (tmp_path / "out" / "mine" / "plan.json").is_file()
    assert "complete -F" in capsys.readouterr().out


def test_every_document_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
    listed = {line for block in blocks for line in block.splitlines() if line and not line.startswith(":")}
    documents = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")} - {"index"}
    assert listed - documents == {"gallery/index", "reference/index", "changelog"}
    assert documents - listed == set()


def test_every_link_of_every_page_leads_to_a_page_of_the_site(sources) -> None:
    count = 0
    for page in sources.rglob("*.md"):
        text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not link.startswith(("http", "#")):
                assert (page.parent / link.partition("#")[0]).exists(), (page, link)
                count += 1
    assert count > 200


def test_every_public_module_has_a_page(sources) -> None:
    for package in ("needleplan", "robots", "sim"):
        for file in (ROOT / package).rglob("*.py"):
            inner = file.relative_to(ROOT)
            if not any(part.startswith("_") and part != "__init__.py" for part in inner.parts):
                page = page_of(inner)
                assert page is not None and (sources / page).is_file(), inner


def test_links_out_of_the_documents() -> None:
    class Pages:
        def page_of(self, file: Path) -> Path:
            return Path("files", "-".join(file.parts) + ".md")

    def link(words: str, page: str = "howto/a.md") -> str:
        return build_site._link(words, DOCS / page, Path(page), Pages())

    assert link("../../needleplan/plan.py") == "../reference/needleplan.plan.rst"
    assert link("../../needleplan/app") == "../reference/needleplan.app.rst"
    assert link("../guide.md#check") == "../guide.md#check"
    assert link("../needleplan/devices/zones.csv", "a.md") == "files/needleplan-devices-zones.csv.md"
    assert link("https://example.org/x.md") == "https://example.org/x.md"
    with pytest.raises(ValueError, match="leads nowhere"):
        link("../no-such-file.md")
    with pytest.raises(ValueError, match="leads nowhere"):
        link("../../../../../../etc")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("the norm |x| of q_ and a * b", r"the norm \|x\| of q\_ and a \* b"),
        ("``a|b*`` stays, |c| does not", r"``a|b*`` stays, \|c\| does not"),
        ("as of :class:`Plan` and :func:`sim.film.draw`", "as of :class:`Plan` and :func:`sim.film.draw`"),
        ("* a bullet with 2 * 3", r"* a bullet with 2 \* 3"),
        ("snake_case_name_mm stays", "snake_case_name_mm stays"),
    ],
)
def test_formulas_of_docstrings_are_no_markup(line, shown) -> None:
    assert conf.as_text(line) == shown


def test_blocks_of_docstrings_stay_as_they_are() -> None:
    lines = ["|a| is::", "", "    |b| * c", "", "and |d|"]
    conf.escape_docstring(None, "function", "name", None, None, lines)
    assert lines == [r"\|a\| is::", "", "    |b| * c", "", r"and \|d\|"]


def test_the_gallery_names_every_example_and_keeps_what_is_recorded() -> None:
    examples = read_examples(ROOT)
    for example in examples:
        kept = DOCS / "gallery" / f"{example.name}.txt"
        assert kept.is_file() == (example.run == "recorded"), example.name
        if kept.is_file():
            assert len(kept.read_text(encoding="utf-8").splitlines()) > 2
            assert not re.search(r"/(work|home|root|tmp)/", kept.read_text(encoding="utf-8"))
        for picture in example.pictures:
            assert picture.startswith("{out}/") or (DOCS / picture).is_file()


def test_an_example_that_fails_stops_the_gallery(tmp_path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "bad.py").write_text("raise SystemExit('no luck')")
    with pytest.raises(RuntimeError, match=r"bad\.py failed: no luck"):
        run_example(tmp_path, Example("bad", "build"), tmp_path, 20.0)


def test_a_list_that_misses_an_example_is_refused(tmp_path) -> None:
    (tmp_path / "docs" / "gallery").mkdir(parents=True)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "new.py").touch()
    (tmp_path / "docs" / "gallery" / "gallery.toml").write_text("example = []")
    with pytest.raises(ValueError, match="differ: new"):
        read_examples(tmp_path)


def test_the_site_names_no_other_server() -> None:
    for file in (DOCS / "conf.py", DOCS / "site.css"):
        assert "http" not in file.read_text(encoding="utf-8")
