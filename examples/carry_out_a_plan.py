"""Register a patient to a robot by markers, let the robot carry out a plan, and ask how likely it then succeeds.

    python examples/carry_out_a_plan.py

Research software, not a medical device.
"""

import argparse

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.app.carry import Carried, carry_out
from needleplan.app.pipeline import plan_case
from needleplan.app.robot_planning import ReachOfBestPlace
from needleplan.coverage.options import CoverageOptions
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.planning import PlanningOptions
from needleplan.registration.point_based import PointOptions, PointRegistration, register_points
from needleplan.trajectory.sampling import SamplingOptions
from robots.catalogue import load_robot

#: Coarse, so that this takes seconds.
SAMPLING = SamplingOptions(entry_spacing_mm=16.0, aim_count=16)
COVERAGE = CoverageOptions(margin_mm=5.0, point_count=2_000, paths_per_aim=8, setting_count=5, time_limit_s=5.0)
#: Markers on the skin, how exactly the robot's camera sees each of them, and the one that slips before it looks.
MARKERS, LOCALISATION_MM, SLIPPED_MM = 7, 0.5, 12.0


def main(
    robot_name: str = "needle_arm7",
    sampling: SamplingOptions = SAMPLING,
    coverage: CoverageOptions = COVERAGE,
    seed: int = 1,
) -> tuple[PointRegistration, Carried]:
    """Plan the built-in patient for a robot, register him, carry the plan out, and say how exactly."""
    case = make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=3.0)
    options = PlanningOptions(sampling=sampling, coverage=coverage, refine=False)
    reach = ReachOfBestPlace(load_robot(robot_name), options)
    planned = plan_case(case, options, reach=reach)
    print(reach.sentence)
    print(f"plan: {planned.plan.status.value}, {len(planned.plan.insertions)} needles")

    registration = registered(planned.anatomy, np.random.default_rng(seed))
    tre_mm = registration.covariance.tre_mm(planned.anatomy.target.mesh.bounds_mm.mean(axis=0))
    print(
        f"registered by {MARKERS} markers, taken out: {', '.join(registration.taken_out) or 'none'}; fiducials "
        f"{registration.fre_mm:.2f} mm, target {tre_mm:.2f} mm (root mean square)"
    )

    if not registration.hand_is_shown:
        print(registration.hand)

    carried = carry_out(planned, robot_name, registration=registration.covariance, seed=seed)
    print(f"{robot_name} reaches {carried.reached_count} of {len(planned.plan.insertions)} insertions")
    for error in carried.plan.errors:
        print(
            f"  needle {error.order}: across {error.lateral_rms_mm:.2f} mm, along {error.depth_std_mm:.2f} mm, "
            f"angle {error.angle_rms_deg:.2f} degrees expected"
        )
    for chance in carried.chances[:2]:
        print(f"  chance that {chance.event}: {chance.probability:.0%} ({chance.low:.0%} to {chance.high:.0%})")
    return registration, carried


def registered(anatomy: Anatomy, rng: np.random.Generator) -> PointRegistration:
    """The robot's base in the patient, by markers that a camera on the robot sees; one of them slips."""
    skin_mm = anatomy.entry.mesh.vertices_mm
    height_mm = skin_mm @ np.asarray(anatomy.case.up)
    upper = skin_mm[height_mm > np.median(height_mm)]
    markers_mm = spread(upper, MARKERS)
    turn = np.array([[0.0, -1.0, 0.0], [0.6, 0.0, -0.8], [0.8, 0.0, 0.6]])
    X_BP = RigidTransform.from_parts(
        Frame.ROBOT_BASE, Frame.PATIENT, turn, (420.0, 80.0, 150.0), LengthUnit.MILLIMETRE
    )
    seen_mm = X_BP.apply(markers_mm) + rng.normal(0.0, LOCALISATION_MM, (MARKERS, 3))
    seen_mm[2] += SLIPPED_MM * np.array([0.6, -0.8, 0.0])
    return register_points(
        markers_mm, seen_mm, Frame.PATIENT, Frame.ROBOT_BASE, PointOptions(fle_mm=np.sqrt(3.0) * LOCALISATION_MM)
    )


def spread(points_mm: FloatArray, count: int) -> FloatArray:
    """Points far from each other: each next one is the farthest from those chosen."""
    chosen = [0]
    for _ in range(count - 1):
        apart = np.linalg.norm(points_mm[:, None] - points_mm[chosen], axis=2).min(axis=1)
        chosen.append(int(np.argmax(apart)))
    return points_mm[chosen]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="needle_arm7", metavar="NAME|FILE", help="see 'needleplan robots'")
    main(parser.parse_args().robot)
