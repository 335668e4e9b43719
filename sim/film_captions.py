"""What is written on the views of a film: what they show, whose colour is whose, a scale, faults and news."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray
from needleplan.viz.palette import INK, look_of, readable
from sim.film_text import Sheet

_SHADE, _RED, _BLUE = "#14171cb0", "#b3261ef0", "#1f4e8cf0"
_LEGEND_ROLES = (Role.TARGET, Role.VESSEL, Role.CRITICAL, Role.BOWEL, Role.AIRWAY)
_MOST_ROWS = 5
_BANNER = 62.0
#: Names keep this far from what they should not cover, because that moves with the breath.
_AROUND = 30.0


def draw_room_caption(picture: NDArray[np.uint8], words: str, unit_px: float) -> None:
    """Write what the view of the room shows into its upper left corner, in place."""
    height = round(30 * unit_px)
    part = picture[:height]
    sheet = Sheet((part.shape[1], height), unit_px, part)
    wide = sheet.text_width(words, 12.5)
    sheet.box((8, 6, min(24 + wide, sheet.width - 8), 28), _SHADE, radius=4)
    sheet.text((16, 17), words, 12.5, INK, anchor="lm", widest=sheet.width - 32)
    part[:] = sheet.picture()


def draw_legend(
    picture: NDArray[np.uint8],
    surfaces: Sequence[StructureSurface],
    pixels_per_mm: float,
    unit_px: float,
    kept_free_px: FloatArray,
) -> None:
    """Write names and a bar of 10 mm into the close view, in place.

    Args:
        picture: (height, width, 3) the close view.
        surfaces: what it shows.
        pixels_per_mm: its scale.
        unit_px: size of the letters.
        kept_free_px: (n, 2) pixels of the view that the names should not cover, if another corner is free.
    """
    named = sorted((s for s in surfaces if s.role in _LEGEND_ROLES), key=lambda s: _LEGEND_ROLES.index(s.role))
    rows = named[:_MOST_ROWS]
    sheet = Sheet((picture.shape[1], picture.shape[0]), unit_px, picture)
    wide = max((sheet.text_width(readable(one.name), 12) for one in rows), default=0.0) + 32
    high = 17.0 * len(rows) + 9
    on_left, top = _free_corner(sheet, wide, high, kept_free_px / unit_px)
    left = 8.0 if on_left else sheet.width - 8 - wide
    if rows:
        sheet.box((left, top, left + wide, top + high), _SHADE, radius=4)
    for row, surface in enumerate(rows):
        level = top + 5 + 17 * row + 8
        sheet.dot((left + 12, level), 5, look_of(surface).color)
        sheet.text((left + 23, level), readable(surface.name), 12, INK, anchor="lm")
    bar = 10.0 * pixels_per_mm / unit_px
    low = sheet.height - 14
    right = 16 + max(bar, 40) if not on_left else sheet.width - 16
    sheet.box((right - max(bar, 40) - 8, low - 24, right + 8, low + 7), _SHADE, radius=4)
    sheet.line([(right - bar, low), (right, low)], INK, 2)
    sheet.text((right - max(bar, 40) / 2, low - 5), "10 mm", 12, INK, anchor="ms")
    sheet.box((8, 6, 24 + sheet.text_width("Close to the target", 12.5), 28), _SHADE, radius=4)
    sheet.text((16, 17), "Close to the target", 12.5, INK, anchor="lm")
    picture[:] = sheet.picture()


def _free_corner(sheet: Sheet, wide: float, high: float, points: FloatArray) -> tuple[bool, float]:
    """Whether the names go to the left, and their top: where they cover fewest ``points`` (n, 2)."""
    low = sheet.height - 7 - high
    best, fewest = (True, low), np.inf
    for on_left, top in ((True, low), (False, low), (False, 7.0)):
        left = 8.0 if on_left else sheet.width - 8 - wide
        corner, opposite = np.array([left, top]), np.array([left + wide, top + high])
        inside = (points >= corner - _AROUND).all(axis=1) & (points <= opposite + _AROUND).all(axis=1)
        if inside.sum() < fewest:
            best, fewest = (on_left, top), inside.sum()
    return best


def draw_banner(picture: NDArray[np.uint8], heading: str, words: str, unit_px: float, alarm: bool = True) -> None:
    """Write a banner over the lower edge of a view, in place.

    Args:
        picture: (height, width, 3) the view.
        heading: a word or two.
        words: one or two lines.
        unit_px: size of the letters.
        alarm: True for red, False for blue.
    """
    height = round(_BANNER * unit_px)
    part = picture[-height:]
    sheet = Sheet((part.shape[1], height), unit_px, part)
    sheet.box((0, 0, sheet.width, sheet.height), _RED if alarm else _BLUE)
    left = 34 + sheet.text((20, sheet.height / 2), heading, 20, INK, bold=True, anchor="lm")
    lines = sheet.wrapped(words, 15, sheet.width - left - 16, lines=2)
    for row, line in enumerate(lines):
        level = sheet.height / 2 + 21 * (row - 0.5 * (len(lines) - 1))
        sheet.text((left, level), line, 15, INK, anchor="lm")
    part[:] = sheet.picture()
