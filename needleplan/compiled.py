"""The one way in which numeric kernels are compiled: cached on disk, and threaded through OpenMP.

The cache notices a change of the file that a kernel stands in, but not of a kernel that it calls from another file:
``make clean`` empties it.
"""

from typing import Any

from numba import config, njit, prange

__all__ = ["compiled", "compiled_parallel", "compiled_stencil", "prange"]

# OpenMP may be entered from several Python threads, which the workqueue layer may not; TBB is often too old to
# load and then warns. A layer that the user names in NUMBA_THREADING_LAYER still wins.
config.THREADING_LAYER_PRIORITY = ["omp", "workqueue", "tbb"]

#: Decorator of a kernel that runs on one core.
compiled: Any = njit(cache=True, error_model="numpy")
#: Decorator of a kernel whose ``prange`` loop runs on all cores.
compiled_parallel: Any = njit(cache=True, error_model="numpy", parallel=True)
#: As ``compiled_parallel``, with sums in any order, for stencils; infinities and NaN keep their meaning.
compiled_stencil: Any = njit(
    cache=True, error_model="numpy", parallel=True, fastmath={"reassoc", "contract", "arcp", "nsz"}
)
