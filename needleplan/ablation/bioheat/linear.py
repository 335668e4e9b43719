"""Heat in one tissue whose properties do not change: the linear Pennes equation at memory speed.

For studies of many sources, for superposition (rises of temperature add, exactly), and as an independent check of
the full solver, whose answer it equals where nothing boils, freezes or loses its perfusion. Explicit Euler steps in
the seven-point form, walls at the body temperature:

    v' = e^-b ((1 - 6 a) v + a (sum of the six neighbours)) + g q
    a = alpha dt / h^2, b = w dt / rho c, g = (1 - e^-b) / w, or dt / rho c without perfusion
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.bioheat.solver import BLOOD_HEAT_J_M3_K
from needleplan.compiled import compiled_stencil, prange, threads_for
from needleplan.devices.tissue import Tissue
from needleplan.errors import PhysicsError

#: Share of the largest stable step.
_OF_STABLE = 0.9


@compiled_stencil
def linear_step(v: Any, out: Any, source: Any, keep: Any, share: Any, gain: Any) -> None:
    """One step from ``v`` to ``out`` (both padded by one cell); ``source`` is of the inner shape."""
    nx, ny, nz = source.shape
    for i in prange(nx):
        for j in range(ny):
            own, new = v[i + 1, j + 1, 1 : nz + 1], out[i + 1, j + 1, 1 : nz + 1]
            west, east = v[i, j + 1, 1 : nz + 1], v[i + 2, j + 1, 1 : nz + 1]
            south, north = v[i + 1, j, 1 : nz + 1], v[i + 1, j + 2, 1 : nz + 1]
            below, above = v[i + 1, j + 1, 0:nz], v[i + 1, j + 1, 2 : nz + 2]
            heat = source[i, j]
            for k in range(nz):
                around = west[k] + east[k] + south[k] + north[k] + below[k] + above[k]
                new[k] = keep * own[k] + share * around + gain * heat[k]


@compiled_stencil
def linear_cooling(v: Any, out: Any, keep: Any, share: Any) -> None:
    """As ``linear_step`` without a source."""
    nx, ny, nz = v.shape[0] - 2, v.shape[1] - 2, v.shape[2] - 2
    for i in prange(nx):
        for j in range(ny):
            own, new = v[i + 1, j + 1, 1 : nz + 1], out[i + 1, j + 1, 1 : nz + 1]
            west, east = v[i, j + 1, 1 : nz + 1], v[i + 2, j + 1, 1 : nz + 1]
            south, north = v[i + 1, j, 1 : nz + 1], v[i + 1, j + 2, 1 : nz + 1]
            below, above = v[i + 1, j + 1, 0:nz], v[i + 1, j + 1, 2 : nz + 2]
            for k in range(nz):
                around = west[k] + east[k] + south[k] + north[k] + below[k] + above[k]
                new[k] = keep * own[k] + share * around


class LinearBioheat:
    """Rise of temperature above the body's in a box of one unchanging tissue.

    Args:
        shape: number of cells along each axis.
        spacing_mm: side of the cubic cells.
        tissue: its conductivity at 37 °C, heat capacity and perfusion.

    Raises:
        PhysicsError: the shape or the spacing is impossible, or the perfusion is not known.
    """

    def __init__(self, shape: tuple[int, int, int], spacing_mm: float, tissue: Tissue) -> None:
        if min(shape) < 1 or not (np.isfinite(spacing_mm) and spacing_mm > 0):
            raise PhysicsError(
                f"the linear solver needs cells of a size above 0, but got {shape} of {spacing_mm:g} mm"
            )
        self.shape = tuple(shape)
        self.time_s = 0.0
        self._heat = tissue.volumetric_heat_j_m3_k
        self._diffusion_per_s = tissue.thermal_conductivity_w_m_k / self._heat / (1e-3 * spacing_mm) ** 2
        self._sink_per_s = tissue.known("perfusion_per_s") * BLOOD_HEAT_J_M3_K / self._heat
        padded = tuple(n + 2 for n in self.shape)
        self._v = np.zeros(padded, dtype=np.float32)
        self._next = np.zeros(padded, dtype=np.float32)

    @property
    def longest_step_s(self) -> float:
        """Step that the solver takes at most."""
        return _OF_STABLE / (6.0 * self._diffusion_per_s)

    @property
    def rise_k(self) -> NDArray[np.float32]:
        """Rise of temperature, in the solver's shape (a view; set it to begin from another field)."""
        return self._v[1:-1, 1:-1, 1:-1]

    def advance(self, duration_s: float, source_w_m3: NDArray[np.float32] | None = None) -> int:
        """Runs for a time with a constant source (float32, of the solver's shape); returns the number of steps."""
        if not (np.isfinite(duration_s) and duration_s >= 0):
            raise PhysicsError(f"the time to advance must not be negative, but is {duration_s:g} s")
        if source_w_m3 is not None and source_w_m3.shape != self.shape:
            raise PhysicsError(f"the source has the shape {source_w_m3.shape}, but the solver {self.shape}")
        steps = int(np.ceil(duration_s / self.longest_step_s))
        if steps == 0:
            return 0
        step_s = duration_s / steps
        spread, perfused = step_s * self._diffusion_per_s, step_s * self._sink_per_s
        left = np.exp(-perfused)
        share, keep = np.float32(left * spread), np.float32(left * (1.0 - 6.0 * spread))
        gain = np.float32(step_s / self._heat * (-np.expm1(-perfused) / perfused if perfused > 0 else 1.0))
        with threads_for(self._v.size):
            for _ in range(steps):
                if source_w_m3 is None:
                    linear_cooling(self._v, self._next, keep, share)
                else:
                    linear_step(self._v, self._next, source_w_m3, keep, share, gain)
                self._v, self._next = self._next, self._v
        self.time_s += duration_s
        return steps
