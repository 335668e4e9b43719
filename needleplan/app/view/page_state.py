"""What the page shows of a session, as plain values; numbers that are not finite become null."""

import math
from collections.abc import Sequence
from typing import Any

from needleplan.app.view.session import EditSession
from needleplan.io.value_json import to_json
from needleplan.plan import Metrics
from needleplan.trajectory.editor import EditedPath
from needleplan.trajectory.measured import CLEARANCE_CAP_MM


def needles_state(session: EditSession) -> list[dict[str, Any]]:
    """Every needle with all of its columns."""
    return [_needle(order, session.path(order), session.moved(order)) for order in session.orders]


def _needle(order: int, path: EditedPath, moved: bool) -> dict[str, Any]:
    table = path.table
    return {
        "order": order,
        "applicator": table.applicator.name,
        "entry_mm": path.entry_mm.tolist(),
        "tip_mm": path.tip_mm.tolist(),
        "depth_mm": float(table.length_mm[0]),
        "feasible": path.feasible,
        "cost": finite(path.cost),
        "moved": moved,
        "locked": {"entry": path.entry_locked, "tip": path.tip_locked},
        "constraints": [
            {
                "name": column.name,
                "sentence": column.sentence,
                "unit": column.unit,
                "value": finite(column.values[0]),
                "limit": finite(column.limit),
                "at_least": column.at_least,
                "hard": column.hard,
                "passed": bool(column.passed[0]),
                # The search measures no farther, as nothing beyond decides.
                "capped": column.unit == "mm" and column.at_least and float(column.values[0]) == CLEARANCE_CAP_MM,
            }
            for column in table.constraints
        ],
        "objectives": [
            {
                "name": column.name,
                "unit": column.unit,
                "value": finite(column.values[0]),
                "cost": finite(column.cost[0]),
                "weight": column.weight,
            }
            for column in table.objectives
        ],
    }


def metrics_state(metrics: Metrics | None) -> dict[str, Any] | None:
    """The figures of a plan."""
    return None if metrics is None else to_json(metrics)


def finite(value: float) -> float | None:
    """A number that JSON knows; None for one that it does not."""
    number = float(value)
    return number if math.isfinite(number) else None


def sentences(*parts: Sequence[str]) -> list[str]:
    """All sentences, each once, in their order."""
    return list(dict.fromkeys(sentence for part in parts for sentence in part))
