"""Air leaks from lung that a needle crosses."""

from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.model import StructureSurface
from needleplan.errors import OptionError
from needleplan.trajectory.contract import TrajectoryObjective
from needleplan.trajectory.measured import MeasuredPaths
from needleplan.trajectory.risk_table import risk_factor
from needleplan.trajectory.table import ObjectiveColumn

#: The published ratio for deeper lesions is taken for this much more lung.
DEPTH_STEP_MM = 30.0


class PneumothoraxRisk(TrajectoryObjective):
    """Odds of a pneumothorax relative to a path that crosses no lung; a cost of 1 is ten times the odds.

    Modelled: aerated lung crossed or not, its length before the target, and a fissure (a second lung or lobe).
    Not modelled, because unknown, the same for all paths or without a figure to rely on: emphysema, bullae, needle
    calibre, number of needles, position of the patient, angle to the pleura. The published ratios are pooled and
    not adjusted for each other, so their product over-states; it ranks paths and predicts no patient's risk. All
    figures with their sources are in ``risk_factors()``.

    Args:
        lungs: surfaces of aerated lung, one or more: lungs or lobes.
        weight: share in the weighted order.

    Raises:
        OptionError: no lung is given.
    """

    def __init__(self, lungs: Sequence[StructureSurface], weight: float) -> None:
        if not lungs:
            raise OptionError("the risk of pneumothorax needs a surface of lung, and the case names none")
        self.lungs = tuple(lungs)
        self.weight = float(weight)

    @property
    def name(self) -> str:
        return "risk of pneumothorax"

    def evaluate(self, paths: MeasuredPaths) -> ObjectiveColumn:
        lengths = np.stack([paths.organ_path_mm(lung) for lung in self.lungs])
        crossed = (lengths > 0).sum(axis=0)
        log_odds = (
            risk_factor("pneumothorax", "aerated lung crossed").log_odds * (crossed > 0)
            + risk_factor("pneumothorax", "30 mm more of aerated lung").log_odds
            * lengths.sum(axis=0)
            / DEPTH_STEP_MM
            + risk_factor("pneumothorax", "fissure crossed").log_odds * (crossed > 1)
        )
        return ObjectiveColumn(self.name, "odds ratio", np.exp(log_odds), log_odds / np.log(10.0), self.weight)
