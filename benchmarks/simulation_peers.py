"""The same bodies stepped by PyBullet alone: what a rehearsal would cost without anything that needleplan adds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from needleplan.frames import FloatArray, RigidTransform
from robots.model import RobotModel
from sim.bullet import pybullet as load_pybullet

IntArray = NDArray[np.int32]
pybullet = load_pybullet()  # without the banner that it prints


class PlainRoom:
    """An arm and a patient's surfaces in a PyBullet of their own; use it as a context manager.

    Args:
        robot: the arm, from its own URDF.
        X_WB: pose of its base, metres.
        surfaces: vertices (n, 3) in the world, metres, and faces (m, 3) of the patient's surfaces.
    """

    def __init__(
        self, robot: RobotModel, X_WB: RigidTransform, surfaces: Sequence[tuple[FloatArray, IntArray]]
    ) -> None:
        self._client = pybullet.connect(pybullet.DIRECT)
        self._arm = pybullet.loadURDF(
            str(robot.urdf_path), X_WB.translation.tolist(), Rotation.from_matrix(X_WB.rotation).as_quat().tolist(),
            useFixedBase=True, physicsClientId=self._client,
        )  # fmt: skip
        self._joints, self._needle = [], -1
        for index in range(pybullet.getNumJoints(self._arm, physicsClientId=self._client)):
            info = pybullet.getJointInfo(self._arm, index, physicsClientId=self._client)
            if info[1].decode() in robot.joint_names:
                self._joints.append(index)
            if info[1].decode() == robot.driver_joint_name:
                self._needle = index
        self._bodies = []
        for vertices_m, faces in surfaces:
            shape = pybullet.createCollisionShape(
                pybullet.GEOM_MESH, vertices=vertices_m.tolist(), indices=faces.ravel().tolist(),
                flags=pybullet.GEOM_FORCE_CONCAVE_TRIMESH, physicsClientId=self._client,
            )  # fmt: skip
            body = pybullet.createMultiBody(0.0, shape, physicsClientId=self._client)
            # The needle is meant to pass through tissue.
            pybullet.setCollisionFilterPair(self._arm, body, self._needle, -1, 0, physicsClientId=self._client)
            self._bodies.append(body)

    def __enter__(self) -> "PlainRoom":
        return self

    def __exit__(self, *error: object) -> None:
        pybullet.disconnect(self._client)

    def step(self, joints_rad: FloatArray, shift_m: FloatArray, steps: int, every_contact: int) -> int:
        """Pose the arm and ask for its needle ``steps`` times; now and then pose the patient and ask what touches.

        Args:
            joints_rad: (n, j) positions, passed through from the first to the last.
            shift_m: (n, 3) displacement of the patient's surfaces in the world.
            steps: how many.
            every_contact: steps from one search for contacts to the next.

        Returns:
            The number of contacts that were found.
        """
        rows = np.linspace(0, len(joints_rad) - 1, steps).astype(int)
        contacts = 0
        for step, row in enumerate(rows):
            for joint, position in zip(self._joints, joints_rad[row].tolist(), strict=True):
                pybullet.resetJointState(self._arm, joint, position, physicsClientId=self._client)
            pybullet.getLinkState(
                self._arm, self._needle, computeForwardKinematics=True, physicsClientId=self._client
            )
            if step % every_contact:
                continue
            place = shift_m[row].tolist()
            for body in self._bodies:
                pybullet.resetBasePositionAndOrientation(
                    body, place, (0.0, 0.0, 0.0, 1.0), physicsClientId=self._client
                )
            pybullet.performCollisionDetection(physicsClientId=self._client)
            contacts += len(pybullet.getContactPoints(bodyA=self._arm, physicsClientId=self._client) or ())
        return contacts
