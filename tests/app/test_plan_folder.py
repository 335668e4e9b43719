"""A plan that was changed after it was written is refused, so that no clearance is shown of another needle."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_case import write_case

from needleplan.app.cli import main
from needleplan.app.folder import PlanFolder
from needleplan.case.load import load_case
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.errors import DeviceError, PlanFileError
from needleplan.io.plan_file import write_json, write_plan
from needleplan.io.value_json import to_json
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance
from needleplan.trajectory.skin_map import SkinMap


def needle(order: int) -> Insertion:
    tip = (10.0 * order, 0.5, 3.0)
    return Insertion((-90.0, 1.0, 2.0), tip, "probe", (Ablation(tip, 65.0, 300.0),), {"vessel": 7.25}, order)


def written(root: Path, *orders: int, name: str = "small") -> PlanFolder:
    manifest = write_case(root / "case")
    case = load_case(manifest)
    folder = PlanFolder(root / "plan")
    folder.root.mkdir()
    insertions = tuple(needle(order) for order in orders)
    made = Provenance("1", {}, 0, {})
    write_plan(
        folder.plan, Plan(name, case.content_hash, PlanStatus.PARTIAL, (), insertions, None, {}, 0, 0, None, made)
    )
    folder.write_source(manifest, None)
    return folder


@pytest.mark.parametrize(
    ("there", "instead"),
    [("20.0", "26.0"), ("7.25", "9.75"), ('"small"', '"other"'), ('"order": 2', '"order": 7'), ("300.0", "900.0")],
)
def test_a_plan_that_was_edited_is_refused_in_one_sentence(tmp_path, there, instead):
    folder = written(tmp_path, 1, 2)
    assert len(folder.load()[0].insertions) == 2
    text = folder.plan.read_text()
    assert there in text
    folder.plan.write_text(text.replace(there, instead))
    with pytest.raises(PlanFileError, match="not the one that was written here") as refusal:
        folder.load()
    assert "\n" not in str(refusal.value) and "plan the case again" in str(refusal.value)
    folder.plan.write_text(json.dumps(json.loads(text)))
    assert len(folder.load()[0].insertions) == 2, "other spaces are no other plan"


def test_folders_of_before_have_no_hash_and_are_read(tmp_path):
    folder = written(tmp_path, 1, 2)
    source = folder.root / "source.json"
    content = json.loads(source.read_text())
    assert len(content.pop("plan")) == 64
    source.write_text(json.dumps(content))
    assert len(folder.load()[0].insertions) == 2
    text = folder.plan.read_text()
    folder.plan.write_text(text.replace('"small"', '"other"'))
    with pytest.raises(PlanFileError, match="names another case than small"):
        folder.load()


@pytest.mark.parametrize("orders", [(1, 7), (2, 1), (0, 1), (1, 1), (2, 3)])
def test_needles_stand_in_the_order_of_their_punctures(tmp_path, orders):
    with pytest.raises(PlanFileError, match="numbered from 1 to 2, not"):
        written(tmp_path, *orders).load()


def test_a_plan_of_another_name_is_refused(tmp_path):
    with pytest.raises(PlanFileError, match="names another case than small"):
        written(tmp_path, 1, name="large").load()


def test_the_plan_alone_is_asked_the_same(tmp_path):
    """Whoever reads the plan without its case must not be given a changed one either."""
    folder = written(tmp_path, 1, 2)
    assert len(folder.read_plan().insertions) == 2
    folder.plan.write_text(folder.plan.read_text().replace("7.25", "9.75"))
    with pytest.raises(PlanFileError, match="not the one that was written here"):
        folder.read_plan()
    (folder.root / "source.json").unlink()
    assert folder.read_plan().insertions[0].clearances_mm == {"vessel": 9.75}


def test_the_plan_named_in_place_of_its_folder_is_told_the_folder(tmp_path, capsys):
    folder = written(tmp_path, 1, 2)
    assert main(["report", str(folder.plan)]) == 2
    told = capsys.readouterr().err
    assert f"name the folder around it: {folder.root}\n" in told and "make one with" not in told


@pytest.mark.parametrize("name", ["case", "data"])
@pytest.mark.parametrize("path", ["a\nb", "\x1b[2Jcase.toml", "../case\u202e.toml", " "])
def test_a_source_with_control_characters_is_refused_and_not_printed(tmp_path, name, path):
    folder = written(tmp_path, 1, 2)
    source = folder.root / "source.json"
    source.write_text(json.dumps(json.loads(source.read_text()) | {name: path}))
    with pytest.raises(PlanFileError, match=rf"source\.json: {name}: .* in one line") as refusal:
        folder.load()
    assert str(refusal.value).isprintable()


def test_an_applicator_with_an_endless_name_is_not_told_whole():
    with pytest.raises(DeviceError, match="no applicator is named 'aaa") as refusal:
        builtin_catalogue().applicator("a" * 5000)
    assert "a" * 61 not in str(refusal.value)


def test_a_folder_in_the_place_of_a_file_is_told_by_its_name(tmp_path):
    folder = PlanFolder(tmp_path)
    folder.assessment.mkdir()
    with pytest.raises(IsADirectoryError) as refusal:
        write_json(folder.assessment, {})
    assert refusal.value.filename == str(folder.assessment) and refusal.value.filename2 is None
    assert list(tmp_path.iterdir()) == [folder.assessment]


def skin_map() -> SkinMap:
    """Two entries, one open and one blocked, by two constraints."""
    entries = np.array([[10.0, -20.0, 30.0], [12.0, -25.0, 31.0]])
    return SkinMap(
        ("skin angle", "vessel"), ("deg", "mm"), entries, np.array([9, 4]), np.array([3, 0]), np.array([0.5, 0.0]),
        np.array([7, -1]), np.array([-1, 1]), np.array([[0.0, 0.0], [0.0, 1.25]]),
    )  # fmt: skip


def test_a_skin_map_is_read_as_it_was_written(tmp_path):
    folder = PlanFolder(tmp_path)
    folder.write_skin_map(skin_map())
    read = folder.read_skin_map()
    assert read is not None and to_json(read) == to_json(skin_map())
    empty = SkinMap((), (), np.zeros((0, 3)), *[np.zeros(0)] * 5, np.zeros((0, 0)))
    folder.write_skin_map(empty)
    assert folder.read_skin_map() is not None and len(folder.read_skin_map()) == 0


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("candidates", [1e30, 4], "candidates of a skin map must be whole numbers from 1 to"),
        ("candidates", [-5, 4], "candidates .* not -5"),
        ("candidates", [9.5, 4], r"candidates .* not 9\.5"),
        ("candidates", [2, 4], "more feasible paths than candidates"),
        ("feasible", [-1, 0], "feasible of a skin map"),
        ("best_row", [10**17, -1], "best_row of a skin map must be whole numbers from -1 to"),
        ("best_cost", [-1e300, 0.0], "best_cost of a skin map must be numbers from"),
        ("blocked_by", [-7, 1], "blocked_by of a skin map"),
        ("blocked_by", [-1, 2], "either a feasible path or a constraint"),
        ("opening", [[0.0, 0.0], [0.0, 1e308]], "opening of a skin map must be numbers from 0 to"),
        ("opening", [[0.0, 0.0], [0.0, -1.0]], "opening .* not -1"),
        ("opening", [[0.0], [1.0]], r"opening of a skin map must have the shape \(2, 2\), not \(2, 1\)"),
        ("opening", [], "opening of a skin map must have the shape"),
        ("entry_mm", [[1e308, 0.0, 0.0], [0.0, 0.0, 0.0]], "entry_mm of a skin map must be numbers from"),
        ("entry_mm", [1.0, 2.0], r"entry_mm of a skin map must have the shape \(2, 3\)"),
    ],
)
def test_a_skin_map_that_no_search_can_have_given_is_refused(tmp_path, recwarn, field, value, why):
    folder = PlanFolder(tmp_path / "stranger")
    folder.write_skin_map(skin_map())
    content = json.loads(folder.skin_map.read_text())
    folder.skin_map.write_text(json.dumps(content | {field: value}))
    with pytest.raises(PlanFileError, match=why) as refusal:
        folder.read_skin_map()
    assert "stranger/skin_map.json" in str(refusal.value) and "\n" not in str(refusal.value)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]
