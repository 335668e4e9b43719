"""Published laser ablations: P15 and P16."""

from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.laser import LaserModel
from validation.case import Outcome, between, case, measured, references, relative
from validation.treatments import block, insertion, size_mm, tissue_of, volume_ml

OPTIONS = HeatOptions(spacing_mm=0.75, reach_mm=20.0)


@case("P15", long=True)
def bare_fibre() -> Outcome:
    """1.5 W from a bare fibre for 10 min in pig liver."""
    low, high = references()["P15"].expected["diameter_mm"]
    widths = {}
    for name, perfusion in (("0.030", 0.030), ("0.0155", 0.0155), ("0", 0.0)):
        zone = LaserModel(OPTIONS).predict(
            [insertion("generic-laser-bare-600um", 600.0, 1.5)], block(tissue_of("liver_porcine", perfusion))
        )
        widths[name] = float(size_mm(zone)[0])
    return Outcome(
        [
            between(
                "diameter at the pig's perfusion of 0.030/s, mm", widths["0.030"], 7.0, 17.0, 0.5 * (low + high)
            ),
            measured("diameter at 0.0155/s, mm", 0.5 * (low + high), widths["0.0155"]),
            measured("diameter without perfusion, mm", 0.5 * (low + high), widths["0"]),
        ],
        f"Measured {low} to {high} mm. A bare fibre chars within seconds and then heats like a hot point, and "
        "perfusion beside it falls early; neither is modelled, and the optical constants of living liver are "
        "known to a factor of two.",
    )


@case("P16", long=True)
def rat_prostate() -> Outcome:
    """5 W at 980 nm for 75 s in a tumour of the rat."""
    mean, spread = references()["P16"].expected["volume_cm3"]
    zone = LaserModel(OPTIONS).predict(
        [insertion("generic-laser-diffuser-10", 75.0, 5.0)], block(tissue_of("prostate"))
    )
    return Outcome(
        [relative("volume, cm3", mean, volume_ml(zone), 0.3, spread=spread)],
        "The length of the diffuser is not in the abstract (10 mm here), and a tumour of the rat is not the human "
        "prostate of the table.",
    )
