"""Plans whose zones are balls or spheroids of any size, for tests of what errors do to them."""

import numpy as np

from needleplan.ablation.contract import ZoneModel, ZonePrediction
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.devices.catalogue import Applicator, DeviceCatalogue, ZoneRow
from needleplan.plan import Ablation, Insertion, vector3

BACK_MM = 7.0
SHAFT_MM = 2.4


def model(slenderness: float = 1.0) -> EllipsoidTableModel:
    """Zones of power / 10 mm radius across the needle, ``slenderness`` times that along it."""
    needle = Applicator("made", "MWA", "made", SHAFT_MM, 300.0, 10.0, BACK_MM, False, "made")
    rows = tuple(
        ZoneRow(
            "made", "in_vivo", power, time, 0.2 * slenderness * power, 0.2 * power, "", "made", "ASSUMED", "low", ""
        )
        for power in (10.0, 1000.0)
        for time in (60.0, 6000.0)
    )
    return EllipsoidTableModel(DeviceCatalogue((needle,), rows))


def needle(centre, direction, radius_mm, depth_mm=90.0, pull_back_mm=(0.0,)) -> Insertion:
    """A needle whose first zone has its middle in ``centre``; others lie behind it."""
    d = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    tip = np.asarray(centre, dtype=float) + BACK_MM * d
    ablations = tuple(Ablation(vector3(tip - back * d), 10.0 * radius_mm, 600.0) for back in pull_back_mm)
    return Insertion(vector3(tip - depth_mm * d), vector3(tip), "made", ablations)


def moved(insertion: Insertion, matrix: np.ndarray) -> Insertion:
    """An insertion carried along by a rigid (4, 4) motion."""

    def at(point):
        return vector3(matrix[:3, :3] @ np.asarray(point) + matrix[:3, 3])

    ablations = tuple(Ablation(at(a.tip_mm), a.power_w, a.duration_s) for a in insertion.ablations)
    return Insertion(at(insertion.entry_mm), at(insertion.tip_mm), insertion.applicator, ablations)


class Asked(ZoneModel):
    """A model that hides what another one is, so that it is asked in every scenario."""

    def __init__(self, other: ZoneModel) -> None:
        self.other = other

    @property
    def name(self) -> str:
        return "asked"

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def predict(self, insertions, tissue=None) -> ZonePrediction:
        return self.other.predict(insertions, tissue)
