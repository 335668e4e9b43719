"""How fields, bounds of a zone, needles and vessels look in pictures of a growing zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from needleplan.ablation.tissue_map import Cylinder
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray, unit_vector
from needleplan.viz.needles import turned
from needleplan.viz.palette import HUB, INK, NEEDLE, ZONE

#: Vessels of a block of tissue, as hepatic veins in patients.
VESSEL = "#5877d8"
#: Active part and shaft of a needle.
ACTIVE_PART, SHAFT = HUB, NEEDLE
#: Zone by the model's own criterion, and by others that bound it.
CENTRAL, BOUND = ZONE, INK

#: Dark to light in one hue each: they keep their order for every kind of colour vision and in grey print. Heat is
#: matplotlib's inferno and field strength its viridis, both made to be perceptually uniform.
#: Share of a colour map at its dark end that surfaces do not use, since they would vanish on the background.
_DARK_END = 0.35
_COLD_COLORS = ("#14171c", "#12305f", "#1f6fb2", "#58b4e0", "#b9e6f5", "#ffffff")


@dataclass(frozen=True, slots=True)
class FieldLook:
    """How one field is coloured.

    Attributes:
        label: what the colour bar says, with the unit.
        colors: name of a matplotlib colour map, or colours from low to high.
        low, high: values at the ends of the colour bar.
        lines: values at which thin lines are drawn and the colour bar is marked.
        unit: of the values, as it stands behind a number.
    """

    label: str
    colors: str | tuple[str, ...]
    low: float
    high: float
    lines: tuple[float, ...]
    unit: str

    def color_map(self) -> Any:
        """The matplotlib colour map."""
        from matplotlib import colormaps
        from matplotlib.colors import LinearSegmentedColormap

        if isinstance(self.colors, str):
            return colormaps[self.colors]
        return LinearSegmentedColormap.from_list("zone", list(self.colors))

    def surface_color(self, value: float) -> str:
        """Hexadecimal colour of a surface of equal value: that of the value, moved away from the dark end."""
        from matplotlib.colors import to_hex

        colors = self.color_map()
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        is_dark_at_low = sum(colors(0.0)[:3]) < sum(colors(1.0)[:3])
        light = 1.0 - _DARK_END
        return str(to_hex(colors(_DARK_END + light * share if is_dark_at_low else light * share)))


HEAT = FieldLook("temperature (°C)", "inferno", 37.0, 100.0, (50.0, 60.0, 75.0, 90.0), "°C")
COLD = FieldLook("temperature (°C)", tuple(reversed(_COLD_COLORS)), -80.0, 37.0, (-40.0, -20.0, 0.0), "°C")
FIELD_STRENGTH = FieldLook("field strength (V/cm)", "viridis", 0.0, 2000.0, (250.0, 500.0, 1000.0, 1500.0), "V/cm")

#: Fields that a section shows, the first that a prediction has.
SHOWN_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "coldest_c": "coldest temperature (°C)",
        "hottest_temperature_c": "hottest temperature (°C)",
        "temperature_c": "temperature (°C)",
        "field_v_cm": "field strength (V/cm)",
    }
)


def cylinder_mesh(cylinder: Cylinder, sides: int = 48) -> SurfaceMesh:
    """The surface of a straight vessel."""
    start, end = np.asarray(cylinder.start_mm), np.asarray(cylinder.end_mm)
    length = float(np.linalg.norm(end - start))
    radius = cylinder.radius_mm
    # Ends are doubled, so that smooth shading keeps their rims sharp.
    profile: FloatArray = np.array([[0.0, radius], [1e-3, radius], [length - 1e-3, radius], [length, radius]])
    return turned(profile, start, unit_vector(end - start), sides)


@dataclass(frozen=True, slots=True)
class DrawnPart:
    """A straight part of a needle as it is drawn.

    Attributes:
        start_mm, end_mm: ends of its axis, patient LPS.
        diameter_mm: its thickness.
        is_active: whether it delivers the energy.
    """

    start_mm: tuple[float, float, float]
    end_mm: tuple[float, float, float]
    diameter_mm: float
    is_active: bool


@dataclass(frozen=True, slots=True, eq=False)
class DrawnVessel:
    """A vessel as it is drawn: its name and the surface of its lumen."""

    name: str
    surface: SurfaceMesh
