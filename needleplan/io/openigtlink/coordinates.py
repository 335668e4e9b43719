"""Between the coordinates of the wire and those of the plan, in one place.

On the wire patient coordinates are RAS in millimetres; here they are LPS. Both differ by half a turn about z, so a
pose stays a pose. Axes of any other frame (a tracker's, a needle's) are its own and stay as they are: a pose
``X_PN`` changes on its patient side alone, a transform from patient to patient on both.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import GeometryError, NetworkError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.grid import Grid
from needleplan.io.frame import FileFrame
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.polydata_body import Cells, PolyData
from needleplan.io.openigtlink.pose_bodies import Position, TrackedTool, Transform
from needleplan.plan import Vector3, vector3

_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


def _turned(matrix: FloatArray, parent: Frame, child: Frame) -> FloatArray:
    # Half a turn undoes itself, so this serves both ways.
    if parent is Frame.PATIENT:
        matrix = _HALF_TURN @ matrix
    return matrix @ _HALF_TURN if child is Frame.PATIENT else matrix


def pose_to_wire(pose: RigidTransform) -> Transform:
    """TRANSFORM of a pose; patient coordinates become RAS, metres millimetres."""
    matrix = pose.in_unit(LengthUnit.MILLIMETRE).matrix
    return Transform(_turned(matrix, pose.parent, pose.child).astype(np.float32))


def pose_from_wire(body: Transform | Position | TrackedTool, parent: Frame, child: Frame) -> RigidTransform:
    """Pose ``X_parent,child`` in mm of a body; patient coordinates become LPS.

    The rotation, exact to float32, is replaced by the nearest one.

    Raises:
        NetworkError: the body is no pose (``fault`` says why): a tracker that does not see a tool sends such.
    """
    fault = body.fault
    if fault is not None:
        raise NetworkError(f"the matrix of a pose of {child} in {parent} is no pose: {fault}")
    matrix = body.matrix.astype(np.float64)
    left, _, right = np.linalg.svd(matrix[:3, :3])
    matrix[:3, :3] = left @ right
    return RigidTransform(parent, child, _turned(matrix, parent, child))


def point_to_wire(point_mm: ArrayLike) -> Vector3:
    """One patient point (LPS) as the wire has it."""
    return vector3(points_to_wire(point_mm))


def points_to_wire(points_mm: ArrayLike) -> FloatArray:
    """Patient points or directions (..., 3), LPS, as the wire has them, RAS."""
    return np.asarray(points_mm, dtype=np.float64) * FileFrame.RAS.to_patient


def points_from_wire(points_mm: ArrayLike) -> FloatArray:
    """Points or directions (..., 3) of the wire, RAS, in patient LPS.

    Raises:
        NetworkError: a coordinate is not a finite number.
    """
    points = np.asarray(points_mm, dtype=np.float64) * FileFrame.RAS.to_patient
    if not np.isfinite(points).all():
        raise NetworkError("a point that came over the network is not finite")
    return points


def surface_to_wire(mesh: SurfaceMesh) -> PolyData:
    """POLYDATA of a surface; its faces keep looking outward, because half a turn does not mirror."""
    return PolyData(points_to_wire(mesh.vertices_mm).astype(np.float32), polygons=Cells.of(mesh.faces))


def surface_from_wire(body: PolyData) -> SurfaceMesh:
    """Surface of triangles.

    Raises:
        NetworkError: a polygon is no triangle, a coordinate is not finite, or the triangles make no surface.
    """
    try:
        return SurfaceMesh(points_from_wire(body.points_mm), body.triangles)
    except GeometryError as error:
        raise NetworkError(f"a POLYDATA is no surface: {error}") from None


def image_to_wire(values: NDArray[np.generic], grid: Grid) -> Image:
    """IMAGE of values on a grid, in RAS.

    Args:
        values: of the grid's shape (i, j, k), of a type that IMAGE can carry; uint8 for masks.
        grid: their place.

    Raises:
        NetworkError: the shapes differ, or the type cannot be sent.
    """
    if values.shape != grid.shape:
        raise NetworkError(f"values of shape {values.shape} do not fit a grid of {grid.shape}")
    return Image(np.ascontiguousarray(values.transpose(2, 1, 0)), _HALF_TURN @ grid.T_PV)


def image_from_wire(body: Image) -> tuple[NDArray[np.generic], Grid]:
    """Values (i, j, k) of an image of one component, or of the part that was sent, and their grid in LPS.

    Raises:
        NetworkError: the image has several components, or its place is not finite or flat.
    """
    if body.values.ndim != 3:
        raise NetworkError(f"an IMAGE of {body.values.shape[3]} components is no scalar image")
    if body.fault is not None:
        raise NetworkError(f"the place of an IMAGE is none: {body.fault}")
    matrix = np.array(body.voxel_to_world)
    matrix[:3, 3] += matrix[:3, :3] @ np.asarray(body.offset, dtype=np.float64)
    if body.frame is FileFrame.RAS:
        matrix = _HALF_TURN @ matrix
    values = np.ascontiguousarray(body.values.transpose(2, 1, 0))
    try:
        return values, Grid((values.shape[0], values.shape[1], values.shape[2]), matrix)
    except GeometryError as error:
        raise NetworkError(f"the place of an IMAGE is none: {error}") from None
