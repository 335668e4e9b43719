"""The contract of zone models: insertions with settings in, the lethal zone as a signed function out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray
from needleplan.plan import Insertion


class LethalZone(ABC):
    """The region that a model predicts to be destroyed."""

    @abstractmethod
    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        """Signed distance to the zone's boundary, positive inside.

        Args:
            points_mm: points (n, 3) in patient LPS mm.

        Returns:
            (n,) values in mm that never overstate: inside, a ball of that radius about the point lies in the
            zone; outside, the distance to the zone is exactly minus the value.
        """

    def contains(self, points_mm: ArrayLike) -> NDArray[np.bool_]:
        """(n,) True for points (n, 3) that are destroyed."""
        return np.asarray(self.signed_distance_mm(points_mm) >= 0)

    def margin_mm(self, points_mm: ArrayLike) -> FloatArray:
        """Signed distance (n,) at points (n, 3) as close to the truth as the zone can tell.

        Never overstates, and understates by at most ``margin_error_mm``; dearer than ``signed_distance_mm``.
        """
        return self.signed_distance_mm(points_mm)

    def least_margin_mm(self, points_mm: ArrayLike) -> float:
        """The least of ``margin_mm`` over points (n, 3), n at least 1."""
        return float(self.margin_mm(points_mm).min())

    @property
    @abstractmethod
    def margin_error_mm(self) -> float:
        """Most by which ``margin_mm`` may lie below the true signed distance."""

    @property
    @abstractmethod
    def bounds_mm(self) -> FloatArray:
        """(2, 3) least and greatest coordinates of the zone in patient LPS mm."""

    @abstractmethod
    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        """Closed surfaces whose union bounds the zone, for drawing."""


class ZoneModel(ABC):
    """Predicts the lethal zone of a set of insertions."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name with the table or parameters, for the plan's provenance."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Statements a reader of a plan must know about this model (for instance 'a model, not a vendor')."""

    @abstractmethod
    def zone(self, insertions: Sequence[Insertion]) -> LethalZone:
        """The lethal zone of all ablations of all insertions together.

        Raises:
            DeviceError: an applicator or a setting is unknown to the model or lies outside its table.
        """

    def covering(
        self, insertions: Sequence[Insertion], points_mm: ArrayLike, radius_mm: ArrayLike
    ) -> NDArray[np.bool_]:
        """Which balls each insertion's own zone holds.

        Args:
            insertions: k insertions, each taken alone.
            points_mm: centres (n, 3) of the balls in patient LPS mm.
            radius_mm: their radii (n,), or one for all; zero or more.

        Returns:
            (k, n) True where the whole ball n lies in the zone of insertion k.
        """
        radii = np.asarray(radius_mm, dtype=np.float64)
        rows = [self.zone([insertion]).signed_distance_mm(points_mm) >= radii for insertion in insertions]
        return np.array(rows, dtype=np.bool_).reshape(len(insertions), -1)
