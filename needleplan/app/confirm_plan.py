"""The plan beside an ablation that is confirmed: its figures, and what ties it to the tumour that is judged."""

from pathlib import Path
from typing import Any

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.confirm_inputs import ReadMask
from needleplan.app.folder import PlanFolder
from needleplan.case.identity import CaseIdentity, difference, identity_of
from needleplan.confirmation.closed_body import ClosedBody
from needleplan.errors import CaseError, OptionError
from needleplan.grid import VoxelMask
from needleplan.io.plan_file import plan_hash
from needleplan.plan import Plan

#: A plan whose needle tips all lie farther than this from the tumour is that of another patient or frame.
_TIPS_WITHIN_MM = 100.0
#: Overlaps (Dice) of the plan's target with the tumour below which it is another one, and below which it is said.
_OVERLAP = (0.2, 0.7)


def read_planned(
    folder: Path, tumour: ReadMask, data: Path | None = None, patient_key: str | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Figures of the plan of a folder, and what a reader must know of how it belongs to the tumour.

    Args:
        folder: that ``needleplan plan`` wrote.
        tumour: the tumour in the scan before.
        data: root of the sources of the plan's case; the remembered one where None.
        patient_key: pseudonym of the patient whose scans these are; None where nobody states it.

    Raises:
        OptionError: the plan holds no insertion, or is that of another patient, frame of reference or tumour.
        PlanFileError: the plan is damaged, or its case has changed since.
    """
    plan: Plan = PlanFolder(folder).read_plan()
    if plan.metrics is None or not plan.insertions:
        raise OptionError("the plan holds no insertion, so there is nothing to hold the outcome against")
    tied, notes = _target_overlap(folder, tumour, data, patient_key)
    middle = _middle_mm(tumour.mask)
    away = min(float(np.linalg.norm(np.asarray(one.tip_mm) - middle)) for one in plan.insertions)
    if away > _TIPS_WITHIN_MM:
        raise OptionError(
            f"the plan's needles end {away:.0f} mm from the tumour: it is of another patient, tumour or frame"
        )
    metrics = plan.metrics
    figures = {
        "plan_sha256": plan_hash(plan),
        "insertions": len(plan.insertions),
        "target_overlap": tied,
        "least_margin_mm": metrics.minimal_margin_mm,
        "least_margin_error_mm": metrics.margin_error_bound_mm,
        "tumour_coverage": metrics.target_coverage_fraction,
        "margin_coverage": metrics.margin_coverage_fraction,
        "margin_mm": metrics.margin_mm,
        "zone_ml": metrics.zone_ml,
    }
    return figures, notes


def _target_overlap(
    folder: Path, tumour: ReadMask, data: Path | None, key: str | None
) -> tuple[float | None, tuple[str, ...]]:
    """Overlap (Dice) of the plan's target with the tumour, None where its case cannot be read, and notes."""
    planned = PlanFolder(folder)
    loose = "so that nothing but its needle tips, near this tumour, ties the plan to it."
    if not (folder / "source.json").is_file():
        return None, (f"The plan's folder names no case, {loose}",)
    identity = planned.read_identity()
    here = identity_of(key, tumour.frame_uid)
    other = difference(identity, here)
    if other is not None:
        raise OptionError(f"the plan was made for {other} than that of the tumour's map, so it says nothing of it")
    try:
        target = planned.load(data)[1].target.geometry
    except CaseError:
        # Why it cannot be read names paths, which are not kept.
        return None, (f"The plan's case cannot be read (--data names the root of its sources), {loose}",)
    overlap, apart_mm, target_ml = _compared(target, tumour.mask)
    tumour_ml = tumour.mask.volume_mm3 / 1000.0
    words = (
        f"the plan's target of {target_ml:.1f} ml and the tumour of {tumour_ml:.1f} ml overlap to "
        f"{overlap:.0%} (Dice), and their middles lie {apart_mm:.0f} mm apart"
    )
    if overlap < _OVERLAP[0]:
        raise OptionError(f"{words}: the plan is of another tumour, patient or frame")
    notes = []
    if overlap < _OVERLAP[1]:
        notes.append(f"{words[0].upper()}{words[1:]}.")
    if not _in_common(identity, here):
        notes.append(
            "The plan's case and the scans state no patient's key or frame of reference in common: that its target "
            "lies where the tumour does is all that ties the plan to them."
        )
    return overlap, tuple(notes)


def _in_common(planned: CaseIdentity, here: CaseIdentity) -> bool:
    """True where both state a patient, or both a frame of reference."""
    pairs = (planned.patient, here.patient), (planned.frame_of_reference, here.frame_of_reference)
    return any(None not in pair for pair in pairs)


def _compared(target: VoxelMask | SurfaceMesh, tumour: VoxelMask) -> tuple[float, float, float]:
    """Overlap (Dice) of a target with the tumour, the distance of their middles in mm, and the target's ml."""
    points = tumour.grid.to_patient(np.argwhere(tumour.inside))
    if isinstance(target, VoxelMask):
        held, middle, volume_mm3 = target.contains(points), _middle_mm(target), target.volume_mm3
    else:
        held, volume_mm3 = ClosedBody(target).contains(points), target.volume_mm3
        areas = np.linalg.norm(target.area_vectors_mm2, axis=1)
        middle = np.average(target.face_centres_mm, axis=0, weights=areas)
    shared = tumour.volume_mm3 * float(held.mean())
    apart = float(np.linalg.norm(middle - _middle_mm(tumour)))
    # Voxels of another size may make a little more of what is shared than there is.
    overlap = min(1.0, 2.0 * shared / (tumour.volume_mm3 + volume_mm3))
    return overlap, apart, volume_mm3 / 1000.0


def _middle_mm(mask: VoxelMask) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(3,) centroid of a mask."""
    return np.asarray(mask.grid.to_patient(np.argwhere(mask.inside).mean(axis=0)))
