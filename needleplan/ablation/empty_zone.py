"""The prediction of a solver that has nothing to do."""

import numpy as np

from needleplan.ablation.contract import ZonePrediction
from needleplan.ablation.field_zone import FieldZone
from needleplan.grid import Grid, ScalarField


def nothing(criterion: str) -> ZonePrediction:
    """No insertion destroys nothing."""
    field = ScalarField(Grid((2, 2, 2), np.eye(4)), np.full((2, 2, 2), -1.0, dtype=np.float32))
    return ZonePrediction(FieldZone(field), criterion)
