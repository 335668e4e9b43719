"""Plan with your own applicator: two CSV files in, a plan out.

    python examples/own_zone_table.py [applicators.csv zones.csv]

The files in examples/tables/ are INVENTED to show the columns: they describe no product and no measurement. Put
your vendor's figures into files of the same columns and name the document in the columns for the source.
"""

import argparse
from pathlib import Path

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.app.pipeline import plan_case
from needleplan.devices.catalogue import load_catalogue
from needleplan.plan import Plan
from needleplan.planning import PlanningOptions

TABLES = Path(__file__).parent / "tables"


def main(
    applicators_csv: Path = TABLES / "invented_applicators.csv",
    zones_csv: Path = TABLES / "invented_zones.csv",
    options: PlanningOptions | None = None,
) -> Plan:
    """Plan the built-in patient with the first applicator of the tables."""
    catalogue = load_catalogue(applicators_csv, zones_csv)
    model = EllipsoidTableModel(catalogue, setting="ex_vivo")
    applicator = catalogue.applicators[0]
    table = model.table(applicator.name)
    print(f"{applicator.name}: {applicator.description}")
    print("  power W  time s   along mm  across mm")
    for row in table.rows:
        power = "-" if row.power_w is None else f"{row.power_w:g}"
        print(f"  {power:>7}  {row.duration_s:>6g}  {row.axial_length_mm:>9g}  {row.diameter_mm:>9g}")

    if options is None:
        options = PlanningOptions(applicator=applicator.name, setting="ex_vivo")
    case = make_phantom(PhantomParameters(), np.random.default_rng(1)).case(voxel_mm=2.0)
    plan = plan_case(case, options, zone_model=model).plan
    print(f"plan: {plan.status}")
    for insertion in plan.insertions:
        for ablation in insertion.ablations:
            size = table.size(ablation.power_w, ablation.duration_s)
            power = "generator's own power" if ablation.power_w is None else f"{ablation.power_w:g} W"
            print(
                f"  needle {insertion.order}: {power} for {ablation.duration_s / 60:g} min makes a zone of "
                f"{size.axial_length_mm:.0f} x {size.diameter_mm:.0f} mm"
            )
    for note in plan.provenance.notes:
        print(f"  note: {note}")
    return plan


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("applicators", type=Path, nargs="?", default=TABLES / "invented_applicators.csv")
    parser.add_argument("zones", type=Path, nargs="?", default=TABLES / "invented_zones.csv")
    arguments = parser.parse_args()
    main(arguments.applicators, arguments.zones)
