"""Clearance of capsules against exact distances of the shapes within them, by the Flexible Collision Library."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from robots.arm_settings import Mount
from robots.catalogue import load_robot
from robots.clearance import Gantry, PlacedNeedle, Surroundings, posture_clearances
from robots.description import ShapeKind
from robots.frames import base_pose, place_patient
from robots.model import RobotModel

fcl = pytest.importorskip("fcl")

TARGET_MM = np.array([-62.0, -38.0, 523.0])
#: Where the base of each robot stands; the guide is on the table's rail.
BASES = {
    "needle_arm7": base_pose([0.52, 0.08, -0.15], np.pi - 0.2),
    "industrial_arm6": base_pose([0.52, 0.08, -0.15], np.pi - 0.2),
    "table_guide5": base_pose([0.25, 0.05, 0.0], np.pi),
}
CAP_M = 0.4
NEEDLE = PlacedNeedle(np.array([0.05, 0.06, 0.21]), np.array([0.0, 0.6, -0.8]), 0.12, 0.01)


class Other(RobotModel):
    """A robot with other capsules than its own."""

    def __init__(self, robot, capsules):
        self._robot, self._capsules = robot, capsules

    capsules = property(lambda self: self._capsules)


for _name in RobotModel.__abstractmethods__ - {"capsules"}:
    setattr(Other, _name, property(lambda self, name=_name: getattr(self._robot, name)))
Other.__abstractmethods__ = frozenset()


@pytest.fixture(scope="module", params=BASES)
def arm(request):
    return load_robot(request.param)


@pytest.fixture(scope="module")
def surface(torso):
    """An asymmetric body: a torso with a bulge on one side."""
    vertices = np.array(torso.vertices_mm)
    vertices[:, 0] += 25.0 * np.exp(-(((vertices[:, 2] - 560.0) / 60.0) ** 2)) * (vertices[:, 0] > 60.0)
    return SurfaceMesh(vertices, torso.faces)


@pytest.fixture(scope="module")
def around(surface):
    placed = place_patient(surface, TARGET_MM, [0.25, -0.95, 0.0], [0.0, 0.0, 1.0])
    return Surroundings(placed, surface, Gantry(centre_along_table_m=0.6, depth_m=0.4), [NEEDLE])


def shape_object(shape, pose):
    kinds = {
        ShapeKind.BOX: lambda size: fcl.Box(*size),
        ShapeKind.CYLINDER: lambda size: fcl.Cylinder(*size),
        ShapeKind.SPHERE: lambda size: fcl.Sphere(size[0]),
    }
    matrix = pose @ shape.pose
    return fcl.CollisionObject(kinds[shape.kind](shape.size_m), fcl.Transform(matrix[:3, :3], matrix[:3, 3]))


def mesh_object(vertices, faces):
    model = fcl.BVHModel()
    model.beginModel(len(vertices), len(faces))
    model.addSubModel(vertices, faces)
    model.endModel()
    return fcl.CollisionObject(model)


def distance(first, second):
    if fcl.collide(first, second) > 0:
        return 0.0
    return fcl.distance(first, second)


@pytest.fixture(scope="module")
def obstacles(around, surface):
    """Exact obstacles, the patient with the ends moved out by half a metre."""
    placed, gantry = around.placement, around.gantry
    low, high = placed.table.box_m
    table = fcl.CollisionObject(fcl.Box(*(high - low)), fcl.Transform(np.eye(3), (low + high) / 2))
    middle = NEEDLE.entry_m - 0.5 * NEEDLE.outside_m * NEEDLE.direction
    side = np.cross(NEEDLE.direction, [1.0, 0.0, 0.0])
    axes = np.stack([np.cross(side, NEEDLE.direction), side, NEEDLE.direction], axis=1)
    vertices, faces = placed.mesh_to_world(surface)
    ends = np.isclose(surface.vertices_mm[:, 2, None], [300.0, 700.0])
    assert ends.any(axis=0).all()
    vertices[:, 1] += 0.5 * ends[:, 1] - 0.5 * ends[:, 0]
    return {
        "patient_m": mesh_object(vertices, faces),
        "table_m": table,
        "gantry_m": mesh_object(*gantry.mesh()),
        "needles_m": fcl.CollisionObject(
            fcl.Capsule(NEEDLE.radius_m, NEEDLE.outside_m), fcl.Transform(axes, middle)
        ),
    }


def shape_objects(arm, q):
    poses = arm.link_poses(q[None], np.zeros(1))
    return [
        (link.name, shape_object(shape, BASES[arm.name].matrix @ poses[link.name][0]))
        for link in arm.tree.links.values()
        for shape in link.collision
    ]


@pytest.fixture(scope="module")
def postures(arm):
    """Postures of which many come near to the patient, the needle and the gantry, and some hit them."""
    away = np.random.default_rng(11).uniform(-0.45, 0.45, size=(70, len(arm.q_min)))
    return np.clip(arm.home + away * (arm.q_max - arm.q_min), arm.q_min, arm.q_max)


@pytest.fixture(scope="module")
def truth(arm, postures, obstacles):
    """For each link and obstacle the exact distances (k,), 0 where they touch; the same for pairs of links."""
    floor = fcl.CollisionObject(fcl.Box(9.0, 9.0, 1.0), fcl.Transform(np.eye(3), np.array([0.0, 0.0, -1.25])))
    found = {}
    for k, q in enumerate(postures):
        parts = shape_objects(arm, q)
        for link, part in parts:
            for name, other in obstacles.items():
                values = found.setdefault((name, link), np.full(len(postures), np.inf))
                values[k] = min(values[k], distance(part, other))
            if link != arm.base_link:
                found["table_m", link][k] = min(found["table_m", link][k], distance(part, floor))
        for (first, part), (second, other) in combinations(parts, 2):
            if first != second and frozenset((first, second)) not in arm.free_pairs:
                values = found.setdefault(("self_m", first, second), np.full(len(postures), np.inf))
                values[k] = min(values[k], distance(part, other))
    return found


def excess(arm, capsules, postures, around, truth):
    """For each kind of clearance how much of it is beyond the exact distance, and how many hits it does not see.

    In shares of the capsules' radii as well.
    """
    over, shares, missed = {}, {}, 0
    for (name, *links), exact in truth.items():
        if name == "table_m" and links == [arm.base_link] and arm.mount is Mount.TABLE:
            continue
        part = Other(arm, tuple(capsule for capsule in capsules if capsule.link in links))
        values = getattr(posture_clearances(part, BASES[arm.name], postures, around, cap_m=CAP_M), name)
        radii = sum(max(c.radius_m for c in part.capsules if c.link == link) for link in links)
        within = (exact < CAP_M) & (exact > 0) & (values > 0)
        over.setdefault(name, []).extend(values[within] - exact[within])
        shares.setdefault(name, []).extend((values[within] - exact[within]) / radii)
        missed += int((values[exact == 0] >= 0).sum())
    return *({name: np.array(values) for name, values in each.items()} for each in (over, shares)), missed


def test_clearance_never_exceeds_the_exact_distance_of_the_shapes(arm, around, postures, truth):
    over, shares, missed = excess(arm, arm.capsules, postures, around, truth)
    assert missed == 0 and sum((values == 0).sum() for values in truth.values()) > 5
    for name, values in over.items():
        # fcl's distance of curved shapes is iterative, to 1e-6.
        assert len(values) > 100 and values.max() < 2e-6, name
        # Nor is it lower by more than the capsule's radius, as its axis lies within its shape; mostly by far less.
        # Of two curved shapes, fcl's distance is itself up to 7 mm more than that of points on them.
        assert name == "self_m" or (shares[name].min() > -1.0 and np.median(values) > -0.008), name


def test_capsules_that_are_too_thin_are_noticed(arm, around, postures, truth):
    thin = [replace(capsule, radius_m=0.95 * capsule.radius_m) for capsule in arm.capsules]
    over, _, _ = excess(arm, thin, postures, around, truth)
    assert all(values.max() > 1e-3 for values in over.values())


def test_a_capsule_in_the_wrong_place_is_noticed(arm, around, postures, truth):
    shift = np.array([0.0, 0.0, 0.02])
    moved = [
        replace(capsule, start_m=capsule.start_m + shift, end_m=capsule.end_m + shift)
        if capsule.link == "guide"
        else capsule
        for capsule in arm.capsules
    ]
    over, _, _ = excess(arm, moved, postures, around, truth)
    assert over["patient_m"].max() > 2e-3
