"""One message of every kind, with the content that the program of the reference library writes."""

import numpy as np

from needleplan.io.frame import FileFrame
from needleplan.io.openigtlink.array_bodies import MILLIMETRE_UNIT, NumberArray, Sensor
from needleplan.io.openigtlink.body import MessageBody
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.point_bodies import Points, Trajectories, WirePoint, WireTrajectory
from needleplan.io.openigtlink.polydata_body import Cells, PolyAttribute, PolyData
from needleplan.io.openigtlink.pose_bodies import Position, TrackedTool, TrackingData, Transform
from needleplan.io.openigtlink.text_bodies import Request, Status, StatusCode, Text

STAMP = (1_700_000_000 << 32) | 0x80000001
#: Oblique, proper to float32.
ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
MATRIX = np.eye(4)
MATRIX[:3, :3] = ROTATION
MATRIX[:3, 3] = 10.5, -20.25, 30.125


def placed_image() -> Image:
    """The part (2, 3, 2) at (1, 1, 3) of an oblique, anisotropic image of (3, 4, 5) voxels."""
    matrix = np.eye(4)
    matrix[:3, :3] = ROTATION.astype(np.float32) * np.float32([0.5, 1.0, 2.0])
    matrix[:3, 3] = np.array([7.0, 8.0, 9.0]) - matrix[:3, :3] @ [1.0, 1.5, 2.0]
    values = (100 * np.arange(12) - 300).astype(np.int16).reshape(2, 3, 2)
    return Image(values, matrix, FileFrame.RAS, (3, 4, 5), (1, 1, 3))


def made_messages() -> dict[str, Message]:
    """The messages by type."""
    surface = PolyData(
        np.array([[0, 0, 0], [1.5, 0, 0], [0, 2.5, 0], [0, 0, 3.5]]),
        lines=Cells(2, np.array([3, 0, 1, 2, 2, 0, 1])),
        polygons=Cells.of([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
        attributes=(
            PolyAttribute("margin", 0, np.array([[0.5], [1], [2], [3]])),
            PolyAttribute("normals", 2, np.array([0.5, *range(1, 11), 11.5]).reshape(4, 3)),
        ),
    )
    colour = (255, 128, 0, 200)
    bodies: dict[str, tuple[str, MessageBody]] = {
        "TRANSFORM": ("Needle", Transform(MATRIX)),
        "POSITION": ("Needle", Position([1.5, -2.5, 3.5], [0.5, -0.5, 0.5, 0.5])),
        "STRING": ("Command", Text("plan 7: select 2")),
        "STATUS": (
            "Session",
            Status(StatusCode.NOT_READY, -77, "stale", "the needle was not seen for 300 ms"),
        ),
        "POINT": (
            "Points",
            Points(
                (
                    WirePoint("entry", (1.25, -2.5, 3.75), "Fiducial", (10, 20, 30, 255), 4.5, "CT"),
                    WirePoint("target", (2.25, -2.5, 3.75), "Fiducial", (10, 20, 30, 254), 4.5, "CT"),
                )
            ),
        ),
        "TRAJ": (
            "Plan",
            Trajectories(
                (
                    WireTrajectory(
                        "needle 1", (1.5, 2.5, 3.5), (-4.5, -5.5, -6.5), colour=colour, diameter_mm=1.75, owner="CT"
                    ),
                    WireTrajectory(
                        "needle 2", (1.5, 2.5, 4.5), (-4.5, -5.5, -6.5), colour=colour, diameter_mm=1.75, owner="CT"
                    ),
                )
            ),
        ),
        "SENSOR": ("Belt", Sensor(np.array([0.1, 1.1, 2.1]), MILLIMETRE_UNIT)),
        "NDARRAY": ("Table", NumberArray(np.arange(0.5, 6.0, dtype=np.float32).reshape(2, 3))),
        "TDATA": ("Tracker", TrackingData((TrackedTool("Needle", MATRIX), TrackedTool("Reference", MATRIX)))),
        "STT_TDATA": ("Tracker", Request.start_tracking(20, "Patient")),
        "GET_TRAJ": ("Plan", Request("GET_TRAJ")),
        "IMAGE": ("CT", placed_image()),
        "POLYDATA": ("Tumour", surface),
    }
    return {name: Message(device, body, STAMP) for name, (device, body) in bodies.items()}


#: (k, j, i) voxels without symmetry.
MADE_VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
