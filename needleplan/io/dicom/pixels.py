"""Frames of pixel data: packed bits, whole numbers of 8 or 16 bits, and run lengths."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import CaseError
from needleplan.io.dicom import values
from needleplan.io.dicom.files import DicomFile


class Frames:
    """The frames of a file, decoded one at a time.

    Attributes:
        rows: rows of a frame.
        columns: columns of a frame.
        count: number of frames.
    """

    def __init__(self, file: DicomFile) -> None:
        """Hold what the header declares against the bytes that there are, before anything is allocated.

        Raises:
            CaseError: a size is missing or impossible, colours are stored, or the pixel data are missing or of
                another length than declared.
        """
        name, dataset = file.name, file.dataset
        self.rows = values.whole(dataset, "Rows", 1, 65535, name)
        self.columns = values.whole(dataset, "Columns", 1, 65535, name)
        stated = values.raw(dataset, "NumberOfFrames", name) is not None
        self.count = values.whole(dataset, "NumberOfFrames", 1, 2**31 - 1, name) if stated else 1
        if values.whole(dataset, "SamplesPerPixel", 1, 4, name) != 1:
            raise CaseError(f"{name}: the pixels have several samples, where one grey value is needed")
        self._bits = values.whole(dataset, "BitsAllocated", 1, 16, name)
        if self._bits not in (1, 8, 16):
            raise CaseError(f"{name}: pixels of {self._bits} bits are not read, only those of 1, 8 or 16")
        self._stored = values.whole(dataset, "BitsStored", 1, self._bits, name)
        self._signed = values.whole(dataset, "PixelRepresentation", 0, 1, name) == 1
        self._name, self._data, self._pixels = name, file.data, file.pixels
        if file.pixels is None:
            raise CaseError(f"{name}: the file holds no pixel data")
        if file.pixels.value is None:
            if self._bits == 1 or len(file.pixels.fragments) != self.count:
                raise CaseError(f"{name}: run lengths must be one fragment a frame, of 8 or 16 bits")
            return
        first, last = file.pixels.value
        needed = (self.rows * self.columns * self.count * self._bits + 7) // 8
        if not needed <= last - first <= needed + 1:
            raise CaseError(
                f"{name}: {self.count} frames of {self.rows} x {self.columns} pixels need {needed} bytes of pixel "
                f"data, but the file holds {last - first}, so it is truncated or damaged"
            )

    def frame(self, number: int) -> NDArray[Any]:
        """Stored values (rows, columns) of frame ``number``, counted from 0; boolean for packed bits."""
        assert self._pixels is not None
        pixels = self.rows * self.columns
        if self._pixels.value is None:
            return self._meaning(self._run_lengths(*self._pixels.fragments[number]))
        start = self._pixels.value[0]
        if self._bits == 1:
            first = number * pixels
            part = np.frombuffer(self._data, np.uint8, (first + pixels + 7) // 8 - first // 8, start + first // 8)
            bits = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + pixels]
            return bits.reshape(self.rows, self.columns).astype(bool)
        kind = np.dtype("<u1" if self._bits == 8 else "<u2")
        return self._meaning(np.frombuffer(self._data, kind, pixels, start + number * pixels * kind.itemsize))

    def _meaning(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Values without the bits above those stored, which old files use for overlays."""
        unused = self._bits - self._stored
        kind = np.dtype(f"{'i' if self._signed else 'u'}{self._bits // 8}")
        shifted = np.left_shift(stored, unused).astype(stored.dtype.newbyteorder("=")).view(kind)
        return np.right_shift(shifted, unused).reshape(self.rows, self.columns)

    def _run_lengths(self, first: int, last: int) -> NDArray[Any]:
        """One frame of PackBits segments, most significant byte first (PS3.5, annex G)."""
        segments, pixels = self._bits // 8, self.rows * self.columns
        header = np.frombuffer(self._data[first : min(first + 64, last)].ljust(64, b"\0"), "<u4")
        bounds = [first + int(offset) for offset in header[1 : segments + 1]] + [last]
        if header[0] != segments or bounds[0] < first + 64 or bounds != sorted(bounds):
            raise CaseError(f"{self._name}: a frame of run lengths is damaged")
        value = np.zeros(pixels, dtype="u1" if segments == 1 else "u2")
        for low, high in pairwise(bounds):
            plane = _unpacked(memoryview(self._data)[low:high], pixels)
            if plane is None:
                raise CaseError(f"{self._name}: a frame of run lengths is truncated or damaged")
            value = (value << 8 if segments > 1 else value) | plane
        return value


def _unpacked(packed: memoryview, count: int) -> NDArray[np.uint8] | None:
    """``count`` bytes from PackBits; None where they end too early. Never unpacks beyond ``count``."""
    result = bytearray()
    place, end = 0, len(packed)
    while len(result) < count and place < end:
        control = packed[place]
        if control < 128:
            result += packed[place + 1 : place + 2 + control]
            place += control + 2
        else:
            if control > 128 and place + 1 < end:
                result += bytes(packed[place + 1 : place + 2]) * (257 - control)
            place += 1 if control == 128 else 2
    return None if len(result) < count else np.frombuffer(bytes(result[:count]), np.uint8)
