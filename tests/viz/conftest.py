"""A small asymmetric patient: liver and tumour at the right, spleen at the left, a rib in front, lungs nowhere."""

import numpy as np
import pytest
import trimesh

from needleplan.ablation.contract import LethalZone
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.plan import Ablation, Insertion


def ellipsoid(centre, radii, subdivisions=3) -> SurfaceMesh:
    ball = trimesh.creation.icosphere(subdivisions, 1.0)
    return SurfaceMesh(ball.vertices * np.asarray(radii) + np.asarray(centre), ball.faces)


class Balls(LethalZone):
    """The union of balls."""

    def __init__(self, *balls):
        self.balls = [(np.asarray(centre, dtype=float), float(radius)) for centre, radius in balls]

    def signed_distance_mm(self, points_mm):
        points = np.asarray(points_mm, dtype=float)
        return np.max([r - np.linalg.norm(points - c, axis=-1) for c, r in self.balls], axis=0)

    @property
    def margin_error_mm(self):
        return float("inf")

    @property
    def bounds_mm(self):
        return np.stack(
            [np.min([c - r for c, r in self.balls], axis=0), np.max([c + r for c, r in self.balls], axis=0)]
        )

    def surfaces(self):
        return tuple(ellipsoid(c, (r, r, r), 4) for c, r in self.balls)


TUMOUR_MM = np.array([-70.0, -25.0, 20.0])


def build(meshes, position=PatientPosition.SUPINE) -> Anatomy:
    structures = tuple(Structure(name, role, mesh) for name, role, mesh in meshes)
    case = Case("small", structures, position, "0" * 64)
    surfaces = tuple(
        StructureSurface(name, role, mesh, None, np.zeros(len(mesh.faces), bool), 0.5)
        for name, role, mesh in meshes
    )
    return Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), bool))


@pytest.fixture(scope="session")
def patient() -> Anatomy:
    return build(
        [
            ("skin", Role.SKIN, ellipsoid((0, 0, 0), (160, 110, 150), 4)),
            ("liver", Role.ORGAN, ellipsoid((-70, -10, 10), (60, 60, 50))),
            ("spleen", Role.CRITICAL, ellipsoid((90, 30, 20), (25, 30, 35))),
            ("sternum", Role.BONE, ellipsoid((0, -85, 10), (15, 8, 60))),
            ("portal_vein", Role.VESSEL, ellipsoid((-30, 0, 5), (25, 6, 6))),
            ("tumour", Role.TARGET, ellipsoid(TUMOUR_MM, (12, 9, 14))),
        ]
    )


@pytest.fixture(scope="session")
def insertions() -> tuple[Insertion, ...]:
    tip = tuple(TUMOUR_MM + np.array([0.0, 4.0, 0.0]))
    first = Insertion((-100.0, -88.0, 25.0), tip, "probe", (Ablation(tip, 60.0, 300.0),), {"portal_vein": 7.0}, 1)
    other = tuple(TUMOUR_MM + np.array([6.0, 0.0, -5.0]))
    second = Insertion((-40.0, -105.0, -10.0), other, "probe", (Ablation(other, None, 300.0),), {}, 2)
    return (first, second)


@pytest.fixture(scope="session")
def zone() -> Balls:
    return Balls((TUMOUR_MM, 17.0), (TUMOUR_MM + np.array([8.0, 0.0, -6.0]), 15.0))
