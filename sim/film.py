"""Films and stills of a rehearsal: the room, the target close by and the breathing, side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError
from needleplan.outcome import Outcome
from needleplan.plan import Insertion
from needleplan.viz.canvas import Picture
from robots.frames import PatientPlacement, place_anatomy
from sim.controller import State
from sim.film_panel import FilmPanel, PanelText
from sim.film_scene import FilmScene
from sim.recorder import SceneRecorder, SceneState

#: Share of the width that the room takes, and of the height that the close view of the target takes.
_ROOM_SHARE, _DETAIL_SHARE = 0.6875, 0.40

#: How much film time a second of each state gets, relative to the others: the arm's long ways are shown faster.
_WEIGHTS = {
    State.APPROACH: 0.4,
    State.ALIGN: 0.6,
    State.ADVANCE: 0.6,
    State.SETTLE: 1.5,
    State.RETRACT: 0.25,
    State.WITHDRAW: 0.25,
}


@dataclass(frozen=True, slots=True)
class FilmOptions:
    """How a film is made.

    Attributes:
        width: of the picture in pixels, even.
        height: of the picture in pixels, even.
        frames_per_s: frames a second of film.
        seconds_per_insertion: length of film for one insertion.
        largest_film_s: a film of many insertions is shortened to this.
    """

    width: int = 1280
    height: int = 720
    frames_per_s: int = 12
    seconds_per_insertion: float = 6.0
    largest_film_s: float = 18.0

    def __post_init__(self) -> None:
        for name, low, high in (("width", 960, 3840), ("height", 600, 2160)):
            value = getattr(self, name)
            if not low <= value <= high or value % 2:
                raise OptionError(f"the {name} of a film must be even and between {low} and {high}, not {value}")
        if not 4 <= self.frames_per_s <= 60:
            raise OptionError(f"a film must have 4 to 60 frames a second, not {self.frames_per_s}")
        for name in ("seconds_per_insertion", "largest_film_s"):
            if not 1.0 <= getattr(self, name) <= 600.0:
                raise OptionError(f"{name} must lie between 1 and 600 s, not {getattr(self, name):g}")


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
    import imageio_ffmpeg

    chosen = options or FilmOptions()
    frames = select_frames(recorder.states, chosen)
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
        pictures = _pictures(frames, recorder, outcome, anatomy, insertions, placement, chosen)
        for index, picture in enumerate(pictures):
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
    frames: list[tuple[SceneState, float]] = []
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
                frames.append((state, 1.0))
                names.append((f"rehearsal_{order}_{name}", f"Rehearsal, needle {order}", caption))
    if not frames:
        return ()
    pictures = _pictures(frames, recorder, outcome, anatomy, insertions, placement, chosen)
    return tuple(Picture(*name, picture) for name, picture in zip(names, pictures, strict=True))


def select_frames(states: Sequence[SceneState], options: FilmOptions) -> list[tuple[SceneState, float]]:
    """The states that become frames, each with how much faster than real time the film runs there.

    Film time is shared out among the states by their duration and by a weight of what is being done, so that
    the insertion fills most of the film.
    """
    if len(states) < 2:
        raise OptionError("no film can be made: the rehearsal recorded nothing")
    time = np.array([state.time_s for state in states])
    weight = np.array([_WEIGHTS.get(state.state, 1.0) for state in states])
    film = np.concatenate([[0.0], np.cumsum(np.diff(time) * weight[:-1])])
    needles = len({state.needle for state in states})
    length = min(options.largest_film_s, needles * options.seconds_per_insertion)
    wanted = np.linspace(0.0, film[-1], max(2, round(length * options.frames_per_s)))
    chosen = np.clip(np.searchsorted(film, wanted), 0, len(states) - 1)
    film_to_s = length / film[-1]
    return [(states[k], 1.0 / (weight[k] * film_to_s)) for k in chosen]


def _pictures(
    frames: Sequence[tuple[SceneState, float]],
    recorder: SceneRecorder,
    outcome: Outcome,
    anatomy: Anatomy,
    insertions: Sequence[Insertion] | None,
    placement: PatientPlacement | None,
    options: FilmOptions,
) -> Iterator[NDArray[np.uint8]]:
    planned = [n.planned for n in outcome.needles] if insertions is None else list(insertions)
    size = (options.width, options.height)
    room_width = round(_ROOM_SHARE * size[0])
    detail_height = round(_DETAIL_SHARE * size[1])
    text = PanelText(
        f"Rehearsal, breathing: {outcome.motion.split('(')[0]}",
        max(1, len(planned)),
        recorder.gate_mm,
        outcome.gating,
    )
    panel = FilmPanel((size[0] - room_width, size[1] - detail_height), text, recorder.states, outcome)
    scene = FilmScene(
        anatomy, placement or place_anatomy(anatomy), recorder, planned, size,
        room_width / size[0], detail_height / size[1],
    )  # fmt: skip
    try:
        for state, speed in frames:
            picture = scene.render(state)
            picture[detail_height:, room_width:] = panel.draw(state, speed)
            yield picture
    finally:
        scene.close()
