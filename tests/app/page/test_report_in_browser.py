"""The report in a browser: it opens, asks for nothing, reacts to its controls, prints, and says all it has."""

import dataclasses
import time
from functools import cache

import pytest
from planned_patient import oblique, planned_patient, with_skin

from needleplan.app.page.scene import build_scene
from needleplan.app.report import write_report
from needleplan.app.report_audit import Input
from needleplan.app.report_paths import paths_section

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
        inputs=[Input("the file of liver", "cd" * 32)], command="needleplan report …/mine",
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
        "Needle 1: what was demanded", "skin angle", "at most 60.00 deg", "Needle 1: what it costs",
        "other ways in", "places of the skin offer a way", "cd" * 32, "ab" * 32, "needleplan report …/mine",
        "numpy", "99.9 % within",
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
    page.close()
