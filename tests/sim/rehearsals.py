"""Rehearsals of the made patient for tests: without noise, without mechanics, or with all of it."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from needleplan.anatomy.model import Anatomy
from needleplan.frames import FloatArray
from needleplan.motion.contract import RespiratoryMotion
from sim.compensation.contract import MotionCompensation
from sim.controller_options import ControllerOptions
from sim.options import RehearsalOptions
from sim.patient import PatientSurfaces
from sim.rehearse import prepare_patient
from sim.strategies import make_strategy
from sim.target_sensing import SensingOptions
from sim.tissue_needle import NeedleMechanics
from sim.tracking_camera import CameraOptions

FEW_FACES = RehearsalOptions(sample_s=0.1, faces_per_structure=400, check_clearance=False, contact_s=1.0)
#: Nothing is noisy, late, bent or pushed.
IDEAL = dataclasses.replace(
    FEW_FACES,
    sensing=SensingOptions.perfect(),
    camera=CameraOptions.perfect(),
    mechanics=NeedleMechanics.rigid(),
    follow_structures=False,
)
FREE = make_strategy("free-breathing")


def ideal(strategy: MotionCompensation = FREE, **changes: object) -> RehearsalOptions:  # type: ignore[type-arg]
    return dataclasses.replace(IDEAL, strategy=strategy, **changes)  # type: ignore[arg-type]


def real(strategy: MotionCompensation = FREE, **changes: object) -> RehearsalOptions:  # type: ignore[type-arg]
    return dataclasses.replace(FEW_FACES, strategy=strategy, contact_s=0.1, **changes)  # type: ignore[arg-type]


def controlled(options: RehearsalOptions, **changes: object) -> RehearsalOptions:
    """The options with others of the controller."""
    return dataclasses.replace(options, controller=dataclasses.replace(options.controller, **changes))  # type: ignore[arg-type]


class ConstantOffset(RespiratoryMotion):
    """The target is displaced for ever, as when a patient holds the breath at the wrong moment."""

    def __init__(self, offset_mm: ArrayLike = (2.0, -3.0, -6.0)) -> None:
        self.offset_mm = np.asarray(offset_mm, dtype=np.float64)

    @property
    def name(self) -> str:
        return "offset"

    @property
    def period_s(self) -> float:
        return 4.0

    @property
    def span_s(self) -> float:
        return 4.0

    @property
    def speed_bound_mm_s(self) -> float:
        return 0.0

    def displacement_mm(self, time_s: ArrayLike) -> FloatArray:
        return np.broadcast_to(self.offset_mm, (*np.shape(time_s), 3)).copy()


class Patients:
    """Prepared patients, each made once for a motion."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._made: dict[str, PatientSurfaces] = {}

    def __call__(self, motion: RespiratoryMotion) -> PatientSurfaces:
        if motion.name not in self._made:
            self._made[motion.name] = prepare_patient(self._anatomy, motion, FEW_FACES)
        return self._made[motion.name]


__all__ = ["FREE", "IDEAL", "ConstantOffset", "ControllerOptions", "Patients", "controlled", "ideal", "real"]
