"""The planning page in a real browser: dragged, typed, locked, undone, compared, saved, and without WebGL too."""

import io
import json
import math
import shutil
import threading
import time
import zipfile

import pytest
from viewed_plan import NAME, Page

from needleplan.app.folder import PlanFolder
from needleplan.app.view.page_server import PageServer
from needleplan.percentages import percent_down

NO_GL = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]


@pytest.fixture
def served(desk):
    """(address, what stops the server)."""
    server = PageServer(desk, 0)
    serving = threading.Thread(target=server.serve)
    serving.start()

    def stop():
        server.stop()
        serving.join(20.0)
        assert not serving.is_alive(), "a stopped server ends"

    yield server.address, stop
    if serving.is_alive():
        stop()


@pytest.fixture
def address(served):
    return served[0]


@pytest.fixture
def page(chromium, address):
    made = Page(chromium, address)
    yield made
    made.tab.close()


@pytest.mark.long
def test_a_dragged_tip_changes_columns_zone_and_figures(page, planned_folder):
    page.settled()
    before, columns, figures = page.needle(), page.column(), page.tab.inner_text("#figures")
    assert page.tab.inner_text("#title") == NAME and page.tab.title() != "broken"
    zone_before = page.tab.evaluate("needleplanPage.viewer.state().centres_mm['z:1']")
    handle = page.tab.locator("button.np-handle.np-tip").first.bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.tab.mouse.move(x, y)
    page.tab.mouse.down()
    for k in range(1, 13):
        page.tab.mouse.move(x + 3 * k, y + 2 * k)
    page.until("needleplanPage.connection.state.needles[0].moved")
    assert page.column() != columns, "columns change while the hand still holds the tip"
    page.tab.wait_for_timeout(300)
    zone = page.tab.evaluate("needleplanPage.viewer.state().centres_mm['z:1']")
    page.tab.mouse.up()
    page.settled()
    after = page.needle()
    assert after["tip_mm"] != before["tip_mm"] and after["entry_mm"] == before["entry_mm"]
    assert page.tab.inner_text("#figures") != figures
    assert page.tab.evaluate("needleplanPage.viewer.state().needles['1'].tip_mm") == pytest.approx(after["tip_mm"])
    assert zone != zone_before, "the zone goes with the tip while it is held"
    # One drag is one step.
    page.press("#undo")
    assert page.needle()["tip_mm"] == before["tip_mm"] and not page.state()["can_undo"]
    page.press("#redo")
    assert page.needle()["tip_mm"] == after["tip_mm"]
    # Locked: the field cannot be typed in, and the handle does not follow.
    page.tab.check("#lock-tip")
    page.until("needleplanPage.connection.state.needles[0].locked.tip")
    assert page.tab.locator("#tip-x").get_attribute("readonly") is not None
    page.tab.uncheck("#lock-tip")
    page.until("!needleplanPage.connection.state.needles[0].locked.tip")
    # Compared, and both drawn.
    page.settled()
    page.tab.click("#compare")
    page.tab.wait_for_selector("#compared table", timeout=60_000)
    assert "least margin" in page.tab.inner_text("#compared")
    page.tab.select_option("#drawn", "both")
    page.until("needleplanPage.viewer.state().shown.includes('z:other:1')")
    page.tab.select_option("#drawn", "other")
    page.until("!needleplanPage.viewer.state().shown.includes('z:1')")
    page.tab.select_option("#drawn", "edited")
    page.until(
        "needleplanPage.viewer.state().shown.includes('z:1')"
        " && needleplanPage.viewer.state().needles['other 1'] === undefined"
    )
    # Saved and exported.
    page.tab.fill("#name", "by-hand")
    page.tab.click("#save button")
    page.until("document.getElementById('kept').textContent.startsWith('Saved')")
    saved = PlanFolder(planned_folder.root / "edited" / "by-hand").read_plan()
    assert list(saved.insertions[0].tip_mm) == after["tip_mm"]
    page.tab.click("#save button")
    page.until("document.getElementById('kept').textContent.includes('another name')")
    with page.tab.expect_download(timeout=90_000) as download:
        page.tab.click("#export")
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert json.loads(archive.read("for-slicer/plan.mrk.json"))["markups"]
    assert [line for line in page.said if "400" not in line] == [], "only the refused name is told by the browser"


def test_a_name_that_the_browser_refuses_takes_the_answer_before_away(page):
    page.tab.fill("#name", "same")
    page.tab.click("#save button")
    page.until("document.getElementById('kept').textContent.includes('nothing was moved')")
    for name in ("a b", ""):
        page.tab.fill("#name", name)
        page.tab.click("#save button")
        page.until("document.getElementById('kept').textContent.startsWith('Not saved: a name has')")
    page.tab.fill("#name", "same")
    page.tab.click("#save button")
    page.until("document.getElementById('kept').textContent.includes('nothing was moved')")


def test_the_keyboard_alone_is_enough(page):
    before = page.needle()
    page.tab.focus("button.np-handle.np-tip")
    page.tab.keyboard.press("Shift+ArrowRight")
    page.until("needleplanPage.connection.state.needles[0].moved")
    page.tab.keyboard.press("Control+z")
    page.until("!needleplanPage.connection.state.needles[0].moved")
    page.tab.focus("#tip-x")
    page.tab.keyboard.press("Control+a")
    page.tab.keyboard.type(f"{before['tip_mm'][0] + 4.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until("needleplanPage.connection.state.needles[0].moved")
    assert page.needle()["tip_mm"][0] == pytest.approx(before["tip_mm"][0] + 4.0, abs=0.06)
    reached = set()
    page.tab.focus("#choices button")
    for _ in range(30):
        reached.add(page.tab.evaluate("document.activeElement.id"))
        page.tab.keyboard.press("Tab")
    assert {"entry-x", "tip-z", "lock-entry", "lock-tip", "reset-one", "undo", "reset", "name", "export"} <= reached
    page.tab.focus("#reset-one")
    page.tab.keyboard.press("Enter")
    page.until("!needleplanPage.connection.state.needles[0].moved")
    assert page.said == []


def test_a_coordinate_that_nobody_edited_stays_as_it_is(page):
    before = page.needle()["tip_mm"]
    assert before[1:] != [round(value, 1) for value in before[1:]], "the fields round, so that the test tells"
    page.tab.fill("#tip-x", f"{before[0] + 2.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until("needleplanPage.connection.state.needles[0].moved")
    after = page.needle()["tip_mm"]
    assert after[0] == float(f"{before[0] + 2.0:.1f}") and after[1:] == before[1:]


@pytest.mark.long
def test_moves_typed_before_and_after_the_page_is_loaded_anew_are_two_steps(page):
    before = page.needle()["tip_mm"]
    page.tab.fill("#tip-x", f"{before[0] + 2.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until("needleplanPage.connection.state.needles[0].moved")
    between, version = page.needle()["tip_mm"], page.state()["version"]
    page.tab.reload()
    page.until("Boolean(window.needleplanPage?.ready)")
    page.tab.fill("#tip-x", f"{before[0] + 4.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until(f"needleplanPage.connection.state.version > {version}")
    assert page.needle()["tip_mm"] != between
    page.press("#undo")
    assert page.needle()["tip_mm"] == between
    page.press("#undo")
    assert page.needle()["tip_mm"] == before


def test_a_broken_demand_is_said_plainly(page, planned):
    middle = planned.anatomy.obstacles[0].mesh.vertices_mm.mean(axis=0)
    typed(page, "tip", middle)
    page.until("!needleplanPage.connection.state.needles[0].feasible")
    assert "NOT FEASIBLE" in page.tab.inner_text("#verdict") and "BROKEN" in page.column()
    page.settled()
    assert "hard demands are broken" in page.tab.inner_text("#status")
    assert page.said == []


class HeldUp:
    """Moves of a page that wait on their way to the server until `go`."""

    def __init__(self, page):
        self.routes = []
        self.waits = True
        page.tab.route("**/move", lambda route: self.routes.append(route) if self.waits else route.continue_())

    def go(self):
        self.waits = False
        for route in self.routes:
            route.continue_()

    def go_first(self):
        self.routes.pop(0).continue_()

    def refuse(self, sentence):
        self.routes.pop(0).fulfill(status=400, json={"error": sentence})


def typed(page, end, point_mm):
    for axis, value in zip("xyz", point_mm, strict=True):
        page.tab.fill(f"#{end}-{axis}", f"{value:.1f}")
        page.tab.keyboard.press("Tab")


def shown_mm(page, end):
    return [float(page.tab.input_value(f"#{end}-{axis}")) for axis in "xyz"]


@pytest.mark.long
def test_coordinates_typed_faster_than_the_server_answers_are_all_taken(page):
    before = page.needle()["tip_mm"]
    wanted = [round(value + step, 1) for value, step in zip(before, (3.0, -2.0, 4.0), strict=True)]
    way = HeldUp(page)
    page.tab.fill("#tip-x", f"{wanted[0]:.1f}")
    page.tab.keyboard.press("Tab")
    page.tab.fill("#tip-y", f"{wanted[1]:.1f}")
    # The answer to the first comes while the second is typed.
    way.go()
    page.until("needleplanPage.connection.state.needles[0].moved && !needleplanPage.connection.busy")
    assert shown_mm(page, "tip")[:2] == wanted[:2]
    page.tab.keyboard.press("Tab")
    page.tab.fill("#tip-z", f"{wanted[2]:.1f}")
    page.tab.keyboard.press("Tab")
    page.settled()
    assert page.needle()["tip_mm"] == wanted and shown_mm(page, "tip") == wanted
    # All three before any answer.
    other = [round(value - 1.0, 1) for value in wanted]
    way = HeldUp(page)
    typed(page, "tip", other)
    way.go()
    page.settled()
    assert page.needle()["tip_mm"] == other and shown_mm(page, "tip") == other
    # Who leaves a field without a number in it sees what is.
    page.tab.fill("#tip-x", "")
    page.tab.focus("#entry-x")
    assert shown_mm(page, "tip") == other and page.needle()["tip_mm"] == other
    assert page.said == []


def test_a_place_on_the_way_that_is_refused_does_not_refuse_the_place_typed(page):
    before = page.needle()["tip_mm"]
    wanted = [round(value + step, 1) for value, step in zip(before, (3.0, -2.0, 4.0), strict=True)]
    way = HeldUp(page)
    page.tab.fill("#tip-x", "5000")
    page.tab.keyboard.press("Tab")
    page.tab.keyboard.press("Shift+Tab")
    typed(page, "tip", wanted)
    way.go()
    page.settled()
    assert page.needle()["tip_mm"] == wanted and shown_mm(page, "tip") == wanted
    assert page.tab.inner_text("#error") == ""
    # One alone is refused with its sentence, and the field shows where the tip is.
    page.tab.fill("#tip-x", "5000")
    page.tab.keyboard.press("Tab")
    page.until("document.getElementById('error').textContent.includes('out of the patient')")
    assert shown_mm(page, "tip") == wanted and page.needle()["tip_mm"] == wanted


def test_the_sentence_of_a_refusal_stays_while_the_other_end_is_moved(page):
    way = HeldUp(page)
    tip = page.needle()["tip_mm"]
    page.tab.fill("#tip-x", "5000")
    page.tab.keyboard.press("Tab")
    page.tab.fill("#entry-z", f"{page.needle()['entry_mm'][2] + 5.0:.1f}")
    page.tab.keyboard.press("Tab")
    way.go()
    page.until("needleplanPage.connection.state.needles[0].moved && !needleplanPage.connection.busy")
    assert "out of the patient" in page.tab.inner_text("#error")
    page.tab.fill("#tip-x", f"{tip[0] + 1.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until("document.getElementById('error').textContent === ''")


def test_coordinates_as_they_are_shown_are_valid(page):
    assert page.tab.evaluate("[...document.querySelectorAll('#needle input')].every((one) => one.validity.valid)")


TIP = "button.np-handle.np-tip"
SHOWN_TIP = "needleplanPage.viewer.state().needles['1'].tip_mm"


def test_a_step_of_a_key_starts_from_the_step_before_whatever_was_answered_meanwhile(page):
    start, version = page.needle()["tip_mm"], page.state()["version"]
    way = HeldUp(page)
    page.tab.focus(TIP)
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowRight")
    while not way.routes:
        page.tab.wait_for_timeout(10)
    way.go_first()
    while not way.routes:
        page.tab.wait_for_timeout(10)
    assert page.state()["version"] == version + 1, "the first step is answered, the second is on its way"
    page.tab.keyboard.press("ArrowRight")
    way.go()
    page.until(f"needleplanPage.connection.state.version === {version + 3} && !needleplanPage.connection.busy")
    tip = page.needle()["tip_mm"]
    assert math.dist(tip, start) == pytest.approx(3.0, abs=1e-6)
    assert page.tab.evaluate(SHOWN_TIP) == pytest.approx(tip)


def test_a_handle_that_was_moved_to_where_it_may_not_goes_back(page):
    tip = page.needle()["tip_mm"]
    way = HeldUp(page)
    page.tab.focus(TIP)
    page.tab.keyboard.press("ArrowRight")
    page.tab.keyboard.press("ArrowUp")
    for sentence in ("Not there.", "Nor there."):
        assert math.dist(page.tab.evaluate(SHOWN_TIP), tip) == pytest.approx(math.sqrt(2.0), abs=1e-3)
        while not way.routes:
            page.tab.wait_for_timeout(10)
        way.refuse(sentence)
        page.until(f"document.getElementById('error').textContent === '{sentence}'")
    page.until("!needleplanPage.connection.busy")
    assert page.tab.evaluate(SHOWN_TIP) == pytest.approx(tip) and page.needle()["tip_mm"] == tip


def test_what_is_saved_and_exported_waits_for_what_was_typed(page, planned_folder):
    tip = page.needle()["tip_mm"]
    way = HeldUp(page)
    page.tab.fill("#name", "at-once")
    for step_mm, button in ((2.0, "#save button"), (3.0, "#export")):
        page.tab.fill("#tip-x", f"{tip[0] + step_mm:.1f}")
        page.tab.click(button)
        while not way.routes:
            page.tab.wait_for_timeout(10)
        if button == "#export":
            with page.tab.expect_download(timeout=90_000):
                way.go_first()
        else:
            way.go_first()
            page.until("!document.getElementById('kept').textContent.startsWith('Working')")
            assert page.tab.inner_text("#kept").startswith("Saved")
            saved = PlanFolder(planned_folder.root / "edited" / "at-once").read_plan()
            assert saved.insertions[0].tip_mm[0] == float(f"{tip[0] + step_mm:.1f}")
    # What was typed is refused, so what would be saved is not what was asked for.
    page.tab.fill("#name", "not-this")
    page.tab.fill("#tip-x", "5000")
    page.tab.click("#save button")
    while not way.routes:
        page.tab.wait_for_timeout(10)
    way.go()
    page.until("document.getElementById('kept').textContent.includes('just before was refused')")
    assert not (planned_folder.root / "edited" / "not-this").exists()


def test_what_is_of_earlier_needles_is_pale_and_says_so(page, monkeypatch):
    from needleplan.app.view import desk as module

    page.settled()
    page.tab.click("#compare")
    page.until("Boolean(document.querySelector('#compared table') && document.querySelector('#painted figure'))")
    marks = ("#comparing", "#repainting")
    assert not any(page.tab.is_visible(mark) for mark in marks) and page.tab.is_visible("#compared .statuses")
    go, real = threading.Event(), module.judge

    def held_up(*arguments):
        go.wait(60.0)
        return real(*arguments)

    monkeypatch.setattr(module, "judge", held_up)
    try:
        page.tab.fill("#tip-z", f"{page.needle()['tip_mm'][2] + 6.0:.1f}")
        page.tab.keyboard.press("Tab")
        page.until("needleplanPage.connection.state.needles[0].moved")
        assert all(page.tab.is_visible(mark) and "of before" in page.tab.inner_text(mark) for mark in marks)
        assert page.tab.locator("#compared.stale table").count() == 3 and page.tab.locator("#painted.stale").count()
        assert not page.tab.is_visible("#compared .statuses"), "the status of earlier needles is not that of these"
    finally:
        go.set()
    page.settled()
    page.until("document.getElementById('comparing').hidden && document.getElementById('repainting').hidden")
    assert page.tab.is_visible("#compared .statuses") and page.tab.locator("main ~ * .stale").count() == 0
    assert "tips apart" in page.tab.inner_text("#compared") and "6.0 mm" in page.tab.inner_text("#compared")


def told(page, judged):
    """Has the page show another verdict."""
    page.settled()
    page.tab.evaluate(
        "(judged) => { const { state } = needleplanPage.connection;"
        " needleplanPage.connection.heard({ ...state, judged: { ...state.judged, ...judged } }); }",
        judged,
    )


def test_a_plan_that_is_not_feasible_is_not_told_that_all_is_kept(page):
    assert page.tab.inner_text("#said") == "Every hard demand on the paths is kept."
    told(page, {"status": "infeasible", "broken": [], "warnings": ["They come too near."]})
    assert page.tab.inner_text("#said").startswith("Not feasible: each path alone keeps its hard demands, but not")
    assert "They come too near." in page.tab.inner_text("#figures")


def test_coverage_says_all_only_where_nothing_is_missing(page):
    metrics = page.state()["judged"]["metrics"]
    told(page, {"metrics": {**metrics, "target_coverage_fraction": 0.9996, "margin_coverage_fraction": 1.0}})
    figures = page.tab.inner_text("#figures")
    assert "target covered\t99.9 %" in figures and "margin\t100 %" in figures
    shares = (0.0, 1e-5, 0.0009, 0.001, 0.29, 0.73799, 0.9996, 1.0 - 1e-13, 1.0)
    rounded = (
        "async (shares) => { const { covered } = await import('./files/tables.js'); return shares.map(covered); }"
    )
    assert page.tab.evaluate(rounded, list(shares)) == [percent_down(share) for share in shares], "as in the report"
    row = {"name": "target covered", "unit": "%", "first": 0.04, "second": 73.79, "difference": 73.75,
           "capped": [False, False]}  # fmt: skip
    assert compared_row(page, row) == ["target covered", "under 0.1 %", "73.7 %", "+73.8 %"]


def compared_row(page, row):
    """The cells of a row of a comparison."""
    return page.tab.evaluate(
        "async (row) => { const { comparedTable } = await import('./files/tables.js');"
        " return [...comparedTable('', '', '', [row]).querySelectorAll('td')].map((one) => one.textContent); }",
        row,
    )


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ((60.0, 60.0, None, [True, True]), ["≥ 60.0 mm", "≥ 60.0 mm", "–"]),
        ((60.0, 22.0, -38.0, [True, False]), ["≥ 60.0 mm", "22.0 mm", "≤ −38.0 mm"]),
        ((7.5, 60.0, 52.5, [False, True]), ["7.5 mm", "≥ 60.0 mm", "≥ +52.5 mm"]),
        ((7.5, 8.0, 0.5, [False, False]), ["7.5 mm", "8.0 mm", "+0.5 mm"]),
    ],
)
def test_a_clearance_that_is_measured_no_farther_is_told_as_at_least(page, row, cells):
    first, second, difference, capped = row
    made = {"name": "vena_cava", "unit": "mm", "first": first, "second": second, "difference": difference}
    assert compared_row(page, {**made, "capped": capped}) == ["vena cava", *cells]


def test_an_undo_asked_before_a_move_was_refused_takes_nothing_back(page):
    version = page.state()["version"]
    page.tab.fill("#tip-x", f"{page.needle()['tip_mm'][0] + 3.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until(f"needleplanPage.connection.state.version > {version} && !needleplanPage.connection.busy")
    moved = page.needle()["tip_mm"]
    way = HeldUp(page)
    page.tab.fill("#tip-x", "5000")
    page.tab.keyboard.press("Tab")
    page.tab.click("#undo")
    way.go()
    page.until("document.getElementById('error').textContent.includes('out of the patient')")
    page.until("!needleplanPage.connection.busy")
    assert page.needle()["tip_mm"] == moved and page.state()["can_undo"]


@pytest.mark.long
def test_two_tabs_show_one_plan_and_a_stale_edit_is_a_sentence(page, address):
    second = Page(page.tab.context.browser, address)
    page.tab.fill("#tip-x", f"{page.needle()['tip_mm'][0] + 3.0:.1f}")
    page.tab.keyboard.press("Tab")
    second.until("needleplanPage.connection.state.needles[0].moved")
    # As if the news had not arrived yet.
    second.tab.evaluate(
        "const known = needleplanPage.connection;"
        "known.take({...known.state, version: 0, serial: 1e9, can_undo: true})"
    )
    second.tab.click("#undo")
    second.until("document.getElementById('error').textContent.includes('changed meanwhile')")
    assert second.needle()["moved"] and second.state()["version"] > 0
    second.tab.close()
    assert page.needle()["moved"] and page.said == []


@pytest.fixture
def blind(chromium):
    """The same browser without WebGL."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    browser = chromium.browser_type.launch(executable_path=path, args=NO_GL)
    yield browser
    browser.close()


def test_without_webgl_numbers_and_tables_work(blind, address):
    page = Page(blind, address)
    assert not page.tab.evaluate("needleplanPage.viewer.state().webgl")
    assert "draws no WebGL" in page.tab.inner_text("#viewer")
    columns = page.column()
    page.tab.fill("#tip-z", f"{page.needle()['tip_mm'][2] + 6.0:.1f}")
    page.tab.keyboard.press("Tab")
    page.until("needleplanPage.connection.state.needles[0].moved")
    assert page.column() != columns


def test_a_server_that_ends_is_told_and_nothing_hangs(blind, desk):
    server = PageServer(desk, 0)
    serving = threading.Thread(target=server.serve)
    serving.start()
    page = Page(blind, server.address)
    began = time.monotonic()
    server.stop()
    serving.join(20.0)
    assert not serving.is_alive() and time.monotonic() - began < 10.0
    page.until("!document.getElementById('lost').hidden")


def test_pictures_of_one_kind_stand_side_by_side_and_are_alike(blind, address):
    page = Page(blind, address)
    page.tab.set_viewport_size({"width": 1400, "height": 1000})
    page.settled()
    page.until("document.querySelectorAll('#margin figure').length === 2")

    def boxes(places):
        return [one.bounding_box() for one in page.tab.locator(places).all()]

    planes = boxes(".np-plane")
    assert len(planes) == 3
    for side in ("y", "width", "height"):
        assert max(box[side] for box in planes) - min(box[side] for box in planes) < 1.0, side
    # Slider and figure keep to the width of their picture.
    assert page.tab.evaluate(
        "[...document.querySelectorAll('.np-plane-figure')].every((one) => one.scrollWidth <= one.clientWidth + 1)"
    )
    histogram, painted = boxes("#margin figure")
    assert histogram["y"] == pytest.approx(painted["y"], abs=1.0) and painted["x"] > histogram["x"] + 400
    ends = [box["x"] + box["width"] for box in boxes("main, #comparison, #margin")]
    assert ends == pytest.approx([ends[0]] * 3, abs=1.0)
    page.tab.close()


@pytest.mark.parametrize(("wide", "high", "rows"), [(1280, 720, 1), (1920, 1080, 1), (540, 400, 3)])
def test_a_plane_and_its_slider_are_whole_in_the_window(blind, address, wide, high, rows):
    page = Page(blind, address)
    page.tab.set_viewport_size({"width": wide, "height": high})
    figures = [one.bounding_box() for one in page.tab.locator(".np-plane-figure").all()]
    assert len(figures) == 3 and max(box["height"] for box in figures) <= high
    assert len({round(box["y"]) for box in figures}) == rows
    page.tab.close()


def test_without_a_server_the_scene_shows_what_the_fields_show(page, served):
    page.settled()
    tip = page.needle()["tip_mm"]
    served[1]()
    page.tab.focus("button.np-handle.np-tip")
    page.tab.keyboard.press("Shift+ArrowRight")
    page.until("document.getElementById('error').textContent.includes('nothing was changed')")
    assert page.tab.evaluate("needleplanPage.viewer.state().needles['1'].tip_mm") == pytest.approx(tip)
    assert page.tab.input_value("#tip-x") == f"{tip[0]:.1f}"


def test_without_a_server_the_edited_plan_stays_drawn_and_a_sentence_says_so(page, served):
    page.settled()
    page.until("needleplanPage.viewer.state().shown.includes('z:1')")
    served[1]()
    for choice in ("other", "both"):
        page.tab.select_option("#drawn", choice)
        page.until("document.getElementById('undrawn').textContent.includes('The server did not answer.')")
        now = page.tab.evaluate("needleplanPage.viewer.state()")
        assert (
            "z:1" in now["shown"]
            and now["needles"]["1"]["shown"]
            and not [name for name in now["needles"] if name.startswith("other")]
        )
        assert page.tab.input_value("#drawn") == "edited"
    page.tab.click("#compare")
    page.until("document.getElementById('compared').textContent === 'The server did not answer.'")
    assert [line for line in page.said if "ERR_" not in line] == [], (
        "only that nobody answers is told by the browser"
    )


@pytest.mark.long
def test_a_state_that_the_server_cannot_tell_is_not_called_a_server_that_is_gone(page, desk, monkeypatch):
    page.settled()

    def broken(*_):
        raise RuntimeError("of its own")

    monkeypatch.setattr(desk, "state", broken)
    page.until("document.getElementById('lost').textContent.includes('of its own')")
    assert "was stopped" not in page.tab.inner_text("#lost")
    monkeypatch.undo()
    page.until("document.getElementById('lost').hidden")
