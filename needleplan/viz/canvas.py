"""Figures as arrays: matplotlib without pyplot, so that no global state is touched and no display is needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError
from needleplan.io.bounded import write_atomically

RgbArray = NDArray[np.uint8]

#: Dots per inch of every figure: text sizes in points keep one relation to the pixels.
DPI = 100


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A finished picture.

    Attributes:
        name: file name without ending.
        title: short heading.
        caption: one or two sentences that say what is seen.
        pixels: (height, width, 3) uint8.
    """

    name: str
    title: str
    caption: str
    pixels: RgbArray

    def save(self, folder: Path) -> Path:
        """Write ``folder/name.png`` and return its path."""
        return save_png(folder / f"{self.name}.png", self.pixels)


def new_figure(size: tuple[int, int], background: str) -> Any:
    """A matplotlib figure of ``size`` (width, height) pixels on the Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = size
    if width < 200 or height < 150:
        raise OptionError(f"a picture of {width} x {height} pixels is too small: take at least 200 x 150")
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def rasterise(figure: Any) -> RgbArray:
    """(height, width, 3) uint8 pixels of a figure made by :func:`new_figure`."""
    figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])


def png_bytes(pixels: RgbArray) -> bytes:
    """``pixels`` (h, w, 3) as the bytes of a PNG file."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def save_png(path: Path, pixels: RgbArray) -> Path:
    """Write ``pixels`` as PNG, whole or not at all; folders are made."""
    content = png_bytes(pixels)
    write_atomically(path, lambda part: part.write_bytes(content))
    return path
