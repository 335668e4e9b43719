"""How far a needle pushes the tissue before it when its tip arrives: what can be reckoned with beforehand."""

from needleplan.anatomy.queries import AnatomyQueries
from needleplan.plan import Insertion
from sim.layered_force import LayeredForce
from sim.tissue_layers import BodyWall, layers_along

#: Speed at which the insertion is reckoned, and its time step.
SPEED_M_S, STEP_S = 8e-3, 0.02
#: A push greater than this is not reckoned with: something does not give way.
LARGEST_M = 0.015


def push_allowance_m(
    insertion: Insertion, shaft_diameter_mm: float, queries: AnatomyQueries, wall: BodyWall | None = None
) -> float:
    """The push in usual tissue at rest with the tip at its planned place, metres; at most ``LARGEST_M``.

    The layers along the planned path and the built-in figures of their forces; the needle goes in at ``SPEED_M_S``
    until its tip has come to the planned depth in tissue.
    """
    layers = layers_along(queries, insertion.entry_mm, insertion.tip_mm, wall=wall)
    force = LayeredForce(layers, shaft_diameter_mm * 1e-3)
    state, wanted, depth = force.start(0.0), insertion.depth_mm * 1e-3, 0.0
    while state.tip_in_tissue_m < wanted and depth < wanted + LARGEST_M:
        depth += SPEED_M_S * STEP_S
        state, _ = force.step(state, depth, STEP_S)
    return max(0.0, min(depth - wanted, LARGEST_M))
