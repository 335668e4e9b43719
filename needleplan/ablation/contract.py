"""The contract of zone models: insertions with settings in, the lethal zone as a signed function out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from numpy.typing import ArrayLike

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
