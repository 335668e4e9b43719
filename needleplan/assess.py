"""Score of a set of insertions, planned or executed, by one and the same code."""

from dataclasses import dataclass

from needleplan.frames import FloatArray
from needleplan.plan import Metrics


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What a set of insertions achieves.

    Attributes:
        metrics: the figures.
        vertex_margins_mm: (n,) signed margin at each vertex of the target's surface mesh, positive where the
            zone reaches beyond the tumour.
    """

    metrics: Metrics
    vertex_margins_mm: FloatArray
