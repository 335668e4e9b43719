"""A small planned case on an oblique, anisotropic grid, and its desk; planned once for all tests of the page."""

import shutil

import pytest
from small_case import write_case
from viewed_plan import NAME, OPTIONS

from needleplan.app.folder import PlanFolder
from needleplan.app.outputs import load_planned, write_plan_folder
from needleplan.app.page.scene import build_scene
from needleplan.app.pipeline import PlannedCase, plan_case
from needleplan.app.view.desk import PlanningDesk
from needleplan.app.view.scene_parts import editable_scene
from needleplan.case.load import load_case


@pytest.fixture(scope="session")
def planned_folder(tmp_path_factory: pytest.TempPathFactory) -> PlanFolder:
    root = tmp_path_factory.mktemp("view")
    head = f'schema = "needleplan.case"\nversion = 1\nname = "{NAME}"\nposition = "supine"\n'
    manifest = write_case(root / "case", head=head)
    folder = PlanFolder(root / "plan")
    write_plan_folder(folder, plan_case(load_case(manifest), OPTIONS), manifest, None, pictures=False)
    return folder


@pytest.fixture(scope="session")
def planned(planned_folder: PlanFolder) -> PlannedCase:
    return load_planned(planned_folder, None)


@pytest.fixture(scope="session")
def scene(planned: PlannedCase) -> dict:
    return editable_scene(build_scene(planned, deforming=False), planned.plan.insertions, planned.zone_model)


@pytest.fixture(scope="session")
def demands(planned: PlannedCase):
    from needleplan.app.view.demands import demands_of

    return demands_of(planned)


@pytest.fixture
def desk(planned_folder: PlanFolder, planned: PlannedCase, scene: dict, demands):
    saves = planned_folder.root / "edited"
    made = PlanningDesk(planned_folder, planned, scene, saves, demands=demands)
    yield made
    made.close()
    shutil.rmtree(saves, ignore_errors=True)
