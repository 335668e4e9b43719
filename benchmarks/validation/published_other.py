"""Published comparisons without a single zone: P17 and P18."""

from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.laser import LaserModel
from validation.case import Check, Outcome, between, case, references
from validation.published_rf import COOLED_20, HUMAN_PER_S
from validation.treatments import (
    BENCH_C,
    block,
    insertion,
    microwave,
    radiofrequency,
    rim_temperatures_c,
    tissue_of,
    volume_ml,
)


@case("P17", long=True)
def perfusion_band() -> Outcome:
    """How much the perfusion moves the volume."""
    middle = volume_ml(radiofrequency(COOLED_20, "liver", 12.0, HUMAN_PER_S, spacing_mm=1.5))
    low = volume_ml(radiofrequency(COOLED_20, "liver", 12.0, 0.0064, spacing_mm=1.5))
    high = volume_ml(radiofrequency(COOLED_20, "liver", 12.0, 0.030, spacing_mm=1.5))
    return Outcome(
        [
            between(
                "spread of the volume between 0.0064 and 0.030/s over the middle, %",
                100.0 * (low - high) / middle,
                10.0,
                175.0,
            ),
        ],
        "Published: up to 175 % in normal liver for one standard deviation of perfusion to both sides. A sharp "
        "cut of the perfusion at 60 C, up to 70 % smaller than the gradual shutdown, is not part of the library: "
        "not computable. Report a band of perfusion with every prediction in living tissue.",
    )


@case("P18", long=True)
def rim_temperatures() -> Outcome:
    """Temperature at the zone's rim when the energy ends."""
    expected = references()["P18"].expected
    rf = radiofrequency(COOLED_20, "liver_ex_vivo", 12.0, body_c=BENCH_C, spacing_mm=1.5, cool_down_s=0.0)
    mw = microwave(60.0, 10.0, "liver_ex_vivo", body_c=BENCH_C, cool_down_s=0.0)
    laser = LaserModel(HeatOptions(spacing_mm=0.75, reach_mm=20.0, cool_down_s=0.0)).predict(
        [insertion("generic-laser-bare-600um", 600.0, 1.5)], block(tissue_of("liver_ex_vivo"), BENCH_C)
    )
    checks: list[Check] = []
    for name, zone, key in (
        ("radiofrequency", rf, "RF_C"),
        ("laser", laser, "laser_C"),
        ("microwaves", mw, "MW_C"),
    ):
        low, high = rim_temperatures_c(zone)
        least, most = expected[key]
        middle = 0.5 * (low + high)
        checks.append(
            between(f"mean of the rim's temperatures, {name}, C", middle, least, most, 0.5 * (least + most))
        )
    return Outcome(
        checks,
        "Measured where the visible margin was, over all protocols: RF 33 to 58, laser 52 to 72, microwaves 42 "
        "to 95 C. The model's rim is one damage threshold, so that its temperature differs with the time only.",
    )
