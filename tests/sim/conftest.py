"""Fixtures of the made patient, its plan and its route."""

import pytest
from made_patient import make_anatomy, make_plan, route_for
from rehearsals import Patients

from needleplan.anatomy.model import Anatomy
from needleplan.plan import Plan
from robots.route import RobotRoute


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    return make_anatomy()


@pytest.fixture(scope="session")
def plan(anatomy: Anatomy) -> Plan:
    return make_plan(anatomy)


@pytest.fixture(scope="session")
def route(plan: Plan, anatomy: Anatomy) -> RobotRoute:
    return route_for(plan, anatomy)


@pytest.fixture(scope="session")
def patients(anatomy: Anatomy) -> Patients:
    return Patients(anatomy)
