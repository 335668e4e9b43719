import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rehearsals import Patients

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.lujan import LujanMotion
from needleplan.outcome import Outcome
from needleplan.plan import Plan
from needleplan.viz.offscreen import RenderingError
from robots.frames import PatientPlacement, place_anatomy
from robots.gantry import Gantry
from robots.route import RobotRoute
from sim.controller_state import State
from sim.faults import Fault, FaultKind
from sim.film import FilmOptions, FilmPart, make_film, make_film_of_parts, make_stills
from sim.film_captions import draw_banner
from sim.film_curves import RecordedCurves, ticks
from sim.film_frames import select_frames
from sim.film_needles import Tubes
from sim.film_panel import FilmPanel, PanelText, words_of
from sim.film_room import add_gantry
from sim.film_scene import FilmScene, FilmView
from sim.film_shapes import make_renderer
from sim.film_text import Sheet
from sim.film_tissue import MovingTissue
from sim.options import RehearsalOptions
from sim.recorder import SceneRecorder, SceneState
from sim.rehearse import run_rehearsal

OPTIONS = RehearsalOptions(
    sample_s=0.1, faces_per_structure=400, check_clearance=False, follow_structures=False, contact_s=1.0
)
SMALL = FilmOptions(960, 600, frames_per_s=4, seconds_per_insertion=2.0)
SIZE, SHARES = (960, 600), (0.6875, 0.40)
ROOM_WIDTH, DETAIL_HEIGHT = 660, 240

Rehearsed = tuple[SceneRecorder, Outcome]


def recorded(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients, options: RehearsalOptions = OPTIONS
) -> Rehearsed:
    recorder, motion = SceneRecorder(), LujanMotion()
    run = run_rehearsal(plan, route, anatomy, motion, 3, recorder, options=options, patient=patients(motion))
    return recorder, run.outcome


@pytest.fixture(scope="module")
def rehearsed(anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients) -> Rehearsed:
    return recorded(anatomy, plan, route, patients)


@pytest.fixture(scope="module")
def placement(anatomy: Anatomy) -> PatientPlacement:
    return place_anatomy(anatomy)


@pytest.fixture(scope="module")
def scene(rehearsed: Rehearsed, anatomy: Anatomy, plan: Plan, placement: PatientPlacement) -> Iterator[FilmScene]:
    made = FilmScene(anatomy, placement, rehearsed[0], plan.insertions, SIZE, *SHARES)
    try:
        made.render(rehearsed[0].states[0])
    except RenderingError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def deep(recorder: SceneRecorder) -> SceneState:
    """The state in which the needle is deepest, while the target is displaced."""
    states = [s for s in recorder.states if s.shafts_mm and np.linalg.norm(s.displacement_mm) > 8.0]
    return max(states, key=lambda state: state.depth_mm)


def panel_of(rehearsed: Rehearsed, size: tuple[int, int] = (400, 432)) -> FilmPanel:
    recorder, outcome = rehearsed
    planned = tuple(needle.planned for needle in outcome.needles)
    curves = RecordedCurves(recorder.states, recorder.gate_mm)
    return FilmPanel(size, PanelText("Rehearsal", (1,)), curves, planned, outcome)


def test_frames_follow_time_and_favour_the_insertion(rehearsed: Rehearsed) -> None:
    recorder, _ = rehearsed
    options = FilmOptions(frames_per_s=15, seconds_per_insertion=6.0)
    frames = select_frames(recorder.states, options)
    assert len(frames) == 90
    times = np.array([state.time_s for state, _ in frames])
    assert (np.diff(times) >= 0).all() and times[0] == recorder.states[0].time_s
    assert times[-1] == recorder.states[-1].time_s
    inside = [s.state in (State.WAIT, State.INSERT, State.HOLD, State.SETTLE) for s, _ in frames]
    assert np.mean(inside) > 0.5
    for (state, speed), later in zip(frames[:-1], times[1:], strict=True):
        if state.state is State.INSERT and later - state.time_s > 0:
            assert (later - state.time_s) * 15 == pytest.approx(speed, abs=0.11 * 15)
    with pytest.raises(OptionError, match="recorded nothing"):
        select_frames([], options)


def test_a_film_of_many_needles_is_shortened(rehearsed: Rehearsed) -> None:
    recorder, _ = rehearsed
    many = [
        dataclasses.replace(state, needle=order, time_s=state.time_s + 1000.0 * order)
        for order in range(1, 11)
        for state in recorder.states[::20]
    ]
    frames = select_frames(many, FilmOptions(frames_per_s=10, seconds_per_insertion=7.0, largest_film_s=20.0))
    assert len(frames) == 200


def test_the_panel_shows_gate_and_depth(rehearsed: Rehearsed) -> None:
    recorder, outcome = rehearsed
    panel = panel_of(rehearsed)
    states = {state.gate_open: state for state in recorder.states}
    lamp = {gate: panel.draw(state, 0.0, 5.0)[123, 27].astype(int) for gate, state in states.items()}
    assert lamp[True][1] > lamp[True][0] + 50 and lamp[False][0] > lamp[False][1] + 50

    def filled(depth: float) -> int:
        row = panel.draw(recorder.states[0], depth, 5.0)[377].astype(int)
        return int((row[:, 0] > row[:, 2] + 60).sum())

    full = outcome.needles[0].planned.depth_mm
    assert filled(0.0) == filled(-5.0) == 0 and filled(full) > 300 and filled(1.2 * full) == filled(full)
    assert filled(0.5 * full) == pytest.approx(0.5 * filled(full), abs=3)
    assert panel_of(rehearsed, (300, 360)).draw(recorder.states[0], 0.0, 1.0).shape == (360, 300, 3)


def test_every_state_has_its_words(rehearsed: Rehearsed) -> None:
    state = dataclasses.replace(rehearsed[0].states[0], gate_open=True)
    words = {kind: words_of(dataclasses.replace(state, state=kind)) for kind in State}
    assert all(words.values())
    # At the moment at which the gate closes the needle is still in motion, and no longer advances.
    closing = dataclasses.replace(state, state=State.INSERT, gate_open=False)
    assert words_of(closing) == "Needle stops" != words[State.INSERT]
    # Held before the skin it is in no tissue.
    inside = dataclasses.replace(state, state=State.HOLD, shafts_mm=((state.needle, np.eye(3)[:2]),))
    assert words_of(inside) == "Needle rests in tissue" and words[State.HOLD] == words[State.WAIT]


def test_words_fit_where_they_are_written() -> None:
    sheet = Sheet((400, 200), 1.0, "#000000")
    long = "the newest sample of the breathing is older than the limit, which may pass " * 4
    for widest in (40.0, 150.0, 360.0):
        words, size = sheet.fitted(long, 21.0, widest)
        assert sheet.text_width(words, size) <= widest and words.endswith("…")
        lines = sheet.wrapped(long, 12.5, widest, lines=2)
        assert len(lines) == 2 and all(sheet.text_width(line, 12.5) <= widest for line in lines)
    assert sheet.fitted("short", 21.0, 360.0) == ("short", 21.0)
    assert sheet.wrapped("short", 12.5, 360.0, lines=2) == ["short"]
    sheet.text((100.0, 100.0), long, 12.0, "#ffffff", anchor="lm", widest=200.0)
    written = np.flatnonzero(sheet.picture().max(axis=(0, 2)) > 0)
    assert written.min() >= 99 and written.max() <= 301


def test_curves_shade_the_time_in_which_the_needle_may_advance(rehearsed: Rehearsed) -> None:
    state = rehearsed[0].states[0]
    seconds = np.arange(0.0, 40.0, 0.05)
    # Two seconds open in every eight; the target moves between 0 and 10 mm.
    way = [0.0 if t % 8.0 < 2.0 else 10.0 for t in seconds]
    states = [
        dataclasses.replace(
            state, time_s=t, displacement_mm=np.array([0.0, 0.0, -w]), gate_open=w == 0.0, seen_mm=None
        )
        for t, w in zip(seconds, way, strict=True)
    ]
    box = (50.0, 20.0, 350.0, 120.0)
    gated, free = RecordedCurves(states, 2.0), RecordedCurves(states, 0.0)
    assert gated.way_mm(states[60]) == pytest.approx(10.0)
    pictures = []
    for curves in (gated, free):
        sheet = Sheet((400, 200), 1.0, "#000000")
        curves.draw_way(sheet, 36.0, box)
        pictures.append(sheet.picture().astype(int))
    # Between the grid's lines the shaded columns are greener than blue.
    level = pictures[0][34:38, 52:345].mean(axis=0)
    green = level[:, 1] > level[:, 2] + 5
    assert green.mean() == pytest.approx(6.0 / 20.0, abs=0.03)
    # The gate's borders are there with a gate alone.
    borders = [(p[:, 52:345, 1] > p[:, 52:345, 0] + 90).sum() for p in pictures]
    assert borders[0] > 200 and borders[1] == 0
    assert ticks(-1.0, 21.0).tolist() == [0.0, 5.0, 10.0, 15.0, 20.0] and ticks(0.0, 1.0).tolist() == [0.0, 1.0]
    assert len(ticks(-3.0, 8.0, most=2.3)) <= 3


def test_tissue_is_drawn_where_the_body_has_carried_it(
    rehearsed: Rehearsed, anatomy: Anatomy, placement: PatientPlacement
) -> None:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    body = rehearsed[0].patient.body  # type: ignore[union-attr]
    renderer = make_renderer((0.0, 0.0, 1.0, 1.0))
    tissue = MovingTissue(body.body, placement)
    surfaces = [anatomy.surface(name) for name in ("skin", "liver", "spine")]
    for surface in surfaces:
        tissue.add(renderer, surface, surface.mesh)
    actors = renderer.GetActors()
    actors.InitTraversal()
    data = [actors.GetNextActor().GetMapper().GetInput() for _ in surfaces]
    for displacement in ([0.0, -6.0, -13.0], [0.0, 0.0, 0.0]):
        state = body.state(displacement)
        tissue.pose(state)
        for surface, drawn in zip(surfaces, data, strict=True):
            now = state.mesh(surface)
            points = vtk_to_numpy(drawn.GetPoints().GetData())
            # Vertices that no face uses are left away; here there are none.
            assert points == pytest.approx(placement.points_to_world(now.vertices_mm), abs=1e-9)
            normals = vtk_to_numpy(drawn.GetPointData().GetNormals())
            faces = placement.directions_to_world(now.area_vectors_mm2)
            aligned = np.einsum("ij,ij->i", normals[now.faces[:, 0]], faces) / np.linalg.norm(faces, axis=1)
            # At the poles of these coarse meshes a vertex looks elsewhere than its faces.
            assert aligned.min() > 0.2 and np.mean(aligned > 0.9) > 0.8


@pytest.mark.parametrize("view", FilmView)
@pytest.mark.parametrize("nearness", [0.0, 0.4, 1.0])
def test_the_needle_is_drawn_where_it_is(
    scene: FilmScene, rehearsed: Rehearsed, view: FilmView, nearness: float
) -> None:
    state = deep(rehearsed[0])
    ((order, shaft),) = state.shafts_mm
    # Without the needle in tissue it is drawn in the guide; both are the same but for it.
    elsewhere = dataclasses.replace(state, shafts_mm=((order, shaft + np.array([0.0, 0.0, 2000.0])),))
    with_it = scene.render(state, (), nearness=nearness).astype(int)
    without = scene.render(elsewhere, (), nearness=nearness).astype(int)
    changed = np.abs(with_it - without).max(axis=2) > 12
    region = np.zeros_like(changed)
    region[:DETAIL_HEIGHT, ROOM_WIDTH:] = True
    if view is FilmView.ROOM:
        region[:] = False
        region[:, :ROOM_WIDTH] = True
    rows, columns = np.nonzero(changed & region)
    drawn = np.column_stack([columns + 0.5, rows + 0.5])
    line = scene.pixels(shaft, view)
    tip, direction = line[-1], (line[-1] - line[-3]) / np.linalg.norm(line[-1] - line[-3])
    near = drawn[np.linalg.norm(drawn - tip, axis=1) < 40.0]
    assert len(near) > 8
    along, across = (near - tip) @ direction, np.abs((near - tip) @ np.array([-direction[1], direction[0]]))
    assert along.max() < 3.0 and across.max() < 6.0  # the needle's own thickness
    if view is FilmView.TARGET:  # in the room what is opaque hides the tip
        assert along.max() > -3.0
    else:
        assert np.linalg.norm(drawn - line[1], axis=1).min() < 3.0


def test_planned_path_and_standing_needle_move_with_the_tissue(
    scene: FilmScene, rehearsed: Rehearsed, plan: Plan
) -> None:
    body = rehearsed[0].patient.body  # type: ignore[union-attr]
    state = deep(rehearsed[0])
    (insertion,) = plan.insertions
    empty = dataclasses.replace(state, shafts_mm=())
    nothing, path = scene.render(empty, ()).astype(int), scene.render(empty, plan.insertions).astype(int)
    rows, columns = np.nonzero(np.abs(path - nothing).max(axis=2)[:DETAIL_HEIGHT, ROOM_WIDTH:] > 25)
    drawn = np.column_stack([columns + ROOM_WIDTH + 0.5, rows + 0.5])
    moved = body.state(state.displacement_mm).carry([insertion.tip_mm], inside=True)
    tip = scene.pixels(moved, FilmView.TARGET)[0]
    at_rest = scene.pixels(np.array([insertion.tip_mm]), FilmView.TARGET)[0]
    ball = drawn[np.linalg.norm(drawn - tip, axis=1) < 2.2 * scene.pixels_per_mm]
    assert ball.mean(axis=0) == pytest.approx(tip, abs=1.5) and np.linalg.norm(tip - at_rest) > 10.0
    other = dataclasses.replace(insertion, order=1)
    standing = scene.render(empty, (), standing=(other,)).astype(int)
    assert np.abs(standing - nothing)[int(tip[1]), int(tip[0])].max() > 25


def test_depth_is_that_of_the_tip_in_the_tissue(scene: FilmScene, rehearsed: Rehearsed, plan: Plan) -> None:
    recorder, outcome = rehearsed
    (insertion,) = plan.insertions
    settled = [s for s in recorder.states if s.state is State.SETTLE and s.shafts_mm]
    depth = scene.tip_depth_mm(settled[-1], insertion)
    assert depth == pytest.approx(insertion.depth_mm + outcome.needles[0].depth_error_mm, abs=0.7)
    assert scene.tip_depth_mm(dataclasses.replace(settled[-1], shafts_mm=()), insertion) == 0.0


def test_the_far_view_shows_the_arm_and_leaves_room_for_a_banner(
    scene: FilmScene, rehearsed: Rehearsed, anatomy: Anatomy, placement: PatientPlacement
) -> None:
    recorder, _ = rehearsed
    for nearness in (0.0, 1.0):
        scene.render(recorder.states[0], nearness=nearness)
        skin = scene.pixels(anatomy.entry.mesh.vertices_mm, FilmView.ROOM)
        height = placement.points_to_world(anatomy.entry.mesh.vertices_mm)[:, 1]
        near = skin[np.abs(height) < 0.2]
        assert near.min() > 0.0 and near[:, 0].max() < ROOM_WIDTH and near[:, 1].max() < SIZE[1] - 52
    scene.render(recorder.states[0])
    for state in recorder.states[::40]:
        links = placement.points_to_patient([pose[:3, 3] for pose in state.link_poses.values()])
        drawn = scene.pixels(links, FilmView.ROOM)
        assert drawn.min() > 0.0 and drawn[:, 0].max() < ROOM_WIDTH and drawn[:, 1].max() < SIZE[1]


@pytest.mark.parametrize("towards", [[0.62, -0.85, 0.62], [-0.62, -0.85, 0.62]])
def test_the_scanner_is_cut_open_towards_the_camera(towards: list[float]) -> None:
    gantry = Gantry(centre_along_table_m=0.3, centre_height_m=0.1)
    renderer = make_renderer((0.0, 0.0, 1.0, 1.0))
    add_gantry(renderer, gantry, np.array(towards))
    from vtkmodules.util.numpy_support import vtk_to_numpy

    data = renderer.GetActors().GetLastActor().GetMapper().GetInput()
    points: FloatArray = vtk_to_numpy(data.GetPoints().GetData()) - [0.0, 0.0, 0.1]
    radius = np.hypot(points[:, 0], points[:, 2])
    low, high = gantry.extent_m
    assert radius.min() == pytest.approx(gantry.bore_radius_m) and radius.max() == pytest.approx(
        gantry.outer_radius_m
    )
    assert (points[:, 1].min(), points[:, 1].max()) == pytest.approx((low, high))
    side = unit_vector([towards[0], 0.0, towards[2]])
    cosine = (points @ side) / radius
    assert cosine.max() < -0.3 and cosine.min() < -0.99


def test_tubes_take_lines_that_stand_still_and_none() -> None:
    renderer = make_renderer((0.0, 0.0, 1.0, 1.0))
    tubes = Tubes(renderer, "#ffffff", 0.001, 0.0)
    actor = renderer.GetActors().GetLastActor()
    assert not actor.GetVisibility()
    still = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.0, 0.0]])
    tubes.place([still, np.zeros((3, 3))])
    actor.GetMapper().Update()
    assert actor.GetVisibility() and actor.GetBounds() == pytest.approx(
        (0, 0.1, -1e-3, 1e-3, -1e-3, 1e-3), abs=2e-4
    )
    tubes.place([np.zeros((2, 3))])
    assert not actor.GetVisibility()


def read_film(path: Path) -> list[FloatArray]:
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == SIZE and meta["codec"] == "h264" and "yuv420p" in meta["pix_fmt"]
    return [np.frombuffer(frame, np.uint8).reshape(600, 960, 3).astype(int) for frame in reader]


def test_film_and_stills(tmp_path: Path, scene: FilmScene, rehearsed: Rehearsed, anatomy: Anatomy) -> None:
    recorder, outcome = rehearsed
    seen: list[float] = []
    path = make_film(
        tmp_path / "new" / "film.mp4", recorder, outcome, anatomy, options=SMALL,
        progress=lambda what, share: seen.append(share),
    )  # fmt: skip
    stills = make_stills(recorder, outcome, anatomy, options=SMALL)
    pictures = read_film(path)
    assert len(pictures) == 8 + 6 and seen[-1] == 1.0  # the last one rests
    room = np.array([picture[:, :ROOM_WIDTH] for picture in pictures])
    assert room.std(axis=(1, 2)).min() > 10.0  # something is drawn in every frame
    assert np.abs(room[0] - room[4]).max() > 80  # and the arm moves
    assert not any(red_share(picture) > 0.5 for picture in pictures)
    assert [still.name for still in stills] == ["rehearsal_1_before", "rehearsal_1_in_place"]
    assert stills[0].pixels.shape == (600, 960, 3)
    detail = [still.pixels[:DETAIL_HEIGHT, ROOM_WIDTH:].astype(int) for still in stills]
    assert np.abs(detail[0] - detail[1]).max() > 60  # the needle has come into the close view


def red_share(picture: FloatArray) -> float:
    """Share of the lower edge of the room that is as red as a banner."""
    edge = picture[-40:-10, :ROOM_WIDTH].astype(int)
    return float((edge[..., 0] > edge[..., 2] + 90).mean())


def blue_share(picture: FloatArray) -> float:
    """The same for a blue one."""
    edge = picture[-40:-10, :ROOM_WIDTH].astype(int)
    return float((edge[..., 2] > edge[..., 0] + 70).mean())


def test_a_stop_is_shown_by_a_red_banner(
    tmp_path: Path, scene: FilmScene, anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    slip = dataclasses.replace(OPTIONS, faults=(Fault(FaultKind.NEEDLE_SLIP),))
    recorder, outcome = recorded(anatomy, plan, route, patients, slip)
    assert not outcome.needles
    path = make_film(
        tmp_path / "stopped.mp4", recorder, outcome, anatomy, insertions=plan.insertions, options=SMALL
    )
    red = [red_share(picture) > 0.5 for picture in read_film(path)]
    assert not red[0] and red[-1] and red == sorted(red)


def test_a_film_of_two_rehearsals_announces_the_second(
    tmp_path: Path, scene: FilmScene, rehearsed: Rehearsed, anatomy: Anatomy
) -> None:
    recorder, outcome = rehearsed
    (needle,) = outcome.needles
    end = recorder.states[-1].time_s + 0.1
    again = [
        dataclasses.replace(state, needle=2, shafts_mm=(), time_s=state.time_s + end) for state in recorder.states
    ]
    both = SceneRecorder([*recorder.states, *again], recorder.shapes, recorder.patient, recorder.gate_mm)
    second = dataclasses.replace(needle.planned, order=2)
    later = dataclasses.replace(outcome, needles=(dataclasses.replace(needle, planned=second),))
    parts = [
        FilmPart(outcome, (needle.planned,)),
        FilmPart(later, (second,), end, "one more needle", (needle.executed,)),
    ]
    options = dataclasses.replace(SMALL, announcement_s=1.0)
    pictures = read_film(make_film_of_parts(tmp_path / "two.mp4", both, parts, anatomy, options=options))
    assert len(pictures) == 2 * 8 + 4 + 6
    blue = [blue_share(picture) > 0.5 for picture in pictures]
    assert sum(blue) == 4 and 6 <= blue.index(True) <= 10
    with pytest.raises(OptionError, match="order of time"):
        make_film_of_parts(tmp_path / "two.mp4", both, parts[::-1], anatomy, options=options)
    with pytest.raises(OptionError, match="order of time"):
        make_film_of_parts(tmp_path / "two.mp4", both, [], anatomy, options=options)


def test_a_banner_keeps_to_the_lower_edge() -> None:
    picture = np.full((600, 660, 3), 20, dtype=np.uint8)
    draw_banner(picture, "Stopped", "the needle is 1.6 mm behind its driver: it slips " * 5, 600 / 720)
    drawn = np.flatnonzero((picture != 20).any(axis=(1, 2)))
    assert drawn.min() >= 600 - 53 and red_share(picture) > 0.5
    # No letter touches the right edge.
    edge = picture[-50:, -8:].astype(int)
    assert (edge[..., 1] < 90).all()


def test_impossible_film_options_are_refused() -> None:
    for changes in (
        {"width": 961}, {"height": 100}, {"frames_per_s": 0}, {"seconds_per_insertion": 0.0},
        {"announcement_s": -1.0},
    ):  # fmt: skip
        with pytest.raises(OptionError):
            FilmOptions(**changes)  # type: ignore[arg-type]


def test_nothing_recorded_makes_no_film(
    anatomy: Anatomy, placement: PatientPlacement, rehearsed: Rehearsed
) -> None:
    with pytest.raises(OptionError, match="recorded nothing"):
        FilmScene(anatomy, placement, SceneRecorder(), (), SIZE, *SHARES)
    with pytest.raises(OptionError, match="recorded nothing"):
        make_film(Path("never.mp4"), SceneRecorder(), rehearsed[1], anatomy)
