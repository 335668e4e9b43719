"""Probabilities of simple arrangements in closed form, against which the scenarios are checked."""

import math

from needleplan.errors import OptionError


def sphere_margin_probability(
    room_mm: float, std_mm: float, components: int = 3, degrees_of_freedom: float | None = None
) -> float:
    """P(|e| <= room) of an isotropic error e: that a spherical zone keeps a margin about a spherical target.

    One spherical zone of radius R about a target of radius r with the same middle leaves the margin
    R - r - |e| when it is moved by e; so it keeps the margin m where |e| <= R - r - m, the room.

    With d normal components of standard deviation s, |e|²/s² is chi-square with d degrees of freedom: |e| has the
    Maxwell law for d = 3, the Rayleigh law for 2 (errors across the needle), the half-normal law for 1 (along it).
    Where a Student t scale of v degrees of freedom is shared by the components, with the same standard deviation,
    |e|² v / (d s² (v - 2)) has the F law of d and v degrees of freedom.

    Args:
        room_mm: R - r - m.
        std_mm: standard deviation of each component, above 0.
        components: number d of components.
        degrees_of_freedom: v, above 2; None for a normal law.

    Raises:
        OptionError: an argument is out of range.
    """
    from scipy.special import fdtr, gammainc

    if not std_mm > 0 or components not in (1, 2, 3):
        raise OptionError(f"a spread above 0 mm in 1 to 3 components is needed, not {std_mm!r} in {components!r}")
    if room_mm <= 0:
        return 0.0
    square = (room_mm / std_mm) ** 2
    if degrees_of_freedom is None:
        return float(gammainc(0.5 * components, 0.5 * square))
    if not degrees_of_freedom > 2:
        raise OptionError(
            f"a t law has a standard deviation above 2 degrees of freedom, not {degrees_of_freedom!r}"
        )
    ratio = square * degrees_of_freedom / (components * (degrees_of_freedom - 2.0))
    return float(fdtr(components, degrees_of_freedom, ratio))


def needle_aligned_probability(room_mm: float, lateral_std_mm: float, depth_std_mm: float) -> float:
    """P(|e| <= room) of a normal error with one spread across the needle and another along it.

    With the share across it Rayleigh and the one along it normal, P = E[1 - exp(-(x² - z²) / (2 a²)); |z| <= x] for
    the room x, the spread a across and z normal of spread b; with k = 1 - b²/a² the integral of the exponential is

        erf(x / (b √2)) - exp(-x² / (2 a²)) erf(√k x / (b √2)) / √k,

    where erf(√k u) / √k becomes erfi(√-k u) / √-k for k < 0 and 2 u / √π for k = 0.

    Args:
        room_mm: R - r - m, as for ``sphere_margin_probability``.
        lateral_std_mm: a, of each component across the needle, above 0.
        depth_std_mm: b, along the needle, above 0.

    Raises:
        OptionError: a spread is not above 0.
    """
    from scipy.special import erf, erfi

    if not (lateral_std_mm > 0 and depth_std_mm > 0):
        raise OptionError(f"both spreads must be above 0 mm, not {lateral_std_mm!r} and {depth_std_mm!r}")
    if room_mm <= 0:
        return 0.0
    u = room_mm / (depth_std_mm * math.sqrt(2.0))
    k = 1.0 - (depth_std_mm / lateral_std_mm) ** 2
    root = math.sqrt(abs(k))
    if root < 1e-6:
        integral = 2.0 * u / math.sqrt(math.pi)
    else:
        integral = float(erf(root * u) if k > 0 else erfi(root * u)) / root
    return float(erf(u)) - math.exp(-0.5 * (room_mm / lateral_std_mm) ** 2) * integral


def wall_hit_probability(clearance_mm: float, std_mm: float) -> float:
    """P(hit) of a needle beside an endless plane wall: the normal law at minus the clearance over the spread.

    Args:
        clearance_mm: planned distance from the needle's surface to the wall where it comes nearest.
        std_mm: spread of that place's position across the wall, above 0; of independent sources
            ``ErrorBudget.covariance_mm2`` gives it as sqrt(nᵀ C n) with the wall's normal n.

    Raises:
        OptionError: the spread is not above 0.
    """
    from scipy.special import ndtr

    if not std_mm > 0:
        raise OptionError(f"a spread above 0 mm is needed, not {std_mm!r}")
    return float(ndtr(-clearance_mm / std_mm))
