"""Potential about electrodes: div(sigma grad V) = 0 with given potentials on needles.

Finite volumes with harmonic means on the faces, solved by conjugate gradients. The preconditioner is the exact
inverse for constant conductivity by a fast cosine transform (walls that pass nothing) or sine transform (walls at
zero), scaled from both sides by the square root of the local conductance (Concus and Golub, SIAM J Numer Anal
1973;10:1103): some ten iterations where Jacobi's takes hundreds. The same equation with a reaction term is the
diffusion of light.
"""

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.electric import kernels
from needleplan.ablation.needle_contact import Contact
from needleplan.compiled import threads_for
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray

_MOST_ITERATIONS = 400
#: Below this size a transform is over sooner than a second worker has begun.
_CELLS_FOR_TWO_WORKERS = 250_000


class DiffusionSolver:
    """Solves div(sigma grad V) - rho V + s = 0 on a box of cubic cells.

    Args:
        shape: number of cells along each axis.
        spacing_mm: their side.
        walls: ``insulated`` passes nothing, ``grounded`` is at zero.
        held: (n, 3) cells whose value is given; may be empty.
        contact: how they touch the other cells, None for the plain stencil.

    Raises:
        PhysicsError: the walls have another name, or nothing fixes the level of the potential.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: float,
        *,
        walls: str,
        held: NDArray[np.int64] | None = None,
        contact: Contact | None = None,
    ) -> None:
        if walls not in ("insulated", "grounded"):
            raise PhysicsError(f"the walls must be 'insulated' or 'grounded', but are {walls!r}")
        self.shape = tuple(shape)
        self.spacing_m = 1e-3 * spacing_mm
        self.walls = walls
        nx, ny, nz = self.shape
        self.held = np.empty((0, 3), dtype=np.int64) if held is None else np.asarray(held, dtype=np.int64)
        self._mask = np.zeros(self.shape, dtype=np.bool_)
        self._mask[tuple(self.held.T)] = True
        self._free = (~self._mask).astype(np.float32)
        self._contact = contact
        self._gx = np.zeros((nx + 1, ny, nz), dtype=np.float32)
        self._gy = np.zeros((nx, ny + 1, nz), dtype=np.float32)
        self._gz = np.zeros((nx, ny, nz + 1), dtype=np.float32)
        self._reaction = np.zeros(self.shape, dtype=np.float32)
        self._diagonal = np.empty(self.shape, dtype=np.float32)
        self._scale = np.empty(self.shape, dtype=np.float32)
        self._sigma = np.empty(self.shape, dtype=np.float32)
        self._v = np.zeros((nx + 2, ny + 2, nz + 2), dtype=np.float32)
        self._p = np.zeros_like(self._v)
        self._ap = np.empty(self.shape, dtype=np.float32)
        self._sums = np.empty(nx)
        self._inverse = np.empty(self.shape, dtype=np.float32)
        self._inverse_for = -1.0
        self.iterations = 0
        self._workers = 2 if self._free.size >= _CELLS_FOR_TWO_WORKERS else 1

    def set_coefficients(self, sigma: NDArray[np.float32], reaction: NDArray[np.float32] | None = None) -> None:
        """Sets the conductivity (S/m, or m for light) and the reaction (per m, for light) of every cell.

        Raises:
            PhysicsError: a coefficient is negative, zero or no number, or given for another number of cells, or
                nothing fixes the level of the potential.
        """
        for name, field in (("conductivity", sigma), ("reaction", reaction)):
            if field is not None and field.shape != self.shape:
                raise PhysicsError(f"the {name} must be given for {self.shape} cells, but is for {field.shape}")
        with threads_for(self._free.size):
            self._set(np.ascontiguousarray(sigma, dtype=np.float32), reaction)

    def _set(self, sigma: NDArray[np.float32], reaction: NDArray[np.float32] | None) -> None:
        if not (np.isfinite(sigma).all() and sigma.min() > 0):
            raise PhysicsError("every cell needs a conductivity above zero")
        if reaction is not None and not (np.isfinite(reaction).all() and reaction.min() >= 0):
            raise PhysicsError("no cell may have a reaction below zero")
        if self.walls == "insulated" and not len(self.held) and (reaction is None or not reaction.any()):
            raise PhysicsError("between insulated walls without an electrode the potential has no level")
        self._sigma = sigma
        wall = np.float32(2.0 if self.walls == "grounded" else 0.0)
        kernels.face_conductances(sigma, wall, self._gx, self._gy, self._gz)
        if self._contact is not None:
            contact = self._contact
            kernels.contact_conductances(
                contact.cells, contact.held, contact.factors.astype(np.float32), sigma, self._gx, self._gy, self._gz
            )
        # In units in which a face of conductivity sigma counts sigma: the reaction times the cell's area.
        if reaction is None:
            self._reaction[:] = 0.0
        else:
            self._reaction = np.asarray(reaction * self.spacing_m**2, dtype=np.float32)
        scaled = float((self._reaction / sigma).mean())
        kernels.diagonal(self._gx, self._gy, self._gz, self._reaction, self._diagonal)
        np.sqrt((6.0 + scaled) / self._diagonal, out=self._scale)
        self._scale *= self._free
        self._set_inverse(scaled)

    def _set_inverse(self, reaction: float) -> None:
        if reaction == self._inverse_for:
            return
        self._inverse_for = reaction
        spectrum = np.zeros(self.shape)
        for axis, n in enumerate(self.shape):
            modes = np.arange(n) + (1 if self.walls == "grounded" else 0)
            shape = [1, 1, 1]
            shape[axis] = n
            spectrum += (2.0 - 2.0 * np.cos(np.pi * modes / n)).reshape(shape)
        spectrum += reaction
        # The constant has no level of its own between insulated walls: electrodes give it one. Its mode is treated
        # like the next one.
        least = np.sort(spectrum.ravel())[1] if spectrum.min() <= 0 else 0.0
        self._inverse = (1.0 / np.maximum(spectrum, least)).astype(np.float32)

    def _precondition(self, r: NDArray[np.float32]) -> NDArray[np.float32]:
        from scipy.fft import dctn, dstn, idctn, idstn

        forward, back = (dctn, idctn) if self.walls == "insulated" else (dstn, idstn)
        spectrum = forward(r * self._scale, type=2, overwrite_x=True, workers=self._workers)
        spectrum *= self._inverse
        return np.ascontiguousarray(back(spectrum, type=2, overwrite_x=True, workers=self._workers))

    def solve(
        self,
        values: FloatArray | float = 0.0,
        source: NDArray[np.float32] | None = None,
        tolerance: float = 1e-5,
    ) -> NDArray[np.float32]:
        """Potential for given values on the held cells, beginning at the last solution.

        Args:
            values: (n,) in the order of ``held``, or one for all.
            source: s per volume, or None.
            tolerance: of the residual relative to that of zero potential.

        Returns:
            the potential, in the solver's shape (a view that the next solve overwrites).

        Raises:
            PhysicsError: a value or a source is no finite number, or the iteration does not end.
        """
        if not (np.isfinite(values).all() and (source is None or np.isfinite(source).all())):
            raise PhysicsError("the potentials of electrodes and the sources must be finite numbers")
        with threads_for(self._free.size):
            return self._solved(values, source, tolerance)

    def _solved(
        self, values: FloatArray | float, source: NDArray[np.float32] | None, tolerance: float
    ) -> NDArray[np.float32]:
        core = (slice(1, -1),) * 3
        v = self._v[core]
        v[tuple(self.held.T)] = values
        r, sums = np.empty(self.shape, dtype=np.float32), self._sums
        # The right-hand side: what held cells and sources drive through free cells at zero.
        self._p[:] = 0.0
        self._p[core][tuple(self.held.T)] = values
        self._apply(self._p, r)
        drive = -r
        if source is not None:
            drive += self._free * np.asarray(source * self.spacing_m**2, dtype=np.float32)
        size = float(np.linalg.norm(drive))
        if size == 0.0:
            v[self._free > 0] = 0.0
            return v
        self._p[core] = v * self._free
        self._apply(self._p, r)
        r = drive - r
        self._p[:] = 0.0
        left = float(np.linalg.norm(r))
        if left <= tolerance * size:
            self.iterations = 0
            return v
        z = self._precondition(r)
        kernels.scaled_dot(self._scale, z, r, sums)
        rz = float(sums.sum())
        self._p[core] = z
        for iteration in range(_MOST_ITERATIONS):
            self._apply(self._p, self._ap)
            alpha = rz / float(self._sums.sum())
            kernels.descend(np.float32(alpha), self._p, self._ap, self._v, r, sums)
            left = float(np.sqrt(sums.sum()))
            if left <= tolerance * size:
                self.iterations = iteration + 1
                return v
            z = self._precondition(r)
            kernels.scaled_dot(self._scale, z, r, sums)
            new = float(sums.sum())
            kernels.turn(np.float32(new / rz), z, self._p)
            rz = new
        raise PhysicsError(
            f"the potential does not converge to {tolerance:g} in {_MOST_ITERATIONS} iterations: "
            "the conductivities differ too much for this grid"
        )

    def _apply(self, p: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        kernels.apply(self._gx, self._gy, self._gz, self._diagonal, self._free, p, out, self._sums)

    def current(self, of_held: NDArray[np.bool_]) -> float:
        """Current in A (for light: times metres) out of some of the held cells, through their contact faces.

        Args:
            of_held: (n,) which.
        """
        if self._contact is None:
            raise PhysicsError("a current needs the contact faces of the held cells")
        chosen = np.zeros(self.shape, dtype=np.bool_)
        chosen[tuple(self.held[of_held].T)] = True
        faces = chosen[tuple(self._contact.held.T)]
        cells, held = self._contact.cells[faces], self._contact.held[faces]
        v = self._v[1:-1, 1:-1, 1:-1]
        drop = v[tuple(held.T)].astype(np.float64) - v[tuple(cells.T)]
        return float((self._contact.factors[faces] * self._sigma[tuple(cells.T)] * drop).sum()) * self.spacing_m

    def field_per_m(self) -> NDArray[np.float32]:
        """Strength of the field in V/m at the cell centres; zero in held cells."""
        out = np.empty(self.shape, dtype=np.float32)
        kernels.field_strength(
            self._v, self._gx, self._gy, self._gz, self._sigma, self._mask, np.float32(self.spacing_m), out
        )
        return out

    def heat_w_m3(self) -> NDArray[np.float32]:
        """Joule heat, its sum over the cells the power that the electrodes deliver."""
        out = np.empty(self.shape, dtype=np.float32)
        kernels.joule_heat(self._v, self._gx, self._gy, self._gz, self._mask, np.float32(self.spacing_m), out)
        return out
