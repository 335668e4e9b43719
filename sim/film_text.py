"""Words, lines and boxes on a film's pictures, drawn at twice their size and scaled down, which smooths them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.viz.palette import INK

#: Letters below this size are not drawn: words are cut short instead.
LEAST_SIZE = 10.5
_OVERSAMPLING = 2


class Sheet:
    """A picture on which everything is placed in units of its own, whatever its size in pixels."""

    def __init__(self, pixels: tuple[int, int], unit_px: float, background: str | NDArray[np.uint8]) -> None:
        """An empty sheet.

        Args:
            pixels: (width, height) of the picture.
            unit_px: pixels of one unit of length.
            background: its colour, or a picture (height, width, 3) that is drawn upon.
        """
        from PIL import Image, ImageDraw

        self._pixels = pixels
        self._scale = _OVERSAMPLING * unit_px
        large = (_OVERSAMPLING * pixels[0], _OVERSAMPLING * pixels[1])
        if isinstance(background, str):
            self._image = Image.new("RGB", large, background)
        else:
            self._image = Image.fromarray(background).resize(large, Image.Resampling.BILINEAR)
        self._pen: Any = ImageDraw.Draw(self._image, "RGBA")
        self.width, self.height = pixels[0] / unit_px, pixels[1] / unit_px

    def picture(self) -> NDArray[np.uint8]:
        """(height, width, 3) what was drawn."""
        from PIL import Image

        return np.asarray(self._image.resize(self._pixels, Image.Resampling.BOX))

    def text(
        self,
        at: tuple[float, float],
        words: str,
        size: float,
        color: str = INK,
        *,
        bold: bool = False,
        anchor: str = "la",
        widest: float | None = None,
    ) -> float:
        """Write ``words`` and return how wide they are.

        Args:
            at: where, see ``anchor``.
            words: one line.
            size: of the letters.
            color: hexadecimal.
            bold: bold letters.
            anchor: what of the words lies at ``at``, as PIL names it: ``la`` is the left end of the top.
            widest: letters are made smaller, and then words are cut short, until they are no wider than this.
        """
        if widest is not None:
            words, size = self.fitted(words, size, widest, bold)
        self._pen.text(
            (at[0] * self._scale, at[1] * self._scale),
            words,
            font=self._font(size, bold),
            fill=color,
            anchor=anchor,
        )
        return self.text_width(words, size, bold)

    def text_width(self, words: str, size: float, bold: bool = False) -> float:
        """Width of one line."""
        return float(self._font(size, bold).getlength(words)) / self._scale

    def fitted(self, words: str, size: float, widest: float, bold: bool = False) -> tuple[str, float]:
        """The words and the size at which they are no wider than ``widest``, cut short where they must be."""
        while size > LEAST_SIZE and self.text_width(words, size, bold) > widest:
            size = max(LEAST_SIZE, size - 0.5)
        if self.text_width(words, size, bold) <= widest:
            return words, size
        while words and self.text_width(words + "…", size, bold) > widest:
            words = words[:-1]
        return words.rstrip() + "…", size

    def wrapped(self, words: str, size: float, widest: float, lines: int, bold: bool = False) -> list[str]:
        """The words in at most ``lines`` lines no wider than ``widest``; the last is cut short where it must be."""
        found = [""]
        for word in words.split():
            longer = f"{found[-1]} {word}".strip()
            if found[-1] and len(found) < lines and self.text_width(longer, size, bold) > widest:
                found.append(word)
            else:
                found[-1] = longer
        last = found[-1]
        if self.text_width(last, size, bold) > widest:
            while last and self.text_width(last + "…", size, bold) > widest:
                last = last[:-1]
            found[-1] = last.rstrip() + "…"
        return found

    def box(self, corners: tuple[float, float, float, float], color: str, radius: float = 0.0) -> None:
        """Fill a box (left, top, right, bottom); the colour may end in two digits of opacity."""
        self._pen.rounded_rectangle([value * self._scale for value in corners], radius * self._scale, fill=color)

    def dot(self, at: tuple[float, float], radius: float, color: str) -> None:
        """Fill a disc."""
        x, y, r = at[0] * self._scale, at[1] * self._scale, radius * self._scale
        self._pen.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def line(self, points: ArrayLike | Sequence[tuple[float, float]], color: str, width: float = 1.0) -> None:
        """Draw a line through points (n, 2)."""
        scaled = (np.asarray(points, dtype=np.float64) * self._scale).ravel().tolist()
        self._pen.line(scaled, fill=color, width=max(1, round(width * self._scale)), joint="curve")

    def dashes(self, start: tuple[float, float], end: float, color: str, width: float = 1.0) -> None:
        """Draw a dashed level line from ``start`` to x = ``end``."""
        x, y = start
        while x < end:
            self.line([(x, y), (min(x + 5.0, end), y)], color, width)
            x += 9.0

    def _font(self, size: float, bold: bool) -> Any:
        return _font(round(size * self._scale), bold)


@cache
def _font(size: int, bold: bool) -> Any:
    """DejaVu Sans, which comes with matplotlib, so that every machine draws the same letters."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
