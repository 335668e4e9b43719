"""Plans of real patients, their needles judged by engines that share no code with the planner."""

import os
from pathlib import Path

import fcl
import numpy as np
import pytest

from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.load import load_case
from needleplan.case.model import Role
from needleplan.coverage.options import CoverageOptions
from needleplan.io.plan_file import read_plan, write_plan
from needleplan.plan import PlanStatus
from needleplan.plan_clearances import REPORTED_CLEARANCE_CAP_MM
from needleplan.planning import PlanningOptions, make_plan
from needleplan.trajectory.measured import HANDLE_MM
from needleplan.trajectory.sampling import SamplingOptions

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("NEEDLEPLAN_DATA") or ROOT.parent / "shared" / "data")
CASES = ROOT / "examples" / "cases"
FOLDERS = {
    "ircadb01-case01": "ircadb01-case01",
    "ircadb01-case01-largest": "ircadb01-case01",
    "kits23-case_00082": "kits23-kidney",
    "medmpd-liver-patient2": "medmpd-liver",
    "medmpd-lung-patient2": "medmpd-lung",
}
OPTIONS = PlanningOptions(
    sampling=SamplingOptions(entry_spacing_mm=16.0, aim_count=14, maximum_candidates=15_000),
    coverage=CoverageOptions(point_count=1500, paths_per_aim=8, time_limit_s=3.0),
)


def bvh(mesh):
    model = fcl.BVHModel()
    model.beginModel(len(mesh.vertices_mm), len(mesh.faces))
    model.addSubModel(np.asarray(mesh.vertices_mm), np.asarray(mesh.faces, dtype=np.int64))
    model.endModel()
    return fcl.CollisionObject(model)


def segment(start, end):
    """A needle's axis as a triangle without width, which FCL compares with the faces exactly."""
    model = fcl.BVHModel()
    model.beginModel(3, 1)
    model.addSubModel(np.array([start, end, end]), np.array([[0, 1, 2]]))
    model.endModel()
    return fcl.CollisionObject(model)


def axis_distance(obstacle, start, end):
    needle = segment(start, end)
    if fcl.collide(needle, obstacle, fcl.CollisionRequest(), fcl.CollisionResult()):
        return 0.0
    answer = fcl.DistanceResult()
    fcl.distance(needle, obstacle, fcl.DistanceRequest(), answer)
    return max(0.0, answer.min_distance)


def open3d_crossings(mesh, start, end):
    """Number of places where a ray meets a surface between two points."""
    import open3d

    scene = open3d.t.geometry.RaycastingScene()
    centre = mesh.bounds_mm.mean(axis=0)
    scene.add_triangles(
        open3d.core.Tensor((mesh.vertices_mm - centre).astype(np.float32)),
        open3d.core.Tensor(mesh.faces.astype(np.uint32)),
    )
    length = np.linalg.norm(end - start)
    ray = np.concatenate([start - centre, (end - start) / length]).astype(np.float32)[None]
    hits = np.sort(scene.list_intersections(open3d.core.Tensor(ray))["t_hit"].numpy())
    hits = hits[hits <= length]
    # A corner is met in several of its faces: entries lie on corners.
    return int((np.diff(hits, prepend=-1.0) > 1e-3).sum())


@pytest.mark.long
@pytest.mark.parametrize("name", FOLDERS)
def test_needles_of_a_real_patient_keep_what_the_plan_says(name, tmp_path):
    if not (DATA / FOLDERS[name]).is_dir():
        pytest.skip(f"the data of {name} are not here: set NEEDLEPLAN_DATA")
    case = load_case(CASES / f"{name}.toml", DATA)
    anatomy = build_anatomy(case)
    planning = make_plan(AnatomyQueries(anatomy), OPTIONS)
    plan = planning.plan
    write_plan(tmp_path / "plan.json", plan)
    text = (tmp_path / "plan.json").read_text()
    assert read_plan(tmp_path / "plan.json") == plan
    assert str(DATA) not in text and str(ROOT) not in text and str(Path.home()) not in text
    assert plan.evidence and all(item.finding.endswith(".") for item in plan.evidence)
    assert not anatomy.entry.cut_faces[anatomy.entry_faces].any()
    if plan.status is PlanStatus.INFEASIBLE:
        assert not name.startswith("ircadb") and not plan.insertions
        assert sum(plan.rejected.values()) > 0
        return
    applicator = planning.candidates.applicator
    limits = {s.name: s.clearance_mm or OPTIONS.limits.clearance_mm(s.role) for s in anatomy.obstacles}
    obstacles = {s.name: bvh(s.mesh) for s in anatomy.obstacles}
    if name.startswith("ircadb"):
        assert {Role.BONE, Role.LUNG, Role.VESSEL, Role.CRITICAL, Role.SKIN} <= {s.role for s in anatomy.surfaces}
        assert plan.metrics.target_coverage_fraction > 0.8
    skin = bvh(anatomy.entry.mesh)
    assert plan.insertions
    for insertion in plan.insertions:
        entry, tip = np.array(insertion.entry_mm), np.array(insertion.tip_mm)
        assert insertion.clearances_mm.keys() == obstacles.keys()
        for obstacle, reported in insertion.clearances_mm.items():
            exact = axis_distance(obstacles[obstacle], entry, tip)
            assert exact > 0, f"the needle crosses {obstacle}"
            if case.entry_substitute is not None:
                # Where the skin is not known the shaft outside keeps clear as well.
                back = (applicator.usable_length_mm + HANDLE_MM) * insertion.direction
                exact = min(exact, axis_distance(obstacles[obstacle], entry, entry - back))
            exact = min(exact - applicator.radius_mm, REPORTED_CLEARANCE_CAP_MM)
            assert reported == pytest.approx(exact, abs=0.05)
            assert reported >= limits[obstacle] - 0.002
        assert axis_distance(skin, entry, entry + 1e-6) < 1e-3
        # Past the roughness of the first millimetres the skin is not met again, inside or by the shaft outside.
        inward = (tip - entry) / np.linalg.norm(tip - entry)
        assert open3d_crossings(anatomy.entry.mesh, entry + 3.05 * inward, tip) == 0
        assert open3d_crossings(anatomy.entry.mesh, entry - 3.05 * inward, entry - 150 * inward) == 0
        assert open3d_crossings(anatomy.entry.mesh, entry - 3.05 * inward, entry + 3.05 * inward) % 2 == 1
        assert insertion.depth_mm <= applicator.usable_length_mm
        assert -inward @ case.up >= -1e-9
