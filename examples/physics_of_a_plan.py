"""Hold a plan made with zones from a table against the physics of this patient: vessels, perfusion, neighbours.

    python examples/physics_of_a_plan.py

Plans the built-in patient, predicts the same insertions by the microwave solver in its own tissue map, and prints
coverage and least margin by both. A table cannot know the veins beside the tumour; the solver can.
"""

from dataclasses import replace

import numpy as np

from needleplan.ablation.heating import Delivery, HeatOptions
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.patient_tissue import patient_tissue
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.app.pipeline import plan_case
from needleplan.assess import Assessment, assess
from needleplan.planning import PlanningOptions


def main(options: PlanningOptions | None = None, spacing_mm: float = 1.5) -> tuple[Assessment, Assessment]:
    """Assess one plan by the table and by the solver."""
    case = make_phantom(PhantomParameters(), np.random.default_rng(1)).case(voxel_mm=2.0)
    planned = plan_case(case, options or PlanningOptions())
    insertions = planned.plan.insertions
    if not insertions:
        raise SystemExit("no path is feasible with these options")
    margin_mm = planned.plan.metrics.margin_mm if planned.plan.metrics else 0.0

    by_table = assess(planned.queries, insertions, planned.zone_model, margin_mm)
    tissue = patient_tissue(planned.queries, tumour="CRLM")
    solver = MicrowaveModel(HeatOptions(spacing_mm=spacing_mm), Delivery.SEQUENTIAL)
    by_physics = assess(planned.queries, insertions, solver, margin_mm, tissue)
    without = assess(planned.queries, insertions, solver, margin_mm, replace(tissue, vessels=()))

    print(f"{len(insertions)} insertions of {insertions[0].applicator}, margin asked for {margin_mm:g} mm")
    print(f"{'zone by':<28} {'target':>8} {'with margin':>12} {'least margin':>13} {'zone':>9}")
    for name, found in (("table", by_table), ("solver, vessels ignored", without), ("solver", by_physics)):
        metrics = found.metrics
        print(
            f"{name:<28} {metrics.target_coverage_fraction:>7.1%} {metrics.margin_coverage_fraction:>12.1%} "
            f"{metrics.minimal_margin_mm:>10.1f} mm {metrics.zone_ml:>6.1f} ml"
        )
    return by_table, by_physics


if __name__ == "__main__":
    main()
