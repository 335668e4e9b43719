"""Zones from a table: power and time to the axes of a spheroid about the needle."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.tissue_map import TissueMap
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow, builtin_catalogue
from needleplan.errors import DeviceError
from needleplan.frames import FloatArray, read_only
from needleplan.plan import Insertion

#: Relative slack within which a setting counts as a node of the table, for values that were printed and read.
_NODE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class ZoneSize:
    """Full extents of one zone: ``axial_length_mm`` along the needle, ``diameter_mm`` across it."""

    axial_length_mm: float
    diameter_mm: float

    @property
    def volume_ml(self) -> float:
        """Volume of the spheroid, 4/3 pi a b²."""
        return float(np.pi / 6.0 * self.axial_length_mm * self.diameter_mm**2 / 1000.0)


class ZoneTable:
    """Zone sizes of one applicator, bilinear in the logarithms of power, time and size.

    Sizes grow like powers of power and time (the built-in microwave table: D ~ P^0.30 t^0.34), which straight
    lines in logarithms reproduce. Outside the table nothing is known, so nothing is returned.

    Args:
        applicator: the applicator.
        rows: its rows of one setting; a full grid of powers and times.

    Raises:
        DeviceError: a combination of the grid is missing or given twice.
    """

    def __init__(self, applicator: Applicator, rows: Sequence[ZoneRow]) -> None:
        self.applicator = applicator
        self.rows = tuple(rows)
        controlled = [row.power_w is None for row in rows]
        if any(controlled) and not all(controlled):
            raise DeviceError(f"{applicator.name}: either every zone row states a power or none does")
        self.generator_controlled = all(controlled)
        self.powers_w = read_only(sorted({row.power_w or 0.0 for row in rows}))
        self.durations_s = read_only(sorted({row.duration_s for row in rows}))
        sizes = np.full((len(self.powers_w), len(self.durations_s), 2), np.nan)
        for row in rows:
            i = int(np.searchsorted(self.powers_w, row.power_w or 0.0))
            j = int(np.searchsorted(self.durations_s, row.duration_s))
            if np.isfinite(sizes[i, j, 0]):
                raise DeviceError(f"{applicator.name}: {row.power_w} W for {row.duration_s:g} s is given twice")
            sizes[i, j] = row.axial_length_mm, row.diameter_mm
        if np.isnan(sizes).any():
            i, j, _ = np.argwhere(np.isnan(sizes))[0]
            raise DeviceError(
                f"{applicator.name}: the table lacks {self.powers_w[i]:g} W for {self.durations_s[j]:g} s; "
                "powers and times must form a full grid"
            )
        self._log_sizes = np.log(sizes)

    def size(self, power_w: float | None, duration_s: float) -> ZoneSize:
        """Zone size at a setting.

        Raises:
            DeviceError: the setting lies outside the table.
        """
        if (power_w is None) != self.generator_controlled:
            wanted = "no power: its generator controls it" if self.generator_controlled else "a power in watts"
            raise DeviceError(f"applicator {self.applicator.name} takes {wanted}")
        time_weights = self._weights(self.durations_s, duration_s, "duration", "s")
        power_weights = np.ones(1) if power_w is None else self._weights(self.powers_w, power_w, "power", "W")
        length, diameter = np.exp(np.einsum("i,j,ijk->k", power_weights, time_weights, self._log_sizes))
        return ZoneSize(float(length), float(diameter))

    def _weights(self, nodes: FloatArray, value: float, what: str, unit: str) -> FloatArray:
        weights = np.zeros(len(nodes))
        exact = np.flatnonzero(np.isclose(nodes, value, rtol=_NODE_TOLERANCE, atol=0.0))
        if exact.size:
            weights[exact[0]] = 1.0
            return weights
        if not nodes[0] <= value <= nodes[-1]:
            raise DeviceError(
                f"{what} {value:g} {unit} lies outside the table of {self.applicator.name}, which goes from "
                f"{nodes[0]:g} to {nodes[-1]:g} {unit}"
            )
        upper = int(np.searchsorted(nodes, value))
        share = np.log(value / nodes[upper - 1]) / np.log(nodes[upper] / nodes[upper - 1])
        weights[upper - 1], weights[upper] = 1.0 - share, share
        return weights


class EllipsoidTableModel(ZoneModel):
    """Each ablation makes the spheroid of its table row; together they make the union of them.

    A table knows no vessels, no perfusion but its own and no neighbouring probe: it holds for ablations one
    after the other in tissue like the table's. Zones do not depend on the patient.

    Args:
        catalogue: applicators and tables; the built-in ones by default.
        setting: ``in_vivo`` or ``ex_vivo``.
    """

    def __init__(self, catalogue: DeviceCatalogue | None = None, setting: str = "in_vivo") -> None:
        self.catalogue = catalogue or builtin_catalogue()
        self.setting = setting
        self._tables: dict[str, ZoneTable] = {}

    @property
    def name(self) -> str:
        """See ZoneModel."""
        return f"spheroid from table ({self.setting})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        return (
            "Zones are table spheroids: heat lost to vessels, perfusion of this patient and neighbouring probes "
            "are not modelled; ablations are taken to be delivered one after the other.",
        )

    def notes_for(self, applicator: str) -> tuple[str, ...]:
        """The model's notes and what must be known of one applicator's table."""
        first = self.table(applicator).rows[0]
        if self.catalogue.applicator(applicator).is_vendor_table:
            return self.notes
        return (
            *self.notes,
            f"The zone table of {applicator} is not a vendor's: {first.source} ({first.provenance}, confidence "
            f"{first.confidence}).",
        )

    def table(self, applicator: str) -> ZoneTable:
        """The table of one applicator; raises DeviceError where there is none."""
        if applicator not in self._tables:
            rows = self.catalogue.rows(applicator, self.setting)
            self._tables[applicator] = ZoneTable(self.catalogue.applicator(applicator), rows)
        return self._tables[applicator]

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel; the tissue is not asked."""
        zone = self.zone(insertions, tissue)
        names = {insertion.applicator for insertion in insertions}
        definitions = {row.zone_definition or "not stated" for name in names for row in self.table(name).rows}
        return ZonePrediction(zone, f"zone as the table defines it: {', '.join(sorted(definitions)) or 'none'}")

    def zone(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> SpheroidUnion:
        """See ZoneModel."""
        centres, axes, axial, radial = [], [], [], []
        sizes: dict[tuple[str, float | None, float], ZoneSize] = {}
        for insertion in insertions:
            applicator = self.catalogue.applicator(insertion.applicator)
            table = self.table(insertion.applicator)
            direction = insertion.direction
            for ablation in insertion.ablations:
                key = (insertion.applicator, ablation.power_w, ablation.duration_s)
                if key not in sizes:
                    sizes[key] = table.size(ablation.power_w, ablation.duration_s)
                centres.append(np.asarray(ablation.tip_mm) - applicator.tip_to_centre_mm * direction)
                axes.append(direction)
                axial.append(0.5 * sizes[key].axial_length_mm)
                radial.append(0.5 * sizes[key].diameter_mm)
        return SpheroidUnion(np.array(centres), np.array(axes), axial, radial)

    def covering(
        self,
        insertions: Sequence[Insertion],
        points_mm: ArrayLike,
        radius_mm: ArrayLike,
        tissue: TissueMap | None = None,
    ) -> NDArray[np.bool_]:
        """See ZoneModel; all spheroids in one pass."""
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        single = self.zone(insertions).covering(points, radius_mm)
        counts = np.array([len(insertion.ablations) for insertion in insertions])
        if (counts == 1).all():
            return single
        starts = np.concatenate([[0], np.cumsum(counts)])
        rows = [single[a:b].any(axis=0) for a, b in pairwise(starts)]
        return np.array(rows, dtype=np.bool_).reshape(len(insertions), len(points))
