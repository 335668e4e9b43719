"""3D Slicer's markups (.mrk.json, schema 1.0): lines and lists of points, in patient LPS millimetres.

Each markup of a file states its own frame, and its own unit or none, which by the schema means millimetres.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from needleplan.errors import CaseError, OptionError, PlanFileError
from needleplan.frames import ROTATION_TOLERANCE, FloatArray, read_only
from needleplan.io.bounded import read_whole
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.plan_file import write_json
from needleplan.io.value_json import parse_strict

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_SCHEMA_NAME = re.compile(r"markups-schema-v1\.0(?:\.\d{1,3})?\.json")
#: Kinds that Slicer knows and that are neither needles nor points.
_OTHER_KINDS = ("Angle", "Curve", "ClosedCurve", "Plane", "ROI")
_MAXIMUM_BYTES = 50_000_000
_MAXIMUM_POINTS = 100_000
#: A coordinate farther out lies in no room in which somebody is treated.
_MAXIMUM_MM = 1e5
#: A needle is longer than this.
_LEAST_LINE_MM = 1e-3
#: x and y are opposite in LPS and RAS.
_TURN = read_only((-1.0, -1.0, 1.0))

Color = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class MarkupPoint:
    """One control point.

    Attributes:
        label: its text.
        position_mm: (3,) patient LPS.
        orientation: (3, 3) rotation whose columns are the point's own axes in LPS; None where none is given.
        description: further text.
        locked: True where it may not be moved.
        visible: True where it is shown.
    """

    label: str
    position_mm: FloatArray
    orientation: FloatArray | None = None
    description: str = ""
    locked: bool = False
    visible: bool = True

    def __post_init__(self) -> None:
        position = read_only(self.position_mm)
        if position.shape != (3,) or not (np.abs(position) <= _MAXIMUM_MM).all():
            raise CaseError(f"point {self.label!r}: a position must be three numbers below {_MAXIMUM_MM:g} mm")
        object.__setattr__(self, "position_mm", position)
        if self.orientation is not None:
            axes = read_only(self.orientation)
            if axes.shape != (3, 3) or not np.isfinite(axes).all():
                raise CaseError(f"point {self.label!r}: an orientation must be nine numbers")
            if not np.allclose(axes.T @ axes, np.eye(3), atol=ROTATION_TOLERANCE) or np.linalg.det(axes) < 0:
                raise CaseError(f"point {self.label!r}: an orientation must be a rotation")
            object.__setattr__(self, "orientation", axes)


@dataclass(frozen=True, slots=True, eq=False)
class MarkupLine:
    """A line of two points; for a needle from its entry to its tip.

    Attributes:
        name: its name.
        start: first point.
        end: second point, elsewhere than the first.
        color: red, green and blue from 0 to 1; None leaves it to the reader.
        locked: True where it may not be moved.
        visible: True where it is shown.
    """

    name: str
    start: MarkupPoint
    end: MarkupPoint
    color: Color | None = None
    locked: bool = False
    visible: bool = True

    def __post_init__(self) -> None:
        if not self.length_mm >= _LEAST_LINE_MM:
            raise CaseError(f"line {self.name!r}: both ends lie in one place")

    @property
    def length_mm(self) -> float:
        """Distance of its ends."""
        return float(np.linalg.norm(self.end.position_mm - self.start.position_mm))


@dataclass(frozen=True, slots=True, eq=False)
class MarkupList:
    """A named list of points, for instance targets or landmarks; attributes as of ``MarkupLine``."""

    name: str
    points: tuple[MarkupPoint, ...]
    color: Color | None = None
    locked: bool = False
    visible: bool = True

    @property
    def positions_mm(self) -> FloatArray:
        """(n, 3) positions, patient LPS."""
        return np.array([point.position_mm for point in self.points]).reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Markups:
    """What a file holds.

    Attributes:
        lines: in the file's order.
        lists: in the file's order.
        notes: what was left out or taken for granted, a sentence each.
    """

    lines: tuple[MarkupLine, ...]
    lists: tuple[MarkupList, ...]
    notes: tuple[str, ...] = ()


def read_markups(path: Path) -> Markups:
    """Read the lines and the lists of points of a markups file.

    Curves, planes, angles and boxes are left out with a note, and so are points that have no position yet.

    Raises:
        CaseError: the file is missing, damaged, of another version or states no frame; a line has not two points;
            or nothing is left.
    """
    try:
        text = read_whole(path, _MAXIMUM_BYTES).decode("utf-8")
        data = parse_strict(text, path.name)
    except UnicodeDecodeError:
        raise CaseError(f"{path.name}: not UTF-8 text") from None
    except PlanFileError as error:
        raise CaseError(str(error)) from None
    schema = data.get("@schema") if isinstance(data, dict) else None
    if not isinstance(schema, str) or not _SCHEMA_NAME.search(schema[:1000]):
        raise CaseError(f"{path.name}: no markups of 3D Slicer: its @schema must name markups-schema-v1.0")
    items = data.get("markups")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CaseError(f"{path.name}: markups must be a list of objects")
    stem = path.name.removesuffix(".json").removesuffix(".mrk")
    lines: list[MarkupLine] = []
    lists: list[MarkupList] = []
    notes: list[str] = []
    left = _MAXIMUM_POINTS
    for number, item in enumerate(items, 1):
        own = item.get("name")
        name = own if isinstance(own, str) and own.strip() else stem if len(items) == 1 else f"{stem} {number}"
        kind = item.get("type")
        where = f"{path.name}: markup {number}"
        if kind in _OTHER_KINDS:
            notes.append(f"{where} is of the type {kind} and was left out.")
            continue
        if kind not in ("Line", "Fiducial"):
            raise CaseError(f"{where} has the type {kind!r:.60}, and Slicer knows Line, Fiducial and others")
        try:
            points = _points(item, where, left, notes)
            left -= len(points)
            look = _color(item, where), _flag(item, "locked", False, where), _visible(item, where)
            if kind == "Fiducial":
                lists.append(MarkupList(name, tuple(points), *look))
            elif len(points) == 2:
                lines.append(MarkupLine(name, points[0], points[1], *look))
            else:
                raise CaseError(f"{where} is a line of {len(points)} points, and a line needs two")
        except CaseError as error:
            raise CaseError(str(error) if str(error).startswith(path.name) else f"{where}: {error}") from None
    if not lines and not lists:
        raise CaseError(f"{path.name}: the file holds no line and no list of points")
    return Markups(tuple(lines), tuple(lists), tuple(notes))


def _points(item: dict[str, Any], where: str, most: int, notes: list[str]) -> list[MarkupPoint]:
    """The points of one markup that have a position."""
    frame = item.get("coordinateSystem")
    if frame not in ("LPS", "RAS"):
        raise CaseError(f"{where} must state its coordinateSystem as LPS or RAS, not {frame!r:.40}")
    turn = FileFrame(frame).to_patient
    factors = turn * _unit(item, where, notes).in_mm
    stored = item.get("controlPoints", [])
    if not isinstance(stored, list) or not all(isinstance(point, dict) for point in stored):
        raise CaseError(f"{where}: controlPoints must be a list of objects")
    if len(stored) > most:
        raise CaseError(f"{where}: a file may hold at most {_MAXIMUM_POINTS} points")
    points = []
    for number, point in enumerate(stored, 1):
        here = f"{where}, point {number}"
        if point.get("positionStatus", "defined") != "defined":
            notes.append(f"{here} has no position and was left out.")
            continue
        orientation = point.get("orientation")
        axes = None if orientation is None else turn[:, None] * _numbers(orientation, 9, here).reshape(3, 3)
        points.append(
            MarkupPoint(
                _text(point, "label", here),
                factors * _numbers(point.get("position"), 3, here),
                axes,
                _text(point, "description", here),
                _flag(point, "locked", False, here),
                _flag(point, "visibility", True, here),
            )
        )
    return points


def _unit(item: dict[str, Any], where: str, notes: list[str]) -> FileUnit:
    unit = item.get("coordinateUnits")
    if unit is None:
        notes.append(f"{where} states no unit: millimetres, as the schema says.")
        return FileUnit.MILLIMETRE
    if isinstance(unit, list) and len(unit) == 3 and unit[0] == unit[1] == unit[2]:
        unit = unit[0]
    if not isinstance(unit, str) or unit not in [known.value for known in FileUnit]:
        raise CaseError(f"{where}: coordinateUnits must be mm, cm, m or um, not {unit!r:.40}")
    return FileUnit(unit)


def _numbers(values: Any, count: int, where: str) -> FloatArray:
    if not isinstance(values, list) or len(values) != count or any(type(v) not in (int, float) for v in values):
        raise CaseError(f"{where}: position and orientation must be lists of 3 and 9 numbers")
    if not all(abs(value) < 1e12 for value in values):
        raise CaseError(f"{where}: a coordinate is larger than any room")
    return np.array(values, dtype=np.float64)


def _text(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key, "")
    if not isinstance(value, str):
        raise CaseError(f"{where}: {key} must be a text")
    return value


def _flag(item: dict[str, Any], key: str, default: bool, where: str) -> bool:
    value = item.get(key, default)
    if not isinstance(value, bool):
        raise CaseError(f"{where}: {key} must be true or false")
    return value


def _display(item: dict[str, Any], where: str) -> dict[str, Any]:
    display = item.get("display", {})
    if not isinstance(display, dict):
        raise CaseError(f"{where}: display must be an object")
    return display


def _visible(item: dict[str, Any], where: str) -> bool:
    return _flag(_display(item, where), "visibility", True, where)


def _color(item: dict[str, Any], where: str) -> Color | None:
    """The colour that Slicer shows: that of selected points, which all are unless somebody changed it."""
    display = _display(item, where)
    stored = display.get("selectedColor", display.get("color"))
    if stored is None:
        return None
    red, green, blue = np.clip(_numbers(stored, 3, where), 0.0, 1.0).tolist()
    return (red, green, blue)


def write_markups(path: Path, markups: Sequence[MarkupLine | MarkupList], frame: FileFrame = FileFrame.LPS) -> None:
    """Write lines and lists of points into one file, which 3D Slicer loads as so many nodes with their names.

    Args:
        path: a file that ends in .mrk.json; written whole or not at all.
        markups: in the order in which they shall appear.
        frame: LPS, or RAS for a program that knows nothing else.

    Raises:
        OptionError: there is nothing to write, the ending is another one, or the frame is neither.
    """
    if not path.name.endswith(".mrk.json"):
        raise OptionError(f"{path.name}: markups are written as .mrk.json")
    if not markups:
        raise OptionError(f"{path.name}: there is no line and no point to write")
    if frame not in (FileFrame.LPS, FileFrame.RAS):
        raise OptionError(f"{path.name}: markups are written in LPS or RAS, not in {frame}")
    write_json(path, {"@schema": _SCHEMA, "markups": [_item(markup, frame) for markup in markups]})


def _item(markup: MarkupLine | MarkupList, frame: FileFrame) -> dict[str, Any]:
    points = (markup.start, markup.end) if isinstance(markup, MarkupLine) else markup.points
    display: dict[str, Any] = {"visibility": markup.visible}
    if markup.color is not None:
        display |= {"color": list(markup.color), "selectedColor": list(markup.color)}
    return {
        "type": "Line" if isinstance(markup, MarkupLine) else "Fiducial",
        "name": markup.name,
        "coordinateSystem": frame.value,
        "coordinateUnits": "mm",
        "locked": markup.locked,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": [_point(point, number, frame) for number, point in enumerate(points, 1)],
        "measurements": [],
        "display": display,
    }


def _point(point: MarkupPoint, number: int, frame: FileFrame) -> dict[str, Any]:
    # Slicer's own points have the axes of RAS.
    axes = np.diag(_TURN) if point.orientation is None else point.orientation
    turn = frame.to_patient
    return {
        "id": str(number),
        "label": point.label,
        "description": point.description,
        "associatedNodeID": "",
        "position": (turn * point.position_mm).tolist(),
        "orientation": (turn[:, None] * axes).ravel().tolist(),
        "selected": True,
        "locked": point.locked,
        "visibility": point.visible,
        "positionStatus": "defined",
    }
