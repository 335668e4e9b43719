"""What meeting the breath in one way or another is worth, with noise, delay and a needle that bends."""

import numpy as np
import pytest
from rehearsals import Patients, real

from needleplan.anatomy.model import Anatomy
from needleplan.errors import OptionError
from needleplan.motion.lujan import LujanMotion
from needleplan.plan import Plan
from robots.route import RobotRoute
from sim.compensation.amplitude_gating import AmplitudeGating
from sim.rehearse import run_rehearsal
from sim.strategies import STRATEGIES, make_strategy, strategy_name

SEEDS = (1, 2)


def _errors(
    name: str, motion: LujanMotion, anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> np.ndarray:  # type: ignore[type-arg]
    options = real(make_strategy(name), follow_structures=False, tissue_deviation=0.0)
    needles = [
        run_rehearsal(
            plan, route, anatomy, motion, seed, options=options, patient=patients(motion)
        ).outcome.needles[0]
        for seed in SEEDS
    ]
    return np.array([[needle.tip_error_mm, needle.lateral_error_mm, needle.breaths] for needle in needles])


@pytest.mark.long
def test_waiting_beats_tracking_and_tracking_beats_free_breathing(
    anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients
) -> None:
    motion = LujanMotion(15.0)
    found = {
        name: _errors(name, motion, anatomy, plan, route, patients) for name in STRATEGIES if name != "phase-gating"
    }
    tip = {name: rows[:, 0].mean() for name, rows in found.items()}
    for name in ("amplitude-gating", "breath-hold"):
        assert tip[name] < 1.5 and tip[name] < tip["tracking"] + 0.5
    assert tip["tracking"] < 0.6 * tip["free-breathing"]
    # Free breathing: the error is of the size of the motion, whose root mean square is 9 of its 15 mm.
    assert 3.0 < found["free-breathing"][:, 1].mean() < 15.0
    # What waits takes more breaths.
    assert found["amplitude-gating"][:, 2].min() > found["free-breathing"][:, 2].max()


@pytest.mark.long
def test_what_moves_less_is_hit_better(anatomy: Anatomy, plan: Plan, route: RobotRoute, patients: Patients) -> None:
    # A kidney goes 0.65 of the liver's way.
    liver, kidney = (
        _errors("free-breathing", LujanMotion(peak), anatomy, plan, route, patients)[:, 0].mean()
        for peak in (15.0, 0.65 * 15.0)
    )
    assert kidney < 0.85 * liver


def test_strategies_have_names() -> None:
    for name in STRATEGIES:
        assert strategy_name(make_strategy(name)) == name
    gating = make_strategy("amplitude-gating", 3.0)
    assert isinstance(gating, AmplitudeGating) and gating.gate.tolerance_mm == 3.0
    with pytest.raises(OptionError, match="choose one of free-breathing"):
        make_strategy("hope")
