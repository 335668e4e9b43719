import re
import time
from pathlib import Path

import numpy as np
import pytest

from needleplan.errors import RobotError
from robots.arm_settings import read_arm_settings
from robots.catalogue import DESCRIPTIONS, list_robots, load_robot
from robots.description import ShapeKind
from robots.urdf_arm import UrdfArm
from robots.urdf_reader import read_urdf, rotation_from_rpy

URDF = DESCRIPTIONS / "needle_arm7.urdf"
TOML = DESCRIPTIONS / "needle_arm7.toml"


@pytest.fixture
def written(tmp_path: Path):
    """Writes the arm's URDF with one replacement and returns its path."""

    def write(old: str, new: str, count: int = 1) -> Path:
        text = URDF.read_text()
        assert old in text
        path = tmp_path / "needle_arm7.urdf"
        path.write_text(text.replace(old, new, count))
        return path

    return write


def test_every_robot_of_the_catalogue_loads():
    assert list_robots() == ("industrial_arm6", "needle_arm7", "table_guide5")
    for name in list_robots():
        robot = load_robot(name)
        assert robot.name == name and robot.summary and robot.urdf_path.is_file()


def test_an_unknown_robot_is_refused_with_the_names_there_are():
    with pytest.raises(RobotError, match="needle_arm7"):
        load_robot("needle_arm8")


@pytest.mark.parametrize(
    ("name", "kilograms"), [("needle_arm7", (15, 30)), ("industrial_arm6", (50, 55)), ("table_guide5", (8, 20))]
)
def test_the_description_has_no_mesh_and_every_link_a_mass(name, kilograms):
    tree = load_robot(name).tree
    for link in tree.links.values():
        assert link.inertia is not None and link.visual and link.collision
        assert all(shape.kind is not ShapeKind.MESH for shape in (*link.visual, *link.collision))
    assert kilograms[0] < sum(link.inertia.mass_kg for link in tree.links.values()) < kilograms[1]


def solid_inertia(shape, density):
    """Mass and inertia about the link's origin of a homogeneous shape, from the textbook's formulas."""
    if shape.kind is ShapeKind.CYLINDER:
        radius, length = shape.size_m
        mass = density * np.pi * radius**2 * length
        own = np.diag([(3 * radius**2 + length**2) / 12, (3 * radius**2 + length**2) / 12, radius**2 / 2])
    elif shape.kind is ShapeKind.BOX:
        mass = density * np.prod(shape.size_m)
        own = (np.sum(shape.size_m**2) * np.eye(3) - np.diag(shape.size_m**2)) / 12
    else:
        mass = density * 4 / 3 * np.pi * shape.size_m[0] ** 3
        own = 0.4 * shape.size_m[0] ** 2 * np.eye(3)
    rotation, centre = shape.pose[:3, :3], shape.pose[:3, 3]
    about_origin = rotation @ own @ rotation.T + centre @ centre * np.eye(3) - np.outer(centre, centre)
    return mass, mass * about_origin, mass * centre


@pytest.mark.parametrize("name", list_robots())
def test_inertias_are_those_of_the_collision_shapes(name):
    for link in load_robot(name).tree.links.values():
        if link.name == "needle":  # a thin steel needle with a plastic hub: not homogeneous
            continue
        parts = [solid_inertia(shape, 1.0) for shape in link.collision]
        volume = sum(part[0] for part in parts)
        density = link.inertia.mass_kg / volume
        centre = sum(part[2] for part in parts) / volume
        tensor = density * sum(part[1] for part in parts)
        tensor -= link.inertia.mass_kg * (centre @ centre * np.eye(3) - np.outer(centre, centre))
        np.testing.assert_allclose(link.inertia.pose[:3, 3], centre, atol=1e-6)
        np.testing.assert_allclose(link.inertia.tensor_kg_m2, tensor, rtol=1e-4, atol=1e-9)


def test_fixed_axis_angles_follow_the_urdf_convention():
    # Roll first, about the fixed x axis: carries y to z; yaw then leaves z alone.
    np.testing.assert_allclose(rotation_from_rpy(np.pi / 2, 0, np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(rotation_from_rpy(0, np.pi / 2, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-15)


def test_an_entity_bomb_is_refused_at_once(tmp_path: Path):
    levels = "".join(f'<!ENTITY b{k + 1} "{f"&b{k};" * 10}">' for k in range(12))
    bomb = tmp_path / "bomb.urdf"
    bomb.write_text(f'<?xml version="1.0"?><!DOCTYPE robot [<!ENTITY b0 "bomb">{levels}]><robot name="&b12;"/>')
    start = time.thread_time()
    with pytest.raises(RobotError, match="DOCTYPE"):
        read_urdf(bomb)
    assert time.thread_time() - start < 1.0


def test_a_document_type_without_entities_is_refused_too(tmp_path: Path):
    path = tmp_path / "typed.urdf"
    path.write_text('<!DOCTYPE robot SYSTEM "http://example.org/robot.dtd"><robot><link name="base_link"/></robot>')
    with pytest.raises(RobotError, match="DOCTYPE"):
        read_urdf(path)


def test_an_external_entity_is_refused(tmp_path: Path):
    path = tmp_path / "outside.urdf"
    path.write_text('<!DOCTYPE robot [<!ENTITY f SYSTEM "file:///etc/hostname">]><robot name="&f;"/>')
    with pytest.raises(RobotError, match="DOCTYPE"):
        read_urdf(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<box size="0.27 0.04 0.03"/>', '<mesh filename="missing.stl"/>', "missing.stl.*no such file"),
        ('<box size="0.27 0.04 0.03"/>', '<mesh filename="../../etc/passwd"/>', "beside the URDF"),
        ('<box size="0.27 0.04 0.03"/>', '<mesh filename="http://x.org/a.stl"/>', "beside the URDF"),
        ('<box size="0.27 0.04 0.03"/>', '<box size="270 50 30"/>', "millimetres"),
        ('<origin xyz="0 0 0.215" rpy="0 0 0"/>\n    <axis', '<origin xyz="0 0 215"/>\n    <axis', "millimetres"),
        ('<axis xyz="0 1.0 0"/>', '<axis xyz="0 nan 0"/>', "finite"),
        ('<axis xyz="0 1.0 0"/>', '<axis xyz="0 0 0"/>', "zero"),
        ('<parent link="link3"/>', '<parent link="link9"/>', "link9"),
        ('<parent link="base_link"/>', '<parent link="link3"/>', "loop"),
        ('<child link="link5"/>', '<child link="link4"/>', "two joints"),
        ('name="joint2"', 'name="joint1"', "joint1.*twice"),
        ('type="prismatic"', 'type="planar"', "planar.*two prismatic joints"),
        ('type="revolute"', 'type="floating"', "floating.*fix the base"),
        ('type="revolute"', 'type="continuous"', 'continuous.*type="revolute".*lower="-6.28"'),
        ('type="revolute"', 'type="hinge"', "hinge.*revolute, prismatic or fixed"),
        ('<dynamics damping="0.5"', '<mimic joint="joint1"/><dynamics damping="0.5"', "mimics joint 'joint1'"),
        ('velocity="1.5"', 'velocity="150"', "degrees or millimetres a second"),
        ('velocity="1.5"', 'velocity="0"', "greater than zero"),
        ('xyz="0 0 0.18" rpy="1.5707963267948966 0 0"', 'xyz="0 0 0.18" rpy="90 0 0"', "looks like degrees"),
        ('<axis xyz="0 1.0 0"/>', '<axis xyz="0 1e200 0"/>', "axis"),
        ('<axis xyz="0 1.0 0"/>', '<axis xyz="0 1"/>', "3 finite numbers"),
        ('<axis xyz="0 1.0 0"/>', f'<axis xyz="0 {"1" * 100_000} 0"/>', "characters where 3 numbers"),
        ('<axis xyz="0 1.0 0"/>', '<axis xyz="0 1e999 0"/>', "finite"),
        ('<mass value="3.6"/>', '<mass value="3600"/>', "grams"),
        ('ixx="0.0233213"', 'ixx="23321.3"', "grams or millimetres"),
        ('ixx="0.0233213"', 'ixx="0.2"', "no body has"),
        ('lower="0" upper="0.25"', 'lower="0" upper="250"', "millimetres"),
        ('lower="0" upper="0.25"', 'lower="0.25" upper="0"', "rise"),
        ('<mass value="3.6"/>', '<mass value="${m1}"/>', "expand it first"),
        ('name="link5"', 'name="link4"', "link4.*twice"),
        ('<joint name="joint1"', '<joint name=""', "empty or used twice"),
        ("</robot>", '<link name="loose"/></robot>', "one link must be the root.*loose"),
        ('<mass value="3.6"/>', '<mass value="0"/>', "greater than zero"),
        ("</robot>", "", "well-formed"),
        ("<robot ", "<sdf ", "well-formed"),
    ],
)
def test_a_broken_description_is_refused(written, old, new, message):
    with pytest.raises(RobotError, match=f"(?s){message}") as error:
        read_urdf(written(old, new))
    assert "\n" not in str(error.value)


def test_limits_in_degrees_and_missing_limits_are_refused(tmp_path: Path):
    path = tmp_path / "arm.urdf"
    path.write_text(re.sub(r'lower="-2.967\d*"', 'lower="-170"', URDF.read_text(), count=1))
    with pytest.raises(RobotError, match="degrees"):
        read_urdf(path)
    path.write_text(re.sub(r'<limit lower="-2.967[^>]*>', "", URDF.read_text(), count=1))
    with pytest.raises(RobotError, match="needs a limit"):
        read_urdf(path)


def test_a_missing_file_and_another_root_are_refused(tmp_path: Path):
    with pytest.raises(RobotError, match="no robot description"):
        read_urdf(tmp_path / "nothing.urdf")
    other = tmp_path / "world.urdf"
    other.write_text("<world/>")
    with pytest.raises(RobotError, match="<robot>"):
        read_urdf(other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 2", "version = 1", "version = 2"),
        ("version = 2", 'version = "2"', "version = 2"),
        ("base_link =", "base_lnk =", "base_lnk.*base_link"),
        ("summary = ", "# summary = ", "'summary' is missing"),
        (
            "driver_acceleration_limit_m_s2 = 0.2",
            "driver_acceleration_limit_m_s2 = -1",
            "m_s2 holds -1 where 0.01 to 1000 m/s²",
        ),
        ("home = [0.0,", "home = [nan,", "finite"),
        ("home = [0.0,", "home = [", "7|one a joint"),
        ("home = [0.0,", "home = [9.0,", "joint1 at 9, outside its limits -2.967.* to 2.967"),
        ('"needle_driver"', '"joint3"', "prismatic"),
        ('"needle_guide_exit"', '"link7"', "driver|origin"),
        ('"needle_arm7.urdf"', '"../x.urdf"', "beside"),
        ('["link5", "link7"]', '["link5", "link77"]', "link77"),
        ("schema = ", "schema ", "valid TOML"),
        ("summary = ", "summary = 3 #", "summary must be a text"),
        ("[error]", "[[error]]", "error.*must be a table"),
        ("home = [0.0,", 'home = ["0.0",', "list of finite numbers"),
        ("home = [0.0,", "home = [true,", "list of finite numbers"),
        ("jerk_limits = [30.0,", "jerk_limits = [-30.0,", "jerk_limits holds -30 where 0.1 to 100000"),
        ('mount = "floor"', 'mount = "ceiling"', "floor, table"),
        ('mount = "floor"', "mount = []", "floor, table"),
        ('mount = "floor"', "mount = {}", "floor, table"),
        ('mount = "floor"', f"mount = 0x{'f' * 5000}", "floor, table"),
        ("home = [0.0,", f"home = [1{'0' * 5000},", "more digits than can be read"),
        ('"needle_arm7.urdf"', '"../{folder}/needle_arm7.urdf"', "beside"),
        ('"needle_arm7.urdf"', '"{path}/needle_arm7.urdf"', "beside"),
        (
            "acceleration_limits = [3.0,",
            "acceleration_limits = [1e300,",
            r"acceleration_limits holds 1e\+300.*rad/s²",
        ),
        ("acceleration_limits = [3.0,", "acceleration_limits = [1001,", "1001.*degrees, millimetres"),
        ("acceleration_limits = [3.0,", "acceleration_limits = [0.009,", "0.009.*degrees, millimetres"),
        ("jerk_limits = [30.0,", "jerk_limits = [1e-300,", "jerk_limits holds 1e-300 where .*rad/s³ or m/s³"),
        ("jerk_limits = [30.0,", "jerk_limits = [1.1e5,", "110000.*degrees, millimetres"),
        ("driver_acceleration_limit_m_s2 = 0.2", "driver_acceleration_limit_m_s2 = 2000", "2000 .*1000 m/s².*mill"),
        ("driver_jerk_limit_m_s3 = 2.0", "driver_jerk_limit_m_s3 = 2e5", "200000 .*m/s³.*millimetres"),
        (
            "joint_std = [0.0003,",
            "joint_std = [1e200,",
            r"\[error\]: joint_std holds 1e\+200 where 0 to 0.1 rad or m",
        ),
        ("joint_std = [0.0003,", "joint_std = [-1e-9,", "joint_std holds -1e-09"),
        ("guide_lateral_std_m = 0.00015", "guide_lateral_std_m = 0.15", "lateral_std_m holds 0.15 .*0.02 m .*mill"),
        ("guide_angle_std_rad = 0.002", "guide_angle_std_rad = 0.3", "angle_std_rad holds 0.3 .*0.2 rad .*degrees"),
        ("driver_depth_std_m = 0.0003", "driver_depth_std_m = 0.3", "depth_std_m holds 0.3 .*0.05 m .*millimetres"),
        ("home = [0.0,", f"home = [1{'0' * 400},", "list of finite numbers"),
        ('"needle_arm7.urdf"', '"\\u0000"', "one line"),
        ('["link5", "link7"]', '["link5"]', "pairs"),
        ("joint_std = [0.0003,", "joint_std = [", "one a joint"),
        ("# What", f"deep = {'[' * 5000}{']' * 5000}\n# What", "valid TOML|unknown"),
    ],
)
def test_broken_settings_are_refused(tmp_path: Path, old, new, message):
    text = TOML.read_text()
    assert old in text
    (tmp_path / "needle_arm7.urdf").write_text(URDF.read_text())
    path = tmp_path / "needle_arm7.toml"
    new = new.replace("{folder}", tmp_path.name).replace("{path}", str(tmp_path))
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RobotError, match=message) as error:
        UrdfArm(read_arm_settings(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "../../../evil", "/evil", "a/b", "a\\\\b", "..", ".hidden", "-rf", "x[/red]y", "a b", "a:b", "<b>",
        "Ä", "x" * 65, "a\\n",
    ],
)  # fmt: skip
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name):
    """Files and folders are called after the robot: no name may lead out of the folder of a plan."""
    path = tmp_path / "needle_arm7.toml"
    path.write_text(TOML.read_text().replace('name = "needle_arm7"', f'name = "{name}"'))
    with pytest.raises(RobotError, match=r"name = .* must be a plain file name|name must be a text of one line"):
        read_arm_settings(path)


@pytest.mark.parametrize("name", ["a", "7", "Arm_7-b.v2", "a--b", "x" * 64, "_"])
def test_plain_names_are_taken(tmp_path: Path, name):
    path = tmp_path / "needle_arm7.toml"
    path.write_text(TOML.read_text().replace('name = "needle_arm7"', f'name = "{name}"'))
    assert read_arm_settings(path).name == name


def test_a_xacro_file_is_refused_with_what_to_do(tmp_path: Path):
    path = tmp_path / "arm.urdf.xacro"
    path.write_text(
        '<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:include filename="/etc/passwd"/>'
        "</robot>"
    )
    with pytest.raises(RobotError, match=r"expand it first \(xacro"):
        read_urdf(path)
    path.write_text(
        '<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro"><link name="base_link"/></robot>'
    )
    assert set(read_urdf(path).links) == {"base_link"}  # only declared, as an expanded file does


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<robot>" + "<link>" * 100_000 + "</link>" * 100_000 + "</robot>", "deep"),
        ("<robot>" + '<link name="a"/>' * 60_000 + "</robot>", "60000 links"),
        ("<robot>" + '<joint name="a"/>' * 60_000 + "</robot>", "60000 joints"),
        ('<robot><link name="a">' + "<visual/>" * 30_000 + "</link></robot>", "30000 shapes"),
        ("<robot>" + " " * 4_000_001 + "</robot>", "4000000 bytes"),
        ('<?xml version="1.0" encoding="no-such"?><robot/>', "well-formed"),
        ("\x00\x01", "well-formed"),
        ("", "well-formed"),
        ("<robot/>", "one link must be the root, and there are 0"),
    ],
)
def test_a_file_made_to_exhaust_its_reader_is_refused_at_once(tmp_path: Path, text, message):
    path = tmp_path / "arm.urdf"
    path.write_text(text)
    start = time.thread_time()
    with pytest.raises(RobotError, match=message):
        read_urdf(path)
    assert time.thread_time() - start < 2.0
