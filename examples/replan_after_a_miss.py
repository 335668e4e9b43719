"""Carry out a plan that goes wrong: needles that miss are planned around, and what is left is touched up.

    python examples/replan_after_a_miss.py

Research software, not a medical device.
"""

import argparse
from dataclasses import replace

import numpy as np

from needleplan.ablation.contract import LethalZone
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.measured_zone import MeasuredZone
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.coverage.cover import cover_target
from needleplan.coverage.options import CoverageOptions
from needleplan.coverage.pair_limits import PairLimits
from needleplan.coverage.protection import protect
from needleplan.coverage.replanning import Replanning, replan
from needleplan.coverage.touch_up import TouchUp, touch_up
from needleplan.coverage.treatment_state import MeasuredNeedle
from needleplan.frames import perpendicular_axes
from needleplan.grid import Grid, VoxelMask
from needleplan.plan import Insertion
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import default_constraints, screen

#: Coarse, so that this takes seconds.
SAMPLING = SamplingOptions(entry_spacing_mm=16.0, aim_count=24)
COVERAGE = CoverageOptions(margin_mm=5.0, point_count=2_000, paths_per_aim=8, setting_count=5, time_limit_s=3.0)
#: How far the first needle ends from its plan: to the side, and short of its depth.
ASIDE_MM, SHORT_MM = 3.0, 5.0
#: Blood flow keeps this rim of the predicted zone alive; the image after the treatment shows what is left of it.
SPARED_RIM_MM = 3.0
VOXEL_MM = 1.5
REGISTRATION_ERROR_MM = 0.5


def main(
    sampling: SamplingOptions = SAMPLING, coverage: CoverageOptions = COVERAGE, seed: int = 1
) -> tuple[Replanning, TouchUp]:
    """Plan the built-in patient, miss with the first needle, plan again, treat, look, and touch up."""
    queries = AnatomyQueries(
        build_anatomy(make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=3.0))
    )
    model = EllipsoidTableModel()
    applicator = model.catalogue.applicator("generic-mwa-2450")
    constraints = default_constraints(queries)
    table = sample_trajectories(queries, applicator, sampling)
    table = rank(screen(table, queries, constraints), queries, default_objectives(queries))
    protection = protect(queries)
    pairs = PairLimits.for_applicator(applicator)
    # Handles outside are left to the order of punctures.
    pairs = replace(pairs, handle_radius_mm=None)
    planned = cover_target(
        table, queries, model, coverage, protection=protection, pairs=pairs, with_bound=False
    ).insertions
    plan = tuple(replace(insertion, order=order) for order, insertion in enumerate(planned, start=1))
    print(f"planned: {len(plan)} needles, {sum(len(one.ablations) for one in plan)} ablations")

    print(f"needle 1 ends {ASIDE_MM:g} mm aside and {SHORT_MM:g} mm short; nothing is delivered yet")
    missed = missing(plan[0])
    again = replan(
        plan,
        [missed],
        queries,
        table,
        constraints,
        model,
        coverage,
        protection=protection,
        pairs=pairs,
        refine=False,
    )
    show(again.sentences)

    treated = model.zone(again.remaining)
    print(f"all of it is delivered, but blood flow spares a rim of {SPARED_RIM_MM:g} mm; the image after it says:")
    zone = MeasuredZone.of_mask(seen(treated), REGISTRATION_ERROR_MM)
    # An image cannot prove the planned margin to within its own errors: less is asked for.
    wanted = replace(coverage, margin_mm=max(0.0, coverage.margin_mm - zone.error_mm))
    rest = touch_up(queries, zone, table, model, wanted, protection=protection, pairs=pairs)
    show(rest.sentences)
    return again, rest


def missing(insertion: Insertion) -> MeasuredNeedle:
    """Where the needle of an insertion really stands."""
    side, _ = perpendicular_axes(insertion.direction)
    tip = np.asarray(insertion.tip_mm) + ASIDE_MM * side - SHORT_MM * insertion.direction
    return MeasuredNeedle(insertion.order, np.asarray(insertion.entry_mm), tip)


def seen(zone: LethalZone) -> VoxelMask:
    """The zone, less its rim, as it is segmented in an image."""
    low, high = zone.bounds_mm
    shape = tuple(int(n) for n in np.ceil((high - low) / VOXEL_MM) + 1)
    matrix = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    matrix[:3, 3] = low
    grid = Grid((shape[0], shape[1], shape[2]), matrix)
    dead = zone.signed_distance_mm(grid.centres_mm()) >= SPARED_RIM_MM
    return VoxelMask.cropped(grid, dead.reshape(grid.shape))


def show(sentences: tuple[str, ...]) -> None:
    """One line each."""
    for sentence in sentences:
        print(f"  {sentence}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="seed of the built-in patient")
    main(seed=parser.parse_args().seed)
