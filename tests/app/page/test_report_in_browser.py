"""The report in a browser: it opens, asks for nothing, reacts to its controls, prints, and says all it has."""

import dataclasses
import time
from functools import cache

import numpy as np
import pytest
from planned_patient import oblique, planned_patient, with_skin

from needleplan.app.page.scene import build_scene
from needleplan.app.report import write_report
from needleplan.app.report_audit import Input
from needleplan.app.report_paths import paths_section
from needleplan.plan import Evidence
from needleplan.viz.canvas import Picture

HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>\u202e&\""


@cache
def made():
    planned = with_skin(planned_patient(oblique(), count=1, scored=True))
    options = {"limits.skin_angle_deg": 60.0, "tables": "ab" * 32}
    provenance = dataclasses.replace(planned.plan.provenance, options=options)
    plan = dataclasses.replace(planned.plan, case_name=HOSTILE, provenance=provenance)
    planned = dataclasses.replace(planned, plan=plan)
    return planned, build_scene(planned, deforming=False), paths_section(planned)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    planned, scene, paths = made()
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(
        path, anatomy=planned.anatomy, plan=planned.plan, scene=scene, paths=paths,
        inputs=[Input("the file of liver", "cd" * 32)], command="needleplan report …",
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(chromium, report):
    page = chromium.new_page(viewport={"width": 1300, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    begin = time.perf_counter()
    page.goto(report.as_uri())
    page.wait_for_selector(".np-viewer[data-ready]", timeout=30_000)
    yield page, said, asked, time.perf_counter() - begin
    page.close()


def state(page):
    return page.evaluate("() => window.needleplanViewer.state()")


def test_it_opens_and_asks_for_nothing(opened, report):
    page, said, asked, taken_s = opened
    assert said == [] and taken_s < 20.0
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    now = state(page)
    assert now["ready"] and now["webgl"] and now["triangles"] > 1000
    assert "t:tumour" in now["shown"] and "z:all" in now["shown"] and "m:target" not in now["shown"]


def test_hostile_names_are_text(opened):
    page, said, *_ = opened
    assert page.evaluate("() => window.hit") is None
    assert page.locator("h1").first.inner_text() == HOSTILE
    assert page.locator("img[src=x]").count() == 0 and said == []


def test_a_script_that_slipped_in_does_not_run(chromium, report, tmp_path):
    text = report.read_text(encoding="utf-8").replace("<footer>", "<script>window.hit = 1</script><footer>")
    path = tmp_path / "tampered.html"
    path.write_text(text, encoding="utf-8")
    page = chromium.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("() => window.hit") is None
    page.close()


def test_controls_react(opened):
    page, said, *_ = opened
    page.get_by_label("skin", exact=True).first.uncheck()
    assert "s:skin" not in state(page)["shown"]
    page.get_by_label("skin", exact=True).first.check()
    before = state(page)["centres_mm"]["t:tumour"]
    page.evaluate("() => window.needleplanViewer.setBreath(1)")
    after = state(page)["centres_mm"]["t:tumour"]
    moved = sum((a - b) ** 2 for a, b in zip(after, before, strict=True)) ** 0.5
    assert moved == pytest.approx(15.0, abs=0.3)
    page.evaluate("() => { window.needleplanViewer.setBreath(0); window.needleplanViewer.setGrowth(0) }")
    assert state(page)["growth"] == 0 and "z:all" not in state(page)["shown"]
    assert said == []


def test_keys_lead_through_the_page(opened):
    page, *_ = opened
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0) }")
    kinds = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        kinds.add(page.evaluate("() => document.activeElement.tagName + ':' + (document.activeElement.type || '')"))
    assert {"A:", "INPUT:checkbox", "INPUT:range"} <= kinds


def test_links_lead_to_sections(opened):
    page, *_ = opened
    for link in page.locator("nav.contents a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_it_says_why_and_what_went_in(opened):
    page, *_ = opened
    text = page.locator("main").inner_text()
    for words in (
        "Needle 1: what was demanded", "skin angle", "at most 60.00°", "Needle 1: what it costs",
        "other ways in", "places of the skin offer a way", "cd" * 32, "ab" * 32, "needleplan report …",
        "numpy", "99.9 % within", "from what is measured",
    ):  # fmt: skip
        assert words in text, words


def test_it_prints_on_a4(opened):
    page, *_ = opened
    pages = page.pdf(format="A4")
    assert pages.startswith(b"%PDF") and len(pages) > 20_000
    page.emulate_media(media="print")
    width = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 1
    page.emulate_media(media="screen")


def test_without_webgl_all_but_the_scene_is_there(chromium, report):
    page = chromium.new_page()
    page.add_init_script(
        "const given = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        "  return kind.startsWith('webgl') ? null : given.call(this, kind, ...rest); };"
    )
    page.goto(report.as_uri())
    page.wait_for_selector(".np-viewer[data-ready]", timeout=30_000)
    text = page.locator("main").inner_text()
    assert "WebGL" in text and "Needle 1: what was demanded" in text and not state(page)["webgl"]
    widths = [page.locator(place).first.bounding_box()["width"] for place in (".np-no-scene", ".np-pane")]
    assert widths[0] == pytest.approx(widths[1], abs=3.0), "the sentence lies across the whole picture"
    assert page.evaluate("() => getComputedStyle(document.querySelector('.np-no-scene')).paddingLeft") == "18px"
    page.close()


@pytest.mark.parametrize("drawn", [("target", "patient", "planes", "margins", "needle-planes"), ()])
def test_without_scripts_still_pictures_stand_for_the_scene(chromium, tmp_path, drawn):
    planned, scene, _ = made()
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    pictures = [Picture(name, f"Title of {name}", f"{HOSTILE} in a caption.", pixels) for name in drawn]
    path = write_report(
        tmp_path / "report.html", anatomy=planned.anatomy, plan=planned.plan, scene=scene, pictures=pictures
    )
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    text = page.locator("main").inner_text()
    assert "No scripts run here" in text and ("still pictures" in text) == bool(drawn)
    shown = page.locator("main img")
    assert shown.count() == len(drawn) and all(image.is_visible() for image in shown.all())
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth === 60)")
    assert all(text.count(f"Title of {name}.") == 1 for name in drawn)
    context.close()
    # Where scripts run, the scene stands alone.
    page = chromium.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector(".np-viewer[data-ready]", timeout=30_000)
    assert page.locator("main img").count() == len([name for name in drawn if name == "needle-planes"])
    assert "No scripts run here" not in page.locator("main").inner_text()
    assert page.evaluate("() => window.hit") is None
    page.close()


def test_a_long_word_does_not_widen_the_page_of_a_telephone(chromium, tmp_path):
    planned, scene, _ = made()
    word = "hepatocellular" * 4
    insertion = dataclasses.replace(planned.plan.insertions[0], clearances_mm={word: 3.0})
    evidence = (Evidence(word, f"The {word} is near.", f"Move the {word}."),)
    plan = dataclasses.replace(planned.plan, case_name=word, insertions=(insertion,), evidence=evidence)
    picture = Picture("needle-planes", word, word, np.zeros((40, 60, 3), np.uint8))
    path = write_report(
        tmp_path / "report.html", anatomy=planned.anatomy, plan=plan, pictures=[picture], notes=[word],
        scene=scene,
    )  # fmt: skip
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_selector(".np-viewer[data-ready]", timeout=30_000)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    # A table is moved sideways instead: none of its words is broken.
    cell = page.locator("#clearances tbody th").first
    assert cell.bounding_box()["height"] < 45.0 and cell.inner_text() == word
    page.close()


def test_marks_of_writing_direction_in_a_name_turn_no_figure_round(chromium, tmp_path):
    planned, *_ = made()
    turning = "liver \u202e dome"
    insertion = dataclasses.replace(planned.plan.insertions[0], clearances_mm={turning: 3.25})
    evidence = (Evidence("clearance", f"{turning} is 3.25 mm away of 10.5 mm", f"Move from {turning} by 7.25 mm."),)
    plan = dataclasses.replace(planned.plan, insertions=(insertion,), evidence=evidence)
    path = write_report(tmp_path / "report.html", anatomy=planned.anatomy, plan=plan, notes=[f"{turning}: 5.75 mm"])
    page = chromium.new_page()
    page.goto(path.as_uri())
    # Where a figure is turned round, its first letter stands right of its last.
    places = page.evaluate(
        """(figures) => {
          const found = [], walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
          for (let node = walk.nextNode(); node; node = walk.nextNode()) for (const figure of figures) {
            const start = node.data.indexOf(figure);
            if (start < 0) continue;
            const left = [0, figure.length - 1].map((k) => {
              const range = document.createRange();
              range.setStart(node, start + k);
              range.setEnd(node, start + k + 1);
              return range.getBoundingClientRect().left;
            });
            found.push([figure, left[0] < left[1]]);
          }
          return found;
        }""",
        ["3.25 mm away of 10.5 mm", "by 7.25 mm", "5.75 mm"],
    )
    assert sorted(places) == [["3.25 mm away of 10.5 mm", True], ["5.75 mm", True], ["by 7.25 mm", True]]
    page.close()
