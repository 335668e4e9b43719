"""The needles of a film, bent as they are, and the paths that were planned for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.frames import FloatArray, unit_vector
from needleplan.motion.body_motion import BodyMotion, BodyState
from needleplan.plan import Insertion
from needleplan.viz.palette import NEEDLE, needle_color, rgb
from robots.frames import PatientPlacement
from sim.film_shapes import shape_extent, solid_actor
from sim.recorder import SceneState, VisualShape

#: Hub of a needle, for drawing alone: length and radius.
_HUB_LENGTH_M, _HUB_RADIUS_M = 0.035, 0.0075
#: Dashes of a planned path: length, distance from one to the next, and how far out of the tip they are drawn.
_DASH_MM, _EVERY_MM, _PATH_MM = 3.0, 6.0, 90.0
_DASH_RADIUS_M, _BALL_RADIUS_M = 0.0005, 0.0022
#: Points of a line that are closer than this are one: a tube needs a direction.
_SAME_POINT_M = 1e-6


class Tubes:
    """Lines in one view that are drawn as round rods of one colour and replaced in every frame."""

    def __init__(self, renderer: Any, color: str, radius_m: float, specular: float) -> None:
        from vtkmodules.vtkCommonDataModel import vtkPolyData
        from vtkmodules.vtkFiltersCore import vtkTubeFilter

        self._data: Any = vtkPolyData()
        tube = vtkTubeFilter()
        tube.SetInputData(self._data)
        tube.SetRadius(radius_m)
        tube.SetNumberOfSides(16)
        tube.CappingOn()
        self._actor = solid_actor(self._data, rgb(color), specular)
        self._actor.GetMapper().SetInputConnection(tube.GetOutputPort())
        renderer.AddActor(self._actor)
        self.place([])

    def place(self, lines_m: Sequence[FloatArray]) -> None:
        """Draw these lines, each (k, 3) in world metres; none hides the rods."""
        from vtkmodules.util.numpy_support import numpy_to_vtk
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray

        lines = [line for line in map(_without_repeats, lines_m) if len(line) > 1]
        self._actor.SetVisibility(bool(lines))
        if not lines:
            return
        points, cells = vtkPoints(), vtkCellArray()
        points.SetData(numpy_to_vtk(np.ascontiguousarray(np.concatenate(lines)), deep=True))
        first = 0
        for line in lines:
            cells.InsertNextCell(len(line))
            for index in range(first, first + len(line)):
                cells.InsertCellPoint(index)
            first += len(line)
        self._data.SetPoints(points)
        self._data.SetLines(cells)
        self._data.Modified()


class DrawnNeedles:
    """All needles of a rehearsal in one view: that in the guide and those left in the patient."""

    def __init__(
        self,
        renderer: Any,
        placement: PatientPlacement,
        needle: VisualShape | None,
        orders: Sequence[int],
        radius_m: float,
        hubs: bool,
    ) -> None:
        """Make what is needed for the needles of these ``orders``.

        Args:
            renderer: the view.
            placement: how the patient lies.
            needle: the arm's visual shape of the needle; None where it has none.
            orders: numbers of all insertions.
            radius_m: of the drawn shaft.
            hubs: True to draw each needle's hub in its colour.
        """
        self._placement, self._needle = placement, needle
        self._shafts = {order: Tubes(renderer, NEEDLE, radius_m, specular=0.6) for order in orders}
        colors = {order: needle_color(order) for order in orders if hubs}
        self._hubs = {order: Tubes(renderer, color, _HUB_RADIUS_M, 0.3) for order, color in colors.items()}

    def pose(self, state: SceneState, shafts_mm: Sequence[tuple[int, FloatArray]]) -> None:
        """Draw the needles where they are now.

        Args:
            state: its needle is drawn straight in the arm's guide where it is not among the others.
            shafts_mm: order and (k, 3) polyline, patient LPS, of those in tissue.
        """
        lines = {order: self._whole(self._placement.points_to_world(line)) for order, line in shafts_mm}
        if self._needle is not None and state.needle not in lines:
            lines[state.needle] = shape_extent(self._needle, state)
        for order, shaft in self._shafts.items():
            shaft.place([lines[order]] if order in lines else [])
        for order, hub in self._hubs.items():
            hub.place([_hub_line(lines[order])] if order in lines else [])

    def _whole(self, shaft: FloatArray) -> FloatArray:
        """A shaft (k, 3) that begins at the guide, lengthened backwards to the needle's full length."""
        bent = _without_repeats(shaft)
        if self._needle is None or len(bent) < 2:
            return bent
        missing = self._needle.size_m[0] - float(np.linalg.norm(np.diff(bent, axis=0), axis=1).sum())
        if missing <= _SAME_POINT_M:
            return bent
        return np.vstack([bent[0] + missing * unit_vector(bent[0] - bent[1]), bent])


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """A planned path.

    Attributes:
        points_mm: (2 n + 1, 3) ends of its dashes, and last its tip, in the body at rest.
        inside: (2 n + 1,) True for those that slide within the chest wall.
        rods: draw the dashes.
        ball: draws the tip.
    """

    points_mm: FloatArray
    inside: NDArray[np.bool_]
    rods: Tubes
    ball: Any


class PlannedPaths:
    """Planned paths near their tips, dashed so that none is taken for a needle; they belong to the tissue."""

    def __init__(
        self, renderer: Any, placement: PatientPlacement, body: BodyMotion, insertions: Sequence[Insertion]
    ) -> None:
        """Draw the paths of ``insertions``; two of the same order are two paths of one needle."""
        from vtkmodules.vtkFiltersSources import vtkSphereSource

        self._placement = placement
        self._paths: list[tuple[Insertion, _Path]] = []
        for insertion in insertions:
            color = needle_color(insertion.order)
            back = np.arange(_EVERY_MM, min(insertion.depth_mm, _PATH_MM) - _DASH_MM, _EVERY_MM)
            along = np.stack([back, back + _DASH_MM], axis=1).ravel()
            points = np.asarray(insertion.tip_mm) - np.append(along, 0.0)[:, None] * insertion.direction
            inside = body.within_wall(points)
            inside[1:-1:2] = inside[0:-1:2]  # no dash is torn where the tissue slides along the wall
            ball = vtkSphereSource()
            ball.SetRadius(_BALL_RADIUS_M)
            ball.SetThetaResolution(20)
            ball.SetPhiResolution(20)
            ball.Update()
            actor = solid_actor(ball.GetOutput(), rgb(color), specular=0.2)
            renderer.AddActor(actor)
            rods = Tubes(renderer, color, _DASH_RADIUS_M, specular=0.0)
            self._paths.append((insertion, _Path(points, inside, rods, actor)))

    def pose(self, body: BodyState, shown: Sequence[Insertion]) -> None:
        """Move the paths with the tissue; those that are not among ``shown`` are hidden."""
        for insertion, path in self._paths:
            visible = any(insertion is one for one in shown)
            path.ball.SetVisibility(visible)
            lines: list[FloatArray] = []
            if visible:
                carried = self._placement.points_to_world(body.carry(path.points_mm, path.inside))
                path.ball.SetPosition(*carried[-1])
                lines = list(carried[:-1].reshape(-1, 2, 3))
            path.rods.place(lines)


def _without_repeats(line: FloatArray) -> FloatArray:
    step = np.linalg.norm(np.diff(line, axis=0), axis=1)
    return np.asarray(line[np.append(True, step > _SAME_POINT_M)])


def _hub_line(shaft: FloatArray) -> FloatArray:
    """(2, 3) the hub behind the first point of a shaft (k, 3)."""
    return np.stack([shaft[0], shaft[0] + _HUB_LENGTH_M * unit_vector(shaft[0] - shaft[1])])
