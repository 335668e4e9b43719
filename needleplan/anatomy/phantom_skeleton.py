"""Ribs, sternum, costal cartilages and spine of the phantom."""

import numpy as np

from needleplan.anatomy.phantom_layout import VERTEBRA_HEIGHTS_MM, Layout, spine_y_mm
from needleplan.anatomy.phantom_primitives import RoundedCones
from needleplan.anatomy.phantom_shapes import Shape, Union
from needleplan.frames import FloatArray

#: The rib cage in nominal mm: centre, semi-axes and exponent of the superellipsoid that the ribs run on.
CAGE_CENTRE_MM = (0.0, -3.0, -30.0)
CAGE_SEMI_AXES_MM = (146.0, 99.0, 275.0)
CAGE_EXPONENT = 2.4

#: Height of the vertebra of ribs 3 to 12 (the one of its number; T3 lies above the nominal trunk).
_RIB_HEIGHTS_MM = (187.0, *VERTEBRA_HEIGHTS_MM[:9])

#: Height of the front end of the bony rib, ribs 3 to 12, after the slope of 55 to 105 mm that adult ribs have.
_FRONT_HEIGHTS_MM = (128.0, 104.0, 77.0, 46.0, 14.0, -20.0, -50.0, -78.0, -90.0, -82.0)

#: Angle about the body's long axis where the bony rib ends, degrees from the spine; 180 is the breast bone.
_FRONT_ANGLES_DEG = (158.0, 155.0, 151.0, 146.0, 139.0, 130.0, 121.0, 111.0, 88.0, 55.0)

#: Height where the cartilage of ribs 3 to 7 meets the breast bone.
_STERNUM_HEIGHTS_MM = (125.0, 104.0, 84.0, 68.0, 56.0)


def cage_point(angle_deg: FloatArray, z_mm: FloatArray, side: float) -> FloatArray:
    """Points (n, 3) on the cage, nominal mm, at angles from the spine towards ``side`` (-1 right, +1 left)."""
    angle = np.radians(angle_deg)
    n = CAGE_EXPONENT
    shrink = (1.0 - np.abs((z_mm - CAGE_CENTRE_MM[2]) / CAGE_SEMI_AXES_MM[2]) ** n) ** (1.0 / n)
    a, b = CAGE_SEMI_AXES_MM[0] * shrink, CAGE_SEMI_AXES_MM[1] * shrink
    s, c = np.sin(angle), np.cos(angle)
    radius = (np.abs(s / a) ** n + np.abs(c / b) ** n) ** (-1.0 / n)
    return np.stack([side * radius * s, CAGE_CENTRE_MM[1] + radius * c, z_mm], axis=1)


def ribs(layout: Layout, pair_count: int, radius_mm: float) -> tuple[RoundedCones, RoundedCones | None]:
    """The bony ribs of the lowest ``pair_count`` pairs, and their cartilages (None where no rib has one)."""
    bony, cartilage = [], []
    for k in range(10 - pair_count, 10):
        for side in (-1.0, 1.0):
            z_head, z_front, end = _RIB_HEIGHTS_MM[k], _FRONT_HEIGHTS_MM[k], _FRONT_ANGLES_DEG[k]
            angle = np.linspace(18.0, end, max(8, int(end / 6)))
            t = (angle - 18.0) / (end - 18.0)
            # Steeper behind than in front, level at the head: the shape of a rib seen from the side.
            z = z_head + (z_front - z_head) * (1.35 * t - 0.35 * t**3)
            course = cage_point(angle, z, side)
            head = np.array([[side * 21.0, spine_y_mm(z_head) + 14.0, z_head + 5.0]])
            points = np.concatenate([head, course])
            radii = np.full(len(points), radius_mm)
            radii[-3:] *= (1.0, 1.1, 1.15)
            bony.append(layout.tube(points, radii))
            if k <= 7:
                path = _cartilage_path(k, side, course[-1], end)
                cartilage.append(layout.tube(path, 0.95 * radius_mm))
    return RoundedCones.joined(bony), RoundedCones.joined(cartilage) if cartilage else None


def _cartilage_path(k: int, side: float, start: FloatArray, angle_deg: float) -> FloatArray:
    """Points from the front end of rib ``k + 3`` to the breast bone, or for ribs 8 to 10 to the margin above."""
    if k <= 4:
        z_end, to = _STERNUM_HEIGHTS_MM[k], 171.0
    else:
        z_end, to = _FRONT_HEIGHTS_MM[k - 1] + 6.0 * (k - 5) - 2.0, _FRONT_ANGLES_DEG[k - 1] + 6.0
    t = np.linspace(0.08, 1.0, 8)
    sag = 10.0 * np.sin(np.pi * t) if k in (3, 4) else 0.0 * t
    return cage_point(angle_deg + (to - angle_deg) * t, start[2] + (z_end - start[2]) * t**1.4 - sag, side)


def sternum(layout: Layout) -> Shape:
    """Body of the breast bone and its xiphoid process."""
    front = cage_point(np.full(2, 180.0), np.array([50.0, 170.0]), 1.0)
    slope = float(np.degrees(np.arctan2(front[1, 1] - front[0, 1], front[1, 2] - front[0, 2])))
    middle = front.mean(axis=0)
    body = layout.boxes([middle], [(17.0, 5.0, 62.0)], 4.5, (-slope, 0.0, 0.0))
    tip = layout.tube([[0, front[0, 1], 48], [0, front[0, 1] + 3, 30]], [6.0, 3.5])
    return Union((body, tip), 6.0)


def spine(layout: Layout, count: int) -> Shape:
    """The lowest ``count`` vertebrae of T4 to L5 with bodies, arches and processes."""
    parts: list[RoundedCones] = []
    centres, sizes = [], []
    for k in range(14 - count, 14):
        z = VERTEBRA_HEIGHTS_MM[k]
        y = float(spine_y_mm(z))
        lumbar = k >= 9
        size = 0.84 + 0.026 * min(k, 11)
        height = 8.5 + 0.42 * k
        for x in (-6.5, 6.5):
            centres.append((x * size, y, z))
            sizes.append((14.5 * size, 15.5 * size, height))
        canal = y + 26.0 * size
        for side in (-1.0, 1.0):
            joint = [side * 15.0, canal + 2, z + 3]
            parts.append(layout.tube([[side * 13, y + 10, z + 4], joint], [5.0, 5.0]))
            parts.append(layout.tube([joint, [side * 6, canal + 11, z - 3]], [6.0, 5.5]))
            reach, back = (40.0, 2.0) if lumbar else (33.0, 13.0)
            tip = [side * reach, canal + back, z + (2 if lumbar else 6)]
            parts.append(layout.tube([joint, tip], [5.0, 3.6]))
            parts.append(layout.tube([[side * 15, canal + 5, z + 11], [side * 14, canal + 6, z - 12]], [4.6, 5.4]))
        drop = -10.0 if lumbar else -20.0
        root, end = np.array([0.0, canal + 12, z - 3]), np.array([0.0, canal + 25, z + drop])
        rows = [root, 0.5 * (root + end), end]
        parts.append(layout.tube(rows, [5.0, 3.8, 4.6]))
        if lumbar:
            parts.append(layout.tube([root - [0, 0, 8], end - [0, 2, 6]], [4.2, 4.6]))
    return Union((layout.boxes(centres, sizes, 5.0), RoundedCones.joined(parts)), 3.0)
