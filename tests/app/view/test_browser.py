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
def address(desk):
    server = PageServer(desk, 0)
    serving = threading.Thread(target=server.serve)
    serving.start()
    yield server.address
    server.stop()
    serving.join(20.0)
    assert not serving.is_alive(), "a stopped server ends"


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


def test_a_broken_demand_is_said_plainly(page, planned):
    middle = planned.anatomy.obstacles[0].mesh.vertices_mm.mean(axis=0)
    for axis, value in zip("xyz", middle, strict=True):
        page.tab.fill(f"#tip-{axis}", f"{value:.1f}")
        page.tab.keyboard.press("Tab")
    page.until("!needleplanPage.connection.state.needles[0].feasible")
    assert "NOT FEASIBLE" in page.tab.inner_text("#verdict") and "BROKEN" in page.column()
    page.settled()
    assert "hard demands are broken" in page.tab.inner_text("#status")
    assert page.said == []


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
