"""Vessels near the needle bleed."""

from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import CLEARANCE_CAP_MM, MeasuredPaths
from needleplan.trajectory.risk_table import risk_factor
from needleplan.trajectory.table import ObjectiveColumn

#: Distance within which the published ratio holds.
NEAR_MM = 8.0


class BleedingRisk(TrajectoryObjective):
    """Odds of bleeding relative to a path that keeps away from vessels; a cost of 1 is ten times the odds.

    Modelled: the least distance to a vessel, by the one published ratio for a path that was found; it rests on 21
    bleedings. It holds within 8 mm; from there it fades to none at 10 mm, so that a path moved by a hair does not
    jump, which is a choice of this library. Not modelled: the length through lung or healthy organ (no figure to
    rely on was found), size and place of the tumour, platelets and coagulation (the same for all paths). It ranks
    paths and predicts no patient's risk. All figures with their sources are in ``risk_factors()``.

    Args:
        vessels: surfaces of vessels, one or more.
        weight: share in the weighted order.

    Raises:
        OptionError: no vessel is given.
    """

    def __init__(self, vessels: Sequence[StructureSurface], weight: float) -> None:
        if not vessels:
            raise OptionError("the risk of bleeding needs a surface of a vessel, and the case names none")
        self.vessels = tuple(vessels)
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "risk of bleeding"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        distance = np.min([paths.clearance_mm(vessel, CLEARANCE_CAP_MM) for vessel in self.vessels], axis=0)
        share = np.clip((CLEARANCE_CAP_MM - distance) / (CLEARANCE_CAP_MM - NEAR_MM), 0.0, 1.0)
        log_odds = risk_factor("bleeding", "applicator within 8 mm of a large vessel").log_odds * share
        return ObjectiveColumn(self.name, "odds ratio", np.exp(log_odds), log_odds / np.log(10.0), self.weight)
