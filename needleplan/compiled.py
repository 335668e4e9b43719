"""The one way in which numeric kernels are compiled: cached on disk, and threaded through OpenMP.

The cache notices a change of the file that a kernel stands in, but not of a kernel that it calls from another file:
``make clean`` empties it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba import config, get_num_threads, njit, prange, set_num_threads

__all__ = ["compiled", "compiled_parallel", "compiled_stencil", "prange", "threads_for"]

# OpenMP may be entered from several Python threads, which the workqueue layer may not; TBB is often too old to
# load and then warns. A layer that the user names in NUMBA_THREADING_LAYER still wins.
config.THREADING_LAYER_PRIORITY = ["omp", "workqueue", "tbb"]

#: Below this many cells a step of a stencil is over sooner than a second core, preempted by others, has joined.
_CELLS_FOR_MORE_THREADS = 250_000


@contextmanager
def threads_for(cells: int) -> Iterator[None]:
    """One thread for small loops that are called thousands of times, all of them for large ones."""
    before = get_num_threads()
    set_num_threads(before if cells >= _CELLS_FOR_MORE_THREADS else 1)
    try:
        yield
    finally:
        set_num_threads(before)


#: Decorator of a kernel that runs on one core.
compiled: Any = njit(cache=True, error_model="numpy")
#: Decorator of a kernel whose ``prange`` loop runs on all cores.
compiled_parallel: Any = njit(cache=True, error_model="numpy", parallel=True)
#: As ``compiled_parallel``, with sums in any order, for stencils; infinities and NaN keep their meaning.
compiled_stencil: Any = njit(
    cache=True, error_model="numpy", parallel=True, fastmath={"reassoc", "contract", "arcp", "nsz"}
)
