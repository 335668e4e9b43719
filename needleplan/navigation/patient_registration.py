"""Patient and reference brought together: points touched with the needle's tip, or the skin swept with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import NavigationError, OptionError
from needleplan.frames import FloatArray, Frame, RigidTransform, read_only
from needleplan.navigation.events import PoseRefused, Registered, RegistrationMethod, ToolPose
from needleplan.navigation.guidance import DoubtKind
from needleplan.navigation.options import SessionOptions
from needleplan.navigation.relied_pairs import relied_pairs
from needleplan.registration.point_based import PointOptions, PointRegistration, register_points
from needleplan.registration.pose_covariance import PoseCovariance
from needleplan.registration.registration_error import registration_covariance
from needleplan.registration.surface import SurfaceRegistration, register_surface
from needleplan.registration.surface_search import SurfaceOptions

#: Points that lie so much longer than wide leave the turn about their length poorly known, and it is said.
_LONG = 8.0
#: Least localisation error of a point touched by hand with a tracked tip; an assumption, of what optical trackers
#: and calibrated tips reach. By chance few points fit better than they were found.
_LEAST_FLE_MM = 0.5
#: Chance that a normal error stays below three times its spread.
_THREE_SPREADS = 0.99865


@dataclass(frozen=True, slots=True)
class TouchOptions:
    """How a point is touched.

    Attributes:
        least_poses: poses that are averaged at least.
        least_s: the tip rests on the point at least so long.
        spread_mm: greatest root mean square distance of the tip from its mean meanwhile.
    """

    least_poses: int = 20
    least_s: float = 1.0
    spread_mm: float = 0.7

    def __post_init__(self) -> None:
        if not 2 <= self.least_poses <= 10_000 or not 0.0 <= self.least_s <= 60.0:
            raise OptionError("a point is touched with 2 to 10 000 poses over 0 to 60 s")
        if not 0.0 < self.spread_mm <= 10.0:
            raise OptionError(f"the tip may move by more than 0 and up to 10 mm, not {self.spread_mm}")


@dataclass(frozen=True, slots=True, eq=False)
class TouchedPoint:
    """A point that was touched.

    Attributes:
        name: which.
        point_mm: (3,) mean place of the tip in the reference's frame R.
        spread_mm: root mean square distance from that.
        count: poses that were averaged.
        measured_s: when the first of them was measured; 0, as old as can be, where nobody knows.
    """

    name: str
    point_mm: FloatArray
    spread_mm: float
    count: int
    measured_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "point_mm", read_only(self.point_mm))


@dataclass(frozen=True, slots=True, eq=False)
class FiducialRegistration:
    """A registration by touched points.

    Attributes:
        event: what the session takes.
        result: residuals, outliers, odds of a mirrored set.
    """

    event: Registered
    result: PointRegistration


@dataclass(frozen=True, slots=True, eq=False)
class SkinRegistration:
    """A registration by a swept patch of skin.

    Attributes:
        event: what the session takes.
        result: residuals and overlap.
    """

    event: Registered
    result: SurfaceRegistration


def tip_points_mm(poses: Sequence[ToolPose | PoseRefused], options: SessionOptions | None = None) -> FloatArray:
    """(n, 3) places of the tip in the reference's frame, from poses of needle and reference as they arrived.

    Needle and reference are paired as in a session, and what a session would not rely on is left out: stale and
    frozen poses, and those near to one that was refused.

    Raises:
        NavigationError: the reference moved meanwhile, or a clock was set back.
    """
    pairs, latched, _ = relied_pairs(poses, options)
    for doubt in latched:
        # The tip that strokes is lifted and put down elsewhere.
        if doubt.kind is not DoubtKind.JUMP:
            raise NavigationError(f"the places of the tip cannot be relied on: {doubt.sentence}")
    return np.array([pair.X_RN[:3, 3] for pair in pairs]).reshape(-1, 3)


def touched_point(
    name: str,
    poses: Sequence[ToolPose | PoseRefused],
    touch: TouchOptions | None = None,
    options: SessionOptions | None = None,
) -> TouchedPoint:
    """The point on which the needle's tip rested.

    Args:
        name: of the point in the image.
        poses: of needle and reference, as they arrived while the tip rested; what a session would not rely on is
            left out, as stale and frozen ones.
        touch: how long and how still.
        options: how needle and reference are paired.

    Raises:
        NavigationError: too few poses that can be relied on, over too short a time, or tip or reference moved.
    """
    asked = touch or TouchOptions()
    pairs, latched, others = relied_pairs(poses, options)
    if latched:
        raise NavigationError(f"point {name}: {latched[0].sentence}")
    if len(pairs) < asked.least_poses:
        why = "" if not others else f" ({' '.join(doubt.sentence for doubt in others)})"
        raise NavigationError(
            f"point {name}: needle and reference were seen together in {len(pairs)} poses only, where "
            f"{asked.least_poses} are needed: rest the tip on it longer, in view of the tracker{why}"
        )
    lasted_s = pairs[-1].measured_s - pairs[0].measured_s
    if lasted_s < asked.least_s:
        raise NavigationError(
            f"point {name}: the tip rested for {lasted_s:.2f} s, where {asked.least_s:g} s must be"
        )
    places = np.array([pair.X_RN[:3, 3] for pair in pairs])
    mean = places.mean(axis=0)
    spread_mm = float(np.sqrt(((places - mean) ** 2).sum(axis=1).mean()))
    if spread_mm > asked.spread_mm:
        raise NavigationError(
            f"point {name}: the tip moved by {spread_mm:.2f} mm (root mean square), where {asked.spread_mm:g} mm "
            "are allowed: hold it still and touch again"
        )
    return TouchedPoint(name, mean, spread_mm, len(pairs), pairs[0].measured_s)


def register_fiducials(
    image_mm: Mapping[str, ArrayLike],
    touched: Sequence[TouchedPoint],
    tips_mm: ArrayLike,
    time_s: float,
    options: PointOptions | None = None,
    *,
    hand_confirmed: bool = False,
) -> FiducialRegistration:
    """Patient and reference from points that are known in the image and were touched.

    Where the localisation error is not known, the error that is stated grows as few points tell of it: so that the
    truth exceeds three times the stated one no more often than it does with a known one (Student's t at three
    spreads over three), and it is never that of points found better than to 0.5 mm.

    Args:
        image_mm: (3,) places in patient LPS by name; those that were not touched are left out.
        touched: the touched points.
        tips_mm: (n, 3) planned tips, at which the error is stated.
        time_s: when, on the session's clock.
        options: localisation error and outliers.
        hand_confirmed: True where people made sure that neither set of points is mirrored; asked for where the
            points themselves do not show it, as three or flat ones never do.

    Raises:
        NavigationError: a touched point is not in the image, or touched twice.
        GeometryError: the points determine no pose, are mirrored, or misfit (see ``register_points``).
    """
    names = [point.name for point in touched]
    unknown = sorted(set(names) - set(image_mm))
    if unknown:
        raise NavigationError(
            f"point {unknown[0]} was touched, but the image has no such point: it has {', '.join(sorted(image_mm))}"
        )
    if len(set(names)) < len(names):
        raise NavigationError("a point was touched twice: keep one of the two")
    result = register_points(
        np.array([image_mm[name] for name in names], dtype=np.float64).reshape(-1, 3),
        np.array([point.point_mm for point in touched]).reshape(-1, 3),
        Frame.PATIENT,
        Frame.REFERENCE,
        options,
        names,
    )
    kept = len(names) - len(result.taken_out)
    said = [f"{kept} points fit to {result.fre_mm:.2f} mm (root mean square)."]
    if result.taken_out:
        said.append(f"Left out, as they do not fit the others: {', '.join(result.taken_out)}.")
    covariance = result.covariance
    if options is None or options.fle_mm is None:
        fle_mm = _stated_fle_mm(result)
        covariance = _covariance(result, touched, fle_mm)
        said.append(
            f"How exactly points are found is judged by their misfit: {result.fle_mm:.2f} mm, from "
            f"{result.degrees_of_freedom} degrees of freedom; what is expected here is stated for {fle_mm:.2f} mm."
        )
    if result.condition > _LONG:
        said.append(f"The points lie {result.condition:.0f} times as long as wide: add one well beside their line.")
    said += _tip_sentences(covariance.tre_mm, tips_mm)
    unsure: tuple[str, ...] = ()
    if result.hand_is_shown or hand_confirmed:
        said.append(_sentence(result.hand) if result.hand_is_shown else "That no set is mirrored was made sure.")
    else:
        unsure = (_sentence(result.hand),)
    event = Registered(
        time_s,
        result.transform,
        covariance,
        RegistrationMethod.FIDUCIALS,
        result.fre_mm,
        tuple(said),
        unsure,
        min(time_s, *(point.measured_s for point in touched)),
    )
    return FiducialRegistration(event, result)


def register_skin(
    swept_mm: ArrayLike,
    skin: SurfaceMesh,
    start: RigidTransform,
    tips_mm: ArrayLike,
    time_s: float,
    options: SurfaceOptions | None = None,
    *,
    measured_s: float = 0.0,
) -> SkinRegistration:
    """Patient and reference from a patch of skin that was swept with the tip.

    Args:
        swept_mm: (n, 3) places of the tip in the reference's frame, as of ``tip_points_mm``.
        skin: the patient's skin, patient LPS mm.
        start: X_PR nearby, of a few touched points for instance.
        tips_mm: (n, 3) planned tips.
        time_s: when, on the session's clock.
        options: capture range and limits.
        measured_s: when the first of the places was measured; 0, as old as can be, where nobody knows, so that no
            doubt is mended.

    Raises:
        GeometryError: the patch does not fit, or slides in itself (see ``register_surface``).
        NavigationError: the start is not of the reference.
    """
    if start.child is not Frame.REFERENCE:
        raise NavigationError(
            f"the start of a registration of the skin must be X_PR, not X_{start.parent}{start.child}"
        )
    result = register_surface(swept_mm, skin, start, options)
    said = [
        f"{result.overlap:.0%} of the points fit the skin to {result.rms_mm:.2f} mm (root mean square); "
        f"{result.agreeing_starts:.0%} of the searches agree.",
        "What the breath and a skin that gives way shift as a whole is not in the stated error.",
        *_tip_sentences(result.covariance.tre_mm, tips_mm),
    ]
    event = Registered(
        time_s,
        result.transform,
        result.covariance,
        RegistrationMethod.SURFACE,
        result.rms_mm,
        tuple(said),
        measured_s=measured_s,
    )
    return SkinRegistration(event, result)


def _stated_fle_mm(result: PointRegistration) -> float:
    from scipy.special import stdtrit

    factor = float(stdtrit(result.degrees_of_freedom, _THREE_SPREADS)) / 3.0
    return max(_LEAST_FLE_MM, factor * result.fle_mm)


def _covariance(result: PointRegistration, touched: Sequence[TouchedPoint], fle_mm: float) -> PoseCovariance:
    kept = [point.point_mm for point in touched if point.name not in result.taken_out]
    each = np.tile(np.eye(3), (len(kept), 1, 1))
    placed = result.transform.apply(np.array(kept))
    return registration_covariance(placed, fle_mm**2 / 3.0 * each, each, Frame.PATIENT)


def _tip_sentences(error_mm: Callable[[ArrayLike], float], tips_mm: ArrayLike) -> list[str]:
    tips = np.asarray(tips_mm, dtype=np.float64).reshape(-1, 3)
    return [f"Expected error at planned tip {k}: {error_mm(tip):.2f} mm." for k, tip in enumerate(tips, start=1)]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
