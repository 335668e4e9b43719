"""A small made patient: an oval body with a ball of a target in an egg of an organ, and a spine."""

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.frames import FloatArray
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance
from robots.catalogue import load_robot
from robots.clearance import Surroundings
from robots.frames import PatientPlacement, place_anatomy
from robots.reachability import BaseGrid, BaseStatus, place_base
from robots.route import RobotRoute


def ellipsoid(centre: tuple[float, float, float], axes: tuple[float, float, float], rings: int = 16) -> SurfaceMesh:
    """A closed ellipsoid with poles along z and faces that look outward."""
    sectors = 2 * rings
    theta = np.pi * np.arange(1, rings) / rings
    phi = 2 * np.pi * np.arange(sectors) / sectors
    ring = np.stack(
        [
            np.outer(np.sin(theta), np.cos(phi)),
            np.outer(np.sin(theta), np.sin(phi)),
            np.outer(np.cos(theta), np.ones(sectors)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([ring, [[0, 0, 1.0], [0, 0, -1.0]]])
    top, bottom = len(points) - 2, len(points) - 1
    faces = []
    for k in range(sectors):
        n = (k + 1) % sectors
        faces.append((top, k, n))
        last = (rings - 2) * sectors
        faces.append((bottom, last + n, last + k))
        for r in range(rings - 2):
            a, b = r * sectors, (r + 1) * sectors
            faces += [(a + k, b + k, b + n), (a + k, b + n, a + n)]
    return SurfaceMesh(points * np.asarray(axes) + np.asarray(centre), np.asarray(faces, dtype=np.int32))


def surface(name: str, role: Role, mesh: SurfaceMesh) -> StructureSurface:
    return StructureSurface(name, role, mesh, None, np.zeros(len(mesh.faces), dtype=bool), 0.0)


CENTRE = (20.0, -35.0, 105.0)


def make_anatomy(move: FloatArray | None = None) -> Anatomy:
    meshes = {
        ("skin", Role.SKIN): ellipsoid((12.0, -10.0, 100.0), (150.0, 105.0, 260.0), 24),
        ("liver", Role.ORGAN): ellipsoid((25.0, -30.0, 105.0), (80.0, 55.0, 70.0)),
        ("tumour", Role.TARGET): ellipsoid(CENTRE, (14.0, 12.0, 15.0)),
        ("hepatic vein", Role.VESSEL): ellipsoid((50.0, -25.0, 120.0), (15.0, 4.0, 4.0), 8),
        ("aorta", Role.VESSEL): ellipsoid((10.0, 48.0, 100.0), (10.0, 10.0, 150.0), 8),
        ("right kidney", Role.CRITICAL): ellipsoid((-60.0, 45.0, 60.0), (22.0, 20.0, 45.0), 8),
        ("spine", Role.BONE): ellipsoid((12.0, 72.0, 100.0), (18.0, 16.0, 240.0), 8),
    }
    case = Case(
        "ball",
        tuple(Structure(name, role, mesh) for (name, role), mesh in meshes.items()),
        PatientPosition.SUPINE,
        "h",
    )
    if move is not None:
        case = case.moved(move)
    surfaces = tuple(surface(s.name, s.role, s.geometry) for s in case.structures)  # type: ignore[arg-type]
    return Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), dtype=bool))


def make_plan(anatomy: Anatomy, count: int = 1) -> Plan:
    """Needles from the front, oblique, into the tumour; in the axes of the patient."""
    axes = anatomy.axes  # lateral (to the left when supine), up, cranial
    centre = anatomy.target.mesh.vertices_mm.mean(axis=0)
    insertions = []
    for k in range(count):
        out = axes @ np.array([0.25 - 0.3 * k, 1.0, -0.15])
        out /= np.linalg.norm(out)
        tip = centre - 8.0 * out
        entry = centre + 66.0 * out
        ablations = (Ablation(tuple(tip), 60.0, 300.0), Ablation(tuple(tip + 12.0 * out), 60.0, 120.0))
        insertions.append(
            Insertion(tuple(entry), tuple(tip), "generic-mwa-2450", ablations, {"aorta": 30.0}, k + 1)
        )
    return Plan(
        "ball", "h", PlanStatus.COMPLETE, (), tuple(insertions), None, {}, 10, 5, None,
        Provenance("0", {}, 0, {}),
    )  # fmt: skip


def route_for(plan: Plan, anatomy: Anatomy, placement: PatientPlacement | None = None) -> RobotRoute:
    placed = placement or place_anatomy(anatomy)
    found = place_base(
        plan.insertions, load_robot(), placed, Surroundings(placed, anatomy.entry.mesh),
        grid=BaseGrid(gaps_m=(0.2,), along_m=(-0.15, 0.0), heights_m=(0.0,), sides=(1,)),
    )  # fmt: skip
    assert found.status is BaseStatus.COMPLETE, [route.reason for route in found.route.insertions]
    return found.route
