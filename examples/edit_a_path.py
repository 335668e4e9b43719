"""Move a needle path by hand: every column comes back at once, and the breath that it bears.

    python examples/edit_a_path.py

Research software, not a medical device.
"""

import argparse
import time

import numpy as np

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.trajectory.breathing import clearances_over_breath
from needleplan.trajectory.editor import EditedPath, TrajectoryEditor
from needleplan.trajectory.measured import CLEARANCE_CAP_MM
from needleplan.trajectory.ranking import default_objectives, rank
from needleplan.trajectory.sampling import SamplingOptions, sample_trajectories
from needleplan.trajectory.screening import default_constraints, screen

#: A usual tolerance of gating.
GATE_MM = 2.0


def main(sampling: SamplingOptions | None = None, seed: int = 1, voxel_mm: float = 2.0) -> EditedPath:
    """Edit the best path of the built-in patient and say which part of the breath it is safe in."""
    case = make_phantom(PhantomParameters(), np.random.default_rng(seed)).case(voxel_mm=voxel_mm)
    queries = AnatomyQueries(build_anatomy(case))
    applicator = EllipsoidTableModel().catalogue.applicator("generic-mwa-2450")
    constraints, objectives = default_constraints(queries), default_objectives(queries)
    table = sample_trajectories(queries, applicator, sampling)
    table = rank(screen(table, queries, constraints), queries, objectives)
    print(f"{case.name}: {np.count_nonzero(table.feasible)} of {len(table)} paths are feasible")
    best = int(table.order()[0])
    editor = TrajectoryEditor(
        queries, constraints, objectives, applicator, table.entry_mm[best], table.tip_mm[best]
    )
    show("best of the table", editor.state)

    lateral, up, _ = queries.anatomy.axes.T
    started = time.perf_counter()
    state = editor.move_entry(editor.state.entry_mm + 12.0 * lateral)
    show(f"entry 12 mm to the side ({1000 * (time.perf_counter() - started):.1f} ms)", state)
    editor.lock(entry=True)
    show("entry locked, tip 5 mm deeper", editor.move_tip(state.tip_mm - 5.0 * up))
    snapped = editor.snap(table)
    if snapped is None:
        print("no tip of the table is feasible from this entry")
    else:
        show("snapped to the nearest feasible tip", snapped)
    while editor.can_undo:
        editor.undo()
    show("all undone", editor.state)

    motion = LujanMotion(peak_mm=15.0, period_s=4.0, direction=inhalation_direction(case))
    tissue = TissueMotion(queries.anatomy, motion)
    breath = clearances_over_breath(editor.state.table, queries, tissue, constraints, rows=[0])
    print(f"over {breath.span_s:g} s of breathing, {motion.name}:")
    for name, exhale_mm, least_mm in zip(breath.obstacles, breath.exhale_mm[0], breath.least_mm[0], strict=True):
        if least_mm < CLEARANCE_CAP_MM:
            print(f"  {name}: {exhale_mm:.1f} mm at end-exhale, {least_mm:.1f} mm at worst")
    windows = ", ".join(f"{begin:.2f} to {end:.2f} s" for begin, end in breath.windows_s(0))
    print(f"  safe for {100 * breath.safe_share[0]:.0f} % of the time: {windows}")
    cheapest = table.order()[:100]
    breath = clearances_over_breath(table, queries, tissue, constraints, rows=cheapest)
    print(
        f"of {len(cheapest)} cheapest paths {np.count_nonzero(breath.always_safe)} are safe over all of the breath "
        f"and {np.count_nonzero(breath.gate_mm >= GATE_MM)} while the target is within {GATE_MM:g} mm of end-exhale"
    )
    return editor.state


def show(label: str, state: EditedPath) -> None:
    """One line: cost, or what is wrong."""
    failed = [column for column in state.table.constraints if column.hard and not column.passed[0]]
    verdict = (
        f"cost {state.cost:.2f}"
        if state.feasible
        else "; ".join(f"{column.name} {column.values[0]:.1f} {column.unit}".strip() for column in failed)
    )
    print(f"{label}: {verdict}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="seed of the built-in patient")
    main(seed=parser.parse_args().seed)
