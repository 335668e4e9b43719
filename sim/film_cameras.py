"""The cameras of a film: one in the room, which goes near while a needle is placed, one close to the target."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from needleplan.anatomy.model import Anatomy
from needleplan.case.model import Role
from needleplan.frames import FloatArray, unit_vector
from needleplan.plan import Insertion
from robots.frames import PatientPlacement
from sim.controller_state import AT_PATIENT
from sim.film_shapes import fit_camera, shape_extent
from sim.recorder import SceneRecorder

_ANGLE_DEG = 26.0
_UP = np.array([0.0, 0.0, 1.0])
#: Of the patient, what lies within this of the target along the table is in the picture; of the arm, seen from
#: near, what comes within this of the target.
_TRUNK_M, _NEAR_M = 0.22, 0.42
#: Share of what the room shows, from below to above, that is left free below it for a banner.
_BANNER_SHARE = 0.1
#: The close view is at least so high, in both directions from its middle.
_LEAST_CLOSE_M = 0.035


class RoomCamera:
    """Looks from the patient's feet and from the side away from the arm, a little down.

    Attributes:
        direction: (3,) unit vector from what it looks at towards it, in the world.
    """

    def __init__(
        self,
        room: Any,
        aspect: float,
        anatomy: Anatomy,
        placement: PatientPlacement,
        recorder: SceneRecorder,
        insertions: Sequence[Insertion],
    ) -> None:
        """Find a view that shows the arm at all times, and a near one of guide and patient.

        Args:
            room: the renderer.
            aspect: width over height of its view.
            anatomy: the patient.
            placement: how he lies.
            recorder: where the arm is.
            insertions: their entries are in the picture.
        """
        skin = placement.points_to_world(anatomy.entry.mesh.vertices_mm[::11])
        entries = placement.points_to_world([i.entry_mm for i in insertions] or np.zeros((0, 3)))
        centre = placement.points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
        patient = np.concatenate([skin[np.abs(skin[:, 1] - centre[1]) < _TRUNK_M], entries])
        states = recorder.states[:: max(1, len(recorder.states) // 60)]
        working = [state for state in states if state.state in AT_PATIENT] or states
        arm, close = (
            np.concatenate([shape_extent(shape, state) for state in some for shape in recorder.shapes])
            for some in (states, working)
        )
        close = close[np.linalg.norm(close - centre, axis=1) < _NEAR_M]
        self.direction = unit_vector([0.62 if arm[:, 0].mean() < 0 else -0.62, -0.85, 0.62])
        self._room = room
        self._far, self._near = (
            fit_camera(
                self._above_banner(np.concatenate([shown, patient])), self.direction, _UP, _ANGLE_DEG, aspect
            )
            for shown in (arm, close)
        )
        camera = room.GetActiveCamera()
        camera.SetViewUp(*_UP)
        camera.SetViewAngle(_ANGLE_DEG)
        self.place(0.0)

    def place(self, nearness: float) -> None:
        """Go to the far view (0), the near one (1) or between them."""
        (far, far_m), (near, near_m) = self._far, self._near
        # Even ratios of distance look like even speed; the focus goes as the distance does, so that the borders of
        # the picture move evenly from those of one view to those of the other.
        distance = far_m * (near_m / far_m) ** nearness
        share = nearness if abs(far_m - near_m) < 1e-9 else (far_m - distance) / (far_m - near_m)
        focus = far + share * (near - far)
        camera = self._room.GetActiveCamera()
        camera.SetFocalPoint(*focus)
        camera.SetPosition(*(focus + distance * self.direction))
        self._room.ResetCameraClippingRange()

    def _above_banner(self, points: FloatArray) -> FloatArray:
        """Points (n, 3) and one below them, so that a banner over the lower edge of the view covers none."""
        upward = unit_vector(np.cross(self.direction, np.cross(_UP, self.direction)))
        height = points @ upward
        lowest = points[int(np.argmin(height))]
        return np.vstack([points, lowest - _BANNER_SHARE * float(np.ptp(height)) * upward])


def aim_close(detail: Any, anatomy: Anatomy, placement: PatientPlacement, insertions: Sequence[Insertion]) -> None:
    """Let a renderer look at the target across the needles, the head up as far as it goes, without perspective."""
    from needleplan.viz.viewpoint import choose_direction

    opaque = [s for s in anatomy.surfaces if s.role in (Role.VESSEL, Role.CRITICAL, Role.BOWEL)]
    direction = placement.directions_to_world(choose_direction(anatomy, insertions, hiding=opaque))
    focus = placement.points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
    up = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else _UP
    size = float(np.ptp(anatomy.target.mesh.vertices_mm, axis=0).max()) * 1e-3
    camera = detail.GetActiveCamera()
    camera.ParallelProjectionOn()
    camera.SetParallelScale(max(_LEAST_CLOSE_M, 1.1 * size))
    camera.SetFocalPoint(*focus)
    camera.SetPosition(*(focus + np.asarray(direction)))
    camera.SetViewUp(*up)
