"""Treatments of the published cases: needles along z in endless tissue, and what is measured of their zones."""

from functools import cache
from typing import Any

import numpy as np

from needleplan.ablation.contract import ZonePrediction
from needleplan.ablation.field_zone import FieldZone
from needleplan.ablation.heating import Delivery, HeatOptions, VesselCooling
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.radiofrequency import RadiofrequencyModel
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel
from needleplan.devices.tissue import Tissue
from needleplan.devices.tissues import builtin_tissues
from needleplan.plan import Ablation, Insertion
from validation.media import FloatArray

#: Bench liver at room temperature.
BENCH_C = 20.0


def insertion(
    applicator: str,
    duration_s: float,
    power_w: float | None = None,
    at_mm: tuple[float, float] = (0.0, 0.0),
    order: int = 1,
) -> Insertion:
    """A needle along z with its tip at z = 0."""
    tip = (at_mm[0], at_mm[1], 0.0)
    return Insertion((*at_mm, -120.0), tip, applicator, (Ablation(tip, power_w, duration_s),), order=order)


def tissue_of(name: str, perfusion_per_s: float | None = None) -> Tissue:
    """A tissue of the table, with another perfusion where one is stated."""
    tissue = builtin_tissues().tissue(name)
    return tissue if perfusion_per_s is None else tissue.changed(perfusion_per_s=perfusion_per_s)


def block(tissue: Tissue, body_c: float = 37.0, vessel_mm: tuple[float, float] | None = None) -> TissueMap:
    """Endless tissue; ``vessel_mm`` is the diameter of a vessel along z and the distance of its axis along x."""
    if vessel_mm is None:
        return TissueMap(tissue, body_temperature_c=body_c)
    diameter, distance = vessel_mm
    lumen = Cylinder((distance, 0.0, -200.0), (distance, 0.0, 200.0), 0.5 * diameter)
    return TissueMap(tissue, vessels=(Vessel("tube", lumen, diameter),), body_temperature_c=body_c)


def size_mm(prediction: ZonePrediction) -> FloatArray:
    """Extent of the zone along x, y and z."""
    low, high = prediction.zone.bounds_mm
    return np.asarray(high - low)


def volume_ml(prediction: ZonePrediction) -> float:
    """Volume of the zone."""
    assert isinstance(prediction.zone, FieldZone)
    return prediction.zone.volume_ml


@cache
def radiofrequency(
    applicator: str, tissue: str, minutes: float, perfusion_per_s: float | None = None, body_c: float = 37.0,
    centres_mm: tuple[tuple[float, float], ...] = ((0.0, 0.0),), delivery: Delivery = Delivery.SEQUENTIAL,
    spacing_mm: float = 1.0, cool_down_s: float = 60.0,
) -> ZonePrediction:  # fmt: skip
    """Temperature-controlled radiofrequency ablation."""
    model = RadiofrequencyModel(HeatOptions(spacing_mm=spacing_mm, cool_down_s=cool_down_s), delivery)
    needles = [insertion(applicator, 60.0 * minutes, at_mm=at, order=n) for n, at in enumerate(centres_mm, start=1)]
    return model.predict(needles, block(tissue_of(tissue, perfusion_per_s), body_c))


@cache
def microwave(
    power_w: float, minutes: float, tissue: str, perfusion_per_s: float | None = None, body_c: float = 37.0,
    vessel_mm: tuple[float, float] | None = None, cooling: VesselCooling = VesselCooling.BLOOD_TEMPERATURE,
    cool_down_s: float = 60.0,
) -> ZonePrediction:  # fmt: skip
    """One generic 2.45 GHz antenna."""
    model = MicrowaveModel(HeatOptions(vessel_cooling=cooling, cool_down_s=cool_down_s))
    around = block(tissue_of(tissue, perfusion_per_s), body_c, vessel_mm)
    return model.predict([insertion("generic-mwa-2450", 60.0 * minutes, power_w)], around)


def reach_mm(prediction: ZonePrediction, direction: tuple[float, float] = (1.0, 0.0)) -> float:
    """How far the zone reaches from the needle's axis, in the plane of its greatest width."""
    zone = prediction.zone
    low, high = zone.bounds_mm
    best = 0.0
    for z in np.linspace(low[2], high[2], 41)[1:-1]:
        steps = np.arange(0.0, 60.0, 0.05)
        points = np.stack([steps * direction[0], steps * direction[1], np.full(len(steps), z)], axis=1)
        inside = zone.contains(points)
        if inside[: int(2.0 / 0.05)].any():
            # The shaft itself may be cold: the outermost destroyed point of an unbroken run counts.
            first = int(np.argmax(inside))
            run = inside[first:]
            last = len(run) if run.all() else int(np.argmin(run))
            best = max(best, float(steps[min(first + last, len(steps) - 1)]))
    return best


def rim_temperatures_c(prediction: ZonePrediction) -> tuple[float, float]:
    """Tenth and ninetieth percentile of the temperature at the zone's surface at the end."""
    from scipy.ndimage import map_coordinates

    field: Any = prediction.fields["temperature_c"]
    points = np.concatenate([mesh.vertices_mm for mesh in prediction.zone.surfaces()])
    index = field.grid.to_index(points)
    values = map_coordinates(np.asarray(field.values, dtype=np.float64), index.T, order=1, mode="nearest")
    low, high = np.percentile(values, (10, 90))
    return float(low), float(high)
