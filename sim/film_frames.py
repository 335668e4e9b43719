"""Which moments of a rehearsal become the frames of its film, and how long it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.errors import OptionError
from sim.controller import State
from sim.recorder import SceneState

#: How much film time a second of each state gets, relative to the others: the arm's long ways are shown faster.
_WEIGHTS = {
    State.APPROACH: 0.4,
    State.ALIGN: 0.6,
    State.ADVANCE: 0.6,
    State.SETTLE: 1.5,
    State.RETRACT: 0.25,
    State.STOPPED: 1.5,
    State.WITHDRAW: 0.5,
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
