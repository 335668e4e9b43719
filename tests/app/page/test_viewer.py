"""The viewer in a browser: what is drawn, and what each control does to it."""

import numpy as np
import pytest
from made_scene import AXES, BREATH_MM, CENTRE_MM, HOSTILE, SUPERIOR, made_scene
from viewer_page import open_viewer


@pytest.fixture(scope="module")
def opened(chromium, tmp_path_factory):
    page = open_viewer(chromium, tmp_path_factory.mktemp("viewer"), made_scene())
    yield page
    page.page.close()


@pytest.fixture
def viewer(opened):
    opened.everything()
    return opened


def _centre_px(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def test_opens_without_a_word_and_without_the_network(opened):
    assert opened.said == []
    assert {url.partition(":")[0] for url in opened.asked} <= {"file", "blob", "data"}
    assert sum(url.startswith("file:") for url in opened.asked) == 1
    state = opened.state()
    assert state["ready"] and state["webgl"]


def test_nothing_is_drawn_while_nothing_changes(viewer):
    # The first frames may be late on a busy machine; then there is none.
    seen = [-1, viewer.state()["frames"]]
    while seen[-1] != seen[-2] and len(seen) < 20:
        viewer.page.wait_for_timeout(400)
        seen.append(viewer.state()["frames"])
    assert len(seen) < 20, seen
    viewer.page.wait_for_timeout(1000)
    assert viewer.state()["frames"] == seen[-1]
    viewer.run("v.look('left');")
    viewer.page.wait_for_timeout(400)
    assert viewer.state()["frames"] > seen[-1]


def test_the_scene_is_drawn_and_turns_under_the_mouse(viewer):
    before = viewer.picture()
    assert viewer.drawn().mean() > 0.1
    box = viewer.page.locator("canvas").first.bounding_box()
    viewer.page.mouse.move(box["x"] + 300, box["y"] + 200)
    viewer.page.mouse.down()
    viewer.page.mouse.move(box["x"] + 400, box["y"] + 230, steps=3)
    viewer.page.mouse.up()
    assert (np.abs(viewer.picture() - before).max(axis=2) > 10).mean() > 0.02
    distance = viewer.state()["camera"]["distance_mm"]
    viewer.page.mouse.wheel(0, -300)
    viewer.until(lambda state: state["camera"]["distance_mm"] < distance)


def test_the_wheel_scrolls_the_page_until_the_scene_is_clicked(viewer):
    viewer.page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    box = viewer.page.locator("canvas").first.bounding_box()
    distance = viewer.state()["camera"]["distance_mm"]
    viewer.page.mouse.move(box["x"] + 300, box["y"] + 200)
    viewer.page.mouse.wheel(0, 200)
    viewer.page.wait_for_timeout(300)
    assert viewer.page.evaluate("window.scrollY") > 0
    assert viewer.state()["camera"]["distance_mm"] == distance
    viewer.page.evaluate("window.scrollTo(0, 0)")


def test_two_fingers_zoom_and_move(viewer):
    box = viewer.page.locator("canvas").first.bounding_box()
    x, y = box["x"] + 400, box["y"] + 250
    before = viewer.state()["camera"]
    session = viewer.page.context.new_cdp_session(viewer.page)

    def touch(kind, *points):
        places = [{"x": x + dx, "y": y + dy, "id": k} for k, (dx, dy) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (-50, 0), (50, 0))
    touch("touchMove", (-80, 40), (120, 40))
    touch("touchEnd")
    after = viewer.state()["camera"]
    assert after["distance_mm"] == pytest.approx(before["distance_mm"] / 2, rel=0.02)
    assert np.linalg.norm(np.subtract(after["target_mm"], before["target_mm"])) > 5
    assert after["azimuth_deg"] == pytest.approx(before["azimuth_deg"])


@pytest.mark.parametrize(("name", "toward"), [("left", AXES[:, 0]), ("back", AXES[:, 1]), ("below", -AXES[:, 2])])
def test_named_views_look_from_the_patients_side(viewer, name, toward):
    viewer.run(f"v.look('{name}');")
    camera = viewer.state()["camera"]
    assert camera["toward"] == pytest.approx(toward, abs=1e-6)
    up = SUPERIOR if name != "below" else -AXES[:, 1]
    assert camera["up"] == pytest.approx(up, abs=1e-6)


def test_a_needle_is_a_point_when_looked_along_and_a_line_from_elsewhere(viewer):
    viewer.only("needle 1")
    extents = {}
    for name in ("needle 1", "front"):
        viewer.run(f"v.look('{name}');")
        rows, columns = np.nonzero(viewer.drawn())
        extents[name] = max(np.ptp(rows), np.ptp(columns))
    assert 2 < extents["needle 1"] < 10
    assert extents["front"] > 75


def test_breathing_moves_a_body_in_the_picture_by_its_millimetres(viewer):
    viewer.only("t:target")
    viewer.run("v.look('front');")
    scale = viewer.run("return v.stage.mmPerPixel() * v.stage.size[1] / v.canvas.height;")
    still = _centre_px(viewer.drawn())
    height, width = viewer.drawn().shape
    assert still == pytest.approx([width / 2, height / 2], abs=1.0)
    viewer.run("v.setBreath(1);")
    moved = _centre_px(viewer.drawn())
    assert (moved - still) * scale == pytest.approx([0.0, BREATH_MM], abs=0.6)
    told = np.array(viewer.state()["centres_mm"]["t:target"])
    assert told == pytest.approx(CENTRE_MM - BREATH_MM * SUPERIOR, abs=0.1)


def test_a_body_without_breath_stays(viewer):
    viewer.only("s:rib")
    before = viewer.picture()
    viewer.run("v.setBreath(1);")
    assert np.array_equal(viewer.picture(), before)


def test_veils_look_the_same_in_whatever_order_the_scene_names_them(viewer):
    before = viewer.picture()
    scene = made_scene()
    scene["bodies"].reverse()
    viewer.remount(scene)
    assert np.abs(viewer.picture() - before).max() <= 3
    # The order does matter: the picture is another one where the fronts of all veils are drawn by size alone.
    viewer.run("for (const drawn of v.stage.drawnBodies.values()) drawn.order = () => {};")
    viewer.run(
        "[...v.stage.drawnBodies.values()].forEach((d, k) => { d.backs.renderOrder = d.fronts.renderOrder = k; });"
    )
    assert np.abs(viewer.picture() - before).max() > 3


def test_a_needle_is_seen_through_the_veils(viewer):
    viewer.run("v.look('left');")
    with_it = viewer.picture()
    viewer.run("v.show('needle 1', false);")
    assert (np.abs(viewer.picture() - with_it).max(axis=2) > 25).sum() > 75


def test_a_tick_hides_a_body_from_scene_and_planes(viewer):
    before = viewer.state()
    contours = viewer.page.locator(".np-plane path.np-contour").count()
    viewer.page.get_by_role("checkbox", name="zone planned").uncheck()
    after = viewer.state()
    assert before["triangles"] - after["triangles"] == 1280
    assert "z:zone" not in after["shown"]
    assert viewer.page.locator(".np-plane path.np-contour").count() == contours - 3
    viewer.page.get_by_role("checkbox", name="Show all: Structures").uncheck()
    assert not [body for body in viewer.state()["shown"] if body.startswith("s:")]


def test_the_tick_of_a_group_shows_and_hides_all_of_it(viewer):
    whole = viewer.page.get_by_role("checkbox", name="Show all: Structures")
    structures = {body for body in viewer.state()["shown"] if body.startswith("s:")}
    assert len(structures) > 2

    def shown():
        return {body for body in viewer.state()["shown"] if body.startswith("s:")}

    whole.click()
    assert shown() == set() and not whole.is_checked()
    whole.click()
    assert shown() == structures and whole.is_checked()
    # Of a group that is shown in part a click shows the rest.
    viewer.page.get_by_role("checkbox", name="rib").uncheck()
    assert shown() == structures - {"s:rib"}
    whole.click()
    assert shown() == structures and whole.is_checked()


def test_the_legend_keeps_its_colours_where_the_system_forces_its_own(viewer):
    viewer.page.emulate_media(forced_colors="active")
    try:
        colours = viewer.page.evaluate(
            "() => [...document.querySelectorAll('.np-swatch[data-pattern=plain]')]"
            ".map((one) => getComputedStyle(one).backgroundColor)"
        )
    finally:
        viewer.page.emulate_media(forced_colors="none")
    given = viewer.page.evaluate(
        "() => [...document.querySelectorAll('.np-swatch[data-pattern=plain]')]"
        ".map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert colours == given and len(set(given)) > 2


def test_opacity_of_one_and_of_a_group(viewer):
    before = viewer.picture()
    viewer.page.get_by_role("slider", name="Opacity of rib").fill("20")
    assert viewer.state()["opacity"]["s:rib"] == pytest.approx(0.2)
    assert np.abs(viewer.picture() - before).max() > 20
    viewer.page.get_by_role("slider", name="Opacity of all: Structures").fill("40")
    opacity = viewer.state()["opacity"]
    assert {opacity[body] for body in ("s:skin", "s:liver", "s:rib")} == {0.4}
    assert opacity["t:target"] == 1.0


def test_growth_shows_one_moment_and_tells_its_volume(viewer):
    viewer.page.get_by_role("slider", name="Zone growth").fill("0")
    state = viewer.state()
    assert [body for body in state["shown"] if body.startswith("g:")] == ["g:0"]
    assert "0:00 min, 0.9 ml" in viewer.page.locator(".np-course output").nth(1).inner_text()
    viewer.page.get_by_role("button", name="Play zone growth").click()
    assert viewer.state()["playing"]["growth"]
    state = viewer.until(lambda state: not state["playing"]["growth"])
    assert state["growth"] == 2


def test_breathing_plays_and_stops(viewer):
    viewer.page.get_by_role("button", name="Play breathing").click()
    shares = [viewer.until(lambda state, low=low: state["breath"] > low)["breath"] for low in (0.05, 0.5, 0.9)]
    assert shares == sorted(shares) and shares[-1] <= 1
    viewer.page.get_by_role("button", name="Play breathing").click()
    stopped = viewer.state()["breath"]
    viewer.page.wait_for_timeout(300)
    assert viewer.state()["breath"] == stopped


def test_names_stay_text(viewer):
    assert viewer.page.evaluate("window.broken") is None
    assert viewer.page.locator("img").count() == 0
    labels = viewer.page.locator(".np-row label bdi").all_inner_texts()
    assert HOSTILE in labels
    assert viewer.page.locator("canvas").first.get_attribute("aria-label") == f"Scene of {HOSTILE}"


def test_bodies_and_needles_come_and_go(viewer):
    scene = made_scene()
    zone = next(body for body in scene["bodies"] if body["id"] == "z:zone")
    viewer.run("v.show('z:zone', false); await v.setBodies([given]);", zone)
    assert "z:zone" not in viewer.state()["shown"]
    viewer.run("await v.setBodies([{...given, id: 'z:other', name: 'another zone'}]);", zone)
    assert "z:other" in viewer.state()["shown"]
    viewer.run("v.removeBody('z:other');")
    assert viewer.page.get_by_role("checkbox", name="another zone").count() == 0
    viewer.run("v.setNeedle('B1', [0, -200, 840], [31, -112, 840], {ghost: true, label: 'other plan'});")
    assert viewer.page.get_by_role("checkbox", name="other plan").is_checked()
    viewer.run("v.removeNeedle('B1');")
    assert list(viewer.state()["needles"]) == ["1", "2"]
    with pytest.raises(Exception, match="there is no body s:nothing in the scene"):
        viewer.run("v.show('s:nothing', true);")


def test_of_two_calls_for_one_body_the_later_counts(viewer):
    bodies = {body["id"]: body for body in made_scene()["bodies"]}
    large, small = ({**bodies[name], "id": "z:live", "name": "live"} for name in ("s:skin", "g:0"))
    small["moment"] = None
    viewer.run("await Promise.all([v.setBodies([given[0]]), v.setBodies([given[1]])]);", [large, small])
    centre = np.array(viewer.state()["centres_mm"]["z:live"])
    assert centre == pytest.approx(CENTRE_MM, abs=0.1)
    size = viewer.run("return v.stage.drawnBodies.get('z:live').geometry.boundingBox;")
    assert size["max"]["x"] - size["min"]["x"] == pytest.approx(12, abs=0.3)
    viewer.run("v.removeBody('z:live');")


def test_prints_the_scene_without_its_controls(viewer):
    viewer.page.emulate_media(media="print")
    try:
        assert viewer.page.locator("canvas").first.is_visible()
        assert viewer.page.locator(".np-plane").first.is_visible()
        for control in (".np-viewer input", ".np-viewer button"):
            assert not any(item.is_visible() for item in viewer.page.locator(control).all())
    finally:
        viewer.page.emulate_media(media="screen")
