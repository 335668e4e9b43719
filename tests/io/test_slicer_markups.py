"""Markups come back as they were written; frames, units and kinds are honoured or refused; hostile files are."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from needleplan.errors import CaseError, NeedleplanError, OptionError
from needleplan.io.frame import FileFrame
from needleplan.io.slicer_markups import MarkupLine, MarkupList, MarkupPoint, read_markups, write_markups

AXES = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/x/markups-schema-v1.0.3.json#"


def needle(name: str = "needle 1") -> MarkupLine:
    start = MarkupPoint("entry", np.array([-12.5, 33.25, 1140.0625]), AXES, "skin")
    return MarkupLine(
        name, start, MarkupPoint("tip", np.array([1 / 3, -7.125, 61.5])), (0.1, 0.2, 0.3), True, False
    )


def plain(**changes) -> dict:
    """A file of one line as plain values."""
    points = [{"label": "a", "position": [1.0, 2, 3.5]}, {"label": "b", "position": [4.0, 5, 6]}]
    item = {"type": "Line", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    item |= changes
    return {"@schema": SCHEMA, "markups": [{key: value for key, value in item.items() if value != "absent"}]}


def written(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("frame", [FileFrame.LPS, FileFrame.RAS])
def test_markups_come_back(tmp_path, frame):
    path = tmp_path / "a.mrk.json"
    targets = MarkupList("targets", (MarkupPoint("läsion", np.array([1.0, 2.0, 3.0]), None, "4 W", True, False),))
    write_markups(path, [needle(), targets, MarkupList("none", ())], frame)
    found = read_markups(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and found.notes == ()
    line, (first, empty) = found.lines[0], found.lists
    np.testing.assert_array_equal(line.start.position_mm, needle().start.position_mm)
    np.testing.assert_array_equal(line.end.position_mm, needle().end.position_mm)
    np.testing.assert_array_equal(line.start.orientation, AXES)
    assert (line.name, line.color, line.locked, line.visible) == ("needle 1", (0.1, 0.2, 0.3), True, False)
    assert (line.start.label, line.start.description) == ("entry", "skin")
    point = first.points[0]
    assert (point.label, point.description, point.locked, point.visible) == ("läsion", "4 W", True, False)
    assert empty.positions_mm.shape == (0, 3) and first.color is None
    stored = json.loads(path.read_text(encoding="utf-8"))["markups"][0]
    sign = 1 if frame is FileFrame.LPS else -1
    assert stored["coordinateSystem"] == frame.value
    assert stored["controlPoints"][0]["position"] == [sign * -12.5, sign * 33.25, 1140.0625]


def test_frame_and_unit_of_the_file_are_honoured(tmp_path):
    def start(**changes) -> list[float]:
        return read_markups(written(tmp_path / "a.json", plain(**changes))).lines[0].start.position_mm.tolist()

    assert start() == [1.0, 2.0, 3.5]
    assert start(coordinateSystem="RAS") == [-1.0, -2.0, 3.5]
    assert start(coordinateUnits="cm") == [10.0, 20.0, 35.0]
    assert start(coordinateUnits=["mm", "mm", "mm"]) == [1.0, 2.0, 3.5]
    assert start(coordinateUnits="m", coordinateSystem="RAS") == [-1000.0, -2000.0, 3500.0]
    found = read_markups(written(tmp_path / "a.json", plain(coordinateUnits="absent")))
    assert "states no unit" in found.notes[0] and found.lines[0].name == "a"


def test_other_kinds_are_left_out_with_a_note(tmp_path):
    content = plain()
    content["markups"].append({"type": "Plane"})
    found = read_markups(written(tmp_path / "b.mrk.json", content))
    assert len(found.lines) == 1 and "type Plane" in found.notes[0] and found.lines[0].name == "b 1"
    content["markups"] = content["markups"][1:]
    with pytest.raises(CaseError, match="no line and no list"):
        read_markups(written(tmp_path / "b.mrk.json", content))


def point(**changes) -> list[dict]:
    return [{"label": "a", "position": [1.0, 2, 3.5], **changes}, {"label": "b", "position": [4.0, 5, 6]}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("[1]", "no markups of 3D Slicer"),
        ("[" * 100_000, "nested too deeply"),
        ('{"@schema": 1}', "no markups of 3D Slicer"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ('{"a": NaN}', "not a number"),
        ("\xff", "not JSON"),
        ({"@schema": SCHEMA.replace("v1.0.3", "v2.0.0"), "markups": []}, "markups-schema-v1.0"),
        ({"@schema": SCHEMA}, "list of objects"),
        ({"@schema": SCHEMA, "markups": [1]}, "list of objects"),
        ({"@schema": SCHEMA, "markups": []}, "no line and no list"),
        (plain(type="Needle"), "the type 'Needle'"),
        (plain(type=["Line"]), "the type"),
        (plain(coordinateSystem="absent"), "LPS or RAS"),
        (plain(coordinateSystem="LAS"), "LPS or RAS"),
        (plain(coordinateUnits="inch"), "coordinateUnits"),
        (plain(coordinateUnits=["mm", "mm", "s"]), "coordinateUnits"),
        (plain(controlPoints={}), "list of objects"),
        (plain(controlPoints=[1, 2]), "list of objects"),
        (plain(controlPoints=point()[:1]), "needs two"),
        (plain(controlPoints=[*point(), *point()]), "needs two"),
        (plain(controlPoints=point(positionStatus="undefined", position="")), "a line of 1 points"),
        (plain(controlPoints=point(position=[4.0, 5, 6])), "one place"),
        (plain(controlPoints=point(position=[1, 2])), "3 and 9 numbers"),
        (plain(controlPoints=point(position=["1", "2", "3"])), "3 and 9 numbers"),
        (plain(controlPoints=point(position=[True, 2, 3])), "3 and 9 numbers"),
        (plain(controlPoints=point(position=[1e7, 2, 3])), "three numbers below"),
        (plain(controlPoints=point(position=[10**400, 2, 3])), "larger than any room"),
        (plain(controlPoints=point(orientation=[1, 0, 0, 0, 1, 0, 0, 0, -1])), "must be a rotation"),
        (plain(controlPoints=point(orientation=[2, 0, 0, 0, 1, 0, 0, 0, 1])), "must be a rotation"),
        (plain(controlPoints=point(orientation=[1, 0, 0])), "3 and 9 numbers"),
        (plain(controlPoints=point(label=3)), "label must be a text"),
        (plain(controlPoints=point(locked="no")), "true or false"),
        (plain(locked=1), "true or false"),
        (plain(display=[]), "display must be an object"),
        (plain(display={"visibility": "yes"}), "true or false"),
        (plain(display={"color": [1, 2]}), "numbers"),
    ],
)
def test_hostile_files_are_refused(tmp_path, content, said):
    path = written(tmp_path / "a.mrk.json", content)
    with pytest.raises(CaseError, match=said):
        read_markups(path)


def test_too_many_points_are_refused(tmp_path):
    content = plain(type="Fiducial", controlPoints=point()[:1] * 60_000)
    assert len(read_markups(written(tmp_path / "a.json", content)).lists[0].points) == 60_000
    content["markups"] *= 2
    with pytest.raises(CaseError, match="at most 100000 points"):
        read_markups(written(tmp_path / "a.json", content))


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"\.mrk\.json"):
        write_markups(tmp_path / "a.json", [needle()])
    with pytest.raises(OptionError, match="no line"):
        write_markups(tmp_path / "a.mrk.json", [])
    with pytest.raises(OptionError, match="LPS or RAS"):
        write_markups(tmp_path / "a.mrk.json", [needle()], FileFrame.LAS)
    with pytest.raises(CaseError, match="three numbers"):
        MarkupPoint("a", np.array([np.nan, 0, 0]))
    assert list(tmp_path.iterdir()) == []


def test_the_frame_is_no_decoration(tmp_path):
    """A file whose frame was lost on the way is elsewhere."""
    path = tmp_path / "a.mrk.json"
    write_markups(path, [needle()], FileFrame.RAS)
    path.write_text(path.read_text(encoding="utf-8").replace('"RAS"', '"LPS"'), encoding="utf-8")
    apart = read_markups(path).lines[0].start.position_mm - needle().start.position_mm
    assert np.linalg.norm(apart) > 50


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    """The path of every value within plain values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(data=st.data())
def test_damaged_files_raise_named_errors_only(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.mrk.json"
    write_markups(path, [needle(), MarkupList("l", (needle().start,))])
    if data.draw(st.booleans()):
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        del content[data.draw(st.integers(len(content) // 2, len(content))) :]
        path.write_bytes(content)
    else:
        values = copy.deepcopy(json.loads(path.read_text(encoding="utf-8")))
        *parents, last = data.draw(st.sampled_from([p for p in places(values) if p]))
        inner = values
        for key in parents:
            inner = inner[key]
        inner[last] = data.draw(VALUES)
        path.write_text(json.dumps(values), encoding="utf-8")
    try:
        found = read_markups(path)
    except NeedleplanError:
        return
    assert all(np.isfinite(line.start.position_mm).all() for line in found.lines)
