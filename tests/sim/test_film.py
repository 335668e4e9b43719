import dataclasses
from pathlib import Path

import numpy as np
import pytest

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError
from needleplan.motion.lujan import LujanMotion
from needleplan.outcome import Outcome
from needleplan.plan import Plan
from needleplan.viz.offscreen import RenderingError
from robots.route import RobotRoute
from sim.controller import State
from sim.film import FilmOptions, make_film, make_stills, select_frames
from sim.film_panel import FilmPanel, PanelText
from sim.options import RehearsalOptions
from sim.recorder import SceneRecorder
from sim.rehearse import rehearse

OPTIONS = RehearsalOptions(step_s=0.02, sample_s=0.1, faces_per_structure=400, check_clearance=False, contact_s=1.0)
SMALL = FilmOptions(960, 600, frames_per_s=4, seconds_per_insertion=2.0)


@pytest.fixture(scope="module")
def rehearsed(anatomy: Anatomy, plan: Plan, route: RobotRoute) -> tuple[SceneRecorder, Outcome]:
    recorder = SceneRecorder()
    return recorder, rehearse(plan, route, anatomy, LujanMotion(), 3, recorder=recorder, options=OPTIONS)


def test_frames_follow_time_and_favour_the_insertion(rehearsed: tuple[SceneRecorder, Outcome]) -> None:
    recorder, _ = rehearsed
    options = FilmOptions(frames_per_s=15, seconds_per_insertion=6.0)
    frames = select_frames(recorder.states, options)
    assert len(frames) == 90
    times = np.array([state.time_s for state, _ in frames])
    assert (np.diff(times) >= 0).all() and times[0] == 0.0 and times[-1] == recorder.states[-1].time_s
    inside = [s.state in (State.WAIT, State.INSERT, State.HOLD, State.SETTLE) for s, _ in frames]
    assert np.mean(inside) > 0.5
    for (state, speed), later in zip(frames[:-1], times[1:], strict=True):
        if state.state is State.INSERT and later - state.time_s > 0:
            assert (later - state.time_s) * 15 == pytest.approx(speed, abs=0.11 * 15)
    with pytest.raises(OptionError, match="recorded nothing"):
        select_frames([], options)


def test_a_film_of_many_needles_is_shortened(rehearsed: tuple[SceneRecorder, Outcome]) -> None:
    recorder, _ = rehearsed
    many = [
        dataclasses.replace(state, needle=order, time_s=state.time_s + 1000.0 * order)
        for order in range(1, 11)
        for state in recorder.states[::20]
    ]
    frames = select_frames(many, FilmOptions(frames_per_s=10, seconds_per_insertion=7.0, largest_film_s=20.0))
    assert len(frames) == 200


def test_the_panel_shows_gate_and_depth(rehearsed: tuple[SceneRecorder, Outcome]) -> None:
    recorder, outcome = rehearsed
    panel = FilmPanel((400, 432), PanelText("Rehearsal", 1, 2.0, True), recorder.states, outcome)
    by_gate = {state.gate_open: panel.draw(state, 5.0) for state in recorder.states if state.state is State.HOLD}
    by_gate |= {True: panel.draw(next(s for s in recorder.states if s.state is State.INSERT), 5.0)}
    assert by_gate[True].shape == (432, 400, 3)
    lamp = {gate: picture[121, 28].astype(int) for gate, picture in by_gate.items()}
    assert lamp[True][1] > lamp[True][0] + 50 and lamp[False][0] > lamp[False][1] + 50

    def filled(depth: float) -> int:
        state = dataclasses.replace(recorder.states[0], depth_mm=depth)
        row = panel.draw(state, 5.0)[342].astype(int)
        return int((row[:, 0] > row[:, 2] + 60).sum())

    full = outcome.needles[0].planned.depth_mm
    assert (
        filled(0.0) == 0 and filled(0.5 * full) == pytest.approx(0.5 * filled(full), abs=3) and filled(full) > 300
    )


def test_film_and_stills(tmp_path: Path, rehearsed: tuple[SceneRecorder, Outcome], anatomy: Anatomy) -> None:
    import imageio_ffmpeg

    recorder, outcome = rehearsed
    seen = []
    try:
        path = make_film(
            tmp_path / "new" / "film.mp4", recorder, outcome, anatomy, options=SMALL,
            progress=lambda what, share: seen.append(share),
        )  # fmt: skip
        stills = make_stills(recorder, outcome, anatomy, options=SMALL)
    except RenderingError as error:
        pytest.skip(str(error))
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == (960, 600) and meta["codec"] == "h264" and "yuv420p" in meta["pix_fmt"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(600, 960, 3).astype(int) for frame in reader]
    assert len(pictures) == 8 and seen[-1] == 1.0
    room = np.array([picture[:, :660] for picture in pictures])
    assert room.std(axis=(1, 2)).min() > 10.0  # something is drawn in every frame
    assert np.abs(room[0] - room[4]).max() > 80  # and the arm moves
    assert [still.name for still in stills] == ["rehearsal_1_before", "rehearsal_1_in_place"]
    assert stills[0].pixels.shape == (600, 960, 3)
    detail = [still.pixels[:240, 660:].astype(int) for still in stills]
    assert np.abs(detail[0] - detail[1]).max() > 60  # the needle has come into the close view


def test_impossible_film_options_are_refused() -> None:
    for changes in ({"width": 961}, {"height": 100}, {"frames_per_s": 0}, {"seconds_per_insertion": 0.0}):
        with pytest.raises(OptionError):
            FilmOptions(**changes)  # type: ignore[arg-type]
