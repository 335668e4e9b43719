"""How every surface of a scene lies at end-inhale: what the breathing slider of a page scales."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.app.page.scene_values import SceneValue, packed
from needleplan.case.model import Role
from needleplan.errors import MotionError
from needleplan.frames import FloatArray
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.lujan import LujanMotion, inhalation_direction
from needleplan.outcome import Outcome

#: Displacements are told in whole steps of this.
BREATH_STEP_MM = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class SceneBreath:
    """The patient between end-exhale, at which he was planned, and end-inhale.

    Attributes:
        label: the breathing model.
        period_s: length of a breath.
        note: where the motion is from, and how the tissue follows it.
        of_structure: displacement (n, 3) at end-inhale of vertices of a structure.
        of_target: displacement (n, 3) at end-inhale of points that lie in or about the target.
    """

    label: str
    period_s: float
    note: str
    of_structure: Callable[[StructureSurface, SurfaceMesh], FloatArray]
    of_target: Callable[[FloatArray], FloatArray]

    def value(self) -> dict[str, SceneValue]:
        """What the scene says of it."""
        return {"label": self.label, "period_s": round(self.period_s, 3), "note": self.note}


def breath_of(anatomy: Anatomy, outcomes: Sequence[Outcome] = (), *, deforming: bool = True) -> SceneBreath:
    """The breath of a scene: that of the first rehearsal, or a regular one of 15 mm in 4 s where there is none.

    Args:
        anatomy: the patient.
        outcomes: rehearsals; the first one's breathing is shown.
        deforming: True moves the body as in a rehearsal, where organs deform and slide along the chest wall; False
            moves each structure as one rigid piece by its share of the target's way, which is known at once.
    """
    usual = LujanMotion(direction=inhalation_direction(anatomy.case))
    inhale, label, period_s = usual.peak_mm * np.asarray(usual.direction), usual.name, usual.period_s
    words = "No rehearsal was made: a regular breath is assumed."
    rehearsed = next((o for o in outcomes if len(o.trace.time_s) > 1), None)
    if rehearsed is not None:
        moved = np.asarray(rehearsed.trace.displacement_mm, dtype=np.float64)
        inhale = moved[int(np.argmax(np.linalg.norm(moved, axis=1)))]
        label = rehearsed.motion
        period_s = rehearsed.duration_s / rehearsed.breaths if rehearsed.breaths >= 1 else usual.period_s
        words = f"End-inhale is the farthest that the target went in the rehearsal ({rehearsed.strategy})."
    words += f" The target then lies {np.linalg.norm(inhale):.1f} mm away."
    if deforming:
        try:
            state = BodyMotion(anatomy, usual).at(inhale)
        except MotionError as error:
            return _rigid(anatomy, usual, inhale, label, period_s, f"{words} The body was not deformed: {error}.")
        return SceneBreath(
            label, period_s,
            f"{words} Organs deform and slide along the chest wall as in a rehearsal; positions between are in "
            "proportion. Needles are drawn where they are planned, at end-exhale.",
            lambda surface, mesh: state.moved(surface, mesh).vertices_mm - mesh.vertices_mm,
            lambda points: state.carry(points, True) - points,
        )  # fmt: skip
    return _rigid(anatomy, usual, inhale, label, period_s, words)


def _rigid(
    anatomy: Anatomy, motion: LujanMotion, inhale_mm: FloatArray, label: str, period_s: float, words: str
) -> SceneBreath:
    tissue = TissueMotion(anatomy, motion)
    shares = tissue.shares

    def of_structure(surface: StructureSurface, mesh: SurfaceMesh) -> FloatArray:
        if surface.role is Role.SKIN:
            return tissue.skin_mm(mesh.vertices_mm, inhale_mm)
        return np.broadcast_to(shares[surface.name].fraction * inhale_mm, mesh.vertices_mm.shape)

    return SceneBreath(
        label, period_s,
        f"{words} Each structure moves as one rigid piece by its share of the target's way. Needles are drawn "
        "where they are planned, at end-exhale.",
        of_structure,
        lambda points: np.broadcast_to(inhale_mm, points.shape),
    )  # fmt: skip


def breath_values(displacement_mm: FloatArray) -> dict[str, SceneValue]:
    """The keys ``breath`` and ``breath_step_mm`` of a body; none where it rests."""
    largest = float(np.abs(displacement_mm).max(initial=0.0))
    if largest < BREATH_STEP_MM:
        return {}
    step = max(BREATH_STEP_MM, largest / 32_767)
    return {"breath": packed(np.rint(displacement_mm / step).astype(np.int16)), "breath_step_mm": step}
