"""Which moments of a rehearsal become the frames of its film, and how long it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.outcome import Outcome
from needleplan.plan import Insertion
from sim.controller_state import AT_PATIENT, State
from sim.recorder import SceneState

#: How much film time a second of each state gets, relative to the others: the arm's long ways are shown faster.
_WEIGHTS = {
    State.APPROACH: 0.4,
    State.ALIGN: 0.6,
    State.ADVANCE: 0.6,
    State.SETTLE: 1.5,
    State.RETRACT: 0.25,
    State.STOPPED: 3.0,
    State.WITHDRAW: 1.5,
}
#: States that are shown from near, and how long the camera takes to go there.
_NEAR = AT_PATIENT | {State.SETTLE}
_GLIDE_S = 1.6
#: The last picture rests for so long.
_ENDING_S = 1.5


@dataclass(frozen=True, slots=True)
class FilmOptions:
    """How a film is made.

    Attributes:
        width: of the picture in pixels, even.
        height: of the picture in pixels, even.
        frames_per_s: frames a second of film.
        seconds_per_insertion: length of film for one insertion.
        largest_film_s: a film of many insertions is shortened to this.
        announcement_s: how long the picture rests where something is announced.
    """

    width: int = 1280
    height: int = 720
    frames_per_s: int = 12
    seconds_per_insertion: float = 6.0
    largest_film_s: float = 18.0
    announcement_s: float = 4.0

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
        if not 0.0 <= self.announcement_s <= 60.0:
            raise OptionError(f"announcement_s must lie between 0 and 60 s, not {self.announcement_s:g}")


@dataclass(frozen=True, slots=True, eq=False)
class FilmPart:
    """One rehearsal in a film of several.

    Attributes:
        outcome: what it achieved.
        insertions: as planned for it.
        start_s: time of the recorder at which it begins.
        announcement: what is said on a picture that rests before it begins; "" for nothing.
        standing: needles that were left in the patient before it, which it does not know of.
    """

    outcome: Outcome
    insertions: tuple[Insertion, ...]
    start_s: float = 0.0
    announcement: str = ""
    standing: tuple[Insertion, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FilmFrame:
    """One frame.

    Attributes:
        state: what is shown.
        speed: how much faster than real time it runs.
        part: index of its part.
        nearness: of the camera, see :meth:`FilmScene.render`.
        announcement: what is announced on it.
    """

    state: SceneState
    speed: float
    part: int
    nearness: float = 0.0
    announcement: str = ""

    def looks_as(self, other: "FilmFrame") -> bool:
        """True where both make the same picture."""
        return (
            self.state is other.state
            and (self.speed, self.part, self.nearness, self.announcement)
            == (other.speed, other.part, other.nearness, other.announcement)
        )  # fmt: skip


def select_frames(states: Sequence[SceneState], options: FilmOptions) -> list[tuple[SceneState, float]]:
    """The states that become frames, each with how much faster than real time the film runs there.

    Film time is shared out among the states by their duration and by a weight of what is being done, so that
    the insertion fills most of the film.

    Raises:
        OptionError: there are fewer than two states.
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


def frames_of(states: Sequence[SceneState], parts: Sequence[FilmPart], options: FilmOptions) -> list[FilmFrame]:
    """All frames in their order: the picture rests before every part that is announced, and at the end.

    Args:
        states: all that were recorded, in the order of time.
        parts: the rehearsals, in the order of time.
        options: lengths.

    Raises:
        OptionError: nothing was recorded, or the parts are not in the order of time.
    """
    starts = [part.start_s for part in parts]
    if not parts or starts != sorted(starts):
        raise OptionError("the parts of a film must be given in the order of time, and there must be one")
    frames: list[FilmFrame] = []
    before = -1
    for state, speed in select_frames(states, options):
        part = max(0, int(np.searchsorted(starts, state.time_s + 1e-9, side="right")) - 1)
        if part != before and parts[part].announcement:
            rest = round(options.announcement_s * options.frames_per_s)
            frames += [FilmFrame(state, 1.0, part, announcement=parts[part].announcement)] * rest
        frames.append(FilmFrame(state, speed, part))
        before = part
    frames += frames[-1:] * round(_ENDING_S * options.frames_per_s)
    nearness = _glide(np.array([frame.state.state in _NEAR for frame in frames]), options.frames_per_s)
    return [replace(frame, nearness=near) for frame, near in zip(frames, nearness.tolist(), strict=True)]


def _glide(wanted: NDArray[np.bool_], frames_per_s: int) -> FloatArray:
    """(n,) from 0 to 1: the camera's nearness, which follows where it is ``wanted`` (n,) in about ``_GLIDE_S``."""
    half = max(1, round(0.25 * _GLIDE_S * frames_per_s))
    window = np.ones(2 * half + 1) / (2 * half + 1)
    smooth = np.asarray(wanted, dtype=np.float64)
    for _ in range(2):  # twice, so that it neither starts nor stops abruptly
        smooth = np.convolve(np.pad(smooth, half, mode="edge"), window, mode="valid")
    return smooth
