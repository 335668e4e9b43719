"""The contract of zone models: insertions in tissue go in, fields and the lethal zone as a signed function out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.frames import FloatArray
from needleplan.grid import ScalarField
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


@dataclass(frozen=True, slots=True)
class Quantity:
    """One figure that a model reports beside the zone, for instance a current in amperes."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class ZonePrediction:
    """What a model predicts for a set of insertions.

    Attributes:
        zone: what is destroyed by the model's own criterion.
        criterion: that criterion in words, for instance ``Arrhenius liver_ChangNguyen2004, Omega >= 1``.
        fields: fields on grids by name with their unit at the end (``temperature_c``, ``field_v_cm``); a model
            that knows only the shape of its zones has none.
        other_zones: zones that other criteria give, by the criterion in words: the outer and inner bounds.
        quantities: energies, currents, temperatures and whatever else a reader must know.
        notes: corrections that were made and limits that were met, a sentence each.
    """

    zone: LethalZone
    criterion: str
    fields: Mapping[str, ScalarField] = field(default_factory=lambda: MappingProxyType({}))
    other_zones: Mapping[str, LethalZone] = field(default_factory=lambda: MappingProxyType({}))
    quantities: tuple[Quantity, ...] = ()
    notes: tuple[str, ...] = ()

    def quantity(self, name: str) -> Quantity:
        """The quantity of that name; raises KeyError where the model does not report it."""
        for item in self.quantities:
            if item.name == name:
                return item
        raise KeyError(name)


class ZoneModel(ABC):
    """Predicts the lethal zone of a set of insertions.

    Models keep no state of a patient: the tissue comes with the question. ``tissue=None`` asks for the endless
    homogeneous tissue that the model names in its notes.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name with the table or parameters, for the plan's provenance."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Statements a reader of a plan must know about this model (for instance 'a model, not a vendor')."""

    @abstractmethod
    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """Fields and lethal zone of all ablations of all insertions together.

        Args:
            insertions: with their settings; none at all destroys nothing.
            tissue: tissues and vessels about them.

        Raises:
            DeviceError: an applicator or a setting is unknown to the model or lies outside its table.
            PhysicsError: the arrangement or the tissue is one that the model cannot compute.
        """

    def zone(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> LethalZone:
        """The lethal zone alone; raises as ``predict``."""
        return self.predict(insertions, tissue).zone

    def covering(
        self,
        insertions: Sequence[Insertion],
        points_mm: ArrayLike,
        radius_mm: ArrayLike,
        tissue: TissueMap | None = None,
    ) -> NDArray[np.bool_]:
        """Which balls each insertion's own zone holds.

        Args:
            insertions: k insertions, each taken alone.
            points_mm: centres (n, 3) of the balls in patient LPS mm.
            radius_mm: their radii (n,), or one for all; zero or more.
            tissue: tissues and vessels about them.

        Returns:
            (k, n) True where the whole ball n lies in the zone of insertion k.
        """
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        radii = np.asarray(radius_mm, dtype=np.float64)
        rows = [self.zone([insertion], tissue).signed_distance_mm(points) >= radii for insertion in insertions]
        return np.array(rows, dtype=np.bool_).reshape(len(insertions), len(points))
