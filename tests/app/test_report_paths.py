"""Why a needle goes where it goes: the report's figures are those of the editor, and reasons are the true ones."""

import dataclasses

import numpy as np
import pytest
from page.planned_patient import oblique, planned_patient, with_skin

from needleplan.app.report_paths import paths_section, ways_in
from needleplan.app.view.demands import demands_of
from needleplan.plan import vector3
from needleplan.trajectory.editor import TrajectoryEditor


@pytest.fixture(scope="module")
def planned():
    made = with_skin(planned_patient(oblique()), 23)
    options = {"limits.skin_angle_deg": 45.0, "limits.vessel_mm": 12.0}
    provenance = dataclasses.replace(made.plan.provenance, options=options)
    return dataclasses.replace(made, plan=dataclasses.replace(made.plan, provenance=provenance))


@pytest.fixture(scope="module")
def ways(planned):
    return ways_in(planned, demands_of(planned))


def test_the_planned_path_is_measured_as_by_the_editor(planned):
    demands = demands_of(planned)
    insertion = planned.plan.insertions[0]
    applicator = planned.zone_model.catalogue.applicator(insertion.applicator)
    editor = TrajectoryEditor(
        planned.queries, demands.constraints, demands.objectives, applicator, insertion.entry_mm, insertion.tip_mm
    )  # fmt: skip
    # The editor puts the entry onto the skin.
    moved = dataclasses.replace(insertion, entry_mm=vector3(editor.state.entry_mm))
    (one,) = ways_in(
        dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, insertions=(moved,))), demands
    )
    other = editor.state.table
    assert np.allclose(one.table.tip_mm[0], insertion.tip_mm)
    for column, theirs in zip(one.table.constraints, other.constraints, strict=True):
        assert column.name == theirs.name and column.limit == theirs.limit
        assert column.values[0] == pytest.approx(theirs.values[0], abs=1e-6)
    for column, theirs in zip(one.table.objectives, other.objectives, strict=True):
        assert column.cost[0] == pytest.approx(theirs.cost[0], abs=1e-6)


def test_every_way_leads_to_the_same_middle_of_the_zone(planned, ways):
    for one in ways:
        applicator = planned.zone_model.catalogue.applicator(one.insertion.applicator)
        middle = one.table.tip_mm - applicator.tip_to_centre_mm * one.table.direction
        assert np.abs(middle - middle[0]).max() < 1e-9
        assert len(one.table) == len(planned.skin) + 1
        assert one.weighted[one.table.feasible] == pytest.approx(one.table.cost[one.table.feasible])


def test_reasons_hold_for_the_ways_they_are_told_of(planned, ways):
    text = paths_section(planned)
    for one in ways:
        count = int(one.table.feasible[1:].sum())
        assert f"{count:,} of {len(planned.skin):,} places of the skin offer a way." in text
        assert f"Needle {one.insertion.order}: other ways in" in text
    assert "at most 45.00°" in text and " deg" not in text and "at least 12.00 mm" in text and "is demanded" in text


def test_a_path_that_fails_its_own_demands_is_said_to(planned):
    options = {"limits.skin_angle_deg": 1.0}
    strict = dataclasses.replace(planned.plan.provenance, options=options)
    text = paths_section(dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, provenance=strict)))
    assert "NOT kept" in text and "The planned path itself fails" in text and "skin angle" in text


def test_without_a_skin_map_nothing_is_compared(planned):
    assert "were not kept" in paths_section(dataclasses.replace(planned, skin=None))
    empty = dataclasses.replace(planned.plan, insertions=())
    assert paths_section(dataclasses.replace(planned, plan=empty)) == ""
