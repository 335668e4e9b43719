"""What leaves for other programs: trajectories as CSV and for ROS 2, the robot as URDF and SRDF."""

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest

from needleplan.errors import FrameError, RobotError
from needleplan.frames import Frame, LengthUnit, RigidTransform
from robots.catalogue import DESCRIPTIONS, list_robots, load_robot
from robots.frames import base_pose
from robots.model import RobotModel
from robots.ros_message import MESSAGE_TYPE, joint_trajectory_cdr, write_trajectory_bag
from robots.route import InsertionRoute, Phase, RobotRoute, RouteStatus, Segment
from robots.semantic_description import srdf_text
from robots.standing_robot import rpy_from_rotation, stand_in_world
from robots.trajectory_text import route_from_csv, route_to_csv
from robots.urdf_reader import read_urdf, rotation_from_rpy
from robots.urdf_xml import parse_xml


@pytest.fixture(scope="module", params=list_robots())
def robot(request) -> RobotModel:
    return load_robot(request.param)


@pytest.fixture
def X_WB() -> RigidTransform:
    """An oblique place of the base, as on a tilted cart."""
    rotation = rotation_from_rpy(0.11, -0.2, 2.1)
    return RigidTransform.from_parts(
        Frame.WORLD, Frame.ROBOT_BASE, rotation, (0.31, -0.42, -0.75), LengthUnit.METRE
    )


def made_route(robot: RobotModel, X_WB: RigidTransform) -> RobotRoute:
    """A route with numbers of all digits: two insertions that are reached and one between them that is not."""
    rng = np.random.default_rng(99)
    count = len(robot.q_min) + 1

    def segment(phase: Phase, known: bool) -> Segment:
        samples = int(rng.integers(3, 9))
        time = np.concatenate([[0.0], np.cumsum(rng.uniform(0.004, 0.3, samples - 1))])
        positions, speeds, accelerations = rng.normal(size=(3, samples, count))
        return Segment(phase, time, positions, *((speeds, accelerations) if known else ()))

    def insertion(order: int, reached: bool) -> InsertionRoute:
        status = RouteStatus.REACHED if reached else RouteStatus.UNREACHED
        segments = tuple(segment(phase, order != 4) for phase in Phase) if reached else ()
        X_WG = RigidTransform.identity(Frame.WORLD, Frame.GUIDE, LengthUnit.METRE)
        return InsertionRoute(order, status, "", np.zeros(3), np.ones(3), X_WG, 0.03, 0.1, segments)

    names = (*robot.joint_names, robot.driver_joint_name)
    return RobotRoute(robot.name, names, X_WB, (insertion(2, True), insertion(3, False), insertion(4, True)))


@pytest.fixture
def route(robot, X_WB) -> RobotRoute:
    return made_route(robot, X_WB)


def same(one: Segment, two: Segment) -> bool:
    def equal(first, second) -> bool:
        return (first is None and second is None) or np.array_equal(first, second)

    names = ("time_s", "positions", "velocities", "accelerations")
    return one.phase is two.phase and all(equal(getattr(one, name), getattr(two, name)) for name in names)


def test_a_trajectory_survives_csv_to_the_last_digit(route, robot):
    table = route_from_csv(route_to_csv(route, robot))
    assert table.joint_names == route.joint_names
    assert list(table.insertions) == [2, 4]  # what is not reached has no rows
    for insertion in route.insertions:
        found = table.insertions.get(insertion.order, ())
        assert len(found) == len(insertion.segments)
        assert all(same(one, two) for one, two in zip(insertion.segments, found, strict=True))


def test_the_csv_states_units_and_one_time_axis_for_each_insertion(route, robot):
    lines = [line.split(",") for line in route_to_csv(route, robot).splitlines()]
    heading, rows = lines[0], lines[1:]
    assert heading[:4] == ["insertion", "phase", "time_s", "phase_time_s"]
    for name, prismatic in zip(robot.joint_names, robot.chain.prismatic, strict=True):
        unit = "m" if prismatic else "rad"
        for kind in (f"position [{unit}]", f"speed [{unit}/s]", f"acceleration [{unit}/s^2]"):
            assert f"{name} {kind}" in heading
    assert f"{robot.driver_joint_name} position [m]" in heading
    for insertion in route.insertions:
        times = [float(row[2]) for row in rows if row[0] == str(insertion.order)]
        assert (np.diff(times) >= 0).all()
        assert (times[-1] if times else 0.0) == pytest.approx(insertion.duration_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "line 1"),
        (lambda text: text.replace("phase_time_s", "phase_time_ms"), "line 1"),
        (lambda text: text.replace("approach", "aproach", 1), "line 2 of the trajectory.*aproach"),
        (lambda text: "\n".join([*text.splitlines()[:3], "2,approach,0.1,0.1,1.0"]), "line 4.*5 values where"),
        (lambda text: text.replace("2,approach,0.0,0.0,", "2,approach,0.0,zero,", 1), "line 2.*zero"),
        (lambda text: text.replace("2,approach,0.0,0.0,", "2,approach,0.0,nan,", 1), "line 2.*finite"),
        (lambda text: text.replace("2,approach,0.0,0.0,", "two,approach,0.0,0.0,", 1), "line 2.*two"),
    ],
)
def test_another_table_is_refused_with_its_line(X_WB, change, message):
    robot = load_robot()
    with pytest.raises(RobotError, match=message):
        route_from_csv(change(route_to_csv(made_route(robot, X_WB), robot)))


def test_a_route_of_another_robot_is_refused(X_WB, tmp_path):
    arm, guide = load_robot("needle_arm7"), load_robot("table_guide5")
    route = made_route(arm, X_WB)
    for write in (lambda: route_to_csv(route, guide), lambda: write_trajectory_bag(route, guide, tmp_path / "bag")):
        with pytest.raises(RobotError, match="planned for the robot needle_arm7, not for table_guide5"):
            write()
    with pytest.raises(RobotError, match="8 joints and robot table_guide5 6"):
        joint_trajectory_cdr(route.insertions[0].segments[0], guide)
    assert list(tmp_path.iterdir()) == []


def check_message(message, segment: Segment, robot: RobotModel, stamp_ns: int) -> None:
    assert message.header.frame_id == robot.base_link
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp_ns
    assert message.joint_names == [*robot.joint_names, robot.driver_joint_name]
    assert len(message.points) == len(segment.time_s)
    for k, point in enumerate(message.points):
        np.testing.assert_array_equal(point.positions, segment.positions[k])
        for told, known in ((point.velocities, segment.velocities), (point.accelerations, segment.accelerations)):
            np.testing.assert_array_equal(told, [] if known is None else known[k])
        assert len(point.effort) == 0 and point.time_from_start.nanosec < 10**9
        told_s = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        assert told_s == pytest.approx(segment.time_s[k], abs=1e-9)


def test_a_phase_becomes_a_ros_message(route, robot):
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    for insertion in route.insertions:
        for segment in insertion.segments:
            data = joint_trajectory_cdr(segment, robot, 12_345_678_901)
            check_message(store.deserialize_cdr(data, MESSAGE_TYPE), segment, robot, 12_345_678_901)


def test_the_bytes_follow_the_cdr_encoding(route, robot):
    """Read without the library: encapsulation, time stamp, frame, names and first point as CDR lays them out."""
    pytest.importorskip("rosbags")
    segment = route.insertions[0].segments[0]
    data = joint_trajectory_cdr(segment, robot, 7_000_000_009)
    assert data[:4] == b"\x00\x01\x00\x00"  # CDR, little-endian
    body, place = data[4:], 0

    def take(form: str):
        nonlocal place
        size = struct.calcsize("<" + form[-1])
        place += -place % min(size, 8)
        values = struct.unpack_from("<" + form, body, place)
        place += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text() -> str:
        nonlocal place
        length = take("I")
        place += length
        return body[place - length : place - 1].decode()

    assert (take("i"), take("I"), text()) == (7, 9, robot.base_link)
    names = [text() for _ in range(take("I"))]
    assert names == [*robot.joint_names, robot.driver_joint_name]
    assert take("I") == len(segment.time_s)
    assert take(f"{take('I')}d") == tuple(segment.positions[0])


def test_samples_at_the_same_time_are_refused(robot):
    pytest.importorskip("rosbags")
    positions = np.zeros((3, len(robot.q_min) + 1))
    with pytest.raises(RobotError, match="must rise"):
        joint_trajectory_cdr(Segment(Phase.ALIGN, np.array([0.0, 0.1, 0.1 + 1e-12]), positions), robot)


def test_a_bag_holds_each_phase_as_a_message_of_its_own(route, robot, tmp_path: Path):
    highlevel = pytest.importorskip("rosbags.highlevel")
    folder = tmp_path / "bag"
    write_trajectory_bag(route, robot, folder, start_ns=5)
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    with highlevel.AnyReader([folder]) as reader:
        found = {
            connection.topic: (stamp, reader.deserialize(data, MESSAGE_TYPE))
            for connection, stamp, data in reader.messages()
        }
    planned = [(insertion, segment) for insertion in route.insertions for segment in insertion.segments]
    assert len(found) == len(planned) == 8
    begin = 5
    for insertion, segment in planned:
        stamp, message = found[f"/insertion_{insertion.order}/{segment.phase.value}"]
        assert stamp == pytest.approx(begin, abs=8)
        check_message(message, segment, robot, stamp)
        begin += segment.duration_s * 1e9


def test_a_bag_overwrites_nothing_and_leaves_nothing_half_written(X_WB, tmp_path: Path, monkeypatch):
    pytest.importorskip("rosbags")
    robot = load_robot()
    route = made_route(robot, X_WB)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").write_text("precious")
    with pytest.raises(RobotError, match="exists already"):
        write_trajectory_bag(route, robot, tmp_path / "mine")
    assert (tmp_path / "mine" / "data").read_text() == "precious"
    with pytest.raises(RobotError, match="no folder"):
        write_trajectory_bag(route, robot, tmp_path / "nowhere" / "bag")
    unreached = RobotRoute(robot.name, route.joint_names, X_WB, route.insertions[1:2])
    with pytest.raises(RobotError, match="no insertion of the route is reached"):
        write_trajectory_bag(unreached, robot, tmp_path / "bag")
    # The second insertion cannot be written: of the first nothing stays.
    bad = Segment(Phase.ALIGN, np.zeros(2), np.zeros((2, 8)))
    whole, broken = route.insertions[0], route.insertions[2]
    object.__setattr__(broken, "segments", (bad,))
    with pytest.raises(RobotError, match="must rise"):
        write_trajectory_bag(
            RobotRoute(robot.name, route.joint_names, X_WB, (whole, broken)), robot, tmp_path / "bag"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_the_extra_one_sentence_says_what_to_install(X_WB, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rosbags"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rosbags", None)
    robot = load_robot()
    route = made_route(robot, X_WB)
    with pytest.raises(RobotError, match=r"pip install 'needleplan\[ros\]'"):
        write_trajectory_bag(route, robot, tmp_path / "bag")
    assert list(tmp_path.iterdir()) == []
    assert route_to_csv(route, robot)  # text needs no extra


def test_angles_of_a_rotation_give_it_back():
    rng = np.random.default_rng(2)
    for angles in [*rng.uniform(-np.pi, np.pi, (200, 3)), *([r, p, y] for r, p, y in AT_THE_POLE)]:
        rotation = rotation_from_rpy(*angles)
        np.testing.assert_allclose(rotation_from_rpy(*rpy_from_rotation(rotation)), rotation, atol=1e-12)


def test_an_exact_quarter_turn_of_pitch_gives_its_rotation_back():
    """A guide that lies down: every cosine of the pitch is exactly zero, so roll and yaw are not told apart."""
    sine, cosine = np.sin(0.7), np.cos(0.7)
    for up in (1.0, -1.0):
        rotation = np.array([[0.0, -sine, up * cosine], [0.0, cosine, up * sine], [-up, 0.0, 0.0]])
        np.testing.assert_allclose(rotation_from_rpy(*rpy_from_rotation(rotation)), rotation, atol=1e-15)


#: A pitch of a quarter turn, where roll and yaw turn about the same axis.
AT_THE_POLE = [(0.3, np.pi / 2, -1.2), (0.3, -np.pi / 2, -1.2), (0.0, np.pi / 2, 0.0), (-2.0, np.pi / 2, 2.0)]


def test_the_standing_robot_is_where_its_base_is(robot, X_WB, tmp_path: Path):
    standing = stand_in_world(robot, X_WB)
    assert standing.meshes == {}
    path = tmp_path / "standing.urdf"
    path.write_text(standing.urdf)
    tree = read_urdf(path)
    assert tree.root == "world" and set(tree.links) == {"world", *robot.tree.links}
    pin = pytest.importorskip("pinocchio")
    model = pin.buildModelFromUrdf(str(path))
    data = model.createData()
    q = np.random.default_rng(1).uniform(robot.q_min, robot.q_max, (20, len(robot.q_min)))
    for row in q:
        pin.framesForwardKinematics(model, data, np.append(row, 0.07))
        for name, pose in robot.link_poses(row[None], [0.07]).items():
            theirs = data.oMf[model.getFrameId(name, pin.FrameType.BODY)].homogeneous
            np.testing.assert_allclose(theirs, X_WB.matrix @ pose[0], atol=1e-9)


def check_urdf(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("check_urdf")
    if program is None:
        pytest.skip("check_urdf is not installed (Debian's liburdfdom-tools)")
    return subprocess.run([program, str(path)], capture_output=True, text=True, timeout=20, check=False)


def test_check_urdf_accepts_what_is_written(robot, X_WB, tmp_path: Path):
    path = tmp_path / "standing.urdf"
    path.write_text(stand_in_world(robot, X_WB).urdf)
    found = check_urdf(path)
    assert found.returncode == 0 and "Successfully Parsed XML" in found.stdout
    assert "root Link: world has 1 child(ren)" in found.stdout
    path.write_text(path.read_text().replace("<child", "<nothing"))
    assert check_urdf(path).returncode != 0


def test_meshes_go_along_with_the_standing_robot(X_WB, tmp_path: Path):
    import trimesh

    own, other = tmp_path / "own", tmp_path / "other"
    (own / "meshes").mkdir(parents=True)
    other.mkdir()
    trimesh.creation.box((0.1, 0.08, 0.2)).export(own / "meshes" / "link4.stl")
    text = (DESCRIPTIONS / "needle_arm7.urdf").read_text()
    mesh = '<mesh filename="meshes/link4.stl"/>'
    text = text.replace('<cylinder radius="0.055" length="0.21"/>', mesh)
    text = text.replace(
        "</robot>",
        '<gazebo><plugin filename="libmine.so"/></gazebo>'
        '<material name="m"><texture filename="x.png"/></material></robot>',
    )
    (own / "needle_arm7.urdf").write_text(text)
    (own / "needle_arm7.toml").write_text((DESCRIPTIONS / "needle_arm7.toml").read_text())
    robot = load_robot(own / "needle_arm7.toml")
    standing = stand_in_world(robot, X_WB)
    assert standing.meshes == {"meshes/link4.stl": (own / "meshes" / "link4.stl").resolve()}
    assert "plugin" not in standing.urdf and "texture" not in standing.urdf
    (other / "standing.urdf").write_text(standing.urdf)
    with pytest.raises(RobotError, match=r"link4\.stl.*no such file"):
        read_urdf(other / "standing.urdf")
    for name, file in standing.meshes.items():
        (other / name).parent.mkdir(exist_ok=True)
        shutil.copy(file, other / name)
    assert read_urdf(other / "standing.urdf").links["link4"].collision[0].mesh == other / "meshes" / "link4.stl"


def test_a_place_in_other_frames_is_refused(X_WB):
    robot = load_robot()
    with pytest.raises(FrameError, match="X_WB in metres"):
        stand_in_world(robot, X_WB.inverse())
    with pytest.raises(FrameError, match="in mm"):
        stand_in_world(robot, X_WB.in_unit(LengthUnit.MILLIMETRE))


def own_robot(folder: Path, old: str, new: str, name: str = "mine", base: str = "base_link") -> RobotModel:
    """The arm of seven joints with one replacement in its URDF, under another name."""
    urdf = (DESCRIPTIONS / "needle_arm7.urdf").read_text()
    assert old in urdf
    (folder / "needle_arm7.urdf").write_text(urdf.replace(old, new))
    toml = (DESCRIPTIONS / "needle_arm7.toml").read_text().replace('name = "needle_arm7"', f'name = "{name}"')
    toml = toml.replace('base_link = "base_link"', f'base_link = "{base}"')
    (folder / "mine.toml").write_text(toml)
    return load_robot(folder / "mine.toml")


@pytest.mark.parametrize("base", ["world", "base_link"])
def test_a_robot_with_a_link_called_world_stands_in_another(X_WB, tmp_path: Path, base):
    """A root called world is common; the base may be it, or hang on it somewhere else than in its origin."""
    mount = (
        '<link name="world"/><joint name="world_2_to_world" type="fixed"><parent link="world"/>'
        '<child link="base_link"/><origin xyz="0.3 -0.2 0.7" rpy="0.1 0 1"/></joint>'
        '<link name="world_1"/><joint name="other" type="fixed"><parent link="link3"/>'
        '<child link="world_1"/></joint></robot>'
    )
    robot = own_robot(tmp_path, "</robot>", mount, base=base)
    standing = stand_in_world(robot, X_WB)
    assert standing.world_link == "world_2"
    (tmp_path / "standing.urdf").write_text(standing.urdf)
    tree = read_urdf(tmp_path / "standing.urdf")
    assert tree.root == "world_2" and set(tree.links) == {"world_2", *robot.tree.links}
    place = np.eye(4)
    for joint in tree.chain("world_2", base):
        place = place @ joint.origin
    np.testing.assert_allclose(place, X_WB.matrix, atol=1e-12)
    assert check_urdf(tmp_path / "standing.urdf").returncode == 0


def test_a_name_with_two_dashes_leaves_well_formed_xml(X_WB, tmp_path: Path):
    robot = own_robot(tmp_path, "<!--", "<!-- a-b -->\n<!--", name="a--b")
    assert robot.name == "a--b"
    for text in (stand_in_world(robot, X_WB).urdf, srdf_text(robot)):
        strict = minidom.parseString(text)
        assert strict.documentElement.tagName == "robot"


@pytest.mark.parametrize(
    "hidden",
    [
        '<extra><mesh filename="{name}"/></extra>',
        '<visual><geometry><box size="0.1 0.1 0.1"><mesh filename="{name}"/></box></geometry></visual>',
        '<visual><geometry><sphere radius="1"/></geometry><geometry><mesh filename="{name}"/></geometry></visual>',
        '<link name="inner"><visual><geometry><mesh filename="{name}"/></geometry></visual></link>',
    ],
)  # fmt: skip
def test_a_mesh_that_the_reader_does_not_look_at_is_not_exported(X_WB, tmp_path: Path, hidden):
    """Meshes are copied by their names: one in a place that nobody checks could be any file, copied anywhere."""
    name = "../../../evil.stl"
    robot = own_robot(tmp_path, '<link name="link3">', f'<link name="link3">{hidden.format(name=name)}')
    standing = stand_in_world(robot, X_WB)
    assert standing.meshes == {} and "evil" not in standing.urdf and "<geometry>" in standing.urdf


@pytest.mark.long
def test_hundreds_of_thousands_of_unknown_elements_are_left_out_at_once(X_WB, tmp_path: Path):
    robot = own_robot(tmp_path, "</robot>", "<a/>" * 400_000 + "</robot>")
    start = time.process_time()
    assert "<a " not in stand_in_world(robot, X_WB).urdf
    assert time.process_time() - start < 8.0


def test_pinocchio_reads_home_and_free_pairs_from_the_srdf(robot, tmp_path: Path):
    pin = pytest.importorskip("pinocchio")
    urdf, srdf = tmp_path / "standing.urdf", tmp_path / "robot.srdf"
    urdf.write_text(stand_in_world(robot, base_pose((0.0, 0.0, 0.0), 0.3)).urdf)
    srdf.write_text(srdf_text(robot))
    model = pin.buildModelFromUrdf(str(urdf))
    pin.loadReferenceConfigurations(model, str(srdf), False)
    np.testing.assert_array_equal(model.referenceConfigurations["home"], [*robot.home, 0.0])
    shapes = pin.buildGeomFromUrdf(model, str(urdf), pin.GeometryType.COLLISION)
    shapes.addAllCollisionPairs()

    def pairs() -> set[frozenset[str]]:
        found = set()
        for pair in shapes.collisionPairs:
            links = [model.frames[shapes.geometryObjects[k].parentFrame].name for k in (pair.first, pair.second)]
            found.add(frozenset(links))
        return found

    before = pairs()
    assert before & robot.free_pairs
    pin.removeCollisionPairs(model, shapes, str(srdf), False)
    assert pairs() == before - robot.free_pairs


def test_the_srdf_gives_each_free_pair_its_reason(robot):
    root = parse_xml(srdf_text(robot).encode())
    assert root.get("name") == robot.tree.name
    reasons = {
        frozenset((node.get("link1"), node.get("link2"))): node.get("reason")
        for node in root.iter("disable_collisions")
    }
    assert set(reasons) == robot.free_pairs
    for joint in robot.tree.joints:
        assert reasons[frozenset((joint.parent, joint.child))] == "Adjacent"
    assert "Never" in reasons.values()
    assert [node.get("name") for node in root.findall("group")] == ["arm", "driver", "robot"]
    tool = root.find("end_effector")
    assert (tool.get("parent_link"), tool.get("group")) == ("needle_guide_exit", "driver")
