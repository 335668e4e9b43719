"""The planning page in a real browser: dragged, typed, locked, undone, compared, saved, and without WebGL too."""

import io
import json
import shutil
import threading
import time
import zipfile

import pytest
from viewed_plan import NAME, Page

from needleplan.app.folder import PlanFolder
from needleplan.app.view.page_server import PageServer

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


def typed(page, end, point_mm):
    for axis, value in zip("xyz", point_mm, strict=True):
        page.tab.fill(f"#{end}-{axis}", f"{value:.1f}")
        page.tab.keyboard.press("Tab")


def shown_mm(page, end):
    return [float(page.tab.input_value(f"#{end}-{axis}")) for axis in "xyz"]


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


def test_a_state_that_the_server_cannot_tell_is_not_called_a_server_that_is_gone(page, desk, monkeypatch):
    page.settled()

    def broken(*_):
        raise RuntimeError("of its own")

    monkeypatch.setattr(desk, "state", broken)
    page.until("document.getElementById('lost').textContent.includes('of its own')")
    assert "was stopped" not in page.tab.inner_text("#lost")
    monkeypatch.undo()
    page.until("document.getElementById('lost').hidden")
