"""The whole chain on one page: patient -> plan -> robot -> rehearsal in the breathing patient -> score.

    python examples/plan_a_case.py                                  the built-in patient
    python examples/plan_a_case.py path/to/case.toml --data DIR     your own case

Research software, not a medical device.
"""

import argparse
from pathlib import Path

import numpy as np

from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.app.pipeline import assess_insertions, plan_case, plan_robot, rehearse_plan
from needleplan.case.load import load_case
from needleplan.io.plan_file import write_plan
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.plan import Metrics, Plan
from needleplan.planning import PlanningOptions
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.compensation.free_breathing import FreeBreathing


def main(
    manifest: Path | None = None,
    data: Path | None = None,
    out: Path | None = None,
    seed: int = 1,
    options: PlanningOptions | None = None,
) -> Plan:
    """Plan, rehearse and score one case; the built-in patient where no manifest is named."""
    if manifest is None:
        case = make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=2.0)
    else:
        case = load_case(manifest, data)
    print(f"{case.name}: {', '.join(structure.name for structure in case.structures)}")

    planned = plan_case(case, options)
    plan = planned.plan
    print(f"plan: {plan.status}, {plan.feasible_count} of {plan.candidate_count} candidate paths are feasible")
    for evidence in plan.evidence:
        print(f"  {evidence.subject}: {evidence.finding} {evidence.remedy}")
    if out is not None:
        write_plan(out, plan)
    if plan.metrics is None:
        return plan
    for insertion in plan.insertions:
        nearest = sorted(insertion.clearances_mm.items(), key=lambda item: item[1])[:2]
        passes = ", ".join(f"{clearance_mm:.1f} mm from {name}" for name, clearance_mm in nearest)
        print(f"  needle {insertion.order}: {insertion.depth_mm:.0f} mm deep, passes {passes or 'no obstacle'}")
    print_metrics("predicted", plan.metrics)

    robot_plan = plan_robot(plan, planned.anatomy)
    for item in robot_plan.base.evidence:
        print(f"  {item.subject}: {item.finding}")

    motion = LujanMotion(peak_mm=15.0, period_s=4.0, direction=inhalation_direction(case))
    for strategy in (AmplitudeGating(), FreeBreathing()):
        rehearsal = rehearse_plan(plan, robot_plan, planned.anatomy, motion, seed=seed, strategy=strategy)
        outcome = rehearsal.outcome
        print(f"rehearsal in the breathing patient, {outcome.strategy_details}:")
        for needle in outcome.needles:
            print(f"  needle {needle.planned.order}: tip {needle.tip_error_mm:.2f} mm from where it was planned")
        for order, reason in outcome.not_reached:
            print(f"  needle {order}: not reached, {reason}")
        achieved = assess_insertions(outcome.insertions, planned)
        if achieved is not None:
            print_metrics("achieved", achieved.metrics)
    return plan


def print_metrics(label: str, metrics: Metrics) -> None:
    """Coverage, least margin and healthy tissue in one line."""
    print(
        f"  {label}: {100 * metrics.target_coverage_fraction:.1f} % of the target, "
        f"{100 * metrics.margin_coverage_fraction:.1f} % with {metrics.margin_mm:g} mm margin, least margin "
        f"{metrics.minimal_margin_mm:+.1f} mm, {metrics.over_ablation_ml:.0f} ml of healthy tissue"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, nargs="?", help="case.toml; the built-in patient where left out")
    parser.add_argument("--data", type=Path, help="folder that the manifest's sources count from")
    parser.add_argument("--out", type=Path, help="where to write plan.json")
    arguments = parser.parse_args()
    main(arguments.manifest, arguments.data, arguments.out)
