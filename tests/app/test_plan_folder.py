"""A plan that was changed after it was written is refused, so that no clearance is shown of another needle."""

import json
from pathlib import Path

import pytest
from small_case import write_case

from needleplan.app.folder import PlanFolder
from needleplan.case.load import load_case
from needleplan.errors import PlanFileError
from needleplan.io.plan_file import write_plan
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance


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
