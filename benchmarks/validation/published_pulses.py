"""Published electroporation: P12 to P14."""

from functools import cache

from needleplan.ablation.electroporation import ElectroporationModel
from needleplan.ablation.pulse_rules import PulseProtocol
from needleplan.devices.thresholds import field_threshold
from validation.case import Outcome, absolute, case, references
from validation.media import FloatArray
from validation.treatments import block, insertion, size_mm, tissue_of


@cache
def pair_size_mm(distance_mm: float, voltage_v: float) -> FloatArray:
    """Width, depth and height of the zone of two needles with 20 mm bare in pig liver."""
    model = ElectroporationModel(
        protocol=PulseProtocol(voltage_to_distance_v_cm=10.0 * voltage_v / distance_mm), tissue="liver_porcine"
    )
    needles = [
        insertion("generic-ire-19g-20", 100.0, at_mm=(x, 0.0), order=n)
        for n, x in enumerate((0.0, distance_mm), start=1)
    ]
    return size_mm(model.predict(needles, block(tissue_of("liver_porcine"))))


_REMARK = (
    "Conductivity rises with the field; the threshold of 500 V/cm is a calibration to these zones taken "
    "together, not to each."
)


@case("P12", long=True)
def fifteen_mm() -> Outcome:
    """15 mm and 2250 V."""
    expected, size = references()["P12"].expected, pair_size_mm(15.0, 2250.0)
    names = ("width along the pair", "depth across it", "height along the needles")
    return Outcome(
        [
            absolute(f"{name}, mm", value, float(ours), 6.0, "mm", spread)
            for name, value, ours, spread in zip(
                names, expected["width_depth_height_mm"], size, expected["sd"], strict=True
            )
        ],
        _REMARK,
    )


@case("P13", long=True)
def other_pairs() -> Outcome:
    """15 mm and 3000 V; 20 mm."""
    expected, checks = references()["P13"].expected, []
    for words, distance, key, spread in (
        ("15 mm, 3000 V", 15.0, "15mm_3000V", "sd_15mm"), ("20 mm", 20.0, "20mm", "sd_20mm"),
    ):  # fmt: skip
        size = pair_size_mm(distance, 3000.0)
        for n, name in enumerate(("width", "depth")):
            checks.append(
                absolute(f"{name}, mm ({words})", expected[key][n], float(size[n]), 7.0, "mm", expected[spread][n])
            )
    return Outcome(checks, f"{_REMARK} The voltage of the 20 mm arm is presumed to be 3000 V.")


@case("P14")
def prostate() -> Outcome:
    """Threshold in prostate."""
    expected = references()["P14"].expected
    ours = field_threshold("IRE", "prostate", "field_dependent").field_v_cm
    return Outcome(
        [
            absolute(
                "threshold in the table, V/cm", expected["E_th_V_cm"], ours, expected["sd"], "V/cm", expected["sd"]
            )
        ],
        "Not computable: the threshold is what that study found by fitting; the table carries it as an input.",
    )
