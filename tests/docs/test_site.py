"""The built site: every page in its place, links led to pages, docstrings as they were meant, commands that run."""

import hashlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from needleplan.app.cli import build_parser, main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import build_site  # noqa: E402
import conf  # noqa: E402
import site_gallery  # noqa: E402
from site_gallery import (  # noqa: E402
    Example,
    Still,
    draw_still,
    kept_pictures,
    read_examples,
    read_records,
    record,
    run_example,
    script_digest,
    write_gallery,
)
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
    assert ran == ["completion", "completion", "completion", "phantom", "check", "plan", "study"]
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


def test_every_recorded_picture_exists_and_is_named_in_the_list() -> None:
    named = set()
    for example in read_examples(ROOT):
        kept = kept_pictures(ROOT, example)
        assert len(kept) >= (len(example.drawn) if example.run == "recorded" else 0), example.name
        assert example.run == "recorded" or not kept, example.name
        named.update(kept)
    there = {file for ending in ("*.png", "*.jpg") for file in (DOCS / "gallery").glob(ending)}
    assert there == named and len(there) >= 2
    assert sum(file.stat().st_size for file in there) <= site_gallery.MOST_PICTURE_BYTES
    for file in there:
        with Image.open(file) as picture:
            assert 600 <= picture.width <= site_gallery.WIDEST_PIXELS, file.name


def test_what_is_recorded_was_made_by_the_script_as_it_stands() -> None:
    records = read_records(ROOT)
    for example in read_examples(ROOT):
        pictures = kept_pictures(ROOT, example)
        assert not pictures or example.name in records, example.name
        if example.name in records:
            kept = {file.name for file in pictures} | {f"{example.name}.txt"}
            renew = f"renew it: python docs/site_gallery.py --record {example.name}"
            assert records[example.name]["script"] == script_digest(ROOT, example), renew
            assert set(records[example.name]["files"]) == kept, renew
            for name, digest in records[example.name]["files"].items():
                assert hashlib.sha256((DOCS / "gallery" / name).read_bytes()).hexdigest() == digest, renew
    assert set(records) <= {example.name for example in read_examples(ROOT)}


@pytest.fixture
def small_root(tmp_path: Path) -> Path:
    """A repository of one example that draws one picture."""
    root = tmp_path / "root"
    (root / "docs" / "gallery").mkdir(parents=True)
    (root / "examples").mkdir()
    (root / "examples" / "dot.py").write_text('"""A dot."""\nprint(1)\n')
    (root / "docs" / "gallery" / "gallery.toml").write_text(
        '[[example]]\nname = "dot"\nrun = "recorded"\npictures = ["{out}/*/dot-*.png"]\n'
        'stills = [{film = "a", at = 0.5, caption = "Half of it"}]\n'
    )
    return root


def drawing(folder: Path, *names: str, width: int = 2000) -> Path:
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (width, 1000), "white").save(folder / "sub" / name)
    Image.new("RGB", (960, 600), "black").save(folder / "a-50.jpg")
    return folder


def test_recording_renews_text_and_pictures_together(small_root, tmp_path) -> None:
    (example,) = read_examples(small_root)
    gallery = small_root / "docs" / "gallery"
    record(small_root, example, "one\n", drawing(tmp_path / "first", "dot-1.png", "dot-2.png"))
    first = read_records(small_root)["dot"]
    record(small_root, example, "two\n", drawing(tmp_path / "second", "dot-3.png", width=900))
    assert {file.name for file in gallery.iterdir()} == {
        "gallery.toml", "recorded.json", "dot.txt", "dot-dot-3.png", "dot-a-50.jpg"
    }  # fmt: skip
    assert [file.name for file in kept_pictures(small_root, example)] == ["dot-dot-3.png", "dot-a-50.jpg"]
    assert (gallery / "dot.txt").read_text() == "two\n"
    second = read_records(small_root)["dot"]
    assert set(second["files"]) == {"dot.txt", "dot-dot-3.png", "dot-a-50.jpg"}
    assert second["script"] == first["script"] and second["files"]["dot.txt"] != first["files"]["dot.txt"]


def test_a_wide_picture_is_kept_small(small_root, tmp_path) -> None:
    (example,) = read_examples(small_root)
    record(small_root, example, "one\n", drawing(tmp_path / "made", "dot-1.png"))
    with Image.open(small_root / "docs" / "gallery" / "dot-dot-1.png") as picture:
        assert picture.size == (1280, 640)
        assert picture.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_record_that_cannot_be_kept_leaves_the_old_one(small_root, tmp_path, monkeypatch) -> None:
    (example,) = read_examples(small_root)
    record(small_root, example, "one\n", drawing(tmp_path / "first", "dot-1.png"))
    gallery = small_root / "docs" / "gallery"
    before = {file.name: file.read_bytes() for file in gallery.iterdir()}
    with pytest.raises(RuntimeError, match=r"dot\.py drew no \*/dot-\*\.png"):
        record(small_root, example, "two\n", drawing(tmp_path / "none"))
    monkeypatch.setattr(site_gallery, "MOST_PICTURE_BYTES", 500)
    with pytest.raises(RuntimeError, match="more than the limit"):
        record(small_root, example, "two\n", drawing(tmp_path / "large", "dot-2.png"))
    assert {file.name: file.read_bytes() for file in gallery.iterdir()} == before


def test_a_record_is_of_the_code_and_its_arguments_not_of_its_comments(small_root) -> None:
    (example,) = read_examples(small_root)
    digest = script_digest(small_root, example)
    script = small_root / "examples" / "dot.py"
    script.write_text('"""Other words."""\n\n# a comment\nprint( 1 )\n')
    assert script_digest(small_root, example) == digest
    script.write_text('"""A dot."""\nprint(2)\n')
    assert script_digest(small_root, example) != digest
    script.write_text('"""A dot."""\nprint(1)\n')
    assert script_digest(small_root, Example("dot", "recorded", ("--more",))) != digest
    moved = Example("dot", "recorded", (), example.pictures, "", (Still("a", 0.6, "Half of it"),))
    assert script_digest(small_root, moved) != digest


def test_a_page_shows_recorded_text_pictures_and_the_captions_of_stills(small_root, tmp_path) -> None:
    (example,) = read_examples(small_root)
    record(small_root, example, "seven\n", drawing(tmp_path / "made", "dot-1.png"))
    write_gallery(small_root, tmp_path / "sources", with_runs=False)
    page = (tmp_path / "sources" / "gallery" / "dot.md").read_text()
    assert "seven" in page and "![Half of it](pictures/dot-a-50.jpg)\n\n*Half of it*" in page
    for link in re.findall(r"\]\((pictures/[^)]+)\)", page):
        assert (tmp_path / "sources" / "gallery" / link).is_file()
    assert page.count("](pictures/") == 2
    assert "](pictures/dot-dot-1.png)" in (tmp_path / "sources" / "gallery" / "index.md").read_text()


def test_sentences_of_a_docstring_flow_and_commands_keep_their_lines(small_root, tmp_path) -> None:
    (small_root / "examples" / "dot.py").write_text(
        '"""A dot.\n\n    python dot.py   one\n    python dot.py 2   two\n\n'
        'A sentence with --out of\ntwo `--lines`.\n"""\nprint(1)\n'
    )
    record(small_root, read_examples(small_root)[0], "1\n", drawing(tmp_path / "made", "dot-1.png"))
    write_gallery(small_root, tmp_path / "sources", with_runs=False)
    page = (tmp_path / "sources" / "gallery" / "dot.md").read_text().partition("## examples/dot.py")[0]
    assert "````text\npython dot.py   one\npython dot.py 2   two\n````" in page
    assert "\nA sentence with \\-\\-out of two `--lines`.\n" in page


def test_a_still_is_the_frame_at_its_share_of_the_film(tmp_path) -> None:
    film = tmp_path / "grey.mp4"
    writer = imageio_ffmpeg.write_frames(str(film), (64, 48), fps=10, macro_block_size=None)
    writer.send(None)
    for number in range(11):
        writer.send(np.full((48, 64, 3), 20 * number, dtype=np.uint8).tobytes())
    writer.close()
    for at in (0.0, 0.5, 1.0):
        draw_still(film, at, tmp_path / "still.jpg")
        with Image.open(tmp_path / "still.jpg") as picture:
            assert picture.size == (64, 48)
            assert np.asarray(picture).mean() == pytest.approx(200.0 * at, abs=8.0)
    with pytest.raises(RuntimeError, match="no frame at 2"):
        draw_still(film, 2.0, tmp_path / "still.jpg")
    with pytest.raises(RuntimeError, match="there is no film none"):
        draw_still(tmp_path / "none.mp4", 0.5, tmp_path / "still.jpg")


def test_an_example_that_fails_stops_the_gallery(tmp_path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "bad.py").write_text("raise SystemExit('no luck')")
    with pytest.raises(RuntimeError, match=r"bad\.py failed: no luck"):
        run_example(tmp_path, Example("bad", "build"), tmp_path, 20.0)


def test_an_example_that_is_never_run_is_refused(small_root) -> None:
    file = small_root / "docs" / "gallery" / "gallery.toml"
    file.write_text(file.read_text().replace("recorded", "shown"))
    with pytest.raises(ValueError, match="run of dot must be build or recorded"):
        read_examples(small_root)


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


@pytest.fixture(scope="module")
def small_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two pages, built with the settings and the style of the real one."""
    folder = tmp_path_factory.mktemp("small_site")
    (folder / "sources").mkdir()
    (folder / "sources" / "index.md").write_text("# Home\n\n```{toctree}\nother\n```\n")
    (folder / "sources" / "other.md").write_text("# Other\n\nThe margin of an ablation.\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", str(DOCS), "-b", "html"]
    subprocess.run([*command, str(folder / "sources"), str(folder / "site")], check=True, timeout=120)
    return folder / "site"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_notice_of_every_page_is_read_whole(small_site, chromium, width) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto((small_site / "index.html").as_uri())
    notice, box = page.evaluate(
        """() => {
            const content = document.querySelector('.announcement-content'), words = document.createRange();
            words.selectNodeContents(content);
            const found = [words, document.querySelector('.announcement')].map(one => one.getBoundingClientRect());
            return found.map(each => [each.left, each.right, each.top, each.bottom]);
        }"""
    )
    page.close()
    assert notice[0] >= 0 and notice[1] <= width
    assert box[2] <= notice[2] and notice[3] <= box[3]


def test_the_search_finds_pages_where_the_site_is_opened_as_a_file(small_site, chromium) -> None:
    page = chromium.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((small_site / "search.html").as_uri() + "?q=ablation")
    page.wait_for_selector("#search-results li a")
    page.wait_for_function("document.querySelector('#search-results').innerText.includes('found')")
    page.wait_for_timeout(500)
    found = page.inner_text("#search-results li")
    page.close()
    assert "Other" in found
    assert not errors
