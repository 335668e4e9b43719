"""Published cryoablations: P09 to P11."""

from functools import cache

import numpy as np

from needleplan.ablation.contract import ZonePrediction
from needleplan.ablation.cryoablation import CryoModel
from needleplan.ablation.heating import HeatOptions
from needleplan.devices.tissue import Tissue
from validation.case import Outcome, absolute, case, references, relative
from validation.media import FloatArray
from validation.needles import oval_size
from validation.treatments import block, insertion, tissue_of

#: Agar as water with a narrow freezing range; ice's conductivity and heat capacity near -40 C (handbook values).
AGAR = Tissue(
    "agar", 1000.0, 4180.0, 0.6, water_kg_m3=980.0, perfusion_per_s=0.0, frozen_specific_heat_j_kg_k=1900.0,
    frozen_thermal_conductivity_w_m_k=2.4, latent_heat_j_kg=327e3, freezing_start_c=0.0, freezing_end_c=-1.0,
)  # fmt: skip
ARRANGEMENTS = {
    1: ((0.0, 0.0),),
    2: ((0.0, 0.0), (20.0, 0.0)),
    3: ((0.0, 0.0), (20.0, 0.0), (10.0, 17.3205)),
    4: ((0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (0.0, 20.0)),
}


@cache
def phantom(probes: int) -> ZonePrediction:
    """Probes of 2.4 mm, 2 cm apart, in agar of 39 C for 15 min."""
    model = CryoModel(HeatOptions(spacing_mm=1.5))
    needles = [
        insertion("generic-cryo-2.4-30", 900.0, at_mm=at, order=n)
        for n, at in enumerate(ARRANGEMENTS[probes], start=1)
    ]
    return model.predict(needles, block(AGAR, 39.0))


def areas_mm2(prediction: ZonePrediction, levels_c: tuple[float, ...]) -> list[float]:
    """Areas colder than levels at the end, across the middle of the probes' active parts."""
    field = prediction.fields["temperature_c"]
    values = np.asarray(field.values, dtype=np.float64)
    middle = round(float(field.grid.to_index(np.array([[0.0, 0.0, -15.0]]))[0, 2]))
    h = float(field.grid.spacing_mm[0])
    x, y = np.arange(values.shape[0]) * h, np.arange(values.shape[1]) * h
    plane: FloatArray = -values[:, :, middle]
    return [oval_size(x, y, plane, -level)[2] for level in levels_c]


@case("P09", long=True)
def one_to_four() -> Outcome:
    """One to four probes in a phantom."""
    expected, checks = references()["P09"].expected, []
    for probes in ARRANGEMENTS:
        words = "1 probe" if probes == 1 else f"{probes} probes"
        lethal, ice = areas_mm2(phantom(probes), (-30.0, -0.5))
        value = expected["lethal_diam_mm"][str(probes)]
        limit = 0.5 if probes == 1 else 0.2
        ours = float(np.sqrt(4.0 * lethal / np.pi))
        checks.append(relative(f"diameter of equal area at -30 C, {words}, mm", value, ours, limit))
        fraction = expected["lethal_area_fraction"][str(probes)]
        ice_mm = float(np.sqrt(4.0 * ice / np.pi))
        from_ratio = value / float(np.sqrt(fraction))
        checks.append(
            relative(f"diameter of the ice, {words}, mm", from_ratio, ice_mm, 0.12 if probes == 1 else 0.2)
        )
    return Outcome(
        checks,
        "The probe's temperature of -130 C is a calibration to this measurement. Measured ice diameters are "
        "those of -30 C over the square root of the stated share of the area. Triangle and square of 20 mm are a "
        "reading of '2 cm spacing'.",
    )


@case("P10", long=True)
def inside_the_ice() -> Outcome:
    """How far inside the ice's edge -40 C lies."""
    value, checks = references()["P10"].expected["offset_mm"], []
    for probes in (1, 4):
        words = "1 probe" if probes == 1 else "4 probes"
        cold, ice = areas_mm2(phantom(probes), (-40.0, -0.5))
        ours = float(np.sqrt(ice / np.pi) - np.sqrt(cold / np.pi))
        checks.append(absolute(f"distance from -40 C to the edge of the ice, {words}, mm", value, ours, 3.0, "mm"))
    return Outcome(checks, "Agar as in P09, radii of equal area; the published one is of several needles in gel.")


@case("P11", long=True)
def nitrogen_probe() -> Outcome:
    """A liquid nitrogen probe in pig liver and kidney."""
    expected, checks = references()["P11"].expected, []
    for organ, tissue, minutes, key in (
        ("liver", "liver_porcine", 4.0, "liver_4min_mm"), ("kidney", "kidney", 12.0, "kidney_12min_mm"),
    ):  # fmt: skip
        prediction = CryoModel(HeatOptions(spacing_mm=1.5)).predict(
            [insertion("generic-cryo-2.4-30", 60.0 * minutes)], block(tissue_of(tissue))
        )
        ice = next(zone for name, zone in prediction.other_zones.items() if name.startswith("-0.5"))
        low, high = ice.bounds_mm
        size = sorted((high - low).tolist(), reverse=True)
        for axis, value, ours in zip(("length", "width", "depth"), expected[key], size, strict=True):
            checks.append(relative(f"{axis} of the ice in {organ} after {minutes:g} min, mm", value, ours, 0.35))
    return Outcome(
        checks,
        "No probe temperature is reported, and what was measured of the ice is not in the abstract: a generic "
        "argon probe of 2.4 mm, 30 mm active and -130 C with full perfusion stands in. Vessels that narrow in "
        "the cold, which let ice grow further in kidney, are not modelled.",
    )
