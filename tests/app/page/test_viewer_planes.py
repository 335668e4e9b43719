"""Planes, margins and handles of the viewer, and the browser that draws no WebGL."""

import numpy as np
import pytest
from made_scene import CENTRE_MM, grown_scene, made_scene
from viewer_page import open_viewer

_EDITABLE = "{ editable: true, onMove: (...move) => window.moves.push(move) }"
_NO_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind.startsWith("webgl") ? null : get.call(this, kind, ...more);
};
"""
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def viewer(chromium, tmp_path_factory):
    page = open_viewer(chromium, tmp_path_factory.mktemp("viewer"), made_scene(), reduced_motion="reduce")
    yield page
    page.page.close()


@pytest.fixture(scope="module")
def without_webgl(chromium, tmp_path_factory):
    page = open_viewer(chromium, tmp_path_factory.mktemp("viewer"), made_scene(), before=_NO_WEBGL, still=_PNG)
    yield page
    page.page.close()


def _crossing(needle, view, offset_mm):
    """Where the line of a needle meets a slice, in the picture's x and y."""
    entry, tip = (np.subtract(needle[end], CENTRE_MM) for end in ("entry_mm", "tip_mm"))
    axis = np.array(view["axis"])
    share = (offset_mm - entry @ axis) / ((tip - entry) @ axis)
    point = entry + share * (tip - entry)
    return [point @ view["right"], point @ view["down"]]


@pytest.mark.parametrize(("panel", "index"), [(0, 7), (1, 3), (2, 1)])
def test_a_needle_crosses_a_plane_where_geometry_says(viewer, panel, index):
    scene = made_scene()
    view = scene["planes"]["views"][panel]
    viewer.run(f"await v.setSlice('{view['id']}', {index});")
    circles = viewer.page.locator(".np-plane").nth(panel).locator("circle.np-crossing")
    found = [[float(c.get_attribute("cx")), float(c.get_attribute("cy"))] for c in circles.all()]
    offset = view["slices"][index]["offset_mm"]
    assert found and len(found) <= 2
    expected = [_crossing(needle, view, offset) for needle in scene["needles"]]
    for place in found:
        assert min(np.linalg.norm(np.subtract(place, e)) for e in expected) < 0.02


def test_a_plane_beyond_the_tip_shows_no_crossing(viewer):
    # The last coronal slice lies 30 mm behind the centre, every tip at most 5 mm.
    viewer.run("await v.setSlice('coronal', 12);")
    assert viewer.page.locator(".np-plane").nth(2).locator("circle.np-crossing").count() == 0
    with pytest.raises(Exception, match="there is no slice 99 of a plane coronal"):
        viewer.run("await v.setSlice('coronal', 99);")


def test_planes_tell_sides_scale_and_place(viewer):
    axial = viewer.page.locator(".np-plane").first
    assert {"R", "L", "A", "P", "5 cm"} <= set(axial.locator("text").all_text_contents())
    bar = axial.locator("path.np-scale").evaluate("(path) => path.getBBox().width")
    body = axial.locator("path.np-contour").first.evaluate("(path) => path.getBBox().width")
    assert bar == pytest.approx(50) and body == pytest.approx(190, rel=0.01)
    slider = viewer.page.get_by_label("Axial", exact=True)
    slider.fill("6")
    slider.press("ArrowRight")
    assert viewer.state()["slices"]["axial"] == 7
    assert slider.get_attribute("aria-valuetext") == "+5.0 mm"


def test_the_histogram_tells_its_figures_and_hatches_what_is_too_little(viewer):
    texts = viewer.page.locator(".np-histogram text").all_text_contents()
    shares = [bin_["area_share"] for bin_ in made_scene()["margin"]["histogram"]]
    assert texts[0] == "−5 to 0 mm"
    assert [text for text in texts if text.endswith("%")] == [f"{100 * share:.1f} %" for share in shares]
    hatched = viewer.page.locator(".np-histogram rect[fill^='url(#']")
    assert hatched.count() == 2


def test_every_control_is_reached_by_tab_and_shows_it(viewer):
    viewer.page.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
    controls = viewer.page.evaluate(
        "[...document.querySelectorAll('.np-viewer input, .np-viewer button, .np-viewer canvas[tabindex]')]"
        ".filter((item) => item.checkVisibility()).map((item, k) => { item.dataset.k = k; return k; })"
    )
    reached = {}
    for _ in range(len(controls) + 2):
        viewer.page.keyboard.press("Tab")
        k, width, named = viewer.page.evaluate(
            "() => { const a = document.activeElement; const s = getComputedStyle(a);"
            " return [a.dataset.k, s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth),"
            " Boolean(a.ariaLabel || a.getAttribute('aria-label') || a.labels?.length || a.textContent)]; }"
        )
        if k is not None:
            reached[int(k)] = (width, named)
    assert set(reached) == set(controls)
    assert all(width >= 2 and named for width, named in reached.values())


def test_the_keyboard_turns_zooms_moves_and_resets(viewer):
    canvas = viewer.page.locator("canvas").first
    canvas.focus()
    first = viewer.state()["camera"]
    canvas.press("ArrowRight")
    turned = viewer.state()["camera"]
    assert turned["azimuth_deg"] - first["azimuth_deg"] == pytest.approx(5)
    for _ in range(40):
        canvas.press("ArrowUp")
    assert viewer.state()["camera"]["elevation_deg"] == pytest.approx(90)
    canvas.press("+")
    assert viewer.state()["camera"]["distance_mm"] < first["distance_mm"]
    canvas.press("Shift+ArrowLeft")
    assert viewer.state()["camera"]["target_mm"] != first["target_mm"]
    canvas.press("0")
    assert viewer.state()["camera"]["toward"] == pytest.approx(first["toward"])


def test_with_less_motion_a_breath_plays_in_still_pictures(viewer):
    viewer.page.get_by_role("button", name="Play breathing").click()
    seen = set()
    for _ in range(4):
        viewer.page.wait_for_timeout(100)
        seen.add(viewer.state()["breath"])
    viewer.page.get_by_role("button", name="Play breathing").click()
    assert seen == {0.5}


def test_without_webgl_a_sentence_and_all_else(without_webgl):
    page = without_webgl.page
    assert without_webgl.said == []
    assert page.locator(".np-no-scene").inner_text().startswith("This browser draws no WebGL")
    assert page.locator(".np-pane img").get_attribute("alt").startswith("Still picture of")
    assert not page.get_by_role("button", name="Along needle 1").is_visible()
    state = without_webgl.state()
    assert state["ready"] and not state["webgl"]
    contours = page.locator(".np-plane path.np-contour").count()
    page.get_by_role("checkbox", name="tumour").uncheck()
    assert page.locator(".np-plane path.np-contour").count() == contours - 3
    assert page.locator(".np-histogram text").count() == 6
    page.get_by_label("Sagittal", exact=True).fill("2")
    assert without_webgl.state()["slices"]["sagittal"] == 2


def test_the_planes_follow_the_growth_also_without_webgl(chromium, tmp_path):
    scene = grown_scene()
    page = open_viewer(chromium, tmp_path, scene, before=_NO_WEBGL)
    zones = page.page.locator(".np-plane").first.locator("path.np-zones")

    def widths():
        return [round(one.evaluate("(path) => path.getBBox().width")) for one in zones.all()]

    # The planned zone, which does not grow, and that of the moment.
    assert widths() == [38, 32]
    page.page.get_by_role("slider", name="Zone growth").fill("0")
    assert widths() == [38, 12]
    assert "0:00 min, 0.9 ml" in page.page.locator(".np-course output").last.inner_text()
    assert "Dashed: zones at the moment of growth" in page.page.locator(".np-planes .np-note").inner_text()
    assert not page.page.get_by_role("slider", name="Breathing").is_visible()
    page.page.close()


def test_without_webgl_no_slider_is_offered_that_changes_nothing(without_webgl):
    assert without_webgl.page.get_by_role("slider", name="Zone growth").count() == 0
    assert without_webgl.page.get_by_role("slider", name="Breathing").count() == 0


def test_the_note_of_a_scene_stands_beneath_it_on_screen_and_on_paper(viewer):
    viewer.remount({**made_scene(), "note": "Smoothed by 2.7 mm <b>"})
    note = viewer.page.locator(".np-stage .np-scene-note")
    assert note.inner_text() == "Smoothed by 2.7 mm <b>" and note.is_visible()
    viewer.page.emulate_media(media="print")
    assert note.is_visible()
    viewer.page.emulate_media(media="screen")
    viewer.remount(made_scene())
    assert note.count() == 0


def test_a_damaged_scene_is_told_and_the_page_stands(chromium, tmp_path):
    scene = made_scene()
    scene["bodies"][0]["faces"]["shape"] = [7, 3]
    page = open_viewer(chromium, tmp_path, scene, wait="[role=alert]")
    told = page.page.get_by_role("alert").inner_text()
    assert "The scene cannot be shown" in told and "where its shape asks for 42" in told
    page.page.close()


def test_handles_move_ends_in_the_plane_of_the_screen(viewer):
    viewer.remount(made_scene(), _EDITABLE)
    viewer.run("v.look('left'); v.stage.draw();")
    camera = viewer.state()["camera"]
    toward, up = np.array(camera["toward"]), np.array(camera["up"])
    before = np.array(viewer.state()["needles"]["1"]["entry_mm"])
    handle = viewer.page.get_by_role("button", name="Entry of needle 1")
    handle.press("ArrowUp")
    handle.press("Shift+ArrowRight")
    handle.press("PageUp")
    after = np.array(viewer.state()["needles"]["1"]["entry_mm"])
    assert after - before == pytest.approx(up + 5 * np.cross(up, toward) - toward, abs=1e-6)
    order, end, point, done = viewer.page.evaluate("window.moves.at(-1)")
    assert (order, end, done) == (1, "entry", True) and point == pytest.approx(after)

    viewer.run("v.stage.draw();")
    scale = viewer.run("return v.stage.mmPerPixel(v.needles.get('1').entry);")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(x + 30, y, steps=3)
    viewer.page.mouse.up()
    dragged = np.array(viewer.state()["needles"]["1"]["entry_mm"]) - after
    assert dragged == pytest.approx(30 * scale * np.cross(up, toward), abs=0.02)
    dones = [move[3] for move in viewer.page.evaluate("window.moves")]
    assert dones[-1] is True and dones[-2] is False


def test_a_locked_end_and_a_forbidden_needle_say_so(viewer):
    viewer.remount(made_scene(), _EDITABLE)
    needle = made_scene()["needles"][1]
    viewer.run(
        "v.setNeedle(2, given.entry_mm, given.tip_mm, {feasible: false, locked: {tip: true}});"
        "v.look('left'); v.stage.draw();",
        needle,
    )
    locked = viewer.page.get_by_role("button", name="Tip of needle 2, locked")
    locked.press("ArrowUp")
    assert viewer.page.evaluate("window.moves") == []
    assert viewer.state()["needles"]["2"]["tip_mm"] == pytest.approx(needle["tip_mm"])
    assert viewer.page.locator(".np-tag.np-refused").inner_text() == "2 not allowed"


def test_a_lost_scene_is_told_and_the_planes_stay(viewer):
    viewer.remount(made_scene())
    viewer.run("v.stage.renderer.getContext().getExtension('WEBGL_lose_context').loseContext();")
    viewer.until(lambda state: not state["webgl"])
    assert "reload the page" in viewer.page.locator(".np-no-scene").inner_text()
    assert viewer.page.locator(".np-plane path.np-contour").count() == 12
    for name in ("Breathing", "Zone growth"):
        assert not viewer.page.get_by_role("slider", name=name).is_visible()
    viewer.run("v.setBreath(0.5); v.setGrowth(1); v.setNeedle(1, [0, 0, 0], [1, 1, 1]);")
