"""Plans of strangers: what no needle can be is refused before anything is computed of it."""

import dataclasses
import math

import pytest

from needleplan.errors import PlanFileError
from needleplan.io.plan_file import FURTHEST_MM, LONGEST_MM, MOST_OF_EACH, read_plan, write_plan
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance

TIP = (12.5, -40.0, 3.0)
NEEDLE = Insertion((-90.0, 1.0, 2.0), TIP, "probe", (Ablation(TIP, 65.0, 300.0), Ablation(TIP, None, 0.0)))


def read_back(tmp_path, *insertions: Insertion) -> tuple[Insertion, ...]:
    path = tmp_path / "stranger" / "plan.json"
    path.parent.mkdir(exist_ok=True)
    made = Provenance("1", {}, 0, {})
    write_plan(path, Plan("case", "hash", PlanStatus.PARTIAL, (), insertions, None, {}, 0, 0, None, made))
    return read_plan(path).insertions


def changed(**fields: object) -> Insertion:
    return dataclasses.replace(NEEDLE, **fields)


def aside(mm: float, then: float = 0.0) -> tuple[float, float, float]:
    """A point that far from the entry, obliquely, and then as much farther along an axis."""
    x, y, z = NEEDLE.entry_mm
    return (x + 0.48 * mm + then, y - 0.6 * mm, z + 0.64 * mm)


def test_possible_insertions_are_read_as_they_were_written(tmp_path):
    far = changed(entry_mm=(FURTHEST_MM, 0.0, -FURTHEST_MM), tip_mm=(FURTHEST_MM - 90.0, 0.0, -FURTHEST_MM))
    kept = (NEEDLE, changed(tip_mm=aside(0.9999 * LONGEST_MM)), dataclasses.replace(far, ablations=()))
    assert read_back(tmp_path, *kept) == kept


@pytest.mark.parametrize("value", [1e9, -1e30, 1e308, 1.0001 * FURTHEST_MM])
@pytest.mark.parametrize("place", ["entry_mm", "tip_mm", "ablation"])
def test_positions_out_of_the_world_are_refused_with_their_place(tmp_path, value, place):
    point = (1.0, value, 2.0)
    bad = changed(ablations=(Ablation(point, 65.0, 1.0),)) if place == "ablation" else changed(**{place: point})
    with pytest.raises(PlanFileError, match="within 10000 mm") as refusal:
        read_back(tmp_path, NEEDLE, bad)
    said = str(refusal.value)
    assert "stranger" in said and "insertion 2" in said and "\n" not in said
    assert ("tip_mm of ablation 1" if place == "ablation" else place) in said


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (changed(tip_mm=aside(1.0001 * LONGEST_MM)), "at most 1000 mm from"),
        (changed(ablations=(Ablation(aside(LONGEST_MM, 1.0), 65.0, 1.0),)), "at most 1000 mm from"),
        (changed(tip_mm=NEEDLE.entry_mm), "must differ"),
        (changed(ablations=(Ablation(TIP, -1.0, 300.0),)), "must not be negative"),
        (changed(ablations=(Ablation(TIP, 65.0, -math.ulp(0.0)),)), "must not be negative"),
        (changed(ablations=(Ablation(TIP, 65.0, 1.0),) * (MOST_OF_EACH + 1)), "at most 1000 ablations"),
    ],
)
def test_what_no_needle_can_be_is_refused(tmp_path, bad, why):
    with pytest.raises(PlanFileError, match=why):
        read_back(tmp_path, bad)


def test_there_may_be_only_so_many(tmp_path):
    assert len(read_back(tmp_path, *[NEEDLE] * MOST_OF_EACH)) == MOST_OF_EACH
    with pytest.raises(PlanFileError, match="at most 1000, not 1001"):
        read_back(tmp_path, *[NEEDLE] * (MOST_OF_EACH + 1))


def test_a_file_that_is_no_json_is_named_with_its_folder(tmp_path):
    path = tmp_path / "one" / "plan.json"
    path.parent.mkdir()
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PlanFileError, match=r"one/plan\.json: not JSON"):
        read_plan(path)
