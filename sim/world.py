"""The simulated room in PyBullet: table, floor, gantry, the breathing patient, needles left in him, and the arm.

Everything is posed, nothing is pushed: the arm's joints are reset to the commanded positions and the patient's
surfaces to where the breathing puts them, so a run is the same every time. Where things are is then asked back
from PyBullet, by its own forward kinematics of the same URDF that the planner used, and PyBullet's collision
detection says what touches. Metres and radians inside, patient LPS in millimetres at the edge.

Limits of PyBullet: a surface has at most ``sim.bullet.MAX_FACES`` faces, shapes are rounded to single precision,
surfaces are hollow, so that what lies wholly within one does not touch it, and links with meshes touch as their
convex hulls. Its rays come in batches of limited size; none are used here, distances are the planner's own.
"""

from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.motion.body_motion import BodyState
from needleplan.viz.palette import look_of, rgb
from robots.frames import PatientPlacement
from robots.gantry import Gantry
from robots.model import RobotModel
from sim.bullet import Bullet, quaternions_of
from sim.patient import PatientSurfaces
from sim.recorder import VisualShape
from sim.world_arm import SimulatedArm
from sim.world_needles import NEEDLE_RADIUS_M, LeftNeedle, polyline_of

#: Thickness of the slab that stands for the floor.
_FLOOR_M = 0.1
#: Colours of the room, red, green, blue and opacity, where it is shown.
_TABLE, _FLOOR, _GANTRY = (
    np.array([0.56, 0.6, 0.66, 1.0]), np.array([0.15, 0.18, 0.22, 1.0]), np.array([0.9, 0.92, 0.95, 0.25]),
)  # fmt: skip


class RehearsalWorld:
    """One PyBullet world; use it as a context manager, it disconnects when left.

    Attributes are private; poses come back in the world W (metres).
    """

    def __init__(
        self,
        robot: RobotModel,
        X_WB: RigidTransform,
        placement: PatientPlacement,
        patient: PatientSurfaces,
        *,
        gantry: Gantry | None = None,
        display: bool = False,
    ) -> None:
        """Build the room.

        Args:
            robot: the arm; PyBullet reads a copy of its URDF that holds only what was checked.
            X_WB: pose of its base in the world, metres.
            placement: how the patient lies, and the table.
            patient: surfaces of the patient.
            gantry: the scanner's ring; None leaves it out.
            display: True to show the room in a window.

        Raises:
            RobotError: PyBullet cannot take the URDF or a surface, or its links are not those of ``robot``.
            OptionError: there is no display to show the room on.
        """
        self._placement, self._patient = placement, patient
        self._bullet: Bullet | None = Bullet.connect(display)
        self._needles: dict[int, LeftNeedle] = {}
        #: Pairs that touched when the needle was let go and have not been apart since.
        self._releasing: set[tuple[str, str]] = set()
        self._just_left: set[str] = set()
        try:
            self._arm = SimulatedArm(self._bullet, robot, X_WB)
            self._obstacles = self._load_furniture(self._bullet, gantry) | self._load_patient(self._bullet)
        except BaseException:
            self.close()
            raise
        if display:
            self._aim()

    def __enter__(self) -> "RehearsalWorld":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self._bullet is not None:
            self._bullet.disconnect()
            self._bullet = None

    @property
    def _world(self) -> Bullet:
        if self._bullet is None:
            raise OptionError("the simulated room was closed; build another one")
        return self._bullet

    def _load_furniture(self, bullet: Bullet, gantry: Gantry | None) -> dict[int, str]:
        table = self._placement.table
        floor_low = np.array([-3.0, -3.0, -table.height_m - _FLOOR_M])
        floor_high = np.array([3.0, 3.0, -table.height_m])
        obstacles = {
            bullet.box("the table", table.box_m[0], table.box_m[1], _TABLE): "table",
            bullet.box("the floor", floor_low, floor_high, _FLOOR): "floor",
        }
        if gantry is not None:
            obstacles[bullet.surface("the gantry", *gantry.mesh(), _GANTRY)] = "gantry"
        return obstacles

    def _load_patient(self, bullet: Bullet) -> dict[int, str]:
        bodies = {}
        self._bodies: list[int] = []
        for part in self._patient.parts:
            look = look_of(part.surface)
            # Mesh in patient axes, so that its pose is the patient's with what a breath adds.
            body = bullet.surface(
                part.name, part.mesh.vertices_mm * 1e-3, part.mesh.faces, np.append(rgb(look.color), look.opacity)
            )
            # The needle is meant to pass through tissue; the rest of the arm is not.
            bullet.p.setCollisionFilterPair(
                self._arm.body, body, self._arm.needle, -1, 0, physicsClientId=bullet.client
            )
            bodies[body] = part.name
            self._bodies.append(body)
        return bodies

    def _aim(self) -> None:
        """Look at the patient from his feet and from the side, a little down."""
        bullet = self._world
        bullet.p.resetDebugVisualizerCamera(1.8, 35.0, -30.0, [0.0, 0.0, 0.1], physicsClientId=bullet.client)

    def place_base(self, X_WB: RigidTransform) -> None:
        """Put the arm's base at ``X_WB``; raises RobotError where that is no pose of it in the world in metres."""
        self._arm.place_base(X_WB)

    def pose_arm(self, positions: ArrayLike) -> None:
        """Set the joints (n + 1,): radians or metres, and last the driver in metres."""
        self._arm.pose(positions)

    def pose_patient(self, state: BodyState) -> FloatArray:
        """Move every part of the patient to where the tissue is.

        Returns:
            (n,) for each part the greatest distance in mm that its rigid pose leaves; see ``PatientSurfaces``.
        """
        bullet = self._world
        poses, misfit = self._patient.poses(state)
        positions = self._placement.points_to_world(poses[:, :3, 3])
        quaternions = quaternions_of(self._placement.X_WP.rotation @ poses[:, :3, :3])
        for body, position, quaternion in zip(self._bodies, positions, quaternions, strict=True):
            bullet.place(body, position, quaternion)
        return misfit

    def place_needle(self, order: int, polyline_mm: ArrayLike, radius_mm: float = NEEDLE_RADIUS_M * 1e3) -> None:
        """Leave a needle in the patient: an obstacle for the arm from now on, called ``needle`` with its order.

        What touches it at that moment, as the guide that lets it go does, counts as touching it only after they
        have been found apart by :meth:`touches`.

        Args:
            order: order of the insertion.
            polyline_mm: (k, 3) its axis, patient LPS.
            radius_mm: its radius.

        Raises:
            OptionError: there is a needle of that order already.
            GeometryError: the polyline is none, or the radius is impossible.
        """
        if order in self._needles:
            raise OptionError(f"needle {order} is in the patient already; move it instead")
        needle = LeftNeedle(self._world, order, self._polyline_m(order, polyline_mm), radius_mm * 1e-3)
        self._needles[order] = needle
        self._just_left.add(needle.name)
        self._note(needle)

    def move_needle(self, order: int, polyline_mm: ArrayLike) -> None:
        """Lay a needle that was left in the patient along another polyline (k, 3), patient LPS.

        Raises:
            OptionError: there is no needle of that order.
            GeometryError: the polyline is none.
        """
        if order not in self._needles:
            there = ", ".join(str(number) for number in self._needles) or "none"
            raise OptionError(f"no needle {order} was left in the patient: there are {there}")
        needle = self._needles[order]
        before = tuple(needle.bodies)
        needle.move(self._polyline_m(order, polyline_mm))
        if before != tuple(needle.bodies):
            for body in before:
                del self._obstacles[body]
            self._note(needle)

    def _note(self, needle: LeftNeedle) -> None:
        self._obstacles |= dict.fromkeys(needle.bodies, needle.name)

    def _polyline_m(self, order: int, polyline_mm: ArrayLike) -> FloatArray:
        return self._placement.points_to_world(polyline_of(order, polyline_mm))

    def needle_pose(self) -> RigidTransform:
        """X_WN by PyBullet's forward kinematics: origin at the tip, +z along the insertion, metres."""
        return RigidTransform(Frame.WORLD, Frame.NEEDLE, self.needle_matrix(), LengthUnit.METRE)

    def needle_matrix(self) -> FloatArray:
        """(4, 4) matrix of :meth:`needle_pose`."""
        return self._arm.needle_matrix()

    def guide_matrix(self) -> FloatArray:
        """(4, 4) pose X_WG of the guide's exit by PyBullet's forward kinematics: +z along the insertion, metres."""
        return self._arm.guide_matrix()

    def link_poses(self) -> dict[str, FloatArray]:
        """(4, 4) pose of every link's frame in the world, by name."""
        return self._arm.link_poses()

    def visual_shapes(self) -> tuple[VisualShape, ...]:
        """The arm's visual shapes as PyBullet read them from the URDF."""
        return self._arm.visual_shapes()

    def touches(self) -> tuple[tuple[str, str], ...]:
        """Pairs (link of the arm, what it touches) that PyBullet finds now, the needle in tissue left out."""
        bullet, arm = self._world, self._arm
        bullet.p.performCollisionDetection(physicsClientId=bullet.client)
        found = set()
        for contact in bullet.p.getContactPoints(bodyA=arm.body, physicsClientId=bullet.client) or ():
            other, link, distance = contact[2], contact[3], contact[8]
            if other in self._obstacles and distance <= 0.0:
                obstacle = self._obstacles[other]
                if not arm.stands_on(link, obstacle):
                    found.add((arm.link_name(link), obstacle))
        self._releasing = {pair for pair in found if pair in self._releasing or pair[1] in self._just_left}
        self._just_left.clear()
        return tuple(sorted(found - self._releasing))
