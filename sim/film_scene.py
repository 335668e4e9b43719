"""The pictures of a film, rendered by VTK without a display: the room with arm and patient, and the target.

One window holds both views. The arm stands as PyBullet's link poses say, tissue is deformed as the breathing body
is, and the needles are bent as the rehearsal says.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Role
from needleplan.errors import OptionError
from needleplan.frames import FloatArray
from needleplan.plan import Insertion
from needleplan.viz.offscreen import RenderingError
from robots.frames import PatientPlacement
from sim.film_cameras import RoomCamera, aim_close
from sim.film_needles import DrawnNeedles, PlannedPaths
from sim.film_room import Cart, add_furniture, add_gantry
from sim.film_shapes import (
    is_needle,
    make_renderer,
    shape_data,
    solid_actor,
    vtk_matrix,
)
from sim.film_tissue import MovingTissue
from sim.patient import REGION_ROLES
from sim.recorder import SceneRecorder, SceneState, VisualShape

#: A needle of true diameter would be thinner than a pixel in the room: there it is at least this thick.
_NEEDLE_RADIUS_M = 0.0016
#: Radius of a needle where the arm has no visual shape for one.
_USUAL_RADIUS_M = 0.0009
#: Translucent hulls are drawn in this order, from the inside out, each with its front faces alone: that is the
#: right order for hulls inside each other, at a third of the time that sorting every pixel takes.
_HULLS = (Role.TARGET, Role.VESSEL, Role.CRITICAL, Role.BOWEL, Role.AIRWAY, Role.ORGAN, Role.LUNG, Role.BONE)


class FilmView(StrEnum):
    """The views of a scene."""

    ROOM = "room"  #: arm, patient and scanner
    TARGET = "target"  #: the target close by


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
            insertions: all that are planned in the course of the film.
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
        self._body = recorder.patient.body
        self._insertions = tuple(insertions)
        self._links: list[tuple[str, FloatArray, Any]] = []
        self._window: Any = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(*size)
        room = make_renderer((0.0, 0.0, room_share, 1.0))
        detail = make_renderer((room_share, 1.0 - detail_share, 1.0, 1.0))
        self._views = {FilmView.ROOM: room, FilmView.TARGET: detail}
        for renderer in self._views.values():
            self._window.AddRenderer(renderer)

        self._camera = RoomCamera(room, self._aspect(FilmView.ROOM), anatomy, placement, recorder, insertions)
        aim_close(detail, anatomy, placement, insertions)
        add_furniture(room, placement.table)
        if recorder.gantry is not None:
            add_gantry(room, recorder.gantry, self._camera.direction)
        self._base_link = next(iter(recorder.states[0].link_poses))
        base_m = recorder.states[0].link_poses[self._base_link][:3, 3]
        self._cart = Cart(room, base_m, -placement.table.height_m)
        self._add_arm(room, recorder.shapes)
        shafts = {order for state in recorder.states for order, _ in state.shafts_mm}
        orders = sorted(shafts | {state.needle for state in recorder.states})
        needle = next((shape for shape in recorder.shapes if is_needle(shape)), None)
        radius_m = _USUAL_RADIUS_M if needle is None else needle.size_m[1]
        self._needles = (
            DrawnNeedles(room, placement, needle, orders, max(radius_m, _NEEDLE_RADIUS_M), hubs=True),
            DrawnNeedles(detail, placement, needle, orders, radius_m, hubs=False),
        )
        self._paths = PlannedPaths(detail, placement, self._body.body, insertions)
        # The patient last, and the skin last of all: what is translucent is drawn over what lies within.
        self._tissue = MovingTissue(self._body.body, placement)
        shown = self._add_neighbourhood(detail, anatomy)
        rigid = [part for part in recorder.patient.parts if part.surface is not anatomy.entry]
        for part in sorted(rigid, key=lambda part: _HULLS.index(part.surface.role)):
            self._tissue.add(room, part.surface, part.mesh)
        self._tissue.add(room, anatomy.entry, recorder.patient.skin)
        self.shown_nearby: tuple[StructureSurface, ...] = shown
        detail.ResetCameraClippingRange()

    def close(self) -> None:
        """Give back the window's memory."""
        self._window.Finalize()

    def render(
        self,
        state: SceneState,
        insertions: Sequence[Insertion] | None = None,
        standing: Sequence[Insertion] = (),
        nearness: float = 0.0,
    ) -> NDArray[np.uint8]:
        """(height, width, 3) picture of one state.

        Args:
            state: what is drawn.
            insertions: whose planned paths are drawn, of those given at the beginning; None draws that of the
                needle which is being placed.
            standing: needles that stand in the patient besides those of ``state``.
            nearness: of the camera in the room: 0 sees the arm at all times, 1 guide and patient.

        Raises:
            RenderingError: VTK cannot draw off screen.
        """
        from vtkmodules.util.numpy_support import vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        for link, pose, actor in self._links:
            actor.SetUserMatrix(vtk_matrix(state.link_poses[link] @ pose))
        self._cart.place(state.link_poses[self._base_link][:3, 3])
        body = self._body.state(state.displacement_mm, state.wall_mm)
        shafts = [*state.shafts_mm, *((n.order, body.carry([n.entry_mm, n.tip_mm])) for n in standing)]
        for needles in self._needles:
            needles.pose(state, shafts)
        self._tissue.pose(body)
        self._camera.place(nearness)
        current = [i for i in self._insertions if i.order == state.needle] if insertions is None else insertions
        self._paths.pose(body, current)
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

    def pixels(self, points_mm: ArrayLike, view: FilmView) -> FloatArray:
        """(n, 2) pixels from the picture's upper left corner where points (n, 3) in patient LPS mm are drawn."""
        renderer = self._views[view]
        matrix = renderer.GetActiveCamera().GetCompositeProjectionTransformMatrix(self._aspect(view), -1.0, 1.0)
        projection = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
        world = self._placement.points_to_world(np.atleast_2d(np.asarray(points_mm, dtype=np.float64)))
        clip = np.column_stack([world, np.ones(len(world))]) @ projection.T
        share = 0.5 * (clip[:, :2] / clip[:, 3:] + 1.0)
        left, bottom, right, top = renderer.GetViewport()
        across = left + share[:, 0] * (right - left)
        up = bottom + share[:, 1] * (top - bottom)
        return np.stack([across * self._size[0], (1.0 - up) * self._size[1]], axis=1)

    def tip_depth_mm(self, state: SceneState, insertion: Insertion) -> float:
        """Depth behind its planned entry at which the needle's tip lies in the tissue; 0 outside."""
        shaft = next((line for order, line in state.shafts_mm if order == insertion.order), None)
        if shaft is None:
            return 0.0
        tip = self._body.state(state.displacement_mm, state.wall_mm).back(shaft[-1:])[0]
        return float((tip - np.asarray(insertion.entry_mm)) @ insertion.direction)

    @property
    def pixels_per_mm(self) -> float:
        """Scale of the close view, which is the same everywhere in it."""
        renderer = self._views[FilmView.TARGET]
        _, bottom, _, top = renderer.GetViewport()
        return float((top - bottom) * self._size[1] / (2e3 * renderer.GetActiveCamera().GetParallelScale()))

    def _aspect(self, view: FilmView) -> float:
        left, bottom, right, top = self._views[view].GetViewport()
        return float(self._size[0] * (right - left) / (self._size[1] * (top - bottom)))

    def _add_arm(self, room: Any, shapes: Sequence[VisualShape]) -> None:
        """Draw the arm without its needle and hub, which bend and may stay in the patient."""
        needle_links = {shape.link for shape in shapes if is_needle(shape)}
        for shape in shapes:
            if shape.link not in needle_links:
                actor = solid_actor(shape_data(shape), shape.color, specular=0.35)
                room.AddActor(actor)
                self._links.append((shape.link, shape.pose, actor))

    def _add_neighbourhood(self, detail: Any, anatomy: Anatomy) -> tuple[StructureSurface, ...]:
        """What the close view sees, in full resolution: thin vessels do not survive having their faces reduced."""
        camera = detail.GetActiveCamera()
        view = np.asarray(camera.GetDirectionOfProjection())
        focus = np.asarray(camera.GetFocalPoint())
        reach = 2.2 * camera.GetParallelScale()
        left_out = REGION_ROLES | {Role.SKIN, Role.BONE, Role.LUNG}
        shown = []
        for surface in sorted(anatomy.surfaces, key=_depth_of_hull):
            if surface.role in left_out:
                continue
            offset = self._placement.points_to_world(surface.mesh.vertices_mm) - focus
            across = np.linalg.norm(offset - np.outer(offset @ view, view), axis=1)
            faces = surface.mesh.faces[(across[surface.mesh.faces] < reach).all(axis=1)]
            if len(faces) == 0:
                continue
            # The tumour lets the needle's tip inside it be seen.
            opacity = 0.4 if surface.role is Role.TARGET else None
            self._tissue.add(detail, surface, SurfaceMesh(surface.drawn_mesh.vertices_mm, faces), opacity)
            shown.append(surface)
        return tuple(shown)


def _depth_of_hull(surface: StructureSurface) -> int:
    return _HULLS.index(surface.role) if surface.role in _HULLS else len(_HULLS)
