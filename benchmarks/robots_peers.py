"""Inverse kinematics of a needle axis by other libraries, one goal at a time as each is meant to be used.

Each takes goals X_BG (k, 4, 4) and starts (k, n) and gives joint positions (k, n), right or wrong; what counts as
solved is decided by the caller in the same way for all of them.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from needleplan.frames import FloatArray
from robots.urdf_arm import UrdfArm

#: Joint positions for goals from starts.
AxisIk = Callable[[FloatArray, FloatArray], FloatArray]

#: Steps of the differential searches, and their damping.
STEPS, DAMPING = 100, 1e-6


def peers(arm: UrdfArm) -> tuple[dict[str, AxisIk], tuple[str, ...]]:
    """The peers that are installed, by name, and the names of those that are not."""
    made = {
        "Robotics Toolbox ik_LM, its defaults": ("roboticstoolbox", _toolbox_defaults),
        "Robotics Toolbox ik_LM, roll freed, tol 1e-16": ("roboticstoolbox", _toolbox_axis),
        "Pinocchio CLIK": ("pinocchio", _pinocchio),
        "mink": ("mink", _mink),
        "PyBullet": ("pybullet", _pybullet),
    }
    found = {name: make(arm) for name, (module, make) in made.items() if find_spec(module)}
    return found, tuple(name for name in made if name not in found)


def _toolbox_defaults(arm: UrdfArm) -> AxisIk:
    chain = arm.toolbox_chain()

    def solve(goals: FloatArray, starts: FloatArray) -> FloatArray:
        return np.array([chain.ik_LM(T, q0=q).q for T, q in zip(goals, starts.copy(), strict=True)])

    return solve


def _toolbox_axis(arm: UrdfArm) -> AxisIk:
    import roboticstoolbox as rtb
    from spatialmath import SE3

    chain = arm.toolbox_chain()
    # A mask frees a turn about the axes of the base, so the chain is seen from the goal.
    mask = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])

    def solve(goals: FloatArray, starts: FloatArray) -> FloatArray:
        found = []
        for T, q in zip(goals, starts.copy(), strict=True):
            seen = rtb.ET.SE3(SE3(np.linalg.inv(T), check=False)) * chain
            found.append(seen.ik_LM(np.eye(4), q0=q, mask=mask, tol=1e-16, ilimit=60, slimit=1).q)
        return np.array(found)

    return solve


def _pinocchio(arm: UrdfArm) -> AxisIk:
    import pinocchio as pin

    model = pin.buildModelFromUrdf(str(arm.urdf_path))
    data = model.createData()
    frame = model.getFrameId("needle_guide_exit")
    columns = [model.joints[model.getJointId(name)].idx_q for name in arm.joint_names]
    low, high = arm.q_min, arm.q_max

    def solve(goals: FloatArray, starts: FloatArray) -> FloatArray:
        found = []
        for T, start in zip(goals, starts, strict=True):
            q = pin.neutral(model)
            q[columns] = start
            goal = pin.SE3(T[:3, :3], T[:3, 3])
            for _ in range(STEPS):
                pin.framesForwardKinematics(model, data, q)
                # The error in the guide's own axes, without the turn about its z.
                seen = data.oMf[frame].actInv(goal)
                axis = seen.rotation[:, 2]
                error = np.array([*seen.translation, -axis[1], axis[0]])
                if np.linalg.norm(error) < 1e-9:
                    break
                J = pin.computeFrameJacobian(model, data, q, frame, pin.LOCAL)[:5, columns]
                step = J.T @ np.linalg.solve(J @ J.T + DAMPING * np.eye(5), error)
                q[columns] = np.clip(q[columns] + step, low, high)
            found.append(q[columns].copy())
        return np.array(found)

    return solve


def _mink(arm: UrdfArm) -> AxisIk:
    import mink
    import mujoco

    text = arm.urdf_path.read_text(encoding="utf-8")
    start = text.index(">", text.index("<robot")) + 1
    text = text[:start] + '<mujoco><compiler fusestatic="false"/></mujoco>' + text[start:]
    model = mujoco.MjModel.from_xml_string(text)
    configuration = mink.Configuration(model)
    task = mink.FrameTask("needle_guide_exit", "body", position_cost=1.0, orientation_cost=[1.0, 1.0, 0.0])
    limits = [mink.ConfigurationLimit(model)]
    columns = [model.joint(name).qposadr[0] for name in arm.joint_names]

    def solve(goals: FloatArray, starts: FloatArray) -> FloatArray:
        found = []
        for T, start in zip(goals, starts, strict=True):
            q = np.zeros(model.nq)
            q[columns] = start
            configuration.update(q)
            task.set_target(mink.SE3.from_matrix(T))
            for _ in range(STEPS):
                if np.linalg.norm(task.compute_error(configuration)[:5]) < 1e-7:
                    break
                velocity = mink.solve_ik(configuration, [task], 1.0, "daqp", damping=1e-8, limits=limits)
                configuration.integrate_inplace(velocity, 1.0)
            found.append(configuration.q[columns].copy())
        return np.array(found)

    return solve


def _pybullet(arm: UrdfArm) -> AxisIk:
    import pybullet

    client = pybullet.connect(pybullet.DIRECT)
    body = pybullet.loadURDF(str(arm.urdf_path), useFixedBase=True, physicsClientId=client)
    joints, tip = {}, -1
    for index in range(pybullet.getNumJoints(body, physicsClientId=client)):
        info = pybullet.getJointInfo(body, index, physicsClientId=client)
        joints[info[1].decode()] = (index, info[3])
        if info[12].decode() == "needle_guide_exit":
            tip = index
    moving = sorted(index for index, position in joints.values() if position >= 0)
    columns = [moving.index(joints[name][0]) for name in arm.joint_names]

    def solve(goals: FloatArray, starts: FloatArray) -> FloatArray:
        found = []
        for T, start in zip(goals, starts, strict=True):
            for name, value in zip(arm.joint_names, start, strict=True):
                pybullet.resetJointState(body, joints[name][0], float(value), physicsClientId=client)
            answer = pybullet.calculateInverseKinematics(
                body, tip, T[:3, 3].tolist(), _quaternion(T), maxNumIterations=STEPS, residualThreshold=1e-9,
                physicsClientId=client,
            )  # fmt: skip
            found.append(np.array(answer)[columns])
        return np.array(found)

    return solve


def _quaternion(T: FloatArray) -> list[float]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(T[:3, :3]).as_quat().tolist()
