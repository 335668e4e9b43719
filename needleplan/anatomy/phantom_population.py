"""Populations of built-in patients: how their sizes, tumours and vessels vary, and draws of them."""

import math
from dataclasses import dataclass, field, fields
from itertools import accumulate

from numpy.random import Generator

from needleplan.anatomy.phantom_parameters import (
    PARAMETER_LIMITS,
    TUMOUR_RADIUS_MM,
    PhantomParameters,
    TumourParameters,
    TumourShape,
    require_range,
)
from needleplan.errors import OptionError

#: Size of the average patient before scaling.
_BODY_MM = {"body_width_mm": 340.0, "body_depth_mm": 240.0, "body_height_mm": 300.0}

#: Most tumours beside the target that are drawn; more hardly find room in a liver.
_MOST_OTHERS = 8


@dataclass(frozen=True, slots=True)
class ShapeWeights:
    """How often each form of a tumour is drawn: whole numbers, of which only the proportions matter.

    Attributes:
        sphere: weight of spheres.
        ellipsoid: weight of ellipsoids.
        lobulated: weight of lobulated tumours.
    """

    sphere: int = 1
    ellipsoid: int = 1
    lobulated: int = 1

    def __post_init__(self) -> None:
        for item in fields(self):
            require_range(f"the weight of the shape {item.name}", getattr(self, item.name), 0, 1000)
        if self.sphere + self.ellipsoid + self.lobulated == 0:
            raise OptionError("the weights of the shapes are all zero: give at least one shape a weight above it")

    def draw(self, generator: Generator) -> TumourShape:
        """One form."""
        sums = list(accumulate((self.sphere, self.ellipsoid, self.lobulated)))
        drawn = int(generator.integers(0, sums[-1]))
        shapes = (TumourShape.SPHERE, TumourShape.ELLIPSOID, TumourShape.LOBULATED)
        return next(shape for shape, end in zip(shapes, sums, strict=True) if drawn < end)


@dataclass(frozen=True, slots=True)
class PhantomPopulation:
    """A parametric population of built-in patients.

    Ranges are (least, greatest), both included, and drawn from uniformly, but for depths and distances from
    vessels: these are of the first of some random places that fits, so they follow the form of the liver, and they
    may be undershot a little, see ``phantom_liver.fill_liver``. Where large tumours find no place, radii are not
    uniform among the patients that can be made. The defaults are choices that span what a planner meets, not
    epidemiology.

    Attributes:
        radius_mm: range of the target's radius, as of ``TumourParameters``.
        shapes: how often each form is drawn, for the target and the other tumours.
        near_capsule_share: share of tumours that lie near the capsule.
        near_capsule_mm: range of the depth below the liver's surface of those.
        far_capsule_mm: range of the depth of all others.
        near_vessel_share: share of tumours that lie near the main vessels, whatever their depth.
        near_vessel_mm: range of the distance from the main vessels of those.
        far_vessel_mm: range of the distance of all others.
        other_tumours: range of the number of tumours beside the target.
        other_radius_mm: range of their radius.
        body_scale: mean size of the body, as a multiple of 340 x 240 x 300 mm.
        body_deviation: standard deviation of width, depth and height, relative to their means.
        body_cut: number of standard deviations beyond which draws are set back to it.
        portal_generations: range of the number of divisions of the portal tree.
        hepatic_generations: range of the number of divisions of the hepatic veins.
        portal_radius_mm: range of the radius of the portal trunk.
        hepatic_radius_mm: range of the radius of the hepatic veins.
        organ_variation: as of ``PhantomParameters``.
        situs_inversus_share: share of mirrored patients.
    """

    radius_mm: tuple[float, float] = (6.0, 22.0)
    shapes: ShapeWeights = field(default_factory=ShapeWeights)
    near_capsule_share: float = 0.4
    near_capsule_mm: tuple[float, float] = (2.0, 8.0)
    far_capsule_mm: tuple[float, float] = (8.0, 60.0)
    near_vessel_share: float = 0.4
    near_vessel_mm: tuple[float, float] = (1.0, 6.0)
    far_vessel_mm: tuple[float, float] = (6.0, 80.0)
    other_tumours: tuple[int, int] = (0, 2)
    other_radius_mm: tuple[float, float] = (4.0, 9.0)
    body_scale: float = 1.0
    body_deviation: float = 0.05
    body_cut: float = 2.0
    portal_generations: tuple[int, int] = (3, 6)
    hepatic_generations: tuple[int, int] = (3, 6)
    portal_radius_mm: tuple[float, float] = (5.5, 7.5)
    hepatic_radius_mm: tuple[float, float] = (3.8, 5.4)
    organ_variation: float = 0.03
    situs_inversus_share: float = 0.0

    def __post_init__(self) -> None:
        for name, limits in _RANGES.items():
            _require_limits(name, getattr(self, name), *limits)
        for name, (low, high) in _NUMBERS.items():
            require_range(name, getattr(self, name), low, high)
        if not isinstance(self.shapes, ShapeWeights):
            raise OptionError(f"shapes must be ShapeWeights, not {self.shapes!r}")
        for name, mean_mm in _BODY_MM.items():
            for side in (-1.0, 1.0):
                size_mm = mean_mm * self.body_scale * (1.0 + side * self.body_cut * self.body_deviation)
                low, high = PARAMETER_LIMITS[name]
                if not low <= size_mm <= high:
                    raise OptionError(
                        f"body_scale, body_deviation and body_cut allow a {name} of {size_mm:.0f} mm, where it "
                        f"must lie in {low:g} to {high:g} mm: bring body_scale nearer to 1, or lower the other two"
                    )

    def draw(self, generator: Generator) -> PhantomParameters:
        """One patient. Each call takes from the generator in the same order, so a seed stands for a patient."""
        sizes = generator.standard_normal(3).clip(-self.body_cut, self.body_cut)
        scales = [float(x) for x in self.body_scale * (1.0 + self.body_deviation * sizes)]
        target = self._tumour(generator, self.radius_mm)
        others = tuple(
            self._tumour(generator, self.other_radius_mm) for _ in range(_whole(generator, self.other_tumours))
        )
        width_mm, depth_mm, height_mm = (
            mean * scale for mean, scale in zip(_BODY_MM.values(), scales, strict=True)
        )
        return PhantomParameters(
            body_width_mm=width_mm,
            body_depth_mm=depth_mm,
            body_height_mm=height_mm,
            portal_generations=_whole(generator, self.portal_generations),
            hepatic_generations=_whole(generator, self.hepatic_generations),
            portal_radius_mm=float(generator.uniform(*self.portal_radius_mm)),
            hepatic_radius_mm=float(generator.uniform(*self.hepatic_radius_mm)),
            organ_variation=self.organ_variation,
            tumours=(target, *others),
            # Drawn last, and only where it matters, so that all else is the same with and without it.
            mirrored=self.situs_inversus_share > 0.0 and bool(generator.random() < self.situs_inversus_share),
        )

    def _tumour(self, generator: Generator, radius_mm: tuple[float, float]) -> TumourParameters:
        radius = float(generator.uniform(*radius_mm))
        near_capsule, near_vessel = generator.random(2) < (self.near_capsule_share, self.near_vessel_share)
        return TumourParameters(
            radius_mm=radius,
            shape=self.shapes.draw(generator),
            capsule_depth_mm=self.near_capsule_mm if near_capsule else self.far_capsule_mm,
            vessel_gap_mm=self.near_vessel_mm if near_vessel else self.far_vessel_mm,
        )


_RANGES: dict[str, tuple[float, float]] = {
    "radius_mm": TUMOUR_RADIUS_MM,
    "near_capsule_mm": (0.5, 200.0),
    "far_capsule_mm": (0.5, 200.0),
    "near_vessel_mm": (0.5, 200.0),
    "far_vessel_mm": (0.5, 200.0),
    "other_tumours": (0, _MOST_OTHERS),
    "other_radius_mm": TUMOUR_RADIUS_MM,
    "portal_generations": PARAMETER_LIMITS["portal_generations"],
    "hepatic_generations": PARAMETER_LIMITS["hepatic_generations"],
    "portal_radius_mm": PARAMETER_LIMITS["portal_radius_mm"],
    "hepatic_radius_mm": PARAMETER_LIMITS["hepatic_radius_mm"],
}

_NUMBERS: dict[str, tuple[float, float]] = {
    "near_capsule_share": (0.0, 1.0),
    "near_vessel_share": (0.0, 1.0),
    "body_scale": (0.7, 1.5),
    "body_deviation": (0.0, 0.2),
    "body_cut": (0.0, 5.0),
    "organ_variation": PARAMETER_LIMITS["organ_variation"],
    "situs_inversus_share": (0.0, 1.0),
}


def random_parameters(generator: Generator) -> PhantomParameters:
    """One patient of the default population: see ``PhantomPopulation``."""
    return PhantomPopulation().draw(generator)


def _require_limits(name: str, value: tuple[float, float], low: float, high: float) -> None:
    """Raise OptionError unless a range lies between two limits; where these are whole, so must its ends be."""
    whole = isinstance(low, int)
    kinds = int if whole else (int, float)
    if not (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(end, kinds) and math.isfinite(end) for end in value)
        and low <= value[0] <= value[1] <= high
    ):
        what = "two whole numbers" if whole else "two numbers"
        raise OptionError(
            f"{name} must be a range of {what} with {low:g} <= least <= greatest <= {high:g}, not {value!r}"
        )


def _whole(generator: Generator, limits: tuple[int, int]) -> int:
    """A whole number, both limits included."""
    return int(generator.integers(limits[0], limits[1] + 1))
