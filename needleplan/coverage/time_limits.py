"""What ends searches of the planner, and whether it was time: then another machine might find another plan."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Status of ``scipy.optimize.milp`` where its time was over; it is another one where its nodes were.
TIME_LIMIT_REACHED = 1

#: A program's answer is optimal where it is within this share of its bound.
_RELATIVE_GAP = 1e-6

_ended: ContextVar[list[str] | None] = ContextVar("needleplan_searches_ended_by_time", default=None)


def program_limits(time_limit_s: float, most_nodes: int | None) -> dict[str, float]:
    """Options of ``scipy.optimize.milp`` that end it after a time, or after so many nodes of its search tree.

    Nodes are the same on every machine, so what they end has the same answer everywhere.
    """
    limits = {"time_limit": time_limit_s, "mip_rel_gap": _RELATIVE_GAP}
    return limits if most_nodes is None else limits | {"node_limit": most_nodes}


@contextmanager
def searches_ended_by_time() -> Iterator[list[str]]:
    """A list to which the name of each search is added that is ended by its time from here on, in this thread."""
    names: list[str] = []
    token = _ended.set(names)
    try:
        yield names
    finally:
        _ended.reset(token)


def over_time(is_over: bool, search: str) -> bool:
    """``is_over``, which is noted for whoever asked where it is True."""
    names = _ended.get()
    if is_over and names is not None:
        names.append(search)
    return is_over
