"""Why no path is feasible: which constraints reject, by how much the best candidates miss."""

import numpy as np

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.plan import Evidence
from needleplan.trajectory.table import TrajectoryTable

#: Candidates with the fewest failures that are described.
_NEAREST = 3


def explain_rejections(table: TrajectoryTable, queries: AnatomyQueries) -> tuple[Evidence, ...]:
    """Evidence for a table without a feasible row, the most telling first.

    Args:
        table: screened candidates, none of them feasible.
        queries: the anatomy.
    """
    if not len(table):
        return (Evidence("candidates", "There is no candidate path at all.", "Widen the entry region."),)
    evidence = []
    fails = np.stack([~column.passed for column in table.constraints])
    counts = fails.sum(axis=0)
    for column, failed in zip(table.constraints, fails, strict=True):
        if failed.all():
            nearest = float(column.values[np.argmin(np.abs(column.values - column.limit))])
            evidence.append(
                Evidence(
                    column.name,
                    f"All {len(table)} candidate paths fail it: {column.sentence}, and the best reaches "
                    f"{nearest:.1f} {column.unit}".rstrip()
                    + ".",
                    f"Relax {column.name!r} or change what it protects.",
                )
            )
    lonely = table.rejected_only_by()
    for name, count in sorted(lonely.items(), key=lambda item: -item[1]):
        if count:
            column = next(c for c in table.constraints if c.name == name)
            rows = fails[table.constraints.index(column)] & (counts == 1)
            gap = float(np.abs(column.values[rows] - column.limit).min())
            evidence.append(
                Evidence(
                    name,
                    f"{count} of {len(table)} paths fail nothing else.",
                    f"Relaxing it by {gap:.2f} {column.unit} would open the nearest of them.".replace("  ", " "),
                )
            )
    if not any(lonely.values()):
        least = int(counts.min())
        best_rows = np.flatnonzero(counts == least)[:_NEAREST]
        names = sorted({table.constraints[k].name for row in best_rows for k in np.flatnonzero(fails[:, row])})
        evidence.append(
            Evidence(
                "combination",
                f"Every path fails at least {least} constraints at once; the nearest fail {', '.join(names)}.",
                "Relax these together, or choose another entry region or applicator.",
            )
        )
    distance = queries.distance(queries.anatomy.entry)
    outside = float((distance.signed_distance_mm(queries.anatomy.target.mesh.vertices_mm) > 0).mean())
    if outside > 0:
        evidence.append(
            Evidence("target", f"{100 * outside:.0f} % of the target's surface lies outside the entry surface.")
        )
    return tuple(evidence)
