"""The verdict of a report on needles moved by hand: it tells which demands they break, and claims nothing else."""

import dataclasses
import re
from html import unescape

import numpy as np
import pytest
from page.planned_patient import oblique, planned_patient

from needleplan.app.report_sections import candidates_section, summary_section
from needleplan.app.view.demands import demands_of
from needleplan.app.view.judging import judge
from needleplan.app.view.session import EditSession
from needleplan.plan import Evidence, PlanStatus

NO_PATH = "No needle path satisfies the hard constraints."
BROKEN = "The needles, moved by hand, break hard demands:"


@pytest.fixture(scope="module")
def planned():
    return planned_patient(oblique())


def edited(planned, insertions_of):
    demands = demands_of(planned)
    session = EditSession(planned, demands)
    insertions_of(session)
    paths = tuple(session.path(order).table for order in session.orders)
    return judge(planned, demands, session.insertions(), paths)


def words(html):
    return unescape(re.sub("<[^>]+>", "", html.replace("</li>", "\n").replace("</p>", "\n")))


def test_the_demands_that_moved_needles_break_are_told_first(planned):
    vessel = planned.anatomy.obstacles[0]
    judged = edited(planned, lambda s: s.move(1, "tip", tuple(vessel.mesh.vertices_mm.mean(axis=0))))
    assert judged.plan.status is PlanStatus.INFEASIBLE and len(judged.plan.insertions) == 2
    told = words(summary_section(judged.plan, planned.anatomy))
    assert NO_PATH not in told
    first, rest = told.split("\n", 1)
    assert first == f"infeasible {BROKEN}"
    stated = [line for line in rest.split("\n") if line]
    for line, sentence in zip(stated, judged.broken, strict=False):
        assert sentence.replace("_", " ").replace(" deg", "°") in line
    assert not any(word in "".join(stated[: len(judged.broken)]) for word in ("moved by hand.", "coverage:"))
    besides, moved = stated[len(judged.broken) :][:2]
    assert besides == "Besides:" and moved.startswith("edited by hand: Needle 1 ")
    assert "before needles were moved by hand" in candidates_section(judged.plan)


def test_needles_too_near_to_each_other_are_told_as_broken(planned):
    one = planned.plan.insertions[0]
    beside = np.cross(one.direction, (0.3, 0.5, 0.8))
    shift = beside / np.linalg.norm(beside)

    def move(session):
        session.move(2, "entry", tuple(session.path(1).entry_mm + shift))
        session.move(2, "tip", tuple(np.asarray(one.tip_mm) + shift))

    judged = edited(planned, move)
    pair = [item for item in judged.plan.evidence if item.subject == "needles among each other"]
    assert judged.plan.status is PlanStatus.INFEASIBLE and pair
    told = words(summary_section(judged.plan, planned.anatomy))
    assert told.startswith(f"infeasible {BROKEN}\n") and NO_PATH not in told
    assert told.index(pair[0].finding.split(" (")[0]) < told.index("What was proven")


def test_a_plan_without_needles_says_that_no_path_is_left(planned):
    why = Evidence("feasible paths", "The nearest candidate misses by 3 mm.")
    none = dataclasses.replace(planned.plan, status=PlanStatus.INFEASIBLE, insertions=(), evidence=(why,))
    told = words(summary_section(none, planned.anatomy))
    assert told.startswith(f"infeasible {NO_PATH}\n") and "misses by 3 mm" in told
    assert "moved by hand" not in candidates_section(none)


def test_broken_demands_that_the_plan_does_not_name_are_not_invented(planned):
    bare = dataclasses.replace(planned.plan, status=PlanStatus.INFEASIBLE, evidence=())
    told = words(summary_section(bare, planned.anatomy))
    assert NO_PATH not in told and "break hard demands; which ones, the plan does not say." in told
