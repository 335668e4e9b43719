"""Rigid registration of points that are known in two frames."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, Frame, RigidTransform, read_only
from needleplan.registration.point_pairs import PointPairs, spread_mm
from needleplan.registration.pose_covariance import PoseCovariance, checked_covariance
from needleplan.registration.registration_error import fle_from_fre_mm, point_motions, registration_covariance
from needleplan.registration.rotations import nearest_rotation, rotations_of

#: At least so many pairs stay when some are taken out: with three, any one of them could be wrong.
LEAST_LEFT = 4
#: More subsets than this are not searched for outliers.
MOST_SUBSETS = 5_000
#: Odds beyond which a set is called mirrored, or not mirrored: strong evidence by Kass and Raftery, J Am Stat Assoc
#: 1995;90:773. Between them the points do not tell.
CLEAR_ODDS = 20.0
#: Misfit below which pairs are the same but for rounding.
_ROUNDING_MM = 1e-6
#: Greater odds than e to this power are given as these: beyond, they would overflow.
_MOST_LOG_ODDS = 700.0


@dataclass(frozen=True, slots=True)
class PointOptions:
    """How points are registered.

    Attributes:
        fle_mm: root mean square length of the localisation error of a pair (of both its points), where it is
            known; None lets the residuals speak for it.
        most_taken_out: at most so many pairs are taken out as outliers; 0 for none.
        level: chance by which a pair without fault is taken out, or a set without fault refused.
        greatest_fre_mm: greatest root mean square length of the residuals of the kept points. The default of 5 mm
            is an assumption: well above what markers leave that are found to 1 or 2 mm; raise it for landmarks of
            the anatomy.
    """

    fle_mm: float | None = None
    most_taken_out: int = 2
    level: float = 1e-3
    greatest_fre_mm: float = 5.0

    def __post_init__(self) -> None:
        if self.fle_mm is not None and not 0 < self.fle_mm < 100:
            raise OptionError(f"the localisation error must lie between 0 and 100 mm, not {self.fle_mm!r}")
        if not 0 <= self.most_taken_out <= 10 or not 0 < self.level < 0.5:
            raise OptionError("0 to 10 points may be taken out, at a level between 0 and 0.5")
        if not self.greatest_fre_mm > 0:
            raise OptionError(f"the residuals that are allowed must be above 0 mm, not {self.greatest_fre_mm!r}")


@dataclass(frozen=True, slots=True, eq=False)
class PointRegistration:
    """A pose from pairs of points.

    Attributes:
        transform: pose of the child frame in the parent frame, mm.
        covariance: of that pose, in the parent frame about the centroid of the kept points; its ``tre_mm`` is the
            target registration error at a point.
        names: (n,) names of all points.
        residuals_mm: (n, 3) place in the parent frame less where the pose puts the point, of all points.
        taken_out: names of the points that were taken out as outliers.
        fre_mm: root mean square length of the residuals of the kept points.
        fle_mm: root mean square length of the localisation error: as it was given, or as FRE speaks for it.
        degrees_of_freedom: 3n - 6 of the kept points; an estimated ``fle_mm`` is as uncertain as a chi-square law
            of so many says.
        scale: distances in the child frame over those in the parent frame.
        spread_mm: (3,) root mean square extents of the kept points along their principal axes, greatest first.
        unmirrored_odds: how many times likelier the points are under this pose than if one set were mirrored. Never
            below 1 / ``CLEAR_ODDS``, which is refused; 1 for three points, or coplanar ones.
    """

    transform: RigidTransform
    covariance: PoseCovariance
    names: tuple[str, ...]
    residuals_mm: FloatArray
    taken_out: tuple[str, ...]
    fre_mm: float
    fle_mm: float
    degrees_of_freedom: int
    scale: float
    spread_mm: FloatArray
    unmirrored_odds: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "residuals_mm", read_only(self.residuals_mm))
        object.__setattr__(self, "spread_mm", read_only(self.spread_mm))

    @property
    def condition(self) -> float:
        """Length of the kept points over their width; 1 is best and 20 is refused."""
        return float(self.spread_mm[0] / self.spread_mm[1])

    @property
    def hand_is_shown(self) -> bool:
        """True where the points themselves show that neither set is mirrored."""
        return self.unmirrored_odds > CLEAR_ODDS

    @property
    def hand(self) -> str:
        """What the points say about a mirrored set, in a sentence."""
        if self.hand_is_shown:
            odds = "more than a million" if self.unmirrored_odds > 1e6 else f"{self.unmirrored_odds:.3g}"
            return f"the points show that neither set is mirrored ({odds} to 1)"
        return (
            f"the points do not show whether one set is mirrored (odds {self.unmirrored_odds:.2g} to 1 that none "
            f"is, where {CLEAR_ODDS:g} would be clear): make sure that both are in right-handed axes of the same "
            "sense, or add a point well off their plane"
        )


def register_points(
    fixed_mm: ArrayLike,
    moving_mm: ArrayLike,
    parent: Frame,
    child: Frame,
    options: PointOptions | None = None,
    names: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    fixed_covariance_mm2: ArrayLike | None = None,
    moving_covariance_mm2: ArrayLike | None = None,
) -> PointRegistration:
    """The rigid pose that carries points from the child to the parent frame with the least weighted squares.

    Without covariances by singular values in closed form, the rotation proper (Arun, Huang, Blostein, IEEE TPAMI
    1987;9:698; Umeyama, IEEE TPAMI 1991;13:376). With covariances by the iterated generalised least squares that
    start there, Σ rᵀ (S_fixed + R S_moving Rᵀ)⁻¹ r (Balachandran and Fitzpatrick, Proc SPIE 2009;7261).

    Outliers are sought among all subsets of up to ``most_taken_out`` points, those taken out whose loss explains
    the misfit beyond chance: by the F law of the ratio of what they explain to what is left, or the chi-square law
    where the localisation error is known, the greatest significant number counting, so that two outliers do not
    hide each other (Rosner, Technometrics 1983;25:165).

    A mirrored set is told by the odds of the best rotation against the best reflection. With a localisation error
    that is not known they are (S_mirrored / S)^((3n - 6) / 2) of the two sums of squares S, the ratio of the
    likelihoods over all spreads with the density 1/σ (Jeffreys' prior); with a known one, where S is weighted by
    the inverse covariances, exp((S_mirrored - S) / 2). Beyond ``CLEAR_ODDS`` for the reflection the set is refused.
    Up to ``CLEAR_ODDS`` for the rotation the points do not tell, and the result says so (``hand_is_shown``,
    ``hand``, ``unmirrored_odds``): always with three points and with coplanar ones, and by chance with few points
    that are flat against their localisation error. How often either happens is in a table in docs/robots.md.

    Args:
        fixed_mm: (n, 3) points in the parent frame.
        moving_mm: (n, 3) the same points in the child frame, in the same order.
        parent: parent frame.
        child: child frame.
        options: localisation error and outliers.
        names: (n,) names of the points, for messages; their numbers from 1 by default.
        weights: (n,) inverse variances of the pairs up to a common factor.
        fixed_covariance_mm2: (n, 3, 3) or (3, 3) covariance of the points in the parent frame.
        moving_covariance_mm2: (n, 3, 3) or (3, 3) covariance of the points in the child frame, in its axes.

    Raises:
        GeometryError: the pairs determine no pose (see ``PointPairs``), are clearly mirrored, or misfit more than
            their localisation error explains or ``greatest_fre_mm`` allows.
        OptionError: weights or covariances are no such thing, or both are given.
    """
    chosen = options or PointOptions()
    pairs = PointPairs.of(fixed_mm, moving_mm, names)
    law = _Law.of(len(pairs), chosen, weights, fixed_covariance_mm2, moving_covariance_mm2)
    found = _without_outliers(pairs, law, chosen)
    odds = _unmirrored_odds(pairs, law, chosen, found)
    fit = _fit(pairs, law, found.kept)
    if not fit.settled:
        raise GeometryError("the points with their covariances determine no pose to which the search settles")
    return _result(pairs, law, found.kept, fit, chosen, odds, parent, child)


@dataclass(frozen=True, slots=True, eq=False)
class _Law:
    """Localisation errors of the pairs: covariances in both frames, known to a factor only unless ``known``."""

    fixed: FloatArray
    moving: FloatArray
    known: bool

    @classmethod
    def of(
        cls,
        count: int,
        options: PointOptions,
        weights: ArrayLike | None,
        fixed: ArrayLike | None,
        moving: ArrayLike | None,
    ) -> "_Law":
        nothing = np.zeros((count, 3, 3))
        if fixed is not None or moving is not None:
            if weights is not None or options.fle_mm is not None:
                raise OptionError("covariances of the points go without weights and without a localisation error")
            both = [
                nothing
                if given is None
                else np.array(np.broadcast_to(np.asarray(given, np.float64), (count, 3, 3)))
                for given in (fixed, moving)
            ]
            for matrix in both:
                checked_covariance(matrix, "the fiducials' localisation error")
            # One of both frames alone must blur the pair in every direction, however the frames are turned.
            if (np.linalg.eigvalsh(both)[..., 0].max(axis=0) <= 0).any():
                raise OptionError("the localisation error of a point must be above 0 mm in every direction")
            return cls(both[0], both[1], True)
        share = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
        if share.shape != (count,) or not np.isfinite(share).all() or (share <= 0).any():
            raise OptionError(f"weights must be {count} numbers above 0, one a point")
        variance = share.mean() / share
        if options.fle_mm is not None:
            variance = variance * options.fle_mm**2 / 3.0
        return cls(variance[:, None, None] * np.eye(3), nothing, options.fle_mm is not None)

    def covariances(self, rotation: FloatArray) -> FloatArray:
        """(n, 3, 3) of each pair in the parent frame."""
        return np.asarray(self.fixed + rotation @ self.moving @ rotation.T)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    rotation: FloatArray
    translation: FloatArray
    misfit: float
    settled: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The best subsets with 0, 1, ... points taken out, their misfits, and how many are taken out."""

    subsets: list[NDArray[np.bool_]]
    misfits: list[float]
    out: int

    @property
    def kept(self) -> NDArray[np.bool_]:
        return self.subsets[self.out]


def _closed_form(fixed: FloatArray, moving: FloatArray, weights: FloatArray) -> _Fit:
    share = weights / weights.sum()
    fixed_centre, moving_centre = share @ fixed, share @ moving
    rotation = nearest_rotation((share[:, None] * (fixed - fixed_centre)).T @ (moving - moving_centre))
    translation = fixed_centre - rotation @ moving_centre
    left_over = fixed - moving @ rotation.T - translation
    return _Fit(rotation, translation, float((weights * (left_over**2).sum(axis=1)).sum()))


def _fit(pairs: PointPairs, law: _Law, kept: NDArray[np.bool_]) -> _Fit:
    fixed, moving = pairs.fixed_mm[kept], pairs.moving_mm[kept]
    size = np.trace(law.fixed + law.moving, axis1=1, axis2=2)[kept] / 3.0
    found = _closed_form(fixed, moving, 1.0 / size)
    isotropic = not law.moving.any() and np.allclose(law.fixed[kept], size[:, None, None] * np.eye(3), rtol=1e-12)
    if isotropic:
        return found
    rotation, translation = found.rotation, found.translation
    settled = False
    for _ in range(50):
        information = np.linalg.inv(law.covariances(rotation)[kept])
        placed = moving @ rotation.T + translation
        centre = placed.mean(axis=0)
        motion = point_motions(placed, centre)
        normal = np.einsum("nki,nkl,nlj->ij", motion, information, motion)
        step = np.linalg.solve(normal, np.einsum("nki,nkl,nl->i", motion, information, fixed - placed))
        turn = rotations_of(step[3:])
        rotation = nearest_rotation(turn @ rotation)
        translation = turn @ (translation - centre) + centre + step[:3]
        if np.abs(step[:3]).max() < 1e-10 and np.abs(step[3:]).max() < 1e-12:
            settled = True
            break
    # Steps may swing where residuals are great, as in the wrong hand they are: then the start may be better.
    ends = [(rotation, translation)] if settled else [(rotation, translation), (found.rotation, found.translation)]
    fits = []
    for turned, shifted in ends:
        left_over = fixed - moving @ turned.T - shifted
        information = np.linalg.inv(law.covariances(turned)[kept])
        misfit = float(np.einsum("ni,nij,nj->", left_over, information, left_over))
        fits.append(_Fit(turned, shifted, misfit, settled))
    return min(fits, key=lambda fit: fit.misfit)


def _without_outliers(pairs: PointPairs, law: _Law, options: PointOptions) -> _Search:
    count = len(pairs)
    most = min(options.most_taken_out, count - LEAST_LEFT)
    if math.comb(count, max(0, most)) > MOST_SUBSETS:
        raise OptionError(
            f"{most} outliers among {count} points leave more than {MOST_SUBSETS} subsets: allow fewer outliers"
        )
    everyone = np.ones(count, dtype=np.bool_)
    best, misfits = [everyone], [_fit(pairs, law, everyone).misfit]
    for out in range(1, most + 1):
        found: tuple[float, NDArray[np.bool_]] | None = None
        for group in itertools.combinations(range(count), out):
            kept = everyone.copy()
            kept[list(group)] = False
            try:
                pairs.part(kept)
            except GeometryError:  # what is left determines no pose, so these cannot be taken out
                continue
            misfit = _fit(pairs, law, kept).misfit
            if found is None or misfit < found[0]:
                found = (misfit, kept)
        if found is None:
            break
        misfits.append(found[0])
        best.append(found[1])
    for out in range(len(best) - 1, 0, -1):
        explained = misfits[out - 1] - misfits[out]
        if _chance(explained, misfits[out], count - out, law) * (count - out + 1) < options.level:
            return _Search(best, misfits, out)
    return _Search(best, misfits, 0)


def _chance(explained: float, left: float, count: int, law: _Law) -> float:
    """Chance that one point explains so much of the misfit by localisation errors alone."""
    from scipy.special import chdtrc, fdtrc

    if law.known:
        return float(chdtrc(3, max(0.0, explained)))
    freedom = 3 * count - 6
    floor = count * _ROUNDING_MM**2
    return float(fdtrc(3, freedom, max(0.0, explained) / 3.0 / (max(left, floor) / freedom)))


def _unmirrored_odds(pairs: PointPairs, law: _Law, options: PointOptions, found: _Search) -> float:
    """Odds that neither set is mirrored; a set that clearly is, is refused.

    Both hands may take out outliers. They are compared with as many taken out by each, so that the choice among
    subsets favours neither. A mirrored set may fit by fewer than the rotation needs, whose outliers are then what
    the mirror bends: these odds count if the reflection fits as well by itself.
    """
    # A reflection is a rotation of the inverted points; inverted covariances are the same ones.
    inverted = PointPairs(pairs.fixed_mm, -pairs.moving_mm, pairs.names)
    if law.known and found.out == 0:
        # No misfit is less than with every point as uncertain in all directions as in its worst, which is closed
        # form; mostly that tells, and spares a search that settles badly in the wrong hand.
        worst = np.linalg.eigvalsh(law.fixed)[:, -1] + np.linalg.eigvalsh(law.moving)[:, -1]
        bound = _closed_form(inverted.fixed_mm, inverted.moving_mm, 1.0 / worst).misfit
        if _log_odds(len(pairs), found.misfits[0], bound, law) > _MOST_LOG_ODDS:
            return math.exp(_MOST_LOG_ODDS)
    other = _without_outliers(inverted, law, dataclasses.replace(options, most_taken_out=found.out))
    compared = [found.out]
    if other.out < found.out and _fits_as_well(len(pairs), law, options, other, found):
        compared.append(other.out)
    log_odds = [_log_odds(len(pairs) - out, found.misfits[out], other.misfits[out], law) for out in compared]
    least = min(log_odds)
    if least < -math.log(CLEAR_ODDS):
        out = compared[log_odds.index(least)]
        size = 3.0 / np.trace(law.fixed + law.moving, axis1=1, axis2=2)
        rms = [math.sqrt(search.misfits[out] / size[search.subsets[out]].sum()) for search in (found, other)]
        raise GeometryError(
            f"one set of points is the mirror image of the other: they fit to {rms[1]:.3g} mm when mirrored and to "
            f"{rms[0]:.3g} mm when not; give both in right-handed axes of the same sense (LPS or RAS)"
        )
    return math.exp(min(least, _MOST_LOG_ODDS))


def _log_odds(count: int, rotated: float, reflected: float, law: _Law) -> float:
    """Natural logarithm of the odds of the rotation against the reflection, by their misfits."""
    if law.known:
        return (reflected - rotated) / 2.0
    rounding = count * _ROUNDING_MM**2
    return (3 * count - 6) / 2.0 * math.log((reflected + rounding) / (rotated + rounding))


def _fits_as_well(count: int, law: _Law, options: PointOptions, one: _Search, other: _Search) -> bool:
    """Whether one search's points leave a spread no worse than the other's, beyond chance."""
    from scipy.special import chdtrc, fdtrc

    freedoms = [3 * (count - search.out) - 6 for search in (one, other)]
    if law.known:
        return bool(chdtrc(freedoms[0], one.misfits[one.out]) >= options.level)
    rounding = count * _ROUNDING_MM**2
    spreads = [
        (search.misfits[search.out] + rounding) / freedom
        for search, freedom in zip((one, other), freedoms, strict=True)
    ]
    return bool(fdtrc(*freedoms, spreads[0] / spreads[1]) >= options.level)


def _result(
    pairs: PointPairs,
    law: _Law,
    kept: NDArray[np.bool_],
    fit: _Fit,
    options: PointOptions,
    unmirrored_odds: float,
    parent: Frame,
    child: Frame,
) -> PointRegistration:
    from scipy.special import chdtrc

    residuals = pairs.fixed_mm - pairs.moving_mm @ fit.rotation.T - fit.translation
    left = int(kept.sum())
    freedom = 3 * left - 6
    fre = math.sqrt(float((residuals[kept] ** 2).sum(axis=1).mean()))
    worst = pairs.names[int(np.argmax((residuals**2).sum(axis=1) * kept))]
    covariances = law.covariances(fit.rotation)
    if law.known:
        fle = math.sqrt(float(np.trace(covariances[kept], axis1=1, axis2=2).mean()))
        if chdtrc(freedom, fit.misfit) < options.level:
            raise GeometryError(
                f"the points misfit by {fre:.3g} mm where localisation errors of {fle:.3g} mm explain about "
                f"{fle * math.sqrt(1 - 2 / left):.3g} mm; the farthest off is point {worst}: measure again"
            )
    else:
        covariances = covariances * fit.misfit / freedom
        fle = fle_from_fre_mm(fre, left)
    if fre > options.greatest_fre_mm:
        raise GeometryError(
            f"the points misfit by {fre:.3g} mm (root mean square), where {options.greatest_fre_mm:g} mm are "
            f"allowed; the farthest off is point {worst}: check the order of the points and measure again"
        )
    placed = pairs.moving_mm[kept] @ fit.rotation.T + fit.translation
    own = covariances[kept]
    # Where all fits exactly the covariance is zero, which has no inverse; the weights are those of the law.
    information = np.linalg.inv(law.covariances(fit.rotation)[kept])
    return PointRegistration(
        RigidTransform.from_parts(parent, child, fit.rotation, fit.translation),
        registration_covariance(placed, own, information, parent),
        pairs.names,
        residuals,
        tuple(itertools.compress(pairs.names, ~kept)),
        fre,
        fle,
        freedom,
        pairs.scale,
        spread_mm(placed),
        unmirrored_odds,
    )
