"""Doubts that stay until somebody looked: each with when it arose, so that only what was measured later ends it."""

import dataclasses

from needleplan.navigation.events import Registered
from needleplan.navigation.guidance import Doubt, DoubtKind

#: How the words begin that are put behind a doubt which a registration does not end.
_SINCE = " This arose at"


class LatchedDoubts:
    """Doubts that do not end by themselves, the newest of each kind."""

    def __init__(self) -> None:
        self._found: dict[DoubtKind, tuple[float, Doubt]] = {}

    @property
    def doubts(self) -> list[Doubt]:
        """Those that stand, in the order in which their kinds arose."""
        return [doubt for _, doubt in self._found.values()]

    def latch(self, kind: DoubtKind, sentence: str, time_s: float) -> None:
        """A doubt arose at a time; of one kind the latest counts."""
        self._found[kind] = (time_s, Doubt(kind, sentence))

    def clock_ran_back(self, time_s: float) -> None:
        """All that arose did so before this moment of the clock that holds from now on."""
        self._found = {kind: (min(since_s, time_s), doubt) for kind, (since_s, doubt) in self._found.items()}

    def selected(self) -> None:
        """A needle was selected: nobody says stop any more."""
        self._found.pop(DoubtKind.HELD, None)

    def touched(self, measured_s: float) -> None:
        """A landmark was found in its place by a pose of this moment: the needle's marker sits as it sat.

        One point says nothing of a reference that turned about it, nor mends another landmark that was found beside
        its place.
        """
        since_s, _ = self._found.get(DoubtKind.JUMP, (measured_s, None))
        if since_s < measured_s:
            del self._found[DoubtKind.JUMP]

    def registered(self, event: Registered) -> None:
        """A registration ends what arose before all that it rests on; of what arose since it says so."""
        kept: dict[DoubtKind, tuple[float, Doubt]] = {}
        for kind, (since_s, doubt) in self._found.items():
            if kind is DoubtKind.HELD:
                kept[kind] = (since_s, doubt)
            elif event.oldest_s < since_s:
                sentence = doubt.sentence.partition(_SINCE)[0]
                said = (
                    f"{sentence}{_SINCE} {since_s:.2f} s, and the registration of {event.time_s:.2f} s rests on "
                    f"what was measured at {event.oldest_s:.2f} s: measure again."
                )
                kept[kind] = (since_s, dataclasses.replace(doubt, sentence=said))
        self._found = kept
