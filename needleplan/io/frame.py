"""Frames and units that files come in, and their conversion at the door to patient LPS millimetres."""

from enum import StrEnum

import numpy as np

from needleplan.frames import FloatArray, read_only


class FileFrame(StrEnum):
    """The axes that the coordinates of a file are counted along."""

    LPS = "LPS"  #: +x left, +y posterior, +z superior (DICOM)
    RAS = "RAS"  #: +x right, +y anterior, +z superior (NIfTI, Slicer scenes)
    LAS = "LAS"  #: +x left, +y anterior, +z superior; mirrors

    @property
    def to_patient(self) -> FloatArray:
        """(3,) factors of the three coordinates that lead to LPS."""
        signs = {"LPS": (1.0, 1.0, 1.0), "RAS": (-1.0, -1.0, 1.0), "LAS": (1.0, -1.0, 1.0)}
        return read_only(signs[self.value])


class FileUnit(StrEnum):
    """Length unit of a file's coordinates."""

    MICROMETRE = "um"
    MILLIMETRE = "mm"
    CENTIMETRE = "cm"
    METRE = "m"

    @property
    def in_mm(self) -> float:
        """Length of one unit in millimetres."""
        return {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}[self.value]


def to_patient_mm(points: FloatArray, frame: FileFrame, unit: FileUnit) -> FloatArray:
    """Points (n, 3) as a file states them, in patient LPS millimetres."""
    return np.asarray(points, dtype=np.float64) * (frame.to_patient * unit.in_mm)
