"""Films and stills of a rehearsal: the room, the target close by and the breathing, side by side."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import Anatomy
from needleplan.outcome import Outcome
from needleplan.plan import Insertion
from needleplan.viz.canvas import Picture
from needleplan.viz.needles import needle_points
from robots.frames import PatientPlacement, place_anatomy
from sim.controller_state import State
from sim.film_captions import draw_banner, draw_legend, draw_room_caption
from sim.film_curves import RecordedCurves
from sim.film_frames import FilmFrame, FilmOptions, FilmPart, frames_of
from sim.film_panel import FilmPanel, PanelText
from sim.film_scene import FilmScene, FilmView
from sim.recorder import SceneRecorder

__all__ = ["FilmOptions", "FilmPart", "make_film", "make_film_of_parts", "make_stills"]

#: Share of the width that the room takes, and of the height that the close view of the target takes.
_ROOM_SHARE, _DETAIL_SHARE = 0.6875, 0.40
#: Height of a picture at which letters have their nominal size in pixels.
_NOMINAL_HEIGHT = 720.0
#: States in which a fault has been answered: what is recorded of it is why the needle was stopped.
_STOPPED = frozenset({State.STOPPED, State.WITHDRAW, State.DONE, State.GIVEN_UP})


def make_film(
    path: Path,
    recorder: SceneRecorder,
    outcome: Outcome,
    anatomy: Anatomy,
    *,
    insertions: Sequence[Insertion] | None = None,
    placement: PatientPlacement | None = None,
    options: FilmOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write a film of a rehearsal (MP4, H.264, which every browser plays).

    Args:
        path: file to write; folders are made.
        recorder: what the rehearsal recorded.
        outcome: its outcome.
        anatomy: the patient.
        insertions: as planned; those of the outcome where None.
        placement: how the patient lies, the same as in the rehearsal.
        options: size and length.
        progress: called with what is being done and the fraction done.

    Returns:
        ``path``.

    Raises:
        OptionError: nothing was recorded.
        RenderingError: no off-screen rendering is possible here.
    """
    part = FilmPart(outcome, _planned(outcome, insertions))
    return make_film_of_parts(
        path, recorder, [part], anatomy, placement=placement, options=options, progress=progress
    )


def make_film_of_parts(
    path: Path,
    recorder: SceneRecorder,
    parts: Sequence[FilmPart],
    anatomy: Anatomy,
    *,
    placement: PatientPlacement | None = None,
    options: FilmOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Write one film of several rehearsals of the same patient that follow each other.

    Args:
        path: file to write; folders are made.
        recorder: what all of them recorded, one after the other.
        parts: the rehearsals in the order of time.
        anatomy: the patient.
        placement: how the patient lies, the same in all of them.
        options: size and length.
        progress: called with what is being done and the fraction done.

    Returns:
        ``path``.

    Raises:
        OptionError: nothing was recorded, or the parts are not in the order of time.
        RenderingError: no off-screen rendering is possible here.
    """
    import imageio_ffmpeg

    chosen = options or FilmOptions()
    frames = frames_of(recorder.states, parts, chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (chosen.width, chosen.height),
        fps=chosen.frames_per_s,
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        quality=None,
        output_params=["-crf", "22", "-preset", "veryfast", "-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    writer.send(None)
    try:
        for index, picture in enumerate(_pictures(frames, recorder, parts, anatomy, placement, chosen)):
            writer.send(np.ascontiguousarray(picture))
            if progress:
                progress("film", (index + 1) / len(frames))
    finally:
        writer.close()
    return path


def make_stills(
    recorder: SceneRecorder,
    outcome: Outcome,
    anatomy: Anatomy,
    *,
    insertions: Sequence[Insertion] | None = None,
    placement: PatientPlacement | None = None,
    options: FilmOptions | None = None,
) -> tuple[Picture, ...]:
    """Two stills of each insertion: the guide before the skin, and the tip in place.

    Arguments and errors as of :func:`make_film`.
    """
    chosen = options or FilmOptions()
    frames: list[FilmFrame] = []
    names: list[tuple[str, str, str]] = []
    for needle in outcome.needles:
        order = needle.planned.order
        mine = [state for state in recorder.states if state.needle == order]
        before = [s for s in mine if s.state in (State.ADVANCE, State.WAIT, State.ALIGN)]
        after = [s for s in mine if s.state is State.SETTLE]
        for found, name, caption in (
            (before[-1:], "before", f"Needle {order}: the tip rests before the skin, on the planned path."),
            (
                after[:1],
                "in_place",
                f"Needle {order}: the tip is in place, {needle.tip_error_mm:.1f} mm from its plan.",
            ),
        ):
            for state in found:
                frames.append(FilmFrame(state, 1.0, 0, nearness=1.0))
                names.append((f"rehearsal_{order}_{name}", f"Rehearsal, needle {order}", caption))
    if not frames:
        return ()
    part = FilmPart(outcome, _planned(outcome, insertions))
    pictures = _pictures(frames, recorder, [part], anatomy, placement, chosen)
    return tuple(Picture(*name, picture) for name, picture in zip(names, pictures, strict=True))


def _planned(outcome: Outcome, insertions: Sequence[Insertion] | None) -> tuple[Insertion, ...]:
    return tuple(needle.planned for needle in outcome.needles) if insertions is None else tuple(insertions)


def _pictures(
    frames: Sequence[FilmFrame],
    recorder: SceneRecorder,
    parts: Sequence[FilmPart],
    anatomy: Anatomy,
    placement: PatientPlacement | None,
    options: FilmOptions,
) -> Iterator[NDArray[np.uint8]]:
    size = (options.width, options.height)
    room_width = round(_ROOM_SHARE * size[0])
    detail_height = round(_DETAIL_SHARE * size[1])
    unit_px = size[1] / _NOMINAL_HEIGHT
    curves = RecordedCurves(recorder.states, recorder.gate_mm)
    panels = _panels(parts, (size[0] - room_width, size[1] - detail_height), curves)
    robot = parts[0].outcome.robot
    room_words = f"{robot}, breathing patient" + (", scanner cut open" if recorder.gantry is not None else "")
    scene = FilmScene(
        anatomy, placement or place_anatomy(anatomy), recorder, [one for part in parts for one in part.insertions],
        size, room_width / size[0], detail_height / size[1],
    )  # fmt: skip
    paths_mm = [needle_points([one]) for part in parts for one in part.insertions]
    kept_free_px = np.zeros((0, 2))
    if paths_mm:
        kept_free_px = scene.pixels(np.concatenate(paths_mm), FilmView.TARGET) - (room_width, 0.0)
    before: FilmFrame | None = None
    picture = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    try:
        for frame in frames:
            if before is not None and frame.looks_as(before):
                yield picture
                continue
            before = frame
            part = parts[frame.part]
            announced = bool(frame.announcement)
            present = [i for i in part.insertions if i.order == frame.state.needle]
            shown = part.insertions if announced else present
            depth_mm = max((scene.tip_depth_mm(frame.state, one) for one in present), default=0.0)
            picture = scene.render(frame.state, shown, part.standing, frame.nearness)
            room, detail = picture[:, :room_width], picture[:detail_height, room_width:]
            draw_room_caption(room, room_words, unit_px)
            draw_legend(detail, scene.shown_nearby, scene.pixels_per_mm, unit_px, kept_free_px)
            if announced:
                draw_banner(room, "Planned anew", frame.announcement, unit_px, alarm=False)
            elif frame.state.fault:
                stopped = frame.state.state in _STOPPED
                words = frame.state.fault if stopped else frame.state.fault.replace("-", " ")
                draw_banner(room, "Stopped" if stopped else "Fault", words, unit_px)
            picture[detail_height:, room_width:] = panels[frame.part].draw(frame.state, depth_mm, frame.speed)
            yield picture
    finally:
        scene.close()


def _panels(parts: Sequence[FilmPart], size: tuple[int, int], curves: RecordedCurves) -> list[FilmPanel]:
    """The panel of each part; needles are counted through the whole film as they are placed."""
    panels = []
    placed: tuple[int, ...] = ()
    for part in parts:
        orders = placed + tuple(one.order for one in part.insertions if one.order not in placed)
        motion = part.outcome.motion.split("(")[0]
        title = f"{part.outcome.strategy.replace('-', ' ')}, breathing {motion}".capitalize()
        text = PanelText(title, orders)
        panels.append(FilmPanel(size, text, curves, part.insertions, part.outcome))
        placed += tuple(n.planned.order for n in part.outcome.needles if n.planned.order not in placed)
    return panels
