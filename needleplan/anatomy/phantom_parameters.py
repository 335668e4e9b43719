"""Parameters of the built-in patient."""

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from needleplan.errors import OptionError


def require_range(name: str, value: float, low: float, high: float) -> None:
    """Raise OptionError unless a number lies between two limits; where these are whole, so must it be."""
    if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
        raise OptionError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    if isinstance(low, int) and not isinstance(value, int):
        raise OptionError(f"{name} must be a whole number, not {value!r}")


#: Least and greatest radius of a tumour.
TUMOUR_RADIUS_MM = (2.0, 45.0)


class TumourShape(StrEnum):
    """Form of a tumour."""

    SPHERE = "sphere"
    ELLIPSOID = "ellipsoid"
    LOBULATED = "lobulated"  #: smooth union of balls


@dataclass(frozen=True, slots=True)
class TumourParameters:
    """One tumour of the liver.

    Attributes:
        radius_mm: radius of the sphere, or of the sphere of the same volume.
        shape: its form.
        centre_mm: its centre in patient LPS; None draws one that meets the ranges below.
        capsule_depth_mm: least and greatest depth of its nearest point below the liver's surface.
        vessel_gap_mm: least and greatest distance of its surface from the main branches of the portal and hepatic
            veins; finer branches keep the least one too. Both ranges are met at 300 points of its surface.
    """

    radius_mm: float = 14.0
    shape: TumourShape = TumourShape.SPHERE
    centre_mm: tuple[float, float, float] | None = None
    capsule_depth_mm: tuple[float, float] = (4.0, 60.0)
    vessel_gap_mm: tuple[float, float] = (3.0, 80.0)

    def __post_init__(self) -> None:
        require_range("a tumour's radius_mm", self.radius_mm, *TUMOUR_RADIUS_MM)
        for name in ("capsule_depth_mm", "vessel_gap_mm"):
            low, high = getattr(self, name)
            if not (0.5 <= low <= high <= 200.0):
                raise OptionError(
                    f"a tumour's {name} must be a range with 0.5 <= low <= high <= 200 mm, not {(low, high)}"
                )
        if self.centre_mm is not None and not (
            len(self.centre_mm) == 3 and all(math.isfinite(x) for x in self.centre_mm)
        ):
            raise OptionError(f"a tumour's centre_mm must be three finite numbers, not {self.centre_mm}")


#: The tumours of the default patient: the first one, a sphere in the right lobe, is the target.
DEFAULT_TUMOURS = (
    TumourParameters(radius_mm=14.0, centre_mm=(-92.0, -14.0, -16.0)),
    TumourParameters(radius_mm=9.0, shape=TumourShape.LOBULATED),
)


@dataclass(frozen=True, slots=True)
class PhantomParameters:
    """Parameters of the built-in patient; the defaults are those of an adult.

    Attributes:
        body_width_mm: greatest width of the trunk, left to right.
        body_depth_mm: greatest depth of the trunk, front to back.
        body_height_mm: length of the trunk within the image; the organs scale with all three sizes.
        rib_pair_count: number of rib pairs, counted from the lowest (12th) up; ten fill the image.
        rib_radius_mm: radius of the ribs before scaling with the body.
        vertebra_count: number of vertebrae, counted from the lowest (L5) up; fourteen fill the image.
        portal_generations: how often the portal tree divides beyond its main branches.
        hepatic_generations: how often each hepatic vein divides.
        portal_radius_mm: radius of the portal trunk.
        hepatic_radius_mm: radius of each hepatic vein where it joins the vena cava.
        organ_variation: relative standard deviation of the soft organs' places and sizes.
        tumours: the tumours; at least one.
        target_index: which of them is the target.
        mirrored: situs inversus, the whole patient mirrored left to right.
    """

    body_width_mm: float = 340.0
    body_depth_mm: float = 240.0
    body_height_mm: float = 300.0
    rib_pair_count: int = 10
    rib_radius_mm: float = 4.8
    vertebra_count: int = 14
    portal_generations: int = 5
    hepatic_generations: int = 5
    portal_radius_mm: float = 6.5
    hepatic_radius_mm: float = 4.6
    organ_variation: float = 0.03
    tumours: tuple[TumourParameters, ...] = DEFAULT_TUMOURS
    target_index: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in PARAMETER_LIMITS.items():
            require_range(name, getattr(self, name), low, high)
        if not self.tumours or not all(isinstance(t, TumourParameters) for t in self.tumours):
            raise OptionError("tumours must hold at least one TumourParameters")
        if not 0 <= self.target_index < len(self.tumours):
            raise OptionError(
                f"target_index must name one of the {len(self.tumours)} tumours from 0, not {self.target_index}"
            )

    @property
    def canonical_text(self) -> str:
        """All values as one line of text, the same on every run; for content hashes."""
        return "; ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))


#: Least and greatest value of the numbers of ``PhantomParameters``.
PARAMETER_LIMITS: dict[str, tuple[float, float]] = {
    "body_width_mm": (250.0, 480.0),
    "body_depth_mm": (170.0, 360.0),
    "body_height_mm": (220.0, 400.0),
    "rib_pair_count": (1, 10),
    "rib_radius_mm": (2.5, 7.0),
    "vertebra_count": (1, 14),
    "portal_generations": (0, 8),
    "hepatic_generations": (0, 8),
    "portal_radius_mm": (4.0, 9.0),
    "hepatic_radius_mm": (2.5, 6.5),
    "organ_variation": (0.0, 0.06),
}
