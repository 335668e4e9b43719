"""From a case to its anatomy: one surface a structure, and the surface that needles enter through."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.entry import solid_skin, substitute_surface
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.anatomy.surface_nets import surfaces_from_mask
from needleplan.case.model import Case, Role, Structure
from needleplan.errors import CaseError, GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask

#: Entries keep this distance from a face that only the edge of the image made: beyond it the tissue is unknown.
CUT_FACE_CLEARANCE_MM = 10.0


def build_surface(structure: Structure, cranial: FloatArray) -> StructureSurface:
    """The surface of one structure.

    A mesh is taken as it is. Of a mask, targets and obstacles keep the boundary of their voxels, so that nothing of
    what was segmented lies outside the surface that clearances and margins are measured to; skin and organs, whose
    normals matter more than half a voxel, are smoothed.

    Args:
        structure: the structure.
        cranial: (3,) unit vector towards the head.

    Raises:
        GeometryError: the surface is empty or encloses no volume.
    """
    geometry = structure.geometry
    smooth: SurfaceMesh | None = None
    if isinstance(geometry, VoxelMask):
        mask = solid_skin(geometry, cranial) if structure.role is Role.SKIN else geometry
        surfaces = surfaces_from_mask(mask)
        cut = surfaces.cut_faces
        if structure.role.is_obstacle or structure.role is Role.TARGET:
            mesh, error_mm, smooth = surfaces.boundary, 0.0, surfaces.smooth
        else:
            mesh, error_mm = surfaces.smooth, surfaces.smoothing_error_mm
    else:
        mesh, cut, error_mm = geometry, np.zeros(len(geometry.faces), dtype=bool), 0.0
    if not mesh.volume_mm3 > 0:
        raise GeometryError(
            f"structure {structure.name!r} encloses {mesh.volume_mm3:.3g} mm3: its surface must be closed and "
            "face outward"
        )
    return StructureSurface(structure.name, structure.role, mesh, structure.clearance_mm, cut, error_mm, smooth)


def build_anatomy(case: Case, progress: Callable[[str, float], None] | None = None) -> Anatomy:
    """Surfaces of all structures of a case, and its entry surface.

    Args:
        case: the checked case.
        progress: called with the name of each structure and the fraction done.

    Raises:
        CaseError: there is neither a skin nor a stated substitute, or no face is left for an entry.
    """
    built = []
    for index, structure in enumerate(case.structures):
        if progress:
            progress(structure.name, index / len(case.structures))
        built.append(build_surface(structure, case.cranial))
    surfaces = tuple(built)
    draft = Anatomy(case, surfaces, surfaces[0], np.zeros(0, dtype=bool))
    skins = [surface for surface in surfaces if surface.role is Role.SKIN]
    if skins:
        entry = skins[0]
    elif case.entry_substitute is not None:
        target = draft.target.mesh
        mesh = substitute_surface(
            case.entry_substitute,
            surfaces,
            case.structures,
            draft.axes,
            np.asarray(target.vertices_mm.mean(axis=0)),
        )
        entry = StructureSurface("entry surface", Role.SKIN, mesh, None, np.zeros(len(mesh.faces), dtype=bool), 0.0)
    else:
        raise CaseError(
            f"case {case.name}: there is no structure with the role skin; add one or state an [entry] surface"
        )
    allowed = _away_from_cuts(entry)
    regions = [surface for surface in surfaces if surface.role is Role.ENTRY_REGION]
    if regions:
        allowed &= _inside_any([region.mesh for region in regions], entry.mesh)
    if not allowed.any():
        raise CaseError(
            f"case {case.name}: no part of {entry.name!r} is left for an entry; the entry region misses the skin "
            "or the image cuts all of it"
        )
    if progress:
        progress("done", 1.0)
    return Anatomy(case, surfaces, entry, allowed)


def _away_from_cuts(entry: StructureSurface) -> NDArray[np.bool_]:
    """Faces that are anatomy and lie at least CUT_FACE_CLEARANCE_MM from every cut face."""
    if not entry.cut_faces.any():
        return np.ones(len(entry.mesh.faces), dtype=bool)
    from scipy.spatial import cKDTree

    centres = entry.mesh.face_centres_mm
    distance, _ = cKDTree(centres[entry.cut_faces]).query(centres, distance_upper_bound=CUT_FACE_CLEARANCE_MM)
    return ~np.isfinite(distance)


def _inside_any(regions: list[SurfaceMesh], skin: SurfaceMesh) -> NDArray[np.bool_]:
    from needleplan.anatomy.tree import MeshTree

    centres = skin.face_centres_mm
    inside = np.zeros(len(centres), dtype=bool)
    for region in regions:
        inside |= MeshTree(region).contains(centres)
    return inside
