"""The breathing tissue of a film: surfaces that are deformed anew for every frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.frames import FloatArray
from needleplan.motion.body_motion import BodyMotion, BodyState
from needleplan.viz.offscreen import polydata
from robots.frames import PatientPlacement
from sim.film_shapes import tissue_actor


class MovingTissue:
    """Surfaces that follow the breathing body; all their points are carried in one call."""

    def __init__(self, body: BodyMotion, placement: PatientPlacement) -> None:
        """Begin without any surface.

        Args:
            body: says which structures slide within the chest wall.
            placement: how the patient lies.
        """
        self._body = body
        self._placement = placement
        self._rest: list[FloatArray] = []
        self._inside: list[NDArray[np.bool_]] = []
        self._drawn: list[tuple[Any, Any, FloatArray]] = []

    def add(
        self, renderer: Any, surface: StructureSurface, mesh: SurfaceMesh, opacity: float | None = None
    ) -> None:
        """Draw a structure.

        Args:
            renderer: the view that shows it.
            surface: the structure.
            mesh: its surface at end-exhale, simplified or a part of it, patient LPS mm.
            opacity: instead of its usual one.
        """
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

        used, corners = np.unique(mesh.faces, return_inverse=True)
        rest = np.asarray(mesh.vertices_mm[used])
        faces = corners.reshape(-1, 3).astype(np.int32)
        data = polydata(SurfaceMesh(self._placement.points_to_world(rest), faces))
        normals = vtkPolyDataNormals()
        normals.SetInputData(data)
        normals.SplittingOff()
        normals.ConsistencyOff()
        normals.Update()
        renderer.AddActor(tissue_actor(normals.GetOutput(), surface, opacity))
        self._rest.append(rest)
        self._inside.append(np.full(len(rest), self._body.slides(surface)))
        self._drawn.append((data, normals, vtk_to_numpy(data.GetPoints().GetData())))

    def pose(self, state: BodyState) -> None:
        """Deform every surface as the body is now; its normals follow."""
        carried = state.carry(np.concatenate(self._rest), np.concatenate(self._inside))
        world = self._placement.points_to_world(carried)
        first = 0
        for data, normals, points in self._drawn:
            points[:] = world[first : first + len(points)]
            first += len(points)
            data.GetPoints().Modified()
            normals.Update()
