"""The cells that are being computed: only those that heat or cold has reached."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Cells added on each side when the change reaches the box.
GROWTH = 4


class GrowingBox:
    """A box of cells within a padded array, from one cell in the middle to the whole.

    Args:
        shape: of the array without its padding.
        whole: True for a box that is the whole from the start.

    Attributes:
        limits: (6,) begin and end along each axis in the padded array, as kernels take them; changed in place.
    """

    def __init__(self, shape: tuple[int, ...], *, whole: bool) -> None:
        self._shape = np.asarray(shape)
        self._whole = whole
        self._empty = not whole
        middle = self._shape // 2 + 1
        low, high = (np.ones(3, dtype=np.int64), self._shape + 1) if whole else (middle, middle + 1)
        self.limits: NDArray[np.int64] = np.stack([low, high], axis=1).ravel().astype(np.int64)

    @property
    def cells(self) -> int:
        """Number of cells in the box."""
        return int(np.prod(self.limits[1::2] - self.limits[::2]))

    @property
    def slabs(self) -> slice:
        """The box along the first axis."""
        return slice(int(self.limits[0]), int(self.limits[1]))

    def cover(self, index: NDArray[Any], margin: int = GROWTH) -> None:
        """Widens the box to hold cells (n, 3) of the padded array, with a margin about them."""
        if self._whole or len(index) == 0:
            return
        low, high = index.min(axis=0) - margin, index.max(axis=0) + margin + 1
        if self._empty:
            # Nothing is in it yet: it begins here.
            self.limits[::2], self.limits[1::2] = index.min(axis=0), index.max(axis=0) + 1
            self._empty = False
        self._set(np.minimum(self.limits[::2], low), np.maximum(self.limits[1::2], high))

    def cover_where(self, marked: NDArray[np.bool_], margin: int) -> None:
        """Widens the box to hold every marked cell of the padded array."""
        spans = [np.flatnonzero(marked.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
        if len(spans[0]):
            self.cover(np.array([[span[0] for span in spans], [span[-1] for span in spans]]), margin)

    def grow(self) -> None:
        """Widens the box on all sides."""
        self._set(self.limits[::2] - GROWTH, self.limits[1::2] + GROWTH)

    def _set(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        self.limits[::2] = np.clip(low, 1, self._shape)
        self.limits[1::2] = np.clip(high, 2, self._shape + 1)
