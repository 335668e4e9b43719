import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.plan import Insertion
from robots.catalogue import load_robot
from robots.frames import PatientPlacement, place_patient
from robots.model import RobotModel

#: Somewhere in the image, so that no test passes because its origin is zero.
TARGET_MM = np.array([-62.0, -38.0, 523.0])
UP, CRANIAL = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="session")
def arm() -> RobotModel:
    return load_robot()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)


def elliptic_torso(half_width_mm: float = 170.0, half_depth_mm: float = 110.0) -> SurfaceMesh:
    """A closed elliptic cylinder along z with its axis at (10, -30) and ends at z = 300 and 700."""
    import trimesh

    mesh = trimesh.creation.cylinder(1.0, 2.0, sections=64).subdivide().subdivide()
    vertices = np.asarray(mesh.vertices) * [half_width_mm, half_depth_mm, 200.0] + [10.0, -30.0, 500.0]
    return SurfaceMesh(vertices, mesh.faces)


@pytest.fixture(scope="session")
def torso() -> SurfaceMesh:
    return elliptic_torso()


@pytest.fixture(scope="session")
def placement(torso: SurfaceMesh) -> PatientPlacement:
    return place_patient(torso, TARGET_MM, UP, CRANIAL)


def insertion(entry_mm, tip_mm, order: int = 1) -> Insertion:
    return Insertion(tuple(map(float, entry_mm)), tuple(map(float, tip_mm)), "probe", (), {}, order)


@pytest.fixture(scope="session")
def insertions() -> tuple[Insertion, ...]:
    """Three oblique paths from the torso's surface to about the target."""
    return (
        insertion((-60.0, -130.2, 560.0), TARGET_MM, 1),
        insertion((-149.0, -68.9, 500.0), np.add(TARGET_MM, (0.0, 4.0, -6.0)), 2),
        insertion((-100.0, -113.9, 455.0), np.add(TARGET_MM, (5.0, 0.0, 3.0)), 3),
    )
