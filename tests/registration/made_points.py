"""Asymmetric sets of points and oblique poses for tests of registration."""

import numpy as np

from needleplan.frames import Frame, RigidTransform
from needleplan.registration.rotations import rotations_of

#: Six skin markers about a liver, unevenly placed, somewhere in the image; patient LPS mm.
FIDUCIALS_MM = np.array(
    [
        [-160.0, -95.0, 480.0],
        [-40.0, -128.0, 455.0],
        [55.0, -110.0, 530.0],
        [-95.0, -120.0, 570.0],
        [-170.0, -20.0, 535.0],
        [-12.0, -131.0, 601.0],
    ]
)
TARGET_MM = np.array([-62.0, -38.0, 523.0])


def oblique_pose(parent=Frame.PATIENT, child=Frame.TRACKER) -> RigidTransform:
    return RigidTransform.from_parts(parent, child, rotations_of([0.9, -1.3, 0.6]), [310.0, -720.0, 95.0])


def seen(points_mm, pose: RigidTransform):
    """Points of the parent frame as the child frame has them."""
    return pose.inverse().apply(points_mm)
