"""The pictures of a film, rendered by VTK without a display: the room with arm and patient, and the target.

One window holds both views. The arm stands as PyBullet's link poses say, every structure is displaced by its share
of the breathing, and the skin is bent smoothly where the simulation moves two rigid halves.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.static import StaticMotion
from needleplan.plan import Insertion
from needleplan.viz.offscreen import RenderingError, polydata
from needleplan.viz.palette import needle_color, rgb
from robots.frames import PatientPlacement
from sim.film_shapes import (
    fit_camera,
    frame_with_y,
    is_needle,
    make_renderer,
    output_of,
    shape_data,
    shape_extent,
    solid_actor,
    tissue_actor,
    vtk_matrix,
)
from sim.patient import REGION_ROLES, PatientSurfaces
from sim.recorder import SceneRecorder, SceneState, VisualShape

#: A needle of true diameter would be thinner than a pixel: in the view of the room it is at least this thick.
_NEEDLE_RADIUS_M = 0.0016
#: Colours of the room.
_TABLE, _MATTRESS, _FLOOR, _CART = "#8f9aa8", "#44566b", "#262d38", "#4a515c"
#: Translucent hulls are drawn in this order, from the inside out, each with its front faces alone: that is the
#: right order for hulls inside each other, at a third of the time that sorting every pixel takes.
_HULLS = (Role.TARGET, Role.VESSEL, Role.CRITICAL, Role.BOWEL, Role.AIRWAY, Role.ORGAN, Role.LUNG, Role.BONE)


class FilmScene:
    """The scene of a film, posed frame by frame."""

    def __init__(
        self,
        anatomy: Anatomy,
        placement: PatientPlacement,
        recorder: SceneRecorder,
        insertions: Sequence[Insertion],
        size: tuple[int, int],
        room_share: float,
        detail_share: float,
    ) -> None:
        """Build both views.

        Args:
            anatomy: the patient.
            placement: how the patient lies.
            recorder: what the rehearsal recorded; the camera is set so that it sees the arm at all times.
            insertions: as planned; their paths are drawn close to the target.
            size: (width, height) of the whole picture in pixels.
            room_share: share of the width that the room takes, on the left.
            detail_share: share of the height that the close view takes, at the upper right.

        Raises:
            OptionError: the recorder saw no rehearsal.
        """
        if recorder.patient is None or not recorder.states:
            raise OptionError("no film can be made: the rehearsal recorded nothing")
        # A window class forced through the API segfaults off screen; the variable chooses it safely.
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        from vtkmodules.vtkRenderingCore import vtkRenderWindow
        from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLRenderer  # noqa: F401  registers the OpenGL classes

        self._size = size
        self._placement = placement
        self._tissue = TissueMotion(anatomy, StaticMotion())
        self._links: list[tuple[str, FloatArray, Any]] = []
        self._organs: list[tuple[float, Any]] = []
        self._carried: list[tuple[int, _Shifted]] = []
        self._window: Any = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(*size)
        room, detail = (
            make_renderer((0.0, 0.0, room_share, 1.0)),
            make_renderer((room_share, 1.0 - detail_share, 1.0, 1.0)),
        )
        self._window.AddRenderer(room)
        self._window.AddRenderer(detail)
        self._add_furniture(room, recorder.states)
        self._add_arm(room, recorder.shapes, thick_needle=True)
        self._add_arm(detail, [shape for shape in recorder.shapes if is_needle(shape)], thick_needle=False)
        self._aim_detail(detail, anatomy, insertions)
        self._add_patient(room, anatomy, recorder.patient)
        self._add_neighbourhood(detail, anatomy)
        self._add_paths(detail, insertions)
        self._aim_room(room, anatomy, recorder, insertions)
        for renderer in (room, detail):
            renderer.ResetCameraClippingRange()

    def close(self) -> None:
        """Give back the window's memory."""
        self._window.Finalize()

    def render(self, state: SceneState) -> NDArray[np.uint8]:
        """(height, width, 3) picture of one state; raises RenderingError where VTK cannot draw off screen."""
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        for link, pose, actor in self._links:
            actor.SetUserMatrix(vtk_matrix(state.link_poses[link] @ pose))
        shift = self._placement.displacement_to_world(state.displacement_mm)
        for fraction, actor in self._organs:
            actor.SetPosition(*(fraction * shift))
        for order, path in self._carried:
            path.place(shift, visible=order == state.needle)
        rise = self._tissue.skin_mm(self._skin_mm, state.displacement_mm)
        self._skin_points[:] = self._placement.points_to_world(self._skin_mm + rise)
        self._skin_data.GetPoints().Modified()
        self._window.Render()
        width, height = self._size
        pixels = vtkUnsignedCharArray()
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 1, pixels)
        values = vtk_to_numpy(pixels)
        if values.size != width * height * 4:
            raise RenderingError(
                "films cannot be drawn here: VTK found neither EGL nor a display, install libegl1 and "
                "libgl1-mesa-dri"
            )
        return np.array(values.reshape(height, width, 4)[::-1, :, :3])

    def _add_furniture(self, room: Any, states: Sequence[SceneState]) -> None:
        from vtkmodules.vtkFiltersSources import vtkCubeSource

        low, high = self._placement.table.box_m
        floor = -self._placement.table.height_m
        base = states[0].link_poses[next(iter(states[0].link_poses))][:3, 3]
        middle = np.array([0.0, (low[1] + high[1]) / 2])
        boxes = [
            (np.array([low[0], low[1], low[2]]), np.array([high[0], high[1], -0.03]), _TABLE),
            (
                np.array([low[0] + 0.02, low[1] + 0.02, -0.03]),
                np.array([high[0] - 0.02, high[1] - 0.02, 0.0]),
                _MATTRESS,
            ),
            (np.array([-0.16, middle[1] - 0.35, floor]), np.array([0.16, middle[1] + 0.35, low[2]]), _CART),
            (np.array([-2.2, -2.6, floor - 0.02]), np.array([2.2, 2.6, floor]), _FLOOR),
        ]
        if base[2] > floor + 0.01:
            half = np.array([0.13, 0.13])
            boxes.append((np.append(base[:2] - half, floor), np.append(base[:2] + half, base[2]), _CART))
        for corner, opposite, color in boxes:
            source = vtkCubeSource()
            source.SetBounds(*np.stack([corner, opposite], axis=1).ravel())
            room.AddActor(solid_actor(output_of(source), rgb(color), specular=0.1))

    def _add_arm(self, renderer: Any, shapes: Sequence[VisualShape], thick_needle: bool) -> None:
        for shape in shapes:
            output = shape_data(shape, _NEEDLE_RADIUS_M if thick_needle else 0.0)
            actor = solid_actor(output, shape.color, specular=0.35)
            renderer.AddActor(actor)
            self._links.append((shape.link, shape.pose, actor))

    def _add_patient(self, room: Any, anatomy: Anatomy, patient: PatientSurfaces) -> None:
        rigid = [part for part in patient.parts if part.surface is not anatomy.entry]
        for part in sorted(rigid, key=lambda part: _HULLS.index(part.surface.role)):
            actor = tissue_actor(self._world_data(part.mesh), part.surface)
            room.AddActor(actor)
            self._organs.append((part.fraction, actor))
        from vtkmodules.util.numpy_support import vtk_to_numpy

        self._skin_mm = np.array(patient.skin.vertices_mm)
        self._skin_data = self._world_data(patient.skin)
        self._skin_points = vtk_to_numpy(self._skin_data.GetPoints().GetData())
        room.AddActor(tissue_actor(self._skin_data, anatomy.entry))

    def _add_neighbourhood(self, detail: Any, anatomy: Anatomy) -> None:
        """What the close view sees, in full resolution: thin vessels do not survive having their faces reduced."""
        camera = detail.GetActiveCamera()
        view = np.asarray(camera.GetDirectionOfProjection())
        focus = np.asarray(camera.GetFocalPoint())
        reach = 2.2 * camera.GetParallelScale()
        shares = self._tissue.shares
        left_out = REGION_ROLES | {Role.SKIN, Role.BONE, Role.LUNG}
        shown = [surface for surface in anatomy.surfaces if surface.role not in left_out]
        for surface in sorted(shown, key=lambda surface: _HULLS.index(surface.role)):
            offset = self._placement.points_to_world(surface.mesh.vertices_mm) - focus
            across = np.linalg.norm(offset - np.outer(offset @ view, view), axis=1)
            faces = surface.mesh.faces[(across[surface.mesh.faces] < reach).all(axis=1)]
            if len(faces) == 0:
                continue
            # The tumour lets the needle's tip inside it be seen.
            opacity = 0.4 if surface.role is Role.TARGET else None
            data = self._world_data(SurfaceMesh(surface.drawn_mesh.vertices_mm, faces))
            actor = tissue_actor(data, surface, opacity)
            detail.AddActor(actor)
            self._organs.append((shares[surface.name].fraction, actor))

    def _world_data(self, mesh: SurfaceMesh) -> Any:
        """The mesh in world metres with smooth normals, as vtkPolyData."""
        from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

        normals = vtkPolyDataNormals()
        normals.SetInputData(polydata(SurfaceMesh(self._placement.points_to_world(mesh.vertices_mm), mesh.faces)))
        normals.SplittingOff()
        normals.ConsistencyOff()
        normals.Update()
        return normals.GetOutput()

    def _add_paths(self, detail: Any, insertions: Sequence[Insertion]) -> None:
        """Planned paths and tips; they belong to the target and move with it."""
        from vtkmodules.vtkFiltersSources import vtkCylinderSource, vtkSphereSource

        for insertion in insertions:
            color = rgb(needle_color(insertion.order))
            tip = self._placement.points_to_world(insertion.tip_mm)
            out = -self._placement.directions_to_world(insertion.direction)
            ball = vtkSphereSource()
            ball.SetCenter(*tip)
            ball.SetRadius(0.0022)
            ball.SetThetaResolution(20)
            ball.SetPhiResolution(20)
            self._carry(detail, insertion.order, solid_actor(output_of(ball), color, specular=0.2), np.eye(4))
            # A dashed line, so that it is not taken for the needle.
            for start in np.arange(0.006, min(insertion.depth_mm * 1e-3, 0.06), 0.006):
                rod = vtkCylinderSource()
                rod.SetRadius(0.0005)
                rod.SetHeight(0.003)
                actor = solid_actor(output_of(rod), color, specular=0.0)
                matrix = np.eye(4)
                matrix[:3, :3] = frame_with_y(out)
                matrix[:3, 3] = tip + (start + 0.0015) * out
                self._carry(detail, insertion.order, actor, matrix)

    def _carry(self, detail: Any, order: int, actor: Any, pose: FloatArray) -> None:
        detail.AddActor(actor)
        self._carried.append((order, _Shifted(actor, pose)))

    def _aim_room(
        self, room: Any, anatomy: Anatomy, recorder: SceneRecorder, insertions: Sequence[Insertion]
    ) -> None:
        """Look from the patient's feet and from the side away from the arm, a little down."""
        states = recorder.states[:: max(1, len(recorder.states) // 60)]
        arm = np.concatenate([shape_extent(shape, state) for state in states for shape in recorder.shapes])
        skin = self._placement.points_to_world(anatomy.entry.mesh.vertices_mm[::11])
        entries = [self._placement.points_to_world(i.entry_mm) for i in insertions]
        centre = self._placement.points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
        near = skin[np.abs(skin[:, 1] - centre[1]) < 0.22]
        points = np.concatenate([arm, near, *(e[None] for e in entries)])
        side = 1.0 if arm[:, 0].mean() < 0 else -1.0
        direction = unit_vector([0.62 * side, -0.85, 0.62])
        camera = room.GetActiveCamera()
        camera.SetViewUp(0.0, 0.0, 1.0)
        camera.SetViewAngle(26.0)
        viewport = room.GetViewport()
        aspect = self._size[0] * (viewport[2] - viewport[0]) / self._size[1]
        focus, distance = fit_camera(points, direction, np.array([0.0, 0.0, 1.0]), 26.0, aspect)
        camera.SetFocalPoint(*focus)
        camera.SetPosition(*(focus + distance * direction))

    def _aim_detail(self, detail: Any, anatomy: Anatomy, insertions: Sequence[Insertion]) -> None:
        """Look at the target across the needles, the head up as far as it goes."""
        from needleplan.viz.viewpoint import choose_direction

        opaque = [s for s in anatomy.surfaces if s.role in (Role.VESSEL, Role.CRITICAL, Role.BOWEL)]
        direction = self._placement.directions_to_world(choose_direction(anatomy, insertions, hiding=opaque))
        focus = self._placement.points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
        up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
        size = float(np.ptp(anatomy.target.mesh.vertices_mm, axis=0).max()) * 1e-3
        camera = detail.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetParallelScale(max(0.035, 1.1 * size))
        camera.SetFocalPoint(*focus)
        camera.SetPosition(*(focus + 1.0 * np.asarray(direction)))
        camera.SetViewUp(*up)


class _Shifted:
    """An actor with a pose of its own that is shifted in world axes."""

    def __init__(self, actor: Any, pose: FloatArray) -> None:
        self._actor, self._pose = actor, pose

    def place(self, shift: FloatArray, visible: bool) -> None:
        """Shift it by ``shift`` (3,) in metres from its own pose."""
        matrix = self._pose.copy()
        matrix[:3, 3] += shift
        self._actor.SetUserMatrix(vtk_matrix(matrix))
        self._actor.SetVisibility(visible)
