"""The breathing body as a table: what :class:`BodyMotion` solves anew for each displacement, fitted once.

The amplitudes that carry the target's centroid to a displacement are a smooth function of it: a polynomial through
some eighty exact solutions gives them to a few thousandths of a millimetre, a hundred times as fast.
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import MotionError
from needleplan.frames import FloatArray, read_only
from needleplan.motion.body_motion import BodyMotion, BodyState
from needleplan.motion.contract import RespiratoryMotion
from needleplan.motion.surrogate import SurrogateMotion

#: The fit reaches so many times as far as the motion, as deep breaths do, and beyond that by a margin for holds of
#: the breath that end elsewhere and for drift.
DEEP_BREATH = 1.5
MARGIN_MM = 4.0
#: The fit reaches at least so far to inferior, as a cough does.
COUGH_MM = 20.0
#: Parts of that reach that are tried, where the body would fold at the whole.
REACH_SHARES = tuple(0.1 * tenths for tenths in range(10, -1, -1))
#: A fit that leaves the centroid farther than this from where it should be is refused.
WORST_FIT_MM = 0.1
#: Displacements of a motion are looked at for so long, and so often.
LONGEST_SPAN_S = 600.0
SAMPLING_S = 0.05

#: Degrees of the polynomial to the right, to anterior, along the axis, and in the wall's way.
_DEGREES = (2, 4, 6, 2)
_SAMPLES = 72
_CHECKS = 64


class TabulatedBody:
    """States of a breathing body at the price of a polynomial.

    The range is a box in the trunk's axes, and in the wall's way where that is independent. It holds all
    displacements that are given, ``DEEP_BREATH`` times as large, with ``MARGIN_MM`` around and ``COUGH_MM`` or more
    to inferior, or as great a part of that addition as the body stands without folding. In its corners and at a
    Halton sequence that is denser towards its faces the amplitudes are solved exactly; the polynomial, without a
    constant so that no displacement is no amplitude, is their least-squares fit. Elsewhere it is checked: the
    amplitudes tell where the centroid goes, without any solving.

    Nothing folds within the range: the bounds of the body grow with the size of each amplitude, and no state is
    given by the table whose amplitudes are greater than some for which the bounds hold.

    Args:
        body: the exact motion.
        displacements_mm: (n, 3) displacements of the target that must lie within the range, patient LPS.
        wall_mm: (n,) the wall's way at each, as in :meth:`BodyMotion.at`, where it does not follow the target.

    Attributes:
        body: the exact motion.
        low: least displacement in the trunk's axes, (3,), and with an independent wall its least way, (4,).
        high: the greatest.
        error_mm: greatest distance of the centroid from where it should be, over displacements of the motion and
            others in the range, none of which was fitted.

    Raises:
        MotionError: the displacements are no finite numbers, or the body would fold at them.
    """

    def __init__(self, body: BodyMotion, displacements_mm: ArrayLike, wall_mm: ArrayLike | None = None) -> None:
        path = np.asarray(displacements_mm, dtype=np.float64)
        if path.ndim != 2 or path.shape[1] != 3 or not len(path) or not np.isfinite(path).all():
            raise MotionError("the displacements of a table must be finite and of shape (n, 3)")
        path = path @ body.trunk.axes
        if wall_mm is not None:
            wall = np.asarray(wall_mm, dtype=np.float64)
            if wall.shape != (len(path),) or not np.isfinite(wall).all():
                raise MotionError(f"the wall needs one finite way for each of the {len(path)} displacements")
            path = np.column_stack([path, wall])
        self.body = body
        self._free_wall = wall_mm is not None
        self.low, self.high, solved, drives = self._solved(path)
        self._scale = np.maximum(np.maximum(np.abs(self.low), np.abs(self.high)), 1e-9)
        degrees = np.asarray(_DEGREES[: path.shape[1]])
        powers = np.array(list(product(*(range(degree + 1) for degree in degrees))))
        order = (powers / degrees).sum(axis=1)
        self._powers = powers[(order > 0.0) & (order <= 1.0 + 1e-9)]
        self._factors = np.linalg.lstsq(self._terms(solved), drives[:, :3], rcond=None)[0]
        self._greatest = self._proven(drives)
        self.error_mm = self._held_out(path)
        if self.error_mm > WORST_FIT_MM:
            raise MotionError(
                f"the table of the breathing body errs by {self.error_mm:.2f} mm, more than {WORST_FIT_MM:g} mm: "
                "the exact motion must be used, or a smaller amplitude"
            )

    @classmethod
    def of_motion(cls, body: BodyMotion, motion: RespiratoryMotion | None = None) -> "TabulatedBody":
        """The table over at most ``LONGEST_SPAN_S`` of a motion; the wall follows its skin where it has one.

        Args:
            body: the exact motion.
            motion: the breathing model; the body's own where None.
        """
        breathing = body.motion if motion is None else motion
        length = min(breathing.span_s, LONGEST_SPAN_S)
        times = np.linspace(0.0, length, max(2, int(np.ceil(length / SAMPLING_S)) + 1))
        wall = breathing.wall_mm(times) if isinstance(breathing, SurrogateMotion) else None
        return cls(body, breathing.displacement_mm(times), wall)

    def state(self, displacement_mm: ArrayLike, wall_mm: float | None = None) -> BodyState:
        """The body while the target is displaced; outside the range :meth:`BodyMotion.at` answers itself.

        Args:
            displacement_mm: (3,) patient LPS.
            wall_mm: way of the liver to inferior that ribs and skin follow; None takes the target's own.

        Raises:
            MotionError: outside the range, as :meth:`BodyMotion.at`.
        """
        given = np.asarray(displacement_mm, dtype=np.float64)
        if given.shape != (3,) or (wall_mm is not None and not self._free_wall):
            return self.body.at(given, wall_mm)
        drive = np.zeros(4)
        where = given @ self.body.trunk.axes
        drive[3] = self.body.wall_of(given) if wall_mm is None else wall_mm
        if self._free_wall:
            where = np.append(where, drive[3])
        # A comparison with what is no number fails, too.
        if not ((where >= self.low) & (where <= self.high)).all():
            return self.body.at(given, wall_mm)
        drive[:3] = self._terms(where) @ self._factors
        sizes = abs(drive[0]), np.hypot(drive[1], drive[2]), abs(drive[3])
        if not (np.asarray(sizes) <= self._greatest).all():
            return self.body.at(given, wall_mm)
        return BodyState(self.body, read_only(given), read_only(drive))

    def _terms(self, where: FloatArray) -> FloatArray:
        """(..., m) monomials at places (..., 3) or (..., 4) of the range."""
        return np.asarray(np.prod((where / self._scale)[..., None, :] ** self._powers, axis=-1))

    def _exact(self, where: FloatArray) -> FloatArray:
        """(4,) amplitudes at a place of the range."""
        wall = float(where[3]) if self._free_wall else None
        return self.body.at(self.body.trunk.axes @ where[:3], wall).drive

    def _solved(self, path: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Corners of the greatest range that the body stands, places (k, 3 or 4) in it, and their amplitudes."""
        from scipy.stats import qmc

        # No displacement is always in the range, so that the body at rest is exactly that.
        least, most = np.minimum(path.min(axis=0), 0.0), np.maximum(path.max(axis=0), 0.0)
        farthest, deepest = DEEP_BREATH * least - MARGIN_MM, DEEP_BREATH * most + MARGIN_MM
        farthest[2] = min(farthest[2], -COUGH_MM - MARGIN_MM)
        if self._free_wall:
            deepest[3] = max(deepest[3], COUGH_MM + MARGIN_MM)
        for share in REACH_SHARES:
            low, high = least + share * (farthest - least), most + share * (deepest - most)
            corners = np.array(list(product(*zip(low, high, strict=True))))
            try:
                drives = [self._exact(corner) for corner in corners]
            except MotionError:
                if share == REACH_SHARES[-1]:
                    raise
                continue
            break
        spread = qmc.Halton(len(low), scramble=False).random(_SAMPLES + 1)[1:]
        inner = low + (0.5 - 0.5 * np.cos(np.pi * spread)) * (high - low)
        drives += [self._exact(place) for place in inner]
        return low, high, np.concatenate([corners, inner]), np.array(drives)

    def _proven(self, drives: FloatArray) -> FloatArray:
        """(3,) greatest sizes of the amplitudes along the axis, across it and of the wall that the table may give.

        A little more than the sizes of the solutions, as far as the bounds of the body hold for all three at once.
        """
        greatest = np.array(
            [np.abs(drives[:, 0]).max(), np.hypot(drives[:, 1], drives[:, 2]).max(), np.abs(drives[:, 3]).max()]
        )
        for more in (1.02, 1.0, 0.98, 0.95, 0.9):
            try:
                self.body.contraction(np.array([more * greatest[0], more * greatest[1], 0.0, more * greatest[2]]))
            except MotionError:
                continue
            return np.asarray(more * greatest)
        return np.zeros(3)

    def _held_out(self, path: FloatArray) -> float:
        """Greatest error of the centroid, mm, over displacements that were not fitted."""
        from scipy.stats import qmc

        inner = qmc.Halton(len(self.low), scramble=False).random(_SAMPLES + 1 + _CHECKS)[_SAMPLES + 1 :]
        along = path[np.linspace(0, len(path) - 1, min(len(path), _CHECKS)).astype(np.intp)]
        worst = 0.0
        for where in np.concatenate([self.low + inner * (self.high - self.low), along]):
            drive = np.zeros(4)
            drive[:3] = self._terms(where) @ self._factors
            drive[3] = where[3] if self._free_wall else self.body.wall_of(self.body.trunk.axes @ where)
            worst = max(worst, float(np.linalg.norm(self.body.target_way(drive) - where[:3])))
        return worst
