"""A robot of the user's own: a TOML, a URDF and meshes from anywhere, loaded safely or refused with a reason."""

import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from needleplan.errors import RobotError
from robots.axis_solver import AxisSolver
from robots.catalogue import DESCRIPTIONS, load_robot
from robots.enclosing_capsule import capsule_around
from robots.frames import base_pose
from robots.link_meshes import visual_meshes
from robots.mesh_file import MAX_ALL_MESH_BYTES, MAX_MESH_BYTES, MeshFolder
from robots.standing_robot import stand_in_world
from robots.urdf_reader import read_urdf

URDF = (DESCRIPTIONS / "needle_arm7.urdf").read_text()
TOML = (DESCRIPTIONS / "needle_arm7.toml").read_text()
#: The collision shape of link 4, in whose place a mesh is put.
SHAPE = '<geometry><cylinder radius="0.055" length="0.21"/></geometry>\n    </collision>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with a robot called mine."""
    (tmp_path / "mine.toml").write_text(TOML.replace("needle_arm7", "mine"))
    (tmp_path / "mine.urdf").write_text(URDF)
    return tmp_path


def with_mesh(folder: Path, name: str, scale: str = "", visual: bool = False) -> Path:
    """Puts a mesh in the place of a collision (or visual) shape; the path of the TOML."""
    shape = SHAPE if not visual else SHAPE.replace("\n    </collision>", "\n      <material")
    assert URDF.count(shape) == 1
    mesh = f'<geometry><mesh filename="{name}"{scale}/></geometry>'
    text = URDF.replace(shape, shape.replace(shape.split("\n")[0], mesh))
    (folder / "mine.urdf").write_text(text)
    return folder / "mine.toml"


def mesh_capsule(robot):
    (found,) = (capsule for capsule in robot.capsules if capsule.link == "link4")
    return found


def distance_outside(capsule, points) -> np.ndarray:
    """Distances of points (n, 3) from a capsule, negative inside."""
    way = capsule.end_m - capsule.start_m
    share = np.clip((points - capsule.start_m) @ way / max(way @ way, 1e-300), 0.0, 1.0)
    return np.linalg.norm(points - capsule.start_m - share[:, None] * way, axis=1) - capsule.radius_m


def lopsided_mesh() -> trimesh.Trimesh:
    """A tapered, bent part about 0.2 m long, oblique and away from the origin."""
    mesh = trimesh.creation.cylinder(0.04, 0.2, sections=24).subdivide()
    vertices = np.array(mesh.vertices)
    vertices[:, 0] += 0.9 * vertices[:, 2] ** 2
    vertices[:, 1] *= 1.0 - 2.0 * vertices[:, 2]
    turn = trimesh.transformations.rotation_matrix(0.7, [1.0, 2.0, -0.5])[:3, :3]
    return trimesh.Trimesh(vertices @ turn.T + [0.02, -0.03, 0.1], mesh.faces, process=False)


def test_a_robot_of_ones_own_is_loaded_by_the_path_of_its_toml(folder: Path):
    robot, ours = load_robot(folder / "mine.toml"), load_robot("needle_arm7")
    assert load_robot(str(folder / "mine.toml")).name == robot.name == "mine"
    np.testing.assert_array_equal(robot.forward(robot.home).matrix, ours.forward(ours.home).matrix)
    assert AxisSolver(robot).solve(robot.forward(robot.home)).reached


def test_a_changed_file_is_read_again(folder: Path):
    first = load_robot(folder / "mine.toml").home[1]
    (folder / "mine.toml").write_text((folder / "mine.toml").read_text().replace("-0.80", "-0.70"))
    assert (first, load_robot(folder / "mine.toml").home[1]) == (-0.80, -0.70)


@pytest.mark.parametrize(
    "name", ["nothing.toml", "../nothing.toml", "needle_arm8", "needle_arm7.urdf", "", ".toml"]
)
def test_what_is_no_robot_is_refused(folder: Path, name):
    with pytest.raises(RobotError, match=r"no robot"):
        load_robot(name if not name.endswith(".toml") else folder / name)


def test_no_socket_is_opened(folder: Path, monkeypatch):
    def forbidden(*_args, **_keywords):
        raise AssertionError("a robot was loaded over the network")

    monkeypatch.setattr(socket, "socket", forbidden)
    lopsided_mesh().export(folder / "part.stl")
    load_robot(with_mesh(folder, "part.stl"))
    for name in ("http://example.org/part.stl", "https://example.org/part.stl", "ftp://example.org/part.stl"):
        with pytest.raises(RobotError, match="beside the URDF"):
            load_robot(with_mesh(folder, name))


@pytest.mark.parametrize("name", ["part.stl", "part.obj", "meshes/PART.STL"])
@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (0.6, 1.3, 0.8), (1.0, -1.0, 1.0)])
def test_a_collision_mesh_is_enclosed_in_a_tight_capsule(folder: Path, name, scale):
    mesh = lopsided_mesh()
    (folder / "meshes").mkdir()
    (folder / name).write_bytes(
        mesh.export(file_type="stl") if name.lower().endswith("stl") else mesh.export(file_type="obj").encode()
    )
    robot = load_robot(with_mesh(folder, name, ' scale="{} {} {}"'.format(*scale)))
    capsule = mesh_capsule(robot)
    # The mesh stands where the cylinder stood: 0.105 m up the link. STL keeps single precision.
    points = np.float32(mesh.vertices).astype(float) * scale + [0.0, 0.0, 0.105]
    outside = distance_outside(capsule, points)
    assert outside.max() < 1e-7
    # It touches what it encloses, and is no ball around it.
    assert outside.max() > -1e-4
    # The least cylinder around the part, found by another library, with round ends is a capsule around it too.
    cylinder = trimesh.bounds.minimum_cylinder(points)
    radius, height = cylinder["radius"], cylinder["height"]
    assert volume(capsule) < 1.02 * np.pi * radius**2 * (height + 4 / 3 * radius)


def volume(capsule) -> float:
    length = np.linalg.norm(capsule.end_m - capsule.start_m)
    return np.pi * capsule.radius_m**2 * (length + 4 / 3 * capsule.radius_m)


def test_a_capsule_around_a_capsule_is_that_capsule():
    rng = np.random.default_rng(7)
    for _ in range(10):
        start, end = rng.normal(size=(2, 3)) * 0.1
        radius = rng.uniform(0.01, 0.05)
        ball = trimesh.creation.icosphere(4, radius).vertices
        found = capsule_around(np.concatenate([ball + start, ball + end]))
        given = sorted([start.tolist(), end.tolist()])
        np.testing.assert_allclose(sorted([found[0].tolist(), found[1].tolist()]), given, atol=0.02 * radius + 1e-4)
        assert found[2] == pytest.approx(radius, rel=0.02)


def test_the_axis_does_not_depend_on_where_most_of_the_points_lie():
    """Points inside change nothing, though they turn the principal axes from which the search begins."""
    rng = np.random.default_rng(8)
    ball = trimesh.creation.icosphere(3, 0.05).vertices
    shell = np.concatenate([np.add(ball, [0.0, 0.0, height]) for height in (-0.1, 0.1)])
    lopsided = np.repeat([[0.03, 0.02, 0.08], [-0.03, -0.02, -0.08]], 4000, axis=0)
    turn = trimesh.transformations.random_rotation_matrix(rng.random(3))[:3, :3]
    start, end, radius = capsule_around(np.concatenate([shell, lopsided]) @ turn.T)
    assert radius == pytest.approx(0.05, rel=0.01)
    assert np.linalg.norm(np.cross((end - start) / np.linalg.norm(end - start), turn[:, 2])) < 0.02


def test_a_box_and_a_ball_are_enclosed_tightly():
    box = np.array(np.meshgrid([0, 0.3], [0, 0.06], [0, 0.08])).reshape(3, -1).T
    start, end, radius = capsule_around(box)
    assert radius == pytest.approx(0.05, rel=1e-3) and abs(end[0] - start[0]) == pytest.approx(0.3, abs=0.005)
    start, end, radius = capsule_around(np.add(trimesh.creation.icosphere(3, 0.1).vertices, [1.0, 2.0, 3.0]))
    assert radius == pytest.approx(0.1, rel=1e-3) and np.linalg.norm(end - start) < 5e-3
    np.testing.assert_allclose(0.5 * (start + end), [1.0, 2.0, 3.0], atol=2e-3)


def binary_stl(faces: int, triangles: bytes) -> bytes:
    return b"\0" * 80 + struct.pack("<I", faces) + triangles


def one_triangle(values) -> bytes:
    return struct.pack("<12fH", 0.0, 0.0, 1.0, *values, 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("part.stl", b"", "no STL mesh|faces"),
        ("part.stl", b"solid nothing\nendsolid nothing\n", "no STL mesh|faces"),
        ("part.stl", binary_stl(4_000_000_000, b""), "no STL mesh|faces"),
        ("part.stl", binary_stl(300_000, b"\0" * 50 * 300_000), "300000 faces where 1 to 200000"),
        ("part.stl", binary_stl(1, one_triangle([0, 0, 0, 0.1, 0, 0, 0, 0.1, 0])), "no volume"),
        ("part.stl", binary_stl(1, one_triangle([0, 0, 0, np.nan, 0, 0, 0, 0.1, 0])), "finite"),
        ("part.stl", binary_stl(1, one_triangle([0, 0, 0, 0, 0, 0, 0, 0, 0])), "metres"),
        ("part.obj", b"v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n", "no volume"),
        ("part.obj", b"v 0 0 0\nv 1e400 0 0\nv 0 0.1 0\nf 1 2 3\n", "finite|OBJ"),
        ("part.obj", b"v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 9\n", "no OBJ mesh"),
        ("part.obj", b"\xff\xfe\x00", "no OBJ mesh|faces"),
        ("part.dae", b"<COLLADA/>", r"only \.stl, \.obj are read"),
        ("part.py", b"raise SystemExit", r"only \.stl, \.obj are read"),
        ("part.glb", b"glTF", "convert it"),
    ],
)
def test_a_mesh_that_cannot_be_used_is_refused(folder: Path, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(RobotError, match=message) as error:
        load_robot(with_mesh(folder, name))
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.stl", "missing.stl.*no such file"),
        ("package://my_robot/meshes/link4.stl", "packages are not looked up: copy the file beside"),
        ("model://my_robot/link4.stl", "packages are not looked up"),
        ("file:///etc/hostname", "beside the URDF"),
        ("/etc/hostname", "beside the URDF"),
        ("../outside.stl", "beside the URDF"),
        ("../robot/inside.stl", r"not absolute and without \.\."),
        ("meshes/../inside.stl", r"not absolute and without \.\."),
        ("{own}/inside.stl", r"not absolute and without \.\."),
        ("..\\robot\\inside.stl", r"not absolute and without \.\."),
        ("C:\\robot\\inside.stl", r"not absolute and without \.\."),
        ("link.stl", "beside the URDF"),
        ("", "beside the URDF"),
        (".", "no such file"),
        ("x" * 5000 + ".stl", "no such file|beside"),
    ],
)
@pytest.mark.parametrize("visual", [False, True])
def test_a_mesh_elsewhere_is_refused_and_named(folder: Path, name, message, visual):
    own = folder / "robot"
    own.mkdir()
    (own / "mine.toml").write_text((folder / "mine.toml").read_text())
    lopsided_mesh().export(folder / "outside.stl")
    lopsided_mesh().export(own / "inside.stl")
    (own / "meshes").mkdir()
    os.symlink(folder / "outside.stl", own / "link.stl")
    with pytest.raises(RobotError, match=message):
        load_robot(with_mesh(own, name.replace("{own}", str(own)), visual=visual))
    load_robot(with_mesh(own, "inside.stl", visual=visual))


def test_meshes_in_millimetres_are_noticed(folder: Path):
    mesh = lopsided_mesh()
    mesh.apply_scale(1000.0)
    mesh.export(folder / "part.stl")
    with pytest.raises(RobotError, match=r'millimetres, write scale="0.001 0.001 0.001"'):
        load_robot(with_mesh(folder, "part.stl"))
    robot = load_robot(with_mesh(folder, "part.stl", ' scale="0.001 0.001 0.001"'))
    assert mesh_capsule(robot).radius_m < 0.1
    with pytest.raises(RobotError, match="once only"):
        load_robot(with_mesh(folder, "part.stl", ' scale="0.000001 0.000001 0.000001"'))
    with pytest.raises(RobotError, match="flat"):
        load_robot(with_mesh(folder, "part.stl", ' scale="0.001 0 0.001"'))
    with pytest.raises(RobotError, match="3 finite"):
        load_robot(with_mesh(folder, "part.stl", ' scale="0.001"'))


def test_too_large_meshes_are_refused_before_they_are_read(tmp_path: Path):
    folder = MeshFolder(tmp_path)
    with (tmp_path / "huge.stl").open("wb") as file:
        file.truncate(MAX_MESH_BYTES + 1)
    with pytest.raises(RobotError, match="coarser"):
        folder.find("huge.stl", visual=False)
    folder, count = MeshFolder(tmp_path), MAX_ALL_MESH_BYTES // MAX_MESH_BYTES
    for k in range(count + 1):
        with (tmp_path / f"part{k}.stl").open("wb") as file:
            file.truncate(MAX_MESH_BYTES)
    for k in range(count):
        assert folder.find(f"part{k}.stl", visual=k % 2 == 0) == tmp_path / f"part{k}.stl"
    # A file counts as often as it is named, since it is read as often.
    for name in (f"part{count}.stl", "part0.stl"):
        with pytest.raises(RobotError, match="all together"):
            folder.find(name, visual=True)


def test_an_obj_reads_no_material_file(folder: Path, monkeypatch):
    text = lopsided_mesh().export(file_type="obj")
    (folder / "part.obj").write_text(f"mtllib secret.mtl\nusemtl steel\n{text}")
    (folder / "secret.mtl").write_text("newmtl steel\nmap_Kd /etc/hostname\n")
    opened = []
    real = Path.open

    def watched(path, *arguments, **keywords):
        opened.append(Path(path).name)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", watched)
    load_robot(with_mesh(folder, "part.obj"))
    assert "part.obj" in opened and "secret.mtl" not in opened


FLAT_OBJ = b"v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 3\n"


@pytest.mark.parametrize(
    ("name", "content", "scale", "message"),
    [
        ("seen.dae", b"not even XML", "", "'seen.dae'; here .* convert it to STL or OBJ, or leave the visual out"),
        ("seen.glb", b"glTF", "", "convert it to STL or OBJ, or leave the visual out"),
        ("seen.stl", b"", "", "no STL mesh|faces"),
        ("seen.obj", b"", "", "no OBJ mesh|faces"),
        ("seen.stl", binary_stl(300_000, b"\0" * 50 * 300_000), "", "300000 faces where 1 to 200000"),
        ("seen.stl", binary_stl(1, one_triangle([0, 0, 0, np.nan, 0, 0, 0, 0.1, 0])), "", "finite"),
        ("seen.obj", b"v 0 0 0\nv nan 0.1 0\nv 0 0.1 0\nf 1 2 3\n", "", "finite|no OBJ mesh"),
        ("seen.obj", b"v 0 0 0\nv 0.1 0 0\nv 0 0.1 0\nf 1 2 9\n", "", "no OBJ mesh"),
        ("seen.obj", FLAT_OBJ, ' scale="1000 1000 1000"', "100 m long.*millimetres"),
        ("seen.obj", FLAT_OBJ, ' scale="1e300 1e300 -1e300"', "long or lies as far"),
        ("seen.obj", b"v 9e307 0 0\nv 1e308 0 0\nv 9e307 0.1 0\nf 1 2 3\n", ' scale="9 1 1"', "lies as far"),
        ("seen.obj", FLAT_OBJ, ' scale="1e-6 1e-6 1e-6"', "once only"),
    ],
)  # fmt: skip
def test_a_visual_mesh_that_a_viewer_would_stumble_over_is_refused(folder: Path, name, content, scale, message):
    """Simulators end without a word at malformed meshes, so those to look at are read when the robot is loaded."""
    (folder / name).write_bytes(content)
    with pytest.raises(RobotError, match=message) as error:
        load_robot(with_mesh(folder, name, scale, visual=True))
    assert name in str(error.value) and "link 'link4', visual" in str(error.value) and "\n" not in str(error.value)


def test_a_flat_mesh_is_fine_to_look_at_and_refused_to_collide_with(folder: Path):
    (folder / "decal.obj").write_bytes(FLAT_OBJ)
    robot = load_robot(with_mesh(folder, "decal.obj", visual=True))
    ((vertices, faces),) = visual_meshes(robot)["link4"]
    # The mesh stands where the cylinder stood: 0.105 m up the link.
    np.testing.assert_allclose(vertices, [[0, 0, 0.105], [0.1, 0, 0.105], [0, 0.1, 0.105]], atol=1e-12)
    assert faces.tolist() == [[0, 1, 2]]
    with pytest.raises(RobotError, match=r"link 'link4', collision: .*decal\.obj.*no volume"):
        load_robot(with_mesh(folder, "decal.obj"))


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (0.6, 1.3, 0.8), (1.0, -1.1, 1.0), (-1.0, -1.0, -1.0)])
def test_pictures_show_meshes_at_their_scale_with_outward_faces(folder: Path, scale):
    mesh = lopsided_mesh()
    mesh.export(folder / "seen.stl")
    robot = load_robot(with_mesh(folder, "seen.stl", ' scale="{} {} {}"'.format(*scale), visual=True))
    ((vertices, faces),) = visual_meshes(robot)["link4"]
    # The signed volume of the closed surface (divergence theorem) is positive where faces look outward.
    volume_m3 = (
        np.einsum("ki,ki->", vertices[faces[:, 0]], np.cross(vertices[faces[:, 1]], vertices[faces[:, 2]])) / 6
    )
    assert volume_m3 == pytest.approx(mesh.volume * abs(np.prod(scale)), rel=1e-5)
    expected = np.float32(mesh.vertices).astype(float) * scale + [0.0, 0.0, 0.105]
    np.testing.assert_allclose(vertices.min(axis=0), expected.min(axis=0), atol=1e-7)
    np.testing.assert_allclose(vertices.max(axis=0), expected.max(axis=0), atol=1e-7)


def test_a_joint_that_nobody_commands_is_refused(folder: Path):
    finger = (
        '<link name="finger"/><joint name="grip" type="revolute"><parent link="guide"/><child link="finger"/>'
        '<limit lower="0" upper="1" effort="1" velocity="1"/></joint></robot>'
    )
    (folder / "mine.urdf").write_text(URDF.replace("</robot>", finger))
    with pytest.raises(RobotError, match=r"'grip' moves.*make it fixed"):
        load_robot(folder / "mine.toml")
    (folder / "mine.urdf").write_text(URDF.replace("</robot>", finger.replace('"revolute"', '"fixed"')))
    assert "finger" in load_robot(folder / "mine.toml").link_poses(np.zeros((1, 7)), [0.0])


def test_prismatic_joints_inside_the_arm_are_fine(folder: Path):
    """Joint 3 slides instead of turning; inverse kinematics reach what forward kinematics say."""
    slide = URDF.replace('<joint name="joint3" type="revolute">', '<joint name="joint3" type="prismatic">')
    before, after = slide.split('<joint name="joint3"')
    after = after.replace('lower="-2.96705972839" upper="2.96705972839"', 'lower="-0.1" upper="0.15"', 1)
    (folder / "mine.urdf").write_text(before + '<joint name="joint3"' + after)
    robot = load_robot(folder / "mine.toml")
    assert robot.chain.prismatic.tolist() == [False, False, True, False, False, False, False]
    q = np.random.default_rng(3).uniform(robot.q_min, robot.q_max, (200, 7))
    goals = np.array([robot.forward(row).matrix for row in q])
    assert (AxisSolver(robot).postures(goals).count > 0).all()


def test_a_base_that_is_not_the_root_is_fine(folder: Path):
    """The base stands on a cart: poses are in the base's frame all the same."""
    cart = (
        '<link name="cart"/><joint name="cart_to_base" type="fixed"><parent link="cart"/><child link="base_link"/>'
        '<origin xyz="0.3 -0.2 0.7" rpy="0 0 1"/></joint></robot>'
    )
    (folder / "mine.urdf").write_text(URDF.replace("</robot>", cart))
    robot, ours = load_robot(folder / "mine.toml"), load_robot("needle_arm7")
    q = np.full((1, 7), 0.4)
    for name, pose in ours.link_poses(q, [0.1]).items():
        np.testing.assert_allclose(robot.link_poses(q, [0.1])[name], pose, atol=1e-12)
    X_WB = base_pose((0.2, -0.5, -0.1), 0.8)
    (folder / "standing.urdf").write_text(stand_in_world(robot, X_WB).urdf)
    tree = read_urdf(folder / "standing.urdf")
    place = np.eye(4)
    for joint in tree.chain("world", "base_link"):
        place = place @ joint.origin
    np.testing.assert_allclose(place, X_WB.matrix, atol=1e-12)
