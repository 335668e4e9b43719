"""Needles as meshes, to scale: shaft with centimetre marks, tip and hub."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.plan import Insertion
from needleplan.viz.offscreen import Body
from needleplan.viz.palette import NEEDLE, needle_color

#: Hub of a typical percutaneous applicator, for drawing alone: length and diameter.
HUB_LENGTH_MM = 26.0
HUB_DIAMETER_MM = 9.0


@dataclass(frozen=True, slots=True)
class NeedleShape:
    """Outer shape of an applicator.

    Attributes:
        shaft_mm: length from tip to hub.
        diameter_mm: outer diameter of the shaft.
    """

    shaft_mm: float = 150.0
    diameter_mm: float = 2.1

    def __post_init__(self) -> None:
        if not (self.shaft_mm > 0 and self.diameter_mm > 0):
            raise OptionError(
                "a needle to be drawn needs a positive length and diameter, "
                f"not {self.shaft_mm} and {self.diameter_mm} mm"
            )


def turned(profile: FloatArray, origin: FloatArray, direction: FloatArray, sides: int = 28) -> SurfaceMesh:
    """Solid of revolution: ``profile`` rows (distance along ``direction`` from ``origin``, radius), in mm."""
    x, y = perpendicular_axes(direction)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * y
    rings = [origin + along * direction + radius * ring for along, radius in profile]
    ends = [origin + profile[0, 0] * direction, origin + profile[-1, 0] * direction]
    vertices = np.concatenate([*rings, np.stack(ends)])
    here = np.arange(sides)
    after = (here + 1) % sides
    faces = []
    for k in range(len(profile) - 1):
        a, b = k * sides, (k + 1) * sides
        faces += [
            np.stack([a + here, a + after, b + after], axis=1), np.stack([a + here, b + after, b + here], axis=1)
        ]  # fmt: skip
    first, last = len(profile) * sides, len(profile) * sides + 1
    faces.append(np.stack([np.full(sides, first), after, here], axis=1))
    top = (len(profile) - 1) * sides
    faces.append(np.stack([np.full(sides, last), top + here, top + after], axis=1))
    return SurfaceMesh(vertices, np.concatenate(faces).astype(np.int32))


def hub_point(insertion: Insertion, shape: NeedleShape) -> FloatArray:
    """(3,) middle of the hub."""
    return np.asarray(insertion.tip_mm) - (shape.shaft_mm + 0.5 * HUB_LENGTH_MM) * insertion.direction


def needle_bodies(
    insertion: Insertion, shape: NeedleShape, thickness: float = 1.0, marks: bool = True
) -> list[Body]:
    """Shaft, centimetre marks and hub of one needle.

    Args:
        insertion: where it lies.
        shape: its size.
        thickness: factor on the diameter, where a true needle would be thinner than two pixels.
        marks: True for a dark ring at every centimetre from the tip.
    """
    tip = np.asarray(insertion.tip_mm)
    back = -insertion.direction
    radius = 0.5 * shape.diameter_mm * thickness
    point = min(3.0 * radius, 0.2 * shape.shaft_mm)
    profile = np.array([[0.0, 0.02 * radius], [point, radius], [shape.shaft_mm, radius]])
    bodies = [Body(_stepped(profile, tip, back), NEEDLE, shininess=0.6)]
    if marks:
        for along in np.arange(10.0, shape.shaft_mm - 1.0, 10.0):
            wide = 1.6 if round(along) % 50 == 0 else 0.7
            ring = np.array([[along - wide / 2, 1.04 * radius], [along + wide / 2, 1.04 * radius]])
            bodies.append(Body(_stepped(ring, tip, back), "#3a4049", shininess=0.0))
    half = 0.5 * HUB_DIAMETER_MM
    start = shape.shaft_mm
    hub = np.array(
        [
            [start, radius * 1.3], [start + 4, half * 0.55], [start + 6, half], [start + HUB_LENGTH_MM - 3, half],
            [start + HUB_LENGTH_MM, half * 0.7],
        ]
    )  # fmt: skip
    bodies.append(Body(_stepped(hub, tip, back), needle_color(insertion.order), shininess=0.35))
    return bodies


def _stepped(profile: FloatArray, origin: FloatArray, direction: FloatArray) -> SurfaceMesh:
    """Solid of revolution with its edges doubled, so that smooth shading keeps them sharp."""
    doubled = np.repeat(profile, 2, axis=0)
    doubled[1:-1:2, 0] -= 1e-4
    return turned(doubled, origin, direction)


def needle_points(insertions: Sequence[Insertion], samples: int = 16) -> FloatArray:
    """(k, 3) points along every insertion between entry and tip."""
    share = np.linspace(0.0, 1.0, samples)[:, None]
    return np.concatenate([(1 - share) * np.asarray(i.entry_mm) + share * np.asarray(i.tip_mm) for i in insertions])
