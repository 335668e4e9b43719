"""What groups of electrodes destroy that are pulsed one after the other, by the closed form."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from needleplan.ablation.cassini import CassiniModel
from needleplan.ablation.contract import LethalZone, ZoneModel, ZonePrediction
from needleplan.ablation.empty_zone import nothing
from needleplan.ablation.tissue_map import TissueMap
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import PhysicsError
from needleplan.frames import FloatArray
from needleplan.plan import Insertion, vector3


class UnionZone(LethalZone):
    """What any of several zones destroys.

    Args:
        zones: at least one.
    """

    def __init__(self, zones: Sequence[LethalZone]) -> None:
        self._zones = tuple(zones)

    def signed_distance_mm(self, points_mm: ArrayLike) -> FloatArray:
        return np.max([zone.signed_distance_mm(points_mm) for zone in self._zones], axis=0)

    def margin_mm(self, points_mm: ArrayLike) -> FloatArray:
        return np.max([zone.margin_mm(points_mm) for zone in self._zones], axis=0)

    @property
    def margin_error_mm(self) -> float:
        if len(self._zones) == 1:
            return self._zones[0].margin_error_mm
        # A ball about a point may lie in the union and in none of the zones, however deep the point is.
        return float(0.5 * np.ptp(self.bounds_mm, axis=0).min())

    @property
    def bounds_mm(self) -> FloatArray:
        bounds = np.array([zone.bounds_mm for zone in self._zones])
        return np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])

    def surfaces(self) -> tuple[SurfaceMesh, ...]:
        return tuple(surface for zone in self._zones for surface in zone.surfaces())


class PulseGroups(ZoneModel):
    """Groups of electrodes, each pulsed by itself and drawn out before the next.

    The closed form knows straight electrodes alone: one that a scenario bends is taken to run from its entry to its
    deepest tip, its other tips at their depths along that line.

    Args:
        sizes: electrodes of each group, in the order of the insertions.
        refused_is_nothing: True where a group that cannot be pulsed as it stands destroys nothing, as in scenarios
            of electrodes that landed too far apart; otherwise that is an error.
    """

    def __init__(self, sizes: Sequence[int], refused_is_nothing: bool = False) -> None:
        self._sizes, self._refused_is_nothing = tuple(sizes), refused_is_nothing
        self._model = CassiniModel()

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def notes(self) -> tuple[str, ...]:
        return self._model.notes

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        ends = np.cumsum(self._sizes).tolist()
        straight = [_straight(insertion) for insertion in insertions]
        groups = [straight[end - size : end] for end, size in zip(ends, self._sizes, strict=True)]
        predictions = [self._of_group(group, tissue) for group in groups]
        return dataclasses.replace(predictions[0], zone=UnionZone([one.zone for one in predictions]), fields={})

    def _of_group(self, group: Sequence[Insertion], tissue: TissueMap | None) -> ZonePrediction:
        try:
            return self._model.predict(group, tissue)
        except PhysicsError as error:
            if not self._refused_is_nothing:
                raise
            return nothing(str(error))


def _straight(insertion: Insertion) -> Insertion:
    entry, direction = np.array(insertion.entry_mm), insertion.direction
    ablations = tuple(
        dataclasses.replace(
            one, tip_mm=vector3(entry + direction * float(direction @ (np.array(one.tip_mm) - entry)))
        )
        for one in insertion.ablations
    )
    return dataclasses.replace(insertion, ablations=ablations)
