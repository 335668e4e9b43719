"""Routes of strangers: what is no route of the robot that it names is refused before anything is drawn."""

import copy
import json
from functools import cache

import pytest
from planned_patient import planned_patient

from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import report_route
from needleplan.app.page.scene_robot import require_route, robot_surfaces
from needleplan.errors import PlanFileError
from needleplan.io.plan_file import write_json
from robots.route import route_to_json
from tests.sim.made_patient import route_for


@cache
def carried():
    planned = planned_patient(count=1)
    return planned, json.loads(json.dumps(route_to_json(route_for(planned.plan, planned.anatomy))))


def changed(last: object, order: object = 1) -> dict:
    """The route with other positions at the end of its insertion."""
    route = copy.deepcopy(carried()[1])
    (insertion,) = route["insertions"]
    insertion["order"] = order
    (segment,) = (one for one in insertion["segments"] if one["phase"] == "insert")
    segment["positions"][-1] = last
    return route


BAD = [[], [0.1, 0.2], [0.0] * 7, [0.0] * 9, [0.0] * 7 + [1e300], [0.0] * 7 + ["x"], [[0.0]] * 8, 5, [10**400] * 8]


@pytest.mark.parametrize("last", BAD)
def test_positions_that_are_not_those_of_the_robot_are_refused(last, tmp_path):
    route = changed(last)
    for ask in (require_route, lambda one: robot_surfaces(one, carried()[0].anatomy)):
        with pytest.raises(PlanFileError, match=r"the route is damaged.*; make it again$") as refusal:
            ask(route)
        assert "\n" not in str(refusal.value)
    folder = PlanFolder(tmp_path / "stranger")
    write_json(folder.route, route)
    with pytest.raises(PlanFileError, match=r"stranger/route\.json: the route is damaged"):
        report_route(folder, carried()[0])


@pytest.mark.parametrize("order", [True, "1", None, 1.5])
def test_an_insertion_without_a_number_is_refused(order):
    with pytest.raises(PlanFileError, match="names no order"):
        require_route(changed([0.0] * 8, order))


def test_a_sound_route_and_that_of_an_unknown_robot_pass():
    require_route(carried()[1])
    require_route(changed([0.0] * 8))
    require_route(changed([]) | {"robot": "nobody's"})
