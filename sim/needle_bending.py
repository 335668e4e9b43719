"""How a needle bends: as a beam under loads at its tip, and along the curve that a bevelled tip cuts.

A limp needle follows the circle that its bevel steers (Webster et al., Int J Robotics Research 2006;25:509). A
stiff one bends only as far as the load on its bevel bends a beam that the tissue holds from the side (Hetényi
1946). So the curvature is the lesser of the two: the steered one is a limit of the tissue, the other of the
needle.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, read_only, unit_vector

#: Young modulus of stainless steel and of superelastic nitinol (textbook values), Pa.
STEEL_PA, NITINOL_PA = 200e9, 60e9
#: Stiffness with which tissue holds a metre of needle from the side, Pa: about its own Young modulus, 10 kPa for
#: liver (elastography); an assumption.
SIDE_STIFFNESS_PA = 10e3
#: Greatest moment in a half-infinite beam on an elastic foundation under a load F at its end: this times F / beta,
#: at beta x = pi / 4 (Hetényi 1946, exp(-pi/4) sin(pi/4)).
MOMENT_SHARE = math.exp(-math.pi / 4.0) * math.sin(math.pi / 4.0)


@dataclass(frozen=True, slots=True)
class NeedleShaft:
    """A round shaft.

    Attributes:
        outer_diameter_m: outside.
        inner_diameter_m: of its bore; 0 for a solid shaft.
        young_modulus_pa: of its material.
    """

    outer_diameter_m: float
    inner_diameter_m: float = 0.0
    young_modulus_pa: float = STEEL_PA

    def __post_init__(self) -> None:
        if not 0.0 <= self.inner_diameter_m < self.outer_diameter_m < 0.1:
            raise OptionError(
                f"a shaft needs a bore thinner than its outside, not {self.inner_diameter_m:g} m in "
                f"{self.outer_diameter_m:g} m"
            )
        if not 0.0 < self.young_modulus_pa < math.inf:
            raise OptionError(f"the Young modulus of a shaft must be above 0 Pa, not {self.young_modulus_pa:g}")

    @property
    def stiffness_n_m2(self) -> float:
        """Flexural rigidity E I, with I = pi (D⁴ - d⁴) / 64."""
        return self.young_modulus_pa * math.pi * (self.outer_diameter_m**4 - self.inner_diameter_m**4) / 64.0

    def buckling_n(self, free_m: float) -> float:
        """Euler's load at which the length between guide and skin buckles, clamped in one and hinged in the other.

        pi² E I / (0.699 L)². A greater force along the needle must not be asked of it.
        """
        _positive(free_m, "the free length of a shaft")
        return math.pi**2 * self.stiffness_n_m2 / (0.699 * free_m) ** 2


def tip_deflection_m(shaft: NeedleShaft, free_m: float, load_n: float, spread_m: float = 0.0) -> float:
    """Deflection of the tip of a shaft clamped at the other end, under a load across it.

    The load is spread evenly over the last ``spread_m``, as over a bevel's face: with q = F / a and b = L - a,
    q (3 L⁴ - 4 L b³ + b⁴) / (24 E I); F L³ / (3 E I) for a load at a point, F L³ / (8 E I) over the whole length.

    Args:
        shaft: the needle.
        free_m: its length L.
        load_n: the whole load F.
        spread_m: length a over which it is spread, 0 to L.

    Raises:
        OptionError: an impossible length.
    """
    _positive(free_m, "the free length of a shaft")
    if not 0.0 <= spread_m <= free_m:
        raise OptionError(f"a load cannot be spread over {spread_m:g} m of a shaft of {free_m:g} m")
    # (3 L⁴ - 4 L b³ + b⁴) / a written out, so that a short spread does not cancel.
    a, length = spread_m, free_m
    shape = 8.0 * length**3 - 6.0 * length**2 * a + a**3
    return load_n * shape / (24.0 * shaft.stiffness_n_m2)


@dataclass(frozen=True, slots=True)
class NeedleTip:
    """The tip's shape.

    Attributes:
        bevel_angle_rad: between the bevel's face and the shaft; None for a symmetric tip, which steers nowhere.
        steered_curvature_per_m: of the circle that a limp needle of this tip follows in this tissue.
    """

    bevel_angle_rad: float | None = None
    steered_curvature_per_m: float = 0.0

    def __post_init__(self) -> None:
        if self.bevel_angle_rad is None:
            if self.steered_curvature_per_m != 0.0:
                raise OptionError("a symmetric tip follows no circle: give it a bevel, or no curvature")
        elif not 0.0 < self.bevel_angle_rad < 0.5 * math.pi:
            raise OptionError(
                f"a bevel's angle must lie between 0 and 90 degrees, not {self.bevel_angle_rad:g} rad"
            )
        if not 0.0 <= self.steered_curvature_per_m <= 50.0:
            raise OptionError(f"a tip steers with 0 to 50 per m of curvature, not {self.steered_curvature_per_m:g}")

    def side_load_n(self, cutting_n: float) -> float:
        """Load across the needle while its tip feels a cutting force: F / tan(angle), the face without friction.

        The back of the tip rests on tissue, which takes up some of it: this is the most it can be.
        """
        return 0.0 if self.bevel_angle_rad is None else cutting_n / math.tan(self.bevel_angle_rad)


def steered_curvature_per_m(steer_angle_rad: float, wheelbase_m: float) -> float:
    """tan(phi) / l1, the front wheel's angle and the wheelbase of the bicycle model of Webster et al. 2006."""
    _positive(wheelbase_m, "a wheelbase")
    if not 0.0 <= steer_angle_rad < 0.5 * math.pi:
        raise OptionError(f"a steering angle must lie between 0 and 90 degrees, not {steer_angle_rad:g} rad")
    return math.tan(steer_angle_rad) / wheelbase_m


def curvature_per_m(
    shaft: NeedleShaft, tip: NeedleTip, cutting_n: float, side_stiffness_pa: float = SIDE_STIFFNESS_PA
) -> float:
    """Curvature of the path that the tip cuts: of the steered circle, or less where the needle is too stiff for it.

    The stiff needle: a beam that tissue holds from the side, loaded across at its end, bends by at most
    0.3224 F / (beta E I) with beta = (k / (4 E I))^(1/4).

    Args:
        shaft: the needle.
        tip: its tip.
        cutting_n: force on the tip along the needle, 0 or more.
        side_stiffness_pa: k, force on a metre of needle for a metre of displacement to the side.

    Raises:
        OptionError: a negative force or a stiffness that is not above 0.
    """
    _positive(side_stiffness_pa, "the stiffness of tissue to the side")
    if not 0.0 <= cutting_n < math.inf:
        raise OptionError(f"the force on a tip must be 0 N or more, not {cutting_n:g}")
    rigidity = shaft.stiffness_n_m2
    beta = (side_stiffness_pa / (4.0 * rigidity)) ** 0.25
    return min(tip.steered_curvature_per_m, MOMENT_SHARE * tip.side_load_n(cutting_n) / (beta * rigidity))


@dataclass(frozen=True, slots=True, eq=False)
class TipPose:
    """Where a tip is and where it goes.

    Attributes:
        position_m: (3,) place.
        direction: (3,) unit vector along the needle.
        side: (3,) unit vector across it, towards which the tip bends.
    """

    position_m: FloatArray
    direction: FloatArray
    side: FloatArray

    def __post_init__(self) -> None:
        direction, side = unit_vector(self.direction), unit_vector(self.side)
        if abs(float(direction @ side)) > 1e-6:
            raise OptionError("the side to which a tip bends must be across its direction")
        object.__setattr__(self, "position_m", read_only(self.position_m))
        object.__setattr__(self, "direction", read_only(direction))
        object.__setattr__(self, "side", read_only(unit_vector(side - (side @ direction) * direction)))


def advance_tip(pose: TipPose, distance_m: float, curvature: float, roll_rad: float = 0.0) -> TipPose:
    """The tip after a roll of the needle and a way along an arc, exactly (the unicycle of Webster et al. 2006).

    Args:
        pose: before.
        distance_m: way along the arc; drawn back where negative.
        curvature: 1 / radius in 1/m; 0 for a straight way.
        roll_rad: turn of the needle about itself before it advances, right-handed about its direction; half a turn
            bends it to the other side.
    """
    direction, side = pose.direction, pose.side
    if roll_rad != 0.0:
        side = math.cos(roll_rad) * side + math.sin(roll_rad) * np.cross(direction, side)
    angle = curvature * distance_m
    # sin(a)/k and (1 - cos(a))/k without a division by the curvature.
    along = distance_m * float(np.sinc(angle / math.pi))
    across = distance_m * math.sin(0.5 * angle) * float(np.sinc(0.5 * angle / math.pi))
    return TipPose(
        pose.position_m + along * direction + across * side,
        math.cos(angle) * direction + math.sin(angle) * side,
        math.cos(angle) * side - math.sin(angle) * direction,
    )


def tip_pose(position_m: ArrayLike, direction: ArrayLike, side: ArrayLike) -> TipPose:
    """A pose that bends towards the part of ``side`` that is across ``direction``.

    Raises:
        FrameError: a direction is zero, or the side points along the needle.
    """
    along = unit_vector(direction)
    towards = unit_vector(side)
    return TipPose(
        np.asarray(position_m, dtype=np.float64), along, unit_vector(towards - (towards @ along) * along)
    )


def _positive(value: float, what: str) -> None:
    if not 0.0 < value < math.inf:
        raise OptionError(f"{what} must be above 0, not {value:g}")
