"""The patient's surfaces as the simulation uses them: fewer faces, and each with its share of the breathing."""

from dataclasses import dataclass

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.motion.attenuation import TissueMotion

#: Roles that are regions in space and not tissue: the simulation leaves them away.
REGION_ROLES = frozenset({Role.ENTRY_REGION, Role.NO_GO, Role.ALLOWED})


@dataclass(frozen=True, slots=True, eq=False)
class PatientPart:
    """One moving piece of the patient.

    Attributes:
        name: the structure's name; the skin comes as an upper part that breathes and a lower part that rests.
        surface: the structure it was made from.
        mesh: its simplified surface, patient LPS mm, at end-exhale.
        fraction: share of the target's displacement; for the skin 0, it follows ``skin_rise``.
        skin_rise: mean of the skin's share over this part; 0 for everything else.
    """

    name: str
    surface: StructureSurface
    mesh: SurfaceMesh
    fraction: float
    skin_rise: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class PatientSurfaces:
    """The patient as the simulation and its films use it.

    Attributes:
        parts: rigid pieces.
        skin: the simplified entry surface in one piece, which a film bends.
    """

    parts: tuple[PatientPart, ...]
    skin: SurfaceMesh


#: Meshes of more faces are binned before they are decimated, in bins of this size.
FINE_FACES = 40_000
BIN_MM = 2.5


def simplified(mesh: SurfaceMesh, faces: int) -> SurfaceMesh:
    """``mesh`` with about ``faces`` faces by quadric decimation (VTK); the mesh itself where it has no more.

    Vertices of very fine meshes are first drawn together in bins of ``BIN_MM``, which takes a hundredth of the time
    and is well below what the simulation shows.
    """
    if len(mesh.faces) <= faces:
        return mesh
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
    from vtkmodules.vtkFiltersCore import vtkBinnedDecimation, vtkQuadricDecimation

    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices_mm), deep=True))
    count = len(mesh.faces)
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.arange(0, 3 * count + 1, 3, dtype=np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(mesh.faces, dtype=np.int64).ravel(), deep=True),
    )
    data.SetPoints(points)
    data.SetPolys(cells)
    if count > FINE_FACES:
        low, high = mesh.bounds_mm
        bins = vtkBinnedDecimation()
        bins.SetInputData(data)
        bins.AutoAdjustNumberOfDivisionsOff()
        bins.SetNumberOfDivisions(*(int(n) for n in np.maximum(2, np.ceil((high - low) / BIN_MM))))
        bins.Update()
        data = bins.GetOutput()
        count = data.GetNumberOfPolys()
    decimation = vtkQuadricDecimation()
    decimation.SetInputData(data)
    decimation.SetTargetReduction(max(0.0, 1.0 - faces / count))
    decimation.VolumePreservationOn()
    decimation.Update()
    output = decimation.GetOutput()
    vertices = vtk_to_numpy(output.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(output.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return SurfaceMesh(vertices, triangles.astype(np.int32))


def patient_surfaces(anatomy: Anatomy, tissue: TissueMotion, faces_per_structure: int = 3000) -> PatientSurfaces:
    """The pieces of the patient that the simulation moves.

    Rigid bodies cannot bend, so the skin is cut at mid height into a part that breathes with the mean share of
    its vertices and a part that rests on the table.

    Args:
        anatomy: the patient; its entry surface takes part also where it only stands in for a skin.
        tissue: shares of the breathing.
        faces_per_structure: largest number of faces of one structure; vessels of many branches need the most.
    """
    shares = tissue.shares
    parts: list[PatientPart] = []
    surfaces = [s for s in anatomy.surfaces if s.role not in REGION_ROLES and s.role is not Role.SKIN]
    for surface in surfaces:
        mesh = simplified(surface.drawn_mesh, faces_per_structure)
        parts.append(PatientPart(surface.name, surface, mesh, shares[surface.name].fraction))
    skin = simplified(anatomy.entry.mesh, faces_per_structure)
    rise = tissue.skin_share(skin.vertices_mm)
    upper = rise[skin.faces].mean(axis=1) > 0.0
    for label, chosen in (("upper", upper), ("lower", ~upper)):
        if chosen.any():
            used, faces = np.unique(skin.faces[chosen], return_inverse=True)
            mesh = SurfaceMesh(skin.vertices_mm[used], faces.reshape(-1, 3))
            share = float(rise[used].mean()) if label == "upper" else 0.0
            parts.append(PatientPart(f"{anatomy.entry.name}, {label} part", anatomy.entry, mesh, 0.0, share))
    return PatientSurfaces(tuple(parts), skin)
