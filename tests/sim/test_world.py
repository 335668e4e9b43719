import dataclasses
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from made_patient import ellipsoid

import sim.world_arm
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy
from needleplan.errors import GeometryError, OptionError, RobotError
from needleplan.frames import FloatArray, Frame, LengthUnit, RigidTransform
from needleplan.motion.body_motion import BodyMotion
from needleplan.motion.lujan import LujanMotion
from needleplan.motion.tabulated_body import TabulatedBody
from needleplan.viz.palette import look_of, rgb
from robots.catalogue import DESCRIPTIONS, load_robot
from robots.frames import base_pose, place_anatomy
from robots.gantry import Gantry
from robots.model import RobotModel
from robots.standing_robot import rpy_from_rotation
from sim.bullet import MAX_FACES, MAX_VERTICES, Bullet, pybullet, quaternions_of, rotation_of
from sim.patient import PatientSurfaces, patient_surfaces
from sim.world import RehearsalWorld
from sim.world_needles import PIECES

BASE = base_pose((0.55, -0.12, 0.05), 2.4)
INHALED = LujanMotion().displacement_mm(2.0)


@pytest.fixture(scope="module")
def patient(anatomy: Anatomy) -> PatientSurfaces:
    return patient_surfaces(anatomy, TabulatedBody.of_motion(BodyMotion(anatomy, LujanMotion())), 400)


@pytest.fixture
def world(anatomy: Anatomy, patient: PatientSurfaces) -> Iterator[RehearsalWorld]:
    with RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), patient) as world:
        yield world


@pytest.fixture
def own(tmp_path: Path) -> "OwnRobot":
    return OwnRobot(tmp_path)


class OwnRobot:
    """The arm of seven joints with some of its URDF replaced, as a user's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urdf = (DESCRIPTIONS / "needle_arm7.urdf").read_text()
        self.toml = (DESCRIPTIONS / "needle_arm7.toml").read_text()

    def replace(self, old: str, new: str) -> "OwnRobot":
        assert old in self.urdf
        self.urdf = self.urdf.replace(old, new)
        return self

    def load(self) -> RobotModel:
        (self.folder / "needle_arm7.urdf").write_text(self.urdf)
        (self.folder / "needle_arm7.toml").write_text(self.toml)
        return load_robot(self.folder / "needle_arm7.toml")


def assert_same_kinematics(world: RehearsalWorld, robot: RobotModel, X_WB: RigidTransform) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        q, driver = rng.uniform(robot.q_min, robot.q_max), rng.uniform(0.0, robot.driver_stroke_m)
        world.pose_arm([*q, driver])
        expected = robot.link_poses(q[None], np.array([driver]))
        found = world.link_poses()
        assert set(found) == set(expected)
        for link, pose in found.items():
            assert pose == pytest.approx(X_WB.matrix @ expected[link][0], abs=1e-6)
        # The needle's frame is its tip, and +z leads into the patient; it lies on the guide's axis.
        guide = (X_WB @ robot.forward(q)).matrix
        assert world.guide_matrix() == pytest.approx(guide, abs=1e-6)
        pose = world.needle_pose()
        assert pose.translation == pytest.approx(guide[:3, 3] + driver * guide[:3, 2], abs=1e-6)
        assert pose.rotation[:, 2] == pytest.approx(guide[:3, 2], abs=1e-6)


@pytest.mark.parametrize("name", ["needle_arm7", "industrial_arm6", "table_guide5"])
def test_pybullet_and_the_robot_model_agree_on_every_link(
    anatomy: Anatomy, patient: PatientSurfaces, name: str
) -> None:
    robot = load_robot(name)
    with RehearsalWorld(robot, BASE, place_anatomy(anatomy), patient) as world:
        assert_same_kinematics(world, robot, BASE)
        moved = base_pose((-0.4, 0.3, -0.2), -1.0)
        world.place_base(moved)
        assert_same_kinematics(world, robot, moved)


@pytest.mark.parametrize("base", ["world", "base_link"])
def test_a_base_mounted_on_a_root_stands_where_it_is_placed(
    anatomy: Anatomy, patient: PatientSurfaces, own: OwnRobot, base: str
) -> None:
    mount = (
        '<link name="world"/><joint name="mount" type="fixed"><parent link="world"/><child link="base_link"/>'
        '<origin xyz="0.3 -0.2 0.7" rpy="0.1 0 1"/></joint></robot>'
    )
    own.toml = own.toml.replace('base_link = "base_link"', f'base_link = "{base}"')
    robot = own.replace("</robot>", mount).load()
    with RehearsalWorld(robot, BASE, place_anatomy(anatomy), patient) as world:
        assert_same_kinematics(world, robot, BASE)


#: The collision shape of link 4.
SHAPE = '<cylinder radius="0.055" length="0.21"/>'


def test_pybullet_reads_a_copy_with_checked_meshes_alone(
    anatomy: Anatomy, patient: PatientSurfaces, own: OwnRobot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mesh = trimesh.creation.box((0.1, 0.08, 0.2))
    text = "mtllib evil.mtl\nusemtl evil\n" + trimesh.exchange.obj.export_obj(mesh)
    (tmp_path / "link4.obj").write_text(text)
    (tmp_path / "evil.mtl").write_text("newmtl evil\nmap_Kd evil.png\n")
    robot = (
        own.replace(SHAPE, '<mesh filename="link4.obj" scale="1 0.5 -1"/>')
        .replace("</robot>", '<gazebo><plugin filename="evil.so"/></gazebo></robot>')
        .replace('<material name="steel">', '<material name="steel"><texture filename="evil.png"/>')
        .replace('<link name="link3">', '<link name="link3"><visual><mesh filename="evil.dae"/><geometry>'
                 '<sphere radius="0.01"/></geometry></visual>')
    ).load()  # fmt: skip
    copied = {}
    original = sim.world_arm.write_checked_copy

    def watched(robot: RobotModel, folder: Path) -> tuple[str, dict[str, Path]]:
        made = original(robot, folder)
        copied.update({path.name: path.read_bytes() for path in folder.iterdir()})
        return made

    monkeypatch.setattr(sim.world_arm, "write_checked_copy", watched)
    with RehearsalWorld(robot, BASE, place_anatomy(anatomy), patient) as world:
        assert_same_kinematics(world, robot, BASE)
        shown = [shape for shape in world.visual_shapes() if shape.kind == "mesh"]
        triangles = world._bullet.p.getCollisionShapeData(
            world._arm.body, world._arm._link["link4"], physicsClientId=world._bullet.client
        )
    assert set(copied) == {"robot.urdf", "mesh_0.stl"}
    assert b"evil" not in b"".join(copied.values()) and struct.unpack("<I", copied["mesh_0.stl"][80:84]) == (12,)
    # Films draw the user's own file, at its scale.
    assert {Path(shape.mesh) for shape in shown} <= {tmp_path / "link4.obj"}
    assert all(shape.size_m == pytest.approx((1.0, 0.5, -1.0)) for shape in shown)
    assert len(triangles) == 1 and triangles[0][2] == pybullet().GEOM_MESH


def test_a_robot_that_pybullet_cannot_load_is_named(
    anatomy: Anatomy, patient: PatientSurfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_robot: RobotModel, folder: Path) -> tuple[str, dict[str, Path]]:
        (folder / "robot.urdf").write_text("<robot/>")
        return "world", {}

    monkeypatch.setattr(sim.world_arm, "write_checked_copy", broken)
    with pytest.raises(RobotError, match=r"PyBullet cannot load needle_arm7\.urdf"):
        RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), patient)


def body_matrix(world: RehearsalWorld, body: int) -> FloatArray:
    bullet = world._bullet
    position, orientation = bullet.p.getBasePositionAndOrientation(body, physicsClientId=bullet.client)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_of(np.array(orientation)), position
    return pose


def test_parts_of_the_patient_lie_where_the_body_carries_them(
    world: RehearsalWorld, patient: PatientSurfaces, anatomy: Anatomy
) -> None:
    placement = place_anatomy(anatomy)
    for displacement in (np.zeros(3), INHALED, 0.4 * INHALED):
        state = patient.body.state(displacement)
        poses, misfit = patient.poses(state)
        assert world.pose_patient(state) == pytest.approx(misfit)
        for part, body, pose, left in zip(patient.parts, world._bodies, poses, misfit, strict=True):
            matrix = body_matrix(world, body)
            landmarks = part.landmarks_mm * 1e-3 @ matrix[:3, :3].T + matrix[:3, 3]
            posed = placement.points_to_world(part.landmarks_mm @ pose[:3, :3].T + pose[:3, 3])
            assert landmarks == pytest.approx(posed, abs=1e-6)
            carried = placement.points_to_world(state.carry(part.landmarks_mm, part.inside))
            assert np.linalg.norm(landmarks - carried, axis=1).max() <= left * 1e-3 + 1e-6


def test_touches_are_found_and_only_where_there_are_any(world: RehearsalWorld, patient: PatientSurfaces) -> None:
    robot = load_robot()
    world.pose_patient(patient.body.state(np.zeros(3)))
    world.pose_arm([*robot.home, 0.0])
    assert world.touches() == ()
    # Upright arm laid over to the side of the table and down into patient and table.
    q = np.zeros(7)
    q[0], q[1] = 0.0, np.deg2rad(118.0)
    world.place_base(base_pose((0.55, 0.0, 0.05), np.pi))
    world.pose_arm([*q, 0.0])
    touched = {part for _, part in world.touches()}
    assert "table" in touched or any("skin" in part for part in touched)


@pytest.mark.parametrize(
    ("name", "X_WB"),
    [
        ("needle_arm7", base_pose((0.7, 0.0, -0.75), np.pi)),
        ("industrial_arm6", base_pose((0.9, 0.0, -0.75), np.pi)),
        ("table_guide5", base_pose((0.25, 0.0, 0.0), np.pi)),
    ],
)
def test_a_base_may_touch_what_it_stands_on(
    anatomy: Anatomy, patient: PatientSurfaces, name: str, X_WB: RigidTransform
) -> None:
    robot = load_robot(name)
    with RehearsalWorld(robot, X_WB, place_anatomy(anatomy), patient) as world:
        world.pose_arm([*robot.home, 0.0])
        assert world.touches() == ()
        # Sunk into what it is not mounted on, it is found.
        sunk = base_pose((0.0, -0.9, -0.05), 0.0) if name != "table_guide5" else base_pose((1.5, 0.0, -0.75), 0.0)
        world.place_base(sunk)
        assert {part for _, part in world.touches()} & {"table", "floor"} == (
            {"table"} if name != "table_guide5" else {"floor"}
        )


def test_the_gantry_is_an_obstacle(anatomy: Anatomy, patient: PatientSurfaces) -> None:
    robot = load_robot()
    away, over = Gantry(centre_along_table_m=1.5), Gantry(depth_m=0.4, centre_along_table_m=-0.12)
    for gantry, expected in ((None, set()), (away, set()), (over, {"gantry"})):
        with RehearsalWorld(robot, BASE, place_anatomy(anatomy), patient, gantry=gantry) as world:
            world.pose_arm([*robot.home, 0.0])
            assert {part for _, part in world.touches()} == expected


def test_the_needle_may_be_in_tissue(world: RehearsalWorld, patient: PatientSurfaces, anatomy: Anatomy) -> None:
    robot = load_robot()
    q = np.array(robot.home)
    # Put the base so that the tip of a needle fully out stands in the tumour.
    tip = robot.forward(q).apply([0.0, 0.0, robot.driver_stroke_m])
    centre = place_anatomy(anatomy).points_to_world(anatomy.target.mesh.vertices_mm.mean(axis=0))
    world.pose_patient(patient.body.state(np.zeros(3)))
    world.place_base(
        RigidTransform.from_parts(Frame.WORLD, Frame.ROBOT_BASE, np.eye(3), centre - tip, LengthUnit.METRE)
    )
    world.pose_arm([*q, robot.driver_stroke_m])
    assert world.needle_pose().translation == pytest.approx(centre, abs=1e-6)
    assert all(link != "needle" for link, _ in world.touches())


def arc_mm(bend_mm: float, centre: FloatArray, along: FloatArray, across: FloatArray) -> FloatArray:
    """A needle of 150 mm that bends aside by so much."""
    share = np.linspace(0.0, 1.0, 24)[:, None]
    return centre + 150.0 * share * along + bend_mm * share**2 * across


def capsule_ends(world: RehearsalWorld, order: int) -> FloatArray:
    """(pieces, 2, 3) ends of the axes of a needle's capsules in the world."""
    needle = world._needles[order]
    ends = []
    for body, length in zip(needle.bodies, needle._lengths, strict=True):
        pose = body_matrix(world, body)
        half = 0.5 * length * pose[:3, 2]
        ends.append([pose[:3, 3] - half, pose[:3, 3] + half])
    return np.array(ends)


def test_a_needle_that_was_left_lies_along_its_polyline(world: RehearsalWorld, anatomy: Anatomy) -> None:
    placement = place_anatomy(anatomy)
    along, across = np.array([0.48, -0.6, 0.64]), np.array([0.8, 0.0, -0.6])
    start = np.array([10.0, -60.0, 90.0])
    for step, bend in enumerate((0.0, 10.0, -6.0)):
        polyline = arc_mm(bend, start + step, along, across)
        if step:
            world.move_needle(3, polyline)
        else:
            world.place_needle(3, polyline)
        wanted = placement.points_to_world(polyline)
        ends = capsule_ends(world, 3)
        assert ends.shape == (PIECES, 2, 3)
        points = np.sort(np.concatenate([ends[0], ends[-1]])[:, 1])
        assert points[[0, -1]] == pytest.approx(np.sort(wanted[[0, -1], 1]), abs=1e-4)
        axis = ends[:, :1] + np.linspace(0, 1, 50)[:, None] * (ends[:, 1:] - ends[:, :1])
        away = np.linalg.norm(wanted[:, None] - axis.reshape(-1, 3), axis=2).min(axis=1)
        assert away.max() < 0.0006
    # Another length is a new chain; everything that it had before is forgotten.
    bodies = len(world._obstacles)
    world.move_needle(3, arc_mm(2.0, start, 0.5 * along, across))
    assert len(world._obstacles) == bodies
    assert np.linalg.norm(np.diff(capsule_ends(world, 3), axis=1), axis=2).sum() == pytest.approx(0.075, abs=1e-4)


def test_a_needle_is_in_the_way_once_the_guide_has_let_go_of_it(world: RehearsalWorld, anatomy: Anatomy) -> None:
    robot, placement = load_robot(), place_anatomy(anatomy)
    q = np.array(robot.home)
    guide = (BASE @ robot.forward(q)).matrix
    back, axis = guide[:3, 3] - 0.05 * guide[:3, 2], guide[:3, 2]
    shaft = placement.points_to_patient(back + np.linspace(0.0, 0.2, 12)[:, None] * axis)
    world.pose_arm([*q, 0.1])
    world.place_needle(1, shaft)
    assert world.touches() == ()  # it lies in the guide that lets it go
    world.pose_arm([*q, 0.0])
    assert world.touches() == ()
    away = base_pose((0.55, 0.4, 0.05), 2.4)
    world.place_base(away)
    assert world.touches() == ()  # apart
    world.place_base(BASE)
    assert ("guide", "needle 1") in world.touches()
    # One that comes to lie through another link is found at once.
    elbow = world.link_poses()["link4"][:3, 3]
    world.place_base(away)
    assert world.touches() == ()
    world.place_needle(2, placement.points_to_patient(elbow + np.linspace(-0.1, 0.1, 5)[:, None] * [0.0, 0.0, 1.0]))
    world.touches()
    world.place_base(BASE)
    assert any(part == "needle 2" and link != "needle" for link, part in world.touches())


def test_needles_that_cannot_be_are_refused(world: RehearsalWorld) -> None:
    straight = arc_mm(0.0, np.array([0.0, -60.0, 90.0]), np.array([0.0, 0.6, 0.8]), np.zeros(3))
    world.place_needle(1, straight)
    with pytest.raises(OptionError, match="needle 1 is in the patient already"):
        world.place_needle(1, straight)
    with pytest.raises(OptionError, match="no needle 2 was left in the patient: there are 1"):
        world.move_needle(2, straight)
    folded = np.concatenate([straight[:15], straight[13:3:-1]])
    for wrong in (
        straight[:1],
        straight[0],
        folded,
        straight * np.nan,
        straight[:, :2],
        np.repeat(straight[:1], 4, axis=0),
    ):
        with pytest.raises(GeometryError, match="needle 3"):
            world.place_needle(3, wrong)
    for radius_mm in (0.0, -1.0, np.nan, 500.0):
        with pytest.raises(GeometryError, match="radius"):
            world.place_needle(3, straight, radius_mm)
    assert list(world._needles) == [1]


def test_the_same_calls_give_the_same_bits(anatomy: Anatomy, patient: PatientSurfaces) -> None:
    robot = load_robot()

    def run() -> list[object]:
        found: list[object] = []
        with RehearsalWorld(robot, BASE, place_anatomy(anatomy), patient, gantry=Gantry()) as world:
            rng = np.random.default_rng(4)
            world.place_needle(1, arc_mm(5.0, np.array([0.0, -160.0, 90.0]), np.array([0.0, 0.6, 0.8]), np.ones(3)))
            for k in range(30):
                state = patient.body.state(LujanMotion().displacement_mm(0.13 * k))
                misfit = world.pose_patient(state)
                world.pose_arm([*rng.uniform(robot.q_min, robot.q_max), 0.1 * rng.random()])
                found += [misfit.tobytes(), world.needle_matrix().tobytes(), world.touches()]
        return found

    first = run()
    assert first == run() and any(isinstance(item, tuple) and item for item in first)


def test_the_world_disconnects_whatever_happens(anatomy: Anatomy, patient: PatientSurfaces) -> None:
    none = PatientSurfaces((), patient.skin, patient.body)
    with (
        pytest.raises(ZeroDivisionError),
        RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), none) as world,
    ):
        client, p = world._bullet.client, world._bullet.p
        assert p.isConnected(client)
        raise ZeroDivisionError
    assert not p.isConnected(client)
    world.close()
    with pytest.raises(OptionError, match="was closed"):
        world.touches()
    with pytest.raises(RobotError, match="X_WB"):
        RehearsalWorld(
            load_robot(), RigidTransform.identity(Frame.WORLD, Frame.GUIDE), place_anatomy(anatomy), none
        )


def test_nothing_is_printed_by_pybullet() -> None:
    code = "import sim.bullet; sim.bullet.pybullet(); print('ours')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ours\n" and "build time" not in done.stderr


def strip(count: int) -> SurfaceMesh:
    """A narrow strip of so many vertices."""
    places = np.arange(count)
    vertices = np.stack([places // 2, places % 2, np.sin(places)], axis=1).astype(float)
    first = places[:-2]
    return SurfaceMesh(vertices, np.stack([first, first + 1, first + 2], axis=1))


def test_a_surface_too_large_for_pybullet_is_named(anatomy: Anatomy, patient: PatientSurfaces) -> None:
    large = strip(MAX_VERTICES + 1)
    part = dataclasses.replace(patient.parts[1], mesh=large)
    surfaces = PatientSurfaces((part,), patient.skin, patient.body)
    with pytest.raises(RobotError, match=rf"{part.name}, a surface of {len(large.faces)} faces .*fewer faces"):
        RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), surfaces)
    bullet = Bullet.connect()
    try:
        with pytest.raises(RobotError, match=f"many, a surface of {MAX_FACES + 1} faces"):
            bullet.surface("many", np.eye(3), np.zeros((MAX_FACES + 1, 3), dtype=np.int32))
        # What just fits by these numbers is taken, so the limits are not too wide.
        most = strip(MAX_VERTICES - 50)
        assert bullet.surface("most", most.vertices_mm * 1e-3, most.faces) >= 0
    finally:
        bullet.disconnect()


@pytest.mark.parametrize("failure", [-1, SystemError("no room"), None])
def test_a_shape_that_pybullet_does_not_make_is_named(
    anatomy: Anatomy, patient: PatientSurfaces, monkeypatch: pytest.MonkeyPatch, failure: object
) -> None:
    p = pybullet()
    original = p.createCollisionShape

    def failing(kind: int, **dimensions: object) -> int:
        if kind != p.GEOM_MESH:
            return int(original(kind, **dimensions))
        if failure is None:
            raise p.error("createCollisionShape failed.")
        if isinstance(failure, Exception):
            raise failure
        return int(failure)  # type: ignore[call-overload]

    monkeypatch.setattr(p, "createCollisionShape", failing)
    with pytest.raises(RobotError, match=rf"PyBullet cannot take {patient.parts[0].name}, a surface of \d+ faces"):
        RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), patient)


@pytest.mark.parametrize("display", [None, ":97", "nowhere:0"])
def test_without_a_display_no_window_is_opened(
    anatomy: Anatomy, patient: PatientSurfaces, monkeypatch: pytest.MonkeyPatch, display: str | None
) -> None:
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    begun = time.monotonic()
    with pytest.raises(OptionError, match=r"no display: .*leave display off"):
        RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), patient, display=True)
    assert time.monotonic() - begun < 30.0


def test_a_window_that_never_opens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":97")
    monkeypatch.setattr("sim.bullet._TRY_WINDOW", "import time; time.sleep(60)")
    monkeypatch.setattr("sim.bullet._WINDOW_TIMEOUT_S", 0.3)
    with pytest.raises(OptionError, match=r"no window opened within 0\.3 s"):
        Bullet.connect(display=True)


def test_what_is_shown_has_the_colours_of_the_pictures(
    anatomy: Anatomy, patient: PatientSurfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world that has things to look at but no window, as there is no display here."""
    p = pybullet()
    monkeypatch.setattr(
        Bullet, "connect", classmethod(lambda cls, display: cls(p, p.connect(p.DIRECT), True)), raising=True
    )
    with RehearsalWorld(load_robot(), BASE, place_anatomy(anatomy), patient, gantry=Gantry()) as world:
        for part, body in zip(patient.parts, world._bodies, strict=True):
            (shown,) = p.getVisualShapeData(body, physicsClientId=world._bullet.client)
            look = look_of(part.surface)
            assert shown[7] == pytest.approx((*rgb(look.color), look.opacity), abs=1e-6)
        world.place_needle(2, arc_mm(3.0, np.array([0.0, -160.0, 90.0]), np.array([0.0, 0.6, 0.8]), np.ones(3)))
        for body in world._obstacles:
            assert p.getVisualShapeData(body, physicsClientId=world._bullet.client)


def test_quaternions_and_rotations_are_each_others_inverse() -> None:
    rng = np.random.default_rng(3)
    quaternions = rng.normal(size=(200, 4))
    quaternions[:4] = np.eye(4) + 1e-9
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    rotations = np.array([rotation_of(q) for q in quaternions])
    assert np.linalg.det(rotations) == pytest.approx(np.ones(200))
    again = quaternions_of(rotations)
    sign = np.sign((again * quaternions).sum(axis=1, keepdims=True))
    assert again * sign == pytest.approx(quaternions, abs=1e-12)
    assert quaternions_of(rotations[7]) == pytest.approx(again[7], abs=0)
    # By the URDF's angles, and as PyBullet understands them.
    roll, pitch, yaw = rpy_from_rotation(rotations[9])
    theirs = np.array(pybullet().getQuaternionFromEuler([roll, pitch, yaw]))
    assert abs(theirs @ again[9]) == pytest.approx(1.0, abs=1e-12)


def test_a_solid_wholly_within_a_surface_does_not_touch_it(anatomy: Anatomy, patient: PatientSurfaces) -> None:
    """Surfaces are hollow in PyBullet, which the module says; the planner's own clearance knows the inside."""
    part = dataclasses.replace(patient.parts[0], mesh=ellipsoid((0, 0, 0), (3000, 3000, 3000)))
    robot = load_robot()
    with RehearsalWorld(
        robot, BASE, place_anatomy(anatomy), PatientSurfaces((part,), patient.skin, patient.body)
    ) as world:
        world.pose_arm([*robot.home, 0.0])
        assert world.touches() == ()
