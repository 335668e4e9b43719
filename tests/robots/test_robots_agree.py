"""One description serves several libraries: all must place every link of every robot at the same point."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybullet
import pytest

from robots.axis_solver import AxisSolver
from robots.catalogue import DESCRIPTIONS, list_robots, load_robot
from robots.kinematics import guide_pose
from robots.model import RobotModel

POSTURES = 150
#: Places in metres and elements of rotations agree to this. PyBullet writes rotations as quaternions to about 1e-7.
PLACE_M, TURN, PYBULLET_TURN = 1e-6, 1e-9, 1e-6


@pytest.fixture(scope="module", params=list_robots())
def robot(request) -> RobotModel:
    return load_robot(request.param)


@pytest.fixture(scope="module")
def postures(robot) -> tuple[np.ndarray, np.ndarray]:
    """Random postures, the first ones at corners of the limits, and positions of the driver."""
    rng = np.random.default_rng(20261122)
    q = rng.uniform(robot.q_min, robot.q_max, (POSTURES, len(robot.q_min)))
    q[:20] = np.where(rng.random((20, len(robot.q_min))) < 0.5, robot.q_min, robot.q_max)
    return q, rng.uniform(0.0, robot.driver_stroke_m, POSTURES)


def pinocchio_places(urdf: Path, robot: RobotModel, q, driver) -> Iterator[dict[str, np.ndarray]]:
    """For each posture the pose (4, 4) of every link by Pinocchio."""
    pin = pytest.importorskip("pinocchio")
    model = pin.buildModelFromUrdf(str(urdf))
    data = model.createData()
    names = (*robot.joint_names, robot.driver_joint_name)
    where = [model.joints[model.getJointId(name)].idx_q for name in names]
    links = {frame.name: k for k, frame in enumerate(model.frames) if frame.type == pin.FrameType.BODY}
    for positions, advance in zip(q, driver, strict=True):
        configuration = pin.neutral(model)
        configuration[where] = (*positions, advance)
        pin.framesForwardKinematics(model, data, configuration)
        yield {name: data.oMf[k].homogeneous for name, k in links.items() if name != "universe"}


def test_pinocchio_places_every_link_at_the_same_point(robot, postures):
    q, driver = postures
    ours = robot.link_poses(q, driver)
    for k, theirs in enumerate(pinocchio_places(robot.urdf_path, robot, q, driver)):
        assert set(theirs) == set(ours)
        for name, pose in theirs.items():
            np.testing.assert_allclose(ours[name][k][:3, 3], pose[:3, 3], rtol=0, atol=PLACE_M)
            np.testing.assert_allclose(ours[name][k][:3, :3], pose[:3, :3], rtol=0, atol=TURN)
        # The chain from which the inverse kinematics are computed says the same of the guide.
        guide = robot.forward(q[k]).matrix
        np.testing.assert_allclose(guide, theirs["needle_guide_exit"], rtol=0, atol=TURN)


@pytest.mark.parametrize("moved_m", [1e-5, -1e-5])
def test_an_origin_that_is_moved_by_a_hundredth_of_a_millimetre_is_noticed(tmp_path, moved_m):
    robot = load_robot("needle_arm7")
    text = robot.urdf_path.read_text()
    assert text.count('<origin xyz="0 0 0.215" rpy="0 0 0"/>\n    <axis') == 2
    changed = tmp_path / "moved.urdf"
    changed.write_text(
        text.replace('0 0 0.215" rpy="0 0 0"/>\n    <axis', f'0 0 {0.215 + moved_m}"/>\n    <axis', 1)
    )
    q = np.random.default_rng(4).uniform(robot.q_min, robot.q_max, (5, 7))
    ours = robot.link_poses(q, np.zeros(5))
    for k, theirs in enumerate(pinocchio_places(changed, robot, q, np.zeros(5))):
        difference = np.linalg.norm(theirs["needle"][:3, 3] - ours["needle"][k][:3, 3])
        assert difference > 5 * PLACE_M
        assert difference == pytest.approx(abs(moved_m), rel=1e-6)


def test_pinocchio_has_the_same_jacobian(robot, postures):
    pin = pytest.importorskip("pinocchio")
    model = pin.buildModelFromUrdf(str(robot.urdf_path))
    data = model.createData()
    columns = [model.joints[model.getJointId(name)].idx_v for name in robot.joint_names]
    frame = model.getFrameId("needle_guide_exit", pin.FrameType.BODY)
    for positions in postures[0]:
        configuration = pin.neutral(model)
        configuration[[model.joints[model.getJointId(name)].idx_q for name in robot.joint_names]] = positions
        theirs = pin.computeFrameJacobian(model, data, configuration, frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
        np.testing.assert_allclose(robot.jacobian(positions), theirs[:, columns], rtol=0, atol=1e-9)


def test_pinocchio_reads_the_same_limits_and_masses(robot):
    pin = pytest.importorskip("pinocchio")
    model = pin.buildModelFromUrdf(str(robot.urdf_path))
    joints = [model.joints[model.getJointId(name)] for name in robot.joint_names]
    np.testing.assert_allclose([model.lowerPositionLimit[j.idx_q] for j in joints], robot.q_min)
    np.testing.assert_allclose([model.upperPositionLimit[j.idx_q] for j in joints], robot.q_max)
    np.testing.assert_allclose([model.velocityLimit[j.idx_v] for j in joints], robot.velocity_limits)
    total = sum(link.inertia.mass_kg for link in robot.tree.links.values())
    # What is fixed to the world has no inertia of its own in Pinocchio.
    assert pin.computeTotalMass(model) == pytest.approx(total - robot.tree.links["base_link"].inertia.mass_kg)


def test_pybullet_places_every_link_at_the_same_point(robot, postures):
    q, driver = postures
    ours = robot.link_poses(q, driver)
    client = pybullet.connect(pybullet.DIRECT)
    try:
        body = pybullet.loadURDF(str(robot.urdf_path), useFixedBase=True, physicsClientId=client)
        count = pybullet.getNumJoints(body, physicsClientId=client)
        table = [pybullet.getJointInfo(body, k, physicsClientId=client) for k in range(count)]
        joints = {info[1].decode(): info[0] for info in table}
        links = {info[12].decode(): info[0] for info in table}
        assert set(links) | {"base_link"} == set(ours)
        for k in range(POSTURES):
            for name, value in zip((*robot.joint_names, robot.driver_joint_name), (*q[k], driver[k]), strict=True):
                pybullet.resetJointState(body, joints[name], float(value), physicsClientId=client)
            states = pybullet.getLinkStates(
                body, list(links.values()), computeForwardKinematics=True, physicsClientId=client
            )
            for name, state in zip(links, states, strict=True):
                np.testing.assert_allclose(state[4], ours[name][k][:3, 3], rtol=0, atol=PLACE_M)
                rotation = np.reshape(pybullet.getMatrixFromQuaternion(state[5]), (3, 3))
                np.testing.assert_allclose(rotation, ours[name][k][:3, :3], rtol=0, atol=PYBULLET_TURN)
    finally:
        pybullet.disconnect(client)


def test_the_robotics_toolbox_places_the_guide_at_the_same_point(robot, postures):
    chain = robot.toolbox_chain()
    np.testing.assert_allclose(chain.qlim, [robot.q_min, robot.q_max])
    for positions in postures[0]:
        np.testing.assert_allclose(chain.eval(positions), robot.forward(positions).matrix, rtol=0, atol=TURN)


def test_the_needle_moves_along_the_guides_axis_by_the_drivers_position(robot, postures):
    q, driver = postures
    needle = robot.link_poses(q, driver)["needle"]
    for k in range(POSTURES):
        np.testing.assert_allclose(needle[k][:3, 3], robot.forward(q[k]).apply([0.0, 0.0, driver[k]]), atol=1e-12)


def test_all_robots_carry_the_same_tool():
    """Guide, needle and driver are one design: the same shapes, masses and poses in the guide's frame."""
    trees = [load_robot(name).tree for name in list_robots()]
    for link in ("guide", "needle_guide_exit", "needle"):
        first, *others = (tree.links[link] for tree in trees)
        for other in others:
            assert first.inertia.mass_kg == other.inertia.mass_kg
            for one, two in zip(first.collision, other.collision, strict=True):
                np.testing.assert_array_equal(one.size_m, two.size_m)
                np.testing.assert_array_equal(one.pose, two.pose)
    exits = [next(joint for joint in tree.joints if joint.child == "needle_guide_exit") for tree in trees]
    assert all(np.array_equal(joint.origin, exits[0].origin) for joint in exits)


def test_no_description_names_a_mesh_and_each_says_where_its_dimensions_are_from():
    for name in list_robots():
        text = (DESCRIPTIONS / f"{name}.urdf").read_text()
        assert "<mesh" not in text
        head = text[: text.index("-->")]
        assert "our own choice" in " ".join(head.split()).lower()


def test_goals_made_by_random_postures_are_reached_by_every_robot(robot):
    """Goals inside the limits by construction: of 3000 no more than one in a thousand may be missed."""
    rng = np.random.default_rng(6)
    q = rng.uniform(robot.q_min, robot.q_max, (3000, len(robot.q_min)))
    goals = np.array([robot.forward(row).matrix for row in q])
    found = AxisSolver(robot).postures(goals)
    assert (found.count > 0).mean() > 0.999
    for goal, postures, count in zip(goals[:300], found.q, found.count, strict=False):
        for posture in postures[:count]:
            assert (posture >= robot.q_min).all() and (posture <= robot.q_max).all()
            np.testing.assert_allclose(robot.forward(posture).matrix[:3, 2:], goal[:3, 2:], rtol=0, atol=PLACE_M)


def test_the_table_guide_reaches_over_a_patient_from_the_far_side():
    """By its joint limits: entries on an elliptic torso 0.40 m wide and 0.27 m high on a table 0.50 m wide."""
    robot = load_robot("table_guide5")
    rng = np.random.default_rng(0)
    half_width, half_height, half_table = 0.20, 0.135, 0.25
    goals, places = [], []
    while len(goals) < 2000:
        place = np.radians(rng.uniform(-75.0, 75.0))  # from the top; negative on the side of the rail
        entry = [half_width * np.sin(place), rng.uniform(-0.1, 0.1), half_height * (1.0 + np.cos(place))]
        normal = np.array([np.sin(place) / half_width, 0.0, np.cos(place) / half_height])
        direction = -normal / np.linalg.norm(normal) + 0.35 * rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        if -direction @ normal < np.cos(np.pi / 4) * np.linalg.norm(normal):
            continue
        goals.append(guide_pose(np.add(entry, [half_table, 0.0, 0.0]) - 0.03 * direction, direction).matrix)
        places.append(np.degrees(place))
    reached = AxisSolver(robot).postures(np.array(goals), improve=False).count > 0
    side = np.array(places)
    assert reached[np.abs(side) < 20].mean() > 0.90
    assert reached[side > 20].mean() > 0.75
    assert reached[side < -20].mean() < 0.25  # the side of its own rail, as its description says
