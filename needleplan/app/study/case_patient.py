"""The patient of a study's case: read or built, with search structures, and kept for whoever asks next."""

from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import Phantom, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.anatomy.surface_points import surface_points
from needleplan.app.study.study import StudyCase
from needleplan.case.load import load_case
from needleplan.case.model import Case, Role
from needleplan.errors import CaseError

#: Distance between points of the target's surface from which the nearest vessel is looked for.
_SPACING_MM = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class StudyPatient:
    """A patient whom all cells of a case share.

    Attributes:
        queries: search structures of the anatomy, filled as they are used.
        phantom: the built-in patient; None for one in files.
        target_ml: volume of the target.
        target_depth_mm: distance of the target's centroid from the entry surface.
        target_vessel_mm: least distance of the target's surface from a vessel; None without vessels.
    """

    queries: AnatomyQueries
    phantom: Phantom | None
    target_ml: float
    target_depth_mm: float
    target_vessel_mm: float | None


#: The last patient of this process by content: the cells of a case that is taken up again find him built.
_last: dict[str, StudyPatient] = {}


def study_patient(case: StudyCase) -> StudyPatient:
    """The patient of a case; the one that this process built last where the content is the same.

    Vessels and shapes of a built-in patient are drawn by the case's seed.

    Raises:
        NeedleplanError: he cannot be read or built.
    """
    key = _phantom_key(case)
    if key in _last:
        return _last[key]
    phantom = None if case.phantom is None else make_phantom(case.phantom, np.random.default_rng(case.seed))
    content = _case_of(case, phantom)
    key = key or content.content_hash
    if key not in _last:
        # Never two at once: a patient with his search structures may fill a worker's memory.
        _last.clear()
        _last[key] = _patient(content, phantom)
    return _last[key]


def _phantom_key(case: StudyCase) -> str:
    """What a phantom is built from; empty for a patient in files, who must be read to be known."""
    if case.phantom is None:
        return ""
    return f"{case.phantom.canonical_text}; {case.seed}; {case.voxel_mm!r}"


def _case_of(case: StudyCase, phantom: Phantom | None) -> Case:
    if phantom is not None:
        return phantom.case(case.voxel_mm)
    if case.manifest is None:
        raise CaseError(f"{case.name}: the case names neither a manifest nor a phantom")
    return load_case(case.manifest, case.data)


def _patient(content: Case, phantom: Phantom | None) -> StudyPatient:
    queries = AnatomyQueries(build_anatomy(content))
    anatomy = queries.anatomy
    target = anatomy.target.mesh
    points, _ = surface_points(target, _SPACING_MM)
    vessels = [
        float(queries.distance(vessel).signed_distance_mm(points).min())
        for vessel in anatomy.with_role(Role.VESSEL)
    ]
    corners = target.triangles_mm
    volumes = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    centroid = (corners.sum(axis=1) * volumes[:, None]).sum(axis=0) / (4.0 * volumes.sum())
    depth = queries.distance(anatomy.entry).signed_distance_mm(centroid[None, :])
    return StudyPatient(
        queries,
        phantom,
        target.volume_mm3 / 1000.0,
        abs(float(depth[0])),
        min(vessels, default=None),
    )
