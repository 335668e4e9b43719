"""Plausible rows of a made study: larger tumours need more needles, smaller zones cover less, some cases fail."""

import itertools

import numpy as np

from needleplan.anatomy.phantom_parameters import PhantomParameters
from needleplan.app.study.study import Breathing, Cell, Row, StudyCase, Times

_QUIET = Breathing()
_RADIUS_MM = {"generic-mwa-2450": 17.0, "generic-rfa-3cm": 14.0, "generic-cryo": 15.5, "generic-ire": 12.0}
_BUDGET_MM = {None: 0.0, "robot": 3.0, "navigated": 4.5, "freehand-ct": 6.0}


def made_cells(
    devices=("generic-mwa-2450", "generic-rfa-3cm"), probes=(None,), strategies=(None,), budgets=(None,),
    margins=(5.0,), robots=(None,), breathings=(_QUIET,),
) -> list[Cell]:  # fmt: skip
    crossed = itertools.product(devices, margins, probes, strategies, budgets, robots, breathings)
    return [
        Cell(device, None, margin, count, strategy, robot, budget, breathing)
        for device, margin, count, strategy, budget, robot, breathing in crossed
    ]


def made_row(case: str, cell: Cell, seed: int = 0, **changes) -> Row:
    """One row of a case that is the same patient in every cell; ``changes`` replace what was made."""
    patient = np.random.default_rng([seed, *case.encode()])
    ml, depth = float(np.exp(patient.normal(1.6, 0.7))), float(patient.uniform(35, 95))
    vessel = float(patient.gamma(2.0, 5.0))
    hard, luck = patient.uniform(), patient.normal(0, 1, 8)
    factors = Row.factors_of(StudyCase(case, phantom=PhantomParameters()), cell, seed, f"{seed:064x}")
    if hard < 0.04:
        return Row(**factors | {"status": "failed", "reason": f"{case}: the target is cut by the image"} | changes)
    if hard > 0.95:
        reason = "No path keeps 2 mm from the vessels; 1.4 mm would open one."
        return Row(
            **factors | {"status": "infeasible", "reason": reason, "candidates": 9000, "feasible": 0} | changes
        )
    tumour = 10 * (3 * ml / (4 * np.pi)) ** (1 / 3)
    needed = int(np.ceil((tumour + cell.margin_mm) ** 2 / _RADIUS_MM.get(cell.device, 13.0) ** 2))
    used = min(needed, cell.probes or 6)
    short = used < needed
    margin = cell.margin_mm + 1.4 + 0.8 * luck[0] - (3.0 + 1.2 * (needed - used) if short else 0.0)
    share = float(np.clip(1.0 + min(margin, 0.0) / 20, 0, 1))
    reached = float(np.clip(1.0 + min(margin - cell.margin_mm, 0.0) / 25, 0, 1))
    values = factors | dict(
        status="complete" if margin >= cell.margin_mm else "partial",
        reason="" if margin >= cell.margin_mm else f"{100 * (1 - reached):.1f} % of target and margin are left",
        target_ml=ml, target_depth_mm=depth, target_vessel_mm=vessel, candidates=int(60_000 + 9000 * luck[1]),
        feasible=int(3000 + 500 * luck[2]), insertions=used, ablations=used + int(luck[3] > 1),
        energy_s=480.0 * used,
        lower_bound=float(used), target_coverage_fraction=share, margin_coverage_fraction=reached,
        minimal_margin_mm=margin, over_ablation_ml=14.0 * used, zone_ml=20.0 * used, deepest_mm=depth + 12.0,
        least_clearance_mm=2.0 + abs(3 * luck[4]), least_clearance_of="portal_vein",
    )  # fmt: skip
    if cell.error_budget is not None:
        spread = _BUDGET_MM[cell.error_budget]
        chance = float(np.clip(1.0 - 0.05 * spread + 0.02 * luck[5], 0, 1))
        wide = float(np.clip(0.9 - 0.14 * spread + 0.04 * luck[5], 0, 1))
        values |= dict(
            chance_covered=chance, chance_covered_low=max(0.0, chance - 0.05),
            chance_covered_high=min(1.0, chance + 0.03), chance_margin=wide,
            chance_margin_low=max(0.0, wide - 0.06),
            chance_margin_high=min(1.0, wide + 0.06), chance_harm=0.01 * spread,
            chance_harm_of="portal_vein is hit",
        )  # fmt: skip
    if cell.robot is not None:
        values |= dict(reached=used, robot_s=14.0 * used)
    if cell.strategy is not None:
        free = cell.strategy == "free-breathing"
        error = float(abs((5.5 if free else 1.5) + (2.0 if free else 0.6) * luck[6]))
        values |= dict(
            runs=2, procedure_s=480.0 * used + (30.0 if free else 55.0) * used, tip_error_mm=error,
            largest_tip_error_mm=1.3 * error, rehearsed_coverage_fraction=share,
            rehearsed_margin_fraction=max(0.0, reached - 0.01 * error),
            rehearsed_minimal_margin_mm=margin - 0.7 * error + 0.3 * luck[7],
            structures_punctured=int(free and luck[7] > 0.8),
        )  # fmt: skip
    return Row(**values | changes)


def made_rows(cases: int = 40, seed: int = 0, cells: list[Cell] | None = None) -> list[Row]:
    """Rows of every case in every cell."""
    chosen = made_cells() if cells is None else cells
    return [made_row(f"phantom-{number}", cell, seed) for number in range(cases) for cell in chosen]


def made_times(rows: list[Row], seed: int = 0) -> list[Times]:
    rng = np.random.default_rng(seed)
    return [
        Times(
            row.case,
            row.cell,
            3.0,
            4.0,
            float(rng.gamma(4, 2)),
            processor_s=float(rng.gamma(6, 3)),
            memory_mb=900.0,
        )
        for row in rows
    ]
