"""The plan, its zones and the robot's route as OpenIGTLink messages, in RAS millimetres."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.ablation.contract import ZoneModel
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.app.serve.outgoing import pose_along
from needleplan.coverage.needle_shape import applicator_of
from needleplan.devices.catalogue import Applicator
from needleplan.errors import CaseError, PlanFileError
from needleplan.frames import FloatArray
from needleplan.grid import Grid
from needleplan.io.bounded import read_whole
from needleplan.io.openigtlink.array_bodies import NumberArray
from needleplan.io.openigtlink.coordinates import image_to_wire, point_to_wire, pose_to_wire, surface_to_wire
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.point_bodies import Points, Trajectories, WirePoint, WireTrajectory
from needleplan.io.openigtlink.text_bodies import MAXIMUM_STRING_BYTES, Text
from needleplan.io.value_json import parse_strict
from needleplan.plan import Insertion

#: Side of a voxel of the label map.
VOXEL_MM = 1.0
_ROUTE_BYTES = 50_000_000
_GROUP = "needleplan"


def plan_messages(insertions: Sequence[Insertion], applicators: Sequence[Applicator]) -> tuple[Message, ...]:
    """POINT and TRAJ of all needles, named "Plan", and a TRANSFORM "PlannedNeedle<order>" of each.

    Every needle has two points, "Needle <order> entry" and "Needle <order> target", and one trajectory of the
    needle's diameter, "Needle <order>". The transform is the pose of the needle's frame when it has arrived.
    """
    points, paths = [], []
    for one in insertions:
        diameter = 2.0 * applicator_of(one, applicators).radius_mm
        entry, tip = point_to_wire(one.entry_mm), point_to_wire(one.tip_mm)
        points.append(WirePoint(f"Needle {one.order} entry", entry, _GROUP, (0, 255, 255, 255)))
        points.append(WirePoint(f"Needle {one.order} target", tip, _GROUP, (255, 255, 0, 255)))
        paths.append(WireTrajectory(f"Needle {one.order}", entry, tip, group=_GROUP, diameter_mm=diameter))
    return (
        Message.now("Plan", Points(tuple(points))),
        Message.now("Plan", Trajectories(tuple(paths))),
        *(
            Message.now(f"PlannedNeedle{one.order}", pose_to_wire(pose_along(one.tip_mm, one.direction)))
            for one in insertions
        ),
    )


def zone_messages(insertions: Sequence[Insertion], model: ZoneModel) -> tuple[Message, ...]:
    """POLYDATA "Zone<order>" of each needle's predicted zone, and "Zones" of all of them together.

    Where ablations overlap, each has its own closed surface, and what is inside any of them is in the zone.
    """
    found = []
    for one in insertions:
        if one.ablations:
            surfaces = model.zone((one,)).surfaces()
            found.append(Message.now(f"Zone{one.order}", surface_to_wire(_joined(surfaces))))
    treating = [one for one in insertions if one.ablations]
    if treating:
        found.append(Message.now("Zones", surface_to_wire(_joined(model.zone(treating).surfaces()))))
    return tuple(found)


def zone_image(insertions: Sequence[Insertion], model: ZoneModel) -> tuple[Message, ...]:
    """IMAGE "Zones": a label map, 0 outside and elsewhere the order of the first needle whose zone it is in.

    What only all needles together destroy is 255. Empty where nothing is ablated.
    """
    treating = [one for one in insertions if one.ablations]
    if not treating:
        return ()
    whole = model.zone(treating)
    low, high = whole.bounds_mm
    shape = np.ceil((high - low) / VOXEL_MM).astype(int) + 3
    matrix = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    matrix[:3, 3] = low - VOXEL_MM
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
    centres = grid.centres_mm()
    labels = np.where(whole.contains(centres), 255, 0).astype(np.uint8)
    for one in reversed(treating):
        labels[model.zone((one,)).contains(centres)] = one.order
    return (Message.now("Zones", image_to_wire(labels.reshape(grid.shape), grid)),)


def _joined(surfaces: Sequence[SurfaceMesh]) -> SurfaceMesh:
    """Closed surfaces as one, which bounds their union where they overlap."""
    starts = np.cumsum([0, *(len(surface.vertices_mm) for surface in surfaces)])
    return SurfaceMesh(
        np.concatenate([surface.vertices_mm for surface in surfaces]),
        np.concatenate([surface.faces + start for surface, start in zip(surfaces, starts[:-1], strict=True)]),
    )


def route_messages(path: Path, case_orders: Sequence[int]) -> tuple[Message, ...]:
    """A robot's route: NDARRAY "Route<order>" of each needle and STRING "RouteNames" that names its columns.

    A row of the array is a time in s from the needle's beginning, then the positions of the joints in rad or m
    and, last, the driver's in m, which is the last of the route's ``joint_names``. The text is JSON: robot,
    columns, base_in_world (4 by 4, metres) and for each needle its order and where its phases begin (row numbers).

    Raises:
        PlanFileError: the file is none of a route, or of needles that the plan does not have.
    """
    try:
        data = parse_strict(read_whole(path, _ROUTE_BYTES).decode("utf-8"), str(path))
    except CaseError as error:
        raise PlanFileError(str(error)) from error
    except UnicodeDecodeError:
        raise PlanFileError(f"{path}: not UTF-8 text") from None
    if not isinstance(data, dict) or (data.get("schema"), data.get("version")) != ("needleplan.route", 1):
        raise PlanFileError(f"{path}: its schema must say 'needleplan.route' and its version 1")
    try:
        names = [str(name) for name in data["joint_names"]]
        messages, needles = [], []
        for item in data["insertions"]:
            order = int(item["order"])
            if order not in case_orders:
                raise PlanFileError(f"{path}: the route has a needle {order}, which the plan does not have")
            segments = item.get("segments", [])
            if segments:
                rows, begins = _rows(segments, len(names))
                messages.append(Message.now(f"Route{order}", NumberArray(rows)))
                needles.append({"order": order, "phases": begins})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PlanFileError(f"{path}: the route is damaged; make it again") from None
    said = {
        "robot": str(data.get("robot")),
        "columns": ["time_s", *names],
        "base_in_world": data.get("base_in_world"),
        "needles": needles,
    }
    text = json.dumps(said, separators=(",", ":"))
    if len(text.encode()) > MAXIMUM_STRING_BYTES:
        raise PlanFileError(f"{path}: the names of the route are too long to be sent")
    return (*messages, Message.now("RouteNames", Text(text)))


def _rows(segments: Sequence[dict[str, Any]], columns: int) -> tuple[FloatArray, dict[str, int]]:
    """(n, 1 + columns) times and positions of all phases, one after the other, and the row of each beginning."""
    parts, begins, start_s, row = [], {}, 0.0, 0
    for segment in segments:
        time_s = np.asarray(segment["time_s"], np.float64)
        positions = np.asarray(segment["positions"], np.float64).reshape(len(time_s), columns)
        begins[str(segment["phase"])] = row
        parts.append(np.column_stack([start_s + time_s, positions]))
        start_s += float(time_s[-1])
        row += len(time_s)
    rows = np.concatenate(parts)
    if not np.isfinite(rows).all():
        raise ValueError("not finite")
    return rows, begins
