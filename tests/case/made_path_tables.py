"""A small oblique body with many kinds of needle path, for contracts of constraints and objectives."""

from functools import cache

import numpy as np
from made_cases import ball, box, made_case, motion, queries_of, rotation, tube

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Case, Role, Structure
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.table import TrajectoryTable

MOTION = motion(21)


def made_body() -> Case:
    """A target in an organ beside a vessel and a bone, nothing along an axis."""
    frame = rotation(17)
    skin = ball((6, 3, -4), 1.0, 4, (95.0, 70.0, 110.0))
    organ = ball((-6, 2, 3), 1.0, 4, (38.0, 30.0, 46.0))
    vessel = tube((20 - 40 * frame[0]).tolist(), (20 + 40 * frame[0]).tolist(), 5.0, sections=24)
    return made_case(
        ball((-9, 4, 8), 1.0, 3, (10.0, 8.0, 13.0)),
        skin,
        Structure("liver", Role.ORGAN, organ),
        Structure("vein", Role.VESSEL, vessel),
        Structure("rib", Role.BONE, box((-30, -62, -10), (25, -52, 2))),
    )


@cache
def made_queries(moved: bool = False) -> AnatomyQueries:
    """The body's queries, as it lies or carried along by ``MOTION``."""
    return queries_of(made_body().moved(MOTION) if moved else made_body())


@cache
def made_table() -> TrajectoryTable:
    """Sampled paths, and some that start or end anywhere: inside structures, far outside, short and long."""
    applicator = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
    sampled = sample_trajectories(made_queries(), applicator, SamplingOptions(26.0, 6))
    rng = np.random.default_rng(12)
    rows = rng.permutation(len(sampled))[:300]
    entry, tip = rng.uniform(-110, 110, (100, 3)), rng.uniform(-60, 60, (100, 3))
    # Wholly inside the vein, wholly inside the target, a needle's width long, and far beyond the body.
    entry[:4] = (20, 20, 20), (-9, 4, 8), (0, 0, 0), (900, -40, 30)
    tip[:4] = (20.5, 19.5, 20.2), (-8, 5, 10), (0.4, -0.3, 0.2), (-900, 33, -80)
    normal = rng.normal(size=(100, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    table = sampled.subset(rows)
    return TrajectoryTable(
        applicator,
        np.concatenate([table.entry_mm, entry]),
        np.concatenate([table.entry_normal, normal]),
        np.concatenate([table.aim_mm, tip]),
        np.concatenate([table.tip_mm, tip]),
    )


def carried_along(table: TrajectoryTable) -> TrajectoryTable:
    """The paths of a table, moved by ``MOTION``."""
    turn, shift = MOTION[:3, :3], MOTION[:3, 3]
    return TrajectoryTable(
        table.applicator,
        table.entry_mm @ turn.T + shift,
        table.entry_normal @ turn.T,
        table.aim_mm @ turn.T + shift,
        table.tip_mm @ turn.T + shift,
    )
