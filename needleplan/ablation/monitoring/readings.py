"""Temperatures that were measured while the energy flows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray, read_only
from needleplan.grid import ScalarField

#: No tissue is colder or hotter than this while it is heated or frozen: other figures are a failure of the sensor
#: that a file should not hide.
_COLDEST_C, _HOTTEST_C = -200.0, 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class TemperatureReadings:
    """Temperatures of one sensor: a thermocouple, a fibre with several points, or a series of MR volumes.

    Attributes:
        sensor: its name; errors of one sensor that lie close together are taken to be alike.
        points_mm: (n, 3) places, patient LPS.
        times_s: (n,) since the energy began to flow, ascending.
        temperature_c: (n,) what was read.
        noise_c: (n,) standard deviation of the noise, independent from reading to reading.
        footprint_mm: (k, 3) offsets about each point over which a reading is the mean; one zero for a point.
        position_error_mm: standard deviation, along each axis, of the sensor's place from the stated one.
    """

    sensor: str
    points_mm: FloatArray
    times_s: FloatArray
    temperature_c: FloatArray
    noise_c: FloatArray
    footprint_mm: FloatArray
    position_error_mm: float = 0.0

    def __post_init__(self) -> None:
        for name in ("points_mm", "times_s", "temperature_c", "noise_c", "footprint_mm"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        n = len(self.times_s)
        where = f"the readings of {self.sensor!r}"
        if n == 0:
            raise PhysicsError(f"{where} must be at least one temperature, but there is none")
        if self.points_mm.shape != (n, 3) or self.temperature_c.shape != (n,) or self.noise_c.shape != (n,):
            raise PhysicsError(
                f"{where} need one place, time, temperature and noise each, but have {self.points_mm.shape[0]} "
                f"places, {n} times, {self.temperature_c.size} temperatures and {self.noise_c.size} values of noise"
            )
        if self.footprint_mm.ndim != 2 or self.footprint_mm.shape[1:] != (3,) or len(self.footprint_mm) == 0:
            raise PhysicsError(f"{where} need a footprint of one offset (x, y, z) or more")
        if not (np.isfinite(self.points_mm).all() and np.isfinite(self.footprint_mm).all()):
            raise PhysicsError(f"{where} hold a place that is no number")
        bad = ~((self.temperature_c > _COLDEST_C) & (self.temperature_c < _HOTTEST_C))
        if bad.any():
            raise PhysicsError(
                f"{where} hold {np.count_nonzero(bad)} temperatures that are no temperature (the first is "
                f"{self.temperature_c[bad][0]:g} C): leave out what was not measured"
            )
        if not ((self.noise_c > 0) & np.isfinite(self.noise_c)).all():
            raise PhysicsError(f"the noise of {self.sensor!r} must be positive everywhere")
        if not (np.isfinite(self.times_s) & (self.times_s >= 0)).all():
            raise PhysicsError(f"the times of {self.sensor!r} must not be negative")
        if (np.diff(self.times_s) < 0).any():
            raise PhysicsError(f"{where} are out of order: their times must ascend")
        if not (np.isfinite(self.position_error_mm) and self.position_error_mm >= 0):
            raise PhysicsError(f"the position error of {self.sensor!r} must not be negative")

    def __len__(self) -> int:
        return len(self.times_s)


def thermocouple(
    sensor: str,
    point_mm: Sequence[float],
    times_s: ArrayLike,
    temperature_c: ArrayLike,
    noise_c: float = 0.5,
    position_error_mm: float = 0.5,
) -> TemperatureReadings:
    """Readings of one point sensor.

    Args:
        sensor: its name.
        point_mm: its place, patient LPS.
        times_s, temperature_c: (n,) each.
        noise_c: standard deviation; 0.5 is the accuracy class of usual type T thermocouples (IEC 60584-1, class 1).
        position_error_mm: how well the place is known along each axis, one standard deviation; 0.5 mm is assumed.
            At an antenna the temperature changes by 5 to 10 K/mm, so much more than 1 mm says little about tissue.

    Raises:
        PhysicsError: see TemperatureReadings.
    """
    times = np.asarray(times_s, dtype=np.float64).reshape(-1)
    return TemperatureReadings(
        sensor,
        np.broadcast_to(np.asarray(point_mm, dtype=np.float64), (len(times), 3)),
        times,
        np.asarray(temperature_c, dtype=np.float64).reshape(-1),
        np.full(len(times), float(noise_c)),
        np.zeros((1, 3)),
        position_error_mm,
    )


def thermometry_volume(
    sensor: str,
    field: ScalarField,
    time_s: float,
    noise_c: float | NDArray[np.float32],
    used: NDArray[np.bool_] | None = None,
) -> TemperatureReadings:
    """Readings of one volume of MR thermometry, each the mean over its voxel.

    Args:
        sensor: name of the series, the same for all its volumes.
        field: temperatures in Celsius (not rises) on a grid of any spacing and direction.
        time_s: middle of the acquisition.
        noise_c: standard deviation, one for all voxels or one each.
        used: voxels that hold a temperature; None for all. Leave out the signal void about the needle.

    Raises:
        PhysicsError: no voxel is used, or see TemperatureReadings.
    """
    chosen = np.ones(field.grid.shape, dtype=np.bool_) if used is None else np.asarray(used, dtype=np.bool_)
    if chosen.shape != field.grid.shape:
        raise PhysicsError(f"the voxels used of {sensor!r} must have the shape of the volume, {field.grid.shape}")
    # The eight Gauss points of a voxel: exact for fields of third degree.
    corners = np.array(list(product((-1.0, 1.0), repeat=3))) * (0.5 / np.sqrt(3.0))
    noise = np.broadcast_to(np.asarray(noise_c, dtype=np.float64), field.grid.shape)
    index = np.argwhere(chosen)
    return TemperatureReadings(
        sensor,
        field.grid.to_patient(index).reshape(-1, 3),
        np.full(len(index), float(time_s)),
        field.values[chosen].astype(np.float64),
        noise[chosen],
        corners @ field.grid.T_PV[:3, :3].T,
    )
