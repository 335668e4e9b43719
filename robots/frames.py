"""Where the patient frame (P, mm) meets the robot's world (W, m): the only module in which it does.

The world W is metres with z up. Its origin lies on the table's top, straight below the target's centroid; +y
points to the patient's head, +x completes the frame (the patient's left when supine). The floor is at minus the
height of the table.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.errors import FrameError, OptionError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform, unit_vector
from needleplan.plan import Insertion
from robots.kinematics import guide_pose


@dataclass(frozen=True, slots=True)
class Table:
    """The table the patient lies on, a flat box whose top is the plane z = 0 of the world.

    The defaults are typical of a CT table (width 0.40 to 0.53 m, top 0.6 to 0.9 m above the floor).

    Attributes:
        half_width_m: half its width, along x.
        to_head_m: its length from the origin towards the head.
        to_feet_m: its length from the origin towards the feet.
        thickness_m: thickness of the top.
        height_m: height of the top above the floor.
    """

    half_width_m: float = 0.25
    to_head_m: float = 0.9
    to_feet_m: float = 1.1
    thickness_m: float = 0.08
    height_m: float = 0.75

    def __post_init__(self) -> None:
        for name in ("half_width_m", "to_head_m", "to_feet_m", "thickness_m", "height_m"):
            value = getattr(self, name)
            if not 0 < value < 5:
                raise OptionError(f"table: {name} must lie between 0 and 5 m, not {value:g}")

    @property
    def box_m(self) -> FloatArray:
        """(2, 3) least and greatest corner of the top in the world."""
        return np.array(
            [[-self.half_width_m, -self.to_feet_m, -self.thickness_m], [self.half_width_m, self.to_head_m, 0.0]]
        )


@dataclass(frozen=True, slots=True, eq=False)
class PatientPlacement:
    """How the patient lies in the world.

    Attributes:
        X_WP: pose of the patient frame in the world, in metres.
        table: the table.
    """

    X_WP: RigidTransform
    table: Table

    def __post_init__(self) -> None:
        if self.X_WP.parent is not Frame.WORLD or self.X_WP.child is not Frame.PATIENT:
            raise FrameError(f"a placement is the pose X_WP, not X_{self.X_WP.parent}{self.X_WP.child}")
        if self.X_WP.unit is not LengthUnit.METRE:
            raise FrameError("the pose X_WP of a placement must be in metres")

    def points_to_world(self, points_mm: ArrayLike) -> FloatArray:
        """Points (..., 3) in patient LPS mm as world points in metres."""
        return self.X_WP.apply(np.asarray(points_mm, dtype=np.float64) * 1e-3)

    def points_to_patient(self, points_m: ArrayLike) -> FloatArray:
        """World points (..., 3) in metres as points in patient LPS mm."""
        return self.X_WP.inverse().apply(points_m) * 1e3

    def directions_to_world(self, directions: ArrayLike) -> FloatArray:
        """Directions (..., 3) of the patient frame in world axes."""
        return self.X_WP.rotate(directions)

    def displacement_to_world(self, displacement_mm: ArrayLike) -> FloatArray:
        """Displacements (..., 3) in patient LPS mm as world displacements in metres."""
        return self.X_WP.rotate(np.asarray(displacement_mm, dtype=np.float64) * 1e-3)

    def displacement_to_patient(self, displacement_m: ArrayLike) -> FloatArray:
        """World displacements (..., 3) in metres as displacements in patient LPS mm."""
        return self.X_WP.inverse().rotate(displacement_m) * 1e3

    def directions_to_patient(self, directions: ArrayLike) -> FloatArray:
        """Directions (..., 3) in world axes as directions of the patient frame."""
        return self.X_WP.inverse().rotate(directions)

    def pose_in_patient(self, X_WA: RigidTransform) -> RigidTransform:
        """X_PA in millimetres of a world pose X_WA in metres."""
        return (self.X_WP.inverse() @ X_WA).in_unit(LengthUnit.MILLIMETRE)

    def mesh_to_world(self, mesh: SurfaceMesh) -> tuple[FloatArray, NDArray[np.int32]]:
        """Vertices (n, 3) in world metres and faces (m, 3) of a patient mesh."""
        return self.points_to_world(mesh.vertices_mm), np.asarray(mesh.faces, dtype=np.int32)

    def guide_pose(self, insertion: Insertion, stand_off_m: float) -> RigidTransform:
        """Pose X_WG of the guide for an insertion.

        Args:
            insertion: its entry and tip in patient LPS mm.
            stand_off_m: distance of the guide's exit before the entry, along the axis.

        Returns:
            X_WG in metres: +z from entry to tip, the roll arbitrary.
        """
        entry = self.points_to_world(insertion.entry_mm)
        direction = self.directions_to_world(insertion.direction)
        return guide_pose(entry - stand_off_m * direction, direction, Frame.WORLD)


def in_base(X_WB: RigidTransform, X_WG: RigidTransform) -> RigidTransform:
    """X_BG of a world pose X_WG for a robot whose base stands at X_WB; raises FrameError for other frames."""
    if X_WB.parent is not Frame.WORLD or X_WB.child is not Frame.ROBOT_BASE:
        raise FrameError(f"the base must be given as X_WB, not X_{X_WB.parent}{X_WB.child}")
    return X_WB.inverse() @ X_WG


def base_pose(position_m: ArrayLike, yaw_rad: float) -> RigidTransform:
    """X_WB of an upright base at ``position_m`` (3,), its +x turned by ``yaw_rad`` about the vertical."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return RigidTransform.from_parts(Frame.WORLD, Frame.ROBOT_BASE, rotation, position_m, LengthUnit.METRE)


def place_patient(
    surface: SurfaceMesh,
    target_mm: ArrayLike,
    up: ArrayLike,
    cranial: ArrayLike,
    table: Table | None = None,
) -> PatientPlacement:
    """Lays the patient on the table.

    Args:
        surface: outer surface that rests on the table, patient LPS mm.
        target_mm: (3,) centroid of the target, below which the world's origin lies.
        up: (3,) direction away from the table, patient LPS.
        cranial: (3,) direction towards the head.
        table: the table; the default one where None.

    Returns:
        The placement: the surface touches the table's top and the target lies above the origin.
    """
    z = unit_vector(up)
    head = np.asarray(cranial, dtype=np.float64)
    in_plane = head - (head @ z) * z
    if np.linalg.norm(in_plane) < 1e-3 * np.linalg.norm(head):
        raise FrameError("the directions up and cranial must not be parallel")
    y = unit_vector(in_plane)
    rotation = np.stack([np.cross(y, z), y, z])
    target = np.asarray(target_mm, dtype=np.float64)
    lowest = float((surface.vertices_mm @ z).min())
    below_target = target - (target @ z - lowest) * z
    translation = -rotation @ below_target * 1e-3
    return PatientPlacement(
        RigidTransform.from_parts(Frame.WORLD, Frame.PATIENT, rotation, translation, LengthUnit.METRE),
        table or Table(),
    )


def place_anatomy(anatomy: Anatomy, table: Table | None = None) -> PatientPlacement:
    """Lays the patient of an anatomy on the table, on its entry surface (the skin or its substitute)."""
    mesh = anatomy.target.mesh
    weight = np.linalg.norm(mesh.area_vectors_mm2, axis=1)
    centre = (mesh.face_centres_mm * weight[:, None]).sum(axis=0) / weight.sum()
    return place_patient(anatomy.entry.mesh, centre, anatomy.case.up, anatomy.case.cranial, table)
