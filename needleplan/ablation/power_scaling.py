"""Zones of microwave antennas by powers of power and time, fitted to the antenna's own table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.ablation.contract import Quantity, ZoneModel, ZonePrediction
from needleplan.ablation.ellipsoid import ZoneSize
from needleplan.ablation.spheroid import SpheroidUnion
from needleplan.ablation.tissue_map import TissueMap
from needleplan.devices.catalogue import DeviceCatalogue, ZoneRow, builtin_catalogue
from needleplan.errors import DeviceError
from needleplan.plan import Insertion

#: Exponents of power and time, D ~ P^0.30 t^0.34, for tables too small to fit their own: those of a finite-volume
#: model of a 2.45 GHz antenna ex vivo at 40 to 140 W and 2 to 10 minutes.
DEFAULT_POWER_EXPONENT = 0.30
DEFAULT_TIME_EXPONENT = 0.34


@dataclass(frozen=True, slots=True)
class SizeLaw:
    """One extent of a zone, ``scale_mm`` (P / 1 W)^``power_exponent`` (t / 1 s)^``time_exponent``.

    ``largest_error`` is the greatest relative distance of the law from the rows that it was fitted to.
    """

    scale_mm: float
    power_exponent: float
    time_exponent: float
    largest_error: float

    def extent_mm(self, power_w: float, duration_s: float) -> float:
        """The extent at a setting."""
        return float(self.scale_mm * power_w**self.power_exponent * duration_s**self.time_exponent)


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    """Laws of both extents of one antenna's zones, and the settings that its table spans.

    Attributes:
        applicator: name of the antenna.
        diameter, axial_length: across and along the needle.
        powers_w, durations_s: least and greatest of the table.
        is_fitted: False where the table is too small and the default exponents were taken.
    """

    applicator: str
    diameter: SizeLaw
    axial_length: SizeLaw
    powers_w: tuple[float, float]
    durations_s: tuple[float, float]
    is_fitted: bool

    def size(self, power_w: float | None, duration_s: float, reach: float = 1.0) -> ZoneSize:
        """Size of the zone at a setting within ``reach`` times the table's range.

        Raises:
            DeviceError: no power is stated, or the setting lies outside.
        """
        if power_w is None:
            raise DeviceError(f"applicator {self.applicator} takes a power in watts")
        for value, (low, high), what, unit in (
            (power_w, self.powers_w, "power", "W"),
            (duration_s, self.durations_s, "duration", "s"),
        ):
            # Settings that were printed and read count as the node that they were.
            if not low / reach * (1.0 - 1e-9) <= value <= high * reach * (1.0 + 1e-9):
                raise DeviceError(
                    f"{what} {value:g} {unit} lies outside the table of {self.applicator}, which goes from {low:g} "
                    f"to {high:g} {unit}, by more than the factor {reach:g} that was allowed"
                )
        return ZoneSize(
            self.axial_length.extent_mm(power_w, duration_s), self.diameter.extent_mm(power_w, duration_s)
        )

    def extrapolates(self, power_w: float, duration_s: float) -> bool:
        """Whether a setting lies outside the table itself."""
        spans = ((power_w, self.powers_w), (duration_s, self.durations_s))
        return any(not low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value, (low, high) in spans)


def scaling_law(applicator: str, rows: Sequence[ZoneRow]) -> ScalingLaw:
    """Least squares in the logarithms of extent, power and time over the rows of one antenna.

    With fewer than two powers or two times an exponent cannot be told, and the default ones are taken.

    Raises:
        DeviceError: a row states no power.
    """
    if any(row.power_w is None for row in rows):
        raise DeviceError(f"the generator of {applicator} controls its power, so its zones do not scale with it")
    power = np.array([float(row.power_w or 0.0) for row in rows])
    time = np.array([row.duration_s for row in rows])
    fitted = len(set(power.tolist())) > 1 and len(set(time.tolist())) > 1

    def law(extents_mm: list[float]) -> SizeLaw:
        logs = np.log(extents_mm)
        terms = np.stack([np.ones_like(logs), np.log(power), np.log(time)], axis=1)
        if fitted:
            found = np.linalg.lstsq(terms, logs, rcond=None)[0]
        else:
            exponents = np.array([DEFAULT_POWER_EXPONENT, DEFAULT_TIME_EXPONENT])
            found = np.array([float(np.mean(logs - terms[:, 1:] @ exponents)), *exponents])
        error = float(np.abs(np.expm1(terms @ found - logs)).max())
        return SizeLaw(math.exp(found[0]), float(found[1]), float(found[2]), error)

    return ScalingLaw(
        applicator,
        law([row.diameter_mm for row in rows]),
        law([row.axial_length_mm for row in rows]),
        (float(power.min()), float(power.max())),
        (float(time.min()), float(time.max())),
        fitted,
    )


class PowerScalingModel(ZoneModel):
    """Microwave zones as spheroids whose extents grow like powers of power and time.

    One law for the whole table of an antenna, D = k P^a t^b, instead of the table's own nodes: smooth, and able to
    reach beyond the table where the user allows it. Like any table it knows no vessels and no neighbours.

    Args:
        catalogue: antennas and tables; the built-in ones by default.
        setting: ``in_vivo`` or ``ex_vivo``.
        reach: factor on both ends of the table's powers and times within which the law is used; 1 refuses whatever
            lies outside the table.
        tissue_factor: factor on both extents for an organ or a perfusion unlike the table's; 1 is the table's own.
            It is the user's figure and belongs to the name of the model.
    """

    def __init__(
        self,
        catalogue: DeviceCatalogue | None = None,
        setting: str = "in_vivo",
        reach: float = 1.0,
        tissue_factor: float = 1.0,
    ) -> None:
        if not (math.isfinite(reach) and reach >= 1.0):
            raise DeviceError(f"the reach beyond a table must be a factor of 1 or more, not {reach:g}")
        if not (math.isfinite(tissue_factor) and tissue_factor > 0.0):
            raise DeviceError(f"the factor of a tissue must be a positive number, not {tissue_factor:g}")
        self.catalogue = catalogue or builtin_catalogue()
        self.setting = setting
        self.reach = reach
        self.tissue_factor = tissue_factor
        self._laws: dict[str, ScalingLaw] = {}

    @property
    def name(self) -> str:
        """See ZoneModel."""
        beyond = "" if self.reach == 1.0 else f", up to {self.reach:g} times beyond it"
        factor = "" if self.tissue_factor == 1.0 else f", tissue factor {self.tissue_factor:g}"
        return f"powers of power and time fitted to table ({self.setting}{beyond}{factor})"

    @property
    def notes(self) -> tuple[str, ...]:
        """See ZoneModel."""
        notes = [
            "Zones are spheroids that grow like powers of power and time: heat lost to vessels and neighbouring "
            "probes are not modelled; ablations are taken to be delivered one after the other."
        ]
        if self.reach > 1.0:
            notes.append(
                f"Settings up to {self.reach:g} times beyond the table are extrapolated, as the user allowed; no "
                "measurement or model stands behind them."
            )
        if self.tissue_factor != 1.0:
            notes.append(
                f"Both extents are multiplied by {self.tissue_factor:g}, the user's factor for a tissue unlike the "
                "table's."
            )
        return tuple(notes)

    def law(self, applicator: str) -> ScalingLaw:
        """The law of one antenna; raises DeviceError where there is none."""
        if applicator not in self._laws:
            if self.catalogue.applicator(applicator).modality != "MWA":
                raise DeviceError(
                    f"the zones of {applicator} do not scale so: the law is one of microwave antennas"
                )
            self._laws[applicator] = scaling_law(applicator, self.catalogue.rows(applicator, self.setting))
        return self._laws[applicator]

    def predict(self, insertions: Sequence[Insertion], tissue: TissueMap | None = None) -> ZonePrediction:
        """See ZoneModel; the tissue is not asked."""
        centres, axes, axial, radial = [], [], [], []
        notes: dict[str, None] = {}
        quantities: dict[str, Quantity] = {}
        for insertion in insertions:
            law, name = self.law(insertion.applicator), insertion.applicator
            direction = insertion.direction
            back = self.catalogue.applicator(name).tip_to_centre_mm
            for what, value in (
                ("exponent of power (diameter)", law.diameter.power_exponent),
                ("exponent of time (diameter)", law.diameter.time_exponent),
                ("largest relative error of the fit", law.diameter.largest_error),
            ):
                quantities[f"{name}, {what}"] = Quantity(f"{name}, {what}", value, "1")
            if not law.is_fitted:
                notes[
                    f"The table of {name} is too small to fit exponents: those of a 2.45 GHz model were taken."
                ] = None
            for ablation in insertion.ablations:
                size = law.size(ablation.power_w, ablation.duration_s, self.reach)
                if law.extrapolates(float(ablation.power_w or 0.0), ablation.duration_s):
                    notes[
                        f"{ablation.power_w:g} W for {ablation.duration_s:g} s lies outside the table of {name}: "
                        "its zone is extrapolated."
                    ] = None
                centres.append(np.asarray(ablation.tip_mm) - back * direction)
                axes.append(direction)
                axial.append(0.5 * self.tissue_factor * size.axial_length_mm)
                radial.append(0.5 * self.tissue_factor * size.diameter_mm)
        rows = [row for one in insertions for row in self.catalogue.rows(one.applicator, self.setting)]
        definitions = sorted({row.zone_definition or "not stated" for row in rows})
        return ZonePrediction(
            SpheroidUnion(np.array(centres), np.array(axes), axial, radial),
            f"zone as the table defines it: {'; '.join(definitions) or 'none'}",
            quantities=tuple(quantities.values()),
            notes=tuple(notes),
        )
